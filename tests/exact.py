"""The truth: every loss as its textbook has it, in mpmath, on the exact binary inputs.

Nothing here is clever: a loss is its definition, evaluated with so many digits that cancellation
does not matter. A result counts once it comes out the same at two precisions; a result that comes
out as 0 is asked for again with more digits, down to the deepest subnormal of float64.

Derivatives of pointwise losses are Taylor coefficients of the definition (`Jet`), so that they owe
nothing to anybody's closed form. Those of rowwise losses are the textbook's; `central_differences`
proves both against the definition.

Conventions: 0 * log 0 = 0; a class with logit -inf takes part in nothing; binary logits of +-inf
give the limit; the derivative at a kink is 0. `None` marks what no convention settles, such as the
derivative by a target probability of 0 of y log y.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import ml_dtypes
import mpmath
import numpy as np
import numpy.typing as npt

__all__ = [
    "EXACT",
    "Exact",
    "Truth",
    "central_differences",
    "compute_dtype",
    "evaluate",
    "exp",
    "items",
    "pack",
    "softmax",
    "ulp_error",
]

mp = mpmath.mp
Number = Any
"""An mpf, the Python number 0 where that is exact by structure, or None where undefined."""
Floats = npt.NDArray[np.float64]
Item = dict[str, Any]
"""Results of one item by name: value, x, y, var (derivatives) and curvature."""


# ------------------------------------------------------------------------------------------ jets


class Jet:
    """A Taylor polynomial a0 + a1 t + a2 t^2: a value, its derivative, half its second one.

    A coefficient that is the integer 0 is 0 by structure, and stays so through the arithmetic.
    """

    __slots__ = ("a0", "a1", "a2")

    def __init__(self, a0: Number, a1: Number = 0, a2: Number = 0) -> None:
        self.a0, self.a1, self.a2 = a0, a1, a2

    def __add__(self, other: Any) -> "Jet":
        o = _jet(other)
        return Jet(self.a0 + o.a0, self.a1 + o.a1, self.a2 + o.a2)

    def __neg__(self) -> "Jet":
        return Jet(-self.a0, -self.a1, -self.a2)

    def __sub__(self, other: Any) -> "Jet":
        o = _jet(other)
        return Jet(self.a0 - o.a0, self.a1 - o.a1, self.a2 - o.a2)

    def __rsub__(self, other: Any) -> "Jet":
        return _jet(other) - self

    def __mul__(self, other: Any) -> "Jet":
        a, b = self, _jet(other)
        return Jet(
            _times(a.a0, b.a0),
            _times(a.a0, b.a1) + _times(a.a1, b.a0),
            _times(a.a0, b.a2) + _times(a.a1, b.a1) + _times(a.a2, b.a0),
        )

    def __truediv__(self, other: Any) -> "Jet":
        a, b = self, _jet(other)
        q0 = _over(a.a0, b.a0)
        q1 = _over(a.a1 - _times(q0, b.a1), b.a0)
        return Jet(q0, q1, _over(a.a2 - _times(q0, b.a2) - _times(q1, b.a1), b.a0))

    def __rtruediv__(self, other: Any) -> "Jet":
        return _jet(other) / self

    __radd__ = __add__
    __rmul__ = __mul__


def _jet(a: Any) -> Jet:
    return a if isinstance(a, Jet) else Jet(a)


def _zero(a: Number) -> bool:
    return type(a) is int and a == 0


def _times(a: Number, b: Number) -> Number:
    return 0 if _zero(a) or _zero(b) else a * b


def _over(a: Number, b: Number) -> Number:
    return 0 if _zero(a) else mp.mpf(a) / b


def _at(a: Any) -> Number:
    return a.a0 if isinstance(a, Jet) else a


def exp(a: Number) -> Number:
    """Return exp(a); beyond 2^16, where no dtype reaches, that of 2^16: more only costs time."""
    return mp.exp(max(min(a, 65536), -65536))


def _exp(a: Any) -> Any:
    if not isinstance(a, Jet):
        return exp(a)
    e = exp(a.a0)
    return Jet(e, _times(a.a1, e), _times(a.a2 + _times(a.a1, a.a1) / 2, e))


def _log(a: Any) -> Any:
    if not isinstance(a, Jet):
        return mp.log(a) if a >= 0 else mp.nan
    if a.a0 < 0:
        return Jet(mp.nan, mp.nan, mp.nan)
    first = _over(a.a1, a.a0)
    return Jet(mp.log(a.a0), first, _over(a.a2, a.a0) - _times(first, first) / 2)


def _log1p(a: Any) -> Any:
    """Return log(1 + a): mpmath's own for the value, which needs fewer digits for small a."""
    if _at(a) <= -1:
        return Jet(mp.nan, mp.nan, mp.nan)
    if not isinstance(a, Jet):
        return mp.log1p(a)
    first = _over(a.a1, 1 + a.a0)
    return Jet(mp.log1p(a.a0), first, _over(a.a2, 1 + a.a0) - _times(first, first) / 2)


def _power(a: Any, g: Number) -> Any:
    """Return a^g for a constant g; 1 for g = 0, as 0^0 = 1."""
    if g == 0:
        return mp.one
    if not isinstance(a, Jet):
        return a**g
    u1, u2 = _over(a.a1, a.a0), _over(a.a2, a.a0)
    p = a.a0**g
    return Jet(
        p, _times(u1, g * p), _times(u2, g * p) + _times(_times(u1, u1), g * (g - 1) * p / 2)
    )


def _absolute(a: Any) -> Any:
    """Return |a|, with derivative 0 at 0."""
    return a * (1 if _at(a) > 0 else -1 if _at(a) < 0 else 0)


def _at_least(a: Any, floor: Number) -> Any:
    return a if _at(a) >= floor else floor


# ------------------------------------------------------------------------- pointwise definitions


def _mse(x: Any, y: Any) -> Any:
    return (x - y) * (x - y)


def _mae(x: Any, y: Any) -> Any:
    return _absolute(x - y)


def _huber(x: Any, y: Any, *, delta: Number = 1.0) -> Any:
    d, a = x - y, _absolute(x - y)
    return d * d / 2 if _at(a) <= delta else delta * (a - mp.mpf(delta) / 2)


def _smooth_l1(x: Any, y: Any, *, beta: Number = 1.0) -> Any:
    d, a = x - y, _absolute(x - y)
    return d * d / (2 * beta) if _at(a) < beta else a - mp.mpf(beta) / 2


def _log_cosh(x: Any, y: Any) -> Any:
    d = x - y
    if abs(_at(d)) > 1000:  # the textbook's limit, good to 800 digits
        return _absolute(d) - mp.log(2)
    return _log((_exp(d) + _exp(-d)) / 2)


def _quantile(x: Any, y: Any, *, q: Number = 0.5) -> Any:
    d = y - x
    if _at(d) == 0:
        return _at(d)
    return q * d if _at(d) > 0 else (mp.mpf(q) - 1) * d


def _msle(x: Any, y: Any) -> Any:
    d = _log1p(x) - _log1p(y)
    return d * d


def _mape(x: Any, y: Any, *, eps: Number = 2.0**-52) -> Any:
    return _absolute(x - y) / _at_least(_absolute(y), eps)


def _poisson_nll(
    x: Any, y: Any, *, log_input: bool = True, full: bool = False, eps: Number = 1e-8
) -> Any:
    value = _exp(x) - y * x if log_input else x - y * _log(x + eps)
    if full and _at(y) > 1:
        value = value + y * _log(y) - y + _log(2 * mp.pi * y) / 2
    return value


def _gaussian_nll(x: Any, y: Any, var: Any, *, full: bool = False, eps: Number = 1e-6) -> Any:
    if _at(var) < 0:
        return Jet(mp.nan, mp.nan, mp.nan)
    v, d = _at_least(var, eps), x - y
    value = (_log(v) + d * d / v) / 2
    return value + mp.log(2 * mp.pi) / 2 if full else value


def _binary_cross_entropy(x: Any, y: Any, *, eps: Number) -> Any:
    """Return the cross-entropy of max(p, eps) and max(1 - p, eps).

    The derivative by p is that of the unfloored formula at the floored numbers, not 0: a saturated
    wrong probability must still be told where to go. So these two jets keep their slope.
    """
    p, other = _jet(x), 1 - _jet(x)
    p = Jet(_at_least(p.a0, eps), p.a1, p.a2)
    other = Jet(_at_least(other.a0, eps), other.a1, other.a2)
    value = Jet(0)
    if not _constant_zero(y):
        value = value - y * _log(p)
    if not _constant_zero(1 - y):
        value = value - (1 - y) * _log(other)
    return value


def _constant_zero(a: Any) -> bool:
    return not isinstance(a, Jet) and a == 0


def _sigma(x: Any) -> Any:
    return 1 / (1 + _exp(-x))


def _softplus(x: Any) -> Any:
    return _log1p(_exp(x)) if _at(x) <= 0 else x + _log1p(_exp(-x))


def _binary_cross_entropy_with_logits(x: Any, y: Any, *, pos_weight: Number = 1) -> Any:
    return _softplus(-x) * (y * pos_weight) + _softplus(x) * (1 - y)


def _sigmoid_focal(x: Any, y: Any, *, alpha: Number | None = None, gamma: Number = 2.0) -> Any:
    missed = y * _sigma(-x) + (1 - y) * _sigma(x)
    value = _power(missed, gamma) * (_softplus(-x) * y + _softplus(x) * (1 - y))
    if alpha is not None:
        value = value * (alpha * y + (1 - mp.mpf(alpha)) * (1 - y))
    return value


def _hinge(x: Any, y: Any) -> Any:
    margin = 1 - y * x
    return margin if _at(margin) > 0 else 0


def _squared_hinge(x: Any, y: Any) -> Any:
    margin = 1 - y * x
    return margin * margin if _at(margin) > 0 else 0


def _soft_margin(x: Any, y: Any) -> Any:
    return _softplus(-(y * x))


def _bce_logits_limit(x: Number, y: Number, *, pos_weight: Number = 1) -> Item:
    """Limits at x = +-inf."""
    wrong = pos_weight * y if x < 0 else 1 - y
    return {
        "value": mp.inf if wrong > 0 else 0,
        "x": -wrong if x < 0 else wrong,
        "y": -x * pos_weight if x < 0 else -x,
        "curvature": 0,
    }


def _sigmoid_focal_limit(
    x: Number, y: Number, *, alpha: Number | None = None, gamma: Number = 2.0
) -> Item:
    # There the loss is a t^(gamma + 1) |x|, t what is missed and a the balance of the two sides.
    t, dt = (y, 1) if x < 0 else (1 - y, -1)
    a, da = (1, 0) if alpha is None else (alpha * y + (1 - mp.mpf(alpha)) * (1 - y), 2 * alpha - 1)
    wrong = a * _power(t, gamma) * t
    by_y = _power(t, gamma) * (da * t + a * (gamma + 1) * dt)
    return {
        "value": mp.inf if wrong > 0 else 0,
        "x": -wrong if x < 0 else wrong,
        "y": by_y * mp.inf if by_y != 0 else 0,
        "curvature": 0,
    }


def _soft_margin_limit(x: Number, y: Number) -> Item:
    wrong = y * x < 0
    return {
        "value": mp.inf if wrong else 0,
        "x": -y if wrong else 0,
        "y": -x if wrong else 0,
        "curvature": 0,
    }


def _softplus_limit(x: Number, y: Number) -> Item:
    return {"value": mp.inf if x > 0 else 0}


def _log_sigmoid_limit(x: Number, y: Number) -> Item:
    return {"value": 0 if x > 0 else -mp.inf}


def _kink_of_huber(x: Number, y: Number, *, delta: Number = 1.0) -> bool:
    """Whether rounding x - y may move it over the point where the curvature jumps."""
    return bool(abs(abs(x - y) - delta) <= delta * mp.mpf(2) ** -16)


def _kink_of_smooth_l1(x: Number, y: Number, *, beta: Number = 1.0) -> bool:
    return _kink_of_huber(x, y, delta=beta)


# --------------------------------------------------------------------------- rowwise definitions


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
        [_over(a, z) for a in e],
        [mp.inf if a == -mp.inf else log + (m - a) for a in x],
        m + log,
        sum(not _zero(a) for a in e),
    )


def _nan_row(c: int, *names: str) -> Item:
    row = [mp.nan] * c
    return {"value": mp.nan, "x": row, "curvature": row, **dict.fromkeys(names, row)}


def _targets(y: Any, c: int) -> list[Number]:
    return list(y) if isinstance(y, list) else [1 if j == y else 0 for j in range(c)]


def _weights(class_weight: Sequence[Number] | None, c: int) -> Sequence[Number]:
    return [1] * c if class_weight is None else class_weight


def _fsum(terms: Sequence[Number]) -> Number:
    terms = [a for a in terms if not _zero(a)]
    return mp.fsum(terms) if terms else 0


def _ignored(c: int) -> Item:
    return {"value": 0, "x": [0] * c, "curvature": [0] * c}


def _cross_entropy(
    x: Sequence[Number],
    y: Any,
    *,
    class_weight: Sequence[Number] | None = None,
    label_smoothing: Number = 0.0,
    ignore_index: int | None = None,
    from_logits: bool = True,
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
    soft = softmax(x)
    if soft is None:
        return _nan_row(c, "y")
    keep, share = 1 - mp.mpf(label_smoothing), mp.mpf(label_smoothing) / soft.unmasked
    w = _weights(class_weight, c)
    q = [
        _times(w[j], _times(keep, t) + (0 if _zero(soft.p[j]) or share == 0 else share))
        for j, t in enumerate(_targets(y, c))
    ]
    q = [0 if a == 0 else a for a in q]
    surprise = soft.surprise
    total = _fsum(q)
    return {
        "value": _fsum([_times(a, b) for a, b in zip(q, surprise, strict=True)]),
        "x": [_times(p, total) - a for p, a in zip(soft.p, q, strict=True)],
        "y": [None if _zero(p) else w[j] * keep * surprise[j] for j, p in enumerate(soft.p)],
        "curvature": [_times(total, _times(p, 1 - p)) for p in soft.p],
    }


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


def _softmax_focal(
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
    t = [_times(a, b) for a, b in zip(w, _targets(y, c), strict=True)]
    t = [0 if a == 0 else a for a in t]
    # 1 - p as the sum of the others: not to need a thousand digits for a certain class.
    q = [_fsum([b for k, b in enumerate(soft.p) if k != j]) for j in range(c)]

    def f(j: int, order: int) -> Number:
        p, r = soft.p[j], q[j]
        if _zero(p):
            # f(p) = -log p + ..., p f'(p) -> -1: p enters with p f' and p^2 f'' only.
            return (mp.inf, -1, 1)[order]
        if _zero(r):  # the only class: f = 0 whatever the logit
            return 0
        jet = Jet(soft.surprise[j], -1 / p, 1 / (2 * p * p)) * _power(Jet(r, -1), gamma)
        return (jet.a0, _times(p, jet.a1), 2 * _times(p * p, jet.a2))[order]

    named = [j for j in range(c) if not _zero(t[j])]
    first = {j: _times(t[j], f(j, 1)) for j in named}
    second = {j: _times(t[j], f(j, 2)) for j in named}

    def slope(k: int, j: int) -> Number:
        """Return d log p_k / d x_j."""
        return q[j] if k == j else -soft.p[j]

    return {
        "value": _fsum([_times(t[j], f(j, 0)) for j in named]),
        "x": [_fsum([_times(first[k], slope(k, j)) for k in named]) for j in range(c)],
        "y": [None if _zero(soft.p[j]) else _times(w[j], f(j, 0)) for j in range(c)],
        "curvature": [
            _fsum(
                [
                    # p f' enters with (d log p)^2 + d^2 log p, the second derivative of p over p.
                    _times(second[k], _times(slope(k, j), slope(k, j)))
                    + _times(
                        first[k],
                        _times(slope(k, j), slope(k, j)) - _times(soft.p[j], q[j]),
                    )
                    for k in named
                ]
            )
            for j in range(c)
        ],
    }


def _nll(
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


def _kl_div(x: Sequence[Number], y: Sequence[Number], *, log_target: bool = False) -> Item:
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


def _kl_div_with_logits(x: Sequence[Number], y: Sequence[Number]) -> Item:
    """sum q (log q - log p), p = softmax(x), q = softmax(y)."""
    c, p, q = len(x), softmax(x), softmax(y)
    if p is None or q is None:
        return _nan_row(c, "y")
    log_ratio = [
        0 if _zero(b) else mp.inf if _zero(a) else p.surprise[j] - q.surprise[j]
        for j, (a, b) in enumerate(zip(p.p, q.p, strict=True))
    ]
    value = _fsum([_times(b, d) for b, d in zip(q.p, log_ratio, strict=True)])
    finite = value != mp.inf
    return {
        "value": value,
        "x": [a - b for a, b in zip(p.p, q.p, strict=True)],
        "y": [
            _times(b, d - value) if finite else None for b, d in zip(q.p, log_ratio, strict=True)
        ],
        "curvature": [_times(a, 1 - a) for a in p.p],
    }


def _js_div(x: Sequence[Number], y: Sequence[Number]) -> Item:
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


def _log_softmax(x: Sequence[Number], y: Any) -> Item:
    soft = softmax(x)
    if soft is None:
        return {"value": [mp.nan] * len(x)}
    return {"value": [-a for a in soft.surprise]}


def _softmax_function(x: Sequence[Number], y: Any) -> Item:
    soft = softmax(x)
    return {"value": [mp.nan] * len(x) if soft is None else soft.p}


def _logsumexp(x: Sequence[Number], y: Any) -> Item:
    soft = softmax(x)
    return {"value": mp.nan if soft is None else soft.log_z}


# ----------------------------------------------------------------------------------- the table


@dataclass(frozen=True)
class Exact:
    """A loss by its definition: callables on the mpmath numbers of one item."""

    value: Callable[..., Number]
    gradients: Mapping[str, Callable[..., Any]]
    curvature: Callable[..., Any] | None
    rowwise: bool
    item: Callable[..., Item]
    """All of them in one go."""
    target: bool = True
    """Whether there is a y; softmax and the like have none."""


def _pick(item: Callable[..., Item], name: str) -> Callable[..., Any]:
    def picked(*args: Any, **parameters: Any) -> Any:
        return item(*args, **parameters)[name]

    return picked


def _pointwise(
    definition: Callable[..., Any],
    *,
    gradients: Sequence[str] = ("x", "y"),
    limit: Callable[..., Item] | None = None,
    kink: Callable[..., bool] | None = None,
) -> Exact:
    def item(*args: Any, **parameters: Any) -> Item:
        if limit is not None and mp.isinf(args[0]):
            return limit(*args, **parameters)
        out: Item = {}
        for position, name in enumerate(gradients):
            jets = [Jet(a, 1) if k == position else a for k, a in enumerate(args)]
            result = _jet(definition(*jets, **parameters))
            out[name] = result.a1
            if position == 0:
                out["value"] = result.a0
                out["curvature"] = _times(2, result.a2)
        if kink is not None and kink(*args, **parameters):
            out["curvature"] = None
        return out

    return Exact(
        _pick(item, "value"),
        {name: _pick(item, name) for name in gradients},
        _pick(item, "curvature"),
        rowwise=False,
        item=item,
    )


def _rowwise(item: Callable[..., Item], *gradients: str) -> Exact:
    return Exact(
        _pick(item, "value"),
        {name: _pick(item, name) for name in gradients},
        _pick(item, "curvature"),
        rowwise=True,
        item=item,
    )


def _function(item: Callable[..., Item], *, rowwise: bool) -> Exact:
    return Exact(_pick(item, "value"), {}, None, rowwise=rowwise, item=item, target=False)


def _plain(
    definition: Callable[[Any], Any], limit: Callable[..., Item]
) -> Callable[[Number, Any], Item]:
    def item(x: Number, y: Any) -> Item:
        return limit(x, y) if mp.isinf(x) else {"value": definition(x)}

    return item


EXACT: dict[str, Exact] = {
    "mse": _pointwise(_mse),
    "mae": _pointwise(_mae),
    "huber": _pointwise(_huber, kink=_kink_of_huber),
    "smooth_l1": _pointwise(_smooth_l1, kink=_kink_of_smooth_l1),
    "log_cosh": _pointwise(_log_cosh),
    "quantile": _pointwise(_quantile),
    "msle": _pointwise(_msle),
    "mape": _pointwise(_mape),
    "poisson_nll": _pointwise(_poisson_nll),
    "gaussian_nll": _pointwise(_gaussian_nll, gradients=("x", "y", "var")),
    "binary_cross_entropy": _pointwise(_binary_cross_entropy),
    "binary_cross_entropy_with_logits": _pointwise(
        _binary_cross_entropy_with_logits, limit=_bce_logits_limit
    ),
    "sigmoid_focal": _pointwise(_sigmoid_focal, limit=_sigmoid_focal_limit),
    "hinge": _pointwise(_hinge),
    "squared_hinge": _pointwise(_squared_hinge),
    "soft_margin": _pointwise(_soft_margin, limit=_soft_margin_limit),
    "cross_entropy": _rowwise(_cross_entropy, "x", "y"),
    "softmax_focal": _rowwise(_softmax_focal, "x", "y"),
    "nll": _rowwise(_nll, "x"),
    "kl_div": _rowwise(_kl_div, "x", "y"),
    "kl_div_with_logits": _rowwise(_kl_div_with_logits, "x", "y"),
    "js_div": _rowwise(_js_div, "x", "y"),
    "log_softmax": _function(_log_softmax, rowwise=True),
    "softmax": _function(_softmax_function, rowwise=True),
    "logsumexp": _function(_logsumexp, rowwise=True),
    "softplus": _function(_plain(_softplus, _softplus_limit), rowwise=False),
    "log_sigmoid": _function(_plain(lambda x: -_softplus(-x), _log_sigmoid_limit), rowwise=False),
}


# ---------------------------------------------------------------------- evaluation of whole arrays

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
    for name, value in b.items():
        if isinstance(value, list):
            if not all(_same(u, v, last=last) for u, v in zip(a[name], value, strict=True)):
                return False
        elif not _same(a[name], value, last=last):
            return False
    return True


def settle(compute: Callable[[], Item]) -> Item:
    """Return what `compute` gives with as many digits as it takes."""
    with mp.workprec(_LEVELS[0]):
        before = compute()
    for level in _LEVELS[1:]:
        with mp.workprec(level):
            now = compute()
            if _settled(before, now, last=level == _LEVELS[-1]):
                return now
        before = now
    return before


def compute_dtype(dtype: Any) -> np.dtype[Any]:
    """Return the dtype in which a loss of arrays of this dtype is computed: at least float32."""
    return np.dtype(np.float64 if np.dtype(dtype) == np.float64 else np.float32)


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
    if not isinstance(value, float):
        return value
    info = np.finfo(dtype)
    least, largest = float(info.smallest_normal), float(info.max)
    return _number(np.copysign(min(max(abs(value), least), largest), value) if value else 0)


def items(
    loss: str, x: Any, y: Any = None, var: Any = None, **parameters: Any
) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Yield the exact arguments and parameters of each item, classes in the last axis."""
    exact = EXACT[loss]
    x = np.asarray(x)
    compute = compute_dtype(x.dtype)
    if loss == "binary_cross_entropy" and parameters.get("eps") is None:
        parameters["eps"] = float(np.finfo(compute).smallest_normal)
    if parameters.get("from_logits") is False:
        parameters["floor"] = float(np.finfo(compute).smallest_normal)
    parameters = {name: _normal(value, compute) for name, value in parameters.items()}
    if parameters.get("pos_weight", 0) is None:
        del parameters["pos_weight"]
    shape = x.shape[:-1] if exact.rowwise else x.shape
    given = {n: _parameter(n, v, exact.rowwise, shape) for n, v in parameters.items()}
    columns = [_columns(a, x.shape, exact.rowwise) for a in (x, y, var) if a is not None]
    for i in range(int(np.prod(shape))):
        args = tuple(column[i] for column in columns)
        yield (
            args if exact.target else (args[0], None),
            {n: _number(v[i]) if isinstance(v, np.ndarray) else v for n, v in given.items()},
        )


def _columns(a: Any, shape: tuple[int, ...], rowwise: bool) -> list[Any]:
    a = np.asarray(a)
    if rowwise and a.shape != shape:
        return [int(label) for label in a.ravel()]
    if rowwise:
        rows = a.reshape(-1, shape[-1]).astype(np.float64)
        return [[_number(v) for v in row] for row in rows]
    return [_number(v) for v in a.astype(np.float64).ravel()]


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


def evaluate(
    loss: str, x: Any, y: Any = None, var: Any = None, **parameters: Any
) -> dict[str, Truth]:
    """Return value, derivatives by x, y and var, and curvature of each item, exactly."""
    exact, x = EXACT[loss], np.asarray(x)
    results = [
        settle(partial(exact.item, *args, **given))
        for args, given in items(loss, x, y, var, **parameters)
    ]
    labels = exact.rowwise and np.ndim(y) != x.ndim
    truths: dict[str, Truth] = {}
    for name in results[0] if results else ():
        if name == "y" and labels:
            continue
        column = [r[name] for r in results]
        if isinstance(column[0], list):
            truths[name] = pack([a for row in column for a in row], x.shape)
        else:
            truths[name] = pack(column, x.shape[:-1] if exact.rowwise else x.shape)
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
