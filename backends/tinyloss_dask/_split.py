"""One job whose blocks have a part of the classes each: pass after pass over the blocks.

A reduction over the classes waits for those that its terms are computed from. Each such level is
one pass: blocks are loaded, reduced and let go, and loaded again for the next, so that memory
holds a few of them whatever the size of a row. In a pass each block is a job of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.graph_manipulation import bind

from tinyloss._arrays import namespace
from tinyloss._engine.run import Job, answer_of
from tinyloss._formula import Formula, answering, exact
from tinyloss.compiler.evaluation import Evaluation, row_numbers
from tinyloss.compiler.kernels import Kept, asked_of, inputs_of, kept_of, record_parts
from tinyloss.compiler.passes import levels_of, reduces
from tinyloss.compiler.program import Input, Node, Program, compared_index
from tinyloss.compiler.recorder import Unrecordable
from tinyloss_dask._blocks import with_axes

__all__ = ["run"]


def run(job: Job) -> Any:
    """Answer a job."""
    kind = _Kind(
        job.formula,
        tuple(job.params.items()),
        tuple(inputs_of(job).items()),
        tuple(asked_of(job)),
        np.dtype(job.dtype).name,
    )
    try:
        program = _program_of(kind)
    except Unrecordable:
        return NotImplemented
    if not all(_is_local(node) for node in program.nodes()):
        return NotImplemented
    before = [each for each in (job.weight, job.divisor) if isinstance(each, da.Array)]
    formula = answering(job.formula, partial(_parts, kind, job.labels, before))
    return replace(job, formula=formula, params={}).evaluate()


@dataclass(frozen=True)
class _Kind:
    """What decides the program of a job; it travels to the workers."""

    formula: type[Formula]
    params: tuple[tuple[str, Any], ...]
    inputs: tuple[tuple[str, Input], ...]
    asked: tuple[str, ...]
    dtype: str

    def key(self, *more: Any) -> Any:
        """Return what tells kinds of one formula apart."""
        return exact((self.params, self.inputs, self.asked, self.dtype, *more))


_programs: Kept[Program] = WeakKeyDictionary()
_pieces: Kept[type[Formula]] = WeakKeyDictionary()


def _program_of(kind: _Kind) -> Program:
    def make() -> Program:
        params, inputs = dict(kind.params), dict(kind.inputs)
        return record_parts(kind.formula, params, inputs, kind.asked, kind.dtype)

    return kept_of(kind.formula, kind.key(), _programs, make)


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
    kind: _Kind, labels: bool, before: Sequence[Any], arrays: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what is asked of the formula, as Dask arrays.

    `before` are arrays that the results meet at once.
    """
    program = _program_of(kind)
    nodes = program.nodes()
    numbers = {id(node): number for number, node in enumerate(nodes)}
    known: dict[int, Any] = {}
    x = arrays["x"]
    xp = namespace(x)

    def pieces(nodes: Sequence[Node]) -> list[Any]:
        """Return what nodes are in each block: of its classes, or reduced over these."""
        evaluate = Evaluation(program, xp, arrays, known=known)
        rows = {f"n{numbers[id(n)]}": evaluate(n)[..., 0] for n in row_numbers(_terms(nodes))}
        given = _again(arrays, [*rows.values(), *before]) if rows else arrays
        return [_in_blocks(kind, labels, numbers[id(node)], node, given, rows) for node in nodes]

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
    return dict(zip(kind.asked, outputs, strict=True))


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
    kind: _Kind,
    labels: bool,
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
    return da.blockwise(
        _block,
        axes,
        *with_axes(given, x.ndim),
        kind=kind,
        labels=labels,
        number=number,
        names=tuple(given),
        of_rows=frozenset(rows),
        adjust_chunks=None if node.per_class else {axes[-1]: 1},
        dtype=dtype,
        meta=np.empty((0,) * x.ndim, dtype),
        token=f"tinyloss-{kind.formula.name}-{node.op}",
    )


def _block(
    *blocks: Any,
    kind: _Kind,
    labels: bool,
    number: int,
    names: Sequence[str],
    of_rows: frozenset[str],
) -> Any:
    """Answer the job of a block: the value of a formula that is one node of the program."""
    arrays: dict[str, Any] = dict(zip(names, blocks, strict=True))
    first_class = arrays.pop("first_class")[0]
    x = arrays["x"]
    if labels:
        arrays["y"] = arrays["y"] - first_class
    key = kind.key(number, of_rows)
    piece = kept_of(kind.formula, key, _pieces, lambda: _piece_of(kind, number, of_rows))
    job = Job(
        xp=namespace(x),
        formula=piece,
        arrays=arrays,
        params={},
        dtype=np.dtype(kind.dtype).type,
        labels=labels,
        weight=None,
        divisor=None,
        reduce=False,
        value=True,
        grads=(),
        curvature=False,
    )
    value = answer_of(job).value
    return value[..., None] if piece.per_item else value


def _piece_of(kind: _Kind, number: int, rows: frozenset[str]) -> type[Formula]:
    """Return the formula whose value is one node of a program, given numbers of the rows."""
    program = _program_of(kind)
    nodes = program.nodes()
    node = nodes[number]

    class Piece(Formula):
        name = kind.formula.name
        rowwise = True
        per_item = not node.per_class
        of_rows = rows

        def __init__(self, **arrays: Any) -> None:
            self.arrays = arrays

        def value(self) -> Any:
            arrays = {name: a for name, a in self.arrays.items() if name not in rows}
            known = {id(nodes[int(name[1:])]): self.arrays[name][..., None] for name in rows}
            evaluate = Evaluation(program, namespace(arrays["x"]), arrays, known=known)
            return evaluate.output(node)

    return Piece
