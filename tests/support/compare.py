"""Comparisons in eps, each with its reason."""

from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from tests.support.libraries import numpy_dtype

Array = npt.NDArray[Any]


def equal(got: Any, expected: Any) -> None:
    """Compare bit by bit, nested results too: one and the same computation."""
    if isinstance(expected, tuple):
        assert isinstance(got, tuple)
        for one, other in zip(got, expected, strict=True):
            equal(one, other)
    else:
        np.testing.assert_array_equal(got, expected, strict=True)


def close(
    got: Any, truth: Any, *, eps: float, why: str, dtype: str = "float64", each: bool = False
) -> None:
    """Hold results, nested ones too, to the truth within so many `eps` of a dtype.

    Of the largest component: what is smaller may be a difference of such. With `each`, of every
    component by itself. Infinities and NaN are where the truth has them.
    """
    if isinstance(truth, dict):
        assert got.keys() == truth.keys()
        got, truth = tuple(got.values()), tuple(truth[name] for name in got)
    if isinstance(truth, tuple):
        for one, other in zip(got, truth, strict=True):
            close(one, other, eps=eps, why=why, dtype=dtype, each=each)
        return
    got, truth = (np.asarray(a, np.float64) for a in (got, truth))
    assert got.shape == truth.shape
    finite = np.isfinite(truth)
    np.testing.assert_array_equal(got[~finite], truth[~finite])
    size = np.abs(truth[finite])
    unit = float(ml_dtypes.finfo(numpy_dtype(dtype)).eps)
    allowed = eps * unit * (size if each else np.max(size, initial=0.0))
    error = np.abs(got[finite] - truth[finite])
    assert np.all(error <= allowed), (
        f"{np.max(error / np.where(allowed, allowed / eps, 1)):.3g} eps off, allowed {eps}: {why}\n"
        f"got {got}\nexpected {truth}"
    )


def rounded_once(half: Array, single: Array, dtype: str, fused: bool = False) -> None:
    """Hold `half` to `single` rounded to a dtype.

    XLA fuses the program of half-precision arrays and that of float32 ones differently, so that
    float32 results differ by an eps or two before they are rounded, and the rounding may then go
    to either neighbour: half a unit in the last place away, and those.
    """
    if not fused:
        rounded = single.astype(numpy_dtype(dtype)).astype(np.float32)
        np.testing.assert_array_equal(half, rounded)
        return
    float32 = 2 * float(np.finfo(np.float32).eps) * np.max(np.abs(single), initial=0.0)
    rounding: Any = 0.0
    if dtype != "float32":
        info = ml_dtypes.finfo(dtype)
        unit = np.exp2(np.frexp(single)[1] - 1.0) * float(info.eps)
        rounding = np.maximum(unit, float(info.smallest_subnormal)) / 2
    assert np.all(np.abs(half - single) <= rounding + float32)
