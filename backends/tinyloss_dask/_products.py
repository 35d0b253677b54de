"""Losses of scores that are products: a task for each block of rows, which computes its scores."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import dask.array as da
import numpy as np

from tinyloss.backend import (
    FACTORS,
    OF_ROWS,
    Answer,
    Job,
    Scored,
    by_chunks,
    looked,
    namespace,
    replaced,
)
from tinyloss.compiler.kernels import DIVISOR, WEIGHT


def products(scored: Scored) -> Answer:
    """Answer for scores that are products of Dask arrays."""
    job, h = looked(scored.job), scored.h.rechunk({1: -1})
    roles = {name: role for name, _, role in job.kind.arguments if name != "x"}
    given = {name: getattr(scored, name) for name in FACTORS}
    given |= {**job.arrays, **scored.pairs, WEIGHT: job.weight}
    if scored.marks:
        del given["y"]  # made of the pairs
    lazy = isinstance(job.divisor, da.Array)
    if lazy:
        given[DIVISOR] = job.divisor
    given = {name: each for name, each in given.items() if each is not None}
    pairs: list[Any] = []
    for name, each in given.items():
        axes = tuple([f"{name}{axis}" for axis in range(each.ndim)])
        of_rows = name in ("h", WEIGHT, *OF_ROWS) or (name in roles and roles[name].per_item)
        if of_rows and (each.shape[0] != 1 or h.shape[0] == 1):
            axes, chunks = ("rows", *axes[1:]), {0: h.chunks[0]}
        else:
            chunks = {0: -1} if each.ndim else {}
        chunks |= dict.fromkeys(range(1, each.ndim), -1)
        known = all(n == n for n in each.shape)  # Dask cannot cut what it does not know
        pairs += [each.rechunk(chunks) if known else each, axes]
    bare = replace(job, xp=None, arrays={}, weight=None, divisor=None if lazy else job.divisor)
    bare = replace(bare, look=None)
    answers = da.blockwise(
        _answer_block,
        ("rows",),
        *pairs,
        names=tuple(given),
        scored=replace(
            scored,
            job=bare,
            h=None,
            w=None,
            bias=None,
            scale=None,
            pairs=dict.fromkeys(scored.pairs),
        ),
        concatenate=True,
        dtype=object,
        meta=np.empty((0,), object),
        token=f"tinyloss-{job.kind.formula.name}",
    )
    return _taken_apart(scored, h, answers)


def _answer_block(*blocks: Any, names: Sequence[str], scored: Scored) -> Answer:
    """Answer for the rows of one block; what all share is added up afterwards."""
    arrays: dict[str, Any] = dict(zip(names, blocks, strict=True))
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
    answer = by_chunks(replace(scored, job=job, pairs=pairs, **factors))
    value = answer.value
    if value is not None and job.kind.reduce:
        value = np.reshape(value, (1,))
    grads = [
        grad if name in ("h", "y") else grad[None]
        for name, grad in zip(scored.by, answer.grads, strict=True)
    ]
    return Answer(value, tuple(grads))


def _taken_apart(scored: Scored, h: Any, answers: Any) -> Answer:
    """Return the arrays whose blocks are in an array of answers."""
    kind, rows = scored.job.kind, answers.chunks[0]

    def part(name: str, number: int | None, first: Any, rest: tuple[int, ...], dtype: Any) -> Any:
        return da.map_blocks(
            _part,
            answers,
            name,
            number,
            dtype,
            chunks=(first, *[(n,) for n in rest]),
            dtype=dtype,
            new_axis=list(range(1, 1 + len(rest))) or None,
            meta=np.empty((0,) * (1 + len(rest)), dtype),
        )

    ones, value = (1,) * len(rows), None
    if kind.value and kind.reduce:
        value = part("value", None, ones, (), np.float64).sum()
        value = value.astype(kind.value_dtype or kind.dtype)
    elif kind.value:
        each = kind.rowwise and kind.formula.per_item
        rest = () if each else (scored.classes,)
        value = part("value", None, rows, rest, kind.value_dtype or kind.dtype)
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


def _part(answer: Any, name: str, number: int | None, dtype: Any) -> Any:
    part = getattr(answer, name)
    return np.asarray(part if number is None else part[number]).astype(dtype)
