"""Families of inputs that losses get wrong, and whether results are within their bounds.

`families` yields named inputs for each loss; `judge` measures results against the truth by the
bounds in `specs`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt

from tests.support.draws import Draw, Kwargs
from tests.support.dtypes import DTYPES, compute_dtype
from tests.support.exact import Truth, evaluate, items, packed, ulp_error
from tests.support.jets import mp
from tests.support.specs import BOUNDS, EXACT, MEASURED

__all__ = ["HALF_BOUND", "Verdict", "allowed", "families", "judge", "scales"]

HALF_BOUND = 0.51
"""Gradients of half-precision inputs are rounded once: half an ulp, and a little."""


def allowed(loss: str, what: str, parameters: Mapping[str, Any]) -> float:
    """Return the bound of one result of a loss: value, x, y, var or curvature."""
    return BOUNDS[loss].eps(what, float(parameters.get("gamma", 2.0)))


def scales(loss: str, kwargs: Mapping[str, Any]) -> dict[str, Truth]:
    """Return the sums of magnitudes by which a loss's bounds are absolute, for each result."""
    scale = BOUNDS[loss].scale
    if scale is None:
        return {}
    x = np.asarray(kwargs["x"])
    with mp.workprec(80):
        rows = [scale(*args, **parameters) for args, parameters in items(loss, **kwargs)]
    return packed(rows, x.shape, EXACT[loss].depth)


@dataclass(frozen=True)
class Verdict:
    """The errors of one result and what is allowed, both in eps of `dtype`."""

    errors: npt.NDArray[np.float64]
    bound: float
    dtype: np.dtype[Any]

    @property
    def worst(self) -> float:
        return float(self.errors.max(initial=0.0))

    @property
    def missed(self) -> npt.NDArray[np.bool_]:
        return self.errors > self.bound


def judge(
    loss: str,
    kwargs: Mapping[str, Any],
    got: Mapping[str, Any],
    truth: Mapping[str, Truth] | None = None,
    scale: Mapping[str, Truth] | None = None,
) -> dict[str, Verdict]:
    """Measure results (value, x, y, var, curvature; unreduced) by the contract.

    Losses of half-precision inputs are float32 and held to the bound in eps of float32; their
    gradients have the inputs' dtype and are held to `HALF_BOUND`.
    """
    truth = evaluate(loss, **kwargs) if truth is None else truth
    scale = scales(loss, kwargs) if scale is None else scale
    given = np.asarray(kwargs["x"]).dtype
    compute = compute_dtype(given)
    forgiven = BOUNDS[loss].underflow * float(np.finfo(compute).smallest_subnormal)
    verdicts: dict[str, Verdict] = {}
    for what, result in got.items():
        bound, size = allowed(loss, what, kwargs), scale.get(what)
        if given == compute or (what == "value" and EXACT[loss].target):
            errors = ulp_error(result, truth[what], compute, scale=size, forgiven=forgiven)
            verdicts[what] = Verdict(errors, bound, compute)
            continue
        slack = None
        if size is not None:
            eps = bound * float(np.finfo(compute).eps)
            slack = Truth(size.high * eps, size.low, size.exponent, size.open)
        errors = ulp_error(result, truth[what], given, slack=slack, forgiven=forgiven)
        verdicts[what] = Verdict(errors, HALF_BOUND, given)
    return verdicts


def families(loss: str, dtype: str, seed: int = 0, n: int = 8) -> Iterator[tuple[str, Kwargs]]:
    """Yield named inputs of a loss: x, y, var and parameters, as keywords; `n` items each.

    Rows of a thousand classes come in twentieths of `n`.
    """
    for name, family in MEASURED[loss].inputs.items():
        # From the names, so that a new family leaves the numbers of the others as they are.
        rng = np.random.default_rng([seed, *(crc32(s.encode()) for s in (loss, dtype, name))])
        yield name, family(Draw(rng, DTYPES[dtype], n))
