"""A recorded program run on arrays of a library: items first, the classes last."""

from collections.abc import Mapping
from typing import Any

from tinyloss._program import Node, Program, one_class
from tinyloss._rows import Rows
from tinyloss.typing import Namespace

__all__ = ["Evaluation", "row_numbers", "run"]


def run(program: Program, xp: Namespace, arrays: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return a program's outputs."""
    evaluation = Evaluation(program, xp, arrays)
    return tuple([evaluation.output(node) for node in program.outputs])


class Evaluation:
    """One run of a program: a node is computed when it is asked for, and once.

    Between the nodes of a program of rows, numbers of a row have a last dimension of length 1.
    """

    def __init__(
        self,
        program: Program,
        xp: Namespace,
        arrays: Mapping[str, Any],
        rows: Rows | None = None,
        known: Mapping[int, Any] | None = None,
    ) -> None:
        self._xp, self._arrays = xp, arrays
        self._x = next(iter(arrays.values()))
        self._rowwise = any(varies.per_class for varies in program.inputs.values())
        self._rows = Rows(xp, self._x) if rows is None else rows
        self._results = dict(known or {})

    def __call__(self, node: Node) -> Any:
        """Return the result of a node."""
        try:
            return self._results[id(node)]
        except KeyError:
            result = self._results[id(node)] = self._compute(node)
            return result

    def output(self, node: Node) -> Any:
        """Return the result of a node in its own shape: of the items, or of items and classes."""
        result = self(node)
        if node.op == "constant" or not node.per_item:
            result = self._xp.zeros_like(self._x) + result
        one_each = self._rowwise and node.per_item and not node.per_class
        return result[..., 0] if one_each else result

    def _compute(self, node: Node) -> Any:
        xp = self._xp
        if node.op == "input":
            array = self._arrays[node.constant]
            return array[..., None] if self._rowwise and not node.per_class else array
        if node.op == "constant":
            return node.constant
        if node.op == "class_index":
            return self._rows.index()
        if node.op == "classes":
            return self._rows.length()
        if node.op in ("max", "sum"):
            return self._reduced(node)
        args = [self(arg) for arg in node.args]
        if all(arg.op == "constant" for arg in node.args):
            args[0] = xp.full_like(self._x[..., :1] if self._rowwise else self._x, args[0])
        return getattr(xp, node.op)(*args)

    def _reduced(self, node: Node) -> Any:
        (arg,) = node.args
        picked = one_class(arg) if node.op == "sum" else None
        if picked is not None and picked[0].op != "constant":
            value, index = picked
            return self._rows.pick(self(value), self(index))
        values = self(arg)
        if arg.op == "constant":
            values = self._xp.full_like(self._x, values)
        return getattr(self._rows, node.op)(values)


def row_numbers(outputs: list[Node]) -> list[Node]:
    """Return the numbers of each row that outputs are computed from, besides the inputs.

    Known these, what an output is for a class follows from the inputs' numbers for that class.
    """
    found: dict[int, Node] = {}
    seen: set[int] = set()

    def visit(node: Node) -> None:
        if id(node) in seen or node.op in ("input", "constant", "classes"):
            return
        seen.add(id(node))
        if node.per_item and not node.per_class:
            found[id(node)] = node
            return
        for arg in node.args:
            visit(arg)

    for output in outputs:
        visit(output)
    return list(found.values())
