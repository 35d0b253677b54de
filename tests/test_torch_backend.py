"""The backend for torch against the contract, eagerly, through backward and through vmap."""

from collections.abc import Callable
from functools import partial
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import tinyloss
import tinyloss_numpy
from tinyloss.testing import check_backend

# Of its own: when vmap first loads its decompositions, and when Dynamo makes what it traces.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch.*"),
]

FEW = (tinyloss.mse, tinyloss.binary_cross_entropy_with_logits, tinyloss.cross_entropy)


def brought(torch: Any, array: Any) -> Any:
    if array.dtype != ml_dtypes.bfloat16:
        return torch.asarray(array)
    return torch.asarray(array.view(np.int16)).view(torch.bfloat16)


def fetched(torch: Any, tensor: Any) -> Any:
    tensor = tensor.detach()
    if tensor.dtype != torch.bfloat16:
        return tensor.numpy()
    return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)


def checked(torch: Any, **options: Any) -> Any:
    return check_backend(
        "torch",
        context=partial(tinyloss_numpy.compilation, "always"),
        asarray=partial(brought, torch),
        to_numpy=partial(fetched, torch),
        must_answer=True,
        **options,
    )


def backward(loss: Any, argnums: Any = 0) -> Callable[..., Any]:
    """Return what `tinyloss.value_and_grad` returns, by torch's autograd."""
    import torch

    numbers = argnums if isinstance(argnums, tuple) else (argnums,)

    def ask(*arrays: Any, **options: Any) -> Any:
        own = list(arrays)
        for number in numbers:
            own[number] = own[number].detach().requires_grad_()
        value = loss(*own, **options)
        grads = torch.autograd.grad(value.sum(), [own[number] for number in numbers])
        return value.detach(), grads if isinstance(argnums, tuple) else grads[0]

    return ask


def mapped(torch: Any) -> Callable[[Any], Any]:
    """Return what has a call answered for one member of a batch, by vmap."""

    def through(ask: Callable[..., Any]) -> Callable[..., Any]:
        def call(arrays: Any, options: Any) -> Any:
            more = [each[None] for each in arrays], {n: each[None] for n, each in options.items()}
            return {name: each[0] for name, each in torch.func.vmap(ask)(*more).items()}

        return call

    return through


def compiled(torch: Any) -> Callable[[Any], Any]:
    """Return what has each call compiled: traced whole, and run as it was traced."""

    def through(ask: Callable[..., Any]) -> Callable[..., Any]:
        torch._dynamo.reset()
        function: Callable[..., Any] = torch.compile(
            ask, fullgraph=True, dynamic=False, backend="eager"
        )
        return function

    return through


ONE_IN_FIVE = range(0, 10_000, 5)
part = pytest.mark.parametrize(
    "only",
    [
        pytest.param(ONE_IN_FIVE, marks=pytest.mark.long, id="one in five"),
        pytest.param(None, marks=pytest.mark.slow, id="all"),
    ],
)


@part
@pytest.mark.parametrize("derive", [None, backward])
def test_it_answers_every_call(torch: Any, derive: Any, only: Any) -> None:
    assert checked(torch, losses=FEW, value_and_grad=derive, only=only).declined == 0


@part
def test_vmap_answers_every_call(torch: Any, only: Any) -> None:
    assert checked(torch, through=mapped(torch), losses=FEW[:1], only=only).declined == 0


@pytest.mark.long
def test_torch_compile_answers_calls_of_all_kinds(torch: Any) -> None:
    """Each is seconds of tracing: one in five."""
    report = checked(torch, through=compiled(torch), losses=FEW[:1], only=ONE_IN_FIVE)
    assert report.declined == 0


@pytest.mark.slow
@pytest.mark.parametrize("loss", FEW, ids=lambda loss: loss.__name__)
def test_torch_compile_answers_every_call(torch: Any, loss: Any) -> None:
    assert checked(torch, through=compiled(torch), losses=[loss]).declined == 0
