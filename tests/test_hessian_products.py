"""`tinyloss.hvp`: the Hessian of the reduced loss times a direction."""

import copy
import inspect
import pickle
from typing import Any

import numpy as np
import pytest

import tinyloss
import tinyloss_numpy
from tests.support.cases import FEW_CASES, brought, few_cases, in_doubles
from tests.support.cases import Case as Call
from tests.support.libraries import Library
from tests.support.slopes import CASES, Array, Case

hvp: Any = tinyloss.hvp
grad: Any = tinyloss.grad

EPS = 2.0**-52
X, Y, V = np.array([0.5, -1.0, 2.0]), np.array([0.0, 1.0, 1.0]), np.array([1.0, -2.0, 0.5])
ROWS = np.array([[0.0, 9.0, -2.0], [1.0, 1.0, 1.0], [-9.0, 4.0, 2.0]])
LABELS = np.array([1, 0, 2])
ACROSS = np.array([[1.0, 0.5, -1.0], [0.0, 2.0, 1.0], [-0.5, 0.25, 3.0]])


def direction(x: Array) -> Array:
    way: Array = np.random.default_rng(1).normal(size=x.shape)
    return way


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.loss}[{case.id}]")
def test_it_is_the_derivative_of_the_gradient(case: Case) -> None:
    axis, ndim = case.params.get("axis", -1), case.arrays["x"].ndim
    x, *others = [np.moveaxis(a, -1, axis) if a.ndim == ndim else a for a in case.arrays.values()]
    function, v, t = getattr(tinyloss, case.loss), direction(x), 1e-5
    slopes = [grad(function)(x + s * t * v, *others, **case.params) for s in (2, 1, -1, -2)]
    expected = (8 * (slopes[1] - slopes[2]) - (slopes[0] - slopes[3])) / (12 * t)
    # Rounding errors of the differences are 1.5 eps / t = 3e-11 of the gradient's size; the rest
    # is t^4 of the fifth derivative, which at a probability of 0.007 is 4e10 of the second.
    size = np.max(np.abs(slopes)) + np.max(np.abs(expected))
    got = hvp(function)(x, *others, v, **case.params)
    np.testing.assert_allclose(got, expected, rtol=0, atol=2e-9 * size)


@few_cases
def test_jax_finds_the_same_by_itself(jax: Any, case: Call) -> None:
    (x, *others), options = in_doubles(case)
    v = direction(x)

    def slope(x: Any) -> Any:
        return grad(case.loss)(x, *others, **options)

    _, expected = jax.jvp(slope, (jax.numpy.asarray(x),), (jax.numpy.asarray(v),))
    got = hvp(case.loss)(jax.numpy.asarray(x), *others, v, **options)
    np.testing.assert_allclose(got, expected, rtol=0, atol=16 * EPS * np.max(np.abs(v)))


@pytest.mark.parametrize("case", FEW_CASES, ids=lambda case: case.name)
def test_every_library_has_it(xp: Library, case: Call) -> None:
    arrays, options = brought(xp, case, None)
    v = direction(case.x)
    weight = np.linspace(0.5, 2, case.items[-1])
    got = xp.call(hvp(case.loss), *arrays, xp.asarray(v), **options, weight=xp.asarray(weight))
    (x, *others), wide = in_doubles(case)
    expected = hvp(case.loss)(x, *others, v, **wide, weight=weight)
    assert tuple(got.shape) == case.x.shape
    # v, weights and terms are rounded to float32, and sums are of a few terms
    np.testing.assert_allclose(xp.numpy(got), expected, rtol=0, atol=8 * 2.0**-23 * np.abs(v).max())


@pytest.mark.long
@pytest.mark.parametrize("case", FEW_CASES, ids=lambda case: case.name)
def test_compiled_it_is_that_of_the_formulas(case: Call) -> None:
    (x, *others), options = in_doubles(case)
    v = direction(x)
    expected = hvp(case.loss)(x, *others, v, **options)
    with tinyloss_numpy.compilation("always"):
        got = hvp(case.loss)(x, *others, v, **options)
    np.testing.assert_allclose(got, expected, rtol=0, atol=16 * EPS * np.max(np.abs(v)))


@pytest.mark.parametrize("loss", [tinyloss.cross_entropy, tinyloss.softmax_focal])
def test_it_is_symmetric(loss: Any) -> None:
    other = np.flip(ACROSS, 0) - 0.5
    one = np.sum(other * hvp(loss)(ROWS, LABELS, ACROSS))
    np.testing.assert_allclose(one, np.sum(ACROSS * hvp(loss)(ROWS, LABELS, other)), rtol=1e-14)


def test_a_mean_divides_it_as_the_gradient() -> None:
    curvature = tinyloss.grad_and_hess(tinyloss.log_cosh)(X, Y)[1]
    weight = np.array([1.0, 0.0, 3.0])
    got = hvp(tinyloss.log_cosh)(X, Y, V, weight=weight)
    np.testing.assert_allclose(got, weight * curvature * V / 4, rtol=4 * EPS)
    got = hvp(tinyloss.log_cosh)(X, Y, V, denominator=10)
    np.testing.assert_allclose(got, curvature * V / 10, rtol=4 * EPS)


def test_what_is_left_out_adds_nothing() -> None:
    x, y, v = X.copy(), Y.copy(), V.copy()
    x[1] = y[1] = v[1] = np.nan
    got = hvp(tinyloss.mse)(x, y, v, where=[True, False, True])
    np.testing.assert_array_equal(got, [1.0, 0.0, 0.5])
    rows, across = ROWS.copy(), ACROSS.copy()
    rows[0] = across[0] = np.nan
    got = hvp(tinyloss.cross_entropy)(rows, [-1, 0, 2], across, ignore_index=-1)
    expected = hvp(tinyloss.cross_entropy)(ROWS[1:], LABELS[1:], ACROSS[1:])
    np.testing.assert_array_equal(got, [[0, 0, 0], *expected])


def test_an_impossible_class_takes_part_in_nothing() -> None:
    x = np.array([[0.5, -np.inf, 1.0]])
    got = hvp(tinyloss.cross_entropy)(x, [0], ACROSS[:1])
    expected = hvp(tinyloss.cross_entropy)(x[:, [0, 2]], [0], ACROSS[:1, [0, 2]])
    np.testing.assert_allclose(got[:, [0, 2]], expected, rtol=4 * EPS)
    assert got[0, 1] == 0


def test_a_confident_answer_has_one() -> None:
    """p (1 - p) is far below eps where p rounds to 1."""
    x = np.array([[100.0, 0.0]])
    got = hvp(tinyloss.cross_entropy)(x, [0], np.array([[1.0, 0.0]]))
    np.testing.assert_allclose(got, [[np.exp(-100), -np.exp(-100)]], rtol=16 * EPS)


def test_half_precision_is_rounded_once() -> None:
    x, y, v = X.astype(np.float16), Y.astype(np.float16), V.astype(np.float16)
    got = hvp(tinyloss.log_cosh)(x, y, v)
    assert got.dtype == np.float16
    wide = hvp(tinyloss.log_cosh)(*[a.astype(np.float32) for a in (x, y, v)])
    np.testing.assert_array_equal(got, wide.astype(np.float16))


def test_objects_and_sums_have_it() -> None:
    both = tinyloss.HuberLoss(delta=2.0) + 0.5 * tinyloss.MSELoss()
    np.testing.assert_allclose(both.hvp(X, Y, V), 2 * V / 3, rtol=4 * EPS)
    unlike = tinyloss.MSELoss() + 0.5 * tinyloss.GaussianNLLLoss()
    var = np.array([0.5, 1.0, 2.0])
    alone: Any = 0.5 * tinyloss.GaussianNLLLoss()
    np.testing.assert_allclose(alone.hvp(X, Y, var, V), 0.5 * V / var / 3, rtol=4 * EPS)
    np.testing.assert_allclose(alone.hvp(X, Y, var, direction=V), 0.5 * V / var / 3, rtol=4 * EPS)
    with pytest.raises(TypeError, match="positional argument"):
        unlike.hvp(X, Y, var, V)
    rows = tinyloss.CrossEntropyLoss(class_weight=[1.0, 2.0, 0.5]) + tinyloss.SoftmaxFocalLoss()
    got = rows.hvp(ROWS, LABELS, ACROSS)
    each = [loss.hvp(ROWS, LABELS, ACROSS) for _, loss in rows.terms]
    np.testing.assert_allclose(got, sum(each), rtol=0, atol=4 * EPS)


def test_losses_of_ones_own_have_it() -> None:
    @tinyloss.loss
    def fourth(x: Any, y: Any, *, power: int = 4) -> Any:
        return (x - y) ** power

    np.testing.assert_allclose(hvp(fourth)(X, Y, V), 4 * (X - Y) ** 2 * V, rtol=8 * EPS)

    @tinyloss.loss(rowwise=True)
    def spread(x: Any, y: Any, *, scale: float = 1.0) -> Any:
        xp = tinyloss.namespace(x)
        return scale * xp.sum((x - y) ** 2, axis=-1) ** 2

    d = ROWS - ACROSS
    expected = (8 * np.sum(d * ACROSS, -1, keepdims=True) * d
                + 4 * np.sum(d * d, -1, keepdims=True) * ACROSS)  # fmt: skip
    got = hvp(spread)(ROWS, ACROSS, ACROSS, scale=3.0)
    np.testing.assert_allclose(got, expected, rtol=1e-13, atol=1e-10)


@pytest.mark.parametrize(
    "made", [hvp(tinyloss.huber), tinyloss.HuberLoss(delta=2.0).hvp, hvp(2 * tinyloss.MSELoss())]
)
def test_it_is_a_value(made: Any) -> None:
    for each in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert each == made
        assert repr(each) == repr(made)
        np.testing.assert_array_equal(each(X, Y, V), made(X, Y, V))
    assert repr(made).startswith("tinyloss.hvp(")
    assert "direction" in inspect.signature(made).parameters


def test_the_direction_comes_after_the_arrays() -> None:
    assert list(inspect.signature(hvp(tinyloss.gaussian_nll)).parameters)[:4] == [
        "x", "y", "var", "direction",
    ]  # fmt: skip
    expected = hvp(tinyloss.mse)(X, Y, V)
    np.testing.assert_array_equal(hvp(tinyloss.mse)(X, Y, direction=V), expected)
    np.testing.assert_array_equal(hvp(tinyloss.mse)(X, V, y=Y), expected)
    np.testing.assert_array_equal(hvp(tinyloss.mse)(X, Y, V.tolist()), expected)


def test_wrong_calls_are_refused() -> None:
    with pytest.raises(TypeError, match=r"^tinyloss\.hvp: got 2 .*expected \(x, y, direction\)$"):
        hvp(tinyloss.mse)(X, Y)
    match = r"^tinyloss\.mse: direction has shape \(1,\), expected \(3,\), the shape of x$"
    with pytest.raises(ValueError, match=match):
        hvp(tinyloss.mse)(X, Y, V[:1])
    with pytest.raises(TypeError, match=r"^tinyloss\.mse: direction: got a str"):
        hvp(tinyloss.mse)(X, Y, "up")
    with pytest.raises(TypeError, match=r"^tinyloss: .*expected a loss"):
        hvp(len)

    @tinyloss.loss
    def slanted(x: Any, y: Any, *, direction: float = 1.0) -> Any:
        return direction * (x - y) ** 2

    with pytest.raises(TypeError, match=r"^tinyloss\.slanted: has a parameter direction"):
        hvp(slanted)(X, Y, V)
    with pytest.raises(TypeError, match=r"^tinyloss\.hvp: .*the arrays go to the function that"):
        hvp(tinyloss.mse, X, Y)
