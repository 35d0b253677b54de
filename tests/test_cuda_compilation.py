"""The CUDA kernels compiled for GPUs by NVRTC, which needs none: they compile, and fit."""

from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from numpy.lib.stride_tricks import as_strided

import tinyloss
from tests.support.emulation import nvrtc
from tests.support.params import turns
from tests.support.specs import EXACT, PAIRED
from tinyloss._engine.request import Want
from tinyloss.losses import public_losses
from tinyloss_cuda.source import write_scale, write_sequences, write_split, write_total
from tinyloss_cupy import _modules, _run

Array = npt.NDArray[Any]

pytest.importorskip("nvidia", reason="could not import 'nvidia': NVRTC is not installed")
if not nvrtc.is_there():
    pytest.skip("could not import 'nvidia': no NVRTC in it", allow_module_level=True)

ARCHITECTURES = (80, 90, 100)
CLUSTERS = 90
"""From here on blocks can share a row."""
DTYPES: dict[str, Any] = {
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
    "float32": np.float32,
    "float64": np.float64,
}
SHORT, LONG = (7, 100, 1000), (5003, 32000, 50257, 131072, 262144, 1_000_003)
SPILL, OF_MANY = 32, 176
"""Bytes that a thread may lay down in memory, and where it keeps 16 packets, up to 128 numbers. On
an H200 rows of 32000 and 131072 bfloat16 took as long with 92 bytes as with 8. Rows of 50257
float32, which lay down 84, took 0.85 of the time of half as many packets in twice as many threads.
"""

anyloss: Any = tinyloss

ELEMENTS, OF_ROWS = ([each.name for each in public_losses(kind)] for kind in ("elements", "rows"))
ROWS = [name for name in OF_ROWS if name not in PAIRED]


def of_shape(shape: tuple[int, ...], dtype: Any) -> Array:
    """Return an array of any size that takes no memory: a kernel is written without looking."""
    one: Array = np.empty(1, dtype)
    strides = [one.itemsize]
    for length in shape[:0:-1]:
        strides.insert(0, strides[0] * length)
    return as_strided(one, shape, strides)


def source(loss: Any, clusters: bool, *arrays: Array, argnums: tuple[int, ...] = (0,)) -> str:
    """Return the kernel that computes value and gradients on GPUs with or without clusters."""
    (job,) = loss.jobs(Want(value=True, argnums=argnums), *arrays)
    return _run.source(job, clusters)


def arrays_of(name: str, classes: int, dtype: Any, target: str) -> tuple[Array, ...]:
    x = of_shape((8, classes), dtype)
    return (x, np.zeros(8, np.int64)) if target == "labels" else (x, x)


def targets(name: str) -> tuple[str, ...]:
    if name == "cross_entropy":
        return "labels", "rows"
    return ("labels",) if getattr(anyloss, name).takes_labels() else ("rows",)


def on_an_architecture(names: list[str]) -> pytest.MarkDecorator:
    """By default each loss is for one architecture, and the next loss for another."""
    every = [
        (name, ARCHITECTURES[(number + turn) % len(ARCHITECTURES)])
        for number, name in enumerate(names)
        for turn in range(len(ARCHITECTURES))
    ]
    return pytest.mark.parametrize(("name", "architecture"), turns(every, len(ARCHITECTURES)))


def compiles_and_fits(text: str, architecture: int) -> nvrtc.Compiled:
    compiled = nvrtc.compile_source(text, architecture, _modules.OPTIONS)
    most = OF_MANY if "#define KEEP 16" in text else SPILL
    assert compiled.spilled <= most, f"{compiled.spilled} bytes spilled:\n{text[:200]}"
    return compiled


@on_an_architecture(ELEMENTS)
@pytest.mark.heavy(32)
def test_kernels_of_elements_compile_and_fit(name: str, architecture: int) -> None:
    """Every dtype of a loss, each on one of the architectures."""
    loss = getattr(anyloss, name)
    for turn, dtype in enumerate(DTYPES.values(), ELEMENTS.index(name)):
        if turn % len(ARCHITECTURES) != ARCHITECTURES.index(architecture):
            continue
        x = of_shape((4096, 4096), dtype)
        arrays = [x] * len(EXACT[name].arguments)
        compiled = compiles_and_fits(source(loss, True, *arrays), architecture)
        assert moves_in_packets(compiled.ptx)


def moves_in_packets(ptx: str) -> bool:
    """Return whether 16 bytes are read, and written, at a time."""
    return all(f"{verb}.global.cg.v4.u32" in ptx for verb in ("ld", "st"))


@pytest.mark.long
@on_an_architecture(sorted(PAIRED))
@pytest.mark.heavy(8)
def test_kernels_of_pairs_compile_and_fit(name: str, architecture: int) -> None:
    """Short rows, rows of a block, and of several where there are clusters."""
    turn = ARCHITECTURES.index(architecture)
    for number, classes in enumerate((10, 200, 2000), turn):
        dtype = [*DTYPES.values()][number % len(DTYPES)]
        x = of_shape((8, classes), dtype)
        text = source(getattr(anyloss, name), architecture >= CLUSTERS, x, x)
        compiled = compiles_and_fits(text, architecture)
        shared = architecture >= CLUSTERS and classes == 2000
        assert ("barrier.cluster.wait" in compiled.ptx) == shared
        # what a block has written is read: not by a cache of what never changes
        assert "ld.global.nc" not in compiled.ptx


@on_an_architecture(ROWS)
@pytest.mark.heavy(16)
def test_kernels_of_rows_compile_and_fit(name: str, architecture: int) -> None:
    """A number of classes for each way to keep a row: architectures and dtypes take turns."""
    texts: dict[str, tuple[str, int]] = {}
    first = ARCHITECTURES.index(architecture) + ROWS.index(name)
    for target in targets(name):
        for turn, classes in enumerate([*SHORT, *LONG], first):
            if turn % len(ARCHITECTURES):
                continue
            dtype = [*DTYPES.values()][turn % len(DTYPES)]
            arrays = arrays_of(name, classes, dtype, target)
            text = source(getattr(anyloss, name), architecture >= CLUSTERS, *arrays)
            texts.setdefault(text, (target, classes))
    for text, (target, classes) in texts.items():
        compiled = compiles_and_fits(text, architecture)
        if classes >= 1000 and not (name == "nll" and target == "labels"):
            assert moves_in_packets(compiled.ptx)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", [75, *ARCHITECTURES, 120])
@pytest.mark.parametrize("name", ROWS)
def test_every_kernel_of_rows_compiles(name: str, architecture: int) -> None:
    """All dtypes, with gradients by the target too, where more may spill."""
    texts: set[str] = set()
    for target in targets(name):
        for classes in (1, 2, 257, *SHORT, *LONG):
            for dtype in DTYPES.values():
                arrays = arrays_of(name, classes, dtype, target)
                for argnums in ((0,),) if target == "labels" else ((0,), (0, 1)):
                    texts.add(
                        source(
                            getattr(anyloss, name),
                            architecture >= CLUSTERS,
                            *arrays,
                            argnums=argnums,
                        )
                    )
    for text in texts:
        nvrtc.compile_source(text, architecture, _modules.OPTIONS)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_kernels_that_go_along_other_axes_compile(architecture: int) -> None:
    for dtype in DTYPES.values():
        x = np.moveaxis(of_shape((2, 21, 64, 64), dtype), 1, -1)
        text = source(tinyloss.cross_entropy, True, x, np.zeros((2, 64, 64), np.int64))
        compiles_and_fits(text, architecture)


@pytest.mark.parametrize("real", ["float32", "float64"])
def test_kernels_of_totals_compile(real: str) -> None:
    for divisor in ("", "number", "float32", "float64"):
        for dtype in ("float32", "float64"):
            compiles_and_fits(write_total(real, dtype, divisor), 90)


def test_the_kernel_that_splits_numbers_compiles() -> None:
    compiles_and_fits(write_split("float32", "bfloat16"), 80)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_kernels_of_sequences_compile_and_fit(dtype: str, architecture: int) -> None:
    formula = anyloss.ctc.request((np.zeros((2, 3)), np.zeros(1, int)), {}).x.formula
    block, wide = formula.block(), dtype if dtype == "float64" else "float32"
    numbers = tuple(block.numbers.items())
    text = write_sequences(block.text, numbers, dtype, "int64", wide, wide, dtype)
    compiled = compiles_and_fits(text, architecture)
    assert compiled.spilled == 0
    # what a block has written is read: not by a cache of what never changes
    assert "ld.global.nc" not in compiled.ptx


@pytest.mark.parametrize("dtype", DTYPES)
def test_kernels_that_multiply_compile(dtype: str) -> None:
    for factor in ("float32", "float64"):
        compiles_and_fits(write_scale(dtype, factor), 90)
