"""The time of an eager call beyond the NumPy operations of its formula, on a small batch.

    python -m benchmarks.overhead

Cross-entropy of 32 x 10 float32 logits: the public call and the same formula in NumPy take turns
in one process. Nothing is compiled.
"""

import argparse
import json
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import tinyloss
import tinyloss_numpy
from benchmarks._measure import Ratio, Task, interleaved, machine, versions

ROUNDS = 60


def exp_difference(x: Any, m: Any) -> Any:
    """Return exp(x - m), corrected for the rounding of x - m as in the library."""
    d = x - m
    u = d - x
    r = (x - (d - u)) - (m + u)
    e = np.exp(d)
    return e + e * np.where(np.abs(d) < 1e18, r, 0.0)


def bare(x: Any, y: Any) -> Any:
    """Return cross-entropy with class indices: its formula, nothing else."""
    target = np.arange(x.shape[-1], dtype=y.dtype) == y[..., None]
    m = np.max(x, axis=-1, keepdims=True)
    xt = np.sum(np.where(target, x, 0.0), axis=-1, keepdims=True)
    e, et = exp_difference(x, m), exp_difference(xt, m)
    o = np.sum(np.where(target, 0.0, e), axis=-1, keepdims=True)
    rest = o + (et - 1)
    return np.sum(((m - xt) + np.log1p(rest))[..., 0]) / x.shape[0]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/overhead.json"))
    path = parser.parse_args().json
    rng = np.random.default_rng(0)
    x = rng.standard_normal((32, 10), dtype=np.float32)
    y = rng.integers(0, 10, 32)
    with tinyloss_numpy.compilation("never"):
        assert bare(x, y) == tinyloss.cross_entropy(x, y)
        seconds = interleaved(
            {
                "call": Task(lambda: tinyloss.cross_entropy(x, y)),
                "bare": Task(lambda: bare(x, y)),
            },
            seconds=0,
            fewest=ROUNDS,
            most=ROUNDS,
        )
    call, formula = seconds["call"], seconds["bare"]
    pairs = zip(call.samples, formula.samples, strict=True)
    result = {
        "call_us": round(call.median * 1e6, 2),
        "bare_us": round(formula.median * 1e6, 2),
        "overhead_us": round(median(a - b for a, b in pairs) * 1e6, 2),
        **Ratio.of(call, formula).summary(),
        "machine": machine(),
        "versions": versions(("tinyloss", "numpy")),
    }
    print(
        f"cross_entropy 32 x 10: call {result['call_us']} us, bare NumPy {result['bare_us']} us, "
        f"overhead {result['overhead_us']} us (target 15), ratio {result['ratio']}"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
