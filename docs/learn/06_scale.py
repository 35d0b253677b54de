"""
6. The scale of a loss
======================

*15 minutes, medium. You need: lesson 2.*

What happens to gradients and to learning if the loss is multiplied by 100?
"""

import numpy as np

import tinyloss
from tinyloss import pictures

x, y = np.array([1.0, 2.0]), np.array([0.0, 0.0])
print(tinyloss.MSELoss().grad(x, y), (100 * tinyloss.MSELoss()).grad(x, y))

# %%
# The gradient is 100 times as large, exactly. The lowest place is where it was.
#
# A factor is a learning rate
# ---------------------------
#
# A step is rate times gradient. So a factor of 100 on the loss is a factor of 100 on the rate.
# Divide the rate by 100, and every step is the same:


def descend(loss, rate, steps=20):
    rng = np.random.default_rng(0)
    a = rng.standard_normal((50, 3))
    b = a @ [1.0, -2.0, 0.5]
    w = np.zeros(3)
    for _ in range(steps):
        w = w - rate * (a.T @ loss.grad(a @ w, b))
    return w


plain = descend(tinyloss.MSELoss(), 0.1)
scaled = descend(100 * tinyloss.MSELoss(), 0.1 / 100)
print(plain, f"largest difference {np.abs(plain - scaled).max():.0e}")

with np.errstate(all="ignore"):
    print("factor 100, the same rate:", descend(100 * tinyloss.MSELoss(), 0.1))

# %%
# Adam divides by the size of the gradient, so a factor cancels. On the handwritten digits:

figure = pictures.rate()

# %%
# Where the scale comes from without a factor
# -------------------------------------------
#
# ``reduction="sum"`` is n times the mean. A batch twice as large then doubles the rate. A mean over
# pixels is smaller than a mean over images of the sum over pixels. When you move a model from one
# library to another, compare the first gradient, not only the loss.

big = np.ones(1000)
for reduction in ("mean", "sum"):
    print(reduction, tinyloss.grad(tinyloss.mse)(big, 0 * big, reduction=reduction)[0])

# %%
# Several losses
# --------------
#
# In a sum the largest gradient wins. Factors set the balance:

both = tinyloss.MSELoss() + 0.01 * tinyloss.MAELoss()
print(both, both.grad(np.array([3.0]), [0.0]))

# %%
# **Question.** The loss is multiplied by 100. What happens to the gradients, and to learning?
#
# .. dropdown:: Answer
#
#    Gradients are multiplied by 100. Plain gradient descent takes steps 100 times as long, and may
#    diverge; with a hundredth of the rate nothing changes. Adam does not notice, except for its ε,
#    for clipping and for weight decay, which do not scale with the loss.
