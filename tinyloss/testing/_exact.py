"""A recorded formula on exact numbers, and on floats line by line, to see where digits go.

Arrays have the items first and the classes, or one number, last.
"""

import math
import operator
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from decimal import Context, Decimal, localcontext
from typing import Any

from tinyloss.backend import NUMBER, Role
from tinyloss.compiler.program import ALONG, Node, Program

__all__ = ["as_decimal", "brought", "decimals", "exactly", "floats", "last_axis"]

DIGITS = 110
# Nothing overflows, and what is no number is NaN, as in floating-point arithmetic.
_CONTEXT = Context(prec=DIGITS, Emin=-(10**9), Emax=10**9, traps=[])
_ONE = Decimal(1)


def exactly() -> AbstractContextManager[Context]:
    """Return the context that exact numbers are computed in."""
    return localcontext(_CONTEXT)


_CLOSE = -DIGITS // 3
"""A number below 10 to this power has all digits of a series' first three terms."""


def _expm1(x: Decimal) -> Decimal:
    if x.is_finite() and x and x.adjusted() < _CLOSE:
        return x * (1 + x / 2 * (1 + x / 3))
    with localcontext() as context:
        context.prec += -_CLOSE
        return x.exp() - 1


def _log1p(x: Decimal) -> Decimal:
    if x.is_finite() and x and x.adjusted() < _CLOSE:
        return x * (1 - x * (_ONE / 2 - x / 3))
    with localcontext() as context:
        context.prec += -_CLOSE
        return _log(1 + x)


def _sinh(x: Decimal) -> Decimal:
    t = _expm1(x)
    return x if x.is_infinite() else (t + t / (t + 1)) / 2


def _tanh(x: Decimal) -> Decimal:
    t = _expm1(-2 * abs(x))  # from -1 to 0: nothing overflows
    return (-t / (t + 2)).copy_sign(x)


def _cosh(x: Decimal) -> Decimal:
    return (x.exp() + (-x).exp()) / 2


def _series(x: Decimal, term: Decimal, first: int) -> Decimal:
    """Return the sum of a sine's or cosine's Taylor series from a term on."""
    total, number = Decimal(0), first
    while term and (not total or term.adjusted() > total.adjusted() - DIGITS - 5):
        total += term
        term *= -x * x / ((number + 1) * (number + 2))
        number += 2
    return total


def _turned(function: Callable[[Decimal], Decimal]) -> Callable[[Decimal], Decimal]:
    """Return a function of period 2 pi of a smaller argument."""

    def call(x: Decimal) -> Decimal:
        if not x.is_finite():
            return Decimal("NaN")
        with localcontext() as context:
            context.prec += 10 + max(0, x.adjusted())
            # pi = 16 atan(1/5) - 4 atan(1/239), Machin 1706
            turn = 2 * (16 * _arctan(5) - 4 * _arctan(239))
            return function(x - turn * (x / turn).to_integral_value())

    return call


def _arctan(inverse: int) -> Decimal:
    total, power, number = Decimal(0), _ONE / inverse, 1
    with localcontext() as context:
        while power.adjusted() > -context.prec - 5:
            total += power / number if number % 4 == 1 else -power / number
            power /= inverse * inverse
            number += 2
    return total


def _pow(x: Decimal, y: Decimal) -> Decimal:
    return _ONE if not y else x**y


def _larger(a: Decimal, b: Decimal) -> Decimal:
    return a + b if a.is_nan() or b.is_nan() else max(a, b)


def _smaller(a: Decimal, b: Decimal) -> Decimal:
    return a + b if a.is_nan() or b.is_nan() else min(a, b)


def _log(x: Decimal) -> Decimal:
    return x.ln() if x else Decimal("-Infinity")


def _sin(x: Decimal) -> Decimal:
    return _series(x, x, 1)


def _cos(x: Decimal) -> Decimal:
    return _series(x, _ONE, 0)


_OF_ONE: dict[str, Callable[..., Any]] = {
    "abs": abs, "negative": operator.neg, "sqrt": Decimal.sqrt, "exp": Decimal.exp, "log": _log,
    "expm1": _expm1, "log1p": _log1p, "sinh": _sinh, "cosh": _cosh, "tanh": _tanh,
    "sin": _turned(_sin), "cos": _turned(_cos),
    "isnan": Decimal.is_nan, "isinf": Decimal.is_infinite, "isfinite": Decimal.is_finite,
}  # fmt: skip
_OF_TWO: dict[str, Callable[..., Any]] = {
    "add": operator.add, "subtract": operator.sub, "multiply": operator.mul,
    "divide": Decimal.__truediv__, "pow": _pow, "maximum": _larger, "minimum": _smaller,
    "less": operator.lt, "less_equal": operator.le, "greater": operator.gt,
    "greater_equal": operator.ge, "equal": operator.eq, "not_equal": operator.ne,
}  # fmt: skip


class Numbers:
    """One kind of numbers, and a program's nodes computed of them."""

    def __init__(self, numpy: Any, operations: Mapping[str, Any], number: Any) -> None:
        self._numpy, self._operations, self._number = numpy, operations, number

    def nodes(self, program: Program, arrays: Mapping[str, Any]) -> dict[int, Any]:
        """Return what each node of a program is, by its identity."""
        found: dict[int, Any] = {}
        shapes = [array.shape for array in arrays.values()]
        self._classes = max(shape[-1] for shape in shapes)
        for node in program.nodes():
            args = [found[id(arg)] for arg in node.args]
            if node.op == "other":
                found[id(node)] = args[0][..., None, :]
                continue
            if node.per_other:  # rows, classes, other classes
                beside = zip(args, node.args, strict=True)
                args = [each if arg.per_other else each[..., None] for each, arg in beside]
            result = self._of(node, args, arrays)
            found[id(node)] = result[..., 0] if node.op == "pair_sum" else result
        return found

    def _of(self, node: Node, args: list[Any], arrays: Mapping[str, Any]) -> Any:
        numpy, op = self._numpy, node.op
        if op == "input":
            return arrays[node.constant]
        if op == "constant":
            plain = isinstance(node.constant, bool)
            return numpy.array([[node.constant if plain else self._number(node.constant)]])
        if op == "classes":
            return numpy.array([[self._number(self._classes)]])
        if op == "class_index":
            return numpy.array([[self._number(n) for n in range(self._classes)]])
        if op == "where":
            return numpy.where(args[0].astype(bool), args[1], args[2])
        if op.startswith("logical_"):
            return getattr(numpy, op)(*[each.astype(bool) for each in args])
        if op in ("sum", "max", "pair_sum"):
            (terms,) = args
            varies = node.args[0].per_other if op == "pair_sum" else node.args[0].per_class
            if varies and terms.shape[-1] == 1:  # the same for each class
                terms = numpy.broadcast_to(terms, (*terms.shape[:-1], self._classes))
            join = self._operations["maximum" if op == "max" else "add"]
            total = terms[..., :1]
            for at in range(1, terms.shape[-1]):
                total = join(total, terms[..., at : at + 1])
            return total
        if op in ALONG:
            wide = [numpy.broadcast_to(each, (*each.shape[:-1], self._classes)) for each in args]
            return self._along(op, *wide)
        return self._operations[op](*args)

    def _along(self, op: str, terms: Any, key: Any = None) -> Any:
        """Return what an operation that goes over the classes in order makes of terms."""
        numpy = self._numpy
        if op == "flip":
            return terms[..., ::-1]
        if op == "sorted_by":
            terms, key = numpy.broadcast_arrays(terms, key)
            at = numpy.argsort(key, axis=-1, kind="stable")
            return numpy.take_along_axis(terms, at, axis=-1)
        take = self._operations
        found: list[Any] = []
        for at in range(self._classes):
            if op == "cumulative_sum":
                own = terms[..., at]
                found.append(take["add"](found[-1], own) if found else own)
                continue
            some = terms[..., : at + 1]
            top = some[..., 0]
            for each in range(1, at + 1):
                top = take["maximum"](top, some[..., each])
            none = numpy.asarray(take["equal"](top, self._number("-inf"))).astype(bool)
            less = take["subtract"](some, numpy.where(none, self._number(0), top)[..., None])
            e = [take["exp"](less[..., n]) for n in range(at + 1)]
            total = sum(e[1:], e[0])
            found.append(take["add"](take["log"](total), top))
        return numpy.stack(found, axis=-1)


def decimals(numpy: Any) -> Numbers:
    """Return exact numbers, in arrays of objects."""
    of_one = {op: numpy.frompyfunc(each, 1, 1) for op, each in _OF_ONE.items()}
    of_two = {op: numpy.frompyfunc(each, 2, 1) for op, each in _OF_TWO.items()}
    return Numbers(numpy, of_one | of_two, Decimal)


def floats(numpy: Any, dtype: Any) -> Numbers:
    """Return numbers of a floating dtype."""
    return Numbers(numpy, {op: getattr(numpy, op) for op in (*_OF_ONE, *_OF_TWO)}, dtype)


def as_decimal(number: Any) -> Decimal:
    """Return a float exactly."""
    return Decimal(float(number)) if math.isfinite(number) else Decimal(str(float(number)))


def brought(numpy: Any, arrays: Mapping[str, Any], roles: Mapping[str, Role]) -> dict[str, Any]:
    """Return arrays of floats exactly, the items first."""
    of_decimals = numpy.frompyfunc(as_decimal, 1, 1)
    return {name: of_decimals(last_axis(each, roles[name])) for name, each in arrays.items()}


def last_axis(array: Any, role: Role) -> Any:
    """Return an array with the items first and the classes, or one number, last."""
    if role == NUMBER:
        return array.reshape(1, 1)
    if not role.per_item:
        return array.reshape(1, -1)
    return array if array.ndim == 2 else array[:, None]
