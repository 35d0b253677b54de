"""`tinyloss learn`: the lessons of the documentation as scripts, and functions to fill in."""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

from tinyloss.cli._screen import Screen, good, name, strong, warn
from tinyloss.cli._usage import UsageError

__all__ = ["register"]

_HERE = Path(__file__).parent
_FOLDERS = (_HERE / "pages", _HERE.parents[1] / "docs" / "learn")
"""Where the lessons are: in an installation, and in a clone."""

_EXERCISES = '''\
"""Losses of your own. Fill one in, save, and have it graded:

    tinyloss check losses.py:mse

x is the prediction and y the target: arrays of NumPy of any shape. Return the loss of each item, or
the mean. A function NAME_gradient beside it is graded, too: the derivative by x. Where you are
stuck, `tinyloss info mse` tells the formula.
"""

import numpy as np


def mse(x, y):
    """Squared error: the square of x - y."""


def mse_gradient(x, y):
    """Its derivative by x."""


def mae(x, y):
    """Absolute error: how far x is from y."""


def huber(x, y):
    """Half the square of an error up to 1; beyond that its absolute value, minus 1/2."""


def binary_cross_entropy_with_logits(x, y):
    """-log of the probability of what was right: 1 / (1 + exp(-x)) of y = 1, the rest of y = 0.

    Try x = 1000 and x = -1000.
    """


def cross_entropy(x, y):
    """-log of the probability of the right class.

    x has the logits of the classes in its last dimension, y the number of the class; the
    probabilities are exp(x) / sum(exp(x)). Try logits of 1000.
    """


def cross_entropy_gradient(x, y):
    """Its derivative by x, of the shape of x."""
'''


def register(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = add(
        "learn",
        help="copy the lessons, and losses to write yourself",
        description="Copy the lessons of the documentation as scripts into a folder, with a file "
        "losses.py of empty functions to fill in. Files that are there already stay as they are.",
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="a folder, made if it is missing")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Copy the files and say what to do with them."""
    folder: Path = arguments.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in _files():
            try:
                with (folder / file).open("x", encoding="utf-8") as new:
                    new.write(text)
                screen.print(good("✓"), f" {folder / file}")
            except FileExistsError:
                screen.print(warn("–"), f" {folder / file} is there already and stays as it is")
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UsageError(
            f"cannot write to {folder}: {error.strerror}", "tinyloss learn lessons"
        ) from None
    screen.print()
    screen.print(strong("Next"))
    first = next((each.name for each in _lessons()), None)
    if first is not None:
        screen.print("  read and run a lesson      ", name(f"python {folder / first}"))
        screen.print("  if it lacks a library      ", name('pip install "tinyloss[examples]"'))
    screen.print(
        "  fill in a function, then   ", name(f"tinyloss check {folder / 'losses.py'}:mse")
    )
    return 0


def _lessons() -> list[Path]:
    found = next((folder for folder in _FOLDERS if folder.is_dir()), None)
    return [] if found is None else sorted(found.glob("*.py"))


def _files() -> Iterator[tuple[str, str]]:
    """Yield the names and texts of the files."""
    for path in _lessons():
        yield path.name, path.read_text(encoding="utf-8")
    yield "losses.py", _EXERCISES
