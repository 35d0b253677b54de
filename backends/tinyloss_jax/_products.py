"""Losses of scores that are products: blocks of rows one after the other in one loop of XLA's.

The derivative of the value is known with it: a rule for tangents, in which the same loop computes
the gradients by what moves. Second derivatives, and those of each item's own values, go through
the loop, which computes the scores of a block again.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jax.dtypes import float0

from tinyloss.backend import (
    FACTORS,
    OF_ROWS,
    Answer,
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


class Absent:
    """Stands for scores: a shape and a dtype beside an array, and no numbers."""

    def __init__(self, like: Any, shape: tuple[Any, ...], dtype: Any) -> None:
        self.like, self.shape, self.dtype, self.ndim = like, shape, jnp.dtype(dtype), len(shape)

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        del api_version
        return jnp

    def __getattr__(self, name: str) -> Any:
        return getattr(self.like, name)


absent = Absent


def product_memory(h: Any) -> int:
    """Return how many bytes to take at a time; measured on CPUs, where XLA's caches are small."""
    del h
    return 2**23 if jax.default_backend() == "cpu" else 2**29


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
        self._kind, self._by, self._rows = kind, scored.by, scored.rows
        self._axis, self._dtype = scored.class_axis, jnp.dtype(scored.dtype)
        self._marks, self._both_ways, self._part = scored.marks, scored.both_ways, scored.part
        self._wide = jnp.dtype(kind.value_dtype or kind.dtype)
        self._dtypes = {name: jnp.dtype(scored.dtype_of(name)) for name in scored.by}
        # The values of blocks are added up, and divided like these.
        of_value = replaced(scored.job, value=True, grads=()).kind
        of_grads = replaced(scored.job, value=True, grads=("x",), wide=False).kind
        self.rules = Rule(of_value), Rule(of_grads)
        self._of_value, self._of_grads = map(function_of, (of_value, of_grads), self.rules)
        loss: Any = jax.custom_jvp(self._value)
        loss.defjvp(self._moved, symbolic_zeros=True)
        # Each item's own values have no gradient that could be kept.
        self._loss = loss if kind.reduce else self._value
        self.function: Callable[[Arrays, Arrays], Any] = jax.jit(self._answer)

    def _answer(self, factors: Arrays, rest: Arrays) -> tuple[Any, Arrays]:
        if not self._by:
            return self._loss(factors, rest), {}
        value, grads = self._run(factors, rest, self._by)
        if self._kind.axis_name is not None:
            for name in {"h", "scale"} & {*grads}:
                grads[name] = lax.psum(grads[name], self._kind.axis_name)
        grads = {name: grad.astype(self._dtypes[name]) for name, grad in grads.items()}
        return value if self._kind.value else None, grads

    def _value(self, factors: Arrays, rest: Arrays) -> Any:
        return self._run(factors, rest, ())[0]

    def _moved(self, primals: Any, tangents: Any) -> tuple[Any, Any]:
        """Return the value and its tangent, by the gradients by what moves."""
        factors, rest = primals
        moves = {name: move for name, move in tangents[0].items() if _is_moving(move)}
        value, grads = self._run(factors, rest, tuple(moves))
        along: Any = jnp.zeros((), value.dtype)
        for name, move in moves.items():
            wide = grads[name].dtype
            along = along + jnp.sum(grads[name] * move.astype(wide)).astype(value.dtype)
        if moves and self._kind.axis_name is not None:
            along = lax.psum(along, self._kind.axis_name)
        leaves, tree = jax.tree.flatten(rest)
        # a symbolic zero is a leaf
        their_moves = jax.tree.leaves(
            tangents[1], is_leaf=lambda each: isinstance(each, SymbolicZero)
        )
        places = [n for n, move in enumerate(their_moves) if _is_moving(move)]
        if places:

            def of_those(*moving: Any) -> Any:
                whole = list(leaves)
                for place, each in zip(places, moving, strict=True):
                    whole[place] = each
                return self._value(factors, jax.tree.unflatten(tree, whole))

            _, more = jax.jvp(
                of_those, [leaves[n] for n in places], [their_moves[n] for n in places]
            )
            along = along + more
        return value, along

    def _scores(self, h: Any, factors: Arrays) -> Any:
        w = factors["w"]
        z = h.astype(self._dtype) if w is None else self._product(h, w, 1 - self._axis)
        if factors["scale"] is not None:
            z = z * factors["scale"].astype(self._dtype)
        return z if factors["bias"] is None else z + factors["bias"].astype(self._dtype)

    def _some(self, factors: Arrays, start: Any) -> Arrays:
        """Return the factors of a part of the classes."""
        w, bias = factors["w"], factors["bias"]
        w = lax.dynamic_slice_in_dim(w, start, self._part, self._axis)
        if bias is not None and bias.ndim:
            bias = lax.dynamic_slice_in_dim(bias, start, self._part)
        return {**factors, "w": w, "bias": bias}

    def _of_rows(self, by: Sequence[str], factors: Arrays, h: Any, pulled: Any) -> Arrays:
        """Return gradients of what rows of scores share, given that by their scaled features."""
        found, scale = Arrays(), factors["scale"]
        if "scale" in by:
            found["scale"] = jnp.sum(pulled * jnp.where(pulled == 0, 0, h))
        if "h" in by:
            found["h"] = pulled if scale is None else pulled * scale.astype(self._dtype)
        return found

    def _of_classes(self, by: Sequence[str], factors: Arrays, h: Any, g: Any) -> Arrays:
        """Return gradients of what columns of scores share, given that by these scores."""
        found, scale, part = Arrays(), factors["scale"], h.astype(self._dtype)
        if "w" in by:
            part = part if scale is None else part * scale.astype(self._dtype)
            a, b = (g, part) if self._axis == 0 else (part, g)
            dimensions = (((0,), (0,)), ((), ()))
            found["w"] = lax.dot_general(a, b, dimensions, preferred_element_type=self._dtype)
        if "bias" in by:
            found["bias"] = jnp.sum(g, axis=0 if factors["bias"].ndim else None)
        return found

    def _product(self, a: Any, w: Any, axis: int) -> Any:
        """Return the product of the rows of `a` with w, summed over one of its axes."""
        if a.dtype != w.dtype:
            a, w = a.astype(self._dtype), w.astype(self._dtype)
        dimensions = (((1,), (axis,)), ((), ()))
        return lax.dot_general(a, w, dimensions, preferred_element_type=self._dtype)

    def _run(self, factors: Arrays, rest: Arrays, by: Sequence[str]) -> tuple[Any, Arrays]:
        """Return the value, and the gradients by some of the factors."""
        h, w, count = factors["h"], factors["w"], factors["h"].shape[0]
        rows, dtype, kind = self._rows, self._dtype, self._kind
        blocks, classes = -(-count // rows), h.shape[1] if w is None else w.shape[self._axis]
        weight = rest["weight"]
        if weight is not None:
            weight = jnp.broadcast_to(weight, (count, *weight.shape[1:]))
        columns: Any = None
        """The formulas of the columns, where these have a loss besides."""
        if self._both_ways and kind.formula.in_parts is not None:
            columns = kind.formula.in_parts(**kind.static, **rest["params"], **rest["all"])

        def cut(array: Any, start: Any) -> Any:
            if array.shape[0] != count:
                return array
            return lax.dynamic_slice_in_dim(array, start, rows)

        def arrays_of(start: Any, factors: Arrays, rest: Arrays) -> Arrays:
            arrays = {
                "x": self._scores(cut(factors["h"], start), factors),
                **{name: cut(each, start) for name, each in rest["rows"].items()},
                **rest["all"],
            }
            pairs = {name: cut(each, start) for name, each in rest["pairs"].items()}
            pairs |= rest["columns"]
            if pairs:
                arrays["x"], arrays["y"] = scores_and_target(
                    jnp, pairs, self._marks, arrays["x"], arrays.get("y")
                )
            return arrays

        def of_columns(start: Any, first: Any, x: Any) -> tuple[Any, Any]:
            """Return the scores of columns, and the places of their targets, if not of before."""
            new, y = start + jnp.arange(rows) >= first, rest["rows"]["y"]
            return jnp.where(new, x.T, -jnp.inf), jnp.where(y >= first, y - start, -1)

        @partial(jax.checkpoint, prevent_cse=False)
        def seen(known: Any, start: Any, first: Any, factors: Arrays, rest: Arrays) -> Any:
            x, y = of_columns(start, first, arrays_of(start, factors, rest)["x"])
            params = {**kind.static, **rest["params"], **rest["all"]}
            return columns.joined(known, shown_by(columns, x, y, params))

        def look(known: Any, number: Any) -> Any:
            start = jnp.minimum(number * rows, count - rows)
            return tuple(seen(known, start, number * rows, factors, rest)), None

        @partial(jax.checkpoint, prevent_cse=False)
        def block(
            start: Any, first: Any, factors: Arrays, rest: Arrays, weight: Any, known: Any
        ) -> Any:
            h = cut(factors["h"], start)
            own = None if weight is None else cut(weight, start)
            if blocks * rows != count:  # the last block begins in the one before
                new = start + jnp.arange(rows) >= first
                new = new if kind.rowwise else new[:, None]
                own = jnp.where(new, 1 if own is None else own, 0).astype(kind.dtype)
            arrays = arrays_of(start, factors, rest)
            function = self._of_grads if by else self._of_value
            numbers = rest["numbers"][1 if by else 0]
            value, grads, _ = function(arrays, numbers, own, rest["divisor"])
            if not by:
                return value, {}
            (g,) = grads
            if columns is not None:
                x, y = of_columns(start, first, arrays["x"])
                params = {**kind.static, **rest["params"], **rest["all"]}
                other = columns.slope(x, y, **params, **columns.numbers(*known)).grad_x()
                other = other * scale_of_columns[:, None]
                g = 0.5 * (g + jnp.where(scale_of_columns[:, None] == 0, 0, other).T)
            elif own is not None:  # what is left out may be NaN
                keep = own != 0
                keep = keep[:, None] if kind.rowwise else keep.any(axis=-1, keepdims=True)
                h = jnp.where(keep, h, 0)
            pulled = None
            if {"h", "scale"} & {*by}:
                pulled = g if w is None else self._product(g, w, self._axis)
            return value, self._of_rows(by, factors, h, pulled) | self._of_classes(
                by, factors, h, g
            )

        @partial(jax.checkpoint, prevent_cse=False)
        def block_in_parts(
            start: Any, first: Any, factors: Arrays, rest: Arrays, weight: Any, found: Arrays
        ) -> Any:
            """Return the value of a block, and the gradients so far with what it adds to these."""
            h, own = cut(factors["h"], start), jnp.ones(rows, dtype)
            y = cut(rest["rows"]["y"], start)
            if weight is not None:
                own = jnp.broadcast_to(cut(weight, start), (rows,)).astype(dtype)
            own = jnp.where(start + jnp.arange(rows) >= first, own, 0)
            keep = own != 0
            # what is left out may be NaN
            h = jnp.where(keep[:, None], h, 0)
            y = jnp.where(keep if y.ndim == 1 else keep[:, None], y, 0)
            if kind.unchecked is not None:
                own = jnp.where(kind.unchecked.holds(y, classes), own, jnp.nan)
            whole = RowsInParts(
                kind,
                lambda at: self._scores(h, self._some(factors, at)),
                y,
                {**rest["params"], **rest["all"]},
                classes,
                self._part,
            )
            known, divisor = whole.seen(rows), rest["divisor"]
            value = jnp.where(keep, own * whole.loss(known), 0).astype(self._wide)
            if kind.reduce:
                value = jnp.sum(value) / (1.0 if divisor is None else divisor)
            if not by:
                return value, found
            own = (own if divisor is None else own / divisor)[:, None]

            def of_part(carry: Any, number: Any) -> Any:
                pulled, found = carry
                some = whole.part(number)
                g = jnp.where(keep[:, None], own * whole.slope(known, some), 0).astype(dtype)
                if pulled is not None:
                    w = self._some(factors, some.start)["w"]
                    pulled = pulled + self._product(g, w, self._axis)
                for name, grad in self._of_classes(by, factors, h, g).items():
                    axis = self._axis if name == "w" else 0
                    if grad.ndim:
                        grad = grad + lax.dynamic_slice_in_dim(
                            found[name], some.start, self._part, axis
                        )
                        grad = lax.dynamic_update_slice_in_dim(found[name], grad, some.start, axis)
                    else:
                        grad = found[name] + grad
                    found = {**found, name: grad}
                return (pulled, found), None

            pulled = jnp.zeros(h.shape, dtype) if {"h", "scale"} & {*by} else None
            (pulled, found), _ = lax.scan(of_part, (pulled, found), whole.numbers)
            for name, grad in self._of_rows(by, factors, h, pulled).items():
                added = put(found["h"], grad, start, first) if name == "h" else found[name] + grad
                found = {**found, name: added}
            return value, found

        def step(carry: Any, number: Any) -> Any:
            value, found = carry
            first = number * rows
            start = jnp.minimum(first, count - rows)
            grads: Arrays = {}
            if self._part < classes:
                of_block, found = block_in_parts(start, first, factors, rest, weight, found)
            else:
                of_block, grads = block(start, first, factors, rest, weight, known)
            if kind.reduce:
                value = value + of_block
            else:
                before = 0 if columns is None else cut(value, start)
                value = put(value, before + of_block, start, first)
            for name, grad in grads.items():
                if name == "h":
                    found = {**found, "h": put(found["h"], grad, start, first)}
                else:
                    found = {**found, name: found[name] + grad}
            return (value, found), None

        def put(whole: Any, part: Any, start: Any, first: Any) -> Any:
            if blocks * rows != count:
                new = (start + jnp.arange(rows) >= first).reshape(-1, *[1] * (part.ndim - 1))
                part = jnp.where(new, part, lax.dynamic_slice_in_dim(whole, start, rows))
            return lax.dynamic_update_slice_in_dim(whole, part, start, axis=0)

        items = (count,) if kind.rowwise and kind.formula.per_item else (count, classes)
        start = {
            "h": lambda: jnp.zeros(h.shape, dtype),
            "w": lambda: jnp.zeros(factors["w"].shape, dtype),
            "bias": lambda: jnp.zeros(factors["bias"].shape, dtype),
            "scale": lambda: jnp.zeros((), dtype),
        }
        value = jnp.zeros(() if kind.reduce else items, self._wide)
        known: Any = ()
        scale_of_columns: Any = None
        if columns is not None:
            known = tuple([jnp.full(count, start, dtype) for start in columns.start.values()])
            known, _ = lax.scan(look, known, jnp.arange(blocks))
            own = jnp.ones(count, dtype) if weight is None else weight
            each = columns.loss(*known)
            of_each = jnp.where(own == 0, 0, each * own).astype(self._wide)
            divisor = 1.0 if rest["divisor"] is None else rest["divisor"]
            value = value + (jnp.sum(of_each) / divisor if kind.reduce else of_each)
            scale_of_columns = (own / divisor).astype(dtype)
        carry = (value, {name: start[name]() for name in by})
        if blocks == 1:
            (value, grads), _ = step(carry, 0)
        else:
            (value, grads), _ = lax.scan(step, carry, jnp.arange(blocks))
        return value if columns is None else 0.5 * value, grads


def _is_moving(move: Any) -> bool:
    return (
        not isinstance(move, SymbolicZero)
        and getattr(move, "dtype", None) != float0
        and move is not None
    )
