"""Jobs and sequences of CUDA's tensors computed by CuPy's backend, on torch's current stream."""

from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from math import prod
from typing import Any, NamedTuple

import torch

from tinyloss.backend import NUMBER, Answer, Job, Sequenced, Weighing, namespace, prepared_for
from tinyloss_torch._memory import batch_of_arrays, dtype_of, job_of_arrays, torchs


def is_on_device(tensor: Any) -> bool:
    """Return whether CuPy can take a tensor's memory."""
    return tensor.is_cuda and _has_cupy()


@cache
def _has_cupy() -> bool:
    try:
        import_module("cupy")
    except ImportError:
        return False
    return True


def computed(job: Job) -> Answer | None:
    """Answer a job; None if CuPy's backend has no kernel for it."""
    x = job.arrays["x"]
    # a number on the device would have to be fetched
    if any(role == NUMBER for _, _, role in job.kind.arguments) or 0 in x.shape:
        return None
    own, prepared = _prepared(job)
    answer = getattr(prepared, "answer", None)
    found = NotImplemented if answer is None else answer(own, _library_of(x.device))
    if found is NotImplemented:
        return None
    return Answer(found.value) if job.out else found


def ready_of(
    job: Job, weighing: Weighing | None, given: Sequence[Any]
) -> Callable[[Sequence[Any]], Answer | None] | None:
    """Return what answers jobs whose tensors lie as these, None if slowly."""
    own, prepared = _prepared(job)
    ready = getattr(prepared, "ready", None)
    return ready and ready(own, weighing, given, _library_of(job.arrays["x"].device))


def sequences(batch: Sequenced) -> Answer | None:
    """Answer for a batch of sequences; None if CuPy's backend has no kernel for it."""
    if 0 in batch.x.shape or 0 in batch.labels.shape:
        return None
    from tinyloss_cupy._sequences import answered

    own = batch_of_arrays(batch, _namespace(), lambda tensor: tensor)
    found = answered(own, _library_of(batch.x.device))
    return None if found is NotImplemented else found


def scale(tensor: Any, factor: Any) -> None:
    """Multiply a tensor by a number on its device, in place, unless that is 1."""
    steps = [(n - 1) * step for n, step in zip(tensor.shape, tensor.stride(), strict=True)]
    if sum(steps) + 1 != prod(tensor.shape):  # it has gaps
        tensor.mul_(factor)
        return
    from tinyloss_cupy._run import scale

    scale(_library_of(tensor.device), tensor, factor)


def _prepared(job: Job) -> tuple[Job, Any]:
    """Return a job as CuPy's backend sees it, with its tensors, and what answers it there."""
    own = job_of_arrays(job, _namespace(), lambda tensor: tensor)
    return own, prepared_for(own.xp, own.kind)


def _namespace() -> Any:
    import cupy

    known = _namespaces.get(cupy.ndarray)
    if known is None:
        known = _namespaces[cupy.ndarray] = namespace(cupy.empty(0))
    return known


_namespaces: dict[type, Any] = {}


class _Library:
    """What kernels ask of torch: where tensors of one device lie, and new ones."""

    address = staticmethod(torch.Tensor.data_ptr)
    device = staticmethod(torch.Tensor.get_device)

    def __init__(self, where: Any) -> None:
        self._where = where

    def stream(self) -> "_Stream":
        """Return torch's current stream."""
        return _Stream(torch.cuda.current_stream(self._where).cuda_stream)

    def layout(self, tensor: Any) -> tuple[Any, ...]:
        """Return a tensor's shape, its strides in bytes, and NumPy's dtype for its own."""
        size = tensor.itemsize
        steps = tuple([step * size for step in tensor.stride()])
        return tuple(tensor.shape), steps, dtype_of(tensor.dtype)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """Return a new tensor, not set."""
        return torch.empty(shape, dtype=torchs(dtype), device=self._where)

    def empty_like(self, tensor: Any, dtype: Any) -> Any:
        """Return a new tensor, not set, that lies as another does."""
        return torch.empty_like(tensor, dtype=torchs(dtype))

    def may_overlap(self, a: Any, b: Any) -> bool:
        """Return whether two tensors may share memory."""
        (begin, end), (other, last) = _span(a), _span(b)
        return begin < last and other < end


@cache
def _library_of(where: Any) -> _Library:
    return _Library(where)


class _Stream(NamedTuple):
    """A stream of torch's for CuPy."""

    ptr: int


def _span(tensor: Any) -> tuple[int, int]:
    """Return where a tensor's memory begins and ends, from its first number to its last."""
    begin, size = tensor.data_ptr(), tensor.itemsize
    steps = [(n - 1) * step for n, step in zip(tensor.shape, tensor.stride(), strict=True)]
    return begin, begin + (sum(steps) + 1) * size if tensor.numel() else begin
