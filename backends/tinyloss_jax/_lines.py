"""A formula that no program is made of: its lines, with the rule to differentiate them.

As in `_rules`, the value's derivative is the closed form; a gradient is differentiated line by
line.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax.numpy as jnp

from tinyloss.backend import NUMBER, Kind, of_rank
from tinyloss.compiler.kernels import asked_of, roles_of
from tinyloss_jax._rules import Asked, Parts, moving, pushed


class Lines(Asked):
    """The parts that are asked of a formula, as functions of its arrays."""

    def __init__(self, kind: Kind) -> None:
        self._kind, self._roles = kind, roles_of(kind)
        self._closed = [
            name
            for name, role in self._roles.items()
            if hasattr(kind.formula, f"grad_{name}") and not role.keeps_dtype
        ]
        self.ask(asked_of(kind))

    def numbers(self, given: Mapping[str, float], classes: int) -> Mapping[str, float]:
        """Return what the parts take as numbers beside the arrays."""
        return given

    def parts(self, names: Sequence[str], arrays: dict[str, Any]) -> Parts:
        """Return parts of the formula."""
        kind, rank = self._kind, arrays["x"].ndim
        named = dict(arrays)
        for name, role in self._roles.items():
            array = named[name] if role.keeps_dtype else named[name].astype(kind.dtype)
            named[name] = array if role == NUMBER or role.integer else of_rank(jnp, array, rank)
        formula = kind.formula(**named, **kind.static)
        return tuple([getattr(formula, name)() for name in names])

    def rule(self, primals: Any, tangents: Any) -> tuple[Parts, Parts]:
        """Return the parts that are asked for and their tangents."""
        (arrays,), (all_moves,) = primals, tangents
        moves = moving(all_moves)
        closed = {name: moves.pop(name) for name in self._closed if name in moves}
        parts = self.parts(self.asked, arrays)
        names = [name for name in self.asked if name != "value"]
        moved = {**closed, **moves}
        along = dict(zip(names, pushed(partial(self.parts, names), arrays, moved), strict=True))
        if "value" in self.asked:
            shares = [*pushed(partial(self.parts, ["value"]), arrays, moves)] if moves else []
            slopes = self.parts([f"grad_{name}" for name in closed], arrays)
            for slope, move in zip(slopes, closed.values(), strict=True):
                share = slope * move.astype(self._kind.dtype)
                of_rows = self._kind.rowwise and self._kind.formula.per_item
                shares.append(jnp.sum(share, axis=-1) if of_rows else share)
            along["value"] = sum(shares[1:], shares[0])
        return parts, tuple([along[name] for name in self.asked])
