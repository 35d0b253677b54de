"""One job: compiled or not, and if so, its table of arguments and its threads."""

import ctypes
import struct
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from tinyloss.backend import (
    Answer,
    Cache,
    Domain,
    Job,
    Kind,
    Weighing,
    delivered,
    looked,
    replaced,
)
from tinyloss.compiler.geometry import Layouts
from tinyloss.compiler.kernels import DIVISOR, Recording, arrays_of, numbers_of, recording_of
from tinyloss.compiler.outputs import empty_answer, overwritten_inputs, results
from tinyloss_numpy import _arrays, _blocks
from tinyloss_numpy._plans import EXACT, WORTH_THREADS, Plan
from tinyloss_numpy._programs import CompiledLoss, has_compiler
from tinyloss_numpy._threads import run_slabs

_compilation: ContextVar[str] = ContextVar("tinyloss_numpy.compilation", default="auto")

_KEPT_SCRATCH = 2**18
"""Bytes of scratch memory that a thread keeps from the start."""


@contextmanager
def compilation(mode: Literal["auto", "always", "never"], /) -> Generator[None]:
    """Choose when losses of NumPy arrays are compiled.

    A compiled loss and the formulas run by NumPy agree to a few eps, not to the last bit.

    Parameters
    ----------
    mode
        "auto" (the default): once enough numbers have gone through a loss for compiling it to pay,
        at the first call for a large array, after some hundred calls for small ones. "always": at
        the first call. "never": not at all. The value of a parameter is no matter: a schedule
        compiles nothing anew.

    Notes
    -----
    The mode holds for the thread, or asyncio task, that sets it. A thread started inside does not
    see it, unless it runs in a copy of the context: `contextvars.copy_context().run(function)`.

    A signal handler that raises, as Ctrl-C does, breaks off the call and not the compiling. That
    goes on in another thread, and the next call finds the loop.

    Loops are kept in the folder `tinyloss` of the user's cache folder, up to 256 MiB: those used
    longest ago go first. A folder or file there that is a link, belongs to another user, or can be
    written by others is not used.

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


def quiet() -> Any:
    """Return a context in which NumPy neither raises nor warns where results overflow."""
    return np.errstate(all="ignore")


RAW = True
"""Loops read weights as they came."""

LOOKS = True
"""Targets are looked at here: by the loop while it runs, or before the formulas do."""


def layout(array: Any) -> Any:
    """Return what an array is besides its numbers, None if it is no plain one."""
    if type(array) is not np.ndarray:
        return None
    return array.shape, array.strides, array.dtype


def prepare(kind: Kind, /) -> "_Prepared":
    """Return what answers the jobs of a kind."""
    return _Prepared()


class _Prepared:
    """What answers the jobs of a kind."""

    def __init__(self) -> None:
        self._losses: Cache[CompiledLoss] = Cache()

    def _loss(self, kind: Kind) -> CompiledLoss:
        known = self._losses.get(kind)
        if known is not None:
            return known
        loss = CompiledLoss(recording_of(kind, np.dtype(kind.dtype).name))
        return self._losses.add(kind, loss)

    def __call__(self, job: Job) -> Answer:
        if _compiles(job.kind) and 0 not in job.arrays["x"].shape:
            if job.out and job.look is not None:
                # nothing is written there where a target is wrong
                with quiet():
                    job = looked(job)
            for kind in _loops(job):
                compiled = _run_compiled(self._loss(kind), job)
                if compiled is not None:
                    return compiled
        return _blocks.run(job)

    def has_loop(self, job: Job) -> bool:
        """Compile the loop of jobs whose arrays lie as these; return whether there is one."""
        if not _compiles(job.kind) or not has_compiler():
            return False
        losses = map(self._loss, _loops(job))
        return any(_planned(loss, job, _inputs(job))[2] is not None for loss in losses)

    def by_loop(self, job: Job) -> Answer:
        """Answer a job by its loop, compiled anew where it has been forgotten."""
        with compilation("always"):
            return self(job)

    def ready(
        self, job: Job, weighing: Weighing | None, given: Sequence[Any], memory: Any = _arrays
    ) -> Callable[..., Answer | None] | None:
        """Return what answers jobs whose arrays have the layout of these; None if slowly.

        It takes the job's arrays, those given to weigh the items by, and those to write into.
        Another library's arrays of the same layout will do, with how these are addressed and made.
        """
        mode, kind, x = _compilation.get(), _looped(job), job.arrays["x"]
        if not _compiles(kind) or not 0 < x.size < WORTH_THREADS or not x.ndim:
            return None
        if mode == "auto" and self._loss(kind).waiting:
            return None
        if weighing is not None:
            kind = _of_rows(job.kind if weighing.domain is None else job.kind.checked, job)
            kind = replace(kind, weighted=True, raw=False, divided=weighing.mean or kind.divided)
        return _ready(self._loss(kind), job, weighing, given, memory)


def _compiles(kind: Kind) -> bool:
    """Return whether jobs of a kind are compiled, now or later."""
    return _compilation.get() != "never"


def _looped(job: Job) -> Kind:
    """Return the kind of a job's loop: it watches the targets where these may be looked at."""
    return _loops(job)[0]


def _loops(job: Job) -> tuple[Kind, ...]:
    """Return the kinds of the loops that can answer a job: rows may be too long to be sorted."""
    kind = job.kind if job.look is None else job.kind.checked
    shorter = _of_rows(kind, job)
    return (kind,) if shorter is kind else (shorter, kind)


def _of_rows(kind: Kind, job: Job) -> Kind:
    """Return a kind for rows of the length that a job's have."""
    return kind.of_length(job.arrays["x"].shape[-1]) if kind.rowwise else kind


def _watched(job: Job) -> Domain | None:
    return None if job.look is None else job.kind.unchecked


def _ready(
    loss: CompiledLoss, job: Job, weighing: Weighing | None, given: Sequence[Any], memory: Any
) -> Callable[..., Answer | None] | None:
    kind = job.kind
    plain = replaced(job, weight=None, raw=False, out=())
    arrays = [*_inputs(plain), *given]
    first = empty_answer(_arrays, plain, arrays)
    outputs = results(first)
    if job.out:
        if any(a.dtype != b.dtype for a, b in zip(outputs[-len(job.out) :], job.out, strict=True)):
            return None
        outputs[-len(job.out) :] = job.out
    watched = _watched(job) if weighing is None else None
    layouts = _layouts([*arrays, *outputs])
    plan = loss.plan((), layouts, weighing, watched)
    if plan is None or plan.groups > 1:
        return None
    kernel = plan.kernel
    if kernel is None and weighing is not None:  # without weights a call by itself compiles it
        kernel = loss.compile(plan, layouts)
    if kernel is None:
        return None
    own = {name: float(number) for name, number in numbers_of(plain).items()}
    mean = weighing is not None and weighing.mean
    divisor = 1.0 if mean else own.get(DIVISOR, 1.0)
    if mean:
        own.pop(DIVISOR, None)
    numbers = _packed(loss.numbers(weighing)(own, plan.classes))
    table, scratch_bytes = plan.table, plan.scratch_bytes
    scalar = memory.scalar(kind.value_dtype or kind.dtype)
    makers = [memory.maker(each) for each in outputs[: len(outputs) - len(job.out)]]
    reduced, of_items, bent = kind.value and kind.reduce, first.value is not None, kind.curvature
    count, into, ends = len(kind.grads), len(job.out), int(kind.value and kind.reduce)
    spans = [_span(each) for each in (*arrays, *job.out)] if into else []
    sums = _Double * (ends + 2)
    more = () if weighing is None else (job.ignored or 0,)
    address, writable = memory.address, _arrays.writable_address

    def answer(arrays: Sequence[Any]) -> Answer | None:
        if _compilation.get() == "never":
            return None
        new: list[Any] = [make() for make in makers]
        totals = sums()
        if into:
            addresses = [address(each) for each in arrays[:-into]]
            for each in arrays[-into:]:
                at = writable(each)
                if at is None:
                    return None
                addresses.append(at)
            if _meet(addresses, spans, into):
                return None
            addresses[-into:-into] = [address(each) for each in new]
            new += arrays[-into:]
        else:
            addresses = [address(each) for each in arrays]
            addresses += [address(each) for each in new]
        entries = table(numbers, *addresses, _address_of(totals), *more)
        kernel(0, 1, entries, _own.scratch(scratch_bytes))
        if totals[ends]:  # a target or a weight is out of the ordinary
            return None
        value = None
        if reduced:
            value = _ordinary(totals[0], totals[ends + 1] if mean else divisor, scalar)
        elif of_items:
            value = new.pop(0)
        return Answer(value, tuple(new[:count]), new[-1] if bent else None)

    return answer


def _span(array: Any) -> tuple[int, int]:
    """Return where an array's memory begins and ends, from its first element."""
    ends = [(n - 1) * step for n, step in zip(array.shape, array.strides, strict=True)]
    return sum(min(end, 0) for end in ends), sum(max(end, 0) for end in ends) + array.itemsize


def _meet(addresses: Sequence[int], spans: Sequence[tuple[int, int]], into: int) -> bool:
    """Return whether one of the last arrays may share memory with another."""
    reach = [(at + low, at + high) for at, (low, high) in zip(addresses, spans, strict=True)]
    for place in range(len(reach) - into, len(reach)):
        low, high = reach[place]
        for other in range(place):
            if low < reach[other][1] and reach[other][0] < high:
                return True
    return False


_Double = ctypes.c_double
_address_of = ctypes.addressof


def _run_compiled(loss: CompiledLoss, job: Job) -> Answer | None:
    """Answer a job by its kernel; None where there is none."""
    # First what sends a job to the formulas, which make their results themselves.
    if loss.waiting and _compilation.get() == "auto" and not loss.pays(job):
        return None
    arrays = _inputs(job)
    if not _made_exact(arrays, loss.recording):
        return None
    if loss.declined and not job.out and _layouts(arrays) in loss.declined:
        return None
    answer, arrays, plan = _planned(loss, job, arrays)
    if plan is None:
        return None
    kernel, kind, watched = plan.kernel, job.kind, _watched(job)
    reduced = kind.value and kind.reduce
    totals = np.empty((plan.groups, reduced + (watched is not None)))
    given = {name: float(number) for name, number in numbers_of(job).items()}
    numbers = _packed(loss.numbers()(given, plan.classes))
    addresses = [_arrays.address(each) for each in (*arrays, totals)]
    table = plan.table(numbers, *addresses)
    if plan.small:
        kernel(0, plan.groups, table, _own.scratch(plan.scratch_bytes))
    else:

        def work(first: int, last: int, _held: Any = (arrays, totals)) -> None:
            # other threads hold by this what the table has the addresses of
            kernel(first, last, table, _own.scratch(plan.scratch_bytes))

        run_slabs(work, plan.groups)
    if watched is not None and totals[:, -1].any():
        with quiet():
            looked(job)
    if reduced:
        value = _reduced(job, totals[:, 0])
        answer = Answer(value, answer.grads, answer.curvature)
    elif answer.value is not None and answer.value.ndim == 0:
        answer = Answer(answer.value[()], answer.grads, answer.curvature)
    if job.out or job.arrays["x"].shape:
        return delivered(answer, job.out)
    return _scalars(answer)


def _planned(
    loss: CompiledLoss, job: Job, inputs: list[Any]
) -> tuple[Answer, list[Any], Plan | None]:
    """Return arrays for the answer, what a loop takes, and its plan with a kernel if it has one."""
    answer = empty_answer(_arrays, job, inputs)
    overwrites: tuple[str, ...] = ()
    outputs = results(answer)
    if job.out:
        overwrites = overwritten_inputs(_arrays, outputs, loss.recording.names, inputs)
        outputs = [each for each, name in zip(outputs, overwrites, strict=True) if not name]
    arrays = [*inputs, *outputs]
    layouts = _layouts(arrays)
    plan = loss.plan(overwrites, layouts, None, _watched(job))
    if plan is not None and plan.kernel is None and loss.compile(plan, layouts) is None:
        plan = None
    return answer, arrays, plan


def _packed(numbers: Sequence[float]) -> bytes:
    return struct.pack(f"{len(numbers)}d", *numbers)


def _reduced(job: Job, partial_sums: Any) -> Any:
    """Return the sum over all items, divided, in the dtype of the value."""
    scalar = _arrays.scalar(job.kind.value_dtype or job.kind.dtype)
    divisor = 1.0 if job.divisor is None else float(job.divisor)
    if len(partial_sums) == 1:
        return _ordinary(float(partial_sums[0]), divisor, scalar)
    with np.errstate(all="ignore"):
        return scalar(np.add.reduce(partial_sums) / divisor)


def _ordinary(total: float, divisor: float, scalar: Any) -> Any:
    """Return a quotient in a dtype: at once where nothing can overflow."""
    if divisor:
        value = total / divisor
        if -_ORDINARY < value < _ORDINARY:
            return scalar(value)
    with np.errstate(all="ignore"):
        return scalar(np.float64(total) / divisor)


_ORDINARY = 6e4
"""Below it no dtype overflows."""


def _inputs(job: Job) -> list[Any]:
    """Return the inputs that are arrays, in the order of the program's."""
    # NumPy's scalars pass for 0-d arrays, but have no address
    return [each if type(each) is np.ndarray else np.asarray(each) for each in arrays_of(job)]


def _made_exact(arrays: list[Any], recording: Recording) -> bool:
    """Bring what is compared to the dtype that is computed in; return whether it is the same there.

    Whole numbers of 64 bits mostly are.
    """
    for at in recording.compared:
        array = arrays[at]
        if array.dtype.name in EXACT[recording.real]:
            continue
        with quiet():
            near = array.astype(recording.real)
            if not (near.astype(array.dtype) == array).all():
                return False
        arrays[at] = near
    return True


def _layouts(arrays: list[Any]) -> Layouts:
    return tuple([(each.shape, each.strides, each.dtype) for each in arrays])


def _scalars(answer: Answer) -> Answer:
    """Return what NumPy's own functions give for 0-d arrays: scalars."""
    value, grads, curvature = answer
    return Answer(
        None if value is None else value[()],
        tuple([grad[()] for grad in grads]),
        None if curvature is None else curvature[()],
    )


class _Own(threading.local):
    """Memory of one thread."""

    def __init__(self) -> None:
        self._arrays: list[Any] = []
        self._size = -1

    def _reserve(self, size: int) -> None:
        # What was handed out before is not let go: a signal handler, or an object's end, may call
        # a loss after another call here has asked for an address and before it is used.
        size = max(size, 2 * self._size, _KEPT_SCRATCH)
        array = np.empty(size + 64, np.uint8)
        self._arrays.append(array)
        start = _arrays.address(array)
        self._address = start + -start % 64
        self._size = size  # last, lest a signal handler leaves it larger than the memory

    def scratch(self, size: int) -> int:
        """Return the address of scratch memory, valid until the thread runs its next loop."""
        if size > self._size:
            self._reserve(size)
        return self._address


_own = _Own()


def scratch(size: int) -> int:
    """Return the address of scratch memory, valid until the thread runs its next loop."""
    return _own.scratch(size)


def may_compile() -> str:
    """Return the mode that `compilation` has set."""
    return _compilation.get()


SOURCE = "llvm"
"""What the loops are written for."""


def example(shape: tuple[int, ...], dtype: str) -> Any:
    """Return an array to ask for a source with."""
    return np.zeros(shape, dtype)


def source(job: Job) -> str:
    """Return the text of the loop that answers a job."""
    kind = _looped(job)
    loss = CompiledLoss(recording_of(kind, np.dtype(kind.dtype).name))
    arrays = _inputs(job)
    arrays += results(empty_answer(_arrays, job, arrays))
    plan = loss.plan((), _layouts(arrays), None, _watched(job))
    if plan is None:
        raise TypeError(f"tinyloss.{kind.formula.name}: no loop takes these arrays")
    return loss.text(plan.variant).source
