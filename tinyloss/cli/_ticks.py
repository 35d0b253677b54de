"""What a loss is checked for, tick by tick, against its definition."""

import inspect
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property, lru_cache, partial
from importlib import import_module
from importlib.util import find_spec
from math import inf, isfinite, log10, nan
from sys import stderr
from traceback import extract_tb
from typing import Any

import numpy as np

import tinyloss
from tinyloss.cli._exact import Truth, item_of, truth, value_of
from tinyloss.cli._inputs import Arguments, Array, arguments
from tinyloss.cli._libraries import LIBRARIES, Library
from tinyloss.cli._others import of_torch
from tinyloss.cli.cards import promises
from tinyloss.cli.definitions import DEFINITIONS, Definition

__all__ = ["Learned", "Ours", "Subject", "Theirs", "Tick", "accuracy", "digits_right", "ticks"]

EPS = float(np.finfo(np.float32).eps)
TINY = Decimal(float(np.finfo(np.float32).smallest_normal))
LARGEST = Decimal(float(np.finfo(np.float32).max))

CLOSE = 1e-4
"""What a textbook's formula may be off in float32: of 7 digits it loses three by cancellation."""

SHAPES: tuple[tuple[int, ...], ...] = ((1,), (7,), (2, 3), (2, 3, 4))

# Draws of numbers that may be any real one, and the targets of these.
_FAR = {
    "binary logits": "elements",
    "near binary logits": "elements",
    "scores": "elements",
    "logits": "labels",
    "near logits": "labels",
    "ranks": "labels",
    "two logits": "rows",
}


@dataclass(frozen=True)
class Tick:
    """What was checked, and what came of it."""

    text: str
    passed: bool | None
    """None where it could not be checked."""
    detail: str
    worst: float | None = None
    bonus: bool = False
    """Whether it earns a star where it passes, and is no failure where not."""


class Subject:
    """What is graded: a loss of tinyloss, or a learner's function."""

    bonus = False

    def __init__(self, name: str, library: Library) -> None:
        self.name, self.library = name, library
        self.definition: Definition = DEFINITIONS[name]
        self.loss: Any = getattr(tinyloss, name)

    @property
    def ways(self) -> dict[str, Callable[[], AbstractContextManager[Any]]]:
        """The ways in which it is computed, each with a context."""
        return {"": nullcontext}

    def items(self, given: Arguments) -> Array:
        """Return the loss of each item."""
        raise NotImplementedError

    def mean(self, given: Arguments) -> Array:
        """Return the mean of the items' losses, or these."""
        raise NotImplementedError

    def gradient(self, given: Arguments) -> Array | None:
        """Return the gradient by x of the sum of the items' losses."""
        raise NotImplementedError

    def result(self, result: str, given: Arguments) -> Array | None:
        """Return the value or the gradient of each item."""
        return self.items(given) if result == "value" else self.gradient(given)

    @cached_property
    def bounds(self) -> dict[str, float]:
        """How many eps the value and the gradient may be off, as the loss's docstring says."""
        promised = promises(self.name)
        gamma = 2.0  # the default
        return {
            result: promised[key].eps + gamma * promised[key].per_gamma
            for result, key in (("value", "value"), ("gradient", "x"))
        }


class Ours(Subject):
    """A loss of tinyloss on the arrays of a library."""

    @property
    def ways(self) -> dict[str, Callable[[], AbstractContextManager[Any]]]:
        """The formulas and, where llvmlite is, compiled."""
        if self.library.name != "numpy" or find_spec("llvmlite") is None:
            return super().ways
        modes = {"formulas": "never", "compiled": "always"}
        compilation = import_module("tinyloss_numpy").compilation
        return {way: partial(compilation, mode) for way, mode in modes.items()}

    def _call(self, function: Callable[..., Any], given: Arguments, **options: Any) -> Any:
        own = [self.library.own(each) for each in given]
        return function(*own, **options)

    def items(self, given: Arguments) -> Array:
        """Return the loss of each item."""
        return self.host(self._call(self.loss, given, reduction="none"))

    def mean(self, given: Arguments) -> Array:
        """Return the mean of the items' losses."""
        return self.host(self._call(self.loss, given))

    def gradient(self, given: Arguments) -> Array:
        """Return the gradient by x of the sum of the items' losses."""
        return self.result("gradient", given)

    def result(self, result: str, given: Arguments) -> Array:
        """Return the value or the gradient of each item, both from one compiled loop."""
        both = self._call(tinyloss.value_and_grad(self.loss), given, reduction="none")
        return self.host(both[result == "gradient"])

    def curvature(self, given: Arguments) -> Array:
        """Return the second derivative of each item's loss."""
        return self.host(self._call(tinyloss.grad_and_hess(self.loss), given)[1])

    def masked(self, given: Arguments, **options: Any) -> tuple[float, Array]:
        """Return mean and gradient with options that are arrays."""
        own = {
            name: self.library.own(each) if isinstance(each, np.ndarray) else each
            for name, each in options.items()
        }
        value, gradient = self._call(tinyloss.value_and_grad(self.loss), given, **own)
        return float(self.host(value)), self.host(gradient)

    def host(self, array: Any) -> Array:
        """Return an array as NumPy's."""
        return np.asarray(self.library.host(array))


class Theirs(Subject):
    """The same loss of torch, by its own autograd."""

    def items(self, given: Arguments) -> Array:
        """Return the loss of each item."""
        return self.both(given)[0]

    def gradient(self, given: Arguments) -> Array:
        """Return the gradient by x of the sum of the items' losses."""
        return self.both(given)[1]

    def both(self, given: Arguments) -> tuple[Array, Array]:
        """Return loss and gradient of each item."""
        theirs = of_torch(self.name)
        assert theirs is not None
        x, *more = (self.library.own(each) for each in given)
        value = theirs([x.requires_grad_(), *more])
        value.sum().backward()
        return self.library.host(value), self.library.host(x.grad)


class _WrongError(Exception):
    """A result that cannot be compared."""


class _NothingError(_WrongError):
    """None instead of a result."""


class Learned(Subject):
    """A learner's function of x and y: of each item's loss, or of the mean."""

    bonus = True

    def __init__(
        self,
        name: str,
        library: Library,
        function: Callable[..., Any],
        by_x: Callable[..., Any] | None,
    ) -> None:
        super().__init__(name, library)
        self.function, self.by_x = function, by_x

    def _call(self, function: Callable[..., Any], given: Arguments) -> Array:
        try:
            # What it prints is no part of a report.
            with redirect_stdout(stderr):
                result = function(*(self.library.own(each.copy()) for each in given))
        except SystemExit as error:
            raise _WrongError("it ended Python: is there an exit()?") from error
        if result is None:
            raise _NothingError("returned None: is there a return?")
        found = np.asarray(self.library.host(result))
        if found.dtype.kind not in "biuf":
            raise _WrongError(f"returned {type(result).__name__}, expected an array of numbers")
        return found

    def items(self, given: Arguments) -> Array:
        """Return the loss of each item, asked one by one of what returns the mean."""
        shape = self._shape(given)
        found = self._call(self.function, given)
        if found.shape == shape:
            return found
        if found.shape != ():
            raise _WrongError(f"got shape {found.shape}, expected {shape}, or one number: the mean")
        ones = [self._call(self.function, [a[i : i + 1] for a in given]) for i in range(shape[0])]
        return np.asarray(ones)

    def mean(self, given: Arguments) -> Array:
        """Return what the function does."""
        return self._call(self.function, given)

    def gradient(self, given: Arguments) -> Array | None:
        """Return the gradient, one item at a time: of a mean it would be a share."""
        if self.by_x is None:
            return None
        try:
            self._call(self.by_x, [a[:1] for a in given])
        except _NothingError:  # not written yet
            return None
        ones = [self._call(self.by_x, [a[i : i + 1] for a in given]) for i in range(len(given[0]))]
        if ones[0].shape != given[0][:1].shape:
            raise _WrongError(
                f"got shape {ones[0].shape}, expected {given[0][:1].shape}, that of x"
            )
        return np.concatenate(ones)

    def _shape(self, given: Arguments) -> tuple[int, ...]:
        return given[0].shape[:-1] if self.definition.rows else given[0].shape


# ----------------------------------------------------------------------------------------- truths


@dataclass(frozen=True)
class _Known:
    """Arguments of a loss and its exact results."""

    names: tuple[str, ...]
    given: Arguments
    value: list[Truth]
    gradient: list[list[Truth]]
    curvature: list[list[Truth]]

    def float32(self) -> Arguments:
        """Return the arguments as a call in float32 takes them."""
        return _float32(self.given)

    def true(self, result: str) -> list[Truth]:
        """Return the exact values, or gradients, in the order of an array's numbers."""
        return self.value if result == "value" else [t for row in self.gradient for t in row]

    def shown(self, at: int) -> str:
        """Return the arguments of an item as text."""
        return ", ".join(
            f"{name}={_shown(array[at])}"
            for name, array in zip(self.names, self.given, strict=False)
        )


def _float32(given: Arguments) -> Arguments:
    return [a if a.dtype.kind == "i" else a.astype(np.float32) for a in given]


@lru_cache(maxsize=4)
def _known(name: str, extreme: bool) -> _Known:
    of = DEFINITIONS[name]
    row = (3,) if of.rows else ()
    several = arguments(of.draw, (1, *row))[0].ndim > 1  # of which each number has a slope
    count = (80 if several else 400) if extreme else 60
    given = arguments(of.draw, (count, *row), extreme=extreme)
    truths = [truth(of, item_of(given, at)) for at in range(count)]
    value, gradient, curvature = zip(*truths, strict=True)
    names = tuple(inspect.signature(getattr(tinyloss, name)).parameters)
    return _Known(names, given, [*value], [*gradient], [*curvature])


def _error(got: float, true: Truth) -> float:
    """Return an error in eps of float32: of the number, or of what it is measured by."""
    if abs(true.exact) > LARGEST:
        return 0.0 if got == inf or got == -inf else inf
    if not isfinite(got):
        return inf
    difference = abs(Decimal(got) - true.exact)
    return float(difference / max(abs(true.exact), true.size, TINY)) / EPS


def _errors(got: Array, true: Sequence[Truth]) -> list[float]:
    return [_error(a, b) for a, b in zip(got.ravel().tolist(), true, strict=True)]


def accuracy(
    name: str, computed: Callable[[Arguments], Array | None], result: str = "value"
) -> float:
    """Return the worst error, in eps of float32, for numbers of every magnitude."""
    known = _known(name, True)
    with warnings.catch_warnings(action="ignore"), np.errstate(all="ignore"):
        return max(_errors(np.asarray(computed(known.float32())), known.true(result)))


# ------------------------------------------------------------------------------------------ ticks


def ticks(subject: Subject) -> Iterator[Tick]:
    """Yield what a subject is checked for, one after the other."""
    version = LIBRARIES["torch"].version
    checks: list[tuple[str, Callable[[Subject, str], Tick | None]]] = [
        ("computes the definition", _definition),
        ("stable at logits of ±1000", _stable),
        ("many classes", _classes),
        ("batches of any shape", _batches),
        (f"every digit: {_within(subject, 'value')}", partial(_digits, "value")),
        (f"gradient, every digit: {_within(subject, 'gradient')}", partial(_digits, "gradient")),
        ("gradient flows, as finite differences say", _flow),
        ("curvature, as second differences say", _curvature),
        ("masks: what is left out adds nothing", _masks),
        (f"matches torch {(version or '').partition('+')[0]}".rstrip(), _torch),
    ]
    for text, check in checks:
        try:
            with warnings.catch_warnings(action="ignore"), np.errstate(all="ignore"):
                tick = check(subject, text)
        except Exception as error:  # of a learner's function, or of a library that is broken
            said = str(error).strip().split("\n")[0]
            if not isinstance(error, _WrongError):
                said = f"{type(error).__name__}: {said}{_place(error, subject)}"
            yield Tick(text, False, said)
            if check is _definition:  # the others would say the same
                return
        else:
            if tick is not None:
                yield tick


def _place(error: Exception, subject: Subject) -> str:
    """Return the line of a learner's file that an error comes from."""
    file = subject.function.__code__.co_filename if isinstance(subject, Learned) else None
    lines = [each.lineno for each in extract_tb(error.__traceback__) if each.filename == file]
    return f" (line {lines[-1]})" if lines else ""


def _within(subject: Subject, result: str) -> str:
    bound = subject.bounds[result]
    return f"within {bound:g} eps" if bound else "exact"


def _compared(text: str, got: Array, true: Sequence[Truth], show: Callable[[int], str]) -> Tick:
    """Return the tick of ordinary results: no more off than a textbook's formula is."""
    errors = [
        abs(a - float(b.exact)) - CLOSE * float(max(abs(b.exact), b.size))
        for a, b in zip(got.ravel().tolist(), true, strict=True)
    ]
    wrong = [at for at, error in enumerate(errors) if not error <= EPS]
    if not wrong:
        return Tick(text, True, f"{len(true):,} ordinary inputs")
    at = wrong[0]
    some = f"{len(wrong):,} of {len(true):,} ordinary inputs wrong, e.g. {show(at)}: "
    return Tick(
        text, False, f"{some}{_number(got.ravel()[at])}, expected {_number(true[at].exact)}"
    )


def _definition(subject: Subject, text: str) -> Tick | None:
    known = _known(subject.name, False)
    got = subject.items(known.float32())
    return _compared(text, got, known.value, known.shown)


def _digits(result: str, subject: Subject, text: str) -> Tick | None:
    known = _known(subject.name, True)
    true = known.true(result)
    bound, found = subject.bounds[result], dict[str, tuple[list[float], Array]]()
    for way, context in subject.ways.items():
        with context():
            got = subject.result(result, known.float32())
        if got is None:
            return Tick(text, None, "add a function of this name and _gradient to have it graded")
        found[way] = _errors(got, true), got
    way = max(found, key=lambda each: max(found[each][0]))
    errors, got = found[way]
    error = max(errors)
    right = digits_right(error)
    stars = f"{'★' * right} {right} of 7 digits: ".lstrip() if subject.bonus else ""
    if error <= bound:
        ways = f", {' and '.join(found)}" if way else ""
        said = f"{stars}worst {error:.2f} eps of {len(true):,}{ways}"
        return Tick(text, True, said, error, subject.bonus)
    at, wrong = errors.index(error), sum(each > bound for each in errors)
    item = at // known.given[0].shape[-1] if result != "value" and subject.definition.rows else at
    said = (
        f"{stars}{wrong:,} of {len(true):,} are off{f' ({way})' if way else ''}, e.g. "
        f"{known.shown(item)}: {_number(got.ravel()[at])}, expected {_number(true[at].exact)}"
    )
    return Tick(text, False, said, error, subject.bonus)


def digits_right(error: float) -> int:
    """Return how many of float32's 7 digits are right with an error in eps."""
    relative = error * EPS
    return 7 if relative < 1e-6 else 0 if not relative < 1 else int(-log10(relative))


def _flow(subject: Subject, text: str) -> Tick | None:
    """Differences of the loss, in float64: h^2 and eps / h of the loss are about 1e-10."""
    step = 1e-6
    wide = subject.library.wide()
    if wide is None:
        return Tick(text, None, "float64 cannot be turned on here")
    x, *more = _known(subject.name, False).given
    with wide:
        gradient = subject.gradient([x, *more])
        if gradient is None:
            return None
        differences = np.empty_like(x)
        for at in np.ndindex(x.shape[1:]):
            move = np.zeros_like(x)
            move[(slice(None), *at)] = step
            up, down = (subject.items([moved, *more]) for moved in (x + move, x - move))
            differences[(slice(None), *at)] = (up - down) / (2 * step)
    off = float(np.max(np.abs(differences - gradient) / (1 + np.abs(gradient))))
    return Tick(text, off < 1e-6, f"largest difference {off:.0e}", off)


def _curvature(subject: Subject, text: str) -> Tick | None:
    if not isinstance(subject, Ours):
        return None
    known = _known(subject.name, False)
    got = subject.curvature(known.float32())
    true, size = [t for row in known.curvature for t in row], got[0].size
    return _compared(text, got, true, lambda at: known.shown(at // size))


def _stable(subject: Subject, text: str) -> Tick | None:
    kind, of = _FAR.get(subject.definition.draw), subject.definition
    if kind is None:
        return None
    if kind == "elements":
        given = [np.array([1000.0, -1000.0]), np.ones(2)]
    else:
        x = np.array([[1000.0, 0.0, 0.0], [-1000.0, 0.0, 0.0]])
        given = [x, np.zeros(2, np.int64) if kind == "labels" else np.zeros((2, 3))]
    got = subject.items(_float32(given))
    expected = [float(value_of(of, item_of(given, at)).exact) for at in range(2)]
    passed = bool(np.allclose(got, expected, rtol=CLOSE, atol=EPS))
    said = f"[{', '.join(map(_number, got.tolist()))}]"
    wanted = "" if passed else f", expected [{', '.join(map(_number, expected))}]"
    return Tick(text, passed, said + wanted)


def _classes(subject: Subject, text: str) -> Tick | None:
    of, worst = subject.definition, 0.0
    if not of.rows:
        return None
    # the exact loss of a list takes its pairs one by one
    most = 50 if of.draw == "lists" else 1000
    for number in (2, 5, most):
        given = arguments(of.draw, (4, number))
        got = subject.items(_float32(given)).tolist()
        for at, each in enumerate(got):
            true = value_of(of, item_of(given, at))
            error = _error(each, true) * EPS
            if not error <= CLOSE:
                said = f"{number} classes: got {_number(each)}, expected {_number(true.exact)}"
                return Tick(text, False, said, error)
            worst = max(worst, error)
    return Tick(text, True, f"2, 5, {most} classes: relative error {worst:.0e}", worst)


def _batches(subject: Subject, text: str) -> Tick | None:
    of = subject.definition
    shapes = SHAPES if subject.bonus else ((), *SHAPES, (0,))
    for shape in shapes:
        given = arguments(of.draw, (*shape, 3) if of.rows else shape)
        flat = [a.reshape(-1, 3) if of.rows and a.ndim > len(shape) else a.ravel() for a in given]
        items = [item_of(flat, at) for at in range(int(np.prod(shape)))]
        true = [value_of(of, item) for item in items]
        mean = _mean(of, items, [float(each.exact) for each in true])
        got = subject.mean(_float32(given))
        if subject.bonus and got.shape == shape and shape != ():
            tick = _compared(text, got, true, f"item {{}} of {shape}".format)
            if not tick.passed:
                return tick
            continue
        if got.shape != ():
            wanted = f"{shape}, or one number: the mean" if subject.bonus else "()"
            return Tick(text, False, f"x of {given[0].shape}: got {got.shape}, expected {wanted}")
        if not abs(float(got) - mean) <= CLOSE * sum(abs(float(t.size)) for t in true) + EPS:
            total = mean * len(true)
            summed = abs(float(got) - total) <= CLOSE * abs(total)
            hint = ": the sum, not the mean" if summed else ""
            said = f"x of {given[0].shape}: got {_number(got)}{hint}, expected {_number(mean)}"
            return Tick(text, False, said)
    return Tick(text, True, " ".join(str(shape) for shape in shapes))


def _mean(of: Definition, items: Sequence[Sequence[Any]], values: Sequence[float]) -> float:
    counts = [1 if of.count is None else of.count(*item) for item in items]
    return sum(values) / max(sum(counts), 1)


def _masks(subject: Subject, text: str) -> Tick | None:
    if not isinstance(subject, Ours):
        return None
    known = _known(subject.name, False)
    given = [a[:6] for a in known.float32()]
    kept = np.array([True, False, True, True, False, True])
    places = np.flatnonzero(kept).tolist()
    items = [item_of(known.given, at) for at in places]
    expected = _mean(subject.definition, items, [float(known.value[at].exact) for at in places])
    poisoned = given[0].copy()
    poisoned[~kept] = nan
    calls: dict[str, tuple[Arguments, dict[str, Any]]] = {
        "where": ([poisoned, *given[1:]], {"where": kept}),
        "weight": ([poisoned, *given[1:]], {"weight": kept.astype(np.float32)}),
    }
    if given[1].dtype.kind == "i" and "ignore_index" in inspect.signature(subject.loss).parameters:
        labels = np.where(kept, given[1], -100)
        calls["ignore_index"] = [poisoned, labels], {"ignore_index": -100}
    for option, (arrays, options) in calls.items():
        value, gradient = subject.masked(arrays, **options)
        if not abs(value - expected) <= CLOSE * (1 + abs(expected)):
            said = f"{option}: the mean is {_number(value)}, expected {_number(expected)}"
            return Tick(text, False, said)
        if np.any(gradient[~kept]) or not np.all(np.isfinite(gradient)):
            return Tick(text, False, f"{option}: the gradient of what is left out is not 0")
    return Tick(text, True, ", ".join(calls))


def _torch(subject: Subject, text: str) -> Tick | None:
    if of_torch(subject.name) is None or subject.library.name == "torch":
        return None
    torch = LIBRARIES["torch"]
    if torch.version is None:
        return Tick(text, None, f"not installed: {torch.install}")
    given = _known(subject.name, False).float32()
    expected = Theirs(subject.name, torch).items(given)
    off = float(np.max(np.abs(subject.items(given) - expected) / (1 + np.abs(expected))))
    return Tick(text, off < CLOSE, f"largest difference {off:.0e}", off)


def _number(number: Any) -> str:
    return f"{float(number):.6g}"


def _shown(value: Any) -> str:
    if np.ndim(value):
        return f"[{', '.join(_shown(each) for each in value)}]"
    return str(int(value)) if np.asarray(value).dtype.kind == "i" else f"{float(value):.6g}"
