"""Arrays of any shapes and strides as one or two plain loops over items.

For backends that compile: their loops read the arrays by strides, without copies.
"""

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

from tinyloss.backend import Role

__all__ = ["Geometry", "Layouts", "collapse", "over_items"]

Layouts = tuple[tuple[tuple[int, ...], tuple[int, ...], Any], ...]
"""Shape, strides in bytes and dtype of each array of a call."""


class Geometry(NamedTuple):
    """Items as outer loops over a shape and an inner loop over a length."""

    outer: tuple[int, ...]
    inner: int
    outer_steps: list[tuple[int, ...]]
    """Each array's strides over the outer shape, in bytes."""
    inner_steps: list[int]
    """Each array's stride from item to item of the inner loop, in bytes."""

    @property
    def runs(self) -> int:
        """The number of inner loops."""
        return prod(self.outer)


def over_items(rowwise: bool, roles: Sequence[Role], layouts: Layouts) -> Geometry:
    """Return the items of the arrays of a call as plain loops; the first array is x."""
    shape = layouts[0][0]
    items = shape[:-1] if rowwise else shape
    return collapse(
        items, [_strides(*each, role, items) for each, role in zip(layouts, roles, strict=True)]
    )


def _strides(
    shape: tuple[int, ...], strides: tuple[int, ...], dtype: Any, role: Role, items: Sequence[int]
) -> Sequence[int]:
    """Return an array's strides over the items, 0 where it is broadcast."""
    if not role.per_item:
        return (0,) * len(items)
    if role.per_class:
        shape, strides = shape[:-1], strides[:-1]
    own = [0 if n == 1 else step for n, step in zip(shape, strides, strict=True)]
    return [0] * (len(items) - len(shape)) + own


def collapse(shape: Sequence[int], strides: Sequence[Sequence[int]]) -> Geometry:
    """Merge dimensions that are one evenly strided dimension in every array.

    The first array sets the order of the dimensions, largest stride first.

    `strides` holds each array's strides over `shape`, 0 where it is broadcast.
    """
    kept = [d for d, length in enumerate(shape) if length != 1]
    kept.sort(key=lambda d: -abs(strides[0][d]))
    lengths: list[int] = []
    steps: list[list[int]] = [[] for _ in strides]
    for d in kept:
        length = shape[d]
        if lengths and all(
            own[-1] == array[d] * length for own, array in zip(steps, strides, strict=True)
        ):
            lengths[-1] *= length
            for own, array in zip(steps, strides, strict=True):
                own[-1] = array[d]
        else:
            lengths.append(length)
            for own, array in zip(steps, strides, strict=True):
                own.append(array[d])
    if not lengths:
        return Geometry((), 1, [()] * len(strides), [0] * len(strides))
    inner = len(lengths) - 1
    # A long inner dimension fills the SIMD lanes even if strided; a contiguous one of fewer than
    # 32 items does not. Take the longest.
    if lengths[inner] < _SHORT:
        inner = max(range(len(lengths)), key=lengths.__getitem__)
    return Geometry(
        tuple(length for d, length in enumerate(lengths) if d != inner),
        lengths[inner],
        [tuple(step for d, step in enumerate(own) if d != inner) for own in steps],
        [own[inner] for own in steps],
    )


_SHORT = 32
"""Fewer items than this do not fill the SIMD lanes."""
