"""Losses of pairs and triples: what two or three items, or vectors, are to each other."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from math import inf, sqrt
from typing import Any, ClassVar, Unpack

from tinyloss._arrays import namespace
from tinyloss._engine.request import Request
from tinyloss._formula import ITEM, Formula, Role
from tinyloss._function import LossFunction
from tinyloss._traits import Traits
from tinyloss.losses._numerics import (
    exact_product,
    magnitude,
    positive_part,
    product,
    sign,
    steep,
)
from tinyloss.typing import (
    Array,
    ArrayLike,
    Cosine,
    Flag,
    NonNegative,
    NormOrder,
    Options,
    RowOptions,
)

__all__ = [
    "contrastive",
    "cosine_embedding",
    "cosine_similarity",
    "margin_ranking",
    "pairwise_distance",
    "triplet_margin",
]


# Traits are as functions of all vectors, or scores, of an item together.


class _MarginRanking(Formula):
    name = "margin_ranking"
    signed = True

    def __init__(self, x: Any, y: Any, b: Any, *, margin: Any) -> None:
        self.xp = namespace(x)
        self.y, self.lead = y, x - b
        self.short = margin - y * self.lead

    def value(self) -> Any:
        return positive_part(self.short)

    def grad_x(self) -> Any:
        return self._where_short(-self.y)

    def grad_b(self) -> Any:
        return self._where_short(self.y)

    def grad_y(self) -> Any:
        return self._where_short(-self.lead)

    def curvature(self) -> Any:
        return self.xp.zeros_like(self.short)

    boosting_curvature = steep

    @classmethod
    def traits(cls, *, margin: float, **_: Any) -> Traits:
        return Traits(
            convex=True,
            strong_convexity=0.0,
            lipschitz=sqrt(2),  # of -y and y
            smoothness=inf,
            range=(0.0, inf),
            symmetric=False,
            variable="y (a - b)",
            kinks=(margin,),
        )

    def _where_short(self, slope: Any) -> Any:
        # Neither above nor up to 0 is NaN, which must show.
        short = self.short
        return self.xp.where(short > 0, slope, self.xp.where(short <= 0, 0.0, short))


class _OfVectors(Formula):
    """A loss of rows that are vectors, by each of which it has a gradient."""

    rowwise = True

    def curvature(self) -> Any:
        raise TypeError(f"tinyloss.{self.name}: a loss of vectors has no curvature")


def _far(xp: Any, like: Any) -> tuple[float, float]:
    """Return two powers of two, for sizes whose squares may leave the range of the dtype.

    Beyond the first and its inverse, times or divided by the second, a number's square and sums of
    it are normal: with largest exponent E they are 2^(5 E / 16) and 2^(45 E / 64).
    """
    exponent = 1024 if float(xp.finfo(like.dtype).max) > 2.0**128 else 128
    return 2.0 ** (5 * exponent // 16), 2.0 ** (45 * exponent // 64)


def _unit(xp: Any, m: Any) -> tuple[Any, Any]:
    """Return the power of two by which squares of numbers up to m are normal, and its inverse."""
    near, far = _far(xp, m)
    large, small, one = m > near, m < 1 / near, xp.ones_like(m)
    return (
        xp.where(large, 1 / far, xp.where(small, far, one)),
        xp.where(large, far, xp.where(small, 1 / far, one)),
    )


class _Distance:
    """The p-norm of a - b, in rows, and its gradient by a; by b it is the opposite.

    `p` is 1, 2, or 0 for infinity where it is an int, which chooses the lines.
    """

    def __init__(self, a: Any, b: Any, p: Any) -> None:
        self.xp = xp = namespace(a)
        self.p, self.lines = p, p if isinstance(p, int) else None
        self.d = d = a - b
        m = xp.max(magnitude(d), axis=-1, keepdims=True)
        down, self.up = _unit(xp, m)
        # a - b may overflow where its size times 2^-k does not
        self.scaled = xp.where(xp.isinf(d), a * down - b * down, d * down)
        size = magnitude(self.scaled)
        if self.lines == 0:
            self.norm = xp.max(size, axis=-1, keepdims=True)
            self.at = size == self.norm
        elif self.lines == 1:
            self.norm = xp.sum(size, axis=-1, keepdims=True)
        elif self.lines == 2:
            self.norm = xp.sqrt(xp.sum(size * size, axis=-1, keepdims=True))
        else:
            largest = xp.max(size, axis=-1, keepdims=True)
            over = xp.isinf(m)
            # unscaled where that is in range: scaled, a far smaller element may be subnormal
            share = xp.where(over, size, magnitude(d)) / xp.where(
                m == 0, 1.0, xp.where(over, largest, m)
            )
            root = xp.sum(share**p, axis=-1, keepdims=True)
            # of a row of zeros the sum is 0
            root = xp.where(root == 0, 1.0, root) ** (1 / p)
            self.norm, self.share = largest * root, share / root

    @cached_property
    def value(self) -> Any:
        """The distance, with a dimension of length 1."""
        return self.norm * self.up

    @cached_property
    def short(self) -> Any:
        """The distance times the inverse of `_far`, which does not overflow."""
        _, far = _far(self.xp, self.norm)
        return self.norm * self.xp.where(self.up > 1, 1.0, self.up / far)

    @cached_property
    def slope(self) -> Any:
        """The gradient by a, 0 where a is b."""
        xp, d = self.xp, self.d
        if self.lines == 0:
            ties = xp.sum(xp.where(self.at, xp.ones_like(d), 0.0), axis=-1, keepdims=True)
            # neither at its largest nor below is NaN, which must show
            return xp.where(self.at, sign(d) / ties, xp.where(self.norm >= 0, 0.0, self.norm))
        if self.lines == 1:
            return sign(d)
        if self.lines == 2:
            plain = (self.value > 1) & (self.value < inf)
            length = xp.where(plain, self.value, self.norm)
            return xp.where(plain, d, self.scaled) / xp.where(length == 0, 1.0, length)
        there = self.share != 0
        return sign(d) * xp.where(there, xp.where(there, self.share, 1.0) ** (self.p - 1), 0.0)


def _steepest(p: Any) -> float:
    """Return the length of the gradient g of a norm by a vector, at most.

    The q-norm of g is 1, 1 / p + 1 / q = 1. Where q is at most 2 its length is no more, and is that
    where one element alone is not 0. Where q is above 2 it is C^(1 / 2 - 1 / q) where C sizes are
    one: it grows with C. A p below 1 is no norm: its slopes have no bound.
    """
    return 1.0 if p >= 2 or p == 0 else inf


_OF_DISTANCE = Traits(
    convex=False, strong_convexity=0.0, smoothness=inf, range=(0.0, inf), symmetric=True
)
"""Those of a loss of a distance, whose gradient jumps where that is 0."""


def _jumps(p: Any, *distances: float) -> dict[str, Any]:
    """Return the kinks of a loss of a distance.

    Where p is 1 there are more, where an element of a - b is 0; where it is inf, where two are as
    large. Where it is below 1 slopes are infinite there.
    """
    if p <= 1:  # 0 stands for inf
        return {}
    return {"variable": "d(a, b)", "kinks": tuple(sorted({0.0, *distances}))}


def _order(p: Any) -> Any:
    """Return the order of a norm as formulas take it: an int where it chooses the lines."""
    if not isinstance(p, float):
        return p
    return {1.0: 1, 2.0: 2, inf: 0}.get(p, p)


class _PairwiseDistance(_OfVectors):
    name = "pairwise_distance"

    def __init__(self, x: Any, y: Any, *, p: Any) -> None:
        self.distance = _Distance(x, y, p)

    def value(self) -> Any:
        return self.distance.value[..., 0]

    def grad_x(self) -> Any:
        return self.distance.slope

    def grad_y(self) -> Any:
        return -self.distance.slope

    @classmethod
    def traits(cls, *, p: Any) -> Traits:
        # by b the gradient is the opposite of that by a
        steepest = sqrt(2) * _steepest(p)
        known = replace(_OF_DISTANCE, lipschitz=steepest, **_jumps(p))
        # a p below 1 is no norm, and bends the other way
        return replace(known, convex=p >= 1 or p == 0)


class _Contrastive(_OfVectors):
    name = "contrastive"
    signed = True
    roles: ClassVar[Mapping[str, Role]] = {"y": ITEM, "b": Role(per_class=True)}

    def __init__(self, x: Any, y: Any, b: Any, *, margin: Any, p: Any, squared: bool) -> None:
        self.xp = namespace(x)
        self.distance, self.squared = _Distance(x, b, p), squared
        y = y[..., None]
        self.alike, self.apart = 0.5 * (1 + y), 0.5 * (1 - y)
        self.short = positive_part(margin - self.distance.value)

    def _costs(self) -> tuple[Any, Any]:
        """Return what a pair costs that is alike, and one that is not."""
        far, near = self.distance.value, self.short
        return (far * far, near * near) if self.squared else (far, near)

    def value(self) -> Any:
        far, near = self._costs()
        # an infinite distance is none of the loss of what is not alike
        return (product(self.alike, far) + self.apart * near)[..., 0]

    def _by_a(self) -> Any:
        slope = self.distance.slope
        if not self.squared:
            return slope * (self.alike - self.xp.where(self.short > 0, self.apart, 0.0))
        pull = product(self.alike, self.distance.value) - self.apart * self.short
        return 2 * product(slope, pull)

    def grad_x(self) -> Any:
        return self._by_a()

    def grad_b(self) -> Any:
        return -self._by_a()

    def grad_y(self) -> Any:
        far, near = self._costs()
        return (0.5 * far - 0.5 * near)[..., 0]

    @classmethod
    def traits(cls, *, margin: float, p: Any, squared: bool, **_: Any) -> Traits:
        if margin == 0:  # nothing is to be apart
            known = _PairwiseDistance.traits(p=p)
            if not squared:
                return known
            # of a square of a norm the gradient is 0 where the norm is; 2 is half of its curvature
            kinks = None if known.kinks is None else ()
            bend = 4.0 if p == 2 else None
            return replace(known, lipschitz=inf, smoothness=bend, kinks=kinks)
        # What is to be apart costs most where it is one. A squared distance rises without end.
        if squared:
            return replace(_OF_DISTANCE, lipschitz=inf, **_jumps(p))
        return replace(_OF_DISTANCE, lipschitz=sqrt(2) * _steepest(p), **_jumps(p, margin))


class _TripletMargin(_OfVectors):
    name = "triplet_margin"
    roles: ClassVar[Mapping[str, Role]] = {"negative": Role(per_class=True)}

    def __init__(self, x: Any, y: Any, negative: Any, *, margin: Any, p: Any, swap: bool) -> None:
        self.xp = xp = namespace(x)
        self.near, self.far = _Distance(x, y, p), _Distance(x, negative, p)
        far, short = self.far.value, self.far.short
        self.swapped: Any = None
        if swap:
            self.other = _Distance(y, negative, p)
            self.swapped = self.other.short < short
            far = xp.where(self.swapped, self.other.value, far)
            short = xp.where(self.swapped, self.other.short, short)
        # infinity minus infinity is NaN: where a distance overflows their difference is scaled
        over = xp.isinf(self.near.value) | xp.isinf(far)
        _, unit = _far(xp, x)
        lead = xp.where(over, 0.0, self.near.value) - xp.where(over, 0.0, far)
        scaled = ((self.near.short - short) + margin / unit) * unit
        self.gap = xp.where(over, scaled, lead + margin)

    def value(self) -> Any:
        return positive_part(self.gap)[..., 0]

    def grad_x(self) -> Any:
        far = self.far.slope
        if self.swapped is not None:
            far = self.xp.where(self.swapped, 0.0, far)
        return self._where_wrong(self.near.slope - far)

    def grad_y(self) -> Any:
        slope = -self.near.slope
        if self.swapped is not None:
            slope = slope - self.xp.where(self.swapped, self.other.slope, 0.0)
        return self._where_wrong(slope)

    def grad_negative(self) -> Any:
        slope = self.far.slope
        if self.swapped is not None:
            slope = self.xp.where(self.swapped, self.other.slope, slope)
        return self._where_wrong(slope)

    def _where_wrong(self, slope: Any) -> Any:
        # Neither above nor up to 0 is NaN, which must show.
        xp, gap = self.xp, self.gap
        return xp.where(gap > 0, slope, xp.where(gap <= 0, 0.0, gap))

    @classmethod
    def traits(cls, *, p: Any, **_: Any) -> Traits:
        # With u and v the slopes of both distances it is (u - v, -u, v), whose length is the root
        # of 6 where u is -v: the anchor lies between. With `swap` it is (u, -u - w, w), where the
        # positive lies between. Kinks are where a distance is 0 and where their difference is the
        # margin: these are values of no one variable.
        return replace(_OF_DISTANCE, lipschitz=sqrt(6) * _steepest(p), symmetric=None)


class _Angle:
    """The cosine of the angle between rows, what is missing to 1, and its gradients.

    Rows are scaled by powers of two alone: rounding each element would turn a vector by an eps,
    which may be all of the angle.
    """

    def __init__(self, a: Any, b: Any) -> None:
        self.xp = xp = namespace(a)
        self.unit_a, self.unit_b = [
            _unit(xp, xp.max(magnitude(each), axis=-1, keepdims=True))[0] for each in (a, b)
        ]
        self.a, self.b = a * self.unit_a, b * self.unit_b
        self.aa, self.bb, self.ab = [
            self._sum(one * other)
            for one, other in ((self.a, self.a), (self.b, self.b), (self.a, self.b))
        ]
        self.zero = (self.aa == 0) | (self.bb == 0)
        self.aa, self.bb = [xp.where(each == 0, 1.0, each) for each in (self.aa, self.bb)]
        self.length_a, self.length_b = xp.sqrt(self.aa), xp.sqrt(self.bb)
        self.cosine = self.ab / self.length_a / self.length_b

    def _sum(self, terms: Any) -> Any:
        return self.xp.sum(terms, axis=-1, keepdims=True)

    def _rejected(self, v: Any, w: Any, ww: Any) -> Any:
        """Return what of v is orthogonal to w, with the digits of a small angle.

        v is near a multiple of w then, and their difference exact but for the product's error.
        The multiple is rounded: what that leaves along w is taken off in turn.
        """
        p, e = exact_product(self.ab / ww, w)
        r = (v - p) - e
        return r - self._sum(r * w) / ww * w

    @cached_property
    def a_beside_b(self) -> Any:
        """What of a is orthogonal to b."""
        return self._rejected(self.a, self.b, self.bb)

    @cached_property
    def b_beside_a(self) -> Any:
        """What of b is orthogonal to a."""
        return self._rejected(self.b, self.a, self.aa)

    @cached_property
    def missing(self) -> Any:
        """1 - cos = sin^2 / (1 + cos), which does not cancel where cos > 0."""
        xp, cosine = self.xp, self.cosine
        sine = self.a_beside_b / self.length_a
        acute = cosine > 0
        return xp.where(
            acute, self._sum(sine * sine) / xp.where(acute, 1 + cosine, 1.0), 1 - cosine
        )

    @cached_property
    def by_a(self) -> Any:
        """The gradient of the cosine by a, 0 where a vector is 0."""
        slope = self.b_beside_a / self.length_a / self.length_b * self.unit_a
        return self.xp.where(self.zero, 0.0, slope)

    @cached_property
    def by_b(self) -> Any:
        """The gradient of the cosine by b."""
        slope = self.a_beside_b / self.length_a / self.length_b * self.unit_b
        return self.xp.where(self.zero, 0.0, slope)


_OF_ANGLE = Traits(
    convex=False,
    strong_convexity=0.0,
    lipschitz=inf,  # near 0 a vector turns by any angle
    smoothness=inf,
    symmetric=True,
    variable="cos(a, b)",
)


class _CosineSimilarity(_OfVectors):
    name = "cosine_similarity"

    def __init__(self, x: Any, y: Any) -> None:
        self.angle = _Angle(x, y)

    def value(self) -> Any:
        return self.angle.cosine[..., 0]

    def grad_x(self) -> Any:
        return self.angle.by_a

    def grad_y(self) -> Any:
        return self.angle.by_b

    @classmethod
    def traits(cls) -> Traits:
        return replace(_OF_ANGLE, range=(-1.0, 1.0), kinks=())


class _CosineEmbedding(_OfVectors):
    name = "cosine_embedding"
    signed = True
    roles: ClassVar[Mapping[str, Role]] = {"y": ITEM, "b": Role(per_class=True)}

    def __init__(self, x: Any, y: Any, b: Any, *, margin: Any) -> None:
        self.xp = namespace(x)
        self.angle = angle = _Angle(x, b)
        y = y[..., None]
        self.alike, self.apart = 0.5 * (1 + y), 0.5 * (1 - y)
        self.above = angle.cosine - margin

    @property
    def _far(self) -> Any:
        return positive_part(self.above)

    def value(self) -> Any:
        return (self.alike * self.angle.missing + self.apart * self._far)[..., 0]

    @property
    def _by_cosine(self) -> Any:
        return self.xp.where(self.above > 0, self.apart, 0.0) - self.alike

    def grad_x(self) -> Any:
        return product(self._by_cosine, self.angle.by_a)

    def grad_b(self) -> Any:
        return product(self._by_cosine, self.angle.by_b)

    def grad_y(self) -> Any:
        return (0.5 * (self.angle.missing - self._far))[..., 0]

    @classmethod
    def traits(cls, *, margin: float, **_: Any) -> Traits:
        # cos goes no further than -1 and 1, where its own slope is 0
        kinks = (margin,) if -1 < margin < 1 else ()
        return replace(_OF_ANGLE, range=(0.0, 2.0), kinks=kinks)


@LossFunction
def margin_ranking(
    a: Array, b: ArrayLike, y: ArrayLike, *, margin: NonNegative = 0.0, **options: Unpack[Options]
) -> Request:
    """Margin ranking loss: of the scores of two items, the right one is to lead by a margin.

    Parameters
    ----------
    a, b
        Scores of two items.
    y
        1 or -1, whether a's item ranks higher or b's; of booleans False stands for -1.
    margin
        The lead from which on there is no loss, at least 0.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: scores of which only the order matters, learned from pairs.

    Shapes: a, b and y (...), an item is an element.

    Domain: all real scores; y -1 or 1. Other integers are an error, other floats count as they are.

    Formula: max(0, margin - y (a - b))

    Gradient: -y by a, y by b, b - a by y (`argnums` 0, 1, 2) where the loss is above 0, else 0; 0
    at the kink. Curvature 0, for boosting 1.

    Accuracy: value 1 eps of |a - b| + margin; gradient exact by a and b, 1 eps by y; curvature
    exact.

    Edge cases: where a is b the loss is the margin.

    Source: Herbrich, Graepel and Obermayer, Large margin rank boundaries for ordinal regression,
    2000.

    Elsewhere: torch `margin_ranking_loss`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> a, b, y = np.array([2.0, 0.5]), np.array([1.0, 1.0]), np.array([1, 1])
    >>> tinyloss.margin_ranking(a, b, y, margin=0.25, reduction="none").tolist()
    [0.0, 0.75]
    """
    called = {"x": "a", "b": "b", "y": "y"}
    params = {"margin": margin}
    return Request(_MarginRanking, a, y, params, arrays={"b": b}, called=called, **options)


@LossFunction
def pairwise_distance(
    a: Array, b: ArrayLike, *, p: NormOrder = 2.0, **options: Unpack[RowOptions]
) -> Request:
    """Distance of two vectors: the p-norm of their difference.

    Parameters
    ----------
    a, b
        Vectors.
    p
        The order of the norm, above 0: 2 is the length, 1 the sum of the sizes, inf the largest
        size.
    axis
        The axis of the features: what is along it is one vector.
    axis_name
        JAX alone: the mapped axis whose members hold a part of the features each, in order.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: two vectors that are to be alike, or the distances that other losses take.

    Shapes: a and b (..., C) with the features along `axis`. An item is a pair of vectors;
    `reduction="none"` gives the distance of each.

    Domain: all real vectors.

    Formula: (sum_c |a_c - b_c|^p)^(1 / p)

    Gradient: by a sign(a_c - b_c) (|a_c - b_c| / d)^(p - 1), d the distance, by b its opposite
    (`argnums` 0, 1); for inf shared by the largest. 0 where a_c is b_c, and so where a is b.

    Accuracy: value 4 eps; gradient 4 eps; for p other than 1, 2 and inf 4 + 2 p eps. For p below 2
    an element that is less of the distance than the smallest normal number counts as 0 or that.

    Edge cases: points that are equal have the distance 0 and no gradient. Nothing overflows or
    underflows on the way: elements may be of any size.

    Source: Minkowski, Geometrie der Zahlen, 1896.

    Elsewhere: torch `pairwise_distance`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> a, b = np.array([[3.0, 4.0], [1.0, 1.0]]), np.array([[0.0, 0.0], [1.0, 1.0]])
    >>> tinyloss.pairwise_distance(a, b, reduction="none").tolist()
    [5.0, 0.0]
    """
    called = {"x": "a", "y": "b"}
    return Request(_PairwiseDistance, a, b, {"p": _order(p)}, called=called, **options)


@LossFunction
def contrastive(
    a: Array,
    b: ArrayLike,
    y: ArrayLike,
    *,
    margin: NonNegative = 1.0,
    p: NormOrder = 2.0,
    squared: Flag = True,
    **options: Unpack[RowOptions],
) -> Request:
    """Contrastive loss: vectors that are alike are to be near, others a margin apart.

    Parameters
    ----------
    a, b
        Vectors.
    y
        1 or -1, one for each pair, whether they are alike; of booleans False stands for -1.
    margin
        The distance from which on vectors that are not alike have no loss, at least 0.
    p
        The order of the norm, above 0: 2 is the length, 1 the sum of the sizes, inf the largest
        size.
    squared
        Whether the distance, and what is missing to the margin, are squared.
    axis
        The axis of the features: what is along it is one vector.
    axis_name
        JAX alone: the mapped axis whose members hold a part of the features each, in order.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: vectors of things of which it is known which two are alike.

    Shapes: a and b (..., C) with the features along `axis`, y (...). An item is a pair of vectors.

    Domain: all real vectors; y -1 or 1. Other integers are an error, a float between weighs both.

    Formula: d^2 for y = 1, max(0, margin - d)^2 for y = -1, d the p-norm of a - b; without
    `squared` d and max(0, margin - d); in general (1 + y) / 2 and (1 - y) / 2 of these.

    Gradient: by a and b that of `pairwise_distance`, times 2 d for y = 1 and -2 max(0, margin - d)
    for y = -1; without `squared` times 1, and -1 where d is below the margin, else 0; by y half of
    the first formula less the second (`argnums` 0, 1, 2).

    Accuracy: value 10 eps and gradient 10 eps, for y = -1 with (d + margin)^2 and 2 (d + margin)
    for the value and for what is missing; without `squared` 5 eps of d + margin and of 1; for p
    other than 1, 2 and inf 4 p eps more, with what `pairwise_distance` says of p below 2. A slope
    of the distance below the smallest normal number counts as 0 or that.

    Edge cases: points that are equal have no gradient, though they may be to be apart.

    Source: Hadsell, Chopra and LeCun, Dimensionality reduction by learning an invariant mapping,
    CVPR 2006, whose Y is 0 for what is alike and whose loss is half of this.

    Elsewhere: torch `hinge_embedding_loss` of distances that are not squared;
    pytorch-metric-learning `ContrastiveLoss` of these, whose mean leaves out pairs of loss 0.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> a, b = np.array([[0.0, 0.5], [0.0, 0.5]]), np.zeros((2, 2))
    >>> tinyloss.contrastive(a, b, np.array([1, -1]), margin=1.5, reduction="none").tolist()
    [0.25, 1.0]
    """
    called = {"x": "a", "b": "b", "y": "y"}
    params = {"margin": margin, "p": _order(p), "squared": squared}
    return Request(_Contrastive, a, y, params, arrays={"b": b}, called=called, **options)


@LossFunction
def triplet_margin(
    anchor: Array,
    positive: ArrayLike,
    negative: ArrayLike,
    *,
    margin: NonNegative = 1.0,
    p: NormOrder = 2.0,
    swap: Flag = False,
    **options: Unpack[RowOptions],
) -> Request:
    """Triplet margin loss: the anchor is to be nearer to the positive than to the negative.

    Parameters
    ----------
    anchor, positive, negative
        Vectors, of which the first two are alike.
    margin
        How much nearer, at least 0.
    p
        The order of the norm, above 0: 2 is the length, 1 the sum of the sizes, inf the largest
        size.
    swap
        Whether the negative's distance is that to the nearer of anchor and positive.
    axis
        The axis of the features: what is along it is one vector.
    axis_name
        JAX alone: the mapped axis whose members hold a part of the features each, in order.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: vectors of things of which it is known which of two is more like a third.

    Shapes: anchor, positive and negative (..., C) with the features along `axis`. An item is a
    triple of vectors.

    Domain: all real vectors.

    Formula: max(0, d(anchor, positive) - d(anchor, negative) + margin), d the p-norm of the
    difference; with `swap` min(d(anchor, negative), d(positive, negative)) is taken off.

    Gradient: where the loss is above 0, the sum of those of its distances, as of
    `pairwise_distance`, by anchor, positive and negative (`argnums` 0, 1, 2); 0 at the kink. With
    `swap` a tie is the anchor's.

    Accuracy: value 4 eps of the sum of its terms' sizes; gradient 4 eps of the sum of theirs; for p
    other than 1, 2 and inf 4 + 2 p eps, with what `pairwise_distance` says of p below 2.

    Edge cases: points that are equal have the distance 0 and no gradient. Where all three are equal
    the loss is the margin.

    Source: Balntas et al., Learning local feature descriptors with triplets and shallow
    convolutional neural networks, BMVC 2016.

    Elsewhere: torch `triplet_margin_loss`; optax `triplet_margin_loss`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> anchor, positive = np.array([[0.0, 0.0]]), np.array([[3.0, 4.0]])
    >>> negative = np.array([[0.0, 5.5]])
    >>> tinyloss.triplet_margin(anchor, positive, negative).item()
    0.5
    """
    called = {"x": "anchor", "y": "positive", "negative": "negative"}
    params = {"margin": margin, "p": _order(p), "swap": swap}
    more = {"negative": negative}
    return Request(_TripletMargin, anchor, positive, params, arrays=more, called=called, **options)


@LossFunction
def cosine_similarity(a: Array, b: ArrayLike, **options: Unpack[RowOptions]) -> Request:
    """Cosine of the angle between two vectors: to be high where they are to be alike.

    Parameters
    ----------
    a, b
        Vectors.
    axis
        The axis of the features: what is along it is one vector.
    axis_name
        JAX alone: the mapped axis whose members hold a part of the features each, in order.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: how alike two vectors are, whatever their lengths; `cosine_embedding` is what to
    minimize.

    Shapes: a and b (..., C) with the features along `axis`. An item is a pair of vectors;
    `reduction="none"` gives the cosine of each.

    Domain: all real vectors.

    Formula: sum_c a_c b_c / (|a| |b|)

    Gradient: by a (b / |b| - cos a / |a|) / |a|, by b likewise (`argnums` 0, 1).

    Accuracy: value 4 eps of 1; gradient 8 eps of its length, and eps^2 / |a|: of an angle below
    eps.

    Edge cases: a vector of zeros has the cosine 0 and no gradient, nor has the other then. The
    gradient keeps its digits where the vectors are nearly parallel.

    Source: Salton, Wong and Yang, A vector space model for automatic indexing, CACM 18, 1975.

    Elsewhere: torch `cosine_similarity`; optax `cosine_similarity`; Keras `cosine_similarity`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> a, b = np.array([[3.0, 4.0], [1.0, 0.0]]), np.array([[4.0, 3.0], [0.0, 0.0]])
    >>> tinyloss.cosine_similarity(a, b, reduction="none").tolist()
    [0.96, 0.0]
    """
    return Request(_CosineSimilarity, a, b, called={"x": "a", "y": "b"}, **options)


@LossFunction
def cosine_embedding(
    a: Array, b: ArrayLike, y: ArrayLike, *, margin: Cosine = 0.0, **options: Unpack[RowOptions]
) -> Request:
    """Cosine embedding loss: vectors that are alike are to be parallel, others not.

    Parameters
    ----------
    a, b
        Vectors.
    y
        1 or -1, one for each pair, whether they are alike; of booleans False stands for -1.
    margin
        The cosine up to which vectors that are not alike have no loss, from -1 to 1.
    axis
        The axis of the features: what is along it is one vector.
    axis_name
        JAX alone: the mapped axis whose members hold a part of the features each, in order.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: vectors whose direction tells what they are of, learned from pairs.

    Shapes: a and b (..., C) with the features along `axis`, y (...). An item is a pair of vectors.

    Domain: all real vectors; y -1 or 1. Other integers are an error, a float between weighs both.

    Formula: 1 - cos for y = 1, max(0, cos - margin) for y = -1, cos as of `cosine_similarity`; in
    general (1 + y) / 2 and (1 - y) / 2 of these.

    Gradient: by a and b that of `cosine_similarity`, times -1 for y = 1, and for y = -1 times 1
    where the cosine is above the margin, else 0; by y half of the first formula less the second
    (`argnums` 0, 1, 2).

    Accuracy: value 8 eps for y = 1, and eps^2; for y = -1 4 eps of 1; gradient as of
    `cosine_similarity`.

    Edge cases: a vector of zeros has the cosine 0 and no gradient. Of vectors that are nearly
    parallel 1 - cos keeps its digits: it is the squared sine over 1 + cos, the sine from what of a
    is orthogonal to b.

    Source: Hadsell, Chopra and LeCun, Dimensionality reduction by learning an invariant mapping,
    CVPR 2006, for distances.

    Elsewhere: torch `cosine_embedding_loss`; optax `cosine_distance`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> a, b = np.array([[3.0, 4.0], [3.0, 4.0]]), np.array([[4.0, 3.0], [4.0, 3.0]])
    >>> loss = tinyloss.cosine_embedding(a, b, np.array([1, -1]), reduction="none")
    >>> loss.round(12).tolist()
    [0.04, 0.96]
    """
    called = {"x": "a", "b": "b", "y": "y"}
    params = {"margin": margin}
    return Request(_CosineEmbedding, a, y, params, arrays={"b": b}, called=called, **options)
