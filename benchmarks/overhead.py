"""The time of an eager call on a small batch: cross-entropy of 32 x 10 float32 logits.

    python -m benchmarks.overhead [--against DIR] [--rounds 5]

Compiled and not, with each option, beside torch and beside the same formula in plain NumPy. All
take turns in one process. With --against the same is measured of another checkout, whose processes
take turns with those of this one: the ratio is this one's time over the other's.
"""

import argparse
import inspect
import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import tinyloss
import tinyloss_numpy
from tinyloss.cli.measure import Task, interleaved, machine, versions

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


def tasks() -> dict[str, Task]:
    """Return the calls to measure."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((32, 10), dtype=np.float32)
    y = rng.integers(0, 10, 32)
    weight, where = rng.random(32, dtype=np.float32), rng.random(32) > 0.3
    of_classes, out = rng.random(10, dtype=np.float32), np.empty_like(x)
    value: Any = tinyloss.cross_entropy
    both: Any = tinyloss.value_and_grad(value)
    gradient: Any = tinyloss.grad(value)
    into: Any = tinyloss.value_and_grad(value, out=out)
    calls: dict[str, Any] = {
        "value": lambda: value(x, y),
        "value and gradient": lambda: both(x, y),
        "gradient": lambda: gradient(x, y),
        "weight": lambda: both(x, y, weight=weight),
        "where": lambda: both(x, y, where=where),
        "ignore_index": lambda: both(x, y, ignore_index=3),
        "class_weight": lambda: both(x, y, class_weight=of_classes),
        "out": lambda: into(x, y),
    }

    def in_mode(mode: Any, call: Any) -> Any:
        def run() -> Any:
            with tinyloss_numpy.compilation(mode):
                return call()

        return run

    found = {name: Task(in_mode("always", call)) for name, call in calls.items()}
    found |= {
        f"{name}, not compiled": Task(in_mode("never", calls[name]))
        for name in ("value", "value and gradient", "weight", "ignore_index")
    }
    found["plain NumPy: value"] = Task(lambda: bare(x, y))
    try:
        import torch
    except ImportError:
        return found
    logits, labels = torch.from_numpy(x).requires_grad_(), torch.from_numpy(y)
    cross_entropy: Any = torch.nn.functional.cross_entropy

    def backward() -> None:
        logits.grad = None
        cross_entropy(logits, labels).backward()

    found["torch: value"] = Task(lambda: cross_entropy(logits.detach(), labels))
    found["torch: value and gradient"] = Task(backward)
    return found


def measured() -> dict[str, float]:
    """Return the microseconds of each call."""
    seconds = interleaved(tasks(), seconds=0, fewest=ROUNDS, most=ROUNDS)
    return {name: round(each.median * 1e6, 2) for name, each in seconds.items()}


# An older checkout measures by this one's code.
CHILD = """
import json, runpy, sys
from importlib.util import module_from_spec, spec_from_file_location
paths, this, measuring = json.loads(sys.argv[1])
sys.path[:0] = paths
spec = spec_from_file_location("tinyloss.cli.measure", measuring)
sys.modules[spec.name] = module = module_from_spec(spec)
spec.loader.exec_module(module)
print(json.dumps(runpy.run_path(this)["measured"]()))
"""


def of_checkout(root: Path) -> dict[str, float]:
    """Return what a process measures whose packages are those of a checkout."""
    given = json.dumps(
        [[str(root), str(root / "backends")], __file__, inspect.getfile(interleaved)]
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", CHILD, given], stdout=subprocess.PIPE, text=True, check=True
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", type=Path, help="another checkout of tinyloss")
    parser.add_argument("--rounds", type=int, default=5, help="processes of each; default 5")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/overhead.json"))
    given = parser.parse_args()
    roots = [Path(__file__).parents[1]] + [given.against] * (given.against is not None)
    rounds = [[of_checkout(root.resolve()) for root in roots] for _ in range(given.rounds)]
    names = list(rounds[0][0])
    times = {
        name: [median(each[k][name] for each in rounds) for k in range(len(roots))]
        for name in names
    }
    plain = times["value and gradient"][0]
    result: dict[str, Any] = {}
    for name, (own, *other) in times.items():
        row = {"us": round(own, 2), "over value and gradient": round(own / plain, 2)}
        if other and not name.startswith(("torch", "plain")):
            pairs = [each[0][name] / each[1][name] for each in rounds]
            row |= {"other_us": round(other[0], 2), "ratio": round(median(pairs), 2)}
        result[name] = row
        print(f"{name:32}", "  ".join(f"{key} {value}" for key, value in row.items()))
    report = {"calls": result, "machine": machine(), "versions": versions(("tinyloss", "numpy"))}
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
