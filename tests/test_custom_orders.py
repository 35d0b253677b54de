"""Users' own losses of rows in an order: running sums, and rows that are sorted."""

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest

import tinyloss
from tests.support.compare import close
from tests.support.libraries import Library
from tests.support.params import turns
from tinyloss.testing import check_loss

on = pytest.mark.parametrize
anyloss: Any = tinyloss
mp: Any = mpmath.MPContext()
mp.dps = 60
RNG = np.random.default_rng(0)
X, Y = (RNG.normal(size=(3, 7)).astype(np.float32).astype(np.float64) for _ in range(2))
EVENTS = np.where(RNG.random((3, 7)) < 0.6, 1.0, 0.0)


def rows(formula: Callable[..., Any]) -> Any:
    return tinyloss.loss(rowwise=True)(formula)


@rows
def cox(x: Any, y: Any, time: Any) -> Any:
    xp = tinyloss.namespace(x)
    risk, died = tinyloss.sort_by(-time, x, y)
    return -xp.sum(died * (risk - tinyloss.cumulative_log_sum_exp(risk)), axis=-1)


@rows
def earth_mover(x: Any, y: Any) -> Any:
    xp = tinyloss.namespace(x)
    return xp.sum(xp.abs(xp.cumulative_sum(x - y, axis=-1)), axis=-1)


@rows
def from_the_end(x: Any, y: Any) -> Any:
    xp = tinyloss.namespace(x)
    behind = xp.flip(xp.cumulative_sum(xp.flip(x * y, axis=-1), axis=-1), axis=-1)
    return xp.sum(behind * behind * y, axis=-1)


@rows
def of_order_statistics(x: Any, y: Any) -> Any:
    xp = tinyloss.namespace(x)
    apart = xp.sort(x, axis=-1) + xp.sort(-y, axis=-1)
    return xp.sum(apart * apart * apart, axis=-1)


@rows
def counted(x: Any, y: Any) -> Any:
    """What is the same for all classes, and conditions, may go along, too."""
    xp = tinyloss.namespace(x)
    top = xp.max(x, axis=-1, keepdims=True)
    (chosen,) = tinyloss.sort_by(y, x > y)
    ranks = xp.cumulative_sum(xp.ones_like(x), axis=-1)
    past = xp.cumulative_sum(xp.astype(x > y, x.dtype), axis=-1) * tinyloss.cumulative_log_sum_exp(
        top + 0 * x
    )
    return xp.sum(xp.where(chosen, x * past, 0.0) + ranks * x, axis=-1)


@rows
def smooth_running_top(x: Any, y: Any) -> Any:
    xp = tinyloss.namespace(x)
    return xp.sum((tinyloss.cumulative_log_sum_exp(4 * x) - y) ** 2, axis=-1)


OF_TWO = [earth_mover, from_the_end, of_order_statistics, counted, smooth_running_top]
ALL = [(cox, (EVENTS, Y)), *[(each, (Y,)) for each in OF_TWO]]
NAMES = [loss.__name__ for loss, _ in ALL]


def slopes_of(function: Callable[[Any], Any], x: Any) -> Any:
    """Return central differences of a number by an array."""
    found, step = np.zeros_like(x), 1e-6
    for at in np.ndindex(x.shape):
        move = np.zeros_like(x)
        move[at] = step
        found[at] = (function(x + move) - function(x - move)) / (2 * step)
    return found


@on(("loss", "arrays"), ALL, ids=NAMES)
def test_gradients_are_those_of_differences(loss: Any, arrays: Any) -> None:
    value, grads = anyloss.value_and_grad(loss, (0, 1))(X, *arrays)
    assert value == pytest.approx(loss(X, *arrays), rel=1e-15)
    by_x = slopes_of(lambda x: loss(x, *arrays), X)
    np.testing.assert_allclose(grads[0], by_x, rtol=1e-7, atol=1e-7)
    by_y = slopes_of(lambda y: loss(X, y, *arrays[1:]), arrays[0])
    np.testing.assert_allclose(grads[1], by_y, rtol=1e-7, atol=1e-7)


@on(("loss", "arrays"), turns(ALL, 6, NAMES))
def test_every_library_has_the_same(xp: Library, loss: Any, arrays: Any) -> None:
    given = [X, *arrays]
    expected = anyloss.value_and_grad(loss)(*given, reduction="none")

    def call(*arrays: Any) -> Any:
        return anyloss.value_and_grad(loss)(*arrays, reduction="none")

    found = xp.fetch(xp.call(call, *map(xp.asarray, given)))
    for got, exact in zip(found, expected, strict=True):
        close(got, exact, eps=128, why="sums of seven terms that cancel", dtype="float32")


@on(("loss", "arrays"), ALL, ids=NAMES)
def test_products_with_the_hessian(loss: Any, arrays: Any) -> None:
    move, step = np.cos(np.arange(21.0)).reshape(3, 7), 1e-5
    slope = anyloss.grad(loss)
    along = (slope(X + step * move, *arrays) - slope(X - step * move, *arrays)) / (2 * step)
    found = anyloss.hvp(loss)(X, *arrays, move)
    np.testing.assert_allclose(found, along, rtol=1e-6, atol=1e-8)


@pytest.mark.long
@on(("loss", "arrays"), ALL, ids=NAMES)
def test_jax_and_torch_differentiate_twice(jax: Any, torch: Any, loss: Any, arrays: Any) -> None:
    jnp, move = jax.numpy, np.cos(np.arange(21.0)).reshape(3, 7)
    expected, along = anyloss.value_and_grad(loss)(X, *arrays), anyloss.hvp(loss)(X, *arrays, move)
    others = [jnp.asarray(each) for each in arrays]
    value, grad = jax.jit(jax.value_and_grad(loss))(jnp.asarray(X), *others)
    assert value == pytest.approx(expected[0], rel=1e-14)
    np.testing.assert_allclose(grad, expected[1], rtol=1e-12, atol=1e-13)

    def slope(x: Any) -> Any:
        return jax.grad(loss)(x, *others)

    _, twice = jax.jvp(slope, (jnp.asarray(X),), (jnp.asarray(move),))
    np.testing.assert_allclose(twice, along, rtol=1e-11, atol=1e-12)
    each = jax.vmap(lambda x, *more: loss(x, *more))(jnp.asarray(X), *others)
    np.testing.assert_allclose(each.mean(), expected[0], rtol=1e-14)
    own = torch.tensor(X, requires_grad=True)
    tensors = [torch.tensor(each) for each in arrays]
    (first,) = torch.autograd.grad(loss(own, *tensors), own, create_graph=True)
    np.testing.assert_allclose(first.detach(), expected[1], rtol=1e-12, atol=1e-13)
    (second,) = torch.autograd.grad((first * torch.tensor(move)).sum(), own)
    np.testing.assert_allclose(second, along, rtol=1e-11, atol=1e-12)


def test_it_is_the_loss_of_survival_that_tinyloss_has() -> None:
    value, grad = anyloss.value_and_grad(cox)(X, EVENTS, Y, reduction="sum")
    theirs = anyloss.value_and_grad(tinyloss.cox_ph)
    expected, slope = theirs(X, Y, EVENTS.astype(bool), reduction="sum")
    scale = value / expected
    np.testing.assert_allclose(grad, scale * slope, rtol=1e-12, atol=1e-14)


def test_weights_masks_and_axes_are_those_of_every_loss() -> None:
    both: Any = anyloss.value_and_grad(cox)
    weight, where = np.array([1.0, 2.0, 0.5]), np.array([True, False, True])
    losses, grads = both(X, EVENTS, Y, reduction="none")
    value, grad = both(X, EVENTS, Y, weight=weight, where=where)
    assert value == pytest.approx((losses[0] + 0.5 * losses[2]) / 1.5, rel=1e-15)
    np.testing.assert_allclose(grad[2], grads[2] / 3, rtol=1e-15)
    assert not grad[1].any()
    turned, slopes = both(X.T, EVENTS.T, Y.T, axis=0)
    assert turned == pytest.approx(losses.mean(), rel=1e-15)
    np.testing.assert_allclose(slopes.T, grads / 3, rtol=1e-15)


def test_running_sums_keep_the_digits_of_small_terms() -> None:
    # log(exp(0) + exp(-50) + ...) = log1p(...); as log(cumulative_sum(exp(x))) they would be 0
    x = np.array([0.0, -50.0, -40.0, -60.0, 3e4, 3e4 - 20])
    exact = [mp.log(mp.fsum([mp.exp(mp.mpf(v)) for v in x[: n + 1]])) for n in range(6)]
    found = tinyloss.cumulative_log_sum_exp(x)
    off = [abs(float((mp.mpf(float(a)) - b) / (b or 1))) for a, b in zip(found, exact, strict=True)]
    assert max(off) <= 2 * 2.0**-52


@pytest.mark.long
def test_check_loss_knows_running_sums() -> None:
    @rows
    def running(x: Any, y: Any) -> Any:
        return tinyloss.namespace(x).sum(y * tinyloss.cumulative_log_sum_exp(x), axis=-1)

    ones = np.ones_like(X)
    report = check_loss(running, X, ones, libraries=["numpy"])
    assert max(report.worst.values()) <= 2


def test_gradients_of_running_sums_are_right_at_large_logits() -> None:
    # exp(x - n), n rounded, would be off by the size of n in eps
    x = (1e4 * (1 + X[0] / 1e4)).astype(np.float32)

    @rows
    def last(x: Any, y: Any) -> Any:
        return tinyloss.cumulative_log_sum_exp(x)[..., -1]

    exact = np.exp(x.astype(float) - 1e4)
    slope = anyloss.grad(last)(x, x)
    np.testing.assert_allclose(slope, exact / exact.sum(), rtol=8 * 2.0**-24)


def test_classes_of_minus_infinity_take_no_part() -> None:
    x = np.where(np.arange(7) < 2, -np.inf, X)
    x[0, 4] = -np.inf

    @rows
    def later(x: Any, y: Any) -> Any:
        xp = tinyloss.namespace(x)
        found = tinyloss.cumulative_log_sum_exp(x)
        return xp.sum(xp.where(found == -xp.inf, 0.0, found), axis=-1)

    value, grad = anyloss.value_and_grad(later)(x, Y, reduction="none")
    there, slope = anyloss.value_and_grad(later)(X[1:, 2:], Y[1:, 2:], reduction="none")
    np.testing.assert_allclose(value[1:], there, rtol=1e-15)
    np.testing.assert_allclose(grad[1:, 2:], slope, rtol=1e-14)
    assert not grad[x == -np.inf].any()
    assert np.isfinite(grad).all()
    assert tinyloss.cumulative_log_sum_exp(np.full(3, -np.inf)).tolist() == [-np.inf] * 3
    assert tinyloss.cumulative_log_sum_exp(np.zeros((2, 1))).tolist() == [[0.0], [0.0]]


def test_what_is_alike_keeps_its_order() -> None:
    key, x = np.array([2.0, 1.0, 2.0, 1.0]), np.arange(4.0)
    (found,) = tinyloss.sort_by(key, x)
    assert found.tolist() == [1, 3, 0, 2]
    (of_each_row,) = tinyloss.sort_by(key, np.stack([x, -x]))
    assert of_each_row.tolist() == [[1, 3, 0, 2], [-1, -3, 0, -2]]


def test_no_row_is_in_parts() -> None:
    with pytest.raises(TypeError, match="goes over a row in order, which no row in parts can"):
        cox(X, EVENTS, Y, axis_name="members")


@on(
    ("formula", "told"),
    [
        (
            lambda xp, x: xp.cumulative_sum(x, axis=0),
            "cumulative_sum over axis 0, expected axis=-1",
        ),
        (lambda xp, x: xp.flip(x), "flip over axis None, expected axis=-1"),
        (
            lambda xp, x: xp.cumulative_sum(xp.sum(x, axis=-1), axis=-1),
            r"cumulative_sum of an array of shape \(...,\), expected an array with classes",
        ),
        (lambda xp, x: tinyloss.sort_by(x, 1.0)[0], "sort_by of 1.0, expected an array with"),
    ],
)
def test_errors_say_what_was_expected(formula: Any, told: str) -> None:
    @rows
    def wrong(x: Any, y: Any) -> Any:
        xp = tinyloss.namespace(x)
        return xp.sum(formula(xp, x), axis=-1)

    with pytest.raises(ValueError, match=f"tinyloss.wrong: .*{told}"):
        wrong(X, Y)
