"""tinyloss on CuPy arrays.

A job's program is pasted into CUDA templates: one kernel reads the arrays once, where they lie,
and writes the results once. Nothing waits for the device, and nothing is copied from it.

    run             a job from arrays to answer
    _programs       from a job to its kernels: recorded, planned, written
    _plans          sizes, launch and steps of a kernel, from how the arrays lie
    _source         the text of a kernel        *.cu, words.cuh     the templates
    _arrays         CuPy's arrays in memory
"""

from tinyloss_cupy._run import SOURCE, example, run, source

__all__ = ["SOURCE", "example", "run", "source"]
