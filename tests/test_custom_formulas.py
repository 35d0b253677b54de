"""Losses of one's own: what they may do, what is refused at the first call, and how it is said."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinyloss
import tinyloss_numpy
from tests.support.params import turns

EPS = 2.0**-52
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(3, 4)), RNG.normal(size=(3, 4))
LABELS = np.array([0, 3, 1])

compiled = functools.partial(tinyloss_numpy.compilation, "always")
by_formulas = functools.partial(tinyloss_numpy.compilation, "never")

Function = Callable[..., Any]


def rows(function: Function) -> Any:
    return tinyloss.loss(rowwise=True)(function)


# ---------------------------------------------------------------------------------- derivatives


def uniform_cross_entropy(x: Any, y: Any) -> Any:
    """sum_c (logsumexp(x) - x_c): the slope of a number of the row is the same for all classes."""
    xp = tinyloss.namespace(x)
    return xp.sum(xp.log(xp.sum(xp.exp(x), axis=-1, keepdims=True)) - x, axis=-1)


def scaled_by_maximum(x: Any, y: Any) -> Any:
    xp = tinyloss.namespace(x)
    return xp.sum(xp.max(x, axis=-1, keepdims=True) * (x - y), axis=-1)


def times_length(x: Any, y: Any) -> Any:
    xp = tinyloss.namespace(x)
    return xp.sum(xp.max(x, axis=-1, keepdims=True) + xp.zeros_like(y), axis=-1)


def _softmax(x: Any) -> Any:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _top(x: Any) -> Any:
    return (x == x.max(-1, keepdims=True)).astype(x.dtype)


BY_HAND: list[tuple[Function, Function]] = [
    (uniform_cross_entropy, lambda x, y: x.shape[-1] * _softmax(x) - 1),
    (
        scaled_by_maximum,
        lambda x, y: x.max(-1, keepdims=True) + _top(x) * (x - y).sum(-1, keepdims=True),
    ),
    (times_length, lambda x, y: x.shape[-1] * _top(x)),
]


@pytest.mark.parametrize(("formula", "slope"), BY_HAND, ids=lambda each: each.__name__)
def test_a_number_of_the_row_counts_for_each_class(xp: Any, formula: Any, slope: Any) -> None:
    x, y = X.astype("f"), Y.astype("f")
    derive: Any = tinyloss.grad(rows(formula))
    got = xp.numpy(xp.call(derive, xp.asarray(x), xp.asarray(y), reduction="sum"))
    # tens of roundings in float32 of terms up to 10
    np.testing.assert_allclose(got, slope(x.astype(float), y.astype(float)), atol=32 * 10 * 2**-24)


@pytest.mark.parametrize(("formula", "slope"), turns(BY_HAND, 3), ids=lambda each: each.__name__)
def test_a_number_of_the_row_counts_for_each_class_compiled(formula: Any, slope: Any) -> None:
    with compiled():
        derive: Any = tinyloss.grad(rows(formula))
        got = derive(X, Y, reduction="sum")
    np.testing.assert_allclose(got, slope(X, Y), atol=32 * 10 * EPS)


@pytest.mark.long
@pytest.mark.parametrize("divide", [lambda s, x, q: s / q, lambda s, x, q: s / x.shape[-1]])
@pytest.mark.parametrize("reduction", turns(["sum", "mean"], 2))
def test_a_division_may_be_the_last_step(divide: Function, reduction: str) -> None:
    jax = pytest.importorskip("jax")

    @rows
    def divided(x: Any, y: Any, *, q: float = 4.0) -> Any:
        return divide(tinyloss.namespace(x).sum((x - y) ** 2, axis=-1), x, q)

    expected = 2 * (X - Y) / 4 / (3 if reduction == "mean" else 1)
    derive: Any = tinyloss.value_and_grad(divided)
    with by_formulas():
        value, slope = derive(X, Y, reduction=reduction)
    np.testing.assert_allclose(slope, expected, rtol=8 * EPS)
    with compiled():
        again, fast = derive(X, Y, reduction=reduction)
    np.testing.assert_allclose(fast, expected, rtol=8 * EPS)
    np.testing.assert_allclose(again, value, rtol=8 * EPS)
    traced = jax.jit(jax.grad(divided), static_argnames="reduction")
    got = np.asarray(traced(X.astype("f"), Y.astype("f"), reduction=reduction))
    np.testing.assert_allclose(got, expected, rtol=0, atol=16 * 2**-24 * np.abs(expected).max())


@pytest.mark.long
def test_what_is_known_of_classes_may_be_used() -> None:
    @rows
    def ends(x: Any, y: Any) -> Any:
        xp = tinyloss.namespace(x)
        apart = x[..., 0] - x[..., -1]
        share = 1 / (x.shape[-1] - 1)
        span = xp.max(x, axis=-1) - xp.min(x, axis=-1)
        some = xp.any(x > y, axis=-1) & ~xp.all(x > y, axis=-1)
        return apart**2 * share + xp.mean(x * y, axis=-1) + xp.where(some, span, 0.0)

    some: Any = (X > Y).any(-1) & ~(X > Y).all(-1)
    expected = (X[:, 0] - X[:, -1]) ** 2 / 3 + (X * Y).mean(-1) + np.where(some, np.ptp(X, -1), 0)
    slope = Y / 4 + 0.0
    slope[:, 0] += 2 * (X[:, 0] - X[:, -1]) / 3
    slope[:, -1] -= 2 * (X[:, 0] - X[:, -1]) / 3
    slope += some[:, None] * (_top(X) - _top(-X))
    for mode in (compiled, by_formulas):
        with mode():
            derive: Any = tinyloss.value_and_grad(ends)
            value, got = derive(X, Y, reduction="none")
        np.testing.assert_allclose(value, expected, rtol=0, atol=64 * EPS)
        np.testing.assert_allclose(got, slope, rtol=0, atol=64 * EPS)


# ------------------------------------------------------------------------------ what is refused

ROWS = {"rowwise": True}


def _number(x: Any, y: Any) -> Any:
    return 1.0


def _nothing(x: Any, y: Any) -> None:
    assert x.dtype == y.dtype


def _pair(x: Any, y: Any) -> Any:
    return x, y


def _booleans(x: Any, y: Any) -> Any:
    return x > y


def _added_dimension(x: Any, y: Any) -> Any:
    return (x - y)[..., None]


def _kept_dimension(x: Any, y: Any) -> Any:
    return tinyloss.namespace(x).sum(x - y, axis=-1, keepdims=True)


def _no_reduction(x: Any, y: Any) -> Any:
    return x - y


def _two_reductions(x: Any, y: Any) -> Any:
    xp = tinyloss.namespace(x)
    return xp.sum(xp.sum(x * y, axis=-1), axis=-1)


def _of_items_and_classes(x: Any, y: Any) -> Any:
    xp = tinyloss.namespace(x)
    return xp.sum(x - xp.max(x, axis=-1), axis=-1)


def _of_no_axis(x: Any, y: Any) -> Any:
    return x - tinyloss.namespace(x).sum(x)


def _of_items(x: Any, y: Any) -> Any:
    return x - tinyloss.namespace(x).max(x, axis=-1)


def _number_of_items(x: Any, y: Any) -> Any:
    return (x - y) / x.shape[-1]


def _first_item(x: Any, y: Any) -> Any:
    return x - y[..., 0]


def _in_place(x: Any, y: Any) -> Any:
    x -= y
    return x * x


def _set(x: Any, y: Any) -> Any:
    x[x < 0] = 0
    return x * x


REFUSED: list[tuple[Function, dict[str, bool], str]] = [
    (_number, {}, "returned a float, expected an array"),
    (_nothing, {}, "returned None"),
    (_pair, {}, "returned a tuple"),
    (_booleans, {}, "returned an array of booleans"),
    (_added_dimension, {}, r"returned an array of shape \(\.\.\., 1\)"),
    (_kept_dimension, ROWS, r"returned an array of shape \(\.\.\., 1\)"),
    (_no_reduction, ROWS, r"returned an array of shape \(\.\.\., C\)"),
    (_two_reductions, ROWS, "keepdims=True keeps the dimension for a second reduction"),
    (_of_items_and_classes, ROWS, r"subtract on arrays of shape \(\.\.\., C\) and of shape"),
    (_of_no_axis, {}, "axis None, expected axis=-1"),
    (_of_items, {}, "which reduces items"),
    (_number_of_items, {}, r"expected x.shape\[-1\] of an array with classes"),
    (_first_item, {}, "takes one of the items"),
    (_in_place, {}, "changed its argument x in place"),
    (_set, {}, "changed its argument x in place"),
]


@pytest.mark.parametrize(("formula", "kind", "message"), REFUSED, ids=lambda e: str(e)[:20])
@pytest.mark.parametrize("derived", [False, True])
def test_what_is_no_loss_of_an_item_is_refused_at_the_first_call(
    xp: Any, formula: Any, kind: dict[str, bool], message: str, derived: bool
) -> None:
    loss: Any = tinyloss.loss(**kind)(formula)
    asked: Any = tinyloss.grad(loss) if derived else loss
    # as many classes as items, so that nothing is told by the shapes
    x, y = xp.asarray(np.ones((3, 3))), xp.asarray(np.zeros((3, 3)))
    _, first = inspect.getsourcelines(formula)
    with pytest.raises(ValueError, match=message) as caught:
        asked(x, y, reduction="none")
    text = str(caught.value)
    assert text.startswith(f"tinyloss.{formula.__name__}: ")
    line = int(text.rpartition("line ")[2].rstrip(")"))
    assert __file__ in text
    assert first <= line <= first + 4


def test_what_cannot_be_recorded_keeps_its_value_if_its_shape_is_right() -> None:
    def ranks(x: Any, y: Any) -> Any:
        return np.sort(x - y, axis=-1)[..., 0]

    assert rows(ranks)(X, Y) == np.mean((X - Y).min(-1))
    with pytest.raises(
        ValueError, match=r"returned an array of shape \(3,\), expected one of shap"
    ):
        tinyloss.loss(ranks)(X, Y)


def _by_remainder(x: Any, y: Any) -> Any:
    return (x - y) % 2


def _by_floor(x: Any, y: Any) -> Any:
    return (x - y) // 2


def _by_product(x: Any, y: Any) -> Any:
    return x @ y


def _by_power(x: Any, y: Any) -> Any:
    return x ^ y


def _by_method(x: Any, y: Any) -> Any:
    return tinyloss.namespace(x).where((x > y).all(), x, y)


def _by_integers(x: Any, y: Any) -> Any:
    return tinyloss.namespace(x).astype(x - y, int)


def _by_numpy(x: Any, y: Any) -> Any:
    return np.exp(x - y)


def _by_loss(x: Any, y: Any) -> Any:
    return 2 * tinyloss.mse(x, y, reduction="none")


def _by_booleans(x: Any, y: Any) -> Any:
    return x * ((x > 0) + (y > 0))


def _by_number(x: Any, y: Any) -> Any:
    return x * tinyloss.namespace(x).exp(2.0)


UNRECORDABLE: list[tuple[Function, str]] = [
    (_by_remainder, "operator %"),
    (_by_floor, "operator //"),
    (_by_product, r"expected xp.sum\(a \* b, axis=-1\)"),
    (_by_power, r"expected \*\* for a power, != for booleans"),
    (_by_method, r"used \.all of an array, expected the functions of xp"),
    (_by_integers, r"astype to int, expected x\.dtype"),
    (_by_numpy, r"expected operators and functions of xp = tinyloss\.namespace"),
    (_by_loss, "called a function of tinyloss"),
    (_by_booleans, "add of booleans alone"),
    (_by_number, "the module math has functions of numbers"),
]


@pytest.mark.parametrize(("formula", "message"), UNRECORDABLE, ids=lambda e: str(e)[:20])
def test_what_has_no_derivative_says_what_to_write_instead(formula: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message) as caught:
        tinyloss.grad(tinyloss.loss(formula))(X, Y)
    assert str(caught.value).startswith(f"tinyloss.{formula.__name__}: ")
    assert __file__ in str(caught.value)


# -------------------------------------------------------------------------------- how it is made


def scaled(x: Any, y: Any, /, *, self: float = 2.0) -> Any:
    return self * (x - y) ** 2


class Scaled:
    """What holds a number."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, x: Any, y: Any) -> Any:
        return self.factor * (x - y) ** 2

    method = __call__


MADE = {
    "positional-only": tinyloss.loss(scaled),
    "partial": tinyloss.loss(functools.partial(scaled, self=2.0)),
    "lambda": tinyloss.loss(lambda x, y: 2 * (x - y) ** 2),
    "object": tinyloss.loss(Scaled(2)),
    "method": tinyloss.loss(Scaled(2).method),
}


@pytest.mark.parametrize("name", MADE)
def test_any_callable_of_x_and_y_makes_a_loss(name: str) -> None:
    value, slope = tinyloss.value_and_grad(MADE[name])(X, Y, reduction="sum")
    np.testing.assert_allclose(value, 2 * ((X - Y) ** 2).sum(), rtol=16 * EPS)
    np.testing.assert_allclose(slope, 4 * (X - Y), rtol=4 * EPS)


def test_a_parameter_may_be_called_self() -> None:
    loss: Any = MADE["positional-only"]
    assert loss(X, Y, self=6.0) == 3 * loss(X, Y)


def test_a_class_is_no_loss() -> None:
    with pytest.raises(TypeError, match="expected a function"):
        tinyloss.loss(Scaled)


@pytest.mark.parametrize("value", [[1.0], np.ones(4), {"a": 1}, ([1.0],)])
def test_a_parameter_that_is_no_key_is_named(value: Any) -> None:
    @tinyloss.loss
    def weighted(x: Any, y: Any, *, w: Any) -> Any:
        return (x - y) * w

    with pytest.raises(TypeError, match=r"tinyloss.weighted: w is (a|an) \w+, expected a Python"):
        weighted(X, Y, w=value)


@pytest.mark.parametrize("value", [np.float32(3), np.int64(3), np.float64(3), 3])
def test_a_scalar_of_numpy_is_a_number(value: Any) -> None:
    loss: Any = MADE["positional-only"]
    assert loss(X, Y, self=value) == loss(X, Y, self=3.0)
    derive: Any = tinyloss.grad(loss)
    np.testing.assert_array_equal(derive(X, Y, self=value), derive(X, Y, self=3.0))


# --------------------------------------------------------------------------------- what it reads

FACTOR = 2.0
TABLE = {"factor": 2.0}


def _by_helper(x: Any, y: Any) -> Any:
    return FACTOR * (x - y) ** 2


@tinyloss.loss
def reads_a_global(x: Any, y: Any) -> Any:
    return FACTOR * (x - y) ** 2


@tinyloss.loss
def reads_by_a_helper(x: Any, y: Any) -> Any:
    return _by_helper(x, y)


@pytest.mark.parametrize("mode", [compiled, by_formulas])
@pytest.mark.parametrize("how", ["global", "helper", "closure", "attribute", "object"])
def test_value_and_gradient_follow_what_the_formula_reads(
    monkeypatch: pytest.MonkeyPatch, how: str, mode: Any
) -> None:
    factor, holder = 2.0, Scaled(2.0)

    @tinyloss.loss
    def of_closure(x: Any, y: Any) -> Any:
        return factor * (x - y) ** 2

    @tinyloss.loss
    def of_attribute(x: Any, y: Any) -> Any:
        return holder.factor * (x - y) ** 2

    losses = {
        "global": reads_a_global,
        "helper": reads_by_a_helper,
        "closure": of_closure,
        "attribute": of_attribute,
        "object": tinyloss.loss(holder),
    }
    with mode():
        for new in (2.0, 6.0, 2.0):
            factor = holder.factor = new
            monkeypatch.setitem(globals(), "FACTOR", new)
            value, slope = tinyloss.value_and_grad(losses[how])(X, Y, reduction="sum")
            np.testing.assert_allclose(value, new * ((X - Y) ** 2).sum(), rtol=16 * EPS)
            np.testing.assert_allclose(slope, 2 * new * (X - Y), rtol=4 * EPS)


def test_what_may_change_unseen_is_not_read() -> None:
    @tinyloss.loss
    def of_table(x: Any, y: Any) -> Any:
        return TABLE["factor"] * (x - y) ** 2

    with pytest.raises(TypeError, match=r"reads TABLE, a dict, .*make it a keyword-only parameter"):
        of_table(X, Y)


# --------------------------------------------------------------------------------- long formulas


@pytest.mark.long
@pytest.mark.parametrize("kind", turns(["rows", "elements"], 2))
def test_a_formula_may_be_longer_than_the_stack_is_deep(kind: str) -> None:
    jax = pytest.importorskip("jax")
    steps = 1200

    def chain(x: Any, y: Any) -> Any:
        xp, total = tinyloss.namespace(x), x
        for _ in range(steps):
            total = total * 0.999 + y
        return total if kind == "elements" else xp.sum(total, axis=-1)

    loss: Any = tinyloss.loss(chain) if kind == "elements" else rows(chain)
    x, y = X[:1], Y[:1]
    derive: Any = tinyloss.value_and_grad(loss)
    value, slope = derive(x, y, reduction="sum")
    np.testing.assert_allclose(value, np.sum(chain(x, y)), rtol=64 * EPS)
    np.testing.assert_allclose(slope, 0.999**steps, rtol=2 * steps * EPS)
    assert "t1000" in tinyloss.source(loss, x, y)
    traced = jax.grad(loss)(jax.numpy.asarray(x), jax.numpy.asarray(y), reduction="sum")
    np.testing.assert_allclose(traced, 0.999**steps, rtol=2 * steps * 2.0**-24)
