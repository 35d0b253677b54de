"""Means over weights, exactly: by rational numbers, from the arrays as they came."""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["SCALES", "Weights", "exact_mean", "weights_of"]

Array = npt.NDArray[Any]

# The scales of weights, from the smallest number of a dtype to its largest.
SCALES: dict[str, tuple[float, ...]] = {
    "float16": (6e-8, 1e-3, 1.0, 2e4),
    "float32": (1e-45, 1.2e-38, 1e-20, 1.0, 1e20, 1e38),
    "float64": (1e-300, 1e-50, 1e-40, 1.0, 1e40, 1e300),
    "bool": (1,),
    "uint8": (80,),
    "int32": (1, 7e8),
    "int64": (3e18,),
}

SMALLEST_NORMAL = {"float16": 6.2e-5, "float32": 1.2e-38, "float64": 2.3e-308}


class Weights(NamedTuple):
    """Weights of one dtype and scale that broadcast to the items."""

    array: Array
    scale: float

    def __str__(self) -> str:
        return f"{self.array.dtype} weights of shape {self.array.shape} and scale {self.scale:g}"


def weights_of(items: tuple[int, ...], dtypes: tuple[str, ...], flushes: bool) -> Iterator[Weights]:
    """Yield weights of every shape that broadcasts to two-dimensional items, dtype and scale.

    Where subnormal numbers count as 0 (`flushes`), scales begin at the smallest normal number.
    """
    n, m = items
    rng = np.random.default_rng(5)
    for dtype in dtypes:
        for scale in SCALES[dtype]:
            if flushes and scale < SMALLEST_NORMAL.get(dtype, 0):
                continue
            for shape in ((), (1,), (m,), (1, m), (n, 1), (n, m)):
                # From 1 to 3 times the scale, so that the largest times 3 is still a number.
                values = scale * rng.choice([1.0, 1.25, 2.0, 3.0], shape)
                array = np.asarray(values > 1.5 if dtype == "bool" else values.astype(dtype))
                array[(0,) * array.ndim] = array.dtype.type(scale)  # never all of them 0
                yield Weights(array, scale)


def exact_mean(values: Array, weight: Array, where: Array | None = None) -> tuple[Fraction, Array]:
    """Return sum(w v) / sum(w) over the selected items, and each item's w / sum(w).

    Values are numbers of float64 or narrower, so that each is a rational number.
    """
    weights = np.broadcast_to(weight, values.shape)
    kept = np.broadcast_to(np.asarray(True if where is None else where), values.shape)
    total = mass = Fraction(0)
    for v, w, keep in zip(values.flat, weights.flat, kept.flat, strict=True):
        if keep:
            total += Fraction(w.item()) * Fraction(v.item())
            mass += Fraction(w.item())
    shares = [
        float(Fraction(w.item()) / mass) if keep and mass else 0.0
        for w, keep in zip(weights.flat, kept.flat, strict=True)
    ]
    return (total / mass if mass else Fraction(0)), np.reshape(shares, values.shape)
