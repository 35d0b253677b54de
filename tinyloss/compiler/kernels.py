"""A job without its arrays: what decides which kernel answers it, and the program to compile.

For backends that compile. A kernel serves all jobs that agree in everything but the arrays.
"""

from collections.abc import Callable, Hashable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar
from weakref import ref

from tinyloss._engine.run import Job
from tinyloss._formula import Formula, exact
from tinyloss.compiler.passes import Passes, spelled, stage
from tinyloss.compiler.program import Input, Node, Program
from tinyloss.compiler.recorder import record

__all__ = [
    "DIVISOR",
    "WEIGHT",
    "ArrayUse",
    "Kept",
    "Recording",
    "Staged",
    "arrays_of",
    "asked_of",
    "inputs_of",
    "kept_for",
    "kept_of",
    "record_parts",
]

T = TypeVar("T")

WEIGHT, DIVISOR = "weight=", "divisor="
"""Inputs that are no arrays of the formula: no name that one may have."""


class Recent(dict[Any, T]):
    """What was used last, in two generations: when the younger is full, it becomes the older.

    So what is in use is found at once, and what nobody uses is let go.
    """

    size = 256
    """How many are kept at least; at most twice as many."""
    _older: Mapping[Any, T] = MappingProxyType({})

    def __missing__(self, key: Any) -> T:
        return self.add(key, self._older[key])

    def add(self, key: Any, value: T) -> T:
        """Keep a value, unless another thread was faster; return what is kept."""
        if len(self) >= self.size:
            self._older = dict(self)
            self.clear()
        return self.setdefault(key, value)


Kept = MutableMapping[type[Formula], Recent[T]]
"""What is kept of each formula. Weakly, in a `WeakKeyDictionary`: a user's formula goes when its
loss does. So what is kept must not hold the formula."""


@dataclass(frozen=True, slots=True)
class ArrayUse:
    """An array of a job as a kernel sees it."""

    name: str
    """As the kernel's text spells it."""
    dtype: str
    contiguous: bool
    """Whether it is read many numbers at a time, along the classes or, if it has none, the items:
    it lies there without gaps."""
    role: Input
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
    """A job's program as passes, and the nodes of what it answers."""

    passes: Passes
    total: Node | None
    """An item's share of the reduced value."""
    outputs: tuple[Node, ...]
    """One for each result that is an array."""


class Recording:
    """The program of a kind of job, and what its arrays are."""

    def __init__(self, job: Job, real: str) -> None:
        # neither the caller's arrays nor the formula must live on here
        self._job = replace(job.without_arrays(), formula=Formula)
        self._formula = ref(job.formula)
        self.real = real
        """The name of the dtype computed in."""
        self.title: str = job.formula.name
        self.rowwise: bool = job.formula.rowwise
        self._inputs = inputs_of(job)
        if job.weight is not None:
            self._inputs[WEIGHT] = Input()
        if job.divisor is not None:
            self._inputs[DIVISOR] = Input(per_item=False)
        per_class = Input(per_class=self.rowwise)
        self._spelled = spelled(self._inputs)
        results = [(f"grad_{self._spelled[name]}", per_class) for name in job.grads]
        if job.value and not job.reduce:
            each = Input(per_class=self.rowwise and not job.formula.per_item)
            results.insert(0, ("value", each))
        if job.curvature:
            results.append(("curvature", per_class))
        self.results = tuple(results)
        """Results that are arrays: name, and what each varies by."""
        arrays = {name: v for name, v in self._inputs.items() if name != DIVISOR}
        self.names = tuple(arrays)
        """Inputs that are arrays, in the order of `arrays_of`."""
        self._roles = tuple(arrays.values())

    def roles(self, overwrites: tuple[str, ...] = ()) -> tuple[Input, ...]:
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

    def staged(self, keep: bool = True) -> Staged:
        """Return the program, recorded and split into passes; for `keep` see `stage`."""
        formula = self._formula()
        assert formula is not None, "the job that is asked for holds it"
        job = replace(self._job, formula=formula)

        def answer(**arrays: Any) -> tuple[Any, ...]:
            weight, divisor = arrays.pop(WEIGHT, None), arrays.pop(DIVISOR, None)
            value, grads, curvature = job.items(arrays, weight, divisor)
            return tuple([each for each in (value, *grads, curvature) if each is not None])

        program = record(answer, self._inputs, dtype=self.real)
        outputs, total = program.outputs, None
        if job.value and job.reduce:
            total, outputs = outputs[0], outputs[1:]
        return Staged(stage(program, keep=keep), total, outputs)


def arrays_of(job: Job) -> list[Any]:
    """Return a job's inputs that are arrays, in the order of a recording's names."""
    arrays = [*job.arrays.values()]
    if job.weight is not None:
        arrays.append(job.weight)
    return arrays


def inputs_of(job: Job) -> dict[str, Input]:
    """Return what each input of a job's program varies by."""
    rowwise = job.formula.rowwise
    inputs: dict[str, Input] = {}
    for name in job.arrays:
        if job.labels and name == "y":
            inputs[name] = Input(integer=True)
        elif name == "class_weight":
            inputs[name] = Input(per_item=False, per_class=True)
        elif name in job.formula.of_rows:
            inputs[name] = Input()
        else:
            inputs[name] = Input(per_class=rowwise)
    return inputs


def record_parts(
    formula: Callable[..., Any],
    params: Mapping[str, Any],
    inputs: Mapping[str, Input],
    names: Sequence[str],
    dtype: str,
) -> Program:
    """Return the program of parts of a formula, which are its methods of these names."""

    def parts(**symbols: Any) -> tuple[Any, ...]:
        loss = formula(**symbols, **params)
        return tuple([getattr(loss, name)() for name in names])

    return record(parts, inputs, dtype=dtype)


def asked_of(job: Job) -> list[str]:
    """Return the methods of the formula that a job asks."""
    asked = [f"grad_{name}" for name in job.grads]
    return asked + ["value"] * job.value + ["curvature"] * job.curvature


def kept_of(formula: type[Formula], key: Hashable, kept: Kept[T], make: Callable[[], T]) -> T:
    """Return what is kept of a formula by a key, made where there is nothing."""
    of_formula = kept.get(formula)
    if of_formula is None:
        of_formula = kept.setdefault(formula, Recent())
    try:
        return of_formula[key]
    except KeyError:
        return of_formula.add(key, make())


def kept_for(job: Job, kept: Kept[T], make: Callable[[Job], T]) -> T:
    """Return what is kept for everything of a job but its arrays, made where there is none."""
    key = (
        tuple([(name, exact(value)) for name, value in job.params.items()]),
        tuple(job.arrays),
        job.dtype,
        job.value_dtype,
        job.labels,
        job.unchecked and job.domain,
        job.axis_name,
        job.classes,
        job.weight is None,
        job.divisor is None,
        job.reduce,
        job.value,
        job.grads,
        job.curvature,
        job.wide,
    )
    return kept_of(job.formula, key, kept, lambda: make(job))
