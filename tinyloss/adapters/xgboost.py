"""Losses as objectives and metrics of XGBoost."""

from typing import Any

from tinyloss.adapters._boosting import BoostingMetric, BoostingObjective

__all__ = ["Metric", "Objective"]


class Objective(BoostingObjective):
    """A loss as XGBoost's objective, for `xgboost.train(obj=)` and `XGBModel(objective=)`.

    Scores are the loss's predictions as they are: logits where it takes logits. XGBoost leaves
    weights to an objective; they count once. Labels may be class indices as floats, and 0 and 1
    for a margin loss. It can be pickled, compared and cloned.

    Of a loss of lists, such as `lambdarank`, a list is a group of the DMatrix (`qid`), and weights
    are of groups.

    Parameters
    ----------
    loss
        A loss of this package: a function or an object.
    factor
        What the curvature is multiplied with. 1 is the loss's own, for boosting (see
        `tinyloss.grad_and_hess`). XGBoost's own objectives take 2 for softmax, exp(0.7), of its
        `max_delta_step`, for Poisson, and 1 for all others.

    Notes
    -----
    A custom objective starts at `base_score`, taken as a score: set
    `base_score=float(tinyloss.constant_minimizer(loss, y, weight))`, or for classes the data's
    `base_margin`. `XGBClassifier` alone takes it as a probability of two classes: 0.5 is a score
    of 0. Predictions are scores (`output_margin`).

    XGBoost's own quantile and absolute errors set the leaves anew once a tree is grown, which no
    custom objective can: their trees have the same splits and other leaves.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> from tinyloss.adapters.xgboost import Objective
    >>> objective = Objective(tinyloss.QuantileLoss(q=0.9))
    >>> labels, scores = np.array([1.0, 2.0]), np.array([0.5, 2.5])
    >>> objective(labels, scores)
    (array([-0.9,  0.1]), array([1., 1.]))

    A booster is made by `xgboost.XGBRegressor(objective=objective)`. XGBRanker refuses objectives
    that are not its own; xgboost.train takes them.
    """

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> tuple[Any, Any]:
        """Return gradient and curvature: of labels and scores, or of scores and a DMatrix."""
        return self.derivatives(y_true, y_pred, sample_weight)


class Metric(BoostingMetric):
    """A loss as XGBoost's metric, for `train(custom_metric=)` and `XGBModel(eval_metric=)`.

    It is the mean of the loss, weighted. It gets scores beside an `Objective`; beside an objective
    of XGBoost's own what that predicts, probabilities for example.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> from tinyloss.adapters.xgboost import Metric
    >>> Metric(tinyloss.mae)(np.array([1.0, 2.0]), np.array([0.5, 2.5]))
    0.5
    """

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Return the loss of labels and scores; of scores and a DMatrix (name, loss)."""
        value = self.value(y_true, y_pred, sample_weight)
        return (self.__name__, value) if hasattr(y_pred, "get_label") else value
