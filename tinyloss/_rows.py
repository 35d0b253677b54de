"""Reductions and look-ups over the classes of a row, the last dimension of an array.

A backend has a subclass for rows that are split over several arrays, one for each member of a
mapped axis.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, TypeAlias

from tinyloss import _in_order
from tinyloss._arrays import beside, namespace
from tinyloss.typing import Namespace

OfPairs: TypeAlias = Callable[[Sequence[Any], Sequence[Any]], Sequence[Any]]
"""Takes arrays at one class of a row, and the same at another; returns arrays of pairs."""

PAIRS = 2**20
"""Pairs that are computed at a time: each array of them takes 4 MiB in float32."""


def over_pairs(function: OfPairs, arrays: Sequence[Any]) -> tuple[Any, ...]:
    """Return sums over the other class of each pair, for each class of the rows of arrays.

    No array of all pairs is made: the recorder has this as a loop in a loop, a library as blocks.
    """
    xp = namespace(arrays[0])
    recorded: Any = getattr(xp, "over_pairs", None)
    if recorded is not None:
        return recorded(function, arrays)  # type: ignore[no-any-return]
    return Rows(xp, arrays[0]).over_pairs(function, arrays, arrays)


class Rows:
    """Operations over the classes of arrays like `x`; reductions keep a dimension of length 1."""

    def __init__(self, xp: Namespace, x: Any) -> None:
        self.xp, self.x = xp, x

    def length(self) -> Any:
        """Return the number of classes."""
        return self.x.shape[-1]

    def index(self) -> Any:
        """Return the index of each class."""
        return self.xp.arange(self.x.shape[-1], **beside(self.x))

    def sum(self, values: Any) -> Any:
        """Return the sum over the classes."""
        return self.xp.sum(values, axis=-1, keepdims=True)

    def max(self, values: Any) -> Any:
        """Return the maximum over the classes."""
        return self.xp.max(values, axis=-1, keepdims=True)

    def over_pairs(
        self, function: OfPairs, own: Sequence[Any], other: Sequence[Any]
    ) -> tuple[Any, ...]:
        """Return sums over the other class of each pair, for each class."""
        xp, count = self.xp, self.x.shape[-1]
        there = [each[..., None, :] for each in other]
        step = max(1, PAIRS // (prod(self.x.shape) or 1))
        parts: list[list[Any]] = []
        for first in range(0, count, step):
            some = slice(first, min(first + step, count))
            here = [each[..., some, None] if each.shape[-1] == count else each[..., None]
                    for each in own]  # fmt: skip
            parts.append([xp.sum(each, axis=-1) for each in function(here, there)])
        return tuple([xp.concat(each, axis=-1) for each in zip(*parts, strict=True)])

    def along(self, op: str, *arrays: Any) -> Any:
        """Return what an operation that goes over the classes in order makes of arrays."""
        if op == "flip":
            return self.xp.flip(arrays[0], axis=-1)
        operation: Any = getattr(_in_order, op)
        return operation(*arrays)

    def pick(self, values: Any, index: Any) -> Any:
        """Return each row's value at the class `index`, 0 where there is no such class."""
        return self.sum(self.xp.where(self.index() == index, values, 0.0))

    def take(self, per_class: Any, labels: Any) -> Any:
        """Return the entry of a 1-d array at each label; any entry where that is no class."""
        xp = self.xp
        index = xp.minimum(xp.maximum(labels, 0), self.x.shape[-1] - 1)
        if len(index.shape) == 1:
            return xp.take(per_class, index, axis=0)
        if any(n is None or n != n for n in index.shape):  # unknown lengths
            return Rows.pick(self, per_class, index[..., None])[..., 0]
        return xp.reshape(xp.take(per_class, xp.reshape(index, (-1,)), axis=0), labels.shape)
