"""Jobs of the CPU's tensors computed by NumPy's backend."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinyloss.backend import Answer, Job, Weighing, answer_of, namespace, prepared_for
from tinyloss_torch._memory import Results, answer_of_tensors, array_of, job_of_arrays, tensor_of

_NUMPY = namespace(np.empty(0))


def computed(job: Job) -> Answer:
    """Answer a job."""
    with np.errstate(all="ignore"):
        return answer_of_tensors(answer_of(job_of_arrays(job, _NUMPY, array_of)), tensor_of)


def ready_of(
    job: Job, weighing: Weighing | None, given: Sequence[Any]
) -> Callable[[Sequence[Any]], Answer | None] | None:
    """Return what answers jobs whose tensors lie as these, None if slowly."""
    host = job_of_arrays(job, _NUMPY, array_of)
    ready = getattr(prepared_for(_NUMPY, host.kind), "ready", None)
    return ready and ready(host, weighing, [*map(array_of, given)], Results)
