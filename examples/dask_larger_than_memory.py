"""A cross-entropy over more logits than fit into memory, with Dask.

    python examples/dask_larger_than_memory.py
    python examples/dask_larger_than_memory.py --rows 400000 --classes 10000 --chunk-rows 2000
    python examples/dask_larger_than_memory.py --rows 400000 --classes 10000 --chunk-classes 50
    python examples/dask_larger_than_memory.py --workers 2

The logits come block by block from a random generator, as they could from Zarr or Parquet. Nothing
runs before `dask.compute`, which computes loss and gradient together from one graph. The gradient
is as large as the logits. Here it is reduced to its sum of squares; a model would reduce it to the
gradient of its weights. Blocks with all classes of their rows are read once. If rows are split over
blocks that are too large to be put together, each block is read three times: for the maximum, the
sum and the gradient.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
from dask.diagnostics import ProgressBar

import tinyloss


def make_data(
    rows: int, classes: int, chunk_rows: int, chunk_classes: int, seed: int = 0
) -> tuple[Any, Any, Any]:
    """Return logits, labels and weights, which are generated when they are computed."""
    rng = da.random.default_rng(seed)
    blocks: Any = (chunk_rows, chunk_classes)
    logits = rng.standard_normal((rows, classes), chunks=blocks, dtype=np.float32)
    labels = rng.integers(0, classes, rows, chunks=blocks[0])
    weights = rng.uniform(0.5, 2.0, rows, chunks=blocks[0])
    return logits, labels, weights


def memory_mib(what: str = "VmRSS") -> float:
    """Return this process's memory, now or at its peak (VmHWM); NaN on other systems than Linux."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return float("nan")
    return int(next(line for line in lines if line.startswith(what)).split()[1]) / 1024


def compute(logits: Any, labels: Any, weights: Any) -> tuple[float, float]:
    """Return the weighted loss, and the sum of squares of its gradient."""
    loss, gradient = tinyloss.value_and_grad(tinyloss.cross_entropy)(logits, labels, weight=weights)
    value, squares = dask.compute(loss, (gradient * gradient).sum(dtype=np.float64))
    return float(value), float(squares)


def main(arguments: list[str] | None = None) -> None:
    """Compute with the command line's options and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--classes", type=int, default=5_000)
    parser.add_argument("--chunk-rows", type=int, help="rows of a block (default: all or a tenth)")
    parser.add_argument("--chunk-classes", type=int, help="classes of a block (default: all)")
    parser.add_argument(
        "--split", action="store_true", help="never put the blocks of rows together"
    )
    parser.add_argument("--workers", type=int, default=0, help="processes (default: threads)")
    parser.add_argument("--json", action="store_true", help="report as one line of JSON")
    options = parser.parse_args(arguments)
    rows, classes = options.rows, options.classes
    chunk_rows = options.chunk_rows or (rows if options.chunk_classes else max(1, rows // 10))
    chunk_classes = options.chunk_classes or classes

    cluster: Any = nullcontext()
    if options.workers:
        from dask.distributed import Client

        processes: Any = {"n_workers": options.workers, "threads_per_worker": 1}
        cluster = Client(**processes, dashboard_address=None)
    size = "1 B" if options.split else dask.config.get("array.chunk-size")
    with cluster, dask.config.set({"array.chunk-size": size}):
        # what is imported and compiled once is no part of the data
        compute(*make_data(64, classes, 64, chunk_classes))
        before, start = memory_mib(), time.perf_counter()
        logits, labels, weights = make_data(rows, classes, chunk_rows, chunk_classes)
        with ProgressBar(minimum=3.0, out=sys.stderr):  # of seconds; for threads alone
            loss, squares = compute(logits, labels, weights)
        seconds = time.perf_counter() - start
    report = {
        "loss": loss,
        "gradient": squares**0.5,
        "logits_mib": logits.nbytes / 2**20,
        "memory_mib": memory_mib("VmHWM") - before,
        "seconds": seconds,
    }
    if options.json:
        print(json.dumps(report))
        return
    print(f"logits    {rows} x {classes} float32, {logits.nbytes / 2**30:.2f} GiB")
    print(f"blocks    {logits.npartitions} of {chunk_rows} x {chunk_classes}")
    print(f"loss      {loss:.6f}")
    print(f"gradient  {squares**0.5:.6e} (its norm)")
    where = "in this process, beside the workers" if options.workers else "at most"
    print(f"memory    {report['memory_mib']:.0f} MiB more than before, {where}")
    print(f"time      {seconds:.1f} s")


if __name__ == "__main__":
    main()
