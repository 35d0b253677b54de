"""Losses of rows of classes as textbooks have them: see `tests.soak.formulas`."""

from typing import Any

import numpy as np

from tests.soak.parts import Array, L, Part, Parts, exponent_care, least_normal, plain, times, wider


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


def _spread(x: Array, y: Array, label_smoothing: float) -> Array:
    """Return targets of which a share is spread over the possible classes."""
    possible, s = x > -np.inf, L(label_smoothing)
    count = np.maximum(np.sum(possible, axis=-1, keepdims=True), 1)
    # Without an `if` the sum of y and a share of 0 would turn an exact row into a soft one.
    spread = np.where(possible, s / count, L(0)) if label_smoothing else L(0)
    return np.asarray((1 - s) * y + spread)


def _apart(log_p: Array, ulp: float) -> Array:
    """Return where logits are about as far apart as the largest number: they count as infinite."""
    return np.asarray((log_p < -1 / least_normal(ulp)) & (log_p > -np.inf))


def cross_entropy(
    x: Array, y: Array, *, class_weight: Array | None, label_smoothing: float, ulp: float
) -> Parts:
    log_p, p, complement = distribution(x)
    weights, s = _class_weights(y, class_weight), L(label_smoothing)
    possible = x > -np.inf
    q = weights * _spread(x, y, label_smoothing)
    by_x, size_x = _pull(p, complement, q)
    mass = np.sum(q, axis=-1, keepdims=True)
    absent = ~possible & (q == 0)
    by_y = np.where(absent, L(0), -(1 - s) * times(weights, log_p))
    nan = np.isnan(log_p).any(axis=-1)
    terms = -times(q, log_p)
    size, apart = np.sum(np.abs(terms), axis=-1), _apart(log_p, ulp)
    far = (apart & (q != 0)).any(axis=-1)
    return {
        "value": Part(np.where(nan, L(np.nan), np.sum(terms, axis=-1)), size, far),
        "x": Part(by_x, size_x),
        "y": Part(by_y, np.abs(by_y), apart),
        "curvature": plain(mass * p * complement),
    }


def nll(x: Array, y: Array, *, class_weight: Array | None, ulp: float) -> Parts:
    q = y * _class_weights(y, class_weight)
    return {
        "value": plain(-np.sum(times(q, x), axis=-1)),
        "x": plain(-q),
        "curvature": plain(np.zeros_like(x)),
    }


def softmax_focal(
    x: Array,
    y: Array,
    *,
    class_weight: Array | None,
    gamma: float,
    label_smoothing: float = 0.0,
    ulp: float,
) -> Parts:
    log_p, p, q = distribution(x)
    y = _spread(x, y, label_smoothing)
    c, g = -log_p, L(gamma)
    weights = _class_weights(y, class_weight)
    w = y * weights
    gone = q == 0
    root = np.where(gone, L(1), q)

    def power(exponent: Any) -> Array:
        return np.where(gone, L(exponent == 0), root**exponent)

    pc = times(p, np.where(p == 0, L(0), c))
    ones = np.ones_like(p)
    slope = power(g) + (g * power(g - 1) * pc if gamma else 0 * ones)
    f = times(power(g), c)
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
    value = np.where(nan, L(np.nan), np.sum(times(w, f), axis=-1))
    by_y = np.where(absent, L(0), (1 - L(label_smoothing)) * times(weights, f))
    apart = _apart(log_p, ulp)
    parts = {
        "value": Part(value, np.abs(value), (apart & (w != 0)).any(axis=-1)),
        "x": Part(pull, pull_size),
        "y": Part(by_y, np.abs(by_y), apart),
        "curvature": Part(bent, others_size + np.abs(spread), unsettled),
    }
    care = np.where(w != 0, exponent_care(q, gamma, ulp), L(1))
    return wider(parts, np.max(care, axis=-1, keepdims=True))


def kl_div(x: Array, y: Array, *, log_target: bool, ulp: float) -> Parts:
    p = np.exp(y) if log_target else y
    log = y if log_target else np.log(np.where(y == 0, L(1), y))
    # With log_target the difference comes first, exactly rounded; else two logarithms meet.
    gap = np.abs(log - x) if log_target else np.abs(log) + np.abs(x)
    zero = p == 0
    by_y = np.where(zero, L(0), (p if log_target else 1) * (log - x + 1))
    size_y = np.where(zero, L(0), (p if log_target else 1) * (gap + 1))
    return {
        "value": Part(np.sum(times(p, log - x), axis=-1), np.sum(times(p, gap), axis=-1)),
        "x": plain(-p),
        "y": Part(by_y, size_y),
        "curvature": plain(np.zeros_like(x)),
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
    direct = (q - p) - times(p, bounded)
    terms = np.where(live, np.where(near, p * series, direct), q)
    nan: Any = np.isnan(log_q).any(axis=-1) | np.isnan(log_p).any(axis=-1)
    infinite = impossible.any(axis=-1)  # whatever p is: it is above 0, however small
    value = np.where(infinite, L(np.inf), np.sum(terms, axis=-1))
    value = np.where(nan, L(np.nan), value)
    by_y = times(p, -ratio - value[..., None])
    sizes = times(p, np.abs(np.where(live, log_p, 0)) + np.abs(np.where(live, log_q, 0)) + 1)
    # A subnormal p has few digits, and log p - log q may be as large as the logits.
    # Logits about as far apart as the largest number count as infinitely far.
    apart = (log_q < -1 / least_normal(ulp)).any(axis=-1)
    faint = (infinite | nan | apart)[..., None] | ((p > 0) & (p < least_normal(ulp)))
    by_x = np.where(near & live, p * np.expm1(r), q - p)
    return {
        "value": Part(value, np.abs(value), nan | apart),
        "x": Part(by_x, p + q, nan[..., None] | np.zeros(x.shape, bool)),
        "y": Part(by_y, sizes, faint),
        "curvature": plain(q * complement),
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
    direct = times(1 - t, np.log1p(-np.where(t < 1, t, 0))) + (1 + t) * np.log1p(t)
    by_x, by_y = _js_slope(x, y, s), _js_slope(y, x, s)
    none = s == 0
    bend = y / np.where(none, 1, 2 * x * s)
    return {
        "value": plain(np.sum(s / 4 * np.where(t < 0.05, series, direct), axis=-1)),
        "x": plain(by_x),
        "y": plain(by_y),
        "curvature": Part(bend, np.abs(bend), (x == 0) & (y == 0)),
    }


def logsumexp(x: Array) -> Part:
    m = np.max(x, axis=-1)
    shifted = np.where(np.isfinite(m), m, L(0))[..., None]
    rest = np.take_along_axis(
        without_each(np.exp(x - shifted)), np.argmax(x, axis=-1)[..., None], -1
    )
    log = np.log1p(rest[..., 0])
    return Part(np.where(np.isinf(m), m, shifted[..., 0] + log), np.abs(m) + log)
