"""Losses of scores that are products: blocks of rows one after the other in one loop of XLA's.

The derivative of the value is known with it: a rule for tangents, in which the same loop computes
the gradients by what moves. Second derivatives, and those of each item's own values, go through
the loop, which computes the scores of a block again.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jax.dtypes import float0

from tinyloss.backend import (
    FACTORS,
    OF_ROWS,
    PIECE,
    Answer,
    Budget,
    Kind,
    Scored,
    at_once,
    cache_of,
    looked,
    replaced,
    scores_and_target,
)
from tinyloss.compiler.recorder import Unrecordable
from tinyloss_jax._parts import RowsInParts, shown_by
from tinyloss_jax._rules import Rule
from tinyloss_jax._run import function_of

Arrays = dict[str, Any]
Step: TypeAlias = Callable[[Any, Any], Any]
"""A carry and the number of a block make the next carry."""
Steps: TypeAlias = Callable[[Step, Any, int], Any]
"""Takes so many steps from a carry."""

_LEAST = 128
"""Classes that are multiplied at a time at least."""


class Absent:
    """Stands for scores: a shape and a dtype beside an array, and no numbers."""

    def __init__(self, like: Any, shape: tuple[Any, ...], dtype: Any) -> None:
        self.like, self.shape, self.dtype, self.ndim = like, shape, jnp.dtype(dtype), len(shape)

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        del api_version
        return jnp

    def __getattr__(self, name: str) -> Any:
        return getattr(self.like, name)

    def __getitem__(self, key: Any) -> Any:
        return jnp.broadcast_to(jnp.zeros((), self.dtype), self.shape)[key]


absent = Absent


def _is_cpu() -> bool:
    return bool(jax.default_backend() == "cpu")


def product_memory(h: Any) -> Budget:
    """Return how much to take at a time; measured on CPUs, where XLA's caches are small."""
    del h
    return Budget(2**23) if _is_cpu() else Budget(2**29, rows=1024)


def products(scored: Scored) -> Answer:
    """Answer for scores that are products."""
    job = looked(scored.job)
    kind = job.kind
    if 0 in scored.shape or "y" in scored.by:
        return at_once(scored)
    try:
        loop = cache_of(kind.formula, "products").made(
            (
                *(kind, scored.by, scored.rows, scored.class_axis, scored.dtype),
                *(scored.marks, scored.both_ways, scored.part),
            ),
            lambda: _Loop(kind, scored),
        )
    except Unrecordable:
        return at_once(scored)
    classes = kind.classes or scored.classes
    made = {"x", "y"} if scored.marks else {"x"}  # what is made of the rest
    roles = {name: role for name, _, role in kind.arguments if name not in made}
    divisor = float(job.divisor) if isinstance(job.divisor, int) else job.divisor
    factors = {name: getattr(scored, name) for name in FACTORS}
    in_parts = scored.both_ways or scored.part < scored.classes
    rest = {
        "params": {**job.numbers} if in_parts else {},
        "rows": {name: job.arrays[name] for name, role in roles.items() if role.per_item},
        "all": {name: job.arrays[name] for name, role in roles.items() if not role.per_item},
        "pairs": {name: each for name, each in scored.pairs.items() if name in OF_ROWS},
        "columns": {name: each for name, each in scored.pairs.items() if name not in OF_ROWS},
        "weight": job.weight,
        "divisor": divisor,
        # those of the value alone are fewer, in another order
        "numbers": tuple(
            [rule.numbers(job.numbers, classes if kind.rowwise else 1) for rule in loop.rules]
        ),
    }
    value, grads = loop.function(factors, rest)
    return Answer(value, tuple([grads[name] for name in scored.by]))


class _Loop:
    """A loss of products for one kind of job and one size of blocks."""

    def __init__(self, kind: Kind, scored: Scored) -> None:
        self.kind, self._by, self.rows = kind, scored.by, scored.rows
        self.axis, self.dtype = scored.class_axis, jnp.dtype(scored.dtype)
        self.marks, self.both_ways, self.part = scored.marks, scored.both_ways, scored.part
        self.wide = jnp.dtype(kind.value_dtype or kind.dtype)
        self._dtypes = {name: jnp.dtype(scored.dtype_of(name)) for name in scored.by}
        # The values of blocks are added up, and divided like these.
        of_value = replaced(scored.job, value=True, grads=()).kind
        of_grads = replaced(scored.job, value=True, grads=("x",), wide=False).kind
        self.rules = Rule(of_value), Rule(of_grads)
        self.of_value, self.of_grads = map(function_of, (of_value, of_grads), self.rules)
        loss: Any = jax.custom_jvp(self._value)
        loss.defjvp(self._moved, symbolic_zeros=True)
        # Each item's own values have no gradient that could be kept.
        self._loss = loss if kind.reduce else self._value
        self.function: Callable[[Arrays, Arrays], Any] = jax.jit(self._answer)

    def _answer(self, factors: Arrays, rest: Arrays) -> tuple[Any, Arrays]:
        if not self._by:
            return self._loss(factors, rest), {}
        value, grads = self._run(factors, rest, self._by)
        if self.kind.axis_name is not None:
            for name in {"h", "scale"} & {*grads}:
                grads[name] = lax.psum(grads[name], self.kind.axis_name)
        grads = {name: grad.astype(self._dtypes[name]) for name, grad in grads.items()}
        return value if self.kind.value else None, grads

    def _value(self, factors: Arrays, rest: Arrays) -> Any:
        return self._run(factors, rest, ())[0]

    def _run(self, factors: Arrays, rest: Arrays, by: Sequence[str]) -> tuple[Any, Arrays]:
        """Return the value, and the gradients by some of the factors."""

        def over(loop: Steps, factors: Arrays, rest: Arrays) -> tuple[Any, Arrays]:
            return _Pass(self, factors, rest, by, loop).run()

        def moved(primals: Any, tangents: Any) -> Any:
            return _jvp(partial(over, _scanned), primals, tangents)

        run: Any = jax.custom_jvp(partial(over, _repeated))
        run.defjvp(moved, symbolic_zeros=True)
        return run(factors, rest)  # type: ignore[no-any-return]

    def _moved(self, primals: Any, tangents: Any) -> tuple[Any, Any]:
        """Return the value and its tangent, by the gradients by what moves."""
        factors, rest = primals
        moves = {name: move for name, move in tangents[0].items() if _is_moving(move)}
        value, grads = self._run(factors, rest, tuple(moves))
        along: Any = jnp.zeros((), value.dtype)
        for name, move in moves.items():
            wide = grads[name].dtype
            along = along + jnp.sum(grads[name] * move.astype(wide)).astype(value.dtype)
        if moves and self.kind.axis_name is not None:
            along = lax.psum(along, self.kind.axis_name)
        if any(map(_is_moving, _leaves(tangents[1]))):
            along = along + _jvp(partial(self._value, factors), (rest,), tangents[1:])[1]
        return value, along

    def scores(self, h: Any, factors: Arrays) -> Any:
        w = factors["w"]
        z = h.astype(self.dtype) if w is None else self.product(h, w, 1 - self.axis)
        if factors["scale"] is not None:
            z = z * factors["scale"].astype(self.dtype)
        return z if factors["bias"] is None else z + factors["bias"].astype(self.dtype)

    def some(self, factors: Arrays, start: Any) -> Arrays:
        """Return the factors of a part of the classes."""
        w, bias = factors["w"], factors["bias"]
        w = lax.dynamic_slice_in_dim(w, start, self.part, self.axis)
        if bias is not None and bias.ndim:
            bias = lax.dynamic_slice_in_dim(bias, start, self.part)
        return {**factors, "w": w, "bias": bias}

    def of_rows(self, by: Sequence[str], factors: Arrays, h: Any, pulled: Any) -> Arrays:
        """Return gradients of what rows of scores share, given that by their scaled features."""
        found, scale = Arrays(), factors["scale"]
        if "scale" in by:
            found["scale"] = jnp.sum(pulled * jnp.where(pulled == 0, 0, h))
        if "h" in by:
            found["h"] = pulled if scale is None else pulled * scale.astype(self.dtype)
        return found

    def with_classes(
        self, found: Arrays, factors: Arrays, h: Any, g: Any, start: Any, piece: int
    ) -> Arrays:
        """Return gradients so far with what columns of scores share, from the one of index `start`.

        `g` is the gradient by these scores; `piece` tells how many columns are multiplied at once.
        """
        found, scale, part = {**found}, factors["scale"], h.astype(self.dtype)
        if "w" in found:
            part = part if scale is None else part * scale.astype(self.dtype)
            found["w"] = self._with_product(found["w"], g, part, start, piece)
        if "bias" in found:
            grad = jnp.sum(g, axis=0 if factors["bias"].ndim else None)
            found["bias"] = _added(found["bias"], grad, start, 0)
        return found

    def _with_product(self, whole: Any, g: Any, h: Any, start: Any, piece: int) -> Any:
        classes = g.shape[1]

        def added(whole: Any, some: Any, at: Any) -> Any:
            a, b = (some, h) if self.axis == 0 else (h, some)
            dimensions = (((0,), (0,)), ((), ()))
            grad = lax.dot_general(a, b, dimensions, preferred_element_type=self.dtype)
            return _added(whole, grad, start + at, self.axis)

        def next_added(whole: Any, number: Any) -> Any:
            at = number * piece
            return added(whole, lax.dynamic_slice_in_dim(g, at, piece, 1), at), None

        if piece >= classes:
            return added(whole, g, 0)
        whole, _ = lax.scan(next_added, whole, jnp.arange(classes // piece))
        last = classes - classes % piece
        return whole if last == classes else added(whole, g[:, last:], last)

    def piece(self, rows: int, classes: int, features: int) -> int:
        """Return how many classes w's gradient is made of at a time, of so many rows of scores.

        XLA writes a product into an array of its own before it adds that to another. On a CPU a
        piece stays in the cache, with the scores that it is made of.
        """
        size = int(self.dtype.itemsize)
        if not _is_cpu() or classes * features * size <= PIECE:
            return classes
        pieces = -(-classes // max(_LEAST, PIECE // ((rows + features) * size)))
        return -(-classes // pieces)

    def product(self, a: Any, w: Any, axis: int) -> Any:
        """Return the product of the rows of `a` with w, summed over one of its axes."""
        if a.dtype != w.dtype:
            a, w = a.astype(self.dtype), w.astype(self.dtype)
        dimensions = (((1,), (axis,)), ((), ()))
        return lax.dot_general(a, w, dimensions, preferred_element_type=self.dtype)


class _Pass:
    """One pass over all blocks, as it is traced.

    What is done with a block is a function of all arrays that it is made of: what reverse mode
    would keep of it is computed again.
    """

    def __init__(
        self, loop: _Loop, factors: Arrays, rest: Arrays, by: Sequence[str], steps: Steps
    ) -> None:
        self._loop, self._factors, self._rest, self._by = loop, factors, rest, by
        self._steps = steps
        kind, h, w, weight = loop.kind, factors["h"], factors["w"], rest["weight"]
        self._count = count = h.shape[0]
        self._classes = h.shape[1] if w is None else w.shape[loop.axis]
        self._blocks = -(-count // loop.rows)
        self._overlaps = self._blocks * loop.rows != count
        """Whether the last block begins in the one before."""
        if weight is not None:
            weight = jnp.broadcast_to(weight, (count, *weight.shape[1:]))
        self._weight = weight
        self._columns: Any = None
        """The formulas of the columns, where these have a loss besides."""
        if loop.both_ways and kind.formula.in_parts is not None:
            self._columns = kind.formula.in_parts(**self._params(rest))
        self._known: tuple[Any, ...] = ()
        """What all blocks show of each column."""
        self._scale_of_columns: Any = None
        """What each counts."""

    def run(self) -> tuple[Any, Arrays]:
        """Return the value, and the gradients by some of the factors."""
        loop, factors, count = self._loop, self._factors, self._count
        kind, dtype = loop.kind, loop.dtype
        items = (count,) if kind.rowwise and kind.formula.per_item else (count, self._classes)
        value = jnp.zeros(() if kind.reduce else items, loop.wide)
        if self._columns is not None:
            value = value + self._of_all_columns()
        found = {
            name: jnp.zeros(() if name == "scale" else factors[name].shape, dtype)
            for name in self._by
        }
        if self._blocks == 1:
            value, grads = self._step((value, found), 0)
        else:
            value, grads = self._steps(self._step, (value, found), self._blocks)
        return value if self._columns is None else 0.5 * value, grads

    def _params(self, rest: Arrays) -> Arrays:
        return {**self._loop.kind.static, **rest["params"], **rest["all"]}

    def _cut(self, array: Any, start: Any) -> Any:
        """Return the rows of a block, of an array that has all of them."""
        if array.shape[0] != self._count:
            return array
        return lax.dynamic_slice_in_dim(array, start, self._loop.rows)

    def _new(self, start: Any, first: Any) -> Any:
        """Return which rows of a block were not in the one before."""
        return start + jnp.arange(self._loop.rows) >= first

    def _put(self, whole: Any, part: Any, start: Any, first: Any) -> Any:
        """Return an array with the rows of a block, those that are new."""
        if self._overlaps:
            new = self._new(start, first).reshape(-1, *[1] * (part.ndim - 1))
            part = jnp.where(new, part, lax.dynamic_slice_in_dim(whole, start, self._loop.rows))
        return lax.dynamic_update_slice_in_dim(whole, part, start, axis=0)

    def _arrays_of(self, start: Any, factors: Arrays, rest: Arrays) -> Arrays:
        """Return the arrays of a block's job."""
        arrays = {
            "x": self._loop.scores(self._cut(factors["h"], start), factors),
            **{name: self._cut(each, start) for name, each in rest["rows"].items()},
            **rest["all"],
        }
        pairs = {name: self._cut(each, start) for name, each in rest["pairs"].items()}
        pairs |= rest["columns"]
        if pairs:
            arrays["x"], arrays["y"] = scores_and_target(
                jnp, pairs, self._loop.marks, arrays["x"], arrays.get("y")
            )
        return arrays

    def _of_columns(self, start: Any, first: Any, x: Any) -> tuple[Any, Any]:
        """Return the scores of columns, and the places of their targets, if not of before."""
        y = self._rest["rows"]["y"]
        x = jnp.where(self._new(start, first), x.T, -jnp.inf)
        return x, jnp.where(y >= first, y - start, -1)

    def _of_all_columns(self) -> Any:
        """Return the loss of the columns, when all blocks have been looked at."""
        loop, count, weight, columns = self._loop, self._count, self._weight, self._columns
        kind, divisor = loop.kind, self._rest["divisor"]
        known = tuple([jnp.full(count, start, loop.dtype) for start in columns.start.values()])
        self._known = self._steps(self._look, known, self._blocks)
        own = jnp.ones(count, loop.dtype) if weight is None else weight
        each = columns.loss(*self._known)
        value = jnp.where(own == 0, 0, each * own).astype(loop.wide)
        divisor = 1.0 if divisor is None else divisor
        self._scale_of_columns = (own / divisor).astype(loop.dtype)
        return jnp.sum(value) / divisor if kind.reduce else value

    def _look(self, known: Any, number: Any) -> Any:
        first = number * self._loop.rows
        start = jnp.minimum(first, self._count - self._loop.rows)
        seen = jax.checkpoint(self._seen, prevent_cse=False)
        return tuple(seen(known, start, first, self._factors, self._rest))

    def _seen(self, known: Any, start: Any, first: Any, factors: Arrays, rest: Arrays) -> Any:
        """Return what is known of the columns after a block."""
        x, y = self._of_columns(start, first, self._arrays_of(start, factors, rest)["x"])
        return self._columns.joined(known, shown_by(self._columns, x, y, self._params(rest)))

    def _step(self, carry: Any, number: Any) -> Any:
        loop, (value, found) = self._loop, carry
        first = number * loop.rows
        start = jnp.minimum(first, self._count - loop.rows)
        in_parts = loop.part < self._classes
        block = jax.checkpoint(self._block_in_parts if in_parts else self._block, prevent_cse=False)
        of_block, found = block(
            start, first, self._factors, self._rest, self._weight, self._known, found
        )
        if loop.kind.reduce:
            value = value + of_block
        else:
            before = 0 if self._columns is None else self._cut(value, start)
            value = self._put(value, before + of_block, start, first)
        return value, found

    def _with_rows(self, found: Arrays, grads: Arrays, start: Any, first: Any) -> Arrays:
        """Return gradients so far with those of a block of what its rows share."""
        added = {
            name: self._put(found[name], grad, start, first) if name == "h" else found[name] + grad
            for name, grad in grads.items()
        }
        return {**found, **added}

    def _block(
        self,
        start: Any,
        first: Any,
        factors: Arrays,
        rest: Arrays,
        weight: Any,
        known: Any,
        found: Arrays,
    ) -> Any:
        """Return the value of a block, and the gradients so far with what it adds to these."""
        loop, by, w = self._loop, self._by, factors["w"]
        kind, h = loop.kind, self._cut(factors["h"], start)
        own = None if weight is None else self._cut(weight, start)
        if self._overlaps:
            new = self._new(start, first)
            new = new if kind.rowwise else new[:, None]
            own = jnp.where(new, 1 if own is None else own, 0).astype(kind.dtype)
        arrays = self._arrays_of(start, factors, rest)
        function = loop.of_grads if by else loop.of_value
        value, grads, _ = function(arrays, rest["numbers"][bool(by)], own, rest["divisor"])
        if not by:
            return value, found
        (g,) = grads
        if self._columns is not None:
            x, y = self._of_columns(start, first, arrays["x"])
            numbers, scale = self._columns.numbers(*known), self._scale_of_columns[:, None]
            other = self._columns.slope(x, y, **self._params(rest), **numbers).grad_x()
            g = 0.5 * (g + jnp.where(scale == 0, 0, other * scale).T)
        elif own is not None:  # what is left out may be NaN
            keep = own != 0
            keep = keep[:, None] if kind.rowwise else keep.any(axis=-1, keepdims=True)
            h = jnp.where(keep, h, 0)
        pulled = None
        if {"h", "scale"} & {*by}:
            pulled = g if w is None else loop.product(g, w, loop.axis)
        found = self._with_rows(found, loop.of_rows(by, factors, h, pulled), start, first)
        # one block alone adds nothing up
        piece = (
            self._classes if self._blocks == 1 else loop.piece(g.shape[0], g.shape[1], h.shape[1])
        )
        return value, loop.with_classes(found, factors, h, g, 0, piece)

    def _block_in_parts(
        self,
        start: Any,
        first: Any,
        factors: Arrays,
        rest: Arrays,
        weight: Any,
        known: Any,
        found: Arrays,
    ) -> Any:
        """Return the same of a block whose classes come in parts."""
        del known  # of columns, which come in no parts
        loop, kind, dtype = self._loop, self._loop.kind, self._loop.dtype
        h, own = self._cut(factors["h"], start), jnp.ones(loop.rows, dtype)
        y = self._cut(rest["rows"]["y"], start)
        if weight is not None:
            own = jnp.broadcast_to(self._cut(weight, start), (loop.rows,)).astype(dtype)
        own = jnp.where(self._new(start, first), own, 0)
        keep = own != 0
        # what is left out may be NaN
        h = jnp.where(keep[:, None], h, 0)
        y = jnp.where(keep if y.ndim == 1 else keep[:, None], y, 0)
        if kind.unchecked is not None:
            own = jnp.where(kind.unchecked.holds(y, self._classes), own, jnp.nan)
        whole = RowsInParts(
            kind,
            lambda at: loop.scores(h, loop.some(factors, at)),
            y,
            {**rest["params"], **rest["all"]},
            self._classes,
            loop.part,
        )
        of_rows, divisor = whole.seen(loop.rows), rest["divisor"]
        value = jnp.where(keep, own * whole.loss(of_rows), 0).astype(loop.wide)
        if kind.reduce:
            value = jnp.sum(value) / (1.0 if divisor is None else divisor)
        if not self._by:
            return value, found
        own = (own if divisor is None else own / divisor)[:, None]

        def of_part(carry: Any, number: Any) -> Any:
            pulled, found = carry
            some = whole.part(number)
            g = jnp.where(keep[:, None], own * whole.slope(of_rows, some), 0).astype(dtype)
            if pulled is not None:
                w = loop.some(factors, some.start)["w"]
                pulled = pulled + loop.product(g, w, loop.axis)
            return (pulled, loop.with_classes(found, factors, h, g, some.start, piece)), None

        pulled = jnp.zeros(h.shape, dtype) if {"h", "scale"} & {*self._by} else None
        piece = loop.piece(loop.rows, loop.part, h.shape[1])
        (pulled, found), _ = lax.scan(of_part, (pulled, found), whole.numbers)
        return value, self._with_rows(
            found, loop.of_rows(self._by, factors, h, pulled), start, first
        )


def _added(whole: Any, grad: Any, start: Any, axis: int) -> Any:
    """Return a gradient with what some classes add to it, from the one of index `start` on."""
    if grad.shape == whole.shape:
        return whole + grad
    before = lax.dynamic_slice_in_dim(whole, start, grad.shape[axis], axis)
    return lax.dynamic_update_slice_in_dim(whole, before + grad, start, axis)


def _scanned(step: Step, carry: Any, count: int) -> Any:
    """Return what so many steps make of a carry, which reverse mode may go through."""
    return lax.scan(lambda carry, number: (step(carry, number), None), carry, jnp.arange(count))[0]


def _repeated(step: Step, carry: Any, count: int) -> Any:
    """Return the same, of which nothing is differentiated.

    Where JAX differentiates what is around a scan, it takes out of it whatever is alike in all
    steps. That are arrays of zeros, as large as a block, that fill memory. It leaves a while whole.
    """

    def body(state: Any) -> Any:
        number, carry = state
        return number + 1, step(carry, number)

    return lax.while_loop(lambda state: state[0] < count, body, (jnp.asarray(0), carry))[1]


def _jvp(function: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    """Return a function's value and its tangent, by what moves."""
    leaves, tree = jax.tree.flatten(primals)
    moves = _leaves(tangents)
    places = [n for n, move in enumerate(moves) if _is_moving(move)]

    def of_those(*moving: Any) -> Any:
        whole = list(leaves)
        for place, each in zip(places, moving, strict=True):
            whole[place] = each
        return function(*jax.tree.unflatten(tree, whole))

    return jax.jvp(of_those, [leaves[n] for n in places], [moves[n] for n in places])


def _leaves(tangents: Any) -> list[Any]:
    """Return tangents in order; a symbolic zero is one."""
    return [*jax.tree.leaves(tangents, is_leaf=lambda each: isinstance(each, SymbolicZero))]


def _is_moving(move: Any) -> bool:
    return (
        not isinstance(move, SymbolicZero)
        and getattr(move, "dtype", None) != float0
        and move is not None
    )
