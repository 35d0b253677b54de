"""What tests know of each loss besides its code: one record a loss."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tinyloss
from tests.support import bounds, inputs, row_inputs, rows
from tests.support import definitions as of
from tests.support.bounds import Bound
from tests.support.calls import (
    BINARY,
    LABELS,
    PER_CLASS,
    POSITIVE,
    PROBABILITY,
    REAL,
    SCORES,
    SOFT,
    Call,
    call,
    indices,
    log_shares,
    logits,
    shares,
    values,
)
from tests.support.definitions import Exact, function, plain, pointwise, rowwise
from tests.support.draws import Families
from tests.support.inputs import REGRESSION, but, varied
from tinyloss._function import LossFunction
from tinyloss._products import ProductFunction

__all__ = [
    "ACTIVATIONS",
    "BOUNDS",
    "CLASSES",
    "EXACT",
    "LOSSES",
    "PRODUCTS",
    "PUBLIC",
    "SPECS",
    "Spec",
]


@dataclass(frozen=True)
class Spec:
    """A loss, or an activation, as tests see it."""

    function: Any
    definition: Exact
    """The textbook's, by mpmath."""
    bound: Bound
    """How far off its results may be."""
    inputs: Families
    """Inputs from ordinary to extreme, by name."""
    calls: Sequence[Call] = ()
    """Ordinary calls, which run on every library."""
    gist: str = ""
    """The loss of an item, as the documentation's tables have it."""

    @property
    def name(self) -> str:
        return str(self.function.__name__)


def _records() -> list[Spec]:
    t = tinyloss
    return [
        Spec(
            t.mse,
            pointwise(of.mse),
            Bound(2, 1, 0),
            REGRESSION,
            [call(*REAL)],
            "(x - y)²",
        ),
        Spec(
            t.mae,
            pointwise(of.mae),
            Bound(0.5, 0, 0),
            REGRESSION,
            [call(*REAL)],
            r"\|x - y\|",
        ),
        Spec(
            t.huber,
            pointwise(of.huber, kink=of.kink_of_huber),
            Bound(2, 1, 0),
            {
                **REGRESSION,
                **varied(REGRESSION, ("normal", "small", "scale_100"), delta=0.125),
                **varied(REGRESSION, ("scale_100", "offset"), delta=30.0),
                **varied(REGRESSION, ("normal",), delta=0.3),
                **varied(REGRESSION, ("normal", "equal", "near_max"), delta=1e-50),
                **varied(REGRESSION, ("normal", "equal", "near_max"), delta=1e300),
            },
            [call(*REAL), call(*REAL, delta=0.3)],
            "(x - y)² / 2 up to `delta`, then linear",
        ),
        Spec(
            t.smooth_l1,
            pointwise(of.smooth_l1, kink=of.kink_of_smooth_l1),
            Bound(3, 2, 1),
            {
                **REGRESSION,
                **varied(REGRESSION, ("normal", "small", "scale_100"), beta=0.125),
                **varied(REGRESSION, ("normal", "scale_10"), beta=3.0),
                **varied(REGRESSION, ("normal", "equal", "near_max"), beta=1e-50),
                **varied(REGRESSION, ("normal", "equal", "near_max"), beta=1e300),
            },
            [call(*REAL, beta=0.7), call(*REAL, beta=0)],
            "Huber divided by `beta`",
        ),
        Spec(
            t.log_cosh,
            pointwise(of.log_cosh),
            Bound(8, 4, 8, scale=bounds.log_cosh),
            REGRESSION,
            [call(*REAL)],
            "log cosh(x - y)",
        ),
        Spec(
            t.quantile,
            pointwise(of.quantile),
            Bound(2, 1, 0),
            {
                # A difference beyond the largest number is infinite, whatever multiplies it after.
                **but("difference_overflows"),
                **varied(REGRESSION, ("normal", "close", "equal", "big", "near_max"), q=0.875),
                **varied(REGRESSION, ("normal",), q=0.9),
                **varied(REGRESSION, ("normal",), q=0.01),
                **varied(REGRESSION, ("normal", "near_max"), q=1e-50),
            },
            [call(*REAL, q=0.9)],
            "q (y - x) or (1 - q) (x - y), whichever is above 0",
        ),
        Spec(
            t.msle,
            pointwise(of.msle),
            Bound(8, 4, 8, scale=bounds.msle),
            inputs.MSLE,
            [call(*POSITIVE)],
            "(log(1 + x) - log(1 + y))²",
        ),
        Spec(
            t.mape,
            pointwise(of.mape),
            Bound(4, 4, 0, scale=bounds.mape),
            inputs.MAPE,
            [call(*REAL)],
            r"\|x - y\| / \|y\|",
        ),
        Spec(
            t.poisson_nll,
            pointwise(of.poisson_nll),
            Bound(4, 2, 4, of={"y": 4}, scale=bounds.poisson_nll),
            inputs.POISSON,
            [
                call(logits(), values(0, 5)),
                call(values(0.5, 5), values(0, 5), log_input=False, full=True),
            ],
            "exp(x) - y x",
        ),
        Spec(
            t.gaussian_nll,
            pointwise(of.gaussian_nll, gradients=("x", "y", "var")),
            Bound(4, 1, 1, of={"var": 4}, scale=bounds.gaussian_nll),
            inputs.GAUSSIAN,
            [call(*REAL, values(0.5, 2)), call(*REAL, values(0.5, 2), full=True)],
            "(log v + (x - y)² / v) / 2",
        ),
        Spec(
            t.binary_cross_entropy,
            pointwise(of.binary_cross_entropy),
            Bound(4, 4, 4, scale=bounds.binary_cross_entropy),
            inputs.BCE,
            [call(*PROBABILITY), call(*PROBABILITY, eps=1e-7)],
            "-y log x - (1 - y) log(1 - x)",
        ),
        Spec(
            t.binary_cross_entropy_with_logits,
            pointwise(of.binary_cross_entropy_with_logits, limit=of.bce_logits_limit),
            Bound(4, 4, 6, scale=bounds.binary_cross_entropy_with_logits),
            inputs.BCE_LOGITS,
            [call(*BINARY), call(*BINARY, pos_weight=PER_CLASS)],
            "log(1 + exp(x)) - y x",
        ),
        Spec(
            t.sigmoid_focal,
            pointwise(of.sigmoid_focal, limit=of.sigmoid_focal_limit),
            Bound(4, 4, 8, per_gamma=2, underflow=1024, scale=bounds.sigmoid_focal),
            inputs.FOCAL,
            [call(*BINARY), call(*BINARY, alpha=0.25, gamma=1.5)],
            "(1 - p)^γ (-log p), p the probability of the target",
        ),
        Spec(
            t.hinge,
            pointwise(of.hinge),
            Bound(1, 0, 0),
            inputs.HINGE,
            [call(*SCORES)],
            "max(0, 1 - y x)",
        ),
        Spec(
            t.squared_hinge,
            pointwise(of.squared_hinge),
            Bound(2, 2, 0),
            inputs.HINGE,
            [call(*SCORES)],
            "max(0, 1 - y x)²",
        ),
        Spec(
            t.soft_margin,
            pointwise(of.soft_margin, limit=of.soft_margin_limit),
            Bound(4, 4, 6, underflow=1024),
            inputs.SOFT_MARGIN,
            [call(*SCORES)],
            "log(1 + exp(-y x))",
        ),
        Spec(
            t.cross_entropy,
            rowwise(rows.cross_entropy, "x", "y"),
            Bound(4, 4, 8, scale=bounds.cross_entropy),
            row_inputs.CROSS_ENTROPY,
            [
                call(*LABELS),
                call(*LABELS, class_weight=PER_CLASS),
                call(*LABELS, label_smoothing=0.1),
                call(*LABELS, label_smoothing=0.1, class_weight=PER_CLASS, ignore_index=1),
                call(logits(2, 3, 2, 2), indices(2, 2, 2), axis=1),
                call(logits(3, 4), indices(4), axis=0, ignore_index=0),
                call(*SOFT),
                call(*SOFT, label_smoothing=0.1, class_weight=PER_CLASS),
                call(logits(2, 3, 2, 2), shares(2, 3, 2, 2, axis=1), axis=1),
                call(*LABELS, z_loss=0.125, softcap=5.0, class_weight=PER_CLASS),
                call(*SOFT, temperature=0.5, z_loss=0.125, label_smoothing=0.1),
                call(shares(), indices(), from_logits=False),
                call(
                    *(shares(), shares()),
                    from_logits=False,
                    label_smoothing=0.1,
                    class_weight=PER_CLASS,
                ),
            ],
            "-log softmax(x) at the class; of soft targets Σ y (-log softmax(x))",
        ),
        Spec(
            t.softmax_focal,
            rowwise(rows.softmax_focal, "x", "y"),
            # A power gamma + 1 of 1 - p, which is within softmax's 4 eps.
            Bound(4, 4, 8, per_gamma=4, underflow=1024, scale=bounds.softmax_focal),
            row_inputs.SOFTMAX_FOCAL,
            [
                call(*LABELS),
                call(*LABELS, gamma=0.5, class_weight=PER_CLASS),
                call(*SOFT, class_weight=PER_CLASS),
            ],
            "(1 - p)^γ (-log p)",
        ),
        Spec(
            t.nll,
            rowwise(rows.nll, "x"),
            Bound(0.5, 0, 0),
            row_inputs.NLL,
            [call(log_shares, indices(), class_weight=PER_CLASS, ignore_index=0)],
            "-x of the class, x log-probabilities",
        ),
        Spec(
            t.kl_div,
            rowwise(rows.kl_div, "x", "y"),
            Bound(4, 2, 0, of={"y": 4}, underflow=1024, scale=bounds.kl_div),
            row_inputs.KL,
            [call(log_shares, shares()), call(log_shares, log_shares, log_target=True)],
            "Σ p (log p - x), x log-probabilities",
        ),
        Spec(
            t.kl_div_with_logits,
            rowwise(rows.kl_div_with_logits, "x", "y"),
            Bound(8, 4, 8, of={"y": 16}, underflow=1024, scale=bounds.kl_div_with_logits),
            row_inputs.KL_LOGITS,
            [call(*REAL), call(logits(2, 3, 2), logits(2, 3, 2), axis=-2)],
            "Σ p (log p - log softmax(x)), p = softmax(y)",
        ),
        Spec(
            t.js_div,
            rowwise(rows.js_div, "x", "y"),
            Bound(8, 4, 4),
            row_inputs.JS,
            [call(shares(), shares())],
            "(KL(x, m) + KL(y, m)) / 2, m = (x + y) / 2",
        ),
        # Activations.
        Spec(
            t.log_softmax,
            function(rows.log_softmax, rowwise=True),
            Bound(4, 0),
            row_inputs.FUNCTION_ROWS,
        ),
        Spec(
            t.softmax,
            function(rows.softmax_function, rowwise=True),
            Bound(4, 0),
            row_inputs.FUNCTION_ROWS,
        ),
        Spec(
            t.logsumexp,
            function(rows.logsumexp, rowwise=True),
            Bound(2, 0, scale=bounds.logsumexp),
            row_inputs.FUNCTION_ROWS,
        ),
        Spec(
            t.softplus,
            function(plain(of.softplus, of.softplus_limit), rowwise=False),
            Bound(4, 0),
            row_inputs.alone(inputs.LOGITS),
        ),
        Spec(
            t.log_sigmoid,
            function(plain(lambda x: -of.softplus(-x), of.log_sigmoid_limit), rowwise=False),
            Bound(4, 0),
            row_inputs.alone(inputs.LOGITS),
        ),
    ]


SPECS: Mapping[str, Spec] = {spec.name: spec for spec in _records()}
EXACT = {name: spec.definition for name, spec in SPECS.items()}
BOUNDS = {name: spec.bound for name, spec in SPECS.items()}
ACTIVATIONS = [spec.function for spec in SPECS.values() if not spec.definition.target]

PUBLIC = [name for name in vars(tinyloss)["__all__"] if name != "__version__"]
LOSSES = [
    name
    for name in PUBLIC
    if isinstance(each := getattr(tinyloss, name), LossFunction)
    and not isinstance(each, ProductFunction)
]
PRODUCTS = [name for name in PUBLIC if isinstance(getattr(tinyloss, name), ProductFunction)]


CLASSES: dict[Any, Any] = {
    each: loss
    for name in PUBLIC
    if inspect.isclass(each := getattr(tinyloss, name))
    and isinstance(loss := getattr(each, "function", None), LossFunction)
}
"""The loss of each class."""
