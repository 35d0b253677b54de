"""Gradients that the NumPy backend writes where they are wanted."""

from itertools import product
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import tinyloss
from tests.support.compiled import (
    Array,
    Loss,
    assert_close,
    by_formulas,
    compiled,
    labels,
    numbers,
    probabilities,
    readonly,
)
from tests.support.formulas import spread
from tests.support.params import turns


def own_place(x: Array, y: Array) -> tuple[Array, Array]:
    return x, y


def swapped(x: Array, y: Array) -> tuple[Array, Array]:
    return y, x


def strided(x: Array, _: Array) -> tuple[Array, Array]:
    return np.full((*x.shape[:-1], 2 * x.shape[-1]), 7, x.dtype)[..., ::2], np.empty_like(x)


def turned(x: Array, y: Array) -> tuple[Array, Array]:
    return x.T, y.T


def crossed(x: Array, y: Array) -> tuple[Array, Array]:
    return y[::-1], x[::-1]


PLACES = (swapped, own_place, strided, turned, crossed)
MODES = pytest.mark.parametrize("mode", [compiled, by_formulas])


@pytest.mark.long
@MODES
@pytest.mark.parametrize(
    ("loss", "place"),
    [
        *product([tinyloss.mse], PLACES),
        *turns([*product([tinyloss.kl_div], PLACES)], 2),
    ],
)
def test_gradients_are_written_anywhere(loss: Loss, place: Any, mode: Any) -> None:
    """Over the arguments too, in any order and any way round."""
    x, y = numbers(10, 10), probabilities(10, 10)
    with mode():
        value, grads = tinyloss.value_and_grad(loss, (0, 1))(x, y)
        out = place(x, y)
        got, written = tinyloss.value_and_grad(loss, (0, 1), out=out)(x, y)
    assert all(a is b for a, b in zip(written, out, strict=True))
    assert_close(got, value)
    for a, b in zip(written, grads, strict=True):
        assert_close(a, b)
    if place is strided:
        assert (out[0].base[..., 1::2] == 7).all()


@pytest.mark.long
@MODES
@pytest.mark.parametrize("step", [1, -1])
def test_gradient_over_a_part_of_x(step: int, mode: Any) -> None:
    memory = numbers(41, 300)
    x, out = (memory[1:], memory[:-1])[::step]
    y = labels(40, 300)
    with mode():
        value, gradient = tinyloss.value_and_grad(tinyloss.cross_entropy)(x.copy(), y)
        got, written = tinyloss.value_and_grad(tinyloss.cross_entropy, out=out)(x, y)
    assert written is out
    assert_close(got, value)
    assert_close(written, gradient)


@MODES
def test_gradient_over_other_arguments(mode: Any) -> None:
    x, y, weight = numbers(12, 10), numbers(12, 10, seed=1), numbers(12, 10, seed=2) ** 2
    with mode():
        expected = tinyloss.grad(tinyloss.mse)(x, y, weight=weight)
        got = tinyloss.grad(tinyloss.mse, out=weight)(x, y, weight=weight)
        assert got is weight
        assert_close(got, expected)
        # x is the target, too
        same = x.copy()
        np.testing.assert_array_equal(tinyloss.grad(tinyloss.mse, out=same)(same, same), 0)


@pytest.mark.long
@MODES
@pytest.mark.parametrize("largest", [0.01, 0.75, 3.0])
def test_gradient_over_a_class_weight(largest: float, mode: Any) -> None:
    """Whatever its size: one that is not divided by a unit is read where it lies."""
    x, y, class_weight = numbers(5), probabilities(5), probabilities(5)
    class_weight *= largest / class_weight.max()
    loss = tinyloss.cross_entropy
    with mode():
        expected = tinyloss.grad(loss)(x, y, class_weight=class_weight)
        got = tinyloss.grad(loss, out=class_weight)(x, y, class_weight=class_weight)
    assert_close(got, expected)


@pytest.mark.parametrize(
    ("classes", "loss"), turns([*product((5, 300), (tinyloss.nll, tinyloss.cross_entropy))], 4)
)
def test_value_is_of_the_logits_that_its_gradient_overwrites(loss: Loss, classes: int) -> None:
    """Whether rows are transposed, as short ones are, or read where they lie."""
    rng = np.random.default_rng(classes)
    x, y = rng.normal(size=(3, classes)), rng.integers(0, classes, 3)
    options: dict[str, Any] = {"reduction": "none", "weight": np.array([1.0, 2.0, 0.5])}
    place = x.copy()
    with compiled():
        value, gradient = tinyloss.value_and_grad(loss)(x, y, **options)
        same, written = tinyloss.value_and_grad(loss, out=place)(place, y, **options)
    np.testing.assert_array_equal(same, value)
    np.testing.assert_array_equal(written, gradient)
    assert written is place


@pytest.mark.long
@MODES
def test_gradient_along_another_axis_is_written(mode: Any) -> None:
    x, y = numbers(3, 100, 5), labels(15, 100).reshape(3, 5)
    with mode():
        expected = tinyloss.grad(tinyloss.cross_entropy)(x, y, axis=1)
        got = tinyloss.grad(tinyloss.cross_entropy, out=x)(x, y, axis=1)
    assert got is x
    assert_close(got, expected)


@pytest.mark.long
@MODES
def test_gradient_and_curvature_are_written(mode: Any) -> None:
    x, y = numbers(12, 300), probabilities(12, 300)
    with mode():
        expected = tinyloss.grad_and_hess(tinyloss.cross_entropy)(x, y)
        got = tinyloss.grad_and_hess(tinyloss.cross_entropy, out=(y, x))(x, y)
    assert got[0] is y
    assert got[1] is x
    for a, b in zip(got, expected, strict=True):
        assert_close(a, b)


@MODES
def test_sum_of_losses_writes_its_gradient(mode: Any) -> None:
    loss: Any = 0.75 * tinyloss.MSELoss() + 0.5 * tinyloss.MAELoss()
    x, y = numbers(50), numbers(50, seed=1)
    with mode():
        value, gradient = loss.value_and_grad(x, y)
        derive: Any = tinyloss.value_and_grad(loss, out=x)
        got, written = derive(x, y)
    assert written is x
    assert got == value
    np.testing.assert_array_equal(written, gradient)


@MODES
@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (np.full((3, 2), 7, "f"), ValueError, r"out has shape \(3, 2\), expected \(2, 3\)"),
        (np.full((2, 3), 7.0), TypeError, "out has dtype float64, expected float32"),
        (readonly(np.full((2, 3), 7, "f")), ValueError, "out is read-only"),
        ([[7.0] * 3] * 2, TypeError, "out: got a list, expected an array"),
        (np.ma.masked_array(np.full((2, 3), 7, "f")), TypeError, "out: .*MaskedArray"),
    ],
    ids=["shape", "dtype", "read-only", "list", "masked"],
)
def test_out_that_cannot_take_a_gradient_is_refused(
    out: Any, error: type[Exception], message: str, mode: Any
) -> None:
    x = numbers(2, 3)
    before = x.copy()
    sum_of_losses: Any = tinyloss.MSELoss() + tinyloss.MAELoss()
    for name, loss in (("mse", tinyloss.mse), ("WeightedSum", sum_of_losses)):
        with mode(), pytest.raises(error, match=rf"^tinyloss\.{name}: {message}"):
            tinyloss.value_and_grad(loss, out=out)(x, x)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(np.asarray(out), 7)


def test_second_out_that_is_refused_leaves_the_first_alone() -> None:
    x, first, second = numbers(3), np.full(3, 7, "f"), np.full(4, 7, "f")
    with pytest.raises(ValueError, match="out has shape"):
        tinyloss.value_and_grad(tinyloss.mse, (0, 1), out=(first, second))(x, x)
    np.testing.assert_array_equal(first, 7)


@MODES
def test_outs_that_share_memory_are_refused(mode: Any) -> None:
    x, both = numbers(3), np.full((4, 2), 7, "f")
    sum_of_losses: Any = tinyloss.MSELoss() + tinyloss.MAELoss()
    for loss in (tinyloss.mse, sum_of_losses):
        for out in ((both[:3, 0], both[1:, 0]), (x, x[:])):
            with mode(), pytest.raises(ValueError, match="out has arrays that share memory"):
                tinyloss.value_and_grad(loss, (0, 1), out=out)(x, x)
    np.testing.assert_array_equal(both, 7)
    with mode():
        grads = tinyloss.grad(tinyloss.mse, (0, 1), out=(both[:3, 0], both[:3, 1]))(x, 0 * x)
    np.testing.assert_array_equal(grads[0], -grads[1])


@pytest.mark.parametrize("out", [np.ones(3), [np.ones(3), np.ones(3)], (np.ones(3),)])
def test_out_of_several_gradients_is_a_tuple_of_as_many(out: Any) -> None:
    with pytest.raises(TypeError, match=r"^tinyloss: out is of type \w+, expected a tuple of 2 "):
        tinyloss.value_and_grad(tinyloss.mse, (0, 1), out=out)


def test_out_of_another_library_is_refused(torch: Any) -> None:
    with pytest.raises(TypeError, match=r"^tinyloss\.mse: out is of torch, expected numpy, as x"):
        tinyloss.value_and_grad(tinyloss.mse, out=torch.ones(3))(np.ones(3), np.ones(3))


def test_out_of_arrays_that_cannot_be_written_is_refused(jax: Any) -> None:
    x = jax.numpy.ones(3)
    with pytest.raises(ValueError, match=r"^tinyloss\.mse: out is read-only"):
        tinyloss.value_and_grad(tinyloss.mse, out=x)(x, x)


def test_out_of_a_library_without_kernels(torch: Any) -> None:
    x, y = torch.tensor([1.0, 2.0, 5.0]), torch.zeros(3)
    value, gradient = tinyloss.value_and_grad(tinyloss.mse, out=x)(x, y)
    assert gradient is x
    assert value == 10
    assert x.tolist() == pytest.approx([2 / 3, 4 / 3, 10 / 3])


def test_of_one_row_that_is_no_piece_with_a_number_for_weight() -> None:
    x, out = np.arange(10.0)[::2], np.empty(5)
    for options in ({"weight": np.array(0.5)}, {"where": np.array(True), "ignore_index": 2}):
        both: Any = tinyloss.value_and_grad(tinyloss.cross_entropy, out=out)
        value, gradient = both(x, 3, **options)
        assert gradient is out
        expected, slope = tinyloss.value_and_grad(tinyloss.cross_entropy)(x.copy(), 3)
        assert value == expected
        np.testing.assert_array_equal(gradient, slope)


LAST_LANES = [*range(128, 146), 255, 257, 4000, 4001]
"""Rows whose last vector is of any length."""


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "loss",
    [
        *(tinyloss.cross_entropy, tinyloss.brier, tinyloss.multi_margin, tinyloss.softmax_focal),
        *(tinyloss.kl_div, spread),
    ],
)
def test_last_classes_of_a_row_that_is_overwritten(loss: Loss, dtype: str) -> None:
    """They are computed twice, but not from what they have overwritten."""
    for classes in LAST_LANES:
        x = probabilities(5, classes).astype(dtype)
        y = x[::-1].copy() if loss in (tinyloss.kl_div, spread) else labels(5, classes)
        y = np.append(y[:-1], classes - 1) if y.ndim == 1 else y
        own = x.copy()
        with compiled():
            value, grad = tinyloss.value_and_grad(loss)(x, y)
            over, written = tinyloss.value_and_grad(loss, out=own)(own, y)
        with by_formulas():
            expected, slope = tinyloss.value_and_grad(loss)(x, y)
        assert value == over
        assert written is own
        np.testing.assert_array_equal(own, grad)
        assert_close(value, expected, dtype)
        assert_close(grad, slope, dtype, terms=True)
