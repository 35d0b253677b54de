"""The bytes that the CUDA kernels move, counted on an emulated GPU. No time is measured.

    python -m benchmarks.traffic [--json PATH]

A few rows, or some thousand elements, of each shape run on the emulator of
`tests/support/emulation`. It counts the bytes that value and gradient read and write of every
array, and the count is scaled to the whole shape. Times are these bytes over the speed of a device
copy on an H100 and an H200 (3.0 and 4.3 TB/s, reads and writes counted). They are lower bounds,
computed, that a kernel may not reach.
"""

import argparse
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from rich.console import Console
from rich.table import Table

import tinyloss
from tests.support.emulation import emulated_cupy, machine

RESULTS = Path(__file__).parent / "results" / "traffic.json"
COPY = {"H100": 3.0e12, "H200": 4.3e12}
"""Bytes a second that a device copy moves there."""
ROWS, ELEMENTS = 3, 3 * 2**14
DTYPES: dict[str, Any] = {"float32": np.float32, "bfloat16": ml_dtypes.bfloat16}


@dataclass(frozen=True)
class Shape:
    """A loss of predictions of one shape."""

    loss: str
    dtype: str
    items: int
    classes: int = 0

    @property
    def label(self) -> str:
        power = f"2^{self.items.bit_length() - 1}"
        size = f"{self.items} x {self.classes}" if self.classes else power
        return f"`{self.loss}` {size} {self.dtype}"


SHAPES = [
    *(
        Shape("cross_entropy", "bfloat16", 8192, c)
        for c in (4096, 8192, 16384, 32000, 32768, 50257, 65536, 131072, 256000)
    ),
    *(Shape("cross_entropy", "bfloat16", 32768, 2**n) for n in range(8, 17)),
    Shape("cross_entropy", "float32", 32768, 1000),
    Shape("cross_entropy", "float32", 8192, 131072),
    Shape("mse", "float32", 2**28),
    Shape("binary_cross_entropy_with_logits", "float32", 2**28),
]


@dataclass(frozen=True)
class Moved:
    """The bytes moved for the whole shape."""

    shape: Shape
    least: int
    """Each prediction read once and written once, the targets read once."""
    read: int
    written: int

    @property
    def total(self) -> int:
        return self.read + self.written

    def floors(self) -> dict[str, float]:
        """Return the milliseconds of a copy of as many bytes on each GPU."""
        return {gpu: 1e3 * self.total / rate for gpu, rate in COPY.items()}

    def summary(self) -> dict[str, Any]:
        """Return what goes into a report."""
        return {
            "loss": self.shape.loss,
            "dtype": self.shape.dtype,
            "items": self.shape.items,
            "classes": self.shape.classes,
            "least_bytes": self.least,
            "bytes_read": self.read,
            "bytes_written": self.written,
            **{f"computed_ms_{gpu}": round(ms, 3) for gpu, ms in self.floors().items()},
        }


def _touched(counts: Any, together: bool) -> int:
    """Return the bytes that went through memory.

    All threads of a row read its class index `together`, so it counts once. In other arrays each
    byte counts as often as the usual byte there, because the logit of the target is in the cache
    when threads look it up.
    """
    usual = 1 if together or not counts.any() else int(np.median(counts))
    return int(np.minimum(counts, usual).sum())


def moved(cupy: Any, shape: Shape) -> Moved:
    """Run a part of a shape and return the bytes that all of it moves."""
    rng = np.random.default_rng(0)
    dtype = DTYPES[shape.dtype]
    some = ROWS if shape.classes else ELEMENTS
    if shape.classes:
        x = rng.standard_normal((some, shape.classes), dtype=np.float32)
        y: Any = rng.integers(0, shape.classes, some)
    else:
        x = rng.standard_normal(some, dtype=np.float32)
        y = (x > 0).astype(dtype)
    given = cupy.asarray(x.astype(dtype)), cupy.asarray(y)
    machine.counts = []
    tinyloss.value_and_grad(getattr(tinyloss, shape.loss))(*given)
    counts, machine.counts = machine.counts[0], None
    # the sums of the blocks are a few bytes each, and fewer for each item the more items there are
    arrays = [each for each in counts if each.name != "partial_sums"]
    scale = shape.items / some
    least = sum(array.nbytes for array in (given[0], *given))
    return Moved(
        shape,
        round(least * scale),
        round(sum(_touched(a.reads, a.name == "y_array") for a in arrays) * scale),
        round(sum(_touched(a.writes, False) for a in arrays) * scale),
    )


HEAD = ["value and gradient", "GB moved", "times the least", *(f"ms, {gpu}" for gpu in COPY)]


def _cells(each: Moved) -> list[str]:
    times = [f"{ms:.3f}" for ms in each.floors().values()]
    return [each.shape.label, f"{each.total / 1e9:.3f}", f"{each.total / each.least:.2f}", *times]


def table(results: Iterable[Moved]) -> Table:
    """Return the results for a terminal."""
    shown = Table(*HEAD)
    for each in results:
        shown.add_row(*_cells(each))
    return shown


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=RESULTS)
    options = parser.parse_args()
    with emulated_cupy() as cupy:
        results = [moved(cupy, shape) for shape in SHAPES]
    Console().print(table(results))
    report = {
        "note": "bytes counted on an emulator, times computed from a copy's bandwidth: no GPU ran",
        "copy_bytes_per_second": COPY,
        "shapes": [each.summary() for each in results],
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
