"""Pairs of long rows, which are sorted for it, beside loops over the pairs and exact sums."""

import math
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import tinyloss
import tinyloss_numpy
from tests.support.compiled import EPS, Array, bits, by_formulas, compiled
from tests.support.memory import MIB, peak
from tests.support.specs import BOUNDS
from tinyloss._engine.request import Want
from tinyloss._formula import by_sorting
from tinyloss.losses.ranking import PairwiseHinge
from tinyloss_numpy import _programs

on = pytest.mark.parametrize
anyloss: Any = tinyloss

LONG = PairwiseHinge.sorted_from or 0
MEMBERS = LONG + 31
PROMISED = {name: each.eps for name, each in BOUNDS["pairwise_hinge"].promised.items()}


def both(loss: Any, *arrays: Any, **options: Any) -> Any:
    """Return the losses of rows and their gradients."""
    derive: Any = tinyloss.value_and_grad(loss)
    return derive(*arrays, reduction="none", **options)


def lists(dtype: str, members: int = MEMBERS) -> dict[str, tuple[Array, Array]]:
    """Return scores and labels by what is special of them."""
    rng = np.random.default_rng(members)
    info = np.finfo(dtype)
    x, grades = rng.standard_normal(members), rng.integers(0, 5, members)
    apart, scores = rng.permutation(members), np.round(4 * x) / 4
    skewed = np.where(rng.random(members) < 0.9, 0, grades)
    tiny = rng.integers(-9, 9, members) * float(info.smallest_subnormal)
    large = x * (float(info.max) / 8)
    found = {
        "grades": (x, grades),
        "of one label": (x, np.full(members, 3)),
        "binary": (x, grades % 2),
        "one better": (x, apart == 0),
        "skewed": (x, skewed),
        "apart": (x, apart),
        "labels of floats": (x, rng.standard_normal(members)),
        "ties": (scores, grades),
        "scores of one": (np.full(members, 0.5), grades),
        "in order": (np.sort(x), np.sort(apart)),
        "in reverse order": (np.sort(x), -np.sort(apart)),
        "zeros of two signs": (np.where(apart % 2, 0.0, -0.0), np.where(apart % 3, -0.0, 0.0)),
        "offset": (1e4 + np.round(8 * x) / 10, grades),
        "spread": (x * np.exp(8 * rng.standard_normal(members)), grades),
        "subnormal": (tiny, grades),
        "large": (large, grades),
    }
    return {name: (a.astype(dtype), b.astype(dtype)) for name, (a, b) in found.items()}


def odd(dtype: str) -> dict[str, tuple[Array, Array]]:
    """Return lists with numbers that are not finite, or whose differences are not."""
    found = lists(dtype)
    x, y = found["grades"]
    first = np.arange(MEMBERS) == 7

    def with_x(number: float) -> tuple[Array, Array]:
        return np.where(first, np.asarray(number, dtype), x), y

    def with_y(number: float) -> tuple[Array, Array]:
        return x, np.where(first, np.asarray(number, dtype), y)

    largest = np.sign(x) * np.finfo(dtype).max
    made = {f"{number} among scores": with_x(number) for number in (math.nan, math.inf, -math.inf)}
    made |= {f"{number} among labels": with_y(number) for number in (math.nan, math.inf)}
    return made | {"differences that overflow": (largest.astype(dtype), y)}


def stacked(rows: dict[str, tuple[Array, Array]]) -> tuple[Array, Array]:
    x, y = zip(*rows.values(), strict=True)
    return np.stack(x), np.stack(y)


def margins(dtype: str) -> tuple[float, ...]:
    """Return none, ordinary ones, and those of the sizes of the least and the largest numbers."""
    info = np.finfo(dtype)
    return 0.0, 0.1, 1.0, 1e6, float(info.smallest_normal), float(info.max) / 4


def exact(
    x: Array, y: Array, margin: float, weights: Array | None = None
) -> tuple[float, float, Array, Array]:
    """Return the value, the sum of the sizes of its terms, the gradient and how many pairs it has.

    Weights are powers of two: their products are exact. The value is NaN where the size overflows.
    """
    margin = float(np.asarray(margin, x.dtype))
    w = (np.ones(len(x)) if weights is None else weights.astype(np.float64))[:, None]
    with np.errstate(over="ignore"):
        # with the roundings of the formula, as to which pairs cost something
        short = np.asarray(margin, x.dtype) - (x[:, None] - x) > 0
        pairs = np.where(short & (y[:, None] > y), w, 0.0)
        i, j = np.nonzero(pairs)
        wide, own = x.astype(np.float64), pairs[i, j]
        size = float(np.sum(own * margin) + np.sum(np.abs(own * (wide[i] - wide[j]))))
    value = math.nan
    if size < float(np.finfo(x.dtype).max):
        value = math.fsum(np.concatenate([own * margin, -own * wide[i], own * wide[j]]))
    return value, size, pairs.sum(0) - pairs.sum(1), pairs.sum(0) + pairs.sum(1)


def assert_near(value: Any, expected: float, size: float) -> None:
    """Compare a value within the bound that is promised, unless its size overflows."""
    eps = EPS[str(value.dtype)]
    assert math.isnan(expected) or abs(float(value) - expected) <= PROMISED["value"] * eps * size


@pytest.mark.long
@on("dtype", ["float32", "float64"])
def test_gradients_are_those_of_the_pairs(dtype: str) -> None:
    """Bit for bit, as they are numbers of pairs; what is NaN or infinite is so in both."""
    x, y = stacked(lists(dtype) | odd(dtype))
    for margin in margins(dtype):
        with compiled():
            values, grads = both(tinyloss.pairwise_hinge, x, y, margin=margin)
        with by_formulas():
            expected, slopes = both(tinyloss.pairwise_hinge, x, y, margin=margin)
        np.testing.assert_array_equal(grads, slopes)
        np.testing.assert_array_equal(np.isfinite(values), np.isfinite(expected))
        np.testing.assert_array_equal(np.isnan(values), np.isnan(expected))


@pytest.mark.long
@on("dtype", ["float32", "float64"])
def test_values_are_within_the_bound_of_exact_sums(dtype: str) -> None:
    x, y = stacked(lists(dtype))
    for margin in margins(dtype):
        with compiled():
            found = both(tinyloss.pairwise_hinge, x, y, margin=margin)
        for scores, grades, value, grad in zip(x, y, *found, strict=True):
            expected, size, slopes, _ = exact(scores, grades, margin)
            assert_near(value, expected, size)
            np.testing.assert_array_equal(grad, slopes)


@pytest.mark.long
@on(("dtype", "masked"), [("float32", True), ("float64", False)])
def test_pairs_weigh_what_their_better_members_do(dtype: str, masked: bool) -> None:
    """What weighs 0 is the better of no pair, whatever its score; what is masked is in none."""
    rng = np.random.default_rng(1)
    for name, (x, y) in (lists(dtype) | odd(dtype)).items():
        weights = np.exp2(rng.integers(-2, 4, MEMBERS)).astype(dtype)
        weights[rng.random(MEMBERS) < 0.2] = 0
        options: dict[str, Any] = {"member_weight": weights}
        left = np.ones(MEMBERS, bool)
        if masked:
            left = rng.random(MEMBERS) < 0.8
            options["mask"] = left
            filler = np.asarray([np.nan, np.inf, 1e30], dtype)[rng.integers(0, 3, MEMBERS)]
            x, y = np.where(left, x, filler), np.where(left, y, filler)
        with compiled():
            value, grad = both(tinyloss.pairwise_hinge, x, y, **options)
        np.testing.assert_array_equal(grad[~left], 0.0)
        given = x[left], y[left], 1.0, weights[left]
        if name in odd(dtype):
            with by_formulas():
                expected, slopes = both(tinyloss.pairwise_hinge, *given[:2], member_weight=given[3])
            np.testing.assert_array_equal(grad[left], slopes)
            np.testing.assert_allclose(value, expected, rtol=16 * EPS[dtype])
            continue
        expected, size, slopes, number = exact(*given)
        assert abs(grad[left] - slopes).max() <= PROMISED["x"] * EPS[dtype] * number.max(), name
        assert_near(value, expected, size)


@pytest.mark.long
@on("dtype", ["float32", "float64"])
def test_sums_of_many_pairs_keep_their_digits(dtype: str) -> None:
    """In the reverse order every pair costs something: 2e8 of them, and a sum of n products."""
    n = 20_000
    for step, offset in ((0.1, 0.0), (1e-3, 1e4)):
        x = (offset + step * np.arange(n)).astype(dtype)
        with compiled():
            value, grad = both(tinyloss.pairwise_hinge, x, -np.arange(n).astype(dtype))
        counts = n - 1 - 2 * np.arange(n)
        np.testing.assert_array_equal(grad, -counts)
        pairs = Fraction(n * (n - 1), 2)
        terms = (Fraction(float(a)) * int(c) for a, c in zip(x, counts, strict=True))
        spread = -sum(terms, Fraction(0))
        error = abs(Fraction(float(value)) - (pairs + spread))
        assert error <= PROMISED["value"] * EPS[dtype] * (pairs + spread)


@pytest.mark.long
@on("half", [np.float16, ml_dtypes.bfloat16], ids=["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(half: Any) -> None:
    x, y = (each.astype(half) for each in lists("float32")["grades"])
    with compiled():
        value, grad = both(tinyloss.pairwise_hinge, x, y)
    expected, size, slopes, _ = exact(x.astype(np.float32), y, 1.0)
    assert_near(value, expected, size)
    assert grad.dtype == half
    np.testing.assert_array_equal(grad, slopes.astype(half))


@pytest.mark.long
def test_curvature_and_second_derivatives_are_zero() -> None:
    x, y = lists("float64")["grades"]
    with compiled():
        _, curvature = tinyloss.grad_and_hess(tinyloss.pairwise_hinge)(x, y)
        second = tinyloss.hvp(tinyloss.pairwise_hinge)(x, y, np.ones_like(x))
    assert not curvature.any()
    assert not second.any()


@pytest.mark.long
def test_lists_are_sorted_from_a_length_on() -> None:
    """Which way a list goes changes no gradient."""
    texts: list[str] = []
    for members in (LONG - 1, LONG, LONG + 1):
        x, y = lists("float32", members)["ties"]
        with compiled():
            value, grad = both(tinyloss.pairwise_hinge, x, y)
        expected, size, slopes, _ = exact(x, y, 1.0)
        np.testing.assert_array_equal(grad, slopes)
        assert_near(value, expected, size)
        texts.append(tinyloss.source(tinyloss.pairwise_hinge, x, y))
    assert ["shortfalls(" in text for text in texts] == [False, True, True]


@pytest.mark.long
def test_labels_that_an_item_has_are_sorted_too() -> None:
    x, y = (np.stack([each] * 3) for each in lists("float32")["binary"])
    with compiled():
        value, grad = both(tinyloss.multilabel_margin, x, y)
        assert "shortfalls(" in tinyloss.source(tinyloss.multilabel_margin, x, y)
    expected, size, slopes, number = exact(x[0], y[0], 1.0)
    for each in value:
        assert_near(each, expected / MEMBERS, size / MEMBERS)
    assert (abs(grad * MEMBERS - slopes) <= PROMISED["x"] * EPS["float32"] * number).all()


@pytest.mark.long
def test_threads_and_rows_beside_change_no_bit() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, MEMBERS)).astype(np.float32)
    y = rng.integers(0, 5, x.shape).astype(np.float32)
    with compiled():
        whole = both(tinyloss.pairwise_hinge, x, y)
        seen = set[str]()
        for threads in (1, 2, 3):
            with tinyloss_numpy.threads(threads):
                seen.add(bits(both(tinyloss.pairwise_hinge, x, y)))
        alone = [both(tinyloss.pairwise_hinge, x[n : n + 1], y[n : n + 1]) for n in (0, 17, 299)]
    assert seen == {bits(whole)}
    for n, (value, grad) in zip((0, 17, 299), alone, strict=True):
        assert bits((value[0], grad[0])) == bits((whole[0][n], whole[1][n]))


@pytest.mark.long
def test_memory_is_that_of_the_members() -> None:
    """A hundred lists of 2000 members have 400 million pairs: 1.5 GiB in float32."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((100, 2000)).astype(np.float32)
    y = np.tile(np.arange(2000.0, dtype=np.float32), (100, 1))
    with compiled(), tinyloss_numpy.threads(1):
        taken = peak(lambda: both(tinyloss.pairwise_hinge, x, y))
    assert taken < x.nbytes + MIB / 2


@pytest.mark.long
def test_rows_that_would_take_much_memory_have_the_loop_over_pairs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_programs, "_MOST_SCRATCH", 2**16)
    x, y = (np.stack([each, each]) for each in lists("float32", MEMBERS + 1)["grades"])
    with compiled():
        _, grad = both(tinyloss.pairwise_hinge, x, y)
    np.testing.assert_array_equal(grad[0], exact(x[0], y[0], 1.0)[2])


@pytest.mark.long
def test_torchs_tensors_are_sorted() -> None:
    torch: Any = pytest.importorskip("torch")
    x, y = stacked(lists("float32"))
    with compiled():
        expected = tinyloss.value_and_grad(tinyloss.pairwise_hinge)(x, y)
        scores = torch.from_numpy(x.copy()).requires_grad_()
        value = tinyloss.pairwise_hinge(scores, torch.from_numpy(y))
        value.backward()
    assert value.item() == expected[0]
    np.testing.assert_array_equal(scores.grad.numpy(), expected[1])


@pytest.mark.long
def test_large_arrays_of_jax_are_sorted() -> None:
    jax: Any = pytest.importorskip("jax")
    x, y = stacked(lists("float32"))
    with compiled():
        expected = tinyloss.value_and_grad(tinyloss.pairwise_hinge)(x, y)
    value, grad = jax.jit(jax.value_and_grad(tinyloss.pairwise_hinge))(jax.numpy.asarray(x), y)
    np.testing.assert_allclose(value, expected[0], rtol=PROMISED["value"] * EPS["float32"])
    np.testing.assert_array_equal(np.asarray(grad), expected[1])


@pytest.mark.long
def test_a_sum_of_losses_that_sort_or_pair_is_compiled() -> None:
    x, y = stacked(lists("float32", 300))
    summed = 0.5 * tinyloss.PairwiseHingeLoss() + tinyloss.ListMLELoss()
    with compiled():
        value, grad = tinyloss.value_and_grad(summed)(x, y)
    with by_formulas():
        expected, slopes = tinyloss.value_and_grad(summed)(x, y)
    np.testing.assert_allclose(value, expected, rtol=16 * EPS["float32"])
    atol = 16 * EPS["float32"] * np.abs(slopes).max()
    np.testing.assert_allclose(grad, slopes, rtol=0, atol=atol)


# ----------------------------------------------------------------------------- the operation alone


def test_a_kind_of_long_rows_has_another_formula() -> None:
    x = np.zeros((2, 5))
    (job,) = tinyloss.pairwise_hinge.jobs(Want(True, (0,), False), x, x)
    kind = job.kind
    assert kind.of_length(LONG - 1) is kind
    assert kind.of_length(LONG) is kind.of_length(2 * LONG) is kind.sorting
    assert kind.sorting.formula is by_sorting(kind.formula)
    assert kind.sorting.formula.in_order
    (job,) = tinyloss.pairwise_hinge.jobs(Want(True, (0,), True), x, x)
    assert job.kind.sorting.formula.in_order
    (job,) = tinyloss.pairwise_logistic.jobs(Want(True, (0,), False), x, x)
    assert job.kind.of_length(10**6) is job.kind


@pytest.mark.long
def test_costs_of_pairs_have_derivatives() -> None:
    """By scores, weights and the margin, in a loss of one's own."""

    @tinyloss.loss(rowwise=True)
    def weighed(x: Any, y: Any, weights: Any, margin: Any) -> Any:
        xp: Any = tinyloss.namespace(x)
        cost, led, behind = xp.shortfalls(x, y, weights, margin)
        return xp.sum(cost * y + 0.0 * (led + behind), axis=-1)

    x, y = lists("float64", 60)["grades"]
    weights = np.random.default_rng(3).random(60) + 0.5
    with compiled():
        derive = tinyloss.value_and_grad(weighed, (0, 2, 3))
        value, (by_x, by_w, by_margin) = derive(x, y, weights, np.full(60, 0.5))
    up = y[:, None] > y
    short = np.where(up, np.maximum(0.5 - (x[:, None] - x), 0), 0)
    factors = np.where(short > 0, (weights * y)[:, None], 0)
    np.testing.assert_allclose(value, np.sum((weights * y)[:, None] * short), rtol=1e-13)
    np.testing.assert_allclose(by_x, factors.sum(0) - factors.sum(1), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(by_w, y * short.sum(1), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(by_margin, factors.sum(1), rtol=1e-12)
