"""tinyloss on JAX arrays.

A job is one jitted function, traced once for each kind of job: its formulas go through XLA, and
JAX's transformations meet closed-form derivatives in it.

    prepare         the function of a kind of job
    _rules          a loss's parts with the rule that differentiates them
    _lines          the same of formulas that no program is made of
    _native         jobs of large arrays on a CPU: NumPy's loops
    _foreign        functions of NumPy's arrays that XLA calls
    _namespace      functions whose derivatives stay finite
    _rows           reductions over classes: in one array, over devices, over a mapped axis
    _products       losses of scores that are products, block by block
    _sequences      losses of sequences, whose frames are a loop
    _parts          rows of such scores, a part of the classes at a time

JAX is imported when the first of its arrays is met, not before.
"""

from typing import Any

BOTH_WAYS = True
"""Losses of rows and columns are answered from the same scores."""


def __getattr__(name: str) -> Any:
    if name in ("absent", "product_memory", "products"):
        from tinyloss_jax import _products

        return getattr(_products, name)
    if name in ("along", "sequences"):
        from tinyloss_jax import _sequences

        return getattr(_sequences, name)
    if name not in ("fused", "layout", "prepare", "seen", "split_rows"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tinyloss_jax import _run

    return getattr(_run, name)
