"""Tensors of the CPU as NumPy's arrays of the same memory, and back; jobs of them likewise."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from tinyloss.backend import Answer, Job, Sequenced, translated
from tinyloss.typing import Namespace


def _further() -> dict[Any, Any]:
    """Return the dtypes that ml_dtypes adds to NumPy, and torch has, if it is installed."""
    try:
        import ml_dtypes
    except ImportError:
        return {}
    names = ("bfloat16", "float8_e4m3fn", "float8_e5m2")
    return {getattr(torch, name): np.dtype(getattr(ml_dtypes, name)) for name in names}


_FURTHER = _further()
_DTYPES: dict[Any, Any] = {
    getattr(torch, name): np.dtype(name)
    for name in "bool uint8 uint16 uint32 uint64 int8 int16 int32 int64".split()
    + "float16 float32 float64".split()
} | _FURTHER

dtype_of: Callable[[Any], Any] = _DTYPES.get
"""Return NumPy's dtype for one of torch's; None if it has none."""

_BITS = {each: torch.int16 if own.itemsize == 2 else torch.int8 for each, own in _FURTHER.items()}
"""Integers of the same size: torch and NumPy hand over no others."""
_TORCHS = {own: each for each, own in _DTYPES.items()}


def torchs(dtype: Any) -> Any:
    """Return torch's dtype for one of NumPy's."""
    return _TORCHS[np.dtype(dtype)]


class Results:
    """How NumPy's kernels address tensors, and make those that they write."""

    address = torch.Tensor.data_ptr

    @staticmethod
    def maker(like: Any) -> Callable[[], Any]:
        """Return what makes tensors that lie as an array does."""
        steps = [step // like.itemsize for step in like.strides]
        return partial(
            torch.empty_strided, like.shape, steps, dtype=_TORCHS[like.dtype], device="cpu"
        )

    @staticmethod
    def scalar(dtype: Any) -> Callable[[float], Any]:
        """Return what makes a number of a dtype a tensor."""
        own = np.dtype(dtype)
        if own.isbuiltin != 1:  # what ml_dtypes adds
            return partial(torch.scalar_tensor, dtype=_TORCHS[own], device="cpu")
        # two thirds of the time of torch.scalar_tensor
        return lambda number: torch.from_numpy(np.array(number, own))


def array_of(tensor: Any) -> Any:
    """Return the array of a tensor's memory."""
    if tensor.requires_grad:
        tensor = tensor.detach()
    bits = _BITS.get(tensor.dtype)
    if bits is not None:
        return tensor.view(bits).numpy().view(_DTYPES[tensor.dtype])
    return tensor.numpy()


def tensor_of(array: Any) -> Any:
    """Return the tensor of an array's memory, or of a scalar."""
    array = np.asarray(array)
    dtype = _TORCHS[array.dtype]
    bits = _BITS.get(dtype)
    if bits is not None:
        return torch.from_numpy(array.view(f"i{array.itemsize}")).view(dtype)
    try:
        return torch.from_numpy(array)
    except ValueError:  # no tensor goes backwards
        return torch.from_numpy(array.copy())


def job_of_arrays(job: Job, xp: Namespace, array_of: Callable[[Any], Any]) -> Job:
    """Return a job with arrays of a library for its tensors."""
    return translated(job, xp, array_of, dtype_of)


def batch_of_arrays(batch: Sequenced, xp: Namespace, array_of: Callable[[Any], Any]) -> Sequenced:
    """Return a batch of sequences with arrays of a library for its tensors."""
    x, labels, frames, lengths, pull = [
        None if each is None else array_of(each)
        for each in (batch.x, batch.labels, batch.frames, batch.lengths, batch.pull)
    ]
    dtypes = [None if d is None else dtype_of(d) for d in (batch.dtype, batch.grad_dtype)]
    return replace(
        batch,
        xp=xp,
        x=x,
        labels=labels,
        frames=frames,
        lengths=lengths,
        pull=pull,
        dtype=dtypes[0],
        grad_dtype=dtypes[1],
    )


def answer_of_tensors(answer: Answer, tensor_of: Callable[[Any], Any]) -> Answer:
    """Return an answer with tensors for its arrays."""
    value, grads, curvature = answer
    return Answer(
        None if value is None else tensor_of(value),
        tuple(map(tensor_of, grads)),
        None if curvature is None else tensor_of(curvature),
    )
