"""Divergences between distributions over classes. An item is a row.

Of `relative_entropy`, the terms of one, `generalized_kl`, between amounts, and `gaussian_kl` an
item is an element.
"""

from dataclasses import replace
from math import exp, inf, log, sqrt
from typing import Any, Unpack

from tinyloss._arrays import namespace
from tinyloss._differences import exact_difference
from tinyloss._engine.request import Request
from tinyloss._formula import Formula
from tinyloss._function import LossFunction
from tinyloss._traits import Traits
from tinyloss.losses._numerics import (
    expm1_minus,
    log_ratio,
    of_error,
    others,
    product,
    softmax_parts,
    steep,
    xlogy,
)
from tinyloss.losses.multiclass import SharesCrossEntropy, shape_of
from tinyloss.typing import Array, ArrayLike, Flag, Options, Positive, RowOptions

__all__ = [
    "gaussian_kl",
    "generalized_kl",
    "js_div",
    "kl_div",
    "kl_div_with_logits",
    "relative_entropy",
]


class _RelativeEntropy(Formula):
    """A log-probability x against a probability y."""

    name = "relative_entropy"

    def __init__(self, x: Any, y: Any) -> None:
        self.xp = xp = namespace(x)
        self.x, self.p = x, y
        self.gap = xp.log(xp.where(y == 0, 1.0, y)) - x

    def value(self) -> Any:
        return product(self.p, self.gap)

    def grad_x(self) -> Any:
        return -self.p

    def grad_y(self) -> Any:
        return self.xp.where(self.p == 0, 0.0, self.gap + 1)

    def curvature(self) -> Any:
        return self.xp.zeros_like(self.x)

    boosting_curvature = steep

    @classmethod
    def traits(cls) -> Traits:
        # p (log p - x) is least where x is 0 and p is 1 / e
        return Traits(
            convex=True,
            strong_convexity=0.0,
            lipschitz=1.0,
            smoothness=0.0,
            range=(-exp(-1), inf),
            symmetric=False,
            kinks=(),
        )


class _RelativeEntropyOfLogTarget(_RelativeEntropy):
    """A log-probability x against a log-probability y."""

    def __init__(self, x: Any, y: Any) -> None:
        self.xp = namespace(x)
        self.x, self.p = x, self.xp.exp(y)
        self.gap = y - x

    def grad_y(self) -> Any:
        return product(self.p, self.gap + 1)


class _KL(_RelativeEntropy):
    """Log-probabilities x against probabilities y."""

    name = "kl_div"
    rowwise = True

    def value(self) -> Any:
        return self.xp.sum(super().value(), axis=-1)

    @classmethod
    def traits(cls) -> Traits:
        return replace(SharesCrossEntropy.traits(), lipschitz=1.0, smoothness=0.0)


class _KLOfLogTarget(_KL, _RelativeEntropyOfLogTarget):
    """Log-probabilities x against log-probabilities y."""


@LossFunction
def kl_div(
    x: Array, y: ArrayLike, *, log_target: Flag = False, **options: Unpack[RowOptions]
) -> Request:
    """Kullback-Leibler divergence of predicted log-probabilities from a target distribution.

    Prefer `kl_div_with_logits` where you have the logits: the difference of two close
    distributions is lost in rounded log-probabilities.

    Parameters
    ----------
    x
        Predicted log-probabilities.
    y
        Target probabilities, or their logarithms with log_target=True.
    axis
        The axis of the classes.
    axis_name
        The mapped axis whose members hold a part of the classes each, in order (JAX alone).
    log_target
        Whether y holds log-probabilities.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: a distribution that is to come near a known one, from log-probabilities.

    Shapes: x and y (..., C), or the classes along `axis`; an item is a row of classes, (...). The
    mean is over rows: torch's "batchmean".

    Domain: y >= 0, or all y with log_target=True; neither side need be normalised.

    Formula: sum_c p_c (log p_c - x_c), p = y or exp(y)

    Gradient: -p by x; by y log y - x + 1, and 0 where y is 0, or p (y - x + 1) with
    log_target=True; curvature 0, for boosting 1.

    Accuracy: value 4 eps; gradient 2 eps by x, 4 eps by y; curvature exact. The value has these 4
    eps of sum_c p_c (|log p_c| + |x_c|), the gradient by y of the sum of its terms' sizes.

    Edge cases: p_c = 0 drops its term, also for x_c = -inf; p_c > 0 with x_c = -inf gives inf.

    Source: Kullback and Leibler, On information and sufficiency, Ann. Math. Statist. 22, 1951.

    Elsewhere: torch `kl_div` with "batchmean"; optax `kl_divergence`; Keras `KLDivergence`, of
    probabilities.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x = np.log(np.array([[0.5, 0.5]]))
    >>> tinyloss.kl_div(x, np.array([[0.25, 0.75]])).round(6).item()
    0.130812
    """
    return Request(_KLOfLogTarget if log_target else _KL, x, y, **options)


@LossFunction
def relative_entropy(
    x: Array, y: ArrayLike, *, log_target: Flag = False, **options: Unpack[Options]
) -> Request:
    """Terms of the Kullback-Leibler divergence: what each class adds to that of its row.

    Parameters
    ----------
    x
        Predicted log-probabilities.
    y
        Target probabilities, or their logarithms with log_target=True.
    log_target
        Whether y holds log-probabilities.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: a divergence whose classes have weights or masks of their own, item by item.

    Shapes: x and y (...), an item is an element. Those of a row add up to its `kl_div`.

    Domain: y >= 0, or all y with log_target=True.

    Formula: p (log p - x), p = y or exp(y)

    Gradient: -p by x; by y log y - x + 1, and 0 where y is 0, or p (y - x + 1) with
    log_target=True; curvature 0, for boosting 1.

    Accuracy: value 4 eps; gradient 2 eps by x, 4 eps by y; curvature exact. The value has these 4
    eps of p (|log p| + |x|), the gradient by y of the sum of its terms' sizes.

    Edge cases: p = 0 costs 0, also for x = -inf; p > 0 with x = -inf gives inf. A term may be
    below 0.

    Source: Kullback and Leibler, On information and sufficiency, Ann. Math. Statist. 22, 1951.

    Elsewhere: torch `kl_div` with "none" or "mean"; SciPy `rel_entr`, of probabilities.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x, y = np.log(np.array([0.5, 0.5])), np.array([0.25, 0.75])
    >>> tinyloss.relative_entropy(x, y, reduction="none").round(6).tolist()
    [-0.173287, 0.304099]
    """
    formula = _RelativeEntropyOfLogTarget if log_target else _RelativeEntropy
    return Request(formula, x, y, **options)


class _KLWithLogits(Formula):
    """p = softmax(y), q = softmax(x), D = log q - log p.

    Since sum_c p_c expm1(D_c) = sum q - sum p = 0, the divergence -sum_c p_c D_c is also
    sum_c p_c (expm1(D_c) - D_c): no term is negative, nothing cancels, and an error common to all
    D has no effect in first order.

    D_c = d_c - log sum_k p_k exp(d_k), d_c = (x_c - x_r) - (y_c - y_r), with the reference r a
    class that y makes likeliest: for close logits everything is small from the start.
    """

    name = "kl_div_with_logits"
    rowwise = True
    compares_classes = True

    def __init__(self, x: Any, y: Any, *, temperature: Any = None) -> None:
        self.xp = xp = namespace(x)
        t = 1.0 if temperature is None else temperature
        prediction, target = [
            softmax_parts(each if temperature is None else _cooled(each, t)) for each in (x, y)
        ]
        self.prediction = prediction
        self.p = p = target.e / target.z
        self.q = prediction.e / prediction.z

        y_r = xp.max(y, axis=-1, keepdims=True)
        x_r = xp.max(xp.where(target.top, x, -xp.inf), axis=-1, keepdims=True)
        x_max = xp.max(x, axis=-1, keepdims=True)
        x_r = xp.where(x_r == -xp.inf, x_max, x_r)  # any reference is right, only less close
        (dx, rx), (dy, ry) = exact_difference(x, x_r), exact_difference(y, y_r)
        d = xp.where(y == -xp.inf, 0.0, (dx - dy) + (rx - ry))
        if temperature is not None:
            d, dx, rx = d / t, dx / t, rx / t
        # log sum_k p_k exp(d_k) is log1p of a small sum for close logits; else the logarithm of
        # the ratio of the two normalisers.
        small = xp.abs(d) < 1
        # What is far from 0 need not be known, only be finite, in its derivatives as well.
        grown = xp.exp(xp.minimum(dx, 60.0))
        grown = grown + grown * xp.where(dx < 60.0, rx, 0.0)
        shift = xp.sum(
            xp.where(
                small,
                p * xp.expm1(xp.where(small, d, 0.0)),
                (grown - target.e) / target.z,
            ),
            axis=-1,
            keepdims=True,
        )
        # A class that y excludes adds what x gives it.
        excluded = xp.where(y == -xp.inf, grown / target.z, 0.0)
        shift = shift + xp.sum(excluded, axis=-1, keepdims=True)
        self.close = close = (shift > -0.3) & (shift < 0.5)
        # Far apart, x_r may be so far below the largest logit that d has lost the target's digits.
        far = (target.below - prediction.below) + (target.log_z - prediction.log_z)
        near_d = d - xp.log1p(xp.where(close, shift, 0.0))
        self.d = d = xp.where(close, near_d, xp.where(y == -xp.inf, 0.0, far))
        self.direct = (p == 0) | (d > 2)
        self.bounded = xp.where(self.direct, 0.0, d)
        self.impossible = (x == -xp.inf) & (y > -xp.inf)

    def value(self) -> Any:
        return self._divergence()

    def _divergence(self) -> Any:
        xp, p, q = self.xp, self.p, self.q
        terms = xp.where(self.direct, (q - p) - product(p, self.d), p * expm1_minus(self.bounded))
        infinite = xp.where(q == q, xp.inf, q)  # NaN where x has no possible class
        return xp.sum(xp.where(self.impossible, infinite, terms), axis=-1)

    def grad_x(self) -> Any:
        # Where the normalisers are far apart, D carries |D| eps, which q - p does not.
        xp, p, d = self.xp, self.p, self.d
        near = self.close & (xp.abs(d) < 0.5) & (p > 0)
        return xp.where(near, p * xp.expm1(xp.where(near, d, 0.0)), self.q - p)

    def grad_y(self) -> Any:
        slope = product(self.p, -self.d - self._divergence()[..., None])
        infinite = self.impossible | ((self.p > 0) & (self.d == -self.xp.inf))
        return self.xp.where(infinite, self.xp.inf, slope)

    def curvature(self) -> Any:
        s = self.prediction
        return self.q * (others(s.e, s.top, 1, s.rest) / s.z)

    @classmethod
    def traits(cls, *, temperature: float = 1.0) -> Traits:
        best = f"{temperature} log(mean softmax(y / {temperature}))"
        return replace(
            SharesCrossEntropy.traits(),
            lipschitz=sqrt(2) * temperature,
            elicits="log(mean softmax(y))" if temperature == 1 else best,
            proper=None,
            calibrated=None,
        )


def _cooled(x: Any, temperature: Any) -> Any:
    """Return logits divided by a temperature, less the largest: rounded by less than that."""
    return (x - namespace(x).max(x, axis=-1, keepdims=True)) / temperature


class _TemperedKLWithLogits(_KLWithLogits):
    def __init__(self, x: Any, y: Any, *, temperature: Any) -> None:
        super().__init__(x, y, temperature=temperature)
        self.temperature = temperature

    def value(self) -> Any:
        return self.temperature * (self.temperature * super().value())

    def grad_x(self) -> Any:
        return self.temperature * super().grad_x()

    def grad_y(self) -> Any:
        return self.temperature * super().grad_y()


@LossFunction
def kl_div_with_logits(
    x: Array, y: ArrayLike, *, temperature: Positive = 1.0, **options: Unpack[RowOptions]
) -> Request:
    """Kullback-Leibler divergence between the distributions of two rows of logits.

    The loss of distillation and of trust regions: accurate also where the two are close.

    Parameters
    ----------
    x
        Predicted logits.
    y
        Target logits.
    axis
        The axis of the classes.
    axis_name
        The mapped axis whose members hold a part of the classes each, in order (JAX alone).
    temperature
        What the logits of both sides are divided by, above 0. The loss is multiplied by its square,
        as Hinton says: so the gradient stays of one size, whatever the temperature is.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: distillation: a small model that is to say what a large one says, from logits of both.

    Shapes: x and y (..., C), or the classes along `axis`; an item is a row of classes, (...).

    Domain: finite logits, and -inf for a class that is impossible.

    Formula: t^2 sum_c p_c (log p_c - log q_c), p = softmax(y / t), q = softmax(x / t),
    t = temperature

    Gradient: t (q - p) by x, t p_c (log p_c - log q_c - the divergence) by y; curvature q (1 - q).

    Accuracy: value 8 eps; gradient 4 eps by x, 16 eps by y; curvature 8 eps. The gradient has these
    eps of p + q by x, of the sum of its terms' sizes by y. A temperature rounds the logits: with
    it, all have their eps times 1 + the largest distance from the largest logit, divided by it.

    Edge cases: a class impossible in y adds nothing; one impossible in x alone gives inf. Logits of
    +inf or all -inf give NaN; those further apart than the largest number count as infinitely far.

    Source: Hinton, Vinyals and Dean, Distilling the knowledge in a neural network, 2015.

    Elsewhere: torch `kl_div` of both sides' `log_softmax`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> y = np.array([[1.0, 2.0, 3.0]], dtype=np.float32)
    >>> print(f"{tinyloss.kl_div_with_logits(y + np.float32([0, 2**-10, 0]), y):.4e}")
    8.8152e-08
    """
    params = shape_of(temperature=temperature)
    return Request(_TemperedKLWithLogits if params else _KLWithLogits, x, y, params, **options)


_OF_NUMBERS = Traits(
    convex=True,
    strong_convexity=0.0,
    lipschitz=inf,
    smoothness=inf,
    range=(0.0, inf),
    kinks=(),
    elicits="mean",
)
"""Those of a divergence of single numbers."""


class _GeneralizedKL(Formula):
    """With u = log(y / x) it is y (exp(-u) - 1 + u), without cancellation around u = 0."""

    name = "generalized_kl"

    def __init__(self, x: Any, y: Any) -> None:
        self.xp = xp = namespace(x)
        self.x, self.y = x, y = xp.where(x < 0, xp.nan, x), xp.where(y < 0, xp.nan, y)
        self.none = (y == 0) & (x >= 0)
        self.ratio, self.more, self.u = log_ratio(x, xp.where(self.none, 1.0, y))

    def value(self) -> Any:
        xp, y, u = self.xp, self.y, self.u
        near = ~self.none & (xp.abs(u) < 0.5)
        # y (u - 1) overflows only where the loss does
        far = product(y, xp.where(near, 0.0, u) - 1) + self.x
        return xp.where(near, y * expm1_minus(-xp.where(near, u, 0.0)), far)

    def grad_x(self) -> Any:
        return self.xp.where(self.none, 1.0, -self.more)

    def grad_y(self) -> Any:
        return self.xp.where(self.none, 0.0, self.u)

    def curvature(self) -> Any:
        # Not divided twice: a compiler may divide by the square instead, which underflows.
        return self.xp.where(self.none, 0.0, self.ratio * (1 / self.x))

    boosting_curvature = steep

    @classmethod
    def traits(cls) -> Traits:
        return replace(_OF_NUMBERS, symmetric=False)


@LossFunction
def generalized_kl(x: Array, y: ArrayLike, **options: Unpack[Options]) -> Request:
    """Kullback-Leibler divergence of numbers that add up to nothing in particular.

    Each element has one, never below 0 and 0 where x = y. Over rows that add up to 1 on both sides
    its sum is `kl_div`.

    Parameters
    ----------
    x
        Predicted amounts, such as rates, intensities or probabilities.
    y
        Targets, amounts too.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: amounts that are compared one by one, as a factorization of nonnegative numbers does.

    Shapes: x and y (...), an item is an element.

    Domain: x >= 0 and y >= 0, NaN below.

    Formula: y log(y / x) - y + x

    Gradient: 1 - y / x by x; log(y / x) by y, 0 where y is 0; curvature y / x^2, for boosting 1
    where that is 0.

    Accuracy: value 8 eps; gradient 2 eps by x, 4 eps by y; curvature 3 eps. Close numbers keep
    their digits.

    Edge cases: x where y is 0; inf where x alone is 0, and its gradient by x is -inf.

    Source: Lee and Seung, Algorithms for non-negative matrix factorization, NIPS 2000; Csiszar, Why
    least squares and maximum entropy?, Ann. Statist. 19, 1991.

    Elsewhere: optax `generalized_kl_divergence` of log x and summed over the last axis; SciPy
    `scipy.special.kl_div` with x and y exchanged.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x, y = np.array([1.0, 2.0, 3.0]), np.array([1.0, 4.0, 0.0])
    >>> tinyloss.generalized_kl(x, y, reduction="none").round(6).tolist()
    [0.0, 0.772589, 3.0]
    """
    return Request(_GeneralizedKL, x, y, **options)


class _GaussianKL(Formula):
    """By the difference of the log-variances and the error in target's standard deviations.

    Neither of its two terms is negative.
    """

    name = "gaussian_kl"

    def __init__(self, x: Any, y: Any, log_var: Any, y_log_var: Any) -> None:
        self.xp = xp = namespace(x)
        u = log_var - y_log_var
        # exp(u) / 2 may be a number where exp(u) is none; beside it 1 and u are nothing then.
        self.far, self.near = u > 80, xp.minimum(u, 80.0)
        grown = xp.exp(0.5 * xp.maximum(u, 80.0))
        self.grown = 0.5 * grown * grown
        # The root of the precision: the precision may overflow where its product does not.
        self.root = xp.exp(-0.5 * y_log_var) + xp.zeros_like(x)
        self.r = of_error(x - y, self.root)

    def value(self) -> Any:
        near = 0.5 * expm1_minus(self.near)
        return self.xp.where(self.far, self.grown, near) + 0.5 * self.r * self.r

    def grad_x(self) -> Any:
        return of_error(self.r, self.root)

    def grad_y(self) -> Any:
        return -self.grad_x()

    def grad_log_var(self) -> Any:
        near = 0.5 * self.xp.expm1(self.near)
        return self.xp.where(self.far, self.grown, near) + self.xp.zeros_like(self.r)

    def grad_y_log_var(self) -> Any:
        return -(self.grad_log_var() + 0.5 * self.r * self.r)

    def curvature(self) -> Any:
        return self.root * self.root

    @classmethod
    def traits(cls, **_: Any) -> Traits:
        return replace(_OF_NUMBERS, symmetric=True, variable="x - y")


@LossFunction
def gaussian_kl(
    x: Array,
    y: ArrayLike | None = None,
    log_var: ArrayLike | None = None,
    y_log_var: ArrayLike | None = None,
    **options: Unpack[Options],
) -> Request:
    """Kullback-Leibler divergence of a Gaussian from another, by means and log-variances.

    The target is the standard normal distribution by default, as a variational autoencoder has it:
    `gaussian_kl(mean, log_var=log_var)`. With the number of examples as `denominator` the latent
    numbers of each are added up.

    Parameters
    ----------
    x, y
        Predicted mean and that of the target. Without y it is 0.
    log_var
        Logarithm of the predicted variance: of x's shape, or broadcasting to it. None: 0.
    y_log_var
        Logarithm of the target's variance, likewise. None: 0.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: the latent numbers of a variational autoencoder, kept near the standard normal.

    Shapes: x and y (...), log_var and y_log_var (...) or broadcasting to it; an item is an element.

    Domain: all real numbers.

    Formula: (exp(u) - 1 - u + (x - y)^2 exp(-y_log_var)) / 2, u = log_var - y_log_var

    Gradient: (x - y) exp(-y_log_var) by x, its opposite by y; (exp(u) - 1) / 2 by log_var and
    -(exp(u) - 1 + (x - y)^2 exp(-y_log_var)) / 2 by y_log_var, each of x's shape; curvature
    exp(-y_log_var).

    Accuracy: value 6 eps; gradient 4 eps; curvature 3 eps. The gradient by y_log_var has these 4
    eps of the sum of its terms' sizes. Where both log-variances are given, value and gradients by
    them have their eps times 1 + |u|: that is what rounding u does to exp(u).

    Edge cases: 0 where the two are the same. Close ones keep their digits.

    Source: Kingma and Welling, Auto-encoding variational Bayes, ICLR 2014; Kullback and Leibler, On
    information and sufficiency, Ann. Math. Statist. 22, 1951.

    Elsewhere: none.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> mean, log_var = np.array([0.0, 1.0]), np.array([0.0, np.log(2.0)])
    >>> tinyloss.gaussian_kl(mean, log_var=log_var, reduction="none").round(6).tolist()
    [0.0, 0.653426]
    """
    if y is None and x is not None:
        y = namespace(x).zeros_like(x)
    arrays = {
        name: 0.0 if each is None else each
        for name, each in (("log_var", log_var), ("y_log_var", y_log_var))
    }
    return Request(_GaussianKL, x, y, arrays=arrays, **options)


class _JS(Formula):
    """A class adds s/4 ((1 - t) log(1 - t) + (1 + t) log(1 + t)), s = x + y, t = |x - y| / s.

    No class adds less than 0, so that nothing cancels between them; within one, small t uses
    2 t atanh(t) + log(1 - t^2).
    """

    name = "js_div"
    rowwise = True

    def __init__(self, x: Any, y: Any) -> None:
        self.xp = xp = namespace(x)
        s = xp.where((x < 0) | (y < 0), xp.nan, x + y)
        self.x, self.y, self.s = x, y, s
        self.divisor = xp.where(s == 0, 1.0, s)

    def value(self) -> Any:
        xp, x, y, divisor = self.xp, self.x, self.y, self.divisor
        t = xp.abs(x - y) / divisor
        near = t < 0.5
        small = xp.where(near, t, 0.0)
        double_atanh = xp.log1p(2 * small / (1 - small))
        less, more = 2 * xp.minimum(x, y) / divisor, 2 * xp.maximum(x, y) / divisor
        gap = xp.where(
            near,
            small * double_atanh + xp.log1p(-small * small),
            xlogy(less, less) + xlogy(more, more),
        )
        return xp.sum(0.25 * self.s * gap, axis=-1)

    def grad_x(self) -> Any:
        return self._slope(self.x, self.y)

    def grad_y(self) -> Any:
        return self._slope(self.y, self.x)

    def curvature(self) -> Any:
        x = self.xp.where(self.s == 0, 1.0, self.x)
        return 0.5 * (self.y / x) / self.divisor

    boosting_curvature = steep

    def _slope(self, x: Any, y: Any) -> Any:
        """Return log(2 x / (x + y)) / 2, by log1p around x = y."""
        xp = self.xp
        tilt = (x - y) / self.divisor
        near = tilt > -0.3
        ratio = xp.where(near, 1.0, 2 * x / self.divisor)
        return 0.5 * xp.where(near, xp.log1p(xp.where(near, tilt, 0.0)), xp.log(ratio))

    @classmethod
    def traits(cls) -> Traits:
        return replace(
            SharesCrossEntropy.traits(),
            lipschitz=inf,
            smoothness=inf,
            range=(0.0, log(2)),
            elicits=None,
            proper=False,
        )


@LossFunction
def js_div(x: Array, y: ArrayLike, **options: Unpack[RowOptions]) -> Request:
    """Jensen-Shannon divergence of two distributions, in nats: symmetric, at most log 2.

    Parameters
    ----------
    x, y
        Probabilities.
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
    Use for: the distance of two distributions that are on a par, symmetric and finite.

    Shapes: x and y (..., C), or the classes along `axis`; an item is a row of classes, (...).

    Domain: x >= 0 and y >= 0, NaN below; neither side need be normalised.

    Formula: sum_c (x_c log(x_c / m_c) + y_c log(y_c / m_c)) / 2, m = (x + y) / 2

    Gradient: log(2 x / (x + y)) / 2 by x, -inf where x alone is 0 and 0 where both are; by y alike.
    Curvature y / (2 x (x + y)), for boosting 1 where y is 0.

    Accuracy: value 8 eps; gradient 4 eps; curvature 4 eps, for close distributions, too.

    Edge cases: a class of probability 0 on both sides adds nothing. The square root is the
    Jensen-Shannon distance.

    Source: Lin, Divergence measures based on the Shannon entropy, IEEE Trans. Inf. Theory 37, 1991.

    Elsewhere: SciPy `scipy.spatial.distance.jensenshannon`, its square root.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> tinyloss.js_div(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])).round(6).item()
    0.693147
    """
    return Request(_JS, x, y, **options)
