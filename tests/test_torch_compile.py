"""Losses in torch's graphs: what cannot be looked at is not looked at, and nothing breaks."""

import contextlib
from typing import Any

import numpy as np
import pytest

import tinyloss
from tests.support.cases import CASES, FEW_CASES, Case, weight_and_mask
from tests.support.process import python

pytestmark = [
    # Of its own, when vmap first loads its decompositions.
    pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning"),
    # Of the modules that inductor imports.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch.*"),
]
on = pytest.mark.parametrize
long = pytest.mark.long
EPS = float(np.finfo(np.float32).eps)
through = on("backend", ["eager", pytest.param("inductor", marks=long)])

COMPILED = """
import sys, warnings
import numpy as np
import torch
import tinyloss

backend, fullgraph, name = sys.argv[1], sys.argv[2] == "fullgraph", sys.argv[3]
loss = getattr(tinyloss, name)
x = torch.linspace(-2, 2, 12).reshape(4, 3)
y = torch.tensor([0, 2, 7, 1]) if name == "cross_entropy" else 0.5 * x


def ask(x, y):
    value, gradient = tinyloss.value_and_grad(loss)(x, y, reduction="none")
    return loss(x[:2], y[:2]), value, gradient


warnings.filterwarnings("error", message=".*lru_cache.*")
compiled = torch.compile(ask, backend=backend, fullgraph=fullgraph)(x, y)
with tinyloss.validation("never"):
    eager = ask(x, y)
for a, b in zip(compiled, eager, strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
assert torch.isnan(compiled[1]).any().item() == (name == "cross_entropy")
"""


@on(
    ("backend", "graph", "name"),
    [
        pytest.param(*how, name, marks=long if name == usual else pytest.mark.slow)
        for how, usual in [
            (("eager", "breaks"), "cross_entropy"),
            (("inductor", "fullgraph"), "mse"),
        ]
        for name in ("mse", "cross_entropy")
    ],
)
def test_first_call_of_a_process_may_be_compiled(
    torch: Any, backend: str, graph: str, name: str
) -> None:
    assert torch
    python("-c", COMPILED, backend, graph, name)


def expm1(x: Any) -> Any:
    return tinyloss.namespace(x).expm1(x)


def compiled(torch: Any, function: Any, backend: str = "eager", **options: Any) -> Any:
    torch.compiler.reset()
    return torch.compile(function, backend=backend, fullgraph=True, **options)


def backward(torch: Any, function: Any, *tensors: Any) -> tuple[Any, Any]:
    """Return what a function is for tensors, and its gradient by the first of them."""
    x = tensors[0].detach().clone().requires_grad_()
    value = function(x, *tensors[1:])
    return value.detach(), torch.autograd.grad(value, x)[0]


# What weighs is the same for all losses: only a few are tried without.
@on(
    ("case", "weighted"),
    [
        pytest.param(
            case, weighted, id=f"{case.name}-{weighted}", marks=() if case in FEW_CASES else long
        )
        for case in CASES
        for weighted in ([True, False] if case in FEW_CASES else [True])
    ],
)
@pytest.mark.heavy(12)
def test_one_graph_gives_the_eager_answer(torch: Any, case: Case, weighted: bool) -> None:
    def tensor(value: Any) -> Any:
        return torch.asarray(np.array(value)) if isinstance(value, np.ndarray) else value

    weighing = dict(zip(("weight", "where"), weight_and_mask(case), strict=True))
    given = {**case.options, **(weighing if weighted else {})}
    options = {name: tensor(value) for name, value in given.items()}
    tensors = [*map(tensor, case.arrays)]

    def loss(*arrays: Any) -> Any:
        return case.loss(*arrays, **options)

    got = backward(torch, compiled(torch, loss), *tensors)
    value, gradient = backward(torch, loss, *tensors)
    torch.testing.assert_close(got[0], value, rtol=2e-6, atol=1e-7)
    torch.testing.assert_close(got[1], gradient, rtol=1e-5, atol=1e-7)


@long
@on("backend", ["eager", "inductor"])
def test_tails_are_accurate(torch: Any, backend: str) -> None:
    x, y = torch.tensor([[20.0, 0.0]]), torch.tensor([0])
    loss = compiled(torch, lambda x, y: tinyloss.cross_entropy(x, y), backend)
    value, gradient = backward(torch, loss, x, y)
    tail = torch.log1p(torch.exp(torch.tensor(-20.0, dtype=torch.float64))).float()
    torch.testing.assert_close(value, tail, rtol=1e-6, atol=0)
    torch.testing.assert_close(gradient, torch.stack([-tail, tail])[None], rtol=1e-6, atol=0)
    loss = compiled(torch, lambda x, y: tinyloss.binary_cross_entropy_with_logits(x, y), backend)
    for got in backward(torch, loss, torch.tensor([-20.0]), torch.zeros(1)):
        torch.testing.assert_close(got.reshape(()), tail, rtol=1e-6, atol=0)


def test_a_number_of_the_graph_has_all_digits_of_pythons(torch: Any) -> None:
    def quantile(x: Any, y: Any, q: float) -> Any:
        return tinyloss.quantile(x, y, q=q)

    x, y = torch.ones(1), torch.zeros(1)
    found = compiled(torch, quantile, dynamic=True)(x, y, 0.9)
    torch.testing.assert_close(found, torch.tensor(1 - 0.9), rtol=EPS, atol=0)

    def bce(x: Any, y: Any, weight: float) -> Any:
        return tinyloss.binary_cross_entropy_with_logits(x, y, pos_weight=weight)

    wide = torch.full((1,), -9.0, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    found = compiled(torch, bce, dynamic=True)(*wide, 0.1)
    torch.testing.assert_close(found, bce(*wide, 0.1), rtol=1e-15, atol=0)


@long
def test_expm1_of_inductor_keeps_its_digits(torch: Any) -> None:
    x = torch.cat([sign * torch.logspace(-30, 1, 5000) for sign in (1, -1)] + [torch.zeros(6)])
    x[-4:] = torch.tensor([np.inf, -np.inf, np.nan, -0.0])
    x.requires_grad_()
    y = compiled(torch, expm1, "inductor")(x)
    exact = torch.expm1(x.detach().double()).float()
    # exp and log of 1 eps each, three roundings
    torch.testing.assert_close(y.detach(), exact, rtol=3 * EPS, atol=0, equal_nan=True)
    slope = torch.autograd.grad(y.sum(), x)[0]
    torch.testing.assert_close(slope, torch.exp(x.detach()), rtol=EPS, atol=0, equal_nan=True)


@long
def test_one_compilation_serves_every_batch_size(torch: Any) -> None:
    counter: Any = pytest.importorskip("torch._dynamo.testing").CompileCounterWithBackend("eager")
    loss = compiled(torch, lambda x, y: tinyloss.cross_entropy(x, y), counter, dynamic=True)
    for n in (5, 17, 64):
        x, y = torch.linspace(-3, 3, 7 * n).reshape(n, 7), torch.arange(n) % 7
        # an eager call between compiled ones changes nothing that these depend on
        expected = backward(torch, tinyloss.cross_entropy, x, y)
        for one, other in zip(backward(torch, loss, x, y), expected, strict=True):
            torch.testing.assert_close(one, other, rtol=2e-6, atol=1e-7)
    assert counter.frame_count == 1


@long
def test_an_ignored_index_may_be_an_unknown_number(torch: Any) -> None:
    def loss(x: Any, y: Any, index: int) -> Any:
        return tinyloss.cross_entropy(x, y, ignore_index=index)

    step = compiled(torch, loss, "inductor", dynamic=True)
    x, y = torch.linspace(-3, 3, 21).reshape(7, 3), torch.tensor([0, 1, 2, -7, 1, 2, 0])
    for index in (-100, -3):
        labels = torch.where(y < 0, index, y)
        torch.testing.assert_close(step(x, labels, index), loss(x, labels, index))


@long
@on("backend", ["eager", "inductor"])
def test_a_module_that_holds_the_loss_is_trained(torch: Any, backend: str) -> None:
    from tinyloss.torch import CrossEntropyLoss

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(6, 4)
            self.criterion = CrossEntropyLoss(class_weight=[1.0, 2.0, 3.0, 4.0])
            with torch.no_grad():
                self.layer.weight.copy_(torch.linspace(-1, 1, 24).reshape(4, 6))
                self.layer.bias.zero_()

        def forward(self, x: Any, y: Any) -> Any:
            return self.criterion(self.layer(x), y)

    def losses(of: Any, model: Any) -> list[float]:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
        x, y = torch.linspace(-2, 2, 48).sin().reshape(8, 6), torch.arange(8) % 4
        found: list[float] = []
        for _ in range(4):
            optimizer.zero_grad()
            value = of(x, y)
            value.backward()
            optimizer.step()
            found.append(value.item())
        return found

    model, other = Model(), Model()
    got, expected = losses(compiled(torch, model, backend), model), losses(other, other)
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    assert got[-1] < got[0]


@on("case", FEW_CASES, ids=lambda case: case.name)
@on("transform", ["grad", "vmap"])
def test_transforms_inside_a_graph(torch: Any, transform: str, case: Case) -> None:
    function = torch.func.grad(case.loss)
    tensors = [torch.asarray(np.array(each)) for each in case.arrays]
    if transform == "vmap":
        function = torch.func.vmap(function)
        tensors = [torch.stack([each, each.flip(0)]) for each in tensors]
    got = compiled(torch, function)(*tensors)
    torch.testing.assert_close(got, function(*tensors), rtol=1e-5, atol=1e-7)


@through
def test_labels_out_of_range_are_nan(torch: Any, backend: str) -> None:
    loss = compiled(torch, lambda x, y: tinyloss.cross_entropy(x, y, reduction="none"), backend)
    x = torch.linspace(-1, 1, 12).reshape(4, 3).requires_grad_()
    value = loss(x, torch.tensor([0, 3, -1, 2]))
    value.sum().backward()
    wrong = torch.tensor([False, True, True, False])
    assert torch.equal(value.isnan(), wrong)
    assert torch.equal(x.grad.isnan(), wrong[:, None].expand(4, 3))


X = np.linspace(-2, 2, 24, dtype=np.float32).reshape(2, 4, 3)
Y = np.array([[0, 2, 1, 1], [1, 1, 0, 2]])


@on("stand_in", ["fake", "meta"])
def test_tensors_without_numbers_have_shapes(torch: Any, stand_in: str) -> None:
    fake: Any = pytest.importorskip("torch._subclasses.fake_tensor").FakeTensorMode()

    def bring(array: Any) -> Any:
        tensor = torch.asarray(array)
        return fake.from_tensor(tensor) if stand_in == "fake" else tensor.to("meta")

    with fake if stand_in == "fake" else contextlib.nullcontext():
        x, y, weights = bring(X), bring(Y), bring(np.ones(3, np.float32))
        value, gradient = tinyloss.value_and_grad(tinyloss.cross_entropy)(
            x, y, reduction="none", class_weight=weights
        )
        mean = tinyloss.cross_entropy(x.requires_grad_(), y, class_weight=weights)
        mean.backward()
    assert (tuple(value.shape), tuple(gradient.shape)) == ((2, 4), (2, 4, 3))
    assert (tuple(mean.shape), tuple(x.grad.shape)) == ((), (2, 4, 3))


def test_export(torch: Any) -> None:
    from tinyloss.torch import CrossEntropyLoss

    x, y, weights = torch.asarray(X), torch.asarray(Y), [1.0, 2.0, 4.0]
    module = CrossEntropyLoss(class_weight=weights, reduction="none")
    rows = torch.export.Dim("rows", min=2)
    exported = torch.export.export(module, (x, y), dynamic_shapes=({0: rows}, {0: rows}))
    assert [*exported.graph_signature.buffers] == ["class_weight"]
    for tensors in ((x, y), (x.repeat(3, 1, 1), y.repeat(3, 1))):
        torch.testing.assert_close(exported.module()(*tensors), module(*tensors))


@on("case", FEW_CASES, ids=lambda case: case.name)
@on("differentiated", [False, True])
def test_graphs_of_operations(torch: Any, case: Case, differentiated: bool) -> None:
    make_fx = pytest.importorskip("torch.fx.experimental.proxy_tensor").make_fx
    function = torch.func.grad(case.loss) if differentiated else case.loss
    tensors = [torch.asarray(np.array(each)) for each in case.arrays]
    others = [each.flip(0) for each in tensors]
    graph = make_fx(lambda x, y: function(x, y))(*tensors)
    torch.testing.assert_close(graph(*others), function(*others), rtol=1e-5, atol=1e-7)
