"""Tensors of the CPU as NumPy's arrays of the same memory, and back."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch


def _bfloat16() -> Any:
    try:
        import ml_dtypes
    except ImportError:
        return None
    return np.dtype(ml_dtypes.bfloat16)


_BFLOAT16: Any = _bfloat16()

_DTYPES: dict[Any, Any] = {
    getattr(torch, name): np.dtype(name)
    for name in "bool uint8 uint16 uint32 uint64 int8 int16 int32 int64".split()
    + "float16 float32 float64".split()
} | {torch.bfloat16: _BFLOAT16}


def dtype_of(dtype: Any) -> Any:
    """Return NumPy's dtype for one of torch's; None if it has none.

    It has bfloat16 where ml_dtypes is installed.
    """
    return _DTYPES.get(dtype)


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
    if tensor.dtype is torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(_BFLOAT16)
    return tensor.numpy()


def tensor_of(array: Any) -> Any:
    """Return the tensor of an array's memory, or of a scalar."""
    array = np.asarray(array)
    if array.dtype == _BFLOAT16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)
