"""Losses as scores of scikit-learn, and linear models that train with any of them."""

from dataclasses import dataclass
from typing import Any
from warnings import warn

import numpy as np
from scipy.optimize import minimize
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import make_scorer
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

import tinyloss
from tinyloss.adapters._targets import target_of, weight_of
from tinyloss.adapters.scipy import LinearObjective

__all__ = ["LinearClassifier", "LinearRegressor", "Metric", "scorer"]


@dataclass(frozen=True)
class Metric:
    """A loss as a metric of scikit-learn: `metric(y_true, y_pred, sample_weight=None)`.

    Labels of 0 and 1 are taken for a margin loss too. Names of classes are not known to a loss:
    class indices are whole numbers from 0 on.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> from tinyloss.adapters.sklearn import Metric
    >>> Metric(tinyloss.QuantileLoss(q=0.9))([1.0, 2.0], [0.5, 2.5])
    0.25
    """

    loss: Any

    def __post_init__(self) -> None:
        tinyloss.grad(self.loss)  # refuses what is no loss

    @property
    def __name__(self) -> str:
        return getattr(self.loss, "__name__", type(self.loss).__name__)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> float:
        """Return the mean loss."""
        x, y = np.asarray(y_pred), np.asarray(y_true)
        weight = None if sample_weight is None else np.asarray(sample_weight)
        target = target_of("Metric", self.loss, x, y)
        return float(self.loss(x, target, weight=weight_of(self.loss, x, weight)))


def scorer(loss: Any, *, response_method: str = "predict") -> Any:
    """Return a scorer for `cross_val_score` and `GridSearchCV`: the mean loss, negated.

    Parameters
    ----------
    loss
        A loss of this package: a function or an object.
    response_method
        What the loss takes: "predict" for numbers, "decision_function" for logits and margins,
        "predict_proba" for probabilities.

    Examples
    --------
    >>> import tinyloss
    >>> from tinyloss.adapters.sklearn import scorer
    >>> scorer(tinyloss.CrossEntropyLoss(from_logits=False), response_method="predict_proba")
    make_scorer(CrossEntropyLoss, greater_is_better=False, response_method='predict_proba')
    """
    return make_scorer(Metric(loss), greater_is_better=False, response_method=response_method)


class _Linear(BaseEstimator):
    """A linear model, trained by L-BFGS, which is for losses without kinks: at one it is slow."""

    def __init__(
        self,
        loss: Any = None,
        *,
        alpha: float = 1e-4,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        tol: float = 1e-6,
    ) -> None:
        self.loss = loss
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _fit(self, loss: Any, features: Any, y: Any, weight: Any, outputs: int | None) -> None:
        if weight is not None:
            weight = check_array(weight, ensure_2d=False, dtype="float64", input_name="weight")
            check_consistent_length(features, weight)
            if not weight.any():
                raise ValueError("sample_weight is zero for every sample, expected one that counts")
        objective = LinearObjective(
            loss,
            features,
            y,
            weight=weight,
            penalty=self.alpha,
            intercept=self.fit_intercept,
            outputs=outputs,
        )
        options = {"maxiter": self.max_iter, "gtol": self.tol, "ftol": 64 * np.finfo(float).eps}
        found = minimize(objective, objective.start, jac=True, method="L-BFGS-B", options=options)
        if not found.success:
            warn(
                f"{type(self).__name__}: L-BFGS stopped after {found.nit} steps ({found.message}); "
                "scale the features, or raise max_iter",
                ConvergenceWarning,
                stacklevel=3,
            )
        coefficients, intercept = objective.split(found.x)
        self.coef_ = coefficients.T
        self.intercept_ = np.zeros(outputs or ())[()] + intercept
        self.n_iter_ = found.nit

    def _scores(self, X: Any) -> Any:
        check_is_fitted(self)
        features = validate_data(self, X, accept_sparse="csr", reset=False, dtype=np.float64)
        return features @ self.coef_.T + self.intercept_


class LinearRegressor(RegressorMixin, _Linear):
    """A linear model with any loss of a number.

    It minimises mean(loss) + alpha / 2 * (sum of the squared coefficients).

    Parameters
    ----------
    loss
        A loss of this package, `MSELoss()` by default. Of a loss of a logarithm, such as
        `poisson_nll`, predictions are logarithms. One with kinks, such as `mae`, takes long.
    alpha
        The strength of the penalty.
    fit_intercept
        Whether the model has an intercept.
    max_iter, tol
        When L-BFGS stops: after this many steps, or at a gradient of this size.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> from tinyloss.adapters.sklearn import LinearRegressor
    >>> X = np.arange(6.0).reshape(6, 1)
    >>> y = 2 * X[:, 0] + 1
    >>> y[5] = 100.0
    >>> LinearRegressor(tinyloss.HuberLoss(delta=0.1), alpha=0.0).fit(X, y).coef_.round(1)
    array([2.])
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "LinearRegressor":
        """Find the coefficients of least loss."""
        features, y = validate_data(
            self, X, y, accept_sparse="csr", dtype=np.float64, y_numeric=True, multi_output=True
        )
        loss = tinyloss.MSELoss() if self.loss is None else self.loss
        self._fit(loss, features, y, sample_weight, None if y.ndim == 1 else y.shape[1])
        return self

    def predict(self, X: Any) -> Any:
        """Return the scores."""
        return self._scores(X)


class LinearClassifier(ClassifierMixin, _Linear):
    """A linear model with any loss of classes.

    A loss of rows, such as `cross_entropy`, compares the classes. Any other, such as `hinge`,
    tells each class from the rest: one score for two classes, one a class for more.

    Parameters
    ----------
    loss
        A loss of this package that takes scores, `CrossEntropyLoss()` by default.
    alpha
        The strength of the penalty: mean(loss) + alpha / 2 * (sum of the squared coefficients).
    fit_intercept
        Whether the model has an intercept.
    max_iter, tol
        When L-BFGS stops: after this many steps, or at a gradient of this size.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> from tinyloss.adapters.sklearn import LinearClassifier
    >>> X, y = np.array([[-2.0], [-1.0], [1.0], [2.0]]), ["no", "no", "yes", "yes"]
    >>> LinearClassifier(tinyloss.SquaredHingeLoss()).fit(X, y).predict([[0.5]]).tolist()
    ['yes']
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "LinearClassifier":
        """Find the coefficients of least loss."""
        features, y = validate_data(self, X, y, accept_sparse="csr", dtype=np.float64)
        check_classification_targets(y)
        self.classes_, index = np.unique(y, return_inverse=True)
        count = len(self.classes_)
        if count < 2:
            raise ValueError(
                f"LinearClassifier: y has one class, {self.classes_[0]!r}, expected two or more"
            )
        loss = tinyloss.CrossEntropyLoss() if self.loss is None else self.loss
        if loss.takes_labels():
            self._fit(loss, features, index, sample_weight, count)
        elif count == 2:
            self._fit(loss, features, index == 1, sample_weight, None)
        else:
            each = index[:, None] == np.arange(count)
            self._fit(loss, features, each, sample_weight, count)
        return self

    def decision_function(self, X: Any) -> Any:
        """Return the score of each class, of two classes that of the second."""
        scores = self._scores(X)
        if scores.ndim == 2 and len(self.classes_) == 2:
            return scores[:, 1] - scores[:, 0]
        return scores

    def predict(self, X: Any) -> Any:
        """Return the class of each row."""
        scores = self.decision_function(X)
        chosen = scores.argmax(axis=1) if scores.ndim == 2 else (scores > 0).astype(int)
        return self.classes_[chosen]

    def predict_proba(self, X: Any) -> Any:
        """Return the softmax of the scores, of one score the sigmoid: what cross-entropies mean."""
        scores = self._scores(X)
        if scores.ndim == 1:
            scores = np.stack([np.zeros_like(scores), scores], axis=1)
        return tinyloss.softmax(scores)
