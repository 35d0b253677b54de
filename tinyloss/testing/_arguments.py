"""The arguments of a case: random numbers in NumPy arrays, then arrays of the library."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tinyloss._arrays import kind
from tinyloss.testing._arrays import Library, draw
from tinyloss.testing._cases import Case


def hosts_of(library: Library, case: Case) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments and options of a case as NumPy arrays, the class axis last."""
    rng = library.numpy.random.default_rng([case.seed, case.number])
    arrays = _arrays(library, case, rng)
    if not case.subject.by:
        return arrays, {}
    options, kept = _options(library, case, rng, *arrays[:2])
    _spoil(library.numpy, rng, case, arrays, kept)
    return arrays, options


def _arrays(library: Library, case: Case, rng: Any) -> list[Any]:
    np, subject = library.numpy, case.subject
    x_dtype, y_dtype, w_dtype = (library.dtypes.get(name) for name in case.dtypes)
    x = draw(np, rng, case.domain[0], case.shape, x_dtype, subject.rows)
    x = _repeated(np, x, case.layouts[0])
    if not subject.by:
        return [x]
    if subject.labels:
        y_dtype = np.dtype(case.dtypes[1])
        last = min(case.shape[-1], int(np.iinfo(y_dtype).max) + 1)
        y = np.asarray(rng.integers(0, last, case.items)).astype(y_dtype)
    else:
        narrow = subject.binary or subject.signs
        if kind(x_dtype) == "int" and kind(y_dtype) == "float" and narrow:
            y_dtype = x_dtype  # else the engine takes x and y for swapped
        if subject.signs and y_dtype is not None and np.dtype(y_dtype).kind == "u":
            y_dtype = np.int8  # an unsigned one has no -1
        signs = subject.signs and kind(y_dtype) == "int"
        domain = "signs" if signs else case.domain[1]
        y = draw(np, rng, domain, case.shape, y_dtype, subject.rows)
    y = _repeated(np, y, case.layouts[1])
    floating = x_dtype if kind(x_dtype) == "float" else w_dtype
    more = [draw(np, rng, "positive", case.shape, floating) for _ in subject.arguments[2:]]
    return [x, y, *(_repeated(np, each, case.layouts[1]) for each in more)]


def _options(library: Library, case: Case, rng: Any, x: Any, y: Any) -> tuple[dict[str, Any], Any]:
    """Return the options, and which items they keep.

    Writes `ignore_index` into y. What a mask leaves out of a row is NaN in x, and no target.
    """
    np, items, options = library.numpy, case.items, dict[str, Any]()
    w_dtype = library.dtypes.get(case.dtypes[2])
    row = (*items[:-1], 1) if len(items) > 1 else (1,) if items else ()
    kept = np.ones(items, dtype=bool)
    if case.weight == "number":
        options["weight"] = 1.5
    elif case.weight:
        weight = rng.uniform(0.5, 2, row if case.weight == "row" else items)
        if case.weight == "zeros":
            weight = weight * (rng.random(items) < 0.6)
        weight = _repeated(np, np.asarray(weight).astype(w_dtype), case.layouts[2])
        options["weight"], kept = weight, kept & (weight != 0)
    if case.where:
        share = 0.0 if case.where == "none" else 0.6
        where = np.asarray(rng.random(row if case.where == "row" else items) < share)
        options["where"], kept = where, kept & where
    if case.mask:
        options["mask"] = mask = (
            rng.random(_column(case) if case.mask == "row" else case.shape) < 0.6
        )
        mask[..., 0] = True
        whole = np.broadcast_to(mask, case.shape)
        if case.subject.labels:
            own = np.take_along_axis(whole, np.asarray(y)[..., None].astype(np.int64), axis=-1)
            y[...] = np.where(own[..., 0], y, 0)
        else:
            y[...] = np.where(whole, y, y.dtype.type(0))
        if kind(x.dtype) == "float":
            x[...] = np.where(whole, x, x.dtype.type(np.nan))
    if case.ignore_index is not None:
        options["ignore_index"] = case.ignore_index
        ignored = np.where(rng.random(items) < 0.3, case.ignore_index, y)
        y[...] = _repeated(np, ignored, case.layouts[1])
        kept = kept & (y != case.ignore_index)
    if case.class_weight:
        options["class_weight"] = draw(np, rng, "positive", case.shape[-1:], w_dtype)
    for name, value in case.params.items():
        options[name] = value
        if name in case.subject.arrays:  # a number, one for each column, one for each element
            shape = ((), _column(case), case.shape)[case.number % 3]
            if shape:
                domain = "unit" if name in case.subject.shares else "positive"
                options[name] = draw(np, rng, domain, shape, w_dtype)
    if case.denominator:
        divisor = np.asarray(7.5, dtype=w_dtype)
        options["denominator"] = divisor if case.denominator == "array" else 7.5
    if case.want != "grad_and_hess":
        options["reduction"] = case.reduction
    return options, kept


def _column(case: Case) -> tuple[int, ...]:
    """Return the shape of what all rows share, the class axis last."""
    rank = len(case.shape) if case.subject.has_axis() else 1
    return (*(1,) * (rank - 1), *case.shape[-1:])


def _spoil(np: Any, rng: Any, case: Case, arrays: list[Any], kept: Any) -> None:
    """Write the case's special numbers into the arrays."""
    bad = (np.nan, np.inf, -np.inf)
    floating = [each for each in arrays if kind(each.dtype) == "float"]
    if case.special == "poison":
        for array in floating:
            array[~kept] = rng.choice(bad, (*array[~kept].shape,)).astype(array.dtype)
        if case.subject.labels and case.ignore_index is None:
            arrays[1][~kept] = np.iinfo(arrays[1].dtype).max
    elif case.special == "nan":
        for array in floating:
            flat = array.reshape(-1)
            at = rng.permutation(flat.size)[:3]
            # an infinite target of a binary loss is an error
            worst = bad[:1] * 3 if case.subject.binary and array is arrays[1] else bad
            flat[at] = np.asarray(worst[: len(at)]).astype(array.dtype)
    elif case.special == "wild":
        scale = 10 ** rng.uniform(-18, 18, case.shape)
        arrays[0][...] = arrays[0] * scale.astype(arrays[0].dtype)
    elif case.special == "range":
        at = rng.permutation(arrays[1].size)[:3]
        beyond = case.shape[-1] + case.subject.beyond
        arrays[1].reshape(-1)[at] = [-1, beyond, np.iinfo(arrays[1].dtype).max]


@dataclass
class Placed:
    """The arguments of a call as arrays of the library."""

    arrays: list[Any]
    options: dict[str, Any]
    bases: dict[str, Any]
    """The array that owns the memory of each argument."""
    out: tuple[Any, ...] = ()
    gaps: list[Any] = field(default_factory=list[Any])
    """The elements between those of strided results."""


def place(library: Library, case: Case, arrays: list[Any], options: Mapping[str, Any]) -> Placed:
    """Return the arguments as arrays of the library, each in the layout of the case."""
    np, subject = library.numpy, case.subject
    placed = Placed([], dict(options), {})
    names = [*subject.arguments, *options]
    layouts = [*case.layouts[:2], *(case.layouts[1] for _ in arrays[2:])]
    for n, (host, layout) in enumerate(zip(arrays, layouts, strict=False)):
        view, placed.bases[names[n]] = library.lay(layout, moved(np, case, host))
        placed.arrays.append(view)
    for name, host in options.items():
        if isinstance(host, np.ndarray):
            of_x = moved(np, case, host) if name in subject.like_x else host
            layout = case.layouts[2] if name == "weight" else "plain"
            placed.options[name], placed.bases[name] = library.lay(layout, of_x)
    if subject.has_axis():
        placed.options["axis"] = case.axis
    if case.out:
        outs = [_out(library, case, case.out, placed, n) for n in case.differentiated]
        if case.want == "grad_and_hess":
            outs.append(_out(library, case, "fresh", placed, 0))
        placed.out = tuple(outs)
    return placed


def _out(library: Library, case: Case, out: str, placed: Placed, argnum: int) -> Any:
    if out == "x":
        del placed.bases[case.subject.arguments[0]]
        return placed.arrays[0]
    array = library.to_numpy(placed.arrays[argnum])
    dtype = array.dtype if kind(array.dtype) == "float" else compute_dtype_of(library, case)
    host = library.numpy.full(array.shape, library.numpy.nan, dtype=dtype)
    if out == "fresh":
        return library.own(host)
    view, base = library.lay("slice", host)
    placed.gaps += [base[..., ::2]] if host.ndim else []
    return view


def compute_dtype_of(library: Library, case: Case) -> str:
    """Return the name of the dtype that the library computes a case in."""
    y = [case.dtypes[1]] if case.subject.by and not case.subject.labels else []
    return library.compute_dtype(case.dtypes[0], *y)


def moved(np: Any, case: Case, host: Any) -> Any:
    """Return an array of x's rank with the class axis where the case has it."""
    whole = isinstance(host, np.ndarray) and host.ndim == len(case.shape)
    if case.axis == -1 or not whole:
        return host
    return np.ascontiguousarray(np.moveaxis(host, -1, case.axis))


def _repeated(np: Any, host: Any, layout: str) -> Any:
    """Return the array with its first row repeated, if the layout is a broadcast."""
    if layout != "broadcast" or host.ndim == 0:
        return host
    return np.broadcast_to(host[:1], host.shape).copy()
