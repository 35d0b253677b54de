"""What tests know of each loss besides its code, its docstring and its definition."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

import numpy as np

import tinyloss
from tests.support import bounds, inputs, row_inputs
from tests.support import definitions as of
from tests.support.bounds import Bound
from tests.support.calls import (
    ANSWERS,
    BINARY,
    LABELS,
    MEAN_ANSWERS,
    PER_CLASS,
    POSITIVE,
    POSSIBLE,
    POSSIBLE_LABELS,
    POSSIBLE_SHARES,
    PROBABILITY,
    REAL,
    SCORES,
    SOFT,
    YES_OR_NO,
    Call,
    Drawn,
    call,
    grades,
    indices,
    log_shares,
    logits,
    ranks,
    shares,
    values,
)
from tests.support.definitions import Exact, Item
from tests.support.draws import Families, with_
from tests.support.inputs import REGRESSION, but, varied
from tinyloss._function import LossFunction
from tinyloss.cli.cards import promises
from tinyloss.cli.definitions import DEFINITIONS
from tinyloss.losses import public_losses
from tinyloss.typing import DPOKind, LambdaKind

__all__ = [
    "ACTIVATIONS",
    "BOUNDS",
    "CLASSES",
    "EXACT",
    "IMAGES",
    "LISTS",
    "LOSSES",
    "MEASURED",
    "ORDERED",
    "PAIRED",
    "PAIRS",
    "PRODUCTS",
    "PUBLIC",
    "SEQUENCES",
    "SPECS",
    "UNMEASURED",
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
    """Ordinary calls, which run on every library; none where other tests have these."""

    @property
    def function(self) -> Any:
        return getattr(tinyloss, self.name)


def _spec(
    name: str,
    inputs: Families | None = None,
    calls: Sequence[Call] | None = None,
    *,
    limit: Callable[..., Item] | None = None,
    bits: int = 200,
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
    return Spec(name, Exact(name, limit, bits, unsettled), bound, inputs, calls)


KINDS: Mapping[str, tuple[Families, Sequence[Sequence[Drawn]]]] = {
    "errors": (REGRESSION, [REAL]),
    "positive": (inputs.MSLE, [POSITIVE]),
    "counts": (inputs.POISSON, [(logits(), values(0, 5))]),
    "amounts": (inputs.GAMMA, [(logits(), values(0.5, 5))]),
    "variances": (inputs.GAUSSIAN, [(*REAL, values(0.5, 2))]),
    "two gaussians": (inputs.GAUSSIANS, [(*REAL, logits(), logits())]),
    "forecasts": (inputs.FORECASTS, [(*REAL, values(0.5, 2))]),
    "answers": (inputs.ANSWERS, [ANSWERS]),
    "answers and references": (inputs.REFERRED, [(*ANSWERS, *ANSWERS)]),
    "mean answers": (inputs.MEAN_ANSWERS, [MEAN_ANSWERS]),
    "labelled answers": (inputs.LABELLED_ANSWERS, [(values(-20, -1), values(0, 1), ANSWERS[0])]),
    "probabilities": (inputs.BCE, [PROBABILITY]),
    "binary logits": (inputs.LOGITS | inputs.SOFT_LOGITS, [BINARY]),
    "near binary logits": (inputs.LOGITS | inputs.SOFT_LOGITS, [BINARY]),
    "scores": (inputs.HINGE, [SCORES]),
    "logits": (row_inputs.LABELLED | row_inputs.SOFT_ROWS, [LABELS, SOFT]),
    "near logits": (row_inputs.LABELLED | row_inputs.SOFT_ROWS, [LABELS, SOFT]),
    "many logits": (row_inputs.MANY, [(logits(), values(0, 1))]),
    "ranks": (row_inputs.RANKS, [(logits(), ranks)]),
    "log-probabilities": (row_inputs.NLL, [(log_shares, indices())]),
    "log-probabilities of shares": (row_inputs.KL, [(log_shares, shares())]),
    "log-probabilities of elements": (row_inputs.KL_TERMS, [(log_shares, shares())]),
    "two logits": (row_inputs.KL_LOGITS, [REAL]),
    "shares": (row_inputs.JS, [(shares(), shares())]),
    "regions": (row_inputs.REGIONS, [PROBABILITY]),
    "lists": (row_inputs.LISTS, [(logits(), grades)]),
    "tags": (row_inputs.TAGS, [(logits(), grades)]),
    "elements": (row_inputs.alone(inputs.LOGITS), []),
    "rows": (row_inputs.FUNCTION_ROWS, []),
    "images": (row_inputs.IMAGES, []),
    "pixels": (row_inputs.TAGS, []),
    "regions of pixels": (row_inputs.HARD_REGIONS, []),
    "orders": (row_inputs.ORDERS, []),
    "grades": (row_inputs.GRADED, []),
    "cohorts": (row_inputs.COHORTS, []),
    "ensembles": (row_inputs.ENSEMBLES, []),
    "frames": (row_inputs.FRAMES, []),
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
    some = ("normal", "scale_10", "scale_100", "close", "small", "big", "near_max")
    yield _spec(
        "barron",
        {
            **REGRESSION,
            # As 1 beside 2^-20, and its neighbours of 2; -2^20 and -2^100 as beside -inf.
            **{
                key: family
                for alpha in (2.0, 1.5, 0.0, 2.0**-20, -(2.0**-9), -2.0, 2 - 2.0**-20, -(2.0**20))
                for key, family in varied(REGRESSION, some, alpha=alpha).items()
            },
            **varied(REGRESSION, some, alpha=float("-inf")),
            **varied(REGRESSION, some, alpha=-1.3, scale=0.3),
            **varied(REGRESSION, ("normal",), scale=1e-50),
            **varied(REGRESSION, ("normal", "near_max"), alpha=-2.0, scale=1e300),
        },
        [call(*REAL), call(*REAL, alpha=0.0, scale=0.5), call(*REAL, alpha=float("-inf"))],
        scale=bounds.barron,
    )
    yield _spec(
        "expectile",
        {
            **REGRESSION,
            **varied(
                REGRESSION, ("normal", "close", "equal", "big", "square_overflows"), tau=0.875
            ),
            **varied(REGRESSION, ("normal",), tau=0.9),
            **varied(REGRESSION, ("normal", "near_max"), tau=1e-50),
        },
    )
    for name in ("epsilon_insensitive", "squared_epsilon_insensitive"):
        yield _spec(
            name,
            {
                **REGRESSION,
                **varied(REGRESSION, ("normal", "small", "equal"), epsilon=0.0),
                **varied(REGRESSION, ("normal", "scale_10", "offset"), epsilon=0.5),
                **varied(REGRESSION, ("normal", "near_max"), epsilon=1e-50),
                **varied(REGRESSION, ("normal",), epsilon=1e300),
            },
            unsettled=of.at_the_edge_of_the_margin,
            scale=getattr(bounds, name),
        )
    yield _spec(
        "wing",
        {
            **REGRESSION,
            **varied(REGRESSION, ("normal", "scale_10", "small"), width=0.5),
            **varied(REGRESSION, ("normal", "scale_100"), width=3.0, epsilon=0.1),
            **varied(REGRESSION, ("normal", "scale_100", "small"), epsilon=1e3),
        },
        unsettled=of.at_the_step_of_wing,
        scale=bounds.wing,
        underflow=16,
    )
    yield _spec(
        "quantile",
        {
            # A difference beyond the largest number is infinite, whatever multiplies it after.
            **but("difference_overflows"),
            **varied(REGRESSION, ("normal", "close", "equal", "big", "near_max"), q=0.875),
            **varied(REGRESSION, ("normal",), q=0.9),
            **varied(REGRESSION, ("normal",), q=0.01),
            **varied(REGRESSION, ("normal", "near_max"), q=1e-50),
            "levels": lambda d: {**REGRESSION["normal"](d), "q": d.uniform(0, 1)},
        },
        [call(*REAL, q=0.9), call(*REAL, q=np.array([0.125, 0.5, 0.875], np.float32))],
    )
    yield _spec("msle", scale=bounds.msle)
    yield _spec("smape", REGRESSION, [call(*REAL)])
    yield _spec("mape", inputs.MAPE, [call(*REAL)], scale=bounds.mape)
    rate = call(values(0.5, 5), values(0, 5), log_input=False, full=True)
    yield _spec(
        "poisson_nll",
        inputs.POISSON,
        [call(logits(), values(0, 5)), rate],
        scale=bounds.poisson_nll,
    )
    yield _spec(
        "gamma_deviance",
        inputs.GAMMA,
        [call(logits(), values(0.5, 5)), call(values(0.5, 5), values(0.5, 5), log_input=False)],
        scale=bounds.gamma_deviance,
    )
    means = {k: v for k, v in inputs.GAMMA.items() if k.startswith("mean_")}
    logs = {k: v for k, v in inputs.GAMMA.items() if k not in means}
    amounts = (logits(), values(0.5, 5))
    yield _spec(
        "tweedie_deviance",
        {
            **inputs.GAMMA,
            **{f"zero_power_{p}": inputs.tweedie_of_0(p) for p in (1.0, 1.25, 1.75)},
            **{
                key: family
                for p in (1.0, 1 + 2.0**-12, 2 - 2.0**-12, 2.0, 1.25, 3.0)
                for base in (
                    {k: v for k, v in logs.items() if k not in ("far", "huge")},
                    {k: v for k, v in means.items() if k != "mean_far"},
                )
                for key, family in varied(base, tuple(base), power=p).items()
            },
        },
        [
            call(*amounts),
            call(*amounts, power=1.0),
            call(values(0.5, 5), values(0.5, 5), log_input=False, power=2.5),
        ],
        unsettled=of.by_an_amount_of_0,
        scale=bounds.tweedie_deviance,
    )
    variance = (*REAL, values(0.5, 2))
    yield _spec(
        "gaussian_nll",
        inputs.GAUSSIAN,
        [call(*variance), call(*variance, full=True), call(*variance, log_var=True)],
        scale=bounds.gaussian_nll,
    )
    none = {
        "zero_scale": inputs.forecast("normal", lambda d: d.cast(np.zeros(d.n))),
        "zero_scale_equal": inputs.forecast("equal", lambda d: d.cast(np.zeros(d.n))),
    }
    for name, unsettled in (("crps", of.by_a_scale_of_0), ("log_score", None)):
        given = inputs.FORECASTS | none
        yield _spec(
            name,
            {
                **given,
                **varied(given, tuple(given), distribution="logistic"),
                **varied(given, tuple(given), distribution="laplace"),
            },
            [
                call(*variance),
                call(*variance, distribution="logistic"),
                call(*variance, distribution="laplace"),
            ],
            unsettled=unsettled,
            scale=getattr(bounds, name),
            underflow=64,
        )
    yield _spec("binary_cross_entropy", inputs.BCE, scale=bounds.binary_cross_entropy)
    yield _spec(
        "binary_cross_entropy_with_logits",
        inputs.BCE_LOGITS,
        [
            call(*BINARY),
            call(*BINARY, pos_weight=PER_CLASS, label_smoothing=0.125),
            call(*YES_OR_NO, ignore_index=1),
        ],
        limit=of.bce_logits_limit,
        scale=bounds.binary_cross_entropy_with_logits,
    )
    yield _spec(
        "sigmoid_focal",
        inputs.FOCAL,
        [
            call(*BINARY),
            call(*BINARY, alpha=0.25, gamma=1.5),
            call(*BINARY, label_smoothing=0.125, alpha=np.array([0.25, 0.5, 0.875], np.float32)),
            call(*YES_OR_NO, ignore_index=1),
        ],
        limit=of.sigmoid_focal_limit,
        scale=bounds.sigmoid_focal,
        underflow=1024,
    )
    yield _spec("exponential", inputs.SOFT_MARGIN, limit=of.exponential_limit, underflow=1024)
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
            call(*POSSIBLE_LABELS, mask=POSSIBLE),
            call(*POSSIBLE_SHARES, mask=POSSIBLE, label_smoothing=0.125, class_weight=PER_CLASS),
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
    of_probabilities = [
        call(shares(), indices(), from_logits=False),
        call(shares(), shares(), from_logits=False, class_weight=PER_CLASS),
    ]
    yield _spec(
        "softmax_focal",
        row_inputs.SOFTMAX_FOCAL,
        [
            call(*LABELS),
            call(*LABELS, gamma=0.5, class_weight=PER_CLASS),
            call(*LABELS, label_smoothing=0.125, class_weight=PER_CLASS, ignore_index=1),
            call(*SOFT, class_weight=PER_CLASS, label_smoothing=0.125),
            *of_probabilities,
            call(shares(), shares(), from_logits=False, gamma=0.5, label_smoothing=0.125),
        ],
        unsettled=of.by_a_share_of_what_is_certain,
        scale=bounds.softmax_focal,
        underflow=1024,
    )
    on_losses = [
        call(*LABELS, class_weight=PER_CLASS, ignore_index=1),
        call(*SOFT, class_weight=PER_CLASS),
    ]
    some = ("normal_1", "normal_10", "normal_100", "certain", "wrong", "masked", "huge")
    weighed = {
        **{k: v for k, v in row_inputs.SOFT_ROWS.items() if k != "soft_unnormalised"},
        "class_weights": row_inputs.class_weights(row_inputs.LABELLED["normal_1"]),
        "class_weights_soft": row_inputs.class_weights(row_inputs.SOFT_ROWS["soft_normal"]),
        "ignored": row_inputs.ignoring(row_inputs.LABELLED["normal_1"]),
    }
    yield _spec(
        "poly_cross_entropy",
        {
            **row_inputs.LABELLED,
            **weighed,
            **varied(row_inputs.LABELLED, some, epsilon=-1.0),
            **varied(row_inputs.LABELLED, ("normal_1", "certain"), epsilon=-0.3),
            **varied(row_inputs.LABELLED, ("normal_10",), epsilon=0.0),
            **varied(row_inputs.SOFT_ROWS, ("soft_normal", "onehot_certain"), epsilon=-1.0),
            **row_inputs.likely_ones(smoothed=False, epsilon=(-1.0, -0.3, 0.0)),
        },
        [*on_losses, call(*LABELS, epsilon=-0.5), call(*SOFT), *of_probabilities],
        bits=1400,
        unsettled=of.by_the_target_of_what_cannot_be,
        scale=bounds.poly_cross_entropy,
        underflow=1024,
    )
    yield _spec(
        "generalized_cross_entropy",
        {
            **row_inputs.LABELLED,
            **weighed,
            **{
                key: family
                for q in (1.0, 0.0, 2.0**-30, 0.25)
                for key, family in varied(row_inputs.LABELLED, some, q=q).items()
            },
            **varied(row_inputs.LABELLED, ("normal_100",), q=1e-50),
            **varied(row_inputs.SOFT_ROWS, ("soft_normal", "onehot_certain"), q=0.0),
            **row_inputs.likely_ones(smoothed=False, q=(1.0, 0.0, 2.0**-30, 0.25)),
        },
        [*on_losses, call(*LABELS, q=0.0), call(*SOFT), *of_probabilities],
        unsettled=of.by_the_target_of_what_cannot_be,
        scale=bounds.generalized_cross_entropy,
        underflow=1024,
    )
    yield _spec(
        "brier",
        {
            **row_inputs.LABELLED,
            **row_inputs.SOFT_ROWS,
            **{k: v for k, v in weighed.items() if "class_weights" in k or k == "ignored"},
            **{
                f"probabilities_{k}": with_(row_inputs.PROBABILITIES[k], from_logits=False)
                for k in ("normal", "peaked", "edges", "soft", "class_weights_soft", "ignored")
            },
        },
        [
            *on_losses,
            call(*LABELS),
            *of_probabilities,
        ],
        bits=1400,
        scale=bounds.brier,
        underflow=1024,
    )
    led = [call(*LABELS, class_weight=PER_CLASS, ignore_index=0)]
    yield _spec(
        "categorical_hinge",
        # XLA on the CPU takes subnormal scores for 0, which all tie.
        {name: family for name, family in row_inputs.LED.items() if name != "subnormal"},
        led,
        unsettled=of.by_what_ties,
    )
    yield _spec(
        "multi_margin",
        {
            **row_inputs.LED,
            **varied(row_inputs.LABELLED, ("normal_1", "certain_rounded"), margin=0.3),
            **varied(row_inputs.LED, ("normal_10", "ties", "masked", "class_weights"), p=2),
        },
        [*led, call(*LABELS, margin=0.5), call(*LABELS, p=2, class_weight=PER_CLASS)],
        unsettled=of.at_the_margin,
        scale=bounds.multi_margin,
    )
    for name in ("multilabel_soft_margin", "coral"):
        yield _spec(name, scale=bounds.multilabel_soft_margin)
    for name in ("pairwise_logistic", "pairwise_soft_zero_one", "pairwise_mse"):
        yield _spec(name, scale=getattr(bounds, name))
    graded = row_inputs.GRADED
    few = ("normal_1", "ties", "grades_between")
    cut = {
        **varied(graded, few, gain="linear"),
        **varied(graded, few, discount="reciprocal"),
        **varied(graded, few, top=2.0),
    }
    yield _spec(
        "lambdarank",
        {**graded, **cut, **varied(graded, few, top=3.0, discount="reciprocal")},
        scale=bounds.lambdarank,
    )
    yield _spec(
        "lambdaloss",
        {
            **graded,
            **cut,
            **varied(graded, few, mu=0.5),
            **varied(graded, ("normal_1",), kind="ranknet"),
            **{
                key: family
                for kind in ("ndcg1", "ndcg2")
                for key, family in {
                    **varied(graded, few, kind=kind),
                    **varied(graded, ("normal_1",), kind=kind, top=2.0, gain="linear"),
                }.items()
            },
        },
        [
            call(logits(), grades, kind=kind, top=top)
            for kind in get_args(LambdaKind)
            for top in (None, 2.0)
        ],
        scale=bounds.lambdaloss,
    )
    yield _spec(
        "approx_ndcg",
        {
            **graded,
            **varied(graded, few, gain="linear"),
            **varied(graded, few, discount="reciprocal"),
            **varied(graded, few, temperature=0.1),
            **varied(graded, few, temperature=3.0, discount="reciprocal"),
        },
        [call(logits(), grades), call(logits(), grades, temperature=0.25)],
        scale=bounds.approx_ndcg,
        underflow=1024,
    )
    for name in ("pairwise_hinge", "multilabel_margin"):
        scale = getattr(bounds, name)
        yield _spec(name, unsettled=of.at_the_margin_of_pairs, scale=scale)
    yield _spec("nll", calls=[call(log_shares, indices(), class_weight=PER_CLASS, ignore_index=0)])
    yield _spec(
        "kl_div",
        calls=[call(log_shares, shares()), call(log_shares, log_shares, log_target=True)],
        unsettled=of.by_a_target_of_0,
        scale=bounds.kl_div,
        underflow=1024,
    )
    yield _spec(
        "relative_entropy",
        calls=[call(log_shares, shares()), call(log_shares, log_shares, log_target=True)],
        unsettled=of.by_an_element_of_0,
        scale=bounds.relative_entropy,
        underflow=1024,
    )
    yield _spec("gaussian_kl", scale=bounds.gaussian_kl, underflow=64)
    yield _spec("generalized_kl", inputs.AMOUNTS, unsettled=of.by_an_amount_of_0)
    kl_logits = row_inputs.KL_LOGITS
    cooled = ("normal_1", "normal_100", "near_1e-3", "close", "offset", "huge_close", "masked")
    yield _spec(
        "kl_div_with_logits",
        {
            **kl_logits,
            **varied(kl_logits, cooled, temperature=3.0),
            **varied(kl_logits, cooled, temperature=0.3),
            **varied(kl_logits, ("equal", "ties", "masked_target"), temperature=0.7),
        },
        [
            call(*REAL),
            call(logits(2, 3, 2), logits(2, 3, 2), axis=-2),
            call(*REAL, temperature=2.5),
        ],
        unsettled=of.by_the_target_of_what_is_infinite,
        scale=bounds.kl_div_with_logits,
        underflow=1024,
    )
    yield _spec("js_div", unsettled=of.by_a_share_of_0)
    squared = varied(row_inputs.REGIONS, tuple(row_inputs.REGIONS), squared=True)
    smooth = varied(row_inputs.REGIONS, ("uniform", "absent", "nothing"), smooth=0.5)
    yield _spec(
        "dice",
        row_inputs.REGIONS | smooth | squared,
        [call(*PROBABILITY), call(*PROBABILITY, smooth=0.5, squared=True)],
        scale=bounds.dice,
    )
    yield _spec("jaccard", scale=partial(bounds.tversky, fp_weight=1, fn_weight=1))
    yield _spec("tversky", scale=bounds.tversky)
    yield _spec("focal_tversky", scale=bounds.focal_tversky)
    pairs = inputs.REFERRED
    near = ("normal", "long_near_the_reference", "right")
    kinds = [kind for kind in get_args(DPOKind) if kind != "sigmoid"]
    referred = (*ANSWERS, *ANSWERS)
    yield _spec(
        "dpo",
        {
            **pairs,
            **{
                key: family
                for kind in kinds
                for key, family in varied(pairs, ("normal", "far", "wrong"), kind=kind).items()
            },
            **varied(pairs, near, label_smoothing=0.9),
            **varied(pairs, near, label_smoothing=0.3, kind="robust"),
            **varied(pairs, ("normal",), label_smoothing=0.25, kind="exo_pair"),
            **varied(pairs, ("normal",), beta=1e-50),
        },
        [
            call(*referred),
            call(*referred, label_smoothing=0.125),
            call(*referred, kind="robust", label_smoothing=0.125),
            *[call(*referred, kind=kind) for kind in kinds],
        ],
        unsettled=of.at_the_kink_of_a_pair,
        scale=bounds.dpo,
        underflow=1024,
    )
    yield _spec(
        "cpo",
        {
            **inputs.ANSWERS,
            **varied(inputs.ANSWERS, tuple(inputs.ANSWERS), alpha=0.0),
            **varied(inputs.ANSWERS, ("normal", "right"), alpha=0.25, label_smoothing=0.125),
            **varied(inputs.ANSWERS, ("normal", "wrong", "long"), kind="hinge"),
            **varied(inputs.ANSWERS, ("normal", "wrong", "long"), kind="ipo", beta=0.5),
        },
        [call(*ANSWERS), call(*ANSWERS, kind="ipo"), call(*ANSWERS, alpha=0.0, kind="hinge")],
        unsettled=of.at_the_kink_of_a_pair,
        scale=bounds.cpo,
        underflow=1024,
    )
    yield _spec("simpo", scale=bounds.simpo, underflow=1024)
    yield _spec("orpo", bits=1400, scale=bounds.orpo, underflow=1024)
    yield _spec("kto", scale=bounds.kto, underflow=1024)
    yield _spec("logsumexp", scale=bounds.logsumexp)
    yield _spec("softplus", limit=of.softplus_limit)
    yield _spec("log_sigmoid", limit=of.log_sigmoid_limit)


_SPECIAL = {spec.name: spec for spec in _special()}
SPECS: Mapping[str, Spec] = {
    each.name: _SPECIAL.get(each.name) or _spec(each.name)
    for each in public_losses("elements", "rows", "predictions")
}


def _in_order() -> Iterator[Spec]:
    """Yield the records of losses whose items are in an order, or more than a row.

    The libraries that these run on are the business of tests of their own.
    """
    yield _spec("generalized_dice")
    yield _spec("lovasz_hinge", unsettled=of.where_errors_nearly_meet, scale=bounds.lovasz_hinge)
    yield _spec("lovasz_softmax", unsettled=of.where_errors_nearly_meet)
    # Of who is alone, 1 is taken off 1 beside shares of 1e-127.
    yield _spec("listmle", bits=1400, scale=bounds.listmle)
    grades = row_inputs.GRADED
    few = ("normal_1", "ordered", "grades_between")
    yield _spec(
        "unique_softmax",
        {**grades, **varied(grades, few, gain="linear")},
        bits=1400,
        scale=bounds.unique_softmax,
    )
    cohorts = row_inputs.COHORTS
    yield _spec(
        "cox_ph",
        {**cohorts, **varied(cohorts, tuple(cohorts), ties="breslow")},
        bits=1400,
        scale=bounds.cox_ph,
    )
    ensembles = row_inputs.ENSEMBLES
    yield _spec(
        "crps_ensemble",
        {
            **ensembles,
            **row_inputs.ENSEMBLE_OF_ONE,
            **varied(ensembles, tuple(ensembles), fair=True),
        },
    )
    for name in ("sparsemax", "entmax15"):
        yield _spec(name, row_inputs.SPARSE_ROWS, bits=1400, scale=bounds.sparse_shares)
    sparse = row_inputs.SPARSE
    yield _spec(
        "fenchel_young",
        {**sparse, **varied(sparse, tuple(sparse), activation="entmax15")},
        bits=1400,
        scale=bounds.fenchel_young,
    )
    yield _spec("ctc", scale=bounds.ctc)


ORDERED: Mapping[str, Spec] = {each.name: each for each in _in_order()}
MEASURED: Mapping[str, Spec] = {**SPECS, **ORDERED}
"""All losses whose results are measured against their definitions."""
UNMEASURED = {
    **{
        each.name: "of vectors: bounds are of distances, as its own tests have them"
        for each in public_losses("pairs")
    },
    **{
        each.name: "of products of matrices, whose rounding is the library's that multiplies"
        for each in public_losses("arrays")
    },
}
"""Why a public loss has no rows in the benchmark's results."""
EXACT = {name: spec.definition for name, spec in MEASURED.items()}
BOUNDS = {name: spec.bound for name, spec in MEASURED.items()}
ACTIVATIONS = [each.function for each in public_losses("predictions")]
LOSSES = [each.name for each in public_losses("elements", "rows")]
IMAGES = [each.name for each in public_losses("images")]
PAIRS = [each.name for each in public_losses("pairs")]
LISTS = [each.name for each in public_losses("lists")]
SEQUENCES = [each.name for each in public_losses("sequences")]
PRODUCTS = [each.name for each in public_losses("arrays")]
PUBLIC = [name for name in vars(tinyloss)["__all__"] if name != "__version__"]

CLASSES: dict[Any, Any] = {
    each: loss
    for name in PUBLIC
    if inspect.isclass(each := getattr(tinyloss, name))
    and isinstance(loss := getattr(each, "function", None), LossFunction)
}
"""The loss of each class."""


def _is_paired(name: str) -> bool:
    request = getattr(tinyloss, name).request([None] * len(EXACT[name].arguments), {})
    return bool((request.formula or request.labels).paired)


PAIRED = frozenset(filter(_is_paired, LOSSES))
"""Losses that add up over pairs of a row's classes."""
