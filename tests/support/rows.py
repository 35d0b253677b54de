"""Losses of rows as their textbooks have them; see `definitions`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.support.definitions import Item
from tests.support.jets import Jet, Number, exp, is_zero, mp, over, power, times


@dataclass(frozen=True)
class Softmax:
    p: list[Number]
    surprise: list[Number]
    """-log p."""
    log_z: Number
    unmasked: int


def softmax(x: Sequence[Number]) -> Softmax | None:
    """Return softmax by its definition; None where it has none (NaN, +inf, all classes masked)."""
    if any(mp.isnan(a) or a == mp.inf for a in x) or all(a == -mp.inf for a in x):
        return None
    m = max(x)
    e = [0 if a == -mp.inf else exp(a - m) for a in x]
    z = mp.fsum(e)
    log = mp.log(z)
    return Softmax(
        [over(a, z) for a in e],
        [mp.inf if a == -mp.inf else log + (m - a) for a in x],
        m + log,
        sum(not is_zero(a) for a in e),
    )


def _nan_row(c: int, *names: str) -> Item:
    row = [mp.nan] * c
    return {"value": mp.nan, "x": row, "curvature": row, **dict.fromkeys(names, row)}


def _targets(y: Any, c: int) -> list[Number]:
    return list(y) if isinstance(y, list) else [1 if j == y else 0 for j in range(c)]


def _weights(class_weight: Sequence[Number] | None, c: int) -> Sequence[Number]:
    return [1] * c if class_weight is None else class_weight


def _fsum(terms: Sequence[Number]) -> Number:
    terms = [a for a in terms if not is_zero(a)]
    return mp.fsum(terms) if terms else 0


def _ignored(c: int) -> Item:
    return {"value": 0, "x": [0] * c, "curvature": [0] * c}


def cross_entropy(
    x: Sequence[Number],
    y: Any,
    *,
    class_weight: Sequence[Number] | None = None,
    label_smoothing: Number = 0.0,
    ignore_index: int | None = None,
    from_logits: bool = True,
    softcap: Number | None = None,
    temperature: Number = 1.0,
    z_loss: Number = 0.0,
    floor: Number = 0,
) -> Item:
    """sum_c q_c (-log p_c), q_c = class_weight_c ((1 - s) y_c + s / C'), C' unmasked classes."""
    c = len(x)
    if not isinstance(y, list) and y == ignore_index:
        return _ignored(c)
    if not from_logits:
        return _cross_entropy_of_probabilities(
            x, _targets(y, c), _weights(class_weight, c), mp.mpf(label_smoothing), floor
        )
    z, slopes, bends = zip(*[shaped(a, temperature, softcap) for a in x], strict=True)
    soft = softmax(z)
    if soft is None:
        return _nan_row(c, "y")
    keep, share = 1 - mp.mpf(label_smoothing), mp.mpf(label_smoothing) / soft.unmasked
    w = _weights(class_weight, c)
    q = [
        times(w[j], times(keep, t) + (0 if is_zero(soft.p[j]) or share == 0 else share))
        for j, t in enumerate(_targets(y, c))
    ]
    q = [0 if a == 0 else a for a in q]
    surprise = soft.surprise
    total = _fsum(q)
    by_x = [times(p, total) - a for p, a in zip(soft.p, q, strict=True)]
    curvature = [times(total, times(p, 1 - p)) for p in soft.p]
    lse, square, per_class = soft.log_z, mp.mpf(0), [mp.mpf(0)] * c
    if z_loss:
        targets = _targets(y, c)
        mass = (
            1 if class_weight is None else _fsum([a * b for a, b in zip(w, targets, strict=True)])
        )
        square = mp.mpf(z_loss) * lse * lse
        by_x = [a + 2 * z_loss * mass * lse * p for a, p in zip(by_x, soft.p, strict=True)]
        bends_of = [2 * z_loss * mass * (p * p + lse * p * (1 - p)) for p in soft.p]
        curvature = [a + b for a, b in zip(curvature, bends_of, strict=True)]
        per_class = [0 if class_weight is None else b * square for b in w]
        square *= mass
    return {
        "value": _fsum([times(a, b) for a, b in zip(q, surprise, strict=True)]) + square,
        "x": [times(a, b) for a, b in zip(by_x, slopes, strict=True)],
        "y": [
            None if is_zero(p) else w[j] * keep * surprise[j] + per_class[j]
            for j, p in enumerate(soft.p)
        ],
        "curvature": [
            times(h, a * a) + times(g, b)
            for g, h, a, b in zip(by_x, curvature, slopes, bends, strict=True)
        ],
    }


def shaped(x: Number, temperature: Number, softcap: Number | None) -> tuple[Any, Any, Any]:
    """Return softcap tanh(x / temperature / softcap), its slope and its curvature."""
    t = mp.mpf(temperature)
    z = x / t
    if softcap is None or z == -mp.inf:
        return z, 1 / t, mp.mpf(0)
    # as many digits of 1 - tanh^2 as there are
    a, e = mp.mpf(softcap), mp.exp(-2 * abs(z / softcap))
    tanh, slope = mp.sign(z) * (1 - e) / (1 + e), 4 * e / (1 + e) ** 2
    return a * tanh, slope / t, -2 * tanh * slope / (a * t * t)


def _cross_entropy_of_probabilities(
    x: Sequence[Number],
    y: Sequence[Number],
    w: Sequence[Number],
    smoothing: Number,
    floor: Number,
) -> Item:
    """sum_c q_c (-log max(x_c, floor)); below the floor the slope is that at the floor."""
    c = len(x)
    if any(not 0 <= a <= 1 for a in x):
        return _nan_row(c, "y")
    q = [b * ((1 - smoothing) * t + smoothing / c) for t, b in zip(y, w, strict=True)]
    p = [max(a, floor) for a in x]
    return {
        "value": mp.fsum([-a * mp.log(b) for a, b in zip(q, p, strict=True)]),
        "x": [-a / b for a, b in zip(q, p, strict=True)],
        "y": [-a * (1 - smoothing) * mp.log(b) for a, b in zip(w, p, strict=True)],
        "curvature": [a / (b * b) for a, b in zip(q, p, strict=True)],
    }


def softmax_focal(
    x: Sequence[Number],
    y: Any,
    *,
    gamma: Number = 2.0,
    class_weight: Sequence[Number] | None = None,
    ignore_index: int | None = None,
) -> Item:
    """sum_c w_c y_c f(p_c), f(p) = (1 - p)^gamma (-log p), differentiated by the chain rule."""
    c = len(x)
    if not isinstance(y, list) and y == ignore_index:
        return _ignored(c)
    soft = softmax(x)
    if soft is None:
        return _nan_row(c, "y")
    w = _weights(class_weight, c)
    t = [times(a, b) for a, b in zip(w, _targets(y, c), strict=True)]
    t = [0 if a == 0 else a for a in t]
    # 1 - p as the sum of the others: not to need a thousand digits for a certain class.
    q = [_fsum([b for k, b in enumerate(soft.p) if k != j]) for j in range(c)]

    def f(j: int, order: int) -> Number:
        p, r = soft.p[j], q[j]
        if is_zero(p):
            # f(p) = -log p + ..., p f'(p) -> -1: p enters with p f' and p^2 f'' only.
            return (mp.inf, -1, 1)[order]
        if is_zero(r):  # the only class: f = 0 whatever the logit
            return 0
        jet = Jet(soft.surprise[j], -1 / p, 1 / (2 * p * p)) * power(Jet(r, -1), gamma)
        return (jet.a0, times(p, jet.a1), 2 * times(p * p, jet.a2))[order]

    named = [j for j in range(c) if not is_zero(t[j])]
    first = {j: times(t[j], f(j, 1)) for j in named}
    second = {j: times(t[j], f(j, 2)) for j in named}

    def slope(k: int, j: int) -> Number:
        """Return d log p_k / d x_j."""
        return q[j] if k == j else -soft.p[j]

    return {
        "value": _fsum([times(t[j], f(j, 0)) for j in named]),
        "x": [_fsum([times(first[k], slope(k, j)) for k in named]) for j in range(c)],
        "y": [None if is_zero(soft.p[j]) else times(w[j], f(j, 0)) for j in range(c)],
        "curvature": [
            _fsum(
                [
                    # p f' enters with (d log p)^2 + d^2 log p, the second derivative of p over p.
                    times(second[k], times(slope(k, j), slope(k, j)))
                    + times(
                        first[k],
                        times(slope(k, j), slope(k, j)) - times(soft.p[j], q[j]),
                    )
                    for k in named
                ]
            )
            for j in range(c)
        ],
    }


def nll(
    x: Sequence[Number],
    y: int,
    *,
    class_weight: Sequence[Number] | None = None,
    ignore_index: int | None = None,
) -> Item:
    c = len(x)
    if y == ignore_index:
        return _ignored(c)
    w = _weights(class_weight, c)[y]
    return {
        "value": 0 if w == 0 else -w * x[y],
        "x": [-w if j == y else 0 for j in range(c)],
        "curvature": [0] * c,
    }


def kl_div(x: Sequence[Number], y: Sequence[Number], *, log_target: bool = False) -> Item:
    """sum y (log y - x), x log-probabilities; y may be log-probabilities too."""
    terms: list[Number] = []
    by_x: list[Number] = []
    by_y: list[Number] = []
    for a, b in zip(x, y, strict=True):
        if log_target:
            none = b == -mp.inf
            t = 0 if none else mp.exp(b)
            terms.append(0 if none else t * (b - a))
            by_y.append(0 if none else t * (b - a + 1))
        else:
            none = b == 0
            t = 0 if none else b
            terms.append(0 if none else b * (mp.log(b) - a))
            by_y.append(None if none else mp.log(b) - a + 1)
        by_x.append(-t)
    return {"value": _fsum(terms), "x": by_x, "y": by_y, "curvature": [0] * len(x)}


def kl_div_with_logits(x: Sequence[Number], y: Sequence[Number]) -> Item:
    """sum q (log q - log p), p = softmax(x), q = softmax(y)."""
    c, p, q = len(x), softmax(x), softmax(y)
    if p is None or q is None:
        return _nan_row(c, "y")
    log_ratio = [
        0 if is_zero(b) else mp.inf if is_zero(a) else p.surprise[j] - q.surprise[j]
        for j, (a, b) in enumerate(zip(p.p, q.p, strict=True))
    ]
    value = _fsum([times(b, d) for b, d in zip(q.p, log_ratio, strict=True)])
    finite = value != mp.inf
    return {
        "value": value,
        "x": [a - b for a, b in zip(p.p, q.p, strict=True)],
        "y": [times(b, d - value) if finite else None for b, d in zip(q.p, log_ratio, strict=True)],
        "curvature": [times(a, 1 - a) for a in p.p],
    }


def js_div(x: Sequence[Number], y: Sequence[Number]) -> Item:
    """(KL(x || m) + KL(y || m)) / 2, m = (x + y) / 2."""
    terms: list[Number] = []
    by: dict[str, list[Number]] = {"x": [], "y": [], "curvature": []}
    for a, b in zip(x, y, strict=True):
        m = (a + b) / 2
        terms.extend(u * mp.log(u / m) / 2 for u in (a, b) if u != 0)
        by["x"].append(None if a == 0 else mp.log(a / m) / 2)
        by["y"].append(None if b == 0 else mp.log(b / m) / 2)
        by["curvature"].append(None if a == 0 else 0 if b == 0 else b / (4 * m * a))
    return {"value": _fsum(terms), **by}


def log_softmax(x: Sequence[Number], y: Any) -> Item:
    soft = softmax(x)
    if soft is None:
        return {"value": [mp.nan] * len(x)}
    return {"value": [-a for a in soft.surprise]}


def softmax_function(x: Sequence[Number], y: Any) -> Item:
    soft = softmax(x)
    return {"value": [mp.nan] * len(x) if soft is None else soft.p}


def logsumexp(x: Sequence[Number], y: Any) -> Item:
    soft = softmax(x)
    return {"value": mp.nan if soft is None else soft.log_z}
