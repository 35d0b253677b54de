"""The formulas run by NumPy, over blocks of items that fit into the cache.

In one go every operation of a formula would make an array as large as its input, and read and
write main memory; over blocks these stay in the cache, and memory beyond the results stays small.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from tinyloss._engine.run import Answer, Job
from tinyloss.compiler.kernels import arrays_of
from tinyloss.compiler.outputs import empty_answer
from tinyloss_numpy import _arrays

__all__ = ["run"]

_BLOCK = 2**18
"""Elements of a block: 1 MiB of float32, of which a formula needs a few at a time."""


def run(job: Job, /) -> Answer:
    """Answer a job."""
    x = job.arrays["x"]
    if job.look is not None and job.look():
        job = replace(job, unchecked=False, look=None)
    with np.errstate(all="ignore"):
        if x.size <= _BLOCK or x.ndim == int(job.formula.rowwise):
            return _contiguous(job).evaluate()
        return _run_blocks(job, x)


def _contiguous(job: Job) -> Job:
    """Return a job with contiguous rows.

    NumPy adds pairwise along contiguous memory only: along other axes one after the other, which
    loses 400 eps over 1e7 terms.
    """
    if job.formula.rowwise:
        for name, array in job.arrays.items():
            if not array.flags.c_contiguous:
                job.arrays[name] = np.ascontiguousarray(array)
    return job


def _run_blocks(job: Job, x: Any) -> Answer:
    """Answer a job block by block along its longest axis of items."""
    items = x.shape[:-1] if job.formula.rowwise else x.shape
    axis = max(range(len(items)), key=items.__getitem__)
    step = max(1, _BLOCK * items[axis] // x.size)
    whole = empty_answer(_arrays, job, arrays_of(job))
    out = [*whole.grads, *([] if whole.curvature is None else [whole.curvature])]
    sums: list[Any] = []
    for first in range(0, items[axis], step):
        cut = (slice(None),) * axis + (slice(first, first + step),)
        weight = job.weight
        if weight is not None:
            weight = np.broadcast_to(weight, items)[cut]
        arrays = {
            name: array if name == "class_weight" else _broadcast(array, x, job, name, items)[cut]
            for name, array in job.arrays.items()
        }
        part = replace(
            job,
            arrays=arrays,
            weight=weight,
            reduce=False,
            value_dtype=None if job.reduce else job.value_dtype,
            out=tuple([each[cut] for each in out]),
        )
        answer = _contiguous(part).evaluate()
        if job.value and job.reduce:
            sums.append(np.add.reduce(answer.value, axis=None, dtype=np.float64))
        elif job.value:
            whole.value[cut] = answer.value
    if sums:
        value = job.total(np.add.reduce(np.asarray(sums))).astype(job.value_dtype or job.dtype)
        whole = whole._replace(value=value)
    return job.deliver(whole)


def _broadcast(array: Any, x: Any, job: Job, name: str, items: tuple[int, ...]) -> Any:
    of_rows = name in job.formula.of_rows or (job.labels and name == "y")
    shape = items if of_rows else x.shape
    return array if array.shape == shape else np.broadcast_to(array, shape)
