"""How the arrays of a job are taken block by block together, and answers apart."""

from collections.abc import Collection, Mapping
from typing import Any

import dask.array as da
import numpy as np


def with_axes(arrays: Mapping[str, Any], of_classes: Collection[str]) -> list[Any]:
    """Return arrays, each followed by the axes of x that it has, as `dask.array.blockwise` asks.

    Fewer axes than x's are those of the items, but for arrays that vary by the classes alone.
    """
    axes = tuple(range(arrays["x"].ndim))
    pairs: list[Any] = []
    for name, array in arrays.items():
        pairs += [array, axes[-1:] if name in of_classes else axes[: array.ndim]]
    return pairs


def parts_of(
    answers: Any, name: str, number: int | None, chunks: tuple[Any, ...], dtype: Any
) -> Any:
    """Return the arrays of a name that answers hold, as blocks of an array."""
    return da.map_blocks(
        _part,
        answers,
        name,
        number,
        dtype,
        chunks=chunks,
        dtype=dtype,
        new_axis=list(range(answers.ndim, len(chunks))) or None,
        meta=np.empty((0,) * len(chunks), dtype),
    )


def _part(answer: Any, name: str, number: int | None, dtype: Any) -> Any:
    part = getattr(answer, name)
    return np.asarray(part if number is None else part[number]).astype(dtype)
