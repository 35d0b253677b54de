"""Losses of lists: an item is a list, whose members are put in order by their scores."""

from collections.abc import Sequence
from typing import Any, Unpack

from tinyloss._arrays import namespace
from tinyloss._differences import exp_difference
from tinyloss._engine.request import Request
from tinyloss._formula import Formula
from tinyloss._function import LossFunction
from tinyloss._rows import over_pairs
from tinyloss._traits import Traits
from tinyloss.losses._numerics import positive_part, sign, steep
from tinyloss.typing import Array, ArrayLike, ListOptions, NonNegative

__all__ = ["pairwise_hinge", "pairwise_logistic", "pairwise_mse", "pairwise_soft_zero_one"]


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
        self.arrays = (self.x, y, member_weight) if self.weighted else (self.x, y)
        losses, slopes = over_pairs(self._value_and_slope, self.arrays)
        self.losses, self.slopes = losses + unknown, slopes + unknown

    def value(self) -> Any:
        return self.xp.sum(self.losses, axis=-1)

    def grad_x(self) -> Any:
        return self.slopes

    def grad_y(self) -> Any:
        return self.xp.zeros_like(self.slopes)

    def curvature(self) -> Any:
        (bend,) = over_pairs(self._bend, self.arrays)
        return bend

    boosting_curvature = steep

    def _better(self, own: Sequence[Any], other: Sequence[Any]) -> tuple[Any, Any]:
        """Return whether the first of a pair is the better, and whether the second is."""
        up, down = own[1] > other[1], own[1] < other[1]
        return (up & (own[2] != 0), down & (other[2] != 0)) if self.weighted else (up, down)

    def _of_each(
        self, own: Sequence[Any], other: Sequence[Any], up: Any, down: Any, share: Any, turn: float
    ) -> Any:
        """Return a pair's share by the better's weight; `turn` is its sign if that is the second.

        0 where neither is the better.
        """
        where = self.xp.where
        first, second = (own[2] * share, other[2] * share) if self.weighted else (share, share)
        return where(up, first, where(down, turn * second, 0.0))

    def _value_and_slope(self, own: Sequence[Any], other: Sequence[Any]) -> tuple[Any, Any]:
        up, down = self._better(own, other)
        cost, slope = self.of_lead(own[0], other[0], down)
        cost = own[2] * cost if self.weighted else cost
        # each pair costs once, and moves both
        return (
            self.xp.where(up, cost, 0.0),
            self._of_each(own, other, up, down, slope, -1.0),
        )

    def _bend(self, own: Sequence[Any], other: Sequence[Any]) -> tuple[Any]:
        up, down = self._better(own, other)
        bend = self.bend(own[0], other[0], down)
        return (self._of_each(own, other, up, down, bend, 1.0),)

    def of_lead(self, x: Any, other: Any, down: Any) -> tuple[Any, Any]:
        """Return the cost of the lead of the better of two scores, and its slope by the lead.

        The lead is x - other, or other - x where `down`.
        """
        raise NotImplementedError

    def bend(self, x: Any, other: Any, down: Any) -> Any:
        """Return the second derivative of the cost by the lead."""
        raise NotImplementedError


class _Lead:
    """The sigmoids of the lead of one of two scores, to the last bits in both tails."""

    def __init__(self, xp: Any, x: Any, other: Any, down: Any) -> None:
        high, low = xp.maximum(x, other), xp.minimum(x, other)
        # the difference of two scores is rounded, its exponential is not to be
        self.t = exp_difference(low, high)
        self.large = 1 / (1 + self.t)
        self.small = self.t * self.large
        self.distance = high - low
        self.behind = (x < other) != down
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


class _PairwiseSoftZeroOne(_Pairwise):
    name = "pairwise_soft_zero_one"

    def of_lead(self, x: Any, other: Any, down: Any) -> tuple[Any, Any]:
        lead = _Lead(self.xp, x, other, down)
        return self.xp.where(lead.behind, lead.large, lead.small), -(lead.small * lead.large)

    def bend(self, x: Any, other: Any, down: Any) -> Any:
        lead, xp = _Lead(self.xp, x, other, down), self.xp
        # sigma(z) - sigma(-z) = tanh(z / 2), with all digits where both are about 1/2
        apart = -xp.expm1(-lead.distance) * lead.large
        return lead.small * lead.large * xp.where(lead.behind, -apart, apart)


class PairwiseHinge(_Pairwise):
    name = "pairwise_hinge"

    def __init__(self, x: Any, y: Any, *, margin: Any, **others: Any) -> None:
        self.margin = margin
        super().__init__(x, y, **others)

    def of_lead(self, x: Any, other: Any, down: Any) -> tuple[Any, Any]:
        d = x - other
        short = positive_part(self.margin - self.xp.where(down, -d, d))
        return short, -sign(short)

    def bend(self, x: Any, other: Any, down: Any) -> Any:
        return self.xp.zeros_like(x - other)


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
