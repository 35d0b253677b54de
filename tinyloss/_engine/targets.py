"""Targets that have a domain: whether they are looked at, and what is said of a wrong one."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal

from tinyloss._arrays import astype, compiling, dtype_name, is_host, kind, looks, namespace
from tinyloss._engine.checks import brought
from tinyloss._engine.job import Domain
from tinyloss._engine.registry import seen
from tinyloss._engine.request import Refusal, Request
from tinyloss._formula import Formula
from tinyloss.typing import Namespace

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


def validation_mode() -> str:
    """Return whether targets are looked at: "always", "auto" or "never"."""
    return _validation.get()


def domain_of(formula: type[Formula], labels: bool, y: Any) -> Domain | None:
    """Return what targets of this dtype must be, None for any."""
    if labels or formula.ranks is not None:
        return Domain("labels", beyond=formula.ranks or 0)
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


def may_look(y: Any) -> bool:
    mode = _mode()
    return mode == "always" or (mode == "auto" and looks(y))


def look_at(
    ask: Callable[[], Request],
    xp: Namespace,
    y: Any,
    domain: Domain,
    classes: Any,
    weight: Any,
) -> bool:
    """Raise the error of a selected target outside its domain; return whether all were seen."""
    tracing = _mode() == "auto"  # what a known target meets may be traced
    if 0 in y.shape:
        return True
    if domain.kind == "probabilities" and dtype_name(y.dtype) not in _SPACING:
        y = astype(xp, y, xp.float32)
    if domain.kind != "signs":
        near = seen(xp, y) if tracing else y
        if domain.kind == "probabilities" and is_host(near) and near.dtype.isnative:
            # One pass: floats from 0 up are in the order of their bits, all others are beyond.
            bits, most = f"u{near.itemsize}", near.dtype.type(1 + domain.slack)
            if near.view(bits).max() <= most.view(bits):
                return True
        # Two passes that make no arrays. A NaN fails the test, and is no error below.
        own = xp if near is y else namespace(near)
        low, high = own.min(near), own.max(near)
        if tracing and not looks(low):
            return False
        if domain.holds(low, classes) and domain.holds(high, classes):
            return True
    wrong = ~domain.holds(y, classes)
    if domain.kind == "probabilities":
        wrong = wrong & (y == y)
    if tracing and not looks(wrong):
        return False
    if xp.any(wrong):
        if weight is not None:
            wrong = wrong & (weight if kind(weight.dtype) == "bool" else weight != 0)
        if tracing and not looks(wrong):
            return False
        if bool(xp.any(wrong)):
            request = ask()
            what = _describe(request, xp, y, wrong, domain, classes)
            raise Refusal(what).of(request.name, request.called)
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
    given = request.y if is_host(request.y) else brought(xp, y, "y", request.y)
    target = namespace(given).reshape(given, (-1,))[first]
    # int() of torch's numbers stops at 2**63
    target = target.item() if hasattr(target, "item") else target
    at = f"y[{', '.join(map(str, position))}]" if position else "y"
    if domain.kind == "labels":
        label = int(target)
        beyond = domain.beyond
        what, each = ("rank", "thresholds") if beyond else ("class index", "classes")
        message = (
            f"{at} is {label}, expected a {what} from 0 to {classes - 1 + beyond} "
            f"(x has {classes} {each} along axis {request.axis})"
        )
        if label < 0 and request.ignore_index is None and not beyond:
            message += f"; ignore_index={label} leaves such items out"
        return message
    if domain.kind == "signs":
        return f"{at} is {int(target)}, expected -1 or 1; 2 * y - 1 makes these of 0 and 1"
    number = float(target) if kind(given.dtype) == "float" else int(target)
    return (
        f"{at} is {number}, expected a target from 0 to 1; the prediction comes first, "
        "then the target; (y + 1) / 2 makes 0 and 1 of -1 and 1"
    )
