"""Products of matrices by BLAS, written into arrays or added to them."""

from typing import Any

import numpy as np

_PIECE, _COLUMNS = 2**21, 1024
"""Bytes and columns of what is added at a time: it stays in the cache until it is."""


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
    columns = min(_COLUMNS, into.shape[1])
    rows = min(_PIECE // (columns * into.itemsize or 1), into.shape[0])
    scratch = np.empty((rows, columns), into.dtype)
    for row in range(0, into.shape[0], rows or 1):
        for column in range(0, into.shape[1], columns or 1):
            part = into[row : row + rows, column : column + columns]
            product = scratch[: part.shape[0], : part.shape[1]]
            np.matmul(a[row : row + rows], b[:, column : column + columns], out=product)
            np.add(part, product, out=part)
