"""Exponentials of a row whose factor waits: in which programs they are, and what comes of them."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

import tinyloss
from tests.support.formulas import STRAIGHT, arguments
from tinyloss._differences import exp_difference
from tinyloss._formula import LABEL, Formula, Role
from tinyloss.compiler.factors import SCALED, factored
from tinyloss.compiler.program import Program
from tinyloss.compiler.ranges import narrowed
from tinyloss.compiler.recorder import record
from tinyloss.losses._numerics import classes_of
from tinyloss.losses.multiclass import LabelCrossEntropy

ROWS = {"x": Role(per_class=True), "y": LABEL}
FAR = {"float32": 256.0, "float64": 2048.0}
"""Where maxima are too large for exp(x) to be computed from x alone."""
FEW = 4
"""The bound of cross-entropy, in eps."""


def programs(
    function: Callable[..., Any], inputs: Mapping[str, Role] = ROWS
) -> tuple[Program, Program]:
    """Return a function's program with factors of items, and without."""
    program = narrowed(record(function, inputs, dtype="float64"))
    return factored(program), program


def operations(program: Program) -> list[str]:
    return [node.op for node in program.nodes()]


# -------------------------------------------------------------------------------------- programs


def test_cross_entropy_of_labels_takes_a_factor_out() -> None:
    def both(x: Any, y: Any) -> Any:
        loss = LabelCrossEntropy(x, y)
        return loss.value(), loss.grad_x()

    program, before = programs(both)
    assert operations(before).count("exp_shortfall") == 1
    assert "exp_shortfall" not in operations(program)
    assert operations(program).count(SCALED) == operations(program).count("exp_scale") == 1
    # a number of the item, not of each class
    (scale,) = [node for node in program.nodes() if node.op == "exp_scale"]
    assert not scale.per_class


@pytest.mark.parametrize(("formula", "params"), STRAIGHT)
def test_only_sums_that_leave_one_class_out_do(
    formula: type[Formula], params: dict[str, Any]
) -> None:
    """A softmax's largest probability may be exactly 1, a factor's rounding would show in it."""
    inputs, _ = arguments(formula)
    for answer in ("value", "grad_x"):
        if hasattr(formula, answer):
            program, before = programs(
                lambda answer=answer, **a: getattr(formula(**a, **params), answer)(), inputs
            )
            if "class_index" not in operations(before):
                assert program is before


def left_out(x: Any, y: Any) -> tuple[Any, Any, Any]:
    """Return which class is left out, the exponentials of the others, and their sum."""
    xp = x.__array_namespace__()
    target, m = classes_of(x, y), xp.max(x, axis=-1, keepdims=True)
    e = xp.where(target, 0.0, exp_difference(x, m))
    return target, e, xp.sum(e, axis=-1, keepdims=True)


def itself(x: Any, y: Any) -> Any:
    _, e, total = left_out(x, y)
    return e, total


def times_a_class(x: Any, y: Any) -> Any:
    _, e, total = left_out(x, y)
    return e * x, total


def times_any_number(x: Any, y: Any) -> Any:
    """It may be so small that the factor would underflow with it."""
    target, e, total = left_out(x, y)
    return x.__array_namespace__().where(target, -total, e) * (1e-30 * total)


def over_another_sum(x: Any, y: Any) -> Any:
    xp = x.__array_namespace__()
    target, e, _ = left_out(x, y)
    return xp.where(target, 1.0, e) * (1 / (1 + xp.sum(x, axis=-1, keepdims=True)))


def of_each_class(x: Any, y: Any) -> Any:
    target, e, total = left_out(x, y)
    return x.__array_namespace__().where(target, x, e) * (1 / (total + 1))


@pytest.mark.parametrize(
    "function", [itself, times_a_class, times_any_number, over_another_sum, of_each_class]
)
def test_factor_does_not_wait_for_what_cannot_take_it(function: Callable[..., Any]) -> None:
    program, before = programs(function)
    assert "exp_shortfall" in operations(before)
    assert program is before


# --------------------------------------------------------------------------------------- answers


def exact(x: Any, y: Any) -> tuple[Any, Any]:
    """Return losses and gradients in long double, which has 11 bits more than float64."""
    wide = x.astype(np.longdouble)
    target = np.arange(x.shape[-1]) == y[:, None]
    xt = wide[target][:, None]
    with np.errstate(all="ignore"):
        ratio = np.where(target, 0, np.exp(wide - xt))
        m = wide.max(axis=-1, keepdims=True)
        top = np.exp(wide - m)
        others, own = np.where(target, 0, top).sum(-1, keepdims=True), np.exp(xt - m)
        close = np.log1p(ratio.sum(-1))
        value = np.where((xt < m)[:, 0], ((m - xt) + np.log(others + own))[:, 0], close)
        grad = np.where(target, -others, top) / (others + own)
    return value, grad


def assert_within(got: Any, expected: Any) -> None:
    """Compare by eps of each number, a subnormal number by the least of them."""
    info = np.finfo(got.dtype)
    unit = FEW * np.maximum(info.eps * np.abs(expected), info.smallest_subnormal)
    assert (np.abs(got - expected) <= unit).all()


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 63, reason="long double is no wider here")
@pytest.mark.parametrize("dtype", FAR)
@pytest.mark.parametrize("classes", [3, 40, 200])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_maxima_of_every_size_beside_each_other(dtype: str, classes: int, scale: float) -> None:
    """Near and far ones in one batch, at the boundary and beyond it."""
    tinyloss_numpy = pytest.importorskip("tinyloss_numpy")
    pytest.importorskip("llvmlite")
    far, rng = FAR[dtype], np.random.default_rng(classes)
    sizes = [0.0, 1.0, far - 1, far, np.nextafter(far, 0), far + 1, 2 * far, 1e4, 2.0**20, 1e30]
    offsets = np.array([*sizes, *(-size for size in sizes)])
    x = scale * rng.standard_normal((3 * offsets.size, classes))
    x = (x - x.max(-1, keepdims=True) + np.repeat(offsets, 3)[:, None]).astype(dtype)
    y = rng.integers(classes, size=len(x))
    y[::3] = x[::3].argmax(-1)
    value, grad = exact(x, y)
    for rows in (slice(None), slice(0, 16), slice(5, 6)):
        with tinyloss_numpy.compilation("always"):
            got = tinyloss.cross_entropy(x[rows], y[rows], reduction="none")
            slope = tinyloss.grad(tinyloss.cross_entropy)(x[rows], y[rows], reduction="sum")
        assert_within(got, value[rows])
        assert_within(slope, grad[rows])


@pytest.mark.parametrize("dtype", FAR)
@pytest.mark.parametrize("classes", [5, 150])
def test_impossible_classes_weigh_nothing(dtype: str, classes: int) -> None:
    tinyloss_numpy = pytest.importorskip("tinyloss_numpy")
    pytest.importorskip("llvmlite")
    for top in (0.3, -300.0, 5e4):
        x = np.full((4, classes), -np.inf, dtype)
        x[:, 2] = top
        x[2:, 1] = np.finfo(dtype).min
        with tinyloss_numpy.compilation("always"):
            call = tinyloss.value_and_grad(tinyloss.cross_entropy)
            value, grad = call(x, np.full(4, 2), reduction="sum")
        assert value == 0
        assert not grad.any()


@pytest.mark.parametrize("classes", [5, 150])
def test_small_weights_keep_their_digits(classes: int) -> None:
    """Their product with the factor alone would underflow."""
    tinyloss_numpy = pytest.importorskip("tinyloss_numpy")
    pytest.importorskip("llvmlite")
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((8, classes)).astype(np.float32), rng.integers(classes, size=8)
    weight = np.full(8, 1e-30, np.float32)
    with tinyloss_numpy.compilation("always"):
        grad = tinyloss.grad(tinyloss.cross_entropy)(x, y, weight=weight, reduction="sum")
        plain = tinyloss.grad(tinyloss.cross_entropy)(x, y, reduction="sum")
    np.testing.assert_allclose(grad, plain * weight[:, None], rtol=4 * 2.0**-23)
