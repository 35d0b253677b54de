"""Calls that do not fit say which function, what came, and what to write instead."""

import inspect
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinyloss
from tests.support.specs import ACTIVATIONS, CLASSES, LOSSES

on = pytest.mark.parametrize

# Calls that no type checker lets pass.
tl: Any = tinyloss

X, Y = np.array([0.5, -1.0, 2.0]), np.array([0.0, 1.0, 1.0])
L, LABELS = np.zeros((2, 3)), np.array([0, 1])

CALLS: list[tuple[Callable[[], Any], str, str]] = [
    # what is called, the name it goes by, and what to write instead
    (lambda: tl.cross_entropy(L, LABELS, label_smothing=0.1), "cross_entropy", "label_smoothing"),
    (
        lambda: tl.binary_cross_entropy(X, Y, from_logits=True),
        "binary_cross_entropy",
        "binary_cross_entropy_with_logits",
    ),
    (lambda: tl.cross_entropy(L, LABELS, dim=1), "cross_entropy", "axis="),
    (lambda: tl.mse(X, Y, sample_weight=X), "mse", "weight="),
    (lambda: tl.mse(X, Y, mask=X > 0), "mse", "where="),
    (lambda: tl.mse(X, Y, size_average=True), "mse", 'reduction="mean", "sum" or "none"'),
    (lambda: tl.mse(y_true=Y, y_pred=X), "mse", "y="),
    (lambda: tl.mse(input=X, target=Y), "mse", "x="),
    (lambda: tl.huber(X, Y, 1.0), "huber", "huber(x, y, delta=1.0)"),
    (lambda: tl.huber(X, Y, 1), "huber", "huber(x, y, delta=1)"),
    (lambda: tl.quantile(X, Y, 0.9), "quantile", "quantile(x, y, q=0.9)"),
    (lambda: tl.mse(X, Y, "sum"), "mse", "mse(x, y, reduction='sum')"),
    (lambda: tl.mse(X, Y, X), "mse", "mse(x, y, weight=...)"),
    (lambda: tl.cross_entropy(L, LABELS, 1), "cross_entropy", "cross_entropy(x, y, axis=1)"),
    (
        lambda: tl.cross_entropy(L, LABELS, 0.1),
        "cross_entropy",
        "cross_entropy(x, y, label_smoothing=0.1)",
    ),
    (lambda: tl.gaussian_nll(X, Y, X, 1e-6), "gaussian_nll", "gaussian_nll(x, y, var, eps=1e-06)"),
    (lambda: tl.softmax(L, 1), "softmax", "softmax(x, axis=1)"),
    (lambda: tl.log_softmax(L, dim=1), "log_softmax", "axis="),
    (lambda: tl.mse(X), "mse", "'y'"),
    # derived functions
    (lambda: tl.grad(tl.mse)(X, Y, dim=0), "mse", "dim"),
    (lambda: tl.grad(tl.mse)(X, Y, mask=X > 0), "mse", "where="),
    (lambda: tl.MSELoss().grad(X, Y, mask=X > 0), "MSELoss", "where="),
    (lambda: tl.value_and_grad(tl.mse, X, Y), "value_and_grad", "value_and_grad(loss)(x, y)"),
    (lambda: tl.grad(tl.mse, X, Y), "grad", "grad(loss)(x, y)"),
    (lambda: tl.grad_and_hess(tl.mse, X, Y), "grad_and_hess", "grad_and_hess(loss)(x, y)"),
    (lambda: tl.partial_mean(tl.mse, X, Y), "partial_mean", "partial_mean(loss)(x, y)"),
    (lambda: tl.partial_mean(tl.mse, X), "partial_mean", "partial_mean(loss)(x, y)"),
    # constructors
    (lambda: tl.CrossEntropyLoss(weight=[1, 2, 3]), "CrossEntropyLoss", "class_weight="),
    (lambda: tl.CrossEntropyLoss(weight=X), "CrossEntropyLoss", "(x, y, weight=...)"),
    (lambda: tl.MSELoss(weight=X), "MSELoss", "MSELoss()(x, y, weight=...)"),
    (lambda: tl.MSELoss(sample_weight=X), "MSELoss", "MSELoss()(x, y, weight=...)"),
    (lambda: tl.CrossEntropyLoss(L, LABELS), "CrossEntropyLoss", "CrossEntropyLoss()(x, y)"),
    (lambda: tl.HuberLoss(1.0), "HuberLoss", "HuberLoss(delta=1.0)"),
    (lambda: tl.MSELoss("sum"), "MSELoss", "MSELoss(reduction='sum')"),
    (lambda: tl.CrossEntropyLoss(dim=1), "CrossEntropyLoss", "axis="),
    (lambda: tl.CrossEntropyLoss(label_smothing=0.1), "CrossEntropyLoss", "label_smoothing"),
    # objects
    (
        lambda: tl.MSELoss()(X, Y, reduction="none"),
        "MSELoss",
        "MSELoss(reduction='none')(x, y)",
    ),
    (lambda: tl.HuberLoss()(X, Y, delta=2.0), "HuberLoss", "HuberLoss(delta=2.0)(x, y)"),
    (lambda: tl.HuberLoss()(X, Y, 2.0), "HuberLoss", "HuberLoss(delta=2.0)(x, y)"),
    (lambda: tl.HuberLoss()(X, Y, X), "HuberLoss", "HuberLoss(x, y, weight=...)"),
    (
        lambda: (tl.MSELoss() + tl.MAELoss())(X, Y, reduction="none"),
        "WeightedSum",
        "MSELoss(reduction='none')",
    ),
    (lambda: (tl.MSELoss() + tl.MAELoss())(X, Y, mask=X), "WeightedSum", "where="),
    (lambda: (tl.MSELoss() + tl.MAELoss())(X), "WeightedSum", "'y'"),
]


@on("call,name,instead", CALLS, ids=range(len(CALLS)))
def test_the_message_says_what_to_write(call: Any, name: str, instead: str) -> None:
    with pytest.raises(TypeError) as caught:
        call()
    message = str(caught.value)
    assert message.startswith(f"tinyloss.{name}: ")
    assert instead in message
    assert not re.search(r"\b_\w|__\w+__", message), "a private name"
    assert "\n" not in message
    # Python's own words are not told as well
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_arrays_as_argnums_name_the_next_step() -> None:
    with pytest.raises(TypeError, match=r"^tinyloss: argnums is <array of shape \(3,\)>.*\(x, y\)"):
        tl.value_and_grad(tl.mse, X)


@on("reduction", ["batchmean", "avg", "average", "elementwise_mean", "sum_over_batch_size"])
def test_reductions_of_other_libraries(reduction: str) -> None:
    calls: list[Any] = [
        lambda: tl.kl_div(L, L, reduction=reduction),
        lambda: tl.KLDivLoss(reduction=reduction),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=rf"reduction is '{reduction}', .*: \"mean\""):
            call()
    with pytest.raises(ValueError, match=r'reduction is None, .*: "none" is that'):
        tl.mse(X, Y, reduction=None)


@on("name", [*LOSSES, *[each.__name__ for each in ACTIVATIONS]])
def test_every_function_names_itself(name: str) -> None:
    function = getattr(tl, name)
    with pytest.raises(TypeError, match=rf"^tinyloss\.{name}: got an unexpected keyword"):
        function(X, Y, X, nosuch=1)
    first = next(iter(inspect.signature(function).parameters))
    missing = rf"^tinyloss\.{name}: missing a required argument: '{first}'"
    with pytest.raises(TypeError, match=missing):
        function()


@on("cls", [*CLASSES, tinyloss.BinaryCrossEntropyLoss], ids=lambda cls: cls.__name__)
def test_every_class_names_itself(cls: Any) -> None:
    name = cls.__name__
    with pytest.raises(TypeError, match=rf"^tinyloss\.{name}: got an unexpected keyword"):
        cls(nosuch=1)
    with pytest.raises(TypeError, match=rf"^tinyloss\.{name}: got an unexpected keyword"):
        cls()(X, Y, X, nosuch=1)
    first = next(iter(inspect.signature(CLASSES[cls]).parameters)) if cls in CLASSES else "x"
    missing = rf"^tinyloss\.{name}: missing a required argument: '{first}'"
    with pytest.raises(TypeError, match=missing):
        cls()()


def test_errors_from_inside_stay_what_they_are() -> None:
    with pytest.raises(TypeError, match=r"^tinyloss\.huber: delta is a str, expected a number"):
        tl.huber(X, Y, delta="1")
    with pytest.raises(TypeError, match=r"^tinyloss\.mse: x: got a list"):
        tl.MSELoss()([1.0], Y)
    with pytest.raises(TypeError, match=r"^tinyloss\.mse: x: got a list"):
        (tl.MSELoss() + tl.MAELoss())([1.0], Y)


def test_a_custom_loss_is_told_alike() -> None:
    @tinyloss.loss
    def cubic(x: Any, y: Any, *, scale: float = 1.0) -> Any:
        return scale * abs(x - y) ** 3

    with pytest.raises(TypeError, match=r"^tinyloss\.cubic: .*did you mean scale"):
        cubic(X, Y, scael=2.0)
    with pytest.raises(TypeError, match=r"^tinyloss\.cubic: .*write cubic\(x, y, scale=2\.0\)"):
        cubic(X, Y, 2.0)


@on("loss", [tinyloss.nll, tinyloss.NLLLoss, tinyloss.cross_entropy])
def test_source_complains_of_what_was_given(loss: Any) -> None:
    options: dict[str, Any] = {"class_weight": [1.0]}
    if isinstance(loss, type):
        loss, options = loss(**options), {}
    with pytest.raises(ValueError, match=r"class_weight has shape \(1,\), expected \(1000,\)"):
        tl.source(loss, **options)


@on("target", ["llvm", "cuda"])
@on("name", LOSSES)
def test_every_loss_has_a_source_without_arrays(name: str, target: str) -> None:
    loss: Any = getattr(tl, name)
    assert tl.source(loss, target=target)
    assert tl.source(loss, target=target, reduction="sum", weight=2.0)


def test_a_sum_has_the_sources_of_its_terms() -> None:
    pytest.importorskip("llvmlite")
    both: Any = tl.CrossEntropyLoss() + 2 * tl.SoftmaxFocalLoss()
    assert "y" in tl.source(both)
    assert tl.source(tl.CrossEntropyLoss() + tl.KLDivLoss())  # the shape of x suits both
    with pytest.raises(TypeError, match=r"^tinyloss: got 3, expected a loss"):
        tl.source(3)
