"""Every formula of the library, and losses of a user's own."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

import tinyloss
from tests.support.slopes import CASES as SLOPES
from tinyloss._formula import Formula, Role
from tinyloss.losses import binary, divergence, multiclass, preference, regression, scores


def _asked() -> dict[type[Formula], list[Any]]:
    """Return the requests that ask for each formula."""
    found: dict[type[Formula], list[Any]] = {}
    for case in SLOPES:
        request: Any = getattr(tinyloss, case.loss).describe(*case.arrays.values(), **case.params)
        formula = request.labels if "y" in case.fixed else request.formula
        found.setdefault(formula, []).append(request)
    return found


ASKED = _asked()
LABELS = {formula for formula, asked in ASKED.items() if formula is asked[0].labels}
FORMULAS = [
    each
    for module in (regression, scores, binary, multiclass, divergence, preference)
    for each in vars(module).values()
    if isinstance(each, type) and issubclass(each, Formula) and each.__module__ == module.__name__
    # not what formulas share
    if each in ASKED or not any(issubclass(formula, each) for formula in ASKED)
]


def arguments(formula: type[Formula]) -> tuple[dict[str, Role], dict[str, Any]]:
    """What a formula's arrays vary by, and arrays inside every loss's domain."""
    rng = np.random.default_rng(0)
    rows, labels = formula.rowwise, formula in LABELS

    def inside() -> Any:
        return (rng.random((6, 5)) * 0.8 + 0.1) * formula.harmless

    arrays: dict[str, Any] = {"x": inside()}
    arrays["y"] = rng.integers(0, 5, 6) if labels else inside()
    inputs = {"x": Role(per_class=rows), "y": Role(per_class=rows and not labels)}
    if formula.signed:
        arrays["y"] = np.where(arrays["y"] > 0.5, 1.0, -1.0)
    for name in dict.fromkeys(name for asked in ASKED[formula] for name in asked.arrays):
        arrays[name] = rng.random((6, 5)) + 0.5
        inputs[name] = Role(per_class=rows)
    if "class_weight" in formula.roles:
        arrays["class_weight"] = rng.random(5) + 0.5
        inputs["class_weight"] = Role(per_item=False, per_class=True)
    return inputs, arrays


def _cases(formulas: Iterable[type[Formula]]) -> list[Any]:
    return [
        pytest.param(formula, params, id=f"{formula.__name__}-{params}")
        for formula in formulas
        for params in {repr(asked.params): dict(asked.params) for asked in ASKED[formula]}.values()
    ]


CASES = _cases(FORMULAS)
STRAIGHT = _cases([formula for formula in FORMULAS if not formula.paired])
"""Those whose programs have no loop over pairs in a step."""


@tinyloss.loss
def charbonnier(x: Any, y: Any, *, eps: float = 1e-3) -> Any:
    """Charbonnier loss."""
    xp = tinyloss.namespace(x)
    return xp.sqrt((x - y) ** 2 + eps**2)


@tinyloss.loss(rowwise=True)
def spread(x: Any, y: Any) -> Any:
    """Squared error of a row, divided by its largest target."""
    xp = tinyloss.namespace(x)
    return xp.sum((x - y) ** 2, axis=-1) / xp.max(y, axis=-1)


@tinyloss.loss(labels=True)
def poly(x: Any, y: Any, *, epsilon: float = 2.0) -> Any:
    """PolyLoss: cross-entropy and epsilon times the probability of being wrong."""
    xp = tinyloss.namespace(x)
    target = y[..., None] == xp.arange(x.shape[-1])
    shifted = x - xp.max(x, axis=-1, keepdims=True)
    norm = xp.sum(xp.exp(shifted), axis=-1)
    log_p = xp.sum(xp.where(target, shifted, 0.0), axis=-1) - xp.log(norm)
    return epsilon * (1 - xp.exp(log_p)) - log_p
