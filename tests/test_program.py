"""Recording formulas, running and differentiating what was recorded, and losses of one's own."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import tinyloss
from tests.support.formulas import CASES, LABELS, arguments, charbonnier, poly, spread
from tinyloss._formula import Formula, Role
from tinyloss._function import LossFunction
from tinyloss.compiler.derivative import differentiate
from tinyloss.compiler.evaluation import run
from tinyloss.compiler.recorder import BadFormula, Unrecordable, record

EPS = 2.0**-52


@pytest.mark.parametrize(("formula", "params"), CASES)
def test_every_formula_is_recorded_and_runs_again_as_it_was(
    formula: type[Formula], params: dict[str, Any]
) -> None:
    inputs, arrays = arguments(formula)
    for answer in ("value", *(f"grad_{name}" for name in inputs), "curvature"):
        if hasattr(formula, answer):
            method = partial(lambda name, **a: getattr(formula(**a, **params), name)(), answer)
            (again,) = run(record(method, inputs, dtype="float64"), np, arrays)
            first = method(**arrays)
            assert again.shape == first.shape
            # the same operations in the same order: the same bits
            np.testing.assert_array_equal(again, first)


@pytest.mark.parametrize(("formula", "params"), CASES)
def test_derivative_of_the_recorded_value_is_the_closed_form(
    formula: type[Formula], params: dict[str, Any]
) -> None:
    inputs, arrays = arguments(formula)
    value = record(lambda **a: formula(**a, **params).value(), inputs, dtype="float64")
    for name in inputs:
        if hasattr(formula, f"grad_{name}") and not (name == "y" and formula in LABELS):
            (slope,) = run(differentiate(value, name), np, arrays)
            closed = getattr(formula(**arrays, **params), f"grad_{name}")()
            # Ordinary inputs, where reverse mode loses little: a hundred roundings of about 1.
            np.testing.assert_allclose(slope, closed, rtol=1e4 * EPS, atol=100 * EPS)


def test_equal_expressions_are_one_node() -> None:
    def twice(x: Any, y: Any) -> Any:
        xp = tinyloss.namespace(x)
        return xp.exp(x - y) + xp.exp(x - y)

    program = record(twice, {"x": Role(), "y": Role()})
    assert [node.op for node in program.nodes()] == ["input", "input", "subtract", "exp", "add"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (lambda x, y: x if x > 0 else y, "xp.where"),
        (lambda x, y: float(x) + y, "condition"),
        (lambda x, y: tinyloss.namespace(x).argsort(x), "xp.argsort"),
        (lambda x, y: tinyloss.namespace(x).sum(x, axis=0), "axis=-1"),
        (lambda x, y: x[0], r"\[\.\.\., None\]"),
        (lambda x, y: x + np.ones(3), "Python numbers"),
    ],
)
def test_what_cannot_be_recorded_says_so(line: Callable[..., Any], message: str) -> None:
    with pytest.raises((Unrecordable, BadFormula), match=message):
        record(line, {"x": Role(), "y": Role()})


def central(f: Callable[[Any], Any], x: Any, step: float = 1e-6) -> Any:
    """Central differences of a scalar function."""
    slope = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        e = np.zeros_like(x)
        e[index] = step
        slope[index] = (f(x + e) - f(x - e)) / (2 * step)
    return slope


OWN: list[LossFunction[...]] = [charbonnier, spread, poly]


@pytest.mark.parametrize("loss", OWN)
def test_own_loss_has_weights_masks_and_exact_gradients(loss: LossFunction[...]) -> None:
    rng = np.random.default_rng(1)
    x, y = rng.random((4, 3)), rng.random((4, 3))
    weight: Any = rng.random(4) if loss is not charbonnier else rng.random((4, 1))
    where = np.array([True, True, False, True]).reshape(weight.shape)
    if loss is poly:
        y = np.array([0, 2, 1, 2])
    x[2] = np.nan  # behind the mask
    options = {"weight": weight, "where": where}
    value, gradient = tinyloss.value_and_grad(loss)(x, y, **options)
    assert value == loss(x, y, **options)
    assert (gradient[2] == 0).all()
    x[2] = 1.0
    slope = central(lambda x: loss(x, y, **options), x)
    # central differences with step 1e-6 in float64 are good to about 1e-10
    np.testing.assert_allclose(gradient, slope, rtol=1e-8, atol=1e-9)


def test_own_loss_has_a_gradient_by_the_target_and_curvature() -> None:
    x, y = np.array([3.0, 0.5]), np.array([0.0, 0.0])
    by_target = tinyloss.grad(charbonnier, argnums=1)(x, y, eps=4.0)
    np.testing.assert_allclose(by_target, -tinyloss.grad(charbonnier)(x, y, eps=4.0), rtol=4 * EPS)
    _, curvature = tinyloss.grad_and_hess(charbonnier)(x, y, eps=4.0)
    np.testing.assert_allclose(curvature, 16 / (x * x + 16) ** 1.5, rtol=16 * EPS)


def test_own_loss_of_rows_takes_any_axis() -> None:
    x, y = np.random.default_rng(2).random((3, 4, 5)), np.zeros((3, 5), dtype=int)
    moved = tinyloss.grad(poly)(np.moveaxis(x, 1, -1), y)
    np.testing.assert_array_equal(tinyloss.grad(poly)(x, y, axis=1), np.moveaxis(moved, -1, 1))


def test_own_loss_keeps_its_name_document_and_signature() -> None:
    assert charbonnier.__name__ == "charbonnier"
    assert charbonnier.__doc__ == "Charbonnier loss."
    with pytest.raises(TypeError, match="gamma"):
        charbonnier(np.ones(2), np.ones(2), gamma=1)


def test_own_loss_refuses_a_parameter_that_every_loss_has() -> None:
    with pytest.raises(TypeError, match="weight"):

        @tinyloss.loss
        def bad(x: Any, y: Any, *, weight: float) -> Any:
            return x * weight


def test_own_loss_runs_on_other_libraries(xp: Any) -> None:
    x, y = np.array([[0.25, 0.5], [1.0, 2.0]], "f"), np.array([[1.0, 0.0], [2.0, 0.5]], "f")
    expected = tinyloss.grad(spread)(x, y)
    got = xp.numpy(xp.call(tinyloss.grad(spread), xp.asarray(x), xp.asarray(y)))
    # a handful of roundings apart: libraries may divide by a constant as a product
    np.testing.assert_allclose(got, expected, rtol=4 * 2.0**-23)
