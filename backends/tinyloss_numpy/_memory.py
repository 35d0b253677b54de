"""Reading and writing memory by its address.

The loops of this backend take addresses and steps, not arrays: no array is made or checked inside,
any dtype can be read where it lies, and the compiler is told what arrays do not tell it, that no
two of the named places overlap. Without that it gives up vectorising as soon as there are more
than a few of them.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

SIZES = {
    "bool": 1,
    "int8": 1,
    "uint8": 1,
    "int16": 2,
    "uint16": 2,
    "float16": 2,
    "bfloat16": 2,
    "int32": 4,
    "uint32": 4,
    "float32": 4,
    "int64": 8,
    "uint64": 8,
    "float64": 8,
}
_FLOATS: dict[str, Any] = {
    "float16": ir.HalfType(),
    "float32": ir.FloatType(),
    "float64": ir.DoubleType(),
}
_BFLOAT16_SHIFT = 16
"""bfloat16 is the upper half of float32."""


def accessors(places: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    """Return the functions load_<place>(address, index) and store_<place>(address, index, value).

    `places` maps a name to the dtype in memory and the type computed with: "float32", "float64",
    "int32", "int64" or "bool". Places of different names do not overlap.
    """
    functions: dict[str, Any] = {}
    for name, (memory, computed) in places.items():
        others = [n for n in places if n != name]
        functions[f"load_{name}"] = _load(memory, computed, name, others)
        functions[f"store_{name}"] = _store(memory, computed, name, others)
    return functions


def _load(memory: str, computed: str, name: str, others: Iterable[str]) -> Any:
    stored = _stored(memory)

    @intrinsic
    def load(_context: Any, _address: Any, _index: Any) -> Any:
        def generate(_target: Any, builder: Any, _signature: Any, args: Any) -> Any:
            place = _place(builder, stored, args)
            value = builder.load(place, align=1)
            _tell_apart(builder.module, value, name, others)
            return _read(builder, value, memory, computed)

        return _numba_type(computed)(types.intp, types.intp), generate

    return load


def _store(memory: str, computed: str, name: str, others: Iterable[str]) -> Any:
    stored = _stored(memory)

    @intrinsic
    def store(_context: Any, _address: Any, _index: Any, _value: Any) -> Any:
        def generate(target: Any, builder: Any, _signature: Any, args: Any) -> Any:
            value = _written(builder, args[2], memory, computed)
            store = builder.store(value, _place(builder, stored, args), align=1)
            _tell_apart(builder.module, store, name, others)
            return target.get_dummy_value()

        return types.void(types.intp, types.intp, _numba_type(computed)), generate

    return store


def _numba_type(computed: str) -> Any:
    return types.boolean if computed == "bool" else getattr(types, computed)


def _stored(memory: str) -> Any:
    return _FLOATS.get(memory, ir.IntType(8 * SIZES[memory]))


def _place(builder: Any, stored: Any, args: Any) -> Any:
    return builder.gep(builder.inttoptr(args[0], stored.as_pointer()), [args[1]], inbounds=True)


def _tell_apart(module: Any, access: Any, name: str, others: Iterable[str]) -> None:
    """Mark an access as one to a place that overlaps with none of the others."""
    domain = module.add_metadata(["tinyloss"])
    own = module.add_metadata([module.add_metadata([name, domain])])
    rest = module.add_metadata([module.add_metadata([other, domain]) for other in others])
    access.set_metadata("alias.scope", own)
    access.set_metadata("noalias", rest)


def _read(builder: Any, value: Any, memory: str, computed: str) -> Any:
    """Convert what was loaded to the type computed with."""
    if memory == "bfloat16":
        wide = builder.zext(value, ir.IntType(32))
        shifted = builder.shl(wide, ir.Constant(ir.IntType(32), _BFLOAT16_SHIFT))
        value, memory = builder.bitcast(shifted, ir.FloatType()), "float32"
    if memory == "bool":
        value = builder.icmp_unsigned("!=", value, ir.Constant(value.type, 0))
    if computed in ("float32", "float64"):
        target = _FLOATS[computed]
        if memory in _FLOATS:
            if value.type == target:
                return value
            narrower = SIZES[memory] < SIZES[computed]
            return builder.fpext(value, target) if narrower else builder.fptrunc(value, target)
        signed = memory.startswith("int")
        return builder.sitofp(value, target) if signed else builder.uitofp(value, target)
    if computed == "bool":
        return value
    target = ir.IntType(8 * SIZES[computed])
    if value.type == target:
        return value
    return builder.sext(value, target) if memory.startswith("int") else builder.zext(value, target)


def _written(builder: Any, value: Any, memory: str, computed: str) -> Any:
    """Convert what was computed to what is stored, rounding to nearest, ties to even."""
    if memory == "bool":
        return builder.zext(value, ir.IntType(8))
    if memory == computed:
        return value
    if memory == "bfloat16":
        i32 = ir.IntType(32)
        bits = builder.bitcast(value, i32)
        upper = builder.lshr(bits, ir.Constant(i32, _BFLOAT16_SHIFT))
        odd = builder.and_(upper, ir.Constant(i32, 1))
        # half a unit of the last place kept, less one bit where that place is even
        rounded = builder.add(bits, builder.add(odd, ir.Constant(i32, 0x7FFF)))
        quiet = builder.or_(upper, ir.Constant(i32, 0x40))
        kept = builder.lshr(rounded, ir.Constant(i32, _BFLOAT16_SHIFT))
        is_nan = builder.fcmp_unordered("uno", value, value)
        return builder.trunc(builder.select(is_nan, quiet, kept), ir.IntType(16))
    assert memory in _FLOATS, (memory, computed)
    return builder.fptrunc(value, _FLOATS[memory])
