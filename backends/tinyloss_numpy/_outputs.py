"""Arrays for results: new ones, or the caller's where writing to them harms no input."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyloss._arrays import result_dtype
from tinyloss._engine import Answer, Job

__all__ = ["empty_answer", "place_taken", "results"]


def empty_answer(job: Job, inputs: Sequence[Any]) -> Answer:
    """Return an answer that is still to be written; new arrays lie as the inputs do."""
    x, rowwise = job.arrays["x"], job.formula.rowwise
    value = curvature = None
    if job.value and not job.reduce:
        dtype = job.value_dtype or job.dtype
        one_each = rowwise and job.formula.per_item
        value = np.empty(x.shape[:-1], dtype) if one_each else np.empty_like(x, dtype, subok=False)
    grads = tuple(
        [_result(job, job.arrays[name], number, inputs) for number, name in enumerate(job.grads)]
    )
    if job.curvature:
        curvature = _result(job, x, -1, inputs)
    return Answer(value, grads, curvature)


def results(answer: Answer) -> list[Any]:
    """Return the arrays of an answer, in the order of a loop's outputs."""
    return [each for each in (answer.value, *answer.grads, answer.curvature) if each is not None]


def _result(job: Job, array: Any, number: int, inputs: Sequence[Any]) -> Any:
    """Return the caller's array for a derivative if it overlaps no input, except as one with it."""
    if job.out:
        into = job.out[number]
        if not any(np.may_share_memory(into, a) and not _same_place(into, a) for a in inputs):
            return into
    return np.empty_like(array, result_dtype(array.dtype, job.dtype), subok=False)


def place_taken(output: Any, names: Sequence[str], inputs: Sequence[Any]) -> str:
    """Return the name of the input whose place an output takes, or nothing."""
    for name, array in zip(names, inputs, strict=True):
        if _same_place(output, array):
            return name
    return ""


def _same_place(a: Any, b: Any) -> bool:
    return bool(
        a.__array_interface__["data"][0] == b.__array_interface__["data"][0]
        and a.shape == b.shape
        and a.strides == b.strides
        and a.dtype == b.dtype
    )
