"""Scores of forecasts are what their definitions say: an integral, a likelihood, and proper."""

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import numpy.typing as npt
import pytest

import tinyloss
from tests.support.libraries import peer

Array = npt.NDArray[Any]

# Losses are picked by name here, so that their signatures are not known to a type checker.
anyloss: Any = tinyloss

m = mpmath.mp
EPS = 2.0**-52
DISTRIBUTIONS = ("gaussian", "logistic", "laplace")
SCORES = (anyloss.crps, anyloss.log_score)

by_distribution = pytest.mark.parametrize("distribution", DISTRIBUTIONS)


def distribution_of(name: str) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """Return the probability below a number, and the density there."""
    if name == "gaussian":
        return m.ncdf, m.npdf
    if name == "logistic":
        return lambda z: 1 / (1 + m.exp(-z)), lambda z: m.exp(-z) / (1 + m.exp(-z)) ** 2

    def below(z: Any) -> Any:
        return m.exp(z) / 2 if z < 0 else 1 - m.exp(-z) / 2

    return below, lambda z: m.exp(-abs(z)) / 2


def close(got: Any, expected: Any, eps: float) -> None:
    np.testing.assert_allclose(float(got), float(expected), rtol=eps * EPS, atol=0)


@by_distribution
@pytest.mark.parametrize(("x", "y", "scale"), [(0.0, 0.75, 1.5), (2.0, -3.0, 0.5), (1.0, 1.0, 4.0)])
def test_crps_is_the_integral_of_the_squared_error_of_probabilities(
    distribution: str, x: float, y: float, scale: float
) -> None:
    below, _ = distribution_of(distribution)
    with m.workdps(30):
        ends = sorted({x - 80 * scale, x, y, x + 80 * scale})
        integral = m.quad(lambda t: (below((t - x) / scale) - (t >= y)) ** 2, ends)
    got = anyloss.crps(*np.array([[x], [y], [scale]]), distribution=distribution)
    close(got, integral, 4)


@by_distribution
def test_log_score_is_the_logarithm_of_the_density(distribution: str) -> None:
    _, density = distribution_of(distribution)
    x, y, scale = 0.5, -2.25, 1.75
    got = anyloss.log_score(*np.array([[x], [y], [scale]]), distribution=distribution)
    with m.workdps(30):
        close(got, -m.log(density((m.mpf(y) - x) / scale) / scale), 4)


@pytest.mark.long
@by_distribution
@pytest.mark.parametrize("score", SCORES, ids=lambda score: score.__name__)
def test_the_expected_score_is_least_at_the_distribution_itself(
    score: Any, distribution: str
) -> None:
    """Quantiles stand for the targets: the mean slope vanishes there, and nowhere beside."""
    below, _ = distribution_of(distribution)
    shares = (np.arange(4000) + 0.5) / 4000
    grid = np.linspace(-40, 40, 40001)
    y = np.interp(shares, [float(below(z)) for z in grid], grid)
    slopes = anyloss.grad(score, (0, 2))

    def slope(location: float, scale: float) -> list[float]:
        given = np.full_like(y, location), y, np.full_like(y, scale)
        return [float(each.sum()) for each in slopes(*given, distribution=distribution)]

    by_location, by_scale = slope(0.0, 1.0)
    # What quantiles leave out of the tails, and a grid of 1/500.
    assert abs(by_location) < 1e-6
    assert abs(by_scale) < 5e-3
    for moved, sign in ((0.1, 1), (-0.1, -1)):
        assert slope(moved, 1.0)[0] * sign > 1e-3
        assert slope(0.0, 1.0 + moved)[1] * sign > 1e-3


def test_crps_of_a_scale_of_0_is_the_absolute_error() -> None:
    x, y, scale = np.array([2.0, -1.0, 3.0]), np.array([0.5, 4.0, 3.0]), np.zeros(3)
    for distribution, at_0, limit in (
        ("gaussian", (np.sqrt(2) - 1) / np.sqrt(np.pi), -1 / np.sqrt(np.pi)),
        ("logistic", 2 * np.log(2) - 1, -1.0),
        ("laplace", 0.25, -0.75),
    ):
        given = {"distribution": distribution, "reduction": "none"}
        value, (by_x, by_scale) = anyloss.value_and_grad(tinyloss.crps, (0, 2))(
            x, y, scale, **given
        )
        np.testing.assert_array_equal(value, tinyloss.mae(x, y, reduction="none"))
        np.testing.assert_array_equal(by_x, [1, -1, 0])
        np.testing.assert_allclose(by_scale, [limit, limit, at_0], rtol=4 * EPS)
        _, curvature = anyloss.grad_and_hess(tinyloss.crps)(x, y, scale, distribution=distribution)
        np.testing.assert_array_equal(curvature, [0, 0, np.inf])


@by_distribution
def test_an_outlier_costs_as_its_absolute_error_does(distribution: str) -> None:
    """In half precision too, where the error in scales is beyond the largest number."""
    for dtype, far, scale in (
        ("float16", 6e4, 2.0**-14),
        ("float32", 1e38, 1e-37),
        ("float64", 1e307, 1e-300),
    ):
        x, y, s = [np.array([each], dtype) for each in (far, 0.0, scale)]
        value, gradients = anyloss.value_and_grad(tinyloss.crps, (0, 1, 2))(
            x, y, s, distribution=distribution
        )
        assert value == x[0]
        assert [float(each[0]) for each in gradients[:2]] == [1, -1]
        assert np.isfinite(gradients[2].astype(float)).all()
        assert {each.dtype for each in gradients} == {np.dtype(dtype)}


def test_an_outlier_on_either_side_of_a_logistic_distribution_is_finite() -> None:
    """scoringrules takes the logarithm of a probability that is 0 from 745 scales below on."""
    for side in (-1.0, 1.0):
        given = np.array([800.0]), np.array([800.0 + side * 800]), np.array([1.0])
        value, (by_x, by_scale) = anyloss.value_and_grad(tinyloss.crps, (0, 2))(
            *given, distribution="logistic"
        )
        assert (value, by_x.item(), by_scale.item()) == (799.0, -side, -1.0)
        score = anyloss.log_score(*given, distribution="logistic")
        assert score == 800


@by_distribution
def test_a_forecast_without_a_spread_is_no_nan(distribution: str) -> None:
    """scoringrules multiplies 0 by an infinity, or divides 0 by 0."""
    for x in (1.0, 3.0):
        given = np.array([x]), np.array([3.0]), np.array([0.0])
        value, slope = anyloss.value_and_grad(tinyloss.crps)(*given, distribution=distribution)
        assert value == 3 - x
        assert slope == np.sign(x - 3)


@by_distribution
def test_crps_has_the_unit_of_its_arguments(distribution: str) -> None:
    """Times a power of 2 in, times the same out, to the last bit."""
    rng = np.random.default_rng(0)
    x, y, scale = *rng.normal(size=(2, 64)), rng.uniform(0.1, 3, 64)
    given = {"distribution": distribution, "reduction": "none"}
    one = anyloss.crps(x, y, scale, **given)
    np.testing.assert_array_equal(
        anyloss.crps(x * 2.0**40, y * 2.0**40, scale * 2.0**40, **given), one * 2.0**40
    )


def test_the_gaussian_log_score_is_the_negative_log_likelihood_of_its_variance() -> None:
    rng = np.random.default_rng(1)
    x, y, scale = *rng.normal(size=(2, 64)), rng.uniform(0.1, 3, 64)
    ours = tinyloss.log_score(x, y, scale, reduction="none")
    theirs = tinyloss.gaussian_nll(x, y, scale**2, full=True, eps=1e-300, reduction="none")
    np.testing.assert_allclose(ours, theirs, rtol=16 * EPS, atol=8 * EPS)


def test_torch_s_normal_distribution_loses_a_far_tail_that_crps_keeps(
    request: pytest.FixtureRequest,
) -> None:
    """The probability of being nearer, of a very small error, by torch's difference of two."""
    torch: Any = peer("torch", request.config)
    x, y, scale = np.array([1e-20]), np.array([0.0]), np.array([1.0])
    exact = float(m.erf(m.mpf(1e-20) / m.sqrt(2)))
    slope = anyloss.grad(tinyloss.crps)(x, y, scale)
    close(slope[0], exact, 4)
    theirs = 2 * torch.distributions.Normal(0.0, 1.0).cdf(torch.asarray(x)) - 1
    assert theirs.item() == 0


def test_a_distribution_is_one_of_three() -> None:
    x = np.ones(3)
    wrong: Any
    for wrong in ("normal", None, 1):
        with pytest.raises(ValueError, match=r"^tinyloss\.crps: distribution is .*'gaussian', "):
            tinyloss.crps(x, x, x, distribution=wrong)
    with pytest.raises(ValueError, match=r"^tinyloss\.log_score: distribution is "):
        tinyloss.LogScoreLoss(distribution=wrong)
    with pytest.raises(ValueError, match=r"^tinyloss\.crps: scale has shape \(2,\).*\(3,\)"):
        tinyloss.crps(x, x, np.ones(2))
