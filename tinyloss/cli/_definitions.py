"""Losses as their textbooks have them, in decimal numbers of as many digits as it takes.

A definition returns the terms that an item's loss is the sum of. Where these cancel, no more can be
promised than eps of the sum of their sizes. Derivatives are differences of the definition: with
`DIGITS` digits and steps of `STEP` they are right to 40 digits and more, and owe nothing to
anybody's closed form.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal, localcontext
from functools import lru_cache
from typing import Any, TypeAlias, cast

__all__ = ["DEFINITIONS", "Definition", "Truth", "item_of", "truth", "value_of"]

DIGITS = 110
STEP = Decimal("1e-40")

# No number that a float has overflows here.
_CONTEXT = Context(prec=DIGITS, Emin=-(10**8), Emax=10**8)

Terms: TypeAlias = tuple[Decimal, ...]
Row: TypeAlias = Sequence[Decimal]


@dataclass(frozen=True)
class Definition:
    """A loss as its textbook has it, and what it is called with."""

    terms: Callable[..., Terms]
    """Of an item's numbers: x, y and more; of a row, lists, and its class."""
    draw: str
    """What its arguments may be: the name of one of `_inputs.DRAWS`."""
    rows: bool = False
    relative: bool = True
    """Whether its digits are promised of the value; else of the sum of its terms' sizes."""
    torch: Callable[..., Any] | None = None
    """The same of torch, from `torch.nn.functional`, the arguments, and "none" or "mean"."""
    optax: str | None = None
    """The name of the same in `optax.losses`."""


@dataclass(frozen=True)
class Truth:
    """An exact number, and what its error is measured by."""

    exact: Decimal
    size: Decimal


def item_of(arguments: Sequence[Any], at: int) -> list[Any]:
    """Return the exact arguments of an item from NumPy's arrays, of rows or of elements."""

    def exact(drawn: Any) -> Any:
        if isinstance(drawn, list):
            return [*map(Decimal, cast("list[float]", drawn))]
        return drawn if isinstance(drawn, int) else Decimal(drawn)

    return [exact(array[at].tolist()) for array in arguments]


def value_of(of: Definition, arguments: Sequence[Any]) -> Truth:
    """Return the loss of an item."""
    with localcontext(_CONTEXT):
        terms = of.terms(*arguments)
        value = sum(terms, Decimal(0))
        return Truth(value, abs(value) if of.relative else sum(map(abs, terms), Decimal(0)))


def truth(of: Definition, arguments: Sequence[Any]) -> tuple[Truth, list[Truth], list[Truth]]:
    """Return value, gradient and curvature of an item by x; a row has one of each class."""
    x, *more = arguments
    with localcontext(_CONTEXT):
        here = of.terms(x, *more)
        gradient: list[Truth] = []
        curvature: list[Truth] = []
        for number in range(len(x)) if of.rows else [None]:
            up, down = (of.terms(_moved(x, number, step), *more) for step in (STEP, -STEP))
            slopes = [(b - a) / (2 * STEP) for a, b in zip(down, up, strict=True)]
            bends = [(a - 2 * b + c) / STEP**2 for a, b, c in zip(down, here, up, strict=True)]
            for found, parts in ((gradient, slopes), (curvature, bends)):
                found.append(Truth(sum(parts, Decimal(0)), sum(map(abs, parts), Decimal(0))))
        return value_of(of, arguments), gradient, curvature


def _moved(x: Any, number: int | None, step: Decimal) -> Any:
    if number is None:
        return x + step
    return [a + step * (number == at) for at, a in enumerate(x)]


# -------------------------------------------------------------------------------------- elements


def _softplus(x: Decimal) -> Decimal:
    """log(1 + exp(x))."""
    return max(x, Decimal(0)) + (1 + (-abs(x)).exp()).ln()


def _mse(x: Decimal, y: Decimal) -> Terms:
    return ((x - y) ** 2,)


def _mae(x: Decimal, y: Decimal) -> Terms:
    return (abs(x - y),)


def _huber(x: Decimal, y: Decimal) -> Terms:
    size = abs(x - y)
    return (size**2 / 2 if size <= 1 else size - Decimal("0.5"),)


def _log_cosh(x: Decimal, y: Decimal) -> Terms:
    size = abs(x - y)
    return (size + (1 + (-2 * size).exp()).ln() - Decimal(2).ln(),)


def _quantile(x: Decimal, y: Decimal) -> Terms:
    return (abs(x - y) / 2,)


def _msle(x: Decimal, y: Decimal) -> Terms:
    return (((1 + x).ln() - (1 + y).ln()) ** 2,)


def _mape(x: Decimal, y: Decimal) -> Terms:
    return (abs(x - y) / abs(y),)


def _poisson_nll(x: Decimal, y: Decimal) -> Terms:
    return x.exp(), -y * x


def _gaussian_nll(x: Decimal, y: Decimal, var: Decimal) -> Terms:
    return var.ln() / 2, (x - y) ** 2 / var / 2


def _binary_cross_entropy(x: Decimal, y: Decimal) -> Terms:
    return (-(x if y else 1 - x).ln(),)


def _binary_cross_entropy_with_logits(x: Decimal, y: Decimal) -> Terms:
    return (_softplus(-x if y else x),)


def _sigmoid_focal(x: Decimal, y: Decimal) -> Terms:
    right = x if y else -x
    return (_softplus(-right) / (1 + right.exp()) ** 2,)


def _hinge(x: Decimal, y: Decimal) -> Terms:
    return (max(1 - y * x, Decimal(0)),)


def _squared_hinge(x: Decimal, y: Decimal) -> Terms:
    return (max(1 - y * x, Decimal(0)) ** 2,)


def _soft_margin(x: Decimal, y: Decimal) -> Terms:
    return (_softplus(-y * x),)


# ------------------------------------------------------------------------------------------ rows


def _sum(numbers: Any) -> Decimal:
    return sum(numbers, Decimal(0))


# A difference moves one class of a row; the others' are known.
_exp, _log = (lru_cache(256)(each) for each in (Decimal.exp, Decimal.ln))


def _log_sum_exp(x: Row) -> Decimal:
    return _sum(map(_exp, x)).ln()  # nothing overflows here


def _cross_entropy(x: Row, y: int) -> Terms:
    return (_log_sum_exp(x) - x[y],)


def _softmax_focal(x: Row, y: int) -> Terms:
    shares = [_exp(a) for a in x]
    others = _sum(share for at, share in enumerate(shares) if at != y)
    return ((others / _sum(shares)) ** 2 * (_log_sum_exp(x) - x[y]),)


def _nll(x: Row, y: int) -> Terms:
    return (-x[y],)


def _kl_div(x: Row, y: Row) -> Terms:
    pairs = [(a, b) for a, b in zip(x, y, strict=True) if b]
    return *(b * _log(b) for _, b in pairs), *(-b * a for a, b in pairs)


def _kl_div_with_logits(x: Row, y: Row) -> Terms:
    log_z = _log(_sum(map(_exp, y)))
    shares = [_exp(b - log_z) for b in y]
    known = _sum(share * (b - log_z) for share, b in zip(shares, y, strict=True))
    return _log_sum_exp(x), known - _sum(s * a for s, a in zip(shares, x, strict=True))


def _js_div(x: Row, y: Row) -> Terms:
    def half(a: Decimal, b: Decimal) -> Decimal:
        return a * _log(2 * a / (a + b)) / 2

    return (_sum(half(a, b) + half(b, a) for a, b in zip(x, y, strict=True)),)


def _kl_div_of_torch(functional: Any, arguments: Any, reduction: str = "none") -> Any:
    if reduction == "mean":
        return functional.kl_div(*arguments, reduction="batchmean")
    return functional.kl_div(*arguments, reduction="none").sum(-1)


def _functional(name: str) -> Callable[..., Any]:
    def theirs(functional: Any, arguments: Any, reduction: str = "none") -> Any:
        return getattr(functional, name)(*arguments, reduction=reduction)

    return theirs


DEFINITIONS: dict[str, Definition] = {
    "mse": Definition(_mse, "errors", torch=_functional("mse_loss"), optax="squared_error"),
    "mae": Definition(_mae, "errors", torch=_functional("l1_loss")),
    "huber": Definition(_huber, "errors", torch=_functional("huber_loss"), optax="huber_loss"),
    "smooth_l1": Definition(_huber, "errors", torch=_functional("smooth_l1_loss")),
    "log_cosh": Definition(_log_cosh, "errors", optax="log_cosh"),
    "quantile": Definition(_quantile, "errors"),
    "msle": Definition(_msle, "positive"),
    "mape": Definition(_mape, "errors"),
    "poisson_nll": Definition(
        _poisson_nll, "counts", relative=False, torch=_functional("poisson_nll_loss")
    ),
    "gaussian_nll": Definition(
        _gaussian_nll, "variances", relative=False, torch=_functional("gaussian_nll_loss")
    ),
    "binary_cross_entropy": Definition(
        _binary_cross_entropy, "probabilities", torch=_functional("binary_cross_entropy")
    ),
    "binary_cross_entropy_with_logits": Definition(
        _binary_cross_entropy_with_logits,
        "binary logits",
        torch=_functional("binary_cross_entropy_with_logits"),
        optax="sigmoid_binary_cross_entropy",
    ),
    "sigmoid_focal": Definition(_sigmoid_focal, "near binary logits", optax="sigmoid_focal_loss"),
    "hinge": Definition(_hinge, "scores", optax="hinge_loss"),
    "squared_hinge": Definition(_squared_hinge, "scores"),
    "soft_margin": Definition(_soft_margin, "scores", torch=_functional("soft_margin_loss")),
    "cross_entropy": Definition(
        _cross_entropy,
        "logits",
        rows=True,
        torch=_functional("cross_entropy"),
        optax="softmax_cross_entropy_with_integer_labels",
    ),
    "softmax_focal": Definition(_softmax_focal, "near logits", rows=True),
    "nll": Definition(_nll, "log-probabilities", rows=True, torch=_functional("nll_loss")),
    "kl_div": Definition(
        _kl_div,
        "log-probabilities of shares",
        rows=True,
        relative=False,
        torch=_kl_div_of_torch,
        optax="kl_divergence",
    ),
    "kl_div_with_logits": Definition(_kl_div_with_logits, "two logits", rows=True),
    "js_div": Definition(_js_div, "shares", rows=True),
}
