"""A loss in numbers, beside torch's, and as curves of text."""

from collections.abc import Sequence
from functools import partial

import numpy as np

import tinyloss
from tinyloss import pictures
from tinyloss.cli._inputs import PATHS, Array
from tinyloss.cli._libraries import LIBRARIES
from tinyloss.cli._others import of_torch
from tinyloss.cli._screen import Part, Screen, name, strong, warn
from tinyloss.cli._ticks import Ours, Subject, Theirs, accuracy
from tinyloss.cli.bench import error_in_words
from tinyloss.cli.definitions import DEFINITIONS

__all__ = ["show"]

_COLUMNS = 49


def show(loss: str, screen: Screen) -> None:
    """Print a loss in numbers of float32, its worst errors, and its curves."""
    path, known, torch = PATHS[DEFINITIONS[loss].draw], of_torch(loss), LIBRARIES["torch"]
    points = np.array(path.points)
    given = [a if a.dtype.kind == "i" else a.astype(np.float32) for a in path.at(points)]
    own = Ours(loss, LIBRARIES["numpy"])
    ours = _first_class(own.items(given), own.gradient(given))
    columns: list[Sequence[Part]] = [[f"{t:g}" for t in path.points], *map(_numbers, ours)]
    heads = [path.label, "loss", "gradient"]
    measured: dict[str, Subject] = {"tinyloss": own}
    if known is not None and torch.version is not None:
        theirs = Theirs(loss, torch)
        measured[f"torch {torch.version.partition('+')[0]}"] = theirs
        heads += ["torch's loss", "torch's gradient"]
        columns += map(_beside, _first_class(*theirs.both(given)), ours)
    screen.table([[strong(head) for head in heads], *zip(*columns, strict=True)],
                 right=range(len(heads)))  # fmt: skip
    screen.print()
    rows: list[list[Part]] = [
        [strong(each) for each in ("worst in float32", "loss", "gradient")],
        *([who, *_worst(subject)] for who, subject in measured.items()),
    ]
    screen.table(rows, right=(1, 2))
    if known is not None and torch.version is None:
        screen.print("beside torch: ", name(torch.install))
    screen.print()
    for curve in pictures.text(getattr(tinyloss, loss), width=_COLUMNS).splitlines():
        screen.print(curve)


def _first_class(value: Array, *derivatives: Array) -> list[Array]:
    return [value, *(each[..., 0] if each.ndim > value.ndim else each for each in derivatives)]


def _worst(subject: Subject) -> list[Part]:
    """Return the worst errors of value and gradient in words."""
    errors = (
        accuracy(subject.name, partial(subject.result, result), result)
        for result in ("value", "gradient")
    )
    return [error_in_words(error) for error in errors]


def _beside(numbers: Array, ours: Array) -> list[Part]:
    """Return torch's numbers, marked where they are off."""
    # It is another formula: it may differ in the last digit that is shown.
    near = np.isclose(numbers, ours, rtol=1e-3, atol=0)
    texts = zip(_numbers(numbers), near, strict=True)
    return [f"{text}  " if alike else warn(f"{text} ✗") for text, alike in texts]


def _numbers(numbers: Array) -> list[str]:
    return [f"{number:.7g}" for number in numbers.tolist()]
