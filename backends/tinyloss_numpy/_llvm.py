"""LLVM instructions that Numba has no name for, and vectors, which it does not have.

`Value` writes LLVM's instructions as expressions. What is built of it is lowered without Numba's
type inference, which takes 2 ms for each call in a body, and every constant is of the type of the
value beside it: in Numba a Python number beside a float32 makes the result a float64.

`Lanes` is the type of a vector in code that Numba compiles. Its length is the text's, not the
machine's: LLVM splits it into the vectors that the machine has. A scalar beside a vector stands
for one whose lanes are equal.

The functions below `Value` are intrinsics, to be called in code that Numba compiles.
"""

import inspect
import operator
import struct
from collections.abc import Callable, Sequence, Set
from typing import Any, Self

from llvmlite import ir
from numba import extending as numba_extending
from numba import types as numba_types
from numba.core.typing import templates as numba_templates

types: Any = numba_types
# untyped
extending: Any = numba_extending
templates: Any = numba_templates

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


class Value:
    """A scalar or vector in LLVM's intermediate language; numbers beside it take its type.

    Integers wrap and are shifted to the right as if they were unsigned. Comparisons with a NaN are
    false, but for `differs`.
    """

    __slots__ = ("builder", "dtype", "lanes", "ref")

    def __init__(self, builder: Any, ref: Any, dtype: str) -> None:
        self.builder, self.ref, self.dtype = builder, ref, dtype
        self.lanes: int = ref.type.count if isinstance(ref.type, ir.VectorType) else 0

    def constant(self, number: float) -> "Value":
        """Return a number as a value of this type."""
        element = LLVM_TYPES[self.dtype]
        if isinstance(element, ir.IntType):
            half = 1 << element.width - 1
            number = (int(number) + half) % (2 * half) - half
        constant = [number] * self.lanes if self.lanes else number
        return self._new(ir.Constant(llvm_type(self.dtype, self.lanes), constant))

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
        return self.spread(other.lanes), other.spread(self.lanes)

    def _binary(self, name: str, other: "Self | float") -> "Value":
        left, right = self._beside(other)
        prefix = "f" if self.dtype.startswith("float") else ""
        return self._new(getattr(self.builder, prefix + name)(left.ref, right.ref))

    def _compare(self, sign: str, other: "Value | float") -> "Value":
        left, right = self._beside(other)
        builder, floating = self.builder, self.dtype.startswith("float")
        compare = builder.fcmp_ordered if floating else builder.icmp_signed
        return self._new(compare(sign, left.ref, right.ref), "bool")

    def _call(self, name: str, *others: "Value | float") -> "Value":
        """Call an intrinsic of LLVM all of whose arguments are of this type, and its result."""
        given = [x if isinstance(x, Value) else self.constant(x) for x in others]
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

    def as_mask(self, dtype: str) -> "Value":
        """Return a condition as an integer: all bits, or none."""
        return self._cast("sext", dtype)

    def as_number(self, dtype: str) -> "Value":
        """Convert an integer or a float to a float."""
        if self.dtype == dtype:
            return self
        if not self.dtype.startswith("float"):
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
        """Return an integer in 64 bits."""
        return self if self.dtype == "int64" else self._cast("sext", "int64")


def where(condition: Value, a: Value | float, b: Value | float) -> Value:
    """Choose without branching; one of the two at least is a `Value`."""
    if not isinstance(a, Value):
        if not isinstance(b, Value):
            raise TypeError("where: neither choice has a type")
        a = b.constant(a)
    b = b if isinstance(b, Value) else a.constant(b)
    lanes = max(condition.lanes, a.lanes, b.lanes)
    chosen = [each.spread(lanes).ref for each in (condition, a, b)]
    return Value(a.builder, a.builder.select(*chosen), a.dtype)


# ----------------------------------------------------------------------------------------- Numba's


class Lanes(types.Type):  # type: ignore[misc] # Numba has no types
    """Numba's type of a vector."""

    def __init__(self, dtype: str, count: int) -> None:
        self.dtype, self.count = dtype, count
        super().__init__(name=f"{count} lanes of {dtype}")


@extending.register_model(Lanes)
class _Model(extending.models.PrimitiveModel):  # type: ignore[misc] # Numba has no types
    def __init__(self, manager: Any, type_: Lanes) -> None:
        super().__init__(manager, type_, llvm_type(type_.dtype, type_.count))


def of_lanes(dtype: str, count: int) -> Any:
    """Return Numba's type of a vector, of a scalar if it has no lanes."""
    if count:
        return Lanes(dtype, count)
    return types.boolean if dtype == "bool" else getattr(types, dtype)


def _dtype(type_: Any) -> str:
    """Return the dtype of a scalar or of a vector's lanes."""
    if isinstance(type_, Lanes):
        return type_.dtype
    return "bool" if type_ == types.boolean else str(type_)


def _count(arguments: Sequence[Any]) -> int:
    return max([each.count for each in arguments if isinstance(each, Lanes)], default=0)


def _alike(dtypes: Sequence[str]) -> str | None:
    """Return the dtype of the result of a function of floats of one dtype."""
    first = dtypes[0]
    return first if set(dtypes) == {first} and first.startswith("float") else None


def _of_choice(dtypes: Sequence[str]) -> str | None:
    condition, a, b = dtypes
    return a if condition == "bool" and a == b and a in LLVM_TYPES else None


def _of_bits(dtypes: Sequence[str]) -> str | None:
    return SAME_WIDTH.get(dtypes[0])


def intrinsic(
    body: Callable[..., Value],
    result: Callable[[Sequence[str]], str | None] = _alike,
    name: str | None = None,
    count: Callable[[Sequence[Any]], int] = _count,
) -> Any:
    """Make a body on `Value`s callable in code that Numba compiles.

    `result` tells the dtype of the result from those of the arguments, or None where they do not
    fit: nothing is converted. `count` tells how many lanes it has.
    """

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return body(
            *(
                Value(builder, argument, _dtype(type_))
                for argument, type_ in zip(arguments, signature.args, strict=True)
            )
        ).ref

    def typed(context: Any, *arguments: Any) -> Any:
        plain = [types.unliteral(each) for each in arguments]
        returned = result([_dtype(each) for each in plain])
        return None if returned is None else (of_lanes(returned, count(plain))(*plain), lower)

    # Numba looks at the signature and would hand over *arguments as one tuple.
    names = ["context", *inspect.signature(body).parameters]
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    definition: Any = typed
    definition.__signature__ = inspect.Signature([inspect.Parameter(n, kind) for n in names])
    definition.__name__ = definition.__qualname__ = name or body.__name__
    return extending.intrinsic(definition)


_OPERATORS: dict[Any, tuple[str, Any]] = {
    operator.add: ("", operator.add),
    operator.sub: ("", operator.sub),
    operator.mul: ("", operator.mul),
    operator.truediv: ("", operator.truediv),
    operator.neg: ("", operator.neg),
    operator.lt: ("bool", operator.lt),
    operator.le: ("bool", operator.le),
    operator.gt: ("bool", operator.gt),
    operator.ge: ("bool", operator.ge),
    operator.eq: ("bool", Value.equals),
    operator.ne: ("bool", Value.differs),
}
"""Operators of vectors: the dtype of the result, if it is not that of the arguments."""


def _one_float(dtypes: Set[str]) -> str:
    """Return the dtype of floats, where one stands among those of integers alone."""
    floats = [each for each in dtypes if each.startswith("float")]
    integers = dtypes <= {*floats, "int32", "int64"}
    return floats[0] if len(floats) == 1 and integers else ""


def _define(sign: Any, dtype: str, body: Callable[..., Value]) -> None:
    """Teach Numba an operator of vectors of one dtype, or of one and a scalar.

    Integers of 32 and of 64 bits go together, and an integer beside floats is one of them.
    """

    class Template(templates.AbstractTemplate):  # type: ignore[misc] # Numba has no types
        def generic(self, arguments: Any, _: Any) -> Any:
            count = _count(arguments)
            plain = [types.unliteral(each) for each in arguments]
            dtypes = {_dtype(each) for each in plain}
            together = len(dtypes) == 1 or dtypes <= {"int32", "int64"}
            if not count or not (together or _one_float(dtypes)):
                return None
            return of_lanes(dtype or _one_float(dtypes) or max(dtypes), count)(*plain)

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values = [
            Value(builder, argument, _dtype(type_))
            for argument, type_ in zip(arguments, signature.args, strict=True)
        ]
        dtypes = {each.dtype for each in values}
        if floating := _one_float(dtypes):
            values = [each.as_number(floating) for each in values]
        elif len(dtypes) > 1:
            values = [each.as_long() for each in values]
        return body(*values).ref

    templates.infer_global(sign)(Template)
    kinds = (Lanes, types.Float, types.Integer, types.Boolean)
    if sign is operator.neg:
        extending.lower_builtin(sign, Lanes)(lower)
        return
    for kind in kinds:
        extending.lower_builtin(sign, Lanes, kind)(lower)
        if kind is not Lanes:
            extending.lower_builtin(sign, kind, Lanes)(lower)


for _sign, (_of, _body) in _OPERATORS.items():
    _define(_sign, _of, _body)


def _wide(context: Any) -> Any:
    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        # llvmlite prints what is in this set, but its own add() refuses "key"="value".
        set[str].add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), lower


def _prefetch(write: bool) -> Any:
    """Return what has the memory at an address, which may be any, brought into the cache."""

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        i32, pointer = LLVM_TYPES["int32"], LLVM_TYPES["int8"].as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer, i32, i32, i32])
        module, name = builder.module, "llvm.prefetch.p0"
        function = module.globals.get(name) or ir.Function(module, kind, name)
        how = [ir.Constant(i32, each) for each in (int(write), 3, 1)]  # keep it; it is data
        builder.call(function, [builder.inttoptr(arguments[0], pointer), *how])
        return context.get_dummy_value()

    def ahead(context: Any, address: Any) -> Any:
        return types.void(types.intp), lower

    return extending.intrinsic(ahead)


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
wide: Any = extending.intrinsic(_wide)
"""wide() lets the loops of the calling function use vectors of 512 bits where the machine has them.

LLVM keeps to 256 bits on most of these machines, for fear of lower clock rates.
"""
ahead, ahead_to_write = _prefetch(write=False), _prefetch(write=True)
