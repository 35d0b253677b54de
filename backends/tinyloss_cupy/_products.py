"""Products of matrices by cuBLAS, written into arrays or added to them."""

from typing import Any

import numpy as np

from tinyloss.backend import Budget
from tinyloss_cuda.source import SPLIT_THREADS, write_split
from tinyloss_cupy._modules import kernel_of

_PIECE = 2**26
"""Bytes of a product that is added at a time."""
_BLOCKS = 2048
"""Blocks that share the numbers to be split: some for each multiprocessor."""

# CUDA's numbers of what cuBLAS is told: library_types.h and cublas_api.h.
_FLOAT32, _BFLOAT16 = 0, 14
_SUMS_IN_FLOAT32, _ANY_ALGORITHM = 68, -1


def product_memory(h: Any) -> Budget:
    """Return how much to take at a time."""
    del h
    return Budget(2**29, rows=1024)


def halves(h: Any) -> int:
    """Return of how many numbers of half precision the gradient by a score is made, 0 for none.

    Two of bfloat16 have 16 digits. float16 would lose small gradients.
    """
    import cupy

    hip = cupy.cuda.runtime.is_hip
    return 2 if h.dtype.name == "bfloat16" and not hip and _capability(h) >= 80 else 0


def _capability(array: Any) -> int:
    return int(array.device.compute_capability)


def halved(z: Any, dtype: Any, count: int) -> Any:
    """Return z in half precision, and below it what rounding has left."""
    import cupy

    z = cupy.ascontiguousarray(z)
    found = cupy.empty((count * len(z), z.shape[1]), dtype)
    kernel = kernel_of(write_split(z.dtype.name, found.dtype.name))
    kernel((_BLOCKS,), (SPLIT_THREADS,), (z, found, np.int64(z.size)))
    return found


def multiply(a: Any, b: Any, into: Any, adds: bool) -> None:
    """Write the product of two matrices into an array, or add it to what is there."""
    import cupy

    if a.dtype != into.dtype:
        _multiply_halves(a, b, into, adds)
        return
    step = max(1, _PIECE // (into.shape[1] * into.itemsize or 1)) if adds else len(into)
    for at in range(0, len(into), step or 1):
        some = into[at : at + step]
        product = cupy.matmul(a[at : at + step], b)
        if adds:
            some += product
        else:
            some[...] = product


def _multiply_halves(a: Any, b: Any, into: Any, adds: bool) -> None:
    """Multiply bfloat16 with sums in float32, which CuPy's own functions round."""
    import cupy
    from cupy_backends.cuda.libs import cublas

    if into.strides[1] != into.itemsize:  # cuBLAS writes columns, which are rows of the transpose
        a, b, into = b.T, a.T, into.T
    (a, of_a, step_a), (b, of_b, step_b) = _laid(a), _laid(b)
    rows, columns = into.shape
    one, before = np.asarray(1, np.float32), np.asarray(adds, np.float32)
    cublas.gemmEx(
        cupy.cuda.device.get_cublas_handle(), of_b, of_a, columns, rows, a.shape[1],
        one.ctypes.data, b.data.ptr, _BFLOAT16, step_b, a.data.ptr, _BFLOAT16, step_a,
        before.ctypes.data, into.data.ptr, _FLOAT32, into.strides[0] // into.itemsize,
        _SUMS_IN_FLOAT32, _ANY_ALGORITHM,
    )  # fmt: skip


def _laid(matrix: Any) -> tuple[Any, int, int]:
    """Return a matrix, whether its columns are contiguous, and the step from one to the next."""
    import cupy

    for transposed in (0, 1):
        own = matrix.T if transposed else matrix
        step = own.strides[0] // own.itemsize
        if own.strides[1] == own.itemsize and step >= own.shape[1]:
            return matrix, transposed, step
    return _laid(cupy.ascontiguousarray(matrix))
