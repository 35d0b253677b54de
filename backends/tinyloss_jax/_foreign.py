"""Functions of NumPy's arrays that XLA calls on a CPU, in the memory of its own arrays.

XLA's foreign function interface calls a C function with a frame: its operands, its results and its
attributes. One such function serves all: an attribute is the number under which the Python
function is kept. XLA's `c_api.h`, which comes with JAX, describes the structures.

XLA's threads flush subnormal numbers to 0. Ours do not, and a result must not depend on who
computed it: so the thread's floating-point environment is the default one during a call.
"""

import atexit
import ctypes
import hashlib
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import jax
import numpy as np

Function = Callable[[Sequence[Any], Sequence[Any]], None]
"""Takes operands and results to be written, arrays of XLA's memory."""

NAME = "tinyloss_numpy"
_pointer, _size, _word = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64


class _Version(ctypes.Structure):
    _fields_ = (
        ("size", _size),
        ("extension", _pointer),
        ("major", ctypes.c_int),
        ("minor", ctypes.c_int),
    )


class _Metadata(ctypes.Structure):
    _fields_ = (("size", _size), ("version", _Version), ("traits", ctypes.c_uint32))


class _Extension(ctypes.Structure):
    _fields_ = (
        ("size", _size),
        ("kind", ctypes.c_int),
        ("next", _pointer),
        ("metadata", ctypes.POINTER(_Metadata)),
    )


class _Buffer(ctypes.Structure):
    _fields_ = (
        ("size", _size),
        ("extension", _pointer),
        ("dtype", ctypes.c_int),
        ("data", _pointer),
        ("rank", _word),
        ("shape", ctypes.POINTER(_word)),
    )


class _Buffers(ctypes.Structure):
    _fields_ = (
        ("size", _size),
        ("extension", _pointer),
        ("count", _word),
        ("kinds", _pointer),
        ("each", ctypes.POINTER(ctypes.POINTER(_Buffer))),
    )


class _Scalar(ctypes.Structure):
    _fields_ = (("dtype", ctypes.c_int), ("value", ctypes.POINTER(_word)))


class _Attributes(ctypes.Structure):
    _fields_ = (
        ("size", _size),
        ("extension", _pointer),
        ("count", _word),
        ("kinds", _pointer),
        ("names", _pointer),
        ("each", ctypes.POINTER(ctypes.POINTER(_Scalar))),
    )


class _Error(ctypes.Structure):
    _fields_ = (
        ("size", _size),
        ("extension", _pointer),
        ("message", ctypes.c_char_p),
        ("code", ctypes.c_int),
    )


_make_error = ctypes.CFUNCTYPE(_pointer, ctypes.POINTER(_Error))
_INTERNAL = 13
"""The code of an error that is no fault of the operands."""


class _Api(ctypes.Structure):
    _fields_ = (
        ("size", _size),
        ("extension", _pointer),
        ("version", _Version),
        ("internal", _pointer),
        ("make_error", _make_error),
    )


class _Frame(ctypes.Structure):
    _fields_ = (
        ("size", _size),
        ("extension", ctypes.POINTER(_Extension)),
        ("api", ctypes.POINTER(_Api)),
        ("context", _pointer),
        ("stage", ctypes.c_int),
        ("operands", _Buffers),
        ("results", _Buffers),
        ("attributes", _Attributes),
    )


_MOST = 64
"""Bytes, more than any fenv_t."""
_DEFAULT = _pointer(-1)
"""FE_DFL_ENV of glibc."""
_METADATA = 1
"""The kind of an extension that asks which version of the interface this is written for."""
_VERSION = (0, 1)


class _Kept:
    """What XLA may call, by number."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: dict[Any, int] = {}
        self.functions: dict[int, tuple[Function, Sequence[Any], Sequence[Any]]] = {}

    def add(
        self, key: Any, function: Function, operands: Sequence[Any], results: Sequence[Any]
    ) -> int:
        """Keep a function with its arrays' types; return its number, the same for the same key.

        It is the same in other processes too, unless two keys read alike: programs that XLA keeps
        on disk have it, and look the function up in the process that lowered them.
        """
        with self._lock:
            number = self._keys.get(key)
            if number is None:
                digest = hashlib.sha256(repr(key).encode()).digest()
                number = int.from_bytes(digest[:7], "little")
                while number in self.functions:
                    number += 1
                self._keys[key] = number
                self.functions[number] = function, operands, results
        return number


kept = _Kept()


def _answered(frame: Any, told: Any) -> None:
    """Answer a call by XLA, and tell of it: 0, or an error."""
    try:
        frame = frame.contents
        if frame.extension and frame.extension.contents.kind == _METADATA:
            version = frame.extension.contents.metadata.contents.version
            version.major, version.minor = _VERSION
        else:
            _call(frame)
        told[0] = 0
    except BaseException as error:  # XLA is C++: nothing may be raised through it
        text = f"tinyloss: {type(error).__name__}: {error}".encode()
        made = frame.api.contents.make_error(ctypes.byref(_error(text)))
        told[0] = made or 0


def _error(text: bytes) -> _Error:
    return _Error(ctypes.sizeof(_Error), None, text, _INTERNAL)


Answering: Any = ctypes.CFUNCTYPE(None, ctypes.POINTER(_Frame), ctypes.POINTER(_word))
"""The type of a C function that answers a call."""
_NOBODY = 1
"""What is told where Python has not come to tell anything."""
_interrupted = _error(b"tinyloss: the call was interrupted, or Python is about to end")


_calls = (_word * 2)()
"""How many calls run, and whether there are to be no more."""


def entry_of(function: Any) -> Any:
    """Return what XLA calls, which has a C function of Python answer.

    Machine code is between. A signal's handler may raise where a Python function begins, before its
    `try`: Ctrl-C during a long program does. ctypes then returns what is in a register. And when
    Python ends, a call from a thread of XLA would wait for its lock for ever.

        word entry(frame) {
            word told = NOBODY;
            atomic_add(&calls[0], 1);
            if (calls[1] == 0) function(frame, &told);
            atomic_add(&calls[0], -1);
            if (told != NOBODY) return told;
            return frame->api ? frame->api->make_error(&interrupted) : 0;
        }
    """
    from llvmlite import binding, ir

    word = ir.IntType(64)
    address = word.as_pointer()
    module = ir.Module()
    entry = ir.Function(module, ir.FunctionType(word, [word]), "entry")
    code = ir.IRBuilder(entry.append_basic_block())
    frame = entry.args[0]

    def at(place: Any, offset: int) -> Any:
        return code.inttoptr(code.add(place, word(offset)), address)

    calls = word(ctypes.addressof(_calls))
    running, over = at(calls, 0), at(calls, ctypes.sizeof(_word))
    told = code.alloca(word)
    code.store(word(_NOBODY), told)
    code.atomic_rmw("add", running, word(1), "seq_cst")
    with code.if_then(code.icmp_unsigned("==", code.load_atomic(over, "seq_cst", 8), word(0))):
        kind = ir.FunctionType(ir.VoidType(), [word, address]).as_pointer()
        called = word(ctypes.cast(function, _pointer).value)
        code.call(code.inttoptr(called, kind), [frame, told])
    code.atomic_rmw("sub", running, word(1), "seq_cst")
    answer = code.load(told)
    with code.if_then(code.icmp_unsigned("!=", answer, word(_NOBODY))):
        code.ret(answer)
    api = code.load(at(frame, _Frame.api.offset))
    with code.if_then(code.icmp_unsigned("!=", api, word(0))):
        kind = ir.FunctionType(word, [word]).as_pointer()
        make_error = code.inttoptr(code.load(at(api, _Api.make_error.offset)), kind)
        code.ret(code.call(make_error, [word(ctypes.addressof(_interrupted))]))
    code.ret(word(0))

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    target = binding.Target.from_default_triple().create_target_machine(jit=True)
    engine: Any = binding.create_mcjit_compiler(binding.parse_assembly(str(module)), target)
    engine.finalize_object()
    callable_by_c: Any = ctypes.CFUNCTYPE(_pointer, _pointer)(engine.get_function_address("entry"))
    callable_by_c.held = engine, function  # the engine owns the machine code
    return callable_by_c


def _end_calls() -> None:
    """Let no call begin any more, and wait for those that run."""
    _calls[1] = 1
    while _calls[0]:
        time.sleep(0.001)


def _forget_calls() -> None:
    """Forget those of the parent's threads in a forked child."""
    _calls[0] = 0


def _call(frame: Any) -> None:
    number = frame.attributes.each[0].contents.value[0]
    known = kept.functions.get(number)
    if known is None:
        raise LookupError("the program was compiled by another process; compile it in this one")
    function, operands, results = known
    environment = _environment()
    assert environment is not None
    before = (ctypes.c_char * _MOST)()
    environment.fegetenv(before)
    try:
        environment.fesetenv(_DEFAULT)
        function(_arrays(frame.operands, operands), _arrays(frame.results, results))
    finally:
        environment.fesetenv(before)


def _arrays(buffers: Any, types: Sequence[Any]) -> list[Any]:
    """Return buffers as arrays of their memory, whose shapes and dtypes are known."""
    return [_array(buffers.each[n].contents, each) for n, each in enumerate(types)]


def _array(buffer: Any, like: Any) -> Any:
    # of nothing, XLA may have no address
    memory = (ctypes.c_char * (like.size * like.dtype.itemsize)).from_address(buffer.data or 0)
    return np.ndarray(like.shape, like.dtype, memory)


@cache
def _environment() -> Any:
    """Return glibc's functions of the floating-point environment; None where it is another C."""
    try:
        return ctypes.CDLL("libm.so.6") if sys.platform == "linux" else None
    except OSError:
        return None


@cache
def known_entry() -> Any:
    """Have XLA know what it calls, once; return that, None where it cannot be."""
    if _environment() is None:
        return None
    try:
        entry = entry_of(Answering(_answered))
        jax.ffi.register_ffi_target(NAME, jax.ffi.pycapsule(entry), platform="cpu")
    except Exception:  # no llvmlite, or a JAX whose interface is another
        return None
    atexit.register(_end_calls)
    os.register_at_fork(after_in_child=_forget_calls)
    return entry
