"""Tensors of the CPU as NumPy's arrays of the same memory, and back."""

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
