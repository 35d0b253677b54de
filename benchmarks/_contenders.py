"""What the speed of tinyloss is compared with: losses as other libraries compute them.

A contender takes a case and its arrays and returns calls without arguments. Each call does all of
the work and returns when it is done.
"""

import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from tinyloss.cli import measure
from tinyloss.cli.measure import library

THREADS = 2
MSE, HUBER = "mse", "huber"
BCE, CE = "binary_cross_entropy_with_logits", "cross_entropy"
PAIRS = "pairwise_logistic"
VALUE, GRADIENT, OUT = "value", "value and gradient", "value and gradient, out=x"

Array = npt.NDArray[Any]
Call = Callable[[], Any]


@dataclass(frozen=True)
class Case:
    """A loss of predictions of one shape."""

    loss: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    soft: bool = False
    """Whether the targets of a cross-entropy are probabilities, not class indices."""

    @property
    def size(self) -> str:
        n = self.shape[0]
        if len(self.shape) > 1:
            size = " x ".join(str(length) for length in self.shape)
        else:
            size = f"{n // 10**6}M" if n % 10**6 == 0 else str(n)
        size = size if self.dtype == "float32" else f"{size} {self.dtype}"
        return f"{size}, soft targets" if self.soft else size

    @property
    def options(self) -> dict[str, int]:
        """Where tinyloss finds the classes, if they are not last; torch looks there always."""
        return {"axis": 1} if len(self.shape) > 2 else {}

    @property
    def label(self) -> str:
        return f"{self.loss} {self.size}"

    @property
    def elements(self) -> int:
        return int(np.prod(self.shape))

    def arrays(self) -> tuple[Array, Array]:
        """Return predictions and targets."""
        rng = np.random.default_rng(0)
        dtype = np.dtype(self.dtype)  # ml_dtypes makes bfloat16 one of NumPy's names

        def normal() -> Array:
            # Longer arrays repeat themselves: drawing them would take longer than measuring.
            return np.resize(rng.standard_normal(min(self.elements, 2**24), np.float32), self.shape)

        x = normal()
        if self.loss in (MSE, HUBER):
            return x.astype(dtype, copy=False), normal().astype(dtype, copy=False)
        x *= 3  # probabilities of all sizes
        if self.loss == CE:
            rows, classes, *others = self.shape
            y = np.exp(normal()) if self.soft else rng.integers(0, classes, (rows, *others))
            if self.soft:
                y = (y / y.sum(axis=-1, keepdims=True)).astype(dtype, copy=False)
            return x.astype(dtype, copy=False), y
        return x.astype(dtype, copy=False), rng.integers(0, 2, self.shape, np.int8).astype(dtype)


class Contender:
    """A library, or a way to use it. `prepare` returns its calls for a case."""

    needs: tuple[str, ...] = ()
    computes = True
    compiles_shapes = False
    """Whether a call on a new shape compiles: its memory is measured after one on the same."""

    def stage(self) -> AbstractContextManager[Any]:
        """Return the context in which all its calls run."""
        return nullcontext()

    def prepare(self, case: Case, x: Array, y: Array) -> dict[str, Call]:
        """Return calls; NotImplementedError says what is missing."""
        raise NotImplementedError

    def array(self, result: Any) -> Array:
        """Return a result as a NumPy array that NumPy can compute with."""
        return np.asarray(result).astype(np.float64 if result.dtype == np.float64 else np.float32)


class Nothing(Contender):
    """Does nothing but hold the inputs: its times show the noise."""

    computes = False

    def prepare(self, case: Case, x: Array, y: Array) -> dict[str, Call]:
        return {VALUE: lambda: (x, y)}


class Floor(Contender):
    """Reads the inputs and writes the outputs, and computes nothing."""

    computes = False

    @cached_property
    def loops(self) -> measure.Floor:
        return measure.Floor(THREADS)

    def prepare(self, case: Case, x: Array, y: Array) -> dict[str, Call]:
        value, gradient = self.loops.calls(x, y)
        return {VALUE: value, GRADIENT: gradient}


class Tinyloss(Contender):
    def __init__(self, compilation: str) -> None:
        self.compilation = compilation

    def stage(self) -> AbstractContextManager[Any]:
        backend, stack = importlib.import_module("tinyloss_numpy"), ExitStack()
        stack.enter_context(backend.compilation(self.compilation))
        stack.enter_context(backend.threads(THREADS))
        return stack

    def prepare(self, case: Case, x: Array, y: Array) -> dict[str, Call]:
        tinyloss = importlib.import_module("tinyloss")
        loss, options = getattr(tinyloss, case.loss), case.options
        gradient = tinyloss.value_and_grad(loss)
        into_x = tinyloss.value_and_grad(loss, out=x)
        return {
            VALUE: lambda: loss(x, y, **options),
            GRADIENT: lambda: gradient(x, y, **options),
            OUT: lambda: into_x(x, y, **options),
        }


class Torch(Contender):
    needs = ("torch",)

    @cached_property
    def torch(self) -> Any:
        torch = library("torch")
        torch.set_num_threads(THREADS)
        return torch

    def tensor(self, array: Array) -> Any:
        if array.dtype == ml_dtypes.bfloat16:
            return self.torch.from_numpy(array.view(np.int16)).view(self.torch.bfloat16)
        return self.torch.from_numpy(array)

    def function(self, case: Case) -> Callable[[Any, Any], Any]:
        functional = self.torch.nn.functional
        name = {MSE: "mse_loss", HUBER: "huber_loss"}.get(case.loss, case.loss)
        function: Callable[[Any, Any], Any] = getattr(functional, name)
        return function

    def prepare(self, case: Case, x: Array, y: Array) -> dict[str, Call]:
        function = self.function(case)
        xt, yt = self.tensor(x), self.tensor(y)
        leaf = self.tensor(x).requires_grad_()

        def gradient() -> tuple[Any, Any]:
            leaf.grad = None
            loss = function(leaf, yt)
            loss.backward()
            return loss, leaf.grad

        return {VALUE: lambda: function(xt, yt), GRADIENT: gradient}

    def array(self, result: Any) -> Array:
        detached = result.detach()
        double = detached.dtype == self.torch.float64
        numbers: Array = (detached if double else detached.float()).numpy()
        return numbers


class TorchCompile(Torch):
    compiles_shapes = True

    def __init__(self) -> None:
        self.compiled: dict[Case, Callable[[Any, Any], Any]] = {}

    @cached_property
    def refusal(self) -> str:
        """The reason why it cannot run here, or ""."""
        try:
            self.torch.compile(lambda x: x.sin().sum())(self.torch.ones(8))
        except Exception as error:  # no compiler, no headers, a new Python: all its own errors
            return f"{type(error).__name__}: {error}".strip().split("\n")[0]
        return ""

    def function(self, case: Case) -> Callable[[Any, Any], Any]:
        if self.refusal:
            raise NotImplementedError(self.refusal)
        if case not in self.compiled:
            # A kernel a shape; those compiled before would be looked through at each call.
            self.torch.compiler.reset()
            self.compiled = {case: self.torch.compile(super().function(case), dynamic=False)}
        return self.compiled[case]


class JaxJit(Contender):
    needs: tuple[str, ...] = ("jax", "optax")
    compiles_shapes = True

    def __init__(self, *, jit: bool = True) -> None:
        self.jit = jit
        self.compiled: dict[tuple[str, bool, str], Any] = {}

    def loss(self, case: Case) -> Callable[[Any, Any], Any]:
        """Return the mean of a loss."""
        losses = library("optax").losses
        each = {
            MSE: losses.squared_error,
            BCE: losses.sigmoid_binary_cross_entropy,
            CE: losses.softmax_cross_entropy
            if case.soft
            else losses.softmax_cross_entropy_with_integer_labels,
        }[case.loss]
        return lambda x, y: each(x, y).mean()

    def differentiated(self, case: Case) -> Callable[[Any, Any], Any]:
        """Return the mean of a loss with its gradient."""
        differentiated: Callable[[Any, Any], Any] = library("jax").value_and_grad(self.loss(case))
        return differentiated

    def function(self, case: Case, what: str) -> Any:
        key = case.loss, case.soft, what
        if key not in self.compiled:
            function = self.loss(case) if what == VALUE else self.differentiated(case)
            if self.jit:
                donated = 0 if what == OUT else ()
                function = library("jax").jit(function, donate_argnums=donated)
            self.compiled[key] = function
        return self.compiled[key]

    def prepare(self, case: Case, x: Array, y: Array) -> dict[str, Call]:
        jax = library("jax")
        jax.config.update("jax_enable_x64", case.dtype == "float64")
        # copies, so that x may be given away
        xj = jax.numpy.array(x)
        yj = jax.numpy.array(y.astype(np.int32) if y.dtype.kind == "i" else y)
        jax.block_until_ready((xj, yj))  # copied in the background
        value = self.function(case, VALUE)

        def differentiate(what: str) -> Any:
            function = self.function(case, what)
            loss, gradient = function(xj, yj)
            gradient.block_until_ready()
            return loss, gradient

        return {
            VALUE: lambda: value(xj, yj).block_until_ready(),
            GRADIENT: lambda: differentiate(GRADIENT),
            OUT: lambda: differentiate(OUT),
        }


class ScikitLearn(Contender):
    """The losses of its boosting and linear models, since its metrics take no logits."""

    needs = ("sklearn",)

    def prepare(self, case: Case, x: Array, y: Array) -> dict[str, Call]:
        losses = library("sklearn._loss.loss")
        if case.loss == CE:
            function = losses.HalfMultinomialLoss(n_classes=case.shape[1])
        else:
            function = {MSE: losses.HalfSquaredError, BCE: losses.HalfBinomialLoss}[case.loss]()
        factor = 2 if case.loss == MSE else 1  # half the squared error; the others are whole
        data: dict[str, Any] = {"y_true": y.astype(x.dtype), "raw_prediction": x}
        data["n_threads"] = THREADS
        scale = x.dtype.type(factor / case.shape[0])

        def gradient() -> tuple[Any, Array]:
            value, grad = function.loss_gradient(**data)
            grad *= scale
            return factor * value.mean(), grad

        return {VALUE: lambda: factor * function.loss(**data).mean(), GRADIENT: gradient}


class Typed(Contender):
    """The textbook formula in NumPy, with half precision computed in float32."""

    def prepare(self, case: Case, x: Array, y: Array) -> dict[str, Call]:
        cross_entropy = typed_soft if case.soft else typed_ce
        losses = {MSE: typed_mse, HUBER: typed_huber, BCE: typed_bce, CE: cross_entropy}
        formula: Callable[..., Any] = losses[case.loss]

        def half(x: Array, y: Array, gradient: bool) -> Any:
            target = y if y.dtype.kind == "i" else y.astype(np.float32)
            result = formula(x.astype(np.float32), target, gradient)
            return (result[0], result[1].astype(x.dtype)) if gradient else result

        def by_rows(x: Array, y: Array, gradient: bool) -> Any:
            rows = np.moveaxis(x, 1, -1)
            result = formula(rows.reshape(-1, x.shape[1]), y.reshape(-1), gradient)
            if not gradient:
                return result
            return result[0], np.moveaxis(result[1].reshape(rows.shape), -1, 1)

        ask = half if x.dtype == ml_dtypes.bfloat16 else by_rows if case.options else formula
        return {VALUE: lambda: ask(x, y, False), GRADIENT: lambda: ask(x, y, True)}


def typed_mse(x: Array, y: Array, gradient: bool) -> Any:
    d = x - y
    value = np.mean(d * d)
    return (value, d * (2 / d.size)) if gradient else value


def typed_huber(x: Array, y: Array, gradient: bool) -> Any:
    d = x - y
    slope = np.clip(d, -1, 1)
    value = np.mean(slope * (d - slope / 2))
    return (value, slope / d.size) if gradient else value


def typed_bce(x: Array, y: Array, gradient: bool) -> Any:
    value = np.mean(np.maximum(x, 0) - x * y + np.log1p(np.exp(-np.abs(x))))
    return (value, (1 / (1 + np.exp(-x)) - y) / x.size) if gradient else value


def typed_ce(x: Array, y: Array, gradient: bool) -> Any:
    rows = np.arange(x.shape[0])
    m = np.max(x, axis=-1, keepdims=True)
    e = np.exp(x - m)
    s = np.sum(e, axis=-1, keepdims=True)
    value = np.mean(np.log(s[:, 0]) + m[:, 0] - x[rows, y])
    if not gradient:
        return value
    g = e / s
    g[rows, y] -= 1
    g /= x.shape[0]
    return value, g


def typed_soft(x: Array, y: Array, gradient: bool) -> Any:
    d = x - np.max(x, axis=-1, keepdims=True)
    e = np.exp(d)
    s = np.sum(e, axis=-1, keepdims=True)
    total = np.sum(y, axis=-1, keepdims=True)
    value = np.mean(np.log(s) * total - np.sum(y * d, axis=-1, keepdims=True))
    return (value, (e / s * total - y) / x.shape[0]) if gradient else value


CONTENDERS: dict[str, Contender] = {
    "nothing": Nothing(),
    "floor": Floor(),
    "tinyloss": Tinyloss("always"),
    "tinyloss eager": Tinyloss("never"),
    "torch": Torch(),
    "torch.compile": TorchCompile(),
    "jax.jit": JaxJit(),
    "scikit-learn": ScikitLearn(),
    "NumPy": Typed(),
}
