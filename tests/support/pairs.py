"""Similarities of vectors by mpmath, derivatives of losses of these, and how many products."""

from collections.abc import Callable
from typing import Any

import pytest

import tinyloss_numpy
from tests.support.jets import mp

E = [[-1.954, 1.078], [0.238, -0.5703], [1.8745, -0.0195], [-0.6719, -1.921]]
F = [[1, 0.5], [-0.25, -1], [0.75, 0.25], [-1, -0.5]]


def units(rows: Any) -> list[list[Any]]:
    """Return rows divided by their lengths."""
    exact = [[mp.mpf(each) for each in row] for row in rows]
    return [[each / mp.sqrt(mp.fsum(a * a for a in row)) for each in row] for row in exact]


def cosines(a: Any, b: Any) -> list[list[Any]]:
    one, other = units(a), units(b)
    return [[mp.fsum(p * q for p, q in zip(u, v, strict=True)) for v in other] for u in one]


def slope(exact: Callable[..., Any], arrays: list[Any], which: int, place: Any) -> Any:
    """Return the derivative by one number, as a central difference of 40 digits."""
    step = mp.mpf(10) ** -25

    def at(move: Any) -> Any:
        moved = [[list(map(mp.mpf, row)) for row in array] for array in arrays]
        moved[which][place[0]][place[1]] += move
        return exact(*moved)

    return (at(step) - at(-step)) / (2 * step)


def counting(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Return a list that the shape of each product is added to."""
    counted: list[tuple[int, ...]] = []
    multiply = tinyloss_numpy.multiply

    def counts(a: Any, b: Any, into: Any, adds: bool) -> None:
        counted.append(into.shape)
        multiply(a, b, into, adds)

    monkeypatch.setattr(tinyloss_numpy, "multiply", counts)
    return counted
