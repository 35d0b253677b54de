"""Targets that have a domain: an error where they can be seen, NaN for their item elsewhere."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest

import tinyloss
import tinyloss_numpy
from tests.support.libraries import Library, with_x64
from tests.support.params import turns

anyloss: Any = tinyloss
on = pytest.mark.parametrize

BINARY = [
    tinyloss.binary_cross_entropy,
    tinyloss.binary_cross_entropy_with_logits,
    tinyloss.sigmoid_focal,
]
MARGIN = [tinyloss.hinge, tinyloss.squared_hinge, tinyloss.soft_margin]
NAN = float("nan")


def named(loss: Any) -> str:
    name: str = loss.__name__
    return name


def everything(loss: Any) -> Any:
    """Return a function of what can be asked: value and gradient, items, curvature."""

    def ask(x: Any, y: Any, **options: Any) -> Any:
        value, grad = anyloss.value_and_grad(loss)(x, y, **options)
        items = loss(x, y, reduction="none", **options)
        return value, grad, items, *anyloss.grad_and_hess(loss)(x, y, **options)

    return ask


def bad_targets(loss: Any) -> list[Any]:
    if loss in MARGIN:
        return [np.array([1, 0, -1], np.int32), np.array([1, 2, -1], np.int32)]
    return [
        np.array([0.0, 1.5, 1.0], np.float32),
        np.array([0.0, -0.25, 1.0], np.float32),
        np.array([0.0, np.inf, 1.0], np.float32),
        np.array([0, 2, 1], np.int32),
        np.array([0, -1, 1], np.int32),
        np.array([0, 255, 1], np.uint8),
    ]


@on("loss", BINARY + MARGIN, ids=named)
def test_a_target_outside_its_domain_is_an_error_or_nan(loss: Any, xp: Library) -> None:
    x = xp.asarray([0.25, 0.5, 0.75])
    for y in bad_targets(loss):
        target = xp.asarray(y, str(y.dtype))
        if xp.sees_labels:
            expected = rf"^tinyloss\.{loss.__name__}: y\[1\] is {y[1]}, expected "
            for ask in (loss, anyloss.grad(loss), anyloss.grad_and_hess(loss)):
                with pytest.raises(ValueError, match=expected):
                    xp.call(ask, x, target)
            with pytest.raises(ValueError, match=expected):
                xp.call(loss, x, target, reduction="none")
            continue
        value, *items = xp.fetch(xp.call(everything(loss), x, target))
        assert np.isnan(value)
        for each in items:
            assert np.isnan(each).tolist() == [False, True, False]


@on("loss", BINARY + MARGIN, ids=named)
def test_what_is_left_out_may_have_any_target(loss: Any, xp: Library) -> None:
    x, y = xp.asarray([0.25, 0.5, 0.75]), bad_targets(loss)[0]
    good = np.where(np.arange(3) == 1, 1, y).astype(y.dtype)
    for options in ({"where": [True, False, True]}, {"weight": [1.0, 0.0, 2.0]}):
        given = {name: xp.asarray(each) for name, each in options.items()}
        result = xp.fetch(xp.call(everything(loss), x, xp.asarray(y, str(y.dtype)), **given))
        expected = xp.fetch(xp.call(everything(loss), x, xp.asarray(good, str(y.dtype)), **given))
        for a, b in zip(result, expected, strict=True):
            np.testing.assert_array_equal(a, b)


@on("loss", BINARY, ids=named)
@on("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_a_probability_may_have_been_rounded(loss: Any, dtype: str) -> None:
    xp = Library("numpy")
    eps = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}
    x = xp.asarray([0.25, 0.5])
    y = xp.asarray([1 + 2 * eps[dtype], -2 * eps[dtype]], dtype)
    assert np.all(np.isfinite(everything(loss)(x, y)[0]))
    with pytest.raises(ValueError, match=r"y\[0\] is 1\."):
        loss(x, xp.asarray([1 + 16 * eps[dtype], 0.0], dtype))


@on("loss", BINARY + MARGIN, ids=named)
def test_a_nan_target_is_no_error(loss: Any, xp: Library) -> None:
    x, y = xp.asarray([0.25, 0.5]), xp.asarray([NAN, 1.0])
    value, grad, *_ = xp.fetch(xp.call(everything(loss), x, y))
    assert np.isnan(value)
    assert np.isnan(grad).tolist() == [True, False]


def test_a_nan_target_hides_no_wrong_one() -> None:
    x, y = np.array([0.25, 0.5, 0.5]), np.array([NAN, 1.0, 255.0])
    with pytest.raises(ValueError, match=r"y\[2\] is 255"):
        tinyloss.binary_cross_entropy(x, y)


@on("loss", MARGIN, ids=named)
def test_floating_targets_of_a_margin_may_be_any(loss: Any) -> None:
    assert np.isfinite(loss(np.array([0.5, 2.0]), np.array([0.25, -3.0])))


@pytest.mark.long
@on("loss", turns(BINARY + MARGIN, 3), ids=named)
@on("mode", ["always", "never"])
@pytest.mark.heavy(4)
def test_compiled_or_not_the_error_is_the_same(loss: Any, mode: Any) -> None:
    asks = (loss, anyloss.value_and_grad(loss), anyloss.grad(loss))
    for n, bad in enumerate(bad_targets(loss)):
        x, y = np.linspace(0.1, 0.9, 3 * 700).astype(np.float32), np.tile(bad, 700)
        # each is another kernel for each dtype
        for ask in asks[n % 3 :: 3] if mode == "always" else asks:
            with tinyloss_numpy.compilation(mode):
                for _ in range(2):  # a call like it was settled
                    with pytest.raises(ValueError, match=r"y\[1\] is "):
                        ask(x, y)


@pytest.mark.long
@on("mode", ["always", "never"])
def test_an_error_writes_nothing(mode: Any) -> None:
    x = np.array([0.25, 0.5, 0.75], np.float32)
    logits = np.zeros((2, 3), np.float32)
    step = anyloss.value_and_grad(tinyloss.binary_cross_entropy, out=x)
    rows = anyloss.value_and_grad(tinyloss.cross_entropy, out=logits)
    with tinyloss_numpy.compilation(mode):
        with pytest.raises(ValueError, match=r"y\[2\] is 7"):
            step(x, np.array([0.0, 1.0, 7.0], np.float32))
        with pytest.raises(ValueError, match=r"y\[1\] is 3"):
            rows(logits, np.array([0, 3]))
    assert x.tolist() == [0.25, 0.5, 0.75]
    assert not logits.any()


def test_validation_chooses() -> None:
    x, y = np.array([0.25, 0.5]), np.array([1.0, 255.0])
    with tinyloss.validation("never"):
        assert np.isnan(tinyloss.binary_cross_entropy_with_logits(x, y))
        value, grad = anyloss.value_and_grad(tinyloss.binary_cross_entropy_with_logits)(x, y)
        assert np.isnan(value)
        assert np.isnan(grad).tolist() == [False, True]
    with tinyloss.validation("always"), pytest.raises(ValueError, match=r"y\[1\] is 255"):
        tinyloss.binary_cross_entropy_with_logits(x, y)


def test_lazy_targets_are_looked_at_on_demand() -> None:
    da = pytest.importorskip("dask.array")
    x, y = da.asarray(np.array([0.25, 0.5])), da.asarray(np.array([1.0, 255.0]))
    assert np.isnan(tinyloss.binary_cross_entropy_with_logits(x, y).compute())
    with tinyloss.validation("always"), pytest.raises(ValueError, match=r"y\[1\] is 255"):
        tinyloss.binary_cross_entropy_with_logits(x, y)


@on("loss", BINARY + MARGIN, ids=named)
def test_an_integer_prediction_beside_a_floating_target_is_a_swap(loss: Any, xp: Library) -> None:
    x, y = xp.asarray([0, 1], "int32"), xp.asarray([0.25, 0.5])
    with pytest.raises(TypeError, match=rf"^tinyloss\.{loss.__name__}: x has dtype int32 beside y"):
        xp.call(loss, x, y)


class TestUnsignedLabels:
    @with_x64
    def test_large_ones_are_no_class_and_ignored_by_their_own_number(self, xp: Library) -> None:
        """As int64 they would be negative: -1 must not stand for 2**64 - 1."""
        for label in (2**63, 2**64 - 1, 2**64 - 100):
            y = np.array([label, 1], np.uint64)
            self.check(label, y, xp)
            own = xp.asarray(y)
            if "uint64" in str(own.dtype):  # JAX without x64 has none
                self.check(label, own, xp)

    def check(self, label: int, y: Any, xp: Library) -> None:
        x = xp.asarray(np.zeros((2, 4)))
        kept = xp.call(tinyloss.cross_entropy, x, y, ignore_index=label)
        np.testing.assert_allclose(xp.numpy(kept), np.log(4), rtol=1e-6)
        wrapped = label - 2**64
        if xp.sees_labels:
            with pytest.raises(ValueError, match=rf"y\[0\] is {label}, expected"):
                xp.call(tinyloss.cross_entropy, x, y, ignore_index=wrapped)
        else:
            assert np.isnan(xp.numpy(xp.call(tinyloss.cross_entropy, x, y, ignore_index=wrapped)))

    @with_x64
    def test_an_ignored_index_beyond_the_librarys_integers(self, xp: Library) -> None:
        x, y = xp.asarray(np.zeros((2, 4))), np.array([2**40, 1])
        value = xp.call(tinyloss.cross_entropy, x, y, ignore_index=2**40)
        np.testing.assert_allclose(xp.numpy(value), np.log(4), rtol=1e-6)


@pytest.mark.long
@on("mode", ["never", "always"])
def test_looking_at_targets_warns_of_no_nan(mode: Any) -> None:
    """The smallest of bfloat16 numbers with a NaN among them has NumPy warn."""
    x = np.zeros(3, ml_dtypes.bfloat16)
    y = np.array([0, np.nan, 1], ml_dtypes.bfloat16)
    with tinyloss_numpy.compilation(mode):
        value = tinyloss.binary_cross_entropy_with_logits(x, y)
        chosen = tinyloss.binary_cross_entropy_with_logits(x, y, where=[True, False, True])
    assert np.isnan(value)
    assert chosen == np.float32(np.log(2))
