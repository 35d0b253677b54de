"""CuPy's arrays in memory: what kernels and `tinyloss.compiler.outputs` ask of a library.

CuPy is imported when it is needed: a kernel can be written without it.
"""

from typing import Any


def address(array: Any) -> int:
    """Return where an array's first element lies."""
    return array.data.ptr  # type: ignore[no-any-return]


def layout(array: Any) -> tuple[Any, ...]:
    """Return an array's shape, strides and dtype."""
    return array.shape, array.strides, array.dtype


def device(array: Any) -> int:
    """Return the number of an array's device."""
    return array.data.device_id  # type: ignore[no-any-return]


def stream() -> None:
    """Return the stream to launch on: None is CuPy's current one."""


def empty(shape: tuple[int, ...], dtype: Any) -> Any:
    """Return a new array, not set, on the current device."""
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
