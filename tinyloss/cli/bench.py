"""`tinyloss bench`: losses side by side with other libraries', on this machine."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import tinyloss
from tinyloss.cli import measure
from tinyloss.cli._libraries import library_called
from tinyloss.cli._screen import Part, Screen, dim, good, strong, warn
from tinyloss.cli._usage import UsageError, losses_called

if TYPE_CHECKING:
    from tinyloss.cli._contenders import Contender, Work

__all__ = ["register"]

_LOSSES = ("mse", "binary_cross_entropy_with_logits", "cross_entropy")
_DTYPES = ("float32", "float64", "float16", "bfloat16")
_MODULES = ("tinyloss", "numpy", "llvmlite", "torch", "jax", "optax", "cupy", "dask")

_BUSY = 0.1
"""Share of the processors that others may take. Threads that wait for each other by spinning take
up to a hundred times as long on a busy machine, and all others look good."""

_SAME = 0.02
"""What the means of two libraries may differ by: enough to know that both do the same work."""


def register(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = add(
        "bench",
        help="time losses beside other libraries' on this machine",
        description="Time the mean of a loss and its gradient, beside other libraries' and the "
        "reading and writing of the bytes alone. All take turns in one process.",
        epilog="tinyloss bench cross_entropy --shape 8192x1000 --json > old.json, and later "
        "tinyloss bench --compare old.json new.json",
    )
    parser.add_argument("losses", nargs="*", metavar="LOSS", help=f"default: {', '.join(_LOSSES)}")
    parser.add_argument("--shape", type=_shape, help="rows x classes; default: 8192x1000")
    parser.add_argument("--dtype", choices=_DTYPES, default="float32", help="default: float32")
    parser.add_argument("--on", default="numpy", help="array libraries, with commas between")
    parser.add_argument(
        "--against",
        help="others, with commas between, of torch, torch.compile and optax; default: torch and "
        "optax if they are installed",
    )
    parser.add_argument("--threads", type=int, help="default: as many as there are CPUs")
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="of timing for each loss; default: 5"
    )
    parser.add_argument("--report", type=Path, metavar="FILE.html", help="write a page to show")
    parser.add_argument("--json", action="store_true", help="print the results for programs")
    parser.add_argument(
        "--compare", nargs=2, type=Path, metavar=("OLD.json", "NEW.json"), help="two results"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Measure, and show what came of it."""
    if arguments.compare:
        old, new = map(_read, arguments.compare)
        return _compare(old, new, arguments.json, screen)
    library_called("numpy")
    folder = None if arguments.report is None else arguments.report.parent
    if folder is not None and not folder.is_dir():  # told before minutes of measuring
        raise UsageError(f"there is no folder {str(folder)!r}", f"mkdir -p {folder}")
    report = _measured(arguments, screen)
    if arguments.report is not None:
        from tinyloss.cli._page import page

        try:
            arguments.report.write_text(page(report), encoding="utf-8")
        except OSError as error:
            raise UsageError(
                f"cannot write {arguments.report}: {error.strerror}",
                "tinyloss bench --report bench.html",
            ) from None
    if arguments.json:
        screen.json(report)
        return 0
    for number, work in enumerate(report["works"]):
        if number:
            screen.print()
        _show(work, screen)
    screen.print()
    _end(report, screen)
    if arguments.report is not None:
        screen.print(good("✓"), f" written: {arguments.report}")
    return 0


def _shape(text: str) -> tuple[int, ...]:
    """Return the numbers of `8192x1000`."""
    parts = text.lower().replace("×", "x").split("x")
    if not all(part.isdigit() and int(part) > 0 for part in parts) or len(parts) > 2:
        raise argparse.ArgumentTypeError(f"{text!r} is no shape such as 8192x1000 or 4000000")
    return tuple(map(int, parts))


# ------------------------------------------------------------------------------------- measuring


def _measured(arguments: argparse.Namespace, screen: Screen) -> dict[str, Any]:
    """Return the report of all works."""
    from tinyloss.cli._contenders import Work
    from tinyloss.cli.definitions import DEFINITIONS

    on = [library_called(each).name for each in arguments.on.split(",")]
    against = _against(arguments.against)
    threads = arguments.threads or _cpus()
    if threads < 1 or arguments.seconds <= 0:
        raise UsageError("--threads and --seconds are above 0", "tinyloss bench --help")
    works: list[Work] = []
    for loss in losses_called(arguments.losses or _LOSSES):
        shape = arguments.shape or (8192, 1000)
        if DEFINITIONS[loss].rows and len(shape) < 2:
            raise UsageError(
                f"{loss} is of rows of classes", f"tinyloss bench {loss} --shape 8192x1000"
            )
        works.append(Work(loss, shape, arguments.dtype))
    began, busy = perf_counter(), measure.busy(0.5)
    notes: dict[str, None] = {}
    results: list[dict[str, Any]] = []
    with screen.bar(len(works)) as bar:
        for work in works:
            taking_part = _ready(work, on, against, threads, notes, lambda said: bar.step(said))
            if not taking_part:
                raise UsageError("; ".join(notes), "tinyloss info")
            results.append(_timed(work, taking_part, arguments.seconds, bar.step))
            memory: dict[str, float | None] = {}
            for name in taking_part:
                bar.step(f"{work.label}: memory of {name}", 0.2 / len(taking_part))
                if not name.startswith("floor"):
                    memory[name] = _memory(work, on, against, threads, name)
            for row in results[-1]["contenders"]:
                row["extra_mb"] = memory.get(row["name"])
    circumstances = measure.circumstances(_MODULES, threads, busy, perf_counter() - began, notes)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {"tinyloss": tinyloss.__version__, "load": load, **circumstances, "works": results}


def _cpus() -> int:
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return found or 1


def _against(given: str | None) -> list[str]:
    from tinyloss.cli._contenders import AGAINST

    if given is None:
        return [each for each in ("torch", "optax") if find_spec(AGAINST[each][0])]
    names = [each for each in given.split(",") if each]
    for each in names:
        if each not in AGAINST:
            raise UsageError(
                f"no such library to compare with: {each!r}, expected {', '.join(AGAINST)}",
                f"tinyloss bench --against {next(iter(AGAINST))}",
            )
        module, install, _ = AGAINST[each]
        if find_spec(module) is None:
            raise UsageError(f"{module} is not installed", install)
    return names


def _ready(
    work: "Work",
    on: list[str],
    against: list[str],
    threads: int,
    notes: dict[str, None],
    say: Callable[[str], Any],
) -> "dict[str, tuple[Contender, Callable[[], Any]]]":
    """Return the calls of those who can do a work, and do the same."""
    from tinyloss.cli._contenders import contenders

    given, found = work.arguments(), dict[str, tuple[Any, Callable[[], Any]]]()
    expected: float | None = None
    for each in contenders(work, on, against, threads):
        say(f"{work.label}: {each.name}")
        try:
            with each.stage():
                call = each.prepare(work, given)
                result = call()
        except Exception as error:  # a library that cannot do this is a note, not an end
            said = f"{type(error).__name__}: {error}".strip().splitlines()[0]
            notes[f"{each.name} is left out of {work.label}: {said}"] = None
            continue
        if each.items is not None:
            mean = float(result[0].detach() if hasattr(result[0], "detach") else result[0])
            expected = mean if expected is None else expected
            if not abs(mean - expected) <= _SAME * abs(expected):
                notes[f"{each.name} is left out of {work.label}: its mean is {mean:.6g}, "
                      f"tinyloss's {expected:.6g}"] = None  # fmt: skip
                continue
        found[each.name] = each, call
    return found


def _timed(
    work: "Work",
    taking_part: "Mapping[str, tuple[Contender, Callable[[], Any]]]",
    seconds: float,
    step: Callable[[str, float], Any],
) -> dict[str, Any]:
    """Return the record of a work: times, and how far off each one is."""
    tasks = {name: measure.Task(call, who.stage) for name, (who, call) in taking_part.items()}
    before = 0.0

    def done(share: float) -> None:
        nonlocal before
        step(f"{work.label}: timing", 0.8 * (share - before))
        before = share

    times = measure.interleaved(tasks, seconds, done=done)
    arrays = work.arguments()
    moved = sum(array.nbytes for array in arrays) + arrays[0].nbytes
    rows = [
        {
            "name": name,
            "seconds": times[name].summary(),
            "gb_per_s": float(f"{moved / times[name].median / 1e9:.4g}"),
            "error_eps": _error(work, taking_part[name][0]),
        }
        for name in taking_part
    ]
    return {
        "loss": work.loss,
        "shape": [*work.shape],
        "dtype": work.dtype,
        "label": work.label,
        "bytes": moved,
        "contenders": rows,
    }


def _error(work: "Work", contender: "Contender") -> float | None:
    """Return the worst error of single losses, in eps; None where nobody knows."""
    from tinyloss.cli._ticks import accuracy

    items = contender.items
    if items is None or work.dtype != "float32":
        return None
    with contender.stage():
        error = accuracy(work.loss, lambda given: items(work, given))
    return min(float(f"{error:.3g}"), 1e30)


def _memory(
    work: "Work", on: list[str], against: list[str], threads: int, name: str
) -> float | None:
    """Return the MB that a call takes beyond its gradient, None where they cannot be counted."""
    if sys.platform != "linux":
        return None
    code = (
        "import json, sys; from tinyloss.cli._contenders import Work, grown; "
        "loss, shape, dtype, *rest = json.loads(sys.argv[1]); "
        "print(grown(Work(loss, tuple(shape), dtype), *rest))"
    )
    asked = json.dumps([work.loss, work.shape, work.dtype, on, against, threads, name])
    # In a session of its own Ctrl-C does not reach it; it ends with this call all the same.
    done = subprocess.run(
        [sys.executable, "-c", code, asked],
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )
    if done.returncode:
        return None
    return round(max(int(done.stdout.split()[-1]), 0) / 1e6, 1)


# --------------------------------------------------------------------------------------- showing


def error_in_words(error: float | None) -> str:
    """Return an error as a table shows it: in eps, or how many digits are left."""
    from tinyloss.cli._ticks import digits_right

    if error is None:
        return ""
    if error <= 64:
        return f"{error:.1f} eps"
    right = digits_right(error)
    return f"{right} digits" if right > 1 else "1 digit" if right else "no digit"


def _show(work: dict[str, Any], screen: Screen) -> None:
    rows = work["contenders"]
    screen.print(strong(work["label"]), ", mean and gradient")
    screen.print()
    slowest = max(row["seconds"]["median"] for row in rows)
    lines: list[list[Part]] = [
        ["", strong("ms"), strong("GB/s"), "", strong("extra memory"), strong("worst error")]
    ]
    for row in rows:
        median = row["seconds"]["median"]
        bar = "█" * max(1, round(30 * median / slowest))
        memory = "" if row["extra_mb"] is None else f"{row['extra_mb']:.1f} MB"
        error = error_in_words(row["error_eps"])
        ours = row["name"].startswith("tinyloss")
        lines.append(
            [
                strong(row["name"]) if ours else row["name"],
                f"{median * 1e3:.3g}",
                f"{row['gb_per_s']:.3g}",
                good(bar) if ours else dim(bar),
                memory,
                error if error.endswith("eps") else warn(error),
            ]
        )
    screen.table(lines, right=(1, 2, 4, 5))
    screen.print()
    said = in_words(work)
    if said:
        screen.print(said)


def in_words(work: dict[str, Any]) -> str:
    """Return what the times of a work say."""
    medians = {row["name"]: row["seconds"]["median"] for row in work["contenders"]}
    ours = {name: time for name, time in medians.items() if name.startswith("tinyloss")}
    floor = {name: time for name, time in medians.items() if name.startswith("floor")}
    others = {n: time for n, time in medians.items() if n not in ours and n not in floor}
    if not ours:
        return ""
    best = min(ours, key=lambda name: ours[name])
    parts: list[str] = []
    if others:
        next_best = min(others, key=lambda name: others[name])
        ratio = others[next_best] / ours[best]
        who = f"the next, {next_best}," if ratio > 1 else next_best
        parts.append(f"is {ratio:.1f}× as fast as {who}")
    parts += [f"takes {ours[best] / time:.1f}× the time of the floor" for time in floor.values()]
    return f"{best} {' and '.join(parts)}." if parts else ""


def _end(report: dict[str, Any], screen: Screen) -> None:
    """Print what the results hang on, and a warning where they are worth nothing."""
    for note in report["notes"]:
        screen.print(warn("–"), f" {note}")
    spreads = [
        (row["seconds"]["max"] - row["seconds"]["min"]) / row["seconds"]["median"]
        for work in report["works"]
        for row in work["contenders"]
    ]
    screen.print(
        dim(
            f"{report['machine']['cpu']}, {report['threads']} threads; samples spread by "
            f"{max(spreads):.0%} of the median at most; "
            "error: the worst of losses of numbers of every magnitude"
        )
    )
    if report["busy_before"] > _BUSY:
        load = "" if report["load"] is None else f" (load {report['load']:.1f})"
        screen.print(
            warn("✗"),
            f" others took {report['busy_before']:.0%} of the processors before it began{load}: "
            "these numbers are not worth reporting",
        )


# ------------------------------------------------------------------------------------- comparing


def _read(path: Path) -> dict[str, Any]:
    try:
        report: Any = json.loads(path.read_text(encoding="utf-8"))
        for work in report["works"]:
            for row in work["contenders"]:
                float(row["seconds"]["median"])
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror}", f"tinyloss bench --json > {path}"
        ) from None
    except (ValueError, KeyError, TypeError):
        raise UsageError(
            f"{path} is no report of tinyloss bench", f"tinyloss bench --json > {path}"
        ) from None
    found: dict[str, Any] = report
    return found


def _compare(old: dict[str, Any], new: dict[str, Any], as_json: bool, screen: Screen) -> int:
    """Show how many times as long the new results take."""
    before = {(w["label"], r["name"]): r["seconds"] for w in old["works"] for r in w["contenders"]}
    found: list[dict[str, Any]] = [
        {
            "work": work["label"],
            "name": row["name"],
            "old": before[key]["median"],
            "new": row["seconds"]["median"],
            "ratio": float(f"{row['seconds']['median'] / before[key]['median']:.4g}"),
            "apart": _apart(before[key], row["seconds"]),
        }
        for work in new["works"]
        for row in work["contenders"]
        if (key := (work["label"], row["name"])) in before
    ]
    if not found:
        raise UsageError(
            "the two reports have no work in common", "tinyloss bench LOSS --shape SHAPE --json"
        )
    if as_json:
        screen.json(found)
        return 0
    rows: list[list[Part]] = [["", "", strong("old ms"), strong("new ms"), strong("ratio"), ""]]
    for each in found:
        ratio, apart = each["ratio"], each["apart"]
        said = ("✓ faster" if ratio < 1 else "✗ slower") if apart else "– within the spread"
        paint = dim if not apart else good if ratio < 1 else warn
        numbers = (f"{each['old'] * 1e3:.3g}", f"{each['new'] * 1e3:.3g}", f"{ratio:.2f}×")
        rows.append([each["work"], each["name"], *numbers, paint(said)])
    screen.table(rows, right=(2, 3, 4))
    if old["machine"] != new["machine"]:
        screen.print(warn("✗"), " two machines: these ratios say nothing of tinyloss")
    for name, report in (("old", old), ("new", new)):
        if report["busy_before"] > _BUSY:
            screen.print(warn("✗"), f" the machine was busy before the {name} results")
    return 0


def _apart(one: dict[str, float], other: dict[str, float]) -> bool:
    """Return whether no sample of the one is among those of the other."""
    return one["max"] < other["min"] or other["max"] < one["min"]
