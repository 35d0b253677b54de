"""The exact results of losses, from their definitions, in decimal numbers.

Where an item's terms cancel, no more can be promised than eps of the sum of their sizes.
Derivatives are differences of the definition: with `DIGITS` digits and steps of `STEP` they are
right to 40 digits and more, and owe nothing to anybody's closed form.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Context, Decimal, localcontext
from typing import Any

from tinyloss.cli.definitions import Definition

__all__ = ["Truth", "item_of", "truth", "value_of"]

DIGITS = 110
STEP = Decimal("1e-40")

# No number that a float has overflows here.
_CONTEXT = Context(prec=DIGITS, Emin=-(10**8), Emax=10**8)


@dataclass(frozen=True)
class Truth:
    """An exact number, and what its error is measured by."""

    exact: Decimal
    size: Decimal


def item_of(arguments: Sequence[Any], at: int) -> list[Any]:
    """Return the exact arguments of an item from NumPy's arrays, of rows or of elements."""

    def exact(drawn: Any) -> Any:
        if drawn.__class__ is list:
            return [*map(exact, drawn)]
        return drawn if isinstance(drawn, int) else Decimal(drawn)

    return [exact(array[at].tolist()) for array in arguments]


def value_of(of: Definition, arguments: Sequence[Any]) -> Truth:
    """Return the loss of an item."""
    with localcontext(_CONTEXT):
        return _sum(of.terms(*arguments), relative=of.relative)


def truth(of: Definition, arguments: Sequence[Any]) -> tuple[Truth, list[Truth], list[Truth]]:
    """Return value, gradient and curvature of an item by x; a row has one of each number."""
    x, *more = arguments
    with localcontext(_CONTEXT):
        here = of.terms(x, *more)
        gradient: list[Truth] = []
        curvature: list[Truth] = []
        for place in _places(x):
            up, down = (of.terms(_moved(x, place, step), *more) for step in (STEP, -STEP))
            slopes = [(b - a) / (2 * STEP) for a, b in zip(down, up, strict=True)]
            bends = [(a - 2 * b + c) / STEP**2 for a, b, c in zip(down, here, up, strict=True)]
            gradient.append(_sum(slopes))
            curvature.append(_sum(bends))
        return _sum(here, relative=of.relative), gradient, curvature


def _sum(terms: Sequence[Decimal], *, relative: bool = False) -> Truth:
    value = sum(terms, Decimal(0))
    size = abs(value) if relative else sum((abs(each) for each in terms), Decimal(0))
    return Truth(value, size)


def _places(x: Any) -> list[tuple[int, ...]]:
    """Return where the numbers of an item are, a list of lists or one of numbers or a number."""
    if x.__class__ is not list:
        return [()]
    return [(at, *place) for at, part in enumerate(x) for place in _places(part)]


def _moved(x: Any, place: tuple[int, ...], step: Decimal) -> Any:
    if not place:
        return x + step
    first, *rest = place
    return [_moved(a, (*rest,), step) if first == at else a for at, a in enumerate(x)]
