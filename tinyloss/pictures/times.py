"""Times over the floor, from a report of the benchmarks."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinyloss.pictures.style import Theme, look_of, panels, tell

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BARS = {
    "tinyloss": ("blue", ""),
    "torch.compile": ("orange", "//"),
    "jax.jit": ("green", "\\\\"),
    "torch": ("red", ".."),
    "scikit-learn": ("purple", "xx"),
    "NumPy": ("sky", "--"),
}


def speed(
    report: str | Path | Mapping[str, Any],
    *,
    what: str = "value and gradient",
    theme: Theme = "light",
) -> Figure:
    """Draw how many times the floor each library takes: the time to read and write the bytes.

    Parameters
    ----------
    report
        The JSON that `python -m benchmarks.cpu` writes: its path, or what is in it.
    what
        "value" or "value and gradient".
    theme
        "light" or "dark".

    Examples
    --------
    >>> from tinyloss import pictures
    >>> seconds = {"floor": {"median": 1.0}, "tinyloss": {"median": 2.0}, "torch": {"median": 9.0}}
    >>> row = {"section": "shapes", "work": "mse 4M", "what": "value", "seconds": seconds}
    >>> machine = {"cpu": "a CPU"}
    >>> report = {"machine": machine, "threads": 2, "date": "today", "measurements": [row]}
    >>> print(pictures.speed(report, what="value").get_suptitle())
    tinyloss takes 2.0 times the floor; torch takes 4.5 times as long as tinyloss
    """
    given: Any = report
    name = "the report"
    if isinstance(report, (str, Path)):
        name, given = str(report), json.loads(Path(report).read_text(encoding="utf-8"))
    works = _works(given, what) if hasattr(given, "get") else []
    if not works:
        raise ValueError(
            f"tinyloss.pictures.speed: {name} has no times for {what!r}, expected a report that "
            "`python -m benchmarks.cpu` writes"
        )
    columns = min(3, len(works))
    rows = -(-len(works) // columns)
    named = [who for who in BARS if any(who in times for _, times in works)]
    with look_of(theme) as look:
        size = (max(3.5 * columns, 6.4), (0.19 * len(named) + 0.62) * rows + 0.9)
        figure, axes = panels(look, rows, columns, size, sharex=True, sharey=True)
        for i, (panel, (work, times)) in enumerate(zip(axes.flat, works, strict=False)):
            for place, who in enumerate(named):
                if who not in times:
                    continue
                hue, hatch = BARS[who]
                style: dict[str, Any] = {"hatch": hatch, "edgecolor": look.paper, "linewidth": 0}
                width = times[who] - 1
                panel.barh(place, width, left=1, height=0.78, color=look.line[hue], **style)
                ours = who == "tinyloss"
                colour = look.text["blue"] if ours else look.soft
                at: dict[str, Any] = {"xytext": (3, 0), "textcoords": "offset points"}
                at |= {"va": "center", "fontsize": 8, "fontweight": "bold" if ours else "normal"}
                panel.annotate(_times(times[who]), (max(times[who], 1), place), color=colour, **at)
            panel.axvline(1, color=look.ink, linewidth=1.2)
            title = work.replace("_", " ").replace(" x ", " × ")
            panel.set_title(title, color=look.ink, fontsize=9)
            panel.set_yticks(range(len(named)), named)
            panel.grid(axis="y", visible=False)
            panel.tick_params(axis="y", length=0)
            if i % columns == 0:
                for label, who in zip(panel.get_yticklabels(), named, strict=True):
                    label.set_fontweight("bold" if who == "tinyloss" else "normal")
        first = axes.flat[0]
        first.set_xscale("log")
        most = max(max(times.values()) for _, times in works)
        least = min(min(times.values()) for _, times in works)
        ticks = [n for n in (0.5, 1, 2, 5, 10, 20, 50, 100) if least * 0.9 <= n <= most * 1.3]
        first.set_xticks(ticks, [f"{n:g}" for n in ticks])
        first.minorticks_off()
        first.set_xlim(min(0.92, least * 0.9), most * 2.1)
        first.invert_yaxis()
        for panel in axes.flat[len(works) :]:
            panel.set_axis_off()
        machine, threads = given.get("machine", {}), given.get("threads")
        facts = machine.get("cpu"), machine.get("vectors"), threads and f"{threads} threads"
        where = ", ".join(filter(None, [*facts, given.get("date")]))
        figure.supxlabel(
            f"{what}: times as long as reading and writing the same bytes (1, the floor)\n{where}",
            fontsize=9,
            color=look.soft,
        )
        shown = "; ".join(
            f"{work}: " + ", ".join(f"{who} {_times(n)}" for who, n in times.items())
            for work, times in works
        )
        return tell(figure, _finding(works), f"Times over the floor. {where}. {shown}.")


def _works(report: Mapping[str, Any], what: str) -> list[tuple[str, dict[str, float]]]:
    """Return each work with the times over the floor of all who did it."""
    works: list[tuple[str, dict[str, float]]] = []
    for row in report.get("measurements", ()):
        if (row.get("section"), row.get("what")) == ("shapes", what):
            medians = {who: each["median"] for who, each in row["seconds"].items()}
            if {"floor", "tinyloss"} <= set(medians):
                over = {who: medians[who] / medians["floor"] for who in BARS if who in medians}
                works.append((row["work"], over))
    return works


def _finding(works: list[tuple[str, dict[str, float]]]) -> str:
    """Return how far tinyloss is from the floor, and how far the next is from tinyloss."""
    ours = [times["tinyloss"] for _, times in works]
    low, high = _times(min(ours)), _times(max(ours))
    first = f"tinyloss takes {low if low == high else f'{low} to {high}'} times the floor"
    shared = [who for who in BARS if all(who in times for _, times in works)][1:]
    ratios = {
        who: math.exp(sum(math.log(t[who] / t["tinyloss"]) for _, t in works) / len(works))
        for who in shared
    }
    if not ratios:
        return first
    nearest = min(ratios, key=lambda who: ratios[who])
    mean = "" if len(works) == 1 else " on average"
    return f"{first}; {nearest} takes {_times(ratios[nearest])} times as long as tinyloss{mean}"


def _times(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 0.995 else f"{ratio:.1f}" if ratio < 9.95 else f"{ratio:.0f}"
