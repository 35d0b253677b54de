"""tinyloss on NumPy arrays.

A job's program is compiled into one loop over the arrays where they lie and run over threads;
where that cannot be, the formulas run in NumPy over blocks of items that fit into the cache.

    prepare         what decides between the two, for one kind of job
    _programs       from its program to kernels: staged, planned, written, compiled
    _source         the text of the loop        _loops, _elementary, _llvm, _memory   its words
    _compiler       from text to machine code
    _plans          arrays of any strides as plain loops
    _threads        those that help, and one that no signal reaches
    _blocks         the formulas, block by block
    _extent         the size and the sum of weights, before a mean of large arrays
    _products       products of matrices, by BLAS
    _sequences      losses of sequences: their own loops, over the threads
"""

from tinyloss_numpy._extent import extent
from tinyloss_numpy._products import indices, multiply
from tinyloss_numpy._run import (
    LOOKS,
    RAW,
    SOURCE,
    compilation,
    example,
    layout,
    prepare,
    quiet,
    source,
)
from tinyloss_numpy._sequences import sequences
from tinyloss_numpy._threads import threads

__all__ = [
    "LOOKS",
    "RAW",
    "SOURCE",
    "compilation",
    "example",
    "extent",
    "indices",
    "layout",
    "multiply",
    "prepare",
    "quiet",
    "sequences",
    "source",
    "threads",
]
