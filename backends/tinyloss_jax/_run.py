"""One job: its jitted function, kept for all jobs of its kind."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax

from tinyloss._engine import Answer, Job
from tinyloss._formula import Formula
from tinyloss._kernels import inputs_of, kept_for
from tinyloss_jax._rules import Parts, parts_of

__all__ = ["run"]

_kept: dict[Any, Callable[..., Answer] | None] = {}


def run(job: Job, /) -> Any:
    """Answer a job."""
    if 0 in job.arrays["x"].shape:
        return NotImplemented
    function = kept_for(job, _kept, _function_of)
    if function is None:
        return NotImplemented
    divisor = float(job.divisor) if isinstance(job.divisor, int) else job.divisor
    return function(job.arrays, job.weight, divisor)


def _function_of(job: Job) -> Callable[..., Answer] | None:
    """Return the function of a job's arrays; None where its formula cannot be recorded."""
    asked = [f"grad_{name}" for name in job.grads]
    asked += ["value"] if job.value else []
    asked += ["curvature"] if job.curvature else []
    inputs = {name: role for name, role in inputs_of(job).items() if name in job.arrays}
    try:
        parts = parts_of(job.formula, job.params, inputs, asked, job.dtype, job.axis_name)
    except TypeError:
        return None
    formula = _answering(job.formula, partial(_named, parts, asked))
    # the caller's arrays must not live on here
    kind = replace(job, formula=formula, params={}, arrays={}, weight=None, divisor=None, out=())

    def answer(arrays: dict[str, Any], weight: Any, divisor: Any) -> Answer:
        job = replace(kind, arrays=arrays, weight=weight, divisor=divisor)
        return job.finished(job.items(arrays, weight, divisor))

    answer.__name__ = answer.__qualname__ = job.formula.name
    jitted: Callable[..., Answer] = jax.jit(answer)
    return jitted


def _named(parts: Callable[..., Parts], asked: list[str], arrays: dict[str, Any]) -> dict[str, Any]:
    return dict(zip(asked, parts(arrays), strict=True))


def _answering(
    own: type[Formula], answer: Callable[[dict[str, Any]], dict[str, Any]]
) -> type[Formula]:
    """Return a formula whose methods return the parts of an answer."""

    class Answering(Formula):
        name = own.name
        rowwise = own.rowwise
        per_item = own.per_item

        def __init__(self, **arrays: Any) -> None:
            self._parts = answer(arrays)

        def __getattr__(self, name: str) -> Any:
            part = self._parts[name]
            return lambda: part

        def value(self) -> Any:
            return self._parts["value"]

        def curvature(self) -> Any:
            return self._parts["curvature"]

    return Answering
