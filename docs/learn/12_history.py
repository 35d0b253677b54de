"""
12. A short history
===================

*10 minutes, easy.*

Losses are older than computers. Most were found by people who measured stars, risks or signals.

1774, Laplace
    The curve of errors that makes the *median* best: the absolute error, by −log of what is now
    called Laplace's distribution. *Mémoire sur la probabilité des causes par les événements*.
1805, Legendre
    *Least squares*, in an appendix on the orbits of comets. Not Gauss, who published in 1809 and
    1823 and said that he had used it since 1795; he derived it from the normal distribution.
1922, Fisher
    *Maximum likelihood* gets its name and its theory: −log of a probability is a loss.
1948, Shannon
    Entropy measures information in bits. 1951, Kullback and Leibler: the divergence of two
    distributions.
1958, Cox
    Logistic regression of binary sequences: the binary cross-entropy of a linear model.
1964, Huber
    Squared near the centre, linear in the tails: robust estimation begins.
1978, Koenker and Bassett
    The pinball loss: regression quantiles.
1989, Bridle
    *Softmax* gets its name, with the cross-entropy as its loss (in print in 1990).
1995, Cortes and Vapnik
    The hinge, in support vector networks.
2012, Krizhevsky, Sutskever, Hinton
    A deep network wins the ImageNet challenge. It is trained with the cross-entropy of 1000
    classes.
2016, Szegedy and others
    Label smoothing, on a page of a paper about architecture.
2017, Lin and others
    The focal loss, for detectors whose background is almost everything.

Each loss names its source in the :doc:`reference </reference/losses>`.
"""

import numpy as np

import tinyloss
from tinyloss import pictures

# %%
# What they argued about
# ----------------------
#
# Six measurements of one angle, one of them a slip of the pen. Legendre's method and Laplace's:

seconds = np.array([10.2, 10.5, 9.8, 10.1, 10.4, 14.0])
candidates = np.linspace(9, 15, 6001)
methods = [("Laplace", tinyloss.mae), ("Legendre", tinyloss.mse), ("Huber", tinyloss.huber)]
for name, loss in methods:
    table = loss(
        np.tile(candidates[:, None], 6), np.tile(seconds, (6001, 1)), reduction="none"
    ).mean(axis=1)
    lowest = candidates[np.isclose(table, table.min(), rtol=1e-9, atol=0)]
    print(f"{name:9} {lowest.mean():.2f}")

# %%
# All of them today
# -----------------

figure = pictures.zoo()
