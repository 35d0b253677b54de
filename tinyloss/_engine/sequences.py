"""Losses of sequences: an item is a sequence, whose frames are rows of classes.

    Request   whose x is `Sequences`: logits, lengths or masks, the blank
       |      settled: frames last but one, labels that count in front, what is known to be wrong
    Sequenced a batch of sequences, for which a backend, or the formulas, find losses and gradients
       |
    Request   of these losses, elements that are answered as any others
       |      pulled: the gradients times what each sequence's loss counts
    Answer

A sequence has the same bits whatever stands beside it: no operation adds over the batch.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from typing import Any, NamedTuple

from tinyloss._arrays import (
    astype,
    beside,
    compiling,
    compute_dtype,
    dtype_name,
    index_dtype,
    kind,
    looks,
    move_axis,
    namespace,
    result_dtype,
    widest_dtype,
)
from tinyloss._engine import registry
from tinyloss._engine.checks import (
    broadcasts,
    brought,
    check_booleans,
    check_items,
    namespace_of,
    same_shape,
    show,
    show_shape,
)
from tinyloss._engine.job import Answer, Job
from tinyloss._engine.request import Refusal, Request, Sequences, Want, refuse_second
from tinyloss._engine.run import fill, job_of, run
from tinyloss._engine.settle import check_direction, class_axis
from tinyloss._engine.targets import may_look, validation_mode
from tinyloss._formula import Formula, Sequential
from tinyloss.typing import Namespace


@dataclass(frozen=True)
class Sequenced:
    """A batch of sequences."""

    formula: type[Sequential]
    xp: Namespace
    x: Any
    """Logits, (N, T, K)."""
    labels: Any
    """(N, L), of a signed dtype: classes other than the blank, as far as they count."""
    frames: Any
    """Which frames count, (N, T)."""
    lengths: Any
    """How many labels count, (N,), of the dtype of these."""
    blank: int
    dtype: Any
    """The dtype to compute in, and that of the losses."""
    pull: Any = None
    """What gradients are multiplied by, (N,); a gradient is 0 where it is."""
    value: bool = True
    grad: bool = False
    grad_dtype: Any = None

    @property
    def bare(self) -> "Sequenced":
        """The same without its arrays."""
        return replace(self, x=None, labels=None, frames=None, lengths=None, pull=None)


def run_sequences(request: Request, want: Want) -> Answer:
    """Answer a request whose predictions are sequences."""
    if compiling():  # lest each frame becomes a part of the graph
        return registry.untraced(_run)(request, want)  # type: ignore[no-any-return]
    return _run(request, want)


def _run(request: Request, want: Want) -> Answer:
    try:
        if want.remade is not None and not want.curvature:
            return _along(request, want)
        _refuse(want)
        settled = _Settled(request)
    except Refusal as refusal:
        raise refusal.of(request.name) from None
    with registry.quiet(settled.batch.xp):
        return settled.answer(want)


def _along(request: Request, want: Want) -> Answer:
    """Return the Hessian times a direction, as the derivative of the gradient along it."""
    x = request.x.x
    xp = namespace_of(x)
    own: Any = getattr(registry.backend_of(xp), "along", refuse_second)
    if own is refuse_second:
        refuse_second(want)
    direction = brought(xp, x, "direction", want.direction)
    check_direction(request._replace(x=x), direction)
    dtype = compute_dtype(xp, x)
    of_gradient = want._replace(remade=None, direction=None, wide=True)

    def slope(x: Any) -> Any:
        moved = request._replace(x=request.x._replace(x=x))
        return run_sequences(moved, of_gradient).grads[0]

    product = own(slope, astype(xp, x, dtype), astype(xp, direction, dtype))
    return Answer(None, (astype(xp, product, result_dtype(x.dtype, dtype)),))


def job_of_sequences(request: Request, want: Want) -> Job:
    """Return the job that puts the losses of a request's sequences together."""
    try:
        settled = _Settled(request)
    except Refusal as refusal:
        raise refusal.of(request.name) from None
    return job_of(settled.of_losses(settled.zeros()), want)


def _refuse(want: Want) -> None:
    """Refuse a derivative that there is none of."""
    refuse_second(want)
    if any(number != 0 for number in want.argnums):
        raise Refusal("has no derivative by y, which holds labels", TypeError)


class _Loss(Formula):
    """The loss of a sequence, once it is known: an element like any other."""

    name = "sequences"

    def __init__(self, x: Any, y: Any) -> None:
        del y
        self._x = x

    def value(self) -> Any:
        return self._x * 1.0

    def grad_x(self) -> Any:
        return namespace(self._x).ones_like(self._x)

    def curvature(self) -> Any:
        return namespace(self._x).zeros_like(self._x)


class _Settled:
    """A request settled: checked, its arrays brought to one library and layout."""

    def __init__(self, request: Request) -> None:
        sequences: Sequences = request.x
        x = sequences.x
        self._xp = xp = namespace_of(x)
        self._request, self._time = request, _time_axis(x, sequences.time_axis)
        with registry.quiet(xp):
            self._x = x = move_axis(xp, x, self._time, -2)
            *items, time, classes = x.shape
            self._items, self._dtype = tuple(items), compute_dtype(xp, x)
            self._wrong: Any = None
            self._blank, y = _blank(sequences.blank, x), self._target()
            self._classes = classes
            kept = self._kept()
            frames = self._counted("logit", sequences.frames, sequences.logit_lengths, time, kept)
            counted = self._counted(
                "label", sequences.labels, sequences.label_lengths, y.shape[-1], kept
            )
            y = self._flat(y)
            none = (y < 0) | (y >= classes) | (y == self._blank)
            self._meet(counted & none, lambda at: self._no_class(y, at))
            if sequences.labels is not None:
                y, counted = _in_front(xp, y, counted)
            if self._wrong is not None:
                frames = frames & ~self._wrong[:, None]
                counted = counted & ~self._wrong[:, None]
            self._lengths = xp.sum(astype(xp, counted, y.dtype), axis=-1, dtype=y.dtype)
            y = xp.where(counted, y, 0)
            some = xp.sum(astype(xp, frames, y.dtype), axis=-1, dtype=y.dtype)
            self._short = sequences.formula.too_short(xp, y, some, self._lengths)
        self.batch = Sequenced(
            sequences.formula, xp, self._flat(x), y, frames, self._lengths, self._blank, self._dtype
        )

    # ------------------------------------------------------------------------------- the target

    def _flat(self, array: Any) -> Any:
        """Return an array whose first axes are those of the items with one for these."""
        count = len(self._items)
        if count == 1:
            return array
        rest = array.shape[count:]
        return self._xp.reshape(array, (prod(self._items), *rest))

    def _target(self) -> Any:
        """Return the labels, integers of a signed dtype."""
        xp, x = self._xp, self._x
        y = brought(xp, x, "y", self._request.y)
        if not len(y.shape) or not same_shape(tuple(y.shape[:-1]), self._items):
            items = "".join(f"{n}, " for n in self._items)
            raise Refusal(
                f"y has shape {show(y)}, expected ({items}L), labels of each "
                f"sequence, for x of shape {show(self._request.x.x)} with the frames along "
                f"axis {self._request.x.time_axis}"
            )
        if kind(y.dtype) != "int":
            if 0 not in y.shape:  # an empty list has any dtype
                raise Refusal(
                    f"y has dtype {dtype_name(y.dtype)}, expected integers: it holds labels",
                    TypeError,
                )
            y = astype(xp, y, xp.int32)
        return astype(xp, y, index_dtype(xp, y))

    def _kept(self) -> Any:
        """Return whether a sequence has a weight, (N,); None for all."""
        xp, kept = self._xp, None
        for name in ("where", "weight"):
            given = getattr(self._request, name)
            if given is not None:
                array = brought(xp, self._x, name, given)
                check_items(name, array, self._items)
                array = array if kind(array.dtype) == "bool" else array != 0
                array = self._flat(xp.broadcast_to(array, self._items))
                kept = array if kept is None else kept & array
        return kept

    def _counted(self, name: str, mask: Any, lengths: Any, longest: Any, kept: Any) -> Any:
        """Return which frames or labels count, booleans (N, `longest`)."""
        xp, x = self._xp, self._x
        every = self._flat(xp.ones((*self._items, longest), dtype=xp.bool, **beside(x)))
        if kept is not None:
            every = every & kept[:, None]
        if mask is not None:
            mask = self._mask(f"{name}_mask", mask, longest)
            every = every & mask
        if lengths is not None:
            lengths = brought(xp, x, f"{name}_lengths", lengths)
            if kind(lengths.dtype) != "int":
                what = dtype_name(lengths.dtype)
                raise Refusal(f"{name}_lengths has dtype {what}, expected integers", TypeError)
            check_items(f"{name}_lengths", lengths, self._items)
            lengths = astype(xp, lengths, index_dtype(xp, lengths))
            lengths = self._flat(xp.broadcast_to(lengths, self._items))
            wrong = (lengths < 0) | (lengths > longest)
            wrong = wrong if kept is None else wrong & kept
            self._meet(wrong, lambda at: self._no_length(name, lengths, longest, at))
            every = every & (xp.arange(longest, **beside(x)) < lengths[:, None])
        return every

    def _mask(self, name: str, mask: Any, longest: Any) -> Any:
        xp, whole = self._xp, (*self._items, longest)
        mask = brought(xp, self._x, name, mask)
        check_booleans(name, mask)
        if not broadcasts(tuple(mask.shape), whole):
            raise Refusal(
                f"{name} has shape {show(mask)}, expected one that broadcasts to "
                f"{show_shape(whole)}"
            )
        return self._flat(xp.broadcast_to(mask, whole))

    def _meet(self, wrong: Any, error: Callable[[int], str]) -> None:
        """Raise an error where something is seen to be wrong; else remember whose losses are NaN.

        `error` returns what to say of the element of this number.
        """
        xp = self._xp
        if 0 in wrong.shape:
            return
        if may_look(wrong) and (validation_mode() == "always" or looks(xp.any(wrong))):
            if bool(xp.any(wrong)):
                first = xp.argmax(astype(xp, xp.reshape(wrong, (-1,)), xp.int8))
                raise Refusal(error(int(first)))
            return
        items = xp.any(wrong, axis=-1) if len(wrong.shape) > 1 else wrong
        self._wrong = items if self._wrong is None else self._wrong | items

    def _place(self, index: int, *more: int) -> str:
        """Return how an element of the items' axes, and of more, is written."""
        place: list[int] = []
        for length in reversed((*self._items, *more)):
            index, rest = divmod(index, length)
            place.insert(0, rest)
        return f"[{', '.join(map(str, place))}]" if place else ""

    def _no_length(self, name: str, lengths: Any, longest: int, at: int) -> str:
        what = "x has as many frames" if name == "logit" else "y has as many labels"
        place = self._place(at)
        return (
            f"{name}_lengths{place} is {int(lengths[at])}, expected a number from 0 to {longest}: "
            f"{what}"
        )

    def _no_class(self, y: Any, at: int) -> str:
        label = int(self._xp.reshape(y, (-1,))[at])
        most, beside = self._classes - 1, f", other than the blank {self._blank}"
        hint = "" if label != self._blank else "; blank= tells which class is no label"
        if label < 0:
            hint = "; label_lengths= and label_mask= tell how many count"
        return (
            f"y{self._place(at, y.shape[-1])} is {label}, expected a class index from 0 "
            f"to {most}{beside} (x has {self._classes} classes){hint}"
        )

    # ------------------------------------------------------------------------------- the answer

    def answer(self, want: Want) -> Answer:
        """Return the answer, with the gradient by the logits."""
        xp, x, batch = self._xp, self._x, self.batch
        if want.argnums:
            pulled = run(
                self.of_losses(self.zeros()),
                want._replace(value=False, argnums=(0,), out=(), wide=True),
            )
            pull = self._flat(astype(xp, pulled.grads[0], self._dtype))
            wide = self._dtype if want.wide else result_dtype(x.dtype, self._dtype)
            batch = replace(
                batch,
                pull=self._spread(pull),
                value=want.value,
                grad=True,
                grad_dtype=wide,
            )
        losses, grads, _ = answer_of_sequences(batch)
        value = None
        if want.value:
            losses = xp.reshape(self._spread(losses), self._items)
            value = run(self.of_losses(losses), want._replace(argnums=(), out=())).value
        if want.argnums:
            grad = grads[0]
            if len(self._items) != 1:
                grad = xp.reshape(grad, x.shape)
            grads = (move_axis(xp, grad, -2, self._time),) * len(want.argnums)
        answer = Answer(value, grads)
        return fill(self._request.name, answer, want.out) if want.out else answer

    def _spread(self, losses: Any) -> Any:
        """Return losses, or what they count, as the request has them."""
        xp = self._xp
        if self._request.x.per_label:
            losses = losses / xp.where(
                self._lengths > 1, astype(xp, self._lengths, self._dtype), 1.0
            )
        if self._wrong is not None:
            one = astype(xp, self._lengths * 0 + 1, self._dtype)
            losses = losses * xp.where(self._wrong, xp.nan, one)
        return losses

    def zeros(self) -> Any:
        """Return a 0 for each sequence."""
        return self._xp.zeros(self._items, dtype=self._dtype, **beside(self._x))

    def of_losses(self, losses: Any) -> Request:
        """Return the request that puts losses, of the items' shape, together."""
        request, xp, where = self._request, self._xp, self._request.where
        if request.x.leaves_out:
            fits = xp.reshape(~self._short, self._items)
            where = fits if where is None else fits & brought(xp, self._x, "where", where)
        return request._replace(
            formula=_Loss, x=losses, y=self.zeros(), where=where, title=request.name
        )


def _time_axis(x: Any, axis: Any) -> int:
    """Return the axis of the frames, counted from the front."""
    ndim = len(x.shape)
    if ndim < 2:
        raise Refusal(f"x has shape {show(x)}, expected at least frames and classes")
    class_axis(x, -1)
    found = class_axis(x, axis, "time_axis", may_be_empty=True)
    if found == ndim - 1:
        raise Refusal(f"time_axis is {axis!r}, expected another than the last, the classes'")
    return found


def _blank(blank: int, x: Any) -> int:
    """Return the blank, counted from the front."""
    classes: int = x.shape[-1]
    if not -classes <= blank < classes:
        raise Refusal(
            f"blank is {blank}, expected a class from {-classes} to {classes - 1}: x has {classes}"
        )
    return blank % classes


def _in_front(xp: Namespace, y: Any, counted: Any) -> tuple[Any, Any]:
    """Return labels with those that count in front, in their order."""
    ranks = xp.arange(y.shape[-1], dtype=y.dtype, **beside(y))
    ones = astype(xp, counted, y.dtype)
    before = xp.sum(
        xp.where(ranks[None, None, :] < ranks[None, :, None], ones[:, None, :], 0), axis=-1
    )
    goes = counted[:, None, :] & (before[:, None, :] == ranks[None, :, None])
    found = xp.sum(xp.where(goes, y[:, None, :], 0), axis=-1, dtype=y.dtype)
    return found, ranks < xp.sum(ones, axis=-1, keepdims=True)


def answer_of_sequences(batch: Sequenced) -> Answer:
    """Return the losses of a batch and their gradients: a backend's answer, or the formulas'."""
    answer = backends_answer(batch)
    return evaluated(batch) if answer is NotImplemented else answer


def backends_answer(batch: Sequenced) -> Any:
    """Return the answer of a batch's backend, NotImplemented where it has none."""
    own: Any = getattr(registry.backend_of(batch.xp), "sequences", None)
    return NotImplemented if own is None else own(batch)


def loop(step: Any, carry: Any, arrays: Any, reverse: bool = False) -> tuple[Any, Any]:
    """Return the last carry, and what the steps returned beside it, stacked."""
    length = arrays[0].shape[0]
    made: list[Any] = [None] * length
    for t in reversed(range(length)) if reverse else range(length):
        carry, made[t] = step(carry, tuple([each[t, ...] for each in arrays]))
    stack = namespace(arrays[0]).stack
    return carry, tuple([stack(each) for each in zip(*made, strict=True)])


def product(a: Any, b: Any) -> Any:
    """Return the sums over J of (T, N, J) times (N, J, M): in float64, whatever torch is told."""
    xp = namespace(a)
    wide = widest_dtype(xp, a)
    rows = xp.permute_dims(astype(xp, a, wide), (1, 0, 2))
    found = xp.permute_dims(xp.matmul(rows, astype(xp, b, wide)), (1, 0, 2))
    return astype(xp, found, a.dtype)


def some(which: Any, function: Callable[[], Any]) -> Any:
    """Return the arrays that a function returns."""
    del which  # to look at it would cost as much
    return function()


class Tools(NamedTuple):
    """What the formulas of sequences go over frames with; see `tinyloss._formula.Sequential`."""

    loop: Callable[..., tuple[Any, Any]] = loop
    product: Callable[[Any, Any], Any] = product
    some: Callable[[Any, Callable[[], Any]], Any] = some


def evaluated(batch: Sequenced, tools: Tools = Tools()) -> Answer:  # noqa: B008 - immutable
    """Answer by the formulas, in the arrays' own library."""
    xp, x, frames = batch.xp, astype(batch.xp, batch.x, batch.dtype), batch.frames
    count, time, classes = x.shape
    if not time:  # a frame that does not count: nothing has to be known of none
        x = xp.zeros((count, 1, classes), dtype=x.dtype, **beside(x))
        frames = xp.zeros((count, 1), dtype=frames.dtype, **beside(x))
    x, frames = xp.permute_dims(x, (1, 0, 2)), xp.permute_dims(frames, (1, 0))
    formula = batch.formula(x, batch.labels, frames, batch.lengths, batch.blank, *tools)
    grads: tuple[Any, ...] = ()
    if batch.grad:
        grad = xp.permute_dims(formula.grad(), (1, 0, 2))[:, :time, :]
        if batch.pull is not None:
            pull = batch.pull[:, None, None]
            nothing = (pull == 0) | ((pull == pull) & ~batch.frames[..., None])
            grad = xp.where(nothing, 0.0, grad * pull)
        grads = (astype(xp, grad, batch.grad_dtype or batch.dtype),)
    return Answer(formula.value() if batch.value else None, grads)
