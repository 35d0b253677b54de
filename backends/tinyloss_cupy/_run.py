"""One job: its kernel launched on the current stream, the blocks' sums added up by another."""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import numpy as np

from tinyloss.backend import (
    NUMBER,
    Answer,
    Cache,
    Job,
    Kind,
    Weighing,
    delivered,
    domain_of,
    evaluate,
    replaced,
)
from tinyloss.compiler.kernels import arrays_of, numbers_of, recording_of
from tinyloss.compiler.outputs import Memory, empty_answer, overwritten_inputs, results
from tinyloss.compiler.recorder import Unrecordable
from tinyloss_cuda.plans import Plan
from tinyloss_cuda.programs import CompiledLoss, divisor_of
from tinyloss_cuda.source import (
    CTYPES,
    SCALE_BLOCKS,
    SCALE_NUMBERS,
    SCALE_THREADS,
    TOTAL_THREADS,
    write_scale,
    write_total,
)
from tinyloss_cupy import _arrays
from tinyloss_cupy._modules import Launch, kernel_of


class Library(Memory, Protocol):
    """What kernels ask of a library whose arrays lie on a GPU: of CuPy, or of one beside it."""

    def device(self, array: Any, /) -> int:
        """Return the number of an array's device."""
        ...

    def stream(self) -> Any:
        """Return the stream to launch on, None for CuPy's current one."""
        ...


def layout(array: Any) -> Any:
    """Return what an array is besides its numbers, None if it is no plain one."""
    import cupy

    if type(array) is not cupy.ndarray or cupy.cuda.runtime.is_hip:
        return None
    return array.shape, array.strides, array.dtype, array.data.device_id


def prepare(kind: Kind, /) -> "_Prepared":
    """Return what answers the jobs of a kind."""
    return _Prepared(kind)


class _Prepared:
    """What answers the jobs of a kind."""

    def __init__(self, kind: Kind) -> None:
        # A kernel would need a sort of its own. The formulas ask CuPy's, which keeps equal keys in
        # place and does not wait (14.2: thrust's par_nosync), and add up in log2(C) launches.
        # A parameter on the device is read by the formulas, too.
        held = any(role == NUMBER for _, _, role in kind.arguments)
        self._loss = None if kind.formula.in_order or held else _loss_of(kind)

    def __call__(self, job: Job) -> Any:
        return self.answer(job, _arrays)

    def answer(self, job: Job, library: Library) -> Any:
        """Answer a job of a library's arrays."""
        x, divisor = job.arrays["x"], divisor_of(job.divisor)
        if self._loss is None or divisor not in ("", "number", *CTYPES) or not is_nvidias():
            return NotImplemented
        if 0 in x.shape:
            return evaluate(job)
        try:
            return _answer(self._loss, job, divisor, library)
        except Unrecordable:
            return NotImplemented

    def ready(
        self,
        job: Job,
        weighing: Weighing | None,
        given: Sequence[Any],
        library: Library = _arrays,
    ) -> Callable[[Sequence[Any]], Answer | None] | None:
        """Return what answers jobs whose arrays have the layout of these; None if slowly.

        It takes arrays of CuPy's, or of a library beside it.
        """
        divisor = divisor_of(job.divisor)
        if self._loss is None or weighing is not None or job.out or not is_nvidias():
            return None
        if divisor not in ("", "number") or 0 in job.arrays["x"].shape:
            return None
        return _ready(self._loss, job, divisor, library)


def is_nvidias() -> bool:
    """Return whether CuPy has one of NVIDIA's GPUs."""
    import cupy

    return not cupy.cuda.runtime.is_hip


def _loss_of(kind: Kind) -> CompiledLoss:
    return CompiledLoss(recording_of(kind, np.dtype(kind.dtype).name))


def _answer(loss: CompiledLoss, job: Job, divisor: str, library: Library) -> Any:
    device = library.device(job.arrays["x"])
    arrays = arrays_of(job)
    with on(device):
        answer = empty_answer(library, job, arrays)
        outputs = results(answer)
        overwrites: tuple[str, ...] = ()
        if job.out:
            overwrites = overwritten_inputs(library, outputs, loss.recording.names, arrays)
            outputs = [each for each, name in zip(outputs, overwrites, strict=True) if not name]
        arrays += outputs
        held = [job.divisor] if divisor in CTYPES else []
        if any(library.device(each) != device for each in (*arrays, *held)):
            return NotImplemented  # CuPy has its own words for that
        way = _Way(loss, job, divisor, library, device, overwrites, [*map(library.layout, arrays)])
        value = way.value([*map(library.address, arrays)], [*map(library.address, held)])
    if value is NotImplemented:
        return NotImplemented
    return delivered(answer if value is None else answer._replace(value=value), job.out)


def _ready(
    loss: CompiledLoss, job: Job, divisor: str, library: Library
) -> Callable[[Sequence[Any]], Answer | None] | None:
    kind, device = job.kind, library.device(job.arrays["x"])
    inputs = arrays_of(job)
    if any(library.device(each) != device for each in inputs):
        return None
    with on(device):
        first = empty_answer(library, job, inputs)
    outputs = results(first)
    way = _Way(loss, job, divisor, library, device, (), [*map(library.layout, inputs + outputs)])
    # Each lies as the input does that it is one of, or in the usual order.
    makers = _makers(kind, [*job.arrays], outputs, library)
    address, of_items = library.address, first.value is not None
    count, bent = len(kind.grads), kind.curvature

    def answer(arrays: Sequence[Any]) -> Answer | None:
        with on(device):
            new = [make(arrays) for make in makers]
            try:
                value = way.value([*map(address, arrays), *map(address, new)], [])
            except Unrecordable:
                return None
        if value is NotImplemented:
            return None
        if of_items:
            value = new.pop(0)
        return Answer(value, tuple(new[:count]), new[-1] if bent else None)

    return answer


def _makers(
    kind: Kind, names: Sequence[str], outputs: Sequence[Any], library: Library
) -> list[Callable[[Sequence[Any]], Any]]:
    """Return what makes new results, given the inputs: see `empty_answer`."""
    empty, empty_like = library.empty, library.empty_like
    places = [names.index(name) for name in kind.grads] + [0] * kind.curvature
    places = [0] * (len(outputs) - len(places)) + places

    def maker(place: int, shape: Any, strides: Any, dtype: Any) -> Callable[[Sequence[Any]], Any]:
        if _in_usual_order(shape, strides, dtype.itemsize):
            return lambda arrays: empty(shape, dtype)
        return lambda arrays: empty_like(arrays[place], dtype)

    return [
        maker(place, *library.layout(each)) for place, each in zip(places, outputs, strict=True)
    ]


def _in_usual_order(shape: tuple[int, ...], strides: tuple[int, ...], step: int) -> bool:
    """Return whether the last index varies fastest, without gaps."""
    for length, own in zip(reversed(shape), reversed(strides), strict=True):
        if own != step:
            return False
        step *= length
    return True


class _Launches(NamedTuple):
    """What a plan launches."""

    kernel: Launch
    total: Launch | None
    """What adds up the sums of the blocks."""
    sums: tuple[int, int]
    """The shape of these."""


class _Way:
    """What answers jobs of the same numbers whose arrays lie alike."""

    def __init__(
        self,
        loss: CompiledLoss,
        job: Job,
        divisor: str,
        library: Library,
        device: int,
        overwrites: tuple[str, ...],
        layouts: Sequence[Any],
    ) -> None:
        self._loss, self._kind, self._library, self._device = loss, job.kind, library, device
        self._divisor, self._overwrites, self._layouts = divisor, overwrites, tuple(layouts)
        self._given = numbers_of(job)
        self._classes = self._layouts[0][0][-1] if job.kind.rowwise else 1
        self._by = [float(job.divisor)] if divisor == "number" else []
        self._numbers: dict[str, list[np.float64]] = {}

    def value(self, addresses: list[int], held: list[int]) -> Any:
        """Launch what a job takes, its arrays and its divisor at addresses of the current device.

        Return the value, None where it is an array or not asked for.
        """
        import cupy

        clusters = _has_clusters(self._device)
        try:
            return self._launched(clusters, addresses, held)
        except cupy.cuda.driver.CUDADriverError:
            if not clusters:
                raise
            # Some GPUs of the right generation refuse clusters. Other errors come again.
            value = self._launched(False, addresses, held)
            _without_clusters.add(self._device)
            return value

    def _launched(self, clusters: bool, addresses: list[int], held: list[int]) -> Any:
        library, loss = self._library, self._loss
        plan = loss.plan(self._overwrites, self._layouts, addresses, self._divisor, clusters)
        if plan is None:
            return NotImplemented
        kept = plan.variant.shape.kept
        numbers = self._numbers.get(kept)
        if numbers is None:
            numbers = loss.numbers(plan.variant, self._given, self._classes)
            self._numbers[kept] = numbers
        if plan.launch is None:
            plan.launch = self._launches(plan, len(addresses), len(numbers), len(held))
        launches: _Launches = plan.launch
        stream = library.stream()
        made = [library.empty(launches.sums, np.float64)] if launches.total else []
        if plan.scratch:
            made.append(library.empty((plan.scratch,), loss.recording.real))
        places = [library.address(each) for each in made]
        launches.kernel((*addresses, *places, *numbers, *held), stream)
        if launches.total is None:
            return None
        value = library.empty((), _value_dtype(self._kind))
        more = (plan.sums, library.address(value), *self._by, *held)
        launches.total((places[0], *more), stream)
        return value

    def _launches(self, plan: Plan, arrays: int, numbers: int, held: int) -> _Launches:
        loss, kind = self._loss, self._kind
        real, reduced = loss.recording.real, kind.value and kind.reduce
        kernel = Launch(
            kernel_of(loss.text(plan.variant)),
            plan.grid,
            plan.block,
            "Q" * (arrays + reduced + (plan.scratch > 0)) + "d" * numbers + "Q" * held,
            [plan.table],
        )
        total = None
        if reduced:
            text = write_total(real, _value_dtype(kind).name, self._divisor)
            types = "QqQ" + "d" * len(self._by) + "Q" * held
            total = Launch(kernel_of(text), (1,), (TOTAL_THREADS,), types)
        return _Launches(kernel, total, (plan.sums, 2 if real == "float64" else 1))


def _value_dtype(kind: Kind) -> Any:
    return np.dtype(kind.value_dtype or kind.dtype)


def on(device: int) -> AbstractContextManager[Any]:
    """Return a context in which a device is the current one."""
    import cupy

    return _here if cupy.cuda.device.get_device_id() == device else cupy.cuda.Device(device)


_here = nullcontext()


def scale(library: Library, array: Any, factor: Any) -> None:
    """Multiply an array without gaps by a number on its device, in place, unless that is 1."""
    shape, _, dtype = library.layout(array)
    by = library.layout(factor)[2]
    count, device = math.prod(shape), library.device(array)
    blocks = max(1, min(-(-count // (SCALE_THREADS * SCALE_NUMBERS)), SCALE_BLOCKS))
    with on(device):
        launch = _scales.made(
            (dtype, by, blocks),
            lambda: Launch(
                kernel_of(write_scale(dtype.name, by.name)), (blocks,), (SCALE_THREADS,), "QqQ"
            ),
        )
        launch((library.address(array), count, library.address(factor)), library.stream())


_scales: Cache[Launch] = Cache()
_without_clusters: set[int] = set()
_devices: dict[int, bool] = {}


def _has_clusters(device: int) -> bool:
    """Return whether blocks of a device can share a row: from compute capability 9.0 on."""
    if device in _without_clusters:
        return False
    known = _devices.get(device)
    if known is None:
        import cupy

        capability = int(cupy.cuda.Device(device).compute_capability)
        known = _devices[device] = capability >= 90
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
    layouts = tuple(map(_arrays.layout, arrays))
    plan = loss.plan((), layouts, [0] * len(arrays), divisor, clusters)
    if plan is None:
        raise TypeError(f"tinyloss.{job.kind.formula.name}: no kernel takes these arrays")
    return loss.text(plan.variant)
