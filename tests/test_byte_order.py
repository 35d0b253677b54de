"""Arrays whose bytes are in the other order than the machine's."""

import sys
from typing import Any

import numpy as np
import pytest

import tinyloss

OTHER = ("big", ">") if sys.byteorder == "little" else ("little", "<")


SUM = tinyloss.MSELoss() + tinyloss.MAELoss()  # its gradient is of the machine's own order


@pytest.mark.parametrize("size", ["f4", "f8"])
@pytest.mark.parametrize(
    ("swapped", "loss"), [("x", tinyloss.mse), ("out", tinyloss.mse), ("out", SUM)]
)
def test_out_of_another_byte_order_is_refused_by_that_name(
    swapped: str, size: str, loss: Any
) -> None:
    """The gradient has x's dtype, byte order and all."""
    name, own, other = {"f4": "float32", "f8": "float64"}[size], np.dtype(size), OTHER[1] + size
    x, out = np.ones(3, own), np.ones(3, own)
    order = f"{name} ({OTHER[0]}-endian)"
    if swapped == "x":
        x, got, expected = x.astype(other), name, order
    else:
        out, got, expected = out.astype(other), order, name
    derive: Any = tinyloss.value_and_grad(loss, out=out)
    with pytest.raises(TypeError) as raised:
        derive(x, x)
    assert str(raised.value).endswith(f": out has dtype {got}, expected {expected}")


@pytest.mark.parametrize("size", ["f2", "f4", "f8"])
def test_other_byte_order_changes_no_bit(size: str) -> None:
    x = np.linspace(-3, 3, 40).astype(size)
    y = np.cos(x)
    other = OTHER[1] + size
    value, gradient = tinyloss.value_and_grad(tinyloss.mse)(x, y)
    got, slope = tinyloss.value_and_grad(tinyloss.mse)(x.astype(other), y.astype(other))
    out = np.empty(40, other)
    tinyloss.grad(tinyloss.mse, out=out)(x.astype(other), y)
    assert got == value
    assert slope.dtype == np.dtype(other)
    np.testing.assert_array_equal(slope, gradient)
    np.testing.assert_array_equal(out, gradient)
