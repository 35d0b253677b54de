"""One job: its jitted function, kept for all jobs of its kind."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import jax
import jax.numpy as jnp

from tinyloss._arrays import of_rank
from tinyloss._engine.run import Answer, Job
from tinyloss._formula import answering
from tinyloss.compiler.kernels import Kept, asked_of, inputs_of, kept_for
from tinyloss.compiler.recorder import Unrecordable
from tinyloss_jax._rules import Loss

__all__ = ["run"]

_kept: Kept[Callable[..., Answer] | None] = WeakKeyDictionary()


def run(job: Job, /) -> Any:
    """Answer a job."""
    if 0 in job.arrays["x"].shape:
        return NotImplemented
    function = kept_for(job, _kept, _function_of)
    if function is None:
        return NotImplemented
    divisor = float(job.divisor) if isinstance(job.divisor, int) else job.divisor
    items = job.arrays["x"].ndim - job.formula.rowwise
    weight = None if job.weight is None else of_rank(jnp, job.weight, items)
    return function(job.arrays, weight, divisor)


def _function_of(job: Job) -> Callable[..., Answer] | None:
    """Return the function of a job's arrays; None where its formula cannot be recorded."""
    asked = asked_of(job)
    try:
        loss = Loss(job.formula, job.params, inputs_of(job), asked, job.dtype, job.axis_name)
    except Unrecordable:
        return None

    def named(arrays: dict[str, Any]) -> dict[str, Any]:
        return dict(zip(asked, loss.function(arrays), strict=True))

    formula = answering(job.formula, named)
    # the caller's arrays must not live on here
    kind = replace(job.without_arrays(), formula=formula, params={})

    def answer(arrays: dict[str, Any], weight: Any, divisor: Any) -> Answer:
        job = replace(kind, arrays=arrays, weight=weight, divisor=divisor)
        return job.finished(job.items(arrays, weight, divisor))

    answer.__name__ = answer.__qualname__ = job.formula.name
    jitted: Callable[..., Answer] = jax.jit(answer)
    return jitted
