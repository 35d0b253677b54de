"""Losses as their textbooks have them: one definition a loss, for the command line and for tests.

A definition owes nothing to the library's formulas. It returns an item's loss, or the terms that
the loss is the sum of. It takes the numbers of an item, of rows lists and a class, and has the
loss's own parameters by name. Numbers are exact: they calculate and compare as Decimal does, and
have its `exp()`, `ln()` and `sqrt()`. So a definition runs on Decimal, as in `_exact`, and on the
tests' numbers of thousands of digits, which know their derivatives. `real` is a number without
these, for a constant that cancels.

Conventions: 0 log 0 is 0, a class with logit -inf takes part in nothing, and where branches or the
arguments of `max` meet, the derivative is that of the first: a kink's is 0, as that of `abs` is.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import cache, cached_property
from typing import Any, TypeAlias

import tinyloss

__all__ = ["DEFINITIONS", "Definition", "defined"]

Number: TypeAlias = Any
"""A Decimal, or what does as it does."""
Row: TypeAlias = Sequence[Number]

INFINITY, NAN = Decimal("Infinity"), Decimal("NaN")


@dataclass(frozen=True)
class Definition:
    """A loss as its textbook has it, and what it is called with."""

    of: Callable[..., Number | tuple[Number, ...]]
    draw: str
    """What its arguments may be: the name of one of `_inputs.DRAWS`."""
    relative: bool
    """Whether its digits are promised of the value; else of the sum of its terms' sizes."""
    tried: Mapping[str, float]
    """What its parameters are also tried with, each alone."""
    count: Callable[..., int] | None = None
    """How often an item of these arguments counts in a mean; None for once."""

    @cached_property
    def _public(self) -> Mapping[str, inspect.Parameter]:
        return inspect.signature(getattr(tinyloss, self.of.__name__)).parameters

    @cached_property
    def arguments(self) -> tuple[str, ...]:
        """The names of what it is called with besides parameters."""
        own = inspect.signature(self.of).parameters.values()
        return tuple(each.name for each in own if each.kind is not each.KEYWORD_ONLY)

    @cached_property
    def rows(self) -> bool:
        """Whether an item is a row of classes."""
        return "axis" in self._public

    @cached_property
    def defaults(self) -> dict[str, Any]:
        """The definition's parameters, as the public function has them by default, exactly."""
        own = [
            self._public[name]
            for name in inspect.signature(self.of).parameters & self._public.keys()
        ]
        found = {each.name: each.default for each in own if each.kind is each.KEYWORD_ONLY}
        return {k: Decimal(v) if isinstance(v, float) else v for k, v in found.items()}

    def terms(self, *arguments: Any, **parameters: Any) -> tuple[Any, ...]:
        """Return the terms that an item's loss is the sum of."""
        found = self.of(*arguments, **{**self.defaults, **parameters})
        return found if found.__class__ is tuple else (found,)


DEFINITIONS: dict[str, Definition] = {}
"""The definitions by the names of their losses."""


def defined(
    draw: str,
    *,
    relative: bool = True,
    count: Callable[..., int] | None = None,
    **tried: float,
) -> Callable[[Callable[..., Any]], Any]:
    """Return what makes a function the definition of the loss of its name."""

    def keep(of: Callable[..., Any]) -> Any:
        DEFINITIONS[of.__name__] = Definition(of, draw, relative, tried, count)
        return of

    return keep


@cache
def _log_2_pi() -> Decimal:
    """Log(2 pi) to 900 digits: pi by Machin's formula, Philosophical Transactions, 1706."""

    def arc_cotangent(of: int) -> Decimal:
        total = term = Decimal(1) / of
        divisor = 1
        while total + (term := -term / of**2) / (divisor := divisor + 2) != total:
            total += term / divisor
        return total

    with localcontext(prec=910):
        return (8 * (4 * arc_cotangent(5) - arc_cotangent(239))).ln()


# -------------------------------------------------------------------------------------- elements


@defined("errors")
def mse(x: Number, y: Number) -> Number:
    return (x - y) ** 2


@defined("errors")
def mae(x: Number, y: Number) -> Number:
    return abs(x - y)


@defined("errors", delta=0.3)
def huber(x: Number, y: Number, *, delta: Number) -> Number:
    size = abs(x - y)
    return (x - y) ** 2 / 2 if size <= delta else delta * (size - delta / 2)


@defined("errors")
def smooth_l1(x: Number, y: Number, *, beta: Number) -> Number:
    size = abs(x - y)
    return (x - y) ** 2 / (2 * beta) if size < beta else size - beta / 2


@defined("errors")
def log_cosh(x: Number, y: Number) -> Number:
    d = x - y
    if abs(d) > 1000:  # the limit, good to 800 digits
        return abs(d) - Decimal(2).ln()
    return ((d.exp() + (-d).exp()) / 2).ln()


@defined("errors", alpha=0.0, scale=0.5)
def barron(x: Number, y: Number, *, alpha: Number, scale: Number) -> Number:
    square = ((x - y) / scale) ** 2
    if alpha == 2:
        return square / 2
    if alpha == 0:
        return (1 + square / 2).ln()
    if alpha == -INFINITY:
        return 1 - (-square / 2).exp()
    b = 2 - alpha
    return b / alpha * ((1 + square / b) ** (alpha / 2) - 1)


@defined("errors")
def quantile(x: Number, y: Number, *, q: Number) -> Number:
    return abs(y - x) * (q if y > x else 1 - q)


@defined("errors", tau=0.9)
def expectile(x: Number, y: Number, *, tau: Number) -> Number:
    return (1 - tau if x > y else tau) * (x - y) ** 2


@defined("errors", relative=False, epsilon=0.5)
def epsilon_insensitive(x: Number, y: Number, *, epsilon: Number) -> tuple[Number, ...]:
    size = abs(x - y)
    return (size, -epsilon) if size > epsilon else (x * 0,)


@defined("errors", relative=False, epsilon=0.5)
def squared_epsilon_insensitive(x: Number, y: Number, *, epsilon: Number) -> tuple[Number, ...]:
    size = abs(x - y)
    return (size**2, -2 * epsilon * size, epsilon**2) if size > epsilon else (x * 0,)


@defined("errors", epsilon=0.5, width=0.5)
def wing(x: Number, y: Number, *, epsilon: Number, width: Number) -> Number:
    def curved(size: Number) -> Number:
        return width * (1 + size / epsilon).ln()

    size = abs(x - y)
    return curved(size) if size < width else size - width + curved(width)


@defined("positive")
def msle(x: Number, y: Number) -> Number:
    return (_log1p(x) - _log1p(y)) ** 2


@defined("errors")
def mape(x: Number, y: Number, *, eps: Number) -> Number:
    return abs(x - y) / max(abs(y), eps)


@defined("positive")
def smape(x: Number, y: Number) -> Number:
    if x * y < 0:
        return 2 + x * 0  # |x - y| is |x| + |y|
    return 2 * abs(x - y) / (abs(x) + abs(y)) if x or y else x * 0


@defined("counts", relative=False)
def poisson_nll(
    x: Number, y: Number, *, log_input: bool, full: bool, eps: Number
) -> tuple[Number, ...]:
    terms = (x.exp(), -y * x) if log_input else (x, -y * (x + eps).ln())
    stirling = y * y.ln() - y + (_log_2_pi() + y.ln()) / 2 if full and y > 1 else 0
    return *terms, stirling


@defined("amounts", relative=False)
def gamma_deviance(x: Number, y: Number, *, log_input: bool) -> tuple[Number, ...]:
    mean, log = (x.exp(), x) if log_input else (x, x.ln())
    return 2 * y / mean, -2, -2 * y.ln(), 2 * log


@defined("amounts", relative=False, power=2.0)
def tweedie_deviance(x: Number, y: Number, *, log_input: bool, power: Number) -> tuple[Number, ...]:
    if power == 2:
        return (*gamma_deviance(x, y, log_input=log_input),)
    mean, log = (x.exp(), x) if log_input else (x, x.ln())
    a, b, y = 2 - power, 1 - power, y if y >= 0 else y * NAN
    if power == 1:
        entropy = (2 * y * y.ln(), -2 * y * log) if y > 0 else (-2 * y,)
        return *entropy, -2 * y, 2 * mean
    own = 2 * y**a / (a * b) if y > 0 or a < 0 else 0
    return own, -2 * y * (b * log).exp() / b, 2 * (a * log).exp() / a


@defined("variances", relative=False)
def gaussian_nll(
    x: Number, y: Number, var: Number, *, full: bool, eps: Number, log_var: bool
) -> tuple[Number, ...]:
    if log_var:
        log = max(var, eps.ln())
        v = log.exp()
    else:
        v = max(var, eps) if var >= 0 else NAN
        log = v.ln()
    return log / 2, (x - y) ** 2 / v / 2, _log_2_pi() / 2 if full else 0


@defined("forecasts")
def crps(x: Number, y: Number, scale: Number, *, distribution: str) -> tuple[Number, ...]:
    if not scale > 0:
        return (abs(x - y) if scale == 0 else x * NAN,)
    # of slope 1 at 0, where the terms' slopes are as far from 0 together as from either side
    size = x - y if x >= y else y - x
    a, number = size / scale, scale.real
    if distribution == "logistic":
        return size, 2 * scale * _log1p((-a).exp()), -scale
    if distribution == "laplace":
        return size, scale * (-a).exp(), -scale * 3 / 4
    two = number * 0 + 2
    inside = _erf(a / two.sqrt())
    return size * inside, 2 * scale * _gaussian(a), -scale * two.sqrt() * _gaussian(number * 0)


@defined("forecasts", relative=False)
def log_score(x: Number, y: Number, scale: Number, *, distribution: str) -> tuple[Number, ...]:
    if not scale > 0:
        return (x * NAN,)
    if distribution == "gaussian":
        return scale.ln(), ((x - y) / scale) ** 2 / 2, _log_2_pi() / 2
    if distribution == "laplace":
        return scale.ln(), abs(x - y) / scale, (scale.real * 0 + 2).ln()
    a = (x - y if x >= y else y - x) / scale
    return scale.ln(), a, 2 * _log1p((-a).exp())


def _gaussian(z: Number) -> Number:
    return (-(z * z + _log_2_pi()) / 2).exp()


def _erf(a: Number) -> Number:
    """The error function of a >= 0: of numbers that have their own by that, else by its series."""
    if hasattr(a, "erf"):
        return a.erf()
    if a > 17:  # the limit, good to 127 digits
        return a * 0 + 1
    term, at = a, 1
    total = term * 0
    while total + term != total:
        total += term
        at += 2
        term = term * 2 * a * a / at
    # 2 / sqrt(pi) is the square root of 8 over that of 2 pi
    return ((3 * Decimal(2).ln() - _log_2_pi()) / 2 - a * a).exp() * total


@defined("two gaussians")
def gaussian_kl(x: Number, y: Number, log_var: Number, y_log_var: Number) -> Number:
    u = log_var - y_log_var
    return (u.exp() - 1 - u + (x - y) ** 2 * (-y_log_var).exp()) / 2


@defined("positive")
def generalized_kl(x: Number, y: Number) -> Number:
    if x < 0 or y < 0:
        return x * NAN
    return y * (y.ln() - x.ln()) - y + x if y > 0 else x


@defined("probabilities", eps=1e-7, label_smoothing=0.125)
def binary_cross_entropy(x: Number, y: Number, *, eps: Number, label_smoothing: Number) -> Number:
    y = _smoothed(y, label_smoothing)
    return -y * _floored(x, eps).ln() - (1 - y) * _floored(1 - x, eps).ln()


def _smoothed(y: Number, label_smoothing: Number) -> Number:
    return (1 - label_smoothing) * y + label_smoothing / 2


def _floored(p: Number, floor: Number | None) -> Number:
    """At least the floor, with the derivative of p: a wrong certainty can be unlearned."""
    return p if floor is None or p >= floor else p + (floor - p).real


def _log1p(x: Number) -> Number:
    """log(1 + x), of numbers that have one of their own by that: it takes fewer digits."""
    return x.log1p() if hasattr(x, "log1p") else (1 + x).ln()


@defined("elements")
def softplus(x: Number) -> Number:
    return x + _log1p((-x).exp()) if x > 0 else _log1p(x.exp())


@defined("elements")
def log_sigmoid(x: Number) -> Number:
    return -softplus(-x)


@defined("binary logits", label_smoothing=0.125)
def binary_cross_entropy_with_logits(
    x: Number, y: Number, *, label_smoothing: Number, pos_weight: Number
) -> Number:
    y = _smoothed(y, label_smoothing)
    yes = y if pos_weight is None else y * pos_weight
    return softplus(-x) * yes + softplus(x) * (1 - y)


@defined("near binary logits")
def sigmoid_focal(
    x: Number, y: Number, *, alpha: Number, gamma: Number, label_smoothing: Number
) -> Number:
    y = _smoothed(y, label_smoothing)
    missed = y / (1 + x.exp()) + (1 - y) / (1 + (-x).exp())
    value = missed**gamma * (softplus(-x) * y + softplus(x) * (1 - y))
    return value if alpha is None else value * (alpha * y + (1 - alpha) * (1 - y))


@defined("scores")
def hinge(x: Number, y: Number) -> Number:
    return max(0, 1 - y * x)


@defined("scores")
def squared_hinge(x: Number, y: Number) -> Number:
    return max(0, 1 - y * x) ** 2


@defined("scores")
def soft_margin(x: Number, y: Number) -> Number:
    return softplus(-y * x)


@defined("scores")
def modified_huber(x: Number, y: Number) -> Number:
    return max(0, 1 - y * x) ** 2 if y * x >= -1 else -4 * y * x


@defined("scores")
def exponential(x: Number, y: Number) -> Number:
    return (-y * x).exp()


@defined("scores")
def perceptron(x: Number, y: Number) -> Number:
    return max(0, -y * x)


@defined("answers and references", relative=False, beta=0.5, label_smoothing=0.125)
def dpo(
    x: Number,
    y: Number,
    ref_chosen: Number,
    ref_rejected: Number,
    *,
    beta: Number,
    kind: str,
    label_smoothing: Number,
) -> tuple[Number, ...]:
    c, r, half = x - ref_chosen, y - ref_rejected, 1 / (2 * beta)
    z = beta * (c - r)
    share = Decimal("0.001") if kind == "exo_pair" and label_smoothing == 0 else label_smoothing
    match kind:
        case "robust":
            kept = 1 - 2 * share
            return (1 - share) / kept * softplus(-z), -share / kept * softplus(z)
        case "hinge":
            return (max(0, 1 - z),)
        case "ipo":
            return ((c - r - half) ** 2,)
        case "exo_pair":
            right, wrong = (-softplus(-z)).exp(), (-softplus(z)).exp()
            odds = -softplus(-z), -softplus(z), -(1 - share).ln(), -share.ln()
            return right * odds[0], right * odds[2], wrong * odds[1], wrong * odds[3]
        case "nca_pair":
            return softplus(-beta * c), softplus(beta * c) / 2, softplus(beta * r) / 2
        case "bco_pair":
            return softplus(-beta * c), softplus(beta * r)
        case "sppo_hard":
            return (c - half) ** 2, (r + half) ** 2
        case "apo_zero":
            return (-softplus(beta * c)).exp(), (-softplus(-beta * r)).exp()
        case "apo_down":
            return (-softplus(-beta * c)).exp(), (-softplus(z)).exp()
        case _:
            return (1 - share) * softplus(-z), share * softplus(z)


@defined("answers", relative=False, alpha=0.25, beta=0.5, label_smoothing=0.125)
def cpo(
    x: Number, y: Number, *, alpha: Number, beta: Number, kind: str, label_smoothing: Number
) -> tuple[Number, ...]:
    pair = dpo(x, y, 0, 0, beta=beta, kind=kind, label_smoothing=label_smoothing)
    return *pair, -alpha * x


@defined("mean answers", relative=False, beta=0.5, gamma=1.5, label_smoothing=0.125)
def simpo(
    x: Number, y: Number, *, beta: Number, gamma: Number, label_smoothing: Number
) -> tuple[Number, ...]:
    z = beta * (x - y) - gamma
    return (1 - label_smoothing) * softplus(-z), label_smoothing * softplus(z)


@defined("mean answers", alpha=0.25, beta=0.5)
def orpo(x: Number, y: Number, *, alpha: Number, beta: Number) -> Number:
    lead = x - _log1p(-x.exp()) - y + _log1p(-y.exp())
    return beta * softplus(-lead) - alpha * x


@defined(
    "labelled answers",
    relative=False,
    beta=0.5,
    desirable_weight=2.0,
    undesirable_weight=0.5,
    kl=0.25,
)
def kto(
    x: Number,
    y: Number,
    ref_logp: Number,
    *,
    beta: Number,
    desirable_weight: Number,
    kl: Number,
    undesirable_weight: Number,
) -> tuple[Number, ...]:
    z = beta * (x - ref_logp - kl)
    right, wrong = (-softplus(-z)).exp(), (-softplus(z)).exp()
    return desirable_weight * y * wrong, undesirable_weight * (1 - y) * right


# ------------------------------------------------------------------------------------------ rows


def _sum(numbers: Iterable[Number]) -> Number:
    return sum(numbers)


def _exps(x: Row) -> tuple[list[Number], Number]:
    """exp(x - max(x)), 0 for a class that cannot be, and max(x); NaN where there is no softmax."""
    top = max(x).real
    if any(a != a for a in x) or abs(top) == INFINITY:
        return [NAN] * len(x), NAN
    return [(a - top).exp() if a > -INFINITY else 0 for a in x], top


def _surprise(x: Row) -> Callable[[int], Number]:
    """-log softmax(x) of a class."""
    exps, top = _exps(x)
    log = _sum(exps).ln()
    return lambda at: log + (top - x[at])


def _masses(x: Row, y: Row | int, class_weight: Row | None = None) -> Row:
    """How much of the target each class has: of a class index all, times the class's weight."""
    shares = y if isinstance(y, Sequence) else [int(at == y) for at in range(len(x))]
    if class_weight is None:
        return shares
    return [w * share for w, share in zip(class_weight, shares, strict=True)]


def _expected(masses: Row, x: Row, of: Callable[[int], Number]) -> Number:
    """The sum of masses times what their classes cost; a class that cannot be may have mass 0."""
    every = enumerate(zip(masses, x, strict=True))
    return _sum(mass * of(at) for at, (mass, a) in every if mass and (a > -INFINITY or mass > 0))


def _expected_of_chances(
    masses: Row, x: Row, cost: Callable[..., Number], from_logits: bool, floor: Number
) -> Number:
    """The sum of masses times what their classes cost, by their -log p, p and 1 - p."""
    if not from_logits and not all(0 <= a <= 1 for a in x):
        return NAN
    surprise, (exps, _) = _surprise(x), _exps(x)

    def of(at: int) -> Number:
        if not from_logits:
            p = _floored(x[at], floor)
            return cost(-p.ln(), p, 1 - p)
        if not x[at] > -INFINITY:
            return cost(surprise(at), 0, 1)
        others = _sum(exps[:at]) + _sum(exps[at + 1 :])  # of which 1 - p has all digits
        return cost(surprise(at), exps[at] / _sum(exps), others / _sum(exps))

    return _expected(masses, x, of)


@defined("rows")
def logsumexp(x: Row) -> Number:
    exps, top = _exps(x)
    return _sum(exps).ln() + top


@defined("rows")
def log_softmax(x: Row) -> list[Number]:
    return [-each for each in map(_surprise(x), range(len(x)))]


@defined("rows")
def softmax(x: Row) -> list[Number]:
    exps, _ = _exps(x)
    total = _sum(exps)
    return [each / total for each in exps]


@defined("logits")
def cross_entropy(
    x: Row,
    y: Row | int,
    *,
    class_weight: Row | None,
    from_logits: bool,
    label_smoothing: Number,
    softcap: Number | None,
    temperature: Number,
    z_loss: Number,
    floor: Number = 0,
) -> Number:
    def cost(surprise: Number, p: Number, missed: Number) -> Number:
        del p, missed
        return surprise

    q = _masses(x, _spread(x, y, label_smoothing), class_weight)
    if not from_logits:
        return _expected_of_chances(q, x, cost, from_logits, floor)
    z = [capped(a, temperature, softcap) for a in x]
    value = _expected(q, z, _surprise(z))
    if not z_loss:
        return value
    mass = 1 if class_weight is None else _sum(_masses(x, y, class_weight))
    return value + z_loss * mass * logsumexp(z) ** 2


def _spread(x: Row, y: Row | int, label_smoothing: Number) -> Row:
    """Return a target of which a share is spread over the possible classes."""
    possible = sum(a > -INFINITY for a in x)
    share = label_smoothing / possible if possible else 0
    return [
        (1 - label_smoothing) * mass + (share if a > -INFINITY else 0)
        for a, mass in zip(x, _masses(x, y), strict=True)
    ]


def capped(x: Number, temperature: Number, softcap: Number | None) -> Number:
    """softcap tanh(x / temperature / softcap)."""
    z = x / temperature
    if softcap is None or x == -INFINITY:
        return z
    return softcap * (1 - 2 / (1 + (2 * z / softcap).exp()))


@defined("near logits")
def softmax_focal(
    x: Row,
    y: Row | int,
    *,
    class_weight: Row | None,
    from_logits: bool,
    gamma: Number,
    label_smoothing: Number,
    floor: Number = 0,
) -> Number:
    def cost(surprise: Number, p: Number, missed: Number) -> Number:
        if p == 0:
            return surprise
        if missed == 0:  # the limit, by -log(1 - m) = m + m^2 / 2 + ...
            return missed ** (1 + gamma) * (1 + missed / 2)
        return missed**gamma * surprise

    q = _masses(x, _spread(x, y, label_smoothing), class_weight)
    return _expected_of_chances(q, x, cost, from_logits, floor)


@defined("logits", epsilon=-0.5)
def poly_cross_entropy(
    x: Row,
    y: Row | int,
    *,
    class_weight: Row | None,
    epsilon: Number,
    from_logits: bool,
    floor: Number = 0,
) -> Number:
    def cost(surprise: Number, p: Number, missed: Number) -> Number:
        return surprise + epsilon * missed

    return _expected_of_chances(_masses(x, y, class_weight), x, cost, from_logits, floor)


@defined("near logits", q=0.0)
def generalized_cross_entropy(
    x: Row,
    y: Row | int,
    *,
    class_weight: Row | None,
    from_logits: bool,
    q: Number,
    floor: Number = 0,
) -> Number:
    def cost(surprise: Number, p: Number, missed: Number) -> Number:
        if not q:
            return surprise
        return (1 - p**q) / q if p != 0 else 1 / q

    return _expected_of_chances(_masses(x, y, class_weight), x, cost, from_logits, floor)


@defined("logits", relative=False)
def brier(
    x: Row, y: Row | int, *, class_weight: Row | None, from_logits: bool
) -> tuple[Number, ...]:
    p = softmax(x) if from_logits else x
    mass = 1 if class_weight is None else _sum(_masses(x, y, class_weight))
    return tuple([mass * (a - b) ** 2 for a, b in zip(p, _masses(x, y), strict=True)])


@defined("logits")
def categorical_hinge(x: Row, y: int, *, class_weight: Row | None) -> Number:
    def loss(at: int) -> Number:
        rivals = [a for other, a in enumerate(x) if other != at and a > -INFINITY]
        return max(0, 1 + max(rivals) - x[at]) if rivals else 0

    return _expected(_masses(x, y, class_weight), x, loss)


@defined("logits", relative=False, margin=0.5, p=2)
def multi_margin(
    x: Row, y: int, *, class_weight: Row | None, margin: Number, p: int
) -> tuple[Number, ...]:
    mass = 1 if class_weight is None else class_weight[y]
    rivals = [a for at, a in enumerate(x) if at != y and a > -INFINITY]
    short = [a for a in rivals if margin - x[y] + a > 0]
    if p == 2:
        return 0 * x[y], *(mass * (margin - x[y] + a) ** 2 / len(x) for a in short)
    return 0 * x[y], *(mass * each / len(x) for a in short for each in (margin, -x[y], a))


@defined("many logits")
def multilabel_soft_margin(x: Row, y: Row) -> Number:
    return coral(x, y) / len(x)


@defined("many logits")
def coral(x: Row, y: Row) -> Number:
    return _sum([softplus(-a) * b + softplus(a) * (1 - b) for a, b in zip(x, y, strict=True)])


def _asked(x: Row, y: int) -> int:
    """Return how many thresholds there are up to the first that a rank is not above."""
    return min(y + 1, len(x))


@defined("ranks", count=_asked)
def corn(x: Row, y: int) -> Number:
    return _sum([softplus(-a) if y > at else softplus(a) for at, a in enumerate(x) if at <= y])


@defined("log-probabilities")
def nll(x: Row, y: int, *, class_weight: Row | None) -> Number:
    return _expected(_masses(x, y, class_weight), x, lambda at: -x[at])


@defined("log-probabilities of shares", relative=False)
def kl_div(x: Row, y: Row, *, log_target: bool) -> tuple[Number, ...]:
    shares = [b.exp() if log_target else b for b in y]
    there = [b > (-INFINITY if log_target else 0) for b in y]
    logs = [b if log_target else b.ln() if b > 0 else b for b in y]
    entropy = [b * log for b, log, own in zip(shares, logs, there, strict=True) if own]
    return *entropy, *(-b * a for b, a, own in zip(shares, x, there, strict=True) if own)


@defined("log-probabilities of elements", relative=False)
def relative_entropy(x: Number, y: Number, *, log_target: bool) -> tuple[Number, ...]:
    return 0 * y, *kl_div([x], [y], log_target=log_target)


@defined("two logits", temperature=0.5)
def kl_div_with_logits(x: Row, y: Row, *, temperature: Number) -> tuple[Number, Number]:
    x, y = ([a / temperature for a in row] for row in (x, y))
    surprise, square = _surprise(y), temperature * temperature
    # log q_c - x_c: what is left beside log(_sum(exp(x))), whose slope is another term.
    rest = _expected(softmax(y), y, lambda at: -x[at] - surprise(at))
    return square * logsumexp(x), square * rest


@defined("shares")
def js_div(x: Row, y: Row) -> Number:
    def half(a: Number, b: Number) -> Number:
        return a * (2 * a / (a + b)).ln() / 2 if a > 0 else 0

    return _sum(half(a, b) + half(b, a) for a, b in zip(x, y, strict=True))


# --------------------------------------------------------------------------------------- regions


def _overlap(x: Row, y: Row) -> tuple[Number, Number, Number]:
    """Return what is rightly found, what is wrongly found, and what is missed."""
    pairs = [*zip(x, y, strict=True)]
    return (
        _sum(a * b for a, b in pairs),
        _sum(a * (1 - b) for a, b in pairs),
        _sum((1 - a) * b for a, b in pairs),
    )


def _share_of(part: Number, whole: Number) -> Number:
    return part / whole if whole > 0 else 0 * part


@defined("regions", smooth=0.5)
def dice(x: Row, y: Row, *, smooth: Number, squared: bool) -> Number:
    found, wrong, missed = _overlap(x, y)
    if not squared:
        return _share_of(wrong + missed, 2 * found + wrong + missed + smooth)
    apart = _sum((a - b) ** 2 for a, b in zip(x, y, strict=True))
    return _share_of(apart, apart + 2 * found + smooth)


@defined("regions", smooth=0.5)
def jaccard(x: Row, y: Row, *, smooth: Number) -> Number:
    found, wrong, missed = _overlap(x, y)
    return _share_of(wrong + missed, found + wrong + missed + smooth)


@defined("regions", smooth=0.5, fp_weight=0.125, fn_weight=0.75)
def tversky(x: Row, y: Row, *, fp_weight: Number, fn_weight: Number, smooth: Number) -> Number:
    found, wrong, missed = _overlap(x, y)
    lost = fp_weight * wrong + fn_weight * missed
    return _share_of(lost, found + lost + smooth)


@defined("regions", smooth=0.5, fp_weight=0.125, fn_weight=0.75)
def focal_tversky(
    x: Row, y: Row, *, fp_weight: Number, fn_weight: Number, gamma: Number, smooth: Number
) -> Number:
    of_item = tversky(x, y, fp_weight=fp_weight, fn_weight=fn_weight, smooth=smooth)
    return of_item ** (1 / gamma) if of_item > 0 else 0 * of_item


# ----------------------------------------------------------------------------------------- lists


def _ordered(x: Row, y: Row) -> Iterable[tuple[Number, Number]]:
    """Return the scores of the pairs whose first has the higher label."""
    members = [*zip(x, y, strict=True)]
    return [(a, b) for a, high in members for b, low in members if high > low]


@defined("lists")
def pairwise_logistic(x: Row, y: Row) -> tuple[Number, ...]:
    return 0 * x[0], *(softplus(b - a) for a, b in _ordered(x, y))


@defined("lists")
def pairwise_soft_zero_one(x: Row, y: Row) -> tuple[Number, ...]:
    return 0 * x[0], *((-softplus(a - b)).exp() for a, b in _ordered(x, y))


@defined("lists", relative=False, margin=0.5)
def pairwise_hinge(x: Row, y: Row, *, margin: Number) -> tuple[Number, ...]:
    short = [(a, b) for a, b in _ordered(x, y) if margin - a + b > 0]
    return 0 * x[0], *(each for a, b in short for each in (margin, -a, b))


def _ranks(row: Row) -> list[int]:
    """Return the ranks of members, from 1 for the highest number; ties by position."""
    members = [*enumerate(row)]
    return [1 + sum(b > a or (b == a and j < i) for j, b in members) for i, a in members]


def _gains(y: Row, gain: str) -> list[Number]:
    return [b if gain == "linear" else (b * Decimal(2).ln()).exp() - 1 for b in y]


def _discounted(rank: int, discount: str) -> Number:
    return (
        Decimal(1) / rank if discount == "reciprocal" else Decimal(2).ln() / Decimal(1 + rank).ln()
    )


def _dcg(gains: Row, order: Row, discount: str, top: Number | None) -> Number:
    """Return the DCG of gains in the order of other numbers."""
    ranked = zip(gains, _ranks(order), strict=True)
    return _sum(a * _discounted(rank, discount) for a, rank in ranked if top is None or rank <= top)


def _lambda(
    x: Row, y: Row, kind: str, mu: Number, gain: str, discount: str, top: Number | None
) -> tuple[Number, ...]:
    gains, ranks = _gains(y, gain), _ranks(x)
    best = _dcg(gains, y, discount, top)
    if best == 0:
        return (0 * x[0],)

    def of(rank: int) -> Number:
        return _discounted(rank, discount)

    def kept(rank: int) -> Number:
        return of(rank) if top is None or rank <= top else 0

    def weight(i: int, j: int) -> Number | None:
        """Return what a pair weighs; None where it is none."""
        if kind == "ndcg1":
            return gains[i] * kept(ranks[i])
        if not y[i] > y[j] or kept(min(ranks[i], ranks[j])) == 0:
            return None
        exchange = abs(kept(ranks[i]) - kept(ranks[j]))
        apart = abs(ranks[i] - ranks[j])
        step = of(apart) - of(apart + 1)
        share = {"lambdarank": exchange, "ndcg2": step}.get(kind, exchange + mu * step)
        return share * (gains[i] - gains[j])

    every = range(len(x))
    pairs = [(i, j, weight(i, j)) for i in every for j in every]
    terms = (w * softplus(x[j] - x[i]) / best for i, j, w in pairs if w is not None)
    return 0 * x[0], *terms


@defined("lists", top=2.0)
def lambdarank(
    x: Row, y: Row, *, gain: str, discount: str, top: Number | None
) -> tuple[Number, ...]:
    return _lambda(x, y, "lambdarank", 0, gain, discount, top)


@defined("lists", mu=0.5, top=2.0)
def lambdaloss(
    x: Row, y: Row, *, kind: str, mu: Number, gain: str, discount: str, top: Number | None
) -> tuple[Number, ...]:
    if kind == "ranknet":
        return tuple(pairwise_logistic(x, y))
    return _lambda(x, y, kind, mu, gain, discount, top)


@defined("lists", temperature=0.25)
def approx_ndcg(
    x: Row, y: Row, *, temperature: Number, gain: str, discount: str
) -> tuple[Number, ...]:
    gains = _gains(y, gain)
    best = _dcg(gains, y, discount, None)
    if best == 0:
        return (0 * x[0],)
    terms: list[Number] = []
    for i, own in enumerate(gains):
        leads = [(x[j] - x[i]) / temperature for j in range(len(x)) if j != i]
        rank = Decimal(1) + _sum((-softplus(-lead)).exp() for lead in leads)
        share = 1 / rank if discount == "reciprocal" else Decimal(2).ln() / (1 + rank).ln()
        terms.append(-own * share / best)
    return tuple(terms)


@defined("tags", relative=False, margin=0.5)
def multilabel_margin(x: Row, y: Row, *, margin: Number) -> tuple[Number, ...]:
    return tuple(each / len(x) for each in pairwise_hinge(x, y, margin=margin))


@defined("lists", relative=False)
def pairwise_mse(x: Row, y: Row) -> tuple[Number, ...]:
    errors = [a - b for a, b in zip(x, y, strict=True)]
    squares = 2 * len(x) * _sum(e**2 for e in errors)
    return squares, -2 * _sum(errors) ** 2


@defined("pixels", relative=False)
def lovasz_hinge(x: Row, y: Row) -> tuple[Number, ...]:
    errors = [1 - a if b > 0 else 1 + a for a, b in zip(x, y, strict=True)]
    return _lovasz([max(0, each) for each in errors], y)


@defined("regions of pixels", relative=False)
def lovasz_softmax(x: Row, y: Row) -> tuple[Number, ...]:
    if not any(y):  # counts in no mean
        return (0 * x[0],)
    return _lovasz([abs(a - b) for a, b in zip(x, y, strict=True)], y)


def _lovasz(errors: Row, y: Row) -> tuple[Number, ...]:
    """Return errors from large to small, each by what one more wrong pixel costs."""
    order = sorted(range(len(errors)), key=lambda at: (-errors[at].real, at))
    terms: list[Number] = [0 * errors[0]]
    before, whole, missed, wrong = Decimal(0), _sum(y), Decimal(0), Decimal(0)
    for at in order:
        missed, wrong = missed + y[at], wrong + 1 - y[at]
        jaccard_loss = (missed + wrong) / (whole + wrong)
        terms.append(errors[at] * (jaccard_loss - before))
        before = jaccard_loss
    return tuple(terms)


@defined("images")
def generalized_dice(x: Sequence[Row], y: Sequence[Row], *, smooth: Number) -> Number:
    sizes = [_sum(each) for each in y]
    there = [1 / size**2 for size in sizes if size > 0]
    weights = [1 / size**2 if size > 0 else max(there, default=Decimal(0)) for size in sizes]
    parts = [_overlap(a, b) for a, b in zip(x, y, strict=True)]
    lost, whole = smooth * 0, smooth
    for weight, (found, wrong, missed) in zip(weights, parts, strict=True):
        lost = lost + weight * (wrong + missed)
        whole = whole + weight * (2 * found + wrong + missed)
    return _share_of(lost, whole)


# ----------------------------------------------------------------------------------------- pairs


@defined("two scores", relative=False, margin=0.5)
def margin_ranking(a: Number, b: Number, y: Number, *, margin: Number) -> tuple[Number, ...]:
    return (margin, -y * a, y * b) if margin - y * (a - b) > 0 else (0 * a, 0 * a, 0 * a)


def _distance(a: Row, b: Row, p: Number) -> Number:
    sizes = [abs(u - v) for u, v in zip(a, b, strict=True)]
    if p == INFINITY:
        return max(sizes)
    if p == 2:
        return _sum(each * each for each in sizes).sqrt()
    return _sum(each**p for each in sizes) ** (1 / p)


@defined("two vectors", p=1.0)
def pairwise_distance(a: Row, b: Row, *, p: Number) -> Number:
    return _distance(a, b, p)


@defined("two vectors, alike or not", relative=False, margin=2.0)
def contrastive(
    a: Row, b: Row, y: Number, *, margin: Number, p: Number, squared: bool
) -> tuple[Number, ...]:
    far = _distance(a, b, p)
    if y > 0:
        return (far**2 if squared else far,)
    short = 1 if far < margin else 0
    every = (margin**2, -2 * margin * far, far**2) if squared else (margin, -far)
    return tuple([short * each for each in every])


@defined("three vectors", relative=False, margin=0.5)
def triplet_margin(
    anchor: Row, positive: Row, negative: Row, *, margin: Number, p: Number, swap: bool
) -> tuple[Number, ...]:
    near, far = _distance(anchor, positive, p), _distance(anchor, negative, p)
    far = min(far, _distance(positive, negative, p)) if swap else far
    wrong = 1 if near - far + margin > 0 else 0
    return near * wrong, -far * wrong, margin * wrong


@defined("two vectors", relative=False)
def cosine_similarity(a: Row, b: Row) -> tuple[Number, ...]:
    length = (_sum(u * u for u in a) * _sum(v * v for v in b)).sqrt()
    return tuple([u * v / length if length else 0 * u for u, v in zip(a, b, strict=True)])


@defined("two vectors, alike or not", relative=False, margin=0.5)
def cosine_embedding(a: Row, b: Row, y: Number, *, margin: Number) -> tuple[Number, ...]:
    cosines = cosine_similarity(a, b)
    if y > 0:
        return (1 - _sum(cosines),)
    above = 1 if _sum(cosines) > margin else 0
    return tuple([above * each for each in (*cosines, -margin)])


# ------------------------------------------------------------------------- lists that are in order


@defined("orders")
def listmle(x: Row, y: Row) -> tuple[Number, ...]:
    order = sorted(range(len(x)), key=lambda at: (-y[at], at))
    ranked = [x[at] for at in order]
    return tuple([logsumexp(ranked[k:]) - ranked[k] for k in range(len(x))])


@defined("grades", relative=False)
def unique_softmax(x: Row, y: Row, *, gain: str) -> tuple[Number, ...]:
    terms: list[Number] = [0 * x[0]]
    for own, label, worth in zip(x, y, _gains(y, gain), strict=True):
        lower = [a for a, b in zip(x, y, strict=True) if b < label]
        terms.append(worth * (logsumexp([own, *lower]) - own))
    return tuple(terms)


@defined("cohorts", relative=False)
def cox_ph(x: Row, y: Row, event: Row, *, ties: str) -> tuple[Number, ...]:
    """The sum over events: as often as it has these a cohort counts."""
    members = [*zip(x, y, event, strict=True)]
    terms: list[Number] = [0 * x[0]]
    times = [b for _, b, happened in members if happened]
    for time in (b for at, b in enumerate(times) if b not in times[:at]):
        tied = [a for a, b, happened in members if happened and b == time]
        top = max(a for a, b, _ in members if b >= time).real
        at_risk = _sum((a - top).exp() for a, b, _ in members if b >= time)
        of_tied = _sum((a - top).exp() for a in tied)
        for k, own in enumerate(tied):
            gone = of_tied * k / len(tied) if ties == "efron" else 0
            terms += [(at_risk - gone).ln(), top - own]
    return tuple(terms)


@defined("ensembles", relative=False)
def crps_ensemble(x: Row, y: Number, *, fair: bool) -> tuple[Number, ...]:
    m = len(x)
    many = m - 1 if fair else m
    apart = (abs(a - b) for at, a in enumerate(x) for b in x[:at])
    return *(abs(a - y) / m for a in x), *(-each / (m * many) for each in apart)


# --------------------------------------------------------------------------------- sparse and paths


def _threshold(x: Row, power: int) -> Number:
    """Return t such that max(x - t, 0), to a power of 1 or 2, adds up to 1."""
    ranked = sorted((a for a in x if a > -INFINITY), reverse=True)
    for count in range(len(ranked), 0, -1):
        mean = _sum(ranked[:count]) / count
        if power == 1:
            t = mean - Decimal(1) / count
        else:
            rest = 1 - _sum((a - mean) ** 2 for a in ranked[:count])
            if rest <= 0:  # then the least of them is not above their mean
                continue
            t = mean - (rest / count).sqrt()
        if ranked[count - 1] > t:
            return t
    raise ArithmeticError("no class is above a threshold")  # the largest always is


@defined("rows")
def sparsemax(x: Row) -> list[Number]:
    t = _threshold(x, 1)
    return [a - t if a > t else Decimal(0) for a in x]


@defined("rows")
def entmax15(x: Row) -> list[Number]:
    halves = [a / 2 for a in x]
    t = _threshold(halves, 2)
    return [(a - t) ** 2 if a > t else Decimal(0) for a in halves]


@defined("near logits", relative=False)
def fenchel_young(x: Row, y: Row | int, *, activation: str) -> tuple[Number, ...]:
    def negentropy(p: Number) -> Number:
        if activation == "sparsemax":
            return p * p / 2
        return 4 * (p * p.sqrt() - p) / 3

    def gains(shares: Row) -> list[Number]:
        """What these are worth of the classes that have some."""
        some = ((a, Decimal(1) * p) for a, p in zip(x, shares, strict=True) if p > 0)
        return [a * p - negentropy(p) for a, p in some]

    best = sparsemax(x) if activation == "sparsemax" else entmax15(x)
    return *gains(best), *(-each for each in gains(_masses(x, y)))


@defined("frames")
def ctc(x: Sequence[Row], y: Row, *, blank: int) -> tuple[Number, ...]:
    """The sums over all paths, and over those that spell y: symbols repeated, blanks between."""
    states = [blank, *(each for label in y for each in (int(label), blank))]
    reached: list[Number] = [Decimal(1), *[Decimal(0)] * (len(states) - 1)]
    for number, row in enumerate(x):
        (p, _), before, reached = _exps(row), reached, []
        for at, symbol in enumerate(states):
            skips = at > 1 and symbol != blank and symbol != states[at - 2]
            first = Decimal(at < 2) if number == 0 else None
            ways = before[max(at - (2 if skips else 1), 0) : at + 1]
            reached.append(p[symbol] * (first if first is not None else _sum(ways)))
    return *(_sum(_exps(row)[0]).ln() for row in x), -_sum(reached[-2:]).ln()
