"""Random numbers in the range of a dtype, and inputs made of them."""

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from tests.support.dtypes import compute_dtype

Array = npt.NDArray[Any]
Kwargs = dict[str, Any]


class Draw:
    """Random numbers in the range of a dtype, cast to it. Same seed, same numbers."""

    def __init__(self, rng: np.random.Generator, dtype: np.dtype[Any], n: int) -> None:
        self.rng, self.dtype, self.n = rng, dtype, n
        info, compute = ml_dtypes.finfo(dtype), np.finfo(compute_dtype(dtype))
        self.eps, self.max = float(info.eps), float(info.max)
        self.tiny = float(info.smallest_normal)
        self.subnormal = float(info.smallest_subnormal)
        self.digits = float(np.log10(self.max))
        self.gap = -float(np.log(compute.smallest_normal)) - 1.5
        """The largest gap of logits that leaves a normal probability: 85.8, in float64 706.9."""
        self.overflow = float(np.log(float(compute.max)))

    def cast(self, a: Any) -> Array:
        a = np.asarray(a, dtype=np.float64)
        finite = np.isfinite(a)
        clipped: Array = np.where(finite, np.clip(a, -self.max, self.max), a)
        return clipped.astype(self.dtype)

    def normal(self, scale: float = 1.0, shape: tuple[int, ...] | None = None) -> Array:
        return self.cast(self.rng.normal(size=shape or (self.n,)) * scale)

    def uniform(self, low: float, high: float, shape: tuple[int, ...] | None = None) -> Array:
        # The middle and the half: high - low may overflow.
        middle, half = high / 2 + low / 2, high / 2 - low / 2
        return self.cast(middle + half * self.rng.uniform(-1, 1, shape or (self.n,)))

    def powers(self, low: float, high: float, shape: tuple[int, ...] | None = None) -> Array:
        """Numbers spread evenly over the decades from 10^low to 10^high."""
        return self.cast(10 ** self.rng.uniform(low, high, shape or (self.n,)))

    def signs(self, shape: tuple[int, ...] | None = None) -> Array:
        return self.cast(self.rng.integers(0, 2, shape or (self.n,)) * 2 - 1)

    def bits(self) -> Array:
        return self.cast(self.rng.integers(0, 2, self.n))

    def tiniest(self, shape: tuple[int, ...] | None = None) -> Array:
        """Subnormal numbers."""
        steps = self.rng.integers(1, int(self.tiny / self.subnormal), shape or (self.n,))
        return self.cast(steps * self.subnormal)

    def nudged(self, a: Array, ulps: int = 4) -> Array:
        """Numbers a few units in the last place away."""
        steps = self.rng.integers(-ulps, ulps + 1, a.shape)
        return self.cast(a.astype(np.float64) * (1 + steps * self.eps))

    def labels(self, c: int) -> npt.NDArray[np.int64]:
        return self.rng.integers(0, c, self.n)

    def probabilities(self, c: int, scale: float = 1.0) -> Array:
        z = self.rng.normal(size=(self.n, c)) * scale
        e = np.exp(z - z.max(axis=-1, keepdims=True))
        return self.cast(e / e.sum(axis=-1, keepdims=True))


Family = Callable[[Draw], Kwargs]
Families = dict[str, Family]


def with_(family: Family, **parameters: Any) -> Family:
    return lambda d: {**family(d), **parameters}
