"""Losses whose items are put together along chosen axes: a number for each class, output, image."""

from __future__ import annotations

from typing import ParamSpec

from tinyloss._altered import Altered
from tinyloss._engine.job import Answer
from tinyloss._engine.request import Want
from tinyloss._function import Loss
from tinyloss._objects import Differentiable

P = ParamSpec("P")


class Over(Altered[P], Differentiable):
    """A loss whose `reduction` goes over chosen axes of its items."""

    def ask(self, want: Want, /, *args: P.args, **kwargs: P.kwargs) -> Answer:
        """Return the parts of the answer that are wanted."""
        if want.over is not None:
            raise TypeError(
                f"tinyloss.over: got {self!r}, which has its axes, expected all axes in one call"
            )
        answer: Answer = self._loss.ask(want._replace(over=self._given), *args, **kwargs)
        return answer


def over(loss: Loss[P], axis: int | tuple[int, ...], /) -> Over[P]:
    """Make of a loss the one that puts items together along chosen axes, not along all.

    A mean for each output, each class or each image, with its own gradient.

    Parameters
    ----------
    loss
        A loss of this package, a function or an object, a sum of these, or your own.
    axis
        The axis of the items, or a tuple of them. An item is an element, or a row of classes; the
        items have the shape that `reduction="none"` returns.

    Returns
    -------
    A loss with the parameters of `loss`. It returns an array without these axes. It adds and scales
    as objects do: losses whose items differ are put together along axes of their own.

    Notes
    -----
    `reduction="mean"`: sum(weight * loss) / sum(weight) along the axes; 0 where nothing is taken.
    `reduction="sum"`: the sum. `denominator` may be an array of the result's shape.

    Of scores that are products, and of sequences, the axes are those that h, and x, have besides
    their last ones. `sequence_logprob`, `barlow_twins` and `vicreg` have no such items.

    Gradient: of the sum of the result. Each element of the result depends on its own items alone,
    so the gradient by these is its own.

    Accuracy: value and gradient 1 eps more than those of the loss.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> of_output = tinyloss.over(tinyloss.mse, 0)
    >>> x, y = np.array([[1.0, 2.0], [3.0, 6.0]]), np.zeros((2, 2))
    >>> of_output(x, y).tolist()
    [5.0, 20.0]
    >>> tinyloss.grad(of_output)(x, y).tolist()
    [[1.0, 2.0], [3.0, 6.0]]
    """
    axes = axis if isinstance(axis, tuple) else (axis,)
    if not axes or not all(type(each) is int for each in axes):
        raise TypeError(f"tinyloss.over: axis is {axis!r}, expected an integer or a tuple of them")
    return Over(over, loss, axis, f"over axis {axis!r} of its items")
