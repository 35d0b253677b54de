"""Losses of rows in an order: golden values, digits, ties, every library, second derivatives."""

from collections.abc import Callable, Iterator, Sequence
from math import log
from typing import Any

import numpy as np
import pytest

import tinyloss
from tests.support.jets import mp
from tests.support.libraries import Library
from tinyloss._in_order import Groups, Order, joined_numbers, running

VALUE, SLOPE = 4, 8
"""How many eps off results may be: as the docstrings have it."""
EPS32, EPS64 = 2.0**-23, 2.0**-52
anyloss: Any = tinyloss
value_and_grad: Any = tinyloss.value_and_grad  # of losses whose parameters no checker knows


@pytest.fixture(autouse=True)
def _digits() -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]
    with mp.workdps(110):
        yield


def exactly(row: Any) -> list[Any]:
    return [mp.mpf(float(each)) for each in row]


def off(found: Any, exact: Sequence[Any], scale: Sequence[Any], eps: float) -> float:
    """Return how far numbers are from exact ones, in eps of the sizes given."""
    least = mp.mpf(2) ** (-126 if eps == EPS32 else -1022)
    largest = float(np.finfo(np.float32 if eps == EPS32 else np.float64).max)
    worst = 0.0
    for number, each, size in zip(np.ravel(found), exact, scale, strict=True):
        if abs(each) > largest:  # infinite where the exact result overflows, and nowhere else
            assert np.isinf(number)
            continue
        missed = abs(mp.mpf(float(number)) - each) / max(abs(size) * eps, least)
        worst = max(worst, float(missed))
    return worst


# ------------------------------------------------------------------------------ cox_ph

TIME, EVENT = np.array([1, 2, 2, 3, 4, 4]), np.array([1, 1, 1, 0, 1, 1])
HAZARD = np.array([0.5, -0.25, 0.75, 0, 1, -1])
GOLDEN_COX = {
    "breslow": (
        "7.2958396580299773623",
        [
            -0.80896978770428149,
            -0.68667434045473466,
            -0.14829255326815984,
            0.40231811055657075,
            1.8552081651416683,
            -0.61358959427106309,
        ],
    ),
    "efron": (
        "6.3702845264863552918",
        [
            -0.80896978770428149,
            -0.72785472590926215,
            -0.26023244673814107,
            0.43979100230524992,
            1.9570700458419158,
            -0.59980408779548104,
        ],
    ),
}


def exact_cox(
    x: list[Any], y: Any, event: Any, ties: str, groups: Any, mask: Any
) -> tuple[list[Any], list[Any], list[Any]]:
    """Return what each event adds, the gradient of their sum, and the sizes of its terms."""
    places = [k for k in range(len(x)) if mask is None or mask[k]]
    groups = [0] * len(x) if groups is None else groups
    taken: dict[Any, int] = {}
    terms: list[Any] = []
    slope, size = [mp.mpf(0)] * len(x), [mp.mpf(0)] * len(x)
    for i in places:
        if not event[i]:
            continue
        at_risk = [k for k in places if groups[k] == groups[i] and y[k] >= y[i]]
        tied = [k for k in at_risk if y[k] == y[i] and event[k]]
        before = taken.get((groups[i], y[i]), 0)
        taken[groups[i], y[i]] = before + 1
        left = 1 - (mp.mpf(before) / len(tied) if ties == "efron" else 0)
        parts = {k: mp.exp(x[k]) * (left if k in tied else 1) for k in at_risk}
        whole = mp.fsum(parts.values())
        terms.append(mp.log(whole) - x[i])
        for k, part in parts.items():
            own = k in tied and before == 0  # of its own share the rest to 1 is what counts
            others = mp.fsum(each for other, each in parts.items() if other != k)
            slope[k] += -others / whole if own else part / whole
            size[k] += others / whole if own else part / whole
    return terms, slope, size


@pytest.mark.parametrize("ties", GOLDEN_COX)
def test_cox_has_its_golden_values_on_every_library(ties: str, xp: Library) -> None:
    value, slope = GOLDEN_COX[ties]
    dtype = xp.floats[-1]
    eps = float(np.finfo(dtype).eps)
    arrays = xp.asarray(HAZARD, dtype), xp.asarray(TIME), xp.asarray(EVENT)
    both = value_and_grad(tinyloss.cox_ph)
    found = xp.fetch(xp.call(both, *arrays, ties=ties, reduction="sum"))
    np.testing.assert_allclose(found[0], float(value), rtol=4 * eps)
    np.testing.assert_allclose(found[1], slope, rtol=0, atol=8 * eps)
    mean = xp.fetch(xp.call(tinyloss.cox_ph, *arrays, ties=ties))
    np.testing.assert_allclose(mean, float(value) / 5, rtol=4 * eps)


ROWS: dict[str, Callable[[Any, int], Any]] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "equal": lambda rng, n: np.full(n, 0.75),
    "close": lambda rng, n: 1 + rng.normal(size=n) * 1e-4,
    "small": lambda rng, n: rng.normal(size=n) * 1e-10,
    "scale_10": lambda rng, n: 10 * rng.normal(size=n),
    "scale_100": lambda rng, n: 100 * rng.normal(size=n),
    "offset": lambda rng, n: 1e4 + rng.normal(size=n),
    "one_is_certain": lambda rng, n: np.where(np.arange(n) == rng.integers(n), 30.0, 0.0),
    "in_order": lambda rng, n: -20.0 * np.arange(n),
    "against_the_order": lambda rng, n: 20.0 * np.arange(n),
    "big": lambda rng, n: 1e30 * rng.normal(size=n),
    "near_max": lambda rng, n: 1e38 * rng.choice([-1.0, 1.0], n),
}


@pytest.mark.parametrize("ties", GOLDEN_COX)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("family", ROWS)
def test_cox_is_within_its_bound(family: str, dtype: str, ties: str) -> None:
    """Also with strata, and with some left out, for few and many ties."""
    rng = np.random.default_rng(len(family))
    eps = EPS32 if dtype == "float32" else EPS64
    for times in (3, 8, 1000):
        n = 13
        x = ROWS[family](rng, n).astype(dtype)
        y, event = rng.integers(times, size=n), rng.random(n) < 0.7
        event[0] = True
        groups, mask = rng.integers(2, size=n), rng.random(n) < 0.9
        mask[0] = True
        for more in ({}, {"segments": groups}, {"segments": groups, "mask": mask}):
            found, by_x = value_and_grad(tinyloss.cox_ph)(x, y, event, ties=ties, **more)
            given = (more.get("segments"), more.get("mask"))
            terms, slope, sizes = exact_cox(exactly(x), y, event, ties, *given)
            many = len(terms)
            size = mp.fsum(map(abs, terms)) / many
            assert off(found, [mp.fsum(terms) / many], [size], eps) <= VALUE, (times, list(more))
            slope, sizes = ([each / many for each in row] for row in (slope, sizes))
            assert off(by_x, slope, sizes, eps) <= SLOPE, (times, list(more))


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "breslow-strata-mask": {
        "ties": "breslow",
        "segments": np.array([[0, 0, 1, 1, 0, 1, 1], [3, 2, 2, 2, 3, 3, 2]]),
        "mask": np.array([[1, 1, 1, 1, 0, 1, 1], [1, 1, 1, 1, 1, 1, 0]], bool),
        "weight": np.array([2.0, 0.5]),
    },
    "one-row": {"where": np.array([False, True])},
    "each": {"reduction": "none"},
    "columns": {"axis": 0},
}
X = np.random.default_rng(0).normal(size=(2, 7))
T = np.array([[1, 2, 2, 3, 4, 4, 2], [3, 1, 1, 1, 2, 2, 3]])
D = np.array([[1, 1, 1, 0, 1, 1, 1], [0, 1, 1, 1, 1, 0, 0]])
on_options = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)


def cox_by_rows(x: Any, options: dict[str, Any]) -> tuple[list[Any], list[Any], list[Any]]:
    """Return the sums, the counts and the gradients of the sums of the rows of a call."""
    axis = options.get("axis", -1)
    arrays = [x, T, D, *(options.get(name) for name in ("segments", "mask"))]
    rows = [[None] * 7 if a is None else list(np.moveaxis(a, axis, -1)) for a in arrays]
    sums, counts, slopes = [], [], []
    for one, y, event, groups, mask in zip(*rows, strict=False):
        more = options.get("ties", "efron"), groups, mask
        terms, slope, _ = exact_cox(exactly(one), y, event, *more)
        sums.append(float(mp.fsum(terms)))
        counts.append(len(terms))
        slopes.append([float(each) for each in slope])
    return sums, counts, slopes


@on_options
def test_cox_on_every_library(options: dict[str, Any], xp: Library) -> None:
    dtype = xp.floats[-1]
    eps = float(np.finfo(dtype).eps)
    sums, counts, slopes = map(np.array, cox_by_rows(X.astype(dtype), options))
    weight = np.asarray(options.get("weight", 1.0)) * options.get("where", True)
    divisor = 1.0 if "reduction" in options else (weight * counts).sum()
    values = weight * sums / divisor
    value = values if "reduction" in options else values.sum()
    by_x = np.moveaxis((weight * slopes.T / divisor).T, -1, options.get("axis", -1))
    given = {
        name: xp.asarray(each, dtype if each.dtype.kind == "f" else None)
        if isinstance(each, np.ndarray)
        else each
        for name, each in options.items()
    }
    arrays = xp.asarray(X, dtype), xp.asarray(T), xp.asarray(D)
    found = xp.fetch(xp.call(value_and_grad(tinyloss.cox_ph), *arrays, **given))
    np.testing.assert_allclose(found[0], value, rtol=8 * eps, atol=8 * eps)
    np.testing.assert_allclose(found[1], by_x, rtol=8 * eps, atol=8 * eps)
    alone = xp.fetch(xp.call(tinyloss.cox_ph, *arrays, **given))
    np.testing.assert_array_equal(alone, found[0])


def numerical_hessian(options: dict[str, Any]) -> Any:
    step = 1e-5
    columns: list[Any] = []
    for place in range(X.size):
        move = step * (np.arange(X.size) == place).reshape(X.shape)
        up, down = (tinyloss.grad(tinyloss.cox_ph)(X + m, T, D, **options) for m in (move, -move))
        columns.append(((up - down) / (2 * step)).ravel())
    return np.array(columns)


@pytest.mark.long
@on_options
def test_jax_differentiates_cox_twice(options: dict[str, Any], jax: Any) -> None:
    def total(x: Any) -> Any:
        return tinyloss.cox_ph(x, T, D, **options).sum()

    expected = tinyloss.grad(tinyloss.cox_ph)(X, T, D, **options)
    np.testing.assert_allclose(jax.jit(jax.grad(total))(X), expected, rtol=0, atol=8 * EPS64)
    np.testing.assert_allclose(jax.jacfwd(total)(X), expected, rtol=0, atol=8 * EPS64)
    hessian = np.array(jax.hessian(total)(X)).reshape(X.size, X.size)
    np.testing.assert_allclose(hessian, numerical_hessian(options), rtol=0, atol=1e-9)


@on_options
def test_torch_differentiates_cox_twice(options: dict[str, Any], torch: Any) -> None:
    def total(x: Any) -> Any:
        return tinyloss.cox_ph(x, T, D, **options).sum()

    x = torch.asarray(X).requires_grad_()
    (slope,) = torch.autograd.grad(total(x), x)
    np.testing.assert_array_equal(slope, tinyloss.grad(tinyloss.cox_ph)(X, T, D, **options))
    hessian = torch.autograd.functional.hessian(total, torch.asarray(X))
    hessian = hessian.reshape(X.size, X.size)
    np.testing.assert_allclose(hessian, numerical_hessian(options), rtol=0, atol=1e-9)


def test_second_derivatives_of_equal_hazards(jax: Any, torch: Any) -> None:
    """Where all start from 0, a maximum has many places."""
    y, event = np.array([1, 2, 2, 3]), np.array([1, 1, 1, 1])
    share = {k: np.eye(4) / k - np.ones((4, 4)) / k**2 for k in (4, 3, 1)}
    at_risk = [np.arange(4) >= first for first in (0, 1, 1, 3)]
    expected = sum(share[int(mask.sum())] * np.outer(mask, mask) for mask in at_risk)

    def total(x: Any) -> Any:
        return tinyloss.cox_ph(x, y, event, ties="breslow", reduction="sum")

    by_jax = np.array(jax.hessian(total)(np.zeros(4)))
    np.testing.assert_allclose(by_jax, expected, rtol=0, atol=8 * EPS64)
    by_torch = torch.autograd.functional.hessian(total, torch.zeros(4, dtype=torch.float64))
    np.testing.assert_allclose(by_torch, expected, rtol=0, atol=8 * EPS64)


def test_vmap_maps_cohorts(jax: Any, torch: Any) -> None:
    expected = tinyloss.cox_ph(X, T, D, reduction="none") / D.sum(-1)
    np.testing.assert_allclose(jax.vmap(tinyloss.cox_ph)(X, T, D), expected, rtol=4 * EPS64)
    found = torch.vmap(tinyloss.cox_ph)(*map(torch.asarray, (X, T, D)))
    np.testing.assert_allclose(found, expected, rtol=4 * EPS64)
    same = torch.vmap(tinyloss.cox_ph, (0, None, None))(*map(torch.asarray, (X, T[0], D[0])))
    expected = [tinyloss.cox_ph(x, T[0], D[0]) for x in X]
    np.testing.assert_allclose(same, expected, rtol=4 * EPS64)


@pytest.mark.parametrize("ties", GOLDEN_COX)
def test_without_an_event_cox_is_0(ties: str, xp: Library) -> None:
    """Others divide 0 by 0 (lassonet#52), or take the logarithm of an empty sum."""
    x, y = xp.asarray(X[0]), xp.asarray(T[0])
    nobody, everybody = xp.asarray(np.zeros(7, int)), xp.asarray(np.ones(7, int))
    both = value_and_grad(tinyloss.cox_ph)
    none = xp.asarray(np.zeros(7, bool))
    for event, mask in ((nobody, None), (everybody, none)):
        value, by_x = xp.fetch(xp.call(both, x, y, event, mask=mask, ties=ties))
        assert value == 0
        np.testing.assert_array_equal(by_x, np.zeros(7))
    value, by_x = xp.fetch(xp.call(both, x[:1], y[:1], everybody[:1], ties=ties))
    assert value == 0
    np.testing.assert_array_equal(by_x, [0])


def test_a_cohort_without_events_does_not_count() -> None:
    event = np.stack([D[0], 0 * D[0]])
    found = tinyloss.cox_ph(X, T, event)
    assert found == pytest.approx(tinyloss.cox_ph(X[0], T[0], D[0]), rel=8 * EPS64)


def test_seconds_are_compared_as_integers() -> None:
    """Rounded to float32, times of this century would be one in two minutes."""
    x = np.array([0.5, 0.0, -0.5], np.float32)
    seconds, event = 1_700_000_000 + np.arange(3), np.array([1, 1, 0])
    found = tinyloss.cox_ph(x, seconds, event)
    assert found == tinyloss.cox_ph(x, np.arange(3), event)
    assert found.dtype == np.float32
    fine = np.array([1.0, 1 + EPS64, 2.0])  # and those of float64 as such, beside float32
    assert tinyloss.cox_ph(x, fine, event) == found


def test_events_come_before_who_leaves_at_the_same_time() -> None:
    x, event = np.array([0.0, 1.0]), np.array([1, 0])
    found = tinyloss.cox_ph(x, np.array([1.0, 1.0]), event)
    assert found == pytest.approx(log(1 + np.e), rel=4 * EPS64)


def test_who_is_left_out_may_be_nan() -> None:
    x, mask = X[0].copy(), np.arange(7) != 4
    expected = value_and_grad(tinyloss.cox_ph)(x, T[0], D[0], mask=mask)
    x[4] = np.nan
    value, by_x = value_and_grad(tinyloss.cox_ph)(x, T[0], D[0], mask=mask)
    assert value == expected[0]
    np.testing.assert_array_equal(by_x, expected[1])
    assert by_x[4] == 0
    kept = tinyloss.cox_ph(np.delete(x, 4), np.delete(T[0], 4), np.delete(D[0], 4))
    assert value == pytest.approx(kept, rel=8 * EPS64)


@pytest.mark.parametrize("wrong", ["time", "event"])
def test_a_time_or_event_that_says_nothing_gives_nan(wrong: str) -> None:
    """Statuses of 1 and 2, as R's tables have them, would make an event of everybody."""
    times, event, mask = T[0].astype(float), D[0].astype(float), np.arange(7) != 4
    (times if wrong == "time" else event)[4] = np.nan if wrong == "time" else 2
    assert np.isnan(tinyloss.cox_ph(X[0], times, event))
    expected = tinyloss.cox_ph(X[0], T[0], D[0], mask=mask)
    assert tinyloss.cox_ph(X[0], times, event, mask=mask) == expected


def test_no_hazard_overflows() -> None:
    """Sums of exponentials less one maximum of all lose who is far below it."""
    x = np.array([1e4, 0.0, -1e4, -1e4 + 1])
    value, by_x = value_and_grad(tinyloss.cox_ph)(x, np.arange(4), np.ones(4), reduction="sum")
    assert value == pytest.approx(log(1 + np.e), rel=4 * EPS64)
    share = 1 / (1 + np.exp(-1.0))
    np.testing.assert_allclose(by_x, [0, 0, -share, share], rtol=4 * EPS64)


def test_halves_are_computed_in_float32(xp: Library) -> None:
    for name in sorted({"float16", "bfloat16"} & {*xp.halves}):
        x = xp.asarray(X, name)
        value, by_x = xp.call(value_and_grad(tinyloss.cox_ph), x, xp.asarray(T), xp.asarray(D))
        host = xp.numpy(x)
        expected = value_and_grad(tinyloss.cox_ph)(host, T, D)
        np.testing.assert_allclose(xp.numpy(value), expected[0], rtol=8 * EPS32)
        half = 2.0 ** (-11 if name == "float16" else -8)
        np.testing.assert_allclose(xp.numpy(by_x), expected[1], rtol=half, atol=1e-7)
        assert str(by_x.dtype).endswith(name)


def test_the_object_is_the_function() -> None:
    loss = tinyloss.CoxPHLoss(ties="breslow")
    assert loss(X, T, D) == tinyloss.cox_ph(X, T, D, ties="breslow")
    doubled = (2 * loss).value_and_grad(X, T, D)
    value, by_x = value_and_grad(tinyloss.cox_ph)(X, T, D, ties="breslow")
    assert doubled[0] == 2 * value
    np.testing.assert_array_equal(doubled[1], 2 * by_x)


def test_what_cox_refuses() -> None:
    event = D[0]
    cox, derived = anyloss.cox_ph, anyloss
    wrong: dict[str, Callable[[], Any]] = {
        r"y has shape \(1,\)": lambda: cox(X[0], T[0, :1], event),
        r"event has shape \(3,\)": lambda: cox(X[0], T[0], event[:3]),
        r"segments has shape \(3,\)": lambda: cox(X[0], T[0], event, segments=event[:3]),
        r"weight has shape \(7,\)": lambda: cox(X[0], T[0], event, weight=X[0]),
        "axis is 2": lambda: cox(X[0], T[0], event, axis=2),
        "'efron' or 'breslow'": lambda: cox(X[0], T[0], event, ties="no"),
    }
    for message, call in wrong.items():
        with pytest.raises(ValueError, match=message):
            call()
    impossible: dict[str, Callable[[], Any]] = {
        "no derivative by y": lambda: derived.grad(cox, 1)(X[0], T[0], event),
        "no curvature": lambda: derived.grad_and_hess(cox)(X[0], T[0], event),
        "product with its Hessian": lambda: derived.hvp(cox)(X[0], T[0], event, direction=X[0]),
    }
    for message, call in impossible.items():
        with pytest.raises(TypeError, match=f"tinyloss.cox_ph: .*{message}"):
            call()


@pytest.mark.parametrize("length", [*range(1, 18), 1000])
def test_running_sums_of_any_length(length: int) -> None:
    """Sequences joined as words, which shows every order that is wrong."""
    row = np.array([chr(97 + n % 26) for n in range(length)], object)
    (found,) = running(lambda one, other: [one[0] + other[0]], [row])
    word = "".join(row)
    assert list(found) == [word[: n + 1] for n in range(length)]


@pytest.mark.parametrize("backwards", [False, True])
def test_running_sums_stay_in_their_groups(backwards: bool) -> None:
    rng = np.random.default_rng(0)
    keys, row = np.sort(rng.integers(5, size=(3, 20)), axis=-1), rng.normal(size=(3, 20))
    groups = Groups.of(keys)
    (found,) = running(joined_numbers, [row], groups, backwards=backwards)
    first, last = groups.bounds()
    for r, k in np.ndindex(row.shape):
        mates = [n for n in range(20) if keys[r, n] == keys[r, k]]
        assert (first[r, k], last[r, k]) == (mates[0], mates[-1])
        part = row[r, k : mates[-1] + 1] if backwards else row[r, mates[0] : k + 1]
        assert found[r, k] == pytest.approx(part.sum(), rel=0, abs=32 * EPS64)


def test_orders_keep_ties_in_place() -> None:
    one, other = np.array([1, 0, 1, 0, 1, 0]), np.array([2, 1, 2, 1, 1, 1])
    order = Order(one, other)
    row = np.arange(6)
    assert order.of(row).tolist() == [1, 3, 5, 4, 0, 2]
    assert order.back(order.of(row)).tolist() == row.tolist()


# ----------------------------------------------------------------------------- listmle

GOLDEN_LISTS = {
    "rax": (
        [0, 3, 1, 2],
        [0, 0, 1, 1],
        "6.8377892669031237747",
        [-0.88539649658300851, 2.3018728994086467, -0.91285568125796743, -0.50362072156767075],
    ),
    "five": (
        [0.5, -1.25, 2, 0.25, 1.125],
        [1, 0, 2, 0, 1],
        "4.0704642306781395175",
        [
            -0.61783061631944691,
            -0.68955935773491992,
            -0.46020068594063716,
            1.3912984334281385,
            0.3762922265668655,
        ],
    ),
    "allRank": (
        [0.5, 0.3],
        [1, 0],
        "0.59813886938159183968",
        [-0.45016600268752209, 0.45016600268752209],
    ),
}


@pytest.mark.parametrize("case", GOLDEN_LISTS)
def test_listmle_has_its_golden_values_on_every_library(case: str, xp: Library) -> None:
    x, y, value, slope = GOLDEN_LISTS[case]
    dtype = xp.floats[-1]
    eps = float(np.finfo(dtype).eps)
    both = value_and_grad(tinyloss.listmle)
    # x of the first two is exact in every dtype
    x = np.array(x, dtype)
    found = xp.fetch(xp.call(both, xp.asarray(x, dtype), xp.asarray(np.array(y))))
    np.testing.assert_allclose(found[0], float(value), rtol=4 * eps)
    np.testing.assert_allclose(found[1], slope, rtol=0, atol=8 * eps)


def exact_listmle(x: list[Any], y: Any, mask: Any) -> tuple[Any, list[Any], list[Any]]:
    """Return the loss of a list, its gradient, and the sizes of the gradient's terms."""
    members = [k for k in range(len(x)) if mask[k]]
    left = sorted(members, key=lambda k: -y[k])  # Python's sort keeps ties in place
    total, slope, size = mp.mpf(0), [mp.mpf(0)] * len(x), [mp.mpf(0)] * len(x)
    while left:
        parts = {k: mp.exp(x[k]) for k in left}
        whole = mp.fsum(parts.values())
        total += mp.log(whole) - x[left[0]]
        for k, part in parts.items():
            others = mp.fsum(each for other, each in parts.items() if other != k)
            slope[k] += -others / whole if k == left[0] else part / whole
            size[k] += others / whole if k == left[0] else part / whole
        left.pop(0)
    return total, slope, size


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("family", ROWS)
def test_listmle_is_within_its_bound(family: str, dtype: str) -> None:
    eps = EPS32 if dtype == "float32" else EPS64
    for seed in range(4):
        rng = np.random.default_rng(seed)
        x, y = ROWS[family](rng, 13).astype(dtype), rng.integers(4, size=13)
        mask = rng.random(13) < (0.7 if seed % 2 else 2)
        found, by_x = value_and_grad(tinyloss.listmle)(x, y, mask=mask)
        total, slope, size = exact_listmle(exactly(x), y, mask)
        assert off(found, [total], [total], eps) <= VALUE
        assert off(by_x, slope, size, eps) <= SLOPE


def test_listmle_on_every_library(xp: Library) -> None:
    dtype = xp.floats[-1]
    eps = float(np.finfo(dtype).eps)
    y = np.array([[0, 1, 1, 0, 2, 3, 2], [5, 4, 4, 4, 0, 0, 1]])
    mask, weight = np.array(OPTIONS["breslow-strata-mask"]["mask"]), np.array([2.0, 0.5])
    exact = [exact_listmle(exactly(x.astype(dtype)), *o) for x, *o in zip(X, y, mask, strict=True)]
    arrays = xp.asarray(X, dtype), xp.asarray(y)
    given = {"mask": xp.asarray(mask), "weight": xp.asarray(weight, dtype)}
    both = value_and_grad(tinyloss.listmle)
    value, by_x = xp.fetch(xp.call(both, *arrays, **given))
    expected = float(weight @ [float(each[0]) for each in exact]) / 2.5
    np.testing.assert_allclose(value, expected, rtol=8 * eps)
    slopes = [[float(each) for each in row[1]] for row in exact]
    np.testing.assert_allclose(by_x, weight[:, None] * slopes / 2.5, rtol=0, atol=8 * eps)
    # the lists along another axis
    turned = {"mask": xp.asarray(mask.T), "weight": given["weight"], "axis": 0}
    found = xp.fetch(xp.call(both, xp.asarray(X.T, dtype), xp.asarray(y.T), **turned))
    np.testing.assert_allclose(found[0], value, rtol=2 * eps)
    np.testing.assert_allclose(found[1].T, by_x, rtol=0, atol=2 * eps)


def test_listmle_of_raxs_extreme_scores(xp: Library) -> None:
    """A maximum of all of them, taken off all, leaves the logarithm of 0 for the others."""
    x = xp.asarray(np.array([0.0, -2.1e26, 3.4e37, 42.0]), "float32")
    both = value_and_grad(tinyloss.listmle)
    value, by_x = xp.fetch(xp.call(both, x, xp.asarray(np.array([0, 1, 1, 0]))))
    np.testing.assert_allclose(value, 3.4e37 + 42.0, rtol=EPS32)
    np.testing.assert_array_equal(by_x, [-1, -1, 1, 1])


def test_listmle_is_the_same_each_time_for_alike_items() -> None:
    """Others shuffle them, by a key or always."""
    x, y = X[0], np.zeros(7)
    expected = exact_listmle(exactly(x), -np.arange(7), np.ones(7))[0]
    assert tinyloss.listmle(x, y) == pytest.approx(float(expected), rel=4 * EPS64)


def test_listmle_is_differentiated_twice(jax: Any, torch: Any) -> None:
    y, mask = np.array([0, 1, 1, 0, 2, 3, 2]), np.arange(7) != 3
    step, columns = 1e-5, []
    for place in range(7):
        move = step * (np.arange(7) == place)
        up, down = (tinyloss.grad(tinyloss.listmle)(X[0] + m, y, mask=mask) for m in (move, -move))
        columns.append((up - down) / (2 * step))

    def total(x: Any) -> Any:
        return tinyloss.listmle(x, y, mask=mask)

    np.testing.assert_allclose(jax.hessian(total)(X[0]), columns, rtol=0, atol=1e-9)
    hessian = torch.autograd.functional.hessian(total, torch.asarray(X[0]))
    np.testing.assert_allclose(hessian, columns, rtol=0, atol=1e-9)


def test_a_list_of_one_or_of_none_is_0() -> None:
    for mask in (np.arange(7) == 3, np.zeros(7, bool)):
        value, by_x = value_and_grad(tinyloss.listmle)(X[0], T[0], mask=mask)
        assert value == 0
        np.testing.assert_array_equal(by_x, np.zeros(7))


# ---------------------------------------------------------------------- unique_softmax

GOLDEN_UNIQUE: dict[str, tuple[list[float], list[int], str, list[float]]] = {
    "rax": (
        [0, 3, 1, 2],
        [0, 0, 1, 1],
        "3.5188582363244720342",
        [0.077129093093405775, 1.5491792471795806, -0.88580480061540552, -0.74050353965758088],
    ),
    "five": (
        [0.5, -1.25, 2, 0.25, 1.125],
        [1, 0, 2, 0, 1],
        "2.9308502869058877444",
        [
            -0.12651918627440681,
            0.21339224311992786,
            -1.3806020578219115,
            0.95635768368550381,
            0.3373713172908866,
        ],
    ),
}


@pytest.mark.parametrize("case", GOLDEN_UNIQUE)
def test_unique_softmax_has_its_golden_values_on_every_library(case: str, xp: Library) -> None:
    x, y, value, slope = GOLDEN_UNIQUE[case]
    dtype = xp.floats[-1]
    eps = float(np.finfo(dtype).eps)
    arrays = xp.asarray(np.array(x, dtype), dtype), xp.asarray(np.array(y))
    found = xp.fetch(xp.call(value_and_grad(tinyloss.unique_softmax), *arrays))
    np.testing.assert_allclose(found[0], float(value), rtol=8 * eps)
    np.testing.assert_allclose(found[1], slope, rtol=0, atol=16 * eps)


def exact_unique(
    x: list[Any], y: Any, weight: Any, mask: Any, gain: str
) -> tuple[Any, list[Any], list[Any], Any, list[Any]]:
    """Return the loss of a list, its gradients by x and y, and the sizes of loss and gradient."""
    members = [k for k in range(len(x)) if mask[k]]
    total = scale = mp.mpf(0)
    by_x, by_y, size = ([mp.mpf(0)] * len(x) for _ in range(3))
    for i in members:
        label, times = mp.mpf(float(y[i])), mp.mpf(float(weight[i]))
        step = 2**label if gain == "exponential" else label
        worth, slope = (step - 1, mp.log(2) * step) if gain == "exponential" else (label, 1)
        rounded = times * (step + 1)
        parts = {k: mp.exp(x[k]) for k in members if k == i or y[k] < y[i]}
        whole = mp.fsum(parts.values())
        each = mp.log1p(mp.fsum(mp.exp(x[k] - x[i]) for k in parts if k != i))
        total, scale = total + times * worth * each, scale + rounded * each
        by_y[i] = times * slope * each
        others = mp.fsum(part for k, part in parts.items() if k != i) / whole
        by_x[i] -= times * worth * others
        size[i] += rounded * others
        for k, part in parts.items():
            if k != i:
                by_x[k] += times * worth * part / whole
                size[k] += rounded * part / whole
    return total, by_x, by_y, scale, size


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("family", ROWS)
def test_unique_softmax_is_within_its_bound(family: str, dtype: str) -> None:
    eps = EPS32 if dtype == "float32" else EPS64
    both = value_and_grad(tinyloss.unique_softmax, (0, 1))
    for seed in range(6):
        rng = np.random.default_rng(seed)
        x, y = ROWS[family](rng, 13).astype(dtype), rng.integers(4, size=13).astype(dtype)
        y = y + rng.random(13).astype(dtype) if seed == 4 else y
        weight = rng.integers(0, 3, size=13).astype(dtype) if seed == 5 else np.ones(13, dtype)
        mask = rng.random(13) < (0.7 if seed % 2 else 2)
        gain = "linear" if seed == 3 else "exponential"
        found, (by_x, by_y) = both(x, y, mask=mask, member_weight=weight, gain=gain)
        total, slope, labels, scale, size = exact_unique(exactly(x), y, weight, mask, gain)
        assert off(found, [total], [scale], eps) <= 8
        assert off(by_x, slope, size, eps) <= 10
        assert off(by_y, labels, labels, eps) <= 10


def test_unique_softmax_on_every_library(xp: Library) -> None:
    dtype = xp.floats[-1]
    eps = float(np.finfo(dtype).eps)
    y = np.array([[0, 1, 1, 0, 2, 3, 2], [5, 4, 4, 4, 0, 0, 1]])
    mask, weight = np.array(OPTIONS["breslow-strata-mask"]["mask"]), np.array([2.0, 0.5])
    exact = [
        exact_unique(exactly(x.astype(dtype)), labels, np.ones(7), there, "linear")
        for x, labels, there in zip(X, y, mask, strict=True)
    ]
    arrays = xp.asarray(X, dtype), xp.asarray(y)
    given = {"mask": xp.asarray(mask), "weight": xp.asarray(weight, dtype)}
    both = value_and_grad(tinyloss.unique_softmax)
    value, by_x = xp.fetch(xp.call(both, *arrays, **given, gain="linear"))
    expected = float(weight @ [float(each[0]) for each in exact]) / 2.5
    np.testing.assert_allclose(value, expected, rtol=8 * eps)
    slopes = [[float(each) for each in row[1]] for row in exact]
    np.testing.assert_allclose(by_x, weight[:, None] * slopes / 2.5, rtol=0, atol=32 * eps)
    turned = {"mask": xp.asarray(mask.T), "weight": given["weight"], "axis": 0, "gain": "linear"}
    found = xp.fetch(xp.call(both, xp.asarray(X.T, dtype), xp.asarray(y.T), **turned))
    np.testing.assert_allclose(found[0], value, rtol=2 * eps)
    np.testing.assert_allclose(found[1].T, by_x, rtol=0, atol=8 * eps)


def test_unique_softmax_of_one_label_or_one_item_is_0() -> None:
    both = value_and_grad(tinyloss.unique_softmax)
    for y, mask in ((np.ones(7), None), (T[0], np.arange(7) == 3), (T[0], np.zeros(7, bool))):
        value, by_x = both(X[0], y, mask=mask)
        assert value == 0
        np.testing.assert_array_equal(by_x, np.zeros(7))


def test_padding_of_unique_softmax_changes_no_number() -> None:
    both = value_and_grad(tinyloss.unique_softmax, (0, 1))
    value, slopes = both(X[0], T[0])
    mask = np.arange(10) < 7
    for filler in (0.0, 1e30, np.nan, np.inf):
        padded = [np.concatenate([each, np.full(3, filler)]) for each in (X[0], T[0])]
        found, longer = both(*padded, mask=mask)
        assert found == pytest.approx(value, rel=4 * EPS64)
        for slope, each in zip(slopes, longer, strict=True):
            np.testing.assert_allclose(each[:7], slope, rtol=0, atol=16 * EPS64)
            np.testing.assert_array_equal(each[7:], np.zeros(3))


@pytest.mark.long
def test_unique_softmax_is_differentiated_twice(jax: Any, torch: Any) -> None:
    y, mask = np.array([0, 1, 1, 0, 2, 3, 2]), np.arange(7) != 3
    step, columns = 1e-5, []
    slope = tinyloss.grad(tinyloss.unique_softmax)
    for place in range(7):
        move = step * (np.arange(7) == place)
        up, down = (slope(X[0] + m, y, mask=mask) for m in (move, -move))
        columns.append((up - down) / (2 * step))

    def total(x: Any) -> Any:
        return tinyloss.unique_softmax(x, y, mask=mask)

    np.testing.assert_allclose(jax.hessian(total)(X[0]), columns, rtol=0, atol=1e-9)
    hessian = torch.autograd.functional.hessian(total, torch.asarray(X[0]))
    np.testing.assert_allclose(hessian, columns, rtol=0, atol=1e-9)


# ----------------------------------------------------------------------------- lovasz

IMAGES, CLASSES, PIXELS = 2, 3, (3, 4)
LOGITS = np.random.default_rng(1).normal(size=(IMAGES, CLASSES, *PIXELS))
LABELS = np.random.default_rng(2).integers(0, 2, (IMAGES, *PIXELS))  # none of the last class
HIDDEN = np.random.default_rng(3).random((IMAGES, 1, *PIXELS)) < 0.8


def jaccards(inside: Sequence[bool]) -> list[Any]:
    """Return the Jaccard loss where the first k pixels are wrong, by sets."""
    region = {n for n, each in enumerate(inside) if each}
    found: list[Any] = []
    for wrong in range(len(inside) + 1):
        predicted = {n for n in range(len(inside)) if (n in region) != (n < wrong)}
        both, either = len(region & predicted), len(region | predicted)
        found.append(mp.mpf(either - both) / either if either else mp.mpf(0))
    return found


def exact_lovasz(errors: list[Any], inside: Any) -> tuple[Any, list[Any]]:
    """Return the sum and what each error is multiplied by; errors of one size in their places."""
    order = sorted(range(len(errors)), key=lambda k: -errors[k])
    costs = jaccards([bool(inside[k]) for k in order])
    factors = [mp.mpf(0)] * len(errors)
    for place, k in enumerate(order):
        factors[k] = costs[place + 1] - costs[place]
    return mp.fsum(f * max(e, 0) for f, e in zip(factors, errors, strict=True)), factors


def exact_lovasz_hinge(x: Any, y: Any, mask: Any) -> tuple[Any, list[Any]]:
    kept = [k for k in range(len(x)) if mask[k]]
    exact = exactly(x)
    errors = [1 - exact[k] if y[k] else 1 + exact[k] for k in kept]
    total, factors = exact_lovasz(errors, [y[k] for k in kept])
    slope = [mp.mpf(0)] * len(x)
    for k, factor, error in zip(kept, factors, errors, strict=True):
        slope[k] = (-factor if y[k] else factor) if error > 0 else mp.mpf(0)
    return total, slope


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_lovasz_hinge_is_within_its_bound(dtype: str) -> None:
    eps = EPS32 if dtype == "float32" else EPS64
    for seed in range(40):
        rng = np.random.default_rng(seed)
        x = (rng.normal(size=13) * [0.1, 1, 10, 1e3][seed % 4]).astype(dtype)
        x = np.round(x * 8) / 8 if seed % 4 < 2 else x  # with ties
        y, mask = rng.random(13) < [0.5, 0.1, 0, 1][seed % 3], rng.random(13) < 0.9
        found, by_x = value_and_grad(tinyloss.lovasz_hinge)(x, y, mask=mask)
        total, slope = exact_lovasz_hinge(x, y, mask)
        sizes = [mp.fsum(abs(s) * (1 + abs(e)) for s, e in zip(slope, exactly(x), strict=True))]
        assert off(found, [total], sizes, eps) <= 4
        assert off(by_x, slope, slope, eps) <= 4


def test_lovasz_hinge_has_its_golden_values_on_every_library(xp: Library) -> None:
    dtype = xp.floats[-1]
    eps = float(np.finfo(dtype).eps)
    x = xp.asarray(np.array([1.5, -0.5, -1, 0.25]), dtype)
    both = value_and_grad(tinyloss.lovasz_hinge)
    for y in (np.array([1, 0, 1, 1]), np.array([True, False, True, True])):
        value, by_x = xp.fetch(xp.call(both, x, xp.asarray(y)))
        np.testing.assert_allclose(value, 0.95833333333333333333, rtol=2 * eps)
        np.testing.assert_allclose(by_x, [0, 1 / 12, -1 / 3, -1 / 3], rtol=2 * eps)


def exact_lovasz_softmax(
    p: Any, y: Any, counts: Any, present: bool = True
) -> tuple[list[Any], list[Any]]:
    """Return the losses of the classes of images that count, and the factors of all pixels."""
    sums: list[Any] = []
    factors: list[Any] = []
    for image, target, kept in zip(p, y, counts, strict=True):
        for c, row in enumerate(image):
            pixels = [k for k in np.ndindex(target.shape) if kept[k]]
            inside = [target[k] == c for k in pixels]
            errors = [1 - row[k] if i else row[k] for k, i in zip(pixels, inside, strict=True)]
            total, known = exact_lovasz(errors, inside)
            slopes = np.zeros(target.shape)
            for k, i, each in zip(pixels, inside, known, strict=True):
                slopes[k] = float(-each if i else each)
            counted = any(inside) or not present
            sums += [total] if counted else []
            factors.append(slopes * counted)
    return sums, factors


@pytest.mark.parametrize("present", [True, False])
def test_lovasz_softmax_on_every_library(present: bool, xp: Library) -> None:
    """By class indices and by ones, by probabilities and by logits, with hidden pixels."""
    dtype = xp.floats[-1]
    eps = float(np.finfo(dtype).eps)
    logits = LOGITS.astype(dtype)
    shares = np.exp(np.float64(logits))
    shares /= shares.sum(1, keepdims=True)
    sums, factors = exact_lovasz_softmax(shares, LABELS, HIDDEN[:, 0], present)
    slopes = np.reshape(factors, LOGITS.shape) / len(sums)
    by_logits = shares * (slopes - (shares * slopes).sum(1, keepdims=True))
    both = value_and_grad(tinyloss.lovasz_softmax)
    given = {"axis": (-2, -1), "mask": xp.asarray(HIDDEN), "present": present}
    ones = np.arange(CLASSES)[:, None, None] == LABELS[:, None]
    for y in (LABELS, ones):
        for x, slope, more in (
            (shares, slopes, {}),
            (logits, by_logits, {"from_logits": "softmax"}),
        ):
            arrays = xp.asarray(x, dtype), xp.asarray(y)
            value, by_x = xp.fetch(xp.call(both, *arrays, **given, **more))
            np.testing.assert_allclose(value, float(mp.fsum(sums) / len(sums)), rtol=8 * eps)
            np.testing.assert_allclose(by_x, slope, rtol=0, atol=8 * eps)


def test_lovasz_of_a_batch_as_one_image() -> None:
    found = tinyloss.lovasz_softmax(LOGITS, LABELS, axis=(0, -2, -1), from_logits="softmax")
    one, labels = np.moveaxis(LOGITS, 1, 0).reshape(CLASSES, -1), LABELS.ravel()
    expected = tinyloss.lovasz_softmax(one, labels, class_axis=0, from_logits="softmax")
    assert found == pytest.approx(float(expected), rel=4 * EPS64)


def test_pixels_that_are_left_out_are_not_in_a_mean() -> None:
    """Others divide by all pixels, or keep a class that is nowhere in the mean."""
    hidden = np.where(HIDDEN[:, 0], LABELS, 255)
    given: dict[str, Any] = {"axis": (-2, -1), "from_logits": "softmax"}
    both = value_and_grad(tinyloss.lovasz_softmax)
    value, by_x = both(LOGITS, hidden, ignore_index=255, **given)
    expected = both(LOGITS, LABELS, mask=HIDDEN, **given)
    assert value == expected[0]
    np.testing.assert_array_equal(by_x, expected[1])
    nan = np.where(HIDDEN, LOGITS, np.nan)
    value, by_x = both(nan, hidden, ignore_index=255, **given)
    assert value == expected[0]
    np.testing.assert_array_equal(by_x, expected[1])
    none = both(LOGITS, 0 * LABELS + 255, ignore_index=255, **given)
    assert none[0] == 0
    np.testing.assert_array_equal(none[1], np.zeros_like(LOGITS))


def test_false_positives_on_an_empty_image_are_not_free() -> None:
    """Of one region, by the hinge; and of classes with present=False."""
    x, y = np.array([1.0, 3.0, -2.0]), np.zeros(3, int)
    value, by_x = value_and_grad(tinyloss.lovasz_hinge)(x, y)
    assert value == 4
    np.testing.assert_array_equal(by_x, [0, 1, 0])
    found = tinyloss.lovasz_softmax(np.array([[0.25, 0.75]]), np.array([[0, 0]]), present=False)
    assert found == 0.75
    assert tinyloss.lovasz_softmax(np.array([[0.25, 0.75]]), np.array([[0, 0]])) == 0


def test_a_label_that_is_no_class_of_lovasz() -> None:
    with pytest.raises(ValueError, match=r"lovasz_softmax: .* 3"):
        tinyloss.lovasz_softmax(LOGITS, LABELS + 2, axis=(-2, -1), from_logits="softmax")


def test_a_certain_prediction_keeps_its_digits() -> None:
    """Errors of 1e-9 by logits: of float32's 1 - p nothing would be left."""
    logits = np.array([[20.0, -20.0], [-20.0, 20.0]], np.float32)
    value, by_x = value_and_grad(tinyloss.lovasz_softmax)(
        logits, np.array([0, 1]), class_axis=0, from_logits="softmax"
    )
    tiny = float(1 / (1 + mp.exp(40)))
    np.testing.assert_allclose(value, tiny, rtol=8 * EPS32)
    share = tiny * np.array([0.75, 0.25])  # the first pixel costs each class more
    np.testing.assert_allclose(by_x, [-share, share] * np.array([1, -1]), rtol=8 * EPS32)


def test_lovasz_by_the_libraries_own_derivatives(jax: Any, torch: Any) -> None:
    given: dict[str, Any] = {"axis": (-2, -1), "from_logits": "softmax", "mask": HIDDEN}
    expected = tinyloss.grad(tinyloss.lovasz_softmax)(LOGITS, LABELS, **given)

    def total(x: Any) -> Any:
        return tinyloss.lovasz_softmax(x, LABELS, **given)

    np.testing.assert_allclose(jax.jit(jax.grad(total))(LOGITS), expected, rtol=0, atol=8 * EPS64)
    x = torch.asarray(LOGITS).requires_grad_()
    (slope,) = torch.autograd.grad(total(x), x)
    np.testing.assert_allclose(slope, expected, rtol=0, atol=8 * EPS64)


# ---------------------------------------------------------------------- crps_ensemble


def exact_crps(x: list[Any], y: Any, fair: bool) -> tuple[Any, list[Any]]:
    """Return the score and its gradient, over all pairs."""
    many = len(x)
    pairs = 2 * many * (many - 1 if fair else many)
    near = mp.fsum(abs(each - y) for each in x) / many
    apart = mp.fsum(abs(a - b) for a in x for b in x) / pairs
    slope = [
        mp.sign(each - y) / many - mp.fsum(2 * mp.sign(each - other) for other in x) / pairs
        for each in x
    ]
    return near - apart, slope


@pytest.mark.parametrize("fair", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("family", [*ROWS, "on_the_target", "far_from_the_target"])
def test_crps_is_within_its_bound(family: str, dtype: str, fair: bool) -> None:
    eps = EPS32 if dtype == "float32" else EPS64
    for seed in range(8):
        rng = np.random.default_rng(seed)
        x = ROWS.get(family, ROWS["normal"])(rng, 13).astype(dtype)
        y = np.asarray(x[0] * rng.choice([0, 1, 0.5, -1]), dtype)
        x = np.round(2 * x) / 2 if family == "on_the_target" else x
        y = np.asarray(1e6, dtype) if family == "far_from_the_target" else y
        found, by_x = value_and_grad(tinyloss.crps_ensemble)(x, y, fair=fair)
        total, slope = exact_crps(exactly(x), mp.mpf(float(y)), fair)
        assert off(found, [total], [total], eps) <= 4
        assert off(by_x, slope, slope, eps) <= 4


def test_crps_on_every_library(xp: Library) -> None:
    dtype = xp.floats[-1]
    eps = float(np.finfo(dtype).eps)
    x, y, weight = X.astype(dtype), np.array([0.25, -3.0]), np.array([2.0, 0.5])
    both = value_and_grad(tinyloss.crps_ensemble)
    for fair in (False, True):
        rows = [exact_crps(exactly(r), mp.mpf(float(t)), fair) for r, t in zip(x, y, strict=True)]
        value = float(weight @ [float(row[0]) for row in rows]) / 2.5
        slope = weight[:, None] * [[float(each) for each in row[1]] for row in rows] / 2.5
        for axis in (-1, 0):
            turned = x if axis == -1 else x.T
            arrays = xp.asarray(turned, dtype), xp.asarray(y, dtype)
            given = {"weight": xp.asarray(weight, dtype), "fair": fair, "axis": axis}
            found, by_x = xp.fetch(xp.call(both, *arrays, **given))
            np.testing.assert_allclose(found, value, rtol=4 * eps)
            by_x = by_x if axis == -1 else by_x.T
            np.testing.assert_allclose(by_x, slope, rtol=4 * eps, atol=eps / 8)


def test_crps_of_one_member_is_its_distance() -> None:
    value, by_x = value_and_grad(tinyloss.crps_ensemble)(np.array([3.0]), np.array(1.0))
    assert (value, by_x.tolist()) == (2.0, [1.0])


def test_crps_keeps_its_digits_where_the_ensemble_is_tight() -> None:
    """Two means of distances that are taken from each other would leave few."""
    x, y = np.array([1e6, 1e6 + 1, 1e6 + 2], np.float32), np.float32(0)
    found = tinyloss.crps_ensemble(x, y)
    total, _ = exact_crps(exactly(x), mp.mpf(0), False)
    assert off(found, [total], [total], EPS32) <= 2


def test_crps_by_the_libraries_own_derivatives(jax: Any, torch: Any) -> None:
    y = np.array([0.25, -3.0])
    expected = tinyloss.grad(tinyloss.crps_ensemble)(X, y)

    def total(x: Any, y: Any) -> Any:
        return tinyloss.crps_ensemble(x, y)

    by_x, by_y = jax.jit(jax.grad(total, (0, 1)))(X, y)
    np.testing.assert_allclose(by_x, expected, rtol=0, atol=2 * EPS64)
    np.testing.assert_allclose(by_y, -expected.sum(-1), rtol=0, atol=8 * EPS64)
    x, t = (torch.asarray(each).requires_grad_() for each in (X, y))
    by_x, by_y = torch.autograd.grad(total(x, t), (x, t))
    np.testing.assert_allclose(by_x, expected, rtol=0, atol=2 * EPS64)
    np.testing.assert_allclose(by_y, -expected.sum(-1), rtol=0, atol=8 * EPS64)


def test_what_crps_refuses() -> None:
    with pytest.raises(ValueError, match=r"y has shape \(2, 7\), expected \(2,\)"):
        tinyloss.crps_ensemble(X, X)
    with pytest.raises(ValueError, match="fair is True beside one member, expected two or more"):
        tinyloss.crps_ensemble(X[:, :1], X[:, 0], fair=True)


# ---------------------------------------------------------------------- fenchel_young

SPARSE = ["sparsemax", "entmax15"]
on_sparse = pytest.mark.parametrize("activation", SPARSE)


def exact_fenchel_young(x: list[Any], y: list[Any], activation: str) -> tuple[Any, list[Any]]:
    """Return the loss and its gradient, by the definition; the threshold by bisection."""
    power, half = (1, 1) if activation == "sparsemax" else (2, mp.mpf(1) / 2)
    z = [half * each for each in x]

    def shares(tau: Any) -> list[Any]:
        return [max(each - tau, 0) ** power for each in z]

    low, high = max(z) - 1, max(z)
    for _ in range(340):
        tau = (low + high) / 2
        low, high = (tau, high) if mp.fsum(shares(tau)) > 1 else (low, tau)
    p = shares(low)

    def entropy(p: list[Any]) -> Any:
        if activation == "sparsemax":
            return mp.fsum(each * each for each in p) / 2
        return 4 * mp.fsum(each ** mp.mpf(1.5) - each for each in p) / 3

    along = mp.fsum((a - b) * each for a, b, each in zip(p, y, x, strict=True))
    return along - entropy(p) + entropy(y), [a - b for a, b in zip(p, y, strict=True)]


@on_sparse
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("spread", [1e-6, 0.1, 0.5, 1.0, 3.0, 100.0])
def test_fenchel_young_is_within_its_bound(spread: float, dtype: str, activation: str) -> None:
    eps = EPS32 if dtype == "float32" else EPS64
    for seed in range(6):
        rng = np.random.default_rng(seed)
        x = (rng.normal(size=13) * spread).astype(dtype)
        label = int(np.argmax(x)) if seed % 2 else 3
        soft = np.where(np.arange(13) == 1, 0.75, np.where(np.arange(13) == 5, 0.25, 0.0))
        for y, target in ((np.array(label), np.arange(13) == label), (soft.astype(dtype), soft)):
            both = value_and_grad(tinyloss.fenchel_young)
            found, by_x = both(x, y, activation=activation)
            total, slope = exact_fenchel_young(exactly(x), exactly(target), activation)
            total = max(total, mp.mpf(0))  # of 110 digits
            assert off(found, [total], [total + mp.sqrt(total)], eps) <= 8
            assert off(by_x, slope, [1] * 13, eps) <= 8
            assert found >= 0


@on_sparse
def test_fenchel_young_on_every_library(activation: str, xp: Library) -> None:
    dtype = xp.floats[-1]
    eps = float(np.finfo(dtype).eps)
    x, y, weight = X.astype(dtype), np.array([2, 5]), np.array([2.0, 0.5])
    ones = (np.arange(7) == y[:, None]).astype(dtype)
    rows = [
        exact_fenchel_young(exactly(r), exactly(t), activation)
        for r, t in zip(x, ones, strict=True)
    ]
    value = float(weight @ [float(row[0]) for row in rows]) / 2.5
    slope = weight[:, None] * [[float(each) for each in row[1]] for row in rows] / 2.5
    both = value_and_grad(tinyloss.fenchel_young)
    given = {"weight": xp.asarray(weight, dtype), "activation": activation}
    for target in (xp.asarray(y), xp.asarray(ones, dtype)):
        found, by_x = xp.fetch(xp.call(both, xp.asarray(x, dtype), target, **given))
        np.testing.assert_allclose(found, value, rtol=8 * eps)
        np.testing.assert_allclose(by_x, slope, rtol=0, atol=8 * eps)


@pytest.mark.long
@on_sparse
def test_fenchel_young_by_the_libraries_own_derivatives(
    activation: str, jax: Any, torch: Any
) -> None:
    y = np.array([2, 5])
    expected = anyloss.grad(tinyloss.fenchel_young)(X, y, activation=activation)

    def total(x: Any) -> Any:
        return anyloss.fenchel_young(x, y, activation=activation)

    np.testing.assert_allclose(jax.jit(jax.grad(total))(X), expected, rtol=0, atol=4 * EPS64)
    step, columns = 1e-6, []
    for place in range(X.size):
        move = step * (np.arange(X.size) == place).reshape(X.shape)
        up, down = (
            anyloss.grad(tinyloss.fenchel_young)(X + m, y, activation=activation)
            for m in (move, -move)
        )
        columns.append(((up - down) / (2 * step)).ravel())
    hessian = np.array(jax.hessian(total)(X)).reshape(X.size, X.size)
    np.testing.assert_allclose(hessian, columns, rtol=0, atol=1e-8)
    by_torch = torch.autograd.functional.hessian(total, torch.asarray(X)).reshape(X.size, X.size)
    np.testing.assert_allclose(by_torch, columns, rtol=0, atol=1e-8)


def test_sparsemax_is_optaxs(optax: Any) -> None:
    labels = np.array([2, 5])
    expected = optax.multiclass_sparsemax_loss(X, labels)
    found = tinyloss.fenchel_young(X, labels, reduction="none")
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@on_sparse
def test_an_impossible_class_has_no_part_in_sparse_probabilities(activation: str) -> None:
    x = np.array([1.0, 0.5, -np.inf, -1.0])
    value, by_x = value_and_grad(tinyloss.fenchel_young)(x, np.array(1), activation=activation)
    kept = value_and_grad(tinyloss.fenchel_young)(x[[0, 1, 3]], np.array(1), activation=activation)
    assert value == kept[0]
    np.testing.assert_array_equal(by_x, np.insert(kept[1], 2, 0))


@on_sparse
def test_a_lead_that_suffices_costs_nothing(activation: str) -> None:
    lead = 1.0 if activation == "sparsemax" else 2.0
    x = np.array([lead, 0.0, -3.0])
    value, by_x = value_and_grad(tinyloss.fenchel_young)(x, np.array(0), activation=activation)
    assert value == 0
    np.testing.assert_array_equal(by_x, np.zeros(3))


@on_sparse
def test_sparse_probabilities_on_every_library(activation: str, xp: Library) -> None:
    dtype = xp.floats[-1]
    eps = float(np.finfo(dtype).eps)
    for x in (X.astype(dtype), 5 * X.astype(dtype), np.zeros((2, 3), dtype)):
        nothing = [mp.mpf(0)] * x.shape[1]
        exact = [exact_fenchel_young(exactly(row), nothing, activation)[1] for row in x]
        expected = [[float(each) for each in row] for row in exact]
        found = xp.fetch(xp.call(getattr(tinyloss, activation), xp.asarray(x, dtype)))
        np.testing.assert_allclose(found, expected, rtol=0, atol=8 * eps)
        np.testing.assert_array_equal(found == 0, np.array(expected) == 0)
        across = xp.call(getattr(tinyloss, activation), xp.asarray(x.T, dtype), axis=0)
        np.testing.assert_array_equal(xp.fetch(across).T, found)


@on_sparse
def test_jacobians_of_sparse_probabilities(activation: str, jax: Any, torch: Any) -> None:
    function: Any = getattr(tinyloss, activation)
    x, step = X[0], 1e-6
    p = function(x)
    s = (p > 0) * (1.0 if activation == "sparsemax" else np.sqrt(p))
    expected = np.diag(s) - np.outer(s, s) / s.sum()
    columns = [(function(x + move) - function(x - move)) / (2 * step) for move in step * np.eye(7)]
    np.testing.assert_allclose(columns, expected, rtol=0, atol=1e-8)
    np.testing.assert_allclose(jax.jacobian(function)(x), expected, rtol=0, atol=16 * EPS64)
    found = torch.autograd.functional.jacobian(function, torch.asarray(x))
    np.testing.assert_allclose(found, expected, rtol=0, atol=16 * EPS64)


@on_sparse
def test_nan_is_not_taken_for_0(activation: str) -> None:
    assert np.isnan(getattr(tinyloss, activation)(np.array([0.0, np.nan, 1.0]))).any()
    assert np.isnan(tinyloss.fenchel_young(np.array([0.0, np.nan]), np.array(0)))


def test_lists_of_dask_whose_number_nobody_knows() -> None:
    da: Any = pytest.importorskip("dask.array")
    kept = np.array([False, True, False, True])

    def filtered(host: Any) -> Any:
        wide = np.zeros((4, *host.shape[1:]), host.dtype)
        wide[kept] = host
        return da.from_array(wide, chunks=(2, *host.shape[1:]))[da.from_array(kept, chunks=2)]

    labels, targets = np.array([2, 5]), np.array([0.25, -3.0])
    calls: list[tuple[Any, list[Any]]] = [
        (tinyloss.cox_ph, [X, T, D]),
        (tinyloss.listmle, [X, T]),
        (tinyloss.crps_ensemble, [X, targets]),
        (tinyloss.fenchel_young, [X, labels]),
    ]
    for loss, arrays in calls:
        value, by_x = value_and_grad(loss)(*map(filtered, arrays))
        expected = value_and_grad(loss)(*arrays)
        np.testing.assert_allclose(value.compute(), expected[0], rtol=8 * EPS64)
        np.testing.assert_allclose(by_x.compute(), expected[1], rtol=0, atol=8 * EPS64)
