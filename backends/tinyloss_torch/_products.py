"""Losses of scores that are products, with the rule for autograd.

The gradients by what is tracked are computed with the value, where it is a number's, and kept
instead of the scores. Each item's own values, and second derivatives, compute the scores again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from torch.autograd.function import _SingleLevelFunction

from tinyloss.backend import FACTORS, Answer, Budget, Scored, at_once, by_chunks, replaced
from tinyloss_torch._state import (
    hooks_are_set,
    is_watched,
    is_wrapped,
)
from tinyloss_torch._upstream import by_formulas, times

_PIECE = 2**26
"""Bytes of a product that is added at a time."""


def product_memory(h: Any) -> Budget:
    """Return how much to take at a time."""
    return Budget() if h.is_cpu else Budget(2**29, rows=1024)


def halves(h: Any) -> int:
    """Return of how many numbers of half precision the gradient by a score is made, 0 for none.

    Two of bfloat16 have 16 digits. What float32 is told to lose is lost here, too. float16 would
    lose small gradients.
    """
    if not h.is_cuda or h.dtype != torch.bfloat16 or not _sums_are_wide():
        return 0
    return 1 if torch.get_float32_matmul_precision() == "medium" else 2


@cache
def _sums_are_wide() -> bool:
    """Return whether torch multiplies half precision into float32: from 2.8 on."""
    return hasattr(torch.ops.aten.mm, "dtype_out")


def halved(z: Any, dtype: Any, count: int) -> Any:
    """Return z in half precision, and below it what rounding has left."""
    found = z.new_empty((count * len(z), z.shape[1]), dtype=dtype)
    high, low = found[: len(z)], found[len(z) :]
    high.copy_(z)
    if count > 1:
        torch.sub(z, high, out=low)
    return found


def indices(mask: Any) -> Any:
    """Return the indices of what is True, None where to know would take a wait."""
    return mask.nonzero()[:, 0] if mask.is_cpu else None


def multiply(a: Any, b: Any, into: Any, adds: bool) -> None:
    """Write the product of two matrices into a tensor, or add it to what is there."""
    if a.dtype != into.dtype:
        _multiply_halves(a, b, into, adds)
    elif adds:
        into.addmm_(a, b)
    else:
        torch.mm(a, b, out=into)


def _multiply_halves(a: Any, b: Any, into: Any, adds: bool) -> None:
    if adds:
        try:
            torch.addmm(into, a, b, out_dtype=into.dtype, out=into)
            return
        except RuntimeError:  # of a torch that would add to half precision alone
            step = max(1, _PIECE // (into.shape[1] * into.itemsize))
            for at in range(0, len(into), step):
                some = slice(at, at + step)
                into[some] += torch.mm(a[some], b, out_dtype=into.dtype)
    else:
        torch.mm(a, b, out_dtype=into.dtype, out=into)


def products(scored: Scored) -> Answer:
    """Answer for scores that are products."""
    cast = _as_autocast(scored)
    answer = _answer(cast)
    if cast is scored:
        return answer
    grads = zip(scored.by, answer.grads, strict=True)
    return answer._replace(grads=tuple([each.to(scored.dtype_of(name)) for name, each in grads]))


def _answer(scored: Scored) -> Answer:
    call, tensors = _Call.of(scored)
    if is_watched():
        return at_once(scored)
    if not (torch.is_grad_enabled() and any(each.requires_grad for each in tensors)):
        return _computed(scored)
    wanted = _wanted(call, tensors)
    found = _computed(call.of_grads(scored, wanted, wide=True) if wanted else scored)
    value, grads, _ = found
    if wanted:
        known = dict(zip(wanted, grads, strict=True))
        return Answer(_rule.apply(call, known, [value], *tensors)[0])
    outputs = _rule.apply(
        call, None, [each for each in (value, *grads) if each is not None], *tensors
    )
    first = int(value is not None)
    return Answer(outputs[0] if first else None, outputs[first:])


def _as_autocast(scored: Scored) -> Scored:
    """Return what there is to answer with factors as autocast would have them multiplied.

    On the CPU they are left as they are: less precise products are no faster here.
    """
    h, w, dtype = scored.h, scored.w, _autocast(scored.h)
    if (
        dtype is None
        or w is None
        or scored.scale is not None
        or torch.float64 in (h.dtype, w.dtype)
    ):
        return scored
    h, w = h.to(dtype), w.to(dtype)
    count = halves(h)
    return replace(scored, h=h, w=w, halves=count) if count else scored


def _autocast(h: Any) -> Any:
    """Return the dtype that autocast multiplies in on a GPU, None where it is off."""
    on = h.is_cuda and torch.is_autocast_enabled("cuda")
    return torch.get_autocast_dtype("cuda") if on else None


def _computed(scored: Scored) -> Answer:
    # autocast would have the products in half precision
    with torch.no_grad(), torch.autocast(scored.h.device.type, enabled=False):
        return by_chunks(scored)


@dataclass(frozen=True)
class _Call:
    """A loss of products as a list of tensors, and the rest of it."""

    scored: Scored
    """Without tensors."""
    names: tuple[str, ...]
    """What the tensors are: factors, arrays of the job, "weight=" and "divisor="."""

    @staticmethod
    def of(scored: Scored) -> "tuple[_Call, list[Any]]":
        """Return a loss of products taken apart."""
        job = scored.job
        named = {name: getattr(scored, name) for name in FACTORS}
        named |= {**job.arrays, **scored.pairs, "weight=": job.weight}
        if isinstance(job.divisor, torch.Tensor):
            named["divisor="] = job.divisor
        named = {name: each for name, each in named.items() if each is not None}
        divisor = None if "divisor=" in named else job.divisor
        bare = replace(job, arrays={}, weight=None, divisor=divisor, look=None)
        pairs = dict.fromkeys(scored.pairs)
        scored = replace(scored, job=bare, h=None, w=None, bias=None, scale=None, pairs=pairs)
        return _Call(scored, tuple(named)), list(named.values())

    def whole(self, tensors: Sequence[Any]) -> Scored:
        """Return the loss of such tensors."""
        named = dict(zip(self.names, tensors, strict=True))
        weight = named.pop("weight=", None)
        divisor = named.pop("divisor=", self.scored.job.divisor)
        factors = {name: named.pop(name, None) for name in FACTORS}
        pairs = {name: named.pop(name) for name in self.scored.pairs}
        job = replace(self.scored.job, arrays=named, weight=weight, divisor=divisor)
        return replace(self.scored, job=job, pairs=pairs, **factors)

    @staticmethod
    def of_grads(scored: Scored, by: Sequence[str], **changes: Any) -> Scored:
        """Return the same loss, of which gradients are wanted too."""
        return replace(scored, job=replaced(scored.job, grads=("x",), **changes), by=tuple(by))


def _wanted(call: _Call, tensors: Sequence[Any]) -> list[str]:
    """Return what to differentiate by while the value is computed."""
    kind = call.scored.job.kind
    moving = [name for name, each in zip(call.names, tensors, strict=True) if each.requires_grad]
    only = kind.value and not kind.grads and kind.reduce
    return moving if only and {*moving} <= {*FACTORS} and not hooks_are_set() else []


class _Products(_SingleLevelFunction):
    """A loss of products, with the rule that differentiates its value."""

    @staticmethod
    def forward(
        ctx: Any, call: _Call, known: dict[str, Any] | None, parts: list[Any], *tensors: Any
    ) -> tuple[Any, ...]:
        ctx.call, ctx.known = call, known
        ctx.save_for_backward(*tensors)
        ctx.set_materialize_grads(False)
        return tuple(parts)

    @staticmethod
    def backward(ctx: Any, *upstream: Any) -> tuple[Any, ...]:
        call, tensors, pull = ctx.call, ctx.saved_tensors, upstream[0]
        needed = [n for n, need in zip(call.names, ctx.needs_input_grad[3:], strict=True) if need]
        kind = call.scored.job.kind
        only_value = (
            kind.value and pull is not None and not any(p is not None for p in upstream[1:])
        )
        plain = only_value and not torch.is_grad_enabled() and not is_wrapped(pull)
        if not plain or not {*needed} <= {*FACTORS}:
            found = _by_formulas(call, tensors, needed, upstream)
        elif ctx.known is None:
            found = _again(call, tensors, needed, pull)
        else:
            found = times(ctx, pull)
        dtypes = dict(zip(call.names, [each.dtype for each in tensors], strict=True))
        found = {n: each if each is None else each.to(dtypes[n]) for n, each in found.items()}
        return None, None, None, *[found.get(name) for name in call.names]


_rule: Any = _Products  # torch's types leave out what it inherits


def _again(call: _Call, tensors: Any, needed: list[str], upstream: Any) -> dict[str, Any]:
    """Return gradients by chunks, with what is upstream as a weight of the items."""
    scored = call.of_grads(call.whole(tensors), needed, value=False, reduce=True, wide=True)
    job = scored.job
    kind = job.kind
    weight = upstream.reshape(1) if upstream.ndim == 0 else upstream
    if upstream.ndim == 0 and not kind.rowwise:
        weight = upstream.reshape(1, 1)
    if job.weight is not None:
        # what comes from items that are left out is no matter, NaN included
        weight = torch.where(job.weight == 0, 0.0, job.weight * weight)
    weight = weight.to(kind.dtype)
    found = _computed(replace(scored, job=replaced(job, weight=weight, weighted=True)))
    return dict(zip(needed, found.grads, strict=True))


def _by_formulas(call: _Call, tensors: Any, needed: list[str], upstream: Any) -> dict[str, Any]:
    """Return the derivatives of everything by everything, with a graph if one is wanted."""

    def answer_of(tensors: list[Any]) -> Answer:
        return at_once(call.whole(tensors))

    return by_formulas(answer_of, call.names, tensors, needed, upstream)
