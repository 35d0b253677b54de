"""Predictions, targets and weights as other libraries hand them over, as a loss takes them."""

from typing import Any


def target_of(name: str, loss: Any, x: Any, y: Any) -> Any:
    """Return targets as a loss takes them beside a prediction x, both NumPy arrays.

    Libraries keep class indices as floats. Labels of 0 and 1 become booleans: of these a margin
    loss makes -1 and 1, and every other one 0 and 1.
    """
    if y.ndim < x.ndim and loss.takes_labels():
        whole = y.astype("int64")
        if (whole != y).any():
            raise ValueError(f"{name}: a label is {y[whole != y][0]}, expected class indices")
        return whole
    if y.shape != x.shape and y.size == x.size:
        y = y.reshape(x.shape)
    if y.dtype != bool and ((y == 0) | (y == 1)).all():
        return y != 0
    return y


def weight_of(loss: Any, x: Any, weight: Any) -> Any:
    """Return a weight for each of the first dimension of x as one for its items."""
    if weight is None or not len(weight):
        return None
    rows = x.ndim == 1 or loss.takes_labels()
    return weight if rows else weight.reshape(-1, *[1] * (x.ndim - 1))
