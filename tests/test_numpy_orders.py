"""Kernels of losses that sort rows and run along them, beside their formulas."""

from typing import Any

import numpy as np
import pytest

import tinyloss
import tinyloss_numpy
from tests.support.compiled import EPS, assert_agrees, bits, compiled, numbers
from tests.support.machine import called
from tinyloss_numpy import _programs

on = pytest.mark.parametrize
anyloss: Any = tinyloss
RNG = np.random.default_rng(0)


@tinyloss.loss(rowwise=True)
def plackett_luce(x: Any, y: Any, time: Any) -> Any:
    xp = tinyloss.namespace(x)
    risk, died = tinyloss.sort_by(-time, x, y)
    return -xp.sum(died * (risk - tinyloss.cumulative_log_sum_exp(risk)), axis=-1)


@tinyloss.loss(rowwise=True)
def of_order_statistics(x: Any, y: Any) -> Any:
    xp = tinyloss.namespace(x)
    apart = xp.sort(x, axis=-1) + xp.sort(-y, axis=-1)
    return xp.sum(apart * apart * apart, axis=-1)


@tinyloss.loss(rowwise=True)
def counted(x: Any, y: Any) -> Any:
    """What is the same for all classes, and conditions, may go along, too."""
    xp = tinyloss.namespace(x)
    (chosen,) = tinyloss.sort_by(y, x > y)
    ranks = xp.flip(xp.cumulative_sum(xp.ones_like(x), axis=-1), axis=-1)
    past = xp.cumulative_sum(xp.astype(x > y, x.dtype), axis=-1)
    return xp.sum(xp.where(chosen, x * past, 0.0) + ranks * x, axis=-1)


@pytest.mark.long
@on("real", ["float32", "float64"])
def test_rows_are_sorted_as_numpy_sorts(real: str) -> None:
    """Short rows and long ones, with ties, both zeros, infinities and NaN; a second key too."""
    from tinyloss_numpy._orders import orders
    from tinyloss_numpy._source import DIGITS, LANES

    lanes = LANES[real]
    found = {
        name: called(each, 7 if name == "sort" else 5) for name, each in orders(real, lanes).items()
    }
    digits = np.empty(DIGITS, np.int64)
    for classes in (1, 2, 3, 48, 49, 500):
        first, second, x = (RNG.standard_normal((3, classes)).astype(real) for _ in range(3))
        first = np.round(first)
        second[RNG.random((3, classes)) < 0.3] = RNG.choice([0.0, -0.0, np.inf, -np.inf, np.nan])
        second[:, ::3] = np.where(RNG.random((3, len(second[0, ::3]))) < 0.5, 0.0, -0.0)
        keys = [np.empty((classes, lanes), real) for _ in range(2)]
        for place, key in zip(keys, (first, second), strict=True):
            place[:, :3] = key.T
        order = np.empty((classes, lanes), np.int32)
        scratch = np.empty(2 * classes, np.int64)
        held = order.ctypes.data, scratch.ctypes.data, digits.ctypes.data
        for number, key in enumerate(reversed(keys)):
            found["sort"](held[0], key.ctypes.data, number, 3, classes, *held[1:])
        expected = np.stack([np.lexsort((b, a)) for a, b in zip(first, second, strict=True)])
        assert order[:, :3].T.tolist() == expected.tolist()
        here, there, back = (np.zeros((classes, lanes), real) for _ in range(3))
        here[:, :3] = x.T
        found["arrange"](held[0], here.ctypes.data, there.ctypes.data, 3, classes)
        assert there[:, :3].T.tolist() == np.take_along_axis(x, expected, -1).tolist()
        found["put_back"](held[0], there.ctypes.data, back.ctypes.data, 3, classes)
        assert back.tolist() == here.tolist()


SHAPES = [(3, 2), (40, 130)]


@pytest.mark.long
@on("name", ["listmle", "unique_softmax", "fenchel_young", "lovasz_hinge", "crps_ensemble"])
def test_kernels_and_formulas_agree(name: str) -> None:
    loss = getattr(anyloss, name)
    for shape in SHAPES:
        x, y = numbers(*shape), RNG.integers(0, 4, shape)
        given: dict[str, Any] = {
            "fenchel_young": (y[:, 0] % shape[1],),
            "lovasz_hinge": (y > 1,),
            "crps_ensemble": (x[:, 0] + np.float32(0.5),),
        }
        assert_agrees(loss, x, *given.get(name, (y,)), terms=True)


@pytest.mark.long
def test_groups_of_rows_are_compiled() -> None:
    """Ties of events, strata, and what is masked; times in whole numbers of 64 bits, too."""
    shape = (20, 60)
    x, y, event = numbers(*shape), RNG.integers(0, 9, shape), RNG.random(shape) < 0.5
    strata, mask = RNG.integers(0, 3, shape), RNG.random(shape) < 0.8
    options: dict[str, Any] = {"segments": strata.astype(np.int8), "mask": mask}
    for times in (y.astype(np.float32), 2**20 + y):
        assert_agrees(anyloss.cox_ph, x, times, event, terms=True, **options)


@pytest.mark.long
@on("loss", [counted, of_order_statistics])
def test_losses_of_ones_own_are_compiled(loss: Any) -> None:
    x, y = (numbers(20, 70, seed=seed, dtype="float64") for seed in (1, 2))
    assert_agrees(loss, x, y, computed="float64", terms=True)


@pytest.mark.long
def test_a_loss_of_ones_own_and_its_source() -> None:
    x, time = numbers(40, 9), RNG.integers(0, 4, (40, 9)).astype(np.float32)
    died = (RNG.random((40, 9)) < 0.5).astype(np.float32)
    assert_agrees(plackett_luce, x, died, time, terms=True)
    text = anyloss.source(plackett_luce, x, died, time)
    assert "sort(order0" in text
    assert "arrange(order0" in text


@pytest.mark.long
def test_threads_change_no_bit() -> None:
    """And the rest of a tile that has fewer rows than lanes is no matter."""
    x, y = numbers(900, 300), RNG.integers(0, 5, (900, 300))
    derive: Any = tinyloss.value_and_grad(tinyloss.listmle)
    with compiled():
        whole = derive(x, y, reduction="none")
        alone = [derive(x[n : n + 1], y[n : n + 1], reduction="none") for n in (0, 17, 899)]
        found = {bits(derive(x, y)) for _ in range(3)}
    assert len(found) == 1
    for n, (value, grad) in zip((0, 17, 899), alone, strict=True):
        assert value[0] == whole[0][n]
        np.testing.assert_array_equal(grad[0], whole[1][n])


@pytest.mark.long
def test_rows_that_are_long_have_fewer_beside_them() -> None:
    x, y = numbers(6, 8192), RNG.integers(0, 2, (6, 8192))
    derive: Any = tinyloss.value_and_grad(tinyloss.lovasz_hinge)
    with compiled():
        value, grad = derive(x, y, reduction="none")
        assert bits(derive(x[:3], y[:3], reduction="none")) == bits((value[:3], grad[:3]))


def test_times_that_rounding_would_make_equal_are_left_to_the_formulas() -> None:
    x, event = numbers(20, 6), np.ones((20, 6), bool)
    y = 2.0**30 + np.arange(120.0).reshape(20, 6)  # alike in float32
    with tinyloss_numpy.compilation("always"):
        found = tinyloss.cox_ph(x, y, event)
    expected = tinyloss.cox_ph(x, np.arange(120, dtype=np.float32).reshape(20, 6), event)
    assert abs(found - expected) <= 4 * EPS["float32"] * expected


def test_rows_that_would_take_much_memory_are_left_to_the_formulas(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_programs, "_MOST_SCRATCH", 2**16)
    x, y = numbers(2, 3000), numbers(2, 3000, seed=1)
    with tinyloss_numpy.compilation("always"):
        found = tinyloss.listmle(x, y)
    with tinyloss_numpy.compilation("never"):
        assert found == tinyloss.listmle(x, y)
