"""The contract a backend must meet, as a check to put one to: ours and third parties' alike.

    losses      every public loss, its parameters, what its arguments may be: found by asking it
       |        shapes, strides, dtypes, weights, masks, wants: a selection that covers each
    cases       one call each, with what reproduces it
       |        the backend's answer; the formulas' answer, on NumPy, in float64
    report      how many cases were answered, how far off the worst was; or every failure

NumPy, on which the formulas run for comparison, is imported when a check begins, not before.
"""

import inspect
import itertools
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import partial
from importlib import import_module
from math import prod
from types import SimpleNamespace
from typing import Any, TypeAlias

import tinyloss
from tinyloss._arrays import compute_dtype, dtype_name, kind, looks, writeable
from tinyloss._engine import registry as _backends
from tinyloss._engine.job import Job, evaluate, replaced
from tinyloss._engine.run import prepared_by
from tinyloss._function import LossFunction
from tinyloss.losses import activations as _activations
from tinyloss.typing import Namespace

__all__ = ["Report", "check_backend"]

# The namespaces whose module is not named after the library.
_MODULES = {"jax": "jax.numpy"}

# IEEE 754 (bfloat16: float32 without its last 16 bits): spacing at 1, smallest subnormal number.
_PRECISION = {
    "float16": (2.0**-10, 2.0**-24),
    "bfloat16": (2.0**-7, 2.0**-133),
    "float32": (2.0**-23, 2.0**-149),
    "float64": (2.0**-52, 2.0**-1074),
}
_INTEGERS = tuple(f"{sign}int{bits}" for bits in (64, 32, 16, 8) for sign in ("", "u"))

# A product of a subnormal factor and a large one has the absolute error of the first times the
# second: p^2 log p, or a loss times its weight. 2^10 is the largest second factor that is drawn.
_SUBNORMALS = 1024

Parts: TypeAlias = dict[str, Any]
"""Results by name: "value", "gradient by x", "curvature"."""


@dataclass(frozen=True)
class Report:
    """What a backend that passed has done.

    Examples
    --------
    >>> import tinyloss.testing
    >>> tinyloss.testing.Report(cases=2, answered=2).declined
    0
    """

    cases: int
    """How many calls were checked."""

    answered: int
    """How many of them the backend answered; the others it left to the formulas."""

    programs: int = 0
    """How many distinct jobs it answered, not counting shapes and strides: what a backend that
    compiles had to compile, at least."""

    worst: Mapping[str, float] = field(default_factory=dict[str, float])
    """The largest error of each loss that it answered, in the unit of `bound`."""

    left_out: tuple[str, ...] = ()
    """Dtypes that were not tried, each with the reason."""

    @property
    def declined(self) -> int:
        """How many cases the backend left to the formulas."""
        return self.cases - self.answered


def check_backend(
    name: str,
    *,
    full: bool = False,
    losses: Iterable[Any] | None = None,
    classes: Iterable[int] = (),
    context: Callable[[], AbstractContextManager[Any]] = nullcontext,
    through: Callable[[Callable[..., Any]], Callable[..., Any]] | None = None,
    value_and_grad: Callable[..., Any] | None = None,
    must_answer: bool = False,
    xp: Namespace | None = None,
    asarray: Callable[[Any], Any] | None = None,
    to_numpy: Callable[[Any], Any] | None = None,
    bound: float = 16.0,
    seed: int = 0,
    only: Iterable[int] | None = None,
) -> Report:
    """Check that a library's backend answers as the formulas do.

    Calls losses on arrays of many shapes, strides and dtypes, with weights, masks and every other
    option, for values, gradients and curvature, and compares with the formulas run on NumPy. The
    calls are a selection, the same at each run. Also checked: that results have the dtype, the
    shape and the type that the formulas' have and share no memory with the inputs; that inputs are
    left as they were; that a second call, and four at once in threads, give the same bits.

    Parameters
    ----------
    name
        The array library.
    full
        Whether to try thousands of calls: each loss with each parameter, dtype and result, and
        random combinations. Else each loss with each shape and option, and with some dtypes and
        parameters, few enough for a backend that compiles.
    losses
        The loss functions to call, all by default; those of `tinyloss.loss` as well.
    classes
        Numbers of classes. If there are any, losses of rows alone are called, on few rows of so
        many classes, in each floating dtype and in place too (with `full`, else in turn): for a
        backend that goes different ways over short and long rows.
    context
        Returns a context manager that is entered around every call: settings of the backend. One
        that compiles a loss after some calls changes bits then, and has to be told when to.
    through
        Transforms the function that makes a call: of the list of its arguments and the dictionary
        of its options that are arrays, it returns a dictionary of results. `jax.jit`, for example.
    value_and_grad
        A library's own way to differentiate a function, called as `tinyloss.value_and_grad` is:
        gradients are asked of it, by arguments that are floating. A loss that is not reduced is
        to be differentiated as its sum.
    must_answer
        Whether the backend has to answer every call itself. Otherwise it may leave calls to the
        formulas, though not all.
    xp, asarray, to_numpy
        The library's namespace, and the functions that turn NumPy's arrays into the library's and
        back. By default the module of this name, its `asarray` and `numpy.asarray`.
    bound
        How far off results may be: see Notes.
    seed
        Other numbers in the arrays, and other random combinations.
    only
        The numbers of the cases to run, as failures give them, all else being equal; all by
        default.

    Returns
    -------
    A `Report`: the number of cases, how many the backend answered, the worst errors.

    Raises
    ------
    AssertionError
        With one line for each case that failed, or because the backend answered none.

    Notes
    -----
    How errors are measured: the truth is the formulas' answer in float64 to the same numbers. A
    result may be as far from it as the formulas' own answer in the dtype computed in, and `bound`
    units more. A unit is eps, of the dtype computed in, times the size of the result and what it
    changes by where the inputs are off by eps: the mixed forward and backward error of Higham,
    Accuracy and Stability of Numerical Algorithms, section 1.5. That second part is for results
    that pass through 0 between terms of opposite sign, whichever loss they are of; an input that
    may be any real number, a logit say, is off by eps of 1 at least. Of a sum, the sizes of the
    terms are added up. Losses are accurate to 8 units, nearly all to 4, so that two ways to
    compute one differ by no more than 16. A gradient in half precision, rounded once more, may be
    one unit in the last place further off. NaN and infinities are where the formulas have them.

    Examples
    --------
    >>> import tinyloss, tinyloss.testing, tinyloss_numpy
    >>> report = tinyloss.testing.check_backend(
    ...     "numpy", losses=[tinyloss.mae], context=lambda: tinyloss_numpy.compilation("never")
    ... )
    >>> report.declined, report.worst["mae"] < 8
    (0, True)
    """
    module = xp if xp is not None else import_module(_MODULES.get(name, name))
    numpy = import_module("numpy")
    library = _Library(
        numpy,
        asarray or module.asarray,
        to_numpy or getattr(module, "asnumpy", None) or numpy.asarray,
    )
    # Rows of one class are tried too.
    silence = warnings.catch_warnings(action="ignore", category=RuntimeWarning)
    with silence, _Watch(numpy) as watch, ThreadPoolExecutor(_THREADS) as pool:
        check = _Check(library, watch, pool, context, through, value_and_grad, bound, seed)
        chosen = None if only is None else set(only)
        asked = _public_losses() if losses is None else losses
        for case in check.cases(asked, full, [*classes]):
            if chosen is None or case.number in chosen:
                check.run(case)
    return check.report(name, must_answer)


def _public_losses() -> list[Any]:
    found = [loss for loss in vars(tinyloss).values() if isinstance(loss, LossFunction)]
    return [*found, *(getattr(tinyloss, name) for name in _activations.__all__)]


# --------------------------------------------------------------------- between engine and backend


@dataclass
class _Log:
    """What happened in one call."""

    formulas: bool
    """Whether the formulas are to answer instead of the backend."""
    jobs: list[Job] = field(default_factory=list[Job])
    programs: list[Any] = field(default_factory=list[Any])
    declined: int = 0


_LOG: ContextVar[_Log | None] = ContextVar("tinyloss.testing", default=None)
_ONE_AT_A_TIME = threading.Lock()


class _Watch:
    """Stands between the engine and the backends: keeps a log, or has the formulas answer."""

    def __init__(self, numpy: Any) -> None:
        self._numpy, self._backend_of = numpy, _backends.backend_of
        self._stand_ins: dict[int, _backends.Backend] = {}

    def __enter__(self) -> "_Watch":
        _ONE_AT_A_TIME.acquire()
        self._backend_of = _backends.backend_of
        _backends.backend_of = self._between
        return self

    def __exit__(self, *_: object) -> None:
        _backends.backend_of = self._backend_of
        _ONE_AT_A_TIME.release()

    def _between(self, xp: Namespace) -> _backends.Backend:
        backend = self._backend_of(xp)
        between: Any = SimpleNamespace(prepare=lambda kind: partial(self._answer, backend))
        return self._stand_ins.setdefault(id(backend), between)

    def _answer(self, backend: _backends.Backend | None, job: Job) -> Any:
        log = _LOG.get()
        if log is not None and log.formulas:
            log.jobs.append(job)
            return self._evaluate(job)
        if log is not None:
            log.programs.append(job.kind)
        answer = NotImplemented if backend is None else prepared_by(backend, job.kind)(job)
        if answer is not NotImplemented:
            return answer
        if log is not None:
            log.declined += 1
        return self._evaluate(job)

    def _evaluate(self, job: Job) -> Any:
        if job.kind.rowwise:
            # NumPy sums pairwise along contiguous memory only.
            arrays = {
                name: self._numpy.ascontiguousarray(array)
                if isinstance(array, self._numpy.ndarray) and not array.flags.c_contiguous
                else array
                for name, array in job.arrays.items()
            }
            job = replaced(job, arrays=arrays)
        with self._numpy.errstate(all="ignore"):
            return evaluate(job)

    def formulas(self, call: Callable[[], Any]) -> tuple[Any, Job]:
        """Return what a call returns where the formulas answer, and the job they answered."""
        log = _Log(formulas=True)
        result = _logged(log, call)
        return result, log.jobs[-1]


def _logged(log: _Log, call: Callable[[], Any]) -> Any:
    token = _LOG.set(log)
    try:
        return call()
    finally:
        _LOG.reset(token)


# ----------------------------------------------------------------------------- what can be called


@dataclass(frozen=True, eq=False)
class _Subject:
    """A loss with one kind of target."""

    loss: Any
    name: str
    arguments: tuple[str, ...]
    options: frozenset[str]
    labels: bool = False
    rows: bool = False
    by: tuple[int, ...] = ()
    """The arguments it can be differentiated by; none: it is a function of x alone."""
    curvature: bool = False
    variants: tuple[Mapping[str, Any], ...] = ({},)
    """Parameters: none, one other than the default, ..., all of these at once."""
    arrays: frozenset[str] = frozenset()
    """The parameters that are arrays."""
    real: tuple[bool, ...] = ()
    """Which arguments may be any real number."""
    binary: bool = False
    """Whether targets must be between 0 and 1."""
    signs: bool = False
    """Whether integer targets must be -1 and 1."""


_STANDARD = {
    "axis", "axis_name", "class_weight", "ignore_index", "weight", "where", "reduction",
    "denominator",
}  # fmt: skip

# What x and y may be, to be tried with each loss: its domain is where the formulas are finite.
_DOMAINS = (
    ("real", "unit"),
    ("real", "hard"),
    ("real", "real"),
    ("real", "signs"),
    ("positive", "positive"),
    ("unit", "unit"),
    ("unit", "hard"),
)


def _parameters(subject: _Subject, accepts: Callable[..., Any]) -> Iterator[Mapping[str, Any]]:
    """Yield parameters that a loss accepts: the defaults, each one changed, all changed."""
    changed: dict[str, Any] = {}
    yield {}
    for name, parameter in inspect.signature(subject.loss).parameters.items():
        default = parameter.default
        if parameter.kind is not parameter.KEYWORD_ONLY or name in _STANDARD:
            continue
        # 1/4 is in the domain of most; 2 is where only numbers above 1 are; 0 is an edge.
        values = [not default] if isinstance(default, bool) else [0.25, 2.0, 0.0]
        accepted = [v for v in values if v != default and accepts({name: v})]
        yield from ({name: value} for value in accepted)
        if accepted:
            changed[name] = accepted[0]
    if len(changed) > 1 and accepts(changed):
        yield changed


# -------------------------------------------------------------------------------------- the cases

_POINT_SHAPES: tuple[tuple[int, ...], ...] = (
    (7,), (), (101,), (3, 5), (16,), (0,), (5, 7, 3), (1,), (4099,), (17, 1), (2, 0, 3), (1, 31),
    (64, 33), (131075,),
)  # fmt: skip
_ROW_SHAPES: tuple[tuple[int, ...], ...] = (
    (7, 10), (3,), (31, 3), (2, 3, 5), (5, 1), (0, 3), (33, 7), (1, 64), (9, 65), (2, 1, 2),
    (4, 100), (3, 257), (2, 1000), (3, 5003), (2, 0, 3), (29, 5003), (13109, 10),
)  # fmt: skip


_LARGE = 100_000
"""From how many elements on an array is tried with few options: enough for several threads."""


def _shapes(subject: _Subject) -> tuple[tuple[int, ...], ...]:
    """Return shapes of x, the class axis last; the last is large."""
    return _ROW_SHAPES if subject.rows else _POINT_SHAPES


_LAYOUTS = (
    "plain", "slice", "transposed", "reversed", "rows", "broadcast", "readonly", "offset",
    "unaligned",
)  # fmt: skip

_UNWEIGHTED: tuple[Mapping[str, Any], ...] = (
    {"reduction": "sum"},
    {"denominator": "number"},
    {"denominator": "array"},
    {"special": "nan"},
    {"special": "nan", "reduction": "sum"},
    {"out": "fresh"},
    {"out": "x"},
    {"out": "strided"},
)
_WEIGHTED: tuple[Mapping[str, Any], ...] = (
    {"weight": "full"},
    {"weight": "row"},
    {"weight": "number", "reduction": "sum"},
    {"weight": "zeros", "special": "poison"},
    {"where": "full", "special": "poison", "reduction": "sum"},
    {"where": "row", "weight": "full", "denominator": "array"},
    {"where": "none", "special": "poison"},
    {"where": "full", "out": "x"},
    {"weight": "full", "special": "nan"},
)
_WEIGHTED_LABELS: tuple[Mapping[str, Any], ...] = (
    {"ignore_index": -100, "special": "poison"},
    {"ignore_index": 1, "weight": "full"},
    {"class_weight": True},
    {"special": "range"},
    {"special": "range", "weight": "zeros"},
)

# Each is a program of its own, so that a loss gets only some of them unless all are asked for.
_EXTRAS: tuple[Mapping[str, Any], ...] = (
    {"reduction": "none"},
    {"dtypes": ("float64", "float64", "float64")},
    {"want": "grad_and_hess"},
    {"dtypes": ("float16", "float32", "float32")},
    {"argnums": (1,)},
    {"dtypes": ("float32", "bool", "float32")},
    {"want": "value"},
    {"dtypes": ("bfloat16", "bfloat16", "bfloat16")},
    {"reduction": "none", "special": "wild"},
    {"argnums": (0, 1)},
    {"dtypes": ("float32", "int8", "float64")},
    {"want": "grad"},
    {"dtypes": ("int32", "float32", "float32")},
    {"class_weight": True},
    {"dtypes": ("float32", "float64", "float32")},
    {"argnums": (0, 1, 2)},
    {"dtypes": ("uint8", "uint8", "float32")},
    {"want": "grad_and_hess", "weight": "zeros", "special": "poison"},
)
_DTYPES = (
    ("float32", "float32", "float32"),
    ("float64", "float64", "float64"),
    ("float16", "float16", "float16"),
    ("bfloat16", "bfloat16", "float32"),
    ("float16", "float32", "float32"),
    ("float32", "float64", "float32"),
    ("float32", "bool", "float64"),
    ("float64", "int8", "float32"),
    ("bfloat16", "uint16", "float32"),
    ("int64", "float32", "float32"),
    ("uint8", "float16", "float32"),
)
_WANTS = ("value_and_grad", "grad_and_hess", "value", "grad")
_ARGNUMS = ((0,), (1,), (2,), (0, 1), (0, 1, 2))


@dataclass(frozen=True)
class _Case:
    """One call."""

    number: int
    subject: _Subject
    params: Mapping[str, Any]
    domain: tuple[str, str]
    shape: tuple[int, ...]
    """Of x, the class axis last."""
    dtypes: tuple[str, str, str] = ("float32", "float32", "float32")
    """Of x, y and weights."""
    layouts: tuple[str, str, str] = ("plain", "plain", "plain")
    axis: int = -1
    want: str = "value_and_grad"
    argnums: tuple[int, ...] = (0,)
    weight: str = ""
    where: str = ""
    class_weight: bool = False
    ignore_index: int | None = None
    reduction: str = "mean"
    denominator: str = ""
    special: str = ""
    """"poison": NaN and infinities in items that are left out; "nan": in others, which must show;
    "wild": numbers of every magnitude; "range": class indices out of range."""
    out: str = ""
    seed: int = 0

    def __str__(self) -> str:
        said = [f"#{self.number} {self.subject.name}{' labels' if self.subject.labels else ''}"]
        said += [f"{name}={value}" for name, value in self.params.items()]
        for each in fields(self)[3:]:
            value = getattr(self, each.name)
            if value != each.default or each.default is MISSING or each.name in ("dtypes", "seed"):
                said.append(f"{each.name}={value}")
        return " ".join(said)

    @property
    def items(self) -> tuple[int, ...]:
        return self.shape[:-1] if self.subject.rows else self.shape

    @property
    def reduced(self) -> bool:
        return self.reduction != "none" and self.want != "grad_and_hess"

    @property
    def differentiated(self) -> tuple[int, ...]:
        if self.want == "value":
            return ()
        return (0,) if self.want == "grad_and_hess" else self.argnums


def _mended(case: _Case, can_write: bool) -> _Case | None:
    """Return the case without what cannot go together, None where nothing is left to try."""
    subject, (x_dtype, y_dtype, _), new = case.subject, case.dtypes, dict[str, Any]()
    layouts, floating = list(case.layouts), kind(x_dtype) == "float"
    if not subject.by:
        plain = _Case(
            case.number, subject, case.params, case.domain, case.shape, case.dtypes, seed=case.seed
        )
        return replace(plain, want="value", layouts=case.layouts, axis=case.axis)
    if subject.labels and kind(y_dtype) != "int":
        y_dtype = _INTEGERS[case.number % len(_INTEGERS)]
    if case.special == "wild" and x_dtype not in ("float32", "float64"):
        new["special"] = ""
    if case.special == "nan" and not floating:
        new["special"] = ""
    if case.special == "range" or case.ignore_index is not None:
        y_dtype = "int64"
    if case.special == "range" and prod(case.items) < 3:
        new["special"] = ""
    if case.special:
        layouts = ["slice" if each == "broadcast" else each for each in layouts]
    if not set(case.differentiated) <= set(subject.by):
        return None
    if case.want == "grad_and_hess" and not subject.curvature:
        return None
    if case.class_weight and "class_weight" not in subject.options:
        return None
    if case.ignore_index is not None and "ignore_index" not in subject.options:
        return None
    if case.out and (not can_write or not floating or case.want == "value"):
        return None
    if case.out == "x":
        new["argnums"] = (0,)
        if layouts[0] in ("broadcast", "readonly"):
            layouts[0] = "plain"
    if case.reduction != "mean" or case.want == "grad_and_hess":
        new["denominator"] = ""
    if len(case.shape) == 1:
        new["axis"] = -1
    dtypes = (x_dtype, y_dtype, case.dtypes[2])
    return replace(case, dtypes=dtypes, layouts=(layouts[0], layouts[1], layouts[2]), **new)


# -------------------------------------------------------------------------------------- the check

_THREADS = 4


class _Library:
    """The arrays of a library, from and to NumPy's."""

    def __init__(
        self, numpy: Any, asarray: Callable[[Any], Any], to_numpy: Callable[[Any], Any]
    ) -> None:
        self.numpy, self._asarray, self.to_numpy = numpy, asarray, to_numpy
        one = self.own(numpy.ones(1, dtype="float32"))
        self.xp: Namespace = tinyloss.namespace(one)
        self.array: type[Any] = type(one)
        self.is_numpy = isinstance(one, numpy.ndarray)
        self.sees = looks(one)
        self.writes = writeable(one)

    def own(self, host: Any) -> Any:
        """Return a NumPy array as an array of the library that shares nothing with it."""
        return self._asarray(host.copy())

    def has(self, dtype: Any) -> bool:
        """Return whether the library has a dtype of NumPy's."""
        try:
            return dtype_name(self.own(self.numpy.ones(1, dtype=dtype)).dtype) == dtype_name(dtype)
        except (TypeError, ValueError):
            return False

    def lay(self, layout: str, host: Any) -> tuple[Any, Any]:
        """Return an array in memory as a layout says, and the array that owns the memory.

        Memory between the elements holds what would show: NaN, or the largest integer.
        """
        np, n = self.numpy, host.ndim
        if layout == "readonly" and self.is_numpy:
            base = self.own(host)
            base.flags.writeable = False
            return base, base
        if layout == "unaligned" and self.is_numpy:
            base = np.zeros(host.nbytes + 1, np.uint8)
            view = np.ndarray(host.shape, host.dtype, base, 1)
            view[...] = host
            return view, base
        if layout in ("plain", "readonly", "unaligned") or n == 0:
            base = self.own(host)
            return base, base
        if layout == "transposed":
            base = self.own(np.ascontiguousarray(host.T))
            return self.xp.permute_dims(base, tuple(reversed(range(n)))), base
        if layout == "broadcast":
            base = self.own(host[:1])
            return self.xp.broadcast_to(base, host.shape), base
        if layout == "reversed":
            back = (slice(None, None, -1),) * n
            base = self.own(host[back])
            return base[back], base
        if layout == "offset":
            base = self.own(np.concatenate([self._junk(host, (1,)), host.reshape(-1)]))
            return self.xp.reshape(base[1:], host.shape), base
        every_second = slice(1, None, 2)
        at = (..., every_second) if layout == "slice" else (every_second, ...)
        axis = n - 1 if layout == "slice" else 0
        shape = (*host.shape[:axis], 2 * host.shape[axis] + 1, *host.shape[axis + 1 :])
        wide = self._junk(host, shape)
        wide[at] = host
        base = self.own(wide)
        return base[at], base

    def _junk(self, host: Any, shape: tuple[int, ...]) -> Any:
        np, of = self.numpy, kind(host.dtype)
        junk = True if of == "bool" else np.iinfo(host.dtype).max if of == "int" else np.nan
        return np.full(shape, junk, dtype=host.dtype)


@dataclass
class _Placed:
    """The arguments of a call, and the memory they are in."""

    arrays: list[Any]
    options: dict[str, Any]
    bases: dict[str, Any]
    out: tuple[Any, ...] = ()
    gaps: list[Any] = field(default_factory=list[Any])
    """What lies between the elements of strided results."""


class _Check:
    """Runs cases and keeps what came out."""

    def __init__(
        self,
        library: _Library,
        watch: _Watch,
        pool: ThreadPoolExecutor,
        context: Callable[[], AbstractContextManager[Any]],
        through: Callable[[Callable[..., Any]], Callable[..., Any]] | None,
        derive: Callable[..., Any] | None,
        bound: float,
        seed: int,
    ) -> None:
        self.library, self.np = library, library.numpy
        self.watch, self.pool, self.context = watch, pool, context
        self.through, self.derive = through, derive
        self.bound, self.seed = bound, seed
        self.ran = self.answered = 0
        self.programs: set[Any] = set()
        self.worst: dict[str, float] = {}
        self.failures: list[str] = []
        self.left_out: list[str] = []
        self.dtypes = self._find_dtypes()

    def _find_dtypes(self) -> dict[str, Any]:
        dtypes = {name: self.np.dtype(name) for name in (*_INTEGERS, "bool")}
        dtypes |= {name: self.np.dtype(name) for name in _PRECISION if name != "bfloat16"}
        try:
            dtypes["bfloat16"] = self.np.dtype(import_module("ml_dtypes").bfloat16)
        except ImportError:
            self.left_out.append("bfloat16: ml_dtypes is not installed")
        for name in [name for name, dtype in dtypes.items() if not self.library.has(dtype)]:
            self.left_out.append(f"{name}: the library has no such arrays")
            del dtypes[name]
        return dtypes

    def report(self, name: str, must_answer: bool) -> Report:
        """Return the report, or raise all failures."""
        if self.failures:
            raise AssertionError(
                f"the backend for {name} failed {len(self.failures)} of {self.ran} cases "
                f"(only=[number] runs one again):\n" + "\n".join(self.failures)
            )
        if self.ran and not self.answered:
            raise AssertionError(f"the backend for {name} answered none of {self.ran} cases")
        if must_answer and self.answered < self.ran:
            raise AssertionError(
                f"the backend for {name} declined {self.ran - self.answered} of {self.ran} cases"
            )
        programs = len(self.programs)
        return Report(self.ran, self.answered, programs, self.worst, tuple(self.left_out))

    # The selection.

    def cases(self, losses: Iterable[Any], full: bool, classes: list[int]) -> Iterator[_Case]:
        """Yield the cases."""
        numbers = itertools.count()
        turn = itertools.count()
        for subject in [subject for loss in losses for subject in self._subjects(loss)]:
            domains = [self._domains(subject, params) for params in subject.variants]
            real = tuple(any(pair[n] == "real" for pair in domains[0]) for n in (0, 1))
            subject = replace(subject, real=real)
            if classes:
                plan = self._rows(subject, classes, None if full else next(turn))
            else:
                plan = self._all(subject) if full else self._some(subject, next(turn))
            for variant, changes in plan:
                number = next(numbers)
                case = self._case(subject, number, variant, domains[variant], dict(changes))
                writes = self.library.writes and self.through is None and self.derive is None
                mended = case if case is None else _mended(case, writes)
                if mended is not None and self._derives(mended):
                    yield mended

    def _derives(self, case: _Case) -> bool:
        """Return whether a library that differentiates by itself takes the case's arguments."""
        if self.derive is None or case.want == "grad_and_hess":
            return True
        dtypes = [case.dtypes[min(argnum, 1)] for argnum in case.differentiated]
        return all(kind(dtype) == "float" for dtype in dtypes)

    def _case(
        self,
        subject: _Subject,
        number: int,
        variant: int,
        domains: Sequence[tuple[str, str]],
        changes: dict[str, Any],
    ) -> _Case | None:
        """Return a case; what is not asked for goes by its number, in steps without a common
        factor, so that each meets each.
        """
        shape = changes.pop("shape", None)
        if shape is None:
            shapes = [each for each in _shapes(subject) if 8 < prod(each) < _LARGE]
            shape = shapes[number % len(shapes)]
        dtypes = changes.pop("dtypes", _DTYPES[0])
        wanted = [dtypes[0], dtypes[2], *([] if subject.labels else [dtypes[1]])]
        if not set(wanted) <= set(self.dtypes):
            return None
        if not subject.labels and kind(dtypes[1]) != "float":
            whole = ("hard",) if dtypes[1] == "bool" else ("hard", "positive")
            domains = [domain for domain in domains if domain[1] in whole]
        if changes.get("special") == "wild":
            domains = [domain for domain in domains if domain[0] == "real"]
        if not domains:
            return None
        layouts = [_LAYOUTS[number * step % len(_LAYOUTS)] for step in (1, 4, 7)]
        axis = -1
        if subject.rows and "axis" in subject.options and len(shape) > 1 and number % 3 == 1:
            axis = number % (len(shape) - 1)
            layouts = ["transposed" if each == "broadcast" else each for each in layouts]
        case = _Case(
            number,
            subject,
            subject.variants[variant],
            domains[number % len(domains)],
            shape,
            dtypes,
            (layouts[0], layouts[1], layouts[2]),
            axis,
            seed=self.seed,
        )
        return replace(case, **changes)

    def _some(self, subject: _Subject, turn: int) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """Yield a selection that needs few programs.

        Every shape and every option without weights in one program, every option with weights in
        another (in turn of another dtype); one or two programs more.
        """
        for shape in _shapes(subject):
            yield 0, {"shape": shape}
        if not subject.by:
            return
        for options in _UNWEIGHTED:
            yield 0, options
        for shape in [each for each in _shapes(subject) if prod(each) < 2]:
            yield 0, {"shape": shape, "out": "fresh"}
        weighted = [*_WEIGHTED, *(_WEIGHTED_LABELS if subject.labels else ())]
        floats = [dtypes for dtypes in _DTYPES[:6] if set(dtypes) <= set(self.dtypes)]
        for options in weighted:
            yield 0, {"dtypes": floats[turn % len(floats)], **options}
        large = {"shape": _shapes(subject)[-1], "weight": "zeros", "special": "poison"}
        yield 0, {"dtypes": floats[turn % len(floats)], **large}
        start = 5 * turn % len(_EXTRAS)  # 5 and their number have no common factor: all come first
        extras = iter((*_EXTRAS[start:], *_EXTRAS[:start]))
        for variant in {len(subject.variants) - 1: None, 0: None}:
            for extra in extras:
                case = self._case(subject, 0, variant, _DOMAINS, dict(extra))
                if case is None or _mended(case, self.library.writes) is None:
                    continue
                written = replace(case, out="fresh")
                yield variant, extra
                more = {} if _mended(written, self.library.writes) is None else {"out": "fresh"}
                yield variant, {**extra, **more}
                break

    def _rows(
        self, subject: _Subject, classes: list[int], turn: int | None
    ) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """Yield rows of so many classes in every floating dtype, or in turn in one of them."""
        if not subject.rows:
            return
        floats = [dtypes for dtypes in _DTYPES[:5] if set(dtypes) <= set(self.dtypes)]
        for n, length in enumerate(classes):
            chosen = floats if turn is None else [floats[(turn + n) % len(floats)]]
            for dtypes in chosen:
                case = {"shape": (3, length), "dtypes": dtypes}
                yield 0, case
                if turn is None and subject.by:
                    yield 0, {**case, "out": "x"}

    def _all(self, subject: _Subject) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """Yield all pairs of what makes a program, and random combinations of everything."""
        yield from self._some(subject, 0)
        for variant in range(len(subject.variants)):
            for extra in _EXTRAS:
                yield variant, extra
            if not subject.by:
                for dtypes in _DTYPES:
                    yield variant, {"dtypes": dtypes}
                continue
            for want, dtypes in itertools.product(_WANTS, _DTYPES):
                yield variant, {"want": want, "dtypes": dtypes}
        if not subject.by:
            return
        shapes = [each for each in _shapes(subject) if prod(each) < _LARGE]
        weighted = [*_WEIGHTED, *(_WEIGHTED_LABELS if subject.labels else ())]
        rng = self.np.random.default_rng([self.seed, *subject.name.encode()])

        def one_of(values: Sequence[Any]) -> Any:
            return values[int(rng.integers(len(values)))]

        for _ in range(60):
            options = {**one_of(_UNWEIGHTED), **one_of(_EXTRAS), **one_of([{}, *weighted])}
            options |= {"dtypes": one_of(_DTYPES), "shape": one_of(shapes)}
            options |= {"layouts": tuple(one_of(_LAYOUTS[:5]) for _ in range(3))}
            options |= {"argnums": one_of(_ARGNUMS), "reduction": one_of(("mean", "sum", "none"))}
            yield int(rng.integers(len(subject.variants))), options

    # What a loss takes: found by asking.

    def _subjects(self, loss: Any) -> Iterator[_Subject]:
        """Yield a loss with each kind of target it takes."""
        np, x = self.np, self.np.ones((2, 3))
        if not callable(loss) or not hasattr(loss, "__name__"):
            raise TypeError(
                f"tinyloss.testing: got {loss!r}, expected a loss function: of tinyloss, or your "
                "own decorated with @tinyloss.loss"
            )
        parameters = inspect.signature(loss).parameters
        arguments = tuple(
            name
            for name, each in parameters.items()
            if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
        )
        plain = _Subject(loss, loss.__name__, arguments, frozenset(parameters))
        if not hasattr(loss, "ask"):
            _, job = self.watch.formulas(lambda: loss(x))
            yield replace(plain, rows=job.kind.rowwise)
            return
        for y in (x, np.zeros(2, np.int64)):
            given = [x, y, *(x for _ in arguments[2:])]
            try:
                _, job = self.watch.formulas(lambda: loss(*given))  # noqa: B023 - called at once
            except (TypeError, ValueError):
                continue
            subject = replace(plain, labels=job.kind.role("y").integer, rows=job.kind.rowwise)
            yield self._described(subject, given)

    def _described(self, subject: _Subject, given: list[Any]) -> _Subject:
        """Return the subject with its derivatives and parameters."""
        loss, arrays = subject.loss, set[str]()

        def accepts(parameters: Mapping[str, Any]) -> bool:
            try:
                _, job = self.watch.formulas(lambda: loss(*given, **parameters))
            except (TypeError, ValueError):
                return False
            arrays.update(set(parameters) & set(job.arrays))
            return True

        def differentiable(want: Any, *argnums: int) -> bool:
            try:
                self.watch.formulas(lambda: want(loss, *argnums)(*given))
            except (TypeError, ValueError):
                return False
            return True

        def takes(target: int) -> bool:
            y = self.np.full(given[0].shape, target)
            try:
                self.watch.formulas(lambda: loss(given[0], y, *given[2:]))
            except (TypeError, ValueError):
                return False
            return True

        return replace(
            subject,
            by=tuple(n for n in range(len(given)) if differentiable(tinyloss.grad, n)),
            curvature=differentiable(tinyloss.grad_and_hess),
            variants=tuple(_parameters(subject, accepts)),
            arrays=frozenset(arrays),
            binary=takes(0) and not takes(2),
            signs=takes(-1) and not takes(0),
        )

    def _domains(self, subject: _Subject, params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return what x and y may be: where the formulas are finite."""
        found: list[tuple[str, str]] = []
        double = self.dtypes.get("float64", self.np.dtype("float64"))
        for domain in _DOMAINS:
            if subject.labels and domain[0] in dict(found):
                continue
            case = _Case(0, subject, params, domain, (5, 4), argnums=subject.by)
            rng = self.np.random.default_rng(0)
            x = self._draw(rng, domain[0], case.shape, double, subject.rows)
            given = [x]
            if subject.by:
                y = self._draw(rng, domain[1], case.shape, double, subject.rows)
                labels = rng.integers(0, 4, 5)
                more = [self.np.abs(x) + 0.25 for _ in subject.arguments[2:]]
                given += [labels if subject.labels else y, *more]
            parts: Parts = {}
            for want in _WANTS[: 1 + subject.curvature] if subject.by else ("value",):
                asked = replace(case, want=want)
                with tinyloss.validation("never"):
                    parts |= self.watch.formulas(lambda: _ask(asked, given, params))[0]  # noqa: B023
            if all(self.np.all(self.np.isfinite(part)) for part in parts.values()):
                found.append(domain)
        return found or [("unit", "unit")]

    # The numbers.

    def _draw(
        self, rng: Any, domain: str, shape: tuple[int, ...], dtype: Any, rows: bool = False
    ) -> Any:
        np = self.np
        if domain == "real":
            drawn = 2 * rng.standard_normal(shape)
        elif domain == "positive":
            drawn = 0.0625 + 2 * np.abs(rng.standard_normal(shape))
        elif domain == "unit":
            drawn = rng.uniform(0.0625, 0.9375, shape)
            if rows:
                drawn = drawn / drawn.sum(axis=-1, keepdims=True)
        elif domain == "hard" and rows:
            drawn = rng.permuted(np.arange(prod(shape)).reshape(shape) % shape[-1] == 0, axis=-1)
        elif domain == "hard":
            drawn = rng.integers(0, 2, shape)
        else:
            drawn = 2 * rng.integers(0, 2, shape) - 1
        drawn = np.asarray(drawn)
        if kind(dtype) == "bool":
            return drawn > 0.5
        if kind(dtype) == "int":
            low = max(np.iinfo(dtype).min, -128)
            return np.clip(np.rint(drawn), low, 127).astype(dtype)
        return drawn.astype(dtype)

    def _hosts(self, case: _Case) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments and options of a case as NumPy arrays, the class axis last."""
        np, subject, items = self.np, case.subject, case.items
        rng = np.random.default_rng([case.seed, case.number])
        x_dtype, y_dtype, w_dtype = (self.dtypes.get(name) for name in case.dtypes)
        x = self._draw(rng, case.domain[0], case.shape, x_dtype, subject.rows)
        x = _repeated(np, x, case.layouts[0])
        if not subject.by:
            return [x], {}
        if subject.labels:
            y_dtype = np.dtype(case.dtypes[1])
            last = min(case.shape[-1], int(np.iinfo(y_dtype).max) + 1)
            y = np.asarray(rng.integers(0, last, items)).astype(y_dtype)
        else:
            narrow = subject.binary or subject.signs
            if kind(x_dtype) == "int" and kind(y_dtype) == "float" and narrow:
                y_dtype = x_dtype  # the other way round they count as swapped
            signs = subject.signs and kind(y_dtype) == "int"
            domain = "signs" if signs else case.domain[1]
            y = self._draw(rng, domain, case.shape, y_dtype, subject.rows)
        y = _repeated(np, y, case.layouts[1])
        floating = x_dtype if kind(x_dtype) == "float" else w_dtype
        more = [
            _repeated(np, self._draw(rng, "positive", case.shape, floating), case.layouts[1])
            for _ in subject.arguments[2:]
        ]
        arrays, options = [x, y, *more], dict[str, Any]()

        row = (*items[:-1], 1) if len(items) > 1 else (1,) if items else ()
        kept = np.ones(items, dtype=bool)
        if case.weight == "number":
            options["weight"] = 1.5
        elif case.weight:
            weight = rng.uniform(0.5, 2, row if case.weight == "row" else items)
            if case.weight == "zeros":
                weight = weight * (rng.random(items) < 0.6)
            weight = _repeated(np, np.asarray(weight).astype(w_dtype), case.layouts[2])
            options["weight"], kept = weight, kept & (weight != 0)
        if case.where:
            share = 0.0 if case.where == "none" else 0.6
            where = np.asarray(rng.random(row if case.where == "row" else items) < share)
            options["where"], kept = where, kept & where
        if case.ignore_index is not None:
            options["ignore_index"] = case.ignore_index
            y[...] = np.where(rng.random(items) < 0.3, case.ignore_index, y)
            kept = kept & (y != case.ignore_index)
        if case.class_weight:
            options["class_weight"] = self._draw(rng, "positive", case.shape[-1:], w_dtype)
        for name, value in case.params.items():
            options[name] = value
            if name in subject.arrays:  # a number, one for each column, one for each element
                shape = ((), case.shape[-1:], case.shape)[case.number % 3]
                if shape:
                    options[name] = self._draw(rng, "positive", shape, w_dtype)
        if case.denominator:
            divisor = np.asarray(7.5, dtype=w_dtype)
            options["denominator"] = divisor if case.denominator == "array" else 7.5
        if case.want != "grad_and_hess":
            options["reduction"] = case.reduction
        self._spoil(rng, case, arrays, kept)
        return arrays, options

    def _spoil(self, rng: Any, case: _Case, arrays: list[Any], kept: Any) -> None:
        """Put into the arrays what the case is about."""
        np, bad = self.np, (self.np.nan, self.np.inf, -self.np.inf)
        floating = [each for each in arrays if kind(each.dtype) == "float"]
        if case.special == "poison":
            for array in floating:
                array[~kept] = rng.choice(bad, (*array[~kept].shape,)).astype(array.dtype)
            if case.subject.labels and case.ignore_index is None:
                arrays[1][~kept] = np.iinfo(arrays[1].dtype).max
        elif case.special == "nan":
            for array in floating:
                flat = array.reshape(-1)
                at = rng.permutation(flat.size)[:3]
                # an infinity is no target of a binary loss
                worst = bad[:1] * 3 if case.subject.binary and array is arrays[1] else bad
                flat[at] = np.asarray(worst[: len(at)]).astype(array.dtype)
        elif case.special == "wild":
            scale = 10 ** rng.uniform(-18, 18, case.shape)
            arrays[0][...] = arrays[0] * scale.astype(arrays[0].dtype)
        elif case.special == "range":
            at = rng.permutation(arrays[1].size)[:3]
            arrays[1].reshape(-1)[at] = [-1, case.shape[-1], np.iinfo(arrays[1].dtype).max]

    def _place(self, case: _Case, arrays: list[Any], options: Mapping[str, Any]) -> _Placed:
        """Return the arguments as arrays of the library, each in its memory."""
        placed = _Placed([], dict(options), {})
        names = [*case.subject.arguments, *options]
        layouts = [*case.layouts[:2], *(case.layouts[1] for _ in arrays[2:])]
        for n, (host, layout) in enumerate(zip(arrays, layouts, strict=False)):
            view, placed.bases[names[n]] = self.library.lay(layout, _moved(self.np, case, host))
            placed.arrays.append(view)
        for name, host in options.items():
            if isinstance(host, self.np.ndarray):
                moved = _moved(self.np, case, host) if name in case.subject.arrays else host
                layout = case.layouts[2] if name == "weight" else "plain"
                placed.options[name], placed.bases[name] = self.library.lay(layout, moved)
        if case.subject.rows and "axis" in case.subject.options:
            placed.options["axis"] = case.axis
        if case.out:
            placed.out = tuple([self._out(case, case.out, placed, n) for n in case.differentiated])
            if case.want == "grad_and_hess":
                placed.out += (self._out(case, "fresh", placed, 0),)
        return placed

    def _out(self, case: _Case, out: str, placed: _Placed, argnum: int) -> Any:
        if out == "x":
            del placed.bases["x"]
            return placed.arrays[0]
        array = self.library.to_numpy(placed.arrays[argnum])
        dtype = array.dtype if kind(array.dtype) == "float" else self._computes_in(case)
        host = self.np.full(array.shape, self.np.nan, dtype=dtype)
        if out == "fresh":
            return self.library.own(host)
        view, base = self.library.lay("slice", host)
        placed.gaps += [base[..., ::2]] if host.ndim else []
        return view

    def _computes_in(self, case: _Case) -> str:
        """Return the name of the dtype that the library computes in."""
        given = [self.library.own(self.np.ones(1, self.dtypes[case.dtypes[0]]))]
        if case.subject.by and not case.subject.labels:
            given.append(self.library.own(self.np.ones(1, self.dtypes[case.dtypes[1]])))
        more = [given[0] for _ in case.subject.arguments[2:]]
        dtype = compute_dtype(self.library.xp, *given, *more)
        return dtype_name(self.library.xp.ones(1, dtype=dtype).dtype)

    # The comparison.

    def run(self, case: _Case) -> None:
        """Put the backend to a case."""
        self.ran += 1
        arrays, options = self._hosts(case)
        try:
            complaints = self._complaints(case, arrays, options)
        except Exception as error:  # whatever a backend raises is its failure, not the end
            complaints = [f"raised {type(error).__name__}: {str(error).partition(chr(10))[0]}"]
        if complaints:
            self.failures.append(f"{case}: {'; '.join(complaints)}")

    def _complaints(self, case: _Case, arrays: list[Any], options: dict[str, Any]) -> list[str]:
        complaints: list[str] = []
        placed = self._place(case, arrays, options)
        before = {name: self._bits(base) for name, base in placed.bases.items()}
        between = [self._bits(gap) for gap in placed.gaps]
        if case.special == "range":
            complaints += self._refusal(case, placed)
        log = _Log(formulas=False)
        call = self._calling(case, placed)
        first = _logged(log, call)
        if log.declined:
            return complaints
        self.answered += 1
        self.programs.update(log.programs)

        complaints += [
            f"{name} was changed"
            for name, base in placed.bases.items()
            if self._bits(base) != before[name]
        ]
        if between != [self._bits(gap) for gap in placed.gaps]:
            complaints.append("wrote between the elements of out")
        if placed.out:
            written = [part for name, part in first.items() if name != "value"]
            if not all(part is out for part, out in zip(written, placed.out, strict=True)):
                complaints.append("a derivative is not the array given as out")
        elif self.library.is_numpy:
            complaints += [
                f"{name} shares memory with {of}"
                for name, part in first.items()
                for of, base in placed.bases.items()
                if isinstance(part, self.np.ndarray) and self.np.may_share_memory(part, base)
            ]
        complaints += self._differences(case, arrays, options, first)
        if not complaints:
            if placed.out:
                call = self._calling(case, self._place(case, arrays, options))
            complaints += self._unsteadiness(call, first, threads=not placed.out)
        return complaints

    def _calling(self, case: _Case, placed: _Placed) -> Callable[[], Parts]:
        """Return the call of a case, to be made as often as one likes."""
        mode: Any = "never" if case.special == "range" else "auto"
        static = {n: v for n, v in placed.options.items() if not isinstance(v, self.library.array)}
        given = {name: v for name, v in placed.options.items() if name not in static}

        def ask(arrays: Any, options: Any) -> Parts:
            return _ask(case, arrays, {**static, **options}, placed.out, self.derive)

        transformed = ask if self.through is None else self.through(ask)

        def call() -> Parts:
            with self.context(), tinyloss.validation(mode):
                parts: Parts = transformed(placed.arrays, given)
                return parts

        return call

    def _refusal(self, case: _Case, placed: _Placed) -> list[str]:
        """Return a complaint if class indices out of range are not refused where looked at."""
        if case.weight or not self.library.sees:  # what weighs 0 need not be in range
            return []
        try:
            with self.context(), tinyloss.validation("always"):
                _ask(case, placed.arrays, placed.options)
        except ValueError:
            return []
        return ["class indices out of range raise no ValueError"]

    def _bits(self, array: Any) -> bytes:
        host = self.np.asarray(self.library.to_numpy(array))
        bits: bytes = host.tobytes()
        return bits

    def _unsteadiness(self, call: Callable[[], Parts], first: Parts, *, threads: bool) -> list[str]:
        """Return complaints if other calls give other bits: a second one, four in threads."""
        bits = {name: self._bits(part) for name, part in first.items()}

        def differ(parts: Parts) -> list[str]:
            return [name for name, part in parts.items() if self._bits(part) != bits[name]]

        changed = differ(call())
        if changed:
            return [f"{', '.join(changed)}: other bits at the second call"]
        if not threads:
            return []
        start = threading.Barrier(_THREADS)

        def at_once(_: int) -> Parts:
            start.wait()
            return call()

        answers = self.pool.map(at_once, range(_THREADS))
        changed = list(dict.fromkeys(name for parts in answers for name in differ(parts)))
        return [f"{', '.join(changed)}: other bits in a thread"] if changed else []

    def _differences(
        self, case: _Case, arrays: list[Any], options: dict[str, Any], got: Parts
    ) -> list[str]:
        """Return complaints where results are not what the formulas give."""
        np, computed = self.np, self._computes_in(case)
        eps, subnormal = _PRECISION[computed]
        expected, truth, unit = self._reference(case, arrays, options, computed)
        complaints: list[str] = []
        for name, part in got.items():
            want, exact, size = (np.asarray(each[name]) for each in (expected, truth, unit))
            kinds = self.library.array
            if self.library.is_numpy and not (case.out and name != "value"):
                kinds = expected[name].__class__
            if type(part) is not kinds:
                complaints.append(f"{name} is a {type(part).__name__}, expected {kinds.__name__}")
                continue
            if dtype_name(part.dtype) != dtype_name(want.dtype):
                complaints.append(
                    f"{name} has dtype {dtype_name(part.dtype)}, expected {dtype_name(want.dtype)}"
                )
            if tuple(part.shape) != want.shape:
                complaints.append(f"{name} has shape {tuple(part.shape)}, expected {want.shape}")
                continue
            result, want = (_double(np, each) for each in (self.library.to_numpy(part), want))
            with np.errstate(all="ignore"):
                finite = np.isfinite(want)
                same = (result == want) | (np.isnan(result) & np.isnan(want))
                error = np.abs(result - exact)
                forgiven = _SUBNORMALS * subnormal
                if dtype_name(part.dtype) != computed:
                    forgiven = forgiven + _last_place(np, exact, dtype_name(part.dtype))
                size = np.where(np.isfinite(size), size, np.abs(exact))
                allowed = np.abs(want - exact) + self.bound * eps * size + forgiven
                wrong = np.where(finite, ~(error <= allowed), ~same)
                units = np.maximum(error - forgiven, 0) / np.maximum(eps * size, forgiven)
                worst = float(np.max(units, where=finite & np.isfinite(units), initial=0.0))
            loss = case.subject.name
            self.worst[loss] = max(self.worst.get(loss, 0.0), worst)
            if np.any(wrong):
                at = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
                place = tuple(int(i) for i in at)
                complaints.append(
                    f"{name}{list(place) if place else ''} is {result[at]!s}, expected "
                    f"{(exact if finite[at] else want)[at]!s}: {units[at]:.3g} units off, "
                    f"{int(np.sum(wrong))} of {wrong.size} wrong"
                )
        return complaints

    def _reference(
        self, case: _Case, arrays: list[Any], options: dict[str, Any], computed: str
    ) -> tuple[Parts, Parts, Parts]:
        """Return the formulas' answer in the dtype computed in, in float64, and its sensitivity."""
        np = self.np
        given = list(arrays)
        if kind(given[0].dtype) != "float":
            given[0] = given[0].astype(computed)
        expected, _ = self._by_formulas(case, given, options)
        wide = [_widened(np, each) for each in given]
        more = {name: _widened(np, each) for name, each in options.items()}
        truth, job = self._by_formulas(case, wide, more)

        # Items by themselves, so that the sizes of a sum's terms can be added up.
        alone = replace(case, reduction="none", denominator="") if case.reduced else case
        each_item = {k: v for k, v in more.items() if k != "denominator"}
        if case.reduced and case.subject.by:
            each_item["reduction"] = "none"
        terms, _ = self._by_formulas(alone, wide, each_item)
        unit = self._sensitivity(alone, wide, each_item, terms)
        scale = 1.0 if job.divisor is None else self._divisor(case, wide, more)
        for name in truth:
            with np.errstate(all="ignore"):
                size = (np.abs(terms[name]) + unit[name]) / scale
                if name == "value" and case.reduced and case.subject.by:
                    size = np.sum(size)
                unit[name] = np.maximum(size, np.abs(truth[name]))
        return expected, truth, unit

    def _divisor(self, case: _Case, arrays: list[Any], options: Mapping[str, Any]) -> Any:
        """Return the size of what a mean divides by: a job's is in units of its weights."""
        if options.get("denominator") is not None:
            return self.np.abs(_double(self.np, options["denominator"]))
        parts, _ = self._by_formulas(replace(case, want="sums"), arrays, options)
        weight = self.np.abs(parts["weight"])
        return self.np.where(weight == 0, 1.0, weight)

    def _by_formulas(
        self, case: _Case, arrays: list[Any], options: Mapping[str, Any]
    ) -> tuple[Parts, Job]:
        """Return the formulas' answer to NumPy arrays, where a result's class axis is its own."""
        moved = [_moved(self.np, case, each) for each in arrays]
        more = dict(options)
        for name in case.subject.arrays & set(more):
            more[name] = _moved(self.np, case, more[name])
        if case.subject.rows and "axis" in case.subject.options:
            more["axis"] = case.axis
        with tinyloss.validation("never"):
            return self.watch.formulas(lambda: _ask(case, moved, more))

    def _sensitivity(
        self, case: _Case, arrays: list[Any], options: Mapping[str, Any], parts: Parts
    ) -> Parts:
        """Return how much each result changes by, for a relative change of the inputs.

        From differences in random directions, over a long step and a short one. At a jump they
        disagree, and then there is nothing to be said: 0.
        """
        np = self.np
        unit: Parts = {name: np.zeros(np.shape(part)) for name, part in parts.items()}
        rng = np.random.default_rng([case.seed, case.number, 1])
        inputs: list[Any] = [*range(len(arrays)), *sorted(case.subject.arrays & set(options))]
        for at in inputs:
            most: Parts = {name: np.zeros(np.shape(part)) for name, part in parts.items()}
            for _ in range(2):
                slopes: list[Parts] = []
                given = arrays[at] if isinstance(at, int) else options[at]
                direction = self._direction(case, rng, given, at)
                if direction is None:
                    break
                for step in (2.0**-13, 2.0**-30):
                    with np.errstate(all="ignore"):
                        near = given + step * direction
                    if isinstance(at, int):
                        moved_arrays = [*arrays[:at], near, *arrays[at + 1 :]]
                        moved, _ = self._by_formulas(case, moved_arrays, options)
                    else:
                        moved, _ = self._by_formulas(case, arrays, {**options, at: near})
                    with np.errstate(all="ignore"):
                        slopes.append({k: np.abs(moved[k] - parts[k]) / step for k in parts})
                for name, size in most.items():
                    long, short = slopes[0][name], slopes[1][name]
                    smooth = np.isfinite(long) & np.isfinite(short) & (short <= 4 * long)
                    most[name] = np.maximum(size, np.where(smooth, np.minimum(long, short), 0.0))
            unit = {name: size + most[name] for name, size in unit.items()}
        return unit

    def _direction(self, case: _Case, rng: Any, array: Any, argument: Any) -> Any:
        """Return how far to go in a random direction, None for what cannot move."""
        np, labels = self.np, case.subject.labels and argument == 1
        if labels or not isinstance(array, np.ndarray) or kind(array.dtype) == "bool":
            return None
        size = np.abs(_double(np, array))
        if argument in (0, 1) and case.subject.real[argument]:
            size = np.maximum(size, 1.0)
        drawn = rng.uniform(0.5, 1, array.shape) * (2 * rng.integers(0, 2, array.shape) - 1)
        # An infinite number stays where it is.
        return np.where(np.isfinite(size), drawn * size, 0.0)


def _ask(
    case: _Case,
    arrays: list[Any],
    options: Mapping[str, Any],
    out: tuple[Any, ...] = (),
    derive: Callable[..., Any] | None = None,
) -> Parts:
    """Return what a case wants, by name."""
    loss, names = case.subject.loss, case.subject.arguments
    if case.want == "value":
        return {"value": loss(*arrays, **options)}
    if case.want == "sums":
        return {"weight": tinyloss.partial_mean(loss)(*arrays, **options).weight}
    if case.want == "grad_and_hess":
        gradient, curvature = tinyloss.grad_and_hess(loss, out=out or None)(*arrays, **options)
        return {f"gradient by {names[0]}": gradient, "curvature": curvature}
    one = len(case.argnums) == 1
    argnums: Any = case.argnums[0] if one else case.argnums
    into = {"out": out[0] if one else out} if out else {}
    parts: Parts = {}
    if derive is None and case.want == "grad":
        grads: Any = tinyloss.grad(loss, argnums, **into)(*arrays, **options)
    else:
        derive = derive or tinyloss.value_and_grad
        value, grads = derive(loss, argnums, **into)(*arrays, **options)
        if case.want != "grad":
            parts["value"] = value
    by = [f"gradient by {names[n]}" for n in case.argnums]
    return parts | dict(zip(by, (grads,) if one else grads, strict=True))


def _repeated(np: Any, host: Any, layout: str) -> Any:
    """Return what an array with this layout holds."""
    if layout != "broadcast" or host.ndim == 0:
        return host
    return np.broadcast_to(host[:1], host.shape).copy()


def _moved(np: Any, case: _Case, host: Any) -> Any:
    """Return an array of x's shape with the class axis where the case has it."""
    whole = isinstance(host, np.ndarray) and host.shape == case.shape
    if case.axis == -1 or not whole:
        return host
    return np.ascontiguousarray(np.moveaxis(host, -1, case.axis))


def _widened(np: Any, value: Any) -> Any:
    """Return an array with its numbers in float64; booleans stay what they are."""
    floating = isinstance(value, np.ndarray) and kind(value.dtype) == "float"
    return value.astype(np.float64) if floating else value


def _double(np: Any, value: Any) -> Any:
    return np.asarray(value).astype(np.float64)


def _last_place(np: Any, exact: Any, dtype: str) -> Any:
    """Return the unit in the last place of a dtype at numbers in float64."""
    eps, subnormal = _PRECISION[dtype]
    _, exponent = np.frexp(np.where(np.isfinite(exact), exact, 0.0))
    return np.maximum(np.ldexp(eps, exponent - 1), subnormal)
