"""Losses for `scipy.optimize.minimize`.

`tinyloss.value_and_grad(loss)` is what it takes with `jac=True`, and `hessp(loss)` what it takes
beside, for predictions that are minimised themselves. `LinearObjective` is for a linear model.
"""

from dataclasses import dataclass, field
from typing import Any

import tinyloss
from tinyloss.adapters._targets import weight_of

__all__ = ["LinearObjective", "hessp"]


@dataclass(frozen=True)
class hessp:
    """`tinyloss.hvp(loss)` with SciPy's order of arguments: x, direction, then `args`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> from tinyloss.adapters.scipy import hessp
    >>> hessp(tinyloss.mse)(np.zeros(2), np.array([1.0, 2.0]), np.ones(2)).tolist()
    [1.0, 2.0]
    """

    loss: Any

    def __post_init__(self) -> None:
        tinyloss.hvp(self.loss)

    def __call__(self, x: Any, direction: Any, *args: Any) -> Any:
        """Return the product at x, `args` being what `minimize(args=)` has."""
        return tinyloss.hvp(self.loss)(x, *args, direction=direction)


@dataclass(frozen=True, eq=False)
class LinearObjective:
    """The mean loss of a linear model, as a function of its parameters in one row.

    `minimize(objective, objective.start, jac=True)`, with `hessp=objective.hessp` for Newton's
    method and trust regions.

    Parameters
    ----------
    loss
        A loss of this package: a function or an object.
    features
        NumPy's array or a sparse matrix of SciPy, one row an item.
    y
        What the loss takes beside the scores.
    weight
        The weight of each row.
    penalty
        What half the sum of the squared coefficients is multiplied with.
    intercept
        Whether the model has one, which is not penalised.
    outputs
        The number of scores of a row; None for one, without a dimension of its own.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> from tinyloss.adapters.scipy import LinearObjective
    >>> features, y = np.array([[0.0], [1.0], [2.0]]), np.array([1.0, 3.0, 5.0])
    >>> objective = LinearObjective(tinyloss.mse, features, y)
    >>> value, gradient = objective(np.array([2.0, 0.0]))  # slope 2, intercept 0
    >>> value, gradient.tolist()
    (1.0, [-2.0, -2.0])
    """

    loss: Any
    features: Any
    y: Any
    weight: Any = field(default=None, kw_only=True)
    penalty: float = field(default=0.0, kw_only=True)
    intercept: bool = field(default=True, kw_only=True)
    outputs: int | None = field(default=None, kw_only=True)

    @property
    def start(self) -> Any:
        """Parameters that are all 0."""
        import numpy as np

        return np.zeros((self.features.shape[1] + self.intercept) * (self.outputs or 1))

    def split(self, parameters: Any) -> tuple[Any, Any]:
        """Return coefficients, a row for each feature, and the intercept."""
        shape = () if self.outputs is None else (self.outputs,)
        rows = parameters.reshape(-1, *shape)
        return (rows[:-1], rows[-1]) if self.intercept else (rows, 0.0)

    def scores(self, parameters: Any) -> Any:
        """Return the model's predictions."""
        coefficients, intercept = self.split(parameters)
        return self.features @ coefficients + intercept

    def __call__(self, parameters: Any) -> tuple[float, Any]:
        """Return the penalised loss and its gradient."""
        x = self.scores(parameters)
        both: Any = tinyloss.value_and_grad(self.loss)
        value, gradient = both(x, self.y, weight=weight_of(self.loss, x, self.weight))
        penalised = self._penalised(parameters)
        penalty = 0.5 * (parameters * penalised).sum()
        return float(value + penalty), self._pulled(gradient) + penalised

    def hessp(self, parameters: Any, direction: Any) -> Any:
        """Return the Hessian times a direction."""
        x, along = self.scores(parameters), self.scores(direction)
        weight = weight_of(self.loss, x, self.weight)
        product = tinyloss.hvp(self.loss)(x, self.y, along, weight=weight)
        return self._pulled(product) + self._penalised(direction)

    def _pulled(self, gradient: Any) -> Any:
        """Return the gradient by the parameters, given that by the scores."""
        import numpy as np

        of_coefficients = self.features.T @ gradient
        if not self.intercept:
            return of_coefficients.reshape(-1)
        return np.append(of_coefficients, gradient.sum(axis=0))

    def _penalised(self, parameters: Any) -> Any:
        """Return the gradient of the penalty."""
        slope = self.penalty * parameters
        if self.intercept:
            slope[-(self.outputs or 1) :] = 0.0
        return slope
