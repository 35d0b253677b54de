"""
4. Why log-sum-exp, and why it is not enough
============================================

*20 minutes, medium. You need: lesson 3.*

The textbook's cross-entropy fails for large logits. The usual remedy, log-sum-exp, repairs that,
and loses something else.
"""

import numpy as np

import tinyloss
from tinyloss import pictures

# %%
# What goes wrong
# ---------------


def naive(logits, label):
    exponentials = np.exp(logits)
    return -np.log(exponentials / exponentials.sum())[label]


with np.errstate(all="ignore"):
    for gap in (10.0, 100.0, 1000.0):
        row = np.array([gap, 0.0])
        print(f"gap {gap:6}: right {naive(row, 0):.3g}, wrong {naive(row, 1):.3g}")

# %%
# exp(1000) is infinite, and infinity divided by infinity is NaN. One NaN in a batch makes the mean
# NaN, then all weights: the training is over.
#
# Log-sum-exp
# -----------
#
# Only differences of logits count, so subtract the largest first. No exponential is above 1 then.


def log_sum_exp(logits, label):
    largest = logits.max()
    return largest + np.log(np.exp(logits - largest).sum()) - logits[label]


for gap in (10.0, 100.0, 1000.0):
    row = np.array([gap, 0.0])
    print(f"gap {gap:6}: right {log_sum_exp(row, 0):.3g}, wrong {log_sum_exp(row, 1):.3g}")

# %%
# Nothing is infinite, and the wrong class costs 1000. But the right one costs 0, and that is *not
# exact*: the loss of a gap of 100 is 3.7e-44.
#
# Why it is not enough
# --------------------
#
# With a gap of 20 the sum is 1 + 2e-9. In float32 the next number after 1 is 1.00000012, so the sum
# is 1, and its logarithm is 0. tinyloss leaves the 1 out: it adds up the *other* exponentials and
# takes log1p of that.

row = np.array([[20.0, 0.0]], dtype=np.float32)
print(f"log-sum-exp: {log_sum_exp(row[0], 0):.3e}")
print(f"tinyloss:    {tinyloss.cross_entropy(row, [0]):.3e}")
print(f"float64:     {np.log1p(np.exp(-20.0)):.3e}")

# %%
# The gradient tells the same. p − 1 is 0 where p is rounded to 1, while the other class still has
# its 2e-9. The row no longer adds up to 0:

p = np.exp(row - row.max()) / np.exp(row - row.max()).sum()
print("p - q:   ", (p - np.array([[1, 0]], dtype=np.float32))[0])
print("tinyloss:", tinyloss.grad(tinyloss.cross_entropy)(row, [0])[0])

# %%
# All gaps at once
# ----------------

figure = pictures.digits()

# %%
# When do the digits matter?
# --------------------------
#
# Not in a step of training: 2e-9 moves no weight that anyone can see. They matter where losses are
# compared or ranked, where a curvature divides, in float16, and where two programs shall agree. A
# zero that stands for 2e-9 is an absolute error of 2e-9 and a relative error of 100 %.

scores = np.array([[18.0, 0.0], [25.0, 0.0], [21.0, 0.0]], dtype=np.float32)
usual = np.array([log_sum_exp(each, 0) for each in scores])
ours = tinyloss.cross_entropy(scores, np.zeros(3, dtype=int), reduction="none")
print("usual:   ", usual, "which is the least sure?")
print("tinyloss:", ours, "item", np.argmax(ours))

# %%
# **Question.** Why log-sum-exp, and what goes wrong without it?
#
# .. dropdown:: Answer
#
#    Without it, exp overflows from a logit of 89 on in float32, and from 11 on in float16: NaN.
#    With it nothing overflows. It still loses every digit of the loss once the gap passes 16 in
#    float32.

for dtype in (np.float16, np.float32, np.float64):
    largest = np.log(float(np.finfo(dtype).max))
    print(f"{np.dtype(dtype).name}: exp overflows above {largest:.1f}")
