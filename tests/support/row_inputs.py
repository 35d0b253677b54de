"""Inputs that losses of rows get wrong, from ordinary to extreme."""

from collections.abc import Callable, Sequence

import numpy as np

from tests.support.draws import Array, Draw, Families, Family, Kwargs, with_
from tests.support.inputs import huge, near, pair, varied

C = 10


def rows(scale: float, c: int = C) -> Callable[[Draw], Array]:
    return lambda d: d.normal(scale, (d.n, c))


def labelled(x: Callable[[Draw], Array]) -> Family:
    def family(d: Draw) -> Kwargs:
        rows = x(d)
        return {"x": rows, "y": d.labels(rows.shape[-1])}

    return family


def certain(d: Draw, c: int = C, *, rounded: bool = False, right: bool = True) -> Kwargs:
    """One logit ahead of the others by a gap of 2 to the largest."""
    y = d.labels(c)
    x = d.rng.normal(size=(d.n, c))
    gap = d.rng.uniform(2, d.gap - 5, d.n)
    ahead = y if right else (y + 1) % c
    x[np.arange(d.n), ahead] = x.max(axis=-1) + gap
    return {"x": d.cast(np.round(x) if rounded else x), "y": y}


def masked(family: Family, *, target: bool = False) -> Family:
    """A third of the classes have logit -inf; the target only if asked."""

    def masked(d: Draw) -> Kwargs:
        kwargs = family(d)
        x, y = kwargs["x"].copy(), kwargs["y"]
        rows = np.arange(len(x))
        hidden = d.rng.random(x.shape) < 0.35
        # Each row keeps a class: the target or, if that is to be hidden, the one beside it.
        label = y if y.ndim == 1 else y.argmax(axis=-1)
        hidden[rows, (label + 1) % x.shape[-1] if target else label] = False
        if target:
            hidden[rows, label] = True
        x[hidden] = -np.inf
        kwargs["x"] = x
        if y.ndim == 2:
            kwargs["y"] = np.where(hidden, 0, y).astype(y.dtype)
        return kwargs

    return masked


def ties(d: Draw) -> Kwargs:
    x = np.round(d.rng.normal(size=(d.n, C)) * 3)
    x[:, :3] = x.max(axis=-1, keepdims=True)
    return {"x": d.cast(x), "y": d.labels(C)}


def onehot(family: Family) -> Family:
    def onehot(d: Draw) -> Kwargs:
        kwargs = family(d)
        c = kwargs["x"].shape[-1]
        return {**kwargs, "y": d.cast(np.eye(c)[kwargs["y"]])}

    return onehot


def soft(family: Family, y: Callable[[Draw], Array]) -> Family:
    return lambda d: {**family(d), "y": y(d)}


def class_weights(family: Family) -> Family:
    return lambda d: {**family(d), "class_weight": d.powers(-2, 1, (C,))}


def ignoring(family: Family) -> Family:
    def ignoring(d: Draw) -> Kwargs:
        kwargs = family(d)
        y = np.where(d.rng.random(d.n) < 0.3, -100, kwargs["y"])
        x = kwargs["x"].copy()
        x[y == -100, 0] = np.nan
        return {**kwargs, "x": x, "y": y, "ignore_index": -100}

    return ignoring


def matched_rows(d: Draw) -> Kwargs:
    x = d.normal(2, (d.n, C))
    e = np.exp(x.astype(np.float64))
    return {"x": x, "y": d.cast(e / e.sum(axis=-1, keepdims=True))}


def few(family: Family) -> Family:
    """A family of wide rows: fewer of them."""

    def few(d: Draw) -> Kwargs:
        return family(Draw(d.rng, d.dtype, max(d.n // 20, 1)))

    return few


LABELLED: Families = {
    "normal_1": labelled(rows(1)),
    "normal_10": labelled(rows(10)),
    "normal_100": labelled(rows(100)),
    "certain": certain,
    "certain_rounded": lambda d: certain(d, rounded=True),
    "wrong": lambda d: certain(d, right=False),
    "huge": labelled(lambda d: d.normal(d.max / 1e4, (d.n, C))),
    "near_max": labelled(lambda d: d.uniform(-d.max, d.max, (d.n, C))),
    "masked": masked(labelled(rows(10))),
    "masked_target": masked(labelled(rows(3)), target=True),
    "ties": ties,
    "equal": labelled(lambda d: d.cast(np.zeros((d.n, C)) + d.rng.normal(size=(d.n, 1)))),
    "offset": labelled(lambda d: d.cast(1000 + d.rng.normal(size=(d.n, C)))),
    "subnormal": labelled(lambda d: d.tiniest((d.n, C))),
    "one_class": labelled(rows(1, 1)),
    "two_classes": lambda d: certain(d, 2),
}

WIDE: Families = {
    "normal_1_c1000": few(labelled(rows(1, 1000))),
    "certain_c1000": few(lambda d: certain(d, 1000)),
}

SOFT_ROWS: Families = {
    "onehot_normal": onehot(labelled(rows(3))),
    "onehot_certain": onehot(certain),
    "onehot_masked": onehot(masked(labelled(rows(10)))),
    "onehot_huge": onehot(LABELLED["huge"]),
    "soft_normal": soft(labelled(rows(1)), lambda d: d.probabilities(C)),
    "soft_scale_100": soft(labelled(rows(100)), lambda d: d.probabilities(C)),
    "soft_spread": soft(labelled(rows(10)), lambda d: d.probabilities(C, 10)),
    "soft_masked": masked(soft(labelled(rows(3)), lambda d: d.probabilities(C))),
    "soft_unnormalised": soft(labelled(rows(3)), lambda d: d.uniform(0, 3, (d.n, C))),
    "matched": matched_rows,
}


def likely(low: float, high: float) -> Callable[[Draw], Array]:
    """Rows of numbers from 10^low to 10^high, not normalised."""
    return lambda d: d.powers(max(low, np.log10(d.tiny)), high, (d.n, C))


PROBABILITIES: Families = {
    "normal": labelled(lambda d: d.probabilities(C)),
    "peaked": labelled(lambda d: d.probabilities(C, 30)),
    "small": labelled(likely(-300, -1)),
    "near_1": labelled(lambda d: d.cast(1 - d.eps / 2 * d.rng.integers(0, 100, (d.n, C)))),
    "edges": labelled(lambda d: d.cast(d.rng.integers(0, 2, (d.n, C)))),
    "subnormal": labelled(lambda d: d.tiniest((d.n, C))),
    "outside": labelled(lambda d: d.uniform(-0.3, 1.3, (d.n, C))),
    "onehot": onehot(labelled(lambda d: d.probabilities(C))),
    "soft": soft(labelled(likely(-300, 0)), lambda d: d.probabilities(C)),
    "soft_edges": soft(
        labelled(lambda d: d.cast(d.rng.integers(0, 2, (d.n, C)))),
        lambda d: d.probabilities(C, 10),
    ),
    "class_weights": class_weights(labelled(lambda d: d.probabilities(C))),
    "class_weights_soft": class_weights(
        soft(labelled(lambda d: d.probabilities(C)), lambda d: d.probabilities(C))
    ),
    "smoothed": with_(labelled(likely(-30, 0)), label_smoothing=0.1),
    "smoothed_soft": with_(
        soft(labelled(likely(-30, 0)), lambda d: d.probabilities(C)), label_smoothing=0.125
    ),
    "smoothed_class_weights": with_(
        class_weights(labelled(lambda d: d.probabilities(C))), label_smoothing=0.1
    ),
    "ignored": ignoring(labelled(lambda d: d.probabilities(C))),
}
LIKELY: Families = {k: with_(v, from_logits=False) for k, v in PROBABILITIES.items()}
"""What a loss of logits takes, too."""

CERTAIN = ("peaked", "small", "near_1", "edges", "soft_edges")
"""Of these the probabilities that are hard."""


def likely_ones(smoothed: bool = True, **varied_by: Sequence[float]) -> Families:
    """Probabilities for a loss that has parameters, and the hard ones for other values of these."""
    base = {k: v for k, v in LIKELY.items() if smoothed or not k.startswith("smoothed")}
    others = [
        varied(LIKELY, CERTAIN, **{name: value})
        for name, values in varied_by.items()
        for value in values
    ]
    every = {k: v for each in (base, *others) for k, v in each.items()}
    return {f"probabilities_{k}": v for k, v in every.items()}


def possible(family: Family) -> Family:
    """A third of the classes have a mask; what is behind it is NaN, and no target."""

    def possible(d: Draw) -> Kwargs:
        kwargs = family(d)
        x = masked(lambda _: {**kwargs, "x": kwargs["x"].copy()})(d)["x"]
        mask = x != -np.inf
        return {**kwargs, "x": np.where(mask, x, d.cast(np.nan)), "mask": mask}

    return possible


CROSS_ENTROPY: Families = {
    **LABELLED,
    **WIDE,
    **SOFT_ROWS,
    "class_weights": class_weights(labelled(rows(3))),
    "class_weights_soft": class_weights(SOFT_ROWS["soft_normal"]),
    "smoothed": with_(labelled(rows(3)), label_smoothing=0.125),
    "smoothed_0.1": with_(labelled(rows(3)), label_smoothing=0.1),
    "smoothed_certain": with_(certain, label_smoothing=0.125),
    "smoothed_masked": with_(LABELLED["masked"], label_smoothing=0.125),
    "smoothed_soft": with_(SOFT_ROWS["soft_normal"], label_smoothing=0.125),
    "smoothed_class_weights": with_(class_weights(labelled(rows(3))), label_smoothing=0.125),
    "ignored": ignoring(labelled(rows(1))),
    "possible": possible(labelled(rows(10))),
    "possible_smoothed": with_(possible(certain), label_smoothing=0.125),
    "possible_onehot": possible(onehot(labelled(rows(3)))),
    "huge_logits": labelled(lambda d: huge(d, (d.n, C))),
    "onehot_huge_logits": onehot(labelled(lambda d: huge(d, (d.n, C)))),
    "soft_huge_logits": soft(labelled(lambda d: huge(d, (d.n, C))), lambda d: d.probabilities(C)),
    **varied(LABELLED, ("normal_10", "huge"), label_smoothing=1e-50),
    **varied(LABELLED, ("normal_10", "masked"), softcap=5.0),
    **varied(LABELLED, ("normal_10", "certain"), temperature=0.3),
    **varied(LABELLED, ("normal_10", "masked"), z_loss=0.125),
    **varied(SOFT_ROWS, ("soft_normal",), z_loss=0.125, softcap=30.0, temperature=2.0),
    "shaped_class_weights": with_(
        class_weights(SOFT_ROWS["soft_normal"]), z_loss=0.125, softcap=3.0, label_smoothing=0.125
    ),
    **{f"probabilities_{k}": v for k, v in LIKELY.items()},
}

SOFTMAX_FOCAL: Families = {
    **LABELLED,
    **{k: v for k, v in SOFT_ROWS.items() if k != "soft_unnormalised"},
    "class_weights": class_weights(labelled(rows(3))),
    "ignored": ignoring(labelled(rows(1))),
    **varied(LABELLED, ("normal_10", "certain", "wrong", "masked"), gamma=0.0),
    **varied(LABELLED, ("normal_10", "certain", "wrong", "masked"), gamma=0.5),
    **varied(LABELLED, ("normal_10", "certain", "wrong"), gamma=1.0),
    **varied(LABELLED, ("normal_10", "certain", "wrong"), gamma=5.0),
    **varied(SOFT_ROWS, ("soft_spread",), gamma=1.5),
    **varied(LABELLED, ("normal_100",), gamma=1e-50),
    **varied(LABELLED, ("normal_1", "certain", "masked"), label_smoothing=0.125),
    **varied(LABELLED, ("normal_10", "wrong"), label_smoothing=0.1, gamma=0.5),
    **varied(SOFT_ROWS, ("soft_normal", "onehot_certain"), label_smoothing=0.125),
    "smoothed_class_weights": with_(class_weights(labelled(rows(3))), label_smoothing=0.125),
    **likely_ones(gamma=(0.0, 0.5, 1.0, 1.5, 5.0, 1e-50)),
}
for _gamma in (0.01, 0.25, 0.5, 1.0, 1.5):
    SOFTMAX_FOCAL.update(varied(LABELLED, ("normal_100", "huge"), gamma=_gamma))
    SOFTMAX_FOCAL.update(varied(SOFT_ROWS, ("soft_scale_100", "onehot_huge"), gamma=_gamma))


LED: Families = {
    **LABELLED,
    "near_max": labelled(lambda d: d.uniform(-d.max / 2, d.max / 2, (d.n, C))),
    "class_weights": class_weights(labelled(rows(3))),
    "ignored": ignoring(labelled(rows(1))),
    "huge_logits": labelled(lambda d: huge(d, (d.n, C))),
}
"""Rows of scores and the class that is to lead."""


def labels_of(x: Callable[[Draw], Array], *, soft: bool = False) -> Family:
    def family(d: Draw) -> Kwargs:
        rows = x(d)
        y = d.rng.random(rows.shape)
        return {"x": rows, "y": d.cast(y if soft else np.round(y))}

    return family


MANY: Families = {
    "normal_1": labels_of(rows(1)),
    "normal_10": labels_of(rows(10)),
    "normal_100": labels_of(rows(100)),
    "certain": lambda d: certain_of_each(d, right=True),
    "wrong": lambda d: certain_of_each(d, right=False),
    "huge": labels_of(lambda d: d.normal(d.max / 1e4, (d.n, C))),
    "near_max": labels_of(lambda d: d.uniform(-d.max / C, d.max / C, (d.n, C))),
    "zero": labels_of(lambda d: d.cast(np.zeros((d.n, C)))),
    "subnormal": labels_of(lambda d: d.tiniest((d.n, C))),
    "one_label": labels_of(rows(10, 1)),
    "soft": labels_of(rows(3), soft=True),
    "soft_scale_100": labels_of(rows(100), soft=True),
}
"""Rows of logits of which each has a target."""


def certain_of_each(d: Draw, *, right: bool) -> Kwargs:
    y = d.rng.integers(0, 2, (d.n, C))
    side = (2.0 * y - 1) * (1 if right else -1)
    return {"x": d.cast(side * d.rng.uniform(2, d.gap - 5, y.shape)), "y": d.cast(y)}


def ranks(x: Callable[[Draw], Array], last: int = C) -> Family:
    """Thresholds and ranks, of which there is one more."""
    return lambda d: {"x": x(d), "y": d.rng.integers(0, last + 1, d.n)}


RANKS: Families = {
    "normal_1": ranks(rows(1)),
    "normal_10": ranks(rows(10)),
    "normal_100": ranks(rows(100)),
    "certain": lambda d: certain_rank(d, right=True),
    "wrong": lambda d: certain_rank(d, right=False),
    "huge": ranks(lambda d: d.normal(d.max / 1e4, (d.n, C))),
    "near_max": ranks(lambda d: d.uniform(-d.max / C, d.max / C, (d.n, C))),
    "zero": ranks(lambda d: d.cast(np.zeros((d.n, C)))),
    "subnormal": ranks(lambda d: d.tiniest((d.n, C))),
    "one_threshold": ranks(rows(10, 1), last=1),
}


def certain_rank(d: Draw, *, right: bool) -> Kwargs:
    y = d.rng.integers(0, C + 1, d.n)
    side = np.where(y[:, None] > np.arange(C), 1.0, -1.0) * (1 if right else -1)
    return {"x": d.cast(side * d.rng.uniform(2, d.gap - 5, side.shape)), "y": y}


def log_rows(d: Draw, scale: float = 1.0, c: int = C) -> Array:
    z = d.rng.normal(size=(d.n, c)) * scale
    z = z - z.max(axis=-1, keepdims=True)
    return d.cast(z - np.log(np.exp(z).sum(axis=-1, keepdims=True)))


NLL: Families = {
    "normal_1": labelled(log_rows),
    "normal_100": labelled(lambda d: log_rows(d, 100)),
    "masked": masked(labelled(log_rows)),
    "masked_target": masked(labelled(log_rows), target=True),
    "near_max": labelled(lambda d: d.uniform(-d.max, 0, (d.n, C))),
    "subnormal": labelled(lambda d: d.cast(-d.tiniest((d.n, C)).astype(float))),
    "class_weights": class_weights(labelled(log_rows)),
    "ignored": ignoring(labelled(log_rows)),
}


def divergence(x: Callable[[Draw], Array], y: Callable[[Draw], Array]) -> Family:
    return pair(x, y)


def log_of(scale: float = 1.0) -> Family:
    """Log-probabilities rounded from the target itself."""

    def family(d: Draw) -> Kwargs:
        y = d.probabilities(C, scale)
        y = np.maximum(y, d.cast(d.tiny))
        return {"x": d.cast(np.log(y.astype(np.float64))), "y": y}

    return family


def sparse(d: Draw) -> Array:
    y = d.rng.random((d.n, C)) * (d.rng.random((d.n, C)) < 0.6)
    y[:, 0] += 0.1
    return d.cast(y / y.sum(axis=-1, keepdims=True))


def kl_masked(d: Draw) -> Kwargs:
    x, y = log_rows(d), sparse(d)
    x[y == 0] = -np.inf
    return {"x": x, "y": y}


KL: Families = {
    "normal": divergence(log_rows, lambda d: d.probabilities(C)),
    "scale_10": divergence(lambda d: log_rows(d, 10), lambda d: d.probabilities(C, 3)),
    "scale_100": divergence(lambda d: log_rows(d, 100), lambda d: d.probabilities(C)),
    "matched": log_of(),
    "matched_peaked": log_of(5),
    "zeros": divergence(log_rows, sparse),
    "masked": kl_masked,
    "masked_target": lambda d: masked(
        lambda e: {"x": log_rows(e), "y": e.probabilities(C)}, target=True
    )(d),
    "log_normal": with_(divergence(log_rows, log_rows), log_target=True),
    "log_scale_100": with_(
        divergence(lambda d: log_rows(d, 100), lambda d: log_rows(d, 100)), log_target=True
    ),
    "log_close": with_(near(log_rows, lambda d, y: d.nudged(y)), log_target=True),
    "log_equal": with_(near(log_rows, lambda d, y: y), log_target=True),
    "log_masked": lambda d: log_masked(d),
}


def log_masked(d: Draw) -> Kwargs:
    x, y = log_rows(d), log_rows(d)
    hidden = d.rng.random(x.shape) < 0.3
    hidden[:, 0] = False
    y[hidden] = -np.inf
    x[hidden & (d.rng.random(x.shape) < 0.5)] = -np.inf
    return {"x": x, "y": y, "log_target": True}


def elements_of(family: Family) -> Family:
    """The first elements of rows as items of their own."""

    def elements(d: Draw) -> Kwargs:
        return {k: a.ravel()[: d.n] if k in ("x", "y") else a for k, a in family(d).items()}

    return elements


KL_TERMS: Families = {name: elements_of(family) for name, family in KL.items()}


def apart(distance: float, scale: float = 1.0) -> Family:
    """Two rows of logits, each pair at most `distance` apart."""
    return near(rows(scale), lambda d, y: y.astype(float) + distance * d.rng.normal(size=y.shape))


def both_masked(d: Draw) -> Kwargs:
    x, y = d.normal(3, (d.n, C)), d.normal(3, (d.n, C))
    hidden = d.rng.random(x.shape) < 0.3
    hidden[:, 0] = False
    y[hidden] = -np.inf
    x[hidden & (d.rng.random(x.shape) < 0.7)] = -np.inf
    return {"x": x, "y": y}


def hidden_mass(d: Draw) -> Kwargs:
    """A class with probability under y and none under x: an infinite divergence."""
    x, y = d.normal(3, (d.n, C)), d.normal(3, (d.n, C))
    x[:, 3] = -np.inf
    return {"x": x, "y": y}


KL_LOGITS: Families = {
    "normal_1": divergence(rows(1), rows(1)),
    "normal_10": divergence(rows(10), rows(10)),
    "normal_100": divergence(rows(100), rows(100)),
    "near_1e-1": apart(1e-1),
    "near_1e-3": apart(1e-3),
    "near_1e-3_scale_10": apart(1e-3, 10),
    "near_1e-5": apart(1e-5),
    "close": near(rows(1), lambda d, y: d.nudged(y)),
    "shifted": near(
        lambda d: d.cast(np.round(d.rng.normal(size=(d.n, C)) * 8) / 8),
        lambda d, y: y.astype(float) + 4,
    ),
    "equal": near(rows(3), lambda d, y: y),
    "certain": lambda d: {"x": certain(d)["x"], "y": certain(d)["x"]},
    "certain_same": lambda d: certain_same(d),
    "ties": lambda d: {"x": ties(d)["x"], "y": ties(d)["x"]},
    "offset": divergence(lambda d: d.cast(1000 + d.rng.normal(size=(d.n, C))), rows(1)),
    "huge": divergence(
        lambda d: d.normal(d.max / 1e4, (d.n, C)), lambda d: d.normal(d.max / 1e4, (d.n, C))
    ),
    "huge_x": divergence(lambda d: huge(d, (d.n, C)), rows(1)),
    "huge_y": divergence(rows(1), lambda d: huge(d, (d.n, C))),
    "huge_both": divergence(lambda d: huge(d, (d.n, C)), lambda d: huge(d, (d.n, C))),
    "huge_close": near(lambda d: huge(d, (d.n, C)), lambda d, y: d.nudged(y)),
    "masked": both_masked,
    "masked_target": hidden_mass,
    "subnormal": divergence(lambda d: d.tiniest((d.n, C)), lambda d: d.tiniest((d.n, C))),
    "one_class": divergence(rows(1, 1), rows(1, 1)),
}


def certain_same(d: Draw) -> Kwargs:
    y = certain(d)["x"]
    return {"x": d.cast(y.astype(float) + 0.1 * d.rng.normal(size=y.shape)), "y": y}


def moved(distance: float) -> Family:
    return near(
        lambda d: d.probabilities(C),
        lambda d, y: y.astype(float) * (1 + distance * d.rng.uniform(-1, 1, y.shape)),
    )


JS: Families = {
    "normal": divergence(lambda d: d.probabilities(C), lambda d: d.probabilities(C)),
    "near_1e-1": moved(1e-1),
    "near_1e-3": moved(1e-3),
    "near_1e-5": moved(1e-5),
    "close": near(lambda d: d.probabilities(C), lambda d, y: d.nudged(y)),
    "equal": near(lambda d: d.probabilities(C), lambda d, y: y),
    "peaked": divergence(lambda d: d.probabilities(C, 10), lambda d: d.probabilities(C, 10)),
    "zeros": divergence(sparse, sparse),
    "far": divergence(
        lambda d: d.powers(max(np.log10(d.tiny) + 1, -30), 0, (d.n, C)),
        lambda d: d.powers(max(np.log10(d.tiny) + 1, -30), 0, (d.n, C)),
    ),
    "subnormal": divergence(lambda d: d.tiniest((d.n, C)), lambda d: d.probabilities(C)),
}


def hard_rows(x: Callable[[Draw], Array]) -> Family:
    """Probabilities of pixels, each of the region or not."""

    def family(d: Draw) -> Kwargs:
        p = x(d)
        return {"x": p, "y": d.cast(d.rng.integers(0, 2, p.shape))}

    return family


def nearly_right(d: Draw) -> Kwargs:
    y = d.rng.integers(0, 2, (d.n, C))
    off = d.powers(-20, -1, (d.n, C)).astype(float)
    return {"x": d.cast(np.where(y == 1, 1 - off, off)), "y": d.cast(y)}


def below_1(d: Draw) -> Array:
    return d.cast(1 - d.eps / 2 * d.rng.integers(1, 100, (d.n, C)))


def part_of_1(d: Draw, c: int = C) -> Array:
    return d.uniform(0, 1, (d.n, c))


REGIONS: Families = {
    "uniform": hard_rows(part_of_1),
    "near_0": hard_rows(lambda d: d.powers(max(np.log10(d.tiny) + 1, -30), -2, (d.n, C))),
    "near_1": hard_rows(below_1),
    "nearly_right": nearly_right,
    "edges": hard_rows(lambda d: d.cast(d.rng.integers(0, 2, (d.n, C)))),
    "right": near(lambda d: d.cast(d.rng.integers(0, 2, (d.n, C))), lambda d, y: y),
    "absent": pair(part_of_1, lambda d: d.cast(np.zeros((d.n, C)))),
    "nothing": pair(lambda d: d.cast(np.zeros((d.n, C))), lambda d: d.cast(np.zeros((d.n, C)))),
    "everywhere": pair(part_of_1, lambda d: d.cast(np.ones((d.n, C)))),
    "one_pixel": hard_rows(lambda d: part_of_1(d, 1)),
    "soft": pair(part_of_1, part_of_1),
    "soft_close": near(part_of_1, lambda d, y: np.minimum(d.nudged(y), d.cast(1))),
    "uniform_c1000": few(hard_rows(lambda d: part_of_1(d, 1000))),
}


def graded(x: Callable[[Draw], Array], grades: int = 5) -> Family:
    """Scores of lists, and labels of a few grades."""

    def family(d: Draw) -> Kwargs:
        scores = x(d)
        return {"x": scores, "y": d.cast(d.rng.integers(0, grades, scores.shape))}

    return family


def by_label(distance: float) -> Family:
    """Lists in the right order, or with a negative distance in the reverse of it."""

    def family(d: Draw) -> Kwargs:
        y = d.rng.integers(0, 5, (d.n, C))
        return {"x": d.cast(distance * y + d.rng.normal(size=y.shape)), "y": d.cast(y)}

    return family


LISTS: Families = {
    "normal_1": graded(rows(1)),
    "normal_10": graded(rows(10)),
    "normal_100": graded(rows(100)),
    "ordered": by_label(10),
    "reversed": by_label(-10),
    "ties": lambda d: {**graded(rows(1))(d), "x": ties(d)["x"]},
    "equal": graded(lambda d: d.cast(np.zeros((d.n, C)) + d.rng.normal(size=(d.n, 1)))),
    "one_grade": graded(rows(1), 1),
    "two_grades": graded(rows(3), 2),
    "offset": graded(lambda d: d.cast(1000 + d.rng.normal(size=(d.n, C)))),
    "near": graded(lambda d: d.cast(1 + d.eps * d.rng.integers(0, 100, (d.n, C)))),
    "huge": graded(lambda d: d.normal(d.max / 1e4, (d.n, C))),
    "subnormal": graded(lambda d: d.tiniest((d.n, C))),
    "one_member": graded(rows(1, 1)),
    "two_members": graded(rows(1, 2)),
    "normal_1_c60": few(graded(rows(1, 60))),
}


GRADED: Families = {
    **LISTS,
    "grades_between": lambda d: {"x": d.normal(1, (d.n, C)), "y": d.uniform(0, 4, (d.n, C))},
}
"""Lists whose labels are computed with."""


def tagged(family: Family) -> Family:
    """Lists whose members are of two grades: an item's labels, and those that it has not."""

    def tagged(d: Draw) -> Kwargs:
        kwargs = family(d)
        return {**kwargs, "y": d.cast(kwargs["y"] > 2)}

    return tagged


TAGS: Families = {
    **{name: tagged(family) for name, family in LISTS.items() if not name.endswith("_grades")},
    "every_tag": lambda d: {"x": d.normal(1, (d.n, C)), "y": d.cast(np.ones((d.n, C)))},
}


def ordered(family: Family) -> Family:
    """Lists of which no two members have the same label."""

    def ordered(d: Draw) -> Kwargs:
        x = family(d)["x"]
        return {
            "x": x,
            "y": d.cast(d.rng.permuted(np.tile(np.arange(x.shape[1]), (d.n, 1)), axis=1)),
        }

    return ordered


ORDERS: Families = {
    **LISTS,
    **{f"{name}_no_two_alike": ordered(LISTS[name]) for name in ("normal_1", "normal_10", "huge")},
}


def cohort(family: Family) -> Family:
    """Members whose labels are times, of an event for two in three: for the first at least."""

    def cohort(d: Draw) -> Kwargs:
        kwargs = family(d)
        event = d.rng.random(kwargs["x"].shape) < 0.7
        event[:, 0] = True
        return {**kwargs, "event": d.cast(event)}

    return cohort


COHORTS: Families = {name: cohort(family) for name, family in ORDERS.items()}


def forecast_by(members: Callable[[Draw], Array], y: Callable[[Draw, Array], Array]) -> Family:
    """Ensembles, and the numbers that they are forecasts of."""

    def family(d: Draw) -> Kwargs:
        x = members(d)
        return {"x": x, "y": d.cast(y(d, x.astype(float)))}

    return family


def by_chance(d: Draw, x: Array) -> Array:
    return d.rng.normal(size=len(x))


ENSEMBLES: Families = {
    "normal": forecast_by(rows(1), by_chance),
    "wide": forecast_by(rows(100), by_chance),
    "small": forecast_by(rows(1e-3), lambda d, x: by_chance(d, x) * 1e-3),
    "tight": forecast_by(lambda d: d.cast(1 + d.eps * d.rng.integers(0, 100, (d.n, C))), by_chance),
    "on_a_member": forecast_by(rows(1), lambda d, x: x[:, 3]),
    "near_a_member": forecast_by(rows(1), lambda d, x: x[:, 3] * (1 + d.eps)),
    "members_alike": forecast_by(
        lambda d: d.cast(np.round(2 * rows(1)(d).astype(float))), by_chance
    ),
    "all_alike": forecast_by(
        lambda d: d.cast(np.zeros((d.n, C)) + by_chance(d, d.labels(1))[:, None]), by_chance
    ),
    "far": forecast_by(rows(1), lambda d, x: 1e4 * by_chance(d, x)),
    "huge": forecast_by(lambda d: d.normal(d.max / 1e4, (d.n, C)), by_chance),
    "near_max": forecast_by(
        lambda d: d.uniform(-d.max / 4, d.max / 4, (d.n, C)), lambda d, x: x[:, 0] / 2
    ),
    "subnormal": forecast_by(lambda d: d.tiniest((d.n, C)), lambda d, x: x[:, 0]),
    "two_members": forecast_by(rows(1, 2), by_chance),
    "normal_c60": few(forecast_by(rows(1, 60), by_chance)),
}
ENSEMBLE_OF_ONE: Families = {"one_member": forecast_by(rows(1, 1), by_chance)}

HARD_REGIONS: Families = {k: v for k, v in REGIONS.items() if not k.startswith("soft")} | {
    "uniform_c60": few(hard_rows(lambda d: part_of_1(d, 60)))
}
"""Regions whose pixels are each of the region or not."""
del HARD_REGIONS["uniform_c1000"]


def image(family: Family) -> Family:
    """Probabilities of two classes, each pixel of one of these."""

    def image(d: Draw) -> Kwargs:
        one, other = family(d), family(d)
        y = np.stack([one["y"], d.cast(1) - one["y"]], axis=1)
        return {"x": np.stack([one["x"], other["x"]], axis=1), "y": d.cast(y)}

    return image


IMAGES: Families = {name: image(family) for name, family in HARD_REGIONS.items()}


def frames(scale: float, time: int = 5, classes: int = 3, labels: int = 2) -> Family:
    """Logits of frames, and labels other than the blank, 0."""
    return lambda d: {
        "x": d.normal(scale, (d.n, time, classes)),
        "y": d.rng.integers(1, classes, (d.n, labels)),
    }


def spelled(gap: float, *, right: bool = True) -> Family:
    """Frames of which one symbol is ahead by a gap: of the labels in turn with blanks, or not."""

    def family(d: Draw) -> Kwargs:
        x, y = d.rng.normal(size=(d.n, 5, 3)), d.rng.integers(1, 3, (d.n, 2))
        path = np.zeros((d.n, 5), int)
        path[:, [1, 3]] = y if right else 3 - y
        np.put_along_axis(x, path[..., None], x.max(axis=-1, keepdims=True) + gap, axis=-1)
        return {"x": d.cast(x), "y": y}

    return family


def never(family: Family, symbol: int) -> Family:
    """Frames in which a symbol is impossible."""

    def never(d: Draw) -> Kwargs:
        kwargs = family(d)
        x = kwargs["x"].copy()
        x[..., symbol] = -np.inf
        return {**kwargs, "x": x}

    return never


def alike(family: Family) -> Family:
    return lambda d: {**family(d), "y": np.ones((d.n, 2), int)}


FRAMES: Families = {
    "normal_1": frames(1),
    "normal_10": frames(10),
    "normal_100": frames(100),
    "right_by_5": spelled(5),
    "right_by_20": spelled(20),
    "right_by_40": spelled(40),
    "wrong_by_20": spelled(20, right=False),
    "two_alike": alike(frames(3)),
    "no_labels": frames(3, labels=0),
    "one_frame": frames(3, time=1, labels=1),
    "as_many_labels_as_frames": lambda d: {
        **frames(1, time=3, labels=3)(d),
        "y": np.tile([1, 2, 1], (d.n, 1)),
    },
    "two_classes": frames(3, classes=2, labels=1),
    "impossible_label": never(lambda d: {**frames(3)(d), "y": np.ones((d.n, 2), int)}, 2),
    "offset": lambda d: {**frames(1)(d), "x": d.cast(1000 + d.rng.normal(size=(d.n, 5, 3)))},
    "equal": lambda d: {**frames(1)(d), "x": d.cast(np.zeros((d.n, 5, 3)))},
    "scale_5000": frames(5000),
    "subnormal": lambda d: {**frames(1)(d), "x": d.tiniest((d.n, 5, 3))},
    "last_is_the_blank": lambda d: {
        **frames(3)(d),
        "y": d.rng.integers(0, 2, (d.n, 2)),
        "blank": 2,
    },
    "twelve_frames": few(frames(3, time=12, classes=4, labels=4)),
}


def alone(families: Families) -> Families:
    """Families for functions of x only."""

    def drop(family: Family) -> Family:
        return lambda d: {"x": family(d)["x"]}

    return {name: drop(family) for name, family in families.items()}


def shares_of_64(d: Draw) -> Array:
    """Probabilities that add up to 1 as they are rounded."""
    return d.cast(d.rng.multinomial(64, d.rng.dirichlet(np.ones(C) / 2, d.n)) / 64)


SPARSE: Families = {
    **{k: v for k, v in LABELLED.items() if k != "masked_target"},
    **{k: v for k, v in SOFT_ROWS.items() if k.startswith("onehot")},
    "soft_normal": soft(labelled(rows(1)), shares_of_64),
    "soft_scale_10": soft(labelled(rows(10)), shares_of_64),
    "soft_scale_100": soft(labelled(rows(100)), shares_of_64),
    "leads_by_1": lambda d: leading(d, 1.0),
    "leads_by_2": lambda d: leading(d, 2.0),
    "close": labelled(lambda d: d.cast(1 + d.eps * d.rng.integers(0, 100, (d.n, C)))),
}
"""Rows of logits for probabilities of which some are 0."""


def leading(d: Draw, gap: float) -> Kwargs:
    """The target ahead of the others by about what it takes for all of the mass."""
    y = d.labels(C)
    x = -np.abs(d.rng.normal(size=(d.n, C)))
    x[np.arange(d.n), y] = gap * (1 + d.eps * d.rng.integers(-9, 10, d.n))
    x[np.arange(d.n), (y + 1) % C] = 0
    return {"x": d.cast(x), "y": y}


SPARSE_ROWS = alone({k: v for k, v in SPARSE.items() if not k.startswith(("onehot", "soft"))})

FUNCTION_ROWS = alone(
    {k: v for k, v in LABELLED.items() if k != "masked_target"}
    | WIDE
    | {"huge_logits": CROSS_ENTROPY["huge_logits"]}
)
