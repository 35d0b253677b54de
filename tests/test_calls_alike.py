"""Calls that differ in nothing but what their arrays hold are settled once, and stay apart."""

from typing import Any

import numpy as np
import pytest

import tinyloss
import tinyloss_numpy
from tests.support.params import turns

RNG = np.random.default_rng(0)
CLASSES = 100
A, B = RNG.normal(size=(2, 6, CLASSES)).astype(np.float32)
LABELS = RNG.integers(0, 4, 6)


@pytest.fixture(params=["always", "never"], autouse=True)
def mode(request: pytest.FixtureRequest) -> Any:
    tinyloss.clear_caches()
    with tinyloss_numpy.compilation(request.param):
        yield


def alone(call: Any) -> Any:
    """Return what a call gives where no call was before it."""
    tinyloss.clear_caches()
    return call()


def same(a: Any, b: Any) -> bool:
    return all(np.array_equal(p, q, equal_nan=True) for p, q in zip(a, b, strict=True))


@pytest.mark.long
def test_an_array_given_twice_is_no_rule_for_later_calls() -> None:
    step: Any = tinyloss.value_and_grad(tinyloss.mse)
    expected = alone(lambda: step(A, B))
    tinyloss.clear_caches()
    assert float(step(A, A)[0]) == 0
    assert same(step(A, B), expected)
    assert float(step(B, B)[0]) == 0


def test_a_number_in_an_array_is_read_at_each_call() -> None:
    huber: Any = tinyloss.huber
    values = [float(huber(A, B, delta=np.array(delta))) for delta in (0.1, 1.0, 0.1)]
    assert values == [float(huber(A, B, delta=delta)) for delta in (0.1, 1.0, 0.1)]


OPTIONS: list[dict[str, Any]] = [
    {"weight": np.arange(6.0)},
    {"where": np.arange(6) % 2 == 0},
    {"ignore_index": 1},
    {"class_weight": np.arange(float(CLASSES)) + 1},
    {"denominator": 3},
    {"reduction": "sum"},
    {"reduction": "sum", "weight": 2.5},
    {"where": True, "weight": 0.5},
    {"weight": np.arange(6.0), "where": np.arange(6) % 2 == 0, "ignore_index": 2},
    {"label_smoothing": 0.1},
]


@pytest.mark.parametrize("options", turns(OPTIONS, 6, ["-".join(each) for each in OPTIONS]))
def test_each_call_is_answered_as_it_is_alone(options: dict[str, Any]) -> None:
    loss: Any = tinyloss.cross_entropy if "label_smoothing" in options else tinyloss.nll
    step: Any = tinyloss.value_and_grad(loss)
    calls: list[Any] = [
        lambda x=x, given=given: step(x, LABELS, **given)
        for x in (A, B)
        for given in ({}, options, {**options, "axis": -1})
    ]
    expected = [alone(call) for call in calls]
    for _ in range(3):
        for call, answer in zip(calls, expected, strict=True):
            assert same(call(), answer)


def test_a_denominator_of_0_divides_what_has_an_item() -> None:
    mse: Any = tinyloss.mse
    masks = (np.zeros(6, bool), np.ones(6, bool), np.zeros(6, bool))
    with np.errstate(all="ignore"):
        found = [float(mse(A[:, 0], B[:, 0], where=mask, denominator=0)) for mask in masks]
    assert found == [0, np.inf, 0]


@pytest.mark.long
@pytest.mark.parametrize("argnum", [0, 1])
@pytest.mark.parametrize("target", ["smoothed", "soft"])
def test_what_class_weights_divide_by_is_that_of_each_call(target: str, argnum: int) -> None:
    """The mean divides by the sum of class_weight[y], or of class_weight * y: by what they hold."""
    soft = RNG.random((2, 6, CLASSES)).astype(np.float32)
    targets = soft if target == "soft" else np.stack([np.zeros(6, int), np.full(6, 2)])
    options: dict[str, Any] = {} if target == "soft" else {"label_smoothing": 0.1}
    step: Any = tinyloss.value_and_grad(tinyloss.cross_entropy, argnum if target == "soft" else 0)
    calls: list[Any] = [
        lambda y=y, of_classes=of_classes: step(A, y, class_weight=of_classes, **options)
        for y in targets
        for of_classes in RNG.random((2, CLASSES)).astype(np.float32)
    ]
    expected = [alone(call) for call in calls]
    for _ in range(2):
        for call, answer in zip(calls, expected, strict=True):
            assert same(call(), answer)


def test_a_label_out_of_range_is_found_among_calls_alike() -> None:
    wrong = LABELS.copy()
    wrong[3] = CLASSES
    options: list[dict[str, Any]] = [{}, {"weight": np.ones(6)}, {"reduction": "none"}]
    asks: list[Any] = [tinyloss.grad(tinyloss.nll), tinyloss.nll, tinyloss.grad(tinyloss.nll)]
    for ask, given in zip(asks, options, strict=True):
        before = [ask(A, LABELS, **given) for _ in range(3)]
        with pytest.raises(ValueError, match=r"y\[3\] is 100, expected a class index"):
            ask(A, wrong, **given)
        np.testing.assert_array_equal(ask(A, LABELS, **given), before[0])


@pytest.mark.long
def test_out_is_as_it_was_where_a_label_is_out_of_range() -> None:
    out = np.full_like(A, 7)
    step: Any = tinyloss.value_and_grad(tinyloss.cross_entropy, out=out)
    for _ in range(3):
        step(A, LABELS)
    out[...] = 7
    with pytest.raises(ValueError, match="expected a class index"):
        step(A, np.full(6, CLASSES))
    assert (out == 7).all()


def test_out_that_overlaps_its_inputs_is_right() -> None:
    expected = tinyloss.grad(tinyloss.mse)(A, B)
    for _ in range(3):
        x = A.copy()
        tinyloss.grad(tinyloss.mse, out=x)(x, B)
        np.testing.assert_array_equal(x, expected)
        memory = np.zeros((7, CLASSES), np.float32)
        memory[1:] = A
        tinyloss.grad(tinyloss.mse, out=memory[:6])(memory[1:], B)
        np.testing.assert_array_equal(memory[:6], expected)


def test_read_only_out_is_refused_among_calls_alike() -> None:
    for _ in range(3):
        tinyloss.grad(tinyloss.mse, out=np.empty_like(A))(A, B)
    out = np.full_like(A, 7)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="out is read-only"):
        tinyloss.grad(tinyloss.mse, out=out)(A, B)
    assert (out == 7).all()
