"""What there is to know of each loss, from its docstring: for `tinyloss info` and for tables."""

import inspect
import re
from dataclasses import dataclass
from typing import Any

import tinyloss
from tinyloss.cli._usage import LOSSES

__all__ = ["Card", "card_of", "cards"]

_SECTION = re.compile(r"^([A-Z][a-z ]*): ((?:.+\n?)+)", re.MULTILINE)


@dataclass(frozen=True)
class Card:
    """A loss in words: its name and summary, and the paragraphs of its docstring's notes."""

    name: str
    signature: str
    summary: str
    objects: tuple[str, ...]
    """Its classes."""
    sections: dict[str, str]
    """`Use for`, `Shapes`, `Domain`, `Formula`, `Gradient`, `Accuracy`, `Edge cases`, `Source`."""
    elsewhere: dict[str, str]
    """Its names in other libraries, by library."""


def cards() -> dict[str, Card]:
    """Return the card of each loss, by name."""
    return {name: card_of(name) for name in LOSSES}


def card_of(name: str) -> Card:
    """Return the card of a loss."""
    loss = getattr(tinyloss, name)
    documentation = inspect.getdoc(loss) or ""
    notes = documentation.partition("Notes\n-----\n")[2].partition("Examples\n--------\n")[0]
    sections = {head: " ".join(text.split()) for head, text in _SECTION.findall(notes)}
    names = sections.pop("Elsewhere", "none.").removesuffix(".").replace("`", "")
    pairs: list[Any] = [each.split(" ", 1) for each in names.split("; ")] if names != "none" else []
    return Card(
        name,
        f"{name}{_signature(loss)}",
        documentation.partition("\n")[0],
        tuple(each for each in vars(tinyloss)["__all__"] if _made_of(each, loss)),
        sections,
        dict(pairs),
    )


def _signature(loss: Any) -> str:
    """Return a loss's own parameters, without types and without the options of every loss."""
    own = [
        parameter.replace(annotation=parameter.empty)
        for parameter in inspect.signature(loss).parameters.values()
        if parameter.name not in ("weight", "where", "reduction", "denominator", "axis_name")
    ]
    return str(inspect.Signature(own))


def _made_of(name: str, loss: Any) -> bool:
    public = getattr(tinyloss, name)
    return isinstance(public, type) and getattr(public, "function", None) is loss
