"""Losses whose items are put together along chosen axes: a number for each class, output, image."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Generic, ParamSpec

from tinyloss._engine.job import Answer, Job
from tinyloss._engine.regions import run_regions
from tinyloss._engine.request import Product, Regions, Request, Sequences, Want
from tinyloss._engine.run import run
from tinyloss._function import Loss, spelled

P = ParamSpec("P")

_VALUE = Want(value=True)


class Over(Generic[P]):
    """A loss whose `reduction` goes over chosen axes of its items."""

    def __init__(self, loss: Loss[P], axis: int | tuple[int, ...]) -> None:
        self._loss: Any = loss
        self._axis = axis
        name = getattr(loss, "__name__", None) or repr(loss)
        self.__name__ = self.__qualname__ = f"over({name}, {axis!r})"
        self.__doc__ = f"Return {name} over axis {axis!r} of its items."

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self._loss)

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Any:
        return self.ask(_VALUE, *args, **kwargs).value

    def ask(self, want: Want, /, *args: P.args, **kwargs: P.kwargs) -> Answer:
        """Return the parts of the answer that are wanted."""
        request = self.request(args, kwargs)
        return (run_regions if isinstance(request.x, Regions) else run)(request, want)

    def request(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Request:
        """Return what a call asks."""
        request: Request = self._loss.request(args, kwargs)
        if isinstance(request.x, Product | Sequences):
            raise TypeError(
                f"tinyloss.over: got {self._loss!r}, expected a loss of arrays: one of products "
                "or of sequences goes over all its items"
            )
        return request._replace(over=self._axis)

    def jobs(self, want: Want, /, *args: Any, **kwargs: Any) -> list[Job]:
        """Return the jobs that answer a call: those of the items."""
        found: list[Job] = self._loss.jobs(want, *args, **kwargs)
        return found

    def takes_labels(self, **parameters: Any) -> bool:
        """Return whether y may hold class indices."""
        return bool(self._loss.takes_labels(**parameters))

    @property
    def traits(self) -> Any:
        """What returns the loss's traits."""
        return self._loss.traits

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, Over) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[Any, ...]:
        return self._loss, self._axis

    def __repr__(self) -> str:
        return f"tinyloss.over({spelled(self._loss)}, {self._axis!r})"

    def __reduce__(self) -> Any:
        return over, self._key()


def over(loss: Loss[P], axis: int | tuple[int, ...], /) -> Over[P]:
    """Make of a loss the one that puts items together along chosen axes, not along all.

    A mean for each output, each class or each image, with its own gradient.

    Parameters
    ----------
    loss
        A loss of this package, a function or an object, or your own. Not one of products or of
        sequences, and no sum of losses.
    axis
        The axis of the items, or a tuple of them. An item is an element, or a row of classes; the
        items have the shape that `reduction="none"` returns.

    Returns
    -------
    A loss with the parameters of `loss`. It returns an array without these axes.

    Notes
    -----
    `reduction="mean"`: sum(weight * loss) / sum(weight) along the axes; 0 where nothing is taken.
    `reduction="sum"`: the sum. `denominator` may be an array of the result's shape.

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
    if isinstance(loss, type) or not hasattr(loss, "request"):
        raise TypeError(
            f"tinyloss.over: got {loss!r}, expected a loss: a function or an object of tinyloss, "
            "or your own function decorated with @tinyloss.loss"
        )
    axes = axis if isinstance(axis, tuple) else (axis,)
    if not axes or not all(type(each) is int for each in axes):
        raise TypeError(f"tinyloss.over: axis is {axis!r}, expected an integer or a tuple of them")
    return Over(loss, axis)
