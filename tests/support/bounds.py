"""How far off a loss may be.

Where a result passes through 0 between terms of opposite sign, its bound is absolute, in eps of the
sum of the magnitudes of these terms. The functions here give that sum, from the numbers of an item.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.definitions import Exact, smoothed
from tests.support.jets import Jet, exp, mp
from tinyloss.cli.cards import Promise
from tinyloss.cli.definitions import capped


@dataclass(frozen=True)
class Bound:
    """How far off the results of a loss may be, in eps of its compute dtype."""

    promised: Mapping[str, Promise]
    """What its docstring says of each result."""
    underflow: float = 0.0
    """Smallest subnormal numbers of absolute error that do not count.

    For products whose small factor is subnormal before the large one multiplies it: p^2 log p.
    """
    scale: Callable[..., dict[str, Any]] | None = None
    """The sum of magnitudes, where a bound is absolute: from the numbers of one item, by result.

    0 where terms of one sign are added: there the bound is relative.
    """

    def eps(self, what: str, gamma: float = 2.0) -> float:
        """Return the bound of a result: value, x, y, var or curvature; 0 is exact."""
        promise = self.promised[what]
        return promise.eps + promise.per_gamma * gamma


def log_cosh(x: Any, y: Any) -> dict[str, Any]:
    # sech^2 decays like exp(-2|d|): a rounded d is off by |d| eps/2.
    d = abs(x - y)
    e = exp(-2 * d)
    return {"curvature": 4 * e / (1 + e) ** 2 * (1 + d)}


def barron(x: Any, y: Any, *, alpha: Any = 1.0, scale: Any = 1.0) -> dict[str, Any]:
    # A rounded z moves log k = -(1 - alpha / 2) log(1 + z^2 / b) by so many eps.
    square, b = (mp.mpf(x - y) / scale) ** 2, 2 - mp.mpf(alpha)
    t = square / b if b else mp.zero
    bent = 1 + b / 2 * mp.log1p(t)
    k = exp(1 - bent)
    if abs(alpha) < 2.0**-100:
        value = mp.log1p(square / 2)
    elif b == 0:
        value = square / 2
    else:
        value = b / alpha * mp.expm1(mp.mpf(alpha) / 2 * mp.log1p(t))
    slopes = bent * abs(mp.mpf(x - y)) / scale**2 * k
    terms = (1 + abs(alpha - 1) * t) / (1 + t) if b else 1
    return {
        "value": value * bent,
        "x": slopes,
        "y": slopes,
        "curvature": bent * k / scale**2 * terms,
    }


def epsilon_insensitive(x: Any, y: Any, *, epsilon: Any = 0.1) -> dict[str, Any]:
    return {"value": abs(x - y) + epsilon}


def squared_epsilon_insensitive(x: Any, y: Any, *, epsilon: Any = 0.1) -> dict[str, Any]:
    size = abs(x - y) + epsilon
    return {"value": size**2, "x": 2 * size, "y": 2 * size}


def wing(x: Any, y: Any, *, epsilon: Any = 2.0, width: Any = 10.0) -> dict[str, Any]:
    size = abs(x - y)
    near = width * mp.log1p(mp.mpf(min(size, width)) / epsilon)
    return {"value": 0 if size < width else 2 * size - width + near}


def msle(x: Any, y: Any) -> dict[str, Any]:
    if x <= -1 or y <= -1:
        return {"curvature": 0}
    return {"curvature": 2 * (1 + abs(mp.log1p(x) - mp.log1p(y))) / (1 + x) ** 2}


def mape(x: Any, y: Any, *, eps: Any = 2.0**-52) -> dict[str, Any]:
    return {"y": 0 if abs(y) < eps else 1 / abs(y) + abs(x - y) / y**2}


def poisson_nll(
    x: Any, y: Any, *, log_input: bool = True, full: bool = False, eps: Any = 1e-8
) -> dict[str, Any]:
    if log_input:
        terms, slope, by_y = exp(x) + abs(x * y), exp(x) + y, abs(x)
    else:
        # log(x + eps) as log a + log1p(b / a): x + eps itself is not a floating-point number.
        above, below = max(x, eps), min(x, eps)
        log = abs(mp.log(above)) + mp.log1p(mp.mpf(below) / above)
        terms, slope, by_y = x + y * log, 1 + y / (x + eps), log
    if full and y > 1:
        terms += y * mp.log(y) + y + mp.log(2 * mp.pi * y) / 2
        by_y += mp.log(y) + 1 / (2 * y)
    return {"value": terms, "x": slope, "y": by_y}


def gamma_deviance(x: Any, y: Any, *, log_input: bool = True) -> dict[str, Any]:
    if y <= 0 or (not log_input and x <= 0):
        return {"value": 0, "x": 0, "y": 0, "curvature": 0}
    if not log_input:
        return {"value": 0, "x": 0, "y": 0, "curvature": (4 * mp.mpf(y) / x + 2) / x**2}
    sizes = abs(x) + abs(mp.log(y))
    u = mp.log(y) - x
    r = exp(u)
    value = 2 * (r - 1 - u) + abs(1 - r) * sizes
    slope = 2 * abs(1 - r) + (2 * r * sizes if abs(u) < 2 else 0)
    return {"value": value, "x": slope, "y": slope / y, "curvature": 0}


def tweedie_deviance(x: Any, y: Any, *, log_input: bool = True, power: Any = 1.5) -> dict[str, Any]:
    """Sums of magnitudes, times what rounded powers and logarithms move these by."""
    if y < 0 or (not log_input and x <= 0) or (y == 0 and power >= 2):
        return {"value": 0, "x": 0, "y": 0, "curvature": 0}
    a, b = 2 - mp.mpf(power), 1 - mp.mpf(power)
    log = x if log_input else mp.log(x)
    moved = 1 + abs(log) + (abs(mp.log(y)) if y else 0)
    m_a, m_b = mp.exp(a * log), mp.exp(b * log)
    slope = abs(y * m_b - m_a)
    value = Exact("tweedie_deviance").value(x, y, log_input=log_input, power=power)
    near = bool(y) and abs(mp.log(y) - log) < 2
    by_x = 2 * (slope + (m_a if near else 0)) * moved
    by_y = 0
    if y:
        u = mp.log(y) - log
        by_y = abs(m_b * mp.expm1(b * u) / b if b else u) + (m_b if near else 0)
    bends = abs(b) * y * m_b + abs(a) * m_a if log_input else (abs(b) + (1 - b) * y / x) * m_b / x
    return {
        "value": (value + 2 * slope) * moved,
        "x": by_x if log_input else by_x / x,
        "y": 2 * by_y * moved,
        "curvature": 2 * bends * moved,
    }


def gaussian_nll(
    x: Any, y: Any, var: Any, *, full: bool = False, eps: Any = 1e-6, log_var: bool = False
) -> dict[str, Any]:
    given, floor, d = exp(var) if log_var else var, mp.mpf(eps), x - y
    v = max(given, floor)
    terms = (abs(mp.log(v)) + d * d / v + (mp.log(2 * mp.pi) if full else 0)) / 2
    slope = 0 if given < floor else (1 / v + (d / v) ** 2) / 2
    if not log_var:
        return {"value": terms, "var": slope}
    # Four eps, where those of a division are one.
    slopes = 4 * abs(d) / v
    return {"value": terms, "var": slope * v, "x": slopes, "y": slopes, "curvature": 4 / v}


def gaussian_kl(x: Any, y: Any, log_var: Any, y_log_var: Any) -> dict[str, Any]:
    u, square = log_var - y_log_var, (x - y) ** 2 * exp(-y_log_var)
    # Rounding the difference of two log-variances moves exp(u) by |u| eps.
    moved = 1 + (abs(u) if log_var and y_log_var else 0)
    value = (exp(u) - 1 - u) / 2 * moved + square / 2
    if moved == 1:
        return {"value": 0, "log_var": 0, "y_log_var": (abs(mp.expm1(u)) + square) / 2}
    return {
        "value": value,
        "log_var": max(exp(u), abs(mp.expm1(u))) * moved / 2,
        "y_log_var": (max(exp(u), abs(mp.expm1(u))) * moved + square) / 2,
    }


def crps(x: Any, y: Any, scale: Any, *, distribution: str = "gaussian") -> dict[str, Any]:
    # A rounded a = |x - y| / scale moves exp(-a^2 / 2) by a^2 eps, exp(-a) by a eps.
    if not scale > 0:
        return {"scale": 1, "curvature": 0}
    a = mp.mpf(abs(x - y)) / scale
    e = exp(-a)
    if distribution == "logistic":
        terms = 2 * mp.log1p(e) + 1 + 2 * a * e / (1 + e)
        return {"scale": terms, "curvature": 2 * e / (1 + e) ** 2 / scale * (1 + a)}
    if distribution == "laplace":
        return {"scale": (1 + a) * e + mp.mpf(0.75), "curvature": e / scale * (1 + a)}
    twice = exp(-a * a / 2) * mp.sqrt(2 / mp.pi)
    return {"scale": twice + 1 / mp.sqrt(mp.pi), "curvature": twice / scale * (1 + a * a)}


def log_score(x: Any, y: Any, scale: Any, *, distribution: str = "gaussian") -> dict[str, Any]:
    if not scale > 0:
        return {"value": 0, "scale": 0, "curvature": 0}
    a, log = mp.mpf(abs(x - y)) / scale, abs(mp.log(scale))
    if distribution == "gaussian":
        value, slope, curvature = a * a / 2 + mp.log(2 * mp.pi) / 2, a * a, 1
    elif distribution == "laplace":
        value, slope, curvature = a + mp.log(2), a, 0
    else:
        e = exp(-a)
        value, slope = a + 2 * mp.log1p(e), a * (1 - e) / (1 + e)
        curvature = 2 * e / (1 + e) ** 2 * (1 + a)
    return {
        "value": log + value,
        "scale": (1 + slope) / scale,
        "curvature": curvature / scale**2,
    }


def binary_cross_entropy(
    x: Any, y: Any, *, eps: Any, label_smoothing: Any = 0, ignore_index: int | None = None
) -> dict[str, Any]:
    p, other, q = max(x, eps), max(1 - x, eps), smoothed(y, label_smoothing)
    slopes = (1 - q) / other + q / p if label_smoothing else 0
    return {"x": slopes, "y": abs(mp.log(p)) + abs(mp.log(other))}


def binary_cross_entropy_with_logits(
    x: Any,
    y: Any,
    *,
    pos_weight: Any = 1,
    label_smoothing: Any = 0,
    ignore_index: int | None = None,
) -> dict[str, Any]:
    if mp.isinf(x):
        return {"x": 0, "y": 0}
    y = smoothed(y, label_smoothing)
    right, wrong = 1 / (1 + exp(-x)), 1 / (1 + exp(x))
    soft = 0 < y < 1
    by_y = pos_weight * mp.log1p(exp(-x)) + mp.log1p(exp(x)) if pos_weight != 1 else 0
    return {"x": (1 - y) * right + pos_weight * y * wrong if soft else 0, "y": by_y}


def sigmoid_focal(
    x: Any,
    y: Any,
    *,
    alpha: Any = None,
    gamma: Any = 2.0,
    label_smoothing: Any = 0,
    ignore_index: int | None = None,
) -> dict[str, Any]:
    """Sums of magnitudes for a t^gamma b, t = 1 - p_t, b the cross-entropy, by the product rule."""
    if mp.isinf(x):
        return {"x": 0, "y": 0, "curvature": 0}
    y = smoothed(y, label_smoothing)
    p, q = 1 / (1 + exp(-x)), 1 / (1 + exp(x))
    t, b = y * q + (1 - y) * p, y * mp.log1p(exp(-x)) + (1 - y) * mp.log1p(exp(x))
    a, a1 = (1, 0) if alpha is None else (alpha * y + (1 - alpha) * (1 - y), abs(2 * alpha - 1))
    side = abs(1 - 2 * y)
    t1, t2 = side * p * q, side * p * q * (p + q)
    b1, b2 = (1 - y) * p + y * q, p * q
    g, power = gamma, t**gamma
    g1 = g * power / t
    g2 = abs(g * (g - 1)) * power / t**2
    return {
        "x": a * (g1 * t1 * b + power * b1) if 0 < y < 1 else 0,
        "y": a1 * power * b + a * (g1 * abs(q - p) * b + power * abs(x)),
        "curvature": a * (g2 * t1**2 * b + g1 * t2 * b + 2 * g1 * t1 * b1 + power * b2),
    }


def _probabilities(x: list[Any]) -> tuple[list[Any], list[Any]]:
    """Return p and -log p of a row, 0 where there are none."""
    p, log_p = (Exact(name).value(x) for name in ("softmax", "log_softmax"))
    return ([0] * len(x), [0] * len(x)) if mp.isnan(p[0]) else (p, [-a for a in log_p])


def _targets_of(y: Any, c: int, class_weight: Any) -> list[Any]:
    t = y if isinstance(y, list) else [mp.mpf(j == y) for j in range(c)]
    return t if class_weight is None else [a * w for a, w in zip(t, class_weight, strict=True)]


def _spread(t: list[Any], p: list[Any], smoothing: Any, class_weight: Any) -> list[Any]:
    """Return masses of a target of which a share is spread over the possible classes."""
    w = [1] * len(t) if class_weight is None else class_weight
    live = sum(a > 0 for a in p)
    return [(1 - smoothing) * a + (smoothing / live * w[j] if p[j] else 0) for j, a in enumerate(t)]


def cross_entropy(
    x: list[Any],
    y: Any,
    *,
    class_weight: Any = None,
    label_smoothing: Any = 0.0,
    ignore_index: int | None = None,
    from_logits: bool = True,
    softcap: Any = None,
    temperature: Any = 1.0,
    z_loss: Any = 0.0,
    floor: Any = 0,
) -> dict[str, Any]:
    c = len(x)
    if not from_logits:
        return {"x": [0] * c}
    if z_loss or softcap is not None or temperature != 1:
        z = [capped(Jet(a, {"x": (1, 0)}), Jet(temperature), softcap) for a in x]
        return _shaped_cross_entropy(z, y, class_weight, label_smoothing, z_loss)
    p, t = _probabilities(x)[0], _targets_of(y, c, class_weight)
    if label_smoothing:
        t = _spread(t, p, label_smoothing, class_weight)
    elif sum(a != 0 for a in t) <= 1:
        return {"x": [0] * c}
    total = mp.fsum(t)
    return {"x": [a * total + b for a, b in zip(p, t, strict=True)]}


def _shaped_cross_entropy(
    capped: list[Jet], y: Any, class_weight: Any, smoothing: Any, z_loss: Any
) -> dict[str, Any]:
    """Sums of magnitudes, times what a rounded logit moves them by: 1 + its size."""
    z = [each.number for each in capped]
    c, (p, surprise) = len(z), _probabilities(z)
    if not any(p):
        return {}
    slopes, bends = zip(*[each.by["x"] for each in capped], strict=True)
    t = _targets_of(y, c, class_weight)
    w = [mp.mpf(1)] * c if class_weight is None else class_weight
    q = _spread(t, p, smoothing, class_weight)
    total, mass = mp.fsum(q), 1 if class_weight is None else mp.fsum(t)
    size = 1 + max(abs(a) for a in z if abs(a) < mp.inf)
    # |lse| <= the largest |z| + log c, and each of the two may be rounded
    lse = size + mp.log(c)
    square = z_loss * lse * lse
    terms = [b * a for a, b in zip(surprise, q, strict=True) if b]
    by_x = [b * (total + 2 * z_loss * mass * lse) + a for a, b in zip(q, p, strict=True)]
    bent = [b * (total + 2 * z_loss * mass * (1 + lse)) for b in p]
    every = list(zip(by_x, bent, slopes, bends, strict=True))
    return {
        "value": mp.fsum(terms) + total * size + mass * square,
        "x": [size * g * a for g, _, a, _ in every],
        "y": [
            b * (size + a + square) if share else 0
            for a, b, share in zip(surprise, w, p, strict=True)
        ],
        "curvature": [size * (h * a * a + g * abs(2 * b)) for g, h, a, b in every],
    }


def softmax_focal(
    x: list[Any],
    y: Any,
    *,
    gamma: Any = 2.0,
    class_weight: Any = None,
    label_smoothing: Any = 0,
    ignore_index: int | None = None,
    from_logits: bool = True,
    floor: Any = 0,
) -> dict[str, Any]:
    c = len(x)
    if not from_logits:
        return {"x": [0] * c}
    p, logs = _probabilities(x)
    t = _spread(_targets_of(y, c, class_weight), p, label_smoothing, class_weight)
    q = [mp.fsum([b for k, b in enumerate(p) if k != j]) for j in range(c)]
    first, second = [mp.mpf(0)] * c, [mp.mpf(0)] * c
    for k in range(c):
        if t[k] == 0 or p[k] == 0 or q[k] == 0:
            continue
        r, log = q[k], logs[k]
        first[k] = t[k] * (r**gamma + gamma * r ** (gamma - 1) * p[k] * log)
        second[k] = t[k] * (
            r**gamma
            + 2 * gamma * r ** (gamma - 1) * p[k]
            + gamma * abs(gamma - 1) * r ** (gamma - 2) * p[k] ** 2 * log
        )
    hard = sum(a != 0 for a in t) <= 1
    by_x, curvature = [], []
    for j in range(c):
        slopes = [q[j] if k == j else p[j] for k in range(c)]
        by_x.append(0 if hard else mp.fsum(f * s for f, s in zip(first, slopes, strict=True)))
        curvature.append(
            mp.fsum(
                second[k] * s**2 + first[k] * (s**2 + p[j] * q[j]) for k, s in enumerate(slopes)
            )
        )
    return {"x": by_x, "curvature": curvature}


def _of_surprises(
    x: list[Any],
    y: Any,
    class_weight: Any,
    slope: Callable[[Any, Any], Any],
    bend: Callable[[Any, Any], Any],
) -> dict[str, Any]:
    """Sums of magnitudes of sum_k t_k f(-log p_k), by f' and |f''| of p and -log p."""
    c = len(x)
    (p, logs), t = _probabilities(x), _targets_of(y, c, class_weight)
    q = [mp.fsum([b for k, b in enumerate(p) if k != j]) for j in range(c)]
    live = [k for k in range(c) if t[k] and p[k]]
    by_x, curvature = [], []
    for j in range(c):
        steps = {k: q[j] if k == j else p[j] for k in live}
        by_x.append(mp.fsum(t[k] * slope(p[k], logs[k]) * s for k, s in steps.items()))
        curvature.append(
            mp.fsum(
                t[k] * (bend(p[k], logs[k]) * s * s + slope(p[k], logs[k]) * p[j] * q[j])
                for k, s in steps.items()
            )
        )
    return {"x": by_x, "curvature": curvature}


def poly_cross_entropy(
    x: list[Any],
    y: Any,
    *,
    epsilon: Any = 2.0,
    class_weight: Any = None,
    ignore_index: int | None = None,
    from_logits: bool = True,
    floor: Any = 0,
) -> dict[str, Any]:
    if not from_logits:
        return {"x": [0] * len(x)}
    sizes = _of_surprises(
        *(x, y, class_weight), lambda p, _: 1 + epsilon * p, lambda p, _: abs(epsilon) * p
    )
    hard = sum(a != 0 for a in _targets_of(y, len(x), class_weight)) <= 1
    return {**sizes, "x": [0] * len(x)} if hard else sizes


def generalized_cross_entropy(
    x: list[Any],
    y: Any,
    *,
    q: Any = 0.7,
    class_weight: Any = None,
    ignore_index: int | None = None,
    from_logits: bool = True,
    floor: Any = 0,
) -> dict[str, Any]:
    # A rounded q moves p^q by so many eps.
    def slope(p: Any, log: Any) -> Any:
        return p**q * (1 + q * log)

    t = _targets_of(y, len(x), class_weight)
    if from_logits:
        logs = _probabilities(x)[1]
    elif all(0 <= a <= 1 for a in x):
        x = [mp.mpf(max(a, floor)) for a in x]
        logs = [-mp.log(a) for a in x]
    else:
        return {"value": 0, **dict.fromkeys(("x", "y", "curvature"), [0] * len(x))}
    w = [1] * len(x) if class_weight is None else class_weight
    costs = [
        (-mp.expm1(-q * log) / q if q else log) * (1 + q * log) if log < mp.inf else 0
        for log in logs
    ]
    if from_logits:
        sizes = _of_surprises(x, y, class_weight, slope, lambda p, log: q * slope(p, log))
    else:
        slopes = [a * slope(p, log) / p for a, p, log in zip(t, x, logs, strict=True)]
        sizes = {"x": slopes, "curvature": [a / p for a, p in zip(slopes, x, strict=True)]}
    return {
        **sizes,
        "value": mp.fsum(a * b for a, b in zip(t, costs, strict=True)),
        "y": [a * b for a, b in zip(w, costs, strict=True)],
    }


def brier(
    x: list[Any],
    y: Any,
    *,
    from_logits: bool = True,
    class_weight: Any = None,
    ignore_index: int | None = None,
) -> dict[str, Any]:
    c, t = len(x), _targets_of(y, len(x), None)
    p = _probabilities(x)[0] if from_logits else x
    w = [mp.one] * c if class_weight is None else class_weight
    mass = mp.one if class_weight is None else mp.fsum(_targets_of(y, c, class_weight))
    d = [abs(a - b) if b in (0, 1) else a + b for a, b in zip(p, t, strict=True)]
    square = mp.fsum(2 * abs(a - b) * e for a, b, e in zip(p, t, d, strict=True))
    sizes = {
        "value": mass * square,
        "y": [2 * mass * (a + b) + e * square for a, b, e in zip(p, t, w, strict=True)],
    }
    if not from_logits:
        return {**sizes, "x": [2 * mass * e for e in d]}
    rest = [mp.fsum([b for k, b in enumerate(p) if k != j]) for j in range(c)]
    pull = [mp.fsum([p[k] * d[k] for k in range(c) if k != j]) for j in range(c)]
    lead = [2 * (a * b + e) for a, b, e in zip(rest, d, pull, strict=True)]
    bend = [
        2 * a * (rest[j] ** 2 + mp.fsum([b * b for k, b in enumerate(p) if k != j]))
        for j, a in enumerate(p)
    ]
    return {
        **sizes,
        "x": [mass * a * b for a, b in zip(p, lead, strict=True)],
        "curvature": [mass * a * (b + e) for a, b, e in zip(p, lead, bend, strict=True)],
    }


def multi_margin(
    x: list[Any],
    y: int,
    *,
    margin: Any = 1.0,
    p: int = 1,
    class_weight: Any = None,
    ignore_index: int | None = None,
) -> dict[str, Any]:
    c = len(x)
    if y == ignore_index:
        return {"value": 0} if p == 1 else {"value": 0, "x": [0] * c}
    mass = 1 if class_weight is None else class_weight[y]
    sizes = [
        mass * (margin + abs(a - x[y])) / c if at != y and margin + a - x[y] > 0 else mp.zero
        for at, a in enumerate(x)
    ]
    if p == 1:
        return {"value": mp.fsum(sizes)}
    by_x = [2 * a for a in sizes]
    by_x[y] = mp.fsum(by_x)
    return {"value": mp.fsum(a * a for a in sizes) * c / mass if mass else 0, "x": by_x}


def multilabel_soft_margin(x: list[Any], y: list[Any]) -> dict[str, Any]:
    each = [binary_cross_entropy_with_logits(a, b)["x"] for a, b in zip(x, y, strict=True)]
    return {"x": each}


def kl_div(x: list[Any], y: list[Any], *, log_target: bool = False) -> dict[str, Any]:
    terms, by_y = [], []
    for a, b in zip(x, y, strict=True):
        if (b == -mp.inf) if log_target else (b == 0):
            by_y.append(0)
        elif log_target:
            terms.append(exp(b) * abs(b - a))
            by_y.append(exp(b) * (abs(b - a) + 1))
        else:
            terms.append(b * (abs(mp.log(b)) + abs(a)))
            by_y.append(abs(mp.log(b)) + abs(a) + 1)
    return {"value": mp.fsum(terms), "y": by_y}


def relative_entropy(x: Any, y: Any, *, log_target: bool = False) -> dict[str, Any]:
    of_row = kl_div([x], [y], log_target=log_target)
    return {"value": of_row["value"], "y": of_row["y"][0]}


def kl_div_with_logits(x: list[Any], y: list[Any], *, temperature: Any = 1.0) -> dict[str, Any]:
    t = mp.mpf(temperature)
    with mp.workprec(1400):  # its terms cancel
        value = 0 if t == 1 else Exact("kl_div_with_logits").value(x, y, temperature=temperature)
    x, y = ([a / t for a in row] for row in (x, y))
    (p, log_p), (q, log_q) = _probabilities(x), _probabilities(y)
    by_y = [b * (log_p[j] + log_q[j] + 1) if p[j] and b else 0 for j, b in enumerate(q)]
    if t == 1:
        return {"x": [a + b for a, b in zip(p, q, strict=True)], "y": by_y}
    # Logits are rounded by as many eps as they are below the largest.
    below = [max(row) - a for row in (x, y) for a in row if a != -mp.inf]
    moved = 1 + max(below, default=mp.zero)
    return {
        "value": value * moved if mp.isfinite(value) else 0,
        "x": [t * (a + b) * moved for a, b in zip(p, q, strict=True)],
        "y": [t * each * moved for each in by_y],
        "curvature": [
            a * mp.fsum(b for k, b in enumerate(p) if k != j) * moved for j, a in enumerate(p)
        ],
    }


def logsumexp(x: list[Any]) -> dict[str, Any]:
    if not any(_probabilities(x)[0]):
        return {"value": 0}
    return {"value": abs(max(x)) + Exact("logsumexp").value(x) - max(x)}


def tversky(
    x: Any, y: Any, *, fp_weight: Any = 0.5, fn_weight: Any = 0.5, smooth: Any = 0
) -> dict[str, Any]:
    """Sums of magnitudes of (A' B - A B') / (A + B)^2, where the target of a pixel has both."""
    fp, fn = mp.mpf(fp_weight), mp.mpf(fn_weight)
    pairs = [*zip(x, y, strict=True)]
    lost = sum(fp * a * (1 - b) + fn * (1 - a) * b for a, b in pairs)
    kept = sum(a * b for a, b in pairs) + smooth
    whole = lost + kept or 1
    lost, kept = lost / whole, kept / whole
    both = [0 < b < 1 for b in y]
    by_x = [((fp * (1 - b) + fn * b) * kept + b * lost) / whole for b in y]
    by_y = [((fn * (1 - a) + fp * a) * kept + a * lost) / whole for a in x]
    bent = [2 * (fp * (1 - b) + (1 + fn) * b) / whole * s for b, s in zip(y, by_x, strict=True)]
    return {
        "x": [s if soft else 0 for s, soft in zip(by_x, both, strict=True)],
        "y": by_y,
        "curvature": bent,
    }


def dice(x: Any, y: Any, *, squared: bool = False, smooth: Any = 0) -> dict[str, Any]:
    if not squared:
        return tversky(x, y, smooth=mp.mpf(smooth) / 2)
    pairs = [*zip(x, y, strict=True)]
    lost = sum((a - b) ** 2 for a, b in pairs)
    kept = sum(2 * a * b for a, b in pairs) + smooth
    whole = lost + kept or 1
    soft = any(0 < b < 1 for b in y)
    # where p and y are close, each is rounded on the way to their difference
    value = sum((a + b) * abs(a - b) for a, b in pairs) / whole + lost / whole if soft else 0
    lost, kept = lost / whole, kept / whole
    by_x = [(2 * (a + b) * kept + 2 * b * (lost + value)) / whole for a, b in pairs]
    by_y = [(2 * (a + b) * kept + 2 * a * (lost + value)) / whole for a, b in pairs]
    bent = [2 * kept / whole + 4 * a / whole * s for a, s in zip(x, by_x, strict=True)]
    hard = [not 0 < b < 1 for b in y]
    return {
        "value": value,
        "x": [0 if exact and not soft else s for s, exact in zip(by_x, hard, strict=True)],
        "y": by_y,
        "curvature": bent,
    }


def focal_tversky(
    x: Any,
    y: Any,
    *,
    fp_weight: Any = 0.3,
    fn_weight: Any = 0.7,
    gamma: Any = 4 / 3,
    smooth: Any = 0,
) -> dict[str, Any]:
    fp, fn = mp.mpf(fp_weight), mp.mpf(fn_weight)
    pairs = [*zip(x, y, strict=True)]
    lost = sum(fp * a * (1 - b) + fn * (1 - a) * b for a, b in pairs)
    whole = lost + sum(a * b for a, b in pairs) + smooth or 1
    one = tversky(x, y, fp_weight=fp, fn_weight=fn, smooth=smooth)
    value = lost / whole
    if not value:
        return {name: [0] * len(x) for name in one}
    exponent = 1 / mp.mpf(gamma)
    outer = exponent * value ** (exponent - 1)
    kept = 1 - value
    slopes = [((fp * (1 - b) + fn * b) * kept + b * value) / whole for b in y]
    bent = [
        outer * (s + abs(exponent - 1) / value * slope**2)
        for s, slope in zip(one["curvature"], slopes, strict=True)
    ]
    return {
        "x": [outer * s for s in one["x"]],
        "y": [outer * s for s in one["y"]],
        "curvature": bent,
    }


def _conditioned(z: Any) -> Any:
    """How many eps a rounded z moves the exponential of it by."""
    return 1 + abs(z)


def dpo(
    x: Any,
    y: Any,
    ref_chosen: Any = 0,
    ref_rejected: Any = 0,
    *,
    beta: Any = 0.1,
    kind: str = "sigmoid",
    label_smoothing: Any = 0,
    gamma: Any = 0,
    alpha: Any = 0,
) -> dict[str, Any]:
    """Sums of magnitudes, times what a rounded z moves them by."""
    beta, share = mp.mpf(beta), mp.mpf(label_smoothing)
    c, r, half = mp.mpf(x) - ref_chosen, mp.mpf(y) - ref_rejected, 1 / (2 * beta)
    z_c, z_r, z = beta * c, beta * r, beta * (c - r) - gamma
    u = _conditioned(abs(beta * (c - r)) + gamma)
    both = _conditioned(max(abs(z_c), abs(z_r), abs(z)))

    def s(z: Any) -> Any:
        return 1 / (1 + exp(-z))

    def soft(z: Any) -> Any:
        return max(z, 0) + mp.log1p(exp(-abs(z)))

    def bend(z: Any) -> Any:
        return s(z) * s(-z)

    match kind:
        case "robust":
            kept = 1 - 2 * share
            value = u * (soft(-z) + share / kept * abs(z))
            by_c = by_r = u * beta * ((1 - share) * s(-z) + share * s(z)) / kept
            curvature = u * beta**2 * bend(z)
        case "hinge":
            value, by_c, by_r, curvature = 1 + abs(z), 0, 0, 0
        case "ipo":
            size = abs(c - r) + half
            value, by_c, by_r, curvature = size**2, 2 * size, 2 * size, 0
        case "exo_pair":
            share = share or mp.mpf("0.001")
            yes, no = abs(mp.log1p(-share)), abs(mp.log(share))
            value = u * (s(z) * (soft(-z) + yes) + s(-z) * (soft(z) + no))
            lead = abs(z) + yes + no
            by_c = by_r = u * beta * bend(z) * lead
            curvature = u * beta**2 * bend(z) * (1 + lead)
        case "nca_pair":
            value = both * (soft(-z_c) + soft(z_c) / 2 + soft(z_r) / 2)
            by_c = both * beta * (s(-z_c) + s(z_c) / 2)
            by_r = both * beta * s(z_r) / 2
            curvature = both * beta**2 * 1.5 * bend(z_c)
        case "bco_pair":
            value = both * (soft(-z_c) + soft(z_r))
            by_c, by_r = both * beta * s(-z_c), both * beta * s(z_r)
            curvature = both * beta**2 * bend(z_c)
        case "sppo_hard":
            below, over = abs(c) + half, abs(r) + half
            value, by_c, by_r, curvature = below**2 + over**2, 2 * below, 2 * over, 0
        case "apo_zero":
            value = both * (s(-z_c) + s(z_r))
            by_c, by_r = both * beta * bend(z_c), both * beta * bend(z_r)
            curvature = both * beta**2 * bend(z_c)
        case "apo_down":
            value = both * (s(z_c) + s(-z))
            by_c, by_r = both * beta * (bend(z_c) + bend(z)), both * beta * bend(z)
            curvature = both * beta**2 * (bend(z_c) + bend(z))
        case _:
            value = u * ((1 - share) * soft(-z) + share * soft(z))
            by_c = by_r = u * beta * ((1 - share) * s(-z) + share * s(z))
            curvature = u * beta**2 * bend(z)
    return {
        "value": value + alpha * abs(x),
        "x": by_c + alpha,
        "y": by_r,
        "ref_chosen": by_c,
        "ref_rejected": by_r,
        "curvature": curvature,
    }


def cpo(x: Any, y: Any, *, alpha: Any = 1.0, **parameters: Any) -> dict[str, Any]:
    sizes = dpo(x, y, alpha=alpha, **parameters)
    return {name: sizes[name] for name in ("value", "x", "y", "curvature")}


def simpo(x: Any, y: Any, *, beta: Any = 2.0, gamma: Any = 0.5, **more: Any) -> dict[str, Any]:
    return cpo(x, y, alpha=0, beta=beta, gamma=gamma, **more)


def orpo(x: Any, y: Any, *, beta: Any = 0.1, alpha: Any = 1.0) -> dict[str, Any]:
    if x >= 0 or y >= 0:
        return {"curvature": 0}
    # over the larger of p and q, so that neither underflows
    top = max(x, y)
    d = exp(x - top) * -mp.expm1(y) + exp(y - top) * -mp.expm1(x)
    return {"curvature": beta * exp(x - top) / d * exp(y - top) / d * (1 + 2 * exp(y))}


def kto(
    x: Any,
    y: Any,
    ref_logp: Any,
    *,
    beta: Any = 0.1,
    kl: Any = 0,
    desirable_weight: Any = 1,
    undesirable_weight: Any = 1,
) -> dict[str, Any]:
    size = beta * (abs(mp.mpf(x) - ref_logp) + kl)
    z = beta * (mp.mpf(x) - ref_logp - kl)
    right, wrong = 1 / (1 + exp(-z)), 1 / (1 + exp(z))
    yes, no = desirable_weight * y, undesirable_weight * (1 - y)
    slope = (1 + size) * beta * right * wrong * (yes + no)
    return {
        "value": (1 + size) * (yes * wrong + no * right),
        "x": slope,
        "y": (1 + size) * (desirable_weight * wrong + undesirable_weight * right),
        "ref_logp": slope,
        "curvature": slope * beta,
    }


def _leads(x: list[Any], y: list[Any]) -> list[tuple[int, int, Any]]:
    """Return the pairs of a list whose first has the higher label, and its lead."""
    every = range(len(x))
    return [(i, j, mp.mpf(x[i]) - x[j]) for i in every for j in every if y[i] > y[j]]


def _of_members(x: list[Any], y: list[Any], size: Callable[[Any], Any]) -> list[Any]:
    """Return for each member the sum of sizes over its pairs, of the lead of the better."""
    total = [mp.zero for _ in x]
    for i, j, lead in _leads(x, y):
        total[i] += size(lead)
        total[j] += size(lead)
    return total


def _slope(lead: Any) -> Any:
    return 1 / (1 + exp(abs(lead))) / (1 + exp(-abs(lead)))


def pairwise_logistic(x: list[Any], y: list[Any]) -> dict[str, Any]:
    return {"x": _of_members(x, y, lambda lead: 1 / (1 + exp(lead)))}


def pairwise_soft_zero_one(x: list[Any], y: list[Any]) -> dict[str, Any]:
    each = _of_members(x, y, _slope)
    return {"x": each, "curvature": each}


def pairwise_hinge(x: list[Any], y: list[Any], *, margin: Any = 1.0) -> dict[str, Any]:
    short = [margin + abs(lead) for _, _, lead in _leads(x, y) if margin - lead > 0]
    return {
        "value": mp.fsum(short),
        "x": _of_members(x, y, lambda lead: int(margin - lead > 0)),
    }


def _ranks(row: list[Any]) -> list[int]:
    order = sorted(range(len(row)), key=lambda at: (-row[at], at))
    return [1 + order.index(at) for at in range(len(row))]


class _Graded:
    """Gains and discounts of members, and how far a gain is moved where it is rounded."""

    def __init__(self, y: list[Any], gain: str, discount: str, top: Any) -> None:
        self.linear, self.reciprocal, self.top = gain == "linear", discount == "reciprocal", top
        self.steps = [mp.mpf(b) if self.linear else mp.mpf(2) ** b for b in y]
        self.gains = [a if self.linear else a - 1 for a in self.steps]
        self.slopes = [mp.mpf(1) if self.linear else mp.log(2) * a for a in self.steps]
        self.ideal = [self.kept(rank) for rank in _ranks(y)]
        self.best = mp.fsum(a * b for a, b in zip(self.gains, self.ideal, strict=True))

    def of(self, rank: int) -> Any:
        return mp.mpf(1) / rank if self.reciprocal else 1 / mp.log(1 + rank, 2)

    def kept(self, rank: int) -> Any:
        return self.of(rank) if self.top is None or rank <= self.top else mp.mpf(0)


def _lambda(
    x: list[Any], y: list[Any], kind: str, mu: Any, gain: str, discount: str, top: Any
) -> dict[str, Any]:
    of, rank = _Graded(y, gain, discount, top), _ranks(x)
    many = range(len(x))
    none = {name: [mp.zero for _ in many] for name in ("x", "y", "curvature")}
    if not of.best:
        return {"value": mp.zero, **none}
    value, (by_x, by_y, bends) = mp.zero, none.values()
    for i in many:
        for j in many:
            lead = mp.mpf(x[i]) - x[j]
            cost = mp.log1p(exp(-abs(lead))) + max(0, -lead)
            if kind == "ndcg1":
                fall, size = of.kept(rank[i]), of.steps[i] + 1
            elif y[i] > y[j] and of.kept(min(rank[i], rank[j])):
                apart = abs(rank[i] - rank[j])
                exchange = abs(of.kept(rank[i]) - of.kept(rank[j]))
                step = of.of(apart) - of.of(apart + 1)
                fall = {"lambdarank": exchange, "ndcg2": step}.get(kind, exchange + mu * step)
                size = of.steps[i] + of.steps[j]
            else:
                continue
            share = fall * size / of.best
            value += share * cost
            for at in (i, j):
                by_x[at] += share / (1 + exp(lead))
                bends[at] += share * _slope(lead)
                by_y[at] += fall * cost / of.best * of.slopes[at]
    for at in many:
        by_y[at] += value * of.ideal[at] / of.best * of.slopes[at]
    return {"value": value, **none}


def lambdarank(
    x: list[Any],
    y: list[Any],
    *,
    gain: str = "exponential",
    discount: str = "log2",
    top: Any = None,
) -> dict[str, Any]:
    return _lambda(x, y, "lambdarank", 0, gain, discount, top)


def lambdaloss(
    x: list[Any],
    y: list[Any],
    *,
    kind: str = "ndcg2++",
    mu: Any = 10.0,
    gain: str = "exponential",
    discount: str = "log2",
    top: Any = None,
) -> dict[str, Any]:
    if kind == "ranknet":
        return pairwise_logistic(x, y)
    return _lambda(x, y, kind, mu, gain, discount, top)


def approx_ndcg(
    x: list[Any],
    y: list[Any],
    *,
    temperature: Any = 1.0,
    gain: str = "exponential",
    discount: str = "log2",
) -> dict[str, Any]:
    of, many, t = _Graded(y, gain, discount, None), range(len(x)), mp.mpf(temperature)
    none = {name: [mp.zero for _ in many] for name in ("x", "y", "curvature")}
    if not of.best:
        return {"value": mp.zero, **none}
    leads = [[(mp.mpf(a) - b) / t for b in x] for a in x]
    ranks = [1 + mp.fsum(1 / (1 + exp(leads[i][j])) for j in many if j != i) for i in many]
    sizes = [(a + 1) / of.best for a in of.steps]
    if of.reciprocal:
        counts = [1 / r for r in ranks]
        falls = [(1 / r**2, 2 / r**3) for r in ranks]
    else:
        counts = [1 / mp.log(1 + r, 2) for r in ranks]
        logs = [mp.log(1 + r) for r in ranks]
        falls = [
            (c / (n * (1 + r)), c / (n * (1 + r) ** 2) * (1 + 2 / n))
            for c, n, r in zip(counts, logs, ranks, strict=True)
        ]
    value = mp.fsum(a * c for a, c in zip(sizes, counts, strict=True))
    one = [a * f for a, (f, _) in zip(sizes, falls, strict=True)]
    two = [a * f for a, (_, f) in zip(sizes, falls, strict=True)]
    for i in many:
        own = mp.zero
        for j in many:
            if j != i:
                slope, moved = _slope(leads[i][j]), _conditioned(leads[i][j])
                none["x"][i] += (one[i] + one[j]) * slope * moved / t
                none["curvature"][i] += (
                    (two[j] * slope**2 + (one[i] + one[j]) * slope) * moved / t**2
                )
                own += slope * moved
        none["curvature"][i] += two[i] * own**2 / t**2
        none["y"][i] = (counts[i] + value * of.ideal[i]) / of.best * of.slopes[i]
    return {"value": value, **none}


def multilabel_margin(x: list[Any], y: list[Any], *, margin: Any = 1.0) -> dict[str, Any]:
    of_pairs, c = pairwise_hinge(x, y, margin=margin), len(x)
    return {"value": of_pairs["value"] / c, "x": [mp.mpf(each) / c for each in of_pairs["x"]]}


def pairwise_mse(x: list[Any], y: list[Any]) -> dict[str, Any]:
    n, errors = len(x), [abs(mp.mpf(a) - b) for a, b in zip(x, y, strict=True)]
    sizes = [each + mp.fsum(errors) / n for each in errors]
    slopes = [4 * n * each for each in sizes]
    return {"value": 2 * n * mp.fsum(each**2 for each in sizes), "x": slopes, "y": slopes}


def _missing(x: list[Any], members: Mapping[int, Any], own: int | None) -> dict[int, Any]:
    """Return the shares that members have of a sum of exponentials, each by a factor.

    Of one of them what is missing to 1: that does not cancel.
    """
    top = max(x[k] for k in members)
    parts = {k: factor * mp.exp(mp.mpf(x[k]) - top) for k, factor in members.items()}
    others = mp.fsum(part for k, part in parts.items() if k != own)
    whole = others if own is None else others + parts[own]
    return {k: (others if k == own else part) / whole for k, part in parts.items()}


def listmle(x: list[Any], y: list[Any]) -> dict[str, Any]:
    order = sorted(range(len(x)), key=lambda at: (-y[at], at))
    sizes = [mp.zero for _ in x]
    for place, own in enumerate(order):
        for k, size in _missing(x, dict.fromkeys(order[place:], 1), own).items():
            sizes[k] += size
    return {"x": sizes}


def unique_softmax(x: list[Any], y: list[Any], *, gain: str = "exponential") -> dict[str, Any]:
    """With what a label is worth before 1 is taken off it, and 1: its rounding."""
    value, sizes = mp.zero, [mp.zero for _ in x]
    for own, label in enumerate(y):
        worth = (mp.mpf(label) if gain == "linear" else mp.mpf(2) ** label) + 1
        members = [k for k, other in enumerate(y) if k == own or other < label]
        value += worth * mp.log1p(mp.fsum(mp.exp(x[k] - x[own]) for k in members if k != own))
        for k, size in _missing(x, dict.fromkeys(members, 1), own).items():
            sizes[k] += worth * size
    return {"value": value, "x": sizes}


def cox_ph(x: list[Any], y: list[Any], event: list[Any], *, ties: str = "efron") -> dict[str, Any]:
    value, sizes = mp.zero, [mp.zero for _ in x]
    taken: dict[Any, int] = {}
    for own, time in enumerate(y):
        if not event[own]:
            continue
        tied = [k for k, other in enumerate(y) if other == time and event[k]]
        before = taken.get(time, 0)
        taken[time] = before + 1
        left = 1 - mp.mpf(before) / len(tied) if ties == "efron" else mp.one
        members = {k: left if k in tied else mp.one for k, b in enumerate(y) if b >= time}
        top = max(x[k] for k in members)
        whole = mp.fsum(a * mp.exp(mp.mpf(x[k]) - top) for k, a in members.items())
        value += abs(mp.log(whole) + top - x[own])
        for k in members:  # of each of these events the rest to 1, in the first one's sum
            sizes[k] += _missing(x, members, k if k in tied and before == 0 else None)[k]
    return {"value": value, "x": sizes}


def lovasz_hinge(x: list[Any], y: list[Any]) -> dict[str, Any]:
    slopes = Exact("lovasz_hinge").item(x, y)["x"]
    return {"value": mp.fsum(abs(s) * (1 + abs(a)) for s, a in zip(slopes, x, strict=True))}


def sparse_shares(x: list[Any]) -> dict[str, Any]:
    return {"value": [mp.one for _ in x]}


def fenchel_young(x: list[Any], y: Any, *, activation: str = "sparsemax") -> dict[str, Any]:
    with mp.workprec(1400):
        value = max(Exact("fenchel_young").value(x, y, activation=activation), mp.zero)
    return {"value": value + mp.sqrt(value), "x": [mp.one for _ in x]}


def ctc(x: list[list[Any]], y: list[int], *, blank: int = 0) -> dict[str, Any]:
    """By p (1 - c) + (1 - p) c, c the posterior probability of a symbol in a frame.

    Of a target that is more likely than not, by the share of what is wrong in it.
    """
    with mp.workprec(1400):  # all that is wrong may be 1e-300
        found = Exact("ctc").item(x, y, blank=blank)
        right, wrong = mp.exp(-found["value"]), -mp.expm1(-found["value"])
        sizes: list[list[Any]] = []
        for row, slopes in zip(x, found["x"], strict=True):
            sizes.append([])
            for p, slope in zip(_probabilities(row)[0], slopes, strict=True):
                of_right = p - slope
                if right > 0.5:
                    bad = p - of_right * right
                    sizes[-1].append(((1 - p) * bad + p * (wrong - bad)) / right)
                else:
                    sizes[-1].append(p * (1 - of_right) + (1 - p) * of_right)
    return {"x": sizes}
