"""From a kernel's text to a function of the device: compiled by NVRTC once, kept on disk.

Not by `cupy.RawModule`, which has numbers below the smallest normal one replaced by 0.
"""

import hashlib
from functools import cache
from typing import Any

from tinyloss.compiler import disk
from tinyloss_cuda.source import KERNEL

OPTIONS = ("-std=c++17", "--fmad=false")
"""Lines of a formula are rounded as they stand, as everywhere else."""


class Kernel:
    """The kernel of a text, on any device."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._loaded: dict[int, Any] = {}

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], args: Any) -> None:
        """Launch it on the current stream of the current device."""
        import cupy

        device = cupy.cuda.device.get_device_id()
        function = self._loaded.get(device)
        if function is None:
            module = cupy.cuda.function.Module()
            module.load(_machine_code(self._text))
            function = self._loaded[device] = module.get_function(KERNEL)
        function(grid, block, args)


def _machine_code(text: str) -> bytes:
    """Return the machine code of a text for the current device."""
    from cupy.cuda import compiler

    parts = (*_environment(), _capability(), *OPTIONS, text)
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    code = disk.kept(key)
    if code is None:
        code, _ = compiler.compile_using_nvrtc(text, OPTIONS)
        disk.keep(key, code)
    return code


def _capability() -> str:
    import cupy

    return str(cupy.cuda.Device().compute_capability)


@cache
def _environment() -> tuple[str, ...]:
    import cupy

    return "cuda", cupy.__version__, *map(str, cupy.cuda.nvrtc.getVersion())
