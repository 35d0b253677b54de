"""The part of a program that varies by nothing, computed on the host before a kernel runs.

In Python's floats: 1 - 0.999 keeps its digits whatever dtype the kernel computes in.
"""

import math
import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from tinyloss.compiler.program import Node, Program, in_order

__all__ = ["INFIX", "KNOWN", "Numbers", "on_host"]

KNOWN = ("constant", "classes")
"""What needs no computing: a number in the text, the length of a row."""

INFIX = {
    "add": "+",
    "subtract": "-",
    "multiply": "*",
    "divide": "/",
    "less": "<",
    "less_equal": "<=",
    "greater": ">",
    "greater_equal": ">=",
    "equal": "==",
    "not_equal": "!=",
}
"""Operations that Python and C write between their arguments."""


def _of_two(choose: Callable[[float, float], float]) -> Callable[[float, float], float]:
    return lambda a, b: a if a != a else b if b != b else choose(a, b)


def _where(condition: bool, a: float, b: float) -> float:
    return a if condition else b


_PYTHON = SimpleNamespace(
    **{name: getattr(math, name) for name in "cos cosh exp expm1 log log1p pow sin sinh".split()},
    **{name: getattr(math, name) for name in "sqrt tanh isnan isinf isfinite".split()},
    abs=abs,
    float64=float,
    maximum=_of_two(max),
    minimum=_of_two(min),
    where=_where,
    logical_and=bool.__and__,
    logical_or=bool.__or__,
    logical_not=operator.not_,
)


def on_host(program: Program, on_device: Collection[str] = ()) -> tuple[Node, ...]:
    """Return what varies by nothing, depends on no input that is on the device, and is used."""
    nodes = program.nodes()
    known: set[int] = set()
    for node in nodes:
        varies = node.per_item or node.per_class or node.per_other or node.op in KNOWN
        held = node.op == "input" and node.constant in on_device
        if not varies and not held and all(a.op in KNOWN or id(a) in known for a in node.args):
            known.add(id(node))
    used = [arg for node in nodes if id(node) not in known for arg in node.args]
    return tuple({id(n): n for n in (*used, *program.outputs) if id(n) in known}.values())


class Numbers:
    """Nodes as a function of the numbers that they are computed from."""

    def __init__(self, nodes: Sequence[Node], ieee: Any) -> None:
        """Take the nodes; `ieee` is NumPy, for what Python refuses to compute: 1 / 0."""
        order = in_order(nodes)
        names = {id(node): f"n{number}" for number, node in enumerate(order)}
        lines = [f"    {names[id(node)]} = {_text(node, names)}" for node in order]
        results = ", ".join([names[id(node)] for node in nodes])
        text = "\n".join(["def compute(given, classes, xp):", *lines, f"    return [{results}]"])
        scope: dict[str, Any] = {}
        exec(compile(text, "<tinyloss: numbers>", "exec"), scope)
        self._compute: Callable[[Any, int, Any], list[Any]] = scope["compute"]
        self._ieee = ieee
        self._latest: tuple[Any, list[float] | None, list[float]] | None = None

    def __call__(self, given: Mapping[str, float], classes: int) -> list[float]:
        """Return the nodes' results."""
        key = (classes, given)
        latest = self._latest
        if (
            latest is not None
            and latest[0] == key
            and (latest[1] is None or latest[1] == _signs(given))
        ):
            return latest[2]
        try:
            results = self._compute(given, classes, _PYTHON)
        except (ArithmeticError, ValueError):
            ieee = self._ieee
            with ieee.errstate(all="ignore"):
                wide = {name: ieee.float64(number) for name, number in given.items()}
                results = self._compute(wide, classes, ieee)
        # 0.0 and -0.0 are equal
        self._latest = key, _signs(given) if 0.0 in given.values() else None, results
        return results


def _signs(given: Mapping[str, float]) -> list[float]:
    return [math.copysign(1.0, number) for number in given.values()]


def _text(node: Node, names: dict[int, str]) -> str:
    args = [names[id(arg)] for arg in node.args]
    if node.op == "input":
        return f"given[{node.constant!r}]"
    if node.op == "constant":
        return repr(node.constant) if node.boolean else f'xp.float64("{float(node.constant)!r}")'
    if node.op == "classes":
        return "classes"
    if node.op in INFIX:
        return f" {INFIX[node.op]} ".join(args)
    if node.op == "negative":
        return f"-{args[0]}"
    return f"xp.{node.op}({', '.join(args)})"
