"""Connectionist temporal classification: the probability P that the paths of a sequence spell its
labels, its complement Q, and what both depend on, by sums of what is never negative.

A path has a symbol for each frame. What it has spelled so far is one of 2 L + 1 beginnings of the
target, its state, or none. State 2k has spelled k labels and has a blank behind them, or nothing;
state 2k - 1 still repeats the k-th. The next symbol decides the next state. So P is the
probability of ending in one of the last two states, and Q that of ending in another or in none.

Where Q is small, -log P = -log1p(-Q), and the gradient comes from what Q would be, were the symbol
of a frame known. Elsewhere it is softmax minus posterior, each as what it differs from 1 by.
"""

from collections.abc import Callable
from fractions import Fraction
from functools import cache
from math import log
from typing import Any, NamedTuple

from tinyloss._arrays import astype, beside, dtype_name, namespace
from tinyloss._differences import exact_difference
from tinyloss.losses._numerics import softmax_parts, sum_of_others
from tinyloss.typing import Namespace

Loop = Callable[..., tuple[Any, Any]]
"""loop(step, carry, arrays, reverse): over the first axis of arrays, as JAX's `lax.scan` does."""

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
        d = a.i - xp.where(i == -xp.inf, 0.0, i)
        less = xp.where(d == -1, 1 / self._step, xp.where(d < -1, 0.0, d))
        return a.m * xp.where(d == 0, 1.0, less)

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

    def shares(self, a: Wide) -> Any:
        """Return the shares of their sum that numbers have, along the last axis."""
        xp, total = self._xp, self.total(a)
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
    """The states of targets, labels (N, L) of these lengths: arrays (N, S), S = 2 L + 1."""

    def __init__(self, labels: Any, lengths: Any, blank: int) -> None:
        xp = namespace(labels)
        ends, length = lengths[:, None], labels.shape[1]
        ranks = xp.arange(length, dtype=labels.dtype, **beside(labels))
        self.labels = labels = xp.where(ranks < ends, labels, -1)
        """-1 beyond the length: no class."""
        none = xp.zeros_like(ends, dtype=labels.dtype) - 1
        before = xp.concat([none, labels], axis=1)
        after = xp.concat([labels, none], axis=1)
        self.spelled = _woven(xp.zeros_like(before) - 1, labels)
        """The label that a state repeats, -1 for none."""
        self.coming = _woven(after, xp.where(after[:, 1:] == labels, -1, after[:, 1:]))
        """The label that leads to another state, -1 for none."""
        self.symbols = _woven(xp.zeros_like(before) + blank, labels)
        """What leads to a state or keeps it, -1 where there is no such state."""
        skips = (labels >= 0) & (before[:, :-1] >= 0) & (labels != before[:, :-1])
        self.skips = _woven(xp.zeros_like(before) > 0, skips)
        """Whether the state two before leads here, too."""
        number = xp.arange(2 * length + 1, dtype=labels.dtype, **beside(labels))
        self.last = (number == 2 * ends) | (number == 2 * ends - 1)
        self.first = (number + 0 * ends) == 0
        self.same = labels[:, :, None] == labels[:, None, :]
        """Whether two labels are of one class, (N, L, L)."""
        self.new = ~xp.any(self.same & (ranks[:, None] > ranks), axis=-1) & (labels >= 0)
        """Whether a label has not come before in its target."""
        leads = self.spelled[:, None, :] == labels[:, :, None]
        self.stops = ~(leads | (self.coming[:, None, :] == labels[:, :, None]))
        """Whether a label leads from a state to none, (N, L, S)."""


def _woven(even: Any, odd: Any) -> Any:
    """Return what even states have and, between, what odd ones have."""
    xp, count = namespace(even), odd.shape[1]
    both = xp.reshape(xp.stack([even[:, :-1], odd], axis=-1), (even.shape[0], 2 * count))
    return xp.concat([both, even[:, -1:]], axis=1)


def _taken(array: Any, index: Any) -> Any:
    """Return elements (T, N, J) of an array (T, N, K) at indices (N, J), 0 for an index of -1."""
    xp = namespace(array)
    there = xp.broadcast_to(xp.where(index < 0, 0, index), (array.shape[0], *index.shape))
    return xp.where(index < 0, 0.0, xp.take_along_axis(array, there, axis=-1))


def _moved(array: Any, by: int, filler: float) -> Any:
    """Return an array with what each state's neighbour has, `by` states before it."""
    xp, count = namespace(array), array.shape[1]
    pad = xp.zeros_like(array[:, : min(abs(by), count)]) + filler
    if by > 0:
        return xp.concat([pad, array[:, : max(count - by, 0)]], axis=1)
    return xp.concat([array[:, -by:], pad], axis=1)


class Paths:
    """Sequences: logits (T, N, K), labels (N, L), which frames (T, N) and how many labels count."""

    def __init__(
        self, x: Any, labels: Any, frames: Any, lengths: Any, blank: int, loop: Loop
    ) -> None:
        self._xp = xp = namespace(x)
        self._loop, self._frames, self._blank = loop, frames, blank
        self._wide = wide = WideNumbers(xp, x.dtype)
        self._states = states = States(labels, lengths, blank)
        x = xp.where(frames[..., None], x, 0.0)
        s = softmax_parts(x)
        self._s, self._p = s, s.e / s.z
        all_ = wide.exp_difference(x, xp.max(x, axis=-1, keepdims=True), s.e)
        m, i = _taken(all_.m / s.z, states.symbols), _taken(all_.i, states.symbols)
        self._symbols = Wide(m, xp.where(m == 0, -xp.inf, i))
        self._leaving = self._probability_of_leaving()
        one = xp.ones_like(m[0, ...])
        start = wide.where(states.first, Wide(one, 0.0 * one), wide.zeros(one))
        end, self._before = loop(self._step, start, (*self._symbols, frames))
        end = Wide(*end)
        self._right = wide.total(wide.where(states.last, end, wide.zeros(one)))
        ended = xp.sum(xp.where(states.last, 0.0, wide.plain(end)), axis=-1)
        left = xp.sum(wide.plain(Wide(*self._before)) * self._leaving, axis=-1)
        left = xp.sum(xp.where(frames, left, 0.0), axis=0)
        self._wrong = ended + left
        self._is_small = self._wrong < 0.5

    @staticmethod
    def too_short(xp: Any, labels: Any, frames: Any, lengths: Any) -> Any:
        """Return whether frames are too few: labels that are alike have a blank between them."""
        ranks = xp.arange(1, labels.shape[1], dtype=lengths.dtype, **beside(labels))
        again = (labels[:, 1:] == labels[:, :-1]) & (ranks < lengths[:, None])
        return frames < lengths + xp.sum(astype(xp, again, lengths.dtype), axis=-1)

    def _probability_of_leaving(self) -> Any:
        """Return the probability of a symbol that leads from a state to none, (T, N, S).

        To take the symbols that lead somewhere, at most three, off the sum of all would lose the
        digits. So the three largest are not in it, and each is added where it leads to none.
        """
        xp, p, states = self._xp, self._p, self._states
        index = xp.arange(p.shape[-1], dtype=states.labels.dtype, **beside(p))
        symbols = (xp.zeros_like(states.spelled) + self._blank, states.spelled, states.coming)
        left, total, met = p, 0.0, [xp.zeros_like(p[..., :1]) > 0 for _ in symbols]
        for _ in range(min(3, p.shape[-1])):
            top = astype(xp, xp.argmax(left, axis=-1, keepdims=True), index.dtype)
            is_top = index == top
            largest = xp.sum(xp.where(is_top, left, 0.0), axis=-1, keepdims=True)
            left = xp.where(is_top, 0.0, left)
            hits = [each == top for each in symbols]
            met = [a | b for a, b in zip(met, hits, strict=True)]
            total = total + xp.where(hits[0] | hits[1] | hits[2], 0.0, largest)
        rest = xp.sum(left, axis=-1, keepdims=True)
        for symbol, is_met in zip(symbols, met, strict=True):
            rest = rest - xp.where(is_met, 0.0, _taken(p, symbol))
        return total + xp.where(rest < 0, 0.0, rest)

    def _flow(self, a: Wide) -> Wide:
        """Return what comes to each state if its symbol does."""
        two = self._wide.where(
            self._states.skips,
            Wide(_moved(a.m, 2, 0.0), _moved(a.i, 2, -self._xp.inf)),
            self._wide.zeros(a.m),
        )
        return self._wide.sum(a, Wide(_moved(a.m, 1, 0.0), _moved(a.i, 1, -self._xp.inf)), two)

    def _step(self, carry: Any, arrays: Any) -> tuple[Any, Any]:
        """Go over one frame, from the probabilities of the states before it."""
        m, i, frame = arrays
        before = Wide(*carry)
        after = self._wide.product(self._flow(before), Wide(m, i))
        return self._wide.where(frame[:, None], after, before), before

    def value(self) -> Any:
        """Return the losses, (N,)."""
        xp, wrong = self._xp, self._wrong
        small = xp.where(self._is_small, wrong, 0.0)
        return xp.where(self._is_small, -xp.log1p(-small), -self._wide.log(self._right)[:, 0])

    def grad(self) -> Any:
        """Return their gradients by the logits, (T, N, K)."""
        xp, states, p = self._xp, self._states, self._p
        blanks = xp.zeros_like(states.first[:, :1], dtype=states.labels.dtype) + self._blank
        classes = xp.concat([blanks, states.labels], axis=1)
        places = self._places()
        absent = places > states.labels.shape[1]
        outside = xp.sum(xp.where(absent, p, 0.0), axis=-1, keepdims=True)
        unlikely = _taken(sum_of_others(self._s.e) / self._s.z, classes)
        zero = xp.zeros_like(self._before[0][0, ...])
        end = self._wide.where(states.last, Wide(1 + zero, zero), self._wide.zeros(zero))
        bad = xp.where(states.last, zero, 1.0)
        own = (_taken(p, classes), unlikely, outside, self._leaving, self._frames)
        arrays = (*self._symbols, *self._before, *own)
        _, (slopes,) = self._loop(self._step_back, (*end, bad), arrays, reverse=True)
        slopes = _taken(slopes, xp.where(absent, -1, places))
        found = xp.where(absent, p, slopes)
        counts = self._frames & (self._right.m[:, 0] != 0)
        return xp.where(counts[..., None], found, 0.0)

    def _places(self) -> Any:
        """Return 0 for the blank, for a label's class one more than where it is first, (N, K)."""
        xp, labels = self._xp, self._states.labels
        length = labels.shape[1]
        index = xp.arange(self._p.shape[-1], dtype=labels.dtype, **beside(labels))
        none = xp.zeros_like(self._states.first[:, :1], dtype=labels.dtype) + index * 0
        ranks = xp.arange(1, length + 1, dtype=labels.dtype, **beside(labels))

        def step(places: Any, arrays: Any) -> tuple[Any, Any]:
            label, rank = arrays
            return xp.where(label[:, None] == index, rank, places), ()

        columns = xp.permute_dims(labels, (1, 0))
        places, _ = self._loop(step, none + (length + 1), (columns, ranks), reverse=True)
        return xp.where(index == self._blank, 0, places)

    def _step_back(self, carry: Any, arrays: Any) -> tuple[Any, Any]:
        """Go back over one frame: from what each state behind it ends in to the slopes there."""
        xp, wide, states = self._xp, self._wide, self._states
        *good, bad = carry
        m, i, before_m, before_i, p, unlikely, outside, leaving, frame = arrays
        symbol, before = Wide(m, i), Wide(before_m, before_i)
        ahead = wide.product(symbol, Wide(*good))
        slopes = xp.where(
            self._is_small[:, None],
            self._slopes_of_wrong(wide.plain(before), bad, p, unlikely, outside),
            self._slopes_of_right(wide.product(self._flow(before), ahead), p, unlikely),
        )
        two = Wide(xp.where(states.skips, ahead.m, 0.0), xp.where(states.skips, ahead.i, -xp.inf))
        behind = wide.sum(
            ahead,
            Wide(_moved(ahead.m, -1, 0.0), _moved(ahead.i, -1, -xp.inf)),
            Wide(_moved(two.m, -2, 0.0), _moved(two.i, -2, -xp.inf)),
        )
        behind = wide.normal(*behind)
        worse = wide.plain(symbol) * bad
        further = _moved(xp.where(states.skips, worse, 0.0), -2, 0.0)
        worse = worse + _moved(worse, -1, 0.0) + further + leaving
        counts = frame[:, None]
        good_then = wide.where(counts, behind, Wide(*good))
        return (*good_then, xp.where(counts, worse, bad)), (slopes,)

    def _slopes_of_right(self, through: Wide, p: Any, unlikely: Any) -> Any:
        """Return p - c for each class, c the posterior, by 1 - p and 1 - c: (N, 1 + L)."""
        xp, states = self._xp, self._states
        share = self._wide.shares(through)
        blank, labels = xp.sum(share[:, ::2], axis=-1, keepdims=True), self._of_classes(share)
        share = xp.concat([blank, xp.where(states.new, labels, 0.0)], axis=1)
        return p * sum_of_others(share) - share * unlikely

    def _slopes_of_wrong(self, a: Any, bad: Any, p: Any, unlikely: Any, outside: Any) -> Any:
        """Return the derivatives of Q by the logits over 1 - Q, for each class: (N, 1 + L).

        With q_c what Q would be were the symbol c, p_c (q_c - Q) = p_c ((1 - p_c) q_c - the sum of
        p_k q_k over other k). What has been wrong before takes no part: it is in all q_k.
        """
        xp, states = self._xp, self._states
        two = xp.where(states.skips, _moved(a, 2, 0.0), 0.0)
        wrong = (a + _moved(a, 1, 0.0) + two) * bad
        stopped = xp.sum(xp.where(states.stops, a[:, None, :], 0.0), axis=-1)
        blank = xp.sum(wrong[:, ::2], axis=-1, keepdims=True)
        q = xp.concat([blank, self._of_classes(wrong) + stopped], axis=1)
        new = xp.concat([blank == blank, states.new], axis=1)
        all_ = xp.sum(a, axis=-1, keepdims=True)
        others = sum_of_others(xp.concat([xp.where(new, p * q, 0.0), outside * all_], axis=1))
        small = xp.where(self._is_small, self._wrong, 0.0)[:, None]
        return p * (unlikely * q - others[:, :-1]) / (1 - small)

    def _of_classes(self, array: Any) -> Any:
        """Return for each label the sum over the states of its class, (N, L)."""
        odd = array[:, 1::2]
        return self._xp.sum(self._xp.where(self._states.same, odd[:, None, :], 0.0), axis=-1)
