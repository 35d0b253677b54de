"""Flax NNX and optax read digits by tinyloss's cross-entropy, and by optax's: no adapter."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import optax
from flax import nnx
from sklearn.datasets import load_digits

import tinyloss


def main(steps: int = 60) -> tuple[float, float]:
    """Return the loss that both end at, of all digits in one batch."""
    x, y = (jnp.asarray(each) for each in load_digits(return_X_y=True))

    def end(name: str, loss: Callable[..., Any]) -> float:
        rngs = nnx.Rngs(0)
        net = nnx.Sequential(nnx.Linear(64, 32, rngs=rngs), nnx.relu, nnx.Linear(32, 10, rngs=rngs))
        optimizer = nnx.Optimizer(net, optax.adam(1e-2), wrt=nnx.Param)

        def step(net: Any, optimizer: Any) -> Any:
            value, grads = nnx.value_and_grad(lambda net: loss(net(x / 16), y))(net)
            optimizer.update(net, grads)
            return value

        jitted = nnx.jit(step)
        value = [float(jitted(net, optimizer)) for _ in range(steps)][-1]
        print(f"{name:8} loss {value:.7f} after {steps} steps")
        return value

    own = optax.softmax_cross_entropy_with_integer_labels
    return end("tinyloss", tinyloss.cross_entropy), end("optax", lambda x, y: own(x, y).mean())


if __name__ == "__main__":
    main()
