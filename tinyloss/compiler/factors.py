"""Factors of an item, taken out of what is computed for each class of its row.

exp(x - m) as if x - m were not rounded takes several operations more than exp(x). But exp(x) and
exp(m), each made from its own argument, need no difference: the first is divided by the power of
two in the second, and what is left of the second is a factor of the item. `factored` gives both
names of their own:

    exp_scaled(x, m)    exp(x - m) / exp_scale(m), x never above m
    exp_scale(m)        a number of the item

The factor waits until the classes have been added up, or multiplied by another number of the item.
It is rounded, so exp(m - m) is not exactly 1. Therefore the program stays as it is unless one class
of each item is left out of the sum, as a label's is: its exponential the formula makes by itself.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence

from tinyloss.compiler.program import Node, Program, compared_index, is_number

__all__ = ["SCALED", "factored"]

SCALED = "exp_scaled"

Users = Callable[[Node], Sequence[Node | None]]
"""What is computed from a node; None stands for a result of the program."""


def factored(program: Program) -> Program:
    """Return a program in which a factor of each item is taken out of its exponentials."""
    graph, nodes = program.graph, program.nodes()
    users: defaultdict[int, list[Node | None]] = defaultdict(list)
    for node in nodes:
        for arg in node.args:
            users[id(arg)].append(node)
    for node in program.outputs:
        users[id(node)].append(None)
    scaled = {id(node) for node in nodes if _can_wait(node, lambda each: users[id(each)])}
    if not scaled:
        return program
    new: dict[int, Node] = {}
    waiting: dict[int, Node] = {}
    """The factor that a new node is yet to be multiplied by, by the identity of the old one."""
    for node in nodes:
        args = [new[id(arg)] for arg in node.args]
        factor = next((waiting[id(arg)] for arg in node.args if id(arg) in waiting), None)
        made: Node | None = None
        if id(node) in scaled:
            made = graph.node(SCALED, *args)
            waiting[id(node)] = graph.node("exp_scale", args[1])
        elif factor is not None and node.op == "where":
            waiting[id(node)] = factor
        elif factor is not None and node.op == "sum":
            made = graph.node("multiply", graph.node("sum", *args), factor)
        elif factor is not None:
            (condition, number, e), times = _choice_and_number(args)
            product = graph.node("multiply", e, graph.node("multiply", factor, times))
            made = graph.node("where", condition, graph.node("multiply", number, times), product)
        elif all(a is b for a, b in zip(args, node.args, strict=True)):
            made = node
        new[id(node)] = made or graph.node(node.op, *args, constant=node.constant)
    return Program(graph, program.inputs, tuple([new[id(node)] for node in program.outputs]))


def _can_wait(node: Node, users: Users) -> bool:
    """Return whether a factor of an exponential can wait, whatever is computed from it."""
    return node.op == "exp_shortfall" and all(
        user is not None
        and compared_index(user.args[0]) is not None
        and _is_choice(user, node)
        and is_number(user.args[1], 0.0)
        and all(_takes(each, user, users) for each in users(user))
        for user in users(node)
    )


def _takes(node: Node | None, term: Node, users: Users) -> bool:
    """Return whether a node can multiply by the factor of a term: a sum of it, or a product of it.

    A product of where(condition, number, term) is where(condition, ...) of two products.
    """
    if node is None or node.op == "sum":
        return node is not None
    return _is_choice(node, term) and all(_is_share(each, node, term) for each in users(node))


def _is_choice(node: Node, other: Node) -> bool:
    """Return whether a node is where(condition, number of the item, other)."""
    return node.op == "where" and node.args[2] is other and not node.args[1].per_class


def _is_share(node: Node | None, part: Node, term: Node) -> bool:
    """Return whether a node is a part times 1 / (the terms' sum + a number of the item).

    Terms are at most 1, so the reciprocal and the factor, which is small, have a normal product.
    """
    if node is None or node.op != "multiply" or part not in node.args:
        return False
    times = node.args[node.args[0] is part]
    if times.op != "divide" or not is_number(times.args[0], 1.0) or times.per_class:
        return False
    whole = times.args[1]
    return whole.op == "add" and any(n.op == "sum" and n.args[0] is term for n in whole.args)


def _choice_and_number(args: Sequence[Node]) -> tuple[tuple[Node, ...], Node]:
    choice, times = args if args[0].per_class else args[::-1]
    return choice.args, times
