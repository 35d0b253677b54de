"""Losses of sequences: a task for each block of them, which has all of their frames."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import dask.array as da
import numpy as np

from tinyloss.backend import Answer, Sequenced, answer_of_sequences, namespace
from tinyloss_dask._blocks import parts_of

_ARRAYS = ("x", "labels", "frames", "lengths", "pull")


def sequences(batch: Sequenced) -> Answer:
    """Answer for a batch of sequences."""
    x = batch.x.rechunk({1: -1, 2: -1})
    rows, (time, classes) = x.chunks[0], x.shape[1:]
    given = {"x": x} | {name: getattr(batch, name) for name in _ARRAYS[1:]}
    given = {name: each for name, each in given.items() if each is not None}
    taken: list[Any] = []
    for name, each in given.items():
        each = each.rechunk(dict.fromkeys(range(1, each.ndim), -1))
        taken += [each.rechunk({0: rows}), ("rows", *[f"{name}{n}" for n in range(1, each.ndim)])]
    answers = da.blockwise(
        _answer_block,
        ("rows",),
        *taken,
        names=tuple(given),
        bare=replace(batch.bare, xp=None),
        concatenate=True,
        dtype=object,
        meta=np.empty((0,), object),
        token=f"tinyloss-{batch.formula.__name__}",
    )
    value = parts_of(answers, "value", None, (rows,), batch.dtype) if batch.value else None
    if not batch.grad:
        return Answer(value)
    whole = (rows, (time,), (classes,))
    return Answer(value, (parts_of(answers, "grads", 0, whole, batch.grad_dtype or batch.dtype),))


def _answer_block(*blocks: Any, names: Sequence[str], bare: Sequenced) -> Answer:
    """Answer for one block of sequences."""
    arrays = dict(zip(names, blocks, strict=True))
    with np.errstate(all="ignore"):
        return answer_of_sequences(replace(bare, xp=namespace(arrays["x"]), **arrays))
