"""Speed of losses on a GPU, compared with a copy of the logits, torch, Liger and CuPy.

    python -m benchmarks.gpu [--quick] [--only TEXT,...] [--json PATH]

All contenders compute the same on the same arrays on the device: the mean of the losses, or the
mean and its gradient by the predictions, in a new array or, with out=x, in place of the
predictions. The logits are also copied, by the driver and by a kernel. The faster copy is the
floor, since a gradient needs one read and one write of the logits, as a copy does. Lists are far
above it: torch's formula and CuPy's make arrays of all their pairs.

Contenders take turns on one stream. Each call is between two events, with other data in the L2
cache. A kernel before it delays the device until the host has launched the whole call, so the
events measure the device's time. The host's time is listed beside it. A ratio is that of medians,
with the quartiles of the ratios of the same round.

A full run writes `benchmarks/results/gpu.json` after each case. Without CuPy or a GPU nothing is
measured.
"""

import gc
import importlib
import math
import os
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks._contenders import BCE, CE, GRADIENT, MSE, OUT, PAIRS, VALUE, Case
from benchmarks._printing import (
    command_line,
    console_of,
    digits,
    progress_bar,
    spread,
    write_report,
)
from tests.support.gpu import HOLD_UP
from tinyloss.cli.measure import Ratio, Timing, machine, versions

RESULTS = Path(__file__).parent / "results" / "gpu.json"
MODULES = ("tinyloss", "cupy", "numpy", "ml_dtypes", "torch", "triton", "liger_kernel")
ASKS = (VALUE, GRADIENT, OUT)

Array = Any  # of CuPy


def cupy() -> Any:
    """Return CuPy, imported when it is needed."""
    return importlib.import_module("cupy")


def no_gpu() -> str:
    """Return in one line why CuPy cannot compute here, or ""."""
    try:
        cupy().empty(1)
    except Exception as error:  # CuPy's own, of its imports, its driver, its devices
        return one_line(error)
    return ""


def one_line(error: Exception) -> str:
    words = [word for word in str(error).split() if word.strip("=")]  # CuPy draws lines of them
    return f"{type(error).__name__}: {' '.join(words)}"[:300]


def device() -> dict[str, Any]:
    """Return what results depend on: the GPU, its driver and CUDA."""
    runtime = cupy().cuda.runtime
    facts = runtime.getDeviceProperties(runtime.getDevice())
    driver = ""
    if (command := shutil.which("nvidia-smi")) is not None:
        query = [command, "--query-gpu=driver_version", "--format=csv,noheader"]
        done = subprocess.run(query, capture_output=True, text=True, check=False)
        driver = done.stdout.strip().partition("\n")[0]
    return {
        "name": facts["name"].decode(),
        "compute_capability": f"{facts['major']}.{facts['minor']}",
        "memory_gib": round(facts["totalGlobalMem"] / 2**30, 1),
        "l2_mib": round(facts["l2CacheSize"] / 2**20, 1),
        "multiprocessors": facts["multiProcessorCount"],
        "driver": driver,
        "driver_cuda": runtime.driverGetVersion(),
        "runtime_cuda": runtime.runtimeGetVersion(),
    }


# ------------------------------------------------------------------------------------------ plan

VOCABULARIES = (4096, 8192, 16384, 32768, 65536, 131072, 50257, 256000)
WIDTHS = tuple(2**k for k in range(8, 17))
LISTS = ((16384, 64), (4096, 256), (1024, 1000), (8, 5000))
QUICK = 2**27
"""Elements of the largest work in a quick run."""


@dataclass(frozen=True)
class Section:
    """Cases, and the time limit of each for each result wanted."""

    name: str
    title: str
    cases: list[Case]
    seconds: float = 1.0


# What is most worth knowing comes first: torch.compile is left out once it has taken its time.
SECTIONS = [
    Section(
        "vocabularies",
        "8192 rows, bfloat16",
        [Case(CE, (8192, classes), "bfloat16") for classes in VOCABULARIES],
    ),
    Section(
        "float32",
        "float32",
        [
            Case(CE, (32768, 1000)),
            Case(CE, (8192, 131072)),
            Case(MSE, (2**28,)),
            Case(BCE, (2**28,)),
        ],
    ),
    Section(
        "pairs",
        "lists, whose pairs others hold",
        [Case(PAIRS, shape) for shape in LISTS],
    ),
    Section(
        "widths",
        "32768 rows, bfloat16",
        [Case(CE, (32768, classes), "bfloat16") for classes in WIDTHS],
    ),
]

NEAR = 0.85
"""Of the copy's bandwidth: what this project calls near the peak."""

AGREEMENT = {"float32": 1e-4, "bfloat16": 2**-7}
"""How far a value may be from tinyloss's, relative: enough to know the same work. Sums of 2^28
terms in another order differ by 1e-5; torch rounds each loss of bfloat16, and their mean once more,
by 2^-8 at most."""


def nbytes(case: Case) -> int:
    """Return the bytes of the logits."""
    return case.elements * (2 if case.dtype == "bfloat16" else 4)


def arrays_of(case: Case) -> tuple[Array, Array]:
    """Return predictions and targets, drawn on the device."""
    cp, dtype = cupy(), np.dtype(case.dtype)  # ml_dtypes makes bfloat16 one of NumPy's names
    generator = cp.random.default_rng(0)

    def normal(change: Callable[[Array], Array]) -> Array:
        # Longer arrays repeat themselves: to draw one takes float32 numbers of the same size.
        drawn = generator.standard_normal(min(case.elements, 2**24), dtype=np.float32)
        drawn = change(drawn).astype(dtype)
        array = cp.empty(case.elements, dtype)
        for start in range(0, case.elements, drawn.size):
            part = array[start : start + drawn.size]
            part[...] = drawn[: part.size]
        return array.reshape(case.shape)

    if case.loss == MSE:
        return normal(lambda a: a), normal(lambda a: a)
    if case.loss == PAIRS:
        return normal(lambda a: a), normal(lambda a: cp.round(2 * a))
    x = normal(lambda a: 3 * a)  # probabilities of all sizes
    if case.loss == CE:
        rows, classes = case.shape
        return x, cp.asarray(np.random.default_rng(0).integers(0, classes, rows))
    return x, normal(lambda a: a > 0)


# ------------------------------------------------------------------------------------- contenders


@dataclass(frozen=True)
class Work:
    """A call that sends work to the current stream, and a call that restores what it overwrote."""

    call: Callable[[], Any]
    reset: Callable[[], Any] | None = None


class Contender:
    """A library, or a way to use it."""

    needs: tuple[str, ...] = ()
    computes = True

    def check(self) -> None:
        """Raise any error if it cannot be used."""
        for module in self.needs:
            importlib.import_module(module)

    def prepare(self, case: Case, what: str, x: Array, y: Array) -> Work:
        """Return the work; NotImplementedError without a message means that there is none."""
        raise NotImplementedError

    def number(self, value: Any) -> float:
        """Return a value on the host."""
        return float(value)


def copying(x: Array) -> tuple[Array, Callable[[], Any]]:
    """Return an array like x, and a call that copies x into it."""
    other = cupy().empty_like(x)
    return other, lambda: other.data.copy_from_device_async(x.data, x.nbytes)


class Memcpy(Contender):
    """The logits copied by the driver."""

    computes = False

    def prepare(self, case: Case, what: str, x: Array, y: Array) -> Work:
        return Work(copying(x)[1])


class Copy(Contender):
    """The logits copied by a kernel."""

    computes = False

    def prepare(self, case: Case, what: str, x: Array, y: Array) -> Work:
        other, kernel = cupy().empty_like(x), kernels().copy
        packets = x.nbytes // 16
        grid = (-(-packets // (THREADS * IN_FLIGHT)),)
        return Work(lambda: kernel(grid, (THREADS,), (x, other, np.int64(packets))))


class Tinyloss(Contender):
    def prepare(self, case: Case, what: str, x: Array, y: Array) -> Work:
        tinyloss = importlib.import_module("tinyloss")
        loss = getattr(tinyloss, case.loss)
        if what == VALUE:
            return Work(lambda: loss(x, y))
        if what == GRADIENT:
            step = tinyloss.value_and_grad(loss)
            return Work(lambda: step(x, y))
        other, reset = copying(x)
        reset()
        into = tinyloss.value_and_grad(loss, out=other)
        return Work(lambda: into(other, y), reset)


class Torch(Contender):
    needs: tuple[str, ...] = ("torch",)

    @cached_property
    def torch(self) -> Any:
        return importlib.import_module("torch")

    def check(self) -> None:
        super().check()
        if not self.torch.cuda.is_available():
            raise NotImplementedError("this torch has no GPU")
        # Both take the legacy default stream, 0, where they are not told otherwise: what one sends
        # off begins when what the other has sent off is done, and events see both.
        theirs, ours = self.torch.cuda.current_stream(), cupy().cuda.get_current_stream()
        if (theirs.cuda_stream, theirs.device_index) != (ours.ptr, cupy().cuda.Device().id):
            raise NotImplementedError(f"torch is on another stream than CuPy: {theirs}, {ours}")

    def tensor(self, array: Array) -> Any:
        """Return the same memory as a tensor."""
        if array.dtype == ml_dtypes.bfloat16:
            return self.torch.from_dlpack(array.view(np.int16)).view(self.torch.bfloat16)
        return self.torch.from_dlpack(array)

    def function(self, case: Case) -> Callable[[Any, Any], Any]:
        functional = self.torch.nn.functional
        if case.loss == PAIRS:
            return self.pairs
        name = {MSE: "mse_loss", BCE: BCE, CE: "cross_entropy"}[case.loss]
        function: Callable[[Any, Any], Any] = getattr(functional, name)
        return function

    def pairs(self, x: Any, y: Any) -> Any:
        """Return the logistic loss of pairs as torch has it: by arrays of all pairs."""
        lead = x[:, :, None] - x[:, None, :]
        better = y[:, :, None] > y[:, None, :]
        return (self.torch.nn.functional.softplus(-lead) * better).sum() / len(x)

    def calls(self, function: Callable[[Any, Any], Any], what: str, x: Any, y: Any) -> Work:
        """Return the work of a function of tensors: forward, or forward and backward."""
        if what == VALUE:
            return Work(lambda: function(x, y))
        leaf = x.detach().requires_grad_()

        def gradient() -> tuple[Any, Any]:
            loss = function(leaf, y)
            (grad,) = self.torch.autograd.grad(loss, leaf)
            return loss, grad

        return Work(gradient)

    def prepare(self, case: Case, what: str, x: Array, y: Array) -> Work:
        if what == OUT:
            raise NotImplementedError
        return self.calls(self.function(case), what, self.tensor(x), self.tensor(y))

    def number(self, value: Any) -> float:
        return float(value.detach())


class TorchCompile(Torch):
    allowance = 120.0
    """Seconds that it may take to compile, all in all."""

    def __init__(self) -> None:
        self.compiled: dict[Case, Callable[[Any, Any], Any]] = {}
        self.spent = 0.0

    def check(self) -> None:
        super().check()
        # Without Triton, a compiler or its headers it fails here.
        self.torch.compile(lambda x: x.sin().sum())(self.torch.ones(8, device="cuda"))

    def function(self, case: Case) -> Callable[[Any, Any], Any]:
        if case not in self.compiled:
            # A kernel a shape; those compiled before would be looked through at each call.
            self.torch.compiler.reset()
            self.compiled = {case: self.torch.compile(super().function(case), dynamic=False)}
        return self.compiled[case]

    def prepare(self, case: Case, what: str, x: Array, y: Array) -> Work:
        if self.spent > self.allowance:
            raise NotImplementedError(f"it has compiled for {self.allowance:g} s before")
        started = time.perf_counter()
        work = super().prepare(case, what, x, y)
        work.call()
        self.spent += time.perf_counter() - started
        return work


class Liger(Torch):
    """Its gradient always overwrites the logits."""

    needs = ("torch", "liger_kernel.transformers.functional")

    def prepare(self, case: Case, what: str, x: Array, y: Array) -> Work:
        if case.loss != CE:
            raise NotImplementedError
        other, reset = copying(x)
        reset()
        function = importlib.import_module(self.needs[1]).liger_cross_entropy
        work = self.calls(function, what, self.tensor(other), self.tensor(y))
        return Work(work.call, reset)


class Eager(Contender):
    """The textbook formula in CuPy, with half precision computed in float32."""

    def prepare(self, case: Case, what: str, x: Array, y: Array) -> Work:
        if what == OUT:
            raise NotImplementedError
        formula = {MSE: typed_mse, BCE: typed_bce, CE: typed_ce, PAIRS: typed_pairs}[case.loss]
        gradient = what == GRADIENT

        def call() -> Any:
            value, grad = formula(x.astype(np.float32, copy=False), y, gradient)
            return (value, grad.astype(x.dtype, copy=False)) if gradient else value

        return Work(call)


def typed_mse(x: Array, y: Array, gradient: bool) -> tuple[Array, Array]:
    d = x - y
    value = cupy().mean(d * d)
    return value, d * (2 / d.size) if gradient else None


def typed_bce(x: Array, y: Array, gradient: bool) -> tuple[Array, Array]:
    cp = cupy()
    value = cp.mean(cp.maximum(x, 0) - x * y + cp.log1p(cp.exp(-cp.abs(x))))
    return value, (1 / (1 + cp.exp(-x)) - y) / x.size if gradient else None


def typed_ce(x: Array, y: Array, gradient: bool) -> tuple[Array, Array]:
    cp = cupy()
    rows = cp.arange(x.shape[0])
    m = cp.max(x, axis=-1, keepdims=True)
    e = cp.exp(x - m)
    s = cp.sum(e, axis=-1, keepdims=True)
    value = cp.mean(cp.log(s[:, 0]) + m[:, 0] - x[rows, y])
    if gradient:
        e /= s
        e[rows, y] -= 1
        e /= x.shape[0]
    return value, e


def typed_pairs(x: Array, y: Array, gradient: bool) -> tuple[Array, Array]:
    cp = cupy()
    lead = x[:, :, None] - x[:, None, :]
    better = y[:, :, None] > y[:, None, :]
    costs = cp.maximum(-lead, 0) + cp.log1p(cp.exp(-cp.abs(lead)))
    value = cp.sum(cp.where(better, costs, 0)) / len(x)
    slope = cp.where(better, -1 / (1 + cp.exp(lead)), 0) / len(x) if gradient else None
    return value, cp.sum(slope, axis=2) - cp.sum(slope, axis=1) if gradient else None


CONTENDERS: dict[str, Contender] = {
    "copy": Copy(),
    "memcpy": Memcpy(),
    "tinyloss": Tinyloss(),
    "torch": Torch(),
    "torch.compile": TorchCompile(),
    "Liger": Liger(),
    "CuPy eager": Eager(),
}
COPIES = [name for name, contender in CONTENDERS.items() if not contender.computes]
PEERS = [name for name in CONTENDERS if name not in (*COPIES, "tinyloss")]


# ---------------------------------------------------------------------------------------- timing

THREADS = 256
"""Of a block of a kernel below."""
IN_FLIGHT = 4
"""Packets that a thread of the copy has on their way at once."""

KERNELS = (
    HOLD_UP
    + r"""
// The buffer is all 0: nothing is ever written, though a compiler cannot know.
extern "C" __global__ void sweep(const uint4* buffer, const long long packets, unsigned* never) {
    unsigned folded = 0;
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < packets; i += step) {
        const uint4 packet = buffer[i];
        folded |= packet.x | packet.y | packet.z | packet.w;
    }
    if (folded) *never = folded;
}

extern "C" __global__ void copy(const uint4* from, uint4* to, const long long packets) {
    const long long first = (long long)blockIdx.x * blockDim.x * IN_FLIGHT + threadIdx.x;
    uint4 packet[IN_FLIGHT];
    #pragma unroll
    for (int k = 0; k < IN_FLIGHT; ++k)
        if (first + k * blockDim.x < packets) packet[k] = from[first + k * blockDim.x];
    #pragma unroll
    for (int k = 0; k < IN_FLIGHT; ++k)
        if (first + k * blockDim.x < packets) to[first + k * blockDim.x] = packet[k];
}
"""
)


class Kernels(NamedTuple):
    """The kernels of this benchmark."""

    hold_up: Any
    sweep: Any
    copy: Any


@cache
def kernels() -> Kernels:
    module = cupy().RawModule(code=KERNELS, options=(f"-DIN_FLIGHT={IN_FLIGHT}",))
    return Kernels(*map(module.get_function, Kernels._fields))


HELD_UP = 10**6
"""Nanoseconds for which the device is held up: several times what a call takes the host."""
LONGEST = 2**6 * HELD_UP
"""A call that the host has not sent off by then waits for the device itself."""
RETAKES = 5


class Sample(NamedTuple):
    """One call."""

    device: float
    """Seconds."""
    host: float
    ahead: bool
    """Whether the host was done before the device began."""


class Clock:
    """Measures calls on the current stream."""

    def __init__(self) -> None:
        cp = cupy()
        runtime = cp.cuda.runtime
        cache = runtime.getDeviceProperties(runtime.getDevice())["l2CacheSize"]
        # Read, not written: what was written would still have to leave the cache during the call.
        self.buffer = cp.zeros(max(2 * cache, 2**26) // 4, np.uint32)
        self.never = cp.zeros(1, np.uint32)
        self.begin, self.end = cp.cuda.Event(), cp.cuda.Event()

    def take(self, work: Work, nanoseconds: int) -> Sample:
        if work.reset is not None:
            work.reset()
        packets = self.buffer.nbytes // 16
        kernels().sweep((1024,), (THREADS,), (self.buffer, np.int64(packets), self.never))
        held_up = time.perf_counter()
        kernels().hold_up((1,), (1,), (np.int64(nanoseconds),))
        self.begin.record()
        started = time.perf_counter()
        result = work.call()
        host = time.perf_counter() - started
        self.end.record()
        # Not by asking the event: an answer of "not yet" stays behind as CUDA's last error, which
        # others take for theirs.
        ahead = time.perf_counter() - held_up < nanoseconds / 1e9
        self.end.synchronize()
        del result  # not before: its memory would be the next result's
        elapsed = cupy().cuda.get_elapsed_time(self.begin, self.end)  # milliseconds
        return Sample(elapsed / 1e3, host, ahead)


class Times(NamedTuple):
    """The device's and the host's time of calls."""

    device: Timing
    host: Timing
    waits: bool
    """Whether the host waits for the device during the call: its time is then part of it."""


def interleaved(
    works: Mapping[str, Work], clock: Clock, seconds: float, fewest: int = 7, most: int = 31
) -> dict[str, Times]:
    """Time calls round-robin: as many rounds as fit into `seconds`, from `fewest` to `most`."""
    held: dict[str, int] = {}
    waiting: set[str] = set()
    cost = 0.0
    for name, work in works.items():
        clock.take(work, HELD_UP)  # which fills the pools of memory
        held[name] = HELD_UP
        while not clock.take(work, held[name]).ahead:
            held[name] *= 2
            if held[name] > LONGEST:
                waiting.add(name)
                held[name] = HELD_UP
                break
        started = time.perf_counter()
        clock.take(work, held[name])
        cost += time.perf_counter() - started
    samples: dict[str, list[Sample]] = {name: [] for name in works}
    order = list(works)
    for _ in range(min(most, max(fewest, int(seconds / cost)))):
        for name in order:
            sample = clock.take(works[name], held[name])
            for _ in range(RETAKES):
                if sample.ahead or name in waiting:
                    break
                sample = clock.take(works[name], held[name])
            samples[name].append(sample)
        order.append(order.pop(0))
    return {
        name: Times(
            Timing(tuple(sample.device for sample in each)),
            Timing(tuple(sample.host for sample in each)),
            name in waiting,
        )
        for name, each in samples.items()
    }


@dataclass(frozen=True)
class Measured:
    """Times of all contenders for one case."""

    section: str
    case: Case
    what: str
    times: dict[str, Times]

    @property
    def bytes(self) -> int:
        """The bytes of the logits, of targets other than labels, and of the gradient."""
        arrays = 1 if self.case.loss == CE else 2
        return nbytes(self.case) * (arrays + (self.what != VALUE))

    @property
    def floor(self) -> Timing | None:
        """The faster copy's time."""
        copies = [self.times[name].device for name in COPIES if name in self.times]
        return min(copies, key=lambda timing: timing.median, default=None)

    def speed(self, name: str) -> float:
        """Return bytes per second."""
        return self.bytes / self.times[name].device.median

    @property
    def roof(self) -> float | None:
        """Bytes per second that the copy reads and writes."""
        return None if self.floor is None else 2 * nbytes(self.case) / self.floor.median

    def of_copy(self, name: str) -> float | None:
        """Return a contender's part of the copy's bandwidth."""
        if name not in self.times or self.roof is None:
            return None
        return self.speed(name) / self.roof

    def beside(self, name: str) -> Ratio | None:
        """Return a contender's time over tinyloss's."""
        if name not in self.times or "tinyloss" not in self.times:
            return None
        return Ratio.of(self.times[name].device, self.times["tinyloss"].device)

    def summary(self) -> dict[str, Any]:
        ratios = {name: self.beside(name) for name in self.times if name != "tinyloss"}
        parts = {n: self.of_copy(n) for n in self.times if CONTENDERS[n].computes}
        return {
            "section": self.section,
            "work": self.case.label,
            "what": self.what,
            "bytes": self.bytes,
            "seconds": {name: each.device.summary() for name, each in self.times.items()},
            "host_seconds": {
                name: float(f"{each.host.median:.3g}") for name, each in self.times.items()
            },
            "waits": [name for name, each in self.times.items() if each.waits],
            "gb_per_s": {name: round(self.speed(name) / 1e9) for name in parts},
            "of_copy": {n: round(part, 3) for n, part in parts.items() if part is not None},
            "ratios": {name: ratio.summary() for name, ratio in ratios.items() if ratio},
        }


def free_memory() -> None:
    """Free the memory that CuPy and torch keep in their pools."""
    gc.collect()
    cupy().get_default_memory_pool().free_all_blocks()
    if (torch := sys.modules.get("torch")) is not None:
        torch.cuda.empty_cache()


@dataclass
class Findings:
    """Remarks beside the results."""

    notes: dict[str, None]
    failures: dict[str, None]
    """What tinyloss itself got wrong."""

    def leave_out(self, name: str, where: str, why: str) -> None:
        lines = self.failures if name == "tinyloss" else self.notes
        lines[f"left out: {name}{where}: {why}"] = None


def offered(findings: Findings) -> dict[str, Contender]:
    """Return the contenders that can be used."""
    found: dict[str, Contender] = {}
    for name, contender in CONTENDERS.items():
        try:
            contender.check()
        except NotImplementedError as error:
            findings.leave_out(name, "", str(error))
        except Exception as error:  # imports fail in many ways, compilers in more
            findings.leave_out(name, "", one_line(error))
        else:
            found[name] = contender
    return found


def works_of(
    case: Case, what: str, x: Array, y: Array, contenders: Mapping[str, Contender], found: Findings
) -> dict[str, Work]:
    """Return the works to time, which have run once and agree."""
    works: dict[str, Work] = {}
    values: dict[str, float] = {}
    where = f" of {case.label}, {what}"
    for name, contender in contenders.items():
        try:
            work = contender.prepare(case, what, x, y)
            result = work.call()
            if contender.computes:
                values[name] = contender.number(result if what == VALUE else result[0])
            cupy().cuda.get_current_stream().synchronize()
        except NotImplementedError as error:
            if str(error):
                found.leave_out(name, where, str(error))
        except Exception as error:  # one that fails is a note, not an end; memory, mostly
            found.leave_out(name, where, one_line(error))
        else:
            works[name] = work
        result = None
    ours = values.get("tinyloss", math.nan)
    tolerance = AGREEMENT[case.dtype]
    for name in [name for name in values if name != "tinyloss" and not math.isnan(ours)]:
        if not abs(values[name] - ours) <= tolerance * abs(ours):
            found.leave_out(name, where, f"value {values[name]!r}, tinyloss's {ours!r}")
            works.pop(name)
            if name == "CuPy eager":  # the formula itself
                found.failures[f"tinyloss differs from the formula{where}"] = None
    if "tinyloss" in values and math.isnan(ours):
        found.failures[f"tinyloss's value is NaN{where}"] = None
    return works


def time_case(
    section: Section, case: Case, quick: bool, contenders: Mapping[str, Contender], found: Findings
) -> list[Measured]:
    """Time all contenders on one case."""
    free_memory()
    clock = Clock()
    free, _ = cupy().cuda.runtime.memGetInfo()
    # The arrays, a gradient, what is copied to, what is written over.
    needed = nbytes(case) * (4 if case.loss == CE else 5)
    if needed > free:
        have = f"{needed / 1e9:.1f} GB of memory are needed, {free / 1e9:.1f} GB free"
        found.notes[f"left out: {case.label}: {have}"] = None
        return []
    x, y = arrays_of(case)
    measured: list[Measured] = []
    for what in ASKS:
        free_memory()
        works = works_of(case, what, x, y, contenders, found)
        if not works:
            continue
        where = f"{case.label}, {what}"
        for chosen in (works, {name: work for name, work in works.items() if name not in PEERS}):
            free_memory()
            try:
                times = interleaved(chosen, clock, section.seconds / (5 if quick else 1))
            except Exception as error:  # memory, where each alone had enough
                found.notes[f"left out: {', '.join(chosen)} of {where}: {one_line(error)}"] = None
                continue
            for name in [name for name, each in times.items() if each.waits]:
                found.notes[f"{name} waits for the device, the host's time counts: {what}"] = None
            measured.append(Measured(section.name, case, what, times))
            break
        else:
            found.failures[f"left out: {where}: it cannot be timed"] = None
    return measured


# ------------------------------------------------------------------------------------- printing


def part_of_copy(m: Measured, name: str) -> str:
    part = m.of_copy(name)
    if part is None:
        return ""
    return f"[green]{part:.0%}[/]" if part >= NEAR else f"[bold red]{part:.0%}[/]"


def print_section(console: Console, section: Section, measured: list[Measured]) -> None:
    """Print tinyloss's bandwidth and ratios, and the medians they come from."""
    for what in ASKS:
        rows = [m for m in measured if m.section == section.name and m.what == what]
        if not rows:
            continue
        title = f"{section.title}: {what}"
        ratios = Table(title=f"{title}, times as long", title_justify="left")
        medians = Table(title=f"{title}, medians of the device's time, ms", title_justify="left")
        for table in (ratios, medians):
            table.add_column("work", no_wrap=True)
        for label in ("tinyloss\nms", "tinyloss\nGB/s", "tinyloss\nof copy"):
            ratios.add_column(label, justify="right")
        names = [name for name in CONTENDERS if any(name in m.times for m in rows)]
        for name in names:
            medians.add_column(name, justify="right")
        peers = [name for name in names if name in PEERS]
        for name in peers:
            ratios.add_column(f"{name}\nover tinyloss", justify="right")
        medians.add_column("copy\nGB/s", justify="right")
        medians.add_column("host, tinyloss\nµs", justify="right")
        for m in rows:
            ours = m.times.get("tinyloss")
            ratios.add_row(
                m.case.label,
                digits(ours.device.median * 1e3) if ours else "",
                f"{m.speed('tinyloss') / 1e9:.0f}" if ours else "",
                part_of_copy(m, "tinyloss"),
                *(spread(m.beside(name)) for name in peers),
            )
            medians.add_row(
                m.case.label,
                *(f"{m.times[n].device.median * 1e3:.4f}" if n in m.times else "" for n in names),
                f"{m.roof / 1e9:.0f}" if m.roof else "",
                f"{ours.host.median * 1e6:.0f}" if ours else "",
            )
        console.print(ratios)
        console.print(medians)


# ---------------------------------------------------------------------------------------- running


def write(path: Path, measured: list[Measured], found: Findings, report: dict[str, Any]) -> None:
    """Write the results so far."""
    head = {**report, "notes": [*found.notes], "failures": [*found.failures]}
    write_report(path, head, {"measurements": [m.summary() for m in measured]})


def main(arguments: list[str] | None = None) -> int:
    names = [section.name for section in SECTIONS]
    parser = command_line("gpu", __doc__, names, RESULTS, "few rounds, nothing large")
    given = parser.parse_args(arguments)
    if why := no_gpu():
        print(f"benchmarks.gpu is skipped, nothing is written: {why}")
        return 0
    # Else torch.compile starts processes that load torch while others are being measured.
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"

    only = [text for text in given.only.split(",") if text]
    plan = [
        (section, case)
        for section in SECTIONS
        for case in section.cases
        if not only or any(text in f"{section.name}: {case.label}" for text in only)
        if not given.quick or case.elements <= QUICK
    ]
    path = given.json or (None if only or given.quick else RESULTS)
    console = console_of(150)
    progress = progress_bar(50)
    started = time.perf_counter()
    found = Findings({}, {})
    measured: list[Measured] = []
    gpu = device()
    report: dict[str, Any] = {
        "gpu": gpu,
        "machine": machine(),
        "versions": versions(MODULES),
        "date": datetime.now(UTC).date().isoformat(),
    }
    console.print(f"{gpu['name']}, driver {gpu['driver'] or gpu['driver_cuda']}")
    with progress, warnings.catch_warnings():
        # Warnings of peers (a compiler's, of missing libraries) are not about the figures.
        warnings.simplefilter("ignore")
        bar = progress.add_task("", total=len(plan))
        contenders = offered(found)
        for section, case in plan:
            progress.update(bar, description=f"{section.name}: {case.label}")
            measured += time_case(section, case, given.quick, contenders, found)
            if path is not None:
                report["seconds"] = round(time.perf_counter() - started)
                write(path, measured, found, report)
            progress.update(bar, advance=1)

    for section in SECTIONS:
        print_section(console, section, measured)
    for note in found.notes:
        console.print(f"note: {escape(note)}", soft_wrap=True)
    for failure in found.failures:
        console.print(f"[bold red]failed:[/] {escape(failure)}", soft_wrap=True)
    console.print(f"{len(measured)} measurements, {time.perf_counter() - started:.0f} s")
    return 1 if found.failures else 0


if __name__ == "__main__":
    sys.exit(main())
