"""A staged program as the text of a loop for Numba.

Two shapes of loop serve every loss. In both the innermost loop runs over lanes that do not depend
on each other, so that the compiler vectorises it without being allowed to reorder a sum: a sum or
maximum is kept for each lane, and the lanes are put together in an order that the text fixes. The
result has the same bits on every machine and for any number of threads.

    rows    one row after the other; lanes are classes side by side. For long rows.
    tiles   many items at once; lanes are items. For losses of elements, and for rows that are
            short or whose classes lie apart: these are copied to scratch memory, class by class.

Both go over items in chunks of at most LANES; a group of chunks makes one partial sum.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tinyloss.backend import Domain, Weighing
from tinyloss.compiler.kernels import ArrayUse, Staged
from tinyloss.compiler.passes import Pass, kind_of
from tinyloss.compiler.program import Node

__all__ = ["ARRAY_ENTRIES", "DIMENSIONS", "HEADER", "Text", "write"]

DIMENSIONS = 6
"""Outer dimensions that a table has room for."""
HEADER = 7 + DIMENSIONS
ARRAY_ENTRIES = 2 + DIMENSIONS
"""An array's step from item to item and from class to class, its outer strides."""

_HEADER_NAMES = (
    "classes",
    "inner",
    "length",
    "chunks_per_outer",
    "chunks",
    "chunks_per_group",
    "room",
)


@dataclass(frozen=True, slots=True)
class Text:
    """The text of a loop, and what it must be compiled with."""

    source: str
    places: tuple[tuple[str, tuple[str, str]], ...]
    """Name, dtype in memory and type computed with, of everything that is read and written."""
    lane_bytes: int
    """Scratch memory that every call needs."""
    rooms: int
    """Scratch arrays of one number for each class (rows) or each class and lane (tiles)."""


class _Lines:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.depth = 1

    def __call__(self, line: str) -> None:
        self.lines.append("    " * self.depth + line)

    def loop(self, head: str) -> "_Lines":
        self(head)
        return self

    def __enter__(self) -> None:
        self.depth += 1

    def __exit__(self, *_: object) -> None:
        self.depth -= 1


class _Writer:
    """What both shapes share."""

    def __init__(
        self,
        staged: Staged,
        inputs: Sequence[ArrayUse],
        outputs: Sequence[ArrayUse],
        real: str,
        lanes: int,
        weighing: Weighing | None,
        watched: Domain | None,
    ) -> None:
        self.watched = watched
        """What targets must be: a sum more tells whether one is something else."""
        self.staged, self.numbers = staged.passes, staged.numbers
        self.weighing, self.uniforms = weighing, staged.uniform
        self.totals = staged.totals
        nodes = staged.outputs
        self.inputs = inputs
        self.outputs = [*zip(outputs, nodes, strict=True)]
        self.real, self.lanes = real, lanes
        self.write = _Lines()
        self.places: dict[str, tuple[str, str]] = {}
        self.scratch = 0
        self.rooms = 0
        self.arrays = {array.name: array for array in inputs}
        self.kept = {id(n): self.staged.name(n) for step in self.staged.passes for n in step.keep}
        self.weight = ""
        """The input that the kernel writes itself: what each item weighs."""
        if weighing is not None:
            *inputs, own = [each for each in inputs if not each.name.startswith("given_")]
            self.given = [each for each in self.inputs if each.name.startswith("given_")]
            self.inputs, self.weight = [*inputs, own], own.name
            for array in self.given:
                kind = "bool" if array.name == "given_where" else "float64"
                self.places[array.name] = (array.dtype, kind)
            self.places["wide"] = ("float64", "float64")
            inputs = self.inputs
        for array in inputs:
            index = array.role.integer
            self.places[array.name] = (array.dtype, "int64" if index else real)
        for array in outputs:
            if not array.overwrites:
                self.places[array.name] = (array.dtype, real)

    # Scratch memory

    def lane_buffer(self, name: str, kind: str = "real") -> str:
        """Make room for one value of each lane."""
        dtype = {"real": self.real, "index": "int32", "bool": "bool"}[kind]
        self.places[name] = (dtype, dtype)
        self.reserve(f"{name}_lanes", 8)
        return name

    def sums(self, name: str) -> str:
        """Make room for the sum of each lane: wider than a number, see `_loops`."""
        self.reserve(f"{name}_sums", 16)
        return f"{name}_sums"

    def reserve(self, address: str, size: int) -> None:
        self.write(f"{address} = work + {self.scratch}")
        self.scratch += size * self.lanes

    def room(self, name: str) -> str:
        """Make room for one number for each class, or each class and lane."""
        self.places[name] = (self.real, self.real)
        self.write(f"{name}_room = rooms + {self.rooms} * room")
        self.rooms += 1
        return name

    # Statements

    def node(self, node: Node) -> None:
        self.write(f"{self.staged.name(node)} = {self.staged.text(node)}")

    def head(self) -> None:
        """Read the table of arguments."""
        write = self.write
        write("wide()")
        for at, name in enumerate(_HEADER_NAMES):
            write(f"{name} = entry(table, {at})")
        arrays = self.table_arrays()
        numbers_at = HEADER + ARRAY_ENTRIES * len(arrays)
        addresses_at = numbers_at + len(self.numbers)
        for number, array in enumerate(arrays):
            at = HEADER + ARRAY_ENTRIES * number
            write(f"{array.name}_start = entry(table, {addresses_at + number})")
            write(f"{array.name}_item = entry(table, {at})")
            write(f"{array.name}_class = entry(table, {at + 1})")
        write(f"partial_sums = entry(table, {addresses_at + len(arrays)})")
        for at, node in enumerate(self.numbers, numbers_at):
            load = f"number(table, {at})"
            load = f"{load} != 0" if node.boolean else f"real({load})"
            write(f"{self.staged.name(node)} = {load}")

    def table_arrays(self) -> list[ArrayUse]:
        """Return the arrays that the table has: the caller's."""
        if self.weighing is None:
            return self.all_arrays()
        inputs = [each for each in self.inputs if each.name != self.weight]
        return [*inputs, *self.given, *self.all_arrays()[len(self.inputs) :]]

    def all_arrays(self) -> list[ArrayUse]:
        return [*self.inputs, *(array for array, _ in self.outputs if not array.overwrites)]

    def target(self, array: ArrayUse) -> ArrayUse:
        """Return the array that an output is written to."""
        return self.arrays[array.overwrites] if array.overwrites else array

    def frame(self) -> None:
        """Write the loops over groups and chunks around the body."""
        write = self.write
        with write.loop("for group in range(first, last):"):
            for name in self.total_names():
                write(f"clear_row({name}_sums)")
            if self.watched is not None:
                write("wrong = as_int(real(0.0))")
            chunks = "range(group * chunks_per_group, min(chunks, (group + 1) * chunks_per_group))"
            with write.loop(f"for chunk in {chunks}:"):
                write("outer = chunk // chunks_per_outer")
                write("begin = (chunk - outer * chunks_per_outer) * length")
                write("count = min(length, inner - begin)")
                if self.weight:
                    write(
                        f"{self.weight}_chunk = {self.weight}_room + (outer * inner + begin) * SIZE"
                    )
                for number, array in enumerate(self.table_arrays()):
                    if array.per_item:
                        at = HEADER + ARRAY_ENTRIES * number + 2
                        write(
                            f"{array.name}_chunk = {array.name}_start + begin * {array.name}_item"
                            f" + offset_of(table, {at}, outer)"
                        )
                self.watch()
                self.chunk()
                for name in self.total_names():
                    write(f"add_row({name}_sums, {name}_lanes, count)")
            ends = [f"fold_row({name}_sums)" for name in self.total_names()]
            ends += [] if self.watched is None else ["float64(wrong < 0)"]
            for number, end in enumerate(ends):
                write(f"store_total(partial_sums, group * {len(ends)} + {number}, {end})")
        write("return 0")

    def chunk(self) -> None:
        raise NotImplementedError

    def text(self) -> Text:
        self.head()
        for name in self.total_names():
            self.sums(name)
            self.lane_buffer(name)
        at = len(self.write.lines)
        self.buffers()
        if self.rooms:
            self.write.lines.insert(at, f"    rooms = work + {self.scratch}")
        if self.weighing is not None:
            self.weigh(self.weighing)
        self.frame()
        head = "def kernel(first, last, table, work):"
        source = "\n".join([head, *self.write.lines, ""])
        return Text(source, tuple(self.places.items()), self.scratch, self.rooms)

    def weigh(self, weighing: Weighing) -> None:
        """Find what each item weighs, their sum, and whether anything is out of the ordinary.

        Weights go by in float64: products of float32 ones neither overflow nor underflow there.
        The mean's are then scaled by a power of two to a size of about 1. Their sum is added up
        with its rounding error beside, see `_loops`.
        """
        write, given = self.write, {each.name: each for each in self.given}
        write("items = inner * (chunks // chunks_per_outer)")
        write(f"wide_room = work + {self.scratch} + {self.rooms} * room")
        write(f"{self.weight}_room = wide_room + items * 8")
        write("total, error, size, odd, item = 0.0, 0.0, 0.0, 0.0, 0")
        y = self.inputs[1]
        reads = [*given.values()] + [y] * (weighing.domain is not None or weighing.ignores)
        table = self.table_arrays()
        with write.loop("for outer in range(chunks // chunks_per_outer):"):
            for array in reads:
                if array.per_item:
                    at = HEADER + ARRAY_ENTRIES * table.index(array) + 2
                    write(f"{array.name}_run = {array.name}_start + offset_of(table, {at}, outer)")
            with write.loop("for i in range(inner):"):
                write("w = 1.0")
                for array in reads:
                    if array.per_item:
                        place = f"{array.name}_run + i * {array.name}_item, 0"
                        write(f"{array.name} = load_{array.name}({place})")
                if "given_weight" in given:
                    write("w = given_weight")
                if "given_where" in given:
                    with write.loop("if not given_where:"):
                        write("w = 0.0")
                if weighing.ignores:
                    with write.loop(f"if {y.name} == entry(table, {self.ignored_at()}):"):
                        write("w = 0.0")
                with write.loop("if w != 0.0:"):
                    self.weigh_target(weighing, y, given)
                    write("part = total + w")
                    write("back = part - total")
                    write("error += (total - (part - back)) + (w - back)")
                    write("total = part")
                    write("size += abs(w)")
                write("store_wide(wide_room + item * 8, 0, w)")
                write("item += 1")
        write("total += error")
        with write.loop("if not size < 1e290 or (size != 0.0 and size < 1e-290):"):
            write("odd = 1.0")
        write("scale, divisor = 1.0, 1.0")
        if weighing.mean:
            with write.loop("if size != 0.0:"):
                write("scale = 1.0 / power_below(size / items)")
                write("divisor = total * scale")
            with write.loop("if divisor == 0.0:"):
                write("odd = 1.0")
        ends = len(self.totals)
        write(f"store_total(partial_sums, {ends}, odd)")
        write(f"store_total(partial_sums, {ends + 1}, divisor)")
        with write.loop("if odd != 0.0:"):
            write("return 0")
        with write.loop("for item in range(items):"):
            write(
                f"store_{self.weight}({self.weight}_room + item * SIZE, 0, "
                "real(load_wide(wide_room + item * 8, 0) * scale))"
            )
        for node in self.uniforms:
            if node.op == "input":
                write(f"{self.staged.name(node)} = real(divisor)")
            else:
                self.node(node)

    def weigh_target(self, weighing: Weighing, y: ArrayUse, given: Mapping[str, ArrayUse]) -> None:
        """Note a target out of its domain; multiply with its class's weight."""
        write, domain = self.write, weighing.domain
        if "given_class_weight" in given:
            at = f"given_class_weight_start + {y.name} * given_class_weight_class, 0"
            with write.loop(f"if {_outside(Domain('labels'), y.name)}:"):
                write("odd = 1.0")
            with write.loop("else:"):
                write(f"w *= load_given_class_weight({at})")
        elif domain is not None:
            with write.loop(f"if {_outside(domain, y.name)}:"):
                write("odd = 1.0")

    def ignored_at(self) -> int:
        """Return where the table has the class index of items that are left out."""
        arrays = len(self.table_arrays())
        return HEADER + ARRAY_ENTRIES * arrays + len(self.numbers) + arrays + 1

    def buffers(self) -> None:
        raise NotImplementedError

    def load_item(self, node: Node, i: str) -> None:
        """Read an item's number."""
        array = self.arrays[self.staged.name(node)]
        load = f"load_{array.name}({_at(array, array.name + '_chunk', i, 'item')})"
        if kind_of(node) == "index":
            load = f"label({load}, classes)"
        self.write(f"{array.name} = {load}")

    def scalar(self, node: Node, i: str) -> None:
        """Compute or read an item's number."""
        if node.op == "input":
            self.load_item(node, i)
        elif id(node) in self.staged.gathers:
            picked, index = self.staged.gathers[id(node)]
            self.write(f"{self.staged.name(node)} = {self.picked(picked, index, i)}")
        else:
            self.node(node)

    def picked(self, picked: Node, index: Node, i: str) -> str:
        raise NotImplementedError

    def store_item(self, array: ArrayUse, node: Node, i: str) -> None:
        """Write an item's output."""
        into = self.target(array)
        at = _at(into, into.name + "_chunk", i, "item")
        self.write(f"store_{into.name}({at}, {self.staged.as_real(node)})")

    def item_outputs(self, i: str) -> None:
        for array, node in self.outputs:
            if not array.per_class:
                self.store_item(array, node, i)
        for name, node in zip(self.total_names(), self.totals, strict=True):
            self.write(f"store_{name}({name}_lanes, {i}, {self.staged.as_real(node)})")

    def watch(self) -> None:
        """Note a target of a chunk that is outside its domain.

        In a loop of its own: LLVM would not vectorise each of the others with this inside.
        """
        if self.watched is None:
            return
        y = self.inputs[1]
        with self.write.loop("for i in range(count):"):
            self.write(f"target = load_{y.name}({_at(y, y.name + '_chunk', 'i', 'item')})")
            if self.watched.kind == "probabilities":
                self.write(f"wrong = strayed(wrong, target, real({1 + self.watched.slack!r}))")
            else:
                self.write(f"wrong = noted(wrong, {_outside(self.watched, 'target')})")

    def total_names(self) -> list[str]:
        return [f"share_{number}" for number in range(len(self.totals))]

    def reduce(self, node: Node, lane: str) -> None:
        """Take a lane's number into its maximum, or lay it down to be summed."""
        name, term = self.staged.name(node), node.args[0]
        if node.op == "max":
            largest = f"raised(load_{name}({name}_lanes, {lane}), {self.staged.as_real(term)})"
            self.write(f"store_{name}({name}_lanes, {lane}, {largest})")
        elif id(term) not in self.kept:
            self.write(f"store_{name}_term({name}_term_lanes, {lane}, {self.staged.as_real(term)})")

    def add_terms(self, step: Pass, add: str, count: str) -> None:
        """Add what a pass laid down, or kept, to the sums."""
        for node in step.reductions:
            if node.op == "sum":
                name, kept = self.staged.name(node), self.kept.get(id(node.args[0]))
                terms = f"{name}_term_lanes" if kept is None else f"{kept}_block"
                self.write(f"{add}({name}_sums, {terms}, {count})")


class _Rows(_Writer):
    """One row after the other, lanes over its classes."""

    def buffers(self) -> None:
        names = self.staged.name
        for step in self.staged.passes:
            for node in step.reductions:
                if node.op == "max":
                    self.lane_buffer(names(node))
                    continue
                self.sums(names(node))
                if id(node.args[0]) not in self.kept:
                    self.lane_buffer(f"{names(node)}_term")
        if any(n.op == "class_index" for step in self.staged.passes for n in step.elements):
            # Read, not counted: a counter of 32 bits beside the loop's own costs more.
            self.lane_buffer("lane_number", "index")
            with self.write.loop("for l in range(LANES):"):
                self.write("store_lane_number(lane_number_lanes, l, index(l))")
        for node in [n for step in self.staged.passes for n in step.keep]:
            self.room(names(node))

    def chunk(self) -> None:
        write = self.write
        with write.loop("for i in range(count):"):
            for array in self.all_arrays():
                if array.per_class and array.per_item:
                    write(f"{array.name}_row = {array.name}_chunk + i * {array.name}_item")
                elif array.per_class:
                    write(f"{array.name}_row = {array.name}_start")
            for number, step in enumerate(self.staged.passes):
                self.step(step, number == len(self.staged.passes) - 1)
            for node in self.staged.final:
                self.scalar(node, "i")
            self.item_outputs("i")

    def picked(self, picked: Node, index: Node, i: str) -> str:
        array, at = self.arrays[self.staged.name(picked)], self.staged.name(index)
        load = f"load_{array.name}({_at(array, array.name + '_row', f'max(0, {at})', 'class')})"
        return f"where({at} >= 0, {load}, real(0.0))"

    def step(self, step: Pass, last: bool) -> None:
        write, name = self.write, self.staged.name
        for node in step.scalars:
            self.scalar(node, "i")
        for node in step.reductions:
            if node.op == "max":
                write(f"clear_max({name(node)}_lanes)")
            else:
                write(f"clear_row({name(node)}_sums)")
        with write.loop("for j in range(0, classes, LANES):"):
            write("n = min(LANES, classes - j)")
            self.blocks(step, last)
            with write.loop("for l in range(n):"):
                for node in step.read:
                    write(f"{name(node)} = load_{name(node)}({name(node)}_block, l)")
                for node in step.elements:
                    self.element(node)
                for node in step.keep:
                    write(f"store_{name(node)}({name(node)}_block, l, {name(node)})")
                for node in step.reductions:
                    self.reduce(node, "l")
                if last:
                    for array, node in self.outputs:
                        if array.per_class:
                            into = self.target(array)
                            at = _at(into, into.name + "_block", "l", "class")
                            write(f"store_{into.name}({at}, {self.staged.as_real(node)})")
            self.add_terms(step, "add_row", "n")
        for node in step.reductions:
            if node.op == "max":
                write(f"{name(node)} = fold_max({name(node)}_lanes)")
            else:
                write(f"{name(node)} = real(fold_row({name(node)}_sums))")

    def blocks(self, step: Pass, last: bool) -> None:
        """Find where this block of classes begins in everything that the pass touches."""
        read = [self.staged.name(n) for n in step.elements if n.op == "input"]
        places = {name: self.arrays[name] for name in read}
        if last:
            for array, _ in self.outputs:
                if array.per_class:
                    places[self.target(array).name] = self.target(array)
        for name in places:
            self.write(f"{name}_block = {name}_row + j * {name}_class")
        for node in [*step.read, *step.keep]:
            name = self.staged.name(node)
            self.write(f"{name}_block = {name}_room + j * SIZE")
        if any(n.op == "class_index" for n in step.elements):
            self.write("first_class = index(j)")

    def element(self, node: Node) -> None:
        if node.op == "input":
            array = self.arrays[self.staged.name(node)]
            at = _at(array, array.name + "_block", "l", "class")
            self.write(f"{array.name} = load_{array.name}({at})")
        elif node.op == "class_index":
            self.write("class_index = index(first_class + load_lane_number(lane_number_lanes, l))")
        else:
            self.node(node)


class _Tiles(_Writer):
    """Many items at once, lanes over items."""

    def buffers(self) -> None:
        names, staged = self.staged.name, self.staged
        self.blocks = [step.scalars for step in staged.passes] + [staged.final]
        self.shared = self.shared_scalars()
        for node in self.shared:
            self.lane_buffer(self.lane_name(node), kind_of(node))
        for step in staged.passes:
            for node in step.reductions:
                if node.op == "sum":
                    self.sums(names(node))
                    if id(node.args[0]) not in self.kept:
                        self.lane_buffer(f"{names(node)}_term")
        for array in self.packed_inputs():
            self.room(f"{array.name}_packed")
        for array, _ in self.packed_outputs():
            self.room(f"{array.name}_packed")
        for node in [n for step in staged.passes for n in step.keep]:
            self.room(names(node))

    def packed_inputs(self) -> list[ArrayUse]:
        return [array for array in self.inputs if array.per_class and array.per_item]

    def packed_outputs(self) -> list[tuple[ArrayUse, Node]]:
        return [(array, node) for array, node in self.outputs if array.per_class]

    def shared_scalars(self) -> list[Node]:
        """Return the items' numbers that are used outside the loop that computes them."""
        staged = self.staged
        loop_of = {id(n): k for k, block in enumerate(self.blocks) for n in block}
        shared: dict[int, Node] = {}

        def use(node: Node, loop: int) -> None:
            if not node.per_class and node.per_item and loop_of.get(id(node)) != loop:
                shared[id(node)] = node

        for number, block in enumerate(self.blocks):
            for node in block:
                for arg in self.arguments(node):
                    use(arg, number)
        for step in staged.passes:
            for node in [*step.elements, *step.reductions]:
                for arg in node.args:
                    use(arg, -1)
            for node in step.reductions:
                shared[id(node)] = node
        for _, node in self.packed_outputs():
            use(node, -1)
        for node in self.item_nodes():
            use(node, len(self.blocks) - 1)
        return [n for n in shared.values() if n.op != "constant"]

    def item_nodes(self) -> list[Node]:
        nodes = [node for array, node in self.outputs if not array.per_class]
        return [*nodes, *self.totals]

    def chunk(self) -> None:
        write = self.write
        for array in self.packed_inputs():
            self.pack(
                array,
                f"store_{array.name}_packed({array.name}_packed_room, c * LANES + i, "
                f"load_{array.name}({array.name}_chunk + i * {array.name}_item"
                f" + c * {array.name}_class, 0))",
            )
        for number, step in enumerate(self.staged.passes):
            self.block(number)
            self.step(step, number == len(self.staged.passes) - 1)
        for array, _ in self.packed_outputs():
            into = self.target(array)
            origin = "chunk" if into.per_item else "start"
            self.pack(
                into,
                f"store_{into.name}({into.name}_{origin} + i * {into.name}_item"
                f" + c * {into.name}_class, 0, "
                f"load_{array.name}_packed({array.name}_packed_room, c * LANES + i))",
            )
        if self.staged.final or self.item_nodes():
            with write.loop("for i in range(count):"):
                here = {id(n) for n in self.staged.final}
                used = [a for n in self.staged.final for a in self.arguments(n)]
                self.read_shared([*used, *self.item_nodes()], here)
                for node in self.staged.final:
                    self.scalar(node, "i")
                self.item_outputs("i")

    def pack(self, array: ArrayUse, line: str) -> None:
        """Copy between an array and its scratch, along what lies closer together in the array."""
        write = self.write
        items, classes = "for i in range(count):", "for c in range(classes):"
        closer = f"if closer({array.name}_class, {array.name}_item):"
        with write.loop(closer), write.loop(items), write.loop(classes):
            write(line)
        with write.loop("else:"), write.loop(classes), write.loop(items):
            write(line)

    def arguments(self, node: Node) -> Iterable[Node]:
        return self.staged.gathers.get(id(node), node.args)

    def read_shared(self, used: Iterable[Node], here: set[int]) -> None:
        """Read the items' numbers that another loop computed."""
        shared = {id(n) for n in self.shared}
        seen: set[int] = set()
        for node in used:
            if id(node) in shared and id(node) not in here and id(node) not in seen:
                seen.add(id(node))
                lane = self.lane_name(node)
                self.write(f"{self.staged.name(node)} = load_{lane}({lane}_lanes, i)")

    def lane_name(self, node: Node) -> str:
        """Return the name of the scratch memory for an items' number."""
        name = self.staged.name(node)
        return f"{name}_each" if node.op == "input" else name

    def block(self, number: int) -> None:
        """Compute the items' numbers before a pass."""
        block = self.blocks[number]
        if not block:
            return
        shared = {id(n) for n in self.shared}
        with self.write.loop("for i in range(count):"):
            used = [arg for node in block for arg in self.arguments(node)]
            self.read_shared(used, {id(n) for n in block})
            for node in block:
                self.scalar(node, "i")
            for node in block:
                if id(node) in shared:
                    lane = self.lane_name(node)
                    self.write(f"store_{lane}({lane}_lanes, i, {self.staged.name(node)})")

    def picked(self, picked: Node, index: Node, i: str) -> str:
        name, at = self.staged.name(picked), self.staged.name(index)
        load = f"load_{name}_packed({name}_packed_room, max(0, {at}) * LANES + {i})"
        return f"where({at} >= 0, {load}, real(0.0))"

    def step(self, step: Pass, last: bool) -> None:
        write, name = self.write, self.staged.name
        for node in step.reductions:
            clear = "clear_max" if node.op == "max" else "clear_sums"
            write(f"{clear}({name(node)}_{'lanes' if node.op == 'max' else 'sums'})")
        with write.loop("for c in range(classes):"):
            for node in [*step.read, *step.keep]:
                write(f"{name(node)}_block = {name(node)}_room + c * (LANES * SIZE)")
            packed = [name(n) for n in step.elements if n.op == "input" and n.per_item]
            outputs = self.packed_outputs() if last else []
            for packed_name in [*packed, *(array.name for array, _ in outputs)]:
                write(f"{packed_name}_block = {packed_name}_packed_room + c * (LANES * SIZE)")
            if any(n.op == "class_index" for n in step.elements):
                write("class_index = index(c)")
            with write.loop("for i in range(count):"):
                used = [a for n in step.elements for a in n.args]
                self.read_shared([*used, *(node for _, node in outputs)], set())
                for node in step.read:
                    write(f"{name(node)} = load_{name(node)}({name(node)}_block, i)")
                for node in step.elements:
                    self.element(node)
                for node in step.keep:
                    write(f"store_{name(node)}({name(node)}_block, i, {name(node)})")
                for node in step.reductions:
                    self.reduce(node, "i")
                for array, node in outputs:
                    value = self.staged.as_real(node)
                    write(f"store_{array.name}_packed({array.name}_block, i, {value})")
            self.add_terms(step, "add_lanes", "count")
        for node in step.reductions:
            if node.op == "sum":
                write(f"round_sums({name(node)}_sums, {name(node)}_lanes, count)")

    def element(self, node: Node) -> None:
        if node.op == "input":
            array = self.arrays[self.staged.name(node)]
            if array.per_item:
                packed = f"load_{array.name}_packed({array.name}_block, i)"
                self.write(f"{array.name} = {packed}")
            else:
                at = _at(array, f"{array.name}_start", "c", "class")
                self.write(f"{array.name} = load_{array.name}({at})")
        elif node.op != "class_index":
            self.node(node)


def _outside(domain: Domain, y: str) -> str:
    """Return the condition that a target is outside its domain. A NaN is not."""
    if domain.kind == "signs":
        return f"logical_and({y} != -1, {y} != 1)"
    if domain.kind == "labels":
        return f"logical_or({y} < 0, {y} >= classes)"
    return f"logical_or({y} < real({-domain.slack!r}), {y} > real({1 + domain.slack!r}))"


def _at(array: ArrayUse, start: str, index: str, axis: str) -> str:
    """Return address and index of an element, as load and store take them."""
    along = "class" if array.per_class else "item"
    if array.contiguous and axis == along:
        return f"{start}, {index}"
    index = f"({index})" if " " in index else index
    return f"{start} + {index} * {array.name}_{axis}, 0"


def write(
    staged: Staged,
    inputs: Sequence[ArrayUse],
    outputs: Sequence[ArrayUse],
    *,
    real: str,
    lanes: int,
    rows: bool,
    weighing: Weighing | None = None,
    watched: Domain | None = None,
) -> Text:
    """Return the text of the loop over rows or tiles that answers a staged job."""
    shape = _Rows if rows else _Tiles
    return shape(staged, inputs, outputs, real, lanes, weighing, watched).text()
