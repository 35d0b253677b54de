"""Losses of lists: an item is a list, whose members are put in order by their scores."""

from collections.abc import Sequence
from dataclasses import replace
from math import inf, log
from typing import Any, NamedTuple, Unpack

from tinyloss._arrays import beside, namespace
from tinyloss._differences import exact_difference, exp_difference
from tinyloss._engine.request import Request
from tinyloss._formula import Formula
from tinyloss._function import LossFunction
from tinyloss._in_order import shortfalls
from tinyloss._rows import over_pairs
from tinyloss._traits import Traits
from tinyloss.losses._numerics import positive_part, sign, steep
from tinyloss.typing import (
    Array,
    ArrayLike,
    AtLeast1OrNone,
    CheckedLambdaKind,
    Discount,
    Gain,
    ListOptions,
    NonNegative,
    Positive,
)

__all__ = [
    "approx_ndcg",
    "lambdaloss",
    "lambdarank",
    "pairwise_hinge",
    "pairwise_logistic",
    "pairwise_mse",
    "pairwise_soft_zero_one",
]

_LN_2 = log(2)


_SUM = Traits(convex=True, strong_convexity=0.0, lipschitz=inf, smoothness=inf, range=(0.0, inf))
"""Of a sum over pairs, as many as a list has: what all lists have in common is no constant."""


class _List(Formula):
    """A loss of lists; what is masked has the score 0, and counts nowhere."""

    rowwise = True

    def __init__(self, x: Any, y: Any, *, mask: Any = None) -> None:
        self.xp = xp = namespace(x)
        self.x, self.y, self.there = x, y, None
        if mask is not None:
            self.there = mask != 0
            self.x, self.y = xp.where(self.there, x, 0.0), xp.where(self.there, y, 0.0)

    @classmethod
    def traits(cls, **parameters: Any) -> Traits:
        del parameters
        return Traits()


class _Pairwise(_List):
    """The sum over pairs of members whose labels differ of what the lead of the better costs.

    A masked member has the label NaN inside, which is neither above nor below another.
    """

    paired = True

    def __init__(self, x: Any, y: Any, *, mask: Any = None, member_weight: Any = None) -> None:
        super().__init__(x, y, mask=mask)
        self.weighted = member_weight is not None
        unknown = self.y - self.y  # NaN for a label that is NaN or infinite
        y = self.y if self.there is None else self.xp.where(self.there, self.y, self.xp.nan)
        weights = (member_weight,) if self.weighted else ()
        self.arrays = (self.x, y, *self.of_members(), *weights)
        losses, slopes = self.sums()
        self.losses, self.slopes = self.of_list(losses) + unknown, self.of_list(slopes) + unknown

    def sums(self) -> tuple[Any, ...]:
        """Return what the pairs that each member leads cost, and the slope of all that it is in."""
        return over_pairs(self.value_and_slope, self.arrays)

    def of_members(self) -> tuple[Any, ...]:
        """Return what pairs weigh by besides scores, labels and the weights of members."""
        return ()

    def of_list(self, sums: Any) -> Any:
        """Return sums over pairs by what all pairs of a list weigh."""
        return sums

    def value(self) -> Any:
        return self.xp.sum(self.losses, axis=-1)

    def grad_x(self) -> Any:
        return self.slopes

    def grad_y(self) -> Any:
        return self.xp.zeros_like(self.slopes)

    def curvature(self) -> Any:
        (bend,) = over_pairs(self.bends, self.arrays)
        return self.of_list(bend)

    boosting_curvature = steep

    def weights(self, own: Sequence[Any], other: Sequence[Any]) -> tuple[Any, Any] | None:
        """Return what a pair weighs if the first is the better, and if the second is."""
        return (own[-1], other[-1]) if self.weighted else None

    def pair(
        self, own: Sequence[Any], other: Sequence[Any], weights: tuple[Any, Any] | None
    ) -> "_Pair":
        """Return a pair of these weights, if any."""
        up, down = own[1] > other[1], own[1] < other[1]
        if weights is None:
            return _Pair(self.xp, up, down, None, None)
        first, second = weights
        return _Pair(self.xp, up & (first != 0), down & (second != 0), first, second)

    def value_and_slope(self, own: Sequence[Any], other: Sequence[Any]) -> tuple[Any, Any]:
        """Return what a pair costs, if the first is the better, and its share of the slope."""
        pair = self.pair(own, other, self.weights(own, other))
        cost, slope = self.of_lead(own[0], other[0], pair.down)
        # each pair costs once, and moves both
        return pair.cost(cost), pair.share(slope, -1.0)

    def bends(self, own: Sequence[Any], other: Sequence[Any]) -> tuple[Any]:
        """Return a pair's share of the first's curvature."""
        pair = self.pair(own, other, self.weights(own, other))
        return (pair.share(self.bend(own[0], other[0], pair.down), 1.0),)

    def of_lead(self, x: Any, other: Any, down: Any) -> tuple[Any, Any]:
        """Return the cost of the lead of the better of two scores, and its slope by the lead.

        The lead is x - other, or other - x where `down`, if that is told.
        """
        raise NotImplementedError

    def bend(self, x: Any, other: Any, down: Any) -> Any:
        """Return the second derivative of the cost by the lead."""
        raise NotImplementedError


class _Pair(NamedTuple):
    """Which of two members is the better, if one is, and what the pair weighs then."""

    xp: Any
    up: Any
    """Whether the first is."""
    down: Any
    """Whether the second is."""
    first: Any
    """The weight if the first is; None for 1."""
    second: Any

    def cost(self, cost: Any) -> Any:
        """Return a cost by the weight if the first is the better, else 0."""
        return self.xp.where(self.up, cost if self.first is None else self.first * cost, 0.0)

    def swapped(self) -> "_Pair":
        """Return the pair with its second member first."""
        return _Pair(self.xp, self.down, self.up, self.second, self.first)

    def share(self, share: Any, turn: float) -> Any:
        """Return a share by the weight of the pair; `turn` is its sign if the second is better.

        0 where neither is.
        """
        second = share if self.second is None else self.second * share
        return self.xp.where(
            self.up, self.cost(share), self.xp.where(self.down, turn * second, 0.0)
        )


class _Lead:
    """The sigmoids of the lead of one of two scores, to the last bits in both tails."""

    def __init__(
        self, xp: Any, x: Any, other: Any, down: Any = None, temperature: Any = None
    ) -> None:
        high, low = xp.maximum(x, other), xp.minimum(x, other)
        # the difference of two scores is rounded, its exponential is not to be
        if temperature is None:
            self.t, self.distance = exp_difference(low, high), high - low
        else:
            d, rounded = exact_difference(low, high)
            e = xp.exp(d / temperature)
            self.t, self.distance = e + e * rounded / temperature, (high - low) / temperature
        self.large = 1 / (1 + self.t)
        self.small = self.t * self.large
        # sigma(z) - sigma(-z) = tanh(z / 2), with all digits where both are about 1/2
        self.apart = -xp.expm1(-self.distance) * self.large
        behind = x < other
        self.behind = behind if down is None else behind != down
        """Whether the lead is below 0; at 0 it may be either, where both sides meet."""


class _PairwiseLogistic(_Pairwise):
    name = "pairwise_logistic"

    def of_lead(self, x: Any, other: Any, down: Any) -> tuple[Any, Any]:
        where, lead = self.xp.where, _Lead(self.xp, x, other, down)
        cost = where(lead.behind, lead.distance, 0.0) + self.xp.log1p(lead.t)
        return cost, -where(lead.behind, lead.large, lead.small)

    def bend(self, x: Any, other: Any, down: Any) -> Any:
        lead = _Lead(self.xp, x, other, down)
        return lead.small * lead.large

    @classmethod
    def traits(cls, **parameters: Any) -> Traits:
        del parameters
        return replace(_SUM, kinks=())


class _PairwiseSoftZeroOne(_Pairwise):
    name = "pairwise_soft_zero_one"

    def of_lead(self, x: Any, other: Any, down: Any) -> tuple[Any, Any]:
        lead = _Lead(self.xp, x, other, down)
        return self.xp.where(lead.behind, lead.large, lead.small), -(lead.small * lead.large)

    def bend(self, x: Any, other: Any, down: Any) -> Any:
        lead = _Lead(self.xp, x, other, down)
        bend = lead.small * lead.large * lead.apart
        return self.xp.where(lead.behind, -bend, bend)

    @classmethod
    def traits(cls, **parameters: Any) -> Traits:
        del parameters
        return replace(_SUM, convex=False, kinks=())


class PairwiseHinge(_Pairwise):
    name = "pairwise_hinge"
    sorted_from = 400

    def __init__(self, x: Any, y: Any, *, margin: Any, **others: Any) -> None:
        self.margin = margin
        super().__init__(x, y, **others)

    def of_lead(self, x: Any, other: Any, down: Any) -> tuple[Any, Any]:
        d = x - other
        short = positive_part(self.margin - self.xp.where(down, -d, d))
        return short, -sign(short)

    def sums(self) -> tuple[Any, ...]:
        if not self.in_order:
            return super().sums()
        x, y = self.arrays[:2]
        weights = self.arrays[-1] if self.weighted else self.xp.ones_like(x)
        cost, led, behind = shortfalls(x, y, weights, self.margin)
        return cost, behind - led

    def curvature(self) -> Any:
        return self.xp.zeros_like(self.x)

    @classmethod
    def traits(cls, **parameters: Any) -> Traits:
        del parameters
        return _SUM


class _Discount:
    """How much less a member counts the lower its rank is."""

    def __init__(self, xp: Any, name: str, top: Any = None) -> None:
        self.xp, self.top, self.logs = xp, top, name == "log2"

    def of(self, rank: Any) -> Any:
        """Return the discounts of ranks, from 1, wherever the list is cut off."""
        return _LN_2 / self.xp.log1p(rank) if self.logs else 1 / rank

    def slopes(self, rank: Any) -> tuple[Any, Any]:
        """Return the first two derivatives of the discount by the rank, of opposite signs."""
        if self.logs:
            size, near = self.xp.log1p(rank), 1 / (1 + rank)
            slope = self.of(rank) * near / size
            return -slope, slope * near * (1 + 2 / size)
        return -1 / (rank * rank), 2 / (rank * rank * rank)

    def kept(self, rank: Any, discount: Any) -> Any:
        """Return what is of ranks that are not cut off, 0 for others."""
        return discount if self.top is None else self.xp.where(rank <= self.top, discount, 0.0)

    def fall(self, rank: Any, apart: Any, both: Any) -> Any:
        """Return the discount of a rank less that of one so far behind; `both` is their product.

        1 / log a - 1 / log b is log(b / a) / (log a log b), which does not cancel.
        """
        return both * (self.xp.log1p(apart / (1 + rank)) / _LN_2 if self.logs else apart)


class _Graded:
    """Gains of a list's members by their labels, and the largest DCG that there is of them."""

    def __init__(
        self, xp: Any, y: Any, there: Any, gain: str, discount: _Discount, weight: Any = None
    ) -> None:
        self.xp, self.exponential, self.weight = xp, gain == "exponential", weight
        self.steps = 2.0**y if self.exponential else y
        """Gains, each less the same number."""
        gains = self.steps - 1 if self.exponential else y
        gains = gains if weight is None else weight * gains
        rank = _ranks(y if weight is None else gains, there)
        ideal = discount.kept(rank, discount.of(rank))
        self.gains, self.ideal = (
            each if there is None else xp.where(there, each, 0.0) for each in (gains, ideal)
        )
        best = xp.sum(self.gains * self.ideal, axis=-1, keepdims=True)
        self.none = best == 0
        self.best = xp.where(self.none, 1.0, best)

    def of_list(self, sums: Any) -> Any:
        """Return sums by the largest DCG, 0 where no member has a gain."""
        return self.xp.where(self.none, 0.0, sums / self.best)

    def slope(self, sums: Any, value: Any) -> Any:
        """Return slopes by labels, of a sum's slopes by gains and its value by the largest DCG."""
        by_gain = self.of_list(sums - value * self.ideal)
        by_gain = by_gain if self.weight is None else self.weight * by_gain
        return by_gain * (_LN_2 * self.steps) if self.exponential else by_gain


def _ranks(v: Any, there: Any) -> Any:
    """Return the ranks of members from the largest number down, from 1; ties by position."""
    xp = namespace(v)
    v = v if there is None else xp.where(there, v, -xp.inf)

    def before(own: Sequence[Any], other: Sequence[Any]) -> tuple[Any]:
        earlier = (own[0] == other[0]) & (other[1] < own[1])
        return (xp.where((other[0] > own[0]) | earlier, xp.ones_like(own[0]), 0.0),)

    (number,) = over_pairs(before, [v, xp.arange(v.shape[-1], **beside(v))])
    return 1 + number


class _Lambda(_PairwiseLogistic):
    """Pairs weigh by gains and ranks, and are over the largest DCG; ranks are held as they are."""

    def __init__(
        self,
        x: Any,
        y: Any,
        *,
        kind: str,
        gain: str,
        discount: str,
        top: Any = None,
        mu: Any = None,
        **others: Any,
    ) -> None:
        self.kind, self.gain, self.mu, self.top = kind, gain, mu, top
        self.discount = _Discount(namespace(x), discount, top)
        super().__init__(x, y, **others)

    def of_members(self) -> tuple[Any, ...]:
        self.graded = _Graded(self.xp, self.y, self.there, self.gain, self.discount)
        rank = _ranks(self.x, self.there)
        return rank, self.discount.of(rank), self.graded.steps

    def of_list(self, sums: Any) -> Any:
        return self.graded.of_list(sums)

    def grad_y(self) -> Any:
        (sums,) = over_pairs(self.by_gain, self.arrays)
        return self.graded.slope(sums, self.xp.sum(self.losses, axis=-1, keepdims=True))

    def weights(self, own: Sequence[Any], other: Sequence[Any]) -> tuple[Any, Any]:
        gain = self.xp.abs(own[4] - other[4])
        return self._weights(own, other, gain * self.fall(own, other))

    def _weights(self, own: Sequence[Any], other: Sequence[Any], fall: Any) -> tuple[Any, Any]:
        of_members = super().weights(own, other)
        return (fall, fall) if of_members is None else (of_members[0] * fall, of_members[1] * fall)

    def fall(self, own: Sequence[Any], other: Sequence[Any]) -> Any:
        """Return what a pair weighs by its ranks."""
        xp, kind, discount = self.xp, self.kind, self.discount
        first, last = xp.minimum(own[2], other[2]), xp.maximum(own[2], other[2])
        apart, exchange, step = last - first, 0.0, 0.0
        if kind != "ndcg2":
            exchange = discount.fall(first, apart, own[3] * other[3])
            if self.top is not None:
                exchange = xp.where(last <= self.top, exchange, xp.maximum(own[3], other[3]))
        if kind != "lambdarank":
            apart = xp.maximum(apart, 1.0)
            step = discount.fall(apart, 1.0, discount.of(apart) * discount.of(apart + 1))
        fall = {"lambdarank": exchange, "ndcg2": step}.get(kind)
        return discount.kept(first, exchange + self.mu * step if fall is None else fall)

    def by_gain(self, own: Sequence[Any], other: Sequence[Any]) -> tuple[Any]:
        """Return a pair's share of the slope by the first's gain, the largest DCG aside."""
        pair = self.pair(own, other, self._weights(own, other, self.fall(own, other)))
        cost, _ = self.of_lead(own[0], other[0], pair.down)
        return (pair.share(cost, -1.0),)

    @classmethod
    def traits(cls, *, kind: str | None = None, **_: Any) -> Traits:
        # What a pair weighs is held constant where its gradient is taken, and jumps where two
        # scores pass each other: so does the loss. One relevant member before others that are level
        # has a slope for each of them; of "ndcg2" their weights add up to 1.
        return replace(_SUM, convex=False, lipschitz=None if kind == "ndcg2" else inf)


class _RankNet(_PairwiseLogistic):
    name = "lambdaloss"


class _LambdaRank(_Lambda):
    name = "lambdarank"


class _LambdaLoss(_Lambda):
    name = "lambdaloss"


class _NDCGLoss1(_Lambda):
    """Each member leads each, itself included, at the weight of its own gain and discount."""

    name = "lambdaloss"

    def of_members(self) -> tuple[Any, ...]:
        rank, discount, _ = super().of_members()
        return rank, self.discount.kept(rank, discount), self.graded.gains

    def weights(self, own: Sequence[Any], other: Sequence[Any]) -> tuple[Any, Any]:
        first, second = self._discounts(own, other)
        return first * own[4], second * other[4]

    def _discounts(self, own: Sequence[Any], other: Sequence[Any]) -> tuple[Any, Any]:
        weights = _Pairwise.weights(self, own, other)
        return (
            (own[3], other[3]) if weights is None else (own[3] * weights[0], other[3] * weights[1])
        )

    def pair(
        self, own: Sequence[Any], other: Sequence[Any], weights: tuple[Any, Any] | None
    ) -> _Pair:
        assert weights is not None
        there = (own[1] == own[1]) & (other[1] == other[1])
        # a gain of 0 has a slope by its label
        first, second = (there & (each != 0) for each in self._discounts(own, other))
        return _Pair(self.xp, first, second, *weights)

    def value_and_slope(self, own: Sequence[Any], other: Sequence[Any]) -> tuple[Any, Any]:
        pair = self.pair(own, other, self.weights(own, other))
        cost, slope = self.of_lead(own[0], other[0], None)
        _, turned = self.of_lead(other[0], own[0], None)
        return pair.cost(cost), pair.cost(slope) - pair.swapped().cost(turned)

    def bends(self, own: Sequence[Any], other: Sequence[Any]) -> tuple[Any]:
        pair = self.pair(own, other, self.weights(own, other))
        bend = self.bend(own[0], other[0], None)
        # a member's lead over itself does not move
        both = pair.cost(bend) + pair.swapped().cost(bend)
        return (self.xp.where(own[2] == other[2], 0.0, both),)

    def by_gain(self, own: Sequence[Any], other: Sequence[Any]) -> tuple[Any]:
        pair = self.pair(own, other, self._discounts(own, other))
        cost, _ = self.of_lead(own[0], other[0], None)
        return (pair.cost(cost),)


class _ApproxNDCG(_List):
    """Ranks are 1 and the sigmoids of how far each other member leads."""

    name = "approx_ndcg"
    paired = True

    def __init__(
        self,
        x: Any,
        y: Any,
        *,
        temperature: Any,
        gain: str,
        discount: str,
        mask: Any = None,
        member_weight: Any = None,
    ) -> None:
        super().__init__(x, y, mask=mask)
        xp, self.temperature = self.xp, temperature
        falls = _Discount(xp, discount)
        self.graded = _Graded(xp, self.y, self.there, gain, falls, member_weight)
        there = xp.ones_like(self.x)
        self.arrays = (self.x, xp.arange(x.shape[-1], **beside(x)), self.kept(there))
        (behind,) = over_pairs(self.behind, self.arrays)
        rank = 1 + behind
        self.discount = self.kept(falls.of(rank))
        self.shares = self.graded.of_list(-self.graded.gains * self.discount)
        self.slope, self.bend = (
            self.graded.of_list(-self.graded.gains * each) for each in falls.slopes(rank)
        )

    def kept(self, each: Any) -> Any:
        """Return what is of members that there are, 0 for others."""
        return each if self.there is None else self.xp.where(self.there, each, 0.0)

    def value(self) -> Any:
        return self.xp.sum(self.shares, axis=-1)

    def grad_x(self) -> Any:
        (sums,) = over_pairs(self.moved, (*self.arrays, self.slope))
        return self.kept(sums / self.temperature)

    def grad_y(self) -> Any:
        value = self.xp.sum(self.shares, axis=-1, keepdims=True)
        return self.graded.slope(-self.discount, value)

    def curvature(self) -> Any:
        arrays = (*self.arrays, self.slope, self.bend)
        own, others, bends = over_pairs(self.bent, arrays)
        whole = self.bend * own * own + others + bends
        return self.kept(whole / self.temperature / self.temperature)

    boosting_curvature = steep

    @classmethod
    def traits(cls, **parameters: Any) -> Traits:
        del parameters
        # Ranks are a mixture of orders, as no k of them add up to less than 1 + ... + k. Discounts
        # are convex, so that no mixture has more of them than the best of its orders. Slopes are
        # bounded for a temperature, by the root of no simple equation.
        return Traits(convex=False, strong_convexity=0.0, range=(-1.0, 0.0), kinks=())

    def lead(self, own: Sequence[Any], other: Sequence[Any]) -> tuple[Any, _Lead]:
        """Return whether a pair counts, and the lead of its first."""
        lead = _Lead(self.xp, own[0], other[0], temperature=self.temperature)
        return (own[1] != other[1]) & (other[2] != 0), lead

    def behind(self, own: Sequence[Any], other: Sequence[Any]) -> tuple[Any]:
        where, (counts, lead) = self.xp.where, self.lead(own, other)
        return (where(counts, where(lead.behind, lead.large, lead.small), 0.0),)

    def moved(self, own: Sequence[Any], other: Sequence[Any]) -> tuple[Any]:
        """Return what the first moves of its own rank's share, and of the other's."""
        counts, lead = self.lead(own, other)
        return (self.xp.where(counts, (other[3] - own[3]) * (lead.small * lead.large), 0.0),)

    def bent(self, own: Sequence[Any], other: Sequence[Any]) -> tuple[Any, Any, Any]:
        """Return the slope of the first's rank, and what it bends of the other's share and both."""
        where, (counts, lead) = self.xp.where, self.lead(own, other)
        slope = lead.small * lead.large
        turned = where(lead.behind, lead.apart, -lead.apart)
        return (
            where(counts, slope, 0.0),
            where(counts, other[4] * slope * slope, 0.0),
            where(counts, (other[3] - own[3]) * slope * turned, 0.0),
        )


class _PairwiseSquare(_List):
    """sum (e_i - e_j)^2 over all pairs, e = x - y: 2 n sum (e_i - m)^2, m the mean of e."""

    name = "pairwise_mse"

    def __init__(self, x: Any, y: Any, *, mask: Any = None) -> None:
        super().__init__(x, y, mask=mask)
        xp, e = self.xp, self.x - self.y
        ones = xp.ones_like(x) if self.there is None else xp.where(self.there, xp.ones_like(x), 0.0)
        self.n = xp.sum(ones, axis=-1, keepdims=True)
        share = 1 / xp.where(self.n == 0, 1.0, self.n)
        d = e - xp.sum(e * share, axis=-1, keepdims=True)
        self.d = d if self.there is None else xp.where(self.there, d, 0.0)
        self.ones = ones

    def value(self) -> Any:
        return self.xp.sum(2 * self.n * (self.d * self.d), axis=-1)

    def grad_x(self) -> Any:
        return 4 * self.n * self.d

    def grad_y(self) -> Any:
        return -4 * self.n * self.d

    def curvature(self) -> Any:
        return 4 * (self.n - 1) * self.ones

    @classmethod
    def traits(cls, **parameters: Any) -> Traits:
        del parameters
        return replace(_SUM, kinks=())


def _given(**arrays: Any) -> dict[str, Any]:
    """Return the arrays that there are."""
    return {name: each for name, each in arrays.items() if each is not None}


@LossFunction
def pairwise_logistic(
    x: Array,
    y: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    member_weight: ArrayLike | None = None,
    **options: Unpack[ListOptions],
) -> Request:
    """Logistic loss of pairs (RankNet): how unlikely it is that the better of two is first.

    Parameters
    ----------
    x, y
        Scores, and labels: the higher, the better. Only their order matters.
    mask
        Which members of a list there are, booleans that broadcast to x. The others change no
        result, whatever they hold. (`weight` and `where` are of lists.)
    member_weight
        What a pair weighs: the weight of the better of its members. It broadcasts to x.
    axis
        The axis of a list's members.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each list and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: putting lists in order by graded labels, or what a user chose above what he did not.

    Shapes: x and y (..., C), or the members along `axis`. An item is a list, so that the mean is
    over lists: with reduction="sum" divide by the number of pairs for a mean over these.

    Domain: finite scores and labels. A label that is NaN or infinite gives NaN for its list.

    Formula: the sum of log(1 + exp(-(x_i - x_j))) over all pairs with y_i > y_j

    Gradient: the sum of -sigma(x_j - x_i) over those that i is better than, and of
    sigma(x_i - x_j) over those that are better than i. Curvature sigma(x_i - x_j)
    sigma(x_j - x_i), over both. By y 0: only its order counts.

    Accuracy: value 4 eps; gradient 4 eps; curvature 4 eps. The gradient has these eps of the sum of
    its terms' sizes.

    Edge cases: 0 for a list without a pair whose labels differ, such as a list of one. Members of
    one label are no pair, whatever their scores.

    Source: Burges et al., Learning to rank using gradient descent (RankNet), ICML 2005; of a list
    with one label above the others, Rendle et al., BPR, UAI 2009.

    Elsewhere: rax `pairwise_logistic_loss`; TF-Ranking `PairwiseLogisticLoss`; allRank `rankNet`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> tinyloss.pairwise_logistic(np.array([0.0, 3.0, 1.0, 2.0]), [0, 0, 1, 1]).round(4).item()
    3.8804
    """
    arrays = _given(mask=mask, member_weight=member_weight)
    return Request(_PairwiseLogistic, x, y, arrays=arrays, **options)


@LossFunction
def pairwise_hinge(
    x: Array,
    y: ArrayLike,
    *,
    margin: NonNegative = 1.0,
    mask: ArrayLike | None = None,
    member_weight: ArrayLike | None = None,
    **options: Unpack[ListOptions],
) -> Request:
    """Hinge loss of pairs: how much the lead of the better of two falls short of a margin.

    Parameters
    ----------
    x, y
        Scores, and labels: the higher, the better. Only their order matters.
    margin
        The lead at which a pair costs nothing, at least 0.
    mask
        Which members of a list there are, booleans that broadcast to x. The others change no
        result, whatever they hold. (`weight` and `where` are of lists.)
    member_weight
        What a pair weighs: the weight of the better of its members. It broadcasts to x.
    axis
        The axis of a list's members.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each list and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: lists where a lead beyond the margin is to count for nothing, as in ranking SVMs.

    Shapes: x and y (..., C), or the members along `axis`. An item is a list, so that the mean is
    over lists: with reduction="sum" divide by the number of pairs for a mean over these.

    Domain: finite scores and labels. A label that is NaN or infinite gives NaN for its list.

    Formula: the sum of max(0, margin - (x_i - x_j)) over all pairs with y_i > y_j

    Gradient: how many members that are better than i do not lead it by the margin, less how many
    that it is better than it does not lead so; 0 at the margin itself. Curvature 0, for boosting 1.
    By y 0: only its order counts.

    Accuracy: value 4 eps; gradient 2 eps; curvature 0 eps. The value has these eps of the sum of
    the margins, the scores and what is short of pairs that cost something, and the gradient of the
    number of these pairs.

    Edge cases: 0 for a list without a pair whose labels differ, such as a list of one. Members of
    one label are no pair, whatever their scores.

    Source: Joachims, Optimizing search engines using clickthrough data, KDD 2002.

    Elsewhere: rax `pairwise_hinge_loss`; TF-Ranking `PairwiseHingeLoss`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> tinyloss.pairwise_hinge(np.array([0.0, 3.0, 1.0, 2.0]), [0, 0, 1, 1]).item()
    5.0
    """
    arrays = _given(mask=mask, member_weight=member_weight)
    return Request(PairwiseHinge, x, y, {"margin": margin}, arrays=arrays, **options)


@LossFunction
def pairwise_soft_zero_one(
    x: Array,
    y: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    member_weight: ArrayLike | None = None,
    **options: Unpack[ListOptions],
) -> Request:
    """Soft zero-one loss of pairs: how likely it is that the worse of two is put first.

    Parameters
    ----------
    x, y
        Scores, and labels: the higher, the better. Only their order matters.
    mask
        Which members of a list there are, booleans that broadcast to x. The others change no
        result, whatever they hold. (`weight` and `where` are of lists.)
    member_weight
        What a pair weighs: the weight of the better of its members. It broadcasts to x.
    axis
        The axis of a list's members.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each list and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: counting pairs in the wrong order where a few may be wrong by far: no pair costs more
    than 1.

    Shapes: x and y (..., C), or the members along `axis`. An item is a list, so that the mean is
    over lists: with reduction="sum" divide by the number of pairs for a mean over these.

    Domain: finite scores and labels. A label that is NaN or infinite gives NaN for its list.

    Formula: the sum of sigma(-(x_i - x_j)) over all pairs with y_i > y_j

    Gradient: with s = sigma(x_i - x_j) sigma(x_j - x_i), the sum of -s over those that i is better
    than, and of s over those that are better than i. Curvature, over both, s tanh(d / 2), d the
    lead of the better; for boosting 1 where it is not above 0. By y 0: only its
    order counts.

    Accuracy: value 4 eps; gradient 4 eps; curvature 8 eps. The gradient and the curvature have
    these eps of the sum of their terms' sizes.

    Edge cases: 0 for a list without a pair whose labels differ, such as a list of one. Members of
    one label are no pair, whatever their scores.

    Source: Qin, Liu and Li, A general approximation framework for direct optimization of
    information retrieval measures, Information Retrieval 13, 2010.

    Elsewhere: rax `pairwise_soft_zero_one_loss`; TF-Ranking `PairwiseSoftZeroOneLoss`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> tinyloss.pairwise_soft_zero_one(np.array([0.0, 3.0, 1.0, 2.0]), [0, 0, 1, 1]).item()
    2.0
    """
    arrays = _given(mask=mask, member_weight=member_weight)
    return Request(_PairwiseSoftZeroOne, x, y, arrays=arrays, **options)


@LossFunction
def pairwise_mse(
    x: Array,
    y: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    **options: Unpack[ListOptions],
) -> Request:
    """Squared error of pairs: how far differences of scores are from those of labels.

    Parameters
    ----------
    x, y
        Scores and labels.
    mask
        Which members of a list there are, booleans that broadcast to x. The others change no
        result, whatever they hold. (`weight` and `where` are of lists.)
    axis
        The axis of a list's members.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each list and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: lists whose labels say how much better a member is, wherever the scores lie.

    Shapes: x and y (..., C), or the members along `axis`. An item is a list, so that the mean is
    over lists: with reduction="sum" divide by the number of pairs for a mean over these.

    Domain: all real numbers.

    Formula: the sum of ((x_i - x_j) - (y_i - y_j))^2 over all i and j, computed as
    2 n sum (e_i - m)^2, with e = x - y, m its mean and n the number of members

    Gradient: 4 n (e_i - m) by x_i, its opposite by y_i; curvature 4 (n - 1).

    Accuracy: value 8 eps; gradient 8 eps; curvature 2 eps. Value and gradient have these eps of
    what they are with |e_i| + |m| for e_i - m.

    Edge cases: 0 for a list of one member, or none. The time is that of the members, not of the
    pairs.

    Source: the variance of the errors by pairs, which is 1 / n^2 of half of it.

    Elsewhere: rax `pairwise_mse_loss`; TF-Ranking `PairwiseMSELoss`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> tinyloss.pairwise_mse(np.array([0.0, 3.0, 1.0, 2.0]), [0, 0, 1, 1]).item()
    48.0
    """
    arrays = _given(mask=mask)
    return Request(_PairwiseSquare, x, y, arrays=arrays, **options)


@LossFunction
def lambdarank(
    x: Array,
    y: ArrayLike,
    *,
    gain: Gain = "exponential",
    discount: Discount = "log2",
    top: AtLeast1OrNone = None,
    mask: ArrayLike | None = None,
    member_weight: ArrayLike | None = None,
    **options: Unpack[ListOptions],
) -> Request:
    """LambdaRank: logistic loss of pairs, each by how far its exchange would move the NDCG.

    Parameters
    ----------
    x, y
        Scores, and labels of at least 0: the higher, the better.
    gain
        What a label is worth: "exponential", 2^y - 1, or "linear", y. For gains of your own give
        these as y, with "linear".
    discount
        What the member of rank r counts: "log2", 1 / log2(1 + r), or "reciprocal", 1 / r.
    top
        How many ranks count, those of NDCG@top; the discount of others is 0. None for all.
    mask
        Which members of a list there are, booleans that broadcast to x. The others change no
        result, whatever they hold. (`weight` and `where` are of lists.)
    member_weight
        What a pair weighs besides: the weight of the better of its members. It broadcasts to x.
    axis
        The axis of a list's members.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each list and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: lists that are judged by NDCG, where the first places count for most.

    Shapes: x and y (..., C), or the members along `axis`. An item is a list, so that the mean is
    over lists.

    Domain: finite scores; finite labels of at least 0, whose gains are finite. A label that is NaN
    or infinite gives NaN for its list.

    Formula: the sum of |G_i - G_j| |D_i - D_j| / B log(1 + exp(-(x_i - x_j))) over all pairs with
    y_i > y_j. G is the gain of a label, D the discount of a score's rank, from 1 for the highest. B
    is the largest DCG, the sum of G_i D_i in the order of the labels.

    Gradient: that of `pairwise_logistic`, each pair by its weight; curvature likewise. Ranks have
    no slope: by y it is that of the gains, in the order that scores and labels have.

    Accuracy: value 4 eps; gradient 6 eps; curvature 8 eps. All have these eps of what the sum of
    their terms' sizes is with G_i + G_j + 2 for |G_i - G_j|.

    Edge cases: 0 for a list without a pair whose labels differ, or without a gain. Of equal
    numbers, the first in the list has the smaller rank.

    Source: Burges, Ragno and Le, Learning to rank with nonsmooth cost functions, NIPS 2006; Burges,
    From RankNet to LambdaRank to LambdaMART: an overview, MSR-TR-2010-82.

    Elsewhere: rax `pairwise_logistic_loss` with `dcg_lambdaweight`, whose weights are times the
    padded length; allRank `lambdaLoss` with "lambdaRank_scheme", over log 2; LightGBM and XGBoost
    (`rank:ndcg`) have its gradient.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> tinyloss.lambdarank(np.array([0.0, 3.0, 1.0, 2.0]), [0, 0, 1, 1]).round(4).item()
    0.9781
    """
    params = {"kind": "lambdarank", "gain": gain, "discount": discount, "top": top}
    arrays = _given(mask=mask, member_weight=member_weight)
    return Request(_LambdaRank, x, y, params, arrays=arrays, **options)


@LossFunction
def lambdaloss(
    x: Array,
    y: ArrayLike,
    *,
    kind: CheckedLambdaKind = "ndcg2++",
    mu: NonNegative = 10.0,
    gain: Gain = "exponential",
    discount: Discount = "log2",
    top: AtLeast1OrNone = None,
    mask: ArrayLike | None = None,
    member_weight: ArrayLike | None = None,
    **options: Unpack[ListOptions],
) -> Request:
    """LambdaLoss: logistic losses of pairs whose weights make them bounds of the NDCG.

    Parameters
    ----------
    x, y
        Scores, and labels of at least 0: the higher, the better.
    kind
        The weights: "ndcg1", "ndcg2", "ndcg2++", or "ranknet", which has none.
    mu
        The share of "ndcg2" in "ndcg2++", at least 0; the rest is `lambdarank`.
    gain
        What a label is worth: "exponential", 2^y - 1, or "linear", y. For gains of your own give
        these as y, with "linear".
    discount
        What the member of rank r counts: "log2", 1 / log2(1 + r), or "reciprocal", 1 / r.
    top
        How many ranks count. A pair counts where one of its members has such a rank. None for all.
    mask
        Which members of a list there are, booleans that broadcast to x. The others change no
        result, whatever they hold. (`weight` and `where` are of lists.)
    member_weight
        What a pair weighs besides: the weight of its better member, of "ndcg1" its first. It
        broadcasts to x.
    axis
        The axis of a list's members.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each list and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: lists that are judged by NDCG, by a loss that is known to bound it.

    Shapes: x and y (..., C), or the members along `axis`. An item is a list, so that the mean is
    over lists.

    Domain: finite scores; finite labels of at least 0, whose gains are finite. A label that is NaN
    or infinite gives NaN for its list.

    Formula: the sum of w_ij log(1 + exp(-(x_i - x_j))), with the gain G of a label, the discount D
    of a score's rank r, from 1 for the highest, and the largest DCG B. w_ij is

    - G_i D_i / B for "ndcg1", over all i and j, i = j included;
    - |G_i - G_j| (D(|r_i - r_j|) - D(|r_i - r_j| + 1)) / B for "ndcg2", where y_i > y_j;
    - |G_i - G_j| |D_i - D_j| / B and `mu` times that for "ndcg2++", where y_i > y_j;
    - 1 for "ranknet", where y_i > y_j, which has no other parameters: `pairwise_logistic`.

    Gradient: that of `pairwise_logistic`, each pair by its weight; curvature likewise. Ranks have
    no slope: by y it is that of the gains, in the order that scores and labels have.

    Accuracy: value 4 eps; gradient 6 eps; curvature 8 eps. All have these eps of what the sum of
    their terms' sizes is with G_i + G_j + 2 for |G_i - G_j|, and G_i + 2 for G_i.

    Edge cases: 0 for a list without a gain; but for "ndcg1" also without a pair whose labels
    differ. Of equal numbers, the first in the list has the smaller rank.

    Source: Wang et al., The LambdaLoss framework for ranking metric optimization, CIKM 2018.

    Elsewhere: allRank `lambdaLoss`, by default over log 2, whose sigma is a factor of x here; its
    "ndcgLoss2PP_scheme" is "ndcg2++". rax `pairwise_logistic_loss` with `dcg2_lambdaweight`,
    whose weights are times the padded length.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x, y = np.array([0.5, -1.25, 2.0, 0.25, 1.125]), np.array([1, 0, 2, 0, 1])
    >>> tinyloss.lambdaloss(x, y, kind="ndcg2").round(4).item()
    0.1534
    """
    arrays = _given(mask=mask, member_weight=member_weight)
    if kind == "ranknet":
        return Request(_RankNet, x, y, arrays=arrays, **options)
    formula = _NDCGLoss1 if kind == "ndcg1" else _LambdaLoss
    params = {"kind": kind, "gain": gain, "discount": discount, "top": top, "mu": mu}
    return Request(formula, x, y, params, arrays=arrays, **options)


@LossFunction
def approx_ndcg(
    x: Array,
    y: ArrayLike,
    *,
    temperature: Positive = 1.0,
    gain: Gain = "exponential",
    discount: Discount = "log2",
    mask: ArrayLike | None = None,
    member_weight: ArrayLike | None = None,
    **options: Unpack[ListOptions],
) -> Request:
    """ApproxNDCG: the NDCG, its sign turned, of ranks that are smooth.

    Parameters
    ----------
    x, y
        Scores, and labels of at least 0: the higher, the better.
    temperature
        How far a lead has to be to count as one, above 0. The smaller, the nearer is the NDCG, and
        the more often the gradient is 0.
    gain
        What a label is worth: "exponential", 2^y - 1, or "linear", y. For gains of your own give
        these as y, with "linear".
    discount
        What the member of rank r counts: "log2", 1 / log2(1 + r), or "reciprocal", 1 / r.
    mask
        Which members of a list there are, booleans that broadcast to x. The others change no
        result, whatever they hold. (`weight` and `where` are of lists.)
    member_weight
        What a gain is times, also in the largest DCG. It broadcasts to x.
    axis
        The axis of a list's members.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each list and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: the NDCG itself as a loss, where no bound of it is wanted.

    Shapes: x and y (..., C), or the members along `axis`. An item is a list, so that the mean is
    over lists.

    Domain: finite scores; finite labels of at least 0, whose gains are finite. A label that is NaN
    or infinite gives NaN for its list.

    Formula: -sum G_i D(r_i) / B, with r_i = 1 + sum_j sigma((x_j - x_i) / temperature) over all
    other members. G is the gain of a label, D the discount of a rank, and B the largest DCG, the
    sum of G_i D_i in the order of the labels.

    Gradient: with s_ij = sigma'((x_i - x_j) / temperature) / temperature and c = -G D'(r) / B, the
    sum of (c_j - c_i) s_ij over the others. Curvature likewise; for boosting 1 where it is not
    above 0. By y that of the gains, in the order that labels have: -(D(r_i) + loss D_i) / B.

    Accuracy: value 4 eps; gradient 6 eps; curvature 8 eps. All have these eps of what the sum of
    their terms' sizes is with G + 2 for G, derivatives by x times 1 + |x_i - x_j| / temperature.

    Edge cases: 0 for a list without a gain. Of equal labels, the first in the list has the smaller
    rank.

    Source: Qin, Liu and Li, A general approximation framework for direct optimization of
    information retrieval measures, Information Retrieval 13, 2010; Bruch et al., Revisiting
    approximate metric optimization in the age of deep neural networks, SIGIR 2019.

    Elsewhere: rax `approx_t12n(ndcg_metric)`; allRank `approxNDCGLoss`, whose alpha is 1 /
    temperature; TF-Ranking `ApproxNDCGLoss`, whose temperature is 0.1 by default.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> tinyloss.approx_ndcg(np.array([0.0, 3.0, 1.0, 2.0]), [0, 0, 1, 1]).round(4).item()
    -0.687
    """
    params = {"temperature": temperature, "gain": gain, "discount": discount}
    arrays = _given(mask=mask, member_weight=member_weight)
    return Request(_ApproxNDCG, x, y, params, arrays=arrays, **options)
