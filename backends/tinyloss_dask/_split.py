"""One job whose blocks have a part of the classes each: pass after pass over the blocks.

A reduction over the classes waits for those that its terms are computed from. Each such level is
one pass: blocks are loaded, reduced and let go, and loaded again for the next, so that memory
holds a few of them whatever the size of a row. In a pass each block is a job of its own.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.graph_manipulation import bind

from tinyloss.backend import (
    CLASS,
    ITEM,
    NUMBER,
    Answer,
    Argument,
    Formula,
    Job,
    Kind,
    answer_of,
    cache_of,
    delivered,
    finished,
    namespace,
    scaled,
)
from tinyloss.compiler.evaluation import Evaluation, row_numbers
from tinyloss.compiler.kernels import asked_of, record_parts
from tinyloss.compiler.numbers import Numbers, on_host
from tinyloss.compiler.passes import levels_of, reduces
from tinyloss.compiler.program import Node, Program, compared_index
from tinyloss.compiler.recorder import Unrecordable
from tinyloss_dask._blocks import with_axes


def run(job: Job) -> Any:
    """Answer a job."""
    kind = job.kind
    try:
        program = _program_of(kind)
    except Unrecordable:
        return NotImplemented
    held = any(role == NUMBER for _, _, role in kind.arguments)
    if held or not all(_is_local(node) for node in program.nodes()):
        return NotImplemented
    before = [each for each in (job.weight, job.divisor) if isinstance(each, da.Array)]
    classes = job.arrays["x"].shape[-1]
    nodes = on_host(program)
    numbers = Numbers(nodes, np)(job.numbers, classes)

    def parts(arrays: Mapping[str, Any]) -> Answer:
        named = _parts(kind, numbers, before, arrays)
        grads = tuple([named[f"grad_{name}"] for name in kind.grads])
        return Answer(named.get("value"), grads, named.get("curvature"))

    arrays = {
        name: job.arrays[name] if role.integer else job.arrays[name].astype(kind.dtype)
        for name, _, role in kind.arguments
    }
    answer = finished(job, scaled(kind, arrays, job.weight, job.divisor, parts))
    return delivered(answer, job.out)


def _program_of(kind: Kind) -> Program:
    def make() -> Program:
        return record_parts(kind, asked_of(kind), np.dtype(kind.dtype).name)

    program: Program = cache_of(kind.formula, "dask").made(kind, make)
    return program


def _is_local(node: Node) -> bool:
    """Return whether a node can be computed for some of the classes without knowing which.

    Where class indices are only compared with each other, a block's may be counted from its own
    first class.
    """
    if not node.per_class or node.op in ("input", "constant", "class_index"):
        return True
    if compared_index(node) is not None:
        return True
    if any(arg.op == "class_index" or (arg.op == "input" and arg.integer) for arg in node.args):
        return False
    return all(arg.per_item or arg.per_class or arg.op == "constant" for arg in node.args)


def _parts(
    kind: Kind, values: Sequence[float], before: Sequence[Any], arrays: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what is asked of the formula, as Dask arrays.

    `before` are arrays that the results meet at once.
    """
    program = _program_of(kind)
    nodes = program.nodes()
    numbers = {id(node): number for number, node in enumerate(nodes)}
    known: dict[int, Any] = _known(program, values)
    x = arrays["x"]
    xp = namespace(x)

    def pieces(nodes: Sequence[Node]) -> list[Any]:
        """Return what nodes are in each block: of its classes, or reduced over these."""
        evaluate = Evaluation(program, xp, arrays, known=known)
        rows = {f"n{numbers[id(n)]}": evaluate(n)[..., 0] for n in row_numbers(_terms(nodes))}
        given = _again(arrays, [*rows.values(), *before]) if rows else arrays
        return [_in_blocks(kind, values, numbers[id(node)], node, given, rows) for node in nodes]

    levels = levels_of(nodes, gathers={})
    for level in range(1, max(levels.values()) + 1):
        reductions = [n for n in nodes if reduces(n) and levels[id(n)] == level]
        for node, piece in zip(reductions, pieces(reductions), strict=True):
            reduce = da.max if node.op == "max" else da.sum
            known[id(node)] = reduce(piece, axis=-1, keepdims=True)
    per_class = [node for node in program.outputs if node.per_class and node.per_item]
    results = dict(zip(map(id, per_class), pieces(per_class), strict=True))
    evaluate = Evaluation(program, xp, arrays, known=known)
    outputs = [
        results[id(node)] if id(node) in results else evaluate.output(node)
        for node in program.outputs
    ]
    return dict(zip(asked_of(kind), outputs, strict=True))


def _known(program: Program, values: Sequence[float]) -> dict[int, Any]:
    return {id(node): value for node, value in zip(on_host(program), values, strict=True)}


def _terms(nodes: Sequence[Node]) -> list[Node]:
    return [node if node.per_class else node.args[0] for node in nodes]


def _again(arrays: Mapping[str, Any], after: Sequence[Any]) -> dict[str, Any]:
    """Return the arrays of all classes loaded anew, once all else that their pass needs is there.

    Otherwise blocks would be loaded and kept, waiting for it.
    """
    large = {name: array for name, array in arrays.items() if array.ndim == arrays["x"].ndim}
    names = [each.name for each in (*large.values(), *after)]
    clones = bind([*large.values()], [*after], seed=tokenize("tinyloss", *names))
    return {**arrays, **dict(zip(large, clones, strict=True))}


def _in_blocks(
    kind: Kind,
    values: Sequence[float],
    number: int,
    node: Node,
    arrays: Mapping[str, Any],
    rows: Mapping[str, Any],
) -> Any:
    """Return what a node is in each block."""
    x = arrays["x"]
    axes = tuple(range(x.ndim))
    like_classes: Any = (x.chunks[-1],)
    first_class = da.arange(x.shape[-1], chunks=like_classes)
    given = {"first_class": first_class, **arrays, **rows}
    dtype = np.dtype(kind.dtype)
    of_classes = [name for name, _, role in kind.arguments if role == CLASS]
    return da.blockwise(
        _block,
        axes,
        *with_axes(given, [*of_classes, "first_class"]),
        kind=kind,
        values=tuple(values),
        number=number,
        names=tuple(given),
        of_rows=tuple(rows),
        adjust_chunks=None if node.per_class else {axes[-1]: 1},
        dtype=dtype,
        meta=np.empty((0,) * x.ndim, dtype),
        token=f"tinyloss-{kind.formula.name}-{node.op}",
    )


def _block(
    *blocks: Any,
    kind: Kind,
    values: tuple[float, ...],
    number: int,
    names: Sequence[str],
    of_rows: tuple[str, ...],
) -> Any:
    """Answer the job of a block: the value of a formula that is one node of the program."""
    arrays: dict[str, Any] = dict(zip(names, blocks, strict=True))
    first_class = arrays.pop("first_class")[0]
    x = arrays["x"]
    for name, _, role in kind.arguments:
        if role.integer:
            arrays[name] = arrays[name] - first_class
    piece: type[Formula] = cache_of(kind.formula, "dask").made(
        (kind, number, of_rows), lambda: _piece_of(kind, number, of_rows)
    )
    of_block = Kind(
        formula=piece,
        arguments=tuple([Argument(n, each.dtype, piece.role(n)) for n, each in arrays.items()]),
        dtype=np.dtype(kind.dtype).type,
        numbers=tuple([f"number_{n}" for n in range(len(values))]),
        reduce=False,
    )
    numbers = dict(zip(of_block.numbers, values, strict=True))
    value = answer_of(Job(of_block, namespace(x), arrays, numbers=numbers)).value
    return value[..., None] if piece.per_item else value


def _piece_of(kind: Kind, number: int, rows: Sequence[str]) -> type[Formula]:
    """Return the formula whose value is one node of a program, given numbers of the rows."""
    program = _program_of(kind)
    nodes = program.nodes()
    node = nodes[number]

    class Piece(Formula):
        name = kind.formula.name
        rowwise = True
        per_item = not node.per_class
        roles = {name: role for name, _, role in kind.arguments} | dict.fromkeys(rows, ITEM)

        def __init__(self, **given: Any) -> None:
            values = [given.pop(name) for name in [*given] if name.startswith("number_")]
            self.arrays, self.known = given, _known(program, values)

        def value(self) -> Any:
            arrays = {name: a for name, a in self.arrays.items() if name not in rows}
            of_rows = {id(nodes[int(name[1:])]): self.arrays[name][..., None] for name in rows}
            known = self.known | of_rows
            evaluate = Evaluation(program, namespace(arrays["x"]), arrays, known=known)
            return evaluate.output(node)

    return Piece
