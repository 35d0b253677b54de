"""Weights that cancel: the quotient is what IEEE 754 says, on every path."""

from typing import Any

import numpy as np
import pytest

import tinyloss
import tinyloss_numpy
from tests.support.libraries import Library

anyloss: Any = tinyloss
INF = float("inf")


def test_class_weights_of_probabilities_that_cancel(xp: Library) -> None:
    x, y = xp.asarray([[1.0, 0.0], [0.0, 0.5]]), xp.asarray(np.eye(2))
    options = {"class_weight": xp.asarray([1.0, -1.0])}
    value, grad = xp.fetch(xp.call(anyloss.value_and_grad(anyloss.cross_entropy), x, y, **options))
    assert value in (INF, -INF)
    assert not np.isfinite(grad).any()


@pytest.mark.long
@pytest.mark.parametrize("mode", ["always", "never"])
def test_compiled_alike(mode: Any) -> None:
    x, y = np.array([[1.0, 0.0], [0.0, 0.5]]), np.eye(2)
    with tinyloss_numpy.compilation(mode):
        value = anyloss.cross_entropy(x, y, class_weight=np.array([1.0, -1.0]))
    assert value == -INF


def test_parts_whose_weights_cancel() -> None:
    x, y = np.array([2.0, 1.0]), np.zeros(2)
    part = anyloss.partial_mean(anyloss.mse)
    assert part(x, y, weight=np.array([-1.0, 1.0])).value() == -INF
    assert part(y, y, weight=np.array([-1.0, 1.0])).value() == 0  # as where nothing is selected
    assert tinyloss.PartialMean().value() == 0
    assert tinyloss.PartialMean(1.0, 0.0).value() == INF


def test_parts_are_added_in_silence() -> None:
    huge = tinyloss.PartialMean(np.float64(1e308), np.float64(1.0))
    with np.errstate(all="raise"):
        assert (huge + huge).value() == INF


@pytest.mark.parametrize("mode", ["always", "never"])
def test_the_sign_of_a_divisor_of_0_is_kept(mode: Any) -> None:
    x, y = np.array([2.0]), np.zeros(1)
    slope: Any = tinyloss.grad(tinyloss.mse)
    with tinyloss_numpy.compilation(mode):
        for divisor in (0.0, -0.0, 0.0):  # equal, and not the same
            expected = np.copysign(INF, divisor)
            assert tinyloss.mse(x, y, denominator=divisor) == expected
            assert slope(x, y, denominator=divisor) == expected
