"""Ordinary calls of a loss: no kink, no infinity, every float exact in float32."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Drawn = Callable[[np.random.Generator], Array]

SHAPE = (4, 3)


@dataclass(frozen=True)
class Call:
    """How to draw the arrays of a call, and its options."""

    arrays: tuple[Drawn, ...]
    options: dict[str, Any]


def called_of(loss: Any) -> tuple[str, str]:
    """Return what a loss calls x and y."""
    parameters = inspect.signature(loss).parameters.values()
    arrays = [None for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]
    called = loss.request(arrays, {}).called
    return called.get("x", "x"), called.get("y", "y")


def call(*arrays: Drawn, **options: Any) -> Call:
    return Call(arrays, options)


def values(low: float, high: float) -> Drawn:
    return lambda rng: rng.uniform(low, high, SHAPE).astype(np.float32)


def logits(*shape: int) -> Drawn:
    return lambda rng: (2 * rng.standard_normal(shape or SHAPE)).astype(np.float32)


def signs(rng: np.random.Generator) -> Array:
    return np.where(rng.uniform(size=SHAPE) < 0.5, np.float32(-1), np.float32(1))


def bits(rng: np.random.Generator) -> Array:
    return rng.integers(0, 2, SHAPE).astype(np.float32)


def shares(*shape: int, axis: int = -1) -> Drawn:
    def drawn(rng: np.random.Generator) -> Array:
        each = rng.uniform(0.1, 1.0, shape or SHAPE).astype(np.float32)
        rows: Array = each / each.sum(axis=axis, keepdims=True)
        return rows

    return drawn


def log_shares(rng: np.random.Generator) -> Array:
    logs: Array = np.log(shares()(rng))
    return logs


def indices(*shape: int) -> Drawn:
    """Class indices, of which every class comes up."""
    wanted = shape or SHAPE[:1]
    return lambda rng: rng.permutation(np.arange(np.prod(wanted)) % 3).reshape(wanted)


def ranks(rng: np.random.Generator) -> Array:
    """Ranks of which every one comes up, one more than there are thresholds."""
    return rng.permutation(np.arange(SHAPE[0]))


def grades(rng: np.random.Generator) -> Array:
    """Labels of lists, of which no two are equal."""
    return rng.permuted(np.tile(np.arange(SHAPE[1], dtype=np.float32), (SHAPE[0], 1)), axis=1)


def of_first_and_last(soft: bool = False) -> Drawn:
    """Targets of which none is the class in the middle."""

    def drawn(rng: np.random.Generator) -> Array:
        if not soft:
            return 2 * rng.permutation(np.arange(SHAPE[0]) % 2)
        each: Array = shares()(rng) * np.array([1, 0, 1], np.float32)
        return each

    return drawn


PER_CLASS = np.array([0.5, 1.0, 2.5], dtype=np.float32)
REAL = (logits(), logits())
POSITIVE = (values(0, 5), values(0, 5))
ANSWERS = (values(-20, -1), values(-20, -1))
MEAN_ANSWERS = (values(-3, -0.1), values(-3, -0.1))
PROBABILITY = (values(0.05, 0.95), values(0, 1))
BINARY = (logits(), values(0, 1))
YES_OR_NO = (logits(), bits)
SCORES = (logits(), signs)
LABELS = (logits(), indices())
POSSIBLE = np.array([True, False, True])
POSSIBLE_LABELS = (logits(), of_first_and_last())
POSSIBLE_SHARES = (logits(), of_first_and_last(soft=True))
"""Targets of classes that `POSSIBLE` has."""
SOFT = (logits(), shares())
