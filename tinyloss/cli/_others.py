"""The same losses of other libraries, by the names that docstrings have for them."""

from collections.abc import Callable
from importlib import import_module
from inspect import isfunction
from typing import Any

from tinyloss.cli.cards import card_of
from tinyloss.cli.definitions import DEFINITIONS
from tinyloss.losses import public_losses

__all__ = ["of_optax", "of_torch"]

_OF_SEQUENCES = {each.name for each in public_losses("sequences")}
"""Elsewhere these take logarithms of probabilities, frames first, and the number of frames."""


def of_torch(name: str) -> Callable[..., Any] | None:
    """Return torch's function of a list of arguments and a reduction, "none" or "mean"."""
    same = card_of(name).same("torch")
    if same is None or name in _OF_SEQUENCES:
        return None
    function, mean = same

    def theirs(arguments: Any, reduction: str = "none") -> Any:
        loss = getattr(import_module("torch.nn.functional"), function)
        options = {"reduction": mean if reduction == "mean" else reduction}
        found = loss(*arguments, **options) if isfunction(loss) else loss(*arguments)
        # torch's divergences are of elements
        whole = DEFINITIONS[name].rows and found.ndim == arguments[0].ndim
        return found.sum(-1) if whole else found

    return theirs


def of_optax(name: str) -> Callable[..., Any] | None:
    """Return optax's function, of each item."""
    same = card_of(name).same("optax")
    return (
        None if same is None else lambda *own: getattr(import_module("optax").losses, same[0])(*own)
    )
