"""How much memory a call takes, of which NumPy reports its arrays."""

import tracemalloc
from collections.abc import Callable
from typing import Any

__all__ = ["MIB", "peak"]

MIB = 2**20


def peak(call: Callable[[], Any]) -> int:
    """Return how many bytes a call takes at most, the second of its kind."""
    call()  # what is made or compiled once
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
