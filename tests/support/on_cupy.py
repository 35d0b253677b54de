"""CuPy on an emulated GPU: calls for tests of kernels, and the comparison with NumPy."""

import re
import shutil
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import tinyloss
from tests.support.emulation import machine

Array = npt.NDArray[Any]

EPS = 2.0**-23
# Losses are accurate to 8 eps, nearly all to 4: two ways to compute one differ by no more than 16.
FEW = 16 * EPS


emulated = [
    pytest.mark.long,
    pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is needed to emulate a GPU"),
    pytest.mark.usefixtures("cupy"),
]


def logits(*shape: int, dtype: Any = np.float32) -> Array:
    return (3 * np.random.default_rng(0).standard_normal(shape)).astype(dtype)


def labels(*shape: int, classes: int) -> Array:
    return np.random.default_rng(1).integers(0, classes, shape)


def spoken(count: int, time: int, length: int, classes: int) -> tuple[Array, Array]:
    """Return logits and labels of sequences: sure of them, unsure, and sure but for a frame."""
    rng = np.random.default_rng(3)
    x, y = logits(count, time, classes), rng.integers(1, classes, (count, length))
    said, known = np.zeros((count, time), np.int64), min(length, time // 2)
    said[:, 1 : 2 * known : 2] = y[:, :known]
    sure = 38 * (said[:, :, None] == np.arange(classes))
    x[::3] += sure[::3]
    x[2::3] += sure[2::3]
    x[2::3, 0] *= -1
    return x, y


def become(capability: str) -> None:
    """Make the GPU one of another generation."""
    from tinyloss_cupy import _run

    machine.compute_capability = capability
    _run._devices.clear()


def cluster_of(text: str) -> int:
    """Return how many blocks of a kernel share a row."""
    found = re.search(r"#define CLUSTER (\d+)", text)
    assert found is not None
    return int(found[1])


def on_host(result: Any) -> Any:
    if isinstance(result, tuple):
        return tuple(on_host(each) for each in result)
    return sys.modules["cupy"].asnumpy(result)


def assert_as_on_numpy(function: Any, *arrays: Array, terms: bool = False, **options: Any) -> None:
    """Compare with the formulas on NumPy; `terms` of two signs may cancel."""
    asarray = sys.modules["cupy"].asarray
    got = on_host(function(*map(asarray, arrays), **options))
    for result, expected in zip(got, function(*arrays, **options), strict=True):
        size = float(np.max(np.abs(expected)))
        np.testing.assert_allclose(result, expected, rtol=FEW, atol=FEW * size if terms else 0)


def cross_entropy(classes: int, dtype: Any = np.float32, rows: int = 3) -> Any:
    """Return value and gradient of a cross-entropy on the device, on the host."""
    asarray = sys.modules["cupy"].asarray
    x, y = asarray(logits(rows, classes, dtype=dtype)), asarray(labels(rows, classes=classes))
    return on_host(tinyloss.value_and_grad(tinyloss.cross_entropy)(x, y))
