"""The elementary functions of compiled loops: straight lines that LLVM vectorises.

The C library's take one number at a time, and 10 to 20 times as long. These have at most 2 eps of
error, results below the normal numbers included, and return what NumPy returns for zeros,
infinities and NaN. `benchmarks/elementary.py` tries every float32.

The polynomials are minimax polynomials in the relative error of the function: by the exchange
algorithm of Remez with 72 digits, then each coefficient in turn, from the lowest on, rounded to
the dtype and those after it fitted again by linear programming. The errors beside them are those
after rounding, in eps.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

from tinyloss_numpy._llvm import Value, bits, one_dtype, where

SQRT_HALF = math.sqrt(0.5)


@dataclass(frozen=True)
class Constants:
    """What differs between float32 and float64."""

    significand: int
    """Stored bits of the significand."""
    bias: int
    """Of the exponent."""
    below: float
    """exp of it and of what is below it rounds to 0."""
    above: float
    """exp, cosh and sinh of it and of what is above it overflow."""
    ln2_high: float
    """The first bits of ln 2, so few that every exponent times this is exact."""
    ln2_low: float
    """The rest of ln 2."""
    exp: tuple[float, ...]
    """q of exp(r) = 1 + r + r^2 q(r) for |r| <= ln 2."""
    exp_half: tuple[float, ...]
    """The same for |r| <= 1.02 ln 2 / 2."""
    lift: int
    """Exponent by which results that may be subnormal are too large until the last product."""
    deep: float
    """A whole number above -(bias + lift) ln 2, far below `below`: the exponent of exp of it, too
    large by lift, is not below that of zeros."""
    far: float
    """A power of two, more than twice `below`: numbers beyond it whose difference is not beyond
    `below` are within a factor of two of each other, so that the difference is exact (Sterbenz)."""
    ln2_coarse: float
    """ln 2 as a multiple of the spacing of numbers between 2 `far` and 4 `far`: so are their sums
    below 2 `far`, which are exact."""
    ln2_fine: float
    """The rest of ln 2."""
    log1p: tuple[float, ...]
    """q of log(1 + t) = t + t^2 q(t) for 0 <= t <= 1."""
    log: tuple[float, ...]
    """q of log(1 + f) = f + f^2 q(f) for sqrt(1/2) <= 1 + f <= sqrt(2)."""
    atanh: tuple[float, ...]
    """q of atanh(s) = s (1 + z / 3 + z^2 q(z)), z = s^2, for s = f / (2 + f) and the same f."""
    third: float
    """1/3."""
    third_low: float
    """The rest of 1/3."""

    @property
    def tiny(self) -> float:
        """The smallest normal number."""
        return 2.0 ** (1 - self.bias)


CONSTANTS = {
    "float32": Constants(
        significand=23,
        bias=127,
        below=-104.0,
        above=90.0,
        ln2_high=0.693145751953125,  # 15 bits
        ln2_low=1.4286068203094173e-06,
        # Degree 5; errors: exp 0.18, expm1 0.30.
        exp=(0.50000024, 0.16666636, 0.04166202, 0.00833513, 0.0014093004, 0.00019717347),
        # Degree 4; error 0.05.
        exp_half=(0.49999994, 0.16666502, 0.041669413, 0.008371173, 0.0013732805),
        lift=64,
        deep=-132.0,
        far=256.0,
        ln2_coarse=0.69317626953125,  # 14 bits
        ln2_fine=-2.908897130469058e-05,
        # Degree 8; error 0.29.
        log1p=(
            -0.49999997,
            0.33333036,
            -0.2498684,
            0.19839199,
            -0.15752022,
            0.11314649,
            -0.063551895,
            0.02315639,
            -0.003937583,
        ),
        # Degree 8; error 0.035.
        log=(
            -0.49999988,
            0.33333325,
            -0.2500161,
            0.20002005,
            -0.16608411,
            0.14180852,
            -0.13248062,
            0.12912947,
            -0.07619083,
        ),
        # Degree 2; error 2^-36.8 of the function.
        atanh=(0.20000076, 0.14273545, 0.11709816),
        third=0.3333333432674408,
        third_low=-1 / 3 / 2**25,
    ),
    "float64": Constants(
        significand=52,
        bias=1023,
        below=-746.0,
        above=711.0,
        ln2_high=0.6931471805598903,  # 42 bits
        ln2_low=5.497923018708371e-14,
        # Degree 11; errors: exp 0.07, expm1 0.12.
        exp=(
            0.4999999999999996,
            0.16666666666666766,
            0.041666666666690805,
            0.008333333333303487,
            0.0013888888884730079,
            0.00019841269869454715,
            2.4801590329533668e-05,
            2.75573080765088e-06,
            2.7556255382927406e-07,
            2.5053927461752153e-08,
            2.1055336114926206e-09,
            1.599805158769466e-10,
        ),
        # Degree 9; error 0.05.
        exp_half=(
            0.5000000000000013,
            0.16666666666666358,
            0.04166666666650727,
            0.008333333333521736,
            0.0013888888950405495,
            0.0001984126946494982,
            2.4801485458712514e-05,
            2.755760803571094e-06,
            2.763315400085394e-07,
            2.499802726448268e-08,
        ),
        lift=512,
        deep=-1063.0,
        far=2048.0,
        ln2_coarse=0.6931471805601177,  # 40 bits
        ln2_fine=-1.7239444525614835e-13,
        # Degree 19; error 0.07.
        log1p=(
            -0.49999999999999456,
            0.33333333333234505,
            -0.24999999993652366,
            0.19999999790737177,
            -0.16666662489644998,
            0.14285658806357124,
            -0.12499478947117092,
            0.11107502391057943,
            -0.09981000144121663,
            0.09013107055204313,
            -0.08081097366768313,
            0.07035323868531367,
            -0.057498753031511265,
            0.04229631702394765,
            -0.02674055185933863,
            0.013836274573789003,
            -0.005541962105949756,
            0.0015953502612780282,
            -0.0002916793321793668,
            2.5321991724252223e-05,
        ),
        # Degree 18; error 0.23.
        log=(
            -0.4999999999999997,
            0.33333333333328113,
            -0.2500000000001263,
            0.20000000001737941,
            -0.16666666666241328,
            0.14285714087446347,
            -0.1249999983115812,
            0.11111122008302537,
            -0.10000018141895359,
            0.09090583476268485,
            -0.0833255295872022,
            0.07697709058439897,
            -0.07160249871992949,
            0.06621610179674636,
            -0.06041188460318699,
            0.05973586812814465,
            -0.06786902550780444,
            0.06324838829428944,
            -0.028299254015878794,
        ),
        # Degree 7; error 2^-73 of the function.
        atanh=(
            0.1999999999999999,
            0.142857142857219,
            0.11111111108902104,
            0.09090909420951024,
            0.07692279290011399,
            0.06668129318237019,
            0.05837948391173419,
            0.059904133589051334,
        ),
        third=1 / 3,
        third_low=1 / 3 / 2**54,
    ),
}


def _horner(x: Value, coefficients: tuple[float, ...]) -> Value:
    total = x.constant(coefficients[-1])
    for each in coefficients[-2::-1]:
        total = total.muladd(x, each)
    return total


def _in_two(x: Value, square: Value, coefficients: tuple[float, ...]) -> Value:
    """Return a long polynomial, in two parts that do not wait for each other."""
    power, exponent = square * square, 4
    while 2 * exponent < len(coefficients) // 2:
        power, exponent = power * power, 2 * exponent
    upper, lower = coefficients[exponent:], coefficients[:exponent]
    return power.muladd(_horner(x, upper), _horner(x, lower))


# ------------------------------------------------------------------------------------ exponentials


def _at_most(x: Value, limit: float) -> Value:
    """Cut off what is above: unlike `minimum` one instruction on x86, and it keeps NaN as well."""
    return where(x > limit, limit, x)


def _clamp(x: Value, k: Constants) -> Value:
    return _at_most(where(x < k.below, k.below, x), k.above)


def _reduce(x: Value, k: Constants, rest: Value | None = None) -> tuple[Value, Value]:
    """Return r and s = 2^m, where x + rest = 2 m ln 2 + r and |r| <= ln 2.

    exp(x) is then exp(r) s s: s is a normal number where s s would overflow, and only the last
    product rounds where the result is subnormal.
    """
    # Adding 1.5 * 2^significand rounds to an integer, which stands in the lowest bits of the sum:
    # with the bias they are the exponent of s.
    shift = 1.5 * 2.0**k.significand + k.bias
    t = x.muladd(0.5 / math.log(2), shift)
    m = t - shift
    r = m.muladd(-2 * k.ln2_high, x)
    low = -2 * k.ln2_low
    r = m.muladd(low, r) if rest is None else r + m.muladd(low, rest)
    return r, (t.as_int() << k.significand).as_float()


def _exp_reduced(r: Value, k: Constants) -> Value:
    return _horner(r, (1.0, 1.0, *k.exp))


def _exp_of_sum(x: Value, rest: Value | None) -> Value:
    k = CONSTANTS[x.dtype]
    r, s = _reduce(_clamp(x, k), k, rest)
    return _exp_reduced(r, k) * s * s


def _exp(x: Value) -> Value:
    return _exp_of_sum(x, None)


def _too_large(r: Value, t: Value, k: Constants) -> Value:
    """Return exp(r) 2^(n + lift) for n <= 0, the last bits of t being those of n + lift + bias."""
    s = (t.as_int() << k.significand).as_float()
    return _horner(r, (1.0, 1.0, *k.exp_half)) * s


def _lifted(r: Value, t: Value, k: Constants) -> Value:
    """Return exp(r) 2^n for n <= 0, for the same t."""
    return _too_large(r, t, k) * 2.0**-k.lift


def _shift(k: Constants) -> float:
    """Return what rounds a number to an integer whose last bits are an exponent's, see `_reduce`"""
    return 1.5 * 2.0**k.significand + k.bias + k.lift


def _exp_negative(x: Value) -> Value:
    """Return exp of what is never positive."""
    k = CONSTANTS[x.dtype]
    x = where(x < k.below, k.below, x)
    t = x.muladd(1 / math.log(2), _shift(k))
    n = t - _shift(k)
    r = n.muladd(-k.ln2_low, n.muladd(-k.ln2_high, x))
    return _lifted(r, t, k)


def _exp_difference(x: Value, m: Value) -> Value:
    """Return exp(x - m) as if x - m were not rounded."""
    d = x - m
    u = d - x
    rest = (x - (d - u)) - (m + u)
    return _exp_of_sum(d, where(d.fabs() < 1e4, rest, 0.0))


def _exp_shortfall(x: Value, m: Value) -> Value:
    """Return exp(x - m), x never above m, as if x - m were not rounded.

    x - m = n ln 2 + r. Where m is small, m + n ln2_coarse is exact, once m has lost its last bits,
    and near x, so that taking it off x is exact as well, or rounds below the bits of r that count.
    Where m is large, x - m is exact or exp of it is 0. Either way of computing is one: x - a is
    x or the difference. What depends on m alone is computed once for a row.
    """
    k = CONSTANTS[x.dtype]
    small = m.fabs() < k.far
    coarse = (m + 3 * k.far) - 3 * k.far
    a, b = where(small, 0.0, m), where(small, m, 0.0)
    least = where(small, m + k.below, k.below)
    near, rest = where(small, coarse, 0.0), where(small, coarse - m, 0.0)
    above = x - a
    above = where(least > above, least, above)
    t = (above - b).muladd(1 / math.log(2), _shift(k))
    n = t - _shift(k)
    r = (above - n.muladd(k.ln2_coarse, near)) + n.muladd(-k.ln2_fine, rest)
    return _lifted(r, t, k)


def _split(x: Value, shift: Value | float, k: Constants) -> tuple[Value, Value, Value]:
    """Return t = n + shift, an integer n and r, where x = n ln 2 + r."""
    t = x.muladd(1 / math.log(2), shift)
    n = t - shift
    return t, n, n.muladd(-k.ln2_fine, n.muladd(-k.ln2_coarse, x))


def _scaled(x: Value, m: Value, k: Constants) -> Value:
    """Return 2^lift exp(x) / 2^n, n being m's, for |m| < far and x never above m.

    What is further below m than `deep` is taken for that: exp(x - m) rounds to 0.
    """
    _, n, _ = _split(m, 1.5 * 2.0**k.significand, k)
    least = m + k.deep
    t, _, r = _split(where(least > x, least, x), _shift(k) - n, k)
    return _too_large(r, t, k)


def _exp_scaled_near(x: Value, m: Value) -> Value:
    """Return what `_exp_scaled` does, where |m| < far."""
    return _scaled(x, m, CONSTANTS[x.dtype])


def _exp_scaled(x: Value, m: Value) -> Value:
    """Return exp(x - m) / exp_scale(m), x never above m, as if x - m were not rounded.

    x = n ln 2 + r, as m is. n ln2_coarse is exact, and so near x that their difference is exact.
    Where m is large, x - m is exact or exp of it is 0.
    """
    k = CONSTANTS[x.dtype]
    small = m.fabs() < k.far
    return _scaled(x - where(small, 0.0, m), where(small, m, 0.0), k)


def _exp_scale(m: Value) -> Value:
    """Return the factor that `_exp_scaled` leaves out."""
    k = CONSTANTS[m.dtype]
    _, _, r = _split(where(m.fabs() < k.far, m, 0.0), 1.5 * 2.0**k.significand, k)
    return _horner(-r, (1.0, 1.0, *k.exp_half)) * 2.0**-k.lift


def _within(m: Value) -> Value:
    """Return whether m is in all lanes so small that `_exp_scaled_near` takes it."""
    return (m.fabs() < CONSTANTS[m.dtype].far).everywhere()


def _expm1_parts(x: Value, k: Constants) -> tuple[Value, Value, Value]:
    """Return expm1(r), s and 1 / s."""
    r, s = _reduce(x, k)
    inverse = ((2 * k.bias << k.significand) - s.as_int()).as_float()
    return (r * r).muladd(_horner(r, k.exp), r), s, inverse


def _expm1(x: Value) -> Value:
    k = CONSTANTS[x.dtype]
    e, s, inverse = _expm1_parts(_clamp(x, k), k)
    return (e.muladd(s, s - inverse) * s).copysign(x)


def _tanh(x: Value) -> Value:
    k = CONSTANTS[x.dtype]
    twice = _at_most(x.fabs() * 2.0, k.above)
    e, s, inverse = _expm1_parts(twice, k)
    # (t - 1) / (t + 1), or 1 - 2 / (t + 1) where that rounds less, of t = exp(2 |x|)
    large = twice > 2.0
    above = where(large, inverse * 2.0, e.muladd(s, s - inverse))
    quotient = above / e.muladd(s, s + inverse)
    return where(large, 1.0 - quotient, quotient).copysign(x)


def _sinh(x: Value) -> Value:
    # (t + t / (t + 1)) / 2 of t = expm1(|x|), in an order that overflows only where sinh does.
    k = CONSTANTS[x.dtype]
    e, s, inverse = _expm1_parts(_at_most(x.fabs(), k.above), k)
    u = e.muladd(s, s - inverse)
    return ((u + u / u.muladd(s, 1.0)) * (s * 0.5)).copysign(x)


def _cosh(x: Value) -> Value:
    k = CONSTANTS[x.dtype]
    r, s = _reduce(_at_most(x.fabs(), k.above), k)
    u = _exp_reduced(r, k) * s
    return (u + 1.0 / (u * s * s)) * (s * 0.5)


# -------------------------------------------------------------------------------------- logarithms


def _binade(x: Value, k: Constants) -> tuple[Value, Value]:
    """Return e, where x / 2^e is in [sqrt(1/2), sqrt(2)), and an integer that tells both.

    Its upper bits are those of the exponent of 2^e, its lower bits the distance from sqrt(1/2) to
    x / 2^e. x is positive, finite and normal; what comes of other numbers is to be thrown away.
    """
    least = bits(SQRT_HALF, x.dtype)
    b = x.as_int() + (bits(1.0, x.dtype) - least)
    # An integer in the lowest bits of 2^significand: faster than a conversion, which machines
    # without AVX-512 do not have for 64 bits.
    shift = 2.0**k.significand
    biased = ((b >> k.significand) | bits(shift, x.dtype)).as_float()
    return biased - (shift + k.bias), b


def _log_parts(x: Value) -> tuple[Value, Value]:
    """Return e and f, where |x| = 2^e (1 + f)."""
    k = CONSTANTS[x.dtype]
    subnormal = x < k.tiny
    up = k.significand + 1
    x = where(subnormal, x * 2.0**up, x)
    e, b = _binade(x, k)
    m = ((b & ((1 << k.significand) - 1)) + bits(SQRT_HALF, x.dtype)).as_float()
    return where(subnormal, e - float(up), e), m - 1.0


def _limits(result: Value, x: Value) -> Value:
    """Put in the logarithms of inf, NaN, 0 and negative numbers."""
    result = where(x < math.inf, result, x)
    return where(x > 0.0, result, where(x.equals(0.0), -math.inf, x.constant(math.nan)))


def _log_sum(e: Value, f: Value, x: Value) -> Value:
    """Return log(2^e (1 + f)), where that is log(x)."""
    k = CONSTANTS[x.dtype]
    square = f * f
    small = square.muladd(_in_two(f, square, k.log), e * k.ln2_low) + f
    return _limits(e.muladd(k.ln2_high, small), x)


def _log(x: Value) -> Value:
    return _log_sum(*_log_parts(x), x)


def _log1p(x: Value) -> Value:
    k = CONSTANTS[x.dtype]
    u = x + 1.0
    e, b = _binade(u, k)
    # f = x / 2^e + (1 / 2^e - 1) owes nothing to the rounding of 1 + x. 2^-e may be subnormal,
    # which bits alone do not make: 2^(3 - e) is not.
    exponent = b & (-1 << k.significand)
    scale = ((2 * k.bias + 3 << k.significand) - exponent).as_float() * 0.125
    f = x.muladd(scale, scale - 1.0)
    return _log_sum(e, f, u).copysign(x)


def _log1p_unit(x: Value) -> Value:
    """Return log1p of what is from 0 to 1."""
    square = x * x
    return square.muladd(_in_two(x, square, CONSTANTS[x.dtype].log1p), x)


# ------------------------------------------------------------------------------------------ powers


def _product(a: Value, b: Value) -> tuple[Value, Value]:
    """Return a b as a sum of two."""
    p = a * b
    return p, a.fma(b, -p)


def _log_in_two(x: Value) -> tuple[Value, Value]:
    """Return log x as a sum of two, with an error far below eps / 1000 of it.

    log(1 + f) = 2 atanh(s), s = f / (2 + f): odd in s, so that few terms need two parts.
    """
    k = CONSTANTS[x.dtype]
    e, f = _log_parts(x)
    d = f + 2.0
    d_low = f - (d - 2.0)
    inverse = 1.0 / d
    s = f * inverse
    s_low = ((-s).fma(d, f) - s * d_low) * inverse
    z, z_low = _product(s, s)
    z_low = z_low + 2.0 * (s * s_low)
    tail = z * _horner(z, k.atanh)
    w = tail + k.third
    w_low = ((k.third - w) + tail) + k.third_low
    v, v_low = _product(z, w)
    v_low = v_low + (z * w_low + z_low * w)
    g, g_low = _product(s, v)
    g_low = g_low + (s * v_low + s_low * v)
    half = s + g
    half_low = ((s - half) + g) + (g_low + s_low)
    twice = half + half
    a = e * k.ln2_high
    high = a + twice
    low = ((a - high) + twice) + (half_low + half_low + e * k.ln2_low)
    return _limits(high, x), low


def _pow_positive(x: Value, y: Value) -> Value:
    high, low = _log_in_two(x)
    p, p_low = _product(y, high)
    p_low = where(p.fabs() < 1e4, y.muladd(low, p_low), 0.0)  # NaN beside infinities
    return _exp_of_sum(p, p_low)


def _pow(x: Value, y: Value) -> Value:
    a = x.fabs()
    power = where(a.equals(1.0), 1.0, _pow_positive(a, y))
    whole = y.rint().equals(y)
    half = y * 0.5
    odd = whole & ~half.rint().equals(half)
    power = where(odd, power.copysign(x), power)
    power = where((x < 0.0) & (x > -math.inf) & ~whole, math.nan, power)
    return where(x.equals(1.0) | y.equals(0.0), 1.0, power)


# ----------------------------------------------------------------------------------- for the loops


@cache
def functions(dtype: str) -> Mapping[str, Callable[..., Value]]:
    """Return the elementary functions of "float32" or "float64" by name.

    Each takes and returns scalars or vectors of the dtype; others are an error of types, so that no
    float32 loop computes in float64 unnoticed. sin and cos are those of the C library.
    """
    bodies: dict[str, Callable[..., Value]] = {
        "exp": _exp,
        "expm1": _expm1,
        "log": _log,
        "log1p": _log1p,
        "tanh": _tanh,
        "sinh": _sinh,
        "cosh": _cosh,
        "pow": _pow,
        "sin": Value.sin,
        "cos": Value.cos,
        "exp_negative": _exp_negative,
        "exp_difference": _exp_difference,
        "exp_shortfall": _exp_shortfall,
        "exp_scaled": _exp_scaled,
        "exp_scaled_near": _exp_scaled_near,
        "exp_scale": _exp_scale,
        "within": _within,
        "log1p_unit": _log1p_unit,
    }
    return {name: one_dtype(body, dtype) for name, body in bodies.items()}
