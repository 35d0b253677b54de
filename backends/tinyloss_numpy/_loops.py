"""What the text of a loop is made of: the names it uses, as functions of `Value`s.

Sums are wider than what is summed. float32 terms are added in float64. float64 terms are added
with the rounding error of each addition kept beside (TwoSum: Knuth, The Art of Computer
Programming 2, 4.2.2), so that a lane's sum is good to the last bit or two, however long it is.
"""

from functools import cache, partial
from typing import Any

import numpy as np
from llvmlite import ir

from tinyloss_numpy._elementary import functions
from tinyloss_numpy._llvm import (
    Value,
    float64,
    int32,
    int64,
    prefetched,
    where,
    whole,
    with_error,
)
from tinyloss_numpy._memory import TURNED, accessors
from tinyloss_numpy._orders import orders
from tinyloss_numpy._shortfalls import shortfalls
from tinyloss_numpy._source import AHEAD, DIMENSIONS, HEADER, LANES, SIZES, TERMS
from tinyloss_numpy._translator import subroutine

_TABLE = accessors({"entry": ("int64", "int64"), "number": ("float64", "float64")})
_load_entry = _TABLE["load_entry"]


@subroutine
def offset_of(table: Any, at: Any, outer: Any) -> Any:
    """Return how far the place of an outer index is from an array's start."""
    distance = 0
    for k in range(DIMENSIONS - 1, -1, -1):
        length = _load_entry(table, HEADER - DIMENSIONS + k)
        if length > 1:
            distance += (outer % length) * _load_entry(table, at + k)
            outer //= length
    return distance


# ------------------------------------------------------------------------------------------- sums


def _added(sums: Value, terms: Value) -> Value:
    """Add a number to the sum of each lane; of float64, the upper half has the rounding errors."""
    if terms.dtype == "float32":
        return sums + terms.as_number("float64").spread(sums.lanes)
    total, rest = sums.halves()
    total, error = with_error(total, terms.spread(total.lanes))
    return total.joined(rest + error)


def _folded(sums: Value) -> Value:
    """Return the sum over all lanes of sums of float32."""
    return sums.folded(Value.__add__)


def _folded_in_two(sums: Value) -> Value:
    total, rest = sums.halves()
    while total.lanes > 1:
        total, error = with_error(*total.halves())
        low, high = rest.halves()
        rest = (low + high) + error
    return whole(total.lane(0), rest.lane(0))


def _rounded(sums: Value) -> Value:
    return sums.as_number("float32")


def _rounded_in_two(sums: Value) -> Value:
    return whole(*sums.halves())


# ----------------------------------------------------------------------------------- other pieces


def _larger(a: Value, b: Value) -> Value:
    """Return the larger, NaN if one is; either zero may be taken for the larger of two."""
    return _tainted(where(b > a, b, a), b.unordered(b))


def _smaller(a: Value, b: Value) -> Value:
    return _tainted(where(b < a, b, a), b.unordered(b))


def _tainted(number: Value, odd: Value) -> Value:
    """Return a number, NaN where a condition is met: all bits of one are 1 in a NaN."""
    whole = number.as_int()
    return (whole | odd.as_mask(whole.dtype)).as_float()


def _raised(most: Value, numbers: Value) -> Value:
    """Return the larger of each lane. A NaN shows in some lane, so in the largest of all.

    Half as many comparisons as `_larger` has tell whether there is one.
    """
    low, high = numbers.spread(most.lanes).halves()
    raised_low, raised_high = where(numbers > most, numbers, most).halves()
    return _tainted(raised_low, low.unordered(high)).joined(raised_high)


def _highest(numbers: Value) -> Value:
    return numbers.folded(_larger)


def _size(number: Value) -> Value:
    """Return an integer without its sign."""
    return where(number < 0, -number, number)


def _closer(step: Value, other: Value) -> Value:
    """Return whether a step is shorter than another."""
    return _size(step) < _size(other)


def _label(value: Value, classes: Value) -> Value:
    """Return a class index as int32, -1 where it names no class."""
    return where((value >= 0) & (value < classes), value, -1).as_index()


def _noted(kept: Value, odd: Value) -> Value:
    """Return an integer that is negative once a condition was met."""
    return where(odd, -1, kept)


def _strayed(kept: Value, number: Value, most: Value) -> Value:
    """Return an integer that is negative once a number was not from 0 to `most`, or -0.0."""
    # Floats above 0 are in the order of their bits. Three operations, none that makes a mask.
    place = number.as_int()
    return kept | (most.as_int().spread(place.lanes) - place) | place


def _negative(kept: Value) -> Value:
    """Return 1.0 if an integer is negative in any lane, else 0.0."""
    some = kept.folded(Value.__or__)
    one = Value(some.builder, ir.Constant(ir.DoubleType(), 1.0), "float64")
    return where(some < 0, one, 0.0)


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
    return x.unordered(x)


def _isinf(x: Value) -> Value:
    return x.fabs().equals(np.inf)


def _isfinite(x: Value) -> Value:
    return x.fabs() < np.inf


_OPERATIONS = {
    "ahead": partial(prefetched, write=0),
    "ahead_to_write": partial(prefetched, write=1),
    "where": where,
    "abs": Value.fabs,
    "sqrt": Value.sqrt,
    "maximum": _larger,
    "minimum": _smaller,
    "raised": _raised,
    "highest": _highest,
    "label": _label,
    "noted": _noted,
    "strayed": _strayed,
    "negative": _negative,
    "closer": _closer,
    "as_int": Value.as_int,
    "power_below": _power_below,
    "logical_and": _and,
    "logical_or": _or,
    "logical_not": _not,
    "isnan": _isnan,
    "isinf": _isinf,
    "isfinite": _isfinite,
}


@cache
def vocabulary(real: str, lanes: int = 0) -> dict[str, Any]:
    """Return the names that a text may use beside its own places."""
    lanes, in_two = lanes or LANES[real], real == "float64"

    def number(x: Value) -> Value:
        return x.as_number(real)

    def spread(x: Value) -> Value:
        return x.spread(lanes)

    def no_sums(x: Value) -> Value:
        return x.spread(2 * lanes if in_two else lanes)

    def numbered(first: Value) -> Value:
        each = ir.Constant(ir.VectorType(first.ref.type, lanes), [*range(lanes)])
        return first.spread(lanes) + Value(first.builder, each, first.dtype)

    def lane_numbers(x: Value) -> Value:
        return numbered(Value(x.builder, ir.Constant(ir.IntType(32), 0), "int32"))

    def leading(x: Value, count: Value) -> Value:
        return where(lane_numbers(x) < count.as_index(), x.spread(lanes), 0.0)

    def among(x: Value, first: Value, stop: Value) -> Value:
        later = ~(lane_numbers(x) < first.as_index())
        return where(later, leading(x, stop), 0.0)

    own_names = {
        "entry": _load_entry,
        "number": _TABLE["load_number"],
        "offset_of": offset_of,
        "real": number,
        "index": int32,
        "int64": int64,
        "float64": float64,
        "inf": getattr(np, real)(np.inf),
        "nan": getattr(np, real)(np.nan),
        "AHEAD": AHEAD,
        "LANES": lanes,
        "TERMS": TERMS[real],
        "TURNED": TURNED,
        "BLOCK": TERMS[real] * lanes,
        "SIZE": SIZES[real],
        "ROW": lanes * SIZES[real],
        "spread": spread,
        "numbered": numbered,
        "leading": leading,
        "among": among,
        "no_sums": no_sums,
        "added": _added,
        "folded": _folded_in_two if in_two else _folded,
        "rounded": _rounded_in_two if in_two else _rounded,
        "shortfalls": shortfalls(real, lanes),
        "store_total": accessors({"total": ("float64", "float64")})["store_total"],
    }
    return {**_OPERATIONS, **functions(real), **orders(real, lanes), **own_names}
