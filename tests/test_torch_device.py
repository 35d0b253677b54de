"""torch's tensors of a GPU, answered by CuPy's kernels: of an emulated one in the host's memory."""

import ctypes
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tinyloss
from tests.support.cases import Case, every_case
from tests.support.emulation import machine
from tests.support.emulation.compiler import addressed
from tests.support.on_cupy import emulated, spoken
from tests.support.on_torch import EPS, assert_close, few, on_numpy, tensors

pytestmark = emulated

anyloss: Any = tinyloss
on = pytest.mark.parametrize


@pytest.fixture
def device(torch: Any, cupy: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """What has been launched, where all tensors stand for tensors of a GPU."""
    from tinyloss_torch import _device, _fused, _kernels, _memory, _sequences, _upstream

    memory: list[Any] = []

    def address(tensor: Any) -> int:
        own = tensor.untyped_storage()
        block: Any = (ctypes.c_uint8 * own.nbytes()).from_address(own.data_ptr())
        block.owner = own
        memory.append(np.frombuffer(block, np.uint8))
        return addressed(tensor.data_ptr(), _memory.dtype_of(tensor.dtype), memory[-1])

    for module in (_device, _fused, _kernels, _sequences, _upstream):
        monkeypatch.setattr(module, "is_on_device", lambda tensor: True)
    monkeypatch.setattr(_device._Library, "address", staticmethod(address))
    monkeypatch.setattr(
        torch.cuda, "current_stream", lambda device: SimpleNamespace(cuda_stream=42)
    )
    tinyloss.clear_caches()
    monkeypatch.setattr(machine, "streams", [])
    yield machine
    tinyloss.clear_caches()


@every_case
def test_kernels_answer_both_passes_on_the_current_stream(
    torch: Any, device: Any, case: Case
) -> None:
    x, *more = tensors(torch, case)
    value = case.loss(x, *more, **case.options)
    value.backward()
    assert_close((value, x.grad), on_numpy(case))
    assert x.grad.stride() == x.stride()
    assert {*device.streams} == {42}
    # of value and gradient, the sum of the blocks' sums, the gradient times what is upstream
    assert len(device.streams) == 3


@few
@on("dtype", ["float64", "bfloat16", "float16"])
def test_every_dtype(torch: Any, device: Any, case: Case, dtype: str) -> None:
    x, *more = tensors(torch, case, getattr(torch, dtype))
    value = case.loss(x, *more)
    value.backward()
    assert x.grad.dtype == x.dtype
    rounded = [
        each.detach().to(torch.float64) if each.is_floating_point() else each for each in (x, *more)
    ]
    expected = anyloss.value_and_grad(case.loss)(*[each.numpy() for each in rounded])
    assert_close((value, x.grad), expected, max(EPS, torch.finfo(x.dtype).eps))
    assert device.streams == [42] * 3  # in half precision value, sum and gradient


@few
@on("factor", [3.0, 0.0, float("nan")])
def test_a_gradient_that_came_with_its_value_is_multiplied(
    torch: Any, device: Any, case: Case, factor: float
) -> None:
    """The host does not see what is upstream: a kernel multiplies by it, unless it is 1."""
    x, *more = tensors(torch, case)
    value = case.loss(x, *more, **case.options)
    launches = len(device.streams)
    (factor * value).backward()
    assert len(device.streams) == launches + 1
    assert_close((x.grad,), (np.float32(factor) * on_numpy(case)[1],))


@few
def test_a_graph_that_is_kept_has_its_gradient_again(torch: Any, device: Any, case: Case) -> None:
    x, *more = tensors(torch, case)
    value = case.loss(x, *more, **case.options)
    value.backward(torch.tensor(0.5), retain_graph=True)
    value.backward()
    assert_close((x.grad,), (np.float32(1.5) * on_numpy(case)[1],))


@few
def test_calls_alike_take_tensors_of_any_address(torch: Any, device: Any, case: Case) -> None:
    """What is kept of a first call depends on where its tensors lie in a packet of 16 bytes."""
    x, *more = tensors(torch, case)
    for offset in (0, 0, 1, 2, 0):
        room = torch.full((x.numel() + offset,), torch.nan)
        own = room[offset:].view(x.shape).copy_(x.detach()).requires_grad_()
        value = case.loss(own, *more, **case.options)
        value.backward()
        assert_close((value, own.grad), on_numpy(case))


def test_numbers_of_calls_alike_are_their_own(torch: Any, device: Any) -> None:
    x, y = torch.full((2, 5), 3.0), torch.zeros(2, 5)
    for _ in range(2):
        for delta in (0.5, 1.0):
            value = tinyloss.huber(x, y, delta=delta)
            assert value.item() == pytest.approx(delta * (3 - delta / 2))


@few
def test_gradients_of_tensors_with_gaps(torch: Any, device: Any, case: Case) -> None:
    x, *more = tensors(torch, case)
    room = torch.full((3, *[2 * n for n in x.shape]), torch.nan)
    part = room[1][tuple(slice(1, None, 2) for _ in x.shape)]
    part.copy_(x.detach())
    own = part.detach().requires_grad_()
    (3.0 * case.loss(own, *more, **case.options)).backward()
    assert_close((own.grad,), (np.float32(3) * on_numpy(case)[1],))


@few
def test_tensors_that_lie_in_any_way(torch: Any, device: Any, case: Case) -> None:
    x, *more = tensors(torch, case)
    room = torch.full((3, *[2 * n for n in x.shape]), torch.nan)
    part = room[1][tuple(slice(1, None, 2) for _ in x.shape)]
    part.copy_(x.detach())
    value, gradient = anyloss.value_and_grad(case.loss)(part, *more)
    assert_close((value, gradient), on_numpy(case))


@few
def test_a_vector_upstream_is_a_weight(torch: Any, device: Any, case: Case) -> None:
    x, *more = tensors(torch, case)
    upstream = np.linspace(-2, 2, int(np.prod(case.items)), dtype=np.float32).reshape(case.items)
    values = case.loss(x, *more, reduction="none")
    values.backward(torch.asarray(upstream))
    expected = (
        on_numpy(case, reduction="none")[0],
        on_numpy(case, weight=upstream, reduction="sum")[1],
    )
    assert_close((values, x.grad), expected)


@few
def test_weights_masks_and_out(torch: Any, device: Any, case: Case) -> None:
    x, *more = tensors(torch, case)
    weight = np.linspace(0, 2, int(np.prod(case.items)), dtype=np.float32).reshape(case.items)
    where = weight < 1.5
    into = torch.full_like(x.detach(), torch.nan)
    step = anyloss.value_and_grad(case.loss, out=into)
    value, gradient = step(
        x.detach(), *more, weight=torch.asarray(weight), where=torch.asarray(where)
    )
    assert gradient is into
    assert_close((value, into), on_numpy(case, weight=weight, where=where))


def test_a_label_that_is_no_class_gives_nan(torch: Any, device: Any) -> None:
    x = torch.zeros((2, 3), requires_grad=True)
    values = tinyloss.cross_entropy(x, torch.asarray([1, 3]), reduction="none")
    values.sum().backward()
    assert values.isnan().tolist() == [False, True]
    assert x.grad.isnan().any(1).tolist() == [False, True]


@few
def test_second_derivatives_and_vmap(torch: Any, device: Any, case: Case) -> None:
    x, *more = (
        each.detach().double() if each.is_floating_point() else each
        for each in tensors(torch, case)
    )
    direction = torch.linspace(-1, 1, x.numel(), dtype=x.dtype).reshape(x.shape)

    def product(*arrays: Any) -> Any:
        own = arrays[0].requires_grad_()
        (gradient,) = torch.autograd.grad(case.loss(own, *arrays[1:]), own, create_graph=True)
        return torch.autograd.grad((gradient * direction).sum(), own)[0]

    got = product(x.clone(), *more)
    step = 2.0**-20
    gradient = anyloss.grad(case.loss)
    around = [gradient(x.detach() + sign * step * direction, *more) for sign in (1, -1)]
    torch.testing.assert_close(got, (around[0] - around[1]) / (2 * step), rtol=1e-6, atol=1e-9)
    mapped = torch.func.vmap(case.loss)(*[each[None] for each in (x, *more)])
    torch.testing.assert_close(mapped, case.loss(x, *more)[None])


@on("dtype", ["float32", "float64", "bfloat16"])
def test_sequences_are_a_kernel_in_both_passes(torch: Any, device: Any, dtype: str) -> None:
    x, y = spoken(3, 25, 12, 40)
    own = torch.asarray(x).to(getattr(torch, dtype)).requires_grad_()
    labels, upstream = torch.asarray(y), torch.tensor([0.5, -2.0, 3.0]).to(own.dtype)
    launches = len(machine.launched)
    losses = tinyloss.ctc(own, labels, reduction="none")
    losses.backward(upstream)
    texts = machine.launched[launches:]
    assert sum("sequence(of, shared" in text for text in texts) == 1
    wide = own.detach().double().numpy()
    value, slopes = anyloss.value_and_grad(tinyloss.ctc)(wide, y, reduction="none")
    slopes = slopes * upstream.double().numpy()[:, None, None]
    eps = max(EPS, torch.finfo(own.dtype).eps)
    np.testing.assert_allclose(losses.detach().double(), value, rtol=16 * eps)
    size = np.max(np.abs(slopes), axis=-1, keepdims=True)
    assert np.all(np.abs(own.grad.double().numpy() - slopes) <= 16 * eps * size)
    assert own.grad.dtype == own.dtype
    # where gradients are asked for by a number upstream, and where a graph is kept
    value, grad = anyloss.value_and_grad(tinyloss.ctc)(own.detach(), labels, weight=upstream)
    assert grad.dtype == own.dtype
    assert value.isfinite()
    assert {*device.streams} == {42}


def test_second_derivatives_of_sequences_are_those_of_formulas(torch: Any, device: Any) -> None:
    x, y = spoken(2, 7, 2, 5)
    own = torch.asarray(x).double().requires_grad_()
    labels, direction = torch.asarray(y), torch.linspace(-1, 1, own.numel()).double()
    direction = direction.reshape(own.shape)
    (slope,) = torch.autograd.grad(tinyloss.ctc(own, labels), own, create_graph=True)
    (got,) = torch.autograd.grad((slope * direction).sum(), own)
    step, gradient = 2.0**-20, anyloss.grad(tinyloss.ctc)
    around = [gradient(own.detach() + sign * step * direction, labels) for sign in (1, -1)]
    torch.testing.assert_close(got, (around[0] - around[1]) / (2 * step), rtol=1e-6, atol=1e-9)
    mapped = torch.func.vmap(tinyloss.ctc)(own.detach()[None], labels[None])
    torch.testing.assert_close(mapped, tinyloss.ctc(own.detach(), labels)[None])


def test_a_number_on_the_device_is_read_by_formulas(torch: Any, device: Any) -> None:
    x, y = torch.ones(3, requires_grad=True), torch.full((3,), 2.0)
    beta = torch.tensor(2.0, requires_grad=True)
    value = anyloss.smooth_l1(x, y, beta=beta)
    value.backward()
    assert (value.item(), beta.grad.item()) == (0.25, -0.125)
    assert x.grad.tolist() == pytest.approx([-1 / 6] * 3)
