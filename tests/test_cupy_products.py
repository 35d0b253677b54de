"""Products of half precision on an emulated GPU: multiplied as they are, with sums in float32."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest

import tinyloss
from tests.support.on_cupy import emulated

pytestmark = emulated

LINEAR = tinyloss.linear_cross_entropy
HALF = 2.0**-8
"""What rounding to bfloat16 changes, relative."""


def drawn(rows: int, features: int, classes: int, class_axis: int) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(0)
    h = rng.normal(size=(rows, features)).astype(ml_dtypes.bfloat16)
    w = rng.normal(size=(classes, features)).astype(ml_dtypes.bfloat16)
    return h, w if class_axis == 0 else w.T.copy(), rng.integers(0, classes, rows)


@pytest.mark.parametrize("options", [{}, {"where": True}, {"reduction": "none"}], ids=str)
@pytest.mark.parametrize("class_axis", [0, 1])
@pytest.mark.parametrize("memory", [None, 2**13])
def test_results_are_rounded_once(
    cupy: Any, class_axis: int, memory: int | None, options: dict[str, Any]
) -> None:
    h, w, y = drawn(37, 24, 50, class_axis)
    more: dict[str, Any] = {"max_memory": memory, "class_axis": class_axis, **options}
    expected_more = dict(more)
    if "where" in options:
        kept = np.arange(len(y)) % 3 > 0
        h[~kept] = np.nan
        more["where"], expected_more["where"] = cupy.asarray(kept), kept
    step: Any = tinyloss.value_and_grad(LINEAR, (0, 1))
    value, grads = step(*map(cupy.asarray, (h, w, y)), **more)
    assert [each.dtype for each in grads] == [h.dtype, w.dtype]
    exact, slopes = step(h.astype(float), w.astype(float), y, **expected_more)
    # sums of 24 float32 products, then of float32 losses
    np.testing.assert_allclose(cupy.asnumpy(value), exact, rtol=1e-5)
    for got, slope in zip(grads, slopes, strict=True):
        error = np.abs(cupy.asnumpy(got).astype(float) - slope)
        # slopes by scores have 16 digits: 2^-17 of each of their terms
        assert (error <= HALF * np.abs(slope) + 2.0**-16 * np.abs(slopes[1]).max()).all()


def test_nothing_is_converted(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    converted: list[tuple[int, ...]] = []
    astype = cupy.ndarray.astype

    def watched(self: Any, dtype: Any, copy: bool = True) -> Any:
        if self.dtype == ml_dtypes.bfloat16 != dtype:
            converted.append(self.shape)
        return astype(self, dtype, copy)

    monkeypatch.setattr(cupy.ndarray, "astype", watched)
    tinyloss.value_and_grad(LINEAR, (0, 1))(*map(cupy.asarray, drawn(37, 24, 50, 0)))
    assert converted == []


def test_what_has_a_scale_is_converted(cupy: Any) -> None:
    h, w, y = drawn(7, 8, 50, 0)
    loss = tinyloss.of_products(tinyloss.cross_entropy)
    step: Any = tinyloss.value_and_grad(loss, (0, 1))
    value, _ = step(*map(cupy.asarray, (h, w, y)), scale=0.5)
    exact, _ = step(h.astype(float), w.astype(float), y, scale=0.5)
    np.testing.assert_allclose(cupy.asnumpy(value), exact, rtol=1e-5)
