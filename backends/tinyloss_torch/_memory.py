"""Tensors of the CPU as NumPy's arrays of the same memory, and back."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch


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


def dtype_of(dtype: Any) -> Any:
    """Return NumPy's dtype for one of torch's; None if it has none."""
    return _DTYPES.get(dtype)


_BITS = {each: torch.int16 if own.itemsize == 2 else torch.int8 for each, own in _FURTHER.items()}
"""Integers of the same size: torch and NumPy hand over no others."""
_TORCHS = {own: each for each, own in _DTYPES.items()}


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
        return partial(torch.scalar_tensor, dtype=_TORCHS[np.dtype(dtype)], device="cpu")


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
    return torch.from_numpy(array)
