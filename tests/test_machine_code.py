"""Machine code of compiled loops for a processor without AVX-512: no store goes under a mask.

Such a store takes some 20 cycles there. LLVM makes one of a choice between a number and what was
read from the place that is written to. Numba is told to compile for that processor in a process of
its own, on any machine of the family; nothing of it is run.
"""

import json
import platform
import re
import sys
from collections.abc import Iterator
from itertools import product
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("numba")

import tinyloss
from tests.support.process import python
from tests.support.specs import LOSSES
from tinyloss._engine.request import Want
from tinyloss.compiler.kernels import recording_of
from tinyloss_numpy import _compiler, _programs, _run

Array = npt.NDArray[Any]

pytestmark = pytest.mark.skipif(
    platform.machine().lower() not in ("x86_64", "amd64"), reason="AVX is x86's"
)

CPU = "haswell"
"""It has AVX2 and FMA, no AVX-512."""
MASKED = re.compile(r"^\s*vp?maskmov\w+\s.*\)\s*$", re.MULTILINE)
"""A store under a mask; of a load, memory is not the last operand."""
PACKED = re.compile(r"^\s*v\w+p[sd]\s.*%ymm", re.MULTILINE)

ROWS = {
    "cross_entropy": ("labels", "rows"),
    "nll": ("labels",),
    "softmax_focal": ("labels",),
    "kl_div": ("rows",),
    "kl_div_with_logits": ("rows",),
    "js_div": ("rows",),
}
KINDS = ("value", "everything", "in place")
"""The value; with all gradients and the curvature; with the gradient by x in its place."""
SELECTION = [
    ("cross_entropy", "labels", 1000, "float32", False, "everything"),
    ("cross_entropy", "labels", 10, "float32", False, "in place"),
    ("cross_entropy", "rows", 1000, "float64", True, "value"),
    ("binary_cross_entropy_with_logits", "", 0, "float32", False, "everything"),
]

Case = tuple[str, str, int, str, bool, str]


def every_case() -> Iterator[Case]:
    for name, dtype, weighted, kind in product(
        LOSSES, ("float32", "float64"), (False, True), KINDS
    ):
        for target in ROWS.get(name, ("",)):
            for classes in (10, 1000) if target else (0,):
                yield name, target, classes, dtype, weighted, kind


def code(job: Any, in_place: bool) -> str:
    """Return the assembly text of a job's kernel."""
    loss = _programs.CompiledLoss(recording_of(job.kind, np.dtype(job.kind.dtype).name))
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
    real, lanes = loss.recording.real, plan.variant.lanes
    return _compiler._compile(text, real, lanes, loss.recording.title).decode()


def assembly(name: str, target: str, classes: int, dtype: str, weighted: bool, kind: str) -> str:
    loss: Any = getattr(tinyloss, name)
    shape = (16, classes) if classes else (64,)
    x = np.full(shape, 0.5, dtype)
    arrays: list[Array] = [x, np.zeros(16, np.int64) if target == "labels" else x]
    if name == "gaussian_nll":
        arrays.append(x)
    argnums = {"value": (), "in place": (0,)}.get(
        kind, (0,) if target == "labels" else tuple(range(len(arrays)))
    )
    want = Want(True, argnums, kind == "everything")
    options = {"weight": np.ones(shape[:1], dtype)} if weighted else {}
    (job,) = loss.jobs(want, *arrays, **options)
    return code(job, kind == "in place")


def main() -> None:
    """Print of each case that is read how many stores are masked and instructions packed."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple().create_target_machine(cpu=CPU, opt=3, reloc="pic")
    machine = SimpleNamespace(emit_object=lambda module: target.emit_assembly(module).encode())
    found: list[tuple[int, int]] = []
    with patch.object(_compiler, "_machine", lambda: machine):
        for case in json.load(sys.stdin):
            text = assembly(*case)
            found.append((len(MASKED.findall(text)), len(PACKED.findall(text))))
    print(json.dumps(found))


def masked(cases: list[Case]) -> list[tuple[Case, int]]:
    """Return the cases whose kernels store under a mask, and how often."""
    said = python(
        "from tests.test_machine_code import main; main()",
        stdin=json.dumps(cases),
        NUMBA_CPU_NAME=CPU,
        NUMBA_CPU_FEATURES="",
    )
    found = [*zip(cases, json.loads(said), strict=True)]
    assert all(packed for _, (_, packed) in found), "no vectors at all"
    return [(case, stores) for case, (stores, _) in found if stores]


@pytest.mark.long
def test_no_store_of_any_weighted_loss_is_masked() -> None:
    """The kernels with the most choices: an item of weight 0 takes the place of another.

    Losses take turns in short and long rows, whose loops write by the same lines for all losses.
    """
    cases = [c for c in every_case() if c[3] == "float32" and c[4] and c[5] == "everything"]
    turns = {name: (1000, 10)[n % 2] for n, name in enumerate(ROWS)}
    cases = [c for c in cases if c[2] == turns.get(c[0], 0)]
    assert {c[0] for c in cases} == {*LOSSES}
    assert masked(cases + SELECTION) == []


@pytest.mark.slow
def test_no_store_of_any_loss_is_masked() -> None:
    assert masked([*every_case()]) == []


@pytest.mark.parametrize("real", ["float32", "float64"])
@pytest.mark.parametrize(("word", "choose"), [("raised", max), ("maximum", max), ("minimum", min)])
def test_larger_and_smaller_keep_nan_in_either_place(word: str, choose: Any, real: str) -> None:
    from tinyloss_numpy._loops import compile_function, vocabulary

    operation: Any = vocabulary(real, 32)[word]
    apply = compile_function(lambda a, b: operation(a, b))
    number = np.dtype(real).type
    some = [number(each) for each in (0.0, -0.0, 1.5, -1.5, np.inf, -np.inf, np.nan)]
    for a, b in product(some, some):
        got = apply(a, b)
        if np.isnan(a) or np.isnan(b):
            assert np.isnan(got)
        else:
            assert got == choose(a, b)  # either zero
