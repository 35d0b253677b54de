"""Losses of the similarities of two sets of vectors, without holding the similarities."""

import math
from dataclasses import replace
from typing import Any, ParamSpec, Unpack, cast

from tinyloss import _check
from tinyloss._arrays import beside, namespace
from tinyloss._engine.request import Pairs, Product, Request
from tinyloss._formula import LABEL, Formula
from tinyloss._products import PairFunction, ProductFunction
from tinyloss._traits import Traits
from tinyloss.losses._numerics import classes_of, sigmoids
from tinyloss.losses.multiclass import LabelCrossEntropy, cross_entropy
from tinyloss.typing import (
    Array,
    ArrayLike,
    Flag,
    FlagOrNone,
    MemoryLimit,
    NonNegative,
    Options,
    Positive,
    ProductOptions,
    Share,
)

__all__ = ["arcface", "cosface", "info_nce", "siglip"]

P = ParamSpec("P")


def matched(
    name: str,
    a: Any,
    b: Any,
    y: Any,
    labels: tuple[Any, Any],
    mask: Any,
    similarities: bool,
    **more: Any,
) -> tuple[Product, Any]:
    """Return the similarities, and the index of each row's positive: its own where y is None."""
    found = of_pairs(name, a, b, similarities, **more)
    alone = b is None and not similarities
    if alone and y is None and a is not None:
        raise ValueError(
            f"tinyloss.{name}: b is None beside y None, expected y, the index in a of each row's "
            "positive"
        )
    if labels[0] is None and labels[1] is not None:
        raise ValueError(f"tinyloss.{name}: labels_b is given, expected labels beside it")
    of_columns = labels[0] if labels[1] is None else labels[1]
    found = found._replace(pairs=Pairs(labels[0], of_columns, alone, mask))
    if y is not None or a is None:
        return found, y
    columns = a.shape[1] if b is None else b.shape[0]
    if columns != a.shape[0]:
        shapes = f"a has shape {tuple(a.shape)}"
        shapes += "" if b is None else f" and b {tuple(b.shape)}"
        raise ValueError(
            f"tinyloss.{name}: {shapes}, expected as many rows: with y= each row of a has the "
            "index of its positive"
        )
    return found, namespace(a).arange(a.shape[0], **beside(a))


def of_pairs(name: str, a: Any, b: Any, similarities: bool, **more: Any) -> Product:
    """Return the similarities of the rows of a and b, of a and itself, or a as these."""
    if similarities:
        if b is not None:
            raise ValueError(
                f"tinyloss.{name}: similarities is True beside b, expected them as a, and no b"
            )
        more["unit"] = False
    shapes: list[tuple[Any, ...]] = [tuple(getattr(each, "shape", ())) for each in (a, b)]
    if a is not None and len(shapes[0]) != 2:
        raise ValueError(f"tinyloss.{name}: a has shape {shapes[0]}, expected two dimensions")
    if b is not None and (len(shapes[1]) != 2 or shapes[0][1] != shapes[1][1]):
        raise ValueError(
            f"tinyloss.{name}: a has shape {shapes[0]} and b {shapes[1]}, expected rows of the "
            "same features, (N, D) and (M, D)"
        )
    return Product(a, None if similarities else a if b is None else b, **more)


class _BothWays(PairFunction[P]):
    """A cross-entropy of rows, or the mean of it and of that of columns."""

    def traits(self, **parameters: Any) -> Traits:
        """Return what is known of the loss of a row, or of a row and the column of its pair."""
        known = super().traits(**parameters)
        if not self.product(parameters).both_ways:
            return known
        # The pair's score is in both halves, others in one. The length is largest where two others
        # are certain, of two pairs or of very many, or the pair itself, of very many. Along v both
        # variances are 1/4 (v_y - v_j)^2 at most, and their mean 3/8 of v's square.
        e, scale = parameters.get("label_smoothing", 0.0), self.product(parameters).scale
        length = max(math.sqrt(1.5) * (1 - 0.5 * e), math.sqrt(0.5 + (1 - e) ** 2), e)
        return replace(known, lipschitz=scale * length, smoothness=3 / 8 * scale * scale)


@_BothWays
def info_nce(
    a: Array,
    b: Array | None = None,
    y: ArrayLike | None = None,
    *,
    label_smoothing: Share = 0.0,
    labels: ArrayLike | None = None,
    labels_b: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    max_memory: MemoryLimit = None,
    normalize: Flag = True,
    similarities: Flag = False,
    symmetric: FlagOrNone = None,
    temperature: Positive = 0.07,
    **options: Unpack[Options],
) -> Request:
    """Contrastive loss of pairs: cross-entropy of each row's similarities, its pair the class.

    CLIP's loss. The similarities, as many as pairs of rows, are computed a chunk at a time.

    Parameters
    ----------
    a, b
        Vectors, those of a pair in the same row of both. Without b, one view: a's rows among each
        other, with y.
    y
        The index in b of each positive, where it is not the row's own. Then b may have more rows.
    label_smoothing
        As for `cross_entropy`, over what a row is compared with.
    labels, labels_b
        Integers for the rows of a and of b, those of a where `labels_b` is None. Pairs of one label
        are no negatives: all but the row's positive are left out.
    mask
        Which pairs count, (N, M) booleans: False leaves out a false negative. Positives count
        whatever it says.
    max_memory
        How many bytes to take at a time: see `of_products`.
    normalize
        Whether rows are divided by their lengths, so that similarities are cosines.
    similarities
        Whether a holds the similarities themselves, (N, M), which are divided by the temperature.
    symmetric
        Whether the loss is the mean of the one of a's rows among b's and of that of b's rows among
        a's. None, the default: where y is not given.
    temperature
        What similarities are divided by, a number or a 0-d array.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: vectors of two views of the same things, images and their captions say, which are to
    be close to their pair and far from all others.

    Shapes: a (N, D), b (N, D), or (M, D) with y (N,). An item is a row.

    Domain: all vectors. One of zeros has no direction: it stays 0.

    Formula: log sum_j exp(s_ij) - s_iy, s = a @ b.T / temperature; symmetric: the mean of this and
    of log sum_i exp(s_iy) - s_iy. An item that is left out is still a negative of the others.

    Gradient: with g that of the loss by s, g @ b / temperature by a (`argnums` 0), its like by b
    (1); by the temperature (2) -sum g s / temperature. Of normalised rows u = a / |a| the part
    across u, divided by |a|; 0 for a row of zeros. Symmetric, similarities are computed twice: what
    all chunks show of a column is known before any gradient.

    Accuracy: as for `linear_cross_entropy`.

    Edge cases: one pair alone has the loss 0.

    Source: van den Oord et al., Representation learning with contrastive predictive coding, 2018;
    Radford et al., Learning transferable visual models from natural language supervision, ICML
    2021.

    Elsewhere: open_clip `ClipLoss`; pytorch-metric-learning `NTXentLoss`, for one positive a row.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> a, b = np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[3.0, 0.0], [3.0, 3.0]])
    >>> tinyloss.info_nce(a, b, temperature=1.0).round(6).item()
    0.491157
    """
    both = y is None if symmetric is None else symmetric
    if both and y is not None:
        raise ValueError("tinyloss.info_nce: symmetric is True beside y, expected pairs by rows")
    divisor = cast(Any, temperature)
    more = {"scale": 1.0 / divisor, "max_memory": max_memory, "unit": normalize, "both_ways": both}
    sides = (labels, labels_b)
    product, index = matched("info_nce", a, b, y, sides, mask, similarities, **more)
    request = cross_entropy.describe(product, index, label_smoothing=label_smoothing, **options)
    return request._replace(title="info_nce")


class _SigLIP(Formula):
    name = "siglip"
    rowwise = True
    roles = {"y": LABEL}

    def __init__(self, x: Any, y: Any) -> None:
        self.xp = namespace(x)
        self.x, self.s, self.target = x, sigmoids(x), classes_of(x, y)

    def value(self) -> Any:
        xp, x, s = self.xp, self.x, self.s
        right = xp.where(x >= 0, 0.0, -x) + s.log1p
        return xp.sum(xp.where(self.target, right, s.softplus), axis=-1)

    def grad_x(self) -> Any:
        return self.xp.where(self.target, -self.s.minus, self.s.plus)

    def curvature(self) -> Any:
        return self.s.plus * self.s.minus

    @classmethod
    def traits(cls, **_: Any) -> Traits:
        return Traits(
            convex=True,
            strong_convexity=0.0,
            lipschitz=math.inf,  # of any number of pairs
            smoothness=0.25,
            range=(0.0, math.inf),
            kinks=(),
        )


@PairFunction
def siglip(
    a: Array,
    b: Array | None = None,
    y: ArrayLike | None = None,
    *,
    bias: ArrayLike = -10.0,
    labels: ArrayLike | None = None,
    labels_b: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    max_memory: MemoryLimit = None,
    normalize: Flag = True,
    scale: ArrayLike = 10.0,
    similarities: Flag = False,
    **options: Unpack[Options],
) -> Request:
    """Sigmoid loss of pairs: a binary cross-entropy of each similarity, whether it is of a pair.

    The similarities, as many as pairs of rows, are computed a chunk at a time.

    Parameters
    ----------
    a, b
        Vectors, those of a pair in the same row of both. Without b, one view: a's rows among each
        other, with y.
    y
        The index in b of each positive, where it is not the row's own. Then b may have more rows.
    bias
        What is added to similarities, a number or a 0-d array.
    labels, labels_b, mask
        Which pairs are left out: see `info_nce`.
    max_memory
        How many bytes to take at a time: see `of_products`.
    normalize
        Whether rows are divided by their lengths, so that similarities are cosines.
    scale
        What similarities are multiplied by before, a number or a 0-d array.
    similarities
        Whether a holds the similarities themselves, (N, M).
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: what `info_nce` is for, where pairs are to be judged one by one: no row's loss depends
    on how many others there are.

    Shapes: a (N, D), b (N, D), or (M, D) with y (N,). An item is a row, so that the mean divides by
    N and not by the number of pairs.

    Domain: all vectors. One of zeros has no direction: it stays 0.

    Formula: sum_j log(1 + exp(-z_ij s_ij)), s = scale a @ b.T + bias, z_ij 1 for the pair, else -1.

    Gradient: with g_ij = -z_ij / (1 + exp(z_ij s_ij)) that by s, scale g @ b by a (`argnums` 0),
    its like by b (1), sum g a @ b.T by scale (2), sum g by bias (3). Of normalised rows as for
    `info_nce`.

    Accuracy: terms 4 eps, g 4 eps, of similarities that are rounded as a product of matrices is.

    Edge cases: as for `binary_cross_entropy_with_logits`.

    Source: Zhai et al., Sigmoid loss for language image pre-training, ICCV 2023.

    Elsewhere: open_clip `SigLipLoss`; big_vision's SigLIP trainer.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> a, b = np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[3.0, 0.0], [3.0, 3.0]])
    >>> tinyloss.siglip(a, b, scale=1.0, bias=0.0).round(6).item()
    1.257591
    """
    more = {"bias": bias, "scale": scale, "max_memory": max_memory, "unit": normalize}
    sides = (labels, labels_b)
    product, index = matched("siglip", a, b, y, sides, mask, similarities, **more)
    return Request(None, product, index, labels=_SigLIP, title="siglip", **options)


class _CosFace(LabelCrossEntropy):
    name = "cosface"
    in_parts = None

    def __init__(self, x: Any, y: Any, *, scale: Any, margin: Any) -> None:
        xp = namespace(x)
        self.scale = scale
        super().__init__(scale * xp.where(classes_of(x, y), x - margin, x), y)

    def grad_x(self) -> Any:
        return self.scale * super().grad_x()

    @classmethod
    def traits(cls, **parameters: Any) -> Traits:
        del parameters
        return Traits()


class _ArcFace(LabelCrossEntropy):
    name = "arcface"
    in_parts = None

    def __init__(self, x: Any, y: Any, *, scale: Any, margin: Any, cosine: Any, sine: Any) -> None:
        xp = namespace(x)
        own = classes_of(x, y)
        c = xp.maximum(xp.minimum(x, 1.0), -1.0)  # a product of unit vectors may be rounded beyond
        across = xp.sqrt((1 - c) * (1 + c))
        # Closer to +-1 than eps a cosine's angle is not known.
        least = math.sqrt(float(xp.finfo(x.dtype).eps))
        turned, past = c * cosine - across * sine, c < -cosine
        slope = cosine + c * sine / xp.maximum(across, least)
        moved = xp.where(past, c - margin * sine, turned)
        self.scale, self.slope = scale, xp.where(own, xp.where(past, 1.0, slope), 1.0)
        super().__init__(scale * xp.where(own, moved, x), y)

    def grad_x(self) -> Any:
        return self.scale * self.slope * super().grad_x()

    @classmethod
    def traits(cls, **parameters: Any) -> Traits:
        del parameters
        return Traits()


@ProductFunction
def cosface(
    h: Array,
    w: Array,
    y: ArrayLike,
    *,
    margin: NonNegative = 0.35,
    max_memory: MemoryLimit = None,
    normalize: Flag = True,
    scale: Positive = 64.0,
    **options: Unpack[ProductOptions],
) -> Request:
    """Cross-entropy of cosines with classes' vectors, the target's less a margin.

    Parameters
    ----------
    h
        Vectors of the items.
    w
        Vectors of the classes.
    y
        Class indices, of any integer dtype.
    axis_name
        The mapped axis whose members hold a part of the classes each, in order (JAX alone).
    class_weight
        A weight for each class, of shape (V,).
    ignore_index
        Items with this class index are left out. It need not be a class.
    margin
        What the target's cosine is made smaller by.
    max_memory
        How many bytes to take at a time: see `of_products`.
    normalize
        Whether rows are divided by their lengths; False where they are already.
    scale
        What cosines are multiplied by.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: vectors to tell apart what was no class in training, faces say: classes are kept
    apart by a margin.

    Shapes: h (..., D), w (V, D), y (...). An item is a row of h.

    Domain: all vectors. One of zeros has no direction: it stays 0.

    Formula: cross-entropy of scale (c_k - margin [k = y]), c = h @ w.T of normalised rows.

    Gradient: scale times that of `cross_entropy` by c; by h (`argnums` 0) and w (1) as for
    `info_nce`.

    Accuracy: that of `cross_entropy` of logits that are rounded, to scale eps.

    Edge cases: as for `cross_entropy`.

    Source: Wang et al., CosFace: large margin cosine loss for deep face recognition, CVPR 2018.

    Elsewhere: pytorch-metric-learning `CosFaceLoss`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> h, w = np.array([[2.0, 0.0]]), np.array([[3.0, 0.0], [0.0, 1.0]])
    >>> tinyloss.cosface(h, w, np.array([0]), scale=1.0).round(6).item()
    0.420055
    """
    product = Product(h, w, max_memory=max_memory, unit=normalize)
    params = {"scale": scale, "margin": margin}
    return Request(None, product, y, params, labels=_CosFace, title="cosface", **options)


@ProductFunction
def arcface(
    h: Array,
    w: Array,
    y: ArrayLike,
    *,
    margin: NonNegative = 0.5,
    max_memory: MemoryLimit = None,
    normalize: Flag = True,
    scale: Positive = 64.0,
    **options: Unpack[ProductOptions],
) -> Request:
    """Cross-entropy of cosines with classes' vectors, the target's angle larger by a margin.

    Parameters
    ----------
    h
        Vectors of the items.
    w
        Vectors of the classes.
    y
        Class indices, of any integer dtype.
    axis_name
        The mapped axis whose members hold a part of the classes each, in order (JAX alone).
    class_weight
        A weight for each class, of shape (V,).
    ignore_index
        Items with this class index are left out. It need not be a class.
    margin
        What the target's angle is made larger by, in radians, a Python number below pi.
    max_memory
        How many bytes to take at a time: see `of_products`.
    normalize
        Whether rows are divided by their lengths; False where they are already.
    scale
        What cosines are multiplied by.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: what `cosface` is for, with a margin of the angle.

    Shapes: h (..., D), w (V, D), y (...). An item is a row of h.

    Domain: all vectors. One of zeros has no direction: it stays 0. Cosines beyond 1 count as 1.

    Formula: cross-entropy of scale c, c = h @ w.T of normalised rows, where the target's c = cos t
    becomes cos(t + margin), or c - margin sin(margin) if t > pi - margin.

    Gradient: scale times that of `cross_entropy` by c, the target's times
    cos(margin) + c sin(margin) / sqrt(1 - c^2), or 1 if t > pi - margin. The root counts as
    sqrt(eps) at least: next to +-1 the slope is not known. By h (`argnums` 0) and w (1) as for
    `info_nce`.

    Accuracy: that of `cross_entropy` of logits that are rounded, to scale eps; the target's slope
    to eps / (1 - c^2).

    Edge cases: as for `cross_entropy`.

    Source: Deng et al., ArcFace: additive angular margin loss for deep face recognition, CVPR 2019.

    Elsewhere: pytorch-metric-learning `ArcFaceLoss`, with the margin in degrees.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> h, w = np.array([[2.0, 0.0]]), np.array([[3.0, 0.0], [0.0, 1.0]])
    >>> tinyloss.arcface(h, w, np.array([0]), scale=1.0).round(6).item()
    0.347685
    """
    angle = _check.number("arcface", "margin", margin, what="a number of at least 0, below pi")
    if angle >= math.pi:
        raise ValueError(f"tinyloss.arcface: margin is {angle}, expected less than pi, in radians")
    product = Product(h, w, max_memory=max_memory, unit=normalize)
    params = {
        "scale": scale,
        "margin": angle,
        "cosine": math.cos(angle),
        "sine": math.sin(angle),
    }
    return Request(None, product, y, params, labels=_ArcFace, title="arcface", **options)
