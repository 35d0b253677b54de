"""How the arrays of a job are taken block by block together."""

from collections.abc import Collection, Mapping
from typing import Any


def with_axes(arrays: Mapping[str, Any], of_classes: Collection[str]) -> list[Any]:
    """Return arrays, each followed by the axes of x that it has, as `dask.array.blockwise` asks.

    Fewer axes than x's are those of the items, but for arrays that vary by the classes alone.
    """
    axes = tuple(range(arrays["x"].ndim))
    pairs: list[Any] = []
    for name, array in arrays.items():
        pairs += [array, axes[-1:] if name in of_classes else axes[: array.ndim]]
    return pairs
