"""One job as a graph: a task for each block of items, which has all of their classes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isnan, prod
from typing import Any

import dask.array as da
import numpy as np
from dask import config
from dask.utils import parse_bytes

from tinyloss._arrays import astype, namespace
from tinyloss._engine.run import Answer, Job, answer_of
from tinyloss.compiler.kernels import DIVISOR, WEIGHT
from tinyloss_dask import _split
from tinyloss_dask._blocks import with_axes

__all__ = ["run"]


def run(job: Job, /) -> Any:
    """Answer a job."""
    x = job.arrays["x"]
    arrays = [*job.arrays.values(), *([] if job.weight is None else [job.weight])]
    if 0 in x.shape:
        return NotImplemented
    if any(isnan(n) for each in arrays for n in each.shape):
        return _in_blocks(_of_equal_rank(job))
    job = _aligned(job)
    if job.formula.rowwise and _is_too_large(x):
        return _split.run(job)
    return _in_blocks(job)


def _of_equal_rank(job: Job) -> Job:
    """Return a job with every axis of its arrays, refused where nobody knows where to cut them."""
    x = job.arrays["x"]
    items = x.ndim - job.formula.rowwise

    def ranked(name: str, array: Any, ndim: int) -> Any:
        array = array[(None,) * (ndim - array.ndim)]
        known = {
            axis: x.chunks[axis]
            for axis in range(ndim)
            if array.shape[axis] == x.shape[axis] and array.chunks[axis] != x.chunks[axis]
        }
        array = array.rechunk(known) if known else array
        blocks, expected = array.numblocks[:items], x.numblocks[:items]
        sides = zip(blocks, expected, array.shape[:items], strict=True)
        if any(mine != its and n != 1 for mine, its, n in sides):
            raise ValueError(
                f"tinyloss.{job.formula.name}: {name} has {blocks} blocks and x {expected}, "
                "expected the same where lengths are not known: compute_chunk_sizes() finds them"
            )
        return array

    arrays = {
        name: array
        if name == "class_weight"
        else ranked(name, array, items if job.labels and name == "y" else x.ndim)
        for name, array in job.arrays.items()
    }
    weight = None if job.weight is None else ranked("weight", job.weight, items)
    return replace(job, arrays=arrays, weight=weight)


def _aligned(job: Job) -> Job:
    """Return a job with its arrays over all items and classes that they have numbers for."""
    x = job.arrays["x"]
    axes = range(x.ndim)
    items = axes[:-1] if job.formula.rowwise else axes
    arrays = {
        name: array
        if name == "class_weight"
        else _spread(array, x, items if job.labels and name == "y" else axes)
        for name, array in job.arrays.items()
    }
    weight = None if job.weight is None else _spread(job.weight, x, items)
    return replace(job, arrays=arrays, weight=weight)


def _spread(array: Any, x: Any, axes: Sequence[int]) -> Any:
    """Return an array with a number for each index along some of x's axes, in blocks as x's."""
    chunks = tuple([x.chunks[axis] for axis in axes])
    return da.broadcast_to(array, tuple([x.shape[axis] for axis in axes])).rechunk(chunks)


def _is_too_large(x: Any) -> bool:
    """Return whether rows lie in several blocks and would make too large ones as wholes."""
    if x.numblocks[-1] == 1:
        return False
    rows = prod(max(lengths) for lengths in x.chunks[:-1])
    limit: int = parse_bytes(config.get("array.chunk-size"))
    return bool(rows * x.shape[-1] * x.dtype.itemsize > limit)


def _in_blocks(job: Job) -> Answer:
    """Return the answer as arrays that are computed block by block."""
    x = job.arrays["x"]
    axes = tuple(range(x.ndim))
    items = axes[:-1] if job.formula.rowwise else axes
    given = dict(job.arrays)
    if job.weight is not None:
        given[WEIGHT] = job.weight
    if isinstance(job.divisor, da.Array):
        given[DIVISOR] = job.divisor
    answers = da.blockwise(
        _answer_block,
        items,
        *with_axes(given, x.ndim),
        kind=_without_arrays(job),
        names=tuple(given),
        concatenate=True,
        dtype=object,
        meta=np.empty((0,) * len(items), object),
        token=f"tinyloss-{job.formula.name}",
    )
    return _taken_apart(job, answers)


def _without_arrays(job: Job) -> Job:
    """Return what of a job travels to the workers."""
    divisor = None if isinstance(job.divisor, da.Array) else job.divisor
    return replace(job.without_arrays(), xp=None, params={**job.params}, divisor=divisor)


def _answer_block(*blocks: Any, kind: Job, names: Sequence[str]) -> Answer:
    """Answer the job of one block."""
    arrays: dict[str, Any] = dict(zip(names, blocks, strict=True))
    weight, divisor = arrays.pop(WEIGHT, None), arrays.pop(DIVISOR, kind.divisor)
    x = arrays["x"]
    _check_shapes(kind, arrays, weight)
    job = replace(kind, xp=namespace(x), arrays=arrays, weight=weight, divisor=divisor)
    if not (job.value and job.reduce):
        return answer_of(job)
    job.value_dtype = job.xp.float64
    if divisor is not None and divisor == 0:
        # The blocks' sums are added up first: 0 / 0 of one would hide the infinity of another.
        answer = answer_of(replace(job, divisor=None))
        with np.errstate(all="ignore"):
            grads = [astype(job.xp, grad / divisor, grad.dtype) for grad in answer.grads]
        answer = answer._replace(grads=tuple(grads))
    else:
        answer = answer_of(job)
    dimensions = x.ndim - job.formula.rowwise
    return answer._replace(value=job.xp.reshape(job.xp.asarray(answer.value), (1,) * dimensions))


def _check_shapes(kind: Job, arrays: Mapping[str, Any], weight: Any) -> None:
    """Refuse blocks that do not fit: where lengths are unknown, nobody has compared them before."""
    shape = arrays["x"].shape
    items = shape[:-1] if kind.formula.rowwise else shape
    of_items = {WEIGHT: weight, "y": arrays["y"]} if kind.labels else {WEIGHT: weight}
    for name, array in {**arrays, **of_items}.items():
        if array is None or name == "class_weight":
            continue
        expected = items if name in of_items else shape
        fits = array.shape == expected if name == "y" else _broadcasts(array.shape, expected)
        if not fits:
            raise ValueError(
                f"tinyloss.{kind.formula.name}: a block of {name.rstrip('=')} has shape "
                f"{array.shape}, expected {expected} beside a block of x of shape {shape}"
            )


def _broadcasts(shape: Sequence[int], whole: Sequence[int]) -> bool:
    pairs = zip(reversed(shape), reversed(whole), strict=False)
    return len(shape) <= len(whole) and all(m in (1, n) for m, n in pairs)


def _taken_apart(job: Job, answers: Any) -> Answer:
    """Return the arrays whose blocks are in an array of answers."""
    x, rowwise = job.arrays["x"], job.formula.rowwise
    of_items = answers.chunks
    of_all = (*of_items, (x.shape[-1],)) if rowwise else of_items

    def part(name: str, number: int | None, chunks: Any, dtype: Any) -> Any:
        return da.map_blocks(
            _part,
            answers,
            name,
            number,
            chunks=chunks,
            dtype=dtype,
            new_axis=[answers.ndim] if len(chunks) > answers.ndim else None,
            meta=np.empty((0,) * len(chunks), dtype),
        )

    def derivative(argument: str, name: str, number: int | None = None) -> Any:
        whole = part(name, number, of_all, job.derivative_dtype(argument))
        split = rowwise and x.numblocks[-1] > 1
        return whole.rechunk({x.ndim - 1: x.chunks[-1]}) if split else whole

    value = curvature = None
    dtype = job.value_dtype or job.dtype
    if job.value and job.reduce:
        ones = tuple([(1,) * len(lengths) for lengths in of_items])
        value = part("value", None, ones, np.float64).sum()
        if isinstance(job.divisor, da.Array):
            value = da.map_blocks(_by_zero, value, job.divisor, dtype=np.float64)
        value = value.astype(dtype)
    elif job.value:
        value = part("value", None, of_items if job.formula.per_item else of_all, dtype)
    grads = tuple([derivative(name, "grads", n) for n, name in enumerate(job.grads)])
    if job.curvature:
        curvature = derivative("x", "curvature")
    return Answer(value, grads, curvature)


def _by_zero(value: Any, divisor: Any) -> Any:
    """Return what is left to be divided, divided by a divisor of 0."""
    with np.errstate(all="ignore"):
        return value / divisor if divisor == 0 else value


def _part(answer: Answer, name: str, number: int | None) -> Any:
    part = getattr(answer, name)
    return part if number is None else part[number]
