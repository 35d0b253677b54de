"""`tinyloss.constant_minimizer`: what is known of it in closed form, and what it refuses."""

from typing import Any

import numpy as np
import pytest

import tinyloss
from tests.support.libraries import Library

best: Any = tinyloss.constant_minimizer

RNG = np.random.default_rng(0)
Y = RNG.normal(size=101)
WEIGHT = RNG.uniform(0.1, 2, 101)
COUNTS = RNG.poisson(3, 101)
YES = RNG.uniform(size=101) < 0.2
SHARE = np.average(YES, weights=WEIGHT)
LABELS = np.repeat([0, 1, 2, 4], [70, 5, 1, 25])

EPS = 2.0**-52


@pytest.mark.parametrize(
    ("loss", "y", "expected"),
    [
        (tinyloss.mse, Y, np.average(Y, weights=WEIGHT)),
        (tinyloss.MSELoss(reduction="sum"), 1e-20 * Y, 1e-20 * np.average(Y, weights=WEIGHT)),
        (tinyloss.poisson_nll, COUNTS, np.log(np.average(COUNTS, weights=WEIGHT))),
        (tinyloss.poisson_nll, 1e3 * COUNTS, np.log(1e3 * np.average(COUNTS, weights=WEIGHT))),
        (tinyloss.msle, COUNTS, np.expm1(np.average(np.log1p(COUNTS), weights=WEIGHT))),
        (tinyloss.binary_cross_entropy_with_logits, YES, np.log(SHARE / (1 - SHARE))),
        (tinyloss.binary_cross_entropy, YES, SHARE),
        (tinyloss.soft_margin, YES, np.log(SHARE / (1 - SHARE))),
        (2 * tinyloss.MSELoss() + tinyloss.MSELoss(), Y, np.average(Y, weights=WEIGHT)),
    ],
)
def test_means_have_closed_forms(loss: Any, y: Any, expected: float) -> None:
    scale = max(np.abs(y).max(), abs(expected))
    # sums of a hundred slopes, each rounded
    assert abs(best(loss, y, WEIGHT) - expected) <= 64 * EPS * scale


@pytest.mark.parametrize("q", [0.1, 0.5, 0.9])
def test_a_quantile_is_a_target(q: float) -> None:
    got = best(tinyloss.QuantileLoss(q=q), Y)
    np.testing.assert_allclose(got, np.quantile(Y, q, method="inverted_cdf"), rtol=4 * EPS)
    # of an interval where all is best the lower end
    assert abs(best(tinyloss.mae, np.array([0.0, 1.0, 3.0, 9.0])) - 1) <= 4 * EPS


@pytest.mark.parametrize("loss", [tinyloss.huber, tinyloss.SigmoidFocalLoss(), tinyloss.log_cosh])
def test_elsewhere_the_loss_is_higher(loss: Any) -> None:
    y = YES if "focal" in repr(loss).lower() else Y
    c = best(loss, y, WEIGHT)
    least, *others = [loss(np.full(101, c + d), y, weight=WEIGHT) for d in (0, -1e-3, 1e-3)]
    assert least < min(others)


@pytest.mark.parametrize("name", ["dice", "jaccard", "tversky", "focal_tversky"])
def test_regions_stay_in_their_range(name: str) -> None:
    """Of probabilities that are alike in all images the best are the corners."""
    loss, rng = getattr(tinyloss, name), np.random.default_rng(3)
    for y in (YES * 1.0, rng.uniform(size=(4, 5)) < 0.6, rng.uniform(size=(2, 3, 5)) < 0.3):
        c = best(loss, y.astype(float))
        assert ((c >= 0) & (c <= 1)).all()
        least = loss(np.zeros(y.shape) + c, y)
        steps = rng.normal(size=(20, *c.shape)) * 10 ** rng.uniform(-3, 0, (20, *[1] * c.ndim))
        for step in steps:
            assert loss(np.zeros(y.shape) + np.clip(c + step, 0, 1), y) >= least
        np.testing.assert_array_equal(best(loss, np.zeros(y.shape)), np.zeros(c.shape))


@pytest.mark.parametrize("seed", [5, 6])
def test_where_a_loss_bends_downwards_it_settles_too(seed: int) -> None:
    """Newton's steps would creep there: the curvature for boosting is far too large."""
    rng = np.random.default_rng(seed)
    for shape, share in (((6, 2, 8), 0.3), ((50, 3, 5), 0.05)):
        y = (rng.uniform(size=shape) < share) * 1.0
        c = best(tinyloss.generalized_dice, y)
        assert ((c >= 0) & (c <= 1)).all()
        least = tinyloss.generalized_dice(np.zeros(shape) + c, y)
        for step in 1e-3 * rng.normal(size=(20, *c.shape)):
            near = np.zeros(shape) + np.clip(c + step, 0, 1)
            assert tinyloss.generalized_dice(near, y) >= least - 4 * EPS
    logits = best(tinyloss.DiceLoss(from_logits="sigmoid"), y)
    slope = tinyloss.grad(tinyloss.dice)(np.zeros(shape) + logits, y, from_logits="sigmoid")
    np.testing.assert_allclose(slope.sum((0, 1)), 0, atol=1e-13)


@pytest.mark.parametrize("xp", ["numpy", "torch", "jax"], indirect=True)
@pytest.mark.parametrize("loss", [tinyloss.binary_cross_entropy, tinyloss.generalized_kl])
def test_the_end_of_a_domain_may_be_best(loss: Any, xp: Library) -> None:
    y = xp.asarray([[0.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
    np.testing.assert_allclose(xp.numpy(best(loss, y)), [0, 1, 0.5], rtol=4 * 2.0**-23)


def test_each_column_has_its_own() -> None:
    y = np.stack([Y, COUNTS], axis=1)
    np.testing.assert_allclose(best(tinyloss.mse, y), y.mean(0), rtol=64 * EPS)


def test_classes_get_their_shares() -> None:
    c = best(tinyloss.cross_entropy, LABELS, WEIGHT, classes=6)
    shares = np.bincount(LABELS, WEIGHT, minlength=6) / WEIGHT.sum()
    np.testing.assert_allclose(tinyloss.softmax(c), shares, rtol=0, atol=64 * EPS)
    assert np.isfinite(c).all()
    assert (c[[3, 5]] < c.max() - 36).all()
    weighted = tinyloss.CrossEntropyLoss(class_weight=[1.0, 2.0, 1.0, 1.0, 0.5])
    shares = np.bincount(LABELS) * np.array([1.0, 2.0, 1.0, 1.0, 0.5])
    np.testing.assert_allclose(
        tinyloss.softmax(best(weighted, LABELS)), shares / shares.sum(), rtol=0, atol=64 * EPS
    )


def test_soft_targets_get_their_mean() -> None:
    y = RNG.dirichlet(np.ones(4), 50)
    for loss in (tinyloss.cross_entropy, tinyloss.CrossEntropyLoss()):
        got = tinyloss.softmax(best(loss, y))
        np.testing.assert_allclose(got, y.mean(0), rtol=0, atol=64 * EPS)


def test_what_is_ignored_does_not_count() -> None:
    loss = tinyloss.CrossEntropyLoss(ignore_index=-100)
    got = best(loss, np.where(LABELS == 4, -100, LABELS), classes=3)
    np.testing.assert_allclose(tinyloss.softmax(got), np.array([70, 5, 1]) / 76, atol=64 * EPS)


def test_focal_loss_of_classes_is_least_there() -> None:
    loss = tinyloss.SoftmaxFocalLoss()
    c = best(loss, LABELS)
    slope = loss.grad(np.tile(c, (101, 1)), LABELS).sum(axis=0)
    np.testing.assert_allclose(slope, 0, atol=1e-14)


@pytest.mark.parametrize("y", [np.zeros(5), np.ones(5)])
def test_one_class_alone_has_a_finite_start(y: Any) -> None:
    c = best(tinyloss.binary_cross_entropy_with_logits, y)
    assert 36 <= abs(c) <= 38
    assert (c > 0) == y.all()


@pytest.mark.parametrize("xp", ["numpy", "torch", "array-api-strict"], indirect=True)
def test_every_library_has_it(xp: Library) -> None:
    c = best(tinyloss.huber, xp.asarray(Y, "float32"))
    assert xp.owns(c)
    wide = best(tinyloss.huber, Y.astype(np.float32))
    np.testing.assert_allclose(xp.numpy(c), wide, rtol=64 * EPS)
    c = best(tinyloss.cross_entropy, xp.asarray(LABELS, "int32"))
    np.testing.assert_allclose(xp.numpy(c), best(tinyloss.cross_entropy, LABELS), atol=1e-12)


def test_jax_has_it(jax: Any) -> None:
    c = best(tinyloss.huber, jax.numpy.asarray(Y))
    np.testing.assert_allclose(c, best(tinyloss.huber, Y), rtol=64 * EPS)


def test_what_has_no_minimum_is_refused() -> None:
    @tinyloss.loss
    def slanted(x: Any, y: Any) -> Any:
        return y - x

    with pytest.raises(ValueError, match=r"^tinyloss\.constant_minimizer: the loss falls for ever"):
        best(slanted, Y)
    with pytest.raises(ValueError, match="does not settle within 1000 steps"):
        best(tinyloss.nll, LABELS)


def test_wrong_calls_are_refused() -> None:
    with pytest.raises(TypeError, match=r"^tinyloss\.constant_minimizer: y: got a list"):
        best(tinyloss.mse, [1.0])
    with pytest.raises(ValueError, match=r"y has shape \(0,\), expected items"):
        best(tinyloss.mse, np.zeros(0))
    with pytest.raises(TypeError, match="y has dtype float64, expected class indices"):
        best(tinyloss.cross_entropy, Y)
    with pytest.raises(TypeError, match=r"^tinyloss: .*expected a loss"):
        best(len, Y)
    with pytest.raises(ValueError, match=r"y holds 4, expected class indices below classes=3"):
        best(tinyloss.cross_entropy, LABELS, classes=3)
    with pytest.raises(ValueError, match=r"^tinyloss\.cross_entropy: y\[0\] is -1"):
        best(tinyloss.cross_entropy, LABELS - 1)
    with pytest.raises(ValueError, match="expected a"):
        best(tinyloss.binary_cross_entropy_with_logits, Y)
