"""scikit-learn scores by losses, and its tools take the linear models that train with them."""

import pickle
from typing import Any

import numpy as np
import pytest

import tinyloss

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_wine
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss, mean_pinball_loss
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.preprocessing import scale
from sklearn.utils.estimator_checks import check_estimator

from tinyloss.adapters.sklearn import LinearClassifier, LinearRegressor, Metric, scorer

RNG = np.random.default_rng(0)
_wine: Any = load_wine()
WINE, VINEYARD = scale(_wine.data), _wine.target
_diabetes: Any = load_diabetes()
PATIENTS, PROGRESS = scale(_diabetes.data), _diabetes.target
WEIGHT = RNG.uniform(0.5, 2, len(VINEYARD))


def test_a_metric_has_scikit_learns_order_and_weights() -> None:
    y, x, weight = RNG.normal(size=9), RNG.normal(size=9), RNG.uniform(size=9)
    got = Metric(tinyloss.QuantileLoss(q=0.9))(y, x, sample_weight=weight)
    expected = mean_pinball_loss(y, x, alpha=0.9, sample_weight=weight)
    np.testing.assert_allclose(got, expected, rtol=1e-14)
    many = Metric(tinyloss.mse)(np.stack([y, x], 1), np.stack([x, y], 1), weight)
    np.testing.assert_allclose(many, np.average((x - y) ** 2, weights=weight), rtol=1e-14)


def test_scores_are_those_of_scikit_learn() -> None:
    model = LogisticRegression()
    of_probabilities = scorer(
        tinyloss.CrossEntropyLoss(from_logits=False), response_method="predict_proba"
    )
    for scoring in (
        of_probabilities,
        scorer(tinyloss.CrossEntropyLoss(), response_method="decision_function"),
    ):
        got = cross_val_score(model, WINE, VINEYARD, scoring=scoring)
        own = cross_val_score(model, WINE, VINEYARD, scoring="neg_log_loss")
        np.testing.assert_allclose(got, own, rtol=1e-9)
    margins = scorer(tinyloss.hinge, response_method="decision_function")
    assert (cross_val_score(model, WINE, VINEYARD == 1, scoring=margins) < 0).all()
    again = pickle.loads(pickle.dumps(of_probabilities))
    fitted = model.fit(WINE, VINEYARD)
    assert again(fitted, WINE, VINEYARD) == of_probabilities(fitted, WINE, VINEYARD)


def test_softmax_regression_is_that_of_scikit_learn() -> None:
    alpha = 0.01
    ours = LinearClassifier(alpha=alpha, tol=1e-9).fit(WINE, VINEYARD, WEIGHT)
    # Its C multiplies a sum of weighted losses.
    own = LogisticRegression(C=1 / (alpha * WEIGHT.sum()), tol=1e-9, max_iter=1000)
    own.fit(WINE, VINEYARD, WEIGHT)
    # Both stop at a gradient of about 1e-8, at a curvature of alpha or more.
    np.testing.assert_allclose(ours.predict_proba(WINE), own.predict_proba(WINE), atol=1e-5)
    assert (ours.predict(WINE) == own.predict(WINE)).all()
    np.testing.assert_allclose(ours.predict_proba(WINE).sum(1), 1, rtol=1e-14)


@pytest.mark.parametrize(
    "loss", [None, tinyloss.BCEWithLogitsLoss(), tinyloss.SquaredHingeLoss(), tinyloss.soft_margin]
)
@pytest.mark.parametrize("classes", [["red", "white"], ["a", "b", "c"]])
def test_every_kind_of_loss_tells_classes(loss: Any, classes: list[str]) -> None:
    keep = np.isin(VINEYARD, range(len(classes)))
    x, y = WINE[keep], np.array(classes)[VINEYARD[keep]]
    model = LinearClassifier(loss, alpha=1e-3, max_iter=5000)
    assert model.fit(x, y).score(x, y) > 0.97
    assert model.decision_function(x).shape == ((len(x),) if len(classes) == 2 else (len(x), 3))
    assert log_loss(y, model.predict_proba(x)) < 0.5


def test_least_squares_are_those_of_ridge() -> None:
    targets = np.stack([PROGRESS, -PROGRESS], 1)
    ours = LinearRegressor(alpha=0.1, tol=1e-9).fit(PATIENTS, targets)
    # The mean is over both columns, and the penalty's half is of the squares.
    own = Ridge(alpha=0.1 / 2 * targets.size).fit(PATIENTS, targets)
    np.testing.assert_allclose(ours.coef_, own.coef_, rtol=1e-4)
    np.testing.assert_allclose(ours.predict(PATIENTS), own.predict(PATIENTS), rtol=1e-4)


def test_a_loss_is_chosen_by_cross_validation() -> None:
    losses = [tinyloss.MSELoss(), tinyloss.HuberLoss(delta=20.0), tinyloss.HuberLoss(delta=40.0)]
    wrong = RNG.uniform(size=len(PROGRESS)) < 0.1
    dirty = np.where(wrong, 10 * PROGRESS, PROGRESS)
    search: Any = GridSearchCV(
        LinearRegressor(), {"loss": losses}, scoring=scorer(tinyloss.mae), cv=3
    )
    chosen = search.fit(PATIENTS, dirty).best_params_["loss"]
    assert chosen in losses[1:]
    again: Any = clone(search.best_estimator_)
    assert again.loss == chosen
    assert pickle.loads(pickle.dumps(search)).best_params_ == search.best_params_


def test_steps_that_run_out_are_told() -> None:
    from sklearn.exceptions import ConvergenceWarning

    with pytest.warns(ConvergenceWarning, match="LinearClassifier: L-BFGS stopped after 1 steps"):
        LinearClassifier(max_iter=1).fit(WINE, VINEYARD)


def test_wrong_data_is_refused() -> None:
    with pytest.raises(ValueError, match=r"y has one class, .*expected two or more"):
        LinearClassifier().fit(WINE, np.zeros(len(WINE)))
    with pytest.raises(TypeError, match="expected a loss"):
        LinearRegressor(len).fit(PATIENTS, PROGRESS)
    with pytest.raises(TypeError, match="expected a loss"):
        scorer("mse")


@pytest.mark.long
@pytest.mark.parametrize("model", [LinearRegressor(), LinearClassifier()], ids=repr)
def test_the_estimators_keep_scikit_learns_contract(model: Any) -> None:
    results: Any = check_estimator(model, on_skip=None)  # one is for other array libraries
    passed = [each for each in results if each["status"] == "passed"]
    assert len(passed) >= len(results) - 1 > 40
