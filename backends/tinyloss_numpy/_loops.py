"""What the text of a loop is made of: the names it uses, as Numba functions.

Sums are wider than what is summed. float32 terms are added in float64. float64 terms are added
with the rounding error of each addition kept beside (TwoSum: Knuth, The Art of Computer
Programming 2, 4.2.2), so that a lane's sum is good to the last bit or two, however long it is.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types

from tinyloss_numpy._elementary import functions
from tinyloss_numpy._llvm import (
    Value,
    ahead,
    ahead_to_write,
    as_int,
    fabs,
    intrinsic,
    select,
    sqrt,
    where,
    wide,
)
from tinyloss_numpy._memory import TURNED, accessors
from tinyloss_numpy._orders import orders
from tinyloss_numpy._shortfalls import shortfalls
from tinyloss_numpy._source import AHEAD, DIMENSIONS, HEADER, LANES, SIZES, TERMS

compile_function: Callable[..., Any] = njit(error_model="numpy", nogil=True, forceinline=True)
_outside: Callable[..., Any] = njit(error_model="numpy", nogil=True)

_TABLE = accessors({"entry": ("int64", "int64"), "number": ("float64", "float64")})
_load_entry = _TABLE["load_entry"]


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


# ------------------------------------------------------------------------------------------- sums


def _with_error(a: Value, b: Value) -> tuple[Value, Value]:
    """Return a + b and its rounding error."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def _whole(total: Value, rest: Value) -> Value:
    # the error of an infinite sum is NaN
    return where(total.fabs() < np.inf, total + rest, total)


def _added(sums: Value, terms: Value) -> Value:
    """Add a number to the sum of each lane; of float64, the upper half has the rounding errors."""
    if terms.dtype == "float32":
        return sums + terms.as_number("float64").spread(sums.lanes)
    total, rest = sums.halves()
    total, error = _with_error(total, terms.spread(total.lanes))
    return total.joined(rest + error)


def _folded(sums: Value) -> Value:
    """Return the sum over all lanes of sums of float32."""
    return sums.folded(Value.__add__)


def _folded_in_two(sums: Value) -> Value:
    total, rest = sums.halves()
    while total.lanes > 1:
        total, error = _with_error(*total.halves())
        low, high = rest.halves()
        rest = (low + high) + error
    return _whole(total.lane(0), rest.lane(0))


def _rounded(sums: Value) -> Value:
    return sums.as_number("float32")


def _rounded_in_two(sums: Value) -> Value:
    return _whole(*sums.halves())


# ----------------------------------------------------------------------------------- other pieces


def _same(dtypes: Sequence[str]) -> str:
    return dtypes[0]


def _condition(dtypes: Sequence[str]) -> str:
    return "bool"


def _scalar(arguments: Sequence[Any]) -> int:
    return 0


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
    "ahead": ahead,
    "ahead_to_write": ahead_to_write,
    "where": select,
    "abs": fabs,
    "sqrt": sqrt,
    "maximum": intrinsic(_larger, name="maximum"),
    "minimum": intrinsic(_smaller, name="minimum"),
    "raised": intrinsic(_raised, name="raised"),
    "highest": intrinsic(_highest, name="highest", count=_scalar),
    "label": intrinsic(_label, lambda dtypes: "int32", "label"),
    "noted": intrinsic(_noted, _same, "noted"),
    "strayed": intrinsic(_strayed, _same, "strayed"),
    "negative": intrinsic(_negative, lambda dtypes: "float64", "negative", _scalar),
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


@cache
def vocabulary(real: str, lanes: int = 0) -> dict[str, Any]:
    """Return the names that a text may use beside its own places."""
    lanes, in_two = lanes or LANES[real], real == "float64"
    sums = 2 * lanes if in_two else lanes

    def of(count: int) -> Callable[[Sequence[Any]], int]:
        return lambda _: count

    def number(x: Value) -> Value:
        return x.as_number(real)

    def spread(x: Value) -> Value:
        return x.spread(lanes)

    def no_sums(x: Value) -> Value:
        return x.spread(sums)

    def numbered(first: Value) -> Value:
        each = ir.Constant(ir.VectorType(first.ref.type, lanes), [*range(lanes)])
        return first.spread(lanes) + Value(first.builder, each, first.dtype)

    def leading(x: Value, count: Value) -> Value:
        zero = Value(x.builder, ir.Constant(ir.IntType(32), 0), "int32")
        kept = numbered(zero) < count.as_index()
        return where(kept, x.spread(lanes), 0.0)

    own_names = {
        "entry": _load_entry,
        "number": _TABLE["load_number"],
        "closer": closer,
        "offset_of": offset_of,
        "real": intrinsic(number, lambda dtypes: real, "real"),
        "index": types.int32,
        "int64": types.int64,
        "float64": types.float64,
        "inf": getattr(np, real)(np.inf),
        "nan": getattr(np, real)(np.nan),
        "AHEAD": AHEAD,
        "LANES": lanes,
        "TERMS": TERMS[real],
        "TURNED": TURNED,
        "BLOCK": TERMS[real] * lanes,
        "SIZE": SIZES[real],
        "ROW": lanes * SIZES[real],
        "spread": intrinsic(spread, _same, "spread", of(lanes)),
        "numbered": intrinsic(numbered, _same, "numbered", of(lanes)),
        "leading": intrinsic(leading, _same, "leading", of(lanes)),
        "no_sums": intrinsic(no_sums, _same, "no_sums", of(sums)),
        "added": intrinsic(_added, lambda dtypes: "float64", "added", of(sums)),
        "folded": intrinsic(_folded_in_two if in_two else _folded, _same, "folded", _scalar),
        "rounded": intrinsic(
            _rounded_in_two if in_two else _rounded, lambda dtypes: real, "rounded", of(lanes)
        ),
        "shortfalls": shortfalls(real, lanes),
        "store_total": accessors({"total": ("float64", "float64")})["store_total"],
    }
    return {**_OPERATIONS, **functions(real), **orders(real, lanes), **own_names}
