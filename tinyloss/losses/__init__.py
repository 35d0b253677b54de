"""The losses, one file for each family: formulas, and the public functions and classes.

A family says what is computed for an item. Weights, reductions, dtypes and backends are not its
matter.
"""

import re
from importlib import import_module
from inspect import signature
from textwrap import fill
from typing import Any, Literal, NamedTuple, TypeAlias

from tinyloss._lists import ListFunction
from tinyloss._products import ProductFunction
from tinyloss._regions import ImageFunction, OrderedRegionFunction
from tinyloss._sequences import SequenceFunction
from tinyloss._tokens import TokensFunction

__all__ = ["FAMILIES", "Kind", "Public", "listed", "public_losses"]

FAMILIES = (
    "regression",
    "scores",
    "binary",
    "multiclass",
    "divergence",
    "segmentation",
    "pairs",
    "preference",
    "ranking",
    "lists",
    "survival",
    "ensembles",
    "sparse",
    "sequence",
    "contrastive",
    "metric",
    "decorrelation",
    "products",
    "activations",
)
"""The modules of public functions, in the order in which these are listed."""

Kind: TypeAlias = Literal[
    "elements", "rows", "images", "pairs", "lists", "sequences", "arrays", "predictions", "shares"
]


class Public(NamedTuple):
    """A public loss function, or one that stands beside the losses."""

    name: str
    function: Any
    kind: Kind
    """What an item is: an element, a row of classes or pixels, an image with all its classes, a
    list whose elements have an order, a sequence of rows.

    "pairs": two items or three, each an argument. "arrays": it is called with what makes the
    predictions, or returns what makes them; "predictions": it is called with these alone, and
    returns no loss; "shares": likewise, of a row in an order.
    """
    family: str
    """The module that it is in."""


def public_losses(*kinds: Kind) -> list[Public]:
    """Return the public functions of these kinds, of all without one, family by family."""
    modules = {family: vars(import_module(f"tinyloss.losses.{family}")) for family in FAMILIES}
    every = [
        Public(name, module[name], _kind_of(module[name], family), family)
        for family, module in modules.items()
        for name in module
        if name in module["__all__"]
    ]
    return [each for each in every if not kinds or each.kind in kinds]


def _kind_of(function: Any, family: str) -> Kind:
    parameters = signature(function).parameters
    if isinstance(function, (ProductFunction, TokensFunction)):
        return "arrays"
    if family == "pairs":
        return "pairs"
    if "reduction" not in parameters:
        return "shares" if family == "sparse" else "predictions"
    if isinstance(function, ImageFunction):
        return "images"
    if isinstance(function, (ListFunction, OrderedRegionFunction)):
        return "lists"
    if isinstance(function, SequenceFunction):
        return "sequences"
    return "rows" if "axis" in parameters else "elements"


_INDENT = " " * 36


def listed() -> str:
    """Return a table of all losses: the function, its classes, the first words of its docstring."""
    classes = vars(import_module("tinyloss.losses.classes"))
    lines: list[str] = []
    kinds: tuple[Kind, ...] = (
        "elements",
        "rows",
        "images",
        "pairs",
        "lists",
        "sequences",
        "arrays",
    )
    for each in public_losses(*kinds):
        objects = [
            name
            for name in classes["__all__"]
            if getattr(classes[name], "function", None) is each.function
        ]
        names = ", ".join([each.name, *objects])
        summary = re.split(r"[:;]|\.\s", each.function.__doc__ or "", maxsplit=1)[0]
        told = fill(summary, 100, initial_indent=_INDENT, subsequent_indent=_INDENT)
        lines.append(names + told[len(names) :] if len(names) < 36 else f"{names}\n{told}")
    return "\n".join(lines)
