"""tinyloss on CuPy arrays.

A job's program is pasted into CUDA templates: one kernel reads the arrays once, where they lie,
and writes the results once. Nothing waits for the device, and nothing is copied from it.

    prepare         what answers the jobs of a kind
    _arrays         CuPy's arrays in memory
    _products       products of matrices
    _sequences      losses of sequences: a block of threads for each
    _modules        from the text of a kernel to its function on a device
    tinyloss_cuda   the kernels: their text, plans and launches
"""

from tinyloss_cupy._products import halved, halves, multiply, product_memory
from tinyloss_cupy._run import SOURCE, example, layout, prepare, source
from tinyloss_cupy._sequences import sequences

__all__ = [
    "SOURCE",
    "example",
    "halved",
    "halves",
    "layout",
    "multiply",
    "prepare",
    "product_memory",
    "sequences",
    "source",
]
