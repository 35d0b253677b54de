"""Means over data in parts: as over all at once, however the parts are made and put together."""

import itertools
import multiprocessing
import pickle
from typing import Any

import numpy as np
import pytest

import tinyloss
from tests.support.libraries import Library, NumPyArray
from tinyloss import PartialMean, partial_mean

RNG = np.random.default_rng(5)
X = (3 * RNG.standard_normal((20, 7))).astype(np.float32)
Y = RNG.integers(0, 7, 20)
W = RNG.uniform(0.5, 2.0, 20).astype(np.float32)
CUTS = (0, 1, 2, 11, 20)  # two lengths: each is compiled
PARTS = [slice(a, b) for a, b in itertools.pairwise(CUTS)]
EPS = float(np.finfo(np.float32).eps)

# A part's float32 losses are within 4 eps, as those of the whole are; parts are added in float64.
BOUND = 8 * EPS


def whole(**options: Any) -> float:
    return float(tinyloss.cross_entropy(X.astype(np.float64), Y, **options))


def of(xp: Library, at: slice) -> tuple[Any, Any]:
    return xp.asarray(X[at]), xp.asarray(Y[at], "int32")


def test_mean_of_parts_is_the_mean_of_all(xp: Library) -> None:
    def mean() -> Any:
        parts = [partial_mean(tinyloss.cross_entropy)(*of(xp, at)) for at in PARTS]
        return sum(parts, PartialMean()).value()

    assert xp.numpy(mean()) == pytest.approx(whole(), rel=BOUND)


@pytest.mark.long
def test_parts_of_different_weight_are_not_means_of_means(xp: Library) -> None:
    """Sums of weights differ from part to part: masked items, ignored labels, class weights."""
    keep, classes = Y != 2, np.arange(1.0, 8.0, dtype=np.float32)
    options: dict[str, Any] = {"ignore_index": 4, "class_weight": classes}

    def part(at: slice) -> PartialMean:
        return partial_mean(tinyloss.cross_entropy)(
            *of(xp, at), weight=xp.asarray(W[at]), where=xp.asarray(keep[at]), **options
        )

    expected = whole(weight=W, where=keep, **options)
    assert xp.numpy(sum(map(part, PARTS), PartialMean()).value()) == pytest.approx(
        expected, rel=BOUND
    )


def test_weights_and_class_weights_of_the_library_itself(xp: Library) -> None:
    """Sums of float32 are in no units: these underflow on their way back."""
    classes = np.arange(1.0, 8.0, dtype=np.float32)
    own = {"weight": xp.asarray(W), "class_weight": xp.asarray(classes)}
    part = partial_mean(tinyloss.cross_entropy)(*of(xp, slice(None)), **own)
    expected = whole(weight=W, class_weight=classes)
    assert xp.numpy(part.value()) == pytest.approx(expected, rel=BOUND)
    assert xp.numpy(part.weight) == pytest.approx(float((W * classes[Y]).sum()), rel=BOUND)


def test_a_part_with_nothing_selected_adds_nothing(xp: Library) -> None:
    none = np.zeros(len(Y[PARTS[0]]), dtype=bool)
    empty = partial_mean(tinyloss.cross_entropy)(*of(xp, PARTS[0]), where=xp.asarray(none))
    assert xp.numpy(empty.weight) == 0
    assert xp.numpy(empty.value()) == 0
    some = partial_mean(tinyloss.cross_entropy)(*of(xp, PARTS[2]))
    assert xp.numpy((empty + some).value()) == xp.numpy(some.value())


def test_a_part_of_nothing_has_no_weight(xp: Library) -> None:
    """However often it is repeated: no time at all."""
    x, weight = xp.asarray(np.zeros((0, 3))), xp.asarray(np.array([1.0, np.nan, 2.0]))
    empty = partial_mean(tinyloss.mse)(x, x, weight=weight)
    assert xp.numpy(empty.weight) == 0
    assert xp.numpy(tinyloss.mse(x, x, weight=weight)) == 0


def test_sums_are_of_float64_where_the_library_has_it(xp: Library) -> None:
    state = partial_mean(tinyloss.cross_entropy)(*of(xp, PARTS[0]), weight=xp.asarray(W[PARTS[0]]))
    expected = "float64" if "float64" in xp.floats else "float32"
    assert str(state.total.dtype).endswith(expected)
    assert str(state.weight.dtype).endswith(expected)


def test_many_parts_lose_nothing_to_rounding() -> None:
    """Added up in float32 the sum would stop growing at 2^24."""
    one = partial_mean(tinyloss.mae)(np.ones(1, np.float32), np.zeros(1, np.float32))
    state = PartialMean(np.float64(2**26), np.float64(2**26))
    for _ in range(5):
        state += one
    assert (state.total, state.weight) == (2**26 + 5, 2**26 + 5)


def features_of(at: slice) -> NumPyArray:
    return np.cos(np.outer(np.arange(20.0)[at], np.arange(1.0, 4.0)))


def gradient_part(at: slice, parameters: NumPyArray) -> PartialMean:
    features = features_of(at)

    def pull(g: Any) -> dict[str, Any]:
        return {"matrix": features.T @ g, "bias": [g.sum(axis=0)]}

    loss = tinyloss.CrossEntropyLoss(label_smoothing=0.1)
    return partial_mean(loss, pull)(features @ parameters, Y[at], weight=W[at])


def test_gradient_by_shared_parameters_is_that_of_all_data() -> None:
    parameters = np.sin(np.arange(21.0)).reshape(3, 7)
    state: Any = sum(gradient_part(at, parameters) for at in PARTS)
    everything = gradient_part(slice(None), parameters)
    np.testing.assert_allclose(state.value(), everything.value(), rtol=1e-14)
    for name in ("matrix", "bias"):
        np.testing.assert_allclose(state.grad()[name], everything.grad()[name], rtol=1e-12)
    step = 1e-6
    moved = parameters.copy()
    moved[1, 2] += step
    slope = (gradient_part(slice(None), moved).value() - everything.value()) / step
    # a difference over a step of 1e-6 is right to 1e-6 of the curvature
    assert everything.grad()["matrix"][1, 2] == pytest.approx(slope, rel=1e-4)


def test_gradients_in_half_precision_add_up_in_float64() -> None:
    part = partial_mean(tinyloss.mse, lambda g: g.sum())(
        np.ones(3, np.float16), np.zeros(3, np.float16)
    )
    assert part.gradient.dtype == np.float64


def test_state_is_a_tuple_that_pickles_and_prints() -> None:
    state = PartialMean(3.0, 2.0)
    assert pickle.loads(pickle.dumps(state)) == state
    assert state.value() == 1.5
    assert PartialMean(0.0, 0.0).value() == 0
    assert PartialMean(**state._asdict()) == state
    assert "total=3.0, weight=2.0" in repr(state)


def test_processes_compute_parts(tmp_path: Any) -> None:
    parameters = np.sin(np.arange(21.0)).reshape(3, 7)
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        parts = pool.starmap(gradient_part, [(at, parameters) for at in PARTS])
    state: Any = sum(parts)
    everything = gradient_part(slice(None), parameters)
    np.testing.assert_allclose(state.value(), everything.value(), rtol=1e-14)
    np.testing.assert_allclose(state.grad()["matrix"], everything.grad()["matrix"], rtol=1e-12)


def test_psum_adds_up_the_members_of_a_mapped_axis(jax: Any) -> None:
    jnp = jax.numpy
    x, y, w = X[:20].reshape(4, 5, 7), Y.reshape(4, 5), W.reshape(4, 5)

    def member(x: Any, y: Any, w: Any) -> Any:
        part = partial_mean(tinyloss.cross_entropy)(x, y, weight=w)
        return jax.lax.psum(part, "batch").value()

    def mean(x: Any) -> Any:
        return jax.vmap(member, axis_name="batch")(x, jnp.asarray(y), jnp.asarray(w))[0]

    value, gradient = jax.jit(jax.value_and_grad(mean))(jnp.asarray(x))
    assert float(value) == pytest.approx(whole(weight=W), rel=BOUND)
    expected = tinyloss.grad(tinyloss.cross_entropy)(X, Y, weight=W).reshape(4, 5, 7)
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=4 * EPS * abs(expected).max())


def test_dask_computes_parts_and_their_sum_when_asked() -> None:
    da = pytest.importorskip("dask.array")
    dask = pytest.importorskip("dask")
    x, y = da.from_array(X, chunks=(6, 3)), da.from_array(Y, chunks=6)
    state = partial_mean(tinyloss.cross_entropy)(x, y) + partial_mean(tinyloss.cross_entropy)(x, y)
    (total, weight, _), value = dask.compute(state, state.value())
    assert weight == 40
    assert value == total / weight
    assert value == pytest.approx(whole(), rel=BOUND)


@pytest.mark.parametrize("options", [{"reduction": "sum"}, {"denominator": 3.0}])
def test_only_a_plain_mean_has_parts(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"tinyloss\.mse: (reduction|denominator) .* plain mean"):
        partial_mean(tinyloss.mse)(X, X, **options)
    with pytest.raises(ValueError, match="plain mean"):
        partial_mean(tinyloss.MSELoss(reduction="none"))(X, X)


def test_a_sum_of_losses_has_a_weight_for_each_term() -> None:
    with pytest.raises(TypeError, match=r"partial_mean: .* expected one loss"):
        partial_mean(tinyloss.MSELoss() + tinyloss.MAELoss())(X, X)


def test_a_new_state_is_nothing_yet() -> None:
    part = PartialMean(3.0, 2.0, np.ones(2))
    assert PartialMean() + part is part
    assert part + PartialMean() is part
    assert sum([part]) is part
    assert PartialMean().value() == 0


def test_only_states_are_added() -> None:
    state = PartialMean(3.0, 2.0)
    for other in (1, 2.5, (1.0, 2.0), None):
        with pytest.raises(TypeError):
            _ = state + other
        with pytest.raises(TypeError):
            _ = other + state
    with pytest.raises(ValueError, match="only one of two parts has a gradient"):
        _ = state + PartialMean(3.0, 2.0, np.ones(2))
    with pytest.raises(ValueError, match="only one of two parts has a gradient"):
        _ = PartialMean(3.0, 2.0, np.ones(2)) + state


def test_is_not_for_what_is_no_loss() -> None:
    anything: Any = np.mean
    with pytest.raises(TypeError, match="expected a loss"):
        partial_mean(anything)
