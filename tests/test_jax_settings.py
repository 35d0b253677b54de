"""JAX's strict settings, which users put on to find mistakes of their own, find none of ours."""

from functools import partial
from typing import Any

import numpy as np
import pytest

import tinyloss
from tests.support.cases import Case, brought, every_case, in_doubles, weight_and_mask
from tests.support.compare import close
from tests.support.libraries import JAX

agree = partial(close, eps=16, why="four functions of 2 eps, and sums in another order")


def ask(case: Case, grad: Any, arrays: Any, options: Any, weight: Any, where: Any) -> Any:
    """Ask a loss for everything, with weights of every item and of every column."""
    column = weight[0] if weight.ndim > 1 else weight[:1]
    loss = case.loss
    return (
        loss(*arrays, **options, weight=weight, where=where),
        loss(*arrays, **options, weight=column, reduction="none"),
        *tinyloss.value_and_grad(loss, case.argnums)(*arrays, **options),
        grad(loss)(*arrays, **options, weight=column),
    )


@pytest.mark.long
@every_case
@pytest.mark.heavy(24)
def test_every_loss_spells_out_ranks(jax: Any, case: Case) -> None:
    weight, where = weight_and_mask(case)
    expected = ask(case, tinyloss.grad, *in_doubles(case), weight.astype(np.float64), where)
    own = JAX("jax")
    given = *brought(own, case, "float32"), own.asarray(weight), own.asarray(where)
    with jax.numpy_rank_promotion("raise"):
        actual = ask(case, jax.grad, *given)
    agree(own.fetch(actual), expected, dtype="float32")
