"""`tinyloss.traits`: each trait that a loss declares is measured, on NumPy's float64.

What is measured knows of a loss its values and its gradients, which other tests hold, and the
domain of its arguments. A trait that is None promises nothing, but for `elicits`: then the best
prediction is none of those that have a name here.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf, isfinite, isqrt, nan
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import tinyloss
from tinyloss._formula import Formula
from tinyloss._function import LossFunction
from tinyloss.cli.definitions import DEFINITIONS
from tinyloss.losses import Public, public_losses

Array = npt.NDArray[Any]

on = pytest.mark.parametrize
EPS = 2.0**-52

# Each of these is tried besides the defaults and the numbers that definitions are tried with.
MORE: dict[str, list[dict[str, Any]]] = {
    "huber": [{"delta": 3.0}],
    "smooth_l1": [{"beta": 0.0}, {"beta": 0.25}],
    "barron": [{"alpha": alpha, "scale": 2.0} for alpha in (2.0, 1.5, 0.5, -2.0, -inf)],
    "quantile": [{"q": 0.9}, {"q": 0.0}],
    "expectile": [{"tau": 1.0}],
    "epsilon_insensitive": [{"epsilon": 0.0}],
    "squared_epsilon_insensitive": [{"epsilon": 0.0}],
    "wing": [{"width": 1.0, "epsilon": 4.0}],
    "poisson_nll": [
        {"full": True},
        {"log_input": False},
        {"log_input": False, "eps": 0.0},
        {"log_input": False, "full": True},
    ],
    "gamma_deviance": [{"log_input": False}],
    "tweedie_deviance": [
        {"power": 1.0},
        {"power": 3.0},
        {"power": 1.0, "log_input": False},
        {"power": 1.5, "log_input": False},
    ],
    "gaussian_nll": [{"full": True, "eps": 1e-2}, {"log_var": True}],
    "crps": [{"distribution": "logistic"}, {"distribution": "laplace"}],
    "log_score": [{"distribution": "logistic"}, {"distribution": "laplace"}],
    "binary_cross_entropy": [{"label_smoothing": 0.3, "eps": 1e-2}, {"label_smoothing": 1.0}],
    "binary_cross_entropy_with_logits": [
        {"pos_weight": 3.0},
        {"pos_weight": 0.5},
        {"label_smoothing": 0.3, "pos_weight": 3.0},
        {"label_smoothing": 1.0},
    ],
    "sigmoid_focal": [
        {"gamma": 0.0},
        {"gamma": 0.5},
        {"gamma": 5.0},
        {"alpha": 0.25},
        {"label_smoothing": 0.3},
    ],
    "cross_entropy": [
        {"label_smoothing": 0.1},
        {"label_smoothing": 1.0},
        {"temperature": 2.0},
        {"softcap": 3.0},
        {"z_loss": 2.0},
        {"from_logits": False},
        {"class_weight": (1.0, 0.5, 2.0)},
    ],
    "softmax_focal": [
        {"gamma": 0.0},
        {"gamma": 0.5},
        {"gamma": 5.0},
        {"label_smoothing": 0.3},
        {"label_smoothing": 0.3, "gamma": 0.0},
        *[{"from_logits": False, "gamma": gamma} for gamma in (0.0, 0.5, 5.0)],
        {"from_logits": False, "label_smoothing": 0.3},
    ],
    "poly_cross_entropy": [
        *[{"epsilon": each} for each in (-1.0, 0.0, 1.0, 1.25, 10.0)],
        *[{"epsilon": each, "from_logits": False} for each in (-1.0, 10.0)],
    ],
    "generalized_cross_entropy": [
        *[{"q": 0.3}, {"q": 1.0}],
        *[{"q": q, "from_logits": False} for q in (0.0, 0.3, 1.0)],
    ],
    "brier": [{"from_logits": False}],
    "multi_margin": [{"p": 2, "margin": 2.0}],
    "multilabel_margin": [{"margin": 2.0}],
    "dpo": [
        *[{"kind": "robust", "label_smoothing": each} for each in (0.0, 0.125)],
        *[{"kind": "exo_pair", "label_smoothing": each} for each in (0.0, 0.125, 0.5)],
        *[{"kind": kind} for kind in ("hinge", "ipo", "nca_pair", "bco_pair")],
        *[{"kind": kind, "beta": 0.5} for kind in ("sppo_hard", "apo_zero", "apo_down")],
    ],
    "cpo": [{"kind": "hinge"}, {"kind": "ipo"}, {"alpha": 0.0}, {"label_smoothing": 1.0}],
    "kl_div": [{"log_target": True}],
    "relative_entropy": [{"log_target": True}],
    "kl_div_with_logits": [{"temperature": 3.0}],
    "orpo": [{"alpha": 0.0}],
    "lambdaloss": [{"kind": kind} for kind in ("ndcg1", "ndcg2")],
    "margin_ranking": [{"margin": 0.5}],
    "pairwise_distance": [{"p": p} for p in (1.0, 3.0, inf, 0.5)],
    "contrastive": [
        *[{"p": p} for p in (1.0, 3.0, inf, 0.5)],
        *[{"squared": False, "p": p} for p in (1.0, 2.0, inf)],
        *[{"margin": 0.0, "squared": squared, "p": p} for squared in (True, False) for p in (2, 3)],
        {"margin": 0.0, "p": 0.5},
    ],
    "triplet_margin": [{"p": 1.0}, {"p": inf}, {"swap": True}, {"margin": 0.0}],
    "cosine_embedding": [{"margin": 0.5}, {"margin": 1.0}, {"margin": -1.0}],
    "unique_softmax": [{"gain": "exponential"}, {"gain": "linear"}],
    "cox_ph": [{"ties": "breslow"}],
    "crps_ensemble": [{"fair": True}],
    "fenchel_young": [{"activation": "entmax15"}],
    "lovasz_softmax": [
        {"present": False},
        {"from_logits": "sigmoid", "class_axis": -1},
    ],
    "dice": [{"from_logits": "sigmoid", "class_axis": -1}],
    "sequence_logprob": [{"reduction": "mean"}],
    "linear_entropy": [{"temperature": 2.0}, {"softcap": 3.0}],
    "info_nce": [
        *[{"temperature": 1.0, "label_smoothing": share} for share in (0.3, 0.9)],
        {"symmetric": False},
        {"symmetric": False, "temperature": 1.0, "label_smoothing": 0.3},
    ],
    "siglip": [{"scale": 5.0, "bias": 0.0}],
    "nt_xent": [{"temperature": 0.5}],
    "multi_similarity": [{"alpha": 50.0, "beta": 2.0}],
    "circle": [{"margin": 0.25, "gamma": 16.0}],
}


# ----------------------------------------------------------------------------------------- domains


def powers(rng: np.random.Generator, shape: Any, low: float, high: float) -> Array:
    found: Array = 10 ** rng.uniform(low, high, shape)
    return found


def signs(rng: np.random.Generator, shape: Any) -> Array:
    return np.asarray(2.0 * rng.integers(0, 2, shape) - 1)


def mixed(rng: np.random.Generator, *each: Array) -> Array:
    """Return for each element one of several."""
    found: Array = np.choose(rng.integers(0, len(each), each[0].shape), each)
    return found


def log_shares(x: Array) -> Array:
    e = x - x.max(axis=-1, keepdims=True)
    found: Array = e - np.log(np.exp(e).sum(axis=-1, keepdims=True))
    return found


def shares(x: Array) -> Array:
    found: Array = np.exp(log_shares(x))
    return found


def rows(rng: np.random.Generator, n: int, k: int) -> Array:
    x = rng.standard_normal((n, k)) * powers(rng, (n, 1), -2, 2)
    # of some rows few classes are likely: two alone are where many losses are steepest
    unlikely = (rng.random((n, 1)) < 0.4) & (rng.random((n, k)) < 0.5) & (k > 2)
    return np.asarray(np.where(unlikely, x - 60, x))


def reals(rng: np.random.Generator, n: int) -> Array:
    return mixed(rng, rng.uniform(-3, 3, n), signs(rng, n) * powers(rng, n, -9, 3))


def share(rng: np.random.Generator, n: int) -> Array:
    near_0 = powers(rng, n, -300, 0)
    return mixed(rng, near_0, 1 - powers(rng, n, -16, 0), rng.uniform(0, 1, n))


def bits(rng: np.random.Generator, n: Any) -> Array:
    """Return targets from 0 to 1, most of them certain."""
    found: Array = mixed(rng, np.zeros(n), np.ones(n), rng.uniform(0, 1, n))
    return found


@dataclass(frozen=True)
class Domain:
    """What a loss may be called with."""

    x: Callable[[np.random.Generator, int, int, list[Array]], Array]
    """Draws predictions, for rows of a number of classes and for targets."""
    y: Callable[[np.random.Generator, int, int], list[Array]]
    classes: tuple[int, ...] = (1,)
    arrays: Callable[[Array, list[Array]], list[Any]] | None = None
    """Makes of predictions and targets what the loss is called with, where that is not they."""
    by: tuple[int, ...] = (0,)
    """Which of these the predictions are, together."""
    counts: Callable[[list[Array]], Array] | None = None
    """Returns how often an item counts."""
    batch: bool = False
    """Whether an item is all that a call takes."""
    options: Callable[[int], dict[str, Any]] = lambda k: {}
    """Returns what the loss is called with besides, for rows of a number of classes."""


def one_hot_or_soft(rng: np.random.Generator, n: int, k: int) -> list[Array]:
    certain = np.arange(k) == rng.integers(0, k, (n, 1))
    return [np.where(rng.random((n, 1)) < 0.7, certain, shares(rows(rng, n, k)))]


def around(rng: np.random.Generator, n: int, k: int, given: list[Array]) -> Array:
    size = powers(rng, n, -9, 8)
    error = mixed(rng, size, rng.uniform(0, 3, n), np.zeros(n)) * signs(rng, n)
    return np.asarray((given[0] + error)[:, None])


def element(of: Callable[[np.random.Generator, int], Array]) -> Any:
    return lambda rng, n, k, given: of(rng, n)[:, None]


def row(of: Callable[[Array], Array]) -> Any:
    return lambda rng, n, k, given: of(rows(rng, n, k))


def mixed_rows(rng: np.random.Generator, x: Array, y: Array) -> Array:
    """Return predictions, of which some are quite right and some quite wrong."""
    which = rng.integers(0, 3, (len(x), 1))
    found: Array = np.choose(which, [x, np.round(y), 1 - np.round(y)])
    return found


def alone(x: Array, given: list[Array]) -> list[Array]:
    return [x]


def beside(x: Array, given: list[Array]) -> list[Array]:
    return [x, *given]


def parts_of(x: Array, count: int) -> list[Array]:
    return np.split(x, count, axis=-1)


def near(parts: int) -> Any:
    """Return what draws vectors that are near to each other, or far from each other."""

    def draw(rng: np.random.Generator, n: int, k: int, given: list[Array]) -> Array:
        first = rng.standard_normal((n, k))
        every = [first]
        for _ in range(parts - 1):
            way = rng.standard_normal((n, k))
            way[:, 1:] *= rng.random((n, 1)) < 0.5  # of some one element alone
            # None is nearer but 0: of a difference few digits are left, and its direction is noise.
            far = mixed(rng, powers(rng, (n, 1), -3, 3), rng.uniform(0, 3, (n, 1)), 0 * way[:, :1])
            every.append(first + far * way / size(way)[:, None])
        return np.concatenate(every, axis=-1)

    return draw


def directions(rng: np.random.Generator, n: int, k: int, given: list[Array]) -> Array:
    """Return two vectors at any angle, some of them short."""
    a, b = rng.standard_normal((2, n, k))
    b = b + a * signs(rng, (n, 1)) * np.where(rng.random((n, 1)) < 0.5, 30.0, 0.0)
    return np.concatenate([each * powers(rng, (n, 1), -3, 1) for each in (a, b)], axis=-1)


def alike_or_not(rng: np.random.Generator, n: int, k: int) -> list[Array]:
    return [signs(rng, n)]


def grades(rng: np.random.Generator, n: int, k: int) -> list[Array]:
    some = rng.random((n, 1)) < 0.8  # others have nothing to find
    return [np.where(some, rng.integers(0, 5, (n, k)), 0.0)]


def times(rng: np.random.Generator, n: int, k: int) -> list[Array]:
    several = rng.integers(1, 4, (n, 1)) * 1.0  # times of which many are the same, or none
    return [
        np.floor(rng.uniform(0, 3, (n, k)) ** several),
        rng.integers(0, 2, (n, k)).astype(float),
    ]


def sparse_logits(rng: np.random.Generator, n: int, k: int, given: list[Array]) -> Array:
    x = rng.standard_normal((n, k)) * powers(rng, (n, 1), -2, 1)
    if k > 1000:  # one class has nearly all, more or less, and the others have the rest
        x = np.full((n, k), 2 * np.sqrt(0.02 / k))
        x[:, 0] = 2 * np.sqrt(0.98) + signs(rng, n) * powers(rng, n, -4, -2)
    return x


def in_order(rng: np.random.Generator, n: int, k: int, given: list[Array]) -> Array:
    """Return scores, of which some have the two members of lowest labels far above others."""
    x, (y,) = rows(rng, n, k), given
    lowest = np.arange(k) < 2
    far = np.take_along_axis(lowest[None].repeat(n, 0), y.argsort(-1).argsort(-1), axis=-1)
    return np.asarray(np.where(y[:, :1] > 0, x, 0.1 * rng.standard_normal((n, k)) + 60 * far))


FEATURES = 8
BATCH = 16


def columns(rng: np.random.Generator, n: int, k: int, given: list[Array]) -> Array:
    """Return two batches of features: unlike, opposite, or alike and of what is asked for."""
    a, b = rng.standard_normal((2, n, BATCH * FEATURES))
    bits = np.arange(BATCH)[:, None] & np.arange(1, FEATURES + 1)
    apart = 2.0 - 4.0 * (np.bitwise_count(bits) % 2)  # orthogonal to each other and to 1
    kind = rng.integers(0, 3, (n, 1))
    a, b = np.where(kind == 2, apart.ravel(), a), np.choose(kind, [b, -a, apart.ravel()])
    large = np.where(rng.random((n, 1)) < 0.5, 1.0, powers(rng, (n, 1), -2, 1))
    return np.concatenate([a, b], axis=-1) * signs(rng, (n, 1)) * large


def labelled(rng: np.random.Generator, n: int, k: int) -> list[Array]:
    """Return labels of rows, and of the columns, which are the same for all rows."""
    return [rng.integers(0, 2, n), np.tile(np.arange(k) % 2, (n, 1))]


def alike_in_pairs(rng: np.random.Generator, n: int, k: int) -> list[Array]:
    """Return the same, of which two columns alone are of one label."""
    labels, columns = labelled(rng, n, k)
    return [labels, np.where(k == 2, 0, columns)]


def with_labels(x: Array, given: list[Array]) -> list[Any]:
    labels, columns = given
    return [x, labels, None, columns[0]]


def crossed(rng: np.random.Generator, n: int, k: int, given: list[Array]) -> Array:
    """Return squares of similarities, of which some differ in a row and a column by one number."""
    x = rows(rng, n, k).reshape(n, isqrt(k), isqrt(k))
    lead = (signs(rng, n) * powers(rng, n, -3, 1.5))[:, None, None]
    cross = np.full_like(x, -200.0)
    cross[:, 0, :2], cross[:, 1, 0] = lead[:, 0] * [-2.0, 1.0], lead[:, 0, 0]
    found = np.where(rng.random((n, 1, 1)) < 0.5, cross, x)
    return np.asarray(found.reshape(n, k))


def first_alone(k: int) -> dict[str, Any]:
    return {"similarities": True, "where": np.arange(isqrt(k)) == 0}


SYMBOLS = 3
"""In each frame: a blank, and two labels; or classes of tokens."""


def spelled(rng: np.random.Generator, n: int, k: int) -> list[Array]:
    frames = k // SYMBOLS
    return [rng.integers(1, SYMBOLS, (n, 1 if frames > 9 else frames // 2 + 1))]


def framed(rng: np.random.Generator, n: int, k: int, given: list[Array]) -> Array:
    """Return logits of frames: of the label 1 alone, two paths that are as likely.

    One has it in the first frame, the other in all. How likely others are, falls and rises again.
    """
    x = rows(rng, n, k).reshape(n, -1, SYMBOLS)
    if x.shape[1] < 9:
        return x.reshape(n, k)
    two = np.zeros_like(x)
    two[:, 0, 1], two[:, 1, 1], two[:, -1, 1] = 30, -20, 20
    lead = signs(rng, n) * powers(rng, n, -3, 0)
    two += np.array([-1.0, 1.0, 0.0]) * lead[:, None, None] / np.sqrt(x.shape[1])
    two[..., 2] -= 60
    x[..., 1] += 60  # the others' targets are of 2
    found = np.where((given[0][:, :1] == 1)[..., None], two, x)
    return np.asarray(found.reshape(n, k))


FEW = (2, 3, 64)
"""Numbers of classes: constants are attained for two, or approached for many."""

DOMAINS: dict[str, Domain] = {
    "errors": Domain(
        around,
        lambda rng, n, k: [mixed(rng, signs(rng, n) * powers(rng, n, -2, 2), np.zeros(n))],
    ),
    "ratios": Domain(
        element(lambda rng, n: mixed(rng, reals(rng, n), powers(rng, n, -9, 9))),
        lambda rng, n, k: [powers(rng, n, -5, 2)],
    ),
    "positive": Domain(
        element(lambda rng, n: mixed(rng, powers(rng, n, -9, 0) - 1, powers(rng, n, -6, 9))),
        lambda rng, n, k: [powers(rng, n, -6, 6)],
    ),
    "counts": Domain(
        element(lambda rng, n: rng.uniform(-30, 12, n)),
        lambda rng, n, k: [mixed(rng, np.zeros(n), powers(rng, n, -3, 4))],
    ),
    "amounts": Domain(
        element(lambda rng, n: rng.uniform(-12, 12, n)),
        lambda rng, n, k: [powers(rng, n, -8, 4)],
    ),
    "means": Domain(
        element(lambda rng, n: powers(rng, n, -5, 5)),
        lambda rng, n, k: [powers(rng, n, -3, 4)],
    ),
    "variances": Domain(around, lambda rng, n, k: [rng.standard_normal(n), powers(rng, n, -8, 6)]),
    "forecasts": Domain(around, lambda rng, n, k: [rng.standard_normal(n), powers(rng, n, -12, 6)]),
    "log-variances": Domain(
        around, lambda rng, n, k: [rng.standard_normal(n), rng.uniform(-20, 20, n)]
    ),
    "two gaussians": Domain(
        around, lambda rng, n, k: [rng.standard_normal(n), *rng.uniform(-20, 20, (2, n))]
    ),
    "probabilities": Domain(element(share), lambda rng, n, k: [bits(rng, n)]),
    "binary logits": Domain(element(reals), lambda rng, n, k: [bits(rng, n)]),
    "scores": Domain(element(reals), lambda rng, n, k: [signs(rng, n)]),
    "logits": Domain(row(lambda x: x), one_hot_or_soft, FEW),
    "shares": Domain(row(shares), one_hot_or_soft, FEW),
    "two logits": Domain(row(lambda x: x), lambda rng, n, k: [rows(rng, n, k)], FEW),
    "log-probabilities": Domain(row(log_shares), one_hot_or_soft, FEW),
    "log-probabilities of elements": Domain(
        element(lambda rng, n: -powers(rng, n, -12, 3)), lambda rng, n, k: [bits(rng, n)]
    ),
    "regions": Domain(
        lambda rng, n, k, given: mixed_rows(rng, share(rng, n * k).reshape(n, k), given[0]),
        lambda rng, n, k: [
            np.where(rng.random((n, 1)) < 0.5, signs(rng, (n, k)) > 0, bits(rng, (n, k)))
        ],
        (2, 3, 256),
    ),
    "many logits": Domain(row(lambda x: x), lambda rng, n, k: [bits(rng, (n, k))], (1, 2, 3)),
    "ranks": Domain(row(lambda x: x), one_hot_or_soft, FEW),
    "answers": Domain(around, lambda rng, n, k: [30 * rng.standard_normal(n)]),
    "answers and references": Domain(
        around,
        lambda rng, n, k: [*(powers(rng, n, -1, 1.5) * rng.standard_normal((3, n)))],
    ),
    "labelled answers": Domain(
        element(lambda rng, n: 30 * reals(rng, n)),
        lambda rng, n, k: [bits(rng, n), 30 * rng.standard_normal(n)],
    ),
    "lists": Domain(row(lambda x: x), lambda rng, n, k: [rng.standard_normal((n, k))], (2, 3, 96)),
    "tags": Domain(
        row(lambda x: x), lambda rng, n, k: [rng.integers(0, 2, (n, k)).astype(float)], FEW
    ),
    "log-probabilities of answers": Domain(
        element(lambda rng, n: -powers(rng, n, -9, 3)), lambda rng, n, k: [-powers(rng, n, -4, 2)]
    ),
    "grades": Domain(row(lambda x: x), grades, (2, 3, 24)),
    "two scores": Domain(
        near(2),
        alike_or_not,
        arrays=lambda x, given: [x[:, 0], x[:, 1], *given],
        by=(0, 1),
    ),
    "two vectors": Domain(
        near(2),
        alike_or_not,
        (1, 2, 3, 256),
        arrays=lambda x, given: parts_of(x, 2),
        by=(0, 1),
    ),
    "two vectors, alike or not": Domain(
        near(2),
        alike_or_not,
        (1, 2, 3, 256),
        arrays=lambda x, given: [*parts_of(x, 2), *given],
        by=(0, 1),
    ),
    "three vectors": Domain(
        near(3),
        alike_or_not,
        (1, 2, 3, 256),
        arrays=lambda x, given: parts_of(x, 3),
        by=(0, 1, 2),
    ),
    "an angle": Domain(
        directions, alike_or_not, FEW, arrays=lambda x, given: parts_of(x, 2), by=(0, 1)
    ),
    "an angle, alike or not": Domain(
        directions,
        alike_or_not,
        FEW,
        arrays=lambda x, given: [*parts_of(x, 2), *given],
        by=(0, 1),
    ),
    "orders": Domain(in_order, lambda rng, n, k: [rng.standard_normal((n, k))], FEW, arrays=beside),
    "graded orders": Domain(in_order, grades, FEW, arrays=beside),
    "cohorts": Domain(
        row(lambda x: x),
        times,
        FEW,
        arrays=beside,
        counts=lambda given: np.maximum(given[1].sum(axis=-1), 1),
    ),
    "ensembles": Domain(
        lambda rng, n, k, given: given[0][:, None] + rows(rng, n, k),
        lambda rng, n, k: [rng.standard_normal(n)],
        (1, 2, 3, 64),
        arrays=beside,
    ),
    "sparse logits": Domain(sparse_logits, one_hot_or_soft, (2, 3, 64, 200_000)),
    "pixels": Domain(
        row(lambda x: x),
        lambda rng, n, k: [rng.integers(0, 2, (n, k)).astype(float)],
        (1, 2, 64),
        arrays=beside,
    ),
    "regions of pixels": Domain(
        lambda rng, n, k, given: mixed_rows(rng, share(rng, n * k).reshape(n, k), given[0]),
        lambda rng, n, k: [rng.integers(0, 2, (n, k)).astype(float)],
        (1, 2, 64),
        arrays=beside,
    ),
    "frames": Domain(
        framed,
        spelled,
        (3, 6, 1020),
        arrays=lambda x, given: [x.reshape(len(x), -1, SYMBOLS), *given],
    ),
    "tokens": Domain(
        row(lambda x: x),
        lambda rng, n, k: [rng.integers(0, SYMBOLS, (n, k // SYMBOLS))],
        (3, 6, 960),
        arrays=lambda x, given: [x.reshape(len(x), -1, SYMBOLS), *given],
    ),
    "columns": Domain(
        columns,
        alike_or_not,
        (2 * BATCH * FEATURES,),
        arrays=lambda x, given: [each.reshape(BATCH, FEATURES) for each in parts_of(x, 2)],
        by=(0, 1),
        batch=True,
    ),
    "similarities one by one": Domain(
        row(lambda x: x),
        one_hot_or_soft,
        (1, *FEW),
        arrays=lambda x, given: [x, None, given[0].argmax(axis=-1)],
        options=lambda k: {"similarities": True},
    ),
    "similarities": Domain(
        row(lambda x: x),
        one_hot_or_soft,
        FEW,
        arrays=lambda x, given: [x, None, given[0].argmax(axis=-1)],
        options=lambda k: {"similarities": True},
    ),
    "a row, and a column": Domain(
        crossed,
        alike_or_not,
        (4, 1024),
        arrays=lambda x, given: [x.reshape(isqrt(len(x)), -1)],
        batch=True,
        options=first_alone,
    ),
    "similarities of pairs": Domain(
        row(lambda x: x),
        one_hot_or_soft,
        FEW,
        arrays=lambda x, given: [x, None, given[0].argmax(axis=-1), np.arange(x.shape[-1])],
        options=lambda k: {"similarities": True},
    ),
    "similarities of either kind": Domain(
        row(lambda x: x),
        alike_in_pairs,
        FEW,
        arrays=with_labels,
        options=lambda k: {"similarities": True},
    ),
    "similarities of labels": Domain(
        row(lambda x: x),
        labelled,
        FEW,
        arrays=with_labels,
        options=lambda k: {"similarities": True},
    ),
    "similarities of all positives": Domain(
        row(lambda x: x),
        labelled,
        FEW,
        arrays=with_labels,
        counts=lambda given: (given[0][:, None] == given[1]).sum(axis=-1),
        options=lambda k: {"similarities": True},
    ),
    "scores that are products": Domain(
        row(lambda x: x), one_hot_or_soft, FEW, arrays=lambda x, given: [x, np.eye(x.shape[-1])]
    ),
}
SAME = {
    "mean answers": "answers",
    "near binary logits": "binary logits",
    "near logits": "logits",
    "log-probabilities of shares": "log-probabilities",
}
"""What differs for accuracy alone."""


OWN = {
    "smape": "ratios",
    "generalized_kl": "means",
    "orpo": "log-probabilities of answers",
    "lambdarank": "grades",
    "lambdaloss": "grades",
    "approx_ndcg": "grades",
    "margin_ranking": "two scores",
    "pairwise_distance": "two vectors",
    "contrastive": "two vectors, alike or not",
    "triplet_margin": "three vectors",
    "cosine_similarity": "an angle",
    "cosine_embedding": "an angle, alike or not",
    "listmle": "orders",
    "unique_softmax": "graded orders",
    "cox_ph": "cohorts",
    "crps_ensemble": "ensembles",
    "fenchel_young": "sparse logits",
    "lovasz_hinge": "pixels",
    "lovasz_softmax": "regions of pixels",
    "ctc": "frames",
    "linear_entropy": "scores that are products",
    "sequence_logprob": "tokens",
    "barlow_twins": "columns",
    "vicreg": "columns",
    "info_nce": "a row, and a column",
    "siglip": "similarities one by one",
    "nt_xent": "similarities of all positives",
    "supcon": "similarities of labels",
    "n_pairs": "similarities of pairs",
    "multi_similarity": "similarities of either kind",
    "circle": "similarities of labels",
}
"""Losses without a definition, and those whose predictions are of another domain than those of
what they share inputs with."""


def one_right(k: int) -> tuple[Array, Array, Array]:
    """One pixel of the region, half found, and others that step out of nothing."""
    first = np.arange(k) == 0
    return first * 0.5, first * 1.0, ~first * 1e-6


def all_asked(k: int) -> tuple[Array, Array, Array]:
    return np.full(k, -30.0), np.arange(1, k + 1) / k, np.ones(k)


def in_halves(k: int) -> tuple[Array, Array, Array]:
    """Half of the members lead the others by one number."""
    half = np.arange(k) < k // 2
    return half * 1.3, half * 1.0, (2.0 * half - 1) * 1e-6


def first_alone_counts(k: int) -> tuple[Array, Array, Array]:
    first = np.arange(k) == 0
    return np.zeros(k), first * 1.0, first * -1e-3


REGIONS = ("dice", "jaccard", "tversky", "focal_tversky")
GROWING: dict[str, Callable[[int], tuple[Array, Array, Array]]] = {
    "coral": all_asked,
    "corn": all_asked,
    "multilabel_margin": lambda k: (np.zeros(k), np.arange(k) % 2.0, np.zeros(k)),
    "pairwise_soft_zero_one": in_halves,
    "lambdarank": first_alone_counts,
    "lambdaloss": first_alone_counts,
    **dict.fromkeys(REGIONS, one_right),
}
"""Losses whose constants have no end as there are more members: a steep item, and a step."""

DIFFERENCES = {
    *("errors", "variances", "log-variances", "forecasts", "two gaussians", "ratios"),
    *("answers", "answers and references"),
}
"""Of arguments of which one is subtracted from the other."""


def scale(case: "Case", x: Array, given: list[Array]) -> Array:
    """Return the size of what is rounded of predictions."""
    return size(x) + sizes(given) if case.kind in DIFFERENCES else size(x)


@dataclass(frozen=True)
class Case:
    """A loss with its parameters."""

    loss: str
    params: dict[str, Any] = field(default_factory=dict[str, Any])

    @cached_property
    def function(self) -> Any:
        return getattr(tinyloss, self.loss)

    @cached_property
    def traits(self) -> tinyloss.Traits:
        return tinyloss.traits(self.function, **self.params)

    @property
    def kind(self) -> str:
        """The name of the domain."""
        if isinstance(self.params.get("from_logits"), str):
            return "pixels"
        if self.params.get("symmetric") is False:
            return "similarities"
        if self.loss in OWN:
            return OWN[self.loss]
        draw = DEFINITIONS[self.loss].draw
        if self.params.get("log_var"):
            return "log-variances"
        if not self.params.get("log_input", True):
            return "means"
        if not self.params.get("from_logits", True):
            return "shares"
        return SAME.get(draw, draw)

    @property
    def classes(self) -> tuple[int, ...]:
        weights = self.params.get("class_weight")
        if weights is not None:
            return (len(weights),)
        every = DOMAINS[self.kind].classes
        if self.params.get("fair"):  # a spread is of two members or more
            return every[1:]
        # sparsemax needs no more of them than others
        return every[:3] if self.loss == "fenchel_young" and not self.params else every

    @cached_property
    def labels_alone(self) -> bool:
        """Whether targets are class indices and nothing else."""
        return self.function._described({}).formula is None

    def more(self, n: int) -> list[Array]:
        """Return what the loss takes besides x and y, the same for n items."""
        known = DEFINITIONS.get(self.loss)
        return [] if known is None else [np.ones(n) for _ in known.arguments[2:]]

    def _arrays(self, x: Array, given: list[Array]) -> list[Any]:
        of_domain = DOMAINS[self.kind].arrays
        if of_domain is not None:
            return of_domain(x, given)
        if DOMAINS[self.kind].classes != (1,):
            (y,) = given
            if self.labels_alone:
                y = y.argmax(axis=-1)
            return [x, np.log(y) if self.params.get("log_target") else y]
        if self.params.get("log_target"):
            return [x[:, 0], *map(np.log, given)]
        return [x[:, 0], *given]

    def values(self, x: Array, given: list[Array]) -> Array:
        """Return the loss of each item."""
        if DOMAINS[self.kind].batch:
            options = DOMAINS[self.kind].options(x.shape[-1]) | self.params
            each = [self.function(*self._arrays(one, given), **options) for one in x]
            return np.asarray(each)
        with np.errstate(all="ignore"):
            found: Array = self.function(*self._arrays(x, given), **self._options(x, given))
        return found

    def _options(self, x: Array, given: list[Array]) -> dict[str, Any]:
        counts = DOMAINS[self.kind].counts
        options: dict[str, Any] = {} if counts is None else {"weight": 1 / counts(given)}
        own = self.function.__signature__.parameters
        if "reduction" in own and own["reduction"].default == "mean":
            options["reduction"] = "none"
        return options | DOMAINS[self.kind].options(x.shape[-1]) | self.params

    def slopes(self, x: Array, given: list[Array]) -> Array:
        """Return the gradient of each item, a row."""
        by = DOMAINS[self.kind].by
        gradient: Any = tinyloss.grad(self.function, by)
        if DOMAINS[self.kind].batch:
            options = DOMAINS[self.kind].options(x.shape[-1]) | self.params
            each = [gradient(*self._arrays(one, given), **options) for one in x]
            return np.asarray(each).reshape(len(x), -1)
        with np.errstate(all="ignore"):
            found: tuple[Array, ...] = gradient(*self._arrays(x, given), **self._options(x, given))
        return np.concatenate([each.reshape(len(x), -1) for each in found], axis=-1)

    def drawn(self, n: int) -> Iterator[tuple[Array, Array, list[Array]]]:
        """Return ends of segments, some of them short, and targets: of each number of classes."""
        domain, rng = DOMAINS[self.kind], np.random.default_rng(0)
        n = n // 32 if domain.batch and self.classes[0] < 8 else n
        for k in self.classes:
            n = n if k < 8 else max(n // 8, 2) if k < 1000 else 4
            given = domain.y(rng, n, k)
            one, other = (domain.x(rng, n, k, given) for _ in range(2))
            part = np.where(rng.random((n, 1)) < 0.5, 1.0, powers(rng, (n, 1), -3, 0))
            yield one, one + part * (other - one), given

    def __str__(self) -> str:
        return "-".join([self.loss, *(f"{name}={each}" for name, each in self.params.items())])


def cases_of(loss: Public) -> list[Case]:
    known = DEFINITIONS.get(loss.name)
    tried = [{name: value} for name, value in known.tried.items()] if known else []
    found = [Case(loss.name, params) for params in ({}, *tried, *MORE.get(loss.name, []))]
    declared = [each for each in found if each.traits != tinyloss.Traits()]
    return [each for n, each in enumerate(declared) if each not in declared[:n]]


EVERY = public_losses("elements", "rows", "pairs", "lists", "sequences")
ALONE = [each for each in public_losses("arrays") if each.name in OWN]
CASES = [case for loss in [*EVERY, *ALONE] for case in cases_of(loss)]


LONG = {
    *("lists", "grades", "frames", "cohorts", "sparse logits"),
    *("columns", "a row, and a column"),
}
"""Domains whose tests take long."""


def each_of(cases: list[Case]) -> pytest.MarkDecorator:
    """Parametrize a test by cases; those of other parameters than the defaults are long."""
    params = [
        pytest.param(
            case,
            id=str(case),
            marks=pytest.mark.long if case.params or case.kind in LONG else (),
        )
        for case in cases
    ]
    return on("case", params)


every_case = each_of(CASES)


def size(rows: Array) -> Array:
    with np.errstate(over="ignore"):
        found: Array = np.sqrt((rows * rows).sum(axis=-1))
    return found


def sizes(given: list[Array]) -> Array:
    """Return the size of each item's target."""
    found: Array = np.abs(given[0]).reshape(len(given[0]), -1).max(axis=1)
    return found


# ------------------------------------------------------------------------------------ the declared


DECLARING = [*EVERY, *public_losses("images", "arrays")]


@on("loss", DECLARING, ids=lambda each: each.name)
def test_every_loss_declares_its_traits(loss: Public) -> None:
    if tinyloss.traits(loss.function) != tinyloss.Traits():
        return
    request = loss.function._described({})
    formula: Any = request.formula or request.labels
    of_all: Any = Formula.traits
    assert formula.traits.__func__ is not of_all.__func__, (
        f"the formula of {loss.name} declares no traits, expected a classmethod beside it; "
        "CONTRIBUTING.md has one, and Traits() says that nothing is known"
    )


LOSSES = [each for each in public_losses() if isinstance(each.function, LossFunction)]


@on("loss", LOSSES, ids=lambda each: each.name)
def test_an_object_and_its_class_have_those_of_their_function(loss: Public) -> None:
    known = tinyloss.traits(loss.function)
    assert isinstance(known, tinyloss.Traits)
    for name in vars(tinyloss)["__all__"]:
        public = getattr(tinyloss, name)
        if isinstance(public, type) and getattr(public, "function", None) is loss.function:
            assert tinyloss.traits(public) == tinyloss.traits(public()) == known


# --------------------------------------------------------------------- convex, Lipschitz and smooth


SEGMENTS = 1000
ROUNDING = 256
"""The eps of an item's loss, or of the terms that it is the sum of; those of 1 where it is less."""


def second_differences(case: Case) -> Iterator[tuple[Array, Array, Array]]:
    """Return f(a) + f(b) - 2 f((a + b) / 2) of segments, their squared lengths, and rounding."""
    for one, other, given in case.drawn(SEGMENTS):
        middle = one + 0.5 * (other - one)
        values = [case.values(x, given) for x in (one, other, middle)]
        terms = np.abs(values[0]) + np.abs(values[1]) + 2 * np.abs(values[2])
        with np.errstate(all="ignore"):
            for x in (one, other):  # whose rounding the slope makes larger
                terms = terms + size(case.slopes(x, given)) * scale(case, x, given)
        if case.loss in OF_TERMS:
            terms = terms + terms_of(case, given, one, other)
        known = np.isfinite(terms)
        a, b, m = (each[known] for each in values)
        lengths = size(other - one)[known]
        yield a + b - 2 * m, lengths * lengths, ROUNDING * EPS * terms[known]


OF_TERMS = {name for name, each in DEFINITIONS.items() if not each.relative} | OWN.keys()
"""Losses that keep their digits of the sum of their terms' sizes."""


def terms_of(case: Case, given: list[Array], *ends: Array) -> Array:
    y = np.abs(given[0]) + 1
    y = y.sum(axis=-1) if y.ndim == 2 else y
    terms = [y * (1 + np.abs(x).sum(axis=-1)) for x in ends]
    found: Array = np.sum(terms, axis=0)
    return found


@every_case
def test_it_is_as_convex_as_it_says(case: Case) -> None:
    known = case.traits
    lowest, found = inf, []
    for bend, squares, rounding in second_differences(case):
        found.append((bend < -rounding).any())
        if known.strong_convexity is not None:
            assert (
                bend >= known.strong_convexity / 4 * squares - rounding
            ).all() or not known.convex
        clear = rounding < 1e-3 * squares
        lowest = min(lowest, (4 * bend[clear] / squares[clear]).min(initial=inf))
    if known.convex is None:
        return
    assert any(found) == (not known.convex)
    if known.convex:
        assert known.strong_convexity is not None
        assert lowest <= 1.03 * known.strong_convexity + 0.01
    else:
        assert known.strong_convexity == 0


LARGE = 20.0
"""What is taken for unbounded, of slopes and curvatures."""


@every_case
def test_its_slope_is_bounded_as_it_says(case: Case) -> None:
    bound = case.traits.lipschitz
    if bound is None:
        return
    found = [
        size(case.slopes(x, given)).max(initial=0, where=np.isfinite(case.values(x, given)))
        for one, other, given in case.drawn(5 * SEGMENTS)
        for x in (one, other)
    ]
    assert max(found) <= bound * (1 + ROUNDING * EPS)
    if isfinite(bound):
        assert max(found) >= 0.97 * bound
    elif case.loss in GROWING:
        few, many = (slope_of_many(case, k) for k in sizes_of(case))
        assert many > 2.5 * few
    else:
        assert max(found) >= LARGE


def sizes_of(case: Case) -> tuple[int, int]:
    """Return how many members are few, and many."""
    return (256, 4096) if case.loss in REGIONS else (64, 1024)


def slope_of_many(case: Case, k: int) -> float:
    x, y, _ = GROWING[case.loss](k)
    return float(size(case.slopes(x[None], [y[None]]))[0])


def bend_of_many(case: Case, k: int) -> float:
    x, y, step = GROWING[case.loss](k)
    change = case.slopes((x + step)[None], [y[None]]) - case.slopes(x[None], [y[None]])
    return float((size(change) / size(step))[0])


Steps = Iterator[tuple[Array, Array, Array, list[Array]]]


def closing_in(case: Case, halvings: int) -> Iterator[Steps]:
    """Return for each number of classes segments, each time the half along which more changes.

    With each go the change of the gradient, and the targets. Where the gradient jumps a segment
    closes in on the jump; elsewhere on where it is steepest.
    """
    for one, other, given in case.drawn(SEGMENTS):
        at, to = case.slopes(one, given), case.slopes(other, given)
        finite = np.isfinite(at).all(axis=-1) & np.isfinite(to).all(axis=-1)
        kept = [each[finite] for each in given]
        yield halved(case, halvings, one[finite], other[finite], at[finite], to[finite], kept)


def halved(
    case: Case, halvings: int, one: Array, other: Array, at: Array, to: Array, given: list[Array]
) -> Steps:
    yield one, other, to - at, given
    for _ in range(halvings):
        middle = one + 0.5 * (other - one)
        between = case.slopes(middle, given)
        left = (size(between - at) >= size(to - between))[:, None]
        one, other = np.where(left, one, middle), np.where(left, middle, other)
        at, to = np.where(left, at, between), np.where(left, between, to)
        yield one, other, to - at, given


@every_case
def test_its_curvature_is_bounded_as_it_says(case: Case) -> None:
    bound = case.traits.smoothness
    if bound is None:
        return
    found = 0.0
    for steps in closing_in(case, 40):
        for one, other, change, given in steps:
            length, more = size(other - one), size(change)
            clear = length > 0
            if isfinite(bound):  # the rounding of numbers and of slopes is no curvature
                clear &= length > 1e8 * EPS * scale(case, one, given)
                clear &= more > 1e8 * EPS * (1 + size(case.slopes(one, given)))
            with np.errstate(over="ignore"):
                found = max(found, (more[clear] / length[clear]).max(initial=0))
            if not isfinite(bound) and found > LARGE:
                return
    assert found <= bound * (1 + 1e-6)
    if isfinite(bound):
        assert found >= 0.97 * bound
    else:
        few, many = (bend_of_many(case, k) for k in sizes_of(case))
        assert many > 2.5 * few


# --------------------------------------------------------------------- range, symmetry, kinks


@every_case
def test_its_range_is_the_one_it_says(case: Case) -> None:
    ends = case.traits.range
    if ends is None:
        return
    low, high = ends
    found = np.concatenate(
        [
            case.values(x, given)
            for one, other, given in case.drawn(5 * SEGMENTS)
            for x in (one, other)
        ]
    )
    assert not np.isnan(found).any()
    least, most = found.min(), found.max()
    slack = 0.02 * (high - low if isfinite(high - low) else 1.0)
    rounding = ROUNDING * EPS * (1 + abs(low) if isfinite(low) else 1.0)
    assert low - rounding <= least <= max(low + slack, -LARGE)
    assert min(high - slack, LARGE) <= most <= high * (1 + ROUNDING * EPS)
    assert case.traits.bounded == isfinite(high)


@every_case
def test_it_is_symmetric_where_it_says(case: Case) -> None:
    symmetric = case.traits.symmetric
    if symmetric is None:
        return
    rng = np.random.default_rng(0)
    y = DOMAINS[case.kind].y(rng, 400, case.classes[-1])
    y[0] = np.ldexp(rng.integers(64, 128, y[0].shape), -7)
    d = np.ldexp(rng.integers(1, 64, (400, case.classes[-1])), -7)  # y + d and y - d are exact
    if DOMAINS[case.kind].by == (0, 1):
        x = DOMAINS[case.kind].x(rng, 400, case.classes[-1], y)
        one, other = (case.values(np.concatenate(each, axis=-1), y) for each in both_ways(x))
        assert np.allclose(one, other, rtol=1e-9, atol=1e-9) == symmetric
        return
    center = y[0] if y[0].ndim == 2 else y[0][:, None]
    over, under = case.values(center + d, y), case.values(center - d, y)
    assert np.allclose(over, under, rtol=ROUNDING * EPS) == symmetric


def both_ways(x: Array) -> tuple[list[Array], list[Array]]:
    a, b = parts_of(x, 2)
    return [a, b], [b, a]


VARIABLES: dict[str, tuple[Callable[..., Array], Callable[..., Array]]] = {
    "x - y": (lambda x, y: x - y, lambda v, y: v + y),
    "y x": (lambda x, y: y * x, lambda v, y: v / y),
    "x / y": (lambda x, y: x / y, lambda v, y: v * y),
    "(1 + x) / (1 + y)": (lambda x, y: (1 + x) / (1 + y), lambda v, y: v * (1 + y) - 1),
}
"""Each variable of x and y, and x of it."""
LEADS = "x_y - x_c"


def scores_of(v: Any, ways: Array, y: Array, p: float) -> Array:
    return np.asarray(np.concatenate([ways[:, :1] + v / y[:, None], ways[:, :1]], axis=-1))


def apart(v: Any, ways: Array, y: Array, p: float) -> Array:
    a, way = parts_of(ways, 2)
    return np.concatenate([a + v * way / norm(way, p)[:, None], a], axis=-1)


def turned(v: Any, ways: Array, y: Array, p: float) -> Array:
    a, way = parts_of(ways, 2)
    a = a / size(a)[:, None]
    way = way - (way * a).sum(axis=-1, keepdims=True) * a
    b = v * a + np.sqrt(1 - v * v) * way / size(way)[:, None]
    return np.concatenate([a, 3 * b], axis=-1)


def norm(v: Array, p: float) -> Array:
    return np.asarray(np.linalg.norm(v, p, axis=-1))


def gap(x: Array, y: float, p: float) -> float:
    a, b = parts_of(x, 2)
    return float(np.linalg.norm(a - b, p))


def cosine(x: Array, y: float, p: float) -> float:
    a, b = parts_of(x, 2)
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


OF_PAIRS: dict[str, tuple[Callable[..., float], Callable[..., Array]]] = {
    "y (a - b)": (lambda x, y, p: float(y * (x[0] - x[1])), scores_of),
    "d(a, b)": (gap, apart),
    "cos(a, b)": (cosine, turned),
}
"""Each variable of two vectors, and vectors of it: any, and a way from there."""


def pairs_at(case: Case, variable: str, value: Any, y: Array) -> Array:
    """Return pairs of which a variable has a value, the same but for that."""
    ways = np.random.default_rng(1).standard_normal((len(y), 6))
    return OF_PAIRS[variable][1](value, ways, y, case.params.get("p", 2.0))


@every_case
def test_it_depends_on_its_variable_alone(case: Case) -> None:
    variable = case.traits.variable
    if variable is None:
        return
    rng = np.random.default_rng(0)
    if variable in OF_PAIRS:
        y, values = signs(rng, 400), np.repeat(rng.uniform(-0.9, 0.9, 20), 20)[:, None]
        values = np.abs(values) if variable == "d(a, b)" else values
        found = case.values(pairs_at(case, variable, values, y), [y])
        for sign in (-1, 1):
            for value in np.unique(values):
                alike = found[(y == sign) & (values[:, 0] == value)]
                np.testing.assert_allclose(alike, alike[:1].repeat(len(alike)), atol=1e-12)
        return
    if variable == LEADS:  # no number added to all matters, nor the classes' order
        x, y = rng.standard_normal((100, 4)), np.eye(4)[rng.integers(0, 4, 100)]
        expected = case.values(x, [y])
        for same in (case.values(x + 1, [y]), case.values(x[:, ::-1], [y[:, ::-1]])):
            np.testing.assert_allclose(same, expected, rtol=1e-12, atol=1e-12)
        return
    (y, *more), (again, *_) = (DOMAINS[case.kind].y(rng, 400, 1) for _ in range(2))
    x_of = VARIABLES[variable][1]
    two = rng.uniform(0.1, 3, (2, 400))
    here, there = ([case.values(x_of(v, z)[:, None], [z, *more]) for v in two] for z in (y, again))
    # f(v) g(y), whatever g: products of four values, each rounded, of variables that are
    np.testing.assert_allclose(here[0] * there[1], here[1] * there[0], rtol=1e-10, atol=1e-200)


@every_case
def test_its_gradient_jumps_where_it_says(case: Case) -> None:
    kinks, variable = case.traits.kinks, case.traits.variable
    if kinks is None:
        return
    for steps in closing_in(case, 70):
        one, other, change, given = next(steps)
        inside, late = interior(case, one) & interior(case, other), np.zeros(len(one))
        for n, (one, other, change, given) in enumerate(steps):
            # A slope that does not jump changes by as much less as a segment is shorter, while this
            # is many roundings long.
            wide = size(other - one) > 1e5 * EPS * scale(case, one, given)
            late = np.where(wide & (n < 50), size(change), late)
        jumps = inside & (late > 1e-9) & (size(change) > 0.5 * late)
        jumps &= size(change) > 1e6 * EPS * size(case.slopes(one, given))
        for x, y in zip(one[jumps], given[0][jumps], strict=True):
            assert variable is not None
            at = np.asarray(value_of(case, variable, x, y))
            assert np.abs(at[..., None] - np.array(kinks)).min(initial=inf) < 1e-6
    for kink in kinks:
        assert variable is not None
        below, above = (slope_at(case, variable, kink + step) for step in (-1e-9, 1e-9))
        assert size(above - below).max() > 1e-3


def interior(case: Case, x: Array) -> Array:
    """Return which predictions are not so near to where slopes are infinite as to look like it."""
    if case.kind not in ("probabilities", "shares"):
        return np.ones(len(x), bool)
    return np.asarray((np.minimum(x, 1 - x) > 1e-6).all(axis=-1))


def value_of(case: Case, variable: str, x: Array, y: Any) -> Any:
    """Return the variable of an item."""
    if variable in OF_PAIRS:
        return OF_PAIRS[variable][0](x, y, case.params.get("p", 2.0))
    return leads_of(x, y) if variable == LEADS else VARIABLES[variable][0](x, y)


def leads_of(x: Array, y: Array) -> Array:
    """Return the leads of a row's target over other classes."""
    found: Array = (x[y.argmax()] - x)[y != y.max()]
    return found


def slope_at(case: Case, variable: str, value: float) -> Array:
    """Return the gradient of items whose variable has a value."""
    if variable == LEADS:
        return case.slopes(np.array([[value, 0.0, -9.0]]), [np.array([[1.0, 0.0, 0.0]])])
    if variable in OF_PAIRS:
        y = np.array([1.0, -1.0])
        return case.slopes(pairs_at(case, variable, value, y), [y])
    y = np.array([1.0])
    return case.slopes(VARIABLES[variable][1](value, y)[:, None], [y, *case.more(1)])


# ------------------------------------------------------------- elicits, proper, calibrated: numbers


def quantile_of(y: Array, p: Array, q: float) -> float:
    order = np.argsort(y)
    return float(y[order][np.searchsorted(np.cumsum(p[order]), q)])


def expectile_of(y: Array, p: Array, tau: float) -> float:
    low, high = y.min(), y.max()
    for _ in range(100):
        middle = 0.5 * (low + high)
        over, under = np.maximum(middle - y, 0), np.maximum(y - middle, 0)
        rises = (1 - tau) * (p @ over) > tau * (p @ under)
        low, high = (low, middle) if rises else (middle, high)
    return float(low)


def log_odds(y: Array, p: Array) -> float:
    yes = p[y == 1].sum()
    return float(np.log(yes / (1 - yes)))


FUNCTIONALS: dict[str, Callable[[Array, Array], float]] = {
    "mean": lambda y, p: float(p @ y),
    "log(mean)": lambda y, p: float(np.log(p @ y)),
    "median": lambda y, p: quantile_of(y, p, 0.5),
    "exp(mean log(1 + y)) - 1": lambda y, p: float(np.expm1(p @ np.log1p(y))),
    "median, weighed by 1 / max(|y|, eps)": lambda y, p: quantile_of(
        y, p / np.abs(y) / (p / np.abs(y)).sum(), 0.5
    ),
}
OF_ODDS: dict[str, Callable[[Array, Array], float]] = {
    "mode": lambda y, p: float(y[p.argmax()]),
    "probability": lambda y, p: float(p[y == 1].sum()),
    "log-odds": log_odds,
    "log-odds / 2": lambda y, p: log_odds(y, p) / 2,
}
PROPER = {
    "probability", "log-odds", "log-odds / 2", "mean", "class probabilities",
    "log(class probabilities)", "sqrt(class probabilities)",
}  # fmt: skip
"""What tells the probabilities of classes."""
BINARY = {"probabilities", "binary logits", "scores", "labelled answers"}
OF_LABELS = {"many logits"}
"""Losses of rows whose labels are one by one as a binary loss is."""


def functional(told: str) -> Callable[[Array, Array], float]:
    number, _, rest = told.partition("-")
    if rest == "quantile":
        return lambda y, p: quantile_of(y, p, float(number))
    if rest == "expectile":
        return lambda y, p: expectile_of(y, p, float(number))
    of, _, less = told.partition(" - ")
    if less and of == "mean":
        return lambda y, p: float(p @ y) - float(less)
    return (FUNCTIONALS | OF_ODDS)[told]


def expected(case: Case, x: Array, y: Array, p: Array) -> Array:
    """Return the expected loss of each prediction."""
    given = [np.repeat(y, len(x)), *case.more(len(x) * len(y))]
    if case.kind in OF_LABELS:
        given = [given[0][:, None]]
    values = case.values(np.tile(x, len(y))[:, None], given).reshape(len(y), len(x))
    return np.asarray(p @ values)


def predictions(case: Case) -> tuple[float, float]:
    """Return between which numbers the best prediction is looked for."""
    if case.kind == "probabilities":
        return 0.0, 1.0
    return (1e-6, 20.0) if case.kind in ("means", "positive", "ratios") else (-12.0, 12.0)


def best(case: Case, y: Array, p: Array) -> float:
    """Return the prediction of least expected loss: no loss here has two far from each other."""
    low, high = predictions(case)
    at = nan
    for _ in range(7):
        x = np.linspace(low, high, 241)
        at = x[expected(case, x, y, p).argmin()]
        low, high = max(low, at - 3 * (x[1] - x[0])), min(high, at + 3 * (x[1] - x[0]))
    return float(at)


NUMBERS = [
    (np.array([0.5, 1.0, 9.0]), np.array([0.28, 0.31, 0.41])),
    (np.array([1.0, 2.0, 4.0, 8.0]), np.array([0.55, 0.23, 0.13, 0.09])),
    (np.array([0.25, 4.0, 8.0]), np.array([0.42, 0.16, 0.42])),
]
ODDS = (0.12, 0.34, 0.47, 0.81)


def distributions(case: Case) -> list[tuple[Array, Array]]:
    if case.kind in BINARY | OF_LABELS:
        no = -1.0 if case.kind == "scores" else 0.0
        return [(np.array([no, 1.0]), np.array([1 - yes, yes])) for yes in ODDS]
    return NUMBERS


OF_ARRAYS = {name for name, domain in DOMAINS.items() if domain.arrays is not None}
"""Domains of what has no target that may vary, or several."""
ELEMENTS = [
    case
    for case in CASES
    if case.kind in OF_LABELS or (DOMAINS[case.kind].classes == (1,) and case.kind not in OF_ARRAYS)
]


@each_of(ELEMENTS)
def test_its_best_prediction_is_what_it_elicits(case: Case) -> None:
    told = case.traits.elicits
    every = distributions(case)
    found = np.array([best(case, y, p) for y, p in every])
    if told is not None:
        truth = [functional(told)(y, p) for y, p in every]
        np.testing.assert_allclose(found, truth, rtol=1e-6, atol=1e-6)
        return
    others = FUNCTIONALS if every is NUMBERS else OF_ODDS
    for of in others.values():
        other = np.array([of(y, p) for y, p in every])
        assert not np.allclose(found, other, rtol=1e-5, atol=1e-5)


@each_of([case for case in ELEMENTS if case.kind in BINARY | OF_LABELS])
def test_it_is_calibrated_by_bartletts_criterion(case: Case) -> None:
    """What favours the less likely answer, or neither, has to cost more than the best.

    Bartlett, Jordan and McAuliffe, Convexity, classification, and risk bounds, JASA 101, 2006.
    """
    low, high = predictions(case)
    neither = 0.5 if case.kind == "probabilities" else 0.0
    x = np.concatenate([np.linspace(low, high, 4001), neither + np.array([0, 1e-9, -1e-9])])
    gaps: list[float] = []
    for yes in (0.05, 0.3, 0.45, 0.49, 0.51, 0.6, 0.95):
        y = np.array([-1.0 if case.kind == "scores" else 0.0, 1.0])
        cost = expected(case, x, y, np.array([1 - yes, yes]))
        wrong = (x - neither) * (yes - 0.5) <= 0
        gaps.append(cost[wrong].min() - cost.min())
    assert case.traits.calibrated in (None, min(gaps) > 1e-6)


@each_of([case for case in CASES if case.kind == "ensembles"])
def test_its_best_ensemble_is_of_the_quantiles_that_it_elicits(case: Case) -> None:
    told, m = case.traits.elicits, 4
    assert told is not None
    levels = {
        "(i - 1/2) / m-quantiles": (np.arange(m) + 0.5) / m,
        "(i - 1) / (m - 1)-quantiles": np.arange(m) / (m - 1),
    }[told]
    rng = np.random.default_rng(0)
    for y, p in NUMBERS:
        best = np.array([quantile_of(y, p, min(each, 1 - EPS)) for each in levels])
        moved = rng.standard_normal((4000, m)) * powers(rng, (4000, 1), -3, 1)
        x = best + np.concatenate([np.zeros((1, m)), moved])
        costs = [case.values(x, [np.full(len(x), each)]) for each in y]
        expected = p @ np.array(costs)
        assert (expected >= expected[0] - ROUNDING * EPS).all()


# ---------------------------------------------------------------- elicits, proper, calibrated: rows


ROWS = [case for case in CASES if case not in ELEMENTS and case.kind not in {"regions", *OF_ARRAYS}]
MIXES = [
    np.array([0.4, 0.35, 0.25]),
    np.array([0.15, 0.25, 0.6]),
    np.array([0.3, 0.42, 0.28]),
]
"""Of classes; in the first and the last none has a majority."""


def on_domain(case: Case, x: Array) -> Array:
    """Return the predictions that logits stand for."""
    of_logits = {"shares": shares, "log-probabilities": log_shares}.get(case.kind)
    return x if of_logits is None else of_logits(x)


def expected_of_row(case: Case, x: Array, p: Array) -> Array:
    """Return the expected loss of the predictions that rows of logits stand for."""
    x, n = on_domain(case, x), len(x)
    targets = TARGETS if case.kind == "two logits" else np.eye(3)
    costs = [case.values(x, [np.broadcast_to(t, (n, 3)).copy()]) for t in targets]
    return np.asarray(p @ np.array(costs))


def row_of(case: Case, told: str, p: Array) -> Array:
    """Return the row that is told to be the best, or logits of it."""
    times, _, of = told.partition(" ") if told[:1].isdigit() else ("1", "", told)
    if told == "class probabilities" and case.kind not in ("shares", "two logits"):
        return p
    if of == "sqrt(class probabilities)":
        return np.asarray(float(times) * np.sqrt(p))
    return np.asarray((float(times) if of.startswith("log(") else 1.0) * np.log(p))


MARGINS = (0.5, 1.0, 2.0)
"""Leads at which the best rows of hinges are."""
TARGETS = np.array([[1.0, 0.0, -1.0], [0.0, 2.0, 0.5], [-2.0, 0.0, 1.0]])
"""Logits of targets."""


@each_of(ROWS)
def test_its_best_row_is_what_it_elicits(case: Case) -> None:
    told = case.traits.elicits
    rng = np.random.default_rng(0)
    steps = rng.standard_normal((4000, 3)) * powers(rng, (4000, 1), -3, 1)
    found: list[bool] = []
    for p in MIXES:
        shown = p
        if "mean softmax" in (told or ""):
            shown = p @ shares(TARGETS / case.params.get("temperature", 1.0))
        elif told == "mode":
            shown = np.where(p == p.max(), 1.0, 1e-300)
        if told is not None:
            assert "class_weight" not in case.params
        x = row_of(case, told or "", shown) + np.concatenate([np.zeros((1, 3)), steps])
        cost = expected_of_row(case, x, p)
        # a loss and those beside it, each rounded
        found.append(bool((cost[1:] >= cost[0] - ROUNDING * EPS).all()))
    if case.traits.proper is None and told is None:
        return
    assert all(found) == (told is not None)


@each_of(ROWS)
def test_it_is_calibrated_among_classes(case: Case) -> None:
    """What puts another class first, or level, has to cost more than the best.

    Tewari and Bartlett, On the consistency of multiclass classification methods, JMLR 8, 2007.
    """
    if case.traits.calibrated is None:
        return
    steps = np.concatenate([10 ** np.linspace(-3, 0.8, 40), MARGINS])
    line = np.concatenate([-steps, [0], steps])
    leads = np.stack([*np.meshgrid(line, line), 0 * line[:, None] + 0 * line], axis=-1)
    leads = leads.reshape(-1, 3)
    x = log_shares(leads)  # for a z-loss; others do not mind
    gaps: list[float] = []
    for p in MIXES:
        cost = expected_of_row(case, x, p)
        mode = p.argmax()
        wrong = leads[:, mode] <= np.delete(leads, mode, axis=1).max(axis=1)
        gaps.append(cost[wrong].min() - cost.min())
    assert (min(gaps) > 1e-9) == case.traits.calibrated


@every_case
def test_it_is_proper_where_it_elicits_probabilities(case: Case) -> None:
    told, proper = case.traits.elicits, case.traits.proper
    of_classes = case.kind in BINARY | OF_LABELS or case in ROWS
    if not of_classes:
        assert proper is None
        assert case.traits.calibrated is None
    elif proper is not None:
        assert proper == (told is not None and told.lstrip("0123456789. ") in PROPER)
        assert case.traits.calibrated or not proper


# ------------------------------------------------------------------------ sums, weights, parameters


def test_a_sum_adds_what_its_terms_have() -> None:
    known = tinyloss.traits(0.5 * tinyloss.MSELoss() + 3 * tinyloss.HuberLoss(delta=2.0))
    assert known == replace(
        tinyloss.traits(tinyloss.mse), strong_convexity=1.0, smoothness=4.0, elicits=None
    )
    robust = tinyloss.traits(2 * tinyloss.MAELoss() + tinyloss.EpsilonInsensitiveLoss(epsilon=0.5))
    assert robust.lipschitz == 3
    assert robust.kinks == (-0.5, 0.0, 0.5)
    same = tinyloss.traits(tinyloss.SoftMarginLoss() + tinyloss.SoftMarginLoss())
    assert (same.elicits, same.proper, same.calibrated) == ("log-odds", True, True)
    apart = tinyloss.traits(tinyloss.MAPELoss() + tinyloss.SMAPELoss())
    assert (apart.convex, apart.kinks, apart.variable) == (None, None, None)
    assert tinyloss.traits(0 * tinyloss.MSELoss()).range == (0, 0)
    assert tinyloss.traits(0 * tinyloss.MSELoss() + tinyloss.MAELoss()) == tinyloss.traits(
        tinyloss.mae
    )


def test_a_factor_scales_every_constant() -> None:
    known = tinyloss.traits(4 * tinyloss.BrierLoss(from_logits=False))
    assert (known.strong_convexity, known.smoothness, known.range) == (8, 8, (0, 8))
    straight = tinyloss.traits(-2 * tinyloss.NLLLoss())
    assert (straight.convex, straight.lipschitz, straight.range) == (True, 2, (-inf, 0))


def test_class_weights_are_factors_that_the_target_chooses() -> None:
    known = tinyloss.traits(tinyloss.CrossEntropyLoss(class_weight=[0.5, 3.0]))
    assert known.lipschitz == 3 * 2**0.5
    assert (known.elicits, known.proper, known.calibrated) == (None, False, False)
    alike = tinyloss.traits(tinyloss.brier, class_weight=np.array([2.0, 2.0]))
    assert (alike.proper, alike.range) == (True, (0, 4))
    weighed = tinyloss.traits(tinyloss.brier, from_logits=False, class_weight=[0.5, 2.0])
    assert (weighed.strong_convexity, weighed.smoothness, weighed.range) == (1, 4, (0, 4))


def test_parameters_may_be_arrays_of_one_number() -> None:
    assert tinyloss.traits(tinyloss.huber, delta=np.array(2.5)).lipschitz == 2.5
    several = tinyloss.BCEWithLogitsLoss(pos_weight=np.array([0.5, 4.0]))
    assert tinyloss.traits(several).smoothness == 1


def test_of_scores_that_are_products_it_is_by_the_scores() -> None:
    of_scores = tinyloss.traits(tinyloss.CrossEntropyLoss(temperature=2.0))
    assert tinyloss.traits(tinyloss.linear_cross_entropy, temperature=2.0) == of_scores
    assert tinyloss.traits(tinyloss.of_products(tinyloss.hinge)) == tinyloss.traits(tinyloss.hinge)
    assert tinyloss.traits(tinyloss.linear_logprobs).convex is False
    of_pairs = tinyloss.traits(tinyloss.info_nce, symmetric=False, temperature=2.0)
    assert of_pairs == replace(of_scores, elicits=None, proper=None, calibrated=None)
    assert tinyloss.traits(tinyloss.linear_cross_entropy).elicits == "log(class probabilities)"


def test_of_the_logits_of_regions_it_is_another_than_of_probabilities() -> None:
    by_logits = tinyloss.traits(tinyloss.lovasz_softmax, from_logits="softmax")
    assert (by_logits.convex, by_logits.lipschitz, by_logits.range) == (False, None, (0, 1))
    assert tinyloss.traits(tinyloss.lovasz_softmax).convex
    assert tinyloss.traits(tinyloss.dice, from_logits="sigmoid").smoothness is None


def test_generalized_dice_of_one_class_is_as_steep_as_dice() -> None:
    x, y, _ = one_right(64)
    for derive in (tinyloss.value_and_grad, tinyloss.grad_and_hess):
        of_all: Any = derive(tinyloss.generalized_dice)
        of_one: Any = derive(tinyloss.dice)
        for found, expected in zip(
            of_all(x[None], y[None], class_axis=0), of_one(x, y), strict=True
        ):
            np.testing.assert_allclose(np.ravel(found), np.ravel(expected), rtol=1e-14)
    assert tinyloss.traits(tinyloss.generalized_dice) == tinyloss.traits(tinyloss.dice)


def test_of_a_kind_of_lambda_loss_it_is_that_of_its_pairs() -> None:
    known = tinyloss.traits(tinyloss.lambdaloss, kind="ranknet")
    assert known == tinyloss.traits(tinyloss.pairwise_logistic)


def test_of_members_and_strata_it_is_that_of_whole_lists() -> None:
    mask = np.array([True, False])
    for loss in (tinyloss.listmle, tinyloss.unique_softmax, tinyloss.lovasz_hinge):
        assert tinyloss.traits(loss, mask=mask) == tinyloss.traits(loss)
    strata = tinyloss.traits(tinyloss.cox_ph, segments=np.array([0, 1]))
    assert strata == tinyloss.traits(tinyloss.cox_ph)


def test_of_a_loss_of_ones_own_nothing_is_known() -> None:
    @tinyloss.loss
    def quartic(x: Any, y: Any, *, scale: float = 1.0) -> Any:
        return ((x - y) / scale) ** 4

    assert tinyloss.traits(quartic, scale=2.0) == tinyloss.Traits()
    assert tinyloss.traits(tinyloss.WingLoss() + tinyloss.MSELoss()).convex is None


def test_wrong_calls_are_refused() -> None:
    traits: Any = tinyloss.traits
    with pytest.raises(TypeError, match=r"^tinyloss\.traits: got 3, expected a loss"):
        traits(3)
    with pytest.raises(TypeError, match=r"^tinyloss\.traits: got .*softmax.*, expected a loss"):
        traits(tinyloss.softmax)
    with pytest.raises(TypeError, match=r"delta beside HuberLoss.*, which has its parameters"):
        traits(tinyloss.HuberLoss(), delta=1.0)
    with pytest.raises(ValueError, match=r"tinyloss\.huber: delta is -1"):
        traits(tinyloss.huber, delta=-1.0)
    with pytest.raises(TypeError, match=r"tinyloss\.huber.*unexpected keyword argument 'beta'"):
        traits(tinyloss.huber, beta=1.0)
    with pytest.raises(TypeError, match=r"^tinyloss\.traits: weight .*expected parameters"):
        traits(tinyloss.huber, weight=[1.0, 2.0])


# --------------------------------------------------------------------------- what others have wrong


def test_lossfunctions_jl_calls_insensitive_losses_strongly_convex() -> None:
    """It says so of L1EpsilonInsLoss and L2EpsilonInsLoss, whose middle is flat."""
    for loss in (tinyloss.epsilon_insensitive, tinyloss.squared_epsilon_insensitive):
        assert loss(np.array([0.0]), [0.5], epsilon=1.0) == loss(
            np.array([0.25]), [0.5], epsilon=1.0
        )
        assert tinyloss.traits(loss, epsilon=1.0).strong_convexity == 0


def test_lossfunctions_jl_calls_log_cosh_strongly_convex() -> None:
    """It says so of LogCoshLoss, whose curvature vanishes in the tails."""
    _, curvature = tinyloss.grad_and_hess(tinyloss.log_cosh)(np.array([20.0]), [0.0])
    assert curvature < 1e-16
    assert tinyloss.traits(tinyloss.log_cosh).strong_convexity == 0


def test_lossfunctions_jl_calls_a_convex_loss_convex_times_any_factor() -> None:
    """It says so of ScaledLoss, whose factor may be below 0."""
    known = tinyloss.traits(-1 * tinyloss.MSELoss())
    assert known.convex is False
    assert known.range == (-inf, 0)


def test_lossfunctions_jl_gives_huber_another_constant_than_its_code() -> None:
    """Its docstring and its code do not agree; here the slope is delta, and is reached."""
    for delta in (0.5, 3.0):
        slope = tinyloss.grad(tinyloss.huber)(np.array([100.0]), [0.0], delta=delta)
        assert slope == tinyloss.traits(tinyloss.huber, delta=delta).lipschitz == delta


def test_a_convex_loss_of_margins_is_calibrated_where_it_falls_at_0_without_a_kink() -> None:
    """The perceptron's slope is negative below 0, and it has a kink there."""
    assert tinyloss.traits(tinyloss.perceptron).calibrated is False
    assert tinyloss.traits(tinyloss.hinge).calibrated is True
