"""Whole jobs answered by NumPy's kernels in the tensors' own memory.

The rule for autograd has the gradient computed with the value, where it is a number's. What it
saves beyond its inputs is that gradient.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.autograd import Function

from tinyloss.backend import Answer, Job, Kind, replaced
from tinyloss_torch import _formulas
from tinyloss_torch._host import computed, reachable
from tinyloss_torch._state import graph_is_kept

_HALVES = (torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Call:
    """A job's arrays, weight and divisor as a list of tensors, and the rest of it."""

    job: Job
    """Without tensors."""
    names: tuple[str, ...]
    """What the tensors are; "weight=" and "divisor=" are no array's name."""

    @staticmethod
    def of(job: Job) -> "tuple[Call, list[Any]]":
        """Return a job taken apart."""
        named = dict(job.arrays)
        if job.weight is not None:
            named["weight="] = job.weight
        if isinstance(job.divisor, torch.Tensor):
            named["divisor="] = job.divisor
        divisor = None if "divisor=" in named else job.divisor
        bare = replace(job, arrays={}, weight=None, divisor=divisor)
        return Call(bare, tuple(named)), list(named.values())

    def whole(self, tensors: Any, **changes: Any) -> Job:
        """Return the job of such tensors."""
        named = dict(zip(self.names, tensors, strict=True))
        weight = named.pop("weight=", None)
        divisor = named.pop("divisor=", self.job.divisor)
        return replaced(self.job, arrays=named, weight=weight, divisor=divisor, **changes)


def answer(job: Job) -> Answer | None:
    """Answer a job; None if a tensor's memory is out of reach, or another rule is needed."""
    call, tensors = Call.of(job)
    if not reachable(*tensors, *job.out):
        return None
    if not torch.is_grad_enabled() or not any(each.requires_grad for each in tensors):
        return computed(job)
    fused: Any = _Fused
    outputs = fused.apply(call, _wanted(call, tensors), *tensors)
    return _answer_of(job.kind, outputs)


def _wanted(call: Call, tensors: list[Any]) -> tuple[str, ...]:
    """Return what to differentiate by while the value is computed."""
    kind = call.job.kind
    moving = [name for name, each in zip(call.names, tensors, strict=True) if each.requires_grad]
    only = kind.value and not kind.grads and not kind.curvature
    if not only or not kind.reduce or not _closed(kind, moving):
        return ()
    # Gradients of half precision are rounded once, with what is upstream: a scaler's 65536.
    if any(kind.derivative_dtype(name) in _HALVES for name in moving):
        return ()
    return tuple(moving)


def _closed(kind: Kind, names: list[str]) -> bool:
    """Return whether the derivatives by these are closed forms."""
    return all("=" not in name and hasattr(kind.formula, f"grad_{name}") for name in names)


class _Fused(Function):
    """A whole job, with the rule that differentiates its value."""

    @staticmethod
    def forward(call: Call, wanted: tuple[str, ...], *tensors: Any) -> tuple[Any, ...]:
        changes = {"grads": wanted} if wanted else {}
        value, grads, curvature = computed(call.whole(tensors, **changes))
        return tuple([each for each in (value, *grads, curvature) if each is not None])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.call, ctx.wanted, *tensors = inputs
        known = output[1:] if ctx.wanted else ()
        ctx.save_for_backward(*tensors, *known)
        ctx.mark_non_differentiable(*known)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *upstream: Any) -> tuple[Any, ...]:
        call, count = ctx.call, len(ctx.call.names)
        tensors, known = ctx.saved_tensors[:count], ctx.saved_tensors[count:]
        needed = [
            name for name, need in zip(call.names, ctx.needs_input_grad[2:], strict=True) if need
        ]
        pulls = upstream[: len(upstream) - len(known)]
        only_value = call.job.kind.value and not any(each is not None for each in pulls[1:])
        closed = only_value and not torch.is_grad_enabled() and _closed(call.job.kind, needed)
        found: dict[str, Any] = {}
        if not closed:
            found = _by_formulas(call, tensors, needed, pulls)
        elif pulls[0] is not None and known:
            found = dict(zip(ctx.wanted, _times(known, pulls[0]), strict=True))
        elif pulls[0] is not None:
            found = _by_kernel(call, tensors, needed, pulls[0])
        return None, None, *[found.get(name) for name in call.names]


def _times(known: Any, upstream: Any) -> list[Any]:
    """Return gradients times what is upstream: these themselves, if nobody needs them again."""
    if graph_is_kept():
        return [each * upstream for each in known]
    if upstream.item() != 1.0:
        for each in known:
            each.mul_(upstream)
    return list(known)


def _by_kernel(call: Call, tensors: Any, needed: list[str], upstream: Any) -> dict[str, Any]:
    """Return gradients, with what is upstream as a weight of the items."""
    job = call.whole(tensors, value=False, value_dtype=None, grads=tuple(needed), watched=False)
    weight = upstream
    if job.weight is not None:
        # what comes from items that are left out is no matter, NaN included
        weight = torch.where(job.weight == 0, 0.0, job.weight * upstream)
    found = computed(replaced(job, weight=weight, weighted=True, out=()))
    return dict(zip(needed, found.grads, strict=True))


def _by_formulas(call: Call, tensors: Any, needed: list[str], upstream: Any) -> dict[str, Any]:
    """Return the derivatives of everything by everything, with a graph if one is wanted."""
    graph = torch.is_grad_enabled()
    with torch.enable_grad():
        if graph:
            # One may be computed from another: a divisor from weights. Of aliases none is.
            tensors = [each.view_as(each) for each in tensors]
        else:
            tensors = [
                each.detach().requires_grad_(name in needed)
                for name, each in zip(call.names, tensors, strict=True)
            ]
        value, grads, curvature = _formulas.answer(call.whole(tensors, out=()))
        results = [each for each in (value, *grads, curvature) if each is not None]
        pairs = [
            (result, pull)
            for result, pull in zip(results, upstream, strict=True)
            if pull is not None and result.requires_grad
        ]
        named = dict(zip(call.names, tensors, strict=True))
        if not pairs:
            return {}
        found = torch.autograd.grad(
            [result for result, _ in pairs],
            [named[name] for name in needed],
            [pull for _, pull in pairs],
            create_graph=graph,
            allow_unused=True,
        )
    return dict(zip(needed, found, strict=True))


def _answer_of(kind: Kind, outputs: Any) -> Answer:
    """Return the outputs that were asked for as an answer."""
    rest = list(outputs)
    value = rest.pop(0) if kind.value else None
    count = len(kind.grads)
    return Answer(value, tuple(rest[:count]), rest[count] if kind.curvature else None)
