"""From a text to machine code: compiled by Numba once, kept on disk, loaded without Numba.

What is kept is the object code. A later process loads it through llvmlite alone, in a tenth of the
time that importing Numba takes.
"""

import ctypes
import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm

from tinyloss.compiler import disk
from tinyloss_numpy._source import LANES, Text

Kernel = Callable[..., int]
"""kernel(result, error, first, last, table, work): Numba's calling convention."""

_DIGEST = hashlib.sha256


def load(text: Text, real: str, title: str) -> Kernel:
    """Return the kernel of a text, from the disk where it is kept."""
    key = _key(text, real)
    stored = disk.kept(key)
    kernel = None if stored is None else _link(stored)
    if kernel is None:
        compiled = _compile(text, real, title)
        kernel = _link(compiled)
        if kernel is None:
            raise RuntimeError("the object code lacks its function")
        disk.keep(key, compiled)
    return kernel


def _key(text: Text, real: str) -> str:
    """Return what tells a kernel from any other: its text, and what makes code of it."""
    return disk.key_of(text.source, repr(text.places), repr(text.lanes), real, *_environment())


@cache
def _environment() -> tuple[str, ...]:
    from importlib.metadata import version

    names = "_compiler _elementary _llvm _loops _memory _orders _shortfalls _source".split()
    own = [(Path(__file__).parent / f"{name}.py").read_bytes() for name in names]
    return (
        version("numba"),
        llvmlite.__version__,
        llvm.get_process_triple(),
        llvm.get_host_cpu_name(),
        llvm.get_host_cpu_features().flatten(),
        *[_DIGEST(each).hexdigest() for each in own],
    )


def _compile(text: Text, real: str, title: str) -> bytes:
    """Compile a text; return the function's name, a line, and its object code."""
    from tinyloss_numpy._loops import vocabulary
    from tinyloss_numpy._memory import accessors

    lanes = text.lanes or LANES[real]
    names = {**vocabulary(real, lanes), **accessors(dict(text.places), lanes)}
    exec(compile(text.source, f"<tinyloss: {title}>", "exec"), names)
    try:
        name, code = _translated(names["kernel"])
    except (AttributeError, ImportError, TypeError):  # of another Numba, whose inside has changed
        name, code = _translated_by_njit(names["kernel"])
    stored: bytes = name.encode() + b"\n" + _machine().emit_object(llvm.parse_assembly(code))
    return stored


def _translated(kernel: Any) -> tuple[str, str]:
    """Return the name and LLVM's text of a function."""
    from numba.core.compiler_lock import global_compiler_lock

    with global_compiler_lock:
        compiled = _numba()(kernel)
        compiled.library.finalize()
        return compiled.fndesc.llvm_func_name, compiled.library.get_llvm_str()


def _translated_by_njit(kernel: Any) -> tuple[str, str]:
    """Return the same by what every Numba has: it makes machine code that never runs, too."""
    from numba import njit, types

    signature = types.intp(*[types.intp] * 4)
    decorated: Any = njit  # its types leave some options out
    compiled = decorated(
        signature, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True
    )(kernel)
    (own,) = compiled.signatures
    return compiled.overloads[own].fndesc.llvm_func_name, compiled.inspect_llvm(own)


@cache
def _numba() -> Callable[[Any], Any]:
    """Return what compiles a kernel as njit does, but makes no machine code of it.

    Numba's would never run: ours is kept. To make both takes a sixth more of the time.
    """
    from numba import types
    from numba.core import codegen, compiler, cpu, registry

    # Numba's own types leave much out.
    to_flags: Any = cpu.CPUTargetOptions.parse_as_flags
    compile_extra: Any = compiler.compile_extra
    flags_of: Any = compiler.Flags
    ahead: Any = codegen.AOTCPUCodegen
    target: Any = registry.cpu_target

    class Codegen(ahead):  # type: ignore[misc]
        def _customize_tm_features(self) -> Any:
            """Say what this processor can do: less, perhaps, than all of its name."""
            return target.target_context.codegen()._tm_features

    flags = flags_of()
    to_flags(
        flags,
        {
            "nopython": True,
            "error_model": "numpy",
            "no_cpython_wrapper": True,
            "no_cfunc_wrapper": True,
        },
    )
    flags.no_compile = True
    own = target.target_context.subtarget(
        _internal_codegen=Codegen("tinyloss", cpu_name="host"), aot_mode=True
    )

    def compile_kernel(kernel: Any) -> Any:
        integers = [types.intp] * 4
        return compile_extra(target.typing_context, own, kernel, integers, types.intp, flags, {})

    return compile_kernel


@cache
def _machine() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=3,
        reloc="pic",
        codemodel="small",
        jit=True,
    )


def _link(compiled: bytes) -> Kernel | None:
    """Return the function in object code that its first line names, None where there is none."""
    name, _, code = compiled.partition(b"\n")
    # An engine of its own: names are unique within one run of Numba only.
    _machine()
    target = llvm.Target.from_default_triple().create_target_machine(jit=True)
    # llvmlite's memory manager keeps code and its constants within the 2 GB that they reach.
    engine: Any = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target, use_lmm=True)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    address = engine.get_function_address(name.decode())
    if not address:
        return None
    prototype = ctypes.CFUNCTYPE(
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_char_p,
        ctypes.c_ssize_t,
        ctypes.c_ssize_t,
        ctypes.c_char_p,
        ctypes.c_void_p,
    )
    kernel: Any = prototype(address)
    kernel.engine = engine  # owns the machine code
    return kernel  # type: ignore[no-any-return]
