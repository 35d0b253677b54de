"""The look of every picture, in light and in dark; how a picture is kept."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXTRA = "'tinyloss[plot]'"

Theme = Literal["light", "dark"]

# Five strokes and six hues: thirty lines until two are alike.
STROKES: Sequence[Any] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
HUES = ("blue", "red", "green", "orange", "purple", "sky")


@dataclass(frozen=True)
class Look:
    """Okabe and Ito's colours, which colour-blind readers can tell apart, and greys."""

    line: dict[str, str]
    text: dict[str, str]
    """The same hues, with a contrast to the paper of 4.5 and more."""
    paper: str
    ink: str
    soft: str
    grid: str
    band: str
    field: str
    """The colours of a landscape; low ones are near the paper."""

    def settings(self) -> dict[str, Any]:
        return {
            "figure.facecolor": self.paper,
            "axes.facecolor": self.paper,
            "text.color": self.ink,
            "axes.labelcolor": self.ink,
            "axes.edgecolor": self.soft,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": self.grid,
            "grid.linewidth": 0.6,
            "font.family": "DejaVu Sans",
            "font.size": 10,
            "axes.titlesize": 10,
            "axes.titlelocation": "left",
            "axes.titlecolor": self.soft,
            "lines.linewidth": 2,
            "legend.frameon": False,
            "figure.dpi": 150,
        }


LOOKS = {
    "light": Look(
        line={
            "blue": "#0072B2",
            "red": "#D55E00",
            "green": "#009E73",
            "orange": "#E69F00",
            "purple": "#CC79A7",
            "sky": "#56B4E9",
        },
        text={
            "blue": "#0072B2",
            "red": "#B54F00",
            "green": "#007A59",
            "orange": "#8C6100",
            "purple": "#A04A78",
            "sky": "#1F76A8",
        },
        paper="#FFFFFF",
        ink="#1F2328",
        soft="#57606A",
        grid="#D8DEE4",
        band="#E9EDF1",
        field="Blues",
    ),
    "dark": Look(
        line={
            "blue": "#56B4E9",
            "red": "#FF8A4C",
            "green": "#2FC79A",
            "orange": "#F0B83A",
            "purple": "#E39BC3",
            "sky": "#9AD4F5",
        },
        text={
            "blue": "#56B4E9",
            "red": "#FF8A4C",
            "green": "#2FC79A",
            "orange": "#F0B83A",
            "purple": "#E39BC3",
            "sky": "#9AD4F5",
        },
        paper="#131416",
        ink="#E6E6E6",
        soft="#A3A9B0",
        grid="#3A3D41",
        band="#26292D",
        field="cividis",
    ),
}


def need(module: str, distribution: str | None = None) -> Any:
    """Return a module, or say how to install it: by the extra, where no distribution is told."""
    library = distribution or module.partition(".")[0]
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"tinyloss.pictures needs {library}, which is not installed: "
            f"pip install {distribution or EXTRA}"
        ) from error


@contextmanager
def look_of(theme: Theme) -> Generator[Look]:
    """Draw with a theme, whatever the user's own settings of matplotlib are."""
    if theme not in LOOKS:
        raise ValueError(f"tinyloss.pictures: theme is {theme!r}, expected 'light' or 'dark'")
    look = LOOKS[theme]
    with need("matplotlib.style").context(["default", look.settings()]):
        yield look


def panels(look: Look, rows: int, columns: int, size: tuple[float, float], **options: Any) -> Any:
    """Return a new figure, which pyplot does not know, and its axes."""
    figure: Any = need("matplotlib.figure").Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    for each in axes.flat:
        # Ticks are made when they are drawn, by the settings of that moment.
        each.tick_params(which="both", color=look.soft, labelcolor=look.ink, labelsize=9)
    return figure, axes


def tell(figure: Any, finding: str, shown: str) -> Figure:
    """Set the title, and with what is shown the text for those who do not see the picture."""
    # Letters of this size are a tenth of an inch wide, or less.
    title = fill(finding, int(10 * figure.get_figwidth()))
    figure.suptitle(title, x=0.008, ha="left", fontsize=12, fontweight="bold")
    figure.set_label(f"{finding}. {shown}")
    drawn: Figure = figure
    return drawn


def legend(figure: Any, axes: Any, columns: int) -> None:
    """Put the legend of one panel under all of them."""
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=columns, handlelength=3)


def alt(figure: Figure) -> str:
    """Return what a picture says, in words: its title, then what is drawn.

    It is also the title and the description in the files that `save` writes.
    """
    return str(figure.get_label())


def save(figure: Figure, path: str | Path) -> Path:
    """Write a picture as its path's ending says (.svg, .png, .pdf); return the path.

    The same picture gives the same bytes: no date and no random names are in an SVG.
    """
    path = Path(path)
    finding, _, shown = alt(figure).partition(". ")
    kind = path.suffix.lower()
    known: dict[str, dict[str, Any]] = {
        ".svg": {"Title": finding, "Description": shown, "Creator": "tinyloss", "Date": None},
        ".png": {"Title": finding, "Description": shown, "Software": "tinyloss"},
        ".pdf": {"Title": finding, "Subject": shown, "CreationDate": None},
    }
    if kind not in known:
        raise ValueError(
            f"tinyloss.pictures.save: path is {str(path)!r}, expected one that ends with "
            f"{', '.join(known)}"
        )
    drawn: Any = figure
    settings = {"svg.hashsalt": "tinyloss", "svg.fonttype": "path"}
    with need("matplotlib.style").context(["default", settings]):
        drawn.savefig(path, metadata=known[kind])
    return path
