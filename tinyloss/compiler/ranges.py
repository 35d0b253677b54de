"""The range of each number of a program, and the cheaper operations that it allows.

exp of what is never positive cannot overflow, log1p of what is from 0 to 1 needs no exponent. A
formula does not say so: the rules below tell it from the operations, one line each. Every bound is
a whole number or infinite, so it is exact in every dtype, and rounding does not take a result
beyond it. Any number may be NaN.

`narrowed` gives these operations names of their own:

    exp_negative(x)         exp(x), x never positive
    exp_difference(x, m)    exp(x - m) as if x - m were not rounded
    exp_shortfall(x, m)     the same, x never above m
    log1p_unit(x)           log1p(x), x from 0 to 1
"""

import math
from collections.abc import Callable, Mapping

from tinyloss.compiler.program import Node, Program, is_number

__all__ = ["NARROW", "Range", "narrowed", "ranges_of"]

Range = tuple[float, float]
"""The least and the largest that a number may be, if it is no NaN."""

NARROW = ("exp_negative", "exp_difference", "exp_shortfall", "log1p_unit")
"""The operations that `narrowed` brings in."""

_ANY: Range = (-math.inf, math.inf)
_LARGEST = 2.0**20
"""Whole numbers beyond it are taken for infinite: none is near the end of a significand."""


def _negative(a: Range) -> Range:
    return -a[1], -a[0]


def _abs(a: Range) -> Range:
    size = max(-a[0], a[1])
    return (max(a[0], -a[1], 0.0), size)


def _add(a: Range, b: Range) -> Range:
    return a[0] + b[0], a[1] + b[1]


def _subtract(a: Range, b: Range) -> Range:
    return a[0] - b[1], a[1] - b[0]


def _multiply(a: Range, b: Range) -> Range:
    # a bound of 0 times an infinite one is 0: the number itself may be NaN
    ends = [x * y if x and y else 0.0 for x in a for y in b]
    return min(ends), max(ends)


def _divide(a: Range, b: Range) -> Range:
    if a[0] < 0 or b[0] < 0:
        return _ANY
    return 0.0, a[1] if b[0] >= 1 else math.inf


def _exp(a: Range) -> Range:
    return float(a[0] >= 0), 1.0 if a[1] <= 0 else math.inf


def _expm1(a: Range) -> Range:
    return 0.0 if a[0] >= 0 else -1.0, 0.0 if a[1] <= 0 else math.inf


def _log(a: Range) -> Range:
    return 0.0 if a[0] >= 1 else -math.inf, 0.0 if a[1] <= 1 else math.inf


def _log1p(a: Range) -> Range:
    return 0.0 if a[0] >= 0 else -math.inf, 0.0 if a[1] <= 0 else 1.0 if a[1] <= 1 else math.inf


def _joined(a: Range, b: Range) -> Range:
    return min(a[0], b[0]), max(a[1], b[1])


def _same(a: Range) -> Range:
    return a


def _sum(a: Range) -> Range:
    return 0.0 if a[0] >= 0 else -math.inf, 0.0 if a[1] <= 0 else math.inf


def _maximum(a: Range, b: Range) -> Range:
    return max(a[0], b[0]), max(a[1], b[1])


def _minimum(a: Range, b: Range) -> Range:
    return min(a[0], b[0]), min(a[1], b[1])


def _first(a: Range, *_: Range) -> Range:
    return a


def _always(low: float, high: float) -> Callable[..., Range]:
    def rule(*_: Range) -> Range:
        return low, high

    return rule


_RULES: Mapping[str, Callable[..., Range]] = {
    "negative": _negative,
    "abs": _abs,
    "add": _add,
    "subtract": _subtract,
    "multiply": _multiply,
    "divide": _divide,
    "exp": _exp,
    "expm1": _expm1,
    "log": _log,
    "log1p": _log1p,
    "max": _same,
    "sum": _sum,
    "flip": _same,
    "moved": _same,
    "sorted_by": _first,
    "unsorted_by": _first,
    "other": _same,
    "pair_sum": _sum,
    "maximum": _maximum,
    "minimum": _minimum,
    "sqrt": _always(0.0, math.inf),
    "tanh": _always(-1.0, 1.0),
    "sin": _always(-1.0, 1.0),
    "cos": _always(-1.0, 1.0),
    "cosh": _always(1.0, math.inf),
    "classes": _always(1.0, math.inf),
    "class_index": _always(0.0, math.inf),
}


def ranges_of(program: Program) -> dict[int, Range]:
    """Return the range of each node's numbers, by the node's identity."""
    known: dict[int, Range] = {}
    for node in program.nodes():
        known[id(node)] = _exact(_range(node, known))
    return known


def _range(node: Node, known: Mapping[int, Range]) -> Range:
    args = [known[id(a)] for a in node.args]
    if node.op == "constant" and not node.boolean:
        return (math.floor(node.constant), math.ceil(node.constant)) if _finite(node) else _ANY
    if node.op == "where":
        condition, a, b = node.args
        return _joined(_chosen(a, condition, True, known), _chosen(b, condition, False, known))
    if node.op == "subtract":
        a, b = node.args
        if b.op == "max" and b.args[0] is a:
            return -math.inf, 0.0
        if a.op == "max" and a.args[0] is b:
            return 0.0, math.inf
        if (a.op, b.op) == ("minimum", "maximum") and a.args == b.args:
            return -math.inf, 0.0
        if a.op == b.op == "where" and a.args[0] is b.args[0] and a.args[0].op == "greater_equal":
            larger = a.args[0].args
            if b.args[1:] == larger and a.args[1:] == larger[::-1]:
                return -math.inf, 0.0
    difference = _exact_difference(node)
    if difference is not None:  # the exponential of what is never positive, once more
        return known[id(node.args[0])]
    if node.op == "multiply" and node.args[0] is node.args[1]:
        return 0.0, math.inf
    rule = _RULES.get(node.op)
    return _ANY if rule is None else rule(*args)


def _finite(node: Node) -> bool:
    return math.isfinite(node.constant)


def _exact(a: Range) -> Range:
    low, high = a
    low = -math.inf if low != low or low < -_LARGEST else min(low, _LARGEST)
    high = math.inf if high != high or high > _LARGEST else max(high, -_LARGEST)
    return low, high


def _chosen(node: Node, condition: Node, met: bool, known: Mapping[int, Range]) -> Range:
    """Return the range of a node where a condition is met, or is not.

    The condition tells something of a node that it compares with 0.
    """
    own = known[id(node)]
    if condition.op not in ("greater", "greater_equal", "less", "less_equal"):
        return own
    compared, limit = condition.args
    if limit.op != "constant" or limit.constant != 0:
        return own
    above = condition.op.startswith("greater") == met
    told = (0.0, math.inf) if above else (-math.inf, 0.0)
    if node.op == "negative" and node.args[0] is compared:
        told = _negative(told)
    elif node is not compared:
        return own
    return max(own[0], told[0]), min(own[1], told[1])


def narrowed(program: Program) -> Program:
    """Return a program with the cheaper operations where its numbers allow them.

    What varies by nothing stays as it is: it is computed once, elsewhere.
    """
    graph, known = program.graph, ranges_of(program)
    new: dict[int, Node] = {}
    for node in program.nodes():
        if not node.args:
            new[id(node)] = node
            continue
        varies = node.per_item or node.per_class or node.per_other
        op, of = _narrow(node, known) if varies else (node.op, node.args)
        args = [new[id(a)] for a in of]
        size = _size(of[0]) if op == "exp_negative" else None
        if size is not None:  # without a comparison before it
            args = [graph.node("negative", graph.node("abs", new[id(size)]))]
        same = op == node.op and all(a is b for a, b in zip(args, node.args, strict=True))
        new[id(node)] = node if same else graph.node(op, *args, constant=node.constant)
    return Program(graph, program.inputs, tuple([new[id(node)] for node in program.outputs]))


def _narrow(node: Node, known: Mapping[int, Range]) -> tuple[str, tuple[Node, ...]]:
    difference = _exact_difference(node)
    if difference is not None:
        fall = known[id(node.args[0].args[0])][1] <= 0
        return "exp_shortfall" if fall else "exp_difference", difference
    low, high = known[id(node.args[0])]
    if node.op == "exp" and high <= 0:
        return "exp_negative", node.args
    if node.op == "log1p" and low >= 0 and high <= 1:
        return "log1p_unit", node.args
    return node.op, node.args


def _size(node: Node) -> Node | None:
    """Return x if a node is -where(x >= 0, x, -x): that is -|x|, but for the sign of a zero."""
    if node.op != "negative" or node.args[0].op != "where":
        return None
    up, x, down = node.args[0].args
    if up.op != "greater_equal" or up.args[0] is not x or not is_number(up.args[1], 0.0):
        return None
    return x if down.op == "negative" and down.args[0] is x else None


def _exact_difference(node: Node) -> tuple[Node, Node] | None:
    """Return x and m if a node is e + e r, e = exp(d) of d = x - m and r its rounding error.

    r = (x - (d - u)) - (m + u), u = d - x (TwoSum), and 0 where d is huge.
    """
    if node.op != "add" or node.args[0].op != "exp" or node.args[1].op != "multiply":
        return None
    e, product = node.args
    (d,) = e.args
    if product.args[0] is not e or product.args[1].op != "where" or d.op != "subtract":
        return None
    condition, r, zero = product.args[1].args
    x, m = d.args
    bounded = condition.op == "less" and condition.args[0].op == "abs"
    if not bounded or condition.args[0].args[0] is not d or zero.op != "constant":
        return None
    if zero.constant != 0 or r.op != "subtract":
        return None
    near, far = r.args
    if near.op != "subtract" or far.op != "add" or near.args[1].op != "subtract":
        return None
    u = far.args[1]
    right = (
        near.args[0] is x
        and near.args[1].args == (d, u)
        and far.args[0] is m
        and u.op == "subtract"
        and u.args == (d, x)
    )
    return (x, m) if right else None
