"""Losses of yes or no: an item is an element."""

from dataclasses import replace
from functools import cache
from math import ceil, exp, inf, log, log1p, log2
from typing import Any, Unpack

from tinyloss._arrays import namespace
from tinyloss._check import is_number
from tinyloss._engine.request import Request
from tinyloss._formula import Formula
from tinyloss._function import LossFunction
from tinyloss._traits import Traits, highest, numbers_of
from tinyloss.losses._numerics import (
    exponent,
    positive_part,
    power,
    product,
    sigmoids,
    sign,
    smoothing,
    softplus,
    steep,
)
from tinyloss.typing import Array, ArrayLike, BinaryOptions, Floor, NonNegative, Share, SharesOrNone

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "exponential",
    "hinge",
    "modified_huber",
    "perceptron",
    "sigmoid_focal",
    "soft_margin",
    "squared_hinge",
]

_OF_LOGIT = Traits(
    convex=True,
    strong_convexity=0.0,
    range=(0.0, inf),
    kinks=(),
    proper=True,
    calibrated=True,
)
"""Those of a convex loss of a yes that tells probabilities; what a loss says besides is its own."""
_OF_MARGIN = replace(_OF_LOGIT, lipschitz=inf, smoothness=inf, variable="y x")
"""The same of the margin alone, for targets of -1 and 1."""


class _Sides:
    """The shares of a no and of a yes in a target, of which a part is spread evenly over both.

    Each is a sum of terms above 0: 1 less a rounded yes would lose a small no.
    """

    def __init__(self, y: Any, label_smoothing: Any) -> None:
        if label_smoothing is None:
            self.kept, self.yes, self.no = None, y, 1 - y
        else:
            self.kept, half = 1 - label_smoothing, 0.5 * label_smoothing
            # XLA adds up the constants of (1 - y) + half, where a small one is lost.
            no = namespace(y).where(y == 1, half, self.kept * (1 - y) + half)
            self.yes, self.no = self.kept * y + half, no

    def by_y(self, slope: Any) -> Any:
        """Return a slope by the share of a yes as that by the target."""
        return slope if self.kept is None else self.kept * slope


def _least_of(no: float, yes: float) -> float:
    """Return the least cross-entropy of these shares, or weights, of a no and a yes."""
    return -sum(share * log(share / (no + yes)) for share in (no, yes) if share)


class _BCE(Formula):
    name = "binary_cross_entropy"
    binary = True

    def __init__(self, x: Any, y: Any, *, eps: Any, label_smoothing: Any = None) -> None:
        self.xp = xp = namespace(x)
        if eps is None:
            eps = float(xp.finfo(x.dtype).smallest_normal)
        self.p = p = xp.where((x < 0) | (x > 1), xp.nan, x)
        self.sides = _Sides(y, label_smoothing)
        self.a, self.b = xp.maximum(p, eps), xp.maximum(1 - p, eps)
        self.floored = (p < eps) | (1 - p < eps)
        self.log_a = xp.log(self.a)
        # 1 - p is exact for p >= 1/2 (Sterbenz) and rounds harmlessly above 0.3. The limit is not
        # 1/2, since some libraries' log1p is off by 100 eps on (-0.5, -0.3).
        self.log_b = xp.where(p <= 0.3, xp.log1p(-xp.minimum(p, 0.3)), xp.log(self.b))

    def value(self) -> Any:
        return -self.sides.yes * self.log_a - self.sides.no * self.log_b

    def grad_x(self) -> Any:
        # (p - yes) / (p (1 - p)) has no sum to cancel; for hard targets one factor goes.
        xp, a, b, no, yes = self.xp, self.a, self.b, self.sides.no, self.sides.yes
        if self.sides.kept is not None:  # a yes was rounded: p - yes would lose a small no
            return no / b - yes / a
        soft = xp.where(self.floored, no / b - yes / a, (self.p - yes) / a / b)
        return xp.where(yes == 0, 1 / b, xp.where(no == 0, -1 / a, soft))

    def grad_y(self) -> Any:
        return self.sides.by_y(self.log_b - self.log_a)

    def curvature(self) -> Any:
        # Not yes / a / a: a compiler may divide by a * a instead, which underflows.
        a, b = self.a, self.b
        return (self.sides.yes / a) * (1 / a) + (self.sides.no / b) * (1 / b)

    @classmethod
    def traits(cls, *, eps: float | None, label_smoothing: float = 0.0) -> Traits:
        known, half = replace(_OF_LOGIT, elicits="probability"), 0.5 * label_smoothing
        if half:
            known = _smoothed(known, label_smoothing, _least_of(half, 1 - half))
        if eps is None:  # the smallest normal number, which counts as none
            # A / p^2 + B / (1 - p)^2 is least at a p to 1 - p as the cube root of A to that of B
            curved = (half ** (1 / 3) + (1 - half) ** (1 / 3)) ** 3
            return replace(known, strong_convexity=curved, lipschitz=inf, smoothness=inf)
        if half:
            return replace(
                known, convex=False, lipschitz=None, smoothness=None, range=None, calibrated=None
            )  # fmt: skip
        # Below the floor the value is flat, and the gradient is not: it is that of the floor.
        slope, most = 1 / eps, -log(eps)
        return replace(
            known, convex=False, lipschitz=slope, smoothness=slope * slope, range=(0.0, most)
        )


class _SmoothedBCE(_BCE):
    harmless = 0.5  # at 1 even a small share of a no bends without bound


def _smoothed(known: Traits, label_smoothing: float, least: float) -> Traits:
    """Return traits with what changes where targets are smoothed."""
    return replace(
        known,
        range=(least, inf),
        elicits=None,
        proper=False,
        calibrated=known.calibrated and label_smoothing < 1,
    )


@LossFunction
def binary_cross_entropy(
    x: Array,
    y: ArrayLike,
    *,
    eps: Floor = None,
    label_smoothing: Share = 0.0,
    **options: Unpack[BinaryOptions],
) -> Request:
    """Cross-entropy of the probability of a yes against yes or no.

    Prefer `binary_cross_entropy_with_logits` where you have the logits.

    Parameters
    ----------
    x
        Probabilities of 1.
    y
        Targets, 0 or 1 (booleans too) or a probability between.
    ignore_index
        Items with this target are left out, such as -1 or 255.
    eps
        The least value of x and of 1 - x, above 0: smaller ones count as this, in value and
        gradient. None is the smallest normal number of the dtype computed in; 1e-7 clips as other
        libraries do.
    label_smoothing
        The share of the target, from 0 to 1, that is spread evenly over no and yes.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: yes or no, several at once included, where probabilities are all there is. Logits keep
    more digits: `binary_cross_entropy_with_logits`.

    Shapes: x and y (...), an item is an element.

    Domain: 0 <= x <= 1, NaN outside. A target outside [0, 1] by more than a few eps is an error
    where it can be seen (`tinyloss.validation`), else NaN for its item.

    Formula: -q log a - (1 - q) log b, a = max(x, eps), b = max(1 - x, eps), q = (1 - s) y + s / 2,
    s = label_smoothing

    Gradient: (1 - q) / b - q / a by x, (1 - s) (log b - log a) by y. Below eps it does not vanish,
    so that a wrong certainty can be unlearned. Curvature q / a^2 + (1 - q) / b^2.

    Accuracy: value 4 eps; gradient 4 eps; curvature 4 eps. The gradient by y has these 4 eps of the
    sum of its two logarithms' sizes; that by x of the sum of its two terms' sizes where targets are
    smoothed.

    Edge cases: finite for every probability; curvature overflows at a wrong certainty.

    Source: Good, Rational decisions, J. R. Statist. Soc. B 14, 1952.

    Elsewhere: torch `binary_cross_entropy`; Keras `BinaryCrossentropy`; scikit-learn `log_loss`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> tinyloss.binary_cross_entropy(np.array([0.9, 0.2]), np.array([1, 0])).round(6).item()
    0.164252
    """
    smooth = smoothing(label_smoothing)
    return Request(_SmoothedBCE if smooth else _BCE, x, y, {"eps": eps, **smooth}, **options)


class BCEWithLogits(Formula):
    name = "binary_cross_entropy_with_logits"
    binary = True

    def __init__(
        self, x: Any, y: Any, *, pos_weight: Any = None, label_smoothing: Any = None
    ) -> None:
        self.xp = namespace(x)
        self.x, self.pos_weight = x, pos_weight
        self.s, self.sides = sigmoids(x), _Sides(y, label_smoothing)
        self.no, self.yes = self.sides.no, self.sides.yes
        if pos_weight is not None:
            self.yes = self.yes * pos_weight

    def _total(self, each: Any) -> Any:
        return each if self.pos_weight is None else (self.no + self.yes) * each

    def value(self) -> Any:
        wrong = self.xp.where(self.x >= 0, self.no, self.yes)
        return product(wrong, self.s.size) + self._total(self.s.log1p)

    def grad_x(self) -> Any:
        return self.no * self.s.plus - self.yes * self.s.minus

    def grad_y(self) -> Any:
        if self.pos_weight is None:
            return self.sides.by_y(-self.x)
        return self.sides.by_y(self.pos_weight * softplus(-self.x) - self.s.softplus)

    def curvature(self) -> Any:
        return self._total(self.s.plus * self.s.minus)

    @classmethod
    def traits(cls, *, pos_weight: Any = None, label_smoothing: float = 0.0) -> Traits:
        weights = [1.0] if pos_weight is None else numbers_of(pos_weight)
        fair, half = {*weights} == {1.0}, 0.5 * label_smoothing
        # what a no and a yes cost, for each target and weight
        costs = [(1 - s, w * s) for w in weights for s in (half, 1 - half)]
        known = replace(
            _OF_LOGIT,
            lipschitz=max(max(each) for each in costs),
            smoothness=0.25 * max(sum(each) for each in costs),
            elicits="log-odds" if fair else None,
            proper=fair,
            calibrated=fair,
        )
        if not half:
            return known
        return _smoothed(known, label_smoothing, min(_least_of(*each) for each in costs))


@LossFunction
def binary_cross_entropy_with_logits(
    x: Array,
    y: ArrayLike,
    *,
    label_smoothing: Share = 0.0,
    pos_weight: ArrayLike | None = None,
    **options: Unpack[BinaryOptions],
) -> Request:
    """Cross-entropy of the logit of a yes against yes or no: the logistic loss.

    Parameters
    ----------
    x
        Logits of 1.
    y
        Targets, 0 or 1 (booleans too) or a probability between.
    ignore_index
        Items with this target are left out, such as -1 or 255.
    label_smoothing
        The share of the target, from 0 to 1, that is spread evenly over no and yes.
    pos_weight
        A factor for the loss of a yes: a number, or an array that broadcasts to x (one for each
        label of a multi-label problem).
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: yes or no, several at once included: spam, tags of an image. Give logits: no sigmoid
    before it.

    Shapes: x and y (...), an item is an element.

    Domain: all logits, infinite ones included. A target outside [0, 1] by more than a few eps is an
    error where it can be seen (`tinyloss.validation`), else NaN for its item.

    Formula: w q log(1 + exp(-x)) + (1 - q) log(1 + exp(x)), w = pos_weight, q = (1 - t) y + t / 2,
    t = label_smoothing

    Gradient: (1 - q) s(x) - w q s(-x) by x, s(x) = 1 / (1 + exp(-x)); by y -(1 - t) x, with a
    pos_weight (1 - t) (w log(1 + exp(-x)) - log(1 + exp(x))); curvature
    (1 - q + w q) s(x) s(-x).

    Accuracy: value 4 eps; gradient 4 eps; curvature 6 eps, in both tails. Where q is not 0 or 1 the
    gradient by x has these 4 eps of the sum of its two terms' sizes; so has that by y where
    `pos_weight` is not 1.

    Edge cases: x = inf costs 0 for q = 1 and inf otherwise.

    Source: Cox, The regression analysis of binary sequences, J. R. Statist. Soc. B 20, 1958.

    Elsewhere: torch `binary_cross_entropy_with_logits`; optax `sigmoid_binary_cross_entropy`; Keras
    `BinaryCrossentropy(from_logits=True)`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x = np.array([-20.0], dtype=np.float32)
    >>> print(f"{tinyloss.binary_cross_entropy_with_logits(x, np.array([0])):.4e}")
    2.0612e-09
    """
    arrays = {} if pos_weight is None else {"pos_weight": pos_weight}
    return Request(BCEWithLogits, x, y, smoothing(label_smoothing), arrays, **options)


@cache
def focal_constants(gamma: float) -> tuple[float, float]:
    """Return the largest slope and curvature, by size, of a focal loss of a logit.

    They are where the target is certain; the steepest place has no closed form.
    """

    def parts(x: float) -> tuple[float, float, float]:
        odds = exp(-abs(x))
        near, far = 1 / (1 + odds), odds / (1 + odds)
        c = log1p(odds) + max(-x, 0.0)
        return (near, far, c) if x > 0 else (far, near, c)

    def slope(x: float) -> float:
        p, q, c = parts(x)
        return float(q**gamma * (gamma * p * c + q))

    def bend(x: float) -> float:
        p, q, c = parts(x)
        inner = gamma * p * ((gamma - 1) * p * c - (q - p) * c + 2 * q) + p * q
        return float(abs(q**gamma * inner))

    return highest(slope, -40, 40), highest(bend, -40, 40)


class _SigmoidFocal(Formula):
    """q = 1 - p_t = y s(-x) + (1 - y) s(x), a sum of positive terms, and c the cross-entropy."""

    name = "sigmoid_focal"
    binary = True

    def __init__(
        self,
        x: Any,
        y: Any,
        *,
        gamma: Any,
        alpha: Any = None,
        k: Any = None,
        label_smoothing: Any = None,
    ) -> None:
        self.xp = xp = namespace(x)
        self.x, self.alpha, self.gamma = x, alpha, gamma
        bce = BCEWithLogits(x, y, label_smoothing=label_smoothing)
        self.c, self.dc, self.ddc = bce.value(), bce.grad_x(), bce.curvature()
        p, n, self.sides = bce.s.plus, bce.s.minus, bce.sides
        no, yes = bce.no, bce.yes
        self.q = q = yes * n + no * p
        # Here q is exp(-|x|), and underflows before its square root does.
        self.tail = ((yes == 0) | (no == 0)) & (q < 1e-30)
        self.power = power(q, gamma) if k is None else self._power(k)
        self.lean = -xp.tanh(0.5 * x)  # n - p
        # q' / q, which stays finite as q vanishes
        self.r = (1 - 2 * yes) * (self.ddc / xp.where(q == 0, 1.0, q))
        self.share = 1.0 if alpha is None else alpha * yes + (1 - alpha) * no

    def _power(self, k: Any) -> Any:
        """Return q^gamma for a gamma below 1, in the tail as (exp(-|x| / k))^(gamma k)."""
        xp, gamma = self.xp, self.gamma
        root = xp.exp(-xp.abs(self.x) / k)
        return xp.where(self.tail, root ** (gamma * k), xp.where(self.tail, 1.0, self.q) ** gamma)

    def value(self) -> Any:
        return product(self.share * self.power, self.c)

    def grad_x(self) -> Any:
        inner = self.gamma * product(self.r, self.c) + self.dc
        return self.share * self.power * inner

    def grad_y(self) -> Any:
        xp, q, weight = self.xp, self.q, self.share * self.power
        # An infinite logit is a factor of every term: they may have both signs. There c is q |x|.
        infinite = xp.isinf(self.x)
        x, c = xp.where(infinite, sign(self.x), self.x), xp.where(infinite, q, self.c)
        slope = -product(weight, x)
        if self.alpha is not None:
            slope = slope + product((2 * self.alpha - 1) * self.power, c)
        # c / q -> 1 as q -> 0
        c_q = xp.where(self.tail, 1.0, c / xp.where(q == 0, 1.0, q))
        slope = slope + product(weight * self.gamma * self.lean, c_q)
        return self.sides.by_y(xp.where(infinite, product(slope, xp.abs(self.x)), slope))

    def curvature(self) -> Any:
        gamma, r = self.gamma, self.r
        inner = (
            gamma * (gamma - 1) * r * product(r, self.c)
            + gamma * r * (self.lean * self.xp.where(r == 0, 0.0, self.c) + 2 * self.dc)
            + self.ddc
        )
        return self.share * self.power * inner

    def boosting_curvature(self, curvature: Any) -> Any:
        return self.xp.maximum(curvature, self.share * self.power * self.ddc)

    @classmethod
    def traits(
        cls, *, gamma: float, alpha: Any = None, label_smoothing: float = 0.0, **_: Any
    ) -> Traits:
        alphas = [] if alpha is None else numbers_of(alpha)
        fair = {*alphas} <= {0.5}
        if label_smoothing:  # between two certainties nothing is in closed form
            return Traits(
                convex=True if gamma == 0 else None,
                kinks=(),
                proper=False,
                calibrated=label_smoothing < 1 if fair else None,
            )
        slope, bend = focal_constants(gamma)
        largest = max([max(each, 1 - each) for each in alphas], default=1.0)
        return replace(
            _OF_LOGIT,
            convex=gamma == 0,
            lipschitz=largest * slope,
            smoothness=largest * bend,
            elicits="log-odds" if fair and gamma == 0 else None,
            proper=fair and gamma == 0,
            calibrated=fair,
        )


def _of_small(gamma: Any) -> Any:
    """Return the power of 2 that makes a gamma from 0 to 1 one from 1 to 2; None for others.

    By it |x| / k is exact, and a power by gamma k adds to no error.
    """
    if isinstance(gamma, float):
        return 2.0 ** ceil(-log2(gamma)) if 0 < gamma < 1 else None
    xp = namespace(gamma)
    # float32's smallest normal number
    return 2.0 ** xp.ceil(-xp.log2(xp.clip(gamma, 2.0**-126, 1.0)))


@LossFunction
def sigmoid_focal(
    x: Array,
    y: ArrayLike,
    *,
    alpha: SharesOrNone = None,
    gamma: NonNegative = 2.0,
    label_smoothing: Share = 0.0,
    **options: Unpack[BinaryOptions],
) -> Request:
    """Binary focal loss of logits: cross-entropy that makes little of easy examples.

    Parameters
    ----------
    x
        Logits of 1.
    y
        Targets, 0 or 1 (booleans too) or a probability between.
    ignore_index
        Items with this target are left out, such as -1 or 255.
    alpha
        The weight of a yes, from 0 to 1; a no gets 1 - alpha. None weighs both 1. A number, or an
        array that broadcasts to x (one for each label of a multi-label problem).
    gamma
        How little an easy example counts, at least 0; 0 is cross-entropy.
    label_smoothing
        The share of the target, from 0 to 1, that is spread evenly over no and yes.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: yes or no where one side is rare, as in detection: easy items count for less.

    Shapes: x and y (...), an item is an element.

    Domain: all logits, infinite ones included. Targets as for `binary_cross_entropy_with_logits`.

    Formula: a q^gamma c, where c is the cross-entropy of x and y, q = y s(-x) + (1 - y) s(x) the
    probability of the wrong answer, s(x) = 1 / (1 + exp(-x)), a = alpha y + (1 - alpha) (1 - y).
    For y stands (1 - t) y + t / 2, t = label_smoothing.

    Gradient: a q^gamma (gamma c q'/q + c') by x, with q' = (1 - 2 y) s(x) s(-x) and
    c' = (1 - y) s(x) - y s(-x); by y alike, times 1 - t. Curvature its derivative, negative for
    some x; for boosting at least a q^gamma s(x) s(-x), that of a cross-entropy with this weight.

    Accuracy: value 4 + 2 gamma eps; gradient 4 + 2 gamma eps; curvature 8 + 2 gamma eps. The
    curvature, the gradient by y, and that by x where y is not 0 or 1, have these eps of the sum of
    their terms' sizes.

    Edge cases: x = inf costs 0 for y = 1 and inf for y = 0.

    Source: Lin et al., Focal loss for dense object detection, ICCV 2017.

    Elsewhere: torchvision `sigmoid_focal_loss`; optax `sigmoid_focal_loss`; Keras
    `BinaryFocalCrossentropy`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x = np.array([20.0], dtype=np.float32)
    >>> print(f"{tinyloss.sigmoid_focal(x, np.array([1])):.4e}")
    8.7565e-27
    """
    params = {"gamma": exponent(gamma), "k": _of_small(gamma), **smoothing(label_smoothing)}
    weight = {} if alpha is None else {"alpha": alpha}
    if is_number(alpha):
        return Request(_SigmoidFocal, x, y, params | weight, **options)
    return Request(_SigmoidFocal, x, y, params, weight, **options)


class _Hinge(Formula):
    name = "hinge"
    signed = True

    def __init__(self, x: Any, y: Any) -> None:
        self.xp = namespace(x)
        self.x, self.y = x, y
        self.short = 1 - y * x

    def value(self) -> Any:
        return positive_part(self.short)

    def grad_x(self) -> Any:
        return self._where_short(-self.y)

    def grad_y(self) -> Any:
        return self._where_short(-self.x)

    def curvature(self) -> Any:
        return self.xp.zeros_like(self.short)

    boosting_curvature = steep

    def _where_short(self, slope: Any) -> Any:
        # Neither above nor up to 0 is NaN, which must show.
        short = self.short
        return self.xp.where(short > 0, slope, self.xp.where(short <= 0, 0.0, short))

    @classmethod
    def traits(cls) -> Traits:
        return replace(_OF_MARGIN, lipschitz=1.0, kinks=(1.0,), elicits="mode", proper=False)


@LossFunction
def hinge(x: Array, y: ArrayLike, **options: Unpack[BinaryOptions]) -> Request:
    """Hinge loss of a score: the loss of the support vector machine.

    Parameters
    ----------
    x
        Scores.
    y
        Targets, -1 or 1; of booleans False stands for -1.
    ignore_index
        Items with this target are left out, such as 0.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: yes or no as a margin, as support vector machines do: what is right by 1 or more costs
    nothing.

    Shapes: x and y (...), an item is an element.

    Domain: all scores. Integer targets other than -1 and 1 are an error where they can be seen
    (`tinyloss.validation`), else NaN for their item. 2 y - 1 makes -1 and 1 of 0 and 1.

    Formula: max(0, 1 - y x)

    Gradient: -y by x and -x by y where y x < 1, else 0, the kink y x = 1 included; curvature 0, for
    boosting 1.

    Accuracy: value 1 eps; gradient exact; curvature exact.

    Edge cases: infinite scores on the right side cost 0.

    Source: Cortes and Vapnik, Support-vector networks, Machine Learning 20, 1995.

    Elsewhere: optax `hinge_loss`; Keras `Hinge`; scikit-learn `hinge_loss`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> tinyloss.hinge(np.array([0.5, 2.0]), np.array([1, -1])).item()
    1.75
    """
    return Request(_Hinge, x, y, **options)


class _SquaredHinge(Formula):
    name = "squared_hinge"
    signed = True

    def __init__(self, x: Any, y: Any) -> None:
        self.x, self.y = x, y
        self.short = positive_part(1 - y * x)

    def value(self) -> Any:
        return self.short * self.short

    def grad_x(self) -> Any:
        return -2 * self.y * self.short

    def grad_y(self) -> Any:
        return -2 * product(self.short, self.x)

    def curvature(self) -> Any:
        return namespace(self.x).where(self.short > 0, 2 * self.y * self.y, 0.0)

    boosting_curvature = steep

    @classmethod
    def traits(cls) -> Traits:
        return replace(_OF_MARGIN, smoothness=2.0, elicits="mean")


@LossFunction
def squared_hinge(x: Array, y: ArrayLike, **options: Unpack[BinaryOptions]) -> Request:
    """Squared hinge loss of a score: a hinge without a kink.

    Parameters
    ----------
    x
        Scores.
    y
        Targets, -1 or 1; of booleans False stands for -1.
    ignore_index
        Items with this target are left out, such as 0.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: a margin with a smooth slope: violations count by their squares.

    Shapes: x and y (...), an item is an element.

    Domain: all scores. Integer targets other than -1 and 1 are an error where they can be seen
    (`tinyloss.validation`), else NaN for their item. 2 y - 1 makes -1 and 1 of 0 and 1.

    Formula: max(0, 1 - y x)^2

    Gradient: -2 y max(0, 1 - y x) by x, -2 x max(0, 1 - y x) by y; curvature 2 y^2 where y x < 1,
    else 0, for boosting 1.

    Accuracy: value 2 eps; gradient 2 eps; curvature exact.

    Edge cases: infinite scores on the right side cost 0.

    Source: Lee and Mangasarian, SSVM: a smooth support vector machine, Comput. Optim. Appl. 20,
    2001.

    Elsewhere: Keras `SquaredHinge`; scikit-learn `LinearSVC(loss="squared_hinge")`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> tinyloss.squared_hinge(np.array([0.5, 2.0]), np.array([1, -1])).item()
    4.625
    """
    return Request(_SquaredHinge, x, y, **options)


class _SoftMargin(Formula):
    name = "soft_margin"
    signed = True

    def __init__(self, x: Any, y: Any) -> None:
        self.x, self.y = x, y
        self.s = sigmoids(-y * x)

    def value(self) -> Any:
        return self.s.softplus

    def grad_x(self) -> Any:
        return -self.y * self.s.plus

    def grad_y(self) -> Any:
        return -product(self.s.plus, self.x)

    def curvature(self) -> Any:
        return self.y * self.y * (self.s.plus * self.s.minus)

    @classmethod
    def traits(cls) -> Traits:
        return replace(_OF_MARGIN, lipschitz=1.0, smoothness=0.25, elicits="log-odds")


@LossFunction
def soft_margin(x: Array, y: ArrayLike, **options: Unpack[BinaryOptions]) -> Request:
    """Logistic loss of a margin: binary cross-entropy for targets of -1 and 1.

    Parameters
    ----------
    x
        Scores.
    y
        Targets, -1 or 1; of booleans False stands for -1.
    ignore_index
        Items with this target are left out, such as 0.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: yes or no with targets -1 and 1, and ranking: x the score of the better item minus that
    of the worse, y = 1.

    Shapes: x and y (...), an item is an element.

    Domain: all scores. Integer targets other than -1 and 1 are an error where they can be seen
    (`tinyloss.validation`), else NaN for their item. 2 y - 1 makes -1 and 1 of 0 and 1.

    Formula: log(1 + exp(-y x))

    Gradient: -y s(-y x) by x, -x s(-y x) by y, s(x) = 1 / (1 + exp(-x)); curvature
    y^2 s(y x) s(-y x).

    Accuracy: value 4 eps; gradient 4 eps; curvature 6 eps, in both tails.

    Edge cases: never overflows before its exact result does.

    Source: Friedman, Hastie and Tibshirani, Additive logistic regression, Ann. Statist. 28, 2000.

    Elsewhere: torch `soft_margin_loss`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> tinyloss.soft_margin(np.array([-100.0]), np.array([1])).item()
    100.0
    """
    return Request(_SoftMargin, x, y, **options)


class _ModifiedHuber(Formula):
    name = "modified_huber"
    signed = True

    def __init__(self, x: Any, y: Any) -> None:
        self.xp = namespace(x)
        self.x, self.y = x, y
        self.margin = y * x
        self.near = self.margin >= -1
        # 0 for -1 <= margin, where it stays finite
        self.short = positive_part(1 - self.xp.where(self.near, self.margin, -1.0))

    def value(self) -> Any:
        return self._of(self.short * self.short, -4 * self.margin)

    def grad_x(self) -> Any:
        return -2 * self._of(self.y * self.short, 2 * self.y)

    def grad_y(self) -> Any:
        return -2 * self._of(product(self.short, self.x), 2 * self.x)

    def curvature(self) -> Any:
        return self.xp.where(self.near & (self.short > 0), 2 * self.y * self.y, 0.0)

    boosting_curvature = steep

    def _of(self, near: Any, far: Any) -> Any:
        # Neither above nor below -1 is NaN, which must show.
        xp, margin = self.xp, self.margin
        return xp.where(self.near, near, xp.where(margin < -1, far, margin))

    @classmethod
    def traits(cls) -> Traits:
        return replace(_OF_MARGIN, lipschitz=4.0, smoothness=2.0, elicits="mean")


@LossFunction
def modified_huber(x: Array, y: ArrayLike, **options: Unpack[BinaryOptions]) -> Request:
    """Squared hinge loss of a score that goes on as a line where the answer is very wrong.

    Parameters
    ----------
    x
        Scores.
    y
        Targets, -1 or 1; of booleans False stands for -1.
    ignore_index
        Items with this target are left out, such as 0.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: a margin where some targets are wrong: outliers count by their size, not its square.

    Shapes: x and y (...), an item is an element.

    Domain: all scores. Integer targets other than -1 and 1 are an error where they can be seen
    (`tinyloss.validation`), else NaN for their item. 2 y - 1 makes -1 and 1 of 0 and 1.

    Formula: max(0, 1 - y x)^2 where y x >= -1, -4 y x otherwise

    Gradient: -2 y max(0, 1 - y x) where y x >= -1, -4 y otherwise, by x; with x for y by y;
    curvature 2 y^2 where -1 <= y x < 1, else 0, for boosting 1.

    Accuracy: value 2 eps; gradient 2 eps; curvature exact.

    Edge cases: infinite scores on the right side cost 0.

    Source: Zhang, Solving large scale linear prediction problems using stochastic gradient descent
    algorithms, ICML 2004.

    Elsewhere: scikit-learn `SGDClassifier(loss="modified_huber")`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x, y = np.array([0.5, 2.0]), np.array([1, -1])
    >>> tinyloss.modified_huber(x, y, reduction="none").tolist()
    [0.25, 8.0]
    """
    return Request(_ModifiedHuber, x, y, **options)


class _Exponential(Formula):
    name = "exponential"
    signed = True

    def __init__(self, x: Any, y: Any) -> None:
        self.x, self.y = x, y
        self.e = namespace(x).exp(-y * x)

    def value(self) -> Any:
        return self.e

    def grad_x(self) -> Any:
        return -self.y * self.e

    def grad_y(self) -> Any:
        return -product(self.e, self.x)

    def curvature(self) -> Any:
        return self.y * self.y * self.e

    @classmethod
    def traits(cls) -> Traits:
        return replace(_OF_MARGIN, elicits="log-odds / 2")


@LossFunction
def exponential(x: Array, y: ArrayLike, **options: Unpack[BinaryOptions]) -> Request:
    """Exponential loss of a score: the loss that AdaBoost descends.

    Parameters
    ----------
    x
        Scores.
    y
        Targets, -1 or 1; of booleans False stands for -1.
    ignore_index
        Items with this target are left out, such as 0.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: boosting as AdaBoost does, on clean targets: one that is wrong outweighs all others.

    Shapes: x and y (...), an item is an element.

    Domain: all scores. Integer targets other than -1 and 1 are an error where they can be seen
    (`tinyloss.validation`), else NaN for their item. 2 y - 1 makes -1 and 1 of 0 and 1.

    Formula: exp(-y x)

    Gradient: -y exp(-y x) by x, -x exp(-y x) by y; curvature y^2 exp(-y x).

    Accuracy: value 2 eps; gradient 3 eps; curvature 2 eps.

    Edge cases: infinite where it overflows, for float32 from y x = -88.7 on.

    Source: Freund and Schapire, A decision-theoretic generalization of on-line learning and an
    application to boosting, J. Comput. Syst. Sci. 55, 1997.

    Elsewhere: none.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x, y = np.array([0.5, 2.0]), np.array([1, -1])
    >>> tinyloss.exponential(x, y, reduction="none").round(6).tolist()
    [0.606531, 7.389056]
    """
    return Request(_Exponential, x, y, **options)


class _Perceptron(_Hinge):
    name = "perceptron"

    def __init__(self, x: Any, y: Any) -> None:
        self.xp = namespace(x)
        self.x, self.y = x, y
        self.short = -y * x

    @classmethod
    def traits(cls) -> Traits:
        # A score of 0 is the best whatever the probabilities.
        return replace(_OF_MARGIN, lipschitz=1.0, kinks=(0.0,), proper=False, calibrated=False)


@LossFunction
def perceptron(x: Array, y: ArrayLike, **options: Unpack[BinaryOptions]) -> Request:
    """Perceptron loss of a score: a hinge without a margin.

    Parameters
    ----------
    x
        Scores.
    y
        Targets, -1 or 1; of booleans False stands for -1.
    ignore_index
        Items with this target are left out, such as 0.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: the perceptron's rule, where what is right by however little costs nothing.

    Shapes: x and y (...), an item is an element.

    Domain: all scores. Integer targets other than -1 and 1 are an error where they can be seen
    (`tinyloss.validation`), else NaN for their item. 2 y - 1 makes -1 and 1 of 0 and 1.

    Formula: max(0, -y x)

    Gradient: -y by x and -x by y where y x < 0, else 0, the kink y x = 0 included; curvature 0, for
    boosting 1.

    Accuracy: value 1 eps; gradient exact; curvature exact.

    Edge cases: scores of 0 for all items cost nothing, too.

    Source: Rosenblatt, The perceptron: a probabilistic model for information storage and
    organization in the brain, Psychological Review 65, 1958.

    Elsewhere: optax `perceptron_loss`; scikit-learn `SGDClassifier(loss="perceptron")`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x, y = np.array([0.5, 2.0]), np.array([1, -1])
    >>> tinyloss.perceptron(x, y, reduction="none").tolist()
    [0.0, 2.0]
    """
    return Request(_Perceptron, x, y, **options)
