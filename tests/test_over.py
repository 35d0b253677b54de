"""Losses whose items are put together along chosen axes: `tinyloss.over`."""

import pickle
from typing import Any

import numpy as np
import pytest

import tinyloss
from tests.support.libraries import Library

anyloss: Any = tinyloss
on = pytest.mark.parametrize
EPS = float(np.finfo(np.float32).eps)
AXES = [0, 1, -1, (0, 1), (1, 0)]


def drawn(seed: int = 0) -> tuple[Any, ...]:
    """Return logits of (4, 5) items of 3 classes, labels, weights and a mask: one row is empty."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(4, 5, 3)).astype(np.float32)
    where = rng.random((4, 5)) < 0.7
    where[1] = False
    weight = rng.random((4, 5)).astype(np.float32)
    return x, rng.integers(0, 3, (4, 5)).astype(np.int32), weight, where


def of_groups(loss: Any, axis: Any, x: Any, y: Any, **options: Any) -> tuple[Any, Any]:
    """Return the values of the groups, each computed by itself, and the gradient of their sum."""
    axes = axis if isinstance(axis, tuple) else (axis,)
    axes = tuple(each % 2 for each in axes)
    rest = [each for each in range(2) if each not in axes]
    values, gradient = np.empty([x.shape[each] for each in rest]), np.empty_like(x)
    for at in np.ndindex(*values.shape):
        index: list[Any] = [slice(None), slice(None)]
        for each, place in zip(rest, at, strict=True):
            index[each] = place
        own = {
            name: each[tuple(index)] if getattr(each, "shape", ()) == (4, 5) else each
            for name, each in options.items()
        }
        part = tuple(index)
        values[at], gradient[part] = anyloss.value_and_grad(loss)(x[part], y[part], **own)
    return values, gradient


@on("axis", AXES, ids=str)
@on("reduction", ["mean", "sum"])
@pytest.mark.heavy(12)
def test_each_result_is_that_of_its_own_items(axis: Any, reduction: str, xp: Library) -> None:
    x, y, weight, where = drawn()
    classes = np.array([1, 2, 3], np.float32)
    options = {"weight": weight, "where": where, "class_weight": classes}
    expected = of_groups(tinyloss.cross_entropy, axis, x, y, reduction=reduction, **options)
    both: Any = tinyloss.value_and_grad(tinyloss.over(tinyloss.cross_entropy, axis))
    arrays = {name: xp.asarray(each) for name, each in options.items()}
    found = xp.fetch(
        xp.call(both, xp.asarray(x), xp.asarray(y, "int32"), reduction=reduction, **arrays)
    )
    # Each side has the bound of the loss, 4 eps of sums of at most 20 items of one sign, and here
    # the weights are divided before, an eps more.
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=12 * EPS, atol=EPS / 4)


def test_where_nothing_is_taken_there_is_0(xp: Library) -> None:
    x, y, _, where = drawn()
    x[1] = np.nan
    both: Any = tinyloss.value_and_grad(tinyloss.over(tinyloss.cross_entropy, 1))
    value, gradient = xp.fetch(
        xp.call(both, xp.asarray(x), xp.asarray(y, "int32"), where=xp.asarray(where))
    )
    assert value[1] == 0
    assert not gradient[1].any()
    assert (value[[0, 2, 3]] > 0).all()


def test_denominators_of_each_result() -> None:
    x, y, weight, _ = drawn()
    weight = 3000 * weight
    loss: Any = tinyloss.over(tinyloss.cross_entropy, 0)
    total = loss(x, y, weight=weight, reduction="sum")
    divisors = np.arange(1.0, 6.0, dtype=np.float32)
    found = loss(x, y, weight=weight, denominator=divisors)
    np.testing.assert_allclose(found, total / divisors, rtol=4 * EPS)
    np.testing.assert_allclose(loss(x, y, weight=weight, denominator=2.0), total / 2, rtol=4 * EPS)
    with pytest.raises(ValueError, match=r"denominator has shape \(4,\), expected .* \(5,\)"):
        loss(x, y, denominator=np.ones(4))


def test_what_counts_for_a_mean_counts_for_each_result() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(4, 5, 3)), rng.integers(0, 4, (4, 5))
    found = anyloss.over(tinyloss.corn, 0)(x, y)
    expected, _ = of_groups(tinyloss.corn, 0, x, y)
    np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_a_long_column_is_added_up_in_float64() -> None:
    x = np.full((300_000, 2), 0.1, np.float32)
    found = tinyloss.over(tinyloss.mae, 0)(x, np.zeros_like(x))
    assert (abs(found - np.float32(0.1)) <= EPS * 0.1).all()


def test_elements_regions_and_losses_of_ones_own() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 3, 4, 4)), rng.integers(0, 3, (2, 4, 4))
    options: dict[str, Any] = {"axis": (2, 3), "from_logits": "softmax"}
    of_classes: Any = tinyloss.over(tinyloss.dice, 0)
    value, gradient = anyloss.value_and_grad(of_classes)(x, y, **options)
    each = anyloss.value_and_grad(tinyloss.dice)(x, y, reduction="none", **options)
    np.testing.assert_allclose(value, each[0].mean(0), rtol=1e-14)
    np.testing.assert_allclose(gradient, each[1] / 2, rtol=1e-13, atol=1e-18)

    @tinyloss.loss
    def charbonnier(x: Any, y: Any, *, eps: float = 1e-3) -> Any:
        return ((x - y) ** 2 + eps**2) ** 0.5

    a, b = rng.normal(size=(2, 6, 2))
    own: Any = tinyloss.over(charbonnier, 0)
    np.testing.assert_allclose(own(a, b, eps=0.5), np.sqrt((a - b) ** 2 + 0.25).mean(0), rtol=1e-15)
    objects = tinyloss.over(tinyloss.HuberLoss(delta=0.5), -1)
    np.testing.assert_allclose(
        objects(a, b), tinyloss.huber(a, b, delta=0.5, reduction="none").mean(-1), rtol=1e-15
    )


def test_curvature_and_products_with_the_hessian() -> None:
    a, b, v = np.random.default_rng(2).normal(size=(3, 6, 2))
    loss: Any = tinyloss.over(tinyloss.log_cosh, 0)
    _, bend = anyloss.grad_and_hess(loss)(a, b)
    np.testing.assert_array_equal(bend, anyloss.grad_and_hess(tinyloss.log_cosh)(a, b)[1])
    np.testing.assert_allclose(anyloss.hvp(loss)(a, b, v), bend * v / 6, rtol=1e-14)


@pytest.mark.long
def test_jax_and_torch_differentiate_products_and_sequences(jax: Any, torch: Any) -> None:
    rng = np.random.default_rng(9)
    h, w, y = rng.normal(size=(4, 5, 6)), rng.normal(size=(3, 6)), rng.integers(0, 3, (4, 5))
    x, labels = rng.normal(size=(4, 5, 6, 3)), rng.integers(1, 3, (4, 5, 2))
    for loss, first, others in (
        (tinyloss.over(tinyloss.linear_cross_entropy, 0), h, (w, y)),
        (tinyloss.over(tinyloss.ctc, 1), x, (labels,)),
    ):
        expected = anyloss.grad(loss)(first, *others)

        def total(first: Any, loss: Any = loss, others: Any = others) -> Any:
            return loss(first, *map(jax.numpy.asarray, others)).sum()

        found = jax.jit(jax.grad(total))(jax.numpy.asarray(first))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)
        tensor = torch.tensor(first, requires_grad=True)
        loss(tensor, *map(torch.tensor, others)).sum().backward()
        np.testing.assert_allclose(tensor.grad, expected, rtol=0, atol=1e-14)


@pytest.mark.long
def test_jax_and_torch_differentiate_it() -> None:
    jax, torch = pytest.importorskip("jax"), pytest.importorskip("torch")
    x, y, weight, _ = drawn()
    loss: Any = tinyloss.over(tinyloss.cross_entropy, 0)
    expected = anyloss.grad(loss)(x, y, weight=weight)
    found = jax.jit(jax.grad(lambda x: loss(x, y, weight=weight).sum()))(x)
    np.testing.assert_allclose(found, expected, rtol=8 * EPS, atol=EPS / 4)
    tensor = torch.tensor(x, requires_grad=True)
    loss(tensor, torch.tensor(y), weight=torch.tensor(weight)).sum().backward()
    np.testing.assert_allclose(tensor.grad, expected, rtol=8 * EPS, atol=EPS / 4)


# ------------------------------------------------------- products, sequences and sums of losses


@on("axis", AXES, ids=str)
@on("reduction", ["mean", "sum"])
@on("xp", ["numpy", "torch", "jax", "dask", "array-api-strict"], indirect=True)
@pytest.mark.heavy(6)
def test_scores_that_are_products(axis: Any, reduction: str, xp: Library) -> None:
    _, y, weight, where = drawn()
    rng = np.random.default_rng(4)
    h, w = rng.normal(size=(4, 5, 6)).astype(np.float32), rng.normal(size=(3, 6)).astype(np.float32)
    options = {"weight": weight, "where": where, "class_weight": np.array([1, 2, 3], np.float32)}
    loss: Any = tinyloss.over(tinyloss.linear_cross_entropy, axis)
    arrays = {name: xp.asarray(each) for name, each in options.items()}
    given = xp.asarray(h), xp.asarray(w), xp.asarray(y, "int32")
    both = anyloss.value_and_grad(loss, (0, 1))
    value, (by_h, by_w) = xp.fetch(xp.call(both, *given, reduction=reduction, **arrays))
    of_scores: Any = tinyloss.value_and_grad(tinyloss.over(tinyloss.cross_entropy, axis))
    expected, by_x = of_scores(h @ w.T, y, reduction=reduction, **options)
    # sums of three products, and of twenty items
    np.testing.assert_allclose(value, expected, rtol=32 * EPS, atol=EPS)
    np.testing.assert_allclose(by_h, by_x @ w, rtol=0, atol=64 * EPS)
    np.testing.assert_allclose(by_w, np.einsum("nmc,nmd->cd", by_x, h), rtol=0, atol=256 * EPS)


def test_products_chunk_by_chunk_of_elements_and_of_pairs() -> None:
    rng = np.random.default_rng(5)
    h, w, y = rng.normal(size=(4, 5, 6)), rng.normal(size=(3, 6)), rng.integers(0, 3, (4, 5))
    loss: Any = tinyloss.over(tinyloss.linear_cross_entropy, 0)
    both = anyloss.value_and_grad(loss, (0, 1))
    one, other = both(h, w, y), both(h, w, y, max_memory=64)
    np.testing.assert_allclose(one[0], other[0], rtol=1e-14)
    for a, b in zip(one[1], other[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-14)
    squares: Any = tinyloss.over(tinyloss.of_products(tinyloss.mse), 1)
    target = rng.normal(size=(4, 3))
    expected = anyloss.over(tinyloss.mse, 1)(h[:, 0] @ w.T, target)
    np.testing.assert_allclose(squares(h[:, 0], w, target), expected, rtol=1e-13)
    for options in ({}, {"symmetric": False}):  # the items are those that have a positive
        derive: Any = anyloss.value_and_grad(tinyloss.over(tinyloss.info_nce, 0), (0, 1))
        whole: Any = anyloss.value_and_grad(tinyloss.info_nce, (0, 1))
        a, b = h[:, 0], h[:, 1]
        np.testing.assert_allclose(
            derive(a, b, **options)[0], whole(a, b, **options)[0], rtol=1e-14
        )
        for found, grad in zip(derive(a, b, **options)[1], whole(a, b, **options)[1], strict=True):
            np.testing.assert_allclose(found, grad, rtol=0, atol=1e-14)


@on("xp", ["numpy", "torch", "array-api-strict"], indirect=True)
def test_sequences(xp: Library) -> None:
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(4, 5, 6, 3)).astype(np.float32), rng.integers(1, 3, (4, 5, 2))
    weight = rng.random((4, 5)).astype(np.float32)
    loss: Any = tinyloss.over(tinyloss.ctc, 0)
    items, by_items = anyloss.value_and_grad(tinyloss.ctc)(x, y, reduction="none")
    given = xp.asarray(x), xp.asarray(y, "int32")
    value, by_x = xp.fetch(anyloss.value_and_grad(loss)(*given, weight=xp.asarray(weight)))
    share = weight / weight.sum(0)
    np.testing.assert_allclose(value, (items * share).sum(0), rtol=16 * EPS)
    np.testing.assert_allclose(by_x, by_items * share[..., None, None], rtol=0, atol=32 * EPS)
    total = loss(*given, reduction="sum", per_label=True)
    expected = tinyloss.ctc(x, y, reduction="none", per_label=True).sum(0)
    np.testing.assert_allclose(xp.fetch(total), expected, rtol=16 * EPS)


def test_sums_of_losses() -> None:
    rng = np.random.default_rng(7)
    a, b, v = rng.normal(size=(3, 6, 2))
    alike: Any = 0.5 * tinyloss.MSELoss() + tinyloss.HuberLoss(delta=0.5)
    weights = rng.random((6, 1))
    loss: Any = tinyloss.over(alike, 0)
    each: list[tuple[float, Any]] = [
        (0.5, tinyloss.over(tinyloss.mse, 0)),
        (1, tinyloss.over(alike.terms[1][1], 0)),
    ]
    expected = sum(factor * term(a, b, weight=weights) for factor, term in each)
    np.testing.assert_allclose(loss(a, b, weight=weights), expected, rtol=1e-14)
    derived: list[tuple[Any, Any]] = [(tinyloss.grad, (a, b)), (tinyloss.hvp, (a, b, v))]
    for derive, arrays in derived:
        expected = sum(f * derive(term)(*arrays, weight=weights) for f, term in each)
        np.testing.assert_allclose(
            derive(loss)(*arrays, weight=weights), expected, rtol=1e-14, atol=1e-16
        )
    assert repr(loss) == "tinyloss.over(0.5 * MSELoss() + HuberLoss(delta=0.5), 0)"
    assert pickle.loads(pickle.dumps(loss)) == loss


def test_losses_of_unlike_items_add_over_axes_of_their_own() -> None:
    """Of each image the mean of its classes' Dice and the mean of its pixels' cross-entropy."""
    rng = np.random.default_rng(8)
    x, y = rng.normal(size=(2, 3, 4, 4)), rng.integers(0, 3, (2, 4, 4))
    dice = tinyloss.DiceLoss(axis=(2, 3), from_logits="softmax")
    ce = tinyloss.CrossEntropyLoss(axis=1)
    both: Any = 0.5 * tinyloss.over(dice, 1) + 0.5 * tinyloss.over(ce, (1, 2))
    value, gradient = both.value_and_grad(x, y)
    for n in range(2):
        one = (0.5 * dice + 0.5 * ce).value_and_grad(x[n : n + 1], y[n : n + 1])
        np.testing.assert_allclose(value[n], one[0], rtol=1e-14)
        np.testing.assert_allclose(gradient[n : n + 1], one[1], rtol=0, atol=1e-15)
    with pytest.raises(ValueError, match=r"WeightedSum: .* has shape \(4, 4\) beside \(3,\)"):
        tinyloss.over(dice + ce, 0)(x, y)


def test_half_precision_comes_back_as_it_went() -> None:
    x, y, _, _ = drawn()
    value, gradient = anyloss.value_and_grad(tinyloss.over(tinyloss.cross_entropy, 0))(
        x.astype(np.float16), y
    )
    assert (value.dtype, gradient.dtype) == (np.float32, np.float16)


def test_it_is_a_value() -> None:
    loss = tinyloss.over(tinyloss.HuberLoss(delta=0.5), (0, 1))
    assert repr(loss) == "tinyloss.over(HuberLoss(delta=0.5), (0, 1))"
    assert pickle.loads(pickle.dumps(loss)) == loss
    assert len({loss, tinyloss.over(tinyloss.HuberLoss(delta=0.5), (0, 1))}) == 1
    assert loss != tinyloss.over(tinyloss.HuberLoss(delta=0.5), 0)
    assert repr(tinyloss.over(tinyloss.mse, 0)) == "tinyloss.over(tinyloss.mse, 0)"
    assert tinyloss.traits(loss) == tinyloss.traits(tinyloss.HuberLoss(delta=0.5))


@on("axis", [2, -3, (0, 0), (0, -2)], ids=str)
def test_an_axis_that_the_items_lack(axis: Any) -> None:
    x, y, _, _ = drawn()
    with pytest.raises(ValueError, match=r"cross_entropy: axis is .* items, .* shape \(4, 5\)"):
        tinyloss.over(tinyloss.cross_entropy, axis)(x, y)


def test_what_there_is_nothing_of() -> None:
    x, y, _, _ = drawn()
    of_columns: Any = tinyloss.over(tinyloss.cross_entropy, 0)
    with pytest.raises(ValueError, match='reduction is "none", expected "mean" or "sum"'):
        of_columns(x, y, reduction="none")
    with pytest.raises(TypeError, match="expected one over all to take apart"):
        tinyloss.partial_mean(of_columns)(x, y)
    with pytest.raises(TypeError, match="no derivative by y beside class_weight"):
        anyloss.grad(of_columns, 1)(x, np.full(x.shape, 1 / 3), class_weight=np.ones(3))
    for bad in (tinyloss.MSELoss, 1, np.mean):
        with pytest.raises(TypeError, match=r"tinyloss\.over: got .* expected a loss"):
            anyloss.over(bad, 0)
    for axis in ("0", 1.0, (), True, None):
        with pytest.raises(TypeError, match=r"tinyloss\.over: axis is"):
            anyloss.over(tinyloss.mse, axis)
    with pytest.raises(TypeError, match=r"tinyloss\.over: got .* expected all axes in one call"):
        tinyloss.over(of_columns, 1)(x, y)
    with pytest.raises(
        TypeError, match=r"sequence_logprob: has a number for each sequence, .* sum"
    ):
        tinyloss.over(tinyloss.sequence_logprob, 0)(x, y)
    h = np.ones((2, 3))
    with pytest.raises(TypeError, match="barlow_twins: is no mean of items"):
        tinyloss.over(tinyloss.barlow_twins, 0)(h, h)
    with pytest.raises(TypeError, match="expected a loss of scores"):
        tinyloss.of_products(of_columns)
    with pytest.raises(TypeError, match="expected one over all to take apart"):
        anyloss.partial_mean(tinyloss.over(tinyloss.linear_cross_entropy, 0))(h, h, [0, 1])
