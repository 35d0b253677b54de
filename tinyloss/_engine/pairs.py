"""Which pairs of rows and columns of scores count, found for a block of rows at a time.

A pair that does not count has the score -inf. Labels are compared in blocks, so that no matrix of
all pairs has to be held.
"""

from collections.abc import Mapping
from typing import Any

from tinyloss._arrays import astype, beside, compiling, dtype_name, index_dtype, kind, writeable
from tinyloss._engine.checks import broadcasts, brought, check_booleans, same_shape, show
from tinyloss._engine.request import Pairs, Refusal
from tinyloss.typing import Namespace

OF_ROWS = ("pair_rows", "pair_own", "pair_mask")
"""The arrays of pairs that have rows along their first axis; "pair_columns" has the columns."""
_PIECE = 2**18
"""How many pairs are counted at a time: what is made of them stays in the cache."""

Arrays = Mapping[str, Any]


def arrays_of(xp: Namespace, h: Any, pairs: Pairs, shape: tuple[Any, Any]) -> dict[str, Any]:
    """Return the arrays that tell which pairs count, brought beside h."""
    found: dict[str, Any] = {}
    if pairs.rows is not None:
        for name, labels, length in zip(
            ("pair_rows", "pair_columns"), (pairs.rows, pairs.columns), shape, strict=True
        ):
            array = brought(xp, h, "labels", labels)
            if not same_shape(tuple(array.shape), (length,)):
                side = "row" if name == "pair_rows" else "column"
                raise Refusal(
                    f"labels has shape {show(array)}, expected ({length},), one for each {side} of "
                    f"similarities of shape {shape}"
                )
            if kind(array.dtype) == "float":
                raise Refusal(
                    f"labels has dtype {dtype_name(array.dtype)}, expected integers", TypeError
                )
            found[name] = astype(xp, array, index_dtype(xp, array))
    if pairs.mask is not None:
        mask = brought(xp, h, "mask", pairs.mask)
        check_booleans("mask", mask)
        if not same_shape(tuple(mask.shape), shape):
            raise Refusal(f"mask has shape {show(mask)}, expected {shape}, one for each pair")
        found["pair_mask"] = mask
    if pairs.own:
        found["pair_own"] = xp.arange(shape[0], **beside(h))
    return found


def of_block(xp: Namespace, pairs: Arrays, y: Any, columns: int, like: Any) -> tuple[Any, Any]:
    """Return which pairs of some rows do not count, and which are of one label; None for none.

    `y`: the indices of the rows' positives, which always count, and beside which those of the same
    label do not; None where labels alone tell positives.
    """
    place = xp.arange(columns, **beside(like))
    alike = left_out = None
    if "pair_rows" in pairs:
        alike = pairs["pair_rows"][:, None] == pairs["pair_columns"][None, :]
    if "pair_mask" in pairs:
        left_out = ~pairs["pair_mask"]
    if "pair_own" in pairs:
        own = pairs["pair_own"][:, None] == place
        left_out = own if left_out is None else left_out | own
    if y is None:
        return left_out, alike
    if alike is not None:
        left_out = alike if left_out is None else left_out | alike
    if left_out is not None:
        left_out = left_out & (y[:, None] != place)
    return left_out, None


def scores_and_target(xp: Namespace, pairs: Arrays, marks: bool, x: Any, y: Any) -> tuple[Any, Any]:
    """Return scores, -inf for pairs that do not count, and the target of their rows."""
    left_out, alike = of_block(xp, pairs, None if marks else y, x.shape[-1], x)
    if left_out is not None:
        x = xp.where(left_out, -xp.inf, x)
    return x, alike if marks else y


def weights_of(
    xp: Namespace, pairs: Pairs, arrays: Arrays, h: Any, shape: tuple[Any, Any], dtype: Any
) -> Any:
    """Return what rows weigh by their pairs, None for 1."""
    marks = pairs.marks
    if marks in (None, "all"):
        return None

    def counted(arrays: Arrays) -> Any:
        left_out, alike = of_block(xp, arrays, None, shape[1], h)
        positive = alike if left_out is None else alike & ~left_out
        if marks == "pairs":
            return xp.sum(astype(xp, positive, dtype), axis=1)
        some = xp.any(positive, axis=1)
        if marks == "both":
            negative = ~alike if left_out is None else ~(alike | left_out)
            some = some & xp.any(negative, axis=1)
        return astype(xp, some, dtype)

    if compiling() or not writeable(h):
        return counted(arrays)
    weights = xp.empty(shape[:1], dtype=dtype, **beside(h))
    step = max(1, _PIECE // (shape[1] or 1))
    for at in range(0, shape[0], step):
        some = slice(at, min(at + step, shape[0]))
        cut = {name: each[some, ...] if name in OF_ROWS else each for name, each in arrays.items()}
        weights[some] = counted(cut)
    return weights


def weighed(xp: Namespace, h: Any, own: Any, given: Any) -> Any:
    """Return the weights of rows times those that the caller gave, 0 where their own are."""
    if given is None or own is None:
        return given if own is None else own
    weight = brought(xp, h, "weight", given)
    if not broadcasts(weight.shape, own.shape):
        return given  # what is wrong with it is said where it is settled
    dtype = weight.dtype if dtype_name(weight.dtype) == "float64" else own.dtype
    own = astype(xp, own, dtype)
    return xp.where(own > 0, astype(xp, weight, dtype) * own, xp.zeros_like(own))
