"""A library's arrays made from NumPy's, in every dtype and layout; random numbers of a domain."""

from collections.abc import Callable
from importlib import import_module
from math import prod
from typing import Any

import tinyloss
from tinyloss._arrays import compute_dtype, dtype_name, kind, looks, writeable
from tinyloss.typing import Namespace

# IEEE 754 (bfloat16: float32 without its last 16 bits): spacing at 1, smallest subnormal number.
PRECISION = {
    "float16": (2.0**-10, 2.0**-24),
    "bfloat16": (2.0**-7, 2.0**-133),
    "float32": (2.0**-23, 2.0**-149),
    "float64": (2.0**-52, 2.0**-1074),
}
INTEGERS = tuple(f"{sign}int{bits}" for bits in (64, 32, 16, 8) for sign in ("", "u"))
LAYOUTS = (
    "plain", "slice", "transposed", "reversed", "rows", "broadcast", "readonly", "offset",
    "unaligned",
)  # fmt: skip


class Library:
    """The arrays of a library, from and to NumPy's."""

    def __init__(
        self, numpy: Any, asarray: Callable[[Any], Any], to_numpy: Callable[[Any], Any]
    ) -> None:
        self.numpy, self._asarray, self.to_numpy = numpy, asarray, to_numpy
        one = self.own(numpy.ones(1, dtype="float32"))
        self.xp: Namespace = tinyloss.namespace(one)
        self.array: type[Any] = type(one)
        self.is_numpy = isinstance(one, numpy.ndarray)
        self.sees = looks(one)
        self.writes = writeable(one)
        self.left_out: list[str] = []
        """Dtypes that are not tried, each with the reason."""
        self.dtypes = self._find_dtypes()
        """NumPy's dtypes that the library has, by name."""

    def _find_dtypes(self) -> dict[str, Any]:
        names = [*INTEGERS, "bool", *(name for name in PRECISION if name != "bfloat16")]
        dtypes = {name: self.numpy.dtype(name) for name in names}
        try:
            dtypes["bfloat16"] = self.numpy.dtype(import_module("ml_dtypes").bfloat16)
        except ImportError:
            self.left_out.append("bfloat16: ml_dtypes is not installed")
        for name in [name for name, dtype in dtypes.items() if not self._has(dtype)]:
            self.left_out.append(f"{name}: the library has no such arrays")
            del dtypes[name]
        return dtypes

    def _has(self, dtype: Any) -> bool:
        try:
            return dtype_name(self.own(self.numpy.ones(1, dtype=dtype)).dtype) == dtype_name(dtype)
        except (TypeError, ValueError):
            return False

    def own(self, host: Any) -> Any:
        """Return a copy of a NumPy array as an array of the library."""
        return self._asarray(host.copy())

    def bits(self, array: Any) -> bytes:
        """Return the bytes of an array's elements."""
        host: bytes = self.numpy.asarray(self.to_numpy(array)).tobytes()
        return host

    def compute_dtype(self, *names: str) -> str:
        """Return the name of the dtype that the library computes in, from those of arguments."""
        given = [self.own(self.numpy.ones(1, self.dtypes[name])) for name in names]
        dtype = compute_dtype(self.xp, *given)
        return dtype_name(self.xp.ones(1, dtype=dtype).dtype)

    def lay(self, layout: str, host: Any) -> tuple[Any, Any]:
        """Return an array in a layout, and the array that owns its memory.

        Memory between the elements holds NaN or the largest integer, so that reading it shows.
        """
        np, n = self.numpy, host.ndim
        if layout == "readonly" and self.is_numpy:
            base = self.own(host)
            base.flags.writeable = False
            return base, base
        if layout == "unaligned" and self.is_numpy:
            base = np.zeros(host.nbytes + 1, np.uint8)
            view = np.ndarray(host.shape, host.dtype, base, 1)
            view[...] = host
            return view, base
        if layout in ("plain", "readonly", "unaligned") or n == 0:
            base = self.own(host)
            return base, base
        if layout == "transposed":
            base = self.own(np.ascontiguousarray(host.T))
            return self.xp.permute_dims(base, tuple(reversed(range(n)))), base
        if layout == "broadcast":
            base = self.own(host[:1])
            return self.xp.broadcast_to(base, host.shape), base
        if layout == "reversed":
            back = (slice(None, None, -1),) * n
            base = self.own(np.ascontiguousarray(host[back]))
            try:
                return base[back], base
            except ValueError:  # torch has no negative steps
                base = self.own(host)
                return base, base
        if layout == "offset":
            base = self.own(np.concatenate([self._junk(host, (1,)), host.reshape(-1)]))
            return self.xp.reshape(base[1:], host.shape), base
        every_second = slice(1, None, 2)
        at = (..., every_second) if layout == "slice" else (every_second, ...)
        axis = n - 1 if layout == "slice" else 0
        shape = (*host.shape[:axis], 2 * host.shape[axis] + 1, *host.shape[axis + 1 :])
        wide = self._junk(host, shape)
        wide[at] = host
        base = self.own(wide)
        return base[at], base

    def _junk(self, host: Any, shape: tuple[int, ...]) -> Any:
        np, of = self.numpy, kind(host.dtype)
        junk = True if of == "bool" else np.iinfo(host.dtype).max if of == "int" else np.nan
        return np.full(shape, junk, dtype=host.dtype)


def draw(
    np: Any, rng: Any, domain: str, shape: tuple[int, ...], dtype: Any, rows: bool = False
) -> Any:
    """Return random numbers of a domain: "real", "positive", "unit", "hard" (0, 1), "signs".

    `rows` are distributions: "unit" adds up to 1 over the last dimension, "hard" has one 1.
    """
    if domain == "real":
        drawn = 2 * rng.standard_normal(shape)
    elif domain == "positive":
        drawn = 0.0625 + 2 * np.abs(rng.standard_normal(shape))
    elif domain == "unit":
        drawn = rng.uniform(0.0625, 0.9375, shape)
        if rows:
            drawn = drawn / drawn.sum(axis=-1, keepdims=True)
    elif domain == "hard" and rows:
        drawn = rng.permuted(np.arange(prod(shape)).reshape(shape) % shape[-1] == 0, axis=-1)
    elif domain == "hard":
        drawn = rng.integers(0, 2, shape)
    else:
        drawn = 2 * rng.integers(0, 2, shape) - 1
    drawn = np.asarray(drawn)
    if kind(dtype) == "bool":
        return drawn > 0.5
    if kind(dtype) == "int":
        low = max(np.iinfo(dtype).min, -128)
        return np.clip(np.rint(drawn), low, 127).astype(dtype)
    return drawn.astype(dtype)
