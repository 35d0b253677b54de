"""Calls as their callers see them: signatures by their short names, and what a wrong one is told.

Python says what does not fit; a user needs to know what to write instead. It is found out only
after a call has failed.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from tinyloss.typing import (
    Activation,
    Array,
    ArrayLike,
    AxisName,
    CPOKind,
    DiscountName,
    DistributionName,
    DPOKind,
    GainName,
    Infeasible,
    LambdaKind,
    Reduction,
    SequenceReduction,
    SparseMax,
    Ties,
)

P = ParamSpec("P")
R = TypeVar("R")

_WRITE_FUNCTION = (
    "the function's name says it: binary_cross_entropy takes probabilities, "
    "binary_cross_entropy_with_logits and cross_entropy take logits, nll log-probabilities"
)
_WRITE_REDUCTION = 'write reduction="mean", "sum" or "none"'

_ELSEWHERE: dict[str, str] = {
    **dict.fromkeys(("dim", "class_dim", "class_axis"), "axis"),
    **dict.fromkeys(("sample_weight", "weights", "example_weight"), "weight"),
    **dict.fromkeys(("mask", "masks", "valid"), "where"),
    **dict.fromkeys(("input", "inputs", "logits", "preds", "predictions", "y_pred"), "x"),
    **dict.fromkeys(("target", "targets", "labels", "label", "y_true"), "y"),
    **dict.fromkeys(("epsilon", "eps_", "tol"), "eps"),
    **dict.fromkeys(("ignore_class", "ignore_label", "padding_idx"), "ignore_index"),
    "smoothing": "label_smoothing",
    "class_weights": "class_weight",
    "threshold": "delta",
    "strata": "segments",
    **dict.fromkeys(("quantile", "quantiles"), "q"),
    "variance": "var",
}
"""What other libraries call a parameter, and its name here."""

_SENTENCES = {
    "from_logits": _WRITE_FUNCTION,
    "zero_infinity": 'write infeasible="ignore"',
    "size_average": _WRITE_REDUCTION,
    "reduce": _WRITE_REDUCTION,
}

_OF_EVERY_LOSS = ("weight", "where", "reduction", "denominator", "axis_name", "out")


def users_level() -> int:
    """Return the `stacklevel` by which a warning of the caller names the user's line."""
    level, frame = 1, inspect.currentframe()
    frame = frame and frame.f_back
    while frame is not None and frame.f_globals.get("__name__", "").startswith("tinyloss"):
        level, frame = level + 1, frame.f_back
    return level


def misfit(
    name: str,
    signature: inspect.Signature,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    keywords: Mapping[str, str] | None = None,
    positional: str | None = None,
) -> str | None:
    """Return what is wrong with a call and what to write instead; None where it fits.

    `keywords` has the advice for keywords that belong elsewhere, `positional` that for arguments
    by position that are too many.
    """
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        reason = str(error)
    else:
        return None
    parameters = signature.parameters
    for keyword in kwargs:
        if keyword not in parameters:
            advice = (keywords or {}).get(keyword) or _advice(keyword, list(parameters))
            return f"tinyloss.{name}: got an unexpected keyword argument {keyword!r}{advice}"
    takes = [p.name for p in parameters.values() if p.kind <= p.POSITIONAL_OR_KEYWORD]
    if len(args) > len(takes):
        by_name = {n: p.default for n, p in parameters.items() if p.kind is p.KEYWORD_ONLY}
        if positional is None:
            positional = f", write {name}({', '.join([*takes, named(args[len(takes)], by_name)])})"
        count = f"{len(args)} positional argument{'s' * (len(args) > 1)}"
        return f"tinyloss.{name}: got {count}, expected {len(takes) or 'none'}{positional}"
    return f"tinyloss.{name}: {reason}"


def _advice(keyword: str, names: list[str]) -> str:
    if keyword in _SENTENCES:
        return f"; {_SENTENCES[keyword]}"
    name = _ELSEWHERE.get(keyword)
    if name in names:
        return f", write {name}="
    close = get_close_matches(keyword, names, 1)
    if close:
        return f" (did you mean {close[0]}?)"
    return f", expected {', '.join(names)}" if names else ""


def named(value: Any, defaults: Mapping[str, Any]) -> str:
    """Return an argument that came by position with the name it most likely has."""
    if isinstance(value, str):
        return f"reduction={value!r}"
    if not isinstance(value, (bool, int, float)):
        return "weight=..."
    own = [name for name in defaults if name not in _OF_EVERY_LOSS]
    alike = [name for name in own if type(defaults[name]) is type(value)]
    floats = [name for name in own if type(value) is int and type(defaults[name]) is float]
    return f"{[*alike, *floats, *own, 'weight'][0]}={value!r}"


def shown(value: Any) -> str:
    """Return a value as text, an array by its shape alone."""
    if isinstance(value, tuple):
        values = [shown(each) for each in value]  # pyright: ignore[reportUnknownVariableType]
        return f"({', '.join(values)}{',' * (len(values) == 1)})"
    if hasattr(value, "shape"):
        return f"<array of shape {tuple(value.shape)}>"
    return repr(value)


def told(
    function: Callable[P, R], what: Callable[[Sequence[Any], Mapping[str, Any]], str | None]
) -> Callable[P, R]:
    """Return a function that says `what` is wrong with a call, if anything, instead of Python."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except TypeError:
            message = what(args, kwargs)
            if message is None:
                raise
        raise TypeError(message)

    call.__signature__ = readable(inspect.signature(function))  # type: ignore[attr-defined]
    return call


def explained(advice: str | None = None) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator for a public function: a call that does not fit is told what would."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        name, signature = function.__name__, inspect.signature(function)
        return told(
            function, lambda args, kwargs: misfit(name, signature, args, kwargs, positional=advice)
        )

    return decorate


_REDUCTIONS_ELSEWHERE: dict[str | None, str] = {
    **dict.fromkeys(("batchmean", "elementwise_mean", "sum_over_batch_size"), '"mean"'),
    **dict.fromkeys(("avg", "average", "sum_by_nonzero_weights"), '"mean"'),
    **dict.fromkeys((None, "no", "None"), '"none"'),
}


def other_reduction(reduction: Any) -> str:
    """Return what to write instead of a reduction that another library has, if it is one."""
    if not isinstance(reduction, str | None) or reduction not in _REDUCTIONS_ELSEWHERE:
        return ""
    what = " divides by the number of rows, where items are rows" * (reduction == "batchmean")
    return f": {_REDUCTIONS_ELSEWHERE[reduction]}{what or ' is that'}"


class _Spelled(str):
    """An annotation as text, which a signature shows without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


_ALIASES = {
    inspect.formatannotation(alias): name
    for name, alias in (
        ("ArrayLike", ArrayLike),
        ("Array", Array),
        ("Activation | None", Activation | None),
        ("AxisName", AxisName),
        ("CPOKind", CPOKind),
        ("DPOKind", DPOKind),
        ("DiscountName", DiscountName),
        ("DistributionName", DistributionName),
        ("GainName", GainName),
        ("Infeasible", Infeasible),
        ("LambdaKind", LambdaKind),
        ("Reduction", Reduction),
        ("SequenceReduction", SequenceReduction),
        ("SparseMax", SparseMax),
        ("Ties", Ties),
    )
}


def readable(signature: inspect.Signature) -> inspect.Signature:
    """Return a signature whose annotations are spelled by the names of `tinyloss.typing`."""
    return signature.replace(
        parameters=[
            each.replace(annotation=_spelled(each.annotation))
            for each in signature.parameters.values()
        ]
    )


def _spelled(annotation: Any) -> Any:
    if annotation is inspect.Parameter.empty or isinstance(annotation, (str, type)):
        return _Spelled("Array") if annotation is Array else annotation
    text = whole = inspect.formatannotation(annotation)
    for spelled, name in _ALIASES.items():
        text = text.replace(spelled, name)
    return annotation if text == whole else _Spelled(text)
