"""`tinyloss plot`: losses as curves of text, and the pictures of `tinyloss.pictures` as files."""

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinyloss.cli._screen import Screen, dim, name, strong
from tinyloss.cli._usage import UsageError, losses_called

if TYPE_CHECKING:
    from tinyloss.pictures.stage import What

__all__ = ["register"]

_CURVES: "dict[str, tuple[What, ...]]" = {
    "curves": ("value", "gradient", "curvature"),
    "value": ("value",),
    "gradient": ("gradient",),
    "curvature": ("curvature",),
}
_OF_LOSSES = ("landscape", "convex")
_ALONE = ("digits", "scale", "rate", "wrong", "zoo")
_ENDINGS = (".png", ".svg", ".pdf")


def register(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = add(
        "plot",
        help="pictures of losses, as files and as text",
        description="Draw losses, and what they do. curves: loss, gradient and curvature, or one "
        "of them (value, gradient, curvature). landscape: over two weights, with the path of "
        "descent. convex: whether a curve lies below its chords. digits: the error of a "
        "cross-entropy against the gap between the logits. scale: gradients in float16. rate: a "
        "factor on the loss and learning. wrong: the right loss and a wrong one, on handwritten "
        "digits. zoo: every loss. speed: a report of times over the floor.",
    )
    parser.add_argument("losses", nargs="*", metavar="LOSS", help="a loss")
    parser.add_argument(
        "--what",
        choices=(*_CURVES, *_OF_LOSSES, *_ALONE, "speed"),
        metavar="WHAT",
        help="one of these; default: curves",
    )
    parser.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="NAME=NUMBER,...",
        help="a parameter of the loss; several numbers are a curve each",
    )
    parser.add_argument("--report", metavar="JSON", help="what speed draws")
    parser.add_argument(
        "--out",
        metavar="PATH",
        default=".",
        help="a file (.png, .svg, .pdf), or a folder for a PNG and an SVG; default: this folder",
    )
    parser.add_argument("--theme", choices=("light", "dark"), default="light")
    parser.add_argument("--text", action="store_true", help="print the curves, write no file")
    parser.add_argument("--json", action="store_true", help="print what was found for programs")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Print the curves, draw the picture and write it."""
    what = arguments.what or "curves"
    losses = [*losses_called(arguments.losses).values()] if arguments.losses else []
    parameters = dict(map(_parameter, arguments.param))
    _check(arguments, what, parameters)
    paths = [] if arguments.text else _paths(arguments.out, _stem(arguments, what))
    advice = f"tinyloss info {arguments.losses[0]}" if losses else "tinyloss plot --help"
    try:
        from tinyloss import pictures

        if what in _CURVES and not arguments.json:
            text = pictures.text(*losses, what=_CURVES[what], blocks=_blocks(), **parameters)
            for line in text.splitlines():
                screen.print(line)
        if arguments.text:
            return 0
        with screen.bar(1) as bar:
            bar.step(f"drawing {what}")
            figure = _drawn(what, losses, parameters, arguments)
            for path in paths:
                pictures.save(figure, path)
        finding, _, shown = pictures.alt(figure).partition(". ")
    except ImportError as error:
        said, _, command = str(error).partition(": pip ")
        raise UsageError(said, f"pip {command}" if command else "tinyloss info") from error
    except (TypeError, ValueError) as error:
        raise UsageError(str(error), advice) from error
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}", "tinyloss plot --help") from error
    if arguments.json:
        screen.json({"finding": finding, "shown": shown, "files": [str(path) for path in paths]})
        return 0
    screen.print(strong(finding))
    if what not in _CURVES:
        screen.print(dim(shown))
    screen.print("saved ", name(", ".join(map(str, paths))))
    return 0


def _drawn(
    what: str, losses: list[Any], parameters: dict[str, Any], arguments: argparse.Namespace
) -> Any:
    from tinyloss import pictures

    theme = arguments.theme
    if what in _CURVES:
        return pictures.curves(*losses, what=_CURVES[what], theme=theme, **parameters)
    if what == "speed":
        return pictures.speed(arguments.report, theme=theme)
    return getattr(pictures, what)(*losses, theme=theme)


def _check(arguments: argparse.Namespace, what: str, parameters: dict[str, Any]) -> None:
    """Raise where the arguments do not go together."""
    if what in _CURVES and not arguments.losses:
        raise UsageError("no loss to draw", "tinyloss plot huber --param delta=0.5,1,2")
    if arguments.losses and what in (*_ALONE, "speed"):
        raise UsageError(f"{what} takes no loss", f"tinyloss plot --what {what}")
    if parameters and what not in _CURVES:
        raise UsageError(f"{what} takes no parameters", f"tinyloss plot --what {what}")
    if arguments.text and what not in _CURVES:
        raise UsageError(f"{what} is no text", f"tinyloss plot --what {what}")
    if (arguments.report is not None) != (what == "speed"):
        raise UsageError(
            "speed draws a report, and nothing else does",
            "tinyloss plot --what speed --report benchmarks/results/cpu.json",
        )


def _parameter(text: str) -> tuple[str, Any]:
    """Return the name of a parameter and its value, or its values."""
    key, _, words = text.partition("=")
    try:
        values = [_value(word.strip()) for word in words.split(",")]
    except ValueError:
        raise UsageError(
            f"--param is {text!r}, expected a name and numbers",
            "tinyloss plot huber --param delta=0.5,1,2",
        ) from None
    return key.strip().replace("-", "_"), values if len(values) > 1 else values[0]


def _value(word: str) -> Any:
    flags = {"true": True, "false": False}
    return flags[word.lower()] if word.lower() in flags else float(word)


def _blocks() -> str:
    """Return the letters of a curve, from low to high, that stdout has."""
    blocks = "▁▂▃▄▅▆▇█"
    encoding = sys.stdout.encoding or "utf-8"
    return blocks if blocks.encode(encoding, "replace").decode(encoding) == blocks else "_.:-=+*#"


def _stem(arguments: argparse.Namespace, what: str) -> str:
    words: Iterable[str] = arguments.losses
    if what != "curves":
        words = [*words, what]
    return "-".join(words) + ("_dark" if arguments.theme == "dark" else "")


def _paths(out: str, stem: str) -> list[Path]:
    """Return the files to write."""
    path = Path(out)
    if path.suffix.lower() in _ENDINGS:
        folder, paths = path.parent, [path]
    elif path.is_dir() or not path.suffix:
        folder, paths = path, [path / f"{stem}{ending}" for ending in (".png", ".svg")]
    else:
        raise UsageError(
            f"--out is {out!r}, expected a file that ends with {', '.join(_ENDINGS)}, or a folder",
            f"tinyloss plot huber --out {path.with_suffix('.png')}",
        )
    if not folder.is_dir():
        raise UsageError(f"there is no folder {str(folder)!r}", f"mkdir -p {folder}")
    return paths
