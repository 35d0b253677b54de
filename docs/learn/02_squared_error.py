"""
2. Squared error, from the definition to a fit
==============================================

*20 minutes, easy. You need: lesson 1.*

You write the squared error, derive its gradient, fit a line with it, and compare it with tinyloss.
On the way: why a mean of means is wrong.
"""

import numpy as np

import tinyloss
from tinyloss import pictures

# %%
# Build
# -----
#
# The mean of (x − y)². Its derivative by one x is 2 (x − y) / n.


def mse(x, y):
    return ((x - y) ** 2).mean()


def mse_gradient(x, y):
    return 2 * (x - y) / x.size


# %%
# Check
# -----

rng = np.random.default_rng(0)
for shape in ((), (3,), (2, 3), (2, 3, 4)):
    x, y = rng.standard_normal(shape), rng.standard_normal(shape)
    value, gradient = tinyloss.value_and_grad(tinyloss.mse)(x, y)
    assert np.isclose(mse(x, y), value)
    assert np.allclose(mse_gradient(x, y), gradient)
    print(f"{shape!s:10} {value:.6f}")

# %%
# On a command line, in a file of your own: ``tinyloss check mine.py:mse --as mse``.
#
# Use
# ---
#
# A line through points: predict, measure, go back by the chain rule, step.

x = rng.uniform(-1, 1, 200)
y = 3 * x - 1 + 0.1 * rng.standard_normal(200)
slope, offset = 0.0, 0.0
for step in range(61):
    loss, g = tinyloss.value_and_grad(tinyloss.mse)(slope * x + offset, y)
    if step % 20 == 0:
        print(f"step {step:2}: loss {loss:.4f}, slope {slope:.3f}, offset {offset:.3f}")
    slope -= 0.5 * (g * x).sum()
    offset -= 0.5 * g.sum()

# %%
# What is left, 0.01, is the noise: its variance is 0.1². Such a descent, over the two weights of
# a line:

figure = pictures.landscape(tinyloss.mse)

# %%
# A common error: means of means
# ------------------------------
#
# A batch of 3 and a batch of 1, with losses 1, 1, 1 and 5.

batches = [np.ones(3), np.array([np.sqrt(5.0)])]
means = [tinyloss.mse(batch, np.zeros(batch.size)) for batch in batches]
print(f"the mean of the means: {np.mean(means):.1f}")

parts = [tinyloss.partial_mean(tinyloss.mse)(batch, np.zeros(batch.size)) for batch in batches]
print(f"the mean:              {sum(parts, tinyloss.PartialMean()).value():.1f}")

# %%
# The last batch of an epoch is often smaller, and masked batches all differ. The mean of the means
# then gives the items of small batches more weight. ``partial_mean`` keeps the two sums, and
# divides once.
#
# Overflow is not infinity
# ------------------------
#
# In float16 the largest number is 65504. The square of an error of 300 is 90000:

error = np.array([300.0], dtype=np.float16)
with np.errstate(over="ignore"):
    print("by hand:", mse(error, np.zeros(1, dtype=np.float16)))
print("tinyloss:", tinyloss.mse(error, np.zeros(1, dtype=np.float16)))

# %%
# **Question.** You double all errors. What happens to the loss, the gradient and the best line?
#
# .. dropdown:: Answer
#
#    The loss is four times as large, the gradient twice. The best line through the doubled targets
#    is the doubled line. One error that is ten times as large as the others counts a hundred times:
#    lesson 10.
