"""The stable pieces that the losses are made of.

Each keeps a small result accurate where the textbook form loses it to rounding, in array-API
functions only. Sources are named where a form is not obvious; the errors are those measured by
`python -m benchmarks.accuracy`.
"""

from typing import Any, NamedTuple

from tinyloss._arrays import beside, namespace
from tinyloss._differences import exp_difference


def product(a: Any, b: Any) -> Any:
    """Return a * b, 0 where a is 0: 0 * log 0 = 0. So are its derivatives, whatever b is there."""
    xp = namespace(a)
    return a * xp.where(a == 0, 0.0, b)


def of_error(d: Any, factor: Any) -> Any:
    """Return d * factor for a factor of at least 0: 0 where d is 0, infinite where d is.

    A difference that overflows stays infinite, whatever underflows beside it.
    """
    xp = namespace(d)
    return product(d, xp.where(xp.isinf(d), 1.0, factor))


def xlogy(a: Any, b: Any) -> Any:
    """Return a * log(b), 0 where a is 0. Both branches stay finite for b = 0 there."""
    xp = namespace(a)
    return xp.where(a == 0, 0.0, a * xp.log(xp.where(a == 0, 1.0, b)))


def sign(x: Any) -> Any:
    """Return -1, 0 or 1; 0 at 0, NaN for NaN."""
    xp = namespace(x)
    return xp.where(x > 0, 1.0, xp.where(x < 0, -1.0, x))


def steep(self: Any, curvature: Any) -> Any:
    """Return a curvature, 1 where it is not above 0: the step of boosting is the gradient there.

    A formula declares `boosting_curvature = steep`.
    """
    return namespace(curvature).where(curvature <= 0, 1.0, curvature)


def magnitude(x: Any) -> Any:
    """Return |x|, of derivative 0 at 0 on every library with autodiff (theirs vary)."""
    return x * sign(x)


def positive_part(x: Any) -> Any:
    """Return max(x, 0), of derivative 0 at 0 on every library with autodiff (theirs vary)."""
    return namespace(x).where(x <= 0, 0.0, x)


def folded(x: Any) -> tuple[Any, Any]:
    """Return |x| and max(x, 0) as two sides of one fold at 0.

    Where |x| rises, max(x, 0) does, at 0 as well: so autodiff of max(x, 0) + f(|x|) is right there.
    """
    xp = namespace(x)
    up = x >= 0
    return xp.where(up, x, -x), xp.where(up, x, xp.where(x < 0, 0.0, x))


def expm1_minus(d: Any) -> Any:
    """Return exp(d) - 1 - d for d <= 2, without cancellation around 0.

    Below 1/2 by its Taylor series, d^2/2 (1 + d/3 (1 + d/4 (1 + ...))), cut at d^16: the next term
    is 2 (1/2)^15 / 17! = 2e-19 of the first.
    """
    xp = namespace(d)
    small = xp.where(xp.abs(d) < 0.5, d, 0.0)
    series = 1 + small / 16
    for n in range(15, 2, -1):
        series = 1 + small / n * series
    return xp.where(xp.abs(d) < 0.5, 0.5 * small * small * series, xp.expm1(d) - d)


def log_ratio(x: Any, y: Any) -> tuple[Any, Any, Any]:
    """Return y / x, y / x - 1 and log(y / x) of positive numbers, close ones to the last digits."""
    xp = namespace(x)
    ratio, more = y / x, (y - x) / x
    # Some libraries' log1p is off by 100 eps on (-0.5, -0.3).
    near = (more > -0.3) & (more < 1)
    # Of a ratio that is no normal number the logarithm may be one nevertheless.
    info = xp.finfo(x.dtype)
    usual = (ratio >= float(info.smallest_normal)) & (ratio <= float(info.max))
    of_ratio = xp.log(xp.where(usual, ratio, 1.0))
    logs = xp.log(xp.where(usual, 1.0, y)) - xp.log(xp.where(usual, 1.0, x))
    far = xp.where(usual, of_ratio, logs)
    return ratio, more, xp.where(near, xp.log1p(xp.where(near, more, 0.0)), far)


_ERF = (
    (
        *(
            1.1283791670955125718,
            2.5228975816838545326,
            2.669423092813320866,
            1.7138729004201956447,
        ),
        *(0.72012575671354590958, 0.19979059690686538345, 0.034953305269349702782),
        *(0.0033663025503141286393, 0.00011825102742451734868),
    ),
    (
        *(1.0, 1.6716701835001238854, 1.3314958673733892024, 0.63236089039890743455),
        *(0.18867475527695094245, 0.034394545664986457765, 0.003363861993682093976),
        0.00011827206417139107811,
    ),
)
"""P and Q with -log(erfc(a)) / a = P(a) / Q(a), from the constant term up.

Fitted with 60 digits on [0, 5.9] to the least largest error of erf: 1.8e-18 of it. At 6, from
where on it is cut off, erf rounds to 1. No coefficient is negative, so that Horner's rule cancels
nothing.
"""


def erf(a: Any) -> Any:
    """Return the error function of a >= 0, which the array API lacks.

    Off by 2.1 eps of float32 and 1.9 of float64 at most. It is -expm1 of the logarithm of its
    complement, which is smooth and never near 0 but at 0.
    """
    xp = namespace(a)
    a = xp.minimum(a, 6.0)
    above, below = (_horner(each, a) for each in _ERF)
    return -xp.expm1(-a * (above / below))


def _horner(coefficients: tuple[float, ...], a: Any) -> Any:
    *rest, value = coefficients
    for each in reversed(rest):
        value = value * a + each
    return value


def balanced(p: Any, q: Any) -> Any:
    """Return a probability p and its complement q as one number: p, or -q where q is the smaller.

    So neither loses digits where the other is almost 1. A q that underflows stays below 0.
    """
    xp = namespace(p)
    least = float(xp.finfo(p.dtype).smallest_normal)
    return xp.where(p > 0.5, -xp.maximum(q, least), p)


def sides(b: Any) -> tuple[Any, Any]:
    """Return p and q of a number that `balanced` made of them."""
    xp = namespace(b)
    return xp.where(b < 0, 1 + b, b), xp.where(b < 0, -b, 1 - b)


class Sigmoids(NamedTuple):
    """What the losses of a logit are made of."""

    plus: Any
    """sigma(x)."""
    minus: Any
    """sigma(-x)."""
    size: Any
    """|x|."""
    log1p: Any
    """log(1 + exp(-|x|))."""
    softplus: Any
    """log(1 + exp(x))."""


def sigmoids(x: Any) -> Sigmoids:
    """Return the sigmoids of x and -x and their logarithms, to the last bits in both tails.

    exp(-|x|) <= 1 has an exact argument; neither sigmoid is 1 minus the other.
    """
    xp = namespace(x)
    size, positive = folded(x)
    t = xp.exp(-size)
    large, log1p = 1 / (1 + t), xp.log1p(t)
    small = t * large
    up = x >= 0
    return Sigmoids(
        xp.where(up, large, small), xp.where(up, small, large), size, log1p, positive + log1p
    )


def log_of_sum(x: Any) -> Any:
    """Return log(1 + x) for x > -1.

    XLA's log1p of float64 is 120 eps off near -0.41 (jax-ml/jax#39707), and right above 0.
    """
    xp = namespace(x)
    below = x < 0
    size = xp.log1p(xp.where(below, -x / (1 + x), x))
    return xp.where(below, -size, size)


def softplus(x: Any) -> Any:
    """Return log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|))."""
    xp = namespace(x)
    size, positive = folded(x)
    return positive + xp.log1p(xp.exp(-size))


def exact_product(a: Any, b: Any) -> tuple[Any, Any]:
    """Return p = fl(a * b) and its rounding error e = a * b - p, itself a floating-point number.

    TwoProduct (Dekker, A floating-point technique for extending the available precision, Numer.
    Math. 18, 1971). The product is exact where neither overflows times 2^27 nor e underflows.
    """
    p = a * b
    (one, rest), (other, left) = _halves(a), _halves(b)
    return p, ((one * other - p) + one * left + rest * other) + rest * left


def _halves(a: Any) -> tuple[Any, Any]:
    """Return two numbers of half the digits each, whose sum is a (Veltkamp's splitting)."""
    shift = 2.0**27 if float(namespace(a).finfo(a.dtype).max) > 2.0**128 else 2.0**12
    # a sum, not a product with shift + 1: fused with what follows, that would not be rounded
    c = a * shift + a
    high = c - (c - a)
    return high, a - high


def others(v: Any, top: Any, largest: Any, rest: Any) -> Any:
    """Return the sum over all classes but one, for each class, without cancellation.

    `rest` is the sum of `v` without one of its largest elements `largest`, found at `top`. There
    the answer is `rest` (written so that autodiff sees what is left out); elsewhere at least
    `largest` stays in the sum, so that subtracting loses at most one bit.
    """
    xp = namespace(v)
    return xp.where(top, rest + (largest - v), (largest + rest) - v)


def sum_of_others(v: Any) -> Any:
    """Return for each class the sum over all the others, without cancellation.

    Taking an element off the total loses digits where it makes up most of it. The largest elements
    are therefore never in the sum they are taken off.
    """
    xp = namespace(v)
    size = xp.abs(v)
    top = size == xp.max(size, axis=-1, keepdims=True)
    rest = xp.sum(xp.where(top, 0.0, v), axis=-1, keepdims=True)
    tops = xp.sum(xp.where(top, v, 0.0), axis=-1, keepdims=True)
    return xp.where(top, rest + (tops - v), tops + (rest - v))


def classes_of(x: Any, y: Any) -> Any:
    """Return whether each class of the rows of `x` is the one that `y` names: (..., C) booleans.

    A comparison instead of a gather: it runs on every library, also where the classes are spread
    over devices, and an index out of range names no class instead of wrapping around.
    """
    xp = namespace(x)
    labels = y[..., None]
    return xp.arange(x.shape[-1], dtype=labels.dtype, **beside(x)) == labels


class Softmax(NamedTuple):
    """A row of logits, split so that no sum cancels: p = e / z, z = 1 + rest, e = 1 at `top`."""

    below: Any
    """m - x >= 0, m the largest logit."""
    e: Any
    """exp(x - m)."""
    top: Any
    """Where x = m."""
    rest: Any
    """The sum of e without one of the largest."""
    z: Any
    """The sum of e."""
    log_z: Any
    """log z = log1p(rest): relatively accurate also where one class is almost certain."""


def softmax_parts(x: Any) -> Softmax:
    """Return the parts of softmax over the last dimension.

    The largest term is exactly 1 and stays out of the sum, so that log z keeps its digits when all
    other classes are unlikely (log of a rounded 1 + rest would be 0).
    """
    xp = namespace(x)
    m = xp.max(x, axis=-1, keepdims=True)
    e = exp_difference(x, m)
    top = x == m
    # e is 1 at the top, but NaN for an infinite m, which must show.
    ties = xp.sum(xp.where(top, e, 0.0), axis=-1, keepdims=True) - 1
    rest = xp.sum(xp.where(top, 0.0, e), axis=-1, keepdims=True) + ties
    return Softmax(m - x, e, top, rest, 1 + rest, xp.log1p(rest))


class Logits:
    """Logits divided by a temperature and soft-capped, with the derivatives of that by x."""

    def __init__(self, x: Any, temperature: Any, softcap: Any) -> None:
        xp = namespace(x)
        self.z, self.slope, self.bend = x, None, None
        if temperature is not None:
            self.z = x / temperature
            self.slope = 1 / (xp.ones_like(x) * temperature)
        if softcap is not None:
            # 1 - tanh^2 by exp(-2 |u|), so that the slope keeps its digits
            u = self.z / softcap
            t = xp.exp(-2 * xp.abs(u))
            tanh = -sign(u) * xp.expm1(-2 * xp.abs(u)) / (1 + t)
            # a class that is impossible stays so
            self.z = xp.where(u == -xp.inf, -xp.inf, softcap * tanh)
            slope, inner = 4 * t / ((1 + t) * (1 + t)), self.slope
            self.bend = -2 * tanh * slope / softcap
            self.slope = slope
            if inner is not None:
                self.slope, self.bend = slope * inner, self.bend * inner * inner


_LARGEST_GAMMA = 2.0**63
"""From here on q^gamma is 0 for every q below 1, in float64 too; its square is a float32."""

_LARGEST_WHOLE_GAMMA = 16
"""Up to here a whole gamma is a few multiplications, which are faster than a power."""


def exponent(gamma: Any) -> Any:
    """Return gamma as formulas take it: an int where `power` multiplies; an array as it is."""
    if not isinstance(gamma, float):
        return gamma
    # Comparisons alone: torch.compile traces these of a number that it does not know yet, and takes
    # any such number modulo 1 for 0.
    for whole in range(_LARGEST_WHOLE_GAMMA + 1):
        if gamma == whole:
            return whole
    return gamma if gamma < _LARGEST_GAMMA else _LARGEST_GAMMA


def smoothing(share: Any) -> dict[str, Any]:
    """Return the parameters of a formula for targets with a share spread: none where it is 0."""
    nothing = isinstance(share, float) and share == 0
    return {} if nothing else {"label_smoothing": share}


def power(base: Any, exponent: Any) -> Any:
    """Return base ** exponent, by multiplications where the exponent is an int."""
    if not isinstance(exponent, int):
        return base**exponent
    if exponent == 0:
        return namespace(base).ones_like(base)
    if exponent == 1:
        return base
    half = power(base, exponent // 2)
    return half * half * base if exponent % 2 else half * half


def power_slope(base: Any, exponent: Any) -> Any:
    """Return the derivative of base ** exponent by the base, 0 for an exponent of 0.

    It is infinite where the base is 0 and the exponent between 0 and 1.
    """
    if isinstance(exponent, int):
        return exponent * power(base, max(exponent - 1, 0))
    xp = namespace(base)
    exponent = xp.zeros_like(base) + exponent
    n = xp.where(exponent == 0, 1.0, exponent)
    return xp.where(exponent == 0, 0.0, n * base ** (n - 1))
