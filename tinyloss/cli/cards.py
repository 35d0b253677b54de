"""What there is to know of each loss, from its docstring: for `tinyloss info` and for tables."""

import inspect
import re
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any, NamedTuple, cast

import tinyloss
from tinyloss.losses import Kind, public_losses

__all__ = ["Card", "Promise", "card_of", "cards", "plain", "promises", "told"]

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
    example: str
    """What it is called with, as in a session of Python."""

    def same(self, library: str) -> tuple[str, str] | None:
        """Return the name of the same function in a library, and of its mean over items."""
        found = re.fullmatch(r'(\w+)(?:, \w+| with "(\w+)")*', self.elsewhere.get(library, ""))
        return None if found is None else (found[1], found[2] or "mean")


class Promise(NamedTuple):
    """How far off a result may be: in eps, and what each unit of gamma adds."""

    eps: float
    per_gamma: float = 0.0


def promises(name: str) -> dict[str, Promise]:
    """Return what a docstring promises of each result: value, gradients by argument, curvature."""
    text = card_of(name).sections["Accuracy"]
    bound, names = r"(?:exact|[\d.]+(?: \+ \d+ gamma)? eps)", r"(?: by \w+(?: and \w+)*)?"
    gradient = f"{bound}{names}(?:, {bound}{names})*"
    bent = rf"(?:; curvature ({bound}))?"
    found = re.match(rf"value ({bound})(?:; gradient ({gradient}){bent})?", text)
    if found is None:
        raise ValueError(f"the accuracy of {name} is {text!r}, expected a bound for each result")
    value, gradients, curvature = found.groups()
    if gradients is None:
        return {"value": _promise(value)}
    every = inspect.signature(getattr(tinyloss, name)).parameters.values()
    arguments = [each.name for each in every if each.kind is each.POSITIONAL_OR_KEYWORD]
    # The first two are x and y to formulas and definitions, whatever a caller calls them.
    known = dict(zip(arguments, ("x", "y"), strict=False))
    by = {
        known.get(argument, argument): _promise(eps)
        for eps, told in re.findall(rf"({bound})({names})", gradients)
        for argument in (told.removeprefix(" by ").split(" and ") if told else arguments)
    }
    bends = {} if curvature is None else {"curvature": _promise(curvature)}
    return {"value": _promise(value), **by, **bends}


def _promise(text: str) -> Promise:
    eps, _, gamma = text.removesuffix(" eps").removesuffix(" gamma").partition(" + ")
    return Promise(0.0 if eps == "exact" else float(eps), float(gamma or 0))


def cards() -> dict[str, Card]:
    """Return the card of each loss, by name."""
    kinds: tuple[Kind, ...] = ("elements", "rows", "images", "pairs", "lists", "sequences")
    return {each.name: card_of(each.name) for each in public_losses(*kinds)}


def card_of(name: str) -> Card:
    """Return the card of a loss."""
    loss = getattr(tinyloss, name)
    documentation = inspect.getdoc(loss) or ""
    notes, _, example = documentation.partition("Notes\n-----\n")[2].partition(
        "Examples\n--------\n"
    )
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
        example.strip(),
    )


def plain(known: tinyloss.Traits) -> dict[str, Any]:
    """Return traits as JSON has them: an infinite number is "inf" or "-inf"."""
    return {name: _plain(each) for name, each in asdict(known).items()}


def _plain(known: Any) -> Any:
    if isinstance(known, tuple):
        return [_plain(each) for each in cast("tuple[float, ...]", known)]
    return str(known) if isinstance(known, float) and not isfinite(known) else known


def told(known: tinyloss.Traits) -> dict[str, str]:
    """Return traits in words, "–" for what is not known or means nothing."""
    strong, kinks = known.strong_convexity, known.kinks
    answers = {True: "yes", False: "no", None: "–"}
    at = ", ".join(f"{each:g}" for each in kinks) if kinks else ""
    return {
        "convex": f"strongly, {strong:g}" if known.convex and strong else answers[known.convex],
        "slope": _most(known.lipschitz),
        "curvature": _most(known.smoothness),
        "range": "–" if known.range is None else "{:.3g} to {:.3g}".format(*known.range),
        "symmetric": answers[known.symmetric],
        "gradient jumps": "–" if kinks is None else f"{known.variable} = {at}" if at else "no",
        "best prediction": known.elicits or "–",
        "proper": answers[known.proper],
        "calibrated": answers[known.calibrated],
    }


def _most(constant: float | None) -> str:
    if constant is None:
        return "–"
    if not isfinite(constant):
        return "unbounded"
    return f"at most {constant:.4g}" if constant else "0"


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
