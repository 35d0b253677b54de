"""How a kernel goes over the arrays of a call: its sizes, its launch, its table of steps.

Depends on shapes, strides, dtypes and alignment alone; calls that agree in these share a plan.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinyloss.backend import Role
from tinyloss.compiler.geometry import Layouts, over_items
from tinyloss.compiler.kernels import Recording, Staged
from tinyloss.compiler.passes import Pass
from tinyloss_cuda.source import CTYPES, Shape

__all__ = ["ALIGNMENT", "Plan", "Variant", "make_plan"]

ALIGNMENT = 64
"""Addresses that agree modulo this many bytes lie alike: 8 numbers of 8 bytes."""

_PACKET = 16
"""Bytes that a thread reads or writes in one instruction, at most."""
_MOST_LANES = 8
_MOST_CLASSES = 2**30
"""Numbers of classes are 32-bit, the packets that stick out included."""
_SLOT = 16
"""Bytes that a warp's part of a sum takes in shared memory, twice."""
_SHARED_MEMORY = 48 * 1024
"""Bytes that every GPU has for a block."""
_MOST_BLOCKS = 8192
"""Blocks that fill any GPU several times over; each has one sum to be added up in the end."""
_THREADS = 256
_TEAMS = (1, 2, 4, 8, 16, 32, 128, 256)
"""Threads of one block that may share a row."""
_PACKETS_KEPT = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
"""Numbers of packets that a thread may keep of a row: few, so that few kernels serve all rows."""
_FEW_KEPT = 8
"""More than that only where a whole block shares a row (measured on an H200)."""
_FLIGHT = {"float32": 4, "float64": 2}
"""Packets of elements that are on their way to a thread at once, by the dtype computed in."""
_IN_FLIGHT = {"float32": 16, "float64": 4}
"""Numbers of a row that is not kept, likewise, of all inputs together."""
_FEW_BLOCKS = 512
"""Fewer leave multiprocessors idle. Rows that are fewer are shared by blocks, as far as that goes.
"""
_SCRATCH = 2**26
"""Bytes of all rows that are at work at once, for what passes keep of them."""


class Variant(NamedTuple):
    """What of a plan the text of its kernel depends on."""

    arrays: tuple[tuple[str, bool], ...]
    """Of each array, inputs then new results, its dtype and whether it is read in packets."""
    overwrites: tuple[str, ...]
    """For each result the input it overwrites, or nothing."""
    divisor: str
    """The dtype of the array that holds it, "number" if it is none; nothing without."""
    shape: Shape


class Plan:
    """One way through the arrays of a call."""

    def __init__(
        self, variant: Variant, blocks: int, table: Sequence[int], scratch: int = 0
    ) -> None:
        self.variant = variant
        self.scratch = scratch
        """How many numbers the passes keep in memory."""
        self.grid = (blocks * variant.shape.cluster,)
        self.block = (variant.shape.threads,)
        self.sums = blocks
        """How many sums the blocks leave."""
        # An array of one element goes to a kernel by value: the table as one wide element.
        self.table = np.frombuffer(np.asarray(table, np.int64).tobytes(), f"V{8 * len(table)}")
        self.launch: Any = None
        """What a backend keeps of its launch."""


class _Array(NamedTuple):
    """An array of a call; steps are in bytes."""

    role: Role
    size: int
    """Of a number."""
    address: int
    number: int
    """The step along a row, or along the inner length of items."""
    others: tuple[int, ...]
    """The steps between rows, or between inner lengths."""

    @property
    def aligned(self) -> bool:
        return not any(step % self.size for step in (self.address, self.number, *self.others))

    def offsets(self, lanes: int) -> list[int]:
        """Return where in a packet its rows begin, and how that changes from row to row."""
        return [step // self.size % lanes for step in (self.address, *self.others)]


def make_plan(
    recording: Recording,
    staged: Callable[[bool], Staged],
    overwrites: tuple[str, ...],
    layouts: Layouts,
    addresses: Sequence[int],
    divisor: str,
    clusters: bool,
) -> Plan | None:
    """Return the plan for arrays that lie so; None where no kernel can follow them.

    `staged(keep)` is the program; `addresses` are those of the arrays, modulo ALIGNMENT;
    `clusters` is whether blocks can share a row.
    """
    names = [getattr(dtype, "name", "") for _, _, dtype in layouts]
    if not set(names) <= CTYPES.keys():
        return None
    rowwise, roles = recording.rowwise, recording.roles(overwrites)
    if rowwise and layouts[0][0][-1] > _MOST_CLASSES:
        return None
    geometry = over_items(rowwise, roles, layouts)
    arrays: list[_Array] = []
    for n, (role, address, (_, strides, dtype)) in enumerate(
        zip(roles, addresses, layouts, strict=True)
    ):
        inner, others = geometry.inner_steps[n], geometry.outer_steps[n]
        along_classes = strides[-1] if role.per_class and layouts[0][0][-1] > 1 else 0
        arrays.append(
            _Array(role, dtype.itemsize, address, along_classes, (inner, *others))
            if rowwise
            else _Array(role, dtype.itemsize, address, inner, others)
        )
    if not all(array.aligned for array in arrays):
        return None

    along = [array for array in arrays if array.role.per_class == rowwise]
    leading = next((array for array in along if array.number == array.size), None)
    paired = any(step.pairs for step in staged(True).passes.passes)
    # a class that meets all others takes long enough without neighbours in its packet
    widest = 1 if paired or leading is None else _PACKET // leading.size
    lanes = max(1, min(_MOST_LANES, widest))
    contiguous = [
        leading is not None
        and array.role.per_class == rowwise
        and array.number == array.size
        and array.offsets(lanes) == leading.offsets(lanes)
        for array in arrays
    ]
    outer, items = len(geometry.outer), geometry.inner * geometry.runs
    sticking_out = 0 if leading is None or not any(leading.offsets(lanes)) else lanes - 1
    table, most, scratch = [geometry.inner, items], _MOST_BLOCKS, 0
    if paired:
        classes = layouts[0][0][-1]
        shape = _shape_of_pairs(classes, items, outer, clusters)
        rows = shape.threads // shape.team
        blocks = -(-items // rows)
        numbers = rows * len(staged(True).passes.kept) * classes
        room = _SCRATCH // (numbers * np.dtype(recording.real).itemsize or 1)
        most = max(1, min(most, room))
        scratch = numbers * min(blocks, most)
        table = [classes, *table, 0, 0]
    elif rowwise:
        classes = layouts[0][0][-1]
        # Neighbouring threads take what lies closer together: classes of a row, or rows.
        alone = leading is None and abs(arrays[0].others[0]) <= abs(arrays[0].number)
        sizes = [array.size for array in arrays]
        cost = _Cost(
            staged,
            lanes,
            recording.real,
            dict(zip(recording.names, sizes, strict=False)),
            any(role.per_class for _, role in recording.results),
            not sticking_out and classes % lanes == 0,
        )
        packets = -(-(classes + sticking_out) // lanes)
        shape = _shape_of_rows(cost, packets, outer, alone, clusters)
        blocks = -(-items // (shape.threads // shape.team))
        table = [classes, *table, 0, 0]
    else:
        flight = _FLIGHT[recording.real]
        whole = not sticking_out and geometry.inner % lanes == 0
        shape = Shape(_THREADS, _THREADS, 1, flight, lanes, outer, whole)
        per_run = -(-(geometry.inner + sticking_out) // (_THREADS * flight * lanes))
        blocks = per_run * geometry.runs
        table = [1, *table, blocks, per_run]
    table += [*geometry.outer, 0]
    for array in arrays:
        item, *steps = array.others if rowwise else (0, *array.others)
        table += [item, array.number, *steps, 0]
    variant = Variant(
        tuple(zip(names, contiguous, strict=True)),
        overwrites or ("",) * len(recording.results),
        divisor,
        shape,
    )
    return Plan(variant, min(blocks, most), table, scratch)


class _Cost(NamedTuple):
    """What keeping a packet of a row costs."""

    staged: Callable[[bool], Staged]
    lanes: int
    real: str
    sizes: dict[str, int]
    writes: bool
    """Whether there is a result for each class."""
    whole: bool
    """Whether no packet sticks out of its row."""

    def registers(self, results: bool) -> int:
        """Return the registers of a packet, with or without what passes keep for later ones.

        An input that no later pass reads makes room for what is kept.
        """
        steps, width = self.staged(results).passes.passes, 2 if self.real == "float64" else 1
        most = 1
        for number in range(len(steps)):
            inputs = self.read_by(steps[number:])
            read = sum(max(1, self.lanes * self.sizes[name] // 4) for name in inputs)
            kept = {id(node) for step in steps[:number] for node in step.keep}
            kept &= {id(node) for step in steps[number:] for node in step.read}
            most = max(most, read + len(kept) * self.lanes * width)
        return most

    @property
    def most_registers(self) -> int:
        """Registers of a thread for what it keeps, at most.

        512 threads can have 128 each. The rest is for what is computed at a time, of each lane of
        a packet: with less of it, ptxas spilled to memory (tried on all losses).
        """
        more = len(self.inputs) - 1
        if self.real == "float64":
            return 32 - 16 * more
        much = self.asks_eight and (more or self.parts > 1)
        return (48 if much else 64) - 8 * more

    @property
    def halves(self) -> bool:
        """Whether an input takes half of the registers of what is computed of it."""
        return any(self.sizes[name] == 2 for name in self.inputs)

    def threads(self, registers: int) -> int:
        """Return how many threads a multiprocessor has, at least, if so many registers are kept.

        They share 65,536, and more of them hide more of what memory takes to answer. Some 48 are
        for what is computed at a time: twice as many where numbers are wider, inputs or sums are
        more, or each of eight lanes is asked.
        """
        if self.real == "float64" or len(self.inputs) > 1 or self.parts > 1 or self.asks_eight:
            return 512
        return 1024 if registers <= 16 else 768 if registers <= 32 else 512

    @property
    def straight(self) -> bool:
        """Whether packets are computed side by side, as far as registers reach.

        Eight lanes have enough to do, but where nothing is written, or each is asked (measured on
        an H200).
        """
        return self.lanes < _MOST_LANES or not self.writes or self.asks_eight

    @property
    def asks_eight(self) -> bool:
        """Whether a packet of eight lanes may stick out."""
        return self.lanes == _MOST_LANES and not self.whole

    @property
    def parts(self) -> int:
        """The sums and maxima of a pass, at most."""
        return max(len(step.reductions) for step in self.staged(True).passes.passes)

    @property
    def inputs(self) -> set[str]:
        """The inputs that passes read."""
        return self.read_by(self.staged(True).passes.passes)

    @staticmethod
    def read_by(steps: Sequence[Pass]) -> set[str]:
        return {n.constant for step in steps for n in step.elements if n.op == "input"}


def _shape_of_rows(
    cost: _Cost,
    packets: int,
    outer: int,
    alone: bool,
    clusters: bool,
) -> Shape:
    """Return the fewest threads that can keep a row of so many packets.

    Results of passes are kept beside the inputs where registers are left, else computed again from
    the inputs. Inputs that fit into no registers are read again.
    """
    steps, lanes, whole = cost.staged(True).passes.passes, cost.lanes, cost.whole
    if not steps:  # an index selects all there is to read
        return Shape(_THREADS, 1, 1, 1, lanes, outer, whole, "results")
    # what is kept of inputs of half precision would take twice their registers
    for kept in ("inputs",) if cost.halves else ("results", "inputs"):
        registers = cost.registers(kept == "results")
        most = max(n for n in _PACKETS_KEPT if n == 1 or n * registers <= cost.most_registers)
        for team, cluster in _teams(alone, clusters):
            few = _FEW_KEPT if team < _THREADS else most
            each = most if alone else min(most, 2 if team < 32 else few)
            if 2 * cost.parts * cluster * (team // 32) * _SLOT > _SHARED_MEMORY:
                continue
            if packets <= team * cluster * each:
                keep = next(n for n in _PACKETS_KEPT if packets <= team * cluster * n)
                threads = team if team > 32 else _THREADS
                # of all packets the first and the last may stick out
                full = max(0, packets if whole else packets - 2) // (team * cluster)
                full = full if cost.straight else 0
                blocks = cost.threads(keep * registers) // threads
                return Shape(threads, team, cluster, keep, lanes, outer, whole, kept, full, blocks)
    team = 1 if alone else _THREADS
    flight = max(1, _IN_FLIGHT[cost.real] // (lanes * max(1, len(cost.inputs))))
    return Shape(_THREADS, team, 1, flight, lanes, outer, whole, "nothing")


def _shape_of_pairs(classes: int, items: int, outer: int, clusters: bool) -> Shape:
    """Return the threads for rows whose classes are compared: each has one class at a time."""
    team = next((n for n in _TEAMS if classes <= n), _THREADS)
    cluster = 1
    while clusters and cluster < 8 and 2 * cluster * team <= classes:
        if items * cluster >= _FEW_BLOCKS:
            break
        cluster *= 2
    threads = team if team > 32 else _THREADS
    return Shape(threads, team, cluster, 1, 1, outer, whole=True, kept="memory")


def _teams(alone: bool, clusters: bool) -> Iterable[tuple[int, int]]:
    """Return threads of a block, and blocks, that may share a row."""
    if alone:
        return [(1, 1)]
    one = [(team, 1) for team in (*_TEAMS, 512)]
    if not clusters:
        return one
    # Of blocks of 256 threads two fit beside each other: one loads or stores while one computes.
    return [*one, *((256, cluster) for cluster in (4, 8)), (512, 8)]
