"""A text as LLVM's intermediate language.

A text is Python, of which this knows what loops need: assignments, `for` over a range, `while`,
`if`, `break`, `continue`, `return`, conditional expressions, arithmetic, comparisons and calls.
What is called is a function of `Value`s that writes instructions, or a `Subroutine`. Types need no
inference: each `Value` has one.

    numbers    of Python's own are computed with while translating, and take the type beside them
    names      have one type in a function
    integers   are of 64 bits; of 32 bits beside such, and where they are stored, they get as many.
               Beside a float they are converted to its type
    and, or    and conditional expressions compute only what is asked for, since that may be a load
    steps      of a range are positive where they are no number of Python's own
"""

import ast
import inspect
import operator
import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, cast

import numpy as np
from llvmlite import ir

from tinyloss_numpy._llvm import LLVM_TYPES, Builder, Value, where

_INTEGER = LLVM_TYPES["int64"]


def subroutine(function: Callable[..., Any], seldom: bool = False) -> Any:
    """Have a Python function translated as a text is, where others call it.

    It takes numbers and returns an integer. What is seldom called is not copied to where it is,
    since it would take registers from the loops there.
    """
    return Subroutine(function, seldom)


class Subroutine:
    """What `subroutine` returns."""

    def __init__(self, function: Callable[..., Any], seldom: bool) -> None:
        self.function, self.seldom = function, seldom

    @cached_property
    def text(self) -> ast.FunctionDef:
        """Its own text."""
        return _definition(textwrap.dedent(inspect.getsource(self.function)))

    @cached_property
    def names(self) -> Mapping[str, Any]:
        """What the text's names are."""
        function: Any = self.function
        cells = [cell.cell_contents for cell in function.__closure__ or ()]
        return {
            **function.__globals__,
            **dict(zip(function.__code__.co_freevars, cells, strict=True)),
        }


def translated(
    source: str, names: Mapping[str, Any], name: str, constants_in_memory: bool = False
) -> ir.Module:
    """Return a module with the function of a text, and what it calls. `names` are those it uses."""
    unit = _Unit(constants_in_memory)
    function = _Function(unit, _definition(source), names, name, ["int64"] * 4).function
    # LLVM keeps to vectors of 256 bits on most machines that have more, for fear of lower clock
    # rates. llvmlite prints what is in this set, but its own add() refuses "key"="value".
    set[str].add(function.attributes, '"prefer-vector-width"="512"')
    # The addresses of outside functions, such as memset, lie with data that is written. llvmlite's
    # memory manager has no place for them unless there is such data.
    data: Any = ir.GlobalVariable(unit.module, _INTEGER, f"{name}_data")
    data.initializer = ir.Constant(_INTEGER, 0)
    return unit.module


def _definition(source: str) -> ast.FunctionDef:
    (found,) = ast.parse(source).body
    assert isinstance(found, ast.FunctionDef)
    return found


class _Unit:
    """A module, and the functions in it."""

    def __init__(self, constants_in_memory: bool) -> None:
        self.module = ir.Module("tinyloss")
        self.constants_in_memory = constants_in_memory
        self._functions: dict[Any, Any] = {}

    def function(self, subroutine: Subroutine, dtypes: tuple[str, ...]) -> Any:
        """Return a subroutine of such numbers in LLVM's language."""
        key = subroutine, dtypes
        if key not in self._functions:
            text, name = subroutine.text, f"{subroutine.text.name}.{len(self._functions)}"
            function = _Function(self, text, subroutine.names, name, dtypes).function
            # Unlike an internal one it is not put where it is called because it is called once.
            function.linkage = "linkonce_odr"
            for attribute in ("noinline", "cold") if subroutine.seldom else ():
                function.attributes.add(attribute)
            self._functions[key] = function
        return self._functions[key]


_OPERATORS: dict[type, Any] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_OF_VALUES: dict[type, Any] = {
    ast.RShift: Value.shifted_right,
    ast.Eq: Value.equals,
    ast.NotEq: Value.differs,
}
"""Operators that have another name for `Value`s than for numbers."""


class _Function:
    """One function: what is known of it while its text is gone through."""

    def __init__(
        self,
        unit: _Unit,
        text: ast.FunctionDef,
        names: Mapping[str, Any],
        name: str,
        dtypes: Sequence[str],
    ) -> None:
        arguments = [each.arg for each in text.args.args]
        kind = ir.FunctionType(_INTEGER, [LLVM_TYPES[each] for each in dtypes])
        self.function = ir.Function(unit.module, kind, name)
        self._unit, self._names = unit, names
        blocks = [self.function.append_basic_block(each) for each in ("entry", "before", "start")]
        self._entry, before = ir.IRBuilder(blocks[0]), ir.IRBuilder(blocks[1])
        """Where variables get their memory."""
        self._builder: Any = Builder(blocks[2], before if unit.constants_in_memory else None)
        self._places: dict[str, Value] = {}
        """The memory of variables, which LLVM does without."""
        self._next: list[Any] = []
        """Of the loops around: where they go on, and where they end."""
        for each, value, dtype in zip(arguments, self.function.args, dtypes, strict=True):
            self._assign(each, Value(self._builder, value, dtype))
        self._statements(text.body)
        if not self._builder.block.is_terminated:
            self._builder.ret(ir.Constant(_INTEGER, 0))
        self._entry.branch(blocks[1])
        before.branch(blocks[2])

    # Statements

    def _statements(self, statements: Sequence[ast.stmt]) -> None:
        for each in statements:
            match each:
                case ast.Assign(targets, given):
                    value = self._several(given)
                    for target in targets:
                        self._assign_to(target, value)
                case ast.AugAssign(ast.Name(name), sign, given):
                    value = self._expression(given)
                    self._assign(name, self._operation(type(sign), self._name(name), value))
                case ast.For():
                    self._for(each)
                case ast.While():
                    self._while(each)
                case ast.If():
                    self._if(each)
                case ast.Continue():
                    self._builder.branch(self._next[-1][0])
                case ast.Break():
                    self._builder.branch(self._next[-1][1])
                case ast.Return():
                    returned = 0 if each.value is None else self._expression(each.value)
                    self._builder.ret(self._as_value(returned).as_long().ref)
                case ast.Expr():
                    self._expression(each.value)
                case _:
                    raise _unknown(each)

    def _several(self, given: ast.expr) -> Any:
        """Return what is assigned: a number, or several."""
        if isinstance(given, ast.Tuple):
            return tuple(self._expression(each) for each in given.elts)
        return self._expression(given)

    def _assign_to(self, target: ast.expr, value: Any) -> None:
        match target:
            case ast.Name(name):
                self._assign(name, value)
            case ast.Tuple(targets):
                for each, one in zip(targets, value, strict=True):
                    self._assign_to(each, one)
            case _:
                raise _unknown(target)

    def _assign(self, name: str, given: Any) -> None:
        if name not in self._places:
            value = self._as_value(given)
            memory = self._entry.alloca(value.ref.type, name=name)
            self._places[name] = Value(self._builder, memory, value.dtype)
        place = self._places[name]
        value, type_ = _beside(given, place), place.ref.type.pointee
        if value.ref.type != type_ or value.dtype != place.dtype:
            raise TypeError(f"{name} is of {type_} and of {value.ref.type}")
        self._builder.store(value.ref, place.ref)

    def _block(self) -> Any:
        return self.function.append_basic_block()

    def _goes_on(self, block: Any) -> None:
        """End a block, if nothing has ended it, by going to another."""
        if not self._builder.block.is_terminated:
            self._builder.branch(block)

    def _for(self, loop: ast.For) -> None:
        match loop:
            case ast.For(target=ast.Name(name), iter=ast.Call(func=ast.Name("range"), args=args)):
                given = [self._expression(each) for each in args]
            case _:
                raise _unknown(loop)
        start, stop, step = {1: [0, *given, 1], 2: [*given, 1], 3: given}[len(given)]
        downwards = not isinstance(step, Value) and step < 0
        start, stop, step = [self._as_value(each).as_long() for each in (start, stop, step)]
        counter = Value(self._builder, self._entry.alloca(_INTEGER), "int64")
        self._builder.store(start.ref, counter.ref)
        head, body, following, end = [self._block() for _ in range(4)]
        self._builder.branch(head)
        self._builder.position_at_end(head)
        number = self._loaded(counter)
        more = number > stop if downwards else number < stop
        self._builder.cbranch(more.ref, body, end)
        self._builder.position_at_end(body)
        self._assign(name, number)
        self._body(loop.body, following, end)
        self._builder.position_at_end(following)
        # a number of Python's never wraps
        later = self._builder.add(self._loaded(counter).ref, step.ref, flags=["nsw"])
        self._builder.store(later, counter.ref)
        self._builder.branch(head)
        self._builder.position_at_end(end)

    def _while(self, loop: ast.While) -> None:
        head, body, end = [self._block() for _ in range(3)]
        self._builder.branch(head)
        self._builder.position_at_end(head)
        self._builder.cbranch(self._as_value(self._condition(loop.test)).ref, body, end)
        self._builder.position_at_end(body)
        self._body(loop.body, head, end)
        self._builder.position_at_end(end)

    def _body(self, statements: Sequence[ast.stmt], following: Any, end: Any) -> None:
        self._next.append((following, end))
        self._statements(statements)
        self._next.pop()
        self._goes_on(following)

    def _if(self, choice: ast.If) -> None:
        condition = self._condition(choice.test)
        if not isinstance(condition, Value):
            self._statements(choice.body if condition else choice.orelse)
            return
        yes, no, end = [self._block() for _ in range(3)]
        self._builder.cbranch(condition.ref, yes, no)
        for block, statements in ((yes, choice.body), (no, choice.orelse)):
            self._builder.position_at_end(block)
            self._statements(statements)
            self._goes_on(end)
        self._builder.position_at_end(end)

    # Expressions: a `Value`, or a number of Python's

    def _expression(self, given: ast.expr) -> Any:
        match given:
            case ast.Constant(number):
                return number
            case ast.Name(name):
                return self._name(name)
            case ast.BinOp(left, sign, right):
                return self._operation(type(sign), self._expression(left), self._expression(right))
            case ast.UnaryOp(ast.USub(), operand):
                return -self._expression(operand)
            case ast.UnaryOp(ast.Not(), operand):
                condition = self._condition(operand)
                return ~condition if isinstance(condition, Value) else not condition
            case ast.Compare():
                return self._comparison(given)
            case ast.BoolOp(sign, values):
                return self._joined(isinstance(sign, ast.And), values)
            case ast.IfExp(test, yes, no):
                return self._choice(
                    self._condition(test),
                    lambda: self._expression(yes),
                    lambda: self._expression(no),
                )
            case ast.Call(ast.Name("max" | "min" as name), [left, right]):
                return self._larger(name == "max", *map(self._expression, (left, right)))
            case ast.Call(ast.Name(name), args):
                return self._call(self._names[name], [*map(self._expression, args)])
            case _:
                raise _unknown(given)

    def _name(self, name: str) -> Any:
        place = self._places.get(name)
        return self._names[name] if place is None else self._loaded(place)

    def _loaded(self, place: Value) -> Value:
        return Value(self._builder, self._builder.load(place.ref), place.dtype)

    def _as_value(self, given: Any) -> Value:
        """Return a number of Python's as a value of the type that stands for it."""
        if isinstance(given, Value):
            return given
        kinds = {bool: "bool", int: "int64", float: "float64", np.float32: "float32"}
        dtype = kinds.get(type(given), "float64")
        type_ = LLVM_TYPES[dtype]
        number = float(given) if dtype.startswith("float") else int(given)
        return Value(self._builder, ir.Constant(type_, number), dtype)

    def _condition(self, given: ast.expr) -> Any:
        found = self._expression(given)
        if isinstance(found, Value) and found.dtype != "bool":
            return found.differs(0)
        return found

    def _operation(self, sign: type, left: Any, right: Any) -> Any:
        if not isinstance(left, Value) and not isinstance(right, Value):
            return _OPERATORS[sign](left, right)
        of_values = _OF_VALUES.get(sign, _OPERATORS[sign])
        return of_values(_beside(left, right), _beside(right, left))

    def _comparison(self, given: ast.Compare) -> Any:
        left, together = self._expression(given.left), cast(Any, True)
        for sign, each in zip(given.ops, given.comparators, strict=True):
            right = self._expression(each)
            together = _both(together, self._operation(type(sign), left, right))
            left = right
        return together

    def _joined(self, is_and: bool, given: Sequence[ast.expr]) -> Any:
        first, *others = given
        condition = self._condition(first)
        if not others:
            return condition

        def rest() -> Any:
            return self._joined(is_and, others)

        yes, no = (rest, lambda: False) if is_and else (lambda: True, rest)
        return self._choice(condition, yes, no)

    def _choice(self, condition: Any, yes: Callable[[], Any], no: Callable[[], Any]) -> Any:
        """Compute one of two."""
        if not isinstance(condition, Value):
            return yes() if condition else no()
        builder, end = self._builder, self._block()
        starts = [self._block() for _ in range(2)]
        builder.cbranch(condition.ref, *starts)
        found, ends = list[Any](), list[Any]()
        for block, compute in zip(starts, (yes, no), strict=True):
            builder.position_at_end(block)
            found.append(compute())
            ends.append(builder.block)
        if not any(isinstance(each, Value) for each in found):
            found = [self._as_value(each) for each in found]
        values = list[Value]()
        for block, own, other in zip(ends, found, found[::-1], strict=True):
            builder.position_at_end(block)
            values.append(_beside(own, other))
            builder.branch(end)
        builder.position_at_end(end)
        chosen = builder.phi(values[0].ref.type)
        for block, value in zip(ends, values, strict=True):
            chosen.add_incoming(value.ref, block)
        return Value(builder, chosen, values[0].dtype)

    def _larger(self, larger: bool, left: Any, right: Any) -> Any:
        """Return the larger or the smaller of two; the first where they cannot be compared."""
        second = self._operation(ast.Gt if larger else ast.Lt, right, left)
        if not isinstance(second, Value):
            return right if second else left
        return where(second, _beside(right, left), _beside(left, right))

    def _call(self, function: Any, given: Sequence[Any]) -> Any:
        if isinstance(function, Subroutine):
            values = [self._as_value(each).converted_beside("int64") for each in given]
            called = self._unit.function(function, tuple(each.dtype for each in values))
            found = self._builder.call(called, [each.ref for each in values])
            return Value(self._builder, found, "int64")
        return function(*map(self._as_value, given))


def _beside(given: Any, other: Any) -> Value:
    """Return one of two numbers as it is computed with; one at least is a `Value`."""
    if not isinstance(given, Value):
        beside: Value = other.constant(given)
        return beside
    return given if not isinstance(other, Value) else given.converted_beside(other.dtype)


def _both(a: Any, b: Any) -> Any:
    """Return whether two conditions hold."""
    if not isinstance(a, Value):
        return b if a else False
    if not isinstance(b, Value):
        return a if b else False
    return a & b


def _unknown(node: ast.AST) -> TypeError:
    return TypeError(f"a text with {ast.unparse(node)!r}")
