"""The tables of the documentation, from what was measured: `python -m benchmarks.tables [NAME...]`.

Nothing is measured here. A table is as old as its file in `benchmarks/results`, which says on what
machine, with which versions and when.
"""

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from benchmarks import accuracy
from benchmarks._printing import digits, markdown_table
from benchmarks.accuracy import RESULTS

__all__ = ["TABLES"]

Rows = list[dict[str, Any]]


def report(name: str) -> dict[str, Any]:
    """Return the results of a benchmark."""
    found: dict[str, Any] = json.loads((RESULTS.parent / f"{name}.json").read_text("utf-8"))
    return found


def titled(work: str) -> str:
    loss, _, size = work.partition(" ")
    return f"`{loss}` {size}"


def by_work(rows: Iterable[dict[str, Any]]) -> dict[str, Rows]:
    found: dict[str, Rows] = {}
    for row in rows:
        found.setdefault(row["work"], []).append(row)
    return found


def ratios(rows: Iterable[dict[str, Any]], columns: Mapping[str, str]) -> str:
    """Return a table of ratios to tinyloss: of the value, then of value and gradient."""
    lines = [
        [
            titled(work),
            *[
                ", ".join(digits(r["ratios"][name]["ratio"]) for r in same if name in r["ratios"])
                for name in columns
            ],
        ]
        for work, same in by_work(rows).items()
    ]
    return "\n".join(markdown_table(["work", *columns.values()], lines))


def beside(*names: str) -> dict[str, str]:
    return {name: f"{name} / tinyloss" for name in names}


def cpu() -> str:
    rows = [row for row in report("cpu")["measurements"] if row["section"] == "shapes"]
    peers = beside("torch", "torch.compile", "jax.jit", "scikit-learn", "NumPy")
    return ratios(rows, {"floor": "tinyloss / floor", **peers})


def cpu_memory() -> str:
    rows = [row for row in report("cpu")["memory"] if row["contender"] != "nothing"]
    names = dict.fromkeys(row["contender"] for row in rows)
    found = {(row["what"], row["contender"]): f"{row['extra_mb']:.1f}" for row in rows}
    lines = [
        [what, *[found.get((what, name), "") for name in names]]
        for what in dict.fromkeys(row["what"] for row in rows)
    ]
    return "\n".join(markdown_table(["extra memory, MB", *names], lines))


def torch() -> str:
    peers = ("tinyloss on NumPy", "tinyloss, torch.compile", "torch", "torch.compile")
    return ratios(report("torch")["measurements"], beside(*peers))


def torch_memory() -> str:
    rows = report("torch")["memory"]
    names = dict.fromkeys(row["contender"] for row in rows)
    lines: list[list[str]] = []
    for work, same in by_work(rows).items():
        extra = {row["contender"]: f"{row['extra_mb']:.1f}" for row in same}
        lines.append([titled(work), *[extra.get(name, "") for name in names]])
    return "\n".join(markdown_table(["extra memory, MB", *names], lines))


OVERVIEW = {
    "cpu": ("mse 50M", "binary_cross_entropy_with_logits 50M", "cross_entropy 2048 x 32000"),
    "torch": ("cross_entropy 2048 x 32768", "cross_entropy 32 x 10"),
}
"""README's choice: what is large, and the smallest."""
ARRAYS = {"cpu": "NumPy arrays", "torch": "torch's tensors"}


def overview() -> str:
    """Return README's table: of value and gradient, beside other libraries."""
    peers = {"torch": "torch", "torch.compile": "`torch.compile`", "jax.jit": "`jax.jit`, optax"}
    lines: list[list[str]] = []
    for name, works in OVERVIEW.items():
        for work, rows in by_work(report(name)["measurements"]).items():
            if work in works:
                (row,) = [each for each in rows if each["what"] == "value and gradient"]
                known = [row["ratios"].get(peer) for peer in peers]
                cells = [digits(each["ratio"]) if each else "" for each in known]
                lines.append([titled(work), ARRAYS[name], *cells])
    found = report("scores_large")
    times = {each["name"]: each["seconds"] for each in found["results"]}
    ratio = times["torch: F.linear_cross_entropy"] / times["NumPy: linear_cross_entropy"]
    size = "{0} x {2}".format(*found["shape"])
    lines.append([titled(f"linear_cross_entropy {size}"), ARRAYS["cpu"], digits(ratio), "", ""])
    return "\n".join(markdown_table(["value and gradient", "of", *peers.values()], lines)) + "\n"


def jax() -> str:
    rows = [
        {**row, "work": f"{row['work']}, without `jax.jit`"} if row["section"] == "eager" else row
        for row in report("jax")["measurements"]
    ]
    return ratios(rows, beside("tinyloss.value_and_grad", "optax", "jax.nn"))


def jax_memory() -> str:
    rows = report("jax")["memory"]
    names = dict.fromkeys(row["contender"] for row in rows)
    lines: list[list[str]] = []
    for work, same in by_work(rows).items():
        cells = {
            name: ", ".join(
                f"{row['temporaries_mib']:.0f}" for row in same if row["contender"] == name
            )
            for name in names
        }
        lines.append([titled(work), *cells.values()])
    return "\n".join(markdown_table(["temporaries, MiB", *names], lines))


def scores() -> str:
    return _of_scores("scores", "{0} x {1} features, {2} classes")


def scores_of_pairs() -> str:
    return _of_scores("scores_pairs", "{0} pairs of {1} features")


def _of_scores(name: str, size: str) -> str:
    found = report(name)
    lines = [
        [each["name"], digits(each["seconds"]), digits(each["ratio"]), str(each["extra_mib"])]
        for each in found["results"]
    ]
    heads = [size.format(*found["shape"]), "seconds", "of the products' time", "extra MiB"]
    return "\n".join(markdown_table(heads, lines))


def scores_by_chunks() -> str:
    found = report("scores")
    rows, torch = found["errors"], found["versions"]["torch"].partition("+")[0]
    names = {
        "tinyloss": "`tinyloss.linear_cross_entropy`",
        "torch": f"`F.linear_cross_entropy` of torch {torch}",
    }
    lines = [
        [title, *[str(row["errors"][name]) for row in rows]]
        for name, title in names.items()
        if name in rows[0]["errors"]
    ]
    return "\n".join(markdown_table(["chunks", *[str(row["chunks"]) for row in rows]], lines))


def gpu() -> str:
    lines: list[list[str]] = []
    for work, same in by_work(report("gpu")["measurements"]).items():
        rows = [row for row in same if row["what"] in ("value", "value and gradient")]
        rows = [row for row in rows if "tinyloss" in row["seconds"]]
        if not rows:
            continue
        cells = [
            ", ".join(digits(row["seconds"]["tinyloss"]["median"] * 1e3) for row in rows),
            ", ".join(f"{row['of_copy']['tinyloss']:.0%}" for row in rows if row.get("of_copy")),
        ]
        for name in ("torch", "torch.compile", "CuPy eager"):
            known = [row["ratios"][name]["ratio"] for row in rows if name in row["ratios"]]
            cells.append(", ".join(map(digits, known)))
        lines.append([titled(work), *cells])
    heads = ["work", "ms", "of a copy's bandwidth"]
    peers = [f"{name} / tinyloss" for name in ("torch", "torch.compile", "CuPy eager")]
    return "\n".join(markdown_table([*heads, *peers], lines))


def gpu_scores() -> str:
    lines: list[list[str]] = []
    for row in report("gpu_scores")["rows"]:
        size = "{0} x {1} features, {2} classes, {dtype}".format(*row["shape"], dtype=row["dtype"])
        for name, ms in row["milliseconds"].items():
            lines.append([size, name, digits(ms), str(row["mib"][name])])
    return "\n".join(markdown_table(["last layer", "by", "ms", "MiB"], lines))


TABLES: dict[str, Callable[[], str]] = {
    "accuracy": lambda: accuracy.markdown(accuracy.read(RESULTS)),
    "cpu": cpu,
    "cpu memory": cpu_memory,
    "torch": torch,
    "torch memory": torch_memory,
    "jax": jax,
    "jax memory": jax_memory,
    "gpu": gpu,
    "gpu scores": gpu_scores,
    "scores": scores,
    "scores of pairs": scores_of_pairs,
    "scores by chunks": scores_by_chunks,
}


if __name__ == "__main__":
    wanted = sys.argv[1:] or [*TABLES]
    print(*[TABLES[name]() for name in wanted], sep="\n\n")
