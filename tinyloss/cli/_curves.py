"""A loss in numbers, beside torch's, and as curves of text."""

from typing import Any

import numpy as np

import tinyloss
from tinyloss import pictures
from tinyloss.cli._inputs import PATHS, Array
from tinyloss.cli._libraries import LIBRARIES
from tinyloss.cli._others import of_torch
from tinyloss.cli._screen import Part, Screen, strong, warn
from tinyloss.cli.definitions import DEFINITIONS

__all__ = ["show"]

_COLUMNS = 49


def show(name: str, screen: Screen) -> None:
    """Print a table of a loss in float32, and its loss, gradient and curvature as curves."""
    loss: Any = getattr(tinyloss, name)
    path, theirs = PATHS[DEFINITIONS[name].draw], of_torch(name)
    points = np.array(path.points)
    given = [a if a.dtype.kind == "i" else a.astype(np.float32) for a in path.at(points)]
    derive: Any = tinyloss.value_and_grad(loss)
    value, gradient = map(np.asarray, derive(*given, reduction="none"))
    gradient = gradient[..., 0] if gradient.ndim > value.ndim else gradient  # by the first class
    columns = [[f"{point:g}" for point in path.points], _numbers(value), _numbers(gradient)]
    heads = [path.label, "loss", "gradient"]
    others: list[str] = []
    torch = LIBRARIES["torch"]
    if theirs is not None and torch.version is not None:
        others = _numbers(torch.host(theirs([torch.own(each) for each in given])))
        heads.append("torch's loss, float32")
    rows: list[list[Part]] = [[strong(head) for head in heads]]
    for number, row in enumerate(zip(*columns, strict=True)):
        # torch is another formula: it may differ in the last digit that is shown
        line: list[Part] = [*row]
        if others:
            near = np.isclose(float(others[number]), value[number], rtol=1e-3, atol=0)
            line.append(f"{others[number]}  " if near else warn(f"{others[number]} ✗"))
        rows.append(line)
    screen.table(rows, right=range(len(heads)))
    screen.print()
    for curve in pictures.text(loss, width=_COLUMNS).splitlines():
        screen.print(curve)


def _numbers(numbers: Array) -> list[str]:
    return [f"{number:.7g}" for number in numbers.tolist()]
