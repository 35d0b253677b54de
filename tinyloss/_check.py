"""Checks of parameters: Python numbers in their range, or arrays of one number or several.

An array of one number is not looked at, or each step of a schedule would be described anew. One
of several is where that takes no wait: eager, on the CPU.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from numbers import Integral, Real
from typing import Any


@dataclass(frozen=True)
class Check:
    """A part of a parameter's annotation: how a value for it is checked."""

    run: Callable[[str, str, Any], Any]
    """Takes the names of function and parameter and the value; returns the value to use."""


def is_array_of_one(value: Any) -> bool:
    """Return whether a value is a 0-d array of integers or floats; NumPy's numbers are none."""
    if isinstance(value, Real) or getattr(value, "shape", None) != ():
        return False
    dtype = str(getattr(value, "dtype", ""))
    return "float" in dtype or "int" in dtype


def is_number(value: Any) -> bool:
    """Return whether a checked parameter is one number, Python's or an array's."""
    return isinstance(value, float) or is_array_of_one(value)


def number(
    function: str,
    name: str,
    value: Any,
    *,
    what: str = "a finite number",
    kinds: str = "a Python number, not an array",
    infinite: bool = False,
) -> float:
    """Return a finite number, or one that may be infinite."""
    if type(value) is not float and (not isinstance(value, Real) or isinstance(value, bool)):
        shape = getattr(value, "shape", None)
        came = type(value).__name__ + (f" of shape {tuple(shape)}" if shape else "")
        raise TypeError(f"tinyloss.{function}: {name} is a {came}, expected {what} ({kinds})")
    try:
        checked = float(value)
    except OverflowError:
        raise ValueError(
            f"tinyloss.{function}: {name} is beyond float64, expected {what}"
        ) from None
    # Compared, so that torch.compile can trace a number that it keeps symbolic.
    if not (-inf <= checked <= inf if infinite else -inf < checked < inf):
        raise ValueError(f"tinyloss.{function}: {name} is {value}, expected {what}")
    return checked


def within(
    what: str, fits: Callable[[float], bool], *, infinite: bool = False
) -> Callable[[str, str, Any], Any]:
    """Return a check of a number, told by `what` it has to be, which lets an array of one pass."""

    def check(function: str, name: str, value: Any) -> Any:
        if is_array_of_one(value):
            return value
        kinds = "a Python number or a 0-d array"
        checked = number(function, name, value, what=what, kinds=kinds, infinite=infinite)
        if not fits(checked):
            raise ValueError(f"tinyloss.{function}: {name} is {value}, expected {what}")
        return checked

    return check


def or_none(check: Callable[[str, str, Any], Any]) -> Callable[[str, str, Any], Any]:
    """Return a check that lets None pass."""
    return lambda function, name, value: None if value is None else check(function, name, value)


def or_several(check: Callable[[str, str, Any], Any]) -> Callable[[str, str, Any], Any]:
    """Return a check of one number or several, in an array or a list; they have to be a range."""

    def checked(function: str, name: str, value: Any) -> Any:
        from tinyloss._arrays import looks, namespace  # it needs types, which hold these checks

        if isinstance(value, Real):  # torch.compile cannot ask one of its own for a shape
            return check(function, name, value)
        if type(value) in (list, tuple):
            for each in value:
                checked(function, name, each)
        elif not getattr(value, "shape", ()):
            return check(function, name, value)
        elif 0 not in value.shape:
            xp = namespace(value)  # none of what stands for an array in a description
            if looks(value):
                for end in (xp.min(value), xp.max(value)):
                    check(function, name, float(end))
        return value

    return checked


def is_integer(value: Any) -> bool:
    """Return whether a value is an integer, NumPy's included, and not a boolean."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def integer_or_none(function: str, name: str, value: Any) -> int | None:
    """Return an integer or None."""
    if value is None:
        return None
    if not is_integer(value):
        raise TypeError(
            f"tinyloss.{function}: {name} is {value!r}, expected a Python integer or None"
        )
    return int(value)


def bytes_or_none(function: str, name: str, value: Any) -> int | None:
    """Return a number of bytes, or None."""
    if value is None:
        return None
    if not is_integer(value) or value <= 0:
        kind = ValueError if is_integer(value) else TypeError
        raise kind(
            f"tinyloss.{function}: {name} is {value!r}, expected a number of bytes above 0, or None"
        )
    return int(value)


def integer_of(choices: tuple[int, ...], what: str) -> Callable[[str, str, Any], int]:
    """Return a check of an integer that is one of a few; `what` names these."""

    def check(function: str, name: str, value: Any) -> int:
        if not is_integer(value) or value not in choices:
            raise ValueError(f"tinyloss.{function}: {name} is {value!r}, expected {what}")
        return int(value)

    return check


axis_of_two = integer_of((0, 1), "0 for w of (classes, features) or 1 for (features, classes)")
one_or_two = integer_of((1, 2), "1 or 2")


def one_of(*choices: str | None) -> Callable[[str, str, Any], Any]:
    """Return a check of a word, or None."""

    def check(function: str, name: str, value: Any) -> Any:
        if not (value is None or isinstance(value, str)) or value not in choices:
            *others, last = map(repr, choices)
            raise ValueError(
                f"tinyloss.{function}: {name} is {value!r}, expected {', '.join(others)} or {last}"
            )
        return value

    return check


def integer(function: str, name: str, value: Any) -> int:
    """Return an integer."""
    if not is_integer(value):
        raise TypeError(f"tinyloss.{function}: {name} is {value!r}, expected an integer")
    return int(value)


def flag(function: str, name: str, value: Any) -> bool:
    """Return True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"tinyloss.{function}: {name} is {value!r}, expected True or False")
    return value
