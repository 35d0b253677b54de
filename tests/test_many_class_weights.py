"""Loss objects with weights for many classes: converted once, printed briefly, else as ever."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import tinyloss
from tests.support.libraries import Library
from tinyloss import _arrays, _objects

N = 300
WEIGHTS = np.random.default_rng(3).uniform(0.5, 2, N).astype(np.float32)
X = np.random.default_rng(4).normal(size=(4, N)).astype(np.float32)
Y = np.array([0, 7, N - 1, 7])


def brought(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows with each conversion of numbers to an array."""
    converted: list[int] = []
    bring = _arrays.bring

    def counted(xp: Any, beside: Any, value: Any) -> Any:
        converted.append(len(value))
        return bring(xp, beside, value)

    monkeypatch.setattr(_objects, "bring", counted)
    return converted


@pytest.mark.heavy(4)
def test_object_equals_its_function(xp: Library) -> None:
    loss = tinyloss.CrossEntropyLoss(class_weight=WEIGHTS)
    x, y = xp.asarray(X), xp.asarray(Y, "int32")
    for _ in range(2):
        value, grad = xp.fetch(xp.call(loss.value_and_grad, x, y))
        given = xp.asarray(WEIGHTS)
        function: Any = tinyloss.value_and_grad(tinyloss.cross_entropy)
        expected = xp.fetch(xp.call(function, x, y, class_weight=given))
        np.testing.assert_array_equal(value, expected[0])
        np.testing.assert_array_equal(grad, expected[1])


def test_numbers_are_converted_once_for_each_library(
    xp: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    converted = brought(monkeypatch)
    loss = tinyloss.CrossEntropyLoss(class_weight=WEIGHTS)
    x, y = xp.asarray(X), xp.asarray(Y, "int32")
    for _ in range(3):
        xp.call(loss, x, y)
    if xp.name == "jax:jit":
        assert converted == []  # a traced array must not be kept
    elif xp.name == "torch":
        assert len(converted) == 3  # torch's modes make tensors that only they take
    else:
        assert len(converted) == 1


def test_what_is_kept_is_bounded() -> None:
    loss: Any = tinyloss.CrossEntropyLoss(class_weight=WEIGHTS)
    numbers = loss._arrays["class_weight"]
    for dtype in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"):
        loss(np.zeros((1, N), dtype), Y[:1])
    assert 0 < len(numbers._arrays) <= _objects._KEPT


def test_kept_arrays_outlive_no_trace(jax: Any) -> None:
    loss = tinyloss.CrossEntropyLoss(class_weight=WEIGHTS)
    x, y = jax.numpy.asarray(X), jax.numpy.asarray(Y)
    expected = float(loss(X, Y))

    def inside(z: Any) -> Any:
        return z + loss(x, y)  # x is known, and yet within a trace

    for _ in range(2):
        assert float(jax.jit(inside)(0.0)) == pytest.approx(expected, rel=1e-5)
        assert float(jax.jit(loss)(x, y)) == pytest.approx(expected, rel=1e-5)
        assert float(loss(x, y)) == pytest.approx(expected, rel=1e-5)


def test_torch_in_inference_mode_leaves_nothing_behind(torch: Any) -> None:
    loss = tinyloss.CrossEntropyLoss(class_weight=WEIGHTS)
    x, y = torch.asarray(X), torch.asarray(Y)
    with torch.inference_mode():
        loss(x, y)
    x.requires_grad_()
    loss(x, y).backward()
    assert x.grad is not None


def test_equality_hash_and_pickle_are_the_numbers() -> None:
    loss = tinyloss.CrossEntropyLoss(class_weight=WEIGHTS)
    loss(X, Y)
    assert loss.class_weight == tuple(WEIGHTS.tolist())
    assert len(pickle.dumps(loss)) < 9.5 * N + 2000  # the numbers, and once
    for each in (copy.copy(loss), copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert each == loss
        assert hash(each) == hash(loss)
        assert each(X, Y) == loss(X, Y)
    assert loss == tinyloss.CrossEntropyLoss(class_weight=WEIGHTS.tolist())


def test_repr_is_short() -> None:
    text = repr(tinyloss.CrossEntropyLoss(class_weight=np.arange(1.0, 50258.0), axis=1))
    assert text == "CrossEntropyLoss(axis=1, class_weight=(1.0, 2.0, 3.0, ... 50257 in all))"
    nested = repr(tinyloss.BCEWithLogitsLoss(pos_weight=np.ones((100, 2))))
    assert nested == (
        "BCEWithLogitsLoss(pos_weight=((1.0, 1.0), (1.0, 1.0), (1.0, 1.0), ... 100 in all))"
    )
    few = tinyloss.CrossEntropyLoss(class_weight=range(1, 17))
    assert eval(repr(few), dict(vars(tinyloss))) == few
    wrong: Any = ["a"] * 1000
    with pytest.raises(TypeError, match=r"^.{,200}$"):
        tinyloss.CrossEntropyLoss(class_weight=wrong)


def test_numbers_that_do_not_make_an_array_are_refused_by_the_call() -> None:
    loss = tinyloss.BCEWithLogitsLoss(pos_weight=[[1.0], [1.0, 2.0]])
    with pytest.raises(ValueError, match=r"^tinyloss\.binary_cross_entropy_with_logits: pos_wei"):
        loss(np.zeros((2, 2)), np.zeros((2, 2)))


def test_shares_of_class_weights_beside_a_mask_alone() -> None:
    """A comparison of booleans with 0 is refused by the standard."""
    strict: Any = pytest.importorskip("array_api_strict")
    x, y = strict.asarray([[0.0, 0.0], [1.0, 2.0]]), strict.asarray([[0.5, 0.5], [1.0, 0.0]])
    given = {"class_weight": strict.asarray([1.0, 3.0]), "where": strict.asarray([True, False])}
    value = tinyloss.cross_entropy(x, y, **given)
    np.testing.assert_allclose(float(value), np.log(2))
