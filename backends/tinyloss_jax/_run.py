"""The jitted function of a kind of job."""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from tinyloss.backend import Answer, Job, Kind, finished, of_rank, scaled
from tinyloss.compiler.kernels import asked_of
from tinyloss.compiler.recorder import Unrecordable
from tinyloss_jax import _native
from tinyloss_jax._lines import Lines
from tinyloss_jax._rows import SplitRows
from tinyloss_jax._rules import Rule


@cache
def fused(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of arrays, after a first argument that is none, as one operation."""
    jitted: Callable[..., Any] = jax.jit(function, static_argnums=0)
    return jitted


def layout(array: Any) -> Any:
    """Return what an array is besides its numbers, None for one that is traced."""
    if isinstance(array, Tracer):
        return None
    return array.aval, frozenset(array.devices()), _config.jax_enable_x64


split_rows = SplitRows
_config: Any = jax.config  # its types leave its values out
_now: Any = jax.jit(lambda: 0.0)


def seen(array: Any) -> Any:
    """Return an array as NumPy's, itself where JAX traces what is done with it."""
    traced = isinstance(_now(), Tracer) or not array.is_fully_addressable
    return array if traced else np.asarray(array)


def prepare(kind: Kind, /) -> Callable[[Job], Any]:
    """Return what answers the jobs of a kind."""
    try:
        rule = Lines(kind) if kind.formula.in_order else Rule(kind)
    except Unrecordable:
        return lambda job: NotImplemented
    function = function_of(kind, rule)

    def formulas_of(asking: Kind) -> Callable[..., Answer]:
        return function if asking is kind else function_of(asking, rule)

    native = jax.jit(_native.native_of(kind, formulas_of))

    def answer(job: Job) -> Any:
        if 0 in job.arrays["x"].shape:
            return NotImplemented
        divisor = float(job.divisor) if isinstance(job.divisor, int) else job.divisor
        items = job.arrays["x"].ndim - kind.rowwise
        weight = None if job.weight is None else of_rank(jnp, job.weight, items)
        numbers = rule.numbers(
            job.numbers, kind.classes or job.arrays["x"].shape[-1] if kind.rowwise else 1
        )
        if _native.pays(job):
            return native(_native.operands_of(job, numbers, weight, divisor))
        return function(job.arrays, numbers, weight, divisor)

    return answer


def function_of(kind: Kind, rule: Rule | Lines) -> Callable[..., Answer]:
    """Return the function of a job's arrays."""
    rule = rule.asking(asked_of(kind))

    def parts_of(arrays: Any) -> Answer:
        named = dict(zip(rule.asked, rule.function(arrays), strict=True))
        grads = tuple([named[f"grad_{name}"] for name in kind.grads])
        return Answer(named.get("value"), grads, named.get("curvature"))

    def answer(
        arrays: dict[str, Any], numbers: dict[str, Any], weight: Any, divisor: Any
    ) -> Answer:
        parts = scaled(kind, {**arrays, **numbers}, weight, divisor, parts_of)
        return finished(Job(kind, jnp, arrays, weight, divisor), parts)

    answer.__name__ = answer.__qualname__ = kind.formula.name
    jitted: Callable[..., Answer] = jax.jit(answer)
    return jitted
