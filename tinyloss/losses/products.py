"""Losses and log-probabilities of a last layer and its features, without holding its logits."""

from typing import Any, Unpack

from tinyloss._arrays import beside, namespace
from tinyloss._engine.request import Product, Request
from tinyloss._formula import LABEL, Formula
from tinyloss._products import ProductFunction
from tinyloss._traits import Traits, weighed
from tinyloss.losses._numerics import product, softmax_parts
from tinyloss.losses.multiclass import LabelCrossEntropy, Shaped, cross_entropy, shape_of
from tinyloss.typing import (
    Array,
    ArrayLike,
    AxisName,
    ClassAxis,
    MemoryLimit,
    NonNegative,
    Positive,
    PositiveOrNone,
    ProductOptions,
    Share,
)

__all__ = ["linear_cross_entropy", "linear_entropy", "linear_logprobs"]


@ProductFunction
def linear_cross_entropy(
    h: Array,
    w: Array,
    y: ArrayLike,
    *,
    bias: ArrayLike | None = None,
    class_axis: ClassAxis = 0,
    label_smoothing: Share = 0.0,
    mask: ArrayLike | None = None,
    max_memory: MemoryLimit = None,
    softcap: PositiveOrNone = None,
    temperature: Positive = 1.0,
    z_loss: NonNegative = 0.0,
    **options: Unpack[ProductOptions],
) -> Request:
    """Cross-entropy of the logits h @ w.T + bias, of which a chunk is in memory at a time.

    It equals `cross_entropy` of these logits, with the same options. Its gradients by h, w and bias
    are computed with the value.

    Parameters
    ----------
    h
        Features of the items.
    w
        The weights of the last layer, (V, D), or (D, V) with class_axis=1.
    y
        Class indices, with one dimension fewer than h, of any integer dtype; or probabilities,
        one-hot or soft, of shape (..., V) and any real dtype.
    axis_name
        The mapped axis whose members hold a part of the classes each, in order (JAX alone).
    class_weight
        A weight for each class, of shape (V,).
    ignore_index
        Items with this class index are left out. It need not be a class.
    bias
        What is added to the logits, of shape (V,), or one number.
    class_axis
        The axis of w that the classes are along.
    label_smoothing
        The share of the target, from 0 to 1, that is spread evenly over all possible classes.
    mask
        Which classes are possible: booleans that broadcast to the logits. Others count as -inf.
    max_memory
        How many bytes to take at a time: see `of_products`.
    softcap
        A bound on the size of logits, which become softcap * tanh(x / softcap); None for none.
    temperature
        What logits are divided by, before they are capped.
    z_loss
        How much the square of log sum_k exp(x_k) counts, which keeps it near 0.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: the last layer of a model with many classes, tokens say, whose logits would fill the
    memory.

    Shapes: h (..., D); w (V, D) or (D, V); y (...) or (..., V); bias (V,) or (). An item is a row
    of h, (...).

    Domain: as for `cross_entropy`, of the logits.

    Formula: `cross_entropy` of x = h @ w.T + bias.

    Gradient: with g the gradient of `cross_entropy` by x, g @ w by h (`argnums` 0), g.T @ h by w
    (1), the sum of g over the items by bias (3), that of `cross_entropy` by probabilities y (2).
    No curvature.

    Accuracy: that of `cross_entropy` of the logits, which are rounded as a product of matrices is.
    Logits of half precision are float32. The gradients by w and bias are sums of float32 at least,
    rounded once. The target's entry of g is minus the sum of the others.

    Edge cases: as for `cross_entropy`. An item that is left out contributes nothing, NaN in its
    features included. Where the logits of one item do not fit into max_memory, some classes are
    computed at a time, twice: the gradient is made when the largest logit is known. Beside a mask
    all classes of an item are computed at once.

    Source: Wijmans et al., Cut your losses in large-vocabulary language models, ICLR 2025, for the
    memory; all is exact here.

    Elsewhere: torch `linear_cross_entropy`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> h, w = np.array([[1.0, 2.0], [0.0, 1.0]]), np.array([[2.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> tinyloss.linear_cross_entropy(h, w, np.array([0, 2])).round(6).item()
    1.20672
    >>> tinyloss.cross_entropy(h @ w.T, np.array([0, 2])).round(6).item()
    1.20672
    """
    request = cross_entropy.describe(
        Product(h, w, bias, None, class_axis, max_memory),
        y,
        label_smoothing=label_smoothing,
        mask=mask,
        softcap=softcap,
        temperature=temperature,
        z_loss=z_loss,
        **options,
    )
    return request._replace(title="linear_cross_entropy")


class LogProbability(LabelCrossEntropy):
    name = "linear_logprobs"
    in_parts = None

    def value(self) -> Any:
        return -super().value()

    def grad_x(self) -> Any:
        return -super().grad_x()

    @classmethod
    def traits(cls) -> Traits:
        return weighed(super().traits(), [-1.0])

    def curvature(self) -> Any:
        return -super().curvature()


class _ShapedLogProbability(Shaped, LogProbability):
    pass


@ProductFunction
def linear_logprobs(
    h: Array,
    w: Array,
    y: ArrayLike,
    *,
    axis_name: AxisName | None = None,
    bias: ArrayLike | None = None,
    class_axis: ClassAxis = 0,
    mask: ArrayLike | None = None,
    max_memory: MemoryLimit = None,
    softcap: PositiveOrNone = None,
    temperature: Positive = 1.0,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
) -> Request:
    """Log-probability of a class for each item, by the logits h @ w.T + bias, chunk by chunk.

    What preference and reinforcement learning are made of. Its gradient is that of the weighted
    sum: with the advantages as `weight`, that of the policy.

    Parameters
    ----------
    h
        Features of the items.
    w
        The weights of the last layer, (V, D), or (D, V) with class_axis=1.
    y
        Class indices, with one dimension fewer than h, of any integer dtype.
    axis_name
        The mapped axis whose members hold a part of the classes each, in order (JAX alone).
    bias
        What is added to the logits, of shape (V,), or one number.
    class_axis
        The axis of w that the classes are along.
    mask
        Which classes are possible: booleans that broadcast to the logits. Others count as -inf.
    max_memory
        How many bytes to take at a time: see `of_products`.
    softcap, temperature
        As for `linear_cross_entropy`.
    weight, where
        What each log-probability is multiplied by, and which items count: others have 0.

    Notes
    -----
    Use for: preference and reinforcement learning of models of many tokens.

    Shapes: h (..., D); w (V, D) or (D, V); y (...); the result (...).

    Domain: as for `cross_entropy`, of the logits.

    Formula: weight * (x_y - log sum_k exp(x_k)), x the logits.

    Gradient: of the sum over all items, as for `linear_cross_entropy`.

    Accuracy: as for `linear_cross_entropy`.

    Edge cases: as for `linear_cross_entropy`.

    Source: as for `linear_cross_entropy`.

    Elsewhere: TRL `selective_log_softmax`, of logits.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> h, w = np.array([[1.0, 2.0], [0.0, 1.0]]), np.array([[2.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> tinyloss.linear_logprobs(h, w, np.array([0, 2])).round(3).tolist()
    [-1.551, -0.862]
    >>> advantages = np.array([1.0, -0.5])
    >>> by_h = tinyloss.grad(tinyloss.linear_logprobs)(h, w, np.array([0, 2]), weight=advantages)
    >>> by_h.round(3).tolist()
    [[1.0, -0.788], [-0.133, -0.078]]
    """
    shape = shape_of(softcap=softcap, temperature=temperature)
    return Request(
        None,
        Product(h, w, bias, None, class_axis, max_memory),
        y,
        shape,
        labels=_ShapedLogProbability if shape else LogProbability,
        axis_name=axis_name,
        mask=mask,
        weight=weight,
        where=where,
        reduction="none",
        title="linear_logprobs",
    )


class _Entropy(Formula):
    """The entropy of softmax, whatever y: sums of terms of one sign."""

    name = "linear_entropy"
    rowwise = True
    roles = {"y": LABEL}

    def __init__(self, x: Any, y: Any) -> None:
        del y
        self.xp, s = namespace(x), softmax_parts(x)
        self.p, self.below, self.log_z = s.e / s.z, s.below, s.log_z
        self.mean = self.xp.sum(product(self.p, self.below), axis=-1, keepdims=True)

    def value(self) -> Any:
        return (self.log_z + self.mean)[..., 0]

    def grad_x(self) -> Any:
        return product(self.p, self.below - self.mean)

    @classmethod
    def traits(cls) -> Traits:
        # All else grows with the logarithm of the number of classes.
        return Traits(convex=False, strong_convexity=0.0, kinks=())


class _ShapedEntropy(Shaped, _Entropy):
    pass


@ProductFunction
def linear_entropy(
    h: Array,
    w: Array,
    *,
    axis_name: AxisName | None = None,
    bias: ArrayLike | None = None,
    class_axis: ClassAxis = 0,
    mask: ArrayLike | None = None,
    max_memory: MemoryLimit = None,
    softcap: PositiveOrNone = None,
    temperature: Positive = 1.0,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
) -> Request:
    """Entropy of the classes' probabilities for each item, by logits h @ w.T + bias.

    Parameters
    ----------
    h
        Features of the items.
    w
        The weights of the last layer, (V, D), or (D, V) with class_axis=1.
    axis_name
        The mapped axis whose members hold a part of the classes each, in order (JAX alone).
    bias, class_axis, mask, max_memory, softcap, temperature, weight, where
        As for `linear_logprobs`.

    Notes
    -----
    Use for: a bonus for exploring, or a measure of how sure a model is.

    Shapes: h (..., D); w (V, D) or (D, V); the result (...).

    Domain: as for `cross_entropy`, of the logits.

    Formula: weight * sum_k p_k (-log p_k), p the softmax of the logits.

    Gradient: of the sum over all items: with g_k = -p_k (log p_k + entropy) by the logits,
    g @ w by h, g.T @ h by w. `argnums` 3 is bias.

    Accuracy: value 4 eps of the logits' entropy; g 4 eps of p_k (|log p_k| + entropy).

    Edge cases: 0 where one class is certain; at most the logarithm of the number of classes.

    Source: Shannon, A mathematical theory of communication, 1948.

    Elsewhere: TRL `entropy_from_logits`, of logits.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> h, w = np.array([[0.0, 0.0], [9.0, 0.0]]), np.array([[9.0, 0.0], [0.0, 1.0]])
    >>> tinyloss.linear_entropy(h, w).round(6).tolist()
    [0.693147, 0.0]
    """
    shape = shape_of(softcap=softcap, temperature=temperature)
    return Request(
        None,
        Product(h, w, bias, None, class_axis, max_memory),
        _zeros(h),
        shape,
        labels=_ShapedEntropy if shape else _Entropy,
        axis_name=axis_name,
        mask=mask,
        weight=weight,
        where=where,
        reduction="none",
        title="linear_entropy",
    )


def _zeros(h: Any) -> Any:
    """Return class indices for a loss that has no use for them, beside any features."""
    shape = getattr(h, "shape", None)
    if not shape:
        return None  # what is wrong with h is said where it is settled
    xp = namespace(h)
    return xp.zeros(shape[:-1], dtype=xp.int32, **beside(h))
