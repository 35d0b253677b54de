"""The CuPy backend on an emulated GPU: the contract, launches, conversions."""

import re
import sys
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import tinyloss
from tests.support.emulation import HostAccessError, machine
from tests.support.emulation.compiler import Machine, compiled
from tests.support.families import HALF_BOUND
from tests.support.gpu import CLASSES, FUNCTIONS, ROWS
from tests.support.memory import peak
from tests.support.on_cupy import (
    FEW,
    assert_as_on_numpy,
    become,
    cluster_of,
    cross_entropy,
    emulated,
    labels,
    logits,
    on_host,
)
from tests.support.process import python
from tests.support.specs import LOSSES
from tinyloss.testing import Report, check_backend

pytestmark = emulated

CLUSTERS, NO_CLUSTERS = "90", "80"
"""Compute capabilities."""


def check(**options: Any) -> Report:
    report = check_backend("cupy", must_answer=True, **options)
    assert report.left_out == ()
    # `bound` units more than the formulas' own error, which is within 10 (sigmoid_focal, far from
    # the targets it is for)
    assert max(report.worst.values(), default=0) <= 26
    return report


IN_FULL = ("mse", "cross_entropy", "kl_div_with_logits", *FUNCTIONS)
"""A loss of each kind, and activations, which have few cases."""


@pytest.mark.parametrize("name", [*LOSSES, *FUNCTIONS])
@pytest.mark.heavy(16)
def test_kernels_answer_as_the_formulas_do(name: str) -> None:
    """Of three losses that follow each other each tries a third of the cases."""
    only = None if name in IN_FULL else range(LOSSES.index(name) % 3, 10_000, 3)
    assert check(losses=[getattr(tinyloss, name)], only=only).cases > 10


@pytest.mark.parametrize("capability", [CLUSTERS, NO_CLUSTERS])
@pytest.mark.parametrize("name", ROWS)
@pytest.mark.heavy(14)
def test_rows_of_any_length(name: str, capability: str) -> None:
    """Every length for each loss; a generation takes every other one, those of its neighbour's."""
    become(capability)
    first = (ROWS.index(name) + [CLUSTERS, NO_CLUSTERS].index(capability)) % 2
    classes = CLASSES[first::2]
    assert check(losses=[getattr(tinyloss, name)], classes=classes).cases >= len(classes)


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


IN_ORDER: dict[str, tuple[Any, Any]] = {
    "listmle": (tinyloss.listmle, lambda x: labels(*x.shape, classes=5)),
    "unique_softmax": (tinyloss.unique_softmax, lambda x: labels(*x.shape, classes=5)),
    "lovasz_hinge": (tinyloss.lovasz_hinge, lambda x: labels(*x.shape, classes=2)),
    "sparsemax": (tinyloss.FenchelYoungLoss(), lambda x: labels(len(x), classes=x.shape[-1])),
}


@pytest.mark.parametrize("name", IN_ORDER)
def test_rows_in_an_order_take_the_memory_of_rows(name: str, cupy: Any) -> None:
    """No kernel sorts. The formulas look at nothing from the host, and hold no row twice over C."""
    loss, target = IN_ORDER[name]
    x = logits(2, 3000)
    y = target(x)
    step: Any = tinyloss.value_and_grad(loss)
    launches = len(machine.launched)
    assert_as_on_numpy(step, x, y, terms=True)
    assert len(machine.launched) == launches
    there = cupy.asarray(x), cupy.asarray(y)
    assert peak(lambda: step(*there)) < 100 * x.nbytes


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


def test_calls_alike_take_arrays_of_any_address(cupy: Any) -> None:
    """What is kept of a first call depends on where its arrays lie in a packet of 16 bytes."""
    x, y = logits(4, 50), labels(4, classes=50)
    expected = tinyloss.value_and_grad(tinyloss.cross_entropy)(x, y)
    there = cupy.asarray(y)
    for offset in (0, 0, 1, 2, 0):
        room = cupy.asarray(np.concatenate([np.full(offset, np.nan, np.float32), x.ravel()]))
        own = room[offset:].reshape(x.shape)
        got = on_host(tinyloss.value_and_grad(tinyloss.cross_entropy)(own, there))
        for one, other in zip(got, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=FEW)


def test_a_call_amid_a_launch_has_arguments_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal handler, or another thread, may call a loss while arguments are handed over."""
    from tests.support.emulation import compiler

    expected = cross_entropy(100)
    inner: list[Any] = []
    launch = compiler.Kernel.launch

    def interrupted(*given: Any) -> None:
        if not inner:
            inner.append(None)
            inner[0] = cross_entropy(100)
        launch(*given)

    monkeypatch.setattr(compiler.Kernel, "launch", interrupted)
    outer = cross_entropy(100)
    for got in (outer, inner[0]):
        assert [each.tobytes() for each in got] == [each.tobytes() for each in expected]


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
    tinyloss.clear_caches()
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


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16], ids=["float16", "bfloat16"])
@pytest.mark.parametrize("targets", ["labels", "matched"])
def test_gradients_of_half_precision_are_rounded_once(targets: str, dtype: Any, cupy: Any) -> None:
    """Few digits of an exponential do where it is multiplied, not where y is taken from it.

    What is left of two numbers has the error of these, 4 eps of float32.
    """
    x = (4 * np.random.default_rng(0).standard_normal((40, 100))).astype(dtype)
    x[:, ::7] = dtype(-60)
    wide = x.astype(np.float64)
    odds = np.exp(wide - wide.max(-1, keepdims=True))
    odds /= odds.sum(-1, keepdims=True)
    y: Any = labels(40, classes=100) if targets == "labels" else odds.astype(dtype)
    step: Any = tinyloss.grad(tinyloss.cross_entropy)
    exact = step(wide, y if targets == "labels" else y.astype(np.float64), reduction="sum")
    got = on_host(step(cupy.asarray(x), cupy.asarray(y), reduction="sum")).astype(np.float64)
    info = ml_dtypes.finfo(dtype)
    size = np.maximum(np.abs(exact), float(info.smallest_normal))
    unit = float(info.eps) * 2.0 ** np.floor(np.log2(size))
    assert np.all(np.abs(got - exact) <= HALF_BOUND * unit + 4 * 2.0**-23 * odds)


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
