"""Random calls of losses for `tests.soak.differential`: all that a call can vary in."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np

from tests.soak.arrays import (
    Array,
    Draw,
    Shape,
    broadcasting,
    cast,
    chances,
    distributions,
    float_dtype,
    integer_dtype,
    item_shape,
    lay,
    logits,
    near,
    reals,
    repeat,
    row_shape,
    target_dtype,
)
from tests.soak.formulas import ACTIVATIONS, BINARY, LOSSES, ROWWISE, SIGNED
from tests.support.libraries import numpy_dtype

__all__ = ["LIBRARIES_DRAWN", "Case", "draw"]


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

GROUP = 8
"""How many calls follow each other that are alike."""

HALVES = ("float16", "bfloat16")
WITH_LABELS = ("cross_entropy", "softmax_focal", "nll")

# Losses whose predictions may be their targets: one array, given twice.
OF_ONE_DOMAIN = (
    *("mse", "mae", "huber", "smooth_l1", "log_cosh", "quantile", "msle", "mape"),
    *("binary_cross_entropy", "kl_div_with_logits", "js_div"),
)

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


def draw(
    seed: int, number: int, only: str | None = None, library: str | None = None
) -> Case | None:
    """Return the call of this number, None where it is not of the loss or library asked for.

    Calls of every third group are alike: the same but for what their arrays hold.
    """
    group, layout = number // GROUP, None
    kind = chosen = rng = np.random.default_rng([seed, number])
    if group % 3 == 0:
        chosen, kind, layout = [np.random.default_rng([seed, group, n]) for n in range(3)]
    shares = np.array([*LIBRARIES_DRAWN.values()])
    lib = [*LIBRARIES_DRAWN][int(chosen.choice(len(shares), p=shares / shares.sum()))]
    if layout is not None and chosen.random() < 0.5:
        lib = "numpy:compiled"  # of which most is kept
    elif layout is None and lib in ("numpy:compiled", "jax:jit", "jax"):
        # A few kinds, more and more, so that most calls find their kernel compiled.
        kind = np.random.default_rng([77, int(rng.integers(6 + number // 500))])
    names = [*LOSSES, *ACTIVATIONS]
    p = np.array([1.0] * len(LOSSES) + [0.25] * len(ACTIVATIONS))
    name = names[int(kind.choice(len(names), p=p / p.sum()))]
    if (only and only != name) or (library and library != lib):
        return None
    d = Draw(rng, kind, layout)
    return _activation(d, name, lib) if name in ACTIVATIONS else _loss(d, name, lib)


# ------------------------------------------------------------------------------------ options


def _weight(d: Draw, items: Shape, lib: str, dtype: str) -> Array:
    shape = broadcasting(d, items)
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
    return cast(values * scale, str(kind))


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


SMOOTHING = (0.0, 0.0, 0.0, 0.1, 1.0, 0.5, 1e-6)


def _parameters(d: Draw, name: str) -> dict[str, Any]:
    smoothing = {}
    if name in BINARY or name in ("cross_entropy", "softmax_focal"):
        smoothing["label_smoothing"] = float(d.kinds(SMOOTHING))
    return _own_parameters(d, name) | smoothing


def _own_parameters(d: Draw, name: str) -> dict[str, Any]:
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
    if name == "kl_div":
        return {"log_target": d.maybe(0.5)}
    return {}


# -------------------------------------------------------------------------------------- calls


def _activation(d: Draw, name: str, lib: str) -> Case:
    dtype = float_dtype(d, lib)
    tame = lib.startswith("jax") or lib == "dask"
    if name in ("softplus", "log_sigmoid"):
        x = reals(d, item_shape(d.layout, 0, 4), dtype, tame)
        return Case(name, lib, lay(d.layout, x))
    shape, at = row_shape(d.layout)
    x = logits(d, shape, at, dtype, tame)
    x = lay(d.layout, x)
    return Case(name, lib, x, axis=at - len(shape) if d.layout.chance(0.5) else at)


def _loss(d: Draw, name: str, lib: str) -> Case:
    dtype = float_dtype(d, lib)
    tame = lib.startswith("jax") or lib == "dask"
    rowwise = name in ROWWISE
    shape, at = row_shape(d.layout) if rowwise else (item_shape(d.layout, 0, 4), 0)
    items = (*shape[:at], *shape[at + 1 :]) if rowwise else shape
    if rowwise and lib in ("dask",) and 0 in items:
        shape, items = tuple([n or 2 for n in shape]), tuple([n or 2 for n in items])
    labels = name in WITH_LABELS and (name == "nll" or d.maybe(0.6))
    other = target_dtype(d, lib, dtype)
    case = Case(name, lib, np.zeros(0), labels=labels, params=_parameters(d, name))
    if rowwise:
        case.axis = at - len(shape) if d.layout.chance(0.5) else at
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
    _mask(d, case, shape, at)
    if d.alike and d.chance(0.4):
        _trouble(d, case.options)
    _ask(d, case, shape)
    kept = _kept(case, items)
    _disturb(d, case, kept, at, dtype)
    _lay_all(d, case)
    case.object = bool(case.terms) or d.layout.chance(0.2)
    if d.alike and not case.object and d.maybe(0.3):
        for number in {"delta", "beta"} & case.params.keys():
            case.params[number] = np.asarray(case.params[number] * d.one((0.5, 1.0, 2.0)))
    case.lists = lib == "numpy" and 0 not in items and d.layout.chance(0.04)
    # torch has a bfloat16, but takes it from no one.
    brought = all(getattr(each, "dtype", 0) != ml_dtypes.bfloat16 for each in case.options.values())
    case.foreign = lib in ("torch", "jax", "jax:jit") and brought and d.layout.chance(0.2)
    return case


def _lay_all(d: Draw, case: Case) -> None:
    """Lay the arrays out in memory; one that is given twice is one afterwards."""
    options, y = case.options, case.y
    assert y is not None
    both = options.get("weight") is options.get("where")
    case.x, case.y = lay(d.layout, case.x), lay(d.layout, y)
    if case.var is not None:
        case.var = lay(d.layout, case.var)
    for option in ("weight", "where", "class_weight", "pos_weight", "mask"):
        if option in options:
            options[option] = lay(d.layout, options[option])
    if both and "where" in options:
        options["weight"] = options["where"]
    same = (case.x.shape, case.x.dtype) == (case.y.shape, case.y.dtype)
    if d.alike and case.loss in OF_ONE_DOMAIN and same and case.wrong is None and d.chance(0.2):
        case.y = case.x


def _rows(
    d: Draw, case: Case, shape: Shape, at: int, items: Shape, dtype: str, other: str, tame: bool
) -> tuple[Array, Array]:
    name, rng = case.loss, d.rng
    if name == "js_div":
        x = distributions(d, shape, at, dtype)
        y = near(d, x, other) if d.chance(0.3) else distributions(d, shape, at, other)
        return x, y
    if name == "kl_div":
        with np.errstate(all="ignore"):
            x = cast(np.log(distributions(d, shape, at, "float64")), dtype)
        if d.chance(0.3):
            x = reals(d, shape, dtype, tame)
        y = distributions(d, shape, at, other)
        if case.params["log_target"]:
            with np.errstate(all="ignore"):
                y = cast(np.log(y.astype(np.float64)), other)
        return x, y
    if case.loss in WITH_LABELS and not case.terms and d.maybe(0.05) and case.labels:
        kind = integer_dtype(d, case.library)
        x = rng.integers(0 if kind.startswith("u") else -4, 5, shape).astype(kind)
    else:
        x = logits(d, shape, at, dtype, tame)
    if name == "kl_div_with_logits":
        y = near(d, x, other) if d.chance(0.4) else logits(d, shape, at, other, tame)
        return x, y
    if case.labels:
        kind = integer_dtype(d, case.library)
        classes = min(shape[at], 2 ** (7 if kind == "int8" else 8))
        return x, rng.integers(0, classes, items).astype(kind)
    y = distributions(d, shape, at, other)
    if d.maybe(0.1):
        hard = y == y.max(axis=at, keepdims=True)
        y = hard if d.maybe(0.5) else hard.astype(integer_dtype(d, case.library))
    return x, y


def _points(
    d: Draw, case: Case, shape: Shape, dtype: str, other: str, tame: bool
) -> tuple[Array, Array]:
    name, rng = case.loss, d.rng
    whole = d.maybe(0.05)
    kind = integer_dtype(d, case.library)
    if name in BINARY:
        if name == "binary_cross_entropy":
            x = chances(d, shape, dtype)
        else:
            x = reals(d, shape, dtype, tame)
            if d.chance(0.05):
                x = np.where(rng.random(shape) < 0.2, cast(d.one((np.inf, -np.inf)), dtype), x)
        target = d.kinds(("hard", "hard", "soft", "bool", "int"))
        if target == "soft":
            y = chances(d, shape, other)
        else:
            y = (rng.random(shape) < 0.5).astype(
                bool if target == "bool" else kind if target == "int" else numpy_dtype(other)
            )
        if name == "binary_cross_entropy_with_logits" and d.maybe(0.25):
            # An object keeps its numbers, not the shape of nothing.
            of = broadcasting(d, shape) if 0 not in shape else ()
            weights = rng.uniform(0, 3, of) * (not d.chance(0.1))
            case.options["pos_weight"] = cast(weights, dtype)
        return np.asarray(x), np.asarray(y)
    if name in SIGNED:
        x = reals(d, shape, dtype, tame)
        target = d.kinds(("hard", "hard", "soft", "bool", "int"))
        sign = np.where(rng.random(shape) < 0.5, 1, -1)
        if target == "soft":
            y = reals(d, shape, other, True, most=30.0)
        elif target == "bool":
            y = sign > 0
        elif target == "int" and kind.startswith("int"):
            y = sign.astype(kind)
        else:
            y = cast(sign, other)
        return x, np.asarray(y)
    if whole:
        low = 0 if name in ("msle", "poisson_nll") else -9
        low = max(low, 0) if kind.startswith("u") else low
        x, y = [rng.integers(low, 10, shape).astype(kind) for _ in range(2)]
    else:
        x = reals(d, shape, dtype, tame)
        y = near(d, x, other) if d.chance(0.25) else reals(d, shape, other, tame)
    if name == "quantile" and shape and d.maybe(0.3):
        # One for each column, numbers of every dtype computed in.
        case.params["q"] = cast(np.round(rng.random(shape[-1]) * 64) / 64, "float32")
    if name == "msle":
        x, y = np.abs(x), np.abs(y)
        if d.chance(0.3) and not whole:
            x, y = [cast(rng.uniform(-1, 2, shape), each) for each in (dtype, other)]
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
        case.var = cast(var, dtype)
    return np.asarray(x), np.asarray(y)


def _options(d: Draw, case: Case, items: Shape, lib: str, dtype: str) -> None:
    options, rng = case.options, d.rng
    if d.maybe(0.45):
        options["weight"] = np.asarray(_weight(d, items, lib, dtype))
    if d.maybe(0.3):
        shape = broadcasting(d, items)
        options["where"] = np.asarray(rng.random(shape) < d.one((0.0, 0.5, 0.5, 0.8, 1.0)))
    reduction = d.kinds(("mean", "sum", "none"), (0.6, 0.2, 0.2))
    if reduction != "mean":
        options["reduction"] = reduction
    elif d.maybe(0.2):
        options["denominator"] = _denominator(d, dtype)
    if case.loss in (*BINARY, *SIGNED) and d.maybe(0.3):
        _ignore(d, case, items, (-100, -1, 0, 1, 2, 255))
    if case.loss not in WITH_LABELS:
        return
    classes = case.x.shape[case.axis]
    if d.maybe(0.25):
        weights: Any = rng.uniform(0.1, 2, classes)
        if d.chance(0.3) and classes > 1:
            weights[int(rng.integers(classes))] = 0
        kind = "float32" if lib.startswith("jax") else d.kinds(("float32", "float64", "int64"))
        options["class_weight"] = cast(np.ceil(weights) if kind == "int64" else weights, kind)
    if case.labels and d.maybe(0.3):
        _ignore(d, case, items, (-100, 0, 1, 255, -1))


def _ignore(d: Draw, case: Case, items: Shape, indices: Sequence[int]) -> None:
    """Let items with one of some targets be left out, and write it into some."""
    assert case.y is not None
    index = case.options["ignore_index"] = int(d.kinds(indices))
    dtype = case.y.dtype
    holds = dtype.kind not in "iub" or (
        dtype.kind != "b" and np.iinfo(dtype).min <= index <= np.iinfo(dtype).max
    )
    if holds:
        case.y = np.where(d.rng.random(items) < 0.3, dtype.type(index), case.y)


def ignored(case: Case) -> Any:
    """Return which targets are the one that is left out."""
    index = case.options.get("ignore_index")
    if index is None:
        return np.False_
    y = np.asarray(case.y)
    if y.dtype.kind == "b" and case.loss in SIGNED:
        return np.where(y, 1, -1) == index
    return (y if y.dtype.kind in "iub" else y.astype(np.float64)) == index


def _mask(d: Draw, case: Case, shape: Shape, at: int) -> None:
    """Make some classes impossible, the target's seldom."""
    if case.loss not in WITH_LABELS or not d.maybe(0.2):
        return
    mask = d.rng.random(broadcasting(d, shape)) < d.one((0.5, 0.8, 1.0))
    if case.labels and mask.shape == shape and d.chance(0.9):
        assert case.y is not None
        own = np.clip(case.y.astype(np.int64), 0, shape[at] - 1)
        np.put_along_axis(mask, np.expand_dims(own, at), True, at)
    case.options["mask"] = np.asarray(mask)


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


def _trouble(d: Draw, options: dict[str, Any]) -> None:
    """Make weights such that what they give must not become a rule for calls alike."""
    weight: Array | None = options.get("weight")
    if weight is None:
        return
    how = d.one(("NaN", "no sum", "mask"))
    if how == "mask" and "where" in options:
        options["weight"] = options["where"]
    elif how == "no sum" and weight.dtype.kind not in "ub":
        half = weight.size // 2
        flat = np.concatenate([weight.ravel()[:half], -weight.ravel()[:half], np.zeros(1)])
        options["weight"] = np.resize(flat.astype(weight.dtype), weight.shape) if half else weight
    elif how == "NaN" and weight.dtype.kind not in "iub":
        options["weight"] = np.where(
            d.rng.random(weight.shape) < 0.3, cast(np.nan, str(weight.dtype)), weight
        )


def _kept(case: Case, items: Shape) -> Array:
    """Return which items are taken, but for what class weights leave out."""
    options = case.options
    kept = np.broadcast_to(np.asarray(options.get("weight", 1)) != 0, items)
    kept = kept & np.broadcast_to(options.get("where", True), items)
    return np.asarray(kept & ~ignored(case))


def _disturb(d: Draw, case: Case, kept: Array, at: int, dtype: str) -> None:
    """Put into items that are left out what must not matter, and errors into others."""
    assert case.y is not None
    x, y, rng = repeat(d, case.x), case.y, d.rng
    nonsense = (np.nan, np.inf, -np.inf)
    gone = ~kept
    if gone.any() and d.chance(0.7):
        of_x = np.expand_dims(gone, at) if case.loss in ROWWISE else gone
        if x.dtype.kind not in "iu":
            x = np.where(of_x, cast(d.one(nonsense), dtype), x)
        if case.labels:
            # What fits in every integer dtype, and is no class.
            if case.x.shape[case.axis] < 100:
                y = np.where(gone & ~ignored(case), y.dtype.type(d.one((100, 127))), y)
        elif y.dtype.kind not in "iub":
            y = np.where(of_x & ~ignored(case), cast(d.one(nonsense), y.dtype.name), y)
        if case.var is not None and case.var.shape == kept.shape:
            case.var = np.where(gone, cast(d.one(nonsense), dtype), case.var)
    if kept.any() and d.chance(0.2 if d.alike else 0.03):
        wrong = kept & (rng.random(kept.shape) < 0.3)
        if case.labels and case.x.shape[case.axis] < 100:
            bad = 101 if y.dtype.kind == "u" or d.chance(0.5) else -7
            if case.options.get("ignore_index") != bad:
                y, case.wrong = np.where(wrong, y.dtype.type(bad), y), wrong
        elif case.loss in BINARY and y.dtype.kind != "b":
            bad = 3 if y.dtype.kind == "u" else d.one((3, -2, 100))
            y, case.wrong = np.where(wrong, cast(bad, y.dtype.name), y), wrong
        elif case.loss in SIGNED and y.dtype.kind in "iu":
            y, case.wrong = np.where(wrong, y.dtype.type(d.one((3, 4))), y), wrong
        if case.wrong is not None and not wrong.any():
            case.wrong = None
    case.x, case.y = np.asarray(x), np.asarray(y)
