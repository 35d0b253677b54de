"""Losses of one's own whose formula compares the classes of a row with each other."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import tinyloss
import tinyloss.testing
import tinyloss_numpy
from tests.support.libraries import Library
from tests.support.memory import peak
from tests.support.on_cupy import assert_as_on_numpy, emulated
from tinyloss import _rows
from tinyloss.compiler.recorder import Unrecordable

Array = npt.NDArray[Any]
Formula = Callable[[Any, Any], Any]
on = pytest.mark.parametrize
value_and_grad: Any = tinyloss.value_and_grad

EPS = 2.0**-52


def logistic(x: Any, y: Any) -> Any:
    xp = tinyloss.namespace(x)
    lead = x[..., :, None] - x[..., None, :]
    cost = xp.maximum(-lead, 0.0) + xp.log1p(xp.exp(-xp.abs(lead)))
    return xp.sum(xp.where(y[..., :, None] > y[..., None, :], cost, 0.0), axis=(-2, -1))


def by_rows(x: Any, y: Any) -> Any:
    """The same, over one class and then over the other."""
    xp = tinyloss.namespace(x)
    d = x[..., None, :] - x[..., :, None]
    better = y[..., :, None] > y[..., None, :]
    return xp.sum(xp.sum(xp.where(better, xp.log1p(xp.exp(d)), 0.0), axis=-2), axis=-1)


def ranks(x: Any, y: Any) -> Any:
    """Smooth ranks are used in pairs again."""
    xp = tinyloss.namespace(x)
    rank = xp.sum(1 / (1 + xp.exp(x[..., :, None] - x[..., None, :])), axis=-1)
    return xp.sum((rank[..., :, None] - rank[..., None, :]) ** 2 * y[..., :, None], axis=(-1, -2))


def means(x: Any, y: Any) -> Any:
    xp = tinyloss.namespace(x)
    d = (x - xp.max(x, axis=-1, keepdims=True))[..., :, None] * y[..., None, :]
    return xp.mean(xp.tanh(d), axis=(-2, -1)) + xp.sum(xp.mean(d, axis=-2) ** 2, axis=-1)


def kept(x: Any, y: Any) -> Any:
    """What each class is of all, by pairs: dimensions of length 1 broadcast."""
    xp = tinyloss.namespace(x)
    d = xp.exp(x[..., :, None] * y[..., None, :] / 4)
    share = d / xp.sum(d, axis=-1, keepdims=True) - d / xp.sum(d, axis=-2, keepdims=True)
    whole = xp.sum(d, axis=(-2, -1), keepdims=True)
    return xp.sum(share * share * d / whole, axis=(-2, -1))


def lengths(x: Any, y: Any) -> Any:
    """Sums along a dimension of length 1, and of what is the same for each class."""
    xp = tinyloss.namespace(x)
    own, other = x[..., :, None], y[..., None, :]
    some = xp.sum(own, axis=-1) * xp.sum(other, axis=-2)
    rows = xp.sum(own, axis=-2) * xp.sum(other, axis=-1)
    same = xp.sum(xp.ones_like(own - other), axis=-1) * x + own.shape[-2] * own.shape[-1]
    ones = xp.ones_like(x)[..., :, None] * xp.where(other > 0, xp.ones_like(own - other), 0.0)
    some = some + xp.sum(ones, axis=-1) * x + xp.sum(ones, axis=-2)
    return xp.sum(some + same, axis=-1) + xp.sum(rows, axis=-1) * other.shape[-1]


def conditions(x: Any, y: Any) -> Any:
    xp = tinyloss.namespace(x)
    best = xp.all(y[..., :, None] >= y[..., None, :], axis=-1)
    beaten = xp.any(x[..., :, None] < x[..., None, :], axis=-1)
    return xp.sum(xp.where(best & beaten, xp.max(x, axis=-1, keepdims=True) - x, 0.0), axis=-1)


FORMULAS: dict[str, Formula] = {
    each.__name__: each for each in (logistic, by_rows, ranks, means, kept, lengths, conditions)
}
LOSSES = {name: tinyloss.loss(rowwise=True)(each) for name, each in FORMULAS.items()}
every = on("name", FORMULAS)


def drawn(*shape: int, dtype: Any = np.float64) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    return rng.standard_normal(shape).astype(dtype), rng.integers(0, 4, shape).astype(dtype)


def differences(formula: Formula, x: Array, y: Array, by: int) -> Array:
    """Return central differences of the sum over rows."""
    arrays, slopes, step = [x, y], np.empty_like(x), 1e-6
    for place in np.ndindex(x.shape):
        ends: list[Any] = []
        for side in (1, -1):
            moved = arrays[by].copy()
            moved[place] += side * step
            given = [moved if n == by else each for n, each in enumerate(arrays)]
            ends.append(np.sum(formula(*given)))
        slopes[place] = (ends[0] - ends[1]) / (2 * step)
    return slopes


@every
def test_value_and_gradients_are_those_of_the_lines(name: str) -> None:
    x, y = drawn(3, 5)
    y += 0.1 * np.arange(5)  # no ties: a difference is not a slope there
    by = (0, 1)
    value, slopes = value_and_grad(LOSSES[name], by)(x, y, reduction="none")
    np.testing.assert_allclose(value, FORMULAS[name](x, y), rtol=64 * EPS)
    for n in by:
        exact = differences(FORMULAS[name], x, y, n)
        np.testing.assert_allclose(slopes[n], exact, rtol=1e-6, atol=1e-7 * np.max(np.abs(exact)))


@every
@on("xp", ["numpy", "torch", "array-api-strict", "jax:jit", "dask"], indirect=True)
def test_every_library(name: str, xp: Library) -> None:
    x, y = drawn(4, 6, dtype=np.float32)
    value, slope = value_and_grad(LOSSES[name])(xp.asarray(x), xp.asarray(y))
    expected, exact = value_and_grad(LOSSES[name])(x.astype(np.float64), y.astype(np.float64))
    size = np.max(np.abs(exact)) + np.abs(expected)
    np.testing.assert_allclose(xp.numpy(value), expected, rtol=0, atol=1e-6 * size)
    np.testing.assert_allclose(xp.numpy(slope), exact, rtol=0, atol=1e-6 * size)


@pytest.mark.long
@every
@pytest.mark.heavy(3)
def test_compiled_loops_answer_as_the_lines_do(name: str) -> None:
    pytest.importorskip("llvmlite")
    x, y = drawn(7, 21)
    expected, exact = value_and_grad(LOSSES[name])(x, y)
    with tinyloss_numpy.compilation("always"):
        value, slope = value_and_grad(LOSSES[name])(x, y)
    np.testing.assert_allclose(value, expected, rtol=64 * EPS)
    np.testing.assert_allclose(slope, exact, rtol=0, atol=64 * EPS * np.max(np.abs(exact)))


@every
@pytest.mark.long
@emulated[1]
@emulated[2]
def test_kernels_answer_as_the_lines_do(name: str) -> None:
    assert_as_on_numpy(value_and_grad(LOSSES[name]), *drawn(3, 21), terms=True)


def test_kernels_loop_over_pairs() -> None:
    text = tinyloss.source(LOSSES["logistic"], target="cuda")
    assert "for (index other = first; other < end; ++other)" in text


@pytest.mark.long
@on("name", ["logistic", "means"])
def test_no_array_of_all_pairs_is_made(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By blocks, where nothing is compiled: a row of 1000 has 8 MB of pairs."""
    monkeypatch.setattr(_rows, "PAIRS", 2**13)
    x, y = drawn(1, 1000)
    with tinyloss_numpy.compilation("never"):
        taken = peak(lambda: value_and_grad(LOSSES[name])(x, y))
    assert taken < 4 * 2**20


@pytest.mark.long
def test_the_check_of_a_loss_of_ones_own_goes_over_pairs() -> None:
    """In exact arithmetic, line by line: it finds the difference of ranks that cancels."""
    check: Any = tinyloss.testing.check_loss
    report = check(LOSSES["means"], *drawn(3, 4), libraries=["numpy"])
    assert max(report.worst.values()) < 4
    with pytest.raises(AssertionError, match=r"rank\[\.\.\., :, None\] - rank(.|\n)*cancels"):
        check(LOSSES["ranks"], *drawn(3, 4), libraries=["numpy"])


REFUSED: dict[str, tuple[Formula, str]] = {
    "one of the pairs": (lambda x, y: x[..., :, None][..., 0], r"array of shape \(\.\.\., C, 1\)"),
    "pairs beside classes": (
        lambda x, y: tinyloss.namespace(x).sum(x[..., :, None] - x, axis=-1),
        r"arrays of shape \(\.\.\., C, 1\) and of shape \(\.\.\., C\), whose items do not meet",
    ),
    "pairs alone": (
        lambda x, y: x[..., :, None] - x[..., None, :],
        r"returned an array of shape \(\.\.\., C, C\), expected",
    ),
    "another axis": (
        lambda x, y: tinyloss.namespace(x).sum(x[..., :, None] - y[..., None, :], axis=0),
        "sum of pairs over axis 0, expected -1, -2 or both",
    ),
    "a maximum": (
        lambda x, y: tinyloss.namespace(x).max(x[..., :, None] - y[..., None, :], axis=(-2, -1)),
        "max of pairs, expected a sum",
    ),
    "an order": (
        lambda x, y: tinyloss.namespace(x).sum(
            tinyloss.namespace(x).flip(x[..., :, None] - y[..., None, :], axis=-1), axis=(-2, -1)
        ),
        "flip of pairs",
    ),
}


@on(("formula", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(formula: Formula, words: str) -> None:
    grad: Any = tinyloss.grad(tinyloss.loss(rowwise=True)(formula))
    with pytest.raises((ValueError, Unrecordable), match=words):
        grad(*drawn(2, 3))


def test_rows_in_parts_have_no_pairs() -> None:
    jax = pytest.importorskip("jax")
    x, y = map(jax.numpy.asarray, drawn(2, 3, dtype=np.float32))
    with pytest.raises(TypeError, match="goes over pairs of a row, which no row in parts can"):
        jax.vmap(lambda a, b: LOSSES["logistic"](a, b, axis_name="n"), axis_name="n")(x, y)
