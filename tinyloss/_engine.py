"""One call, from the caller's arrays to the answer.

    Request   what a public function was asked: formulas, arrays, options
       |      settle: namespace, dtype, shapes, class axis last, labels, weights, divisor
    Job       everything settled; every reduction is sum(value * weight) / divisor
       |      a backend's run(job), or, where it declines, the formulas run eagerly
    Answer    value, gradients, curvature, in the caller's library and on its device

Knows no formula and no library.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from math import prod
from numbers import Integral
from types import MappingProxyType
from typing import Any, Literal, NamedTuple
from weakref import WeakKeyDictionary

from tinyloss import _backends
from tinyloss._arrays import (
    astype,
    bring,
    compute_dtype,
    device,
    dtype_name,
    index_dtype,
    is_host,
    kind,
    library,
    looks,
    namespace,
    result_dtype,
    widest_dtype,
    writeable,
)
from tinyloss._formula import Formula, exact
from tinyloss._rows import Rows
from tinyloss.typing import Namespace

__all__ = [
    "REDUCTIONS",
    "Answer",
    "Job",
    "Request",
    "Want",
    "answer_of",
    "fill",
    "run",
    "transform",
    "validation",
]

_NOTHING: Mapping[str, Any] = MappingProxyType({})

REDUCTIONS = ("mean", "sum", "none")

_validation: ContextVar[str] = ContextVar("tinyloss.validation", default="auto")


@contextmanager
def validation(mode: Literal["always", "auto", "never"], /) -> Generator[None]:
    """Choose whether class indices are looked at before they are used.

    A class index out of range is an error where it is seen, and gives NaN for that item's loss and
    its row of the gradient where it is not.

    Parameters
    ----------
    mode
        "auto" (the default): look where it is free, at eager arrays on the CPU. "always": look
        at every array, which waits for the device, computes a lazy array, and is an error under
        tracing. "never": do not look.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> with tinyloss.validation("never"):
    ...     tinyloss.cross_entropy(np.zeros((1, 3)), np.array([7])).item()
    nan
    """
    if mode not in ("always", "auto", "never"):
        raise ValueError(
            f'tinyloss.validation: mode is {mode!r}, expected "always", "auto" or "never"'
        )
    token = _validation.set(mode)
    try:
        yield
    finally:
        _validation.reset(token)


class Request(NamedTuple):
    """What a public function was asked."""

    formula: type[Formula] | None
    """The formula for a target of x's shape; None where there is none."""
    x: Any
    y: Any
    weight: Any
    where: Any
    reduction: str
    denominator: Any
    params: Mapping[str, Any] = _NOTHING
    """Parameters of the formula: Python values, already checked."""
    arrays: Mapping[str, Any] = _NOTHING
    """Further arrays of the formula, broadcasting to x (variance, pos_weight)."""
    axis: int = -1
    """The class axis of a rowwise loss."""
    labels: type[Formula] | None = None
    """The formula for class indices; None where y cannot hold them."""
    class_weight: Any = None
    ignore_index: int | None = None
    axis_name: Any = None
    """The mapped axis whose members hold a part of the classes each; None where x has them all."""

    @property
    def name(self) -> str:
        """The public function's name."""
        formula = self.formula or self.labels
        assert formula is not None
        return formula.name


class Want(NamedTuple):
    """Which parts of the answer are wanted."""

    value: bool
    argnums: tuple[int, ...] = ()
    curvature: bool = False
    out: tuple[Any, ...] = ()
    """Arrays to write the gradients into, then the curvature if wanted; none: new ones."""
    sums: bool = False
    """Whether what the mean divides is wanted: the value is a pair of sums, of the weighted losses
    and of the weights, and gradients are those of the first."""
    source: Any = None
    """A backend: not the answer is wanted but the text of the kernel that would give it."""


class Answer(NamedTuple):
    """The loss, a gradient for each argument asked for, the diagonal of the Hessian."""

    value: Any
    grads: tuple[Any, ...] = ()
    curvature: Any = None


@dataclass(slots=True)
class Job:
    """A request with everything settled: what a backend gets.

    The value is sum(value * weight) / divisor if `reduce`, else value * weight / divisor item by
    item; gradients and curvature are scaled alike. An item of weight 0 contributes nothing,
    whatever its inputs: NaN and infinities of it reach no result. Gradients and curvature keep
    the class axis last and come in their argument's dtype if that is floating, else in `dtype`.
    """

    xp: Namespace
    formula: type[Formula]
    arrays: dict[str, Any]
    """x, y and the formula's further arrays, in the caller's dtypes, class axis last."""
    params: Mapping[str, Any]
    dtype: Any
    """The floating dtype to compute in."""
    labels: bool
    """Whether y holds class indices, one for each row."""
    weight: Any
    """Broadcasts to the items; None for 1."""
    divisor: Any
    """A number or 0-d array; None for 1."""
    reduce: bool
    value: bool
    grads: tuple[str, ...]
    """Names of the arguments to differentiate by."""
    curvature: bool
    value_dtype: Any = None
    """The dtype of the value, None for `dtype`."""

    out: tuple[Any, ...] = ()
    """Arrays to write the gradients and the curvature into; none: new ones."""
    unchecked: bool = False
    """Whether class indices may be out of range: such an item weighs NaN."""
    axis_name: Any = None
    """The mapped axis whose members hold a part of the classes each."""
    classes: int | None = None
    """The number of classes where x does not have them all."""

    def evaluate(self) -> Answer:
        """Answer by running the formulas eagerly, in the arrays' own library."""
        xp = self.xp
        if 0 in self.arrays["x"].shape:
            return self.deliver(self._nothing())
        arrays = {
            name: array if self.labels and name == "y" else astype(xp, array, self.dtype)
            for name, array in self.arrays.items()
        }
        return self.deliver(self.finished(self.items(arrays, self.weight, self.divisor)))

    def finished(self, answer: Answer) -> Answer:
        """Return the answer to all items: reduced, in the dtypes that results have."""
        xp = self.xp
        value, grads, curvature = answer
        if value is not None:
            value = self.total(xp.sum(value)) if self.reduce else value
            value = astype(xp, value, self.value_dtype or self.dtype)
        grads = tuple([self._rounded(g, n) for g, n in zip(grads, self.grads, strict=True)])
        if curvature is not None:
            curvature = self._rounded(curvature, "x")
        return Answer(value, grads, curvature)

    def items(self, arrays: Mapping[str, Any], weight: Any, divisor: Any) -> Answer:
        """Return the value of each item times its weight, gradients and curvature also divided.

        Takes the arrays in the dtype to compute in. Straight lines, as the formulas: so a whole
        job can be recorded.
        """
        rowwise, given = self.formula.rowwise, arrays
        if weight is not None:
            arrays = self._selected(arrays, weight)
        if self.unchecked:
            weight = self._poisoned(given, weight)
        formula = self.formula(**arrays, **self.params)
        value = curvature = None
        if self.value:
            value = formula.value()
            if weight is not None:
                value = value * weight
        scale: Any = weight
        if divisor is not None:  # one division for each item at most, not for each class
            scale = (1.0 if weight is None else weight) / divisor
        if weight is not None and rowwise:
            scale = scale[..., None]

        def scaled(result: Any) -> Any:
            return result if scale is None else result * scale

        grads = tuple([scaled(getattr(formula, f"grad_{name}")()) for name in self.grads])
        if self.curvature:
            curvature = scaled(formula.curvature())
        return Answer(value, grads, curvature)

    def _selected(self, arrays: Mapping[str, Any], weight: Any) -> dict[str, Any]:
        """Return the arrays with items of weight 0 replaced by harmless ones.

        Replaced before the formulas, not after, so that autodiff through them sees no NaN either.
        Every loss is finite where all its arguments are 1 (label 0).
        """
        where = namespace(weight).where
        keep = weight != 0
        of_classes = keep[..., None] if self.formula.rowwise else keep
        selected = dict(arrays)
        for name, array in arrays.items():
            if self.labels and name == "y":
                selected[name] = where(keep, array, 0)
            elif name != "class_weight":
                selected[name] = where(of_classes, array, 1.0)
        return selected

    def _poisoned(self, arrays: Mapping[str, Any], weight: Any) -> Any:
        """Return the weights of the items, NaN for a class index out of range that weighs."""
        x, y = arrays["x"], arrays["y"]
        xp = namespace(x)
        right = (y >= 0) & (y < (x.shape[-1] if self.classes is None else self.classes))
        if weight is None:
            return xp.where(right, astype(xp, right, self.dtype), xp.nan)
        return xp.where(right | (weight == 0), weight, xp.nan)

    def total(self, value: Any) -> Any:
        """Return the reduced value from the sum over all items."""
        return value if self.divisor is None else value / self.divisor

    def deliver(self, answer: Answer) -> Answer:
        """Return an answer with its derivatives in the arrays given for them, if any."""
        return _write(answer, self.out) if self.out else answer

    def _rounded(self, result: Any, name: str) -> Any:
        """Return a derivative rounded to its argument's dtype."""
        return astype(self.xp, result, result_dtype(self.arrays[name].dtype, self.dtype))

    def _nothing(self) -> Answer:
        """Answer for no items: not every library takes the maximum of nothing."""
        xp, x = self.xp, self.arrays["x"]
        like = x[..., 0] if self.formula.rowwise and self.formula.per_item else x
        value = xp.zeros_like(like, dtype=self.value_dtype or self.dtype)
        *grads, curvature = [
            xp.zeros_like(array, dtype=result_dtype(array.dtype, self.dtype))
            for array in [self.arrays[name] for name in (*self.grads, "x")]
        ]
        return Answer(
            xp.sum(value) if self.reduce else value,
            tuple(grads),
            curvature if self.curvature else None,
        )


_KEPT = 256
_settled: WeakKeyDictionary[type[Formula], dict[Any, Job]] = WeakKeyDictionary()
"""For each formula, jobs of requests for nothing but two arrays of the CPU, without their arrays.
Requests that are alike in types, shapes, dtypes and options are settled alike; for small arrays
settling takes longer than the loss."""


def _settle_again(request: Request, want: Want) -> tuple[Job, int | None]:
    """Settle a request, as one like it was if there was one."""
    x, y = request.x, request.y
    if (
        type(x) is not type(y)
        or not is_host(x)
        or want.out
        or request.arrays
        or request.weight is not None
        or request.where is not None
        or request.class_weight is not None
        or request.ignore_index is not None
        or request.axis_name is not None
        or not (request.denominator is None or type(request.denominator) in (int, float))
        # True is as good a key as 1, a list is none
        or type(request.axis) is not int
        or type(request.reduction) is not str
    ):
        return _settle(request, want)
    formula = request.formula or request.labels
    assert formula is not None
    settled = _settled.get(formula)
    if settled is None:
        settled = _settled.setdefault(formula, {})
    key: Any = (
        # a formula's own dictionary must not hold it
        request.labels if request.formula is not None else None,
        want,
        request.reduction,
        request.denominator,
        request.axis,
        *[(name, exact(value)) for name, value in request.params.items()],
        type(x),  # a masked array is refused whatever went before
        x.shape,
        x.dtype,
        y.shape,
        y.dtype,
    )
    kept = settled.get(key)
    if kept is None:
        job, axis = _settle(request, want)
        arrays = job.arrays
        if axis is None and arrays["x"] is x and arrays["y"] is y and job.weight is None:
            if len(settled) >= _KEPT:
                settled.clear()
            settled[key] = replace(job, formula=Formula, arrays={})  # which it must not hold
        return job, axis
    unchecked = kept.labels and not _check_labels(
        request, kept.xp, y, x.shape[-1], None, x.shape[:-1]
    )
    chosen = request.labels if kept.labels else request.formula
    assert chosen is not None
    job = Job(
        kept.xp,
        chosen,
        {"x": x, "y": y},
        kept.params,
        kept.dtype,
        kept.labels,
        None,
        kept.divisor,
        kept.reduce,
        kept.value,
        kept.grads,
        kept.curvature,
        unchecked=unchecked,
    )
    return job, None


def run(request: Request, want: Want) -> Answer:
    """Answer a request."""
    total = None
    try:
        if want.sums:
            job, axis, total = _settle_sums(request, want)
        else:
            job, axis = _settle_again(request, want)
    except _Refusal as refusal:
        raise refusal.kind(f"tinyloss.{request.name}: {refusal}") from None
    if want.source is not None:
        return Answer(want.source.source(job))
    answer = _answer_with_moving_divisor(job) if _divisor_moves(request, job) else answer_of(job)
    if want.sums:
        answer = answer._replace(value=(answer.value, total))
    if want.out:
        return _with(answer, want.out)
    if axis is not None:
        moved = tuple(job.xp.moveaxis(grad, -1, axis) for grad in answer.grads)
        curvature = answer.curvature
        if curvature is not None:
            curvature = job.xp.moveaxis(curvature, -1, axis)
        answer = Answer(answer.value, moved, curvature)
    return answer


def fill(name: str, answer: Answer, out: tuple[Any, ...]) -> Answer:
    """Write an answer's derivatives into the arrays that a caller gave, if they can take them."""
    try:
        for into, result in zip(out, _derivatives(answer), strict=True):
            _check_out(namespace(result), into, tuple(result.shape), result.dtype)
    except _Refusal as refusal:
        raise refusal.kind(f"tinyloss.{name}: {refusal}") from None
    return _write(answer, out)


def _write(answer: Answer, out: tuple[Any, ...]) -> Answer:
    for into, result in zip(out, _derivatives(answer), strict=True):
        if into is not result:
            into[...] = result
    return _with(answer, out)


def _with(answer: Answer, out: tuple[Any, ...]) -> Answer:
    """Return an answer with other arrays for its derivatives."""
    curvature = None if answer.curvature is None else out[-1]
    return Answer(answer.value, out[: len(answer.grads)], curvature)


def _derivatives(answer: Answer) -> tuple[Any, ...]:
    return answer.grads if answer.curvature is None else (*answer.grads, answer.curvature)


def transform(formula: type[Formula], x: Any, axis: int = -1) -> Any:
    """Return the value of a formula of x alone, in x's dtype if that is floating."""
    try:
        xp = _namespace_of(x)
        axis = _class_axis(x, axis) if formula.rowwise else -1
    except _Refusal as refusal:
        raise refusal.kind(f"tinyloss.{formula.name}: {refusal}") from None
    moved = formula.rowwise and axis != len(x.shape) - 1
    dtype = compute_dtype(xp, x)
    job = Job(
        xp=xp,
        formula=formula,
        arrays={"x": xp.moveaxis(x, axis, -1) if moved else x},
        params={},
        dtype=dtype,
        labels=False,
        weight=None,
        divisor=None,
        reduce=False,
        value=True,
        grads=(),
        curvature=False,
        value_dtype=result_dtype(x.dtype, dtype),
    )
    value = answer_of(job).value
    return xp.moveaxis(value, -1, axis) if moved and not formula.per_item else value


def answer_of(job: Job) -> Answer:
    """Return the answer of the backend for a job's arrays, else of its formulas."""
    backend = _backends.backend_of(job.xp)
    answer: Any = NotImplemented if backend is None else backend.run(job)
    if answer is NotImplemented:
        return job.evaluate()
    return answer  # type: ignore[no-any-return]


def _divisor_moves(request: Request, job: Job) -> bool:
    """Return whether the mean's divisor depends on an argument to differentiate by.

    It does where class weights weigh probabilities: it is sum_i w_i sum_c class_weight_c y_ic.
    """
    return (
        "y" in job.grads
        and "class_weight" in job.arrays
        and job.reduce
        and request.reduction == "mean"
        and request.denominator is None
    )


def _answer_with_moving_divisor(job: Job) -> Answer:
    """Answer a job, with the quotient rule for the gradient by y.

    The derivative of N / D by y_ic is N' / D - (N / D) w_i class_weight_c / D.
    """
    xp, asked, y = job.xp, job.value, job.arrays["y"]
    job.value = True
    job.arrays["y"] = astype(xp, y, job.dtype)  # its gradient is rounded once, at the end
    out, job.out = job.out, ()
    value, grads, curvature = answer_of(job)
    share = job.arrays["class_weight"] * (value / job.divisor)
    if job.weight is not None:
        share = job.weight[..., None] * share
    at = job.grads.index("y")
    by_y = astype(xp, grads[at] - share, result_dtype(y.dtype, job.dtype))
    answer = Answer(value if asked else None, (*grads[:at], by_y, *grads[at + 1 :]), curvature)
    return _write(answer, out) if out else answer


class _Refusal(Exception):
    """Bad input; `run` adds the function's name."""

    def __init__(self, message: str, kind: type[Exception] = ValueError) -> None:
        super().__init__(message)
        self.kind = kind


def _settle_sums(request: Request, want: Want) -> tuple[Job, int | None, Any]:
    """Settle a request for the two sums of a mean; also return that of the weights.

    Sums over the parts of a whole go on to be added up: they are of the widest dtype there is.
    """
    if request.reduction != "mean" or request.denominator is not None:
        what = "denominator" if request.reduction == "mean" else "reduction"
        raise _Refusal(f"{what} is {getattr(request, what)!r}, expected a plain mean to take apart")
    job, axis = _settle(request, want)
    xp, x, divisor = job.xp, job.arrays["x"], job.divisor
    job.divisor, job.value_dtype = None, widest_dtype(xp, x)
    if isinstance(divisor, int):
        items = x.shape[:-1] if job.formula.rowwise else x.shape
        count = xp.asarray(prod(items), dtype=job.value_dtype, device=device(x))
        return job, axis, count[()]  # NumPy's sums are scalars
    return job, axis, astype(xp, divisor, job.value_dtype)


def _settle(request: Request, want: Want) -> tuple[Job, int | None]:
    """Check a request and settle it; also return the axis to move results back to, if any."""
    if request.reduction not in REDUCTIONS:
        raise _Refusal(f'reduction is {request.reduction!r}, expected "mean", "sum" or "none"')
    if want.curvature:
        request = request._replace(reduction="none", denominator=None)
    x, axis = request.x, None
    xp = _namespace_of(x)
    y = _bring(xp, x, "y", request.y)
    more: dict[str, Any] = {}
    for name, array in request.arrays.items():
        array = more[name] = _bring(xp, x, name, array)
        if not _broadcasts(array.shape, x.shape):
            raise _Refusal(
                f"{name} has shape {_show(array)}, expected one that broadcasts to x's {_show(x)}"
            )

    formula, rows = request.formula, None
    if formula is None or formula.rowwise:
        formula, x, y, axis = _settle_rows(request, xp, x, y)
        items, rows = x.shape[:-1], _rows(request, xp, x)
    else:
        items = x.shape
        if not _same_shape(y.shape, items):
            raise _Refusal(f"y has shape {_show(y)}, expected {_show(x)}, the shape of x")
        if formula.signed and kind(y.dtype) == "bool":
            y = xp.astype(y, xp.float32) * 2 - 1
    labels = formula is request.labels
    # A list or a number has no dtype of its own to widen the computation by.
    widening = () if labels or not hasattr(request.y, "dtype") else (y,)
    dtype = compute_dtype(xp, x, *widening)

    class_weight = None
    if request.class_weight is not None:
        class_weight = astype(xp, _bring(xp, x, "class_weight", request.class_weight), dtype)
        if not _same_shape(class_weight.shape, x.shape[-1:]):
            raise _Refusal(
                f"class_weight has shape {_show(class_weight)}, expected ({x.shape[-1]},), "
                "one weight for each class"
            )
        if formula.weighs_classes:
            more["class_weight"] = class_weight
    weight, mass = _weigh(request, xp, formula, x, y, labels, class_weight, rows, items, dtype)
    divisor = _divisor(request, xp, x, weight, mass, items, dtype, want.sums)
    classes = None if rows is None else rows.length()
    unchecked = labels and not _check_labels(request, xp, y, classes, weight, items)
    arrays = {"x": x, "y": y, **more}
    job = Job(
        xp=xp,
        formula=formula,
        arrays=arrays,
        params=request.params,
        dtype=dtype,
        labels=labels,
        weight=weight,
        divisor=divisor,
        reduce=request.reduction != "none",
        value=want.value,
        grads=tuple([_argument(formula, arrays, labels, n) for n in want.argnums])
        if want.argnums
        else (),
        curvature=want.curvature,
        unchecked=unchecked,
    )
    if classes is not None and request.axis_name is not None:
        job.axis_name, job.classes = request.axis_name, classes
    if want.out:
        names = [*job.grads, "x"][: len(want.out)]
        for name, into in zip(names, want.out, strict=True):
            array = arrays[name]
            shape = tuple(array.shape)
            if axis is not None:
                shape = (*shape[:axis], shape[-1], *shape[axis:-1])
            _check_out(xp, into, shape, result_dtype(array.dtype, dtype))
        job.out = want.out
        if axis is not None:
            job.out = tuple([xp.moveaxis(into, axis, -1) for into in want.out])
    return job, axis


def _settle_rows(
    request: Request, xp: Namespace, x: Any, y: Any
) -> tuple[type[Formula], Any, Any, int | None]:
    """Tell labels from a target of x's shape; bring the class axis to the end."""
    axis, ndim = _class_axis(x, request.axis), len(x.shape)
    items = (*x.shape[:axis], *x.shape[axis + 1 :])
    formula, expected = request.formula, x.shape
    if formula is None or (request.labels is not None and len(y.shape) != ndim):
        formula, expected = request.labels, items
    if formula is None or not _same_shape(y.shape, expected):
        shapes = [] if request.labels is None else [f"{_show_shape(items)} (class indices)"]
        shapes += [] if request.formula is None else [f"{_show(x)} (the shape of x)"]
        raise _Refusal(
            f"y has shape {_show(y)}, expected {' or '.join(shapes)} for x of shape {_show(x)}"
            + (f" with the classes along axis {request.axis}" if axis != ndim - 1 else "")
        )
    if formula is request.labels:
        if kind(y.dtype) == "float":
            raise _Refusal(
                f"y has dtype {dtype_name(y.dtype)}, expected integers: with one dimension fewer "
                "than x it holds class indices",
                TypeError,
            )
        y = astype(xp, y, index_dtype(xp, y))
    elif request.ignore_index is not None:
        raise _Refusal(
            "ignore_index is for class indices, expected where= beside a target of x's shape"
        )
    if axis == ndim - 1:
        return formula, x, y, None
    x = xp.moveaxis(x, axis, -1)
    return formula, x, y if formula is request.labels else xp.moveaxis(y, axis, -1), axis


def _rows(request: Request, xp: Namespace, x: Any) -> Rows:
    """Return what is done over the classes, which x has in its last dimension or a part of them."""
    axis_name = request.axis_name
    if axis_name is None:
        return Rows(xp, x)
    split = getattr(_backends.backend_of(xp), "split_rows", None)
    if split is None:
        raise _Refusal(
            f"axis_name is {axis_name!r}, expected None for arrays of {library(xp)}: only JAX maps "
            "axes",
            TypeError,
        )
    try:
        rows: Rows = split(x, axis_name)
    except (NameError, TypeError) as error:
        raise _Refusal(
            f"axis_name is {axis_name!r}, expected the name of an axis that is mapped where the "
            f"loss is called ({error})"
        ) from None
    return rows


def _class_axis(x: Any, axis: Any) -> int:
    """Return the class axis, counted from the front."""
    ndim = len(x.shape)
    if ndim == 0:
        raise _Refusal("x is 0-d, expected at least the class axis")
    integer = type(axis) is int or (isinstance(axis, Integral) and not isinstance(axis, bool))
    if not integer or not -ndim <= int(axis) < ndim:
        raise _Refusal(f"axis is {axis!r}, expected an integer from {-ndim} to {ndim - 1}")
    if x.shape[axis] == 0:
        raise _Refusal(f"x has shape {_show(x)}: no class along axis {axis}")
    return int(axis) % ndim


def _weigh(
    request: Request,
    xp: Namespace,
    formula: type[Formula],
    x: Any,
    y: Any,
    labels: bool,
    class_weight: Any,
    rows: Rows | None,
    items: tuple[Any, ...],
    dtype: Any,
) -> tuple[Any, Any]:
    """Fold weight, class weight and every mask into one weight for each item, None for 1.

    Also return the mass that class weights inside the formula add to the item's share of the
    divisor, None for 1.
    """
    weight = mask = mass = None
    if request.weight is not None:
        weight = astype(xp, _bring(xp, x, "weight", request.weight), dtype)
        _check_items("weight", weight, items)
    if request.where is not None:
        mask = _bring(xp, x, "where", request.where)
        if kind(mask.dtype) != "bool":
            raise _Refusal(
                f"where has dtype {dtype_name(mask.dtype)}, expected booleans", TypeError
            )
        _check_items("where", mask, items)
    if request.ignore_index is not None and _fits(request.ignore_index, y):
        kept = y != request.ignore_index
        mask = kept if mask is None else mask & kept
    if mask is not None:
        weight = astype(xp, mask, dtype) if weight is None else xp.where(mask, weight, 0.0)
    if class_weight is not None:
        assert rows is not None
        if labels:
            mass = rows.take(class_weight, y)
        else:
            share = astype(xp, y, dtype)
            if weight is not None:  # what is left out may be NaN
                share = xp.where((weight != 0)[..., None], share, 0.0)
            mass = rows.sum(class_weight * share)[..., 0]
        if not formula.weighs_classes:
            weight, mass = mass if weight is None else weight * mass, None
    return weight, mass


def _fits(index: int, y: Any) -> bool:
    """Return whether an integer array can hold an index: if not, no item has it."""
    limit = 2 ** (31 if dtype_name(y.dtype) == "int32" else 63)
    fits: bool = -limit <= index < limit
    return fits


def _divisor(
    request: Request,
    xp: Namespace,
    x: Any,
    weight: Any,
    mass: Any,
    items: tuple[Any, ...],
    dtype: Any,
    sums: bool,
) -> Any:
    """Return what the sum is divided by, None for 1. Where nothing is selected, 1: 0 / 1 = 0.

    Where sums are wanted it is the sum of the weights, 0 or not.
    """
    denominator = request.denominator
    if denominator is not None:
        if request.reduction != "mean":
            raise _Refusal(
                f'denominator divides the mean, expected reduction="mean" beside it, '
                f"got {request.reduction!r}"
            )
        if isinstance(denominator, (int, float)):
            if not denominator or denominator != denominator:
                raise _Refusal(f"denominator is {denominator}, expected a number other than 0")
            return float(denominator)
        denominator = _bring(xp, x, "denominator", denominator)
        if denominator.shape != ():
            raise _Refusal(f"denominator has shape {_show(denominator)}, expected a number")
        return astype(xp, denominator, dtype)
    if request.reduction != "mean":
        return None
    if mass is not None:
        weight = mass if weight is None else weight * mass
    if weight is None:
        count = None if None in items else prod(items)
        if isinstance(count, int):
            return count or 1
        weight = xp.ones_like(x if len(x.shape) == len(items) else x[..., 0], dtype=dtype)
    elif not _same_shape(weight.shape, items):
        weight = xp.broadcast_to(weight, items)
    if sums:
        return xp.sum(astype(xp, weight, widest_dtype(xp, x)))
    total = xp.sum(weight)
    return xp.where(total == 0, 1.0, total)


def _check_labels(
    request: Request,
    xp: Namespace,
    y: Any,
    classes: Any,
    weight: Any,
    items: tuple[Any, ...],
) -> bool:
    """Refuse a selected class index out of range; return whether the indices were looked at."""
    mode = _validation.get()
    if mode == "always" or (mode == "auto" and looks(y)):
        wrong = (y < 0) | (y >= classes)
        if mode == "auto" and not looks(wrong):
            return False  # traced, though y is known
        if xp.any(wrong):
            if weight is not None:
                wrong = wrong & (weight != 0)
            if mode == "auto" and not looks(wrong):
                return False
            if bool(xp.any(wrong)):
                raise _Refusal(_describe_label(request, xp, y, wrong, classes, items))
        return True
    return False


def _describe_label(
    request: Request, xp: Namespace, y: Any, wrong: Any, classes: Any, items: tuple[Any, ...]
) -> str:
    first = int(xp.argmax(xp.astype(xp.reshape(wrong, (-1,)), xp.int8)))
    # as it came: the dtype indices are compared in may have wrapped it
    label = int(xp.reshape(_bring(xp, y, "y", request.y), (-1,))[first])
    position: list[int] = []
    for length in reversed(items):
        first, index = divmod(first, length)
        position.insert(0, index)
    place = f"y[{', '.join(map(str, position))}]" if position else "y"
    message = (
        f"{place} is {label}, expected a class index from 0 to {classes - 1} "
        f"(x has {classes} classes along axis {request.axis})"
    )
    if label < 0 and request.ignore_index is None:
        message += f"; ignore_index={label} leaves such items out"
    return message


def _argument(formula: type[Formula], arrays: Mapping[str, Any], labels: bool, argnum: int) -> str:
    """Return the name of the argument to differentiate by."""
    names = list(arrays)
    if not 0 <= argnum < len(names):
        raise _Refusal(f"argnums holds {argnum!r}, expected integers from 0 to {len(names) - 1}")
    name = names[argnum]
    if labels and name == "y":
        raise _Refusal("has no derivative by y, which holds class indices", TypeError)
    if not hasattr(formula, f"grad_{name}"):
        raise _Refusal(f"has no derivative by {name}", TypeError)
    if not _same_shape(arrays[name].shape, arrays["x"].shape):
        raise _Refusal(
            f"{name} has shape {_show(arrays[name])}, expected {_show(arrays['x'])}, "
            "the shape of x, to differentiate by it"
        )
    return name


def _check_out(xp: Namespace, into: Any, shape: tuple[Any, ...], dtype: Any) -> None:
    """Refuse an array that cannot take a derivative of this shape and dtype."""
    try:
        own = namespace(into)
    except TypeError as error:
        raise _Refusal(f"out: {error}", TypeError) from None
    if own is not xp:
        raise _Refusal(f"out is of {library(own)}, expected {library(xp)}, as x", TypeError)
    if tuple(into.shape) != shape:
        raise _Refusal(f"out has shape {_show(into)}, expected {_show_shape(shape)}")
    if into.dtype != dtype:
        raise _Refusal(
            f"out has dtype {dtype_name(into.dtype)}, expected {dtype_name(dtype)}", TypeError
        )
    if not writeable(into):
        raise _Refusal("out is read-only, expected an array that can be written")


def _namespace_of(x: Any) -> Namespace:
    try:
        xp = namespace(x)
    except TypeError as error:
        raise _Refusal(f"x: {error}", TypeError) from None
    _check_real("x", x)
    return xp


def _bring(xp: Namespace, x: Any, name: str, value: Any) -> Any:
    try:
        array = bring(xp, x, value)
    except (TypeError, ValueError, OverflowError) as error:
        raise _Refusal(f"{name}: {error}", type(error)) from None
    _check_real(name, array)
    return array


def _check_real(name: str, array: Any) -> None:
    if kind(array.dtype) not in ("float", "int", "bool"):
        raise _Refusal(f"{name} has dtype {kind(array.dtype)}, expected real numbers", TypeError)


def _check_items(name: str, array: Any, items: tuple[Any, ...]) -> None:
    if not _broadcasts(array.shape, items):
        raise _Refusal(
            f"{name} has shape {_show(array)}, expected one that broadcasts to "
            f"{_show_shape(items)}, the shape of the items"
        )


def _same_shape(a: tuple[Any, ...], b: tuple[Any, ...]) -> bool:
    """Return whether two shapes are equal as far as they are known."""
    return a == b or (
        len(a) == len(b)
        and all(m == n or _unknown(m) or _unknown(n) for m, n in zip(a, b, strict=True))
    )


def _broadcasts(a: tuple[Any, ...], b: tuple[Any, ...]) -> bool:
    """Return whether an array of shape `a` broadcasts to shape `b`."""
    return len(a) <= len(b) and all(
        m == 1 or m == n or _unknown(m) or _unknown(n)
        for m, n in zip(reversed(a), reversed(b), strict=False)
    )


def _unknown(length: Any) -> bool:
    """Return whether a dimension has no length yet: None, or NaN in Dask."""
    return length is None or length != length


def _show(array: Any) -> str:
    return _show_shape(array.shape)


def _show_shape(shape: tuple[Any, ...]) -> str:
    return str(tuple(shape))
