"""A request settled: checked, its arrays brought to one library and layout, its kind told."""

from collections.abc import Mapping
from functools import partial
from numbers import Integral
from typing import Any, NamedTuple
from warnings import warn

from tinyloss._arrays import (
    astype,
    beside,
    compute_dtype,
    dtype_name,
    index_dtype,
    is_host,
    kind,
    library,
    move_axis,
    result_dtype,
    widest_dtype,
)
from tinyloss._calls import other_reduction, users_level
from tinyloss._engine import registry
from tinyloss._engine.checks import (
    broadcasts,
    brought,
    check_apart,
    check_out,
    each_row,
    namespace_of,
    one_more,
    other_axis,
    same_shape,
    show,
    show_shape,
)
from tinyloss._engine.job import Argument, Job, Kind, Weighing
from tinyloss._engine.request import REDUCTIONS, Refusal, Request, Want
from tinyloss._engine.targets import domain_of, look_at, may_look
from tinyloss._engine.weights import Weights, mask_of, normal
from tinyloss._formula import NUMBER, Formula, exact
from tinyloss._rows import Rows
from tinyloss.typing import Namespace


class Settled(NamedTuple):
    """A job, and what its answer lacks of what was asked."""

    job: Job
    axis: int | None = None
    """Where results have the class axis, if not at the end."""
    total: Any = None
    """The sum of the weights, where sums are wanted."""
    replays: bool = False
    """Whether nothing but what the arrays hold can change it."""
    weighing: Weighing | None = None
    """What a backend has to find by itself to answer such calls of few items at once."""
    given: tuple[Any, ...] = ()
    """The arrays for that."""


def settle(request: Request, want: Want) -> Settled:
    """Check a request and settle it."""
    if request.reduction not in REDUCTIONS:
        raise Refusal(
            f'reduction is {request.reduction!r}, expected "mean", "sum" or "none"'
            + other_reduction(request.reduction)
        )
    if want.sums and (request.reduction != "mean" or request.denominator is not None):
        what = "denominator" if request.reduction == "mean" else "reduction"
        raise Refusal(f"{what} is {getattr(request, what)!r}, expected a plain mean to take apart")
    if want.curvature:
        request = request._replace(reduction="none", denominator=None)
    xp = namespace_of(request.x)
    with registry.quiet(xp):
        return _settle(request, want, xp)


def _settle(request: Request, want: Want, xp: Namespace) -> Settled:
    x, axis = request.x, None
    y = brought(xp, x, "y", request.y)
    more = _further(request, xp, x)
    formula, rows = request.formula, None
    if formula is None or formula.rowwise:
        formula, x, y, axis = _settle_rows(request, xp, x, y)
        items, rows = x.shape[:-1], _rows(request, xp, x)
    else:
        items = x.shape
        y = _settle_elements(xp, formula, x, y)
    labels = formula.role("y").integer
    # A list or a number has no dtype of its own to widen the computation by.
    has_dtype = hasattr(request.y, "dtype") or hasattr(request.y, "__array__")
    dtype = compute_dtype(xp, x, *((y,) if has_dtype and not labels else ()))
    if not has_dtype and not labels and kind(y.dtype) == "float":
        y = astype(xp, y, dtype)
    for name, array in more.items():
        if not hasattr(request.arrays[name], "dtype") and kind(array.dtype) == "float":
            more[name] = astype(xp, array, dtype)

    class_weight = None
    if request.class_weight is not None:
        class_weight = brought(xp, x, "class_weight", request.class_weight)
        if not same_shape(class_weight.shape, x.shape[-1:]):
            raise Refusal(
                f"class_weight has shape {show(class_weight)}, expected ({x.shape[-1]},), "
                "one weight for each class"
            )
    mask = mask_of(request, xp, x, y, items)
    if labels:
        y = astype(xp, y, index_dtype(xp, y))
    warns = formula.compares_classes and x.shape[-1] == 1 and request.axis_name is None
    if warns:
        warn(
            f"tinyloss.{request.name}: x has one class, whose probability is always 1, so that the "
            "loss says nothing; binary_cross_entropy_with_logits is for one logit",
            RuntimeWarning,
            stacklevel=users_level(),
        )
    weights = Weights(
        request, xp, formula, x, y, labels, class_weight, rows, mask, items, dtype, want.sums
    )
    if weights.of_classes is not None:
        more["class_weight"] = weights.of_classes
    classes = None if rows is None else rows.length()
    domain = domain_of(formula, labels, y)
    unchecked, look, value = domain is not None, None, want.value
    if domain is not None and may_look(y):
        look = partial(look_at, request, xp, y, domain, classes, weights.item)
        # Looking waits for a NaN in the value, or in what stands for it.
        if request.reduction != "none" and not want.out and is_host(x) and is_host(y):
            value = True
        else:
            unchecked, look = not look(), None
    arrays = {"x": x, "y": y, **more}
    held, numbers, static = _parameters(request, xp, x, formula, dtype)
    divisor, total, value_dtype = weights.divisor(), None, None
    if want.sums:
        # Sums over the parts of a whole go on to be added up: of the widest dtype there is.
        value_dtype = widest_dtype(xp, x)
        total, divisor = weights.sums()
        if isinstance(total, (int, float)):
            total = xp.asarray(total, dtype=value_dtype, **beside(x))[()]  # NumPy's are scalars
    arguments = [Argument(name, each.dtype, formula.role(name)) for name, each in arrays.items()]
    arguments += [Argument(name, each.dtype, NUMBER) for name, each in held.items()]
    grads = tuple([_argument(formula, arrays, labels, number) for number in want.argnums])
    # kernels that would be the same are not compiled twice
    wide = want.wide and any(
        result_dtype(arrays[name].dtype, dtype) != dtype for name in (*grads, "x")
    )
    whole = request.axis_name is None
    of_call = Kind(
        formula=formula,
        arguments=tuple(arguments),
        dtype=dtype,
        static=static,
        static_key=exact(tuple(static.items())),
        numbers=tuple(numbers),
        weighted=weights.item is not None,
        divided=divisor is not None,
        reduce=request.reduction != "none",
        value=value,
        grads=grads,
        curvature=want.curvature,
        value_dtype=value_dtype,
        unchecked=domain if unchecked else None,
        watched=value and not want.value,
        axis_name=request.axis_name,
        classes=None if whole else classes,
        wide=wide,
    )
    out = want.out
    if out:
        for name, into in zip([*grads, "x"][: len(out)], out, strict=True):
            array = arrays[name]
            shape = tuple(array.shape)
            if axis is not None:
                shape = (*shape[:axis], shape[-1], *shape[axis:-1])
            check_out(xp, into, shape, result_dtype(array.dtype, dtype))
        check_apart(xp, out)
        if axis is not None:
            out = tuple([move_axis(xp, into, axis, -1) for into in out])
    job = Job(
        of_call,
        xp,
        {**arrays, **held},
        weights.item,
        divisor,
        numbers,
        out,
        request.ignore_index,
        look,
    )
    plain = axis is None and not want.sums and not held and is_host(x)
    if not plain or not (
        request.denominator is None or isinstance(request.denominator, float | int)
    ):
        return Settled(job, axis, total)
    given = {
        name: each
        for name in ("weight", "where", "class_weight")
        if (each := getattr(request, name)) is not None
    }
    # What such a formula's mean divides by is known from the arrays alone.
    if "class_weight" in given and (not labels or "class_weight" in formula.roles):
        return Settled(job, axis, total)
    looks = domain is not None and may_look(y)
    if job.weight is None and not out and (domain is None or look is not None or not looks):
        return Settled(job, axis, total, replays=True)
    mean = request.reduction == "mean" and request.denominator is None
    ignores = request.ignore_index is not None
    weighing = Weighing(tuple(given), domain if looks else None, ignores, mean)
    return Settled(job, axis, total, True, weighing, tuple(given.values()))


def _further(request: Request, xp: Namespace, x: Any) -> dict[str, Any]:
    """Return the arrays besides x and y, which broadcast to x."""
    more: dict[str, Any] = {}
    for name, given in request.arrays.items():
        array = more[name] = brought(xp, x, name, given)
        if not broadcasts(array.shape, x.shape):
            raise Refusal(
                f"{name} has shape {show(array)}, expected one that broadcasts to x's {show(x)}"
                + each_row(name, array.shape, x.shape)
            )
    return more


def _settle_elements(xp: Namespace, formula: type[Formula], x: Any, y: Any) -> Any:
    """Return the target of a loss of elements, checked."""
    if not same_shape(y.shape, x.shape):
        raise Refusal(
            f"y has shape {show(y)}, expected {show(x)}, the shape of x"
            + one_more(x.shape, y.shape)
        )
    takes_some = formula.binary or formula.signed
    if takes_some and kind(x.dtype) == "int" and kind(y.dtype) == "float":
        raise Refusal(
            f"x has dtype {dtype_name(x.dtype)} beside y of dtype {dtype_name(y.dtype)}, "
            "expected a floating prediction first, then the target",
            TypeError,
        )
    if formula.signed and kind(y.dtype) == "bool":
        return xp.astype(y, xp.float32) * 2 - 1
    return y


def _parameters(
    request: Request, xp: Namespace, x: Any, formula: type[Formula], dtype: Any
) -> tuple[dict[str, Any], dict[str, float], dict[str, Any]]:
    """Return the parameters that are held in arrays, that are numbers, and that choose a program.

    A float is a number of the call; what is an integer, a boolean or a word chooses the program.
    """
    held: dict[str, Any] = {}
    numbers: dict[str, float] = {}
    static: dict[str, Any] = {}
    for name, value in request.params.items():
        if formula.steady:
            static[name] = value
        elif isinstance(value, float):
            numbers[name] = value
        elif not hasattr(value, "dtype"):
            static[name] = value
        elif is_host(value):
            numbers[name] = float(value)
        else:
            held[name] = brought(xp, x, name, value)
    return held, normal(numbers, xp, dtype), normal(static, xp, dtype)


def _settle_rows(
    request: Request, xp: Namespace, x: Any, y: Any
) -> tuple[type[Formula], Any, Any, int | None]:
    """Tell labels from a target of x's shape; bring the class axis to the end."""
    axis, ndim = class_axis(x, request.axis), len(x.shape)
    items = (*x.shape[:axis], *x.shape[axis + 1 :])
    formula, expected = request.formula, x.shape
    if formula is None or (request.labels is not None and len(y.shape) != ndim):
        formula, expected = request.labels, items
    if formula is None or not same_shape(y.shape, expected):
        shapes = [] if request.labels is None else [f"{show_shape(items)} (class indices)"]
        shapes += [] if request.formula is None else [f"{show(x)} (the shape of x)"]
        raise Refusal(
            f"y has shape {show(y)}, expected {' or '.join(shapes)} for x of shape {show(x)}"
            + (f" with the classes along axis {request.axis}" if axis != ndim - 1 else "")
            + (one_more(items, y.shape) if request.labels is not None else "")
            + other_axis(x.shape, y.shape, axis)
        )
    if formula is request.labels:
        if kind(y.dtype) == "float" and 0 not in y.shape:  # an empty list has any dtype
            raise Refusal(
                f"y has dtype {dtype_name(y.dtype)}, expected integers: with one dimension fewer "
                "than x it holds class indices; if they are, convert them (astype to int64)",
                TypeError,
            )
    elif request.ignore_index is not None:
        raise Refusal(
            "ignore_index is for class indices, expected where= beside a target of x's shape"
        )
    if axis == ndim - 1:
        return formula, x, y, None
    x = move_axis(xp, x, axis, -1)
    return formula, x, y if formula is request.labels else move_axis(xp, y, axis, -1), axis


def _rows(request: Request, xp: Namespace, x: Any) -> Rows:
    """Return what is done over the classes, which x has in its last dimension or a part of them."""
    axis_name = request.axis_name
    if axis_name is None:
        return Rows(xp, x)
    split = getattr(registry.backend_of(xp), "split_rows", None)
    if split is None:
        raise Refusal(
            f"axis_name is {axis_name!r}, expected None for arrays of {library(xp)}: only JAX maps "
            "axes",
            TypeError,
        )
    try:
        rows: Rows = split(x, axis_name)
    except (NameError, TypeError) as error:
        raise Refusal(
            f"axis_name is {axis_name!r}, expected the name of an axis that is mapped where the "
            f"loss is called ({error})"
        ) from None
    return rows


def class_axis(x: Any, axis: Any) -> int:
    """Return the class axis, counted from the front."""
    ndim = len(x.shape)
    if ndim == 0:
        raise Refusal("x is 0-d, expected at least the class axis")
    integer = type(axis) is int or (isinstance(axis, Integral) and not isinstance(axis, bool))
    if not integer or not -ndim <= int(axis) < ndim:
        raise Refusal(f"axis is {axis!r}, expected an integer from {-ndim} to {ndim - 1}")
    if x.shape[axis] == 0:
        raise Refusal(f"x has shape {show(x)}: no class along axis {axis}")
    return int(axis) % ndim


def _argument(formula: type[Formula], arrays: Mapping[str, Any], labels: bool, argnum: int) -> str:
    """Return the name of the argument to differentiate by."""
    names = list(arrays)
    if not 0 <= argnum < len(names):
        raise Refusal(f"argnums holds {argnum!r}, expected integers from 0 to {len(names) - 1}")
    name = names[argnum]
    if labels and name == "y":
        raise Refusal("has no derivative by y, which holds class indices", TypeError)
    if not hasattr(formula, f"grad_{name}"):
        raise Refusal(f"has no derivative by {name}", TypeError)
    if not same_shape(arrays[name].shape, arrays["x"].shape):
        raise Refusal(
            f"{name} has shape {show(arrays[name])}, expected {show(arrays['x'])}, "
            "the shape of x, to differentiate by it"
        )
    return name
