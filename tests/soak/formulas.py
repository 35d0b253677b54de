"""The losses as textbooks have them, in extended precision, for `tests.soak.differential`.

Nothing here is shared with the library or with the golden values. Each formula returns `Part`s: the
exact numbers, and the sizes that errors are measured by. A size is the magnitude of the result, or
the sum of the magnitudes of its terms where terms of opposite sign meet.

Long double has 64 bits of mantissa and exponents to 10^4932. So float32 needs no care here, squares
and exponentials of float64 do not overflow, and 11 bits are left for its rounding. Where a textbook
form loses more than these, the form here is another one, and says so.
"""

from collections.abc import Callable

import numpy as np

from tests.soak import elements, rows
from tests.soak.parts import Array, L, Part, Parts, plain

__all__ = ["ACTIVATIONS", "BINARY", "LOSSES", "ROWWISE", "SIGNED", "L", "Part"]

LOSSES: dict[str, Callable[..., Parts]] = {
    function.__name__: function
    for function in (
        elements.mse,
        elements.mae,
        elements.huber,
        elements.smooth_l1,
        elements.log_cosh,
        elements.quantile,
        elements.msle,
        elements.mape,
        elements.poisson_nll,
        elements.gaussian_nll,
        elements.binary_cross_entropy,
        elements.binary_cross_entropy_with_logits,
        elements.sigmoid_focal,
        elements.hinge,
        elements.squared_hinge,
        elements.soft_margin,
        rows.cross_entropy,
        rows.nll,
        rows.softmax_focal,
        rows.kl_div,
        rows.kl_div_with_logits,
        rows.js_div,
    )
}

ROWWISE = frozenset(name for name, each in LOSSES.items() if each.__module__ == rows.__name__)
BINARY = frozenset({"binary_cross_entropy", "binary_cross_entropy_with_logits", "sigmoid_focal"})
SIGNED = frozenset({"hinge", "squared_hinge", "soft_margin"})

ACTIVATIONS: dict[str, Callable[[Array], Part]] = {
    "log_softmax": lambda x: plain(rows.distribution(x)[0]),
    "softmax": lambda x: plain(rows.distribution(x)[1]),
    "logsumexp": rows.logsumexp,
    "softplus": lambda x: plain(np.logaddexp(L(0), x)),
    "log_sigmoid": lambda x: plain(-np.logaddexp(L(0), -x)),
}
