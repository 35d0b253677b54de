"""What we take otherwise: an entry of the documentation each, our answer and that of the others."""

import warnings
from typing import Any

import numpy as np
import pytest

import tinyloss
from tests.support.differences import CALLS, Shown
from tests.support.libraries import peer
from tests.support.peers import close, rng_of

# Losses are picked by name here, so that their signatures are not known to a type checker.
value_and_grad: Any = tinyloss.value_and_grad

shows = Shown(CALLS)


@shows("shapes")
@pytest.mark.parametrize("name", ["mse", "huber", "poisson_nll"])
def test_x_and_y_never_broadcast(name: str, torch: Any, jax: Any, optax: Any) -> None:
    x, y = np.ones(3), np.ones((3, 1))
    with pytest.raises(ValueError, match=r"\(3, 1\).*\(3,\)"):
        getattr(tinyloss, name)(x, y)
    theirs = getattr(torch.nn.functional, f"{name}_loss")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        items = theirs(torch.asarray(x), torch.asarray(y), reduction="none")
    assert tuple(items.shape) == (3, 3)
    assert bool(caught) is (name != "poisson_nll")
    assert optax.huber_loss(jax.numpy.asarray(x), jax.numpy.asarray(y)).shape == (3, 3)


@shows("weight-shape")
def test_weights_broadcast_to_the_items(torch: Any) -> None:
    x, weight = np.arange(6.0).reshape(2, 3), np.array([1.0, 2.0, 3.0])
    full = np.ascontiguousarray(np.broadcast_to(weight, x.shape))
    zeros = np.zeros_like(x)
    assert tinyloss.mse(x, zeros, weight=weight) == tinyloss.mse(x, zeros, weight=full)
    with pytest.raises(ValueError, match="same size"):
        torch.nn.functional.mse_loss(
            torch.asarray(x), torch.asarray(zeros), weight=torch.asarray(weight)
        )


@shows("class-axis")
def test_classes_are_in_the_last_axis_unless_said(torch: Any) -> None:
    rng = rng_of("class-axis")
    x, y = rng.normal(size=(2, 3, 4)), rng.integers(0, 3, (2, 4))
    entropy = torch.nn.functional.cross_entropy
    with pytest.raises(ValueError, match=r"\(2, 4\).*\(2, 3\)"):
        tinyloss.cross_entropy(x, y)
    theirs = entropy(torch.asarray(x), torch.asarray(y)).item()
    close(tinyloss.cross_entropy(x, y, axis=1), theirs, np.float64)
    square, labels = x[..., :3], y[:, :3]
    theirs = entropy(torch.asarray(square), torch.asarray(labels)).item()
    close(tinyloss.cross_entropy(square, labels, axis=1), theirs, np.float64)
    assert abs(tinyloss.cross_entropy(square, labels) - theirs) > 0.01


@shows("label-range")
def test_a_label_out_of_range_is_never_silently_wrong(torch: Any, jax: Any, optax: Any) -> None:
    x = np.array([[1.0, 2.0, 3.0], [0.0, 1.0, 0.0]])
    last = -np.log(np.exp(0) / np.exp([0.0, 1.0, 0.0]).sum())
    for wrong in (3, -1):
        y = np.array([0, wrong])
        with pytest.raises(ValueError, match=rf"y\[1\] is {wrong}, .*from 0 to 2"):
            tinyloss.cross_entropy(x, y)
        with tinyloss.validation("never"):
            items, gradient = tinyloss.value_and_grad(tinyloss.cross_entropy)(
                x, y, reduction="none"
            )
        assert np.isnan(items).tolist() == [False, True]
        assert np.isnan(gradient).tolist() == [[False] * 3, [True] * 3]
        with pytest.raises(IndexError, match="out of bounds"):
            torch.nn.functional.cross_entropy(torch.asarray(x), torch.asarray(y))
        theirs = optax.softmax_cross_entropy_with_integer_labels(
            jax.numpy.asarray(x), jax.numpy.asarray(y)
        )[1]
        close(theirs, np.nan if wrong == 3 else last, np.float64)


@shows("target-range")
def test_a_target_outside_its_range_is_an_error(torch: Any) -> None:
    optax, F = pytest.importorskip("optax"), torch.nn.functional
    x, mask = np.array([3.0, -1.0], np.float32), np.array([255.0, 0.0], np.float32)
    ours, logits = tinyloss.binary_cross_entropy_with_logits, torch.asarray(x)
    with pytest.raises(ValueError, match=r"y\[0\] is 255"):
        ours(x, mask)
    with pytest.raises(ValueError, match="the prediction comes first"):
        ours(mask / 255, x)
    with pytest.raises(ValueError, match="expected -1 or 1"):
        tinyloss.hinge(x, mask.astype(int) // 255)
    for theirs in (
        F.binary_cross_entropy_with_logits(logits, torch.asarray(mask)).item(),
        float(optax.sigmoid_binary_cross_entropy(x, mask).mean()),
    ):
        assert theirs < -100


@shows("label-dtypes")
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint64", "int64", "bool"])
def test_targets_are_of_any_integer_dtype(dtype: str, torch: Any) -> None:
    functional = torch.nn.functional
    x, y = np.array([[1.0, 2.0], [0.5, 0.0]]), np.array([0, 1])
    expected = tinyloss.cross_entropy(x, y)
    assert tinyloss.cross_entropy(x, y.astype(dtype)) == expected
    hot = np.eye(2)[y]
    close(tinyloss.cross_entropy(x, hot.astype(dtype)), expected, np.float64)
    binary = tinyloss.binary_cross_entropy_with_logits
    assert binary(x, hot.astype(dtype)) == binary(x, hot)
    if dtype not in ("int64", "uint8"):
        labels = torch.asarray(y.astype(dtype))
        with pytest.raises((RuntimeError, IndexError)):
            functional.cross_entropy(torch.asarray(x), labels)
    with pytest.raises(RuntimeError):
        functional.cross_entropy(torch.asarray(x), torch.asarray(hot.astype(dtype)))


@shows("signed-booleans")
@pytest.mark.parametrize("name", ["hinge", "squared_hinge", "soft_margin"])
def test_false_is_minus_1(name: str, torch: Any, jax: Any, optax: Any) -> None:
    x, y = np.array([0.5, 0.5]), np.array([True, False])
    loss = getattr(tinyloss, name)
    assert (loss(x, y) == loss(x, np.array([1.0, -1.0]))).all()
    theirs = optax.hinge_loss(jax.numpy.asarray(x), jax.numpy.asarray(y))
    assert theirs.tolist() == [0.5, 1]
    margin = torch.nn.functional.soft_margin_loss
    items = margin(torch.asarray(x), torch.asarray(y), reduction="none")
    close(items[1].item(), np.log(2), np.float64)


@shows("integer-predictions")
def test_integer_predictions_are_computed_in_floating_point(
    torch: Any, jax: Any, optax: Any
) -> None:
    x, y = np.array([1, 2]), np.array([0, 0])
    value, gradient = tinyloss.value_and_grad(tinyloss.mse)(x, y)
    assert value == 2.5
    assert value.dtype == gradient.dtype == np.float64
    assert gradient.tolist() == [1, 2]
    with pytest.raises((RuntimeError, NotImplementedError)):
        torch.nn.functional.mse_loss(torch.asarray(x), torch.asarray(y))
    with pytest.raises(TypeError):
        optax.squared_error(jax.numpy.asarray(x), jax.numpy.asarray(y))


@shows("parameters")
def test_a_negative_smoothing_is_an_error(torch: Any) -> None:
    x, y = np.array([[1.0, 2.0]]), np.array([0])
    with pytest.raises(ValueError, match="label_smoothing"):
        tinyloss.cross_entropy(x, y, label_smoothing=-0.5)
    entropy, tensors = torch.nn.functional.cross_entropy, (torch.asarray(x), torch.asarray(y))
    assert entropy(*tensors, label_smoothing=-0.5) == entropy(*tensors)


@shows("array-parameters")
def test_a_parameter_is_one_number(jax: Any, optax: Any) -> None:
    x, y, delta = jax.numpy.asarray([3.0, 3.0]), jax.numpy.zeros(2), jax.numpy.asarray([1.0, 2.0])
    with pytest.raises(TypeError, match=r"delta is a .* of shape \(2,\), .* or a 0-d array\)"):
        tinyloss.huber(x, y, delta=delta)
    assert optax.huber_loss(x, y, delta=delta).tolist() == [2.5, 4]
    for huber in (tinyloss.huber, optax.huber_loss):
        assert jax.jit(lambda delta, huber=huber: huber(x, y, delta=delta).mean())(1.0) == 2.5


@shows("two-libraries")
def test_arrays_are_of_one_library(jax: Any, optax: Any) -> None:
    x, y = np.array([1.0, 2.0]), jax.numpy.zeros(2)
    with pytest.raises(TypeError, match="y: is of jax beside x of numpy"):
        tinyloss.mse(x, y)
    assert isinstance(tinyloss.mse(y, x), jax.Array)
    assert isinstance(optax.squared_error(x, y), jax.Array)


@shows("no-curvature")
@pytest.mark.parametrize("name", ["mae", "quantile", "hinge", "mape"])
def test_linear_losses_have_no_curvature(name: str, request: pytest.FixtureRequest) -> None:
    x, y = np.array([3.0, -2.0]), np.array([1.0, 1.0])
    grad_and_hess: Any = tinyloss.grad_and_hess
    _, h = grad_and_hess(getattr(tinyloss, name))(x, y)
    assert h.tolist() == [0, 0]
    absolute = peer("sklearn._loss", request.config).AbsoluteError()
    assert absolute.gradient_hessian(y, x)[1].tolist() == [1, 1]


@shows("msle-negative")
def test_msle_has_values_above_minus_1(sklearn: Any) -> None:
    x, y = np.array([-0.5]), np.array([1.0])
    value, gradient = tinyloss.value_and_grad(tinyloss.msle)(x, y)
    close(value, (np.log(0.5) - np.log(2)) ** 2, np.float64)
    close(gradient, [2 * (np.log(0.5) - np.log(2)) / 0.5], np.float64)
    with pytest.raises(ValueError, match="-1"):
        sklearn.mean_squared_log_error(y, np.array([-1.0]))


@shows("square-weight")
def test_weights_of_a_square_are_of_its_columns(sklearn: Any) -> None:
    x, weight = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1.0, 3.0])
    zeros = np.zeros_like(x)
    assert tinyloss.mse(x, zeros, weight=weight) == (1 + 9 + 3 * (4 + 16)) / 8
    of_rows = tinyloss.mse(x, zeros, weight=weight[:, None])
    assert of_rows == (1 + 4 + 3 * (9 + 16)) / 8
    assert sklearn.mean_squared_error(zeros, x, sample_weight=weight) == of_rows


@shows("square-variance")
def test_variances_of_a_square_are_of_its_columns(torch: Any) -> None:
    x, var = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1.0, 4.0])
    zeros = np.zeros_like(x)
    of_columns = tinyloss.gaussian_nll(x, zeros, np.stack([var, var]))
    assert tinyloss.gaussian_nll(x, zeros, var) == of_columns
    of_rows = tinyloss.gaussian_nll(x, zeros, var[:, None])
    assert of_rows != of_columns
    tensors = [torch.asarray(each) for each in (x, zeros, var)]
    close(torch.nn.functional.gaussian_nll_loss(*tensors).item(), of_rows, np.float64)


def test_every_difference_has_its_test() -> None:
    shows.check(globals())
