"""Speed and memory of losses on torch's tensors of the CPU, compared with torch's own.

    python -m benchmarks.torch [--quick] [--only TEXT,...] [--json PATH]

All contenders compute the same on the same numbers with two threads: the mean of the losses, or the
mean and, by `backward()`, its gradient by the predictions. *tinyloss* is a loss called on tensors;
*tinyloss on NumPy* is the same call, or `tinyloss.value_and_grad`, on arrays of the same memory.
*torch* is the function of `torch.nn.functional`. Both libraries are measured under `torch.compile`,
too, with shapes as constants. Contenders take turns in one process. A ratio is that of medians,
with the quartiles of the ratios of the same round.

Extra memory is the growth of a fresh process's peak resident memory during forward and backward,
beyond the gradient.

A full run writes `benchmarks/results/torch.json`. `python -m benchmarks.tables torch` prints the
documentation's table of it.
"""

import importlib
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks._contenders import (
    BCE,
    CE,
    GRADIENT,
    HUBER,
    MSE,
    THREADS,
    VALUE,
    Case,
    Contender,
    Tinyloss,
    Torch,
    TorchCompile,
)
from benchmarks._printing import (
    command_line,
    console_of,
    progress_bar,
    write_report,
)
from benchmarks.cpu import (
    QUICK,
    Extra,
    Measured,
    Section,
    measure_memory,
    note_others,
    plan_of,
    print_section,
    time_case,
)
from tinyloss.cli.measure import busy, circumstances, library, settle

RESULTS = Path(__file__).parent / "results" / "torch.json"
MODULES = ("tinyloss", "torch", "numpy", "llvmlite", "ml_dtypes")


class OnTensors(Torch):
    """tinyloss differentiated by torch, as any other function."""

    def stage(self) -> AbstractContextManager[Any]:
        return Tinyloss("always").stage()

    def function(self, case: Case) -> Callable[[Any, Any], Any]:
        loss, options = getattr(importlib.import_module("tinyloss"), case.loss), case.options
        return lambda x, y: loss(x, y, **options)


class CompiledOnTensors(TorchCompile, OnTensors):
    """The same under torch.compile."""


CONTENDERS: dict[str, Contender] = {
    "tinyloss": OnTensors(),
    "tinyloss on NumPy": Tinyloss("always"),
    "tinyloss, torch.compile": CompiledOnTensors(),
    "torch": Torch(),
    "torch.compile": TorchCompile(),
}
LARGE = [Case(CE, (2048, 32768)), Case(CE, (2048, 32768), "bfloat16")]
IMAGES, SMALL = Case(CE, (8, 21, 256, 256)), Case(CE, (32, 10))
MIDDLE = [Case(loss, (4_000_000,)) for loss in (MSE, HUBER, BCE)]
SECTION = Section(
    "tensors",
    "torch's tensors",
    [*LARGE, IMAGES, *MIDDLE, SMALL],
    (VALUE, GRADIENT),
    tuple(CONTENDERS),
    8,
)


def print_memory(console: Console, extras: list[Extra]) -> None:
    title = "Extra memory of forward and backward, MB beyond inputs and gradient"
    table = Table(title=title, title_justify="left")
    for column in ("work", *CONTENDERS):
        table.add_column(column, justify="left" if column == "work" else "right")
    for case in LARGE:
        found = {extra.name: extra for extra in extras if extra.case == case}
        cells = [f"{found[name].least:.2f}" if name in found else "" for name in CONTENDERS]
        table.add_row(case.label, *cells)
    console.print(table)


def main(arguments: list[str] | None = None) -> int:
    names = (SECTION.name, "memory")
    quick = "few rounds, nothing large, no memory"
    parser = command_line("torch", __doc__, names, RESULTS, quick)
    given = parser.parse_args(arguments)
    if library("torch") is None:
        print("benchmarks.torch is skipped, nothing is written: torch is not installed")
        return 0
    settle(THREADS)

    only = [text for text in given.only.split(",") if text]
    plan = plan_of([SECTION], only, QUICK if given.quick else None)
    remembered = [] if given.quick or (only and "memory" not in only) else LARGE
    started, others = time.perf_counter(), busy()
    notes: dict[str, None] = {}
    note_others(others, notes)
    measured: list[Measured] = []
    extras: list[Extra] = []
    console, progress = console_of(170), progress_bar(60)
    with progress, warnings.catch_warnings():
        # Warnings of torch's compiler are not about the figures.
        warnings.simplefilter("ignore")
        bar = progress.add_task("", total=len(plan) + len(CONTENDERS) * len(remembered))
        for case in remembered:
            progress.update(bar, description=f"memory: {case.label}")
            for extra in measure_memory(CONTENDERS, 3, notes, case, (GRADIENT,)):
                extras += [extra] if extra is not None else []
                progress.update(bar, advance=1)
        for section, case in plan:
            progress.update(bar, description=case.label)
            seconds = section.seconds / (5 if given.quick else 1)
            measured += time_case(section, case, seconds, notes, CONTENDERS)
            progress.update(bar, advance=1)

    print_section(console, SECTION, measured, ())
    if extras:
        print_memory(console, extras)
    for note in notes:
        console.print(f"note: {escape(note)}", soft_wrap=True)
    took = time.perf_counter() - started
    path = given.json or (None if only or given.quick else RESULTS)
    if path is not None:
        lists = {
            "measurements": [m.summary() for m in measured],
            "memory": [extra.summary() for extra in extras],
        }
        write_report(path, circumstances(MODULES, THREADS, others, took, notes), lists)
    console.print(f"{took:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
