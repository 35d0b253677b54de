"""What the leads of pairs fall short of a margin by, without going over the pairs of a row.

Labels decide which of two members is the better. A row comes in the order of labels, then scores.
Groups of labels are put together two parts at a time, as a sort by merging does it (Knuth, The Art
of Computer Programming 3, 5.2.4). Of one part all members are better than those of the other. So
each pair is met once, where its members come together.

Both parts are in the order of scores. Rounding is monotone: the worse members that a better one
does not lead by the margin are the last of theirs, whatever their differences are rounded to. A
better member of a lower score has the same ones, and more. What these fall short by in all grows by
the step down for each, and by what each new one does. Only positive terms are added, in float64.
Those of float64 rows are added with what rounding takes from them (TwoSum).

So counts are those of the pairs, and sums are as accurate, in n log n steps.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from tinyloss_numpy import _llvm
from tinyloss_numpy._llvm import float64, int32
from tinyloss_numpy._orders import access
from tinyloss_numpy._source import WORK
from tinyloss_numpy._translator import subroutine

(
    _SCORES,
    _SCORES_ASIDE,
    _PLACES,
    _PLACES_ASIDE,
    _WEIGHTS,
    _STARTS,
    _STOPS,
    _FIRSTS,
    _MIDDLES,
    _LASTS,
    _COST,
    _COST_REST,
    _LED,
    _BEHIND,
    _BEHIND_REST,
    _BEFORE,
) = range(WORK // 8)
"""The arrays of a row's WORK, each of 8 bytes for a class."""

_load_int, _ = access("int32", "int64")
_, _store_int = access("int32", "int32")
_load_wide, _store_wide = access("float64", "float64")


@subroutine
def _keep(place: Any, at: Any, number: Any) -> None:
    _store_int(place, at, int32(number))


@subroutine
def _parted(classes: Any, members: Any, work: Any) -> Any:
    """Write down which parts come together, the whole row first; return how many do.

    `_STARTS` has for each member where its group begins. Parts meet at the border of a group that
    is next to the middle.
    """
    size = 8 * classes
    starts, stops = work + _STARTS * size, work + _STOPS * size
    firsts, middles, lasts = work + _FIRSTS * size, work + _MIDDLES * size, work + _LASTS * size
    stop = members
    for k in range(members - 1, -1, -1):
        _keep(stops, k, stop)
        if _load_int(starts, k) == k:
            stop = k
    if members == 0 or _load_int(stops, 0) == members:
        return 0
    _keep(firsts, 0, 0)
    _keep(lasts, 0, members)
    count, done = 1, 0
    while done < count:
        first, last = _load_int(firsts, done), _load_int(lasts, done)
        half = (first + last) // 2
        low, high = _load_int(starts, half), _load_int(stops, half)
        middle = low if low > first and (high >= last or half - low <= high - half) else high
        _keep(middles, done, middle)
        if _load_int(stops, first) < middle:
            _keep(firsts, count, first)
            _keep(lasts, count, middle)
            count += 1
        if _load_int(stops, middle) < last:
            _keep(firsts, count, middle)
            _keep(lasts, count, last)
            count += 1
        done += 1
    return count


@cache
def shortfalls(real: str, lanes: int) -> Callable[..., Any]:
    """Return the function of rows of which `lanes` lie side by side.

        shortfalls(order, scores, labels, weights, margin, cost, led, behind, n, classes, work)

    All are addresses but how many rows and classes there are. The results are those of
    `tinyloss._in_order.shortfalls`; 0 is for one that nobody wants.
    """
    load_real, store_real = access(real, real)
    in_two = real == "float64"

    # These four are no texts: they write instructions.
    def one(number: Any) -> Any:
        return number.as_number(real)

    def with_rest(total: Any, rest: Any, term: Any) -> Any:
        """Return a sum and what rounding has taken from it so far."""
        if not in_two:
            return total + term, rest
        total, error = _llvm.with_error(total, term)
        return total, rest + error

    def whole(total: Any, rest: Any) -> Any:
        return _llvm.whole(total, rest) if in_two else total

    def add_at(totals: Any, rests: Any, at: Any, term: Any) -> None:
        held = _load_wide(totals, at)
        total, rest = with_rest(held, _load_wide(rests, at) if in_two else held, term)
        _store_wide(totals, at, total)
        if in_two:
            _store_wide(rests, at, rest)

    @subroutine
    def compare(first: Any, middle: Any, last: Any, margin: Any, classes: Any, work: Any) -> None:
        """Add up the pairs of two parts that lie side by side."""
        size = 8 * classes
        scores, places = work + _SCORES * size, work + _PLACES * size
        weights, before = work + _WEIGHTS * size, work + _BEFORE * size
        cost, cost_rest = work + _COST * size, work + _COST_REST * size
        behind, behind_rest = work + _BEHIND * size, work + _BEHIND_REST * size
        led = work + _LED * size
        total, rest = 0.0, 0.0
        for k in range(middle, last):
            weight = _load_wide(weights, _load_int(places, k))
            total, rest = with_rest(total, rest, weight)
            _store_wide(before, k, whole(total, rest))
        total, rest, count, other = 0.0, 0.0, 0, middle - 1
        above = load_real(scores, last - 1)
        for k in range(last - 1, middle - 1, -1):
            score = load_real(scores, k)
            if count > 0:
                step = float64(above) - float64(score)
                total, rest = with_rest(total, rest, count * step)
            above = score
            moved = _load_wide(before, k)
            while other >= first:
                lower = load_real(scores, other)
                if not margin - (score - lower) > 0:
                    break
                lead = float64(score) - float64(lower)
                short = float64(margin) - lead
                # where it was rounded up to more than 0, it may be less
                total, rest = with_rest(total, rest, short if short > 0 else 0.0)
                add_at(behind, behind_rest, _load_int(places, other), moved)
                count += 1
                other -= 1
            if count > 0:
                place = _load_int(places, k)
                add_at(cost, cost_rest, place, whole(total, rest))
                _store_wide(led, place, _load_wide(led, place) + count)

    @subroutine
    def merge(first: Any, middle: Any, last: Any, classes: Any, work: Any) -> None:
        """Put two parts that lie side by side in the order of scores."""
        size = 8 * classes
        scores, places = work + _SCORES * size, work + _PLACES * size
        others, other_places = work + _SCORES_ASIDE * size, work + _PLACES_ASIDE * size
        for k in range(first, middle):
            store_real(others, k, load_real(scores, k))
            _keep(other_places, k, _load_int(places, k))
        at, one, two = first, first, middle
        while one < middle and two < last:
            a, b = load_real(others, one), load_real(scores, two)
            if b < a:
                store_real(scores, at, b)
                _keep(places, at, _load_int(places, two))
                two += 1
            else:
                store_real(scores, at, a)
                _keep(places, at, _load_int(other_places, one))
                one += 1
            at += 1
        while one < middle:
            store_real(scores, at, load_real(others, one))
            _keep(places, at, _load_int(other_places, one))
            one += 1
            at += 1

    @subroutine
    def pair_by_pair(members: Any, margin: Any, classes: Any, work: Any) -> None:
        """Add up the pairs of a row whose numbers are not all finite."""
        size = 8 * classes
        scores, weights = work + _SCORES * size, work + _WEIGHTS * size
        starts = work + _STARTS * size
        cost, led, behind = work + _COST * size, work + _LED * size, work + _BEHIND * size
        for k in range(members):
            score, weight = load_real(scores, k), _load_wide(weights, k)
            for other in range(_load_int(starts, k) if weight != 0 else 0):
                short = margin - (score - load_real(scores, other))
                # a NaN is short by NaN
                lacks = 0.0 if short <= 0 else float64(short)
                number = weight * (1.0 if short > 0 else lacks)
                _store_wide(cost, k, _load_wide(cost, k) + weight * lacks)
                _store_wide(led, k, _load_wide(led, k) + number)
                _store_wide(behind, other, _load_wide(behind, other) + number)
            _store_wide(weights, k, 1.0)  # what it has is weighed

    @subroutine
    def of_rows(
        order: Any,
        scores: Any,
        labels: Any,
        weights: Any,
        margin: Any,
        cost: Any,
        led: Any,
        behind: Any,
        n: Any,
        classes: Any,
        work: Any,
    ) -> None:
        size = 8 * classes
        own_scores, own_weights = work + _SCORES * size, work + _WEIGHTS * size
        places, starts = work + _PLACES * size, work + _STARTS * size
        for r in range(n):
            limit = load_real(margin, r)
            # what is less itself is 0, if it is finite
            odd = limit - limit != 0
            members, start, latest = 0, 0, load_real(labels, r)
            for k in range(classes):
                at = _load_int(order, k * lanes + r) * lanes + r
                label = load_real(labels, at)
                if label != label:
                    break  # and all that come after: they are in no pair
                if k > 0 and label != latest:
                    start = k
                latest = label
                score = load_real(scores, at)
                weight = load_real(weights, at)
                odd = odd or score - score != 0 or weight - weight != 0
                store_real(own_scores, k, score)
                _store_wide(own_weights, k, float64(weight))
                _keep(places, k, k)
                _keep(starts, k, start)
                members += 1
            for each in range(_COST, _BEFORE):
                for k in range(classes):
                    _store_wide(work + each * size, k, 0.0)
            if odd:
                pair_by_pair(members, limit, classes, work)
            else:
                count = _parted(classes, members, work)
                for each in range(count - 1, -1, -1):
                    first = _load_int(work + _FIRSTS * size, each)
                    middle = _load_int(work + _MIDDLES * size, each)
                    last = _load_int(work + _LASTS * size, each)
                    compare(first, middle, last, limit, classes, work)
                    if each > 0:
                        merge(first, middle, last, classes, work)
            for k in range(classes):
                at = _load_int(order, k * lanes + r) * lanes + r
                lacks = number = 0.0
                own = _load_wide(own_weights, k) if k < members else 0.0
                if own != 0:
                    rest = _load_wide(work + _COST_REST * size, k)
                    lacks = own * whole(_load_wide(work + _COST * size, k), rest)
                    number = own * _load_wide(work + _LED * size, k)
                if cost:
                    store_real(cost, at, one(lacks))
                if led:
                    store_real(led, at, one(number))
                if behind:
                    rest = _load_wide(work + _BEHIND_REST * size, k)
                    number = whole(_load_wide(work + _BEHIND * size, k), rest)
                    store_real(behind, at, one(number))

    return of_rows  # type: ignore[no-any-return]
