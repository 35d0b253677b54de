"""Items along several axes: as one axis, wherever they lie in memory."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import tinyloss
import tinyloss_numpy
from tests.support.libraries import Library

Array = npt.NDArray[Any]

EPS32, EPS64 = 2.0**-23, 2.0**-52
on = pytest.mark.parametrize

SHAPE = (2, 3, 4, 5)
AXES = [(2, 3), (-1, -2), (0, 2, 3), (1, 3), (0,), (3, 0), (0, 1, 2, 3), (1, 2)]


@tinyloss.loss(rowwise=True)
def spread(x: Any, y: Any) -> Any:
    xp = tinyloss.namespace(x)
    d = x - y
    return xp.sum(d * d, axis=-1) / xp.sum(1 + y, axis=-1)


def together(array: Array, axes: tuple[int, ...]) -> Array:
    """Return an array with axes as one, the last."""
    axes = tuple(sorted(axis % array.ndim for axis in axes))
    moved = np.moveaxis(array, axes, range(array.ndim - len(axes), array.ndim))
    return moved.reshape(*moved.shape[: array.ndim - len(axes)], -1)


def drawn() -> tuple[Array, Array]:
    """Return numbers that float32 holds, and differences too."""
    x, y = np.random.default_rng(0).integers(0, 100, (2, *SHAPE)) / 64
    return x, y


@on("axes", AXES, ids=str)
def test_several_axes_are_as_one(axes: tuple[int, ...], xp: Library) -> None:
    x, y = drawn()
    expected = spread(together(x, axes), together(y, axes), reduction="none")
    by_x = tinyloss.grad(spread)(together(x, axes), together(y, axes))
    own = xp.asarray(x), xp.asarray(y)
    got = xp.fetch(spread(*own, axis=axes, reduction="none"))
    np.testing.assert_allclose(got, expected, rtol=16 * EPS32)
    gradient = xp.fetch(tinyloss.grad(spread)(*own, axis=axes))
    assert gradient.shape == SHAPE
    np.testing.assert_allclose(
        together(gradient, axes), by_x, rtol=16 * EPS32, atol=EPS32 * np.abs(by_x).max()
    )


def _dense(shape: tuple[int, ...]) -> Array:
    return np.zeros(shape)


def _of_columns(shape: tuple[int, ...]) -> Array:
    return np.zeros(shape, order="F")


def _of_every_other(shape: tuple[int, ...]) -> Array:
    return np.zeros((*shape[:-1], 2 * shape[-1]))[..., ::2]


@on("make", [_dense, _of_columns, _of_every_other])
@on("axes", AXES, ids=str)
@on("compiled", ["never", pytest.param("always", marks=pytest.mark.long)])
def test_gradients_are_written_where_they_are_wanted(
    make: Callable[[tuple[int, ...]], Array], axes: tuple[int, ...], compiled: Any
) -> None:
    x, y = drawn()
    with tinyloss_numpy.compilation(compiled):
        expected = tinyloss.grad(spread)(x, y, axis=axes)
        into = make(SHAPE)
        assert tinyloss.grad(spread, out=into)(x, y, axis=axes) is into
        np.testing.assert_array_equal(into, expected)
        into[...] = x  # in its own place
        tinyloss.grad(spread, out=into)(into, y, axis=axes)
        np.testing.assert_array_equal(into, expected)


@on("axes", [(2, 3), (1, 3)])
def test_other_derivatives_have_the_shape_of_x(axes: tuple[int, ...]) -> None:
    x, y = np.random.default_rng(1).random((2, *SHAPE))
    rows = together(x, axes), together(y, axes)
    got = tinyloss.grad_and_hess(tinyloss.dice)(x, y, axis=axes)
    for one, other in zip(got, tinyloss.grad_and_hess(tinyloss.dice)(*rows), strict=True):
        np.testing.assert_allclose(together(one, axes), other, rtol=4 * EPS64)
    along = tinyloss.hvp(spread)(x, y, y, axis=axes)
    expected = tinyloss.hvp(spread)(*rows, rows[1])
    np.testing.assert_allclose(together(along, axes), expected, rtol=16 * EPS64, atol=EPS64)


@on("axes", [(2, 3), (0, 2, 3)])
def test_weights_are_of_what_is_along_the_other_axes(axes: tuple[int, ...]) -> None:
    x, y = drawn()
    shape = [SHAPE[axis] for axis in range(4) if axis not in axes]
    weight = np.arange(1.0, 1 + np.prod(shape)).reshape(shape)
    items = spread(x, y, axis=axes, reduction="none")
    assert items.shape == weight.shape
    expected = (items * weight).sum() / weight.sum()
    np.testing.assert_allclose(spread(x, y, axis=axes, weight=weight), expected, rtol=8 * EPS64)
    with pytest.raises(ValueError, match=r"spread: weight has shape \(5,\), expected one that"):
        spread(x, y, axis=axes, weight=np.ones(5))


def test_sums_of_losses_have_several_axes() -> None:
    x, y = np.random.default_rng(2).random((2, *SHAPE))
    one, other = (loss.with_options(axis=(2, 3)) for loss in (spread, spread))
    both = 0.25 * one + 0.75 * other
    value, gradient = both.value_and_grad(x, y)
    expected = one.value_and_grad(x, y)
    np.testing.assert_allclose(value, expected[0], rtol=4 * EPS64)
    np.testing.assert_allclose(gradient, expected[1], rtol=4 * EPS64, atol=EPS64)


@on("loss", [tinyloss.cross_entropy, tinyloss.js_div])
def test_losses_of_classes_have_one_axis(loss: Any) -> None:
    x = np.full(SHAPE, 0.25)
    with pytest.raises(ValueError, match=r"axis is \(2, 3\), expected an integer from -4 to 3"):
        loss(x, x, axis=(2, 3))


@on("axis", [(), (1, 1), (1, -3), (4,), (1.0,), [2, 3], (True,)], ids=str)
def test_what_are_no_axes_is_said(axis: Any) -> None:
    with pytest.raises(ValueError, match=r"spread: axis is .*, expected an integer"):
        spread(*drawn(), axis=axis)
