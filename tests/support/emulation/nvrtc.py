"""NVRTC without CuPy and without a GPU: from a kernel's source to machine code.

The library is that of the package nvidia-cuda-nvrtc. The kernels need no headers.
"""

import ctypes
import re
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = ["Compiled", "compile_source", "is_there"]


@dataclass(frozen=True)
class Compiled:
    """What NVRTC makes of a source."""

    log: str
    ptx: str
    spilled: int
    """Bytes that a thread lays down in memory for want of registers."""
    registers: int


@cache
def _found() -> Path | None:
    """Return the library, None where it is not installed."""
    spec = find_spec("nvidia")
    for root in [] if spec is None else map(Path, spec.submodule_search_locations or []):
        for library in sorted(root.glob("*/lib/libnvrtc.so.*")):
            return library
    return None


def is_there() -> bool:
    """Return whether NVRTC is installed."""
    return _found() is not None


@cache
def _library() -> Any:
    found = _found()
    assert found is not None
    return ctypes.CDLL(str(found))


def compile_source(source: str, architecture: int, options: tuple[str, ...]) -> Compiled:
    """Compile a source for GPUs of an architecture, 90 for sm_90; what is refused is an error."""
    nvrtc = _library()
    program = ctypes.c_void_p()
    status = nvrtc.nvrtcCreateProgram(
        ctypes.byref(program), source.encode(), b"kernel.cu", 0, None, None
    )
    assert status == 0, status
    given = [f"-arch=sm_{architecture}", "--ptxas-options=-v", *options]
    texts = (ctypes.c_char_p * len(given))(*map(str.encode, given))
    status = nvrtc.nvrtcCompileProgram(program, len(given), texts)
    log = _output(nvrtc, program, "ProgramLog")
    assert status == 0, log
    ptx = _output(nvrtc, program, "PTX")
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    spilled = re.search(r"(\d+) bytes spill stores", log)
    registers = re.search(r"Used (\d+) registers", log)
    assert spilled is not None, log
    assert registers is not None, log
    return Compiled(log, ptx, int(spilled[1]), int(registers[1]))


def _output(nvrtc: Any, program: Any, name: str) -> str:
    size = ctypes.c_size_t()
    getattr(nvrtc, f"nvrtcGet{name}Size")(program, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    getattr(nvrtc, f"nvrtcGet{name}")(program, buffer)
    return buffer.value.decode()
