"""Losses of mapped tensors: what cannot be looked at is not looked at, and nothing breaks."""

from typing import Any

import numpy as np
import pytest

import tinyloss

# Of its own, when vmap first loads its decompositions.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")

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
