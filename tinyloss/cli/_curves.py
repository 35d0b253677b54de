"""A loss in numbers, beside torch's, and as curves of text."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from tinyloss import pictures
from tinyloss.cli._inputs import PATHS, Arguments, Array, Path
from tinyloss.cli._libraries import LIBRARIES
from tinyloss.cli._others import of_torch
from tinyloss.cli._screen import Part, Screen, name, strong, warn
from tinyloss.cli._ticks import Ours, Subject, Theirs, accuracy
from tinyloss.cli._usage import LOSSES, PIECES
from tinyloss.cli.bench import error_in_words
from tinyloss.cli.definitions import DEFINITIONS
from tinyloss.pictures.lines import bars

__all__ = ["show"]

_COLUMNS = 49


def show(loss: str, screen: Screen) -> None:
    """Print a loss in numbers of float32, its worst errors, and its curves."""
    path, known, torch = PATHS[DEFINITIONS[loss].draw], of_torch(loss), LIBRARIES["torch"]
    beside = known is not None and torch.version is not None
    given = _float32(path, np.array(path.points))
    own = Ours(loss, LIBRARIES["numpy"])
    ours = _results(own, given)
    columns: list[Sequence[Part]] = [
        [f"{t:g}" for t in path.points],
        *map(_numbers, ours.values()),
    ]
    heads = [path.label, *ours]
    measured: dict[str, Subject] = {"tinyloss": own}
    if beside:
        theirs = Theirs(loss, torch)
        measured[f"torch {(torch.version or '').partition('+')[0]}"] = theirs
        heads += ["torch's loss", "torch's gradient"]
        columns += map(_beside, _first_number(*theirs.both(given)), ours.values())
    screen.table([[strong(head) for head in heads], *zip(*columns, strict=True)],
                 right=range(len(heads)))  # fmt: skip
    screen.print()
    if loss not in PIECES:
        rows: list[list[Part]] = [
            [strong(each) for each in ("worst in float32", "loss", "gradient")],
            *([who, *_worst(subject)] for who, subject in measured.items()),
        ]
        screen.table(rows, right=(1, 2))
    if known is not None and torch.version is None:
        screen.print("beside torch: ", name(torch.install))
    if loss not in PIECES:
        screen.print()
    for curve in _drawn(loss, own, path).splitlines():
        screen.print(curve)


def _float32(path: Path, points: Array) -> Arguments:
    return [a if a.dtype.kind == "i" else a.astype(np.float32) for a in path.at(points)]


def _results(own: Ours, given: Arguments) -> dict[str, Array]:
    """Return a loss and its gradient, of what is no loss the first number that it returns."""
    if own.name in PIECES:
        found = np.asarray(own.loss(*given))
        return {"value": found.reshape(len(given[0]), -1)[:, 0]}
    value, gradient = _first_number(own.items(given), own.gradient(given))
    return {"loss": value, "gradient": gradient}


def _drawn(loss: str, own: Ours, path: Path) -> str:
    """Return curves as text: over what `pictures` finds, or along the path."""
    if loss in LOSSES:
        return pictures.text(own.loss, width=_COLUMNS)
    along = np.linspace(*path.span, _COLUMNS)
    with np.errstate(all="ignore"):
        return bars(f"{loss} over {path.label}", along, _results(own, _float32(path, along)))


def _first_number(value: Array, *derivatives: Array) -> list[Array]:
    """Return derivatives by the number of each item that a path goes along."""
    flat = (each.reshape(*value.shape, -1) for each in derivatives)
    return [value, *(each[..., 0] for each in flat)]


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
