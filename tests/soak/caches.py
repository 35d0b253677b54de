"""Damage to kept kernels, races for them, kinds of calls mixed at random: answers stay right."""

import os
import random
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt

import tinyloss
import tinyloss_numpy
from tests.soak._timed import Counts, timed
from tinyloss.compiler import disk
from tinyloss_numpy import _compiler

Array = npt.NDArray[Any]


def _flipped(rng: random.Random, file: Path) -> None:
    content = bytearray(file.read_bytes())
    for _ in range(rng.choice([1, 1, 8])):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    file.write_bytes(content)


def _cut(rng: random.Random, file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: rng.randrange(len(content))])


def _longer(rng: random.Random, file: Path) -> None:
    file.write_bytes(file.read_bytes() + rng.randbytes(rng.choice([1, 64, 4096])))


def _another(rng: random.Random, file: Path) -> None:
    """Put another kernel under this one's name."""
    others = [each for each in file.parent.iterdir() if each.is_file()]
    file.write_bytes(rng.choice(others).read_bytes())


def _writable(rng: random.Random, file: Path) -> None:
    rng.choice([file, file.parent]).chmod(rng.choice([0o777, 0o720, 0o702]))


def _owned(_: random.Random, file: Path) -> None:
    if os.geteuid() == 0:
        os.chown(file, 12345, 12345)


def _linked(rng: random.Random, file: Path) -> None:
    aside = file.parent.parent / f"aside{rng.getrandbits(32)}"
    file.rename(aside)
    file.symlink_to(rng.choice([str(aside), file.name, "nowhere"]))


def _gone(_: random.Random, file: Path) -> None:
    file.unlink()


def _folder_instead(_: random.Random, file: Path) -> None:
    file.unlink()
    file.mkdir()


DAMAGE: tuple[Callable[[random.Random, Path], None], ...] = (
    _flipped, _cut, _longer, _another, _writable, _owned, _linked, _gone, _folder_instead,
)  # fmt: skip


def draw(rng: random.Random) -> Callable[[], list[Array]]:
    """Return a call whose kind is drawn from every field of the keys of kernels and plans."""
    own = np.random.default_rng(rng.getrandbits(32))
    dtype = rng.choice(["f2", "f4", "f8"])
    shape = rng.choice([(7,), (5, 3), (40, 2), (3, 90), (2, 3, 4)])
    shape = rng.choice([shape, shape[::-1]])
    x = own.uniform(0.1, 0.9, shape).astype(dtype)
    y = own.uniform(0.1, 0.9, shape).astype(rng.choice([dtype, "f4"]))
    options: dict[str, Any] = {"reduction": rng.choice(["mean", "sum", "none"])}
    losses: list[Any] = [tinyloss.mse, tinyloss.mae, tinyloss.kl_div, tinyloss.huber]
    loss: Any = rng.choice(losses)
    if loss is tinyloss.huber:
        options["delta"] = rng.choice([0.25, 0.5, 1.0])
    elif rng.random() < 0.3:
        loss, y = tinyloss.cross_entropy, own.integers(0, shape[-1], shape[:-1])
        y = y.astype(rng.choice(["i1", "i8", "u2"]))
    if rng.random() < 0.3:
        x = np.asfortranarray(x)
    if rng.random() < 0.3:
        x = np.repeat(x, 2, axis=0)[::2]
    rows = loss in (tinyloss.kl_div, tinyloss.cross_entropy)
    items = shape[:-1] if rows else shape
    if rng.random() < 0.3:
        options["weight"] = own.uniform(0.5, 2, rng.choice([items, ()]))
    if rng.random() < 0.3:
        options["where"] = own.random(items) < 0.7
    if options["reduction"] == "mean" and rng.random() < 0.3:
        options["denominator"] = rng.choice([3, 7.5])
    asked = rng.choice(["value", "gradient", "both"])

    def call() -> list[Array]:
        if asked == "value":
            return [loss(x, y, **options)]
        derive: Any = tinyloss.value_and_grad(loss)
        if asked == "gradient":
            derive = tinyloss.grad(loss)
            return [derive(x, y, **options)]
        return [*derive(x, y, **options)]

    return call


def check(call: Callable[[], list[Array]]) -> None:
    """Compare a compiled call with the formulas."""
    with tinyloss_numpy.compilation("always"):
        results = call()
    with tinyloss_numpy.compilation("never"):
        expected = call()
    for got, want in zip(results, expected, strict=True):
        assert got.dtype == want.dtype
        # eps of half precision where results are rounded to it, else of float32 through few steps
        rtol = 2.0**-9 if got.dtype == np.float16 else 2e-5
        np.testing.assert_allclose(got, want, rtol=rtol, atol=rtol)


_RACE = """
import hashlib, sys, numpy as np, tinyloss, tinyloss_numpy
x = np.linspace(-3, 3, 1000)
with tinyloss_numpy.compilation("always"):
    for loss in (tinyloss.mse, tinyloss.mae):
        value, gradient = tinyloss.value_and_grad(loss)(x, np.cos(x))
        print(value.tobytes().hex(), hashlib.sha256(gradient).hexdigest())
"""


def race(rng: random.Random, folder: Path) -> None:
    """Have processes compile the same while files are damaged; all must give the same bits."""
    env = os.environ | {"XDG_CACHE_HOME": str(folder), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-W", "error", "-c", _RACE]
    started = [
        subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    while any(each.poll() is None for each in started):
        for file in [path for path in folder.rglob("*") if path.is_file()]:
            try:
                rng.choice([_flipped, _cut, _gone])(rng, file)
            except (OSError, ValueError):
                continue  # another process was faster
        time.sleep(0.01)
    printed = {each.communicate()[0] for each in started}
    assert [each.returncode for each in started] == [0, 0, 0]
    assert len(printed) == 1, printed


def caches(rng: random.Random, deadline: float) -> Counts:
    """Draw calls and damage what is kept of them until the time is up."""
    counts: Counter[str] = Counter()
    compile_text = _compiler._compile

    def counted(*args: Any) -> bytes:
        counts["compiled"] += 1
        return compile_text(*args)

    with (
        tempfile.TemporaryDirectory() as place,
        mock.patch.object(disk, "_folder", return_value=Path(place) / "tinyloss" / "kernels"),
        mock.patch.object(_compiler, "_compile", counted),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("error", RuntimeWarning)
        folder = Path(place) / "tinyloss" / "kernels"
        seeds: list[int] = []
        while counts["calls"] == 0 or time.monotonic() < deadline:
            # now and then one that was there before, whose kernel may have been damaged since
            new = len(seeds) < 8 or rng.random() < 0.05
            seed = rng.getrandbits(32) if new else rng.choice(seeds)
            seeds += [seed] * new
            check(draw(random.Random(seed)))
            counts["calls"] += 1
            if rng.random() < 0.2:  # as a new process, which has its kernels on disk alone
                tinyloss.clear_caches()
                counts["forgotten"] += 1
            kept = [path for path in folder.iterdir() if path.is_file()]
            if kept and rng.random() < 0.1:
                rng.choice(DAMAGE)(rng, rng.choice(kept))
                counts["damaged"] += 1
            if folder.stat().st_mode & 0o022 and rng.random() < 0.3:
                folder.chmod(0o700)
            if rng.random() < 0.002:
                with tempfile.TemporaryDirectory() as shared:
                    race(rng, Path(shared))
                counts["races"] += 1
    return dict(counts)


if __name__ == "__main__":
    timed(caches)
