"""optax's L-BFGS fits a focal loss in plain JAX: tinyloss's closed form, and optax's own loss."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from sklearn.datasets import load_breast_cancer

import tinyloss


def fit(loss: Any, steps: int) -> float:
    """Return the loss after so many steps."""
    solver, w = optax.lbfgs(), jnp.zeros(30)

    def moved(w: Any, state: Any) -> Any:
        value, grad = jax.value_and_grad(loss)(w)
        move, state = solver.update(grad, state, w, value=value, grad=grad, value_fn=loss)
        return optax.apply_updates(w, move), state

    state, step = solver.init(w), jax.jit(moved)
    for _ in range(steps):
        w, state = step(w, state)
    return float(loss(w))


def main(steps: int = 20) -> tuple[float, float]:
    """Return the loss that both end at."""
    x, y = (jnp.asarray(each, jnp.float32) for each in load_breast_cancer(return_X_y=True))
    x = (x - x.mean(0)) / x.std(0)
    ours = fit(lambda w: tinyloss.sigmoid_focal(x @ w, y) + 1e-3 * w @ w, steps)
    own = fit(lambda w: optax.sigmoid_focal_loss(x @ w, y).mean() + 1e-3 * w @ w, steps)
    print(f"after {steps} steps the loss is {ours:.7f} by tinyloss, {own:.7f} by optax")
    return ours, own


if __name__ == "__main__":
    main()
