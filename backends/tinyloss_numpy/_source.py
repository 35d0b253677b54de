"""A staged program as the text of a loop.

Two shapes of loop serve every loss. Both compute with vectors of LANES numbers, whatever vectors
the machine has, and the text fixes the order in which their sums are combined. So the result has
the same bits for any number of threads.

    rows    lanes are classes that are contiguous: one row after the other. For long rows.
    tiles   lanes are items. For losses of elements, and for rows that are short or strided: these
            are copied to scratch memory, class by class.

What is one number for each item is computed for LANES items at once in both. Where fewer numbers
are left than a vector has, they are copied to a pad, and results from it.

Both go over items in chunks; a group of chunks makes one partial sum.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from tinyloss.backend import Domain, Weighing
from tinyloss.compiler.factors import SCALED
from tinyloss.compiler.kernels import ArrayUse, Staged, Writer
from tinyloss.compiler.passes import Pass, kind_of
from tinyloss.compiler.program import ALONG, Node, compared_index, in_order, inside, needed_of
from tinyloss_numpy._along import Along, seen_elsewhere

DIMENSIONS = 6
"""The most outer dimensions that a table describes."""
HEADER = 8 + DIMENSIONS
ARRAY_ENTRIES = 2 + DIMENSIONS
"""An array's strides from item to item and from class to class, then its outer strides."""
LANES = {"float32": 16, "float64": 8}
"""Two vectors of AVX2, one of AVX-512, four of NEON."""
TERMS = {"float32": 4, "float64": 1}
"""Terms of a lane that are added as numbers, before their sum is widened.

Widening each costs more than all else about it. That rounds three times, 1.5 eps at most."""

SIZES = {
    "bool": 1,
    "int8": 1,
    "uint8": 1,
    "int16": 2,
    "uint16": 2,
    "float16": 2,
    "bfloat16": 2,
    "int32": 4,
    "uint32": 4,
    "float32": 4,
    "int64": 8,
    "uint64": 8,
    "float64": 8,
}
"""Bytes of a number in memory."""

_HEADER_NAMES = (
    "classes",
    "inner",
    "length",
    "chunks_per_outer",
    "chunks",
    "chunks_per_group",
    "scratch_size",
    "batch",
)
CACHE_LINE = 64
DIGITS = 4 * 256
"""Counters of a sort: of each byte of 32 bits, of each that it may be."""
WORK = 16 * 8
"""Bytes of work for each class of a row, of what pairs fall short by (`_shortfalls`)."""
_VECTORS_AHEAD = 4
"""How far ahead runs of items are fetched for each class (measured: 4 to 16 are alike)."""
AHEAD = 2**16
"""Bytes of the longest row that is fetched ahead: the second-level cache holds four of them."""


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
    lanes: int = 0
    """Lanes of its vectors, if not LANES of its dtype."""
    elements: bool = False
    """Whether it is of elements: all its lines, with all their constants, are one loop."""


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


class _Writer(Writer):
    """What both shapes share."""

    larger = "maximum"
    suffix = ""
    """What names of numbers of LANES items have that other loops read one by one."""

    def __init__(
        self,
        staged: Staged,
        inputs: Sequence[ArrayUse],
        outputs: Sequence[ArrayUse],
        real: str,
        weighing: Weighing | None,
        watched: Domain | None,
        lanes: int,
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
        self.near = False
        """Whether the lines that are written now run where maxima are small."""
        self.places: dict[str, tuple[str, str]] = {}
        self.lane_bytes = 0
        self.scratch_arrays = 0
        self.kept = {id(n): self.staged.name(n) for n in self.staged.kept}
        for array in self.given:
            kind = "bool" if array.name == "given_where" else "float64"
            self.places[array.name] = (array.dtype, kind)
        if weighing is not None:
            self.places["wide"] = ("float64", "float64")
        for array in self.all_arrays:
            self.places[array.name] = (array.dtype, "int64" if array.role.integer else real)
        items = {
            key: f"{name}{self.suffix}"
            for node in self.item_nodes()
            if (name := self.staged.names.get(key := id(node))) is not None
        }
        self.items = replace(self.staged, names=self.staged.names | items)
        """The passes with the names of what is computed for LANES items at once."""

    def item_nodes(self) -> list[Node]:
        """Return what is one number for each item."""
        reduced = [n for step in self.staged.passes for n in step.reductions]
        blocks = [n for step in self.staged.passes for n in step.scalars] + self.staged.final
        return [n for n in (*reduced, *blocks) if n.per_item]

    # Scratch memory

    def lane_buffer(self, name: str, kind: str = "real") -> None:
        """Reserve memory for a vector."""
        dtype = {"real": self.real, "index": "int32", "bool": "bool"}[kind]
        self.places[name] = (dtype, dtype)
        self.reserve(f"{name}_lanes")

    def reserve(self, address: str) -> None:
        self.write(f"{address} = work + {self.lane_bytes}")
        self.lane_bytes += 8 * self.lanes

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
        text = self.staged.text(node)
        if self.near and node.op == SCALED:
            text = text.replace(SCALED, f"{SCALED}_near", 1)
        self.write(f"{self.staged.name(node)} = {text}")

    def head(self) -> None:
        """Read the table of arguments."""
        write = self.write
        for at, name in enumerate(_HEADER_NAMES):
            write(f"{name} = entry(table, {at})")
        if self.weight:
            write(f"{self.weight}_item = SIZE")
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
        """Write the loops over groups, chunks and vectors of items around the body."""
        write = self.write
        with write.loop("for group in range(first, last):"):
            for name in self.totals:
                write(f"{name}_sums = no_sums(0.0)")
            if self.watched is not None:
                write(f"wrong = spread(as_int({self.watched_number()}))")
            chunks = "range(group * chunks_per_group, min(chunks, (group + 1) * chunks_per_group))"
            with write.loop(f"for chunk in {chunks}:"):
                write("outer = chunk // chunks_per_outer")
                write("begin = (chunk - outer * chunks_per_outer) * length")
                write("count = min(length, inner - begin)")
                if self.weight:
                    item = "(outer * inner + begin)"
                    write(f"{self.weight}_chunk = {self.weight}_scratch + {item} * SIZE")
                for array in self.table_arrays():
                    if array.per_item and array not in self.given:
                        first = f"{array.name}_start + begin * {array.name}_item"
                        write(f"{array.name}_chunk = {first} + {self.offset(array)}")
                self.vectors()
            ends = [f"folded({name}_sums)" for name in self.totals]
            ends += [] if self.watched is None else ["negative(wrong)"]
            for number, end in enumerate(ends):
                write(f"store_total(partial_sums, group * {len(ends)} + {number}, {end})")
        write("return 0")

    def vectors(self) -> None:
        """Write the loop over the items of a chunk: LANES at once, or fewer whose rows are long."""
        write = self.write
        if self.staged.passes or TERMS[self.real] == 1 or not self.totals:
            with write.loop("for i in range(0, count, batch):"):
                write("n = min(batch, count - i)")
                self.vector()
                for name, node in self.totals.items():
                    share = f"leading({self.items.as_real(node)}, n)"
                    write(f"{name}_sums = added({name}_sums, {share})")
            return
        with write.loop("for block in range(0, count, BLOCK):"):
            for name in self.totals:
                write(f"{name}_part = spread(real(0.0))")
            with write.loop("for i in range(block, min(block + BLOCK, count), LANES):"):
                write("n = min(LANES, count - i)")
                self.vector()
                for name, node in self.totals.items():
                    write(f"{name} = {self.items.as_real(node)}")
                with write.loop("if n < LANES:"):
                    for name in self.totals:
                        write(f"{name} = leading({name}, n)")
                for name in self.totals:
                    write(f"{name}_part = {name}_part + {name}")
            for name in self.totals:
                write(f"{name}_sums = added({name}_sums, {name}_part)")

    def vector(self) -> None:
        """Write what is done for some items at once."""
        for array in self.all_arrays:
            if array.per_item:
                self.write(f"{array.name}_at = {array.name}_chunk + i * {array.name}_item")
        for array in self.read_arrays():
            self.fetch(array, f"{array.name}_at", "n", f"{array.name}_item")
        if self.watched is not None:
            self.watch(self.watched)
        self.waiting: list[Node] = []
        self.passes()
        for node in [*self.waiting, *self.staged.final]:
            self.scalar(node)
        for array, node in self.of_items:
            name = self.target(array).name
            self.put(array, self.items.as_real(node), f"{name}_at", "n", f"{name}_item")

    def read_arrays(self) -> list[ArrayUse]:
        """Return the inputs of one number for each item that are read."""
        read = [n for n in self.item_nodes() if n.op == "input"]
        names = {self.staged.name(n) for n in read}
        if self.watched is not None:
            names.add(self.inputs[1].name)
        return [a for a in self.inputs if a.name in names]

    def fetch(self, array: ArrayUse, place: str, count: str, step: str) -> None:
        """Let an input's numbers lie side by side where a vector is taken from.

        `count` is how many there are, if not certainly LANES.
        """
        name, write = array.name, self.write
        pack = f"{name}_here = pack_{name}({place}, {step}, {count}, {name}_pad)"
        if not array.contiguous:
            write(pack)
            return
        write(f"{name}_here = {place}")
        if count:
            with write.loop(f"if {count} < LANES:"):
                write(pack)

    def put(self, array: ArrayUse, value: str, place: str, count: str, step: str) -> None:
        """Write an output's numbers."""
        name, write = self.target(array).name, self.write
        if not count:
            write(f"put_{name}({place}, {value})")
            return
        write(f"{name}_new = {value}")
        some = f"if {count} < LANES:" if self.target(array).contiguous else "if True:"
        with write.loop(some):
            write(f"put_{name}({name}_pad, {name}_new)")
            write(f"unpack_{name}({place}, {step}, {count}, {name}_pad)")
        if self.target(array).contiguous:
            with write.loop("else:"):
                write(f"put_{name}({place}, {name}_new)")

    def watched_number(self) -> str:
        assert self.watched is not None
        integer = self.inputs[1].role.integer
        return "0.0" if integer or self.real == "float64" else "real(0.0)"

    def watch(self, domain: Domain) -> None:
        """Note a target that is outside its domain."""
        y = self.inputs[1].name
        self.write(f"target = take_{y}({y}_here)")
        if domain.kind == "probabilities":
            self.write(f"wrong = strayed(wrong, target, real({1 + domain.slack!r}))")
        else:
            self.write(f"wrong = noted(wrong, {_outside(domain, 'target')})")

    def text(self) -> Text:
        self.head()
        for array in self.all_arrays:
            if array.per_item or array.per_class:
                self.reserve(f"{array.name}_pad")
        at = len(self.write.lines)
        self.buffers()
        if self.scratch_arrays:
            self.write.lines.insert(at, f"    scratch = work + {self.lane_bytes}")
        if self.weighing is not None:
            self.weigh(self.weighing)
        self.frame()
        head = "def kernel(first, last, table, work):"
        source = "\n".join([head, *self.write.lines, ""])
        sizes = self.lane_bytes, self.scratch_arrays, self.lanes
        return Text(source, tuple(self.places.items()), *sizes, not self.staged.passes)

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
                        write(f"{array.name}_one = load_{array.name}({place})")
                if "given_weight" in given:
                    write("w = given_weight_one")
                if "given_where" in given:
                    with write.loop("if not given_where_one:"):
                        write("w = 0.0")
                if weighing.ignores:
                    arrays = len(self.table_arrays())
                    # after the addresses of the arrays and of the sums
                    ignored = HEADER + ARRAY_ENTRIES * arrays + len(self.numbers) + arrays + 1
                    with write.loop(f"if {y.name}_one == entry(table, {ignored}):"):
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
        write, domain, target = self.write, weighing.domain, f"{y.name}_one"
        if "given_class_weight" in given:
            at = f"given_class_weight_start + {target} * given_class_weight_class, 0"
            with write.loop(f"if {_outside(Domain('labels'), target)}:"):
                write("odd = 1.0")
            with write.loop("else:"):
                write(f"w *= load_given_class_weight({at})")
        elif domain is not None:
            with write.loop(f"if {_outside(domain, target)}:"):
                write("odd = 1.0")

    def buffers(self) -> None:
        raise NotImplementedError

    def passes(self) -> None:
        raise NotImplementedError

    def scalar(self, node: Node) -> None:
        """Compute or read a number of each item, LANES at once."""
        name = self.items.name(node)
        if node.op == "input":
            own = self.staged.name(node)
            load = f"take_{own}({own}_here)"
            self.write(f"{name} = {load if kind_of(node) == 'real' else f'label({load}, classes)'}")
        elif id(node) in self.staged.gathers:
            self.pick(node)
        else:
            self.write(f"{name} = {self.items.text(node)}")

    def used_in(self, step: Pass, last: bool) -> list[Node]:
        """Return the items' numbers that a pass's loop over the classes reads."""
        used = [a for n in (*step.elements, *step.reductions) for a in needed_of(n)]
        if last:
            used += [n for _, n in self.of_classes]
        return [*{id(n): n for n in used if n.per_item and not n.per_class}.values()]

    def scalars(self, step: Pass, last: bool) -> None:
        """Compute the items' numbers that a pass needs; the others may be needed later.

        What is picked from a row is best read after a pass has been over it, unless that pass
        overwrites the row.
        """
        gathers = self.staged.gathers
        self.waiting += step.scalars
        lost = {self.target(array).name for array, _ in self.of_classes} if last else set[str]()
        picked = [
            node
            for node in self.waiting
            if id(node) in gathers and self.staged.name(gathers[id(node)][0]) in lost
        ]
        needed = {
            id(n)
            for n in in_order(
                [*self.used_in(step, last), *picked],
                lambda n: gathers[id(n)][1:] if id(n) in gathers else n.args,
            )
        }
        for node in self.waiting:
            if id(node) in needed:
                self.scalar(node)
        self.waiting = [n for n in self.waiting if id(n) not in needed]

    def pick(self, node: Node) -> None:
        """Read an input at one class of each item."""
        raise NotImplementedError

    def picks(self, node: Node, line: str) -> None:
        """Read an input at one class of each item, the line that reads it given."""
        name, index = self.items.name(node), self.staged.gathers[id(node)][1]
        own, at = self.staged.name(node), self.lane_name(index)
        self.write(f"put_{at}({at}_lanes, {self.items.name(index)})")
        with self.write.loop("for r in range(n):"):
            self.write(f"picked = max(0, load_{at}({at}_lanes, r))")
            self.write(f"store_{own}({own}_lanes, r, {line})")
        self.write(f"{name} = take_{own}({own}_lanes)")
        self.write(f"{name} = where({self.items.name(index)} >= index(0), {name}, real(0.0))")

    def pick_buffers(self) -> None:
        """Reserve memory for what is picked, and for where."""
        picks = [n for n in self.item_nodes() if id(n) in self.staged.gathers]
        for node in picks:
            self.lane_buffer(self.staged.name(node))
        for index in {id(i): i for n in picks for i in (self.staged.gathers[id(n)][1],)}.values():
            self.lane_buffer(self.lane_name(index), kind_of(index))

    def lane_name(self, node: Node) -> str:
        """Return the name of the scratch memory for a number of each item."""
        name = self.staged.name(node)
        return f"{name}_each" if node.op == "input" else name

    def start(self, step: Pass) -> None:
        """Clear a pass's maxima and sums."""
        for node in step.reductions:
            name = self.staged.name(node)
            first = "spread(-inf)" if node.op == "max" else "no_sums(0.0)"
            self.write(f"{name}_{'most' if node.op == 'max' else 'sums'} = {first}")

    def classes(self, step: Pass, stop: str, stride: str, body: Callable[[], None]) -> None:
        """Write the loop of a pass over classes up to a stop, and what it adds up."""
        write, name = self.write, self.staged.name
        sums = [name(node) for node in step.reductions if node.op == "sum"]
        if not sums or TERMS[self.real] == 1:
            with write.loop(f"for k in range(0, {stop}, {stride}):"):
                body()
            return
        block = "BLOCK" if stride == "LANES" else "TERMS"
        with write.loop(f"for block in range(0, {stop}, {block}):"):
            for each in sums:
                write(f"{each}_part = spread(real(0.0))")
            with write.loop(f"for k in range(block, min(block + {block}, {stop}), {stride}):"):
                body()
            for each in sums:
                write(f"{each}_sums = added({each}_sums, {each}_part)")

    def near_or_far(self, step: Pass, loops: Callable[[], None]) -> None:
        """Write the loops of a pass: twice, if small maxima have a faster function."""
        limits = {self.staged.name(n.args[1]) for n in step.elements if n.op == SCALED}
        if limits:
            self.near = True
            with self.write.loop(f"if {' and '.join(f'within({m})' for m in sorted(limits))}:"):
                loops()
            self.near = False
            with self.write.loop("else:"):
                loops()
        else:
            loops()

    def elements(self, step: Pass, last: bool, count: str = "") -> None:
        """Compute what a pass computes for a vector; `count` is as in `put`."""
        write, name = self.write, self.staged.name
        for node in step.read:
            if node.op in ALONG:
                self.along_row(node)
            else:
                write(f"{name(node)} = take_{name(node)}({self.kept_at(node)})")
        for nodes in step.in_turn():
            if nodes[0].op == "pair_sum":
                self.pairs(nodes)
            else:
                self.element(nodes[0], count)
        for node in step.keep:
            write(f"put_{name(node)}({self.kept_at(node)}, {self.staged.as_real(node)})")
        for node in step.reductions:
            term = self.staged.as_real(node.args[0])
            if node.op == "max":
                write(f"{name(node)}_most = {self.larger}({name(node)}_most, {term})")
            else:
                self.add(name(node), term, count)
        for array, node in self.of_classes if last else ():
            self.put_class(array, self.staged.as_real(node), count)

    def add(self, total: str, term: str, count: str) -> None:
        """Add a vector's terms to a sum of lanes; `count` is as in `put`."""
        if count:
            self.write(f"{total}_sums = added({total}_sums, among({term}, late - j, {count}))")
        elif TERMS[self.real] == 1:
            self.write(f"{total}_sums = added({total}_sums, {term})")
        else:
            self.write(f"{total}_part = {total}_part + {term}")

    def pairs(self, sums: Sequence[Node]) -> None:
        """Write the loop over the other class of each pair of a vector's."""
        write, name, terms = self.write, self.staged.name, TERMS[self.real]
        for node in sums:
            write(f"{name(node)}_sums = no_sums(0.0)")
        with write.loop(f"for part in range(0, classes, {terms}):"):
            for node in sums:
                write(f"{name(node)}_part = spread(real(0.0))")
            with write.loop(f"for other in range(part, min(part + {terms}, classes)):"):
                for node in inside(sums):
                    if node.op == "other":
                        self.other(node)
                    else:
                        self.node(node)
                for node in sums:
                    term = self.staged.as_real(node.args[0])
                    write(f"{name(node)}_part = {name(node)}_part + {term}")
            for node in sums:
                write(f"{name(node)}_sums = added({name(node)}_sums, {name(node)}_part)")
        for node in sums:
            write(f"{name(node)} = rounded({name(node)}_sums)")

    def other(self, node: Node) -> None:
        """Read a node at the other class of a pair."""
        raise NotImplementedError

    def read_there(self, step: Pass) -> list[ArrayUse]:
        """Return the inputs that a pass reads at the other class of a pair."""
        read = [n.args[0] for n in inside(step.pairs) if n.op == "other"]
        return [self.arrays[self.staged.name(n)] for n in read if n.op == "input"]

    def ahead(self, step: Pass, last: bool) -> list[tuple[ArrayUse, str]]:
        """Return the arrays that a pass brings into the cache for others, and how.

        The pass is the one that computes most, so that memory and arithmetic do not wait for each
        other: the first pass over the next rows finds them there, the last one its output.
        """
        passes = self.staged.passes
        if len(passes) == 1 or step is not max(passes, key=lambda each: len(each.elements)):
            return []
        read = [self.arrays[self.staged.name(n)] for n in passes[0].elements if n.op == "input"]
        found = [(array, "ahead") for array in read]
        if not last:
            found += [(self.target(array), "ahead_to_write") for array, _ in self.of_classes]
        return [each for each in found if each[0].per_item]

    def along_row(self, node: Node) -> None:
        """Read what was sorted or joined before, or is at another place of a row."""
        raise NotImplementedError

    def kept_at(self, node: Node) -> str:
        raise NotImplementedError

    def element(self, node: Node, count: str) -> None:
        raise NotImplementedError

    def put_class(self, array: ArrayUse, value: str, count: str) -> None:
        raise NotImplementedError


class Rows(_Writer):
    """One row after the other, lanes over its classes."""

    larger = "raised"
    suffix = "_rows"

    def buffers(self) -> None:
        self.used = [
            self.used_in(step, step is self.staged.passes[-1]) for step in self.staged.passes
        ]
        self.stored: set[int] = set()
        self.careful = self.homed = False
        self.pick_buffers()
        shared = [n for step in self.staged.passes for n in step.reductions]
        shared += [n for used in self.used for n in used]
        for node in {id(n): n for n in shared}.values():
            if self.lane_name(node) not in self.places:
                self.lane_buffer(self.lane_name(node), kind_of(node))
        self.write(f"row_bytes = (classes * SIZE + {CACHE_LINE - 1}) & -{CACHE_LINE}")
        self.write("whole = classes - classes % LANES")
        self.kept_arrays()

    def passes(self) -> None:
        last = len(self.staged.passes) - 1
        for number, step in enumerate(self.staged.passes):
            self.scalars(step, number == last)
            self.step(step, self.used[number], number == last)

    def pick(self, node: Node) -> None:
        array = self.arrays[self.staged.name(self.staged.gathers[id(node)][0])]
        row = (
            f"{array.name}_at + r * {array.name}_item" if array.per_item else f"{array.name}_start"
        )
        self.picks(node, f"load_{array.name}({row}, picked)")

    def step(self, step: Pass, used: Sequence[Node], last: bool) -> None:
        write, name = self.write, self.staged.name
        for node in used:
            if node.op != "constant" and (id(node) not in self.stored):
                self.stored.add(id(node))
                lane = self.lane_name(node)
                write(f"put_{lane}({lane}_lanes, {self.items.name(node)})")
        with write.loop("for r in range(n):"):
            arrays = [self.arrays[name(n)] for n in step.elements if n.op == "input"]
            arrays += self.read_there(step)
            arrays += [self.target(array) for array, _ in self.of_classes] if last else []
            for array in {a.name: a for a in arrays}.values():
                place = f"{array.name}_at + r * {array.name}_item"
                write(f"{array.name}_row = {place if array.per_item else f'{array.name}_start'}")
            for node in {id(n): n for n in (*step.read, *step.keep, *step.others)}.values():
                write(f"{name(node)}_row = {name(node)}_scratch + r * row_bytes")
            for node in used:
                if node.op != "constant":
                    lane = self.lane_name(node)
                    write(f"{name(node)} = load_{lane}({lane}_lanes, r)")
            self.start(step)
            ahead = self.fetched_ahead(step, last)
            home = self.home(step)
            self.homed = home is not None
            if home is None:
                write("home = whole")
            else:
                at = f"int64({self.staged.name(home)})"
                write(f"home = {at} & -LANES if 0 <= {at} < whole else whole")
            write("stop = whole - LANES if home < whole else whole")

            def body() -> None:
                write("j = k" if home is None else "j = k + LANES if k >= home else k")
                for place, fetch in ahead.items():
                    write(f"{fetch}({place})")
                self.elements(step, last)

            again = self.may_go_again(step, last)

            def all_of_them() -> None:
                self.classes(step, "stop", "LANES", body)
                # What is left: the index's own vector, and the last, if it is not a whole one. That
                # begins as many classes earlier as it takes; only a short row has none.
                self.careful = True
                with write.loop("for late in range(home, classes, max(LANES, whole - home)):"):
                    first = "min(late, max(0, classes - LANES))" if again else "late"
                    write(f"j = {first}")
                    write("rest = min(LANES, classes - j)")
                    self.elements(step, last, "rest")
                self.careful = False

            self.near_or_far(step, all_of_them)
            for node in step.reductions:
                lane = self.lane_name(node)
                most = f"highest({name(node)}_most)"
                result = most if node.op == "max" else f"real(folded({name(node)}_sums))"
                write(f"store_{lane}({lane}_lanes, r, {result})")
        for node in step.reductions:
            lane = self.lane_name(node)
            write(f"{self.items.name(node)} = take_{lane}({lane}_lanes)")

    def fetched_ahead(self, step: Pass, last: bool) -> dict[str, str]:
        """Return the places that are fetched ahead, by what fetches them.

        Not of so long rows that they would be gone again.
        """
        found: dict[str, str] = {}
        for array, fetch in self.ahead(step, last):
            name, row = array.name, "(r + batch)" if fetch == "ahead" else "r"
            here, there = (f"{name}_at + {each} * {name}_item" for each in ("r", row))
            self.write(f"{name}_{fetch} = {there} if row_bytes <= AHEAD else {here}")
            found[f"{name}_{fetch} + j * {SIZES[array.dtype]}"] = fetch
        return found

    def may_go_again(self, step: Pass, last: bool) -> bool:
        """Return whether classes may be computed twice: no input of them is overwritten."""
        taken = {array.overwrites for array, _ in self.of_classes} if last else set[str]()
        return not any(n.op == "input" and self.staged.name(n) in taken for n in step.elements)

    def home(self, step: Pass) -> Node | None:
        """Return the index of one class for each item, if it is the only one compared with.

        All vectors of classes but the one that has it need no comparison.
        """
        found = {id(i): i for n in step.elements if (i := compared_index(n)) is not None}
        return next(iter(found.values())) if len(found) == 1 else None

    def kept_at(self, node: Node) -> str:
        return f"{self.staged.name(node)}_row + j * SIZE"

    def element(self, node: Node, count: str) -> None:
        if node.op == "input":
            array = self.arrays[self.staged.name(node)]
            self.fetch(array, self.place(array), count, f"{array.name}_class")
            self.write(f"{array.name} = take_{array.name}({array.name}_here)")
        elif node.op == "class_index":
            self.write("class_index = numbered(index(j))")
        elif not self.careful and self.homed and compared_index(node) is not None:
            self.write(f"{self.staged.name(node)} = spread(False)")
        else:
            self.node(node)

    def other(self, node: Node) -> None:
        name, arg = self.staged.name(node), node.args[0]
        if arg.op == "class_index":
            self.write(f"{name} = index(other)")
        else:
            own = self.staged.name(arg)
            self.write(f"{name} = load_{own}({own}_row, other)")

    def place(self, array: ArrayUse) -> str:
        """Return where a row's classes from j on lie: side by side."""
        return f"{array.name}_row + j * {SIZES[array.dtype]}"

    def put_class(self, array: ArrayUse, value: str, count: str) -> None:
        into = self.target(array)
        self.put(array, value, self.place(into), count, f"{into.name}_class")


class Tiles(_Writer):
    """Many items at once, lanes over items."""

    def buffers(self) -> None:
        self.pick_buffers()
        self.packed_inputs = [a for a in self.inputs if a.per_class and a.per_item]
        for array in self.packed_inputs:
            self.scratch_array(f"{array.name}_packed")
        self.kept_arrays()
        self.along = Along(self.staged, self.write, self.scratch_array)
        if self.along.orders:
            for name in (*self.along.orders.values(), "sorting"):
                self.write(f"{name} = scratch + {self.scratch_arrays} * scratch_size")
                self.scratch_arrays += 1
            self.write(f"digits = work + {self.lane_bytes}")
            self.lane_bytes += 8 * DIGITS
        if self.along.pairs:
            self.write(f"pairing = scratch + {self.scratch_arrays} * scratch_size")
            self.scratch_arrays += -(-WORK // (self.lanes * SIZES[self.real]))
        # what the last pass reads back is not needed any more where it writes
        elsewhere = seen_elsewhere(self.staged.program.nodes())
        free = [
            self.staged.name(n)
            for step in self.staged.passes[-1:]
            for n in step.read
            if n.op not in ALONG and id(n) not in elsewhere
        ]
        self.packed: dict[str, str] = {}
        """Names of the scratch arrays of outputs."""
        for array, _ in self.of_classes:
            self.packed[array.name] = free.pop() if free else f"{array.name}_packed"
            if self.packed[array.name] not in self.places:
                self.scratch_array(self.packed[array.name])

    def passes(self) -> None:
        write, name = self.write, self.staged.name
        for array in self.packed_inputs:
            self.pack(
                "turn",
                array,
                f"{array.name}_packed",
                f"store_{array.name}_packed({array.name}_packed_scratch, c * LANES + r, "
                f"load_{array.name}({array.name}_at + r * {array.name}_item"
                f" + c * {array.name}_class, 0))",
            )
        last = len(self.staged.passes) - 1
        for number, step in enumerate(self.staged.passes):
            self.scalars(step, number == last)
            self.along.before(step)
            self.start(step)

            fetched = self.ahead(step, number == last)
            for array, fetch in fetched:
                # A vector of items takes a cache line for each class, and those of several vectors
                # are fetched at once where a class has a run of memory of its own.
                own, beside = array.name, f"{array.name}_item == {SIZES[array.dtype]}"
                write(f"{own}_line = {own}_class if {beside} else LANES * SIZE")
                vectors = f"({_VECTORS_AHEAD} if {beside} else 1)" if fetch == "ahead" else "0"
                write(f"{own}_{fetch} = {own}_at + {vectors} * LANES * {own}_item")

            def body(
                step: Pass = step,
                last: bool = number == last,
                fetched: Sequence[tuple[ArrayUse, str]] = fetched,
            ) -> None:
                write("j = k")
                for array, fetch in fetched:
                    write(f"{fetch}({array.name}_{fetch} + j * {array.name}_line)")
                self.elements(step, last)

            def loops(step: Pass = step, body: Callable[[], None] = body) -> None:
                self.classes(step, "classes", "1", body)

            self.near_or_far(step, loops)
            for node in step.reductions:
                result = f"{name(node)}_most" if node.op == "max" else f"rounded({name(node)}_sums)"
                write(f"{name(node)} = {result}")
        for array, _ in self.of_classes:
            into, packed = self.target(array), self.packed[array.name]
            origin = "at" if into.per_item else "start"
            self.pack(
                "unturn",
                into,
                packed,
                f"store_{into.name}({into.name}_{origin} + r * {into.name}_item"
                f" + c * {into.name}_class, 0, "
                f"load_{packed}({packed}_scratch, c * LANES + r))",
            )

    def along_row(self, node: Node) -> None:
        self.along.read(node)

    def pack(self, turn: str, array: ArrayUse, packed: str, line: str) -> None:
        """Copy from or to a scratch array: by pairs, squares, vectors, or the shorter stride.

        But not by loops over a few classes, which cost more than they copy.
        """
        write, name = self.write, array.name
        size = SIZES[array.dtype]
        items, classes = "for r in range(n):", "for c in range(classes):"
        scratch = f"{packed}_scratch + (c * LANES + r) * SIZE"
        whole = "n == LANES >= TURNED and classes >= TURNED"
        pairs = f"n == LANES and classes == 2 and {name}_item == {2 * size}"
        with write.loop(f"if {pairs} and {name}_class == {size}:"):
            part = "part" if turn == "turn" else "unpart"
            write(f"{part}_{name}({name}_at, {packed}_scratch)")
        with write.loop(f"elif {whole} and {name}_class == {size}:"):
            rows, columns = (
                "for r in range(0, LANES, TURNED):",
                "for k in range(0, classes, TURNED):",
            )
            with write.loop(rows), write.loop(columns):
                write("c = min(k, classes - TURNED)")
                place = f"{name}_at + r * {name}_item + c * {size}"
                write(f"{turn}_{name}({place}, {name}_item, {scratch})")
        beside = f"elif n == LANES and {name}_item == {size}:"
        with write.loop(beside), write.loop(classes):
            here, there = f"{name}_at + c * {name}_class", f"{packed}_scratch + c * (LANES * SIZE)"
            if turn == "turn":
                write(f"put_{packed}({there}, take_{name}({here}))")
            else:
                write(f"put_{name}({here}, take_{packed}({there}))")
        closer = f"elif classes > n and closer({name}_class, {name}_item):"
        with write.loop(closer), write.loop(items), write.loop(classes):
            write(line)
        with write.loop("else:"), write.loop(classes), write.loop(items):
            write(line)

    def pick(self, node: Node) -> None:
        array = self.arrays[self.staged.name(self.staged.gathers[id(node)][0])]
        if array.per_item:
            packed = f"load_{array.name}_packed({array.name}_packed_scratch"
            self.picks(node, f"{packed}, picked * LANES + r)")
        else:
            place = f"{array.name}_start + picked * {array.name}_class"
            self.picks(node, f"load_{array.name}({place}, 0)")

    def kept_at(self, node: Node) -> str:
        return f"{self.staged.name(node)}_scratch + j * (LANES * SIZE)"

    def element(self, node: Node, count: str) -> None:
        if node.op == "input":
            array = self.arrays[self.staged.name(node)]
            name = array.name
            if array.per_item:
                packed = f"{name}_packed_scratch + j * (LANES * SIZE)"
                self.write(f"{name} = take_{name}_packed({packed})")
            else:
                self.write(f"{name} = load_{name}({name}_start + j * {name}_class, 0)")
        elif node.op == "class_index":
            self.write("class_index = index(j)")
        else:
            self.node(node)

    def other(self, node: Node) -> None:
        name, arg = self.staged.name(node), node.args[0]
        if arg.op == "class_index":
            self.write(f"{name} = index(other)")
            return
        own = self.staged.name(arg)
        if arg.op == "input" and not self.arrays[own].per_item:
            self.write(f"{name} = load_{own}({own}_start + other * {own}_class, 0)")
            return
        packed = f"{own}_packed" if arg.op == "input" else own
        self.write(f"{name} = take_{packed}({packed}_scratch + other * (LANES * SIZE))")

    def put_class(self, array: ArrayUse, value: str, count: str) -> None:
        packed = self.packed[array.name]
        self.write(f"put_{packed}({packed}_scratch + j * (LANES * SIZE), {value})")


def _outside(domain: Domain, y: str) -> str:
    """Return the condition that a target is outside its domain. A NaN is not."""
    if domain.kind == "signs":
        return f"logical_and({y} != -1, {y} != 1)"
    if domain.kind == "labels":
        beyond = f" + {domain.beyond}" if domain.beyond else ""
        return f"logical_or({y} < 0, {y} >= classes{beyond})"
    return f"logical_or({y} < real({-domain.slack!r}), {y} > real({1 + domain.slack!r}))"
