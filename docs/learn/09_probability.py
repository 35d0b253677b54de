"""
9. Losses and probability
=========================

*20 minutes, advanced. You need: lesson 3, densities.*

Where do losses come from? Say how targets scatter around predictions. The loss is −log of the
probability of what was seen. To make it smallest is to make the data most likely: *maximum
likelihood*.
"""

import numpy as np
from scipy import stats

import tinyloss
from tinyloss import pictures

rng = np.random.default_rng(0)

# %%
# Classes
# -------
#
# A network says p for each class. The probability of all labels is the product of the p of the
# right classes. −log makes a sum of it, which is the cross-entropy:

logits, labels = rng.standard_normal((6, 4)), rng.integers(0, 4, 6)
p = tinyloss.softmax(logits)
print(-np.log(np.prod(p[np.arange(6), labels])))
print(tinyloss.cross_entropy(logits, labels, reduction="sum"))

# %%
# Numbers with Gaussian noise
# ---------------------------
#
# If all have one variance, the squared error is what is left; the constant does not move the best
# weights.

x, y = rng.standard_normal(6), rng.standard_normal(6)
print(-stats.norm(x, 1).logpdf(y).sum())
print(tinyloss.mse(x, y, reduction="sum") / 2 + 6 * np.log(2 * np.pi) / 2)
print(tinyloss.gaussian_nll(x, y, np.ones(6), full=True, reduction="sum"))

# %%
# If the variance is predicted, too, it cannot be left out. A model that is unsure may say so, at
# the price of log v.

for variance in (0.25, 1.0, 4.0):
    v = np.full(6, variance)
    print(f"variance {variance}: {tinyloss.gaussian_nll(x, y, v, full=True):.4f}")
print(f"mean squared error, the best variance: {tinyloss.mse(x, y):.3f}")

# %%
# Other noises, other losses
# --------------------------

print("Laplace:", -stats.laplace(x, 1).logpdf(y).sum() - 6 * np.log(2))
print("mae:    ", tinyloss.mae(x, y, reduction="sum"))

rate, count = np.exp(x), rng.poisson(np.exp(x))
print("Poisson:    ", -stats.poisson(rate).logpmf(count).sum())
constant = stats.poisson(1).logpmf(count).sum() + 6  # -log(count!)
print("poisson_nll:", tinyloss.poisson_nll(x, count, reduction="sum") - constant)

figure = pictures.curves(tinyloss.gaussian_nll, tinyloss.mae)

# %%
# ========================  ===========================  =========================
# targets scatter by        loss                         the best constant
# ========================  ===========================  =========================
# Gauss, one variance       ``mse``                      mean
# Gauss, its own variance   ``gaussian_nll``             weighted mean
# Laplace                   ``mae``                      median
# Poisson                   ``poisson_nll``              log of the mean
# Bernoulli                 ``binary_cross_entropy...``  log odds of the share
# categorical               ``cross_entropy``            logs of the shares
# ========================  ===========================  =========================
#
# The best constant of cross-entropy, found by descent, against the shares that were counted:

labels = np.array([0, 0, 0, 1, 1, 2])
z = np.zeros(3)
for _ in range(2000):
    z -= tinyloss.grad(tinyloss.cross_entropy)(np.tile(z, (6, 1)), labels).sum(axis=0)
print(tinyloss.softmax(z).round(6), np.bincount(labels) / 6)

# %%
# **Question.** What has cross-entropy to do with maximum likelihood?
#
# .. dropdown:: Answer
#
#    They are the same, up to the sign and the number of items: the cross-entropy of a batch is
#    −log of the probability that the model gives to its labels, divided by their number. The
#    smallest one is at the most likely weights.
