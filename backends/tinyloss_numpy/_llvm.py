"""LLVM instructions that Numba has no name for.

`Value` writes LLVM's instructions as expressions. What is built of it is lowered without Numba's
type inference, which takes 2 ms for each call in a body, and every constant is of the type of the
value beside it: in Numba a Python number beside a float32 makes the result a float64.

The functions below `Value` are intrinsics, to be called in code that Numba compiles.
"""

import inspect
import struct
from collections.abc import Callable, Sequence
from typing import Any, Self

from llvmlite import ir
from numba import types as numba_types
from numba.extending import intrinsic as numba_intrinsic

types: Any = numba_types

LLVM_TYPES: dict[str, Any] = {
    "float32": ir.FloatType(),
    "float64": ir.DoubleType(),
    "int32": ir.IntType(32),
    "int64": ir.IntType(64),
    "bool": ir.IntType(1),
}
SAME_WIDTH = {"float32": "int32", "float64": "int64", "int32": "float32", "int64": "float64"}


def bits(number: float, dtype: str) -> int:
    """Return the integer that has the bits of a float32 or float64."""
    packed, unpacked = {"float32": ("f", "i"), "float64": ("d", "q")}[dtype]
    result: int = struct.unpack(unpacked, struct.pack(packed, number))[0]
    return result


class Value:
    """A scalar in LLVM's intermediate language; Python numbers beside it take its type.

    Integers wrap and are shifted as if they were unsigned. Comparisons with a NaN are false.
    """

    __slots__ = ("builder", "dtype", "ref")

    def __init__(self, builder: Any, ref: Any, dtype: str) -> None:
        self.builder, self.ref, self.dtype = builder, ref, dtype

    def constant(self, number: float) -> "Value":
        """Return a number as a value of this type."""
        width = LLVM_TYPES[self.dtype]
        if isinstance(width, ir.IntType):
            half = 1 << width.width - 1
            number = (int(number) + half) % (2 * half) - half
        return self._new(ir.Constant(width, number))

    def _new(self, ref: Any, dtype: str | None = None) -> "Value":
        return Value(self.builder, ref, self.dtype if dtype is None else dtype)

    def _binary(self, name: str, other: "Self | float") -> "Value":
        right = other if isinstance(other, Value) else self.constant(other)
        prefix = "f" if self.dtype.startswith("float") else ""
        return self._new(getattr(self.builder, prefix + name)(self.ref, right.ref))

    def _compare(self, sign: str, other: "Value | float") -> "Value":
        right = other if isinstance(other, Value) else self.constant(other)
        return self._new(self.builder.fcmp_ordered(sign, self.ref, right.ref), "bool")

    def _call(self, name: str, *others: "Value | float") -> "Value":
        """Call an intrinsic of LLVM all of whose arguments are of this type, and its result."""
        refs = [(x if isinstance(x, Value) else self.constant(x)).ref for x in others]
        width = LLVM_TYPES[self.dtype]
        signature = ir.FunctionType(width, [width] * (1 + len(refs)))
        function = self.builder.module.declare_intrinsic(f"llvm.{name}", [width], signature)
        return self._new(self.builder.call(function, [self.ref, *refs]))

    def __add__(self, other: Any) -> "Value":
        return self._binary("add", other)

    def __sub__(self, other: Any) -> "Value":
        return self._binary("sub", other)

    def __rsub__(self, other: float) -> "Value":
        return self.constant(other) - self

    def __mul__(self, other: Any) -> "Value":
        return self._binary("mul", other)

    __radd__ = __add__
    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> "Value":
        return self._binary("div", other)

    def __rtruediv__(self, other: float) -> "Value":
        return self.constant(other) / self

    def __neg__(self) -> "Value":
        return self._new(self.builder.fneg(self.ref))

    def __lshift__(self, other: int) -> "Value":
        return self._binary("shl", other)

    def __rshift__(self, other: int) -> "Value":
        return self._binary("lshr", other)

    def __and__(self, other: Any) -> "Value":
        return self._binary("and_", other)

    def __or__(self, other: Any) -> "Value":
        return self._binary("or_", other)

    def __invert__(self) -> "Value":
        return self._new(self.builder.not_(self.ref))

    def __lt__(self, other: "Value | float") -> "Value":
        return self._compare("<", other)

    def __gt__(self, other: "Value | float") -> "Value":
        return self._compare(">", other)

    def equals(self, other: "Value | float") -> "Value":
        """Compare."""
        return self._compare("==", other)

    def as_float(self) -> "Value":
        """Return the float of the same bits."""
        dtype = SAME_WIDTH[self.dtype]
        return self._new(self.builder.bitcast(self.ref, LLVM_TYPES[dtype]), dtype)

    as_int = as_float

    def fabs(self) -> "Value":
        """Clear the sign."""
        return self._call("fabs")

    def rint(self) -> "Value":
        """Round to the nearest integer, ties to even."""
        return self._call("rint")

    def sqrt(self) -> "Value":
        """Return the square root."""
        return self._call("sqrt")

    def copysign(self, other: "Value | float") -> "Value":
        """Take over the sign of another."""
        return self._call("copysign", other)

    def fma(self, times: "Value | float", plus: "Value | float") -> "Value":
        """Multiply and add, rounding once, on every machine."""
        return self._call("fma", times, plus)

    def muladd(self, times: "Value | float", plus: "Value | float") -> "Value":
        """Multiply and add, in whichever way is fast on the machine."""
        return self._call("fmuladd", times, plus)

    def maximum(self, other: "Value | float") -> "Value":
        """Return the larger, NaN if one is NaN."""
        return self._call("maximum", other)

    def minimum(self, other: "Value | float") -> "Value":
        """Return the smaller, NaN if one is NaN."""
        return self._call("minimum", other)


def where(condition: Value, a: Value | float, b: Value | float) -> Value:
    """Choose without branching; one of the two at least is a `Value`."""
    if not isinstance(a, Value):
        if not isinstance(b, Value):
            raise TypeError("where: neither choice has a type")
        a = b.constant(a)
    b = b if isinstance(b, Value) else a.constant(b)
    return Value(a.builder, a.builder.select(condition.ref, a.ref, b.ref), a.dtype)


def _alike(arguments: Sequence[Any]) -> Any:
    """Return the type of the result of a function of floats of one type."""
    first = arguments[0]
    alike = all(each == first for each in arguments)
    return first if alike and isinstance(first, types.Float) else None


def _of_choice(arguments: Sequence[Any]) -> Any:
    condition, a, b = arguments
    return a if condition == types.boolean and a == b and str(a) in LLVM_TYPES else None


def _of_bits(arguments: Sequence[Any]) -> Any:
    dtype = SAME_WIDTH.get(str(arguments[0]))
    return None if dtype is None else getattr(types, dtype)


def intrinsic(
    body: Callable[..., Value],
    result: Callable[[Sequence[Any]], Any] = _alike,
    name: str | None = None,
) -> Any:
    """Make a body on `Value`s callable in code that Numba compiles.

    `result` tells the type of the result from the types of the arguments, or None where they do
    not fit: nothing is converted.
    """

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return body(
            *(
                Value(builder, argument, str(dtype))
                for argument, dtype in zip(arguments, signature.args, strict=True)
            )
        ).ref

    def typed(context: Any, *arguments: Any) -> Any:
        plain = [types.unliteral(each) for each in arguments]
        returned = result(plain)
        return None if returned is None else (returned(*plain), lower)

    # Numba looks at the signature and would hand over *arguments as one tuple.
    names = ["context", *inspect.signature(body).parameters]
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    definition: Any = typed
    definition.__signature__ = inspect.Signature([inspect.Parameter(n, kind) for n in names])
    definition.__name__ = definition.__qualname__ = name or body.__name__
    return numba_intrinsic(definition)


def _wide(context: Any) -> Any:
    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        # llvmlite prints what is in this set, but its own add() refuses "key"="value".
        set[str].add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), lower


select = intrinsic(where, _of_choice, "select")
as_int = intrinsic(Value.as_int, _of_bits, "as_int")
as_float = intrinsic(Value.as_float, _of_bits, "as_float")
fabs = intrinsic(Value.fabs)
rint = intrinsic(Value.rint)
sqrt = intrinsic(Value.sqrt)
copysign = intrinsic(Value.copysign)
fma = intrinsic(Value.fma)
muladd = intrinsic(Value.muladd)
maximum = intrinsic(Value.maximum)
minimum = intrinsic(Value.minimum)
wide: Any = numba_intrinsic(_wide)
"""wide() lets the loops of the calling function use vectors of 512 bits where the machine has them.

LLVM keeps to 256 bits on most of these machines, for fear of lower clock rates.
"""
