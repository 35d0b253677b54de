"""What is kept of losses: found again by all that matters, and let go with its loss."""

import gc
import weakref
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import fields, replace
from functools import partial
from typing import Any

import numpy as np
import pytest

import tinyloss
import tinyloss_numpy
from tests.support.libraries import WideJAX
from tests.support.params import turns
from tinyloss._formula import exact
from tinyloss.backend import (
    Answer,
    Argument,
    Domain,
    Formula,
    Job,
    Kind,
    answer_of,
    evaluate,
    replaced,
)

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(3, 4)), RNG.normal(size=(3, 4))


@tinyloss.loss
def quotient(x: Any, y: Any, *, eps: Any, pair: Any = (1.0, 1.0)) -> Any:
    return (x - y + 2) / (eps * pair[0])


ALIKE: list[tuple[Any, Any]] = [
    (0.0, -0.0),
    (1, True),
    (1.0, 1),
    ((0.0, 1.0), (-0.0, 1.0)),
    ((1, (2.0,)), (1, (2,))),
    (frozenset((0.0,)), frozenset((-0.0,))),
    (np.float32(0.0), np.float32(-0.0)),
    (np.float64(0.0), np.float64(-0.0)),
]


@pytest.mark.parametrize(("a", "b"), ALIKE)
def test_a_key_tells_type_and_sign(a: Any, b: Any) -> None:
    assert a == b
    assert exact(a) != exact(b)
    assert exact(a) == exact(a)


@pytest.mark.parametrize("kind", [float, np.float16, np.float32, np.longdouble])
def test_a_key_finds_nan_again(kind: Any) -> None:
    assert exact(kind("nan")) == exact(kind("nan"))


def test_a_key_keeps_all_digits() -> None:
    third = np.longdouble(1) / 3
    assert exact(third) == exact(+third)
    if third != float(third):
        assert exact(third) != exact(np.longdouble(float(third)))


@pytest.mark.parametrize("inside", [False, True])
def test_a_parameter_of_another_sign_is_another_program(xp: Any, inside: bool) -> None:
    x, y = xp.asarray(np.ones((2, 3))), xp.asarray(np.zeros((2, 3)))
    for sign in (1.0, -1.0, 1.0):
        zero = sign * 0.0
        options: Any = {"eps": 1.0, "pair": (zero, 1.0)} if inside else {"eps": zero}
        for derive in (quotient, tinyloss.grad(quotient)):
            result = xp.numpy(xp.call(derive, x, y, reduction="sum", **options))
            assert (result == sign * np.inf).all(), (sign, result)


class _OtherSquare(Formula):
    """Another formula with the same arrays."""

    name = "other"
    factor = 3.0

    def __init__(self, x: Any, y: Any, *, factor: float = 1.0) -> None:
        self.d, self.scale = x - y, self.factor * factor

    def value(self) -> Any:
        return self.scale * self.d * self.d

    def grad_x(self) -> Any:
        return 2 * self.scale * self.d

    def grad_y(self) -> Any:
        return -2 * self.scale * self.d

    def curvature(self) -> Any:
        return 2 * self.scale + 0 * self.d


class _Square(_OtherSquare):
    factor = 1.0


def _job(xp: Any, asarray: Callable[[Any], Any]) -> Job:
    arrays = {"x": asarray(X), "y": asarray(Y)}
    return Job(_kind(arrays, xp), xp, arrays, numbers={"factor": 1.0})


def _kind(arrays: dict[str, Any], xp: Any) -> Kind:
    arguments = tuple([Argument(n, each.dtype, _Square.role(n)) for n, each in arrays.items()])
    return Kind(_Square, arguments, xp.float32, numbers=("factor",), grads=("x",))


def _changes(xp: Any, asarray: Callable[[Any], Any]) -> dict[str, dict[str, Any]]:
    """Return for each field of a kind, and what else of a job goes with it, another value."""
    weight = asarray(np.arange(12.0).reshape(3, 4))
    half = {"x": xp.asarray(X, xp.float16), "y": xp.asarray(Y, xp.float16)}
    narrow = {"arrays": half, "arguments": _kind(half, xp).arguments}
    static: dict[str, Any] = {"static": {"factor": 7}, "static_key": 7}
    return {
        "formula": {"formula": _OtherSquare},
        "arguments": narrow,
        "dtype": {"dtype": xp.float64},
        "static_key": {**static, "numbers": {}},
        "weighted": {"weighted": True, "weight": weight},
        "divided": {"divided": True, "divisor": 7},
        "reduce": {"reduce": False},
        "value": {"value": False},
        "grads": {"grads": ("y",)},
        "curvature": {"curvature": True},
        "value_dtype": {"value_dtype": xp.float64},
        "unchecked": {"unchecked": Domain("signs")},
        "wide": {**narrow, "wide": True},
    }


# Rows, raw weights and what a kind is found by in other words have tests of their own.
ELSEWHERE = {"axis_name", "classes", "static", "numbers", "raw"}


def _plain(answer: Answer) -> list[tuple[str, Any]]:
    parts = [answer.value, *answer.grads, answer.curvature]
    return [(str(p.dtype), np.asarray(p)) for p in parts if p is not None]


def _same(a: list[tuple[str, Any]], b: list[tuple[str, Any]]) -> bool:
    return len(a) == len(b) and all(
        m == n and p.shape == q.shape and np.allclose(p, q, rtol=1e-6, atol=1e-6, equal_nan=True)
        for (m, p), (n, q) in zip(a, b, strict=True)
    )


def test_every_field_of_a_kind_has_another_value_below() -> None:
    assert set(_changes(np, np.asarray)) | ELSEWHERE == {each.name for each in fields(Kind)}


@pytest.mark.long
@pytest.mark.parametrize("library", ["numpy", "jax"])
@pytest.mark.parametrize("field", sorted(_changes(np, np.asarray)))
def test_what_one_field_tells_apart_is_answered_apart(library: str, field: str) -> None:
    xp: Any = np if library == "numpy" else pytest.importorskip("jax.numpy")
    with nullcontext() if library == "numpy" else WideJAX("jax").settings():
        asarray: Any = partial(xp.asarray, dtype=xp.float32)
        changes = _changes(xp, asarray)
        before = changes["arguments"] if field == "wide" else {}
        job = replaced(_job(xp, asarray), **before)
        changed = _with(job, **changes[field])
        assert job.kind != changed.kind
        with tinyloss_numpy.compilation("always"):
            for each in (job, changed, job):
                answer = _plain(answer_of(each))
                assert _same(answer, _plain(evaluate(each)))
            assert not _same(answer, _plain(answer_of(changed)))


def _with(job: Job, **changes: Any) -> Job:
    numbers = changes.pop("numbers", None)
    job = replaced(job, **changes)
    if numbers is None:
        return job
    return replace(job, numbers=numbers, kind=replace(job.kind, numbers=tuple(numbers)))


def _used(library: str) -> list[weakref.ref[Any]]:
    """Return what tells whether a loss, its function and its formula are still there."""

    def square(x: Any, y: Any) -> Any:
        return (x - y) ** 2

    loss: Any = tinyloss.loss(square)
    asarray: Any = np.asarray
    if library == "jax":
        jax = pytest.importorskip("jax")
        asarray = jax.numpy.asarray
        jax.jit(jax.grad(loss))(asarray(X), asarray(Y))
    if library == "dask":
        dask = pytest.importorskip("dask.array")
        asarray = partial(dask.from_array, chunks=2)
    with tinyloss_numpy.compilation("never" if library == "formulas" else "always"):
        for _ in range(2):
            value, _ = tinyloss.value_and_grad(loss)(asarray(X), asarray(Y))
            assert float(value) == pytest.approx(float(np.mean((X - Y) ** 2)))
    formula = loss.describe(X, Y).formula
    return [weakref.ref(each) for each in (loss, square, formula)]


@pytest.mark.long
@pytest.mark.parametrize("library", ["formulas", "numpy", "jax", "dask"])
def test_a_loss_that_nobody_holds_is_let_go(library: str) -> None:
    left = _used(library)
    for _ in range(3):
        if any(each() is not None for each in left):
            gc.collect()
    assert [each() for each in left] == [None, None, None]


@pytest.mark.long
@pytest.mark.parametrize("mode", ["always", "never"])
@pytest.mark.parametrize(
    "name", turns(["cross_entropy", "binary_cross_entropy", "softmax_focal", "mse"], 3)
)
def test_arrays_of_a_call_are_let_go(mode: Any, name: str) -> None:
    loss: Any = getattr(tinyloss, name)
    x = np.full((2, 100), 0.25, np.float32)
    rows = name in ("cross_entropy", "softmax_focal")
    y: Any = np.array([0, 1]) if rows else np.full(x.shape, 0.5, np.float32)
    weight = np.array([[2.0]], np.float32)[0] if rows else np.full(x.shape, 2.0, np.float32)
    left = [weakref.ref(each) for each in (x, y, weight)]
    step: Any = tinyloss.value_and_grad(loss)
    with tinyloss_numpy.compilation(mode):
        for options in ({}, {"weight": weight}):
            step(x, y, **options)
    del x, y, weight, options
    gc.collect()
    assert [each() for each in left] == [None, None, None]


@pytest.mark.long
def test_a_loss_of_labels_that_nobody_holds_is_let_go() -> None:
    def picked(x: Any, y: Any) -> Any:
        xp = tinyloss.namespace(x)
        return -xp.sum(xp.where(y[..., None] == xp.arange(x.shape[-1]), x, 0.0), axis=-1)

    loss: Any = tinyloss.loss(labels=True)(picked)
    step: Any = tinyloss.value_and_grad(loss)
    with tinyloss_numpy.compilation("always"):
        step(X, np.array([0, 1, 2]))
    left = weakref.ref(loss), weakref.ref(picked)
    del loss, picked, step
    gc.collect()
    assert [each() for each in left] == [None, None]
