"""What the text of a loop is made of: the names it uses, as Numba functions.

Sums are wider than what is summed. float32 terms are added in float64. float64 terms are added
with the rounding error of each addition kept beside (TwoSum: Knuth, The Art of Computer
Programming 2, 4.2.2), so that a lane's sum is good to the last bit or two, however long it is.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import njit, types

from tinyloss_numpy._elementary import functions
from tinyloss_numpy._llvm import Value, as_int, fabs, intrinsic, select, sqrt, where, wide
from tinyloss_numpy._memory import SIZES, accessors
from tinyloss_numpy._source import DIMENSIONS, HEADER

compile_function: Callable[..., Any] = njit(error_model="numpy", nogil=True, forceinline=True)
_outside: Callable[..., Any] = njit(error_model="numpy", nogil=True)

_TABLE = accessors({"entry": ("int64", "int64"), "number": ("float64", "float64")})
_load_entry = _TABLE["load_entry"]


@compile_function
def label(value: Any, classes: Any) -> Any:
    """Return a class index as int32, -1 where it names no class."""
    return types.int32(select((value >= 0) & (value < classes), value, types.int64(-1)))


@compile_function
def closer(step: Any, other: Any) -> Any:
    """Return whether a step is shorter than another."""
    return abs(step) < abs(other)


@_outside
def offset_of(table: Any, at: Any, outer: Any) -> Any:
    """Return how far the place of an outer index is from an array's start."""
    distance = 0
    for k in range(DIMENSIONS - 1, -1, -1):
        length = _load_entry(table, HEADER - DIMENSIONS + k)
        if length > 1:
            distance += (outer % length) * _load_entry(table, at + k)
            outer //= length
    return distance


class Sums(NamedTuple):
    """Running sums, one for each of some lanes, wider than their terms."""

    clear: Any
    """clear(sums)"""
    add: Any
    """add(sums, terms, count): the first `count` terms, each to its lane."""
    add_row: Any
    """add_row(sums, terms, count): up to four times as many terms as lanes.

    Four terms are added as numbers first: widening each costs more than all else about it. That
    rounds twice, 1 eps at most.
    """
    fold: Any
    """fold(sums): the sum over all lanes, as float64."""
    round: Any
    """round(sums, into, count): each lane's sum as a number."""


@cache
def _sums(real: str, lanes: int) -> Sums:
    """Return running sums in float64; of float64 terms with each addition's error kept beside."""
    wider, size = ("float64", "float64"), SIZES[real]
    reach = accessors({"term": (real, real), "sum": wider, "rest": wider})
    load_term, store_term = reach["load_term"], reach["store_term"]
    load_sum, store_sum = reach["load_sum"], reach["store_sum"]
    load_rest, store_rest = reach["load_rest"], reach["store_rest"]
    number_type: Any = getattr(types, real)
    # the errors lie behind the sums
    behind, cleared = lanes * 8, lanes if real == "float32" else 2 * lanes

    def take(sums: Any, l: Any, term: Any) -> Any:
        store_sum(sums, l, load_sum(sums, l) + types.float64(term))

    def join(sums: Any, l: Any, width: Any) -> Any:
        store_sum(sums, l, load_sum(sums, l) + load_sum(sums + width * 8, l))

    def whole(sums: Any, l: Any) -> Any:
        return load_sum(sums, l)

    def take_in_two(sums: Any, l: Any, term: Any) -> Any:
        before = load_sum(sums, l)
        total = before + term
        part = total - before
        error = (before - (total - part)) + (term - part)
        store_sum(sums, l, total)
        store_rest(sums + behind, l, load_rest(sums + behind, l) + error)

    def join_in_two(sums: Any, l: Any, width: Any) -> Any:
        rest = load_rest(sums + behind + width * 8, l)
        take(sums, l, load_sum(sums + width * 8, l))
        store_rest(sums + behind, l, load_rest(sums + behind, l) + rest)

    def whole_of_two(sums: Any, l: Any) -> Any:
        total = load_sum(sums, l)
        # the error of an infinite sum is NaN
        return select(fabs(total) < np.inf, total + load_rest(sums + behind, l), total)

    if real == "float64":
        take, join, whole = take_in_two, join_in_two, whole_of_two
    take, join, whole = map(compile_function, (take, join, whole))

    @compile_function
    def clear(sums: Any) -> Any:
        wide()
        for l in range(cleared):
            store_sum(sums, l, 0.0)

    @compile_function
    def add(sums: Any, terms: Any, count: Any) -> Any:
        wide()
        for l in range(count):
            take(sums, l, load_term(terms, l))

    @compile_function
    def add_row(sums: Any, terms: Any, count: Any) -> Any:
        wide()
        if count == 4 * lanes:
            for l in range(lanes):
                near = load_term(terms, l) + load_term(terms + lanes * size, l)
                far = load_term(terms + 2 * lanes * size, l) + load_term(
                    terms + 3 * lanes * size, l
                )
                take(sums, l, near + far)
        else:
            for first in range(0, count, lanes):
                add(sums, terms + first * size, min(lanes, count - first))

    @compile_function
    def fold(sums: Any) -> Any:
        wide()
        width = lanes // 2
        while width > 0:
            for l in range(width):
                join(sums, l, width)
            width //= 2
        return whole(sums, 0)

    @compile_function
    def round_to(sums: Any, into: Any, count: Any) -> Any:
        wide()
        for l in range(count):
            store_term(into, l, number_type(whole(sums, l)))

    return Sums(clear, add, add_row, fold, round_to)


@cache
def vocabulary(real: str, lanes: int) -> dict[str, Any]:
    """Return the names that a text may use beside its own places."""
    reach = accessors({"a": (real, real), "total": ("float64", "float64")})
    load_a, store_a, store_total = reach["load_a"], reach["store_a"], reach["store_total"]
    size, infinity = SIZES[real], getattr(np, real)(np.inf)
    maximum = _OPERATIONS["maximum"]
    of_items, of_row = _sums(real, lanes), _sums(real, lanes // 4)

    @compile_function
    def clear_max(largest: Any) -> Any:
        wide()
        for l in range(lanes):
            store_a(largest, l, -infinity)

    @compile_function
    def fold_max(largest: Any) -> Any:
        wide()
        width = lanes // 2
        while width > 0:
            for l in range(width):
                high = maximum(load_a(largest, l), load_a(largest + width * size, l))
                store_a(largest, l, high)
            width //= 2
        return load_a(largest, 0)

    own_names = {
        "entry": _load_entry,
        "number": _TABLE["load_number"],
        "label": label,
        "closer": closer,
        "offset_of": offset_of,
        "real": getattr(types, real),
        "index": types.int32,
        "float64": types.float64,
        "inf": infinity,
        "nan": getattr(np, real)(np.nan),
        "LANES": lanes,
        "SIZE": size,
        "clear_max": clear_max,
        "fold_max": fold_max,
        "clear_sums": of_items.clear,
        "add_lanes": of_items.add,
        "round_sums": of_items.round,
        "clear_row": of_row.clear,
        "add_row": of_row.add_row,
        "fold_row": of_row.fold,
        "store_total": store_total,
    }
    return {**_OPERATIONS, **functions(real), **own_names}


def _condition(arguments: Any) -> Any:
    return types.boolean


def _larger(a: Value, b: Value) -> Value:
    """Return the larger, NaN if one is; either zero may be taken for the larger of two."""
    return where(b.equals(b), where(b > a, b, a), b)


def _smaller(a: Value, b: Value) -> Value:
    return where(b.equals(b), where(b < a, b, a), b)


def _raised(kept: Value, number: Value) -> Value:
    """Return the larger, as `_larger`, of a number and of one that is read where it is written to.

    LLVM makes a store under a mask of a choice between what was there and something else. Without
    AVX-512 that takes 20 cycles. So what was there is no choice by itself, whatever `number` is.
    """
    comparable = kept.equals(kept) & number.equals(number)
    return where(comparable, where(number > kept, number, kept), kept + number)


def _noted(kept: Value, odd: Value) -> Value:
    """Return an integer that is negative once a condition was met."""
    return where(odd, -1, kept)


def _strayed(kept: Value, number: Value, most: Value) -> Value:
    """Return an integer that is negative once a number was not from 0 to `most`, or -0.0."""
    # Floats above 0 are in the order of their bits. Three operations, none that makes a mask.
    place = number.as_int()
    return kept | (most.as_int() - place) | place


def _power_below(x: Value) -> Value:
    """Return the largest power of two that a positive normal float64 number reaches."""
    return (x.as_int() & 0x7FF0000000000000).as_float()


def _and(a: Value, b: Value) -> Value:
    return a & b


def _or(a: Value, b: Value) -> Value:
    return a | b


def _not(a: Value) -> Value:
    return ~a


def _isnan(x: Value) -> Value:
    return ~x.equals(x)


def _isinf(x: Value) -> Value:
    return x.fabs().equals(np.inf)


def _isfinite(x: Value) -> Value:
    return x.fabs() < np.inf


_OPERATIONS = {
    "where": select,
    "abs": fabs,
    "sqrt": sqrt,
    "maximum": intrinsic(_larger, name="maximum"),
    "minimum": intrinsic(_smaller, name="minimum"),
    "raised": intrinsic(_raised, name="raised"),
    "noted": intrinsic(_noted, lambda arguments: arguments[0], "noted"),
    "strayed": intrinsic(_strayed, lambda arguments: arguments[0], "strayed"),
    "as_int": as_int,
    "power_below": intrinsic(_power_below, name="power_below"),
    "logical_and": intrinsic(_and, _condition, "logical_and"),
    "logical_or": intrinsic(_or, _condition, "logical_or"),
    "logical_not": intrinsic(_not, _condition, "logical_not"),
    "isnan": intrinsic(_isnan, _condition, "isnan"),
    "isinf": intrinsic(_isinf, _condition, "isinf"),
    "isfinite": intrinsic(_isfinite, _condition, "isfinite"),
    "wide": wide,
}
