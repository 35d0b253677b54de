"""A loss's value, gradients and curvature as one function, with the rule to differentiate it.

The value's derivative is the loss's closed form: JAX, differentiating the lines of an accurate
value, would lose every digit in the tails. As a rule for tangents it serves forward and reverse
mode alike, and differentiated again it gives Hessians. Gradients are differentiated line by line,
but for that of an item by itself, whose derivative is the curvature.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from functools import partial
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_derivatives import SymbolicZero

from tinyloss.backend import ITEM, NUMBER, Kind, Rows, of_rank
from tinyloss.compiler.evaluation import Evaluation, row_numbers
from tinyloss.compiler.kernels import asked_of, record_parts, roles_of
from tinyloss.compiler.numbers import Numbers, on_host
from tinyloss.compiler.program import Node
from tinyloss_jax._namespace import xp
from tinyloss_jax._rows import SplitRows, WholeRows

Parts = tuple[Any, ...]

_BLOCK = 2**20
"""Numbers of a block of rows: 4 MiB in float32, which stay in a processor's cache."""


class Asked:
    """Parts that are asked of a formula, as a function with the rule to differentiate it."""

    asked: Sequence[str]
    function: Callable[[dict[str, Any]], Parts]
    """From the formula's arrays to the parts."""

    def ask(self, asked: Sequence[str]) -> None:
        """Make the function of these parts."""
        self.asked = asked
        function: Any = jax.custom_jvp(self.primal(asked))
        function.defjvp(self.rule, symbolic_zeros=True)
        self.function = function

    def asking(self, asked: Sequence[str]) -> Self:
        """Return the same for other parts, of those that this knows."""
        if asked == self.asked:
            return self
        other = copy(self)
        other.ask(asked)
        return other

    def primal(self, asked: Sequence[str]) -> Callable[[dict[str, Any]], Parts]:
        """Return the function of the parts, without its rule."""
        return partial(self.parts, asked)

    def parts(self, names: Sequence[str], arrays: dict[str, Any]) -> Parts:
        """Return parts of the formula."""
        raise NotImplementedError

    def rule(self, primals: Any, tangents: Any) -> tuple[Parts, Parts]:
        """Return the parts that are asked for and their tangents."""
        raise NotImplementedError


class Rule(Asked):
    """The parts that are asked of a formula, and the program of these and of their derivatives."""

    def __init__(self, kind: Kind) -> None:
        formula = kind.formula
        inputs = roles_of(kind)
        asked = asked_of(kind)
        self._inputs, self._dtype = inputs, kind.dtype
        self._axis_name, self._rowwise = kind.axis_name, kind.rowwise
        gradients = {
            name: f"grad_{name}"
            for name, role in inputs.items()
            if "value" in asked and hasattr(formula, f"grad_{name}") and not role.integer
        }
        self._curved = (
            formula.exact_curvature
            and not formula.rowwise
            and "x" in inputs
            and hasattr(formula, "grad_x")
        )
        """Whether the second derivative by x is the curvature, item by item."""
        closed = [*gradients.values(), *(["curvature"] if self._curved else [])]
        names = list(dict.fromkeys([*asked, *closed]))

        self._program = record_parts(kind, names, jnp.dtype(kind.dtype).name)
        self._nodes = dict(zip(names, self._program.outputs, strict=True))
        held = {name for name, role in roles_of(kind).items() if role == NUMBER}
        self._known = on_host(self._program, held)
        self._numbers = Numbers(self._known, np)
        self._closed = {name: self._nodes[grad] for name, grad in gradients.items()}
        """The closed-form gradients, by their arguments."""
        self._slope: Any = jax.custom_jvp(self._slope_by_lines)
        self._slope.defjvp(self._slope_rule, symbolic_zeros=True)
        self.ask(asked)

    def primal(self, asked: Sequence[str]) -> Callable[[dict[str, Any]], Parts]:
        """Return the function of the parts, without its rule."""
        alone = asked == ["value"] and self._rowwise and self._axis_name is None
        return self._by_blocks if alone else super().primal(asked)

    def numbers(self, given: Mapping[str, float], classes: int) -> dict[str, float]:
        """Return what the parts take as numbers beside the arrays."""
        return {f"={n}": number for n, number in enumerate(self._numbers(given, classes))}

    def parts(self, names: Sequence[str], arrays: dict[str, Any]) -> Parts:
        """Return parts of the formula."""
        evaluate, _ = self._evaluation(arrays, wanted=names)
        return tuple([self._part(name, evaluate, arrays) for name in names])

    def _by_blocks(self, arrays: dict[str, Any]) -> Parts:
        """Return the values of rows, block after block where XLA would leave the cache.

        On the CPU it writes an array as large as the rows between a choice and a sum.
        """
        x = arrays["x"]
        rows = _block(x)
        if rows is None:
            return self.parts(self.asked, arrays)
        split = {
            name
            for name, role in self._inputs.items()
            if role.per_item
            and arrays[name].ndim == x.ndim - (not role.per_class)
            and arrays[name].shape[0] == x.shape[0]
        }

        def block(number: Any, values: Any) -> Any:
            # the last one goes over some rows again
            first = jnp.minimum(number * rows, x.shape[0] - rows)
            some = {name: lax.dynamic_slice_in_dim(arrays[name], first, rows) for name in split}
            (value,) = self.parts(self.asked, {**arrays, **some})
            return lax.dynamic_update_slice_in_dim(values, value, first, 0)

        values = jnp.zeros(x.shape[:-1], self._dtype)
        return (lax.fori_loop(0, -(-x.shape[0] // rows), block, values),)

    def _part(self, name: str, evaluate: Evaluation, arrays: dict[str, Any]) -> Any:
        if name == "grad_x" and self._curved:
            return self._slope(arrays)
        return evaluate.output(self._nodes[name])

    def _slope_by_lines(self, arrays: dict[str, Any]) -> Any:
        evaluate, _ = self._evaluation(arrays)
        return evaluate.output(self._nodes["grad_x"])

    def _slope_rule(self, primals: Any, tangents: Any) -> tuple[Any, Any]:
        """Return the gradient by x and its tangent, by the closed form where x moves."""
        (arrays,), (all_moves,) = primals, tangents
        moves = moving(all_moves)
        evaluate, _ = self._evaluation(arrays)
        shares: list[Any] = []
        if "x" in moves:
            move = moves.pop("x").astype(self._dtype)
            shares.append(evaluate.output(self._nodes["curvature"]) * move)
        if moves:
            shares.append(pushed(self._slope_by_lines, arrays, moves))
        return evaluate.output(self._nodes["grad_x"]), sum(shares[1:], shares[0])

    def rule(self, primals: Any, tangents: Any) -> tuple[Parts, Parts]:
        """Return the parts that are asked for and their tangents."""
        (arrays,), (all_moves,) = primals, tangents
        moves = moving(all_moves)
        evaluate, _ = self._evaluation(arrays, wanted=self.asked)
        parts = tuple([self._part(name, evaluate, arrays) for name in self.asked])
        names = [name for name in self.asked if name != "value"]
        along = dict(zip(names, pushed(partial(self.parts, names), arrays, moves), strict=True))
        if "value" in self.asked:
            others = {name: move for name, move in moves.items() if name not in self._closed}
            value = partial(self.parts, ["value"])
            shares = [*pushed(value, arrays, others)] if others else []
            if len(others) < len(moves):
                closed = {name: move for name, move in moves.items() if name in self._closed}
                shares.append(self._along_gradients(evaluate, arrays, closed))
            along["value"] = sum(shares[1:], shares[0])
        return parts, tuple([along[name] for name in self.asked])

    def _along_gradients(
        self, evaluate: Evaluation, arrays: dict[str, Any], moves: Mapping[str, Any]
    ) -> Any:
        """Return the value's tangent where arguments with closed-form gradients move.

        What reverse mode keeps for it are the inputs, which are there anyway, and the numbers of
        the rows: the gradient, as large as the logits, is computed when it is needed.
        """
        gradients = {name: self._closed[name] for name in moves}
        numbers = row_numbers([*gradients.values()]) if self._rowwise else []

        @partial(jax.checkpoint, prevent_cse=False)
        def tangent(arrays: Any, known: list[Any], moves: Any) -> Any:
            evaluate, rows = self._evaluation(arrays, zip(numbers, known, strict=True))
            terms: dict[bool, Any] = {}  # of classes, and of items
            for name in gradients:
                slope = self._part(f"grad_{name}", evaluate, arrays)
                term = slope * moves[name].astype(self._dtype)
                of_classes = self._rowwise and self._inputs[name].per_class
                terms[of_classes] = term + terms[of_classes] if of_classes in terms else term
            if True in terms:
                terms[True] = rows.sum(terms[True])[..., 0]
            first, *others = terms.values()
            return sum(others, first)

        return tangent(arrays, [evaluate(node) for node in numbers], moves)

    def _evaluation(
        self,
        arrays: Mapping[str, Any],
        known: Iterable[tuple[Node, Any]] = (),
        wanted: Sequence[str] = (),
    ) -> tuple[Evaluation, Rows]:
        wide = {
            name: arrays[name] if role.integer else arrays[name].astype(self._dtype)
            for name, role in self._inputs.items()
        }
        x = wide["x"]
        # by our hand: whoever set jax_numpy_rank_promotion="raise" means his own mistakes
        wide = {
            name: array
            if self._inputs[name].integer
            else of_rank(jnp, array, x.ndim - (self._rowwise and self._inputs[name] == ITEM))
            for name, array in wide.items()
        }
        rows = WholeRows(jnp, x) if self._axis_name is None else SplitRows(x, self._axis_name)
        numbers = {id(node): arrays[f"={n}"] for n, node in enumerate(self._known)}
        results = numbers | {id(node): result for node, result in known}
        together = [self._nodes[name] for name in wanted]
        return Evaluation(self._program, xp, wide, rows, results, together), rows


def _block(x: Any) -> int | None:
    """Return how many rows, by the first dimension, go at once; None for all.

    Where there may be several devices, all: they work at the same time, each on rows of its own.
    """
    if x.ndim < 2 or not all(isinstance(n, int) for n in x.shape):
        return None
    rows = max(1, int(_BLOCK * x.shape[0] / x.size))
    if x.size < 4 * _BLOCK or rows > x.shape[0] // 2:
        return None
    return rows if jax.default_backend() == "cpu" and jax.device_count() == 1 else None


def moving(moves: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tangents of what moves."""
    return {name: move for name, move in moves.items() if not isinstance(move, SymbolicZero)}


def pushed(
    function: Callable[[dict[str, Any]], Any], arrays: dict[str, Any], moves: Mapping[str, Any]
) -> Any:
    """Return the tangent of what a function returns, where some of its arrays move."""

    def of_those(moved: dict[str, Any]) -> Any:
        return function({**arrays, **moved})

    _, along = jax.jvp(of_those, ({name: arrays[name] for name in moves},), ({**moves},))
    return along
