"""The types of the public signatures.

The array API standard has no typing package yet, so `Array` states the little that every array
shares, and results are typed `Any`: what a call returns is whatever the caller's library returns.
"""

from collections.abc import Sequence
from typing import Any, Literal, Protocol, TypeAlias

__all__ = ["Array", "ArrayLike", "AxisName", "Namespace", "Number", "Reduction"]


class Array(Protocol):
    """An array of any library: NumPy, CuPy, JAX, torch, Dask and every array-API library."""

    @property
    def shape(self) -> tuple[Any, ...]:
        """The length of each dimension."""
        ...

    @property
    def dtype(self) -> Any:
        """The type of the elements."""
        ...


Number: TypeAlias = bool | int | float
"""A Python number: what parameters are."""

ArrayLike: TypeAlias = Array | Sequence[Any] | Number
"""What is accepted beside a prediction: an array, a (nested) list or a number."""

AxisName: TypeAlias = str | tuple[str, ...]
"""The name of an axis that JAX maps a function over, or the names of several."""

Reduction: TypeAlias = Literal["mean", "sum", "none"]
"""How the items of a batch are put together."""

Namespace: TypeAlias = Any
"""An array-API namespace: the module whose functions take an array."""
