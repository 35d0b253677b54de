"""What a loss is: the formulas of one item.

A `Formula` is made from arrays and parameters and answers value, gradients and curvature of each
item. What these share is computed once, in `__init__`. Its lines are straight: array-API functions,
Python numbers for constants, no `if` on data, so that the same lines run eagerly, under tracing
and through the recorder.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

__all__ = ["Formula", "answering", "boosting"]


class Formula:
    """The formulas of one loss.

    A pointwise formula takes arrays of one shape; an item is an element. A rowwise formula takes
    the classes (or features) in the last dimension; an item is a row. Weights, masks, reductions,
    half precision, other axes: all of that is the engine's.

    Subclasses define `__init__(self, x, y, **parameters)`, `value()`, `curvature()` and a
    `grad_<argument>()` for each differentiable argument.
    """

    name: ClassVar[str]
    """The public function's name, for messages."""

    rowwise: ClassVar[bool] = False
    """Whether an item is a row."""

    compares_classes: ClassVar[bool] = False
    """Whether a row of one class always has the loss 0."""

    per_item: ClassVar[bool] = True
    """Whether the value of a rowwise formula is one number for each row."""

    binary: ClassVar[bool] = False
    """Whether targets are probabilities of a yes, from 0 to 1."""

    signed: ClassVar[bool] = False
    """Whether targets are -1 and +1, so that a boolean target stands for these."""

    of_rows: ClassVar[frozenset[str]] = frozenset()
    """Arguments of a rowwise formula that have one number for each row, as class indices have."""

    exact_curvature: ClassVar[bool] = True
    """Whether `curvature` is the second derivative."""

    weighs_classes: ClassVar[bool] = False
    """Whether the formula itself takes `class_weight`; else it becomes a weight of the item."""

    def value(self) -> Any:
        """Return the loss of each item."""
        raise NotImplementedError

    def curvature(self) -> Any:
        """Return the second derivative by each element of x."""
        raise NotImplementedError

    def boosting_curvature(self, curvature: Any) -> Any:
        """Return what boosting takes for the curvature: never negative, 0 by underflow alone."""
        return curvature


def boosting(own: type[Formula]) -> type[Formula]:
    """Return a formula whose curvature is that for boosting: backends need know of no other."""
    known = _boosting.get(own)
    if known is not None:
        return known

    class Boosting(own):  # type: ignore[misc, valid-type]
        exact_curvature = False

        def curvature(self) -> Any:
            return self.boosting_curvature(super().curvature())

    return _boosting.setdefault(own, Boosting)


_boosting: WeakKeyDictionary[type[Formula], type[Formula]] = WeakKeyDictionary()


def answering(own: type[Formula], answer: Callable[[dict[str, Any]], Mapping[str, Any]]) -> Any:
    """Return a formula whose parts a function of its arrays returns, by their methods' names.

    For backends that compute the formulas' results by themselves and leave the rest to the job.
    """

    class Answering(Formula):
        name = own.name
        rowwise = own.rowwise
        per_item = own.per_item

        def __init__(self, **arrays: Any) -> None:
            self._parts = answer(arrays)

        def __getattr__(self, name: str) -> Any:
            part = self._parts[name]
            return lambda: part

        def value(self) -> Any:
            return self._parts["value"]

        def curvature(self) -> Any:
            return self._parts["curvature"]

    return Answering
