"""What is done over the classes of a row, the last dimension of an array.

A row may be spread over several arrays, one for each member of a mapped axis: then a backend has
a subclass that looks at all of them.
"""

from typing import Any

from tinyloss._arrays import beside
from tinyloss.typing import Namespace

__all__ = ["Rows"]


class Rows:
    """Reductions over the classes of arrays like `x`; results keep the dimension, of length 1."""

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
        """Return for each row the value of the class that `index` names, 0 where it names none."""
        return self.sum(self.xp.where(self.index() == index, values, 0.0))

    def take(self, per_class: Any, labels: Any) -> Any:
        """Return for each label its class's entry of a 1-d array; any entry if it is no class."""
        xp = self.xp
        index = xp.minimum(xp.maximum(labels, 0), self.x.shape[-1] - 1)
        if len(index.shape) == 1:
            return xp.take(per_class, index, axis=0)
        if any(n is None or n != n for n in index.shape):  # lengths that are not known
            return Rows.pick(self, per_class, index[..., None])[..., 0]
        return xp.reshape(xp.take(per_class, xp.reshape(index, (-1,)), axis=0), labels.shape)
