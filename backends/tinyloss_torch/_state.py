"""What torch is doing while a loss is called: it has no public words for that."""

from collections.abc import Callable
from typing import Any

import torch

_C: Any = torch._C
_forward: Any = torch.autograd.forward_ad
_traces: Callable[[], bool] = _C._is_tracing
_transforms: Callable[[], bool] = _C._are_functorch_transforms_active
_modes: Callable[[], int] = _C._len_torch_dispatch_stack
_wraps: Callable[[Any], bool] = _C._functorch.is_functorch_wrapped_tensor
_wraps_gradients: Callable[[Any], bool] = _C._functorch.is_legacy_batchedtensor
_mode: Callable[[Any], Any] = _C._get_dispatch_mode
_PROXY: Any = _C._TorchDispatchModeKey.PROXY
_hooks: Callable[[bool], Any] = _C._autograd._top_saved_tensors_default_hooks


def is_transforming() -> bool:
    """Return whether torch.func's transforms, forward differentiation or jit.trace are active."""
    forward: bool = _forward._current_level >= 0
    return forward or _transforms() or _traces()


def is_recording() -> bool:
    """Return whether a mode wants to see every operation: fake tensors, make_fx."""
    return _modes() > 0


def is_watched() -> bool:
    """Return whether torch does more than compute: transforms are active, or modes that record."""
    return _forward._current_level >= 0 or _transforms() or _traces() or _modes() > 0


def is_traced() -> bool:
    """Return whether make_fx records the operations: what tensors hold cannot be asked for."""
    return _mode(_PROXY) is not None


def is_wrapped(tensor: Any) -> bool:
    """Return whether a tensor is one that a transform of torch works on."""
    return _wraps(tensor) or _wraps_gradients(tensor)  # the latter: `is_grads_batched=True`


def hooks_are_set() -> bool:
    """Return whether what is saved for the backward pass goes elsewhere, or is computed again."""
    return _hooks(False) is not None


def graph_is_kept() -> bool:
    """Return whether the running backward pass keeps what was saved for another one."""
    return bool(_C._autograd._get_current_graph_task_keep_graph())
