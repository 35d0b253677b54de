"""Compiled losses of arrays beside pages that must not be touched.

`python -m tests.soak.guard_pages --minutes 20 --seed 1` draws calls in a process of its own, until
the time is up, and prints counts. Inputs, results and scratch memory end just before a page without
access, or begin just behind one: a byte read or written beyond them ends that process. What was not
yet written is NaN. Results are compared with those of the formulas.
"""

import argparse
import ctypes
import json
import mmap
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import ml_dtypes
import numpy as np
import numpy.typing as npt

import tinyloss
import tinyloss_numpy
from tests.support.specs import EXACT, LOSSES
from tinyloss_numpy import _arrays, _blocks, _run

Array = npt.NDArray[Any]
Counts = dict[str, int]

MODULE = "tests.soak.guard_pages"
PAGE = mmap.PAGESIZE
NO_ACCESS = 0
UNSET = 0xFF
"""NaN in every dtype of floats."""
DTYPES: dict[str, Any] = {
    name: np.dtype(getattr(ml_dtypes, name, name))
    for name in ("float16", "bfloat16", "float32", "float64")
}
INTEGERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
EPS = {name: float(ml_dtypes.finfo(dtype).eps) for name, dtype in DTYPES.items()}
FEW = 64
"""Eps by which two ways to compute a loss may differ, for inputs as drawn here."""
MOST = 300_000
"""Elements; from 131,072 on threads share them."""

ROWS = {
    "cross_entropy": ("labels", "rows"),
    "nll": ("labels",),
    "softmax_focal": ("labels",),
    "kl_div": ("rows",),
    "kl_div_with_logits": ("rows",),
    "js_div": ("rows",),
    **dict.fromkeys(("poly_cross_entropy", "generalized_cross_entropy", "brier"), ("labels",)),
    **dict.fromkeys(("multi_margin", "categorical_hinge"), ("labels",)),
    **dict.fromkeys(("pairwise_hinge", "pairwise_logistic", "listmle"), ("rows",)),
}
NAMES = [name for name in LOSSES if name in ROWS or not EXACT[name].rowwise]

# ----------------------------------------------------------------------------------------- memory


class Rooms:
    """Hands out memory beside pages without access."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.lie = 0
        """Arrays that are asked for in turn lie the same ways until this is another number: each
        way that they lie in is compiled for."""
        self.asked = 0
        self.libc: Any = ctypes.CDLL(None, use_errno=True)

    def room(self, size: int, slack: int = 0) -> tuple[Any, int]:
        """Return memory, and where in it `size` bytes lie next to a page, but for some slack."""
        pages = -(-(size + slack) // PAGE) or 1
        memory = mmap.mmap(-1, (pages + 2) * PAGE)
        start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        for page in (start, start + (pages + 1) * PAGE):
            if self.libc.mprotect(ctypes.c_void_p(page), ctypes.c_size_t(PAGE), NO_ACCESS):
                raise OSError(ctypes.get_errno(), "mprotect")
        ctypes.memset(start + PAGE, UNSET, pages * PAGE)
        at_end = self.rng.random() < 0.5
        return memory, (pages + 1) * PAGE - slack - size if at_end else PAGE + slack

    def array(self, shape: tuple[int, ...], dtype: Any, steps: tuple[int, ...]) -> Array:
        """Return an array whose elements lie so many bytes apart along each axis, not set."""
        dtype = np.dtype(dtype)
        spans = [(n - 1) * step for n, step in zip(shape, steps, strict=True)]
        low = sum(span for span in spans if span < 0)
        size = sum(map(abs, spans)) + dtype.itemsize
        slack = self.rng.randrange(dtype.itemsize) if self.rng.random() < 0.3 else 0
        memory, at = self.room(size, slack)
        array: Array = np.ndarray(shape, dtype, memory, at - low, steps)
        return array

    def steps(self, shape: tuple[int, ...], size: int) -> tuple[int, ...]:
        """Draw how an array lies: order of axes, gaps, directions."""
        self.asked += 1
        rng = random.Random(f"{self.lie} {self.asked}")
        steps, step = [0] * len(shape), size
        axes = [*reversed(range(len(shape)))]
        if rng.random() < 0.3:
            rng.shuffle(axes)
        apart = rng.random() < 0.4
        for axis in axes:
            step *= rng.choice((1, 1, 2, 3)) if apart else 1
            steps[axis] = -step if rng.random() < 0.15 else step
            step *= max(1, shape[axis])
        return tuple(steps)

    def like(self, values: Any, dtype: Any = None) -> Array:
        """Return an array of the same numbers that lies anyhow."""
        values = np.asarray(values)
        dtype = values.dtype if dtype is None else np.dtype(dtype)
        array = self.array(values.shape, dtype, self.steps(values.shape, dtype.itemsize))
        array[...] = values
        if array.ndim and random.Random(f"{self.lie} {self.asked} 0").random() < 0.05:
            array = np.broadcast_to(array[:1], array.shape)
        return array

    def unset(self, like: Any) -> Array:
        """Return an array for a result."""
        return self.array(like.shape, like.dtype, self.steps(like.shape, like.dtype.itemsize))


# ------------------------------------------------------------------------------------------ calls


class Uncompiled(Exception):
    """No loop takes these arrays."""


def near(rng: random.Random, *lengths: int) -> int:
    """Draw a length at, or next to, a multiple of one of these."""
    return max(1, rng.choice(lengths) * rng.choice((1, 1, 1, 2, 3)) + rng.randint(-2, 2))


def rows_of(rng: random.Random, lengths: tuple[int, ...], dimensions: int) -> tuple[int, ...]:
    classes = max(1, rng.choice(lengths) + rng.randint(-2, 2)) * rng.choice((1, 1, 1, 2))
    most = max(1, min(MOST // classes, rng.choice((3, 40, 300, 3000))))
    items = min(most, near(rng, 1, 8, 32, 64, 128, 256, 1024))
    return (items, classes) if dimensions < 3 else (2, max(1, items // 2), classes)


def elements_of(rng: random.Random, dimensions: int) -> tuple[int, ...]:
    length = near(rng, 1, 8, 16, 64, 1024, 4096, 65536)
    return ((length,), (length // 7 + 1, 7), (3, length // 6 + 1, 2))[dimensions - 1]


def numbers_of(name: str, target: str, shape: tuple[int, ...], draw: Any) -> list[Array]:
    """Return x, y and further arrays where the loss is smooth and its terms cancel little."""
    normal = [1.5 * draw.standard_normal(shape) for _ in range(2)]
    share = [draw.uniform(0.05, 0.95, shape) for _ in range(2)]
    rows = [each / each.sum(axis=-1, keepdims=True) for each in share]
    x, y = normal
    if target == "labels":
        x = np.log(rows[0]) if name == "nll" else x
        return [x, draw.integers(0, min(shape[-1], 100), shape[:-1])]
    match name:
        case "cross_entropy":
            return [x, rows[1]]
        case "kl_div":
            return [np.log(rows[0]), rows[1]]
        case "js_div":
            return rows
        case "binary_cross_entropy":
            return share
        case "binary_cross_entropy_with_logits" | "sigmoid_focal":
            return [x, share[1]]
        case "hinge" | "squared_hinge" | "soft_margin":
            return [x, np.sign(y)]
        case "msle" | "mape" | "poisson_nll":
            return [share[0] * 3, share[1] * 3]
        case "gaussian_nll":
            return [x, y, share[0] + 0.5]
        case "kto":
            return [x, (y > 0) * 1.0, *[y] * (len(EXACT[name].arguments) - 2)]
        case _:
            return [x, y, *[y] * (len(EXACT[name].arguments) - 2)]


class Call:
    """A loss, what is asked of it, its dtypes and options: shapes and memory are drawn anew."""

    def __init__(self, rng: random.Random) -> None:
        self.name = rng.choice(NAMES)
        self.loss: Any = getattr(tinyloss, self.name)
        self.target = rng.choice(ROWS.get(self.name, ("",)))
        self.x = rng.choice([*DTYPES])
        self.y = (
            rng.choice(INTEGERS) if self.target == "labels" else rng.choice((self.x, "float32"))
        )
        self.weighted, self.masked = rng.random() < 0.3, rng.random() < 0.3
        self.class_weighted = self.name in ("cross_entropy", "nll") and rng.random() < 0.3
        self.smooth = self.name == "cross_entropy" and rng.random() < 0.3
        self.reduction = rng.choice(("mean", "sum", "none"))
        self.classes = rng.choice(
            ((1, 3, 7, 10, 32, 70), (82, 100, 127, 128, 255), (256, 300, 500, 1024))
        )
        self.dimensions = rng.choice((1, 1, 2, 3))
        self.some = rng.choice(("all", "one", "last"))
        self.given = rng.random() < 0.7
        kinds = ["value", "first", "all", "first in place"]
        self.kind = rng.choice(kinds if self.target else [*kinds, "curvature"])

    def arrays(self, rng: random.Random, rooms: Rooms) -> tuple[list[Array], dict[str, Any]]:
        """Draw arrays and options."""
        rooms.asked = 0
        if self.target:
            shape = rows_of(rng, self.classes, self.dimensions)
        else:
            shape = elements_of(rng, self.dimensions)
        draw = np.random.default_rng(rng.getrandbits(32))
        x, y, *more = numbers_of(self.name, self.target, shape, draw)
        items = shape[:-1] if self.target else shape
        options: dict[str, Any] = {"reduction": self.reduction}
        if self.weighted:
            some = {"all": items, "one": (*items[:-1], 1), "last": items[-1:]}[self.some]
            options["weight"] = rooms.like(
                draw.uniform(0, 2, some) * (draw.random(some) < 0.8), "f"
            )
        if self.masked:
            kept = draw.random(items) < 0.7
            kept.flat[0] = True
            options["where"] = rooms.like(kept)
            x[~options["where"]] = np.nan
        if self.class_weighted:
            options["class_weight"] = rooms.like(draw.uniform(0.5, 2, shape[-1]), "f")
        if self.smooth:
            options["label_smoothing"] = 0.1
        arrays = [rooms.like(x, DTYPES[self.x]), rooms.like(y, DTYPES.get(self.y, self.y))]
        arrays += [rooms.like(each, DTYPES[self.x]) for each in more]
        if self.target and len(shape) == 3 and self.some == "all":
            options["axis"] = 1
            arrays = [np.moveaxis(a, -1, 1) if a.ndim == 3 else a for a in arrays]
        return arrays, options

    def derive(self, out: Any = None) -> Callable[..., tuple[Any, ...]]:
        """Return the function that answers, its results in a tuple, the value first if asked."""
        if self.kind == "value":
            return lambda *arrays, **options: (self.loss(*arrays, **options),)
        if self.kind == "curvature":
            function: Any = tinyloss.grad_and_hess(self.loss, out=out)
            return lambda *arrays, **options: tuple(function(*arrays, **options))
        one = self.kind != "all" or self.target == "labels"
        argnums = (0,) if one else tuple(range(len(EXACT[self.name].arguments)))
        both: Any = tinyloss.value_and_grad(self.loss, argnums, out=out)

        def answer(*arrays: Any, **options: Any) -> tuple[Any, ...]:
            value, grads = both(*arrays, **options)
            return (value, *grads)

        return answer

    def run(self, rng: random.Random, rooms: Rooms, say: Callable[[str], None]) -> None:
        """Compare one call with the formulas."""
        arrays, options = self.arrays(rng, rooms)
        layouts = [(a.shape, a.strides, str(a.dtype)) for a in arrays]
        others = {k: v if np.ndim(v) == 0 else (v.shape, v.strides) for k, v in options.items()}
        case = f"{self.name} {self.kind} {layouts} {others}"
        say(case)
        with tinyloss_numpy.compilation("never"):
            expected = self.derive()(*arrays, **options)
        derived = expected if self.kind == "curvature" else expected[1:]
        out = tuple(rooms.unset(each) for each in derived) if self.given else ()
        if self.kind == "first in place" and 0 not in arrays[0].strides:
            out = (arrays[0],)
        with tinyloss_numpy.compilation("always"):
            got = self.derive(out or None)(*arrays, **options)
        computed = "float64" if "float64" in (self.x, self.y) else "float32"
        for number, (result, right) in enumerate(zip(got, expected, strict=True)):
            assert result.dtype == right.dtype, case
            eps = max(FEW * EPS[computed], 2 * EPS[str(right.dtype)])
            result, right = np.asarray(result, "f8"), np.asarray(right, "f8")
            finite = np.abs(right[np.isfinite(right)])
            near_zero = 1.0 if number == 0 and self.kind != "curvature" else 1 / arrays[0].size
            if self.reduction == "sum":
                near_zero *= arrays[0].size
            atol = eps * max(float(finite.max(initial=0)), near_zero)
            if str(got[number].dtype) == "float16":
                atol = max(atol, 2.0**-23)  # two units of its subnormal numbers
            np.testing.assert_allclose(result, right, rtol=eps, atol=atol, err_msg=case)


def calls(rng: random.Random, deadline: float, say: Callable[[str], None]) -> Counts:
    """Draw calls until the time is up, 40 of a kind: they share few kernels."""
    counts: Counter[str] = Counter()
    rooms = Rooms(rng)

    def refuse(job: Any) -> Any:
        if _run._compilation.get() == "always":
            raise Uncompiled
        return formulas(job)

    def scratch(own: Any, size: int) -> int:
        own.guarded = memory, at = rooms.room(size)
        return ctypes.addressof(ctypes.c_char.from_buffer(memory)) + at

    def empty(shape: tuple[int, ...], dtype: Any) -> Array:
        return rooms.unset(np.empty(shape, dtype))

    def empty_like(array: Any, dtype: Any) -> Array:
        like = np.empty_like(array, dtype)
        return rooms.array(like.shape, dtype, like.strides)

    def maker(like: Any) -> Callable[[], Array]:
        return lambda: rooms.array(like.shape, like.dtype, like.strides)

    formulas = _blocks.run
    with ExitStack() as stack:
        stack.enter_context(patch.object(_blocks, "run", refuse))
        stack.enter_context(patch.object(_run._Own, "scratch", scratch))
        stack.enter_context(patch.object(_arrays, "empty", empty))
        stack.enter_context(patch.object(_arrays, "empty_like", empty_like))
        stack.enter_context(patch.object(_arrays, "maker", maker))
        stack.enter_context(tinyloss_numpy.threads(2))
        while time.monotonic() < deadline:
            call = Call(rng)
            rooms.lie = rng.getrandbits(32)
            counts["kinds of calls"] += 1
            for _ in range(40):
                try:
                    call.run(rng, rooms, say)
                    counts["compiled"] += 1
                except Uncompiled:
                    counts["uncompiled"] += 1
                if time.monotonic() >= deadline:
                    break
    return dict(counts)


def guard_pages(rng: random.Random, deadline: float) -> Counts:
    """Draw calls in a process of its own, which must live to tell its counts."""
    minutes = max(0.0, deadline - time.monotonic()) / 60
    with tempfile.TemporaryDirectory() as folder:
        last = Path(folder) / "last"
        last.touch()
        options = {"minutes": minutes, "seed": rng.getrandbits(31), "last": last}
        done = subprocess.run(
            [sys.executable, "-m", MODULE, *(f"--{k}={v}" for k, v in options.items())],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=False,
        )
        case = last.read_text().strip()
    assert done.returncode == 0, f"exit code {done.returncode}: {case}\n{done.stderr}"
    counts: Counts = json.loads(done.stdout)
    return counts


def main() -> None:
    """Print counts as JSON."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--last", type=Path, help="the file for the call under way")
    args = parser.parse_args()
    rng, deadline = random.Random(args.seed), time.monotonic() + 60 * args.minutes
    if args.last is None:
        print(json.dumps({"seed": args.seed, **guard_pages(rng, deadline)}))
        return
    handle = os.open(args.last, os.O_WRONLY)
    print(json.dumps(calls(rng, deadline, lambda case: write_over(handle, case))))


def write_over(handle: int, case: str) -> None:
    os.ftruncate(handle, 0)
    os.pwrite(handle, case.encode(), 0)


if __name__ == "__main__":
    main()
