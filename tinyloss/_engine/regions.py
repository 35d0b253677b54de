"""Losses of regions: an item is what several axes make, such as the pixels of a class of an image.

    Request   whose x is `Regions`: the caller's array, what makes probabilities of it, a mask
       |      spelled: class indices become a number for each class, what counts an array `mass`
    Request   of probabilities, answered as any other
       |      pulled: from the gradient by probabilities to that by logits, in its place
    Answer

Probabilities take an array of x's size, and so does the gradient: there is no other. Where a
library differentiates by itself, both steps are its own to follow. Second derivatives by logits
follow from both by probabilities, by the chain rule: they take a few arrays more.
"""

from collections.abc import Mapping
from typing import Any

from tinyloss._arrays import (
    astype,
    beside,
    compiling,
    compute_dtype,
    dtype_name,
    has_dtype,
    index_dtype,
    is_torch,
    kind,
    move_axis,
    namespace,
    of_rank,
    with_axes,
    writeable,
)
from tinyloss._engine import registry
from tinyloss._engine.checks import (
    broadcasts,
    brought,
    check_booleans,
    check_items,
    namespace_of,
    same_shape,
    show,
    show_shape,
)
from tinyloss._engine.job import Answer, Argument, Domain, Job, Kind
from tinyloss._engine.request import Refusal, Regions, Request, Want, refuse_second
from tinyloss._engine.run import answer_of, as_wanted, fill, job_of, narrowed, run
from tinyloss._engine.settle import check_direction, class_axis, row_axes, without
from tinyloss._engine.targets import domain_of, look_at, may_look
from tinyloss._engine.weights import not_ignored
from tinyloss._formula import Formula, twisted
from tinyloss.typing import Namespace

MASS = "mass"
"""The array of a formula that says what elements count in its sums: 0 for not at all."""


def run_regions(request: Request, want: Want) -> Answer:
    """Answer a request whose predictions are of regions."""
    regions: Regions = request.x
    try:
        _refuse(request, want)
        spelled, counts = _spelled(request)
        if regions.activation is None:
            return run(spelled, want)
        logits = _Logits(spelled, regions, counts)
    except Refusal as refusal:
        raise refusal.of(request.name) from None
    return logits.answer(want)


def job_of_regions(request: Request, want: Want) -> Job:
    """Return the job that answers for the probabilities of a request."""
    regions: Regions = request.x
    try:
        spelled, counts = _spelled(request, looks=False)
        if regions.activation is not None:
            logits = _Logits(spelled, regions, counts)
            spelled = logits.of_probabilities()
    except Refusal as refusal:
        raise refusal.of(request.name) from None
    return job_of(as_wanted(spelled, want), want)


def _refuse(request: Request, want: Want) -> None:
    """Refuse a derivative that there is none of."""
    regions: Regions = request.x
    assert request.formula is not None
    if request.formula.in_order:
        refuse_second(want, ": its pixels are put in an order")
    if 1 in want.argnums:
        xp = namespace_of(regions.x)
        if _holds_indices(regions.x, brought(xp, regions.x, "y", request.y)):
            raise Refusal("has no derivative by y, which holds class indices", TypeError)


def _holds_indices(x: Any, y: Any) -> bool:
    """Return whether y has an axis fewer than x, the classes'."""
    return len(y.shape) == len(x.shape) - 1


# ------------------------------------------------------------------------------------- the target


def _spelled(request: Request, looks: bool = True) -> tuple[Request, Any]:
    """Return the request of the caller's array, with a target of its shape; and what counts.

    What counts are booleans of x's rank that broadcast to it; None for all. `looks`: whether the
    target is to be looked at, where that costs no wait.
    """
    regions: Regions = request.x
    x = regions.x
    xp = namespace_of(x)
    y = brought(xp, x, "y", request.y)
    _check_target(request, y)
    with registry.quiet(xp):
        has_own = has_dtype(request.y) or hasattr(request.y, "__array__")
        if kind(y.dtype) == "float" and not has_own:  # a list widens nothing
            y = astype(xp, y, compute_dtype(xp, x))
        mask = _mask(regions, xp)
        counts = _both(mask, _items_that_count(request, xp, x))
        if _holds_indices(x, y):
            y, known, kept = _one_hot(request, xp, y, counts, looks)
            mass, counts = _both(mask, known), _both(counts, kept)
        else:
            mass = mask
            domain = domain_of(_Shares, False, y)
            if looks and domain is not None and may_look(y):
                look_at(lambda: request, xp, y, domain, None, counts)
        if mask is not None and kind(y.dtype) != "bool":  # what is hidden may be anything
            y = xp.where(mask, y, xp.zeros_like(y))
        axis = request.axis
        if regions.present:
            request = request._replace(weight=_weight_of_present(request, xp, y, mass))
        if regions.of_classes is not None:
            mass, axis = _mass_of_classes(request, xp, y, mass)
    arrays = {} if mass is None else {MASS: mass}
    return request._replace(x=x, y=y, arrays=arrays, axis=axis, ignore_index=None), counts


def _weight_of_present(request: Request, xp: Namespace, y: Any, mass: Any) -> Any:
    """Return the weight of each item, 0 for one without anything to find."""
    x, axes = request.x.x, row_axes(request.x.x, request.axis)
    there = y if kind(y.dtype) == "bool" else y != 0
    if mass is not None:  # NaN, of an index that is no class, is to be seen
        there = there & (mass if kind(mass.dtype) == "bool" else mass != 0)
    some = xp.any(there, axis=axes)
    if request.weight is None:
        return astype(xp, some, compute_dtype(xp, x))
    weight = brought(xp, x, "weight", request.weight)
    check_items("weight", weight, without(x.shape, axes))
    return xp.where(some, weight, xp.zeros_like(weight))


def _both(one: Any, other: Any) -> Any:
    """Return what counts by one mask and by another; the second may be of numbers."""
    if one is None or other is None:
        return other if one is None else one
    return one & other if kind(other.dtype) == "bool" else namespace(one).where(one, other, 0.0)


def _mask(regions: Regions, xp: Namespace) -> Any:
    """Return the mask as an array of x's rank; None for none."""
    x = regions.x
    if regions.mask is None:
        return None
    mask = brought(xp, x, "mask", regions.mask)
    check_booleans("mask", mask)
    if not broadcasts(tuple(mask.shape), tuple(x.shape)):
        raise Refusal(f"mask has shape {show(mask)}, expected one that broadcasts to x's {show(x)}")
    return of_rank(xp, mask, len(x.shape))


def _items_that_count(request: Request, xp: Namespace, x: Any) -> Any:
    """Return whether items have a weight, as booleans that broadcast to x; None for all."""
    axes = row_axes(x, request.axis)
    if request.x.of_classes is not None:
        axes = tuple(sorted({*axes, _class_axis(request)}))
    items = without(x.shape, axes)
    counts = None
    for name in ("where", "weight"):
        given = getattr(request, name)
        if given is not None:
            array = brought(xp, x, name, given)
            check_items(name, array, items)
            array = of_rank(xp, array if kind(array.dtype) == "bool" else array != 0, len(items))
            counts = _both(counts, with_axes(array, axes))
    return counts


def _class_axis(request: Request) -> int:
    """Return the axis of the classes, none of those that an item is along."""
    regions: Regions = request.x
    axis = class_axis(regions.x, regions.class_axis, "class_axis")
    if axis in row_axes(regions.x, request.axis):
        raise Refusal(
            f"class_axis is {regions.class_axis!r} beside axis {request.axis!r} for x of shape "
            f"{show(regions.x)}, expected another axis: an item has the pixels of one class"
        )
    return axis


def _one_hot(
    request: Request, xp: Namespace, y: Any, counts: Any, looks: bool
) -> tuple[Any, Any, Any]:
    """Return whether each class is the one that y names, what each element counts, and which do.

    None for all. Where nobody looks, an element whose index is no class counts as NaN.
    """
    x, axis = request.x.x, _class_axis(request)
    kept = None if request.ignore_index is None else not_ignored(request, xp, x, y)
    y = astype(xp, y, index_dtype(xp, y))
    classes = x.shape[axis]
    domain = Domain("labels")
    weight = kept
    if counts is not None:  # for some class
        some = xp.any(counts, axis=axis)
        weight = some if kept is None else kept & some
    seen = not looks or (
        may_look(y)
        and look_at(
            lambda: request._replace(axis=request.x.class_axis), xp, y, domain, classes, weight
        )
    )
    known: Any = kept
    if not seen:
        right = domain.holds(y, classes)
        right = right if kept is None else right | ~kept
        number = xp.where(right, xp.ones_like(y, dtype=xp.float32), xp.nan)
        known = number if kept is None else xp.where(kept, number, 0.0)
    shape = [classes if n == axis else 1 for n in range(len(x.shape))]
    if classes < 128:  # bytes are compared faster, and what is no class does not count
        y = xp.astype(y, xp.int8)
    index = xp.reshape(xp.arange(classes, dtype=y.dtype, **beside(x)), tuple(shape))
    hot = xp.expand_dims(y, axis=axis) == index
    known, kept = (
        None if each is None else xp.expand_dims(each, axis=axis) for each in (known, kept)
    )
    return hot, known, kept


class _Shares(Formula):
    """Stands for the formulas of regions, whose targets are probabilities."""

    binary = True


def _check_target(request: Request, y: Any) -> None:
    """Refuse a target that neither has x's shape nor holds class indices."""
    x, regions, ndim = request.x.x, request.x, len(request.x.x.shape)
    if same_shape(tuple(y.shape), tuple(x.shape)):
        if request.ignore_index is not None:
            raise Refusal(
                "ignore_index is for class indices, expected mask= beside a target of x's shape"
            )
        return
    came, indices = show(y), ""
    if ndim > 1 and -ndim <= regions.class_axis < ndim:
        shape = without(x.shape, (regions.class_axis % ndim,))
        indices = f" or {show_shape(shape)} of integers (class indices, class_axis is "
        indices += f"{regions.class_axis})"
        if same_shape(tuple(y.shape), shape):
            if kind(y.dtype) != "float":
                return
            came += f" of dtype {dtype_name(y.dtype)}"
    raise Refusal(f"y has shape {came}, expected {show(x)} (the shape of x){indices}")


def _mass_of_classes(
    request: Request, xp: Namespace, y: Any, mass: Any
) -> tuple[Any, tuple[int, ...]]:
    """Return what elements of each class count, and the axes of a row, the classes' among them."""
    regions: Regions = request.x
    x, own = regions.x, _class_axis(request)
    axes = row_axes(x, request.axis)
    dtype = compute_dtype(xp, x)
    target, mass = astype(xp, y, dtype), None if mass is None else astype(xp, mass, dtype)
    sizes = xp.sum(target if mass is None else target * mass, axis=axes, keepdims=True)
    assert regions.of_classes is not None
    each = regions.of_classes(xp, sizes, own)
    return each if mass is None else each * mass, tuple(sorted({*axes, own}))


# ------------------------------------------------------------------------------- by an activation


class _Logits:
    """A request of logits, whose probabilities an activation makes."""

    def __init__(self, request: Request, regions: Regions, counts: Any) -> None:
        activation = regions.activation
        assert activation is not None
        self._request, self._activation = request, activation
        x = request.x
        self._xp = xp = namespace_of(x)
        axis = regions.class_axis
        self._axis = class_axis(x, axis, "class_axis") if activation.rowwise else None
        self._of_classes = regions.of_classes is not None
        y = request.y
        wide = (y,) if has_dtype(y) and kind(y.dtype) == "float" else ()
        self._dtype = compute_dtype(xp, x, *wide)
        self._weight = None if counts is None else self._weight_of(counts)

    def answer(self, want: Want) -> Answer:
        """Return the answer, with gradients by the logits."""
        xp, request = self._xp, self._request
        inner = self.of_probabilities()
        if 0 not in want.argnums:
            return run(inner, want)
        # Where rounding is still to come, or torch may have to remember it, nothing is written yet.
        at_once = not is_torch(inner.x) and all(each.dtype == self._dtype for each in want.out)
        if want.curvature or want.direction is not None:
            at_once = False
            answer = (self._bent if want.curvature else self._along)(inner, want)
        else:
            answer = run(inner, want._replace(out=want.out if at_once else (), wide=True))
            with registry.quiet(xp):
                grads = tuple(
                    [
                        self._pulled(grad, inner.x) if number == 0 else grad
                        for number, grad in zip(want.argnums, answer.grads, strict=True)
                    ]
                )
            answer = answer._replace(grads=grads)
        if want.out and at_once:
            return answer
        if not want.wide:
            answer = narrowed(answer, want, [request.x, request.y])
        return fill(request.name, answer, want.out) if want.out else answer

    def of_probabilities(self) -> Request:
        """Return the request of probabilities."""
        request = self._request
        x = self._applied(self._activation, {"x": request.x}).value
        return request._replace(x=x, params={**request.params, "balanced": True})

    def _along(self, inner: Request, want: Want) -> Answer:
        """Return the Hessian by the logits times a direction, as the gradient.

        By the chain rule: that by probabilities along the way that these go, pulled back; and what
        the pull itself turns.
        """
        xp, request = self._xp, self._request
        try:
            along = brought(xp, request.x, "direction", want.direction)
            check_direction(request, along)
        except Refusal as refusal:
            raise refusal.of(request.name) from None
        of_gradient = want._replace(remade=None, direction=None, out=(), wide=True)
        gradient = run(inner, of_gradient).grads[0]
        with registry.quiet(xp):
            along = astype(xp, along, self._dtype)
            way = self._pulls({"x": along, "y": inner.x}).grads[0]
        turned = run(inner, want._replace(direction=way, out=(), wide=True)).grads[0]
        with registry.quiet(xp):
            arrays = {"x": gradient, "y": inner.x, "turned": turned, "along": along}
            return self._pulls(arrays)

    def _bent(self, inner: Request, want: Want) -> Answer:
        """Return each item's gradient and curvature by the logits."""
        xp = self._xp
        wide = want._replace(remade=None, out=(), wide=True)
        _, (gradient,), bend = run(inner, wide)
        second = {"bend": bend}
        if self._axis is not None and self._of_classes:  # a row's classes move together
            each = inner._replace(weight=None, where=None, reduction="none", denominator=None)
            twist = Want(value=False, argnums=(0,), remade=twisted, wide=True)
            second = {"twist": run(each, twist).grads[0]}
        with registry.quiet(xp):
            answer = self._pulls({"x": gradient, "y": inner.x, **second}, curvature=True)
            if want.remade is None:
                return answer
            return answer._replace(curvature=self._above_0(answer.curvature))

    def _above_0(self, curvature: Any) -> Any:
        """Return a curvature for boosting: where it is not above 0, the weight of a class.

        The largest of them, where a logit moves all.
        """
        xp, request = self._xp, self._request
        axes = row_axes(request.x, request.axis)
        count = len(request.x.shape) - len(axes)
        weights = xp.ones_like(curvature)
        for name in ("weight", "where"):
            given = getattr(request, name)
            if given is not None:
                weight = astype(xp, brought(xp, request.x, name, given), self._dtype)
                weight = with_axes(of_rank(xp, weight, count), axes)
                weights = xp.where(weight == 0, 0.0, weights * weight)
        if self._axis is not None:
            weights = xp.max(weights, axis=self._axis, keepdims=True)
        return xp.where(curvature <= 0, weights, curvature)

    def _pulled(self, gradient: Any, x: Any) -> Any:
        """Return the gradient by the logits, in the place of that by x where it can be written."""
        place = gradient if self._may_write(gradient) else None
        return self._pulls({"x": gradient, "y": x}, place).grads[0]

    def _pulls(
        self, arrays: Mapping[str, Any], place: Any = None, curvature: bool = False
    ) -> Answer:
        pull = self._activation.pulled_by
        assert pull is not None
        return self._applied(pull, arrays, place, curvature)

    @staticmethod
    def _may_write(array: Any) -> bool:
        # torch may have to remember it
        return not compiling() and not is_torch(array) and writeable(array)

    def _applied(
        self,
        formula: type[Formula],
        arrays: Mapping[str, Any],
        place: Any = None,
        curvature: bool = False,
    ) -> Answer:
        """Return a formula's value or, of two arrays, its gradient, where the caller has axes."""
        xp, axis = self._xp, self._axis
        pulls = len(arrays) > 1
        of_call = Kind(
            formula=formula,
            arguments=tuple([Argument(n, a.dtype, formula.role(n)) for n, a in arrays.items()]),
            dtype=self._dtype,
            weighted=self._weight is not None,
            reduce=False,
            value=not pulls,
            grads=("x",) if pulls else (),
            curvature=curvature,
            value_dtype=self._dtype,
        )
        moved = {name: self._to_end(each) for name, each in arrays.items()}
        out = () if place is None else (self._to_end(place),)
        found = answer_of(Job(of_call, xp, moved, self._weight, out=out))
        if axis is None:
            return found
        if pulls:
            back = place if place is not None else move_axis(xp, found.grads[0], -1, axis)
            bent = move_axis(xp, found.curvature, -1, axis) if curvature else None
            return found._replace(grads=(back,), curvature=bent)
        return found._replace(value=move_axis(xp, found.value, -1, axis))

    def _to_end(self, array: Any) -> Any:
        return array if self._axis is None else move_axis(self._xp, array, self._axis, -1)

    def _weight_of(self, counts: Any) -> Any:
        """Return the weight of each item of the activation: 0 where no loss depends on it."""
        xp = self._xp
        if self._axis is not None:
            counts = xp.any(counts, axis=self._axis)  # of some class
        return astype(xp, counts, self._dtype)
