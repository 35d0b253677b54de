"""Losses of probabilities of which some are exactly 0."""

from math import inf, sqrt
from typing import Any, ClassVar, NamedTuple, Unpack

from tinyloss._arrays import namespace
from tinyloss._calls import explained
from tinyloss._engine.request import Request
from tinyloss._engine.run import transform
from tinyloss._formula import LABEL, Formula
from tinyloss._in_order import joined_numbers, places, running
from tinyloss._lists import ListFunction
from tinyloss._traits import Traits
from tinyloss.losses._numerics import classes_of, product
from tinyloss.typing import Array, ArrayLike, SparseActivation, SparseOptions

__all__ = ["entmax15", "fenchel_young", "sparsemax"]


class _Shares(NamedTuple):
    """Probabilities of logits less a threshold."""

    root: Any
    """What is above the threshold."""
    p: Any
    """The probabilities: that, or its square."""
    below: Any
    """What is missing to the threshold."""


def _shares(x: Any, squares: bool) -> _Shares:
    """Return max(x - tau, 0), or the square of max(x / 2 - tau, 0), that adds up to 1 in a row."""
    xp = namespace(x)
    z = x - xp.max(x, axis=-1, keepdims=True)
    z = z / 2 if squares else z
    # Classes at -1 or below have p = 0 whatever the others are: they need not be told apart.
    row = xp.flip(xp.sort(xp.maximum(z, -2.0), axis=-1), axis=-1)
    count = places(x) + 1
    (total,) = running(joined_numbers, [row])
    if squares:
        mean = total / count
        (of_squares,) = running(joined_numbers, [row * row])
        left = 1 - (of_squares - total * mean)
        some = left > 0
        spread = xp.sqrt(xp.where(some, left, 1.0) / count)
        taus = mean - xp.where(some, spread, 0.0)
    else:
        taus = (total - 1) / count
    support = xp.sum(xp.where(row > taus, xp.ones_like(row), 0.0), axis=-1, keepdims=True)
    tau = xp.sum(xp.where(count == support, taus, 0.0), axis=-1, keepdims=True)
    # NaN is none of these, and is to be seen
    root = xp.where(z <= tau, 0.0, z - tau)
    return _Shares(root, root * root if squares else root, xp.where(z < tau, tau - z, 0.0))


class _Sparsemax(Formula):
    name = "sparsemax"
    rowwise = True
    per_item = False
    in_order = True
    squares: ClassVar[bool] = False

    def __init__(self, x: Any) -> None:
        self.x = x

    def value(self) -> Any:
        return _shares(self.x, self.squares).p


class _Entmax15(_Sparsemax):
    name = "entmax15"
    squares = True


@explained()
def sparsemax(x: Array, /, *, axis: int = -1) -> Any:
    """Return the probabilities nearest to logits: many of them are exactly 0.

    Notes
    -----
    Shapes: x (..., C), or the classes along `axis`; the result alike.

    Domain: finite logits, and -inf for an impossible class.

    Formula: max(x - t, 0), t such that they add up to 1

    Gradient: by JAX and torch.

    Accuracy: value 8 eps of 1.

    Source: Martins and Astudillo, From softmax to sparsemax, ICML 2016.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> tinyloss.sparsemax(np.array([1.0, 0.5, -1.0])).tolist()
    [0.75, 0.25, 0.0]
    """
    return transform(_Sparsemax, x, axis)


@explained()
def entmax15(x: Array, /, *, axis: int = -1) -> Any:
    """Return probabilities between those of softmax and of sparsemax: some are exactly 0.

    Notes
    -----
    Shapes: x (..., C), or the classes along `axis`; the result alike.

    Domain: finite logits, and -inf for an impossible class.

    Formula: max(x / 2 - t, 0)^2, t such that they add up to 1

    Gradient: by JAX and torch.

    Accuracy: value 8 eps of 1.

    Source: Peters, Niculae and Martins, Sparse sequence-to-sequence models, ACL 2019.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> tinyloss.entmax15(np.array([3.0, 1.0])).tolist()
    [1.0, 0.0]
    """
    return transform(_Entmax15, x, axis)


class _FenchelYoung(Formula):
    """Omega*(x) + Omega(y) - <x, y>, for p = max(x - tau, 0) or its square, x halved before.

    With the probabilities p put in for Omega*, it is a sum over the classes of what is never below
    0: how far p is from y, and y times how far x is below tau.
    """

    name = "fenchel_young"
    rowwise = True
    in_order = True

    def __init__(self, x: Any, y: Any, *, activation: str) -> None:
        self.xp, self.y, self.squares = namespace(x), y, activation == "entmax15"
        self.root, self.p, self.below = _shares(x, self.squares)

    def value(self) -> Any:
        xp, y = self.xp, self.y
        if self.squares:
            t = xp.where(y > 0, xp.sqrt(xp.where(y > 0, y, 1.0)), 0.0)
            apart = self.root - t
            far = (apart * apart) * (self.root + 2 * t) * (2 / 3)
            return xp.sum(far + 2 * product(y, self.below), axis=-1)
        apart = self.root - y
        return xp.sum(0.5 * (apart * apart) + product(y, self.below), axis=-1)

    def grad_x(self) -> Any:
        return self.p - self.y

    @classmethod
    def traits(cls, *, activation: str) -> Traits:
        # The curvature is diag(s) - s s^T / sum(s), s 1 for a class of some probability
        # ("entmax15": the root of it). No eigenvalue is above the largest s. It is 1 for two such
        # classes. Of entmax it comes near to 1 where one class has nearly all, and very many the
        # rest.
        root = activation == "entmax15"
        return Traits(
            convex=True,
            strong_convexity=0.0,
            lipschitz=sqrt(2),
            smoothness=1.0,
            range=(0.0, inf),
            kinks=(),
            elicits="2 sqrt(class probabilities)" if root else "class probabilities",
            proper=True,
            calibrated=True,
        )


class _LabelFenchelYoung(_FenchelYoung):
    roles = {"y": LABEL}

    def __init__(self, x: Any, y: Any, *, activation: str) -> None:
        one = namespace(x).where(classes_of(x, y), namespace(x).ones_like(x), 0.0)
        super().__init__(x, one, activation=activation)


@ListFunction
def fenchel_young(
    x: Array,
    y: ArrayLike,
    *,
    activation: SparseActivation = "sparsemax",
    **options: Unpack[SparseOptions],
) -> Request:
    """Fenchel-Young loss of sparsemax or entmax: as cross-entropy of softmax, with exact zeros.

    Parameters
    ----------
    x
        Logits.
    y
        Class indices, with one dimension fewer than x, of any integer dtype; or probabilities,
        one-hot or soft, of x's shape and any real dtype.
    activation
        What makes probabilities of logits: "sparsemax" or "entmax15".
    axis
        The axis of the classes.
    class_weight
        A weight for each class, of shape (C,).
    ignore_index
        Items with this class index are left out. It need not be a class.
    mask
        Which classes are possible: booleans that broadcast to x. Others count as logits of -inf.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: one class out of many, or a distribution, where classes should have no probability at
    all.

    Shapes: x (..., C), y (...) or (..., C), the classes along `axis`. An item is a row.

    Domain: finite logits, and -inf for a class that is impossible. Probabilities of a row add up to
    1.

    Formula: max_p <x, p> - w(p) + w(y) - <x, y>, p any probabilities; "sparsemax": w(p) =
    sum p^2 / 2, so that p = max(x - t, 0); "entmax15": w(p) = 4/3 sum (p^1.5 - p), so that
    p = max(x / 2 - t, 0)^2; t such that they add up to 1

    Gradient: p - y by x. A second one by JAX and torch.

    Accuracy: value 8 eps; gradient 8 eps. The value's are of itself and of its root, the gradient's
    of 1.

    Edge cases: 0, and no gradient, where the target's logit leads by 1 ("entmax15": by 2).

    Source: Martins and Astudillo, From softmax to sparsemax, ICML 2016; Peters, Niculae and
    Martins, Sparse sequence-to-sequence models, ACL 2019; Blondel, Martins and Niculae, Learning
    with Fenchel-Young losses, JMLR 21, 2020.

    Elsewhere: optax `multiclass_sparsemax_loss`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x = np.array([1.0, 0.5, -1.0])
    >>> tinyloss.fenchel_young(x, np.array(0)).item()
    0.0625
    >>> tinyloss.grad(tinyloss.fenchel_young)(x, np.array(0)).tolist()
    [-0.25, 0.25, 0.0]
    """
    params = {"activation": activation}
    return Request(_FenchelYoung, x, y, params, labels=_LabelFenchelYoung, **options)
