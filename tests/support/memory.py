"""How much memory a call takes, of which NumPy reports its arrays."""

import tracemalloc
from collections.abc import Callable
from typing import Any

import tinyloss

__all__ = ["MIB", "budget_for", "peak"]

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


def budget_for(rows: int, call: Any, *arrays: Any, **options: Any) -> int:
    """Return the least budget for a chunk of so many rows, or of as many as chunks alike have."""
    count = arrays[0].shape[0]
    expected = -(-count // -(-count // rows))
    for budget in range(8, 2**14, 8):
        if tinyloss.memory(call, *arrays, max_memory=budget, **options).rows == expected:
            return budget
    raise AssertionError(f"no budget is for {rows} rows")
