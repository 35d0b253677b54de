"""From a kernel's text to a function of the device: compiled by NVRTC once, kept on disk.

Not by `cupy.RawModule`, which has numbers below the smallest normal one replaced by 0.
"""

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
