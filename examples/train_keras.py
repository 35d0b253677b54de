"""Keras reads digits by tinyloss's cross-entropy, and by its own: the same epochs.

KERAS_BACKEND=torch python examples/train_keras.py
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
from sklearn.datasets import load_digits

import tinyloss
from tinyloss.adapters.keras import Loss


def history(loss: keras.losses.Loss, epochs: int) -> list[float]:
    """Return the loss of each epoch."""
    x, y = load_digits(return_X_y=True)
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Dense(32, activation="relu"), keras.layers.Dense(10)])
    model.compile("adam", loss=loss)
    losses: list[float] = model.fit(x / 16, y, epochs=epochs, verbose=0).history["loss"]
    return losses


def main(epochs: int = 3) -> tuple[list[float], list[float]]:
    """Return the losses of both."""
    ours = history(Loss(tinyloss.cross_entropy), epochs)
    own = history(keras.losses.SparseCategoricalCrossentropy(from_logits=True), epochs)
    for n, (one, other) in enumerate(zip(ours, own, strict=True)):
        print(f"epoch {n}: {one:.7f} by tinyloss, {other:.7f} by Keras")
    return ours, own


if __name__ == "__main__":
    main()
