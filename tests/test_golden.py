"""Values, gradients and curvature on NumPy, to the last bits, against mpmath."""

from functools import cache, partial
from math import fsum, log1p
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest

import tinyloss
import tinyloss_numpy
from tests.support.answers import answers, complaints
from tests.support.dtypes import DTYPES
from tests.support.exact import split
from tests.support.families import families
from tests.support.specs import EXACT, ORDERED

Array = npt.NDArray[Any]

# Losses are picked by name here, so that their signatures are not known to a type checker.
value_and_grad: Any = tinyloss.value_and_grad
grad_and_hess: Any = tinyloss.grad_and_hess

# Few of a family: the wide sweep is the benchmark's.
ITEMS = 4

EPS32, EPS64 = 2.0**-23, 2.0**-52


@cache
def _drawn(name: str, dtype: str) -> dict[str, dict[str, Any]]:
    return dict(families(name, dtype, n=ITEMS))


def _mark(name: str, turn: int) -> Any:
    # Numbers that know their derivatives by each of a row's cost more where the row is in an order.
    if name in ORDERED:
        return pytest.mark.slow if turn else pytest.mark.long
    return () if turn == 0 else pytest.mark.long if turn in (1, 4) else pytest.mark.slow


def _cases() -> list[Any]:
    """Every family in every dtype. By default every other; the dtypes take turns, but if slow."""
    return [
        pytest.param(
            *(name, dtype, family),
            id=f"{name}-{dtype}-{family}",
            marks=_mark(name, (turn + 2 * other) % (2 * len(DTYPES))),
        )
        for name in EXACT
        for other, dtype in enumerate(DTYPES)
        for turn, family in enumerate(_drawn(name, dtype))
    ]


@pytest.mark.parametrize(("name", "dtype", "family"), _cases())
def test_every_result_is_within_the_bound_of_its_loss(name: str, dtype: str, family: str) -> None:
    kwargs = _drawn(name, dtype)[family]
    got = answers(name, kwargs)
    if EXACT[name].target:  # every way to ask gives the same numbers
        function, (arguments, parameters) = getattr(tinyloss, name), split(name, kwargs)
        if EXACT[name].curved:
            again, _ = grad_and_hess(function)(*arguments, **parameters)
            np.testing.assert_array_equal(again.astype(float), got["x"].astype(float))
        alone = function(*arguments, reduction="none", **parameters)
        np.testing.assert_array_equal(alone, got["value"])
    found = complaints(name, kwargs, got)
    assert not found, "\n".join([f"{name} {dtype} {family}", *found])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", EXACT)
def test_results_have_the_dtypes_of_the_contract(name: str, dtype: str) -> None:
    kwargs = next(iter(_drawn(name, dtype).values()))
    given = DTYPES[dtype]
    compute = np.dtype(np.float64 if dtype == "float64" else np.float32)
    got = answers(name, kwargs)
    value = got.pop("value")
    assert value.dtype == (compute if EXACT[name].target else given)
    assert {np.asarray(result).dtype for result in got.values()} <= {given}


# ------------------------------------------------------------------------- numbers to remember


def _close(got: Any, expected: Any, eps: float, allowed: float) -> None:
    np.testing.assert_allclose(
        np.asarray(got).astype(np.float64), expected, rtol=allowed * eps, atol=0
    )


def test_confident_cross_entropy_is_not_0() -> None:
    x = np.array([[20, 0]], dtype=np.float32)
    value, gradient = tinyloss.value_and_grad(tinyloss.cross_entropy)(x, np.array([0]))
    exact = 2.0611536203e-09  # log1p(exp(-20)), and 1 / (1 + exp(20)) to eleven digits
    assert value.dtype == gradient.dtype == np.float32
    _close(value, exact, EPS32, 4)
    _close(gradient, [[-exact, exact]], EPS32, 4)
    assert str(value) == "2.0611537e-09"
    assert gradient.tolist() == [[-float(value), float(value)]]


def test_confident_binary_cross_entropy_is_not_0() -> None:
    x = np.array([-20], dtype=np.float32)
    for y in (np.array([0]), np.array([0.0]), np.array([False])):
        value = tinyloss.binary_cross_entropy_with_logits(x, y)
        assert value.dtype == (np.float64 if y.dtype == np.float64 else np.float32)
        assert str(value.astype(np.float32)) == "2.0611537e-09"


def test_huber_gradient_of_a_small_error_is_the_error() -> None:
    x, y = np.array([1e-5], dtype=np.float32), np.zeros(1, np.float32)
    assert tinyloss.grad(tinyloss.huber)(x, y).tolist() == x.tolist()


def test_log_cosh_of_a_small_error_is_half_its_square() -> None:
    value = tinyloss.log_cosh(np.array([1e-5]), np.array([0.0]))
    # d^2/2 - d^4/12 + ...
    _close(value, 5e-11 - 1e-20 / 12, EPS64, 8)


RANKS = np.array([2, 1, 4])
THRESHOLDS = np.array([[2.1, 1.8, -2.1, -1.8], [1.9, -1.0, -1.5, -1.3], [1.9, 1.8, 1.7, 1.6]])


def test_coral_has_the_value_of_its_authors() -> None:
    """The logits of coral-pytorch's docstring, which says 0.692; digits by mpmath."""
    above = RANKS[:, None] > np.arange(4)
    value, gradient = tinyloss.value_and_grad(tinyloss.coral)(THRESHOLDS, above)
    _close(value, 0.69203852803740856694, EPS64, 6)
    slopes = [-0.036365607065204313, -0.047283688300162597, 0.036365607065204313]
    _close(gradient[0, :3], slopes, EPS64, 6)


def test_corn_is_the_logarithm_of_a_rank_s_probability() -> None:
    """A rank above a threshold has the product of the conditional probabilities up to it."""
    above = np.cumprod(1 / (1 + np.exp(-THRESHOLDS)), axis=-1)
    ends = np.concatenate([np.ones((3, 1)), above, np.zeros((3, 1))], axis=-1)
    p = ends[:, :-1] - ends[:, 1:]
    items = tinyloss.corn(THRESHOLDS, RANKS, reduction="none")
    _close(items, -np.log(p[np.arange(3), RANKS]), EPS64, 32)


def test_corn_counts_as_many_thresholds_as_are_asked() -> None:
    weight, asked = np.array([0.5, 0.0, 2.0]), np.minimum(RANKS, 3) + 1
    items = tinyloss.corn(THRESHOLDS, RANKS, reduction="none")
    for labels in (RANKS, RANKS[::-1].copy()):  # calls alike, of other divisors
        counted = np.minimum(labels, 3) + 1
        each = tinyloss.corn(THRESHOLDS, labels, reduction="none")
        _close(tinyloss.corn(THRESHOLDS, labels), each.sum() / counted.sum(), EPS64, 6)
    value = tinyloss.corn(THRESHOLDS, RANKS, weight=weight)
    _close(value, (weight * items).sum() / (weight * asked).sum(), EPS64, 6)
    assert tinyloss.corn(THRESHOLDS, RANKS, denominator=3) == items.sum() / 3
    part = tinyloss.partial_mean(tinyloss.corn)
    both = part(THRESHOLDS[:1], RANKS[:1]) + part(THRESHOLDS[1:], RANKS[1:])
    _close(both.value(), items.sum() / asked.sum(), EPS64, 6)


def test_a_sum_with_corn_is_the_sum_of_the_means() -> None:
    corn, labels = tinyloss.CORNLoss(), np.minimum(RANKS, 3)
    alone = tinyloss.corn(THRESHOLDS, labels)
    _close((corn + 2 * corn)(THRESHOLDS, labels), 3 * alone, EPS64, 6)
    both = corn + tinyloss.CrossEntropyLoss()
    _close(both(THRESHOLDS, labels), alone + tinyloss.cross_entropy(THRESHOLDS, labels), EPS64, 6)
    direction = np.cos(np.arange(12.0)).reshape(3, 4)
    slope, step = tinyloss.grad(tinyloss.corn), 1e-6 * direction
    numeric = (slope(THRESHOLDS + step, RANKS) - slope(THRESHOLDS - step, RANKS)) / 2e-6
    product = tinyloss.hvp(tinyloss.corn)(THRESHOLDS, RANKS, direction)
    np.testing.assert_allclose(product, numeric, atol=1e-9)


def test_what_corn_does_not_ask_does_not_matter() -> None:
    x = np.array([[1.0, np.inf, np.nan], [np.inf, -1.0, -np.inf]])
    value, gradient = tinyloss.value_and_grad(tinyloss.corn)(x, [0, 1])
    known = tinyloss.corn(np.array([[1.0, 0.0, 0.0], [np.inf, -1.0, 0.0]]), [0, 1])
    assert np.isfinite(value)
    _close(value, known, EPS64, 6)
    assert not gradient[0, 1:].any()


@pytest.mark.parametrize("mode", ["always", "never"])
def test_a_rank_beyond_the_thresholds_is_an_error(mode: Any) -> None:
    x, both = np.zeros((4, 3)), tinyloss.value_and_grad(tinyloss.corn)
    with tinyloss_numpy.compilation(mode):
        for wrong in (-1, 4):
            message = rf"^tinyloss.corn: y\[1\] is {wrong}, expected a rank from 0 to 3 \(x has 3 "
            with pytest.raises(ValueError, match=message + r"thresholds along axis -1\)$"):
                both(x, [0, wrong, 3, 0])
            value, gradient = both(x, [0, wrong, 3, 0], where=[True, False, True, True])
            assert np.isfinite(value)
            assert np.isfinite(gradient).all()
            with tinyloss.validation("never"):
                items = tinyloss.corn(x, [0, wrong, 3, 0], reduction="none")
                _, gradient = both(x, [0, wrong, 3, 0])
            assert np.isnan(items).tolist() == [False, True, False, False]
            assert np.isnan(gradient).all(axis=1).tolist() == [False, True, False, False]
            assert np.isnan(gradient).any(axis=1).tolist() == [False, True, False, False]


def test_corn_is_a_binary_cross_entropy_of_the_thresholds_that_are_asked() -> None:
    above = RANKS[:, None] > np.arange(4)
    asked = RANKS[:, None] > np.arange(-1, 3)
    function = tinyloss.value_and_grad(tinyloss.binary_cross_entropy_with_logits)
    value, gradient = function(THRESHOLDS, above, where=asked)
    _close(value, 0.16452402686337855016, EPS64, 6)
    slopes = [-0.012121869021734771, -0.015761229433387532, 0.012121869021734771, 0.0]
    _close(gradient[0], slopes, EPS64, 6)
    whole, slope = tinyloss.value_and_grad(tinyloss.corn)(THRESHOLDS, RANKS)
    _close(whole, value, EPS64, 6)
    _close(slope, gradient, EPS64, 6)


ALPHA = np.array([0.25, 0.5, 0.75, 0.125])


def test_class_weights_of_softmax_focal_are_the_alphas_of_its_paper() -> None:
    labels = np.array([2, 1, 0])
    items = ALPHA[labels] * tinyloss.softmax_focal(THRESHOLDS, labels, reduction="none")
    weighed = partial(tinyloss.softmax_focal, THRESHOLDS, labels, class_weight=ALPHA)
    _close(weighed(denominator=3), items.sum() / 3, EPS64, 6)
    _close(weighed(), items.sum() / ALPHA[labels].sum(), EPS64, 6)


def test_weights_of_sigmoid_focal_are_an_alpha_for_each_label() -> None:
    above = RANKS[:, None] > np.arange(4)
    of_each = [
        tinyloss.sigmoid_focal(THRESHOLDS[:, k], above[:, k], alpha=alpha, reduction="sum")
        for k, alpha in enumerate(ALPHA)
    ]
    weight = np.where(above, ALPHA, 1 - ALPHA)
    value = tinyloss.sigmoid_focal(THRESHOLDS, above, weight=weight, denominator=12)
    _close(value, sum(of_each) / 12, EPS64, 8)


def test_multilabel_margin_has_the_value_of_torchs_documentation() -> None:
    """There the labels 3 and 0 are a list that -1 ends: [3, 0, -1, 1]."""
    x, y = np.array([[0.1, 0.2, 0.4, 0.8]]), np.array([[True, False, False, True]])
    value, gradient = tinyloss.value_and_grad(tinyloss.multilabel_margin)(x, y)
    _close(value, 0.85, EPS64, 6)
    assert gradient.tolist() == [[-0.5, 0.5, 0.5, -0.5]]


# -------------------------------------------------------------------------------- sums and means

# A pairwise sum of n terms of one sign errs by at most log2(n) / 2 eps beyond the terms' own error;
# NumPy's adds blocks of 128 in 8 running sums of up to 16 terms before: 8 eps at worst, as much
# as a bound proves. Roundings go either way, so it is far less; the contract says 4 as measured.
SUM_EPS = 4.0


def _mean_truth(items: Array) -> float:
    """Return the mean of float64 numbers, the sum rounded once."""
    return fsum(items.ravel().tolist()) / items.size


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("layout", ["flat", "C", "F", "transposed", "strided", "reversed"])
def test_a_million_float32_items_lose_nothing(layout: str, reduction: Any) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=10**6).astype(np.float32)
    y = rng.normal(size=10**6).astype(np.float32)
    exact = _mean_truth((x.astype(np.float64) - y.astype(np.float64)) ** 2)
    exact *= 10**6 if reduction == "sum" else 1
    x, y = _lay(x, layout), _lay(y, layout)
    _close(tinyloss.mse(x, y, reduction=reduction), exact, EPS32, SUM_EPS)


def _lay(a: Array, layout: str) -> Array:
    """Lay the same million numbers out in memory in some way."""
    if layout == "flat":
        return a
    if layout == "C":
        return a.reshape(250_000, 4)
    if layout == "F":
        return np.asfortranarray(a.reshape(250_000, 4))
    if layout == "transposed":
        return np.ascontiguousarray(a.reshape(4, 250_000)).T
    if layout == "reversed":
        return a[::-1]
    wide = np.zeros((a.size, 3), a.dtype)
    wide[:, 1] = a
    return wide[:, 1]


@pytest.mark.parametrize("shape", [(10**6, 1), (2**18, 4), (2, 500_000)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_mean_of_ones_is_one(shape: tuple[int, int], order: Any) -> None:
    x = np.ones(shape, np.float32, order=order)
    assert tinyloss.mae(x, np.zeros(shape, np.float32, order=order)) == 1


@pytest.mark.parametrize("half", [np.float16, ml_dtypes.bfloat16])
def test_a_mean_of_half_precision_ones_is_one(half: Any) -> None:
    """Running sums of these stick at 256 (bfloat16) and 2048, or overflow at 65504 (float16)."""
    x = np.ones(100_000, dtype=half)
    value = tinyloss.mse(x, np.zeros_like(x))
    assert value.dtype == np.float32
    assert value == 1
    assert tinyloss.mse(x, np.zeros_like(x), reduction="sum") == 100_000


def test_a_half_precision_square_does_not_overflow() -> None:
    x = np.full(3, 300, dtype=np.float16)
    assert tinyloss.mse(x, np.zeros_like(x)) == 90_000


def test_a_weighted_mean_of_a_million_is_as_accurate() -> None:
    rng = np.random.default_rng(2)
    x, y = (rng.normal(size=10**6).astype(np.float32) for _ in range(2))
    w = rng.uniform(size=10**6).astype(np.float32)
    w64 = w.astype(np.float64)
    items = w64 * np.abs(x.astype(np.float64) - y.astype(np.float64))
    exact = _mean_truth(items) / _mean_truth(w64)
    # Two sums, each within the bound of one.
    _close(tinyloss.mae(x, y, weight=w), exact, EPS32, 2 * SUM_EPS)
    _close(tinyloss.mae(x, y, weight=w[:, None][:, 0]), exact, EPS32, 2 * SUM_EPS)


def _wide_rows(classes: int) -> tuple[Array, npt.NDArray[np.int64]]:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(4, classes)).astype(np.float32)
    y = rng.integers(0, classes, 4)
    x[1, y[1]] = 40  # almost certain: the loss is the sum of 1e5 small numbers
    return x, y


@cache
def _wide_truth() -> tuple[Array, Array]:
    """Return loss and slope at the label, in float64 with exact sums: 1e-15 against 1e-7."""
    values: list[float] = []
    slopes: list[float] = []
    x, y = _wide_rows(100_000)
    for row, label in zip(x.astype(np.float64), y.tolist(), strict=True):
        e = np.exp(row - row[label])  # differences of float32 numbers, exact to 1e-16
        e[label] = 0
        rest = fsum(e.tolist())
        values.append(log1p(rest))
        slopes.append(-rest / (1 + rest))
    return np.array(values), np.array(slopes)


@pytest.mark.parametrize("layout", ["last axis", "first axis", "Fortran", "strided"])
def test_rows_of_a_hundred_thousand_classes(layout: str) -> None:
    x, y = _wide_rows(100_000)
    value, slope = _wide_truth()
    axis = -1
    if layout == "first axis":
        x, axis = np.ascontiguousarray(x.T), 0
    elif layout == "Fortran":
        x = np.asfortranarray(x)
    elif layout == "strided":
        wide = np.zeros((4, 200_000), np.float32)
        wide[:, ::2] = x
        x = wide[:, ::2]
    # The bound of the loss holds with the sum in it: 4 eps.
    got, gradient = tinyloss.value_and_grad(tinyloss.cross_entropy)(
        x, y, axis=axis, reduction="none"
    )
    _close(got, value, EPS32, 4)
    assert gradient.shape == x.shape
    rows = gradient.T if axis == 0 else gradient
    _close(rows[np.arange(4), y], slope, EPS32, 4)
    log_p = tinyloss.log_softmax(x, axis=axis)
    rows = log_p.T if axis == 0 else log_p
    _close(-rows[np.arange(4), y], value, EPS32, 4)
    p = tinyloss.softmax(x, axis=axis).astype(np.float64)
    np.testing.assert_allclose(p.sum(axis=axis), 1, rtol=4 * EPS32)


@pytest.mark.parametrize(
    "name", ["cross_entropy", "softmax_focal", "kl_div", "kl_div_with_logits", "js_div"]
)
def test_a_class_axis_in_the_middle_gives_the_same_bits(name: str) -> None:
    """Rows are summed alike wherever the classes lie in memory."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(3, 5, 1000)).astype(np.float32)
    y = rng.uniform(size=x.shape).astype(np.float32)
    if name == "js_div":
        x = np.abs(x)
    function = value_and_grad(getattr(tinyloss, name), (0, 1))
    value, grads = function(x, y, reduction="none")
    middle_x, middle_y = (np.ascontiguousarray(np.moveaxis(a, -1, 1)) for a in (x, y))
    for each_x, each_y, axis in (
        (middle_x, middle_y, 1),
        (middle_x, middle_y, -2),
        (np.asfortranarray(x), np.asfortranarray(y), -1),
        (np.moveaxis(x, -1, 0), np.moveaxis(y, -1, 0), 0),
    ):
        got, gradients = function(each_x, each_y, axis=axis, reduction="none")
        np.testing.assert_array_equal(got, value)
        for gradient, expected in zip(gradients, grads, strict=True):
            np.testing.assert_array_equal(np.moveaxis(gradient, axis, -1), expected)


def test_cross_entropy_of_labels_in_another_layout_gives_the_same_bits() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(2, 1000, 3, 4)).astype(np.float32)
    y = rng.integers(0, 1000, (2, 3, 4))
    rows = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    function = tinyloss.value_and_grad(tinyloss.cross_entropy)
    got, gradient = function(x, y, axis=1)
    value, expected = function(rows, y)
    assert got == value
    np.testing.assert_array_equal(np.moveaxis(gradient, 1, -1), expected)


def test_the_mean_of_a_gradient_loses_no_small_numbers() -> None:
    """1 / N is applied to the gradient, not to the loss before it is differentiated."""
    x = np.full(10**5, -80, np.float32)
    gradient = tinyloss.grad(tinyloss.binary_cross_entropy_with_logits)(x, np.zeros_like(x))
    # exp(-80) / 1e5 = 1.8e-40 is subnormal: half its spacing is all that may be lost, and the
    # rounding of exp(-80) itself.
    exact = np.exp(-80.0) / 1e5
    assert (np.abs(gradient.astype(np.float64) - exact) <= 1.5 * 2.0**-149).all()
