"""CuPy's arrays in memory: what `tinyloss.compiler.outputs` asks of a library.

CuPy is imported when it is needed: a kernel can be written without it.
"""

from typing import Any


def address(array: Any) -> int:
    """Return where an array's first element lies."""
    return array.data.ptr  # type: ignore[no-any-return]


def empty(shape: tuple[int, ...], dtype: Any) -> Any:
    """Return a new array, not set."""
    import cupy

    return cupy.empty(shape, dtype)


def empty_like(array: Any, dtype: Any) -> Any:
    """Return a new array, not set, that lies as another does."""
    import cupy

    return cupy.empty_like(array, dtype)


def may_overlap(a: Any, b: Any) -> bool:
    """Return whether two arrays may share memory."""
    import cupy

    return bool(cupy.may_share_memory(a, b))
