"""tinyloss on NumPy arrays.

A job's program is compiled into one loop over the arrays where they lie and run over threads;
where that cannot be, the formulas run in NumPy over blocks of items that fit into the cache.

    run             decides between the two
    _programs       from a job to its kernel: recorded, staged, written, compiled
    _source         the text of the loop        _loops, _elementary, _llvm, _memory   its words
    _compiler       from text to machine code, kept on disk
    _plans          arrays of any strides as plain loops
    _threads        the pool
    _blocks         the formulas, block by block
"""

from tinyloss_numpy._run import SOURCE, compilation, example, quiet, run, source
from tinyloss_numpy._threads import threads

__all__ = ["SOURCE", "compilation", "example", "quiet", "run", "source", "threads"]
