"""A parameter that changes from call to call: a number of the call, not of the program."""

from typing import Any

import numpy as np
import pytest

import tinyloss
import tinyloss_numpy
from tests.support.params import turns

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(2, 64, 3)).astype(np.float32)
SHARES = (np.abs(X) / np.abs(X).sum(-1, keepdims=True)).astype(np.float32)
LABELS = RNG.integers(0, 3, 64)

SCHEDULES: dict[str, tuple[Any, Any, Any, str]] = {
    "delta": (tinyloss.huber, X, Y, "delta"),
    "beta": (tinyloss.smooth_l1, X, Y, "beta"),
    "q": (tinyloss.quantile, X, Y, "q"),
    "eps": (tinyloss.binary_cross_entropy, SHARES, (Y > 0).astype(np.float32), "eps"),
    "smoothing": (tinyloss.cross_entropy, X, LABELS, "label_smoothing"),
    "gamma": (tinyloss.softmax_focal, X, LABELS, "gamma"),
    "alpha": (tinyloss.sigmoid_focal, X, (Y > 0).astype(np.float32), "alpha"),
}
VALUES = np.linspace(0.01, 0.49, 200)

schedules = pytest.mark.parametrize("name", SCHEDULES)
some = pytest.mark.parametrize("name", turns([*SCHEDULES], 3))


@some
def test_200_values_compile_once_on_numpy(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("llvmlite")
    from tinyloss_numpy import _compiler

    compiled: list[Any] = []
    load = _compiler.load

    def noted(*args: Any) -> Any:
        compiled.append(args)
        return load(*args)

    monkeypatch.setattr(_compiler, "load", noted)
    loss, x, y, parameter = SCHEDULES[name]
    tinyloss.clear_caches()
    with tinyloss_numpy.compilation("always"):
        values = [loss(x, y, **{parameter: float(value)}) for value in VALUES]
    assert len(compiled) == 1
    assert len({float(value) for value in values}) > 100


@schedules
def test_every_value_is_one_kernel_on_cuda(name: str) -> None:
    loss, x, y, parameter = SCHEDULES[name]
    texts = {
        tinyloss.source(loss, x, y, target="cuda", **{parameter: float(value)})
        for value in VALUES[::50]
    }
    assert len(texts) == 1


@pytest.mark.long
@schedules
def test_a_jitted_step_is_traced_once(name: str) -> None:
    jax = pytest.importorskip("jax")
    loss, x, y, parameter = SCHEDULES[name]
    traced: list[Any] = []

    def step(x: Any, number: Any) -> Any:
        traced.append(number)
        return loss(x, y, **{parameter: number})

    jitted = jax.jit(step)
    values = [float(jitted(jax.numpy.asarray(x), float(value))) for value in VALUES]
    assert len(traced) == 1
    expected = [float(loss(x, y, **{parameter: float(value)})) for value in VALUES]
    np.testing.assert_allclose(values, expected, rtol=2e-5)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch.*")  # of its own, while it traces
@schedules
@pytest.mark.parametrize("dynamic", [None, True])
@pytest.mark.heavy(6)
def test_a_step_that_torch_compiles_takes_every_number(name: str, dynamic: bool | None) -> None:
    """torch takes a number for a constant until it changes, then for an unknown."""
    torch = pytest.importorskip("torch")
    testing = pytest.importorskip("torch._dynamo.testing")
    loss, x, y, parameter = SCHEDULES[name]
    graphs = testing.CompileCounterWithBackend("eager")
    torch.compiler.reset()

    def ask(x: Any, number: float) -> Any:
        return loss(x, torch.asarray(y), **{parameter: number})

    step = torch.compile(ask, backend=graphs, fullgraph=True, dynamic=dynamic)
    for number in VALUES[::40].tolist():
        at = torch.asarray(x).requires_grad_()
        value, expected = step(at, number), ask(at, number)
        torch.testing.assert_close(value, expected, rtol=1e-6, atol=0)
        slopes = [torch.autograd.grad(each, at)[0] for each in (value, expected)]
        torch.testing.assert_close(*slopes, rtol=1e-5, atol=1e-9)
    assert graphs.frame_count == (1 if dynamic else 2)


@some
def test_jax_differentiates_by_the_number(name: str) -> None:
    """A central difference over 2h is off by h^2, and by eps / h of the values."""
    jax = pytest.importorskip("jax")
    loss, x, y, parameter = SCHEDULES[name]
    at, h = 0.3, 1e-4
    slope = jax.grad(lambda number: loss(jax.numpy.asarray(x), y, **{parameter: number}))(at)
    wide = x.astype(np.float64)
    y = y.astype(np.float64) if y.dtype == np.float32 else y
    above, below = [float(loss(wide, y, **{parameter: at + step})) for step in (h, -h)]
    assert float(slope) == pytest.approx((above - below) / (2 * h), rel=1e-3, abs=1e-5)
