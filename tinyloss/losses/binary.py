"""Losses for classes: binary (an item is an element) and among many (an item is a row)."""

from math import ceil, log2
from typing import Any

from tinyloss import _check
from tinyloss._arrays import astype, namespace
from tinyloss._engine import Request
from tinyloss._formula import Formula
from tinyloss._function import LossFunction
from tinyloss._numerics import (
    Softmax,
    classes_of,
    exp_difference,
    others,
    positive_part,
    product,
    sigmoids,
    softmax_parts,
    softplus,
    steep,
    sum_of_others,
)
from tinyloss.typing import Array, ArrayLike, AxisName, Reduction

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "hinge",
    "nll",
    "sigmoid_focal",
    "soft_margin",
    "softmax_focal",
    "squared_hinge",
]


class _LabelCrossEntropy(Formula):
    """Class indices: the target stays out of the sum o, so that nothing cancels.

    Where the target is a largest logit the loss is log1p(o), accurate down to the smallest number;
    elsewhere it is at least log 2.
    """

    name = "cross_entropy"
    rowwise = True
    compares_classes = True

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


class _CrossEntropy(Formula):
    """A distribution q over the classes, not necessarily of sum 1."""

    name = "cross_entropy"
    rowwise = True
    compares_classes = True
    weighs_classes = True

    def __init__(
        self, x: Any, y: Any, *, label_smoothing: float = 0.0, class_weight: Any = None
    ) -> None:
        self.xp = xp = namespace(x)
        self.softmax, self.impossible = softmax_parts(x), x == -xp.inf
        self.kept, self.class_weight = 1 - label_smoothing, class_weight
        q = y
        if label_smoothing:
            possible = xp.where(self.impossible, xp.zeros_like(x), 1.0)
            count = xp.sum(possible, axis=-1, keepdims=True)
            q = self.kept * y + xp.where(self.impossible, 0.0, label_smoothing / count)
        self.q = q if class_weight is None else q * class_weight
        self.mass = xp.sum(self.q, axis=-1, keepdims=True)

    def value(self) -> Any:
        s = self.softmax
        below = self.xp.sum(product(self.q, s.below), axis=-1)
        return below + (self.mass * s.log_z)[..., 0]

    def grad_x(self) -> Any:
        return _pull(self.softmax, self.q)

    def grad_y(self) -> Any:
        s = self.softmax
        # A class that is neither possible nor asked for takes part in nothing.
        absent = self.impossible & (self.q == 0)
        slope = self.kept * self.xp.where(absent, 0.0, s.below + s.log_z)
        return slope if self.class_weight is None else slope * self.class_weight

    def curvature(self) -> Any:
        s = self.softmax
        return self.mass * (s.e / s.z) * (others(s.e, s.top, 1, s.rest) / s.z)


class _SmoothedLabelCrossEntropy(_CrossEntropy):
    """Class indices where every class gets a share."""

    def __init__(self, x: Any, y: Any, *, label_smoothing: float, class_weight: Any = None) -> None:
        target = astype(namespace(x), classes_of(x, y), x.dtype)
        super().__init__(x, target, label_smoothing=label_smoothing, class_weight=class_weight)


def _floored(x: Any) -> tuple[Any, Any]:
    """Return probabilities as normal numbers, and for each row 0, or NaN if one is outside [0, 1].

    All of a row with such a number is NaN.
    """
    xp = namespace(x)
    each = xp.where((x >= 0) & (x <= 1), xp.zeros_like(x), xp.nan)
    invalid = xp.sum(each, axis=-1, keepdims=True)
    return xp.maximum(x, float(xp.finfo(x.dtype).smallest_normal)) + invalid, invalid


class _LabelCrossEntropyOfProbabilities(Formula):
    name = "cross_entropy"
    rowwise = True

    def __init__(self, x: Any, y: Any) -> None:
        self.xp = namespace(x)
        self.target = classes_of(x, y)
        self.p, self.invalid = _floored(x)

    def value(self) -> Any:
        of_target = self.xp.sum(self.xp.where(self.target, self.p, 0.0), axis=-1)
        return -self.xp.log(of_target)

    def grad_x(self) -> Any:
        return self.xp.where(self.target, -1 / self.p, self.invalid)

    def curvature(self) -> Any:
        inverse = 1 / self.p
        return self.xp.where(self.target, inverse * inverse, self.invalid)

    def boosting_curvature(self, curvature: Any) -> Any:
        return steep(curvature)


class _CrossEntropyOfProbabilities(Formula):
    name = "cross_entropy"
    rowwise = True
    weighs_classes = True

    def __init__(
        self, x: Any, y: Any, *, label_smoothing: float = 0.0, class_weight: Any = None
    ) -> None:
        self.xp = xp = namespace(x)
        self.p, _ = _floored(x)
        self.log_p = xp.log(self.p)
        self.kept, self.class_weight = 1 - label_smoothing, class_weight
        q = y
        if label_smoothing:
            q = self.kept * y + label_smoothing / xp.sum(xp.ones_like(x), axis=-1, keepdims=True)
        self.q = q if class_weight is None else q * class_weight

    def value(self) -> Any:
        return -self.xp.sum(self.q * self.log_p, axis=-1)

    def grad_x(self) -> Any:
        return -self.q / self.p

    def grad_y(self) -> Any:
        slope = -self.kept * self.log_p
        return slope if self.class_weight is None else slope * self.class_weight

    def curvature(self) -> Any:
        # Not q / p / p: a compiler may divide by p * p instead, which underflows.
        return (self.q / self.p) * (1 / self.p)

    def boosting_curvature(self, curvature: Any) -> Any:
        return steep(curvature)


class _SmoothedLabelCrossEntropyOfProbabilities(_CrossEntropyOfProbabilities):
    def __init__(self, x: Any, y: Any, *, label_smoothing: float, class_weight: Any = None) -> None:
        target = astype(namespace(x), classes_of(x, y), x.dtype)
        super().__init__(x, target, label_smoothing=label_smoothing, class_weight=class_weight)


def _pull(softmax: Softmax, q: Any) -> Any:
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
    axis: int = -1,
    axis_name: AxisName | None = None,
    from_logits: bool = True,
    class_weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    denominator: ArrayLike | None = None,
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
    from_logits
        Whether x holds logits, else probabilities. These are not renormalised: x is taken as if
        each were free to move.
    class_weight
        A weight for each class, of shape (C,).
    label_smoothing
        The share of the target, from 0 to 1, that is spread evenly over all possible classes.
    ignore_index
        Items with this class index are left out. It need not be a class.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Shapes: x (..., C), or the classes along `axis`; y (...) or x's; an item is a row of classes,
    (...).

    Domain: finite logits, and -inf for a class that is impossible: it has probability 0 and takes
    part in nothing. Probabilities need not sum to 1. With from_logits=False 0 <= x <= 1; a row with
    a number outside gives NaN.

    Formula: sum_c q_c (log sum_k exp(x_k) - x_c), where q_c = class_weight_c ((1 - s) y_c + s / K),
    s is label_smoothing and K the number of possible classes, which alone get s / K.
    With from_logits=False sum_c q_c (-log a_c), a the larger of x and the smallest normal number of
    the dtype computed in, and K all classes.
    The mean divides by the sum of class_weight[y], or of sum_c class_weight_c y_c.

    Gradient: p_c sum_k q_k - q_c by x, p the softmax of x; by probabilities y
    -(1 - s) class_weight_c log p_c, 0 for an impossible class that y does not ask for; curvature
    sum_k q_k p_c (1 - p_c). With from_logits=False -q_c / a_c by x, where x is below the smallest
    normal number as well; -(1 - s) class_weight_c log a_c by y; curvature q_c / a_c^2, for boosting
    1 where q_c is 0.

    Accuracy: 4 eps, and 4 eps for each component of the gradient for class indices and one-hot
    rows: a confident correct prediction has a loss and a gradient, not 0. Otherwise the gradient
    is within 4 eps of p_c + q_c, since it may vanish between the two.

    Edge cases: an impossible target gives inf, logits of +inf or all -inf give NaN. A class index
    out of range is an error where it can be seen (`tinyloss.validation`), else NaN for its item.
    One class always has the loss 0, of which a warning tells.

    Source: Bridle, Probabilistic interpretation of feedforward classification network outputs,
    1990; smoothing: Szegedy et al., Rethinking the Inception architecture, CVPR 2016.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x = np.array([[20.0, 0.0], [0.0, 1.0]], dtype=np.float32)
    >>> print(f"{tinyloss.cross_entropy(x[0], 0):.4e}")
    2.0612e-09
    >>> print(f"{tinyloss.cross_entropy(x, np.array([[1.0, 0.0], [0.5, 0.5]])):.4f}")
    0.4066
    """
    smoothing = _check.in_range("cross_entropy", "label_smoothing", label_smoothing, 0.0, 1.0)
    formula: type[Formula]
    labels: type[Formula]
    if _check.flag("cross_entropy", "from_logits", from_logits):
        formula = _CrossEntropy
        labels = _SmoothedLabelCrossEntropy if smoothing else _LabelCrossEntropy
    else:
        formula, labels = _CrossEntropyOfProbabilities, _LabelCrossEntropyOfProbabilities
        if smoothing:
            labels = _SmoothedLabelCrossEntropyOfProbabilities
    return Request(
        formula,
        x,
        y,
        weight,
        where,
        reduction,
        denominator,
        {"label_smoothing": smoothing} if smoothing else {},
        axis=axis,
        axis_name=axis_name,
        labels=labels,
        class_weight=class_weight,
        ignore_index=_check.integer_or_none("cross_entropy", "ignore_index", ignore_index),
    )


class _NLL(Formula):
    name = "nll"
    rowwise = True

    def __init__(self, x: Any, y: Any) -> None:
        self.x, self.target = x, classes_of(x, y)

    def value(self) -> Any:
        xp = namespace(self.x)
        return -xp.sum(xp.where(self.target, self.x, 0.0), axis=-1)

    def grad_x(self) -> Any:
        return -astype(namespace(self.x), self.target, self.x.dtype)

    def curvature(self) -> Any:
        return namespace(self.x).zeros_like(self.x)

    def boosting_curvature(self, curvature: Any) -> Any:
        return steep(curvature)


@LossFunction
def nll(
    x: Array,
    y: ArrayLike,
    *,
    axis: int = -1,
    axis_name: AxisName | None = None,
    class_weight: ArrayLike | None = None,
    ignore_index: int | None = None,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    denominator: ArrayLike | None = None,
) -> Request:
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
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Shapes: x (..., C), or the classes along `axis`; y (...); an item is a row of classes, (...).

    Domain: all log-probabilities, -inf included; they need not be normalised.

    Formula: -x_y

    Gradient: -1 for the target's entry, 0 for the others; curvature 0, for boosting 1.

    Accuracy: exact.

    Edge cases: a class index out of range is an error where it can be seen
    (`tinyloss.validation`), else NaN for its item.

    Source: Fisher, On the mathematical foundations of theoretical statistics, 1922.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x = np.log(np.array([[0.5, 0.5], [0.25, 0.75]]))
    >>> tinyloss.nll(x, np.array([0, 0]), reduction="sum").round(6).item()
    2.079442
    """
    return Request(
        None,
        x,
        y,
        weight,
        where,
        reduction,
        denominator,
        axis=axis,
        axis_name=axis_name,
        labels=_NLL,
        class_weight=class_weight,
        ignore_index=_check.integer_or_none("nll", "ignore_index", ignore_index),
    )


class _BCE(Formula):
    name = "binary_cross_entropy"
    binary = True

    def __init__(self, x: Any, y: Any, *, eps: float | None) -> None:
        self.xp = xp = namespace(x)
        if eps is None:
            eps = float(xp.finfo(x.dtype).smallest_normal)
        self.p = p = xp.where((x < 0) | (x > 1), xp.nan, x)
        self.y = y
        self.a, self.b = xp.maximum(p, eps), xp.maximum(1 - p, eps)
        self.floored = (p < eps) | (1 - p < eps)
        self.log_a = xp.log(self.a)
        # 1 - p is exact for p >= 1/2 (Sterbenz) and rounds harmlessly above 0.3. The limit is not
        # 1/2, since some libraries' log1p is off by 100 eps on (-0.5, -0.3).
        self.log_b = xp.where(p <= 0.3, xp.log1p(-xp.minimum(p, 0.3)), xp.log(self.b))

    def value(self) -> Any:
        return -self.y * self.log_a - (1 - self.y) * self.log_b

    def grad_x(self) -> Any:
        # (p - y) / (p (1 - p)) has no sum to cancel; for hard targets one factor goes.
        xp, a, b, y = self.xp, self.a, self.b, self.y
        soft = xp.where(self.floored, (1 - y) / b - y / a, (self.p - y) / a / b)
        return xp.where(y == 0, 1 / b, xp.where(y == 1, -1 / a, soft))

    def grad_y(self) -> Any:
        return self.log_b - self.log_a

    def curvature(self) -> Any:
        # Not y / a / a: a compiler may divide by a * a instead, which underflows.
        a, b, y = self.a, self.b, self.y
        return (y / a) * (1 / a) + ((1 - y) / b) * (1 / b)


@LossFunction
def binary_cross_entropy(
    x: Array,
    y: ArrayLike,
    *,
    eps: float | None = None,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    denominator: ArrayLike | None = None,
) -> Request:
    """Cross-entropy of the probability of a yes against yes or no.

    Prefer `binary_cross_entropy_with_logits` where you have the logits.

    Parameters
    ----------
    x
        Probabilities of 1.
    y
        Targets, 0 or 1 (booleans too) or a probability between.
    eps
        The least value of x and of 1 - x, above 0: smaller ones count as this, in value and
        gradient. None is the smallest normal number of the dtype computed in; 1e-7 clips as other
        libraries do.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Shapes: x and y (...), an item is an element.

    Domain: 0 <= x <= 1, NaN outside. A target outside [0, 1] by more than a few eps is an error
    where it can be seen (`tinyloss.validation`), else NaN for its item.

    Formula: -y log a - (1 - y) log b, a = max(x, eps), b = max(1 - x, eps)

    Gradient: (1 - y) / b - y / a by x, log b - log a by y. Below eps it does not vanish, so that
    a wrong certainty can be unlearned. Curvature y / a^2 + (1 - y) / b^2.

    Accuracy: 4 eps; gradient 4 eps.

    Edge cases: finite for every probability; curvature overflows at a wrong certainty.

    Source: Good, Rational decisions, J. R. Statist. Soc. B 14, 1952.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> tinyloss.binary_cross_entropy(np.array([0.9, 0.2]), np.array([1, 0])).round(6).item()
    0.164252
    """
    if eps is not None:
        eps = _check.positive("binary_cross_entropy", "eps", eps)
        _check.in_range("binary_cross_entropy", "eps", eps, 0.0, 0.5)
    return Request(_BCE, x, y, weight, where, reduction, denominator, {"eps": eps})


class _BCEWithLogits(Formula):
    name = "binary_cross_entropy_with_logits"
    binary = True

    def __init__(self, x: Any, y: Any, *, pos_weight: Any = None) -> None:
        self.xp = namespace(x)
        self.x, self.pos_weight = x, pos_weight
        self.s = sigmoids(x)
        self.no = 1 - y
        self.yes = y if pos_weight is None else y * pos_weight

    def _total(self, each: Any) -> Any:
        return each if self.pos_weight is None else (self.no + self.yes) * each

    def value(self) -> Any:
        wrong = self.xp.where(self.x >= 0, self.no, self.yes)
        return product(wrong, self.s.size) + self._total(self.s.log1p)

    def grad_x(self) -> Any:
        return self.no * self.s.plus - self.yes * self.s.minus

    def grad_y(self) -> Any:
        if self.pos_weight is None:
            return -self.x
        return self.pos_weight * softplus(-self.x) - self.s.softplus

    def curvature(self) -> Any:
        return self._total(self.s.plus * self.s.minus)


@LossFunction
def binary_cross_entropy_with_logits(
    x: Array,
    y: ArrayLike,
    *,
    pos_weight: ArrayLike | None = None,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    denominator: ArrayLike | None = None,
) -> Request:
    """Cross-entropy of the logit of a yes against yes or no: the logistic loss.

    Parameters
    ----------
    x
        Logits of 1.
    y
        Targets, 0 or 1 (booleans too) or a probability between.
    pos_weight
        A factor for the loss of a yes: a number, or an array that broadcasts to x (one for each
        label of a multi-label problem).
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Shapes: x and y (...), an item is an element.

    Domain: all logits, infinite ones included. A target outside [0, 1] by more than a few eps is an
    error where it can be seen (`tinyloss.validation`), else NaN for its item.

    Formula: w y log(1 + exp(-x)) + (1 - y) log(1 + exp(x)), w = pos_weight

    Gradient: (1 - y) s(x) - w y s(-x) by x, s(x) = 1 / (1 + exp(-x)); by y -x, with a pos_weight
    w log(1 + exp(-x)) - log(1 + exp(x)); curvature (1 - y + w y) s(x) s(-x).

    Accuracy: 4 eps in both tails; gradient 4 eps for y of 0 and 1, else of its two terms.

    Edge cases: x = inf costs 0 for y = 1 and inf otherwise.

    Source: Cox, The regression analysis of binary sequences, J. R. Statist. Soc. B 20, 1958.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x = np.array([-20.0], dtype=np.float32)
    >>> print(f"{tinyloss.binary_cross_entropy_with_logits(x, np.array([0])):.4e}")
    2.0612e-09
    """
    more = {} if pos_weight is None else {"pos_weight": pos_weight}
    return Request(_BCEWithLogits, x, y, weight, where, reduction, denominator, arrays=more)


_LARGEST_GAMMA = 2.0**63
"""From here on q^gamma is 0 for every q below 1, in float64 too; its square is a float32."""


class _SigmoidFocal(Formula):
    """q = 1 - p_t = y s(-x) + (1 - y) s(x), a sum of positive terms, and c the cross-entropy."""

    name = "sigmoid_focal"
    binary = True

    def __init__(self, x: Any, y: Any, *, alpha: float | None, gamma: float) -> None:
        self.xp = xp = namespace(x)
        self.x, self.y, self.gamma = x, y, min(gamma, _LARGEST_GAMMA)
        bce = _BCEWithLogits(x, y)
        self.c, self.dc, self.ddc = bce.value(), bce.grad_x(), bce.curvature()
        p, n = bce.s.plus, bce.s.minus
        self.q = q = y * n + (1 - y) * p
        # Here q is exp(-|x|), and underflows before its square root does.
        self.tail = ((y == 0) | (y == 1)) & (q < 1e-30)
        self.power = self._power()
        self.lean = -xp.tanh(0.5 * x)  # n - p
        # q' / q, which stays finite as q vanishes
        self.r = (1 - 2 * y) * (self.ddc / xp.where(q == 0, 1.0, q))
        self.share = 1.0 if alpha is None else alpha * y + (1 - alpha) * (1 - y)
        self.share_slope = 0.0 if alpha is None else 2 * alpha - 1

    def _power(self) -> Any:
        """Return q^gamma."""
        xp, gamma, q = self.xp, self.gamma, self.q
        if not 0 < gamma < 1:
            return q**gamma
        # (exp(-|x| / k))^(gamma k): k a power of 2, so that |x| / k is exact, and gamma k is from
        # 1 to 2, so that the outer power adds to no error.
        k = 2.0 ** ceil(-log2(gamma))
        root = xp.exp(xp.abs(self.x) * (-1 / k))
        return xp.where(self.tail, root ** (gamma * k), xp.where(self.tail, 1.0, q) ** gamma)

    def value(self) -> Any:
        return self.share * product(self.power, self.c)

    def grad_x(self) -> Any:
        inner = self.gamma * product(self.r, self.c) + self.dc
        return self.share * self.power * inner

    def grad_y(self) -> Any:
        slope = -self.share * product(self.power, self.x)
        if self.share_slope:
            slope = slope + self.share_slope * product(self.power, self.c)
        if self.gamma:
            # c / q -> 1 as q -> 0
            of_q = self.xp.where(self.q == 0, 1.0, self.q)
            c_q = self.xp.where(self.tail, 1.0, self.c / of_q)
            slope = slope + self.share * product(self.gamma * self.power * self.lean, c_q)
        return slope

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


@LossFunction
def sigmoid_focal(
    x: Array,
    y: ArrayLike,
    *,
    alpha: float | None = None,
    gamma: float = 2.0,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    denominator: ArrayLike | None = None,
) -> Request:
    """Binary focal loss of logits: cross-entropy that makes little of easy examples.

    Parameters
    ----------
    x
        Logits of 1.
    y
        Targets, 0 or 1 (booleans too) or a probability between.
    alpha
        The weight of a yes, from 0 to 1; a no gets 1 - alpha. None weighs both 1.
    gamma
        How little an easy example counts, at least 0; 0 is cross-entropy.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Shapes: x and y (...), an item is an element.

    Domain: all logits, infinite ones included. Targets as for `binary_cross_entropy_with_logits`.

    Formula: a q^gamma c, where c is the cross-entropy of x and y, q = y s(-x) + (1 - y) s(x) the
    probability of the wrong answer, s(x) = 1 / (1 + exp(-x)), a = alpha y + (1 - alpha) (1 - y).

    Gradient: a q^gamma (gamma c q'/q + c') by x, with q' = (1 - 2 y) s(x) s(-x) and
    c' = (1 - y) s(x) - y s(-x); by y alike. Curvature its derivative, negative for some x; for
    boosting at least a q^gamma s(x) s(-x), that of a cross-entropy with this weight.

    Accuracy: 8 eps for gamma = 2, in general 2 gamma + 4; gradient the same for y of 0 and 1.

    Edge cases: x = inf costs 0 for y = 1 and inf for y = 0.

    Source: Lin et al., Focal loss for dense object detection, ICCV 2017.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x = np.array([20.0], dtype=np.float32)
    >>> print(f"{tinyloss.sigmoid_focal(x, np.array([1])):.4e}")
    8.7565e-27
    """
    params = {
        "alpha": None if alpha is None else _check.in_range("sigmoid_focal", "alpha", alpha, 0, 1),
        "gamma": _check.in_range("sigmoid_focal", "gamma", gamma, 0.0),
    }
    return Request(_SigmoidFocal, x, y, weight, where, reduction, denominator, params)


class _FocalOfLoss:
    """f(c) = (1 - exp(-c))^gamma c and its slopes, given c, p = exp(-c) and q = 1 - p."""

    def __init__(self, c: Any, p: Any, q: Any, gamma: float) -> None:
        xp, gamma = namespace(c), min(gamma, _LARGEST_GAMMA)
        self.power = q**gamma
        # c / q -> 1 as c -> 0; p c -> 0 as c -> inf
        of_c = xp.where(p == 0, 0.0, c) / xp.where(q == 0, 1.0, q)
        pc_q = p * xp.where(q == 0, 1.0, of_c)
        self.value = product(self.power, c)
        self.slope = self.power * (1 + gamma * pc_q)
        self.bend_times_q = self.power * (gamma * product(p, 2 - c + (gamma - 1) * pc_q))


class _LabelSoftmaxFocal(Formula):
    name = "softmax_focal"
    rowwise = True
    compares_classes = True

    def __init__(self, x: Any, y: Any, *, gamma: float) -> None:
        self.ce = ce = _LabelCrossEntropy(x, y)
        q = ce.o * ce.inverse_z
        p = exp_difference(ce.xt, ce.m) * ce.inverse_z
        self.f = _FocalOfLoss(ce.value()[..., None], p, q, gamma)

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
        return self.ce.xp.maximum(curvature, self.f.power * self.ce.curvature())


class _SoftmaxFocal(Formula):
    name = "softmax_focal"
    rowwise = True
    compares_classes = True
    weighs_classes = True

    def __init__(self, x: Any, y: Any, *, gamma: float, class_weight: Any = None) -> None:
        self.xp = xp = namespace(x)
        self.s, self.impossible = softmax_parts(x), x == -xp.inf
        s = self.s
        self.y = y if class_weight is None else y * class_weight
        self.p, self.q = s.e / s.z, others(s.e, s.top, 1, s.rest) / s.z
        self.class_weight = class_weight
        self.f = _FocalOfLoss(s.below + s.log_z, self.p, self.q, gamma)

    def value(self) -> Any:
        return self.xp.sum(product(self.y, self.f.value), axis=-1)

    def grad_x(self) -> Any:
        return _pull(self.s, self.y * self.f.slope)

    def grad_y(self) -> Any:
        absent = self.impossible & (self.y == 0)
        slope = self.xp.where(absent, 0.0, self.f.value)
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
        powers = self.xp.sum(self.y * self.f.power, axis=-1, keepdims=True)
        return self.xp.maximum(curvature, self.p * self.q * powers)


@LossFunction
def softmax_focal(
    x: Array,
    y: ArrayLike,
    *,
    gamma: float = 2.0,
    axis: int = -1,
    axis_name: AxisName | None = None,
    class_weight: ArrayLike | None = None,
    ignore_index: int | None = None,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    denominator: ArrayLike | None = None,
) -> Request:
    """Focal loss of logits over many classes: cross-entropy that makes little of easy examples.

    Parameters
    ----------
    x
        Logits.
    y
        Class indices, with one dimension fewer than x, of any integer dtype; or probabilities,
        one-hot or soft, of x's shape and any real dtype.
    gamma
        How little an easy example counts, at least 0; 0 is cross-entropy.
    axis
        The axis of the classes.
    axis_name
        The mapped axis whose members hold a part of the classes each, in order (JAX alone).
    class_weight
        A weight for each class, of shape (C,): the alpha of the paper.
    ignore_index
        Items with this class index are left out. It need not be a class.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Shapes: x (..., C), or the classes along `axis`; y (...) or x's; an item is a row of classes,
    (...).

    Domain: as for `cross_entropy`.

    Formula: sum_c w_c y_c f(-log p_c), f(c) = (1 - exp(-c))^gamma c, p the softmax of x, w
    class_weight

    Gradient: p_c sum_k g_k - g_c by x, g_c = w_c y_c f'(-log p_c); w_c f(-log p_c) by
    probabilities y. Curvature its derivative, negative for some x; for boosting at least
    p_c (1 - p_c) sum_k w_k y_k (1 - p_k)^gamma, that of a cross-entropy with these weights.

    Accuracy: 12 eps for gamma = 2, in general 4 gamma + 4; gradient the same for class indices and
    one-hot rows.

    Edge cases: as for `cross_entropy`.

    Source: Lin et al., Focal loss for dense object detection, ICCV 2017.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x = np.array([[2.0, 0.0, 0.0]])
    >>> tinyloss.softmax_focal(x, np.array([0])).round(6).item()
    0.010869
    """
    return Request(
        _SoftmaxFocal,
        x,
        y,
        weight,
        where,
        reduction,
        denominator,
        {"gamma": _check.in_range("softmax_focal", "gamma", gamma, 0.0)},
        axis=axis,
        axis_name=axis_name,
        labels=_LabelSoftmaxFocal,
        class_weight=class_weight,
        ignore_index=_check.integer_or_none("softmax_focal", "ignore_index", ignore_index),
    )


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

    def boosting_curvature(self, curvature: Any) -> Any:
        return steep(curvature)

    def _where_short(self, slope: Any) -> Any:
        # Neither above nor up to 0 is NaN, which must show.
        short = self.short
        return self.xp.where(short > 0, slope, self.xp.where(short <= 0, 0.0, short))


@LossFunction
def hinge(
    x: Array,
    y: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    denominator: ArrayLike | None = None,
) -> Request:
    """Hinge loss of a score: the loss of the support vector machine.

    Parameters
    ----------
    x
        Scores.
    y
        Targets, -1 or 1; of booleans False stands for -1.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Shapes: x and y (...), an item is an element.

    Domain: all scores. Integer targets other than -1 and 1 are an error where they can be seen
    (`tinyloss.validation`), else NaN for their item. 2 y - 1 makes -1 and 1 of 0 and 1.

    Formula: max(0, 1 - y x)

    Gradient: -y by x and -x by y where y x < 1, else 0, the kink y x = 1 included; curvature 0, for
    boosting 1.

    Accuracy: 2 eps of its terms; gradient exact.

    Edge cases: infinite scores on the right side cost 0.

    Source: Cortes and Vapnik, Support-vector networks, Machine Learning 20, 1995.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> tinyloss.hinge(np.array([0.5, 2.0]), np.array([1, -1])).item()
    1.75
    """
    return Request(_Hinge, x, y, weight, where, reduction, denominator)


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

    def boosting_curvature(self, curvature: Any) -> Any:
        return steep(curvature)


@LossFunction
def squared_hinge(
    x: Array,
    y: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    denominator: ArrayLike | None = None,
) -> Request:
    """Squared hinge loss of a score: a hinge without a kink.

    Parameters
    ----------
    x
        Scores.
    y
        Targets, -1 or 1; of booleans False stands for -1.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Shapes: x and y (...), an item is an element.

    Domain: all scores. Integer targets other than -1 and 1 are an error where they can be seen
    (`tinyloss.validation`), else NaN for their item. 2 y - 1 makes -1 and 1 of 0 and 1.

    Formula: max(0, 1 - y x)^2

    Gradient: -2 y max(0, 1 - y x) by x, -2 x max(0, 1 - y x) by y; curvature 2 y^2 where y x < 1,
    else 0, for boosting 1.

    Accuracy: 4 eps of its terms; gradient 2 eps of its terms.

    Edge cases: infinite scores on the right side cost 0.

    Source: Lee and Mangasarian, SSVM: a smooth support vector machine, Comput. Optim. Appl. 20,
    2001.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> tinyloss.squared_hinge(np.array([0.5, 2.0]), np.array([1, -1])).item()
    4.625
    """
    return Request(_SquaredHinge, x, y, weight, where, reduction, denominator)


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


@LossFunction
def soft_margin(
    x: Array,
    y: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    denominator: ArrayLike | None = None,
) -> Request:
    """Logistic loss of a margin: binary cross-entropy for targets of -1 and 1.

    Parameters
    ----------
    x
        Scores.
    y
        Targets, -1 or 1; of booleans False stands for -1.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Shapes: x and y (...), an item is an element.

    Domain: all scores. Integer targets other than -1 and 1 are an error where they can be seen
    (`tinyloss.validation`), else NaN for their item. 2 y - 1 makes -1 and 1 of 0 and 1.

    Formula: log(1 + exp(-y x))

    Gradient: -y s(-y x) by x, -x s(-y x) by y, s(x) = 1 / (1 + exp(-x)); curvature
    y^2 s(y x) s(-y x).

    Accuracy: 4 eps in both tails; gradient 4 eps.

    Edge cases: never overflows before its exact result does.

    Source: Friedman, Hastie and Tibshirani, Additive logistic regression, Ann. Statist. 28, 2000.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> tinyloss.soft_margin(np.array([-100.0]), np.array([1])).item()
    100.0
    """
    return Request(_SoftMargin, x, y, weight, where, reduction, denominator)
