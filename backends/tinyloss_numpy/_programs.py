"""From a job to the kernel that answers it: recorded, staged, written, compiled, once each."""

import os
import threading
from functools import cached_property
from typing import Any, NamedTuple
from warnings import warn
from weakref import WeakKeyDictionary

import numpy as np

from tinyloss._engine import Job
from tinyloss._geometry import Lying
from tinyloss._kernels import Kept, Recording, Staged, kept_for
from tinyloss_numpy._plans import Plan, Variant, make_plan
from tinyloss_numpy._source import Text, write

__all__ = ["Loss", "loss_of"]

_KEPT_PLANS = 256
"""Plans of one program: more different shapes than that are made again."""


_compiling = threading.RLock()
if hasattr(os, "register_at_fork"):
    # A child must not inherit a lock whose owner it does not have.
    os.register_at_fork(
        before=_compiling.acquire,
        after_in_parent=_compiling.release,
        after_in_child=_compiling.release,
    )


class Compiled(NamedTuple):
    """A kernel and the scratch memory that it needs."""

    run: Any
    lane_bytes: int
    rooms: int


class Loss:
    """One kind of program: its passes, and its kernels so far."""

    def __init__(self, job: Job) -> None:
        self.recording = Recording(job, np.dtype(job.dtype).name)
        self.work = 0
        """What has gone through it uncompiled, in elements."""
        self._plans: dict[tuple[tuple[str, ...], Lying], Plan | None] = {}
        self._kernels: dict[Variant, Compiled | None] = {}

    @cached_property
    def _staged(self) -> Staged:
        return self.recording.staged()

    def text(self, variant: Variant) -> Text:
        """Return the text of the loop for arrays that lie as `variant` says."""
        inputs, outputs = self.recording.places(variant.places, variant.over)
        return write(
            self._staged,
            inputs,
            outputs,
            real=self.recording.real,
            lanes=variant.lanes,
            rows=variant.rows,
        )

    def plan(self, over: tuple[str, ...], lying: Lying) -> Plan | None:
        """Return how to go over arrays that lie so; None where no loop can."""
        try:
            return self._plans[over, lying]
        except KeyError:
            pass
        plan = make_plan(self.recording, over, lying)
        if len(self._plans) >= _KEPT_PLANS:
            self._plans.clear()
        self._plans[over, lying] = plan
        return plan

    def compile(self, plan: Plan) -> Any:
        """Return the kernel of a plan, None where it cannot be compiled."""
        variant = plan.variant
        with _compiling:
            if variant not in self._kernels:
                self._kernels[variant] = self._compile(variant)
        compiled = self._kernels[variant]
        if compiled is None:
            return None
        plan.scratch_bytes = compiled.lane_bytes + compiled.rooms * plan.room
        plan.kernel = compiled.run
        return plan.kernel

    def _compile(self, variant: Variant) -> Compiled | None:
        try:
            from tinyloss_numpy._compiler import load

            text = self.text(variant)
            kernel = load(text, self.recording.real, variant.lanes, self.recording.title)
        except Exception as error:
            _warn_once(f"{type(error).__name__}: {error}", self.recording.title)
            return None
        return Compiled(kernel, text.lane_bytes, text.rooms)


_warned = False


def _warn_once(reason: str, title: str) -> None:
    global _warned
    if not _warned:
        _warned = True
        warn(
            f"tinyloss: {title} could not be compiled ({reason}); NumPy runs its formulas "
            "instead, several times slower (pip install 'tinyloss[cpu]' brings the compiler)",
            RuntimeWarning,
            stacklevel=2,
        )


_losses: Kept[Loss] = WeakKeyDictionary()


def loss_of(job: Job) -> Loss:
    """Return the one object for everything of a job but its arrays."""
    return kept_for(job, _losses, Loss)
