"""
3. Cross-entropy from scratch
=============================

*25 minutes, medium. You need: logarithms, lesson 1.*

A network gives a row of numbers for each item, one for each class: *logits*. Softmax makes
probabilities of them, and the cross-entropy is −log of the probability of the right class.
"""

import numpy as np

import tinyloss
from tinyloss import pictures

logits = np.array([[2.0, 1.0, 0.1], [0.5, 2.5, 0.3]])
labels = np.array([0, 1])

# %%
# Softmax
# -------
#
# Exponentials are positive; divided by their sum they add up to 1. Adding a number to all logits
# changes nothing: only differences count.

exponentials = np.exp(logits)
probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
print(probabilities.round(4))
print(np.abs(tinyloss.softmax(logits + 5.0) - probabilities).max())

# %%
# The loss
# --------

picked = probabilities[np.arange(2), labels]
print(-np.log(picked).mean(), tinyloss.cross_entropy(logits, labels))

# %%
# A target may be a row of probabilities as well. One-hot rows give the same number as indices:

one_hot = np.eye(3)[labels]
print(tinyloss.cross_entropy(logits, one_hot))

# %%
# The gradient
# ------------
#
# The loss of a row is log Σ exp(x) − x of the target. The derivative of the first term by one
# logit is exp(x) / Σ exp(x), which is p. The second term gives −1 for the target alone. So the
# gradient is p − q: the probabilities minus the one-hot target, divided by the number of rows.
# Each row adds up to 0: what one class gains the others lose.

gradient = tinyloss.grad(tinyloss.cross_entropy)(logits, labels)
print(gradient.round(4))
print(np.abs(gradient - (probabilities - one_hot) / 2).max())

# %%
# How far the right logit leads decides the loss. Where it trails, the gradient is −1 at most:

figure = pictures.curves(tinyloss.cross_entropy)

# %%
# Two bugs of first versions
# --------------------------
#
# **The target is not used.** This mean of all log-probabilities looks right, and even falls in
# training:


def forgot_the_target(logits, labels):
    log_probabilities = np.log(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True))
    return -log_probabilities.mean()


print(forgot_the_target(logits, labels), forgot_the_target(logits, 2 - labels))

# %%
# Other labels, the same loss. ``tinyloss check losses.py:forgot_the_target --as cross_entropy``
# finds it with the first example.
#
# **Softmax before the loss.** The loss takes logits. If the network ends in a softmax, the loss
# takes a softmax of a softmax. Nothing fails. But probabilities are at most 1 apart, so that the
# loss cannot become small:

sure = np.array([[50.0, 0.0, 0.0]])
print(f"logits:        {tinyloss.cross_entropy(sure, [0]):.4f}")
print(f"softmax first: {tinyloss.cross_entropy(tinyloss.softmax(sure), [0]):.4f}")

# %%
# What does it cost? The same linear model of handwritten digits, 100 steps of gradient descent,
# with and without:

from sklearn.datasets import load_digits

images, digits = load_digits(return_X_y=True)
images = images / 16
train, test = slice(0, 1400), slice(1400, None)


def accuracy(w):
    return (np.argmax(images[test] @ w, axis=1) == digits[test]).mean()


def softmax_backward(p, g):
    return p * (g - (g * p).sum(axis=1, keepdims=True))


w, w_double = np.zeros((64, 10)), np.zeros((64, 10))
for step in range(101):
    g = tinyloss.grad(tinyloss.cross_entropy)(images[train] @ w, digits[train])
    p = tinyloss.softmax(images[train] @ w_double)
    g_double = softmax_backward(p, tinyloss.grad(tinyloss.cross_entropy)(p, digits[train]))
    if step in (5, 20, 50, 100):
        print(f"step {step:3}: {accuracy(w):.1%} right; softmax first {accuracy(w_double):.1%}")
    w -= 0.5 * images[train].T @ g
    w_double -= 0.5 * images[train].T @ g_double

# %%
# It learns, only more slowly, so the bug may live for years. Where a network gives probabilities,
# say so: ``cross_entropy(p, y, from_logits=False)``.
#
# **Question.** What is the loss of a network that knows nothing, with 10 classes? With 50,000
# tokens?
#
# .. dropdown:: Answer
#
#    All logits are equal, so that the loss is log C: 2.303 and 10.82. A first loss far above that
#    says that the network starts surely wrong.

print(tinyloss.cross_entropy(np.zeros((1, 10)), [3]), np.log(10))
