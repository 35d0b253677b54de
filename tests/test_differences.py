"""Each row of README's table of differences, with our answer and that of the others."""

import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import ml_dtypes
import numpy as np
import pytest

import tinyloss
from tests.support.differences import DIFFERENCES
from tests.support.libraries import peer
from tests.support.peers import Array, close, rng_of

Test = TypeVar("Test", bound=Callable[..., None])

# Losses are picked by name here, so that their signatures are not known to a type checker.
value_and_grad: Any = tinyloss.value_and_grad

_SHOWN: dict[str, str] = {}


def shows(key: str) -> Callable[[Test], Test]:
    """Mark the test of a row of the table."""

    def mark(test: Test) -> Test:
        assert key in DIFFERENCES, key
        assert key not in _SHOWN, key
        _SHOWN[key] = test.__name__
        return test

    return mark


def _float32(*numbers: Any) -> Array:
    return np.array(numbers, dtype=np.float32)


def _torch_gradient(function: Callable[[Any], Any], x: Any) -> tuple[Any, Any]:
    """Return value and gradient of a function of one tensor as lists."""
    x = x.clone().requires_grad_()
    value = function(x)
    value.sum().backward()
    return value.tolist(), x.grad.tolist()


@shows("confident")
def test_a_confident_correct_prediction_is_not_0(torch: Any, jax: Any, optax: Any) -> None:
    x, y = _float32([20, 0]), np.array([0])
    value, gradient = tinyloss.value_and_grad(tinyloss.cross_entropy)(x, y)
    assert f"{value:.8g}" == "2.0611537e-09"
    assert gradient.sum() == 0
    entropy = torch.nn.functional.cross_entropy
    other, slope = _torch_gradient(lambda t: entropy(t, torch.asarray(y)), torch.asarray(x.copy()))
    assert other == slope[0][0] == 0
    assert slope[0][1] > 0
    labels = jax.numpy.asarray(y)
    assert optax.softmax_cross_entropy_with_integer_labels(jax.numpy.asarray(x), labels) == 0


@shows("tails")
def test_tails_keep_their_digits(torch: Any, jax: Any, optax: Any) -> None:
    functional = torch.nn.functional
    x = np.array([21.0])
    assert tinyloss.softplus(x)[0] == 21 + np.log1p(np.exp(-21))
    assert functional.softplus(torch.asarray(x.copy())).item() == 21
    x = _float32(-20)
    entropy = tinyloss.binary_cross_entropy_with_logits(x, _float32(0))
    close(entropy / 2.0611537e-9, 1, np.float32)
    tensor = torch.asarray(x.copy())
    theirs = functional.binary_cross_entropy_with_logits(tensor, torch.zeros(1))
    assert theirs == 0
    close(tinyloss.sigmoid_focal(-x, _float32(1)) / 8.7565108e-27, 1, np.float32)
    p = torch.sigmoid(-tensor)
    assert ((1 - p) ** 2 * -torch.log(p)).item() == 0
    x = _float32(1e-4)
    close(tinyloss.log_cosh(x, _float32(0)) / 5e-9, 1, np.float32)
    assert optax.log_cosh(jax.numpy.asarray(x), jax.numpy.zeros(1, "float32"))[0] == 0


@shows("small-errors")
def test_the_gradient_of_a_small_error_is_not_0(jax: Any, optax: Any) -> None:
    x = _float32(1e-9)
    assert tinyloss.grad(tinyloss.huber)(x, _float32(0)) == x
    assert jax.grad(lambda d: optax.huber_loss(d, 0.0))(jax.numpy.float32(1e-9)) == 0


@shows("close-logits")
def test_the_divergence_of_close_logits_has_all_digits(torch: Any) -> None:
    y, x = _float32([1, 2, 3]), _float32([1, 2.001, 3])
    exact = tinyloss.kl_div_with_logits(x.astype(np.float64), y.astype(np.float64))
    close(tinyloss.kl_div_with_logits(x, y) / exact, 1, np.float32)
    tensors = (torch.log_softmax(torch.asarray(a.copy()), -1) for a in (x, y))
    theirs = torch.nn.functional.kl_div(*tensors, reduction="sum", log_target=True)
    assert abs(theirs.item() / exact - 1) > 0.1


@shows("soft-margin")
def test_soft_margin_does_not_overflow(torch: Any) -> None:
    x, y = _float32(-100), _float32(1)
    value, gradient = tinyloss.value_and_grad(tinyloss.soft_margin)(x, y)
    assert (value, gradient) == (100, -1)
    margin = torch.nn.functional.soft_margin_loss
    other, slope = _torch_gradient(lambda t: margin(t, torch.ones(1)), torch.asarray(x.copy()))
    assert np.isinf(other)
    assert np.isnan(slope).all()


@shows("half-precision")
@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_half_precision_gives_a_float32_loss(half: str, torch: Any) -> None:
    scalar = getattr(ml_dtypes, half, half)
    x, zero = np.array([300, 1], dtype=scalar), np.zeros(2, dtype=scalar)
    value, gradient = tinyloss.value_and_grad(tinyloss.mse)(x, zero)
    assert value.dtype == np.float32
    assert gradient.dtype == x.dtype
    assert value == (float(x[0]) ** 2 + 1) / 2
    tensor = torch.asarray([300.0, 1.0], dtype=getattr(torch, half))
    theirs = torch.nn.functional.mse_loss(tensor, torch.zeros_like(tensor))
    assert theirs.dtype == tensor.dtype
    assert theirs.item() == (np.inf if half == "float16" else 45056)


@shows("nothing-selected")
def test_a_mean_of_nothing_is_0(torch: Any) -> None:
    x, ignored = np.zeros((2, 3)), np.array([-100, -100])
    call = tinyloss.value_and_grad(tinyloss.cross_entropy)
    labels, no = np.array([0, 1]), np.zeros(2)
    for value, gradient in (
        call(x, ignored, ignore_index=-100),
        call(x, labels, where=no.astype(bool)),
        call(x, labels, weight=no),
        call(x, labels, class_weight=np.zeros(3)),
        call(x[:0], labels[:0]),
    ):
        assert value == 0
        assert not gradient.any()
    entropy = torch.nn.functional.cross_entropy
    tensor = torch.asarray(x.copy())
    for theirs in (
        entropy(tensor, torch.asarray(ignored)),
        entropy(tensor, torch.asarray(labels), weight=torch.zeros(3, dtype=torch.float64)),
        entropy(tensor[:0], torch.asarray(labels)[:0]),
        torch.nn.functional.mse_loss(tensor[:0], tensor[:0]),
    ):
        assert theirs.isnan()


@shows("weighted-mean")
@pytest.mark.parametrize(
    "name", ["huber", "binary_cross_entropy", "binary_cross_entropy_with_logits"]
)
def test_a_weighted_mean_divides_by_the_weights(name: str, torch: Any) -> None:
    x, y, weight = np.array([0.25, 0.75]), np.array([0.0, 0.0]), np.array([1.0, 3.0])
    ours = getattr(tinyloss, name)
    theirs = getattr(torch.nn.functional, "huber_loss" if name == "huber" else name)
    items = ours(x, y, reduction="none")
    close(ours(x, y, weight=weight), (items * weight).sum() / 4, np.float64)
    twice = ours(x[[0, 1, 1, 1]], y[[0, 1, 1, 1]])
    close(ours(x, y, weight=weight), twice, np.float64)
    other = theirs(*(torch.asarray(a.copy()) for a in (x, y)), weight=torch.asarray(weight.copy()))
    close(other.item(), (items * weight).sum() / 2, np.float64)
    close(ours(x, y, weight=weight, denominator=2), other.item(), np.float64)


@shows("class-weights")
def test_class_weights_count_alike_for_every_kind_of_target(torch: Any) -> None:
    x = np.array([[1.0, 2.0, 3.0], [0.0, 1.0, 0.0]])
    y, class_weight = np.array([0, 1]), np.array([1.0, 3.0, 1.0])
    hot = np.eye(3)[y]
    labels, one_hot = (
        tinyloss.cross_entropy(x, target, class_weight=class_weight) for target in (y, hot)
    )
    close(labels, one_hot, np.float64)
    entropy, weight = torch.nn.functional.cross_entropy, torch.asarray(class_weight)
    tensor = torch.asarray(x)
    close(labels, entropy(tensor, torch.asarray(y), weight=weight), np.float64)
    theirs = entropy(tensor, torch.asarray(hot), weight=weight).item()
    assert (round(float(labels), 2), round(theirs, 2)) == (1.02, 2.03)


@shows("weight-0")
def test_what_is_left_out_leaks_nothing(torch: Any) -> None:
    functional = torch.nn.functional
    x, y, weight = np.array([1.0, np.nan]), np.zeros(2), np.array([1.0, 0.0])
    value, gradient = tinyloss.value_and_grad(tinyloss.mse)(x, y, weight=weight)
    assert value == 1
    assert gradient.tolist() == [2, 0]
    tensors = (torch.asarray(a.copy()) for a in (x, y))
    assert functional.mse_loss(*tensors, weight=torch.asarray(weight.copy())).isnan()

    rows, labels = np.array([[np.nan, 0.0], [0.0, 0.0]]), np.array([-100, 1])
    value, gradient = tinyloss.value_and_grad(tinyloss.cross_entropy)(
        rows, labels, ignore_index=-100
    )
    assert gradient.tolist() == [[0, 0], [0.5, -0.5]]
    other, slope = _torch_gradient(
        lambda t: functional.cross_entropy(t, torch.asarray(labels)), torch.asarray(rows.copy())
    )
    close(value, other, np.float64)
    assert np.isnan(slope[0]).all()


@shows("ignore-index")
def test_labels_are_ignored_only_on_request(torch: Any) -> None:
    x, y = np.array([[1.0, 2.0], [0.0, 1.0]]), np.array([-100, 1])
    with pytest.raises(ValueError, match=r"y\[0\] is -100.*ignore_index=-100"):
        tinyloss.cross_entropy(x, y)
    theirs = torch.nn.functional.cross_entropy(torch.asarray(x.copy()), torch.asarray(y.copy()))
    close(tinyloss.cross_entropy(x, y, ignore_index=-100), theirs.item(), np.float64)


@shows("ignore-index-probabilities")
def test_probabilities_are_not_compared_with_an_index(torch: Any) -> None:
    x, y = np.zeros((2, 3)), np.full((2, 3), 1 / 3)
    for index in (-100, 2):
        with pytest.raises(ValueError, match="where="):
            tinyloss.cross_entropy(x, y, ignore_index=index)
    entropy, tensors = torch.nn.functional.cross_entropy, (torch.asarray(x), torch.asarray(y))
    assert entropy(*tensors, ignore_index=-100) == entropy(*tensors)
    with pytest.raises(RuntimeError):
        entropy(*tensors, ignore_index=2)


@shows("impossible-class")
def test_an_impossible_class_takes_part_in_nothing(torch: Any, jax: Any, optax: Any) -> None:
    x, y = _float32([1, -np.inf, 2]), _float32([0.5, 0, 0.5])
    value, gradient = tinyloss.value_and_grad(tinyloss.cross_entropy)(x, y)
    without = tinyloss.value_and_grad(tinyloss.cross_entropy)(x[:, ::2], y[:, ::2])
    assert value == without[0]
    assert gradient.tolist() == [[without[1][0, 0], 0, without[1][0, 1]]]
    tensors = (torch.asarray(a.copy()) for a in (x, y))
    assert torch.nn.functional.cross_entropy(*tensors).isnan()
    assert np.isnan(optax.softmax_cross_entropy(jax.numpy.asarray(x), jax.numpy.asarray(y))).all()


@shows("smoothing")
def test_smoothing_spreads_over_the_possible_classes(torch: Any) -> None:
    x, y = np.array([[1.0, -np.inf, 2.0]]), np.array([0])
    call = tinyloss.value_and_grad(tinyloss.cross_entropy)
    value, gradient = call(x, y, label_smoothing=0.1)
    without = call(x[:, ::2], y, label_smoothing=0.1)
    close(value, without[0], np.float64)
    close(gradient[:, ::2], without[1], np.float64)
    assert gradient[0, 1] == 0
    tensors = (torch.asarray(a.copy()) for a in (x, y))
    assert torch.nn.functional.cross_entropy(*tensors, label_smoothing=0.1).isinf()


@shows("kl-zeros")
@pytest.mark.parametrize("log_target", [False, True])
def test_a_target_probability_of_0_adds_nothing(log_target: bool, torch: Any) -> None:
    x, y = np.array([-np.inf, -0.5]), np.array([-np.inf, 0.0]) if log_target else np.array([0, 1.0])
    value, grads = tinyloss.value_and_grad(tinyloss.kl_div, (0, 1))(x, y, log_target=log_target)
    assert value == 0.5
    assert [g.tolist() for g in grads] == [[0, -1], [0, 1.5]]
    tensors = (torch.asarray(a.copy()) for a in (x, y))
    theirs = torch.nn.functional.kl_div(*tensors, reduction="sum", log_target=log_target)
    assert theirs.isnan()


@shows("kl-mean")
def test_the_mean_of_kl_div_is_over_rows(torch: Any) -> None:
    rng = rng_of("kl-mean")
    x, y = tinyloss.log_softmax(rng.normal(size=(4, 3))), tinyloss.softmax(rng.normal(size=(4, 3)))
    divergence = torch.nn.functional.kl_div
    tensors = torch.asarray(x), torch.asarray(y)
    ours = tinyloss.kl_div(x, y)
    close(ours, divergence(*tensors, reduction="batchmean").item(), np.float64)
    with pytest.warns(UserWarning, match="batchmean"):
        close(ours / 3, divergence(*tensors, reduction="mean").item(), np.float64)


@shows("bce-probabilities")
def test_probabilities_are_not_clipped_before_they_have_to_be(torch: Any, sklearn: Any) -> None:
    call = tinyloss.value_and_grad(tinyloss.binary_cross_entropy)
    entropy = torch.nn.functional.binary_cross_entropy
    one, zero = np.ones(1), np.zeros(1)

    def theirs(p: float, y: Array) -> tuple[Any, Any]:
        return _torch_gradient(
            lambda t: entropy(t, torch.asarray(y.copy())), torch.asarray(np.array([p]))
        )

    value, gradient = call(np.array([1e-300]), one)
    close(value, -np.log(1e-300), np.float64)
    close(gradient * 1e-300, [-1], np.float64)
    assert theirs(1e-300, one)[0] == 100
    assert round(float(sklearn.log_loss([1], [1e-300], labels=[0, 1])), 2) == 36.04

    value, gradient = call(np.array([1e-30]), zero)
    assert (value, gradient) == (1e-30, 1)
    assert theirs(1e-30, zero)[1][0] < 2e-18

    # The smallest normal number is the floor: finite at 0 too.
    tiny = np.finfo(np.float64).smallest_normal
    value, gradient = call(zero, one)
    close(value, -np.log(tiny), np.float64)
    assert gradient == -1 / tiny
    close(call(zero, one, eps=1e-7)[0], -np.log(1e-7), np.float64)


@shows("infinite-logits")
def test_infinite_logits_have_their_limits(torch: Any) -> None:
    x, y = np.array([np.inf, -np.inf, np.inf, -np.inf]), np.array([1.0, 0.0, 0.0, 1.0])
    call = tinyloss.value_and_grad(tinyloss.binary_cross_entropy_with_logits)
    value, gradient = call(x, y, reduction="none")
    assert value.tolist() == [0, 0, np.inf, np.inf]
    assert gradient.tolist() == [0, 0, 1, -1]
    tensors = (torch.asarray(a.copy()) for a in (x, y))
    theirs = torch.nn.functional.binary_cross_entropy_with_logits(*tensors, reduction="none")
    assert theirs.isnan().tolist() == [True, True, False, True]


@shows("kinks")
def test_the_derivative_at_a_kink_is_0(torch: Any, jax: Any, optax: Any) -> None:
    one = np.ones(1)
    for loss in (tinyloss.mae, tinyloss.quantile, tinyloss.hinge):
        _, slopes = value_and_grad(loss, (0, 1))(one, one)
        assert slopes == (0, 0)
    assert jax.grad(abs)(0.0) == 1
    assert jax.grad(optax.hinge_loss)(1.0, 1.0) == -0.5
    l1 = torch.nn.functional.l1_loss
    ones = torch.ones(1)
    assert _torch_gradient(lambda t: l1(t, ones), ones)[1] == [0]
    assert _torch_gradient(lambda t: (1 - t).clamp_min(0), ones)[1] == [-1]


@shows("gaussian-floor")
def test_a_floored_variance_has_no_slope(torch: Any) -> None:
    x, y, var = np.ones(1), np.zeros(1), np.array([0.01])
    value, gradient = tinyloss.value_and_grad(tinyloss.gaussian_nll, 2)(x, y, var, eps=0.1)
    assert gradient == 0
    nll, tensors = torch.nn.functional.gaussian_nll_loss, (torch.asarray(x), torch.asarray(y))
    other, slope = _torch_gradient(lambda v: nll(*tensors, v, eps=0.1), torch.asarray(var.copy()))
    close(value, other, np.float64)
    at_floor = tinyloss.grad(tinyloss.gaussian_nll, 2)(x, y, np.array([0.1]), eps=0.01)
    close(slope, at_floor, np.float64)


@shows("negative-variance")
def test_a_negative_variance_is_nan(torch: Any) -> None:
    x, var = np.zeros(2), np.array([-1.0, 1.0])
    items = tinyloss.gaussian_nll(x, x, var, reduction="none")
    assert np.isnan(items).tolist() == [True, False]
    tensor = torch.asarray(x)
    with pytest.raises(ValueError, match="negative"):
        torch.nn.functional.gaussian_nll_loss(tensor, tensor, torch.asarray(var))


@shows("outside")
def test_what_is_outside_of_the_domain_is_nan(torch: Any, sklearn: Any) -> None:
    x, y = np.array([-0.1, 1.5, 0.5]), np.ones(3)
    items, gradient = tinyloss.value_and_grad(tinyloss.binary_cross_entropy)(x, y, reduction="none")
    assert np.isnan(items).tolist() == np.isnan(gradient).tolist() == [True, True, False]
    with pytest.raises(RuntimeError):
        torch.nn.functional.binary_cross_entropy(torch.asarray(x), torch.asarray(y))
    items = tinyloss.msle(np.array([-2.0, 1.0]), np.zeros(2), reduction="none")
    assert np.isnan(items).tolist() == [True, False]
    with pytest.raises(ValueError, match="-1"):
        sklearn.mean_squared_log_error([0.0, 0.0], [-2.0, 1.0])


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
    assert list(_SHOWN) == list(DIFFERENCES)
    assert set(_SHOWN.values()) <= set(globals())
