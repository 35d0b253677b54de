"""Checks: whether a loss keeps its digits, and whether a backend keeps the contract.

`check_loss` is of `_loss`. `check_backend`: every answer is that of the formulas.

    losses      every public loss, its parameters, the domains of its arguments    _subjects
       |        a selection of shapes, strides, dtypes, weights, masks, results    _cases
    cases       one call each, which its number reproduces                         _arguments
       |        the backend's answer; the formulas' on NumPy, in float64           _reference
    report      how many cases were answered and the largest error; or every failure

For our backends and for third parties'. The formulas run on NumPy for comparison, which is
imported when a check begins.
"""

import warnings
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from tinyloss.losses import public_losses
from tinyloss.testing._arrays import Library
from tinyloss.testing._cases import Selection
from tinyloss.testing._check import THREADS, Check, Tally
from tinyloss.testing._loss import LossReport, check_loss
from tinyloss.testing._reference import Reference
from tinyloss.testing._subjects import subjects_of
from tinyloss.testing._watch import Watch
from tinyloss.typing import Namespace

__all__ = ["LossReport", "Report", "check_backend", "check_loss"]

# The namespaces whose module is not named after the library.
_MODULES = {"jax": "jax.numpy"}


@dataclass(frozen=True)
class Report:
    """What a backend did that passed the check.

    Examples
    --------
    >>> import tinyloss.testing
    >>> tinyloss.testing.Report(cases=2, answered=2).declined
    0
    """

    cases: int
    """The number of calls that were checked."""

    answered: int
    """The number that the backend answered; it left the others to the formulas."""

    programs: int = 0
    """The number of distinct jobs, without regard to shapes and strides: a backend that compiles
    had to compile as many at least."""

    worst: Mapping[str, float] = field(default_factory=dict[str, float])
    """The largest error of each loss that it answered, in the unit of `bound`."""

    left_out: tuple[str, ...] = ()
    """Dtypes that were not tried, each with the reason."""

    @property
    def declined(self) -> int:
        """The number of cases that the backend left to the formulas."""
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

    Losses are called on arrays of many shapes, strides and dtypes, with weights, masks and every
    other option, for values, gradients and curvature. The calls are a selection, the same at each
    run. Four things are checked:

    - Results are close to those of the formulas on NumPy.
    - Results have the formulas' dtype, shape and type, and share no memory with the inputs.
    - Inputs are not changed.
    - A second call, and four at once in threads, give the same bits.

    Parameters
    ----------
    name
        The array library.
    full
        Whether to make thousands of calls: each loss with each parameter, dtype and result, and
        random combinations. Otherwise each loss is called with each shape and option, but only
        some dtypes and parameters, so that a backend compiles few programs.
    losses
        The loss functions to call, all by default; those of `tinyloss.loss` as well.
    classes
        Numbers of classes, for a backend that treats short and long rows differently. If given,
        only losses of rows are called, on few rows of so many classes. With `full`, each is called
        in each floating dtype, also in place; else the dtypes take turns.
    context
        Returns a context manager that is entered around every call, for settings of the backend.
        A backend that compiles a loss after some calls then changes bits, so it needs a setting.
    through
        Transforms the function that makes a call, as `jax.jit` does. The function takes a list of
        arguments and a dictionary of options that are arrays, and returns a dictionary of results.
    value_and_grad
        The library's own differentiation, called as `tinyloss.value_and_grad` is. It computes the
        gradients by floating arguments. It must differentiate a loss that is not reduced as its
        sum.
    must_answer
        Whether the backend must answer every call. Otherwise it may leave some, not all, to the
        formulas.
    xp, asarray, to_numpy
        The library's namespace, and the functions that convert NumPy's arrays to the library's
        and back. By default the module of this name, its `asarray` and `numpy.asarray`.
    bound
        The error allowed, in the unit of the Notes.
    seed
        Seed of the numbers in the arrays and of the random combinations.
    only
        The numbers of the cases to run, from a failure's message with the same arguments; all by
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
    The reference is the formulas in float64 on the same numbers. Allowed is the error that the
    formulas themselves make in the compute dtype, plus `bound` units. One unit is eps * (size of
    the result + change of the result if every input changes by eps of itself), with eps of the
    compute dtype. This is the mixed forward and backward error of Higham, Accuracy and Stability
    of Numerical Algorithms, section 1.5. The second term is for results that pass through 0
    between terms of opposite sign. An input that may be any real number, such as a logit, changes
    by eps of 1 at least. Of losses of pairs what members weigh is an input too, 1 if it is not
    given. The size of a sum is the sum of its terms' sizes.

    Losses are accurate to 8 units, nearly all to 4. So two ways to compute one differ by no more
    than 16. A gradient in half precision is rounded once more, and may be off by one unit in the
    last place more. NaN and infinities must be where the formulas have them.

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
        known = public_losses("elements", "rows", "predictions")
        asked = [each.function for each in known] if losses is None else losses
        subjects = [each for loss in asked for each in subjects_of(numpy, watch, loss)]
        for case in selection.cases(subjects, full, [*classes]):
            if chosen is None or case.number in chosen:
                check.run(case)
    return _report(name, check.tally, library.left_out, must_answer)


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
