"""What XGBoost's and LightGBM's objectives have in common."""

from dataclasses import dataclass
from typing import Any

import tinyloss
from tinyloss.adapters._targets import target_of, weight_of


def given(first: Any, second: Any, weight: Any) -> tuple[Any, Any, Any]:
    """Return scores, labels and weights of a call of either interface.

    Native ones are (scores, data set); those of scikit-learn (labels, scores, weights).
    """
    if hasattr(second, "get_label"):
        return first, second.get_label(), second.get_weight()
    return second, first, weight


@dataclass(frozen=True)
class BoostingObjective:
    """A loss whose gradient and curvature a booster asks for."""

    loss: Any
    factor: float = 1.0

    def __post_init__(self) -> None:
        tinyloss.grad_and_hess(self.loss)  # refuses what is no loss

    def derivatives(self, first: Any, second: Any, weight: Any) -> tuple[Any, Any]:
        """Return each item's gradient, and the curvature for boosting times `factor`."""
        x, y, weight = given(first, second, weight)
        both: Any = tinyloss.grad_and_hess(self.loss, hess="boosting")
        y = target_of("Objective", self.loss, x, y)
        gradient, curvature = both(x, y, weight=weight_of(self.loss, x, weight))
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

    def value(self, first: Any, second: Any, weight: Any) -> float:
        """Return the mean of the loss."""
        x, y, weight = given(first, second, weight)
        y = target_of("Metric", self.loss, x, y)
        return float(self.loss(x, y, weight=weight_of(self.loss, x, weight)))
