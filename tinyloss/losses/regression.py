"""Losses for real-valued targets. An item is an element: x and y have one shape."""

from dataclasses import replace
from math import exp, inf, log, log1p, pi
from typing import Any, Unpack

from tinyloss._arrays import namespace
from tinyloss._check import is_number
from tinyloss._engine.request import Request
from tinyloss._formula import Formula
from tinyloss._function import LossFunction
from tinyloss._traits import Traits, numbers_of
from tinyloss.losses._numerics import (
    expm1_minus,
    log_ratio,
    magnitude,
    of_error,
    positive_part,
    product,
    sign,
    steep,
)
from tinyloss.typing import (
    Array,
    ArrayLike,
    AtLeast1,
    AtMost2,
    Flag,
    NonNegative,
    Options,
    Positive,
    Share,
    Shares,
)

__all__ = [
    "barron",
    "epsilon_insensitive",
    "expectile",
    "gamma_deviance",
    "gaussian_nll",
    "huber",
    "log_cosh",
    "mae",
    "mape",
    "mse",
    "msle",
    "poisson_nll",
    "quantile",
    "smape",
    "smooth_l1",
    "squared_epsilon_insensitive",
    "tweedie_deviance",
    "wing",
]

_OF_ERROR = Traits(
    convex=True,
    strong_convexity=0.0,
    lipschitz=inf,
    smoothness=inf,
    range=(0.0, inf),
    symmetric=True,
    variable="x - y",
    kinks=(),
)
"""Those of a convex loss of the error alone; what a loss says besides is its own."""
_OF_AMOUNT = replace(_OF_ERROR, symmetric=False, variable=None)
"""Those of a convex likelihood of what is not negative, without a bound of slope or curvature."""


class _OfError(Formula):
    """A loss of the error x - y alone."""

    def __init__(self, x: Any, y: Any) -> None:
        self.xp = namespace(x)
        self.d = x - y

    def grad_x(self) -> Any:
        raise NotImplementedError

    def grad_y(self) -> Any:
        return -self.grad_x()


class _MSE(_OfError):
    name = "mse"

    def value(self) -> Any:
        return self.d * self.d

    def grad_x(self) -> Any:
        return 2 * self.d

    def curvature(self) -> Any:
        return self.xp.full_like(self.d, 2.0)

    @classmethod
    def traits(cls) -> Traits:
        return replace(_OF_ERROR, strong_convexity=2.0, smoothness=2.0, elicits="mean")


@LossFunction
def mse(x: Array, y: ArrayLike, **options: Unpack[Options]) -> Request:
    """Squared error; its mean is the mean squared error.

    Parameters
    ----------
    x, y
        Prediction and target.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: numbers whose errors are alike in size: prices, temperatures, coordinates. A large
    error counts by its square.

    Shapes: x and y (...), an item is an element.

    Domain: all real numbers.

    Formula: (x - y)^2

    Gradient: 2 (x - y) by x, 2 (y - x) by y; curvature 2.

    Accuracy: value 2 eps; gradient 1 eps; curvature exact.

    Edge cases: infinite where the square overflows. Half the square, where you want that, is
    `0.5 * tinyloss.MSELoss()`.

    Source: Gauss, Theoria combinationis observationum erroribus minimis obnoxiae, 1823.

    Elsewhere: torch `mse_loss`; optax `squared_error`; Keras `MeanSquaredError`; scikit-learn
    `mean_squared_error`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> tinyloss.mse(np.array([0.0, 3.0]), np.array([1.0, 1.0])).item()
    2.5
    """
    return Request(_MSE, x, y, **options)


class _MAE(_OfError):
    name = "mae"

    def value(self) -> Any:
        return magnitude(self.d)

    def grad_x(self) -> Any:
        return sign(self.d)

    def curvature(self) -> Any:
        return self.xp.zeros_like(self.d)

    boosting_curvature = steep

    @classmethod
    def traits(cls) -> Traits:
        return replace(_OF_ERROR, lipschitz=1.0, kinks=(0.0,), elicits="median")


@LossFunction
def mae(x: Array, y: ArrayLike, **options: Unpack[Options]) -> Request:
    """Absolute error (L1); its mean is the mean absolute error.

    Parameters
    ----------
    x, y
        Prediction and target.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: numbers with outliers, where each unit of error costs the same. The best constant is
    the median.

    Shapes: x and y (...), an item is an element.

    Domain: all real numbers.

    Formula: |x - y|

    Gradient: the sign of x - y by x, its opposite by y, 0 at the kink x = y; curvature 0, for
    boosting 1.

    Accuracy: value 0.5 eps; gradient exact; curvature exact.

    Edge cases: infinite where the difference overflows.

    Source: Laplace, Mémoire sur la probabilité des causes par les événements, 1774.

    Elsewhere: torch `l1_loss`; Keras `MeanAbsoluteError`; scikit-learn `mean_absolute_error`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> tinyloss.mae(np.array([0.0, 3.0]), np.array([1.0, 1.0])).item()
    1.5
    """
    return Request(_MAE, x, y, **options)


class _Huber(_OfError):
    name = "huber"

    def __init__(self, x: Any, y: Any, *, delta: Any) -> None:
        super().__init__(x, y)
        self.a = self.xp.abs(self.d)
        self.delta = delta

    def value(self) -> Any:
        d, a, delta = self.d, self.a, self.delta
        return self.xp.where(a <= delta, (0.5 * d) * d, delta * (a - 0.5 * delta))

    def grad_x(self) -> Any:
        return self.xp.clip(self.d, -self.delta, self.delta)

    def curvature(self) -> Any:
        return self.xp.astype(self.a <= self.delta, self.d.dtype)

    boosting_curvature = steep

    @classmethod
    def traits(cls, *, delta: float) -> Traits:
        return replace(_OF_ERROR, lipschitz=delta, smoothness=1.0)


@LossFunction
def huber(x: Array, y: ArrayLike, *, delta: Positive = 1.0, **options: Unpack[Options]) -> Request:
    """Huber loss: the square of small errors, the absolute value of large ones.

    Parameters
    ----------
    x, y
        Prediction and target.
    delta
        The error from which the loss is linear, above 0.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: numbers with outliers, where small errors are to count by their squares.

    Shapes: x and y (...), an item is an element.

    Domain: all real numbers.

    Formula: (x - y)^2 / 2 where |x - y| <= delta, delta (|x - y| - delta / 2) otherwise

    Gradient: x - y, clipped to [-delta, delta], by x, its opposite by y; curvature 1 where
    |x - y| <= delta, else 0, for boosting 1.

    Accuracy: value 2 eps; gradient 1 eps; curvature exact, for errors of any size.

    Edge cases: never overflows before its exact result does.

    Source: Huber, Robust estimation of a location parameter, Ann. Math. Statist. 35, 1964.

    Elsewhere: torch `huber_loss`; optax `huber_loss`; Keras `Huber`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> tinyloss.huber(np.array([0.5, 3.0]), np.array([0.0, 0.0])).item()
    1.3125
    """
    return Request(_Huber, x, y, {"delta": delta}, **options)


class _SmoothL1(_OfError):
    name = "smooth_l1"

    def __init__(self, x: Any, y: Any, *, beta: Any) -> None:
        super().__init__(x, y)
        self.a = self.xp.abs(self.d)
        self.beta = beta
        self.below = self.a < beta
        # beta where it divides; 0 where a and beta are, which nothing selects
        self.width = self.xp.maximum(self.a, beta)

    def value(self) -> Any:
        d = self.d
        return self.xp.where(self.below, (0.5 * d) * (d / self.width), self.a - 0.5 * self.beta)

    def grad_x(self) -> Any:
        return self.xp.where(self.below, self.d / self.width, sign(self.d))

    def curvature(self) -> Any:
        tip = (self.a <= self.beta) & (-self.a < self.beta)
        return self.xp.where(tip, 1.0 / self.width, 0.0)

    boosting_curvature = steep

    @classmethod
    def traits(cls, *, beta: float) -> Traits:
        return replace(_OF_ERROR, lipschitz=1.0, smoothness=1 / beta) if beta else _MAE.traits()


@LossFunction
def smooth_l1(
    x: Array, y: ArrayLike, *, beta: NonNegative = 1.0, **options: Unpack[Options]
) -> Request:
    """Absolute error with a rounded tip: the Huber loss divided by its threshold.

    Parameters
    ----------
    x, y
        Prediction and target.
    beta
        The error from which the loss is linear, at least 0; 0 gives the absolute error.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: boxes in object detection, and whatever else was tuned with it; elsewhere `huber`.

    Shapes: x and y (...), an item is an element.

    Domain: all real numbers.

    Formula: (x - y)^2 / (2 beta) where |x - y| <= beta, |x - y| - beta / 2 otherwise

    Gradient: (x - y) / beta, clipped to [-1, 1], by x, its opposite by y; curvature 1 / beta where
    |x - y| <= beta, else 0, for boosting 1. For beta = 0 that of `mae`.

    Accuracy: value 3 eps; gradient 2 eps; curvature 1 eps.

    Edge cases: never overflows before its exact result does.

    Source: Girshick, Fast R-CNN, ICCV 2015.

    Elsewhere: torch `smooth_l1_loss`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> tinyloss.smooth_l1(np.array([0.5, 3.0]), np.array([0.0, 0.0]), beta=2.0).item()
    1.03125
    """
    return Request(_SmoothL1, x, y, {"beta": beta}, **options)


class _LogCosh(_OfError):
    name = "log_cosh"

    def __init__(self, x: Any, y: Any) -> None:
        super().__init__(x, y)
        self.a = self.xp.abs(self.d)

    def value(self) -> Any:
        # cosh d = 1 + 2 sinh(d/2)^2 keeps the digits of small errors, and
        # cosh d = exp|d| (1 + exp(-2|d|)) / 2 does not overflow for large ones.
        xp, a = self.xp, self.a
        half_sinh = xp.sinh(0.5 * xp.minimum(a, 2.0))
        near = xp.log1p(2 * half_sinh * half_sinh)
        return xp.where(a < 2, near, (a - log(2)) + xp.log1p(xp.exp(-2 * a)))

    def grad_x(self) -> Any:
        return self.xp.tanh(self.d)

    def curvature(self) -> Any:
        # 1 / cosh^2 d, without squaring a cosh that overflows
        t = self.xp.exp(-2 * self.a)
        return 4 * t / ((1 + t) * (1 + t))

    def boosting_curvature(self, curvature: Any) -> Any:
        # tanh d / d, of the parabola that touches the loss at d and is nowhere below it: Jaakkola
        # and Jordan, Bayesian parameter estimation via variational methods, Stat. Comput. 10, 2000
        xp, a = self.xp, self.a
        return xp.where(a == 0, 1.0, xp.tanh(a) / xp.where(a == 0, 1.0, a))

    @classmethod
    def traits(cls) -> Traits:
        return replace(_OF_ERROR, lipschitz=1.0, smoothness=1.0)


@LossFunction
def log_cosh(x: Array, y: ArrayLike, **options: Unpack[Options]) -> Request:
    """Logarithm of the hyperbolic cosine of the error: smooth, and linear for large errors.

    Parameters
    ----------
    x, y
        Prediction and target.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: numbers with outliers, where a loss that is smooth everywhere is wanted and no
    threshold is known.

    Shapes: x and y (...), an item is an element.

    Domain: all real numbers.

    Formula: log cosh(x - y)

    Gradient: tanh(x - y) by x, its opposite by y; curvature 1 / cosh^2(x - y), for
    boosting tanh(x - y) / (x - y), which leaves the tails a step.

    Accuracy: value 8 eps; gradient 4 eps; curvature 8 eps. An error of 1e-5 gives 5e-11, where
    `logaddexp` forms give 0. The curvature has these 8 eps of (1 + |x - y|) times itself, since x -
    y is rounded.

    Edge cases: never overflows before its exact result does.

    Source: Green, Bayesian reconstructions from emission tomography data using a modified EM
    algorithm, IEEE Trans. Med. Imaging 9, 1990.

    Elsewhere: optax `log_cosh`; Keras `LogCosh`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> print(f"{tinyloss.log_cosh(np.array([1e-5]), np.array([0.0])):.5g}")
    5e-11
    """
    return Request(_LogCosh, x, y, **options)


class _Barron(_OfError):
    """With b = 2 - alpha, t = z^2 / b and h^2 = k = (1 + t)^(-b / 2), the slope over z."""

    name = "barron"

    def __init__(self, x: Any, y: Any, *, alpha: Any, b: Any, far_h: Any, scale: Any) -> None:
        super().__init__(x, y)
        xp = self.xp
        largest = float(xp.finfo(x.dtype).max)
        self.z = z = xp.clip(self.d / scale, -largest, largest)
        self.alpha, self.b, self.scale = alpha, b, scale
        size = xp.abs(z)
        # sqrt(t) in units of 2^33: sqrt(b) is at least 2^-33, so this does not overflow.
        distance = size * 2.0**-33 / b**0.5
        far = distance >= 0.125
        self.r = r = xp.where(far, 2.0**30, distance * 2.0**33)
        t = r * r
        thin = t < 1e-30
        ratio = xp.where(thin, 1.0, xp.log1p(t) / xp.where(thin, 1.0, t))
        # log sqrt(1 + t), where 1 is nothing beside t
        log_r = xp.log(xp.where(far, distance, 1.0)) + 33 * log(2)
        near = xp.where(far, 0.0, z)
        # b log(1 + t) / 2; z^2 / 2 for the largest b, of which t is no normal number
        self.half = xp.where(far, b * log_r, (0.5 * near) * (near * ratio))
        # A power keeps the digits of outliers, an exponential those of the largest b. Far away it
        # is one of |z|: z h has digits where h has none.
        exponent = xp.where(far, xp.zeros_like(z) + 0.5 * alpha, -0.25 * b)
        factor = xp.where(far, xp.zeros_like(z) + far_h, 1.0)
        power = factor * xp.where(far, size, 1 + t) ** exponent
        root = xp.where(far, power / xp.where(far, size, 1.0), power)
        self.h = xp.where(r < 1, xp.exp(-0.5 * xp.where(r < 1, self.half, 0.0)), root)
        self.zh = xp.where(far, sign(z) * power, z * self.h)
        self.shrunk = xp.where(far, 2.0**-33 / xp.where(far, distance, 1.0), 1 / xp.sqrt(1 + t))

    def value(self) -> Any:
        # b / alpha ((1 + t)^(alpha / 2) - 1), whose power is exp(s)
        xp = self.xp
        s = (self.alpha / self.b) * self.half
        near = xp.abs(s) < 1
        small = xp.where(near & (s != 0), s, 1.0)
        grown = xp.where(s == 0, 1.0, xp.expm1(small) / small)
        alpha = xp.where(near, 1.0, xp.zeros_like(s) + self.alpha)
        beyond = (self.zh * self.zh + self.b * (self.h * self.h - 1)) / alpha
        return xp.where(near, xp.where(near, self.half, 0.0) * grown, beyond)

    def grad_x(self) -> Any:
        return self.zh * self.h / self.scale

    def curvature(self) -> Any:
        # k (1 + (alpha - 1) t) / (1 + t) / scale^2
        xp, within = self.xp, self.r < 1
        inverse, root = self.shrunk * self.shrunk, self.h / self.scale
        z = xp.where(within, self.z, 0.0)
        near = (self.alpha - 1) / self.b * z * (z * inverse)
        rest = xp.where(within, near, (self.alpha - 1) * (1 - inverse))
        # Each factor is in reach, where its square may not be.
        alone = (self.shrunk * root) * (self.shrunk * root)
        return xp.where(rest == 0, alone, product(inverse + rest, root) * root)

    def boosting_curvature(self, curvature: Any) -> Any:
        # Of the parabola that touches the loss: Geman and Reynolds, Constrained restoration and the
        # recovery of discontinuities, IEEE Trans. Pattern Anal. Mach. Intell. 14, 1992
        root = self.h / self.scale
        return root * root

    @classmethod
    def traits(cls, *, alpha: float, scale: float, **_: Any) -> Traits:
        bend = 1 / scale / scale
        if alpha == 2:
            known = replace(_OF_ERROR, strong_convexity=bend, elicits="mean")
        else:
            # Steepest where z^2 = b / (1 - alpha); above 1 slopes grow with |z|^(alpha - 1).
            logarithm = 0.5 * (1 - alpha) * log1p(1 / (1 - alpha)) if alpha < 1 else 0.0
            slope = exp(-logarithm) / scale if alpha <= 1 else inf
            most = (2 - alpha) / -alpha if alpha < 0 else inf
            known = replace(_OF_ERROR, convex=alpha >= 1, lipschitz=slope, range=(0.0, most))
        return replace(known, smoothness=bend)


def _shape(alpha: Any) -> dict[str, Any]:
    """Return alpha, of which -1e37 is as good as -inf, and what `_Barron` needs of it.

    2 - alpha is 2^-66 where it is 0: the loss differs from its limit by less than float64 tells.
    Of far outliers h is 0 for b above 64.
    """
    if isinstance(alpha, float):
        alpha = max(alpha, -1e37)
        b = max(2 - alpha, 2.0**-66)
        return {"alpha": alpha, "b": b, "far_h": min(b, 64.0) ** (min(b, 64.0) / 4)}
    xp = namespace(alpha)
    alpha = xp.maximum(alpha, -1e37)
    b = xp.maximum(2 - alpha, 2.0**-66)
    few = xp.minimum(b, 64.0)
    return {"alpha": alpha, "b": b, "far_h": few ** (few / 4)}


@LossFunction
def barron(
    x: Array,
    y: ArrayLike,
    *,
    alpha: AtMost2 = 1.0,
    scale: Positive = 1.0,
    **options: Unpack[Options],
) -> Request:
    """General robust loss: one number leads from the squared error to losses of bounded size.

    Parameters
    ----------
    x, y
        Prediction and target.
    alpha
        The shape, at most 2: 2 is half the squared error, 1 Charbonnier's, 0 Cauchy's, -2 that of
        Geman and McClure, -inf Welsch's. The smaller, the less outliers count.
    scale
        The error at which outliers begin, above 0.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: numbers with outliers, where how many there are is to be tried out by one parameter.

    Shapes: x and y (...), an item is an element.

    Domain: all real numbers.

    Formula: b / alpha ((1 + z^2 / b)^(alpha / 2) - 1), z = (x - y) / scale, b = 2 - alpha; its
    limits are z^2 / 2 for alpha = 2, log(1 + z^2 / 2) for 0 and 1 - exp(-z^2 / 2) for -inf

    Gradient: z k / scale by x, k = (1 + z^2 / b)^(alpha / 2 - 1), its opposite by y; curvature
    k (1 + (alpha - 1) z^2 / b) / (1 + z^2 / b) / scale^2, negative in the tails for alpha below 1;
    for boosting k / scale^2.

    Accuracy: value 8 eps; gradient 6 eps; curvature 10 eps. All have these eps of 1 - log k times
    themselves, since z and
    alpha are rounded; the curvature those of the sum of its terms' sizes.

    Edge cases: near 2, 0 and -inf as accurate as there. Where (x - y) / scale overflows it counts
    as the largest number.

    Source: Barron, A general and adaptive robust loss function, CVPR 2019.

    Elsewhere: none.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x, y = np.array([1.0, 2.0]), np.array([1.0, 0.0])
    >>> for alpha in (2.0, 0.0, -2.0, -np.inf):
    ...     print(tinyloss.barron(x, y, alpha=alpha, reduction="none").round(4))
    [0. 2.]
    [0.     1.0986]
    [0. 1.]
    [0.     0.8647]
    """
    return Request(_Barron, x, y, {**_shape(alpha), "scale": scale}, **options)


class _Quantile(_OfError):
    name = "quantile"

    def __init__(self, x: Any, y: Any, *, q: Any) -> None:
        super().__init__(x, y)
        xp, d = self.xp, self.d
        self.slope = xp.where(d > 0, 1 - q, xp.where(d < 0, -q, d))

    def value(self) -> Any:
        # Where q is 0 or 1, 0 also for a difference that overflows.
        return product(self.slope, self.d)

    def grad_x(self) -> Any:
        return self.slope

    def curvature(self) -> Any:
        return self.xp.zeros_like(self.d)

    boosting_curvature = steep

    @classmethod
    def traits(cls, *, q: Any) -> Traits:
        levels = [*{*numbers_of(q)}]
        level = levels[0] if len(levels) == 1 else None
        elicits = None  # for 0 and 1 what is beyond all targets costs nothing either
        if level is not None and 0 < level < 1:
            elicits = "median" if level == 0.5 else f"{level}-quantile"
        return replace(
            _OF_ERROR,
            lipschitz=max([max(each, 1 - each) for each in levels]),
            symmetric=level == 0.5,
            kinks=(0.0,),
            elicits=elicits,
        )


@LossFunction
def quantile(x: Array, y: ArrayLike, *, q: Shares = 0.5, **options: Unpack[Options]) -> Request:
    """Pinball loss: its best prediction is the q-quantile of the target.

    Parameters
    ----------
    x, y
        Prediction and target. Several quantiles have the last axis of x. y may be without it: then
        it is the target of each.
    q
        The quantile to predict, from 0 to 1: a number, or an array that broadcasts to x, such as a
        level for each column.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: a quantile of numbers, such as the 90 % that a delivery takes at most; two of them make
    an interval.

    Shapes: x and y (...), or x (..., Q), y (...) and q (Q,); an item is an element of x.

    Domain: all real numbers.

    Formula: q (y - x) where y >= x, (1 - q) (x - y) otherwise

    Gradient: -q where x < y, 1 - q where x > y, 0 at the kink x = y; by y the opposite;
    curvature 0, for boosting 1.

    Accuracy: value 2 eps; gradient 1 eps; curvature exact.

    Edge cases: q = 1/2 gives half the absolute error. The numbers of an array q are not looked at.

    Source: Koenker and Bassett, Regression quantiles, Econometrica 46, 1978.

    Elsewhere: scikit-learn `mean_pinball_loss`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x, y = np.array([0.0, 3.0]), np.array([1.0, 1.0])
    >>> tinyloss.quantile(x, y, q=0.75, reduction="none").tolist()
    [0.75, 0.5]
    >>> levels = np.array([[0.0, 1.0, 4.0]])
    >>> tinyloss.quantile(levels, y[:1], q=[0.25, 0.5, 0.75], reduction="none").tolist()
    [[0.25, 0.0, 0.75]]
    """
    if is_number(q):
        return Request(_Quantile, x, y, {"q": q}, **options)
    return Request(_Quantile, x, y, arrays={"q": q}, y_of_columns=True, **options)


class _Expectile(_OfError):
    name = "expectile"

    def __init__(self, x: Any, y: Any, *, tau: Any) -> None:
        super().__init__(x, y)
        d = self.d
        self.share = self.xp.where(d > 0, 1 - tau, self.xp.zeros_like(d) + tau)
        # The share goes first: the square may overflow where the loss does not.
        self.part = product(self.share, d)

    def value(self) -> Any:
        return product(self.part, self.d)

    def grad_x(self) -> Any:
        return 2 * self.part

    def curvature(self) -> Any:
        return 2 * self.share

    boosting_curvature = steep

    @classmethod
    def traits(cls, *, tau: float) -> Traits:
        return replace(
            _OF_ERROR,
            strong_convexity=2 * min(tau, 1 - tau),
            smoothness=2 * max(tau, 1 - tau),
            symmetric=tau == 0.5,
            elicits="mean" if tau == 0.5 else f"{tau}-expectile",
        )


@LossFunction
def expectile(x: Array, y: ArrayLike, *, tau: Share = 0.5, **options: Unpack[Options]) -> Request:
    """Squared error that weighs predictions below and above the target differently.

    Its best prediction is the tau-expectile of the target.

    Parameters
    ----------
    x, y
        Prediction and target.
    tau
        The expectile to predict, from 0 to 1; 0.5 is the mean.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: a prediction above or below the mean, where errors count by their squares; for a share
    of cases that is to lie below, `quantile`.

    Shapes: x and y (...), an item is an element.

    Domain: all real numbers.

    Formula: a (x - y)^2, a = 1 - tau where x > y, else tau

    Gradient: 2 a (x - y) by x, 2 a (y - x) by y; curvature 2 a, for boosting 1 where a is 0.

    Accuracy: value 3 eps; gradient 2 eps; curvature 1 eps.

    Edge cases: infinite where a (x - y)^2 overflows. For tau = 0.5 it is half the squared error.

    Source: Newey and Powell, Asymmetric least squares estimation and testing, Econometrica 55,
    1987.

    Elsewhere: none.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x, y = np.array([0.0, 3.0]), np.array([1.0, 1.0])
    >>> tinyloss.expectile(x, y, tau=0.75, reduction="none").tolist()
    [0.75, 1.0]
    """
    return Request(_Expectile, x, y, {"tau": tau}, **options)


class _EpsilonInsensitive(_OfError):
    name = "epsilon_insensitive"

    def __init__(self, x: Any, y: Any, *, epsilon: Any) -> None:
        super().__init__(x, y)
        self.beyond = positive_part(self.xp.abs(self.d) - epsilon)

    def value(self) -> Any:
        return self.beyond

    def grad_x(self) -> Any:
        return self.xp.where(self.beyond == 0, 0.0, sign(self.d))

    def curvature(self) -> Any:
        return self.xp.zeros_like(self.d)

    boosting_curvature = steep

    @classmethod
    def traits(cls, *, epsilon: float) -> Traits:
        if epsilon == 0:
            return _MAE.traits()
        return replace(_OF_ERROR, lipschitz=1.0, kinks=(-epsilon, epsilon))


@LossFunction
def epsilon_insensitive(
    x: Array, y: ArrayLike, *, epsilon: NonNegative = 0.1, **options: Unpack[Options]
) -> Request:
    """Absolute error beyond a margin: errors within it cost nothing.

    Parameters
    ----------
    x, y
        Prediction and target.
    epsilon
        The error up to which the loss is 0, at least 0; 0 gives the absolute error.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: numbers that need to be right up to a tolerance only, as in support vector regression.

    Shapes: x and y (...), an item is an element.

    Domain: all real numbers.

    Formula: max(0, |x - y| - epsilon)

    Gradient: the sign of x - y by x, its opposite by y, 0 where |x - y| <= epsilon; curvature 0,
    for boosting 1.

    Accuracy: value 2 eps; gradient exact; curvature exact. The value has these 2 eps of
    |x - y| + epsilon: between the two it passes through 0.

    Edge cases: infinite where the difference overflows.

    Source: Vapnik, The nature of statistical learning theory, 1995, chapter 6.

    Elsewhere: scikit-learn `SGDRegressor(loss="epsilon_insensitive")`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x, y = np.array([1.25, 3.0]), np.array([1.0, 1.0])
    >>> tinyloss.epsilon_insensitive(x, y, epsilon=0.5, reduction="none").tolist()
    [0.0, 1.5]
    """
    return Request(_EpsilonInsensitive, x, y, {"epsilon": epsilon}, **options)


class _SquaredEpsilonInsensitive(_EpsilonInsensitive):
    name = "squared_epsilon_insensitive"

    def value(self) -> Any:
        return self.beyond * self.beyond

    def grad_x(self) -> Any:
        return 2 * sign(self.d) * self.beyond

    def curvature(self) -> Any:
        return self.xp.where(self.beyond == 0, 0.0, self.xp.full_like(self.d, 2.0))

    @classmethod
    def traits(cls, *, epsilon: float) -> Traits:
        return replace(_OF_ERROR, smoothness=2.0) if epsilon else _MSE.traits()


@LossFunction
def squared_epsilon_insensitive(
    x: Array, y: ArrayLike, *, epsilon: NonNegative = 0.1, **options: Unpack[Options]
) -> Request:
    """Squared error beyond a margin: errors within it cost nothing.

    Parameters
    ----------
    x, y
        Prediction and target.
    epsilon
        The error up to which the loss is 0, at least 0; 0 gives the squared error.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: a tolerance as in `epsilon_insensitive`, with a slope that is continuous.

    Shapes: x and y (...), an item is an element.

    Domain: all real numbers.

    Formula: max(0, |x - y| - epsilon)^2

    Gradient: 2 max(0, |x - y| - epsilon) by x, with the sign of x - y, its opposite by y; curvature
    2 where |x - y| > epsilon, else 0, for boosting 1.

    Accuracy: value 6 eps; gradient 2 eps; curvature exact. The value has these 6 eps of
    (|x - y| + epsilon)^2, the gradient its 2 eps of 2 (|x - y| + epsilon).

    Edge cases: infinite where the square overflows.

    Source: Smola and Schölkopf, A tutorial on support vector regression, Statistics and Computing
    14, 2004.

    Elsewhere: scikit-learn `SGDRegressor(loss="squared_epsilon_insensitive")`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x, y = np.array([1.25, 3.0]), np.array([1.0, 1.0])
    >>> tinyloss.squared_epsilon_insensitive(x, y, epsilon=0.5, reduction="none").tolist()
    [0.0, 2.25]
    """
    return Request(_SquaredEpsilonInsensitive, x, y, {"epsilon": epsilon}, **options)


class _Wing(_OfError):
    name = "wing"

    def __init__(self, x: Any, y: Any, *, width: Any, epsilon: Any) -> None:
        super().__init__(x, y)
        xp = self.xp
        self.a = a = xp.abs(self.d)
        self.near = a < width
        self.width, self.epsilon = width, epsilon
        self.inner = epsilon + xp.minimum(a, width)

    def value(self) -> Any:
        xp, a, width = self.xp, self.a, self.width
        curved = width * xp.log1p(xp.minimum(a, width) / self.epsilon)
        return curved + xp.where(self.near, 0.0, a - width)

    def grad_x(self) -> Any:
        s = sign(self.d)
        return self.xp.where(self.near, product(s, self.width / self.inner), s)

    def curvature(self) -> Any:
        bend = -(self.width / self.inner) * (1 / self.inner)
        return self.xp.where(self.near & (self.d != 0), bend, 0.0)

    boosting_curvature = steep

    @classmethod
    def traits(cls, *, width: float, epsilon: float) -> Traits:
        steepest = max(width / epsilon, 1.0)
        return replace(_OF_ERROR, convex=False, lipschitz=steepest, kinks=(-width, 0.0, width))


@LossFunction
def wing(
    x: Array,
    y: ArrayLike,
    *,
    epsilon: Positive = 2.0,
    width: Positive = 10.0,
    **options: Unpack[Options],
) -> Request:
    """Wing loss: steep for small errors, the absolute value of large ones.

    Parameters
    ----------
    x, y
        Prediction and target.
    epsilon
        How slowly the slope falls off for small errors, above 0; width / epsilon is finite.
    width
        The error from which the loss is linear, above 0.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: coordinates of landmarks in images, where small errors are to count, too.

    Shapes: x and y (...), an item is an element.

    Domain: all real numbers.

    Formula: width log(1 + |x - y| / epsilon) where |x - y| < width, |x - y| - c otherwise, with
    c = width - width log(1 + width / epsilon)

    Gradient: width / (epsilon + |x - y|) where |x - y| < width, 1 otherwise, by x, with the sign of
    x - y, 0 at the kink x = y; its opposite by y. Curvature -width / (epsilon + |x - y|)^2, 0 where
    |x - y| >= width and at x = y, for boosting 1.

    Accuracy: value 4 eps; gradient 3 eps; curvature 5 eps. Where |x - y| >= width the value has
    these 4 eps of |x - y|, plus itself.

    Edge cases: the gradient jumps at |x - y| = width.

    Source: Feng et al., Wing loss for robust facial landmark localisation with convolutional neural
    networks, CVPR 2018.

    Elsewhere: none.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x, y = np.array([2.0, 21.0]), np.array([0.0, 1.0])
    >>> tinyloss.wing(x, y, reduction="none").round(6).tolist()
    [6.931472, 27.917595]
    """
    return Request(_Wing, x, y, {"epsilon": epsilon, "width": width}, **options)


class _MSLE(Formula):
    name = "msle"

    def __init__(self, x: Any, y: Any) -> None:
        self.xp = xp = namespace(x)
        self.x1, self.y1 = 1 + x, 1 + y
        # log(1 + x) - log(1 + y) cancels for close x and y; the difference goes first.
        lower = 1 + xp.minimum(x, y)
        ratio = xp.abs(x - y) / xp.where(lower < 0, xp.nan, lower)
        self.root = xp.log1p(ratio)
        self.log_ratio = xp.where(x >= y, self.root, -self.root)

    def value(self) -> Any:
        return self.root * self.root

    def grad_x(self) -> Any:
        return 2 * self.log_ratio / self.x1

    def grad_y(self) -> Any:
        return -2 * self.log_ratio / self.y1

    def curvature(self) -> Any:
        return 2 * (1 - self.log_ratio) / self.x1 / self.x1

    def boosting_curvature(self, curvature: Any) -> Any:
        # Gauss and Newton's: without the second derivative of the logarithm. NaN where the loss is.
        two = self.xp.where(self.root == self.root, 2.0, self.root)
        return two / self.x1 / self.x1

    @classmethod
    def traits(cls) -> Traits:
        return replace(
            _OF_ERROR,
            convex=False,
            symmetric=False,
            variable="(1 + x) / (1 + y)",
            elicits="exp(mean log(1 + y)) - 1",
        )


@LossFunction
def msle(x: Array, y: ArrayLike, **options: Unpack[Options]) -> Request:
    """Squared logarithmic error: the square of a relative error, for counts and prices.

    Parameters
    ----------
    x, y
        Prediction and target.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: positive numbers of different magnitudes, such as counts of visitors, where the ratio
    matters.

    Shapes: x and y (...), an item is an element.

    Domain: x > -1 and y > -1; NaN below.

    Formula: (log(1 + x) - log(1 + y))^2

    Gradient: with r = log(1 + x) - log(1 + y), 2 r / (1 + x) by x and -2 r / (1 + y) by y;
    curvature 2 (1 - r) / (1 + x)^2, for boosting 2 / (1 + x)^2.

    Accuracy: value 8 eps; gradient 4 eps; curvature 8 eps. This holds for x close to y, too. The
    curvature has these 8 eps of the sum of its terms' sizes.

    Edge cases: infinite where one of x and y is -1.

    Source: Tofallis, A better measure of relative prediction accuracy, J. Oper. Res. Soc. 66, 2015.

    Elsewhere: Keras `MeanSquaredLogarithmicError`; scikit-learn `mean_squared_log_error`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> tinyloss.msle(np.array([1.0]), np.array([0.0])).round(6).item()
    0.480453
    """
    return Request(_MSLE, x, y, **options)


class _MAPE(Formula):
    name = "mape"

    def __init__(self, x: Any, y: Any, *, eps: Any) -> None:
        self.xp = xp = namespace(x)
        self.x, self.y, self.eps = x, y, eps
        self.d = x - y
        self.size = xp.maximum(xp.abs(y), eps)

    def value(self) -> Any:
        return magnitude(self.d) / self.size

    def grad_x(self) -> Any:
        return sign(self.d) / self.size

    def grad_y(self) -> Any:
        # |x - y| / |y| = |x/y - 1|, so that its derivative has no difference to cancel.
        xp = self.xp
        above = xp.abs(self.y) > self.eps
        ratio = xp.where(above, self.x / xp.where(above, self.y, 1.0), 1.0)
        return -sign(self.d) * ratio / self.size

    def curvature(self) -> Any:
        return self.xp.zeros_like(self.d)

    def boosting_curvature(self, curvature: Any) -> Any:
        return 1 / self.size

    @classmethod
    def traits(cls, *, eps: float) -> Traits:
        weighed = "median, weighed by 1 / max(|y|, eps)"
        return replace(_OF_ERROR, lipschitz=1 / eps, kinks=(0.0,), elicits=weighed)


@LossFunction
def mape(
    x: Array, y: ArrayLike, *, eps: Positive = 2.220446049250313e-16, **options: Unpack[Options]
) -> Request:
    """Absolute percentage error: the error relative to the target, as a fraction.

    Parameters
    ----------
    x, y
        Prediction and target.
    eps
        The least size of a target, above 0: smaller ones count as this. The default is
        scikit-learn's, the spacing of float64 at 1.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: numbers far from 0, where the error is told in percent. It prefers predictions that are
    too small.

    Shapes: x and y (...), an item is an element.

    Domain: all real numbers.

    Formula: |x - y| / max(|y|, eps)

    Gradient: the sign of x - y over max(|y|, eps) by x, 0 at the kink x = y; by y that of x - y
    times -x / (y |y|), or -1 / eps where |y| <= eps; curvature 0, for boosting
    1 / max(|y|, eps).

    Accuracy: value 4 eps; gradient 4 eps; curvature exact. The gradient by y has these 4 eps of the
    sum of its terms' sizes.

    Edge cases: large, but finite for ordinary x, where y = 0. 1 is an error of 100 percent.

    Source: Makridakis, Accuracy measures, Int. J. Forecasting 9, 1993.

    Elsewhere: Keras `MeanAbsolutePercentageError`, 100 times it; scikit-learn
    `mean_absolute_percentage_error`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> tinyloss.mape(np.array([90.0, 4.0]), np.array([100.0, 2.0])).item()
    0.55
    """
    return Request(_MAPE, x, y, {"eps": eps}, **options)


class _SMAPE(Formula):
    name = "smape"

    def __init__(self, x: Any, y: Any) -> None:
        self.xp = xp = namespace(x)
        self.x, self.y, self.d = x, y, x - y
        a, b = xp.abs(x), xp.abs(y)
        self.large = large = xp.maximum(a, b)
        # |x| + |y| is large (1 + ratio), which may overflow. Where both are 0, so is the loss.
        self.unit = xp.where(large == 0, 1.0, large)
        self.ratio = xp.minimum(a, b) / self.unit
        self.sum = 1 + self.ratio
        self.side = sign(self.d)
        # Of opposite signs |x - y| is |x| + |y|, and the loss is constant.
        self.alike = 1 + sign(x) * sign(y)

    def value(self) -> Any:
        # x - y overflows between numbers of opposite signs alone.
        same = 2 * (magnitude(self.d) / self.unit) / self.sum
        return self.xp.where(self.alike == 0, 2.0, same)

    def _slope(self, other: Any) -> Any:
        share = self.xp.where(self.xp.abs(other) == self.large, 1.0, self.ratio)
        return 2 * product(self.alike, share / (self.sum * self.sum) / self.unit)

    def grad_x(self) -> Any:
        return product(self.side, self._slope(self.y))

    def grad_y(self) -> Any:
        return -product(self.side, self._slope(self.x))

    def curvature(self) -> Any:
        # Not divided by the unit once more: a compiler may divide by its square instead.
        bend = product(self._slope(self.y) / self.sum, 1 / self.unit)
        return -2 * product(sign(self.x) * self.side, bend)

    def boosting_curvature(self, curvature: Any) -> Any:
        # 2 / (|x| + |y|), as the absolute error has 1
        least = float(self.xp.finfo(self.x.dtype).smallest_normal)
        return 2 / self.sum / self.xp.maximum(self.large, least)

    @classmethod
    def traits(cls) -> Traits:
        return replace(
            _OF_ERROR,
            convex=False,
            range=(0.0, 2.0),
            symmetric=False,
            variable="x / y",
            kinks=(0.0, 1.0),
        )


@LossFunction
def smape(x: Array, y: ArrayLike, **options: Unpack[Options]) -> Request:
    """Symmetric absolute percentage error: relative to the mean size of prediction and target.

    Parameters
    ----------
    x, y
        Prediction and target.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: positive numbers of different magnitudes, some of them 0, as a score of forecasts that
    is bounded. It is flat where the signs differ.

    Shapes: x and y (...), an item is an element.

    Domain: all real numbers.

    Formula: 2 |x - y| / (|x| + |y|), 0 where both are 0

    Gradient: with s = |x| + |y|, 4 |y| / s^2 by x and 4 |x| / s^2 by y where x and y have one sign,
    0 where they have two, half of it by what is 0; with the sign of x - y by x, the opposite by y,
    0 at the kink x = y. Curvature -8 |y| / s^3 where x - y has the sign of x, its opposite where it
    has not, 0 where that by x is; for boosting 2 / s.

    Accuracy: value 4 eps; gradient 6 eps; curvature 8 eps.

    Edge cases: from 0 to 2; 2 wherever one of x and y is 0. 1 is an error of 100 percent.

    Source: Makridakis, Accuracy measures, Int. J. Forecasting 9, 1993.

    Elsewhere: none.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x, y = np.array([3.0, 4.0, 0.0]), np.array([1.0, -2.0, 0.0])
    >>> tinyloss.smape(x, y, reduction="none").tolist()
    [1.0, 2.0, 0.0]
    """
    return Request(_SMAPE, x, y, **options)


def _stirling(y: Any) -> tuple[Any, Any]:
    """Return Stirling's y log y - y + log(2 pi y) / 2 for log y!, 0 for y <= 1, as torch does.

    In two parts: what multiplies y, and the rest. Two products of y might overflow to inf - inf.
    """
    xp = namespace(y)
    above = xp.where(y > 1, y, 1.0)
    log_y = xp.log(above)
    rest = 0.5 * (log(2 * pi) + log_y)
    return xp.where(y > 1, log_y - 1, 0.0), xp.where(y > 1, rest, 0.0)


def _stirling_slope(y: Any) -> Any:
    xp = namespace(y)
    above = xp.where(y > 1, y, 1.0)
    return xp.where(y > 1, xp.log(above) + 0.5 / above, 0.0)


class _PoissonLog(Formula):
    name = "poisson_nll"

    def __init__(self, x: Any, y: Any, *, full: bool) -> None:
        self.xp = namespace(x)
        self.x, self.y, self.full = x, y, full
        # Where the rate overflows, or its inverse, which XLA multiplies by, is no normal number,
        # rate and count are taken in units of exp(32).
        over = x > log(float(self.xp.finfo(x.dtype).max)) - 2
        self.part = self.xp.exp(self.xp.where(over, x - 32.0, x))
        self.unit = self.xp.where(over, exp(32), self.xp.ones_like(x))
        self.inverse = self.xp.where(over, exp(-32), self.xp.ones_like(x))
        self.log_rate, self.rate = x, self.part * self.unit

    def value(self) -> Any:
        xp, x, per_y, rest = self.xp, self.x, -self.x, 0.0
        if self.full:
            above = self.y > 1
            y = xp.where(above, self.y, 1.0)
            # Stirling's log y less x is the logarithm of a ratio: it keeps its digits near 0.
            ratio = y * self.inverse / self.part
            kept = (ratio > float(xp.finfo(x.dtype).smallest_normal)) & (ratio < xp.inf)
            logarithm = xp.log(xp.where(kept, ratio, y))
            log_y = logarithm + xp.where(kept, x, 0.0)
            per_y = xp.where(above, logarithm - xp.where(kept, 0.0, x) - 1, per_y)
            rest = xp.where(above, 0.5 * (log(2 * pi) + log_y), 0.0)
        nll = self.part + product(self.y * self.inverse, per_y) + rest * self.inverse
        # Where the rate overflows even so, it is the larger of two terms that overflow.
        return xp.where(self.part == xp.inf, xp.inf, nll * self.unit)

    def grad_x(self) -> Any:
        return (self.part - self.y * self.inverse) * self.unit

    def grad_y(self) -> Any:
        slope = -self.log_rate
        return slope + _stirling_slope(self.y) if self.full else slope

    def curvature(self) -> Any:
        return self.rate

    @classmethod
    def traits(cls, *, full: bool) -> Traits:
        # Without log y! a likely count of many has a loss far below 0.
        least = 0.0 if full else -inf
        return replace(_OF_AMOUNT, range=(least, inf), elicits="log(mean)")


class _PoissonRate(_PoissonLog):
    def __init__(self, x: Any, y: Any, *, full: bool, eps: Any) -> None:
        self.xp = namespace(x)
        self.x, self.y, self.full = x, y, full
        self.rate = x + eps
        # Around 1 the rounding of x + eps is large beside its logarithm.
        larger, smaller = self.xp.maximum(x, eps), self.xp.minimum(x, eps)
        share = smaller / self.xp.where(larger == 0, 1.0, larger)
        self.log_rate = self.xp.log(larger) + self.xp.log1p(share)

    def value(self) -> Any:
        per_y, rest = -self.log_rate, 0.0
        if self.full:
            factor, rest = _stirling(self.y)
            per_y = per_y + factor
        return self.x + product(self.y, per_y) + rest

    def grad_x(self) -> Any:
        return 1 - self._share()

    def curvature(self) -> Any:
        return self._share() / self.xp.where(self.y == 0, 1.0, self.rate)

    def boosting_curvature(self, curvature: Any) -> Any:
        # The expected one, of a count with this rate.
        least = float(self.xp.finfo(self.x.dtype).smallest_normal)
        return 1 / self.xp.maximum(self.rate, least)

    def _share(self) -> Any:
        """Return y / rate, 0 for y = 0 whatever the rate."""
        return self.y / self.xp.where(self.y == 0, 1.0, self.rate)

    @classmethod
    def traits(cls, *, full: bool, eps: float = 0.0) -> Traits:
        # -eps + log(2 pi y) / 2 is the least for counts above 1, 0 for others
        least = min(0.0, 0.5 * log(2 * pi) - eps) if eps < 1 else None
        return replace(
            _OF_AMOUNT,
            range=(-inf, inf) if not full else None if least is None else (least, inf),
            elicits=f"mean - {eps}" if eps else "mean",
        )


@LossFunction
def poisson_nll(
    x: Array,
    y: ArrayLike,
    *,
    log_input: Flag = True,
    full: Flag = False,
    eps: NonNegative = 1e-8,
    **options: Unpack[Options],
) -> Request:
    """Negative log-likelihood of a count under a Poisson distribution.

    Parameters
    ----------
    x, y
        Prediction and count.
    log_input
        Whether x is the logarithm of the rate, else the rate.
    full
        Whether to add Stirling's approximation of log y!, which no prediction changes.
    eps
        Added to a rate before its logarithm, at least 0; unused for log_input=True.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: counts of events, such as calls in an hour.

    Shapes: x and y (...), an item is an element.

    Domain: y >= 0; x >= 0 for log_input=False, NaN below.

    Formula: exp(x) - y x, or x - y log(x + eps) for log_input=False; full adds
    y log y - y + log(2 pi y) / 2 where y > 1.

    Gradient: exp(x) - y by x and -x by y; for log_input=False, 1 - y / (x + eps) and
    -log(x + eps); full adds log y + 1 / (2 y) by y where y > 1. Curvature exp(x), or
    y / (x + eps)^2, for boosting the expected one, 1 / (x + eps).

    Accuracy: value 4 eps; gradient 2 eps by x, 4 eps by y; curvature 4 eps. The value and the
    gradient have these eps of the sum of their terms' sizes: between terms of opposite sign they
    pass through 0, where no more can be promised.

    Edge cases: y = 0 drops its term, also for an infinite x.

    Source: McCullagh and Nelder, Generalized linear models, 1989, chapter 6.

    Elsewhere: torch `poisson_nll_loss`; Keras `Poisson`, of rates.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> tinyloss.poisson_nll(np.array([0.0, 1.0]), np.array([1.0, 2.0])).round(6).item()
    0.859141
    """
    if log_input:
        return Request(_PoissonLog, x, y, {"full": full}, **options)
    return Request(_PoissonRate, x, y, {"full": full, "eps": eps}, **options)


class _GammaLog(Formula):
    """With u = log(y / mean), small where prediction and target meet, and r = y / mean."""

    name = "gamma_deviance"

    def __init__(self, x: Any, y: Any) -> None:
        self.xp = xp = namespace(x)
        self.y = y = xp.where(y < 0, xp.nan, y)
        self.u = u = xp.log(y) - x
        # exp(-x) may overflow, where r does not.
        self.root = xp.exp(-0.5 * x)
        self.ratio = product(product(y, self.root), self.root)
        self.near = xp.abs(u) < 1
        self.u_near = xp.where(self.near, u, 0.0)
        self.more = xp.where(self.near, xp.expm1(self.u_near), self.ratio - 1)

    def value(self) -> Any:
        far = self.ratio - 1 - self.u
        return 2 * self.xp.where(self.near, expm1_minus(self.u_near), far)

    def grad_x(self) -> Any:
        return -2 * self.more

    def grad_y(self) -> Any:
        # (r - 1) / y, and where that may overflow before it is divided (1 - 1 / r) / mean
        xp, above = self.xp, self.u >= 1
        of_mean = self.root * self.root * (1 - 1 / xp.where(above, self.ratio, 1.0))
        return 2 * xp.where(above, of_mean, self.more / self.y)

    def curvature(self) -> Any:
        return 2 * self.ratio

    @classmethod
    def traits(cls) -> Traits:
        return replace(_OF_AMOUNT, elicits="log(mean)")


class _GammaMean(Formula):
    name = "gamma_deviance"

    def __init__(self, x: Any, y: Any) -> None:
        self.xp = xp = namespace(x)
        self.x, self.y = x, y = xp.where(x < 0, xp.nan, x), xp.where(y < 0, xp.nan, y)
        self.ratio, self.more, self.u = log_ratio(x, y)

    def value(self) -> Any:
        near = self.xp.abs(self.u) < 0.5
        u_near = self.xp.where(near, self.u, 0.0)
        # Where y / x overflows, so does the loss.
        far = self.ratio - 1 - self.xp.where(self.ratio < self.xp.inf, self.u, 0.0)
        return 2 * self.xp.where(near, expm1_minus(u_near), far)

    def grad_x(self) -> Any:
        return -2 * product(self.more, 1 / self.x)

    def grad_y(self) -> Any:
        larger, smaller = self.xp.maximum(self.x, self.y), self.xp.minimum(self.x, self.y)
        return 2 * product((self.y - self.x) / larger, 1 / smaller)

    def curvature(self) -> Any:
        return 2 * ((2 * self.ratio - 1) * (1 / self.x)) * (1 / self.x)

    def boosting_curvature(self, curvature: Any) -> Any:
        # The expected one, of an amount with this mean. NaN where the loss is.
        least = float(self.xp.finfo(self.x.dtype).smallest_normal)
        mean = self.xp.maximum(self.x + 0 * self.y, least)
        return 2 * (1 / mean) * (1 / mean)

    @classmethod
    def traits(cls) -> Traits:
        return replace(_OF_AMOUNT, convex=False, elicits="mean")


@LossFunction
def gamma_deviance(
    x: Array, y: ArrayLike, *, log_input: Flag = True, **options: Unpack[Options]
) -> Request:
    """Deviance of a positive amount under a gamma distribution of predicted mean.

    Parameters
    ----------
    x, y
        Prediction and amount.
    log_input
        Whether x is the logarithm of the mean, else the mean.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: positive amounts, such as the cost of a claim, whose errors grow with their size.

    Shapes: x and y (...), an item is an element.

    Domain: y > 0; x > 0 for log_input=False; NaN below 0.

    Formula: 2 (y / m - 1 - log(y / m)), m = exp(x), or x for log_input=False

    Gradient: with r = y / m, 2 (1 - r) by x, for log_input=False 2 (1 - r) / x; 2 (1 / m - 1 / y)
    by y. Curvature 2 r, for log_input=False 2 (2 r - 1) / x^2, for boosting the expected one,
    2 / x^2.

    Accuracy: value 8 eps; gradient 6 eps; curvature 6 eps. For log_input=True y / m is rounded as
    a logarithm is: the value has these 8 eps of itself plus |1 - r| (|x| + |log y|), and where y is
    near m the gradient its 6 eps of itself plus 2 r (|x| + |log y|) by x, 1 / y times that by y.
    For log_input=False the curvature has its 6 eps of the sum of its terms' sizes.

    Edge cases: infinite for y = 0, with the gradient 2 by x.

    Source: McCullagh and Nelder, Generalized linear models, 1989, chapter 8.

    Elsewhere: scikit-learn `mean_gamma_deviance`, of means.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> mean, y = np.array([1.0, 2.0]), np.array([2.0, 2.0])
    >>> tinyloss.gamma_deviance(np.log(mean), y, reduction="none").round(6).tolist()
    [0.613706, 0.0]
    >>> print(f"{tinyloss.gamma_deviance(np.array([1.0]), [1 + 1e-9], log_input=False):.3g}")
    1e-18
    """
    return Request(_GammaLog if log_input else _GammaMean, x, y, **options)


class _Tweedie(Formula):
    """With a = 2 - power, b = 1 - power, u = log(y / m) and `slope` = (y - m) m^b.

    Half the deviance is slope - (y^a - m^a) / a over -b, and y (y^b - m^b) / b - slope over a: of
    the two that whose divisor is larger.
    """

    def _settle(self, y: Any, u: Any, more: Any, log_m: Any, log_y: Any, a: Any, b: Any) -> None:
        """Take y, log(y / m), y / m - 1, the two logarithms, a and b."""
        self.xp = xp = namespace(y)
        root = xp.exp(0.5 * b * log_m)
        self.m_a = m_a = xp.exp(a * log_m)
        self.m_b = root * root
        self.y, self.u, self.log_y = y, u, log_y
        self.a, self.b = xp.zeros_like(y) + a, xp.zeros_like(y) + b
        # m^b may overflow, where y m^b does not.
        self.y_m_b = product(product(y, root), root)
        self.near = xp.abs(u) < 1
        self.u_near = xp.where(self.near, u, 0.0)
        self.more = xp.where(self.near, more, 0.0)
        self.over = ~self.near & (m_a == xp.inf)
        self.sides = xp.where(u > 0, xp.inf, -xp.inf * xp.ones_like(u))
        self.far = xp.where(self.over, self.sides, self.y_m_b - m_a)
        self.slope = xp.where(self.near, product(self.more, m_a), self.far)

    def value(self) -> Any:
        xp, a, b, u = self.xp, self.a, self.b, self.u_near
        early = a > -b
        c, m_c = xp.where(early, b, a), xp.where(early, self.m_b, self.m_a)
        # Around u = 0 everything is a sum of what is of the order of u^2.
        cu, square = c * u, expm1_minus(u)
        rest = xp.where(cu == 0, 0.0, u * (expm1_minus(cu) / xp.where(cu == 0, 1.0, cu)))
        early_near = (u * self.more - square) + (1 + self.more) * rest
        near = product(xp.where(early, early_near, square - rest), self.m_a)
        quotient = self._quotient(c, m_c)
        far = xp.where(early, product(self.y, quotient) - self.far, self.far - quotient)
        far = xp.where(self.over, xp.inf, far)
        return 2 * xp.where(self.near, near, far) / xp.maximum(a, -b)

    def grad_y(self) -> Any:
        return 2 * self._quotient(self.b, self.m_b)

    def _quotient(self, c: Any, m_c: Any) -> Any:
        """Return (y^c - m^c) / c, its limit u for c = 0."""
        xp = self.xp
        cu = xp.where(c == 0, 0.0, c * self.u)
        steep = xp.abs(cu) >= 1
        small = xp.where(steep | (cu == 0), 1.0, cu)
        grown = xp.where(cu == 0, 1.0, xp.expm1(small) / small)
        y_c = xp.exp(product(c, self.log_y))
        difference = (y_c - m_c) / xp.where(steep, c, 1.0)
        over = (y_c == xp.inf) & (m_c == xp.inf)
        difference = xp.where(over, self.sides, difference)
        return xp.where(steep, difference, m_c * (xp.where(steep, 0.0, self.u) * grown))


class _TweedieLog(_Tweedie):
    name = "tweedie_deviance"

    def __init__(self, x: Any, y: Any, *, a: Any, b: Any) -> None:
        xp = namespace(x)
        y = xp.where(y < 0, xp.nan, y)
        log_y = xp.log(y)
        u = log_y - x
        more = xp.expm1(xp.where(xp.abs(u) < 1, u, 0.0))
        self._settle(y, u, more, x, log_y, a, b)

    def grad_x(self) -> Any:
        return -2 * self.slope

    def curvature(self) -> Any:
        a, b, m_a = self.a, self.b, self.m_a
        far = self.xp.where(self.over & (a < 0), self.sides, a * m_a - b * self.y_m_b)
        return 2 * self.xp.where(self.near, m_a * (a - b * (1 + self.more)), far)

    def boosting_curvature(self, curvature: Any) -> Any:
        # Negative for some powers above 2, where the expected one, of this mean, is not.
        return self.xp.where(curvature <= 0, 2 * self.m_a, curvature)

    @classmethod
    def traits(cls, *, a: float, b: float) -> Traits:
        del b
        return replace(_OF_AMOUNT, convex=a >= 0, elicits="log(mean)")


class _TweedieMean(_Tweedie):
    name = "tweedie_deviance"

    def __init__(self, x: Any, y: Any, *, a: Any, b: Any) -> None:
        xp = namespace(x)
        self.x = x = xp.where(x < 0, xp.nan, x)
        y = xp.where(y < 0, xp.nan, y)
        self.ratio, more, u = log_ratio(x, y)
        self._settle(y, u, more, xp.log(x), xp.log(y), a, b)

    def grad_x(self) -> Any:
        return -2 * self.slope / self.x

    def curvature(self) -> Any:
        return 2 * self.m_b * ((self.b + (1 - self.b) * self.ratio) / self.x)

    def boosting_curvature(self, curvature: Any) -> Any:
        # The expected one, of an amount with this mean. NaN where the loss is.
        least = float(self.xp.finfo(self.x.dtype).smallest_normal)
        return 2 * self.m_b / self.xp.maximum(self.x + 0 * self.y, least)

    @classmethod
    def traits(cls, *, a: float, b: float) -> Traits:
        del a
        return replace(_OF_AMOUNT, convex=b == 0, elicits="mean")


@LossFunction
def tweedie_deviance(
    x: Array,
    y: ArrayLike,
    *,
    log_input: Flag = True,
    power: AtLeast1 = 1.5,
    **options: Unpack[Options],
) -> Request:
    """Deviance of an amount whose variance is a power of its mean.

    Parameters
    ----------
    x, y
        Prediction and amount.
    log_input
        Whether x is the logarithm of the mean, else the mean.
    power
        The power, at least 1: 1 is Poisson's, between 1 and 2 sums of gamma amounts, 0 included, 2
        the gamma distribution's, 3 the inverse Gaussian's.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: amounts that are 0 for many items and positive for others, such as claims in a year.

    Shapes: x and y (...), an item is an element.

    Domain: y >= 0, y > 0 for a power of 2 and more; x > 0 for log_input=False; NaN below 0.

    Formula: 2 (y^(2 - p) / ((1 - p) (2 - p)) - y m^(1 - p) / (1 - p) + m^(2 - p) / (2 - p)), p the
    power and m = exp(x), or x for log_input=False; its limits are 2 (y log(y / m) - y + m) for 1
    and 2 (y / m - 1 - log(y / m)) for 2

    Gradient: 2 (m - y) m^(1 - p) by x, for log_input=False 2 (m - y) m^-p;
    2 (y^(1 - p) - m^(1 - p)) / (1 - p) by y. Curvature 2 ((p - 1) y m^(1 - p) + (2 - p) m^(2 - p)),
    for boosting 2 m^(2 - p) where it is not above 0; for log_input=False
    2 m^-p (1 - p + p y / m), for boosting the expected one, 2 m^-p.

    Accuracy: value 10 eps; gradient 8 eps; curvature 8 eps. All are times 1 + |log m| + |log y|,
    since powers and logarithms are rounded. The curvature has these eps of the sum of its terms'
    sizes, the value of itself plus |y - m| m^(1 - p), the gradients of themselves plus m^(2 - p) by
    x and m^(1 - p) by y where y is near m.

    Edge cases: near 1 and 2 as accurate as there. For y = 0 infinite from a power of 2 on; so is
    the gradient by y from above 1 on.

    Source: Jørgensen, Exponential dispersion models, J. R. Statist. Soc. B 49, 1987.

    Elsewhere: scikit-learn `mean_tweedie_deviance`, of means.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> mean, y = np.array([1.0, 2.0]), np.array([0.0, 2.0])
    >>> tinyloss.tweedie_deviance(np.log(mean), y, reduction="none").tolist()
    [4.0, 0.0]
    """
    formula = _TweedieLog if log_input else _TweedieMean
    number: Any = power
    return Request(formula, x, y, {"a": 2 - number, "b": 1 - number}, **options)


class _Gaussian(_OfError):
    name = "gaussian_nll"

    def __init__(self, x: Any, y: Any, var: Any, *, full: bool, eps: Any) -> None:
        super().__init__(x, y)
        xp = self.xp
        self.v = xp.where(var < 0, xp.nan, xp.maximum(var, eps))
        self.floored = (var >= 0) & (var < eps)
        self.constant = 0.5 * log(2 * pi) if full else 0.0

    def value(self) -> Any:
        return 0.5 * self.xp.log(self.v) + (0.5 * self.d) * (self.d / self.v) + self.constant

    def grad_x(self) -> Any:
        return self.d / self.v

    def grad_var(self) -> Any:
        # (1 - d^2/v) / 2v, factored: it keeps its digits where the error is about one sigma.
        r = self.d / self.xp.sqrt(self.v)
        return self.xp.where(self.floored, 0.0, 0.5 * ((1 - r) / self.v) * (1 + r))

    def curvature(self) -> Any:
        return 1 / self.v + self.xp.zeros_like(self.d)

    @classmethod
    def traits(cls, *, var: Any, full: bool, eps: float) -> Traits:
        del var  # without a bound above
        least = 0.5 * log(eps) + (0.5 * log(2 * pi) if full else 0.0)
        return replace(_OF_ERROR, smoothness=1 / eps, range=(least, inf), elicits="mean")


class _GaussianLogVar(_OfError):
    name = "gaussian_nll"

    def __init__(self, x: Any, y: Any, var: Any, *, full: bool, eps: Any) -> None:
        super().__init__(x, y)
        xp = self.xp
        # an array: the floor may be a Python number
        floor = xp.zeros_like(var) + eps
        self.floored = var < xp.log(floor)
        # The root of 1 / v, which is beyond the range of numbers later than 1 / v is.
        within = xp.where(self.floored, 0.0, var)
        root = xp.where(self.floored, 1 / xp.sqrt(floor), xp.exp(-0.5 * within))
        self.log = xp.where(self.floored, xp.log(floor), var)
        self.root = root + xp.zeros_like(self.d)
        self.r = of_error(self.d, self.root)
        self.constant = 0.5 * log(2 * pi) if full else 0.0

    def value(self) -> Any:
        return 0.5 * self.log + 0.5 * self.r * self.r + self.constant

    def grad_x(self) -> Any:
        return of_error(self.r, self.root)

    def grad_var(self) -> Any:
        return self.xp.where(self.floored, 0.0, 0.5 * (1 - self.r) * (1 + self.r))

    def curvature(self) -> Any:
        return self.root * self.root

    @classmethod
    def traits(cls, **params: Any) -> Traits:
        return _Gaussian.traits(**params)


@LossFunction
def gaussian_nll(
    x: Array,
    y: ArrayLike,
    var: ArrayLike,
    *,
    full: Flag = False,
    eps: Positive = 1e-6,
    log_var: Flag = False,
    **options: Unpack[Options],
) -> Request:
    """Negative log-likelihood of a target under a Gaussian of predicted mean and variance.

    Parameters
    ----------
    x, y
        Predicted mean and target.
    var
        Predicted variance: of x's shape, or broadcasting to it. Beside x of shape (N, C) one of
        shape (C,) is for columns, one of (N, 1) for rows; (N,) is for columns too where N is C.
    full
        Whether to add the constant log(2 pi) / 2.
    eps
        The least variance, above 0: smaller ones count as this.
    log_var
        Whether var holds the logarithms of variances: a network's output as it is.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: numbers with a spread that is predicted, too.

    Shapes: x and y (...), var (...) or broadcasting to it; an item is an element.

    Domain: all real x and y; var >= 0, NaN below; all real var with log_var=True.

    Formula: (log v + (x - y)^2 / v) / 2, v = max(var, eps), or max(exp(var), eps) with log_var=True

    Gradient: (x - y) / v by x, the opposite by y; (1 - (x - y)^2 / v) / (2 v) by a var of x's
    shape, with log_var=True (1 - (x - y)^2 / v) / 2, 0 where the variance is below eps; curvature
    1 / v.

    Accuracy: value 4 eps; gradient 1 eps by x and y, 4 eps by var; curvature 1 eps. The value and
    the gradient by var have these 4 eps of the sum of their terms' sizes: between terms of opposite
    sign they pass through 0. With log_var=True the gradient by x and y and the curvature have 4
    eps, of an exponential.

    Edge cases: a variance of 0 counts as eps.

    Source: Nix and Weigend, Estimating the mean and variance of the target probability
    distribution, ICNN 1994.

    Elsewhere: torch `gaussian_nll_loss`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x, y, var = np.array([0.0, 2.0]), np.array([1.0, 2.0]), np.array([1.0, 4.0])
    >>> tinyloss.gaussian_nll(x, y, var).round(6).item()
    0.596574
    """
    params = {"full": full, "eps": eps}
    return Request(
        _GaussianLogVar if log_var else _Gaussian, x, y, params, arrays={"var": var}, **options
    )
