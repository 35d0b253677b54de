"""Transforms of losses: they belong together, name their arguments, and refuse what is no loss."""

import inspect
from typing import Any

import numpy as np
import pytest

import tinyloss
from tests.support.cases import Case, every_case, in_doubles
from tests.support.compare import equal

# For losses chosen at run time, whose parameters no type checker can follow.
anyloss: Any = tinyloss

on = pytest.mark.parametrize

X = np.array([0.5, -1.0, 2.0])
Y = np.array([0.0, 1.0, 1.0])
LOGITS, LABELS = np.array([[0.5, -1.0, 2.0], [0.0, 1.0, 1.0]]), np.array([2, 0])


@every_case
def test_all_transforms_belong_together(case: Case) -> None:
    arrays, options = in_doubles(case)
    for reduction in ("mean", "sum", "none"):
        chosen = {**options, "reduction": reduction}
        value, grad = anyloss.value_and_grad(case.loss)(*arrays, **chosen)
        equal(value, case.loss(*arrays, **chosen))
        equal(anyloss.grad(case.loss)(*arrays, **chosen), grad)
        equal(anyloss.grad(case.loss, case.argnums)(*arrays, **chosen)[0], grad)
        equal(anyloss.value_and_grad(case.loss, (0,))(*arrays, **chosen), (value, (grad,)))
    items = anyloss.grad(case.loss)(*arrays, **options, reduction="none")
    by_x, curvature = anyloss.grad_and_hess(case.loss)(*arrays, **options)
    equal(by_x, items)
    assert curvature.shape == case.x.shape


def test_argnums_choose_and_order() -> None:
    var = np.array([0.5, 1.0, 2.0])
    of_each = [anyloss.grad(tinyloss.gaussian_nll, n)(X, Y, var) for n in range(3)]
    for argnums in [(0, 1, 2), (2, 0), (1,), (2, 1, 0)]:
        expected = tuple(of_each[n] for n in argnums)
        equal(anyloss.grad(tinyloss.gaussian_nll, argnums)(X, Y, var), expected)
        value, grads = anyloss.value_and_grad(tinyloss.gaussian_nll, argnums)(X, Y, var)
        equal(grads, expected)
        equal(value, tinyloss.gaussian_nll(X, Y, var))
    equal(anyloss.grad(tinyloss.gaussian_nll, 2)(X, Y, var=var), of_each[2])


@on("transform", [tinyloss.value_and_grad, tinyloss.grad], ids=lambda f: f.__name__)
@on("argnums", [True, False, 1.0, "0", None, [0, 1], (0, True), (0.0,), (0, (1,)), np.ones(1)])
def test_argnums_are_integers(transform: Any, argnums: Any) -> None:
    with pytest.raises(TypeError, match=r"^tinyloss: argnums is .*expected an integer"):
        transform(tinyloss.mse, argnums)


@on("argnums", [2, -1, (0, 2), 100])
def test_argnums_are_in_range(argnums: Any) -> None:
    match = r"^tinyloss\.mse: argnums holds -?\d+, expected integers from 0 to 1$"
    with pytest.raises(ValueError, match=match):
        anyloss.grad(tinyloss.mse, argnums)(X, Y)
    with pytest.raises(ValueError, match=match):
        anyloss.grad(tinyloss.MSELoss() + tinyloss.MAELoss(), argnums)(X, Y)


@on(
    "loss",
    [tinyloss.cross_entropy, tinyloss.softmax_focal, tinyloss.nll],
    ids=lambda f: f.__name__,
)
def test_class_indices_have_no_derivative(loss: Any) -> None:
    for argnums in (1, (0, 1)):
        with pytest.raises(TypeError, match=rf"^tinyloss\.{loss.__name__}: .*class indices"):
            anyloss.grad(loss, argnums)(LOGITS, LABELS)


def test_target_of_another_shape_has_no_derivative() -> None:
    with pytest.raises(ValueError, match=r"^tinyloss\.gaussian_nll: var has shape \(\)"):
        anyloss.grad(tinyloss.gaussian_nll, 2)(X, Y, np.array(2.0))


def test_real_target_beside_integers_has_a_floating_gradient() -> None:
    _, (by_x, by_y) = anyloss.value_and_grad(tinyloss.mse, (0, 1))(X, np.array([0, 1, 1]))
    equal(by_y, -by_x)


@on("transform", [tinyloss.value_and_grad, tinyloss.grad, tinyloss.grad_and_hess])
@on("loss", [len, None, 1, tinyloss.softmax, tinyloss.MSELoss])
def test_only_losses_have_them(transform: Any, loss: Any) -> None:
    with pytest.raises(TypeError, match=r"^tinyloss: .*expected a loss"):
        transform(loss)


@on("loss", [tinyloss.huber, tinyloss.HuberLoss(), tinyloss.HuberLoss() * 2], ids=repr)
def test_derived_functions_have_the_signature_of_the_loss(loss: Any) -> None:
    expected = list(inspect.signature(loss).parameters)
    assert "self" not in expected
    for transform in (tinyloss.value_and_grad, tinyloss.grad, tinyloss.grad_and_hess):
        derived: Any = transform(loss)
        assert list(inspect.signature(derived).parameters) == expected
        assert "gradient" in (derived.__doc__ or "")


def test_wrong_keywords_are_refused() -> None:
    function: Any = anyloss.grad(tinyloss.mse)
    with pytest.raises(TypeError, match="unexpected keyword argument 'axis'"):
        function(X, Y, axis=0)
    with pytest.raises(TypeError, match="positional argument"):
        function(X, Y, X)
