"""Loss functions for machine learning, on any array, with exact gradients.

Every loss is called with a prediction x and a target y, arrays of any library (NumPy, CuPy, JAX,
torch, Dask, ...), and returns that library's array on the same device:

    loss = tinyloss.cross_entropy(x, y)
    loss, gradient = tinyloss.value_and_grad(tinyloss.cross_entropy)(x, y)

Every loss has four options, all keyword-only:

weight
    The weight of each item; broadcasts to the items. An item is an element, or a row of classes.
where
    Which items to take, booleans that broadcast to the items. An item that is not taken, or has
    weight 0, contributes nothing: its NaN or infinity reaches neither value nor gradient.
reduction
    "mean", the default: sum(weight * loss) / sum(weight); 0 where nothing is taken. "sum":
    sum(weight * loss). "none": weight * loss, item by item.
denominator
    What the mean divides by instead of the sum of weights: a number or 0-d array. For gradients
    accumulated over several batches. For means over data in parts see `partial_mean`.

x and y never broadcast against each other. float16, bfloat16 and float8 are computed in float32:
the loss is float32, the gradient is rounded once to the dtype of its argument.
A parameter counts as 0 or as the nearest normal number of the dtype computed in: eps=1e-50 is
1.2e-38 in float32. A difference that overflows is infinite, whatever it is multiplied with after.
"""

from tinyloss._activations import (
    log_sigmoid,
    log_softmax,
    logsumexp,
    softmax,
    softplus,
)
from tinyloss._arrays import public_namespace as namespace
from tinyloss._classes import (
    BCELoss,
    BCEWithLogitsLoss,
    BinaryCrossEntropyLoss,
    CrossEntropyLoss,
    GaussianNLLLoss,
    HingeLoss,
    HuberLoss,
    JSDivLoss,
    KLDivLoss,
    KLDivWithLogitsLoss,
    LogCoshLoss,
    MAELoss,
    MAPELoss,
    MeanSquaredError,
    MSELoss,
    MSLELoss,
    NLLLoss,
    PoissonNLLLoss,
    QuantileLoss,
    SigmoidFocalLoss,
    SmoothL1Loss,
    SoftMarginLoss,
    SoftmaxFocalLoss,
    SquaredHingeLoss,
    WeightedSum,
)
from tinyloss._classification import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    hinge,
    nll,
    sigmoid_focal,
    soft_margin,
    softmax_focal,
    squared_hinge,
)
from tinyloss._custom import loss
from tinyloss._divergence import (
    js_div,
    kl_div,
    kl_div_with_logits,
)
from tinyloss._engine import validation
from tinyloss._function import (
    grad,
    grad_and_hess,
    source,
    value_and_grad,
)
from tinyloss._partial import PartialMean, partial_mean
from tinyloss._regression import (
    gaussian_nll,
    huber,
    log_cosh,
    mae,
    mape,
    mse,
    msle,
    poisson_nll,
    quantile,
    smooth_l1,
)

__version__ = "0.1.0"

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "BinaryCrossEntropyLoss",
    "CrossEntropyLoss",
    "GaussianNLLLoss",
    "HingeLoss",
    "HuberLoss",
    "JSDivLoss",
    "KLDivLoss",
    "KLDivWithLogitsLoss",
    "LogCoshLoss",
    "MAELoss",
    "MAPELoss",
    "MSELoss",
    "MSLELoss",
    "MeanSquaredError",
    "NLLLoss",
    "PartialMean",
    "PoissonNLLLoss",
    "QuantileLoss",
    "SigmoidFocalLoss",
    "SmoothL1Loss",
    "SoftMarginLoss",
    "SoftmaxFocalLoss",
    "SquaredHingeLoss",
    "WeightedSum",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "gaussian_nll",
    "grad",
    "grad_and_hess",
    "hinge",
    "huber",
    "js_div",
    "kl_div",
    "kl_div_with_logits",
    "log_cosh",
    "log_sigmoid",
    "log_softmax",
    "logsumexp",
    "loss",
    "mae",
    "mape",
    "mse",
    "msle",
    "namespace",
    "nll",
    "partial_mean",
    "poisson_nll",
    "quantile",
    "sigmoid_focal",
    "smooth_l1",
    "soft_margin",
    "softmax",
    "softmax_focal",
    "softplus",
    "source",
    "squared_hinge",
    "validation",
    "value_and_grad",
]
