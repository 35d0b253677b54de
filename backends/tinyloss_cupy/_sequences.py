"""Losses of sequences: a block of threads for each, in one kernel."""

from typing import Any

import numpy as np

from tinyloss.backend import Answer, Block, Cache, Sequenced
from tinyloss_cuda.source import CTYPES, SEQUENCE_THREADS, write_sequences
from tinyloss_cupy import _arrays
from tinyloss_cupy._modules import Launch, kernel_of
from tinyloss_cupy._run import Library, is_nvidias, on

_MEMORY = 2**31
"""Bytes of all sequences that are at work at once; one has what it needs."""
_MOST_BLOCKS = 1024
"""Blocks that fill any GPU several times over."""
_MOST_CLASSES = 2**30


def sequences(batch: Sequenced) -> Any:
    """Answer for a batch of sequences; NotImplemented where there is no kernel for it."""
    return answered(batch, _arrays)


def answered(batch: Sequenced, library: Library) -> Any:
    """Answer for a batch of sequences of a library's arrays."""
    block = batch.formula.block()
    if block is None or 0 in batch.x.shape or not is_nvidias():
        return NotImplemented
    with on(library.device(batch.x)):
        return _launched(block, batch, library)


def _launched(block: Block, batch: Sequenced, library: Library) -> Any:
    x = batch.x
    count, time, classes = x.shape
    losses = library.empty((count,), np.dtype(batch.dtype))
    grad_dtype = np.dtype(batch.grad_dtype or batch.dtype)
    grad = library.empty_like(x, grad_dtype) if batch.grad else losses
    pull = losses if batch.pull is None else batch.pull
    arrays = x, batch.frames, batch.labels, batch.lengths, pull, losses, grad
    places, layouts = [*map(library.address, arrays)], [*map(library.layout, arrays)]
    names = [dtype.name for _, _, dtype in layouts]
    if (
        not set(names) <= CTYPES.keys()
        or classes > _MOST_CLASSES
        or len({*map(library.device, arrays)}) > 1
        or any(
            step % dtype.itemsize
            for place, (_, strides, dtype) in zip(places, layouts, strict=True)
            for step in (place, *strides)
        )
    ):
        return NotImplemented
    memory = block.memory(time, classes, batch.labels.shape[1])
    blocks = min(count, _MOST_BLOCKS, max(1, _MEMORY // (8 * memory)))
    scratch = library.empty((blocks * memory,), np.dtype(np.float64))
    steps = [strides for _, strides, _ in layouts]
    given = (
        *(count, time, classes, batch.blank, int(batch.grad), memory, batch.pull is not None),
        *(step for strides in steps[:5] for step in strides),
        *(steps[6] if batch.grad else (0, 0, 0)),
    )
    dtypes = names[0], names[2], names[4], names[5], names[6]
    key = batch.formula, dtypes, blocks, given
    launch = _launches.made(key, lambda: _launch(block, dtypes, blocks, given))
    launch((*places, library.address(scratch)), library.stream())
    return Answer(losses if batch.value else None, (grad,) if batch.grad else ())


def _launch(block: Block, dtypes: tuple[str, ...], blocks: int, given: tuple[int, ...]) -> Launch:
    numbers = tuple(block.numbers.items())
    kernel = kernel_of(write_sequences(block.text, numbers, *dtypes))
    # an array of one element goes to a kernel by value
    table = np.frombuffer(np.asarray(given, np.int64).tobytes(), f"V{8 * len(given)}")
    return Launch(kernel, (blocks,), (SEQUENCE_THREADS,), "Q" * 8, [table])


_launches: Cache[Launch] = Cache()
