"""Jobs of CUDA's tensors, and sequences, computed by CuPy's backend: on torch's current stream, in its memory."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

import torch

from tinyloss.backend import (
    NUMBER,
    Answer,
    Job,
    Sequenced,
    backends_answer,
    namespace,
    prepared_for,
)
from tinyloss_torch._memory import (
    answer_of_tensors,
    batch_of_arrays,
    dtype_of,
    job_of_arrays,
    torchs,
)


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
    with _as_torch_works(x) as tensor_of:
        own = job_of_arrays(job, namespace(_array_of(x)), _array_of)
        prepared = prepared_for(own.xp, own.kind)
        found = NotImplemented if prepared is None else prepared(own)
        if found is NotImplemented:
            return None
        return answer_of_tensors(Answer(found.value) if job.out else found, tensor_of)


def sequences(batch: Sequenced) -> Answer | None:
    """Answer for a batch of sequences; None if CuPy's backend has no kernel for it."""
    if 0 in batch.x.shape or 0 in batch.labels.shape:
        return None
    with _as_torch_works(batch.x) as tensor_of:
        own = batch_of_arrays(batch, namespace(_array_of(batch.x)), _array_of)
        found = backends_answer(own)
        return None if found is NotImplemented else answer_of_tensors(found, tensor_of)


@contextmanager
def _as_torch_works(x: Any) -> Generator[Callable[[Any], Any]]:
    """Have CuPy use torch's current stream and its memory, on the device of a tensor.

    Yields what returns the tensor of an array that has been made meanwhile.
    """
    import cupy

    made: dict[int, Any] = {}

    def allocate(size: int) -> Any:
        block = torch.empty(size, dtype=torch.uint8, device=x.device)
        made[block.data_ptr()] = block
        return _pointer(block)

    def tensor_of(array: Any) -> Any:
        block = made[array.data.ptr][: array.nbytes]
        steps = [step // array.itemsize for step in array.strides]
        return block.view(torchs(array.dtype)).as_strided(array.shape, steps)

    stream = torch.cuda.current_stream(x.device)
    with (
        cupy.cuda.Device(x.get_device()),
        cupy.cuda.Stream.from_external(_Stream(stream.cuda_stream)),
        cupy.cuda.using_allocator(allocate),
    ):
        yield tensor_of


class _Stream(NamedTuple):
    """A stream of torch for CuPy, by CUDA's protocol, which not every torch has."""

    address: int

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.address


def _array_of(tensor: Any) -> Any:
    """Return CuPy's array of a tensor's memory."""
    import cupy

    steps = [step * tensor.itemsize for step in tensor.stride()]
    return cupy.ndarray(
        tuple(tensor.shape), dtype_of(tensor.dtype), memptr=_pointer(tensor), strides=steps
    )


def _pointer(tensor: Any) -> Any:
    """Return CuPy's pointer to a tensor's first element, which keeps the memory alive."""
    import cupy

    offset = tensor.storage_offset() * tensor.itemsize
    size = tensor.untyped_storage().nbytes() - offset
    memory = cupy.cuda.UnownedMemory(tensor.data_ptr(), size, tensor, tensor.get_device())
    return cupy.cuda.MemoryPointer(memory, 0)
