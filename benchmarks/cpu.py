"""How fast losses are on the CPU, and how much memory they take, beside torch, JAX and others.

    python -m benchmarks.cpu [--quick] [--only TEXT,...] [--json PATH] [--markdown]

Everyone computes the same on the same numbers with two threads: the mean of the losses, or that
and its gradient by the predictions in a fresh array. The *floor* is a loop on two threads that
reads the inputs and, for a gradient, writes a fresh array, and computes nothing: what moving the
bytes takes. Contenders take turns in one process; a ratio is that of medians, with the quartiles
of the ratios of neighbouring samples.

Extra memory is the growth of a fresh process's peak resident memory during one call, after calls
on a smaller problem.

A full run writes `benchmarks/results/cpu.json` and `cpu.png`. The limits that tinyloss sets itself
are listed with what was measured; missing one is not an error, because other machines differ.
"""

import argparse
import ctypes
import gc
import importlib
import json
import multiprocessing
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks._measure import Ratio, Task, Timing, interleaved, library, machine, versions

RESULTS = Path(__file__).parent / "results" / "cpu.json"
MODULES = ("tinyloss", "numpy", "numba", "ml_dtypes", "torch", "jax", "optax", "sklearn")
THREADS = 2
MEBI = 2**20
VALUE, GRADIENT, OUT = "value", "value and gradient", "value and gradient, out=x"

Array = npt.NDArray[Any]
Call = Callable[[], Any]


# ----------------------------------------------------------------------------------------- cases


@dataclass(frozen=True)
class Case:
    """A loss of predictions of one shape."""

    loss: str
    shape: tuple[int, ...]
    dtype: str = "float32"

    @property
    def size(self) -> str:
        n = self.shape[0]
        if len(self.shape) > 1:
            size = " x ".join(str(length) for length in self.shape)
        else:
            size = f"{n // 10**6}M" if n % 10**6 == 0 else str(n)
        return size if self.dtype == "float32" else f"{size} {self.dtype}"

    @property
    def label(self) -> str:
        return f"{self.loss} {self.size}"

    @property
    def elements(self) -> int:
        return int(np.prod(self.shape))

    def arrays(self) -> tuple[Array, Array]:
        """Return predictions and targets."""
        rng = np.random.default_rng(0)
        dtype = ml_dtypes.bfloat16 if self.dtype == "bfloat16" else np.dtype(self.dtype)
        x = rng.standard_normal(self.shape, np.float32)
        y: Array
        if self.loss == "mse":
            y = rng.standard_normal(self.shape, np.float32).astype(dtype, copy=False)
        elif self.loss == "cross_entropy":
            rows, classes = self.shape
            y = rng.integers(0, classes, rows)
        else:
            y = rng.integers(0, 2, self.shape, np.int8).astype(dtype)
        if self.loss != "mse":
            x *= 3  # probabilities of all sizes
        return x.astype(dtype, copy=False), y


MSE, BCE, CE = "mse", "binary_cross_entropy_with_logits", "cross_entropy"
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
    """Cases, what is asked of them, of whom, and how long each may be measured."""

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
    """What tinyloss holds itself to: a time at most so many times, or so many times less."""

    case: Case
    against: str
    at_most: float | None = None
    faster: float | None = None
    what: str = GRADIENT

    def __str__(self) -> str:
        if self.faster is not None:
            return f"at least {self.faster:g}x faster"
        return f"at most {self.at_most:g}x"

    def ratio(self, times: Mapping[str, Timing]) -> Ratio:
        ours, theirs = times["tinyloss"], times[self.against]
        return Ratio.of(ours, theirs) if self.faster is None else Ratio.of(theirs, ours)

    def met(self, ratio: Ratio) -> bool:
        if self.faster is not None:
            return ratio.value >= self.faster
        return self.at_most is not None and ratio.value <= self.at_most


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
MEMORY_LIMITS = {VALUE: 2.0, GRADIENT: 2.0, OUT: 2.0}
"""MiB beyond the inputs and the gradient that is returned."""


# ------------------------------------------------------------------------------------ contenders


class Contender:
    """A library, or a way to use it. `prepare` returns what it can be asked of a case."""

    needs: tuple[str, ...] = ()
    computes = True
    compiles_shapes = False
    """Whether a call on a new shape compiles: its memory is measured after one on the same."""

    def stage(self) -> AbstractContextManager[Any]:
        """Return the context of all its calls."""
        return nullcontext()

    def prepare(self, case: Case, x: Array, y: Array) -> dict[str, Call]:
        """Return calls; NotImplementedError says what is missing."""
        raise NotImplementedError

    def array(self, result: Any) -> Array:
        """Return a result as a NumPy array that NumPy can compute with."""
        return np.asarray(result).astype(np.float64 if result.dtype == np.float64 else np.float32)


class Nothing(Contender):
    """Holds the inputs: what it measures is the noise."""

    computes = False

    def prepare(self, case: Case, x: Array, y: Array) -> dict[str, Call]:
        return {VALUE: lambda: (x, y)}


class Floor(Contender):
    """Moves the bytes that must move."""

    needs = ("numba",)
    computes = False
    alone = 2**18
    """Bytes below which handing out work (50 us) takes longer than the work (10 GB/s)."""

    @cached_property
    def loops(self) -> tuple[Any, Any, Any]:
        """Loops over machine words: exclusive or takes any dtype and is vectorised as it stands."""

        def read(a: Any) -> Any:
            folded = np.uint64(0)
            for i in range(a.size):
                folded ^= a[i]
            return folded

        def write(a: Any, key: Any, out: Any) -> None:
            for i in range(a.size):
                out[i] = a[i] ^ key

        def combine(a: Any, b: Any, out: Any) -> None:
            for i in range(a.size):
                out[i] = a[i] ^ b[i]

        njit = library("numba").njit(nogil=True)
        return njit(read), njit(write), njit(combine)

    @cached_property
    def pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(THREADS - 1)

    def parts(self, words: Array) -> list[slice]:
        number = 1 if words.nbytes < self.alone else THREADS
        cuts = [words.size * i // number for i in range(number + 1)]
        return [slice(a, b) for a, b in pairwise(cuts)]

    def each(self, parts: list[slice], work: Callable[[slice], Any]) -> None:
        futures = [self.pool.submit(work, part) for part in parts[1:]]
        work(parts[0])
        for future in futures:
            future.result()

    def prepare(self, case: Case, x: Array, y: Array) -> dict[str, Call]:
        read, write, combine = self.loops
        word = np.uint64 if x.nbytes % 8 == 0 else np.uint32
        a, b = (array.reshape(-1).view(word) for array in (x, y))
        pointwise = a.size == b.size
        parts = self.parts(a)

        def value() -> None:
            def work(part: slice) -> None:
                read(a[part])
                if pointwise:
                    read(b[part])

            if not pointwise:
                read(b)
            self.each(parts, work)

        def gradient() -> Array:
            out = np.empty_like(x)
            g = out.reshape(-1).view(word)
            if pointwise:
                self.each(parts, lambda part: combine(a[part], b[part], g[part]))
            else:
                key = read(b)
                self.each(parts, lambda part: write(a[part], key, g[part]))
            return out

        return {VALUE: value, GRADIENT: gradient}


class Tinyloss(Contender):
    def __init__(self, compilation: str) -> None:
        self.compilation = compilation

    def stage(self) -> AbstractContextManager[Any]:
        backend, stack = importlib.import_module("tinyloss_numpy"), ExitStack()
        stack.enter_context(backend.compilation(self.compilation))
        stack.enter_context(backend.threads(THREADS))
        return stack

    def prepare(self, case: Case, x: Array, y: Array) -> dict[str, Call]:
        tinyloss = importlib.import_module("tinyloss")
        loss = getattr(tinyloss, case.loss)
        gradient = tinyloss.value_and_grad(loss)
        into_x = tinyloss.value_and_grad(loss, out=x)
        return {
            VALUE: lambda: loss(x, y),
            GRADIENT: lambda: gradient(x, y),
            OUT: lambda: into_x(x, y),
        }


class Torch(Contender):
    needs = ("torch",)

    @cached_property
    def torch(self) -> Any:
        torch = library("torch")
        torch.set_num_threads(THREADS)
        return torch

    def tensor(self, array: Array) -> Any:
        if array.dtype == ml_dtypes.bfloat16:
            return self.torch.from_numpy(array.view(np.int16)).view(self.torch.bfloat16)
        return self.torch.from_numpy(array)

    def function(self, case: Case) -> Callable[[Any, Any], Any]:
        functional = self.torch.nn.functional
        name = {MSE: "mse_loss", BCE: BCE, CE: "cross_entropy"}[case.loss]
        function: Callable[[Any, Any], Any] = getattr(functional, name)
        return function

    def prepare(self, case: Case, x: Array, y: Array) -> dict[str, Call]:
        function = self.function(case)
        xt, yt = self.tensor(x), self.tensor(y)
        leaf = self.tensor(x).requires_grad_()

        def gradient() -> tuple[Any, Any]:
            leaf.grad = None
            loss = function(leaf, yt)
            loss.backward()
            return loss, leaf.grad

        return {VALUE: lambda: function(xt, yt), GRADIENT: gradient}

    def array(self, result: Any) -> Array:
        detached = result.detach()
        double = detached.dtype == self.torch.float64
        numbers: Array = (detached if double else detached.float()).numpy()
        return numbers


class TorchCompile(Torch):
    compiles_shapes = True

    def __init__(self) -> None:
        self.compiled: dict[Case, Callable[[Any, Any], Any]] = {}

    @cached_property
    def refusal(self) -> str:
        """Why it does not work here; nothing if it does."""
        try:
            self.torch.compile(lambda x: x.sin().sum())(self.torch.ones(8))
        except Exception as error:  # no compiler, no headers, a new Python: all its own errors
            return f"{type(error).__name__}: {error}".strip().split("\n")[0]
        return ""

    def function(self, case: Case) -> Callable[[Any, Any], Any]:
        if self.refusal:
            raise NotImplementedError(self.refusal)
        if case not in self.compiled:
            # A kernel a shape; those compiled before would be looked through at each call.
            self.torch.compiler.reset()
            self.compiled = {case: self.torch.compile(super().function(case), dynamic=False)}
        return self.compiled[case]


class JaxJit(Contender):
    needs = ("jax", "optax")
    compiles_shapes = True

    def __init__(self) -> None:
        self.compiled: dict[tuple[str, str], Any] = {}

    def loss(self, name: str) -> Callable[[Any, Any], Any]:
        losses = library("optax").losses
        each = {
            MSE: losses.squared_error,
            BCE: losses.sigmoid_binary_cross_entropy,
            CE: losses.softmax_cross_entropy_with_integer_labels,
        }[name]
        return lambda x, y: each(x, y).mean()

    def function(self, name: str, what: str) -> Any:
        if (name, what) not in self.compiled:
            jax, loss = library("jax"), self.loss(name)
            self.compiled[name, what] = (
                jax.jit(loss)
                if what == VALUE
                else jax.jit(jax.value_and_grad(loss), donate_argnums=0 if what == OUT else ())
            )
        return self.compiled[name, what]

    def prepare(self, case: Case, x: Array, y: Array) -> dict[str, Call]:
        jax = library("jax")
        jax.config.update("jax_enable_x64", case.dtype == "float64")
        # copies, so that x may be given away
        xj = jax.numpy.array(x)
        yj = jax.numpy.array(y.astype(np.int32) if case.loss == CE else y)
        value = self.function(case.loss, VALUE)

        def differentiate(what: str) -> Any:
            function = self.function(case.loss, what)
            loss, gradient = function(xj, yj)
            gradient.block_until_ready()
            return loss, gradient

        return {
            VALUE: lambda: value(xj, yj).block_until_ready(),
            GRADIENT: lambda: differentiate(GRADIENT),
            OUT: lambda: differentiate(OUT),
        }


class ScikitLearn(Contender):
    """The losses of its boosting and linear models: its metrics take no logits."""

    needs = ("sklearn",)

    def prepare(self, case: Case, x: Array, y: Array) -> dict[str, Call]:
        losses = library("sklearn._loss.loss")
        if case.loss == CE:
            function = losses.HalfMultinomialLoss(n_classes=case.shape[1])
        else:
            function = {MSE: losses.HalfSquaredError, BCE: losses.HalfBinomialLoss}[case.loss]()
        factor = 2 if case.loss == MSE else 1  # half the squared error; the others are whole
        data: dict[str, Any] = {"y_true": y.astype(x.dtype), "raw_prediction": x}
        data["n_threads"] = THREADS
        scale = x.dtype.type(factor / case.shape[0])

        def gradient() -> tuple[Any, Array]:
            value, grad = function.loss_gradient(**data)
            grad *= scale
            return factor * value.mean(), grad

        return {VALUE: lambda: factor * function.loss(**data).mean(), GRADIENT: gradient}


class Typed(Contender):
    """The formula as one types it in NumPy, half precision computed in single."""

    def prepare(self, case: Case, x: Array, y: Array) -> dict[str, Call]:
        formula = {MSE: typed_mse, BCE: typed_bce, CE: typed_ce}[case.loss]
        if x.dtype != ml_dtypes.bfloat16:
            return {VALUE: lambda: formula(x, y, False), GRADIENT: lambda: formula(x, y, True)}

        def half(gradient: bool) -> Any:
            target = y if case.loss == CE else y.astype(np.float32)
            result = formula(x.astype(np.float32), target, gradient)
            return (result[0], result[1].astype(x.dtype)) if gradient else result

        return {VALUE: lambda: half(False), GRADIENT: lambda: half(True)}


def typed_mse(x: Array, y: Array, gradient: bool) -> Any:
    d = x - y
    value = np.mean(d * d)
    return (value, d * (2 / d.size)) if gradient else value


def typed_bce(x: Array, y: Array, gradient: bool) -> Any:
    value = np.mean(np.maximum(x, 0) - x * y + np.log1p(np.exp(-np.abs(x))))
    return (value, (1 / (1 + np.exp(-x)) - y) / x.size) if gradient else value


def typed_ce(x: Array, y: Array, gradient: bool) -> Any:
    rows = np.arange(x.shape[0])
    m = np.max(x, axis=-1, keepdims=True)
    e = np.exp(x - m)
    s = np.sum(e, axis=-1, keepdims=True)
    value = np.mean(np.log(s[:, 0]) + m[:, 0] - x[rows, y])
    if not gradient:
        return value
    g = e / s
    g[rows, y] -= 1
    g /= x.shape[0]
    return value, g


CONTENDERS: dict[str, Contender] = {
    "nothing": Nothing(),
    "floor": Floor(),
    "tinyloss": Tinyloss("always"),
    "tinyloss eager": Tinyloss("never"),
    "torch": Torch(),
    "torch.compile": TorchCompile(),
    "jax.jit": JaxJit(),
    "scikit-learn": ScikitLearn(),
    "NumPy": Typed(),
}


# -------------------------------------------------------------------------------------- agreement

AGREEMENT = {"float32": 1e-3, "float64": 1e-9, "bfloat16": 2e-2}
"""A few digits: enough to know the same work, and no measure of accuracy. Some sum 1e8 losses in
float32 one after the other; torch rounds a loss of bfloat16 to 8 bits."""


def differ(one: Array, other: Array, tolerance: float) -> bool:
    """Whether arrays differ beyond a tolerance of their largest number."""
    scale = max(float(np.max(np.abs(other))), 1e-30)
    return not float(np.max(np.abs(one - other))) <= tolerance * scale


def disagreement(
    name: str, call: Call, what: str, case: Case, truth: tuple[Array, Array | None]
) -> str:
    """Say in what a contender differs from the typed formula; nothing if it does not."""
    contender, tolerance = CONTENDERS[name], AGREEMENT[case.dtype]
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
        """What must move: the inputs, and the gradient."""
        x = self.case.elements * (
            2 if self.case.dtype == "bfloat16" else int(self.case.dtype[5:]) // 8
        )
        y = 8 * self.case.shape[0] if self.case.loss == CE else x
        return x + y + (x if self.what == GRADIENT else 0)

    def over(self, name: str, other: str) -> Ratio | None:
        """Return how many times as long the one takes as the other."""
        if name not in self.times or other not in self.times:
            return None
        return Ratio.of(self.times[name], self.times[other])

    def summary(self) -> dict[str, Any]:
        ratios = {name: self.over(name, "tinyloss") for name in self.times if name != "tinyloss"}
        return {
            "section": self.section,
            "work": self.case.label,
            "what": self.what,
            "bytes": self.bytes,
            "seconds": {name: timing.summary() for name, timing in self.times.items()},
            "over_tinyloss": {n: ratio.summary() for n, ratio in ratios.items() if ratio},
        }


def time_case(
    section: Section, case: Case, seconds: float, notes: dict[str, None]
) -> list[Measured]:
    """Time all contenders of a section on one case."""
    x, y = case.arrays()
    offers: dict[str, dict[str, Call]] = {}
    for name in section.contenders:
        contender = CONTENDERS[name]
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
            contender = CONTENDERS[name]
            if contender.computes:
                try:
                    wrong = disagreement(name, offer[what], what, case, truth)
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
    what: str
    runs: tuple[int, ...]

    @property
    def least(self) -> float:
        return min(self.runs) / MEBI

    def summary(self) -> dict[str, Any]:
        most = round(max(self.runs) / MEBI, 2)
        return {
            "contender": self.name,
            "work": MEMORY.label,
            "what": self.what,
            "extra_mib": round(self.least, 2),
            "most_mib": most,
            "runs": len(self.runs),
        }


def resident(what: str) -> int:
    """Return the bytes of memory in use (VmRSS) or at their peak (VmHWM)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1]) * 1024
    raise NotImplementedError(f"/proc/self/status has no {what}")


def growth(name: str, what: str) -> int | None:
    """Return by how many bytes a call raises the peak of this process, which must be fresh."""
    libc, contender = ctypes.CDLL(None), CONTENDERS[name]
    with contender.stage():
        for case in [MEMORY_WARM] * 3 + [MEMORY] * contender.compiles_shapes:
            calls = contender.prepare(case, *case.arrays())
            if what not in calls:
                return None
            calls[what]()
        calls = contender.prepare(MEMORY, *MEMORY.arrays())
        gc.collect()
        libc.malloc_trim(0)
        # PR_SET_THP_DISABLE: a page of 2 MiB that is touched once would count in full.
        libc.prctl(41, 1, 0, 0, 0)
        Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is in use
        before = resident("VmRSS")
        result = calls[what]()
        after = resident("VmHWM")
        del result
    return after - before


def measure_memory(
    names: Iterable[str], repeats: int, notes: dict[str, None]
) -> Iterator[Extra | None]:
    """Yield the extra memory of each contender, each run in a process of its own."""
    gradient = MEMORY.elements * 4
    context = multiprocessing.get_context("spawn")
    for name in names:
        for what in (VALUE, GRADIENT, OUT):
            if name == "nothing" and what != VALUE:
                yield None
                continue
            returned = gradient if what == GRADIENT else 0
            ours = name in ("nothing", "tinyloss")
            runs: list[int] = []
            try:
                for _ in range(repeats if ours else 1):
                    with ProcessPoolExecutor(1, mp_context=context) as pool:
                        grown = pool.submit(growth, name, what).result()
                    if grown is None:
                        break
                    runs.append(grown - returned)
            except Exception as error:  # no such library, no /proc, killed for memory
                if name == "tinyloss":
                    raise
                reason = f"{type(error).__name__}: {error}".split("\n")[0]
                notes[f"{name} is left out of memory, {what}: {reason}"] = None
            yield Extra(name, what, tuple(runs)) if runs else None


# ------------------------------------------------------------------------------------- printing


def duration(seconds: float) -> str:
    for unit, name in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= unit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds * 1e9:.3g} ns"


def times(number: float) -> str:
    return (
        f"{number:.2f}" if number < 9.995 else f"{number:.3g}" if number < 1000 else f"{number:.0f}"
    )


def spread(ratio: Ratio | None) -> str:
    if ratio is None:
        return ""
    return f"{times(ratio.value)} [dim]{times(ratio.low)}-{times(ratio.high)}[/]"


def judged(measured: list[Measured], extras: list[Extra]) -> list[dict[str, Any]]:
    """Return every limit with what was measured, where it was."""
    found = {(m.case, m.what): m.times for m in measured}
    rows: list[dict[str, Any]] = []
    for limit in LIMITS:
        seconds = found.get((limit.case, limit.what), {})
        row: dict[str, Any] = {
            "work": limit.case.label,
            "what": limit.what,
            "against": limit.against,
            "limit": str(limit),
        }
        if "tinyloss" in seconds and limit.against in seconds:
            ratio = limit.ratio(seconds)
            row |= {**ratio.summary(), "met": limit.met(ratio)}
        rows.append(row)
    memory = {extra.what: extra for extra in extras if extra.name == "tinyloss"}
    for what, limit in MEMORY_LIMITS.items():
        row = {
            "work": MEMORY.label,
            "what": what,
            "against": "extra memory",
            "limit": f"at most {limit:g} MiB",
        }
        if what in memory:
            least = memory[what].least
            row |= {"mib": round(least, 2), "met": least <= limit}
        rows.append(row)
    return rows


def print_section(console: Console, section: Section, measured: list[Measured]) -> None:
    """Print ratios, and the medians they come from."""
    verdicts = {
        (limit.case, limit.what, limit.against): limit.met(limit.ratio(m.times))
        for m in measured
        for limit in LIMITS
        if (limit.case, limit.what) == (m.case, m.what)
        if "tinyloss" in m.times and limit.against in m.times
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
        medians.add_column("floor GB/s", justify="right")
        for m in rows:
            cells: list[str] = []
            for name in names:
                if name == "tinyloss":
                    continue
                pair = ("tinyloss", name) if name == "floor" else (name, "tinyloss")
                met = verdicts.get((m.case, m.what, name))
                colour = {True: "green", False: "bold red"}.get(met) if met is not None else None
                text = spread(m.over(*pair))
                cells.append(f"[{colour}]{text}[/]" if colour and text else text)
            ratios.add_row(m.case.label, *cells)
            floor = m.times.get("floor")
            medians.add_row(
                m.case.label,
                *(duration(m.times[n].median) if n in m.times else "" for n in names),
                f"{m.bytes / floor.median / 1e9:.1f}" if floor else "",
            )
        console.print(ratios)
        console.print(medians)


def print_memory(console: Console, extras: list[Extra]) -> None:
    table = Table(
        title=f"Extra memory beyond inputs and gradient, MiB: {MEMORY.label} (1 GiB of logits)",
        title_justify="left",
    )
    table.add_column("")
    asks = (VALUE, GRADIENT, OUT)
    for what in asks:
        table.add_column(what, justify="right")
    for name in CONTENDERS:
        mine = {extra.what: extra for extra in extras if extra.name == name}
        if mine:
            label = "a call that does nothing" if name == "nothing" else name
            table.add_row(label, *(f"{mine[w].least:.2f}" if w in mine else "" for w in asks))
    console.print(table)


def print_limits(console: Console, rows: list[dict[str, Any]]) -> None:
    table = Table(title="The limits tinyloss sets itself", title_justify="left")
    for name in ("work", "what", "against", "limit", "measured", ""):
        table.add_column(name, no_wrap=name in ("work", "what"))
    for row in rows:
        if "met" not in row:
            continue
        if "mib" in row:
            measured = f"{row['mib']:.2f} MiB"
        else:
            measured = spread(Ratio(row["ratio"], row["low"], row["high"]))
        verdict = "[green]met[/]" if row["met"] else "[bold red]missed[/]"
        table.add_row(row["work"], row["what"], row["against"], row["limit"], measured, verdict)
    known = [row["met"] for row in rows if "met" in row]
    if known:
        console.print(table)
    console.print(
        f"{sum(known)} limits met, {len(known) - sum(known)} missed, "
        f"{len(rows) - len(known)} not measured"
    )


def markdown(measured: list[Measured], extras: list[Extra]) -> str:
    """Return the tables for the README: ratios of values, and of values and gradients."""
    peers = [name for name in CONTENDERS if name not in ("nothing", "tinyloss", "tinyloss eager")]
    heads = [f"{name} / tinyloss" if name != "floor" else "tinyloss / floor" for name in peers]
    lines = [f"| work | {' | '.join(heads)} |", "|---" * (len(peers) + 1) + "|"]
    found = {(m.case, m.what): m for m in measured if m.section == "shapes"}
    for case in SHAPES:
        cells: list[str] = []
        for name in peers:
            pair = ("tinyloss", name) if name == "floor" else (name, "tinyloss")
            ratios = [
                found[case, what].over(*pair) if (case, what) in found else None
                for what in (VALUE, GRADIENT)
            ]
            cells.append(", ".join(times(ratio.value) for ratio in ratios if ratio))
        if any(cells):
            lines.append(f"| `{case.loss}` {case.size} | {' | '.join(cells)} |")
    memory = {(extra.name, extra.what): extra.least for extra in extras}
    if memory:
        names = [name for name in CONTENDERS if any(n == name for n, _ in memory)]
        names = [name for name in names if name != "nothing"]
        lines += [
            "",
            f"| extra memory, MiB | {' | '.join(names)} |",
            "|---" * (len(names) + 1) + "|",
        ]
        for what in (VALUE, GRADIENT, OUT):
            cells = [f"{memory[n, what]:.1f}" if (n, what) in memory else "" for n in names]
            lines.append(f"| {what} | {' | '.join(cells)} |")
    return "\n".join(lines)


STYLES = {
    "tinyloss": ("C3", "o"),
    "tinyloss eager": ("C1", "v"),
    "torch": ("C0", "s"),
    "torch.compile": ("C9", "D"),
    "jax.jit": ("C2", "^"),
    "scikit-learn": ("C4", "P"),
    "NumPy": ("C7", "x"),
}


def draw(measured: list[Measured], path: Path, caption: str) -> None:
    """Draw the speed at which bytes move, under the floor's as the roof, and the growth of time."""
    matplotlib = library("matplotlib")
    if matplotlib is None:
        return
    matplotlib.use("Agg")
    figure = library("matplotlib.figure").Figure(figsize=(12, 10), layout="constrained")
    grid = figure.add_gridspec(2, 2)

    rows = [m for m in measured if m.section == "shapes" and m.what == GRADIENT]
    axes = figure.add_subplot(grid[0, :])
    for i, m in enumerate(rows):
        speeds = {name: m.bytes / timing.median / 1e9 for name, timing in m.times.items()}
        if "floor" in speeds:
            roof = axes.hlines(speeds.pop("floor"), i - 0.4, i + 0.4, color="black", lw=2)
            roof.set_label("floor: only moves the bytes" if i == 0 else None)
        for name, speed in speeds.items():
            colour, marker = STYLES[name]
            axes.plot(i, speed, marker, color=colour, label=name if i == 0 else None)
    axes.set_yscale("log")
    axes.set_xticks(
        range(len(rows)), [m.case.label.replace(" ", "\n", 1) for m in rows], fontsize=7
    )
    axes.set_ylabel("GB/s of inputs and gradient")
    axes.set_title("Value and gradient of the mean, float32, two threads")
    axes.legend(fontsize=8, ncols=8, loc="upper center", bbox_to_anchor=(0.5, -0.1))

    for column, (name, size, label) in enumerate(
        (
            ("sizes", lambda case: case.shape[0], f"elements of {BCE}"),
            ("classes", lambda case: case.shape[1], f"classes of {CE}, 4M logits"),
        )
    ):
        axes = figure.add_subplot(grid[1, column])
        rows = [m for m in measured if m.section == name]
        for contender in dict.fromkeys(each for m in rows for each in m.times):
            points = [
                (size(m.case), m.times[contender].median * 1e3)
                for m in rows
                if contender in m.times
            ]
            colour, marker = STYLES.get(contender, ("black", ""))
            axes.plot(*zip(*points, strict=True), f"{marker}-", color=colour, label=contender)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel(label)
        axes.set_ylabel("ms")
        axes.grid(alpha=0.3)
        if rows:
            axes.legend(fontsize=8)
    figure.suptitle(caption, fontsize=9)
    figure.savefig(path, dpi=110)


# ---------------------------------------------------------------------------------------- running


def settle() -> None:
    """Give every contender the same two cores, and the environment that users have."""
    # Read when NumPy loads OpenBLAS, so a new process has to start without them.
    forced = {"OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"} & set(os.environ)
    if forced:
        for name in forced:
            del os.environ[name]
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    os.environ |= {"JAX_PLATFORMS": "cpu", "OMP_NUM_THREADS": str(THREADS)}
    # XLA logs as errors how long it takes to compile; what fails raises as well.
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    # XLA takes all cores it may run on, and has no setting for fewer.
    if sys.platform == "linux":
        os.sched_setaffinity(0, cores(sorted(os.sched_getaffinity(0)))[:THREADS])


def cores(processors: list[int]) -> list[int]:
    """Return processors in an order in which no two of a core come before all cores had a turn."""
    first: list[int] = []
    taken: set[str] = set()
    for number in processors:
        path = Path(f"/sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list")
        core = path.read_text().strip() if path.exists() else str(number)
        if core not in taken:
            first.append(number)
            taken.add(core)
    return first + [number for number in processors if number not in first]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="benchmarks.cpu", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--quick", action="store_true", help="few rounds, nothing large, no memory")
    parser.add_argument(
        "--only",
        default="",
        help="measure what has one of these texts, with commas between, in its section or work: "
        + ", ".join([section.name for section in SECTIONS] + ["memory"]),
    )
    parser.add_argument(
        "--json",
        type=Path,
        help=f"where results are written, a picture beside; default: {RESULTS.name} of a full run",
    )
    parser.add_argument("--markdown", action="store_true", help="print the README's table, too")
    given = parser.parse_args(arguments)
    settle()

    only = [text for text in given.only.split(",") if text]
    plan = [
        (section, case)
        for section in SECTIONS
        for case in section.cases
        if not only or any(text in f"{section.name}: {case.label}" for text in only)
        if not given.quick or case.elements <= 10**7
    ]
    remembered = [] if given.quick or (only and "memory" not in only) else list(CONTENDERS)
    remembered = [name for name in remembered if name not in ("floor", "tinyloss eager")]
    console = Console()
    if console.width < 170 and not console.is_terminal:
        console = Console(width=170)
    progress = Progress(
        TextColumn("{task.description:50}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )
    started, load = time.perf_counter(), os.getloadavg()[0]
    measured: list[Measured] = []
    extras: list[Extra] = []
    notes: dict[str, None] = {}
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
    if given.markdown:
        sys.stdout.write(markdown(measured, extras) + "\n")

    here, took = machine(), time.perf_counter() - started
    report = {
        "machine": here,
        "load_before": round(load, 2),
        "versions": versions(MODULES),
        "date": datetime.now(UTC).date().isoformat(),
        "threads": THREADS,
        "seconds": round(took),
        "notes": list(notes),
    }
    path = given.json or (None if only or given.quick else RESULTS)
    if path is not None:
        # A line for each row: a new run is a change of lines.
        parts = {
            "limits": limits,
            "measurements": [m.summary() for m in measured],
            "memory": [extra.summary() for extra in extras],
        }
        lists = [
            f' "{name}": [\n  ' + ",\n  ".join(json.dumps(row) for row in rows) + "\n ]"
            for name, rows in parts.items()
        ]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(report, indent=1)[:-2] + ",\n" + ",\n".join(lists) + "\n}\n")
        draw(measured, path.with_suffix(".png"), f"{here['cpu']}, {report['date']}")
    console.print(f"{took:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
