"""Losses of elements and of rows as their textbooks have them, on mpmath's numbers.

Derivatives of losses of elements are Taylor coefficients of the definition, so that they owe
nothing to anybody's closed form. Those of losses of rows are the textbook's.
`exact.central_differences` proves both against the definition.

Conventions: 0 * log 0 = 0; a class with logit -inf takes part in nothing; binary logits of +-inf
give the limit; the derivative at a kink is 0. `None` marks what no convention settles, such as the
derivative by a target probability of 0 of y log y.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.support.jets import (
    Jet,
    Number,
    absolute,
    at,
    at_least,
    exp_of,
    jet,
    log,
    log1p,
    mp,
    power,
    times,
)

Item = dict[str, Any]
"""Results of one item by name: value, x, y, var (derivatives) and curvature."""


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


def pointwise(
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
            result = jet(definition(*jets, **parameters))
            out[name] = result.a1
            if position == 0:
                out["value"] = result.a0
                out["curvature"] = times(2, result.a2)
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


def rowwise(item: Callable[..., Item], *gradients: str) -> Exact:
    return Exact(
        _pick(item, "value"),
        {name: _pick(item, name) for name in gradients},
        _pick(item, "curvature"),
        rowwise=True,
        item=item,
    )


def function(item: Callable[..., Item], *, rowwise: bool) -> Exact:
    return Exact(_pick(item, "value"), {}, None, rowwise=rowwise, item=item, target=False)


def plain(
    definition: Callable[[Any], Any], limit: Callable[..., Item]
) -> Callable[[Number, Any], Item]:
    def item(x: Number, y: Any) -> Item:
        return limit(x, y) if mp.isinf(x) else {"value": definition(x)}

    return item


# -------------------------------------------------------------------------------------- elements


def mse(x: Any, y: Any) -> Any:
    return (x - y) * (x - y)


def mae(x: Any, y: Any) -> Any:
    return absolute(x - y)


def huber(x: Any, y: Any, *, delta: Number = 1.0) -> Any:
    d, a = x - y, absolute(x - y)
    return d * d / 2 if at(a) <= delta else delta * (a - mp.mpf(delta) / 2)


def smooth_l1(x: Any, y: Any, *, beta: Number = 1.0) -> Any:
    d, a = x - y, absolute(x - y)
    return d * d / (2 * beta) if at(a) < beta else a - mp.mpf(beta) / 2


def log_cosh(x: Any, y: Any) -> Any:
    d = x - y
    if abs(at(d)) > 1000:  # the textbook's limit, good to 800 digits
        return absolute(d) - mp.log(2)
    return log((exp_of(d) + exp_of(-d)) / 2)


def quantile(x: Any, y: Any, *, q: Number = 0.5) -> Any:
    d = y - x
    if at(d) == 0:
        return at(d)
    return q * d if at(d) > 0 else (mp.mpf(q) - 1) * d


def msle(x: Any, y: Any) -> Any:
    d = log1p(x) - log1p(y)
    return d * d


def mape(x: Any, y: Any, *, eps: Number = 2.0**-52) -> Any:
    return absolute(x - y) / at_least(absolute(y), eps)


def poisson_nll(
    x: Any, y: Any, *, log_input: bool = True, full: bool = False, eps: Number = 1e-8
) -> Any:
    value = exp_of(x) - y * x if log_input else x - y * log(x + eps)
    if full and at(y) > 1:
        value = value + y * log(y) - y + log(2 * mp.pi * y) / 2
    return value


def gaussian_nll(x: Any, y: Any, var: Any, *, full: bool = False, eps: Number = 1e-6) -> Any:
    if at(var) < 0:
        return Jet(mp.nan, mp.nan, mp.nan)
    v, d = at_least(var, eps), x - y
    value = (log(v) + d * d / v) / 2
    return value + mp.log(2 * mp.pi) / 2 if full else value


def binary_cross_entropy(x: Any, y: Any, *, eps: Number) -> Any:
    """Return the cross-entropy of max(p, eps) and max(1 - p, eps).

    The derivative by p is that of the unfloored formula at the floored numbers, not 0: a saturated
    wrong probability must still be told where to go. So these two jets keep their slope.
    """
    p, other = jet(x), 1 - jet(x)
    p = Jet(at_least(p.a0, eps), p.a1, p.a2)
    other = Jet(at_least(other.a0, eps), other.a1, other.a2)
    value = Jet(0)
    if not _constant_zero(y):
        value = value - y * log(p)
    if not _constant_zero(1 - y):
        value = value - (1 - y) * log(other)
    return value


def _constant_zero(a: Any) -> bool:
    return not isinstance(a, Jet) and a == 0


def _sigma(x: Any) -> Any:
    return 1 / (1 + exp_of(-x))


def softplus(x: Any) -> Any:
    return log1p(exp_of(x)) if at(x) <= 0 else x + log1p(exp_of(-x))


def binary_cross_entropy_with_logits(x: Any, y: Any, *, pos_weight: Number = 1) -> Any:
    return softplus(-x) * (y * pos_weight) + softplus(x) * (1 - y)


def sigmoid_focal(x: Any, y: Any, *, alpha: Number | None = None, gamma: Number = 2.0) -> Any:
    missed = y * _sigma(-x) + (1 - y) * _sigma(x)
    value = power(missed, gamma) * (softplus(-x) * y + softplus(x) * (1 - y))
    if alpha is not None:
        value = value * (alpha * y + (1 - mp.mpf(alpha)) * (1 - y))
    return value


def hinge(x: Any, y: Any) -> Any:
    margin = 1 - y * x
    return margin if at(margin) > 0 else 0


def squared_hinge(x: Any, y: Any) -> Any:
    margin = 1 - y * x
    return margin * margin if at(margin) > 0 else 0


def soft_margin(x: Any, y: Any) -> Any:
    return softplus(-(y * x))


def bce_logits_limit(x: Number, y: Number, *, pos_weight: Number = 1) -> Item:
    """Limits at x = +-inf."""
    wrong = pos_weight * y if x < 0 else 1 - y
    return {
        "value": mp.inf if wrong > 0 else 0,
        "x": -wrong if x < 0 else wrong,
        "y": -x * pos_weight if x < 0 else -x,
        "curvature": 0,
    }


def sigmoid_focal_limit(
    x: Number, y: Number, *, alpha: Number | None = None, gamma: Number = 2.0
) -> Item:
    # There the loss is a t^(gamma + 1) |x|, t what is missed and a the balance of the two sides.
    t, dt = (y, 1) if x < 0 else (1 - y, -1)
    a, da = (1, 0) if alpha is None else (alpha * y + (1 - mp.mpf(alpha)) * (1 - y), 2 * alpha - 1)
    wrong = a * power(t, gamma) * t
    by_y = power(t, gamma) * (da * t + a * (gamma + 1) * dt)
    return {
        "value": mp.inf if wrong > 0 else 0,
        "x": -wrong if x < 0 else wrong,
        "y": by_y * mp.inf if by_y != 0 else 0,
        "curvature": 0,
    }


def soft_margin_limit(x: Number, y: Number) -> Item:
    wrong = y * x < 0
    return {
        "value": mp.inf if wrong else 0,
        "x": -y if wrong else 0,
        "y": -x if wrong else 0,
        "curvature": 0,
    }


def softplus_limit(x: Number, y: Number) -> Item:
    return {"value": mp.inf if x > 0 else 0}


def log_sigmoid_limit(x: Number, y: Number) -> Item:
    return {"value": 0 if x > 0 else -mp.inf}


def kink_of_huber(x: Number, y: Number, *, delta: Number = 1.0) -> bool:
    """Whether rounding x - y may move it over the point where the curvature jumps."""
    return bool(abs(abs(x - y) - delta) <= delta * mp.mpf(2) ** -16)


def kink_of_smooth_l1(x: Number, y: Number, *, beta: Number = 1.0) -> bool:
    return kink_of_huber(x, y, delta=beta)
