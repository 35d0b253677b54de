"""Who takes part in `tinyloss bench`: each computes the mean of a loss and its gradient by x."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from math import prod
from typing import Any, TypeAlias

import numpy as np

import tinyloss
from tinyloss.cli import measure
from tinyloss.cli._inputs import Arguments, Array, arguments
from tinyloss.cli._libraries import LIBRARIES
from tinyloss.cli._others import of_optax, of_torch
from tinyloss.cli._usage import UsageError
from tinyloss.cli.definitions import DEFINITIONS

__all__ = ["AGAINST", "Contender", "Work", "contenders", "grown"]

Call: TypeAlias = Callable[[], Any]


@dataclass(frozen=True)
class Work:
    """A loss of predictions of one shape."""

    loss: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def label(self) -> str:
        """The work in words."""
        return f"{self.loss} {' × '.join(map(str, self.shape))} {self.dtype}"

    @property
    def elements(self) -> int:
        """The number of predictions."""
        return prod(self.shape)

    def arguments(self) -> Arguments:
        """Return the arguments as NumPy's arrays, in the dtype or, without one of NumPy's, wider.

        Long arrays repeat themselves: drawing them would take longer than measuring.
        """
        drawn_shape = (min(self.shape[0], max(1, 2**20 // prod(self.shape[1:]))), *self.shape[1:])
        given = arguments(DEFINITIONS[self.loss].draw, drawn_shape)
        return [np.resize(a, (self.shape[0], *a.shape[1:])) for a in map(self._cast, given)]

    def _cast(self, array: Array) -> Array:
        if array.dtype.kind == "i":
            return array
        return array.astype(self.numpy_dtype)

    @property
    def numpy_dtype(self) -> Any:
        """NumPy's dtype of this name."""
        if self.dtype != "bfloat16":
            return np.dtype(self.dtype)
        try:
            return np.dtype(import_module("ml_dtypes").bfloat16)
        except ImportError:
            raise UsageError(
                "bfloat16 arrays of NumPy need ml-dtypes", "pip install ml-dtypes"
            ) from None


@dataclass(frozen=True)
class Contender:
    """A way to compute the mean of a loss and its gradient."""

    name: str
    prepare: Callable[[Work, Arguments], Call]
    """From NumPy's arguments, a call that does all of the work and returns when it is done."""
    items: Callable[[Work, Arguments], Array] | None = None
    """The loss of each item, to see how far off it is; None where nothing is computed."""
    stage: Callable[[], AbstractContextManager[Any]] = nullcontext


def _tensor(array: Array) -> Any:
    torch = import_module("torch")
    if array.dtype.kind == "V" or array.dtype.name == "bfloat16":  # torch takes it from no one
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def _ours(work: Work) -> Callable[..., Any]:
    loss: Any = getattr(tinyloss, work.loss)
    return tinyloss.value_and_grad(loss)


def _floor(threads: int) -> Contender:
    floor = measure.Floor(threads)
    return Contender("floor: the bytes alone", lambda work, given: floor.calls(*given[:2])[1])


def _ours_on_numpy(threads: int) -> Contender:
    def stage() -> AbstractContextManager[Any]:
        backend, stack = import_module("tinyloss_numpy"), ExitStack()
        stack.enter_context(backend.compilation("always"))
        stack.enter_context(backend.threads(threads))
        return stack

    def prepare(work: Work, given: Arguments) -> Call:
        function = _ours(work)
        return lambda: function(*given)

    def items(work: Work, given: Arguments) -> Array:
        return np.asarray(getattr(tinyloss, work.loss)(*given, reduction="none"))

    return Contender("tinyloss", prepare, items, stage)


def _ours_on_torch(threads: int) -> Contender:
    def prepare(work: Work, given: Arguments) -> Call:
        import_module("torch").set_num_threads(threads)
        own = [*map(_tensor, given)]
        function = _ours(work)
        return lambda: function(*own)

    def items(work: Work, given: Arguments) -> Array:
        found: Any = getattr(tinyloss, work.loss)(*map(_tensor, given), reduction="none")
        return np.asarray(found)

    def stage() -> AbstractContextManager[Any]:
        made: AbstractContextManager[Any] = import_module("tinyloss_numpy").compilation("always")
        return made

    return Contender("tinyloss on torch", prepare, items, stage)


def _ours_on_jax(threads: int) -> Contender:
    def prepare(work: Work, given: Arguments) -> Call:
        return _jitted(_ours(work), given)

    def items(work: Work, given: Arguments) -> Array:
        own = map(LIBRARIES["jax"].own, given)
        return np.asarray(getattr(tinyloss, work.loss)(*own, reduction="none"))

    return Contender("tinyloss on JAX", prepare, items)


def _ours_on_cupy(threads: int) -> Contender:
    def prepare(work: Work, given: Arguments) -> Call:
        cupy = import_module("cupy")
        own = [cupy.asarray(each) for each in given]
        function = _ours(work)

        def call() -> Any:
            result = function(*own)
            cupy.cuda.get_current_stream().synchronize()
            return result

        return call

    def items(work: Work, given: Arguments) -> Array:
        cupy = import_module("cupy")
        own = (cupy.asarray(each) for each in given)
        found: Array = cupy.asnumpy(getattr(tinyloss, work.loss)(*own, reduction="none"))
        return found

    return Contender("tinyloss on CuPy", prepare, items)


def _ours_on_dask(threads: int) -> Contender:
    def prepare(work: Work, given: Arguments) -> Call:
        dask = import_module("dask")
        own = [*map(LIBRARIES["dask"].own, given)]
        function = _ours(work)
        return lambda: dask.compute(*function(*own))

    def items(work: Work, given: Arguments) -> Array:
        own = map(LIBRARIES["dask"].own, given)
        return np.asarray(getattr(tinyloss, work.loss)(*own, reduction="none"))

    return Contender("tinyloss on Dask", prepare, items)


def _torch(threads: int) -> Contender:
    def prepare(work: Work, given: Arguments) -> Call:
        return _with_backward(_mean_of_torch(work), given, threads)

    return Contender(f"torch {_version('torch')}", prepare, _items_of_torch)


def _torch_compile(threads: int) -> Contender:
    def prepare(work: Work, given: Arguments) -> Call:
        torch = import_module("torch")
        torch.compiler.reset()
        mean = torch.compile(_mean_of_torch(work), dynamic=False)
        return _with_backward(mean, given, threads)

    return Contender(f"torch.compile {_version('torch')}", prepare, _items_of_torch)


def _mean_of_torch(work: Work) -> Callable[..., Any]:
    theirs: Any = of_torch(work.loss)

    def mean(*own: Any) -> Any:
        return theirs(own, "mean")

    return mean


def _with_backward(mean: Callable[..., Any], given: Arguments, threads: int) -> Call:
    torch = import_module("torch")
    torch.set_num_threads(threads)
    x, *more = map(_tensor, given)
    leaf = x.detach().requires_grad_()

    def call() -> Any:
        leaf.grad = None
        loss = mean(leaf, *more)
        loss.backward()
        return loss, leaf.grad

    return call


def _items_of_torch(work: Work, given: Arguments) -> Array:
    theirs: Any = of_torch(work.loss)
    found: Array = theirs([*map(_tensor, given)]).numpy()
    return found


def _optax(threads: int) -> Contender:
    def items(work: Work, given: Arguments) -> Array:
        theirs: Any = of_optax(work.loss)
        return np.asarray(theirs(*map(LIBRARIES["jax"].own, given)))

    def prepare(work: Work, given: Arguments) -> Call:
        jax = import_module("jax")
        theirs: Any = of_optax(work.loss)

        def mean(*own: Any) -> Any:
            return theirs(*own).mean()

        return _jitted(jax.value_and_grad(mean), given)

    return Contender(f"optax {_version('optax')} (jitted)", prepare, items)


def _jitted(function: Callable[..., Any], given: Arguments) -> Call:
    jax = import_module("jax")
    if given[0].dtype == np.float64:
        jax.config.update("jax_enable_x64", True)
    own = [*map(LIBRARIES["jax"].own, given)]
    jitted = jax.jit(function)
    return lambda: jax.block_until_ready(jitted(*own))


def _version(distribution: str) -> str:
    return version(distribution).partition("+")[0]


_OURS: dict[str, Callable[[int], Contender]] = {
    "numpy": _ours_on_numpy,
    "jax": _ours_on_jax,
    "torch": _ours_on_torch,
    "cupy": _ours_on_cupy,
    "dask": _ours_on_dask,
}
AGAINST: dict[str, tuple[str, str, Callable[[int], Contender]]] = {
    "torch": ("torch", "pip install torch", _torch),
    "torch.compile": ("torch", "pip install torch", _torch_compile),
    "optax": ("optax", "pip install optax", _optax),
}
"""Others: the module that each needs, the command that brings it, and what makes it."""


def contenders(work: Work, on: list[str], against: list[str], threads: int) -> Iterator[Contender]:
    """Yield who can compute a work; the floor first."""
    yield _floor(threads)
    for library in on:
        yield _OURS[library](threads)
    for other in against:
        of = of_optax if other == "optax" else of_torch
        if of(work.loss) is not None:
            yield AGAINST[other][2](threads)


def grown(work: Work, on: list[str], against: list[str], threads: int, name: str) -> int:
    """Return the bytes of memory that a call takes beyond its gradient, in a process of its own."""
    (chosen,) = (each for each in contenders(work, on, against, threads) if each.name == name)
    with chosen.stage():
        small = Work(work.loss, (max(work.shape[0] // 64, 1), *work.shape[1:]), work.dtype)
        for each in (small, small, work):  # what is compiled for a shape is compiled before
            call = chosen.prepare(each, each.arguments())
            if each is small or "compile" in name or "jit" in name or "JAX" in name:
                call()
        gradient: int = work.elements * work.numpy_dtype.itemsize
        return measure.growth(call) - gradient
