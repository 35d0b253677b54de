"""Users' own losses of more arrays than x and y."""

from typing import Any

import numpy as np
import pytest

import tinyloss
import tinyloss_numpy
from tests.support.compare import close
from tests.support.libraries import Library

anyloss: Any = tinyloss
RNG = np.random.default_rng(0)
FOUR = RNG.normal(size=(4, 6)).astype(np.float32).astype(np.float64)
ROWS = RNG.normal(size=(3, 5, 4)).astype(np.float32).astype(np.float64)
SIDES = np.where(np.arange(5) % 2, -1.0, 1.0)[:, None]


# i and n are what loops count by in compiled code.
@tinyloss.loss
def preferred(x: Any, y: Any, i: Any, n: Any, *, beta: float = 0.1) -> Any:
    xp = tinyloss.namespace(x)
    d = beta * ((y - n) - (x - i))
    return xp.where(d < 40, xp.log1p(xp.exp(xp.minimum(d, 40.0))), d)


@tinyloss.loss(rowwise=True)
def triplet(x: Any, y: Any, negative: Any, *, margin: float = 1.0) -> Any:
    xp = tinyloss.namespace(x)
    near, far = (xp.sqrt(xp.sum((x - other) ** 2, axis=-1)) for other in (y, negative))
    return xp.maximum(near - far + margin, 0.0)


@tinyloss.loss(rowwise=True)
def by_side(x: Any, y: Any, side: Any) -> Any:
    """Return the mean over classes of what is the same for each of them."""
    xp = tinyloss.namespace(x)
    total = xp.sum(x * y, axis=-1, keepdims=True)
    return xp.sum(xp.where(side > 0, total, -total), axis=-1) / x.shape[-1]


any_by_side: Any = by_side


def compiled(call: Any) -> Any:
    with tinyloss_numpy.compilation("always"):
        return call()


def test_each_has_its_gradient(xp: Library) -> None:
    x, y, i, n = FOUR
    slope = -0.5 / (1 + np.exp(0.5 * ((x - i) - (y - n)))) / 6
    value = np.log1p(np.exp(-0.5 * ((x - i) - (y - n)))).mean()

    def call(*arrays: Any) -> Any:
        return anyloss.value_and_grad(preferred, (0, 1, 2, 3))(*arrays, beta=0.5)

    got, grads = xp.fetch(xp.call(call, *[xp.asarray(each) for each in FOUR]))
    close(got, value, eps=16, why="a function and a sum", dtype="float32")
    for grad, sign in zip(grads, (1, -1, -1, 1), strict=True):
        close(grad, sign * slope, eps=16, why="two functions", dtype="float32")


def test_compiled_they_are_alike() -> None:
    weight = np.arange(6.0)
    ask = anyloss.value_and_grad(preferred, (0, 1, 2, 3))
    expected = ask(*FOUR, weight=weight)
    value, grads = compiled(lambda: ask(*FOUR, weight=weight))
    np.testing.assert_allclose(value, expected[0], rtol=1e-14)
    np.testing.assert_allclose(grads, expected[1], rtol=1e-14)


def test_rows_are_those_of_torch(torch: Any) -> None:
    tensors = [torch.tensor(each, requires_grad=True) for each in ROWS]
    theirs = torch.nn.functional.triplet_margin_loss(*tensors, eps=0.0)
    theirs.backward()
    value, grads = anyloss.value_and_grad(triplet, (0, 1, 2))(*ROWS)
    np.testing.assert_allclose(value, theirs.item(), rtol=1e-14)
    for grad, tensor in zip(grads, tensors, strict=True):
        np.testing.assert_allclose(grad, tensor.grad.numpy(), rtol=1e-12, atol=1e-16)


def test_one_number_of_a_row_counts_for_each_class(xp: Library) -> None:
    x, y, _ = ROWS
    expected = SIDES[:, 0] * (x * y).sum(axis=-1)

    def call(*arrays: Any) -> Any:
        return anyloss.value_and_grad(by_side)(*arrays, reduction="none")

    value, grad = xp.fetch(xp.call(call, *[xp.asarray(each) for each in (x, y, SIDES)]))
    close(value, expected, eps=64, why="sums that cancel", dtype="float32")
    close(grad, SIDES * y, eps=16, why="a product", dtype="float32")


def test_it_counts_so_compiled_and_along_another_axis() -> None:
    x, y, _ = ROWS
    expected = (SIDES[:, 0] * (x * y).sum(axis=-1)).mean()
    for call in (
        lambda: any_by_side(x, y, SIDES),
        lambda: any_by_side(x.T, y.T, SIDES.T, axis=0),
    ):
        np.testing.assert_allclose(compiled(call), expected, rtol=1e-13)


def test_along_another_axis_it_has_its_gradient() -> None:
    x, y, negative = ROWS
    expected = anyloss.grad(triplet, 2)(x, y, negative)
    got = anyloss.grad(triplet, 2)(x.T, y.T, negative.T, axis=0)
    np.testing.assert_array_equal(got, expected.T)


def test_what_broadcasts_has_no_gradient() -> None:
    x, y, _ = ROWS
    with pytest.raises(ValueError, match=r"side has shape \(5, 1\), expected \(5, 4\)"):
        anyloss.grad(by_side, 2)(x, y, SIDES)


def test_what_does_not_fit_is_an_error() -> None:
    x, y, _ = ROWS
    with pytest.raises(ValueError, match=r"side has shape \(3,\), expected one that broadcasts"):
        any_by_side(x, y, np.ones(3))


def test_a_product_with_a_direction() -> None:
    way = np.ones(6)
    _, curvature = anyloss.grad_and_hess(preferred)(*FOUR)
    got = anyloss.hvp(preferred)(*FOUR, way)
    np.testing.assert_allclose(got, curvature / 6, rtol=1e-13)


@pytest.mark.parametrize("name", ["weight", "axis", "direction", "reduction"])
def test_names_of_options_are_taken(name: str) -> None:
    space: dict[str, Any] = {}
    exec(f"def mine(x, y, {name}): return x - y", space)
    with pytest.raises(TypeError, match=r"^tinyloss\.loss: mine has the signature"):
        tinyloss.loss(space["mine"])
