"""Array libraries as tests see them: how to make arrays, call tinyloss, and come back to NumPy."""

import contextlib
import importlib
import shutil
from collections.abc import Generator, Iterator
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest

import tinyloss_numpy
from tests.support.emulation import emulated_cupy

NumPyArray = npt.NDArray[Any]


def dtype_name(array: Any) -> str:
    """Return the bare name of an array's dtype in any library."""
    return str(array.dtype).rpartition(".")[2]


def numpy_dtype(name: str) -> np.dtype[Any]:
    return np.dtype(getattr(ml_dtypes, name, name))


def leaves(result: Any) -> Iterator[Any]:
    """Yield the arrays of nested tuples and dictionaries."""
    if isinstance(result, dict):
        result = tuple(result.values())
    if isinstance(result, tuple):
        for each in result:
            yield from leaves(each)
    else:
        yield result


class Library:
    """NumPy; subclasses say what the others do differently."""

    module = "numpy"
    floats: tuple[str, ...] = ("float32", "float64")
    halves: tuple[str, ...] = ("float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")
    integers: tuple[str, ...] = tuple(f"{u}int{n}" for u in ("", "u") for n in (8, 16, 32, 64))
    default_float = "float64"
    slow = False
    """Whether each new operation, shape or dtype is compiled, or each result is a graph to run."""
    sees_labels = True
    """Whether class indices out of range are errors, rather than NaN."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lib = importlib.import_module(self.module)

    @contextlib.contextmanager
    def settings(self) -> Generator[None]:
        """What holds during a whole test."""
        yield

    def asarray(self, values: Any, dtype: str | None = None) -> Any:
        """Return an array of the library; floating values are float32 unless a dtype is named."""
        host = np.asarray(values)
        if dtype is None and host.dtype.kind == "f":
            dtype = "float32"
        return self.own(host if dtype is None else host.astype(numpy_dtype(dtype)))

    def own(self, host: NumPyArray) -> Any:
        """Return a NumPy array as an array of the library."""
        return host.copy()

    @property
    def sweep(self) -> tuple[str, ...]:
        """The floating dtypes for tests of every loss: one where the library is slow."""
        return self.floats[-1:] if self.slow else self.floats

    def numpy(self, result: Any) -> NumPyArray:
        """Return a result as a NumPy array, half precision as float32."""
        host = self.host(result)
        return host.astype(np.float32) if dtype_name(host) in self.halves else host

    def host(self, result: Any) -> NumPyArray:
        return np.array(result)

    def fetch(self, result: Any) -> Any:
        """Return nested results as NumPy arrays."""
        if isinstance(result, dict):
            return {name: self.fetch(each) for name, each in result.items()}
        if isinstance(result, tuple):
            return tuple(self.fetch(each) for each in result)
        return self.numpy(result)

    def owns(self, result: Any) -> bool:
        """Return whether a result is of the library and on the device that tests use."""
        return isinstance(result, (np.ndarray, np.generic))

    def run(self, function: Any, arrays: Any, options: Any) -> Any:
        return function(*arrays, **options)

    def call(self, function: Any, *arrays: Any, **options: Any) -> Any:
        """Return function(*arrays, **options)."""
        inputs = [each for each in (*arrays, *options.values()) if self.owns(each)]
        before = [self.numpy(each) for each in inputs]
        result = self.run(function, arrays, options)
        for each in leaves(result):
            assert self.owns(each), f"{type(each)} is not an array of {self.name}"
        for each, was in zip(inputs, before, strict=True):
            np.testing.assert_array_equal(self.numpy(each), was, "an input was changed")
        return result


class ReadOnly(Library):
    """NumPy arrays that cannot be written to, as joblib and memory maps hand out."""

    def own(self, host: NumPyArray) -> Any:
        array = host.copy()
        array.flags.writeable = False
        return array


class Torch(Library):
    module = "torch"
    default_float = "float32"

    @contextlib.contextmanager
    def settings(self) -> Generator[None]:
        # A loss that is compiled after some calls changes bits.
        with tinyloss_numpy.compilation("never"):
            yield

    def own(self, host: NumPyArray) -> Any:
        name = dtype_name(host)
        if name in ("bfloat16", "float8_e4m3fn", "float8_e5m2"):  # torch takes them from no one
            return self.lib.asarray(host.astype(np.float32)).to(getattr(self.lib, name))
        return self.lib.asarray(host.copy())

    def host(self, result: Any) -> NumPyArray:
        result = result.detach()
        host: NumPyArray = (
            result.to(self.lib.float32) if dtype_name(result) in self.halves else result
        ).numpy()
        return host

    def owns(self, result: Any) -> bool:
        return isinstance(result, self.lib.Tensor) and result.device.type == "cpu"


class JAX(Library):
    module = "jax"
    floats: tuple[str, ...] = ("float32",)
    slow = True
    integers = tuple(name for name in Library.integers if not name.endswith("64"))
    default_float = "float32"

    def own(self, host: NumPyArray) -> Any:
        return self.lib.numpy.asarray(host)

    def owns(self, result: Any) -> bool:
        return isinstance(result, self.lib.Array) and result.device == self.lib.devices("cpu")[0]


class WideJAX(JAX):
    """JAX as it is with jax_enable_x64."""

    floats = Library.floats
    integers = Library.integers
    default_float = "float64"

    @contextlib.contextmanager
    def settings(self) -> Generator[None]:
        before = self.lib.config.jax_enable_x64
        self.lib.config.update("jax_enable_x64", True)
        yield
        self.lib.config.update("jax_enable_x64", before)


class JittedJAX(JAX):
    """Every call is traced: JAX's arrays are unknown, all else is static."""

    sees_labels = False

    def run(self, function: Any, arrays: Any, options: Any) -> Any:
        given = {**{str(n): each for n, each in enumerate(arrays)}, **options}
        traced = {name: each for name, each in given.items() if self.owns(each)}

        def call(traced: Any) -> Any:
            now = {**given, **traced}
            return function(*[now.pop(str(n)) for n in range(len(arrays))], **now)

        return self.lib.jit(call)(traced)


class Dask(Library):
    """Arrays in two chunks along each dimension, which nobody may compute before the test does."""

    module = "dask.array"
    slow = True
    sees_labels = False

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.dask = importlib.import_module("dask")

    def own(self, host: NumPyArray) -> Any:
        return self.lib.from_array(host.copy(), chunks=tuple((n + 1) // 2 or 1 for n in host.shape))

    def host(self, result: Any) -> NumPyArray:
        with np.errstate(all="ignore"):  # runs NumPy without tinyloss's backend for it
            return np.array(self.dask.compute(result, scheduler="synchronous")[0])

    def fetch(self, result: Any) -> Any:
        with np.errstate(all="ignore"):  # all at once: results share most of their graph
            return super().fetch(self.dask.compute(result, scheduler="synchronous")[0])

    def owns(self, result: Any) -> bool:
        return isinstance(result, self.lib.Array)

    def run(self, function: Any, arrays: Any, options: Any) -> Any:
        def forbidden(*_: Any, **__: Any) -> None:
            raise AssertionError("a Dask array was computed")

        with self.dask.config.set(scheduler=forbidden), np.errstate(all="ignore"):
            return function(*arrays, **options)


class SplitDask(Dask):
    """Rows in blocks that count as too large to be put together."""

    @contextlib.contextmanager
    def settings(self) -> Generator[None]:
        with self.dask.config.set({"array.chunk-size": "1 B"}):
            yield


class Strict(Library):
    """Nothing but the standard."""

    module = "array_api_strict"
    halves = ()
    device = "CPU_DEVICE"

    def own(self, host: NumPyArray) -> Any:
        return self.lib.asarray(host, device=self.lib.Device(self.device))

    def host(self, result: Any) -> NumPyArray:
        return np.array(result.to_device(self.lib.Device("CPU_DEVICE")))

    def owns(self, result: Any) -> bool:
        return hasattr(result, "to_device") and result.device == self.lib.Device(self.device)

    def run(self, function: Any, arrays: Any, options: Any) -> Any:
        with np.errstate(all="ignore"):  # runs NumPy without tinyloss's backend for it
            return function(*arrays, **options)


class StrictElsewhere(Strict):
    """Arrays on another device than new arrays are by default; they cannot be looked at."""

    device = "device1"
    sees_labels = False


class Strictest(Strict):
    """Nothing whose shape hangs on values, as under a compiler."""

    @contextlib.contextmanager
    def settings(self) -> Generator[None]:
        flags = self.lib.ArrayAPIStrictFlags
        with flags(boolean_indexing=False, data_dependent_shapes=False):
            yield


class EmulatedCuPy(Library):
    """CuPy's arrays on a GPU that is emulated: the host must not look at them."""

    halves = ("float16", "bfloat16")
    slow = True
    sees_labels = False

    def __init__(self, name: str) -> None:
        super().__init__(name)
        if shutil.which("g++") is None:
            raise ImportError("g++ is needed to emulate a GPU")

    @contextlib.contextmanager
    def settings(self) -> Generator[None]:
        with emulated_cupy() as self.lib:
            yield

    def own(self, host: NumPyArray) -> Any:
        return self.lib.asarray(host)

    def host(self, result: Any) -> NumPyArray:
        host: NumPyArray = self.lib.asnumpy(result)
        return host

    def owns(self, result: Any) -> bool:
        return isinstance(result, self.lib.ndarray)


LIBRARIES: dict[str, type[Library]] = {
    "numpy": Library,
    "numpy:readonly": ReadOnly,
    "cupy:emulated": EmulatedCuPy,
    "torch": Torch,
    "jax": JAX,
    "jax:x64": WideJAX,
    "jax:jit": JittedJAX,
    "dask": Dask,
    "dask:split": SplitDask,
    "array-api-strict": Strict,
    "array-api-strict:device1": StrictElsewhere,
    "array-api-strict:strictest": Strictest,
}


TURNS = ("jax", "dask", "jax:jit", "dask:split", "jax:x64")
"""The slow libraries that the default selection tries in turn."""

# JAX compiles everything once more with jax_enable_x64: for tests of what depends on it.
with_x64 = pytest.mark.parametrize("xp", LIBRARIES, indirect=True)


def required(config: pytest.Config) -> set[str]:
    names: Any = config.getoption("--require")
    return set(names.split(",")) - {""}


def peer(name: str, config: pytest.Config) -> Any:
    """Give another library's module, or skip the test."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        root = name.partition(".")[0]
        if root in required(config):
            pytest.fail(f"{root} is required: {error}", pytrace=False)
        pytest.skip(f"{root} is not installed")
