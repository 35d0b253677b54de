"""A staged program pasted into the templates: the text of one CUDA kernel.

    prelude.cuh     packets, sums, threads that share a row
    rows.cu         rows of classes             pass.cu     one pass over the packets of a thread
    elements.cu     losses of elements          pairs.cu    one class with all others of its row
    total.cu        the sum of the blocks' sums         scale.cu    an array times a number
    sequences.cu    losses of sequences, whose own text it takes
    split.cu        numbers in two parts of half precision

The lines that compute something come from the program; the loops around them, and who waits for
whom, stand in the templates.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files
from string import Template
from textwrap import indent
from typing import NamedTuple

from tinyloss.compiler.kernels import ArrayUse, Staged, Writer
from tinyloss.compiler.passes import Pass, kind_of
from tinyloss.compiler.program import Node, compared_index, inside

__all__ = [
    "CTYPES",
    "KERNEL",
    "SEQUENCE_THREADS",
    "SPLIT_THREADS",
    "TOTAL_THREADS",
    "Elements",
    "Rows",
    "Shape",
    "write_scale",
    "write_sequences",
    "write_split",
    "write_total",
]

KERNEL = "kernel"
"""The name of the function in every text."""

TOTAL_THREADS = 1024
"""Of the one block that adds up the blocks' sums."""
SPLIT_THREADS = 256
"""Of a block that splits numbers."""
SEQUENCE_THREADS = 512
"""Of a block that has a sequence: each may have 128 registers."""
SCALE_THREADS, SCALE_NUMBERS, SCALE_BLOCKS = 256, 4, 2048
"""Of the kernel that multiplies an array: threads, numbers of a thread at a time, blocks.

So many blocks fill any GPU. Where the factor is 1 they are few: each only reads it.
"""

CTYPES = {
    "bool": "bool",
    "int8": "signed char",
    "int16": "short",
    "int32": "int",
    "int64": "long long",
    "uint8": "unsigned char",
    "uint16": "unsigned short",
    "uint32": "unsigned",
    "uint64": "unsigned long long",
    "float16": "float16",
    "bfloat16": "bfloat16",
    "float32": "float",
    "float64": "double",
}
"""The dtypes that a kernel reads and writes."""

_HALVES = {"float16", "bfloat16"}
_COARSE = ("exp_negative", "exp_shortfall")
"""Operations that the prelude has with fewer digits, for results of half precision."""
_CARRY = ("divide", "multiply", "negative", "where")
"""Operations whose results have the relative error of what they take: nothing cancels."""

_TERMS = {"float32": 4, "float64": 1}
"""Terms of a sum over pairs that are added as numbers, before their sum is widened.

Many GPUs add float64 at a fraction of their speed. Adding four rounds three times, 1.5 eps at most.
"""


class Shape(NamedTuple):
    """Sizes that are fixed when a kernel is compiled; `prelude.cuh` says what they are."""

    threads: int
    team: int
    cluster: int
    keep: int
    lanes: int
    outer: int
    whole: bool
    kept: str = ""
    """What of a row stays in registers: "results" of passes and inputs, "inputs", or "nothing".
    "memory": results of passes are in memory, where all threads of the row read them. Not for
    losses of elements."""
    full: int = 0
    blocks: int = 1
    """Blocks that a multiprocessor has at a time, at least: their threads share its registers."""

    @property
    def again(self) -> bool:
        """Whether each pass reads a row's inputs again, chunk by chunk."""
        return self.kept in ("nothing", "memory")


@cache
def write_total(real: str, dtype: str, divisor: str) -> str:
    """Return the text of the kernel that adds up the blocks' sums and divides."""
    parameters = ["const Sum* partial_sums", "const long long count", f"{CTYPES[dtype]}* value"]
    result = "total.result()"
    if divisor == "number":
        parameters.append("const double divisor")
        result += " / divisor"
    elif divisor:
        parameters.append(f"const {CTYPES[divisor]}* divisor")
        result += " / read(divisor)"
    shape = Shape(TOTAL_THREADS, TOTAL_THREADS, 1, 1, 1, 0, whole=True)
    body = _fill("total.cu", parameters=_listed(parameters), type=CTYPES[dtype], result=result)
    return _join(real, shape, 1, 1, body)


@cache
def write_split(real: str, half: str) -> str:
    """Return the text of the kernel that splits numbers into two of half precision."""
    shape = Shape(SPLIT_THREADS, SPLIT_THREADS, 1, 1, 1, 0, whole=True)
    body = _fill("split.cu", real=CTYPES[real], type=CTYPES[half])
    return _join(real, shape, 1, 1, body)


@cache
def write_sequences(
    text: str,
    numbers: tuple[tuple[str, float], ...],
    x: str,
    label: str,
    pull: str,
    loss: str,
    grad: str,
) -> str:
    """Return the text of the kernel of a loss of sequences, for arrays of these dtypes."""
    own = {"x": CTYPES[x], "label": CTYPES[label], "loss": CTYPES[loss], "grad": CTYPES[grad]}
    parameters = [
        f"const {own['x']}* x",
        "const bool* frames",
        f"const {own['label']}* labels",
        f"const {own['label']}* lengths",
        f"const {CTYPES[pull]}* pull",
        f"{own['loss']}* losses",
        f"{own['grad']}* grad",
        "double* scratch",
        "const Given given",
    ]
    constants = "\n".join([f"constexpr real {name} = {number!r};" for name, number in numbers])
    body = _fill(
        "sequences.cu", **own, parameters=_listed(parameters), body=f"{constants}\n\n{text}"
    )
    shape = Shape(SEQUENCE_THREADS, 32, 1, 1, 1, 0, whole=True)
    return _join("float64", shape, 1, 1, body)


@cache
def write_scale(dtype: str, factor: str) -> str:
    """Return the text of the kernel that multiplies an array by a number on the device."""
    shape = Shape(SCALE_THREADS, SCALE_THREADS, 1, SCALE_NUMBERS, 1, 0, whole=True)
    body = _fill("scale.cu", type=CTYPES[dtype], factor=CTYPES[factor])
    return _join("float64" if dtype == "float64" else "float32", shape, 1, 1, body)


def _join(real: str, shape: Shape, arrays: int, parts: int, body: str) -> str:
    sizes = {name.upper(): int(size) for name, size in shape._asdict().items() if name != "kept"}
    defined = {"real": CTYPES[real], **sizes, "ARRAYS": arrays, "PARTS": parts}
    head = "\n".join([f"#define {name} {size}" for name, size in defined.items()])
    return f"{head}\n\n{_template('prelude.cuh')}\nnamespace tinyloss {{\n\n{body}\n}}\n"


@cache
def _template(name: str) -> str:
    return files("tinyloss_cuda").joinpath(name).read_text(encoding="utf-8")


def _fill(name: str, **given: str | Iterable[str]) -> str:
    """Return a template with texts in its holes; a hole alone on its line sets their indent."""
    holes = {
        hole: each if isinstance(each, str) else "\n".join(each) for hole, each in given.items()
    }
    filled: list[str] = []
    for line in _template(name).splitlines():
        stripped = line.strip()
        if stripped.startswith("$") and stripped[1:] in holes:
            if holes[stripped[1:]]:
                margin = line[: len(line) - len(stripped)]
                filled.append(indent(holes[stripped[1:]].rstrip("\n"), margin))
        else:
            filled.append(Template(line).substitute(holes) if "$" in line else line)
    return "\n".join(filled) + "\n"


def _listed(parameters: Iterable[str]) -> str:
    return ",\n       ".join(parameters)


class _Writer(Writer):
    """What rows and elements share."""

    def __init__(
        self,
        staged: Staged,
        inputs: Sequence[ArrayUse],
        outputs: Sequence[ArrayUse],
        real: str,
        shape: Shape,
        divisor: str,
    ) -> None:
        """Take the divisor as the dtype of the array that holds it, "number" if it is none."""
        super().__init__(staged, inputs, outputs, real)
        self.shape, self.divisor = shape, divisor
        self.total = staged.totals[0] if staged.totals else None
        self.name = self.staged.name
        self.written = {array.overwrites or array.name for array in outputs}
        self.number = {array.name: n for n, array in enumerate(self.all_arrays)}
        self.in_memory = self.staged.kept if shape.kept == "memory" else []

    def text(self) -> str:
        parts = max([1, *(len(step.reductions) for step in self.staged.passes)])
        return _join(self.real, self.shape, len(self.all_arrays), parts, self.body())

    def body(self) -> str:
        raise NotImplementedError

    def parameters(self) -> str:
        parameters = [f"{self.pointer(array)}_array" for array in self.all_arrays]
        if self.total is not None:
            parameters.append("Sum* partial_sums")
        if self.in_memory:
            parameters.append(f"{CTYPES[self.real]}* scratch")
        parameters += [f"const double number_{n}" for n in range(len(self.numbers))]
        if self.divisor not in ("", "number"):
            parameters.append(f"const {CTYPES[self.divisor]}* divisor_array")
        return _listed([*parameters, "const Table table"])

    def uniform(self) -> list[str]:
        lines = [
            f"const {kind_of(node)} {self.name(node)} = {kind_of(node)}(number_{n});"
            for n, node in enumerate(self.numbers)
        ]
        for node in self.uniforms:
            if node.op == "input":
                lines.append(f"const real {self.name(node)} = widen(read(divisor_array));")
            else:
                lines.append(self.computed(node))
        return lines

    def end(self) -> str:
        """Write the block's sum."""
        if self.total is None:
            return ""
        write = (
            "if (threadIdx.x == 0 && block_of_row() == 0)\n"
            "    write(partial_sums + blockIdx.x / CLUSTER, total);"
        )
        # where all threads share a row, the first alone has the row's value
        alone = self.shape.kept and self.shape.team == self.shape.threads
        return write if alone else f"gather_block(exchange, turn, total);\n{write}"

    # Lines

    def computed(self, node: Node, coarse: bool = False) -> str:
        start = "coarse_" if coarse else ""
        return f"const {kind_of(node)} {self.name(node)} = {start}{self.staged.text(node)};"

    def start(self, array: ArrayUse) -> str:
        """Return the line that finds an item's place in an array, or that of its row."""
        place = f"at({array.name}_array, {self.steps(array)}, spot)"
        return f"{self.pointer(array)}_run = {place};"

    def pointer(self, array: ArrayUse) -> str:
        const = "" if array.name in self.written else "const "
        return f"{const}{CTYPES[array.dtype]}* {array.name}"

    def steps(self, array: ArrayUse) -> str:
        return f"table.arrays[{self.number[array.name]}]"

    def _apart(self, array: ArrayUse) -> str:
        return "" if array.contiguous else f", {self.steps(array)}.number"

    def loads(self, arrays: Iterable[ArrayUse], lanes: str) -> list[str]:
        """Read a thread's packets, all before any is used."""
        arrays = [*arrays]
        if not arrays:
            return []
        return [
            *(f"Packet<{CTYPES[p.dtype]}> {p.name}_packets[KEEP];" for p in arrays),
            "#pragma unroll",
            "for (int k = 0; k < KEEP; ++k) {",
            f"    const auto lanes = {lanes};",
            *(
                f"    {p.name}_packets[k] = load({p.name}_run, lanes{self._apart(p)});"
                for p in arrays
            ),
            "}",
        ]

    def store(self, array: ArrayUse) -> str:
        into = self.target(array)
        return f"store({into.name}_run, lanes, {array.name}_packet{self._apart(into)});"

    def packet(self, array: ArrayUse) -> str:
        return f"Packet<{CTYPES[self.target(array).dtype]}> {array.name}_packet;"

    def rounded(self, array: ArrayUse, node: Node) -> str:
        """Return the text of a node's result in the dtype that it is written in."""
        return f"{CTYPES[self.target(array).dtype]}({self.staged.as_real(node)})"

    def lane(self, array: ArrayUse, node: Node) -> str:
        return f"{array.name}_packet.lane[lane] = {self.rounded(array, node)};"

    def head(self) -> str:
        """Find how far packets begin before the run, from the first array that lies in packets."""
        rowwise = self.shape.kept != ""
        leading = [p for p in self.all_arrays if p.contiguous and p.per_class == rowwise]
        peeled = leading and not self.shape.whole
        return f"const int head = {f'lead({leading[0].name}_run)' if peeled else '0'};"

    def input_of_lane(self, node: Node) -> str:
        name = self.name(node)
        return f"const real {name} = widen({name}_packets[k].lane[lane]);"


class Rows(_Writer):
    """A team of threads for each row; lanes are classes."""

    def body(self) -> str:
        """Return the text of the kernel, without what is the same for all."""
        shape, steps = self.shape, self.staged.passes
        row = [self.start(array) for array in self.all_arrays]
        if steps:
            row.append(self.head())
        if not shape.again:
            used = self.of(n for step in steps for n in step.elements if n.op == "input")
            row += self.loads(used, self.lanes())
            row += [f"real {self.name(n)}_kept[KEEP][LANES];" for n in self.staged.kept]
        cluster = shape.cluster > 1
        return _fill(
            "rows.cu",
            attributes=f"__cluster_dims__({shape.cluster}, 1, 1)" if cluster else "",
            parameters=self.parameters(),
            uniform=[
                "const index classes = index(table.classes);",
                *self.uniform(),
                *self.memory(),
            ],
            # a block must be there before another writes to its memory
            start="wait_for_row();" if cluster else "",
            row=row,
            passes=[self.step(n, step) for n, step in enumerate(steps)],
            final=map(self.scalar, self.staged.final),
            outputs=self.item_outputs(),
            end=self.end(),
        )

    def of(self, nodes: Iterable[Node]) -> list[ArrayUse]:
        """Return the arrays that input nodes stand for, each once."""
        return [*{name: self.arrays[name] for name in map(self.name, nodes)}.values()]

    def lanes(self) -> str:
        """Return the classes of a packet, as the templates take them."""
        chunk = "chunk * CHUNK + " if self.shape.again else ""
        full = ", is_full(k)" if self.shape.full else ""
        return f"Lanes<int>({chunk}(k * TEAM * CLUSTER + me) * LANES - head, classes{full})"

    def scalar(self, node: Node) -> str:
        """Compute or read an item's number."""
        name = self.name(node)
        if id(node) in self.staged.gathers:
            picked, index = self.staged.gathers[id(node)]
            array, at = self.arrays[self.name(picked)], self.name(index)
            step = f"{self.steps(array)}.number"
            read = f"widen(read(along({array.name}_run, {at} * {step})))"
            return f"const real {name} = {at} >= 0 ? {read} : real(0.0);"
        if node.op != "input":
            return self.computed(node)
        read = f"read({name}_run)"
        if kind_of(node) == "index":
            return f"const index {name} = label({read}, table.classes);"
        return f"const real {name} = widen({read});"

    def step(self, number: int, step: Pass) -> str:
        """Return the text of a pass over the packets of a thread."""
        name, last = self.name, number == len(self.staged.passes) - 1
        sums = [n for n in step.reductions if n.op == "sum"]
        outputs = self.of_classes if last else []
        coarse = self.coarse(step) if outputs else frozenset[int]()
        before = [f"// pass {number + 1}", *map(self.scalar, step.scalars)]
        before += [f"Sum {name(n)}_part;" for n in sums]
        before += [f"Largest {name(n)}_part;" for n in step.reductions if n.op == "max"]
        if self.writes_too_early(number) and outputs:
            before.append("wait_for_row();")

        elements = [f"const real {name(n)} = {self.kept(n)};" for n in step.read]
        lane_numbers: dict[str, None] = {}
        for node, *more in step.in_turn():
            if node.op == "pair_sum":
                elements += self.pairs([node, *more]).splitlines()
            elif node.op == "input":
                elements.append(self.input_of_lane(node))
            elif node.op == "class_index":
                elements.append("const index class_index = lanes.first + lane;")
            elif (index := compared_index(node)) is not None:
                # one comparison for each class, with a number of the packet
                elements.append(f"const bool {name(node)} = lane == {name(index)}_lane;")
                lane_numbers[name(index)] = None
            else:
                elements.append(self.computed(node, id(node) in coarse))
        elements += [self.keep(n) for n in step.keep]
        for node in step.reductions:
            none = "-inf" if node.op == "max" else "real(0.0)"
            masked = f"where(lanes.holds(lane), {self.staged.as_real(node.args[0])}, {none})"
            elements.append(f"{name(node)}_terms[lane] = {masked};")
        elements += [self.lane(array, node) for array, node in outputs]

        again = self.shape.again
        inputs = self.of(n for n in step.elements if n.op == "input")
        after: list[str] = []
        if step.reductions:
            parts = ", ".join(f"{name(n)}_part" for n in step.reductions)
            after += [f"gather(exchange, turn, {parts});", "forget(me);"]
            earlier = [n for each in self.staged.passes[:number] for n in each.reductions]
            after += [f"forget({name(n)});" for n in earlier]
            after += [f"real {name(n)} = real({name(n)}_part.result());" for n in step.reductions]
        elif step.pairs or any(each.others for each in self.staged.passes[number + 1 :]):
            after.append("wait_for_row();")  # what others read is there, and has been read
        return _fill(
            "pass.cu",
            before=before,
            chunks="(classes + head + CHUNK - 1) / CHUNK" if again else "1",
            load=self.loads(inputs, self.lanes()) if again else "",
            lanes=self.lanes(),
            declare=[
                *(f"const int {n}_lane = {n} - lanes.first;" for n in lane_numbers),
                *(f"real {name(n)}_terms[LANES];" for n in step.reductions),
                *(self.packet(array) for array, _ in outputs),
            ],
            elements=elements,
            add=[
                *(f"add({name(n)}_part, {name(n)}_terms);" for n in step.reductions),
                *(self.store(array) for array, _ in outputs),
            ],
            after=after,
        )

    def coarse(self, step: Pass) -> frozenset[int]:
        """Return the identities of nodes of the last pass that take few digits.

        They are seen in results of half precision alone, to which they carry their relative error.
        """
        if step.reductions:
            return frozenset()
        exact = {id(n) for array, n in self.of_classes if self.target(array).dtype not in _HALVES}
        for node in reversed(step.elements):
            if id(node) in exact or node.op not in _CARRY:
                exact |= {id(arg) for arg in node.args}
        found = {id(node) for node in step.elements if node.op in _COARSE}
        return frozenset(found - exact)

    def memory(self) -> list[str]:
        """Return the lines that find a row's memory: of each node that is kept, by its class."""
        count = len(self.in_memory)
        return [
            f"{CTYPES[self.real]}* const {self.name(node)}_kept = "
            f"scratch + (first_row() * {count} + {n}) * table.classes;"
            for n, node in enumerate(self.in_memory)
        ]

    def kept(self, node: Node, at: str = "lanes.first + lane") -> str:
        """Return the text of what an earlier pass kept of a class."""
        if self.shape.kept != "memory":
            return f"{self.name(node)}_kept[k][lane]"
        return f"read({self.name(node)}_kept + {at})"

    def keep(self, node: Node) -> str:
        """Keep a result for a later pass. In memory a packet is one number: none sticks out."""
        name = self.name(node)
        if self.shape.kept != "memory":
            return f"{name}_kept[k][lane] = {name};"
        return f"write({name}_kept + lanes.first + lane, {self.staged.as_real(node)});"

    def pairs(self, sums: Sequence[Node]) -> str:
        """Return the text of the loop over the other class of each pair of a class."""
        names = [self.name(node) for node in sums]
        terms = [self.staged.as_real(node.args[0]) for node in sums]
        return _fill(
            "pairs.cu",
            declare=[f"Sum {name}_sum;" for name in names],
            terms=str(_TERMS[self.real]),
            start=[f"real {name}_part = real(0.0);" for name in names],
            pair=[
                *(self.other(n) if n.op == "other" else self.computed(n) for n in inside(sums)),
                *(f"{name}_part += {term};" for name, term in zip(names, terms, strict=True)),
            ],
            add=[f"{name}_sum.take({name}_part);" for name in names],
            results=[f"const real {name} = real({name}_sum.result());" for name in names],
        )

    def other(self, node: Node) -> str:
        """Read a node at the other class of a pair."""
        arg, kind = node.args[0], kind_of(node)
        if arg.op == "class_index":
            text = "other"
        elif arg.op == "input":
            array = self.arrays[self.name(arg)]
            apart = f"along({array.name}_run, other * {self.steps(array)}.number)"
            place = f"{array.name}_run + other" if array.contiguous else apart
            text = f"widen(read({place}))"
        elif kind == "bool":
            text = f"{self.kept(arg, 'other')} != real(0.0)"
        else:
            text = f"{kind}({self.kept(arg, 'other')})"
        return f"const {kind} {self.name(node)} = {text};"

    def writes_too_early(self, number: int) -> bool:
        """Return whether a pass may write over what another thread of the row has yet to read.

        Reductions wait. Without one before, the input that an index picks is read by all threads
        just when the class's own thread writes there.
        """
        return (
            number == 0
            and bool(self.staged.gathers)
            and any(p.overwrites for p, _ in [*self.of_items, *self.of_classes])
        )

    def item_outputs(self) -> list[str]:
        """Write the numbers of an item, and add its share of the total."""
        lines = [
            f"write({self.target(array).name}_run, {self.rounded(array, node)});"
            for array, node in self.of_items
        ]
        if self.total is not None:
            lines.append(f"total.take({self.staged.as_real(self.total)});")
        return lines


class Elements(_Writer):
    """Lanes are items."""

    def body(self) -> str:
        """Return the text of the kernel, without what is the same for all."""
        lanes = (
            "Lanes<long long>(begin + (k * THREADS + int(threadIdx.x)) * LANES - head, table.inner)"
        )
        nodes = [n for n in self.staged.final if n.op == "input"]
        elements = [
            self.input_of_lane(n) if n.op == "input" else self.computed(n)
            for n in self.staged.final
        ]
        elements += [self.lane(array, node) for array, node in self.of_items]
        declare = [self.packet(array) for array, _ in self.of_items]
        add = [self.store(array) for array, _ in self.of_items]
        if self.total is not None:
            declare.append("real terms[LANES];")
            masked = f"where(lanes.holds(lane), {self.staged.as_real(self.total)}, real(0.0))"
            elements.append(f"terms[lane] = {masked};")
            add.append("add(total, terms);")
        inputs = [self.arrays[self.name(n)] for n in nodes]
        body = _fill(
            "pass.cu",
            before="",
            chunks="1",
            load=self.loads(inputs, lanes),
            lanes=lanes,
            declare=declare,
            elements=elements,
            add=add,
            after="",
        )
        return _fill(
            "elements.cu",
            parameters=self.parameters(),
            uniform=self.uniform(),
            row=[*map(self.start, self.all_arrays), self.head()],
            passes=body,
            end=self.end(),
        )
