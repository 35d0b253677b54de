"""The derivative of a program: reverse mode, one rule for each operation, into another program."""

from collections.abc import Sequence

from tinyloss._differences import exp_difference
from tinyloss.compiler.program import Node, Program, is_number
from tinyloss.compiler.recorder import RECORDER as xp
from tinyloss.compiler.recorder import BadFormula, Symbol

__all__ = ["differentiate"]


def differentiate(program: Program, name: str) -> Program:
    """Return the program of the derivative of a program's one output by one input.

    Reverse mode: from the output back to the inputs, each node's slope is the derivative of the
    output by it, the sum of what the nodes that use it pass on.
    """
    (output,) = program.outputs
    graph = program.graph
    if output.per_class:
        raise BadFormula(
            "a loss's formula returned a value for each class, expected one for each row"
        )

    def symbol(node: Node) -> Symbol:
        # between nodes, numbers of a row keep the last dimension
        return Symbol(graph, node, last=True)

    slopes: dict[int, Symbol] = {id(output): symbol(graph.constant(1.0))}
    for node in reversed(program.nodes()):
        slope = slopes.get(id(node))
        if slope is None or not node.args:
            continue
        shares = _shares(slope, symbol(node), [symbol(arg) for arg in node.args])
        for arg, share in zip(node.args, shares, strict=True):
            if share is None or arg.op == "constant" or arg.boolean or is_number(share.node, 0.0):
                continue
            if node.per_other and node.op != "other" and not arg.per_other:
                # every other class uses it
                share = symbol(graph.node("pair_sum", share.node))
            if (node.per_class or node.per_other) and not (arg.per_class or arg.per_other):
                share = symbol(graph.node("sum", share.node))  # every class uses it
            known = slopes.get(id(arg))
            slopes[id(arg)] = share if known is None else known + share
    wanted = graph.input(name, program.inputs[name])
    result = slopes.get(id(wanted), symbol(graph.constant(0.0))).node
    if (result.per_item, result.per_class) != (wanted.per_item, wanted.per_class):
        # the same for all classes, or for all items
        result = graph.node("add", result, graph.constant(0.0, wanted))
    return Program(graph, program.inputs, (result,))


def _larger(g: Symbol, a: Symbol, b: Symbol) -> tuple[Symbol, Symbol]:
    """Split the slope of max(a, b): at a tie half to each, or 0 if one is a constant."""
    tie = 0.0 if "constant" in (a.node.op, b.node.op) else 0.5
    at_tie = xp.where(a == b, tie * g, 0.0)
    return xp.where(a > b, g, at_tie), xp.where(b > a, g, at_tie)


def _along(op: str, *args: Symbol) -> Symbol:
    graph = args[0].graph
    return Symbol(graph, graph.node(op, *[graph.spread(each.node) for each in args]))


def _backwards(op: str, *args: Symbol) -> Symbol:
    """Return what an operation makes of rows from their end."""
    return _along("flip", _along(op, *[_along("flip", each) for each in args]))


def _shares(g: Symbol, n: Symbol, args: Sequence[Symbol]) -> tuple[Symbol | None, ...]:
    """Return what node `n`, of slope `g`, adds to the slope of each of its arguments."""
    a, b = args[0], args[-1]
    match n.node.op:
        case "add":
            return g, g
        case "subtract":
            return g, -g
        case "multiply":
            return g * b, g * a
        case "divide":
            return g / b, -(g * n) / b
        case "negative":
            return (-g,)
        case "abs":
            return (g * xp.sign(a),)
        case "exp":
            return (g * n,)
        case "expm1":
            return (g * (n + 1),)
        case "log":
            return (g / a,)
        case "log1p":
            return (g / (1 + a),)
        case "sin":
            return (g * xp.cos(a),)
        case "cos":
            return (-g * xp.sin(a),)
        case "sinh":
            return (g * xp.cosh(a),)
        case "cosh":
            return (g * xp.sinh(a),)
        case "tanh":
            return (g * ((1 - n) * (1 + n)),)
        case "sqrt":
            return (0.5 * g / n,)
        case "pow":
            by_power = None if b.node.op == "constant" else g * n * xp.log(a)
            return g * (b * a ** (b - 1)), by_power
        case "maximum":
            return _larger(g, a, b)
        case "minimum":
            return _larger(g, b, a)
        case "where":
            return None, xp.where(args[0], g, 0.0), xp.where(args[0], 0.0, g)
        case "sum" | "pair_sum":
            return (g,)
        case "other":  # the pairs in which a class is the other one
            graph = g.graph
            return (Symbol(graph, graph.node("pair_sum", graph.exchanged(g.node)), last=True),)
        case "flip":
            return (xp.flip(g, axis=-1),)
        case "cumulative_sum":
            return (_backwards("cumulative_sum", g),)
        case "cumulative_log_sum_exp":
            # What k passes on is shared as exp(x_j) / exp(n_k), n the result: by a top of which no
            # digits are lost, and which cancels, so that nothing is passed on to it.
            top = _along("cumulative_top", a)
            e = exp_difference(a, top)
            total = _along("decaying_sum", e, top)
            total = xp.where(total == 0, 1.0, total)  # of nothing but -inf
            return (e * _backwards("decaying_sum", g / total, -top),)
        case "decaying_sum":
            return _backwards("decaying_sum", g, -b), None
        case "sorted_by":
            return _along("unsorted_by", g, b), None
        case "unsorted_by":
            return _along("sorted_by", g, b), None
        case "shortfall" if n.node.constant == "cost":
            return _of_shortfall(g, *args)
        case "max":
            top = a == n
            return (xp.where(top, g / xp.sum(top, axis=-1, keepdims=True), 0.0),)
        case _:  # comparisons, numbers of pairs: flat
            return (None,) * len(args)


def _of_shortfall(
    g: Symbol, x: Symbol, y: Symbol, weights: Symbol, margin: Symbol
) -> tuple[Symbol | None, ...]:
    """Return what costs of members pass on: their slopes are factors of what their pairs weigh."""
    _, led, behind = xp.shortfalls(x, y, g * weights, margin)
    cost, _, _ = xp.shortfalls(x, y, xp.ones_like(x), margin)
    return behind - led, None, g * cost, led
