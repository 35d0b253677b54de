"""Which parameters of a test are tried by default, and which in the long run alone."""

from collections.abc import Sequence
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
