"""Losses as objectives and metrics of LightGBM."""

from typing import Any

from tinyloss.adapters._boosting import BoostingMetric, BoostingObjective

__all__ = ["Metric", "Objective"]


class Objective(BoostingObjective):
    """A loss as LightGBM's objective: in `params["objective"]`, or `LGBMModel(objective=)`.

    Scores are the loss's predictions as they are: logits where it takes logits. LightGBM leaves
    weights to an objective; they count once. Labels may be class indices as floats, and 0 and 1
    for a margin loss. It can be pickled, compared and cloned.

    Of a loss of lists, such as `lambdarank`, a list is a group, and weights are `member_weight`.

    Parameters
    ----------
    loss
        A loss of this package: a function or an object.
    factor
        What the curvature is multiplied with. 1 is the loss's own, for boosting (see
        `tinyloss.grad_and_hess`). LightGBM's own objectives take K / (K - 1) for softmax of K
        classes, exp(0.7), of its `poisson_max_delta_step`, for Poisson, and 1 for all others.

    Notes
    -----
    A custom objective starts at 0. For `boost_from_average` give the data an `init_score`,
    `tinyloss.constant_minimizer(loss, y, weight)` for each row, and add it to what is predicted:
    predictions are scores, without it.

    LightGBM's own quantile and absolute errors set the leaves anew once a tree is grown, which no
    custom objective can: their trees have the same splits and other leaves.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> from tinyloss.adapters.lightgbm import Objective
    >>> objective = Objective(tinyloss.cross_entropy, factor=2.0)
    >>> objective(np.array([1.0]), np.zeros((1, 2)))
    (array([[ 0.5, -0.5]]), array([[0.5, 0.5]]))

    A booster is made by `lightgbm.LGBMClassifier(objective=objective)`, of lists by LGBMRanker.
    """

    # LightGBM passes as many arguments as there are parameters.
    def __call__(
        self, y_true: Any, y_pred: Any, weight: Any = None, group: Any = None
    ) -> tuple[Any, Any]:
        """Return gradient and curvature: of labels and scores, or of scores and a Dataset."""
        return self.derivatives(y_true, y_pred, weight, group)


class Metric(BoostingMetric):
    """A loss as LightGBM's metric: for `train(feval=)`, and `fit(eval_metric=)`.

    It is the mean of the loss, weighted. It gets scores beside an `Objective`; beside an objective
    of LightGBM's own what that predicts, probabilities for example.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> from tinyloss.adapters.lightgbm import Metric
    >>> Metric(tinyloss.mae)(np.array([1.0, 2.0]), np.array([0.5, 2.5]))
    ('mae', 0.5, False)
    """

    def __call__(
        self, y_true: Any, y_pred: Any, weight: Any = None, group: Any = None
    ) -> tuple[str, float, bool]:
        """Return its name, the loss, and that less is better."""
        return self.__name__, self.value(y_true, y_pred, weight, group), False
