"""What losses are called with: random arguments, ordinary and of every magnitude.

All are NumPy's arrays in float64 that hold float32 numbers, so that a call in either dtype has the
same exact answer; class indices are integers.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["DRAWS", "PATHS", "Arguments", "Array", "Path", "arguments"]

Array: TypeAlias = npt.NDArray[Any]
Arguments: TypeAlias = list[Array]
Draw: TypeAlias = Callable[[np.random.Generator, tuple[int, ...], bool], Arguments]


def arguments(draw: str, shape: tuple[int, ...], *, extreme: bool = False) -> Arguments:
    """Return arguments of a kind, always the same: of items, or of rows of classes, of a shape."""
    rng = np.random.default_rng(0)
    drawn = DRAWS[draw](rng, shape, extreme)
    return [a if a.dtype.kind == "i" else a.astype(np.float32).astype(np.float64) for a in drawn]


def _powers(rng: np.random.Generator, shape: tuple[int, ...], low: float, high: float) -> Array:
    return 10 ** rng.uniform(low, high, shape)


def _signs(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return 2.0 * rng.integers(0, 2, shape) - 1


def _errors(rng: np.random.Generator, shape: tuple[int, ...], extreme: bool) -> Arguments:
    # A square of 1e18 is no infinity yet, and one of 1e-18 no subnormal number.
    size = _powers(rng, shape, -18, 18) if extreme else rng.uniform(0.05, 4, shape)
    y = rng.uniform(0.1, 3, shape) * _signs(rng, shape)
    y = y * _powers(rng, shape, -3, 3) if extreme else y
    return [y + size * _signs(rng, shape), y]


def _positive(rng: np.random.Generator, shape: tuple[int, ...], extreme: bool) -> Arguments:
    if not extreme:
        return [np.exp(rng.standard_normal(shape)) for _ in range(2)]
    y = _powers(rng, shape, -8, 8)
    return [y * (1 + _powers(rng, shape, -6, 2)), y]


def _counts(rng: np.random.Generator, shape: tuple[int, ...], extreme: bool) -> Arguments:
    if extreme:
        return [rng.uniform(-20, 20, shape), _powers(rng, shape, -3, 3)]
    return [rng.uniform(-2, 2, shape), rng.poisson(3, shape).astype(float)]


def _amounts(rng: np.random.Generator, shape: tuple[int, ...], extreme: bool) -> Arguments:
    if extreme:
        return [rng.uniform(-20, 20, shape), _powers(rng, shape, -3, 3)]
    return [rng.uniform(-2, 2, shape), np.exp(rng.standard_normal(shape))]


def _variances(rng: np.random.Generator, shape: tuple[int, ...], extreme: bool) -> Arguments:
    if not extreme:
        x, y = rng.standard_normal((2, *shape))
        return [x, y, rng.uniform(0.3, 3, shape)]
    y = rng.standard_normal(shape)
    x = y + _powers(rng, shape, -6, 6) * _signs(rng, shape)
    return [x, y, _powers(rng, shape, -5, 5)]


def _two_gaussians(rng: np.random.Generator, shape: tuple[int, ...], extreme: bool) -> Arguments:
    x, y, log_var, target = rng.standard_normal((4, *shape))
    if extreme:
        x = y + _powers(rng, shape, -6, 6) * _signs(rng, shape)
        log_var = _powers(rng, shape, -6, 1.5) * _signs(rng, shape)
        target = np.zeros_like(target)
    return [x, y, log_var, target]


def _forecasts(rng: np.random.Generator, shape: tuple[int, ...], extreme: bool) -> Arguments:
    if not extreme:
        return _variances(rng, shape, extreme)
    y, scale = rng.standard_normal(shape), _powers(rng, shape, -5, 5)
    # From where a tail begins on there is none in float32.
    a = np.where(rng.random(shape) < 0.8, _powers(rng, shape, -6, 0.9), _powers(rng, shape, 2, 6))
    return [y + a * scale * _signs(rng, shape), y, scale]


def _answer(
    rng: np.random.Generator, shape: tuple[int, ...], extreme: bool, tokens: float = 1.0
) -> Array:
    """Return log-probabilities, of which those of several tokens are sums."""
    size = _powers(rng, shape, -4, 0.3) if extreme else rng.uniform(0.3, 2, shape)
    return -tokens * size


def _answers(count: int, tokens: float) -> Draw:
    """Return what draws log-probabilities of answers."""
    return lambda rng, shape, extreme: [_answer(rng, shape, extreme, tokens) for _ in range(count)]


def _labelled(rng: np.random.Generator, shape: tuple[int, ...], extreme: bool) -> Arguments:
    x, ref = (_answer(rng, shape, extreme, 8) for _ in range(2))
    return [x, rng.integers(0, 2, shape).astype(float), ref]


def _probabilities(rng: np.random.Generator, shape: tuple[int, ...], extreme: bool) -> Arguments:
    y = rng.integers(0, 2, shape).astype(float)
    if not extreme:
        return [rng.uniform(0.05, 0.95, shape), y]
    near_0, near_1 = _powers(rng, shape, -30, -0.1), 1 - _powers(rng, shape, -7, -0.1)
    return [np.where(rng.random(shape) < 0.5, near_0, near_1), y]


def _logits(reach: float, targets: str) -> Draw:
    """Return what draws logits of elements up to a size."""

    def draw(rng: np.random.Generator, shape: tuple[int, ...], extreme: bool) -> Arguments:
        size = _powers(rng, shape, -4, np.log10(reach)) if extreme else rng.uniform(0, 4, shape)
        signs = _signs(rng, shape)
        return [size * _signs(rng, shape), signs if targets == "signs" else (signs + 1) / 2]

    return draw


def _row(rng: np.random.Generator, shape: tuple[int, ...], reach: float) -> Array:
    return rng.uniform(-1, 1, shape) * reach


def _rows(reach: float) -> Draw:
    """Return what draws logits of classes up to a size, and class indices."""

    def draw(rng: np.random.Generator, shape: tuple[int, ...], extreme: bool) -> Arguments:
        x = _row(rng, shape, 2)
        if extreme:
            x = _row(rng, shape, 1) * _powers(rng, (*shape[:-1], 1), -2, np.log10(reach))
        return [x, rng.integers(0, shape[-1], shape[:-1])]

    return draw


def _alone(of_rows: Draw) -> Draw:
    """Return what draws elements as those of a row."""

    def draw(rng: np.random.Generator, shape: tuple[int, ...], extreme: bool) -> Arguments:
        return [each[..., 0] for each in of_rows(rng, (*shape, 10), extreme)]

    return draw


def _graded(reach: float, grades: int) -> Draw:
    """Return what draws rows of numbers up to a size, each with a label of some."""

    def draw(rng: np.random.Generator, shape: tuple[int, ...], extreme: bool) -> Arguments:
        x, _ = _rows(reach)(rng, shape, extreme)
        return [x, rng.integers(0, grades, shape).astype(float)]

    return draw


def _ranks(rng: np.random.Generator, shape: tuple[int, ...], extreme: bool) -> Arguments:
    """Return logits of thresholds, and ranks, of which there is one more."""
    x, _ = _rows(80)(rng, shape, extreme)
    return [x, rng.integers(0, shape[-1] + 1, shape[:-1])]


def _log_shares(x: Array) -> Array:
    e = x - x.max(axis=-1, keepdims=True)
    shares: Array = e - np.log(np.exp(e).sum(axis=-1, keepdims=True))
    return shares


def _labels(rng: np.random.Generator, shape: tuple[int, ...], extreme: bool) -> Arguments:
    x, y = _rows(40)(rng, shape, extreme)
    return [_log_shares(x), y]


def _pairs(of_x: Callable[[Array], Array], of_y: Callable[[Array], Array]) -> Draw:
    """Return what draws two rows for each item: far from each other, or close."""

    def draw(rng: np.random.Generator, shape: tuple[int, ...], extreme: bool) -> Arguments:
        y = _row(rng, shape, 2)
        x = _row(rng, shape, 2)
        if extreme:
            y = y * _powers(rng, (*shape[:-1], 1), -2, 0.5)
            x = y + x * _powers(rng, (*shape[:-1], 1), -4, 0.5)
        return [of_x(x), of_y(y)]

    return draw


def _shares(x: Array) -> Array:
    shares: Array = np.exp(_log_shares(x))
    return shares


def _alone_of(of_rows: Draw) -> Draw:
    """Return what draws predictions that have no target."""
    return lambda rng, shape, extreme: of_rows(rng, shape, extreme)[:1]


def _vectors(count: int, labelled: bool = False) -> Draw:
    """Return what draws vectors, near to each other or far, and whether they are alike."""

    def draw(rng: np.random.Generator, shape: tuple[int, ...], extreme: bool) -> Arguments:
        size = _powers(rng, (*shape[:-1], 1), -4, 4) if extreme else 1.0
        first = _row(rng, shape, 2) * size
        far = [_powers(rng, (*shape[:-1], 1), -3, 3) if extreme else 1.0 for _ in range(count - 1)]
        every = [first, *(first + _row(rng, shape, 2) * size * each for each in far)]
        return [*every, *([_signs(rng, shape[:-1])] if labelled else [])]

    return draw


def _two_scores(rng: np.random.Generator, shape: tuple[int, ...], extreme: bool) -> Arguments:
    size = _powers(rng, shape, -4, 4) if extreme else rng.uniform(0.05, 4, shape)
    b = rng.uniform(-2, 2, shape)
    return [b + size * _signs(rng, shape), b, _signs(rng, shape)]


def _orders(rng: np.random.Generator, shape: tuple[int, ...], extreme: bool) -> Arguments:
    x, _ = _rows(40)(rng, shape, extreme)
    return [x, rng.uniform(-2, 2, shape)]


def _cohorts(rng: np.random.Generator, shape: tuple[int, ...], extreme: bool) -> Arguments:
    x, y = _graded(40, 3)(rng, shape, extreme)
    event = rng.integers(0, 2, shape).astype(float)
    event[..., 0] = 1
    return [x, y, event]


def _ensembles(rng: np.random.Generator, shape: tuple[int, ...], extreme: bool) -> Arguments:
    y = rng.uniform(-2, 2, shape[:-1])
    size = _powers(rng, (*shape[:-1], 1), -4, 4) if extreme else 1.0
    return [y[..., None] + _row(rng, shape, 2) * size, y]


def _images(rng: np.random.Generator, shape: tuple[int, ...], extreme: bool) -> Arguments:
    """Return probabilities of two classes, whose pixels are along the last axis."""
    return _probabilities(rng, (*shape[:-1], 2, shape[-1]), extreme)


def _frames(rng: np.random.Generator, shape: tuple[int, ...], extreme: bool) -> Arguments:
    """Return logits of four frames of a blank and two labels, and targets of two labels."""
    x, _ = _rows(12)(rng, (*shape, 4, 3), extreme)
    return [x, rng.integers(1, 3, (*shape, 2))]


DRAWS: dict[str, Draw] = {
    "errors": _errors,
    "positive": _positive,
    "counts": _counts,
    "amounts": _amounts,
    "variances": _variances,
    "forecasts": _forecasts,
    "two gaussians": _two_gaussians,
    "answers": _answers(2, 8),
    "answers and references": _answers(4, 8),
    "mean answers": _answers(2, 1),
    "labelled answers": _labelled,
    "probabilities": _probabilities,
    # exp(-80) is a normal float32; a focal loss has the cube of that, of which 25 is the limit.
    "binary logits": _logits(80, "bits"),
    "near binary logits": _logits(25, "bits"),
    "scores": _logits(80, "signs"),
    "logits": _rows(40),
    "near logits": _rows(12),
    "many logits": _graded(80, 2),
    "ranks": _ranks,
    "log-probabilities": _labels,
    "log-probabilities of shares": _pairs(_log_shares, _shares),
    "log-probabilities of elements": _alone(_pairs(_log_shares, _shares)),
    "two logits": _pairs(lambda x: x, lambda y: y),
    "shares": _pairs(_shares, _shares),
    "regions": _probabilities,
    "lists": _graded(40, 5),
    "tags": _graded(40, 2),
    "elements": _alone_of(_logits(80, "bits")),
    "rows": _alone_of(_rows(40)),
    "two scores": _two_scores,
    "two vectors": _vectors(2),
    "two vectors, alike or not": _vectors(2, labelled=True),
    "three vectors": _vectors(3),
    "orders": _orders,
    "grades": _graded(40, 5),
    "cohorts": _cohorts,
    "ensembles": _ensembles,
    "pixels": _graded(40, 2),
    "regions of pixels": _probabilities,
    "images": _images,
    "frames": _frames,
}


@dataclass(frozen=True)
class Path:
    """Arguments that depend on one number, for a table of a loss."""

    label: str
    """What the number is."""
    points: tuple[float, ...]
    at: Callable[[Array], Arguments]
    """The arguments at each of these numbers; rows of two classes."""
    span: tuple[float, float] = (-6.0, 6.0)
    """Between which numbers curves are drawn, of losses that are no stage of `pictures`."""

    def through(self, *points: float) -> "Path":
        """Return the same through other numbers."""
        return replace(self, points=points)


def _pair(t: Array) -> Array:
    return np.stack([t, np.zeros_like(t)], axis=-1)


def _even(t: Array) -> Array:
    return np.full((*t.shape, 2), 0.5)


def _first(t: Array) -> Array:
    return np.zeros(t.shape, np.int64)


def _first_of_two(t: Array) -> Arguments:
    return [_pair(t), _pair(np.ones_like(t))]


_LEADS = (-1000.0, -2.0, 0.0, 2.0, 20.0, 80.0)
_LEAD = "lead of the target's class"
_LEAD_IN_X = "lead of a class in x, none in y"
_OF_TWO = Path("x of a label that is 1, beside 0 for one that is not", _LEADS, _first_of_two)
_LOGITS = Path("x, for y = 1", _LEADS, lambda t: [t, np.ones_like(t)])
_ANSWERS = Path("chosen, for rejected = -1", _LEADS, lambda t: [t, -np.ones_like(t)])
_ROWS = Path(_LEAD, _LEADS, lambda t: [_pair(t), _first(t)])

_SHARES = Path(
    "p of a pixel of the region, 1 - p of one beside it",
    (0.0, 0.01, 0.5, 0.99, 1.0),
    lambda t: [np.stack([t, 1 - t], axis=-1), _pair(np.ones_like(t))],
    (0.0, 1.0),
)
_AROUND = (-1000.0, -2.0, 0.0, 0.25, 0.5, 1.0, 2.0)


def _around(t: Array, count: int) -> Arguments:
    """Return vectors of two numbers: (t, 1), (0, 1) and (1, 1)."""
    return [np.stack([each, np.ones_like(t)], axis=-1) for each in (t, 0 * t, 0 * t + 1)[:count]]


PATHS: dict[str, Path] = {
    "errors": _LOGITS.through(-999.0, 0.0, 0.75, 1.0, 1.25, 2.0, 1001.0),
    "positive": _LOGITS.through(0.0, 0.5, 1.0, 1.001, 2.0, 1e6),
    "counts": Path(
        "x, for y = 3",
        (-20.0, 0.0, 1.0, 1.0986, 2.0, 20.0),
        lambda t: [t, np.full_like(t, 3)],
    ),
    "amounts": Path(
        "x, for y = 2",
        (-20.0, 0.0, 0.6931, 1.0, 20.0),
        lambda t: [t, np.full_like(t, 2)],
    ),
    "variances": Path(
        "x, for y = 0 and var = 1",
        (-1000.0, -1.0, 0.0, 1.0, 1000.0),
        lambda t: [t, np.zeros_like(t), np.ones_like(t)],
    ),
    "two gaussians": Path(
        "x, for two standard normal distributions else",
        (-1000.0, -1.0, 0.0, 1.0, 1000.0),
        lambda t: [t, np.zeros_like(t), np.zeros_like(t), np.zeros_like(t)],
    ),
    "forecasts": Path(
        "x, for y = 0 and scale = 1",
        (-1000.0, -1.0, 0.0, 1.0, 1000.0),
        lambda t: [t, np.zeros_like(t), np.ones_like(t)],
    ),
    "answers": _ANSWERS.through(-1000.0, -20.0, -2.0, 0.0, 2.0),
    "answers and references": Path(
        "chosen above its reference, rejected as its",
        (-1000.0, -20.0, 0.0, 20.0, 1000.0),
        lambda t: [t - 9, np.full_like(t, -9), np.full_like(t, -9), np.full_like(t, -9)],
    ),
    "mean answers": _ANSWERS.through(-8.0, -2.0, -1.0, -0.01, -1e-6),
    "labelled answers": Path(
        "a desirable answer above its reference",
        (-1000.0, -20.0, 0.0, 20.0, 1000.0),
        lambda t: [t - 9, np.ones_like(t), np.full_like(t, -9)],
    ),
    "probabilities": _LOGITS.through(0.0, 1e-30, 0.01, 0.5, 0.99, 0.99999994),
    "binary logits": _LOGITS,
    "near binary logits": _LOGITS,
    "scores": _LOGITS,
    "logits": _ROWS,
    "near logits": _ROWS,
    "many logits": _OF_TWO,
    "ranks": Path(
        "x of a threshold that rank 1 is above, beside 0 for one that it is not",
        _LEADS,
        lambda t: [_pair(t), np.ones(t.shape, np.int64)],
    ),
    "log-probabilities": Path(_LEAD, _LEADS, lambda t: [_log_shares(_pair(t)), _first(t)]),
    "log-probabilities of shares": Path(
        _LEAD_IN_X, _LEADS, lambda t: [_log_shares(_pair(t)), _even(t)]
    ),
    "log-probabilities of elements": Path(
        "x, for y = 0.5",
        (-1000.0, -20.0, -2.0, -0.6931, -0.01, 0.0),
        lambda t: [t, np.full_like(t, 0.5)],
    ),
    "two logits": Path(_LEAD_IN_X, _LEADS, lambda t: [_pair(t), np.zeros((*t.shape, 2))]),
    "shares": Path(_LEAD_IN_X, _LEADS, lambda t: [_shares(_pair(t)), _even(t)]),
    "regions": _SHARES,
    "lists": Path("lead of the better member", _LEADS, _first_of_two),
    "tags": _OF_TWO,
    "elements": Path("x of an element", _LEADS, lambda t: [t]),
    "rows": Path("lead of the first class", _LEADS, lambda t: [_pair(t)]),
    "two scores": Path(
        "a, for b = 0 and y = 1", _LEADS, lambda t: [t, np.zeros_like(t), np.ones_like(t)]
    ),
    "two vectors": Path("t, for a = (t, 1), b = (0, 1)", _AROUND, lambda t: _around(t, 2)),
    "two vectors, alike or not": Path(
        "t, for a = (t, 1), b = (0, 1), y = -1",
        _AROUND,
        lambda t: [*_around(t, 2), -np.ones_like(t)],
    ),
    "three vectors": Path(
        "t, for (t, 1), (0, 1), (1, 1)",
        _AROUND,
        lambda t: _around(t, 3),
    ),
    "orders": Path("lead of the better member", _LEADS, _first_of_two),
    "grades": Path("lead of the better member", _LEADS, _first_of_two),
    "cohorts": Path(
        "x of an event, beside 0 for a later one",
        _LEADS,
        lambda t: [_pair(t), _pair(-np.ones_like(t)), np.ones((*t.shape, 2))],  # times -1, 0
    ),
    "ensembles": Path(
        "x of a member, beside -1 and 1, for y = 0",
        (-1000.0, -2.0, -1.0, 0.0, 0.5, 1.0, 2.0),
        lambda t: [np.stack([t, -np.ones_like(t), np.ones_like(t)], axis=-1), np.zeros_like(t)],
        (-3.0, 3.0),
    ),
    "pixels": Path("x of a pixel of the region, beside 0 of another", _LEADS, _first_of_two),
    "regions of pixels": Path(
        "p of a pixel of the region, beside 0.25 of another",
        _SHARES.points,
        lambda t: [np.stack([t, np.full_like(t, 0.25)], axis=-1), _pair(np.ones_like(t))],
        _SHARES.span,
    ),
    "images": Path(
        "p of a pixel's class, of both its pixels",
        _SHARES.points,
        lambda t: [
            np.stack([np.stack([t, 1 - t], axis=-1), np.stack([1 - t, t], axis=-1)], axis=-2),
            np.broadcast_to(np.eye(2), (*t.shape, 2, 2)).copy(),
        ],
        (0.0, 1.0),
    ),
    "frames": Path(
        "lead of the blank in one of two frames",
        _LEADS,
        lambda t: [np.stack([_pair(t), _pair(0 * t)], axis=-2), np.ones((*t.shape, 1), np.int64)],
    ),
}
