"""What kernels read and write of each array, counted."""

import sys
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import tinyloss
from tests.support.emulation import machine
from tests.support.emulation.compiler import Counts
from tests.support.on_cupy import (
    cross_entropy,
    emulated,
    labels,
    logits,
)

pytestmark = emulated


def counted(run: Callable[[], Any]) -> dict[str, Counts]:
    """Return what the first launch of a run did to each of its arrays."""
    machine.counts = []
    run()
    counts, machine.counts = machine.counts, None
    return {each.name: each for each in counts[0]}


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16, np.float64])
@pytest.mark.parametrize("classes", [10, 1000, 4096, 32000, 50257, 131072])
def test_a_kept_row_is_read_once_and_written_once(classes: int, dtype: Any) -> None:
    x = counted(lambda: cross_entropy(classes, dtype))
    logits_read = x["x_0_array"].reads.reshape(3, classes, -1)
    # each thread of the row looks up the logit of its target: one place in the cache
    rows, targets = np.arange(3), labels(3, classes=classes)
    assert (logits_read[rows, targets] > 1).all()
    logits_read[rows, targets] = 1
    if not (dtype == np.float64 and classes > 65536):  # too long to keep: see below
        assert (logits_read == 1).all()
    assert (x["grad_x_0_array"].writes == 1).all()
    assert not x["grad_x_0_array"].reads.any()
    assert not x["x_0_array"].writes.any()


def test_a_row_that_is_too_long_is_read_once_for_each_pass() -> None:
    x = counted(lambda: cross_entropy(300_001))
    reads = x["x_0_array"].reads.reshape(3, 300_001, 4)
    assert np.median(reads) == 3
    assert (x["grad_x_0_array"].writes == 1).all()


def test_in_place_a_row_is_read_once_and_written_once() -> None:
    asarray = sys.modules["cupy"].asarray
    x, y = asarray(logits(3, 5003)), asarray(labels(3, classes=5003))
    counts = counted(lambda: tinyloss.grad(tinyloss.cross_entropy, out=x)(x, y))
    assert set(counts) == {"x_0_array", "y_1_array"}
    assert np.median(counts["x_0_array"].reads) == 1
    assert (counts["x_0_array"].writes == 1).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_elements_are_read_once_and_written_once(dtype: Any, cupy: Any) -> None:
    x, y = cupy.asarray(logits(100_003, dtype=dtype)), cupy.asarray(logits(100_003, dtype=dtype))
    counts = counted(lambda: tinyloss.value_and_grad(tinyloss.mse)(x, y))
    for name in ("x_0_array", "y_1_array"):
        assert (counts[name].reads == 1).all()
    assert (counts["grad_x_0_array"].writes == 1).all()
