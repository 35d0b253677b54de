"""Accuracy and speed of the elementary functions of the compiled loops.

    python -m benchmarks.elementary [--function exp,log] [--quick] [--json PATH]

Functions of one float32 are tried on all 2^32 numbers, against NumPy in float64. `pow` and float64
are tried on a sample of every exponent and of difficult arguments, float64 against mpmath. The time
is that of one thread on numbers in the first-level cache, beside NumPy's.

A full run writes `benchmarks/results/elementary.json`. The status is 1 if an error exceeds the
bound.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tests.support.elementary import (
    BOUND,
    DTYPES,
    NAMES,
    NARROW,
    apply,
    arguments,
    errors,
    errors_of_doubles,
    inside,
    loop,
    reference,
    sample,
)
from tinyloss.cli.measure import Task, interleaved, machine, versions

RESULTS = Path(__file__).parent / "results" / "elementary.json"
ALL = (*NAMES, *NARROW)
BLOCK = 2**16
"""Numbers at a time: their float64 and what is computed of them fit into the cache."""
TIMED, REPEATED = 2048, 50

Array = npt.NDArray[Any]


@dataclass
class Row:
    """One function, one dtype."""

    function: str
    dtype: str
    inputs: int = 0
    worst: float = 0.0
    """The largest error, in eps."""
    at: tuple[float, ...] = ()
    """Where that is."""
    beyond: int = 0
    """Results beyond the bound."""
    ns: float = 0.0
    """Nanoseconds for each number."""
    numpy_ns: float = 0.0

    def add(self, inputs: Sequence[Array], error: Array) -> None:
        """Take in errors."""
        i = int(error.argmax())
        self.inputs += error.size
        self.beyond += int((error > BOUND).sum())
        if error[i] > self.worst:
            self.worst, self.at = float(error[i]), tuple(float(x[i]) for x in inputs)


def bit_patterns(start: int) -> tuple[Array]:
    """Return a block of all float32."""
    return (np.arange(start, start + BLOCK, dtype=np.uint32).view(np.float32),)


def blocks(name: str, number: int | None) -> list[Callable[[], tuple[Array, ...]]]:
    """Return the inputs to try, block by block: all, or a sample."""
    if number is None:
        return [partial(bit_patterns, start) for start in range(0, 2**32, BLOCK)]
    inputs = sample(name, "float32", number)
    starts = range(0, inputs[0].size, BLOCK)
    return [partial(tuple, [x[i : i + BLOCK] for x in inputs]) for i in starts]


def try_float32(row: Row, fill: Any, number: int | None, console: Console) -> None:
    """Compare with NumPy in float64, on all cores."""

    def one(block: Callable[[], tuple[Array, ...]]) -> None:
        with np.errstate(all="ignore"):
            inputs = inside(row.function, *block())
            exact = reference(row.function, *(x.astype(np.float64) for x in inputs))
            error = errors(apply(fill, *inputs), exact)
        with lock:
            row.add(inputs, error)

    lock = Lock()
    work = blocks(row.function, number)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        done = pool.map(one, work)
        shown = console.is_terminal
        for _ in track(done, row.function, len(work), console=console, disable=not shown):
            pass


def try_float64(row: Row, fill: Any, number: int) -> None:
    """Compare with mpmath."""
    inputs = sample(row.function, "float64", number)
    finite = np.isfinite(np.stack(inputs)).all(axis=0)
    inputs = tuple(x[finite] for x in inputs)
    row.add(inputs, errors_of_doubles(row.function, inputs, apply(fill, *inputs)))


def measure(row: Row, fill: Any) -> None:
    """Time a function on numbers as they occur in losses."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(TIMED)
    inputs = [np.abs(x) if row.function in ("log", "log1p", "pow") else x]
    if arguments(row.function) == 2:
        inputs.append(rng.standard_normal(TIMED))
    inputs = [*inside(row.function, *(each.astype(row.dtype) for each in inputs))]
    out = np.empty_like(inputs[0])
    addresses = [each.ctypes.data for each in (*inputs, out)]
    tasks = {
        "tinyloss": Task(lambda: fill(*addresses, TIMED, REPEATED)),
        "numpy": Task(lambda: reference(row.function, *inputs)),
    }
    timings = interleaved(tasks, seconds=1.0)
    # The fastest sample is the one that nothing else on the machine slowed down.
    ours, theirs = (min(timings[name].samples) / TIMED * 1e9 for name in ("tinyloss", "numpy"))
    row.ns, row.numpy_ns = float(f"{ours / REPEATED:.3g}"), float(f"{theirs:.3g}")


def show(rows: Sequence[Row], console: Console) -> None:
    """Print the table."""
    table = Table(title="Elementary functions: errors in eps, nanoseconds for each number")
    for title in ("function", "dtype"):
        table.add_column(title)
    for title in ("inputs", "worst error", "at", "beyond", "ns", "NumPy's ns"):
        table.add_column(title, justify="right", overflow="fold")
    for row in rows:
        table.add_row(
            row.function,
            row.dtype,
            "all" if row.inputs == 2**32 else f"{row.inputs:,}",
            f"{row.worst:.3f}",
            ", ".join(f"{x:.9g}" if row.dtype == "float32" else f"{x:.17g}" for x in row.at),
            str(row.beyond),
            f"{row.ns:.3g}",
            f"{row.numpy_ns:.3g}",
            style="red" if row.beyond else None,
        )
    console.print(table)


def main() -> int:
    """Try, time, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--function", default=",".join(ALL), help="names, with commas between")
    parser.add_argument("--quick", action="store_true", help="a sample of float32 as well")
    parser.add_argument("--json", type=Path, help=f"default of a full run: {RESULTS}")
    options = parser.parse_args()
    names = options.function.split(",")
    if unknown := set(names) - set(ALL):
        parser.error(f"--function: {', '.join(sorted(unknown))}: known are {', '.join(ALL)}")
    console = Console()
    rows: list[Row] = []
    for dtype in DTYPES:
        for name in names:
            row = Row(name, dtype)
            fill = loop(name, dtype)
            if dtype == "float64":
                try_float64(row, fill, 1_000 if options.quick else 20_000)
            elif options.quick:
                try_float32(row, fill, 100_000, console)
            else:
                number = None if arguments(name) == 1 else 20_000_000
                try_float32(row, fill, number, console)
            measure(row, fill)
            rows.append(row)
    show(rows, console)
    full = not options.quick and set(names) == set(ALL)
    path = options.json or (RESULTS if full else None)
    if path is not None:
        report = {
            "machine": machine(),
            "versions": versions(("numpy", "llvmlite", "mpmath")),
            "bound": BOUND,
            "rows": [asdict(row) for row in rows],
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(report, indent=1) + "\n")
    return int(any(row.beyond for row in rows))


if __name__ == "__main__":
    sys.exit(main())
