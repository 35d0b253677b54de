"""Products of matrices by cuBLAS, written into arrays or added to them."""

from typing import Any

from tinyloss.backend import Budget

_PIECE = 2**26
"""Bytes of a product that is added at a time."""


def product_memory(h: Any) -> Budget:
    """Return how much to take at a time."""
    del h
    return Budget(2**29, rows=None)


def multiply(a: Any, b: Any, into: Any, adds: bool) -> None:
    """Write the product of two matrices into an array, or add it to what is there."""
    import cupy

    step = max(1, _PIECE // (into.shape[1] * into.itemsize or 1)) if adds else len(into)
    for at in range(0, len(into), step or 1):
        some = into[at : at + step]
        product = cupy.matmul(a[at : at + step], b)
        if adds:
            some += product
        else:
            some[...] = product
