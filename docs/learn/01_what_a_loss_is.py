"""
1. What a loss is
=================

*20 minutes, easy. You need: NumPy, and what a derivative is.*

A loss says how wrong a prediction is, in one number: 0 at best. To learn is to make it smaller.
Three things of a loss count: its value, its *gradient* and its *curvature*.
"""

import numpy as np

import tinyloss
from tinyloss import pictures

prediction = np.array([2.5, 0.0, 2.0, 8.0])
target = np.array([3.0, -0.5, 2.0, 7.0])

print(tinyloss.mse(prediction, target, reduction="none"))
print(tinyloss.mse(prediction, target))

# %%
# The first line is the loss of each item, the squared error. The second is their mean, which is the
# loss of the batch.
#
# The gradient
# ------------
#
# The gradient says how the loss changes when a prediction changes. It has a number for each
# prediction.

gradient = tinyloss.grad(tinyloss.mse)(prediction, target)
print(gradient)

# %%
# The first is negative: the first prediction is too small, and the loss falls when it grows. The
# third is 0: nothing is to do. A step *against* the gradient makes the loss smaller:

step = prediction - 0.5 * gradient
print(f"{tinyloss.mse(prediction, target):.4f} before, {tinyloss.mse(step, target):.4f} after")

# %%
# Is the gradient right? A finite difference asks the loss itself:

small = 1e-6 * np.eye(4)
slopes = [
    (tinyloss.mse(prediction + d, target) - tinyloss.mse(prediction - d, target)) / 2e-6
    for d in small
]
print(f"largest difference {np.abs(gradient - slopes).max():.0e}")

# %%
# Three losses for numbers
# ------------------------
#
# They differ in what a large error does.

figure = pictures.curves(tinyloss.mse, tinyloss.mae, tinyloss.huber)

# %%
# A notebook shows ``figure``. A script writes it: ``pictures.save(figure, "curves.png")``.
#
# - The squared error pulls harder the larger the error. One outlier outweighs many good points.
# - The absolute error pulls with the same force always, so it does not settle near the target.
# - Huber's loss is the first near the target and the second far away.

errors = np.array([100.0, 0.1])
for loss in (tinyloss.mse, tinyloss.mae, tinyloss.huber):
    print(f"{loss.__name__:6}", tinyloss.grad(loss)(errors, np.zeros(2), reduction="sum"))

# %%
# The curvature
# -------------
#
# The curvature is the derivative of the gradient. Where it is large, long steps overshoot. Where it
# is never below 0, the loss is *convex*: there is one lowest place and no trap.

g, h = tinyloss.grad_and_hess(tinyloss.huber)(errors, np.zeros(2))
print("curvature of Huber's loss:", h)

# %%
# **Question.** Nine of ten deliveries shall be faster than you say. Which loss do you train with?
#
# .. dropdown:: Answer
#
#    ``quantile`` with ``q=0.9``. Its gradient is −0.9 where the prediction is too small and 0.1
#    where it is too large. They balance where nine targets of ten are below.

figure = pictures.curves(tinyloss.quantile, q=[0.1, 0.5, 0.9])
