"""
7. Mixed precision
==================

*15 minutes, advanced. You need: lesson 6.*

float16 halves memory and time. It has a largest number, 65504, and a smallest, 6e-8. Gradients fall
below that.
"""

import numpy as np

import tinyloss
from tinyloss import pictures

# %%
# What is lost
# ------------
#
# 65,536 items of 10 classes, by a model that has learnt something. The mean divides each gradient
# by 65,536.

rng = np.random.default_rng(0)
labels = rng.integers(0, 10, 65536)
logits = (2 * rng.standard_normal((65536, 10)) + 6 * np.eye(10)[labels]).astype(np.float16)


def lost(gradient):
    return f"{(gradient == 0).mean():.1%} of the gradient is 0"


print(lost(tinyloss.grad(tinyloss.cross_entropy)(logits, labels)))

# %%
# Loss scaling
# ------------
#
# A factor on the loss lifts all gradients into the range. It must act *before* they are rounded to
# float16. tinyloss multiplies it in while it computes in float32, then rounds once. The optimizer
# divides by it in float32.

scaled = 1024 * tinyloss.CrossEntropyLoss()
print(lost(scaled.grad(logits, labels)))

too_late = 1024 * tinyloss.grad(tinyloss.cross_entropy)(logits, labels)
print(lost(too_late), "where the factor comes after")

# %%
# The same on digits, late in training, when most gradients are small:

figure = pictures.scale()

# %%
# bfloat16
# --------
#
# bfloat16 has the range of float32 and 8 bits. Nothing becomes 0, no scaling is needed, and each
# number has only two or three digits.

import ml_dtypes

short = logits.astype(ml_dtypes.bfloat16)
loss, gradient = tinyloss.value_and_grad(tinyloss.cross_entropy)(short, labels)
print(lost(gradient), gradient.dtype, loss.dtype)

# %%
# The loss is float32 in both cases: a loss in 8 bits is hard to watch, and a sum of many in 16 bits
# stops growing.

ones = np.ones(70000, dtype=np.float16)
with np.errstate(over="ignore"):
    print("a sum in float16:", np.add.reduce(ones, dtype=np.float16))
print("tinyloss:        ", tinyloss.mse(ones, np.zeros_like(ones), reduction="sum"))

# %%
# **Question.** Why not a factor of 2^30, to be safe?
#
# .. dropdown:: Answer
#
#    The largest gradient overflows to infinity. Scalers try a large factor, and halve it when they
#    see infinity.

print((2.0**30 * tinyloss.CrossEntropyLoss()).grad(logits, labels).max())
