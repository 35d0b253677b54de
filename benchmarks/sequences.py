"""Time of CTC beside torch's and optax's: the mean loss and its gradient by logits.

    python -m benchmarks.sequences [--frames T] [--classes K] [--batch N] [--labels L]
                                   [--rounds N] [--json PATH]

All contenders take logits; torch's take `log_softmax` before. Logits are random (*far*), or those
of a model that is sure of the target (*sure*), where the probability of all else is added up.
Contenders take turns in one process, two threads each. Times are medians of the wall clock; the
ratio is the median of torch's time over tinyloss's of the same round.

With no size given the results are written to `benchmarks/results/sequences.json`.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

import tinyloss
import tinyloss_numpy
from benchmarks._printing import write_report
from tinyloss.cli.measure import busy, circumstances, library, settle

Array = npt.NDArray[Any]
LIBRARIES = ("numpy", "llvmlite", "tinyloss", "torch", "jax", "jaxlib", "optax")
RESULTS = Path(__file__).parent / "results" / "sequences.json"
SIZES = (500, 100, 32, 50)
THREADS = 2


def drawn(sizes: tuple[int, int, int, int], sure: bool, dtype: str) -> tuple[Array, Array]:
    """Return logits (T, N, K) and labels (N, L)."""
    frames, classes, batch, labels = sizes
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((frames, batch, classes)), rng.integers(1, classes, (batch, labels))
    if sure:  # of each label in turn, with blanks between
        path = np.zeros((frames, batch), int)
        path[np.arange(labels) * (frames // labels)] = y.T
        np.put_along_axis(x, path[..., None], 20.0, axis=-1)
    return x.astype(dtype), y


def contenders(x: Array, y: Array) -> dict[str, Callable[[], Any]]:
    """Return what is measured, by name."""
    both: Any = tinyloss.value_and_grad(tinyloss.ctc)

    def of_numpy() -> Any:
        with tinyloss_numpy.compilation("always"):
            return both(x, y, time_axis=0)

    found: dict[str, Callable[[], Any]] = {"NumPy: ctc": of_numpy}
    torch = library("torch")
    if torch is not None:
        torch.set_num_threads(THREADS)
        functional, labels = torch.nn.functional, torch.tensor(y)
        counts = [torch.full((len(y),), n) for n in (len(x), y.shape[1])]

        def backward(loss: Callable[[Any], Any]) -> Callable[[], Any]:
            def run() -> Any:
                own = torch.from_numpy(x).requires_grad_()
                loss(own).backward()
                return own.grad

            return run

        def theirs(own: Any) -> Any:
            scores = torch.log_softmax(own, -1)
            each = functional.ctc_loss(scores, labels, *counts, reduction="none")
            return each.mean()

        found["torch: F.ctc_loss"] = backward(theirs)
        found["torch: ctc"] = backward(lambda own: tinyloss.ctc(own, labels, time_axis=0))
    jax, optax = library("jax"), library("optax")
    if jax is not None:
        own, targets = jax.numpy.asarray(x), jax.numpy.asarray(y)

        def jitted(loss: Callable[[Any], Any]) -> Callable[[], Any]:
            run = jax.jit(jax.value_and_grad(loss))
            return lambda: jax.block_until_ready(run(own))

        found["JAX: ctc"] = jitted(lambda own: tinyloss.ctc(own, targets, time_axis=0))
        if optax is not None:
            none = jax.numpy.zeros(x.shape[1::-1]), jax.numpy.zeros(y.shape)
            found["JAX: optax.ctc_loss"] = jitted(
                lambda own: optax.ctc_loss(own.swapaxes(0, 1), none[0], targets, none[1]).mean()
            )
    return found


def measured(tasks: dict[str, Callable[[], Any]], rounds: int) -> list[dict[str, Any]]:
    """Return the record of each contender."""
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(rounds + 1):  # the first of which compiles
        for name, call in tasks.items():
            start = perf_counter()
            call()
            if turn:
                seconds[name].append(perf_counter() - start)
    reference = seconds.get("torch: F.ctc_loss")
    records: list[dict[str, Any]] = []
    for name, own in seconds.items():
        record: dict[str, Any] = {"name": name, "seconds": round(median(own), 4)}
        if reference is not None:
            ratios = [a / b for a, b in zip(reference, own, strict=True)]
            low, middle, high = quantiles(ratios, n=4)
            record["torch's time over it"] = [round(each, 2) for each in (middle, low, high)]
        records.append(record)
    return records


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for name, size in zip(("frames", "classes", "batch", "labels"), SIZES, strict=True):
        parser.add_argument(f"--{name}", type=int, default=size)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    settle(THREADS)
    before, start = busy(), perf_counter()
    sizes = given.frames, given.classes, given.batch, given.labels
    results: list[dict[str, Any]] = []
    for dtype in ("float32", "float64"):
        for sure in (False, True):
            kind = "sure" if sure else "far"
            for record in measured(contenders(*drawn(sizes, sure, dtype)), given.rounds):
                results.append({"dtype": dtype, "logits": kind, **record})
                middle = record.get("torch's time over it", [float("nan")])[0]
                print(
                    f"{dtype} {kind:4} {record['name']:22} {record['seconds'] * 1e3:8.1f} ms "
                    f"{middle:6.2f}",
                    flush=True,
                )
    path = given.json or (RESULTS if sizes == SIZES else None)
    if path:
        report = circumstances(LIBRARIES, THREADS, before, perf_counter() - start, [])
        write_report(path, {**report, "shape": sizes}, {"results": results})


if __name__ == "__main__":
    main()
