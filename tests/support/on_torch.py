"""Cases as tensors, and the comparison of what torch gives with the formulas on NumPy."""

from typing import Any

import numpy as np
import pytest

import tinyloss
import tinyloss_numpy
from tests.support.cases import FEW_CASES, Case

anyloss: Any = tinyloss

EPS = 2.0**-23
"""Of float32."""

few = pytest.mark.parametrize("case", FEW_CASES, ids=lambda case: case.name)


def tensors(torch: Any, case: Case, dtype: Any = None, device: str = "cpu") -> list[Any]:
    """Return the arrays of a case as tensors, the first of them tracked."""
    own = [torch.asarray(np.array(each), device=device) for each in case.arrays]
    own = [each.to(dtype) if dtype and each.is_floating_point() else each for each in own]
    return [own[0].requires_grad_(), *own[1:]]


def on_numpy(case: Case, **options: Any) -> Any:
    """Return value and gradient by the formulas."""
    with tinyloss_numpy.compilation("never"):
        return anyloss.value_and_grad(case.loss)(*case.arrays, **case.options, **options)


def assert_close(got: Any, expected: Any, eps: float = EPS) -> None:
    """Compare with NumPy's formulas."""
    assert_close_to([one.detach().double().cpu().numpy() for one in got], expected, eps)


def assert_close_to(got: Any, expected: Any, eps: float = EPS) -> None:
    """Compare NumPy's arrays: two ways to compute one differ by no more than 16 eps."""
    for one, other in zip(got, expected, strict=True):
        size = float(np.max(np.abs(other)))
        np.testing.assert_allclose(one, other, rtol=16 * eps, atol=16 * eps * size)
