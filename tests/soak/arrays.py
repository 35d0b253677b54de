"""Arrays for random calls of losses: shapes, dtypes, numbers and layouts."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from tests.support.libraries import numpy_dtype

Array = npt.NDArray[Any]
Shape = tuple[int, ...]

INTEGERS = tuple(f"{u}int{n}" for u in ("", "u") for n in (8, 16, 32, 64))


class Draw:
    """Random choices; `kind` are those that another kernel is compiled for.

    Calls that are alike share a generator of kinds and one of layouts.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        kind: np.random.Generator,
        layout: np.random.Generator | None = None,
    ) -> None:
        self.rng, self.kind, self.alike = rng, kind, layout is not None
        self.layout: Draw = self if layout is None else Draw(layout, kind)

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def one(self, of: Sequence[Any]) -> Any:
        return of[int(self.rng.integers(len(of)))]

    def kinds(self, of: Sequence[Any], p: Sequence[float] | None = None) -> Any:
        return of[int(self.kind.choice(len(of), p=p))]

    def maybe(self, p: float) -> bool:
        """Return a choice that another kernel is compiled for."""
        return bool(self.kind.random() < p)


# ------------------------------------------------------------------------------------- shapes


def item_shape(d: Draw, least: int, most: int) -> Shape:
    if d.chance(0.02):
        return (int(d.rng.integers(2000, 30000)),) if least < 2 <= most + 1 else (70, 300)
    ndim = int(d.rng.integers(least, most + 1))
    return tuple([int(d.one((0, 1, 1, 2, 2, 3, 3, 4, 5, 7, 9))) if d.chance(0.9)
                  else int(d.rng.integers(1, 40)) for _ in range(ndim)])  # fmt: skip


def row_shape(d: Draw) -> tuple[Shape, int]:
    """Return a shape with its class axis."""
    items = item_shape(d, 0, 3)
    most = 2000 if prod(items) < 50 and d.chance(0.1) else 12
    classes = 1 if d.chance(0.04) else int(d.rng.integers(2, most + 1))
    at = int(d.rng.integers(len(items) + 1)) if d.chance(0.4) else len(items)
    return (*items[:at], classes, *items[at:]), at


def broadcasting(d: Draw, items: Shape) -> Shape:
    """Return a shape that broadcasts to the items'."""
    if d.maybe(0.5):
        return items
    shape = tuple([n if d.maybe(0.5) else 1 for n in items])
    return shape[int(d.kind.integers(len(shape) + 1)) :]


# ------------------------------------------------------------------------------------- values


def cast(values: Any, dtype: str) -> Array:
    host = np.asarray(values, np.float64)
    if numpy_dtype(dtype).kind in "iub":
        return host.astype(numpy_dtype(dtype))
    most = float(ml_dtypes.finfo(numpy_dtype(dtype)).max)
    finite = np.isfinite(host)
    return np.where(finite, np.clip(host, -most, most), host).astype(numpy_dtype(dtype))


def reals(d: Draw, shape: Shape, dtype: str, tame: bool, most: float = 800.0) -> Array:
    """Return real numbers: ordinary, in the tails, huge, tiny, whole, or all of these."""
    info = ml_dtypes.finfo(numpy_dtype(dtype))
    digits = float(np.log10(float(info.max)))
    rng = d.rng
    sign = rng.choice([-1.0, 1.0], shape)

    def plain() -> Any:
        return rng.normal(size=shape) * d.one((0.1, 1.0, 1.0, 3.0, 10.0))

    def tails() -> Any:
        return sign * 10 ** rng.uniform(-3, np.log10(most), shape)

    def huge() -> Any:
        return sign * 10 ** rng.uniform(-digits, digits, shape)

    def tiny() -> Any:
        return sign * rng.integers(0, 1000, shape) * float(info.smallest_subnormal)

    def whole() -> Any:
        return np.round(rng.normal(size=shape) * 3)

    choices: list[Callable[[], Any]] = [plain, plain, tails, whole]
    if not tame:
        choices += [huge, tiny]
    if d.chance(0.15):
        values = plain()
        for other in choices:
            values = np.where(rng.random(shape) < 0.2, other(), values)
    else:
        values = d.one(choices)()
    return cast(values, dtype)


def near(d: Draw, x: Array, dtype: str) -> Array:
    """Return numbers close to x, or equal."""
    gap = d.one((0.0, 2.0**-20, 1e-3, 0.3))
    with np.errstate(all="ignore"):
        wide = x.astype(np.float64)
        return cast(wide * (1 + gap * d.rng.normal(size=x.shape)), dtype)


def chances(d: Draw, shape: Shape, dtype: str) -> Array:
    """Return numbers from 0 to 1, the ends and their neighbours included."""
    rng = d.rng
    p = rng.random(shape)
    if d.chance(0.3):
        p = np.where(rng.random(shape) < 0.3, 10 ** rng.uniform(-40, 0, shape), p)
        p = np.where(rng.random(shape) < 0.2, 1 - 10 ** rng.uniform(-16, 0, shape), p)
    if d.chance(0.5):
        p = np.where(rng.random(shape) < 0.3, np.round(p), p)
    return cast(p, dtype)


def distributions(d: Draw, shape: Shape, at: int, dtype: str) -> Array:
    """Return rows that are not negative: of sum 1 or not, with zeros, or one-hot."""
    rng = d.rng
    how = d.one(("soft", "zeros", "hard", "any"))
    p = rng.gamma(d.one((0.3, 1.0, 5.0)), size=shape) + 1e-6
    if how == "zeros":
        p = p * (rng.random(shape) < 0.6)
    if how == "hard":
        p = (p == p.max(axis=at, keepdims=True)).astype(np.float64)
    total = p.sum(axis=at, keepdims=True)
    return cast(p if how == "any" else p / np.where(total == 0, 1, total), dtype)


def logits(d: Draw, shape: Shape, at: int, dtype: str, tame: bool) -> Array:
    x = reals(d, shape, dtype, tame, most=300.0)
    if d.chance(0.15):  # one class almost certain
        lift = np.zeros(shape)
        index: list[Any] = [slice(None)] * len(shape)
        index[at] = int(d.rng.integers(shape[at]))
        lift[tuple(index)] = d.rng.uniform(5, 90)
        x = cast(x.astype(np.float64) + lift, dtype)
    if d.chance(0.15):  # impossible classes, never all of a row
        gone = d.rng.random(shape) < 0.3
        gone[tuple([slice(None)] * at + [int(d.rng.integers(shape[at]))])] = False
        x = np.where(gone, cast(-np.inf, dtype), x)
    return x


def float_dtype(d: Draw, lib: str) -> str:
    names, p = ["float32", "float64", "float16", "bfloat16"], [0.45, 0.3, 0.125, 0.125]
    if lib.startswith("jax"):
        names, p = ["float32", "float16", "bfloat16"], [0.6, 0.2, 0.2]
    if lib == "array-api-strict":
        names, p = ["float32", "float64"], [0.6, 0.4]
    name: str = d.kinds(names, p)
    return name


def target_dtype(d: Draw, lib: str, dtype: str) -> str:
    """Return the dtype of a real-valued target: mostly that of x."""
    if d.maybe(0.75):
        return dtype
    if lib in ("torch", "array-api-strict") or lib.startswith("jax"):
        return dtype
    return str(d.kinds(("float32", "float64", "float16")))


def integer_dtype(d: Draw, lib: str) -> str:
    if lib == "torch":
        return str(d.kinds(("int8", "int16", "int32", "int64", "uint8")))
    if lib.startswith("jax"):
        return str(d.kinds(("int8", "int16", "int32", "uint8", "uint32")))
    return str(d.kinds(INTEGERS))


# ------------------------------------------------------------------------------------ layouts


def lay(d: Draw, a: Array) -> Array:
    """Return the array's numbers, somehow laid out in memory."""
    how = d.kinds(("C", "C", "C", "F", "reversed", "sliced", "transposed", "unaligned", "read-only",
                 "big-endian", "repeated"))  # fmt: skip
    if how == "C" or (a.ndim == 0 and how not in ("unaligned", "read-only", "big-endian")):
        return a
    if how == "F":
        return np.asfortranarray(a)
    at = int(d.rng.integers(a.ndim)) if a.ndim else 0
    if how == "reversed":
        index = tuple([slice(None, None, -1 if n == at else None) for n in range(a.ndim)])
        return np.ascontiguousarray(a[index])[index]
    if how == "sliced":
        step = int(d.one((2, 3)))
        shape = tuple([n * step if i == at else n for i, n in enumerate(a.shape)])
        wide = np.ones(shape, a.dtype)
        view = wide[tuple([slice(None, None, step if n == at else None) for n in range(a.ndim)])]
        view[...] = a
        return view
    if how == "transposed":
        order = d.rng.permutation(a.ndim)
        return np.ascontiguousarray(a.transpose(order)).transpose(np.argsort(order))
    if how == "unaligned":
        raw = np.zeros(a.nbytes + 1, np.uint8)[1:]
        view = raw.view(a.dtype).reshape(a.shape)
        view[...] = a
        return view
    if how == "big-endian":
        return a if a.dtype.kind not in "fiu" else a.astype(a.dtype.newbyteorder(">"))
    if how == "repeated":
        index = tuple([slice(0, 1) if n == at else slice(None) for n in range(a.ndim)])
        if (
            a.size
            and bool(np.all((a == a[index]) | (a != a)))
            and not np.isnan(a.astype(float)).any()
        ):
            return np.broadcast_to(a[index].copy(), a.shape)
        return a
    frozen = a.copy()
    frozen.flags.writeable = False
    return frozen


def repeat(d: Draw, a: Array) -> Array:
    """Return an array that is constant along one axis, now and then."""
    if a.ndim and a.size and d.chance(0.05):
        at = int(d.rng.integers(a.ndim))
        first = a[tuple([slice(0, 1) if n == at else slice(None) for n in range(a.ndim)])]
        return np.broadcast_to(first, a.shape).copy()
    return a
