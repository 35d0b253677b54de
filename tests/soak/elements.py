"""Losses of elements as textbooks have them: see `tests.soak.formulas`."""

from typing import Any

import numpy as np

from tests.soak.parts import (
    LOG2,
    TWO_PI,
    Array,
    L,
    Part,
    Parts,
    exponent_care,
    least_normal,
    plain,
    times,
    wider,
)


def mse(x: Array, y: Array, *, ulp: float) -> Parts:
    d = x - y
    return {
        "value": plain(d**2),
        "x": plain(2 * d),
        "y": plain(-2 * d),
        "curvature": plain(np.full_like(d, 2)),
    }


def mae(x: Array, y: Array, *, ulp: float) -> Parts:
    d = x - y
    return {
        "value": plain(np.abs(d)),
        "x": plain(np.sign(d)),
        "y": plain(-np.sign(d)),
        "curvature": plain(np.zeros_like(d)),
    }


def huber(x: Array, y: Array, *, delta: float, ulp: float) -> Parts:
    d, delta_ = x - y, L(delta)
    a = np.abs(d)
    bend = Part(
        np.where(a <= delta_, L(1), L(0)), np.ones_like(a), np.abs(a - delta_) <= 4 * ulp * delta_
    )
    return {
        "value": plain(np.where(a <= delta_, d**2 / 2, delta_ * (a - delta_ / 2))),
        "x": plain(np.clip(d, -delta_, delta_)),
        "y": plain(-np.clip(d, -delta_, delta_)),
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
        "value": plain(value),
        "x": plain(np.tanh(d)),
        "y": plain(-np.tanh(d)),
        # The rounding of d, |d| eps / 2, is in the exponent of a tail exp(-2 |d|).
        "curvature": Part(bend, bend * (1 + a)),
    }


def quantile(x: Array, y: Array, *, q: float | Array, ulp: float) -> Parts:
    d, q_ = y - x, L(q)
    slope = np.where(d > 0, -q_, np.where(d < 0, 1 - q_, d))
    return {
        "value": plain(np.maximum(q_ * d, (q_ - 1) * d)),
        "x": plain(slope),
        "y": plain(-slope),
        "curvature": plain(np.zeros_like(d)),
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
    lost = (x != 0) & (np.abs(ratio) < least_normal(ulp))
    return {
        "value": plain(np.abs(d) / size),
        "x": plain(np.sign(d) / size),
        "y": Part(by_y, np.abs(by_y), lost | (np.abs(np.abs(y) - eps_) <= 4 * ulp * eps_)),
        "curvature": plain(np.zeros_like(d)),
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
        rate, cross = np.exp(x), times(y, x)
        value, size = rate - cross, rate + np.abs(cross)
        by_x, size_x, by_y, size_y, bend = rate - y, rate + y, -x, np.abs(x), rate
    else:
        large, small = np.maximum(x, L(eps)), np.minimum(x, L(eps))
        # x + eps is not a number of the dtype: its logarithm is a sum of two.
        first, more = np.log(large), np.log1p(small / np.where(large == 0, 1, large))
        log, size_y = first + more, np.abs(first) + more
        value, size = x - times(y, log), x + times(y, size_y)
        share = np.where(y == 0, L(0), y / (x + L(eps)))
        by_x, size_x, by_y = 1 - share, 1 + share, -log
        bend = np.where(y == 0, L(0), share / (x + L(eps)))
    if full:
        a, b, c, e = _stirling(y)
        value, size, by_y, size_y = value + a, size + b, by_y + c, size_y + e
    # y / rate is rounded before the other division may make it larger.
    lost = (y > 0) & (y / (1 if log_input else x + L(eps)) < least_normal(ulp)) & (not log_input)
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
        "x": plain(d / v),
        "y": plain(-d / v),
        "var": Part(by_var, (1 / v + (d / v) ** 2) / 2, np.abs(var - eps) <= 4 * ulp * eps),
        "curvature": plain(1 / v + np.zeros_like(d)),
    }


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def _of_smoothed(y: Array, label_smoothing: float) -> tuple[Array, Array, Any]:
    """Return the target that stands for y, what it leaves to the other side, its slope by y."""
    kept, half = 1 - L(label_smoothing), L(label_smoothing) / 2
    return kept * y + half, kept * (1 - y) + half, kept


def _by_y(parts: Parts, slope: Any) -> Parts:
    """Return parts whose derivative by y is that by a target with this slope."""
    exact, size, unsettled = parts["y"]
    return parts | {"y": Part(slope * exact, slope * size, unsettled)}


def binary_cross_entropy(
    x: Array, y: Array, *, eps: float, label_smoothing: float = 0.0, ulp: float
) -> Parts:
    # The target is close to p where y is, or about as far as what is smoothed.
    beyond = (1 - L(label_smoothing)) * (x - y) + L(label_smoothing) * (x - 0.5)
    y, no, slope = _of_smoothed(y, label_smoothing)
    p, eps_ = np.where((x < 0) | (x > 1), L(np.nan), x), L(eps)
    a, b = np.maximum(p, eps_), np.maximum(1 - p, eps_)
    log_a = np.log(a)
    log_b = np.where(1 - p >= eps_, np.log1p(-np.where(p < 1, p, 0)), np.log(eps_))
    floored = (p < eps_) | (1 - p < eps_)
    terms = no / b - y / a
    soft = np.where(floored, terms, beyond / (a * b))
    by_x = np.where(y == 0, 1 / b, np.where(y == 1, -1 / a, soft))
    size_x = np.where(floored, np.abs(no / b) + np.abs(y / a), np.abs(by_x))
    # At an edge of the floor the two forms meet, and rounding picks one.
    edge = np.abs(np.minimum(p, 1 - p) - eps_) <= 8 * ulp * np.maximum(eps_, ulp)
    edge = edge | (label_smoothing > 0)  # the target is rounded before
    size_x = np.where(edge, np.abs(no / b) + np.abs(y / a), size_x)
    parts = {
        "value": Part(-y * log_a - no * log_b, np.abs(y * log_a) + np.abs(no * log_b)),
        "x": Part(by_x, size_x),
        "y": Part(log_b - log_a, np.abs(log_a) + np.abs(log_b)),
        "curvature": Part(y / a**2 + no / b**2, np.abs(y / a**2) + np.abs(no / b**2)),
    }
    return _by_y(parts, slope)


def binary_cross_entropy_with_logits(
    x: Array, y: Array, pos_weight: Array | None = None, *, label_smoothing: float = 0.0, ulp: float
) -> Parts:
    y, no, slope = _of_smoothed(y, label_smoothing)
    weight = L(1) if pos_weight is None else pos_weight
    yes = weight * y
    up, down = np.logaddexp(L(0), x), np.logaddexp(L(0), -x)
    s, t = _sigmoid(x), _sigmoid(-x)
    hard = (yes == 0) | (no == 0)
    by_x = no * s - yes * t
    if pos_weight is None:
        by_y = plain(-x)
    else:
        by_y = Part(times(weight, down) - up, np.abs(times(weight, down)) + up)
    parts = {
        "value": plain(times(yes, down) + times(no, up)),
        "x": Part(by_x, np.where(hard, np.abs(by_x), np.abs(no * s) + np.abs(yes * t))),
        "y": by_y,
        "curvature": plain((no + yes) * s * t),
    }
    return _by_y(parts, slope)


def sigmoid_focal(
    x: Array,
    y: Array,
    *,
    alpha: float | None,
    gamma: float,
    label_smoothing: float = 0.0,
    ulp: float,
) -> Parts:
    y, no, slope = _of_smoothed(y, label_smoothing)
    g = L(gamma)
    s, t = _sigmoid(x), _sigmoid(-x)
    c = times(y, np.logaddexp(L(0), -x)) + times(no, np.logaddexp(L(0), x))
    q, lean = y * t + no * s, -np.tanh(x / 2)
    a = np.ones_like(x) if alpha is None else L(alpha) * y + (1 - L(alpha)) * no
    a1 = L(0) if alpha is None else 2 * L(alpha) - 1
    q1, q2 = (no - y) * s * t, (no - y) * s * t * lean
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
        (times(first * q1, c), whole * c1),
        (times(a1, times(whole, c)), times(a, times(first * lean, c)), -times(a, times(whole, x))),
    )
    bends = (
        times(second * q1**2, c),
        times(first * q2, c),
        2 * first * q1 * c1,
        whole * c2,
    )
    # alpha is 0 or 1: an infinite item of weight 0 contributes nothing.
    by_x, bend = times(a, x_term[0] + x_term[1]), times(a, sum(bends))
    size_x = np.abs(a) * (np.abs(x_term[0]) + whole * c1_size)
    parts = {
        "value": plain(times(a, times(whole, c))),
        "x": Part(by_x, size_x),
        # A power that is subnormal, or 0, may be what a huge x multiplies.
        "y": Part(
            sum(y_terms),
            sum([np.abs(term) for term in y_terms]),
            (whole < least_normal(ulp)) & (np.abs(x) > 1e3) | np.isinf(x),
        ),
        # Powers of q may leave even this range.
        "curvature": Part(
            bend,
            np.abs(a)
            * (
                np.abs(bends[0])
                + np.abs(times(first * q1, c))
                + 2 * np.abs(first * q1) * c1_size
                + np.abs(bends[3])
            ),
            np.isnan(bend) & ~np.isnan(x + y),
        ),
    }
    return wider(_by_y(parts, slope), exponent_care(q, gamma, ulp))


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
        "curvature": plain(zero),
    }


def squared_hinge(x: Array, y: Array, *, ulp: float) -> Parts:
    raw, size = 1 - y * x, 1 + np.abs(y * x)
    short = np.maximum(raw, 0)
    edge = (np.abs(raw) <= 4 * ulp * size) & (y * x != 1)
    by_y = -2 * times(short, x)
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
    value, by_x, by_y, bend = np.logaddexp(L(0), -u), -y * t, -times(t, x), y**2 * s * t
    return {
        name: Part(part, np.abs(part) * care)
        for name, part in (("value", value), ("x", by_x), ("y", by_y), ("curvature", bend))
    }
