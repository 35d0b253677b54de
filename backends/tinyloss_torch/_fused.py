"""Whole jobs answered by kernels in the tensors' own memory.

The rule for autograd has the gradient computed with the value, where it is a number's. What it
saves beyond its inputs is that gradient.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch.autograd.function import _SingleLevelFunction

from tinyloss.backend import Answer, Argument, Job, Kind, Weighing, replaced
from tinyloss_torch import _formulas
from tinyloss_torch._device import is_on_device
from tinyloss_torch._kernels import computed, reachable, ready_of
from tinyloss_torch._state import hooks_are_set, is_wrapped
from tinyloss_torch._upstream import by_formulas, times


@dataclass(frozen=True)
class Call:
    """A job's arrays, weight and divisor as a list of tensors, and the rest of it."""

    job: Job
    """Without tensors."""
    names: tuple[str, ...]
    """What the tensors are; "weight=" and "divisor=" are no array's name."""
    kinds: dict[tuple[str, ...], Kind] = field(default_factory=dict[tuple[str, ...], Kind])
    """Those of jobs that give gradients by some of them, with what is upstream as a weight."""

    @staticmethod
    def of(job: Job) -> "tuple[Call, list[Any]]":
        """Return a job taken apart."""
        named = dict(job.arrays)
        if job.weight is not None:
            named["weight="] = job.weight
        if isinstance(job.divisor, torch.Tensor):
            named["divisor="] = job.divisor
        divisor = None if "divisor=" in named else job.divisor
        bare = replace(job, arrays={}, weight=None, divisor=divisor, out=(), look=None)
        return Call(bare, tuple(named)), list(named.values())

    def whole(self, tensors: Any) -> Job:
        """Return the job of such tensors."""
        named = dict(zip(self.names, tensors, strict=True))
        weight = named.pop("weight=", None)
        divisor = named.pop("divisor=", self.job.divisor)
        return replace(self.job, arrays=named, weight=weight, divisor=divisor)

    def kind_of(self, needed: tuple[str, ...]) -> Kind:
        """Return the kind of job that gives gradients by some of the tensors, with weights."""
        known = self.kinds.get(needed)
        if known is None:
            changes: Any = {"value": False, "value_dtype": None, "grads": needed, "weighted": True}
            known = self.kinds[needed] = replace(self.job.kind, **changes)
        return known


def answer(job: Job) -> Answer | None:
    """Answer a job; None if no kernel can."""
    call, tensors = Call.of(job)
    if not reachable(*tensors, *job.out):
        return None
    if _follows(job.out):
        return None  # autograd must see what is written, or refuse it
    if not _follows(tensors):
        return computed(job)
    wanted = _wanted(call, tensors)
    found = computed(replaced(job, grads=wanted) if wanted else job)
    return found and _tracked(call, wanted, found, tensors)


def ready(
    job: Job, weighing: Weighing | None, given: Sequence[Any]
) -> Callable[[Sequence[Any]], Answer | None] | None:
    """Return what answers jobs whose tensors lie as these, None where that is not known."""
    call, tensors = Call.of(job)
    if job.out or not reachable(*tensors, *given):
        return None
    if not _follows((*tensors, *given)):
        return ready_of(job, weighing, given)
    if weighing is not None:
        return None  # what items weigh is autograd's to follow
    wanted = _wanted(call, tensors)
    found_of = ready_of(replaced(job, grads=wanted) if wanted else job, None, ())
    if found_of is None:
        return None

    def answer(tensors: Sequence[Any]) -> Answer | None:
        found = found_of(tensors)
        return None if found is None else _tracked(call, wanted, found, tensors)

    return answer


def _follows(tensors: Sequence[Any]) -> bool:
    """Return whether autograd follows what is done with one of the tensors."""
    return torch.is_grad_enabled() and any(each.requires_grad for each in tensors)


def _tracked(call: Call, wanted: tuple[str, ...], found: Answer, tensors: Sequence[Any]) -> Answer:
    """Return an answer as autograd sees it."""
    value, grads, curvature = found
    if wanted:  # the rule's own
        return Answer(
            _rule.apply(call, dict(zip(wanted, grads, strict=True)), [value], *tensors)[0]
        )
    parts = [each for each in (value, *grads, curvature) if each is not None]
    outputs = _rule.apply(call, None, parts, *tensors)
    at = int(value is not None)
    return Answer(
        None if value is None else outputs[0],
        outputs[at : at + len(grads)],
        None if curvature is None else outputs[-1],
    )


def _wanted(call: Call, tensors: list[Any]) -> tuple[str, ...]:
    """Return what to differentiate by while the value is computed."""
    kind = call.job.kind
    moving = [name for name, each in zip(call.names, tensors, strict=True) if each.requires_grad]
    only = kind.value and not kind.grads and not kind.curvature
    if not only or not kind.reduce or not kind.has_gradients(moving) or hooks_are_set():
        return ()
    # On a device nobody sees whether what is upstream is 1, and known gradients are all rounded.
    if is_on_device(tensors[0]) and kind.rounds_gradients(moving):
        return ()
    return tuple(moving)


class _Fused(_SingleLevelFunction):
    """A whole job, with the rule that differentiates its value."""

    @staticmethod
    def forward(
        ctx: Any, call: Call, known: dict[str, Any] | None, parts: list[Any], *tensors: Any
    ) -> tuple[Any, ...]:
        ctx.call, ctx.known = call, known
        pulls = call.job.kind.formula.pulled_by is not None
        ctx.save_for_backward(*tensors, *(parts if pulls else ()))
        ctx.set_materialize_grads(False)
        return tuple(parts)

    @staticmethod
    def backward(ctx: Any, *upstream: Any) -> tuple[Any, ...]:
        names, known = ctx.call.names, ctx.known
        pull = upstream[0]
        if known is None or pull is None or torch.is_grad_enabled() or is_wrapped(pull):
            found = _computed_again(ctx, upstream)
        elif is_on_device(pull):
            found = times(ctx, pull)
        elif (factor := pull.item()) != 1.0 and ctx.call.job.kind.rounds_gradients(known):
            ctx.known = None
            found = _computed_again(ctx, upstream)
        else:
            found = times(ctx, factor)
        return None, None, None, *[found.get(name) for name in names]


_rule: Any = _Fused  # torch's types leave out what it inherits


def _computed_again(ctx: Any, upstream: tuple[Any, ...]) -> dict[str, Any]:
    """Return gradients from the inputs."""
    call, kind = ctx.call, ctx.call.job.kind
    count, saved = len(call.names), ctx.saved_tensors
    tensors, results = saved[:count], saved[count:]
    needed = [name for name, need in zip(call.names, ctx.needs_input_grad[3:], strict=True) if need]
    given = [each for each in upstream if each is not None]
    only_value = kind.value and upstream[0] is not None and len(given) == 1
    if only_value and not torch.is_grad_enabled() and reachable(tensors[0], *given):
        found = None
        if kind.has_gradients(needed):
            found = _by_kernel(call, tensors, needed, upstream[0])
        elif kind.formula.pulled_by is not None and needed == ["x"]:
            found = _pulled(call.whole(tensors), results[0], upstream[0])
        if found is not None:
            return found
    return _by_formulas(call, tensors, needed, upstream)


def _by_kernel(call: Call, tensors: Any, needed: list[str], upstream: Any) -> dict[str, Any] | None:
    """Return gradients, with what is upstream as a weight of the items; None without a kernel."""
    job = call.whole(tensors)
    weight = upstream
    if job.weight is not None:
        # what comes from items that are left out is no matter, NaN included
        weight = torch.where(job.weight == 0, 0.0, job.weight * upstream)
    found = computed(replace(job, kind=call.kind_of(tuple(needed)), weight=weight))
    return found and dict(zip(needed, found.grads, strict=True))


def _pulled(job: Job, value: Any, upstream: Any) -> dict[str, Any] | None:
    """Return the gradient by x, by the formula that pulls back to it; None without a kernel."""
    kind = job.kind
    if value.dtype != kind.dtype:  # rounded
        found = computed(replaced(job, value_dtype=kind.dtype))
        if found is None:
            return None
        value = found.value
    pull = kind.formula.pulled_by
    assert pull is not None
    arrays = {"x": upstream, "y": value}
    of_pull = replace(
        kind,
        formula=pull,
        arguments=tuple([Argument(n, a.dtype, pull.role(n)) for n, a in arrays.items()]),
        value=False,
        grads=("x",),
        wide=True,
    )
    found = computed(replace(job, kind=of_pull, arrays=arrays))
    return found and {"x": found.grads[0].to(job.arrays["x"].dtype)}


def _by_formulas(call: Call, tensors: Any, needed: list[str], upstream: Any) -> dict[str, Any]:
    """Return the derivatives of everything by everything, with a graph if one is wanted."""

    def answer_of(tensors: list[Any]) -> Answer:
        return _formulas.answer(call.whole(tensors))

    return by_formulas(answer_of, call.names, tensors, needed, upstream)
