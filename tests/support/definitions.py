"""Losses by their definitions, on mpmath's numbers, with derivatives that nobody wrote down.

`exact.central_differences` proves these.

Binary logits of +-inf give the limit. `None` marks what no convention settles, such as the
derivative by a target probability of 0 of y log y.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from inspect import signature
from typing import Any

import numpy as np

import tinyloss
from tests.support.jets import Jet, Number, jet, mp, times
from tinyloss._formula import Formula
from tinyloss.cli.definitions import DEFINITIONS
from tinyloss.losses import public_losses

Item = dict[str, Any]
"""Results of one item by name: value, derivatives by argument, and curvature."""

DEEP = {each.name for each in public_losses("images", "sequences")}
"""Losses of which an item is a matrix."""


@dataclass(frozen=True)
class Exact:
    """A loss by its definition, on the mpmath numbers of one item."""

    name: str
    limit: Callable[..., Item] | None = None
    """What stands instead where x is infinite."""
    bits: int = 200
    """With fewer it is not asked: terms that cancel to 0 each for itself need more than their sum.
    """
    unsettled: Callable[..., dict[str, Any]] | None = None
    """Whether no convention settles a result, from the numbers of an item; in rows, which."""

    @cached_property
    def arguments(self) -> tuple[str, ...]:
        return DEFINITIONS[self.name].arguments

    @cached_property
    def target(self) -> bool:
        """Whether there is a y; softmax and the like have none."""
        return "y" in self.arguments

    @cached_property
    def depth(self) -> int:
        """How many axes of x an item has: an element none, a row one, its frames or classes two."""
        if self.name in DEEP:
            return 2
        return int("axis" in signature(getattr(tinyloss, self.name)).parameters)

    @property
    def rowwise(self) -> bool:
        """Whether an item is more than an element."""
        return self.depth > 0

    @cached_property
    def _formula(self) -> type[Formula] | None:
        """The formula of its rows or elements, of sequences None."""
        loss: Any = getattr(tinyloss, self.name)
        request = loss.request([None] * len(self.arguments), {})
        formula: type[Formula] | None = request.formula or request.labels
        return formula

    @cached_property
    def floored(self) -> bool:
        """Whether probabilities below the smallest normal number count as that."""
        return "floor" in signature(DEFINITIONS[self.name].of).parameters

    @cached_property
    def gradients(self) -> tuple[str, ...]:
        """The arguments it can be differentiated by, where y are no class indices."""
        if not self.target:
            return ()
        own = self._formula
        return tuple(name for name in self.arguments if name == "x" or hasattr(own, f"grad_{name}"))

    @cached_property
    def curved(self) -> bool:
        """Whether it has curvature."""
        own = self._formula if self.target else None
        return own is not None and own.curvature is not Formula.curvature

    def value(self, *args: Any, **parameters: Any) -> Number:
        """Return the loss of an item."""
        return _numbers(self._result([_exact(each) for each in args], parameters))

    def item(self, *args: Any, **parameters: Any) -> Item:
        """Return the loss of an item and all derivatives."""
        x = args[0]
        if self.limit is not None and mp.isinf(x):
            return self.limit(*args, **parameters)
        if not self.target:
            return {"value": self.value(*args)}
        named = dict(zip(self.arguments, args, strict=True))
        variables = {name: _variables(name, named[name]) for name in self.gradients}
        result = self._result([variables.get(k, _exact(a)) for k, a in named.items()], parameters)
        out: Item = {"value": result.number}
        if self.curved:
            out["curvature"] = _derivative(result, "x", x, 2)
        for name in self.gradients:
            if not isinstance(named[name], int):
                out[name] = _derivative(result, name, named[name], 1)
        for name, open in (self.unsettled(*args, **parameters) if self.unsettled else {}).items():
            if isinstance(open, list):
                out[name] = [None if a else b for a, b in zip(open, out[name], strict=True)]
            elif open:
                out[name] = None
        return out

    def _result(self, args: list[Any], parameters: dict[str, Any]) -> Any:
        if parameters.pop("ignore_index", None) in args[1:]:
            return Jet(0)
        of = DEFINITIONS[self.name]
        given = {name: _exact(each) for name, each in (of.defaults | parameters).items()}
        first, *more = of.terms(*args, **given)
        return first if isinstance(first, list) else sum(more, jet(first))


def counts(name: str, y: Any, classes: int) -> Any:
    """Return how often items count in a mean besides their weights, by a paper's definition."""
    return np.minimum(y, classes - 1) + 1 if name == "corn" else np.ones(np.shape(y))


def _numbers(result: Any) -> Any:
    return [jet(a).number for a in result] if isinstance(result, list) else result.number


def _exact(a: Any) -> Any:
    if isinstance(a, list):
        return [_exact(each) for each in a]
    return a if a is None or isinstance(a, int | str) else jet(a)


def _variables(name: str, a: Any, *place: int) -> Any:
    """Return an argument as what derivatives are by."""
    if isinstance(a, list):
        return [_variables(name, each, *place, at) for at, each in enumerate(a)]
    return a if isinstance(a, int) else Jet(a, {(name, place): (1, 0)})


def _derivative(result: Jet, name: str, a: Any, order: int, *place: int) -> Any:
    if isinstance(a, list):
        return [_derivative(result, name, each, order, *place, at) for at, each in enumerate(a)]
    if mp.isnan(result.number):
        return mp.nan
    return times(order, result.by.get((name, place), (0, 0))[order - 1])


# ---------------------------------------------------------------------------------------- limits


def smoothed(y: Number, label_smoothing: Number) -> Number:
    return (1 - label_smoothing) * mp.mpf(y) + mp.mpf(label_smoothing) / 2


def bce_logits_limit(
    x: Number, y: Number, *, pos_weight: Number = 1, label_smoothing: Number = 0
) -> Item:
    """Limits at x = +-inf."""
    q, slope = smoothed(y, label_smoothing), -x * (1 - label_smoothing)
    wrong = pos_weight * q if x < 0 else 1 - q
    return {
        "value": mp.inf if wrong > 0 else 0,
        "x": -wrong if x < 0 else wrong,
        "y": slope * pos_weight if x < 0 else slope,
        "curvature": 0,
    }


def sigmoid_focal_limit(
    x: Number,
    y: Number,
    *,
    alpha: Number | None = None,
    gamma: Number = 2.0,
    label_smoothing: Number = 0,
) -> Item:
    y = smoothed(y, label_smoothing)
    # There the loss is a t^(gamma + 1) |x|, t what is missed and a the balance of the two sides.
    t, dt = (y, 1) if x < 0 else (1 - y, -1)
    a, da = (1, 0) if alpha is None else (alpha * y + (1 - mp.mpf(alpha)) * (1 - y), 2 * alpha - 1)
    wrong = a * t ** mp.mpf(gamma) * t
    by_y = t ** mp.mpf(gamma) * (da * t + a * (gamma + 1) * dt) * (1 - label_smoothing)
    return {
        "value": mp.inf if wrong > 0 else 0,
        "x": -wrong if x < 0 else wrong,
        "y": by_y * mp.inf if by_y != 0 else 0,
        "curvature": 0,
    }


def soft_margin_limit(x: Number, y: Number) -> Item:
    wrong = y * x < 0
    return {
        "value": mp.inf if wrong else 0,
        "x": -y if wrong else 0,
        "y": -x if wrong else 0,
        "curvature": 0,
    }


def exponential_limit(x: Number, y: Number) -> Item:
    wrong = mp.inf if y * x < 0 else mp.zero
    return {"value": wrong, "x": -y * wrong, "y": -x if wrong else 0, "curvature": wrong}


def softplus_limit(x: Number) -> Item:
    return {"value": mp.inf if x > 0 else 0}


def log_sigmoid_limit(x: Number) -> Item:
    return {"value": 0 if x > 0 else -mp.inf}


# ---------------------------------------------------------------------------- what is not settled


def at_the_step_of_huber(x: Number, y: Number, *, delta: Number = 1.0) -> dict[str, Any]:
    """Where rounding x - y may move it over the point where the curvature jumps."""
    return {"curvature": abs(abs(x - y) - delta) <= delta * mp.mpf(2) ** -16}


def at_the_step_of_smooth_l1(x: Number, y: Number, *, beta: Number = 1.0) -> dict[str, Any]:
    return at_the_step_of_huber(x, y, delta=beta)


def at_the_step_of_wing(
    x: Number, y: Number, *, epsilon: Number = 2.0, width: Number = 10.0
) -> dict[str, Any]:
    step = at_the_step_of_huber(x, y, delta=width)["curvature"]
    return {"x": step, "y": step, "curvature": step}


def at_the_edge_of_the_margin(x: Number, y: Number, *, epsilon: Number = 0.1) -> dict[str, Any]:
    edge = epsilon > 0 and at_the_step_of_huber(x, y, delta=epsilon)["curvature"]
    return {"x": edge, "y": edge, "curvature": edge}


def by_the_target_of_what_cannot_be(x: Any, y: Any, **parameters: Any) -> dict[str, Any]:
    if isinstance(y, int) or parameters.get("from_logits") is False:
        return {}
    return {"y": [a == -mp.inf for a in x]}


def by_a_share_of_what_is_certain(
    x: Any, y: Any, *, gamma: Any = 2.0, from_logits: bool = True, **parameters: Any
) -> dict[str, Any]:
    """A class that is certain may bend without end, of which no share is 0 times an infinity."""
    if from_logits:
        return by_the_target_of_what_cannot_be(x, y)
    shares = y if isinstance(y, list) else []
    none = [a == 1 and b == 0 for a, b in zip(x, shares, strict=False)]
    return {"curvature": none} if 0 < gamma < 1 and any(none) else {}


def by_what_ties(x: Any, y: int, **parameters: Any) -> dict[str, Any]:
    """Of rivals alike the definition differentiates by the first."""
    rivals = [a for at, a in enumerate(x) if at != y]
    best = max(rivals, default=None)
    tied = rivals.count(best) > 1
    return {"x": [tied and at != y and a == best for at, a in enumerate(x)]}


def at_the_margin(
    x: Any, y: int, *, margin: Number = 1.0, p: int = 1, **parameters: Any
) -> dict[str, Any]:
    """Where rounding may move a class over the point from which it costs nothing."""
    if not 0 <= y < len(x):  # it is ignored
        return {}
    near = [abs(margin + a - x[y]) <= margin * mp.mpf(2) ** -16 for a in x]
    near[y] = False
    open = [any(near) if at == y else each for at, each in enumerate(near)]
    return {"x": [each and p == 1 for each in open], "curvature": open}


def at_the_kink_of_a_pair(
    x: Number,
    y: Number,
    ref_chosen: Number = 0,
    ref_rejected: Number = 0,
    *,
    beta: Number = 0.1,
    kind: str = "sigmoid",
    **parameters: Any,
) -> dict[str, Any]:
    """Where rounding may move a pair over the point from which it costs nothing."""
    z = beta * (mp.mpf(x) - ref_chosen - y + ref_rejected)
    near = kind == "hinge" and abs(1 - z) <= mp.mpf(2) ** -16
    return dict.fromkeys(("x", "y", "ref_chosen", "ref_rejected"), near) if near else {}


def at_the_margin_of_pairs(x: list[Any], y: list[Any], *, margin: Number = 1.0) -> dict[str, Any]:
    """Where rounding may move a pair over the point from which it costs nothing."""
    near = [
        (i, j)
        for i in range(len(x))
        for j in range(len(x))
        if y[i] > y[j] and abs(margin - (x[i] - x[j])) <= (abs(x[i]) + margin) * mp.mpf(2) ** -16
    ]
    return {"x": [any(at in pair for pair in near) for at in range(len(x))]}


def where_errors_nearly_meet(x: list[Any], y: list[Any]) -> dict[str, Any]:
    """Where rounding may change which of two pixels is more wrong, each on a side of its own."""
    errors = [1 - a if b else 1 + a for a, b in zip(x, y, strict=True)]
    return {
        "x": [
            any(
                e != other and abs(e - other) <= (1 + abs(a)) * mp.mpf(2) ** -16 for other in errors
            )
            for a, e in zip(x, errors, strict=True)
        ]
    }


def by_a_scale_of_0(x: Number, y: Number, scale: Number, **parameters: Any) -> dict[str, Any]:
    kink = scale == 0 and x == y
    return {"x": kink, "y": kink, "scale": scale == 0, "curvature": kink}


def by_an_amount_of_0(x: Number, y: Number, **parameters: Any) -> dict[str, Any]:
    return {"y": y == 0}


def by_a_target_of_0(x: Any, y: Any, *, log_target: bool = False) -> dict[str, Any]:
    return {"y": [b == 0 and not log_target for b in y]}


def by_an_element_of_0(x: Number, y: Number, *, log_target: bool = False) -> dict[str, Any]:
    return {"y": y == 0 and not log_target}


def by_the_target_of_what_is_infinite(x: Any, y: Any, **parameters: Any) -> dict[str, Any]:
    """A class that has a share of y cannot be by x."""
    infinite = any(a == -mp.inf < b for a, b in zip(x, y, strict=True))
    return {"y": [infinite] * len(y)}


def by_a_share_of_0(x: Any, y: Any) -> dict[str, Any]:
    none = [a == 0 for a in x]
    return {"x": none, "y": [b == 0 for b in y], "curvature": none}
