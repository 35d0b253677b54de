"""The best constant prediction: what boosting starts from."""

from collections.abc import Callable
from typing import Any

from tinyloss._arrays import astype, beside, bring, kind, namespace, widest_dtype
from tinyloss._calls import explained
from tinyloss._engine.registry import quiet
from tinyloss._engine.request import Want
from tinyloss._function import Loss
from tinyloss._transforms import grad, grad_and_hess
from tinyloss.typing import Array, ArrayLike, Namespace

_DOUBLINGS = 64
"""Of a bracket, until the slope changes its sign in it."""
_HALVINGS = 64
"""Of a bracket: 53 bits of its ends, and more of a number near 0."""
_PATIENCE = 100
"""Steps of Newton's method, after which steps one way grow."""
_STEPS = 1000
"""Of Newton's method: softmax needs 60 at most, a class that never comes up 40."""


@explained()
def constant_minimizer(
    loss: Loss[...], y: Array, weight: ArrayLike | None = None, *, classes: int | None = None
) -> Any:
    """Return the constant prediction that has the least loss: what boosting starts from.

    Gradient boosting, and the bias of a network's last layer, start best from there: the mean of y
    for `mse`, a quantile for `quantile`, the log-odds for `binary_cross_entropy_with_logits`, the
    logarithms of the classes' shares for `cross_entropy`, up to a number added to all.

    Parameters
    ----------
    loss
        A loss of this package of a prediction and a target: a function or an object.
    y
        The targets, along the first axis: elements, class indices of shape (N,), or rows.
    weight
        The weight of each item; broadcasts to the items.
    classes
        How many classes there are, beside class indices. By default the largest one and 1.

    Returns
    -------
    An array of y's library in its widest floating dtype: a number for elements, of shape
    y.shape[1:]; one for each class for a loss of rows.

    Notes
    -----
    For elements the slope of the summed loss is bisected, so that kinks are found as well; where
    every point of an interval has the least loss it is the lower end. For rows it is Newton's
    method with the diagonal curvature for boosting. Where the loss falls for ever, as for a class
    that never comes up, it is where the slope is within rounding of 0: a log-odds of about 36.
    A loss that is not convex may have a lower minimum elsewhere. No prediction leaves the domain of
    the loss: a probability of `dice` is from 0 to 1.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> y = np.array([0.0, 1.0, 1.0, 1.0])
    >>> tinyloss.constant_minimizer(tinyloss.binary_cross_entropy_with_logits, y).round(6).item()
    1.098612
    >>> tinyloss.constant_minimizer(tinyloss.mae, y, weight=[9, 1, 1, 1]).round(6).item()
    0.0
    """
    slope: Any = grad(loss)
    try:
        xp = namespace(y)
    except TypeError as error:
        raise TypeError(f"tinyloss.constant_minimizer: y: {error}") from None
    if not y.shape or 0 in y.shape:
        raise ValueError(
            f"tinyloss.constant_minimizer: y has shape {tuple(y.shape)}, expected items along the "
            "first axis, at least one"
        )
    with quiet(xp):
        takes_labels = loss.takes_labels()
        if takes_labels and len(y.shape) == 1:
            return _of_classes(loss, xp, *_counted(loss, xp, y, weight, classes))
        zeros = xp.zeros(tuple(y.shape), dtype=widest_dtype(xp, y), **beside(y))
        jobs = [] if takes_labels else loss.jobs(Want(value=True), zeros, y)
        if takes_labels or any(job.kind.rowwise for job in jobs):
            return _of_classes(loss, xp, zeros, y, weight)
        return _of_elements(xp, lambda c: slope(zeros + c, y, weight=weight), zeros + y)


def _of_elements(xp: Namespace, slopes: Callable[[Any], Any], y: Any) -> Any:
    """Return for each column of y where the sum of the slopes at a constant changes its sign."""
    low, high = xp.min(y, axis=0), xp.max(y, axis=0)
    # At an end of their range predictions may have slopes beyond all others.
    sizes = [xp.sum(xp.abs(slopes(c)), axis=0) for c in (low, 0.5 * (low + high), high)]
    rounding = xp.finfo(y.dtype).eps * xp.minimum(xp.minimum(sizes[0], sizes[1]), sizes[2])

    def slope(c: Any) -> Any:
        return xp.sum(slopes(c), axis=0)

    width = xp.maximum(high - low, 1.0)
    left = right = lowest = highest = low != low
    for _ in range(_DOUBLINGS):
        falls, rises = slope(high) < -rounding, slope(low) > rounding
        left, right = left | rises, right | falls
        falls, rises = falls & ~highest, rises & ~lowest
        if not xp.any(falls | rises):
            break
        low, below = _within(xp, slope, low, xp.where(rises, low - width, low))
        high, above = _within(xp, slope, high, xp.where(falls, high + width, high))
        lowest, highest = lowest | (rises & below), highest | (falls & above)
        width = 2 * width
    else:
        raise _no_minimum("falls for ever")
    for _ in range(_HALVINGS):
        middle = low + 0.5 * (high - low)
        at = slope(middle)
        # what lies left of all targets is approached from the right
        below = xp.where(left, at <= rounding, at < -rounding)
        low, high = xp.where(below, middle, low), xp.where(below, high, middle)
    return xp.where(left, low, high)


def _within(xp: Namespace, slope: Callable[[Any], Any], near: Any, far: Any) -> tuple[Any, Any]:
    """Return what is farthest on the way where the loss is defined, and whether that is not all.

    Outside its domain a loss is NaN, and so is its slope.
    """

    def outside(c: Any) -> Any:
        return xp.isnan(slope(c))

    beyond = outside(far)
    if not xp.any(beyond):
        return far, beyond
    end = far
    for _ in range(_HALVINGS):
        middle = near + 0.5 * (end - near)
        wrong = outside(middle)
        near, end = xp.where(wrong, near, middle), xp.where(wrong, middle, end)
    return xp.where(beyond, near, far), beyond


def _counted(
    loss: Loss[...], xp: Namespace, y: Any, weight: Any, classes: int | None
) -> tuple[Any, Any, Any]:
    """Return scores of one row for each class, the classes, and what the labels of each weigh."""
    if kind(y.dtype) != "int":
        raise TypeError(
            f"tinyloss.constant_minimizer: y has dtype {y.dtype}, expected class indices, integers"
        )
    least, largest = int(xp.min(y)), int(xp.max(y))
    count = max(largest + 1, 1) if classes is None else classes
    if largest >= count:
        raise ValueError(
            f"tinyloss.constant_minimizer: y holds {largest}, expected class indices below "
            f"classes={count}"
        )
    zeros = xp.zeros((count, count), dtype=widest_dtype(xp, y), **beside(y))
    if least < 0:
        loss(zeros[:1, ...], xp.reshape(xp.min(y), (1,)))  # an error, unless it is ignored
    one = xp.zeros(tuple(y.shape), dtype=zeros.dtype, **beside(y)) + 1
    each = one if weight is None else one * astype(xp, bring(xp, y, weight), zeros.dtype)
    shares = [xp.sum(xp.where(y == label, each, 0.0)) for label in range(count)]
    return zeros, xp.arange(count, **beside(y)), xp.stack(shares)


def _of_classes(loss: Loss[...], xp: Namespace, zeros: Any, y: Any, weight: Any) -> Any:
    """Return the constant row by Newton's method with a diagonal, an upper bound in all but name.

    K / (K - 1) times the curvature of one class by itself is what Friedman (Greedy function
    approximation, 2001) takes for the K classes together: for shares that are alike it is exact.
    """
    derivatives: Any = grad_and_hess(loss, hess="boosting")
    count, items = zeros.shape[-1], tuple(range(len(zeros.shape) - 1))
    c, size = xp.sum(zeros, axis=items), None

    def slopes_at(number: Any) -> Any:
        return xp.sum(derivatives(zeros + number, y, weight=weight)[0])

    low, high, pace, last = -xp.inf, xp.inf, xp.ones_like(c), xp.zeros_like(c)
    for n in range(_STEPS):
        slopes, bends = derivatives(zeros + c, y, weight=weight)
        slope = xp.sum(slopes, axis=items)
        if xp.any(xp.isnan(slope)):
            # A domain that has an end has the same one for each class.
            far = xp.max(xp.abs(c))
            low, below = _within(xp, slopes_at, 0 * far, -far)
            high, above = _within(xp, slopes_at, 0 * far, far)
            low, high = xp.where(below, low, -xp.inf), xp.where(above, high, xp.inf)
            inside = xp.minimum(xp.maximum(c, low), high)
            if xp.all(inside == c):
                return c
            c = inside
            continue
        stays = ((c <= low) & (slope > 0)) | ((c >= high) & (slope < 0))
        slope = xp.where(stays, 0.0, slope)
        size = xp.sum(xp.abs(slopes)) if size is None else size
        if not xp.any(xp.abs(slope) > xp.finfo(zeros.dtype).eps * size):
            return c
        step = slope / xp.sum(bends, axis=items) * ((count - 1) / count)
        # Where a loss bends downwards its curvature is no guide: steps one way are ever longer.
        if n > _PATIENCE:
            pace = xp.where(xp.sign(step) == xp.sign(last), 1.25 * pace, 1.0)
        last = step
        # From an unlikely class, which hardly bends, it would go too far.
        c = c - xp.minimum(xp.maximum(pace * step, -1.0), 1.0)
        c = xp.minimum(xp.maximum(c, low), high)
    raise _no_minimum(f"does not settle within {_STEPS} steps")


def _no_minimum(what: str) -> ValueError:
    return ValueError(f"tinyloss.constant_minimizer: the loss {what}, expected one with a minimum")
