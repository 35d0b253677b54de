"""How large an array's numbers are, and their sum: what a mean must know of its weights.

A loop reads many numbers once. Until it is compiled, and for few numbers, NumPy reads them three
times, a block after the other.
"""

import struct
from math import nan
from typing import Any

import numpy as np

from tinyloss_numpy import _arrays
from tinyloss_numpy._plans import WORTH_THREADS
from tinyloss_numpy._programs import made
from tinyloss_numpy._run import may_compile
from tinyloss_numpy._source import LANES, Text
from tinyloss_numpy._threads import run_slabs

_BLOCK = 2**16
"""Numbers of one partial sum, whatever the number of threads; the cache holds them."""
_WORTH_COMPILING = 2**26
"""Numbers after which compiling the loop pays if more are to come: it saves half a nanosecond of
each, and takes a tenth of a second."""

_SOURCE = f"""
def kernel(first, last, table, work):
    start = entry(table, 0)
    ends = entry(table, 1)
    for block in range(first, last):
        begin = start + block * ({_BLOCK} * SIZE)
        largest = spread(real(0.0))
        sums = no_sums(0.0)
        for k in range(0, {_BLOCK}, LANES):
            number = take_array(begin + k * SIZE)
            largest = maximum(largest, abs(number))
            sums = added(sums, number)
        store_total(ends, 2 * block, float64(highest(largest)))
        store_total(ends, 2 * block + 1, folded(sums))
    return 0
"""


_kernels: dict[str, Any] = {}
_read = dict.fromkeys(map(np.dtype, LANES), 0)
"""How many numbers of a dtype have been read."""


def _kernel(array: Any) -> Any:
    """Return what reads blocks of an array, None where NumPy is to do it."""
    dtype, mode = array.dtype, may_compile()
    if dtype not in _read or mode == "never":
        return None
    _read[dtype] += array.size
    if mode == "auto" and _read[dtype] < _WORTH_COMPILING:
        return None
    real = dtype.name
    if real not in _kernels:
        made(_kernels, real, lambda: _compiled(real), "the sum of weights")
    return None if isinstance(_kernels[real], str) else _kernels[real]


def _compiled(real: str) -> Any:
    from tinyloss_numpy._compiler import load

    return load(Text(_SOURCE, (("array", (real, real)),), 0, 0), real, "the sum of weights")


def extent(array: Any) -> tuple[float, float]:
    """Return the largest absolute number of an array, and the sum of all in float64.

    The size is NaN where a number is.
    """
    if array.size < WORTH_THREADS or not array.flags.c_contiguous:
        return _extent(array)
    flat, whole = array.reshape(-1), array.size // _BLOCK
    kernel = _kernel(array)
    found = np.full((whole + 1, 2), nan)
    table = struct.pack("2q", _arrays.address(flat), _arrays.address(found))

    def work(first: int, last: int) -> None:
        if kernel is not None:
            kernel(first, last, table, 0)
            return
        for block in range(first, last):
            found[block] = _extent(flat[block * _BLOCK : (block + 1) * _BLOCK])

    run_slabs(work, whole)
    found[whole] = _extent(flat[whole * _BLOCK :]) if array.size % _BLOCK else 0.0
    return float(found[:, 0].max()), float(np.add.reduce(found[:, 1]))


def _extent(array: Any) -> tuple[float, float]:
    low, high = np.minimum.reduce(array, axis=None), np.maximum.reduce(array, axis=None)
    total = np.add.reduce(array, axis=None, dtype=np.float64)
    return float(np.maximum(high, -low)), float(total)
