"""array_api_compat's namespace for torch, as torch.compile can follow it.

Its functions of two arrays ask torch for the dtype of their result where one is a number, and a
dtype cannot be part of a graph.
"""

from typing import Any

import torch
from array_api_compat import torch as _compat

_NUMBERS = (int, float)  # torch has dtypes of these names

globals().update(
    {
        name: each
        for name, each in vars(_compat).items()
        if name not in globals() and type(each) is not type(torch.classes)  # makes up what is asked
    }
)


def maximum(a: Any, b: Any) -> Any:
    """Return the larger of each two; NaN of a NaN."""
    return torch.clamp(a, min=b) if isinstance(b, _NUMBERS) else _compat.maximum(a, b)


def minimum(a: Any, b: Any) -> Any:
    """Return the smaller of each two; NaN of a NaN."""
    return torch.clamp(a, max=b) if isinstance(b, _NUMBERS) else _compat.minimum(a, b)
