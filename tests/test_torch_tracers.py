"""Losses under torch's tracers: what cannot be looked at is not looked at, and nothing breaks."""

import contextlib
from typing import Any

import numpy as np
import pytest

import tinyloss
from tests.support.process import python

# Of its own, when vmap first loads its decompositions.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")

COMPILED = """
import sys, warnings
import numpy as np
import torch
import tinyloss

backend, fullgraph, name = sys.argv[1], sys.argv[2] == "fullgraph", sys.argv[3]
loss = getattr(tinyloss, name)
x = torch.linspace(-2, 2, 12).reshape(4, 3)
y = torch.tensor([0, 2, 7, 1]) if name == "cross_entropy" else 0.5 * x


def ask(x, y):
    value, gradient = tinyloss.value_and_grad(loss)(x, y, reduction="none")
    return loss(x[:2], y[:2]), value, gradient


warnings.filterwarnings("error", message=".*lru_cache.*")
compiled = torch.compile(ask, backend=backend, fullgraph=fullgraph)(x, y)
with tinyloss.validation("never"):
    eager = ask(x, y)
for a, b in zip(compiled, eager, strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
assert torch.isnan(compiled[1]).any().item() == (name == "cross_entropy")
"""


@pytest.mark.long
@pytest.mark.parametrize("name", ["mse", "cross_entropy"])
@pytest.mark.parametrize("graph", ["breaks", "fullgraph"])
def test_first_call_of_a_process_may_be_compiled(torch: Any, graph: str, name: str) -> None:
    assert torch
    python("-c", COMPILED, "eager", graph, name)


@pytest.mark.long
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compiled_through_the_whole_of_torchs_compiler(torch: Any, backend: str) -> None:
    assert torch
    python("-c", COMPILED, backend, "fullgraph", "cross_entropy")


X = np.linspace(-2, 2, 24, dtype=np.float32).reshape(2, 4, 3)
Y = np.array([[0, 2, 7, 1], [1, 1, 0, 2]])


def reference(y: Any) -> Any:
    """Return what NumPy answers for the batches, where indices are not looked at."""
    with tinyloss.validation("never"):
        each = [
            tinyloss.value_and_grad(tinyloss.cross_entropy)(x, row, reduction="none")
            for x, row in zip(X, y, strict=True)
        ]
    return [np.stack(parts) for parts in zip(*each, strict=True)]


@pytest.mark.parametrize("axis", [-1, 0])
def test_vmap_over_logits_and_labels(torch: Any, axis: int) -> None:
    def ask(x: Any, y: Any) -> Any:
        moved = x if axis == -1 else x.T
        return tinyloss.value_and_grad(tinyloss.cross_entropy)(
            moved, y, axis=axis, reduction="none"
        )

    value, gradient = torch.func.vmap(ask)(torch.asarray(X), torch.asarray(Y))
    gradient = gradient if axis == -1 else gradient.mT
    expected = reference(Y)
    assert np.isnan(value.numpy()[0, 2])
    np.testing.assert_allclose(value.numpy(), expected[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gradient.numpy(), expected[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("transform", ["grad", "jacrev", "jacfwd"])
def test_gradients_of_each_sample(torch: Any, transform: str) -> None:
    of_one = getattr(torch.func, transform)(tinyloss.cross_entropy)
    y = Y % 3
    per_sample = torch.func.vmap(of_one)(torch.asarray(X), torch.asarray(y))
    np.testing.assert_allclose(per_sample.numpy(), reference(y)[1] / 4, rtol=1e-4, atol=1e-6)


def test_labels_beside_mapped_logits_are_still_looked_at(torch: Any) -> None:
    labels = torch.asarray(Y[0])
    with pytest.raises(ValueError, match=r"y\[2\] is 7"):
        torch.func.vmap(lambda x: tinyloss.cross_entropy(x, labels))(torch.asarray(X))


@pytest.mark.parametrize("stand_in", ["fake", "meta"])
def test_tensors_without_numbers_have_shapes(torch: Any, stand_in: str) -> None:
    fake: Any = pytest.importorskip("torch._subclasses.fake_tensor").FakeTensorMode()

    def bring(array: Any) -> Any:
        tensor = torch.asarray(array)
        return fake.from_tensor(tensor) if stand_in == "fake" else tensor.to("meta")

    with fake if stand_in == "fake" else contextlib.nullcontext():
        value, gradient = tinyloss.value_and_grad(tinyloss.cross_entropy)(
            bring(X), bring(Y), reduction="none", class_weight=bring(np.ones(3, np.float32))
        )
    assert (tuple(value.shape), tuple(gradient.shape)) == ((2, 4), (2, 4, 3))


def test_export(torch: Any) -> None:
    class Loss(torch.nn.Module):
        def forward(self, x: Any, y: Any) -> Any:
            return tinyloss.cross_entropy(x, y, reduction="none")

    arrays = torch.asarray(X), torch.asarray(Y)
    exported = torch.export.export(Loss(), arrays).module()(*arrays)
    np.testing.assert_allclose(exported.numpy(), reference(Y)[0], rtol=1e-5, atol=1e-6)
