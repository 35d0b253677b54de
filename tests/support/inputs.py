"""Inputs that losses of elements get wrong, from ordinary to extreme."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.support.draws import Array, Draw, Families, Family, Kwargs, with_

# Regression: pairs of numbers.


def pair(x: Callable[[Draw], Array], y: Callable[[Draw], Array]) -> Family:
    def family(d: Draw) -> Kwargs:
        first = x(d)
        return {"x": first, "y": y(d)}

    return family


def near(center: Callable[[Draw], Array], move: Callable[[Draw, Array], Array]) -> Family:
    def family(d: Draw) -> Kwargs:
        y = center(d)
        return {"x": d.cast(move(d, y)), "y": y}

    return family


def huge(d: Draw, shape: tuple[int, ...] | None = None) -> Array:
    """Numbers of every magnitude above 1000, to which small ones add nothing."""
    return d.cast(d.signs(shape).astype(float) * d.powers(3, d.digits - 0.7, shape).astype(float))


def mixed(d: Draw) -> Array:
    """Numbers of every magnitude whose squares are normal."""
    return d.cast(d.signs() * d.powers(np.log10(d.tiny) / 2, d.digits / 2).astype(np.float64))


REGRESSION: Families = {
    "normal": pair(lambda d: d.normal(), lambda d: d.normal()),
    "scale_10": pair(lambda d: d.normal(10), lambda d: d.normal(10)),
    "scale_100": pair(lambda d: d.normal(100), lambda d: d.normal(100)),
    "close": near(lambda d: d.normal(), lambda d, y: d.nudged(y)),
    "equal": near(lambda d: d.normal(), lambda d, y: y),
    "offset": pair(
        lambda d: d.cast(1000 + d.normal().astype(float)),
        lambda d: d.cast(1000 + d.normal().astype(float)),
    ),
    "small": near(
        lambda d: d.cast(np.zeros(d.n)),
        lambda d, y: d.signs().astype(float) * d.powers(max(-d.digits, -30), -1).astype(float),
    ),
    "mixed": pair(mixed, mixed),
    "big": pair(
        lambda d: d.cast(d.signs().astype(float) * d.powers(1, d.digits / 2 - 0.2).astype(float)),
        lambda d: d.normal(),
    ),
    "square_overflows": pair(
        lambda d: d.cast(d.signs().astype(float) * d.powers(d.digits / 2, d.digits - 0.4)),
        lambda d: d.normal(),
    ),
    "near_max": pair(
        lambda d: d.uniform(-d.max / 2, d.max / 2), lambda d: d.uniform(-d.max / 2, d.max / 2)
    ),
    "difference_overflows": near(
        lambda d: d.uniform(0.6 * d.max, d.max), lambda d, y: -y.astype(float)
    ),
    "subnormal": pair(lambda d: d.tiniest(), lambda d: d.tiniest()),
}


def but(*names: str) -> Families:
    return {name: family for name, family in REGRESSION.items() if name not in names}


def varied(base: Families, names: tuple[str, ...], **parameters: Any) -> Families:
    label = "_".join(f"{k}_{v}" for k, v in parameters.items())
    return {f"{name}_{label}": with_(base[name], **parameters) for name in names}


def positive(d: Draw, scale: float = 1.0) -> Array:
    return d.cast(np.abs(d.normal(scale).astype(float)))


MSLE: Families = {
    "normal": pair(positive, positive),
    "scale_10": pair(lambda d: positive(d, 10), lambda d: positive(d, 10)),
    "scale_100": pair(lambda d: positive(d, 100), lambda d: positive(d, 100)),
    "close": near(positive, lambda d, y: d.nudged(y)),
    "equal": near(positive, lambda d, y: y),
    "small": pair(
        lambda d: d.powers(max(-d.digits, -30), -1), lambda d: d.powers(max(-d.digits, -30), -1)
    ),
    "offset": near(
        lambda d: d.cast(np.full(d.n, 1000.0)), lambda d, y: 1000 + d.normal().astype(float)
    ),
    "near_minus_one": pair(lambda d: d.uniform(-0.999, -0.5), lambda d: d.uniform(-0.999, -0.5)),
    "negative": pair(lambda d: d.uniform(-0.9, 0.0), lambda d: d.uniform(-0.5, 2.0)),
    "big": pair(lambda d: d.powers(0, d.digits / 2), lambda d: d.powers(0, d.digits / 2)),
    "near_max": pair(lambda d: d.powers(d.digits - 2, d.digits), positive),
    "subnormal": pair(lambda d: d.tiniest(), lambda d: d.tiniest()),
    "below_minus_one": pair(lambda d: d.uniform(-3, -1.1), positive),
}


def small_size(d: Draw) -> Array:
    return d.cast(d.signs().astype(float) * d.powers(-6, -1).astype(float))


MAPE: Families = {
    **but("small", "mixed", "difference_overflows"),
    "small_target": pair(lambda d: d.normal(), lambda d: d.powers(-6, -2)),
    "zero_target": pair(lambda d: d.normal(), lambda d: d.cast(np.zeros(d.n))),
    "far": pair(lambda d: d.powers(-4, 0), lambda d: d.powers(1, 3)),
    "floored": with_(pair(lambda d: d.normal(0.01), lambda d: d.normal(0.01)), eps=0.0077),
    "zero_target_eps_1e-50": with_(pair(small_size, lambda d: d.cast(np.zeros(d.n))), eps=1e-50),
    **varied(REGRESSION, ("normal", "equal"), eps=1e-50),
    **varied(REGRESSION, ("normal", "equal"), eps=1e300),
}


def counts(d: Draw, largest: int = 20) -> Array:
    return d.cast(d.rng.integers(0, largest, d.n))


POISSON: Families = {
    "normal": pair(lambda d: d.normal(), counts),
    "scale_10": pair(lambda d: d.normal(10), counts),
    "scale_100": pair(lambda d: d.normal(100), counts),
    "zero_count": pair(lambda d: d.normal(3), lambda d: d.cast(np.zeros(d.n))),
    "big_count": pair(lambda d: d.uniform(5, 8), lambda d: counts(d, 2000)),
    "real_target": pair(lambda d: d.normal(), positive),
    "matched": near(lambda d: d.uniform(1, 50), lambda d, y: np.log(y.astype(float))),
    "overflow": pair(lambda d: d.uniform(d.overflow - 3, d.overflow + 3), counts),
    "underflow": pair(
        lambda d: d.uniform(-d.overflow - 3, -d.overflow / 2), lambda d: d.cast(np.zeros(d.n))
    ),
    "huge": pair(huge, counts),
    "huge_count": pair(lambda d: d.uniform(0, d.overflow + 9), lambda d: d.uniform(0, d.max)),
    "huge_count_full": with_(
        pair(lambda d: d.uniform(0, d.overflow + 9), lambda d: d.uniform(0, d.max)), full=True
    ),
    "rate_huge_count_full": with_(
        pair(lambda d: d.uniform(0, d.max / 1e3), lambda d: d.uniform(0, d.max / 1e3)),
        log_input=False,
        full=True,
    ),
    "rate_zero_eps_1e-50": with_(
        pair(lambda d: d.bits(), lambda d: d.bits()), log_input=False, eps=1e-50
    ),
    "full": with_(pair(lambda d: d.normal(), lambda d: d.uniform(0, 4)), full=True),
    "full_big": with_(pair(lambda d: d.uniform(3, 6), lambda d: d.uniform(1, 500)), full=True),
    "rate": with_(pair(lambda d: d.uniform(0.01, 20), counts), log_input=False),
    "rate_matched": with_(
        near(lambda d: d.uniform(1, 50), lambda d, y: d.nudged(y)), log_input=False
    ),
    "rate_near_1": with_(
        pair(lambda d: d.nudged(d.cast(np.ones(d.n)), 40), lambda d: counts(d, 1000)),
        log_input=False,
        eps=2.0**-30,
    ),
    "rate_small": with_(pair(lambda d: d.powers(-4, -1), counts), log_input=False, eps=2.0**-20),
    "rate_zero": with_(
        pair(lambda d: d.cast(np.zeros(d.n)), counts), log_input=False, eps=2.0**-20
    ),
    "rate_full": with_(
        pair(lambda d: d.uniform(0.1, 20), lambda d: d.uniform(0, 20)),
        log_input=False,
        full=True,
    ),
}


def amounts(d: Draw) -> Array:
    return d.powers(-3, 3)


GAMMA: Families = {
    "normal": pair(lambda d: d.normal(), amounts),
    "scale_10": pair(lambda d: d.normal(10), amounts),
    "scale_100": pair(lambda d: d.normal(100), amounts),
    "matched": near(lambda d: d.uniform(0.1, 50), lambda d, y: np.log(y.astype(float))),
    "unit": pair(lambda d: small_size(d), lambda d: d.nudged(d.cast(np.ones(d.n)), 40)),
    "far": pair(
        lambda d: d.uniform(-d.overflow, d.overflow), lambda d: d.powers(4 - d.digits, d.digits)
    ),
    "huge": pair(huge, amounts),
    "negative": pair(lambda d: d.normal(), lambda d: d.uniform(-3, -1)),
    **{
        f"mean_{name}": with_(family, log_input=False)
        for name, family in {
            "normal": pair(amounts, amounts),
            "close": near(amounts, lambda d, y: d.nudged(y)),
            "equal": near(amounts, lambda d, y: y),
            "near_1e-2": near(amounts, lambda d, y: y * (1 + 0.01 * d.normal().astype(float))),
            "near": near(amounts, lambda d, y: y * d.uniform(0.3, 3).astype(float)),
            "far": pair(
                lambda d: d.powers(4 - d.digits, d.digits),
                lambda d: d.powers(4 - d.digits, d.digits),
            ),
            "negative": pair(lambda d: d.uniform(-3, -1), amounts),
        }.items()
    },
}


AMOUNTS: Families = {
    "normal": pair(amounts, amounts),
    "close": near(amounts, lambda d, y: d.nudged(y)),
    "equal": near(amounts, lambda d, y: y),
    "near_1e-2": near(amounts, lambda d, y: y * (1 + 0.01 * d.normal().astype(float))),
    "near": near(amounts, lambda d, y: y * d.uniform(0.3, 3).astype(float)),
    "far": pair(
        lambda d: d.powers(4 - d.digits, d.digits), lambda d: d.powers(4 - d.digits, d.digits)
    ),
    "near_max": pair(lambda d: d.uniform(d.max / 9, d.max), lambda d: d.uniform(d.max / 9, d.max)),
    "zero": pair(amounts, lambda d: d.cast(np.zeros(d.n))),
    "zero_prediction": pair(lambda d: d.cast(np.zeros(d.n)), lambda d: d.bits()),
    "negative": pair(lambda d: d.uniform(-3, -1), amounts),
    "negative_target": pair(amounts, lambda d: d.uniform(-3, -1)),
}


def tweedie_of_0(power: float) -> Family:
    return with_(pair(lambda d: d.normal(3), lambda d: d.cast(np.zeros(d.n))), power=power)


def gaussian(base: str, var: Callable[[Draw], Array], **parameters: Any) -> Family:
    return lambda d: {**REGRESSION[base](d), "var": var(d), **parameters}


GAUSSIAN: Families = {
    "normal": gaussian("normal", lambda d: d.powers(-2, 2)),
    "scale_10": gaussian("scale_10", lambda d: d.powers(-2, 2)),
    "scale_100": gaussian("scale_100", lambda d: d.powers(0, 4)),
    "close": gaussian("close", lambda d: d.powers(-2, 2)),
    "equal": gaussian("equal", lambda d: d.powers(-2, 2)),
    "unit_variance": gaussian("normal", lambda d: d.nudged(d.cast(np.ones(d.n)), 40)),
    "small_variance": gaussian("normal", lambda d: d.powers(-3, -1)),
    "floored": gaussian("normal", lambda d: d.uniform(0, 0.9 * 2.0**-10), eps=2.0**-10),
    "zero_variance": gaussian("normal", lambda d: d.cast(np.zeros(d.n)), eps=2.0**-20),
    "equal_eps_1e-50": gaussian("equal", lambda d: d.cast(np.zeros(d.n)), eps=1e-50),
    "normal_eps_1e-50": gaussian("normal", lambda d: d.powers(-2, 2), eps=1e-50),
    "normal_eps_1e300": gaussian("normal", lambda d: d.powers(-2, 2), eps=1e300),
    "big_variance": gaussian("big", lambda d: d.powers(1, d.digits - 1)),
    "square_overflows": gaussian(
        "square_overflows", lambda d: d.powers(d.digits * 0.75, d.digits - 0.1)
    ),
    "balanced": lambda d: balanced(d),
    "full": gaussian("normal", lambda d: d.powers(-2, 2), full=True),
    "negative_variance": gaussian("normal", lambda d: d.uniform(-2, -1)),
    "log_normal": gaussian("normal", lambda d: d.normal(3), log_var=True),
    "log_scale_100": gaussian("scale_100", lambda d: d.normal(3), log_var=True, full=True),
    "log_close": gaussian("close", lambda d: d.normal(), log_var=True),
    "log_floored": gaussian("normal", lambda d: d.uniform(-30, -14), log_var=True),
    "log_wide": gaussian("square_overflows", lambda d: d.uniform(0, d.overflow), log_var=True),
    "log_huge": gaussian("normal", lambda d: huge(d), log_var=True),
    "log_eps_1e-50": gaussian("normal", lambda d: d.normal(9), log_var=True, eps=1e-50),
    "log_balanced": lambda d: log_balanced(d),
}


def log_balanced(d: Draw) -> Kwargs:
    found = balanced(d)
    return {**found, "var": d.cast(np.log(found["var"].astype(np.float64))), "log_var": True}


def balanced(d: Draw) -> Kwargs:
    """(x - y)^2 near the variance: the gradient by the variance passes through 0."""
    x, y = d.normal(), d.normal()
    square = (x.astype(np.float64) - y.astype(np.float64)) ** 2
    return {"x": x, "y": y, "var": d.nudged(d.cast(np.maximum(square, 2.0**-10)))}


def forecast(base: str, scale: Callable[[Draw], Array]) -> Family:
    return lambda d: {**REGRESSION[base](d), "scale": scale(d)}


def two_gaussians(
    base: str, log_var: Callable[[Draw], Array], target: Callable[[Draw], Array]
) -> Family:
    return lambda d: {**REGRESSION[base](d), "log_var": log_var(d), "y_log_var": target(d)}


def nothing(d: Draw) -> Array:
    return d.cast(np.zeros(d.n))


GAUSSIANS: Families = {
    "normal": two_gaussians("normal", lambda d: d.normal(), lambda d: d.normal()),
    "standard": two_gaussians("normal", lambda d: d.normal(3), nothing),
    "standard_small": two_gaussians("small", lambda d: small_size(d), nothing),
    "standard_far": two_gaussians(
        "big", lambda d: d.uniform(-d.overflow - 3, d.overflow + 3), nothing
    ),
    "same": two_gaussians("equal", nothing, nothing),
    "scale_100": two_gaussians("scale_100", lambda d: d.normal(10), lambda d: d.normal(10)),
    "close": lambda d: close_gaussians(d),
    "narrow_target": two_gaussians(
        "close", lambda d: d.normal(), lambda d: d.uniform(-d.overflow / 2, 0)
    ),
    "wide_target": two_gaussians(
        "square_overflows", lambda d: d.normal(), lambda d: d.uniform(0, d.overflow)
    ),
    "huge": two_gaussians("equal", lambda d: huge(d), lambda d: huge(d)),
}


def close_gaussians(d: Draw) -> Kwargs:
    target = d.normal()
    return {**REGRESSION["close"](d), "log_var": d.nudged(target), "y_log_var": target}


def at_scales(low: float, high: Callable[[Draw], float], *, width: float = 2) -> Family:
    """Errors of so many scales, which are within so many decades of 1."""

    def family(d: Draw) -> Kwargs:
        scale, a = d.powers(-width, width), d.uniform(low, high(d))
        error = a.astype(np.float64) * scale.astype(np.float64)
        y = d.cast(d.normal().astype(np.float64) * error)
        x = d.cast(y.astype(np.float64) + d.signs().astype(np.float64) * error)
        return {"x": x, "y": y, "scale": scale}

    return family


FORECASTS: Families = {
    "normal": forecast("normal", lambda d: d.powers(-1, 2)),
    "scale_10": forecast("scale_10", lambda d: d.powers(-1, 2)),
    "scale_100": forecast("scale_100", lambda d: d.powers(0, 3)),
    "close": forecast("close", lambda d: d.powers(-2, 2)),
    "equal": forecast("equal", lambda d: d.powers(-2, 2)),
    "offset": forecast("offset", lambda d: d.powers(-1, 2)),
    # where derivatives by the scale pass through 0
    "about_one_scale": at_scales(0.5, lambda d: 2.0),
    "tail": at_scales(2, lambda d: float(np.sqrt(2 * d.gap))),
    "far_tail": at_scales(4, lambda d: d.gap, width=0.5),
    "outlier": forecast("big", lambda d: d.powers(-2, 0)),
    "wide": forecast("normal", lambda d: d.powers(2, d.digits - 1)),
    "tiny_scale": forecast("normal", lambda d: d.powers(max(-d.digits, np.log10(d.tiny)) + 1, -2)),
    "small": forecast("small", lambda d: d.powers(-4, -1)),
    "subnormal": forecast("subnormal", lambda d: d.powers(-2, 2)),
    "square_overflows": forecast("square_overflows", lambda d: d.powers(-1, 1)),
    "near_max": forecast("near_max", lambda d: d.uniform(d.max / 100, d.max / 2)),
    "negative_scale": forecast("normal", lambda d: d.uniform(-2, -1)),
}


# Binary: a probability, logit or score, and a target.


def hard(x: Callable[[Draw], Array]) -> Family:
    return lambda d: {"x": x(d), "y": d.bits()}


def ignoring(family: Family, index: int) -> Family:
    """A third of the items have a target that says that they do not count, and one of x is NaN."""

    def ignoring(d: Draw) -> Kwargs:
        kwargs = family(d)
        gone = d.rng.random(d.n) < 0.3
        return {
            **kwargs,
            "x": np.where(gone, d.cast(np.nan), kwargs["x"]),
            "y": np.where(gone, d.cast(index), kwargs["y"]),
            "ignore_index": index,
        }

    return ignoring


def logits(d: Draw, low: float, high: float, *, right: bool) -> Kwargs:
    y = d.bits()
    side = (2 * y.astype(np.float64) - 1) * (1 if right else -1)
    return {"x": d.cast(side * d.uniform(low, high).astype(np.float64)), "y": y}


def matched_logits(d: Draw) -> Kwargs:
    x = d.normal(2)
    return {"x": x, "y": d.cast(1 / (1 + np.exp(-x.astype(np.float64))))}


LOGITS: Families = {
    "normal_1": hard(lambda d: d.normal()),
    "normal_10": hard(lambda d: d.normal(10)),
    "normal_100": hard(lambda d: d.normal(100)),
    "confident": lambda d: logits(d, 2, 20, right=True),
    "certain": lambda d: logits(d, 2, d.gap, right=True),
    "wrong": lambda d: logits(d, 2, d.gap, right=False),
    "huge": hard(lambda d: d.normal(d.max / 100)),
    "near_max": hard(lambda d: d.cast(d.signs().astype(float) * d.max)),
    "small": hard(lambda d: d.cast(d.signs().astype(float) * d.powers(max(-d.digits, -30), -1))),
    "zero": hard(lambda d: d.cast(np.zeros(d.n))),
    "subnormal": hard(lambda d: d.tiniest()),
    "underflow": lambda d: logits(d, d.gap, 1.3 * d.gap, right=True),
    "infinite": hard(lambda d: d.cast(d.signs().astype(float) * np.inf)),
}

SOFT_LOGITS: Families = {
    "soft": pair(lambda d: d.normal(3), lambda d: d.uniform(0, 1)),
    "soft_scale_100": pair(lambda d: d.normal(100), lambda d: d.uniform(0, 1)),
    "soft_edge": pair(
        lambda d: d.normal(10),
        lambda d: d.cast(
            np.where(d.bits() == 1, 1 - d.eps * d.rng.integers(1, 9, d.n), d.powers(-6, -3))
        ),
    ),
    "matched": matched_logits,
    "soft_infinite": pair(
        lambda d: d.cast(d.signs().astype(float) * np.inf), lambda d: d.uniform(0.1, 0.9)
    ),
}

SMOOTHED = ("normal_1", "normal_100", "certain", "wrong", "near_max", "infinite")

BCE_LOGITS: Families = {
    **LOGITS,
    **SOFT_LOGITS,
    **varied(LOGITS, ("normal_10", "certain", "infinite"), pos_weight=3.0),
    **varied(SOFT_LOGITS, ("soft",), pos_weight=0.1),
    "normal_1_pos_weights": lambda d: {**LOGITS["normal_1"](d), "pos_weight": d.powers(-2, 2)},
    **varied(LOGITS, SMOOTHED, label_smoothing=0.125),
    **varied(SOFT_LOGITS, ("soft", "soft_edge", "soft_infinite"), label_smoothing=0.1),
    **varied(LOGITS, ("normal_10", "certain"), label_smoothing=1e-50),
    **varied(LOGITS, ("normal_10",), label_smoothing=0.125, pos_weight=3.0),
    "ignored": ignoring(LOGITS["normal_1"], -1),
    "ignored_soft": ignoring(SOFT_LOGITS["soft"], 255),
}


def far_logits(gamma: float) -> Family:
    """Logits up to where q^gamma underflows, q the probability of the wrong answer."""
    return lambda d: logits(d, 2, (d.gap - 5) / min(gamma, 1), right=True)


FOCAL: Families = {
    **LOGITS,
    **SOFT_LOGITS,
    **varied(LOGITS, ("normal_10", "certain"), alpha=0.25),
    **varied(LOGITS, ("normal_10", "certain", "wrong"), gamma=0.0),
    **varied(LOGITS, ("normal_10", "certain", "wrong"), gamma=0.5),
    **varied(LOGITS, ("normal_10", "certain", "wrong"), gamma=1.0),
    **varied(LOGITS, ("normal_10", "certain", "wrong"), gamma=5.0),
    **varied(SOFT_LOGITS, ("soft",), gamma=1.5, alpha=0.75),
    **varied(LOGITS, ("normal_10",), alpha=1e-50),
    **varied(LOGITS, ("normal_10", "underflow"), gamma=1e-50),
    **varied(LOGITS, SMOOTHED, label_smoothing=0.125),
    **varied(SOFT_LOGITS, ("soft", "soft_edge", "soft_infinite"), label_smoothing=0.1),
    **varied(LOGITS, ("normal_10", "infinite"), label_smoothing=0.125, gamma=0.5, alpha=0.25),
    **varied(SOFT_LOGITS, ("soft_infinite",), gamma=2.0, alpha=0.75),
    **varied(LOGITS, ("normal_10", "certain"), label_smoothing=1e-50),
    "normal_1_alphas": lambda d: {**LOGITS["normal_1"](d), "alpha": d.uniform(0, 1)},
    "ignored": ignoring(LOGITS["normal_1"], -1),
}
for _gamma in (0.25, 0.5, 1.0, 1.5):
    FOCAL.update(varied(LOGITS, ("huge", "near_max", "underflow", "infinite"), gamma=_gamma))
    _soft_edges = ("soft_scale_100", "soft_edge", "soft_infinite")
    FOCAL.update(varied(SOFT_LOGITS, _soft_edges, gamma=_gamma))
    FOCAL[f"far_gamma_{_gamma}"] = with_(far_logits(_gamma), gamma=_gamma)

BCE: Families = {
    "uniform": hard(lambda d: d.uniform(0, 1)),
    "near_0": hard(lambda d: d.powers(np.log10(d.tiny) + 0.1, -2)),
    "near_0_subnormal": hard(lambda d: d.tiniest()),
    "near_1": hard(lambda d: d.cast(1 - d.eps / 2 * d.rng.integers(1, 100, d.n))),
    "near_half": hard(lambda d: d.nudged(d.cast(np.full(d.n, 0.5)), 20)),
    "middle": hard(lambda d: d.uniform(0.25, 0.55)),
    "edges": hard(lambda d: d.bits()),
    "soft": pair(lambda d: d.uniform(0, 1), lambda d: d.uniform(0, 1)),
    "soft_near_0": pair(lambda d: d.powers(np.log10(d.tiny) + 0.1, -2), lambda d: d.uniform(0, 1)),
    "soft_near_1": pair(
        lambda d: d.cast(1 - d.eps / 2 * d.rng.integers(1, 100, d.n)), lambda d: d.uniform(0, 1)
    ),
    "soft_edges": pair(lambda d: d.bits(), lambda d: d.uniform(0, 1)),
    "matched": near(lambda d: d.uniform(0.01, 0.95), lambda d, y: d.nudged(y)),
    "clipped": with_(hard(lambda d: d.powers(-8, 0)), eps=2.0**-12),
    "edges_eps_1e-50": with_(hard(lambda d: d.bits()), eps=1e-50),
    "soft_edges_eps_1e-50": with_(pair(lambda d: d.bits(), lambda d: d.uniform(0, 1)), eps=1e-50),
    "clipped_soft": with_(
        pair(lambda d: d.cast(1 - d.powers(-4, 0).astype(float)), lambda d: d.uniform(0, 1)),
        eps=2.0**-8,
    ),
    **{
        f"{name}_smoothed": with_(hard(family), label_smoothing=share)
        for name, family, share in (
            ("uniform", lambda d: d.uniform(0, 1), 0.125),
            ("near_0", lambda d: d.powers(np.log10(d.tiny) + 0.1, -2), 0.125),
            ("near_1", lambda d: d.cast(1 - d.eps / 2 * d.rng.integers(1, 100, d.n)), 0.1),
            ("edges", lambda d: d.bits(), 0.1),
            ("middle", lambda d: d.uniform(0.25, 0.55), 1e-50),
        )
    },
    "soft_smoothed": with_(
        pair(lambda d: d.uniform(0, 1), lambda d: d.uniform(0, 1)), label_smoothing=0.1
    ),
    "ignored": ignoring(hard(lambda d: d.uniform(0, 1)), -1),
}


def scores(x: Callable[[Draw, Array], Any]) -> Family:
    def family(d: Draw) -> Kwargs:
        y = d.signs()
        return {"x": d.cast(x(d, y.astype(np.float64))), "y": y}

    return family


HINGE: Families = {
    "normal": scores(lambda d, y: d.normal().astype(float)),
    "scale_10": scores(lambda d, y: d.normal(10).astype(float)),
    "scale_100": scores(lambda d, y: d.normal(100).astype(float)),
    "near_margin": scores(lambda d, y: y * d.nudged(d.cast(np.ones(d.n)), 100).astype(float)),
    "at_margin": scores(lambda d, y: y),
    "small": scores(lambda d, y: y * d.powers(max(-d.digits, -30), -2).astype(float)),
    "wrong": scores(lambda d, y: -y * d.powers(0, d.digits / 2).astype(float)),
    "huge": scores(lambda d, y: d.normal(d.max / 100).astype(float)),
    "near_max": scores(lambda d, y: d.signs().astype(float) * d.max),
    "subnormal": scores(lambda d, y: d.tiniest().astype(float)),
    "ignored": ignoring(scores(lambda d, y: d.normal().astype(float)), 0),
}

SOFT_MARGIN: Families = {
    "normal_1": scores(lambda d, y: d.normal().astype(float)),
    "normal_10": scores(lambda d, y: d.normal(10).astype(float)),
    "normal_100": scores(lambda d, y: d.normal(100).astype(float)),
    "certain": scores(lambda d, y: y * d.uniform(2, d.gap).astype(float)),
    "wrong": scores(lambda d, y: -y * d.uniform(2, d.gap).astype(float)),
    "huge": scores(lambda d, y: d.normal(d.max / 100).astype(float)),
    "small": scores(lambda d, y: d.powers(max(-d.digits, -30), -1).astype(float)),
    "subnormal": scores(lambda d, y: d.tiniest().astype(float)),
    "infinite": scores(lambda d, y: d.signs().astype(float) * np.inf),
}


# Preferences: log-probabilities of answers, the sums over their tokens or the means.


def answer(d: Draw, scale: float) -> Array:
    return d.cast(-np.abs(d.normal(scale).astype(float)))


def apart(d: Draw, *, right: bool) -> Kwargs:
    """Answers of which one is much less likely, by up to ten times what leaves a normal number."""
    gap = min(10 * (d.gap - 5), d.max / 100)
    one, other = d.cast(-d.uniform(0, 1).astype(float)), d.cast(-d.uniform(1, gap).astype(float))
    return {"x": one, "y": other} if right else {"x": other, "y": one}


def long_answers(d: Draw, move: float = 1.0) -> Kwargs:
    y = d.cast(-d.uniform(1e3, 2e4).astype(float))
    return {"x": d.cast(y.astype(float) + move * d.normal().astype(float)), "y": y}


ANSWERS: Families = {
    "normal": pair(lambda d: answer(d, 10), lambda d: answer(d, 10)),
    "scale_100": pair(lambda d: answer(d, 100), lambda d: answer(d, 100)),
    "close": near(lambda d: answer(d, 10), lambda d, y: d.nudged(y)),
    "equal": near(lambda d: answer(d, 10), lambda d, y: y),
    "right": lambda d: apart(d, right=True),
    "wrong": lambda d: apart(d, right=False),
    "long": long_answers,
    "small": pair(
        lambda d: d.cast(-d.powers(max(-d.digits, -30), -1).astype(float)),
        lambda d: d.cast(-d.powers(max(-d.digits, -30), -1).astype(float)),
    ),
    "huge": pair(
        lambda d: d.cast(-d.powers(d.digits / 2, d.digits - 1.5).astype(float)),
        lambda d: d.cast(-d.powers(d.digits / 2, d.digits - 1.5).astype(float)),
    ),
    "subnormal": pair(lambda d: -d.tiniest(), lambda d: -d.tiniest()),
}


def referred(base: str, move: Callable[[Draw, Array], Array]) -> Family:
    """Answers whose references are theirs, moved."""

    def family(d: Draw) -> Kwargs:
        pair = ANSWERS[base](d)
        refs = {"ref_chosen": move(d, pair["x"]), "ref_rejected": move(d, pair["y"])}
        return pair | refs

    return family


def elsewhere(scale: float) -> Callable[[Draw, Array], Array]:
    return lambda d, a: d.cast(a.astype(float) + d.normal(scale).astype(float))


REFERRED: Families = {
    "normal": referred("normal", elsewhere(3)),
    "far": referred("scale_100", elsewhere(100)),
    "near_the_reference": referred("scale_100", lambda d, a: d.nudged(a)),
    "at_the_reference": referred("scale_100", lambda d, a: a),
    "long": referred("long", elsewhere(2)),
    "long_near_the_reference": referred("long", lambda d, a: d.nudged(a)),
    "without": referred("normal", lambda d, a: d.cast(np.zeros(d.n))),
    "right": referred("right", lambda d, a: d.cast(np.zeros(d.n))),
    "wrong": referred("wrong", lambda d, a: d.cast(np.zeros(d.n))),
    "small": referred("small", lambda d, a: -d.powers(-6, -1)),
    "huge": referred("huge", lambda d, a: answer(d, 10)),
    "subnormal": referred("subnormal", lambda d, a: -d.tiniest()),
}


def labelled(base: str, y: Callable[[Draw], Array]) -> Family:
    """Answers, each with a label and its reference."""

    def family(d: Draw) -> Kwargs:
        found = REFERRED[base](d)
        return {"x": found["x"], "y": y(d), "ref_logp": found["ref_chosen"]}

    return family


LABELLED_ANSWERS: Families = {
    **{base: labelled(base, lambda d: d.bits()) for base in REFERRED},
    "soft": labelled("normal", lambda d: d.uniform(0, 1)),
}

MEAN_ANSWERS: Families = {
    "normal": pair(lambda d: answer(d, 1), lambda d: answer(d, 1)),
    "scale_10": pair(lambda d: answer(d, 10), lambda d: answer(d, 10)),
    "equal": near(lambda d: answer(d, 1), lambda d, y: y),
    "close": near(lambda d: answer(d, 1), lambda d, y: d.nudged(y)),
    "half": pair(lambda d: answer(d, 1), lambda d: d.nudged(d.cast(np.full(d.n, -np.log(2))), 40)),
    "chosen_certain": pair(
        lambda d: -d.powers(max(np.log10(d.tiny) + 1, -300), -2), lambda d: answer(d, 1)
    ),
    "rejected_certain": pair(
        lambda d: answer(d, 1), lambda d: -d.powers(max(np.log10(d.tiny) + 1, -300), -2)
    ),
    "both_certain": pair(lambda d: -d.powers(-4, -1), lambda d: -d.powers(-4, -1)),
    "right": pair(lambda d: answer(d, 1), lambda d: d.cast(-d.uniform(2, d.gap).astype(float))),
    "wrong": pair(lambda d: d.cast(-d.uniform(2, d.gap).astype(float)), lambda d: answer(d, 1)),
    "huge": ANSWERS["huge"],
    "positive": pair(lambda d: d.uniform(0.1, 2), lambda d: answer(d, 1)),
}
