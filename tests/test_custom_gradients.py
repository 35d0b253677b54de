"""Closed forms of the gradient of users' own losses."""

from typing import Any

import numpy as np
import pytest

import tinyloss
from tests.support.libraries import Library
from tinyloss.testing import check_loss

on = pytest.mark.parametrize
anyloss: Any = tinyloss

X, Y = np.array([3.0, -0.5, 0.0]), np.array([0.0, 0.25, 1.0])
FACTOR = 1.0


def charbonnier() -> Any:
    """Return a loss of elements with closed forms that say so: each is FACTOR times as steep."""

    @tinyloss.loss
    def charbonnier(x: Any, y: Any, *, eps: float = 1e-3) -> Any:
        return tinyloss.namespace(x).sqrt((x - y) ** 2 + eps**2)

    @charbonnier.gradient
    def by_x(x: Any, y: Any, *, eps: float) -> Any:
        return FACTOR * (x - y) / tinyloss.namespace(x).sqrt((x - y) ** 2 + eps**2)

    return charbonnier


def squares() -> Any:
    @tinyloss.loss(rowwise=True)
    def squares(x: Any, y: Any) -> Any:
        return tinyloss.namespace(x).sum((x - y) ** 2, axis=-1)

    @squares.gradient
    def by_x(x: Any, y: Any) -> Any:
        return 2 * FACTOR * (x - y)

    @squares.gradient("y")
    def by_y(x: Any, y: Any) -> Any:
        return 2 * FACTOR * (y - x)

    return squares


def test_it_is_the_gradient_on_every_library(xp: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "FACTOR", 3.0)
    x, y = xp.asarray(X), xp.asarray(Y)
    own, slope = charbonnier(), (X - Y) / np.sqrt((X - Y) ** 2 + 0.25)

    def call(x: Any, y: Any) -> Any:
        return anyloss.value_and_grad(own, (0, 1))(x, y, eps=0.5, reduction="sum")

    value, (by_x, by_y) = xp.fetch(xp.call(call, x, y))
    np.testing.assert_allclose(value, np.sqrt((X - Y) ** 2 + 0.25).sum(), rtol=1e-6)
    np.testing.assert_allclose(by_x, 3 * slope, rtol=1e-6)
    np.testing.assert_allclose(by_y, -slope, rtol=1e-6)  # by reverse mode, as before


def test_curvature_is_its_derivative(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "FACTOR", 3.0)
    _, curvature = anyloss.grad_and_hess(charbonnier())(X, Y, eps=0.5)
    np.testing.assert_allclose(curvature, 3 * 0.25 / ((X - Y) ** 2 + 0.25) ** 1.5, rtol=1e-12)


def test_what_it_reads_may_change(monkeypatch: pytest.MonkeyPatch) -> None:
    own = charbonnier()
    before = anyloss.grad(own)(X, Y)
    monkeypatch.setitem(globals(), "FACTOR", 2.0)
    np.testing.assert_array_equal(anyloss.grad(own)(X, Y), 2 * before)


def test_rows_have_one_by_each_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "FACTOR", 3.0)
    x, y = np.stack([X, Y]), np.stack([Y, Y])
    by_x, by_y = anyloss.grad(squares(), (0, 1))(x, y, reduction="sum")
    np.testing.assert_array_equal(by_x, 6 * (x - y))
    np.testing.assert_array_equal(by_y, 6 * (y - x))


def test_it_may_come_after_a_call() -> None:
    @tinyloss.loss
    def squared(x: Any, y: Any) -> Any:
        return (x - y) ** 2

    any_squared: Any = squared
    before = anyloss.grad(any_squared)(X, Y)
    squared.gradient(lambda x, y: 4 * (x - y))
    np.testing.assert_array_equal(anyloss.grad(any_squared)(X, Y), 2 * before)


def test_a_wrong_one_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    check_loss(charbonnier(), X, Y, libraries=["numpy"])
    monkeypatch.setitem(globals(), "FACTOR", 1.001)
    with pytest.raises(AssertionError, match="the gradient by x is"):
        check_loss(charbonnier(), X, Y, libraries=["numpy"])


def test_its_shape_is_that_of_x() -> None:
    own = squares()
    own.gradient(lambda x, y: tinyloss.namespace(x).sum(x - y, axis=-1))
    with pytest.raises(ValueError, match=r"^tinyloss\.squares: a loss's gradient returned .*C\)"):
        anyloss.grad(own)(np.ones((2, 3)), np.ones((2, 3)))


@on("what", ["z", 3, None])
def test_what_is_no_gradient_is_an_error(what: Any) -> None:
    own = charbonnier()
    with pytest.raises(TypeError, match=r"^tinyloss\.charbonnier\.gradient: got .*'x' or 'y'"):
        own.gradient(what)


def test_it_takes_the_arguments_of_the_loss() -> None:
    own = charbonnier()
    with pytest.raises(TypeError, match=r"got a function of \(x\), expected one of \(x: Any, y"):
        own.gradient(lambda x: x)
    assert anyloss.grad(own)(np.array([1.0]), np.array([1.0])) == 0


def test_labels_have_none() -> None:
    @tinyloss.loss(labels=True)
    def first(x: Any, y: Any) -> Any:
        return x[..., 0]

    with pytest.raises(TypeError, match=r"got 'y', expected a function, or 'x' before one"):
        first.gradient("y")


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_a_loss_of_rows_has_the_diagonal_of_its_curvature(reduction: Any) -> None:
    """One class after the other: each is the Hessian's product with its direction, there."""

    @tinyloss.loss(rowwise=True)
    def entropy(x: Any, y: Any, *, scale: float = 1.0) -> Any:
        xp = tinyloss.namespace(x)
        d = x - xp.max(x, axis=-1, keepdims=True)
        return scale * (xp.log(xp.sum(xp.exp(d), axis=-1)) - xp.sum(y * d, axis=-1))

    rng = np.random.default_rng(17)
    x, y = rng.normal(size=(4, 5)), np.eye(5)[rng.integers(0, 5, 4)]
    options: dict[str, Any] = {"weight": [1.0, 2.0, 0.0, 0.5], "reduction": reduction}
    derive: Any = tinyloss.grad_and_hess
    expected = derive(tinyloss.cross_entropy)(x, y, **options)
    found = derive(entropy)(x, y, **options)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=16 * 2.0**-52)
    doubled = derive(entropy)(x, y, scale=2.0, **options)[1]
    np.testing.assert_allclose(doubled, 2 * expected[1], rtol=0, atol=32 * 2.0**-52)

    # rows of several axes, and a weight for each element
    @tinyloss.loss(rowwise=True)
    def fourth(x: Any, y: Any, u: Any) -> Any:
        xp = tinyloss.namespace(x)
        return xp.sum(u * (x - y) ** 2, axis=-1) ** 2

    a, b, u = rng.normal(size=(3, 2, 3, 4))
    d = a - b
    bend = derive(fourth)(a, b, u, axis=(1, 2))[1]
    total = np.sum(u * d * d, axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(bend, 8 * u * u * d * d + 4 * u * total, rtol=1e-12, atol=1e-12)
    assert (derive(fourth, hess="boosting")(a, b, u, axis=(1, 2))[1] > 0).all()
