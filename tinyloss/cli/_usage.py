"""What a wrong call raises, and how a loss is named on the command line."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

import tinyloss
from tinyloss.losses import public_losses

__all__ = ["LOSSES", "UsageError", "losses_called"]


LOSSES = tuple(sorted(each.name for each in public_losses("elements", "rows")))
"""The names of the loss functions of predictions."""


class UsageError(Exception):
    """A wrong call: what is wrong with it, and the command to try next."""

    def __init__(self, message: str, next: str) -> None:
        super().__init__(message)
        self.next = next


def losses_called(names: Iterable[str]) -> dict[str, Any]:
    """Return the loss functions of these names, all of them where there is no name."""
    chosen = [*names] or LOSSES
    for name in chosen:
        if name not in LOSSES:
            # A class's name, or another library's, is near enough to the function's.
            near = get_close_matches(name.lower(), LOSSES, n=1, cutoff=0.5)
            raise UsageError(
                f"no loss is called {name!r}",
                f"tinyloss info {near[0]}" if near else "tinyloss info",
            )
    return {name: getattr(tinyloss, name) for name in chosen}
