"""Losses for real-valued targets. An item is an element: x and y have one shape."""

from math import exp, log, pi
from typing import Any, Unpack

from tinyloss._arrays import namespace
from tinyloss._engine.request import Request
from tinyloss._formula import Formula
from tinyloss._function import LossFunction
from tinyloss.losses._numerics import magnitude, product, sign, steep
from tinyloss.typing import Array, ArrayLike, Flag, NonNegative, Options, Positive, Share

__all__ = [
    "gaussian_nll",
    "huber",
    "log_cosh",
    "mae",
    "mape",
    "mse",
    "msle",
    "poisson_nll",
    "quantile",
    "smooth_l1",
]


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


@LossFunction
def quantile(x: Array, y: ArrayLike, *, q: Share = 0.5, **options: Unpack[Options]) -> Request:
    """Pinball loss: its best prediction is the q-quantile of the target.

    Parameters
    ----------
    x, y
        Prediction and target.
    q
        The quantile to predict, from 0 to 1.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: a quantile of numbers, such as the 90 % that a delivery takes at most; two of them make
    an interval.

    Shapes: x and y (...), an item is an element.

    Domain: all real numbers.

    Formula: q (y - x) where y >= x, (1 - q) (x - y) otherwise

    Gradient: -q where x < y, 1 - q where x > y, 0 at the kink x = y; by y the opposite;
    curvature 0, for boosting 1.

    Accuracy: value 2 eps; gradient 1 eps; curvature exact.

    Edge cases: q = 1/2 gives half the absolute error.

    Source: Koenker and Bassett, Regression quantiles, Econometrica 46, 1978.

    Elsewhere: scikit-learn `mean_pinball_loss`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x, y = np.array([0.0, 3.0]), np.array([1.0, 1.0])
    >>> tinyloss.quantile(x, y, q=0.75, reduction="none").tolist()
    [0.75, 0.5]
    """
    return Request(_Quantile, x, y, {"q": q}, **options)


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


@LossFunction
def gaussian_nll(
    x: Array,
    y: ArrayLike,
    var: ArrayLike,
    *,
    full: Flag = False,
    eps: Positive = 1e-6,
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
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: numbers with a spread that is predicted, too.

    Shapes: x and y (...), var (...) or broadcasting to it; an item is an element.

    Domain: all real x and y; var >= 0, NaN below.

    Formula: (log v + (x - y)^2 / v) / 2, v = max(var, eps)

    Gradient: (x - y) / v by x, the opposite by y; (1 - (x - y)^2 / v) / (2 v) by a var of x's
    shape, 0 where it is below eps; curvature 1 / v.

    Accuracy: value 4 eps; gradient 1 eps by x and y, 4 eps by var; curvature 1 eps. The value and
    the gradient by var have these 4 eps of the sum of their terms' sizes: between terms of opposite
    sign they pass through 0.

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
    return Request(_Gaussian, x, y, params, arrays={"var": var}, **options)
