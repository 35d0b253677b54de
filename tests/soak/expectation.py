"""What a call should return: the formulas of `tests.soak.formulas` under the losses' semantics.

Which items count, what the mean divides by, what is an error, and how far off a result may be; the
reasons for the tolerances stand in `tests.soak.differential`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from tests.soak.draw import Case, ignored
from tests.soak.formulas import ACTIVATIONS, LOSSES, ROWWISE, SIGNED, L, Part
from tests.support.families import allowed

__all__ = ["Expected", "compute_dtype", "expect"]

Array = npt.NDArray[Any]

# Results whose small factor may be subnormal before a large one multiplies it, such as p^2 log p.
AMPLIFYING = ("sigmoid_focal", "softmax_focal", "soft_margin", "kl_div", "kl_div_with_logits")


@dataclass
class Expected:
    """A result: its exact numbers, how far off each may be, where anything is right."""

    exact: Array
    tolerance: Array
    open: Array
    dtype: np.dtype[Any]
    rounded: bool = False
    """Whether it is rounded from the dtype computed in to a narrower one."""

    def complaint(self, got: Array) -> str | None:
        """Return what is wrong with a result, None for nothing."""
        if got.shape != self.exact.shape:
            return f"has shape {got.shape}, expected {self.exact.shape}"
        if got.dtype.newbyteorder("=") != self.dtype.newbyteorder("="):
            return f"has dtype {got.dtype}, expected {self.dtype}"
        if not got.size:
            return None
        info = ml_dtypes.finfo(self.dtype)
        wide, exact = got.astype(L), self.exact
        allowed = np.nan_to_num(self.tolerance, nan=np.inf, posinf=np.inf)
        if self.rounded:
            allowed = allowed + _half_ulp(np.abs(exact) + allowed, info)
        with np.errstate(all="ignore"):
            right = np.abs(wide - exact) <= allowed
            most = L(float(info.max)) * (1 - L(float(info.eps)))
            right |= (
                np.isinf(wide)
                & (np.sign(wide) == np.sign(exact))
                & (np.abs(exact) + allowed >= most)
            )
            right &= ~(np.isinf(exact) & np.isfinite(wide))
            right |= (wide == exact) | (np.isnan(wide) & np.isnan(exact)) | self.open
        if right.all():
            return None
        at = tuple(np.argwhere(~right)[0].tolist())
        with np.errstate(all="ignore"):
            worst = np.abs(wide[at] - exact[at]) / allowed[at]
        place = f"[{', '.join(map(str, at))}]" if at else ""
        return (
            f"{place} is {float(wide[at])!r}, exact {float(exact[at])!r}, {float(worst):.3g} of "
            f"the tolerance {float(allowed[at]):.3g} ({int((~right).sum())} of {right.size} wrong)"
        )


def _half_ulp(size: Array, info: Any) -> Array:
    """Return half a unit in the last place of numbers of this size."""
    _, exponent = np.frexp(np.minimum(size, L(float(info.max))))
    unit = np.ldexp(L(1), np.maximum(exponent - 1, info.minexp) - info.nmant)
    return np.asarray(unit / 2)


def compute_dtype(case: Case, default: str) -> np.dtype[Any]:
    """Return the dtype that a loss is computed in."""
    if case.x.dtype.kind in "iub":
        if default == "float64":
            return np.dtype(np.float64)
    elif case.x.dtype.newbyteorder("=") == np.float64:
        return np.dtype(np.float64)
    widens = case.y is not None and not case.labels and case.y.dtype.newbyteorder("=") == np.float64
    return np.dtype(np.float64 if widens else np.float32)


def _result_dtype(given: np.dtype[Any], computed: np.dtype[Any]) -> np.dtype[Any]:
    return computed if given.kind in "iub" else given.newbyteorder("=")


@dataclass
class _Items:
    """The items of one loss: formulas' parts, weights, and what the mean divides by."""

    parts: Mapping[str, Part]
    weight: Array
    mass: Array
    class_weight: Array | None
    kept: Array


def expect(case: Case, default_float: str, sees: bool, flushes: bool) -> dict[str, Expected] | str:
    """Return what a call returns, by name, or "ValueError" where it is an error.

    `sees` tells whether values can be looked at, `flushes` whether subnormal numbers become 0.
    """
    dtype = compute_dtype(case, default_float)
    if case.wrong is not None and sees and (case.wrong & _weighed(case, dtype)[1]).any():
        return "ValueError"
    with np.errstate(all="ignore"):
        if case.y is None:
            return {"value": _activation(case, dtype, flushes)}
        terms = case.terms or [(1.0, case.loss, case.params)]
        sums: dict[str, Expected] = {}
        for factor, name, params in terms:
            for what, one in _loss(case, name, params, dtype, flushes, abs(factor)).items():
                exact, tolerance = L(factor) * one.exact, abs(factor) * one.tolerance
                if case.terms:
                    tolerance = tolerance + 2 * np.finfo(dtype).eps * np.abs(exact)
                    tolerance = tolerance + 4 * L(np.finfo(dtype).smallest_subnormal)
                if what in sums:
                    so_far = sums[what]
                    tolerance = tolerance + so_far.tolerance
                    exact, opened = exact + so_far.exact, one.open | so_far.open
                    # Where the terms are infinite, their sum is, or is nothing.
                    sums[what] = Expected(exact, tolerance, opened, one.dtype, one.rounded)
                else:
                    sums[what] = Expected(exact, tolerance, one.open, one.dtype, one.rounded)
        if case.terms:
            for one in sums.values():
                # A factor may take a number out of the range of its term, or into it.
                one.open = one.open | (np.abs(one.exact) > np.finfo(dtype).max / 2**16)
                # Terms divided by 0 are infinite; their sum before it is divided need not be.
                one.open = one.open | ~np.isfinite(one.exact) & _divides_by_zero(case)
        return sums


def _divides_by_zero(case: Case) -> bool:
    divisor = case.options.get("denominator")
    return divisor is not None and not np.asarray(divisor, np.float64).all()


def _activation(case: Case, dtype: np.dtype[Any], flushes: bool) -> Expected:
    rowwise = case.loss not in ("softplus", "log_sigmoid")
    x = np.moveaxis(case.x.astype(L), case.axis, -1) if rowwise else case.x.astype(L)
    exact, size, _ = ACTIVATIONS[case.loss](x)
    exact, size = np.asarray(exact), np.asarray(size)
    if rowwise and case.loss != "logsumexp":
        exact, size = np.moveaxis(exact, -1, case.axis), np.moveaxis(size, -1, case.axis)
    info = np.finfo(dtype)
    tolerance = allowed(case.loss, "value", {}) * L(info.eps) * size + 4 * _least(info, flushes)
    kind = _result_dtype(case.x.dtype, dtype)
    rounded = kind.itemsize < dtype.itemsize
    return Expected(exact, tolerance, np.zeros(exact.shape, bool), kind, rounded)


def _least(info: Any, flushes: bool) -> Any:
    """Return the smallest number that counts.

    XLA on the CPU flushes subnormal numbers inside its formulas; what is below 2e-28 is then
    amplified from them (the accuracy benchmark's limit for float32).
    """
    return L(2e-28) if flushes else L(info.smallest_subnormal)


def _unreduced(case: Case) -> bool:
    return case.options.get("reduction", "mean") == "none" or case.want == "grad_and_hess"


def _weighed(case: Case, dtype: np.dtype[Any]) -> tuple[Array, Array]:
    """Return the weight of each item, and whether it counts."""
    rowwise = case.loss in ROWWISE
    items = np.delete(case.x.shape, case.axis) if rowwise else case.x.shape
    weight = np.asarray(case.options.get("weight", 1))
    # Without a sum to scale them for, weights are those of the dtype computed in.
    alone = _unreduced(case) or case.options.get("denominator") is not None
    alone = alone or case.options.get("reduction", "mean") != "mean"
    counts = (weight.astype(dtype) if alone else weight) != 0
    where = np.asarray(case.options.get("where", True))
    return np.broadcast_to(weight.astype(L), items), np.broadcast_to(counts & where, items)


def _settle(case: Case, name: str, params: Mapping[str, Any], dtype: np.dtype[Any]) -> _Items:
    assert case.y is not None
    options, rowwise = case.options, name in ROWWISE
    x = case.x.astype(L)
    x = np.moveaxis(x, case.axis, -1) if rowwise else x
    items = x.shape[:-1] if rowwise else x.shape
    info = np.finfo(dtype)

    weight, kept = _weighed(case, dtype)
    class_weight = options.get("class_weight")
    if class_weight is not None:
        class_weight = class_weight.astype(L)
    wrong = np.zeros(items, bool) if case.wrong is None else case.wrong
    kept = kept & ~ignored(case)
    if case.labels:
        index = np.where(kept & ~wrong, case.y.astype(np.int64), 0)
        y = (np.arange(x.shape[-1]) == index[..., None]).astype(L)
    else:
        y = case.y.astype(L)
        y = np.moveaxis(y, case.axis, -1) if rowwise else y
        if name in SIGNED and case.y.dtype.kind == "b":
            y = 2 * y - 1
    whole = bool(case.labels and not params.get("label_smoothing"))
    if class_weight is not None and whole:
        # The weight of an item like any other: what it leaves out contributes nothing. A weight
        # that is not finite makes the product NaN.
        kept = kept & ((np.sum(y * class_weight, axis=-1) != 0) | wrong | ~np.isfinite(weight))
    of_x = kept[..., None] if rowwise else kept
    x = np.where(of_x, x, L(1))
    possible = np.asarray(True)
    if "mask" in options:
        possible = np.broadcast_to(options["mask"], case.x.shape)
        possible = np.moveaxis(possible, case.axis, -1) | ~of_x
        x = np.where(possible, x, -L(np.inf))
    y = np.where(of_x, y, L(0) if case.labels else L(1))
    if rowwise and case.labels:
        y = np.where(of_x, y, np.eye(1, x.shape[-1], dtype=L)[0])
    arguments: list[Any] = [x, y]
    if name == "gaussian_nll":
        assert case.var is not None
        arguments.append(np.where(kept, case.var.astype(L), L(1)))
    if name == "binary_cross_entropy_with_logits" and "pos_weight" in options:
        arguments.append(np.broadcast_to(options["pos_weight"].astype(L), items))
    keywords = dict(params)
    if name == "binary_cross_entropy":
        least = float(info.smallest_normal)
        keywords["eps"] = max(params["eps"] or least, least)
    if name in ("cross_entropy", "softmax_focal", "nll"):
        keywords["class_weight"] = class_weight
    parts = LOSSES[name](*arguments, **keywords, ulp=float(info.eps))
    for what in ("x", "curvature"):
        exact, size, unsettled = parts[what]
        none = possible | np.zeros(np.shape(exact), bool)
        parts[what] = Part(
            np.where(none, exact, L(0)), np.where(none, size, L(0)), none & np.asarray(unsettled)
        )
    mass = np.ones(items, L)
    if class_weight is not None:
        mass = np.sum(y * class_weight, axis=-1)
    weight = np.where(kept, weight, L(0))
    mass = weight * mass  # of a target that is none, too
    if wrong.any():
        weight = np.where(wrong & kept, L(np.nan), weight)
    return _Items(parts, weight, mass, class_weight, kept)


def _loss(
    case: Case,
    name: str,
    params: Mapping[str, Any],
    dtype: np.dtype[Any],
    flushes: bool,
    factor: float,
) -> dict[str, Expected]:
    """Return what a loss returns, of which a sum of losses takes so many times."""
    assert case.y is not None
    settled = _settle(case, name, params, dtype)
    factor = max(factor, 1.0)  # what makes a term smaller does so when it is known
    options, rowwise = case.options, name in ROWWISE
    weight, mass, kept = settled.weight, settled.mass, settled.kept
    info = np.finfo(dtype)
    eps, most = L(info.eps), L(info.max)
    least = _least(info, flushes)
    # NumPy's float32 exp is off by 20 of the smallest numbers where its result is subnormal.
    under = least * (1024 if name in AMPLIFYING else 64)
    wide = L(2.0**-52 if not flushes else 2.0**-23)
    reduction = options.get("reduction", "mean")
    unreduced = _unreduced(case)
    denominator = options.get("denominator")
    nothing = not kept.any()

    divisor, divisor_error = L(1), L(0)
    if case.want in ("grad_and_hess", "partial_mean") or reduction != "mean":
        pass
    elif denominator is not None:
        divisor, divisor_error = L(denominator), eps
    elif not nothing:
        divisor = np.sum(mass)
        divisor_error = eps + 16 * wide * np.sum(np.abs(mass)) / np.abs(divisor)
    # Weights that cancel leave a rounding of theirs, in whatever order they are added.
    cancels = denominator is None and not nothing and divisor == 0

    # Pairwise sums; XLA on the CPU adds one by one, whose roundings are a random walk, about.
    items = L(max(weight.size, 1))
    roundings = 3 + (4 * np.sqrt(items) if flushes else np.log2(items))
    value, size, opened = settled.parts["value"]
    weighted = np.where(kept, weight * value, L(0))
    off = np.where(
        kept, np.abs(weight) * (allowed(name, "value", params) * eps * size + under), L(0)
    )
    # A weight or a product below the least number of the dtype, where nothing brings it back.
    lost = least * (8 + np.abs(value)) if "weight" in options else 8 * least
    huge = (factor * np.abs(value) > most / 4) | (np.abs(weight) > most)
    results: dict[str, Expected] = {}
    open_items = np.where(kept, opened, False)

    def scalar(exact: Any, tolerance: Any, unsettled: Any, kind: Any = dtype) -> Expected:
        kind = np.dtype(kind)
        arrays = np.asarray(exact, L), np.asarray(tolerance, L), np.asarray(unsettled, bool)
        return Expected(*arrays, kind, kind.itemsize < dtype.itemsize)

    if unreduced:
        results["value"] = scalar(
            weighted,
            off + 2 * eps * np.abs(weighted) + np.where(kept, lost, 0),
            open_items | huge & kept,
        )
    else:
        total, sizes = np.sum(weighted), np.sum(np.abs(weighted))
        error = np.sum(off) + roundings * eps * sizes
        # Sums of losses near the end of the range may leave it before they are divided.
        loose = open_items.any() or bool((huge & kept).any())
        scale = np.max(np.abs(weight), initial=0) if reduction == "mean" else L(1)
        # Weights of an ordinary scale are not scaled: their products may leave the range.
        ordinary = bool(1e-6 <= scale <= 1e6) or denominator is not None
        scale = L(1) if ordinary or scale == 0 else scale
        over = sizes / scale > most / 8
        loose = loose or bool(over and np.isfinite(sizes))
        if case.want == "partial_mean":
            kind = np.float32 if flushes else np.float64
            loose = loose or bool(np.sum(np.abs(mass)) > most / 8 and flushes)
            results["total"] = scalar(total, error + np.sum(lost * kept), loose, kind)
            # Rows' shares of the class weights, and products with `weight`, have the dtype
            # computed in.
            shared = settled.class_weight is not None
            shared &= not case.labels or "weight" in options
            near = eps if shared else wide
            results["weight"] = scalar(
                np.sum(mass), 16 * near * np.sum(np.abs(mass)) + least, False, kind
            )
        else:
            answer = L(0) if nothing else total / divisor
            if ordinary:
                error = error + np.sum(np.where(kept, lost, 0))
            tolerance = error / np.abs(divisor) + np.abs(answer) * divisor_error + 8 * least
            if divisor == 0 and not nothing:
                # IEEE: inf or NaN, of the sign of a sum that may be rounded.
                loose = loose or cancels or bool(np.abs(total) <= error)
            results["value"] = scalar(answer, tolerance, loose)

    numbers = (case.argnums,) if isinstance(case.argnums, int) else case.argnums
    names = [("x", "y", "var")[n] for n in numbers]
    scale = weight if nothing else weight / divisor
    for number, what in enumerate([*names, "curvature"]):
        if what == "curvature" and case.want != "grad_and_hess":
            continue
        exact, size, opened = settled.parts[what]
        exact, size, opened = np.broadcast_arrays(exact, size, np.asarray(opened))
        k = allowed(name, what, params)
        by = scale[..., None] if rowwise else scale
        keep = kept[..., None] if rowwise else kept
        slope = np.where(keep, exact, L(0))
        gradient = np.where(keep, by * slope, L(0))
        tolerance = np.where(keep, np.abs(by) * (k * eps * size + under), L(0))
        tolerance = tolerance + np.abs(gradient) * (3 * eps + divisor_error)
        tolerance = tolerance + np.where(keep, least * (8 + np.abs(slope)), 0)
        beyond = (factor * np.maximum(np.abs(slope), size) > most / 4) | (np.abs(by) > most)
        unsettled = np.where(keep, opened | beyond, False)
        unsettled = unsettled | np.where(keep, ~np.isfinite(size) & np.isfinite(exact), False)
        unsettled = unsettled | (cancels & keep)
        if not (np.abs(divisor) > 0 or nothing):
            # 0 / 0 or 0 / NaN, unless what is left out is not divided at all
            unsettled = unsettled | ~keep
        if (
            what == "y"
            and settled.class_weight is not None
            and reduction == "mean"
            and denominator is None
            and not unreduced
            and case.want != "partial_mean"
            and not nothing
        ):
            # The divisor moves with y: the quotient rule.
            mean = np.sum(weighted) / divisor
            share = by * settled.class_weight
            gradient = np.where(keep, gradient - mean * share, L(0))
            spread = np.sum(np.abs(weighted)) / np.abs(divisor)
            care = (allowed(name, "value", params) + roundings) * eps + divisor_error * 2
            tolerance = tolerance + np.where(keep, np.abs(share) * spread * care, L(0))
            unsettled = unsettled | ~np.isfinite(mean)
        if rowwise:
            gradient, tolerance, unsettled = [
                np.moveaxis(np.asarray(each), -1, case.axis)
                for each in (gradient, tolerance, unsettled)
            ]
        given = {"y": case.y, "var": case.var}.get(what, case.x)
        assert given is not None
        key = "curvature" if what == "curvature" else f"grad{number}"
        results[key] = scalar(gradient, tolerance, unsettled, _result_dtype(given.dtype, dtype))
    if case.want in ("grad", "grad_and_hess"):
        del results["value"]
    if case.want in ("value", "partial_mean"):
        results = {name: one for name, one in results.items() if not name.startswith("grad")}
    return results
