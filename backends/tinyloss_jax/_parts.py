"""Rows of scores whose classes come a part at a time, each looked at twice: see `InParts`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax

from tinyloss.backend import InParts, Kind

Arrays = dict[str, Any]


class Part(NamedTuple):
    """Some classes of rows, from the one of index `start` on."""

    start: Any
    x: Any
    """Their scores; -inf where they were in the part before."""
    y: Any
    more: Arrays
    """What they weigh, and the loss's parameters."""


class RowsInParts:
    """Some rows' answer, from what makes their scores."""

    def __init__(
        self,
        kind: Kind,
        scores: Callable[[Any], Any],
        y: Any,
        more: Arrays,
        classes: int,
        part: int,
    ) -> None:
        made = kind.formula.in_parts
        assert made is not None
        self._kind, self._scores, self._dtype = kind, scores, jnp.dtype(kind.dtype)
        self._classes, self._part = classes, part
        self._y = y if kind.role("y").integer else y.astype(self._dtype)
        self._more = {
            name: each if name in kind.numbers else each.astype(self._dtype)
            for name, each in more.items()
        }
        self._formulas = made(**kind.static, **self._more)
        self.numbers = jnp.arange(-(-classes // part))
        """One for each part."""

    def part(self, number: Any) -> Part:
        """Return a part: the last begins in the one before."""
        first = number * self._part
        start = jnp.minimum(first, self._classes - self._part)
        new, roles = start + jnp.arange(self._part) >= first, self._kind.role
        if roles("y").integer:
            y = jnp.where(self._y >= first, self._y - start, -1)
        else:
            y = jnp.where(new, lax.dynamic_slice_in_dim(self._y, start, self._part, 1), 0)
        more = {
            name: lax.dynamic_slice_in_dim(each, start, self._part)
            if name not in self._kind.numbers and roles(name).per_class
            else each
            for name, each in self._more.items()
        }
        x = jnp.where(new, self._scores(start).astype(self._dtype), -jnp.inf)
        return Part(start, x, y, more | dict(self._kind.static))

    def seen(self, count: int) -> tuple[Any, ...]:
        """Return what all parts show of so many rows."""
        formulas = self._formulas

        def look(known: Any, number: Any) -> Any:
            _, x, y, more = self.part(number)
            return tuple(formulas.joined(known, shown_by(formulas, x, y, more))), None

        start = tuple([jnp.full(count, each, self._dtype) for each in formulas.start.values()])
        known, _ = lax.scan(look, start, self.numbers)
        return known  # type: ignore[no-any-return]

    def loss(self, known: tuple[Any, ...]) -> Any:
        """Return the rows' losses."""
        return self._formulas.loss(*known)

    def slope(self, known: tuple[Any, ...], part: Part) -> Any:
        """Return the gradient of these by a part's scores."""
        slope: Any = self._formulas.slope
        return slope(part.x, part.y, **part.more, **self._formulas.numbers(*known)).grad_x()


def shown_by(formulas: InParts, x: Any, y: Any, more: Arrays) -> list[Any]:
    """Return what a part shows of rows."""
    shown: Any = formulas.shown
    formula = shown(x, y, **more)
    return [getattr(formula, f"grad_{name}")() for name in formulas.start]
