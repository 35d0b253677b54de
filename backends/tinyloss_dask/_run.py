"""One job as a graph: a task for each block of items, which has all of their classes."""

from collections.abc import Callable, Mapping, Sequence
from math import isnan, prod
from typing import Any

import dask.array as da
import numpy as np
from dask import config
from dask.utils import parse_bytes

from tinyloss.backend import CLASS, Answer, Job, Kind, Role, answer_of, astype, namespace, replaced
from tinyloss.compiler.kernels import DIVISOR, WEIGHT, roles_of
from tinyloss_dask import _split
from tinyloss_dask._blocks import with_axes


def prepare(kind: Kind, /) -> Callable[[Job], Any]:
    """Return what answers the jobs of a kind."""

    def answer(job: Job) -> Any:
        x = job.arrays["x"]
        arrays = [*job.arrays.values(), *([] if job.weight is None else [job.weight])]
        if 0 in x.shape:
            return NotImplemented
        if any(isnan(n) for each in arrays for n in each.shape):
            return _in_blocks(_over_axes(job, _of_equal_rank))
        job = _over_axes(job, _spread)
        whole = kind.formula.paired or kind.formula.in_order
        if kind.rowwise and not whole and _is_too_large(x):
            return _split.run(job)
        return _in_blocks(job)

    return answer


def _over_axes(job: Job, place: Callable[[Job, str, Any, Sequence[int]], Any]) -> Job:
    """Return a job with each array placed along those axes of x that it varies by."""
    x = job.arrays["x"]

    def axes(role: Role) -> Sequence[int]:
        every = range(x.ndim)
        return every[:-1] if job.kind.rowwise and not role.per_class else every

    arrays = {
        name: place(job, name, job.arrays[name], axes(role)) if role.per_item else job.arrays[name]
        for name, role in roles_of(job.kind).items()
    }
    weight = None if job.weight is None else place(job, "weight", job.weight, axes(Role()))
    return replaced(job, arrays=arrays, weight=weight)


def _of_equal_rank(job: Job, name: str, array: Any, axes: Sequence[int]) -> Any:
    """Return an array with every axis, refused where nobody knows where to cut it."""
    x = job.arrays["x"]
    items = x.ndim - job.kind.rowwise
    array = array[(None,) * (len(axes) - array.ndim)]
    known = {
        axis: x.chunks[axis]
        for axis in axes
        if array.shape[axis] == x.shape[axis] and array.chunks[axis] != x.chunks[axis]
    }
    array = array.rechunk(known) if known else array
    blocks, expected = array.numblocks[:items], x.numblocks[:items]
    sides = zip(blocks, expected, array.shape[:items], strict=True)
    if any(mine != its and n != 1 for mine, its, n in sides):
        raise ValueError(
            f"tinyloss.{job.kind.formula.name}: {name} has {blocks} blocks and x {expected}, "
            "expected the same where lengths are not known: compute_chunk_sizes() finds them"
        )
    return array


def _spread(job: Job, name: str, array: Any, axes: Sequence[int]) -> Any:
    """Return an array with a number for each index along some of x's axes, in blocks as x's."""
    x = job.arrays["x"]
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
    x, kind = job.arrays["x"], job.kind
    axes = tuple(range(x.ndim))
    items = axes[:-1] if kind.rowwise else axes
    given = dict(job.arrays)
    if job.weight is not None:
        given[WEIGHT] = job.weight
    lazy = isinstance(job.divisor, da.Array)
    if lazy:
        given[DIVISOR] = job.divisor
    answers = da.blockwise(
        _answer_block,
        items,
        *with_axes(given, [n for n, role in roles_of(kind).items() if role == CLASS]),
        kind=kind,
        numbers=dict(job.numbers),
        divisor=None if lazy else job.divisor,
        names=tuple(given),
        concatenate=True,
        dtype=object,
        meta=np.empty((0,) * len(items), object),
        token=f"tinyloss-{kind.formula.name}",
    )
    return _taken_apart(job, answers)


def _answer_block(
    *blocks: Any, kind: Kind, numbers: Mapping[str, float], divisor: Any, names: Sequence[str]
) -> Answer:
    """Answer the job of one block."""
    arrays: dict[str, Any] = dict(zip(names, blocks, strict=True))
    weight, divisor = arrays.pop(WEIGHT, None), arrays.pop(DIVISOR, divisor)
    x = arrays["x"]
    xp = namespace(x)
    _check_shapes(kind, arrays, weight)
    job = Job(kind, xp, arrays, weight, divisor, numbers)
    if not (kind.value and kind.reduce):
        return answer_of(job)
    job = replaced(job, value_dtype=xp.float64)
    if divisor is not None and divisor == 0:
        # The blocks' sums are added up first: 0 / 0 of one would hide the infinity of another.
        answer = answer_of(replaced(job, divisor=None, divided=False))
        with np.errstate(all="ignore"):
            grads = [astype(xp, grad / divisor, grad.dtype) for grad in answer.grads]
        answer = answer._replace(grads=tuple(grads))
    else:
        answer = answer_of(job)
    dimensions = x.ndim - kind.rowwise
    return answer._replace(value=xp.reshape(xp.asarray(answer.value), (1,) * dimensions))


def _check_shapes(kind: Kind, arrays: Mapping[str, Any], weight: Any) -> None:
    """Refuse blocks that do not fit: where lengths are unknown, nobody has compared them before."""
    shape = arrays["x"].shape
    items = shape[:-1] if kind.rowwise else shape
    given = [(name, arrays[name], role) for name, role in roles_of(kind).items() if role.per_item]
    if weight is not None:
        given.append(("weight", weight, Role()))
    for name, array, role in given:
        expected = shape if role.per_class or not kind.rowwise else items
        fits = array.shape == expected if name == "y" else _broadcasts(array.shape, expected)
        if not fits:
            raise ValueError(
                f"tinyloss.{kind.formula.name}: a block of {name} has shape "
                f"{array.shape}, expected {expected} beside a block of x of shape {shape}"
            )


def _broadcasts(shape: Sequence[int], whole: Sequence[int]) -> bool:
    pairs = zip(reversed(shape), reversed(whole), strict=False)
    return len(shape) <= len(whole) and all(m in (1, n) for m, n in pairs)


def _taken_apart(job: Job, answers: Any) -> Answer:
    """Return the arrays whose blocks are in an array of answers."""
    x, kind = job.arrays["x"], job.kind
    rowwise = kind.rowwise
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
        of_classes = kind.role(argument).per_class
        chunks = of_all if of_classes else of_items
        whole = part(name, number, chunks, kind.derivative_dtype(argument))
        split = rowwise and of_classes and x.numblocks[-1] > 1
        return whole.rechunk({x.ndim - 1: x.chunks[-1]}) if split else whole

    value = curvature = None
    dtype = kind.value_dtype or kind.dtype
    if kind.value and kind.reduce:
        ones = tuple([(1,) * len(lengths) for lengths in of_items])
        value = part("value", None, ones, np.float64).sum()
        if isinstance(job.divisor, da.Array):
            value = da.map_blocks(_by_zero, value, job.divisor, dtype=np.float64)
        value = value.astype(dtype)
    elif kind.value:
        value = part("value", None, of_items if kind.formula.per_item else of_all, dtype)
    grads = tuple([derivative(name, "grads", n) for n, name in enumerate(kind.grads)])
    if kind.curvature:
        curvature = derivative("x", "curvature")
    return Answer(value, grads, curvature)


def _by_zero(value: Any, divisor: Any) -> Any:
    """Return what is left to be divided, divided by a divisor of 0."""
    with np.errstate(all="ignore"):
        return value / divisor if divisor == 0 else value


def _part(answer: Answer, name: str, number: int | None) -> Any:
    part = getattr(answer, name)
    return part if number is None else part[number]
