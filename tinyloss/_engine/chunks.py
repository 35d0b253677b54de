"""The answer to scores that are products: all at once, or chunk by chunk.

A chunk of rows is a job whose x is their block of scores, and whose `out` is the same block: what
answers any job answers it, and its gradient takes the place of the scores. Two more products hand
that on to h and w. So no loss is known here, and each loss of scores has this.

A loss that says so (`Formula.in_parts`) is computed over parts of the scores' columns, too: where
one row does not fit, and where columns are rows of the same loss.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from tinyloss._arrays import astype, beside, widest_dtype
from tinyloss._engine import registry
from tinyloss._engine.job import Answer, Job, Kind, looked, replaced
from tinyloss._engine.pairs import OF_ROWS, scores_and_target
from tinyloss._engine.parts import Parts, with_columns
from tinyloss._engine.run import answer_of, answer_with_moving_divisor, share_of_divisor
from tinyloss._engine.scored import PIECE, Columns, Scored, size_of
from tinyloss.typing import Namespace


def at_once(scored: Scored) -> Answer:
    """Answer with all scores in memory, in operations that a library may trace."""
    job, h, scale = scored.job, scored.h, scored.scale
    xp, kind = job.xp, job.kind
    w: Any = None
    if scored.w is not None:
        w = astype(xp, scored.transposed(scored.w), scored.dtype)
    wide = astype(xp, h, scored.dtype)
    part = wide if scale is None else wide * astype(xp, scale, scored.dtype)
    x = part if w is None else xp.matmul(part, w.T)
    if scored.bias is not None:
        x = x + astype(xp, scored.bias, scored.dtype)
    arrays = dict(job.arrays)
    if scored.pairs:
        x, arrays["y"] = scores_and_target(xp, scored.pairs, scored.marks, x, arrays["y"])
    answered = answer_with_moving_divisor if scored.moves else answer_of
    inner = answered(replaced(job, arrays={"x": x, **arrays}))
    if scored.both_ways:
        turned = answered(replaced(job, arrays={"x": x.T, **arrays}))
        inner = mean_of(inner, turned._replace(grads=tuple([each.T for each in turned.grads])))
    found = dict(zip(kind.grads, inner.grads, strict=True))
    if "x" in found:
        z = astype(xp, found["x"], scored.dtype)
        keep = None if scored.both_ways else _kept(xp, kind, job.weight)
        if {"h", "scale"} & {*scored.by}:
            by_part = z if w is None else xp.matmul(z, w)
            found["h"] = by_part
            if scale is not None:
                found["h"] = by_part * astype(xp, scale, scored.dtype)
                if "scale" in scored.by:
                    found["scale"] = xp.sum(_moved(xp, by_part, _selected(xp, keep, wide)))
        if "w" in scored.by:
            found["w"] = scored.transposed(xp.matmul(z.T, _selected(xp, keep, part)))
        if "bias" in scored.by:
            bias: Any = scored.bias
            found["bias"] = xp.sum(z, axis=0) if len(bias.shape) else xp.sum(z)
    grads = tuple([astype(xp, found[name], scored.dtype_of(name)) for name in scored.by])
    return Answer(inner.value, grads)


def mean_of(one: Answer, other: Answer) -> Answer:
    """Return the mean of two answers."""

    def mean(a: Any, b: Any) -> Any:
        return None if a is None else 0.5 * (a + b)

    return Answer(mean(one.value, other.value), tuple(map(mean, one.grads, other.grads)))


def _moved(xp: Namespace, slope: Any, by: Any) -> Any:
    """Return the product of slopes with what moves, 0 where a slope is: a score may be -inf."""
    return slope * xp.where(slope == 0, xp.zeros_like(by), by)


def by_chunks(scored: Scored) -> Answer:
    """Answer chunk by chunk, in a library whose arrays can be written."""
    job = scored.job
    with registry.quiet(job.xp):
        chunks = _Chunks(replace(scored, job=looked(job)))
        chunks.look()
        for first, last in chunks.spans():
            chunks.add(first, last)
        return chunks.answer()


def seen_of_columns(scored: Scored) -> Answer:
    """Return what a block of rows shows of columns that have a loss besides, as gradients.

    And the value of the rows, where gradients are not asked for.
    """
    with registry.quiet(scored.job.xp):
        chunks = _Chunks(scored)
        known = chunks.look()
        return Answer(None if scored.by else chunks.answer().value, known)


def known_of_columns(columns: Columns, seen: Sequence[Answer]) -> Answer:
    """Return what all blocks of rows show of columns, as gradients, and the columns' value."""
    job, like = columns.job, seen[0].grads[0]
    with registry.quiet(job.xp):
        parts = Parts(job, columns.rows, like.shape[0], like)
        for each in seen:
            parts.join(each.grads)
        wide = widest_dtype(job.xp, like) if job.kind.reduce else job.kind.dtype
        value = 0.5 * parts.value(wide) if job.kind.value else None
        return Answer(value, parts.known)


class _Chunk(NamedTuple):
    """Some rows, and what is made of their features."""

    first: int
    last: int
    new: int
    """How many rows the chunk before had."""
    part: Any
    """What w is multiplied with: the scaled features, of those rows too."""
    scale: Any
    weight: Any
    wide: Any
    """The features, 0 where they are left out; None where nobody asks."""
    own: Any
    """The scaled ones likewise."""
    pulled: Any
    """The gradient by the scaled features; None where nobody asks."""


class _Chunks:
    """The answer so far."""

    def __init__(self, scored: Scored) -> None:
        self._scored, job = scored, scored.job
        self._xp, self._kind = job.xp, job.kind
        self._wide = widest_dtype(job.xp, scored.h)
        self._columns: Parts | None = None
        """What is known of the columns, where these have a loss besides."""
        self._target: Any = None
        """Of the scores that were made last, where it is made of pairs."""
        count = scored.shape[0]
        self._taken = None
        if not scored.both_ways:
            self._taken = _taken(job.xp, job.kind, job.weight, count)
        """The rows that count, where that is known; None for all."""
        self._count = count if self._taken is None else self._taken.shape[0]
        self._rows = max(1, scored.rows_of(self._count))
        self._scores = self._empty((self._rows, scored.part), scored.dtype)
        self._block_kind = self._kind_of_blocks()
        self._value = self._new_value()
        self._found = self._new_grads()

    def _empty(self, shape: tuple[Any, ...], dtype: Any) -> Any:
        return self._xp.empty(shape, dtype=dtype, **beside(self._scored.h))

    def _zeros(self, shape: tuple[Any, ...], dtype: Any) -> Any:
        return self._xp.zeros(shape, dtype=dtype, **beside(self._scored.h))

    def _kind_of_blocks(self) -> Kind:
        """Return the kind of the jobs of chunks: sums are wide, and each result is rounded once."""
        scored, kind = self._scored, self._kind
        changes: dict[str, Any] = {"value_dtype": self._wide} if kind.reduce else {}
        if scored.moves:  # the gradient by y, at the end
            changes["arguments"] = tuple(
                [
                    each._replace(dtype=kind.dtype) if each.name == "y" else each
                    for each in kind.arguments
                ]
            )
        return replace(kind, wide=False, value=kind.value or scored.moves, **changes)

    def _new_value(self) -> Any:
        """Return the value before the first chunk: 0, or an array to write into."""
        kind = self._kind
        if not self._block_kind.value:
            return None
        if kind.reduce:
            return self._zeros((), self._wide)
        one_each = kind.rowwise and kind.formula.per_item
        shape = self._scored.shape[:1] if one_each else self._scored.shape
        return self._of_items(shape, kind.value_dtype or kind.dtype)

    def _new_grads(self) -> dict[str, Any]:
        """Return what is known of the gradients before the first chunk."""
        scored, kind, found = self._scored, self._kind, dict[str, Any]()
        for name in scored.by:
            if name == "h":
                found[name] = self._of_items(scored.h.shape, scored.dtype_of(name))
            elif name == "y":
                dtype = kind.dtype if scored.moves else scored.dtype_of(name)
                found[name] = self._of_items(scored.shape, dtype)
            else:
                dtype = kind.dtype if name == "w" else self._wide
                found[name] = self._zeros(getattr(scored, name).shape, dtype)
        return found

    def _of_items(self, shape: tuple[Any, ...], dtype: Any) -> Any:
        """Return an array for results of all rows: 0 for those that chunks leave out."""
        partly = self._count < self._scored.shape[0] or self._scored.both_ways
        return self._zeros(shape, dtype) if partly else self._empty(shape, dtype)

    def spans(self) -> Any:
        """Yield the first and last row of each chunk that the one before has not."""
        for first in range(0, self._count, self._rows):
            yield first, min(first + self._rows, self._count)

    def look(self) -> tuple[Any, ...]:
        """Look at all columns, where these have a loss besides; return what is known of them."""
        scored = self._scored
        if not scored.both_ways:
            return ()
        job, (count, classes) = scored.job, scored.shape
        whole = scored.columns or Columns(job, count)
        self._columns = columns = Parts(whole.job, whole.rows, classes, self._scores)
        if whole.known is not None:
            columns.known = whole.known
            return columns.known
        for first, last in self.spans():
            self._look_at(columns, first, last, whole.first)
        if scored.columns is None and job.kind.value:
            dtype = self._wide if job.kind.reduce else self._value.dtype
            self._add_value(0, classes, columns.value(dtype))
        return columns.known

    def _look_at(self, columns: Parts, first: int, last: int, start: int) -> None:
        """Look at the columns' part in the rows of a chunk."""
        chunk = self._chunk(first, last)
        z = self._scores_of(chunk, slice(None))
        columns.look(z.T, start + first)
        if not self._scored.by:
            self._of_rows(chunk, z)

    def add(self, first: int, last: int) -> None:
        """Add the rows of a chunk."""
        scored = self._scored
        if scored.both_ways and not scored.by:
            return  # has been looked at
        chunk = self._chunk(first, last)
        if scored.part < scored.classes:
            self._in_parts(chunk)
        else:
            whole = slice(None)
            known = scored.both_ways and scored.columns is None and self._rows == self._count
            z = self._scores[: last - first, :] if known else self._scores_of(chunk, whole)
            self._of_rows(chunk, z)
            self._pull(chunk, z, whole)
        self._finish(chunk)

    def _chunk(self, first: int, last: int) -> "_Chunk":
        scored, xp, dtype = self._scored, self._xp, self._scored.dtype
        # as many rows as in every chunk: a product's last bits depend on how many there are
        begin = max(0, last - self._rows)
        wide = self._multiplied(self._cut(scored.h, begin, last))
        scale = None if scored.scale is None else astype(xp, scored.scale, dtype)
        part = wide if scale is None else wide * scale
        weight = None if scored.job.weight is None else self._cut(scored.job.weight, first, last)
        keep = None
        if self._taken is None and not scored.both_ways:
            keep = _kept(xp, scored.job.kind, weight)
        new, pulled = first - begin, None
        if {"h", "scale"} & {*scored.by}:
            rows = max(1, scored.halves) * (last - first)
            pulled = xp.empty((rows, part.shape[1]), dtype=dtype, **beside(part))
        wide = _selected(xp, keep, wide[new:, :]) if "scale" in scored.by else None
        own = _selected(xp, keep, part[new:, :]) if "w" in scored.by else None
        return _Chunk(first, last, new, part, scale, weight, wide, own, pulled)

    def _scores_of(self, chunk: "_Chunk", classes: slice) -> Any:
        """Return the scores of a chunk for some classes."""
        scored, xp = self._scored, self._xp
        z = self._scores[: chunk.part.shape[0], :]
        if scored.w is None:
            z[...] = chunk.part
        else:
            w = scored.transposed(scored.w)[classes, :]
            z = z[:, : w.shape[0]]
            for some in self._pieces(w.shape[0]):
                multiply(xp, chunk.part, self._multiplied(w[some, :]).T, z[:, some], False)
        z = z[chunk.new :, :]
        if scored.bias is not None:
            bias = astype(xp, scored.bias, scored.dtype)
            z += bias[classes] if bias.shape else bias
        if scored.pairs:
            first, last = chunk.first, chunk.last
            pairs = {
                name: self._cut(each, first, last) if name in OF_ROWS else each
                for name, each in scored.pairs.items()
            }
            y = None if scored.marks else self._cut(scored.job.arrays["y"], first, last)
            self._target = None  # that of the chunk before goes first
            z[...], self._target = scores_and_target(xp, pairs, scored.marks, z, y)
        return z

    def _arrays(self, first: int, last: int) -> dict[str, Any]:
        """Return the arrays of a job that has some of the rows."""
        job = self._scored.job
        marked = {"x", "y"} if self._scored.marks else {"x"}
        arrays = {
            name: self._cut(job.arrays[name], first, last) if role.per_item else job.arrays[name]
            for name, _, role in job.kind.arguments
            if name not in marked
        }
        if self._scored.marks:
            arrays["y"] = self._target
        elif self._scored.moves:
            arrays["y"] = astype(self._xp, arrays["y"], job.kind.dtype)
        return arrays

    def _of_rows(self, chunk: "_Chunk", z: Any) -> None:
        """Add the losses of a chunk's rows, and write their gradients in place of the scores."""
        job, by, (first, last) = self._scored.job, self._scored.by, chunk[:2]
        out: tuple[Any, ...] = ()
        if by:
            place = {"x": z}
            if "y" in by:
                place["y"] = self._place("y", first, last)
            out = tuple([place[name] for name in job.kind.grads])
        arrays = {"x": z, **self._arrays(first, last)}
        block = Job(
            self._block_kind, self._xp, arrays, chunk.weight, job.divisor, job.numbers, out,
            job.ignored,
        )  # fmt: skip
        if by and self._columns is not None:
            block = with_columns(block, self._columns)
        self._add_value(first, last, answer_of(block).value)
        if "y" in by:
            self._put(self._found["y"], first, last, out[job.kind.grads.index("y")])

    def _add_value(self, first: int, last: int, value: Any) -> None:
        if value is None:
            return
        if self._scored.job.kind.reduce:
            self._value = self._value + value
        elif self._columns is not None:
            self._value[first:last, ...] += value
        else:
            self._put(self._value, first, last, value)

    def _in_parts(self, chunk: "_Chunk") -> None:
        """Add the rows of a chunk, some classes at a time."""
        scored, (first, last) = self._scored, chunk[:2]
        job = replaced(scored.job, arrays=self._arrays(first, last), weight=chunk.weight)
        parts = Parts(job, scored.classes, last - first, self._scores)
        ends = range(0, scored.classes, scored.part)
        some = [slice(at, min(at + scored.part, scored.classes)) for at in ends]
        for classes in some:
            parts.look(self._scores_of(chunk, classes), classes.start)
        if job.kind.value:
            value = parts.value(self._wide if job.kind.reduce else self._value.dtype)
            self._add_value(first, last, value)
        if scored.by:
            for classes in some:
                z = self._scores_of(chunk, classes)
                parts.grad(z, classes.start, z)
                self._pull(chunk, z, classes)

    def _pull(self, chunk: "_Chunk", z: Any, classes: slice) -> None:
        """Add what a gradient by the scores of some classes makes of the derivatives."""
        scored, xp, by, own = self._scored, self._xp, self._scored.by, chunk.own
        if "bias" in by:
            bias = self._found["bias"]
            if bias.shape:
                bias[classes] += xp.sum(z, axis=0, dtype=self._wide)
            else:
                self._found["bias"] = bias + xp.sum(z, dtype=self._wide)
        if scored.halves:
            backend: Any = registry.backend_of(xp)
            z = backend.halved(z, scored.h.dtype, scored.halves)
            own = None if own is None else xp.concat([own] * scored.halves)
        if scored.w is None:
            if chunk.pulled is not None:
                chunk.pulled[...] = z
        elif chunk.pulled is not None:
            w = scored.transposed(scored.w)[classes, :]
            for some in self._pieces(w.shape[0]):
                adds = bool(classes.start or some.start)
                multiply(xp, z[:, some], self._multiplied(w[some, :]), chunk.pulled, adds)
        if "w" in by:
            total = scored.transposed(self._found["w"])[classes, :]
            multiply(xp, z.T, own, total, chunk.first > 0)

    def _finish(self, chunk: "_Chunk") -> None:
        """Add what all classes of a chunk make of the derivatives by its features."""
        xp, by, pulled, count = self._xp, self._scored.by, chunk.pulled, chunk.last - chunk.first
        if pulled is not None:
            for more in range(count, pulled.shape[0], count):
                pulled[:count, :] += pulled[more : more + count, :]
            pulled = pulled[:count, :]
        if "scale" in by:
            moved = _moved(xp, pulled, chunk.wide)
            self._found["scale"] += xp.sum(moved, dtype=self._wide)
        if "h" in by:
            if chunk.scale is not None:
                pulled *= chunk.scale
            into = self._found["h"]
            self._put(into, chunk.first, chunk.last, astype(xp, pulled, into.dtype))

    def answer(self) -> Answer:
        """Return the answer to all chunks."""
        scored, xp = self._scored, self._xp
        kind, value = scored.job.kind, self._value
        if scored.moves:
            share = share_of_divisor(scored.job, value)
            self._found["y"] -= astype(xp, share, kind.dtype)
        if value is not None and kind.reduce:
            value = astype(xp, value, kind.value_dtype or kind.dtype)[()]
        if value is not None and scored.both_ways:
            value = 0.5 * value
        grads = [astype(xp, self._found[name], scored.dtype_of(name)) for name in scored.by]
        return Answer(value if kind.value else None, tuple(grads))

    def _pieces(self, classes: int) -> list[slice]:
        """Return parts of so many classes: all, unless w has to be converted first."""
        scored = self._scored
        if not scored.converts:
            return [slice(0, classes)]
        step = max(1, PIECE // (scored.h.shape[-1] * size_of(scored.dtype) or 1))
        ends = range(0, classes, step)
        return [slice(at, min(at + step, classes)) for at in ends]

    def _multiplied(self, factor: Any) -> Any:
        """Return a part of h or w as it is multiplied."""
        return astype(self._xp, factor, self._scored.dtype) if self._scored.converts else factor

    def _cut(self, array: Any, first: int, last: int) -> Any:
        """Return what an array of items, or of one for all, has of some rows."""
        if array.shape[0] != self._scored.h.shape[0]:
            return array
        if self._taken is None:
            return array[first:last, ...]
        return self._xp.take(array, self._taken[first:last], axis=0)

    def _place(self, name: str, first: int, last: int) -> Any:
        """Return the memory of some rows of a result, or of a copy of them."""
        whole = self._found[name]
        if self._taken is None:
            return whole[first:last, ...]
        return self._xp.empty((last - first, *whole.shape[1:]), dtype=whole.dtype, **beside(whole))

    def _put(self, whole: Any, first: int, last: int, rows: Any) -> None:
        if self._taken is None:
            whole[first:last, ...] = rows
        else:
            whole[self._taken[first:last]] = rows


def _taken(xp: Namespace, kind: Kind, weight: Any, count: int) -> Any:
    """Return the indices of the rows with weight, where they are known without waiting."""
    if weight is None or not kind.rowwise:
        return None
    find: Any = getattr(registry.backend_of(xp), "indices", None)
    if find is None:
        return None
    return find(xp.broadcast_to(weight != 0, (count,)))


def _kept(xp: Namespace, kind: Kind, weight: Any) -> Any:
    """Return which rows have weight, as a column; None for all."""
    if weight is None:
        return None
    keep = weight != 0
    if kind.rowwise:
        return keep[:, None]
    return xp.any(keep, axis=-1, keepdims=True)


def _selected(xp: Namespace, keep: Any, rows: Any) -> Any:
    """Return rows, 0 where they are left out: what these hold may be NaN."""
    return rows if keep is None else xp.where(keep, rows, xp.zeros_like(rows))


def multiply(xp: Namespace, a: Any, b: Any, into: Any, adds: bool) -> None:
    """Write the product of two matrices into an array, or add it to what is there."""
    own: Any = getattr(registry.backend_of(xp), "multiply", None)
    if own is not None:
        own(a, b, into, adds)
        return
    step = max(1, PIECE // (into.shape[-1] * size_of(into.dtype) or 1))
    for at in range(0, into.shape[0], step):
        some = slice(at, min(at + step, into.shape[0]))
        if adds:
            into[some, :] += xp.matmul(a[some, :], b)
        else:
            into[some, :] = xp.matmul(a[some, :], b)
