"""What items weigh, and what the mean divides by."""

from collections.abc import Mapping
from math import copysign, frexp, inf, isfinite, prod
from typing import Any, NamedTuple

from tinyloss._arrays import (
    astype,
    beside,
    device,
    dtype_name,
    index_dtype,
    is_host,
    kind,
    library,
    namespace,
    of_rank,
    widest_dtype,
)
from tinyloss._engine import registry
from tinyloss._engine.checks import (
    brought,
    check_booleans,
    check_items,
    check_weight,
    same_shape,
    show,
    unknown,
)
from tinyloss._engine.request import Refusal, Request
from tinyloss._rows import Rows
from tinyloss.typing import Namespace


class Rule(NamedTuple):
    """What decides how items are weighed, besides arrays."""

    options: Request
    """The request without its arrays, parameters and formulas: what is compiled keeps none."""
    xp: Namespace
    rowwise: bool
    takes_classes: bool
    """Whether the formula takes the weights of classes."""
    index: Any
    """The dtype of class indices, None where there are none."""
    dtype: Any
    """The floating dtype to compute in."""
    sums: bool
    """Whether the sum of the weights is wanted."""
    raw: bool = False
    """Whether weights may be left as they came, beside a factor: see `Kind.raw`."""
    counts: Any = None
    """How often an item counts besides its weight: see `Formula.counts`."""


class Weighed(NamedTuple):
    """What items weigh, and the arguments that it takes along."""

    item: Any
    """The weight of each item, which broadcasts to the items; None for 1."""
    divisor: Any
    total: Any
    """The sum of the weights, where it is wanted."""
    arrays: dict[str, Any]
    """Class indices in their dtype, weights of classes that the formula takes."""
    factor: float | None = None
    """What the weights are still to be multiplied by; None where they are not raw."""


def weighed(rule: Rule, given: Request | Mapping[str, Any], x: Any, y: Any) -> Weighed:
    """Return what items weigh, by a request or its arrays, and x and y with the classes last."""
    request = given if isinstance(given, Request) else rule.options._replace(**given)
    weights, xp = _Weights(rule, request, x, y), rule.xp
    total, divisor = weights.sums() if rule.sums else (None, weights.divisor())
    if isinstance(total, (int, float)):
        total = xp.asarray(total, dtype=widest_dtype(xp, x), **beside(x))[()]  # NumPy's are scalars
    return Weighed(weights.item, divisor, total, weights.arrays, weights.factor)


def counted(rule: Rule, request: Request, x: Any, y: Any) -> tuple[Any, Any]:
    """Return what each item weighs and what it counts in a mean's divisor; None for 1."""
    weights = _Weights(rule, request, x, y)
    return weights.item, weights.counted


class _Weights:
    """What items weigh: weight, class weight and every mask as one weight for each item.

    A mean does not depend on the scale of its weights. So they are divided by units of about the
    size of the largest: their products with losses neither overflow nor underflow before the mean.
    """

    def __init__(self, rule: Rule, request: Request, x: Any, y: Any) -> None:
        _, xp, rowwise, takes_classes, index, dtype, sums, raw, count = rule
        self._request, self._xp, self._x, self._dtype = request, xp, x, dtype
        # Sums are not in units: where they are of float32, these would overflow on the way back.
        self._divides = request.reduction == "mean" and request.denominator is None
        self._scales = self._divides
        if sums and dtype_name(widest_dtype(xp, x)) == "float32":
            self._scales = False
        rows = rows_of(request, xp, x) if rowwise else None
        self._items = items = x.shape if rows is None else x.shape[:-1]
        self._units: list[Any] = []
        self._summed: tuple[Any, Any] = None, None
        """Weights, and their sum where it is known."""
        mask = mask_of(request, xp, x, y, items)
        self.arrays: dict[str, Any] = {}
        if index is not None:
            self.arrays["y"] = y = astype(xp, y, index)
        weight, mass = mask, None
        if request.weight is not None:
            given = request.weight
            if is_host(given) and not is_host(x) and kind(given.dtype) in ("float", "int"):
                # another library may neither hold NumPy's numbers nor see the smallest
                own = namespace(given)
                given = self._in_units(own.astype(given, own.float64))
            weight = brought(xp, x, "weight", given)
            check_weight(weight, items, x.shape[-1] if rows is not None else None)
            weight = of_rank(xp, self._wide(weight), len(items))
            weight = weight if mask is None else xp.where(mask, weight, 0.0)
        if request.class_weight is not None:
            assert rows is not None
            class_weight = brought(xp, x, "class_weight", request.class_weight)
            if not same_shape(class_weight.shape, x.shape[-1:]):
                raise Refusal(
                    f"class_weight has shape {show(class_weight)}, expected ({x.shape[-1]},), "
                    "one weight for each class"
                )
            # before they are multiplied with each other
            class_weight = self._in_units(self._wide(class_weight), rows)
            if weight is not None and weight is not mask:
                weight = self._in_units(weight)
            if takes_classes:
                self.arrays["class_weight"] = astype(xp, class_weight, dtype)
            if index is not None:
                # an index that is no class counts: its item is an error or NaN
                known = (y >= 0) & (y < rows.length())
                mass = xp.where(known, rows.take(class_weight, y), 1.0)
            else:
                share = astype(xp, y, dtype)
                if weight is not None:  # what is left out may be NaN
                    counts = weight if weight is mask else weight != 0
                    share = xp.where(counts[..., None], share, 0.0)
                mass = rows.sum(of_rank(xp, class_weight, len(y.shape)) * share)[..., 0]
            if not takes_classes:
                weight, mass = _product(xp, weight, mass), None
        if count is not None and (sums or self._divides):
            assert rows is not None
            mass = count(xp, astype(xp, y, dtype), rows.length())
        self.factor: float | None = None
        """What weights are still to be multiplied by, where they may be left as they came."""
        raw = raw and weight is not None and (weight is mask or self._is_narrow(weight))
        if weight is not None and weight is not mask:
            unit = self._unit(weight) if raw else None
            weight = self._in_units(weight) if unit is None else weight
            self.factor = None if unit is None else 1 / unit
        elif raw:
            self.factor = 1.0
        self.item = weight
        """The weight of each item, which broadcasts to the items; None for 1."""
        if weight is not None and self.factor is None:
            self.item = astype(xp, weight, dtype)
        self.counted: Any = weight if mass is None else _product(xp, weight, mass)
        """What the divisor of the mean is the sum of."""

    def _wide(self, array: Any) -> Any:
        """Return weights in a floating dtype that loses nothing of them where there is one."""
        xp, name = self._xp, dtype_name(array.dtype)
        if name in ("int32", "uint32", "int64", "uint64"):
            return xp.astype(array, widest_dtype(xp, self._x))
        return array if name == "float64" else astype(xp, array, self._dtype)

    def _is_narrow(self, weight: Any) -> bool:
        """Return whether the dtype computed in holds weights as they came."""
        return weight.dtype == self._dtype or dtype_name(weight.dtype) == "float32"

    def _unit(self, weight: Any) -> float | None:
        """Return the unit of weights, None where they cannot be seen; count it, keep their sum."""
        if not self._scales or 0 in weight.shape or any(map(unknown, weight.shape)):
            return 1.0
        extent = registry.extent(weight)
        if extent is None:
            return None
        (size, total), unit = extent, 1.0
        if 0 < size < inf and not 0.5 <= size <= 1:
            # A power of two, so that nothing is rounded; one that the dtype holds.
            last = 127 if dtype_name(weight.dtype) == "float32" else 1023
            unit = 2.0 ** max(1 - last, min(frexp(size)[1], last))
            self._units.append(unit)
        self._summed = weight, total / unit
        return unit

    def _in_units(self, weight: Any, rows: Rows | None = None) -> Any:
        """Return weights whose largest is about 1, where it is a number; count their unit."""
        xp, unit = self._xp, self._unit(weight)
        if unit is not None:
            if unit != 1:
                weight = weight / unit
                self._summed = weight, self._summed[1]
            return weight
        size = xp.max(xp.abs(weight)) if rows is None else rows.max(xp.abs(weight))[..., 0]
        size = xp.where((size > 0) & (size < inf), size, 1.0)
        # The inverse of a unit above 2**126 would be subnormal, which XLA takes for 0.
        down = xp.where(size > 1, 2.0**-64, xp.ones_like(size))
        near = size * down
        # The power of two next to it: Rump, Ogita and Oishi, Accurate floating-point summation II,
        # SIAM J. Sci. Comput. 31, 2008.
        far = near * (2.0**24 if dtype_name(weight.dtype) == "float32" else 2.0**53)
        unit = xp.abs(far - (far - near))
        wide = widest_dtype(xp, self._x)
        self._units.append(astype(xp, unit, wide) / astype(xp, down, wide))
        return weight * down / unit

    def divisor(self) -> Any:
        """Return what the sum is divided by, None for 1. Nothing is divided by 1: 0 / 1 = 0."""
        xp, request = self._xp, self._request
        if request.denominator is not None:
            return self._denominator(request.denominator)
        if request.reduction != "mean":
            return None
        total = self._total()
        if isinstance(total, int):
            return total or 1
        if isinstance(total, float):
            if total or not self._selects():
                return total or 1.0
            return xp.asarray(total, dtype=self._dtype)  # Python's own division by 0 would raise
        some = self._selects()
        if isinstance(some, bool) and hasattr(total, "dtype"):  # not a length that JAX leaves open
            return astype(xp, total, self._dtype) if some else 1.0
        return astype(xp, xp.where(some, total, 1.0), self._dtype)

    def sums(self) -> tuple[Any, Any]:
        """Return the sum of the weights, and what the sum of the weighted losses is divided by."""
        total, divisor = self._total(), None
        for unit in self._units:
            total, divisor = total * unit, (1.0 if divisor is None else divisor) / unit
        return total, divisor

    def _total(self) -> Any:
        """Return the sum over all items of what each counts, a number where that is known.

        The weights are added up as they came, and multiplied by how often each is repeated: in the
        dtype computed in, or over an array of stride 0, the sum of many would be off.
        """
        xp, counted = self._xp, self.counted
        known = not any(map(unknown, self._items))
        if known and (counted is None or 0 in self._items):
            return prod(self._items)
        weight, total = self._summed
        if counted is not weight:
            extent = None if kind(counted.dtype) == "bool" else registry.extent(counted)
            total = None if extent is None else extent[1]
            if is_host(counted) and total is None:
                total = float(xp.count_nonzero(counted))
        if total is not None:
            return total * (prod(self._items) // (prod(counted.shape) or 1))
        wide = widest_dtype(xp, self._x)
        if not known:
            return xp.sum(astype(xp, self._of_all(counted), wide))
        repeats = prod(self._items) // (prod(counted.shape) or 1)
        if kind(counted.dtype) == "bool":
            defaults = xp.__array_namespace_info__().default_dtypes(device=device(counted))
            counted = xp.sum(xp.astype(counted, defaults["integral"]))
            return xp.astype(counted, wide) * repeats
        return xp.sum(counted, dtype=wide) * repeats

    def _of_all(self, each: Any) -> Any:
        """Return what each item has, None for 1, where nobody knows how many there are."""
        xp, x = self._xp, self._x
        ones = xp.ones_like(x if len(x.shape) == len(self._items) else x[..., 0], dtype=self._dtype)
        return ones if each is None else ones * astype(xp, each, self._dtype)

    def _selects(self) -> Any:
        """Return whether an item has a weight other than 0; a number where that is known.

        The mass of a target, by the weights of its classes, is no weight of its item.
        """
        xp, weight = self._xp, self.item
        if any(map(unknown, self._items)):
            weight = self._of_all(weight)
        elif weight is None:
            return prod(self._items) > 0
        some = xp.any(weight != 0)
        return bool(some) if is_host(some) else some

    def _denominator(self, denominator: Any) -> Any:
        xp, request = self._xp, self._request
        if request.reduction != "mean":
            raise Refusal(
                f'denominator divides the mean, expected reduction="mean" beside it, '
                f"got {request.reduction!r}"
            )
        if isinstance(denominator, (int, float)) and denominator and denominator == denominator:
            try:
                given = {"denominator": float(denominator)}
                return normal(given, xp, self._dtype)["denominator"]
            except OverflowError:
                raise Refusal("denominator is beyond float64, expected a number") from None
        denominator = brought(xp, self._x, "denominator", denominator)
        if denominator.shape != ():
            raise Refusal(f"denominator has shape {show(denominator)}, expected a number")
        denominator, some = astype(xp, denominator, self._dtype), self._selects()
        if isinstance(some, bool):
            return denominator if some else 1.0
        return xp.where(some, denominator, 1.0)


def rows_of(request: Request, xp: Namespace, x: Any) -> Rows:
    """Return what is done over the classes, which x has in its last dimension or a part of them."""
    axis_name = request.axis_name
    if axis_name is None:
        return Rows(xp, x)
    split = getattr(registry.backend_of(xp), "split_rows", None)
    if split is None:
        raise Refusal(
            f"axis_name is {axis_name!r}, expected None for arrays of {library(xp)}: only JAX maps "
            "axes",
            TypeError,
        )
    try:
        rows: Rows = split(x, axis_name)
    except (NameError, TypeError) as error:
        raise Refusal(
            f"axis_name is {axis_name!r}, expected the name of an axis that is mapped where the "
            f"loss is called ({error})"
        ) from None
    return rows


def _product(xp: Namespace, weight: Any, mass: Any) -> Any:
    """Return the product of weights, of which the first may be None or booleans."""
    if weight is None:
        return mass
    return xp.where(weight, mass, 0.0) if kind(weight.dtype) == "bool" else weight * mass


def mask_of(request: Request, xp: Namespace, x: Any, y: Any, items: tuple[Any, ...]) -> Any:
    """Return whether each item is taken, by `where` and `ignore_index`; None for all."""
    mask = None
    if request.where is not None:
        mask = brought(xp, x, "where", request.where)
        if 0 in mask.shape:
            mask = astype(xp, mask, xp.bool)
        check_booleans("where", mask)
        check_items("where", mask, items)
        mask = of_rank(xp, mask, len(items))
    if request.ignore_index is not None and (kept := not_ignored(request, xp, x, y)) is not None:
        mask = kept if mask is None else mask & kept
    return mask


def not_ignored(request: Request, xp: Namespace, x: Any, y: Any) -> Any:
    """Return whether each target is not the one to be ignored; None where none can be it."""
    index = request.ignore_index
    assert index is not None
    if kind(y.dtype) == "float":
        y = y if dtype_name(y.dtype) in ("float32", "float64") else astype(xp, y, xp.float32)
        # beyond that two integers are one number
        return y != float(index) if abs(index) < 1 / float(xp.finfo(y.dtype).eps) else None
    given = request.y if is_host(request.y) else y
    name = dtype_name(given.dtype)
    bits = 1 if name == "bool" else int(name.lstrip("uint"))
    signed = name.startswith("int")
    if not -signed * 2 ** (bits - 1) <= index < 2 ** (bits - signed):
        return None
    if given is not y:  # compared as they came: another library may not hold NumPy's numbers
        return brought(xp, x, "y", given != index)
    y = astype(xp, y, index_dtype(xp, y))
    half = 2 ** (31 if dtype_name(y.dtype) == "int32" else 63)
    if not -half <= index < half:
        index = (index + half) % (2 * half) - half  # wraps as y did
    return y != index


def normal(params: dict[str, Any], xp: Namespace, dtype: Any) -> dict[str, Any]:
    """Return parameters whose numbers are 0 or normal numbers of the dtype computed in.

    Else a floor might be 0 there, or a threshold infinite: 0 / 0 and inf - inf in the formulas.
    """
    odd = {
        name: value
        for name, value in params.items()
        # inside the range of every dtype that is computed in
        if isinstance(value, float) and not (value == 0 or 1e-37 < abs(value) < 1e37)
    }
    if not odd:
        return params
    info = xp.finfo(dtype)
    least, largest = float(info.smallest_normal), float(info.max)
    return {**params} | {
        name: copysign(min(max(abs(value), least), largest), value)
        for name, value in odd.items()
        if isfinite(value)
    }


def normal_array(number: Any, xp: Namespace, dtype: Any) -> Any:
    """Return a number that an array holds as `normal` does, without reading it."""
    if dtype_name(number.dtype) != "float64" or dtype_name(dtype) == "float64":
        return number  # it is rounded to no narrower range
    info = xp.finfo(dtype)
    # by neither clip nor sign, which torch's namespace does by masks: vmap has no rule for these
    size = xp.maximum(xp.minimum(xp.abs(number), float(info.max)), float(info.smallest_normal))
    return xp.where(number == 0, number, xp.where(number < 0, -size, size))
