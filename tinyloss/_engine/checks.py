"""Checks of arrays, and how shapes and dtypes appear in messages."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from tinyloss._arrays import bring, dtype_name, kind, library, namespace, writeable
from tinyloss._engine.request import Refusal
from tinyloss.typing import Namespace


def namespace_of(x: Any) -> Namespace:
    try:
        xp = namespace(x)
    except TypeError as error:
        raise Refusal(f"x: {error}", TypeError) from None
    check_real("x", x)
    return xp


def brought(xp: Namespace, x: Any, name: str, value: Any) -> Any:
    try:
        array = bring(xp, x, value)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        kinds = (TypeError, ValueError, OverflowError)
        # not the error's own class, whose constructor may take something else
        what = next((each for each in kinds if isinstance(error, each)), TypeError)
        raise Refusal(f"{name}: {error}", what) from None
    check_real(name, array)
    return array


def repeated(xp: Namespace, x: Any, y: Any, axis: int) -> Any:
    """Return an array without an axis of x, its elements repeated along that."""
    # expand_dims of Dask needs to know all lengths
    return like(xp, x, y[(slice(None),) * axis + (None, ...)])


def like(xp: Namespace, x: Any, array: Any) -> Any:
    """Return an array that broadcasts to x in its shape."""
    if any(map(unknown, x.shape)):  # nobody knows how often to repeat it
        return array * xp.ones_like(x, dtype=array.dtype)
    return xp.broadcast_to(array, x.shape)


def check_real(name: str, array: Any) -> None:
    if kind(array.dtype) not in ("float", "int", "bool"):
        raise Refusal(f"{name} has dtype {kind(array.dtype)}, expected real numbers", TypeError)


def check_out(xp: Namespace, into: Any, shape: tuple[Any, ...], dtype: Any) -> None:
    """Refuse an array that cannot take a derivative of this shape and dtype."""
    try:
        own = namespace(into)
    except TypeError as error:
        raise Refusal(f"out: {error}", TypeError) from None
    if own is not xp:
        raise Refusal(f"out is of {library(own)}, expected {library(xp)}, as x", TypeError)
    if tuple(into.shape) != shape:
        raise Refusal(f"out has shape {show(into)}, expected {show_shape(shape)}")
    if into.dtype != dtype:
        raise Refusal(
            f"out has dtype {show_dtype(into.dtype)}, expected {show_dtype(dtype)}", TypeError
        )
    if not writeable(into):
        raise Refusal("out is read-only, expected an array that can be written")


def check_apart(xp: Namespace, out: Sequence[Any]) -> None:
    """Refuse arrays for derivatives that overlap, where the library can tell."""
    shares_memory = getattr(xp, "shares_memory", None)
    if shares_memory and any(shares_memory(*two) for two in combinations(out, 2)):
        raise Refusal("out has arrays that share memory, expected each to have its own")


def check_booleans(name: str, array: Any) -> None:
    """Refuse a mask that holds no booleans."""
    if kind(array.dtype) != "bool":
        raise Refusal(f"{name} has dtype {dtype_name(array.dtype)}, expected booleans", TypeError)


def check_items(name: str, array: Any, items: tuple[Any, ...], hint: str = "") -> None:
    if not broadcasts(array.shape, items):
        raise Refusal(
            f"{name} has shape {show(array)}, expected one that broadcasts to "
            f"{show_shape(items)}, the shape of the items{hint}"
        )


def check_weight(weight: Any, items: tuple[Any, ...], classes: Any) -> None:
    shape, hint = tuple(weight.shape), ""
    if broadcasts(shape, items):
        return
    if classes is not None and shape == (classes,):
        hint = "; weights of the classes go to class_weight="
    else:
        hint = each_row("weight", shape, items)
    check_items("weight", weight, items, hint)


def each_row(name: str, shape: tuple[Any, ...], whole: tuple[Any, ...]) -> str:
    """Return how to write an array that has the first dimensions of another instead of the last."""
    if 0 < len(shape) < len(whole) and tuple(shape) == tuple(whole[: len(shape)]):
        return f"; one for each row would be {name}[{_index(len(whole), len(shape))}]"
    return ""


def one_more(expected: tuple[Any, ...], shape: tuple[Any, ...]) -> str:
    """Return how to write y where it has a last dimension of length 1 too many or too few."""
    if tuple(shape) == (*expected, 1):
        return f"; you may want y[{', '.join([':'] * len(expected) + ['0'])}]"
    if expected[-1:] == (1,) and tuple(shape) == tuple(expected[:-1]):
        return f"; you may want y[{_index(len(expected), len(shape))}]"
    return ""


def other_axis(x: tuple[Any, ...], y: tuple[Any, ...], axis: int) -> str:
    """Return the axis of x that the class indices y would fit, if they fit one."""
    for other in range(len(x)):
        if other != axis and (*x[:other], *x[other + 1 :]) == tuple(y):
            return f"; y fits with axis={other}"
    return ""


def _index(wanted: int, given: int) -> str:
    return ", ".join([":"] * given + ["None"] * (wanted - given))


def same_shape(a: tuple[Any, ...], b: tuple[Any, ...]) -> bool:
    """Return whether two shapes are equal as far as they are known."""
    return a == b or (
        len(a) == len(b)
        and all(m == n or unknown(m) or unknown(n) for m, n in zip(a, b, strict=True))
    )


def broadcasts(a: tuple[Any, ...], b: tuple[Any, ...]) -> bool:
    """Return whether an array of shape `a` broadcasts to shape `b`."""
    return a == b or (
        len(a) <= len(b)
        and all(
            m == 1 or m == n or unknown(m) or unknown(n)
            for m, n in zip(reversed(a), reversed(b), strict=False)
        )
    )


def unknown(length: Any) -> bool:
    """Return whether a dimension has no length yet: None, or NaN in Dask."""
    return length is None or length != length


def show(array: Any) -> str:
    return show_shape(array.shape)


def show_dtype(dtype: Any) -> str:
    """Return the name of a dtype, with the order of its bytes where that is not the machine's."""
    order = {">": " (big-endian)", "<": " (little-endian)"}
    return dtype_name(dtype) + order.get(getattr(dtype, "byteorder", ""), "")


def show_shape(shape: tuple[Any, ...]) -> str:
    return str(tuple(shape))
