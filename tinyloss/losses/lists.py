"""Losses of lists by the order that their items should have."""

from math import inf, log
from typing import Any, Unpack

from tinyloss._arrays import namespace
from tinyloss._differences import exp_difference
from tinyloss._engine.request import Request
from tinyloss._formula import Formula
from tinyloss._in_order import (
    Groups,
    Order,
    following,
    joined_log_sums,
    joined_sums,
    previous,
    running,
    spread,
)
from tinyloss._lists import ListFunction
from tinyloss._traits import Traits
from tinyloss.typing import Array, ArrayLike, Gain, ListOptions

__all__ = ["listmle", "unique_softmax"]


_OF_SOFTMAXES = Traits(
    convex=True,
    strong_convexity=0.0,
    lipschitz=inf,
    smoothness=inf,
    range=(0.0, inf),
    kinks=(),
)
"""Those of a sum of cross-entropies, of which a longer list has more."""


class _ListMLE(Formula):
    """What is left of a list from each place on, as pairs (m, r) for (1 + r) exp(m)."""

    name = "listmle"
    rowwise = True
    in_order = True

    def __init__(self, x: Any, y: Any, *, mask: Any = None) -> None:
        self.xp = xp = namespace(x)
        if mask is None:
            self.order = Order(-y)
            self.kept, self.lists = xp.ones_like(x, dtype=xp.bool), Groups.whole(x)
        else:  # what is left out comes first, by itself
            kept = spread(mask, x) != 0
            x = xp.where(kept, x, 0.0)
            self.order = Order(kept, -xp.where(kept, y, 0.0))
            self.kept = self.order.of(kept)
            self.lists = Groups.of(self.kept)
        self.x = x = self.order.of(x)
        self.m, self.rest = running(
            joined_log_sums, [x, xp.zeros_like(x)], self.lists, backwards=True
        )

    def value(self) -> Any:
        each = (self.m - self.x) + self.xp.log1p(self.rest)
        return self.xp.sum(self.xp.where(self.kept, each, 0.0), axis=-1)

    def grad_x(self) -> Any:
        xp, x, whole = self.xp, self.x, 1 + self.rest
        m, s = running(joined_sums, [-self.m, 1 / whole], self.lists)
        m = xp.where(self.lists.begins, -x, previous(m))
        s = xp.where(self.lists.begins, 0.0, previous(s))
        # what is missing of an item's own share to 1 does not cancel
        missing = (self.rest + (1 - exp_difference(x, self.m))) / whole
        slope = s * exp_difference(x, -m) - missing
        return self.order.back(xp.where(self.kept, slope, 0.0))

    @classmethod
    def traits(cls, **_: Any) -> Traits:
        return _OF_SOFTMAXES


class _UniqueSoftmax(Formula):
    """A softmax for each item, of itself and all of lower labels, as pairs (m, r): (1 + r) exp(m).

    Rows are sorted by label from the lowest up, so that what an item is compared with comes before.
    """

    name = "unique_softmax"
    rowwise = True
    in_order = True

    def __init__(
        self, x: Any, y: Any, *, gain: str, mask: Any = None, member_weight: Any = None
    ) -> None:
        self.xp = xp = namespace(x)
        keys: list[Any] = []
        factors = [] if member_weight is None else [spread(member_weight, x)]
        if mask is not None:  # what is left out comes first, by itself
            kept = spread(mask, x) != 0
            x, y = xp.where(kept, x, 0.0), xp.where(kept, y, 0.0)
            keys.append(kept)
            factors = [xp.where(kept, each, 0.0) for each in factors or [xp.ones_like(x)]]
        self.order = order = Order(*keys, y)
        sorted_keys = [order.of(each) for each in keys]
        self.x, y = order.of(x), order.of(y)
        self.lists = Groups.of(*sorted_keys) if keys else Groups.whole(x)
        self.alike = Groups.of(*sorted_keys, y)
        exponential = gain == "exponential"
        steps = 2.0**y if exponential else y
        self.gain, self.slope = (steps - 1, log(2) * steps) if exponential else (y, xp.ones_like(y))
        for each in map(order.of, factors):
            self.gain, self.slope = each * self.gain, each * self.slope
        x, zeros = self.x, xp.zeros_like(x)
        lower = running(joined_log_sums, [x, zeros], self.lists)
        none, m, r = self.alike.of_first(self.lists.begins, *map(previous, lower))
        some = ~none
        m, r = joined_log_sums([x, zeros], [xp.where(some, m, x), xp.where(some, r, 0.0)])
        self.m, self.rest = xp.where(some, m, x), xp.where(some, r, 0.0)
        self.each = (self.m - x) + xp.log1p(self.rest)

    def value(self) -> Any:
        counts = self.gain != 0
        return self.xp.sum(self.xp.where(counts, self.gain * self.each, 0.0), axis=-1)

    def grad_x(self) -> Any:
        xp, x = self.xp, self.x
        # gain / sum is s exp(-m); of what has no gain m is of no matter, and large
        counts = self.gain != 0
        largest = xp.max(x, axis=-1, keepdims=True)
        s = xp.where(counts, self.gain / (1 + self.rest), 0.0)
        m = -xp.where(counts, self.m, largest)
        higher = running(joined_sums, [m, s], self.lists, backwards=True)
        none, m, s = self.alike.of_last(self.lists.ends, *map(following, higher))
        m, s = xp.where(none, -x, m), xp.where(none, 0.0, s)
        # what is missing of an item's own share to 1 does not cancel
        missing = (self.rest + (1 - exp_difference(x, self.m))) / (1 + self.rest)
        own = xp.where(counts, self.gain * missing, 0.0)
        return self.order.back(s * exp_difference(x, -m) - own)

    def grad_y(self) -> Any:
        counts = self.slope != 0
        return self.order.back(self.xp.where(counts, self.slope * self.each, 0.0))

    @classmethod
    def traits(cls, **_: Any) -> Traits:
        return _OF_SOFTMAXES


@ListFunction
def listmle(
    x: Array,
    y: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    **options: Unpack[ListOptions],
) -> Request:
    """ListMLE: the right order is to be likely, drawn by the scores one item after the other.

    Parameters
    ----------
    x
        Scores.
    y
        Relevance. The larger, the earlier. Items that are alike stay in the order they are in.
    mask
        Which items are of the list, booleans that broadcast to x. (`weight` and `where` are of
        lists.)
    axis
        The axis of a list.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: lists whose whole order matters, such as answers from best to worst.

    Shapes: x and y (..., N), or N along `axis`. An item is a list.

    Domain: finite x and y.

    Formula: sum_k log sum_{j >= k} exp(x_j) - x_k, in the order of y from large to small

    Gradient: the sum over k <= j of the share of exp(x_j) in the k-th sum, less 1. A second one by
    JAX and torch.

    Accuracy: value 4 eps; gradient 8 eps of the sum of its terms' sizes.

    Edge cases: 0 for a list of one item, or of none.

    Source: Xia et al., Listwise approach to learning to rank: theory and algorithm, ICML 2008.

    Elsewhere: rax `listmle_loss`; allRank `listMLE`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> tinyloss.listmle(np.array([0.5, 0.3]), np.array([1, 0])).round(6).item()
    0.598139
    """
    arrays = {} if mask is None else {"mask": mask}
    return Request(_ListMLE, x, y, arrays=arrays, **options)


@ListFunction
def unique_softmax(
    x: Array,
    y: ArrayLike,
    *,
    gain: Gain = "exponential",
    mask: ArrayLike | None = None,
    member_weight: ArrayLike | None = None,
    **options: Unpack[ListOptions],
) -> Request:
    """Unique softmax: each item is to be likely beside all that have lower labels.

    Parameters
    ----------
    x, y
        Scores, and labels of at least 0: the higher, the better.
    gain
        What a label is worth: "exponential", 2^y - 1, or "linear", y.
    mask
        Which items are of the list, booleans that broadcast to x. (`weight` and `where` are of
        lists.)
    member_weight
        What an item's gain is times. It broadcasts to x.
    axis
        The axis of a list.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: lists with several right answers, which are not to compete with each other.

    Shapes: x and y (..., N), or N along `axis`. An item is a list, so that the mean is over lists.

    Domain: finite x; finite y of at least 0, whose gains are finite.

    Formula: sum_i G_i (log(exp(x_i) + sum of exp(x_j) over y_j < y_i) - x_i), G the gain of a label

    Gradient: the sum of G_i by the share of exp(x_j) in its sum, over j itself and all of higher
    labels, less G_j. By y the slope of the gain times the item's logarithm, in the order that
    labels have. A second one by x, of JAX and torch.

    Accuracy: value 8 eps; gradient 10 eps. All have these eps of what the sum of their terms' sizes
    is with G + 2 for G.

    Edge cases: 0 for a list of one item, of none, or of one label.

    Source: Zhu and Klabjan, Listwise learning to rank by exploring unique ratings, WSDM 2020.

    Elsewhere: rax `unique_softmax_loss`; TF-Ranking `UniqueSoftmaxLoss`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> tinyloss.unique_softmax(np.array([0.0, 3.0, 1.0, 2.0]), [0, 0, 1, 1]).round(4).item()
    3.5189
    """
    arrays = {"mask": mask, "member_weight": member_weight}
    given = {name: each for name, each in arrays.items() if each is not None}
    return Request(_UniqueSoftmax, x, y, {"gain": gain}, given, **options)
