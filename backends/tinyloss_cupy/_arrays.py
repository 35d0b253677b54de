"""CuPy's arrays in memory: what `tinyloss._outputs` asks of a library."""

from typing import Any

import cupy

__all__ = ["address", "empty", "empty_like", "may_overlap"]


def address(array: Any) -> int:
    """Return where an array's first element lies."""
    return array.data.ptr  # type: ignore[no-any-return]


def empty(shape: tuple[int, ...], dtype: Any) -> Any:
    """Return a new array, not set."""
    return cupy.empty(shape, dtype)


def empty_like(array: Any, dtype: Any) -> Any:
    """Return a new array, not set, that lies as another does."""
    return cupy.empty_like(array, dtype)


def may_overlap(a: Any, b: Any) -> bool:
    """Return whether two arrays may share memory."""
    return bool(cupy.may_share_memory(a, b))
