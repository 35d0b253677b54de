"""From a text to machine code: compiled by LLVM once, kept on disk as object code."""

import ctypes
import hashlib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm

from tinyloss.compiler import disk
from tinyloss_numpy._source import LANES, Text

Kernel = Callable[..., int]
"""kernel(first, last, table, work)"""

_NAME = "kernel"
_DIGEST = hashlib.sha256
_READ = (
    *("_compiler", "_elementary", "_llvm", "_loops"),
    *("_memory", "_orders", "_shortfalls", "_source", "_translator"),
)
"""The modules that make code of a text."""


def load(text: Text, real: str, title: str) -> Kernel:
    """Return the kernel of a text, from the disk where it is kept."""
    key = _key(text, real)
    stored = disk.kept(key)
    kernel = None if stored is None else link(stored)
    if kernel is None:
        compiled = _compile(text, real, title)
        kernel = link(compiled)
        if kernel is None:
            raise RuntimeError("the object code lacks its function")
        disk.keep(key, compiled)
    return kernel


def _key(text: Text, real: str) -> str:
    """Return what tells a kernel from any other: its text, and what makes code of it."""
    return disk.key_of(text.source, repr(text.places), repr(text.lanes), real, *_environment())


@cache
def _environment() -> tuple[str, ...]:
    own = [(Path(__file__).parent / f"{name}.py").read_bytes() for name in _READ]
    return (
        llvmlite.__version__,
        llvm.get_process_triple(),
        llvm.get_host_cpu_name(),
        llvm.get_host_cpu_features().flatten(),
        *[_DIGEST(each).hexdigest() for each in own],
    )


def _compile(text: Text, real: str, title: str) -> bytes:
    """Compile a text; return its object code."""
    from tinyloss_numpy._loops import vocabulary
    from tinyloss_numpy._memory import accessors

    lanes = text.lanes or LANES[real]
    names = {**vocabulary(real, lanes), **accessors(dict(text.places), lanes)}
    return emitted(optimized(text.source, names, title, text.elements and _has_few_registers()))


def optimized(
    source: str, names: Mapping[str, Any], title: str, constants_in_memory: bool = False
) -> Any:
    """Return LLVM's module of a text whose names are these."""
    from tinyloss_numpy._translator import translated

    target = machine()
    written = translated(source, names, _NAME, constants_in_memory)
    module: Any = llvm.parse_assembly(str(written))
    module.name, module.triple = title, target.triple
    module.data_layout = str(target.target_data)
    options: Any = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization, options.slp_vectorization = True, False
    passes: Any = llvm.create_pass_builder(target, options)
    passes.getModulePassManager().run(module, passes)
    return module


def emitted(module: Any) -> bytes:
    """Return a module's object code."""
    code: bytes = machine().emit_object(module)
    return code


def _has_few_registers() -> bool:
    """Return whether there are 16 for vectors, as on x86 without AVX-512, and not 32."""
    features: Any = llvm.get_host_cpu_features()
    return machine().triple.startswith(("x86_64", "i")) and not features.get("avx512f", False)


@cache
def machine() -> Any:
    """Return what LLVM knows of this machine."""
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


def link(compiled: bytes) -> Kernel | None:
    """Return the kernel in object code, None where there is none."""
    # An engine of its own: all kernels have the same name.
    machine()
    target = llvm.Target.from_default_triple().create_target_machine(jit=True)
    # llvmlite's memory manager keeps code and its constants within the 2 GB that they reach.
    engine: Any = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target, use_lmm=True)
    engine.add_object_file(llvm.ObjectFileRef.from_data(compiled))
    engine.finalize_object()
    address = engine.get_function_address(_NAME)
    if not address:
        return None
    prototype = ctypes.CFUNCTYPE(
        ctypes.c_ssize_t,
        ctypes.c_ssize_t,
        ctypes.c_ssize_t,
        ctypes.c_char_p,
        ctypes.c_void_p,
    )
    kernel: Any = prototype(address)
    kernel.engine = engine  # owns the machine code
    return kernel  # type: ignore[no-any-return]
