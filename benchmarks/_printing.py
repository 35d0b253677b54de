"""The benchmarks' command line, and their results in a terminal and in a file."""

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tinyloss.cli.measure import Ratio

__all__ = [
    "command_line",
    "console_of",
    "digits",
    "duration",
    "markdown_table",
    "progress_bar",
    "spread",
    "write_report",
]


def command_line(
    name: str,
    doc: str | None,
    sections: Iterable[str],
    results: Path,
    quick: str,
) -> argparse.ArgumentParser:
    """Return the parser of a benchmark that times sections of works."""
    parser = argparse.ArgumentParser(
        prog=f"benchmarks.{name}", description=(doc or "").split("\n")[0]
    )
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument(
        "--only",
        default="",
        help="measure what has one of these texts, with commas between, in its section or work: "
        + ", ".join(sections),
    )
    parser.add_argument(
        "--json",
        type=Path,
        help=f"where results are written; default: {results.name} of a full run",
    )
    return parser


def write_report(
    path: Path, report: Mapping[str, Any], lists: Mapping[str, Sequence[Mapping[str, Any]]]
) -> None:
    """Write a report with a line for each row of its lists, so that diffs of runs are readable."""
    texts = [
        f' "{name}": [\n  ' + ",\n  ".join(json.dumps(row) for row in rows) + "\n ]"
        for name, rows in lists.items()
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1)[:-2] + ",\n" + ",\n".join(texts) + "\n}\n")


def console_of(width: int) -> Console:
    """Return stdout, at least this wide if it is no terminal."""
    console = Console()
    if console.width < width and not console.is_terminal:
        return Console(width=width)
    return console


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table in Markdown."""
    lines = [f"| {' | '.join(row)} |" for row in (heads, *rows)]
    return [lines[0], "|---" * len(heads) + "|", *lines[1:]]


def duration(seconds: float) -> str:
    """Return seconds as text in a suitable unit."""
    for unit, name in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= unit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds * 1e9:.3g} ns"


def digits(number: float) -> str:
    """Return a number as text with as many digits as a measurement has."""
    return (
        f"{number:.2f}" if number < 9.995 else f"{number:.3g}" if number < 1000 else f"{number:.0f}"
    )


def spread(ratio: Ratio | None) -> str:
    """Return a ratio and its quartiles in rich's markup."""
    if ratio is None:
        return ""
    return f"{digits(ratio.value)} [dim]{digits(ratio.low)}-{digits(ratio.high)}[/]"


def progress_bar(width: int) -> Progress:
    """Return a progress bar on stderr, beside a description of this width."""
    return Progress(
        TextColumn(f"{{task.description:{width}}}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )
