"""The results of `tinyloss bench` as one page that needs nothing else, light and dark."""

from html import escape
from typing import Any

from tinyloss.cli.bench import error_in_words, in_words

__all__ = ["page"]

# Okabe and Ito's blue and a grey: apart for the colour-blind and in grey, and each bar is named.
_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --faint: #59636e; --paper: #ffffff;
  --line: #d1d9e0; --ours: #0072b2; --other: #a8b0b9; --floor: #e3e7eb; --warn: #9a3b00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --faint: #9198a1; --paper: #0d1117;
  --line: #3d444d; --ours: #56b4e9; --other: #6e7681; --floor: #30363d; --warn: #ffb077; } }
body { background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif;
  margin: 2rem auto; max-width: 54rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin: 2.5rem 0 .25rem; }
p { margin: .25rem 0 1rem; } .faint { color: var(--faint); } .warn { color: var(--warn); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th { font-weight: 600; } th:first-child, td:first-child { text-align: left; }
td.bar { min-width: 9rem; width: 38%; text-align: left; }
tr.ours td:first-child { font-weight: 700; }
.bar div { height: .9rem; min-width: 2px; background: var(--other); border-radius: 2px; }
.ours .bar div { background: var(--ours); }
.floor .bar div { background: var(--floor); outline: 1px solid var(--faint); }
"""


def page(report: dict[str, Any]) -> str:
    """Return the page."""
    machine, works = report["machine"], "\n".join(map(_work, report["works"]))
    versions = ", ".join(f"{escape(n)} {escape(v)}" for n, v in report["versions"].items())
    notes = "".join(f"<li>{escape(note)}</li>" for note in report["notes"])
    busy = report["busy_before"]
    warning = (
        f'<p class="warn">✗ Others took {busy:.0%} of the processors before it began: these '
        "numbers are not worth reporting.</p>"
        if busy > 0.1
        else ""
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>tinyloss {escape(report["tinyloss"])}: mean and gradient of losses</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>Mean and gradient of losses on {escape(str(machine["cpu"]))}</h1>
<p>Each row is the median time of one call that computes the mean of a loss and its gradient.
Shorter is faster. The floor reads and writes the same bytes and computes nothing.</p>
{warning}
{works}
<h2>How it was measured</h2>
<p>{report["threads"]} threads of {machine["cores"]} CPUs, {escape(machine["system"])}
{escape(machine["architecture"])}, {escape(report["date"])}. All take turns in one process, in a new
random order each round. Extra memory is the growth of a new process's peak beyond the gradient. The
error is the worst of single float32 losses of numbers of every magnitude, against the definition in
110 digits.</p>
<p class="faint">{versions}</p>
<ul>{notes}</ul>
</body>
</html>
"""


def _work(work: dict[str, Any]) -> str:
    rows = work["contenders"]
    slowest = max(row["seconds"]["median"] for row in rows)
    lines = "\n".join(_row(row, slowest) for row in rows)
    return f"""<h2>{escape(work["label"])}</h2>
<p>{escape(in_words(work))}</p>
<div class="wide"><table>
<tr><th></th><th></th><th>ms</th><th>GB/s</th><th>extra memory</th><th>worst error</th></tr>
{lines}
</table></div>"""


def _row(row: dict[str, Any], slowest: float) -> str:
    kind = next((kind for kind in ("floor", "tinyloss") if row["name"].startswith(kind)), "")
    median = row["seconds"]["median"]
    memory = "" if row["extra_mb"] is None else f"{row['extra_mb']:.1f} MB"
    shown = {"tinyloss": "ours"}.get(kind, kind)
    return (
        f'<tr class="{shown}"><td>{escape(row["name"])}</td>'
        f'<td class="bar"><div style="width:{median / slowest:.1%}"></div></td>'
        f"<td>{median * 1e3:.3g}</td><td>{row['gb_per_s']:.3g}</td><td>{memory}</td>"
        f"<td>{error_in_words(row['error_eps'])}</td></tr>"
    )
