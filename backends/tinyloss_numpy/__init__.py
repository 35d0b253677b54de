"""tinyloss on NumPy arrays.

Runs the formulas under NumPy's conditions: quiet where infinities are legitimate, and with each
row contiguous, because NumPy adds pairwise along contiguous memory only (along other axes one
after the other, which loses 400 eps over 1e7 terms).
"""

import numpy as np

from tinyloss._engine import Answer, Job

__all__ = ["run"]


def run(job: Job, /) -> Answer:
    """Answer a job."""
    if job.formula.rowwise:
        for name, array in job.arrays.items():
            if not array.flags.c_contiguous:
                job.arrays[name] = np.ascontiguousarray(array)
    with np.errstate(all="ignore"):
        return job.evaluate()
