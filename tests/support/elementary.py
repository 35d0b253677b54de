"""The elementary functions of the compiled loops beside NumPy's and mpmath's: inputs and errors."""

import math
from collections.abc import Sequence
from typing import Any

import mpmath
import numpy as np
import numpy.typing as npt

from tests.support.machine import Machine
from tinyloss_numpy._elementary import CONSTANTS
from tinyloss_numpy._loops import vocabulary
from tinyloss_numpy._memory import accessors

NAMES = ("exp", "expm1", "log", "log1p", "tanh", "sinh", "cosh", "sin", "cos", "pow")
SCALED = ("exp_scaled", "exp_scaled_near")
"""Functions that leave out a factor, which tests multiply by."""
BELOW = ("exp_shortfall", *SCALED)
"""Exponentials of x - m, x never above m."""
DIFFERENCES = ("exp_difference", *BELOW)
NARROW = ("exp_negative", "log1p_unit", *DIFFERENCES)
"""Functions of what the ranges of a program allow."""
DTYPES = ("float32", "float64")
BOUND = 2.0
"""In eps; of subnormal results one smallest subnormal more."""

Array = npt.NDArray[Any]


def arguments(name: str) -> int:
    """Return how many arguments a function takes."""
    return 2 if name in ("pow", *DIFFERENCES) else 1


def reference(name: str, *inputs: Array) -> Array:
    """Return what NumPy makes of arrays."""
    if name in DIFFERENCES:
        difference: Array = np.exp(inputs[0] - inputs[1])
        return difference
    found: Array = getattr(np, name.partition("_")[0])(*inputs)
    return found


def inside(name: str, *inputs: Array) -> tuple[Array, ...]:
    """Return numbers as a function takes them: others are brought into its domain."""
    if name == "exp_negative":
        return (-np.abs(inputs[0]),)
    if name == "log1p_unit":
        return (np.where(np.abs(inputs[0]) <= 1, np.abs(inputs[0]), inputs[0] * 0),)
    if name in BELOW:
        x, m = inputs
        x, m = np.where(x > m, m, x), np.where(x > m, x, m)
        if name == "exp_scaled_near":
            far = m.dtype.type(CONSTANTS[m.dtype.name].far)
            nearer = np.fmod(m, far)
            x, m = np.where(nearer == m, x, nearer - np.abs(x - m)), nearer
        return x, m
    return inputs


def loop(name: str, dtype: str) -> Machine:
    """Return a loop that fills an array so many times, as the backend's own loops read and write.

    It takes the addresses of the inputs and of the output, their length and the times.
    """
    own = ("x", "y")[: arguments(name)]
    access = accessors(dict.fromkeys((*own, "out"), (dtype, dtype)))
    given = (*own, "out", "length", "times")
    loads = ", ".join(f"load_{each}({each}, i)" for each in own)
    factor = " * exp_scale(load_y(y, i))" if name in SCALED else ""
    return Machine(
        {**vocabulary(dtype), **access},
        *(f"{each} = entry(table, {n})" for n, each in enumerate(given)),
        "for _ in range(times):",
        "    for i in range(length):",
        f"        store_out(out, i, {name}({loads}){factor})",
    )


def apply(fill: Any, *inputs: Array) -> Array:
    """Return what a loop makes of contiguous arrays."""
    out = np.empty_like(inputs[0])
    fill(*(x.ctypes.data for x in inputs), out.ctypes.data, out.size, 1)
    return out


# ------------------------------------------------------------------------------------------ sample


def thresholds(dtype: str) -> Array:
    """Return where the functions change: reduction, overflow, underflow, special values."""
    info = np.finfo(dtype)
    least = float(info.smallest_subnormal)
    ends = [math.log(float(info.max)), math.log(float(info.tiny)), math.log(least)]
    ends += [ends[0] + math.log(2), ends[2] - math.log(2), math.log(float(info.eps))]
    steps = (np.arange(40) + 0.5) * math.log(2)
    binades = math.sqrt(0.5) * 2.0 ** np.array([*range(-6, 7), info.maxexp - 1, info.minexp])
    numbers = [0.0, 1.0, 2.0, 0.5, float(info.tiny), least, float(info.max)]
    result = np.concatenate([ends, steps, 2 * steps, binades, binades - 1, numbers])
    return np.concatenate([result, -result]).astype(dtype)


def specials(dtype: str) -> Array:
    """Return the numbers for which a function has a rule of its own."""
    info = np.finfo(dtype)
    large = 2.0 ** (info.nmant + 1)  # from here on every number is even
    ends = np.array([info.smallest_subnormal, info.tiny, info.max, 1 - info.epsneg, 1 + info.eps])
    numbers = np.array([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, large - 1, large, math.inf, *ends])
    return np.concatenate([numbers, -numbers, [math.nan]]).astype(dtype)


def sample(name: str, dtype: str, number: int, seed: int = 0) -> tuple[Array, ...]:
    """Return inputs: about so many of each exponent, of each range that matters, of each end."""
    rng = np.random.default_rng(seed)
    info = np.finfo(dtype)
    integers = {"float32": np.uint32, "float64": np.uint64}[dtype]

    def anything() -> Array:
        """Every exponent in turn, both signs, any significand; some NaN and infinities."""
        exponent = np.arange(number, dtype=integers) % 2**info.iexp
        sign = rng.integers(0, 2, number, dtype=integers) << (info.bits - 1)
        significand = rng.integers(0, 2**info.nmant, number, dtype=integers)
        bits: Array = sign | (exponent << info.nmant) | significand
        return bits.view(dtype)

    def near(center: float, least: float) -> Array:
        """As many of each order of magnitude of the distance from the center."""
        distance = 2.0 ** rng.uniform(least, 0, number)
        return center + np.where(rng.random(number) < 0.5, distance, -distance)

    with np.errstate(all="ignore"):
        if name in DIFFERENCES:
            # differences for which exp is neither 0 nor infinite, of numbers of any size
            m = np.concatenate([anything(), rng.permutation(anything()), rng.normal(0, 9, number)])
            span = abs(math.log(float(info.smallest_subnormal))) + 2
            x = (m - rng.uniform(-1, 1, m.size) * span).astype(dtype)
            x[:number] = rng.permutation(anything())
            return inside(name, x, m.astype(dtype))
        if arguments(name) == 1:
            ends = thresholds(dtype)
            close = [ends + np.spacing(ends) * steps for steps in range(-8, 9)]
            top = math.log(float(info.max)) + 2
            bottom = math.log(float(info.smallest_subnormal)) - 2
            ranges = [rng.uniform(bottom, top, number), rng.uniform(-2, 2, number)]
            around = [near(center, -info.nmant - 2) for center in (0.0, 1.0, -1.0)]
            numbers = np.concatenate([anything(), *ranges, *around, *close])
            return inside(name, numbers.astype(dtype))
        x = np.concatenate([np.abs(anything()), near(1.0, -info.nmant), rng.uniform(0, 9, number)])
        x = x.astype(dtype)
        exponents = rng.uniform(info.minexp - info.nmant - 2, info.maxexp + 1, x.size)
        negative, whole = -np.exp(rng.uniform(-4, 4, number)), rng.integers(-40, 40, number)
        special = specials(dtype)
        xs = [anything(), x, negative, np.repeat(special, special.size)]
        # x^y is then about 2^exponents.
        ys = [rng.permutation(anything()), exponents / np.log2(x), whole]
        ys.append(np.tile(special, special.size))
        return np.concatenate(xs).astype(dtype), np.concatenate(ys).astype(dtype)


# ------------------------------------------------------------------------------------------ errors


def errors(got: Array, exact: Array) -> Array:
    """Return the errors of float32 results in eps; inf where NaN, infinity or sign is wrong."""
    info = np.finfo(np.float32)
    with np.errstate(all="ignore"):
        rounded = exact.astype(np.float32)
        unit = info.eps * np.abs(exact)
        unit += (np.abs(exact) < info.tiny) * (float(info.smallest_subnormal) / BOUND)
        error: Array = np.abs(got - exact) / unit
        error[exact == got] = 0.0
        finite = np.isfinite(got) & np.isfinite(rounded)
        alike = (got == rounded) | finite
        error[~finite] = 0.0
        error[~alike | (np.signbit(got) != np.signbit(rounded))] = math.inf
        error[np.isnan(got) & np.isnan(rounded)] = 0.0
        error[np.isnan(got) != np.isnan(rounded)] = math.inf
    return error


def exact_value(name: str, x: float, y: float = 0.0) -> Any:
    """Return a function of finite numbers as mpmath has it, to twice the digits of float64."""
    mp = mpmath.mp
    if name in DIFFERENCES:
        with mp.workprec(2200):  # the sum of any two numbers
            difference = mp.mpf(x) - mp.mpf(y)
        if abs(difference) < 1e4:
            return mp.exp(difference)
        return mp.inf if difference > 0 else mp.mpf(0)
    name = name.partition("_")[0]
    if name == "pow":
        if x == 0:
            with np.errstate(all="ignore"):
                return mp.mpf(float(np.power(x, y)))
        if x < 0 and y != math.floor(y):
            return mp.nan
        with mp.workprec(113 + 11):  # the bits of y log x before the point
            power = mp.exp(mp.mpf(y) * mp.log(abs(x)))
        return -power if x < 0 and math.fmod(y, 2) else power
    if (name == "log" and x < 0) or (name == "log1p" and x < -1):
        return mp.nan
    if (name == "log" and x == 0) or (name == "log1p" and x == -1):
        return -mp.inf
    with mp.workprec(113):
        return getattr(mp, name)(mp.mpf(x))


def errors_of_doubles(name: str, inputs: Sequence[Array], got: Array) -> Array:
    """Return what `errors` returns, of float64 results for finite inputs."""
    info = np.finfo(np.float64)
    least = float(info.smallest_subnormal)
    result = np.zeros(got.size)
    with mpmath.mp.workprec(113):
        for i, (*x, value) in enumerate(zip(*(a.tolist() for a in (*inputs, got)), strict=True)):
            exact = exact_value(name, *x)
            rounded = float(exact)
            if not (math.isfinite(value) and math.isfinite(rounded)):
                same = value == rounded or (math.isnan(value) and math.isnan(rounded))
                result[i] = 0.0 if same else math.inf
                continue
            unit = float(info.eps) * abs(exact)
            unit += mpmath.mpf(least) / BOUND if abs(exact) < info.tiny else 0
            difference = abs(mpmath.mpf(value) - exact)
            result[i] = float(difference / unit) if difference else 0.0
    return result
