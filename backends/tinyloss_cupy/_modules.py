"""From a kernel's text to a function of the device: compiled by NVRTC once, kept on disk.

Not by `cupy.RawModule`, which has numbers below the smallest normal one replaced by 0.
"""

import ctypes
import struct
from collections.abc import Sequence
from functools import cache
from typing import Any

from tinyloss.backend import Cache
from tinyloss.compiler import disk
from tinyloss_cuda.source import KERNEL

OPTIONS = ("-std=c++17", "--fmad=false")
"""Lines of a formula are rounded as they stand, as everywhere else."""


class Kernel:
    """The kernel of a text, on any device."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._loaded: dict[int, Any] = {}

    def __call__(
        self, grid: tuple[int, ...], block: tuple[int, ...], args: Any, stream: Any = None
    ) -> None:
        """Launch it on a stream of the current device, by default on CuPy's current one."""
        import cupy

        device = cupy.cuda.device.get_device_id()
        function = self._loaded.get(device)
        if function is None:
            module = cupy.cuda.function.Module()
            module.load(_machine_code(self._text))
            function = self._loaded[device] = module.get_function(KERNEL)
        function(grid, block, args, 0, stream)


class Launch:
    """A kernel with its blocks, and memory for its arguments: 8 bytes each.

    For CuPy to make each argument anew would take longer than the launch.
    """

    def __init__(
        self,
        kernel: Kernel,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        types: str,
        constants: Sequence[Any] = (),
    ) -> None:
        """Take the types of the arguments in the letters of `struct`, and arguments that stay."""
        self._kernel, self._grid, self._block = kernel, grid, block
        self._count, self._constants = len(types), tuple(constants)
        self._pack = struct.Struct(f"={types}").pack_into
        self._free: list[tuple[Any, tuple[Any, ...]]] = []
        """What no thread is using; the driver has copied what was in it."""

    def __call__(self, arguments: Sequence[Any], stream: Any) -> None:
        """Launch it with addresses and numbers."""
        try:
            memory = self._free.pop()
        except IndexError:
            memory = self._more()
        self._pack(memory[0], 0, *arguments)
        self._kernel(self._grid, self._block, memory[1], stream)
        self._free.append(memory)

    def _more(self) -> tuple[Any, tuple[Any, ...]]:
        import cupy

        slots = (ctypes.c_uint64 * self._count)()
        start = ctypes.addressof(slots)
        places = [cupy.cuda.function.CPointer(start + 8 * n) for n in range(self._count)]
        return slots, (*places, *self._constants)


def kernel_of(text: str) -> Kernel:
    """Return the kernel of a text, the same for all who ask."""
    return _kernels.made(text, lambda: Kernel(text))


_kernels: Cache[Kernel] = Cache()


def _machine_code(text: str) -> bytes:
    """Return the machine code of a text for the current device."""
    import cupy

    capability = str(cupy.cuda.Device().compute_capability)
    key = disk.key_of(*_environment(), capability, *OPTIONS, text)
    known = disk.kept(key)
    if known is not None:
        return known
    code: bytes = cupy.cuda.compiler.compile_using_nvrtc(text, OPTIONS)[0]
    disk.keep(key, code)
    return code


@cache
def _environment() -> tuple[str, ...]:
    import cupy

    return "cuda", cupy.__version__, *map(str, cupy.cuda.nvrtc.getVersion())
