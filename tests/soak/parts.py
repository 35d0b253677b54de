"""Exact results of a formula in extended precision, and the sizes that errors are measured by."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = [
    "LOG2",
    "TWO_PI",
    "Array",
    "L",
    "Part",
    "Parts",
    "exponent_care",
    "least_normal",
    "plain",
    "times",
    "wider",
]

Array = npt.NDArray[Any]
L = np.longdouble

LOG2 = np.log(L(2))
TWO_PI = 8 * np.arctan(L(1))


class Part(NamedTuple):
    """A result: exactly, the size that its error is measured by, and where nothing is settled."""

    exact: Any
    size: Any
    open: Any = False


Parts = dict[str, Part]


def plain(exact: Any) -> Part:
    exact = np.asarray(exact, L)
    return Part(exact, np.abs(exact))


def times(a: Any, b: Any) -> Any:
    """Return a * b, 0 where a is 0: a term that does not occur is not there."""
    return np.where(a == 0, L(0), a * np.where(a == 0, L(0), b))


def least_normal(ulp: float) -> Any:
    """Return the smallest normal number of the dtype computed in, about."""
    return L(2.0**-126) if ulp > 1e-10 else L(2) ** -1022


def exponent_care(q: Array, gamma: float, ulp: float) -> Array:
    """Return how much more q^gamma may be off, where gamma is no number of the dtype.

    Rounded, it is off by gamma ulp / 2, which log q multiplies; the bounds are 4 ulp and more.
    """
    if ulp < 1e-10 or float(np.float32(gamma)) == gamma:
        return np.ones_like(q)
    return 1 + np.abs(gamma * np.log(np.where(q == 0, L(1), q))) / 4


def wider(parts: Parts, care: Array) -> Parts:
    """Return parts with sizes times `care`, of the shape of items or with their last axis."""
    of_items = care[..., 0] if care.ndim and np.ndim(parts["value"].size) < care.ndim else care
    return {
        name: part._replace(size=part.size * (of_items if name == "value" else care))
        for name, part in parts.items()
    }
