"""What we compute otherwise: a row of the documentation's each, with our answer and the others'."""

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import tinyloss
from tests.support.differences import VALUES, Shown
from tests.support.peers import Array, close, rng_of

# Losses are picked by name here, so that their signatures are not known to a type checker.
value_and_grad: Any = tinyloss.value_and_grad

shows = Shown(VALUES)


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


@shows("equal-points")
def test_points_that_are_equal_are_0_apart(torch: Any, jax: Any, optax: Any) -> None:
    a, far = np.zeros((1, 4), np.float32), np.full((1, 4), 0.5, np.float32)
    assert tinyloss.triplet_margin(a, a, far, margin=1.0) == 0
    assert tinyloss.pairwise_distance(a, a) == 0
    assert not tinyloss.grad(tinyloss.pairwise_distance)(a, a).any()
    same = jax.numpy.asarray(a)
    theirs = optax.triplet_margin_loss(same, same, jax.numpy.asarray(far), margin=1.0)
    assert float(theirs[0]) > 9e-4
    tensor = torch.asarray(a)
    apart = torch.nn.functional.pairwise_distance(tensor, tensor).item()
    np.testing.assert_allclose(apart, 2e-6, rtol=1e-6)


@shows("odd-norms")
def test_a_norm_of_odd_order_is_of_sizes(jax: Any, optax: Any) -> None:
    anchor, positive, negative = np.array([[[1.0, 1.0]], [[1.1, 1.1]], [[2.0, 1.0]]])
    value = tinyloss.triplet_margin(anchor, positive, negative, p=3)
    np.testing.assert_allclose(value, 0.002 ** (1 / 3), rtol=1e-14)
    arrays = [jax.numpy.asarray(each, "float32") for each in (anchor, positive, negative)]
    assert np.isnan(optax.triplet_margin_loss(*arrays, norm_degree=3)).all()


@shows("zero-vectors")
def test_a_vector_of_zeros_has_no_direction(torch: Any) -> None:
    zero, ones = np.zeros((1, 4), np.float32), np.ones((1, 4), np.float32)
    value, slope = tinyloss.value_and_grad(tinyloss.cosine_similarity)(zero, ones)
    assert value == 0
    assert not slope.any()
    cosine = torch.nn.functional.cosine_similarity
    tensors = torch.asarray(zero.copy()), torch.asarray(ones)
    other, theirs = _torch_gradient(lambda t: cosine(t, tensors[1]), tensors[0])
    assert other == [0]
    np.testing.assert_allclose(theirs[0], 5e7, rtol=1e-6)


@shows("parallel")
def test_vectors_that_are_nearly_parallel_are_apart(torch: Any) -> None:
    a, b = _float32([1, 1, 1]), _float32([1, 1, 1.0001])
    # 1 - (2 + t) / sqrt(3 (2 + t^2)) of the float32 number t
    close(tinyloss.cosine_embedding(a, b, np.array([1])) / 1.11140579e-9, 1, np.float32)
    tensors = torch.asarray(a), torch.asarray(b), torch.ones(1)
    assert torch.nn.functional.cosine_embedding_loss(*tensors).item() == -(2.0**-23)


def test_every_difference_has_its_test() -> None:
    shows.check(globals())
