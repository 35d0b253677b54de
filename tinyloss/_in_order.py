"""Rows in an order: sorted by keys, and added up one after the other.

Formulas of losses that use these are `in_order`. Sums run by pairs, pairs of pairs and so on, in a
number of steps that is the logarithm of the row's length: each takes all rows at once, and
rounding grows as that of pairwise sums. The recorder has orders and running joins as operations.
"""

from collections.abc import Callable, Sequence
from typing import Any

from tinyloss._arrays import beside, namespace
from tinyloss._differences import exp_difference

Arrays = Sequence[Any]


def sort_by(key: Any, /, *arrays: Any) -> tuple[Any, ...]:
    """Return arrays with each row in ascending order of a key, for a loss of your own.

    What has the same key keeps its order. The gradient goes back to where each element came from;
    there is none by the key. `sort_by(-key, ...)` is the descending order.

    Parameters
    ----------
    key
        What decides the order, along the last axis.
    arrays
        What to sort; each broadcasts with the key.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> time, risk = np.array([3.0, 1.0, 2.0]), np.array([0.1, 0.2, 0.3])
    >>> tinyloss.sort_by(time, time, risk)
    (array([1., 2., 3.]), array([0.2, 0.3, 0.1]))
    """
    recorded: Any = getattr(namespace(key), "sort_by", None)
    if recorded is not None:
        return recorded(key, *arrays)  # type: ignore[no-any-return]
    return tuple([sorted_by(each, key) for each in arrays])


def cumulative_log_sum_exp(x: Any, /) -> Any:
    """Return log(exp(x_1) + ... + exp(x_k)) for each element of a row, for a loss of your own.

    Nothing overflows. Where one term is most of the sum, the others keep their digits. Rounding
    grows as the logarithm of the row's length. Its gradient keeps the same digits.

    Parameters
    ----------
    x
        Numbers, added up along the last axis; -inf adds nothing.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> tinyloss.cumulative_log_sum_exp(np.array([1000.0, 1000.0, 0.0])).round(4).tolist()
    [1000.0, 1000.6931, 1000.6931]
    """
    xp = namespace(x)
    recorded: Any = getattr(xp, "cumulative_log_sum_exp", None)
    if recorded is not None:
        return recorded(x)
    return log_sums(x)


def log_sums(x: Any) -> Any:
    """Return the logarithms of running sums of exponentials, by `running`."""
    xp = namespace(x)
    m, r = running(joined_log_sums, [_above_lowest(x), xp.zeros_like(x)])
    (some,) = running(joined_numbers, [xp.where(x == -xp.inf, xp.zeros_like(x), 1.0)])
    return xp.where(some == 0, -xp.inf, m + xp.log1p(r))


def cumulative_top(x: Any) -> Any:
    """Return the largest of each element and those before it; the lowest number for -inf."""
    return running(_joined_tops, [_above_lowest(x)])[0]


def _joined_tops(one: Arrays, other: Arrays) -> list[Any]:
    return [namespace(one[0]).maximum(one[0], other[0])]


def _above_lowest(x: Any) -> Any:
    """Return numbers, the lowest for -inf: the difference of two such is one."""
    xp = namespace(x)
    return xp.where(x == -xp.inf, -float(xp.finfo(x.dtype).max), x)


def cumulative_sum(x: Any) -> Any:
    """Return the sum of each element and those before it, by pairs."""
    return running(joined_numbers, [x])[0]


def counted(condition: Any, like: Any) -> Any:
    """Return how many elements up to each meet a condition, in the dtype of another array."""
    xp = namespace(condition)
    if getattr(xp, "running", None) is not None:
        return cumulative_sum(xp.astype(condition, like.dtype))
    number = xp.cumulative_sum(xp.astype(condition, xp.int32), axis=-1)
    return xp.astype(number, like.dtype)


def decaying_sum(g: Any, m: Any) -> Any:
    """Return for each k the sum of g_j exp(m_j - m_k) over j up to k; m does not fall."""
    return running(_joined_decays, [g, m])[0]


def _joined_decays(one: Arrays, other: Arrays) -> list[Any]:
    return [other[0] + one[0] * exp_difference(one[1], other[1]), other[1]]


def shortfalls(x: Any, y: Any, weights: Any, margin: Any) -> tuple[Any, Any, Any]:
    """Return of each member of rows what comes of its pairs, those of members of other labels.

    The leads of the better over the worse fall short of a margin. The results are what those of a
    member over worse ones do, in all; how many do; and how many do of better ones over the member.
    Each pair is times the weight of its better member; there is none where that is 0.

    Only the recorder has it, of formulas that are `by_sorting`; pairs are `over_pairs` elsewhere.
    """
    results: tuple[Any, Any, Any] = namespace(x).shortfalls(x, y, weights, margin)
    return results


def sorted_by(array: Any, key: Any) -> Any:
    """Return an array's rows in the order of a key."""
    array, key = namespace(key).broadcast_arrays(array, key)
    return Order(key).of(array)


def unsorted_by(array: Any, key: Any) -> Any:
    """Return rows that are in the order of a key as they were before."""
    array, key = namespace(key).broadcast_arrays(array, key)
    return Order(key).back(array)


def spread(array: Any, x: Any) -> Any:
    """Return an array of x's shape, as it may not be where x alone is mapped over."""
    xp = namespace(x)
    recorded: Any = getattr(xp, "spread", None)
    if recorded is not None:
        return recorded(array, x)
    return xp.broadcast_to(array, x.shape)


def places(x: Any) -> Any:
    """Return the place of each element in its row, counted from 0, in the dtype of x."""
    xp = namespace(x)
    return xp.astype(xp.arange(x.shape[-1], **beside(x)), x.dtype)


def _is_first(x: Any) -> Any:
    """Return whether a place is the first of a row."""
    return namespace(x).arange(x.shape[-1], **beside(x)) == 0


def _is_last(x: Any) -> Any:
    """Return whether a place is the last of a row."""
    return namespace(x).arange(x.shape[-1], **beside(x)) == x.shape[-1] - 1


def previous(array: Any) -> Any:
    """Return what is before each element of a row; the first is before itself."""
    xp = namespace(array)
    moved: Any = getattr(xp, "moved", None)
    if moved is not None:
        return moved(array, -1)
    return xp.concat([array[..., :1], array[..., :-1]], axis=-1)


def following(array: Any) -> Any:
    """Return what is behind each element of a row; the last is behind itself."""
    xp = namespace(array)
    moved: Any = getattr(xp, "moved", None)
    if moved is not None:
        return moved(array, 1)
    return xp.concat([array[..., 1:], array[..., -1:]], axis=-1)


class Order:
    """The order of rows by keys, the first one that differs deciding; ties by position."""

    def __init__(self, *keys: Any) -> None:
        self._xp = xp = namespace(keys[0])
        self._keys = keys
        self._recorded = getattr(xp, "sorted_by", None) is not None
        if self._recorded:
            return
        *others, last = [xp.astype(k, xp.int8) if k.dtype == xp.bool else k for k in keys]
        self._places = xp.argsort(last, axis=-1, stable=True)
        for key in reversed(others):
            by_key = xp.argsort(self.of(key), axis=-1, stable=True)
            self._places = xp.take_along_axis(self._places, by_key, axis=-1)

    def of(self, array: Any) -> Any:
        """Return an array's rows in this order."""
        if self._recorded:
            return self._xp.sorted_by(array, *self._keys)
        return self._xp.take_along_axis(array, self._places, axis=-1)

    def back(self, array: Any) -> Any:
        """Return rows that are in this order as they were before."""
        if self._recorded:
            return self._xp.unsorted_by(array, *self._keys)
        inverse = self._xp.argsort(self._places, axis=-1, stable=True)
        return self._xp.take_along_axis(array, inverse, axis=-1)


class Groups:
    """Parts of a row that lie together, told by where one begins."""

    def __init__(self, begins: Any, *, whole: bool = False) -> None:
        self._xp = namespace(begins)
        self.begins = begins
        """Whether an element is the first of its group."""
        self.ends = following(begins) | _is_last(begins)
        """Whether an element is the last of its group."""
        self.whole_row = whole
        """Whether it is known that there is one group."""
        self._bounds: tuple[Any, Any] | None = None

    @classmethod
    def of(cls, *keys: Any) -> "Groups":
        """Return the groups of elements that are alike in every key."""
        first, *others = [key != previous(key) for key in keys]
        begins = _is_first(keys[0]) | first
        for each in others:
            begins = begins | each
        return cls(begins)

    @classmethod
    def whole(cls, like: Any) -> "Groups":
        """Return the one group of all elements of a row."""
        return cls(spread(_is_first(like), like), whole=True)

    def bounds(self) -> tuple[Any, Any]:
        """Return the places of the first and of the last element of each element's group."""
        if self._bounds is not None:
            return self._bounds
        xp = self._xp
        if getattr(xp, "running", None) is not None:
            place = spread(xp.arange(self.begins.shape[-1]), self.begins)
            self._bounds = self.of_first(place)[0], self.of_last(place)[0]
        else:
            number = xp.cumulative_sum(xp.astype(self.begins, xp.int32), axis=-1) - 1
            self._bounds = self._places(self.begins, number), self._places(self.ends, number)
        return self._bounds

    def _places(self, marks: Any, number: Any) -> Any:
        # where marks are, in ascending order; what comes after is not asked for
        xp = self._xp
        marked = xp.argsort(xp.astype(~marks, xp.int8), axis=-1, stable=True)
        return xp.take_along_axis(marked, number, axis=-1)

    def of_first(self, *arrays: Any) -> list[Any]:
        """Return for each element what arrays have at the first of its group."""
        if getattr(self._xp, "running", None) is not None:
            return running(_earlier, arrays, self)
        first, _ = self.bounds()
        return [self._xp.take_along_axis(each, first, axis=-1) for each in arrays]

    def of_last(self, *arrays: Any) -> list[Any]:
        """Return for each element what arrays have at the last of its group."""
        if getattr(self._xp, "running", None) is not None:
            return running(_earlier, arrays, self, backwards=True)
        _, last = self.bounds()
        return [self._xp.take_along_axis(each, last, axis=-1) for each in arrays]


def _earlier(one: Arrays, other: Arrays) -> Arrays:
    return one


def running(
    join: Callable[[Arrays, Arrays], Arrays],
    arrays: Arrays,
    groups: Groups | None = None,
    *,
    backwards: bool = False,
) -> list[Any]:
    """Return each element joined with all before it in its group, or backwards with all after.

    `join` takes what earlier elements have made and what later ones have, and is associative.
    """
    xp = namespace(arrays[0])
    if groups is None or groups.whole_row:
        return _run(join, arrays, backwards)

    def joined(one: Arrays, other: Arrays) -> Arrays:
        begun = other[0]
        both = join(one[1:], other[1:])
        kept = [xp.where(begun, b, a) for a, b in zip(both, other[1:], strict=True)]
        return [one[0] | begun, *kept]

    return _run(joined, [groups.ends if backwards else groups.begins, *arrays], backwards)[1:]


def _run(join: Callable[[Arrays, Arrays], Arrays], arrays: Arrays, backwards: bool) -> list[Any]:
    xp = namespace(arrays[0])
    recorded: Any = getattr(xp, "running", None)
    if recorded is not None:
        return recorded(join, arrays, backwards)  # type: ignore[no-any-return]
    if backwards:
        flipped = [xp.flip(each, axis=-1) for each in arrays]
        return [xp.flip(each, axis=-1) for each in _scanned(join, flipped)]
    return _scanned(join, list(arrays))


def _scanned(join: Callable[[Arrays, Arrays], Arrays], arrays: list[Any]) -> list[Any]:
    """Return the running joins of rows.

    Those at odd places are running joins of neighbours, half as many; one more step makes the
    others. (Blelloch, Prefix sums and their applications, 1990.)
    """
    xp, length = namespace(arrays[0]), arrays[0].shape[-1]
    if length < 2:
        return arrays
    odd = _scanned(join, list(join(_cut(arrays, 0, length - 1), _cut(arrays, 1, length))))
    before = [each[..., : (length - 1) // 2] for each in odd]
    even = (
        [
            xp.concat([first[..., :1], each], axis=-1)
            for first, each in zip(arrays, join(before, _cut(arrays, 2, length)), strict=True)
        ]
        if length > 2
        else _cut(arrays, 0, 1)
    )
    return [_interleaved(xp, *each) for each in zip(even, odd, strict=True)]


def _cut(arrays: Arrays, first: int, last: int) -> list[Any]:
    return [each[..., first:last:2] for each in arrays]


def _interleaved(xp: Any, even: Any, odd: Any) -> Any:
    """Return an element of `even`, one of `odd`, and so on; `even` may have one more."""
    half = odd.shape[-1]
    pairs = xp.stack([even[..., :half], odd], axis=-1)
    together = xp.reshape(pairs, (*odd.shape[:-1], 2 * half))
    return xp.concat([together, even[..., half:]], axis=-1)


def joined_numbers(one: Arrays, other: Arrays) -> list[Any]:
    """Return the sum of two numbers."""
    return [one[0] + other[0]]


def joined_sums(one: Arrays, other: Arrays) -> list[Any]:
    """Return the sum of two numbers (m, s), each s * exp(m), in the same form: s may be 0."""
    xp = namespace(one[0])
    first = one[0] >= other[0]
    m, s = xp.where(first, one[0], other[0]), xp.where(first, one[1], other[1])
    less, t = xp.where(first, other[0], one[0]), xp.where(first, other[1], one[1])
    return [m, s + t * exp_difference(less, m)]


def joined_log_sums(one: Arrays, other: Arrays) -> list[Any]:
    """Return the sum of two numbers (m, r), each (1 + r) * exp(m), in the same form.

    The largest term is 1 and stays out of r, so that log(1 + r) keeps its digits where all others
    are small.
    """
    xp = namespace(one[0])
    first = one[0] >= other[0]
    m, r = xp.where(first, one[0], other[0]), xp.where(first, one[1], other[1])
    less, t = xp.where(first, other[0], one[0]), xp.where(first, other[1], one[1])
    return [m, r + (1 + t) * exp_difference(less, m)]
