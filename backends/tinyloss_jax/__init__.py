"""tinyloss on JAX arrays.

A job is one jitted function, traced once for each kind of job: its formulas go through XLA, and
JAX's transformations meet closed-form derivatives in it.

    prepare         the function of a kind of job
    _rules          a loss's parts with the rule that differentiates them
    _namespace      functions whose derivatives stay finite
    _rows           reductions over classes: in one array, over devices, over a mapped axis

JAX is imported when the first of its arrays is met, not before.
"""

from collections.abc import Callable
from typing import Any

__all__ = ["fused", "layout", "prepare", "seen", "split_rows"]


def prepare(kind: Any, /) -> Callable[[Any], Any]:
    """Return what answers the jobs of a kind."""
    from tinyloss_jax import _run

    return _run.prepare(kind)


def fused(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of arrays, after a first argument that is none, as one operation."""
    from tinyloss_jax import _run

    return _run.fused(function)


def layout(array: Any) -> Any:
    """Return what an array is besides its numbers, None for one that is traced."""
    from tinyloss_jax import _run

    return _run.layout(array)


def seen(array: Any) -> Any:
    """Return an array as NumPy's, itself where JAX traces what is done with it."""
    from tinyloss_jax import _run

    return _run.seen(array)


def split_rows(x: Any, axis_name: Any) -> Any:
    """Return the rows that x has one member's part of, for each member of a mapped axis."""
    from tinyloss_jax import _rows

    return _rows.SplitRows(x, axis_name)
