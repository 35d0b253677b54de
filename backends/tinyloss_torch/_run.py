"""One job: by kernels where they reach its tensors, else by the formulas in torch."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from tinyloss.backend import Answer, Job, Kind, Weighing, evaluate, looked
from tinyloss_torch import _formulas, _fused
from tinyloss_torch._kernels import is_plain
from tinyloss_torch._state import hooks_are_set, is_traced, is_transforming, is_watched


def layout(tensor: Any) -> Any:
    """Return what a tensor is besides its numbers, None where torch does more than compute."""
    if not is_plain(tensor) or is_watched():
        return None
    tracked = tensor.requires_grad and _grads()
    if tracked and hooks_are_set():
        return None
    where = tensor.is_cpu or tensor.device
    # the last is what integers are computed in
    return tensor.shape, tensor.stride(), tensor.dtype, tracked, where, _default()


_grads = torch.is_grad_enabled
_default = torch.get_default_dtype


def prepare(kind: Kind, /) -> "_Prepared":
    """Return what answers the jobs of a kind."""
    return _Prepared()


class _Prepared:
    """What answers the jobs of a kind."""

    def __call__(self, job: Job) -> Answer:
        if not is_transforming():
            answer = _fused.answer(job)
            if answer is not None:
                return answer
        return traced(job if is_traced() else looked(job))

    def ready(
        self, job: Job, weighing: Weighing | None, given: Sequence[Any]
    ) -> Callable[[Sequence[Any]], Answer | None] | None:
        """Return what answers jobs whose tensors lie as these, None where that is not known."""
        return _fused.ready(job, weighing, given)


def traced(job: Job) -> Answer:
    """Answer a job by the formulas."""
    if 0 in job.arrays["x"].shape:
        return evaluate(job)
    return _formulas.answer(job)
