"""backward() through losses of tensors: what is upstream, what is kept, what results look like."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import tinyloss
import tinyloss_numpy
from tests.support.cases import Case
from tests.support.on_torch import few, tensors

anyloss: Any = tinyloss
on = pytest.mark.parametrize

COMPILED = on("mode", ["always", "never"])


def backward(loss: Any, upstream: Any = None) -> Any:
    """Return a function of tensors: the loss, and the gradient of the first."""

    def ask(x: Any, *more: Any) -> Any:
        x.grad = None
        value = loss(x, *more)
        value.backward(upstream)
        return value.detach(), x.grad

    return ask


@few
@COMPILED
def test_backward_is_the_gradient_of_value_and_grad(torch: Any, case: Case, mode: Any) -> None:
    own = tensors(torch, case)
    with tinyloss_numpy.compilation(mode):
        got = backward(case.loss)(*own)
        value, gradient = anyloss.value_and_grad(case.loss)(own[0].detach(), *own[1:])
    for one, other in zip(got, (value, gradient), strict=True):
        assert torch.equal(one, other)


@few
@on("upstream", [0.0, -2.5, 65536.0, float("nan")])
def test_a_number_upstream_multiplies_the_gradient(torch: Any, case: Case, upstream: float) -> None:
    own = tensors(torch, case)
    _, plain = backward(case.loss)(*own)
    _, got = backward(case.loss, torch.tensor(upstream))(*own)
    torch.testing.assert_close(got, plain * upstream, equal_nan=True)


@few
def test_a_vector_upstream_weighs_the_items_that_count(torch: Any, case: Case) -> None:
    own = tensors(torch, case)
    n = int(np.prod(case.items))
    where = (torch.arange(n) % 3 != 1).reshape(case.items)
    upstream = torch.linspace(-2, 2, n).reshape(case.items)
    upstream = torch.where(torch.arange(n).reshape(case.items) == 0, 0.0, upstream)
    upstream[~where] = torch.nan
    _, got = backward(lambda *each: case.loss(*each, where=where, reduction="none"), upstream)(*own)
    expected = anyloss.grad(case.loss)(
        own[0].detach(), *own[1:], weight=torch.where(where, upstream, 0.0), reduction="none"
    )
    torch.testing.assert_close(got, expected)


@few
def test_an_expanded_gradient_upstream(torch: Any, case: Case) -> None:
    own = tensors(torch, case)
    value = case.loss(*own, reduction="none")
    (got,) = torch.autograd.grad(value.sum(), own[0])
    assert torch.equal(got, anyloss.grad(case.loss)(own[0].detach(), *own[1:], reduction="none"))


@on("name", ["float16", "bfloat16"])
@few
def test_a_scaled_loss_of_half_precision_is_rounded_once(torch: Any, case: Case, name: str) -> None:
    own = tensors(torch, case, getattr(torch, name))
    own = [each.detach() * 2**-10 if each.requires_grad else each for each in own]
    own[0].requires_grad_()
    value = case.loss(*own)
    assert value.dtype is torch.float32
    # without the scale it would be subnormal, or 0, in float16
    (got,) = torch.autograd.grad(value, own[0], torch.tensor(2.0**-14))
    wide = [each.detach().float() if each.is_floating_point() else each for each in own]
    (exact,) = torch.autograd.grad(case.loss(wide[0].requires_grad_(), *wide[1:]), wide[0])
    assert got.dtype is own[0].dtype
    assert torch.equal(got, (exact * 2.0**-14).to(got.dtype))


@on("layout", ["rows", "columns", "expanded", "sliced", "channels_last"])
def test_the_gradient_lies_as_its_argument_does(torch: Any, layout: str) -> None:
    base = torch.linspace(-3, 3, 4 * 6 * 5 * 2).reshape(4, 6, 5, 2)
    x = {
        "rows": base,
        "columns": base.permute(3, 2, 1, 0),
        "expanded": base[:, :, :1].expand(4, 6, 5, 2),
        "sliced": base[::2, :, 1:4],
        "channels_last": base.contiguous(memory_format=torch.channels_last),
    }[layout].detach()
    x.requires_grad_()
    y = torch.zeros((x.shape[0], *x.shape[2:]), dtype=torch.int64)
    with tinyloss_numpy.compilation("always"):
        (got,) = torch.autograd.grad(tinyloss.cross_entropy(x, y, axis=1), x)
    dense = x.detach().contiguous().requires_grad_()
    (want,) = torch.autograd.grad(torch.nn.functional.cross_entropy(dense, y), dense)
    torch.testing.assert_close(got, want)
    assert (got.shape, got.dtype) == (x.shape, x.dtype)
    if layout != "expanded":
        assert [k for k, _ in sorted(enumerate(got.stride()), key=lambda s: s[1])] == [
            k for k, _ in sorted(enumerate(x.stride()), key=lambda s: s[1])
        ]


@COMPILED
def test_calls_alike_with_weights_of_classes(torch: Any, mode: Any) -> None:
    x, y = torch.linspace(-2, 2, 32).reshape(8, 4).requires_grad_(), torch.arange(8) % 4
    weights = torch.arange(1.0, 5.0)
    torch.nn.functional.cross_entropy(x, y, weights).backward()
    expected, x.grad = x.grad, None
    with tinyloss_numpy.compilation(mode):
        for _ in range(3):
            tinyloss.cross_entropy(x, y, class_weight=weights).backward()
            torch.testing.assert_close(x.grad, expected)
            x.grad = None


def test_only_what_is_tracked_gets_a_gradient(torch: Any) -> None:
    x, y = torch.ones(3), torch.zeros(3, requires_grad=True)
    tinyloss.mse(x, y).backward()
    assert x.grad is None
    assert torch.equal(y.grad, torch.full((3,), -2 / 3))


def test_without_gradients_there_is_no_graph(torch: Any) -> None:
    x, y = torch.ones(3, requires_grad=True), torch.zeros(3)
    with torch.no_grad():
        assert not tinyloss.mse(x, y).requires_grad
    with torch.inference_mode():
        assert tinyloss.mse(x, y).item() == 1
        assert tinyloss.mse(torch.ones(3), torch.zeros(3)).item() == 1
    assert not tinyloss.mse(x.detach(), y).requires_grad
    assert tinyloss.mse(x, y).requires_grad


def test_a_graph_that_is_kept_gives_the_gradient_again(torch: Any) -> None:
    x, y = torch.linspace(-1, 1, 5).requires_grad_(), torch.zeros(5)
    value = tinyloss.huber(x, y)
    (first,) = torch.autograd.grad(value, x, retain_graph=True)
    kept = first.clone()
    first.mul_(7)  # a caller's to change
    (again,) = torch.autograd.grad(value, x, torch.tensor(2.0), retain_graph=True)
    (last,) = torch.autograd.grad(value, x)
    assert torch.equal(again, 2 * kept)
    assert torch.equal(last, kept)
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(value, x)


def test_gradients_of_parts_add_up_to_that_of_the_whole(torch: Any) -> None:
    x, y = torch.linspace(-2, 2, 40).reshape(8, 5).requires_grad_(), torch.arange(8) % 5
    tinyloss.cross_entropy(x, y).backward()
    whole, x.grad = x.grad, None
    for part in (slice(0, 3), slice(3, 8)):
        tinyloss.cross_entropy(x[part], y[part], denominator=8).backward()
    torch.testing.assert_close(x.grad, whole)


def test_an_empty_batch_has_a_gradient_of_nothing(torch: Any) -> None:
    x = torch.zeros((0, 3), requires_grad=True)
    value = tinyloss.cross_entropy(x, torch.zeros(0, dtype=torch.int64))
    value.backward()
    assert value.item() == 0
    assert x.grad.shape == (0, 3)


def test_an_input_changed_after_the_loss_is_an_error_of_torchs(torch: Any) -> None:
    x = torch.linspace(-1, 1, 5).requires_grad_()
    logits = x * 1
    value = tinyloss.mse(logits, torch.zeros(5), reduction="none")
    with torch.no_grad():
        logits.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        value.sum().backward()


def test_what_is_written_into_out_counts_as_changed(torch: Any) -> None:
    x, out = torch.linspace(-1, 1, 5), torch.empty(5)
    version = out._version
    gradient = tinyloss.grad(tinyloss.mse, out=out)(x, torch.zeros(5))
    assert gradient is out
    assert out._version > version
    torch.testing.assert_close(out, 2 * x / 5)


def test_derived_functions_of_tracked_tensors_can_be_differentiated(torch: Any) -> None:
    x, y = torch.linspace(-1, 1, 5, dtype=torch.float64).requires_grad_(), torch.zeros(5).double()
    value, gradient = tinyloss.value_and_grad(tinyloss.log_cosh)(x, y)
    assert value.requires_grad
    assert gradient.requires_grad
    (second,) = torch.autograd.grad(gradient.sum(), x)
    torch.testing.assert_close(second, (1 - torch.tanh(x.detach()) ** 2) / 5)
    _, curvature = tinyloss.grad_and_hess(tinyloss.log_cosh)(x, y)
    (third,) = torch.autograd.grad(curvature.sum(), x)
    t = torch.tanh(x.detach())
    torch.testing.assert_close(third, -2 * t * (1 - t**2))


@on("name", ["log_softmax", "softmax", "logsumexp", "softplus", "log_sigmoid"])
def test_activations_differentiate(torch: Any, name: str) -> None:
    x = torch.linspace(-3, 3, 12, dtype=torch.float64).reshape(3, 4).requires_grad_()
    function = getattr(anyloss, name)
    assert torch.autograd.gradcheck(function, x)
    assert torch.autograd.gradgradcheck(function, x)


def _exact_pull(name: str, x: Any, upstream: Any) -> Any:
    """Return the gradient by logits of what is pulled, by rationals of 80 digits."""
    from mpmath import mp, mpf

    with mp.workdps(80):
        rows: list[list[float]] = []
        for logits, pulls in zip(x.tolist(), upstream.tolist(), strict=True):
            terms = [mp.exp(mpf(each)) for each in logits]
            p = [each / mp.fsum(terms) for each in terms]
            g = [mpf(each) for each in pulls]
            if name == "softmax":
                mean = mp.fsum(a * b for a, b in zip(p, g, strict=True))
                rows.append([float(a * (b - mean)) for a, b in zip(p, g, strict=True)])
            else:
                total = mp.fsum(g)
                rows.append([float(b - a * total) for a, b in zip(p, g, strict=True)])
        return np.array(rows)


@on("name", ["softmax", "log_softmax"])
@on("dtype", ["float32", "bfloat16"])
def test_an_array_upstream_is_pulled_back_with_all_digits(
    torch: Any, name: str, dtype: str
) -> None:
    rng = np.random.default_rng(0)
    own = getattr(torch, dtype)
    x = torch.tensor(rng.normal(size=(40, 7)) * rng.choice([1, 5, 30], (40, 1))).to(own)
    upstream = torch.tensor(rng.normal(size=(40, 7))).to(own)
    upstream[:7] = torch.eye(7).to(own)  # the loss of one class, as nll has it
    upstream[7:14] = torch.eye(7).to(own) + 2.0**-20
    expected = _exact_pull(name, x.double(), upstream.double())
    x.requires_grad_()
    getattr(anyloss, name)(x).backward(upstream)
    assert x.grad.dtype == own
    # 8 eps of the largest term, the gradient upstream; terms of a softmax are times p
    g = upstream.double().abs().numpy()
    size = g + np.sum(g, axis=1, keepdims=True)
    if name == "softmax":
        size = size * torch.softmax(x.detach().double(), 1).numpy()
    eps = torch.finfo(torch.float32).eps
    rounded = 0 if dtype == "float32" else torch.finfo(own).eps * np.abs(expected)
    error = np.abs(x.grad.double().numpy() - expected)
    underflow = 2 * torch.finfo(torch.float32).smallest_normal
    assert (error <= 8 * eps * size + rounded + underflow).all()


def test_what_is_pulled_by_a_sure_class_keeps_its_digits(torch: Any) -> None:
    x = torch.tensor([[20.0, 0.0, 1.0]], requires_grad=True)
    tinyloss.log_softmax(x).backward(torch.tensor([[1.0, 0.0, 0.0]]))
    expected = _exact_pull("log_softmax", x.double(), torch.tensor([[1.0, 0.0, 0.0]]))
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-6)


def test_arrays_upstream_are_pulled_by_kernels(torch: Any, monkeypatch: Any) -> None:
    from tinyloss_torch import _fused

    def refuse(*_: Any) -> Any:
        raise AssertionError("by formulas")

    monkeypatch.setattr(_fused, "_by_formulas", refuse)
    x = torch.randn(2, 3, 4, 4, requires_grad=True)
    tinyloss.softmax(x, axis=1).backward(torch.randn(2, 3, 4, 4))
    y = torch.randint(3, (2, 4, 4))
    for how in ("softmax", "sigmoid"):
        ours, expected = anyloss.grad(tinyloss.dice), x.detach()
        options = {"axis": (2, 3), "from_logits": how, "mask": y[:, None] != 0}
        x.grad = None
        anyloss.dice(x, y, **options).backward()
        assert torch.allclose(x.grad, ours(expected, y, **options), rtol=1e-5, atol=1e-8)


def test_a_partial_mean_is_computed_from_tracked_tensors(torch: Any) -> None:
    x, y = torch.linspace(-1, 1, 6).requires_grad_(), torch.zeros(6)
    of_part: Any = tinyloss.partial_mean(tinyloss.mse)
    state = of_part(x[:2], y[:2]) + of_part(x[2:], y[2:])
    state.value().backward()
    torch.testing.assert_close(x.grad, 2 * x.detach() / 6)


def test_losses_of_ones_own_differentiate(torch: Any) -> None:
    @tinyloss.loss
    def cauchy(x: Any, y: Any, *, scale: float = 2.0) -> Any:
        xp = tinyloss.namespace(x)
        return xp.log1p(((x - y) / scale) ** 2)

    x, y = torch.linspace(-2, 2, 5, dtype=torch.float64).requires_grad_(), torch.zeros(5).double()
    own: Any = cauchy
    assert torch.autograd.gradcheck(own, (x, y))
    assert torch.autograd.gradgradcheck(own, (x, y))


def test_sums_of_losses_differentiate(torch: Any) -> None:
    loss: Any = 0.7 * tinyloss.MSELoss() + 0.3 * tinyloss.LogCoshLoss()
    x, y = torch.linspace(-2, 2, 5, dtype=torch.float64).requires_grad_(), torch.zeros(5).double()
    assert torch.autograd.gradcheck(loss, (x, y))
    assert torch.autograd.gradgradcheck(loss, (x, y))


@on("name", ["float16", "bfloat16"])
def test_autocast_changes_nothing(torch: Any, name: str) -> None:
    x, y = torch.linspace(-9, 9, 30).reshape(6, 5).requires_grad_(), torch.arange(6) % 5
    ask = backward(tinyloss.cross_entropy)
    plain = ask(x, y)
    with torch.autocast("cpu", dtype=getattr(torch, name)):
        cast = ask(x, y)
    assert all(torch.equal(a, b) for a, b in zip(plain, cast, strict=True))


def test_a_default_device_is_not_where_results_go(torch: Any) -> None:
    x, y = torch.ones(3, requires_grad=True), torch.zeros(3)
    with torch.device("meta"):
        value = tinyloss.mse(x, y)
        value.backward()
    assert value.device.type == x.grad.device.type == "cpu"


def test_subclasses_of_tensors_are_answered_by_formulas(torch: Any) -> None:
    class Named(torch.Tensor):
        pass

    x = torch.linspace(-1, 1, 5).as_subclass(Named)
    value = tinyloss.mse(x, torch.zeros(5))
    assert type(value) is Named
    torch.testing.assert_close(value.as_subclass(torch.Tensor), torch.tensor(0.5))


def test_checkpoints_and_hooks_on_what_is_saved(torch: Any) -> None:
    x, y = torch.linspace(-2, 2, 20).reshape(4, 5).requires_grad_(), torch.arange(4)
    kept: list[Any] = []
    expected = torch.autograd.grad(2 * tinyloss.cross_entropy(x, y), x)[0]
    for again in (False, True):
        value = torch.utils.checkpoint.checkpoint(
            lambda x: 2 * tinyloss.cross_entropy(x, y), x, use_reentrant=again
        )
        value.backward()
        assert torch.equal(x.grad, expected)
        x.grad = None
    with torch.autograd.graph.saved_tensors_hooks(kept.append, lambda _: kept.pop(0)):
        value = 2 * tinyloss.cross_entropy(x, y)
    (gradient,) = torch.autograd.grad(value, x)
    assert torch.equal(gradient, expected)
    assert kept == []  # what they keep is what the gradient is computed from


@few
@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
def test_gradients_in_batches(torch: Any, case: Case) -> None:
    x, *more = tensors(torch, case)
    pulls = torch.tensor([1.0, -2.0, 0.0])

    def ask(pull: Any, **batches: bool) -> Any:
        return torch.autograd.grad(case.loss(x, *more), x, pull, **batches)[0]

    got = ask(pulls, is_grads_batched=True)
    torch.testing.assert_close(got, torch.stack([ask(pull) for pull in pulls]))
    value = case.loss(x, *more)
    mapped = torch.func.vmap(lambda pull: torch.autograd.grad(value, x, pull, True)[0])(pulls)
    torch.testing.assert_close(mapped, got)
    jacobian = torch.autograd.functional.jacobian(
        lambda x: case.loss(x, *more, reduction="none"), x.detach(), vectorize=True
    )
    items = tuple(range(jacobian.ndim - x.ndim))
    torch.testing.assert_close(
        jacobian.sum(items),
        anyloss.grad(case.loss)(x.detach(), *more, reduction="none"),
    )


def test_a_negated_view_upstream(torch: Any) -> None:
    x = torch.linspace(-1, 1, 5).requires_grad_()
    pull = torch.complex(torch.ones(5), torch.arange(5.0)).conj().imag
    assert pull.is_neg()
    tinyloss.mse(x, torch.zeros(5), reduction="none").backward(pull)
    torch.testing.assert_close(x.grad, -2 * x.detach() * torch.arange(5))


def test_autograd_sees_what_is_written_into_its_tensors(torch: Any) -> None:
    x, y, leaf = torch.ones(3), torch.zeros(3), torch.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf Variable"):
        tinyloss.grad(tinyloss.mse, out=leaf)(x, y)
    out = leaf * 2
    (out + tinyloss.grad(tinyloss.mse, out=out)(x, y)).sum().backward()
    assert torch.equal(leaf.grad, torch.zeros(3))
    with torch.no_grad():
        assert tinyloss.grad(tinyloss.mse, out=leaf)(x, y) is leaf
    torch.testing.assert_close(leaf.detach(), 2 * x / 3)


def test_integers_are_computed_in_the_default_dtype_of_the_call(torch: Any) -> None:
    x, y = torch.arange(3), torch.zeros(3)
    for dtype in (torch.float32, torch.float64, torch.float32):
        torch.set_default_dtype(dtype)
        try:
            assert tinyloss.mse(x, y).dtype is dtype
        finally:
            torch.set_default_dtype(torch.float32)


def test_other_devices_are_answered_by_formulas(torch: Any) -> None:
    x = torch.ones((4, 3), device="meta", requires_grad=True)
    value = tinyloss.cross_entropy(x, torch.zeros(4, dtype=torch.int64, device="meta"))
    value.backward()
    assert (value.shape, x.grad.shape) == ((), (4, 3))


class TestModules:
    """`tinyloss.torch`: losses that are modules."""

    def test_every_class_has_a_module(self, torch: Any) -> None:
        from tinyloss import torch as modules
        from tinyloss.losses import classes

        assert {*classes.__all__, "LossModule"} == {n for n in vars(modules) if n[0] != "_"}
        for name in classes.__all__:
            module = getattr(modules, name)
            assert module.of is getattr(tinyloss, name)
            assert isinstance(module(), torch.nn.Module)
            assert repr(module()) == f"{name}()"

    def test_weights_of_classes_move_and_are_saved(self, torch: Any) -> None:
        from tinyloss.torch import CrossEntropyLoss

        module = CrossEntropyLoss(class_weight=[1.0, 2.0, 4.0], reduction="sum")
        x, y = torch.linspace(-1, 1, 12).reshape(4, 3), torch.tensor([0, 1, 2, 1])
        expected = tinyloss.cross_entropy(
            x, y, class_weight=torch.tensor([1.0, 2, 4]), reduction="sum"
        )
        assert torch.equal(module(x, y), expected)
        assert module.double().class_weight.dtype is torch.float64
        assert module.to("meta").class_weight.device.type == "meta"
        other = CrossEntropyLoss(class_weight=[0.0, 0.0, 0.0], reduction="sum")
        other.load_state_dict({"class_weight": torch.tensor([1.0, 2, 4])})
        for each in (other, copy.deepcopy(other), pickle.loads(pickle.dumps(other))):
            assert torch.equal(each(x, y), expected)
            assert repr(each) == "CrossEntropyLoss(reduction='sum', class_weight=<3 numbers>)"

    def test_any_loss_object_is_made_a_module(self, torch: Any) -> None:
        from tinyloss.torch import LossModule

        loss = 0.5 * tinyloss.MSELoss() + 0.5 * tinyloss.MAELoss()
        x, weight = torch.linspace(-1, 1, 5), torch.arange(5.0)
        got = LossModule(loss)(x, torch.zeros(5), weight=weight)
        assert torch.equal(got, loss(x, torch.zeros(5), weight=weight))

    def test_wrong_parameters_are_told_as_the_class_tells_them(self, torch: Any) -> None:
        from tinyloss.torch import CrossEntropyLoss, HuberLoss, LossModule, MSELoss

        assert torch
        with pytest.raises(ValueError, match="delta is -1"):
            HuberLoss(delta=-1)
        with pytest.raises(TypeError, match="write class_weight="):
            CrossEntropyLoss(weight=[1.0, 2.0])
        with pytest.raises(TypeError, match="by their names"):
            MSELoss("sum")
        with pytest.raises(TypeError, match="expected a loss object"):
            LossModule(tinyloss.MSELoss)
