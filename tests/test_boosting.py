"""What gradient boosting divides by: `grad_and_hess(loss, hess="boosting")`."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import tinyloss
from tests.support.libraries import Library
from tests.support.slopes import CASES, Case

Array = npt.NDArray[Any]

# Losses are picked by name here, so that their signatures are not known to a type checker.
grad_and_hess: Any = tinyloss.grad_and_hess
value_and_grad: Any = tinyloss.value_and_grad

CONVEX = {
    "mse", "binary_cross_entropy", "binary_cross_entropy_with_logits", "soft_margin",
    "gaussian_nll", "gaussian_kl", "kl_div_with_logits", "exponential", "multilabel_soft_margin",
    "coral",
}  # fmt: skip
"""Losses whose curvature is positive wherever it does not underflow."""
FLAT = {
    "mae", "quantile", "nll", "hinge", "kl_div", "relative_entropy", "epsilon_insensitive",
    "perceptron", "categorical_hinge",
}  # fmt: skip
PARTLY_FLAT = {
    "huber", "smooth_l1", "squared_hinge", "js_div", "expectile", "squared_epsilon_insensitive",
    "wing", "modified_huber", "crps", "log_score", "generalized_kl",
}  # fmt: skip
AT_LEAST = {
    "sigmoid_focal", "softmax_focal", "log_cosh", "barron", "poly_cross_entropy",
    "generalized_cross_entropy", "brier",
}  # fmt: skip
"""Losses with a curvature for boosting that is nowhere below the exact one."""
LEFT_OUT = {"masked", "ignore_index"}

by_case = pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.loss}[{case.id}]")


def both(case: Case, **options: Any) -> tuple[Array, Array]:
    function = getattr(tinyloss, case.loss)
    arrays = [
        np.moveaxis(a, -1, case.params["axis"])
        if "axis" in case.params and a.ndim == case.arrays["x"].ndim
        else a
        for a in case.arrays.values()
    ]
    given = {**case.params, **options}
    slope, exact = grad_and_hess(function)(*arrays, **given)
    same, bend = grad_and_hess(function, hess="boosting")(*arrays, **given)
    np.testing.assert_array_equal(same, slope)
    return exact, bend


@by_case
def test_it_is_positive_and_the_exact_one_where_that_is(case: Case) -> None:
    exact, bend = both(case)
    left_out = any(word in case.id for word in LEFT_OUT)
    assert np.isfinite(bend).all()
    assert (bend >= 0).all() if left_out else (bend > 0).all()
    convex = case.params.get("from_logits", True) and "softcap" not in case.params
    if case.loss in CONVEX or (case.loss == "cross_entropy" and convex):
        np.testing.assert_array_equal(bend, exact)
    elif case.loss in FLAT and not left_out and "class_weight" not in case.params:
        assert (exact == 0).all()
        assert (bend == 1).all()
    elif case.loss in PARTLY_FLAT:
        np.testing.assert_array_equal(bend, np.where(exact > 0, exact, 1))
    elif case.loss in AT_LEAST:
        assert (bend >= exact * (1 - 4 * 2.0**-52)).all()


@by_case
def test_it_is_weighted_as_the_gradient_is(case: Case) -> None:
    weight = np.array([[0.5, 2.0, 0.25], [0.0, 1.5, 4.0]])
    _, bend = both(case)
    _, weighted = both(case, weight=weight)
    if "axis" in case.params:
        bend, weighted = (np.moveaxis(a, case.params["axis"], -1) for a in (bend, weighted))
    each = weight if bend.ndim == weight.ndim else weight[..., None]
    np.testing.assert_allclose(weighted, each * bend, rtol=4 * 2.0**-52)


X = np.array([-90.0, -3.0, -0.5, 0.0, 0.25, 2.0, 60.0])
Y = np.array([1.0, 0.0, 0.0, 1.0, 0.25, 1.0, 1.0])
ROWS = np.array([[0.0, 9.0, -2.0], [1.0, 1.0, 1.0], [-9.0, 4.0, 2.0]])


@pytest.mark.parametrize(
    ("name", "x", "y", "options", "expected"),
    [
        ("mae", X, Y, {}, np.ones(7)),
        ("quantile", X, Y, {"q": 0.9}, np.ones(7)),
        ("huber", X, Y, {}, np.ones(7)),
        ("smooth_l1", X, Y, {"beta": 0.25}, np.where(np.abs(X - Y) <= 0.25, 4, 1)),
        ("mape", X, np.array([1.0, -2, 4, 8, 1, 2, 4]), {}, 1 / np.array([1, 2, 4, 8, 1, 2, 4])),
        ("hinge", X, 2 * np.round(Y) - 1, {}, np.ones(7)),
        ("squared_hinge", X, 2 * np.round(Y) - 1, {}, np.array([2, 1, 2, 2, 2, 1, 1])),
        ("log_cosh", X, np.zeros(7), {}, np.tanh(X) / np.where(X == 0, 1e-9, X) + (X == 0)),
        ("msle", X[3:], np.full(4, 1e9), {}, 2 / (1 + X[3:]) ** 2),
        ("poisson_nll", X[4:], np.array([0.0, 1, 2]), {"log_input": False}, 1 / (X[4:] + 1e-8)),
        # That of the cross-entropy, weighted by q^gamma, where a wrong answer bends down.
        ("sigmoid_focal", np.array([-3.0]), np.ones(1), {"gamma": 2.0}, 0.9525741268224331**3
         * (1 - 0.9525741268224331)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_a_docstring_says_of_it(
    xp: Library, name: str, x: Array, y: Array, options: dict[str, Any], expected: Array
) -> None:
    function = grad_and_hess(getattr(tinyloss, name), hess="boosting")
    _, bend = xp.call(function, xp.asarray(x), xp.asarray(y), **options)
    np.testing.assert_allclose(xp.numpy(bend), expected, rtol=3e-6)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
@pytest.mark.parametrize("labels", [True, False])
def test_of_focal_losses_over_classes_it_is_not_negative(
    xp: Library, labels: bool, gamma: float
) -> None:
    y = np.array([2, 1, 0])
    target = xp.asarray(y if labels else np.eye(3)[y])
    function = grad_and_hess(tinyloss.softmax_focal, hess="boosting")
    _, bend = xp.call(function, xp.asarray(ROWS), target, gamma=gamma)
    _, exact = xp.call(grad_and_hess(tinyloss.softmax_focal), xp.asarray(ROWS), target, gamma=gamma)
    assert xp.numpy(exact).min() < 0 <= xp.numpy(bend).min()
    assert (xp.numpy(bend) >= xp.numpy(exact)).all()


def test_objects_and_sums_have_it() -> None:
    loss = 2 * tinyloss.MAELoss() + tinyloss.MSELoss()
    _, bend = grad_and_hess(loss, hess="boosting")(X, Y, weight=Y)
    np.testing.assert_array_equal(bend, 4 * Y)
    _, exact = loss.grad_and_hess(X, Y, weight=Y)
    np.testing.assert_array_equal(exact, 2 * Y)


@pytest.mark.long
@pytest.mark.parametrize("compilation", ["never", "always"])
def test_it_is_written_into_arrays_that_are_given(compilation: Any) -> None:
    import tinyloss_numpy

    out = np.empty_like(X), np.empty_like(X)
    with tinyloss_numpy.compilation(compilation):
        got = grad_and_hess(tinyloss.quantile, hess="boosting", out=out)(X, Y)
        exact = grad_and_hess(tinyloss.quantile)(X, Y)[1]
    assert got[1] is out[1]
    assert (out[1] == 1).all()
    assert (exact == 0).all()


def test_a_loss_of_ones_own_has_1_where_it_does_not_bend_up(xp: Library) -> None:
    @tinyloss.loss
    def wave(x: Any, y: Any) -> Any:
        return tinyloss.namespace(x).sin(x - y)

    x = xp.asarray(np.array([-1.0, 1.0]))
    _, bend = xp.call(grad_and_hess(wave, hess="boosting"), x, xp.asarray(np.zeros(2)))
    np.testing.assert_allclose(xp.numpy(bend), [np.sin(1), 1], rtol=1e-6)


def test_another_word_is_refused() -> None:
    with pytest.raises(ValueError, match='hess is \'gauss\', expected "exact" or "boosting"'):
        grad_and_hess(tinyloss.mse, hess="gauss")


def test_the_gradient_beside_it_keeps_its_own_derivative(jax: Any) -> None:
    slope = grad_and_hess(tinyloss.log_cosh, hess="boosting")
    x, y = jax.numpy.asarray([0.5, 3.0]), jax.numpy.zeros(2)
    got = jax.grad(lambda x: slope(x, y)[0].sum())(x)
    np.testing.assert_allclose(got, 1 / np.cosh([0.5, 3.0]) ** 2, rtol=1e-14)


@pytest.mark.parametrize("q", [0.1, 0.5, 0.9])
def test_newton_steps_on_leaves_learn_a_quantile(q: float) -> None:
    """What a booster does: in each leaf a step of -sum g / sum h, at a learning rate."""
    rng = np.random.default_rng(0)
    leaf = rng.integers(0, 4, 4000)
    y = leaf + rng.normal(size=4000)
    objective = grad_and_hess(tinyloss.quantile, hess="boosting")
    score = np.zeros(4000)
    for _ in range(400):
        g, h = objective(score, y, q=q)
        score -= 0.3 * (np.bincount(leaf, g) / np.bincount(leaf, h))[leaf]
    for each in range(4):
        below = (y[leaf == each] <= score[leaf == each]).mean()
        assert abs(below - q) < 0.02
