"""One job: its kernel launched on the current stream, the blocks' sums added up by another."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from tinyloss.backend import NUMBER, Cache, Job, Kind, delivered, domain_of, evaluate, replaced
from tinyloss.compiler.kernels import arrays_of, numbers_of, recording_of
from tinyloss.compiler.outputs import empty_answer, overwritten_inputs, results
from tinyloss.compiler.recorder import Unrecordable
from tinyloss_cuda.programs import CompiledLoss, divisor_of
from tinyloss_cuda.source import CTYPES, TOTAL_THREADS, write_total
from tinyloss_cupy import _arrays
from tinyloss_cupy._modules import Kernel


def prepare(kind: Kind, /) -> Callable[[Job], Any]:
    """Return what answers the jobs of a kind."""
    # A kernel would need a sort of its own. The formulas ask CuPy's, which keeps equal keys in
    # place and does not wait (14.2: thrust's par_nosync), and add up in log2(C) launches.
    if kind.formula.in_order:
        return lambda job: NotImplemented
    loss = _loss_of(kind)
    held = any(role == NUMBER for _, _, role in kind.arguments)

    def answer(job: Job) -> Any:
        x = job.arrays["x"]
        if 0 in x.shape:
            return evaluate(job)
        divisor = divisor_of(job.divisor)
        # A parameter on the device is read by the formulas.
        if held or divisor not in ("", "number", *CTYPES):
            return NotImplemented
        try:
            with x.device:
                return _launch(loss, job, divisor, x.device)
        except Unrecordable:
            return NotImplemented

    return answer


def _loss_of(kind: Kind) -> CompiledLoss:
    return CompiledLoss(recording_of(kind, np.dtype(kind.dtype).name))


def _launch(loss: CompiledLoss, job: Job, divisor: str, device: Any) -> Any:
    import cupy

    if cupy.cuda.runtime.is_hip:
        return NotImplemented
    kind = job.kind
    arrays = arrays_of(job)
    answer = empty_answer(_arrays, job, arrays)
    outputs = results(answer)
    overwrites: tuple[str, ...] = ()
    if job.out:
        overwrites = overwritten_inputs(_arrays, outputs, loss.recording.names, arrays)
        outputs = [each for each, name in zip(outputs, overwrites, strict=True) if not name]
    arrays += outputs
    layouts = tuple([(each.shape, each.strides, each.dtype) for each in arrays])
    addresses = [_arrays.address(each) for each in arrays]
    number = divisor == "number"
    on_device = arrays if number or not divisor else [*arrays, job.divisor]
    if any(each.data.device_id != device.id for each in on_device):
        return NotImplemented  # CuPy has its own words for that
    more = [np.float64(job.divisor)] if number else on_device[len(arrays) :]
    reduced = kind.value and kind.reduce
    classes = arrays[0].shape[-1] if kind.rowwise else 1

    def launch(clusters: bool) -> Any:
        plan = loss.plan(overwrites, layouts, addresses, divisor, clusters)
        if plan is None:
            return NotImplemented
        if plan.kernel is None:
            plan.kernel = _kernel(loss.text(plan.variant))
        width = 2 if loss.recording.real == "float64" else 1
        sums = [cupy.empty((plan.sums, width), np.float64)] if reduced else []
        kept = [cupy.empty(plan.scratch, loss.recording.real)] if plan.scratch else []
        numbers = loss.numbers(plan.variant, numbers_of(job), classes)
        held = [] if number else more
        plan.kernel(plan.grid, plan.block, (*arrays, *sums, *kept, *numbers, *held, plan.table))
        return sums

    try:
        sums = launch(_has_clusters(device))
    except cupy.cuda.driver.CUDADriverError:
        if not _has_clusters(device):
            raise
        # Some GPUs of the right generation refuse clusters. Other errors come again.
        sums = launch(False)
        _without_clusters.add(device.id)
    if sums is NotImplemented:
        return NotImplemented
    if reduced:
        dtype = np.dtype(kind.value_dtype or kind.dtype)
        value = cupy.empty((), dtype)
        kernel = _kernel(write_total(loss.recording.real, dtype.name, divisor))
        kernel((1,), (TOTAL_THREADS,), (*sums, np.int64(len(sums[0])), value, *more))
        answer = answer._replace(value=value)
    return delivered(answer, job.out)


_kernels: Cache[Kernel] = Cache()
_without_clusters: set[int] = set()
_devices: dict[int, bool] = {}


def _kernel(text: str) -> Kernel:
    return _kernels.made(text, lambda: Kernel(text))


def _has_clusters(device: Any) -> bool:
    """Return whether blocks of a device can share a row: from compute capability 9.0 on."""
    if device.id in _without_clusters:
        return False
    known = _devices.get(device.id)
    if known is None:
        known = _devices[device.id] = int(device.compute_capability) >= 90
    return known


SOURCE = "cuda"
"""What the kernels are written in."""


def example(shape: tuple[int, ...], dtype: str) -> Any:
    """Return an array to ask for a source with."""
    return np.zeros(shape, dtype)


def source(job: Job, clusters: bool = True) -> str:
    """Return the text of the kernel that answers a job, on a GPU with or without clusters.

    NumPy's arrays stand for CuPy's that lie alike: to write a kernel takes no GPU.
    """
    divisor, role = divisor_of(job.divisor), job.kind.role("y")
    # targets on a GPU are not looked at
    domain = domain_of(job.kind.formula, role.integer, job.arrays["y"])
    loss = _loss_of(replace(job.kind, unchecked=domain))
    arrays = arrays_of(job)
    memory: Any = np
    arrays += results(empty_answer(memory, replaced(job, out=()), arrays))
    layouts = tuple([(each.shape, each.strides, each.dtype) for each in arrays])
    plan = loss.plan((), layouts, [0] * len(arrays), divisor, clusters)
    if plan is None:
        raise TypeError(f"tinyloss.{job.kind.formula.name}: no kernel takes these arrays")
    return loss.text(plan.variant)
