"""Formulas as data: recorded and differentiated.

The recorder is one more array library. Its arrays (`Symbol`) carry no numbers: calling a loss's
formulas with them leaves a small graph behind, the program, in which equal expressions are one
node. Each node knows what it varies by: the items of the batch, the classes of a row, both or
neither; that, and not shapes, is all a program needs. Reductions are over the classes. A symbol
also knows whether it has a dimension after those of the items: what does not fit is refused while
it is recorded, whatever batch comes later.

A program is differentiated by reverse mode, one rule for each operation, into another program.
"""

import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from types import SimpleNamespace
from typing import Any, NoReturn

from tinyloss.backend import Role
from tinyloss.typing import Namespace

__all__ = [
    "COMPARISONS", "BadFormula", "Node", "Program", "Symbol", "Unrecordable",
    "compared_index", "differentiate", "in_order", "is_index", "is_whole", "one_class",
    "plain_number", "record",
]  # fmt: skip


# What is looked up on an array or a namespace and not there is an AttributeError in Python.
class Unrecordable(TypeError, AttributeError):
    """A formula does what cannot be recorded: only its value can be had, run eagerly."""


class BadFormula(ValueError):
    """A formula is not the loss of an item: its arrays do not fit, or it looks at other items."""


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
    """Whether it is an index of a class, or as whole a number."""

    def __repr__(self) -> str:
        # Not its arguments: nodes are shared, and written out they would be exponentially many.
        return f"<node {self.op}>"


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
    return node.integer


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
            if not per_class:  # the same number for each class
                return args[0] if op == "max" else self.node("multiply", args[0], self.length())
            per_class = False
        simple = self._simplify(op, args)
        if simple is not None and (simple.per_item, simple.per_class) == (per_item, per_class):
            return simple
        boolean = op in COMPARISONS or op in _LOGICAL
        node = Node(op, args, None, per_item, per_class, boolean, _whole(op, args))
        return self._keep((op, *map(id, args)), node)

    def graft(self, node: Node, args: Sequence[Node]) -> Node:
        """Return another graph's node, an input excepted, over nodes of this one."""
        if node.op == "constant":
            return self.constant(node.constant, node)
        if node.op == "class_index":
            return self.class_index()
        return self.length() if node.op == "classes" else self.node(node.op, *args)

    def constant(self, number: Any, like: Node | None = None) -> Node:
        """Return the node of a number, or of an array full of it."""
        number = _number(number)
        per_item = like is not None and like.per_item
        per_class = like is not None and like.per_class
        node = Node("constant", (), number, per_item, per_class, isinstance(number, bool))
        # -0.0 equals 0.0 but is another constant
        return self._keep(("constant", repr(number), per_item, per_class), node)

    def input(self, name: str, varies: Role) -> Node:
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
        return self._keep(("class_index",), Node("class_index", per_class=True, integer=True))

    def length(self) -> Node:
        """Return the node of the number of classes."""
        return self._keep(("classes",), Node("classes", integer=True))

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


class _Shape:
    """The shape of a symbol: what is known of it is the dimension after those of the items."""

    def __init__(self, of: "Symbol") -> None:
        self._of = of

    def __getitem__(self, index: Any) -> Any:
        if type(index) is not int or index != -1 or not self._of.last:
            raise BadFormula(
                f"a loss's formula asked for x.shape[{index!r}] of an array {self._of.words}, "
                "expected x.shape[-1] of an array with classes, in a loss made with rowwise=True: "
                "how many items there are changes no loss of an item"
            )
        graph = self._of.graph
        return Symbol(graph, graph.length()) if self._of.node.per_class else 1

    def _unknown(self, *_: Any) -> NoReturn:
        raise Unrecordable(
            "a loss's formula used x.shape as a whole, expected x.shape[-1]: items are not known "
            "to it"
        )

    __len__ = __iter__ = __eq__ = __ne__ = __add__ = __radd__ = _unknown
    __hash__ = None  # type: ignore[assignment]


class Symbol:
    """An array without numbers: operations on it are recorded."""

    __slots__ = ("graph", "last", "node")
    __hash__ = None  # type: ignore[assignment]
    __array_ufunc__ = None  # NumPy's scalars leave operators to the symbol
    device = None

    def __init__(self, graph: Graph, node: Node, last: bool | None = None) -> None:
        self.graph, self.node = graph, node
        self.last = node.per_class if last is None else last
        """Whether there is a dimension after those of the items: of the classes, or of length 1."""

    def __array_namespace__(self, *, api_version: str | None = None) -> Namespace:
        return RECORDER

    @property
    def dtype(self) -> str:
        """The name of the dtype computed in, or "bool"."""
        return "bool" if self.node.boolean else self.graph.dtype

    @property
    def shape(self) -> _Shape:
        """The shape, of which [-1] is known: the classes."""
        return _Shape(self)

    @property
    def words(self) -> str:
        """What the shape is, for messages."""
        parts = ["..."] * self.node.per_item
        if self.last:
            parts.append("C" if self.node.per_class else "1")
        return f"of shape ({', '.join(parts)}{',' * (len(parts) == 1)})"

    def _record(self, op: str, *args: Any) -> "Symbol":
        return _apply(op, self, *args)

    def __getitem__(self, key: Any) -> "Symbol":
        parts: Any = key if key.__class__ is tuple else ()
        index: Any = parts[1] if len(parts) == 2 and parts[0] is ... else key
        if index is key or not (index is None or (type(index) is int and index in (0, -1))):
            raise Unrecordable(
                f"a loss's formula indexed an array by {_words(key)}, expected [..., None], "
                "[..., 0] or [..., -1]: items are not known to it"
            )
        if index is None:
            if self.last:
                raise Unrecordable(
                    f"a loss's formula indexed an array {self.words} by [..., None], expected one "
                    "of shape (...,): one dimension comes after those of the items"
                )
            return Symbol(self.graph, self.node, last=True)
        if not self.last:
            raise BadFormula(
                f"a loss's formula indexed an array {self.words} by [..., {index}], which takes "
                "one of the items, expected an array with classes or a kept dimension"
            )
        if not self.node.per_class:
            return Symbol(self.graph, self.node, last=False)
        at = 0 if index == 0 else self.shape[-1] - 1
        classes = Symbol(self.graph, self.graph.class_index())
        return _reduced("sum", _apply("where", classes == at, self, 0.0))

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        self._keep_argument()
        raise Unrecordable("a loss's formula set elements of an array, expected xp.where")

    def _keep_argument(self) -> None:
        if self.node.op == "input":
            raise BadFormula(
                f"a loss's formula changed its argument {self.node.constant} in place, expected "
                "a new array (x = x + 1 instead of x += 1): the array is the caller's"
            )

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):  # what libraries look for
            raise AttributeError(name)
        raise Unrecordable(
            f"a loss's formula used .{name} of an array, expected the functions of "
            "xp = tinyloss.namespace(x), as in xp.sum(x, axis=-1)"
        )

    def __bool__(self) -> NoReturn:
        raise Unrecordable(
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

    def __xor__(self, other: Any) -> "Symbol":
        if self.node.boolean:
            return self._record("not_equal", other)
        return self._no_operator("^", "** for a power, != for booleans")

    def __invert__(self) -> "Symbol":
        return self._record("logical_not")

    def __pos__(self) -> "Symbol":
        return self

    def _no_operator(self, sign: str, instead: str) -> NoReturn:
        raise Unrecordable(
            f"a loss's formula used the operator {sign}, which cannot be recorded, "
            f"expected {instead}"
        )

    def __mod__(self, other: Any) -> NoReturn:
        self._no_operator("%", "arithmetic that has a derivative: + - * / **")

    def __floordiv__(self, other: Any) -> NoReturn:
        self._no_operator("//", "arithmetic that has a derivative: + - * / **")

    def __matmul__(self, other: Any) -> NoReturn:
        self._no_operator("@", "xp.sum(a * b, axis=-1)")

    __rmod__, __rfloordiv__, __rmatmul__ = __mod__, __floordiv__, __matmul__

    def __iadd__(self, other: Any) -> "Symbol":
        self._keep_argument()
        return self._record("add", other)

    def __isub__(self, other: Any) -> "Symbol":
        self._keep_argument()
        return self._record("subtract", other)

    def __imul__(self, other: Any) -> "Symbol":
        self._keep_argument()
        return self._record("multiply", other)

    def __itruediv__(self, other: Any) -> "Symbol":
        self._keep_argument()
        return self._record("divide", other)

    def __ipow__(self, other: Any) -> "Symbol":
        self._keep_argument()
        return self._record("pow", other)


def _apply(op: str, *args: Any) -> Symbol:
    symbols = [a for a in args if isinstance(a, Symbol)]
    if not symbols:
        raise Unrecordable(
            f"a loss's formula used {op} of numbers alone, expected an array among them "
            "(the module math has functions of numbers)"
        )
    graph = symbols[0].graph
    arrays = [s for s in symbols if s.node.per_item or s.last]
    for other in arrays[1:]:
        if other.last != arrays[0].last:
            raise BadFormula(
                f"a loss's formula used {op} on arrays {arrays[0].words} and {other.words}, whose "
                "items do not meet, expected a dimension after the items in both: "
                "keepdims=True of a reduction, or [..., None]"
            )
    nodes = [_node(graph, a) for a in args]
    _check_kinds(op, nodes)
    return Symbol(graph, graph.node(op, *nodes), last=any(s.last for s in arrays))


def _check_kinds(op: str, nodes: Sequence[Node]) -> None:
    """Refuse what libraries do differently with booleans and numbers, or not at all."""
    if op in _NUMERIC and all(n.boolean for n in nodes):
        raise Unrecordable(
            f"a loss's formula used {op} of booleans alone, expected numbers: "
            "xp.astype(condition, x.dtype), or & | ~"
        )
    tested = 1 if op == "where" else len(nodes) if op.startswith("logical_") else 0
    if not all(n.boolean for n in nodes[:tested]):
        raise Unrecordable(f"a loss's formula used {op} of numbers, expected a condition: x != 0")


def _node(graph: Graph, value: Any) -> Node:
    return value.node if isinstance(value, Symbol) else graph.constant(value)


def plain_number(value: Any) -> Any:
    """Return a number as Python's own, None for anything else: its text becomes a kernel's."""
    if type(value) in (bool, int, float):
        return value
    # a subclass may write itself in any way
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, Real) else None


def _number(value: Any) -> Any:
    number = plain_number(value)
    if number is None:
        raise Unrecordable(
            f"a loss's formula mixed its arrays with {_words(value)}, expected Python numbers"
        )
    return number


def _words(value: Any) -> str:
    """Return a short description of what came in an array's or a number's place."""
    if isinstance(value, Symbol):
        return f"an array {value.words}"
    name = type(value).__name__
    short = type(value) in (int, float, bool, str, tuple, slice)
    text = repr(value) if short and not _holds_symbol(value) else ""
    if text and len(text) < 40:
        return text
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _holds_symbol(value: Any) -> bool:
    return isinstance(value, tuple) and any(isinstance(each, Symbol) for each in value)  # pyright: ignore[reportUnknownVariableType]


def _reduced(op: str, x: Symbol, axis: Any = -1, keepdims: bool = False) -> Symbol:
    """Return the maximum or sum over the dimension after those of the items."""
    if not isinstance(x, Symbol):
        raise Unrecordable(f"a loss's formula used {op} of {_words(x)}, expected an array")
    if axis != -1:
        raise BadFormula(
            f"a loss's formula used {op} over axis {axis}, expected axis=-1, its classes: "
            "items are not known to it"
        )
    if not x.last:
        raise BadFormula(
            f"a loss's formula used {op} over axis -1 of an array {x.words}, which reduces items, "
            "expected an array with classes, in a loss made with rowwise=True; keepdims=True "
            "keeps the dimension for a second reduction"
        )
    node = x.graph.node(op, x.node) if x.node.per_class else x.node
    return Symbol(x.graph, node, last=keepdims)


def _max(x: Symbol, /, *, axis: int | None = None, keepdims: bool = False) -> Symbol:
    if x.node.boolean:
        raise Unrecordable("a loss's formula used max of booleans, expected xp.any")
    return _reduced("max", x, axis, keepdims)


def _min(x: Symbol, /, *, axis: int | None = None, keepdims: bool = False) -> Symbol:
    return -_max(-x, axis=axis, keepdims=keepdims)


def _sum(x: Symbol, /, *, axis: int | None = None, keepdims: bool = False) -> Symbol:
    counted = _apply("where", x, 1.0, 0.0) if x.node.boolean else x
    return _reduced("sum", counted, axis, keepdims)


def _mean(x: Symbol, /, *, axis: int | None = None, keepdims: bool = False) -> Symbol:
    return _apply("divide", _sum(x, axis=axis, keepdims=keepdims), x.shape[-1])


def _any(x: Symbol, /, *, axis: int | None = None, keepdims: bool = False) -> Symbol:
    return _reduced("max", _apply("where", x, 1.0, 0.0), axis, keepdims) > 0


def _all(x: Symbol, /, *, axis: int | None = None, keepdims: bool = False) -> Symbol:
    return ~_any(~x, axis=axis, keepdims=keepdims)


def _clip(x: Symbol, /, min: Any = None, max: Any = None) -> Symbol:
    x = x if min is None else _apply("maximum", x, min)
    return x if max is None else _apply("minimum", x, max)


def _square(x: Symbol, /) -> Symbol:
    return x * x


def _finfo(dtype: Any, /) -> SimpleNamespace:
    # IEEE 754: the smallest normal number, the spacing at 1 and the largest number
    known = {"float32": (-126, 23), "float64": (-1022, 52)}
    name = _dtype_name(dtype)
    if name not in known:
        raise Unrecordable(f"a loss's formula used finfo of {dtype!r}, expected x.dtype")
    emin, bits = known[name]
    largest = (2 - 2.0**-bits) * 2.0 ** (1 - emin)
    return SimpleNamespace(smallest_normal=2.0**emin, eps=2.0**-bits, max=largest)


def _dtype_name(dtype: Any) -> str:
    """Return the bare name of a dtype, or of the type that stands for one."""
    name: Any = getattr(dtype, "name", None) or getattr(dtype, "__name__", None) or str(dtype)
    return str(name).rpartition(".")[2]


def _sign(x: Symbol, /) -> Symbol:
    return _apply("where", x > 0, 1.0, _apply("where", x < 0, -1.0, x))


def _astype(x: Symbol, dtype: Any, /, *, copy: bool = True) -> Symbol:
    name = _dtype_name(dtype)
    if name == "bool":
        return x if x.node.boolean else x != 0
    if name != x.graph.dtype:
        raise Unrecordable(
            f"a loss's formula used astype to {name}, expected x.dtype: "
            "the dtype to compute in is chosen outside"
        )
    return _apply("where", x, 1.0, 0.0) if x.node.boolean else x


def _full_like(x: Symbol, number: Any, /, **_: Any) -> Symbol:
    return Symbol(x.graph, x.graph.constant(number, x.node), x.last)


def _zeros_like(x: Symbol, /, **_: Any) -> Symbol:
    return _full_like(x, 0.0)


def _ones_like(x: Symbol, /, **_: Any) -> Symbol:
    return _full_like(x, 1.0)


def _arange(length: Any, /, *args: Any, **_: Any) -> Symbol:
    if args or not isinstance(length, Symbol) or length.node.op != "classes":
        raise Unrecordable(
            "a loss's formula used arange, expected xp.arange(x.shape[-1]): the classes"
        )
    return Symbol(length.graph, length.graph.class_index())


_ARITHMETIC = ("abs", "add", "divide", "multiply", "negative", "pow", "sqrt", "subtract")
_ELEMENTARY = ("cos", "cosh", "exp", "expm1", "log", "log1p", "sin", "sinh", "tanh")
_CHOICES = ("maximum", "minimum", "where")
_NUMERIC = frozenset((*_ARITHMETIC, *_ELEMENTARY, "maximum", "minimum"))


class _Recorder(SimpleNamespace):
    """The recorder's namespace: the array-API functions that a formula may use."""

    __name__ = "tinyloss.recorder"

    def __getattr__(self, name: str) -> NoReturn:
        raise Unrecordable(
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
    max=_max,
    min=_min,
    sum=_sum,
    mean=_mean,
    any=_any,
    all=_all,
    square=_square,
    clip=_clip,
    sign=_sign,
    astype=_astype,
    arange=_arange,
    full_like=_full_like,
    zeros_like=_zeros_like,
    ones_like=_ones_like,
    finfo=_finfo,
    bool="bool",
    float32="float32",
    float64="float64",
    inf=math.inf,
    nan=math.nan,
    pi=math.pi,
    e=math.e,
)


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A recorded function of named inputs."""

    graph: Graph
    inputs: Mapping[str, Role]
    outputs: tuple[Node, ...]

    def nodes(self) -> list[Node]:
        """Return the nodes that the outputs need, arguments before the operations on them."""
        return in_order(self.outputs)


def _args(node: Node) -> Sequence[Node]:
    return node.args


def in_order(
    roots: Iterable[Node], args_of: Callable[[Node], Sequence[Node]] = _args
) -> list[Node]:
    """Return the nodes that some are computed from, and these, arguments first.

    `args_of` says what a node is computed from. Without recursion: a formula may be longer than
    Python's stack is deep.
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


# What libraries raise that are given a symbol for an array of theirs, and Python for a method or
# an operator that it lacks. A formula's own errors of these types come again when it runs eagerly.
_FOREIGN = (TypeError, AttributeError, ValueError, IndexError, NotImplementedError)


def record(
    function: Callable[..., Any], inputs: Mapping[str, Role], *, dtype: str = "float32"
) -> Program:
    """Record a function of the named inputs; it returns an array or a tuple of arrays.

    Raises Unrecordable or BadFormula.
    """
    graph = Graph(dtype)
    symbols = {name: Symbol(graph, graph.input(name, v)) for name, v in inputs.items()}
    try:
        result: Any = function(**symbols)
    except (Unrecordable, BadFormula):
        raise
    except _FOREIGN as error:
        raise Unrecordable(
            f"a loss's formula cannot be recorded ({type(error).__name__}: {error}), expected "
            "operators and functions of xp = tinyloss.namespace(x)"
        ).with_traceback(error.__traceback__) from error
    results: tuple[Any, ...] = result if isinstance(result, tuple) else (result,)  # pyright: ignore[reportUnknownVariableType]
    return Program(graph, dict(inputs), tuple([_node(graph, r) for r in results]))


def differentiate(program: Program, name: str) -> Program:
    """Return the program of the derivative of a program's one output by one input.

    Reverse mode: each node gets the derivative of the output by it, from the nodes that use it.
    """
    (output,) = program.outputs
    graph = program.graph
    if output.per_class:
        raise BadFormula(
            "a loss's formula returned a value for each class, expected one for each row"
        )

    def symbol(node: Node) -> Symbol:
        # between nodes, numbers of a row keep the last dimension
        return Symbol(graph, node, last=True)

    slopes: dict[int, Symbol] = {id(output): symbol(graph.constant(1.0))}
    for node in reversed(program.nodes()):
        slope = slopes.get(id(node))
        if slope is None or not node.args:
            continue
        shares = _shares(slope, symbol(node), [symbol(arg) for arg in node.args])
        for arg, share in zip(node.args, shares, strict=True):
            if share is None or arg.op == "constant" or arg.boolean or _is(share.node, 0.0):
                continue
            if node.per_class and not arg.per_class:  # it counts for each class
                share = _apply("sum", share)
            known = slopes.get(id(arg))
            slopes[id(arg)] = share if known is None else known + share
    wanted = graph.input(name, program.inputs[name])
    result = slopes.get(id(wanted), symbol(graph.constant(0.0))).node
    if (result.per_item, result.per_class) != (wanted.per_item, wanted.per_class):
        # the same for all classes, or for all items
        result = graph.node("add", result, graph.constant(0.0, wanted))
    return Program(graph, program.inputs, (result,))


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
