"""Jobs of tensors computed by NumPy's backend, in the tensors' own memory."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from tinyloss.backend import (
    NUMBER,
    Answer,
    Job,
    Kind,
    Weighing,
    answer_of,
    cache_of,
    namespace,
    prepared_for,
)
from tinyloss_torch._memory import Results, array_of, dtype_of, tensor_of
from tinyloss_torch._state import is_recording, is_wrapped

_PLAIN = (torch.Tensor, torch.nn.Parameter)
_STRIDED = torch.strided
_NUMPY = namespace(np.empty(0))


def reachable(*tensors: Any) -> bool:
    """Return whether NumPy can take the tensors' memory, and no mode of torch must see them."""
    return not is_recording() and all(map(is_plain, tensors))


def is_plain(tensor: Any) -> bool:
    """Return whether a tensor's memory is one that NumPy can take."""
    return (
        type(tensor) in _PLAIN
        and tensor.is_cpu
        and tensor.layout is _STRIDED
        and dtype_of(tensor.dtype) is not None
        and not is_wrapped(tensor)
        and not tensor.is_neg()
    )


def computed(job: Job) -> Answer:
    """Answer a job by NumPy's backend."""
    with np.errstate(all="ignore"):
        found = _of_tensors(answer_of(_of_host(job)))
    if not job.out:
        return found
    torch.autograd.graph.increment_version(job.out)
    curvature = None if found.curvature is None else job.out[-1]
    return Answer(found.value, job.out[: len(found.grads)], curvature)


def ready_of(
    job: Job, weighing: Weighing | None, given: Sequence[Any]
) -> Callable[[Sequence[Any]], Answer | None] | None:
    """Return what answers jobs whose tensors lie as these by NumPy's backend, None if slowly."""
    host = _of_host(job)
    ready = getattr(prepared_for(_NUMPY, host.kind), "ready", None)
    return ready and ready(host, weighing, [*map(array_of, given)], Results)


def _of_tensors(answer: Answer) -> Answer:
    """Return an answer with tensors for its arrays."""
    value, grads, curvature = answer
    return Answer(
        None if value is None else tensor_of(value),
        tuple([tensor_of(each) for each in grads]),
        None if curvature is None else tensor_of(curvature),
    )


def _of_host(job: Job) -> Job:
    """Return a job with NumPy's arrays for its tensors."""
    held = [name for name, _, role in job.kind.arguments if role == NUMBER]
    kept = cache_of(job.kind.formula, "host_kind")
    return Job(
        kept.made(job.kind, lambda: _host_kind(job.kind, held)),
        _NUMPY,
        {name: array_of(each) for name, each in job.arrays.items() if name not in held},
        None if job.weight is None else array_of(job.weight),
        array_of(job.divisor) if isinstance(job.divisor, torch.Tensor) else job.divisor,
        {**job.numbers, **{name: float(job.arrays[name].item()) for name in held}},
        tuple(map(array_of, job.out)),
        job.ignored,
        job.look,
    )


def _host_kind(kind: Kind, held: Sequence[str]) -> Kind:
    arguments = [each for each in kind.arguments if each.name not in held]
    return replace(
        kind,
        arguments=tuple([each._replace(dtype=dtype_of(each.dtype)) for each in arguments]),
        dtype=dtype_of(kind.dtype),
        numbers=(*kind.numbers, *held),
        value_dtype=None if kind.value_dtype is None else dtype_of(kind.value_dtype),
    )


def part(
    kind: Kind, name: str, names: tuple[str, ...], numbers: Mapping[str, float], arrays: Any
) -> Any:
    """Return a part of a formula for each item; None if a tensor's memory is out of reach."""
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
    return found.value if value else found.curvature if curvature else found.grads[0]
