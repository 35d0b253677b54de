"""How a loop goes over the arrays of a call: its shape, its steps, its table of arguments.

Depends on shapes, strides and dtypes alone; calls that agree in these share a plan.
"""

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tinyloss.backend import CLASS, ITEM, Domain, Weighing
from tinyloss.compiler.geometry import Geometry, Layouts, over_items
from tinyloss.compiler.kernels import Recording
from tinyloss_numpy._source import CACHE_LINE, DIMENSIONS, LANES, SIZES

WORTH_THREADS = 2**17
"""Elements below which handing work to another thread takes longer than doing it."""
_GROUP = 2**16
"""Elements that make one partial sum."""
_CHUNK = 2**13
"""Numbers of each array between two looks at where the outer dimensions put it."""
_BATCH_BYTES = 2**13
"""Bytes of the rows whose numbers of each item are computed together: half of a first-level cache
holds two such arrays."""
_LONG_ROW = 128
"""Classes for which reading them side by side is faster than copying them apart (measured)."""

_DTYPES: dict[Any, str] = {
    np.dtype(name): name
    for name in (
        "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64".split()
    )
}
"""The dtypes that a loop reads and writes; bfloat16 joins them when one is met."""


EXACT = {
    "float32": frozenset("bool int8 int16 uint8 uint16 float16 bfloat16 float32".split()),
    "float64": frozenset("bool int8 int16 int32 uint8 uint16 uint32 float32 float64".split()),
}
"""The dtypes whose numbers a dtype has."""


class Variant(NamedTuple):
    """What of a plan the text of its loop depends on."""

    arrays: tuple[tuple[str, bool], ...]
    """Of each array, inputs then outputs, its dtype and whether it lies side by side."""
    overwrites: tuple[str, ...]
    """For each output the input it overwrites, or nothing."""
    rows: bool
    lanes: int
    weighing: Weighing | None = None
    watched: Domain | None = None
    """What targets must be that are watched while the loop runs."""


class Plan:
    """One way through the arrays of a call."""

    def __init__(
        self,
        variant: Variant,
        classes: int,
        geometry: Geometry,
        class_steps: Sequence[int],
        real: str,
        beside: int = 1,
    ) -> None:
        """Take how the arrays lie, and with how many of its row a class is compared."""
        self.variant, self.classes = variant, classes
        row = classes * beside  # what it takes to go over it
        inner, lanes = geometry.inner, variant.lanes
        number_size = SIZES[real]
        row_bytes = -(-classes * number_size // CACHE_LINE) * CACHE_LINE
        batch = max(1, min(lanes, _BATCH_BYTES // row_bytes)) if variant.rows else lanes
        length = batch * max(1, _CHUNK // (batch * row))
        chunks_per_outer = -(-inner // length)
        chunks = chunks_per_outer * geometry.runs
        chunks_per_group = max(1, _GROUP // (min(length, inner) * row))
        self.scratch_size = batch * row_bytes if variant.rows else lanes * classes * number_size
        """Bytes of a scratch array, in whole cache lines."""
        self.groups = -(-chunks // chunks_per_group)
        self.elements = inner * geometry.runs * row
        self.small = self.elements < WORTH_THREADS
        self.items = inner * geometry.runs
        self.kernel: Any = None
        self.scratch_bytes = 0

        filler = (0,) * (DIMENSIONS - len(geometry.outer))
        head = (classes, inner, length, chunks_per_outer, chunks, chunks_per_group)
        entries = [*head, self.scratch_size, batch, *geometry.outer, *filler]
        for step, class_step, outer in zip(
            geometry.inner_steps, class_steps, geometry.outer_steps, strict=True
        ):
            entries += [step, class_step, *outer, *filler]
        self._steps = struct.pack(f"{len(entries)}q", *entries)
        more = 1 if variant.weighing is None else 2
        self._addresses = struct.Struct(f"{len(class_steps) + more}q").pack

    def table(self, numbers: bytes, *addresses: int) -> bytes:
        """Return the table of arguments, as `_source` reads it.

        The last address is the sums', if not followed by the class index to ignore.
        """
        return self._steps + numbers + self._addresses(*addresses)


def make_plan(
    recording: Recording,
    overwrites: tuple[str, ...],
    layouts: Layouts,
    weighing: Weighing | None = None,
    watched: Domain | None = None,
    lanes: int = 0,
) -> Plan | None:
    """Return the plan for arrays that lie so; None where no loop can follow them.

    Its loop has so many `lanes`, if not LANES of its dtype.
    """
    real, rowwise, roles = recording.real, recording.rowwise, recording.roles(overwrites)
    if weighing is not None:  # what each item weighs is no array of the caller's
        inputs, results = roles[: len(recording.names) - 1], roles[len(recording.names) :]
        given = [CLASS if name == "class_weight" else ITEM for name in weighing.arrays]
        roles = (*inputs, *given, *results)
    names = [_name_of(dtype) for _, _, dtype in layouts]
    if None in names:
        return None
    if real == "float64" and ("float16" in names or "bfloat16" in names):
        return None  # would be rounded twice
    if any(names[at] not in EXACT[real] for at in recording.compared):
        return None  # rounding would make ties
    classes = layouts[0][0][-1] if rowwise else 1
    sizes = [dtype.itemsize for _, _, dtype in layouts]
    class_steps = [
        strides[-1] if role.per_class else 0
        for role, (_, strides, _) in zip(roles, layouts, strict=True)
    ]
    geometry = over_items(rowwise, roles, layouts)
    if len(geometry.outer) > DIMENSIONS:
        return None
    in_rows = [
        step == size or classes == 1
        for step, size, role in zip(class_steps, sizes, roles, strict=True)
        if role.per_class
    ]
    rows = rowwise and classes >= _LONG_ROW and all(in_rows) and not recording.along
    contiguous = [
        class_step == size if role.per_class else step == size
        for role, class_step, step, size in zip(
            roles, class_steps, geometry.inner_steps, sizes, strict=True
        )
    ]
    variant = Variant(
        tuple(zip(map(str, names), contiguous, strict=True)),
        overwrites or ("",) * len(recording.results),
        rows,
        lanes or LANES[real],
        weighing,
        watched,
    )
    # what sorts goes over a row as often as its length has bits
    beside = classes if recording.paired else classes.bit_length() if recording.along else 1
    return Plan(variant, classes, geometry, class_steps, real, beside)


def _name_of(dtype: Any) -> str | None:
    name = _DTYPES.get(dtype)
    if name is None and getattr(dtype, "name", "") == "bfloat16":
        _DTYPES[dtype] = name = "bfloat16"
    return name
