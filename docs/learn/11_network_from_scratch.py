"""
11. A network from scratch
==========================

*25 minutes, advanced. You need: matrices, lessons 2 and 3.*

Two layers, ReLU, Adam and the backward pass, without a framework. The loss and its first gradient
are tinyloss's; the chain rule does the rest.
"""

import numpy as np
from sklearn.datasets import load_digits

import tinyloss

images, digits = load_digits(return_X_y=True)
images = (images / 16).astype(np.float32)
rng = np.random.default_rng(0)
order = rng.permutation(len(digits))
train, test = order[:1437], order[1437:]


class Linear:
    """y = x @ w + b."""

    def __init__(self, inputs, outputs):
        self.w = rng.standard_normal((inputs, outputs), dtype=np.float32) * (2 / inputs) ** 0.5
        self.b = np.zeros(outputs, dtype=np.float32)

    def forward(self, x):
        self.x = x
        return x @ self.w + self.b

    def backward(self, g):
        self.gradients = {"w": self.x.T @ g, "b": g.sum(axis=0)}
        return g @ self.w.T


class ReLU:
    """y = max(x, 0)."""

    def forward(self, x):
        self.positive = x > 0
        return np.where(self.positive, x, np.float32(0))

    def backward(self, g):
        return np.where(self.positive, g, np.float32(0))


class Adam:
    """Kingma and Ba, 2015."""

    def __init__(self, layers, rate):
        self.layers, self.rate, self.t = [each for each in layers if hasattr(each, "w")], rate, 0
        self.moments = {}

    def step(self):
        self.t += 1
        for layer in self.layers:
            for name, g in layer.gradients.items():
                m, v = self.moments.get((layer, name), (0 * g, 0 * g))
                m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
                self.moments[layer, name] = m, v
                m, v = m / (1 - 0.9**self.t), v / (1 - 0.999**self.t)
                setattr(layer, name, getattr(layer, name) - self.rate * m / (v**0.5 + 1e-8))


layers = [Linear(64, 64), ReLU(), Linear(64, 10)]
optimizer = Adam(layers, 0.005)


def predict(x):
    for layer in layers:
        x = layer.forward(x)
    return x


# %%
# Training
# --------
#
# Predict, measure, go back, step.

step = tinyloss.value_and_grad(tinyloss.cross_entropy)
for epoch in range(1, 11):
    state = tinyloss.PartialMean()
    for batch in np.split(rng.permutation(train), range(64, len(train), 64)):
        logits = predict(images[batch])
        loss, g = step(logits, digits[batch])
        state += tinyloss.partial_mean(tinyloss.cross_entropy)(logits, digits[batch])
        for layer in reversed(layers):
            g = layer.backward(g)
        optimizer.step()
    right = (predict(images[test]).argmax(axis=1) == digits[test]).mean()
    print(f"epoch {epoch:2}: loss {state.value():.4f}, {right:.1%} of the held-out digits right")

# %%
# Is the backward pass right?
# ---------------------------
#
# A finite difference of one weight, against what the chain rule says:

x, y = images[:8].astype(np.float64), digits[:8]
for layer in (layers[0], layers[2]):
    layer.w, layer.b = layer.w.astype(np.float64), layer.b.astype(np.float64)
g = tinyloss.grad(tinyloss.cross_entropy)(predict(x), y)
for layer in reversed(layers):
    g = layer.backward(g)
i, j = np.unravel_index(np.abs(layers[0].gradients["w"]).argmax(), (64, 64))
w, ends = layers[0].w, []
for change in (1e-6, -1e-6):
    w[i, j] += change
    ends.append(tinyloss.cross_entropy(predict(x), y))
    w[i, j] -= change
print(f"{layers[0].gradients['w'][i, j]:.8f} {(ends[0] - ends[1]) / 2e-6:.8f}")

# %%
# **Question.** Change one line to train with another loss. Which loss can it be, and what must the
# target become?
#
# .. dropdown:: Answer
#
#    ``softmax_focal`` takes the same labels. ``mse``, ``huber`` and
#    ``binary_cross_entropy_with_logits`` take one-hot rows, ``np.eye(10)[digits]``; ``hinge`` takes
#    2 * one_hot − 1. ``examples/train_digits.py --loss`` tries them.
