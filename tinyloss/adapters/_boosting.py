"""What XGBoost's and LightGBM's objectives have in common."""

import inspect
from dataclasses import dataclass
from typing import Any

import tinyloss
from tinyloss.adapters._targets import target_of, weight_of


def given(first: Any, second: Any, weight: Any, group: Any) -> tuple[Any, Any, Any, Any]:
    """Return scores, labels, weights and lengths of lists of a call of either interface.

    Native ones are (scores, data set); those of scikit-learn (labels, scores, weights, lengths).
    """
    if hasattr(second, "get_label"):
        return first, second.get_label(), second.get_weight(), second.get_group()
    return second, first, weight, group


def called(name: str, loss: Any, *call: Any) -> tuple[Any, Any, Any, dict[str, Any]]:
    """Return the loss, scores, labels and options that a booster's call comes to."""
    x, y, weight, group = given(*call)
    of_lists = x.ndim == 1 and "mask" in inspect.signature(loss).parameters
    if not of_lists or group is None or not len(group):
        y = target_of(name, loss, x, y)
        return loss, x, y, {"weight": weight_of(loss, x, weight)}
    import numpy as np

    by_list: Any = tinyloss.by_segment(loss, np.repeat(np.arange(len(group)), group))
    if weight is None or not len(weight):
        return by_list, x, y, {}
    # XGBoost has a weight for each list, LightGBM for each item
    return by_list, x, y, {"weight" if len(weight) == len(group) else "member_weight": weight}


@dataclass(frozen=True)
class BoostingObjective:
    """A loss whose gradient and curvature a booster asks for."""

    loss: Any
    factor: float = 1.0

    def __post_init__(self) -> None:
        tinyloss.grad_and_hess(self.loss)  # refuses what is no loss

    def derivatives(
        self, first: Any, second: Any, weight: Any, group: Any = None
    ) -> tuple[Any, Any]:
        """Return each item's gradient, and the curvature for boosting times `factor`."""
        loss, x, y, options = called("Objective", self.loss, first, second, weight, group)
        both: Any = tinyloss.grad_and_hess(loss, hess="boosting")
        gradient, curvature = both(x, y, **options)
        return gradient, curvature * self.factor


@dataclass(frozen=True)
class BoostingMetric:
    """A loss by which a booster is watched."""

    loss: Any

    def __post_init__(self) -> None:
        tinyloss.grad(self.loss)  # refuses what is no loss

    @property
    def __name__(self) -> str:
        return getattr(self.loss, "__name__", type(self.loss).__name__)

    def value(self, first: Any, second: Any, weight: Any, group: Any = None) -> float:
        """Return the mean of the loss."""
        loss, x, y, options = called("Metric", self.loss, first, second, weight, group)
        return float(loss(x, y, **options))
