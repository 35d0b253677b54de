"""How the arrays of a job are taken block by block together."""

from collections.abc import Mapping
from typing import Any

__all__ = ["with_axes"]


def with_axes(arrays: Mapping[str, Any], ndim: int) -> list[Any]:
    """Return arrays, each followed by the axes of x that it has, as `dask.array.blockwise` asks.

    Fewer axes than x's are those of the items, but for the weights of the classes.
    """
    axes = tuple(range(ndim))
    pairs: list[Any] = []
    for name, array in arrays.items():
        of_classes = name in ("class_weight", "first_class")
        pairs += [array, axes[-1:] if of_classes else axes[: array.ndim]]
    return pairs
