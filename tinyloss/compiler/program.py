"""A formula as data: the nodes of a graph, and the graph's inputs and outputs.

Equal expressions are one node. Each node knows what it varies by: the items of the batch, the
classes of a row, both or neither. A program needs no shapes beyond that. Reductions are over the
classes.

What compares two classes of a row varies by another class, too: "other" of a node is that node
there, and "pair_sum" adds up over it. So pairs are a loop inside the loop over the classes.
"""

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tinyloss.backend import Role

__all__ = [
    "ALONG", "COMPARISONS", "LOGICAL", "VIEWS", "Graph", "Join", "Node", "Program",
    "compared_index", "in_order", "inside", "is_number", "is_whole", "needed_of", "one_class",
]  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Node:
    """One operation of a program."""

    op: str
    args: "tuple[Node, ...]" = ()
    constant: Any = None
    """The number of a "constant", the name of an "input", the `Join` of "running", the places from
    where "moved" reads, which of its results a "shortfall" is."""
    per_item: bool = False
    per_class: bool = False
    boolean: bool = False
    integer: bool = False
    """Whether it is an index of a class, or a whole number like one."""
    per_other: bool = False
    """Whether it varies by the other class of a pair."""

    def __repr__(self) -> str:
        # Without its arguments: nodes are shared, so the text would grow exponentially.
        return f"<node {self.op}>"


COMPARISONS = ("less", "less_equal", "greater", "greater_equal", "equal", "not_equal")
LOGICAL = ("logical_and", "logical_or", "logical_not", "isinf", "isnan", "isfinite")

ALONG = (
    *("cumulative_log_sum_exp", "cumulative_sum", "cumulative_top", "decaying_sum"),
    *("flip", "moved", "running", "shortfall", "sorted_by", "unsorted_by"),
)
"""What goes over the classes of a row in an order (`tinyloss._in_order`), one number for each."""

VIEWS = ("flip", "moved")
"""Those of them that are numbers of a row at other places."""

_FOLD: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "negative": operator.neg,
}


@dataclass(frozen=True, slots=True)
class Join:
    """What makes one of two parts of a row that lie side by side, and which of its results."""

    text: str
    """What tells it from others."""
    backwards: bool
    place: int
    program: "Program" = field(compare=False)
    """Of what the earlier part has made (inputs one_0, one_1, ...) and the later (other_0, ...).

    Backwards the last class is the earliest.
    """

    @property
    def exact(self) -> bool:
        """Whether nothing is rounded, so that the order of the joins is of no matter."""
        choices = ("input", "constant", "maximum", "minimum", "where", *COMPARISONS, *LOGICAL)
        return all(node.op in choices for node in self.program.nodes())


def is_whole(node: Node) -> bool:
    """Return whether a node is a whole number of 32 bits, as indices have."""
    return (
        node.op == "constant"
        and isinstance(node.constant, int)
        and -(2**31) <= node.constant < 2**31
    )


def _whole(op: str, args: tuple[Node, ...]) -> bool:
    """Return whether an operation on nodes gives an index of a class."""
    return (
        op == "where"
        and any(a.integer for a in args[1:])
        and all(a.integer or is_whole(a) for a in args[1:])
    )


def compared_index(node: Node) -> Node | None:
    """Return the index of one class for each item, if a node compares the classes with it."""
    if node.op != "equal":
        return None
    classes = [a for a in node.args if a.op == "class_index"]
    index = [a for a in node.args if a.op != "class_index"]
    if len(classes) != 1 or not index[0].integer or index[0].per_class or index[0].per_other:
        return None
    return index[0]


def one_class(node: Node) -> tuple[Node, Node] | None:
    """Return the value and the class's index, if a node is 0 at all classes but one.

    where(class == index, value, 0)
    """
    if node.op != "where":
        return None
    condition, value, other = node.args
    index = compared_index(condition)
    if index is None or other.op != "constant" or other.constant != 0:
        return None
    return value, index


class Graph:
    """The nodes of one recording; equal ones are the same object."""

    def __init__(self, dtype: str, place: Callable[[], Any] | None = None) -> None:
        """Take the dtype that the formula sees, and what tells where it is, if that is wanted."""
        self.dtype = dtype
        self.places: dict[int, Any] = {}
        """Where a node was first recorded, by its identity."""
        self._place = place
        self._nodes: dict[Any, Node] = {}

    def node(self, op: str, *args: Node, constant: Any = None) -> Node:
        """Return the node of an operation, simplified where no result changes."""
        per_item = any(a.per_item for a in args)
        per_class = any(a.per_class for a in args)
        per_other = any(a.per_other for a in args)
        boolean, integer = op in COMPARISONS or op in LOGICAL, _whole(op, args)
        if op == "where":
            boolean = args[1].boolean and args[2].boolean
        if op in ALONG:
            args = tuple([self.spread(arg) for arg in args])
            first = args[constant.place if op == "running" else 0]
            per_class, boolean = True, first.boolean
            if first.op == "constant" and op in (*VIEWS, "sorted_by", "unsorted_by"):
                return first
        elif op in ("max", "sum"):
            if not per_class:  # the same number for each class
                return args[0] if op == "max" else self.node("multiply", args[0], self.length())
            per_class = False
        elif op == "pair_sum":
            if not per_other:
                return self.node("multiply", args[0], self.length())
            if not per_class:  # the same sum for each class
                return self.spread(self.node("sum", self.exchanged(args[0])))
            per_other = False
        elif op == "other":
            if args[0].op == "constant" or not per_class:
                return args[0]
            boolean, integer = args[0].boolean, args[0].integer
            per_class, per_other = False, True
        simple = self._simplify(op, args)
        varies = per_item, per_class, per_other
        if simple is not None and (simple.per_item, simple.per_class, simple.per_other) == varies:
            return simple
        node = Node(op, args, constant, per_item, per_class, boolean, integer, per_other)
        return self._keep((op, constant, *map(id, args)), node)

    def spread(self, node: Node) -> Node:
        """Return a node with a number for each class, the same if it has one for all."""
        if node.per_class:
            return node
        nothing = self.constant(False if node.boolean else 0.0, self.class_index())
        return self.node("logical_or" if node.boolean else "add", node, nothing)

    def exchanged(self, node: Node) -> Node:
        """Return a node of pairs with the two classes of each exchanged."""
        new: dict[int, Node] = {}
        for each in in_order([node], lambda n: n.args if n.per_other and n.op != "other" else ()):
            if each.op == "other":
                new[id(each)] = each.args[0]
            elif each.per_other:
                new[id(each)] = self.node(each.op, *[new[id(arg)] for arg in each.args])
            else:
                new[id(each)] = self.node("other", each)
        return new[id(node)]

    def graft(self, node: Node, args: Sequence[Node]) -> Node:
        """Return another graph's node, an input excepted, over nodes of this one."""
        if node.op == "constant":
            return self.constant(node.constant, node)
        if node.op == "class_index":
            return self.class_index()
        if node.op == "classes":
            return self.length()
        return self.node(node.op, *args, constant=node.constant)

    def constant(self, number: Any, like: Node | None = None) -> Node:
        """Return the node of a number, or of an array full of it."""
        per_item = like is not None and like.per_item
        per_class = like is not None and like.per_class
        node = Node("constant", (), number, per_item, per_class, isinstance(number, bool))
        # -0.0 equals 0.0 but is another constant
        return self._keep(("constant", repr(number), per_item, per_class), node)

    def input(self, name: str, varies: Role, boolean: bool = False) -> Node:
        """Return the node of an argument."""
        node = Node(
            "input",
            (),
            name,
            per_item=varies.per_item,
            per_class=varies.per_class,
            boolean=boolean,
            integer=varies.integer,
        )
        return self._keep(("input", name), node)

    def class_index(self) -> Node:
        """Return the node of the classes' indices."""
        return self._keep(("class_index",), Node("class_index", per_class=True, integer=True))

    def length(self) -> Node:
        """Return the node of the number of classes."""
        return self._keep(("classes",), Node("classes", integer=True))

    def _keep(self, key: Any, node: Node) -> Node:
        kept = self._nodes.setdefault(key, node)
        if kept is node and self._place is not None:
            self.places[id(node)] = self._place()
        return kept

    def _simplify(self, op: str, args: tuple[Node, ...]) -> Node | None:
        if op in _FOLD and all(a.op == "constant" for a in args):
            like = max(args, key=lambda a: (a.per_class, a.per_item))
            return self.constant(_FOLD[op](*(a.constant for a in args)), like)
        if op == "where" and args[1] is args[2]:
            return args[1]
        if op == "where" and args[0].op == "constant":
            return args[1 if args[0].constant else 2]
        if op == "sum":
            return self._sum(args[0])
        if len(args) == 2:
            a, b = args
            if op == "add" and is_number(a, 0.0):
                return b
            if op in ("add", "subtract") and is_number(b, 0.0):
                return a
            if op == "multiply" and is_number(a, 1.0):
                return b
            if op in ("multiply", "divide", "pow") and is_number(b, 1.0):
                return a
        return None

    def _sum(self, term: Node) -> Node | None:
        """Return the sum of a term that is 0 at all classes but one, where that needs no loop."""
        found = one_class(term)
        if found is None:
            return None
        value, index = found
        condition, _, zero = term.args
        if value.op == "where" and not value.args[0].per_class:
            of_item, *choices = value.args
            sums = [self.node("sum", self.node("where", condition, a, zero)) for a in choices]
            return self.node("where", of_item, *sums)
        if not value.per_class:
            first = self.node("greater_equal", index, self.constant(0))
            last = self.node("less", index, self.length())
            return self.node("where", self.node("logical_and", first, last), value, zero)
        return None


def inside(nodes: Iterable[Node]) -> list[Node]:
    """Return what sums over pairs compute for each pair, arguments first."""
    terms = [node.args[0] for node in nodes]
    every = in_order(terms, lambda n: n.args if n.per_other and n.op != "other" else ())
    return [node for node in every if node.per_other]


def needed_of(node: Node) -> Sequence[Node]:
    """Return what a node of a class is computed from there: of a sum over pairs what each reads."""
    if node.op != "pair_sum":
        return node.args
    pairs = [each for each in inside([node]) if each.op != "other"]
    found = {id(a): a for each in pairs for a in each.args if not a.per_other}
    return tuple(found.values())


def is_number(node: Node, number: float) -> bool:
    """Return whether a node is this number."""
    return node.op == "constant" and node.constant == number and not node.boolean


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A recorded function of named inputs."""

    graph: Graph
    inputs: Mapping[str, Role]
    outputs: tuple[Node, ...]

    def nodes(self) -> list[Node]:
        """Return the nodes that the outputs need, arguments first."""
        return in_order(self.outputs)

    @property
    def compares(self) -> bool:
        """Whether it adds up over pairs of classes."""
        return any(node.op == "pair_sum" for node in self.nodes())

    @property
    def goes_along(self) -> bool:
        """Whether something goes over the classes in an order, for which there is no pass."""
        return any(node.op in ALONG for node in self.nodes())


def _args(node: Node) -> Sequence[Node]:
    return node.args


def in_order(
    roots: Iterable[Node], args_of: Callable[[Node], Sequence[Node]] = _args
) -> list[Node]:
    """Return nodes and all that they are computed from, arguments first.

    `args_of` says what a node is computed from. Without recursion: a formula may be deeper than
    Python's stack.
    """
    order: dict[int, Node] = {}
    for root in roots:
        stack = [root]
        while stack:
            node = stack[-1]
            missing = [arg for arg in args_of(node) if id(arg) not in order]
            if missing and id(node) not in order:
                stack += reversed(missing)
            else:
                order.setdefault(id(node), stack.pop())
    return list(order.values())
