"""A kind of call, a call of it, and the answer.

A `Kind` is all that decides how a call is answered: it is the one key of every cache. A `Job` is
a kind with the arrays and numbers of one call. Nobody changes either.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple

from tinyloss._arrays import astype, namespace, result_dtype
from tinyloss._cache import cache_of
from tinyloss._formula import NUMBER, Formula, Role, by_sorting
from tinyloss.typing import Namespace


class Domain(NamedTuple):
    """The targets that a loss is defined for."""

    kind: Literal["labels", "probabilities", "signs"]
    """Indices of classes, numbers from 0 to 1, or -1 and 1."""
    slack: float = 0.0
    """How far a probability may be outside: it may have been rounded."""
    beyond: int = 0
    """How many more labels there are than classes: a rank is one of these."""

    def holds(self, y: Any, classes: Any) -> Any:
        """Return whether each target is in the domain."""
        if self.kind == "labels":
            return (y >= 0) & (y < classes + self.beyond)
        if self.kind == "signs":
            return (y == -1) | (y == 1)
        return (y >= -self.slack) & (y <= 1 + self.slack)


class Answer(NamedTuple):
    """The loss, a gradient for each argument asked for, the diagonal of the Hessian."""

    value: Any
    grads: tuple[Any, ...] = ()
    curvature: Any = None


class Argument(NamedTuple):
    """An array of a formula: x, y, a further one, a number that is held in an array."""

    name: str
    dtype: Any
    role: Role


def _empty() -> dict[str, Any]:
    """Return an empty dictionary; torch.compile cannot call `dict[str, Any]`."""
    return {}


@dataclass(frozen=True)
class Kind:
    """What decides how a call is answered.

    The value is sum(value * weight) / divisor if `reduce`, else value * weight / divisor item by
    item; gradients and curvature are scaled alike. An item of weight 0 contributes nothing,
    whatever its inputs: NaN and infinities of it reach no result. Gradients and curvature keep
    the class axis last and come in their argument's dtype if that is floating, else in `dtype`.
    """

    formula: type[Formula]
    arguments: tuple[Argument, ...]
    dtype: Any
    """The floating dtype to compute in."""
    static: Mapping[str, Any] = field(default_factory=_empty, compare=False)
    """Parameters that choose the program: no floats, if the formula is not `steady`."""
    static_key: Hashable = ()
    """What tells these parameters apart."""
    numbers: tuple[str, ...] = ()
    """Names of the parameters that are numbers of each call."""
    weighted: bool = False
    """Whether items have weights."""
    raw: bool = False
    """Whether weights are as they came, of any dtype, and an item's is one times the job's factor.

    Only for a backend that says `RAW = True`: a loop reads them once, another array costs more.
    """
    divided: bool = False
    """Whether there is a divisor."""
    reduce: bool = True
    value: bool = True
    grads: tuple[str, ...] = ()
    """Names of the arguments to differentiate by."""
    curvature: bool = False
    value_dtype: Any = None
    """The dtype of the value, None for `dtype`."""
    unchecked: Domain | None = None
    """What targets must be, where they may be something else: the results of such an item are NaN.
    """
    axis_name: Any = None
    """The mapped axis whose members hold a part of the classes each."""
    classes: int | None = None
    """The number of classes where x does not have them all."""
    wide: bool = False
    """Whether gradients and curvature come in `dtype`, whatever their arguments' dtypes."""

    @cached_property
    def _hash(self) -> int:
        return hash(tuple([getattr(self, each.name) for each in fields(self) if each.compare]))

    def __hash__(self) -> int:
        return self._hash  # every call looks up what is kept by its kind

    def __getstate__(self) -> dict[str, Any]:
        # without the hash: another process has others
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @cached_property
    def checked(self) -> "Kind":
        """The kind of the same jobs, whose targets are what they must be."""
        return self if self.unchecked is None else replace(self, unchecked=None)

    @cached_property
    def sorting(self) -> "Kind":
        """The kind of the same jobs by sorting their rows."""
        return replace(self, formula=by_sorting(self.formula))

    def of_length(self, classes: int) -> "Kind":
        """Return the kind whose loop takes the least time for rows of so many classes."""
        least = self.formula.sorted_from
        return self if least is None or classes < least else self.sorting

    @property
    def rowwise(self) -> bool:
        """Whether an item is a row."""
        return self.formula.rowwise

    def role(self, name: str) -> Role:
        """Return what an array varies by."""
        return next(each.role for each in self.arguments if each.name == name)

    def derivative_dtype(self, name: str) -> Any:
        """Return the dtype of the derivatives by an argument."""
        dtype = next(each.dtype for each in self.arguments if each.name == name)
        return self.dtype if self.wide else result_dtype(dtype, self.dtype)

    def has_gradients(self, names: Iterable[str]) -> bool:
        """Return whether the derivatives by these are closed forms."""
        return all(hasattr(self.formula, f"grad_{name}") for name in names)

    def rounds_gradients(self, names: Iterable[str]) -> bool:
        """Return whether derivatives by some of these are rounded to less than was computed in."""
        return any(self.derivative_dtype(name) != self.dtype for name in names)


class Weighing(NamedTuple):
    """What a backend can find of few items by itself: what each weighs, and the mean's divisor."""

    arrays: tuple[str, ...]
    """Those there are of "weight", "where" and "class_weight"."""
    domain: Domain | None
    """What the targets of items that count must be; None for any, or where nobody looks."""
    ignores: bool
    """Whether items of one class index are left out."""
    mean: bool
    """Whether the divisor is the sum of the weights."""


@dataclass(slots=True)  # frozen it would take three times as long to make
class Job:
    """One call of a kind."""

    kind: Kind
    xp: Namespace
    arrays: Mapping[str, Any]
    """x, y and the formula's further arrays, in the caller's dtypes, class axis last."""
    weight: Any = None
    """Broadcasts to the items; None for 1."""
    divisor: Any = None
    """A number or 0-d array; None for 1."""
    numbers: Mapping[str, float] = field(default_factory=_empty)
    """The parameters that are numbers of the call."""
    out: tuple[Any, ...] = ()
    """Arrays to write the gradients and the curvature into; none: new ones."""
    ignored: int | None = None
    """The class index that the weights leave out."""
    look: Callable[[], bool] | None = None
    """Looks at the targets, and raises the error of one outside its domain: see `looked`."""
    factor: float = 1.0
    """What raw weights are multiplied by: a power of two."""

    @property
    def work(self) -> Any:
        """How many elements x has, or pairs of a row's where these are compared."""
        x = self.arrays["x"]
        return x.size * x.shape[-1] if self.kind.formula.paired else x.size


def replaced(job: Job, **changes: Any) -> Job:
    """Return a job with fields of its own or of its kind changed."""
    own = {name: changes.pop(name) for name in Job.__slots__ if name in changes}
    return replace(job, kind=replace(job.kind, **changes) if changes else job.kind, **own)


def translated(
    job: Job, xp: Namespace, array_of: Callable[[Any], Any], dtype_of: Callable[[Any], Any]
) -> Job:
    """Return a job with another library's arrays; numbers that arrays hold are the job's then."""
    held = [name for name, _, role in job.kind.arguments if role == NUMBER]

    def kind() -> Kind:
        arguments = [each for each in job.kind.arguments if each.name not in held]
        value_dtype = job.kind.value_dtype
        return replace(
            job.kind,
            arguments=tuple([each._replace(dtype=dtype_of(each.dtype)) for each in arguments]),
            dtype=dtype_of(job.kind.dtype),
            numbers=(*job.kind.numbers, *held),
            value_dtype=None if value_dtype is None else dtype_of(value_dtype),
        )

    return Job(
        cache_of(job.kind.formula, "kind_of_arrays").made(job.kind, kind),
        xp,
        {name: array_of(each) for name, each in job.arrays.items() if name not in held},
        None if job.weight is None else array_of(job.weight),
        array_of(job.divisor) if hasattr(job.divisor, "shape") else job.divisor,
        {**job.numbers, **{name: float(job.arrays[name].item()) for name in held}},
        tuple(map(array_of, job.out)),
        job.ignored,
        job.look,
    )


def looked(job: Job) -> Job:
    """Return a job whose targets have been looked at, where they can be seen.

    Called where the library neither raises nor warns of NaN.
    """
    if job.look is None:
        return job
    return replace(job, kind=job.kind.checked if job.look() else job.kind, look=None)


def evaluate(job: Job) -> Answer:
    """Answer a job by running the formulas eagerly, in the arrays' own library."""
    job = looked(job)
    xp, kind = job.xp, job.kind
    if 0 in job.arrays["x"].shape:
        return delivered(_nothing(job), job.out)
    arrays = {
        name: job.arrays[name] if role.keeps_dtype else astype(xp, job.arrays[name], kind.dtype)
        for name, _, role in kind.arguments
    }
    weight = job.weight
    if kind.raw:
        weight = astype(xp, weight, kind.dtype) * job.factor
    parts = items(kind, arrays, job.numbers, weight, job.divisor)
    return delivered(finished(job, parts), job.out)


def finished(job: Job, answer: Answer) -> Answer:
    """Return the answer to all items: reduced, in the dtypes that results have."""
    xp, kind = job.xp, job.kind
    value, grads, curvature = answer
    if value is not None:
        value = xp.sum(value) if kind.reduce else value
        value = astype(xp, value, kind.value_dtype or kind.dtype)
        value = value / job.divisor if kind.reduce and job.divisor is not None else value
    rounded = [
        astype(xp, grad, kind.derivative_dtype(name))
        for grad, name in zip(grads, kind.grads, strict=True)
    ]
    if curvature is not None:
        curvature = astype(xp, curvature, kind.derivative_dtype("x"))
    return Answer(value, tuple(rounded), curvature)


def items(
    kind: Kind, arrays: Mapping[str, Any], numbers: Mapping[str, Any], weight: Any, divisor: Any
) -> Answer:
    """Return the value of each item times its weight, gradients and curvature also divided.

    Takes the arrays in the dtype to compute in. Straight lines, as the formulas: so a whole job
    can be recorded.
    """

    def parts(arrays: Mapping[str, Any]) -> Answer:
        formula = kind.formula(**arrays, **kind.static, **numbers)
        return Answer(
            formula.value() if kind.value else None,
            tuple([getattr(formula, f"grad_{name}")() for name in kind.grads]),
            formula.curvature() if kind.curvature else None,
        )

    return scaled(kind, arrays, weight, divisor, parts)


def scaled(
    kind: Kind,
    arrays: Mapping[str, Any],
    weight: Any,
    divisor: Any,
    parts: Callable[[Mapping[str, Any]], Answer],
) -> Answer:
    """Return the parts of the formula, which a function of the arrays gives, weighted and divided.

    The value is not divided: its sum is.
    """
    given, alike = arrays, weight is None
    if weight is not None:
        arrays = _selected(kind, arrays, weight)
    if kind.unchecked is not None:
        weight = poisoned(kind, kind.unchecked, given, weight)
    scale: Any = weight
    if divisor is not None:  # one division for each item at most, not for each class
        scale = 1.0 / divisor if alike else weight / divisor
        if alike and weight is not None:
            scale = weight * scale
    value, grads, curvature = parts(arrays)
    if value is not None and weight is not None:
        value = value * (weight if kind.formula.per_item else weight[..., None])
    of_rows = weight is not None and kind.rowwise

    def times_scale(result: Any, name: str) -> Any:
        if scale is None or result is None:
            return result
        return result * (scale[..., None] if of_rows and kind.role(name).per_class else scale)

    scaled_grads = map(times_scale, grads, kind.grads)
    return Answer(value, tuple(scaled_grads), times_scale(curvature, "x"))


def _selected(kind: Kind, arrays: Mapping[str, Any], weight: Any) -> dict[str, Any]:
    """Return the arrays with items of weight 0 replaced by harmless ones.

    Replaced before the formulas, not after, so that autodiff through them sees no NaN either.
    Every loss is finite where all its arguments are that (label 0).
    """
    where = namespace(weight).where
    keep = weight != 0
    of_classes = keep[..., None] if kind.rowwise else keep
    selected = dict(arrays)
    for name, _, role in kind.arguments:
        if role.per_item or role.replaced:
            harmless: Any = 0 if role.keeps_dtype else kind.formula.harmless
            selected[name] = where(of_classes if role.per_class else keep, arrays[name], harmless)
    return selected


def poisoned(kind: Kind, domain: Domain, arrays: Mapping[str, Any], weight: Any) -> Any:
    """Return the weights of the items, NaN for one that weighs and whose target is none."""
    x, classes = arrays["x"], kind.classes
    xp = namespace(x)
    if domain.kind == "labels" and classes is None:
        classes = x.shape[-1]
    right = domain.holds(arrays["y"], classes)
    if weight is None:
        return xp.where(right, astype(xp, right, kind.dtype), xp.nan)
    return xp.where(right | (weight == 0), weight, xp.nan)


def _nothing(job: Job) -> Answer:
    """Answer for no items: not every library takes the maximum of nothing."""
    xp, kind, x = job.xp, job.kind, job.arrays["x"]
    like = xp.any(x != x, axis=-1) if kind.rowwise and kind.formula.per_item else x
    value = xp.zeros_like(like, dtype=kind.value_dtype or kind.dtype)
    *grads, curvature = [
        xp.zeros_like(job.arrays[name], dtype=kind.derivative_dtype(name))
        for name in (*kind.grads, "x")
    ]
    return Answer(
        (xp.sum(value) if kind.reduce else value) if kind.value else None,
        tuple(grads),
        curvature if kind.curvature else None,
    )


def delivered(answer: Answer, out: tuple[Any, ...]) -> Answer:
    """Return an answer with its derivatives in the arrays given for them, if any."""
    if not out:
        return answer
    for into, result in zip(out, derivatives(answer), strict=True):
        if into is not result:
            into[...] = result
    curvature = None if answer.curvature is None else out[-1]
    return Answer(answer.value, out[: len(answer.grads)], curvature)


def derivatives(answer: Answer) -> tuple[Any, ...]:
    """Return the gradients and the curvature, if any."""
    return answer.grads if answer.curvature is None else (*answer.grads, answer.curvature)
