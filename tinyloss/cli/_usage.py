"""What a wrong call raises, and how a loss is named on the command line."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

import tinyloss
from tinyloss.losses import public_losses

__all__ = ["EVERY", "LOSSES", "PIECES", "UsageError", "losses_called"]


LOSSES = tuple(sorted(each.name for each in public_losses("elements", "rows")))
"""The names of the loss functions of predictions."""
PIECES = tuple(sorted(each.name for each in public_losses("predictions", "shares")))
"""The names of the functions that stand beside the losses."""
EVERY = tuple(sorted(each.name for each in public_losses() if each.name not in PIECES))
"""The names of all loss functions."""


class UsageError(Exception):
    """A wrong call: what is wrong with it, and the command to try next."""

    def __init__(self, message: str, next: str) -> None:
        super().__init__(message)
        self.next = next


def losses_called(names: Iterable[str], among: Iterable[str] = LOSSES) -> dict[str, Any]:
    """Return the loss functions of these names, all of them where there is no name."""
    known = frozenset(among)
    chosen = [name.removeprefix("tinyloss.") for name in names] or LOSSES
    for name in chosen:
        if name not in known:
            raise _unknown(name)
    return {name: getattr(tinyloss, name) for name in chosen}


def _unknown(name: str) -> UsageError:
    """Return the error of a name that is none, with the loss that is meant."""
    from tinyloss.cli.cards import cards

    meant = {loss: loss for loss in (*LOSSES, *EVERY, *PIECES)}
    for loss, card in cards().items():
        classes = [word for each in card.objects for word in (each, each.removesuffix("Loss"))]
        words = [*classes, *re.findall(r"\w{3,}", " ".join(card.elsewhere.values()))]
        meant |= {word.lower(): loss for word in words if word.lower() not in meant}
    if name in (*EVERY, *PIECES):
        return UsageError(f"{name} is no loss of predictions and targets", f"tinyloss info {name}")
    if name.lower() not in meant and name in vars(tinyloss)["__all__"]:
        return UsageError(
            f"{name} is no loss, and has no card",
            f"python -c 'import tinyloss; help(tinyloss.{name})'",
        )
    near = [each for each in meant if each.split("_")[-1] == name.lower()]
    near = near or get_close_matches(name.lower(), meant, n=1)
    near = near or [each for each in meant if name.lower() in each]
    return UsageError(
        f"no loss is called {name!r}",
        f"tinyloss info {meant[near[0]]}" if near else "tinyloss info",
    )
