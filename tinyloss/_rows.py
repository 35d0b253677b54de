"""Reductions and look-ups over the classes of a row, the last dimension of an array.

A backend has a subclass for rows that are split over several arrays, one for each member of a
mapped axis.
"""

from typing import Any

from tinyloss._arrays import beside
from tinyloss.typing import Namespace


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
