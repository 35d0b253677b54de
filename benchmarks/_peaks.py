"""Time of contenders that take turns in one process, and the memory that each takes at its peak."""

import gc
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any


def returns_memory() -> None:
    """Start this process anew where memory that is freed would stay with it.

    Else glibc keeps it, and the next contender's peak does not grow by it.
    """
    if "MALLOC_MMAP_THRESHOLD_" not in os.environ:
        os.environ["MALLOC_MMAP_THRESHOLD_"] = str(2**20)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _peak() -> float:
    """Return the peak of resident memory in MiB, since it was last forgotten."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 2**10
    return 0.0


def _called(call: Callable[[], Any], clock: Callable[[], float]) -> tuple[float, float]:
    """Return how many seconds a call takes, and MiB that the peak grows by."""
    gc.collect()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak becomes what there is
    peak, before = _peak(), clock()
    call()
    return clock() - before, _peak() - peak


def measured(
    tasks: dict[str, Callable[[], Any]],
    rounds: int,
    gradients: float,
    clock: Callable[[], float] = process_time,
) -> Iterable[dict[str, Any]]:
    """Yield the record of each contender; times are of the processor, if no other clock is given.

    Memory is beyond that of the gradients, in MiB.
    """
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    grown: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds):  # the first of which may compile
        for name, call in tasks.items():
            time, more = _called(call, clock)
            seconds[name].append(time)
            grown[name].append(more - gradients)
    first = median(seconds[next(iter(tasks))])
    for name, call in tasks.items():
        time, temporaries = median(seconds[name]), getattr(call, "temporaries", None)
        yield {
            "name": name,
            "seconds": round(time, 3),
            "ratio": round(time / first, 3),
            "extra_mib": round(min(grown[name]) if temporaries is None else temporaries / 2**20),
        }


def print_records(records: Sequence[dict[str, Any]]) -> None:
    """Print a line for each contender."""
    for each in records:
        print("{name:42} {seconds:8.3f} s  {ratio:6.2f}  {extra_mib:6} MiB".format(**each))
