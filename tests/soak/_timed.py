"""Run a soak test for some minutes, from a seed, and print its counts."""

import argparse
import json
import random
import time
from collections.abc import Callable

Counts = dict[str, int]
Soak = Callable[[random.Random, float], Counts]
"""soak(rng, deadline) runs until `time.monotonic()` is past `deadline`, and returns its counts."""


def run(main: Soak, minutes: float, seed: int) -> Counts:
    """Return the counts of a soak test."""
    return main(random.Random(seed), time.monotonic() + 60 * minutes)


def timed(main: Soak) -> None:
    """Run a soak test as the command line says, and print its counts as JSON."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    print(json.dumps({"seed": args.seed, **run(main, args.minutes, args.seed)}))
