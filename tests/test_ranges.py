"""The ranges of a program's numbers, and the cheaper operations that they allow."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from tests.support.formulas import STRAIGHT, arguments
from tinyloss._differences import exp_difference
from tinyloss._formula import Formula, Role
from tinyloss.compiler.evaluation import Evaluation
from tinyloss.compiler.program import Node, Program
from tinyloss.compiler.ranges import NARROW, narrowed, ranges_of
from tinyloss.compiler.recorder import record
from tinyloss.losses._numerics import sigmoids

ELEMENTS = {"x": Role(), "y": Role()}
ROWS = {"x": Role(per_class=True), "y": Role(integer=True)}


def recorded(function: Callable[..., Any], inputs: Mapping[str, Role]) -> Program:
    return record(function, inputs, dtype="float64")


def range_of(function: Callable[..., Any], inputs: Mapping[str, Role] = ELEMENTS) -> Any:
    """Return the range of a function's result."""
    program = recorded(function, inputs)
    return ranges_of(program)[id(program.outputs[0])]


def operations(function: Callable[..., Any], inputs: Mapping[str, Role]) -> set[str]:
    """Return the operations with names of their own in a function's narrowed program."""
    return {node.op for node in narrowed(recorded(function, inputs)).nodes()} & {*NARROW}


def numbers_of(program: Program, arrays: Mapping[str, Any], node: Node) -> Any:
    numbers = np.asarray(Evaluation(program, np, arrays)(node), np.float64)
    return numbers[~np.isnan(numbers)]


@pytest.mark.parametrize(("formula", "params"), STRAIGHT)
@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_numbers_of_every_formula_are_in_their_ranges(
    formula: type[Formula], params: dict[str, Any], scale: float
) -> None:
    inputs, arrays = arguments(formula)
    if formula.rowwise and not inputs["y"].per_class:
        inputs["y"] = Role(integer=True)
    arrays["x"] = scale * (arrays["x"] - 0.5)

    def every(**given: Any) -> tuple[Any, ...]:
        loss = formula(**given, **params)
        wanted = ["value", "grad_x", "grad_y", "grad_var", "curvature"]
        return tuple([getattr(loss, each)() for each in wanted if hasattr(loss, each)])

    program = recorded(every, inputs)
    known = ranges_of(program)
    with np.errstate(all="ignore"):
        for node in program.nodes():
            if node.boolean:
                continue
            numbers = numbers_of(program, arrays, node)
            low, high = known[id(node)]
            assert ((numbers >= low) & (numbers <= high)).all(), (node, low, high)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x, y: -(x * x), (-math.inf, 0)),
        (lambda x, y: abs(x), (0, math.inf)),
        (lambda x, y: _xp(x).exp(-abs(x)), (0, 1)),
        (lambda x, y: 1 + _xp(x).exp(-abs(x)), (1, 2)),
        (lambda x, y: 1 / (1 + _xp(x).exp(-abs(x))), (0, 1)),
        (lambda x, y: _xp(x).where(x >= 0, x, -x), (0, math.inf)),
        (lambda x, y: _xp(x).where(x > 0, -x, x), (-math.inf, 0)),
        (lambda x, y: _xp(x).where(y > 0, x, -x), (-math.inf, math.inf)),
        (lambda x, y: _xp(x).maximum(x, 0.3), (0, math.inf)),
        (lambda x, y: _xp(x).minimum(x, 0.3), (-math.inf, 1)),
        (lambda x, y: x - 1e30, (-math.inf, math.inf)),
        (lambda x, y: _xp(x).tanh(x), (-1, 1)),
        (lambda x, y: _xp(x).log1p(_xp(x).exp(-abs(x))), (0, 1)),
    ],
)
def test_rules(function: Callable[..., Any], expected: tuple[float, float]) -> None:
    """Bounds are whole numbers, so that no rounding takes a number beyond them."""
    assert range_of(function) == expected


def _xp(x: Any) -> Any:
    return x.__array_namespace__()


def test_no_number_of_a_row_is_above_its_maximum() -> None:
    def below(x: Any, y: Any) -> Any:
        return x - _xp(x).max(x, axis=-1, keepdims=True)

    assert range_of(below, ROWS) == (-math.inf, 0)
    assert range_of(lambda x, y: -below(x, y), ROWS) == (0, math.inf)


def test_sigmoids_need_one_exponential_of_a_negative_number() -> None:
    def all_of_them(x: Any, y: Any) -> Any:
        s = sigmoids(x)
        return s.plus, s.minus, s.softplus

    assert operations(all_of_them, ELEMENTS) == {"exp_negative", "log1p_unit"}
    nodes = narrowed(recorded(all_of_them, ELEMENTS)).nodes()
    assert [node.op for node in nodes].count("exp_negative") == 1
    assert not {"exp", "log1p"} & {node.op for node in nodes}


def test_size_of_a_number_needs_no_comparison() -> None:
    """where(x >= 0, x, -x) may be -0.0, of which exp is that of 0.0."""

    def of_size(x: Any, y: Any) -> Any:
        return _xp(x).exp(-_xp(x).where(x >= 0, x, -x))

    nodes = narrowed(recorded(of_size, ELEMENTS)).nodes()
    assert [node.op for node in nodes] == ["input", "abs", "negative", "exp_negative"]


def test_exact_difference_is_one_operation() -> None:
    """Below a maximum a cheaper one; any other m has the general one."""

    def of_row(x: Any, y: Any) -> Any:
        return exp_difference(x, _xp(x).max(x, axis=-1, keepdims=True))

    assert operations(of_row, ROWS) == {"exp_shortfall"}
    assert operations(exp_difference, {"x": Role(), "m": Role()}) == {"exp_difference"}


def test_difference_that_is_not_exact_stays_as_it_is() -> None:
    def almost(x: Any, y: Any) -> Any:
        d = x - y
        u = d - x
        r = (x - (d - u)) - (x + u)  # not y + u
        e = _xp(x).exp(d)
        return e + e * _xp(x).where(abs(d) < 1e18, r, 0.0)

    assert operations(almost, ELEMENTS) == set()
