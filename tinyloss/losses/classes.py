"""Losses configured once: each class is a function and its parameters, with the same defaults."""

from typing import Any, Unpack

from tinyloss import _check
from tinyloss._objects import Configured, LabelLoss, RowLoss, TargetLoss, asked, called
from tinyloss.losses import binary, divergence, multiclass, regression
from tinyloss.typing import Array, ArrayLike, CallOptions, Reduction

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
    "PoissonNLLLoss",
    "QuantileLoss",
    "SigmoidFocalLoss",
    "SmoothL1Loss",
    "SoftMarginLoss",
    "SoftmaxFocalLoss",
    "SquaredHingeLoss",
]


class MSELoss(TargetLoss):
    function = regression.mse


class MeanSquaredError(MSELoss):
    function = regression.mse


class MAELoss(TargetLoss):
    function = regression.mae


class HuberLoss(TargetLoss):
    function = regression.huber
    delta: float = 1.0


class SmoothL1Loss(TargetLoss):
    function = regression.smooth_l1
    beta: float = 1.0


class LogCoshLoss(TargetLoss):
    function = regression.log_cosh


class QuantileLoss(TargetLoss):
    function = regression.quantile
    q: float = 0.5


class MSLELoss(TargetLoss):
    function = regression.msle


class MAPELoss(TargetLoss):
    function = regression.mape
    eps: float = 2.220446049250313e-16


class PoissonNLLLoss(TargetLoss):
    function = regression.poisson_nll
    log_input: bool = True
    full: bool = False
    eps: float = 1e-8


class CrossEntropyLoss(LabelLoss):
    function = multiclass.cross_entropy
    from_logits: bool = True
    label_smoothing: float = 0.0
    softcap: float | None = None
    temperature: float = 1.0
    z_loss: float = 0.0


class NLLLoss(LabelLoss):
    function = multiclass.nll


class BCELoss(TargetLoss):
    function = binary.binary_cross_entropy
    eps: float | None = None


class BCEWithLogitsLoss(TargetLoss):
    function = binary.binary_cross_entropy_with_logits
    pos_weight: ArrayLike | None = None


class BinaryCrossEntropyLoss(TargetLoss):
    """Binary cross-entropy of logits, or of probabilities with from_logits=False.

    `tinyloss.binary_cross_entropy_with_logits` or `tinyloss.binary_cross_entropy`.

    Examples
    --------
    >>> import tinyloss
    >>> tinyloss.BinaryCrossEntropyLoss(from_logits=False)
    BinaryCrossEntropyLoss(from_logits=False)
    """

    from_logits: bool = True

    def configure(self, parameters: dict[str, Any]) -> None:
        """Choose the function, and set its parameters."""
        name = type(self).__name__
        logits = _check.flag(name, "from_logits", parameters.pop("from_logits"))
        function = (
            binary.binary_cross_entropy_with_logits if logits else binary.binary_cross_entropy
        )
        object.__setattr__(self, "function", function)
        super().configure(parameters)


class SigmoidFocalLoss(TargetLoss):
    function = binary.sigmoid_focal
    alpha: float | None = None
    gamma: float = 2.0


class SoftmaxFocalLoss(LabelLoss):
    function = multiclass.softmax_focal
    gamma: float = 2.0


class HingeLoss(TargetLoss):
    function = binary.hinge


class SquaredHingeLoss(TargetLoss):
    function = binary.squared_hinge


class SoftMarginLoss(TargetLoss):
    function = binary.soft_margin


class KLDivLoss(RowLoss):
    function = divergence.kl_div
    log_target: bool = False


class KLDivWithLogitsLoss(RowLoss):
    function = divergence.kl_div_with_logits


class JSDivLoss(RowLoss):
    function = divergence.js_div


class GaussianNLLLoss(Configured):
    function = regression.gaussian_nll
    full: bool = False
    eps: float = 1e-6
    reduction: Reduction = "mean"

    @called
    def __call__(
        self, x: Array, y: ArrayLike, var: ArrayLike, **options: Unpack[CallOptions]
    ) -> Any:
        """Return the loss."""

    ask = asked(__call__)
