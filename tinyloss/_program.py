"""Formulas as data: recorded and differentiated.

The recorder is one more array library. Its arrays (`Symbol`) carry no numbers: calling a loss's
formulas with them leaves a small graph behind, the program, in which equal expressions are one
node. Each node knows what it varies by: the items of the batch, the classes of a row, both or
neither; that, and not shapes, is all a loss needs. Reductions are over the classes.

A program is differentiated by reverse mode, one rule for each operation, into another program.
"""

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NoReturn

from tinyloss.typing import Namespace

__all__ = [
    "COMPARISONS", "Input", "Node", "Program", "Symbol", "compared_index", "differentiate",
    "is_index", "is_whole", "one_class", "record",
]  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Node:
    """One operation of a program."""

    op: str
    args: "tuple[Node, ...]" = ()
    constant: Any = None
    """The number of a "constant", the name of an "input"."""
    per_item: bool = False
    per_class: bool = False
    boolean: bool = False
    integer: bool = False
    """Whether an input holds indices of classes."""

    def __repr__(self) -> str:
        # Not its arguments: nodes are shared, and written out they would be exponentially many.
        return f"<node {self.op}>"


@dataclass(frozen=True, slots=True)
class Input:
    """What an argument of a recorded function varies by."""

    per_item: bool = True
    per_class: bool = False
    integer: bool = False
    """Whether it holds indices of classes."""


COMPARISONS = ("less", "less_equal", "greater", "greater_equal", "equal", "not_equal")
_LOGICAL = ("logical_and", "logical_or", "logical_not", "isinf", "isnan", "isfinite")

_FOLD: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "negative": operator.neg,
}


def is_whole(node: Node) -> bool:
    """Return whether a node is a number that may stand beside indices: these have 32 bits."""
    return (
        node.op == "constant"
        and isinstance(node.constant, int)
        and -(2**31) <= node.constant < 2**31
    )


def is_index(node: Node) -> bool:
    """Return whether a node is an index of a class, or as whole a number."""
    if node.op == "where":
        return any(map(is_index, node.args[1:])) and all(
            is_index(a) or is_whole(a) for a in node.args[1:]
        )
    return node.op in ("class_index", "classes") or (node.op == "input" and node.integer)


def compared_index(node: Node) -> Node | None:
    """Return the index of one class for each item, if a node compares the classes with it."""
    if node.op != "equal":
        return None
    classes = [a for a in node.args if a.op == "class_index"]
    index = [a for a in node.args if a.op != "class_index"]
    if len(classes) != 1 or not is_index(index[0]) or index[0].per_class:
        return None
    return index[0]


def one_class(node: Node) -> tuple[Node, Node] | None:
    """Return what a node is at one class, and that class's index, if it is 0 at all others.

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

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype
        self._nodes: dict[Any, Node] = {}

    def node(self, op: str, *args: Node) -> Node:
        """Return the node of an operation, simplified where that changes no result."""
        per_item = any(a.per_item for a in args)
        per_class = any(a.per_class for a in args)
        if op in ("max", "sum"):
            if not per_class:  # the one number of a row is its own maximum and sum
                return args[0]
            per_class = False
        simple = self._simplify(op, args)
        if simple is not None and (simple.per_item, simple.per_class) == (per_item, per_class):
            return simple
        boolean = op in COMPARISONS or op in _LOGICAL
        return self._keep((op, *map(id, args)), Node(op, args, None, per_item, per_class, boolean))

    def constant(self, number: Any, like: Node | None = None) -> Node:
        """Return the node of a number, or of an array full of it."""
        number = _number(number)
        per_item = like is not None and like.per_item
        per_class = like is not None and like.per_class
        node = Node("constant", (), number, per_item, per_class, isinstance(number, bool))
        # -0.0 equals 0.0 but is another constant
        return self._keep(("constant", repr(number), per_item, per_class), node)

    def input(self, name: str, varies: Input) -> Node:
        """Return the node of an argument."""
        node = Node(
            "input",
            (),
            name,
            per_item=varies.per_item,
            per_class=varies.per_class,
            integer=varies.integer,
        )
        return self._keep(("input", name), node)

    def class_index(self) -> Node:
        """Return the node of the classes' indices."""
        return self._keep(("class_index",), Node("class_index", per_class=True))

    def length(self) -> Node:
        """Return the node of the number of classes."""
        return self._keep(("classes",), Node("classes"))

    def _keep(self, key: Any, node: Node) -> Node:
        return self._nodes.setdefault(key, node)

    def _simplify(self, op: str, args: tuple[Node, ...]) -> Node | None:
        if op in _FOLD and all(a.op == "constant" for a in args):
            like = max(args, key=lambda a: (a.per_class, a.per_item))
            return self.constant(_FOLD[op](*(a.constant for a in args)), like)
        if op == "where" and args[1] is args[2]:
            return args[1]
        if op == "sum":
            return self._sum(args[0])
        if len(args) == 2:
            a, b = args
            if op == "add" and _is(a, 0.0):
                return b
            if op in ("add", "subtract") and _is(b, 0.0):
                return a
            if op == "multiply" and _is(a, 1.0):
                return b
            if op in ("multiply", "divide", "pow") and _is(b, 1.0):
                return a
        return None

    def _sum(self, term: Node) -> Node | None:
        """Return the sum over a term that is 0 but for one class, where that needs no pass."""
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


def _is(node: Node, number: float) -> bool:
    return node.op == "constant" and node.constant == number and not node.boolean


@dataclass(frozen=True, slots=True)
class _Length:
    """The unknown number of classes."""

    graph: Graph


class Symbol:
    """An array without numbers: operations on it are recorded."""

    __slots__ = ("graph", "node")
    __hash__ = None  # type: ignore[assignment]
    device = None

    def __init__(self, graph: Graph, node: Node) -> None:
        self.graph, self.node = graph, node

    def __array_namespace__(self, *, api_version: str | None = None) -> Namespace:
        return RECORDER

    @property
    def dtype(self) -> str:
        """The name of the dtype computed in, or "bool"."""
        return "bool" if self.node.boolean else self.graph.dtype

    @property
    def shape(self) -> tuple[Any, ...]:
        """The items, and the classes where the array varies by them."""
        return (None, _Length(self.graph)) if self.node.per_class else (None,)

    def _record(self, op: str, *args: Any) -> "Symbol":
        return _apply(op, self, *args)

    def __getitem__(self, key: Any) -> "Symbol":
        if key in ((..., None), (..., 0)):
            return self
        raise TypeError(
            f"a loss's formula indexed an array by {key!r}, expected [..., None] or [..., 0]: "
            "items are not known to it"
        )

    def __bool__(self) -> NoReturn:
        raise TypeError(
            "a loss's formula used an array as a condition, expected xp.where: "
            "its lines must not depend on data"
        )

    __float__ = __int__ = __index__ = __len__ = __iter__ = __bool__

    def __add__(self, other: Any) -> "Symbol":
        return self._record("add", other)

    def __radd__(self, other: Any) -> "Symbol":
        return _apply("add", other, self)

    def __sub__(self, other: Any) -> "Symbol":
        return self._record("subtract", other)

    def __rsub__(self, other: Any) -> "Symbol":
        return _apply("subtract", other, self)

    def __mul__(self, other: Any) -> "Symbol":
        return self._record("multiply", other)

    def __rmul__(self, other: Any) -> "Symbol":
        return _apply("multiply", other, self)

    def __truediv__(self, other: Any) -> "Symbol":
        return self._record("divide", other)

    def __rtruediv__(self, other: Any) -> "Symbol":
        return _apply("divide", other, self)

    def __pow__(self, other: Any) -> "Symbol":
        return self._record("pow", other)

    def __rpow__(self, other: Any) -> "Symbol":
        return _apply("pow", other, self)

    def __neg__(self) -> "Symbol":
        return self._record("negative")

    def __abs__(self) -> "Symbol":
        return self._record("abs")

    def __lt__(self, other: Any) -> "Symbol":
        return self._record("less", other)

    def __le__(self, other: Any) -> "Symbol":
        return self._record("less_equal", other)

    def __gt__(self, other: Any) -> "Symbol":
        return self._record("greater", other)

    def __ge__(self, other: Any) -> "Symbol":
        return self._record("greater_equal", other)

    def __eq__(self, other: object) -> "Symbol":  # type: ignore[override]
        return self._record("equal", other)

    def __ne__(self, other: object) -> "Symbol":  # type: ignore[override]
        return self._record("not_equal", other)

    def __and__(self, other: Any) -> "Symbol":
        return self._record("logical_and", other)

    def __or__(self, other: Any) -> "Symbol":
        return self._record("logical_or", other)

    def __invert__(self) -> "Symbol":
        return self._record("logical_not")


def _apply(op: str, *args: Any) -> Symbol:
    graph = next(a.graph for a in args if isinstance(a, Symbol))
    return Symbol(graph, graph.node(op, *[_node(graph, a) for a in args]))


def _node(graph: Graph, value: Any) -> Node:
    if isinstance(value, Symbol):
        return value.node
    if isinstance(value, _Length):
        return graph.length()
    return graph.constant(value)


def _number(value: Any) -> Any:
    """Return a number as Python's own: a subclass may write itself in any way."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    raise TypeError(
        f"a loss's formula mixed its arrays with a {type(value).__name__}, expected Python numbers"
    )


def _reduction(op: str) -> Callable[..., Symbol]:
    def reduce(x: Symbol, /, *, axis: int | None = None, keepdims: bool = False) -> Symbol:
        if axis != -1:
            raise TypeError(
                f"a loss's formula used {op} over axis {axis}, expected axis=-1, its classes: "
                "items are not known to it"
            )
        return _apply(op, x)

    return reduce


def _clip(x: Symbol, /, min: Any = None, max: Any = None) -> Symbol:
    x = x if min is None else _apply("maximum", x, min)
    return x if max is None else _apply("minimum", x, max)


def _square(x: Symbol, /) -> Symbol:
    return x * x


def _finfo(dtype: str, /) -> SimpleNamespace:
    # IEEE 754: the smallest normal number, the spacing at 1 and the largest number
    emin, bits = {"float32": (-126, 23), "float64": (-1022, 52)}[dtype]
    largest = (2 - 2.0**-bits) * 2.0 ** (1 - emin)
    return SimpleNamespace(smallest_normal=2.0**emin, eps=2.0**-bits, max=largest)


def _sign(x: Symbol, /) -> Symbol:
    return _apply("where", x > 0, 1.0, _apply("where", x < 0, -1.0, x))


def _astype(x: Symbol, dtype: Any, /, *, copy: bool = True) -> Symbol:
    return _apply("where", x, 1.0, 0.0) if x.node.boolean else x


def _full_like(x: Symbol, number: float, /, **_: Any) -> Symbol:
    return Symbol(x.graph, x.graph.constant(number, x.node))


def _zeros_like(x: Symbol, /, **_: Any) -> Symbol:
    return _full_like(x, 0.0)


def _ones_like(x: Symbol, /, **_: Any) -> Symbol:
    return _full_like(x, 1.0)


def _arange(length: Any, /, **_: Any) -> Symbol:
    if not isinstance(length, _Length):
        raise TypeError(
            "a loss's formula used arange, expected xp.arange(x.shape[-1]): the classes"
        )
    return Symbol(length.graph, length.graph.class_index())


_ARITHMETIC = ("abs", "add", "divide", "multiply", "negative", "pow", "sqrt", "subtract")
_ELEMENTARY = ("cos", "cosh", "exp", "expm1", "log", "log1p", "sin", "sinh", "tanh")
_CHOICES = ("maximum", "minimum", "where")


class _Recorder(SimpleNamespace):
    """The recorder's namespace: the array-API functions that a formula may use."""

    __name__ = "tinyloss.recorder"

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(
            f"a loss's formula used xp.{name}, which cannot be recorded; it can use "
            f"{', '.join(sorted(k for k in vars(self)))}"
        )


def _operation(op: str) -> Callable[..., Symbol]:
    return lambda *args: _apply(op, *args)


RECORDER: Namespace = _Recorder(
    **{
        op: _operation(op)
        for op in (*_ARITHMETIC, *_ELEMENTARY, *_CHOICES, *COMPARISONS, *_LOGICAL)
    },
    max=_reduction("max"),
    sum=_reduction("sum"),
    square=_square,
    clip=_clip,
    sign=_sign,
    astype=_astype,
    arange=_arange,
    full_like=_full_like,
    zeros_like=_zeros_like,
    ones_like=_ones_like,
    finfo=_finfo,
    inf=math.inf,
    nan=math.nan,
    pi=math.pi,
    e=math.e,
)


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A recorded function of named inputs."""

    graph: Graph
    inputs: Mapping[str, Input]
    outputs: tuple[Node, ...]

    def nodes(self) -> list[Node]:
        """Return the nodes that the outputs need, arguments before the operations on them."""
        order: dict[int, Node] = {}

        def visit(node: Node) -> None:
            if id(node) not in order:
                for arg in node.args:
                    visit(arg)
                order[id(node)] = node

        for output in self.outputs:
            visit(output)
        return list(order.values())


def record(
    function: Callable[..., Any], inputs: Mapping[str, Input], *, dtype: str = "float32"
) -> Program:
    """Record a function of the named inputs; it returns an array or a tuple of arrays."""
    graph = Graph(dtype)
    symbols = {name: Symbol(graph, graph.input(name, v)) for name, v in inputs.items()}
    result: Any = function(**symbols)
    results: tuple[Any, ...] = result if isinstance(result, tuple) else (result,)  # pyright: ignore[reportUnknownVariableType]
    nodes = [r.node if isinstance(r, Symbol) else graph.constant(r) for r in results]
    return Program(graph, dict(inputs), tuple(nodes))


def differentiate(program: Program, name: str) -> Program:
    """Return the program of the derivative of a program's one output by one input.

    Reverse mode: each node gets the derivative of the output by it, from the nodes that use it.
    """
    (output,) = program.outputs
    graph = program.graph
    if output.per_class:
        raise TypeError(
            "a loss's formula returned a value for each class, expected one for each row"
        )
    slopes: dict[int, Symbol] = {id(output): Symbol(graph, graph.constant(1.0))}
    for node in reversed(program.nodes()):
        slope = slopes.get(id(node))
        if slope is None or not node.args:
            continue
        shares = _shares(slope, Symbol(graph, node), [Symbol(graph, arg) for arg in node.args])
        for arg, share in zip(node.args, shares, strict=True):
            if share is None or arg.op == "constant" or arg.boolean or _is(share.node, 0.0):
                continue
            if share.node.per_class and not arg.per_class:
                share = _apply("sum", share)
            known = slopes.get(id(arg))
            slopes[id(arg)] = share if known is None else known + share
    wanted = graph.input(name, program.inputs[name])
    slope = slopes.get(id(wanted), Symbol(graph, graph.constant(0.0)))
    return Program(graph, program.inputs, (slope.node,))


def _where(condition: Symbol, a: Any, b: Any) -> Symbol:
    return _apply("where", condition, a, b)


def _larger(g: Symbol, a: Symbol, b: Symbol) -> tuple[Symbol, Symbol]:
    """Share out the slope of max(a, b): at a tie half to each, none where one is a number."""
    tie = 0.0 if "constant" in (a.node.op, b.node.op) else 0.5
    at_tie = _where(a == b, tie * g, 0.0)
    return _where(a > b, g, at_tie), _where(b > a, g, at_tie)


def _shares(g: Symbol, n: Symbol, args: Sequence[Symbol]) -> tuple[Symbol | None, ...]:
    """Return how node `n` hands the slope `g` of the output by it on to each of its arguments."""
    a, b = args[0], args[-1]
    match n.node.op:
        case "add":
            return g, g
        case "subtract":
            return g, -g
        case "multiply":
            return g * b, g * a
        case "divide":
            return g / b, -(g * n) / b
        case "negative":
            return (-g,)
        case "abs":
            return (g * _sign(a),)
        case "exp":
            return (g * n,)
        case "expm1":
            return (g * (n + 1),)
        case "log":
            return (g / a,)
        case "log1p":
            return (g / (1 + a),)
        case "sin":
            return (g * _apply("cos", a),)
        case "cos":
            return (-g * _apply("sin", a),)
        case "sinh":
            return (g * _apply("cosh", a),)
        case "cosh":
            return (g * _apply("sinh", a),)
        case "tanh":
            return (g * ((1 - n) * (1 + n)),)
        case "sqrt":
            return (0.5 * g / n,)
        case "pow":
            by_power = None if b.node.op == "constant" else g * n * _apply("log", a)
            return g * (b * a ** (b - 1)), by_power
        case "maximum":
            return _larger(g, a, b)
        case "minimum":
            return _larger(g, b, a)
        case "where":
            return None, _where(args[0], g, 0.0), _where(args[0], 0.0, g)
        case "sum":
            return (g,)
        case "max":
            top = a == n
            return (_where(top, g / _apply("sum", _where(top, 1.0, 0.0)), 0.0),)
        case _:  # comparisons: flat
            return (None,) * len(args)
