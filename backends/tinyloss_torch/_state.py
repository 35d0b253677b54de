"""What torch is doing while a loss is called: it has no public words for that."""

from typing import Any

import torch

_C: Any = torch._C
_forward: Any = torch.autograd.forward_ad
_jit: Any = torch.jit


def is_transforming() -> bool:
    """Return whether torch.func's transforms, forward differentiation or jit.trace are active."""
    active: bool = (
        _C._are_functorch_transforms_active() or _forward._current_level >= 0 or _jit.is_tracing()
    )
    return active


def is_recording() -> bool:
    """Return whether a mode wants to see every operation: fake tensors, make_fx."""
    return bool(_C._len_torch_dispatch_stack())


def is_wrapped(tensor: Any) -> bool:
    """Return whether a tensor is one that a transform of torch works on."""
    of: Any = _C._functorch
    # the latter are those of gradients in batches: `is_grads_batched=True`, `vectorize=True`
    return bool(of.is_functorch_wrapped_tensor(tensor) or of.is_legacy_batchedtensor(tensor))


def hooks_are_set() -> bool:
    """Return whether hooks keep what is saved for the backward pass: it is theirs then."""
    return _C._autograd._top_saved_tensors_default_hooks(False) is not None


def graph_is_kept() -> bool:
    """Return whether the running backward pass keeps what was saved for another one."""
    return bool(_C._autograd._get_current_graph_task_keep_graph())
