"""From a recording to its kernels: planned, written, once each."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from tinyloss.backend import Cache, dtype_name
from tinyloss.compiler.geometry import Layouts
from tinyloss.compiler.kernels import DIVISOR, Recording, Staged
from tinyloss.compiler.numbers import Numbers
from tinyloss_cuda.plans import ALIGNMENT, Plan, Variant, make_plan
from tinyloss_cuda.source import Elements, Rows

__all__ = ["CompiledLoss", "divisor_of"]


class CompiledLoss:
    """One program: its passes, and its plans so far."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self._staged: dict[tuple[bool, str], Staged] = {}
        self._numbers: dict[int, Numbers] = {}
        self._plans: Cache[Plan | None] = Cache()

    def staged(self, keep: bool, divisor: str) -> Staged:
        """Return the program; for `keep` see `tinyloss.compiler.passes.stage`."""
        key = keep, _place(divisor)
        if key not in self._staged:
            on_device = (DIVISOR,) if key[1] else ()
            self._staged[key] = self.recording.staged(keep, on_device, narrow=True)
        return self._staged[key]

    def numbers(self, variant: Variant, given: Mapping[str, Any], classes: int) -> list[np.float64]:
        """Return what a kernel takes as numbers."""
        staged = self._staged_for(variant)
        if id(staged) not in self._numbers:
            self._numbers[id(staged)] = Numbers(staged.numbers, np)
        on_device = _place(variant.divisor)
        host = {n: float(each) for n, each in given.items() if not on_device or n != DIVISOR}
        return [np.float64(each) for each in self._numbers[id(staged)](host, classes)]

    def _staged_for(self, variant: Variant) -> Staged:
        return self.staged(variant.shape.kept in ("", "results", "memory"), variant.divisor)

    def plan(
        self,
        overwrites: tuple[str, ...],
        layouts: Layouts,
        addresses: Sequence[int],
        divisor: str,
        clusters: bool,
    ) -> Plan | None:
        """Return how to go over arrays that lie so; None where no kernel can."""
        alike = tuple([each % ALIGNMENT for each in addresses])
        key = (overwrites, layouts, alike, divisor, clusters)
        staged = partial(self.staged, divisor=divisor)
        return self._plans.made(key, lambda: make_plan(self.recording, staged, *key))

    def text(self, variant: Variant) -> str:
        """Return the text of the kernel for arrays that lie as `variant` says."""
        inputs, outputs = self.recording.arrays(variant.arrays, variant.overwrites)
        staged, shape = self._staged_for(variant), variant.shape
        writer = Rows if shape.kept else Elements
        return writer(staged, inputs, outputs, self.recording.real, shape, variant.divisor).text()


def divisor_of(divisor: Any) -> str:
    """Return what a job's divisor is: the dtype of an array, "number", or nothing."""
    if divisor is None:
        return ""
    return "number" if isinstance(divisor, (int, float)) else dtype_name(divisor.dtype)


def _place(divisor: str) -> str:
    return "" if divisor == "number" else divisor
