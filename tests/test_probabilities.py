"""`cross_entropy(from_logits=False)`: probabilities, as they are."""

from typing import Any

import numpy as np
import pytest

import tinyloss
from tests.support.libraries import Library

# Losses are picked by name here, so that their signatures are not known to a type checker.
value_and_grad: Any = tinyloss.value_and_grad

P = np.array([[0.5, 0.25, 0.25], [0.125, 0.75, 0.125]])
LABELS = np.array([0, 2])
CLASS_WEIGHT = np.array([1.0, 2.0, 4.0])


def test_labels_read_the_logarithm_of_their_probability(xp: Library) -> None:
    x, y = xp.asarray(P), xp.asarray(LABELS)
    function = value_and_grad(tinyloss.cross_entropy)
    value, slope = xp.fetch(xp.call(function, x, y, from_logits=False))
    np.testing.assert_allclose(value, (np.log(2) + np.log(8)) / 2, rtol=1e-6)
    np.testing.assert_allclose(slope, [[-1, 0, 0], [0, 0, -4]], rtol=1e-6)


def test_class_weights_and_smoothing_mean_what_they_mean_for_logits(xp: Library) -> None:
    x, y = xp.asarray(P), xp.asarray(LABELS)
    options = {"class_weight": CLASS_WEIGHT, "label_smoothing": 0.3}
    got = xp.call(tinyloss.cross_entropy, x, y, from_logits=False, **options)
    q = CLASS_WEIGHT * (0.7 * np.eye(3)[LABELS] + 0.1)
    np.testing.assert_allclose(xp.numpy(got), -(q * np.log(P)).sum() / 5, rtol=1e-6)
    logits = xp.call(tinyloss.cross_entropy, xp.asarray(np.log(P)), y, **options)
    np.testing.assert_allclose(xp.numpy(got), xp.numpy(logits), rtol=2e-6)


def test_probabilities_are_not_renormalised(xp: Library) -> None:
    x, y = xp.asarray(P / 2), xp.asarray(P)
    function = value_and_grad(tinyloss.cross_entropy, (0, 1))
    value, (by_x, by_y) = xp.fetch(xp.call(function, x, y, from_logits=False))
    np.testing.assert_allclose(value, -(P * np.log(P / 2)).sum() / 2, rtol=1e-6)
    np.testing.assert_allclose(by_x, np.full((2, 3), -1.0), rtol=1e-6)
    np.testing.assert_allclose(by_y, -np.log(P / 2) / 2, rtol=1e-6)


def test_an_impossible_target_is_floored_and_told_where_to_go(xp: Library) -> None:
    x, y = xp.asarray(np.array([[0.0, 1.0]])), xp.asarray(np.array([0]))
    function = value_and_grad(tinyloss.cross_entropy)
    value, slope = xp.fetch(xp.call(function, x, y, from_logits=False))
    np.testing.assert_allclose(value, 126 * np.log(2), rtol=1e-6)
    np.testing.assert_allclose(slope, [[-(2.0**126), 0]], rtol=1e-6)


@pytest.mark.parametrize("labels", [True, False])
@pytest.mark.parametrize("outside", [-0.5, 1.5, np.nan])
def test_a_row_with_a_number_outside_is_nan_and_no_other(
    xp: Library, labels: bool, outside: float
) -> None:
    rows = P.copy()
    rows[0, 2] = outside
    y = xp.asarray(LABELS if labels else np.eye(3)[LABELS])
    function = value_and_grad(tinyloss.cross_entropy)
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
    with pytest.raises(TypeError, match="from_logits is 'no', expected True or False"):
        tinyloss.CrossEntropyLoss(from_logits="no")  # type: ignore[arg-type]


def test_jax_differentiates_it_as_it_is_written(jax: Any) -> None:
    x = jax.numpy.asarray(P)
    got = jax.grad(tinyloss.cross_entropy)(x, LABELS, from_logits=False)
    np.testing.assert_allclose(got, [[-1, 0, 0], [0, 0, -4]], rtol=1e-15)
