"""Families of inputs that losses get wrong, and how far a result may be off.

`families` yields named inputs for each loss; `BOUNDS` holds the accuracy contract as data; `judge`
measures results against the truth by that contract.

The honest exceptions: where a result passes through 0 between terms of opposite sign, the bound is
absolute, in eps of the sum of the magnitudes of these terms. `Bound.scale` gives that sum.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import ml_dtypes
import numpy as np
import numpy.typing as npt

from tests.exact import (
    EXACT,
    Truth,
    compute_dtype,
    evaluate,
    exp,
    items,
    mp,
    pack,
    softmax,
    ulp_error,
)

__all__ = [
    "BOUNDS",
    "DTYPES",
    "HALF_BOUND",
    "Bound",
    "Verdict",
    "allowed",
    "families",
    "judge",
    "scales",
]

Array = npt.NDArray[Any]
Kwargs = dict[str, Any]

DTYPES: dict[str, np.dtype[Any]] = {
    name: np.dtype(scalar)
    for name, scalar in {
        "float64": np.float64,
        "float32": np.float32,
        "float16": np.float16,
        "bfloat16": ml_dtypes.bfloat16,
    }.items()
}

# ------------------------------------------------------------------------------------ the bounds


@dataclass(frozen=True)
class Bound:
    """How far off a loss may be, in eps of its compute dtype; 0 is exact.

    The losses' docstrings and README's table say the same, by `tests/test_accuracy.py`.
    """

    value: float
    gradient: float
    curvature: float = 4.0
    of: Mapping[str, float] = field(default_factory=dict[str, float])
    """Gradients (by their argument) whose bound is another."""
    per_gamma: float = 0.0
    """What each unit of gamma adds."""
    underflow: float = 0.0
    """Smallest subnormal numbers of absolute error that do not count.

    For products whose small factor is subnormal before the large one multiplies it: p^2 log p.
    """
    scale: Callable[..., dict[str, Any]] | None = None
    """The sum of magnitudes, where a bound is absolute: from the numbers of one item, by result.

    0 where terms of one sign are added: there the bound is relative.
    """


def allowed(loss: str, what: str, parameters: Mapping[str, Any]) -> float:
    """Return the bound of one result of a loss: value, x, y, var or curvature."""
    bound = BOUNDS[loss]
    base = {"value": bound.value, "curvature": bound.curvature}.get(
        what, bound.of.get(what, bound.gradient)
    )
    return base + bound.per_gamma * float(parameters.get("gamma", 2.0))


def _log_cosh_scale(x: Any, y: Any) -> dict[str, Any]:
    # sech^2 decays like exp(-2|d|): a rounded d is off by |d| eps/2.
    d = abs(x - y)
    e = exp(-2 * d)
    return {"curvature": 4 * e / (1 + e) ** 2 * (1 + d)}


def _msle_scale(x: Any, y: Any) -> dict[str, Any]:
    if x <= -1 or y <= -1:
        return {"curvature": 0}
    return {"curvature": 2 * (1 + abs(mp.log1p(x) - mp.log1p(y))) / (1 + x) ** 2}


def _mape_scale(x: Any, y: Any, *, eps: Any = 2.0**-52) -> dict[str, Any]:
    return {"y": 0 if abs(y) < eps else 1 / abs(y) + abs(x - y) / y**2}


def _poisson_scale(
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


def _gaussian_scale(
    x: Any, y: Any, var: Any, *, full: bool = False, eps: Any = 1e-6
) -> dict[str, Any]:
    v, d = max(var, mp.mpf(eps)), x - y
    terms = (abs(mp.log(v)) + d * d / v + (mp.log(2 * mp.pi) if full else 0)) / 2
    return {"value": terms, "var": 0 if var < eps else (1 / v + (d / v) ** 2) / 2}


def _bce_scale(x: Any, y: Any, *, eps: Any) -> dict[str, Any]:
    p, other = max(x, eps), max(1 - x, eps)
    return {"y": abs(mp.log(p)) + abs(mp.log(other))}


def _bce_logits_scale(x: Any, y: Any, *, pos_weight: Any = 1) -> dict[str, Any]:
    if mp.isinf(x):
        return {"x": 0, "y": 0}
    right, wrong = 1 / (1 + exp(-x)), 1 / (1 + exp(x))
    soft = 0 < y < 1
    by_y = pos_weight * mp.log1p(exp(-x)) + mp.log1p(exp(x)) if pos_weight != 1 else 0
    return {"x": (1 - y) * right + pos_weight * y * wrong if soft else 0, "y": by_y}


def _sigmoid_focal_scale(x: Any, y: Any, *, alpha: Any = None, gamma: Any = 2.0) -> dict[str, Any]:
    """Sums of magnitudes for a t^gamma b, t = 1 - p_t, b the cross-entropy, by the product rule."""
    if mp.isinf(x):
        return {"x": 0, "y": 0, "curvature": 0}
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
    soft = softmax(x)
    nothing: list[Any] = [0] * len(x)
    return (nothing, nothing) if soft is None else (soft.p, soft.surprise)


def _targets_of(y: Any, c: int, class_weight: Any) -> list[Any]:
    t = y if isinstance(y, list) else [mp.mpf(j == y) for j in range(c)]
    return t if class_weight is None else [a * w for a, w in zip(t, class_weight, strict=True)]


def _cross_entropy_scale(
    x: list[Any],
    y: Any,
    *,
    class_weight: Any = None,
    label_smoothing: Any = 0.0,
    ignore_index: int | None = None,
    from_logits: bool = True,
    floor: Any = 0,
) -> dict[str, Any]:
    c = len(x)
    if not from_logits:
        return {"x": [0] * c}
    p, t = _probabilities(x)[0], _targets_of(y, c, class_weight)
    if label_smoothing:
        w = [1] * c if class_weight is None else class_weight
        live = sum(a > 0 for a in p)
        t = [
            (1 - label_smoothing) * a + (label_smoothing / live * w[j] if p[j] else 0)
            for j, a in enumerate(t)
        ]
    elif sum(a != 0 for a in t) <= 1:
        return {"x": [0] * c}
    total = mp.fsum(t)
    return {"x": [a * total + b for a, b in zip(p, t, strict=True)]}


def _softmax_focal_scale(
    x: list[Any],
    y: Any,
    *,
    gamma: Any = 2.0,
    class_weight: Any = None,
    ignore_index: int | None = None,
) -> dict[str, Any]:
    c = len(x)
    (p, logs), t = _probabilities(x), _targets_of(y, c, class_weight)
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


def _kl_div_scale(x: list[Any], y: list[Any], *, log_target: bool = False) -> dict[str, Any]:
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


def _kl_div_with_logits_scale(x: list[Any], y: list[Any]) -> dict[str, Any]:
    (p, log_p), (q, log_q) = _probabilities(x), _probabilities(y)
    by_y = [b * (log_p[j] + log_q[j] + 1) if p[j] and b else 0 for j, b in enumerate(q)]
    return {"x": [a + b for a, b in zip(p, q, strict=True)], "y": by_y}


def _logsumexp_scale(x: list[Any], y: Any) -> dict[str, Any]:
    soft = softmax(x)
    return {"value": 0 if soft is None else abs(max(x)) + soft.log_z - max(x)}


BOUNDS: dict[str, Bound] = {
    "mse": Bound(2, 1, 0),
    "mae": Bound(0.5, 0, 0),
    "huber": Bound(2, 1, 0),
    "smooth_l1": Bound(3, 2, 1),
    "log_cosh": Bound(8, 4, 8, scale=_log_cosh_scale),
    "quantile": Bound(2, 1, 0),
    "msle": Bound(8, 4, 8, scale=_msle_scale),
    "mape": Bound(4, 4, 0, scale=_mape_scale),
    "poisson_nll": Bound(4, 2, 4, of={"y": 4}, scale=_poisson_scale),
    "gaussian_nll": Bound(4, 1, 1, of={"var": 4}, scale=_gaussian_scale),
    "binary_cross_entropy": Bound(4, 4, 4, scale=_bce_scale),
    "binary_cross_entropy_with_logits": Bound(4, 4, 6, scale=_bce_logits_scale),
    "sigmoid_focal": Bound(4, 4, 8, per_gamma=2, underflow=1024, scale=_sigmoid_focal_scale),
    "hinge": Bound(1, 0, 0),
    "squared_hinge": Bound(2, 2, 0),
    "soft_margin": Bound(4, 4, 6, underflow=1024),
    "cross_entropy": Bound(4, 4, 8, scale=_cross_entropy_scale),
    # A power gamma + 1 of 1 - p, which is within softmax's 4 eps.
    "softmax_focal": Bound(4, 4, 8, per_gamma=4, underflow=1024, scale=_softmax_focal_scale),
    "nll": Bound(0.5, 0, 0),
    "kl_div": Bound(4, 2, 0, of={"y": 4}, underflow=1024, scale=_kl_div_scale),
    "kl_div_with_logits": Bound(
        8, 4, 8, of={"y": 16}, underflow=1024, scale=_kl_div_with_logits_scale
    ),
    "js_div": Bound(8, 4, 4),
    "log_softmax": Bound(4, 0),
    "softmax": Bound(4, 0),
    "logsumexp": Bound(2, 0, scale=_logsumexp_scale),
    "softplus": Bound(4, 0),
    "log_sigmoid": Bound(4, 0),
}

HALF_BOUND = 0.51
"""Gradients of half-precision inputs are rounded once: half an ulp, and a little."""


def scales(loss: str, kwargs: Mapping[str, Any]) -> dict[str, Truth]:
    """Return the sums of magnitudes by which a loss's bounds are absolute, for each result."""
    scale = BOUNDS[loss].scale
    if scale is None:
        return {}
    x = np.asarray(kwargs["x"])
    with mp.workprec(80):
        rows = [scale(*args, **parameters) for args, parameters in items(loss, **kwargs)]
    out: dict[str, Truth] = {}
    for name in rows[0] if rows else ():
        column = [row[name] for row in rows]
        if isinstance(column[0], list):
            out[name] = pack([a for row in column for a in row], x.shape)
        else:
            out[name] = pack(column, x.shape[:-1] if EXACT[loss].rowwise else x.shape)
    return out


@dataclass(frozen=True)
class Verdict:
    """The errors of one result and what is allowed, both in eps of `dtype`."""

    errors: npt.NDArray[np.float64]
    bound: float
    dtype: np.dtype[Any]

    @property
    def worst(self) -> float:
        return float(self.errors.max(initial=0.0))

    @property
    def missed(self) -> npt.NDArray[np.bool_]:
        return self.errors > self.bound


def judge(
    loss: str,
    kwargs: Mapping[str, Any],
    got: Mapping[str, Any],
    truth: Mapping[str, Truth] | None = None,
    scale: Mapping[str, Truth] | None = None,
) -> dict[str, Verdict]:
    """Measure results (value, x, y, var, curvature; unreduced) by the contract.

    Losses of half-precision inputs are float32 and held to the bound in eps of float32; their
    gradients have the inputs' dtype and are held to `HALF_BOUND`.
    """
    truth = evaluate(loss, **kwargs) if truth is None else truth
    scale = scales(loss, kwargs) if scale is None else scale
    given = np.asarray(kwargs["x"]).dtype
    compute = compute_dtype(given)
    forgiven = BOUNDS[loss].underflow * float(np.finfo(compute).smallest_subnormal)
    verdicts: dict[str, Verdict] = {}
    for what, result in got.items():
        bound, size = allowed(loss, what, kwargs), scale.get(what)
        if given == compute or (what == "value" and EXACT[loss].target):
            errors = ulp_error(result, truth[what], compute, scale=size, forgiven=forgiven)
            verdicts[what] = Verdict(errors, bound, compute)
            continue
        slack = None
        if size is not None:
            eps = bound * float(np.finfo(compute).eps)
            slack = Truth(size.high * eps, size.low, size.exponent, size.open)
        errors = ulp_error(result, truth[what], given, slack=slack, forgiven=forgiven)
        verdicts[what] = Verdict(errors, HALF_BOUND, given)
    return verdicts


# ---------------------------------------------------------------------------------- the families


class Draw:
    """Random numbers in the range of a dtype, cast to it. Same seed, same numbers."""

    def __init__(self, rng: np.random.Generator, dtype: np.dtype[Any], n: int) -> None:
        self.rng, self.dtype, self.n = rng, dtype, n
        info, compute = ml_dtypes.finfo(dtype), np.finfo(compute_dtype(dtype))
        self.eps, self.max = float(info.eps), float(info.max)
        self.tiny = float(info.smallest_normal)
        self.subnormal = float(info.smallest_subnormal)
        self.digits = float(np.log10(self.max))
        self.gap = -float(np.log(compute.smallest_normal)) - 1.5
        """The largest gap of logits that leaves a normal probability: 85.8, in float64 706.9."""
        self.overflow = float(np.log(float(compute.max)))

    def cast(self, a: Any) -> Array:
        a = np.asarray(a, dtype=np.float64)
        finite = np.isfinite(a)
        clipped: Array = np.where(finite, np.clip(a, -self.max, self.max), a)
        return clipped.astype(self.dtype)

    def normal(self, scale: float = 1.0, shape: tuple[int, ...] | None = None) -> Array:
        return self.cast(self.rng.normal(size=shape or (self.n,)) * scale)

    def uniform(self, low: float, high: float, shape: tuple[int, ...] | None = None) -> Array:
        # The middle and the half: high - low may overflow.
        middle, half = high / 2 + low / 2, high / 2 - low / 2
        return self.cast(middle + half * self.rng.uniform(-1, 1, shape or (self.n,)))

    def powers(self, low: float, high: float, shape: tuple[int, ...] | None = None) -> Array:
        """Numbers spread evenly over the decades from 10^low to 10^high."""
        return self.cast(10 ** self.rng.uniform(low, high, shape or (self.n,)))

    def signs(self, shape: tuple[int, ...] | None = None) -> Array:
        return self.cast(self.rng.integers(0, 2, shape or (self.n,)) * 2 - 1)

    def bits(self) -> Array:
        return self.cast(self.rng.integers(0, 2, self.n))

    def tiniest(self, shape: tuple[int, ...] | None = None) -> Array:
        """Subnormal numbers."""
        steps = self.rng.integers(1, int(self.tiny / self.subnormal), shape or (self.n,))
        return self.cast(steps * self.subnormal)

    def nudged(self, a: Array, ulps: int = 4) -> Array:
        """Numbers a few units in the last place away."""
        steps = self.rng.integers(-ulps, ulps + 1, a.shape)
        return self.cast(a.astype(np.float64) * (1 + steps * self.eps))

    def labels(self, c: int) -> npt.NDArray[np.int64]:
        return self.rng.integers(0, c, self.n)

    def probabilities(self, c: int, scale: float = 1.0) -> Array:
        z = self.rng.normal(size=(self.n, c)) * scale
        e = np.exp(z - z.max(axis=-1, keepdims=True))
        return self.cast(e / e.sum(axis=-1, keepdims=True))


Family = Callable[[Draw], Kwargs]
Families = dict[str, Family]


def _with(family: Family, **parameters: Any) -> Family:
    return lambda d: {**family(d), **parameters}


# Regression: pairs of numbers.


def _pair(x: Callable[[Draw], Array], y: Callable[[Draw], Array]) -> Family:
    def family(d: Draw) -> Kwargs:
        first = x(d)
        return {"x": first, "y": y(d)}

    return family


def _near(center: Callable[[Draw], Array], move: Callable[[Draw, Array], Array]) -> Family:
    def family(d: Draw) -> Kwargs:
        y = center(d)
        return {"x": d.cast(move(d, y)), "y": y}

    return family


def _huge(d: Draw, shape: tuple[int, ...] | None = None) -> Array:
    """Numbers of every magnitude above 1000, to which small ones add nothing."""
    return d.cast(d.signs(shape).astype(float) * d.powers(3, d.digits - 0.7, shape).astype(float))


def _mixed(d: Draw) -> Array:
    """Numbers of every magnitude whose squares are normal."""
    return d.cast(d.signs() * d.powers(np.log10(d.tiny) / 2, d.digits / 2).astype(np.float64))


_REGRESSION: Families = {
    "normal": _pair(lambda d: d.normal(), lambda d: d.normal()),
    "scale_10": _pair(lambda d: d.normal(10), lambda d: d.normal(10)),
    "scale_100": _pair(lambda d: d.normal(100), lambda d: d.normal(100)),
    "close": _near(lambda d: d.normal(), lambda d, y: d.nudged(y)),
    "equal": _near(lambda d: d.normal(), lambda d, y: y),
    "offset": _pair(
        lambda d: d.cast(1000 + d.normal().astype(float)),
        lambda d: d.cast(1000 + d.normal().astype(float)),
    ),
    "small": _near(
        lambda d: d.cast(np.zeros(d.n)),
        lambda d, y: d.signs().astype(float) * d.powers(max(-d.digits, -30), -1).astype(float),
    ),
    "mixed": _pair(_mixed, _mixed),
    "big": _pair(
        lambda d: d.cast(d.signs().astype(float) * d.powers(1, d.digits / 2 - 0.2).astype(float)),
        lambda d: d.normal(),
    ),
    "square_overflows": _pair(
        lambda d: d.cast(d.signs().astype(float) * d.powers(d.digits / 2, d.digits - 0.4)),
        lambda d: d.normal(),
    ),
    "near_max": _pair(
        lambda d: d.uniform(-d.max / 2, d.max / 2), lambda d: d.uniform(-d.max / 2, d.max / 2)
    ),
    "difference_overflows": _near(
        lambda d: d.uniform(0.6 * d.max, d.max), lambda d, y: -y.astype(float)
    ),
    "subnormal": _pair(lambda d: d.tiniest(), lambda d: d.tiniest()),
}


def _but(*names: str) -> Families:
    return {name: family for name, family in _REGRESSION.items() if name not in names}


def _varied(base: Families, names: tuple[str, ...], **parameters: Any) -> Families:
    label = "_".join(f"{k}_{v}" for k, v in parameters.items())
    return {f"{name}_{label}": _with(base[name], **parameters) for name in names}


def _positive(d: Draw, scale: float = 1.0) -> Array:
    return d.cast(np.abs(d.normal(scale).astype(float)))


_MSLE: Families = {
    "normal": _pair(_positive, _positive),
    "scale_10": _pair(lambda d: _positive(d, 10), lambda d: _positive(d, 10)),
    "scale_100": _pair(lambda d: _positive(d, 100), lambda d: _positive(d, 100)),
    "close": _near(_positive, lambda d, y: d.nudged(y)),
    "equal": _near(_positive, lambda d, y: y),
    "small": _pair(
        lambda d: d.powers(max(-d.digits, -30), -1), lambda d: d.powers(max(-d.digits, -30), -1)
    ),
    "offset": _near(
        lambda d: d.cast(np.full(d.n, 1000.0)), lambda d, y: 1000 + d.normal().astype(float)
    ),
    "near_minus_one": _pair(lambda d: d.uniform(-0.999, -0.5), lambda d: d.uniform(-0.999, -0.5)),
    "negative": _pair(lambda d: d.uniform(-0.9, 0.0), lambda d: d.uniform(-0.5, 2.0)),
    "big": _pair(lambda d: d.powers(0, d.digits / 2), lambda d: d.powers(0, d.digits / 2)),
    "near_max": _pair(lambda d: d.powers(d.digits - 2, d.digits), _positive),
    "subnormal": _pair(lambda d: d.tiniest(), lambda d: d.tiniest()),
    "below_minus_one": _pair(lambda d: d.uniform(-3, -1.1), _positive),
}


def _small_size(d: Draw) -> Array:
    return d.cast(d.signs().astype(float) * d.powers(-6, -1).astype(float))


_MAPE: Families = {
    **_but("small", "mixed", "difference_overflows"),
    "small_target": _pair(lambda d: d.normal(), lambda d: d.powers(-6, -2)),
    "zero_target": _pair(lambda d: d.normal(), lambda d: d.cast(np.zeros(d.n))),
    "far": _pair(lambda d: d.powers(-4, 0), lambda d: d.powers(1, 3)),
    "floored": _with(_pair(lambda d: d.normal(0.01), lambda d: d.normal(0.01)), eps=0.0077),
    "zero_target_eps_1e-50": _with(_pair(_small_size, lambda d: d.cast(np.zeros(d.n))), eps=1e-50),
    **_varied(_REGRESSION, ("normal", "equal"), eps=1e-50),
    **_varied(_REGRESSION, ("normal", "equal"), eps=1e300),
}


def _counts(d: Draw, largest: int = 20) -> Array:
    return d.cast(d.rng.integers(0, largest, d.n))


_POISSON: Families = {
    "normal": _pair(lambda d: d.normal(), _counts),
    "scale_10": _pair(lambda d: d.normal(10), _counts),
    "scale_100": _pair(lambda d: d.normal(100), _counts),
    "zero_count": _pair(lambda d: d.normal(3), lambda d: d.cast(np.zeros(d.n))),
    "big_count": _pair(lambda d: d.uniform(5, 8), lambda d: _counts(d, 2000)),
    "real_target": _pair(lambda d: d.normal(), _positive),
    "matched": _near(lambda d: d.uniform(1, 50), lambda d, y: np.log(y.astype(float))),
    "overflow": _pair(lambda d: d.uniform(d.overflow - 3, d.overflow + 3), _counts),
    "underflow": _pair(
        lambda d: d.uniform(-d.overflow - 3, -d.overflow / 2), lambda d: d.cast(np.zeros(d.n))
    ),
    "huge": _pair(_huge, _counts),
    "huge_count": _pair(lambda d: d.uniform(0, d.overflow + 9), lambda d: d.uniform(0, d.max)),
    "huge_count_full": _with(
        _pair(lambda d: d.uniform(0, d.overflow + 9), lambda d: d.uniform(0, d.max)), full=True
    ),
    "rate_huge_count_full": _with(
        _pair(lambda d: d.uniform(0, d.max / 1e3), lambda d: d.uniform(0, d.max / 1e3)),
        log_input=False,
        full=True,
    ),
    "rate_zero_eps_1e-50": _with(
        _pair(lambda d: d.bits(), lambda d: d.bits()), log_input=False, eps=1e-50
    ),
    "full": _with(_pair(lambda d: d.normal(), lambda d: d.uniform(0, 4)), full=True),
    "full_big": _with(_pair(lambda d: d.uniform(3, 6), lambda d: d.uniform(1, 500)), full=True),
    "rate": _with(_pair(lambda d: d.uniform(0.01, 20), _counts), log_input=False),
    "rate_matched": _with(
        _near(lambda d: d.uniform(1, 50), lambda d, y: d.nudged(y)), log_input=False
    ),
    "rate_near_1": _with(
        _pair(lambda d: d.nudged(d.cast(np.ones(d.n)), 40), lambda d: _counts(d, 1000)),
        log_input=False,
        eps=2.0**-30,
    ),
    "rate_small": _with(_pair(lambda d: d.powers(-4, -1), _counts), log_input=False, eps=2.0**-20),
    "rate_zero": _with(
        _pair(lambda d: d.cast(np.zeros(d.n)), _counts), log_input=False, eps=2.0**-20
    ),
    "rate_full": _with(
        _pair(lambda d: d.uniform(0.1, 20), lambda d: d.uniform(0, 20)),
        log_input=False,
        full=True,
    ),
}


def _gaussian(base: str, var: Callable[[Draw], Array], **parameters: Any) -> Family:
    return lambda d: {**_REGRESSION[base](d), "var": var(d), **parameters}


_GAUSSIAN: Families = {
    "normal": _gaussian("normal", lambda d: d.powers(-2, 2)),
    "scale_10": _gaussian("scale_10", lambda d: d.powers(-2, 2)),
    "scale_100": _gaussian("scale_100", lambda d: d.powers(0, 4)),
    "close": _gaussian("close", lambda d: d.powers(-2, 2)),
    "equal": _gaussian("equal", lambda d: d.powers(-2, 2)),
    "unit_variance": _gaussian("normal", lambda d: d.nudged(d.cast(np.ones(d.n)), 40)),
    "small_variance": _gaussian("normal", lambda d: d.powers(-3, -1)),
    "floored": _gaussian("normal", lambda d: d.uniform(0, 0.9 * 2.0**-10), eps=2.0**-10),
    "zero_variance": _gaussian("normal", lambda d: d.cast(np.zeros(d.n)), eps=2.0**-20),
    "equal_eps_1e-50": _gaussian("equal", lambda d: d.cast(np.zeros(d.n)), eps=1e-50),
    "normal_eps_1e-50": _gaussian("normal", lambda d: d.powers(-2, 2), eps=1e-50),
    "normal_eps_1e300": _gaussian("normal", lambda d: d.powers(-2, 2), eps=1e300),
    "big_variance": _gaussian("big", lambda d: d.powers(1, d.digits - 1)),
    "square_overflows": _gaussian(
        "square_overflows", lambda d: d.powers(d.digits * 0.75, d.digits - 0.1)
    ),
    "balanced": lambda d: _balanced(d),
    "full": _gaussian("normal", lambda d: d.powers(-2, 2), full=True),
    "negative_variance": _gaussian("normal", lambda d: d.uniform(-2, -1)),
}


def _balanced(d: Draw) -> Kwargs:
    """(x - y)^2 near the variance: the gradient by the variance passes through 0."""
    x, y = d.normal(), d.normal()
    square = (x.astype(np.float64) - y.astype(np.float64)) ** 2
    return {"x": x, "y": y, "var": d.nudged(d.cast(np.maximum(square, 2.0**-10)))}


# Binary: a probability, logit or score, and a target.


def _hard(x: Callable[[Draw], Array]) -> Family:
    return lambda d: {"x": x(d), "y": d.bits()}


def _logits(d: Draw, low: float, high: float, *, right: bool) -> Kwargs:
    y = d.bits()
    side = (2 * y.astype(np.float64) - 1) * (1 if right else -1)
    return {"x": d.cast(side * d.uniform(low, high).astype(np.float64)), "y": y}


def _matched_logits(d: Draw) -> Kwargs:
    x = d.normal(2)
    return {"x": x, "y": d.cast(1 / (1 + np.exp(-x.astype(np.float64))))}


_LOGITS: Families = {
    "normal_1": _hard(lambda d: d.normal()),
    "normal_10": _hard(lambda d: d.normal(10)),
    "normal_100": _hard(lambda d: d.normal(100)),
    "confident": lambda d: _logits(d, 2, 20, right=True),
    "certain": lambda d: _logits(d, 2, d.gap, right=True),
    "wrong": lambda d: _logits(d, 2, d.gap, right=False),
    "huge": _hard(lambda d: d.normal(d.max / 100)),
    "near_max": _hard(lambda d: d.cast(d.signs().astype(float) * d.max)),
    "small": _hard(lambda d: d.cast(d.signs().astype(float) * d.powers(max(-d.digits, -30), -1))),
    "zero": _hard(lambda d: d.cast(np.zeros(d.n))),
    "subnormal": _hard(lambda d: d.tiniest()),
    "underflow": lambda d: _logits(d, d.gap, 1.3 * d.gap, right=True),
    "infinite": _hard(lambda d: d.cast(d.signs().astype(float) * np.inf)),
}

_SOFT_LOGITS: Families = {
    "soft": _pair(lambda d: d.normal(3), lambda d: d.uniform(0, 1)),
    "soft_scale_100": _pair(lambda d: d.normal(100), lambda d: d.uniform(0, 1)),
    "soft_edge": _pair(
        lambda d: d.normal(10),
        lambda d: d.cast(
            np.where(d.bits() == 1, 1 - d.eps * d.rng.integers(1, 9, d.n), d.powers(-6, -3))
        ),
    ),
    "matched": _matched_logits,
    "soft_infinite": _pair(
        lambda d: d.cast(d.signs().astype(float) * np.inf), lambda d: d.uniform(0.1, 0.9)
    ),
}

_BCE_LOGITS: Families = {
    **_LOGITS,
    **_SOFT_LOGITS,
    **_varied(_LOGITS, ("normal_10", "certain", "infinite"), pos_weight=3.0),
    **_varied(_SOFT_LOGITS, ("soft",), pos_weight=0.1),
    "normal_1_pos_weights": lambda d: {**_LOGITS["normal_1"](d), "pos_weight": d.powers(-2, 2)},
}


def _far_logits(gamma: float) -> Family:
    """Logits up to where q^gamma underflows, q the probability of the wrong answer."""
    return lambda d: _logits(d, 2, (d.gap - 5) / min(gamma, 1), right=True)


_FOCAL: Families = {
    **_LOGITS,
    **_SOFT_LOGITS,
    **_varied(_LOGITS, ("normal_10", "certain"), alpha=0.25),
    **_varied(_LOGITS, ("normal_10", "certain", "wrong"), gamma=0.0),
    **_varied(_LOGITS, ("normal_10", "certain", "wrong"), gamma=0.5),
    **_varied(_LOGITS, ("normal_10", "certain", "wrong"), gamma=1.0),
    **_varied(_LOGITS, ("normal_10", "certain", "wrong"), gamma=5.0),
    **_varied(_SOFT_LOGITS, ("soft",), gamma=1.5, alpha=0.75),
    **_varied(_LOGITS, ("normal_10",), alpha=1e-50),
    **_varied(_LOGITS, ("normal_10", "underflow"), gamma=1e-50),
}
for _gamma in (0.25, 0.5, 1.0, 1.5):
    _FOCAL.update(_varied(_LOGITS, ("huge", "near_max", "underflow", "infinite"), gamma=_gamma))
    _soft_edges = ("soft_scale_100", "soft_edge", "soft_infinite")
    _FOCAL.update(_varied(_SOFT_LOGITS, _soft_edges, gamma=_gamma))
    _FOCAL[f"far_gamma_{_gamma}"] = _with(_far_logits(_gamma), gamma=_gamma)

_BCE: Families = {
    "uniform": _hard(lambda d: d.uniform(0, 1)),
    "near_0": _hard(lambda d: d.powers(np.log10(d.tiny) + 0.1, -2)),
    "near_0_subnormal": _hard(lambda d: d.tiniest()),
    "near_1": _hard(lambda d: d.cast(1 - d.eps / 2 * d.rng.integers(1, 100, d.n))),
    "near_half": _hard(lambda d: d.nudged(d.cast(np.full(d.n, 0.5)), 20)),
    "middle": _hard(lambda d: d.uniform(0.25, 0.55)),
    "edges": _hard(lambda d: d.bits()),
    "soft": _pair(lambda d: d.uniform(0, 1), lambda d: d.uniform(0, 1)),
    "soft_near_0": _pair(lambda d: d.powers(np.log10(d.tiny) + 0.1, -2), lambda d: d.uniform(0, 1)),
    "soft_near_1": _pair(
        lambda d: d.cast(1 - d.eps / 2 * d.rng.integers(1, 100, d.n)), lambda d: d.uniform(0, 1)
    ),
    "soft_edges": _pair(lambda d: d.bits(), lambda d: d.uniform(0, 1)),
    "matched": _near(lambda d: d.uniform(0.01, 0.95), lambda d, y: d.nudged(y)),
    "clipped": _with(_hard(lambda d: d.powers(-8, 0)), eps=2.0**-12),
    "edges_eps_1e-50": _with(_hard(lambda d: d.bits()), eps=1e-50),
    "soft_edges_eps_1e-50": _with(_pair(lambda d: d.bits(), lambda d: d.uniform(0, 1)), eps=1e-50),
    "clipped_soft": _with(
        _pair(lambda d: d.cast(1 - d.powers(-4, 0).astype(float)), lambda d: d.uniform(0, 1)),
        eps=2.0**-8,
    ),
}


def _scores(x: Callable[[Draw, Array], Any]) -> Family:
    def family(d: Draw) -> Kwargs:
        y = d.signs()
        return {"x": d.cast(x(d, y.astype(np.float64))), "y": y}

    return family


_HINGE: Families = {
    "normal": _scores(lambda d, y: d.normal().astype(float)),
    "scale_10": _scores(lambda d, y: d.normal(10).astype(float)),
    "scale_100": _scores(lambda d, y: d.normal(100).astype(float)),
    "near_margin": _scores(lambda d, y: y * d.nudged(d.cast(np.ones(d.n)), 100).astype(float)),
    "at_margin": _scores(lambda d, y: y),
    "small": _scores(lambda d, y: y * d.powers(max(-d.digits, -30), -2).astype(float)),
    "wrong": _scores(lambda d, y: -y * d.powers(0, d.digits / 2).astype(float)),
    "huge": _scores(lambda d, y: d.normal(d.max / 100).astype(float)),
    "near_max": _scores(lambda d, y: d.signs().astype(float) * d.max),
    "subnormal": _scores(lambda d, y: d.tiniest().astype(float)),
}

_SOFT_MARGIN: Families = {
    "normal_1": _scores(lambda d, y: d.normal().astype(float)),
    "normal_10": _scores(lambda d, y: d.normal(10).astype(float)),
    "normal_100": _scores(lambda d, y: d.normal(100).astype(float)),
    "certain": _scores(lambda d, y: y * d.uniform(2, d.gap).astype(float)),
    "wrong": _scores(lambda d, y: -y * d.uniform(2, d.gap).astype(float)),
    "huge": _scores(lambda d, y: d.normal(d.max / 100).astype(float)),
    "small": _scores(lambda d, y: d.powers(max(-d.digits, -30), -1).astype(float)),
    "subnormal": _scores(lambda d, y: d.tiniest().astype(float)),
    "infinite": _scores(lambda d, y: d.signs().astype(float) * np.inf),
}

# Rows of classes.

_C = 10


def _rows(scale: float, c: int = _C) -> Callable[[Draw], Array]:
    return lambda d: d.normal(scale, (d.n, c))


def _labelled(x: Callable[[Draw], Array]) -> Family:
    def family(d: Draw) -> Kwargs:
        rows = x(d)
        return {"x": rows, "y": d.labels(rows.shape[-1])}

    return family


def _certain(d: Draw, c: int = _C, *, rounded: bool = False, right: bool = True) -> Kwargs:
    """One logit ahead of the others by a gap of 2 to the largest."""
    y = d.labels(c)
    x = d.rng.normal(size=(d.n, c))
    gap = d.rng.uniform(2, d.gap - 5, d.n)
    ahead = y if right else (y + 1) % c
    x[np.arange(d.n), ahead] = x.max(axis=-1) + gap
    return {"x": d.cast(np.round(x) if rounded else x), "y": y}


def _masked(family: Family, *, target: bool = False) -> Family:
    """A third of the classes have logit -inf; the target only if asked."""

    def masked(d: Draw) -> Kwargs:
        kwargs = family(d)
        x, y = kwargs["x"].copy(), kwargs["y"]
        rows = np.arange(len(x))
        hidden = d.rng.random(x.shape) < 0.35
        # Each row keeps a class: the target or, if that is to be hidden, the one beside it.
        label = y if y.ndim == 1 else y.argmax(axis=-1)
        hidden[rows, (label + 1) % x.shape[-1] if target else label] = False
        if target:
            hidden[rows, label] = True
        x[hidden] = -np.inf
        kwargs["x"] = x
        if y.ndim == 2:
            kwargs["y"] = np.where(hidden, 0, y).astype(y.dtype)
        return kwargs

    return masked


def _ties(d: Draw) -> Kwargs:
    x = np.round(d.rng.normal(size=(d.n, _C)) * 3)
    x[:, :3] = x.max(axis=-1, keepdims=True)
    return {"x": d.cast(x), "y": d.labels(_C)}


def _onehot(family: Family) -> Family:
    def onehot(d: Draw) -> Kwargs:
        kwargs = family(d)
        c = kwargs["x"].shape[-1]
        return {**kwargs, "y": d.cast(np.eye(c)[kwargs["y"]])}

    return onehot


def _soft(family: Family, y: Callable[[Draw], Array]) -> Family:
    return lambda d: {**family(d), "y": y(d)}


def _class_weights(family: Family) -> Family:
    return lambda d: {**family(d), "class_weight": d.powers(-2, 1, (_C,))}


def _ignoring(family: Family) -> Family:
    def ignoring(d: Draw) -> Kwargs:
        kwargs = family(d)
        y = np.where(d.rng.random(d.n) < 0.3, -100, kwargs["y"])
        x = kwargs["x"].copy()
        x[y == -100, 0] = np.nan
        return {**kwargs, "x": x, "y": y, "ignore_index": -100}

    return ignoring


def _matched_rows(d: Draw) -> Kwargs:
    x = d.normal(2, (d.n, _C))
    e = np.exp(x.astype(np.float64))
    return {"x": x, "y": d.cast(e / e.sum(axis=-1, keepdims=True))}


def _few(family: Family) -> Family:
    """A family of wide rows: fewer of them."""

    def few(d: Draw) -> Kwargs:
        return family(Draw(d.rng, d.dtype, max(d.n // 20, 1)))

    return few


_CLASSES: Families = {
    "normal_1": _labelled(_rows(1)),
    "normal_10": _labelled(_rows(10)),
    "normal_100": _labelled(_rows(100)),
    "certain": _certain,
    "certain_rounded": lambda d: _certain(d, rounded=True),
    "wrong": lambda d: _certain(d, right=False),
    "huge": _labelled(lambda d: d.normal(d.max / 1e4, (d.n, _C))),
    "near_max": _labelled(lambda d: d.uniform(-d.max, d.max, (d.n, _C))),
    "masked": _masked(_labelled(_rows(10))),
    "masked_target": _masked(_labelled(_rows(3)), target=True),
    "ties": _ties,
    "equal": _labelled(lambda d: d.cast(np.zeros((d.n, _C)) + d.rng.normal(size=(d.n, 1)))),
    "offset": _labelled(lambda d: d.cast(1000 + d.rng.normal(size=(d.n, _C)))),
    "subnormal": _labelled(lambda d: d.tiniest((d.n, _C))),
    "one_class": _labelled(_rows(1, 1)),
    "two_classes": lambda d: _certain(d, 2),
}

_WIDE: Families = {
    "normal_1_c1000": _few(_labelled(_rows(1, 1000))),
    "certain_c1000": _few(lambda d: _certain(d, 1000)),
}

_SOFT_ROWS: Families = {
    "onehot_normal": _onehot(_labelled(_rows(3))),
    "onehot_certain": _onehot(_certain),
    "onehot_masked": _onehot(_masked(_labelled(_rows(10)))),
    "onehot_huge": _onehot(_CLASSES["huge"]),
    "soft_normal": _soft(_labelled(_rows(1)), lambda d: d.probabilities(_C)),
    "soft_scale_100": _soft(_labelled(_rows(100)), lambda d: d.probabilities(_C)),
    "soft_spread": _soft(_labelled(_rows(10)), lambda d: d.probabilities(_C, 10)),
    "soft_masked": _masked(_soft(_labelled(_rows(3)), lambda d: d.probabilities(_C))),
    "soft_unnormalised": _soft(_labelled(_rows(3)), lambda d: d.uniform(0, 3, (d.n, _C))),
    "matched": _matched_rows,
}


def _likely(low: float, high: float) -> Callable[[Draw], Array]:
    """Rows of numbers from 10^low to 10^high, not normalised."""
    return lambda d: d.powers(max(low, np.log10(d.tiny)), high, (d.n, _C))


_PROBABILITIES: Families = {
    "normal": _labelled(lambda d: d.probabilities(_C)),
    "peaked": _labelled(lambda d: d.probabilities(_C, 30)),
    "small": _labelled(_likely(-300, -1)),
    "near_1": _labelled(lambda d: d.cast(1 - d.eps / 2 * d.rng.integers(0, 100, (d.n, _C)))),
    "edges": _labelled(lambda d: d.cast(d.rng.integers(0, 2, (d.n, _C)))),
    "subnormal": _labelled(lambda d: d.tiniest((d.n, _C))),
    "outside": _labelled(lambda d: d.uniform(-0.3, 1.3, (d.n, _C))),
    "onehot": _onehot(_labelled(lambda d: d.probabilities(_C))),
    "soft": _soft(_labelled(_likely(-300, 0)), lambda d: d.probabilities(_C)),
    "soft_edges": _soft(
        _labelled(lambda d: d.cast(d.rng.integers(0, 2, (d.n, _C)))),
        lambda d: d.probabilities(_C, 10),
    ),
    "class_weights": _class_weights(_labelled(lambda d: d.probabilities(_C))),
    "class_weights_soft": _class_weights(
        _soft(_labelled(lambda d: d.probabilities(_C)), lambda d: d.probabilities(_C))
    ),
    "smoothed": _with(_labelled(_likely(-30, 0)), label_smoothing=0.1),
    "smoothed_soft": _with(
        _soft(_labelled(_likely(-30, 0)), lambda d: d.probabilities(_C)), label_smoothing=0.125
    ),
    "smoothed_class_weights": _with(
        _class_weights(_labelled(lambda d: d.probabilities(_C))), label_smoothing=0.1
    ),
    "ignored": _ignoring(_labelled(lambda d: d.probabilities(_C))),
}

_CROSS_ENTROPY: Families = {
    **_CLASSES,
    **_WIDE,
    **_SOFT_ROWS,
    "class_weights": _class_weights(_labelled(_rows(3))),
    "class_weights_soft": _class_weights(_SOFT_ROWS["soft_normal"]),
    "smoothed": _with(_labelled(_rows(3)), label_smoothing=0.125),
    "smoothed_0.1": _with(_labelled(_rows(3)), label_smoothing=0.1),
    "smoothed_certain": _with(_certain, label_smoothing=0.125),
    "smoothed_masked": _with(_CLASSES["masked"], label_smoothing=0.125),
    "smoothed_soft": _with(_SOFT_ROWS["soft_normal"], label_smoothing=0.125),
    "smoothed_class_weights": _with(_class_weights(_labelled(_rows(3))), label_smoothing=0.125),
    "ignored": _ignoring(_labelled(_rows(1))),
    "huge_logits": _labelled(lambda d: _huge(d, (d.n, _C))),
    "onehot_huge_logits": _onehot(_labelled(lambda d: _huge(d, (d.n, _C)))),
    "soft_huge_logits": _soft(
        _labelled(lambda d: _huge(d, (d.n, _C))), lambda d: d.probabilities(_C)
    ),
    **_varied(_CLASSES, ("normal_10", "huge"), label_smoothing=1e-50),
    **{f"probabilities_{k}": _with(v, from_logits=False) for k, v in _PROBABILITIES.items()},
}

_SOFTMAX_FOCAL: Families = {
    **_CLASSES,
    **{k: v for k, v in _SOFT_ROWS.items() if k != "soft_unnormalised"},
    "class_weights": _class_weights(_labelled(_rows(3))),
    "ignored": _ignoring(_labelled(_rows(1))),
    **_varied(_CLASSES, ("normal_10", "certain", "wrong", "masked"), gamma=0.0),
    **_varied(_CLASSES, ("normal_10", "certain", "wrong", "masked"), gamma=0.5),
    **_varied(_CLASSES, ("normal_10", "certain", "wrong"), gamma=1.0),
    **_varied(_CLASSES, ("normal_10", "certain", "wrong"), gamma=5.0),
    **_varied(_SOFT_ROWS, ("soft_spread",), gamma=1.5),
    **_varied(_CLASSES, ("normal_100",), gamma=1e-50),
}
for _gamma in (0.01, 0.25, 0.5, 1.0, 1.5):
    _SOFTMAX_FOCAL.update(_varied(_CLASSES, ("normal_100", "huge"), gamma=_gamma))
    _SOFTMAX_FOCAL.update(_varied(_SOFT_ROWS, ("soft_scale_100", "onehot_huge"), gamma=_gamma))


def _log_rows(d: Draw, scale: float = 1.0, c: int = _C) -> Array:
    z = d.rng.normal(size=(d.n, c)) * scale
    z = z - z.max(axis=-1, keepdims=True)
    return d.cast(z - np.log(np.exp(z).sum(axis=-1, keepdims=True)))


_NLL: Families = {
    "normal_1": _labelled(_log_rows),
    "normal_100": _labelled(lambda d: _log_rows(d, 100)),
    "masked": _masked(_labelled(_log_rows)),
    "masked_target": _masked(_labelled(_log_rows), target=True),
    "near_max": _labelled(lambda d: d.uniform(-d.max, 0, (d.n, _C))),
    "subnormal": _labelled(lambda d: d.cast(-d.tiniest((d.n, _C)).astype(float))),
    "class_weights": _class_weights(_labelled(_log_rows)),
    "ignored": _ignoring(_labelled(_log_rows)),
}


def _divergence(x: Callable[[Draw], Array], y: Callable[[Draw], Array]) -> Family:
    return _pair(x, y)


def _log_of(scale: float = 1.0) -> Family:
    """Log-probabilities rounded from the target itself."""

    def family(d: Draw) -> Kwargs:
        y = d.probabilities(_C, scale)
        y = np.maximum(y, d.cast(d.tiny))
        return {"x": d.cast(np.log(y.astype(np.float64))), "y": y}

    return family


def _sparse(d: Draw) -> Array:
    y = d.rng.random((d.n, _C)) * (d.rng.random((d.n, _C)) < 0.6)
    y[:, 0] += 0.1
    return d.cast(y / y.sum(axis=-1, keepdims=True))


def _kl_masked(d: Draw) -> Kwargs:
    x, y = _log_rows(d), _sparse(d)
    x[y == 0] = -np.inf
    return {"x": x, "y": y}


_KL: Families = {
    "normal": _divergence(_log_rows, lambda d: d.probabilities(_C)),
    "scale_10": _divergence(lambda d: _log_rows(d, 10), lambda d: d.probabilities(_C, 3)),
    "scale_100": _divergence(lambda d: _log_rows(d, 100), lambda d: d.probabilities(_C)),
    "matched": _log_of(),
    "matched_peaked": _log_of(5),
    "zeros": _divergence(_log_rows, _sparse),
    "masked": _kl_masked,
    "masked_target": lambda d: _masked(
        lambda e: {"x": _log_rows(e), "y": e.probabilities(_C)}, target=True
    )(d),
    "log_normal": _with(_divergence(_log_rows, _log_rows), log_target=True),
    "log_scale_100": _with(
        _divergence(lambda d: _log_rows(d, 100), lambda d: _log_rows(d, 100)), log_target=True
    ),
    "log_close": _with(_near(_log_rows, lambda d, y: d.nudged(y)), log_target=True),
    "log_equal": _with(_near(_log_rows, lambda d, y: y), log_target=True),
    "log_masked": lambda d: _log_masked(d),
}


def _log_masked(d: Draw) -> Kwargs:
    x, y = _log_rows(d), _log_rows(d)
    hidden = d.rng.random(x.shape) < 0.3
    hidden[:, 0] = False
    y[hidden] = -np.inf
    x[hidden & (d.rng.random(x.shape) < 0.5)] = -np.inf
    return {"x": x, "y": y, "log_target": True}


def _apart(distance: float, scale: float = 1.0) -> Family:
    """Two rows of logits, each pair at most `distance` apart."""
    return _near(_rows(scale), lambda d, y: y.astype(float) + distance * d.rng.normal(size=y.shape))


def _both_masked(d: Draw) -> Kwargs:
    x, y = d.normal(3, (d.n, _C)), d.normal(3, (d.n, _C))
    hidden = d.rng.random(x.shape) < 0.3
    hidden[:, 0] = False
    y[hidden] = -np.inf
    x[hidden & (d.rng.random(x.shape) < 0.7)] = -np.inf
    return {"x": x, "y": y}


def _hidden_mass(d: Draw) -> Kwargs:
    """A class with probability under y and none under x: an infinite divergence."""
    x, y = d.normal(3, (d.n, _C)), d.normal(3, (d.n, _C))
    x[:, 3] = -np.inf
    return {"x": x, "y": y}


_KL_LOGITS: Families = {
    "normal_1": _divergence(_rows(1), _rows(1)),
    "normal_10": _divergence(_rows(10), _rows(10)),
    "normal_100": _divergence(_rows(100), _rows(100)),
    "near_1e-1": _apart(1e-1),
    "near_1e-3": _apart(1e-3),
    "near_1e-3_scale_10": _apart(1e-3, 10),
    "near_1e-5": _apart(1e-5),
    "close": _near(_rows(1), lambda d, y: d.nudged(y)),
    "shifted": _near(
        lambda d: d.cast(np.round(d.rng.normal(size=(d.n, _C)) * 8) / 8),
        lambda d, y: y.astype(float) + 4,
    ),
    "equal": _near(_rows(3), lambda d, y: y),
    "certain": lambda d: {"x": _certain(d)["x"], "y": _certain(d)["x"]},
    "certain_same": lambda d: _certain_same(d),
    "ties": lambda d: {"x": _ties(d)["x"], "y": _ties(d)["x"]},
    "offset": _divergence(lambda d: d.cast(1000 + d.rng.normal(size=(d.n, _C))), _rows(1)),
    "huge": _divergence(
        lambda d: d.normal(d.max / 1e4, (d.n, _C)), lambda d: d.normal(d.max / 1e4, (d.n, _C))
    ),
    "huge_x": _divergence(lambda d: _huge(d, (d.n, _C)), _rows(1)),
    "huge_y": _divergence(_rows(1), lambda d: _huge(d, (d.n, _C))),
    "huge_both": _divergence(lambda d: _huge(d, (d.n, _C)), lambda d: _huge(d, (d.n, _C))),
    "huge_close": _near(lambda d: _huge(d, (d.n, _C)), lambda d, y: d.nudged(y)),
    "masked": _both_masked,
    "masked_target": _hidden_mass,
    "subnormal": _divergence(lambda d: d.tiniest((d.n, _C)), lambda d: d.tiniest((d.n, _C))),
    "one_class": _divergence(_rows(1, 1), _rows(1, 1)),
}


def _certain_same(d: Draw) -> Kwargs:
    y = _certain(d)["x"]
    return {"x": d.cast(y.astype(float) + 0.1 * d.rng.normal(size=y.shape)), "y": y}


def _moved(distance: float) -> Family:
    return _near(
        lambda d: d.probabilities(_C),
        lambda d, y: y.astype(float) * (1 + distance * d.rng.uniform(-1, 1, y.shape)),
    )


_JS: Families = {
    "normal": _divergence(lambda d: d.probabilities(_C), lambda d: d.probabilities(_C)),
    "near_1e-1": _moved(1e-1),
    "near_1e-3": _moved(1e-3),
    "near_1e-5": _moved(1e-5),
    "close": _near(lambda d: d.probabilities(_C), lambda d, y: d.nudged(y)),
    "equal": _near(lambda d: d.probabilities(_C), lambda d, y: y),
    "peaked": _divergence(lambda d: d.probabilities(_C, 10), lambda d: d.probabilities(_C, 10)),
    "zeros": _divergence(_sparse, _sparse),
    "far": _divergence(
        lambda d: d.powers(max(np.log10(d.tiny) + 1, -30), 0, (d.n, _C)),
        lambda d: d.powers(max(np.log10(d.tiny) + 1, -30), 0, (d.n, _C)),
    ),
    "subnormal": _divergence(lambda d: d.tiniest((d.n, _C)), lambda d: d.probabilities(_C)),
}


def _alone(families: Families) -> Families:
    """Families for functions of x only."""

    def drop(family: Family) -> Family:
        return lambda d: {"x": family(d)["x"]}

    return {name: drop(family) for name, family in families.items()}


_FUNCTION_ROWS = _alone(
    {k: v for k, v in _CLASSES.items() if k != "masked_target"}
    | _WIDE
    | {"huge_logits": _CROSS_ENTROPY["huge_logits"]}
)

_FAMILIES: dict[str, Families] = {
    "mse": _REGRESSION,
    "mae": _REGRESSION,
    "huber": {
        **_REGRESSION,
        **_varied(_REGRESSION, ("normal", "small", "scale_100"), delta=0.125),
        **_varied(_REGRESSION, ("scale_100", "offset"), delta=30.0),
        **_varied(_REGRESSION, ("normal",), delta=0.3),
        **_varied(_REGRESSION, ("normal", "equal", "near_max"), delta=1e-50),
        **_varied(_REGRESSION, ("normal", "equal", "near_max"), delta=1e300),
    },
    "smooth_l1": {
        **_REGRESSION,
        **_varied(_REGRESSION, ("normal", "small", "scale_100"), beta=0.125),
        **_varied(_REGRESSION, ("normal", "scale_10"), beta=3.0),
        **_varied(_REGRESSION, ("normal", "equal", "near_max"), beta=1e-50),
        **_varied(_REGRESSION, ("normal", "equal", "near_max"), beta=1e300),
    },
    "log_cosh": _REGRESSION,
    "quantile": {
        # A difference beyond the largest number is infinite, whatever it is multiplied with after.
        **_but("difference_overflows"),
        **_varied(_REGRESSION, ("normal", "close", "equal", "big", "near_max"), q=0.875),
        **_varied(_REGRESSION, ("normal",), q=0.9),
        **_varied(_REGRESSION, ("normal",), q=0.01),
        **_varied(_REGRESSION, ("normal", "near_max"), q=1e-50),
    },
    "msle": _MSLE,
    "mape": _MAPE,
    "poisson_nll": _POISSON,
    "gaussian_nll": _GAUSSIAN,
    "binary_cross_entropy": _BCE,
    "binary_cross_entropy_with_logits": _BCE_LOGITS,
    "sigmoid_focal": _FOCAL,
    "hinge": _HINGE,
    "squared_hinge": _HINGE,
    "soft_margin": _SOFT_MARGIN,
    "cross_entropy": _CROSS_ENTROPY,
    "softmax_focal": _SOFTMAX_FOCAL,
    "nll": _NLL,
    "kl_div": _KL,
    "kl_div_with_logits": _KL_LOGITS,
    "js_div": _JS,
    "log_softmax": _FUNCTION_ROWS,
    "softmax": _FUNCTION_ROWS,
    "logsumexp": _FUNCTION_ROWS,
    "softplus": _alone(_LOGITS),
    "log_sigmoid": _alone(_LOGITS),
}


def families(loss: str, dtype: str, seed: int = 0, n: int = 8) -> Iterator[tuple[str, Kwargs]]:
    """Yield named inputs of a loss: x, y, var and parameters, as keywords; `n` items each.

    Rows of a thousand classes come in twentieths of `n`.
    """
    for name, family in _FAMILIES[loss].items():
        # From the names, so that a new family leaves the numbers of the others as they are.
        rng = np.random.default_rng([seed, *(crc32(s.encode()) for s in (loss, dtype, name))])
        yield name, family(Draw(rng, DTYPES[dtype], n))
