"""Losses of sequences, with the rule for autograd and torch's transformations.

NumPy's kernel computes tensors of the CPU and CuPy's those of CUDA, gradients with the losses where
they are tracked. Second derivatives are those of the formulas of the gradient, line by line.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.autograd import Function

from tinyloss.backend import Answer, Sequenced, answer_of_sequences, evaluated, namespace
from tinyloss_torch import _device
from tinyloss_torch._device import is_on_device
from tinyloss_torch._kernels import reachable
from tinyloss_torch._memory import answer_of_tensors, array_of, batch_of_arrays, tensor_of
from tinyloss_torch._state import (
    graph_is_kept,
    hooks_are_set,
    is_recording,
    is_transforming,
    is_wrapped,
)

_NUMPY = namespace(np.empty(0))


def sequences(batch: Sequenced) -> Answer:
    """Answer for a batch of sequences."""
    x, pull = batch.x, batch.pull
    tracked = torch.is_grad_enabled() and (
        x.requires_grad or (pull is not None and pull.requires_grad)
    )
    if not tracked and not is_transforming():
        return _computed(batch)
    losses = None
    if batch.value:
        knows = tracked and not (batch.grad or is_transforming() or hooks_are_set())
        bare = replace(batch.bare, grad=knows, grad_dtype=batch.dtype)
        losses = _rule.apply(bare, x, batch.labels, batch.frames, batch.lengths)[0]
    grads = evaluated(replace(batch, value=False)).grads if batch.grad else ()
    return Answer(losses, grads)


def along(function: Callable[[Any], Any], x: Any, direction: Any) -> Any:
    """Return the derivative of a gradient along a direction: the Hessian is symmetric."""
    vjp: Any = torch.func.vjp
    _, pull = vjp(function, x)
    return pull(direction)[0]


untraced: Any = torch.compiler.disable


def _computed(batch: Sequenced) -> Answer:
    """Answer by NumPy's kernel, or CuPy's, where these reach the tensors, else by the formulas."""
    given = (batch.x, batch.labels, batch.frames, batch.lengths, batch.pull)
    if is_recording() or not reachable(*[each for each in given if each is not None]):
        return evaluated(batch)
    if is_on_device(batch.x):
        found = _device.sequences(batch)
        return evaluated(batch) if found is None else found
    with np.errstate(all="ignore"):
        return answer_of_tensors(
            answer_of_sequences(batch_of_arrays(batch, _NUMPY, array_of)), tensor_of
        )


class _Losses(Function):
    """The losses of sequences, and gradients known beside them."""

    @staticmethod
    def forward(bare: Sequenced, x: Any, labels: Any, frames: Any, lengths: Any) -> tuple[Any, ...]:
        batch = replace(bare, x=x, labels=labels, frames=frames, lengths=lengths)
        found = evaluated(batch) if is_wrapped(x) else _computed(batch)
        return found.value, *found.grads

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
        ctx.bare, *tensors = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)
        ctx.slope = output[1] if len(output) > 1 else None
        if ctx.slope is not None:
            ctx.mark_non_differentiable(ctx.slope)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, pull: Any, *_: Any) -> tuple[Any, ...]:
        if pull is None:
            return None, None, None, None, None
        dtype = ctx.saved_tensors[0].dtype
        if torch.is_grad_enabled() or is_wrapped(pull) or ctx.slope is None:
            grad = _slopes(ctx, pull)
        else:
            # in place, if nobody needs it again
            kept, factor = graph_is_kept(), pull[:, None, None]
            grad = ctx.slope * factor if kept else ctx.slope.mul_(factor)
            ctx.slope = ctx.slope if kept else None
        return None, grad.to(dtype), None, None, None

    @staticmethod
    def jvp(ctx: Any, _: Any, move: Any, *__: Any) -> Any:
        if ctx.slope is not None:
            raise AssertionError("gradients are known beforehand outside of transformations only")
        slope = _slopes(ctx, None)
        frames = ctx.saved_tensors[2]
        moved = torch.where(frames[..., None], move, 0.0).to(slope.dtype)
        return ((slope * moved).sum((1, 2)),)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], bare: Sequenced, *tensors: Any) -> Any:
        """Sequences of all members are a batch of them."""
        size = info.batch_size
        whole = [
            (each.expand(size, *each.shape) if dim is None else each.movedim(dim, 0)).flatten(0, 1)
            for each, dim in zip(tensors, in_dims[1:], strict=True)
        ]
        found = _rule.apply(bare, *whole)
        return tuple([each.unflatten(0, (size, -1)) for each in found]), (0,) * len(found)


_rule: Any = _Losses  # torch's types leave out what it inherits


def _slopes(ctx: Any, pull: Any) -> Any:
    """Return gradients by the formulas, times what is upstream."""
    x, labels, frames, lengths = ctx.saved_tensors
    batch = replace(
        ctx.bare, x=x, labels=labels, frames=frames, lengths=lengths, value=False, grad=True
    )
    batch = replace(batch, pull=pull)
    plain = not (
        torch.is_grad_enabled() or is_wrapped(x) or (pull is not None and is_wrapped(pull))
    )
    return (_computed(batch) if plain else evaluated(batch)).grads[0]
