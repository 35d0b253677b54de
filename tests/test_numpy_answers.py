"""The compiled NumPy backend answers as the formulas do, for losses of a user's own too."""

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

pytest.importorskip("llvmlite")

import tinyloss
import tinyloss_numpy
from tests.support.compiled import (
    Array,
    Loss,
    Ripple,
    assert_agrees,
    assert_close,
    by_formulas,
    compiled,
    labels,
    numbers,
    probabilities,
    readonly,
    ripple,
    wave,
)
from tests.support.formulas import poly
from tests.support.params import turns
from tinyloss import binary_cross_entropy_with_logits
from tinyloss._engine.request import Request
from tinyloss._function import LossFunction
from tinyloss_numpy import _programs


def unaligned(x: Array) -> Array:
    memory = np.zeros(x.nbytes + 1, np.uint8)
    view: Array = np.ndarray(x.shape, x.dtype, memory, 1)
    view[...] = x
    return view


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "plain": lambda x: x,
    "transposed": lambda x: np.asfortranarray(x),
    "reversed": lambda x: x[::-1].copy()[::-1],
    "backwards": lambda x: x[..., ::-1].copy()[..., ::-1],
    "strided": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "strided rows": lambda x: np.repeat(x, 2, axis=0)[::2],
    "broadcast": lambda x: np.broadcast_to(x[:1], x.shape),
    "read-only": readonly,
    "unaligned": unaligned,
}


@pytest.mark.parametrize("classes", [2, 10, 100, 300])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_of_any_layout(layout: str, classes: int) -> None:
    """Short rows are many at once, long ones one after the other."""
    x = LAYOUTS[layout](numbers(37, classes))
    assert_agrees(tinyloss.cross_entropy, x, labels(37, classes))


def test_empty_arrays_after_others() -> None:
    with tinyloss_numpy.compilation("always"):
        for length in (5, 5, 5, 0, 0, 0):
            x = np.ones((2, length, 1), "f")
            value, grad = tinyloss.value_and_grad(tinyloss.mape)(x, x)
            assert value == 0
            assert grad.shape == x.shape


@pytest.mark.long
def test_row_of_any_layout_beside_one_label() -> None:
    assert_agrees(tinyloss.cross_entropy, numbers(10)[::-1], np.array(4))


@pytest.mark.parametrize("layout", turns([*LAYOUTS], 2))
def test_elements_of_any_layout(layout: str) -> None:
    x, y = LAYOUTS[layout](numbers(37, 41)), (numbers(37, 41, seed=1) > 0).astype("f")
    assert_agrees(binary_cross_entropy_with_logits, x, y)


def test_items_of_many_dimensions_in_any_order() -> None:
    x = numbers(3, 4, 5, 6, 10).transpose(3, 1, 0, 2, 4)[:, ::-1]
    y = labels(360, 10).reshape(3, 5, 4, 6).transpose(3, 2, 0, 1)
    assert_agrees(tinyloss.cross_entropy, x, y)


def test_class_axis_anywhere() -> None:
    x = numbers(3, 300, 5)
    assert_agrees(tinyloss.cross_entropy, x, labels(15, 300).reshape(3, 5), axis=1)
    with compiled():
        moved = np.moveaxis(tinyloss.softmax(x, axis=1), 1, -1)
        np.testing.assert_array_equal(moved, tinyloss.softmax(np.moveaxis(x, 1, -1)))


@pytest.mark.long
def test_weight_is_broadcast_to_the_items() -> None:
    x, y = numbers(3, 4, 10), labels(12, 10).reshape(3, 4)
    for weight in (numbers(3, 1) ** 2, numbers(4) ** 2, np.float32(2), 2.5, [1.0, 0.0, 2.0, 3.0]):
        assert_agrees(tinyloss.cross_entropy, x, y, weight=weight)


OPTIONS: list[dict[str, Any]] = [
    {"weight": numbers(12) ** 2, "where": labels(12, 2) == 1, "denominator": 7.5},
    {"where": labels(12, 2) == 1},
    {"class_weight": numbers(300) ** 2},
    {"ignore_index": -100},
    {"label_smoothing": 0.1},
]


@pytest.mark.long
@pytest.mark.parametrize("options", turns(OPTIONS, 2, ["-".join(each) for each in OPTIONS]))
def test_options_of_cross_entropy(options: dict[str, Any]) -> None:
    y = labels(12, 300)
    if "ignore_index" in options:
        y[::3] = -100
    # p sum(q) - q cancels where every class has a share
    terms = "label_smoothing" in options
    assert_agrees(tinyloss.cross_entropy, numbers(12, 300), y, terms=terms, **options)


@pytest.mark.long
def test_targets_that_are_probabilities() -> None:
    x, y = numbers(12, 300), probabilities(12, 300)
    options: dict[str, Any] = {"class_weight": probabilities(300), "label_smoothing": 0.1}
    assert_agrees(tinyloss.cross_entropy, x, y, argnums=(0, 1), terms=True, **options)


@pytest.mark.long
@pytest.mark.parametrize("reduction", turns(["none", "mean", "sum"], 2))
def test_reductions(reduction: str) -> None:
    assert_agrees(tinyloss.mse, numbers(501), numbers(501, seed=1), reduction=reduction)
    x, y = numbers(33, 100), labels(33, 100)
    assert_agrees(tinyloss.cross_entropy, x, y, reduction=reduction)


@pytest.mark.parametrize(
    ("x_dtype", "y_dtype", "computed"),
    turns(
        [
            ("float16", "float16", "float32"),
            ("float64", "float64", "float64"),
            ("bfloat16", "float32", "float32"),
            ("float32", "float64", "float64"),
            ("int32", "int8", "float64"),
            ("float32", "bool", "float32"),
            ("uint8", "float32", "float64"),
        ],
        3,
    ),
)
def test_dtypes(x_dtype: str, y_dtype: str, computed: str) -> None:
    def of(array: Array, dtype: str) -> Array:
        wide = np.abs(array) if dtype[0] == "u" else array
        return wide.astype(getattr(ml_dtypes, dtype, dtype))

    x, y = of(10 * numbers(501), x_dtype), of(10 * numbers(501, seed=1), y_dtype)
    assert_agrees(tinyloss.mse, x, y, computed=computed)


def test_half_precision_beside_float64_is_rounded_once() -> None:
    """No kernel takes these: through float32, results would be rounded twice."""
    x, y = numbers(50).astype("float16"), numbers(50, seed=1).astype("float64")
    with tinyloss_numpy.compilation("always"):
        gradient = tinyloss.grad(tinyloss.mse)(x, y)
    with by_formulas():
        np.testing.assert_array_equal(gradient, tinyloss.grad(tinyloss.mse)(x, y))


@pytest.mark.parametrize(
    "dtype", turns("int8 int16 int32 uint8 uint64 uint32 int64 uint16".split(), 4)
)
def test_class_indices_of_every_integer_dtype(dtype: str) -> None:
    y = labels(12, 100).astype(dtype)
    assert_agrees(tinyloss.nll, numbers(12, 100), y)


@pytest.mark.long
def test_class_indices_out_of_range_give_nan_where_they_are_not_looked_at() -> None:
    x, y = numbers(5, 10), np.array([0, -1, 10, 2**40, 9])
    with tinyloss.validation("never"), compiled():
        value, gradient = tinyloss.value_and_grad(tinyloss.cross_entropy)(x, y, reduction="sum")
        each = tinyloss.cross_entropy(x, y, reduction="none")
    assert np.isnan(value)
    assert np.isnan(each).tolist() == [False, True, True, True, False]
    assert np.isnan(gradient).all(axis=1).tolist() == [False, True, True, True, False]


@pytest.mark.long
def test_further_arrays_of_another_dtype() -> None:
    x, y = numbers(12, 10), (numbers(12, 10, seed=1) > 0).astype("f")
    for pos_weight in (np.linspace(0.5, 2, 10), np.float32(2.0), [2] * 10):
        loss = binary_cross_entropy_with_logits
        assert_agrees(loss, x, y, pos_weight=pos_weight)


@pytest.mark.long
def test_scalars_of_numpy_are_arrays() -> None:
    assert_agrees(tinyloss.mse, np.float32(3), np.float32(1))
    assert_agrees(tinyloss.cross_entropy, numbers(10), np.int64(3), weight=np.float32(2))
    with compiled():
        value, gradient = tinyloss.value_and_grad(tinyloss.mse)(np.float64(3), np.float64(1))
    assert (type(value), type(gradient)) == (np.float64, np.float64)


def test_results_are_plain_arrays(tmp_path: Path) -> None:
    """A gradient is not backed by a file because x is."""
    x = np.memmap(tmp_path / "x", np.float32, "w+", shape=(4, 10))
    for mode in (compiled(), by_formulas()):
        with mode:
            gradient = tinyloss.grad(tinyloss.mse)(x, numbers(4, 10))
            assert type(gradient) is np.ndarray
            assert type(tinyloss.softmax(x)) is np.ndarray


@pytest.mark.long
@pytest.mark.parametrize("loss", [binary_cross_entropy_with_logits, tinyloss.softmax_focal])
def test_curvature(loss: Loss) -> None:
    rows = loss is tinyloss.softmax_focal
    x, y = (numbers(12, 300), labels(12, 300)) if rows else (numbers(12, 10), probabilities(12, 10))
    weight = numbers(12 if rows else 10) ** 2
    with compiled():
        results = tinyloss.grad_and_hess(loss)(x, y, weight=weight)
    with by_formulas():
        expected = tinyloss.grad_and_hess(loss)(x, y, weight=weight)
    for got, want in zip(results, expected, strict=True):
        assert_close(got, want, terms=rows)


@pytest.mark.long
@pytest.mark.parametrize("classes", [7, 300])
@pytest.mark.parametrize("transform", [tinyloss.softmax, tinyloss.logsumexp])
def test_transforms(transform: Any, classes: int) -> None:
    x = numbers(5, classes)
    with compiled():
        got = transform(x)
    with by_formulas():
        assert_close(got, transform(x))


@pytest.mark.long
@pytest.mark.parametrize(
    ("weighted", "loss"), turns([*product([True, False], [ripple, wave, poly])], 2)
)
def test_a_loss_is_compiled_without_a_line_about_it_elsewhere(loss: Loss, weighted: bool) -> None:
    rng = np.random.default_rng(3)
    # where x > y and x < pi / 2 all terms of value and gradient are positive
    x, y = rng.uniform(0.5, 1.5, (31, 9)), rng.uniform(0, 0.5, (31, 9))
    options: dict[str, Any] = {}
    if loss is poly:
        y = labels(31, 9)
    if weighted:
        items = (31,) if loss is poly else x.shape
        options = {"weight": rng.random(items), "where": rng.random(items) < 0.5}
        x[~options["where"]] = np.nan
    x = x.astype("f")
    y = y if loss is poly else y.astype("f")
    derive = tinyloss.value_and_grad(loss)
    with compiled():
        value, gradient = derive(x, y, **options)
    with by_formulas():
        expected, slope = derive(x, y, **options)
    assert_close(value, expected)
    # reverse mode adds p and p - 1 of a softmax
    assert_close(gradient, slope, terms=loss is poly)


def everything(x: Any, y: Any) -> Any:
    """Every operation that a formula may use."""
    xp = tinyloss.namespace(x)
    a = xp.abs(x) + xp.sqrt(1 + xp.square(y)) - xp.negative(x) / (2 + xp.cos(y))
    b = xp.exp(-xp.abs(x)) + xp.expm1(x / 4) + xp.log(2 + xp.abs(x)) + xp.log1p(xp.abs(y))
    c = xp.cosh(x / 4) + xp.sinh(y / 4) + xp.tanh(x) + xp.sin(x) + xp.pow(1 + x * x, y)
    d = xp.maximum(x, y) + xp.minimum(x, y) + xp.clip(x, -1.0, 0.5) + xp.sign(x - y)
    kept = (x < y) & (x <= 3) | (x > y) | ~(x >= y) | (xp.isfinite(y) & xp.logical_not(xp.isnan(x)))
    e = xp.where(kept, x, 1.0) + xp.where(x == y, xp.zeros_like(x), y) + xp.where(x != y, 0.25, x)
    return a + b + c + d + e + xp.astype(xp.isinf(x), x.dtype) * xp.pi + xp.finfo(x.dtype).eps


@tinyloss.loss
def of_elements(x: Any, y: Any) -> Any:
    """Every operation on elements."""
    return everything(x, y)


@tinyloss.loss(rowwise=True)
def of_rows(x: Any, y: Any) -> Any:
    """Every operation on classes, and sums and maxima of them and of what these gave."""
    xp = tinyloss.namespace(x)
    each = everything(x, y)
    top = x == xp.max(x, axis=-1, keepdims=True)
    highest = xp.sum(xp.where(top, each, 0.0), axis=-1, keepdims=True)
    first = xp.where(xp.arange(x.shape[-1]) < 3, each, 0.5)
    count = xp.sum(xp.astype(each > highest / 3, x.dtype), axis=-1)
    most = xp.max(xp.where(top & (each > highest / 2), xp.exp(each - highest), 0.0), axis=-1)
    return xp.sum(first + each / highest, axis=-1) + highest[..., 0] + count + most


@pytest.mark.parametrize("loss", [of_elements, of_rows])
def test_every_operation_is_compiled(loss: Loss) -> None:
    x, y = numbers(20, 150) / 3, numbers(20, 150, seed=1) / 3
    derive = tinyloss.value_and_grad(loss)
    with compiled():
        results = derive(x, y, reduction="none")
    with by_formulas():
        expected = derive(x, y, reduction="none")
    for got, want in zip(results, expected, strict=True):
        assert_close(got, want, terms=True)


def test_an_own_loss_that_cannot_be_recorded_runs_uncompiled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It needs what only whole arrays have: that is no error, as it is none on other libraries."""

    class Rolled(Ripple):
        def value(self) -> Any:
            return self.xp.roll(self.d, 1)

    @LossFunction
    def odd(x: Any, y: Any) -> Request:
        return Request(Rolled, x, y, {"power": 1.0}, reduction="sum")

    monkeypatch.setattr(_programs, "_warned", set())
    with tinyloss_numpy.compilation("always"), pytest.warns(RuntimeWarning, match=r"xp\.roll"):
        assert odd(np.array([3.0, 1.0]), np.zeros(2)) == 4
