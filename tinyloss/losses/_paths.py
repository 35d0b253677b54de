"""Connectionist temporal classification: the probability P that the paths of a sequence spell its
labels, its complement Q, and what both depend on, by sums of what is never negative.

A path has a symbol for each frame. What it has spelled so far is a beginning of the target, its
state, or none. After k labels it *rests*, with a blank behind them or nothing, or it still
*repeats* the k-th. The next symbol decides the next state. So P is the probability of ending in one
of the two states of all labels, and Q that of ending in another or in none.

Loops over frames have what depends on the frame before; the rest is computed of all frames at once,
and only where some sequence needs it.

Where Q is small, -log P = -log1p(-Q), and the gradient comes from what Q would be, were the symbol
of a frame known. Elsewhere it is softmax minus posterior, each as what it differs from 1 by.
"""

from collections.abc import Callable
from fractions import Fraction
from functools import cache
from math import log
from typing import Any, NamedTuple

from tinyloss._arrays import astype, beside, dtype_name, namespace
from tinyloss._differences import exact_difference, exp_difference
from tinyloss.losses._numerics import sum_of_others
from tinyloss.typing import Namespace

Loop = Callable[..., tuple[Any, Any]]
"""loop(step, carry, arrays, reverse): over the first axis of arrays, as JAX's `lax.scan` does."""
Product = Callable[[Any, Any], Any]
"""product(a, b): the sums over J of (T, N, J) times (N, J, M), as accurate as sums are."""
Some = Callable[[Any, Callable[[], Any]], Any]
"""some(which, function): the arrays that a function returns; anything if none of `which` is so."""

HALF = {"float32": 48, "float64": 480}
"""Mantissas lie from 2^-h to 2^h. So the product of two does not underflow, nor do three such
products overflow, whatever a softmax divides by."""


class Wide(NamedTuple):
    """Numbers m 2^(2 h i), never negative, whose exponents have no limit.

    Probabilities of long paths need no logarithms, whose errors grow with their size. After
    Fukushima, Numerical computation of spherical harmonics of arbitrary degree and order by
    extending exponent of floating point numbers, Journal of Geodesy 86, 2012.
    """

    m: Any
    i: Any
    """An integer in the mantissas' dtype, -inf for 0."""


@cache
def unit(dtype: str) -> tuple[float, float, float]:
    """Return log 2^(2 h), its first bits, so few that a hundred of it are exact, and the rest."""
    bits, fraction = 2 * HALF[dtype], 2.0 ** {"float32": 11, "float64": 30}[dtype]
    high = int(bits * log(2) * fraction) / fraction
    ln2 = Fraction(0.6931471805599453) + Fraction(2.3190468138462996e-17)
    return bits * log(2), high, float(bits * ln2 - Fraction(high))


class WideNumbers:
    """Arithmetic of such numbers in one dtype."""

    def __init__(self, xp: Namespace, dtype: Any) -> None:
        self._xp, self._dtype = xp, dtype_name(dtype)
        half = HALF[self._dtype]
        self._low, self._high, self._step = 2.0**-half, 2.0**half, 2.0 ** (2 * half)

    def where(self, which: Any, one: Wide, other: Wide) -> Wide:
        """Return one where `which`, else the other."""
        where = self._xp.where
        return Wide(where(which, one.m, other.m), where(which, one.i, other.i))

    def zeros(self, like: Any) -> Wide:
        """Return zeros."""
        zero = self._xp.zeros_like(like)
        return Wide(zero, zero - self._xp.inf)

    def exp_difference(self, x: Any, m: Any, e: Any) -> Wide:
        """Return exp(x - m), m the larger; e is that where it does not underflow."""
        xp, (whole, high, low) = self._xp, unit(self._dtype)
        zero = x == -xp.inf
        d, rest = exact_difference(xp.where(zero, m, x), m)
        i = xp.round(d / whole)
        # exp of a rounded argument would be off by that argument's size in eps
        r = xp.clip(d - i * high, -0.5 * whole, 0.5 * whole)
        t = xp.clip(rest - i * low, -0.5, 0.5)
        m = xp.exp(r)
        m = xp.where(i == 0, e, m + m * (t + 0.5 * t * t))
        return Wide(xp.where(zero, 0.0, m), xp.where(zero, -xp.inf, i))

    def normal(self, m: Any, i: Any) -> Wide:
        """Return a product, or a sum of products, as a number."""
        xp = self._xp
        small, large = m < self._low, m >= self._high
        i = xp.where(small, i - 1, xp.where(large, i + 1, i))
        i = xp.where(m == 0, -xp.inf, i)
        m = xp.where(small, m * self._step, xp.where(large, m / self._step, m))
        return Wide(m, i)

    def product(self, a: Wide, b: Wide) -> Wide:
        """Return a product."""
        return self.normal(a.m * b.m, a.i + b.i)

    def scaled(self, a: Wide, i: Any) -> Any:
        """Return the mantissas that numbers have for another index, no smaller than theirs."""
        xp = self._xp
        less = xp.where(a.i == i - 1, 1 / self._step, xp.zeros_like(a.m))
        return a.m * xp.where(a.i == i, 1.0, less)

    def sum(self, *terms: Wide) -> Wide:
        """Return a sum of a few numbers, which may have a mantissa a little above the range."""
        xp, top = self._xp, terms[0].i
        for each in terms[1:]:
            top = xp.maximum(top, each.i)
        total = self.scaled(terms[0], top)
        for each in terms[1:]:
            total = total + self.scaled(each, top)
        return Wide(total, top)

    def total(self, a: Wide) -> Wide:
        """Return the sum over the last axis, which stays."""
        top = self._xp.max(a.i, axis=-1, keepdims=True)
        return Wide(self._xp.sum(self.scaled(a, top), axis=-1, keepdims=True), top)

    def share(self, a: Wide, total: Wide) -> Any:
        """Return what part of a total, no less, numbers are."""
        xp = self._xp
        ratio = a.m / xp.where(total.m == 0, 1.0, total.m)
        d = a.i - xp.where(total.i == -xp.inf, 0.0, total.i)
        far = xp.where(d == -2, ratio / self._step / self._step, xp.where(d < -2, 0.0, ratio))
        return xp.where(d == -1, ratio / self._step, far)

    def plain(self, a: Wide) -> Any:
        """Return what is at most 1 as ordinary numbers."""
        xp = self._xp
        return xp.where(a.i < -1, 0.0, xp.where(a.i == -1, a.m / self._step, a.m))

    def log(self, a: Wide) -> Any:
        """Return the logarithm."""
        xp = self._xp
        none = a.m == 0
        found = xp.log(xp.where(none, 1.0, a.m)) + xp.where(none, 0.0, a.i) * unit(self._dtype)[0]
        return xp.where(none, -xp.inf, found)


class States:
    """The states of targets, labels (N, L) of these lengths.

    There are L + 1 that rest, after 0, 1, ... labels, and as many that repeat the last of these: to
    repeat none is no state, which nothing leads to.
    """

    def __init__(self, labels: Any, lengths: Any, blank: int, dtype: Any) -> None:
        xp = namespace(labels)
        ends, length = lengths[:, None], labels.shape[1]
        ranks = xp.arange(1, length + 1, dtype=labels.dtype, **beside(labels))
        self.labels = labels = xp.where(ranks <= ends, labels, -1)
        """-1 beyond the length: no class."""
        none = xp.zeros_like(ends, dtype=labels.dtype) - 1
        self.classes = xp.concat([none + (1 + blank), labels], axis=1)
        """The classes of the target, (N, 1 + L): the blank, and each label's."""
        numbers = xp.arange(length + 1, dtype=labels.dtype, **beside(labels)) + 0 * ends
        own, after = xp.concat([none, labels], axis=1), xp.concat([labels, none], axis=1)
        self.first, self.end = numbers == 0, numbers == ends
        """Which state rests at the start of the target, and at its end; (N, L + 1)."""
        self.skips = (own >= 0) & (after >= 0) & (own != after)
        """Whether the next label may follow one that is repeated, without a blank; (N, L + 1)."""
        self.last = self.end & (numbers > 0)
        """Which state repeats the last label."""
        same = labels[:, :, None] == labels[:, None, :]
        self.same = astype(xp, same, dtype)
        """1 for two labels of one class, (N, L, L)."""
        self.new = ~xp.any(same & (ranks[:, None] > ranks), axis=-1) & (labels >= 0)
        """Whether a label has not come before in its target."""
        each, new = labels[:, :, None], self.new[:, :, None]
        stops = new & (each != after[:, None, :])
        stops = xp.concat([stops, stops & (each != own[:, None, :])], axis=-1)
        self.stops = astype(xp, stops, dtype)
        """1 where a label leads to no state from one that rests, then from one that repeats its
        own, (N, L, 2 L + 2). The blank never does."""


def _shifted(array: Any, by: int, filler: float) -> Any:
    """Return what is one place before each element of the last axis, or for -1 behind it."""
    xp = namespace(array)
    pad = xp.zeros_like(array[..., :1]) + filler
    return xp.concat([pad, array[..., :-1]] if by > 0 else [array[..., 1:], pad], axis=-1)


def _taken(array: Any, index: Any, filler: float) -> Any:
    """Return elements (T, N, J) of an array (T, N, K) at indices (N, J), at -1 the filler."""
    xp = namespace(array)
    there = xp.broadcast_to(xp.where(index < 0, 0, index), (array.shape[0], *index.shape))
    return xp.where(index < 0, filler, xp.take_along_axis(array, there, axis=-1))


Pair = tuple[Wide, Wide]
"""Numbers of the states that rest and of those that repeat, (..., L + 1) each."""


def _joined(one: Any, other: Any) -> Any:
    """Return what states that rest have and what those that repeat have, side by side."""
    return namespace(one).concat([one, other], axis=-1)


class Paths:
    """Sequences: logits (T, N, K), labels (N, L), which frames (T, N) and how many labels count."""

    def __init__(
        self,
        x: Any,
        labels: Any,
        frames: Any,
        lengths: Any,
        blank: int,
        loop: Loop,
        product: Product,
        some: Some,
    ) -> None:
        self._xp = xp = namespace(x)
        self._loop, self._product, self._some = loop, product, some
        self._frames, self._blank = frames, blank
        self._wide = wide = WideNumbers(xp, x.dtype)
        self._states = states = States(labels, lengths, blank, x.dtype)
        x = xp.where(frames[..., None], x, 0.0)
        # As `softmax_parts`, but ties are counted: XLA writes no array for a sum of whole numbers.
        most = xp.max(x, axis=-1, keepdims=True)
        top = x == most
        below = xp.where(top, 0.0, exp_difference(x, most))
        ties = xp.sum(astype(xp, top, xp.int32), axis=-1, keepdims=True) - 1
        ties = astype(xp, ties, x.dtype) + (most - most)  # NaN of an infinite logit
        self._rest = xp.sum(below, axis=-1, keepdims=True) + ties
        self._z = 1 + self._rest
        self._p = xp.where(top, 1.0, below) / self._z
        own = _taken(x, states.classes, -xp.inf)
        never = own == -xp.inf
        e = xp.where(never, 0.0, exp_difference(xp.where(never, most, own), most))
        m, i = wide.exp_difference(own, most, e)
        m, i = m / self._z, xp.where(m == 0, -xp.inf, i)
        self._symbols = Wide(m, i)
        """The blank, which keeps a state at rest or leads there, and what leads to each label."""
        self._end, self._after = self._gone(self._flow, states.first)
        rest, repeat = [
            wide.total(wide.where(last, each, wide.zeros(each.m)))
            for last, each in zip((states.end, states.last), self._end, strict=True)
        ]
        self._right = wide.sum(rest, repeat)
        self._is_likely = wide.plain(self._right)[:, 0] > 0.5
        self._wrong: Any = None

    @staticmethod
    def too_short(xp: Any, labels: Any, frames: Any, lengths: Any) -> Any:
        """Return whether frames are too few: labels that are alike have a blank between them."""
        ranks = xp.arange(1, labels.shape[1], dtype=lengths.dtype, **beside(labels))
        again = (labels[:, 1:] == labels[:, :-1]) & (ranks < lengths[:, None])
        return frames < lengths + xp.sum(astype(xp, again, lengths.dtype), axis=-1)

    def value(self) -> Any:
        """Return the losses, (N,)."""
        xp, likely = self._xp, self._is_likely
        if self._wrong is None:
            (self._wrong,) = self._some(likely, lambda: (self._probability_of_wrong()[0],))
        wrong = xp.where(likely, self._wrong, 0.0)
        loss = xp.log1p(wrong / (1 - wrong))  # -log(1 - wrong): see `log_of_sum`
        return xp.where(likely, loss, -self._wide.log(self._right)[:, 0])

    def grad(self) -> Any:
        """Return their gradients by the logits, (T, N, K)."""
        xp, likely = self._xp, self._is_likely
        self._wrong, of_wrong = self._some(likely, self._slopes_of_wrong)
        (of_right,) = self._some(~likely, self._slopes_of_right)
        slopes = xp.where(likely[:, None], of_wrong, of_right)
        places = self._places_of_classes()
        absent = places > self._states.labels.shape[1]
        found = xp.where(absent, self._p, _taken(slopes, xp.where(absent, -1, places), 0.0))
        counts = self._frames & (self._right.m[:, 0] != 0)
        return xp.where(counts[..., None], found, 0.0)

    # ------------------------------------------------------------------------ frame after frame

    def _gone(
        self, flow: Callable[[Pair], Pair], start: Any, reverse: bool = False
    ) -> tuple[Pair, Pair]:
        """Return what is in the states at last, and after each frame, (T, N, L + 1).

        Backwards: before each frame the probability of all that is right behind it.
        """
        xp, wide = self._xp, self._wide

        def step(carry: Any, arrays: Any) -> tuple[Any, Any]:
            m, i, frame = arrays
            come = flow((Wide(*carry[:2]), Wide(*carry[2:])))
            rest = wide.product(come[0], Wide(m[:, :1], i[:, :1]))
            after = *rest, *wide.product(come[1], Wide(m, i))
            kept = [xp.where(frame[:, None], a, b) for a, b in zip(after, carry, strict=True)]
            return tuple(kept), (*come[0], *come[1]) if reverse else tuple(kept)

        none = wide.zeros(xp.zeros_like(self._symbols.m[0, ...]))
        begun = wide.where(start, Wide(1 + none.m, none.m), none)
        arrays = (*self._symbols, self._frames)
        end, each = self._loop(step, (*begun, *none), arrays, reverse=reverse)
        return (Wide(*end[:2]), Wide(*end[2:])), (Wide(*each[:2]), Wide(*each[2:]))

    def _flow(self, a: Pair) -> Pair:
        """Return what comes to each state if its symbol does, of what is in each before."""
        xp, wide, (rest, repeat) = self._xp, self._wide, a
        skipping = wide.where(self._states.skips, repeat, wide.zeros(repeat.m))
        further = wide.sum(rest, skipping)
        behind = Wide(_shifted(further.m, 1, 0.0), _shifted(further.i, 1, -xp.inf))
        return wide.sum(rest, repeat), wide.sum(repeat, behind)

    def _flow_back(self, a: Pair) -> Pair:
        """Return what each state leads to, of what those have to which its next symbol leads."""
        xp, wide, (rest, repeat) = self._xp, self._wide, a
        ahead = Wide(_shifted(repeat.m, -1, 0.0), _shifted(repeat.i, -1, -xp.inf))
        skipping = wide.where(self._states.skips, ahead, wide.zeros(ahead.m))
        return wide.sum(rest, ahead), wide.sum(rest, repeat, skipping)

    def _spoiled(self, leaving: tuple[Any, Any]) -> tuple[Any, Any]:
        """Return the probability of what is wrong, from each state behind each frame."""
        xp, states = self._xp, self._states

        def step(carry: Any, arrays: Any) -> tuple[Any, Any]:
            symbol, from_rest, from_repeat, frame = arrays
            rest, repeat = carry[0] * symbol[:, :1], carry[1] * symbol
            ahead = _shifted(repeat, -1, 0.0)
            worse = (
                rest + ahead + from_rest,
                rest + repeat + xp.where(states.skips, ahead, 0.0) + from_repeat,
            )
            kept = [xp.where(frame[:, None], a, b) for a, b in zip(worse, carry, strict=True)]
            return tuple(kept), carry

        none = xp.zeros_like(leaving[0][0, ...])
        start = xp.where(states.end, none, 1.0), xp.where(states.last, none, 1.0)
        arrays = (self._wide.plain(self._symbols), *leaving, self._frames)
        (_, found) = self._loop(step, start, arrays, reverse=True)
        return found[0], found[1]

    # ------------------------------------------------------------------------- all frames at once

    def _slopes_of_right(self) -> tuple[Any]:
        """Return p - c for each class, c the posterior, by 1 - p and 1 - c: (T, N, 1 + L)."""
        wide = self._wide
        _, behind = self._gone(self._flow_back, self._states.end, reverse=True)
        rest, repeat = [wide.product(a, b) for a, b in zip(self._after, behind, strict=True)]
        of_blank = wide.total(rest)
        total = wide.sum(of_blank, wide.total(repeat))
        labels = self._product(wide.share(repeat, total)[..., 1:], self._states.same)
        labels = self._xp.where(self._states.new, labels, 0.0)
        shares = _joined(wide.share(of_blank, total), labels)
        p, of_others = self._own()
        return (p * sum_of_others(shares) - shares * of_others,)

    def _probability_of_wrong(self) -> tuple[Any, ...]:
        """Return Q, what is in the states before each frame, and what leads from them to none.

        To take what leads somewhere off the sum of all would lose the digits.
        """
        xp, wide, states = self._xp, self._wide, self._states
        nothing = xp.zeros_like(self._after[0].m[:1, ...])
        start = xp.where(states.first, 1.0, nothing), nothing
        rest, repeat = [
            xp.concat([first, wide.plain(each)[:-1, ...]], axis=0)
            for first, each in zip(start, self._after, strict=True)
        ]
        absent = self._places_of_classes() > states.labels.shape[1]
        outside = xp.sum(xp.where(absent, self._p, 0.0), axis=-1, keepdims=True)
        labels = self._own()[0][..., 1:]
        stopping, length = self._product(labels, states.stops), self._symbols.m.shape[-1]
        from_rest, from_repeat = stopping[..., :length], stopping[..., length:]
        total = xp.sum(rest, axis=-1) + xp.sum(repeat, axis=-1)
        left = xp.sum(rest * from_rest, axis=-1) + xp.sum(repeat * from_repeat, axis=-1)
        left = xp.where(self._frames, outside[..., 0] * total + left, 0.0)
        ends = [wide.plain(each) for each in self._end]
        ended = xp.sum(xp.where(states.end, 0.0, ends[0]), axis=-1)
        ended = ended + xp.sum(xp.where(states.last, 0.0, ends[1]), axis=-1)
        spent = outside * total[..., None]
        leaving = outside + from_rest, outside + from_repeat
        return ended + xp.sum(left, axis=0), rest, repeat, spent, leaving

    def _slopes_of_wrong(self) -> tuple[Any, Any]:
        """Return Q, and its derivatives by the logits over 1 - Q, for each class: (T, N, 1 + L).

        With q_c what Q would be were the symbol c, p_c (q_c - Q) = p_c ((1 - p_c) q_c - the sum of
        p_k q_k over other k). What has been wrong before takes no part: it is in all q_k.
        """
        xp, states = self._xp, self._states
        wrong, rest, repeat, spent, leaving = self._probability_of_wrong()
        bad = self._spoiled(leaving)
        further = rest + xp.where(states.skips, repeat, 0.0)
        of_blank = xp.sum((rest + repeat) * bad[0], axis=-1, keepdims=True)
        come = (repeat + _shifted(further, 1, 0.0)) * bad[1]
        parts = [come[..., 1:], rest, repeat]  # of the same class, and what leads to none
        each = xp.concat([states.same, xp.permute_dims(states.stops, (0, 2, 1))], axis=1)
        of_labels = self._product(xp.concat(parts, axis=-1), each)
        q = _joined(of_blank, xp.where(states.new, of_labels, 0.0))
        p, of_others = self._own()
        among = sum_of_others(_joined(p * q, spent))[..., :-1]
        small = xp.where(self._is_likely, wrong, 0.0)
        return wrong, p * (of_others * q - among) / (1 - small)[:, None]

    def _own(self) -> tuple[Any, Any]:
        """Return the probabilities of the target's classes, (T, N, 1 + L), and of all but each.

        A class that is not the largest has at most one half: 1 - p loses nothing.
        """
        p = self._wide.plain(self._symbols)
        return p, self._xp.where(p == 1 / self._z, self._rest / self._z, 1 - p)

    def _places_of_classes(self) -> Any:
        """Return 0 for the blank, for a label's class one more than where it is first, (N, K)."""
        xp, labels = self._xp, self._states.labels
        length = labels.shape[1]
        index = xp.arange(self._p.shape[-1], dtype=labels.dtype, **beside(labels))
        none = xp.zeros_like(self._states.classes[:, :1]) + index * 0
        ranks = xp.arange(1, length + 1, dtype=labels.dtype, **beside(labels))

        def step(places: Any, arrays: Any) -> tuple[Any, Any]:
            label, rank = arrays
            return xp.where(label[:, None] == index, rank, places), ()

        columns = xp.permute_dims(labels, (1, 0))
        places, _ = self._loop(step, none + (length + 1), (columns, ranks), reverse=True)
        return xp.where(index == self._blank, 0, places)
