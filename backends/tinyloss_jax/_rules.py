"""A loss's value, gradients and curvature as one function, with the rule to differentiate it.

The value's derivative is the loss's closed form: JAX, differentiating the lines of an accurate
value, would lose every digit in the tails. As a rule for tangents it serves forward and reverse
mode alike, and differentiated again it gives Hessians. Gradients and curvature are differentiated
line by line.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from tinyloss._evaluation import Evaluation, row_numbers
from tinyloss._formula import Formula
from tinyloss._program import Input, Node, record
from tinyloss_jax._rows import SplitRows, WholeRows

__all__ = ["parts_of"]

Parts = tuple[Any, ...]


def parts_of(
    formula: type[Formula],
    params: Mapping[str, Any],
    inputs: Mapping[str, Input],
    asked: Sequence[str],
    dtype: Any,
    axis_name: Any,
) -> Callable[..., Parts]:
    """Return the function of a formula's arrays that returns the parts that are asked for."""
    closed = {name: f"grad_{name}" for name in inputs if hasattr(formula, f"grad_{name}")}
    closed = {name: grad for name, grad in closed.items() if not inputs[name].integer}
    names = list(dict.fromkeys([*asked, *(closed.values() if "value" in asked else ())]))

    def methods(**symbols: Any) -> Parts:
        loss = formula(**symbols, **params)
        return tuple([getattr(loss, name)() for name in names])

    program = record(methods, inputs, dtype=jnp.dtype(dtype).name)
    nodes = dict(zip(names, program.outputs, strict=True))
    rowwise = formula.rowwise

    def evaluation(arrays: Mapping[str, Any], known: Mapping[int, Any] | None = None) -> Any:
        wide = {
            name: array if inputs[name].integer else array.astype(dtype)
            for name, array in arrays.items()
        }
        rows = WholeRows(jnp, wide["x"]) if axis_name is None else SplitRows(wide["x"], axis_name)
        return rows, Evaluation(program, jnp, wide, rows, known)

    def outputs(wanted: Sequence[str], arrays: Mapping[str, Any]) -> Parts:
        _, evaluate = evaluation(arrays)
        return tuple([evaluate.output(nodes[name]) for name in wanted])

    def parts(arrays: dict[str, Any]) -> Parts:
        return outputs(asked, arrays)

    def rule(primals: Any, tangents: Any) -> tuple[Parts, Parts]:
        (arrays,), (moves,) = primals, tangents
        moving = {n: move for n, move in moves.items() if not isinstance(move, SymbolicZero)}
        _, evaluate = evaluation(arrays)
        results = tuple([evaluate.output(nodes[name]) for name in asked])
        by_lines = [name for name in asked if name != "value"]
        along = dict(
            zip(by_lines, _pushed(partial(outputs, by_lines), arrays, moving), strict=True)
        )
        if "value" in asked:
            others = {name: move for name, move in moving.items() if name not in closed}
            slopes = {name: move for name, move in moving.items() if name in closed}
            shares = [*_pushed(partial(outputs, ["value"]), arrays, others)] if others else []
            if slopes:
                grads = {name: nodes[closed[name]] for name in slopes}
                numbers = row_numbers([*grads.values()]) if rowwise else []
                known = {id(node): evaluate(node) for node in numbers}
                shares.append(_closed(grads, arrays, known, slopes))
            along["value"] = sum(shares[1:], shares[0])
        return results, tuple([along[name] for name in asked])

    def _closed(
        grads: Mapping[str, Node],
        arrays: Mapping[str, Any],
        known: Mapping[int, Any],
        slopes: Mapping[str, Any],
    ) -> Any:
        """Return the value's tangent.

        What reverse mode keeps for it are the inputs, which are there anyway, and the numbers of
        the rows: the gradient, as large as the logits, is computed when it is needed.
        """

        @partial(jax.checkpoint, prevent_cse=False)
        def tangent(arrays: Any, known: list[Any], slopes: Any) -> Any:
            rows, evaluate = evaluation(arrays, dict(zip(ids, known, strict=True)))
            terms = [
                evaluate.output(node) * slopes[name].astype(dtype) for name, node in grads.items()
            ]
            total = sum(terms[1:], terms[0])
            return rows.sum(total)[..., 0] if rowwise else total

        ids = [*known]
        return tangent(arrays, [*known.values()], slopes)

    function: Any = jax.custom_jvp(parts)
    function.defjvp(rule, symbolic_zeros=True)
    return function  # type: ignore[no-any-return]


def _pushed(
    function: Callable[[dict[str, Any]], Parts],
    arrays: Mapping[str, Any],
    moves: Mapping[str, Any],
) -> Parts:
    """Return the tangents of a function's results, where some of its arrays move."""

    def of_those(moved: dict[str, Any]) -> Parts:
        return function({**arrays, **moved})

    _, along = jax.jvp(of_those, ({name: arrays[name] for name in moves},), ({**moves},))
    return tuple(along)
