"""The losses as textbooks have them, in extended precision, for `tests.soak.differential`.

Nothing here is shared with the library or with the golden values. Each formula returns `Part`s: the
exact numbers, and the sizes that errors are measured by. A size is the magnitude of the result, or
the sum of the magnitudes of its terms where terms of opposite sign meet.

Long double has 64 bits of mantissa and exponents to 10^4932. So float32 needs no care here, squares
and exponentials of float64 do not overflow, and 11 bits are left for its rounding. Where a textbook
form loses more than these, the form here is another one, and says so.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = [
    "ACTIVATIONS",
    "BINARY",
    "LOSSES",
    "ROWWISE",
    "SIGNED",
    "L",
    "Part",
    "distribution",
    "without_each",
]

Array = npt.NDArray[Any]
L = np.longdouble

LOG2 = np.log(L(2))
TWO_PI = 8 * np.arctan(L(1))


class Part(NamedTuple):
    """A result: exactly, the size that its error is measured by, and where nothing is settled."""

    exact: Any
    size: Any
    open: Any = False


Parts = dict[str, Part]


def _plain(exact: Any) -> Part:
    exact = np.asarray(exact, L)
    return Part(exact, np.abs(exact))


def _times(a: Any, b: Any) -> Any:
    """Return a * b, 0 where a is 0: a term that does not occur is not there."""
    return np.where(a == 0, L(0), a * np.where(a == 0, L(0), b))


def _least_normal(ulp: float) -> Any:
    """Return the smallest normal number of the dtype computed in, about."""
    return L(2.0**-126) if ulp > 1e-10 else L(2) ** -1022


# -------------------------------------------------------------------------------- regression


def mse(x: Array, y: Array, *, ulp: float) -> Parts:
    d = x - y
    return {
        "value": _plain(d**2),
        "x": _plain(2 * d),
        "y": _plain(-2 * d),
        "curvature": _plain(np.full_like(d, 2)),
    }


def mae(x: Array, y: Array, *, ulp: float) -> Parts:
    d = x - y
    return {
        "value": _plain(np.abs(d)),
        "x": _plain(np.sign(d)),
        "y": _plain(-np.sign(d)),
        "curvature": _plain(np.zeros_like(d)),
    }


def huber(x: Array, y: Array, *, delta: float, ulp: float) -> Parts:
    d, delta_ = x - y, L(delta)
    a = np.abs(d)
    bend = Part(
        np.where(a <= delta_, L(1), L(0)), np.ones_like(a), np.abs(a - delta_) <= 4 * ulp * delta_
    )
    return {
        "value": _plain(np.where(a <= delta_, d**2 / 2, delta_ * (a - delta_ / 2))),
        "x": _plain(np.clip(d, -delta_, delta_)),
        "y": _plain(-np.clip(d, -delta_, delta_)),
        "curvature": bend,
    }


def smooth_l1(x: Array, y: Array, *, beta: float, ulp: float) -> Parts:
    if beta == 0:
        return mae(x, y, ulp=ulp)
    parts = huber(x, y, delta=beta, ulp=ulp)
    return {name: Part(a / L(beta), b / L(beta), c) for name, (a, b, c) in parts.items()}


def log_cosh(x: Array, y: Array, *, ulp: float) -> Parts:
    d = x - y
    a = np.minimum(np.abs(d), L(5000))
    # cosh^2 = 1 + sinh^2, so that a small error keeps its digits.
    value = np.where(np.abs(d) < 5000, np.log1p(np.sinh(a) ** 2) / 2, np.abs(d) - LOG2)
    bend = 1 / np.cosh(a) ** 2
    return {
        "value": _plain(value),
        "x": _plain(np.tanh(d)),
        "y": _plain(-np.tanh(d)),
        # The rounding of d, |d| eps / 2, is in the exponent of a tail exp(-2 |d|).
        "curvature": Part(bend, bend * (1 + a)),
    }


def quantile(x: Array, y: Array, *, q: float, ulp: float) -> Parts:
    d, q_ = y - x, L(q)
    slope = np.where(d > 0, -q_, np.where(d < 0, 1 - q_, d))
    return {
        "value": _plain(np.maximum(q_ * d, (q_ - 1) * d)),
        "x": _plain(slope),
        "y": _plain(-slope),
        "curvature": _plain(np.zeros_like(d)),
    }


def msle(x: Array, y: Array, *, ulp: float) -> Parts:
    below = (x < -1) | (y < -1)
    x1, y1 = 1 + x, 1 + y
    ratio = (x - y) / y1
    near = np.abs(ratio) < 0.5
    # The textbook's log(1 + x) - log(1 + y) has no digits left for close x and y.
    r = np.where(near, np.log1p(np.where(near, ratio, 0)), np.log(x1 / y1))
    r = np.where(below, L(np.nan), r)
    both = (x == -1) & (y == -1)
    bend = 2 * (1 - r) / x1**2
    return {
        "value": Part(r**2, r**2, both),
        "x": Part(2 * r / x1, np.abs(2 * r / x1), both),
        "y": Part(-2 * r / y1, np.abs(2 * r / y1), both),
        "curvature": Part(bend, 2 * (1 + np.abs(r)) / x1**2, (x == -1) | (y == -1)),
    }


def mape(x: Array, y: Array, *, eps: float, ulp: float) -> Parts:
    d, eps_ = x - y, L(eps)
    size, above = np.maximum(np.abs(y), eps_), np.abs(y) > eps_
    ratio = np.where(above, x / np.where(above, y, 1), 1)
    by_y = -np.sign(d) * ratio / size
    # x / y is rounded before the other division makes it larger: nothing is promised below.
    lost = (x != 0) & (np.abs(ratio) < _least_normal(ulp))
    return {
        "value": _plain(np.abs(d) / size),
        "x": _plain(np.sign(d) / size),
        "y": Part(by_y, np.abs(by_y), lost | (np.abs(np.abs(y) - eps_) <= 4 * ulp * eps_)),
        "curvature": _plain(np.zeros_like(d)),
    }


def _stirling(y: Array) -> tuple[Array, Array, Array, Array]:
    """Return the approximation of log y! with its size, and its slope with its size."""
    z = np.where(y > 1, y, L(1))
    log, root = np.log(z), np.log(TWO_PI * z) / 2
    terms = (z * log - z + root, z * log + z + root, log + 1 / (2 * z), log + 1 / (2 * z))
    a, b, c, d = [np.where(y > 1, term, L(0)) for term in terms]
    return a, b, c, d


def poisson_nll(
    x: Array, y: Array, *, log_input: bool, full: bool, eps: float, ulp: float
) -> Parts:
    if log_input:
        rate, cross = np.exp(x), _times(y, x)
        value, size = rate - cross, rate + np.abs(cross)
        by_x, size_x, by_y, size_y, bend = rate - y, rate + y, -x, np.abs(x), rate
    else:
        large, small = np.maximum(x, L(eps)), np.minimum(x, L(eps))
        # x + eps is not a number of the dtype: its logarithm is a sum of two.
        first, more = np.log(large), np.log1p(small / np.where(large == 0, 1, large))
        log, size_y = first + more, np.abs(first) + more
        value, size = x - _times(y, log), x + _times(y, size_y)
        share = np.where(y == 0, L(0), y / (x + L(eps)))
        by_x, size_x, by_y = 1 - share, 1 + share, -log
        bend = np.where(y == 0, L(0), share / (x + L(eps)))
    if full:
        a, b, c, e = _stirling(y)
        value, size, by_y, size_y = value + a, size + b, by_y + c, size_y + e
    # y / rate is rounded before the other division may make it larger.
    lost = (y > 0) & (y / (1 if log_input else x + L(eps)) < _least_normal(ulp)) & (not log_input)
    return {
        "value": Part(value, size),
        "x": Part(by_x, size_x),
        "y": Part(by_y, size_y),
        "curvature": Part(bend, np.abs(bend), lost),
    }


def gaussian_nll(x: Array, y: Array, var: Array, *, full: bool, eps: float, ulp: float) -> Parts:
    d, v = x - y, np.where(var < 0, L(np.nan), np.maximum(var, L(eps)))
    constant = np.log(TWO_PI) / 2 if full else L(0)
    by_var = np.where((var >= 0) & (var < eps), L(0), (1 / v - (d / v) ** 2) / 2)
    return {
        "value": Part(
            (np.log(v) + d**2 / v) / 2 + constant,
            (np.abs(np.log(v)) + d**2 / v) / 2 + constant,
        ),
        "x": _plain(d / v),
        "y": _plain(-d / v),
        "var": Part(by_var, (1 / v + (d / v) ** 2) / 2, np.abs(var - eps) <= 4 * ulp * eps),
        "curvature": _plain(1 / v + np.zeros_like(d)),
    }


def _exponent_care(q: Array, gamma: float, ulp: float) -> Array:
    """Return how much more q^gamma may be off, where gamma is no number of the dtype.

    Rounded, it is off by gamma ulp / 2, which log q multiplies; the bounds are 4 ulp and more.
    """
    if ulp < 1e-10 or float(np.float32(gamma)) == gamma:
        return np.ones_like(q)
    return 1 + np.abs(gamma * np.log(np.where(q == 0, L(1), q))) / 4


def _wider(parts: Parts, care: Array) -> Parts:
    """Return parts with sizes times `care`, of the shape of items or with their last axis."""
    of_items = care[..., 0] if care.ndim and np.ndim(parts["value"].size) < care.ndim else care
    return {
        name: part._replace(size=part.size * (of_items if name == "value" else care))
        for name, part in parts.items()
    }


# ------------------------------------------------------------------------------------ binary


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def binary_cross_entropy(x: Array, y: Array, *, eps: float, ulp: float) -> Parts:
    p, eps_ = np.where((x < 0) | (x > 1), L(np.nan), x), L(eps)
    a, b = np.maximum(p, eps_), np.maximum(1 - p, eps_)
    log_a = np.log(a)
    log_b = np.where(1 - p >= eps_, np.log1p(-np.where(p < 1, p, 0)), np.log(eps_))
    no = 1 - y
    floored = (p < eps_) | (1 - p < eps_)
    terms = no / b - y / a
    soft = np.where(floored, terms, (p - y) / (a * b))
    by_x = np.where(y == 0, 1 / b, np.where(y == 1, -1 / a, soft))
    size_x = np.where(floored, np.abs(no / b) + np.abs(y / a), np.abs(by_x))
    # At an edge of the floor the two forms meet, and rounding picks one.
    edge = np.abs(np.minimum(p, 1 - p) - eps_) <= 8 * ulp * np.maximum(eps_, ulp)
    size_x = np.where(edge, np.abs(no / b) + np.abs(y / a), size_x)
    return {
        "value": Part(-y * log_a - no * log_b, np.abs(y * log_a) + np.abs(no * log_b)),
        "x": Part(by_x, size_x),
        "y": Part(log_b - log_a, np.abs(log_a) + np.abs(log_b)),
        "curvature": Part(y / a**2 + no / b**2, np.abs(y / a**2) + np.abs(no / b**2)),
    }


def binary_cross_entropy_with_logits(
    x: Array, y: Array, pos_weight: Array | None = None, *, ulp: float
) -> Parts:
    weight = L(1) if pos_weight is None else pos_weight
    yes, no = weight * y, 1 - y
    up, down = np.logaddexp(L(0), x), np.logaddexp(L(0), -x)
    s, t = _sigmoid(x), _sigmoid(-x)
    hard = (yes == 0) | (no == 0)
    by_x = no * s - yes * t
    if pos_weight is None:
        by_y = _plain(-x)
    else:
        by_y = Part(_times(weight, down) - up, np.abs(_times(weight, down)) + up)
    return {
        "value": _plain(_times(yes, down) + _times(no, up)),
        "x": Part(by_x, np.where(hard, np.abs(by_x), np.abs(no * s) + np.abs(yes * t))),
        "y": by_y,
        "curvature": _plain((no + yes) * s * t),
    }


def sigmoid_focal(x: Array, y: Array, *, alpha: float | None, gamma: float, ulp: float) -> Parts:
    g, no = L(gamma), 1 - y
    s, t = _sigmoid(x), _sigmoid(-x)
    c = _times(y, np.logaddexp(L(0), -x)) + _times(no, np.logaddexp(L(0), x))
    q, lean = y * t + no * s, -np.tanh(x / 2)
    a = np.ones_like(x) if alpha is None else L(alpha) * y + (1 - L(alpha)) * no
    a1 = L(0) if alpha is None else 2 * L(alpha) - 1
    q1, q2 = (1 - 2 * y) * s * t, (1 - 2 * y) * s * t * lean
    c1, c2, c1_size = no * s - y * t, s * t, no * s + y * t
    gone = q == 0
    root = np.where(gone, L(1), q)

    def power(exponent: Any) -> Array:
        # Every product with a negative power of q has a factor that vanishes faster.
        return np.where(gone, L(exponent == 0), root**exponent)

    zero = np.zeros_like(q)
    first = g * power(g - 1) if gamma else zero
    second = g * (g - 1) * power(g - 2) if gamma not in (0, 1) else zero
    whole = power(g)
    x_term, y_terms = (
        (_times(first * q1, c), whole * c1),
        (_times(a1, _times(whole, c)), a * _times(first * lean, c), -a * _times(whole, x)),
    )
    bends = (
        _times(second * q1**2, c),
        _times(first * q2, c),
        2 * first * q1 * c1,
        whole * c2,
    )
    by_x, bend = a * (x_term[0] + x_term[1]), a * sum(bends)
    size_x = np.abs(a) * (np.abs(x_term[0]) + whole * c1_size)
    parts = {
        "value": _plain(a * _times(whole, c)),
        "x": Part(by_x, size_x),
        "y": Part(sum(y_terms), sum([np.abs(term) for term in y_terms])),
        # Powers of q may leave even this range.
        "curvature": Part(
            bend,
            np.abs(a)
            * (
                np.abs(bends[0])
                + np.abs(_times(first * q1, c))
                + 2 * np.abs(first * q1) * c1_size
                + np.abs(bends[3])
            ),
            np.isnan(bend) & ~np.isnan(x + y),
        ),
    }
    return _wider(parts, _exponent_care(q, gamma, ulp))


def hinge(x: Array, y: Array, *, ulp: float) -> Parts:
    short, size = 1 - y * x, 1 + np.abs(y * x)
    zero = np.zeros_like(short)
    edge = (np.abs(short) <= 4 * ulp * size) & (y * x != 1)
    by_x = np.where(np.isnan(short), short, np.where(short > 0, -y, zero))
    by_y = np.where(np.isnan(short), short, np.where(short > 0, -x, zero))
    return {
        "value": Part(np.maximum(short, 0), np.where(short > 0, size, zero), edge & (short < 0)),
        "x": Part(by_x, np.abs(by_x), edge),
        "y": Part(by_y, np.abs(by_y), edge),
        "curvature": _plain(zero),
    }


def squared_hinge(x: Array, y: Array, *, ulp: float) -> Parts:
    raw, size = 1 - y * x, 1 + np.abs(y * x)
    short = np.maximum(raw, 0)
    edge = (np.abs(raw) <= 4 * ulp * size) & (y * x != 1)
    by_y = -2 * _times(short, x)
    # The sum 1 - y x is off by ulp * size, its square by twice that times itself, and its square.
    return {
        "value": Part(short**2, 2 * short * size + 8 * ulp * np.where(edge, size, 0) ** 2),
        "x": Part(-2 * y * short, 2 * np.abs(y) * np.where(edge | (short > 0), size, 0)),
        "y": Part(by_y, 2 * np.abs(np.where(edge | (short > 0), x * size, 0))),
        "curvature": Part(np.where(raw > 0, 2 * y**2, L(0)), 2 * y**2, edge),
    }


def soft_margin(x: Array, y: Array, *, ulp: float) -> Parts:
    u = y * x
    s, t = _sigmoid(u), _sigmoid(-u)
    # Only for y of -1 and 1 is the product exact: else its rounding is in an exponent.
    care = np.where(np.abs(y) == 1, L(1), 1 + np.minimum(np.abs(u), L(20000)))
    value, by_x, by_y, bend = np.logaddexp(L(0), -u), -y * t, -_times(t, x), y**2 * s * t
    return {
        name: Part(part, np.abs(part) * care)
        for name, part in (("value", value), ("x", by_x), ("y", by_y), ("curvature", bend))
    }


# -------------------------------------------------------------------------- rows of classes


def without_each(v: Array) -> Array:
    """Return the sum over all other classes, for each class, as sums to its left and right."""
    total = np.zeros_like(v)
    total[..., 1:] += np.cumsum(v, axis=-1)[..., :-1]
    total[..., :-1] += np.cumsum(v[..., ::-1], axis=-1)[..., ::-1][..., 1:]
    return total


def distribution(x: Array) -> tuple[Array, Array, Array]:
    """Return log-probabilities, probabilities and what each leaves to the others."""
    m = np.max(x, axis=-1, keepdims=True)
    d = x - m
    e = np.exp(d)
    rest = np.take_along_axis(without_each(e), np.argmax(x, axis=-1)[..., None], -1)
    z = 1 + rest
    # log(1 + rest), of which log(sum) would keep nothing where one class is almost certain.
    return d - np.log1p(rest), e / z, without_each(e) / z


def _pull(p: Array, complement: Array, q: Array) -> tuple[Array, Array]:
    """Return p sum(q) - q, each class without its own share of the two terms, and its size."""
    by_x = p * without_each(q) - q * complement
    hard = np.sum(q != 0, axis=-1, keepdims=True) <= 1
    total = np.sum(np.abs(q), axis=-1, keepdims=True)
    return by_x, np.where(hard, np.abs(by_x), p * total + np.abs(q))


def _class_weights(y: Array, class_weight: Array | None) -> Array:
    return np.ones_like(y) if class_weight is None else np.broadcast_to(class_weight, y.shape)


def cross_entropy(
    x: Array, y: Array, *, class_weight: Array | None, label_smoothing: float, ulp: float
) -> Parts:
    log_p, p, complement = distribution(x)
    weights, s = _class_weights(y, class_weight), L(label_smoothing)
    possible = x > -np.inf
    count = np.maximum(np.sum(possible, axis=-1, keepdims=True), 1)
    # Without an `if` the sum of y and a share of 0 would turn an exact row into a soft one.
    spread = np.where(possible, s / count, L(0)) if label_smoothing else L(0)
    q = weights * ((1 - s) * y + spread)
    by_x, size_x = _pull(p, complement, q)
    mass = np.sum(q, axis=-1, keepdims=True)
    absent = ~possible & (q == 0)
    by_y = np.where(absent, L(0), -(1 - s) * _times(weights, log_p))
    nan = np.isnan(log_p).any(axis=-1)
    terms = -_times(q, log_p)
    size = np.sum(np.abs(terms), axis=-1)
    return {
        "value": Part(np.where(nan, L(np.nan), np.sum(terms, axis=-1)), size),
        "x": Part(by_x, size_x),
        "y": _plain(by_y),
        "curvature": _plain(mass * p * complement),
    }


def nll(x: Array, y: Array, *, class_weight: Array | None, ulp: float) -> Parts:
    q = y * _class_weights(y, class_weight)
    return {
        "value": _plain(-np.sum(_times(q, x), axis=-1)),
        "x": _plain(-q),
        "curvature": _plain(np.zeros_like(x)),
    }


def softmax_focal(
    x: Array, y: Array, *, class_weight: Array | None, gamma: float, ulp: float
) -> Parts:
    log_p, p, q = distribution(x)
    c, g = -log_p, L(gamma)
    weights = _class_weights(y, class_weight)
    w = y * weights
    gone = q == 0
    root = np.where(gone, L(1), q)

    def power(exponent: Any) -> Array:
        return np.where(gone, L(exponent == 0), root**exponent)

    pc = _times(p, np.where(p == 0, L(0), c))
    ones = np.ones_like(p)
    slope = power(g) + (g * power(g - 1) * pc if gamma else 0 * ones)
    f = _times(power(g), c)
    bends = (
        2 * g * power(g - 1) * p if gamma else 0 * ones,
        g * (g - 1) * power(g - 2) * p * pc if gamma not in (0, 1) else 0 * ones,
        -g * power(g - 1) * pc if gamma else 0 * ones,
    )
    bend, bend_size = sum(bends), sum([np.abs(each) for each in bends])
    pull, pull_size = _pull(p, q, w * slope)
    # The slope of c_k by x_j is p_j, less 1 for k = j.
    others = without_each(w * bend) * p**2 + w * bend * q**2
    others_size = without_each(np.abs(w) * bend_size) * p**2 + np.abs(w) * bend_size * q**2
    spread = np.sum(w * slope, axis=-1, keepdims=True) * p * q
    nan: Any = np.isnan(log_p).any(axis=-1)
    absent = (x == -np.inf) & (y == 0)
    # Powers of what is left to the others may leave even this range.
    bent = others + spread
    unsettled = np.isnan(bent) & ~nan[..., None]
    parts = {
        "value": _plain(np.where(nan, L(np.nan), np.sum(_times(w, f), axis=-1))),
        "x": Part(pull, pull_size),
        "y": _plain(np.where(absent, L(0), _times(weights, f))),
        "curvature": Part(bent, others_size + np.abs(spread), unsettled),
    }
    care = np.where(w != 0, _exponent_care(q, gamma, ulp), L(1))
    return _wider(parts, np.max(care, axis=-1, keepdims=True))


def kl_div(x: Array, y: Array, *, log_target: bool, ulp: float) -> Parts:
    p = np.exp(y) if log_target else y
    log = y if log_target else np.log(np.where(y == 0, L(1), y))
    # With log_target the difference comes first, exactly rounded; else two logarithms meet.
    gap = np.abs(log - x) if log_target else np.abs(log) + np.abs(x)
    zero = p == 0
    by_y = np.where(zero, L(0), (p if log_target else 1) * (log - x + 1))
    size_y = np.where(zero, L(0), (p if log_target else 1) * (gap + 1))
    return {
        "value": Part(np.sum(_times(p, log - x), axis=-1), np.sum(_times(p, gap), axis=-1)),
        "x": _plain(-p),
        "y": Part(by_y, size_y),
        "curvature": _plain(np.zeros_like(x)),
    }


def _lost(a: Array, b: Array, d: Array) -> Array:
    """Return what rounding took from d, the difference a - b (Knuth's TwoSum)."""
    u = d - a
    return np.asarray((a - (d - u)) - (b + u))


def _from(row: Array, reference: Array) -> tuple[Array, Array]:
    """Return row - reference as two numbers whose sum is exact."""
    d = row - reference
    return d, np.where(np.isfinite(d), _lost(row, reference, d), L(0))


def kl_div_with_logits(x: Array, y: Array, *, ulp: float) -> Parts:
    log_q, q, complement = distribution(x)
    log_p, p, _ = distribution(y)
    live = y > -np.inf
    # log q - log p = d - log sum p exp(d), d = x - y up to a constant: exact for close logits.
    at = np.argmax(y, axis=-1)[..., None]
    (dx, rx), (dy, ry) = [_from(row, np.take_along_axis(row, at, -1)) for row in (x, y)]
    gap, rest, more = dx - dy, *_from(rx, ry)
    d = gap + ((_lost(dx, dy, gap) + more) + rest)
    d = np.where(live, np.where(np.isfinite(gap), d, gap), -L(np.inf))
    small = np.abs(d) < 1
    # What y excludes adds what x gives it, over what x gives the reference.
    far = np.exp(dx + np.take_along_axis(log_p, at, -1)) - p
    moved = np.where(live & small, p * np.expm1(np.where(small, d, 0)), far)
    shift = np.sum(moved, axis=-1, keepdims=True)
    usable = np.isfinite(shift) & (np.abs(shift) < 0.5)
    ratio = np.where(
        usable, d - np.log1p(np.where(usable, shift, 0)), log_q - np.where(live, log_p, L(0))
    )
    ratio = np.where(live, ratio, L(0))
    impossible = live & (x == -np.inf)
    bounded = np.where(impossible, L(0), ratio)
    near = (np.abs(bounded) < 0.05) & ~impossible
    r = np.where(near, bounded, L(0))
    series = np.ones_like(r)
    for n in range(14, 2, -1):
        series = 1 + r / n * series
    series = r**2 / 2 * series
    # sum p (exp(r) - 1 - r) is sum -p r, since both distributions have sum 1: nothing cancels.
    direct = (q - p) - _times(p, bounded)
    terms = np.where(live, np.where(near, p * series, direct), q)
    nan: Any = np.isnan(log_q).any(axis=-1) | np.isnan(log_p).any(axis=-1)
    infinite = impossible.any(axis=-1)  # whatever p is: it is above 0, however small
    value = np.where(infinite, L(np.inf), np.sum(terms, axis=-1))
    value = np.where(nan, L(np.nan), value)
    by_y = _times(p, -ratio - value[..., None])
    sizes = _times(p, np.abs(np.where(live, log_p, 0)) + np.abs(np.where(live, log_q, 0)) + 1)
    # A subnormal p has few digits, and log p - log q may be as large as the logits.
    # Logits about as far apart as the largest number count as infinitely far.
    apart = (log_q < -1 / _least_normal(ulp)).any(axis=-1)
    faint = (infinite | nan | apart)[..., None] | ((p > 0) & (p < _least_normal(ulp)))
    by_x = np.where(near & live, p * np.expm1(r), q - p)
    return {
        "value": Part(value, np.abs(value), nan),
        "x": Part(by_x, p + q, nan[..., None] | np.zeros(x.shape, bool)),
        "y": Part(by_y, sizes, faint),
        "curvature": _plain(q * complement),
    }


def _js_slope(x: Array, y: Array, s: Array) -> Array:
    tilt = (x - y) / np.where(s == 0, 1, s)
    near = tilt > -0.5
    share = np.where(near, L(1), 2 * x / np.where(s == 0, 1, s))
    return np.where(near, np.log1p(np.where(near, tilt, 0)), np.log(share)) / 2


def js_div(x: Array, y: Array, *, ulp: float) -> Parts:
    s = np.where((x < 0) | (y < 0), L(np.nan), x + y)
    t = np.abs(x - y) / np.where(s == 0, L(1), s)
    # (1 - t) log(1 - t) + (1 + t) log(1 + t), by its series where the two cancel.
    small = np.where(t < 0.05, t, L(0))
    series = sum([small ** (2 * k) / (k * (2 * k - 1)) for k in range(1, 9)])
    direct = _times(1 - t, np.log1p(-np.where(t < 1, t, 0))) + (1 + t) * np.log1p(t)
    by_x, by_y = _js_slope(x, y, s), _js_slope(y, x, s)
    none = s == 0
    bend = y / np.where(none, 1, 2 * x * s)
    return {
        "value": _plain(np.sum(s / 4 * np.where(t < 0.05, series, direct), axis=-1)),
        "x": _plain(by_x),
        "y": _plain(by_y),
        "curvature": Part(bend, np.abs(bend), (x == 0) & (y == 0)),
    }


LOSSES: dict[str, Callable[..., Parts]] = {
    function.__name__: function
    for function in (
        mse, mae, huber, smooth_l1, log_cosh, quantile, msle, mape, poisson_nll, gaussian_nll,
        binary_cross_entropy, binary_cross_entropy_with_logits, sigmoid_focal, hinge,
        squared_hinge, soft_margin, cross_entropy, nll, softmax_focal, kl_div,
        kl_div_with_logits, js_div,
    )
}  # fmt: skip

ROWWISE = frozenset(
    {"cross_entropy", "nll", "softmax_focal", "kl_div", "kl_div_with_logits", "js_div"}
)
BINARY = frozenset({"binary_cross_entropy", "binary_cross_entropy_with_logits", "sigmoid_focal"})
SIGNED = frozenset({"hinge", "squared_hinge", "soft_margin"})


# -------------------------------------------------------------------------------- activations


def _logsumexp(x: Array) -> Part:
    m = np.max(x, axis=-1)
    shifted = np.where(np.isfinite(m), m, L(0))[..., None]
    rest = np.take_along_axis(
        without_each(np.exp(x - shifted)), np.argmax(x, axis=-1)[..., None], -1
    )
    log = np.log1p(rest[..., 0])
    return Part(np.where(np.isinf(m), m, shifted[..., 0] + log), np.abs(m) + log)


ACTIVATIONS: dict[str, Callable[[Array], Part]] = {
    "log_softmax": lambda x: _plain(distribution(x)[0]),
    "softmax": lambda x: _plain(distribution(x)[1]),
    "logsumexp": _logsumexp,
    "softplus": lambda x: _plain(np.logaddexp(L(0), x)),
    "log_sigmoid": lambda x: _plain(-np.logaddexp(L(0), -x)),
}
