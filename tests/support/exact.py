"""The truth: every loss as its textbook has it, in mpmath, on the exact binary inputs.

Nothing here is clever: a loss is its definition, evaluated with so many digits that cancellation
does not matter. A result counts once it comes out the same at two precisions; a result that comes
out as 0 is asked for again with more digits, down to the deepest subnormal of float64.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from tests.support.definitions import Item
from tests.support.dtypes import compute_dtype
from tests.support.jets import Number, mp
from tests.support.specs import EXACT

__all__ = [
    "Truth",
    "central_differences",
    "evaluate",
    "items",
    "packed",
    "split",
    "ulp_error",
]

Floats = npt.NDArray[np.float64]

_LEVELS = (200, 400, 1400, 2800)
"""Bits. 1400 reach float64's smallest subnormal below terms around 1, 2800 below its largest."""


def _same(a: Number, b: Number, *, last: bool) -> bool:
    """Whether b confirms a to 80 bits, or both are far below every subnormal number."""
    if a is None or b is None or type(a) is int or type(b) is int:
        return type(a) is type(b) and a == b
    if b == 0:
        return last
    if a == b or mp.isinf(a) or mp.isinf(b):
        return bool(a == b)
    if mp.isnan(a) or mp.isnan(b):
        return bool(mp.isnan(a) and mp.isnan(b))
    return bool(mp.mag(a - b) < max(mp.mag(b), -1200) - 80)


def _settled(a: Item, b: Item, *, last: bool) -> bool:
    return all(
        _same(u, v, last=last)
        for name, value in b.items()
        for u, v in zip(_flat(a[name]), _flat(value), strict=True)
    )


def _flat(result: Any) -> Iterator[Any]:
    """Yield the numbers of a result, of lists of any depth."""
    if isinstance(result, list):
        for each in result:
            yield from _flat(each)
    else:
        yield result


def settle(compute: Callable[[], Item], bits: int = 0) -> Item:
    """Return what `compute` gives with as many digits as it takes, from some bits on."""
    first, *levels = [level for level in _LEVELS if level >= bits]
    with mp.workprec(first):
        before = compute()
    for level in levels:
        with mp.workprec(level):
            now = compute()
            if _settled(before, now, last=level == _LEVELS[-1]):
                return now
        before = now
    return before


def _number(a: Any) -> Number:
    return mp.mpf(float(a))


def _parameter(name: str, value: Any, rowwise: bool, shape: tuple[int, ...]) -> Any:
    """Return what gives a parameter's exact value for the i-th item."""
    if rowwise and name == "class_weight" and value is not None:
        return [_number(w) for w in np.asarray(value).tolist()]
    if isinstance(value, (np.ndarray, list)):
        return np.broadcast_to(np.asarray(value), shape).astype(np.float64).ravel()
    return value


def _normal(value: Any, dtype: np.dtype[Any]) -> Any:
    """Return a number as a loss takes it: 0, or a normal number of the dtype computed in."""
    if not isinstance(value, float) or not np.isfinite(value):
        return value
    info = np.finfo(dtype)
    least, largest = float(info.smallest_normal), float(info.max)
    return _number(np.copysign(min(max(abs(value), least), largest), value) if value else 0)


def split(loss: str, kwargs: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments of a loss that are given by name, in order, and its parameters."""
    names = EXACT[loss].arguments
    return (
        [kwargs[name] for name in names if name in kwargs],
        {name: value for name, value in kwargs.items() if name not in names},
    )


def items(
    loss: str, *arrays: Any, **parameters: Any
) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Yield the exact arguments and parameters of each item, classes in the last axis."""
    exact = EXACT[loss]
    arguments, parameters = split(loss, parameters)
    arguments = [*arrays, *arguments]
    x = np.asarray(arguments[0])
    if (mask := parameters.pop("mask", None)) is not None:  # as the textbook has it
        x = arguments[0] = np.where(mask, x, x.dtype.type(-np.inf))
    compute = compute_dtype(x.dtype)
    if loss == "binary_cross_entropy" and parameters.get("eps") is None:
        parameters["eps"] = float(np.finfo(compute).smallest_normal)
    if parameters.get("from_logits") is False and exact.floored:
        parameters["floor"] = float(np.finfo(compute).smallest_normal)
    parameters = {name: _normal(value, compute) for name, value in parameters.items()}
    if parameters.get("pos_weight", 0) is None:
        del parameters["pos_weight"]
    shape = x.shape[: x.ndim - exact.depth]
    given = {n: _parameter(n, v, exact.rowwise, shape) for n, v in parameters.items()}
    columns = [_column(a, x.ndim, exact.depth) for a in arguments]
    for i in range(int(np.prod(shape))):
        args = tuple(column[i] for column in columns)
        yield args, {n: _number(v[i]) if isinstance(v, np.ndarray) else v for n, v in given.items()}


def _column(a: Any, rank: int, depth: int) -> list[Any]:
    """Return an argument's numbers, item by item; integers of a lower rank than x are classes."""
    a = np.asarray(a)
    classes = a.ndim < rank and a.dtype.kind in "iu"
    many = int(np.prod(a.shape[: rank - depth]))

    def exact(drawn: Any) -> Any:
        if isinstance(drawn, list):
            return [exact(each) for each in drawn]
        return drawn if classes else _number(drawn)

    numbers = a if classes else a.astype(np.float64)
    column: list[Any] = exact(numbers.reshape(many, *a.shape[rank - depth :]).tolist())
    return column


@dataclass(frozen=True)
class Truth:
    """An array of exact numbers: (high + low) * 2^exponent, 1/2 <= |high| < 1, good to 100 bits.

    `open` marks entries that no convention settles.
    """

    high: Floats
    low: Floats
    exponent: npt.NDArray[np.int64]
    open: npt.NDArray[np.bool_]

    def __getitem__(self, index: Any) -> "Truth":
        return Truth(self.high[index], self.low[index], self.exponent[index], self.open[index])

    @property
    def shape(self) -> tuple[int, ...]:
        return self.high.shape

    def float64(self) -> Floats:
        """Return the nearest float64 numbers, infinities where they overflow."""
        with np.errstate(over="ignore", under="ignore"):
            return np.ldexp(self.high + self.low, _int32(self.exponent))


_FAR = 1 << 20


def _int32(exponent: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    return np.clip(exponent, -_FAR, _FAR).astype(np.int32)


def pack(numbers: Sequence[Any], shape: tuple[int, ...]) -> Truth:
    """Return a Truth of a flat sequence of mpmath numbers."""
    high, low = np.zeros(len(numbers)), np.zeros(len(numbers))
    exponent, unsettled = np.zeros(len(numbers), np.int64), np.zeros(len(numbers), bool)
    for i, a in enumerate(numbers):
        if a is None:
            unsettled[i] = True
            continue
        # Not through mp.mpf(a) for an mpf: that rounds to the precision of the moment.
        sign, mantissa, power, bits = (a if isinstance(a, mp.mpf) else mp.mpf(a))._mpf_
        mantissa = int(mantissa)
        if mantissa == 0:
            high[i] = float(a)  # 0, an infinity or NaN
            continue
        shift = max(bits - 53, 0)
        top = mantissa >> shift
        rest = (mantissa - (top << shift)) / (1 << shift)
        scale = 2.0 ** -(bits - shift) * (-1 if sign else 1)
        exponent[i] = max(min(power + bits, _FAR), -_FAR)
        high[i], low[i] = top * scale, rest * scale
    return Truth(
        high.reshape(shape),
        low.reshape(shape),
        exponent.reshape(shape),
        unsettled.reshape(shape),
    )


def evaluate(loss: str, *arrays: Any, **parameters: Any) -> dict[str, Truth]:
    """Return value, derivatives by each argument, and curvature of each item, exactly."""
    exact = EXACT[loss]
    arguments, parameters = split(loss, parameters)
    arguments = [*arrays, *arguments]
    x = np.asarray(arguments[0])
    if (mask := parameters.pop("mask", None)) is not None:  # as the textbook has it
        x = arguments[0] = np.where(mask, x, x.dtype.type(-np.inf))
    results = [
        settle(partial(exact.item, *args, **given), exact.bits)
        for args, given in items(loss, *arguments, **parameters)
    ]
    labels = exact.rowwise and any(np.ndim(each) != x.ndim for each in arguments[1:2])
    known = [{k: v for k, v in each.items() if k != "y" or not labels} for each in results]
    return packed(known, x.shape, exact.depth)


def packed(items: Sequence[Item], shape: tuple[int, ...], depth: int) -> dict[str, Truth]:
    """Return the results of items as arrays for an x of a shape."""
    truths: dict[str, Truth] = {}
    for name in items[0] if items else ():
        column = [each[name] for each in items]
        whole = isinstance(column[0], list)
        truths[name] = pack([*_flat(column)], shape if whole else shape[: len(shape) - depth])
    return truths


# ----------------------------------------------------------------------------------------- errors


def ulp_error(
    got: Any,
    exact: Truth,
    dtype: Any,
    *,
    scale: Truth | None = None,
    slack: Truth | None = None,
    forgiven: float = 0.0,
) -> Floats:
    """Return the error of each number in eps of `dtype`, relative to the exact number.

    Below the smallest normal number the measure is the spacing of the subnormal ones, so 0 is right
    where the exact number underflows. Infinity stands for the first number beyond the largest: it
    is right where the exact number overflows. NaN is right where the exact number is NaN, and -0 is
    0. Open entries have no error.

    With `scale`, errors are relative to the larger of |exact| and scale. `slack` and `forgiven` are
    absolute errors that do not count, of each number and of all.
    """
    info = ml_dtypes.finfo(np.dtype(dtype))
    # finfo of ml_dtypes and of NumPy agree in these names only.
    eps, tiny, largest = float(info.eps), float(info.smallest_normal), int(info.maxexp)
    tiny_exponent = int(np.frexp(tiny)[1])
    got = np.asarray(got).astype(np.float64)
    if got.shape != exact.shape:
        raise ValueError(f"got shape {got.shape}, expected {exact.shape}")

    high, low, exponent = exact.high, exact.low, exact.exponent
    nan, zero = np.isnan(high), high == 0
    beyond = np.isinf(high) | ((exponent > largest) & ~zero & ~nan)
    high = np.where(beyond, np.copysign(0.5, high), high)
    low = np.where(beyond, 0.0, low)
    exponent = np.where(beyond, largest + 1, np.where(zero, tiny_exponent, exponent))

    common = np.maximum(exponent, tiny_exponent)
    if scale is not None:
        common = np.where(scale.high > 0, np.maximum(common, scale.exponent), common)
        # A scale beyond the largest number forgives nothing more than that number does.
        common = np.minimum(common, largest + 1)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):

        def seen(mantissa: Any, power: Any) -> Any:
            return np.ldexp(mantissa, _int32(power - common))

        infinite = np.isinf(got)
        there = np.where(
            infinite,
            seen(np.copysign(0.5, got), largest + 1),
            seen(np.where(infinite, 0.0, got), 0),
        )
        error = np.abs((there - seen(high, exponent)) - seen(low, exponent))
        measure = np.maximum(np.abs(seen(high, exponent)), seen(tiny, 0))
        if scale is not None:
            measure = np.maximum(measure, np.minimum(seen(scale.high, scale.exponent), 1.0))
        if forgiven:
            error = np.maximum(error - seen(forgiven, 0), 0.0)
        if slack is not None:
            error = np.maximum(error - seen(slack.high, slack.exponent), 0.0)
        error = error / measure / eps
    wrong = np.isnan(got) | nan
    error = np.where(wrong, np.where(np.isnan(got) & nan, 0.0, np.inf), error)
    return np.where(exact.open, 0.0, error)


# --------------------------------------------------------------------------------- the proof of it


def central_differences(loss: str, args: Sequence[Any], parameters: Mapping[str, Any]) -> Item:
    """Return derivatives and curvature of one item by central differences of its value.

    With a step of 2^-150 at 900 bits these are good to about 80 digits, away from kinks.
    """
    exact, step = EXACT[loss], mp.mpf(2) ** -150
    out: Item = {}
    with mp.workprec(900):
        for position, name in enumerate(exact.gradients):
            point = args[position]
            if exact.rowwise and not isinstance(point, list):
                continue
            entries = range(len(point)) if exact.rowwise else (None,)
            first: list[Number] = []
            second: list[Number] = []
            for entry in entries:
                values: list[Number] = []
                for h in (-step, 0, step):
                    moved = list(args)
                    if isinstance(point, list):
                        moved[position] = [a + h * (k == entry) for k, a in enumerate(point)]
                    else:
                        moved[position] = point + h
                    values.append(exact.value(*moved, **parameters))
                down, here, up = values
                first.append((up - down) / (2 * step))
                second.append((up - 2 * here + down) / step**2)
            out[name] = first if exact.rowwise else first[0]
            if name == "x":
                out["curvature"] = second if exact.rowwise else second[0]
    return out
