"""The formulas run by NumPy, over blocks of items that fit into the cache.

In one go every operation of a formula would make an array as large as its input, and read and
write main memory; over blocks these stay in the cache, and memory beyond the results stays small.
"""

from typing import Any

import numpy as np

from tinyloss.backend import Answer, Job, delivered, evaluate, looked, replaced
from tinyloss.compiler.kernels import arrays_of
from tinyloss.compiler.outputs import empty_answer, results
from tinyloss_numpy import _arrays

_BLOCK = 2**18
"""Elements of a block: 1 MiB of float32, of which a formula needs a few at a time."""


def run(job: Job, /) -> Answer:
    """Answer a job."""
    x = job.arrays["x"]
    with np.errstate(all="ignore"):
        job = looked(job)
        if x.size <= _BLOCK or x.ndim == int(job.kind.rowwise):
            return evaluate(_contiguous(job))
        return _run_blocks(job, x)


def _contiguous(job: Job) -> Job:
    """Return a job with contiguous rows, whose results lie as the rows did.

    NumPy adds pairwise along contiguous memory only: along other axes one after the other, which
    loses 400 eps over 1e7 terms.
    """
    if not job.kind.rowwise or all(each.flags.c_contiguous for each in job.arrays.values()):
        return job
    arrays = {name: np.asarray(array, order="C") for name, array in job.arrays.items()}
    like = empty_answer(_arrays, job, arrays_of(job))
    return replaced(job, arrays=arrays, out=job.out or tuple(results(like._replace(value=None))))


def _run_blocks(job: Job, x: Any) -> Answer:
    """Answer a job block by block along its longest axis of items."""
    kind = job.kind
    items = x.shape[:-1] if kind.rowwise else x.shape
    axis = max(range(len(items)), key=items.__getitem__)
    step = max(1, _BLOCK * items[axis] // x.size)
    whole = empty_answer(_arrays, job, arrays_of(job))
    out = [*whole.grads, *([] if whole.curvature is None else [whole.curvature])]
    value_dtype = None if kind.reduce else kind.value_dtype
    sums: list[Any] = []
    for first in range(0, items[axis], step):
        cut = (slice(None),) * axis + (slice(first, first + step),)
        weight = job.weight
        if weight is not None:
            weight = np.broadcast_to(weight, items)[cut]
        arrays = {
            name: np.broadcast_to(job.arrays[name], x.shape if role.per_class else items)[cut]
            if role.per_item
            else job.arrays[name]
            for name, _, role in kind.arguments
        }
        part = replaced(
            job,
            arrays=arrays,
            weight=weight,
            reduce=False,
            value_dtype=value_dtype,
            out=tuple([each[cut] for each in out]),
        )
        answer = evaluate(_contiguous(part))
        if kind.value and kind.reduce:
            sums.append(np.add.reduce(answer.value, axis=None, dtype=np.float64))
        elif kind.value:
            whole.value[cut] = answer.value
    if sums:
        total = np.add.reduce(np.asarray(sums))
        total = total if job.divisor is None else total / job.divisor
        whole = whole._replace(value=total.astype(kind.value_dtype or kind.dtype))
    return delivered(whole, job.out)
