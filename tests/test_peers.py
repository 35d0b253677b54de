"""Values and gradients on ordinary inputs are those of other libraries."""

import importlib
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pytest

import tinyloss
from tests.support.exact import split
from tests.support.params import turns
from tests.support.peers import TORCH_CASES, Arrays, Case, Params, close, rng_of
from tests.support.peers_optax import optax_cases

# Losses are picked by name here, so that their signatures are not known to a type checker.
value_and_grad: Any = tinyloss.value_and_grad

REDUCTIONS = ("mean", "sum", "none")


def _cast(arrays: Arrays, dtype: str) -> Arrays:
    return {k: v.astype(dtype) if v.dtype.kind == "f" else v for k, v in arrays.items()}


def _ours(case: Case, arrays: Arrays, **options: Any) -> tuple[Any, Any]:
    inputs, more = split(case.loss, arrays)
    function = value_and_grad(getattr(tinyloss, case.loss), case.argnums)
    value, grads = function(*inputs, **more, **case.params, **options)
    return value, grads


def _theirs(
    torch: Any, case: Case, arrays: Arrays, reduction: str, mask: Any = None
) -> tuple[Any, list[Any]]:
    tensors = {name: torch.asarray(array.copy()) for name, array in arrays.items()}
    for name in case.by:
        tensors[name].requires_grad_()
    value = case.theirs(torch, tensors, reduction)
    if mask is not None:
        value = value[torch.asarray(mask)].mean()
    value.sum().backward()
    return value.detach().numpy(), [tensors[name].grad.numpy() for name in case.by]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", TORCH_CASES, ids=lambda case: f"{case.loss}[{case.id}]")
def test_values_and_gradients_are_those_of_torch(case: Case, dtype: str, torch: Any) -> None:
    arrays = _cast(case.arrays, dtype)
    for reduction in REDUCTIONS:
        options: Params = {"reduction": reduction}
        if reduction == "mean" and case.mean_over is not None:
            options["denominator"] = case.mean_over
        value, grads = _ours(case, arrays, **options)
        expected, gradients = _theirs(torch, case, arrays, reduction)
        close(value, expected, dtype, reduction)
        for name, gradient, other in zip(case.by, grads, gradients, strict=True):
            close(gradient, other, dtype, f"{reduction}: gradient by {name}")


@pytest.mark.parametrize("case", TORCH_CASES, ids=lambda case: f"{case.loss}[{case.id}]")
def test_a_masked_mean_is_that_of_the_selected_items(case: Case, torch: Any) -> None:
    arrays = case.arrays
    weighted = {"weight", "class_weight"} & set(arrays) or case.params.get("ignore_index")
    items = _ours(case, arrays, reduction="none")[0]
    mask = rng_of("mask").uniform(size=items.shape) < 0.6
    options: Params = {"where": mask}
    if weighted:
        options["denominator"] = int(mask.sum())
    value, grads = _ours(case, arrays, **options)
    expected, gradients = _theirs(torch, case, arrays, "none", mask)
    close(value, expected, np.float64)
    for name, gradient, other in zip(case.by, grads, gradients, strict=True):
        close(gradient, other, np.float64, f"gradient by {name}")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ["log_softmax", "softmax", "logsumexp"])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_functions_of_rows_are_those_of_torch(name: str, dtype: str, axis: int, torch: Any) -> None:
    x = rng_of(name).normal(size=(4, 5, 6)).astype(dtype)
    got = getattr(tinyloss, name)(x, axis=axis)
    close(got, getattr(torch, name)(torch.asarray(x.copy()), axis).numpy(), dtype)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_softplus_and_log_sigmoid_are_those_of_torch(dtype: str, torch: Any) -> None:
    x = np.linspace(-15, 15, 61).astype(dtype)  # from 20 torch's softplus is the identity
    functional = torch.nn.functional
    for ours, theirs in (
        (tinyloss.softplus, functional.softplus),
        (tinyloss.log_sigmoid, functional.logsigmoid),
    ):
        close(ours(x), theirs(torch.asarray(x.copy())).numpy(), dtype)


OPTAX_CASES = [*product(["float64", "float32"], optax_cases())]


@pytest.mark.parametrize(
    ("dtype", "case"),
    turns(OPTAX_CASES, 6, [f"{case[0]}[{case[1]}]-{dtype}" for dtype, case in OPTAX_CASES]),
)
def test_values_and_gradients_are_those_of_optax(
    case: Any, dtype: str, jax: Any, optax: Any
) -> None:
    loss, _, arrays, params, theirs = case
    arrays = _cast(arrays, dtype)
    # logsumexp in optax's focal loss drops the terms, and slopes, of weight 0: of hard targets.
    hard_focal = loss == "sigmoid_focal" and set(np.unique(arrays["y"])) <= {0.0, 1.0}
    by = (0,) if arrays["y"].dtype.kind == "i" or hard_focal else (0, 1)

    def summed(*inputs: Any) -> Any:
        items = theirs(optax, *inputs)
        return items.sum(), items

    native = jax.jit(jax.value_and_grad(summed, by, has_aux=True))
    (total, items), slopes = native(*map(jax.numpy.asarray, arrays.values()))
    for reduction in REDUCTIONS:
        n = items.size if reduction == "mean" else 1
        value, grads = value_and_grad(getattr(tinyloss, loss), by)(
            *arrays.values(), **params, reduction=reduction
        )
        close(value, items if reduction == "none" else total / n, dtype, reduction)
        for gradient, slope in zip(grads, slopes, strict=True):
            close(gradient, slope / n, dtype, reduction)


# -------------------------------------------------------------------------- scikit-learn and SciPy


@pytest.mark.parametrize("weighted", [False, True])
def test_values_are_those_of_scikit_learn(weighted: bool, sklearn: Any) -> None:
    rng = rng_of("sklearn")
    x, y = np.exp(rng.normal(size=50)), np.exp(rng.normal(size=50))
    weight = rng.uniform(0.1, 2, 50) if weighted else None
    for ours, theirs in (
        (tinyloss.mse, sklearn.mean_squared_error),
        (tinyloss.mae, sklearn.mean_absolute_error),
        (tinyloss.msle, sklearn.mean_squared_log_error),
        (tinyloss.mape, sklearn.mean_absolute_percentage_error),
        (partial(tinyloss.gamma_deviance, log_input=False), sklearn.mean_gamma_deviance),
    ):
        close(ours(x, y, weight=weight), theirs(y, x, sample_weight=weight), np.float64)
    for power in (1.0, 1.25, 2.0, 3.0):
        expected = sklearn.mean_tweedie_deviance(y, x, sample_weight=weight, power=power)
        got = tinyloss.tweedie_deviance(np.log(x), y, power=power, weight=weight)
        close(got, expected, np.float64)
    for q in (0.1, 0.5, 0.9):
        expected = sklearn.mean_pinball_loss(y, x, sample_weight=weight, alpha=q)
        close(tinyloss.quantile(x, y, q=q, weight=weight), expected, np.float64)

    z, yes = rng.normal(size=50), rng.integers(0, 2, 50)
    p = 1 / (1 + np.exp(-z))
    expected = sklearn.log_loss(yes, p, sample_weight=weight)
    close(tinyloss.binary_cross_entropy(p, yes, weight=weight), expected, np.float64)
    got = tinyloss.binary_cross_entropy_with_logits(z, yes, weight=weight)
    close(got, expected, np.float64)
    expected = sklearn.hinge_loss(yes, z, sample_weight=weight)
    close(tinyloss.hinge(z, yes == 1, weight=weight), expected, np.float64)

    rows, labels = rng.normal(size=(50, 4)), rng.integers(0, 4, 50)
    p = tinyloss.softmax(rows)
    expected = sklearn.log_loss(labels, p, sample_weight=weight, labels=range(4))
    close(tinyloss.cross_entropy(rows, labels, weight=weight), expected, np.float64)
    expected = sklearn.hinge_loss(labels, rows, sample_weight=weight, labels=range(4))
    close(tinyloss.categorical_hinge(rows, labels, weight=weight), expected, np.float64)


def test_values_are_those_of_scipy(scipy: Any) -> None:
    rng = rng_of("scipy")
    e, f = np.exp(rng.normal(size=(2, 8, 5)))
    p, q = e / e.sum(-1, keepdims=True), f / f.sum(-1, keepdims=True)
    distance = importlib.import_module("scipy.spatial.distance").jensenshannon
    close(tinyloss.js_div(p, q, reduction="none"), distance(p, q, axis=-1) ** 2, np.float64)
    expected = scipy.rel_entr(q, p).sum(-1)
    close(tinyloss.kl_div(np.log(p), q, reduction="none"), expected, np.float64)
    close(tinyloss.kl_div_with_logits(np.log(p), np.log(q), reduction="none"), expected, np.float64)
    expected = scipy.kl_div(f, e)
    close(tinyloss.generalized_kl(e, f, reduction="none"), expected, np.float64)
    d = np.linspace(-3, 3, 13)
    for delta in (0.5, 1.0, 2.0):
        got = tinyloss.huber(d, np.zeros_like(d), delta=delta, reduction="none")
        close(got, scipy.huber(delta, d), np.float64)
    close(tinyloss.log_softmax(e), scipy.log_softmax(e, axis=-1), np.float64)
    close(tinyloss.logsumexp(e), scipy.logsumexp(e, axis=-1), np.float64)
