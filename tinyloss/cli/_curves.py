"""A loss in numbers, beside torch's, and as curves of text."""

from importlib import import_module
from typing import Any

import numpy as np

import tinyloss
from tinyloss.cli._definitions import DEFINITIONS
from tinyloss.cli._inputs import PATHS, Arguments, Array
from tinyloss.cli._libraries import LIBRARIES
from tinyloss.cli._screen import Part, Screen, dim, strong, warn

__all__ = ["show", "spark"]

_BARS = "▁▂▃▄▅▆▇█"
_COLUMNS = 49


def show(name: str, screen: Screen) -> None:
    """Print a table of a loss in float32, and its loss, gradient and curvature as curves."""
    of, path = DEFINITIONS[name], PATHS[DEFINITIONS[name].draw]
    points = np.array(path.points)
    given = [a if a.dtype.kind == "i" else a.astype(np.float32) for a in path.at(points)]
    value, gradient, _ = _results(name, given)
    columns = [[f"{point:g}" for point in path.points], _numbers(value), _numbers(gradient)]
    heads = [path.label, "loss", "gradient"]
    others: list[str] = []
    if of.torch is not None and LIBRARIES["torch"].version is not None:
        others = _numbers(_of_torch(of.torch, given))
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
    t = np.linspace(path.low, path.high, _COLUMNS)
    value, gradient, curvature = _results(name, path.at(t))
    for label, numbers in (("loss", value), ("gradient", gradient), ("curvature", curvature)):
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


def _results(name: str, given: Arguments) -> tuple[Array, Array, Array]:
    """Return loss, gradient and curvature; of rows those by the first class."""
    loss: Any = getattr(tinyloss, name)
    value = np.asarray(loss(*given, reduction="none"))
    derived: Any = tinyloss.grad_and_hess(loss)
    gradient, curvature = map(np.asarray, derived(*given))
    if gradient.ndim > value.ndim:
        return value, gradient[..., 0], curvature[..., 0]
    return value, gradient, curvature


def _of_torch(theirs: Any, given: Arguments) -> Array:
    torch = LIBRARIES["torch"]
    functional = import_module("torch.nn.functional")
    numbers: Array = torch.host(theirs(functional, [torch.own(each) for each in given]))
    return numbers


def _numbers(numbers: Array) -> list[str]:
    return [f"{number:.7g}" for number in numbers.tolist()]
