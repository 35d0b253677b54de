"""Checks of parameters: Python numbers in their range.

Parameters are static: a traced or device array would have to be waited for, and its derivative
would silently be 0.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, isfinite
from numbers import Integral, Real
from typing import Any

__all__ = [
    "Check",
    "flag",
    "in_range",
    "integer_or_none",
    "is_integer",
    "number",
    "or_none",
    "positive",
]


@dataclass(frozen=True)
class Check:
    """A part of a parameter's annotation: how a value for it is checked."""

    run: Callable[[str, str, Any], Any]
    """Takes the names of function and parameter and the value; returns the value to use."""


def number(function: str, name: str, value: Any, *, what: str = "a finite number") -> float:
    """Return a finite number."""
    if type(value) is not float and (not isinstance(value, Real) or isinstance(value, bool)):
        raise TypeError(
            f"tinyloss.{function}: {name} is a {type(value).__name__}, expected {what} "
            "(a Python number, not an array)"
        )
    try:
        checked = float(value)
    except OverflowError:
        raise ValueError(
            f"tinyloss.{function}: {name} is beyond float64, expected {what}"
        ) from None
    if not isfinite(checked):
        raise ValueError(f"tinyloss.{function}: {name} is {value}, expected {what}")
    return checked


def positive(function: str, name: str, value: Any, high: float = inf) -> float:
    """Return a number above 0, of at most `high`."""
    what = f"a number above 0, at most {high}" if isfinite(high) else "a number above 0"
    checked = number(function, name, value, what=what)
    if not 0 < checked <= high:
        raise ValueError(f"tinyloss.{function}: {name} is {value}, expected {what}")
    return checked


def in_range(function: str, name: str, value: Any, low: float, high: float = inf) -> float:
    """Return a number from `low` to `high`."""
    what = f"a number from {low} to {high}" if isfinite(high) else f"a number of at least {low}"
    checked = number(function, name, value, what=what)
    if not low <= checked <= high:
        raise ValueError(f"tinyloss.{function}: {name} is {value}, expected {what}")
    return checked


def or_none(check: Callable[[str, str, Any], Any]) -> Callable[[str, str, Any], Any]:
    """Return a check that lets None pass."""
    return lambda function, name, value: None if value is None else check(function, name, value)


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


def flag(function: str, name: str, value: Any) -> bool:
    """Return True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"tinyloss.{function}: {name} is {value!r}, expected True or False")
    return value
