"""Jobs computed by compiled kernels in the tensors' own memory: NumPy's, and CuPy's."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from tinyloss.backend import NUMBER, Answer, Job, Kind, Weighing, extent
from tinyloss_torch import _device, _host
from tinyloss_torch._device import is_on_device
from tinyloss_torch._memory import array_of, dtype_of
from tinyloss_torch._state import is_recording, is_transforming, is_wrapped

_PLAIN = (torch.Tensor, torch.nn.Parameter)
_STRIDED: Any = torch.strided


def reachable(*tensors: Any) -> bool:
    """Return whether kernels can take the tensors' memory, and no mode of torch must see them."""
    if is_recording() or not all(map(is_plain, tensors)):
        return False
    device = tensors[0].device
    return all(each.device == device for each in tensors)


def is_plain(tensor: Any) -> bool:
    """Return whether a tensor's memory is one that kernels can take."""
    return (
        type(tensor) in _PLAIN
        and (tensor.is_cpu or is_on_device(tensor))
        and tensor.layout is _STRIDED
        and dtype_of(tensor.dtype) is not None
        and not is_wrapped(tensor)
        and not tensor.is_neg()
    )


def extent_of(tensor: Any) -> tuple[float, float] | None:
    """Return the largest size and the sum of weights that nobody differentiates by.

    torch's own sum has other bits for other numbers of threads.
    """
    if not tensor.is_cpu or tensor.requires_grad or is_transforming() or not reachable(tensor):
        return None
    return extent(array_of(tensor))


def computed(job: Job) -> Answer | None:
    """Answer a job; None if there is no kernel for it."""
    on_device = is_on_device(job.arrays["x"])
    found = _device.computed(job) if on_device else _host.computed(job)
    if not job.out or found is None:
        return found
    torch.autograd.graph.increment_version(job.out)
    kind = job.kind
    return Answer(found.value, job.out[: len(kind.grads)], job.out[-1] if kind.curvature else None)


def ready_of(
    job: Job, weighing: Weighing | None, given: Sequence[Any]
) -> Callable[[Sequence[Any]], Answer | None] | None:
    """Return what answers jobs whose tensors lie as these, None if slowly."""
    of_host = not is_on_device(job.arrays["x"])
    return (_host.ready_of if of_host else _device.ready_of)(job, weighing, given)


def part(
    kind: Kind, name: str, names: tuple[str, ...], numbers: Mapping[str, float], arrays: Any
) -> Any:
    """Return a part of a formula for each item; None if no kernel can."""
    held = [a for a, each in zip(arrays, kind.arguments, strict=True) if each.role == NUMBER]
    if not reachable(*arrays) or any(each.ndim for each in held):  # one for each member of vmap
        return None
    value, curvature = name == "value", name == "curvature"
    of_part = replace(
        kind,
        arguments=tuple(
            [
                each._replace(dtype=array.dtype)
                for array, each in zip(arrays, kind.arguments, strict=True)
            ]
        ),
        weighted=False,
        divided=False,
        reduce=False,
        value=value,
        grads=() if value or curvature else (name.removeprefix("grad_"),),
        curvature=curvature,
        value_dtype=None,
        unchecked=None,
        wide=True,
    )
    named = dict(zip(names, arrays, strict=True))
    found = computed(Job(of_part, None, named, numbers=numbers))
    if found is None:
        return None
    return found.value if value else found.curvature if curvature else found.grads[0]
