"""Measuring: a description of the machine, interleaved timing, a floor, extra memory.

For `tinyloss bench` and for the benchmarks of a clone.
"""

import ctypes
import gc
import importlib
import math
import os
import platform
import sys
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from random import Random
from statistics import median, quantiles
from time import sleep
from timeit import timeit
from typing import Any

PAUSE = 0.005
"""Seconds of rest before a sample. The thread pools of OpenMP and XLA spin for some milliseconds
after their work and would take a core from whoever comes next."""

SAMPLE = 0.005
"""Seconds that a sample lasts at least: 1e5 times the clock's resolution."""


def library(name: str) -> Any:
    """Return a module, or None if it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


_STARTED_ANEW = "TINYLOSS_STARTED_ANEW"


def settle(threads: int) -> None:
    """Give every contender the same cores and the environment that users have."""
    # Read when NumPy loads OpenBLAS, so a new process has to start without them.
    # Once: one that sets them as it starts, as `benchmarks/avx2` has it, means to.
    forced = {"OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"} & set(os.environ)
    if forced and _STARTED_ANEW not in os.environ:
        for name in forced:
            del os.environ[name]
        os.environ[_STARTED_ANEW] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    os.environ |= {"JAX_PLATFORMS": "cpu", "OMP_NUM_THREADS": str(threads)}
    # XLA logs as errors how long it takes to compile; what fails raises as well.
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    # Else torch.compile starts processes that load torch while others are being measured.
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    # XLA takes all cores it may run on, and has no setting for fewer.
    if sys.platform == "linux":
        os.sched_setaffinity(0, cores(sorted(os.sched_getaffinity(0)))[:threads])


def cores(processors: list[int]) -> list[int]:
    """Return processors in order: one of each core, then the second of each core, and so on."""
    first: list[int] = []
    taken: set[str] = set()
    for number in processors:
        path = Path(f"/sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list")
        core = path.read_text().strip() if path.exists() else str(number)
        if core not in taken:
            first.append(number)
            taken.add(core)
    return first + [number for number in processors if number not in first]


_VECTORS = {"avx512f": "AVX-512", "avx2": "AVX2", "asimd": "NEON"}
"""What Linux and LLVM call the widest instructions that loops use, and what others do."""


def machine() -> dict[str, Any]:
    """Return what results depend on: the processor, its caches, the memory.

    Its vectors are those that LLVM uses, where it is loaded.
    """
    model, flags, memory = platform.processor(), set[str](), 0
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
            elif line.startswith(("flags", "Features")):
                flags = set(line.split())
                break
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemTotal"):
                memory = round(int(line.split()[1]) / 2**20)
    except OSError:
        pass
    llvm = sys.modules.get("llvmlite.binding")
    if llvm is not None:
        flags = {name for name, has in llvm.get_host_cpu_features().items() if has}
    caches: dict[str, str] = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = (
            (folder / name).read_text().strip() for name in ("level", "type", "size")
        )
        caches[f"L{level}" + {"Data": "d", "Instruction": "i"}.get(kind, "")] = size
    return {
        "cpu": model,
        "vectors": next((name for flag, name in _VECTORS.items() if flag in flags), ""),
        "cores": os.cpu_count(),
        "caches": caches,
        "memory_gib": memory,
        "system": platform.system(),
        "architecture": platform.machine(),
    }


def busy(seconds: float = 1.0) -> float:
    """Return the share of all processors in use while this process waits; 0 if unknown."""

    def ticks() -> tuple[int, int]:
        numbers = [int(n) for n in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        return sum(numbers), numbers[3] + numbers[4]  # all; idle and waiting for a disk

    try:
        before = ticks()
        sleep(seconds)
        total, idle = (b - a for a, b in zip(before, ticks(), strict=True))
    except OSError:
        return 0.0
    return 1 - idle / total


def versions(names: Iterable[str]) -> dict[str, str]:
    """Return the versions of Python and of those modules that are installed."""
    modules = {name: library(name) for name in names}
    found = {n: str(getattr(m, "__version__", "?")) for n, m in modules.items() if m is not None}
    return {"python": platform.python_version(), **found}


def circumstances(
    names: Iterable[str], threads: int, busy_before: float, seconds: float, notes: Iterable[str]
) -> dict[str, Any]:
    """Return a report's description of its run."""
    return {
        "machine": machine(),
        "busy_before": round(busy_before, 2),
        "versions": versions(names),
        "date": datetime.now(UTC).date().isoformat(),
        "threads": threads,
        "seconds": round(seconds),
        "notes": list(notes),
    }


@dataclass(frozen=True)
class Task:
    """A call to be timed, and the context in which it runs; entering that is not timed."""

    call: Callable[[], Any]
    stage: Callable[[], AbstractContextManager[Any]] = nullcontext


@dataclass(frozen=True)
class Timing:
    """The seconds per call of each sample."""

    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median of the samples."""
        return median(self.samples)

    def summary(self) -> dict[str, Any]:
        """Return the record for a report."""
        numbers = {"median": self.median, "min": min(self.samples), "max": max(self.samples)}
        rounded = {name: float(f"{number:.4g}") for name, number in numbers.items()}
        return {**rounded, "samples": len(self.samples)}


@dataclass(frozen=True)
class Ratio:
    """A ratio of medians, and the quartiles of the ratios of samples of the same round."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, one: Timing, other: Timing) -> "Ratio":
        """Return how many times as long one takes as the other."""
        pairs = [a / b for a, b in zip(one.samples, other.samples, strict=True)]
        low, _, high = quantiles(pairs, method="inclusive")
        return cls(one.median / other.median, low, high)

    def summary(self) -> dict[str, float]:
        """Return the record for a report."""
        numbers = {"ratio": self.value, "low": self.low, "high": self.high}
        return {name: float(f"{number:.4g}") for name, number in numbers.items()}


def interleaved(
    tasks: Mapping[str, Task],
    seconds: float,
    fewest: int = 5,
    most: int = 41,
    done: Callable[[float], Any] = lambda share: None,
) -> dict[str, Timing]:
    """Time calls in rounds, so that drift of the machine affects all of them.

    Each round has a new random order, because a task that uses much memory slows down the next.

    A sample is the mean of as many calls as take `SAMPLE`. Before it come a rest and a call that is
    not counted, which brings the task's data back into the cache and wakes its threads. There are
    as many rounds as fit into `seconds`, from `fewest` to `most`; after each, `done` is told the
    share of them that is over.
    """
    numbers: dict[str, int] = {}
    cost = 0.0
    for name, task in tasks.items():
        with task.stage():
            task.call()  # which may compile
            once = timeit(task.call, number=1)
            if once < 2 * SAMPLE:
                once = min(once, timeit(task.call, number=1))
        numbers[name] = max(1, math.ceil(SAMPLE / once))
        cost += PAUSE + once * (numbers[name] + 1)
    samples: dict[str, list[float]] = {name: [] for name in tasks}
    order, shuffle = list(tasks), Random(0).shuffle
    shuffle(order)
    rounds = min(most, max(fewest, int(seconds / cost)))
    for number_of_round in range(rounds):
        for name in order:
            task, number = tasks[name], numbers[name]
            sleep(PAUSE)
            with task.stage():
                if number > 1:
                    task.call()
                samples[name].append(timeit(task.call, number=number) / number)
        shuffle(order)
        done((number_of_round + 1) / rounds)
    return {name: Timing(tuple(each)) for name, each in samples.items()}


class Floor:
    """Reads NumPy's arrays and writes a new one, on threads, and computes nothing.

    By NumPy's own loops: from memory they are as fast as a loop of machine code. What the cache
    holds such a loop reads in three quarters of their time.
    """

    alone = 2**18
    """Bytes below which handing out work (50 us) takes longer than the work (10 GB/s)."""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    @cached_property
    def pool(self) -> ThreadPoolExecutor:
        """The threads beside the caller's."""
        return ThreadPoolExecutor(max(self.threads - 1, 1))

    def calls(self, x: Any, y: Any) -> tuple[Callable[[], Any], Callable[[], Any]]:
        """Return what reads x and y, and what also writes an array like x.

        Machine words are joined by exclusive or, which takes any dtype.
        """
        np = importlib.import_module("numpy")
        join, read = np.bitwise_xor, np.bitwise_xor.reduce
        word = np.uint64 if x.nbytes % 8 == y.nbytes % 8 == 0 else np.uint32
        word = np.uint8 if x.nbytes % 4 or y.nbytes % 4 else word
        a, b = (array.reshape(-1).view(word) for array in (x, y))
        pointwise = a.size == b.size
        parts = self._parts(a)

        def value() -> None:
            def work(part: slice) -> None:
                read(a[part])
                if pointwise:
                    read(b[part])

            if not pointwise:
                read(b)
            self._each(parts, work)

        def gradient() -> Any:
            out = np.empty_like(x)
            g = out.reshape(-1).view(word)
            if pointwise:
                self._each(parts, lambda part: join(a[part], b[part], out=g[part]))
            else:
                key = word(read(b))
                self._each(parts, lambda part: join(a[part], key, out=g[part]))
            return out

        return value, gradient

    def _parts(self, words: Any) -> list[slice]:
        number = 1 if words.nbytes < self.alone else self.threads
        cuts = [words.size * i // number for i in range(number + 1)]
        return [slice(a, b) for a, b in pairwise(cuts)]

    def _each(self, parts: list[slice], work: Callable[[slice], Any]) -> None:
        futures = [self.pool.submit(work, part) for part in parts[1:]]
        work(parts[0])
        for future in futures:
            future.result()


def resident(what: str) -> int:
    """Return the bytes of memory in use (VmRSS) or at their peak (VmHWM)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1]) * 1024
    raise NotImplementedError(f"/proc/self/status has no {what}")


def growth(call: Callable[[], Any]) -> int:
    """Return by how many bytes a call raises the peak memory of this process.

    The process must be new: what earlier calls have left free would be used first.
    """
    libc = ctypes.CDLL(None)
    gc.collect()
    libc.malloc_trim(0)
    # PR_SET_THP_DISABLE: a page of 2 MiB that is touched once would count in full.
    libc.prctl(41, 1, 0, 0, 0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is in use
    before = resident("VmRSS")
    result = call()
    after = resident("VmHWM")
    del result
    return after - before
