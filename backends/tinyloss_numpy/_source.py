"""A staged program as the text of a loop for Numba.

Two shapes of loop serve every loss. In both the innermost loop runs over lanes that do not depend
on each other. So the compiler vectorises it without reordering a sum: each lane has a sum or
maximum of its own, and the text fixes the order in which these are combined. The result has the
same bits on every machine and for any number of threads.

    rows    one row after the other; lanes are classes that are contiguous. For long rows.
    tiles   many items at once; lanes are items. For losses of elements, and for rows that are
            short or strided: these are copied to scratch memory, class by class.

Both go over items in chunks of at most LANES; a group of chunks makes one partial sum.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tinyloss.backend import Domain, Weighing
from tinyloss.compiler.kernels import ArrayUse, Staged, Writer
from tinyloss.compiler.passes import Pass, kind_of
from tinyloss.compiler.program import Node

DIMENSIONS = 6
"""The most outer dimensions that a table describes."""
HEADER = 7 + DIMENSIONS
ARRAY_ENTRIES = 2 + DIMENSIONS
"""An array's strides from item to item and from class to class, then its outer strides."""

_HEADER_NAMES = (
    "classes",
    "inner",
    "length",
    "chunks_per_outer",
    "chunks",
    "chunks_per_group",
    "scratch_size",
)


@dataclass(frozen=True, slots=True)
class Text:
    """The text of a loop, and what it must be compiled with."""

    source: str
    places: tuple[tuple[str, tuple[str, str]], ...]
    """Name, dtype in memory and dtype computed with, of everything that is loaded or stored."""
    lane_bytes: int
    """Bytes of scratch memory for the lanes."""
    scratch_arrays: int
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


_SUM = 16
"""Bytes of a lane's sum: wider than a number, see `_loops`."""


class _Writer(Writer):
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
        given = 0 if weighing is None else len(weighing.arrays)
        super().__init__(staged, inputs[given:], outputs, real)
        self.given, self.weighing, self.lanes = inputs[:given], weighing, lanes
        self.weight = "" if weighing is None else self.inputs[-1].name
        """The input that the kernel writes itself: what each item weighs."""
        self.totals = {f"share_{n}": node for n, node in enumerate(staged.totals)}
        self.write = _Lines()
        self.places: dict[str, tuple[str, str]] = {}
        self.lane_bytes = 0
        self.scratch_arrays = 0
        self.kept = {id(n): self.staged.name(n) for step in self.staged.passes for n in step.keep}
        for array in self.given:
            kind = "bool" if array.name == "given_where" else "float64"
            self.places[array.name] = (array.dtype, kind)
        if weighing is not None:
            self.places["wide"] = ("float64", "float64")
        for array in self.all_arrays:
            self.places[array.name] = (array.dtype, "int64" if array.role.integer else real)

    # Scratch memory

    def lane_buffer(self, name: str, kind: str = "real") -> None:
        """Reserve memory for one value of each lane."""
        dtype = {"real": self.real, "index": "int32", "bool": "bool"}[kind]
        self.places[name] = (dtype, dtype)
        self.reserve(f"{name}_lanes", 8)

    def sum_buffers(self, node: Node) -> None:
        """Reserve memory for the lanes' sums, and for their terms if no pass keeps these."""
        name = self.staged.name(node)
        self.reserve(f"{name}_sums", _SUM)
        if id(node.args[0]) not in self.kept:
            self.lane_buffer(f"{name}_term")

    def reserve(self, address: str, size: int) -> None:
        self.write(f"{address} = work + {self.lane_bytes}")
        self.lane_bytes += size * self.lanes

    def scratch_array(self, name: str) -> None:
        """Reserve one number for each class, or each class and lane."""
        self.places[name] = (self.real, self.real)
        self.write(f"{name}_scratch = scratch + {self.scratch_arrays} * scratch_size")
        self.scratch_arrays += 1

    def kept_arrays(self) -> None:
        """Reserve scratch arrays for what passes keep for later ones."""
        for name in self.kept.values():
            self.scratch_array(name)

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
        count = len(self.inputs)
        inputs = self.inputs[: count - bool(self.weight)]
        return [*inputs, *self.given, *self.all_arrays[count:]]

    def offset(self, array: ArrayUse) -> str:
        """Return how far the items of an outer index are from an array's start."""
        at = HEADER + ARRAY_ENTRIES * self.table_arrays().index(array) + 2
        return f"offset_of(table, {at}, outer)"

    def frame(self) -> None:
        """Write the loops over groups and chunks around the body."""
        write = self.write
        with write.loop("for group in range(first, last):"):
            for name in self.totals:
                write(f"clear_row({name}_sums)")
            if self.watched is not None:
                write("wrong = as_int(real(0.0))")
            chunks = "range(group * chunks_per_group, min(chunks, (group + 1) * chunks_per_group))"
            with write.loop(f"for chunk in {chunks}:"):
                write("outer = chunk // chunks_per_outer")
                write("begin = (chunk - outer * chunks_per_outer) * length")
                write("count = min(length, inner - begin)")
                if self.weight:
                    item = "(outer * inner + begin)"
                    write(f"{self.weight}_chunk = {self.weight}_scratch + {item} * SIZE")
                for array in self.table_arrays():
                    if array.per_item:
                        first = f"{array.name}_start + begin * {array.name}_item"
                        write(f"{array.name}_chunk = {first} + {self.offset(array)}")
                self.watch()
                self.chunk()
                for name in self.totals:
                    write(f"add_row({name}_sums, {name}_lanes, count)")
            ends = [f"fold_row({name}_sums)" for name in self.totals]
            ends += [] if self.watched is None else ["float64(wrong < 0)"]
            for number, end in enumerate(ends):
                write(f"store_total(partial_sums, group * {len(ends)} + {number}, {end})")
        write("return 0")

    def chunk(self) -> None:
        raise NotImplementedError

    def text(self) -> Text:
        self.head()
        for name in self.totals:
            self.reserve(f"{name}_sums", _SUM)
            self.lane_buffer(name)
        at = len(self.write.lines)
        self.buffers()
        if self.scratch_arrays:
            self.write.lines.insert(at, f"    scratch = work + {self.lane_bytes}")
        if self.weighing is not None:
            self.weigh(self.weighing)
        self.frame()
        head = "def kernel(first, last, table, work):"
        source = "\n".join([head, *self.write.lines, ""])
        return Text(source, tuple(self.places.items()), self.lane_bytes, self.scratch_arrays)

    def weigh(self, weighing: Weighing) -> None:
        """Compute each item's weight, the sum of the weights, and whether the formulas must answer.

        Weights are float64: products of float32 weights neither overflow nor underflow there. The
        weights of a mean are then scaled by a power of two to a size of about 1. The rounding error
        of their sum is added up beside it, see `_loops`.
        """
        write, given = self.write, {each.name: each for each in self.given}
        write("items = inner * (chunks // chunks_per_outer)")
        write(f"wide_scratch = work + {self.lane_bytes} + {self.scratch_arrays} * scratch_size")
        write(f"{self.weight}_scratch = wide_scratch + items * 8")
        write("total, error, size, odd, item = 0.0, 0.0, 0.0, 0.0, 0")
        y = self.inputs[1]
        reads = [*given.values()] + [y] * (weighing.domain is not None or weighing.ignores)
        with write.loop("for outer in range(chunks // chunks_per_outer):"):
            for array in reads:
                if array.per_item:
                    write(f"{array.name}_run = {array.name}_start + {self.offset(array)}")
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
                    arrays = len(self.table_arrays())
                    # after the addresses of the arrays and of the sums
                    ignored = HEADER + ARRAY_ENTRIES * arrays + len(self.numbers) + arrays + 1
                    with write.loop(f"if {y.name} == entry(table, {ignored}):"):
                        write("w = 0.0")
                with write.loop("if w != 0.0:"):
                    self.weigh_target(weighing, y, given)
                    write("part = total + w")
                    write("back = part - total")
                    write("error += (total - (part - back)) + (w - back)")
                    write("total = part")
                    write("size += abs(w)")
                write("store_wide(wide_scratch + item * 8, 0, w)")
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
                f"store_{self.weight}({self.weight}_scratch + item * SIZE, 0, "
                "real(load_wide(wide_scratch + item * 8, 0) * scale))"
            )
        for node in self.uniforms:
            if node.op == "input":
                write(f"{self.staged.name(node)} = real(divisor)")
            else:
                self.node(node)

    def weigh_target(self, weighing: Weighing, y: ArrayUse, given: Mapping[str, ArrayUse]) -> None:
        """Report a target out of its domain; multiply by the weight of its class."""
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

    def buffers(self) -> None:
        raise NotImplementedError

    def scalar(self, node: Node, i: str) -> None:
        """Compute or read an item's number."""
        name = self.staged.name(node)
        if node.op == "input":
            load = _load(self.arrays[name], "chunk", i, "item")
            self.write(f"{name} = {load if kind_of(node) == 'real' else f'label({load}, classes)'}")
            if name == self.watched_here():
                self.write(self.strayed(name))
        elif id(node) in self.staged.gathers:
            picked, index = self.staged.gathers[id(node)]
            self.write(f"{name} = {self.picked(picked, index, i)}")
        else:
            self.node(node)

    def picked(self, picked: Node, index: Node, i: str) -> str:
        raise NotImplementedError

    def store(self, array: ArrayUse, place: str, index: str, axis: str, node: Node) -> None:
        """Write an output's number."""
        into = self.target(array)
        at = _at(into, place, index, axis)
        self.write(f"store_{into.name}({at}, {self.staged.as_real(node)})")

    def item_outputs(self, i: str) -> None:
        for array, node in self.of_items:
            self.store(array, "chunk", i, "item", node)
        for name, node in self.totals.items():
            self.write(f"store_{name}({name}_lanes, {i}, {self.staged.as_real(node)})")

    def watch(self) -> None:
        """Note a target of a chunk that is outside its domain.

        In a loop of its own: LLVM would not vectorise each of the others with a condition inside.
        """
        if self.watched is None or self.watched_here():
            return
        y = self.inputs[1]
        with self.write.loop("for i in range(count):"):
            self.write(f"target = {_load(y, 'chunk', 'i', 'item')}")
            if self.watched.kind == "probabilities":
                self.write(self.strayed("target"))
            else:
                self.write(f"wrong = noted(wrong, {_outside(self.watched, 'target')})")

    def watched_here(self) -> str:
        """Return the name of a target that is looked at where it is read for the loss, or ""."""
        if self.watched is None or self.watched.kind != "probabilities":
            return ""
        name = self.inputs[1].name
        read = [n for step in self.staged.passes for n in step.scalars] + [*self.staged.final]
        return name if any(n.op == "input" and self.staged.name(n) == name for n in read) else ""

    def strayed(self, target: str) -> str:
        assert self.watched is not None
        return f"wrong = strayed(wrong, {target}, real({1 + self.watched.slack!r}))"

    def lane(self, step: Pass, lane: str) -> None:
        """Compute what a pass computes for one class of one item."""
        write, name = self.write, self.staged.name
        for node in step.read:
            write(f"{name(node)} = load_{name(node)}({name(node)}_block, {lane})")
        for node in step.elements:
            self.element(node)
        for node in step.keep:
            write(f"store_{name(node)}({name(node)}_block, {lane}, {name(node)})")
        for node in step.reductions:
            self.reduce(node, lane)

    def element(self, node: Node) -> None:
        raise NotImplementedError

    def reduce(self, node: Node, lane: str) -> None:
        """Update a lane's maximum, or store a term of its sum."""
        name, term = self.staged.name(node), node.args[0]
        if node.op == "max":
            largest = f"raised(load_{name}({name}_lanes, {lane}), {self.staged.as_real(term)})"
            self.write(f"store_{name}({name}_lanes, {lane}, {largest})")
        elif id(term) not in self.kept:
            self.write(f"store_{name}_term({name}_term_lanes, {lane}, {self.staged.as_real(term)})")

    def add_terms(self, step: Pass, add: str, count: str) -> None:
        """Add the terms that a pass stored, or kept, to the sums."""
        for node in step.reductions:
            if node.op == "sum":
                name, kept = self.staged.name(node), self.kept.get(id(node.args[0]))
                terms = f"{name}_term_lanes" if kept is None else f"{kept}_block"
                self.write(f"{add}({name}_sums, {terms}, {count})")


class Rows(_Writer):
    """One row after the other, lanes over its classes."""

    def buffers(self) -> None:
        for step in self.staged.passes:
            for node in step.reductions:
                if node.op == "max":
                    self.lane_buffer(self.staged.name(node))
                else:
                    self.sum_buffers(node)
        if any(n.op == "class_index" for step in self.staged.passes for n in step.elements):
            # Read, not counted: a counter of 32 bits beside the loop's own costs more.
            self.lane_buffer("lane_number", "index")
            with self.write.loop("for l in range(LANES):"):
                self.write("store_lane_number(lane_number_lanes, l, index(l))")
        self.kept_arrays()

    def chunk(self) -> None:
        write = self.write
        with write.loop("for i in range(count):"):
            for array in self.all_arrays:
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
        load = _load(array, "row", f"max(0, {at})", "class")
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
                self.lane(step, "l")
                for array, node in self.of_classes if last else ():
                    self.store(array, "block", "l", "class", node)
            self.add_terms(step, "add_row", "n")
        for node in step.reductions:
            if node.op == "max":
                write(f"{name(node)} = fold_max({name(node)}_lanes)")
            else:
                write(f"{name(node)} = real(fold_row({name(node)}_sums))")

    def blocks(self, step: Pass, last: bool) -> None:
        """Find where this block of classes begins in each array that the pass reads or writes."""
        names = [self.staged.name(n) for n in step.elements if n.op == "input"]
        if last:
            names += [self.target(array).name for array, _ in self.of_classes]
        for name in dict.fromkeys(names):
            self.write(f"{name}_block = {name}_row + j * {name}_class")
        for node in [*step.read, *step.keep]:
            name = self.staged.name(node)
            self.write(f"{name}_block = {name}_scratch + j * SIZE")
        if any(n.op == "class_index" for n in step.elements):
            self.write("first_class = index(j)")

    def element(self, node: Node) -> None:
        if node.op == "input":
            array = self.arrays[self.staged.name(node)]
            self.write(f"{array.name} = {_load(array, 'block', 'l', 'class')}")
        elif node.op == "class_index":
            self.write("class_index = index(first_class + load_lane_number(lane_number_lanes, l))")
        else:
            self.node(node)


class Tiles(_Writer):
    """Many items at once, lanes over items."""

    def buffers(self) -> None:
        staged = self.staged
        self.packed_inputs = [a for a in self.inputs if a.per_class and a.per_item]
        self.item_nodes = [*(node for _, node in self.of_items), *self.totals.values()]
        self.blocks = [step.scalars for step in staged.passes] + [staged.final]
        self.shared = self.shared_scalars()
        for node in self.shared:
            self.lane_buffer(self.lane_name(node), kind_of(node))
        for step in staged.passes:
            for node in step.reductions:
                if node.op == "sum":
                    self.sum_buffers(node)
        for array in [*self.packed_inputs, *(array for array, _ in self.of_classes)]:
            self.scratch_array(f"{array.name}_packed")
        self.kept_arrays()

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
        for _, node in self.of_classes:
            use(node, -1)
        for node in self.item_nodes:
            use(node, len(self.blocks) - 1)
        return [n for n in shared.values() if n.op != "constant"]

    def chunk(self) -> None:
        write = self.write
        for array in self.packed_inputs:
            self.pack(
                array,
                f"store_{array.name}_packed({array.name}_packed_scratch, c * LANES + i, "
                f"load_{array.name}({array.name}_chunk + i * {array.name}_item"
                f" + c * {array.name}_class, 0))",
            )
        for number, step in enumerate(self.staged.passes):
            self.block(number)
            self.step(step, number == len(self.staged.passes) - 1)
        for array, _ in self.of_classes:
            into = self.target(array)
            origin = "chunk" if into.per_item else "start"
            self.pack(
                into,
                f"store_{into.name}({into.name}_{origin} + i * {into.name}_item"
                f" + c * {into.name}_class, 0, "
                f"load_{array.name}_packed({array.name}_packed_scratch, c * LANES + i))",
            )
        if self.staged.final or self.item_nodes:
            with write.loop("for i in range(count):"):
                here = {id(n) for n in self.staged.final}
                used = [a for n in self.staged.final for a in self.arguments(n)]
                self.read_shared([*used, *self.item_nodes], here)
                for node in self.staged.final:
                    self.scalar(node, "i")
                self.item_outputs("i")

    def pack(self, array: ArrayUse, line: str) -> None:
        """Copy between an array and its scratch array, along the array's shorter stride."""
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
        """Return the name of the scratch memory for a number of each item."""
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
        load = f"load_{name}_packed({name}_packed_scratch, max(0, {at}) * LANES + {i})"
        return f"where({at} >= 0, {load}, real(0.0))"

    def step(self, step: Pass, last: bool) -> None:
        write, name = self.write, self.staged.name
        for node in step.reductions:
            clear = "clear_max" if node.op == "max" else "clear_sums"
            write(f"{clear}({name(node)}_{'lanes' if node.op == 'max' else 'sums'})")
        with write.loop("for c in range(classes):"):
            for node in [*step.read, *step.keep]:
                write(f"{name(node)}_block = {name(node)}_scratch + c * (LANES * SIZE)")
            packed = [name(n) for n in step.elements if n.op == "input" and n.per_item]
            outputs = self.of_classes if last else []
            for packed_name in [*packed, *(array.name for array, _ in outputs)]:
                write(f"{packed_name}_block = {packed_name}_packed_scratch + c * (LANES * SIZE)")
            if any(n.op == "class_index" for n in step.elements):
                write("class_index = index(c)")
            with write.loop("for i in range(count):"):
                used = [a for n in step.elements for a in n.args]
                self.read_shared([*used, *(node for _, node in outputs)], set())
                self.lane(step, "i")
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
                self.write(f"{array.name} = {_load(array, 'start', 'c', 'class')}")
        elif node.op != "class_index":
            self.node(node)


def _outside(domain: Domain, y: str) -> str:
    """Return the condition that a target is outside its domain. A NaN is not."""
    if domain.kind == "signs":
        return f"logical_and({y} != -1, {y} != 1)"
    if domain.kind == "labels":
        return f"logical_or({y} < 0, {y} >= classes)"
    return f"logical_or({y} < real({-domain.slack!r}), {y} > real({1 + domain.slack!r}))"


def _at(array: ArrayUse, place: str, index: str, axis: str) -> str:
    """Return address and index of an element, as load and store take them."""
    along = "class" if array.per_class else "item"
    if array.contiguous and axis == along:
        return f"{array.name}_{place}, {index}"
    index = f"({index})" if " " in index else index
    return f"{array.name}_{place} + {index} * {array.name}_{axis}, 0"


def _load(array: ArrayUse, place: str, index: str, axis: str) -> str:
    return f"load_{array.name}({_at(array, place, index, axis)})"
