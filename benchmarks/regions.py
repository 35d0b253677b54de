"""Time and memory of a loss of regions of logits, beside reading and writing these.

    python -m benchmarks.regions [--size PIXELS] [--only TEXT,...] [--rounds N] [--json PATH]

All contenders compute the mean Dice loss of 8 images of 21 classes by softmax, and its gradient by
the logits, in float32 with two threads. The first copies the logits into a new array, twice, as the
probabilities and the gradient are new: the ratio is the time over that. *MONAI's formula* is what
its `DiceLoss` computes with `softmax=True, to_onehot_y=True`, written down here. Times are medians
of the wall clock.

Extra memory is the growth of the process's peak resident memory beyond the gradient. A run of full
size, 512 x 512, writes `benchmarks/results/regions.json`.
"""

import argparse
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks._peaks import measured, print_records, returns_memory
from benchmarks._printing import write_report
from benchmarks.scores import LIBRARIES, RESULTS
from tinyloss.cli.measure import busy, circumstances, library, settle

_IMAGES, _CLASSES, _SIZE, _THREADS = 8, 21, 512, 2


def contenders(size: int) -> dict[str, Callable[[], Any]]:
    """Return what is measured, by name; the first is what the others are compared with."""
    import numpy as np

    import tinyloss

    rng = np.random.default_rng(0)
    x = rng.standard_normal((_IMAGES, _CLASSES, size, size), np.float32)
    y = rng.integers(0, _CLASSES, (_IMAGES, size, size))
    both: Any = tinyloss.value_and_grad(tinyloss.dice)
    pool = ThreadPoolExecutor(_THREADS)

    def traffic() -> None:
        for _ in range(2):
            out = np.empty_like(x)
            list(pool.map(np.copyto, out, x))

    return {
        "read and write the logits twice": traffic,
        "NumPy: dice": lambda: both(x, y, axis=(2, 3), from_logits="softmax"),
        **_of_torch(x, y),
    }


def _of_torch(x: Any, y: Any) -> dict[str, Callable[[], Any]]:
    torch = library("torch")
    if torch is None:
        return {}
    import tinyloss

    torch.set_num_threads(_THREADS)

    def of_monai(x: Any, y: Any) -> Any:
        # monai/losses/dice.py, DiceLoss.forward with smooth_nr = smooth_dr = 1e-5
        p = torch.softmax(x, 1)
        one_hot = torch.zeros_like(x).scatter_(1, y[:, None], 1.0)
        intersection = (one_hot * p).sum((2, 3))
        denominator = one_hot.sum((2, 3)) + p.sum((2, 3))
        return (1 - (2 * intersection + 1e-5) / (denominator + 1e-5)).mean()

    def ours(x: Any, y: Any) -> Any:
        return tinyloss.dice(x, y, axis=(2, 3), from_logits="softmax")

    def backward(loss: Callable[[Any, Any], Any]) -> Callable[[], Any]:
        def run() -> Any:
            logits = torch.from_numpy(x).detach().requires_grad_()
            loss(logits, torch.from_numpy(y)).backward()
            return logits.grad

        return run

    return {"torch: MONAI's formula": backward(of_monai), "torch: dice": backward(ours)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=int, default=_SIZE)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", default="")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    returns_memory()
    settle(_THREADS)
    before = busy()
    wanted = given.only.split(",")
    tasks = {
        name: call
        for name, call in contenders(given.size).items()
        if any(text in name for text in wanted)
    }
    shape = _IMAGES, _CLASSES, given.size, given.size
    gradient = _IMAGES * _CLASSES * given.size**2 * 4 / 2**20
    print(f"gradient {gradient:.0f} MiB; {before:.0%} busy before")
    start = perf_counter()
    results = list(measured(tasks, given.rounds, gradient, perf_counter))
    print_records(results)
    whole = given.size == _SIZE and not given.only
    path = given.json or (RESULTS / "regions.json" if whole else None)
    if path:
        report = circumstances(LIBRARIES, _THREADS, before, perf_counter() - start, [])
        write_report(path, {**report, "shape": shape}, {"results": results})


if __name__ == "__main__":
    main()
