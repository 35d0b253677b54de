"""JAX on a GPU, where XLA compiles the formulas. `JAX_PLATFORMS=cuda,cpu pytest -m gpu`."""

from typing import Any

import numpy as np
import pytest

import tinyloss
from tests.support.cases import CASES, Case, anyloss, in_turn
from tests.support.gpu import COMPOSED
from tests.support.on_torch import assert_close_to, on_numpy

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def jax() -> Any:
    """JAX with a device."""
    module = pytest.importorskip("jax")
    if module.default_backend() != "gpu":
        pytest.skip(f"JAX computes on the {module.default_backend()}")
    return module


@pytest.mark.parametrize("case", in_turn(CASES, 0), ids=lambda case: case.name)
def test_compiled_calls_answer_as_on_numpy(jax: Any, case: Case) -> None:
    step = jax.jit(lambda *own: anyloss.value_and_grad(case.loss)(*own, **case.options))
    value, gradient = step(*map(jax.numpy.asarray, case.arrays))
    assert value.device.platform == "gpu"
    assert_close_to((np.asarray(value), np.asarray(gradient)), on_numpy(case))
    again = jax.jit(jax.grad(lambda *own: case.loss(*own, **case.options)))
    gradient = again(*map(jax.numpy.asarray, case.arrays))
    assert_close_to((np.asarray(value), np.asarray(gradient)), on_numpy(case))


@pytest.mark.parametrize("name", COMPOSED)
def test_what_is_more_than_one_kernel_answers_as_on_numpy(jax: Any, name: str) -> None:
    case = COMPOSED[name]
    # XLA multiplies float32 by TF32 on a GPU, if it is not told otherwise.
    with jax.default_matmul_precision("highest"):
        got = case.answer(jax.numpy.asarray)
    assert all(each.device.platform == "gpu" for each in got)
    case.check([np.asarray(each) for each in got])


def test_the_optimum_has_a_loss_on_a_gpu_too(jax: Any) -> None:
    x, y = jax.numpy.asarray([[0.0, 40.0]]), jax.numpy.asarray([1])
    value, gradient = jax.jit(tinyloss.value_and_grad(tinyloss.cross_entropy))(x, y)
    np.testing.assert_allclose(value, np.exp(-40.0), rtol=1e-6)
    np.testing.assert_allclose(gradient, [[np.exp(-40.0), -np.exp(-40.0)]], rtol=1e-6)
