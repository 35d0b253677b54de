"""Losses among many classes: an item is a row."""

from collections.abc import Callable
from dataclasses import replace
from math import inf, log, log1p, sqrt
from typing import Any, ClassVar, Unpack

from tinyloss._arrays import astype, beside, namespace
from tinyloss._differences import exact_difference, exp_difference
from tinyloss._engine.request import Request
from tinyloss._formula import CLASS, ITEM, LABEL, Formula, InParts
from tinyloss._function import LossFunction
from tinyloss._traits import Traits, highest
from tinyloss.losses._in_parts import LabelsInParts, SharesInParts, SmoothedInParts
from tinyloss.losses._numerics import (
    Logits,
    Softmax,
    classes_of,
    expm1_minus,
    exponent,
    others,
    positive_part,
    power,
    power_slope,
    product,
    smoothing,
    softmax_parts,
    steep,
    sum_of_others,
)
from tinyloss.losses.binary import BCEWithLogits, focal_constants
from tinyloss.losses.ranking import PairwiseHinge
from tinyloss.typing import (
    Array,
    ArrayLike,
    AtLeastMinus1,
    Flag,
    LabelOptions,
    ListOptions,
    NonNegative,
    OneOrTwo,
    Positive,
    PositiveOrNone,
    RowOptions,
    Share,
)

__all__ = [
    "brier",
    "categorical_hinge",
    "coral",
    "corn",
    "cross_entropy",
    "generalized_cross_entropy",
    "multi_margin",
    "multilabel_margin",
    "multilabel_soft_margin",
    "nll",
    "poly_cross_entropy",
    "softmax_focal",
]

_OF_LOGITS = Traits(
    convex=True,
    strong_convexity=0.0,
    lipschitz=sqrt(2),
    smoothness=0.5,
    range=(0.0, inf),
    kinks=(),
    proper=True,
    calibrated=True,
)
"""Those of cross-entropy of logits, but for what it elicits.

The gradient p - q is longest between two certainties, the matrix diag(p) - p p^T has the largest
eigenvalue where two classes have 1 / 2 each: Böhning, Multinomial logistic regression algorithm,
Ann. Inst. Stat. Math. 44, 1992.
"""


class LabelCrossEntropy(Formula):
    """Class indices: the target stays out of the sum o, so that nothing cancels.

    Where the target is a largest logit the loss is log1p(o), accurate down to the smallest number;
    elsewhere it is at least log 2.
    """

    name = "cross_entropy"
    rowwise = True
    roles = {"y": LABEL}
    compares_classes = True
    in_parts: ClassVar[Callable[..., InParts] | None] = LabelsInParts

    def __init__(self, x: Any, y: Any) -> None:
        self.xp = xp = namespace(x)
        self.target = target = classes_of(x, y)
        self.m = m = xp.max(x, axis=-1, keepdims=True)
        self.xt = xt = xp.sum(xp.where(target, x, 0.0), axis=-1, keepdims=True)
        self.e, et = exp_difference(x, m), exp_difference(xt, m)
        # Also what the gradient is made of: XLA then writes one array between the two, not two.
        self.others = xp.where(target, 0.0, self.e)
        self.o = o = xp.sum(self.others, axis=-1, keepdims=True)
        self.inverse_z = 1 / (o + et)  # z is between 1 and the number of classes
        self.rest = o + (et - 1)  # z - 1; o where the target is a largest logit

    def value(self) -> Any:
        return ((self.m - self.xt) + self.xp.log1p(self.rest))[..., 0]

    def grad_x(self) -> Any:
        return self.xp.where(self.target, -self.o, self.others) * self.inverse_z

    def curvature(self) -> Any:
        return (self.e * self.inverse_z) * (sum_of_others(self.e) * self.inverse_z)

    @classmethod
    def traits(cls) -> Traits:
        return SharesCrossEntropy.traits()


def _smoothed(y: Any, label_smoothing: Any, impossible: Any = None) -> tuple[Any, Any]:
    """Return what is kept of a target's shares, and these with the rest over possible classes."""
    if label_smoothing is None:
        return 1.0, y
    xp, kept = namespace(y), 1 - label_smoothing
    if impossible is None:
        return kept, kept * y + label_smoothing / xp.sum(xp.ones_like(y), axis=-1, keepdims=True)
    count = xp.sum(xp.where(impossible, xp.zeros_like(y), 1.0), axis=-1, keepdims=True)
    return kept, kept * y + xp.where(impossible, 0.0, label_smoothing / count)


class SharesCrossEntropy(Formula):
    """A distribution q over the classes, not necessarily of sum 1."""

    name = "cross_entropy"
    rowwise = True
    compares_classes = True
    roles = {"class_weight": CLASS}
    in_parts: ClassVar[Callable[..., InParts] | None] = SharesInParts

    def __init__(
        self, x: Any, y: Any, *, label_smoothing: Any = None, class_weight: Any = None
    ) -> None:
        self.xp = xp = namespace(x)
        self.softmax, self.impossible = softmax_parts(x), x == -xp.inf
        self.y, self.class_weight = y, class_weight
        self.kept, q = _smoothed(y, label_smoothing, self.impossible)
        self.q = q if class_weight is None else q * class_weight
        self.mass = xp.sum(self.q, axis=-1, keepdims=True)

    def value(self) -> Any:
        s = self.softmax
        below = self.xp.sum(product(self.q, s.below), axis=-1)
        return below + (self.mass * s.log_z)[..., 0]

    def grad_x(self) -> Any:
        return _softmax_gradient(self.softmax, self.q)

    def grad_y(self) -> Any:
        s = self.softmax
        # A class that is neither possible nor asked for takes part in nothing.
        absent = self.impossible & (self.q == 0)
        slope = self.kept * self.xp.where(absent, 0.0, s.below + s.log_z)
        return slope if self.class_weight is None else slope * self.class_weight

    def curvature(self) -> Any:
        s = self.softmax
        return self.mass * (s.e / s.z) * (others(s.e, s.top, 1, s.rest) / s.z)

    @classmethod
    def traits(cls, *, label_smoothing: float = 0.0, **_: Any) -> Traits:
        if not label_smoothing:
            known = replace(_OF_LOGITS, elicits="log(class probabilities)")
        else:
            # A smoothed target has an entropy, the least for two classes. The furthest from it is
            # another class that is certain, of very many.
            small = 0.5 * label_smoothing
            least = -small * log(small) - (1 - small) * log1p(-small)
            furthest = sqrt(1 + (1 - label_smoothing) ** 2)
            known = replace(
                _OF_LOGITS,
                lipschitz=furthest,
                range=(least, inf),
                proper=False,
                calibrated=label_smoothing < 1,
            )
        return known


class _OneHot(Formula):
    """Class indices as distributions, for a formula that takes these."""

    roles = {"class_weight": CLASS, "y": LABEL}

    def __init__(self, x: Any, y: Any, **params: Any) -> None:
        of_shares: Any = super()
        of_shares.__init__(x, astype(namespace(x), classes_of(x, y), x.dtype), **params)


class _SmoothedLabelCrossEntropy(_OneHot, SharesCrossEntropy):
    """Every class gets a share."""

    in_parts = SmoothedInParts


class Shaped(Formula):
    """A cross-entropy of logits that are shaped before, with a z-loss for each row."""

    def __init__(
        self,
        x: Any,
        y: Any,
        *,
        temperature: Any = None,
        softcap: Any = None,
        z_loss: Any = None,
        **params: Any,
    ) -> None:
        self.logits = logits = Logits(x, temperature, softcap)
        of_own: Any = super()
        of_own.__init__(logits.z, y, **params)
        self.z_loss, self.weight = z_loss, params.get("class_weight")
        if z_loss is None:
            return
        xp, s = namespace(x), softmax_parts(logits.z)
        self.p, self.not_p = s.e / s.z, others(s.e, s.top, 1, s.rest) / s.z
        self.lse = xp.max(logits.z, axis=-1, keepdims=True) + s.log_z
        self.z_square = z_loss * self.lse * self.lse
        if self.weight is not None:  # as much of it as the row counts in the mean
            own: Any = self
            mass = xp.sum(self.weight * own.y, axis=-1, keepdims=True)
            self.z_loss, self.row_square = z_loss * mass, self.z_square * mass
        else:
            self.row_square = self.z_square

    def value(self) -> Any:
        value = super().value()
        return value if self.z_loss is None else value + self.row_square[..., 0]

    def _slope(self) -> Any:
        """Return the gradient by the shaped logits."""
        own: Any = super()
        slope = own.grad_x()
        return slope if self.z_loss is None else slope + 2 * self.z_loss * self.lse * self.p

    def grad_x(self) -> Any:
        slope = self._slope()
        return slope if self.logits.slope is None else slope * self.logits.slope

    def _bend(self, lse: Any) -> Any:
        """Return the curvature by the shaped logits, and by x where these are straight in it."""
        curvature = super().curvature()
        if self.z_loss is not None:
            square = self.p * self.p + lse * (self.p * self.not_p)
            curvature = curvature + 2 * self.z_loss * square
        slope = self.logits.slope
        return curvature if slope is None else curvature * slope * slope

    def curvature(self) -> Any:
        curvature = self._bend(None if self.z_loss is None else self.lse)
        bend = self.logits.bend
        return curvature if bend is None else curvature + self._slope() * bend

    def boosting_curvature(self, curvature: Any) -> Any:
        del curvature  # without what may be negative: where the cap bends, and where lse does
        return self._bend(None if self.z_loss is None else positive_part(self.lse))

    @classmethod
    def traits(
        cls,
        *,
        temperature: float | None = None,
        softcap: float | None = None,
        z_loss: float | None = None,
        **params: Any,
    ) -> Traits:
        of_own: Any = super()
        known: Traits = of_own.traits(**params)
        t = temperature or 1.0
        known = replace(
            known,
            lipschitz=None if known.lipschitz is None else known.lipschitz / t,
            smoothness=None if known.smoothness is None else known.smoothness / t / t,
        )
        if t != 1 and known.elicits is not None:
            known = replace(known, elicits=f"{t} {known.elicits}")
        if softcap is not None:  # probabilities beyond those of capped logits are out of reach
            known = replace(
                known,
                convex=False,
                lipschitz=None,
                smoothness=None,
                range=None,
                elicits=None,
                proper=None,
                calibrated=None,
            )
        if z_loss is not None:
            known = replace(known, convex=False, lipschitz=inf, smoothness=inf)
        return known


def shape_of(**given: Any) -> dict[str, Any]:
    """Return those parameters of shaped logits that change something."""
    nothing = {"temperature": 1.0, "z_loss": 0.0}
    return {
        name: value
        for name, value in given.items()
        if value is not None and (not isinstance(value, float) or value != nothing.get(name))
    }


def _check_mask(function: str, from_logits: bool, options: LabelOptions) -> None:
    if not from_logits and options.get("mask") is not None:
        raise ValueError(
            f"tinyloss.{function}: mask beside from_logits=False, expected logits to mask"
        )


class _ShapedLabelCrossEntropy(Shaped, LabelCrossEntropy):
    pass


class _ShapedCrossEntropy(Shaped, SharesCrossEntropy):
    def grad_y(self) -> Any:
        slope = super().grad_y()
        if self.z_loss is None or self.weight is None:
            return slope
        return slope + self.weight * self.z_square


class _ShapedSmoothedLabelCrossEntropy(Shaped, _SmoothedLabelCrossEntropy):
    pass


def _floored(x: Any) -> tuple[Any, Any]:
    """Return probabilities as normal numbers, and for each row 0, or NaN if one is outside [0, 1].

    What is added to the other makes all of such a row NaN.
    """
    xp = namespace(x)
    each = xp.where((x >= 0) & (x <= 1), xp.zeros_like(x), xp.nan)
    least = float(xp.finfo(x.dtype).smallest_normal)
    return xp.maximum(x, least), xp.sum(each, axis=-1, keepdims=True)


class _OfLoss:
    """A function f of c = -log p, made of c, p and q = 1 - p, which has all its digits."""

    value: Any
    p: Any
    slope: Any
    """f'(c)."""
    bend_times_q: Any
    """q f''(c)."""
    least: Any
    """The weight of a cross-entropy that bends at least, for boosting."""

    def drop(self) -> Any:
        """Return -df / dp."""
        return self.slope / self.p

    def turn(self) -> Any:
        """Return p times the second derivative by p."""
        raise NotImplementedError


class _Surprise(_OfLoss):
    """f(c) = c."""

    def __init__(self, c: Any, p: Any, q: Any) -> None:
        self.value, self.p = c, p

    def drop(self) -> Any:
        return 1 / self.p

    turn = drop


class _LabelOfProbabilities(Formula):
    """A function of -log of the probability that a class index is given."""

    rowwise = True
    roles = {"y": LABEL}
    harmless = 0.5
    of_loss: ClassVar[type[Any]]
    """An `_OfLoss`."""

    def __init__(self, x: Any, y: Any, **params: Any) -> None:
        self.xp = xp = namespace(x)
        self.target = classes_of(x, y)
        p, self.invalid = _floored(x)
        # The row's NaN is added to the sum, not to its terms: one pass finds both.
        self.p = p = xp.sum(xp.where(self.target, p, 0.0), axis=-1, keepdims=True) + self.invalid
        self.f = self.of_loss(-xp.log(p), p, 1 - p, **params)

    def value(self) -> Any:
        return self.f.value[..., 0]

    def grad_x(self) -> Any:
        return self.xp.where(self.target, -self.f.drop(), self.invalid)

    def curvature(self) -> Any:
        # Not turn / p: a compiler may divide by p * p instead, which underflows.
        return self.xp.where(self.target, self.f.turn() * (1 / self.p), self.invalid)

    boosting_curvature = steep


class _SharesOfProbabilities(Formula):
    """A function of -log p for each probability, weighed by a distribution."""

    rowwise = True
    harmless = 0.5
    roles = {"class_weight": CLASS}
    of_loss: ClassVar[type[Any]]
    """An `_OfLoss`."""

    def __init__(
        self,
        x: Any,
        y: Any,
        *,
        class_weight: Any = None,
        label_smoothing: Any = None,
        **params: Any,
    ) -> None:
        self.xp = xp = namespace(x)
        p, invalid = _floored(x)
        self.p = p = p + invalid
        self.f = self.of_loss(-xp.log(p), p, 1 - p, **params)
        self.kept, shares = _smoothed(y, label_smoothing)
        self.y = shares if class_weight is None else shares * class_weight
        self.class_weight = class_weight

    def value(self) -> Any:
        return self.xp.sum(self.y * self.f.value, axis=-1)

    def grad_x(self) -> Any:
        return -self.y * self.f.drop()

    def grad_y(self) -> Any:
        slope = self.kept * self.f.value
        return slope if self.class_weight is None else slope * self.class_weight

    def curvature(self) -> Any:
        return product(self.y, self.f.turn()) * (1 / self.p)

    boosting_curvature = steep


class _LabelCrossEntropyOfProbabilities(_LabelOfProbabilities):
    name = "cross_entropy"
    of_loss = _Surprise


class _CrossEntropyOfProbabilities(_SharesOfProbabilities):
    name = "cross_entropy"
    of_loss = _Surprise

    @classmethod
    def traits(cls, *, label_smoothing: float = 0.0) -> Traits:
        known = SharesCrossEntropy.traits(label_smoothing=label_smoothing)
        elicits = known.elicits and "class probabilities"
        return replace(known, lipschitz=inf, smoothness=inf, elicits=elicits)


class _SmoothedLabelCrossEntropyOfProbabilities(_OneHot, _CrossEntropyOfProbabilities):
    """Every class gets a share."""


def _softmax_gradient(softmax: Softmax, q: Any) -> Any:
    """Return p sum(q) - q, the gradient of sum_c q_c (-log p_c), each class without the others'.

    p_j sum(q) - q_j = (e_j sum_{c != j} q_c - q_j sum_{c != j} e_c) / z: for a one-hot q one of
    the two terms is 0 and nothing cancels.
    """
    e, z = softmax.e, softmax.z
    return (e * sum_of_others(q) - q * others(e, softmax.top, 1, softmax.rest)) / z


@LossFunction
def cross_entropy(
    x: Array,
    y: ArrayLike,
    *,
    from_logits: Flag = True,
    label_smoothing: Share = 0.0,
    softcap: PositiveOrNone = None,
    temperature: Positive = 1.0,
    z_loss: NonNegative = 0.0,
    **options: Unpack[LabelOptions],
) -> Request:
    """Softmax cross-entropy of logits against class indices or probabilities.

    Prefer logits where you have them: a probability that rounds to 1 has a loss of 0.

    Parameters
    ----------
    x
        Logits, or probabilities with from_logits=False.
    y
        Class indices, with one dimension fewer than x, of any integer dtype; or probabilities,
        one-hot or soft, of x's shape and any real dtype.
    axis
        The axis of the classes.
    axis_name
        The mapped axis whose members hold a part of the classes each, in order (JAX alone).
    class_weight
        A weight for each class, of shape (C,).
    ignore_index
        Items with this class index are left out. It need not be a class.
    mask
        Which classes are possible: booleans that broadcast to x. Others count as logits of -inf.
    from_logits
        Whether x holds logits, else probabilities. These are not renormalised: x is taken as if
        each were free to move.
    label_smoothing
        The share of the target, from 0 to 1, that is spread evenly over all possible classes.
    softcap
        A bound on the size of logits, which become softcap * tanh(x / softcap); None for none.
    temperature
        What logits are divided by, before they are capped.
    z_loss
        How much the square of log sum_k exp(x_k) counts, which keeps it near 0.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: one class out of many: images, tokens. Give logits: no softmax before it.

    Shapes: x (..., C), or the classes along `axis`; y (...) or x's; an item is a row of classes,
    (...).

    Domain: finite logits, and -inf for a class that is impossible: it has probability 0 and takes
    part in nothing. Probabilities need not sum to 1. With from_logits=False 0 <= x <= 1; a row with
    a number outside gives NaN.

    Formula: log sum_k exp(x_k) - x_y for a class index y, which is -log of its softmax. In general
    sum_c q_c (log sum_k exp(x_k) - x_c), where q_c = class_weight_c ((1 - s) y_c + s / K), s is
    label_smoothing and K the number of possible classes, which alone get s / K; plus
    z_loss (log sum_k exp(x_k))^2, times sum_c class_weight_c y_c. For x its capped logits stand,
    softcap tanh(x / temperature / softcap).
    With from_logits=False sum_c q_c (-log a_c), a the larger of x and the smallest normal number of
    the dtype computed in, and K all classes.
    The mean divides by the sum of class_weight[y], or of sum_c class_weight_c y_c.

    Gradient: softmax(x) by x, less 1 at a class index y. In general p_c sum_k q_k - q_c, p the
    softmax of x; by probabilities y -(1 - s) class_weight_c log p_c, 0 for an impossible class that
    y does not ask for; curvature sum_k q_k p_c (1 - p_c). A z-loss adds 2 z_loss lse p_c, lse =
    log sum_k exp(x_k), and the curvature 2 z_loss (p_c^2 + lse p_c (1 - p_c)), of which boosting
    takes max(lse, 0). By the chain rule all of it meets the slope (1 - tanh^2) / temperature of
    capped logits, whose own curvature boosting leaves out. With from_logits=False -q_c / a_c by x,
    where x is below the smallest normal number as well; -(1 - s) class_weight_c log a_c by y;
    curvature q_c / a_c^2, for boosting 1 where q_c is 0.

    Accuracy: value 4 eps; gradient 4 eps; curvature 8 eps. A confident correct prediction has a
    loss and a gradient, not 0. Where y is neither class indices nor one-hot rows the gradient by x
    has these 4 eps of p_c + q_c, since it may vanish between the two. A temperature or softcap
    rounds the logits, and a z-loss is a sum: with these, all bounds are in eps of the sizes of the
    terms, times 1 + the largest capped logit.

    Edge cases: an impossible class is not capped. An impossible target gives inf, logits of +inf or
    all -inf give NaN. A class index out of range is an error where it can be seen
    (`tinyloss.validation`), else NaN for its item. One class always has the loss 0, of which a
    warning tells.

    Source: Bridle, Probabilistic interpretation of feedforward classification network outputs,
    1990; smoothing: Szegedy et al., Rethinking the Inception architecture, CVPR 2016.

    Elsewhere: torch `cross_entropy`; optax `softmax_cross_entropy_with_integer_labels`,
    `softmax_cross_entropy`; Keras `SparseCategoricalCrossentropy(from_logits=True)`,
    `CategoricalCrossentropy(from_logits=True)`; scikit-learn `log_loss`, of probabilities.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x = np.array([[20.0, 0.0], [0.0, 1.0]], dtype=np.float32)
    >>> print(f"{tinyloss.cross_entropy(x[0], 0):.4e}")
    2.0612e-09
    >>> print(f"{tinyloss.cross_entropy(x, np.array([[1.0, 0.0], [0.5, 0.5]])):.4f}")
    0.4066
    """
    smooth = smoothing(label_smoothing)
    shape = shape_of(temperature=temperature, softcap=softcap, z_loss=z_loss)
    formula: type[Formula]
    labels: type[Formula]
    if shape and not from_logits:
        raise ValueError(
            f"tinyloss.cross_entropy: {', '.join(shape)} beside from_logits=False, expected logits "
            "to shape"
        )
    _check_mask("cross_entropy", from_logits, options)
    if shape:
        formula = _ShapedCrossEntropy
        labels = _ShapedSmoothedLabelCrossEntropy if smooth else _ShapedLabelCrossEntropy
    elif from_logits:
        formula = SharesCrossEntropy
        labels = _SmoothedLabelCrossEntropy if smooth else LabelCrossEntropy
    else:
        formula, labels = _CrossEntropyOfProbabilities, _LabelCrossEntropyOfProbabilities
        if smooth:
            labels = _SmoothedLabelCrossEntropyOfProbabilities
    return Request(formula, x, y, smooth | shape, labels=labels, **options)


class _NLL(Formula):
    name = "nll"
    rowwise = True
    roles = {"y": LABEL}

    def __init__(self, x: Any, y: Any) -> None:
        self.x, self.target = x, classes_of(x, y)

    def value(self) -> Any:
        xp = namespace(self.x)
        return -xp.sum(xp.where(self.target, self.x, 0.0), axis=-1)

    def grad_x(self) -> Any:
        return -astype(namespace(self.x), self.target, self.x.dtype)

    def curvature(self) -> Any:
        return namespace(self.x).zeros_like(self.x)

    boosting_curvature = steep

    @classmethod
    def traits(cls) -> Traits:
        return replace(
            _OF_LOGITS, lipschitz=1.0, smoothness=0.0, elicits="log(class probabilities)"
        )


@LossFunction
def nll(x: Array, y: ArrayLike, **options: Unpack[LabelOptions]) -> Request:
    """Negative log-likelihood: the log-probability given to the right class, negated.

    Prefer `cross_entropy` on the logits where you have them.

    Parameters
    ----------
    x
        Log-probabilities.
    y
        Class indices, with one dimension fewer than x, of any integer dtype.
    axis
        The axis of the classes.
    axis_name
        The mapped axis whose members hold a part of the classes each, in order (JAX alone).
    class_weight
        A weight for each class, of shape (C,).
    ignore_index
        Items with this class index are left out. It need not be a class.
    mask
        Which classes are possible: booleans that broadcast to x. Others count as -inf.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: one class out of many, where a model returns log-probabilities; for logits
    `cross_entropy`.

    Shapes: x (..., C), or the classes along `axis`; y (...); an item is a row of classes, (...).

    Domain: all log-probabilities, -inf included; they need not be normalised.

    Formula: -x_y

    Gradient: -1 for the target's entry, 0 for the others; curvature 0, for boosting 1.

    Accuracy: value 0.5 eps; gradient exact; curvature exact.

    Edge cases: a class index out of range is an error where it can be seen
    (`tinyloss.validation`), else NaN for its item.

    Source: Fisher, On the mathematical foundations of theoretical statistics, 1922.

    Elsewhere: torch `nll_loss`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x = np.log(np.array([[0.5, 0.5], [0.25, 0.75]]))
    >>> tinyloss.nll(x, np.array([0, 0]), reduction="sum").round(6).item()
    2.079442
    """
    return Request(None, x, y, labels=_NLL, **options)


class _FocalOfLoss(_OfLoss):
    """f(c) = (1 - exp(-c))^gamma c."""

    def __init__(self, c: Any, p: Any, q: Any, gamma: Any) -> None:
        xp = namespace(c)
        self.power = self.least = power(q, gamma)
        # c / q -> 1 as c -> 0; p c -> 0 as c -> inf
        of_c = xp.where(p == 0, 0.0, c) / xp.where(q == 0, 1.0, q)
        self.pc_q = pc_q = p * xp.where(q == 0, 1.0, of_c)
        self.p, self.q, self.gamma = p, q, gamma
        self.value = product(self.power, c)
        self.slope = self.power * (1 + gamma * pc_q)
        self.bend_times_q = self.power * (gamma * product(p, 2 - c + (gamma - 1) * pc_q))

    def turn(self) -> Any:
        # p c / q <= 1: nothing cancels.
        twice = 2 + (self.gamma - 1) * self.pc_q
        return self.power / self.p + power_slope(self.q, self.gamma) * twice


class _LabelOfLoss(Formula):
    """A function of the cross-entropy of logits against class indices."""

    rowwise = True
    roles = {"y": LABEL}
    compares_classes = True
    of_loss: ClassVar[type[Any]]
    """An `_OfLoss`."""

    def __init__(self, x: Any, y: Any, **params: Any) -> None:
        self.ce = ce = LabelCrossEntropy(x, y)
        q = ce.o * ce.inverse_z
        p = exp_difference(ce.xt, ce.m) * ce.inverse_z
        self.f = self.of_loss(ce.value()[..., None], p, q, **params)

    def value(self) -> Any:
        return self.f.value[..., 0]

    def grad_x(self) -> Any:
        return self.f.slope * self.ce.grad_x()

    def curvature(self) -> Any:
        xp, ce = self.ce.xp, self.ce
        step = xp.where(ce.target, ce.o, ce.e)  # z |dc / dx|
        step_of_q = step / xp.where(ce.o == 0, 1.0, ce.o)
        return (
            self.f.bend_times_q * step_of_q * (step * ce.inverse_z) + self.f.slope * ce.curvature()
        )

    def boosting_curvature(self, curvature: Any) -> Any:
        return self.ce.xp.maximum(curvature, self.f.least * self.ce.curvature())


class _SharesOfLoss(Formula):
    """A function of -log p for each class, weighed by a distribution."""

    rowwise = True
    compares_classes = True
    roles = {"class_weight": CLASS}
    of_loss: ClassVar[type[Any]]
    """An `_OfLoss`."""

    def __init__(
        self,
        x: Any,
        y: Any,
        *,
        class_weight: Any = None,
        label_smoothing: Any = None,
        **params: Any,
    ) -> None:
        self.xp = xp = namespace(x)
        self.s, self.impossible = softmax_parts(x), x == -xp.inf
        s = self.s
        self.kept, shares = _smoothed(y, label_smoothing, self.impossible)
        self.y = shares if class_weight is None else shares * class_weight
        self.p, self.q = s.e / s.z, others(s.e, s.top, 1, s.rest) / s.z
        self.class_weight = class_weight
        self.f = self.of_loss(s.below + s.log_z, self.p, self.q, **params)

    def value(self) -> Any:
        return self.xp.sum(product(self.y, self.f.value), axis=-1)

    def grad_x(self) -> Any:
        return _softmax_gradient(self.s, self.y * self.f.slope)

    def grad_y(self) -> Any:
        absent = self.impossible & (self.y == 0)
        slope = self.kept * self.xp.where(absent, 0.0, self.f.value)
        return slope if self.class_weight is None else slope * self.class_weight

    def curvature(self) -> Any:
        xp, p, q = self.xp, self.p, self.q
        bend_times_q = self.y * self.f.bend_times_q
        # For gamma below 1 an almost certain class may bend beyond the largest number, as nothing
        # else of its row does: what p is there makes it small again.
        largest = float(xp.finfo(self.p.dtype).max)
        bend = xp.where(q == 0, 0.0, bend_times_q / xp.where(q == 0, 1.0, q))
        bend = xp.where(bend > largest, largest, bend)
        slopes = xp.sum(self.y * self.f.slope, axis=-1, keepdims=True)
        return p * (p * sum_of_others(bend)) + q * bend_times_q + p * q * slopes

    def boosting_curvature(self, curvature: Any) -> Any:
        least = self.xp.sum(self.y * self.f.least, axis=-1, keepdims=True)
        return self.xp.maximum(curvature, self.p * self.q * least)


class _LabelSoftmaxFocal(_LabelOfLoss):
    name = "softmax_focal"
    of_loss = _FocalOfLoss


class _SoftmaxFocal(_SharesOfLoss):
    name = "softmax_focal"
    of_loss = _FocalOfLoss

    @classmethod
    def traits(cls, *, gamma: float, label_smoothing: float = 0.0) -> Traits:
        if gamma == 0:
            return SharesCrossEntropy.traits(label_smoothing=label_smoothing)
        if label_smoothing:  # between several certainties nothing is in closed form
            return Traits(kinks=(), proper=False, calibrated=label_smoothing < 1)
        # steepest and most bent between the target's class and one other
        slope, bend = focal_constants(gamma)
        return replace(
            _OF_LOGITS, convex=False, lipschitz=sqrt(2) * slope, smoothness=2 * bend, proper=False
        )


class _SmoothedLabelSoftmaxFocal(_OneHot, _SoftmaxFocal):
    """Every class gets a share."""


class _LabelFocalOfProbabilities(_LabelOfProbabilities):
    name = "softmax_focal"
    of_loss = _FocalOfLoss


class _FocalOfProbabilities(_SharesOfProbabilities):
    name = "softmax_focal"
    of_loss = _FocalOfLoss

    @classmethod
    def traits(cls, *, gamma: float, label_smoothing: float = 0.0) -> Traits:
        if gamma == 0:
            return _CrossEntropyOfProbabilities.traits(label_smoothing=label_smoothing)
        known = Traits(lipschitz=inf, smoothness=inf, kinks=(), proper=False)
        if label_smoothing:
            return replace(known, calibrated=label_smoothing < 1)
        return replace(_OF_LOGITS, lipschitz=inf, smoothness=inf, proper=False)


class _SmoothedLabelFocalOfProbabilities(_OneHot, _FocalOfProbabilities):
    """Every class gets a share."""


@LossFunction
def softmax_focal(
    x: Array,
    y: ArrayLike,
    *,
    from_logits: Flag = True,
    gamma: NonNegative = 2.0,
    label_smoothing: Share = 0.0,
    **options: Unpack[LabelOptions],
) -> Request:
    """Focal loss of logits over many classes: cross-entropy that makes little of easy examples.

    Parameters
    ----------
    x
        Logits, or probabilities with from_logits=False.
    y
        Class indices, with one dimension fewer than x, of any integer dtype; or probabilities,
        one-hot or soft, of x's shape and any real dtype.
    axis
        The axis of the classes.
    axis_name
        The mapped axis whose members hold a part of the classes each, in order (JAX alone).
    class_weight
        A weight for each class, of shape (C,): the alpha of the paper. The mean divides by the sum
        of the targets' weights; the paper's has the number of items as `denominator`.
    ignore_index
        Items with this class index are left out. It need not be a class.
    mask
        Which classes are possible: booleans that broadcast to x. Others count as logits of -inf.
    from_logits
        Whether x holds logits, else probabilities. These are not renormalised: x is taken as if
        each were free to move.
    gamma
        How little an easy example counts, at least 0; 0 is cross-entropy.
    label_smoothing
        The share of the target, from 0 to 1, that is spread evenly over all possible classes.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: one class out of many where some are rare: easy items count for less.

    Shapes: x (..., C), or the classes along `axis`; y (...) or x's; an item is a row of classes,
    (...).

    Domain: as for `cross_entropy`.

    Formula: (1 - p_y)^gamma (-log p_y) for a class index y, p the softmax of x. In general
    sum_c w_c q_c f(-log p_c), f(c) = (1 - exp(-c))^gamma c, w class_weight, where
    q_c = (1 - s) y_c + s / K, s is label_smoothing and K the number of possible classes, which
    alone get s / K. With from_logits=False p is the larger of x and the smallest normal number of
    the dtype computed in, and K all classes.

    Gradient: p_c sum_k g_k - g_c by x, g_c = w_c q_c f'(-log p_c); (1 - s) w_c f(-log p_c) by
    probabilities y. Curvature its derivative, negative for some x; for boosting at least
    p_c (1 - p_c) sum_k w_k q_k (1 - p_k)^gamma, that of a cross-entropy with these weights. With
    from_logits=False -g_c / p_c by x, where x is below the smallest normal number as well;
    curvature its derivative, never negative, for boosting 1 where it is 0.

    Accuracy: value 4 + 4 gamma eps; gradient 4 + 4 gamma eps; curvature 8 + 4 gamma eps. The
    curvature, and the gradient by x where q is not one-hot, have these eps of the sum of their
    terms' sizes. With from_logits=False all have them of themselves.

    Edge cases: as for `cross_entropy`. The curvature by a probability of 1 is infinite for gamma
    between 0 and 1, but 0 for a class of which q_c is 0.

    Source: Lin et al., Focal loss for dense object detection, ICCV 2017.

    Elsewhere: Keras `CategoricalFocalCrossentropy`, of probabilities.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x = np.array([[2.0, 0.0, 0.0]])
    >>> tinyloss.softmax_focal(x, np.array([0])).round(6).item()
    0.010869
    """
    smooth = smoothing(label_smoothing)
    formula: type[Formula]
    labels: type[Formula]
    _check_mask("softmax_focal", from_logits, options)
    if from_logits:
        formula = _SoftmaxFocal
        labels = _SmoothedLabelSoftmaxFocal if smooth else _LabelSoftmaxFocal
    else:
        formula = _FocalOfProbabilities
        labels = _SmoothedLabelFocalOfProbabilities if smooth else _LabelFocalOfProbabilities
    params = {"gamma": exponent(gamma), **smooth}
    return Request(formula, x, y, params, labels=labels, **options)


class _PolyOfLoss(_OfLoss):
    """f(c) = c + epsilon (1 - exp(-c))."""

    def __init__(self, c: Any, p: Any, q: Any, epsilon: Any) -> None:
        xp = namespace(c)
        # For an epsilon below 0 as sums of what is not negative, which vanish together with q.
        epsilon = xp.zeros_like(p) + epsilon
        below, kept = epsilon < 0, xp.maximum(1 + epsilon, 0.0)
        less = product(kept, c) - epsilon * expm1_minus(-c)
        self.value = xp.where(below, less, c + epsilon * q)
        self.slope = xp.where(below, kept - epsilon * q, 1 + epsilon * p)
        self.p, self.least = p, self.slope
        self.bend_times_q = -epsilon * p * q

    def turn(self) -> Any:
        return 1 / self.p


class _LabelPolyCrossEntropy(_LabelOfLoss):
    name = "poly_cross_entropy"
    of_loss = _PolyOfLoss


class _PolyCrossEntropy(_SharesOfLoss):
    name = "poly_cross_entropy"
    of_loss = _PolyOfLoss

    @classmethod
    def traits(cls, *, epsilon: float) -> Traits:
        if epsilon == 0:
            return SharesCrossEntropy.traits()
        # As functions of p, between the target's class and one other.
        slope = 0.25 * (1 + epsilon) ** 2 / epsilon if epsilon > 1 else 1.0
        bend = highest(lambda p: p * (1 - p) * abs(1 + epsilon * (2 * p - 1)), 0.0, 1.0)
        return replace(
            _OF_LOGITS,
            convex=epsilon <= 1,
            lipschitz=sqrt(2) * slope,
            smoothness=2 * bend,
            proper=False,
        )


class _LabelPolyOfProbabilities(_LabelOfProbabilities):
    name = "poly_cross_entropy"
    of_loss = _PolyOfLoss


class _PolyOfProbabilities(_SharesOfProbabilities):
    name = "poly_cross_entropy"
    of_loss = _PolyOfLoss

    @classmethod
    def traits(cls, *, epsilon: float) -> Traits:
        if epsilon == 0:
            return _CrossEntropyOfProbabilities.traits()
        return replace(_OF_LOGITS, lipschitz=inf, smoothness=inf, proper=False)


@LossFunction
def poly_cross_entropy(
    x: Array,
    y: ArrayLike,
    *,
    epsilon: AtLeastMinus1 = 2.0,
    from_logits: Flag = True,
    **options: Unpack[LabelOptions],
) -> Request:
    """Poly-1 loss: cross-entropy of logits plus a multiple of what its class is missed by.

    Parameters
    ----------
    x
        Logits, or probabilities with from_logits=False.
    y
        Class indices, with one dimension fewer than x, of any integer dtype; or probabilities,
        one-hot or soft, of x's shape and any real dtype.
    axis
        The axis of the classes.
    axis_name
        The mapped axis whose members hold a part of the classes each, in order (JAX alone).
    class_weight
        A weight for each class, of shape (C,).
    ignore_index
        Items with this class index are left out. It need not be a class.
    mask
        Which classes are possible: booleans that broadcast to x. Others count as logits of -inf.
    epsilon
        How much 1 - p counts, at least -1; 0 is cross-entropy. Above 0 items that are right count
        for more, below 0 for less.
    from_logits
        Whether x holds logits, else probabilities. These are not renormalised: x is taken as if
        each were free to move.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: one class out of many, where one number is to be tuned beside cross-entropy.

    Shapes: x (..., C), or the classes along `axis`; y (...) or x's; an item is a row of classes,
    (...).

    Domain: as for `cross_entropy`.

    Formula: -log p_y + epsilon (1 - p_y) for a class index y, p the softmax of x. In general
    sum_c w_c y_c f(-log p_c), f(c) = c + epsilon (1 - exp(-c)), w class_weight. With
    from_logits=False p is the larger of x and the smallest normal number of the dtype computed in.

    Gradient: p_c sum_k g_k - g_c by x, g_c = w_c y_c (1 + epsilon p_c); w_c f(-log p_c) by
    probabilities y. Curvature its derivative; for boosting at least p_c (1 - p_c) sum_k g_k. With
    from_logits=False -g_c / p_c by x, where x is below the smallest normal number as well;
    curvature w_c y_c / p_c^2, for boosting 1 where y_c is 0.

    Accuracy: value 6 eps; gradient 8 eps; curvature 12 eps. The curvature, and the gradient by x
    where y is neither class indices nor one-hot rows, have these eps of the sum of their terms'
    sizes. With from_logits=False all have them of themselves.

    Edge cases: as for `cross_entropy`.

    Source: Leng et al., PolyLoss: a polynomial expansion perspective of classification loss
    functions, ICLR 2022.

    Elsewhere: optax `poly_loss_cross_entropy` (of one-hot rows).

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x = np.array([[2.0, 0.0, 0.0]])
    >>> tinyloss.poly_cross_entropy(x, np.array([0])).round(6).item()
    0.665573
    """
    _check_mask("poly_cross_entropy", from_logits, options)
    params = {"epsilon": epsilon}
    if from_logits:
        return Request(_PolyCrossEntropy, x, y, params, labels=_LabelPolyCrossEntropy, **options)
    return Request(_PolyOfProbabilities, x, y, params, labels=_LabelPolyOfProbabilities, **options)


class _PowerOfLoss(_OfLoss):
    """f(c) = (1 - exp(-k c)) / k, and its limit c for k = 0.

    Where k c is less than eps / 8 the limit is as good.
    """

    def __init__(self, c: Any, p: Any, q: Any, k: Any) -> None:
        xp = namespace(c)
        info = xp.finfo(c.dtype)
        k = xp.zeros_like(c) + k
        kc = k * xp.minimum(c, float(info.max))
        straight = kc < float(info.eps) / 8
        part = -xp.expm1(-kc) / xp.where(straight, 1.0, k)
        self.value = xp.where(straight, c, part)
        self.p, self.k = p, k
        self.slope = self.least = xp.exp(-kc)
        self.bend_times_q = -k * self.slope * q

    def drop(self) -> Any:
        # Not slope / p: for k near 1 both may underflow.
        return self.p ** (self.k - 1)

    def turn(self) -> Any:
        return (1 - self.k) * self.drop()


class _LabelGeneralizedCrossEntropy(_LabelOfLoss):
    name = "generalized_cross_entropy"
    of_loss = _PowerOfLoss


class _GeneralizedCrossEntropy(_SharesOfLoss):
    name = "generalized_cross_entropy"
    of_loss = _PowerOfLoss

    @classmethod
    def traits(cls, *, k: float) -> Traits:
        if k == 0:
            return SharesCrossEntropy.traits()
        # As functions of p, between the target's class and one other.
        slope = (k / (1 + k)) ** k / (1 + k)
        bend = highest(lambda p: p**k * (1 - p) * abs((1 + k) * p - k), 0.0, 1.0)
        return replace(
            _OF_LOGITS,
            convex=False,
            lipschitz=sqrt(2) * slope,
            smoothness=2 * bend,
            range=(0.0, 1 / k),
            elicits="mode" if k == 1 else None,
            proper=False,
        )


class _LabelGeneralizedOfProbabilities(_LabelOfProbabilities):
    name = "generalized_cross_entropy"
    of_loss = _PowerOfLoss


class _GeneralizedOfProbabilities(_SharesOfProbabilities):
    name = "generalized_cross_entropy"
    of_loss = _PowerOfLoss

    @classmethod
    def traits(cls, *, k: float) -> Traits:
        if k == 0:
            return _CrossEntropyOfProbabilities.traits()
        known = replace(_OF_LOGITS, range=(0.0, 1 / k), proper=False)
        if k == 1:  # 1 - p
            return replace(known, lipschitz=1.0, smoothness=0.0, elicits="mode")
        return replace(known, lipschitz=inf, smoothness=inf)


@LossFunction
def generalized_cross_entropy(
    x: Array,
    y: ArrayLike,
    *,
    from_logits: Flag = True,
    q: Share = 0.7,
    **options: Unpack[LabelOptions],
) -> Request:
    """Cross-entropy of logits that wrong labels lead astray less.

    Parameters
    ----------
    x
        Logits, or probabilities with from_logits=False.
    y
        Class indices, with one dimension fewer than x, of any integer dtype; or probabilities,
        one-hot or soft, of x's shape and any real dtype.
    axis
        The axis of the classes.
    axis_name
        The mapped axis whose members hold a part of the classes each, in order (JAX alone).
    class_weight
        A weight for each class, of shape (C,).
    ignore_index
        Items with this class index are left out. It need not be a class.
    mask
        Which classes are possible: booleans that broadcast to x. Others count as logits of -inf.
    from_logits
        Whether x holds logits, else probabilities. These are not renormalised: x is taken as if
        each were free to move.
    q
        How little an unlikely label counts, from 0 to 1: 0 is cross-entropy, 1 is 1 - p.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: one class out of many, where some labels are wrong.

    Shapes: x (..., C), or the classes along `axis`; y (...) or x's; an item is a row of classes,
    (...).

    Domain: as for `cross_entropy`.

    Formula: (1 - p_y^q) / q for a class index y, p the softmax of x; for q = 0 its limit, -log p_y.
    In general sum_c w_c y_c (1 - p_c^q) / q, w class_weight. With from_logits=False p is the larger
    of x and the smallest normal number of the dtype computed in.

    Gradient: p_c sum_k g_k - g_c by x, g_c = w_c y_c p_c^q; w_c (1 - p_c^q) / q by probabilities y.
    Curvature its derivative, negative where a label is unlikely; for boosting at least
    p_c (1 - p_c) sum_k g_k. With from_logits=False -w_c y_c p_c^(q - 1) by x, where x is below the
    smallest normal number as well; curvature (1 - q) w_c y_c p_c^(q - 2), for boosting 1 where it
    is 0.

    Accuracy: value 6 eps; gradient 8 eps; curvature 12 eps. All have these eps of 1 - q log p times
    themselves, p that of the class of the target, since q is rounded. The curvature, and the
    gradient by x where y is neither class indices nor one-hot rows, have them of the sum of their
    terms' sizes.

    Edge cases: an impossible target costs 1 / q, with from_logits=False (1 - p^q) / q of the
    smallest normal number. Else as for `cross_entropy`.

    Source: Zhang and Sabuncu, Generalized cross entropy loss for training deep neural networks with
    noisy labels, NeurIPS 2018.

    Elsewhere: Keras `CategoricalGeneralizedCrossEntropy`, of probabilities.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x = np.array([[2.0, 0.0, 0.0]])
    >>> tinyloss.generalized_cross_entropy(x, np.array([0]), q=1.0).round(6).item()
    0.213014
    """
    _check_mask("generalized_cross_entropy", from_logits, options)
    formula: type[Formula] = _GeneralizedOfProbabilities
    labels: type[Formula] = _LabelGeneralizedOfProbabilities
    if from_logits:
        formula, labels = _GeneralizedCrossEntropy, _LabelGeneralizedCrossEntropy
    return Request(formula, x, y, {"k": q}, labels=labels, **options)


class _Brier(Formula):
    """With d = p - y, of which a class that is almost certain keeps its digits."""

    name = "brier"
    rowwise = True
    compares_classes = True
    roles = {"class_weight": CLASS}

    def __init__(self, x: Any, y: Any, *, class_weight: Any = None) -> None:
        self.xp = xp = namespace(x)
        self.s = s = softmax_parts(x)
        self.p, self.not_p = s.e / s.z, others(s.e, s.top, 1, s.rest) / s.z
        likely = self.p > 0.5
        self._set(xp.where(likely, (1 - y) - self.not_p, self.p - y), y, class_weight)

    def _set(self, d: Any, y: Any, class_weight: Any) -> None:
        self.d, self.class_weight, self.mass = d, class_weight, 1.0
        self.square = self.xp.sum(d * d, axis=-1, keepdims=True)
        if class_weight is not None:
            self.mass = self.xp.sum(y * class_weight, axis=-1, keepdims=True)

    def value(self) -> Any:
        return (self.mass * self.square)[..., 0]

    def _lead(self) -> Any:
        return 2 * (self.not_p * self.d - sum_of_others(self.p * self.d))

    def grad_x(self) -> Any:
        return self.mass * self.p * self._lead()

    def grad_y(self) -> Any:
        slope = -2 * self.mass * self.d
        return slope if self.class_weight is None else slope + self.class_weight * self.square

    def _bend(self) -> Any:
        """Return the curvature that is left where d vanishes."""
        xp, s, q = self.xp, self.s, self.not_p
        square = s.e * s.e
        ties = xp.sum(xp.where(s.top, s.e, 0.0), axis=-1, keepdims=True) - 1
        rest = xp.sum(xp.where(s.top, 0.0, square), axis=-1, keepdims=True) + ties
        return 2 * self.p * self.p * (q * q + others(square, s.top, 1, rest) / s.z / s.z)

    def curvature(self) -> Any:
        p, q = self.p, self.not_p
        return self.mass * (p * (q - p) * self._lead() + self._bend())

    def boosting_curvature(self, curvature: Any) -> Any:
        return self.xp.maximum(curvature, self.mass * self._bend())

    @classmethod
    def traits(cls) -> Traits:
        # Between the target's class and one other p (1 - p)^2 and its like are largest at 1 / 3 and
        # at a root of 12 p^2 - 9 p + 1.
        p = (9 + sqrt(33)) / 24
        return replace(
            _OF_LOGITS,
            convex=False,
            lipschitz=16 * sqrt(2) / 27,
            smoothness=8 * p * (1 - p) ** 2 * (3 * p - 1),
            range=(0.0, 2.0),
            elicits="log(class probabilities)",
        )


class _LabelBrier(_OneHot, _Brier):
    roles = {"y": LABEL}


class _BrierOfProbabilities(_Brier):
    compares_classes = False

    def __init__(self, x: Any, y: Any, *, class_weight: Any = None) -> None:
        self.xp = namespace(x)
        self._set(x - y, y, class_weight)

    def grad_x(self) -> Any:
        return 2 * self.mass * self.d

    def curvature(self) -> Any:
        return self.xp.full_like(self.d, 2.0) * self.mass

    def boosting_curvature(self, curvature: Any) -> Any:
        return curvature

    @classmethod
    def traits(cls) -> Traits:
        return replace(
            _OF_LOGITS,
            strong_convexity=2.0,
            lipschitz=2 * sqrt(2),
            smoothness=2.0,
            range=(0.0, 2.0),
            symmetric=True,
            elicits="class probabilities",
        )


class _LabelBrierOfProbabilities(_OneHot, _BrierOfProbabilities):
    roles = {"y": LABEL}


@LossFunction
def brier(
    x: Array, y: ArrayLike, *, from_logits: Flag = True, **options: Unpack[LabelOptions]
) -> Request:
    """Brier score: the squared distance of probabilities from the target, of logits too.

    Parameters
    ----------
    x
        Logits, or probabilities with from_logits=False.
    y
        Class indices, with one dimension fewer than x, of any integer dtype; or probabilities,
        one-hot or soft, of x's shape and any real dtype.
    axis
        The axis of the classes.
    axis_name
        The mapped axis whose members hold a part of the classes each, in order (JAX alone).
    class_weight
        A weight for each class, of shape (C,).
    ignore_index
        Items with this class index are left out. It need not be a class.
    mask
        Which classes are possible: booleans that broadcast to x. Others count as logits of -inf.
    from_logits
        Whether x holds logits, else probabilities. These are not renormalised: x is taken as if
        each were free to move.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: one class out of many, where probabilities are to be right and no item is to cost more
    than 2; best known as a score.

    Shapes: x (..., C), or the classes along `axis`; y (...) or x's; an item is a row of classes,
    (...).

    Domain: as for `cross_entropy`; with from_logits=False all numbers.

    Formula: w sum_c (p_c - y_c)^2, p the softmax of x, y_c 1 for a class index y and else 0,
    w = sum_c class_weight_c y_c, 1 without class_weight. With from_logits=False p is x.

    Gradient: w p_c (g_c - sum_k p_k g_k) by x, g = 2 (p - y), with from_logits=False w g; by
    probabilities y -w g, plus class_weight_c sum_k (p_k - y_k)^2. Curvature
    w p_c ((1 - 2 p_c) (g_c - sum_k p_k g_k) + 2 p_c ((1 - p_c)^2 + sum_k p_k^2)), the last sum
    without c, negative for some x; for boosting at least its last term; with from_logits=False 2 w.

    Accuracy: value 8 eps; gradient 8 eps; curvature 12 eps. The gradient by x and the curvature
    have these eps of the sum of their terms' sizes. Where y is not 0 or 1 the value has its 8 eps
    of sum_c 2 |p_c - y_c| (p_c + y_c), the gradient by y of 2 (p_c + y_c).

    Edge cases: as for `cross_entropy`, but an impossible target costs 1 + sum_c p_c^2.

    Source: Brier, Verification of forecasts expressed in terms of probability, Monthly Weather
    Review 78, 1950.

    Elsewhere: scikit-learn `brier_score_loss`, of probabilities.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> p = np.array([[0.75, 0.25], [0.5, 0.5]])
    >>> tinyloss.brier(np.log(p), np.array([0, 1]), reduction="none").round(6).tolist()
    [0.125, 0.5]
    """
    _check_mask("brier", from_logits, options)
    if from_logits:
        return Request(_Brier, x, y, labels=_LabelBrier, **options)
    return Request(_BrierOfProbabilities, x, y, labels=_LabelBrierOfProbabilities, **options)


class _CategoricalHinge(Formula):
    name = "categorical_hinge"
    rowwise = True
    roles = {"y": LABEL}
    compares_classes = True

    def __init__(self, x: Any, y: Any) -> None:
        self.xp, self.x = namespace(x), x
        xp = self.xp
        self.target = target = classes_of(x, y)
        rivals = xp.where(target, -xp.inf, x)
        best = xp.max(rivals, axis=-1, keepdims=True)
        alone = best == -xp.inf  # there is no other, or none is possible
        xt = xp.sum(xp.where(target, x, 0.0), axis=-1, keepdims=True)
        behind = xp.where(alone & (xt == xt), 2.0, xt)
        d, rest = exact_difference(xp.where(alone, 0.0, best), behind)
        # 1 + d is exact where it cancels.
        self.short = (1 + d) + rest
        self.best = (rivals == best) & ~alone
        self.ties = xp.sum(xp.where(self.best, xp.ones_like(x), 0.0), axis=-1, keepdims=True)

    def value(self) -> Any:
        return positive_part(self.short)[..., 0]

    def grad_x(self) -> Any:
        xp, short = self.xp, self.short
        share = xp.where(self.best, 1 / xp.maximum(self.ties, 1.0), 0.0)
        slope = xp.where(self.target, -1.0, share)
        # Neither above nor up to 0 is NaN, which must show.
        return xp.where(short > 0, slope, xp.where(short <= 0, 0.0, short))

    def curvature(self) -> Any:
        return self.xp.zeros_like(self.x)

    boosting_curvature = steep

    @classmethod
    def traits(cls) -> Traits:
        # Its gradient jumps also where two others tie, which no lead tells.
        return replace(
            _OF_LOGITS,
            smoothness=inf,
            variable="x_y - x_c",
            kinks=None,
            proper=False,
            calibrated=False,
        )


@LossFunction
def categorical_hinge(x: Array, y: ArrayLike, **options: Unpack[LabelOptions]) -> Request:
    """Hinge loss of scores over many classes: the right one is to lead the best other by 1.

    Parameters
    ----------
    x
        Scores.
    y
        Class indices, with one dimension fewer than x, of any integer dtype.
    axis
        The axis of the classes.
    axis_name
        The mapped axis whose members hold a part of the classes each, in order (JAX alone).
    class_weight
        A weight for each class, of shape (C,).
    ignore_index
        Items with this class index are left out. It need not be a class.
    mask
        Which classes are possible: booleans that broadcast to x. Others count as scores of -inf.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: one class out of many as a margin: what leads by 1 or more costs nothing.

    Shapes: x (..., C), or the classes along `axis`; y (...); an item is a row of classes, (...).

    Domain: finite scores, and -inf for a class that is impossible.

    Formula: max(0, 1 + max_c x_c - x_y), the inner maximum over all classes but y

    Gradient: -1 for the target's entry, 1 for that of the best other class, shared evenly among
    those that tie, where the loss is above 0; else 0; curvature 0, for boosting 1.

    Accuracy: value 2 eps; gradient 1 eps; curvature exact. The difference of the scores is not
    rounded before 1 is added.

    Edge cases: an impossible target gives inf. A class index out of range is an error where it can
    be seen (`tinyloss.validation`), else NaN for its item. One class always has the loss 0, of
    which a warning tells.

    Source: Crammer and Singer, On the algorithmic implementation of multiclass kernel-based vector
    machines, J. Mach. Learn. Res. 2, 2001.

    Elsewhere: optax `multiclass_hinge_loss`; Keras `CategoricalHinge`, whose maximum includes 0;
    scikit-learn `hinge_loss`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x = np.array([[2.0, 1.5, 0.0], [2.0, 0.0, 0.0]])
    >>> tinyloss.categorical_hinge(x, np.array([0, 0]), reduction="none").tolist()
    [0.5, 0.0]
    """
    return Request(None, x, y, labels=_CategoricalHinge, **options)


class _MultiMargin(Formula):
    name = "multi_margin"
    rowwise = True
    roles = {"y": LABEL}
    compares_classes = True

    def __init__(self, x: Any, y: Any, *, margin: Any) -> None:
        self.xp = xp = namespace(x)
        self.target = target = classes_of(x, y)
        xt = xp.sum(xp.where(target, x, 0.0), axis=-1, keepdims=True)
        none = target | (x == -xp.inf)
        self.short = positive_part(xp.where(none, -1.0, (xp.where(none, xt, x) - xt) + margin))
        self.count = xp.sum(xp.ones_like(x), axis=-1, keepdims=True)

    def value(self) -> Any:
        return self.xp.sum(self._of_short() / self.count, axis=-1)

    def grad_x(self) -> Any:
        slope = self._slope()
        return self.xp.where(self.target, -self._sum(slope), slope) / self.count

    def curvature(self) -> Any:
        bend = self._bend()
        return self.xp.where(self.target, self._sum(bend), bend) / self.count

    boosting_curvature = steep

    def _of_short(self) -> Any:
        return self.short

    def _slope(self) -> Any:
        # 1 where it is above 0; NaN must show.
        return self.xp.where(self.short > 0, 1.0, self.short)

    def _bend(self) -> Any:
        return self.xp.zeros_like(self.short)

    def _sum(self, each: Any) -> Any:
        return self.xp.sum(each, axis=-1, keepdims=True)

    @classmethod
    def traits(cls, *, margin: float) -> Traits:
        return replace(
            _OF_LOGITS,
            lipschitz=1.0,
            smoothness=inf,
            variable="x_y - x_c",
            kinks=(margin,),
            proper=False,
            calibrated=False,
        )


class _SquaredMultiMargin(_MultiMargin):
    def _of_short(self) -> Any:
        return self.short * self.short

    def _slope(self) -> Any:
        return 2 * self.short

    def _bend(self) -> Any:
        return self.xp.where(self.short > 0, 2.0, self.short)

    @classmethod
    def traits(cls, *, margin: float) -> Traits:
        del margin
        return replace(
            _OF_LOGITS, lipschitz=inf, smoothness=2.0, variable="x_y - x_c", proper=False
        )


@LossFunction
def multi_margin(
    x: Array,
    y: ArrayLike,
    *,
    margin: Positive = 1.0,
    p: OneOrTwo = 1,
    **options: Unpack[LabelOptions],
) -> Request:
    """Hinge loss of scores over many classes: the right one is to lead each other by a margin.

    Parameters
    ----------
    x
        Scores.
    y
        Class indices, with one dimension fewer than x, of any integer dtype.
    axis
        The axis of the classes.
    axis_name
        The mapped axis whose members hold a part of the classes each, in order (JAX alone).
    class_weight
        A weight for each class, of shape (C,).
    ignore_index
        Items with this class index are left out. It need not be a class.
    mask
        Which classes are possible: booleans that broadcast to x. Others count as scores of -inf.
    margin
        The lead from which a class costs nothing, above 0.
    p
        The power of what is missing of the margin, 1 or 2.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: one class out of many as a margin, where each class that comes too near is to count.

    Shapes: x (..., C), or the classes along `axis`; y (...); an item is a row of classes, (...).

    Domain: finite scores, and -inf for a class that is impossible.

    Formula: sum_c max(0, margin - x_y + x_c)^p / C, over all classes but y

    Gradient: with m_c = margin - x_y + x_c, p max(0, m_c)^(p - 1) / C where m_c > 0, else 0, for
    each class but y; the opposite of their sum for y. Curvature 0 for p = 1; 2 / C where m_c > 0
    for p = 2, for y the sum of these; for boosting 1 where it is 0.

    Accuracy: value 6 eps; gradient 6 eps; curvature 4 eps. The value has these 6 eps of
    the sum of (margin + |x_c - x_y|)^p / C, for p = 2 the gradient of 2 (margin + |x_c - x_y|) / C.

    Edge cases: an impossible target gives inf. An impossible class counts in C. A class index out
    of range is an error where it can be seen (`tinyloss.validation`), else NaN for its item. One
    class always has the loss 0, of which a warning tells.

    Source: Weston and Watkins, Support vector machines for multi-class pattern recognition, ESANN
    1999.

    Elsewhere: torch `multi_margin_loss`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x = np.array([[2.0, 1.5, 0.0, 1.75]])
    >>> tinyloss.multi_margin(x, np.array([0])).item()
    0.3125
    """
    formula = _MultiMargin if p == 1 else _SquaredMultiMargin
    return Request(None, x, y, {"margin": margin}, labels=formula, **options)


class _MultilabelMargin(PairwiseHinge):
    """Labels that an item has are better than those it has not, and no pair else counts."""

    name = "multilabel_margin"
    compares_classes = True

    def __init__(self, x: Any, y: Any, *, margin: Any) -> None:
        super().__init__(x, y, margin=margin)
        self.count = self.xp.sum(self.xp.ones_like(x), axis=-1, keepdims=True)

    def value(self) -> Any:
        return self.xp.sum(self.losses / self.count, axis=-1)

    def grad_x(self) -> Any:
        return self.slopes / self.count

    @classmethod
    def traits(cls, **parameters: Any) -> Traits:
        del parameters
        # Where T of C labels are to lead, and none does, slopes are (C - T) / C of these and T / C
        # of the others. The length of all is the root of T (C - T) / C, which grows with C.
        # No one lead has the kinks.
        return Traits(
            convex=True, strong_convexity=0.0, lipschitz=inf, smoothness=inf, range=(0.0, inf)
        )


@LossFunction
def multilabel_margin(
    x: Array,
    y: ArrayLike,
    *,
    margin: Positive = 1.0,
    **options: Unpack[ListOptions],
) -> Request:
    """Hinge loss of scores of several labels: each that is right leads each other by a margin.

    Parameters
    ----------
    x
        Scores, one for each label.
    y
        Targets, 1 for each label that an item has, else 0 (booleans too).
    axis
        The axis of the labels.
    margin
        The lead from which a pair costs nothing, above 0.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: tags, several at once, where only their order by score counts.

    Shapes: x and y (..., C), or the labels along `axis`; an item is a row of labels, (...).

    Domain: finite scores and targets. Of other targets than 0 and 1 the higher is the better. A
    target that is NaN or infinite gives NaN for its item.

    Formula: sum_ij max(0, margin - (x_i - x_j)) / C, over all pairs with y_i = 1 and y_j = 0

    Gradient: for a label that is right, the number of others that it does not lead by the margin,
    over -C; for another, the number of right ones that do not lead it so, over C. It is 0 at the
    margin itself. Curvature 0, for boosting 1. By y 0: only its order counts.

    Accuracy: value 6 eps; gradient 2 eps; curvature 0 eps. The value has these eps of the sum of
    (margin + |x_i - x_j|) / C over pairs that cost something, and the gradient of the number of
    these pairs over C.

    Edge cases: 0 for an item that has each label, or none. One label always has the loss 0, of
    which a warning tells. Lists of class indices that -1 ends, as torch has them, are not taken.

    Source: Elisseeff and Weston, A kernel method for multi-labelled classification, NIPS 2001.

    Elsewhere: torch `multilabel_margin_loss` of lists of class indices.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x, y = np.array([[0.125, 0.25, 0.5, 0.75]]), np.array([[1, 0, 0, 1]])
    >>> tinyloss.multilabel_margin(x, y).item()
    0.9375
    """
    return Request(_MultilabelMargin, x, y, {"margin": margin}, **options)


class _MultilabelSoftMargin(Formula):
    name = "multilabel_soft_margin"
    rowwise = True

    def __init__(self, x: Any, y: Any) -> None:
        self.bce = BCEWithLogits(x, y)
        self.share = self._share(x)

    def _share(self, x: Any) -> Any:
        xp = namespace(x)
        return 1 / xp.sum(xp.ones_like(x), axis=-1, keepdims=True)

    def value(self) -> Any:
        return self.bce.xp.sum(self.bce.value() * self.share, axis=-1)

    def grad_x(self) -> Any:
        return self.bce.grad_x() * self.share

    def grad_y(self) -> Any:
        return self.bce.grad_y() * self.share

    def curvature(self) -> Any:
        return self.bce.curvature() * self.share

    @classmethod
    def traits(cls) -> Traits:
        # of one label: several have 1 / sqrt(C) of the slope and 1 / C of the curvature
        return BCEWithLogits.traits()


@LossFunction
def multilabel_soft_margin(x: Array, y: ArrayLike, **options: Unpack[RowOptions]) -> Request:
    """Binary cross-entropy of the logits of several labels, averaged over these.

    Parameters
    ----------
    x
        Logits of 1, one for each label.
    y
        Targets, 0 or 1 (booleans too) or a probability between.
    axis
        The axis of the classes.
    axis_name
        The mapped axis whose members hold a part of the classes each, in order (JAX alone).
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: tags, several at once, where weights and masks are for whole items; for those of single
    labels `binary_cross_entropy_with_logits`.

    Shapes: x and y (..., C), or the labels along `axis`; an item is a row of labels, (...).

    Domain: all logits. Targets outside [0, 1] are no error: they count as they are.

    Formula: sum_c (y_c log(1 + exp(-x_c)) + (1 - y_c) log(1 + exp(x_c))) / C

    Gradient: ((1 - y_c) s(x_c) - y_c s(-x_c)) / C by x, s(x) = 1 / (1 + exp(-x)); -x_c / C by y;
    curvature s(x_c) s(-x_c) / C.

    Accuracy: value 6 eps; gradient 6 eps; curvature 8 eps, in both tails. Where y is not 0 or 1 the
    gradient by x has these 6 eps of the sum of its two terms' sizes.

    Edge cases: as for `binary_cross_entropy_with_logits`.

    Source: Cox, The regression analysis of binary sequences, J. R. Statist. Soc. B 20, 1958.

    Elsewhere: torch `multilabel_soft_margin_loss`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x, y = np.array([[0.0, -20.0, 1.0]]), np.array([[1, 0, 1]])
    >>> tinyloss.multilabel_soft_margin(x, y).round(6).item()
    0.33547
    """
    return Request(_MultilabelSoftMargin, x, y, **options)


class _Coral(_MultilabelSoftMargin):
    name = "coral"

    def _share(self, x: Any) -> Any:
        return 1.0

    @classmethod
    def traits(cls) -> Traits:
        # The slope is at most the root of the number of thresholds, of which there may be any.
        return replace(BCEWithLogits.traits(), lipschitz=inf)


@LossFunction
def coral(x: Array, y: ArrayLike, **options: Unpack[RowOptions]) -> Request:
    """Ordinal loss: binary cross-entropy of whether a rank is above each threshold, summed.

    Parameters
    ----------
    x
        Logits of a rank above each threshold, one fewer than there are ranks.
    y
        Targets, 1 for each threshold that the rank is above, else 0 (booleans too).
    axis
        The axis of the classes.
    axis_name
        The mapped axis whose members hold a part of the classes each, in order (JAX alone).
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: ranks in an order, such as ratings from 1 to 5. Of ranks r from 0 on, y is
    `r[..., None] > np.arange(K - 1)`.

    Shapes: x and y (..., K - 1), or the thresholds along `axis`; an item is a row of thresholds,
    (...).

    Domain: all logits. Targets outside [0, 1] are no error: they count as they are.

    Formula: sum_k (y_k log(1 + exp(-x_k)) + (1 - y_k) log(1 + exp(x_k)))

    Gradient: (1 - y_k) s(x_k) - y_k s(-x_k) by x, s(x) = 1 / (1 + exp(-x)); -x_k by y; curvature
    s(x_k) s(-x_k).

    Accuracy: value 6 eps; gradient 4 eps; curvature 6 eps, in both tails. Where y is not 0 or 1 the
    gradient by x has these 4 eps of the sum of its two terms' sizes.

    Edge cases: as for `binary_cross_entropy_with_logits`. Thresholds that share their weights make
    ranks consistent, as in the paper; nothing here asks for that. `corn` is of conditional logits.

    Source: Cao, Mirjalili and Raschka, Rank consistent ordinal regression for neural networks with
    application to age estimation, Pattern Recognition Letters 140, 2020.

    Elsewhere: none.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x, ranks = np.array([[2.0, 0.5, -1.0], [1.0, -2.0, -3.0]]), np.array([2, 0])
    >>> y = ranks[..., None] > np.arange(3)
    >>> tinyloss.coral(x, y, reduction="none").round(6).tolist()
    [0.914267, 1.488777]
    """
    return Request(_Coral, x, y, **options)


def _asked(xp: Any, y: Any, classes: Any) -> Any:
    """Return for how many thresholds a rank is asked."""
    return xp.minimum(y, classes - 1) + 1


class _Corn(Formula):
    """Binary cross-entropies of the thresholds up to the first that a rank is not above."""

    name = "corn"
    rowwise = True
    roles = {"y": ITEM}
    ranks: ClassVar[int | None] = 1
    counts: ClassVar[Callable[[Any, Any, Any], Any] | None] = _asked

    def __init__(self, x: Any, y: Any) -> None:
        self.xp = xp = namespace(x)
        place, rank = xp.arange(x.shape[-1], dtype=x.dtype, **beside(x)), y[..., None]
        self.bce = BCEWithLogits(x, xp.where(rank > place, 1.0, xp.zeros_like(x)))
        self.asked = xp.where(rank >= place, 1.0, xp.zeros_like(x))

    def value(self) -> Any:
        return self.xp.sum(product(self.asked, self.bce.value()), axis=-1)

    def grad_x(self) -> Any:
        return product(self.asked, self.bce.grad_x())

    def curvature(self) -> Any:
        return product(self.asked, self.bce.curvature())

    boosting_curvature = steep

    @classmethod
    def traits(cls) -> Traits:
        # The slope is at most the root of the number of thresholds, of which there may be any.
        known = replace(_OF_LOGITS, lipschitz=inf, smoothness=0.25)
        return replace(known, proper=None, calibrated=None)  # it is of ranks, not of classes


@LossFunction
def corn(x: Array, y: ArrayLike, **options: Unpack[RowOptions]) -> Request:
    """Ordinal loss of conditional logits: whether a rank is above a threshold that it reaches.

    Parameters
    ----------
    x
        Logits of a rank above each threshold, given that it is above the one before.
    y
        Ranks from 0 to K - 1, of any integer dtype, where x has K - 1 thresholds.
    axis
        The axis of the classes.
    axis_name
        The mapped axis whose members hold a part of the classes each, in order (JAX alone).
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: ranks in an order as for `coral`, whose probabilities are consistent for any weights:
    that of a rank above a threshold is a product of conditional ones.

    Shapes: x (..., K - 1), or the thresholds along `axis`; y (...); an item is a row of thresholds,
    (...).

    Domain: all logits. A rank that is not from 0 to K - 1 is an error where it can be seen, and
    gives NaN for its item elsewhere.

    Formula: sum_k a_k log(1 + exp(-+x_k)), - where y > k and + elsewhere, a_k 1 for k <= y, else 0.
    It is -log of the rank's probability. The mean divides by the sum of weight times how many
    thresholds are asked, min(y, K - 2) + 1.

    Gradient: a_k s(x_k), less a_k where y > k, s(x) = 1 / (1 + exp(-x)); curvature
    a_k s(x_k) s(-x_k), for boosting 1 where it is 0.

    Accuracy: value 6 eps; gradient 4 eps; curvature 6 eps, in both tails.

    Edge cases: what x is at thresholds that are not asked does not matter, infinite or not.

    Source: Shi, Cao and Raschka, Deep neural networks for rank-consistent ordinal regression based
    on conditional probabilities, Pattern Analysis and Applications 26, 2023.

    Elsewhere: none.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x, ranks = np.array([[2.0, 0.5, -1.0], [1.0, -2.0, -3.0]]), np.array([2, 0])
    >>> tinyloss.corn(x, ranks, reduction="none").round(6).tolist()
    [0.914267, 1.313262]
    """
    return Request(None, x, y, labels=_Corn, **options)
