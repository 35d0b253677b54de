"""What the text of a loop is made of: the names it uses, as Numba functions.

Sums are wider than what is summed. float32 terms are added in float64. float64 terms are added
with the rounding error of each addition kept beside (TwoSum: Knuth, The Art of Computer
Programming 2, 4.2.2), so that a lane's sum is good to the last bit or two, however long it is.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import njit, types

from tinyloss_numpy import _llvm
from tinyloss_numpy._elementary import functions
from tinyloss_numpy._memory import SIZES, accessors
from tinyloss_numpy._source import DIMENSIONS, HEADER

__all__ = ["compile_function", "vocabulary"]

compile_function: Callable[..., Any] = njit(error_model="numpy", nogil=True, forceinline=True)
_outside: Callable[..., Any] = njit(error_model="numpy", nogil=True)

_TABLE = accessors({"entry": ("int64", "int64"), "number": ("float64", "float64")})
_load_entry, _load_number = _TABLE["load_entry"], _TABLE["load_number"]


@compile_function
def entry(table, at):
    return _load_entry(table, at)


@compile_function
def number(table, at):
    return _load_number(table, at)


@compile_function
def label(value, classes):
    """Return a class index as int32, -1 where it names no class."""
    return types.int32(_llvm.select((value >= 0) & (value < classes), value, types.int64(-1)))


@compile_function
def closer(step, other):
    """Return whether a step is shorter than another."""
    return abs(step) < abs(other)


@_outside
def outset(table, at, outer):
    """Return how far the place of an outer index is from an array's start."""
    distance = 0
    for k in range(DIMENSIONS - 1, -1, -1):
        length = _load_entry(table, HEADER - DIMENSIONS + k)
        if length > 1:
            distance += (outer % length) * _load_entry(table, at + k)
            outer //= length
    return distance


@cache
def vocabulary(real: str, lanes: int) -> dict[str, Any]:
    """Return the names that a text may use beside its own places."""
    number_type: Any = getattr(types, real)
    size = SIZES[real]
    own = {"a": (real, real), "b": ("float64", "float64"), "c": ("float64", "float64")}
    reach = accessors(own)
    load_a, store_a = reach["load_a"], reach["store_a"]
    load_b, store_b = reach["load_b"], reach["store_b"]
    load_c, store_c = reach["load_c"], reach["store_c"]
    maximum, where, fabs = _llvm.maximum, _llvm.select, _llvm.fabs
    infinity = getattr(np, real)(np.inf)
    rests = lanes * 8
    """Rounding errors lie behind the sums."""
    wide = real == "float32"

    @compile_function
    def clear_max(largest):
        for l in range(lanes):
            store_a(largest, l, -infinity)

    @compile_function
    def fold_max(largest):
        width = lanes // 2
        while width > 0:
            for l in range(width):
                high = maximum(load_a(largest, l), load_a(largest + width * size, l))
                store_a(largest, l, high)
            width //= 2
        return load_a(largest, 0)

    if wide:

        @compile_function
        def clear_sums(sums):
            for l in range(lanes):
                store_b(sums, l, 0.0)

        @compile_function
        def add_lanes(sums, terms, count):
            for l in range(count):
                store_b(sums, l, load_b(sums, l) + types.float64(load_a(terms, l)))

        @compile_function
        def fold_sums(sums):
            width = lanes // 2
            while width > 0:
                for l in range(width):
                    store_b(sums, l, load_b(sums, l) + load_b(sums + width * 8, l))
                width //= 2
            return load_b(sums, 0)

        @compile_function
        def round_sums(sums, into, count):
            for l in range(count):
                store_a(into, l, number_type(load_b(sums, l)))

    else:

        @compile_function
        def clear_sums(sums):
            for l in range(lanes):
                store_b(sums, l, 0.0)
                store_c(sums + rests, l, 0.0)

        @compile_function
        def add_lanes(sums, terms, count):
            for l in range(count):
                old, term = load_b(sums, l), load_a(terms, l)
                new = old + term
                part = new - old
                error = (old - (new - part)) + (term - part)
                store_b(sums, l, new)
                store_c(sums + rests, l, load_c(sums + rests, l) + error)

        @compile_function
        def fold_sums(sums):
            width = lanes // 2
            while width > 0:
                for l in range(width):
                    old, term = load_b(sums, l), load_b(sums + width * 8, l)
                    new = old + term
                    part = new - old
                    error = (old - (new - part)) + (term - part)
                    rest = load_c(sums + rests, l) + load_c(sums + rests + width * 8, l)
                    store_b(sums, l, new)
                    store_c(sums + rests, l, rest + error)
                width //= 2
            total = load_b(sums, 0)
            # the error of an infinite sum is NaN
            return where(fabs(total) < np.inf, total + load_c(sums + rests, 0), total)

        @compile_function
        def round_sums(sums, into, count):
            for l in range(count):
                total = load_b(sums, l)
                exact = total + load_c(sums + rests, l)
                store_a(into, l, where(fabs(total) < np.inf, exact, total))

    @compile_function
    def store_total(partial_sums, group, total):
        store_b(partial_sums, group, total)

    own_names = {
        "entry": entry,
        "number": number,
        "label": label,
        "closer": closer,
        "outset": outset,
        "real": number_type,
        "index": types.int32,
        "inf": infinity,
        "nan": getattr(np, real)(np.nan),
        "LANES": lanes,
        "SIZE": size,
        "clear_max": clear_max,
        "fold_max": fold_max,
        "clear_sums": clear_sums,
        "add_lanes": add_lanes,
        "fold_sums": fold_sums,
        "round_sums": round_sums,
        "store_total": store_total,
    }
    return {**_OPERATIONS, **functions(real), **own_names}


def _condition(arguments: Any) -> Any:
    return types.boolean


_OPERATIONS = {
    "where": _llvm.select,
    "abs": _llvm.fabs,
    "sqrt": _llvm.sqrt,
    "maximum": _llvm.maximum,
    "minimum": _llvm.minimum,
    "logical_and": _llvm.intrinsic(lambda a, b: a & b, _condition, "logical_and"),
    "logical_or": _llvm.intrinsic(lambda a, b: a | b, _condition, "logical_or"),
    "logical_not": _llvm.intrinsic(lambda a: ~a, _condition, "logical_not"),
    "isnan": _llvm.intrinsic(lambda x: ~x.equals(x), _condition, "isnan"),
    "isinf": _llvm.intrinsic(lambda x: x.fabs().equals(np.inf), _condition, "isinf"),
    "isfinite": _llvm.intrinsic(lambda x: x.fabs() < np.inf, _condition, "isfinite"),
    "wide": _llvm.wide,
}
