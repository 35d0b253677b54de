"""What there is to answer of scores that are products: their factors, and a job without scores.

An array without numbers stands for the scores, and is settled as any x. So weights, masks, targets
and reductions are those of any loss.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, NamedTuple

from tinyloss._arrays import (
    astype,
    beside,
    compute_dtype,
    dtype_name,
    kind,
    of_rank,
    result_dtype,
)
from tinyloss._engine import registry
from tinyloss._engine.checks import brought, namespace_of, same_shape, show
from tinyloss._engine.job import Job, replaced
from tinyloss._engine.pairs import arrays_of, weighed, weights_of
from tinyloss._engine.request import Product, Refusal, Request, Want
from tinyloss._engine.run import divisor_moves, settled_over
from tinyloss._engine.settle import settle
from tinyloss.typing import Namespace

FACTORS = ("h", "w", "bias", "scale")
PIECE = 2**21
"""Bytes of what is added to an array at a time: it stays in the cache."""
_PART_ROWS, _PART = 128, 128
"""How many rows, and classes at least, are taken where all classes of one row do not fit."""


class Budget(NamedTuple):
    """What a chunk takes where the caller does not say.

    Each chunk goes through w and its gradient once more. That is to take little time beside what
    a chunk does besides, so its rows are no fewer than w has features, or than `Budget.rows`.

    R rows of V classes and D features take 6 R V D operations, and their scores are R V numbers
    that a loss reads and writes some times. w is read twice then, and its gradient read and
    written: 4 V D numbers. As many rows as features have as many scores as w has numbers. 256 rows
    have 96 operations for each byte of float32, where a core does some 5 while it fetches one.
    """

    memory: int = 2**26
    """Bytes."""
    rows: int = 256
    """How many rows take little of w."""


@dataclass(frozen=True)
class Scored:
    """A job of scores that are products, for rows along one axis."""

    job: Job
    """Without x: what it holds of items has these along its first axis."""
    h: Any
    """(N, D)."""
    w: Any
    """(V, D), or (D, V) if `class_axis` is 1; None where h are the scores."""
    bias: Any
    """(V,) or 0-d; None for 0."""
    scale: Any
    """0-d; None for 1."""
    class_axis: int
    dtype: Any
    """The dtype of the scores."""
    by: tuple[str, ...]
    """What to differentiate by: of `FACTORS`, and "y"."""
    memory: int
    """Bytes that may be taken at a time besides arguments and results."""
    whole: int
    """Bytes of scores that are taken at once."""
    moves: bool = False
    """Whether the mean's divisor depends on y, by which is differentiated."""
    both_ways: bool = False
    """Whether the loss is the mean of that of the rows and that of the columns, as many."""
    pairs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What tells which pairs count: "pair_columns", and those that have rows."""
    marks: bool = False
    """Whether y is to be made of the pairs: whether they are of one label."""
    columns: "Columns | None" = None
    """The columns, where these have a loss besides and rows are some of more."""
    halves: int = 0
    """Of how many numbers of half precision a gradient by a score is made to be multiplied.

    h and w are multiplied as they are then. 0 where they are converted to the scores' dtype.
    """

    @property
    def shape(self) -> tuple[Any, int]:
        """The shape of the scores."""
        return self.h.shape[0], self.classes

    @property
    def classes(self) -> int:
        """The number of classes that w has."""
        return int(self.h.shape[-1] if self.w is None else self.w.shape[self.class_axis])

    @property
    def part(self) -> int:
        """How many classes are computed at a time: all, unless one row of these does not fit."""
        whole, size, kind = self.classes, size_of(self.dtype), self.job.kind
        parts = kind.formula.in_parts is not None and kind.axis_name is None and "y" not in self.by
        if not parts or self.w is None or self.both_ways or self.pairs:
            return whole
        if self.chunk_of(1) <= self.memory or self.h.shape[0] * whole * size <= self.whole:
            return whole
        rows = min(self.h.shape[0], _PART_ROWS)
        most = (self.memory - PIECE) // (rows * size) - self._beside
        return int(min(whole, max(most, _PART)))

    @property
    def rows(self) -> int:
        """How many rows a chunk has, if all are taken."""
        return self.rows_of(self.h.shape[0])

    def rows_of(self, count: int) -> int:
        """Return how many rows a chunk has: all alike, the last begins in the one before."""
        if count * self.classes * size_of(self.dtype) <= self.whole:
            return int(count)
        sizes = self._sizes(self.part)
        own, made = sizes.row, sizes.row + sizes.made
        most = max(1, min((self.memory - sizes.piece) // (own or 1), self.memory // (made or 1)))
        chunks = -(-count // most)
        return int(-(-count // chunks))

    @property
    def _beside(self) -> int:
        """How many numbers a row of a chunk takes beside scores: features, and their gradient."""
        copied = self.converts or self.scale is not None or self.job.weight is not None
        pulled = max(1, self.halves) if {"h", "scale"} & {*self.by} else 0
        return int(self.h.shape[-1]) * (copied + pulled)

    @property
    def converts(self) -> bool:
        """Whether h and w are converted before they are multiplied."""
        return self.halves == 0 and (
            self.h.dtype != self.dtype or (self.w is not None and self.w.dtype != self.dtype)
        )

    def _sizes(self, classes: int) -> "_Sizes":
        features, size = int(self.h.shape[-1]), size_of(self.dtype)
        # of pairs the scores that are left, and booleans; of the scale what it moves by
        made = max(
            classes * (size + 1) if self.pairs else 0,
            features * (2 * size + 1) if "scale" in self.by else 0,
            classes * self.halves * size // 2 if self.by else 0,
        )
        # of w's gradient what is added at a time, or of w what is converted
        pieces = self.w is not None and ("w" in self.by or self.converts)
        return _Sizes(
            row=classes * (size + self.marks) + self._beside * size,
            made=made,
            piece=min(PIECE, classes * features * size) if pieces else 0,
        )

    def chunk_of(self, rows: int, classes: int | None = None) -> int:
        """Return how many bytes a chunk takes: scores, features, and the gradient by these."""
        sizes = self._sizes(self.classes if classes is None else classes)
        # one chunk alone adds nothing up
        alone = rows == self.h.shape[0] and not self.converts
        return int(rows * sizes.row + max(rows * sizes.made, 0 if alone else sizes.piece))

    def dtype_of(self, name: str) -> Any:
        """Return the dtype of the derivatives by an argument."""
        kind = self.job.kind
        if name == "y":
            return kind.derivative_dtype("y")
        return kind.dtype if kind.wide else result_dtype(getattr(self, name).dtype, kind.dtype)

    def transposed(self, w: Any) -> Any:
        """Return an array like w with the classes first, or one with the classes first like w."""
        return w if self.class_axis == 0 else w.T


class _Sizes(NamedTuple):
    """How many bytes a chunk takes."""

    row: int
    """For each row, from its scores to its gradients."""
    made: int
    """For each row, while something is made of it."""
    piece: int
    """For all, while products are added."""


@dataclass(frozen=True)
class Columns:
    """Columns of scores that have a loss besides, of which a block of rows is one part."""

    job: Job
    """Without x: with y and the weights of all columns."""
    rows: int
    """How many rows all blocks have."""
    first: int = 0
    """The index of the block's first row."""
    known: tuple[Any, ...] | None = None
    """What all rows showed of each column; None where these are to be looked at."""


def scored_of(request: Request, product: Product, want: Want) -> tuple[Any, Any, Scored]:
    """Return the dimensions of the items, the sum of the weights, and what there is to answer."""
    h = product.h
    try:
        xp = namespace_of(h)
    except Refusal as refusal:
        raise Refusal(str(refusal).replace("x", "h", 1), refusal.kind) from None
    w = None if product.w is None else brought(xp, h, "w", product.w)
    _check_factors(h, w, product.class_axis)
    dtype = compute_dtype(xp, h) if w is None else compute_dtype(xp, h, w)
    classes = h.shape[-1] if w is None else w.shape[product.class_axis]
    bias = _beside(xp, h, "bias", product.bias, ((), (classes,)), dtype)
    scale = _beside(xp, h, "scale", product.scale, ((),), dtype)
    given = {"h": h, "w": w, "bias": bias, "scale": scale}
    names = ("h", "w", "y", "bias", "scale")
    for argnum in want.argnums:
        if not 0 <= argnum < len(names) or (given.get(names[argnum], h) is None):
            there = [
                f"{n} ({name})" for n, name in enumerate(names) if given.get(name, h) is not None
            ]
            raise Refusal(f"argnums holds {argnum!r}, expected one of {', '.join(there)}")
    by = tuple([names[argnum] for argnum in want.argnums])
    lead = tuple(h.shape[:-1])
    x = absent(xp, h, (*lead, classes), dtype)
    dtype = x.dtype  # an array's: a namespace may have another kind of object of this name
    pairs: dict[str, Any] = {}
    marks = product.pairs is not None and product.pairs.marks is not None
    if product.pairs is not None:
        pairs = arrays_of(xp, h, product.pairs, (*lead, classes))
        own = weights_of(xp, product.pairs, pairs, h, (*lead, classes), dtype)
        weight = weighed(xp, h, own, request.weight)
        request = request._replace(weight=weight, of_pairs=True)
    if marks:
        request = request._replace(y=absent(xp, h, (*lead, classes), xp.bool))
    inner = ((0,) if set(by) - {"y"} else ()) + ((1,) if "y" in by else ())
    settling = settle if want.over is None else settled_over
    try:
        _, (job, total) = settling(request._replace(x=x), want._replace(argnums=inner, out=()))
    except Refusal as refusal:
        raise Refusal(f"{refusal} (x are the scores, of h and w)", refusal.kind) from None
    if product.both_ways:  # the target of a row is the column of its index
        job = replaced(job, unchecked=None, look=None)
    arrays = {
        name: _flat(xp, job.arrays[name], lead, job.kind.rowwise and not role.per_class)
        if role.per_item
        else job.arrays[name]
        for name, _, role in job.kind.arguments
        if name != "x"
    }
    weight = job.weight
    if weight is not None:
        weight = _flat(xp, weight, lead, job.kind.rowwise)
    flat = h if len(lead) == 1 else xp.reshape(h, (prod(lead), h.shape[-1]))
    scored = Scored(
        job=replaced(job, arrays=arrays, weight=weight),
        h=flat,
        w=w,
        bias=bias,
        scale=scale,
        class_axis=product.class_axis,
        dtype=dtype,
        by=by,
        memory=product.max_memory or 0,
        whole=product.max_memory or 0,
        moves=want.over is None and divisor_moves(request, job),
        both_ways=product.both_ways,
        pairs=pairs,
        marks=marks,
    )
    scored = replace(scored, halves=_halves(xp, scored))
    return lead, total, scored if product.max_memory is not None else _budgeted(xp, scored)


def _halves(xp: Namespace, scored: Scored) -> int:
    """Return of how many numbers of half precision a gradient by a score is made, 0 for none."""
    h, w = scored.h, scored.w
    own: Any = getattr(registry.backend_of(xp), "halves", None)
    if own is None or w is None or scored.scale is not None or h.dtype != w.dtype:
        return 0
    return int(own(h)) if bytes_of(h.dtype) == 2 else 0


def _check_factors(h: Any, w: Any, class_axis: int) -> None:
    if len(h.shape) == 0:
        raise Refusal("h is 0-d, expected features along its last axis")
    if w is None:
        return
    if len(w.shape) != 2:
        raise Refusal(f"w has shape {show(w)}, expected two dimensions, of classes and features")
    features = w.shape[1 - class_axis]
    if not same_shape((features,), tuple(h.shape[-1:])):
        hint = ""
        if same_shape((w.shape[class_axis],), tuple(h.shape[-1:])):
            hint = f"; it fits with class_axis={1 - class_axis}"
        raise Refusal(
            f"w has shape {show(w)}, expected {h.shape[-1]} features along axis {1 - class_axis}, "
            f"for h of shape {show(h)}{hint}"
        )


def _beside(xp: Namespace, h: Any, name: str, value: Any, shapes: Any, dtype: Any) -> Any:
    """Return a further factor as an array of h's library, None if there is none."""
    if value is None:
        return None
    if isinstance(value, int | float):  # of all its digits, where torch traces this, too
        return xp.asarray(value, dtype=dtype, **beside(h))
    array = brought(xp, h, name, value)
    if not any(same_shape(tuple(array.shape), shape) for shape in shapes):
        expected = " or ".join(str(shape) for shape in shapes)
        raise Refusal(f"{name} has shape {show(array)}, expected {expected}")
    own = hasattr(value, "dtype") and kind(array.dtype) == "float"
    return array if own else astype(xp, array, dtype)


def absent(xp: Namespace, h: Any, shape: tuple[Any, ...], dtype: Any) -> Any:
    """Return an array of this shape and dtype that takes no memory: its numbers are no matter."""
    own: Any = getattr(registry.backend_of(xp), "absent", None)
    if own is not None:
        return own(h, shape, dtype)
    return xp.broadcast_to(xp.zeros((), dtype=dtype, **beside(h)), shape)


def _flat(xp: Namespace, array: Any, lead: tuple[Any, ...], ends: bool) -> Any:
    """Return what items have, with these along one axis; of length 1 where all have the same.

    `ends`: each item has one number, not one for each class.
    """
    array = of_rank(xp, array, len(lead) + (not ends))
    own, rest = tuple(array.shape[: len(lead)]), tuple(array.shape[len(lead) :])
    if len(lead) == 1:
        return array
    if all(n == 1 for n in own) and lead:
        return xp.reshape(array, (1, *rest))
    if own != lead:
        array = xp.broadcast_to(array, (*lead, *rest))
    return xp.reshape(array, (prod(lead), *rest))


def _budgeted(xp: Namespace, scored: Scored) -> Scored:
    """Return what there is to answer, of whose memory the caller says nothing."""
    own: Any = getattr(registry.backend_of(xp), "product_memory", None)
    budget: Budget = Budget() if own is None else own(scored.h)
    memory, w = budget.memory, scored.w
    if w is not None:
        memory = max(memory, scored.chunk_of(min(budget.rows, w.shape[1 - scored.class_axis])))
    return replace(scored, memory=memory, whole=memory)


def size_of(dtype: Any) -> int:
    return 8 if dtype_name(dtype) == "float64" else 4


def bytes_of(dtype: Any) -> int:
    """Return the bytes of a number of a floating dtype."""
    name = dtype_name(dtype)
    return next(n for n, end in ((8, "64"), (4, "32"), (2, "16"), (1, "")) if name.endswith(end))
