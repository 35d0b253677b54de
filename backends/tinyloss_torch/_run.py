"""One job: by NumPy's kernels where they reach its tensors, else by the formulas in torch."""

from collections.abc import Callable

from tinyloss.backend import Answer, Job, Kind, evaluate
from tinyloss_torch import _formulas, _fused
from tinyloss_torch._state import is_transforming


def prepare(kind: Kind, /) -> Callable[[Job], Answer]:
    """Return what answers the jobs of a kind."""
    return answer


def answer(job: Job) -> Answer:
    """Answer a job."""
    if not is_transforming():
        answer = _fused.answer(job)
        if answer is not None:
            return answer
    return traced(job)


def traced(job: Job) -> Answer:
    """Answer a job by the formulas."""
    if 0 in job.arrays["x"].shape:
        return evaluate(job)
    return _formulas.answer(job)
