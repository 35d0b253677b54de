"""Products of matrices by BLAS, written into arrays or added to them."""

from typing import Any

import numpy as np

_ROWS, _COLUMNS = 512, 1024
"""The size of what is added at a time, 2 MiB of float32: it stays in the cache until it is."""


def indices(mask: Any) -> Any:
    """Return the indices of what is True."""
    return np.flatnonzero(mask)


def multiply(a: Any, b: Any, into: Any, adds: bool) -> None:
    """Write the product of two matrices into an array, or add it to what is there."""
    if into.strides[0] < into.strides[1]:  # rows of its transpose are what lies together
        a, b, into = b.T, a.T, into.T
    if not adds:
        np.matmul(a, b, out=into)
        return
    # NumPy's functions do not add to what is there, as BLAS's own can.
    scratch = np.empty((_ROWS, _COLUMNS), into.dtype)
    for row in range(0, into.shape[0], _ROWS):
        for column in range(0, into.shape[1], _COLUMNS):
            part = into[row : row + _ROWS, column : column + _COLUMNS]
            product = scratch[: part.shape[0], : part.shape[1]]
            np.matmul(a[row : row + _ROWS], b[:, column : column + _COLUMNS], out=product)
            np.add(part, product, out=part)
