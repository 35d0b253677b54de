"""From a job to the kernel that answers it: recorded, staged, written, compiled, once each."""

import os
import threading
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple
from warnings import warn

import numpy as np

from tinyloss._engine import Job
from tinyloss._passes import Passes, stage
from tinyloss._program import Input, Node, record
from tinyloss_numpy._plans import Lying, Plan, Variant, make_plan
from tinyloss_numpy._source import Place, Text, write

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
        # the caller's arrays must not live on here
        self._job = replace(job, arrays={}, weight=None, divisor=None, out=())
        self.real: str = np.dtype(job.dtype).name
        self._inputs = _inputs(job)
        per_class = Input(per_class=job.formula.rowwise)
        self._results: list[tuple[str, Input]] = [(f"grad_{name}", per_class) for name in job.grads]
        if job.value and not job.reduce:
            each = Input(per_class=job.formula.rowwise and not job.formula.per_item)
            self._results.insert(0, ("value", each))
        if job.curvature:
            self._results.append(("curvature", per_class))
        arrays = {name: v for name, v in self._inputs.items() if name != "divisor"}
        self.names = tuple(arrays)
        """The inputs that are arrays, in the order that a call brings them in."""
        self.roles = (*arrays.values(), *[role for _, role in self._results])
        """What each of them, and then each output, varies by."""
        self.work = 0
        """What has gone through it uncompiled, in elements."""
        self._plans: dict[tuple[tuple[str, ...], Lying], Plan | None] = {}
        self._kernels: dict[Variant, Compiled | None] = {}

    @cached_property
    def _staged(self) -> tuple[Passes, list[Node]]:
        """Return the passes and the nodes of value, gradients and curvature."""
        job = self._job

        def answer(**arrays: Any) -> tuple[Any, ...]:
            weight, divisor = arrays.pop("weight", None), arrays.pop("divisor", None)
            value, grads, curvature = job.items(arrays, weight, divisor)
            return tuple([each for each in (value, *grads, curvature) if each is not None])

        program = record(answer, self._inputs, dtype=self.real)
        return stage(program), list(program.outputs)

    def text(self, variant: Variant) -> Text:
        """Return the text of the loop for arrays that lie as `variant` says."""
        staged, nodes = self._staged
        total = None
        if self._job.value and self._job.reduce:
            total, *nodes = nodes
        lying = iter(variant.places)
        inputs = [
            Place(name, *next(lying), role)
            for name, role in zip(self.names, self.roles, strict=False)
        ]
        outputs: list[tuple[Place, Node]] = []
        for (name, role), over, node in zip(self._results, variant.over, nodes, strict=True):
            dtype, side_by_side = ("", False) if over else next(lying)
            outputs.append((Place(name, dtype, side_by_side, role, over), node))
        return write(
            staged,
            inputs,
            outputs,
            total,
            real=self.real,
            lanes=variant.lanes,
            rows=variant.rows,
        )

    def plan(self, over: tuple[str, ...], lying: Lying) -> Plan | None:
        """Return how to go over arrays that lie so; None where no loop can."""
        try:
            return self._plans[over, lying]
        except KeyError:
            pass
        roles = self.roles
        if any(over):
            inputs = len(self.names)
            roles = roles[:inputs] + tuple(
                [role for role, name in zip(roles[inputs:], over, strict=True) if not name]
            )
        rowwise, outputs = self._job.formula.rowwise, len(self._results)
        plan = make_plan(self.real, rowwise, roles, over, outputs, lying)
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
            kernel = load(text, self.real, variant.lanes, self._job.formula.name)
        except Exception as error:
            _warn_once(f"{type(error).__name__}: {error}", self._job.formula.name)
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


def _inputs(job: Job) -> dict[str, Input]:
    """Return what each input of a job's program varies by."""
    rowwise = job.formula.rowwise
    inputs: dict[str, Input] = {}
    for name in job.arrays:
        if job.labels and name == "y":
            inputs[name] = Input(integer=True)
        elif name == "class_weight":
            inputs[name] = Input(per_item=False, per_class=True)
        else:
            inputs[name] = Input(per_class=rowwise)
    if job.weight is not None:
        inputs["weight"] = Input()
    if job.divisor is not None:
        inputs["divisor"] = Input(per_item=False)
    return inputs


_losses: dict[Any, Loss] = {}


def loss_of(job: Job) -> Loss:
    """Return the one object for everything of a job but its arrays."""
    key = (
        job.formula,
        tuple(job.params.items()),
        tuple(job.arrays),
        job.dtype,
        job.labels,
        job.weight is None,
        job.divisor is None,
        job.reduce,
        job.value,
        job.grads,
        job.curvature,
    )
    try:
        return _losses[key]
    except KeyError:
        return _losses.setdefault(key, Loss(job))
