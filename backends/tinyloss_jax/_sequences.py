"""Losses of sequences: one jitted function, whose frames are a loop of XLA."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from tinyloss.backend import Answer, Sequenced, Tools, evaluated


def sequences(batch: Sequenced) -> Answer:
    """Answer for a batch of sequences."""
    arrays = (batch.x, batch.labels, batch.frames, batch.lengths)
    function = _function_of(batch.bare)
    return function(*arrays, batch.pull) if batch.grad else Answer(function(*arrays))


def along(function: Callable[[Any], Any], x: Any, direction: Any) -> Any:
    """Return the derivative of a gradient along a direction."""
    return jax.jvp(function, (x,), (direction,))[1]


@cache
def _function_of(bare: Sequenced) -> Callable[..., Any]:
    """Return the function of a batch's arrays: an answer, or the losses alone."""

    def answer(x: Any, labels: Any, frames: Any, lengths: Any, pull: Any) -> Answer:
        batch = replace(bare, x=x, labels=labels, frames=frames, lengths=lengths, pull=pull)
        return evaluated(batch, _TOOLS)

    answer.__name__ = answer.__qualname__ = bare.formula.__name__
    jitted: Callable[..., Any] = jax.jit(answer if bare.grad else _differentiable(bare, answer))
    return jitted


def _differentiable(bare: Sequenced, answer: Callable[..., Answer]) -> Callable[..., Any]:
    """Return the losses as a function whose derivative is the closed form, differentiable again."""

    def losses(*arrays: Any) -> Any:
        return answer(*arrays, None).value

    rule: Any = jax.custom_jvp(losses)

    def along(arrays: Any, moves: Any) -> tuple[Any, Any]:
        x, labels, frames, lengths = arrays
        batch = replace(
            bare, x=x, labels=labels, frames=frames, lengths=lengths, grad=True, grad_dtype=None
        )
        value, (slope,), _ = evaluated(batch, _TOOLS)
        move = jnp.where(frames[..., None], moves[0], 0).astype(slope.dtype)
        return value, jnp.sum(slope * move, axis=(1, 2))

    rule.defjvp(along)
    return rule  # type: ignore[no-any-return]


def _loop(step: Any, carry: Any, arrays: Any, reverse: bool = False) -> tuple[Any, Any]:
    found: tuple[Any, Any] = lax.scan(step, carry, arrays, reverse=reverse)
    return found


def _product(a: Any, b: Any) -> Any:
    # by default XLA rounds factors on GPUs and TPUs
    return jnp.einsum("tnj,njm->tnm", a, b, precision=lax.Precision.HIGHEST)


def _some(which: Any, function: Callable[[], tuple[Any, ...]]) -> Any:
    shapes: Any = jax.eval_shape(function)

    def nothing() -> tuple[Any, ...]:
        return tuple([jnp.zeros(each.shape, each.dtype) for each in shapes])

    found: Any = lax.cond(jnp.any(which), function, nothing)
    return found


_TOOLS = Tools(_loop, _product, _some)
