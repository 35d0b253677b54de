"""Running a program on a library's arrays, without compiling it: items first, classes last."""

from collections.abc import Mapping, Sequence
from typing import Any

from tinyloss.backend import Rows
from tinyloss.compiler.program import ALONG, Node, Program, in_order, inside, needed_of, one_class
from tinyloss.compiler.recorder import Symbol
from tinyloss.typing import Namespace

__all__ = ["Evaluation", "row_numbers", "run"]


def run(program: Program, xp: Namespace, arrays: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return a program's outputs."""
    evaluation = Evaluation(program, xp, arrays, wanted=program.outputs)
    return tuple([evaluation.output(node) for node in program.outputs])


class Evaluation:
    """One run of a program: each node is computed when it is needed, once.

    In a program of rows, a result of one number for each row has a last dimension of length 1.
    """

    def __init__(
        self,
        program: Program,
        xp: Namespace,
        arrays: Mapping[str, Any],
        rows: Rows | None = None,
        known: Mapping[int, Any] | None = None,
        wanted: Sequence[Node] = (),
    ) -> None:
        """Take what a run has; sums over pairs that `wanted` nodes need are computed together."""
        self._xp, self._arrays = xp, arrays
        self._x = next(iter(arrays.values()))
        self._rowwise = any(varies.per_class for varies in program.inputs.values())
        self._rows = Rows(xp, self._x) if rows is None else rows
        self._results = dict(known or {})
        self._pairs = [node for node in in_order(wanted) if node.op == "pair_sum"]

    def __call__(self, node: Node) -> Any:
        """Return the result of a node."""
        for each in in_order([node], self._needed):
            if id(each) in self._results:
                continue
            if each.op == "pair_sum" and not isinstance(self._x, Symbol):
                self._add_pairs(each)
            else:
                self._results[id(each)] = self._compute(each)
        return self._results[id(node)]

    def output(self, node: Node) -> Any:
        """Return the result of a node in its own shape: of the items, or of items and classes."""
        result = self(node)
        if node.op == "constant" or not node.per_item:
            result = self._xp.zeros_like(self._x) + result
        one_each = self._rowwise and node.per_item and not node.per_class
        return result[..., 0] if one_each else result

    def _needed(self, node: Node) -> Sequence[Node]:
        """Return the nodes that a node is computed from, none if its result is known."""
        if id(node) in self._results:
            return ()
        if node.op == "pair_sum" and not isinstance(self._x, Symbol):
            return (*needed_of(node), *_there([node]).values())
        return self._gathered(node) or node.args

    def _add_pairs(self, first: Node) -> None:
        """Compute a sum over pairs, and with it all for which as much is known."""
        nodes = [first]
        for node in self._pairs:
            known = all(id(each) in self._results for each in self._needed(node))
            if node is not first and id(node) not in self._results and known:
                nodes.append(node)
        own = {id(each): each for node in nodes for each in needed_of(node)}
        there = _there(nodes)
        held = {at: self._results[at] for at in (*own, *map(id, there.values()))}
        arrays = {at: each for at, each in held.items() if getattr(each, "shape", ())}
        here = [at for at in own if at in arrays]
        others = [at for at, node in there.items() if id(node) in arrays]

        def of_pairs(one: Sequence[Any], other: Sequence[Any]) -> list[Any]:
            results = {at: held[at] for at in own} | {
                at: held[id(node)] for at, node in there.items()
            }
            results |= dict(zip(here, one, strict=True)) | dict(zip(others, other, strict=True))
            for node in inside(nodes):
                if id(node) not in results:
                    args = [results[id(arg)] for arg in node.args]
                    first = 1 if node.op == "where" else 0  # Python numbers alone have no dtype
                    if all(isinstance(arg, (int, float)) for arg in args[first:]):
                        args[first] = self._xp.full_like(self._x[..., :1, None], args[first])
                    results[id(node)] = getattr(self._xp, node.op)(*args)
            return [results[id(node.args[0])] for node in nodes]

        found = self._rows.over_pairs(
            of_pairs, [arrays[at] for at in here], [arrays[id(there[at])] for at in others]
        )
        self._results |= dict(zip(map(id, nodes), found, strict=True))

    def _gathered(self, node: Node) -> tuple[Node, Node] | None:
        """Return the input and the class's index, if a sum is a gather (see `one_class`)."""
        picked = one_class(node.args[0]) if node.op == "sum" else None
        if picked is None or picked[0].op == "constant" or isinstance(self._x, Symbol):
            return None
        return picked

    def _compute(self, node: Node) -> Any:
        xp = self._xp
        if node.op == "input":
            array = self._arrays[node.constant]
            one_each = self._rowwise and node.per_item and not node.per_class
            return array[..., None] if one_each else array
        args = [self._results[id(arg)] for arg in self._needed(node)]
        if isinstance(self._x, Symbol):
            # by nodes, not by results: what varies by nothing stays a number of the program
            grafted = self._x.graph.graft(node, [arg.node for arg in args])
            return Symbol(self._x.graph, grafted, last=self._rowwise)
        if node.op == "constant":
            return node.constant
        if node.op == "class_index":
            return self._rows.index()
        if node.op == "classes":
            return self._rows.length()
        if self._gathered(node) is not None:
            return self._rows.pick(*args)
        wide = [arg for arg in node.args if arg.per_class]
        if wide and all(arg.op == "constant" for arg in wide):
            # one number for each class, or a sum would count the number once
            at = node.args.index(wide[0])
            args[at] = xp.full_like(self._x, args[at])
        if node.op in ("max", "sum"):
            return getattr(self._rows, node.op)(*args)
        if node.op in ALONG:
            return self._rows.along(node.op, *args)
        first = 1 if node.op == "where" else 0  # Python numbers alone have no dtype
        if all(isinstance(arg, (int, float)) for arg in args[first:]):
            args[first] = xp.full_like(self._x[..., :1] if self._rowwise else self._x, args[first])
        return getattr(xp, node.op)(*args)


def _there(sums: Sequence[Node]) -> dict[int, Node]:
    """Return what sums over pairs read at the other class, by the nodes that it is there."""
    return {id(node): node.args[0] for node in inside(sums) if node.op == "other"}


def row_numbers(outputs: list[Node]) -> list[Node]:
    """Return the numbers of a row that outputs are computed from, inputs excepted.

    With these known, an output at a class needs only the inputs at that class.
    """

    def is_one(node: Node) -> bool:
        varies = node.per_class or node.per_other
        return node.per_item and not varies and node.op not in ("input", "constant")

    nodes = in_order(outputs, lambda node: () if is_one(node) else node.args)
    return [node for node in nodes if is_one(node)]
