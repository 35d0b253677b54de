"""A kernel's source compiled by g++, its signature read, its arguments checked at a launch."""

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

__all__ = ["Counts", "EmulationError", "Kernel", "Machine", "addressed", "compiled", "machine"]

HERE = Path(__file__).parent
DTYPES = {
    "bool": "bool",
    "signed char": "int8",
    "short": "int16",
    "int": "int32",
    "long long": "int64",
    "unsigned char": "uint8",
    "unsigned short": "uint16",
    "unsigned": "uint32",
    "unsigned long long": "uint64",
    "float16": "float16",
    "bfloat16": "bfloat16",
    "float": "float32",
    "double": "float64",
    "Sum": "float64",
}
MOST_THREADS, MOST_BLOCKS = 1024, 2**31 - 1


class EmulationError(AssertionError):
    """A kernel or its launch is wrong."""


@dataclass
class Counts:
    """What a launch did to an array."""

    name: str
    read: int
    """Bytes."""
    written: int
    reads: Any
    """How often each byte was read."""
    writes: Any


@dataclass
class Machine:
    """The GPU that is emulated."""

    compute_capability: str = "90"
    refuses_clusters: bool = False
    order: int = 0
    """Of threads: 0 forward, 1 backward, else random with this seed."""
    counts: list[list[Counts]] | None = None
    """For each launch what it did to each array, if it is to be kept."""
    launched: list[str] = field(default_factory=list[str])
    """The source of each kernel that was launched."""
    streams: list[int | None] = field(default_factory=list[int | None])
    """The stream of each launch, None for the current one."""
    mutate: Any = None
    """What is done to a source before it is compiled: an error to be found."""


machine = Machine()
_memory: WeakValueDictionary[tuple[int, str], Any] = WeakValueDictionary()


def addressed(address: int, dtype: Any, memory: Any) -> int:
    """Return an address that a kernel may be given: of numbers of a dtype, in a block of memory."""
    _memory[address, np.dtype(dtype).name] = memory
    return address


class Pointed:
    """The array at an address that a kernel was given."""

    def __init__(self, parameter: "Parameter", address: int) -> None:
        self.dtype = np.dtype(DTYPES[parameter.type])
        self.address = address
        try:
            self.memory = _memory[address, DTYPES[parameter.type]]
        except KeyError:
            raise EmulationError(
                f"{parameter.name} of a kernel is {address}, where nobody has asked for the "
                f"address of {parameter.type}"
            ) from None


_one_at_a_time = threading.Lock()  # current thread, fibers and counts are global in runtime.cpp


def _folder() -> Path:
    from platformdirs import user_cache_path

    folder = user_cache_path("tinyloss", appauthor=False) / "emulation"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@cache
def _compiler() -> tuple[str, str]:
    """Return g++ and its version."""
    path = shutil.which("g++")
    if path is None:
        raise EmulationError("g++ is needed to emulate kernels")
    version = subprocess.run([path, "--version"], check=True, capture_output=True, text=True)
    return path, version.stdout


def _compile(source: str, *options: str) -> Path:
    """Return the library of a source, from the cache if it is there."""
    gxx, version = _compiler()
    headers = [each.read_text() for each in sorted(HERE.rglob("*.h*"))]
    digest = hashlib.sha256("\0".join([source, version, *options, *headers]).encode()).hexdigest()
    path = _folder() / f"{digest}.so"
    if not path.exists():
        handle, new = tempfile.mkstemp(dir=path.parent)
        os.close(handle)
        command = [
            gxx, "-std=c++17", "-fPIC", "-shared", "-w", "-U_FORTIFY_SOURCE", "-fno-gnu-unique",
            "-fno-strict-aliasing", "-ffp-contract=off", f"-I{HERE}",
            *options, "-x", "c++", "-", "-o", new,
        ]  # fmt: skip
        done = subprocess.run(command, input=source, capture_output=True, text=True)
        if done.returncode:
            os.unlink(new)
            raise EmulationError(f"g++ refuses a kernel:\n{done.stderr[:4000]}")
        os.replace(new, path)
    return path


@cache
def _runtime() -> Any:
    path = _compile((HERE / "runtime.cpp").read_text(), "-O2")
    library = ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
    library.emulated_launch.restype = ctypes.c_char_p
    return library


@dataclass(frozen=True)
class Parameter:
    """A parameter of a kernel."""

    type: str
    pointer: bool
    constant: bool
    name: str


def _signature(source: str) -> list[Parameter]:
    found = re.search(r'extern "C" __global__[^;{]*?\bkernel\(([^)]*)\)', source)
    if found is None:
        raise EmulationError("the source has no kernel")
    parameters: list[Parameter] = []
    for text in found[1].split(","):
        whole, name = text.strip().rsplit(" ", 1)
        bare = whole.removesuffix("*").removeprefix("const ").strip()
        parameters.append(Parameter(bare, whole.endswith("*"), whole.startswith("const "), name))
    return parameters


_ENTRY = """
namespace tinyloss {
extern "C" void emulated_entry(void* given) {
    void** arguments = static_cast<void**>(given);
    kernel(%s);
}
extern "C" const unsigned long emulated_sizes[] = {%s};
}
"""


class Kernel:
    """A compiled kernel."""

    def __init__(self, source: str) -> None:
        if machine.mutate is not None:
            source = machine.mutate(source)
        self.source = source
        self.parameters = _signature(source)
        types = [f"{p.type}{'*' if p.pointer else ''}" for p in self.parameters]
        arguments = [f"*static_cast<{t}*>(arguments[{n}])" for n, t in enumerate(types)]
        sizes = [f"sizeof({p.type})" for p in self.parameters]
        entry = _ENTRY % (", ".join(arguments), ", ".join(sizes))
        header = '#include "cuda.hpp"\n'
        _runtime()  # what it was linked with serves kernels too: to link them again takes a quarter
        library = ctypes.CDLL(str(_compile(header + source + entry, "-O1", "-nostdlib")))
        self.entry = library.emulated_entry
        self.sizes = list((ctypes.c_ulong * len(types)).in_dll(library, "emulated_sizes"))
        cluster = re.search(r"__cluster_dims__\((\d+), 1, 1\)", source)
        self.cluster = int(cluster[1]) if cluster else 1
        bounds = re.search(r"#define THREADS (\d+)", source)
        self.threads = int(bounds[1]) if bounds else MOST_THREADS

    def launch(
        self, grid: tuple[int, ...], block: tuple[int, ...], arguments: Iterable[Any]
    ) -> None:
        """Run the kernel; arguments are arrays (see `cupy_`), numbers, or where these are."""
        given = [*arguments]
        if len(given) != len(self.parameters):
            raise EmulationError(f"{len(given)} arguments, expected {len(self.parameters)}")
        given = [_read(p, each) for p, each in zip(self.parameters, given, strict=True)]
        if len(grid) != 1 or not 1 <= grid[0] <= MOST_BLOCKS or block != (self.threads,):
            raise EmulationError(f"a grid of {grid} blocks of {block}, expected {self.threads}")
        for parameter, argument, size in zip(self.parameters, given, self.sizes, strict=True):
            _check(parameter, argument, size)
        values = [_value(argument) for argument in given]
        pointers = (ctypes.c_void_p * len(values))(*[ctypes.addressof(v) for v in values])
        arrays = {
            id(a.memory): (a.memory, p.name)
            for a, p in zip(given, self.parameters, strict=True)
            if p.pointer
        }
        ranges = (ctypes.c_uint64 * (4 * len(arrays)))()
        counts: list[Counts] = []
        for n, (memory, name) in enumerate(arrays.values()):
            start = memory.ctypes.data
            ranges[4 * n : 4 * n + 2] = [start, start + memory.nbytes]
            if machine.counts is not None:
                reads, writes = (np.zeros(memory.nbytes, np.uint8) for _ in range(2))
                counts.append(Counts(name, 0, 0, reads, writes))
                ranges[4 * n + 2 : 4 * n + 4] = [reads.ctypes.data, writes.ctypes.data]
        with _one_at_a_time:
            machine.launched.append(self.source)
            error = _runtime().emulated_launch(
                ctypes.cast(self.entry, ctypes.c_void_p), pointers, grid[0], block[0],
                self.cluster, machine.order, ranges, len(arrays),
            )  # fmt: skip
        if error is not None:
            raise EmulationError(error.decode())
        if machine.counts is not None:
            for n, each in enumerate(counts):
                each.read, each.written = ranges[4 * n], ranges[4 * n + 1]
            machine.counts.append(counts)


def _read(parameter: Parameter, argument: Any) -> Any:
    """Return an argument, read as the driver does where a place in memory stands for it."""
    place = getattr(argument, "ptr", None)
    if place is None:
        return argument
    word = bytes((ctypes.c_uint8 * 8).from_address(place))
    if parameter.pointer:
        return Pointed(parameter, int.from_bytes(word, sys.byteorder))
    dtype = np.dtype(DTYPES[parameter.type])
    return np.frombuffer(word[: dtype.itemsize], dtype)[0]


def _check(parameter: Parameter, argument: Any, size: int) -> None:
    what = f"{parameter.name} of a kernel is a {type(argument).__name__}"
    if parameter.pointer:
        if not hasattr(argument, "memory"):
            raise EmulationError(f"{what}, expected an array on the device")
        if argument.dtype.name != DTYPES[parameter.type]:
            raise EmulationError(f"{what} of {argument.dtype}, expected {parameter.type}")
        if argument.dtype.itemsize != size and parameter.type != "Sum":
            raise EmulationError(f"{what} of {argument.dtype}, expected {size} bytes each")
    elif isinstance(argument, np.ndarray):
        if argument.size != 1 or argument.dtype.itemsize != size:
            raise EmulationError(f"{what} of {argument.nbytes} bytes, expected {size}")
    elif not isinstance(argument, np.generic):
        raise EmulationError(f"{what}, expected a NumPy number")
    elif argument.dtype.name != DTYPES[parameter.type]:
        raise EmulationError(f"{what} of {argument.dtype}, expected {parameter.type}")


def _value(argument: Any) -> Any:
    """Return an argument as memory that a kernel's parameter is copied from."""
    if hasattr(argument, "memory"):
        return ctypes.c_void_p(argument.address)
    return ctypes.create_string_buffer(np.asarray(argument).tobytes())


@cache
def _kept(source: str, mutate: Any) -> Kernel:
    return Kernel(source)


def compiled(source: str) -> Kernel:
    """Return the kernel of a source."""
    return _kept(source, machine.mutate)
