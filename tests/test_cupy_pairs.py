"""Losses that compare the classes of a row with each other, on an emulated GPU."""

import re
import sys
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest

import tinyloss
from tests.support.emulation import machine
from tests.support.gpu import LISTS
from tests.support.on_cupy import (
    FEW,
    assert_as_on_numpy,
    become,
    cluster_of,
    emulated,
    logits,
    on_host,
)
from tests.support.specs import PAIRED
from tinyloss import _rows
from tinyloss_cuda import plans

Array = npt.NDArray[Any]

pytestmark = emulated

anyloss: Any = tinyloss
value_and_grad: Any = tinyloss.value_and_grad
on = pytest.mark.parametrize


def grades(*shape: int, dtype: Any = np.float32) -> Array:
    return np.random.default_rng(2).integers(0, 4, shape).astype(dtype)


def lists(name: str, *shape: int, dtype: Any = np.float32) -> tuple[Array, Array]:
    """Return scores and labels; labels of classes are 0 or 1."""
    y = grades(*shape, dtype=dtype)
    return logits(*shape, dtype=dtype), np.minimum(y, 1) if name == "multilabel_margin" else y


def on_device(function: Any, *arrays: Array, **options: Any) -> Any:
    asarray = sys.modules["cupy"].asarray
    return on_host(function(*map(asarray, arrays), **options))


def bits(name: str, *shape: int) -> bytes:
    results = on_device(value_and_grad(getattr(anyloss, name)), *lists(name, *shape))
    return b"".join([each.tobytes() for each in results])


def one_kernel(text: str) -> None:
    """A row's pairs are a loop in a loop; a second kernel adds up the blocks' sums."""
    assert "for (index other = first; other < end; ++other)" in text


@on("name", sorted(PAIRED))
@on("members", LISTS)
@pytest.mark.heavy(14)
def test_rows_of_any_length_are_one_kernel(name: str, members: int) -> None:
    launches = len(machine.launched)
    x, y = lists(name, 3, members)
    assert_as_on_numpy(value_and_grad(getattr(anyloss, name)), x, y, terms=True)
    assert len(machine.launched) == launches + 2
    one_kernel(machine.launched[launches])


@on("name", sorted(PAIRED))
@on("dtype", [np.float64, np.float16, ml_dtypes.bfloat16])
@pytest.mark.heavy(8)
def test_every_dtype(name: str, dtype: Any) -> None:
    x, y = lists(name, 4, 40, dtype=dtype)
    value, gradient = on_device(value_and_grad(getattr(anyloss, name)), x, y)
    wide = [each.astype(np.float64) for each in (x, y)]
    expected, exact = value_and_grad(getattr(anyloss, name))(*wide)
    np.testing.assert_allclose(np.float64(value), expected, rtol=FEW)
    size = np.max(np.abs(exact))
    rounding = max(FEW, float(ml_dtypes.finfo(dtype).eps))
    np.testing.assert_allclose(gradient.astype(np.float64), exact, rtol=0, atol=rounding * size)


@on("name", sorted(PAIRED - {"multilabel_margin"}))
def test_masks_weights_and_axes(name: str) -> None:
    x, y = lists(name, 37, 5)
    mask = np.random.default_rng(3).random(x.shape) < 0.7
    asarray = sys.modules["cupy"].asarray
    options = {"mask": mask, "member_weight": np.abs(logits(37, 5)), "weight": np.arange(5.0)}
    there = {key: asarray(each) for key, each in options.items()}
    both = value_and_grad(getattr(anyloss, name))
    got = on_host(both(asarray(x), asarray(y), axis=0, **there))
    for result, expected in zip(got, both(x, y, axis=0, **options), strict=True):
        size = float(np.max(np.abs(expected)))
        np.testing.assert_allclose(result, expected, rtol=FEW, atol=FEW * size)


@on("name", ["pairwise_logistic", "approx_ndcg", "lambdarank"])
def test_curvature_and_gradients_by_labels(name: str) -> None:
    x, y = lists(name, 3, 70)
    loss = getattr(anyloss, name)
    assert_as_on_numpy(anyloss.grad_and_hess(loss), x, y, terms=True)
    both = value_and_grad(loss, (0, 1))
    value, (by_x, by_y) = on_device(both, x, y)
    expected, slopes = both(x, y)
    np.testing.assert_allclose(value, expected, rtol=FEW)
    for got, exact in zip((by_x, by_y), slopes, strict=True):
        np.testing.assert_allclose(got, exact, rtol=FEW, atol=FEW * np.max(np.abs(exact)))


@on("name", ["pairwise_logistic", "lambdarank"])
def test_a_gradient_is_written_where_others_have_read(name: str) -> None:
    x, y = map(sys.modules["cupy"].asarray, lists(name, 3, 300))
    loss = getattr(anyloss, name)
    value, gradient = on_host(value_and_grad(loss)(x, y))
    other, last = x.copy(), x.copy()
    again, into = on_host(value_and_grad(loss, out=other)(other, y))
    assert again == value
    np.testing.assert_array_equal(into, gradient)
    np.testing.assert_array_equal(on_host(anyloss.grad(loss, out=last)(last, y)), gradient)


@on("name", ["pairwise_logistic", "lambdarank"])
@on("shape", [(37, 10), (2, 300), (1, 1100)])
def test_bits_do_not_depend_on_the_order_of_threads(name: str, shape: tuple[int, ...]) -> None:
    seen: set[bytes] = set()
    for order in range(4):
        machine.order = order
        seen.add(bits(name, *shape))
    assert len(seen) == 1


@on(
    ("capability", "shape", "cluster"),
    [("90", (1, 2100), 8), ("90", (2, 300), 1), ("80", (1, 2100), 1)],
)
def test_blocks_share_a_row_where_rows_are_few_and_long(
    capability: str, shape: tuple[int, ...], cluster: int
) -> None:
    become(capability)
    launches = len(machine.launched)
    bits("pairwise_hinge", *shape)
    assert cluster_of(machine.launched[launches]) == cluster


def test_each_row_has_a_block_where_rows_are_many() -> None:
    many = np.zeros((600, 2100), np.float32)
    assert cluster_of(tinyloss.source(tinyloss.pairwise_hinge, many, many, target="cuda")) == 1


def test_memory_is_that_of_the_members(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the gradient: what passes keep of rows at work at once, and blocks' sums."""
    taken: list[int] = []
    empty = cupy.empty

    def counted(shape: Any, dtype: Any = float, order: str = "C") -> Any:
        taken.append(int(np.prod(shape)) * np.dtype(dtype).itemsize)
        return empty(shape, dtype, order)

    x, y = map(cupy.asarray, lists("lambdarank", 2, 1000))
    step = value_and_grad(tinyloss.lambdarank)
    step(x, y)
    monkeypatch.setattr(cupy, "empty", counted)
    step(x, y)
    taken.remove(x.nbytes)  # the gradient
    assert sum(taken) <= 5 * x.nbytes


def test_rows_take_turns_where_their_memory_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = bits("lambdarank", 9, 40)
    tinyloss.clear_caches()
    monkeypatch.setattr(plans, "_SCRATCH", 1)
    grids: list[int] = []
    make = plans.Plan

    def made(*given: Any) -> plans.Plan:
        plan = make(*given)
        grids.append(plan.grid[0])
        return plan

    monkeypatch.setattr(plans, "Plan", made)
    assert bits("lambdarank", 9, 40) == at_once
    assert grids == [1]


def test_a_formula_of_ones_own_that_goes_over_pairs() -> None:
    """Its derivative has pairs whose classes change places, and conditions of the other class."""

    @tinyloss.loss(rowwise=True)
    def own(x: Any, y: Any) -> Any:
        xp = tinyloss.namespace(x)
        size = xp.exp(x - xp.max(x, axis=-1, keepdims=True))

        def of_pairs(one: Any, other: Any) -> list[Any]:
            return [xp.where(one[1] & ~other[1], one[0] * xp.tanh(one[2] - other[2]), 0.0)]

        (sums,) = _rows.over_pairs(of_pairs, [size, y > 1, x])
        return xp.sum(sums, axis=-1)

    launches = len(machine.launched)
    assert_as_on_numpy(value_and_grad(own), *lists("", 3, 40), terms=True)
    one_kernel(machine.launched[launches])


def test_a_sum_of_losses_has_pairs_too() -> None:
    both: Any = tinyloss.PairwiseLogisticLoss() + 0.5 * tinyloss.PairwiseHingeLoss()
    assert_as_on_numpy(value_and_grad(both), *lists("", 3, 40), terms=True)


@on("name", sorted(PAIRED))
def test_source_shows_the_loop_over_pairs(name: str) -> None:
    one_kernel(tinyloss.source(getattr(anyloss, name), target="cuda"))


def test_no_kernel_has_memory_for_nothing() -> None:
    """A value alone needs no number of a class again."""
    x, y = map(sys.modules["cupy"].asarray, lists("", 3, 40))
    launches = len(machine.launched)
    tinyloss.pairwise_logistic(x, y)
    assert not re.search(r"\bscratch\b", machine.launched[launches])
