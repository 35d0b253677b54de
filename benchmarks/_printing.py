"""How the benchmarks show figures and progress in a terminal."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks._measure import Ratio

__all__ = ["digits", "progress_bar", "spread"]


def digits(number: float) -> str:
    """Return a number with the digits that a measurement has."""
    return (
        f"{number:.2f}" if number < 9.995 else f"{number:.3g}" if number < 1000 else f"{number:.0f}"
    )


def spread(ratio: Ratio | None) -> str:
    """Return a ratio with its quartiles, in rich's markup."""
    if ratio is None:
        return ""
    return f"{digits(ratio.value)} [dim]{digits(ratio.low)}-{digits(ratio.high)}[/]"


def progress_bar(width: int) -> Progress:
    """Return a bar beside a description of this width, on stderr."""
    return Progress(
        TextColumn(f"{{task.description:{width}}}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )
