"""Differences, and what rounding takes from them."""

from typing import Any

from tinyloss._arrays import namespace


def exact_difference(x: Any, m: Any) -> tuple[Any, Any]:
    """Return d = fl(x - m) and its rounding error r = (x - m) - d, itself a floating-point number.

    TwoSum (Knuth, The Art of Computer Programming 2, 4.2.2); r is 0 where d is huge or infinite.
    """
    xp = namespace(x)
    d = x - m
    u = d - x
    r = (x - (d - u)) - (m + u)
    return d, xp.where(xp.abs(d) < 1e18, r, 0.0)


def exp_difference(x: Any, m: Any) -> Any:
    """Return exp(x - m) as if x - m were not rounded: exp(d + r) = exp(d) (1 + r) to the last bit.

    Without it the relative error grows with |x - m|: 25 eps at 50.
    """
    d, r = exact_difference(x, m)
    e = namespace(x).exp(d)
    return e + e * r
