"""The contract of a backend, as a check: whether it answers every call as the formulas do.

    losses      every public loss, its parameters, what its arguments may be: found by asking it
       |        shapes, strides, dtypes, weights, masks, wants: a selection that covers each
    cases       one call each, with what reproduces it
       |        the backend's answer; the formulas' answer, on NumPy, in float64
    report      how many cases were answered, how far off the worst was; or every failure

For our backends and for third parties'. NumPy, on which the formulas run for comparison, is
imported when a check begins.
"""

import warnings
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import tinyloss
from tinyloss._function import LossFunction
from tinyloss.losses import activations
from tinyloss.testing._arrays import Library
from tinyloss.testing._cases import Selection
from tinyloss.testing._check import THREADS, Check, Tally
from tinyloss.testing._reference import Reference
from tinyloss.testing._subjects import subjects_of
from tinyloss.testing._watch import Watch
from tinyloss.typing import Namespace

__all__ = ["Report", "check_backend"]

# The namespaces whose module is not named after the library.
_MODULES = {"jax": "jax.numpy"}


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
    library = Library(
        numpy,
        asarray or module.asarray,
        to_numpy or getattr(module, "asnumpy", None) or numpy.asarray,
    )
    derives = value_and_grad is not None
    writes = library.writes and through is None and not derives
    selection = Selection(library, seed, writes=writes, derives=derives)
    chosen = None if only is None else set(only)
    # Rows of one class are tried too.
    silence = warnings.catch_warnings(action="ignore", category=RuntimeWarning)
    with silence, Watch(numpy) as watch, ThreadPoolExecutor(THREADS) as pool:
        reference = Reference(numpy, watch)
        check = Check(library, reference, pool, context, through, value_and_grad, bound)
        asked = _public_losses() if losses is None else losses
        subjects = [each for loss in asked for each in subjects_of(numpy, watch, loss)]
        for case in selection.cases(subjects, full, [*classes]):
            if chosen is None or case.number in chosen:
                check.run(case)
    return _report(name, check.tally, library.left_out, must_answer)


def _public_losses() -> list[Any]:
    found = [loss for loss in vars(tinyloss).values() if isinstance(loss, LossFunction)]
    return [*found, *(getattr(tinyloss, name) for name in activations.__all__)]


def _report(name: str, tally: Tally, left_out: list[str], must_answer: bool) -> Report:
    """Return the report, or raise all failures."""
    ran, answered = tally.ran, tally.answered
    if tally.failures:
        raise AssertionError(
            f"the backend for {name} failed {len(tally.failures)} of {ran} cases "
            f"(only=[number] runs one again):\n" + "\n".join(tally.failures)
        )
    if ran and not answered:
        raise AssertionError(f"the backend for {name} answered none of {ran} cases")
    if must_answer and answered < ran:
        raise AssertionError(f"the backend for {name} declined {ran - answered} of {ran} cases")
    return Report(ran, answered, len(tally.programs), tally.worst, tuple(left_out))
