"""What tests know of each loss besides its code, its docstring and its definition."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tinyloss
from tests.support import bounds, inputs, row_inputs
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
    Drawn,
    call,
    indices,
    log_shares,
    logits,
    shares,
    values,
)
from tests.support.definitions import Exact, Item
from tests.support.draws import Families
from tests.support.inputs import REGRESSION, but, varied
from tinyloss._function import LossFunction
from tinyloss.cli.cards import promises
from tinyloss.cli.definitions import DEFINITIONS
from tinyloss.losses import public_losses

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

    name: str
    definition: Exact
    """The textbook's, by mpmath."""
    bound: Bound
    """How far off its results may be."""
    inputs: Families
    """Inputs from ordinary to extreme, by name."""
    calls: Sequence[Call] = ()
    """Ordinary calls, which run on every library."""

    @property
    def function(self) -> Any:
        return getattr(tinyloss, self.name)


def _spec(
    name: str,
    inputs: Families | None = None,
    calls: Sequence[Call] | None = None,
    *,
    limit: Callable[..., Item] | None = None,
    unsettled: Callable[..., dict[str, Any]] | None = None,
    scale: Callable[..., dict[str, Any]] | None = None,
    underflow: float = 0.0,
) -> Spec:
    """Return a record; inputs and calls by default as for all that take the same arguments."""
    record = DEFINITIONS[name]
    families, arrays = KINDS[record.draw]
    if inputs is None:
        some = (next(iter(families)), next(reversed(families)))
        inputs = families | {
            key: family
            for parameter, value in record.tried.items()
            for key, family in varied(families, some, **{parameter: value}).items()
        }
    if calls is None:
        tried = ({}, *({parameter: value} for parameter, value in record.tried.items()))
        calls = [call(*each, **options) for each in arrays for options in tried]
    bound = Bound(promises(name), underflow, scale)
    return Spec(name, Exact(name, limit, unsettled), bound, inputs, calls)


KINDS: Mapping[str, tuple[Families, Sequence[Sequence[Drawn]]]] = {
    "errors": (REGRESSION, [REAL]),
    "positive": (inputs.MSLE, [POSITIVE]),
    "counts": (inputs.POISSON, [(logits(), values(0, 5))]),
    "variances": (inputs.GAUSSIAN, [(*REAL, values(0.5, 2))]),
    "probabilities": (inputs.BCE, [PROBABILITY]),
    "binary logits": (inputs.LOGITS | inputs.SOFT_LOGITS, [BINARY]),
    "near binary logits": (inputs.LOGITS | inputs.SOFT_LOGITS, [BINARY]),
    "scores": (inputs.HINGE, [SCORES]),
    "logits": (row_inputs.LABELLED | row_inputs.SOFT_ROWS, [LABELS, SOFT]),
    "near logits": (row_inputs.LABELLED | row_inputs.SOFT_ROWS, [LABELS, SOFT]),
    "log-probabilities": (row_inputs.NLL, [(log_shares, indices())]),
    "log-probabilities of shares": (row_inputs.KL, [(log_shares, shares())]),
    "two logits": (row_inputs.KL_LOGITS, [REAL]),
    "shares": (row_inputs.JS, [(shares(), shares())]),
    "elements": (row_inputs.alone(inputs.LOGITS), []),
    "rows": (row_inputs.FUNCTION_ROWS, []),
}
"""What definitions are drawn from: extreme inputs, and ordinary ones."""


def _special() -> Iterator[Spec]:
    """Yield the records of losses that need more than what all of their kind do."""
    yield _spec(
        "huber",
        {
            **REGRESSION,
            **varied(REGRESSION, ("normal", "small", "scale_100"), delta=0.125),
            **varied(REGRESSION, ("scale_100", "offset"), delta=30.0),
            **varied(REGRESSION, ("normal",), delta=0.3),
            **varied(REGRESSION, ("normal", "equal", "near_max"), delta=1e-50),
            **varied(REGRESSION, ("normal", "equal", "near_max"), delta=1e300),
        },
        unsettled=of.at_the_step_of_huber,
    )
    yield _spec(
        "smooth_l1",
        {
            **REGRESSION,
            **varied(REGRESSION, ("normal", "small", "scale_100"), beta=0.125),
            **varied(REGRESSION, ("normal", "scale_10"), beta=3.0),
            **varied(REGRESSION, ("normal", "equal", "near_max"), beta=1e-50),
            **varied(REGRESSION, ("normal", "equal", "near_max"), beta=1e300),
        },
        [call(*REAL, beta=0.7), call(*REAL, beta=0)],
        unsettled=of.at_the_step_of_smooth_l1,
    )
    yield _spec("log_cosh", scale=bounds.log_cosh)
    yield _spec(
        "quantile",
        {
            # A difference beyond the largest number is infinite, whatever multiplies it after.
            **but("difference_overflows"),
            **varied(REGRESSION, ("normal", "close", "equal", "big", "near_max"), q=0.875),
            **varied(REGRESSION, ("normal",), q=0.9),
            **varied(REGRESSION, ("normal",), q=0.01),
            **varied(REGRESSION, ("normal", "near_max"), q=1e-50),
        },
        [call(*REAL, q=0.9)],
    )
    yield _spec("msle", scale=bounds.msle)
    yield _spec("mape", inputs.MAPE, [call(*REAL)], scale=bounds.mape)
    rate = call(values(0.5, 5), values(0, 5), log_input=False, full=True)
    yield _spec(
        "poisson_nll",
        inputs.POISSON,
        [call(logits(), values(0, 5)), rate],
        scale=bounds.poisson_nll,
    )
    variance = (*REAL, values(0.5, 2))
    yield _spec(
        "gaussian_nll",
        inputs.GAUSSIAN,
        [call(*variance), call(*variance, full=True)],
        scale=bounds.gaussian_nll,
    )
    yield _spec("binary_cross_entropy", inputs.BCE, scale=bounds.binary_cross_entropy)
    yield _spec(
        "binary_cross_entropy_with_logits",
        inputs.BCE_LOGITS,
        [call(*BINARY), call(*BINARY, pos_weight=PER_CLASS)],
        limit=of.bce_logits_limit,
        scale=bounds.binary_cross_entropy_with_logits,
    )
    yield _spec(
        "sigmoid_focal",
        inputs.FOCAL,
        [call(*BINARY), call(*BINARY, alpha=0.25, gamma=1.5)],
        limit=of.sigmoid_focal_limit,
        scale=bounds.sigmoid_focal,
        underflow=1024,
    )
    yield _spec("soft_margin", inputs.SOFT_MARGIN, limit=of.soft_margin_limit, underflow=1024)
    yield _spec(
        "cross_entropy",
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
        unsettled=of.by_the_target_of_what_cannot_be,
        scale=bounds.cross_entropy,
    )
    yield _spec(
        "softmax_focal",
        row_inputs.SOFTMAX_FOCAL,
        [
            call(*LABELS),
            call(*LABELS, gamma=0.5, class_weight=PER_CLASS),
            call(*SOFT, class_weight=PER_CLASS),
        ],
        unsettled=of.by_the_target_of_what_cannot_be,
        scale=bounds.softmax_focal,
        underflow=1024,
    )
    yield _spec("nll", calls=[call(log_shares, indices(), class_weight=PER_CLASS, ignore_index=0)])
    yield _spec(
        "kl_div",
        calls=[call(log_shares, shares()), call(log_shares, log_shares, log_target=True)],
        unsettled=of.by_a_target_of_0,
        scale=bounds.kl_div,
        underflow=1024,
    )
    yield _spec(
        "kl_div_with_logits",
        calls=[call(*REAL), call(logits(2, 3, 2), logits(2, 3, 2), axis=-2)],
        unsettled=of.by_the_target_of_what_is_infinite,
        scale=bounds.kl_div_with_logits,
        underflow=1024,
    )
    yield _spec("js_div", unsettled=of.by_a_share_of_0)
    yield _spec("logsumexp", scale=bounds.logsumexp)
    yield _spec("softplus", limit=of.softplus_limit)
    yield _spec("log_sigmoid", limit=of.log_sigmoid_limit)


_SPECIAL = {spec.name: spec for spec in _special()}
SPECS: Mapping[str, Spec] = {
    each.name: _SPECIAL.get(each.name) or _spec(each.name)
    for each in public_losses("elements", "rows", "predictions")
}
EXACT = {name: spec.definition for name, spec in SPECS.items()}
BOUNDS = {name: spec.bound for name, spec in SPECS.items()}
ACTIVATIONS = [each.function for each in public_losses("predictions")]
LOSSES = [each.name for each in public_losses("elements", "rows")]
PRODUCTS = [each.name for each in public_losses("arrays")]
PUBLIC = [name for name in vars(tinyloss)["__all__"] if name != "__version__"]

CLASSES: dict[Any, Any] = {
    each: loss
    for name in PUBLIC
    if inspect.isclass(each := getattr(tinyloss, name))
    and isinstance(loss := getattr(each, "function", None), LossFunction)
}
"""The loss of each class."""
