"""A loss in numbers, beside torch's, and as curves of text."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

import tinyloss
from tinyloss.cli._definitions import DEFINITIONS
from tinyloss.cli._inputs import PATHS, Arguments, Array
from tinyloss.cli._libraries import LIBRARIES
from tinyloss.cli._screen import Part, Screen, dim, name, strong, warn
from tinyloss.cli._ticks import Ours, Subject, Theirs, accuracy
from tinyloss.cli.bench import error_in_words

__all__ = ["show", "spark"]

_BARS = "▁▂▃▄▅▆▇█"
_COLUMNS = 49


def show(loss: str, screen: Screen) -> None:
    """Print a loss in numbers of float32, its worst errors, and its curves."""
    of, path, torch = DEFINITIONS[loss], PATHS[DEFINITIONS[loss].draw], LIBRARIES["torch"]
    points = np.array(path.points)
    given = [a if a.dtype.kind == "i" else a.astype(np.float32) for a in path.at(points)]
    ours = _results(loss, given)[:2]
    columns: list[Sequence[Part]] = [[f"{t:g}" for t in path.points], *map(_numbers, ours)]
    heads = [path.label, "loss", "gradient"]
    measured: dict[str, Subject] = {"tinyloss": Ours(loss, LIBRARIES["numpy"])}
    if of.torch is not None and torch.version is not None:
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
    if of.torch is not None and torch.version is None:
        screen.print("beside torch: ", name(torch.install))
    screen.print()
    t = np.linspace(path.low, path.high, _COLUMNS)
    curves = zip(("loss", "gradient", "curvature"), _results(loss, path.at(t)), strict=True)
    for label, numbers in curves:
        curve, low, high = spark(numbers)
        screen.print(f"{label:10}", curve, dim(f"  {low:.3g} to {high:.3g}"))
    left = f"{path.low:g}"
    screen.print(" " * 10, dim(f"{left}{f'{path.high:g}':>{_COLUMNS - len(left)}}  {path.label}"))


def spark(numbers: Any) -> tuple[str, float, float]:
    """Return numbers as a curve of text, with the least and the largest that are finite."""
    array = np.asarray(numbers, dtype=np.float64)
    finite = array[np.isfinite(array)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    span = (high - low) or 1.0
    shares = (np.clip(np.nan_to_num(array, nan=low), low, high) - low) / span
    return "".join(_BARS[int(7.999 * share)] for share in shares), low, high


def _results(name: str, given: Arguments) -> list[Array]:
    """Return loss, gradient and curvature; of rows those by the first class."""
    loss: Any = getattr(tinyloss, name)
    derived: Any = tinyloss.grad_and_hess(loss)
    value = np.asarray(loss(*given, reduction="none"))
    return _first_class(value, *map(np.asarray, derived(*given)))


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
