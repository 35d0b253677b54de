"""Losses of regions: an item is a class of an image, a row is its pixels."""

from dataclasses import replace
from math import inf
from typing import Any, Unpack

from tinyloss._arrays import namespace
from tinyloss._engine.request import Regions, Request
from tinyloss._formula import Formula
from tinyloss._in_order import Order, counted, spread
from tinyloss._lists import ListFunction
from tinyloss._regions import ImageFunction, OrderedRegionFunction, RegionFunction
from tinyloss._traits import Traits
from tinyloss.losses._numerics import (
    balanced,
    sides,
    sigmoids,
    softmax_parts,
    steep,
    sum_of_others,
)
from tinyloss.losses.activations import SoftmaxPull
from tinyloss.typing import (
    ActivationOrNone,
    Array,
    ArrayLike,
    Axis,
    Flag,
    NonNegative,
    PixelOptions,
    Positive,
    RegionOptions,
)

__all__ = [
    "dice",
    "focal_tversky",
    "generalized_dice",
    "jaccard",
    "lovasz_hinge",
    "lovasz_softmax",
    "tversky",
]


class _Overlap(Formula):
    """A / (A + B) of two sums over the pixels: A of what is wrong, B of what is right.

    No term of either is below 0, so that nothing cancels in the value; for a target of 0 or 1
    nothing does in the gradient, (A' B - A B') / (A + B)^2.
    """

    rowwise = True
    several_axes = True

    wrong: Any
    """What each pixel adds to A."""
    right: Any
    """What each pixel adds to B."""

    def __init__(
        self, x: Any, y: Any, *, smooth: Any, mass: Any = None, balanced: bool = False
    ) -> None:
        self.xp = xp = namespace(x)
        self.mass = mass
        p, q = sides(x) if balanced else (xp.where((x < 0) | (x > 1), xp.nan, x), 1 - x)
        # by more than any dtype rounds
        t = xp.where((y < -0.0625) | (y > 1.0625), xp.nan, y)
        if mass is not None:
            p, q, t = (xp.where(mass == 0, 0.0, each) for each in (p, q, t))
        self.p, self.q, self.t, self.u = p, q, t, 1 - t
        self.terms()
        a = xp.sum(self.weighed(self.wrong), axis=-1, keepdims=True)
        b = xp.sum(self.weighed(self.right), axis=-1, keepdims=True) + smooth
        # 0 / 0 is 0: nothing predicted where there is nothing
        self.whole = xp.where(a + b == 0, 1.0, a + b)
        self.lost, self.kept = a / self.whole, b / self.whole

    def terms(self) -> None:
        """Set `wrong` and `right`."""
        raise NotImplementedError

    def slopes_x(self) -> tuple[Any, Any, Any]:
        """Return the derivatives by x of what a pixel adds to A, to B and to both."""
        raise NotImplementedError

    def bend(self) -> float:
        """Return the second derivative by x of what a pixel adds to A; B has none."""
        return 0.0

    def weighed(self, each: Any) -> Any:
        """Return what pixels add, by their mass."""
        return each if self.mass is None else each * self.mass

    def value(self) -> Any:
        return self.lost[..., 0]

    def grad_x(self) -> Any:
        a, b, _ = self.slopes_x()
        return self.slope(a, b)

    def curvature(self) -> Any:
        a, b, _ = self.slopes_x()
        bend = self.bend()
        turn = 2 * self.twist() * self.slope(a, b)
        return turn + self.weighed(bend * self.kept) / self.whole if bend else turn

    def twist(self) -> Any:
        return -self.weighed(self.slopes_x()[2]) / self.whole

    boosting_curvature = steep

    def slope(self, a: Any, b: Any) -> Any:
        """Return the derivative of the quotient, of those of what a pixel adds."""
        return self.weighed(a * self.kept - b * self.lost) / self.whole

    @classmethod
    def traits(cls, **parameters: Any) -> Traits:
        del parameters
        # Of one pixel beside others it is a quotient, which bends downwards where it rises. Where
        # one pixel is found, each that is not to be has the same slope, however many these are, and
        # they bend it together.
        return Traits(
            convex=False, strong_convexity=0.0, lipschitz=inf, smoothness=inf, range=(0.0, 1.0)
        )


class _Weighted(_Overlap):
    """False positives and false negatives by weights."""

    def __init__(
        self, x: Any, y: Any, *, fp_weight: Any = 1.0, fn_weight: Any = 1.0, **others: Any
    ) -> None:
        self.fp, self.fn = fp_weight, fn_weight
        super().__init__(x, y, **others)

    def terms(self) -> None:
        self.wrong = self.fp * (self.p * self.u) + self.fn * (self.q * self.t)
        self.right = self.p * self.t

    def slopes_x(self) -> tuple[Any, Any, Any]:
        no, yes = self.fp * self.u, self.t
        return no - self.fn * yes, yes, no + (1 - self.fn) * yes


class _Tversky(_Weighted):
    name = "tversky"

    def grad_y(self) -> Any:
        return self.slope(self.fn * self.q - self.fp * self.p, self.p)


class _Jaccard(_Tversky):
    name = "jaccard"


class _GeneralizedDice(_Weighted):
    """Dice of all classes of an image; by y it has no derivative, which moves the classes' mass."""

    name = "generalized_dice"

    def __init__(self, x: Any, y: Any, *, smooth: Any, **others: Any) -> None:
        super().__init__(x, y, fp_weight=0.5, fn_weight=0.5, smooth=0.5 * smooth, **others)


class _Dice(_GeneralizedDice, _Tversky):
    name = "dice"


class _SquaredDice(_Overlap):
    name = "dice"

    def terms(self) -> None:
        # the smaller of p and q has all digits
        self.d = self.xp.where(self.t > 0.5, self.u - self.q, self.p - self.t)
        self.wrong, self.right = self.d * self.d, 2 * self.p * self.t

    def slopes_x(self) -> tuple[Any, Any, Any]:
        return 2 * self.d, 2 * self.t, 2 * self.p

    def grad_y(self) -> Any:
        return self.slope(-2 * self.d, 2 * self.p)

    def bend(self) -> float:
        return 2.0


class _FocalTversky(_Tversky):
    name = "focal_tversky"

    def __init__(self, x: Any, y: Any, *, gamma: Any, **others: Any) -> None:
        super().__init__(x, y, **others)
        xp = self.xp
        self.exponent = 1 / gamma
        some = xp.where(self.lost == 0, 1.0, self.lost)
        self.power = xp.where(self.lost == 0, 0.0, some**self.exponent)
        # of a perfect item 0, where the slope of the power is infinite
        self.relative = self.exponent * self.power / some
        self.bent = (self.exponent - 1) / some

    def value(self) -> Any:
        return self.power[..., 0]

    def grad_x(self) -> Any:
        return self.relative * super().grad_x()

    def grad_y(self) -> Any:
        return self.relative * super().grad_y()

    def curvature(self) -> Any:
        slope = super().grad_x()
        return self.relative * (super().curvature() + self.bent * slope * slope)


# ------------------------------------------------------------------------------------ from logits


class _SoftmaxPull(SoftmaxPull):
    """Also of the second derivatives, where p_c is p_c (v_c - sum_k p_k v_k) along a direction v.

    That of the gradient is itself a gradient that is pulled. By one class's logit alone each class
    turns by its probability times this one's, or this one by what the others have.
    """

    def __init__(
        self,
        x: Any,
        y: Any,
        *,
        turned: Any = None,
        along: Any = None,
        bend: Any = None,
        twist: Any = None,
    ) -> None:
        p, self.q = sides(y)
        super().__init__(x, p)
        self.turned, self.along, self.bend, self.turn = turned, along, bend, twist

    def grad_x(self) -> Any:
        if self.along is None:
            return super().grad_x()
        moved = self.turned + self.centred(self.along) * self.centred(self.g)
        return self.p * self.centred(moved)

    def curvature(self) -> Any:
        slope = super().grad_x()
        own = (self.q - self.p) * slope
        if self.turn is not None:  # of rows with all classes
            return own + 2 * slope * (self.p * self.centred(self.turn))
        squares = self.p * self.p
        return own + squares * (self.q * self.q * self.bend + sum_of_others(squares * self.bend))


class _Softmax(Formula):
    """Softmax as `sides` takes it: of the largest class what the others have."""

    name = "softmax"
    rowwise = True
    per_item = False
    pulled_by = _SoftmaxPull

    def __init__(self, x: Any) -> None:
        self.x = x

    def value(self) -> Any:
        s, xp = softmax_parts(self.x), namespace(self.x)
        # Not s.rest, which counts the largest term and takes it off: autodiff would lose digits.
        others = xp.sum(xp.where(s.top, 0.0, s.e), axis=-1, keepdims=True)
        return balanced(s.e / s.z, others / s.z)


class _SigmoidPull(Formula):
    name = "sigmoid"

    def __init__(
        self, x: Any, y: Any, *, turned: Any = None, along: Any = None, bend: Any = None
    ) -> None:
        self.g, (self.p, self.q) = x, sides(y)
        self.slope = self.p * self.q
        self.turned, self.along, self.bend = turned, along, bend

    def grad_x(self) -> Any:
        if self.along is None:
            return self.slope * self.g
        return self.slope * (self.turned + (self.q - self.p) * self.g * self.along)

    def curvature(self) -> Any:
        return self.slope * (self.slope * self.bend + (self.q - self.p) * self.g)


class _Sigmoid(Formula):
    name = "sigmoid"
    pulled_by = _SigmoidPull

    def __init__(self, x: Any) -> None:
        self.s = sigmoids(x)

    def value(self) -> Any:
        return balanced(self.s.plus, self.s.minus)


_ACTIVATIONS = {"softmax": _Softmax, "sigmoid": _Sigmoid}


def _regions(x: Any, from_logits: Any, class_axis: int, mask: Any, of_classes: Any = None) -> Any:
    activation = None if from_logits is None else _ACTIVATIONS[from_logits]
    return Regions(x, activation, class_axis, mask, of_classes)


def _inverse_squares(xp: Any, sizes: Any, axis: int) -> Any:
    """Return what classes of these sizes weigh; one that is absent as much as the heaviest."""
    there = sizes > 0
    safe = xp.where(there, sizes, 1.0)
    weights = xp.where(there, 1 / safe / safe, 0.0)
    return xp.where(there, weights, xp.max(weights, axis=axis, keepdims=True))


@RegionFunction
def dice(
    x: Array,
    y: ArrayLike,
    *,
    squared: Flag = False,
    smooth: NonNegative = 0.0,
    from_logits: ActivationOrNone = None,
    class_axis: Axis = 1,
    mask: ArrayLike | None = None,
    **options: Unpack[RegionOptions],
) -> Request:
    """Dice loss: one minus the overlap of a region with the predicted one, the F1 score of pixels.

    Parameters
    ----------
    x
        Probabilities, or logits with `from_logits`.
    y
        Targets, 0 or 1 (booleans too) or a probability between; or class indices.
    squared
        Whether the denominator adds up the squares of probabilities and targets.
    smooth
        What is added to both sides of the quotient, at least 0. It counts as pixels that are right.
    from_logits
        What makes probabilities of logits: "softmax" over `class_axis`, "sigmoid", or None: x are
        probabilities.
    class_axis
        The axis of the classes, of softmax and of class indices.
    mask
        Which pixels count, booleans that broadcast to x. Others are left out of the sums, NaN
        included. (`weight` and `where` are of items.)
    axis
        The axis of the pixels, or a tuple of axes: (-2, -1) for images.
    ignore_index
        Pixels with this class index are left out. It need not be a class.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: regions of an image, such as organs or roads, also where they are small.

    Shapes: x and y (..., P), or the pixels along `axis`; of class indices y has no `class_axis`.
    An item is what is along the other axes: a class of an image.

    Domain: 0 <= x <= 1, NaN outside, or finite logits. A target outside [0, 1] by more than a few
    eps, or an index that is no class, is an error where it can be seen (`tinyloss.validation`).
    Elsewhere such an index, and a target outside by 1/16, gives NaN for its item.

    Formula: 1 - (2 tp + smooth) / (2 tp + fp + fn + smooth),
    tp = sum p y, fp = sum p (1 - y), fn = sum (1 - p) y; with `squared`
    1 - (2 tp + smooth) / (sum p^2 + sum y^2 + smooth)

    Gradient: (A' B - A B') / (A + B)^2 by x and by y, the loss being A / (A + B). Curvature
    -2 (A' + B') / (A + B) of that, for boosting 1 where it is not above 0.

    Accuracy: value 4 eps; gradient 8 eps; curvature 16 eps. Of targets between 0 and 1 the gradient
    and the curvature have these eps of the sum of their terms' sizes. Value and gradient by logits
    keep their digits in both tails, as those by probabilities do. Curvature by logits has these eps
    of the sum of its terms' sizes.

    Edge cases: 0, and no gradient, where nothing is predicted and there is nothing to find. Where
    there is nothing to find, any other prediction costs 1 if `smooth` is 0.

    Source: Dice, Measures of the amount of ecologic association between species, Ecology 26, 1945;
    Milletari, Navab and Ahmadi, V-Net, 3DV 2016, which is `squared`.

    Elsewhere: MONAI `DiceLoss`; Keras `Dice`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x, y = np.array([0.5, 0.5, 1.0]), np.array([1, 0, 1])
    >>> tinyloss.dice(x, y, axis=0).item()
    0.25
    """
    return Request(
        _SquaredDice if squared else _Dice,
        _regions(x, from_logits, class_axis, mask),
        y,
        {"smooth": smooth},
        **options,
    )


@RegionFunction
def jaccard(
    x: Array,
    y: ArrayLike,
    *,
    smooth: NonNegative = 0.0,
    from_logits: ActivationOrNone = None,
    class_axis: Axis = 1,
    mask: ArrayLike | None = None,
    **options: Unpack[RegionOptions],
) -> Request:
    """Jaccard loss: one minus the intersection of two regions over their union.

    Parameters
    ----------
    x
        Probabilities, or logits with `from_logits`.
    y
        Targets, 0 or 1 (booleans too) or a probability between; or class indices.
    smooth
        What is added to both sides of the quotient, at least 0. It counts as pixels that are right.
    from_logits
        What makes probabilities of logits: "softmax" over `class_axis`, "sigmoid", or None: x are
        probabilities.
    class_axis
        The axis of the classes, of softmax and of class indices.
    mask
        Which pixels count, booleans that broadcast to x. Others are left out of the sums, NaN
        included. (`weight` and `where` are of items.)
    axis
        The axis of the pixels, or a tuple of axes: (-2, -1) for images.
    ignore_index
        Pixels with this class index are left out. It need not be a class.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: regions that are judged by intersection over union.

    Shapes: x and y (..., P), or the pixels along `axis`; of class indices y has no `class_axis`.
    An item is what is along the other axes: a class of an image.

    Domain: 0 <= x <= 1, NaN outside, or finite logits. A target outside [0, 1] by more than a few
    eps, or an index that is no class, is an error where it can be seen (`tinyloss.validation`).
    Elsewhere such an index, and a target outside by 1/16, gives NaN for its item.

    Formula: 1 - (tp + smooth) / (tp + fp + fn + smooth),
    tp = sum p y, fp = sum p (1 - y), fn = sum (1 - p) y

    Gradient: as that of `dice`.

    Accuracy: value 4 eps; gradient 8 eps; curvature 16 eps. Of targets between 0 and 1 the gradient
    and the curvature have these eps of the sum of their terms' sizes. Value and gradient by logits
    keep their digits in both tails, as those by probabilities do. Curvature by logits has these eps
    of the sum of its terms' sizes.

    Edge cases: 0, and no gradient, where nothing is predicted and there is nothing to find. Where
    there is nothing to find, any other prediction costs 1 if `smooth` is 0.

    Source: Jaccard, The distribution of the flora in the alpine zone, New Phytologist 11, 1912.

    Elsewhere: MONAI `DiceLoss(jaccard=True)`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x, y = np.array([0.5, 0.5, 1.0]), np.array([1, 0, 1])
    >>> tinyloss.jaccard(x, y, axis=0).item()
    0.4
    """
    return Request(
        _Jaccard, _regions(x, from_logits, class_axis, mask), y, {"smooth": smooth}, **options
    )


@RegionFunction
def tversky(
    x: Array,
    y: ArrayLike,
    *,
    fp_weight: NonNegative = 0.5,
    fn_weight: NonNegative = 0.5,
    smooth: NonNegative = 0.0,
    from_logits: ActivationOrNone = None,
    class_axis: Axis = 1,
    mask: ArrayLike | None = None,
    **options: Unpack[RegionOptions],
) -> Request:
    """Tversky loss: Dice loss where false positives and false negatives cost differently.

    Parameters
    ----------
    x
        Probabilities, or logits with `from_logits`.
    y
        Targets, 0 or 1 (booleans too) or a probability between; or class indices.
    fp_weight, fn_weight
        What false positives and false negatives cost, at least 0. Some call them alpha and beta,
        others the other way round.
    smooth
        What is added to both sides of the quotient, at least 0. It counts as pixels that are right.
    from_logits
        What makes probabilities of logits: "softmax" over `class_axis`, "sigmoid", or None: x are
        probabilities.
    class_axis
        The axis of the classes, of softmax and of class indices.
    mask
        Which pixels count, booleans that broadcast to x. Others are left out of the sums, NaN
        included. (`weight` and `where` are of items.)
    axis
        The axis of the pixels, or a tuple of axes: (-2, -1) for images.
    ignore_index
        Pixels with this class index are left out. It need not be a class.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: regions where to miss a pixel is worse than to find one too many, or the reverse.

    Shapes: x and y (..., P), or the pixels along `axis`; of class indices y has no `class_axis`.
    An item is what is along the other axes: a class of an image.

    Domain: 0 <= x <= 1, NaN outside, or finite logits. A target outside [0, 1] by more than a few
    eps, or an index that is no class, is an error where it can be seen (`tinyloss.validation`).
    Elsewhere such an index, and a target outside by 1/16, gives NaN for its item.

    Formula: 1 - (tp + smooth) / (tp + fp_weight fp + fn_weight fn + smooth),
    tp = sum p y, fp = sum p (1 - y), fn = sum (1 - p) y

    Gradient: as that of `dice`.

    Accuracy: value 4 eps; gradient 8 eps; curvature 16 eps. Of targets between 0 and 1 the gradient
    and the curvature have these eps of the sum of their terms' sizes. Value and gradient by logits
    keep their digits in both tails, as those by probabilities do. Curvature by logits has these eps
    of the sum of its terms' sizes.

    Edge cases: 0, and no gradient, where nothing is predicted and there is nothing to find. Where
    there is nothing to find, any other prediction costs 1 if `smooth` is 0.

    Source: Tversky, Features of similarity, Psychological Review 84, 1977; Salehi, Erdogmus and
    Gholipour, Tversky loss function for image segmentation using 3D fully convolutional deep
    networks, MLMI 2017.

    Elsewhere: MONAI `TverskyLoss`; Keras `Tversky`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x, y = np.array([0.5, 0.5, 1.0]), np.array([1, 0, 1])
    >>> tinyloss.tversky(x, y, fp_weight=0.3, fn_weight=0.7, axis=0).item()
    0.25
    """
    return Request(
        _Tversky,
        _regions(x, from_logits, class_axis, mask),
        y,
        {"fp_weight": fp_weight, "fn_weight": fn_weight, "smooth": smooth},
        **options,
    )


@RegionFunction
def focal_tversky(
    x: Array,
    y: ArrayLike,
    *,
    fp_weight: NonNegative = 0.3,
    fn_weight: NonNegative = 0.7,
    gamma: Positive = 4 / 3,
    smooth: NonNegative = 0.0,
    from_logits: ActivationOrNone = None,
    class_axis: Axis = 1,
    mask: ArrayLike | None = None,
    **options: Unpack[RegionOptions],
) -> Request:
    """Focal Tversky loss: a root of the Tversky loss of each item.

    Parameters
    ----------
    x
        Probabilities, or logits with `from_logits`.
    y
        Targets, 0 or 1 (booleans too) or a probability between; or class indices.
    fp_weight, fn_weight
        What false positives and false negatives cost, at least 0.
    gamma
        The root that is taken of the loss, above 0: from 1 on, good items count for more.
    smooth
        What is added to both sides of the quotient, at least 0. It counts as pixels that are right.
    from_logits
        What makes probabilities of logits: "softmax" over `class_axis`, "sigmoid", or None: x are
        probabilities.
    class_axis
        The axis of the classes, of softmax and of class indices.
    mask
        Which pixels count, booleans that broadcast to x. Others are left out of the sums, NaN
        included. (`weight` and `where` are of items.)
    axis
        The axis of the pixels, or a tuple of axes: (-2, -1) for images.
    ignore_index
        Pixels with this class index are left out. It need not be a class.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: small regions among large ones.

    Shapes: x and y (..., P), or the pixels along `axis`; of class indices y has no `class_axis`.
    An item is what is along the other axes: a class of an image.

    Domain: 0 <= x <= 1, NaN outside, or finite logits. A target outside [0, 1] by more than a few
    eps, or an index that is no class, is an error where it can be seen (`tinyloss.validation`).
    Elsewhere such an index, and a target outside by 1/16, gives NaN for its item.

    Formula: (1 - (tp + smooth) / (tp + fp_weight fp + fn_weight fn + smooth))^(1 / gamma),
    tp = sum p y, fp = sum p (1 - y), fn = sum (1 - p) y

    Gradient: that of `tversky`, times L^(1 / gamma - 1) / gamma of its value L; 0 for an item
    without loss, where it may have no limit.

    Accuracy: value 8 eps; gradient 16 eps; curvature 16 eps. Of targets between 0 and 1 the
    gradient and the curvature have these eps of the sum of their terms' sizes. Value and gradient
    by logits keep their digits in both tails, as those by probabilities do. Curvature by logits has
    these eps of the sum of its terms' sizes.

    Edge cases: 0, and no gradient, where nothing is predicted and there is nothing to find. Where
    there is nothing to find, any other prediction costs 1 if `smooth` is 0.

    Source: Abraham and Khan, A novel focal Tversky loss function with improved attention U-Net for
    lesion segmentation, ISBI 2019.

    Elsewhere: none.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x, y = np.array([0.5, 0.5, 1.0]), np.array([1, 0, 1])
    >>> tinyloss.focal_tversky(x, y, gamma=2.0, axis=0).item()
    0.5
    """
    return Request(
        _FocalTversky,
        _regions(x, from_logits, class_axis, mask),
        y,
        {"fp_weight": fp_weight, "fn_weight": fn_weight, "gamma": gamma, "smooth": smooth},
        **options,
    )


@ImageFunction
def generalized_dice(
    x: Array,
    y: ArrayLike,
    *,
    smooth: NonNegative = 0.0,
    from_logits: ActivationOrNone = None,
    class_axis: Axis = 1,
    mask: ArrayLike | None = None,
    **options: Unpack[RegionOptions],
) -> Request:
    """Generalized Dice loss: of all classes of an image, each by the inverse square of its size.

    Parameters
    ----------
    x
        Probabilities, or logits with `from_logits`.
    y
        Targets, 0 or 1 (booleans too) or a probability between; or class indices.
    smooth
        What is added to both sides of the quotient, at least 0. It counts as pixels that are right.
    from_logits
        What makes probabilities of logits: "softmax" over `class_axis`, "sigmoid", or None: x are
        probabilities.
    class_axis
        The axis of the classes, of softmax and of class indices.
    mask
        Which pixels count, booleans that broadcast to x. Others are left out of the sums, NaN
        included. (`weight` and `where` are of items.)
    axis
        The axis of the pixels, or a tuple of axes: (-2, -1) for images.
    ignore_index
        Pixels with this class index are left out. It need not be a class.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: several regions of an image at once, small ones as much as large ones.

    Shapes: x and y (..., P), or the pixels along `axis`; of class indices y has no `class_axis`.
    An item is what is along the other axes: an image.

    Domain: 0 <= x <= 1, NaN outside, or finite logits. A target outside [0, 1] by more than a few
    eps, or an index that is no class, is an error where it can be seen (`tinyloss.validation`).
    Elsewhere such an index, and a target outside by 1/16, gives NaN for its item.

    Formula: 1 - (2 sum_c w_c tp_c + smooth) / (sum_c w_c (2 tp_c + fp_c + fn_c) + smooth),
    w_c = 1 / (sum y)^2; tp = sum p y, fp = sum p (1 - y), fn = sum (1 - p) y
    of a class

    Gradient: as that of `dice`, by x alone: y decides the weights of classes.

    Accuracy: value 4 eps; gradient 8 eps; curvature 16 eps. Of targets between 0 and 1 the gradient
    and the curvature have these eps of the sum of their terms' sizes. Value and gradient by logits
    keep their digits in both tails, as those by probabilities do. Curvature by logits has these eps
    of the sum of its terms' sizes.

    Edge cases: a class that is absent weighs as much as the heaviest one; where all are absent the
    loss is 0.

    Source: Sudre et al., Generalised Dice overlap as a deep learning loss function for highly
    unbalanced segmentations, DLMIA 2017.

    Elsewhere: MONAI `GeneralizedDiceLoss`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x, y = np.array([[0.5, 0.5, 1.0], [0.5, 0.5, 0.0]]), np.array([[1, 0, 1], [0, 1, 0]])
    >>> tinyloss.generalized_dice(x, y, class_axis=0).round(6).item()
    0.416667
    """
    return Request(
        _GeneralizedDice,
        _regions(x, from_logits, class_axis, mask, _inverse_squares),
        y,
        {"smooth": smooth},
        **options,
    )


# ---------------------------------------------------------------------------- pixels in an order


class _Lovasz(Formula):
    """The sum of errors, from large to small, each by what one more wrong pixel costs.

    Of g pixels of the region, i are right and u are in the union when some are wrong; the cost of
    one more is 1 / u if it is of the region, else i / (u (u - 1)). These are whole numbers.
    """

    rowwise = True
    several_axes = True
    in_order = True

    error: Any
    """How wrong each pixel is."""
    toward: Any
    """The derivative of that by x."""

    def __init__(self, x: Any, y: Any, kept: Any) -> None:
        self.xp = xp = namespace(x)
        self.inside = inside = y > 0.5
        self.errors(x)
        keys = [-self.error]
        if kept is not None:  # what is left out comes last, and is not of the region
            inside = inside & kept
            keys = [~kept, xp.where(kept, keys[0], 0.0)]
        self.order = order = Order(*keys)
        inside = order.of(inside)
        whole = xp.sum(xp.astype(inside, x.dtype), axis=-1, keepdims=True)
        lost, found = counted(inside, x), counted(~inside, x)
        union = whole + found
        before = xp.where(union > 1, union - 1, 1.0)
        # where there is nothing to find, the first pixel costs all there is
        first = xp.where(found == 1, xp.ones_like(x), 0.0)
        outside = xp.where(whole > 0, (whole - lost) / union / before, first)
        union = xp.where(union == 0, 1.0, union)
        cost = order.back(xp.where(inside, 1 / union, outside))
        self.cost = cost if kept is None else xp.where(kept, cost, 0.0)

    def errors(self, x: Any) -> None:
        """Set `error` and `toward`."""
        raise NotImplementedError

    def value(self) -> Any:
        some = self.xp.where((self.error > 0) & (self.cost != 0), self.error, 0.0)
        return self.xp.sum(some * self.cost, axis=-1)

    def grad_x(self) -> Any:
        return self.xp.where(self.error > 0, self.toward * self.cost, 0.0)

    @classmethod
    def traits(cls, **_: Any) -> Traits:
        # The largest of sums of errors, each by what one more wrong pixel costs in some order: of
        # functions that bend nowhere downwards. These costs add up to 1, and may be of one pixel.
        # It jumps from one order to the next where errors meet, which is at no value of a variable.
        return Traits(convex=True, strong_convexity=0.0, lipschitz=1.0, smoothness=inf)


class _LovaszHinge(_Lovasz):
    name = "lovasz_hinge"

    def __init__(self, x: Any, y: Any, *, mask: Any = None) -> None:
        kept = None if mask is None else spread(mask, x) != 0
        super().__init__(x if kept is None else namespace(x).where(kept, x, 0.0), y, kept)

    def errors(self, x: Any) -> None:
        self.toward = self.xp.where(self.inside, -self.xp.ones_like(x), 1.0)
        self.error = 1 + self.toward * x

    @classmethod
    def traits(cls, **_: Any) -> Traits:
        return replace(super().traits(), range=(0.0, inf))


class _LovaszSoftmax(_Lovasz):
    name = "lovasz_softmax"

    def __init__(self, x: Any, y: Any, *, mass: Any = None, balanced: bool = False) -> None:
        xp = namespace(x)
        self.p, self.q = sides(x) if balanced else (xp.where((x < 0) | (x > 1), xp.nan, x), 1 - x)
        if mass is None:
            super().__init__(x, y, None)
            return
        mass = spread(mass, x)
        self.p, self.q = (xp.where(mass == 0, 0.0, each) for each in (self.p, self.q))
        super().__init__(x, y, mass != 0)
        self.cost = xp.where(mass == 0, 0.0, self.cost * mass)  # NaN of an index that is no class

    def errors(self, x: Any) -> None:
        self.toward = self.xp.where(self.inside, -self.xp.ones_like(x), 1.0)
        self.error = self.xp.where(self.inside, self.q, self.p)

    @classmethod
    def traits(cls, **_: Any) -> Traits:
        return replace(super().traits(), range=(0.0, 1.0))


@ListFunction
def lovasz_hinge(
    x: Array,
    y: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    **options: Unpack[PixelOptions],
) -> Request:
    """Lovász hinge: intersection over union of one region, made convex, of scores.

    Parameters
    ----------
    x
        Scores, whose sign is what is predicted: logits of 1.
    y
        Targets, 0 or 1 (booleans too).
    mask
        Which pixels count, booleans that broadcast to x. (`weight` and `where` are of items.)
    axis
        The axis of the pixels, or a tuple of axes: (-2, -1) for images.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: one region that is judged by intersection over union, after another loss has come near.

    Shapes: x and y (..., P), or the pixels along `axis`. An item is what is along the other axes:
    an image.

    Domain: finite x.

    Formula: sum_k max(e_k, 0) (J_k - J_{k-1}), e = 1 - x or 1 + x for a target of 1 or 0, from
    large to small, J_k the Jaccard loss where the first k pixels are wrong and the others right

    Gradient: -(J_k - J_{k-1}) or its opposite, for a target of 1 or 0; 0 where e <= 0. Pixels of
    one e keep their places.

    Accuracy: value 4 eps; gradient 4 eps. The value's are of errors that are rounded, so of 1 + |x|
    for each; the gradient's where rounding makes no two alike.

    Edge cases: max(e_1, 0) where there is nothing to find; 0 where no pixel counts.

    Source: Berman, Rannen Triki and Blaschko, The Lovász-softmax loss, CVPR 2018.

    Elsewhere: segmentation-models-pytorch `LovaszLoss`; kornia `lovasz_hinge_loss`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x, y = np.array([1.5, -0.5, -1.0, 0.25]), np.array([1, 0, 1, 1])
    >>> tinyloss.lovasz_hinge(x, y).round(6).item()
    0.958333
    """
    arrays = {} if mask is None else {"mask": mask}
    return Request(_LovaszHinge, x, y, arrays=arrays, **options)


@OrderedRegionFunction
def lovasz_softmax(
    x: Array,
    y: ArrayLike,
    *,
    present: Flag = True,
    from_logits: ActivationOrNone = None,
    class_axis: Axis = 1,
    mask: ArrayLike | None = None,
    **options: Unpack[RegionOptions],
) -> Request:
    """Lovász-softmax: intersection over union of each class, made convex, of probabilities.

    Parameters
    ----------
    x
        Probabilities, or logits with `from_logits`.
    y
        Targets, 0 or 1 (booleans too); or class indices.
    present
        Whether a class counts in the images alone that have it. False: in all.
    from_logits
        What makes probabilities of logits: "softmax" over `class_axis`, "sigmoid", or None: x are
        probabilities.
    class_axis
        The axis of the classes, of softmax and of class indices.
    mask
        Which pixels count, booleans that broadcast to x. Others are left out of the sums, NaN
        included. (`weight` and `where` are of items.)
    axis
        The axis of the pixels, or a tuple of axes: (-2, -1) for images.
    ignore_index
        Pixels with this class index are left out. It need not be a class.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: regions of several classes that are judged by the mean of intersections over unions.

    Shapes: x and y (..., P), or the pixels along `axis`; of class indices y has no `class_axis`.
    An item is what is along the other axes: a class of an image. With the axis of the images in
    `axis` it is a class of the batch.

    Domain: 0 <= x <= 1, NaN outside, or finite logits. An index that is no class is an error where
    it can be seen (`tinyloss.validation`), and elsewhere gives NaN for its item.

    Formula: sum_k e_k (J_k - J_{k-1}), e = |y - x| from large to small, J_k the Jaccard loss where
    the first k pixels are wrong and the others right

    Gradient: -(J_k - J_{k-1}) or its opposite, for a target of 1 or 0. Pixels of one e keep their
    places.

    Accuracy: value 4 eps; gradient 4 eps, of probabilities. Those by logits keep their digits in
    both tails.

    Edge cases: the largest e where there is nothing to find, with `present` False.

    Source: Berman, Rannen Triki and Blaschko, The Lovász-softmax loss, CVPR 2018.

    Elsewhere: segmentation-models-pytorch `LovaszLoss`; kornia `lovasz_softmax_loss`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x, y = np.array([[0.75, 0.5, 0.125], [0.25, 0.5, 0.875]]), np.array([0, 0, 1])
    >>> tinyloss.lovasz_softmax(x, y, class_axis=0).round(6).item()
    0.354167
    """
    regions = _regions(x, from_logits, class_axis, mask)._replace(present=present)
    return Request(_LovaszSoftmax, regions, y, **options)
