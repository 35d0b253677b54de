"""Which parameters of a test are tried by default, and which in the long run alone."""

from collections.abc import Hashable, Sequence
from itertools import combinations
from typing import Any

import pytest


def turns(rows: Sequence[Any], every: int, ids: Sequence[str] | None = None) -> list[Any]:
    """Return rows of parameters, of which one in so many is tried by default: the rest is long."""
    return [
        pytest.param(
            *(row if isinstance(row, tuple) else (row,)),
            id=None if ids is None else ids[n],
            marks=() if n % every == 0 else pytest.mark.long,
        )
        for n, row in enumerate(rows)
    ]


def covering(rows: Sequence[Sequence[Hashable]]) -> set[int]:
    """Return the numbers of few rows in which any two columns have every pair that all rows have.

    What goes wrong for one choice, or for two that meet, goes wrong in one of them.
    """

    def pairs(row: Sequence[Hashable]) -> set[Hashable]:
        return {*combinations(enumerate(row), 2)}

    missing = set[Hashable]().union(*map(pairs, rows))
    chosen = set[int]()
    while missing:
        best = max(range(len(rows)), key=lambda n: len(missing & pairs(rows[n])))
        chosen.add(best)
        missing -= pairs(rows[best])
    return chosen
