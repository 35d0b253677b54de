"""Small arguments of losses for tests of JAX's transformations, and the comparison with NumPy."""

from functools import partial
from typing import Any

import numpy as np
import pytest

import tinyloss
from tests.support.compare import close as compared
from tests.support.libraries import NumPyArray

X = np.array([[0.5, -1.0, 2.0], [1.0, 3.0, -0.5], [-2.0, 0.25, 0.75], [4.0, 0.0, 1.0]])
OTHER = np.array([[0.25, 1.0, -1.0], [2.0, 1.5, 0.5], [-1.0, 0.0, 3.0], [1.0, 2.0, -2.0]])
Y = np.array([0, 2, 1, 1])
SHARES = np.array([[0.2, 0.3, 0.5], [0.1, 0.1, 0.8], [0.6, 0.3, 0.1], [0.25, 0.25, 0.5]])
WEIGHT = np.array([0.5, 2.0, 1.0, 3.0])
CLASS_WEIGHT = np.array([0.5, 1.0, 2.5])

# A loss of elements, of class indices, of rows: what is tried with these alone would take minutes
# of compiling with all.
FEW: dict[str, tuple[Any, NumPyArray, NumPyArray]] = {
    "log_cosh": (tinyloss.log_cosh, X, OTHER),
    "cross_entropy": (tinyloss.cross_entropy, X, Y),
    "kl_div_with_logits": (tinyloss.kl_div_with_logits, X, OTHER),
}
few = pytest.mark.parametrize(("loss", "x", "y"), FEW.values(), ids=FEW)


close = partial(compared, eps=16, why="four functions of 2 eps, and sums in another order")
