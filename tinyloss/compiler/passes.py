"""A program as passes: loops over the classes of a row. And the text of each line.

The number of passes is one more than the longest chain of reductions that need each other.
Log-sum-exp needs the maximum before the sum, and the sum before the gradient: three passes. Pass k
finishes the reductions that depend on k others. Numbers of the whole row are computed between
passes. Outputs of each class are written in the last pass, when all inputs have been read, so they
may overwrite them.

What sorts a row or joins its parts takes and makes numbers of each class in memory. It is done
before a pass, of what earlier ones have stored. What reads a row at other places, reads these.

A sum over pairs is a loop over the other class of each, inside such a pass. What it reads of the
other class is an input, or was stored by an earlier pass. No pass with such a sum writes outputs.

The text of a line is the same for every language with infix operators and function calls. Loops,
declarations and the functions' definitions belong to the backends.

A formula's names never clash with a backend's own. The name of an input ends in an underscore and
the input's number: x_0, y_1. Nodes are numbered from there on: t8, max_9. A backend adds words to
such a name: x_0_row, load_x_0. Its own names have no underscore before a number.
"""

import math
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from tinyloss.compiler.factors import SCALED
from tinyloss.compiler.numbers import INFIX, KNOWN
from tinyloss.compiler.program import (
    ALONG,
    COMPARISONS,
    VIEWS,
    Node,
    Program,
    in_order,
    inside,
    is_whole,
    needed_of,
    one_class,
)
from tinyloss.compiler.ranges import NARROW

__all__ = [
    "Pass",
    "Passes",
    "has_memory",
    "kind_of",
    "levels_of",
    "reduces",
    "spelled",
    "stage",
]

# Storing the result of one of these and reading it back costs less than computing it again.
_COSTLY = frozenset(
    (
        *"cos cosh divide exp expm1 log log1p pair_sum pow sin sinh sqrt tanh".split(),
        *NARROW,
        SCALED,
    ),
)


@dataclass(slots=True)
class Pass:
    """One loop over the classes of a row, and the scalars computed before it."""

    scalars: list[Node] = field(default_factory=list[Node])
    """Computed for each item before the loop, in this order."""
    along: list[Node] = field(default_factory=list[Node])
    """Sorted or joined before the loop, in this order."""
    read: list[Node] = field(default_factory=list[Node])
    """Stored by an earlier pass, read back in this one."""
    elements: list[Node] = field(default_factory=list[Node])
    """Computed for each class, in this order."""
    keep: list[Node] = field(default_factory=list[Node])
    """Those of the elements that a later pass reads back."""
    others: list[Node] = field(default_factory=list[Node])
    """Stored by an earlier pass, read at the other class of each pair."""
    reductions: list[Node] = field(default_factory=list[Node])
    """Maxima and sums over the classes, known after the loop."""

    @property
    def pairs(self) -> list[Node]:
        """Sums over pairs, among the elements."""
        return [node for node in self.elements if node.op == "pair_sum"]

    def in_turn(self) -> Iterator[list[Node]]:
        """Yield the elements one by one, but sums over pairs that one loop can add up."""
        together: list[Node] = []
        for node in self.elements:
            needs = {id(arg) for arg in needed_of(node)}
            if together and (node.op != "pair_sum" or needs & {id(each) for each in together}):
                yield together
                together = []
            if node.op == "pair_sum":
                together.append(node)
            else:
                yield [node]
        if together:
            yield together


@dataclass(slots=True)
class Passes:
    """A staged program."""

    program: Program
    uniform: list[Node]
    """Computed once for all items."""
    passes: list[Pass]
    """The last one's loop writes the outputs of each class."""
    final: list[Node]
    """Computed for each item after the last loop."""
    gathers: dict[int, tuple[Node, Node]]
    """Sums that read an input at one class of each item: the input and the class's index."""
    names: dict[int, str]

    @property
    def kept(self) -> list[Node]:
        """What passes keep for later ones, a number for each class."""
        return [node for step in self.passes for node in step.keep]

    def name(self, node: Node) -> str:
        """Return the name of a node's result, or the text of a number."""
        if node.op == "constant":
            return _number(node.constant)
        return self.names[id(node)]

    def as_real(self, node: Node) -> str:
        """Return the text of a node's result as a number."""
        name = self.name(node)
        if node.op == "constant":
            return name
        kind = kind_of(node)
        if kind == "bool":
            return f"where({name}, real(1.0), real(0.0))"
        return name if kind == "real" else f"real({name})"

    def text(self, node: Node) -> str:
        """Return the expression that computes a node from its arguments' names."""
        args = [self._argument(node, arg) for arg in node.args]
        if node.op in INFIX:
            return f"{args[0]} {INFIX[node.op]} {args[1]}"
        if node.op == "negative":
            return f"-{args[0]}"
        if node.op == "pow" and node.args[1].op == "constant":
            # as pow rounds, or closer
            if node.args[1].constant == 2:
                return f"{args[0]} * {args[0]}"
            if node.args[1].constant == -1:
                return f"{_number(1.0)} / {args[0]}"
        return f"{node.op}({', '.join(args)})"

    def _argument(self, node: Node, arg: Node) -> str:
        if arg.op == "constant" and (node.integer or _compares_indices(node)):
            return f"index({int(arg.constant)})"
        return f"real({self.name(arg)})" if _as_real(node, arg) else self.name(arg)


def kind_of(node: Node) -> str:
    """Return what a node's result is: "real", "index" (of a class) or "bool"."""
    if node.boolean:
        return "bool"
    return "index" if node.integer else "real"


def _as_real(node: Node, arg: Node) -> bool:
    """Return whether an argument that is an index must become a real number first."""
    if not arg.integer:
        return False
    return not _compares_indices(node) and not node.integer


def _compares_indices(node: Node) -> bool:
    """Return whether a node compares indices with each other or with whole numbers."""
    return (
        node.op in COMPARISONS
        and any(a.integer for a in node.args)
        and all(a.integer or is_whole(a) for a in node.args)
    )


def _number(value: object) -> str:
    if isinstance(value, bool):
        return str(int(value))
    assert isinstance(value, (int, float))
    if value != value:
        return "nan"
    if value in (math.inf, -math.inf):
        return "inf" if value > 0 else "-inf"
    return f"real({float(value)!r})"


def stage(program: Program, *, keep: bool = True) -> Passes:
    """Split a program into passes over a row.

    Without `keep` no pass stores results of each class for a later one. Each pass computes them
    again from the inputs, because the backend has no memory for them.
    """
    nodes = program.nodes()
    gathers = {id(n): pick for n in nodes if (pick := _gathered(n)) is not None}
    level = levels_of(nodes, gathers)
    pairs = [n for n in nodes if n.op == "pair_sum"]
    stored = {id(n.args[0]): n.args[0] for n in inside(pairs) if n.op == "other" and _is_stored(n)}
    """What is read at the other class of a pair."""
    along = [n for n in nodes if n.op in ALONG]
    stored |= {id(a): a for n in along for a in n.args if not has_memory(a)}
    per_class = [n for n in program.outputs if n.per_class]
    last = max(
        [level[id(n.args[0])] for n in nodes if reduces(n) and id(n) not in gathers]
        + [level[id(n)] for n in (*per_class, *along)]
        + [level[id(n)] + bool(per_class) for n in pairs],
        default=-1,
    )
    passes = [Pass() for _ in range(last + 1)]
    staged = Passes(program, [], passes, [], gathers, _names(program.inputs, nodes))

    costly: dict[int, bool] = {}
    for node in nodes:
        args = [a for a in node.args if a.per_class]
        costly[id(node)] = keep and (node.op in _COSTLY or any(costly[id(a)] for a in args))
    needed: dict[int, Node] = {}
    computed: set[int] = set()
    for number in range(last + 1):
        step = passes[number]
        step.along = [n for n in along if n.op not in VIEWS and level[id(n)] == number]
        step.reductions = [
            n for n in nodes if reduces(n) and id(n) not in gathers and level[id(n)] == number + 1
        ]
        roots = [n.args[0] for n in step.reductions]
        roots += [n for n in (*stored.values(), *pairs) if level[id(n)] == number]
        if number == last:
            roots += per_class
        _collect(step, roots, computed, costly, needed)
        computed.update(id(n) for n in step.elements)
        if pairs:
            step.elements = _in_turn(step)
    for arg in {id(a): a for n in along for a in n.args if id(a) in stored}.values():
        next(p for p in passes if arg in (*p.elements, *p.read)).keep.append(arg)
    for step in passes:
        there = {id(n.args[0]) for n in inside(step.pairs) if n.op == "other"}
        step.others = [node for at, node in stored.items() if at in there]
        for node in (*step.read, *step.others):
            if node.op in ALONG:
                continue
            first = next(p for p in passes if node in p.elements)
            if node not in first.keep:
                first.keep.append(node)

    for output in program.outputs:
        if not output.per_class:
            needed[id(output)] = output
    _close(needed, gathers)
    for node in nodes:
        if id(node) not in needed or node.op in KNOWN or _loops(node, gathers):
            continue
        if not node.per_item:
            staged.uniform.append(node)
        elif level[id(node)] <= last:
            passes[level[id(node)]].scalars.append(node)
        else:
            staged.final.append(node)
    return staged


def _is_stored(other: Node) -> bool:
    """Return whether what is read at the other class of a pair has to be stored before."""
    return other.args[0].op not in ("input", "class_index")


def _in_turn(step: Pass) -> list[Node]:
    """Return the elements of a pass with sums over pairs side by side, where none needs another."""
    turn: dict[int, int] = {}
    for node in step.elements:
        before = [turn[id(arg)] for arg in needed_of(node) if id(arg) in turn]
        # even: any element; odd: sums over pairs
        turn[id(node)] = _even(before) | (node.op == "pair_sum")
    return sorted(step.elements, key=lambda node: turn[id(node)])


def _even(turns: list[int]) -> int:
    return max([each + each % 2 for each in turns], default=0)


def reduces(node: Node) -> bool:
    """Return whether a node is a reduction over the classes."""
    return node.op in ("max", "sum")


def _loops(node: Node, gathers: dict[int, tuple[Node, Node]]) -> bool:
    return reduces(node) and id(node) not in gathers


def _gathered(node: Node) -> tuple[Node, Node] | None:
    """Return the input and the class's index, if a sum over the classes is a gather.

    sum(where(class == index, input, 0)) is the input at the index: one number read, not a row.
    """
    if node.op != "sum":
        return None
    found = one_class(node.args[0])
    return found if found is not None and found[0].op == "input" else None


def has_memory(node: Node) -> bool:
    """Return whether what goes along a row finds a node's numbers in memory, or needs none."""
    if node.op in ALONG:
        return node.op not in VIEWS
    return node.op == "constant" or (node.op == "input" and node.per_item and node.per_class)


def levels_of(nodes: Iterable[Node], gathers: dict[int, tuple[Node, Node]]) -> dict[int, int]:
    """Return the length of the longest chain of reductions that each node needs.

    `gathers` are reductions that need no pass.
    """
    level: dict[int, int] = {}
    for node in nodes:
        if id(node) in gathers:
            level[id(node)] = level[id(gathers[id(node)][1])]
            continue
        below = max((level[id(a)] for a in node.args), default=0)
        after = reduces(node) or (node.op == "other" and _is_stored(node))
        if node.op in ALONG:
            below = max(level[id(a)] + (not has_memory(a)) for a in node.args)
        level[id(node)] = below + 1 if after else below
    return level


def _collect(
    step: Pass,
    roots: list[Node],
    computed: set[int],
    costly: dict[int, bool],
    needed: dict[int, Node],
) -> None:
    """Find what a pass computes for each class, what it reads back, and the scalars it needs."""

    def reads(node: Node) -> bool:
        if node.op in ALONG:
            return True
        return id(node) in computed and costly[id(node)] and not node.boolean

    for node in in_order(
        roots, lambda node: needed_of(node) if node.per_class and not reads(node) else ()
    ):
        if not node.per_class:
            needed[id(node)] = node
        elif reads(node):
            step.read.append(node)
        elif node.op != "constant":
            step.elements.append(node)


def _close(needed: dict[int, Node], gathers: dict[int, tuple[Node, Node]]) -> None:
    """Add the scalars that scalars are computed from."""
    todo = list(needed.values())
    while todo:
        node = todo.pop()
        args = gathers[id(node)][1:] if id(node) in gathers else node.args
        for arg in args:
            if not arg.per_class and id(arg) not in needed:
                needed[id(arg)] = arg
                todo.append(arg)


def spelled(inputs: Collection[str]) -> dict[str, str]:
    """Return how the names of a program's inputs are spelled in a kernel's text, in its order.

    Characters that C or CUDA refuse in names are left out, capitals (macros) made small. The
    number keeps the names distinct.
    """
    words = [re.findall("[a-z][a-z0-9]*", name.lower()) or ["input"] for name in inputs]
    return {
        name: "_".join([*each, str(number)])
        for number, (name, each) in enumerate(zip(inputs, words, strict=True))
    }


def _names(inputs: Collection[str], nodes: Iterable[Node]) -> dict[int, str]:
    of_inputs = spelled(inputs)
    names: dict[int, str] = {}
    for node in nodes:
        if node.op == "input":
            names[id(node)] = of_inputs[node.constant]
        elif node.op in ("class_index", "classes"):
            names[id(node)] = node.op
        elif node.op != "constant":
            prefix = f"{node.op}_" if reduces(node) else "t"
            names[id(node)] = f"{prefix}{len(of_inputs) + len(names)}"
    return names
