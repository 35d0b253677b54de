"""The CuPy backend: its kernels run by an emulator, their errors found, their bytes counted."""

import re
import shutil
import sys
from collections.abc import Callable, Iterator
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest

import tinyloss
from tests.support.emulation import EmulationError, HostAccessError, emulated_cupy, machine
from tests.support.emulation.compiler import Counts, Machine, compiled
from tests.support.gpu import CLASSES, FUNCTIONS, ROWS
from tests.support.process import python
from tests.support.specs import LOSSES
from tinyloss.testing import Report, check_backend

Array = npt.NDArray[Any]

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is needed to emulate a GPU"),
]

CLUSTERS, NO_CLUSTERS = "90", "80"
"""Compute capabilities."""

EPS = 2.0**-23
# Losses are accurate to 8 eps, nearly all to 4: two ways to compute one differ by no more than 16.
FEW = 16 * EPS


@pytest.fixture(autouse=True)
def cupy() -> Iterator[Any]:
    """CuPy on an emulated GPU as it comes from the shop; what a test changes of it is undone."""
    before = dict(vars(machine))
    with emulated_cupy() as module:
        yield module
        from tinyloss_cupy import _run

        if machine.mutate is not None:
            forget_kernels()
        _run._without_clusters.clear()
        _run._devices.clear()
    vars(machine).update(before)


def forget_kernels() -> None:
    tinyloss.clear_caches()


def become(capability: str) -> None:
    """Make the GPU one of another generation."""
    from tinyloss_cupy import _run

    machine.compute_capability = capability
    _run._devices.clear()


def logits(*shape: int, dtype: Any = np.float32) -> Array:
    return (3 * np.random.default_rng(0).standard_normal(shape)).astype(dtype)


def labels(*shape: int, classes: int) -> Array:
    return np.random.default_rng(1).integers(0, classes, shape)


def on_host(result: Any) -> Any:
    if isinstance(result, tuple):
        return tuple(on_host(each) for each in result)
    return sys.modules["cupy"].asnumpy(result)


def assert_as_on_numpy(function: Any, *arrays: Array, terms: bool = False, **options: Any) -> None:
    """Compare with the formulas on NumPy; `terms` of two signs may cancel."""
    asarray = sys.modules["cupy"].asarray
    got = on_host(function(*map(asarray, arrays), **options))
    for result, expected in zip(got, function(*arrays, **options), strict=True):
        size = float(np.max(np.abs(expected)))
        np.testing.assert_allclose(result, expected, rtol=FEW, atol=FEW * size if terms else 0)


def cross_entropy(classes: int, dtype: Any = np.float32, rows: int = 3) -> Any:
    """Return value and gradient of a cross-entropy on the device, on the host."""
    asarray = sys.modules["cupy"].asarray
    x, y = asarray(logits(rows, classes, dtype=dtype)), asarray(labels(rows, classes=classes))
    return on_host(tinyloss.value_and_grad(tinyloss.cross_entropy)(x, y))


# ---------------------------------------------------------------------------------- the contract


def check(**options: Any) -> Report:
    report = check_backend("cupy", must_answer=True, **options)
    assert report.left_out == ()
    # `bound` units more than the formulas' own error, which is within 10 (sigmoid_focal, far from
    # the targets it is for)
    assert max(report.worst.values(), default=0) <= 26
    return report


@pytest.mark.parametrize("name", [*LOSSES, *FUNCTIONS])
def test_kernels_answer_as_the_formulas_do(name: str) -> None:
    assert check(losses=[getattr(tinyloss, name)]).cases > 10


@pytest.mark.parametrize("capability", [CLUSTERS, NO_CLUSTERS])
@pytest.mark.parametrize("name", ROWS)
def test_rows_of_any_length(name: str, capability: str) -> None:
    become(capability)
    assert check(losses=[getattr(tinyloss, name)], classes=CLASSES).cases >= len(CLASSES)


@pytest.mark.slow
@pytest.mark.parametrize("capability", [CLUSTERS, NO_CLUSTERS])
@pytest.mark.parametrize("name", ROWS)
def test_rows_of_any_length_and_dtype(name: str, capability: str) -> None:
    become(capability)
    assert check(losses=[getattr(tinyloss, name)], classes=CLASSES, full=True).cases >= 5 * len(
        CLASSES
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", [*LOSSES, *FUNCTIONS])
def test_kernels_answer_as_the_formulas_do_in_thousands_of_cases(name: str) -> None:
    check(losses=[getattr(tinyloss, name)], full=True)


def test_classes_that_lie_apart() -> None:
    """Images, the classes in axis 1: a thread takes a pixel, and its neighbour the next."""
    x, y = logits(2, 21, 5, 7), labels(2, 5, 7, classes=21)
    assert_as_on_numpy(tinyloss.value_and_grad(tinyloss.cross_entropy), x, y, axis=1)
    x, y = logits(2, 5, 9, 11), labels(2, 9, 11, classes=5)
    assert_as_on_numpy(tinyloss.value_and_grad(tinyloss.cross_entropy), x, y, axis=1)


def test_weights_broadcast_over_items_of_many_dimensions() -> None:
    x, weight = logits(3, 4, 5, 6), np.abs(logits(4, 1, 6))
    assert_as_on_numpy(tinyloss.value_and_grad(tinyloss.mse), x, x[::-1], weight=weight)


def test_a_loss_of_ones_own_is_a_kernel_too() -> None:
    @tinyloss.loss
    def charbonnier(x: Any, y: Any, *, eps: float = 1e-3) -> Any:
        xp = tinyloss.namespace(x)
        return xp.sqrt((x - y) ** 2 + eps**2)

    launches = len(machine.launched)
    assert_as_on_numpy(tinyloss.value_and_grad(charbonnier), logits(1000), logits(1000)[::-1])
    assert len(machine.launched) == launches + 2  # the kernel, the sum of its sums


def test_the_mean_takes_two_launches_and_the_gradient_alone_one() -> None:
    launches = len(machine.launched)
    cross_entropy(100)
    assert len(machine.launched) == launches + 2
    x = sys.modules["cupy"].asarray(logits(10))
    tinyloss.grad(tinyloss.mse)(x, x)
    assert len(machine.launched) == launches + 3


def test_class_indices_are_not_looked_at() -> None:
    value, gradient = cross_entropy(10)
    assert np.isfinite(value)
    asarray = sys.modules["cupy"].asarray
    x, y = asarray(logits(4, 10)), asarray(np.array([3, 10, -1, 2**40]))
    value, gradient = on_host(tinyloss.value_and_grad(tinyloss.cross_entropy)(x, y))
    assert np.isnan(value)
    np.testing.assert_array_equal(np.isnan(gradient).all(axis=-1), [False, True, True, True])
    with tinyloss.validation("always"), pytest.raises(HostAccessError, match="waits for"):
        tinyloss.cross_entropy(x, y)


def test_nothing_else_may_be_looked_at_either() -> None:
    """The emulation itself: whatever would wait for the device is an error."""
    x = sys.modules["cupy"].asarray(logits(1))
    for look in (bool, float, int, np.asarray, list, lambda a: a.item(), lambda a: a.get()):
        with pytest.raises(HostAccessError):
            look(x)


@pytest.mark.parametrize("classes", [100, 5003, 131072])
def test_bits_do_not_depend_on_the_order_of_threads(classes: int) -> None:
    bits = []
    for order in range(5):
        machine.order = order
        value, gradient = cross_entropy(classes)
        bits.append((value.tobytes(), gradient.tobytes()))
    assert len(set(bits)) == 1


def test_a_gpu_that_refuses_clusters_gets_blocks_of_their_own() -> None:
    expected = cross_entropy(131072)
    forget_kernels()
    machine.refuses_clusters = True
    launches = len(machine.launched)
    value, gradient = cross_entropy(131072)
    np.testing.assert_allclose(value, expected[0], rtol=FEW)
    np.testing.assert_allclose(gradient, expected[1], rtol=FEW)
    assert [cluster_of(text) for text in machine.launched[launches:]] == [1, 1]
    machine.refuses_clusters = False
    cross_entropy(100_000)  # it is not asked again
    assert [cluster_of(text) for text in machine.launched[launches:]] == [1, 1, 1, 1]


def test_another_error_does_not_turn_clusters_off(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.support.emulation import compiler
    from tinyloss_cupy import _run

    error = sys.modules["cupy"].cuda.driver.CUDADriverError

    def fail(*_: Any) -> None:
        raise error("CUDA_ERROR_ILLEGAL_ADDRESS")

    with monkeypatch.context() as patch:
        patch.setattr(compiler.Kernel, "launch", fail)
        with pytest.raises(error, match="ILLEGAL_ADDRESS"):
            cross_entropy(131072)
    assert not _run._without_clusters


def test_arrays_of_another_device_are_left_to_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    asarray = sys.modules["cupy"].asarray
    x, y = asarray(logits(10)), asarray(logits(10)[::-1])
    here = type(x).data.fget

    def data(array: Any) -> Any:
        pointer = here(array)
        pointer.device_id = int(array is y)
        return pointer

    monkeypatch.setattr(type(x), "data", property(data))
    launches = len(machine.launched)
    assert_as_on_numpy(lambda a, b: (tinyloss.mse(a, b),), logits(10), logits(10)[::-1])
    assert len(machine.launched) == launches + 2
    tinyloss.mse(x, y)
    assert len(machine.launched) == launches + 2


def test_amd_gpus_are_left_to_the_formulas(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cupy.cuda.runtime, "is_hip", True)
    launches = len(machine.launched)
    assert_as_on_numpy(
        tinyloss.value_and_grad(tinyloss.cross_entropy), logits(3, 5), labels(3, classes=5)
    )
    assert len(machine.launched) == launches


def cluster_of(text: str) -> int:
    found = re.search(r"#define CLUSTER (\d+)", text)
    assert found is not None
    return int(found[1])


def test_source_shows_the_kernel() -> None:
    text = tinyloss.source(tinyloss.cross_entropy, target="cuda")
    assert "const real t" in text
    assert compiled(text).cluster == 1
    for loss in (tinyloss.mse, tinyloss.BCEWithLogitsLoss(), 0.5 * tinyloss.MSELoss()):
        assert 'extern "C" __global__' in tinyloss.source(loss, target="cuda")


def test_the_backend_names_no_loss() -> None:
    from importlib.resources import files

    for file in files("tinyloss_cupy").iterdir():
        if file.is_file():
            text = file.read_text(encoding="utf-8")
            assert not re.search(rf"\b({'|'.join([*LOSSES, *FUNCTIONS])})\b", text), file.name


# ------------------------------------------------------------------------------- errors are found

Mutation = tuple[str, str]


def wrong(run: Callable[[], Any], expected: Any) -> bool:
    try:
        got = run()
    except EmulationError:
        return True
    return not all(
        np.allclose(result, want, rtol=FEW, atol=1e-9, equal_nan=True)
        for result, want in zip(got, expected, strict=True)
    )


def nll_in_place() -> Any:
    asarray = sys.modules["cupy"].asarray
    x, y = asarray(logits(3, 5003)), asarray(labels(3, classes=5003))
    return on_host(tinyloss.value_and_grad(tinyloss.nll, out=x)(x, y))


def short() -> Any:
    return cross_entropy(100, rows=37)


def block() -> Any:
    return cross_entropy(5003)


def cluster() -> Any:
    return cross_entropy(131072)


def again() -> Any:
    return cross_entropy(300_001)


def elements() -> Any:
    asarray = sys.modules["cupy"].asarray
    x, y = asarray(logits(10_001)[1:]), asarray(logits(10_001)[::-1][1:])
    return on_host(tinyloss.value_and_grad(tinyloss.mse)(x, y))


BARRIER = "if (TEAM > 32) __syncthreads();"
CLUSTER_BARRIER = "__cluster_barrier_arrive();\n    __cluster_barrier_wait();"
HIGH = "const int high = length - first < LANES ? int(length - first) : LANES;"
LOW = "const int low = first < 0 ? int(-first) : 0;"

MUTANTS: dict[str, tuple[Callable[[], Any], Mutation]] = {
    "a block's barrier is missing": (block, (BARRIER, "if (false) {}")),
    "a cluster's barrier is missing": (cluster, (CLUSTER_BARRIER, "")),
    "a cluster's barrier is waited at by some": (
        cluster,
        ("__cluster_barrier_wait();", "if (threadIdx.x < 480) __cluster_barrier_wait();"),
    ),
    "a cluster does not wait for all blocks to be there": (
        cluster,
        ("    wait_for_row();\n    for (long long row", "    for (long long row"),
    ),
    "slots are written again while they are read": (block, ("turn = 1 - turn;", "")),
    "a step of the shuffles is missed": (short, ("step = width / 2", "step = width / 4")),
    "a shuffle leaves lanes out": (short, ("? 0xffffffff", "? 0x7fffffff")),
    "a warp is left out of a sum": (block, ("n < count; n += 32", "n < count - 1; n += 32")),
    "a cluster's block is left out of a sum": (
        cluster,
        ("slots[turn][number++], CLUSTER * WARPS", "slots[turn][number++], (CLUSTER - 1) * WARPS"),
    ),
    "a thread returns before a shuffle": (
        short,
        (
            "        Packet<float> x_0_packets",
            "        if (me == 3) return;\n        Packet<float> x_0_packets",
        ),
    ),
    "a barrier stands where threads diverge": (
        block,
        ("gather(exchange, turn, max", "if (threadIdx.x < 32) gather(exchange, turn, max"),
    ),
    "the tail is taken for whole": (block, (HIGH, "const int high = LANES;")),
    "the tail is left out": (block, (HIGH, "const int high = length - first < LANES ? 0 : LANES;")),
    "the head is counted twice": (block, (LOW, "const int low = 0;")),
    "packets are not aligned": (block, ("sizeof(T) % LANES)", "sizeof(T) % 1)")),
    "a write is one packet too far": (
        block,
        ("::type*)to + n, packet", "::type*)to + n + 1, packet"),
    ),
    "a write is one number too far": (
        block,
        ("write(to + lane, packet", "write(to + lane + 1, packet"),
    ),
    "an item is counted twice": (short, ("if (me == 0)", "if (me < 2)")),
    "a row is left out": (short, ("row < table.items", "row < table.items - 1")),
    "the target is the class beside it": (block, ("lane == y_1_lane", "lane + 1 == y_1_lane")),
    "the sum of a row forgets the last packets": (block, ("k < KEEP", "k < KEEP - 2")),
    "rows read again lose their end": (again, ("+ CHUNK - 1) / CHUNK", ") / CHUNK")),
    "a result takes an input's place too early": (
        nll_in_place,
        ("wait_for_row();\n#pragma", "#pragma"),
    ),
    "a tile is left out": (elements, ("tile < table.tiles", "tile < table.tiles - 1")),
    "blocks write their sums to one place": (
        elements,
        ("partial_sums + blockIdx.x / CLUSTER", "partial_sums"),
    ),
    "a block's sum goes beyond the room for it": (
        elements,
        ("partial_sums + blockIdx.x / CLUSTER", "partial_sums + blockIdx.x + 1"),
    ),
    "the total forgets some blocks": (elements, ("n < count; n += THREADS", "n < 1; n += THREADS")),
}


@pytest.mark.parametrize("error", MUTANTS)
def test_an_error_in_a_kernel_is_found(error: str) -> None:
    """By a wrong result or a report, with the first threads ahead, the last, or any."""
    run, (right, mistake) = MUTANTS[error]
    expected = run()
    forget_kernels()
    changed: list[int] = []

    def mutate(source: str) -> str:
        pattern = r"\s+".join(map(re.escape, right.split()))
        mutant, count = re.subn(pattern, lambda _: mistake, source)
        changed.append(count)
        return mutant

    machine.mutate = mutate
    found: list[bool] = []
    for machine.order in range(3):
        found.append(wrong(run, expected))
    assert any(changed)
    assert any(found)


def test_arguments_of_another_type_are_found(cupy: Any) -> None:
    text = tinyloss.source(
        tinyloss.mse, np.zeros(8, np.float32), np.ones(8, np.float32), target="cuda"
    )
    kernel = compiled(text)
    names = [parameter.name for parameter in kernel.parameters]
    assert names == [
        "x_0_array",
        "y_1_array",
        "grad_x_0_array",
        "partial_sums",
        "number_0",
        "table",
    ]
    x, sums = cupy.asarray(logits(8)), cupy.empty(1, np.float64)
    table = np.zeros(1, f"V{kernel.sizes[-1]}")
    right = [x, x, cupy.empty_like(x), sums, np.float64(8), table]
    kernel.launch((1,), (256,), right)  # no tiles
    for at, mistake in [
        (0, logits(8)),  # an array of the host
        (1, cupy.asarray(logits(8, dtype=np.float64))),
        (4, 8.0),
        (4, np.float32(8)),
        (5, np.zeros(1, f"V{kernel.sizes[-1] - 8}")),
    ]:
        with pytest.raises(EmulationError, match=f"{names[at]} of a kernel is"):
            kernel.launch((1,), (256,), [*right[:at], mistake, *right[at + 1 :]])
    with pytest.raises(EmulationError, match="5 arguments, expected 6"):
        kernel.launch((1,), (256,), right[:-1])
    with pytest.raises(EmulationError, match=r"blocks of \(128,\), expected 256"):
        kernel.launch((1,), (128,), right)


# -------------------------------------------------------------------------- conversions, rounded


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16], ids=["float16", "bfloat16"])
def test_half_precision_is_read_and_rounded_as_by_numpy(dtype: Any, cupy: Any) -> None:
    every = np.arange(2**16, dtype=np.uint16).view(dtype)
    x = cupy.asarray(every[np.isfinite(every.astype(np.float32))])
    zeros = cupy.asarray(np.zeros(x.shape, np.float32))
    values, gradient = on_host(tinyloss.value_and_grad(tinyloss.mse)(x, zeros, reduction="none"))
    wide = on_host(x).astype(np.float32)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(values, wide * wide)
        np.testing.assert_array_equal(gradient, (2 * wide).astype(dtype))
    # numbers between two of the dtype, and halfway
    far = np.concatenate([logits(5000), logits(5000, dtype=dtype).astype(np.float32)])
    halfway = far + np.spacing(far.astype(dtype)).astype(np.float32) / 2
    for numbers in (far, halfway):
        exact = numbers.astype(np.float64)
        _, (_, by_y) = on_host(
            tinyloss.value_and_grad(tinyloss.mse, (0, 1))(
                cupy.asarray(exact), cupy.asarray(np.zeros(exact.shape, dtype)), reduction="none"
            )
        )
        np.testing.assert_array_equal(by_y, (-2 * exact).astype(dtype))


# --------------------------------------------------------------------------------- bytes, counted


def counted(run: Callable[[], Any]) -> dict[str, Counts]:
    """Return what the first launch of a run did to each of its arrays."""
    machine.counts = []
    run()
    counts, machine.counts = machine.counts, None
    return {each.name: each for each in counts[0]}


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16, np.float64])
@pytest.mark.parametrize("classes", [10, 1000, 4096, 32000, 50257, 131072])
def test_a_kept_row_is_read_once_and_written_once(classes: int, dtype: Any) -> None:
    x = counted(lambda: cross_entropy(classes, dtype))
    logits_read = x["x_0_array"].reads.reshape(3, classes, -1)
    # each thread of the row looks up the logit of its target: one place in the cache
    rows, targets = np.arange(3), labels(3, classes=classes)
    assert (logits_read[rows, targets] > 1).all()
    logits_read[rows, targets] = 1
    if not (dtype == np.float64 and classes > 65536):  # too long to keep: see below
        assert (logits_read == 1).all()
    assert (x["grad_x_0_array"].writes == 1).all()
    assert not x["grad_x_0_array"].reads.any()
    assert not x["x_0_array"].writes.any()


def test_a_row_that_is_too_long_is_read_once_for_each_pass() -> None:
    x = counted(again)
    reads = x["x_0_array"].reads.reshape(3, 300_001, 4)
    assert np.median(reads) == 3
    assert (x["grad_x_0_array"].writes == 1).all()


def test_in_place_a_row_is_read_once_and_written_once() -> None:
    asarray = sys.modules["cupy"].asarray
    x, y = asarray(logits(3, 5003)), asarray(labels(3, classes=5003))
    counts = counted(lambda: tinyloss.grad(tinyloss.cross_entropy, out=x)(x, y))
    assert set(counts) == {"x_0_array", "y_1_array"}
    assert np.median(counts["x_0_array"].reads) == 1
    assert (counts["x_0_array"].writes == 1).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_elements_are_read_once_and_written_once(dtype: Any, cupy: Any) -> None:
    x, y = cupy.asarray(logits(100_003, dtype=dtype)), cupy.asarray(logits(100_003, dtype=dtype))
    counts = counted(lambda: tinyloss.value_and_grad(tinyloss.mse)(x, y))
    for name in ("x_0_array", "y_1_array"):
        assert (counts[name].reads == 1).all()
    assert (counts["grad_x_0_array"].writes == 1).all()


# -------------------------------------------------------------------------- with and without CuPy


def test_a_kernel_is_written_without_cupy() -> None:
    code = (
        "import sys; sys.modules['cupy'] = None\n"
        "import tinyloss\n"
        "print(len(tinyloss.source(tinyloss.mse, target='cuda')))"
    )
    assert int(python(code)) > 1000


def test_cupy_without_a_gpu_changes_nothing_and_speaks_for_itself() -> None:
    code = """
import cupy
if cupy.cuda.is_available():
    print("has a GPU")
    raise SystemExit
import numpy as np, tinyloss
print(tinyloss.mse(np.ones(3), np.zeros(3)), end=" ")
try:
    tinyloss.mse(cupy.zeros(3), cupy.zeros(3))
except cupy.cuda.runtime.CUDARuntimeError as error:
    print("CuPy:", error)
"""
    if python("try: import cupy\nexcept ImportError: print('missing')"):
        pytest.skip("could not import 'cupy': it is not installed")
    said = python(code)
    if said.startswith("has a GPU"):
        pytest.skip("there is a GPU")
    assert said.startswith("1.0 CuPy: cudaError")


def test_the_machine_is_as_it_was() -> None:
    """The fixture undoes what tests change."""
    fresh = Machine()
    assert (machine.order, machine.mutate, machine.counts) == (0, None, None)
    assert machine.compute_capability == fresh.compute_capability
