"""What a kernel is made from: the program of a kind of job, and what its arrays are.

For backends that compile.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from tinyloss.backend import NUMBER, Job, Kind, Role, items
from tinyloss.compiler.factors import factored
from tinyloss.compiler.numbers import on_host
from tinyloss.compiler.order import spelled_out
from tinyloss.compiler.passes import Passes, spelled, stage
from tinyloss.compiler.program import Node, Program, in_order
from tinyloss.compiler.ranges import narrowed
from tinyloss.compiler.recorder import Unrecordable, record

__all__ = [
    "DIVISOR",
    "WEIGHT",
    "ArrayUse",
    "Recording",
    "Staged",
    "Writer",
    "arrays_of",
    "asked_of",
    "numbers_of",
    "record_parts",
    "recording_of",
    "roles_of",
]

WEIGHT, FACTOR, DIVISOR = "weight=", "factor=", "divisor="
"""Inputs that are no arrays of the formula: no name that one may have."""


@dataclass(frozen=True, slots=True)
class ArrayUse:
    """An array of a job as a kernel sees it."""

    name: str
    """As the kernel's text spells it."""
    dtype: str
    contiguous: bool
    """Whether it is read many numbers at a time, along the classes or, if it has none, the items:
    it lies there without gaps."""
    role: Role
    overwrites: str = ""
    """The input whose place an output takes."""

    @property
    def per_class(self) -> bool:
        """Whether it has a number for each class."""
        return self.role.per_class

    @property
    def per_item(self) -> bool:
        """Whether it has a number for each item."""
        return self.role.per_item


class Staged(NamedTuple):
    """A program as passes, and the nodes of what it answers."""

    passes: Passes
    totals: tuple[Node, ...]
    """What is summed over all items: an item's share of each."""
    outputs: tuple[Node, ...]
    """One for each result that is an array."""
    numbers: tuple[Node, ...]
    """What varies by nothing and is known before the kernel runs: it is computed on the host."""
    uniform: tuple[Node, ...]
    """What varies by nothing and is computed in the kernel, from numbers on the device."""


class Writer:
    """What the text of a kernel is written from, in any language."""

    def __init__(
        self, staged: Staged, inputs: Sequence[ArrayUse], outputs: Sequence[ArrayUse], real: str
    ) -> None:
        self.staged, self.numbers, self.uniforms = staged.passes, staged.numbers, staged.uniform
        self.inputs, self.real = inputs, real
        self.arrays = {array.name: array for array in inputs}
        self.all_arrays = [*inputs, *(each for each in outputs if not each.overwrites)]
        results = [*zip(outputs, staged.outputs, strict=True)]
        self.of_items = [(array, node) for array, node in results if not array.per_class]
        """Outputs of one number for each item, and the nodes that they hold."""
        self.of_classes = [(array, node) for array, node in results if array.per_class]
        """Outputs of one number for each class, likewise."""

    def target(self, array: ArrayUse) -> ArrayUse:
        """Return the array that an output is written to."""
        return self.arrays[array.overwrites] if array.overwrites else array


class Recording:
    """A program, and what its arrays are."""

    def __init__(
        self,
        title: str,
        real: str,
        function: Callable[..., Any],
        inputs: Mapping[str, Role],
        results: Sequence[tuple[str, Role]],
        totals: int,
        paired: bool = False,
        along: bool = False,
    ) -> None:
        self.title = title
        self.real = real
        """The name of the dtype computed in."""
        self._function, self._inputs = function, dict(inputs)
        self.rowwise = any(role.per_class for role in inputs.values())
        self._spelled = spelled(self._inputs)
        self.results = tuple([(self._spell(name), role) for name, role in results])
        """Results that are arrays: name, and what each varies by."""
        self.paired = paired
        """Whether each class of a row is compared with all others."""
        self.along = along
        """Whether it goes over the classes of a row one after the other."""
        self.totals = totals
        """How many sums over all items there are."""
        arrays = {name: role for name, role in inputs.items() if role != NUMBER}
        self.names = tuple(arrays)
        """Inputs that are arrays, in the order of `arrays_of`."""
        self._roles = tuple(arrays.values())
        self.compared = tuple([n for n, role in enumerate(self._roles) if role.compared])
        """Where among these are those that are compared and not computed with."""

    def _spell(self, name: str) -> str:
        start, _, argument = name.partition("_")
        return f"{start}_{self._spelled[argument]}" if argument in self._spelled else name

    def roles(self, overwrites: tuple[str, ...] = ()) -> tuple[Role, ...]:
        """Return what each array varies by: inputs, then results that take no input's place."""
        taken = overwrites or ("",) * len(self.results)
        new = [role for (_, role), name in zip(self.results, taken, strict=True) if not name]
        return (*self._roles, *new)

    def arrays(
        self, layouts: Sequence[tuple[str, bool]], overwrites: Sequence[str]
    ) -> tuple[list[ArrayUse], list[ArrayUse]]:
        """Return inputs and results, from dtype and lie of each array (see `roles`)."""
        each = iter(layouts)
        inputs = [
            ArrayUse(self._spelled[name], *next(each), role)
            for name, role in zip(self.names, self._roles, strict=True)
        ]
        outputs = [
            ArrayUse(
                name, *(("", False) if taken else next(each)), role, self._spelled.get(taken, "")
            )
            for (name, role), taken in zip(self.results, overwrites, strict=True)
        ]
        return inputs, outputs

    def staged(
        self,
        keep: bool = True,
        on_device: Collection[str] = (),
        narrow: bool = False,
        along: bool = False,
        factors: bool = False,
    ) -> Staged:
        """Return the program, recorded and split into passes; for `keep` see `stage`.

        `on_device` are inputs that are one number, which only the kernel can read. With `narrow`
        the backend has the operations of `tinyloss.compiler.ranges`, with `along` what goes over
        the classes of a row in an order, with `factors` the operations of
        `tinyloss.compiler.factors`.
        """
        program = record(self._function, self._inputs, dtype=self.real)
        if program.goes_along and not along:
            raise Unrecordable(_NO_PASS.format(self.title))
        program = spelled_out(program)
        program = narrowed(program) if narrow else program
        program = factored(program) if factors else program
        passes = stage(program, keep=keep)
        numbers = on_host(program, on_device)
        inside = {id(node) for node in in_order(numbers)}
        uniform = tuple([node for node in passes.uniform if id(node) not in inside])
        return Staged(
            passes,
            program.outputs[: self.totals],
            program.outputs[self.totals :],
            numbers,
            uniform,
        )


_NO_PASS = "tinyloss.{}: goes over a row in order, for which there is no kernel"


def recording_of(kind: Kind, real: str) -> Recording:
    """Return what the kernel of a kind of job is made from."""

    def answer(**arrays: Any) -> tuple[Any, ...]:
        weight, divisor = arrays.pop(WEIGHT, None), arrays.pop(DIVISOR, None)
        if kind.raw:
            weight = weight * arrays.pop(FACTOR)
        numbers = {name: arrays.pop(name) for name in kind.numbers}
        value, grads, curvature = items(kind, arrays, numbers, weight, divisor)
        return tuple([each for each in (value, *grads, curvature) if each is not None])

    per_class = Role(per_class=kind.rowwise)
    results = [(f"grad_{name}", replace(kind.role(name), integer=False)) for name in kind.grads]
    if kind.value and not kind.reduce:
        results.insert(0, ("value", Role(per_class=kind.rowwise and not kind.formula.per_item)))
    if kind.curvature:
        results.append(("curvature", per_class))
    inputs = roles_of(kind) | dict.fromkeys(kind.numbers, NUMBER)
    if kind.weighted:
        inputs[WEIGHT] = Role()
    if kind.raw:
        inputs[FACTOR] = NUMBER
    if kind.divided:
        inputs[DIVISOR] = NUMBER
    totals = int(kind.value and kind.reduce)
    ways = kind.formula.paired, kind.formula.in_order
    return Recording(kind.formula.name, real, answer, inputs, results, totals, *ways)


def arrays_of(job: Job) -> list[Any]:
    """Return a job's inputs that are arrays, in the order of a recording's names."""
    arrays = [job.arrays[name] for name, _, role in job.kind.arguments if role != NUMBER]
    if job.weight is not None:
        arrays.append(job.weight)
    return arrays


def numbers_of(job: Job) -> dict[str, Any]:
    """Return a job's inputs that are one number each, by a recording's names."""
    numbers: dict[str, Any] = {**job.numbers}
    for name, _, role in job.kind.arguments:
        if role == NUMBER:
            numbers[name] = job.arrays[name]
    if job.kind.raw:
        numbers[FACTOR] = job.factor
    if job.divisor is not None:
        numbers[DIVISOR] = job.divisor
    return numbers


def roles_of(kind: Kind) -> dict[str, Role]:
    """Return what each array of a kind of job varies by."""
    return {name: role for name, _, role in kind.arguments}


def record_parts(kind: Kind, names: Sequence[str], dtype: str) -> Program:
    """Return the program of parts of a kind's formula, which are its methods of these names."""

    def parts(**symbols: Any) -> tuple[Any, ...]:
        loss = kind.formula(**symbols, **kind.static)
        return tuple([getattr(loss, name)() for name in names])

    return record(parts, roles_of(kind) | dict.fromkeys(kind.numbers, NUMBER), dtype=dtype)


def asked_of(kind: Kind) -> list[str]:
    """Return the methods of the formula that a kind of job asks."""
    asked = [f"grad_{name}" for name in kind.grads]
    return asked + ["value"] * kind.value + ["curvature"] * kind.curvature
