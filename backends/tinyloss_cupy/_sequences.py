"""Losses of sequences: a block of threads for each, in one kernel."""

from typing import Any

import numpy as np

from tinyloss.backend import Answer, Cache, Sequenced
from tinyloss_cuda.source import CTYPES, SEQUENCE_THREADS, write_sequences
from tinyloss_cupy._modules import Kernel

_MEMORY = 2**31
"""Bytes of all sequences that are at work at once; one has what it needs."""
_MOST_CLASSES = 2**30

_kernels: Cache[Kernel] = Cache()


def sequences(batch: Sequenced) -> Answer:
    """Answer for a batch of sequences."""
    import cupy

    block, x = batch.formula.block(), batch.x
    if block is None or 0 in x.shape or cupy.cuda.runtime.is_hip:
        return NotImplemented
    with x.device:
        return _launched(block, batch)


def _launched(block: Any, batch: Sequenced) -> Answer:
    import cupy

    x, labels = batch.x, batch.labels
    count, time, classes = x.shape
    pull = batch.pull
    if pull is None:
        pull = cupy.broadcast_to(cupy.ones((), batch.dtype), (count,))
    losses = cupy.empty(count, batch.dtype)
    grad = cupy.empty_like(x, batch.grad_dtype or batch.dtype) if batch.grad else losses
    arrays = x, batch.frames, labels, batch.lengths, pull, losses, grad
    names = [np.dtype(each.dtype).name for each in arrays]
    if (
        not set(names) <= CTYPES.keys()
        or classes > _MOST_CLASSES
        or any(each.data.device_id != x.device.id for each in arrays)
        or any(step % each.itemsize for each in arrays for step in (each.data.ptr, *each.strides))
    ):
        return NotImplemented
    memory = block.memory(time, classes, labels.shape[1])
    blocks = min(count, max(1, _MEMORY // (8 * memory)))
    scratch = cupy.empty(blocks * memory, np.float64)
    given = (
        *(count, time, classes, batch.blank, int(batch.grad), memory),
        *(*x.strides, *batch.frames.strides, *labels.strides),
        *(*batch.lengths.strides, *pull.strides),
        *(grad.strides if batch.grad else (0, 0, 0)),
    )
    # an array of one element goes to a kernel by value
    table = np.frombuffer(np.asarray(given, np.int64).tobytes(), f"V{8 * len(given)}")
    dtypes = names[0], names[2], names[4], names[5], names[6]
    key = batch.formula, dtypes
    numbers = tuple(block.numbers.items())
    kernel = _kernels.made(key, lambda: Kernel(write_sequences(block.text, numbers, *dtypes)))
    kernel((blocks,), (SEQUENCE_THREADS,), (*arrays, scratch, table))
    return Answer(losses if batch.value else None, (grad,) if batch.grad else ())
