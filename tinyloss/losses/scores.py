"""Proper scores of forecasts that are distributions with a location and a scale.

An item is an element. A score is proper: no other forecast has a lower expected loss than the
distribution that targets come from.
"""

from dataclasses import replace
from math import inf, log, pi, sqrt
from typing import Any, ClassVar, Unpack

from tinyloss._arrays import namespace
from tinyloss._engine.request import Request
from tinyloss._formula import Formula
from tinyloss._function import LossFunction
from tinyloss._traits import Traits
from tinyloss.losses._numerics import erf, product, sign, steep
from tinyloss.typing import Array, ArrayLike, Distribution, Options

__all__ = ["crps", "log_score"]


class _Standard:
    """A distribution of location 0 and scale 1, symmetric, at the distance a >= 0."""

    def __init__(self, a: Any) -> None:
        self.xp, self.a = namespace(a), a

    def inside(self) -> Any:
        """Return the probability of being nearer than a: F(a) - F(-a)."""
        raise NotImplementedError

    def root(self) -> Any:
        """Return the square root of 2 f(a), whose tail underflows only where f^2 does."""
        raise NotImplementedError

    def spread(self) -> Any:
        """Return the derivative of the CRPS by the scale.

        The CRPS is homogeneous in error and scale: it is a times `inside`, plus this.
        """
        raise NotImplementedError

    def surprise(self) -> Any:
        """Return -log f(a)."""
        raise NotImplementedError

    def pull(self) -> Any:
        """Return the derivative of `surprise`."""
        raise NotImplementedError

    def excess(self, rate: Any) -> Any:
        """Return 1 - a times `pull`, all times a rate."""
        return (1 - self.a * self.pull()) * rate

    def bend(self) -> Any:
        """Return the square root of the derivative of `pull`."""
        raise NotImplementedError


_TWICE_DENSITY = sqrt(2 / pi)
"""2 f(0) of the Gaussian."""


class _Gaussian(_Standard):
    def __init__(self, a: Any) -> None:
        super().__init__(a)
        self.half = 0.5 * a * a

    def inside(self) -> Any:
        return erf(self.a * sqrt(0.5))

    def root(self) -> Any:
        return sqrt(_TWICE_DENSITY) * self.xp.exp(-0.5 * self.half)

    def spread(self) -> Any:
        # 2 f(a) - 1 / sqrt(pi), from its value at 0 on: nothing cancels for small a
        return (sqrt(2) - 1) / sqrt(pi) + _TWICE_DENSITY * self.xp.expm1(-self.half)

    def surprise(self) -> Any:
        return self.half + 0.5 * log(2 * pi)

    def pull(self) -> Any:
        return self.a

    def excess(self, rate: Any) -> Any:
        # in this order: the square of a may overflow where the result does not
        return (1 - self.a) * rate * (1 + self.a)

    def bend(self) -> Any:
        return self.xp.ones_like(self.a)


class _Logistic(_Standard):
    def __init__(self, a: Any) -> None:
        super().__init__(a)
        self.e, self.m = self.xp.exp(-a), self.xp.expm1(-a)

    def inside(self) -> Any:
        return -self.m / (1 + self.e)

    def root(self) -> Any:
        return sqrt(2) * self.xp.exp(-0.5 * self.a) / (1 + self.e)

    def spread(self) -> Any:
        # 2 log(1 + e) - 1 + 2 a e / (1 + e), from its value at 0 on: with t the probability inside,
        # (1 + e) / 2 is 1 / (1 + t)
        moved = product(self.e, self.a) / (1 + self.e) - self.xp.log1p(self.inside())
        return 2 * log(2) - 1 + 2 * moved

    def surprise(self) -> Any:
        return self.a + 2 * self.xp.log1p(self.e)

    def pull(self) -> Any:
        return self.inside()

    def bend(self) -> Any:
        return self.root()


class _Laplace(_Standard):
    def __init__(self, a: Any) -> None:
        super().__init__(a)
        self.e, self.m = self.xp.exp(-a), self.xp.expm1(-a)

    def inside(self) -> Any:
        return -self.m

    def root(self) -> Any:
        return self.xp.exp(-0.5 * self.a)

    def spread(self) -> Any:
        # (1 + a) e - 3/4, from its value at 0 on
        return 0.25 + (self.m + product(self.e, self.a))

    def surprise(self) -> Any:
        return self.a + log(2)

    def pull(self) -> Any:
        return self._known(1.0)

    def bend(self) -> Any:
        return self._known(0.0)

    def _known(self, number: float) -> Any:
        """Return a number, NaN where the distance is."""
        return self.xp.where(self.a == self.a, number, self.a)


_OF_ERROR = Traits(
    convex=True,
    strong_convexity=0.0,
    lipschitz=inf,
    smoothness=inf,
    range=(-inf, inf),
    symmetric=True,
    variable="x - y",
    kinks=(),
)
"""Those of a score whose slopes and curvatures grow without a bound as the scale shrinks."""


class _Score(Formula):
    """A loss of an error and a scale."""

    standard: ClassVar[type[_Standard]] = _Gaussian

    def __init__(self, x: Any, y: Any, scale: Any) -> None:
        self.xp = xp = namespace(x)
        d = x - y
        self.size, self.way = xp.abs(d), sign(d)
        self.scale = self._settled(scale)
        # A scale of 0 is infinitely far from any error but 0.
        exact = (self.scale == 0) & (d == 0)
        self.at = self.standard(self.size / xp.where(exact, 1.0, self.scale))

    def _settled(self, scale: Any) -> Any:
        raise NotImplementedError

    def grad_x(self) -> Any:
        raise NotImplementedError

    def grad_y(self) -> Any:
        return -self.grad_x()


class _CRPS(_Score):
    name = "crps"

    def _settled(self, scale: Any) -> Any:
        # a scale of -0 is 0
        return self.xp.where(scale < 0, self.xp.nan, self.xp.abs(scale))

    def value(self) -> Any:
        return self.size * self.at.inside() + self.scale * self.at.spread()

    def grad_x(self) -> Any:
        return self.way * self.at.inside()

    def grad_scale(self) -> Any:
        return self.at.spread()

    def curvature(self) -> Any:
        root = self.at.root()
        # 0 over a scale of 0, too
        return root * self.xp.where(
            root == 0, 0.0, root / self.xp.where(root == 0, 1.0, self.scale)
        )

    boosting_curvature = steep

    @classmethod
    def traits(cls, **_: Any) -> Traits:
        # the gradient jumps for a scale of 0 alone
        return replace(_OF_ERROR, lipschitz=1.0, range=(0.0, inf), kinks=None)


class _LogisticCRPS(_CRPS):
    standard = _Logistic


class _LaplaceCRPS(_CRPS):
    standard = _Laplace


class _LogScore(_Score):
    name = "log_score"

    def __init__(self, x: Any, y: Any, scale: Any) -> None:
        super().__init__(x, y, scale)
        # Of two divisions by the scale XLA makes one by its square, which underflows. For a
        # subnormal scale this is infinite, and multiplies no 0.
        self.rate = 1 / self.scale

    def _settled(self, scale: Any) -> Any:
        return self.xp.where(scale > 0, scale, self.xp.nan)

    def value(self) -> Any:
        return self.xp.log(self.scale) + self.at.surprise()

    def grad_x(self) -> Any:
        # The pull is NaN for a scale of 0 or less, also where x = y.
        return product(self.way * self.at.pull(), self.rate)

    def grad_scale(self) -> Any:
        return self.at.excess(self.rate)

    def curvature(self) -> Any:
        root = product(self.at.bend(), self.rate)
        return root * root

    boosting_curvature = steep

    @classmethod
    def traits(cls, **_: Any) -> Traits:
        return replace(_OF_ERROR, elicits="mean")


class _LogisticLogScore(_LogScore):
    standard = _Logistic

    @classmethod
    def traits(cls, **_: Any) -> Traits:
        return _OF_ERROR


class _LaplaceLogScore(_LogScore):
    standard = _Laplace

    @classmethod
    def traits(cls, **_: Any) -> Traits:
        return replace(_OF_ERROR, kinks=(0.0,), elicits="median")


_CRPS_OF = {"gaussian": _CRPS, "logistic": _LogisticCRPS, "laplace": _LaplaceCRPS}
_LOG_SCORE_OF = {
    "gaussian": _LogScore,
    "logistic": _LogisticLogScore,
    "laplace": _LaplaceLogScore,
}


@LossFunction
def crps(
    x: Array,
    y: ArrayLike,
    scale: ArrayLike,
    *,
    distribution: Distribution = "gaussian",
    **options: Unpack[Options],
) -> Request:
    """Continuous ranked probability score: the absolute error of a forecast with a spread.

    It has the unit of y. An outlier costs as its absolute error does, and a forecast of scale 0
    costs exactly that.

    Parameters
    ----------
    x, y
        Predicted location and target.
    scale
        Predicted scale: of x's shape, or broadcasting to it. The standard deviation of the
        Gaussian; s in the densities below.
    distribution
        "gaussian"; "logistic", of density e / (s (1 + e)^2), e = exp(-|x - y| / s); or "laplace",
        of density exp(-|x - y| / s) / (2 s).
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: forecasts of a location and a spread that are judged by distance, robust to outliers.

    Shapes: x and y (...), scale (...) or broadcasting to it; an item is an element.

    Domain: all real x and y; scale >= 0, NaN below.

    Formula: s (a (2 F(a) - 1) + 2 f(a) - 1 / sqrt(pi)), a = |x - y| / s, F and f the standard
    Gaussian's; s (a + 2 log(1 + exp(-a)) - 1) logistic; s (a + exp(-a) - 3 / 4) laplace

    Gradient: 2 F(a) - 1 by x with the sign of x - y, the opposite by y. By scale, 2 f(a) -
    1 / sqrt(pi); 2 log(1 + e) - 1 + 2 a e / (1 + e), e = exp(-a); (1 + a) e - 3 / 4. Curvature
    2 f(a) / s, for boosting 1 where that is 0.

    Accuracy: value 4 eps; gradient 3 eps by x and y, 4 eps by scale; curvature 4 eps. The gradient
    by scale has these 4 eps of the sum of its terms' sizes: it passes through 0. The curvature has
    them times 1 + a^2, logistic and laplace 1 + a: that is what rounding a does to a tail.

    Edge cases: |x - y| for a scale of 0. There the gradient by x is the sign of the error, that by
    scale the limit from above, and the curvature 0, or infinite where x = y.

    Source: Gneiting and Raftery, Strictly proper scoring rules, prediction, and estimation, JASA
    102, 2007; Jordan, Krueger and Lerch, Evaluating probabilistic forecasts with scoringRules, J.
    Stat. Softw. 90, 2019.

    Elsewhere: none.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x, y, scale = np.array([0.0, 0.0]), np.array([0.0, 3.0]), np.array([1.0, 1.0])
    >>> tinyloss.crps(x, y, scale, reduction="none").round(6).tolist()
    [0.233695, 2.436575]
    """
    formula = _CRPS_OF[distribution]
    return Request(formula, x, y, arrays={"scale": scale}, **options)


@LossFunction
def log_score(
    x: Array,
    y: ArrayLike,
    scale: ArrayLike,
    *,
    distribution: Distribution = "gaussian",
    **options: Unpack[Options],
) -> Request:
    """Logarithmic score: minus the logarithm of a forecast's density at the target.

    Its sum over items is the negative log-likelihood, with every constant.

    Parameters
    ----------
    x, y
        Predicted location and target.
    scale
        Predicted scale: of x's shape, or broadcasting to it. The standard deviation of the
        Gaussian; s in the densities below.
    distribution
        "gaussian"; "logistic", of density e / (s (1 + e)^2), e = exp(-|x - y| / s); or "laplace",
        of density exp(-|x - y| / s) / (2 s).
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: forecasts of a location and a spread that are judged by likelihood.

    Shapes: x and y (...), scale (...) or broadcasting to it; an item is an element.

    Domain: all real x and y; scale > 0, NaN elsewhere.

    Formula: log s + a^2 / 2 + log(2 pi) / 2, a = |x - y| / s; log s + a + 2 log(1 + exp(-a))
    logistic; log s + a + log 2 laplace

    Gradient: with g the derivative by a, which is a, tanh(a / 2) or 1: g / s by x with the sign of
    x - y, the opposite by y; (1 - a g) / s by scale. It is 0 by x and y where x = y. Curvature
    1 / s^2; 2 e / (s (1 + e))^2, e = exp(-a), logistic; 0 laplace, for boosting 1.

    Accuracy: value 3 eps; gradient 3 eps by x and y, 4 eps by scale; curvature 4 eps. The value and
    the gradient by scale have these of the sum of their terms' sizes: they pass through 0. The
    logistic's curvature has its 4 eps times 1 + a: that is what rounding a does to a tail.

    Edge cases: below 0 where the density is above 1.

    Source: Good, Rational decisions, J. R. Stat. Soc. B 14, 1952; Gneiting and Raftery, Strictly
    proper scoring rules, prediction, and estimation, JASA 102, 2007.

    Elsewhere: none.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x, y, scale = np.array([0.0]), np.array([2.0]), np.array([1.0])
    >>> tinyloss.log_score(x, y, scale, distribution="laplace").round(6).item()
    2.693147
    """
    formula = _LOG_SCORE_OF[distribution]
    return Request(formula, x, y, arrays={"scale": scale}, **options)
