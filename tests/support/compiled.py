"""Kernels of the NumPy backend beside the formulas, and inputs for both."""

import hashlib
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt
import pytest

import tinyloss
import tinyloss_numpy
from tinyloss._engine.request import Request
from tinyloss._formula import Formula
from tinyloss._function import LossFunction
from tinyloss.typing import Options
from tinyloss_numpy import _blocks

Array = npt.NDArray[Any]
Loss = LossFunction[...]

EPS = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}

# Losses are accurate to 8 eps, nearly all to 4: two ways to compute one differ by no more than 16.
FEW = 16


@contextmanager
def compiled() -> Generator[None]:
    """Have kernels answer: formulas that run instead are a failure."""

    def refuse(job: Any) -> Any:
        raise AssertionError(f"{job.formula.name} was not compiled")

    with pytest.MonkeyPatch.context() as patch, tinyloss_numpy.compilation("always"):
        patch.setattr(_blocks, "run", refuse)
        yield


def by_formulas() -> Any:
    return tinyloss_numpy.compilation("never")


def assert_close(got: Any, expected: Any, computed: str = "float32", terms: bool = False) -> None:
    """Compare within few eps of each number; of the largest where terms of two signs are added."""
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    eps = FEW * EPS[computed]
    if str(expected.dtype) != computed:  # rounded once more
        eps += EPS[str(expected.dtype)]
        got, expected = got.astype(np.float64), expected.astype(np.float64)
    finite = np.abs(expected[np.isfinite(expected)])
    atol = eps * float(finite.max(initial=0)) if terms else 0
    np.testing.assert_allclose(got, expected, rtol=eps, atol=atol)


def assert_agrees(
    loss: Any,
    *arrays: Any,
    computed: str = "float32",
    argnums: Any = 0,
    terms: bool = False,
    **options: Any,
) -> None:
    """Compare value and gradients of a kernel with those of the formulas."""
    derive: Any = tinyloss.value_and_grad(loss, argnums)
    with compiled():
        value, grads = derive(*arrays, **options)
    with by_formulas():
        expected, slopes = derive(*arrays, **options)
    assert_close(value, expected, computed)
    for got, slope in zip(np.atleast_1d(grads), np.atleast_1d(slopes), strict=True):
        assert_close(got, slope, computed, terms)


def numbers(*shape: int, seed: int = 0, dtype: str = "float32") -> Array:
    return 3 * np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def labels(items: int, classes: int) -> Array:
    return np.random.default_rng(1).integers(0, classes, items)


def probabilities(*shape: int, dtype: str = "float32") -> Array:
    drawn = np.random.default_rng(2).random(shape)
    rows: Array = drawn / drawn.sum(axis=-1, keepdims=True)
    return rows.astype(dtype)


def readonly(x: Array) -> Array:
    x = x.copy()
    x.flags.writeable = False
    return x


def bits(result: Any) -> str:
    """Return a digest of all bits of a tuple of arrays."""
    digest = hashlib.sha256()
    for each in result:
        digest.update(np.ascontiguousarray(each).tobytes())
    return digest.hexdigest()


class Ripple(Formula):
    name = "ripple"

    def __init__(self, x: Any, y: Any, *, power: float) -> None:
        self.xp, self.x, self.power = tinyloss.namespace(x), x, power
        self.d = x - y

    def value(self) -> Any:
        return self.xp.pow(1 + self.d * self.d, self.power) + self.xp.sin(self.x)

    def grad_x(self) -> Any:
        slope = 2 * self.power * self.d * self.xp.pow(1 + self.d * self.d, self.power - 1)
        return slope + self.xp.cos(self.x)


@LossFunction
def ripple(x: Any, y: Any, *, power: float = 0.75, **options: Unpack[Options]) -> Request:
    """A loss of elements, by formulas."""
    return Request(Ripple, x, y, {"power": power}, **options)


@tinyloss.loss
def wave(x: Any, y: Any, *, power: float = 0.75) -> Any:
    """The same loss, by its value alone."""
    xp = tinyloss.namespace(x)
    return (1 + (x - y) ** 2) ** power + xp.sin(x)
