"""NumPy's arrays in memory: what `tinyloss.compiler.outputs` asks of a library."""

import ctypes
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tinyloss_numpy._plans import WORTH_THREADS
from tinyloss_numpy._threads import run_slabs

_BLOCK = 2**16
"""Numbers that are read once from memory and three times from the cache."""

_byte = ctypes.c_char


def address(array: Any) -> int:
    """Return where an array's first element lies."""
    try:
        # three times as fast as the attribute below, for writable arrays in one piece
        return ctypes.addressof(_byte.from_buffer(array))
    except (TypeError, ValueError, BufferError):
        return array.ctypes.data  # type: ignore[no-any-return]


def writable_address(array: Any) -> int | None:
    """Return where an array's first element lies, None if it cannot be written in one piece."""
    try:
        return ctypes.addressof(_byte.from_buffer(array))
    except (TypeError, ValueError, BufferError):
        return None


def empty(shape: tuple[int, ...], dtype: Any) -> Any:
    """Return a new array, not set."""
    return np.empty(shape, dtype)


def empty_like(array: Any, dtype: Any) -> Any:
    """Return a new array, not set, that lies as another does."""
    return np.empty_like(array, dtype, subok=False)


def spread(array: Any) -> tuple[float, float, float]:
    """Return an array's smallest and largest number, and the sum of all in float64."""
    if array.size < WORTH_THREADS or not array.flags.c_contiguous:
        return _spread(array)
    flat, blocks = array.reshape(-1), -(-array.size // _BLOCK)
    found = np.empty((blocks, 3))

    def work(first: int, last: int) -> None:
        for block in range(first, last):
            found[block] = _spread(flat[block * _BLOCK : (block + 1) * _BLOCK])

    run_slabs(work, blocks)
    return float(found[:, 0].min()), float(found[:, 1].max()), float(np.add.reduce(found[:, 2]))


def _spread(array: Any) -> tuple[float, float, float]:
    low, high = np.minimum.reduce(array, axis=None), np.maximum.reduce(array, axis=None)
    return float(low), float(high), float(np.add.reduce(array, axis=None, dtype=np.float64))


def may_overlap(a: Any, b: Any) -> bool:
    """Return whether two arrays may share memory."""
    return np.may_share_memory(a, b)


def maker(like: Any) -> Callable[[], Any]:
    """Return what makes arrays like one that is still to be written."""
    if like.flags.c_contiguous:
        return partial(np.empty, like.shape, like.dtype)
    # of the same strides, without its memory
    drawn = as_strided(np.empty(1, like.dtype), like.shape, like.strides)
    return partial(np.empty_like, drawn, subok=False)


_SCALARS = {
    dtype: scalar
    for scalar in (np.float16, np.float32, np.float64)
    for dtype in (scalar, np.dtype(scalar))
}


def scalar(dtype: Any) -> Callable[[float], Any]:
    """Return what makes a number of a dtype."""
    return _SCALARS[dtype]
