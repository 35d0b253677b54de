"""Lists as other losses have their arrays: y like x, a weight that says how often each counts."""

from typing import Any

from tinyloss._arrays import astype, compute_dtype, has_dtype, kind, of_rank, widest_dtype
from tinyloss._engine import registry
from tinyloss._engine.checks import (
    broadcasts,
    brought,
    check_weight,
    namespace_of,
    repeated,
    same_shape,
    show,
    show_shape,
)
from tinyloss._engine.request import Refusal, Request
from tinyloss._engine.settle import row_axes, without
from tinyloss.typing import Namespace


def spelled(request: Request) -> Request:
    """Return a request whose y is like x, and whose items weigh as often as they count."""
    try:
        xp = namespace_of(request.x)
        with registry.quiet(xp):
            if request.counts is not None:
                request = request._replace(weight=_weight(request, xp), counts=None)
            if request.y_of_rows:
                request = request._replace(y=_like_x(request, xp), y_of_rows=False)
    except Refusal as refusal:
        raise refusal.of(request.name) from None
    return request


def _like_x(request: Request, xp: Namespace) -> Any:
    """Return y with the number of a row for each of its elements."""
    x = request.x
    y = brought(xp, x, "y", request.y)
    (axis,) = row_axes(x, request.axis)
    items = without(x.shape, (axis,))
    if not same_shape(tuple(y.shape), items):
        raise Refusal(
            f"y has shape {show(y)}, expected {show_shape(items)}, one for each row of x of shape "
            f"{show(x)}"
        )
    if kind(y.dtype) == "float" and not has_dtype(request.y):  # a list widens nothing
        y = astype(xp, y, compute_dtype(xp, x))
    return repeated(xp, x, y, axis)


def _weight(request: Request, xp: Namespace) -> Any:
    x, counts = request.x, request.counts
    assert counts is not None
    axes = row_axes(x, request.axis)
    every: Any = None
    for name in counts:
        each = brought(xp, x, name, request.arrays[name])
        if not broadcasts(each.shape, x.shape):
            raise Refusal(
                f"{name} has shape {show(each)}, expected one that broadcasts to x's {show(x)}"
            )
        each = each if kind(each.dtype) == "bool" else each != 0
        every = each if every is None else every & each
    if not same_shape(tuple(every.shape), tuple(x.shape)):
        every = xp.broadcast_to(every, x.shape)
    dtype = widest_dtype(xp, x)
    number = xp.sum(astype(xp, every, dtype), axis=axes)
    if request.weight is None:
        return number
    items = without(x.shape, axes)
    weight = brought(xp, x, "weight", request.weight)
    check_weight(weight, items, None)
    return of_rank(xp, astype(xp, weight, dtype), len(items)) * number
