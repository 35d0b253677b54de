"""The weighted mean is sum(w l) / sum(w), however the weights are broadcast, scaled and stored.

The truth is exact: rational numbers, from the arrays as they came. The losses are those whose items
are exact as well, |x - 0| and -x_t, so that all rounding is the mean's. Bounds are in eps of the
dtype computed in, which is float32: a weight, its product, the quotient are rounded once each, and
a sum of n by pairs log2(n) times at most.
"""

from collections.abc import Sequence
from fractions import Fraction
from math import log2
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import tinyloss
import tinyloss_numpy
from tests.soak.means import Weights, exact_mean, weights_of
from tests.support.libraries import Library

Array = npt.NDArray[Any]

EPS = 2.0**-23
ITEMS = (6, 4)
NUMBERS = ("bool", "uint8", "int32", "int64")

# Losses are picked by name here, so that their signatures are not known to a type checker.
anyloss: Any = tinyloss


def flushes(xp: Library) -> bool:
    """Return whether subnormal numbers count as 0: XLA's default on the CPU."""
    return xp.name.startswith("jax")


def weights_for(xp: Library) -> list[Weights]:
    floats = [name for name in ("float16",) if name in xp.halves]
    integers = [name for name in NUMBERS if name == "bool" or name in xp.integers]
    found = list(weights_of(ITEMS, (*floats, *xp.floats, *integers), flushes(xp)))
    # A step that shares no factor with the 6 shapes: every shape has its turn, and every dtype.
    return found[::11] if xp.slow or xp.name.startswith("cupy") else found


def predictions(shape: tuple[int, ...]) -> Array:
    rng = np.random.default_rng(3)
    return rng.choice([1.0, 1.5, 2.0, 5.0, 0.75], shape).astype(np.float32)


def complaint(got: Any, exact: Any, eps: float, least: float = 0.0) -> str:
    """Return what is wrong with results, nothing where they are within `eps` of exact ones."""
    got = np.asarray(got, np.float64)
    exact = np.asarray(exact, np.float64)
    off = np.abs(got - exact) > eps * EPS * np.abs(exact) + least
    off |= ~np.isfinite(got)
    return f"got {got[off][:3].tolist()}, exact {exact[off][:3].tolist()}" if off.any() else ""


def mean_of(xp: Library, x: Array, weight: Any, where: Any) -> Any:
    """Return the mean of |x| and its gradient, as NumPy's."""
    given = {"weight": None if weight is None else xp.own(weight)}
    if where is not None:
        given["where"] = xp.own(where)
    call = anyloss.value_and_grad(anyloss.mae)
    return xp.fetch(xp.call(call, xp.own(x), xp.own(np.zeros_like(x)), **given))


def failures(xp: Library, masks: Sequence[Array | None]) -> list[str]:
    x = predictions(ITEMS)
    found: list[str] = []
    for number, weights in enumerate(weights_for(xp)):
        where = masks[number % len(masks)]
        exact, shares = exact_mean(x, weights.array, where)
        value, gradient = mean_of(xp, x, weights.array, where)
        for what, wrong in (
            ("value", complaint(value, exact, 4 + log2(x.size))),
            ("gradient", complaint(gradient, shares, 4)),
        ):
            if wrong:
                found.append(f"{weights}, {what}: {wrong}")
    return found


def test_means_are_exact_for_weights_of_every_shape_scale_and_dtype(xp: Library) -> None:
    assert failures(xp, [None]) == []


def test_means_are_exact_beside_masks_of_every_shape(xp: Library) -> None:
    masks: list[Array] = []
    for shape in ((4,), (6, 1), (6, 4), (1,), (1, 4)):
        where = np.random.default_rng(1).random(shape) < 0.6
        where.flat[0] = True
        masks.append(where)
    assert failures(xp, masks) == []


@pytest.mark.long
def test_compiled_means_are_exact() -> None:
    with tinyloss_numpy.compilation("always"):
        assert failures(Library("numpy"), [None]) == []


def test_means_over_rows_are_exact(xp: Library) -> None:
    x, y = predictions((*ITEMS, 3)), np.arange(24).reshape(ITEMS) % 3
    picked = np.take_along_axis(x, y[..., None], -1)[..., 0]
    found: list[str] = []
    call = anyloss.value_and_grad(anyloss.nll)
    for weights in weights_for(xp)[:: 1 if xp.slow else 3]:
        exact, shares = exact_mean(picked, weights.array)
        result: Any = xp.call(call, xp.own(x), xp.own(y), weight=xp.own(weights.array))
        value, gradient = xp.fetch(result)
        by_target = np.take_along_axis(gradient, y[..., None], -1)[..., 0]
        for what, wrong in (
            ("value", complaint(value, -exact, 4 + log2(y.size))),
            ("gradient", complaint(by_target, -shares, 4)),
        ):
            if wrong:
                found.append(f"{weights}, {what}: {wrong}")
    assert found == []


@pytest.mark.parametrize("exponent", [-100, 120])
def test_means_do_not_depend_on_the_scale_of_class_weights(xp: Library, exponent: int) -> None:
    x, labels = predictions((5, 3)), np.array([0, 2, 1, 1, 0])
    shares = np.eye(3, dtype=np.float32)[labels] * np.float32(0.75) + np.float32(0.125)
    weights = np.array([1.0, 1.5, 1.25], np.float32)
    scale = np.float32(2.0**exponent)  # a power of 2, by which nothing is rounded
    found: list[str] = []
    call = anyloss.value_and_grad(anyloss.cross_entropy)
    for y in (labels, shares):
        results = [
            xp.fetch(xp.call(call, xp.own(x), xp.own(y), class_weight=xp.own(each)))
            for each in (weights, weights * scale)
        ]
        for what, right, scaled in zip(("value", "gradient"), *results, strict=True):
            # A row's gradient is a difference: relative to its largest entry.
            most = 8 * EPS * float(np.max(np.abs(right)))
            if wrong := complaint(scaled, right, 0, most):
                found.append(f"targets of shape {y.shape}, {what}: {wrong}")
    assert found == []


def mass_of(*arrays: Any, **options: Any) -> Any:
    return anyloss.partial_mean(anyloss.mae)(*arrays, **options).weight


def test_partial_means_have_exact_sums(xp: Library) -> None:
    x, zeros = predictions(ITEMS), np.zeros(ITEMS, np.float32)
    wide = 2.0**-52 if "float64" in xp.floats or not flushes(xp) else EPS
    found: list[str] = []
    for weights in weights_for(xp)[:: 1 if xp.slow else 2]:
        mass = sum(Fraction(w.item()) for w in np.broadcast_to(weights.array, ITEMS).flat)
        if flushes(xp) and mass > 1e38:
            continue  # the sum itself is no number of float32
        result = xp.call(mass_of, xp.own(x), xp.own(zeros), weight=xp.own(weights.array))
        got = float(xp.fetch(result))
        if abs(Fraction(got) - mass) > 8 * Fraction(wide) * mass:
            found.append(f"{weights}: got {got!r}, exact {float(mass)!r}")
    assert found == []


def test_weights_that_differ_by_more_than_the_dtype_holds(xp: Library) -> None:
    least, most = 2.0**-126, 2.0**120
    x = np.array([1.0, 2.0, 4.0], np.float32)
    weight = np.array([most, least, most], np.float32)
    exact, shares = exact_mean(x, weight)
    value, gradient = mean_of(xp, x, weight, None)
    assert complaint(value, exact, 4) == ""
    assert complaint(gradient, shares, 4, least=2.0**-126 if flushes(xp) else 2.0**-149) == ""


def test_negative_weights_are_summed_as_they_came(xp: Library) -> None:
    # The sum is a hundredth of its terms: its own rounding in float32 would be 100 eps.
    x = np.array([3.0, 1.0, 2.0], np.float32)
    weight = np.array([1.0, -1.5, 0.51], np.float32)
    exact, shares = exact_mean(x, weight)
    value, gradient = mean_of(xp, x, weight, None)
    terms = float(np.sum(np.abs(weight * x)) / abs(np.sum(weight.astype(np.float64))))
    assert complaint(value, exact, 0, 8 * EPS * terms) == ""
    assert complaint(gradient, shares, 4 if not flushes(xp) else 400) == ""


# ------------------------------------------------------------------------------- many items

LIBRARIES = pytest.mark.parametrize("xp", ["numpy", "torch", "jax"], indirect=True)
SIZES = pytest.mark.parametrize("n", [1000, 1_000_000])


def columns(n: int) -> Array:
    """Return n rows of three small whole numbers, whose sums are exact."""
    return np.random.default_rng(n).integers(1, 9, (n, 3)).astype(np.float32)


@LIBRARIES
@SIZES
@pytest.mark.parametrize("stored", ["(3,)", "(n, 3), stride 0"])
def test_a_weight_for_each_column_of_many_rows(xp: Library, n: int, stored: str) -> None:
    x, weight = columns(n), np.array([0.1, 0.7, 0.3], np.float32)
    sums = [int(each) for each in x.sum(axis=0, dtype=np.float64)]
    exact = [Fraction(w.item()) for w in weight]
    mass = n * sum(exact)
    mean = sum(w * s for w, s in zip(exact, sums, strict=True)) / mass
    given = weight if stored == "(3,)" else np.broadcast_to(weight, x.shape)
    value, gradient = mean_of(xp, x, given, None)
    assert complaint(value, mean, 4 + log2(x.size)) == ""
    shares = np.array([float(w / mass) for w in exact])
    # JAX's sum of the weights is of float32.
    bound = 4 + log2(x.size) * flushes(xp)
    assert complaint(gradient, np.broadcast_to(shares, x.shape), bound) == ""


@pytest.mark.long
def test_weights_of_more_items_than_numpy_adds_in_float32() -> None:
    """It adds arrays of stride 0 in chunks: 6e7 of these weights are 8e-5 off in float32."""
    x = np.broadcast_to(np.float32(1.5), (20_000_000, 3))
    weight = np.array([0.1, 0.7, 0.3], np.float32)
    value = anyloss.mae(x, np.broadcast_to(np.float32(0), x.shape), weight=weight)
    assert complaint(value, 1.5, 4 + log2(x.size)) == ""


@LIBRARIES
@SIZES
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_a_mask_for_each_of_many_rows(xp: Library, n: int, share: float) -> None:
    x = columns(n)
    where = np.random.default_rng(1).random((n, 1)) < share
    count = 3 * int(where.sum())
    total = int(x[where[:, 0]].sum(dtype=np.float64))
    value, gradient = mean_of(xp, x, None, where)
    assert complaint(value, Fraction(total, count), 4 + log2(x.size)) == ""
    assert complaint(gradient, np.where(where, 1 / count, 0.0) * np.ones(3), 4) == ""


@LIBRARIES
@SIZES
@pytest.mark.parametrize("constant", [0.1, 0.7, 0.3])
def test_a_constant_weight_is_none(xp: Library, n: int, constant: float) -> None:
    x = columns(n)
    total = int(x.sum(dtype=np.float64))
    value, gradient = mean_of(xp, x, np.broadcast_to(np.float32(constant), x.shape), None)
    assert complaint(value, Fraction(total, x.size), 4 + log2(x.size)) == ""
    bound = 4 + log2(x.size) * flushes(xp)
    assert complaint(gradient, np.full(x.shape, 1 / x.size), bound) == ""
