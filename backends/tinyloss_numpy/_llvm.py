"""LLVM's instructions as expressions.

A vector's length is the text's, not the machine's: LLVM splits it into the vectors that the machine
has. A scalar beside a vector stands for one whose lanes are equal, and a number of Python's for
one of the type beside it.
"""

import struct
from collections.abc import Callable, Sequence
from math import inf
from typing import Any, Self

from llvmlite import ir

LLVM_TYPES: dict[str, Any] = {
    "float16": ir.HalfType(),
    "float32": ir.FloatType(),
    "float64": ir.DoubleType(),
    "int8": ir.IntType(8),
    "int16": ir.IntType(16),
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


def llvm_type(dtype: str, lanes: int) -> Any:
    """Return LLVM's type of a vector, of a scalar if it has no lanes."""
    element = LLVM_TYPES[dtype]
    return ir.VectorType(element, lanes) if lanes else element


class Builder(ir.IRBuilder):  # type: ignore[misc]
    """Writes instructions, and where vectors of constants are read, if they come from memory.

    LLVM brings a constant to a register wherever it is computed with. Each is one more result under
    way, of which a processor has so many at most. A number in memory that might be another one the
    next time is read from there as a part of the arithmetic.
    """

    def __init__(self, block: Any, before: Any = None) -> None:
        super().__init__(block)
        self.before = before
        """Writes what comes before all that this writes; None where constants are LLVM's."""
        self._read: dict[str, Any] = {}

    def constant(self, type_: Any, number: float) -> Any:
        """Return a vector all of whose lanes are a number."""
        if self.before is None or not number or number != number:
            return ir.Constant(type_, [number] * type_.count)
        name = f"constant {number!r} {type_}"
        if name not in self._read:
            known = self.module.globals
            place: Any = known.get(name) or ir.GlobalVariable(self.module, type_, name)
            place.initializer = ir.Constant(type_, [number] * type_.count)
            self._read[name] = self.before.load(place)
        return self._read[name]


class Value:
    """A scalar or vector in LLVM's intermediate language; numbers beside it take its type.

    Integers wrap and are shifted to the right as if they were unsigned. Comparisons with a NaN are
    false, but for `differs`.
    """

    __slots__ = ("builder", "dtype", "lanes", "ref")

    def __init__(self, builder: Any, ref: Any, dtype: str) -> None:
        self.builder, self.ref, self.dtype = builder, ref, dtype
        self.lanes: int = ref.type.count if isinstance(ref.type, ir.VectorType) else 0

    @property
    def is_float(self) -> bool:
        """Whether it is no integer or condition."""
        return self.dtype.startswith("float")

    def constant(self, number: float) -> "Value":
        """Return a number as a value of this type."""
        element = LLVM_TYPES[self.dtype]
        if isinstance(element, ir.IntType):
            if isinstance(number, float):
                raise TypeError(f"{number} beside {self.dtype}")
            half = 1 << element.width - 1
            number = (number + half) % (2 * half) - half
        type_ = llvm_type(self.dtype, self.lanes)
        if self.lanes and self.is_float:
            return self._new(self.builder.constant(type_, float(number)))
        return self._new(ir.Constant(type_, [number] * self.lanes if self.lanes else number))

    def spread(self, lanes: int) -> "Value":
        """Return a scalar as a vector; a vector as it is."""
        if self.lanes or not lanes:
            return self
        zero, type_ = ir.Constant(LLVM_TYPES["int32"], 0), llvm_type(self.dtype, lanes)
        if isinstance(self.ref, ir.Constant):
            return self._new(ir.Constant(type_, [self.ref.constant] * lanes))
        one = self.builder.insert_element(ir.Constant(type_, ir.Undefined), self.ref, zero)
        mask = ir.Constant(ir.VectorType(LLVM_TYPES["int32"], lanes), [0] * lanes)
        return self._new(self.builder.shuffle_vector(one, one, mask))

    def mixed(self, other: "Value", places: Sequence[int]) -> "Value":
        """Return a vector of the lanes at these places of this one, followed by another."""
        mask = ir.Constant(ir.VectorType(LLVM_TYPES["int32"], len(places)), [*places])
        return self._new(self.builder.shuffle_vector(self.ref, other.ref, mask))

    def shuffled(self, places: Sequence[int]) -> "Value":
        """Return a vector of the lanes at these places."""
        return self.mixed(self, places)

    def joined(self, other: "Value") -> "Value":
        """Return a vector of this one's lanes and, behind them, as many of another."""
        return self.mixed(other, range(2 * self.lanes))

    def halves(self) -> "tuple[Value, Value]":
        """Return the lower and the upper lanes."""
        half = self.lanes // 2
        return self.shuffled(range(half)), self.shuffled(range(half, self.lanes))

    def lane(self, number: int) -> "Value":
        """Return a lane as a scalar."""
        place = ir.Constant(LLVM_TYPES["int32"], number)
        return self._new(self.builder.extract_element(self.ref, place))

    def folded(self, combine: "Callable[[Value, Value], Value]") -> "Value":
        """Return what comes of all lanes, halves combined until one is left."""
        left = self
        while left.lanes > 1:
            left = combine(*left.halves())
        return left.lane(0)

    def _new(self, ref: Any, dtype: str | None = None) -> "Value":
        return Value(self.builder, ref, self.dtype if dtype is None else dtype)

    def _beside(self, other: "Value | float") -> "tuple[Value, Value]":
        """Return both as scalars or as vectors."""
        if not isinstance(other, Value):
            return self, self.constant(other)
        if self.dtype != other.dtype:
            raise TypeError(f"{self.dtype} beside {other.dtype}")
        return self.spread(other.lanes), other.spread(self.lanes)

    def _binary(self, name: str, other: "Self | float") -> "Value":
        left, right = self._beside(other)
        prefix = "f" if self.is_float else ""
        return self._new(getattr(self.builder, prefix + name)(left.ref, right.ref))

    def _compare(self, sign: str, other: "Value | float") -> "Value":
        left, right = self._beside(other)
        builder = self.builder
        compare = builder.fcmp_ordered if self.is_float else builder.icmp_signed
        return self._new(compare(sign, left.ref, right.ref), "bool")

    def _call(self, name: str, *others: "Value | float") -> "Value":
        """Call an intrinsic of LLVM all of whose arguments are of this type, and its result."""
        given = [x if isinstance(x, Value) else self.constant(x) for x in others]
        if any(x.dtype != self.dtype for x in given):
            raise TypeError(f"{name} of {self.dtype} and others")
        lanes = max([self.lanes, *(x.lanes for x in given)])
        type_ = llvm_type(self.dtype, lanes)
        suffix = f"v{lanes}" * bool(lanes) + LLVM_TYPES[self.dtype].intrinsic_name
        signature = ir.FunctionType(type_, [type_] * (1 + len(given)))
        module, name = self.builder.module, f"llvm.{name}.{suffix}"
        function = module.globals.get(name) or ir.Function(module, signature, name)
        return self._new(self.builder.call(function, [x.spread(lanes).ref for x in (self, *given)]))

    def _cast(self, instruction: str, dtype: str) -> "Value":
        cast = getattr(self.builder, instruction)
        return self._new(cast(self.ref, llvm_type(dtype, self.lanes)), dtype)

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
        negative = self.builder.fneg if self.is_float else self.builder.neg
        return self._new(negative(self.ref))

    def _divided(self, other: "Value | float") -> "tuple[Value, Value, Value]":
        """Return the quotient of integers, cut off, the rest, and whether that is one too many."""
        left, right = self._beside(other)
        quotient, rest = (
            self._new(divide(left.ref, right.ref))
            for divide in (self.builder.sdiv, self.builder.srem)
        )
        return quotient, rest, rest.differs(0) & ((rest ^ right) < 0)

    def __floordiv__(self, other: "Value | float") -> "Value":
        quotient, _, beyond = self._divided(other)
        return where(beyond, quotient - 1, quotient)

    def __mod__(self, other: "Value | float") -> "Value":
        _, rest, beyond = self._divided(other)
        return where(beyond, rest + other, rest)

    def __lshift__(self, other: Any) -> "Value":
        return self._binary("shl", other)

    def __rshift__(self, other: Any) -> "Value":
        return self._binary("lshr", other)

    def shifted_right(self, other: Any) -> "Value":
        """Shift an integer with a sign, as Python does."""
        return self._binary("ashr", other)

    def __and__(self, other: Any) -> "Value":
        return self._binary("and_", other)

    def __or__(self, other: Any) -> "Value":
        return self._binary("or_", other)

    def __xor__(self, other: Any) -> "Value":
        return self._binary("xor", other)

    def __invert__(self) -> "Value":
        return self._new(self.builder.not_(self.ref))

    def __lt__(self, other: "Value | float") -> "Value":
        return self._compare("<", other)

    def __le__(self, other: "Value | float") -> "Value":
        return self._compare("<=", other)

    def __gt__(self, other: "Value | float") -> "Value":
        return self._compare(">", other)

    def __ge__(self, other: "Value | float") -> "Value":
        return self._compare(">=", other)

    def equals(self, other: "Value | float") -> "Value":
        """Compare."""
        return self._compare("==", other)

    def differs(self, other: "Value | float") -> "Value":
        """Compare. A NaN differs from everything."""
        return ~self.equals(other)

    def unordered(self, other: "Value") -> "Value":
        """Return whether one of two is NaN."""
        left, right = self._beside(other)
        return self._new(self.builder.fcmp_unordered("uno", left.ref, right.ref), "bool")

    def as_float(self) -> "Value":
        """Return the float of the same bits."""
        return self._cast("bitcast", SAME_WIDTH[self.dtype])

    as_int = as_float

    def everywhere(self) -> "Value":
        """Return whether a condition is met in all lanes."""
        if not self.lanes:
            return self
        together = ir.IntType(self.lanes)
        met = self.builder.bitcast(self.ref, together)
        return self._new(self.builder.icmp_signed("==", met, ir.Constant(together, -1)))

    def as_mask(self, dtype: str) -> "Value":
        """Return a condition as an integer: all bits, or none."""
        return self._cast("sext", dtype)

    def as_number(self, dtype: str) -> "Value":
        """Convert an integer or a float to a float."""
        if self.dtype == dtype:
            return self
        if not self.is_float:
            return self._cast("sitofp", dtype)
        return self._cast("fpext" if dtype == "float64" else "fptrunc", dtype)

    def as_index(self) -> "Value":
        """Return the lower 32 bits of an integer."""
        return self if self.dtype == "int32" else self._cast("trunc", "int32")

    def fabs(self) -> "Value":
        """Clear the sign."""
        return self._call("fabs")

    def rint(self) -> "Value":
        """Round to the nearest integer, ties to even."""
        return self._call("rint")

    def sqrt(self) -> "Value":
        """Return the square root."""
        return self._call("sqrt")

    def sin(self) -> "Value":
        """Return the sine, as the C library has it."""
        return self._call("sin")

    def cos(self) -> "Value":
        """Return the cosine, as the C library has it."""
        return self._call("cos")

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

    def as_long(self) -> "Value":
        """Return an integer in 64 bits; of a float, what is before the point."""
        if self.dtype == "int64":
            return self
        return self._cast("fptosi" if self.is_float else "sext", "int64")

    def converted_beside(self, dtype: str) -> "Value":
        """Return an integer as it is computed with beside another dtype, others as they are."""
        if self.dtype not in ("int32", "int64"):
            return self
        if dtype.startswith("float"):
            return self.as_number(dtype)
        return self.as_long() if dtype == "int64" else self


def where(condition: Value, a: Value | float, b: Value | float) -> Value:
    """Choose without branching; one of the two at least is a `Value`."""
    if not isinstance(a, Value):
        if not isinstance(b, Value):
            raise TypeError("where: neither choice has a type")
        a = b.constant(a)
    b = b if isinstance(b, Value) else a.constant(b)
    if condition.dtype != "bool" or a.dtype != b.dtype:
        raise TypeError(f"where: {condition.dtype}, {a.dtype} and {b.dtype}")
    lanes = max(condition.lanes, a.lanes, b.lanes)
    chosen = [each.spread(lanes).ref for each in (condition, a, b)]
    return Value(a.builder, a.builder.select(*chosen), a.dtype)


def with_error(a: Value, b: Value) -> tuple[Value, Value]:
    """Return a + b and its rounding error (TwoSum)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def whole(total: Value, rest: Value) -> Value:
    """Return a sum with the rounding errors of its additions; that of an infinite one is NaN."""
    return where(total.fabs() < inf, total + rest, total)


def one_dtype(function: Callable[..., Value], dtype: str) -> Callable[..., Value]:
    """Return a function that takes numbers of one dtype only, others being an error of types."""

    def of_one_dtype(*values: Value) -> Value:
        if any(each.dtype != dtype for each in values):
            given = ", ".join(each.dtype for each in values)
            raise TypeError(f"{function.__name__} of {given}, expected {dtype}")
        return function(*values)

    return of_one_dtype


def prefetched(address: Value, write: int) -> None:
    """Have the memory at an address, which may be any, brought into the cache."""
    builder, i32, pointer = address.builder, LLVM_TYPES["int32"], LLVM_TYPES["int8"].as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [pointer, i32, i32, i32])
    module, name = builder.module, "llvm.prefetch.p0"
    function = module.globals.get(name) or ir.Function(module, kind, name)
    how = [ir.Constant(i32, each) for each in (write, 3, 1)]  # keep it; it is data
    builder.call(function, [builder.inttoptr(address.ref, pointer), *how])


def int32(x: Value) -> Value:
    """Convert an integer, to its lower bits."""
    return x.as_index()


def int64(x: Value) -> Value:
    """Convert a number: of a float, what is before the point."""
    return x.as_long()


def float64(x: Value) -> Value:
    """Convert a number."""
    return x.as_number("float64")
