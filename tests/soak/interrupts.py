"""Processes that break off calls of losses at random moments, and must end well."""

import inspect
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import tinyloss
import tinyloss_numpy
from tests.soak._timed import Counts, timed

ROOT = Path(__file__).parents[2]


def storm_in_a_process(minutes: float, seed: int, **environment: str) -> Counts:
    """Return the counts of a storm in a process of its own, which ended without a crash."""
    roots = [str(Path(inspect.getfile(m)).parents[1]) for m in (tinyloss, tinyloss_numpy)]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(roots)} | environment
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.soak.storm"]
    command += [f"--minutes={minutes}", f"--seed={seed}"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, f"seed {seed}: {done.returncode}\n{done.stderr}"
    counts: Counts = json.loads(done.stdout)
    del counts["seed"]
    return counts


def interrupts(rng: random.Random, deadline: float) -> Counts:
    """Run one storm after the other until the time is up, each with a cold cache of kernels."""
    total: Counter[str] = Counter()
    while total["processes"] == 0 or time.monotonic() < deadline:
        minutes = min(0.5, max(0.05, (deadline - time.monotonic()) / 60))
        with tempfile.TemporaryDirectory() as cache:
            total.update(storm_in_a_process(minutes, rng.getrandbits(31), XDG_CACHE_HOME=cache))
        total["processes"] += 1
    return dict(total)


if __name__ == "__main__":
    timed(interrupts)
