"""Functions derived from losses are values: compared, pickled, printed as they were made."""

import copy
import inspect
import multiprocessing
import pickle
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest

import tinyloss
from tests.support.libraries import Library
from tinyloss import HuberLoss, MAELoss, MSELoss, grad, grad_and_hess, partial_mean, value_and_grad

on = pytest.mark.parametrize

X, Y = np.array([0.5, -1.0, 2.0]), np.array([0.0, 1.0, 1.0])


def doubled(gradient: Any) -> Any:
    return 2 * gradient


def make() -> list[Any]:
    both = MSELoss() + 0.5 * MAELoss()
    return [
        value_and_grad(tinyloss.mse),
        value_and_grad(tinyloss.mse, 1),
        value_and_grad(tinyloss.mse, (0, 1)),
        value_and_grad(tinyloss.mse, (0,)),
        grad(tinyloss.mse),
        grad(tinyloss.huber),
        grad_and_hess(tinyloss.mse),
        HuberLoss(delta=2.0).grad,
        HuberLoss().value_and_grad,
        HuberLoss().grad_and_hess,
        both.value_and_grad,
        grad(both, 1),
        partial_mean(tinyloss.mse),
        partial_mean(tinyloss.mse, doubled),
        partial_mean(tinyloss.mse, doubled, widen=False),
    ]


DERIVED = make()
every_derived = on("derived", DERIVED, ids=lambda f: repr(f).partition(" at 0x")[0])


def same(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, tuple):
        for a, b in zip(one, other, strict=True):
            same(a, b)
    else:
        np.testing.assert_array_equal(one, other)


@every_derived
def test_copies_are_equal_and_answer_alike(derived: Any) -> None:
    copies = [copy.copy(derived), copy.deepcopy(derived)]
    copies += [
        pickle.loads(pickle.dumps(derived, protocol))
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)
    ]
    for each in copies:
        assert each == derived
        assert hash(each) == hash(derived)
        assert repr(each) == repr(derived)
        same(each(X, Y), derived(X, Y))


def test_they_are_equal_if_made_alike() -> None:
    for n, one in enumerate(make()):
        assert one == DERIVED[n]
        assert one not in (DERIVED[:n] + DERIVED[n + 1 :])
    assert len({*DERIVED, *make()}) == len(DERIVED)
    other: Any = tinyloss.mse
    assert grad(tinyloss.mse) != other


def test_arrays_to_write_into_are_compared_by_identity() -> None:
    out, other = np.zeros(3), np.zeros(3)
    assert grad(tinyloss.mse, out=out) == grad(tinyloss.mse, out=out)
    assert grad(tinyloss.mse, out=out) != grad(tinyloss.mse, out=other)
    assert grad(tinyloss.mse, out=out) != grad(tinyloss.mse)
    assert "<array of shape (3,)>" in repr(grad(tinyloss.mse, out=out))


@every_derived
def test_repr_is_source_text(derived: Any) -> None:
    text = repr(derived)
    if "doubled" not in text:  # a function has no source text
        assert eval(text, {"tinyloss": tinyloss, **vars(tinyloss)}) == derived


@on(
    "derived,text",
    [
        (value_and_grad(tinyloss.mse), "tinyloss.value_and_grad(tinyloss.mse)"),
        (grad(tinyloss.mse, (0, 1)), "tinyloss.grad(tinyloss.mse, argnums=(0, 1))"),
        (HuberLoss(delta=2.0).grad, "tinyloss.grad(HuberLoss(delta=2.0))"),
        (partial_mean(tinyloss.nll), "tinyloss.partial_mean(tinyloss.nll)"),
    ],
)
def test_repr(derived: Any, text: str) -> None:
    assert repr(derived) == text


@every_derived
def test_they_pass_for_functions(derived: Any) -> None:
    assert derived.__name__ in ("value_and_grad", "grad", "grad_and_hess", "partial_mean")
    assert "x" in inspect.signature(derived).parameters
    assert derived.__doc__.startswith("Return ")
    with pytest.raises(FrozenInstanceError):
        derived.loss = tinyloss.mae
    with pytest.raises(FrozenInstanceError):
        del derived.loss

    class Holder:
        held = derived

    assert Holder().held is derived


def test_other_processes_take_them() -> None:
    derived = value_and_grad(tinyloss.huber)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        same(pool.apply(derived, (X, Y)), derived(X, Y))


def test_jit_takes_them(jax: Any) -> None:
    x, y = jax.numpy.asarray(X), jax.numpy.asarray(Y)
    value, gradient = jax.jit(value_and_grad(tinyloss.huber))(x, y)
    expected = value_and_grad(tinyloss.huber)(X, Y)
    np.testing.assert_allclose(value, expected[0], rtol=1e-15)
    np.testing.assert_allclose(gradient, expected[1], rtol=1e-15)

    def step(derived: Any, x: Any) -> Any:
        return derived(x, y)[0]

    static = jax.jit(step, static_argnums=0)
    for _ in range(3):  # a new object each time, and one program
        static(HuberLoss().value_and_grad, x)
    assert static._cache_size() == 1


def test_a_pulled_gradient_keeps_its_dtype_on_request(xp: Library) -> None:
    x, y = xp.asarray(X, "float32"), xp.asarray(Y, "float32")

    def part(widen: bool) -> Any:
        return partial_mean(tinyloss.mse, lambda g: {"w": (g, 2 * g)}, widen=widen)

    narrow, wide = xp.call(part(False), x, y), xp.call(part(True), x, y)
    for one, other in zip(narrow.gradient["w"], wide.gradient["w"], strict=True):
        assert one.dtype == x.dtype
        np.testing.assert_array_equal(xp.numpy(one), xp.numpy(other))
    for name in ("total", "weight"):
        assert getattr(narrow, name).dtype == getattr(wide, name).dtype
    both = xp.fetch((narrow + narrow).grad())["w"][0]
    assert both.dtype == np.float32
    np.testing.assert_allclose(both, 2 * (X - Y) / 3, rtol=1e-6)


def test_widen_is_a_flag() -> None:
    wrong: Any = 1
    with pytest.raises(TypeError, match=r"^tinyloss\.partial_mean: widen is 1, expected True or F"):
        partial_mean(tinyloss.mse, widen=wrong)
