"""
10. Imbalance, noise, outliers
==============================

*25 minutes, advanced. You need: lessons 3 and 9.*

Real targets are rare, wrong or far off. Each has its remedy, and each remedy its price.
"""

import numpy as np

import tinyloss
from tinyloss import pictures

rng = np.random.default_rng(0)


def fit(x, loss, y, steps=400, rate=0.5):
    """Return the weights of a linear model, by gradient descent."""
    w = np.zeros(x.shape[1])
    for _ in range(steps):
        w -= rate * (x.T @ loss.grad(x @ w, y))
    return w


# %%
# Rare classes
# ------------
#
# One of 20 is a yes, and both overlap. Without weights the model says no nearly always, and is
# right 95 % of the time.

n = 4000
rare = rng.random(n) < 0.05
x = np.stack([rng.standard_normal(n) + 1.5 * rare, np.ones(n)], axis=1)


def report(name, yes):
    found, left = yes[rare].mean(), (~yes[~rare]).mean()
    print(f"{name:14} finds {found:4.0%} of the rare, {left:4.0%} of the others")


for name, loss in {
    "plain": tinyloss.BCEWithLogitsLoss(),
    "pos_weight=19": tinyloss.BCEWithLogitsLoss(pos_weight=19.0),
    "focal": tinyloss.SigmoidFocalLoss(),
}.items():
    report(name, x @ fit(x, loss, rare) > 0)

# %%
# The focal loss changes nothing here. It helps where most of the others are far from the border.
# The price of weights: the outputs are no longer the probabilities of the data. A threshold other
# than 0 on the plain model does the same without that.

w = fit(x, tinyloss.BCEWithLogitsLoss(), rare)
report("plain, moved", x @ w > np.log(0.05 / 0.95))

# %%
# Wrong labels
# ------------
#
# Some labels are wrong, and a model that is sure of everything is sure of these, too. Label
# smoothing asks for a share 1 − s instead of 1, so that no logit grows for ever:

sure = np.array([[10.0, 0.0, 0.0]])
for s in (0.0, 0.1):
    loss = tinyloss.CrossEntropyLoss(label_smoothing=s)
    right, g = loss.value_and_grad(sure, [0])
    print(f"smoothing {s}: loss {right:.4f}, gradient of the right class {g[0, 0]:+.4f}")

# %%
# With smoothing, a lead of 10 is *too much*: the gradient is positive and pulls back.
#
# Outliers
# --------
#
# A line through 100 points, of which 5 are far off:

a = np.stack([rng.uniform(-1, 1, 100), np.ones(100)], axis=1)
b = a @ [2.0, 1.0] + 0.1 * rng.standard_normal(100)
b[:5] += 30
for loss in (
    tinyloss.MSELoss(),
    tinyloss.MAELoss(),
    tinyloss.HuberLoss(delta=0.3),
    tinyloss.LogCoshLoss(),
):
    w = fit(a, loss, b, steps=3000, rate=0.1)
    print(f"{loss!s:22} {w.round(2)} instead of [2, 1]")

# %%
# Bounds
# ------
#
# Two quantiles are an interval. Where noise grows with x, so does it:

u = rng.uniform(0, 1, 2000)
noisy = u * rng.standard_normal(2000)
features = np.stack([u, np.ones(2000)], axis=1)
low, high = (
    fit(features, tinyloss.QuantileLoss(q=q), noisy, steps=3000, rate=0.5) for q in (0.05, 0.95)
)
inside = (features @ low < noisy) & (noisy < features @ high)
print(f"{inside.mean():.1%} of the targets inside an interval for 90 %")

# %%
# What they do to one item
# ------------------------

figure = pictures.curves(tinyloss.sigmoid_focal, gamma=[0.0, 1.0, 2.0, 5.0])

# %%
# **Question.** 1 % of your pixels are the object. Class weights, focal loss, or a threshold?
#
# .. dropdown:: Answer
#
#    Try the plain loss with a moved threshold first: it costs nothing, and the outputs stay
#    probabilities. Weights help where the rare class is not learnt at all. Focal loss helps where
#    most of the rest is easy, as in detection.
