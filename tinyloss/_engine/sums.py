"""A sum of losses of the same arrays as one loss: one pass over the data, rounded once."""

from collections.abc import Callable, Sequence
from typing import Any

from tinyloss._cache import cache_of
from tinyloss._engine.request import Product, Regions, Request
from tinyloss._formula import Formula

ORDINARY = 2.0**100
"""A factor of this size and its inverse are ordinary float32 numbers, and so are their products."""
_ALIKE = ("rowwise", "several_axes", "per_item", "binary", "signed", "harmless", "counts", "ranks")
_SHARED = ("weight", "where", "reduction", "denominator", "axis", "axis_name", "ignore_index")


def summed(factors: Sequence[float], requests: Sequence[Request]) -> Request | None:
    """Return the request for a sum of losses; None where they have to be asked one by one."""
    first = requests[0]
    for factor, each in zip(factors, requests, strict=True):
        if not 1 / ORDINARY < abs(factor) < ORDINARY:
            return None
        if each.arrays or each.class_weight is not None or isinstance(each.x, (Product, Regions)):
            return None
        if any(getattr(each, name) is not getattr(first, name) for name in _SHARED):
            return None
    formula, labels = [
        _sum_of([getattr(each, name) for each in requests]) for name in ("formula", "labels")
    ]
    params: dict[str, Any] = {}
    for number, (factor, each) in enumerate(zip(factors, requests, strict=True)):
        params[f"factor_{number}"] = float(factor)
        params |= {f"{name}_{number}": value for name, value in each.params.items()}
    if formula is NotImplemented or labels is NotImplemented:
        return None
    return first._replace(formula=formula, labels=labels, params=params)


def _sum_of(parts: Sequence[type[Formula] | None]) -> Any:
    """Return the formula of a sum, None for none; NotImplemented where they differ in kind."""
    known = [part for part in parts if part is not None]
    if not known:
        return None
    first = known[0]
    alike = [tuple([getattr(part, name) for name in _ALIKE]) for part in known]
    roles = [part.role("y") for part in known]
    if len(known) < len(parts) or len({*alike}) > 1 or len({*roles}) > 1:
        return NotImplemented
    if any(part.steady for part in known):
        return NotImplemented
    return cache_of(first, "sums").made(tuple(known), lambda: _formula_of(known))


def _formula_of(parts: Sequence[Any]) -> type[Formula]:
    first: Any = parts[0]

    class Sum(Formula):
        name = first.name
        rowwise, several_axes, per_item = first.rowwise, first.several_axes, first.per_item
        binary, signed, harmless = first.binary, first.signed, first.harmless
        counts, ranks = first.counts, first.ranks
        compares_classes = any(part.compares_classes for part in parts)
        paired = any(part.paired for part in parts)
        in_order = any(part.in_order for part in parts)
        exact_curvature = all(part.exact_curvature for part in parts)
        roles = first.roles

        def __init__(self, x: Any, y: Any, **params: Any) -> None:
            self.terms: list[tuple[Any, Formula]] = []
            for number, part in enumerate(parts):
                own = {
                    name.removesuffix(f"_{number}"): value
                    for name, value in params.items()
                    if name.endswith(f"_{number}")
                }
                self.terms.append((own.pop("factor"), part(x, y, **own)))

        def added(self, part_of: Callable[[Any], Any]) -> Any:
            first, *others = [factor * part_of(term) for factor, term in self.terms]
            return sum(others, first)

        def value(self) -> Any:
            return self.added(lambda term: term.value())

        def curvature(self) -> Any:
            return self.added(lambda term: term.curvature())

        def boosting_curvature(self, curvature: Any) -> Any:
            del curvature  # of the sum: each term has its own
            return self.added(lambda term: term.boosting_curvature(term.curvature()))

    def gradient(name: str) -> Any:
        def of_terms(self: Sum) -> Any:
            return self.added(lambda term: getattr(term, name)())

        return of_terms

    for name in ("grad_x", "grad_y"):
        if all(hasattr(part, name) for part in parts):
            setattr(Sum, name, gradient(name))
    return Sum
