"""
8. The right loss and the wrong one
===================================

*20 minutes, medium. You need: lessons 3 and 5.*

Why squared error for numbers and cross-entropy for classes? And what breaks with the wrong one?
"""

import textwrap

import numpy as np

import tinyloss
from tinyloss import pictures

# %%
# Classes by squared error
# ------------------------
#
# One may compare probabilities with one-hot targets by their squared error. It learns from a good
# start. Where the network is surely wrong, its gradient vanishes, while that of the cross-entropy
# is −1:

figure = pictures.wrong()

# %%
# Numbers by classes
# ------------------
#
# One may cut a range of numbers into 10 classes and train with cross-entropy. The loss then knows
# no order: being off by one class costs as much as being off by nine.

near, far = np.array([[0.0, 4.0, 0.0, 0.0]]), np.array([[0.0, 0.0, 0.0, 4.0]])
print(tinyloss.cross_entropy(near, [0]), tinyloss.cross_entropy(far, [0]))
print(tinyloss.mse(np.array([1.0]), [0.0]), tinyloss.mse(np.array([3.0]), [0.0]))

# %%
# Which constant is best?
# -----------------------
#
# The loss decides what the model aims at. The best constant for squared error is the mean, for
# absolute error the median, for the quantile loss a quantile:

targets = np.array([1.0, 2.0, 3.0, 4.0, 100.0])
candidates = np.linspace(0, 110, 1101)[:, None]


def best(loss):
    losses = [loss(np.repeat(x, 5), targets) for x in candidates]
    return candidates[np.argmin(losses)].item()


print(f"mse {best(tinyloss.MSELoss()):.1f}, the mean is {targets.mean():.1f}")
print(f"mae {best(tinyloss.MAELoss()):.1f}, the median is {np.median(targets):.1f}")
print(f"quantile {best(tinyloss.QuantileLoss(q=0.75)):.1f}, {np.quantile(targets, 0.75):.1f}")

# %%
# Errors that say nothing
# -----------------------
#
# What is impossible is an error here. What is only unwise is not:

wrong = [
    ("class indices as floats", tinyloss.cross_entropy, np.zeros((2, 3)), np.array([0.5, 1.0])),
    ("a column beside a row", tinyloss.mse, np.zeros(3), np.zeros((3, 1))),
    ("a mask of 0 and 255", tinyloss.sigmoid_focal, np.zeros(2), np.array([0, 255])),
    ("0 and 1 for a hinge", tinyloss.hinge, np.ones(2), np.array([0, 1])),
]
for name, loss, x, y in wrong:
    try:
        loss(x, y)
    except (TypeError, ValueError) as error:
        print(textwrap.fill(f"{name}: {error}", 84, subsequent_indent="  "))

# %%
# **Question.** You train with the wrong loss. What breaks?
#
# .. dropdown:: Answer
#
#    Often nothing that is seen at once: the loss falls, only the aim is another (the mean instead
#    of the median), the way is slower (flat places), or the numbers mean nothing as probabilities.
#    From a bad start it may not learn at all: in the picture above the squared error stays where it
#    began.
