"""Losses of scores that are products: a task for each block of rows, which computes its scores.

Where columns have the same loss besides, a first task for each block tells what it shows of them.
One task joins these, and each block's second knows all of its columns.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import dask.array as da
import numpy as np

from tinyloss.backend import (
    FACTORS,
    OF_ROWS,
    Answer,
    Columns,
    Job,
    Scored,
    by_chunks,
    known_of_columns,
    looked,
    namespace,
    replaced,
    seen_of_columns,
)
from tinyloss.compiler.kernels import DIVISOR, WEIGHT
from tinyloss_dask._blocks import parts_of

_FIRST, _KNOWN = "first=", "known="
"""The index of a block's first row, and what is known of its columns."""
_OF_COLUMNS = {"y": "y of columns", WEIGHT: "weight of columns"}
"""What columns have of what rows have a part of."""


def products(scored: Scored) -> Answer:
    """Answer for scores that are products of Dask arrays."""
    job, h = looked(scored.job), scored.h.rechunk({1: -1})
    roles = {name: role for name, _, role in job.kind.arguments if name != "x"}
    given = {name: getattr(scored, name) for name in FACTORS}
    given |= {**job.arrays, **scored.pairs, WEIGHT: job.weight}
    if scored.marks:
        del given["y"]  # made of the pairs
    if isinstance(job.divisor, da.Array):
        given[DIVISOR] = job.divisor
    given = {name: each for name, each in given.items() if each is not None}
    taken: dict[str, tuple[Any, tuple[str, ...]]] = {}
    for name, each in given.items():
        axes = tuple([f"{name}{axis}" for axis in range(each.ndim)])
        of_rows = name in ("h", WEIGHT, *OF_ROWS) or (name in roles and roles[name].per_item)
        if of_rows and (each.shape[0] != 1 or h.shape[0] == 1):
            axes, chunks = ("rows", *axes[1:]), {0: h.chunks[0]}
        else:
            chunks = {0: -1} if each.ndim else {}
        chunks |= dict.fromkeys(range(1, each.ndim), -1)
        known = all(n == n for n in each.shape)  # Dask cannot cut what it does not know
        taken[name] = each.rechunk(chunks) if known else each, axes
    tasks = _Tasks(scored, taken)
    if not scored.both_ways:
        return _taken_apart(scored, h, tasks.of_blocks(_answer_block))
    for name, other in _OF_COLUMNS.items():
        if name in given:
            taken[other] = given[name].rechunk(-1), (other,)
    rows: Any = (h.chunks[0],)  # Dask's types take a number or a word for chunks
    taken[_FIRST] = da.arange(h.shape[0], chunks=rows), ("rows",)
    answers = tasks.of_blocks(_seen_block)
    known = tasks.of_columns(answers, [n for n, role in roles.items() if not role.per_item])
    if scored.by:
        taken[_KNOWN] = known, ()
        answers = tasks.of_blocks(_answer_block)
    return _taken_apart(scored, h, answers, known)


class _Tasks:
    """What makes tasks of a loss of products, whose arrays are taken by their axes."""

    def __init__(self, scored: Scored, taken: Mapping[str, tuple[Any, tuple[str, ...]]]) -> None:
        job = scored.job
        divisor = None if isinstance(job.divisor, da.Array) else job.divisor
        bare = replace(job, xp=None, arrays={}, weight=None, divisor=divisor, look=None)
        pairs = dict.fromkeys(scored.pairs)
        self._scored = replace(scored, job=bare, h=None, w=None, bias=None, scale=None, pairs=pairs)
        self._taken, self._rows = taken, scored.h.shape[0]

    def of_blocks(self, function: Callable[..., Answer]) -> Any:
        """Return a function's answers, an object for each block of rows."""
        return self._made(function, ("rows",), self._taken, concatenate=True)

    def of_columns(self, answers: Any, more: Sequence[str]) -> Any:
        """Return what these show of the columns, one object."""
        names = (*_OF_COLUMNS.values(), DIVISOR, *more)
        taken = {name: self._taken[name] for name in names if name in self._taken}
        taken = {_KNOWN: (answers, ("rows",)), **taken}
        return self._made(_known, (), taken, rows=self._rows)

    def _made(
        self,
        function: Callable[..., Answer],
        axes: tuple[str, ...],
        taken: Mapping[str, tuple[Any, tuple[str, ...]]],
        **options: Any,
    ) -> Any:
        return da.blockwise(
            function,
            axes,
            *[each for pair in taken.values() for each in pair],
            names=tuple(taken),
            scored=self._scored,
            dtype=object,
            meta=np.empty((0,) * len(axes), object),
            token=f"tinyloss-{self._scored.job.kind.formula.name}",
            **options,
        )


def _block(scored: Scored, arrays: dict[str, Any]) -> Scored:
    """Return what is to be answered for the rows of one block."""
    first, known = arrays.pop(_FIRST, None), arrays.pop(_KNOWN, None)
    own = {name: arrays.pop(other, None) for name, other in _OF_COLUMNS.items()}
    weight = arrays.pop(WEIGHT, None)
    divisor = arrays.pop(DIVISOR, scored.job.divisor)
    factors = {name: arrays.pop(name, None) for name in FACTORS}
    pairs = {name: arrays.pop(name) for name in scored.pairs}
    xp, wide = namespace(factors["h"]), {}
    if scored.job.kind.reduce:
        wide = {"value_dtype": np.float64}
    job: Job = replaced(
        scored.job, xp=xp, arrays=arrays, weight=weight, divisor=divisor, wide=True, **wide
    )
    columns = None
    if first is not None:
        of_columns = replaced(job, arrays={**arrays, "y": own["y"]}, weight=own[WEIGHT])
        start = int(first[0]) if len(first) else 0
        shown = None if known is None else known.grads
        columns = Columns(of_columns, own["y"].shape[0], start, shown)
    return replace(scored, job=job, pairs=pairs, columns=columns, **factors)


def _seen_block(*blocks: Any, names: Sequence[str], scored: Scored) -> Answer:
    """Return what the rows of one block show of the columns."""
    seen = seen_of_columns(_block(scored, dict(zip(names, blocks, strict=True))))
    return _of_block(scored, seen)


def _answer_block(*blocks: Any, names: Sequence[str], scored: Scored) -> Answer:
    """Answer for the rows of one block; what all share is added up afterwards."""
    answer = _of_block(scored, by_chunks(_block(scored, dict(zip(names, blocks, strict=True)))))
    grads = [
        grad if name in ("h", "y") else grad[None]
        for name, grad in zip(scored.by, answer.grads, strict=True)
    ]
    return answer._replace(grads=tuple(grads))


def _of_block(scored: Scored, answer: Answer) -> Answer:
    value = answer.value
    if value is not None and scored.job.kind.reduce:
        value = np.reshape(value, (1,))
    return answer._replace(value=value)


def _known(*blocks: Any, names: Sequence[str], scored: Scored, rows: int) -> Answer:
    """Return what all blocks of rows show of the columns, and the columns' value."""
    given = dict(zip(names, blocks, strict=True))
    answers = given.pop(_KNOWN)
    # what has an axis comes as a list of its blocks
    arrays = {name: each[0] if isinstance(each, list) else each for name, each in given.items()}
    y, weight = (arrays.pop(name, None) for name in _OF_COLUMNS.values())
    divisor = arrays.pop(DIVISOR, scored.job.divisor)
    job = replaced(
        scored.job,
        xp=namespace(y),
        arrays={**arrays, "y": y},
        weight=weight,
        divisor=divisor,
    )
    return _of_block(scored, known_of_columns(Columns(job, rows), answers))


def _taken_apart(scored: Scored, h: Any, answers: Any, of_columns: Any = None) -> Answer:
    """Return the arrays whose blocks are in an array of answers; values of columns are added."""
    kind, rows = scored.job.kind, answers.chunks[0]

    def part(name: str, number: int | None, first: Any, rest: tuple[int, ...], dtype: Any) -> Any:
        return parts_of(answers, name, number, (first, *[(n,) for n in rest]), dtype)

    ones, value = (1,) * len(rows), None
    if kind.value and kind.reduce:
        value = part("value", None, ones, (), np.float64).sum()
        if of_columns is not None:
            value = value + parts_of(of_columns, "value", None, ((1,),), np.float64)[0]
        value = value.astype(kind.value_dtype or kind.dtype)
    elif kind.value:
        each = kind.rowwise and kind.formula.per_item
        rest = () if each else (scored.classes,)
        value = part("value", None, rows, rest, kind.value_dtype or kind.dtype)
        if of_columns is not None:
            of_all = parts_of(of_columns, "value", None, ((h.shape[0],),), value.dtype)
            value = value + of_all.rechunk((rows,))
    grads: list[Any] = []
    for number, name in enumerate(scored.by):
        dtype = scored.dtype_of(name)
        if name in ("h", "y"):
            last = h.shape[1] if name == "h" else scored.classes
            grads.append(part("grads", number, rows, (last,), dtype))
        else:
            shape = getattr(scored, name).shape
            whole = part("grads", number, ones, shape, kind.dtype).sum(axis=0)
            grads.append(whole.astype(dtype))
    return Answer(value, tuple(grads))
