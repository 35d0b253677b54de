"""Lists of different lengths that lie in one array, one after the other or mixed."""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple, ParamSpec

from tinyloss._altered import Altered
from tinyloss._arrays import beside, bring, kind, namespace
from tinyloss._engine.checks import (
    brought,
    check_booleans,
    namespace_of,
    show,
    show_dtype,
    show_shape,
)
from tinyloss._engine.job import Answer, Job
from tinyloss._engine.registry import quiet
from tinyloss._engine.request import Refusal, Want
from tinyloss._engine.run import fill
from tinyloss._function import Loss
from tinyloss._in_order import Groups, Order
from tinyloss.typing import Array, Namespace

P = ParamSpec("P")

_OF_LISTS = frozenset(["weight", "where", "denominator"])
"""Options whose arrays have a number for each list."""


class _Rows(NamedTuple):
    """Where items of one array stand in rows, each a list that is filled up at its end."""

    shape: tuple[int, int]
    items: Any
    """The item of each place, and of a place that is filled up any."""
    there: Any
    """Whether a place has an item."""
    places: Any
    """The place of each item, counted through the rows."""


def _rows_of(segments: Any) -> _Rows:
    xp, (count,) = namespace(segments), segments.shape
    if not count:
        nothing = xp.zeros_like(segments)
        return _Rows((0, 1), nothing, xp.reshape(nothing != 0, (0, 1)), nothing)
    order = Order(segments)
    lists = Groups.of(order.of(segments))
    first, last = lists.bounds()
    numbers = xp.arange(count, dtype=first.dtype, **beside(segments))
    row = xp.cumulative_sum(xp.astype(lists.begins, first.dtype)) - 1
    try:
        shape = int(row[-1]) + 1, int(xp.max(last - first)) + 1
    except TypeError:  # JAX's, of a tracer
        raise Refusal(
            "segments has no values yet, expected an array that is known: it says how many lists "
            "there are. In traced code pad lists, and say by mask what is padding",
            TypeError,
        ) from None
    places = order.back(row * shape[1] + (numbers - first))
    starts = xp.astype(xp.searchsorted(row, numbers[: shape[0]]), first.dtype)
    columns = xp.arange(shape[1], dtype=first.dtype, **beside(segments))
    there = columns <= xp.take(last - first, starts)[:, None]
    sorted_items = xp.minimum(starts[:, None] + columns, count - 1)
    items = xp.take(order.of(numbers), xp.reshape(sorted_items, (-1,)))
    return _Rows(shape, items, there, places)


class BySegment(Altered[P]):
    """A loss of lists that takes the items of all of them in one array."""

    def __init__(self, loss: Loss[P], segments: Any) -> None:
        super().__init__(by_segment, loss, segments, "of lists in one array")
        self._names = list(inspect.signature(loss).parameters)
        if "mask" not in self._names:
            raise TypeError(
                f"tinyloss.by_segment: got {loss!r}, which has no mask, expected a loss of lists"
            )
        try:
            self._rows = _rows_of(_numbers(segments))
        except Refusal as refusal:
            raise refusal.of("by_segment") from None

    def ask(self, want: Want, /, *args: P.args, **kwargs: P.kwargs) -> Answer:
        """Return the parts of the answer that are wanted."""
        asked, in_rows, options = self._in_rows(want, args, kwargs)
        answer: Answer = self._loss.ask(asked, *in_rows, **options)
        curvature = None if answer.curvature is None else self._back(answer.curvature)
        answer = Answer(answer.value, tuple(map(self._back, answer.grads)), curvature)
        return fill(self.__name__, answer, want.out) if want.out else answer

    def jobs(self, want: Want, /, *args: Any, **kwargs: Any) -> list[Job]:
        """Return the jobs that answer a call: those of the rows."""
        asked, in_rows, options = self._in_rows(want, args, kwargs)
        found: list[Job] = self._loss.jobs(asked, *in_rows, **options)
        return found

    def _back(self, derivative: Any) -> Any:
        """Return the derivative by each item of the one that has rows for lists."""
        if tuple(derivative.shape) != self._rows.shape:  # by a number
            return derivative
        xp = namespace(derivative)
        places = bring(xp, derivative, self._rows.places)
        with quiet(xp):
            return xp.take(xp.reshape(derivative, (-1,)), places)

    def _in_rows(self, want: Want, args: Any, kwargs: Any) -> tuple[Want, Any, Any]:
        """Return what to ask of the loss, with the items of each list in a row of their own."""
        try:
            if "axis" in kwargs:
                raise Refusal("axis is given, expected none: the items of all lists lie in one")
            if not args and "x" not in kwargs:  # what is missing is the loss's to say
                return want, args, kwargs
            x = args[0] if args else kwargs["x"]
            xp = namespace_of(x)
            with quiet(xp):
                return self._spread(xp, x, want, args, kwargs)
        except Refusal as refusal:
            raise refusal.of(self.__name__) from None

    def _spread(
        self, xp: Namespace, x: Any, want: Want, args: Any, kwargs: Any
    ) -> tuple[Want, Any, Any]:
        (count,), rows = self._rows.places.shape, self._rows
        items, there = bring(xp, x, rows.items), bring(xp, x, rows.there)

        def spread(name: str, value: Any) -> Any:
            shape = getattr(value, "shape", None)
            several = issubclass(type(value), list | tuple) if shape is None else shape != ()
            if name in _OF_LISTS or not several:
                return value
            array = x if value is x else brought(xp, x, name, value)
            if tuple(array.shape) != (count,):
                raise Refusal(
                    f"{name} has shape {show(array)}, expected {show_shape((count,))}, one for "
                    "each of segments"
                )
            array = xp.reshape(xp.take(array, items), rows.shape)
            return xp.where(there, array, xp.zeros_like(array))

        in_rows = tuple([spread(*each) for each in zip(self._names, args, strict=False)])
        options = {name: spread(name, value) for name, value in kwargs.items()}
        mask = options.get("mask")
        if mask is not None:
            check_booleans("mask", mask)
        options["mask"] = there if mask is None else there & mask
        direction = None if want.direction is None else spread("direction", want.direction)
        return want._replace(out=(), direction=direction), in_rows, options


def _numbers(segments: Any) -> Any:
    """Return the array of which list each item is of."""
    if not hasattr(segments, "__array_namespace__") and hasattr(segments, "__array__"):
        segments = segments.__array__()  # a column of a table
    try:
        namespace(segments)
    except TypeError as error:
        raise Refusal(f"segments: {error}", TypeError) from None
    if kind(segments.dtype) != "int":
        raise Refusal(
            f"segments has dtype {show_dtype(segments.dtype)}, expected integers", TypeError
        )
    if len(segments.shape) != 1:
        raise Refusal(f"segments has shape {show(segments)}, expected one axis")
    return segments


def by_segment(loss: Loss[P], segments: Array, /) -> BySegment[P]:
    """Make of a loss of lists the one that takes the items of all lists in one array.

    Queries with different numbers of documents, for example, as tables have them.

    Parameters
    ----------
    loss
        A loss of lists: a function or an object with `mask` among its parameters.
    segments
        Which list each item is of: an array of integers, in any order. Items of a list keep the
        order they are in. It is read once, here; under `jax.jit` it has to be a constant.

    Returns
    -------
    A loss with the parameters of `loss`, whose arrays have one axis, that of the items. `weight`,
    `where` and what `reduction="none"` returns have a number for each list, in ascending order of
    the integers.

    Notes
    -----
    Lists become rows that are filled up, and `mask` leaves out what fills them. So the loss and the
    derivatives are those of each list by itself. Memory: the number of lists times the longest.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> query = np.array([7, 7, 3, 7, 3])
    >>> of_queries = tinyloss.by_segment(tinyloss.pairwise_logistic, query)
    >>> x, y = np.array([0.0, 1.0, 2.0, 3.0, 0.5]), np.array([1, 0, 1, 0, 0])
    >>> of_queries(x, y, reduction="none").round(4).tolist()
    [0.2014, 4.3618]
    >>> tinyloss.grad(of_queries)(x, y).round(2).tolist()
    [-0.84, 0.37, -0.09, 0.48, 0.09]
    """
    return BySegment(loss, segments)
