"""Where a loss is drawn: over which predictions, against which target, and how that is found out.

Nothing is known of a loss by its name: it is asked for a few numbers. So a loss that is new, or a
user's own, is drawn as the others are.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

import tinyloss

Array = npt.NDArray[Any]
Loss = Any
"""A loss function: one of tinyloss's, or made by `tinyloss.loss`."""
What = Literal["value", "gradient", "curvature"]

# A checker takes the arguments of a derivative from the type of its loss, which may be any here.
grad: Any = tinyloss.grad
grad_and_hess: Any = tinyloss.grad_and_hess

POINTS = 601
SPANS: Mapping[str, tuple[float, float]] = {
    "error": (-3, 3),
    "prediction": (-3, 6),
    "probability": (0.005, 0.995),
    "logit": (-6, 6),
    "score": (-3, 3),
    "lead": (-6, 6),
    "share": (0.005, 0.995),
    "log share": (-6, -0.005),
    "log-probability": (-6, -0.005),
    "row": (-4, 4),
}
"""The kinds of predictions, in the order of an overview, and the range that is drawn."""
TARGET = (0.7, 0.3)
"""A row of two shares, for losses that compare distributions."""


@dataclass(frozen=True)
class Stage:
    """Predictions along a line, and one target."""

    kind: str
    """One of `SPANS`."""
    label: str
    along: Array
    """What the horizontal axis shows."""
    rows: bool
    target: Any
    more: int
    """How many arguments come after the target; they are 1."""

    def x(self, along: Array) -> Array:
        if not self.rows:
            return along
        others = {"share": 1 - along, "log share": np.log1p(-np.exp(np.minimum(along, -1e-9)))}
        return np.stack([along, others.get(self.kind, np.zeros_like(along))], axis=-1)

    def arguments(self, along: Array) -> tuple[Array, ...]:
        """Return x, y and what follows for numbers on the horizontal axis."""
        y = np.array(self.target)
        shape = along.shape + y.shape
        return self.x(along), np.broadcast_to(y, shape).copy(), *[np.ones(along.shape)] * self.more


def name_of(loss: Loss) -> str:
    return str(getattr(loss, "__name__", loss))


def items_of(loss: Loss, *arguments: Any, **parameters: Any) -> Array:
    """Return the loss of each item; NaN where it has none."""
    with np.errstate(all="ignore"), tinyloss.validation("never"):
        return np.asarray(loss(*arguments, reduction="none", **parameters), np.float64)


def sampled(
    loss: Loss, stage: Stage, what: What, along: Array, parameters: Mapping[str, Any]
) -> Array:
    """Return losses, gradients or curvatures; of rows those by their first number."""
    arguments = stage.arguments(along)
    if what == "value":
        return items_of(loss, *arguments, **parameters)
    with np.errstate(all="ignore"), tinyloss.validation("never"):
        if what == "gradient":
            derived = grad(loss)(*arguments, reduction="none", **parameters)
        else:
            derived = grad_and_hess(loss)(*arguments, **parameters)[1]
    return np.asarray(derived[..., 0] if stage.rows else derived, np.float64)


def stage_of(loss: Loss, **parameters: Any) -> Stage:
    """Return where to draw a loss."""
    try:
        signature = inspect.signature(loss)
    except (TypeError, ValueError):
        signature = inspect.Signature()
    if "reduction" not in signature.parameters:
        raise TypeError(
            f"tinyloss.pictures: got {loss!r}, expected a loss function, as tinyloss.huber is; "
            "its parameters are given beside it: delta=2.0"
        )
    others = list(signature.parameters.values())[2:]
    required = [p for p in others if p.kind is p.POSITIONAL_OR_KEYWORD and p.default is p.empty]

    def at(x: Any, y: Any) -> Array | None:
        x = np.asarray(x)
        more = [np.ones(x.shape) for _ in required]
        try:
            return items_of(loss, x, np.asarray(y), *more, **parameters)
        except (TypeError, ValueError):
            return None

    def same(*pairs: tuple[Any, Any]) -> bool:
        found = [at([float(x)], [float(y)]) for x, y in pairs]
        # The losses are of numbers of one digit; nothing is rounded by more than a few eps of 10.
        return all(np.ptp(each) <= 1e-12 for each in zip(*map(_or_nan, found), strict=True))

    tried = at([[0.5, 0.25]], [[0.5, 0.25]])
    indexed = at([[0.5, 0.25]], [0])
    if tried is None and indexed is None:
        # Asked once more, for its own message.
        x = np.array([[0.5, 0.25]])
        items_of(loss, x, x, *[np.ones(x.shape)] * len(required), **parameters)
    if tried is None or tried.ndim == 1:
        return _row(at, indexed is not None, len(required))
    return _element(at, same, len(required))


def _or_nan(losses: Array | None) -> Array:
    return np.array([np.nan]) if losses is None else losses


def _element(at: Callable[..., Array | None], same: Callable[..., bool], more: int) -> Stage:
    def is_nan(x: float, y: float) -> bool:
        return bool(np.isnan(_or_nan(at([x], [y]))).all())

    target = 0.0
    if is_nan(0.5, 2.0) and not is_nan(0.5, 1.0):
        target = 1.0
        kind = "probability" if is_nan(2.0, 1.0) else "logit"
        label = f"{kind}, target 1"
    elif is_nan(0.5, 1.0) and not is_nan(-0.5, -1.0):
        kind, label, target = "log-probability", "log-probability, target −1", -1.0
    elif same((1.5, 0.25), (2.5, 1.25)) and same((-0.75, 0.5), (0.25, 1.5)):
        kind, label = "error", "error x − y"
    elif same((0.4, 0.5), (0.2, 1.0), (0.5, 0.4)) and same((-0.4, 0.5), (0.4, -0.5)):
        kind, label, target = "score", "score, target 1", 1.0
    else:
        kind, label, target = "prediction", "prediction, target 1", 1.0
    along = np.linspace(*SPANS[kind], POINTS)
    return Stage(kind, label, _finite(at, along, target, along), False, target, more)


def _row(at: Callable[..., Array | None], indexed: bool, more: int) -> Stage:
    y: Any = 0 if indexed else list(TARGET)
    against = "" if indexed else f", target ({TARGET[0]}, {TARGET[1]})"

    def one(*x: float) -> float:
        return float(_or_nan(at([x], [y]))[0])

    kind = "row"
    label = "x of the row (x, 0)" + against
    moved = one(0.5, -1.0), one(1.5, 0.0), one(-2.5, -4.0)
    straight = one(-3.0, -1.0), one(0.5, -1.0), one(4.0, -1.0)
    if np.ptp(moved) <= 1e-12:
        kind, label = "lead", "lead of the first logit" + against
    elif np.isnan(one(-0.5, 1.5)):
        kind, label = "share", "probability of the first class" + against
    elif abs(straight[0] - 2 * straight[1] + straight[2]) <= 1e-12:
        kind, label = "log share", "log-probability, first class" + against
    along = np.linspace(*SPANS[kind], POINTS)
    stage = Stage(kind, label, along, True, y, more)
    return Stage(kind, label, _finite(at, along, y, stage.x(along)), True, y, more)


def _finite(at: Callable[..., Array | None], along: Array, target: Any, x: Array) -> Array:
    """Return the numbers between the first and the last for which the loss is finite."""
    y = np.array(target)
    losses = at(x, np.broadcast_to(y, along.shape + y.shape))
    if losses is None:
        return along
    finite = np.flatnonzero(np.isfinite(losses))
    return np.linspace(along[finite[0]], along[finite[-1]], len(along)) if len(finite) else along


def broken(f: Callable[[Array], Array], along: Array) -> tuple[Array, Array]:
    """Return numbers and f of them, with NaN where f jumps: a line through them breaks there.

    Where a function is continuous, halving an interval twelve times brings its ends together.
    """
    numbers = f(along)
    a, b, fa, fb = along[:-1], along[1:], numbers[:-1], numbers[1:]
    before = np.abs(fb - fa)
    for _ in range(12):
        middle = (a + b) / 2
        fm = f(middle)
        left = np.abs(fm - fa) >= np.abs(fb - fm)
        a, fa = np.where(left, a, middle), np.where(left, fa, fm)
        b, fb = np.where(left, middle, b), np.where(left, fm, fb)
    with np.errstate(invalid="ignore"):
        scale = np.nanmax(np.abs(numbers[np.isfinite(numbers)]), initial=0.0)
        jumps = (np.abs(fb - fa) > 0.25 * before) & (before > 1e-6 * scale)
    where = np.flatnonzero(jumps) + 1
    # The two sides are drawn up to the jump.
    x = np.insert(along, np.repeat(where, 3), _three(a, np.nan, b, where))
    return x, np.insert(numbers, np.repeat(where, 3), _three(fa, np.nan, fb, where))


def _three(a: Array, b: float, c: Array, where: Array) -> Array:
    at = where - 1
    return np.stack([a[at], np.full(len(at), b), c[at]], axis=-1).ravel()


def is_convex(losses: Array) -> bool:
    """Return whether equally spaced losses lie on or below each of their chords.

    A second difference may be a few eps of the losses below 0.
    """
    bends = losses[:-2] - 2 * losses[1:-1] + losses[2:]
    bends = bends[np.isfinite(bends)]
    scale = np.max(np.abs(losses[np.isfinite(losses)]), initial=0.0)
    return bool(np.all(bends >= -16 * np.finfo(np.float64).eps * scale))
