"""Cross-entropies whose classes come in parts: what a part shows of a row, and its gradient.

Logits that come in parts are products. These are rounded, as logarithms are here.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tinyloss._arrays import astype, namespace
from tinyloss._formula import CLASS, ITEM, LABEL, Formula
from tinyloss.losses._numerics import Logits, classes_of, product, sigmoids

__all__ = ["LabelsInParts", "SharesInParts", "SmoothedInParts"]


class _InPart(Formula):
    """What some classes of a row give, where these come in parts."""

    name = "cross_entropy"
    rowwise = True

    def __init__(
        self, x: Any, y: Any, *, temperature: Any = None, softcap: Any = None, **params: Any
    ) -> None:
        self.xp, self.y, self.params = namespace(x), y, params
        self.logits = Logits(x, temperature, softcap)
        self.z = self.logits.z

    @staticmethod
    def over(number: Any) -> Any:
        """Return a number of each row so that it meets all classes."""
        return number[..., None]

    def by_x(self, slope: Any, p: Any, total: Any, mass: Any = 1.0) -> Any:
        """Return the gradient by x, of that by the shaped logits without the z-loss."""
        if (z_loss := self.params.get("z_loss")) is not None:
            slope = slope + 2 * z_loss * mass * total * p
        return slope if self.logits.slope is None else slope * self.logits.slope


class _InParts:
    """A cross-entropy whose classes come in parts, of logits that products have rounded."""

    start: Mapping[str, float]
    shown: type[Formula]
    slope: type[Formula]
    across: type[Formula]

    def __init__(
        self, *, z_loss: Any = None, label_smoothing: Any = None, class_weight: Any = None, **_: Any
    ) -> None:
        self.z_loss, self.smoothing, self.weighs = z_loss, label_smoothing, class_weight is not None

    def squared(self, total: Any, mass: Any) -> Any:
        """Return the z-loss, of rows that count as much as their mass where classes weigh."""
        if self.z_loss is None:
            return 0.0
        return self.z_loss * (mass if self.weighs else 1.0) * total * total


def _across(formula: type[Formula]) -> type[Formula]:
    """Return a formula of rows whose numbers are those of columns, one for each class."""

    class Across(formula):  # type: ignore[misc, valid-type]
        roles = {name: CLASS if role == ITEM else role for name, role in formula.roles.items()}

        @staticmethod
        def over(number: Any) -> Any:
            return number

    return Across


def _log(total: Any) -> Any:
    """Return a logarithm, -inf of 0: without a slope there."""
    xp = namespace(total)
    return xp.where(total == 0, -xp.inf, xp.log(xp.where(total == 0, 1.0, total)))


class _LabelInPart(_InPart):
    roles = {"y": LABEL}

    def __init__(self, x: Any, y: Any, **params: Any) -> None:
        super().__init__(x, y, **params)
        self.target = classes_of(x, y)


class _LabelShown(_LabelInPart):
    """What some classes show of a row: gradients of a sum, by the coefficients of these numbers."""

    roles = {**_LabelInPart.roles, **dict.fromkeys(("others", "asked"), ITEM)}

    def grad_others(self) -> Any:
        """Return the logarithm of the sum of exp(x) over these classes but the target."""
        xp, z, target = self.xp, self.z, self.target
        m = xp.max(xp.where(target, -xp.inf, z), axis=-1, keepdims=True)
        m = xp.where(m == -xp.inf, 0.0, m)  # there is no other, or none is possible
        e = xp.where(target, 0.0, xp.exp(xp.where(target, m, z) - m))
        return m[..., 0] + _log(xp.sum(e, axis=-1))

    def grad_asked(self) -> Any:
        """Return the target's logit, 0 where it is not among these classes."""
        return self.xp.sum(self.xp.where(self.target, self.z, 0.0), axis=-1)


class _LabelSlope(_LabelInPart):
    """The gradient for some classes of rows that are known."""

    roles = {**_LabelInPart.roles, **dict.fromkeys(("total", "pull"), ITEM)}

    def __init__(self, x: Any, y: Any, *, total: Any, pull: Any, **params: Any) -> None:
        super().__init__(x, y, **params)
        self.total, self.pull = self.over(total), self.over(pull)

    def grad_x(self) -> Any:
        p = self.xp.exp(self.z - self.total)
        return self.by_x(self.xp.where(self.target, -self.pull, p), p, self.total)


class LabelsInParts(_InParts):
    """Against class indices, by log sum exp(x) of the others and the target's x."""

    start = {"others": -math.inf, "asked": 0.0}
    shown, slope, across = _LabelShown, _LabelSlope, _across(_LabelSlope)

    def joined(self, one: Sequence[Any], other: Sequence[Any]) -> tuple[Any, ...]:
        return namespace(one[0]).logaddexp(one[0], other[0]), one[1] + other[1]

    def loss(self, *known: Any) -> Any:
        others, target, total = self._finite(*known)
        return sigmoids(others - target).softplus + self.squared(total, 1.0)

    def numbers(self, *known: Any) -> dict[str, Any]:
        others, target, total = self._finite(*known)
        return {"total": total, "pull": sigmoids(others - target).plus}

    def _finite(self, others: Any, target: Any) -> tuple[Any, Any, Any]:
        """Return what is known and the sum; NaN where the target's logit is infinite."""
        xp = namespace(others)
        target = xp.where(target == xp.inf, xp.nan, target)
        return others, target, xp.logaddexp(others, target)


class _ShareInPart(_InPart):
    """Against a distribution: class indices are one, too, where all classes get a share."""

    roles = {"class_weight": CLASS}

    @property
    def q(self) -> Any:
        """The target times the weights of classes."""
        weight = self.params.get("class_weight")
        return self.y if weight is None else self.y * weight

    @property
    def possible(self) -> Any:
        """1 for each class that is possible: not of the logit -inf."""
        xp, z = self.xp, self.z
        return xp.where(z == -xp.inf, xp.zeros_like(z), 1.0)

    @property
    def even(self) -> Any:
        """The weights of those."""
        weight = self.params.get("class_weight")
        return self.possible if weight is None else self.possible * weight

    @property
    def m(self) -> Any:
        """The largest logit, 0 where no class is possible."""
        m = self.xp.max(self.z, axis=-1, keepdims=True)
        return self.xp.where(m == -self.xp.inf, 0.0, m)


class _ShareShown(_ShareInPart):
    """What some classes show of a row, likewise; the last three where all classes get a share."""

    roles = {
        **_ShareInPart.roles,
        **dict.fromkeys(("top", "beside", "mass", "below", "even", "even_below", "possible"), ITEM),
    }

    def grad_top(self) -> Any:
        """Return the largest logit."""
        return self.xp.max(self.z, axis=-1)

    def grad_beside(self) -> Any:
        """Return the logarithm of the sum of exp(x), without one of the largest."""
        xp, z, m = self.xp, self.z, self.m
        e, top = xp.exp(z - m), z == m
        ties = xp.sum(xp.where(top, e, 0.0), axis=-1) - 1
        rest = xp.sum(xp.where(top, 0.0, e), axis=-1) + xp.where(ties < 0, 0.0, ties)
        return m[..., 0] + _log(rest)

    def grad_mass(self) -> Any:
        """Return the sum of the target."""
        return self.xp.sum(self.q, axis=-1)

    def grad_below(self) -> Any:
        """Return how far logits are below the largest, summed by the target."""
        return self.xp.sum(product(self.q, self.m - self.z), axis=-1)

    def grad_even(self) -> Any:
        """Return the sum of the weights of the classes that are possible."""
        return self.xp.sum(self.even, axis=-1)

    def grad_even_below(self) -> Any:
        """Return how far logits are below the largest, summed by these weights."""
        return self.xp.sum(product(self.even, self.m - self.z), axis=-1)

    def grad_possible(self) -> Any:
        """Return the number of these classes."""
        return self.xp.sum(self.possible, axis=-1)


class _ShareSlope(_ShareInPart):
    """The gradient for some classes of rows that are known."""

    roles = {
        **_ShareInPart.roles,
        **dict.fromkeys(("total", "not_top", "asked", "share", "mass"), ITEM),
    }

    def __init__(
        self,
        x: Any,
        y: Any,
        *,
        total: Any,
        not_top: Any,
        asked: Any,
        mass: Any,
        share: Any = None,
        **params: Any,
    ) -> None:
        super().__init__(x, y, **params)
        self.total, self.not_top, self.mass = map(self.over, (total, not_top, mass))
        self.asked, self.share = self.over(asked), share

    def grad_x(self) -> Any:
        xp, smoothing = self.xp, self.params.get("label_smoothing")
        p, q = xp.exp(self.z - self.total), self.q
        not_p = xp.where(p > 0.5, self.not_top, 1 - p)
        if smoothing is not None:
            q = (1 - smoothing) * q + self.over(self.share) * self.even
        # sum(q) p - q, in two terms of which one is 0 where all of q is in one class
        return self.by_x(p * (self.asked - q) - q * not_p, p, self.total, self.mass)


def _of_index(formula: type[Formula]) -> type[Formula]:
    """Return a formula of class indices instead of a distribution."""

    class OfIndex(formula):  # type: ignore[misc, valid-type]
        roles = {**formula.roles, "y": LABEL}

        def __init__(self, x: Any, y: Any, **params: Any) -> None:
            own: Any = super()
            own.__init__(x, astype(namespace(x), classes_of(x, y), x.dtype), **params)

    return OfIndex


class SharesInParts(_InParts):
    """Against a distribution, by the largest x, log sum exp(x) of the others, and sums of these."""

    start: Mapping[str, float] = {"top": -math.inf, "beside": -math.inf, "mass": 0.0, "below": 0.0}
    evenly: Mapping[str, float] = {"even": 0.0, "even_below": 0.0, "possible": 0.0}
    """What is known besides where all classes get a share."""
    shown: type[Formula] = _ShareShown
    slope: type[Formula] = _ShareSlope
    across: type[Formula] = _across(_ShareSlope)

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        if self.smoothing is not None:
            self.start = {**self.start, **self.evenly}

    def joined(self, one: Sequence[Any], other: Sequence[Any]) -> tuple[Any, ...]:
        xp, m, n = namespace(one[0]), one[0], other[0]
        top = xp.maximum(m, n)
        beside = xp.logaddexp(xp.logaddexp(one[1], other[1]), xp.minimum(m, n))

        def below(known: Sequence[Any], at: int) -> Any:
            fall = xp.where((known[0] == top) | (known[0] == -xp.inf), 0.0, top - known[0])
            return known[at + 1] + known[at] * fall

        both = [top, beside]
        for at in range(2, len(one) - 1, 2):
            both += [one[at] + other[at], below(one, at) + below(other, at)]
        count = [one[-1] + other[-1]] if self.smoothing is not None else []
        return (*both, *count)

    def loss(self, *known: Any) -> Any:
        top, beside, mass, below = known[:4]
        log_z = sigmoids(beside - top).softplus
        value = below + mass * log_z
        if self.smoothing is not None:
            even, even_below, count = known[4:]
            share = self.smoothing / count
            value = (1 - self.smoothing) * value + share * (even_below + even * log_z)
        return value + self.squared(namespace(top).logaddexp(top, beside), mass)

    def numbers(self, *known: Any) -> dict[str, Any]:
        top, beside, mass = known[:3]
        xp = namespace(top)
        numbers = {
            "total": xp.logaddexp(top, beside),
            "not_top": sigmoids(beside - top).plus,
            "asked": mass,
            "mass": mass if self.weighs else xp.ones_like(mass),
        }
        if self.smoothing is None:
            return numbers
        even, _, count = known[4:]
        share = self.smoothing / count
        return {**numbers, "asked": (1 - self.smoothing) * mass + share * even, "share": share}


class SmoothedInParts(SharesInParts):
    """Against class indices where all classes get a share."""

    shown, slope = _of_index(_ShareShown), _of_index(_ShareSlope)
    across = _across(slope)
