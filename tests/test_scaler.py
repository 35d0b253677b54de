"""The scale of gradients in half precision."""

import pickle
from typing import Any

import numpy as np
import pytest

import tinyloss
from tests.support.libraries import Library

SCALER = tinyloss.LossScaler(scale=2.0**12, interval=2)


def test_gradients_are_scaled_before_they_are_rounded(xp: Library) -> None:
    dtype = "float16" if "float16" in xp.halves else "float32"
    x = np.array([1e-6, 2.0], "float32")
    half, zeros = xp.asarray(x, dtype), xp.asarray(np.zeros(2), dtype)
    plain = xp.fetch(xp.call(tinyloss.grad(tinyloss.mse), half, zeros, denominator=100.0))
    assert (plain[0] == 0) == (dtype == "float16")  # 2e-8 has no number in float16
    found = xp.call(SCALER.value_and_grad(tinyloss.mse), half, zeros, denominator=100.0)
    value, scaled = xp.fetch(found)
    np.testing.assert_allclose(value, 0.04, rtol=1e-6)
    back = xp.fetch(xp.call(SCALER.unscaled, found[1]))
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, 2 * x.astype(dtype).astype("float32") / 100, rtol=2.0**-10)
    np.testing.assert_array_equal(scaled, back * 2.0**12)


@pytest.mark.parametrize(("last", "finite"), [(1.0, True), (np.inf, False), (np.nan, False)])
def test_all_numbers_are_looked_at(last: float, finite: bool, xp: Library) -> None:
    arrays = {"a": xp.asarray([1.0, 2.0]), "b": (xp.asarray([[3.0]]), xp.asarray([last]))}
    found = SCALER.finite(arrays)
    assert xp.owns(found)
    assert found.shape == ()
    assert bool(xp.numpy(found)) is finite


def test_grows_after_finite_steps_and_shrinks_after_others() -> None:
    scaler, seen = SCALER, list[Any]()
    for finite in (True, True, True, False, True, True):
        scaler = scaler.updated(finite)
        seen.append((scaler.scale, scaler.steps))
    up, down = 2.0**13, 2.0**12
    assert seen == [(2.0**12, 1), (up, 0), (up, 1), (down, 0), (down, 1), (up, 0)]


def test_a_fixed_scale_stays() -> None:
    scaler = tinyloss.LossScaler(scale=8.0, growth=1.0, backoff=1.0, interval=1)
    assert scaler.updated(True).scale == scaler.updated(False).scale == 8.0


def test_a_step_is_chosen(xp: Library) -> None:
    new, old = (xp.asarray([value]) for value in (1.0, 2.0))
    for finite, expected in ((True, 1.0), (False, 2.0)):
        result = xp.call(SCALER.chosen, xp.asarray(np.array(finite)), (new,), (old,))
        assert xp.fetch(result)[0] == expected


def test_is_traced_by_jax(jax: Any) -> None:
    numpy = jax.numpy

    def step(scaler: tinyloss.LossScaler, w: Any, x: Any) -> Any:
        loss = lambda w: scaler.scale * tinyloss.mse(x * w, numpy.zeros(2, w.dtype))  # noqa: E731
        gradient = jax.grad(loss)(w)
        finite = scaler.finite(gradient)
        new = scaler.chosen(finite, w - scaler.unscaled(gradient), w)
        return scaler.updated(finite), new

    jitted: Any = jax.jit(step)
    w = numpy.ones(2)
    scaler, moved = jitted(SCALER, w, numpy.ones(2))
    np.testing.assert_allclose(moved, 0)
    assert (float(scaler.scale), int(scaler.steps)) == (2.0**12, 1)
    scaler, kept = jitted(scaler, w, numpy.asarray([1.0, np.inf]))
    np.testing.assert_array_equal(kept, w)
    assert (float(scaler.scale), int(scaler.steps)) == (2.0**11, 0)


def test_state_goes_to_a_dictionary_and_back() -> None:
    scaler = SCALER.updated(True)
    assert tinyloss.LossScaler.from_dict(scaler.to_dict()) == scaler
    assert pickle.loads(pickle.dumps(scaler)) == scaler
    arrays = scaler._replace(scale=np.array(4.0))
    assert tinyloss.LossScaler.from_dict(arrays.to_dict()).scale == 4.0
    with pytest.raises(ValueError, match=r"LossScaler: the state has 'scale', expected 'scale', "):
        tinyloss.LossScaler.from_dict({"scale": 1.0})


def test_wrong_calls_are_told() -> None:
    with pytest.raises(ValueError, match="got no arrays to look at"):
        SCALER.finite(())
    with pytest.raises(TypeError, match="expected a loss"):
        SCALER.value_and_grad(3)  # type: ignore[arg-type]
