"""Stands in for the module `cupy`: arrays in NumPy's memory that nobody may look at from the host.

Everything that CuPy computes NumPy computes here, but where CuPy would wait for the device, or
copy from it, there is an error; `asnumpy` alone is the way out, for tests.
"""

import ctypes
import importlib
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any, NoReturn

import ml_dtypes
import numpy as np

from tests.support.emulation.compiler import addressed, compiled, machine

__all__ = ["ABSENT", "HostAccessError", "emulated_cupy"]

ALIGNMENT = 512
"""Of CuPy's memory pool."""

ABSENT = frozenset(
    """False_ ScalarType True_ __array_namespace_info__ asmatrix bmat busday_count busday_offset
    busdaycalendar bytes_ char character clongdouble complex256 core ctypeslib datetime64
    datetime_as_string datetime_data dtypes einsum_path emath errstate f2py flexible float128
    fromregex frompyfunc geomspace get_include getbufsize geterr geterrcall histogram_bin_edges
    info insert is_busday isnat little_endian longdouble ma matrix matvec memmap nanpercentile
    nanquantile ndenumerate nditer nested_iters object_ polyder polydiv polyint rec recarray record
    sctypeDict setbufsize seterr seterrcall show_runtime spacing str_ strings test timedelta64
    typecodes unstack vecdot vecmat void block""".split()
)
"""Public names of NumPy that CuPy 14 does not have."""


class HostAccessError(AssertionError):
    """The host looked at an array of the device."""


class DriverError(RuntimeError):
    """Stands for CUDADriverError."""


def _allocated(size: int) -> "MemoryPointer":
    """Return memory that is aligned and full of NaN."""
    block = np.full(size + ALIGNMENT, 0xFF, np.uint8)
    start = -block.ctypes.data % ALIGNMENT
    return MemoryPointer(block[: start + size], start)


class MemoryPointer:
    """Stands for cupy.cuda.MemoryPointer, of NumPy's bytes."""

    def __init__(self, memory: Any, offset: int) -> None:
        self.bytes = memory[offset:]


def _new(shape: Any, strides: Any, dtype: Any) -> "ndarray":
    """Return an array of new memory."""
    return ndarray(shape, dtype, strides=strides)


def _own(host: Any) -> "ndarray":
    """Return a copy of NumPy's array as an array of the device that lies as it does."""
    host = np.asarray(host)
    new = _new(host.shape, np.empty_like(host).strides, host.dtype)
    new.host[...] = host
    return new


def _forbidden(name: str) -> Callable[..., NoReturn]:
    def refuse(self: Any, *_: Any, **__: Any) -> NoReturn:
        raise HostAccessError(f"{name} of an array: the host waits for the device")

    return refuse


class Device:
    """Stands for cupy.cuda.Device."""

    def __init__(self, device: Any = None) -> None:
        self.id = 0

    @property
    def compute_capability(self) -> str:
        return machine.compute_capability

    def __enter__(self) -> "Device":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device)

    def __hash__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return "<CUDA Device 0>"


class ndarray:
    """An array of the device."""

    __module__ = "cupy"
    __array_priority__ = 100
    __array_ufunc__ = None
    __hash__ = None  # type: ignore[assignment]

    def __init__(
        self, shape: Any, dtype: Any = float, memptr: Any = None, strides: Any = None
    ) -> None:
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        self.memory = (memptr or _allocated(max(1, size))).bytes
        self.host = np.ndarray(shape, dtype, self.memory, 0, strides)

    shape = property(lambda self: self.host.shape)
    strides = property(lambda self: self.host.strides)
    dtype = property(lambda self: self.host.dtype)
    ndim = property(lambda self: self.host.ndim)
    size = property(lambda self: self.host.size)
    nbytes = property(lambda self: self.host.nbytes)
    itemsize = property(lambda self: self.host.itemsize)
    device = property(lambda self: Device())
    data = property(lambda self: SimpleNamespace(ptr=self.address, device_id=0))
    address = property(lambda self: addressed(self.host.ctypes.data, self.host.dtype, self.memory))
    T = property(lambda self: self.part(self.host.T))

    def part(self, host: Any) -> "ndarray":
        """Return NumPy's view of this array's memory as an array."""
        part = ndarray.__new__(ndarray)
        part.host, part.memory = host, self.memory
        return part

    def __len__(self) -> int:
        return len(self.host)

    def __getitem__(self, key: Any) -> "ndarray":
        part: ndarray = _wrapped(self.host[_host(key)], (self,))
        return part

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(value, np.ndarray) and value.ndim:
            raise TypeError("an array of NumPy's is set into one of CuPy's")
        self.host[_host(key)] = _host(value)

    def astype(self, dtype: Any, copy: bool = True) -> "ndarray":
        same = not copy and self.dtype == dtype
        with np.errstate(all="ignore"):
            return self if same else _own(self.host.astype(dtype))

    def copy(self) -> "ndarray":
        return _own(self.host)

    def reshape(self, *shape: Any) -> "ndarray":
        same: ndarray = _wrapped(self.host.reshape(*shape), (self,))
        return same

    def __repr__(self) -> str:
        return f"<emulated {self.dtype} {self.shape}>"


for _name in ("bool", "float", "int", "index", "complex", "array", "iter", "contains"):
    setattr(ndarray, f"__{_name}__", _forbidden(f"__{_name}__"))
for _name in ("item", "get", "tolist", "tobytes"):
    setattr(ndarray, _name, _forbidden(_name))


def _operator(name: str) -> Callable[..., Any]:
    def operate(self: ndarray, *others: Any) -> Any:
        for other in others:
            if isinstance(other, np.ndarray):
                raise TypeError("an array of NumPy's meets one of CuPy's")
        with np.errstate(all="ignore"):
            result = getattr(self.host, name)(*map(_host, others))
        return result if result is NotImplemented else _wrapped(result, ())

    return operate


for (
    _name
) in """add sub mul truediv floordiv mod pow radd rsub rmul rtruediv rpow matmul and or xor rand ror
rxor lt le gt ge eq ne neg pos abs invert""".split():
    setattr(ndarray, f"__{_name}__", _operator(f"__{_name}__"))


def _in_place(name: str) -> Callable[..., Any]:
    def operate(self: ndarray, other: Any) -> Any:
        if isinstance(other, np.ndarray):
            raise TypeError("an array of NumPy's meets one of CuPy's")
        with np.errstate(all="ignore"):
            getattr(self.host, name)(_host(other))
        return self

    return operate


for _name in "add sub mul truediv".split():
    setattr(ndarray, f"__i{_name}__", _in_place(f"__i{_name}__"))


def _host(value: Any) -> Any:
    """Return arguments with NumPy's arrays in place of the device's."""
    if isinstance(value, ndarray):
        return value.host
    if isinstance(value, (tuple, list)):
        return type(value)(map(_host, value))
    return value


def _wrapped(result: Any, given: Any) -> Any:
    """Return NumPy's result as the device's: a view of what it was made of, or new memory."""
    if isinstance(result, (tuple, list)):
        return type(result)([_wrapped(each, given) for each in result])
    if not isinstance(result, (np.ndarray, np.generic)):
        return result
    if isinstance(result, np.ndarray):
        for each in given:
            if isinstance(each, ndarray) and np.may_share_memory(result, each.memory):
                return each.part(result)
    return _own(result)


def _function(name: str, function: Any) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        for each in (*args, *kwargs.values()):
            if isinstance(each, np.ndarray):
                raise TypeError(f"cupy.{name} does not take arrays of NumPy's")
        given = [_host(each) for each in args]
        options = {key: _host(each) for key, each in kwargs.items()}
        with np.errstate(all="ignore"):
            return _wrapped(function(*given, **options), args)

    call.__name__ = name
    return call


def _asarray(
    a: Any, dtype: Any = None, order: Any = None, *, copy: Any = None, blocking: bool = False
) -> Any:
    if isinstance(a, ndarray):
        return a if dtype is None or a.dtype == dtype else a.astype(dtype)
    return _own(np.asarray(_host(a), dtype))


def _array(a: Any, dtype: Any = None, copy: bool = True, **_: Any) -> Any:
    array = _asarray(a, dtype)
    return array.copy() if copy and array is a else array


def _empty(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    return _new(shape, None, dtype)


def _empty_like(prototype: Any, dtype: Any = None, order: str = "K") -> ndarray:
    like = np.empty_like(prototype.host, dtype)
    return _new(like.shape, like.strides, like.dtype)


def _compiled(source: str, options: tuple[str, ...]) -> tuple[bytes, None]:
    """Stands for compile_using_nvrtc: the machine code is the source."""
    return source.encode(), None


class Module:
    """Stands for cupy.cuda.function.Module."""

    def load(self, code: bytes) -> None:
        self.kernel = compiled(code.decode())

    def get_function(self, name: str) -> Callable[..., None]:
        kernel = self.kernel

        def launch(
            grid: Any, block: Any, args: Any, shared_mem: int = 0, stream: Any = None
        ) -> None:
            machine.streams.append(None if stream is None else stream.ptr)
            if kernel.cluster > 1 and (
                machine.refuses_clusters or int(machine.compute_capability) < 90
            ):
                raise DriverError("CUDA_ERROR_INVALID_CLUSTER_SIZE")
            kernel.launch(grid, block, args)

        return launch


def _gemm_ex(
    handle: int, op_a: int, op_b: int, m: int, n: int, k: int, alpha: int,
    a: int, type_a: int, step_a: int, b: int, type_b: int, step_b: int, beta: int,
    c: int, type_c: int, step_c: int, compute: int, algorithm: int,
) -> None:  # fmt: skip
    """Stands for cublas.gemmEx of bfloat16 with sums in float32."""
    assert (type_a, type_b, type_c, compute, algorithm) == (14, 14, 0, 68, -1)

    def columns(address: int, rows: int, count: int, step: int, dtype: Any) -> Any:
        size = np.dtype(dtype).itemsize
        assert step >= rows
        block: Any = (ctypes.c_uint8 * (((count - 1) * step + rows) * size)).from_address(address)
        return np.ndarray((rows, count), dtype, block, 0, (size, step * size))

    def factor(address: int, op: int, rows: int, count: int, step: int) -> Any:
        shape = (count, rows) if op else (rows, count)
        matrix = columns(address, *shape, step, ml_dtypes.bfloat16).astype(np.float32)
        return matrix.T if op else matrix

    one, before = (ctypes.c_float.from_address(each).value for each in (alpha, beta))
    product = factor(a, op_a, m, k, step_a) @ factor(b, op_b, k, n, step_b)
    into = columns(c, m, n, step_c, np.float32)
    into[...] = one * product + (before * into if before else 0)


class CPointer:
    """Stands for cupy.cuda.function.CPointer: where an argument is."""

    def __init__(self, p: int = 0) -> None:
        self.ptr = p


def _modules() -> dict[str, ModuleType]:
    """Return the modules that take the places of CuPy's."""
    parts = ("device", "compiler", "function", "nvrtc")
    names = (
        "cupy",
        "cupy.linalg",
        "cupy.fft",
        "cupy.cuda",
        *[f"cupy.cuda.{each}" for each in parts],
    )
    cublas = "cupy_backends.cuda.libs.cublas"
    packages = [cublas[:n] for n, letter in enumerate(cublas) if letter == "."]
    modules = {name: ModuleType(name) for name in (*names, *packages, cublas)}
    modules[cublas].gemmEx = _gemm_ex  # type: ignore[attr-defined]
    for name in packages:
        modules[name].__path__ = []
    for name, source in (("cupy", np), ("cupy.linalg", np.linalg), ("cupy.fft", np.fft)):
        for each in source.__all__:
            value = getattr(source, each)
            if each in ABSENT or isinstance(value, ModuleType):
                continue
            plain = isinstance(value, type) or not callable(value)
            setattr(modules[name], each, value if plain else _function(each, value))
    cupy, cuda = modules["cupy"], modules["cupy.cuda"]
    vars(cupy).update(
        ndarray=ndarray, asarray=_asarray, array=_array, empty=_empty, empty_like=_empty_like,
        cuda=cuda, linalg=modules["cupy.linalg"], fft=modules["cupy.fft"],
        may_share_memory=lambda a, b, max_work=None: np.may_share_memory(a.host, b.host),
        isdtype=np.isdtype, __version__="14.2.0",
    )  # fmt: skip
    cupy.asnumpy = lambda a: a.host.copy() if isinstance(a, ndarray) else np.asarray(a)  # type: ignore[attr-defined]
    vars(modules["cupy.cuda.device"]).update(
        Device=Device, get_device_id=lambda: 0, get_cublas_handle=lambda: 0
    )
    vars(modules["cupy.cuda.compiler"]).update(compile_using_nvrtc=_compiled)
    vars(modules["cupy.cuda.function"]).update(Module=Module, CPointer=CPointer)
    vars(modules["cupy.cuda.nvrtc"]).update(getVersion=lambda: (0, 0))
    vars(cuda).update({each: modules[f"cupy.cuda.{each}"] for each in parts})
    vars(cuda).update(
        Device=Device, is_available=lambda: True,
        driver=SimpleNamespace(CUDADriverError=DriverError),
        runtime=SimpleNamespace(is_hip=False), MemoryPointer=MemoryPointer,
    )  # fmt: skip
    for package in (cupy, cuda):
        package.__path__ = []
    return modules


_OURS = ("cupy", "cupy_backends", "array_api_compat.cupy", "tinyloss_cupy")
_kept: dict[str, ModuleType] = {}
"""The modules of the emulation, and those that were imported under it, while it is not on."""
_depth = 0


def _theirs(name: str) -> bool:
    return any(name == each or name.startswith(each + ".") for each in _OURS)


def _swap(into: dict[str, ModuleType]) -> dict[str, ModuleType]:
    """Put modules in the places of those that there are; return these."""
    out = {name: sys.modules.pop(name) for name in [*sys.modules] if _theirs(name)}
    sys.modules.update(into)
    compat = importlib.import_module("array_api_compat")
    vars(compat).pop("cupy", None)  # what was imported from the package stays its attribute
    if "array_api_compat.cupy" in into:
        vars(compat)["cupy"] = into["array_api_compat.cupy"]
    return out


@contextmanager
def emulated_cupy() -> Generator[Any]:
    """Have `import cupy` give the stand-in."""
    global _kept, _depth
    if _depth:
        yield sys.modules["cupy"]
        return
    _depth += 1
    others = _swap(_kept or _modules())
    try:
        yield sys.modules["cupy"]
    finally:
        _kept = _swap(others)
        _depth -= 1
