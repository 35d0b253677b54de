"""Speed and memory of losses on JAX arrays, compared with optax and `jax.nn`.

    python -m benchmarks.jax [--quick] [--only TEXT,...] [--json PATH]

All contenders compute the same on the same numbers: the mean of the losses, or the mean and its
gradient by the predictions, in a function that `jax.jit` compiles. *tinyloss* is
`jax.value_and_grad` of a loss; `tinyloss.value_and_grad` is beside it. *jax.nn* is the textbook
formula with functions such as `log_softmax` and `softplus`. Contenders take turns in one process. A
ratio is that of medians, with the quartiles of the ratios of the same round. Last, a small loss is
called without `jax.jit`.

Temporaries are the memory that the compiled program needs beyond its inputs and results, as XLA
reports it. The program does not run for that, so arrays may be larger.

A full run writes `benchmarks/results/jax.json`. The status is 1 if tinyloss exceeds one of its own
limits. All results are of XLA's code for CPUs, on two cores.
"""

import importlib
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks._contenders import (
    BCE,
    CE,
    GRADIENT,
    MSE,
    THREADS,
    VALUE,
    Array,
    Call,
    Case,
    JaxJit,
)
from benchmarks._printing import (
    command_line,
    console_of,
    progress_bar,
    write_report,
)
from benchmarks.cpu import (
    QUICK,
    Limit,
    Measured,
    Section,
    note_others,
    plan_of,
    print_limits,
    print_section,
    time_case,
)
from tinyloss.cli.measure import busy, circumstances, library, settle

RESULTS = Path(__file__).parent / "results" / "jax.json"
MODULES = ("tinyloss", "jax", "jaxlib", "optax", "numpy", "ml_dtypes")
ASKS = (VALUE, GRADIENT)
MEBI = 2**20


# ------------------------------------------------------------------------------------- contenders


class Nn(JaxJit):
    """The textbook formula."""

    needs = ("jax",)

    def loss(self, case: Case) -> Callable[[Any, Any], Any]:
        nn, numpy = library("jax").nn, library("jax").numpy

        def labels(x: Any, y: Any) -> Any:
            return -numpy.take_along_axis(nn.log_softmax(x), y[:, None], axis=-1).mean()

        def soft(x: Any, y: Any) -> Any:
            return -(y * nn.log_softmax(x)).sum(axis=-1).mean()

        def binary(x: Any, y: Any) -> Any:
            return -(y * nn.log_sigmoid(x) + (1 - y) * nn.log_sigmoid(-x)).mean()

        def squared(x: Any, y: Any) -> Any:
            return ((x - y) ** 2).mean()

        return {CE: soft if case.soft else labels, BCE: binary, MSE: squared}[case.loss]


class Tinyloss(JaxJit):
    """tinyloss differentiated by JAX, as any other function."""

    needs = ("jax",)

    def loss(self, case: Case) -> Callable[[Any, Any], Any]:
        loss: Callable[[Any, Any], Any] = getattr(importlib.import_module("tinyloss"), case.loss)
        return loss


class ClosedForm(Tinyloss):
    """`tinyloss.value_and_grad`; the value alone is that of `Tinyloss`."""

    def differentiated(self, case: Case) -> Callable[[Any, Any], Any]:
        tinyloss: Any = importlib.import_module("tinyloss")
        differentiated: Callable[[Any, Any], Any] = tinyloss.value_and_grad(self.loss(case))
        return differentiated

    def prepare(self, case: Case, x: Array, y: Array) -> dict[str, Call]:
        return {GRADIENT: super().prepare(case, x, y)[GRADIENT]}


TINYLOSS, CLOSED, OPTAX, NN = "tinyloss", "tinyloss.value_and_grad", "optax", "jax.nn"
CONTENDERS: dict[str, JaxJit] = {
    TINYLOSS: Tinyloss(),
    CLOSED: ClosedForm(),
    OPTAX: JaxJit(),
    NN: Nn(),
}
PEERS = [name for name in CONTENDERS if name != TINYLOSS]


# ------------------------------------------------------------------------------------------- plan

LARGE = Case(CE, (8192, 32768))
LARGE_HALF = Case(CE, (8192, 32768), "bfloat16")
CASES = [
    Case(CE, (2048, 32000)),
    Case(CE, (8192, 1000)),
    Case(CE, (65536, 10)),
    Case(CE, (2048, 32000), soft=True),
    Case(BCE, (4_000_000,)),
    Case(MSE, (4_000_000,)),
    Case(CE, (32, 10)),
]
NAMES = tuple(CONTENDERS)
SECTIONS = [
    Section("large", "jax.jit, 2^28 logits", [LARGE, LARGE_HALF], ASKS, NAMES, 60),
    Section("jit", "jax.jit", CASES, ASKS, NAMES, 8),
    Section("eager", "No jax.jit", [Case(CE, (32, 10))], ASKS, NAMES, 4),
]
CALLED = {name: type(contender)(jit=False) for name, contender in CONTENDERS.items()}
MEMORY = [
    LARGE,
    LARGE_HALF,
    *(case for case in CASES if case.elements > QUICK),
    Case(CE, (8192, 131072)),
    Case(CE, (8192, 131072), "bfloat16"),
    Case(CE, (2048, 32000), "bfloat16", soft=True),
    Case(BCE, (256_000_000,)),
    Case(BCE, (256_000_000,), "bfloat16"),
    Case(MSE, (256_000_000,)),
]

NOISE = 0.05
"""What is added where the limit is to be as fast as optax, for the measurement: the quartiles of
such a ratio lie 5 to 10 % apart on a quiet machine."""
OURS = (TINYLOSS, CLOSED)
LIMITS = [
    *(Limit(LARGE, OPTAX, at_most=1.15, who=who) for who in OURS),
    *(Limit(LARGE_HALF, OPTAX, at_most=1, allowance=NOISE, who=who) for who in OURS),
]
MEMORY_LIMITS = {LARGE: 1.15, LARGE_HALF: 1.0}
"""Temporaries for value and gradient, of those of optax."""
SLACK = 1.0
"""MiB of temporaries that do not count: in float32 optax keeps a few numbers of each row."""


# ---------------------------------------------------------------------------------------- memory


@dataclass(frozen=True)
class Temporaries:
    """The memory that a compiled program needs beyond its inputs and results."""

    name: str
    case: Case
    what: str
    mib: float

    def summary(self) -> dict[str, Any]:
        return {
            "contender": self.name,
            "work": self.case.label,
            "what": self.what,
            "temporaries_mib": round(self.mib, 3),
        }


def measure_memory(case: Case) -> Iterator[Temporaries]:
    """Yield the temporaries of each contender, which is compiled and not run."""
    jax = library("jax")
    labels = case.loss == CE and not case.soft
    x = jax.ShapeDtypeStruct(case.shape, case.dtype)
    y = jax.ShapeDtypeStruct(case.shape[:1], "int32") if labels else x
    for name, contender in CONTENDERS.items():
        if any(library(module) is None for module in contender.needs):
            continue
        for what in ASKS:
            if name == CLOSED and what == VALUE:
                continue
            compiled = contender.function(case, what).lower(x, y).compile()
            size = compiled.memory_analysis().temp_size_in_bytes
            yield Temporaries(name, case, what, size / MEBI)


# -------------------------------------------------------------------------------------- printing


def judged(measured: list[Measured], memory: list[Temporaries]) -> list[dict[str, Any]]:
    """Return the limits that were measured, with the results."""
    found = {(m.case, m.what): m.times for m in measured if m.section != "eager"}
    rows = [limit.summary(found.get((limit.case, limit.what), {})) for limit in LIMITS]
    mib = {(each.case, each.name): each.mib for each in memory if each.what == GRADIENT}
    for case, factor in MEMORY_LIMITS.items():
        for who in OURS:
            row: dict[str, Any] = {
                "work": case.label,
                "what": GRADIENT,
                "who": who,
                "against": f"{OPTAX}, temporaries",
                "limit": f"at most {factor:g}x and {SLACK:g} MiB",
            }
            if (case, who) in mib and (case, OPTAX) in mib:
                ours, theirs = mib[case, who], mib[case, OPTAX]
                row |= {"mib": round(ours, 3), "met": ours <= factor * theirs + SLACK}
            rows.append(row)
    return rows


def memory_rows(memory: list[Temporaries], places: int) -> Iterator[list[str]]:
    """Yield a row for each case: its temporaries for the value, and for value and gradient."""
    for case in dict.fromkeys(each.case for each in memory):
        cells: list[str] = []
        for name in CONTENDERS:
            mine = [each for each in memory if (each.case, each.name) == (case, name)]
            cells.append(", ".join(f"{each.mib:.{places}f}" for each in mine))
        yield [f"`{case.loss}` {case.size}", *cells]


def print_memory(console: Console, memory: list[Temporaries]) -> None:
    table = Table(title="Temporaries, MiB: value, value and gradient", title_justify="left")
    table.add_column("work", no_wrap=True)
    for name in CONTENDERS:
        table.add_column(name, justify="right")
    for row in memory_rows(memory, 2):
        table.add_row(row[0].replace("`", ""), *row[1:])
    console.print(table)


# --------------------------------------------------------------------------------------- running


def main(arguments: list[str] | None = None) -> int:
    names = [*(section.name for section in SECTIONS), "memory"]
    parser = command_line("jax", __doc__, names, RESULTS, "few rounds, nothing large")
    given = parser.parse_args(arguments)
    if library("jax") is None:
        print("benchmarks.jax is skipped, nothing is written: jax is not installed")
        return 0
    settle(THREADS)

    only = [text for text in given.only.split(",") if text]
    largest = QUICK if given.quick else None
    plan = plan_of(SECTIONS, only, largest)
    remembered = [
        case for case in MEMORY if not only or any(text in f"memory: {case.label}" for text in only)
    ]
    started, others = time.perf_counter(), busy()
    notes: dict[str, None] = {}
    note_others(others, notes)
    measured: list[Measured] = []
    memory: list[Temporaries] = []
    console, progress = console_of(170), progress_bar(60)
    with progress, warnings.catch_warnings():
        # Warnings of peers are not about the figures.
        warnings.simplefilter("ignore")
        bar = progress.add_task("", total=len(plan) + len(remembered))
        for case in remembered:
            progress.update(bar, description=f"memory: {case.label}")
            memory += measure_memory(case)
            progress.update(bar, advance=1)
        for section, case in plan:
            progress.update(bar, description=f"{section.name}: {case.label}")
            seconds = section.seconds / (5 if given.quick else 1)
            contenders = CALLED if section.name == "eager" else CONTENDERS
            measured += time_case(section, case, seconds, notes, contenders)
            progress.update(bar, advance=1)

    for section in SECTIONS:
        print_section(console, section, measured, LIMITS)
    if memory:
        print_memory(console, memory)
    limits = judged(measured, memory)
    print_limits(console, limits)
    for note in notes:
        console.print(f"note: {escape(note)}", soft_wrap=True)

    took = time.perf_counter() - started
    path = given.json or (None if only or given.quick else RESULTS)
    if path is not None:
        report = circumstances(MODULES, THREADS, others, took, notes)
        lists = {
            "limits": limits,
            "measurements": [m.summary() for m in measured],
            "memory": [each.summary() for each in memory],
        }
        write_report(path, report, lists)
    console.print(f"{took:.0f} s")
    return 1 if any(row.get("met") is False for row in limits) else 0


if __name__ == "__main__":
    sys.exit(main())
