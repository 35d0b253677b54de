"""One call, from the caller's arrays to the answer.

    Request   what a public function was asked: formulas, arrays, options
       |      settle: namespace, dtype, shapes, class axis last, labels, weights, divisor
    Kind      all that decides how the call is answered: the key of every cache
       |      backend.prepare(kind), kept with the formula
    Job       the kind with the call's arrays and numbers; sum(value * weight) / divisor
       |      what the backend prepared, or, where it declines, the formulas run eagerly
    Answer    value, gradients, curvature, in the caller's library and on its device

Knows no formula and no library.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from tinyloss._arrays import (
    astype,
    axes_back,
    bring,
    compiling,
    compute_dtype,
    move_axis,
    namespace,
    of_rank,
    result_dtype,
    widest_dtype,
    with_axes,
)
from tinyloss._cache import cache_of
from tinyloss._engine import registry
from tinyloss._engine.checks import (
    broadcasts,
    brought,
    check_apart,
    check_out,
    namespace_of,
    show,
    show_shape,
)
from tinyloss._engine.job import (
    Answer,
    Argument,
    Job,
    Kind,
    delivered,
    derivatives,
    evaluate,
    looked,
    replaced,
)
from tinyloss._engine.request import Refusal, Request, Want
from tinyloss._engine.settle import Form, Settled, class_axis, settle, without
from tinyloss._engine.weights import counted
from tinyloss._formula import Formula
from tinyloss.typing import Namespace


def run(request: Request, want: Want) -> Answer:
    """Answer a request."""
    request = as_wanted(request, want)
    if want.over is not None and not want.curvature:
        return _run_over(request, want)
    return finished_of(request, *settled_of(request, want), want.out)


def as_wanted(request: Request, want: Want) -> Request:
    """Return the request for what is wanted: curvature is each item's own."""
    if want.remade is not None:
        request = request._replace(
            formula=request.formula and want.remade(request.formula),
            labels=request.labels and want.remade(request.labels),
        )
    if want.direction is not None:
        request = request._replace(arrays={**request.arrays, "direction": want.direction})
    if want.curvature:
        request = request._replace(reduction="none", denominator=None)
    return request


def settled_of(request: Request, want: Want, fuses: bool = False) -> tuple[Form, Settled]:
    """Return a request's form and the request settled; for `fuses` see `settle`."""
    try:
        return settle(request, want, fuses)
    except Refusal as refusal:
        raise refusal.of(request.name, request.called) from None


def finished_of(request: Request, form: Form, settled: Settled, out: tuple[Any, ...]) -> Answer:
    """Return the answer to what was settled."""
    job = settled.job
    answer = answer_with_moving_divisor(job) if divisor_moves(request, job) else answer_of(job)
    if form.want.sums:
        answer = answer._replace(value=(answer.value, settled.total))
    if out and job.out:
        curvature = None if answer.curvature is None else out[-1]
        return Answer(answer.value, out[: len(answer.grads)], curvature)
    if form.axes is not None:
        answer = _moved(job, request.x, form.axes, answer)
    return delivered(answer, out)


def _run_over(request: Request, want: Want) -> Answer:
    """Answer a request whose items are put together along some of their axes alone."""
    try:
        form, settled = settled_over(request, want)
        answer = finished_of(request._replace(reduction="none"), form, settled, want.out)
        if answer.value is None:
            return answer
        with registry.quiet(settled.job.xp):
            return answer._replace(value=summed_over(want, answer.value))
    except Refusal as refusal:
        raise refusal.of(request.name, request.called) from None


def settled_over(request: Request, want: Want) -> tuple[Form, Settled]:
    """Return the form and the request settled of items whose sum along axes is the answer."""
    if request.reduction == "none":
        raise Refusal('reduction is "none", expected "mean" or "sum" over an axis')
    if want.sums:
        raise Refusal("is a mean over an axis, expected one over all to take apart", TypeError)
    each = request._replace(reduction="none", denominator=None)
    form, settled = settle(each, want._replace(over=None))
    with registry.quiet(settled.job.xp):
        return form, settled._replace(job=_job_over(request, want, form, settled.job))


def summed_over(want: Want, items: Any) -> Any:
    """Return the sums of what items have along axes."""
    xp = namespace(items)
    axes = _axes_of_items(want.over, tuple(items.shape))
    value = xp.sum(items, axis=axes, dtype=widest_dtype(xp, items))
    return astype(xp, value, items.dtype)


def _job_over(request: Request, want: Want, form: Form, job: Job) -> Job:
    if divisor_moves(request, job):
        raise Refusal("has no derivative by y beside class_weight over an axis", TypeError)
    xp, x, dtype = job.xp, job.arrays["x"], job.kind.dtype
    items = x.shape[:-1] if job.kind.rowwise else x.shape
    axes = _axes_of_items(want.over, items)
    if request.reduction == "sum":
        return job
    item, counts = counted(form.rule, request, x, job.arrays["y"])
    ones = xp.ones_like(x if len(x.shape) == len(items) else x[..., 0], dtype=dtype)
    weight = ones if item is None else ones * item
    some = xp.any(weight != 0, axis=axes, keepdims=True)
    if request.denominator is not None:
        divisor = brought(xp, x, "denominator", request.denominator)
        shape = without(items, axes)
        if not broadcasts(tuple(divisor.shape), shape):
            raise Refusal(
                f"denominator has shape {show(divisor)}, expected a number, or an array of shape "
                f"{show_shape(shape)}"
            )
        divisor = with_axes(of_rank(xp, divisor, len(shape)), axes)
    else:
        counts = ones if counts is None else ones * astype(xp, counts, dtype)
        divisor = xp.sum(counts, axis=axes, keepdims=True, dtype=widest_dtype(xp, x))
    # where nothing is selected, nothing is divided by
    divisor = xp.where(some, astype(xp, divisor, dtype), 1.0)
    return replaced(job, weight=weight / divisor, weighted=True)


def _axes_of_items(over: int | tuple[int, ...] | None, items: tuple[Any, ...]) -> tuple[int, ...]:
    count, given = len(items), over if isinstance(over, tuple) else (over or 0,)
    axes = tuple(sorted({each % count for each in given if -count <= each < count}))
    if len(axes) < len(given):
        raise Refusal(
            f"axis is {over!r}, expected different axes of the items, which have shape "
            f"{show_shape(items)}"
        )
    return axes


def job_of(request: Request, want: Want) -> Job:
    """Return the job that answers a request."""
    return settled_of(as_wanted(request, want), want)[1].job


def _moved(job: Job, x: Any, axes: Sequence[int], answer: Answer) -> Answer:
    """Return an answer with the axes of a row where the caller has them, in x."""
    lengths = [x.shape[axis] for axis in axes]
    grads = tuple(
        [
            axes_back(job.xp, grad, axes, lengths) if job.kind.role(name).per_class else grad
            for grad, name in zip(answer.grads, job.kind.grads, strict=True)
        ]
    )
    curvature = answer.curvature
    if curvature is not None:
        curvature = axes_back(job.xp, curvature, axes, lengths)
    return Answer(answer.value, grads, curvature)


def answer_of(job: Job) -> Answer:
    """Return the answer of the backend for a job's arrays, else of its formulas."""
    if compiling():
        return registry.traced(job)  # type: ignore[no-any-return]
    backend = registry.backend_of(job.xp)
    if job.look is not None and not getattr(backend, "LOOKS", False):
        with registry.quiet(job.xp):
            job = looked(job)
    if backend is not None:
        answer = prepared_by(backend, job.kind)(job)
        if answer is not NotImplemented:
            return answer  # type: ignore[no-any-return]
    return evaluate(job)


def prepared_by(backend: registry.Backend, kind: Kind) -> Callable[[Job], Any]:
    """Return what answers the jobs of a kind by a backend, which is held beside it."""
    answers: Callable[[Job], Any]
    answers, _ = cache_of(kind.formula, "prepared").made(
        (id(backend), kind), lambda: (backend.prepare(kind), backend)
    )
    return answers


def prepared_for(xp: Namespace, kind: Kind) -> Any:
    """Return what answers the jobs of a kind by the backend of a namespace, None without one."""
    backend = registry.backend_of(xp)
    return None if backend is None else prepared_by(backend, kind)


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
        for into, result in zip(out, derivatives(answer), strict=True):
            check_out(namespace(result), into, tuple(result.shape), result.dtype)
        check_apart(namespace(out[0]), out)
    except Refusal as refusal:
        raise refusal.of(name) from None
    return delivered(answer, out)


def transform(formula: type[Formula], x: Any, axis: int = -1) -> Any:
    """Return the value of a formula of x alone, in x's dtype if that is floating."""
    try:
        xp = namespace_of(x)
        axis = class_axis(x, axis) if formula.rowwise else -1
    except Refusal as refusal:
        raise refusal.of(formula.name) from None
    moved = formula.rowwise and axis != len(x.shape) - 1
    dtype = compute_dtype(xp, x)
    of_call = Kind(
        formula=formula,
        arguments=(Argument("x", x.dtype, formula.role("x")),),
        dtype=dtype,
        reduce=False,
        value_dtype=result_dtype(x.dtype, dtype),
    )
    arrays = {"x": move_axis(xp, x, axis, -1) if moved else x}
    value = answer_of(Job(of_call, xp, arrays)).value
    return move_axis(xp, value, -1, axis) if moved and not formula.per_item else value


def divisor_moves(request: Request, job: Job) -> bool:
    """Return whether the mean's divisor depends on an argument to differentiate by.

    It does where class weights weigh probabilities: it is sum_i w_i sum_c class_weight_c y_ic.
    """
    return (
        "y" in job.kind.grads
        and "class_weight" in job.arrays
        and request.reduction == "mean"
        and request.denominator is None
    )


def answer_with_moving_divisor(job: Job) -> Answer:
    """Answer a job, with the quotient rule for the gradient by y.

    The derivative of N / D by y_ic is N' / D - (N / D) w_i class_weight_c / D.
    """
    xp, kind = job.xp, job.kind
    # the gradient by y is rounded once, at the end
    y = astype(xp, job.arrays["y"], kind.dtype)
    arguments = tuple(
        [each._replace(dtype=y.dtype) if each.name == "y" else each for each in kind.arguments]
    )
    whole = replace(
        job,
        kind=replace(kind, value=True, arguments=arguments),
        arrays={**job.arrays, "y": y},
        out=(),
    )
    value, grads, curvature = answer_of(whole)
    at = kind.grads.index("y")
    with registry.quiet(xp):
        share = share_of_divisor(job, value)
        by_y = astype(xp, grads[at] - share, kind.derivative_dtype("y"))
    grads = (*grads[:at], by_y, *grads[at + 1 :])
    return delivered(Answer(value if kind.value else None, grads, curvature), job.out)


def share_of_divisor(job: Job, value: Any) -> Any:
    """Return what the gradient by y of a mean loses to the divisor."""
    weights = of_rank(job.xp, job.arrays["class_weight"], len(job.arrays["y"].shape))
    share = weights * (value / job.divisor)
    return share if job.weight is None else job.weight[..., None] * share
