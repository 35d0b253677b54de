"""tinyloss on Dask arrays: nothing computes before its owner asks.

    prepare     one task for each block of rows, which has all their classes
    _products   losses of scores that are products: a task for each block of rows
    _sequences  losses of sequences: a task for each block of these
    _split      passes over blocks that have a part of the classes each, where rows are too large

In a task a job on the block's own arrays, NumPy's or another library's, is answered as anywhere.
Dask is imported when the first of its arrays is met, not before.
"""

from collections.abc import Callable
from typing import Any

BOTH_WAYS = True
"""Losses of rows and columns are answered from the same scores."""

__all__ = ["absent", "prepare", "products", "sequences"]


def prepare(kind: Any, /) -> Callable[[Any], Any]:
    """Return what answers the jobs of a kind."""
    from tinyloss_dask import _run

    return _run.prepare(kind)


def products(scored: Any) -> Any:
    """Answer for scores that are products."""
    from tinyloss_dask import _products

    return _products.products(scored)


def sequences(batch: Any) -> Any:
    """Answer for a batch of sequences."""
    from tinyloss_dask import _sequences

    return _sequences.sequences(batch)


def absent(like: Any, shape: tuple[Any, ...], dtype: Any) -> Any:
    """Return an array of this shape beside another, along whose items it is cut alike."""
    import dask.array as da

    zeros = da.zeros(shape[-1:], dtype=dtype, chunks=-1)
    return da.any(like != like, axis=-1, keepdims=True) * zeros
