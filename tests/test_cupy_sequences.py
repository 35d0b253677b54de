"""Losses of sequences, a block of threads for each, on an emulated GPU."""

import sys
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest

import tinyloss
from tests.support.emulation import machine
from tests.support.on_cupy import FEW, emulated, on_host, spoken

Array = npt.NDArray[Any]

pytestmark = emulated

anyloss: Any = tinyloss
both: Any = anyloss.value_and_grad(tinyloss.ctc)
on = pytest.mark.parametrize


def on_device(x: Array, y: Array, **options: Any) -> Any:
    asarray = sys.modules["cupy"].asarray
    there = {k: asarray(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    launches = len(machine.launched)
    found = on_host(both(asarray(x), asarray(y), **there))
    assert any("sequence(of, shared" in text for text in machine.launched[launches:])
    return found


def check(x: Array, y: Array, eps: float = FEW, **options: Any) -> tuple[Array, Array]:
    """Compare with the formulas in float64 on NumPy; return what the kernel found."""
    value, grad = on_device(x, y, **options)
    wide = {k: v.astype(np.float64) if k == "weight" else v for k, v in options.items()}
    expected, slope = both(x.astype(np.float64), y, **wide)
    np.testing.assert_allclose(np.float64(value), expected, rtol=eps)
    # frames that do not count may be anything, slopes there are 0
    size = np.max(np.abs(slope), axis=-1, keepdims=True, initial=0)
    difference = np.abs(grad.astype(np.float64) - slope)
    assert np.array_equal(np.isnan(grad), np.isnan(slope))
    assert not np.any(difference > eps * size + float(ml_dtypes.finfo(x.dtype).tiny))
    assert grad.dtype == x.dtype
    return value, grad


COUNTS: dict[str, dict[str, Any]] = {
    "all": {},
    "lengths": {
        "logit_lengths": np.array([45, 30, 12, 0]),
        "label_lengths": np.array([20, 3, 12, 0]),
    },
    "masks": {
        "logit_mask": np.random.default_rng(5).random((4, 45)) < 0.9,
        "label_mask": np.random.default_rng(6).random((4, 20)) < 0.6,
    },
    "weights": {"weight": np.array([0.0, 1.5, -2.0, np.nan]), "reduction": "none"},
    "one for each label": {"per_label": True, "reduction": "sum"},
    "too short": {"logit_lengths": np.array([20, 5, 19, 0]), "reduction": "none"},
    "without those": {"logit_lengths": np.array([45, 5, 19, 0]), "infeasible": "ignore"},
    "no labels": {"label_lengths": np.array([0, 0, 1, 0]), "reduction": "none"},
}


@on("name", COUNTS)
def test_options(name: str) -> None:
    x, y = spoken(4, 45, 20, 50)
    check(x, y, **COUNTS[name])


@on("shape", [(1, 1, 0, 1), (2, 1, 1, 2), (3, 5, 0, 4), (3, 9, 4, 2), (2, 7, 3, 700)])
def test_shapes(shape: tuple[int, int, int, int]) -> None:
    """One frame, no label, labels all alike, more classes than threads."""
    check(*spoken(*shape))


@on("dtype", [np.float64, np.float16, ml_dtypes.bfloat16])
def test_every_dtype(dtype: Any) -> None:
    x, y = spoken(3, 25, 12, 40)
    eps = 32 * 2.0**-52 if dtype is np.float64 else max(FEW, float(ml_dtypes.finfo(dtype).eps))
    for labels in (y, y.astype(np.int32), y.astype(np.uint8)):
        check(x.astype(dtype), labels, eps)


def test_a_sure_model_has_a_loss_and_a_gradient() -> None:
    x = np.array([[[0, 17], [0, 17]]], np.float32)
    value, grad = on_device(x, np.array([[1]]))
    np.testing.assert_allclose(value, 1.7139082896325400e-15, rtol=FEW)
    assert grad[0, 0, 0] > 0 > grad[0, 0, 1]


def test_layouts() -> None:
    """Frames first, classes that lie apart, the last class the blank, and any leading axes."""
    x, y = spoken(4, 25, 12, 40)
    value, grad = on_device(x, y)
    first, last = on_device(np.ascontiguousarray(x.transpose(1, 0, 2)), y, time_axis=0)
    np.testing.assert_array_equal(first, value)
    np.testing.assert_array_equal(last.transpose(1, 0, 2), grad)
    asarray = sys.modules["cupy"].asarray
    apart = asarray(np.ascontiguousarray(x.transpose(2, 0, 1))).T
    first, last = on_host(both(apart, asarray(y), time_axis=0))
    np.testing.assert_array_equal(first, value)
    np.testing.assert_array_equal(last.transpose(1, 0, 2), grad)
    turned, slope = on_device(x[:, :, ::-1], 39 - y, blank=-1)
    np.testing.assert_allclose(turned, value, rtol=FEW)
    np.testing.assert_allclose(slope[:, :, ::-1], grad, rtol=0, atol=FEW)
    several, slopes = on_device(x.reshape(2, 2, 25, 40), y.reshape(2, 2, 12))
    assert several == value
    np.testing.assert_array_equal(slopes.reshape(x.shape), grad)


def test_what_does_not_count_is_not_read() -> None:
    x, y = spoken(4, 25, 12, 40)
    counts = {"logit_lengths": np.array([25, 20, 25, 3]), "label_lengths": np.array([12, 7, 0, 2])}
    expected = on_device(x, y, **counts)
    x[np.arange(25) >= counts["logit_lengths"][:, None]] = np.nan
    y[np.arange(12) >= counts["label_lengths"][:, None]] = 999_999
    for got, want in zip(on_device(x, y, **counts), expected, strict=True):
        np.testing.assert_array_equal(got, want)


def test_logits_without_limits() -> None:
    """NaN and infinity spoil their sequence alone; minus infinity makes a class impossible."""
    x, y = spoken(6, 25, 12, 40)
    x[1, 3, 5], x[2, 4, 6], x[3, 5], x[4, :, 7] = np.nan, np.inf, -np.inf, -np.inf
    x[5, 9, :], x[5, 9, y[5, 4]] = -np.inf, 0.0
    value, grad = on_device(x, y, reduction="none")
    spoiled = [False, True, True, True, False, False]
    assert np.isnan(value).tolist() == np.isnan(grad).any((1, 2)).tolist() == spoiled
    assert np.isnan(grad[[1, 2, 3], [3, 4, 5]]).all()
    check(x[[0, 4, 5]], y[[0, 4, 5]], reduction="none")
    check(x[[0, 4]].astype(np.float64) * 1e300, y[[0, 4]], reduction="none")


def test_a_label_that_is_no_class_gives_nan() -> None:
    x, y = spoken(3, 25, 12, 40)
    y[1, 3] = 40
    value, grad = on_device(x, y, reduction="none")
    assert np.isnan(value).tolist() == np.isnan(grad).any((1, 2)).tolist() == [False, True, False]


def test_bits_depend_on_neither_the_order_of_threads_nor_the_batch() -> None:
    from tinyloss_cupy import _sequences

    x, y = spoken(3, 45, 20, 50)
    seen: set[bytes] = set()
    for order in range(4):
        machine.order = order
        seen.add(b"".join([each.tobytes() for each in on_device(x, y, reduction="none")]))
    assert len(seen) == 1
    losses, grads = on_device(x, y, reduction="none")
    padded = np.pad(x, ((0, 0), (0, 9), (0, 0))), np.pad(y, ((0, 0), (0, 250)))
    counts = {"logit_lengths": np.array([45] * 3), "label_lengths": np.array([20] * 3)}
    again, slopes = on_device(*padded, reduction="none", **counts)
    np.testing.assert_array_equal(again, losses)
    np.testing.assert_array_equal(slopes[:, :45], grads)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_sequences, "_MEMORY", 1)  # one block takes all
        again, slopes = on_device(x, y, reduction="none")
    np.testing.assert_array_equal(again, losses)
    np.testing.assert_array_equal(slopes, grads)


def test_long_targets() -> None:
    """More states than threads, and than shared memory has room for."""
    for length in (270, 515):
        check(*spoken(1, length + 40, length, 50), 2 * FEW)


def test_one_launch_and_nothing_waits() -> None:
    x, y = map(sys.modules["cupy"].asarray, spoken(3, 25, 12, 40))
    launches = len(machine.launched)
    losses = tinyloss.ctc(x, y, reduction="none")
    assert len(machine.launched) == launches + 2  # of elements: what the losses are put together by
    np.testing.assert_array_equal(on_host(losses), on_host(both(x, y, reduction="none"))[0])
