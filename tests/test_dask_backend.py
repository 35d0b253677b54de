"""Dask arrays: blocks answered by their own library's backend, computed once, when asked for."""

import contextlib
import importlib
import importlib.util
import json
import threading
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinyloss
import tinyloss.testing
import tinyloss_numpy
from tests.support.libraries import NumPyArray
from tests.support.process import python

dask: Any = pytest.importorskip("dask")
da: Any = pytest.importorskip("dask.array")
xd: Any = importlib.import_module("array_api_compat.dask.array")

EXAMPLE = Path(__file__).parents[1] / "examples" / "dask_larger_than_memory.py"
RNG = np.random.default_rng(3)
X = (3 * RNG.standard_normal((12, 21))).astype(np.float32)
Y = RNG.integers(0, 21, 12)
TARGET = (3 * RNG.standard_normal((12, 21))).astype(np.float32)

# Split rows are those of blocks that would be larger than this, if put together.
SIZES = {"whole": "128 MiB", "split": "1 B"}
both_ways = pytest.mark.parametrize("size", SIZES.values(), ids=list(SIZES))

# Blocks sum in another order, in float64 or over a few terms: 8 eps cover it and the loss's own 4.
BOUND = 8 * float(np.finfo(np.float32).eps)


@contextlib.contextmanager
def settings(size: str, compilation: Any = "never") -> Generator[None]:
    with (
        dask.config.set({"array.chunk-size": size, "scheduler": "synchronous"}),
        tinyloss_numpy.compilation(compilation),
        np.errstate(all="ignore"),
    ):
        yield


def lazy(array: NumPyArray) -> Any:
    return da.from_array(array.copy(), chunks=tuple((n + 1) // 2 or 1 for n in array.shape))


def computed(array: Any) -> NumPyArray:
    with settings("128 MiB"):
        return np.asarray(array.compute())


@pytest.mark.long
@both_ways
def test_backend_meets_the_contract(size: str) -> None:
    """Every loss with a few of the cases, in turn; all of them in the test below."""
    for number, name in enumerate(["mse", "cross_entropy", "softmax_focal", "log_softmax"]):
        tinyloss.testing.check_backend(
            "dask",
            losses=[getattr(tinyloss, name)],
            only=range(number, 200, 10),
            xp=xd,
            asarray=lazy,
            to_numpy=computed,
            context=lambda: settings(size),
        )


@pytest.mark.slow
@both_ways
def test_backend_meets_the_contract_in_every_case(size: str) -> None:
    tinyloss.testing.check_backend(
        "dask", xp=xd, asarray=lazy, to_numpy=computed, context=lambda: settings(size)
    )


@pytest.mark.parametrize("chunks", [(3, 21), (12, 4), (5, 8)], ids=["rows", "classes", "both"])
@both_ways
def test_blocks_of_rows_of_classes_or_of_both_answer_alike(
    size: str, chunks: tuple[int, int]
) -> None:
    x = da.from_array(X, chunks=chunks)
    weight = np.linspace(0, 2, 12, dtype=np.float32)
    cases: list[Any] = [(tinyloss.cross_entropy, Y), (tinyloss.kl_div_with_logits, TARGET)]
    for loss, target in cases:
        step: Any = tinyloss.value_and_grad(loss)
        with settings(size):
            answer = step(x, target, weight=weight)
            assert answer[1].chunks == x.chunks
            value, gradient = dask.compute(*answer)
            expected, slopes = step(X, target, weight=weight)
        assert value == pytest.approx(expected, rel=BOUND)
        np.testing.assert_allclose(gradient, slopes, rtol=0, atol=BOUND * np.abs(slopes).max())


class Loads:
    """Counts how often each block is made."""

    def __init__(self) -> None:
        self.made: Counter[Any] = Counter()
        self._lock = threading.Lock()

    def array(self, chunks: tuple[int, int]) -> Any:
        def block(block_info: Any = None) -> NumPyArray:
            where = block_info[None]["array-location"]
            with self._lock:
                self.made[tuple(where)] += 1
            return X[tuple(slice(*each) for each in where)]

        like = da.from_array(X, chunks=chunks)
        return da.map_blocks(block, chunks=like.chunks, dtype=X.dtype, meta=X[:0, :0])


@pytest.mark.parametrize("chunks", [(3, 21), (3, 7)])
def test_value_and_gradient_share_one_reading_of_the_data(chunks: tuple[int, int]) -> None:
    loads = Loads()
    with settings("128 MiB"):
        x = loads.array(chunks)
        value, gradient = tinyloss.value_and_grad(tinyloss.cross_entropy)(x, Y)
        assert not loads.made, "something was computed before it was asked for"
        dask.compute(value, gradient)
    assert set(loads.made.values()) == {1}


def test_split_rows_are_read_once_for_each_pass() -> None:
    """For the maximum, for the sum, for the gradient; the target's logit comes along."""
    loads = Loads()
    with settings("1 B"):
        x = loads.array((12, 3))
        answer = tinyloss.value_and_grad(tinyloss.cross_entropy)(x, Y)
        assert not loads.made
        dask.compute(*answer)
    assert set(loads.made.values()) == {3}
    assert len(loads.made) == 7


def test_gradient_without_a_reduction_needs_no_second_reading() -> None:
    loads = Loads()
    with settings("1 B"):
        dask.compute(*tinyloss.value_and_grad(tinyloss.nll)(loads.array((12, 3)), Y))
    assert set(loads.made.values()) == {1}


@pytest.mark.long
@both_ways
def test_blocks_are_answered_by_compiled_loops(size: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("llvmlite")
    from tinyloss_numpy import _run

    answered: list[bool] = []
    compiled = _run._run_compiled

    def watched(loss: Any, job: Any) -> Any:
        answer = compiled(loss, job)
        answered.append(answer is not None)
        return answer

    monkeypatch.setattr(_run, "_run_compiled", watched)
    with settings(size, "always"):
        x = da.from_array(X, chunks=(6, 7))
        value, gradient = dask.compute(*tinyloss.value_and_grad(tinyloss.cross_entropy)(x, Y))
        blocks = [*answered]
        expected, slopes = tinyloss.value_and_grad(tinyloss.cross_entropy)(X, Y)
    assert all(blocks)
    # maximum, target's logit, sum and gradient of each of the 6; else a job for each row of them
    assert len(blocks) == (4 * 6 if size == SIZES["split"] else 2)
    assert value == pytest.approx(expected, rel=BOUND)
    np.testing.assert_allclose(gradient, slopes, rtol=0, atol=BOUND * np.abs(slopes).max())


def test_loss_of_ones_own_that_looks_at_class_numbers_is_left_to_the_formulas() -> None:
    """A block does not know which of the classes it has."""

    @tinyloss.loss(labels=True)
    def distance(x: Any, y: Any) -> Any:
        xp = tinyloss.namespace(x)
        classes = xp.arange(x.shape[-1])
        target = y[..., None] == classes
        at = xp.sum(xp.where(target, 1.0, 0.0) * classes, axis=-1)
        return xp.sum(x * x, axis=-1) * (1 + at)

    with settings("1 B"):
        y = da.from_array(Y, chunks=4)
        value = distance(da.from_array(X, chunks=(4, 5)), y).compute()
    assert value == pytest.approx(float(distance(X.astype(np.float64), Y)), rel=BOUND)


def test_out_is_refused() -> None:
    x = lazy(X)
    with pytest.raises(ValueError, match="out is read-only"):
        tinyloss.grad(tinyloss.cross_entropy, out=x)(x, Y)


def test_same_call_makes_the_same_graph() -> None:
    """So that what two calls share is computed once."""
    for size in SIZES.values():
        with settings(size):
            x = da.from_array(X, chunks=(4, 5))
            names = [tinyloss.grad(tinyloss.cross_entropy)(x, Y).name for _ in range(2)]
            assert names[0] == names[1]


# -------------------------------------------------------------------------------------- the example


def module() -> Any:
    spec = importlib.util.spec_from_file_location(EXAMPLE.stem, EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def example(*arguments: str) -> dict[str, Any]:
    said = python(str(EXAMPLE), "--json", *arguments)
    report: dict[str, Any] = json.loads(said.splitlines()[-1])
    return report


@pytest.mark.long
@pytest.mark.parametrize(
    "chunks",
    [("--chunk-rows=150",), ("--chunk-classes=100",), ("--chunk-rows=4000", "--chunk-classes=400")],
    ids=["rows", "classes", "both"],
)
@pytest.mark.heavy(1)
def test_memory_holds_a_few_blocks(chunks: tuple[str, ...]) -> None:
    """600 MB of logits in 100 blocks: 6 MB each, of which two threads hold some."""
    report = example("--rows=15000", "--classes=10000", "--split", *chunks)
    assert report["logits_mib"] > 500
    assert report["memory_mib"] < 250
    # log C + 1/2 for standard normal logits; the mean of 15000 of their losses is within 0.01
    assert report["loss"] == pytest.approx(np.log(10_000) + 0.5, abs=0.04)


@pytest.mark.slow
@pytest.mark.parametrize(
    "chunks",
    [
        ("--chunk-rows=2000",),
        ("--chunk-classes=50",),
        ("--chunk-rows=20000", "--chunk-classes=1000"),
    ],
    ids=["rows", "classes", "both"],
)
def test_15_gigabytes_take_less_than_one(chunks: tuple[str, ...]) -> None:
    report = example("--rows=400000", "--classes=10000", *chunks)
    assert report["logits_mib"] > 15000
    assert report["memory_mib"] < 1000


@pytest.mark.long
@both_ways
def test_two_processes_of_a_cluster_answer_as_one(size: str) -> None:
    pytest.importorskip("distributed")
    split = size == SIZES["split"]
    chunks = ("--chunk-rows=300", "--chunk-classes=70", *(["--split"] if split else []))
    report = example("--rows=2000", "--classes=300", "--workers=2", *chunks)
    logits, labels, weights = module().make_data(2000, 300, 300, 70)
    with settings(size):
        loss, squares = module().compute(logits, labels, weights)
    assert report["loss"] == pytest.approx(loss, rel=1e-6)
    assert report["gradient"] == pytest.approx(squares**0.5, rel=1e-6)
