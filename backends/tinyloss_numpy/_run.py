"""One job: compiled or not, and if so, its table of arguments and its threads."""

import ctypes
import threading
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal

import numpy as np

from tinyloss._engine import Answer, Job
from tinyloss_numpy import _blocks
from tinyloss_numpy._outputs import empty_answer, place_taken
from tinyloss_numpy._programs import loss_of
from tinyloss_numpy._threads import run_slabs

__all__ = ["SOURCE", "compilation", "example", "run", "source"]

_compilation: ContextVar[str] = ContextVar("tinyloss_numpy.compilation", default="auto")

_WORTH_COMPILING = 2**19
"""Elements after which compiling a program, about a second, starts to pay."""
_WORTH_A_CALL = 2**11
"""Elements that a call's own cost amounts to."""
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


def run(job: Job, /) -> Answer:
    """Answer a job."""
    if _compilation.get() != "never" and 0 not in job.arrays["x"].shape:
        answer = _run_compiled(job)
        if answer is not None:
            return answer
    return _blocks.run(job)


def _run_compiled(job: Job) -> Answer | None:
    """Answer a job by its kernel; None where there is none."""
    loss = loss_of(job)
    arrays = [*job.arrays.values()]
    if job.weight is not None:
        arrays.append(job.weight)
    answer = empty_answer(job, arrays)
    over: tuple[str, ...] = ()
    outputs = [each for each in (answer.value, *answer.grads, answer.curvature) if each is not None]
    if job.out:
        over = tuple([place_taken(each, loss.names, arrays) for each in outputs])
        outputs = [each for each, name in zip(outputs, over, strict=True) if not name]
    arrays += outputs
    plan = loss.plan(over, tuple([(each.shape, each.strides, each.dtype) for each in arrays]))
    if plan is None:
        return None
    kernel = plan.kernel
    if kernel is None:
        if _compilation.get() == "auto":
            loss.work += plan.elements + _WORTH_A_CALL
            if loss.work < _WORTH_COMPILING:
                return None
        kernel = loss.compile(plan)
        if kernel is None:
            return None

    partial_sums = np.empty(plan.groups) if job.value and job.reduce else None
    addresses = [_address(each) for each in arrays]
    sums_at = 0 if partial_sums is None else _address(partial_sums)
    table = plan.table(addresses, sums_at, job.divisor)
    scratch = plan.scratch_bytes

    def work(first: int, last: int) -> None:
        kernel(_UNUSED, _UNUSED, first, last, table, _scratch(scratch))

    run_slabs(work, plan.groups, alone=plan.small)
    if partial_sums is not None:
        total = partial_sums[0] if plan.groups == 1 else np.add.reduce(partial_sums)
        value = np.dtype(job.value_dtype or job.dtype).type(job.total(total))
        answer = Answer(value, answer.grads, answer.curvature)
    return job.deliver(answer) if job.out or job.arrays["x"].shape else _scalars(answer)


def _scalars(answer: Answer) -> Answer:
    """Return what NumPy's own functions give for 0-d arrays: scalars."""
    value, grads, curvature = answer
    return Answer(
        None if value is None else value[()],
        tuple([grad[()] for grad in grads]),
        None if curvature is None else curvature[()],
    )


_UNUSED = bytes(8)
"""Where Numba's convention would put a result and an error: these loops have neither."""

_kept_scratch = threading.local()


def _scratch(size: int) -> int:
    """Return the address of scratch memory of this thread, valid until it asks again."""
    kept = getattr(_kept_scratch, "array", None)
    if kept is None or kept.size < size + 64:
        kept = np.empty(max(size + 64, _KEPT_SCRATCH), np.uint8)
        start = kept.ctypes.data
        _kept_scratch.array, _kept_scratch.address = kept, start + -start % 64
    return _kept_scratch.address  # type: ignore[no-any-return]


_byte = ctypes.c_char


def _address(array: Any) -> int:
    """Return where an array's first element lies."""
    try:
        # three times as fast as the attribute below, for writable arrays in one piece
        return ctypes.addressof(_byte.from_buffer(array))
    except (TypeError, ValueError, BufferError):
        return array.ctypes.data  # type: ignore[no-any-return]


SOURCE = "numba"
"""What the loops are written in."""


def example(shape: tuple[int, ...], dtype: str) -> Any:
    """Return an array to ask for a source with."""
    return np.zeros(shape, dtype)


def source(job: Job) -> str:
    """Return the text of the loop that answers a job."""
    loss = loss_of(job)
    arrays = [*job.arrays.values(), *([] if job.weight is None else [job.weight])]
    answer = empty_answer(job, arrays)
    outputs = [each for each in (answer.value, *answer.grads, answer.curvature) if each is not None]
    arrays += outputs
    plan = loss.plan((), tuple([(each.shape, each.strides, each.dtype) for each in arrays]))
    if plan is None:
        raise TypeError(f"tinyloss.{job.formula.name}: no loop takes these arrays")
    return loss.text(plan.variant).source
