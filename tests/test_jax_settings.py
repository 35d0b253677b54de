"""JAX's strict settings, which users put on to find mistakes of their own, find none of ours."""

from typing import Any

import numpy as np
import pytest

import tinyloss
from tests.support.cases import Case, every_case, weight_and_mask


def ask(jax: Any, case: Case) -> Any:
    """Ask a loss for everything, with weights of every item and of every column."""

    def bring(value: Any) -> Any:
        return jax.numpy.asarray(value) if isinstance(value, np.ndarray) else value

    arrays = [*map(bring, case.arrays)]
    options = {name: bring(value) for name, value in case.options.items()}
    weight, where = map(bring, weight_and_mask(case))
    column = weight[0] if weight.ndim > 1 else weight[:1]
    loss = case.loss
    return (
        loss(*arrays, **options, weight=weight, where=where),
        loss(*arrays, **options, weight=column, reduction="none"),
        tinyloss.value_and_grad(loss, case.argnums)(*arrays, **options),
        jax.grad(loss)(*arrays, **options, weight=column),
    )


@pytest.mark.long
@every_case
def test_every_loss_spells_out_ranks(jax: Any, case: Case) -> None:
    expected = ask(jax, case)
    with jax.numpy_rank_promotion("raise"):
        actual = ask(jax, case)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)
