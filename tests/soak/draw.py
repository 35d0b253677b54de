"""Random calls of losses for `tests.soak.differential`: all that a call can vary in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from tests.soak.formulas import ACTIVATIONS, BINARY, LOSSES, ROWWISE, SIGNED
from tests.support.libraries import numpy_dtype

__all__ = ["LIBRARIES_DRAWN", "Case", "draw"]

Array = npt.NDArray[Any]
Shape = tuple[int, ...]

# How often. What compiles every call anew is slow: it gets a few in a hundred.
LIBRARIES_DRAWN = {
    "numpy": 0.56,
    "numpy:compiled": 0.30,
    "torch": 0.08,
    "array-api-strict": 0.025,
    "dask": 0.015,
    "jax": 0.015,
    "jax:jit": 0.005,
}

HALVES = ("float16", "bfloat16")
INTEGERS = tuple(f"{u}int{n}" for u in ("", "u") for n in (8, 16, 32, 64))
WITH_LABELS = ("cross_entropy", "softmax_focal", "nll")

# Losses of one kind of target, which may be added.
SUMS = (
    ("mse", "mae", "huber", "smooth_l1", "log_cosh", "quantile"),
    ("cross_entropy", "softmax_focal"),
    ("binary_cross_entropy_with_logits", "sigmoid_focal"),
    ("hinge", "squared_hinge", "soft_margin"),
)


@dataclass
class Case:
    """A call: arrays are NumPy's, laid out as they are given to NumPy."""

    loss: str
    library: str
    x: Array
    y: Array | None = None
    var: Array | None = None
    labels: bool = False
    axis: int = -1
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    """weight, where, reduction, denominator, class_weight, ignore_index, pos_weight."""
    params: dict[str, Any] = field(default_factory=dict[str, Any])
    terms: list[tuple[float, str, dict[str, Any]]] = field(
        default_factory=list[tuple[float, str, dict[str, Any]]]
    )
    """The terms of a sum of losses; none for a single one."""
    want: str = "value"
    argnums: int | tuple[int, ...] = 0
    object: bool = False
    out: bool = False
    lists: bool = False
    """Whether options are given as lists."""
    foreign: bool = False
    """Whether options stay NumPy arrays beside x of another library."""
    wrong: Array | None = None
    """Items whose target is outside of its domain."""


class Draw:
    """Random choices; `kind` are those that another kernel is compiled for."""

    def __init__(self, rng: np.random.Generator, kind: np.random.Generator) -> None:
        self.rng, self.kind = rng, kind

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def one(self, of: Sequence[Any]) -> Any:
        return of[int(self.rng.integers(len(of)))]

    def kinds(self, of: Sequence[Any], p: Sequence[float] | None = None) -> Any:
        return of[int(self.kind.choice(len(of), p=p))]

    def maybe(self, p: float) -> bool:
        """Return a choice that another kernel is compiled for."""
        return bool(self.kind.random() < p)


def draw(
    seed: int, number: int, only: str | None = None, library: str | None = None
) -> Case | None:
    """Return the call of this number, None where it is not of the loss or library asked for."""
    kind = rng = np.random.default_rng([seed, number])
    shares = np.array([*LIBRARIES_DRAWN.values()])
    lib = [*LIBRARIES_DRAWN][int(rng.choice(len(shares), p=shares / shares.sum()))]
    if lib in ("numpy:compiled", "jax:jit", "jax"):
        # A few kinds, more and more, so that most calls find their kernel compiled.
        kind = np.random.default_rng([77, int(rng.integers(6 + number // 500))])
    names = [*LOSSES, *ACTIVATIONS]
    p = np.array([1.0] * len(LOSSES) + [0.25] * len(ACTIVATIONS))
    name = names[int(kind.choice(len(names), p=p / p.sum()))]
    if (only and only != name) or (library and library != lib):
        return None
    d = Draw(rng, kind)
    return _activation(d, name, lib) if name in ACTIVATIONS else _loss(d, name, lib)


# ------------------------------------------------------------------------------------- shapes


def _shape(d: Draw, least: int, most: int) -> Shape:
    if d.chance(0.02):
        return (int(d.rng.integers(2000, 30000)),) if least < 2 <= most + 1 else (70, 300)
    ndim = int(d.rng.integers(least, most + 1))
    return tuple([int(d.one((0, 1, 1, 2, 2, 3, 3, 4, 5, 7, 9))) if d.chance(0.9)
                  else int(d.rng.integers(1, 40)) for _ in range(ndim)])  # fmt: skip


def _row_shape(d: Draw) -> tuple[Shape, int]:
    """Return a shape with its class axis."""
    items = _shape(d, 0, 3)
    most = 2000 if prod(items) < 50 and d.chance(0.1) else 12
    classes = 1 if d.chance(0.04) else int(d.rng.integers(2, most + 1))
    at = int(d.rng.integers(len(items) + 1)) if d.chance(0.4) else len(items)
    return (*items[:at], classes, *items[at:]), at


def _broadcasting(d: Draw, items: Shape) -> Shape:
    """Return a shape that broadcasts to the items'."""
    if d.maybe(0.5):
        return items
    shape = tuple([n if d.maybe(0.5) else 1 for n in items])
    return shape[int(d.kind.integers(len(shape) + 1)) :]


# ------------------------------------------------------------------------------------- values


def _cast(values: Any, dtype: str) -> Array:
    host = np.asarray(values, np.float64)
    if numpy_dtype(dtype).kind in "iub":
        return host.astype(numpy_dtype(dtype))
    most = float(ml_dtypes.finfo(numpy_dtype(dtype)).max)
    finite = np.isfinite(host)
    return np.where(finite, np.clip(host, -most, most), host).astype(numpy_dtype(dtype))


def _reals(d: Draw, shape: Shape, dtype: str, tame: bool, most: float = 800.0) -> Array:
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
    return _cast(values, dtype)


def _near(d: Draw, x: Array, dtype: str) -> Array:
    """Return numbers close to x, or equal."""
    gap = d.one((0.0, 2.0**-20, 1e-3, 0.3))
    with np.errstate(all="ignore"):
        wide = x.astype(np.float64)
        return _cast(wide * (1 + gap * d.rng.normal(size=x.shape)), dtype)


def _chances(d: Draw, shape: Shape, dtype: str) -> Array:
    """Return numbers from 0 to 1, the ends and their neighbours included."""
    rng = d.rng
    p = rng.random(shape)
    if d.chance(0.3):
        p = np.where(rng.random(shape) < 0.3, 10 ** rng.uniform(-40, 0, shape), p)
        p = np.where(rng.random(shape) < 0.2, 1 - 10 ** rng.uniform(-16, 0, shape), p)
    if d.chance(0.5):
        p = np.where(rng.random(shape) < 0.3, np.round(p), p)
    return _cast(p, dtype)


def _distributions(d: Draw, shape: Shape, at: int, dtype: str) -> Array:
    """Return rows that are not negative: of sum 1 or not, with zeros, or one-hot."""
    rng = d.rng
    how = d.one(("soft", "zeros", "hard", "any"))
    p = rng.gamma(d.one((0.3, 1.0, 5.0)), size=shape) + 1e-6
    if how == "zeros":
        p = p * (rng.random(shape) < 0.6)
    if how == "hard":
        p = (p == p.max(axis=at, keepdims=True)).astype(np.float64)
    total = p.sum(axis=at, keepdims=True)
    return _cast(p if how == "any" else p / np.where(total == 0, 1, total), dtype)


def _logits(d: Draw, shape: Shape, at: int, dtype: str, tame: bool) -> Array:
    x = _reals(d, shape, dtype, tame, most=300.0)
    if d.chance(0.15):  # one class almost certain
        lift = np.zeros(shape)
        index: list[Any] = [slice(None)] * len(shape)
        index[at] = int(d.rng.integers(shape[at]))
        lift[tuple(index)] = d.rng.uniform(5, 90)
        x = _cast(x.astype(np.float64) + lift, dtype)
    if d.chance(0.15):  # impossible classes, never all of a row
        gone = d.rng.random(shape) < 0.3
        gone[tuple([slice(None)] * at + [int(d.rng.integers(shape[at]))])] = False
        x = np.where(gone, _cast(-np.inf, dtype), x)
    return x


def _float_dtype(d: Draw, lib: str) -> str:
    names, p = ["float32", "float64", "float16", "bfloat16"], [0.45, 0.3, 0.125, 0.125]
    if lib.startswith("jax"):
        names, p = ["float32", "float16", "bfloat16"], [0.6, 0.2, 0.2]
    if lib == "array-api-strict":
        names, p = ["float32", "float64"], [0.6, 0.4]
    name: str = d.kinds(names, p)
    return name


def _target_dtype(d: Draw, lib: str, dtype: str) -> str:
    """Return the dtype of a real-valued target: mostly that of x."""
    if d.maybe(0.75):
        return dtype
    if lib in ("torch", "array-api-strict") or lib.startswith("jax"):
        return dtype
    return str(d.kinds(("float32", "float64", "float16")))


def _integer_dtype(d: Draw, lib: str) -> str:
    if lib == "torch":
        return str(d.kinds(("int8", "int16", "int32", "int64", "uint8")))
    if lib.startswith("jax"):
        return str(d.kinds(("int8", "int16", "int32", "uint8", "uint32")))
    return str(d.kinds(INTEGERS))


# ------------------------------------------------------------------------------------ layouts


def _lay(d: Draw, a: Array) -> Array:
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


def _repeat(d: Draw, a: Array) -> Array:
    """Return an array that is constant along one axis, now and then."""
    if a.ndim and a.size and d.chance(0.05):
        at = int(d.rng.integers(a.ndim))
        first = a[tuple([slice(0, 1) if n == at else slice(None) for n in range(a.ndim)])]
        return np.broadcast_to(first, a.shape).copy()
    return a


# ------------------------------------------------------------------------------------ options


def _weight(d: Draw, items: Shape, lib: str, dtype: str) -> Array:
    shape = _broadcasting(d, items)
    kind = d.kinds(("float32", "float64", "same", "float16", "int32", "uint8", "bool", "int64"))
    kind = dtype if kind == "same" else kind
    if lib.startswith("jax") and kind in ("float64", "int64"):
        kind = "float32"
    if lib == "array-api-strict" and kind in ("float16", "bfloat16"):
        kind = "float32"
    rng = d.rng
    if kind == "bool":
        return rng.random(shape) < 0.6
    if kind in ("int32", "int64", "uint8"):
        return rng.integers(0, 4, shape).astype(kind)
    values = rng.uniform(0.05, 2, shape)
    if d.chance(0.3):
        values = values * (rng.random(shape) < 0.6)
    if d.chance(0.07):
        values = values * np.where(rng.random(shape) < 0.3, -1, 1)
    if d.chance(0.04):
        values = values * 0
    scale = 1.0
    if d.chance(0.4):
        scales = [1e-3, 1e4]
        if kind in ("float32", "float64", "bfloat16"):
            scales += [1e-35, 1e35] if lib.startswith("jax") else [1e-38, 1e-44, 1e35, 1e-20]
        if kind == "float64":
            scales += [1e-50, 1e50, 1e-300, 1e300]
        scale = float(d.one(scales))
    return _cast(values * scale, str(kind))


def _denominator(d: Draw, dtype: str) -> Any:
    number = float(d.one((0, 1, 3, 7, 0.25, 1000.0, -2.0, 12.5, 2, 64, 1e-3, 5)))
    how = d.kinds(("int", "float", "scalar", "array", "wide"))
    if how == "int":
        return int(number)
    if how == "float":
        return number
    name = "float32" if dtype in HALVES or not dtype.startswith("float") else dtype
    if how == "scalar":
        return numpy_dtype(name).type(number)
    return np.asarray(number, numpy_dtype(name if how == "array" else "float32"))


def _number(d: Draw, usual: Sequence[float], low: float, high: float) -> float:
    """Return a parameter: one of the usual, or any between two powers of ten."""
    if d.maybe(0.7):
        return float(d.kinds(usual))
    return float(10 ** d.kind.uniform(low, high))


def _parameters(d: Draw, name: str) -> dict[str, Any]:
    share = (0.0, 1.0, 0.5, 0.1, 0.9, 1e-3, 0.99)
    if name == "huber":
        return {"delta": _number(d, (1.0, 0.1, 2.5, 30.0), -9, 9)}
    if name == "smooth_l1":
        return {"beta": _number(d, (1.0, 0.0, 0.1, 2.5), -9, 9)}
    if name == "quantile":
        return {"q": float(d.kinds(share))}
    if name == "mape":
        return {"eps": _number(d, (2.0**-52, 1e-8, 1.0), -30, 3)}
    if name == "poisson_nll":
        eps = _number(d, (1e-8, 0.0, 1e-3, 1.0), -30, 1)
        return {"log_input": d.maybe(0.5), "full": d.maybe(0.5), "eps": eps}
    if name == "gaussian_nll":
        return {"full": d.maybe(0.5), "eps": _number(d, (1e-6, 1e-3, 1.0), -30, 1)}
    if name == "binary_cross_entropy":
        eps = d.kinds((None, None, 1e-7, 1e-50, 0.5))
        return {"eps": eps if eps is None else _number(d, (eps,), -30, -0.31)}
    if name == "sigmoid_focal":
        alpha = d.kinds((None, 0.25, 0.0, 1.0, 0.5, 0.9))
        return {"alpha": alpha, "gamma": _number(d, (2.0, 0.0, 0.5, 1.0, 5.0), -2, 1)}
    if name == "softmax_focal":
        return {"gamma": _number(d, (2.0, 0.0, 0.5, 1.0, 5.0), -2, 1)}
    if name == "cross_entropy":
        return {"label_smoothing": float(d.kinds((0.0, 0.0, 0.0, 0.1, 1.0, 0.5, 1e-6)))}
    if name == "kl_div":
        return {"log_target": d.maybe(0.5)}
    return {}


# -------------------------------------------------------------------------------------- calls


def _activation(d: Draw, name: str, lib: str) -> Case:
    dtype = _float_dtype(d, lib)
    tame = lib.startswith("jax") or lib == "dask"
    if name in ("softplus", "log_sigmoid"):
        x = _reals(d, _shape(d, 0, 4), dtype, tame)
        return Case(name, lib, _lay(d, x))
    shape, at = _row_shape(d)
    x = _logits(d, shape, at, dtype, tame)
    return Case(name, lib, _lay(d, x), axis=at - len(shape) if d.chance(0.5) else at)


def _loss(d: Draw, name: str, lib: str) -> Case:
    dtype = _float_dtype(d, lib)
    tame = lib.startswith("jax") or lib == "dask"
    rowwise = name in ROWWISE
    shape, at = _row_shape(d) if rowwise else (_shape(d, 0, 4), 0)
    items = (*shape[:at], *shape[at + 1 :]) if rowwise else shape
    if rowwise and lib in ("dask",) and 0 in items:
        shape, items = tuple([n or 2 for n in shape]), tuple([n or 2 for n in items])
    labels = name in WITH_LABELS and (name == "nll" or d.maybe(0.6))
    other = _target_dtype(d, lib, dtype)
    case = Case(name, lib, np.zeros(0), labels=labels, params=_parameters(d, name))
    if rowwise:
        case.axis = at - len(shape) if d.chance(0.5) else at
        case.x, y = _rows(d, case, shape, at, items, dtype, other, tame)
    else:
        case.x, y = _points(d, case, shape, dtype, other, tame)
    case.y = y
    for sums in SUMS:
        if name in sums and d.maybe(0.12) and not (name == "smooth_l1" and not case.params["beta"]):
            more = [str(d.kinds(sums)) for _ in range(int(d.kind.integers(1, 3)))]
            factors = (0.7, 0.3, -1.0, 1e-3, 1024.0, 2.0)
            case.terms = [
                (
                    float(d.kinds(factors)),
                    each,
                    case.params if each == name else _parameters(d, each),
                )
                for each in (name, *more)
            ]
    _options(d, case, items, lib, dtype)
    _ask(d, case, shape)
    kept = _kept(case, items)
    _disturb(d, case, kept, at, dtype)
    case.x, case.y = _lay(d, case.x), _lay(d, case.y)
    if case.var is not None:
        case.var = _lay(d, case.var)
    for option in ("weight", "where", "class_weight", "pos_weight"):
        if option in case.options:
            case.options[option] = _lay(d, case.options[option])
    case.object = bool(case.terms) or d.chance(0.2)
    case.lists = lib == "numpy" and 0 not in items and d.chance(0.04)
    # torch has a bfloat16, but takes it from no one.
    brought = all(getattr(each, "dtype", 0) != ml_dtypes.bfloat16 for each in case.options.values())
    case.foreign = lib in ("torch", "jax", "jax:jit") and brought and d.chance(0.2)
    return case


def _rows(
    d: Draw, case: Case, shape: Shape, at: int, items: Shape, dtype: str, other: str, tame: bool
) -> tuple[Array, Array]:
    name, rng = case.loss, d.rng
    if name == "js_div":
        x = _distributions(d, shape, at, dtype)
        y = _near(d, x, other) if d.chance(0.3) else _distributions(d, shape, at, other)
        return x, y
    if name == "kl_div":
        with np.errstate(all="ignore"):
            x = _cast(np.log(_distributions(d, shape, at, "float64")), dtype)
        if d.chance(0.3):
            x = _reals(d, shape, dtype, tame)
        y = _distributions(d, shape, at, other)
        if case.params["log_target"]:
            with np.errstate(all="ignore"):
                y = _cast(np.log(y.astype(np.float64)), other)
        return x, y
    if case.loss in WITH_LABELS and not case.terms and d.maybe(0.05) and case.labels:
        kind = _integer_dtype(d, case.library)
        x = rng.integers(0 if kind.startswith("u") else -4, 5, shape).astype(kind)
    else:
        x = _logits(d, shape, at, dtype, tame)
    if name == "kl_div_with_logits":
        y = _near(d, x, other) if d.chance(0.4) else _logits(d, shape, at, other, tame)
        return x, y
    if case.labels:
        kind = _integer_dtype(d, case.library)
        classes = min(shape[at], 2 ** (7 if kind == "int8" else 8))
        return x, rng.integers(0, classes, items).astype(kind)
    y = _distributions(d, shape, at, other)
    if d.maybe(0.1):
        hard = y == y.max(axis=at, keepdims=True)
        y = hard if d.maybe(0.5) else hard.astype(_integer_dtype(d, case.library))
    return x, y


def _points(
    d: Draw, case: Case, shape: Shape, dtype: str, other: str, tame: bool
) -> tuple[Array, Array]:
    name, rng = case.loss, d.rng
    whole = d.maybe(0.05)
    kind = _integer_dtype(d, case.library)
    if name in BINARY:
        if name == "binary_cross_entropy":
            x = _chances(d, shape, dtype)
        else:
            x = _reals(d, shape, dtype, tame)
            if d.chance(0.05):
                x = np.where(rng.random(shape) < 0.2, _cast(d.one((np.inf, -np.inf)), dtype), x)
        target = d.kinds(("hard", "hard", "soft", "bool", "int"))
        if target == "soft":
            y = _chances(d, shape, other)
        else:
            y = (rng.random(shape) < 0.5).astype(
                bool if target == "bool" else kind if target == "int" else numpy_dtype(other)
            )
        if name == "binary_cross_entropy_with_logits" and d.maybe(0.25):
            # An object keeps its numbers, not the shape of nothing.
            of = _broadcasting(d, shape) if 0 not in shape else ()
            weights = rng.uniform(0, 3, of) * (not d.chance(0.1))
            case.options["pos_weight"] = _cast(weights, dtype)
        return np.asarray(x), np.asarray(y)
    if name in SIGNED:
        x = _reals(d, shape, dtype, tame)
        target = d.kinds(("hard", "hard", "soft", "bool", "int"))
        sign = np.where(rng.random(shape) < 0.5, 1, -1)
        if target == "soft":
            y = _reals(d, shape, other, True, most=30.0)
        elif target == "bool":
            y = sign > 0
        elif target == "int" and kind.startswith("int"):
            y = sign.astype(kind)
        else:
            y = _cast(sign, other)
        return x, np.asarray(y)
    if whole:
        low = 0 if name in ("msle", "poisson_nll") else -9
        low = max(low, 0) if kind.startswith("u") else low
        x, y = [rng.integers(low, 10, shape).astype(kind) for _ in range(2)]
    else:
        x = _reals(d, shape, dtype, tame)
        y = _near(d, x, other) if d.chance(0.25) else _reals(d, shape, other, tame)
    if name == "msle":
        x, y = np.abs(x), np.abs(y)
        if d.chance(0.3) and not whole:
            x, y = [_cast(rng.uniform(-1, 2, shape), each) for each in (dtype, other)]
    if name == "poisson_nll":
        y = np.abs(y)
        if d.chance(0.5):
            y = np.round(np.minimum(y.astype(np.float64), 1e4)).astype(y.dtype)
        if not case.params["log_input"]:
            x = np.abs(x)
    if name == "gaussian_nll":
        var = 10 ** rng.uniform(-8, 6, shape)
        if d.chance(0.2):
            var = np.where(rng.random(shape) < 0.3, 0, var)
        if not d.maybe(0.7) and len(shape) != 2:
            var = var if 0 in shape or not shape else np.asarray(var.reshape(-1)[0])
        case.var = _cast(var, dtype)
    return np.asarray(x), np.asarray(y)


def _options(d: Draw, case: Case, items: Shape, lib: str, dtype: str) -> None:
    options, rng = case.options, d.rng
    if d.maybe(0.45):
        options["weight"] = np.asarray(_weight(d, items, lib, dtype))
    if d.maybe(0.3):
        shape = _broadcasting(d, items)
        options["where"] = np.asarray(rng.random(shape) < d.one((0.0, 0.5, 0.5, 0.8, 1.0)))
    reduction = d.kinds(("mean", "sum", "none"), (0.6, 0.2, 0.2))
    if reduction != "mean":
        options["reduction"] = reduction
    elif d.maybe(0.2):
        options["denominator"] = _denominator(d, dtype)
    if case.loss not in WITH_LABELS:
        return
    classes = case.x.shape[case.axis]
    if d.maybe(0.25):
        weights: Any = rng.uniform(0.1, 2, classes)
        if d.chance(0.3) and classes > 1:
            weights[int(rng.integers(classes))] = 0
        kind = "float32" if lib.startswith("jax") else d.kinds(("float32", "float64", "int64"))
        options["class_weight"] = _cast(np.ceil(weights) if kind == "int64" else weights, kind)
    assert case.y is not None
    if case.labels and d.maybe(0.3):
        info = np.iinfo(case.y.dtype)
        index = int(d.kinds((-100, 0, 1, 255, -1)))
        options["ignore_index"] = index
        if info.min <= index <= info.max:
            case.y = np.where(rng.random(items) < 0.3, case.y.dtype.type(index), case.y)


def _ask(d: Draw, case: Case, shape: Shape) -> None:
    assert case.y is not None
    plain = "reduction" not in case.options and "denominator" not in case.options
    wants = ["value", "value_and_grad", "value_and_grad", "grad", "grad_and_hess"]
    if plain and not case.terms:
        wants.append("partial_mean")
    case.want = d.kinds(wants)
    arguments = [0]
    if not case.labels and case.y.dtype.kind != "b":
        arguments.append(1)
    if case.var is not None and case.var.shape == shape:
        arguments.append(2)
    if case.want in ("value_and_grad", "grad"):
        if d.maybe(0.2):
            order = d.kind.permutation(arguments)
            case.argnums = tuple([int(n) for n in order[: int(d.kind.integers(1, len(order) + 1))]])
        else:
            case.argnums = int(d.kinds(arguments))
    out = case.want in ("value_and_grad", "grad", "grad_and_hess")
    case.out = out and case.library in ("numpy", "numpy:compiled", "torch") and d.maybe(0.15)


def _kept(case: Case, items: Shape) -> Array:
    """Return which items are taken, but for what class weights leave out."""
    options = case.options
    kept = np.broadcast_to(np.asarray(options.get("weight", 1)) != 0, items)
    kept = kept & np.broadcast_to(options.get("where", True), items)
    if options.get("ignore_index") is not None:
        kept = kept & (np.asarray(case.y) != options["ignore_index"])
    return np.asarray(kept)


def _disturb(d: Draw, case: Case, kept: Array, at: int, dtype: str) -> None:
    """Put into items that are left out what must not matter, and errors into others."""
    assert case.y is not None
    x, y, rng = _repeat(d, case.x), case.y, d.rng
    nonsense = (np.nan, np.inf, -np.inf)
    gone = ~kept
    if gone.any() and d.chance(0.7):
        of_x = np.expand_dims(gone, at) if case.loss in ROWWISE else gone
        if x.dtype.kind not in "iu":
            x = np.where(of_x, _cast(d.one(nonsense), dtype), x)
        if case.labels:
            # What fits in every integer dtype, and is no class.
            ignored = y == case.options["ignore_index"] if "ignore_index" in case.options else False
            if case.x.shape[case.axis] < 100:
                y = np.where(gone & ~np.asarray(ignored), y.dtype.type(d.one((100, 127))), y)
        elif y.dtype.kind not in "iub":
            y = np.where(of_x, _cast(d.one(nonsense), y.dtype.name), y)
        if case.var is not None and case.var.shape == kept.shape:
            case.var = np.where(gone, _cast(d.one(nonsense), dtype), case.var)
    if kept.any() and d.chance(0.03):
        wrong = kept & (rng.random(kept.shape) < 0.3)
        if case.labels and case.x.shape[case.axis] < 100:
            bad = 101 if y.dtype.kind == "u" or d.chance(0.5) else -7
            if case.options.get("ignore_index") != bad:
                y, case.wrong = np.where(wrong, y.dtype.type(bad), y), wrong
        elif case.loss in BINARY and y.dtype.kind != "b":
            bad = 2 if y.dtype.kind == "u" else d.one((2, -1, 100))
            y, case.wrong = np.where(wrong, _cast(bad, y.dtype.name), y), wrong
        elif case.loss in SIGNED and y.dtype.kind in "iu":
            y, case.wrong = np.where(wrong, y.dtype.type(d.one((0, 2))), y), wrong
        if case.wrong is not None and not wrong.any():
            case.wrong = None
    case.x, case.y = np.asarray(x), np.asarray(y)
