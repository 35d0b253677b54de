"""The contract of a backend, for JAX: called eagerly, under `jit` and `vmap`, by `jax.grad`."""

from collections.abc import Callable
from typing import Any

import pytest

import tinyloss.testing

Transform = Callable[[Callable[..., Any]], Callable[..., Any]]

EVERY = 36
"""Which part of the cases is tried each time; all losses have some among them."""


def in_pairs(jax: Any) -> Transform:
    """Return a transform that calls a function of a batch of two that are alike."""

    def transform(call: Callable[..., Any]) -> Callable[..., Any]:
        mapped = jax.jit(jax.vmap(call))

        def second(*arrays: Any) -> Any:
            twice = jax.tree.map(lambda each: jax.numpy.stack([each, each]), arrays)
            return jax.tree.map(lambda each: each[1], mapped(*twice))

        return second

    return transform


def by_autodiff(jax: Any) -> Callable[..., Any]:
    """Return JAX's value_and_grad, of a loss that may not be reduced."""

    def value_and_grad(loss: Any, argnums: Any) -> Callable[..., Any]:
        def of_sum(*args: Any, **options: Any) -> Any:
            value = loss(*args, **options)
            return value.sum(), value

        derived = jax.value_and_grad(of_sum, argnums, has_aux=True)

        def answer(*args: Any, **options: Any) -> Any:
            (_, value), grads = derived(*args, **options)
            return value, grads

        return answer

    return value_and_grad


def check(jax: Any, way: str, only: Any) -> None:
    ways: dict[str, dict[str, Any]] = {
        "eager": {},
        "jit": {"through": jax.jit},
        "vmap": {"through": in_pairs(jax)},
        "grad": {"through": jax.jit, "value_and_grad": by_autodiff(jax)},
    }
    tinyloss.testing.check_backend("jax", only=only, **ways[way])


@pytest.mark.long
@pytest.mark.parametrize("way", ["eager", "jit", "vmap", "grad"])
def test_backend_meets_the_contract(jax: Any, way: str) -> None:
    """A part of the cases, another for each way; the test below tries all."""
    first = 9 * ["eager", "jit", "vmap", "grad"].index(way)
    check(jax, way, range(first, 10_000, EVERY))


@pytest.mark.slow
@pytest.mark.parametrize("way", ["eager", "jit", "vmap", "grad"])
def test_backend_meets_the_contract_in_every_case(jax: Any, way: str) -> None:
    check(jax, way, None)
