"""Taylor polynomials of second order in mpmath's numbers: derivatives without formulas for them."""

from typing import Any

import mpmath

mp = mpmath.mp
Number = Any
"""An mpf, the Python number 0 where that is exact by structure, or None where undefined."""


class Jet:
    """A Taylor polynomial a0 + a1 t + a2 t^2: a value, its derivative, half its second one.

    A coefficient that is the integer 0 is 0 by structure, and stays so through the arithmetic.
    """

    __slots__ = ("a0", "a1", "a2")

    def __init__(self, a0: Number, a1: Number = 0, a2: Number = 0) -> None:
        self.a0, self.a1, self.a2 = a0, a1, a2

    def __add__(self, other: Any) -> "Jet":
        o = jet(other)
        return Jet(self.a0 + o.a0, self.a1 + o.a1, self.a2 + o.a2)

    def __neg__(self) -> "Jet":
        return Jet(-self.a0, -self.a1, -self.a2)

    def __sub__(self, other: Any) -> "Jet":
        o = jet(other)
        return Jet(self.a0 - o.a0, self.a1 - o.a1, self.a2 - o.a2)

    def __rsub__(self, other: Any) -> "Jet":
        return jet(other) - self

    def __mul__(self, other: Any) -> "Jet":
        a, b = self, jet(other)
        return Jet(
            times(a.a0, b.a0),
            times(a.a0, b.a1) + times(a.a1, b.a0),
            times(a.a0, b.a2) + times(a.a1, b.a1) + times(a.a2, b.a0),
        )

    def __truediv__(self, other: Any) -> "Jet":
        a, b = self, jet(other)
        q0 = over(a.a0, b.a0)
        q1 = over(a.a1 - times(q0, b.a1), b.a0)
        return Jet(q0, q1, over(a.a2 - times(q0, b.a2) - times(q1, b.a1), b.a0))

    def __rtruediv__(self, other: Any) -> "Jet":
        return jet(other) / self

    __radd__ = __add__
    __rmul__ = __mul__


def jet(a: Any) -> Jet:
    return a if isinstance(a, Jet) else Jet(a)


def is_zero(a: Number) -> bool:
    return type(a) is int and a == 0


def times(a: Number, b: Number) -> Number:
    return 0 if is_zero(a) or is_zero(b) else a * b


def over(a: Number, b: Number) -> Number:
    return 0 if is_zero(a) else mp.mpf(a) / b


def at(a: Any) -> Number:
    return a.a0 if isinstance(a, Jet) else a


def exp(a: Number) -> Number:
    """Return exp(a); beyond 2^16, where no dtype reaches, that of 2^16: more only costs time."""
    return mp.exp(max(min(a, 65536), -65536))


def exp_of(a: Any) -> Any:
    if not isinstance(a, Jet):
        return exp(a)
    e = exp(a.a0)
    return Jet(e, times(a.a1, e), times(a.a2 + times(a.a1, a.a1) / 2, e))


def log(a: Any) -> Any:
    if not isinstance(a, Jet):
        return mp.log(a) if a >= 0 else mp.nan
    if a.a0 < 0:
        return Jet(mp.nan, mp.nan, mp.nan)
    first = over(a.a1, a.a0)
    return Jet(mp.log(a.a0), first, over(a.a2, a.a0) - times(first, first) / 2)


def log1p(a: Any) -> Any:
    """Return log(1 + a): mpmath's own for the value, which needs fewer digits for small a."""
    if at(a) <= -1:
        return Jet(mp.nan, mp.nan, mp.nan)
    if not isinstance(a, Jet):
        return mp.log1p(a)
    first = over(a.a1, 1 + a.a0)
    return Jet(mp.log1p(a.a0), first, over(a.a2, 1 + a.a0) - times(first, first) / 2)


def power(a: Any, g: Number) -> Any:
    """Return a^g for a constant g; 1 for g = 0, as 0^0 = 1."""
    if g == 0:
        return mp.one
    if not isinstance(a, Jet):
        return a**g
    u1, u2 = over(a.a1, a.a0), over(a.a2, a.a0)
    p = a.a0**g
    return Jet(p, times(u1, g * p), times(u2, g * p) + times(times(u1, u1), g * (g - 1) * p / 2))


def absolute(a: Any) -> Any:
    """Return |a|, with derivative 0 at 0."""
    return a * (1 if at(a) > 0 else -1 if at(a) < 0 else 0)


def at_least(a: Any, floor: Number) -> Any:
    return a if at(a) >= floor else floor
