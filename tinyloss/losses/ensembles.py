"""Losses of ensembles: of several predictions of one number."""

from math import inf
from typing import Any, Unpack

from tinyloss._arrays import namespace
from tinyloss._engine.request import Request
from tinyloss._formula import Formula
from tinyloss._in_order import Groups, Order, following, places, previous
from tinyloss._lists import ListFunction
from tinyloss._traits import Traits
from tinyloss.losses._numerics import sign
from tinyloss.typing import Array, ArrayLike, Flag, ListOptions

__all__ = ["crps_ensemble"]


class _CRPSEnsemble(Formula):
    """The integral of the squared difference of two steps, of members in order.

    Between the k-th and the next of m members it is (k / m)^2 below y and ((m - k) / m)^2 above, or
    k (k - 1) / (m (m - 1)) and (m - k) (m - k - 1) / (m (m - 1)) if fair: nothing cancels.
    """

    name = "crps_ensemble"
    rowwise = True
    in_order = True

    def __init__(self, x: Any, y: Any, *, fair: bool) -> None:
        self.xp = namespace(x)
        self.fair = fair
        self.order = order = Order(x)
        self.x, self.y = order.of(x), order.of(y)
        self.many = x.shape[-1]
        place = places(x) + 1
        left = self.many - place
        self.below = self.weight(place)
        self.above = self.weight(left + 1)

    def weight(self, k: Any) -> Any:
        """Return the squared share of k members."""
        if self.fair:
            return (k / self.many) * ((k - 1) / (self.many - 1))
        return (k / self.many) * (k / self.many)

    def value(self) -> Any:
        xp = self.xp
        # Differences of halves do not overflow, and products of what is not small do not underflow.
        top = xp.max(xp.maximum(xp.abs(self.x), xp.abs(self.y)), axis=-1, keepdims=True)
        large, one = top > 1, xp.ones_like(top)
        scale = xp.where(large, 0.5, 2.0**64 * one)
        x, y = self.x * scale, self.y * scale
        low, high = xp.minimum(x, y), xp.maximum(x, y)
        place = places(x)
        up = xp.where(place == self.many - 1, y, following(low)) - low
        down = high - xp.where(place == 0, y, previous(high))
        total = xp.sum(self.below * up + self.above * down, axis=-1, keepdims=True)
        return (total * xp.where(large, 2.0, 2.0**-64 * one))[..., 0]

    def grad_x(self) -> Any:
        xp, many = self.xp, self.many
        first, last = Groups.of(self.x).bounds()
        # members that are equal do not push each other apart
        rank = xp.astype(first + last, self.x.dtype) + 2
        others = many - 1 if self.fair else many
        side = sign(self.x - self.y)
        return self.order.back((side * others - (rank - (many + 1))) / others / many)

    @classmethod
    def traits(cls, *, fair: bool) -> Traits:
        # Of members on one side of y slopes are (2 i - 1) / m^2, i = 1, ..., m; fair: 2 (i - 1) /
        # (m (m - 1)). Their length is 1 for the fewest members there may be, and less for more; of
        # members on both sides no more. Where members meet is no value of one variable.
        return Traits(
            convex=False,  # members that part cost less
            strong_convexity=0.0,
            lipschitz=1.0,
            smoothness=inf,
            range=(0.0, inf),
            symmetric=True,
            # In order, the i-th member pays the loss of one quantile, and a constant.
            elicits="(i - 1) / (m - 1)-quantiles" if fair else "(i - 1/2) / m-quantiles",
        )


@ListFunction
def crps_ensemble(
    x: Array,
    y: ArrayLike,
    *,
    fair: Flag = False,
    **options: Unpack[ListOptions],
) -> Request:
    """Continuous ranked probability score of an ensemble: how far its steps are from the target's.

    Parameters
    ----------
    x
        Members of the ensemble.
    y
        Numbers to be predicted, one for each ensemble.
    fair
        Whether the spread is that of which the members are a sample: what a larger ensemble would
        have on average.
    axis
        The axis of the members.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: forecasts that are samples, whose spread should be right as well.

    Shapes: x (..., M), or M along `axis`, y (...). An item is an ensemble.

    Domain: all real numbers; `fair` needs two members.

    Formula: sum_i |x_i - y| / M - sum_i sum_j |x_i - x_j| / (2 M^2); `fair`: / (2 M (M - 1))

    Gradient: sign(x_i - y) / M - (2 r_i - M - 1) / M^2 by x, r_i the rank of x_i, the mean of their
    ranks for members that are equal; `fair`: / (M (M - 1)).

    Accuracy: value 4 eps; gradient 4 eps.

    Edge cases: of one member |x - y|.

    Source: Matheson and Winkler, Scoring rules for continuous probability distributions, Management
    Science 22, 1976; Ferro, Fair scores for ensemble forecasts, Q. J. R. Meteorol. Soc. 140, 2014.

    Elsewhere: properscoring `crps_ensemble`; scoringrules `crps_ensemble`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x, y = np.array([[1.0, 3.0], [0.0, 0.0]]), np.array([2.0, 1.0])
    >>> tinyloss.crps_ensemble(x, y, reduction="none").tolist()
    [0.5, 1.0]
    """
    shape: tuple[Any, ...] = () if x is None else tuple(x.shape)
    axis = options.get("axis", -1)
    if fair and -len(shape) <= axis < len(shape) and shape[axis] == 1:
        raise ValueError(
            "tinyloss.crps_ensemble: fair is True beside one member, expected two or more"
        )
    return Request(_CRPSEnsemble, x, y, {"fair": fair}, y_of_rows=True, **options)
