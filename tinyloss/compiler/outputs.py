"""Arrays for results: new ones, or the caller's `out` where it overlaps no input.

For backends that write results themselves.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from tinyloss.backend import Answer, Job

__all__ = ["Memory", "empty_answer", "overwritten_inputs", "results"]


class Memory(Protocol):
    """What a backend knows of its library's arrays in memory."""

    def empty(self, shape: tuple[int, ...], dtype: Any, /) -> Any:
        """Return a new, uninitialized array."""
        ...

    def empty_like(self, array: Any, dtype: Any, /) -> Any:
        """Return a new, uninitialized array with another's shape and order of strides."""
        ...

    def address(self, array: Any, /) -> int:
        """Return the address of an array's first element."""
        ...

    def layout(self, array: Any, /) -> tuple[tuple[int, ...], tuple[int, ...], Any]:
        """Return an array's shape, its strides in bytes, and its dtype, which is NumPy's."""
        ...

    def may_overlap(self, a: Any, b: Any, /) -> bool:
        """Return whether two arrays may share memory."""
        ...


def empty_answer(memory: Memory, job: Job, inputs: Sequence[Any]) -> Answer:
    """Return an answer of arrays that are still to be written.

    New arrays have the inputs' order of strides. A reduced value is left to the backend. A
    derivative goes into the caller's `out`, unless that overlaps an input in part: it may overlap
    none, or be exactly one that has a number for each item.
    """
    x, kind = job.arrays["x"], job.kind
    read_again = [a for name, a in job.arrays.items() if not kind.formula.role(name).per_item]
    value = curvature = None
    if kind.value and not kind.reduce:
        dtype = kind.value_dtype or kind.dtype
        one_each = kind.rowwise and kind.formula.per_item
        value = memory.empty(x.shape[:-1], dtype) if one_each else memory.empty_like(x, dtype)

    def derivative(name: str, number: int) -> Any:
        if job.out:
            into = job.out[number]
            apart = [a for a in inputs if not _same_memory(memory, into, a)] + read_again
            if not any(memory.may_overlap(into, a) for a in apart):
                return into
        return memory.empty_like(job.arrays[name], kind.derivative_dtype(name))

    grads = tuple([derivative(name, n) for n, name in enumerate(kind.grads)])
    if kind.curvature:
        curvature = derivative("x", -1)
    return Answer(value, grads, curvature)


def results(answer: Answer) -> list[Any]:
    """Return the arrays of an answer, in the order of a kernel's outputs."""
    return [each for each in (answer.value, *answer.grads, answer.curvature) if each is not None]


def overwritten_inputs(
    memory: Memory, outputs: Sequence[Any], names: Sequence[str], inputs: Sequence[Any]
) -> tuple[str, ...]:
    """Return for each output the name of the input that it overwrites, or ""."""

    def taken(output: Any) -> str:
        for name, array in zip(names, inputs, strict=True):
            if _same_memory(memory, output, array):
                return name
        return ""

    return tuple([taken(each) for each in outputs])


def _same_memory(memory: Memory, a: Any, b: Any) -> bool:
    return memory.address(a) == memory.address(b) and memory.layout(a) == memory.layout(b)
