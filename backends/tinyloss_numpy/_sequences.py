"""Losses of sequences: the plain loops of a loss, compiled, over the threads."""

import struct
from typing import Any

import numpy as np

from tinyloss.backend import Answer, Loops, Sequenced, evaluated
from tinyloss_numpy import _arrays
from tinyloss_numpy._programs import made, warn_once
from tinyloss_numpy._run import may_compile, quiet, scratch
from tinyloss_numpy._source import CACHE_LINE, Text
from tinyloss_numpy._threads import run_slabs

_WORTH_COMPILING = 2**16
"""Logits after which compiling, a second once, starts to pay: formulas go frame by frame."""
_REAL = "float64"
_GIVEN = (
    "time", "classes", "blank", "wants_grad",
    "x_start", "x_item", "x_step", "frame_start", "frame_item", "frame_step",
    "label_start", "label_item", "count_start", "pull_start", "loss_start", "loss_item",
    "grad_start", "grad_item", "grad_step",
)  # fmt: skip
"""The head of the table of arguments; where each scratch place starts comes behind."""

_kernels: dict[tuple[Any, str], Any] = {}
_met: dict[Any, int] = {}


def sequences(batch: Sequenced) -> Answer:
    """Answer for a batch of sequences."""
    loops = batch.formula.loops()
    mode = may_compile()
    if loops is None or mode == "never" or not len(batch.x):
        return _by_formulas(batch)
    dtype = np.dtype(batch.dtype)
    key = batch.formula, dtype.name
    if mode == "auto" and key not in _kernels:
        _met[key] = _met.get(key, 0) + batch.x.size
        if _met[key] < _WORTH_COMPILING:
            return _by_formulas(batch)
    if key not in _kernels:
        made(_kernels, key, lambda: _compiled(loops, dtype.name), batch.formula.__name__)
    kernel = _kernels[key]
    if isinstance(kernel, str):
        warn_once(kernel)
        return _by_formulas(batch)
    return _run(kernel, loops, batch, dtype)


def _by_formulas(batch: Sequenced) -> Answer:
    with quiet():
        return evaluated(batch)


def _compiled(loops: Loops, dtype: str) -> Any:
    from tinyloss_numpy._compiler import load

    return load(text_of(loops, dtype), _REAL, "sequences")


def text_of(loops: Loops, dtype: str) -> Text:
    """Return the text of the loop over sequences whose logits have this dtype."""
    scratch = loops.places(1, 1, 1)
    head = [f"{name} = entry(table, {at})" for at, name in enumerate(_GIVEN)]
    head += [f"{name} = {number!r}" for name, number in loops.numbers.items()]
    head += [
        f"{name}_at = work + entry(table, {len(_GIVEN) + at})" for at, name in enumerate(scratch)
    ]
    item = [
        "x_at = x_start + n * x_item",
        "frame_at = frame_start + n * frame_item",
        "label_at = label_start + n * label_item",
        "length = load_count(count_start, n)",
        "pull = load_pull(pull_start, n)",
        "loss_at = loss_start + n * loss_item",
        "grad_at = grad_start + n * grad_item",
        *loops.text.strip().splitlines(),
    ]
    lines = ["def kernel(first, last, table, work):"]
    lines += [f"    {line}" for line in head]
    lines += ["    for n in range(first, last):"]
    lines += [f"        {line}" for line in item]
    lines += ["    return 0", ""]
    given = {"label": ("int64", "int64"), "count": ("int64", "int64"), "frame": ("bool", "bool")}
    given |= {"pull": (_REAL, _REAL)} | dict.fromkeys(("x", "loss", "grad"), (dtype, _REAL))
    own = {name: (memory, memory) for name, (memory, _) in scratch.items()}
    return Text("\n".join(lines), tuple((given | own).items()), 0, 0)


def _run(kernel: Any, loops: Loops, batch: Sequenced, dtype: Any) -> Answer:
    count, time, classes = batch.x.shape
    with quiet():
        x = batch.x.astype(dtype, copy=False)
        if x.strides[-1] != x.itemsize and classes > 1:
            x = np.ascontiguousarray(x)
        pull = np.ones(count) if batch.pull is None else batch.pull.astype(np.float64)
    labels = np.ascontiguousarray(batch.labels, np.int64)
    lengths = np.ascontiguousarray(batch.lengths, np.int64)
    frames, losses = batch.frames, np.empty(count, dtype)
    grad = np.empty_like(x) if batch.grad else np.empty((0, 0, 0), dtype)
    places = loops.places(time, classes, labels.shape[1])
    starts: list[int] = []
    size = 0
    for memory, numbers in places.values():
        starts.append(size)
        size += -(-numbers * np.dtype(memory).itemsize // CACHE_LINE) * CACHE_LINE
    entries = (
        *(time, classes, batch.blank, int(batch.grad)),
        *(_arrays.address(x), x.strides[0], x.strides[1]),
        *(_arrays.address(frames), *frames.strides),
        *(_arrays.address(labels), labels.strides[0], _arrays.address(lengths)),
        *(_arrays.address(pull), _arrays.address(losses), losses.itemsize),
        *(_arrays.address(grad), grad.strides[0], grad.strides[1]),
        *starts,
    )
    table = struct.pack(f"{len(entries)}q", *entries)

    held = (x, labels, lengths, frames, pull, losses, grad)

    def work(first: int, last: int, _held: Any = held) -> None:
        # other threads hold by this what the table has the addresses of
        kernel(first, last, table, scratch(size))

    run_slabs(work, count)
    losses_ = losses if batch.value else None
    if not batch.grad:
        return Answer(losses_)
    with quiet():
        return Answer(losses_, (grad.astype(batch.grad_dtype or dtype, copy=False),))
