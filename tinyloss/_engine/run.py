"""One call, from the caller's arrays to the answer.

    Request   what a public function was asked: formulas, arrays, options
       |      settle: namespace, dtype, shapes, class axis last, labels, weights, divisor
    Job       everything settled; every reduction is sum(value * weight) / divisor
       |      a backend's run(job), or, where it declines, the formulas run eagerly
    Answer    value, gradients, curvature, in the caller's library and on its device

Knows no formula and no library.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partial
from math import copysign, frexp, inf, isfinite, prod
from numbers import Integral
from types import MappingProxyType
from typing import Any, Literal, NamedTuple
from warnings import warn
from weakref import WeakKeyDictionary

from tinyloss._arrays import (
    astype,
    beside,
    bring,
    compiling,
    compute_dtype,
    device,
    dtype_name,
    index_dtype,
    is_host,
    kind,
    library,
    looks,
    move_axis,
    namespace,
    of_rank,
    result_dtype,
    widest_dtype,
    writeable,
)
from tinyloss._calls import other_reduction, users_level
from tinyloss._engine import registry as _backends
from tinyloss._formula import Formula, boosting, exact
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
    "narrowed",
    "run",
    "transform",
    "validation",
]

_NOTHING: Mapping[str, Any] = MappingProxyType({})

REDUCTIONS = ("mean", "sum", "none")

_validation: ContextVar[str] = ContextVar("tinyloss.validation", default="auto")


@contextmanager
def validation(mode: Literal["always", "auto", "never"], /) -> Generator[None]:
    """Choose whether targets are looked at.

    Some targets have a range: class indices, the targets of binary losses (from 0 to 1), integer
    targets of margin losses (-1 and 1). A target out of its range is an error where it is seen. It
    gives NaN for its item's loss and gradient where it is not.

    Parameters
    ----------
    mode
        "auto" (the default): look where it is free, at eager arrays on the CPU. "always": look
        at every array, which waits for the device, computes a lazy array, and is an error under
        tracing. "never": do not look.

    Notes
    -----
    The mode holds for the thread, or asyncio task, that sets it. A thread started inside does not
    see it, unless it runs in a copy of the context: `contextvars.copy_context().run(function)`.

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
    params: Mapping[str, Any] = _NOTHING
    """Parameters of the formula: Python values, already checked."""
    arrays: Mapping[str, Any] = _NOTHING
    """Further arrays of the formula, broadcasting to x (variance, pos_weight)."""
    labels: type[Formula] | None = None
    """The formula for class indices; None where y cannot hold them."""
    axis: int = -1
    """The class axis of a rowwise loss."""
    axis_name: Any = None
    """The mapped axis whose members hold a part of the classes each; None where x has them all."""
    class_weight: Any = None
    ignore_index: int | None = None
    weight: Any = None
    where: Any = None
    reduction: str = "mean"
    denominator: Any = None

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
    boosting: bool = False
    """Whether the curvature is that for boosting, which is never negative."""
    source: Any = None
    """A backend: not the answer is wanted but the text of the kernel that would give it."""
    wide: bool = False
    """Whether derivatives are wanted in the dtype computed in, to go on with before rounding."""


class Domain(NamedTuple):
    """The targets that a loss is defined for."""

    kind: Literal["labels", "probabilities", "signs"]
    """Indices of classes, numbers from 0 to 1, or -1 and 1."""
    slack: float = 0.0
    """How far a probability may be outside: it may have been rounded."""

    def holds(self, y: Any, classes: Any) -> Any:
        """Return whether each target is in the domain."""
        if self.kind == "labels":
            return (y >= 0) & (y < classes)
        if self.kind == "signs":
            return (y == -1) | (y == 1)
        return (y >= -self.slack) & (y <= 1 + self.slack)


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
    domain: Domain | None = None
    """What targets must be; None for any."""
    unchecked: bool = False
    """Whether targets may be outside their domain: such an item's results are NaN."""
    look: Callable[[], bool] | None = None
    """Looks at the targets, and raises the error of one outside its domain. The engine calls it
    where the reduced value is NaN; a backend may before, and take the job as checked."""
    axis_name: Any = None
    """The mapped axis whose members hold a part of the classes each."""
    classes: int | None = None
    """The number of classes where x does not have them all."""
    wide: bool = False
    """Whether gradients and curvature come in `dtype`, whatever their arguments' dtypes."""

    def derivative_dtype(self, name: str) -> Any:
        """Return the dtype of the derivatives by an argument."""
        return self.dtype if self.wide else result_dtype(self.arrays[name].dtype, self.dtype)

    def without_arrays(self) -> "Job":
        """Return what of a job may be kept: nothing in it holds the caller's arrays."""
        return replace(self, arrays={}, weight=None, divisor=None, out=(), look=None)

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
            value = xp.sum(value) if self.reduce else value
            value = astype(xp, value, self.value_dtype or self.dtype)
            value = self.total(value) if self.reduce else value
        grads = tuple([self._rounded(g, n) for g, n in zip(grads, self.grads, strict=True)])
        if curvature is not None:
            curvature = self._rounded(curvature, "x")
        return Answer(value, grads, curvature)

    def items(self, arrays: Mapping[str, Any], weight: Any, divisor: Any) -> Answer:
        """Return the value of each item times its weight, gradients and curvature also divided.

        Takes the arrays in the dtype to compute in. Straight lines, as the formulas: so a whole
        job can be recorded.
        """
        given, alike = arrays, weight is None
        if weight is not None:
            arrays = self._selected(arrays, weight)
        if self.unchecked:
            weight = self._poisoned(given, weight)
        scale: Any = weight
        if divisor is not None:  # one division for each item at most, not for each class
            scale = 1.0 / divisor if alike else weight / divisor
            if alike and weight is not None:
                scale = weight * scale
        formula = self.formula(**arrays, **self.params)
        value = curvature = None
        if self.value:
            value = formula.value()
            if weight is not None:
                value = value * weight
        if weight is not None and self.formula.rowwise:
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
        """Return the weights of the items, NaN for one that weighs and whose target is none."""
        assert self.domain is not None
        x, classes = arrays["x"], self.classes
        xp = namespace(x)
        if self.labels and classes is None:
            classes = x.shape[-1]
        right = self.domain.holds(arrays["y"], classes)
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
        return astype(self.xp, result, self.derivative_dtype(name))

    def _nothing(self) -> Answer:
        """Answer for no items: not every library takes the maximum of nothing."""
        xp, x = self.xp, self.arrays["x"]
        like = x[..., 0] if self.formula.rowwise and self.formula.per_item else x
        value = xp.zeros_like(like, dtype=self.value_dtype or self.dtype)
        *grads, curvature = [
            xp.zeros_like(self.arrays[name], dtype=self.derivative_dtype(name))
            for name in (*self.grads, "x")
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
    mode = _validation.get()
    key: Any = (
        # a formula's own dictionary must not hold it
        request.labels if request.formula is not None else None,
        want,
        request.reduction,
        exact(request.denominator),
        request.axis,
        *[(name, exact(value)) for name, value in request.params.items()],
        mode,
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
            # a formula's own dictionary must not hold it; the divisor is a number
            settled[key] = replace(job.without_arrays(), formula=Formula, divisor=job.divisor)
        return job, axis
    look = None
    if kept.domain is not None and mode != "never":
        classes = x.shape[-1] if kept.labels else None
        look = partial(_look, request, kept.xp, y, kept.domain, classes, None)
        if not kept.unchecked:
            look()
            look = None
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
        domain=kept.domain,
        unchecked=kept.unchecked,
        look=look,
        wide=kept.wide,
    )
    return job, None


def run(request: Request, want: Want) -> Answer:
    """Answer a request."""
    if want.boosting:
        request = request._replace(
            formula=request.formula and boosting(request.formula),
            labels=request.labels and boosting(request.labels),
        )
    sums = None
    try:
        if want.sums:
            job, axis, sums = _settle_sums(request, want)
        else:
            job, axis = _settle_again(request, want)
    except _Refusal as refusal:
        raise refusal.kind(f"tinyloss.{request.name}: {refusal}") from None
    if want.source is not None:
        return Answer(want.source.source(job))
    answer = _answer_with_moving_divisor(job) if _divisor_moves(request, job) else answer_of(job)
    if job.look is not None and answer.value != answer.value:
        job.look()
    if sums is not None:
        answer = answer._replace(value=(answer.value, sums))
    if want.out:
        return _with(answer, want.out)
    if axis is not None:
        moved = tuple(move_axis(job.xp, grad, -1, axis) for grad in answer.grads)
        curvature = answer.curvature
        if curvature is not None:
            curvature = move_axis(job.xp, curvature, -1, axis)
        answer = Answer(answer.value, moved, curvature)
    return answer


def narrowed(answer: Answer, want: Want, arrays: Sequence[Any]) -> Answer:
    """Return an answer in the dtypes of the arguments `arrays`, where it was asked for wide."""
    xp = namespace(arrays[0])

    def to(result: Any, argnum: int) -> Any:
        if not hasattr(arrays[argnum], "dtype"):
            return result
        array = bring(xp, arrays[0], arrays[argnum])
        return astype(xp, result, result_dtype(array.dtype, result.dtype))

    grads = tuple([to(grad, n) for grad, n in zip(answer.grads, want.argnums, strict=True)])
    curvature = None if answer.curvature is None else to(answer.curvature, 0)
    return Answer(answer.value, grads, curvature)


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
        arrays={"x": move_axis(xp, x, axis, -1) if moved else x},
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
    return move_axis(xp, value, -1, axis) if moved and not formula.per_item else value


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
    job.value, to = True, job.derivative_dtype("y")
    job.arrays["y"] = astype(xp, y, job.dtype)  # its gradient is rounded once, at the end
    out, job.out = job.out, ()
    value, grads, curvature = answer_of(job)
    at = job.grads.index("y")
    with _backends.quiet(xp):
        share = of_rank(xp, job.arrays["class_weight"], len(y.shape)) * (value / job.divisor)
        if job.weight is not None:
            share = job.weight[..., None] * share
        by_y = astype(xp, grads[at] - share, to)
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
    xp, x = job.xp, job.arrays["x"]
    job.value_dtype = widest_dtype(xp, x)
    sums, job.divisor = job.divisor  # see `_Weights.sums`
    if isinstance(sums, (int, float)):
        sums = xp.asarray(sums, dtype=job.value_dtype, **beside(x))[()]  # NumPy's are scalars
    return job, axis, sums


def _settle(request: Request, want: Want) -> tuple[Job, int | None]:
    """Check a request and settle it; also return the axis to move results back to, if any."""
    if request.reduction not in REDUCTIONS:
        raise _Refusal(
            f'reduction is {request.reduction!r}, expected "mean", "sum" or "none"'
            + other_reduction(request.reduction)
        )
    if want.curvature:
        request = request._replace(reduction="none", denominator=None)
    xp = _namespace_of(request.x)
    with _backends.quiet(xp):
        return _settle_in(request, want, xp)


def _settle_in(request: Request, want: Want, xp: Namespace) -> tuple[Job, int | None]:
    x, axis = request.x, None
    y = _bring(xp, x, "y", request.y)
    more: dict[str, Any] = {}
    for name, array in request.arrays.items():
        array = more[name] = _bring(xp, x, name, array)
        if not _broadcasts(array.shape, x.shape):
            raise _Refusal(
                f"{name} has shape {_show(array)}, expected one that broadcasts to x's {_show(x)}"
                + _each_row(name, array.shape, x.shape)
            )

    formula, rows = request.formula, None
    if formula is None or formula.rowwise:
        formula, x, y, axis = _settle_rows(request, xp, x, y)
        items, rows = x.shape[:-1], _rows(request, xp, x)
    else:
        items = x.shape
        if not _same_shape(y.shape, items):
            raise _Refusal(
                f"y has shape {_show(y)}, expected {_show(x)}, the shape of x"
                + _one_more(items, y.shape)
            )
        takes_some = formula.binary or formula.signed
        if takes_some and kind(x.dtype) == "int" and kind(y.dtype) == "float":
            raise _Refusal(
                f"x has dtype {dtype_name(x.dtype)} beside y of dtype {dtype_name(y.dtype)}, "
                "expected a floating prediction first, then the target",
                TypeError,
            )
        if formula.signed and kind(y.dtype) == "bool":
            y = xp.astype(y, xp.float32) * 2 - 1
    labels = formula is request.labels
    # A list or a number has no dtype of its own to widen the computation by.
    has_dtype = hasattr(request.y, "dtype") or hasattr(request.y, "__array__")
    widening = (y,) if has_dtype and not labels else ()
    dtype = compute_dtype(xp, x, *widening)
    if not has_dtype and not labels and kind(y.dtype) == "float":
        y = astype(xp, y, dtype)
    for name, array in more.items():
        if not hasattr(request.arrays[name], "dtype") and kind(array.dtype) == "float":
            more[name] = astype(xp, array, dtype)

    class_weight = None
    if request.class_weight is not None:
        class_weight = _bring(xp, x, "class_weight", request.class_weight)
        if not _same_shape(class_weight.shape, x.shape[-1:]):
            raise _Refusal(
                f"class_weight has shape {_show(class_weight)}, expected ({x.shape[-1]},), "
                "one weight for each class"
            )
    mask = _mask_of(request, xp, x, y, items)
    if labels:
        y = astype(xp, y, index_dtype(xp, y))
    if formula.compares_classes and x.shape[-1] == 1 and request.axis_name is None:
        warn(
            f"tinyloss.{request.name}: x has one class, whose probability is always 1, so that the "
            "loss says nothing; binary_cross_entropy_with_logits is for one logit",
            RuntimeWarning,
            stacklevel=users_level(),
        )
    weights = _Weights(
        request, xp, formula, x, y, labels, class_weight, rows, mask, items, dtype, want.sums
    )
    if weights.of_classes is not None:
        more["class_weight"] = weights.of_classes
    classes = None if rows is None else rows.length()
    domain = _domain_of(formula, labels, y)
    unchecked, look = domain is not None, None
    if domain is not None and _may_look(y):
        look = partial(_look, request, xp, y, domain, classes, weights.item)
        # Where a NaN would show in the value of NumPy arrays, looking waits for one.
        shows = want.value and request.reduction != "none" and not want.out
        if not (shows and is_host(x) and is_host(y)):
            unchecked, look = not look(), None
    arrays = {"x": x, "y": y, **more}
    job = Job(
        xp=xp,
        formula=formula,
        arrays=arrays,
        params=_normal(request.params, xp, dtype),
        dtype=dtype,
        labels=labels,
        weight=weights.item,
        divisor=weights.sums() if want.sums else weights.divisor(),
        reduce=request.reduction != "none",
        value=want.value,
        grads=tuple([_argument(formula, arrays, labels, n) for n in want.argnums])
        if want.argnums
        else (),
        curvature=want.curvature,
        domain=domain,
        unchecked=unchecked,
        look=look,
    )
    # kernels that would be the same are not compiled twice
    job.wide = want.wide and any(job.derivative_dtype(n) != dtype for n in (*job.grads, "x"))
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
            job.out = tuple([move_axis(xp, into, axis, -1) for into in want.out])
    return job, axis


def _normal(params: Mapping[str, Any], xp: Namespace, dtype: Any) -> Mapping[str, Any]:
    """Return parameters whose numbers are 0 or normal numbers of the dtype computed in.

    Else a floor might be 0 there, or a threshold infinite: 0 / 0 and inf - inf in the formulas.
    """
    odd = {
        name: value
        for name, value in params.items()
        # inside the range of every dtype that is computed in
        if isinstance(value, float) and not (value == 0 or 1e-37 < abs(value) < 1e37)
    }
    if not odd:
        return params
    info = xp.finfo(dtype)
    least, largest = float(info.smallest_normal), float(info.max)
    return {**params} | {
        name: copysign(min(max(abs(value), least), largest), value)
        for name, value in odd.items()
        if isfinite(value)
    }


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
            + (_one_more(items, y.shape) if request.labels is not None else "")
            + _other_axis(x.shape, y.shape, axis)
        )
    if formula is request.labels:
        if kind(y.dtype) == "float" and 0 not in y.shape:  # an empty list has any dtype
            raise _Refusal(
                f"y has dtype {dtype_name(y.dtype)}, expected integers: with one dimension fewer "
                "than x it holds class indices; if they are, convert them (astype to int64)",
                TypeError,
            )
    elif request.ignore_index is not None:
        raise _Refusal(
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


class _Weights:
    """What items weigh: weight, class weight and every mask as one weight for each item.

    A mean does not depend on the scale of its weights. So they are divided by units of about the
    size of the largest: their products with losses neither overflow nor underflow before the mean.
    """

    def __init__(
        self,
        request: Request,
        xp: Namespace,
        formula: type[Formula],
        x: Any,
        y: Any,
        labels: bool,
        class_weight: Any,
        rows: Rows | None,
        mask: Any,
        items: tuple[Any, ...],
        dtype: Any,
        sums: bool,
    ) -> None:
        self._request, self._xp, self._x = request, xp, x
        # Sums are not in units: where they are of float32, these would overflow on the way back.
        self._scales = request.reduction == "mean" and request.denominator is None
        if sums and dtype_name(widest_dtype(xp, x)) == "float32":
            self._scales = False
        self._items, self._dtype = items, dtype
        self._units: list[Any] = []
        self.of_classes: Any = None
        """The weights of the classes, for a formula that takes them."""
        weight, mass = mask, None
        if request.weight is not None:
            given = request.weight
            if is_host(given) and not is_host(x) and kind(given.dtype) in ("float", "int"):
                # another library may neither hold NumPy's numbers nor see the smallest
                own = namespace(given)
                given = self._in_units(own.astype(given, own.float64))
            weight = _bring(xp, x, "weight", given)
            _check_weight(weight, items, x.shape[-1] if rows is not None else None)
            weight = of_rank(xp, self._wide(weight), len(items))
            weight = weight if mask is None else xp.where(mask, weight, 0.0)
        if class_weight is not None:
            assert rows is not None
            # before they are multiplied with each other
            class_weight = self._in_units(self._wide(class_weight), rows)
            if weight is not None and weight is not mask:
                weight = self._in_units(weight)
            if formula.weighs_classes:
                self.of_classes = astype(xp, class_weight, dtype)
            if labels:
                mass = rows.take(class_weight, y)
            else:
                share = astype(xp, y, dtype)
                if weight is not None:  # what is left out may be NaN
                    share = xp.where((weight != 0)[..., None], share, 0.0)
                mass = rows.sum(of_rank(xp, class_weight, len(y.shape)) * share)[..., 0]
            if not formula.weighs_classes:
                weight, mass = _product(xp, weight, mass), None
        if weight is not None and weight is not mask:
            weight = self._in_units(weight)
        self.item = None if weight is None else astype(xp, weight, dtype)
        """The weight of each item, which broadcasts to the items; None for 1."""
        self._counted: Any = weight if mass is None else _product(xp, weight, mass)
        """What the divisor of the mean is the sum of."""

    def _wide(self, array: Any) -> Any:
        """Return weights in a floating dtype that loses nothing of them where there is one."""
        xp, name = self._xp, dtype_name(array.dtype)
        if name in ("int32", "uint32", "int64", "uint64"):
            return xp.astype(array, widest_dtype(xp, self._x))
        return array if name == "float64" else astype(xp, array, self._dtype)

    def _in_units(self, weight: Any, rows: Rows | None = None) -> Any:
        """Return weights whose largest is about 1, where it is a number; count their unit."""
        xp = self._xp
        if not self._scales or any(n == 0 or _unknown(n) for n in weight.shape):
            return weight
        if is_host(weight):
            own = namespace(weight)
            size = max(float(own.max(weight)), -float(own.min(weight)))
            if not 0 < size < inf or 0.5 <= size <= 1:
                return weight
            # A power of two, so that nothing is rounded; one that the dtype holds.
            last = 127 if dtype_name(weight.dtype) == "float32" else 1023
            unit = 2.0 ** max(1 - last, min(frexp(size)[1], last))
            self._units.append(unit)
            return weight / unit
        size = xp.max(xp.abs(weight)) if rows is None else rows.max(xp.abs(weight))[..., 0]
        size = xp.where((size > 0) & (size < inf), size, 1.0)
        # The inverse of a unit above 2**126 would be subnormal, which XLA takes for 0.
        down = xp.where(size > 1, 2.0**-64, xp.ones_like(size))
        near = size * down
        # The power of two next to it: Rump, Ogita and Oishi, Accurate floating-point summation II,
        # SIAM J. Sci. Comput. 31, 2008.
        far = near * (2.0**24 if dtype_name(weight.dtype) == "float32" else 2.0**53)
        unit = xp.abs(far - (far - near))
        wide = widest_dtype(xp, self._x)
        self._units.append(astype(xp, unit, wide) / astype(xp, down, wide))
        return weight * down / unit

    def divisor(self) -> Any:
        """Return what the sum is divided by, None for 1. Nothing is divided by 1: 0 / 1 = 0."""
        xp, request = self._xp, self._request
        if request.denominator is not None:
            return self._denominator(request.denominator)
        if request.reduction != "mean":
            return None
        total = self._total()
        if isinstance(total, int):
            return total or 1
        if isinstance(total, float):
            if total or not self._selects():
                return total or 1.0
            return xp.asarray(total, dtype=self._dtype)  # Python's own division by 0 would raise
        return astype(xp, xp.where(self._selects(), total, 1.0), self._dtype)

    def sums(self) -> tuple[Any, Any]:
        """Return the sum of the weights, and what the sum of the weighted losses is divided by."""
        total, divisor = self._total(), None
        for unit in self._units:
            total, divisor = total * unit, (1.0 if divisor is None else divisor) / unit
        return total, divisor

    def _total(self) -> Any:
        """Return the sum over all items of what each counts, a number where that is known.

        The weights are added up as they came, and multiplied by how often each is repeated: in the
        dtype computed in, or over an array of stride 0, the sum of many would be off.
        """
        xp, counted = self._xp, self._counted
        known = not any(map(_unknown, self._items))
        if known and counted is None:
            return prod(self._items)
        if is_host(counted):
            whole = kind(counted.dtype) == "bool"
            total = float(xp.sum(counted, dtype=xp.int64 if whole else xp.float64))
            return total * (prod(self._items) // (counted.size or 1))
        wide = widest_dtype(xp, self._x)
        if not known:
            return xp.sum(astype(xp, self._of_all(), wide))
        repeats = prod(self._items) // (prod(counted.shape) or 1)
        if kind(counted.dtype) == "bool":
            defaults = xp.__array_namespace_info__().default_dtypes(device=device(counted))
            counted = xp.sum(xp.astype(counted, defaults["integral"]))
            return xp.astype(counted, wide) * repeats
        return xp.sum(counted, dtype=wide) * repeats

    def _of_all(self) -> Any:
        """Return what each item counts, where nobody knows how many there are."""
        xp, x, counted = self._xp, self._x, self._counted
        ones = xp.ones_like(x if len(x.shape) == len(self._items) else x[..., 0], dtype=self._dtype)
        return ones if counted is None else ones * astype(xp, counted, self._dtype)

    def _selects(self) -> Any:
        """Return whether an item has a weight other than 0; a number where that is known."""
        xp, counted = self._xp, self._counted
        if any(map(_unknown, self._items)):
            counted = self._of_all()
        elif counted is None:
            return prod(self._items) > 0
        some = xp.any(counted if kind(counted.dtype) == "bool" else counted != 0)
        return bool(some) if is_host(some) else some

    def _denominator(self, denominator: Any) -> Any:
        xp, request = self._xp, self._request
        if request.reduction != "mean":
            raise _Refusal(
                f'denominator divides the mean, expected reduction="mean" beside it, '
                f"got {request.reduction!r}"
            )
        if isinstance(denominator, (int, float)) and denominator and denominator == denominator:
            try:
                given = {"denominator": float(denominator)}
                return _normal(given, xp, self._dtype)["denominator"]
            except OverflowError:
                raise _Refusal("denominator is beyond float64, expected a number") from None
        denominator = _bring(xp, self._x, "denominator", denominator)
        if denominator.shape != ():
            raise _Refusal(f"denominator has shape {_show(denominator)}, expected a number")
        denominator, some = astype(xp, denominator, self._dtype), self._selects()
        if isinstance(some, bool):
            return denominator if some else 1.0
        return xp.where(some, denominator, 1.0)


def _product(xp: Namespace, weight: Any, mass: Any) -> Any:
    """Return the product of weights, of which the first may be None or booleans."""
    if weight is None:
        return mass
    return xp.where(weight, mass, 0.0) if kind(weight.dtype) == "bool" else weight * mass


def _mask_of(request: Request, xp: Namespace, x: Any, y: Any, items: tuple[Any, ...]) -> Any:
    """Return whether each item is taken, by `where` and `ignore_index`; None for all."""
    mask = None
    if request.where is not None:
        mask = _bring(xp, x, "where", request.where)
        if 0 in mask.shape:
            mask = astype(xp, mask, xp.bool)
        if kind(mask.dtype) != "bool":
            raise _Refusal(
                f"where has dtype {dtype_name(mask.dtype)}, expected booleans", TypeError
            )
        _check_items("where", mask, items)
        mask = of_rank(xp, mask, len(items))
    if request.ignore_index is not None and (kept := _kept(request, xp, x, y)) is not None:
        mask = kept if mask is None else mask & kept
    return mask


def _kept(request: Request, xp: Namespace, x: Any, y: Any) -> Any:
    """Return whether each class index is not the one to be ignored; None where none can be it."""
    index = request.ignore_index
    assert index is not None
    given = request.y if is_host(request.y) else y
    name = dtype_name(given.dtype)
    bits = 1 if name == "bool" else int(name.lstrip("uint"))
    signed = name.startswith("int")
    if not -signed * 2 ** (bits - 1) <= index < 2 ** (bits - signed):
        return None
    if given is not y:  # compared as they came: another library may not hold NumPy's numbers
        return _bring(xp, x, "y", given != index)
    y = astype(xp, y, index_dtype(xp, y))
    width = 32 if dtype_name(y.dtype) == "int32" else 64
    return y != (index + 2 ** (width - 1)) % 2**width - 2 ** (width - 1)  # wraps as y did


def _domain_of(formula: type[Formula], labels: bool, y: Any) -> Domain | None:
    """Return what targets of this dtype must be, None for any."""
    if labels:
        return Domain("labels")
    what = kind(y.dtype)
    if formula.binary and what != "bool":
        return Domain("probabilities", 4 * _SPACING.get(dtype_name(y.dtype), 0.0625))
    if formula.signed and what == "int":
        return Domain("signs")
    return None


_SPACING = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}
"""The spacing at 1 (IEEE 754); other floating dtypes have at most 3 bits behind the point."""


def _mode() -> str:
    return "never" if compiling() else _validation.get()


def _may_look(y: Any) -> bool:
    mode = _mode()
    return mode == "always" or (mode == "auto" and looks(y))


def _look(
    request: Request, xp: Namespace, y: Any, domain: Domain, classes: Any, weight: Any
) -> bool:
    """Raise the error of a selected target outside its domain; return whether all were seen."""
    tracing = _mode() == "auto"  # what a known target meets may be traced
    if 0 in y.shape:
        return True
    if domain.kind == "probabilities":
        if dtype_name(y.dtype) not in _SPACING:
            y = astype(xp, y, xp.float32)
        # Two passes that make no arrays. A NaN fails the test, and is no error below.
        low, high = xp.min(y), xp.max(y)
        if tracing and not looks(low):
            return False
        if low >= -domain.slack and high <= 1 + domain.slack:
            return True
    wrong = ~domain.holds(y, classes)
    if domain.kind == "probabilities":
        wrong = wrong & (y == y)
    if tracing and not looks(wrong):
        return False
    if xp.any(wrong):
        if weight is not None:
            wrong = wrong & (weight != 0)
        if tracing and not looks(wrong):
            return False
        if bool(xp.any(wrong)):
            what = _describe(request, xp, y, wrong, domain, classes)
            raise ValueError(f"tinyloss.{request.name}: {what}")
    return True


def _describe(
    request: Request, xp: Namespace, y: Any, wrong: Any, domain: Domain, classes: Any
) -> str:
    """Return what to say of the first target outside its domain."""
    first = index = int(xp.argmax(xp.astype(xp.reshape(wrong, (-1,)), xp.int8)))
    position: list[int] = []
    for length in reversed(wrong.shape):
        index, place = divmod(index, length)
        position.insert(0, place)
    # as it came: the dtype that it is compared in may not hold it
    given = request.y if is_host(request.y) else _bring(xp, y, "y", request.y)
    target = namespace(given).reshape(given, (-1,))[first]
    at = f"y[{', '.join(map(str, position))}]" if position else "y"
    if domain.kind == "labels":
        label = int(target)
        message = (
            f"{at} is {label}, expected a class index from 0 to {classes - 1} "
            f"(x has {classes} classes along axis {request.axis})"
        )
        if label < 0 and request.ignore_index is None:
            message += f"; ignore_index={label} leaves such items out"
        return message
    if domain.kind == "signs":
        return f"{at} is {int(target)}, expected -1 or 1; 2 * y - 1 makes these of 0 and 1"
    number = float(target) if kind(given.dtype) == "float" else int(target)
    return (
        f"{at} is {number}, expected a target from 0 to 1; the prediction comes first, "
        "then the target; (y + 1) / 2 makes 0 and 1 of -1 and 1"
    )


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
            f"out has dtype {_show_dtype(into.dtype)}, expected {_show_dtype(dtype)}", TypeError
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
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        kinds = (TypeError, ValueError, OverflowError)
        # not the error's own class, whose constructor may take something else
        what = next((each for each in kinds if isinstance(error, each)), TypeError)
        raise _Refusal(f"{name}: {error}", what) from None
    _check_real(name, array)
    return array


def _check_real(name: str, array: Any) -> None:
    if kind(array.dtype) not in ("float", "int", "bool"):
        raise _Refusal(f"{name} has dtype {kind(array.dtype)}, expected real numbers", TypeError)


def _check_items(name: str, array: Any, items: tuple[Any, ...], hint: str = "") -> None:
    if not _broadcasts(array.shape, items):
        raise _Refusal(
            f"{name} has shape {_show(array)}, expected one that broadcasts to "
            f"{_show_shape(items)}, the shape of the items{hint}"
        )


def _check_weight(weight: Any, items: tuple[Any, ...], classes: Any) -> None:
    shape, hint = tuple(weight.shape), ""
    if classes is not None and shape == (classes,):
        hint = "; weights of the classes go to class_weight="
    else:
        hint = _each_row("weight", shape, items)
    _check_items("weight", weight, items, hint)


def _each_row(name: str, shape: tuple[Any, ...], whole: tuple[Any, ...]) -> str:
    """Return how to write an array that has the first dimensions of another instead of the last."""
    if 0 < len(shape) < len(whole) and tuple(shape) == tuple(whole[: len(shape)]):
        return f"; one for each row would be {name}[{_index(len(whole), len(shape))}]"
    return ""


def _one_more(expected: tuple[Any, ...], shape: tuple[Any, ...]) -> str:
    """Return how to write y where it has a last dimension of length 1 too many or too few."""
    if tuple(shape) == (*expected, 1):
        return f"; you may want y[{', '.join([':'] * len(expected) + ['0'])}]"
    if expected[-1:] == (1,) and tuple(shape) == tuple(expected[:-1]):
        return f"; you may want y[{_index(len(expected), len(shape))}]"
    return ""


def _other_axis(x: tuple[Any, ...], y: tuple[Any, ...], axis: int) -> str:
    """Return the axis of x that the class indices y would fit, if they fit one."""
    for other in range(len(x)):
        if other != axis and (*x[:other], *x[other + 1 :]) == tuple(y):
            return f"; y fits with axis={other}"
    return ""


def _index(wanted: int, given: int) -> str:
    return ", ".join([":"] * given + ["None"] * (wanted - given))


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


def _show_dtype(dtype: Any) -> str:
    """Return the name of a dtype, with the order of its bytes where that is not the machine's."""
    order = {">": " (big-endian)", "<": " (little-endian)"}
    return dtype_name(dtype) + order.get(getattr(dtype, "byteorder", ""), "")


def _show_shape(shape: tuple[Any, ...]) -> str:
    return str(tuple(shape))
