"""Lists of different lengths in one array: `tinyloss.by_segment`."""

import pickle
from typing import Any

import numpy as np
import pytest

import tinyloss
from tests.support.libraries import Library

anyloss: Any = tinyloss
on = pytest.mark.parametrize
EPS = float(np.finfo(np.float32).eps)
QUERIES = np.array([7, 7, 3, 7, 3, -2, 7, 3, 9, 9])
LISTS = [
    tinyloss.pairwise_logistic,
    tinyloss.lambdarank,
    tinyloss.approx_ndcg,
    tinyloss.listmle,
    tinyloss.unique_softmax,
    tinyloss.pairwise_hinge,
]


def drawn(seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=len(QUERIES)).astype(np.float32)
    return x, rng.integers(0, 4, len(QUERIES)).astype(np.float32)


def one_by_one(loss: Any, x: Any, y: Any, **options: Any) -> tuple[Any, Any]:
    """Return the loss of each list by itself, in ascending order, and the gradients together."""
    values, gradient = [], np.zeros_like(x)
    for query in np.unique(QUERIES):
        own = query == QUERIES
        given = {name: each[own] for name, each in options.items()}
        value, slope = anyloss.value_and_grad(loss)(x[own], y[own], reduction="sum", **given)
        values.append(value)
        gradient[own] = slope
    return np.array(values), gradient


@on("loss", LISTS, ids=lambda loss: loss.__name__)
# Dask says so of any array that is not in one chunk and whose elements change places.
@pytest.mark.filterwarnings("ignore:Increasing number of chunks")
@pytest.mark.heavy(6)
def test_each_list_is_as_by_itself(loss: Any, xp: Library) -> None:
    x, y = drawn()
    expected = one_by_one(loss, x, y)
    both: Any = tinyloss.value_and_grad(tinyloss.by_segment(loss, QUERIES))
    value, gradient = xp.fetch(xp.call(both, xp.asarray(x), xp.asarray(y), reduction="none"))
    # Both sides have the bound of the loss, 4 eps of the sizes of the terms, which are about 1.
    np.testing.assert_allclose(value, expected[0], rtol=16 * EPS, atol=4 * EPS)
    np.testing.assert_allclose(gradient, expected[1], rtol=16 * EPS, atol=8 * EPS)


def test_masks_weights_and_members_go_with_their_items() -> None:
    x, y = drawn(1)
    x[5] = np.nan
    mask, weight = np.arange(10) != 5, np.linspace(0.5, 2, 10).astype(np.float32)
    given = {"mask": mask, "member_weight": weight}
    expected = one_by_one(tinyloss.pairwise_logistic, x, y, **given)
    loss: Any = tinyloss.by_segment(tinyloss.pairwise_logistic, QUERIES)
    value, gradient = anyloss.value_and_grad(loss)(x, y, reduction="none", **given)
    np.testing.assert_allclose(value, expected[0], rtol=8 * EPS)
    np.testing.assert_allclose(gradient, expected[1], rtol=8 * EPS, atol=4 * EPS)
    lists = np.array([1.0, 2.0, 0.0, 3.0], np.float32)
    mean = loss(x, y, weight=lists, **given)
    np.testing.assert_allclose(mean, (lists * expected[0]).sum() / lists.sum(), rtol=8 * EPS)


def test_the_order_of_items_does_not_matter() -> None:
    x, y = drawn(2)
    order = np.random.default_rng(3).permutation(len(x))
    value, gradient = anyloss.value_and_grad(tinyloss.by_segment(tinyloss.lambdaloss, QUERIES))(
        x, y
    )
    again, permuted = anyloss.value_and_grad(
        tinyloss.by_segment(tinyloss.lambdaloss, QUERIES[order])
    )(x[order], y[order])
    np.testing.assert_allclose(again, value, rtol=8 * EPS)
    np.testing.assert_allclose(permuted, gradient[order], rtol=8 * EPS, atol=4 * EPS)


def test_all_that_is_derived_from_a_loss() -> None:
    x, y = drawn(4)
    loss: Any = tinyloss.by_segment(tinyloss.pairwise_logistic, QUERIES)
    rows = np.array([np.flatnonzero(query == QUERIES)[:2] for query in (3, 7, 9)])
    pairs = tinyloss.by_segment(tinyloss.pairwise_logistic, np.repeat([3, 7, 9], 2))
    some = rows.ravel()
    slope, bend = anyloss.grad_and_hess(pairs)(x[some], y[some])
    expected = anyloss.grad_and_hess(tinyloss.pairwise_logistic)(x[rows], y[rows])
    np.testing.assert_array_equal(slope, expected[0].ravel())
    np.testing.assert_array_equal(bend, expected[1].ravel())
    direction = np.linspace(-1, 1, 10)
    step = 1e-4 * direction
    change = anyloss.grad(loss)(x + step, y) - anyloss.grad(loss)(x - step, y)
    found = anyloss.hvp(loss)(x.astype(np.float64), y, direction)
    np.testing.assert_allclose(found, change / 2e-4, rtol=1e-6, atol=1e-8)
    out = np.empty_like(x)
    assert anyloss.grad(loss, out=out)(x, y) is out
    np.testing.assert_array_equal(out, anyloss.grad(loss)(x, y))
    assert "def " in tinyloss.source(loss, x, y)
    state = anyloss.partial_mean(loss)(x, y)
    np.testing.assert_allclose(state.value(), loss(x, y), rtol=float(np.finfo(np.float32).eps))
    of_object: Any = tinyloss.by_segment(tinyloss.PairwiseLogisticLoss(reduction="sum"), QUERIES)
    assert of_object(x, y) == loss(x, y, reduction="sum")
    assert tinyloss.over(loss, 0)(x, y) == pytest.approx(loss(x, y), rel=1e-6)


def test_classes_of_a_softmax_are_a_list_too() -> None:
    x, _ = drawn(5)
    clicked = np.array([1, 0, 0, 0, 1, 1, 0, 0, 0, 1])
    loss: Any = tinyloss.by_segment(tinyloss.cross_entropy, QUERIES)
    expected, slope = one_by_one(tinyloss.cross_entropy, x, clicked.astype(np.float32))
    value, gradient = anyloss.value_and_grad(loss)(x, clicked.astype(np.float32))
    np.testing.assert_allclose(value, expected.mean(), rtol=8 * EPS)
    np.testing.assert_allclose(gradient, slope / 4, rtol=8 * EPS, atol=EPS)


@pytest.mark.long
def test_jax_and_torch_differentiate_it() -> None:
    jax, torch = pytest.importorskip("jax"), pytest.importorskip("torch")
    x, y = drawn(6)
    loss: Any = tinyloss.by_segment(tinyloss.listmle, QUERIES)
    expected = anyloss.grad(loss)(x, y)
    found = jax.jit(jax.grad(loss))(x, y)
    np.testing.assert_allclose(found, expected, rtol=16 * EPS, atol=4 * EPS)
    tensor = torch.tensor(x, requires_grad=True)
    ids = torch.tensor(QUERIES)
    tinyloss.by_segment(tinyloss.listmle, ids)(tensor, torch.tensor(y)).backward()
    np.testing.assert_allclose(tensor.grad, expected, rtol=16 * EPS, atol=4 * EPS)


def test_what_is_traced_has_no_lists() -> None:
    jax = pytest.importorskip("jax")
    x, y = drawn()
    with pytest.raises(TypeError, match="segments has no values yet, expected an array that is"):
        jax.jit(lambda q: tinyloss.by_segment(tinyloss.listmle, q)(x, y))(QUERIES)


def test_no_items_and_lists_of_one() -> None:
    none = np.zeros(0)
    empty: Any = tinyloss.by_segment(tinyloss.pairwise_logistic, none.astype(int))
    assert empty(none, none) == 0
    assert anyloss.grad(empty)(none, none).shape == (0,)
    alone: Any = tinyloss.by_segment(tinyloss.listmle, np.arange(3))
    assert alone(np.arange(3.0), np.arange(3.0)) == 0


def test_it_is_a_value() -> None:
    loss = tinyloss.by_segment(tinyloss.pairwise_logistic, QUERIES)
    assert repr(loss) == ("tinyloss.by_segment(tinyloss.pairwise_logistic, <array of shape (10,)>)")
    x, y = drawn()
    assert pickle.loads(pickle.dumps(loss))(x, y) == loss(x, y)
    assert loss == tinyloss.by_segment(tinyloss.pairwise_logistic, QUERIES)
    assert tinyloss.traits(loss) == tinyloss.traits(tinyloss.pairwise_logistic)


def test_a_column_of_a_table() -> None:
    pandas = pytest.importorskip("pandas")
    x, y = drawn()
    loss = tinyloss.by_segment(tinyloss.pairwise_logistic, QUERIES)
    table = tinyloss.by_segment(tinyloss.pairwise_logistic, pandas.Series(QUERIES))
    assert table(x, y) == loss(x, y)


def test_bad_input_is_named() -> None:
    x, y = drawn()
    loss: Any = tinyloss.by_segment(tinyloss.pairwise_logistic, QUERIES)
    with pytest.raises(ValueError, match=r"y has shape \(9,\), expected \(10,\), one for each"):
        loss(x, y[1:])
    with pytest.raises(ValueError, match=r"x has shape \(2, 5\), expected \(10,\)"):
        loss(x.reshape(2, 5), y)
    with pytest.raises(ValueError, match="axis is given, expected none"):
        loss(x, y, axis=0)
    with pytest.raises(TypeError, match="missing a required argument: 'x'"):
        loss()
    with pytest.raises(TypeError, match="mask has dtype float32, expected booleans"):
        loss(x, y, mask=np.ones_like(x))
    with pytest.raises(TypeError, match="segments has dtype float64, expected integers"):
        tinyloss.by_segment(tinyloss.pairwise_logistic, np.ones(3))
    with pytest.raises(ValueError, match=r"segments has shape \(1, 10\), expected one axis"):
        tinyloss.by_segment(tinyloss.pairwise_logistic, QUERIES[None])
    with pytest.raises(TypeError, match="segments: got a list, expected an array"):
        anyloss.by_segment(tinyloss.pairwise_logistic, [1, 2])
    with pytest.raises(TypeError, match=r"mse.* which has no mask, expected a loss of lists"):
        tinyloss.by_segment(tinyloss.mse, QUERIES)
    with pytest.raises(TypeError, match="by_segment: got 3, expected a loss"):
        anyloss.by_segment(3, QUERIES)
