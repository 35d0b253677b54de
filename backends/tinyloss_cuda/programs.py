"""From a job to the kernels that answer it: recorded, planned, written, once each."""

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from tinyloss._arrays import dtype_name
from tinyloss._engine.run import Job
from tinyloss.compiler.geometry import Layouts
from tinyloss.compiler.kernels import Kept, Recording, Staged, kept_for
from tinyloss_cuda.plans import ALIGNMENT, Plan, Variant, make_plan
from tinyloss_cuda.source import write

__all__ = ["Loss", "divisor_of", "loss_of"]

_KEPT_PLANS = 256
"""Plans of one program: more different shapes than that are made again."""


class Loss:
    """One kind of program: its passes, and its plans so far."""

    def __init__(self, job: Job) -> None:
        self.recording = Recording(job, np.dtype(job.dtype).name)
        self._staged: dict[bool, Staged] = {}
        self._plans: dict[Any, Plan | None] = {}

    def staged(self, keep: bool) -> Staged:
        """Return the program; for `keep` see `tinyloss.compiler.passes.stage`."""
        staged = self._staged.get(keep)
        if staged is None:
            staged = self._staged[keep] = self.recording.staged(keep)
        return staged

    def plan(
        self,
        overwrites: tuple[str, ...],
        layouts: Layouts,
        addresses: Sequence[int],
        divisor: str,
        clusters: bool,
    ) -> Plan | None:
        """Return how to go over arrays that lie so; None where no kernel can."""
        key = (
            overwrites,
            layouts,
            tuple([each % ALIGNMENT for each in addresses]),
            divisor,
            clusters,
        )
        try:
            return self._plans[key]
        except KeyError:
            pass
        plan = make_plan(
            self.recording, self.staged, overwrites, layouts, key[2], divisor, clusters
        )
        if len(self._plans) >= _KEPT_PLANS:
            self._plans.clear()
        self._plans[key] = plan
        return plan

    def text(self, variant: Variant) -> str:
        """Return the text of the kernel for arrays that lie as `variant` says."""
        inputs, outputs = self.recording.arrays(variant.arrays, variant.overwrites)
        return write(
            self.staged(variant.shape.kept in ("", "results")),
            inputs,
            outputs,
            real=self.recording.real,
            shape=variant.shape,
            divisor=variant.divisor,
        )


def divisor_of(job: Job) -> str:
    """Return what a job's divisor is: the dtype of an array, "number", or nothing."""
    if job.divisor is None:
        return ""
    return "number" if isinstance(job.divisor, (int, float)) else dtype_name(job.divisor.dtype)


_losses: Kept[Loss] = WeakKeyDictionary()


def loss_of(job: Job) -> Loss:
    """Return the one object for everything of a job but its arrays."""
    return kept_for(job, _losses, Loss)
