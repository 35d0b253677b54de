"""Reading and writing memory by its address.

The loops of this backend take addresses and steps, not arrays: no array is made or checked inside,
any dtype can be read where it lies, and the compiler is told what arrays do not tell it, that no
two of the named places overlap.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from llvmlite import ir

from tinyloss_numpy._llvm import Value, llvm_type
from tinyloss_numpy._source import SIZES
from tinyloss_numpy._translator import subroutine

_FLOATS = ("float16", "float32", "float64")
_BFLOAT16_SHIFT = 16
"""bfloat16 is the upper half of float32."""


def accessors(places: Mapping[str, tuple[str, str]], lanes: int = 0) -> dict[str, Any]:
    """Return functions that read and write places.

    `places` maps a name to the dtype in memory and the type computed with: "float32", "float64",
    "int32", "int64" or "bool". Places of different names do not overlap.

        load_<place>(address, index)            one number
        store_<place>(address, index, value)
        take_<place>(address)                   a vector of `lanes` that lie side by side
        put_<place>(address, value)
        pack_<place>(address, step, count, pad) copy a few numbers side by side; return where to
        unpack_<place>(address, step, count, pad)
        turn_<place>(address, step, scratch)    copy TURNED rows of TURNED numbers as columns
        unturn_<place>(address, step, scratch)  and back
        part_<place>(address, scratch)          copy rows of two numbers without gaps as two vectors
        unpart_<place>(address, scratch)        and back
    """
    functions: dict[str, Any] = {}
    for name, (memory, computed) in places.items():
        others = [n for n in places if n != name]
        functions[f"load_{name}"] = _load(memory, computed, name, others)
        functions[f"store_{name}"] = _store(memory, computed, name, others)
        if lanes:
            functions[f"take_{name}"] = _load(memory, computed, name, others, lanes)
            functions[f"put_{name}"] = _store(memory, computed, name, others, lanes)
            pack, unpack = _copies(SIZES[memory], lanes)
            functions[f"pack_{name}"], functions[f"unpack_{name}"] = pack, unpack
            functions[f"turn_{name}"] = _turn(memory, computed, lanes, back=False)
            functions[f"unturn_{name}"] = _turn(memory, computed, lanes, back=True)
            functions[f"part_{name}"] = _part(memory, computed, lanes, back=False)
            functions[f"unpart_{name}"] = _part(memory, computed, lanes, back=True)
    return functions


@cache
def _copies(size: int, lanes: int) -> tuple[Any, Any]:
    """Return how numbers of a size are copied from and to where a vector is read or written.

    Lanes without a number have that of the first: an ordinary one, in its domain.
    """
    raw = f"int{8 * size}"
    load, store = _load(raw, raw, "", ()), _store(raw, raw, "", ())
    put = _store(raw, raw, "", (), lanes)

    def pack(address: Any, step: Any, count: Any, pad: Any) -> Any:
        put(pad, load(address, 0))
        for k in range(1, count):
            store(pad, k, load(address + k * step, 0))
        return pad

    def unpack(address: Any, step: Any, count: Any, pad: Any) -> Any:
        for k in range(count):
            store(address + k * step, 0, load(pad, k))

    return subroutine(pack, seldom=True), subroutine(unpack, seldom=True)


TURNED = 8
"""Rows, and numbers of each, that are transposed at once."""


def _turn(memory: str, computed: str, lanes: int, back: bool) -> Any:
    """Return what copies a square between rows of a step and scratch rows of so many lanes."""
    rows, scratch_rows = (llvm_type(_stored(memory), TURNED), llvm_type(computed, TURNED))

    def turn(address: Value, step: Value, scratch: Value) -> None:
        builder = address.builder

        def places(start: Any, step: Any, type_: Any) -> list[Any]:
            found: list[Any] = []
            for _ in range(TURNED):
                found.append(builder.inttoptr(start, type_.as_pointer()))
                start = builder.add(start, step)
            return found

        apart = step.constant(lanes * SIZES[computed])
        outer = places(address.ref, step.ref, rows)
        inner = places(scratch.ref, apart.ref, scratch_rows)
        loaded = [builder.load(each, align=1) for each in (inner if back else outer)]
        if not back:
            loaded = [_read(builder, each, memory, computed, TURNED) for each in loaded]
        turned = _transposed([Value(builder, each, computed) for each in loaded])
        for each, place in zip(turned, outer if back else inner, strict=True):
            value = _written(builder, each.ref, memory, computed, TURNED) if back else each.ref
            builder.store(value, place, align=1)

    return turn


def _part(memory: str, computed: str, lanes: int, back: bool) -> Any:
    """Return what copies rows of two numbers without gaps to a scratch row for each, or back."""

    def part(address: Value, scratch: Value) -> None:
        builder = address.builder
        outer = _pointer(address, memory, 2 * lanes)
        firsts, seconds = (
            _pointer(scratch + k * lanes * SIZES[computed], computed, lanes) for k in range(2)
        )
        if back:
            first, second = (
                Value(builder, builder.load(each, align=1), computed) for each in (firsts, seconds)
            )
            both = first.mixed(second, [k // 2 + k % 2 * lanes for k in range(2 * lanes)])
            written = _written(builder, both.ref, memory, computed, 2 * lanes)
            builder.store(written, outer, align=1)
            return
        loaded = builder.load(outer, align=1)
        both = Value(builder, _read(builder, loaded, memory, computed, 2 * lanes), computed)
        for k, place in enumerate((firsts, seconds)):
            builder.store(both.shuffled(range(k, 2 * lanes, 2)).ref, place, align=1)

    return part


def _transposed(rows: list[Value]) -> list[Value]:
    """Return the columns of eight rows of eight, in the three steps that AVX has shuffles for."""
    pairs = [
        a.mixed(b, places)
        for a, b in zip(rows[::2], rows[1::2], strict=True)
        for places in ((0, 8, 1, 9, 4, 12, 5, 13), (2, 10, 3, 11, 6, 14, 7, 15))
    ]
    fours = [
        pairs[at].mixed(pairs[at + 2], places)
        for at in (0, 1, 4, 5)
        for places in ((0, 1, 8, 9, 4, 5, 12, 13), (2, 3, 10, 11, 6, 7, 14, 15))
    ]
    return [
        a.mixed(b, places)
        for places in ((0, 1, 2, 3, 8, 9, 10, 11), (4, 5, 6, 7, 12, 13, 14, 15))
        for a, b in zip(fours[:4], fours[4:], strict=True)
    ]


def _load(memory: str, computed: str, name: str, others: Iterable[str], lanes: int = 0) -> Any:
    def take(address: Value) -> Value:
        return at(_pointer(address, memory, lanes), address.builder)

    def load(address: Value, index: Value) -> Value:
        return at(_element(address, index, memory), address.builder)

    def at(place: Any, builder: Any) -> Value:
        value = builder.load(place, align=1)
        _tell_apart(builder.module, value, name, others)
        return Value(builder, _read(builder, value, memory, computed, lanes), computed)

    return take if lanes else load


def _store(memory: str, computed: str, name: str, others: Iterable[str], lanes: int = 0) -> Any:
    def put(address: Value, value: Value) -> None:
        at(_pointer(address, memory, lanes), value)

    def store(address: Value, index: Value, value: Value) -> None:
        at(_element(address, index, memory), value)

    def at(place: Any, value: Value) -> None:
        value = value.converted_beside(computed)
        if value.dtype != computed:
            raise TypeError(f"{name}: {value.dtype} stored, expected {computed}")
        builder = value.builder
        written = _written(builder, value.spread(lanes).ref, memory, computed, lanes)
        store = builder.store(written, place, align=1)
        _tell_apart(builder.module, store, name, others)

    return put if lanes else store


def _pointer(address: Value, memory: str, lanes: int) -> Any:
    return address.builder.inttoptr(address.ref, llvm_type(_stored(memory), lanes).as_pointer())


def _element(address: Value, index: Value, memory: str) -> Any:
    first = _pointer(address, memory, 0)
    return address.builder.gep(first, [index.as_long().ref], inbounds=True)


def _stored(memory: str) -> str:
    """Return the dtype that LLVM has for one in memory."""
    return memory if memory in _FLOATS else f"int{8 * SIZES[memory]}"


def _tell_apart(module: Any, access: Any, name: str, others: Iterable[str]) -> None:
    """Mark an access as one to a place that overlaps with none of the others."""
    if not name:
        return
    domain = module.add_metadata(["tinyloss"])
    own = module.add_metadata([module.add_metadata([name, domain])])
    rest = module.add_metadata([module.add_metadata([other, domain]) for other in others])
    access.set_metadata("alias.scope", own)
    access.set_metadata("noalias", rest)


def _filled(like: Any, number: int) -> Any:
    """Return an integer as a constant of a scalar's or vector's type."""
    lanes = like.count if isinstance(like, ir.VectorType) else 0
    return ir.Constant(like, [number] * lanes if lanes else number)


def _read(builder: Any, value: Any, memory: str, computed: str, lanes: int) -> Any:
    """Convert what was loaded to the type computed with."""
    if memory == "bfloat16":
        i32 = llvm_type("int32", lanes)
        shifted = builder.shl(builder.zext(value, i32), _filled(i32, _BFLOAT16_SHIFT))
        value, memory = builder.bitcast(shifted, llvm_type("float32", lanes)), "float32"
    if memory == "bool":
        value = builder.icmp_unsigned("!=", value, _filled(value.type, 0))
    if computed in ("float32", "float64"):
        target = llvm_type(computed, lanes)
        if memory in _FLOATS:
            if memory == computed:
                return value
            narrower = SIZES[memory] < SIZES[computed]
            return builder.fpext(value, target) if narrower else builder.fptrunc(value, target)
        signed = memory.startswith("int")
        return builder.sitofp(value, target) if signed else builder.uitofp(value, target)
    if computed == "bool":
        return value
    target = llvm_type(computed, lanes)
    if value.type == target:
        return value
    return builder.sext(value, target) if memory.startswith("int") else builder.zext(value, target)


def _written(builder: Any, value: Any, memory: str, computed: str, lanes: int) -> Any:
    """Convert what was computed to what is stored, rounding to nearest, ties to even."""
    if memory == "bool":
        return builder.zext(value, llvm_type("int8", lanes))
    if memory == computed:
        return value
    if memory == "bfloat16":
        i32, i16 = llvm_type("int32", lanes), llvm_type("int16", lanes)
        bits = builder.bitcast(value, i32)
        upper = builder.lshr(bits, _filled(i32, _BFLOAT16_SHIFT))
        odd = builder.and_(upper, _filled(i32, 1))
        # half a unit of the last place kept, less one bit where that place is even
        rounded = builder.add(bits, builder.add(odd, _filled(i32, 0x7FFF)))
        quiet = builder.or_(upper, _filled(i32, 0x40))
        kept = builder.lshr(rounded, _filled(i32, _BFLOAT16_SHIFT))
        is_nan = builder.fcmp_unordered("uno", value, value)
        return builder.trunc(builder.select(is_nan, quiet, kept), i16)
    assert memory in _FLOATS, (memory, computed)
    return builder.fptrunc(value, llvm_type(memory, lanes))
