"""Losses of similarities whose rows have labels: pairs of one label are to be alike."""

from dataclasses import replace
from math import exp, inf, log1p
from typing import Any, Unpack, cast

from tinyloss import _check
from tinyloss._arrays import namespace
from tinyloss._differences import exp_difference
from tinyloss._engine.request import Pairs, Product, Request
from tinyloss._formula import Formula
from tinyloss._products import PairFunction
from tinyloss._traits import Traits
from tinyloss.losses._numerics import positive_part, sigmoids
from tinyloss.losses.contrastive import matched, of_pairs
from tinyloss.losses.multiclass import SharesCrossEntropy, cross_entropy
from tinyloss.typing import (
    Array,
    ArrayLike,
    Flag,
    MemoryLimit,
    Number,
    Options,
    Positive,
)

__all__ = ["circle", "multi_similarity", "n_pairs", "nt_xent", "supcon"]


def _labelled(
    name: str,
    a: Any,
    labels: Any,
    b: Any,
    labels_b: Any,
    mask: Any,
    marks: Any,
    similarities: bool,
    **more: Any,
) -> Product:
    """Return similarities whose pairs are of labels; without b, a row is no pair of itself."""
    product = of_pairs(name, a, b, similarities, **more)
    if (b is None) != (labels_b is None) and not similarities:
        one, other = ("b", "labels_b") if labels_b is None else ("labels_b", "b")
        raise ValueError(f"tinyloss.{name}: {one} is given, expected {other} beside it")
    own = labels_b is None
    pairs = Pairs(labels, labels if own else labels_b, own, mask, marks)
    return product._replace(pairs=pairs)


def _sides(x: Any, y: Any) -> tuple[Any, Any]:
    """Return which pairs of rows are of one label, and which are of two; -inf is none of these."""
    xp = namespace(x)
    there = x != -xp.inf
    return (y != 0) & there, (y == 0) & there


def _count(there: Any, like: Any) -> Any:
    """Return how many there are in each row, 1 for none: there is nothing to divide then."""
    xp = namespace(like)
    ones = xp.where(there, xp.ones_like(like), 0.0)
    return xp.maximum(xp.sum(ones, axis=-1, keepdims=True), 1.0)


def _largest(x: Any, there: Any) -> Any:
    """Return the largest of those there in each row, 0 where none is."""
    xp = namespace(x)
    m = xp.max(xp.where(there, x, -xp.inf), axis=-1, keepdims=True)
    return xp.where(m == -xp.inf, 0.0, m)


def _shares(x: Any, there: Any, m: Any) -> Any:
    """Return exp(x - m) of those there, else 0."""
    xp = namespace(x)
    return xp.where(there, exp_difference(xp.where(there, x, m), m), 0.0)


def _exponentials(x: Any, there: Any) -> tuple[Any, Any, Any]:
    """Return m, e and s: the largest of those there, exp(x - m) of these, and their sum."""
    m = _largest(x, there)
    e = _shares(x, there, m)
    return m, e, namespace(x).sum(e, axis=-1, keepdims=True)


class _SupCon(SharesCrossEntropy):
    name = "supcon"
    compares_classes = False
    in_parts = None

    def __init__(self, x: Any, y: Any) -> None:
        xp = namespace(x)
        positive, _ = _sides(x, y)
        super().__init__(x, xp.where(positive, 1 / _count(positive, x), 0.0))


# Traits are as functions of a row's similarities, divided by the temperature.


class _NTXent(Formula):
    """Each positive among the negatives: the sum over positives of softplus(log s - x)."""

    name = "nt_xent"
    rowwise = True

    def __init__(self, x: Any, y: Any) -> None:
        self.xp = xp = namespace(x)
        self.positive, negative = _sides(x, y)
        self.count = _count(self.positive, x)
        m, self.e, s = _exponentials(x, negative)
        self.s = xp.where(s > 0, s, 1.0)
        above = xp.where(self.positive, (m - x) + xp.log(self.s), 0.0)
        against = sigmoids(above)
        counts = self.positive & (s > 0)  # without negatives there is no loss
        self.terms = xp.where(counts, against.softplus, 0.0)
        self.pull = xp.where(counts, against.plus, 0.0)

    def value(self) -> Any:
        return (self.xp.sum(self.terms, axis=-1, keepdims=True) / self.count)[..., 0]

    def grad_x(self) -> Any:
        xp, pull = self.xp, self.pull
        pushed = self.e / self.s * xp.sum(pull, axis=-1, keepdims=True)
        return xp.where(self.positive, -pull, pushed) / self.count

    @classmethod
    def traits(cls, **_: Any) -> Traits:
        # a mean of cross-entropies, which is steepest where it is one
        return SharesCrossEntropy.traits()


def _log_of_one_more(x: Any, there: Any) -> tuple[Any, Any]:
    """Return log(1 + sum exp(x)) over those there, and its gradient."""
    xp = namespace(x)
    m = xp.maximum(_largest(x, there), 0.0)
    e = _shares(x, there, m)
    s = xp.sum(e, axis=-1, keepdims=True)
    # the largest is 1 of the sum where it is above 0; where it is not, m is 0
    rest = xp.where(m > 0, xp.exp(-m) + (s - 1), s)
    return (m + xp.log1p(rest))[..., 0], e / (1 + rest)


class _MultiSimilarity(Formula):
    name = "multi_similarity"
    rowwise = True

    def __init__(self, x: Any, y: Any, *, alpha: Any, beta: Any, base: Any) -> None:
        xp = namespace(x)
        positive, negative = _sides(x, y)
        above = xp.where(positive | negative, x - base, 0.0)
        near, pull = _log_of_one_more(-alpha * above, positive)
        far, push = _log_of_one_more(beta * above, negative)
        self.loss, self.slope = near / alpha + far / beta, push - pull

    def value(self) -> Any:
        return self.loss

    def grad_x(self) -> Any:
        return self.slope

    @classmethod
    def traits(cls, *, alpha: float, beta: float, **_: Any) -> Traits:
        # Slopes of either kind are shares, of sum 1 at most. Each kind is a softmax beside a
        # constant, times its factor, and is steepest where two members have 1 / 2 each.
        return replace(SharesCrossEntropy.traits(), smoothness=0.5 * max(alpha, beta))


class _Circle(Formula):
    name = "circle"
    rowwise = True

    def __init__(self, x: Any, y: Any, *, margin: Any, gamma: Any) -> None:
        xp = namespace(x)
        positive, negative = _sides(x, y)
        x = xp.where(positive | negative, x, 0.0)
        self.pull = gamma * positive_part((1 + margin) - x)
        self.push = gamma * positive_part(x + margin)
        m, self.e, s = _exponentials(-self.pull * (x - (1 - margin)), positive)
        n, self.f, t = _exponentials(self.push * (x - margin), negative)
        self.s, self.t = xp.where(s > 0, s, 1.0), xp.where(t > 0, t, 1.0)
        self.both = sigmoids((m + n) + (xp.log(self.s) + xp.log(self.t)))

    def value(self) -> Any:
        return self.both.softplus[..., 0]

    def grad_x(self) -> Any:
        push = self.push * self.f / self.t
        return self.both.plus * (push - self.pull * self.e / self.s)

    @classmethod
    def traits(cls, *, margin: float, gamma: float) -> Traits:
        # It is flat and then falls, and rises, as s^2 does: least of one positive at 1 and one
        # negative at 0. Factors, which the gradient holds constant, grow with similarities.
        least = log1p(exp(-2 * gamma * max(margin, 0.0) ** 2))
        return Traits(
            convex=False, strong_convexity=0.0, lipschitz=inf, smoothness=inf, range=(least, inf)
        )


@PairFunction
def nt_xent(
    a: Array,
    labels: ArrayLike,
    b: Array | None = None,
    labels_b: ArrayLike | None = None,
    *,
    mask: ArrayLike | None = None,
    max_memory: MemoryLimit = None,
    normalize: Flag = True,
    similarities: Flag = False,
    temperature: Positive = 0.07,
    **options: Unpack[Options],
) -> Request:
    """Contrastive loss of positive pairs, each among the negatives of its row. SimCLR's loss.

    Parameters
    ----------
    a
        Vectors.
    labels
        Integers, one for each row of a: rows of one label are positives of each other.
    b, labels_b
        Other vectors that a is compared with, and their labels. Without these, a's rows are
        compared with each other.
    mask
        Which pairs count, (N, M) booleans.
    max_memory
        How many bytes to take at a time: see `of_products`.
    normalize
        Whether rows are divided by their lengths, so that similarities are cosines.
    similarities
        Whether a holds the similarities themselves, (N, N), or (N, M) with labels_b.
    temperature
        What similarities are divided by, a number or a 0-d array.
    weight, where, reduction, denominator
        As for every loss, of rows, each of which weighs as many as it has positives. `weight` is
        the weight of each item and `where`, of booleans, says which count; both broadcast to the
        items. `reduction` is "mean" (sum of weight * loss / sum of weight), "sum" or "none";
        `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: vectors learned without targets, two views of each thing having one label.

    Shapes: a (N, D), labels (N,), b (M, D), labels_b (M,). An item is a row of a.

    Domain: all vectors. One of zeros has no direction: it stays 0.

    Formula: the mean over positive pairs (i, p) of log(1 + sum_n exp(s_in - s_ip)), n the negatives
    of i, s = a @ b.T / temperature. Other positives are not in the sum.

    Gradient: with q_ip = 1 / (1 + exp(s_ip) / sum_n exp(s_in)), by s_ip -q_ip, by s_in
    exp(s_in) / sum_n exp(s_in) sum_p q_ip; by a (`argnums` 0), b (1) and the temperature (2) as for
    `info_nce`.

    Accuracy: 8 eps of similarities that are rounded as a product of matrices is.

    Edge cases: a row without positives is left out; 0 without negatives, and where no row has
    positives.

    Source: Chen et al., A simple framework for contrastive learning of visual representations, ICML
    2020.

    Elsewhere: optax `ntxent`; pytorch-metric-learning `NTXentLoss`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> a = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [-1.0, 1.0]])
    >>> tinyloss.nt_xent(a, np.array([0, 0, 1, 1]), temperature=0.5).round(6).item()
    0.535969
    """
    scale = 1.0 / cast(Any, temperature)
    more = {"scale": scale, "max_memory": max_memory, "unit": normalize}
    product = _labelled("nt_xent", a, labels, b, labels_b, mask, "pairs", similarities, **more)
    return Request(_NTXent, product, None, **options)


@PairFunction
def supcon(
    a: Array,
    labels: ArrayLike,
    b: Array | None = None,
    labels_b: ArrayLike | None = None,
    *,
    mask: ArrayLike | None = None,
    max_memory: MemoryLimit = None,
    normalize: Flag = True,
    similarities: Flag = False,
    temperature: Positive = 0.1,
    **options: Unpack[Options],
) -> Request:
    """Supervised contrastive loss: cross-entropy of each row's similarities against its positives.

    Parameters
    ----------
    a
        Vectors.
    labels
        Integers, one for each row of a: rows of one label are positives of each other.
    b, labels_b
        Other vectors that a is compared with, and their labels. Without these, a's rows are
        compared with each other.
    mask
        Which pairs count, (N, M) booleans.
    max_memory
        How many bytes to take at a time: see `of_products`.
    normalize
        Whether rows are divided by their lengths, so that similarities are cosines.
    similarities
        Whether a holds the similarities themselves, (N, N), or (N, M) with labels_b.
    temperature
        What similarities are divided by, a number or a 0-d array.
    weight, where, reduction, denominator
        As for every loss, of rows that have positives. `weight` is the weight of each item and
        `where`, of booleans, says which count; both broadcast to the items. `reduction` is "mean"
        (sum of weight * loss / sum of weight), "sum" or "none"; `denominator` is what the mean
        divides by instead.

    Notes
    -----
    Use for: vectors whose classes are known, to be close within a class: before a classifier, or
    instead of one.

    Shapes: a (N, D), labels (N,), b (M, D), labels_b (M,). An item is a row of a.

    Domain: all vectors. One of zeros has no direction: it stays 0.

    Formula: log sum_k exp(s_ik) - mean_p s_ip, p the positives of i, k all others,
    s = a @ b.T / temperature (the sum outside the logarithm).

    Gradient: by s_ik exp(s_ik) / sum_l exp(s_il) - [k is a positive] / (number of positives); by a
    (`argnums` 0), b (1) and the temperature (2) as for `info_nce`.

    Accuracy: as for `cross_entropy` of similarities that are rounded as a product of matrices is.

    Edge cases: a row without positives is left out; 0 where no row has any.

    Source: Khosla et al., Supervised contrastive learning, NeurIPS 2020.

    Elsewhere: pytorch-metric-learning `SupConLoss`, whose mean leaves out rows of loss 0.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> a = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [-1.0, 1.0]])
    >>> tinyloss.supcon(a, np.array([0, 0, 1, 1]), temperature=0.5).round(6).item()
    0.535969
    """
    scale = 1.0 / cast(Any, temperature)
    more = {"scale": scale, "max_memory": max_memory, "unit": normalize}
    product = _labelled("supcon", a, labels, b, labels_b, mask, "positives", similarities, **more)
    return Request(_SupCon, product, None, **options)


@PairFunction
def n_pairs(
    a: Array,
    b: Array | None = None,
    labels: ArrayLike | None = None,
    labels_b: ArrayLike | None = None,
    *,
    max_memory: MemoryLimit = None,
    similarities: Flag = False,
    **options: Unpack[Options],
) -> Request:
    """N-pair loss: cross-entropy of each row's products with all rows of b, its pair the class.

    Parameters
    ----------
    a, b
        Vectors, those of a pair in the same row of both.
    labels, labels_b
        Integers, one for each row of a and of b, those of a where `labels_b` is None: then all
        rows of one label are positives, in equal shares. Without these, the row of the same number.
    max_memory
        How many bytes to take at a time: see `of_products`.
    similarities
        Whether a holds the products themselves, (N, M).
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: vectors in pairs, whose lengths count too; a penalty on these is yours to add.

    Shapes: a (N, D), b (N, D), or (M, D) with labels (N,) and labels_b (M,). An item is a row.

    Domain: all vectors.

    Formula: log sum_j exp(s_ij) - mean_p s_ip, s = a @ b.T, p the positives of i.

    Gradient: as for `supcon`, of products that are neither normalised nor scaled.

    Accuracy: as for `linear_cross_entropy`.

    Edge cases: a row without positives is left out.

    Source: Sohn, Improved deep metric learning with multi-class N-pair loss objective, NIPS 2016.

    Elsewhere: TensorFlow Addons `npairs_loss`; pytorch-metric-learning `NPairsLoss`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> a, b = np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[1.0, 0.0], [1.0, 1.0]])
    >>> tinyloss.n_pairs(a, b).round(6).item()
    0.410038
    """
    if labels is None:
        if labels_b is not None:
            raise ValueError("tinyloss.n_pairs: labels_b is given, expected labels beside it")
        if b is None and a is not None and not similarities:
            raise ValueError("tinyloss.n_pairs: b is None, expected the pairs of a's rows")
        product, index = matched(
            "n_pairs", a, b, None, (None, None), None, similarities, max_memory=max_memory
        )
        return cross_entropy.describe(product, index, **options)._replace(title="n_pairs")
    product = of_pairs("n_pairs", a, b, similarities, max_memory=max_memory)
    columns = labels if labels_b is None else labels_b
    product = product._replace(pairs=Pairs(labels, columns, marks="positives"))
    return Request(_SupCon, product, None, title="n_pairs", **options)


@PairFunction
def multi_similarity(
    a: Array,
    labels: ArrayLike,
    b: Array | None = None,
    labels_b: ArrayLike | None = None,
    *,
    alpha: Positive = 2.0,
    base: Number = 0.5,
    beta: Positive = 50.0,
    mask: ArrayLike | None = None,
    max_memory: MemoryLimit = None,
    normalize: Flag = True,
    similarities: Flag = False,
    **options: Unpack[Options],
) -> Request:
    """Multi-similarity loss: soft maxima of how far positives are below a base, negatives above.

    Parameters
    ----------
    a
        Vectors.
    labels
        Integers, one for each row of a: rows of one label are positives of each other.
    b, labels_b
        Other vectors that a is compared with, and their labels. Without these, a's rows are
        compared with each other.
    alpha, beta
        How sharp the maxima are, of positives and of negatives.
    base
        The similarity that positives should be above, and negatives below.
    mask
        Which pairs count, (N, M) booleans: what was mined.
    max_memory
        How many bytes to take at a time: see `of_products`.
    normalize
        Whether rows are divided by their lengths, so that similarities are cosines.
    similarities
        Whether a holds the similarities themselves, (N, N), or (N, M) with labels_b.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: vectors to search with, whose labels are known: near and far pairs weigh by how wrong
    they are.

    Shapes: a (N, D), labels (N,), b (M, D), labels_b (M,). An item is a row of a.

    Domain: all vectors. One of zeros has no direction: it stays 0.

    Formula: log(1 + sum_p exp(-alpha (s_ip - base))) / alpha
    + log(1 + sum_n exp(beta (s_in - base))) / beta, s = a @ b.T, p and n the positives and the
    negatives of i. The source also mines pairs: see `mask`.

    Gradient: by s_ip -exp(-alpha (s_ip - base)) / (1 + sum), by s_in exp(beta (s_in - base)) /
    (1 + sum); by a (`argnums` 0) and b (1) as for `info_nce`.

    Accuracy: 8 eps of similarities that are rounded as a product of matrices is, to beta eps.

    Edge cases: a row without positives, or without negatives, has that part 0, and counts.

    Source: Wang et al., Multi-similarity loss with general pair weighting for deep metric learning,
    CVPR 2019.

    Elsewhere: pytorch-metric-learning `MultiSimilarityLoss`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> a = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [-1.0, 1.0]])
    >>> tinyloss.multi_similarity(a, np.array([0, 0, 1, 1])).round(6).item()
    0.357221
    """
    more = {"max_memory": max_memory, "unit": normalize}
    product = _labelled(
        "multi_similarity", a, labels, b, labels_b, mask, "all", similarities, **more
    )
    params = {"alpha": alpha, "beta": beta, "base": _check.number("multi_similarity", "base", base)}
    return Request(_MultiSimilarity, product, None, params, **options)


@PairFunction
def circle(
    a: Array,
    labels: ArrayLike,
    b: Array | None = None,
    labels_b: ArrayLike | None = None,
    *,
    gamma: Positive = 80.0,
    margin: Number = 0.4,
    mask: ArrayLike | None = None,
    max_memory: MemoryLimit = None,
    normalize: Flag = True,
    similarities: Flag = False,
    **options: Unpack[Options],
) -> Request:
    """Circle loss: each similarity is pulled by how far it is from its optimum.

    Parameters
    ----------
    a
        Vectors.
    labels
        Integers, one for each row of a: rows of one label are positives of each other.
    b, labels_b
        Other vectors that a is compared with, and their labels. Without these, a's rows are
        compared with each other.
    gamma
        What distances are multiplied by.
    margin
        How close to 0 and 1 similarities need not be.
    mask
        Which pairs count, (N, M) booleans.
    max_memory
        How many bytes to take at a time: see `of_products`.
    normalize
        Whether rows are divided by their lengths, so that similarities are cosines.
    similarities
        Whether a holds the similarities themselves, (N, N), or (N, M) with labels_b.
    weight, where, reduction, denominator
        As for every loss, of rows that have both positives and negatives. `weight` is the weight of
        each item and `where`, of booleans, says which count; both broadcast to the items.
        `reduction` is "mean" (sum of weight * loss / sum of weight), "sum" or "none";
        `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: what `multi_similarity` is for, with one target for all positives and one for all
    negatives.

    Shapes: a (N, D), labels (N,), b (M, D), labels_b (M,). An item is a row of a.

    Domain: all vectors. One of zeros has no direction: it stays 0.

    Formula: log(1 + sum_p exp(-u_p (s_ip - 1 + margin)) sum_n exp(v_n (s_in - margin))),
    s = a @ b.T, u_p = gamma max(1 + margin - s_ip, 0), v_n = gamma max(s_in + margin, 0), p and n
    the positives and the negatives of i.

    Gradient: as if u and v were constants, as the source has it: by s_ip -u_p times the share of
    p in its sum, by s_in v_n times that of n, times 1 - exp(-loss); by a (`argnums` 0) and b (1) as
    for `info_nce`.

    Accuracy: value 8 eps of gamma, gradient to gamma eps: similarities are rounded as a product of
    matrices is.

    Edge cases: a row without positives or without negatives is left out.

    Source: Sun et al., Circle loss: a unified perspective of pair similarity optimization, CVPR
    2020.

    Elsewhere: pytorch-metric-learning `CircleLoss`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> a = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [-1.0, 1.0]])
    >>> tinyloss.circle(a, np.array([0, 0, 1, 1]), gamma=2.0).round(6).item()
    1.056874
    """
    more = {"max_memory": max_memory, "unit": normalize}
    product = _labelled("circle", a, labels, b, labels_b, mask, "both", similarities, **more)
    params = {"gamma": gamma, "margin": _check.number("circle", "margin", margin)}
    return Request(_Circle, product, None, params, **options)
