"""Losses of lists: values of others, pairs without an array of pairs, padding."""

from collections.abc import Callable
from itertools import permutations
from math import exp, log
from typing import Any, get_args

import numpy as np
import pytest

import tinyloss
import tinyloss_numpy
from tests.support.libraries import Library
from tests.support.memory import peak
from tinyloss import _rows
from tinyloss.backend import Role
from tinyloss.compiler.passes import stage
from tinyloss.compiler.recorder import record
from tinyloss.typing import LambdaKind

EPS = 2.0**-52
anyloss: Any = tinyloss
on = pytest.mark.parametrize

PAIRWISE = ("pairwise_logistic", "pairwise_hinge", "pairwise_soft_zero_one")
BOUNDING = ("approx_ndcg", "lambdarank", *[f"lambdaloss {kind}" for kind in get_args(LambdaKind)])
WEIGHTED = (*PAIRWISE, *BOUNDING)
LISTS = (*WEIGHTED, "pairwise_mse")
LONGER = ("approx_ndcg", "lambdarank", "lambdaloss ndcg1")
"""Of those that take seconds to compile, the ones that have lines of their own."""
COMPILED = (
    *(*PAIRWISE, "pairwise_mse"),
    *[pytest.param(name, marks=pytest.mark.long) for name in LONGER],
)
MODES = (
    *[(name, "never") for name in LISTS],
    *[
        pytest.param(name, "always", marks=pytest.mark.long)
        for name in (*PAIRWISE, "pairwise_mse", *LONGER)
    ],
)

SCORES = np.array([0.5, -1.25, 2.0, 0.25, 1.125])
LABELS = np.array([1, 0, 2, 0, 1])


def loss_of(name: str, **parameters: Any) -> Any:
    """Return the loss of a name, after which may be its kind."""
    function, _, kind = name.partition(" ")
    if kind:
        return anyloss.LambdaLoss(kind=kind, **parameters)
    if parameters:
        return {"approx_ndcg": anyloss.ApproxNDCGLoss, "lambdarank": anyloss.LambdaRankLoss}[name](
            **parameters
        )
    return getattr(anyloss, function)


def of(name: str, argnums: Any = 0, **parameters: Any) -> Any:
    """Return what gives a loss and its gradient."""
    return tinyloss.value_and_grad(loss_of(name, **parameters), argnums)


def close(got: Any, expected: Any, eps: float = 8) -> None:
    expected = np.asarray(expected)
    np.testing.assert_allclose(got, expected, rtol=0, atol=eps * EPS * np.abs(expected).max())


def drawn(lists: int, members: int, dtype: str = "float64") -> tuple[Any, Any]:
    """Return scores and labels of lists."""
    rng = np.random.default_rng(members)
    x = rng.normal(size=(lists, members)).astype(dtype)
    return x, rng.integers(0, 5, x.shape).astype(dtype)


# ------------------------------------------------------------------------------- values of others

# Scores and labels above; digits by mpmath, of the formulas of rax and allRank. The logarithms of
# allRank's are to base 2 where it has that by default.
OF_OTHERS: dict[str, tuple[float, list[float]]] = {
    "pairwise_logistic": (
        1.9216709979106037046,
        [
            -0.40344517333953503,
            0.27047313038283917,
            -0.66201458134516404,
            0.88008566930888014,
            -0.085099045007020236,
        ],
    ),
    "pairwise_hinge": (1.0, [-1.0, 0.0, -1.0, 2.0, 0.0]),
    "pairwise_soft_zero_one": (
        1.627199295661064421,
        [
            -0.22311685585392068,
            0.2399200135578967,
            -0.51886179040043669,
            0.57991583024237405,
            -0.077857197545913381,
        ],
    ),
    "pairwise_mse": (15.125, [-4.5, -19.5, 5.5, 10.5, 8.0]),
    "lambdarank": (
        0.23040516165168728895,
        [
            0.032758476931333932,
            0.025704254199179656,
            -0.17456563074290371,
            0.082821340888486716,
            0.033281558723903406,
        ],
    ),
    "approx_ndcg": (
        -0.77001368133047693408,
        [
            0.020907561678622092,
            0.012251688382593922,
            -0.09253621831631261,
            0.036745711607879945,
            0.022631256647216651,
        ],
    ),
    "lambdaloss ndcg1": (
        2.8539016780341137312,
        [
            -0.09085635943469715,
            0.083711884379878693,
            -0.39532672275836183,
            0.29639569116297395,
            0.10607550665020634,
        ],
    ),
    "lambdaloss ndcg2": (
        0.22127770562115596706,
        [
            -0.046519604576558223,
            0.010543816003859045,
            -0.10499571696785588,
            0.080639518219035862,
            0.060331987321519199,
        ],
    ),
    "lambdaloss ndcg2++": (
        2.5451814403216688876,
        [
            -0.41793555354967126,
            0.14252156010149625,
            -1.301802139461,
            0.92588111996995274,
            0.65133501293922225,
        ],
    ),
    "lambdaloss ranknet": (
        1.9216709979106037046,
        [
            -0.40344517333953503,
            0.27047313038283917,
            -0.66201458134516404,
            0.88008566930888014,
            -0.085099045007020236,
        ],
    ),
}
BASE_2 = ("lambdaloss ndcg1", "lambdaloss ndcg2", "lambdaloss ndcg2++")

# rax/_src/losses_test.py: scores and labels, the weights of members, published values.
PUBLISHED: dict[str, tuple[list[int], list[int], list[int] | None, float]] = {
    "pairwise_hinge": ([0, 3, 1, 2], [0, 0, 1, 1], None, 5.0),
    "pairwise_hinge weighted": ([0, 3, 2, 1], [0, 0, 1, 1], [1, 1, 2, 1], 7.0),
    "pairwise_logistic": ([0, 3, 1, 2], [0, 0, 1, 1], None, 3.880379397122390661),
    "pairwise_logistic weighted": ([0, 3, 2, 1], [0, 0, 1, 1], [1, 1, 2, 1], 5.3205690956835859915),
    "pairwise_soft_zero_one": ([0, 3, 1, 2], [0, 0, 1, 1], None, 2.0),
    "pairwise_soft_zero_one weighted": (
        *([0, 3, 2, 1], [0, 0, 1, 1], [1, 1, 2, 1]),
        2.8502615006521224352,
    ),
    "pairwise_mse": ([0, 3, 1, 2], [0, 0, 1, 1], None, 48.0),
}

# allRank, tests/losses/test_lambdaloss.py: RankNet by natural logarithms.
ALLRANK = np.array([0.5, 0.3, 0.5])


@on(("name", "mode"), MODES)
def test_value_and_gradient_are_those_of_others(name: str, mode: Any) -> None:
    value, slopes = OF_OTHERS[name]
    with tinyloss_numpy.compilation(mode):
        got = of(name)(SCORES, LABELS)
    base = log(2) if name in BASE_2 else 1.0
    close(got[0] / base, value)
    close(got[1] / base, slopes)


@on("name", PUBLISHED)
def test_published_values(name: str) -> None:
    scores, labels, weights, value = PUBLISHED[name]
    options = {} if weights is None else {"member_weight": weights}
    loss: Any = getattr(anyloss, name.removesuffix(" weighted"))
    close(loss(np.array(scores, float), labels, **options), value)


def test_ranknet_of_allrank() -> None:
    close(tinyloss.pairwise_logistic(ALLRANK, ALLRANK), 1.1962777387631836794)


@on(("kind", "value"), [("ndcg1", 2.927211201572268468), ("ndcg2++", 1.124414641325817435)])
def test_lambdaloss_of_allrank(kind: Any, value: float) -> None:
    """Labels and scores that tie keep their places."""
    close(tinyloss.lambdaloss(ALLRANK, ALLRANK, kind=kind) / log(2), value)


def test_approx_ndcg_of_allrank() -> None:
    """Alpha is 1 / temperature."""
    close(tinyloss.approx_ndcg(ALLRANK, ALLRANK), -0.84992198076806586466)
    value, slopes = of("approx_ndcg", temperature=0.1)(SCORES, LABELS)
    close(value, -0.99824947210598962548)
    expected = [
        -0.014145441607630543,
        5.2644985839410687e-9,
        -0.00075799462933563797,
        0.014708467152074198,
        0.00019496382039339869,
    ]
    np.testing.assert_allclose(slopes, expected, rtol=64 * EPS)


@on("name", WEIGHTED)
def test_the_extreme_scores_of_raxs_tests_are_finite(name: str) -> None:
    x = np.array([0, -2.1e26, 3.4e37, 42.0], np.float32)
    value, slopes = of(name)(x, [0, 1, 1, 0])
    assert np.isfinite(value)
    assert np.isfinite(slopes).all()


# ------------------------------------------------------------------------------- faults of others


def test_a_list_in_the_right_order_has_a_loss_and_a_slope() -> None:
    """log(1 + e) without log1p, and 1 - sigma, are 0 there (rax)."""
    x, y = np.array([0.0, 30.0], np.float32), [0, 1]
    value, slopes = tinyloss.value_and_grad(tinyloss.pairwise_logistic)(x, y)
    np.testing.assert_allclose(value, np.exp(-30.0), rtol=2e-7)
    np.testing.assert_allclose(slopes, [np.exp(-30.0), -np.exp(-30.0)], rtol=2e-7)
    soft = tinyloss.pairwise_soft_zero_one(x, y)
    np.testing.assert_allclose(soft, np.exp(-30.0), rtol=2e-7)


def test_a_list_in_the_reverse_order_costs_all_of_its_lead() -> None:
    """allRank adds 1e-10 within a logarithm: ListNet and ListMLE cost at most 23 a member."""
    x = np.array([100.0, 0.0])
    for name, y in (("cross_entropy", [0.0, 1.0]), ("listmle", [0, 1])):
        value, slopes = of(name)(x, np.array(y))
        assert value == 100
        assert slopes.tolist() == [1, -1]


def test_a_sure_list_keeps_the_digits_of_what_it_misses() -> None:
    """rax takes its probability off 1: 0."""
    value = tinyloss.poly_cross_entropy(np.array([0.0, 40.0]), np.array([0.0, 1.0]), epsilon=1.0)
    close(value, 2 * exp(-40))


def test_a_pair_that_is_wrong_by_far_has_its_whole_slope() -> None:
    """allRank clamps the sigmoid at 1e-10: no slope beyond a lead of -23."""
    slopes = tinyloss.grad(tinyloss.pairwise_logistic)(np.array([100.0, 0.0]), [0, 1])
    np.testing.assert_array_equal(slopes, [1.0, -1.0])
    exchange = 1 - 1 / np.log2(3)
    slopes = tinyloss.grad(tinyloss.lambdarank)(np.array([100.0, 0.0]), [0, 1])
    np.testing.assert_allclose(slopes, [exchange, -exchange], rtol=8 * EPS)


@on(("name", "mode"), MODES)
@on("filler", [0.0, 1e30, np.nan, np.inf])
def test_padding_changes_no_number(name: str, mode: Any, filler: float) -> None:
    """In rax the length is that of the padded list."""
    derive = of(name, (0, 1))
    x, y = drawn(3, 7)
    mask = np.ones((3, 7), bool)
    mask[0, 2:4] = mask[2, 5:] = False
    padded = [
        np.concatenate([np.where(mask, a, filler), np.full((3, 2), filler)], 1) for a in (x, y)
    ]
    longer = np.concatenate([mask, np.zeros((3, 2), bool)], 1)
    with tinyloss_numpy.compilation(mode):
        value, slopes = derive(*padded, mask=longer)
        alone = [derive(a[m], b[m]) for a, b, m in zip(x, y, mask, strict=True)]
    close(value, np.mean([each for each, _ in alone]))
    for number, slope in enumerate(slopes):
        close(slope[longer], np.concatenate([each[number] for _, each in alone]) / 3)
        np.testing.assert_array_equal(slope[~longer], 0.0)


@on("name", WEIGHTED)
def test_a_label_that_is_nan_is_no_label_that_is_left_out(name: str) -> None:
    value, slopes = of(name)(SCORES, [1, 0, np.nan, 0, 1])
    assert np.isnan(value)
    assert np.isnan(slopes[2])


@on("name", ["lambdarank", *BASE_2])
def test_ties_of_scores_are_ranked_by_position(name: str) -> None:
    """Rax shuffles them by a key, allRank by torch's sort."""
    loss = loss_of(name)
    tied, apart = loss(np.zeros(3), [0, 1, 2]), loss(np.array([2e-9, 1e-9, 0.0]), [0, 1, 2])
    np.testing.assert_allclose(tied, apart, rtol=1e-8)
    assert loss(np.zeros(3), [0, 2, 1]) != tied


@on("name", ["lambdarank", "lambdaloss ndcg2", "lambdaloss ndcg2++"])
def test_a_member_below_the_cut_may_rise(name: str) -> None:
    """With allRank's k only pairs within the first k have a slope: what is below stays there."""
    _, slopes = of(name, top=2)(np.array([3.0, 2.0, 1.0, 0.0]), [0, 0, 0, 1])
    assert slopes[3] < 0 < slopes[0]
    assert slopes[2] == 0  # neither it nor the last one is among the first two


@on("name", WEIGHTED)
def test_a_list_without_a_gain_has_no_loss(name: str) -> None:
    value, slopes = of(name, (0, 1))(SCORES, np.zeros(5))
    assert value == 0
    np.testing.assert_array_equal(slopes, np.zeros((2, 5)))


# --------------------------------------------------------------------------- what pairs weigh by


def _ndcg(labels: Any, order: Any, gain: str, discount: str, top: int | None) -> float:
    def dcg(order: Any) -> float:
        gains = labels[list(order)] if gain == "linear" else 2.0 ** labels[list(order)] - 1
        rank = 1.0 + np.arange(len(gains))
        counts = 1 / rank if discount == "reciprocal" else 1 / np.log2(1 + rank)
        return float(np.sum((gains * counts)[:top]))

    return dcg(order) / max(map(dcg, permutations(range(len(labels)))))


@on("gain", ["exponential", "linear"])
@on("discount", ["log2", "reciprocal"])
@on("top", [None, 1, 3])
def test_a_pair_weighs_what_its_exchange_moves_of_the_ndcg(
    gain: Any, discount: Any, top: int | None
) -> None:
    order = [*np.argsort(-SCORES)]
    before = _ndcg(LABELS, order, gain, discount, top)
    value = 0.0
    for i, j in permutations(range(5), 2):
        if LABELS[i] > LABELS[j]:
            turned = [{i: j, j: i}.get(each, each) for each in order]
            moved = abs(_ndcg(LABELS, turned, gain, discount, top) - before)
            value += moved * np.log1p(np.exp(SCORES[j] - SCORES[i]))
    got = tinyloss.lambdarank(SCORES, LABELS, gain=gain, discount=discount, top=top)
    close(got, value, 32)


@on("gain", ["exponential", "linear"])
@on("discount", ["log2", "reciprocal"])
def test_approx_ndcg_nears_the_ndcg(gain: Any, discount: Any) -> None:
    order = [*np.argsort(-SCORES)]
    got = tinyloss.approx_ndcg(SCORES, LABELS, temperature=1e-3, gain=gain, discount=discount)
    close(got, -_ndcg(LABELS, order, gain, discount, None))


def test_member_weights_of_approx_ndcg_are_of_gains() -> None:
    """In the largest DCG too, whose order they may change."""
    weights = np.array([4.0, 1.0, 0.5, 3.0, 1.0])
    gains = weights * (2.0**LABELS - 1)
    got = tinyloss.approx_ndcg(SCORES, LABELS, member_weight=weights)
    close(got, tinyloss.approx_ndcg(SCORES, gains, gain="linear"))


@on("name", ["approx_ndcg", "lambdarank", *BASE_2])
def test_gains_of_ones_own_are_linear_labels(name: str) -> None:
    close(loss_of(name, gain="linear")(SCORES, 2.0**LABELS - 1), loss_of(name)(SCORES, LABELS))


# ------------------------------------------------------------------------------- members and pairs


@on("name", [*PAIRWISE, "lambdaloss ranknet"])
def test_a_member_of_weight_0_is_the_better_of_no_pair(name: str) -> None:
    weights = np.array([1.0, 2.0, 0.0, 0.5, 1.0])
    x = SCORES.copy()
    left = [0, 1, 3, 4]
    value, slopes = of(name)(x, LABELS, member_weight=weights)
    expected = of(name)(x[left], LABELS[left], member_weight=weights[left])
    close(value, expected[0])
    close(slopes[left], expected[1])
    assert slopes[2] == 0


@on("name", LISTS)
def test_shifted_scores_have_the_same_loss(name: str) -> None:
    loss = loss_of(name)
    close(loss(SCORES + 4.0, LABELS), loss(SCORES, LABELS))


@pytest.mark.long
@on("name", COMPILED)
@on("members", [3, 300])
def test_blocks_of_pairs_are_as_all_at_once(
    name: str, members: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = drawn(4, members)
    derive = of(name)
    with tinyloss_numpy.compilation("never"):
        at_once = derive(x, y)
        monkeypatch.setattr(_rows, "PAIRS", 5 * x.size)
        by_blocks = derive(x, y)
    with tinyloss_numpy.compilation("always"):
        compiled = derive(x, y)
    for got in (by_blocks, compiled):
        close(got[0], at_once[0], 32)
        close(got[1], at_once[1], 32)


@pytest.mark.long
@on("name", COMPILED)
@on("members", [3, 300])
@on("jitted", [False, True])
def test_jax_goes_over_blocks_in_a_loop(
    name: str, members: int, jitted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    jax = pytest.importorskip("jax")
    from tinyloss_jax import _rows as of_jax

    loss = loss_of(name)
    x, y = drawn(4, members, "float32")
    expected = of(name)(x.astype(float), y.astype(float))
    tinyloss.clear_caches()
    monkeypatch.setattr(of_jax, "PAIRS", 7 * x.size)
    derive = jax.value_and_grad(loss)
    value, slopes = (jax.jit(derive) if jitted else derive)(jax.numpy.asarray(x), y)
    tinyloss.clear_caches()
    np.testing.assert_allclose(value, expected[0], rtol=1e-6)
    np.testing.assert_allclose(slopes, expected[1], atol=1e-6 * np.abs(expected[1]).max())


@on("name", COMPILED)
@on("xp", ["numpy", "torch", "array-api-strict", "jax", "jax:jit"], indirect=True)
def test_masks_and_weights_on_every_library(name: str, xp: Library) -> None:
    x, y = drawn(3, 6, "float32")
    rng = np.random.default_rng(0)
    options = {"mask": rng.random(x.shape) < 0.7}
    if name in WEIGHTED:
        options["member_weight"] = rng.integers(0, 4, x.shape).astype("float32")
    derive = of(name)
    expected = derive(x.astype(float), y, **options)
    given = {key: xp.asarray(each) for key, each in options.items()}
    value, slopes = xp.fetch(xp.call(derive, xp.asarray(x), xp.asarray(y), **given))
    np.testing.assert_allclose(value, expected[0], rtol=1e-6)
    np.testing.assert_allclose(slopes, expected[1], atol=1e-6 * np.abs(expected[1]).max())


@pytest.mark.long
@on("mode", ["never", "always"])
@on("name", ["pairwise_logistic", "lambdarank"])
def test_memory_is_that_of_the_members(name: str, mode: Any) -> None:
    """A hundred lists of 600 members have 36 million pairs: 137 MiB in float32."""
    x, y = drawn(100, 600, "float32")
    derive = of(name)
    with tinyloss_numpy.compilation(mode):
        derive(x[:2], y[:2])
        taken = peak(lambda: derive(x, y))
    blocks = 0 if mode == "always" else 16 * 4 * _rows.PAIRS
    assert taken < blocks + 2**20


def test_a_gradient_may_be_written_over_the_scores() -> None:
    x, y = drawn(5, 300)
    derive = tinyloss.value_and_grad(tinyloss.pairwise_logistic)
    with tinyloss_numpy.compilation("always"):
        expected = derive(x, y)
        got = tinyloss.value_and_grad(tinyloss.pairwise_logistic, out=x)(x, y)
    assert got[0] == expected[0]
    np.testing.assert_array_equal(x, expected[1])


# ------------------------------------------------------------------------- what each pass computes


def _passes(function: Callable[..., Any]) -> Any:
    return stage(record(function, {"x": Role(per_class=True), "y": Role(per_class=True)}))


def _ops(nodes: Any) -> list[str]:
    return [node.op for node in nodes]


def test_sums_over_pairs_are_in_no_pass_that_writes() -> None:
    """Else a gradient that is written over the scores would change those of later pairs."""

    def function(x: Any, y: Any) -> Any:
        (total,) = _rows.over_pairs(lambda a, b: [a[0] * b[1]], [x, y])
        return total

    first, last = _passes(function).passes
    assert _ops(first.elements) == ["input", "pair_sum"]
    assert first.keep == last.read == first.pairs


def test_what_is_read_at_the_other_class_is_stored_before() -> None:
    def function(x: Any, y: Any) -> Any:
        xp = x.__array_namespace__()
        (rank,) = _rows.over_pairs(lambda a, b: [xp.where(a[0] < b[0], 1.0, 0.0)], [x])
        gain = 1 / rank
        (total,) = _rows.over_pairs(lambda a, b: [a[0] * b[0]], [gain])
        return xp.sum(total * y, axis=-1)

    first, second = _passes(function).passes
    assert _ops(first.pairs) == _ops(second.pairs) == ["pair_sum"]
    assert _ops(first.keep) == ["divide"]
    assert second.others == first.keep


def test_sums_of_which_none_needs_another_are_one_loop() -> None:
    def function(x: Any, y: Any) -> Any:
        xp = x.__array_namespace__()
        one, two = _rows.over_pairs(lambda a, b: [a[0] * b[0], a[0] - b[0]], [x])
        (three,) = _rows.over_pairs(lambda a, b: [a[0] + b[0] * a[1]], [y, one])
        return xp.sum(one + two * three, axis=-1)

    (only,) = _passes(function).passes
    loops = [nodes for nodes in only.in_turn() if nodes[0].op == "pair_sum"]
    assert [len(nodes) for nodes in loops] == [2, 1]
