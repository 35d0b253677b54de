"""Texts of loops as functions, for tests of what loops are made of."""

import struct
from collections.abc import Callable, Mapping
from typing import Any

from tinyloss_numpy._compiler import emitted, link, optimized


class Machine:
    """Lines as a function of whole numbers, which the lines read as `entry(table, 0)` and so on."""

    def __init__(
        self, names: Mapping[str, Any], *lines: str, constants_in_memory: bool = False
    ) -> None:
        head = "def kernel(first, last, table, work):"
        source = "\n".join([head, *(f"    {line}" for line in lines)])
        self.module = optimized(source, names, "a test", constants_in_memory)
        self._kernel = link(emitted(self.module))

    def __call__(self, *given: int) -> int:
        assert self._kernel is not None
        return self._kernel(0, 0, struct.pack(f"{len(given)}q", *given), None)


def called(subroutine: Any, arguments: int) -> Callable[..., int]:
    """Return a subroutine as a function of Python."""
    from tinyloss_numpy._loops import vocabulary

    given = ", ".join(f"entry(table, {n})" for n in range(arguments))
    return Machine({**vocabulary("float32"), "own": subroutine}, f"return own({given})")
