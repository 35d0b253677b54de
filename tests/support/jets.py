"""Numbers of as many digits as mpmath is set to, with their derivatives: no formulas for these.

They calculate as Decimal does, so that definitions run on them.
"""

from collections.abc import Callable, Hashable
from decimal import Decimal
from typing import Any

import mpmath

mp = mpmath.mp
Number = Any
"""An mpf, the Python number 0 where that is exact by structure, or None where undefined."""


class Jet:
    """A number, and by each variable it depends on two Taylor coefficients: f', f'' / 2.

    What is the integer 0 is 0 by structure, and stays so through the arithmetic.
    """

    __slots__ = ("by", "number")
    __hash__ = None  # type: ignore[assignment] # equal numbers may have other derivatives

    def __init__(
        self, number: Number, by: dict[Hashable, tuple[Number, Number]] | None = None
    ) -> None:
        self.number: Number = number.number if isinstance(number, Jet) else _exactly(number)
        self.by: dict[Hashable, tuple[Number, Number]] = {} if by is None else by

    @property
    def real(self) -> "Jet":
        return Jet(self.number)

    def __add__(self, other: Any) -> "Jet":
        o = jet(other)
        many, few = (self.by, o.by) if len(self.by) >= len(o.by) else (o.by, self.by)
        by = many.copy()
        for key, (b1, b2) in few.items():
            a1, a2 = by.get(key, (0, 0))
            by[key] = a1 + b1, a2 + b2
        return Jet(self.number + o.number, by)

    def __mul__(self, other: Any) -> "Jet":
        o = jet(other)
        a, b = self.number, o.number
        by: dict[Hashable, tuple[Number, Number]] = {}
        for key in {**self.by, **o.by}:
            (a1, a2), (b1, b2) = self.by.get(key, (0, 0)), o.by.get(key, (0, 0))
            second = times(a, b2) + times(a1, b1) + times(a2, b)
            by[key] = times(a, b1) + times(a1, b), second
        return Jet(times(a, b), by)

    def __truediv__(self, other: Any) -> "Jet":
        o = jet(other)
        b = o.number
        q = over(self.number, b)
        by: dict[Hashable, tuple[Number, Number]] = {}
        for key in {**self.by, **o.by}:
            (a1, a2), (b1, b2) = self.by.get(key, (0, 0)), o.by.get(key, (0, 0))
            q1 = over(a1 - times(q, b1), b)
            by[key] = q1, over(a2 - times(q, b2) - times(q1, b1), b)
        return Jet(q, by)

    def __neg__(self) -> "Jet":
        return Jet(-self.number, {key: (-a1, -a2) for key, (a1, a2) in self.by.items()})

    def __sub__(self, other: Any) -> "Jet":
        return self + -jet(other)

    def __rsub__(self, other: Any) -> "Jet":
        return jet(other) - self

    def __rtruediv__(self, other: Any) -> "Jet":
        return jet(other) / self

    def __radd__(self, other: Any) -> "Jet":
        return self.__add__(other)

    def __rmul__(self, other: Any) -> "Jet":
        return self.__mul__(other)

    def __abs__(self) -> "Jet":
        """Return |a|, with derivative 0 at 0."""
        return self if self.number > 0 else -self if self.number < 0 else self.real

    def __pow__(self, exponent: Any) -> "Jet":
        """Return a^g for a constant g; 1 for g = 0, as 0^0 = 1."""
        g = jet(exponent).number
        if g == 0:
            return Jet(mp.one)
        if g == 2:
            return self * self
        if is_zero(self.number) and not self.by:
            return self
        if self.number == 0:
            return self._of(mp.zero, _of_zero(g, g - 1), _of_zero(g * (g - 1) / 2, g - 2))
        p = self.number**g
        first = g * over(p, self.number)
        return self._of(p, first, (g - 1) * over(first, self.number) / 2)

    def _of(self, value: Number, first: Number, second: Number) -> "Jet":
        """Return f(a) by f(a), f'(a) and f''(a) / 2."""
        return Jet(
            value,
            {
                key: (times(a1, first), times(a2, first) + times(times(a1, a1), second))
                for key, (a1, a2) in self.by.items()
            },
        )

    def exp(self) -> "Jet":
        e = exp(self.number)
        return self._of(e, e, e / 2)

    def erf(self) -> "Jet":
        a = self.number
        first = 2 * exp(-a * a) / mp.sqrt(mp.pi)
        return self._of(mp.erf(a), first, -a * first)

    def ln(self) -> "Jet":
        return self._log(self.number, mp.log)

    def log1p(self) -> "Jet":
        """Return log(1 + a): mpmath's own for the value, which needs fewer digits for small a."""
        return self._log(1 + self.number, lambda _: mp.log1p(self.number))

    def _log(self, of: Number, log: Callable[[Number], Number]) -> "Jet":
        if of == 0:
            return self._of(-mp.inf, mp.inf, -mp.inf)
        if not of > 0:
            return self._of(mp.nan, mp.nan, mp.nan)
        first = mp.one / of
        return self._of(log(of), first, -first * first / 2)

    def sqrt(self) -> "Jet":
        return self.__pow__(mp.mpf(0.5))

    def __bool__(self) -> bool:
        return self.number != 0 or bool(self.by)

    def __eq__(self, other: object) -> bool:
        return bool(self.number == jet(other).number)

    def __lt__(self, other: Any) -> bool:
        return bool(self.number < jet(other).number)

    def __le__(self, other: Any) -> bool:
        return bool(self.number <= jet(other).number)

    def __gt__(self, other: Any) -> bool:
        return bool(self.number > jet(other).number)

    def __ge__(self, other: Any) -> bool:
        return bool(self.number >= jet(other).number)


def jet(a: Any) -> Jet:
    return a if isinstance(a, Jet) else Jet(a)


def _exactly(a: Any) -> Number:
    """Return a Decimal as mpmath's number, to as many digits as that is set to."""
    if not isinstance(a, Decimal):
        return a
    return mp.mpf(str(a)) if a.is_finite() else mp.mpf(float(a))


def is_zero(a: Number) -> bool:
    return type(a) is int and a == 0


def times(a: Number, b: Number) -> Number:
    return 0 if is_zero(a) or is_zero(b) else a * b


def over(a: Number, b: Number) -> Number:
    return 0 if is_zero(a) else mp.mpf(a) / b


def _of_zero(factor: Number, exponent: Number) -> Number:
    """Return a number times a power of 0."""
    if factor == 0 or exponent > 0:
        return mp.zero
    return factor if exponent == 0 else factor * mp.inf


def exp(a: Number) -> Number:
    """Return exp(a); beyond 2^16, where no dtype reaches, that of 2^16: more only costs time."""
    return mp.exp(max(min(a, 65536), -65536))
