"""Cross-entropy from 2 to 262144 classes, and BCE, beside another checkout and beside JAX.

    python -m benchmarks.classes [--against DIR] [--classes 64,1000] [--rounds 9] [--json PATH]

Each work has 1.6 million logits, BCE four million. Each contender is a process of its own with two
threads; they take turns, a sample each in every round. *ms* is the median time of a call. The
ratios are this checkout's time over the other's: medians, with the quartiles of the ratios of the
same round. The ratios of *work* are those of the least processor time, of all threads, which other
programs on the machine disturb less.

Without --classes the results are written to `benchmarks/results/classes-CPU.json`, named by the
processor and its vectors. With `PYTHONPATH=benchmarks/avx2` the libraries leave AVX-512 out.
"""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from rich.table import Table

from benchmarks._printing import console_of, digits, spread, write_report
from tinyloss.cli.measure import Ratio, Timing, busy, circumstances, settle

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
CLASSES = (2, 4, 10, 16, 32, 64, 79, 100, 128, 200, 500, 1000, 4000, 16000, 64000, 262144)
ASKS = ("value", "value and gradient")
THREADS = 2
MODULES = ("tinyloss", "numpy", "llvmlite", "jax", "optax")

SERVER = """
import json, sys, time
import numpy as np

def arrays(classes):
    random = np.random.default_rng(0)
    if not classes:
        x = random.standard_normal(4_000_000, dtype=np.float32)
        return x, (x > 0).astype(np.float32)
    items = 1_600_000 // classes
    x = 3 * random.standard_normal((items, classes), dtype=np.float32)
    return x, random.integers(0, classes, items)

def of_tinyloss(classes, ask):
    import tinyloss, tinyloss_numpy
    x, y = arrays(classes)
    loss = tinyloss.cross_entropy if classes else tinyloss.binary_cross_entropy_with_logits
    call = loss if ask == "value" else tinyloss.value_and_grad(loss, out=np.empty_like(x))
    def run():
        with tinyloss_numpy.compilation("always"):
            call(x, y)
    return run

def of_jax(classes, ask):
    import jax, optax
    x, y = map(jax.numpy.asarray, arrays(classes))
    loss = (optax.softmax_cross_entropy_with_integer_labels if classes
            else optax.sigmoid_binary_cross_entropy)
    mean = lambda x, y: loss(x, y).mean()
    call = jax.jit(mean if ask == "value" else jax.value_and_grad(mean))
    return lambda: jax.block_until_ready(call(x, y))

work = call = None
for line in sys.stdin:
    contender, classes, ask = json.loads(line)
    if (classes, ask) != work:
        work, call = (classes, ask), globals()["of_" + contender](classes, ask)
        call()
    call()
    seconds, processor = [], []
    while not seconds or (sum(seconds) < 0.02 and len(seconds) < 50):
        a, b = time.perf_counter(), time.process_time()
        call()
        processor.append(time.process_time() - b)
        seconds.append(time.perf_counter() - a)
    print(json.dumps([sum(seconds) / len(seconds), min(processor)]), flush=True)
"""


class Contender:
    """A process that times calls."""

    def __init__(self, library: str, root: Path = ROOT) -> None:
        self.library = library
        paths = [str(root), str(root / "backends")]
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", f"import sys; sys.path[:0] = {paths!r}\n{SERVER}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def sample(self, classes: int, ask: str) -> tuple[float, float]:
        """Return the mean time of a call and the least processor time, in seconds."""
        given, told = self._process.stdin, self._process.stdout
        assert given is not None
        assert told is not None
        given.write(json.dumps([self.library, classes, ask]) + "\n")
        given.flush()
        line = told.readline()
        if not line:
            raise RuntimeError(f"the process of {self.library} ended: is it installed?")
        seconds, processor = json.loads(line)
        return seconds, processor

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def measure(
    contenders: dict[str, Contender], classes: int, ask: str, rounds: int
) -> dict[str, Any]:
    """Return the row of a work: our time, and the ratios to each other contender."""
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, contender in contenders.items():
            taken = contender.sample(classes, ask)
            if number:  # the first may have compiled
                samples[name].append(taken)
    times = {name: Timing(tuple([a for a, _ in each])) for name, each in samples.items()}
    works = {name: min(b for _, b in each) for name, each in samples.items()}
    work = f"cross_entropy {classes} classes" if classes else "binary_cross_entropy_with_logits"
    row: dict[str, Any] = {"work": work, "classes": classes, "ask": ask}
    row["ms"] = float(f"{times['tinyloss'].median * 1e3:.4g}")
    for name in contenders:
        if name != "tinyloss":
            row[name] = Ratio.of(times["tinyloss"], times[name]).summary()
            row[name]["work"] = float(f"{works['tinyloss'] / works[name]:.3g}")
    return row


def name_of_cpu(machine: dict[str, Any]) -> str:
    """Return a processor's name as part of a file's."""
    named = f"{machine['cpu']} {machine['vectors'].replace('-', '')}"
    return "-".join(re.findall("[a-z0-9]+", named.lower()))


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="benchmarks.classes", description=__doc__)
    parser.add_argument("--against", type=Path, help="another checkout of tinyloss")
    parser.add_argument("--classes", default="", help="numbers with commas between; 0 is BCE")
    parser.add_argument("--rounds", type=int, default=9, help="samples of each; default 9")
    parser.add_argument("--json", type=Path, help="where results are written")
    given = parser.parse_args()
    if given.rounds < 2:
        parser.error(f"--rounds: {given.rounds}, expected 2 or more")
    try:
        chosen = [int(each) for each in given.classes.split(",") if each] or [*CLASSES, 0]
    except ValueError:
        parser.error(f"--classes: {given.classes!r}, expected whole numbers with commas between")
    if given.against is not None and not (given.against / "tinyloss").is_dir():
        parser.error(f"--against: {given.against} has no folder tinyloss")
    settle(THREADS)
    others = busy()
    contenders = {"tinyloss": Contender("tinyloss"), "jax": Contender("jax")}
    if given.against is not None:
        contenders["other"] = Contender("tinyloss", given.against.resolve())
    peers = [name for name in contenders if name != "tinyloss"]
    console = console_of(110)
    rows: list[dict[str, Any]] = []
    for classes in chosen:
        for ask in ASKS:
            rows.append(measure(contenders, classes, ask, given.rounds))
            line = [f"{rows[-1]['work']}, {ask}: {rows[-1]['ms']} ms"]
            line += [f"{name} {digits(rows[-1][name]['ratio'])}" for name in peers]
            console.print(", ".join(line))
    for contender in contenders.values():
        contender.close()

    table = Table(title="tinyloss's time over the other's", title_justify="left")
    for column in ("work", "ask", "ms", *[f"{n}{m}" for n in peers for m in ("", ", work")]):
        table.add_column(column, justify="left" if column in ("work", "ask") else "right")
    for row in rows:
        cells = [row["work"], row["ask"], digits(row["ms"])]
        for name in peers:
            ratio = row[name]
            cells.append(spread(Ratio(ratio["ratio"], ratio["low"], ratio["high"])))
            cells.append(digits(ratio["work"]))
        table.add_row(*cells)
    console.print(table)
    means: list[dict[str, Any]] = []
    for ask in ASKS:
        some = [row for row in rows if row["ask"] == ask and row["classes"]]
        if some:
            means.append({"ask": ask})
            for name in peers:
                mean = {
                    key: float(f"{geometric_mean([row[name][key] for row in some]):.3g}")
                    for key in ("ratio", "work")
                }
                means[-1][name] = mean
                console.print(
                    f"{ask}, all classes: {digits(mean['ratio'])} of the time of {name}, "
                    f"{digits(mean['work'])} of its work"
                )
    report = circumstances(MODULES, THREADS, others, 0, [])
    default = RESULTS / f"classes-{name_of_cpu(report['machine'])}.json"
    path = given.json or (None if given.classes else default)
    if path is not None:
        write_report(path, report, {"measurements": rows, "means": means})
    return 0


if __name__ == "__main__":
    sys.exit(main())
