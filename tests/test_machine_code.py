"""Machine code of compiled loops for processors that need not be at hand.

Vectors are in the text of a loop, so each processor must have made vectors of them: no pass may
compute one number at a time, call a function for it, or gather. Without AVX-512 a store under a
mask takes some 20 cycles: LLVM makes one of a choice between a number and what was read from the
place that is written to. LLVM is told to optimize for one processor in a process of its own, on any
machine of the family, and makes code of that for others; nothing of it is run.
"""

import json
import platform
import re
import sys
from collections.abc import Iterator
from itertools import product
from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("llvmlite")

import tinyloss
from tests.support.machine import Machine
from tests.support.process import python
from tests.support.specs import EXACT, LOSSES, PAIRED
from tinyloss._engine.request import Want
from tinyloss.compiler.kernels import recording_of
from tinyloss_numpy import _compiler, _programs, _run
from tinyloss_numpy._loops import vocabulary
from tinyloss_numpy._memory import accessors
from tinyloss_numpy._source import LANES

Array = npt.NDArray[Any]

pytestmark = pytest.mark.skipif(
    platform.machine().lower() not in ("x86_64", "amd64"), reason="AVX is x86's"
)

CPU = "haswell"
"""It has AVX2 and FMA, no AVX-512."""
CPUS = {
    CPU: "x86_64-unknown-linux-gnu",
    "skylake-avx512": "x86_64-unknown-linux-gnu",
    "neoverse-n1": "aarch64-unknown-linux-gnu",
}
"""AVX2, AVX-512 and NEON."""
MASKED = re.compile(r"^\s*vp?maskmov\w+\s.*\)\s*$", re.MULTILINE)
"""A store under a mask; of a load, memory is not the last operand."""
GATHERED = re.compile(r"^\s*vp?gather", re.MULTILINE)
CALLED = re.compile(r"^\s*(?:callq?|bl)\s+([^\s@]+)", re.MULTILINE)
LABEL = re.compile(r"^(\.?[\w.$]+):")
JUMP = re.compile(r"^(?:j[a-z]+|b(?:\.[a-z]+)?|cbn?z|tbn?z)\s(?:.*,\s*)?(\.L\w+)$")
ENDS = re.compile(r"^(?:jmpq?|b|br|retq?|ud2)(?![.\w])")
"""Nothing runs on from here to the next line."""
VECTOR = re.compile(r"%[yz]mm|\bv\d+\.|\bq\d+")
SCALAR = re.compile(
    r"^v(?:add|sub|mul|div|max|min|sqrt|fn?m\w+\d|rndscale|round)s[sd]\s"
    r"|^f(?:add|sub|n?mul|div|n?madd|n?msub|max\w*|min\w*|sqrt|rint\w)\s+[sd]\d"
)
"""Arithmetic of one number."""
COPIES = {"memcpy", "memset", "memmove"}

ROWS = {
    "cross_entropy": ("labels", "rows"),
    "nll": ("labels",),
    "softmax_focal": ("labels",),
    "kl_div": ("rows",),
    "kl_div_with_logits": ("rows",),
    "js_div": ("rows",),
    "poly_cross_entropy": ("labels", "rows"),
    "generalized_cross_entropy": ("labels",),
    "brier": ("labels", "rows"),
    "categorical_hinge": ("labels",),
    "multi_margin": ("labels",),
    **dict.fromkeys(("multilabel_soft_margin", "coral"), ("rows",)),
    "corn": ("labels",),
    **dict.fromkeys(PAIRED, ("rows",)),
    "pairwise_mse": ("rows",),
    **dict.fromkeys(("dice", "jaccard", "tversky", "focal_tversky"), ("rows",)),
}
KINDS = ("value", "everything", "in place")
"""The value; with all gradients and the curvature; with the gradient by x in its place."""
SELECTION = [
    ("cross_entropy", "labels", 1000, "float32", False, "everything"),
    ("cross_entropy", "labels", 10, "float32", False, "in place"),
    ("binary_cross_entropy_with_logits", "", 0, "float32", False, "everything"),
]
IN_ORDER = [
    (name, "rows", 1000, "float32", True, "in place")
    for name in ("listmle", "lovasz_hinge", "pairwise_hinge")
]
"""Rows that are sorted, which moves whole numbers one by one; all arithmetic is of vectors, but for
that of pairs."""

Case = tuple[str, str, int, str, bool, str]


def every_case() -> Iterator[Case]:
    for name, dtype, weighted, kind in product(
        LOSSES, ("float32", "float64"), (False, True), KINDS
    ):
        for target in ROWS.get(name, ("",)):
            for classes in (10, 1000) if target else (0,):
                yield name, target, classes, dtype, weighted, kind


def compile_job(job: Any, in_place: bool) -> tuple[int, bool]:
    """Compile a job's kernel; return how many passes it has, and whether it sorts for its pairs.

    Then it puts members together one by one.
    """
    kind = _run._of_rows(job.kind, job)
    loss = _programs.CompiledLoss(recording_of(kind, np.dtype(kind.dtype).name))
    arrays = _run._inputs(job)
    over = tuple("x" if in_place else "" for _ in loss.recording.results)
    like = job.arrays["x"]
    results = [
        np.empty_like(like if role.per_class or not loss.recording.rowwise else like[..., 0])
        for (_, role), taken in zip(loss.recording.results, over, strict=True)
        if not taken
    ]
    layouts = [(each.shape, each.strides, each.dtype) for each in (*arrays, *results)]
    plan = loss.plan(over, tuple(layouts))
    assert plan is not None
    text = loss.text(plan.variant)
    _compiler._compile(text, loss.recording.real, loss.recording.title)
    return len(loss._staged(None).passes.passes), kind is not job.kind


def compiled(
    name: str, target: str, classes: int, dtype: str, weighted: bool, kind: str
) -> tuple[int, bool]:
    loss: Any = getattr(tinyloss, name)
    shape = (16, classes) if classes else (64,)
    x = np.full(shape, 0.5, dtype)
    arrays: list[Array] = [x, np.zeros(16, np.int64) if target == "labels" else x]
    arrays += [x] * (len(EXACT[name].arguments) - 2)
    argnums = {"value": (), "in place": (0,)}.get(
        kind, (0,) if target == "labels" else tuple(range(len(arrays)))
    )
    want = Want(True, argnums, kind == "everything")
    options = {"weight": np.ones(shape[:1], dtype)} if weighted else {}
    (job,) = loss.jobs(want, *arrays, **options)
    return compile_job(job, kind == "in place")


def inner_loops(text: str) -> list[list[str]]:
    """Return the instructions of each loop that has no other inside.

    By the graph of the blocks: a loop's blocks need not stand together.
    """
    blocks: list[list[str]] = [[]]
    starts: dict[str, int] = {}
    for line in text.splitlines():
        label = LABEL.match(line)
        if label or (blocks[-1] and (JUMP.match(blocks[-1][-1]) or ENDS.match(blocks[-1][-1]))):
            blocks += [[]] if blocks[-1] else []
        if label:
            starts[label[1]] = len(blocks) - 1
        elif re.match(r"\s+[a-z]", line):
            blocks[-1].append(line.strip())
    before: list[set[int]] = [set() for _ in blocks]
    back: list[tuple[int, int]] = []
    for n, block in enumerate(blocks):
        jump = JUMP.match(block[-1]) if block else None
        if jump and jump[1] in starts:
            before[starts[jump[1]]].add(n)
            back += [(starts[jump[1]], n)] if starts[jump[1]] <= n else []
        if n + 1 < len(blocks) and not (block and ENDS.match(block[-1])):
            before[n + 1].add(n)
    loops: dict[int, set[int]] = {}
    for head, last in back:
        body, todo = loops.setdefault(head, {head}), [last]
        while todo:
            n = todo.pop()
            if n not in body:
                body.add(n)
                todo += before[n]
    inner = [
        body
        for head, body in loops.items()
        if not any(other in body for other in loops if other != head)
    ]
    return [[line for n in sorted(body) for line in blocks[n]] for body in inner]


def faults(text: str, passes: int, one_by_one: bool, cpu: str) -> list[str]:
    """Return what is wrong with a kernel's machine code."""
    found = [f"{cpu}: gathers"] if GATHERED.search(text) else []
    if cpu == CPU and MASKED.search(text):
        found.append(f"{cpu}: stores under a mask")
    own = set(re.findall(r"^([\w.$]+):", text, re.MULTILINE)) | COPIES
    found += [f"{cpu}: calls {name}" for name in set(CALLED.findall(text)) - own]
    loops = inner_loops(text)
    vectors = sum(any(VECTOR.search(line) for line in loop) for loop in loops)
    if vectors < passes or not VECTOR.search(text):
        found.append(f"{cpu}: {vectors} loops of vectors, {passes} passes")
    if not one_by_one:
        found += [f"{cpu}: {line}" for loop in loops for line in loop if SCALAR.match(line)]
    return found


def main() -> None:
    """Print of each case that is read what is wrong with it."""
    import llvmlite.binding as llvm

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machines = {
        cpu: llvm.Target.from_triple(triple).create_target_machine(
            cpu=cpu, opt=3, reloc="pic", codemodel="small"
        )
        for cpu, triple in CPUS.items()
    }
    texts: dict[str, str] = {}

    def emit(module: Any) -> bytes:
        for cpu, machine in machines.items():
            copy = llvm.parse_assembly(str(module))
            copy.triple, copy.data_layout = CPUS[cpu], str(machine.target_data)
            texts[cpu] = machine.emit_assembly(copy)
        return b""

    wrong: list[list[str]] = []
    with (
        patch.object(_compiler, "machine", lambda: machines[CPU]),
        patch.object(_compiler, "emitted", emit),
    ):
        for case in json.load(sys.stdin):
            of = compiled(*case)
            wrong.append([fault for cpu in CPUS for fault in faults(texts[cpu], *of, cpu)])
    print(json.dumps(wrong))


def wrong(cases: list[Case]) -> list[tuple[Case, list[str]]]:
    """Return the cases whose kernels are not as they should be, and why."""
    said = python(
        "from tests.test_machine_code import main; main()",
        stdin=json.dumps(cases),
    )
    return [(case, why) for case, why in zip(cases, json.loads(said), strict=True) if why]


def test_processors_get_vectors() -> None:
    assert wrong(SELECTION) == []


@pytest.mark.long
def test_processors_get_vectors_of_rows_in_an_order() -> None:
    assert wrong(IN_ORDER) == []


@pytest.mark.long
def test_processors_get_vectors_of_any_loss() -> None:
    """The kernels with the most choices: an item of weight 0 takes the place of another.

    Losses take turns in short and long rows, whose loops write by the same lines for all losses.
    """
    cases = [c for c in every_case() if c[3] == "float32" and c[4] and c[5] == "everything"]
    turns = {name: (1000, 10)[n % 2] for n, name in enumerate(ROWS)}
    cases = [c for c in cases if c[2] == turns.get(c[0], 0)]
    assert {c[0] for c in cases} == {*LOSSES}
    cases.append(("cross_entropy", "rows", 1000, "float64", True, "value"))
    assert wrong(cases) == []


@pytest.mark.slow
def test_processors_get_vectors_of_any_kernel() -> None:
    assert wrong([*every_case()]) == []


@pytest.mark.parametrize("real", ["float32", "float64"])
@pytest.mark.parametrize(("word", "choose"), [("maximum", max), ("minimum", min)])
def test_larger_and_smaller_keep_nan_in_either_place(word: str, choose: Any, real: str) -> None:
    apply = Machine(
        {**vocabulary(real), **accessors({"a": (real, real)})},
        "a = entry(table, 0)",
        f"store_a(a, 2, {word}(load_a(a, 0), load_a(a, 1)))",
    )
    numbers = np.zeros(3, real)
    some = [0.0, -0.0, 1.5, -1.5, np.inf, -np.inf, np.nan]
    for a, b in product(some, some):
        numbers[:2] = a, b
        apply(numbers.ctypes.data)
        if np.isnan(a) or np.isnan(b):
            assert np.isnan(numbers[2])
        else:
            assert numbers[2] == choose(a, b)  # either zero


@pytest.mark.parametrize("real", ["float32", "float64"])
def test_maximum_of_a_row_shows_a_nan_in_any_lane(real: str) -> None:
    lanes = LANES[real]
    fill = Machine(
        {**vocabulary(real), **accessors({"a": (real, real)}, lanes)},
        "a = entry(table, 0)",
        "most = spread(-inf)",
        "for k in range(3):",
        "    most = raised(most, take_a(a + k * ROW))",
        "store_a(entry(table, 1), 0, highest(most))",
    )

    def largest(numbers: Array) -> Any:
        found = np.zeros(1, real)
        fill(numbers.ctypes.data, found.ctypes.data)
        return found[0]

    numbers = np.random.default_rng(0).standard_normal(3 * lanes).astype(real)
    assert largest(numbers) == numbers.max()
    for place in range(numbers.size):
        odd = numbers.copy()
        odd[place] = np.nan
        assert np.isnan(largest(odd))
        odd[place] = np.inf
        assert largest(odd) == np.inf
