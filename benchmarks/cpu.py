"""Speed and memory of losses on the CPU, compared with torch, JAX and others.

    python -m benchmarks.cpu [--quick] [--only TEXT,...] [--json PATH]

All contenders compute the same on the same numbers with two threads: the mean of the losses, or
the mean and its gradient by the predictions in a new array. The *floor* is a loop on two threads
that reads the inputs and, for a gradient, writes a new array, and computes nothing. Contenders take
turns in one process. A ratio is that of medians, with the quartiles of the ratios of the same
round.

Extra memory is the growth of a fresh process's peak resident memory during one call, after calls
on a smaller problem.

A full run writes `benchmarks/results/cpu.json` and `cpu.png`. It lists tinyloss's own limits beside
the results; exceeding one is no error, because machines differ.

With `PYTHONPATH=benchmarks/avx2` and `--json benchmarks/results/cpu-avx2.json` the libraries leave
AVX-512 out, as they do on a processor without it.
"""

import multiprocessing
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks._contenders import (
    BCE,
    CE,
    CONTENDERS,
    GRADIENT,
    MSE,
    OUT,
    THREADS,
    VALUE,
    Array,
    Call,
    Case,
    Contender,
)
from benchmarks._printing import (
    command_line,
    console_of,
    duration,
    progress_bar,
    spread,
    write_report,
)
from tinyloss import pictures
from tinyloss.cli import measure
from tinyloss.cli.measure import (
    Ratio,
    Task,
    Timing,
    busy,
    circumstances,
    interleaved,
    library,
    settle,
)

RESULTS = Path(__file__).parent / "results" / "cpu.json"
MODULES = ("tinyloss", "numpy", "llvmlite", "ml_dtypes", "torch", "jax", "optax", "sklearn")
MEGA = 10**6
BUSY = 0.1
"""Share of the processors that others may take. The threads of OpenMP wait for each other by
spinning: on a busy machine they take up to a hundred times as long, and all others look good."""
ASKS = (VALUE, GRADIENT, OUT)
QUICK = 10**7
"""Elements of the largest work in a quick run."""


# ------------------------------------------------------------------------------------------ plan

LARGE = [Case(loss, (n * 10**6,)) for loss in (MSE, BCE) for n in (4, 50)]
WIDE = [Case(CE, (2048, 32000)), Case(CE, (512, 128000))]
MIDDLE, NARROW, SMALL = Case(CE, (8192, 1000)), Case(CE, (65536, 10)), Case(CE, (32, 10))
SHAPES = [*LARGE, *WIDE, MIDDLE, NARROW, SMALL]
DTYPES = [
    Case(loss, shape, dtype)
    for loss, shape in ((MSE, (4_000_000,)), (BCE, (4_000_000,)), (CE, (2048, 32000)))
    for dtype in ("float64", "bfloat16")
]
SIZES = [Case(BCE, (10**k,)) for k in range(9)]
CLASSES = [Case(CE, (2**22 // classes, classes)) for classes in (2, *(4**k for k in range(1, 10)))]
MEMORY = Case(CE, (4096, 65536))
MEMORY_WARM = Case(CE, (32, 8192))
"""Rows long enough for the same kernel, and memory that the measured call cannot live on."""


@dataclass(frozen=True)
class Section:
    """Cases, the results wanted, the contenders, and the time limit of each."""

    name: str
    title: str
    cases: list[Case]
    asks: tuple[str, ...]
    contenders: tuple[str, ...]
    seconds: float


SECTIONS = [
    Section(
        "shapes",
        "float32",
        SHAPES,
        (VALUE, GRADIENT),
        (
            *("floor", "tinyloss", "tinyloss eager", "torch", "torch.compile", "jax.jit"),
            *("scikit-learn", "NumPy"),
        ),
        6,
    ),
    Section(
        "dtypes",
        "float64 and bfloat16",
        DTYPES,
        (VALUE, GRADIENT),
        ("floor", "tinyloss", "torch", "jax.jit"),
        3,
    ),
    Section(
        "sizes",
        "How time grows with the number of elements",
        SIZES,
        (GRADIENT,),
        ("floor", "tinyloss", "torch", "jax.jit"),
        2,
    ),
    Section(
        "classes",
        "How time grows with the number of classes, of 4M logits",
        CLASSES,
        (GRADIENT,),
        ("floor", "tinyloss", "torch", "jax.jit"),
        2,
    ),
]


@dataclass(frozen=True)
class Limit:
    """A limit: tinyloss's time is at most so many times another's, or so many times less."""

    case: Case
    against: str
    at_most: float | None = None
    faster: float | None = None
    what: str = GRADIENT
    allowance: float = 0.0
    """What the measurement may add to `at_most`, of it."""
    who: str = "tinyloss"

    def __str__(self) -> str:
        if self.faster is not None:
            return f"at least {self.faster:g}x faster"
        allowed = f" and {self.allowance:.0%} of noise" if self.allowance else ""
        return f"at most {self.at_most:g}x{allowed}"

    def ratio(self, times: Mapping[str, Timing]) -> Ratio:
        ours, theirs = times[self.who], times[self.against]
        return Ratio.of(ours, theirs) if self.faster is None else Ratio.of(theirs, ours)

    def met(self, ratio: Ratio) -> bool:
        if self.faster is not None:
            return ratio.value >= self.faster
        return self.at_most is not None and ratio.value <= self.at_most * (1 + self.allowance)

    def summary(self, times: Mapping[str, Timing]) -> dict[str, Any]:
        """Return the limit with what was measured, where it was."""
        row: dict[str, Any] = {
            "work": self.case.label,
            "what": self.what,
            "who": self.who,
            "against": self.against,
            "limit": str(self),
        }
        if self.who in times and self.against in times:
            ratio = self.ratio(times)
            row |= {**ratio.summary(), "met": self.met(ratio)}
        return row


LIMITS = [
    *(Limit(case, "floor", at_most=1.25) for case in LARGE),
    *(
        Limit(case, peer, faster=4)
        for case in LARGE
        if case.elements > 10**7
        for peer in ("torch", "jax.jit")
    ),
    *(Limit(case, "floor", at_most=2) for case in WIDE),
    *(Limit(case, "torch", faster=5) for case in WIDE),
    *(Limit(case, "jax.jit", faster=3) for case in WIDE),
    Limit(MIDDLE, "floor", at_most=2.5),
    Limit(MIDDLE, "torch", faster=2.5),
    Limit(MIDDLE, "jax.jit", faster=1.5),
    Limit(NARROW, "torch", faster=4),
    Limit(NARROW, "jax.jit", faster=1),
    Limit(SMALL, "torch", at_most=1.5, what=VALUE),
    Limit(SMALL, "torch", at_most=0.7),
]
MEMORY_LIMIT = 2.0
"""MB beyond the inputs and the gradient that is returned."""


# -------------------------------------------------------------------------------------- agreement

AGREEMENT = {"float32": 1e-3, "float64": 1e-9, "bfloat16": 2e-2}
"""A few digits: enough to know the same work, and no measure of accuracy. Some sum 1e8 losses in
float32 one after the other; torch rounds a loss of bfloat16 to 8 bits."""


def differ(one: Array, other: Array, tolerance: float) -> bool:
    """Whether arrays differ beyond a tolerance of their largest number."""
    scale = max(float(np.max(np.abs(other))), 1e-30)
    return not float(np.max(np.abs(one - other))) <= tolerance * scale


def disagreement(
    contender: Contender, call: Call, what: str, case: Case, truth: tuple[Array, Array | None]
) -> str:
    """Return where a contender differs from the textbook formula, or ""."""
    tolerance = AGREEMENT[case.dtype]
    with contender.stage():
        result = call()
    value, gradient = result if what == GRADIENT else (result, None)
    if differ(contender.array(value), truth[0], tolerance):
        return f"value {contender.array(value)}, the formula {truth[0]}"
    if gradient is not None and truth[1] is not None:
        if contender.array(gradient).shape != truth[1].shape:
            return f"gradient of shape {gradient.shape}"
        if differ(contender.array(gradient), truth[1], tolerance):
            return "gradient"
    return ""


# ---------------------------------------------------------------------------------------- timing


@dataclass(frozen=True)
class Measured:
    """Times of all contenders for one case."""

    section: str
    case: Case
    what: str
    times: dict[str, Timing]

    @property
    def bytes(self) -> int:
        """The bytes of the inputs and the gradient."""
        x = self.case.elements * np.dtype(self.case.dtype).itemsize
        labels = self.case.loss == CE and not self.case.soft
        y = 8 * self.case.elements // self.case.shape[1] if labels else x  # labels are int64
        return x + y + (x if self.what == GRADIENT else 0)

    def beside(self, name: str) -> Ratio | None:
        """Return a contender's time over tinyloss's; for the floor, tinyloss's over the floor's."""
        if name not in self.times or "tinyloss" not in self.times:
            return None
        ours, theirs = self.times["tinyloss"], self.times[name]
        return Ratio.of(ours, theirs) if name == "floor" else Ratio.of(theirs, ours)

    def summary(self) -> dict[str, Any]:
        ratios = {name: self.beside(name) for name in self.times if name != "tinyloss"}
        return {
            "section": self.section,
            "work": self.case.label,
            "what": self.what,
            "bytes": self.bytes,
            "seconds": {name: timing.summary() for name, timing in self.times.items()},
            "ratios": {name: ratio.summary() for name, ratio in ratios.items() if ratio},
        }


def time_case(
    section: Section,
    case: Case,
    seconds: float,
    notes: dict[str, None],
    contenders: Mapping[str, Contender] = CONTENDERS,
) -> list[Measured]:
    """Time all contenders of a section on one case."""
    x, y = case.arrays()
    offers: dict[str, dict[str, Call]] = {}
    for name in section.contenders:
        contender = contenders[name]
        if missing := [module for module in contender.needs if library(module) is None]:
            notes[f"{name} is left out: {', '.join(missing)} is not installed"] = None
            continue
        try:
            offers[name] = contender.prepare(case, x, y)
        except NotImplementedError as error:
            notes[f"{name} is left out: {error}"] = None
    formula, measured = CONTENDERS["NumPy"], list[Measured]()
    value, gradient = formula.prepare(case, x, y)[GRADIENT]()
    truth = formula.array(value), formula.array(gradient)
    for what in section.asks:
        tasks: dict[str, Task] = {}
        for name, offer in offers.items():
            if what not in offer:
                continue
            contender = contenders[name]
            if contender.computes:
                try:
                    wrong = disagreement(contender, offer[what], what, case, truth)
                except Exception as error:  # a peer that fails is a note, not an end
                    if name.startswith("tinyloss"):
                        raise
                    wrong = f"{type(error).__name__}: {error}".split("\n")[0]
                if wrong and name.startswith("tinyloss"):
                    raise RuntimeError(f"{case.label}: {name} differs: {wrong}")
                if wrong:
                    notes[f"{name} is left out of {case.label}, {what}: {wrong}"] = None
                    continue
            tasks[name] = Task(offer[what], contender.stage)
        measured.append(Measured(section.name, case, what, interleaved(tasks, seconds)))
    return measured


# ---------------------------------------------------------------------------------------- memory


@dataclass(frozen=True)
class Extra:
    """Bytes beyond the inputs and the returned gradient: the least and the most of some runs."""

    name: str
    case: Case
    what: str
    runs: tuple[int, ...]

    @property
    def least(self) -> float:
        return min(self.runs) / MEGA

    def summary(self) -> dict[str, Any]:
        most = round(max(self.runs) / MEGA, 2)
        return {
            "contender": self.name,
            "work": self.case.label,
            "what": self.what,
            "extra_mb": round(self.least, 2),
            "most_mb": most,
            "runs": len(self.runs),
        }


def growth(contender: Contender, case: Case, what: str) -> int | None:
    """Return by how many bytes a call raises the peak memory of this process, which must be new."""
    warm = replace(MEMORY_WARM, dtype=case.dtype)
    with contender.stage():
        for each in [warm] * 3 + [case] * contender.compiles_shapes:
            calls = contender.prepare(each, *each.arrays())
            if what not in calls:
                return None
            calls[what]()
        calls = contender.prepare(case, *case.arrays())
        return measure.growth(calls[what])


def measure_memory(
    contenders: Mapping[str, Contender],
    repeats: int,
    notes: dict[str, None],
    case: Case = MEMORY,
    asks: tuple[str, ...] = ASKS,
) -> Iterator[Extra | None]:
    """Yield the extra memory of each contender; each run is a process of its own."""
    gradient = case.elements * np.dtype(case.dtype).itemsize
    context = multiprocessing.get_context("spawn")
    for name, contender in contenders.items():
        for what in asks:
            if name == "nothing" and what != VALUE:
                yield None
                continue
            returned = gradient if what == GRADIENT else 0
            ours = name in ("nothing", "tinyloss")
            runs: list[int] = []
            try:
                for _ in range(repeats if ours else 1):
                    with ProcessPoolExecutor(1, mp_context=context) as pool:
                        grown = pool.submit(growth, contender, case, what).result()
                    if grown is None:
                        break
                    runs.append(grown - returned)
            except Exception as error:  # no such library, no /proc, killed for memory
                if name == "tinyloss":
                    raise
                reason = f"{type(error).__name__}: {error}".split("\n")[0]
                notes[f"{name} is left out of memory, {what}: {reason}"] = None
            yield Extra(name, case, what, tuple(runs)) if runs else None


# ------------------------------------------------------------------------------------- printing


def judged(measured: list[Measured], extras: list[Extra]) -> list[dict[str, Any]]:
    """Return the limits that were measured, with the results."""
    found = {(m.case, m.what): m.times for m in measured}
    rows = [limit.summary(found.get((limit.case, limit.what), {})) for limit in LIMITS]
    memory = {extra.what: extra for extra in extras if extra.name == "tinyloss"}
    for what in ASKS:
        row: dict[str, Any] = {
            "work": MEMORY.label,
            "what": what,
            "who": "tinyloss",
            "against": "extra memory",
            "limit": f"at most {MEMORY_LIMIT:g} MB",
        }
        if what in memory:
            least = memory[what].least
            row |= {"mb": round(least, 2), "met": least <= MEMORY_LIMIT}
        rows.append(row)
    return rows


def print_section(
    console: Console, section: Section, measured: list[Measured], limits: Iterable[Limit] = LIMITS
) -> None:
    """Print ratios, and the medians they come from."""
    colours = {
        (m.case, m.what, limit.against): (
            "green" if limit.met(limit.ratio(m.times)) else "bold red"
        )
        for m in measured
        for limit in limits
        if (limit.case, limit.what) == (m.case, m.what)
        if limit.who == "tinyloss" and {limit.who, limit.against} <= set(m.times)
    }
    for what in section.asks:
        rows = [m for m in measured if m.section == section.name and m.what == what]
        if not rows:
            continue
        names = [name for name in section.contenders if any(name in m.times for m in rows)]
        title = f"{section.title}: {what}"
        ratios = Table(title=f"{title}, times as long", title_justify="left")
        medians = Table(
            title=f"{title}, medians (of this machine: compare nothing with another's)",
            title_justify="left",
        )
        ratios.add_column("work", no_wrap=True)
        medians.add_column("work", no_wrap=True)
        for name in names:
            medians.add_column(name, justify="right")
            if name != "tinyloss":
                label = "tinyloss\nover floor" if name == "floor" else f"{name}\nover tinyloss"
                ratios.add_column(label, justify="right")
        if "floor" in names:
            medians.add_column("floor GB/s", justify="right")
        for m in rows:
            cells: list[str] = []
            for name in names:
                if name != "tinyloss":
                    colour = colours.get((m.case, m.what, name), "default")
                    cells.append(f"[{colour}]{spread(m.beside(name))}[/]")
            ratios.add_row(m.case.label, *cells)
            floor = m.times.get("floor")
            medians.add_row(
                m.case.label,
                *(duration(m.times[n].median) if n in m.times else "" for n in names),
                *([f"{m.bytes / floor.median / 1e9:.1f}"] if floor else []),
            )
        console.print(ratios)
        console.print(medians)


def print_memory(console: Console, extras: list[Extra]) -> None:
    table = Table(
        title=f"Extra memory beyond inputs and gradient, MB: {MEMORY.label} (1 GiB of logits)",
        title_justify="left",
    )
    table.add_column("")
    for what in ASKS:
        table.add_column(what, justify="right")
    for name in CONTENDERS:
        mine = {extra.what: extra for extra in extras if extra.name == name}
        if mine:
            label = "a call that does nothing" if name == "nothing" else name
            table.add_row(label, *(f"{mine[w].least:.2f}" if w in mine else "" for w in ASKS))
    console.print(table)


def print_limits(console: Console, rows: list[dict[str, Any]]) -> None:
    table = Table(title="The limits tinyloss sets itself", title_justify="left")
    for name in ("work", "what", "who", "against", "limit", "measured", ""):
        table.add_column(name, no_wrap=name in ("work", "what", "who"))
    for row in rows:
        if "met" not in row:
            continue
        if "ratio" in row:
            measured = spread(Ratio(row["ratio"], row["low"], row["high"]))
        else:
            unit = "MiB" if "mib" in row else "MB"
            measured = f"{row[unit.lower()]:.2f} {unit}"
        verdict = "[green]met[/]" if row["met"] else "[bold red]missed[/]"
        names = (row[name] for name in ("work", "what", "who", "against", "limit"))
        table.add_row(*names, measured, verdict)
    known = [row["met"] for row in rows if "met" in row]
    if known:
        console.print(table)
    console.print(
        f"{sum(known)} limits met, {len(known) - sum(known)} missed, "
        f"{len(rows) - len(known)} not measured"
    )


# ---------------------------------------------------------------------------------------- running


def plan_of(
    sections: Iterable[Section], only: list[str], largest: int | None
) -> list[tuple[Section, Case]]:
    """Return what to time: cases whose name has one of the texts, up to so many elements."""
    return [
        (section, case)
        for section in sections
        for case in section.cases
        if not only or any(text in f"{section.name}: {case.label}" for text in only)
        if largest is None or case.elements <= largest
    ]


def note_others(share: float, notes: dict[str, None]) -> None:
    if share > BUSY:
        notes[f"others took {share:.0%} of the processors: these figures are worthless"] = None


def main(arguments: list[str] | None = None) -> int:
    names = [*(section.name for section in SECTIONS), "memory"]
    quick = "few rounds, nothing large, no memory"
    given = command_line("cpu", __doc__, names, RESULTS, quick).parse_args(arguments)
    settle(THREADS)

    only = [text for text in given.only.split(",") if text]
    plan = plan_of(SECTIONS, only, QUICK if given.quick else None)
    remembered: dict[str, Contender] = {}
    if not given.quick and (not only or "memory" in only):
        remembered = {**CONTENDERS}
        del remembered["floor"], remembered["tinyloss eager"]
    console = console_of(170)
    progress = progress_bar(50)
    started, others = time.perf_counter(), busy()
    measured: list[Measured] = []
    extras: list[Extra] = []
    notes: dict[str, None] = {}
    note_others(others, notes)
    with progress, warnings.catch_warnings():
        # Warnings of peers (a compiler's, of missing libraries) are not about the figures.
        warnings.simplefilter("ignore")
        bar = progress.add_task("", total=len(plan) + 3 * len(remembered))
        # Memory first: JAX and torch in this process would leave less of it.
        for extra in measure_memory(remembered, 3, notes):
            extras += [extra] if extra is not None else []
            progress.update(bar, advance=1, description="memory")
        for section, case in plan:
            progress.update(bar, description=f"{section.name}: {case.label}")
            seconds = section.seconds / (5 if given.quick else 1)
            measured += time_case(section, case, seconds, notes)
            progress.update(bar, advance=1)

    for section in SECTIONS:
        print_section(console, section, measured)
    if extras:
        print_memory(console, extras)
    limits = judged(measured, extras)
    print_limits(console, limits)
    for note in notes:
        console.print(f"note: {escape(note)}", soft_wrap=True)

    took = time.perf_counter() - started
    path = given.json or (None if only or given.quick else RESULTS)
    if path is not None:
        report = circumstances(MODULES, THREADS, others, took, notes)
        parts = {
            "limits": limits,
            "measurements": [m.summary() for m in measured],
            "memory": [extra.summary() for extra in extras],
        }
        write_report(path, report, parts)
        if library("matplotlib") and any(m.section == "shapes" for m in measured):
            pictures.save(pictures.speed(path), path.with_suffix(".png"))
    console.print(f"{took:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
