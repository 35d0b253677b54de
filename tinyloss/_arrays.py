"""What must be known of an array: its namespace, the kind of its dtype, where it lives.

The only module that asks which library an array belongs to. It imports none: an array that was
handed over proves that its library is loaded.
"""

from functools import cache
from types import ModuleType
from typing import Any

import array_api_compat as _typed_compat

from tinyloss.typing import Namespace

__all__ = [
    "astype",
    "bring",
    "compute_dtype",
    "device",
    "dtype_name",
    "index_dtype",
    "is_host",
    "is_torch",
    "kind",
    "library",
    "looks",
    "namespace",
    "public_namespace",
    "result_dtype",
    "widest_dtype",
    "writeable",
]

# Its types name libraries that need not be installed.
array_api_compat: Any = _typed_compat

_NAMESPACES: dict[type, Namespace] = {}
_HOST_TYPES: set[Any] = set()
# Keyed by type too: dtypes of two libraries may object to being compared.
_NAMES: dict[tuple[Any, Any], str] = {}

_PLAIN: tuple[type, ...] = (list, tuple, bool, int, float)
_WIDER_THAN_INT32 = ("uint32", "int64", "uint64")
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
    """Return the namespace that the formulas call: that of `x`, with nothing between."""
    try:
        return _NAMESPACES[type(x)]
    except KeyError:
        own = _find_namespace(x)
        found = _NAMESPACES[type(x)] = _lean(own) if own.__name__ == "numpy" else own
        return found


@cache
def _lean(own: Namespace) -> Namespace:
    """Return NumPy with its reductions called directly.

    NumPy's sum, max and any are Python functions that call a ufunc's reduce: half of the time of
    a small call is theirs.
    """
    lean: Any = ModuleType("numpy")
    lean.__dict__.update(vars(own))
    for name, ufunc in (("sum", own.add), ("max", own.maximum), ("any", own.logical_or)):
        setattr(lean, name, _reduction(ufunc))
    return lean


def _reduction(ufunc: Any) -> Any:
    reduce = ufunc.reduce

    def over(x: Any, /, *, axis: int | None = None, keepdims: bool = False) -> Any:
        return reduce(x, axis=axis, keepdims=keepdims)

    return over


def _find_namespace(x: Any) -> Namespace:
    for base in type(x).__mro__:
        if base.__name__ in ("MaskedArray", "matrix") and base.__module__.startswith("numpy"):
            raise TypeError(
                f"numpy {base.__name__} objects are not supported, expected a plain array "
                "(for a mask use where=)"
            )
    # A library's own namespace, where it is complete, spares the wrapper's calls.
    if hasattr(x, "__array_namespace__"):
        own = x.__array_namespace__()
        if hasattr(own, "astype"):
            return own
    try:
        return array_api_compat.array_namespace(x)
    except TypeError:
        raise TypeError(
            f"got {_describe(x)}, expected an array (NumPy, CuPy, JAX, torch, Dask, ...)"
        ) from None


def _describe(x: Any) -> str:
    name = type(x).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def kind(dtype: Any) -> str:
    """Return "float", "int", "bool" or, for anything else, the dtype's name.

    By name, because `isdtype` raises on the dtypes that ml_dtypes adds to NumPy (bfloat16, float8).
    """
    return _kind_of(dtype_name(dtype))


@cache
def _kind_of(name: str) -> str:
    if name.startswith(("float", "bfloat")) and name not in _UNSUPPORTED_FLOATS:
        return "float"
    if name.startswith(("int", "uint")):
        return "int"
    return "bool" if name.startswith("bool") else name


def dtype_name(dtype: Any) -> str:
    """Return the bare name of a dtype, such as "float32"."""
    key = (dtype.__class__, dtype)
    kept = _NAMES.get(key)
    if kept is None:
        name = getattr(dtype, "name", None) or str(dtype)
        kept = _NAMES[key] = name.rpartition(".")[2]
    return kept


def compute_dtype(xp: Namespace, *arrays: Any) -> Any:
    """Return the dtype to compute in: the widest floating one of `arrays`, at least float32.

    The first array is the prediction: where it is integer or boolean, it counts as the library's
    default floating dtype. Integers elsewhere do not widen.
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
    """Return float64 where arrays beside `x` can be of it (in JAX only if asked), else float32."""
    dtypes = xp.__array_namespace_info__().dtypes(device=device(x), kind="real floating")
    return dtypes.get("float64", xp.float32)


def index_dtype(xp: Namespace, labels: Any) -> Any:
    """Return a signed integer dtype that holds every class index: that of `labels` if it can."""
    if dtype_name(labels.dtype) in ("int32", "int64"):
        return labels.dtype
    return xp.__array_namespace_info__().default_dtypes(device=device(labels))["integral"]


def result_dtype(dtype: Any, computed: Any) -> Any:
    """Return the dtype of a result that belongs to an array of `dtype`: that, if it is floating."""
    return dtype if kind(dtype) == "float" else computed


def astype(xp: Namespace, array: Any, dtype: Any) -> Any:
    """Return `array` with `dtype`, itself where it has it."""
    return array if array.dtype == dtype else xp.astype(array, dtype)


def device(x: Any) -> Any:
    """Return the device of `x`, None under a tracer."""
    return array_api_compat.device(x)


def bring(xp: Namespace, beside: Any, value: Any) -> Any:
    """Return `value` as an array of `xp` on the device of `beside`.

    Lists, numbers and NumPy arrays are brought over; arrays of a third library are refused.
    """
    if type(value) is type(beside):
        return value
    if not hasattr(value, "dtype") and isinstance(value, _PLAIN):
        return xp.asarray(value, device=device(beside))
    if namespace(value) is xp:
        return value
    if array_api_compat.is_numpy_array(value):
        array = xp.asarray(value, device=device(beside))
        if dtype_name(array.dtype) == "int32" and dtype_name(value.dtype) in _WIDER_THAN_INT32:
            # JAX without 64 bits wraps what does not fit: a wrong class index would look right.
            held = namespace(value).clip(value, -(2**31), 2**31 - 1)
            return xp.asarray(held, device=device(beside))
        return array
    raise TypeError(
        f"is of {library(namespace(value))} beside x of {library(xp)}, expected arrays of one "
        "library (or NumPy arrays and lists beside any)"
    )


def library(xp: Namespace) -> str:
    """Return the name of the library behind a namespace: "numpy", "torch", "jax", "dask"."""
    name: str = xp.__name__
    return name.removeprefix("array_api_compat.").partition(".")[0]


def is_host(array: Any) -> bool:
    """Return whether an array is one of NumPy's."""
    if type(array) in _HOST_TYPES:
        return True
    if hasattr(array, "dtype") and array_api_compat.is_numpy_array(array):
        _HOST_TYPES.add(type(array))
        return True
    return False


def is_torch(array: Any) -> bool:
    """Return whether an array is one of torch's."""
    return bool(array_api_compat.is_torch_array(array))


def looks(array: Any) -> bool:
    """Return whether the values of `array` can be looked at for free: eager, on the CPU."""
    if is_host(array):
        return True
    if array_api_compat.is_lazy_array(array) and not array_api_compat.is_jax_array(array):
        return False
    return "cpu" in str(device(array)).lower()


def writeable(array: Any) -> bool:
    """Return whether an array's elements can be set, where they lie."""
    if array_api_compat.is_dask_array(array):  # takes it as one more step of its graph
        return False
    return bool(array_api_compat.is_writeable_array(array))
