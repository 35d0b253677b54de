"""torch's tensors on a GPU: CuPy's kernels in their memory, on torch's streams. `pytest -m gpu`."""

import threading
import time
from typing import Any, NamedTuple

import numpy as np
import pytest

import tinyloss
from tests.support.cases import Case, every_case
from tests.support.gpu import (
    COMPOSED,
    as_float64,
    assert_rounded_once,
    hold_up,
    last_layer_of_halves,
)
from tests.support.on_torch import EPS, assert_close, few, on_numpy, tensors

pytestmark = [
    pytest.mark.gpu,
    # Of its own, when vmap first loads its decompositions.
    pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning"),
]

anyloss: Any = tinyloss
on = pytest.mark.parametrize

SLOW = 0.2
"""Seconds for which a kernel holds a stream up: a hundred times what a call takes the host."""


@pytest.fixture(scope="module")
def torch() -> Any:
    """torch with a device."""
    module = pytest.importorskip("torch")
    if not module.cuda.is_available():
        pytest.skip("torch has no device")
    return module


@pytest.fixture
def kernels(torch: Any, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each job and each factor that CuPy was asked to compute whether it did."""
    pytest.importorskip("cupy", exc_type=ImportError)
    from tinyloss_torch import _device, _upstream

    answered: list[bool] = []
    compute, ready_of, scale = _device.computed, _device.ready_of, _device.scale

    def seen(found: Any) -> Any:
        answered.append(found is not None)
        return found

    def ready(*given: Any) -> Any:
        answer = ready_of(*given)
        return answer and (lambda tensors: seen(answer(tensors)))

    def scaled(*given: Any) -> None:
        scale(*given)
        answered.append(True)

    monkeypatch.setattr(_device, "computed", lambda job: seen(compute(job)))
    monkeypatch.setattr(_device, "ready_of", ready)
    monkeypatch.setattr(_upstream, "scale", scaled)
    tinyloss.clear_caches()  # of what was ready before
    return answered


@every_case
def test_kernels_answer_both_passes(torch: Any, kernels: list[bool], case: Case) -> None:
    x, *more = tensors(torch, case, device="cuda")
    value = case.loss(x, *more, **case.options)
    value.backward()
    assert kernels == [True, True]  # the second multiplies the gradient by what is upstream
    assert (value.device, x.grad.device, x.grad.stride()) == (x.device, x.device, x.stride())
    assert_close((value, x.grad), on_numpy(case))


@every_case
def test_formulas_where_there_is_no_cupy(
    torch: Any, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tinyloss_torch import _device

    monkeypatch.setattr(_device, "_has_cupy", lambda: False)
    x, *more = tensors(torch, case, device="cuda")
    value = case.loss(x, *more, **case.options)
    value.backward()
    assert_close((value, x.grad), on_numpy(case))


@on("name", COMPOSED)
def test_what_is_more_than_one_kernel_answers_as_on_numpy(torch: Any, name: str) -> None:
    case = COMPOSED[name]
    got = case.answer(lambda a: torch.asarray(a, device="cuda"))
    assert all(each.is_cuda for each in got)
    case.check([each.cpu().numpy() for each in got])
    own = [torch.asarray(a, device="cuda") for a in case.arrays]
    for n in case.argnums:
        own[n].requires_grad_()
    value = case.loss(*own, **case.options)
    value.backward()
    tracked = [value.detach(), *[own[n].grad for n in case.argnums]]
    case.check([each.cpu().numpy() for each in tracked])


@on("memory", [None, 2**17])
@on("precision", ["highest", "medium"])
def test_a_last_layer_of_halves(torch: Any, memory: int | None, precision: str) -> None:
    case = last_layer_of_halves()
    h, w = (torch.asarray(a.astype(np.float32)).bfloat16().cuda() for a in case.arrays[:2])
    h.requires_grad_()
    w.requires_grad_()
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        y = torch.asarray(case.arrays[2]).cuda()
        value = tinyloss.linear_cross_entropy(h, w, y, max_memory=memory)
        value.backward()
    finally:
        torch.set_float32_matmul_precision(before)
    got = [each.detach().double().cpu().numpy() for each in (value, h.grad, w.grad)]
    if precision == "highest":
        assert_rounded_once(case, got)
        return
    for one, other in zip(got, case.answer(as_float64), strict=True):
        np.testing.assert_allclose(one, other, rtol=2**-6, atol=2**-8 * np.abs(other).max())


def test_a_last_layer_under_autocast_is_one_of_halves(torch: Any) -> None:
    random = torch.Generator("cuda").manual_seed(0)
    h = torch.randn((96, 64), device="cuda", generator=random).bfloat16().requires_grad_()
    w = torch.randn((1000, 64), device="cuda", generator=random).requires_grad_()
    y = torch.arange(96, device="cuda")
    with torch.autocast("cuda", dtype=torch.bfloat16):
        value = tinyloss.linear_cross_entropy(h, w, y)
    value.backward()
    expected = tinyloss.value_and_grad(tinyloss.linear_cross_entropy, (0, 1))(
        h.detach(), w.detach().bfloat16(), y
    )
    torch.testing.assert_close(value.detach(), expected[0], rtol=1e-6, atol=0)
    assert (h.grad.dtype, w.grad.dtype) == (torch.bfloat16, torch.float32)
    for got, known in zip((h.grad, w.grad), expected[1], strict=True):
        torch.testing.assert_close(got.float(), known.float(), rtol=2**-7, atol=0)


@few
@on("dtype", ["float64", "bfloat16", "float16"])
def test_every_dtype(torch: Any, kernels: list[bool], case: Case, dtype: str) -> None:
    x, *more = tensors(torch, case, getattr(torch, dtype), "cuda")
    value = case.loss(x, *more)
    value.backward()
    arrays = [each.detach().cpu() for each in (x, *more)]
    arrays = [each.double() if each.is_floating_point() else each for each in arrays]
    expected = anyloss.value_and_grad(case.loss)(*[each.numpy() for each in arrays])
    assert_close((value, x.grad), expected, max(EPS, torch.finfo(x.dtype).eps))
    assert kernels == [True, True]


@few
def test_second_derivatives_and_transforms(torch: Any, case: Case) -> None:
    x, *more = tensors(torch, case, torch.float64, "cuda")
    host = [each.detach().cpu() for each in (x, *more)]

    def curvature(first: Any, *others: Any) -> Any:
        return torch.func.hessian(lambda own: case.loss(own, *others))(first)

    got, expected = curvature(x.detach(), *more), curvature(*host)
    torch.testing.assert_close(got.cpu(), expected, rtol=1e-12, atol=1e-14)
    mapped = torch.func.vmap(case.loss)(*[each.detach()[None] for each in (x, *more)])
    torch.testing.assert_close(mapped, case.loss(x.detach(), *more)[None])


@few
@on("factor", [1.0, 3.0, 0.0])
@on("dtype", ["float32", "float64", "bfloat16"])
def test_a_factor_upstream(
    torch: Any, kernels: list[bool], case: Case, factor: float, dtype: str
) -> None:
    """The host does not see it: a kernel multiplies by it, or computes the gradient with it."""
    x, *more = tensors(torch, case, getattr(torch, dtype), "cuda")
    value = case.loss(x, *more)
    (factor * value).backward(retain_graph=True)
    (plain,) = torch.autograd.grad(value, x)
    size = plain.abs().max()
    torch.testing.assert_close(
        x.grad, factor * plain, rtol=2 * torch.finfo(x.dtype).eps, atol=float(EPS * size)
    )
    assert all(kernels)


def test_calls_alike_take_tensors_of_any_address(torch: Any, kernels: list[bool]) -> None:
    x, y = large(torch, 0), torch.arange(20, device="cuda")
    expected = tinyloss.value_and_grad(tinyloss.cross_entropy)(x, y)
    for offset in (0, 0, 1, 2, 0):
        room = torch.full((x.numel() + offset,), torch.nan, device="cuda")
        own = room[offset:].view(x.shape).copy_(x).requires_grad_()
        value = tinyloss.cross_entropy(own, y)
        value.backward()
        assert_close((value, own.grad), [each.double().cpu().numpy() for each in expected])
    assert all(kernels)


def test_autocast_computes_in_float32(torch: Any, kernels: list[bool]) -> None:
    x = torch.randn((64, 100), device="cuda", requires_grad=True)
    y = torch.arange(64, device="cuda")
    w = torch.randn((100, 100), device="cuda", requires_grad=True)
    with torch.autocast("cuda", dtype=torch.bfloat16):
        logits = x @ w
        value = tinyloss.cross_entropy(logits, y)
    value.backward()
    assert (logits.dtype, value.dtype) == (torch.bfloat16, torch.float32)
    assert (x.grad.dtype, w.grad.dtype) == (torch.float32, torch.float32)
    assert kernels == [True, True]


def large(torch: Any, seed: int) -> Any:
    generator = torch.Generator("cuda").manual_seed(seed)
    return 3 * torch.randn((20, 5003), device="cuda", generator=generator)


class Stream(NamedTuple):
    """A stream of torch for CuPy, by CUDA's protocol, which not every torch has."""

    address: int

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.address


def test_both_passes_follow_the_current_stream_and_wait_for_nothing(torch: Any) -> None:
    cupy = pytest.importorskip("cupy", exc_type=ImportError)
    holds = hold_up(cupy)
    before, after = large(torch, 0), large(torch, 1)
    x = before.clone().requires_grad_()
    y = torch.arange(20, device="cuda")
    expected = tinyloss.value_and_grad(tinyloss.cross_entropy)(after, y)
    tinyloss.cross_entropy(x, y).backward()
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    own = cupy.cuda.Stream.from_external(Stream(stream.cuda_stream))
    with torch.cuda.stream(stream), own:
        for _ in range(2):  # the stream's pool of memory is filled
            x.grad = None
            tinyloss.cross_entropy(x, y).backward()
        stream.synchronize()
        x.grad = None
        started = time.perf_counter()
        holds((1,), (1,), (np.int64(SLOW * 1e9),))
        x.detach().copy_(after)  # on another stream the call would find what was there before
        value = tinyloss.cross_entropy(x, y)
        value.backward()
        took = time.perf_counter() - started
    assert took < SLOW, "the call has waited for the stream"
    stream.synchronize()
    assert_close((value, x.grad), [each.double().cpu().numpy() for each in expected])


def test_both_passes_can_be_captured_and_replayed(torch: Any) -> None:
    x, y = large(torch, 0).requires_grad_(), torch.arange(20, device="cuda")
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            x.grad = None
            tinyloss.cross_entropy(x, y).backward()
    torch.cuda.current_stream().wait_stream(stream)
    x.grad = None
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        value = tinyloss.cross_entropy(x, y)
        value.backward()
    others = large(torch, 1)
    x.detach().copy_(others)
    graph.replay()
    torch.cuda.synchronize()
    expected = tinyloss.value_and_grad(tinyloss.cross_entropy)(others, y)
    assert_close((value, x.grad), [each.double().cpu().numpy() for each in expected])


def test_memory_is_torchs_and_no_more_than_the_gradient(torch: Any, kernels: list[bool]) -> None:
    x = torch.randn((4096, 8192), device="cuda", requires_grad=True)
    y = torch.arange(4096, device="cuda")
    tinyloss.cross_entropy(x, y).backward()
    x.grad = None
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    tinyloss.cross_entropy(x, y).backward()
    assert kernels == [True] * 4
    assert torch.cuda.max_memory_allocated() - before <= x.nbytes + 2e6
    assert torch.cuda.memory_allocated() - before >= x.nbytes


def test_a_label_that_is_no_class_gives_nan(torch: Any) -> None:
    x = torch.zeros((2, 3), device="cuda", requires_grad=True)
    y = torch.asarray([1, 3], device="cuda")
    values = tinyloss.cross_entropy(x, y, reduction="none")
    values.sum().backward()
    assert values.isnan().tolist() == [False, True]
    assert x.grad.isnan().any(1).tolist() == [False, True]


def test_threads_with_streams_of_their_own(torch: Any) -> None:
    y = torch.arange(20, device="cuda")
    inputs = [large(torch, seed) for seed in range(4)]
    expected = [tinyloss.value_and_grad(tinyloss.cross_entropy)(each, y) for each in inputs]
    torch.cuda.synchronize()
    wrong: list[int] = []

    def work(number: int) -> None:
        with torch.cuda.stream(torch.cuda.Stream()):
            for _ in range(50):
                x = inputs[number].clone().requires_grad_()
                value = tinyloss.cross_entropy(x, y)
                value.backward()
                value_there, gradient = expected[number]
                if not (torch.equal(value, value_there) and torch.equal(x.grad, gradient)):
                    wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not wrong
