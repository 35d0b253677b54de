"""Divergences of distillation, of amounts and of Gaussians, and where others lose digits."""

from typing import Any

import numpy as np
import pytest

import tinyloss
from tests.support.exact import evaluate
from tests.support.libraries import peer

# Losses are picked by name here, so that their signatures are not known to a type checker.
anyloss: Any = tinyloss

EPS32, EPS64 = 2.0**-23, 2.0**-52


def rows(seed: int) -> Any:
    return 3 * np.random.default_rng(seed).normal(size=(2, 6, 5))


def test_a_temperature_of_a_power_of_2_divides_exactly() -> None:
    x, y = rows(0)
    for t in (0.5, 4.0):
        value, gradient = anyloss.value_and_grad(tinyloss.kl_div_with_logits)(x, y, temperature=t)
        cold, slope = anyloss.value_and_grad(tinyloss.kl_div_with_logits)(x / t, y / t)
        np.testing.assert_allclose(value, t**2 * cold, rtol=8 * EPS64)
        # the gradient by x / t, times t^2 and over t
        np.testing.assert_allclose(gradient, t * slope, rtol=0, atol=4 * EPS64)


def test_the_gradient_of_distillation_is_of_one_size_at_high_temperatures() -> None:
    """Hinton, Vinyals and Dean, section 2.1: it becomes (x - y) / K of logits of mean 0."""
    x, y = rows(1)
    x, y = (each - each.mean(axis=-1, keepdims=True) for each in (x, y))
    limit = (x - y) / 5 / 6
    for t in (1e3, 1e5):
        gradient = anyloss.grad(tinyloss.kl_div_with_logits)(x, y, temperature=t)
        np.testing.assert_allclose(gradient, limit, atol=20 / t)


def test_close_logits_keep_their_digits_at_a_temperature_that_rounds_them(
    request: pytest.FixtureRequest,
) -> None:
    """Torch's formula takes a difference of rounded logarithms."""
    torch: Any = peer("torch", request.config)
    y = np.array([[100.0, 101.0, 102.5]], np.float32)
    x = y + np.array([[0.0, 2.0**-10, 0.0]], np.float32)
    exact = evaluate("kl_div_with_logits", x, y, temperature=3.0)["value"].float64()
    ours = tinyloss.kl_div_with_logits(x, y, temperature=3.0)
    np.testing.assert_allclose(ours, exact[0], rtol=8 * 2 * EPS32)
    log_q, log_p = [torch.log_softmax(torch.asarray(each) / 3, -1) for each in (x, y)]
    theirs = 9 * torch.nn.functional.kl_div(log_q, log_p, log_target=True, reduction="sum")
    assert abs(theirs.item() / exact[0] - 1) > 0.01


def test_a_temperature_is_above_0() -> None:
    x, y = rows(2)
    for wrong in (0.0, -1.0, np.inf):
        with pytest.raises(ValueError, match=r"^tinyloss\.kl_div_with_logits: temperature is "):
            tinyloss.kl_div_with_logits(x, y, temperature=wrong)


@pytest.mark.parametrize("log_target", [False, True])
def test_terms_add_up_to_the_divergence_of_their_row(log_target: bool) -> None:
    x, y = rows(6)
    y = tinyloss.log_softmax(y) if log_target else tinyloss.softmax(y)
    ask: Any = anyloss.value_and_grad
    of_row = ask(tinyloss.kl_div, (0, 1))(x, y, log_target=log_target, reduction="sum")
    each = ask(tinyloss.relative_entropy, (0, 1))(x, y, log_target=log_target, reduction="sum")
    np.testing.assert_allclose(each[0], of_row[0], rtol=64 * EPS64)
    np.testing.assert_array_equal(each[1], of_row[1])
    each = tinyloss.relative_entropy(x, y, log_target=log_target, reduction="none").sum(axis=-1)
    whole = tinyloss.kl_div(x, y, log_target=log_target, reduction="none")
    np.testing.assert_allclose(each, whole, rtol=64 * EPS64)


def test_terms_are_those_of_torch_and_scipy(request: pytest.FixtureRequest) -> None:
    torch: Any = peer("torch", request.config)
    special: Any = peer("scipy.special", request.config)
    p, q = (each / each.sum(axis=-1, keepdims=True) for each in np.exp(rows(7)))
    tensors = torch.asarray(np.log(p)), torch.asarray(q)
    ours = tinyloss.relative_entropy(np.log(p), q, reduction="none")
    np.testing.assert_allclose(ours, special.rel_entr(q, p), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(
        tinyloss.relative_entropy(np.log(p), q),
        torch.nn.functional.kl_div(*tensors, reduction="none").mean(),
        rtol=1e-12,
    )
    assert tinyloss.RelativeEntropyLoss()(np.log(p), q) == tinyloss.relative_entropy(np.log(p), q)


def test_a_class_has_a_mask_and_a_weight_of_its_own() -> None:
    x, y = np.log([[0.5, 0.25, 0.25]]), np.array([[0.5, 0.5, 0.0]])
    keep = np.array([True, True, False])
    each = tinyloss.relative_entropy(x, y, reduction="none")
    value = tinyloss.relative_entropy(x, y, where=keep, weight=[2.0, 1.0, 5.0], reduction="sum")
    np.testing.assert_allclose(value, each @ [2.0, 1.0, 0.0], rtol=4 * EPS64)


def test_generalized_divergences_of_a_distribution_add_up_to_its_divergence() -> None:
    p, q = (each / each.sum(axis=-1, keepdims=True) for each in np.exp(rows(3)))
    each = tinyloss.generalized_kl(p, q, reduction="none").sum(axis=-1)
    whole = tinyloss.kl_div(np.log(p), q, reduction="none")
    np.testing.assert_allclose(each, whole, rtol=64 * EPS64)


def test_a_generalized_divergence_is_half_of_poisson_s_deviance() -> None:
    x, y = np.exp(rows(4))
    deviance = tinyloss.tweedie_deviance(x, y, log_input=False, power=1.0, reduction="none")
    ours = tinyloss.generalized_kl(x, y, reduction="none")
    np.testing.assert_allclose(2 * ours, deviance, rtol=32 * EPS64)


def test_scipy_loses_the_divergence_of_close_amounts(request: pytest.FixtureRequest) -> None:
    special: Any = peer("scipy.special", request.config)
    y = np.linspace(0.1, 3, 50)
    x = y * (1 + 1e-8)
    exact = evaluate("generalized_kl", x, y)["value"].float64()
    np.testing.assert_allclose(tinyloss.generalized_kl(x, y, reduction="none"), exact, rtol=2e-15)
    assert np.abs(special.kl_div(y, x) / exact - 1).max() > 0.1


def test_a_gaussian_s_divergence_is_that_of_a_variational_autoencoder() -> None:
    mean, log_var = rows(5)
    value, (by_mean, by_log_var) = anyloss.value_and_grad(tinyloss.gaussian_kl, (0, 2))(
        mean, None, log_var, denominator=6
    )
    loss = tinyloss.GaussianKLLoss()
    assert loss(mean, log_var=log_var, denominator=6) == value
    # Kingma and Welling, appendix B
    textbook = -0.5 * (1 + log_var - mean**2 - np.exp(log_var))
    np.testing.assert_allclose(
        tinyloss.gaussian_kl(mean, log_var=log_var, reduction="none"), textbook, rtol=1e-13
    )
    np.testing.assert_allclose(by_mean, mean / 6, rtol=4 * EPS64)
    np.testing.assert_allclose(by_log_var, np.expm1(log_var) / 12, rtol=4 * EPS64)


def test_the_textbook_s_divergence_of_a_gaussian_near_the_standard_one_is_lost() -> None:
    log_var = np.full(3, 2.0**-14, np.float32)
    mean = np.zeros_like(log_var)
    exact = evaluate("gaussian_kl", mean, mean, log_var, mean)["value"].float64()
    ours = tinyloss.gaussian_kl(mean, log_var=log_var, reduction="none")
    np.testing.assert_allclose(ours, exact, rtol=6 * EPS32)
    textbook = -0.5 * (1 + log_var - mean**2 - np.exp(log_var))
    assert np.abs(textbook / exact - 1).max() > 0.5


def test_a_gaussian_s_divergence_between_two() -> None:
    torch: Any = pytest.importorskip("torch")
    (x, y), (a, b) = rows(6), rows(7) / 3
    normal = torch.distributions.Normal
    ours = tinyloss.gaussian_kl(x, y, a, b, reduction="none")
    sides = [
        normal(torch.asarray(mean), torch.asarray(np.exp(log_var / 2)))
        for mean, log_var in ((x, a), (y, b))
    ]
    theirs = torch.distributions.kl_divergence(*sides)
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-12, atol=1e-13)
    # A number, and one for each column
    np.testing.assert_array_equal(
        tinyloss.gaussian_kl(x, y, 0.5, b[0], reduction="none"),
        tinyloss.gaussian_kl(
            x, y, np.full_like(x, 0.5), np.broadcast_to(b[0], x.shape), reduction="none"
        ),
    )


def test_a_log_variance_is_the_logarithm_of_a_variance() -> None:
    (x, y), (log_var, _) = rows(8), rows(9) / 3
    given: dict[str, Any] = {"full": True, "reduction": "none"}
    value, (by_x, by_log) = anyloss.value_and_grad(tinyloss.gaussian_nll, (0, 2))(
        x, y, log_var, log_var=True, **given
    )
    same, (slope, by_var) = anyloss.value_and_grad(tinyloss.gaussian_nll, (0, 2))(
        x, y, np.exp(log_var), **given
    )
    np.testing.assert_allclose(value, same, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(by_x, slope, rtol=1e-13)
    np.testing.assert_allclose(by_log, by_var * np.exp(log_var), rtol=1e-12, atol=1e-13)
    # Below eps it counts as eps, with gradient 0.
    floored, gradient = anyloss.value_and_grad(tinyloss.gaussian_nll, 2)(
        np.ones(1), np.zeros(1), np.array([-20.0]), log_var=True, eps=0.25
    )
    np.testing.assert_allclose(floored, tinyloss.gaussian_nll(np.ones(1), np.zeros(1), 0.25))
    assert gradient == 0
