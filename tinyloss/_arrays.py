"""The namespace, dtype and device of an array.

Only this module asks which library an array belongs to. It imports no library: the library of an
array that was passed in is loaded.
"""

import itertools
import sys
from collections.abc import Sequence
from functools import cache
from math import prod
from types import ModuleType
from typing import Any

import array_api_compat as _typed_compat

from tinyloss.typing import Namespace

# Typed as Any: its own types name libraries that need not be installed.
array_api_compat: Any = _typed_compat

_NAMESPACES: dict[type, Namespace] = {}
_HOST_TYPES: dict[type, bool] = dict.fromkeys((bool, int, float, list, tuple), False)
# Keyed by type too: comparing dtypes of two libraries may raise.
_NAMES: dict[tuple[Any, Any], str] = {}

_PLAIN: tuple[type, ...] = (list, tuple, bool, int, float)
_WIDER_THAN_INT32 = ("uint32", "int64", "uint64")
_LIMITS = {"int32": (-(2**31), 2**31 - 1), "uint32": (0, 2**32 - 1)}
_INTEGERS = tuple(f"{u}int{n}" for u in ("", "u") for n in (8, 16, 32, 64))
_UNSUPPORTED_FLOATS = ("float96", "float128", "longdouble")


def public_namespace(x: Any, /) -> Namespace:
    """Return the array-API namespace of `x`: the module whose functions take it.

    Use it in a loss of your own, so that one formula serves every library.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> tinyloss.namespace(np.ones(3)).__name__
    'numpy'
    """
    return _find_namespace(x)


def namespace(x: Any, /) -> Namespace:
    """Return the namespace that the formulas call: that of `x`, without wrappers."""
    found = _NAMESPACES.get(type(x))  # pyright: ignore[reportUnknownArgumentType]
    if found is None:
        own = _find_namespace(x)
        found = _lean(own) if own.__name__ == "numpy" else own
        if not compiling():
            _NAMESPACES[type(x)] = found
    return found


def compiling() -> bool:
    """Return whether torch traces this call into a graph, as torch.compile and torch.export do.

    Traced code must not change a module's state, because the graph depends on it.
    """
    torch = sys.modules.get("torch")
    return torch is not None and torch.compiler.is_compiling()


@cache
def _lean(own: Namespace) -> Namespace:
    """Return NumPy with its reductions called directly.

    NumPy's sum, max and any are Python functions that call a ufunc's reduce. They take half of
    the time of a small call.
    """
    lean: Any = ModuleType("numpy")
    lean.__dict__.update(vars(own))
    for name in ("sum", "max", "min", "any"):
        ufunc = {"sum": own.add, "max": own.maximum, "min": own.minimum, "any": own.logical_or}
        setattr(lean, name, _reduction(ufunc[name]))
    return lean


def _reduction(ufunc: Any) -> Any:
    reduce = ufunc.reduce

    def over(
        x: Any, /, *, axis: int | None = None, dtype: Any = None, keepdims: bool = False
    ) -> Any:
        return reduce(x, axis=axis, dtype=dtype, keepdims=keepdims)

    return over


def _find_namespace(x: Any) -> Namespace:
    for base in type(x).__mro__:
        if base.__name__ in ("MaskedArray", "matrix") and base.__module__.startswith("numpy"):
            raise TypeError(
                f"numpy {base.__name__} objects are not supported, expected a plain array "
                "(for a mask use where=)"
            )
    if _inherits(x, "torch", "Tensor"):
        # array_namespace would use a cached function, and torch.compile warns of these.
        from tinyloss_torch import _namespace

        return _namespace
    # A library's own namespace, where it is complete, avoids the wrapper's calls.
    if hasattr(x, "__array_namespace__"):
        own = x.__array_namespace__()
        if hasattr(own, "astype"):
            return own
    try:
        return array_api_compat.array_namespace(x)
    except TypeError:
        hint = "; its .to_numpy() is one" if hasattr(x, "to_numpy") else ""
        raise TypeError(
            f"got {_describe(x)}, expected an array (NumPy, CuPy, JAX, torch, Dask, ...){hint}"
        ) from None


def _inherits(x: Any, module: str, *names: str) -> bool:
    return any(base.__module__ == module and base.__name__ in names for base in type(x).__mro__)


def _describe(x: Any) -> str:
    name = type(x).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def kind(dtype: Any) -> str:
    """Return "float", "int", "bool" or, for anything else, the dtype's name.

    By name, because `isdtype` raises on the dtypes that ml_dtypes adds to NumPy (bfloat16, float8).
    """
    name = dtype_name(dtype)
    return _KINDS.get(name) or _kind_of(name)


def _kind_of(name: str) -> str:
    if name.startswith(("float", "bfloat")) and name not in _UNSUPPORTED_FLOATS:
        return "float"
    if name.startswith(("int", "uint")):
        return "int"
    return "bool" if name.startswith("bool") else name


_KINDS = {
    name: _kind_of(name)
    for name in ("float16", "bfloat16", "float32", "float64", "bool", *_INTEGERS)
}


def dtype_name(dtype: Any) -> str:
    """Return the bare name of a dtype, such as "float32"."""
    if compiling():  # what torch traces must not depend on what is kept
        return _name_of(dtype)
    key = (type(dtype), dtype)  # pyright: ignore[reportUnknownVariableType]
    kept = _NAMES.get(key)  # pyright: ignore[reportUnknownArgumentType]
    if kept is None:
        kept = _NAMES[key] = _name_of(dtype)
    return kept


def _name_of(dtype: Any) -> str:
    name: str = getattr(dtype, "name", None) or str(dtype)
    return name.rpartition(".")[2]


def compute_dtype(xp: Namespace, *arrays: Any) -> Any:
    """Return the dtype to compute in: the widest floating one of `arrays`, at least float32.

    The first array is the prediction. If it is integer or boolean, it counts as the library's
    default floating dtype. Other integers do not widen.
    """
    x = arrays[0]
    if kind(x.dtype) != "float":
        default = xp.__array_namespace_info__().default_dtypes(device=device(x))["real floating"]
        if dtype_name(default) == "float64":
            return xp.float64
    for array in arrays:
        if dtype_name(array.dtype) == "float64":
            return xp.float64
    return xp.float32


def widest_dtype(xp: Namespace, x: Any) -> Any:
    """Return float64 if the library of `x` has it (JAX only with x64 enabled), else float32."""
    if is_host(x):
        return xp.float64
    dtypes = xp.__array_namespace_info__().dtypes(device=device(x), kind="real floating")
    return dtypes["float64" if "float64" in dtypes else "float32"]


def index_dtype(xp: Namespace, labels: Any) -> Any:
    """Return a signed integer dtype that holds every class index, that of `labels` if possible."""
    if dtype_name(labels.dtype) in ("int32", "int64"):
        return labels.dtype
    return xp.__array_namespace_info__().default_dtypes(device=device(labels))["integral"]


def result_dtype(dtype: Any, computed: Any) -> Any:
    """Return the dtype of a result for an array of `dtype`: that if floating, else `computed`."""
    return dtype if kind(dtype) == "float" else computed


def astype(xp: Namespace, array: Any, dtype: Any) -> Any:
    """Return `array` with `dtype`, itself if it has that dtype."""
    return array if array.dtype == dtype else xp.astype(array, dtype)


def device(x: Any) -> Any:
    """Return the device of `x`, None for a tracer or a library without devices."""
    found = getattr(x, "device", None)
    return "cpu" if found is None and _inherits(x, "dask.array.core", "Array") else found


def beside(x: Any) -> dict[str, Any]:
    """Return the keywords that create a new array on the device of `x`."""
    if is_host(x):
        return {}
    # Cubed computes arrays together only if they share a spec.
    found = {name: getattr(x, name, None) for name in ("device", "spec")}
    return {name: value for name, value in found.items() if value is not None}


def with_axes(array: Any, axes: Sequence[int]) -> Any:
    """Return an array with axes of length 1 at these places, in ascending order."""
    for axis in axes:  # expand_dims of Dask needs to know all lengths
        array = array[(slice(None),) * axis + (None,)]
    return array


def move_axis(xp: Namespace, array: Any, source: int, destination: int) -> Any:
    """Return `array` with one axis moved, counted from either end.

    By permute_dims: torch's `vmap` has no rule for moveaxis, and some libraries lack it.
    """
    axes = list(range(len(array.shape)))
    axis = axes.pop(source)
    axes.insert(destination % (len(axes) + 1), axis)
    return xp.permute_dims(array, tuple(axes))


def axes_last(xp: Namespace, array: Any, axes: Sequence[int]) -> Any:
    """Return `array` with axes, counted from the front in ascending order, as one, the last."""
    if len(axes) == 1:
        return move_axis(xp, array, axes[0], -1)
    rest = [axis for axis in range(len(array.shape)) if axis not in axes]
    moved = xp.permute_dims(array, (*rest, *axes))
    return xp.reshape(moved, (*moved.shape[: len(rest)], prod(moved.shape[len(rest) :])))


def axes_back(xp: Namespace, array: Any, axes: Sequence[int], lengths: Sequence[Any]) -> Any:
    """Return `array` with its last axis as axes of these lengths: what `axes_last` has undone."""
    if len(axes) == 1:
        return move_axis(xp, array, -1, axes[0])
    apart = xp.reshape(array, (*array.shape[:-1], *lengths))
    ndim = len(apart.shape)
    order = [*[axis for axis in range(ndim) if axis not in axes], *axes]
    return xp.permute_dims(apart, tuple(sorted(range(ndim), key=order.__getitem__)))


def are_one(array: Any, axes: Sequence[int]) -> bool:
    """Return whether axes, in ascending order, lie in memory as one does."""
    strides = getattr(array, "strides", None) or array.stride()
    some = [axis for axis in axes if array.shape[axis] != 1]
    return all(
        strides[one] == strides[next_] * array.shape[next_]
        for one, next_ in itertools.pairwise(some)
    )


def of_rank(xp: Namespace, array: Any, ndim: int) -> Any:
    """Return `array` with axes of length 1 in front, so that it has `ndim` axes."""
    missing = ndim - len(array.shape)
    return xp.reshape(array, (*[1] * missing, *array.shape)) if missing > 0 else array


def has_dtype(value: Any) -> bool:
    """Return whether a value has a dtype of its own.

    Of a number that torch.compile does not know yet, that cannot be asked.
    """
    return type(value) not in (bool, int, float) and hasattr(value, "dtype")


def bring(xp: Namespace, x: Any, value: Any) -> Any:
    """Return `value` as an array of `xp` on the device of `x`.

    Lists, numbers, NumPy arrays and tables' columns are converted. Arrays of a third library or
    on another device are refused.
    """
    if type(value) is type(x) and is_host(x):
        return value
    if not has_dtype(value) and isinstance(value, _PLAIN):
        array = xp.asarray(value, **beside(x))
        if kind(array.dtype) == "float" and not is_host(x):
            # Python's numbers have 53 bits; torch's default dtype would keep 24.
            wide = widest_dtype(xp, x)
            array = array if array.dtype == wide else xp.asarray(value, dtype=wide, **beside(x))
        return array
    try:
        own = namespace(value)
    except TypeError:
        if not hasattr(value, "__array__") or is_host(value):
            raise
        value = value.__array__()
        own = namespace(value)
    if own is xp:
        _check_device(x, value)
        return value
    if is_host(value):
        flags = value.flags
        if not (flags.c_contiguous and flags.writeable and value.dtype.isnative):
            # torch refuses negative strides and other byte orders and warns of read-only arrays
            value = namespace(value).array(value, dtype=value.dtype.newbyteorder("="), copy=True)
        array = xp.asarray(value, **beside(x))
        limits = _LIMITS.get(dtype_name(array.dtype))
        if limits is not None and dtype_name(value.dtype) in _WIDER_THAN_INT32:
            # JAX without x64 wraps integers that do not fit: a wrong class index would look right.
            return xp.asarray(namespace(value).clip(value, *limits), **beside(x))
        return array
    raise TypeError(
        f"is of {library(own)} beside x of {library(xp)}, expected arrays of one library: convert "
        f"x to {library(own)}, or this to numpy (NumPy arrays are taken beside any x)"
    )


def _check_device(x: Any, value: Any) -> None:
    """Refuse an array that the caller must move to the device of `x`."""
    here, there = device(x), device(value)
    if here is None or there is None or here == there:
        return
    if hasattr(value, "committed"):
        # JAX moves uncommitted arrays; a sharded array has several devices.
        if not (value.committed and x.committed) or value.devices() == x.devices():
            return
    elif value.shape == () and looks(value):
        return  # torch accepts a 0-d tensor of the CPU beside any tensor
    raise ValueError(f"is on {there}, expected {here}, the device of x")


def library(xp: Namespace) -> str:
    """Return the name of the library behind a namespace: "numpy", "torch", "jax", "dask"."""
    name: str = xp.__name__
    return name.removeprefix("array_api_compat.").removeprefix("tinyloss_").partition(".")[0]


def is_host(array: Any) -> bool:
    """Return whether an array is NumPy's."""
    known = _HOST_TYPES.get(type(array))  # pyright: ignore[reportUnknownArgumentType]
    if known is None:
        known = _inherits(array, "numpy", "ndarray", "generic")
        if not compiling():
            _HOST_TYPES[type(array)] = known
    return known


def is_torch(array: Any) -> bool:
    """Return whether an array is torch's."""
    return bool(array_api_compat.is_torch_array(array))


def looks(array: Any) -> bool:
    """Return whether reading the values of `array` costs no wait: it is eager, on the CPU."""
    if is_host(array):
        return True
    if compiling() or "cpu" not in str(device(array)).lower():
        return False
    if _inherits(array, "torch", "Tensor"):
        return _has_memory(array)
    return array_api_compat.is_jax_array(array) or not array_api_compat.is_lazy_array(array)


def _has_memory(tensor: Any) -> bool:
    """Return whether a tensor has memory: not if it is fake, or batched by `vmap`."""
    own: Any = type(tensor)  # pyright: ignore[reportUnknownVariableType]
    (plain,) = [base for base in own.__mro__ if base.__name__ == "Tensor"][-1:]
    if own.__torch_dispatch__ is not plain.__torch_dispatch__:
        return False
    try:
        tensor.data_ptr()
    except RuntimeError:
        return False
    return True


def writeable(array: Any) -> bool:
    """Return whether an array's elements can be set in place."""
    if array_api_compat.is_dask_array(array):  # would add a step to its graph instead
        return False
    return bool(array_api_compat.is_writeable_array(array))
