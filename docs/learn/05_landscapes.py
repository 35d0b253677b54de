"""
5. Loss landscapes and convexity
================================

*20 minutes, medium. You need: lessons 1 and 3.*

A model with two weights has a loss for each pair of them: a landscape. Gradient descent walks
downhill. What the landscape is like decides whether it arrives.
"""

import numpy as np

import tinyloss
from tinyloss import pictures

# %%
# Three losses of one model, from the same bad start
# ---------------------------------------------------


@tinyloss.loss
def squared_error_of_sigmoid(x, y):
    xp = tinyloss.namespace(x)
    return (1 / (1 + xp.exp(-x)) - y) ** 2


figure = pictures.landscape(
    tinyloss.mse, tinyloss.binary_cross_entropy_with_logits, squared_error_of_sigmoid
)

# %%
# The first two are convex: every way down leads to the one lowest place. The third has a plateau.
# Where the model is surely wrong, the sigmoid is flat, the gradient is nearly 0, and descent does
# not move.
#
# Convexity, measured
# -------------------
#
# A loss is convex where no chord lies below its curve, which is: where its curvature is never below
# 0.

x = np.linspace(-8, 8, 4001)
for loss, y in (
    (tinyloss.mse, 0.0),
    (tinyloss.huber, 0.0),
    (tinyloss.binary_cross_entropy_with_logits, 1.0),
    (squared_error_of_sigmoid, 1.0),
    (tinyloss.sigmoid_focal, 1.0),
):
    _, h = tinyloss.grad_and_hess(loss)(x, np.full_like(x, y))
    print(f"{loss.__name__:33} least curvature {h.min():+.4f}")

# %%
# The focal loss is not convex either, by a little. It is used all the same.

figure = pictures.convex(tinyloss.binary_cross_entropy_with_logits, squared_error_of_sigmoid)

# %%
# Convex in what?
# ---------------
#
# Cross-entropy is convex in the logits. A network's logits are not linear in its weights, so that
# the loss of a deep network is not convex in them, whatever the loss. A convex loss removes one
# cause of trouble, not all.
#
# **Question.** Why does a plateau stop gradient descent, while a valley does not?
#
# .. dropdown:: Answer
#
#    A step is the rate times the gradient. On a plateau the gradient is nearly 0 *everywhere
#    around*, so that the steps are, too. In a valley it is 0 at the bottom alone.

far = np.array([-10.0])
for loss in (tinyloss.binary_cross_entropy_with_logits, squared_error_of_sigmoid):
    slope = tinyloss.grad(loss)(far, [1.0])[0]
    print(f"{loss.__name__:33} gradient at a logit of -10: {slope:.1e}")
