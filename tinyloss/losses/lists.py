"""Losses of lists by the order that their items should have."""

from typing import Any, Unpack

from tinyloss._arrays import namespace
from tinyloss._differences import exp_difference
from tinyloss._engine.request import Request
from tinyloss._formula import Formula
from tinyloss._in_order import Groups, Order, joined_log_sums, joined_sums, running, spread
from tinyloss._lists import ListFunction
from tinyloss.typing import Array, ArrayLike, ListOptions

__all__ = ["listmle"]


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
            self.order = Order(xp.astype(kept, xp.int8), -xp.where(kept, y, 0.0))
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
        m = xp.where(self.lists.begins, -x, xp.concat([m[..., :1], m[..., :-1]], axis=-1))
        s = xp.where(self.lists.begins, 0.0, xp.concat([s[..., :1], s[..., :-1]], axis=-1))
        # what is missing of an item's own share to 1 does not cancel
        missing = (self.rest + (1 - exp_difference(x, self.m))) / whole
        slope = s * exp_difference(x, -m) - missing
        return self.order.back(xp.where(self.kept, slope, 0.0))


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
