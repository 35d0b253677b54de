"""What goes over a row in an order, spelled out: by sorting, by moving and by joining its parts."""

from collections.abc import Callable
from typing import Any

from tinyloss import _in_order
from tinyloss.compiler.program import Node, Program
from tinyloss.compiler.recorder import Symbol

__all__ = ["spelled_out"]

_SPELLED: dict[str, Callable[..., Any]] = {
    "cumulative_log_sum_exp": _in_order.log_sums,
    "cumulative_sum": _in_order.cumulative_sum,
    "cumulative_top": _in_order.cumulative_top,
    "decaying_sum": _in_order.decaying_sum,
}


def spelled_out(program: Program) -> Program:
    """Return a program in which running sums of any kind are "running": joins of a row's parts."""
    if not program.goes_along:
        return program
    graph = program.graph
    new: dict[int, Node] = {}
    for node in program.nodes():
        args = [new[id(arg)] for arg in node.args]
        if node.op in _SPELLED:
            spelled = _SPELLED[node.op](*[Symbol(graph, graph.spread(arg)) for arg in args])
            new[id(node)] = spelled.node
        elif all(a is b for a, b in zip(args, node.args, strict=True)):
            new[id(node)] = node
        else:
            new[id(node)] = graph.node(node.op, *args, constant=node.constant)
    return Program(graph, program.inputs, tuple([new[id(node)] for node in program.outputs]))
