"""`from_logits=False` of losses of classes: probabilities, as they are."""

from typing import Any

import numpy as np
import pytest

import tinyloss
from tests.support.libraries import Library
from tests.support.params import turns

# Losses are picked by name here, so that their signatures are not known to a type checker.
value_and_grad: Any = tinyloss.value_and_grad

P = np.array([[0.5, 0.25, 0.25], [0.125, 0.75, 0.125]])
LABELS = np.array([0, 2])
CLASS_WEIGHT = np.array([1.0, 2.0, 4.0])

of_likelihood = pytest.mark.parametrize(
    ("loss", "options"),
    turns(
        [
            ("cross_entropy", {}),
            ("softmax_focal", {"gamma": 0.5}),
            ("poly_cross_entropy", {"epsilon": -0.5}),
            ("generalized_cross_entropy", {"q": 0.25}),
            ("softmax_focal", {}),
            ("generalized_cross_entropy", {"q": 1.0}),
        ],
        3,
    ),
)
"""Losses of the probability that the target is given."""


def by_p(loss: str, p: float, options: dict[str, float]) -> tuple[float, float]:
    """Return what a class of this probability costs, and its slope, by their papers."""
    if loss == "softmax_focal":
        gamma = options.get("gamma", 2.0)
        step = gamma * (1 - p) ** (gamma - 1) * np.log(p)
        return -((1 - p) ** gamma) * np.log(p), step - (1 - p) ** gamma / p
    if loss == "poly_cross_entropy":
        epsilon = options.get("epsilon", 2.0)
        return epsilon * (1 - p) - np.log(p), -epsilon - 1 / p
    if options.get("q"):
        return (1 - p ** options["q"]) / options["q"], -(p ** (options["q"] - 1))
    return -np.log(p), -1 / p


@of_likelihood
def test_labels_read_the_probability_that_they_have(
    xp: Library, loss: str, options: dict[str, float]
) -> None:
    x, y = xp.asarray(P), xp.asarray(LABELS)
    function = value_and_grad(getattr(tinyloss, loss))
    value, slope = xp.fetch(xp.call(function, x, y, from_logits=False, **options))
    (one, by_one), (other, by_other) = by_p(loss, 0.5, options), by_p(loss, 0.125, options)
    np.testing.assert_allclose(value, (one + other) / 2, rtol=1e-6)
    np.testing.assert_allclose(slope, [[by_one / 2, 0, 0], [0, 0, by_other / 2]], rtol=1e-6)
    rows = xp.asarray(np.eye(3)[LABELS])
    again, by_rows = xp.fetch(xp.call(function, x, rows, from_logits=False, **options))
    np.testing.assert_allclose(again, value, rtol=1e-6)
    np.testing.assert_allclose(by_rows, slope, rtol=1e-6)


@of_likelihood
def test_they_cost_what_their_logarithms_cost(
    xp: Library, loss: str, options: dict[str, Any]
) -> None:
    options = {**options, "class_weight": CLASS_WEIGHT}
    if loss in ("cross_entropy", "softmax_focal"):
        options["label_smoothing"] = 0.3
    function = getattr(tinyloss, loss)
    for y in (xp.asarray(LABELS), xp.asarray(P[:, ::-1])):
        got = xp.call(function, xp.asarray(P), y, from_logits=False, **options)
        logits = xp.call(function, xp.asarray(np.log(P)), y, **options)
        np.testing.assert_allclose(xp.numpy(got), xp.numpy(logits), rtol=2e-6)


def test_class_weights_and_smoothing_mean_what_they_mean_for_logits(xp: Library) -> None:
    x, y = xp.asarray(P), xp.asarray(LABELS)
    options = {"class_weight": CLASS_WEIGHT, "label_smoothing": 0.3}
    got = xp.call(tinyloss.cross_entropy, x, y, from_logits=False, **options)
    q = CLASS_WEIGHT * (0.7 * np.eye(3)[LABELS] + 0.1)
    np.testing.assert_allclose(xp.numpy(got), -(q * np.log(P)).sum() / 5, rtol=1e-6)


def test_probabilities_are_not_renormalised(xp: Library) -> None:
    x, y = xp.asarray(P / 2), xp.asarray(P)
    function = value_and_grad(tinyloss.cross_entropy, (0, 1))
    value, (by_x, by_y) = xp.fetch(xp.call(function, x, y, from_logits=False))
    np.testing.assert_allclose(value, -(P * np.log(P / 2)).sum() / 2, rtol=1e-6)
    np.testing.assert_allclose(by_x, np.full((2, 3), -1.0), rtol=1e-6)
    np.testing.assert_allclose(by_y, -np.log(P / 2) / 2, rtol=1e-6)


@of_likelihood
def test_an_impossible_target_is_floored_and_told_where_to_go(
    xp: Library, loss: str, options: dict[str, float]
) -> None:
    x, y = xp.asarray(np.array([[0.0, 1.0]])), xp.asarray(np.array([0]))
    function = value_and_grad(getattr(tinyloss, loss))
    value, slope = xp.fetch(xp.call(function, x, y, from_logits=False, **options))
    expected, by_x = by_p(loss, 2.0**-126, options)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(slope, [[by_x, 0]], rtol=1e-5)


@of_likelihood
def test_a_certain_target_costs_nothing(xp: Library, loss: str, options: dict[str, float]) -> None:
    function = value_and_grad(getattr(tinyloss, loss))
    for y in ([0], [[1.0, 0.0]]):
        x = xp.asarray(np.array([[1.0, 0.0]])), xp.asarray(np.array(y))
        value, slope = xp.fetch(xp.call(function, *x, from_logits=False, **options))
        assert value == 0
        limit = {"softmax_focal": 0.0, "poly_cross_entropy": -1 - options.get("epsilon", 2.0)}
        np.testing.assert_array_equal(slope, [[limit.get(loss, -1.0), 0]])


@pytest.mark.parametrize(
    ("gamma", "bend"), [(0.0, 1.0), (0.5, np.inf), (1.0, 2.0), (1.5, 0.0), (2.0, 0.0)]
)
def test_what_is_certain_bends_as_it_does_beside(xp: Library, gamma: float, bend: float) -> None:
    """Between 0 and 1 gamma has a slope of 0 there, and no end to its curvature."""
    ask: Any = tinyloss.grad_and_hess(tinyloss.softmax_focal)
    x, options = xp.asarray(np.array([[1.0, 0.5]])), {"gamma": gamma, "from_logits": False}
    slope, curvature = xp.fetch(xp.call(ask, x, xp.asarray(np.array([0])), **options))
    np.testing.assert_array_equal(slope, [[-1.0 if gamma == 0 else 0.0, 0.0]])
    np.testing.assert_array_equal(curvature, [[bend, 0.0]])
    # a class of which nothing is asked does not bend
    _, curvature = xp.fetch(xp.call(ask, x, xp.asarray(np.array([[0.0, 1.0]])), **options))
    assert curvature[0, 0] == 0
    assert curvature[0, 1] > 0


@pytest.mark.parametrize("loss", turns(["cross_entropy", "poly_cross_entropy"], 2))
@pytest.mark.parametrize("labels", [True, False])
@pytest.mark.parametrize("outside", [-0.5, 1.5, np.nan])
def test_a_row_with_a_number_outside_is_nan_and_no_other(
    xp: Library, loss: str, labels: bool, outside: float
) -> None:
    rows = P.copy()
    rows[0, 2] = outside
    y = xp.asarray(LABELS if labels else np.eye(3)[LABELS])
    function = value_and_grad(getattr(tinyloss, loss))
    options = {"from_logits": False, "reduction": "none"}
    value, slope = xp.fetch(xp.call(function, xp.asarray(rows), y, **options))
    assert np.isnan(value).tolist() == [True, False]
    assert np.isnan(slope).tolist() == [[True] * 3, [False] * 3]
    # left out, it leaks into nothing
    where = xp.asarray(np.array([False, True]))
    value, slope = xp.fetch(xp.call(function, xp.asarray(rows), y, where=where, **options))
    assert np.isfinite(value).all()
    assert np.isfinite(slope).all()


def test_the_class_has_the_field() -> None:
    loss = tinyloss.CrossEntropyLoss(from_logits=False, label_smoothing=0.1)
    assert repr(loss) == "CrossEntropyLoss(from_logits=False, label_smoothing=0.1)"
    expected = tinyloss.cross_entropy(P, LABELS, from_logits=False, label_smoothing=0.1)
    assert loss(P, LABELS) == expected
    focal = tinyloss.SoftmaxFocalLoss(from_logits=False, gamma=0.5)
    assert repr(focal) == "SoftmaxFocalLoss(from_logits=False, gamma=0.5)"
    assert focal(P, LABELS) == tinyloss.softmax_focal(P, LABELS, from_logits=False, gamma=0.5)
    with pytest.raises(TypeError, match="from_logits is 'no', expected True or False"):
        tinyloss.CrossEntropyLoss(from_logits="no")  # type: ignore[arg-type]


def test_jax_differentiates_it_as_it_is_written(jax: Any) -> None:
    x = jax.numpy.asarray(P)
    got = jax.grad(tinyloss.cross_entropy)(x, LABELS, from_logits=False)
    np.testing.assert_allclose(got, [[-1, 0, 0], [0, 0, -4]], rtol=1e-15)


@pytest.mark.long
def test_keras_has_the_same_values_where_it_clips_nothing() -> None:
    keras = pytest.importorskip("keras")
    x, one_hot = P.astype(np.float32), np.eye(3, dtype=np.float32)[LABELS]
    focal = keras.losses.CategoricalFocalCrossentropy(alpha=1.0, gamma=0.5, reduction="none")
    got = tinyloss.softmax_focal(x, LABELS, from_logits=False, gamma=0.5, reduction="none")
    np.testing.assert_allclose(got, focal(one_hot, x), rtol=1e-5)
    general = keras.losses.CategoricalGeneralizedCrossEntropy(q=0.7, reduction="none")
    got = tinyloss.generalized_cross_entropy(x, LABELS, from_logits=False, reduction="none")
    np.testing.assert_allclose(got, general(LABELS, x), rtol=1e-5)


def test_a_wrong_certainty_still_has_a_gradient() -> None:
    """Keras clips to [1e-7, 1 - 1e-7]: the loss of 1e-12 is 16.1, its gradient 0."""
    x, y = np.array([[1e-12, 1 - 1e-12]]), np.array([0])
    value, slope = value_and_grad(tinyloss.softmax_focal)(x, y, from_logits=False)
    np.testing.assert_allclose(value, 12 * np.log(10), rtol=1e-9)
    np.testing.assert_allclose(slope, [[-1e12, 0]], rtol=1e-9)


def test_an_exponent_of_0_is_the_cross_entropy() -> None:
    """Keras has 0 / 0 there: NaN."""
    general = value_and_grad(tinyloss.generalized_cross_entropy)
    value, slope = general(P, LABELS, from_logits=False, q=0.0)
    expected, by_x = value_and_grad(tinyloss.cross_entropy)(P, LABELS, from_logits=False)
    np.testing.assert_allclose(value, expected, rtol=1e-15)
    np.testing.assert_allclose(slope, by_x, rtol=1e-15)
