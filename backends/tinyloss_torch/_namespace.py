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


def expm1(x: Any) -> Any:
    """Return exp(x) - 1, compiled by Inductor too: on the CPU it takes that for expm1 itself.

    Where 1 cancels, (e - 1) x / log e for e = exp(x): what is off in e is off in both (Kahan).
    """
    if not torch.compiler.is_compiling():
        return torch.expm1(x)
    near = torch.abs(x) < 1
    small = torch.where(near, x, 0.0)
    grown = torch.exp(small)
    e = grown.detach()
    one = e == 1
    s = small.detach()
    found = torch.where(one, s, (e - 1) * (s / torch.log(torch.where(one, 2.0, e))))
    # The difference is 0; its derivative is that of exp.
    return torch.where(near, found + (grown - e), torch.exp(x) - 1)
