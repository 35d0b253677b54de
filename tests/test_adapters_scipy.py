"""`scipy.optimize.minimize` takes losses, their gradients and their Hessians' products."""

from typing import Any

import numpy as np
import pytest

import tinyloss
from tinyloss.adapters.scipy import LinearObjective, hessp

optimize = pytest.importorskip("scipy.optimize")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3))
LABELS = RNG.integers(0, 3, 60)
REAL = X @ np.array([1.0, -2.0, 0.5]) + RNG.normal(size=60)
WEIGHT = RNG.uniform(0.5, 2, 60)

MODELS: list[Any] = [
    (tinyloss.cross_entropy, LABELS, {"outputs": 3, "penalty": 0.01, "weight": WEIGHT}),
    (tinyloss.binary_cross_entropy_with_logits, LABELS == 1, {"penalty": 0.01}),
    (tinyloss.log_cosh, REAL, {"weight": WEIGHT, "intercept": False}),
    (tinyloss.mse, np.stack([REAL, -REAL], 1), {"outputs": 2, "weight": WEIGHT}),
    (tinyloss.MSELoss() + tinyloss.LogCoshLoss(), REAL, {}),
]
each_model = pytest.mark.parametrize(("loss", "y", "options"), MODELS)


@pytest.mark.parametrize("method", ["BFGS", "L-BFGS-B", "Newton-CG", "trust-ncg", "trust-krylov"])
def test_predictions_are_minimised_as_they_are(method: str) -> None:
    y = np.array([0.2, 0.5, 0.9])
    loss = tinyloss.binary_cross_entropy_with_logits
    given: dict[str, Any] = {} if "BFGS" in method else {"hessp": hessp(loss)}
    both = tinyloss.value_and_grad(loss)
    found = optimize.minimize(both, np.zeros(3), args=(y,), jac=True, method=method, **given)
    # The methods stop at gradients from 1e-5 to 1e-4, and the curvature is at least 0.09 / 3.
    assert found.success
    np.testing.assert_allclose(found.x, np.log(y / (1 - y)), rtol=0, atol=1e-4 * 3 / 0.09)


@each_model
def test_a_linear_model_has_a_gradient_and_a_hessian(loss: Any, y: Any, options: Any) -> None:
    objective = LinearObjective(loss, X, y, **options)
    at, way = (RNG.normal(size=objective.start.shape) for _ in range(2))
    error = optimize.check_grad(lambda w: objective(w)[0], lambda w: objective(w)[1], at)
    assert error < 1e-6 * (1 + np.linalg.norm(objective(at)[1]))  # forward differences
    t = 1e-5
    slopes = (objective(at + t * way)[1] - objective(at - t * way)[1]) / (2 * t)
    np.testing.assert_allclose(objective.hessp(at, way), slopes, rtol=1e-7, atol=1e-8)


@each_model
def test_newtons_method_finds_its_minimum(loss: Any, y: Any, options: Any) -> None:
    objective = LinearObjective(loss, X, y, **options)
    found = optimize.minimize(
        objective, objective.start, jac=True, hessp=objective.hessp, method="trust-ncg"
    )
    assert found.success
    assert np.max(np.abs(objective(found.x)[1])) < 1e-4


def test_least_squares_are_those_of_numpy() -> None:
    objective = LinearObjective(tinyloss.mse, X, REAL)
    found = optimize.minimize(objective, objective.start, jac=True, tol=1e-10)
    coefficients, intercept = objective.split(found.x)
    expected = np.linalg.lstsq(np.hstack([X, np.ones((60, 1))]), REAL)[0]
    np.testing.assert_allclose([*coefficients, intercept], expected, rtol=1e-6)


def test_sparse_features_are_taken() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    dense = LinearObjective(tinyloss.cross_entropy, X, LABELS, outputs=3)
    same = LinearObjective(tinyloss.cross_entropy, sparse.csr_array(X), LABELS, outputs=3)
    at = RNG.normal(size=dense.start.shape)
    np.testing.assert_allclose(same(at)[1], dense(at)[1], rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(same.hessp(at, at), dense.hessp(at, at), rtol=1e-12, atol=1e-15)


def test_what_is_no_loss_is_refused() -> None:
    with pytest.raises(TypeError, match="expected a loss"):
        hessp(len)
