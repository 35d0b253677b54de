"""What rules for autograd have in common: gradients times what is upstream."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from tinyloss.backend import Answer
from tinyloss_torch._device import is_on_device, scale
from tinyloss_torch._kernels import reachable
from tinyloss_torch._state import graph_is_kept


def times(ctx: Any, factor: Any) -> dict[str, Any]:
    """Return known gradients times a factor: in their place, if nobody needs them again."""
    known: dict[str, Any] = ctx.known
    if graph_is_kept():
        return {name: each * factor for name, each in known.items()}
    ctx.known = None
    if isinstance(factor, float):
        if factor != 1.0:
            for each in known.values():
                each.mul_(factor)
        return known
    on_device = reachable(factor, *known.values()) and is_on_device(factor)
    for each in known.values():
        if on_device:  # the host would have to wait to see a 1
            scale(each, factor)
        else:
            each.mul_(factor)
    return known


def by_formulas(
    answer_of: Callable[[list[Any]], Answer],
    names: Sequence[str],
    tensors: Sequence[Any],
    needed: list[str],
    upstream: tuple[Any, ...],
) -> dict[str, Any]:
    """Return the derivatives of everything by everything, with a graph if one is wanted."""
    graph = torch.is_grad_enabled()
    with torch.enable_grad():
        # One may be computed from another: a divisor from weights. Of aliases none is.
        tensors = [each.view_as(each) for each in tensors]
        value, grads, curvature = answer_of(tensors)
        results = [each for each in (value, *grads, curvature) if each is not None]
        pairs = [
            (result, pull)
            for result, pull in zip(results, upstream, strict=True)
            if pull is not None and result.requires_grad
        ]
        if not pairs:
            return {}
        named = dict(zip(names, tensors, strict=True))
        found = torch.autograd.grad(
            [result for result, _ in pairs],
            [named[name] for name in needed],
            [pull for _, pull in pairs],
            create_graph=graph,
            allow_unused=True,
        )
    return dict(zip(needed, found, strict=True))
