"""The line of a formula that loses digits first, and what to write instead."""

import inspect
import linecache
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tinyloss.backend import Role
from tinyloss.compiler.program import Node, Program, is_number
from tinyloss.testing._exact import brought, decimals, exactly, floats, last_axis

__all__ = ["advice", "first_lost", "line_of"]


def line_of() -> tuple[str, int, str] | None:
    """Return the file, number and text of the formula's line that is being recorded."""
    inside = (__file__, str(Path(__file__).parents[1] / "compiler"))
    frame: Any = inspect.currentframe()
    while frame is not None and frame.f_code.co_filename.startswith(inside):
        frame = frame.f_back
    if frame is None:
        return None
    file, line = frame.f_code.co_filename, frame.f_lineno
    return file, line, linecache.getline(file, line).strip()


def first_lost(
    numpy: Any,
    program: Program,
    roles: Mapping[str, Role],
    arrays: Mapping[str, Any],
    bound: float,
    is_nan: bool,
) -> Node | None:
    """Return the first node that is off in float32, though what it is computed from is not.

    Without one, and where NaN came: the first that is NaN, or whose slope is infinite.
    """
    lasts = {name: last_axis(array, roles[name]) for name, array in arrays.items()}
    near = floats(numpy, numpy.float32).nodes(program, lasts)
    with exactly():
        exact = decimals(numpy).nodes(program, brought(numpy, arrays, roles))
    eps, least = numpy.finfo(numpy.float32).eps, numpy.finfo(numpy.float32).smallest_normal
    for node in program.nodes():
        if node.boolean or not node.args:
            continue
        true = exact[id(node)].astype(numpy.float64)
        got = numpy.asarray(near[id(node)], dtype=numpy.float64)
        off = ~(abs(got - true) <= bound * eps * abs(true) + bound * least)
        if (off & numpy.isfinite(true) & (abs(true) < 1e38)).any():
            return node
        if is_nan and numpy.isnan(got).any():
            return node
    for node in program.nodes():
        if is_nan and node.op in _SINGULAR:
            root = node.op == "pow" and node.args[1].op == "constant"
            if root and node.args[1].constant >= 1:
                continue
            if (near[id(node.args[-1 if node.op == "divide" else 0])] <= 0).any():
                return node
    return None


_SINGULAR = ("sqrt", "pow", "log", "divide")
"""Operations whose slope is infinite at 0."""


def _is(node: Node, op: str) -> bool:
    return node.op == op


def _of_exponential(node: Node) -> bool:
    """Return whether a node is 1 + exp(...), or a sum of exponentials."""
    if node.op == "add":
        return any(_is(a, "exp") or _of_exponential(a) for a in node.args)
    return _is(node, "sum") and _is(node.args[0], "exp")


def _is_share(node: Node) -> bool:
    """Return whether a node is a sigmoid, or a softmax."""
    return _is(node, "divide") and _of_exponential(node.args[1])


def _with_one(node: Node, test: Callable[[Node], bool]) -> bool:
    """Return whether a node is 1 and another that passes a test."""
    a, b = node.args
    return (is_number(a, 1.0) and test(b)) or (is_number(b, 1.0) and test(a))


# Beyond 40 log(1 + exp(t)) is t to the last digit of float64. There is no kink at 0, where reverse
# mode would be wrong.
_SOFTPLUS = "xp.where(t < 40, xp.log1p(xp.exp(xp.minimum(t, 40.0))), t) of t = {}"


def advice(node: Node) -> str:
    """Return what to write instead of a pattern that loses digits, "" where none is known."""
    op, args = node.op, node.args
    if op == "log" and _is_share(args[0]):
        if _is(args[0].args[1], "sum"):
            return (
                "the logarithm of a softmax at one class, of logit o: write o - m - xp.log1p(s + "
                "xp.expm1(o - m)), with m the largest logit and s the sum of exp(x - m) over the "
                "other classes; or use tinyloss.cross_entropy"
            )
        return f"the logarithm of a sigmoid of x: the negative of {_SOFTPLUS.format('-x')}"
    if op == "log" and _is(args[0], "add") and _with_one(args[0], lambda b: _is(b, "exp")):
        return f"log(1 + exp(x)): write {_SOFTPLUS.format('x')}"
    if op == "log" and _is(args[0], "add") and _with_one(args[0], lambda b: True):
        return "log(1 + t): write xp.log1p(t)"
    if op == "log" and _is(args[0], "subtract") and is_number(args[0].args[0], 1.0):
        return "log(1 - t): write xp.log1p(-t); where t is a sigmoid, the logarithm of that of -x"
    if op == "log" and _of_exponential(args[0]):
        return (
            "the logarithm of a sum of exponentials: subtract the largest exponent m before, and "
            "write m + xp.log1p(the sum of the others)"
        )
    if op == "subtract" and is_number(args[0], 1.0) and _is_share(args[1]):
        return "1 - sigmoid(x): write 1 / (1 + xp.exp(x))"
    if op == "subtract" and is_number(args[1], 1.0) and _is(args[0], "exp"):
        return "exp(t) - 1: write xp.expm1(t)"
    if op == "multiply" and any(_is(a, "log") for a in args):
        return "t log t at 0: write xp.where(t > 0, t * xp.log(xp.where(t > 0, t, 1.0)), 0.0)"
    if op in ("sqrt", "pow"):
        return (
            "a root at 0, whose slope is infinite: add a small number inside, or choose the "
            f"argument before it, xp.where(t > 0, {'xp.sqrt(' if op == 'sqrt' else '('}"
            f"xp.where(t > 0, t, 1.0)){'' if op == 'sqrt' else ' ** p'}, 0.0)"
        )
    if op in ("log", "divide"):
        return (
            "a number that xp.where chooses or not is computed all the same, and so is its slope: "
            "choose the argument before, xp.log(xp.where(t > 0, t, 1.0))"
        )
    if op == "exp":
        return "exp leaves the range of the dtype: subtract the largest exponent before"
    if op == "subtract":
        return "a difference of rounded numbers: find a form in which nothing cancels"
    return ""
