"""tinyloss on Dask arrays: nothing computes before its owner asks.

    prepare     one task for each block of rows, which has all their classes
    _split      passes over blocks that have a part of the classes each, where rows are too large

In a task a job on the block's own arrays, NumPy's or another library's, is answered as anywhere.
Dask is imported when the first of its arrays is met, not before.
"""

from collections.abc import Callable
from typing import Any

__all__ = ["prepare"]


def prepare(kind: Any, /) -> Callable[[Any], Any]:
    """Return what answers the jobs of a kind."""
    from tinyloss_dask import _run

    return _run.prepare(kind)
