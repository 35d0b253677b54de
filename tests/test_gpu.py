"""On a GPU: the kernels as NVRTC compiles them and a device runs them. `pytest -m gpu`."""

import importlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest

import tinyloss
from tests.support.answers import answers, complaints
from tests.support.dtypes import DTYPES
from tests.support.example import EPS, digits, first_losses
from tests.support.families import families
from tests.support.gpu import (
    CLASSES,
    COMPOSED,
    FUNCTIONS,
    LISTS,
    ROWS,
    assert_rounded_once,
    hold_up,
    last_layer_of_halves,
)
from tests.support.specs import LOSSES, PAIRED, SPECS
from tinyloss.testing import check_backend

Array = npt.NDArray[Any]

pytestmark = pytest.mark.gpu

ITEMS = 12
"""Of a family (rows: a third): the wide sweep is the benchmark's."""

SLOW = 0.2
"""Seconds for which a kernel holds a stream up: a hundred times what a call takes the host."""

Step = Callable[[Any, Any], tuple[Any, Any]]


@pytest.fixture(scope="module")
def cupy() -> Any:
    """CuPy with a device."""
    module = pytest.importorskip("cupy", exc_type=ImportError)
    try:
        module.empty(1)
    except Exception as error:  # in its own words: no driver, an old one, no device
        pytest.skip(f"CuPy has no device: {error}")
    return module


@pytest.fixture(params=["clusters", "no clusters"])
def device(
    cupy: Any, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """The device, with and without blocks that share a row."""
    run: Any = importlib.import_module("tinyloss_cupy._run")
    device = cupy.cuda.Device()
    if request.param == "no clusters":
        monkeypatch.setattr(run, "_without_clusters", {device.id})
    elif int(device.compute_capability) < 90:
        pytest.skip("the device has no clusters")
    yield device
    if request.param == "clusters":
        assert device.id not in run._without_clusters, "the device refuses clusters"


def logits(*shape: int, dtype: Any = np.float32, seed: int = 0) -> Array:
    return (3 * np.random.default_rng(seed).standard_normal(shape)).astype(dtype)


def labels(*shape: int, classes: int) -> Array:
    return np.random.default_rng(1).integers(0, classes, shape)


def bits(cupy: Any, array: Any) -> Array:
    """Return an array's numbers on the host; NumPy compares no bfloat16 that are NaN."""
    host: Array = cupy.asnumpy(array)
    return host.view(f"u{host.dtype.itemsize}")


# ---------------------------------------------------------------------------------- the contract


@pytest.mark.parametrize("name", [*LOSSES, *FUNCTIONS])
def test_the_device_answers_as_the_formulas_do(cupy: Any, name: str) -> None:
    report = check_backend("cupy", losses=[getattr(tinyloss, name)], must_answer=True)
    assert report.cases > 10
    assert report.left_out == ()


@pytest.mark.parametrize("name", ROWS)
def test_rows_of_any_length(device: Any, name: str) -> None:
    report = check_backend(
        "cupy", losses=[getattr(tinyloss, name)], classes=CLASSES, must_answer=True
    )
    assert report.cases >= len(CLASSES)
    assert report.left_out == ()


@pytest.mark.parametrize("name", sorted(PAIRED))
def test_pairs_of_rows_of_any_length(device: Any, name: str) -> None:
    report = check_backend(
        "cupy", losses=[getattr(tinyloss, name)], classes=LISTS, must_answer=True
    )
    assert report.cases >= len(LISTS)
    assert report.left_out == ()


@pytest.mark.parametrize("shape", [(2000, 50), (300, 1000), (2, 5003)])
@pytest.mark.parametrize("name", ["pairwise_logistic", "lambdarank", "approx_ndcg"])
def test_many_lists_have_the_same_bits_each_time(
    cupy: Any, device: Any, name: str, shape: tuple[int, int]
) -> None:
    """Who reads what others of its row have yet to write shows where many rows run at once."""
    step: Any = tinyloss.value_and_grad(getattr(tinyloss, name))
    x, y = logits(*shape), labels(*shape, classes=5).astype(np.float32)
    there = cupy.asarray(x), cupy.asarray(y)
    value, gradient = step(*there, reduction="none")
    for _ in range(5):
        for again, first in zip(step(*there, reduction="none"), (value, gradient), strict=True):
            np.testing.assert_array_equal(bits(cupy, again), bits(cupy, first))
    few = slice(20_000_000 // shape[1] ** 2 + 1)
    expected, slopes = step(x[few], y[few], reduction="none")
    np.testing.assert_allclose(cupy.asnumpy(value)[few], expected, rtol=16 * EPS)
    size = float(np.max(np.abs(slopes)))
    got = cupy.asnumpy(gradient)[few]
    np.testing.assert_allclose(got, slopes, rtol=16 * EPS, atol=16 * EPS * size)


@pytest.mark.parametrize("name", COMPOSED)
def test_what_is_more_than_one_kernel_answers_as_on_numpy(cupy: Any, name: str) -> None:
    case = COMPOSED[name]
    got = case.answer(cupy.asarray)
    assert {type(each) for each in got} == {cupy.ndarray}
    case.check([cupy.asnumpy(each) for each in got])


@pytest.mark.parametrize("memory", [None, 2**17])
def test_a_last_layer_of_halves_is_rounded_once(cupy: Any, memory: int | None) -> None:
    case = replace(last_layer_of_halves(), options={"max_memory": memory})
    got = case.answer(cupy.asarray)
    assert_rounded_once(case, [cupy.asnumpy(each) for each in got])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SPECS)
def test_every_result_is_within_the_bound_of_its_loss(cupy: Any, name: str, dtype: str) -> None:
    n = ITEMS // 3 if SPECS[name].definition.rowwise else ITEMS
    found: list[str] = []
    for family, kwargs in families(name, dtype, n=n):
        there = {k: cupy.asarray(v) if isinstance(v, np.ndarray) else v for k, v in kwargs.items()}
        got = {what: cupy.asnumpy(each) for what, each in answers(name, there).items()}
        found += [f"{family}: {line}" for line in complaints(name, kwargs, got)]
    assert not found, "\n".join(found)


# --------------------------------------------------------------------------- many rows, long rows


def cross_entropy_step(into: Any = None) -> Step:
    step: Step = tinyloss.value_and_grad(tinyloss.cross_entropy, out=into)
    return step


# Rows enough for each multiprocessor to have some: who reads what another has already written over
# shows where many run at once.
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
@pytest.mark.parametrize("classes", CLASSES)
def test_many_rows_in_place_have_the_bits_of_new_arrays(
    cupy: Any, device: Any, classes: int, dtype: Any
) -> None:
    x = cupy.asarray(np.tile(logits(20, classes, dtype=dtype), (15, 1)))
    y = cupy.asarray(labels(len(x), classes=classes))
    value, gradient = cross_entropy_step()(x, y)
    for _ in range(3):
        other = x.copy()
        again, into = cross_entropy_step(other)(other, y)
        assert into is other
        np.testing.assert_array_equal(bits(cupy, again), bits(cupy, value))
        np.testing.assert_array_equal(bits(cupy, into), bits(cupy, gradient))


@pytest.fixture
def room_for(cupy: Any) -> Iterator[Callable[[int], None]]:
    """Skip where there is not so much memory; give back what has been used."""

    def room_for(size: int) -> None:
        free, _ = cupy.cuda.runtime.memGetInfo()
        if free < size:
            pytest.skip(f"{size / 1e9:.0f} GB of the device's memory are needed")

    cupy.get_default_memory_pool().free_all_blocks()
    yield room_for
    cupy.get_default_memory_pool().free_all_blocks()


def test_rows_beyond_two_to_the_31_elements(cupy: Any, room_for: Callable[[int], None]) -> None:
    rows, classes = 66_000, 32_768
    room_for(3 * 2 * rows * classes)
    part = cupy.asarray(logits(500, classes, dtype=ml_dtypes.bfloat16))
    x = cupy.empty((rows, classes), part.dtype)
    for start in range(0, rows, 500):
        x[start : start + 500] = part
    y = cupy.asarray(np.tile(labels(500, classes=classes), rows // 500))
    step = tinyloss.value_and_grad(tinyloss.cross_entropy)
    value, expected = step(part, y[:500], reduction="none")
    values, gradient = step(x, y, reduction="none")
    for start in (0, rows - 500):
        rows_of = slice(start, start + 500)
        np.testing.assert_array_equal(bits(cupy, values[rows_of]), bits(cupy, value))
        np.testing.assert_array_equal(bits(cupy, gradient[rows_of]), bits(cupy, expected))


def test_items_beyond_two_to_the_31(cupy: Any, room_for: Callable[[int], None]) -> None:
    size, part = 2**31 + 2**20, 2**20
    room_for(4 * 2 * size)
    x, y = (cupy.empty(size, np.float16) for _ in range(2))
    for array, seed in ((x, 0), (y, 1)):
        array.reshape(-1, part)[...] = cupy.asarray(logits(part, dtype=np.float16, seed=seed))
    step = tinyloss.value_and_grad(tinyloss.mse)
    total, gradient = step(x, y, reduction="sum")
    few, expected = step(x[:part], y[:part], reduction="sum")
    for start in (0, size - part):
        found = bits(cupy, gradient[start : start + part])
        np.testing.assert_array_equal(found, bits(cupy, expected))
    # Sums are float32: of so many equal parts, each within 4 eps as the contract has it.
    np.testing.assert_allclose(float(total), size / part * float(few), rtol=8 * EPS)


# ----------------------------------------------------------------------------- streams and devices


def assert_right(cupy: Any, got: tuple[Any, Any], x: Array, y: Array) -> None:
    """Compare with NumPy: two ways to compute one differ by no more than 16 eps."""
    value, gradient = cross_entropy_step()(x, y)
    np.testing.assert_allclose(cupy.asnumpy(got[0]), value, rtol=16 * EPS)
    np.testing.assert_allclose(cupy.asnumpy(got[1]), gradient, rtol=16 * EPS)


def test_results_stay_on_the_device(cupy: Any) -> None:
    x, y = logits(50, 1000), labels(50, classes=1000)
    results = cross_entropy_step()(cupy.asarray(x), cupy.asarray(y))
    assert {type(each) for each in results} == {cupy.ndarray}
    assert all(each.device == cupy.cuda.Device() for each in results)
    assert (results[0].shape, results[1].shape) == ((), x.shape)
    assert_right(cupy, results, x, y)


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "ignore_index": {"ignore_index": 0},
    "smoothed": {"label_smoothing": 0.1, "reduction": "sum"},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("classes", [100, 5003, 131072])
def test_a_call_follows_its_stream_and_waits_for_nothing(
    cupy: Any, classes: int, options: dict[str, Any]
) -> None:
    holds = hold_up(cupy)
    before, after = logits(20, classes), logits(20, classes, seed=1)
    host_y = labels(20, classes=classes)
    x, later, y = map(cupy.asarray, (before, after, host_y))
    step = tinyloss.value_and_grad(tinyloss.cross_entropy)
    stream = cupy.cuda.Stream(non_blocking=True)
    cupy.cuda.Device().synchronize()
    with stream:
        holds((1,), (1,), (np.int64(0),))
        for _ in range(2):  # kernels are loaded, and the stream's pool of memory is filled
            x[...] = later
            step(x, y, **options)
        x[...] = cupy.asarray(before)
        stream.synchronize()
        started = time.perf_counter()
        holds((1,), (1,), (np.int64(SLOW * 1e9),))
        x[...] = later  # on another stream the call would find what was there before
        value, gradient = step(x, y, **options)
        took = time.perf_counter() - started
    assert took < SLOW, "the call has waited for the stream"
    stream.synchronize()
    assert time.perf_counter() - started >= SLOW
    expected, expected_gradient = step(after, host_y, **options)
    np.testing.assert_allclose(cupy.asnumpy(value), expected, rtol=16 * EPS)
    # Smoothing takes from a probability: absolute, in eps of the largest.
    size = float(np.max(np.abs(expected_gradient)))
    np.testing.assert_allclose(
        cupy.asnumpy(gradient), expected_gradient, rtol=16 * EPS, atol=16 * EPS * size
    )


# To wait for the device, and to copy from it, are errors while a stream is captured.
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("classes", [100, 5003, 131072])
def test_a_call_can_be_captured_and_replayed(
    cupy: Any, classes: int, options: dict[str, Any]
) -> None:
    x, y = cupy.asarray(logits(20, classes)), cupy.asarray(labels(20, classes=classes))
    others = cupy.asarray(logits(20, classes, seed=1))
    step = tinyloss.value_and_grad(tinyloss.cross_entropy)
    stream = cupy.cuda.Stream(non_blocking=True)
    cupy.cuda.Device().synchronize()
    with stream:
        for _ in range(2):
            step(x, y, **options)
        stream.synchronize()
        stream.begin_capture()
        try:
            value, gradient = step(x, y, **options)
        finally:
            graph = stream.end_capture()
        x[...] = others
        graph.launch()
        stream.synchronize()
        expected, expected_gradient = step(others, y, **options)
        stream.synchronize()
    np.testing.assert_array_equal(cupy.asnumpy(value), cupy.asnumpy(expected))
    np.testing.assert_array_equal(cupy.asnumpy(gradient), cupy.asnumpy(expected_gradient))


def test_another_device_than_the_current_one(cupy: Any) -> None:
    if cupy.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("there is one device")
    x, y = logits(50, 5003), labels(50, classes=5003)
    with cupy.cuda.Device(1):
        on_second = cupy.asarray(x), cupy.asarray(y)
    with cupy.cuda.Device(0):
        results = cross_entropy_step()(*on_second)
        assert cupy.cuda.Device().id == 0
    assert {each.device.id for each in results} == {1}
    assert_right(cupy, results, x, y)


# ------------------------------------------------------------------------------------ the example


def test_the_example_reads_97_percent_of_the_held_out_digits(cupy: Any) -> None:
    history = digits.train("cupy")
    assert history.epochs[-1].test_accuracy >= 0.97
    assert history.epochs[-1].train_loss < 0.1 * history.steps[0]


def test_the_example_starts_as_on_numpy(cupy: Any) -> None:
    # For the bound see tests/test_example.py.
    np.testing.assert_allclose(first_losses("cupy"), first_losses("numpy"), rtol=16 * EPS, atol=0)


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16"])
def test_the_example_learns_in_every_dtype(cupy: Any, dtype: str) -> None:
    assert digits.train("cupy", dtype=dtype).epochs[-1].test_accuracy >= 0.97
