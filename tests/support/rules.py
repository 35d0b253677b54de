"""What the tests of the rules share; each rule is the first line of its class."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import tinyloss
from tests.support.cases import CASES, FEW_CASES, Case, brought, in_pairs, in_turn
from tests.support.compare import close as compared
from tests.support.libraries import LIBRARIES, Library

# For losses chosen at run time, whose parameters no type checker can follow.
anyloss: Any = tinyloss

Floats = npt.NDArray[Any]

EPS = float(np.finfo(np.float64).eps)
NAN, INF = math.nan, math.inf
LABEL_CASES = [case for case in CASES if case.y.dtype.kind == "i"]
ROW_CASES = [case for case in CASES if case.rowwise and case.y.dtype.kind == "f"]

# One case of each loss, without options that change what an item weighs.
BASIC = {case.name: case for case in reversed(CASES) if not case.options}
basic_case = pytest.mark.parametrize("case", list(BASIC.values()), ids=list(BASIC))
on = pytest.mark.parametrize


def everywhere(*, x64: bool = False) -> pytest.MarkDecorator:
    """Try every library: with every loss, or with a few where it is slow.

    What the engine treats alike takes turns by default, another loss with each library.
    """
    chosen = {name: in_turn(BASIC.values(), turn) for turn, name in enumerate(LIBRARIES)}
    return in_pairs(
        [
            (name, case)
            for name, lib in LIBRARIES.items()
            if x64 or name != "jax:x64"
            for case in (FEW_CASES if lib.slow else BASIC.values())
        ],
        long=lambda name, case: not LIBRARIES[name].slow and case not in chosen[name],
    )


# The same formulas, in another order of summation or after another rounding of a weight or divisor.
close = partial(compared, eps=16, why="the same formulas, summed or divided otherwise")
close32 = partial(close, dtype="float32")
# Autodiff adds and subtracts what a closed form cancels beforehand.
by_lines = partial(compared, eps=256, why="a dozen operations on terms ten times their sum")


def doubles(case: Case) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return brought(Library("numpy"), case, "float64")


def everything(loss: Any, argnums: tuple[int, ...] = (0,)) -> Callable[..., dict[str, Any]]:
    """Return a function that asks for value, gradients and curvature at once."""

    def ask(*arrays: Any, reduction: str = "mean", **options: Any) -> dict[str, Any]:
        value, grads = anyloss.value_and_grad(loss, argnums)(
            *arrays, reduction=reduction, **options
        )
        _, curvature = anyloss.grad_and_hess(loss)(*arrays, **options)
        plain = loss(*arrays, reduction=reduction, **options)
        return {"plain": plain, "value": value, "grads": grads, "curvature": curvature}

    return ask


def spoilt(case: Case, bad: float, item: tuple[int, ...]) -> tuple[Any, ...]:
    """Return the arrays of a case in float64 with `bad` in every place of one item."""
    arrays = [
        np.array(each, dtype=np.float64 if each.dtype.kind == "f" else None) for each in case.arrays
    ]
    for array in arrays:
        if array.dtype.kind != "f":
            continue
        place: tuple[Any, ...] = item
        if case.rowwise:
            axis = case.options.get("axis", -1) % array.ndim
            place = (*item[:axis], slice(None), *item[axis:])
        array[place] = bad
    return tuple(arrays)
