"""From a recording to its kernels: staged, planned, written, compiled, once each."""

import atexit
import os
import threading
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NamedTuple, TypeVar
from warnings import warn

import numpy as np

from tinyloss.backend import CLASS, ITEM, Cache, Domain, Job, Weighing
from tinyloss.compiler.geometry import Layouts
from tinyloss.compiler.kernels import DIVISOR, ArrayUse, Recording, Staged
from tinyloss.compiler.numbers import Numbers
from tinyloss_numpy._plans import Plan, Variant, make_plan
from tinyloss_numpy._source import LANES, Rows, Text, Tiles
from tinyloss_numpy._threads import elsewhere

K = TypeVar("K")
T = TypeVar("T")

_WORTH_COMPILING = 2**19
"""Elements after which compiling a program, some tenths of a second, pays if more are to come."""
_WORTH_A_CALL = 2**11
"""Elements that a call's own cost amounts to."""

_MOST_SCRATCH = 2**26
"""Bytes of scratch memory that a thread takes at most for rows that are sorted. They may be long,
and a loop has LANES of them side by side, whereas the formulas have one. Of longer ones, and of few
long ones, it has a quarter."""
_LONG_ROW = 2**13
"""Numbers of a row from which lanes without one cost more than a second loop (measured)."""

_compiling = threading.RLock()
if hasattr(os, "register_at_fork"):
    # A child must not inherit a lock whose owner it does not have.
    os.register_at_fork(
        before=_compiling.acquire,
        after_in_parent=_compiling.release,
        after_in_child=_compiling.release,
    )


def _wait_for_the_compiler() -> None:
    """Wait before the process takes down what a compiler in another thread stands on."""
    with _compiling:
        pass


atexit.register(_wait_for_the_compiler)


class Compiled(NamedTuple):
    """A kernel and the scratch memory that it needs."""

    run: Any
    lane_bytes: int
    scratch_arrays: int


class CompiledLoss:
    """One program: its passes, and its plans and kernels so far."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.waiting = True
        """Whether it has not been compiled nor paid for by what went through it."""
        self.declined: Cache[bool] = Cache()
        """How inputs lay that no kernel could be made for."""
        self._work = 0
        self._plans: Cache[Plan | None] = Cache()
        self._stages: Cache[Staged] = Cache()
        self._numbers: Cache[Numbers] = Cache()
        self._kernels: dict[Variant, Compiled | str] = {}
        """Kernels by variant, or why there is none."""

    def pays(self, job: Job) -> bool:
        """Count elements that would go through it uncompiled; return whether to compile it."""
        self._work += job.work + _WORTH_A_CALL
        self.waiting = self._work < _WORTH_COMPILING
        return not self.waiting

    def _staged(self, weighing: Weighing | None) -> Staged:
        mean = weighing is not None and weighing.mean
        return self._stages.made(
            mean,
            lambda: self.recording.staged(
                on_device=(DIVISOR,) * mean, narrow=True, along=True, factors=True
            ),
        )

    def numbers(self, weighing: Weighing | None = None) -> Numbers:
        """Return what the kernels take as numbers, as a function of the job's."""
        mean = weighing is not None and weighing.mean
        return self._numbers.made(mean, lambda: Numbers(self._staged(weighing).numbers, np))

    def text(self, variant: Variant) -> Text:
        """Return the text of the loop for arrays that lie as `variant` says."""
        recording, weighing, layouts = self.recording, variant.weighing, variant.arrays
        given: list[ArrayUse] = []
        if weighing is not None:
            first = len(recording.names) - 1
            last = first + len(weighing.arrays)
            for name, layout in zip(weighing.arrays, layouts[first:last], strict=True):
                role = CLASS if name == "class_weight" else ITEM
                given.append(ArrayUse(f"given_{name}", *layout, role))
            layouts = (*layouts[:first], (recording.real, True), *layouts[last:])
        inputs, outputs = recording.arrays(layouts, variant.overwrites)
        staged, writer = self._staged(weighing), Rows if variant.rows else Tiles
        inputs = [*given, *inputs]
        ways = recording.real, weighing, variant.watched, variant.lanes
        return writer(staged, inputs, outputs, *ways).text()

    def plan(
        self,
        overwrites: tuple[str, ...],
        layouts: Layouts,
        weighing: Weighing | None = None,
        watched: Domain | None = None,
    ) -> Plan | None:
        """Return how to go over arrays that lie so; None where no loop can."""

        def make() -> Plan | None:
            how = self.recording, overwrites, layouts, weighing, watched
            plan = make_plan(*how)
            if plan is not None and self.recording.along:
                fewer = LANES[self.recording.real] // 4  # a sort needs the memory of these
                few = plan.items <= fewer and plan.classes >= _LONG_ROW
                if few or self._takes_much(plan):
                    plan = make_plan(*how, lanes=fewer)
                plan = None if self._takes_much(plan) else plan
            if plan is None:
                self._decline(layouts)
            return plan

        return self._plans.made((overwrites, layouts, weighing, watched), make)

    def _takes_much(self, plan: Plan | None) -> bool:
        if plan is None:
            return True
        return self.text(plan.variant).scratch_arrays * plan.scratch_size > _MOST_SCRATCH

    def compile(self, plan: Plan, layouts: Layouts) -> Any:
        """Return the kernel of a plan for arrays that lie so, None where it cannot be compiled."""
        variant, title = plan.variant, self.recording.title
        if variant not in self._kernels:
            made(self._kernels, variant, lambda: self._compile(variant), title)
        compiled = self._kernels[variant]
        if isinstance(compiled, str):
            self._decline(layouts)
            warn_once(compiled)
            return None
        self.waiting = False
        plan.scratch_bytes = compiled.lane_bytes + compiled.scratch_arrays * plan.scratch_size
        if variant.weighing is not None:
            plan.scratch_bytes += 16 * plan.items
        plan.kernel = compiled.run
        return plan.kernel

    def _compile(self, variant: Variant) -> Compiled:
        from tinyloss_numpy._compiler import load

        text = self.text(variant)
        kernel = load(text, self.recording.real, self.recording.title)
        return Compiled(kernel, text.lane_bytes, text.scratch_arrays)

    def _decline(self, layouts: Layouts) -> None:
        """Remember how inputs lay that the formulas have to take."""
        self.declined.add(layouts[: len(self.recording.names)], True)


def made(kept: dict[K, T | str], key: K, make: Callable[[], T], title: str) -> None:
    """Keep what `make` compiles under a key, or why it cannot.

    In a thread that no signal reaches: what is raised here is the compiler's.
    """

    def compile_once() -> None:
        with _compiling:
            if key in kept:
                return
            try:
                kept[key] = make()
            except MemoryError:  # another time there may be enough
                raise
            except Exception as error:
                kept[key] = _complaint(error, title)

    elsewhere(compile_once)


_COMPILER = "llvmlite"
"""What the extra `cpu` brings."""


def has_compiler() -> bool:
    """Return whether what compiles is installed."""
    return find_spec(_COMPILER) is not None


def _complaint(error: Exception, title: str) -> str:
    """Return the warning that a loss could not be compiled: one text for a missing module."""
    missing = (getattr(error, "name", None) or "") if isinstance(error, ImportError) else ""
    if isinstance(error, ModuleNotFoundError) and missing.partition(".")[0] == _COMPILER:
        what = f"losses are not compiled, since {missing} is not installed"
        then = "their formulas instead, several times slower (pip install 'tinyloss[cpu]' helps)"
    else:
        what = f"{title} could not be compiled ({type(error).__name__}: {error})"
        then = "its formulas instead, several times slower"
    return f"tinyloss: {what}; NumPy runs {then}"


_warned: set[str] = set()


def warn_once(message: str) -> None:
    if message not in _warned:
        _warned.add(message)
        warn(message, RuntimeWarning, stacklevel=2)
