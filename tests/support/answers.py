"""Everything that tinyloss says of some items, and what is wrong with it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

import tinyloss
from tests.support.exact import evaluate, split
from tests.support.families import judge
from tests.support.specs import EXACT

# Losses are picked by name here, so that their signatures are not known to a type checker.
value_and_grad: Any = tinyloss.value_and_grad
grad_and_hess: Any = tinyloss.grad_and_hess


def differentiable(loss: str, x: Any, y: Any) -> dict[str, int]:
    """Return the arguments by which a loss has gradients, each with its number."""
    exact = EXACT[loss]
    labels = exact.rowwise and y.ndim < x.ndim
    names = [name for name in exact.gradients if not (labels and name == "y")]
    return {name: exact.arguments.index(name) for name in names}


def answers(loss: str, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything that tinyloss tells of these items, by the names of the truth."""
    function = getattr(tinyloss, loss)
    arguments, parameters = split(loss, kwargs)
    if not EXACT[loss].target:
        return {"value": function(arguments[0])}
    numbers = differentiable(loss, *arguments[:2])
    value, gradients = value_and_grad(function, tuple(numbers.values()))(
        *arguments, reduction="none", **parameters
    )
    found = {"value": value, **dict(zip(numbers, gradients, strict=True))}
    if EXACT[loss].curved:
        _, found["curvature"] = grad_and_hess(function)(*arguments, **parameters)
    return found


def complaints(loss: str, kwargs: Mapping[str, Any], got: Mapping[str, Any]) -> list[str]:
    """Return what is beyond the bounds of a loss, a line for each number."""
    truth = evaluate(loss, **kwargs)
    verdicts = judge(loss, kwargs, got, truth)
    found: list[str] = []
    for what, verdict in verdicts.items():
        exact = truth[what]
        numbers = np.asarray(got[what]).astype(np.float64)
        # What no convention settles may be anything but NaN.
        found.extend(
            f"{what}{index.tolist()}: got nan where nothing is settled"
            for index in np.argwhere(exact.open & np.isnan(numbers))
        )
        for index in np.argwhere(verdict.missed)[:4]:
            place = tuple(index)
            found.append(
                f"{what}{index.tolist()}: got {numbers[place]!r}, exact "
                f"{exact.float64()[place]!r}, {verdict.errors[place]:.3g} eps of {verdict.dtype}, "
                f"allowed {verdict.bound:g}"
            )
    return found
