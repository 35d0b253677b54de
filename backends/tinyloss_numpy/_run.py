"""One job: compiled or not, and if so, its table of arguments and its threads."""

import ctypes
import struct
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from math import prod
from typing import Any, Literal, NamedTuple

import numpy as np

from tinyloss._arrays import result_dtype
from tinyloss._engine import Answer, Job
from tinyloss._program import Input
from tinyloss_numpy import _blocks
from tinyloss_numpy._geometry import Geometry, collapse
from tinyloss_numpy._programs import Compiled, Loss, Variant, loss_of
from tinyloss_numpy._source import DIMENSIONS
from tinyloss_numpy._threads import run_slabs

__all__ = ["compilation", "run", "source"]

_compilation: ContextVar[str] = ContextVar("tinyloss_numpy.compilation", default="auto")

_WORTH_COMPILING = 2**19
"""Elements after which compiling a program, about a second, starts to pay."""
_WORTH_A_CALL = 2**11
"""Elements that a call's own cost amounts to."""
_WORTH_THREADS = 2**17
"""Elements below which handing work to another thread takes longer than doing it."""
_GROUP = 2**16
"""Elements that make one partial sum."""
_LONG_ROW = 64
"""Classes that fill the lanes."""

@contextmanager
def compilation(mode: Literal["auto", "always", "never"], /) -> Generator[None]:
    """Choose when losses of NumPy arrays are compiled.

    A compiled loss and the formulas run by NumPy agree to a few eps, not to the last bit.

    Parameters
    ----------
    mode
        "auto" (the default): once enough numbers have gone through a loss for compiling it to pay,
        at the first call for a large array, after some hundred calls for small ones. "always": at
        the first call. "never": not at all.

    Examples
    --------
    >>> import numpy as np, tinyloss, tinyloss_numpy
    >>> with tinyloss_numpy.compilation("never"):
    ...     tinyloss.mse(np.array([1.0, 2.0]), np.zeros(2)).item()
    2.5
    """
    if mode not in ("auto", "always", "never"):
        raise ValueError(
            f'tinyloss_numpy.compilation: mode is {mode!r}, expected "auto", "always" or "never"'
        )
    token = _compilation.set(mode)
    try:
        yield
    finally:
        _compilation.reset(token)


_DTYPES: dict[Any, str] = {
    np.dtype(name): name
    for name in (
        "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64".split()
    )
}
"""The dtypes that a loop reads and writes; bfloat16 joins them when one is met."""


def _name_of(dtype: Any) -> str | None:
    name = _DTYPES.get(dtype)
    if name is None and getattr(dtype, "name", "") == "bfloat16":
        _DTYPES[dtype] = name = "bfloat16"
    return name


def run(job: Job, /) -> Answer:
    """Answer a job."""
    x = job.arrays["x"]
    if 0 not in x.shape:
        answer = _run_compiled(job, x)
        if answer is not None:
            return answer
    return _blocks.run(job)


def _run_compiled(job: Job, x: Any) -> Answer | None:
    """Answer a job by its kernel; None where there is none."""
    mode = _compilation.get()
    if mode == "never":
        return None
    loss = loss_of(job)
    call = _lay_out(job, loss, x)
    if call is None:
        return None
    if mode == "auto" and not loss.ready(call.variant):
        loss.work += x.size + _WORTH_A_CALL
        if loss.work < _WORTH_COMPILING:
            return None
    kernel = loss.kernel(call.variant)
    return None if kernel is None else _execute(job, kernel, call)


class _Call(NamedTuple):
    """Where everything lies."""

    variant: Variant
    arrays: list[Any]
    """Inputs, then outputs but those that take an input's place."""
    value: Any
    """The value of each item; None where it is summed, or not wanted."""
    grads: tuple[Any, ...]
    curvature: Any
    classes: int
    geometry: Geometry
    class_steps: list[int]


def _lay_out(job: Job, loss: Loss, x: Any) -> _Call | None:
    """Find how the arrays lie and make those of the results; None where no loop can do it."""
    rowwise, shape = job.formula.rowwise, x.shape
    items = shape[:-1] if rowwise else shape
    inputs = [*job.arrays.values()]
    if job.weight is not None:
        inputs.append(job.weight)
    value, grads, curvature = _results(job, inputs, items)
    outputs = [each for each in (value, *grads, curvature) if each is not None]

    over = tuple([_place_taken(loss, inputs, each) for each in outputs]) if job.out else ()
    roles, arrays = loss.roles, inputs + outputs
    if any(over):
        taken = [False] * len(inputs) + [bool(name) for name in over]
        roles = tuple([role for role, is_taken in zip(roles, taken, strict=True) if not is_taken])
        arrays = [each for each, is_taken in zip(arrays, taken, strict=True) if not is_taken]
    else:
        over = ("",) * len(outputs)
    dtypes = [_name_of(array.dtype) for array in arrays]
    if None in dtypes or not all([array.flags.aligned for array in arrays]):
        return None
    if job.dtype == np.float64 and ("float16" in dtypes or "bfloat16" in dtypes):
        return None  # would be rounded twice

    classes = shape[-1] if rowwise else 1
    class_steps = [
        array.strides[-1] if role.per_class else 0
        for role, array in zip(roles, arrays, strict=True)
    ]
    if all(
        [
            array.flags.c_contiguous and (array.shape == (shape if role.per_class else items))
            for role, array in zip(roles, arrays, strict=True)
        ]
    ):
        steps = [
            array.itemsize * (classes if role.per_class else 1)
            for role, array in zip(roles, arrays, strict=True)
        ]
        geometry = Geometry((), prod(items), [()] * len(arrays), steps)
    else:
        geometry = collapse(
            items, [_strides(array, role, items) for role, array in zip(roles, arrays, strict=True)]
        )
        if len(geometry.outer) > DIMENSIONS:
            return None

    sizes = [array.itemsize for array in arrays]
    rows = rowwise and classes >= _LONG_ROW
    rows = rows and all(
        [
            step == size
            for step, size, role in zip(class_steps, sizes, roles, strict=True)
            if role.per_class
        ]
    )
    if rows:
        lanes = 64 if classes <= 512 else 256
    elif rowwise:
        lanes = 128 if classes <= 128 else 32
    else:
        lanes = 512
    side_by_side = [
        class_step == size if role.per_class else step == size
        for role, class_step, step, size in zip(
            roles, class_steps, geometry.inner_steps, sizes, strict=True
        )
    ]
    places = tuple(zip(dtypes, side_by_side, strict=True))
    variant = Variant(places, over, lanes, rows)  # type: ignore[arg-type]
    return _Call(variant, arrays, value, grads, curvature, classes, geometry, class_steps)


def _results(
    job: Job, inputs: list[Any], items: tuple[int, ...]
) -> tuple[Any, tuple[Any, ...], Any]:
    """Make the arrays of the results, as the inputs lie in memory."""
    x, rowwise = job.arrays["x"], job.formula.rowwise
    value = curvature = None
    if job.value and not job.reduce:
        dtype = job.value_dtype or job.dtype
        each = rowwise and job.formula.per_item
        value = np.empty(items, dtype) if each else np.empty_like(x, dtype)
    grads = []
    for number, name in enumerate(job.grads):
        into = job.out[number] if job.out else None
        array = job.arrays[name]
        if into is None or any([_overlap(into, each) for each in inputs]):
            into = np.empty_like(array, result_dtype(array.dtype, job.dtype))
        grads.append(into)
    if job.curvature:
        curvature = np.empty_like(x, result_dtype(x.dtype, job.dtype))
    return value, tuple(grads), curvature


def _overlap(a: Any, b: Any) -> bool:
    """Return whether two arrays share memory other than element by element."""
    return np.may_share_memory(a, b) and not _same_place(a, b)


def _same_place(a: Any, b: Any) -> bool:
    return (
        a.__array_interface__["data"][0] == b.__array_interface__["data"][0]
        and a.shape == b.shape
        and a.strides == b.strides
        and a.dtype == b.dtype
    )


def _place_taken(loss: Loss, inputs: list[Any], output: Any) -> str:
    for name, array in zip(loss.names, inputs, strict=True):
        if _same_place(array, output):
            return name
    return ""


def _strides(array: Any, role: Input, items: tuple[int, ...]) -> Sequence[int]:
    """Return an array's strides over the items, 0 where it is broadcast."""
    if not role.per_item:
        return (0,) * len(items)
    shape, strides = array.shape, array.strides
    if role.per_class:
        shape, strides = shape[:-1], strides[:-1]
    missing = len(items) - len(shape)
    own = [0 if n == 1 else step for n, step in zip(shape, strides, strict=True)]
    return [0] * missing + own


def _execute(job: Job, kernel: Compiled, call: _Call) -> Answer:
    """Run the kernel over its groups and gather the answer."""
    geometry, classes, lanes = call.geometry, call.classes, call.variant.lanes
    inner = geometry.inner
    length = min(lanes, max(1, _GROUP // classes)) if call.variant.rows else lanes
    chunks_per_outer = -(-inner // length)
    chunks = chunks_per_outer * prod(geometry.outer)
    chunks_per_group = max(1, _GROUP // (min(length, inner) * classes))
    groups = -(-chunks // chunks_per_group)
    size = 8 if job.dtype == np.float64 else 4
    room = -(-classes * size * (1 if call.variant.rows else lanes) // 64) * 64
    partial = np.empty(groups if job.value and job.reduce else 0)
    table = [classes, inner, length, chunks_per_outer, chunks, chunks_per_group, room]
    table.append(_address(partial) if groups and partial.size else 0)
    filler = (0,) * (DIMENSIONS - len(geometry.outer))
    table.extend((*geometry.outer, *filler))
    for array, step, class_step, outer in zip(
        call.arrays, geometry.inner_steps, call.class_steps, geometry.outer_steps, strict=True
    ):
        table.extend((_address(array), step, class_step, *outer, *filler))
    packed = struct.pack(f"{len(table)}q", *table)
    if job.divisor is not None:
        packed += struct.pack("d", float(job.divisor))

    work_bytes = kernel.lane_bytes + kernel.rooms * room
    function = kernel.run
    elements = inner * prod(geometry.outer) * classes

    def work(first: int, last: int) -> None:
        function(bytes(8), bytes(8), first, last, packed, _scratch(work_bytes))

    run_slabs(work, groups, alone=elements < _WORTH_THREADS)

    value = call.value
    if job.value and job.reduce:
        total = partial[0] if groups == 1 else np.add.reduce(partial)
        value = np.dtype(job.value_dtype or job.dtype).type(job.total(total))
    return job.deliver(Answer(value, call.grads, call.curvature))


_kept_scratch = threading.local()
_KEPT = 2**18
"""Bytes of scratch memory that a thread keeps."""


def _scratch(size: int) -> int:
    """Return the address of scratch memory of this thread, valid until it asks again."""
    kept = getattr(_kept_scratch, "array", None)
    if kept is None or kept.size < size + 64:
        kept = np.empty(max(size + 64, _KEPT), np.uint8)
        _kept_scratch.array = kept
        start = kept.ctypes.data
        _kept_scratch.address = start + -start % 64
    return _kept_scratch.address  # type: ignore[no-any-return]


_byte = ctypes.c_char


def _address(array: Any) -> int:
    """Return where an array's first element lies."""
    try:
        # three times as fast as the attribute below, for writable arrays in one piece
        return ctypes.addressof(_byte.from_buffer(array))
    except (TypeError, ValueError, BufferError):
        return array.ctypes.data  # type: ignore[no-any-return]


def source(job: Job) -> str:
    """Return the text of the loop that answers a job."""
    loss = loss_of(job)
    call = _lay_out(job, loss, job.arrays["x"])
    if call is None:
        raise TypeError(f"tinyloss.{job.formula.name}: no loop takes these arrays")
    return loss.text(call.variant).source
