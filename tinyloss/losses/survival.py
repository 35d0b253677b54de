"""Losses of times until an event, of which some are only known to be later: survival."""

from math import inf, nan, sqrt
from typing import Any, Unpack

from tinyloss._arrays import beside, namespace
from tinyloss._differences import exp_difference
from tinyloss._engine.request import Request
from tinyloss._formula import Formula, Role
from tinyloss._in_order import (
    Groups,
    Order,
    following,
    joined_log_sums,
    joined_numbers,
    joined_sums,
    previous,
    running,
    spread,
)
from tinyloss._lists import ListFunction
from tinyloss._traits import Traits
from tinyloss.losses._numerics import log_of_sum
from tinyloss.typing import Array, ArrayLike, ListOptions, TiesOfEvents

__all__ = ["cox_ph"]

_COMPARED = Role(per_class=True, compared=True)


class _CoxPH(Formula):
    """The partial likelihood, of rows sorted by stratum, time, and events before the others.

    An event's denominator is the sum over who comes after the events of its time, and a share of
    the sum over these events. Sums are pairs (m, r) for (1 + r) exp(m), m one of the elements, so
    that no difference of two is rounded and no term is below 0.
    """

    name = "cox_ph"
    rowwise = True
    in_order = True
    roles = {"y": _COMPARED, "segments": _COMPARED}

    def __init__(
        self, x: Any, y: Any, *, event: Any, ties: str, segments: Any = None, mask: Any = None
    ) -> None:
        self.xp = xp = namespace(x)
        event = spread(event, x)
        wrong = ~((event == 0) | (event == 1)) | (y != y)
        event = event != 0
        strata = [] if segments is None else [spread(segments, x)]
        if mask is not None:  # what is left out is a stratum without events
            kept = spread(mask, x) != 0
            event, x, wrong = event & kept, xp.where(kept, x, 0.0), wrong & kept
            strata = [kept, *strata]
        x = xp.where(wrong, nan, x)
        self.order = order = Order(*strata, y, ~event)
        self.x, self.event = x, event = order.of(x), order.of(event)
        strata = [order.of(each) for each in strata]
        self.stratum = Groups.of(*strata) if strata else Groups.whole(event)
        self.run = Groups.of(*strata, order.of(y), event)
        """Events of the same time and stratum."""
        zeros = xp.zeros_like(x)
        m, r = running(joined_log_sums, [x, zeros], self.stratum, backwards=True)
        self.largest = m
        """Of all that are at risk."""
        tied_sums = running(joined_log_sums, [x, zeros], self.run)
        none, *sums = self.run.of_last(self.stratum.ends, *tied_sums, following(m), following(r))
        m_tied, r_tied, m_after, r_after = sums
        # the share of the tied events that is at risk, 1 for the first of them
        gone = zeros
        if ties == "efron":
            first, last = self.run.bounds()
            place = xp.arange(x.shape[-1], dtype=first.dtype, **beside(x))
            gone = xp.astype(place - first, x.dtype) / xp.astype(last - first + 1, x.dtype)
        self.share = 1 - gone
        # who comes after them in the stratum, if anybody does
        m_after = xp.where(none, m_tied, m_after)
        s_after = xp.where(none, 0.0, 1 + r_after)
        tied = m_tied >= m_after
        self.m = xp.where(tied, m_tied, m_after)
        less = xp.where(tied, m_after, m_tied)
        e = exp_difference(less, self.m)
        self.rest = xp.where(
            tied,
            (self.share * r_tied - gone) + e * s_after,
            (s_after - 1) + e * self.share * (1 + r_tied),
        )
        self.events = xp.sum(xp.where(event, xp.ones_like(x), 0.0), axis=-1, keepdims=True)
        self.many = xp.where(self.events == 0, 1.0, self.events)

    def value(self) -> Any:
        xp = self.xp
        each = (self.m - self.x) + log_of_sum(self.rest)
        return xp.sum(xp.where(self.event, each, 0.0) / self.many, axis=-1)

    def grad_x(self) -> Any:
        xp, x, event = self.xp, self.x, self.event
        # 1 / denominator is s exp(m), 0 for who has no event: m is then of no matter, and small
        s = xp.where(event, 1 / (1 + self.rest), 0.0)
        m = -xp.where(event, self.m, self.largest)
        before = running(joined_sums, [m, s], self.stratum)
        none, m_before, s_before, rest = self.run.of_first(
            self.stratum.begins, *map(previous, before), self.rest
        )
        m_before = xp.where(event, xp.where(none, -x, m_before), before[0])
        s_before = xp.where(event, xp.where(none, 0.0, s_before), before[1])
        of_others = s_before * exp_difference(x, -m_before)
        # Of the events of one time, the first has all at risk in its denominator. What is missing
        # of its share to 1 does not cancel.
        later = xp.where(self.run.begins, 0.0, self.share * s)
        (total,) = self.run.of_last(*running(joined_numbers, [later], self.run))
        e = exp_difference(x, self.m)
        missing = (rest + (1 - e)) / (1 + rest)
        own = (of_others + e * total) - missing
        return self.order.back(xp.where(event, own, of_others) / self.many)

    @classmethod
    def traits(cls, **_: Any) -> Traits:
        # A mean over events of cross-entropies: logarithms of weighed sums of exp(x_j), less x_i.
        # So no slope is longer than that of one, and none bends more. With "efron" a term may be
        # below 0; those of d events of one time add up to log(d!) at least, as the sum of these
        # exp(x_i) is at least d times their geometric mean.
        return Traits(
            convex=True,
            strong_convexity=0.0,
            lipschitz=sqrt(2),
            smoothness=0.5,
            range=(0.0, inf),
            kinks=(),
        )


@ListFunction
def cox_ph(
    x: Array,
    y: ArrayLike,
    event: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    segments: ArrayLike | None = None,
    ties: TiesOfEvents = "efron",
    **options: Unpack[ListOptions],
) -> Request:
    """Cox's partial likelihood: who has the event next is to be whose hazard is high.

    Parameters
    ----------
    x
        Logarithms of hazards.
    y
        Times, of the event or until when there was none. They are only compared.
    event
        1 (or True) where the time is that of an event, 0 where there was none until then.
    mask
        Who counts, booleans that broadcast to x. Others are at risk of nothing. (`weight` and
        `where` are of rows.)
    segments
        Strata, such as hospitals: integers. Only who is in the same one is compared.
    ties
        How events of the same time count: "efron", or "breslow".
    axis
        The axis of a cohort.
    weight, where, reduction, denominator
        As for every loss, of cohorts, each of which counts as often as it has events. `weight` is
        the weight of each item and `where`, of booleans, says which count; both broadcast to the
        items. `reduction` is "mean" (sum of weight * loss / sum of weight), "sum" or "none";
        `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: times until an event, such as a relapse or a failure, where some are only known to be
    later.

    Shapes: x, y and event (..., N), or N along `axis`. An item is a cohort: a row. So the mean is
    over events, and the sum adds up events.

    Domain: finite x; times of any real dtype.

    Formula: sum_events (log sum_{y_j >= y_i} exp(x_j) - x_i) / number of events; of d events of one
    time with "efron", the k-th has k / d of the sum over these taken off its own, k = 0, ..., d - 1

    Gradient: the sum over the events of the share of exp(x_j) in each one's sum, 1 less for an
    event, over the number of events. A second one by JAX and torch.

    Accuracy: value 4 eps; gradient 8 eps. With "efron" and ties the value's, and for an event the
    gradient's, are eps of the sum of the terms' sizes.

    Edge cases: no event: 0, and no gradient. One alone: 0. NaN where a time is NaN, or an event is
    neither 0 nor 1.

    Source: Cox, Regression models and life-tables, J. R. Statist. Soc. B 34, 1972; Breslow,
    Biometrics 30, 1974; Efron, J. Am. Statist. Assoc. 72, 1977.

    Elsewhere: torchsurv `neg_partial_log_likelihood`; pycox `CoxPHLoss`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x, y = np.array([2.0, 0.0, 1.0, -1.0]), np.array([1.0, 4.0, 2.0, 3.0])
    >>> tinyloss.cox_ph(x, y, np.array([1, 0, 1, 0])).round(6).item()
    0.423898

    Harrell's concordance index, of the pairs whose order is known, for a model to be judged by:

    >>> known = (y[:, None] < y) & np.array([[True], [False], [True], [False]])
    >>> ((known & (x[:, None] > x)).sum() / known.sum()).item()
    1.0
    """
    arrays = {"event": event, "segments": segments, "mask": mask}
    given = {name: each for name, each in arrays.items() if each is not None or name == "event"}
    counts = ("event",) if mask is None else ("event", "mask")
    return Request(_CoxPH, x, y, {"ties": ties}, given, counts=counts, **options)
