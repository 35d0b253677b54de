"""What holds of every loss for random numbers of random shapes."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.cases import Case
from tests.support.definitions import counts
from tests.support.rules import BASIC, EPS, anyloss, close


@st.composite
def batches(draw: st.DrawFn) -> tuple[Case, tuple[Any, ...], Any]:
    """Draw a loss, arrays of a random number of items, and the random generator they came from."""
    case = draw(st.sampled_from(list(BASIC.values())))
    n, c = draw(st.integers(1, 6)), draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    low, high = (0.05, 0.95) if case.x.min() > 0 else (-4.0, _below(case.x, 4.0))
    arrays: list[Any] = [rng.uniform(low, high, (n, c))]
    for each in case.arrays[1:]:
        if each.dtype.kind == "i":
            arrays.append(rng.integers(0, c, n))
        else:
            lowest = 0.05 if each.min() >= 0 else -1.0
            arrays.append(rng.uniform(lowest, _below(each, 1.0), (n, c)))
    return case, tuple(arrays), rng


def _below(array: Any, most: float) -> float:
    """Return the end of a range of numbers like those of an array, which may be logarithms."""
    return most if array.max() >= 0 else -0.05


# The same examples in every run: the soaks draw new ones.
properties = settings(max_examples=60, deadline=None, derandomize=True)


class TestProperties:
    @properties
    @given(batches(), st.sampled_from(["mean", "sum"]))
    def test_integer_weight_is_repetition(self, batch: Any, reduction: str) -> None:
        case, arrays, rng = batch
        n = len(arrays[0])
        times = rng.integers(0, 4, n)
        weight = times if case.rowwise else times[:, None]
        repeated = [np.repeat(each, times, axis=0) for each in arrays]
        value, grad = anyloss.value_and_grad(case.loss)(*arrays, weight=weight, reduction=reduction)
        expected, each = anyloss.value_and_grad(case.loss)(*repeated, reduction=reduction)
        scale = np.sum(np.abs(case.loss(*repeated, reduction="none")))
        assert abs(value - expected) <= 16 * EPS * scale
        summed = np.zeros_like(grad)
        np.add.at(summed, np.repeat(np.arange(n), times), each)
        close(grad, summed)

    @properties
    @given(batches(), st.sampled_from(["mean", "sum"]))
    def test_masking_is_deleting(self, batch: Any, reduction: str) -> None:
        case, arrays, rng = batch
        keep = rng.uniform(size=len(arrays[0])) < 0.6
        kept = [each[keep] for each in arrays]
        where = keep if case.rowwise else keep[:, None]
        value, grad = anyloss.value_and_grad(case.loss)(*arrays, where=where, reduction=reduction)
        expected, gradient = anyloss.value_and_grad(case.loss)(*kept, reduction=reduction)
        scale = np.sum(np.abs(case.loss(*kept, reduction="none")))
        assert abs(value - expected) <= 16 * EPS * scale
        close(grad[keep], gradient)
        assert not np.any(grad[~keep])

    @properties
    @given(batches())
    def test_order_of_items_does_not_matter(self, batch: Any) -> None:
        case, arrays, rng = batch
        order = rng.permutation(len(arrays[0]))
        value, grad = anyloss.value_and_grad(case.loss)(*arrays)
        again, permuted = anyloss.value_and_grad(case.loss)(*[each[order] for each in arrays])
        scale = np.mean(np.abs(case.loss(*arrays, reduction="none")))
        assert abs(value - again) <= 16 * EPS * scale
        close(permuted, grad[order])

    @properties
    @given(st.data())
    def test_permuted_axes_permute_the_gradient(self, data: st.DataObject) -> None:
        case = data.draw(st.sampled_from(list(BASIC.values())))
        shape = data.draw(st.lists(st.integers(1, 3), min_size=2, max_size=4))
        order = data.draw(st.permutations(range(len(shape))))
        rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
        labels = case.y.dtype.kind == "i"
        axis = data.draw(st.integers(0, len(shape) - 1))
        signs = [1 if each.max() >= 0 else -1 for each in case.arrays]
        arrays: list[Any] = [sign * rng.uniform(0.05, 0.95, shape) for sign in signs]
        if labels:
            arrays[1] = rng.integers(0, shape[axis], [n for i, n in enumerate(shape) if i != axis])
        permuted = [np.transpose(each, order) for each in (arrays[:1] if labels else arrays)]
        if labels:
            rest = [i for i in order if i != axis]
            permuted.append(np.transpose(arrays[1], [i - (i > axis) for i in rest]))
        options = ({"axis": axis}, {"axis": order.index(axis)}) if case.rowwise else ({}, {})
        value, grad = anyloss.value_and_grad(case.loss)(*arrays, **options[0])
        again, turned = anyloss.value_and_grad(case.loss)(*permuted, **options[1])
        scale = np.mean(np.abs(case.loss(*arrays, **options[0], reduction="none")))
        assert abs(value - again) <= 16 * EPS * scale
        close(turned, np.transpose(grad, order))

    @properties
    @given(batches())
    def test_sum_none_and_mean_belong_together(self, batch: Any) -> None:
        case, arrays, _ = batch
        items = case.loss(*arrays, reduction="none")
        assert items.shape == (arrays[0].shape[:1] if case.rowwise else arrays[0].shape)
        scale = np.sum(np.abs(items))
        total = case.loss(*arrays, reduction="sum")
        assert abs(total - np.sum(items)) <= 16 * EPS * scale
        size = items.size
        if case.y.dtype.kind == "i":
            size = np.sum(counts(case.loss.__name__, arrays[1], arrays[0].shape[1]))
        assert abs(case.loss(*arrays) - total / size) <= 16 * EPS * scale / size

    @properties
    @given(batches())
    def test_value_alone_is_the_value_beside_derivatives(self, batch: Any) -> None:
        case, arrays, _ = batch
        value, grad = anyloss.value_and_grad(case.loss)(*arrays)
        assert case.loss(*arrays) == value
        np.testing.assert_array_equal(anyloss.grad(case.loss)(*arrays), grad)
