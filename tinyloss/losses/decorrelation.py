"""Losses of two views by what features have in common: matrices of features by features."""

from typing import Any, ParamSpec, cast

from tinyloss._arrays import beside, namespace
from tinyloss._engine.job import Answer
from tinyloss._engine.products import run_columns
from tinyloss._engine.request import Product, Request, Want
from tinyloss._engine.run import run
from tinyloss._formula import LABEL, Formula
from tinyloss._products import ColumnsFunction
from tinyloss.losses._numerics import classes_of
from tinyloss.losses.regression import mse
from tinyloss.typing import Array, MemoryLimit, NonNegative, Positive

__all__ = ["barlow_twins", "vicreg"]

P = ParamSpec("P")


def _columns(name: str, a: Any, b: Any) -> Any:
    """Return the numbers of the columns of two arrays of the same shape."""
    if a is None:
        return None
    shapes: list[tuple[Any, ...]] = [tuple(getattr(each, "shape", ())) for each in (a, b)]
    if len(shapes[0]) != 2 or shapes[0] != shapes[1] or shapes[0][0] == 1:
        raise ValueError(
            f"tinyloss.{name}: a has shape {shapes[0]} and b {shapes[1]}, expected the same "
            "features of both, (N, D), of at least two items or none"
        )
    return namespace(a).arange(shapes[0][1], **beside(a))


class _BarlowTwins(Formula):
    """A row of the correlations: 1 with its own column, 0 with the others."""

    name = "barlow_twins"
    rowwise = True
    roles = {"y": LABEL}

    def __init__(self, x: Any, y: Any, *, redundancy: Any) -> None:
        self.xp = xp = namespace(x)
        own = classes_of(x, y)
        self.off = xp.where(own, x - 1, x)
        self.factor = xp.where(own, xp.ones_like(x), redundancy)

    def value(self) -> Any:
        return self.xp.sum(self.factor * (self.off * self.off), axis=-1)

    def grad_x(self) -> Any:
        return 2 * self.factor * self.off


@ColumnsFunction
def barlow_twins(
    a: Array,
    b: Array,
    *,
    max_memory: MemoryLimit = None,
    redundancy: NonNegative = 0.005,
) -> Request:
    """Barlow twins: the correlation of two views' features is to be 1 with itself, else 0.

    Parameters
    ----------
    a, b
        Features of two views of the same items.
    max_memory
        How many bytes to take at a time, of the matrix of correlations: see `of_products`.
    redundancy
        What the squares of correlations of different features are multiplied by.

    Notes
    -----
    Use for: features learned without targets and without negatives, for small batches too.

    Shapes: a and b (N, D), N not 1; the result ().

    Domain: all features. One that is constant in the batch has no correlation: it stays 0.

    Formula: sum_i (1 - c_ii)^2 + redundancy sum_i sum_{j != i} c_ij^2, c_ij the correlation of
    column i of a with column j of b. The source adds 1e-5 to variances.

    Gradient: with g = 2 (c - 1) on the diagonal and 2 redundancy c elsewhere, and u and v the
    columns less their means, divided by their lengths: of v @ g.T the part across u and across the
    mean, divided by the length (`argnums` 0), its like by b (1).

    Accuracy: correlations are rounded as a product of matrices is.

    Edge cases: identical views have the loss of their redundancy alone.

    Source: Zbontar et al., Barlow twins: self-supervised learning via redundancy reduction, ICML
    2021.

    Elsewhere: lightly `BarlowTwinsLoss`; MONAI `BarlowTwinsLoss`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> a = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 2.0]])
    >>> b = np.array([[2.0, 1.0], [0.0, 1.0], [1.0, 3.0]])
    >>> tinyloss.barlow_twins(a, b).round(6).item()
    0.038398
    """
    product = Product(a, b, max_memory=max_memory, unit=True)
    return Request(
        None,
        product,
        _columns("barlow_twins", a, b),
        {"redundancy": redundancy},
        labels=_BarlowTwins,
        reduction="sum",
        title="barlow_twins",
    )


class _Spread(Formula):
    """A row of the covariances: a large spread of its own column, 0 with the others."""

    name = "vicreg"
    rowwise = True
    roles = {"y": LABEL}

    def __init__(self, x: Any, y: Any, *, variance: Any, covariance: Any, eps: Any) -> None:
        self.xp = xp = namespace(x)
        self.own = own = classes_of(x, y)
        self.variance, self.covariance = variance, covariance
        self.others = xp.where(own, 0.0, x)
        self.spread = xp.sqrt(xp.sum(xp.where(own, x, 0.0), axis=-1, keepdims=True) + eps)
        self.short = self.spread < 1

    def value(self) -> Any:
        short = self.xp.where(self.short, 1 - self.spread, 0.0)[..., 0]
        squares = self.xp.sum(self.others * self.others, axis=-1)
        return self.variance * short + self.covariance * squares

    def grad_x(self) -> Any:
        xp = self.xp
        by_own = xp.where(self.short, -0.5 * self.variance / self.spread, 0.0)
        return xp.where(self.own, by_own, 2 * self.covariance * self.others)


class _VICReg(ColumnsFunction[P]):
    """The loss of pairs, and one of each view's covariances."""

    def of_columns(self, request: Request, want: Want) -> Answer:
        product: Product = request.x
        params = dict(request.params)
        views = [product.h, product.w]
        pairs = params.pop("invariance")
        found = run(mse.describe(*views)._replace(title=request.name), want)
        value = None if found.value is None else pairs * found.value
        grads = {n: pairs * each for n, each in zip(want.argnums, found.grads, strict=True)}
        for n, view in enumerate(views):
            own = product._replace(h=view, w=view, scale=1 / (view.shape[0] - 1))
            both = want._replace(argnums=(0, 1) if n in grads else ())
            if not want.value and n not in grads:
                continue
            found = run_columns(request._replace(x=own, params=params), both)
            if value is not None:
                value = value + found.value
            if n in grads:
                grads[n] = grads[n] + found.grads[0] + found.grads[1]
        return Answer(value, tuple([grads[n] for n in want.argnums]))


@_VICReg
def vicreg(
    a: Array,
    b: Array,
    *,
    covariance: NonNegative = 1.0,
    eps: Positive = 1e-4,
    invariance: NonNegative = 25.0,
    max_memory: MemoryLimit = None,
    variance: NonNegative = 25.0,
) -> Request:
    """VICReg: features of two views are to be alike, spread over the batch, and uncorrelated.

    Parameters
    ----------
    a, b
        Features of two views of the same items.
    covariance, invariance, variance
        What the three parts are multiplied by.
    eps
        What is added to variances before their roots.
    max_memory
        How many bytes to take at a time, of the matrix of covariances: see `of_products`.

    Notes
    -----
    Use for: what `barlow_twins` is for, where the views need not be normalised alike.

    Shapes: a and b (N, D), N not 1; the result ().

    Domain: all features.

    Formula: invariance times the mean of (a - b)^2, and of each view: variance / 2 times the mean
    over its features of max(0, 1 - sqrt(var + eps)), covariance / D times the sum of the squares of
    the covariances of different features. Variances and covariances divide by N - 1.

    Gradient: 2 invariance (a - b) / (N D) by a (`argnums` 0), the opposite by b (1); of a view with
    columns c less their means and covariances s, 2 c @ g / (N - 1), where g is
    2 covariance s / D, on the diagonal -variance / (4 D sqrt(var + eps)), 0 if the root is not
    below 1.

    Accuracy: covariances are rounded as a product of matrices is.

    Edge cases: views that are constant are pushed nowhere: the slope of their spread is 0.

    Source: Bardes et al., VICReg: variance-invariance-covariance regularization for self-supervised
    learning, ICLR 2022.

    Elsewhere: lightly `VICRegLoss`; pytorch-metric-learning `VICRegLoss`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> a = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 2.0]])
    >>> b = np.array([[2.0, 1.0], [0.0, 1.0], [1.0, 3.0]])
    >>> tinyloss.vicreg(a, b).round(6).item()
    15.14102
    """
    params = {
        "invariance": invariance,
        "variance": 0.5 * cast(Any, variance),
        "covariance": covariance,
        "eps": eps,
    }
    product = Product(a, b, max_memory=max_memory)
    index = _columns("vicreg", a, b)
    return Request(None, product, index, params, labels=_Spread, title="vicreg")
