"""Recording a formula: an array library whose arrays (`Symbol`) carry no numbers.

A formula called with symbols records its operations as a program. A symbol also knows whether it
has a dimension after those of the items, or two: then it is of pairs of classes. So an operation
on arrays that do not fit is refused while it is recorded, whatever the batch.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from types import SimpleNamespace
from typing import Any, NoReturn, TypeAlias

from tinyloss.backend import Role
from tinyloss.compiler.program import COMPARISONS, LOGICAL, Graph, Join, Node, Program, in_order
from tinyloss.typing import Namespace

__all__ = ["RECORDER", "BadFormula", "Symbol", "Unrecordable", "plain_number", "record"]


# An AttributeError too: Python expects one of a missing attribute of an array or a namespace.
class Unrecordable(TypeError, AttributeError):
    """A formula does what cannot be recorded; its value can still be computed eagerly."""


class BadFormula(ValueError):
    """A formula is not the loss of one item: its arrays do not fit, or it uses other items."""


class _Shape:
    """The shape of a symbol: only the dimension after those of the items is known."""

    def __init__(self, of: "Symbol") -> None:
        self._of = of

    def __getitem__(self, index: Any) -> Any:
        if self._of.pairs is not None and index in (-1, -2):
            whole = self._of.pairs[index]
            return Symbol(self._of.graph, self._of.graph.length()) if whole else 1
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


def _operation(op: str) -> Callable[..., "Symbol"]:
    return lambda *args: _apply(op, *args)


_Operator: TypeAlias = Callable[["Symbol", Any], "Symbol"]


def _operators(op: str) -> tuple[_Operator, _Operator, _Operator]:
    """Return the operator of an operation, the reflected and the one in place."""

    def in_place(a: "Symbol", b: Any) -> "Symbol":
        a.keep_argument()
        return _apply(op, a, b)

    return _operation(op), lambda a, b: _apply(op, b, a), in_place


class Symbol:
    """An array without numbers: operations on it are recorded."""

    __slots__ = ("graph", "last", "node", "pairs")
    __hash__ = None  # type: ignore[assignment]
    __array_ufunc__ = None  # NumPy's scalars leave operators to the symbol
    device = None

    def __init__(
        self,
        graph: Graph,
        node: Node,
        last: bool | None = None,
        pairs: tuple[bool, bool] | None = None,
    ) -> None:
        self.graph, self.node = graph, node
        self.pairs = pairs
        """Of pairs: whether each of the two last dimensions is of the classes, or of length 1.

        The node varies by the classes along the first of these, by the other class along the last.
        """
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
        """The shape; only [-1], the number of classes, is known."""
        return _Shape(self)

    @property
    def words(self) -> str:
        """The shape as text, for messages."""
        parts = ["..."] * self.node.per_item
        if self.pairs is not None:
            parts += ["C" if whole else "1" for whole in self.pairs]
        elif self.last:
            parts.append("C" if self.node.per_class else "1")
        return f"of shape ({', '.join(parts)}{',' * (len(parts) == 1)})"

    def __getitem__(self, key: Any) -> "Symbol":
        parts: Any = key if key.__class__ is tuple else ()
        if len(parts) == 3 and parts[0] is ... and self.last and self.pairs is None:
            node, whole = self.node, self.node.per_class
            if node.op == "constant":  # dimensions are the symbol's: the number varies by nothing
                node = self.graph.constant(node.constant)
            if _is_whole(parts[1]) and parts[2] is None:
                return Symbol(self.graph, node, True, (whole, False))
            if parts[1] is None and _is_whole(parts[2]):
                return Symbol(self.graph, self.graph.node("other", node), True, (False, whole))
        index: Any = parts[1] if len(parts) == 2 and parts[0] is ... else key
        known = index is None or (type(index) is int and index in (0, -1))
        if index is key or not known or self.pairs is not None:
            raise Unrecordable(
                f"a loss's formula indexed an array {self.words} by {_words(key)}, expected "
                "[..., None], [..., 0] or [..., -1], or [..., :, None] and [..., None, :] of an "
                "array with classes, for its pairs: items are not known to it"
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
        self.keep_argument()
        raise Unrecordable("a loss's formula set elements of an array, expected xp.where")

    def keep_argument(self) -> None:
        """Refuse to change an argument in place."""
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

    __add__, __radd__, __iadd__ = _operators("add")
    __sub__, __rsub__, __isub__ = _operators("subtract")
    __mul__, __rmul__, __imul__ = _operators("multiply")
    __truediv__, __rtruediv__, __itruediv__ = _operators("divide")
    __pow__, __rpow__, __ipow__ = _operators("pow")
    __lt__, __le__ = _operation("less"), _operation("less_equal")
    __gt__, __ge__ = _operation("greater"), _operation("greater_equal")
    __eq__, __ne__ = _operation("equal"), _operation("not_equal")  # type: ignore[assignment]
    __and__, __or__ = _operation("logical_and"), _operation("logical_or")

    __neg__, __abs__ = _operation("negative"), _operation("abs")
    __invert__ = _operation("logical_not")

    def __pos__(self) -> "Symbol":
        return self

    def __xor__(self, other: Any) -> "Symbol":
        if self.node.boolean:
            return _apply("not_equal", self, other)
        return _no_operator("^", "** for a power, != for booleans")

    def __mod__(self, other: Any) -> NoReturn:
        _no_operator("%", "arithmetic that has a derivative: + - * / **")

    def __floordiv__(self, other: Any) -> NoReturn:
        _no_operator("//", "arithmetic that has a derivative: + - * / **")

    def __matmul__(self, other: Any) -> NoReturn:
        _no_operator("@", "xp.sum(a * b, axis=-1)")

    __rmod__, __rfloordiv__, __rmatmul__ = __mod__, __floordiv__, __matmul__


def _is_whole(part: Any) -> bool:
    """Return whether an index is a colon."""
    return part.__class__ is slice and part == slice(None)


def _no_operator(sign: str, instead: str) -> NoReturn:
    raise Unrecordable(
        f"a loss's formula used the operator {sign}, which cannot be recorded, expected {instead}"
    )


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
        if (other.last, other.pairs is None) != (arrays[0].last, arrays[0].pairs is None):
            raise BadFormula(
                f"a loss's formula used {op} on arrays {arrays[0].words} and {other.words}, whose "
                "items do not meet, expected a dimension after the items in both: "
                "keepdims=True of a reduction, or [..., None]"
            )
    nodes = [_node(graph, a) for a in args]
    _check_kinds(op, nodes)
    dims = [s.pairs for s in arrays if s.pairs is not None]
    pairs = (any(own for own, _ in dims), any(other for _, other in dims)) if dims else None
    return Symbol(graph, graph.node(op, *nodes), any(s.last for s in arrays), pairs)


def _check_kinds(op: str, nodes: Sequence[Node]) -> None:
    """Refuse operations on booleans or numbers that libraries do differently, or not at all."""
    if op in _NUMERIC and all(n.boolean for n in nodes):
        raise Unrecordable(
            f"a loss's formula used {op} of booleans alone, expected numbers: "
            "xp.astype(condition, x.dtype), or & | ~"
        )
    tested = 1 if op == "where" else len(nodes) if op.startswith("logical_") else 0
    if not all(n.boolean for n in nodes[:tested]):
        raise Unrecordable(f"a loss's formula used {op} of numbers, expected a condition: x != 0")


def _node(graph: Graph, value: Any) -> Node:
    return value.node if isinstance(value, Symbol) else graph.constant(_number(value))


def plain_number(value: Any) -> Any:
    """Return a number as Python's own, None for anything else: kernels contain its text."""
    if type(value) in (bool, int, float):
        return value
    # a subclass may have any text
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
    if x.pairs is not None:
        if op != "sum":
            raise Unrecordable(f"a loss's formula used {op} of pairs, expected a sum")
        return _of_pairs(x, x.pairs, axis, keepdims)
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


def _of_pairs(x: Symbol, pairs: tuple[bool, bool], axis: Any, keepdims: bool) -> Symbol:
    """Return the sum over one class of each pair, or over both."""
    graph, (own, other) = x.graph, pairs
    if axis in ((-2, -1), (-1, -2)):
        each = _over_other(graph, x.node, own, other)
        total = graph.node("sum", graph.spread(each)) if own else each
        return Symbol(graph, total, keepdims, (False, False) if keepdims else None)
    if axis == -1:
        each = _over_other(graph, x.node, own, other)
        return Symbol(graph, each, True, (own, False) if keepdims else None)
    if axis == -2:
        each = _over_other(graph, graph.exchanged(x.node), other, own)
        if keepdims:
            return Symbol(graph, graph.node("other", each), True, (False, other))
        return Symbol(graph, each, last=True)
    raise BadFormula(
        f"a loss's formula used sum of pairs over axis {axis}, expected -1, -2 or both: items are "
        "not known to it"
    )


def _over_other(graph: Graph, node: Node, own: bool, other: bool) -> Node:
    """Return the sum over the other class; `own` and `other` are as in `Symbol.pairs`."""
    if not other:
        return graph.spread(node) if own else node
    if own:
        return graph.spread(graph.node("pair_sum", node))
    return graph.node("sum", graph.exchanged(node) if node.per_other else node)


def _max(x: Symbol, /, *, axis: int | None = None, keepdims: bool = False) -> Symbol:
    if x.node.boolean:
        raise Unrecordable("a loss's formula used max of booleans, expected xp.any")
    return _reduced("max", x, axis, keepdims)


def _min(x: Symbol, /, *, axis: int | None = None, keepdims: bool = False) -> Symbol:
    return -_max(-x, axis=axis, keepdims=keepdims)


def _sum(x: Symbol, /, *, axis: int | None = None, keepdims: bool = False) -> Symbol:
    counted = _apply("where", x, 1.0, 0.0) if x.node.boolean else x
    return _reduced("sum", counted, axis, keepdims)


def _mean(x: Symbol, /, *, axis: Any = None, keepdims: bool = False) -> Symbol:
    total, lengths = _sum(x, axis=axis, keepdims=keepdims), x.shape
    axes: Any = axis if axis.__class__ is tuple else (axis,)
    for each in axes:
        total = _apply("divide", total, lengths[each])
    return total


def _any(x: Symbol, /, *, axis: int | None = None, keepdims: bool = False) -> Symbol:
    op = "max" if x.pairs is None else "sum"
    return _reduced(op, _apply("where", x, 1.0, 0.0), axis, keepdims) > 0


def _all(x: Symbol, /, *, axis: int | None = None, keepdims: bool = False) -> Symbol:
    return ~_any(~x, axis=axis, keepdims=keepdims)


def _over_pairs(function: Callable[..., Any], arrays: Sequence[Symbol]) -> tuple[Symbol, ...]:
    graph = arrays[0].graph
    own = [Symbol(graph, each.node, last=True) for each in arrays]
    other = [Symbol(graph, graph.node("other", each.node), last=True) for each in arrays]
    found = function(own, other)
    return tuple([Symbol(graph, graph.node("pair_sum", each.node)) for each in found])


def _along(op: str, called: str, axis: Any, x: Symbol, *more: Symbol) -> Symbol:
    """Return what an operation that goes over the classes in order makes of arrays."""
    if axis != -1:
        raise BadFormula(
            f"a loss's formula used {called} over axis {axis}, expected axis=-1, its classes: "
            "items are not known to it"
        )
    for each in (x, *more):
        if not isinstance(each, Symbol) or not each.last:
            raise BadFormula(
                f"a loss's formula used {called} of {_words(each)}, expected an array with "
                "classes, in a loss made with rowwise=True"
            )
        if each.node.per_other or each.pairs is not None:
            raise Unrecordable(f"a loss's formula used {called} of pairs, expected it before them")
    return Symbol(x.graph, x.graph.node(op, *[s.node for s in (x, *more)]))


def _running(
    join: Callable[..., Sequence[Symbol]], arrays: Sequence[Symbol], backwards: bool
) -> list[Symbol]:
    """Return the running joins of rows, by what joins two parts of one."""
    graph, nodes = arrays[0].graph, [each.graph.spread(each.node) for each in arrays]
    own = Graph(graph.dtype)
    parts = [
        [
            own.input(f"{part}_{number}", Role(per_class=True), node.boolean)
            for number, node in enumerate(nodes)
        ]
        for part in ("one", "other")
    ]
    joined = join(*[[Symbol(own, node) for node in part] for part in parts])
    outputs = tuple([_node(own, each) for each in joined])
    names = {node.constant: Role(per_class=True) for part in parts for node in part}
    program = Program(own, names, outputs)
    text = _text_of(program)
    return [
        Symbol(graph, graph.node("running", *nodes, constant=Join(text, backwards, place, program)))
        for place in range(len(nodes))
    ]


def _shortfalls(
    x: Symbol, y: Symbol, weights: Symbol, margin: Symbol, /
) -> tuple[Symbol, Symbol, Symbol]:
    """Return the results of `tinyloss._in_order.shortfalls`."""
    nodes = [each.node for each in (x, y, weights, margin)]
    cost, led, behind = (
        Symbol(x.graph, x.graph.node("shortfall", *nodes, constant=result))
        for result in ("cost", "led", "behind")
    )
    return cost, led, behind


def _text_of(program: Program) -> str:
    """Return what programs have in common that do the same."""
    lines: dict[int, str] = {}
    for number, node in enumerate(in_order(program.outputs)):
        args = [lines[id(arg)].partition("=")[0] for arg in node.args]
        lines[id(node)] = f"{number}={node.op}({', '.join(args)}; {node.constant!r})"
    results = [lines[id(node)].partition("=")[0] for node in program.outputs]
    return "\n".join([*lines.values(), *results])


def _spread(x: Symbol, like: Symbol, /) -> Symbol:
    return Symbol(x.graph, x.graph.spread(x.node))


def _moved(x: Symbol, places: int, /) -> Symbol:
    return Symbol(x.graph, x.graph.node("moved", x.node, constant=places))


def _cumulative_sum(
    x: Symbol, /, *, axis: Any = None, dtype: Any = None, include_initial: bool = False
) -> Symbol:
    if dtype is not None or include_initial:
        raise Unrecordable(
            "a loss's formula used cumulative_sum with dtype or include_initial, expected axis=-1 "
            "alone"
        )
    boolean = isinstance(x, Symbol) and x.node.boolean
    counted = _apply("where", x, 1.0, 0.0) if boolean else x
    return _along("cumulative_sum", "cumulative_sum", axis, counted)


def _flip(x: Symbol, /, *, axis: Any = None) -> Symbol:
    return _along("flip", "flip", axis, x)


def _sort(x: Symbol, /, *, axis: Any = -1) -> Symbol:
    return _along("sorted_by", "sort", axis, x, x)


def _sort_by(key: Symbol, /, *arrays: Symbol) -> tuple[Symbol, ...]:
    return tuple([_sorted_by(each, key) for each in arrays])


def _sorted_by(x: Symbol, /, *keys: Symbol) -> Symbol:
    return _along("sorted_by", "sort_by", -1, x, *keys)


def _unsorted_by(x: Symbol, /, *keys: Symbol) -> Symbol:
    return _along("unsorted_by", "sort_by", -1, x, *keys)


def _cumulative_log_sum_exp(x: Symbol, /) -> Symbol:
    return _along("cumulative_log_sum_exp", "cumulative_log_sum_exp", -1, x)


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
        return x if x.node.boolean else _apply("not_equal", x, 0)
    if name != x.graph.dtype:
        raise Unrecordable(
            f"a loss's formula used astype to {name}, expected x.dtype: "
            "the dtype to compute in is chosen outside"
        )
    return _apply("where", x, 1.0, 0.0) if x.node.boolean else x


def _full_like(x: Symbol, number: Any, /, *, dtype: Any = None, **_: Any) -> Symbol:
    like = x.node if x.pairs is None else None
    number = bool(number) if dtype is not None and _dtype_name(dtype) == "bool" else number
    return Symbol(x.graph, x.graph.constant(_number(number), like), x.last, x.pairs)


def _zeros_like(x: Symbol, /, **more: Any) -> Symbol:
    return _full_like(x, 0.0, **more)


def _ones_like(x: Symbol, /, **more: Any) -> Symbol:
    return _full_like(x, 1.0, **more)


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


RECORDER: Namespace = _Recorder(
    **{
        op: _operation(op) for op in (*_ARITHMETIC, *_ELEMENTARY, *_CHOICES, *COMPARISONS, *LOGICAL)
    },
    max=_max,
    min=_min,
    sum=_sum,
    over_pairs=_over_pairs,
    cumulative_sum=_cumulative_sum,
    cumulative_log_sum_exp=_cumulative_log_sum_exp,
    flip=_flip,
    sort=_sort,
    sort_by=_sort_by,
    sorted_by=_sorted_by,
    unsorted_by=_unsorted_by,
    running=_running,
    shortfalls=_shortfalls,
    moved=_moved,
    spread=_spread,
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


# Libraries raise these when they are given a symbol for an array. So does Python for a method or
# an operator that a symbol lacks. A formula's own errors of these types are raised again when it
# runs eagerly.
_FOREIGN = (TypeError, AttributeError, ValueError, IndexError, NotImplementedError)


def record(
    function: Callable[..., Any],
    inputs: Mapping[str, Role],
    *,
    dtype: str = "float32",
    place: Callable[[], Any] | None = None,
) -> Program:
    """Record a function of the named inputs; it returns an array or a tuple of arrays.

    `place` tells where the function is, for `Graph.places`. Raises Unrecordable or BadFormula.
    """
    graph = Graph(dtype, place)
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
