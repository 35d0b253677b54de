"""Losses of rows of which some classes are impossible."""

from collections.abc import Mapping
from typing import Any, ClassVar

from tinyloss._arrays import has_dtype, namespace
from tinyloss._engine.checks import check_booleans
from tinyloss._engine.request import Product, Request
from tinyloss._formula import Formula, Role, made_once
from tinyloss._traits import Traits


def of_possible(request: Request) -> Request:
    """Return a request whose formulas take which classes are possible as a further array."""
    mask = request.mask
    if mask is None:
        return request
    # Of scores that nobody holds, a mask that all rows share is not repeated for each either.
    shape = tuple(getattr(mask, "shape", ()))
    shared = isinstance(request.x, Product) and len(shape) == 1 and shape != (1,)
    if has_dtype(mask):
        check_booleans("mask", mask)
    return request._replace(
        formula=request.formula and masked(request.formula, shared),
        labels=request.labels and masked(request.labels, shared),
        arrays={**request.arrays, "mask": mask},
        mask=None,
    )


def masked(own: type[Formula], shared: bool = False) -> type[Formula]:
    """Return a formula of logits and of which classes are possible: others count as -inf.

    `shared`: the mask has one boolean for each class, for all rows.
    """

    role = Role(per_item=not shared, per_class=True, replaced=shared)

    def make() -> type[Formula]:
        class Masked(own):  # type: ignore[misc, valid-type]
            in_parts = None
            roles: ClassVar[Mapping[str, Role]] = {**own.roles, "mask": role}

            def __init__(self, x: Any, y: Any, *, mask: Any, **params: Any) -> None:
                xp, self.possible = namespace(x), mask != 0
                own: Any = super()
                own.__init__(xp.where(self.possible, x, -xp.inf), y, **params)

            def grad_x(self) -> Any:
                own: Any = super()
                return self._of_possible(own.grad_x())

            def curvature(self) -> Any:
                return self._of_possible(super().curvature())

            def _of_possible(self, derivative: Any) -> Any:
                return namespace(derivative).where(self.possible, derivative, 0.0)

            @classmethod
            def traits(cls, **params: Any) -> Traits:
                del params["mask"]  # they hold for any number of classes
                known: Traits = super().traits(**params)
                return known

        return Masked

    return made_once(own, "_masked_alike" if shared else "_masked", make)
