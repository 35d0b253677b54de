"""Losses of labelled vectors and of two views: golden values, gradients, pairs, chunks, memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import tinyloss
import tinyloss_numpy
from tests.support.jets import mp
from tests.support.libraries import Library
from tests.support.memory import peak
from tests.support.pairs import E, F, cosines, slope

EPS = 2.0**-52
anyloss: Any = tinyloss
value_and_grad: Any = tinyloss.value_and_grad  # of losses whose parameters no checker knows


@pytest.fixture(autouse=True)
def _digits() -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]
    with mp.workdps(60):
        yield


Rows = list[list[Any]]


def sides(row: int, labels: Any) -> tuple[list[int], list[int]]:
    """Return the positives and the negatives of a row among the others."""
    others = [k for k in range(len(labels)) if k != row]
    same = [k for k in others if labels[k] == labels[row]]
    return same, [k for k in others if k not in same]


def log_sum(terms: Any) -> Any:
    return mp.log(mp.fsum(map(mp.exp, terms)))


def exact_nt_xent(a: Any, labels: Any, temperature: Any = 0.07) -> Any:
    s = [[each / mp.mpf(temperature) for each in row] for row in cosines(a, a)]
    terms: list[Any] = []
    for i, row in enumerate(s):
        near, far = sides(i, labels)
        terms += [mp.log1p(mp.fsum(mp.exp(row[n] - row[p]) for n in far)) for p in near]
    return mp.fsum(terms) / len(terms)


def exact_supcon(a: Any, labels: Any, temperature: Any = 0.1) -> Any:
    s = [[each / mp.mpf(temperature) for each in row] for row in cosines(a, a)]
    terms: list[Any] = []
    for i, row in enumerate(s):
        near, far = sides(i, labels)
        if near:
            mean = mp.fsum(row[p] for p in near) / len(near)
            terms.append(log_sum(row[k] for k in near + far) - mean)
    return mp.fsum(terms) / len(terms)


def exact_multi_similarity(
    a: Any, labels: Any, alpha: Any = 2, beta: Any = 50, base: Any = 0.5
) -> Any:
    alpha, beta, base = map(mp.mpf, (alpha, beta, base))
    terms: list[Any] = []
    for i, row in enumerate(cosines(a, a)):
        near, far = sides(i, labels)
        terms.append(mp.log1p(mp.fsum(mp.exp(-alpha * (row[p] - base)) for p in near)) / alpha)
        terms.append(mp.log1p(mp.fsum(mp.exp(beta * (row[n] - base)) for n in far)) / beta)
    return mp.fsum(terms) / len(labels)


def exact_circle(
    a: Any, labels: Any, margin: Any = 0.4, gamma: Any = 80, frozen: Any = None
) -> Any:
    """`frozen`: the vectors that the factors of the similarities are made of, a where None."""
    m, gamma = mp.mpf(margin), mp.mpf(gamma)
    terms: list[Any] = []
    known = cosines(a if frozen is None else frozen, a if frozen is None else frozen)
    for i, (row, fixed) in enumerate(zip(cosines(a, a), known, strict=True)):
        near, far = sides(i, labels)
        if near and far:
            one = log_sum(-gamma * max(0, 1 + m - fixed[p]) * (row[p] - 1 + m) for p in near)
            other = log_sum(gamma * max(0, fixed[n] + m) * (row[n] - m) for n in far)
            terms.append(mp.log1p(mp.exp(one + other)))
    return mp.fsum(terms) / len(terms)


def ellipse() -> Any:
    angles = np.deg2rad([0, 20, 40, 60, 80])
    return np.stack([2 * np.cos(angles), np.sin(angles) / 2], 1)


@dataclass(frozen=True)
class Golden:
    """A call whose value is known from outside."""

    loss: Any
    exact: Callable[..., Any]
    value: str
    labels: list[int]
    options: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def a(self) -> Any:
        return np.array(E) if len(self.labels) == len(E) else ellipse()


FIVE = [0, 0, 1, 1, 2]
GOLDEN = {
    "nt_xent": Golden(tinyloss.nt_xent, exact_nt_xent, "14.010320041574157975", [0, 0, 1, 1]),
    "nt_xent-alone": Golden(tinyloss.nt_xent, exact_nt_xent, "8.9685438564845975404", [0, 0, 0, 1]),
    "supcon": Golden(tinyloss.supcon, exact_supcon, "9.8144449911667217913", [0, 0, 1, 1]),
    "supcon-alone": Golden(tinyloss.supcon, exact_supcon, "7.480056732876252463", [0, 0, 0, 1]),
    "multi_similarity": Golden(
        tinyloss.multi_similarity, exact_multi_similarity, "0.58467714087198605551", FIVE
    ),
    "multi_similarity-sharp": Golden(
        tinyloss.multi_similarity,
        exact_multi_similarity,
        "5.8109821133730710002",
        FIVE,
        {"alpha": 0.1, "beta": 40.0},
    ),
    "circle": Golden(tinyloss.circle, exact_circle, "51.110266916430688529", FIVE),
    "circle-sharp": Golden(
        tinyloss.circle,
        exact_circle,
        "213.38908570803729885",
        FIVE,
        {"margin": 0.25, "gamma": 256.0},
    ),
}
on_golden = pytest.mark.parametrize("case", GOLDEN.values(), ids=GOLDEN)
STEEP = {"nt_xent": 1 / 0.07, "supcon": 10.0, "multi_similarity": 50.0, "circle": 2 * 256.0}
"""How much more an error of a cosine is in a loss."""


@on_golden
def test_golden_values_and_gradients_by_differences(case: Golden) -> None:
    exact = case.exact(case.a, case.labels, **case.options)
    np.testing.assert_allclose(float(exact), float(case.value), rtol=4 * EPS)
    value, by_a = value_and_grad(case.loss)(case.a, case.labels, **case.options)
    steep = STEEP[case.loss.__name__]
    # cosines are off by some eps
    np.testing.assert_allclose(value, float(case.value), rtol=8 * EPS, atol=4 * steep * EPS)
    more = {"frozen": case.a} if case.loss is tinyloss.circle else {}

    def of(a: Any) -> Any:
        return case.exact(a, case.labels, **case.options, **more)

    rows = [list(map(float, row)) for row in case.a]
    for place in np.ndindex(by_a.shape):
        expected = float(slope(of, [rows], 0, place))
        # as much again for the slope's own slope
        np.testing.assert_allclose(by_a[place], expected, rtol=0, atol=4 * steep * steep * EPS)


@on_golden
def test_golden_values_on_every_library(case: Golden, xp: Library) -> None:
    dtype = xp.floats[-1]
    eps, steep = float(np.finfo(dtype).eps), STEEP[case.loss.__name__]
    both = value_and_grad(case.loss)
    found = xp.call(both, xp.asarray(case.a, dtype), xp.asarray(case.labels), **case.options)
    value, by_a = xp.fetch(found)
    # float32's vectors are rounded too
    np.testing.assert_allclose(value, float(case.value), rtol=8 * eps, atol=8 * steep * eps)
    _, here = both(case.a, case.labels, **case.options)
    np.testing.assert_allclose(by_a, here, rtol=0, atol=8 * steep * steep * eps)


LOSSES: dict[str, tuple[Any, dict[str, Any]]] = {
    "nt_xent": (tinyloss.nt_xent, {"temperature": 0.5}),
    "supcon": (tinyloss.supcon, {"temperature": 0.5}),
    "multi_similarity": (tinyloss.multi_similarity, {"beta": 5.0}),
    "circle": (tinyloss.circle, {"gamma": 4.0}),
}
on_losses = pytest.mark.parametrize(("loss", "options"), LOSSES.values(), ids=LOSSES)
N, M, D = 13, 9, 3
RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(N, D)), RNG.normal(size=(M, D))
Y, Z = np.arange(N) % 4, np.arange(M) % 3
WEIGHT = np.arange(N) % 3 * 0.5
MASK, MASK_OF_B = RNG.random((N, N)) < 0.8, RNG.random((N, M)) < 0.8
VIEWS: dict[str, dict[str, Any]] = {
    "one": {},
    "masked": {"mask": MASK},
    "two": {"b": B, "labels_b": Z},
    "two-masked": {"b": B, "labels_b": Z, "mask": MASK_OF_B, "weight": WEIGHT},
}
on_views = pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)


@on_losses
@on_views
def test_are_losses_of_the_similarities_a_chunk_at_a_time(
    loss: Any, options: dict[str, Any], view: dict[str, Any]
) -> None:
    """In all sizes of chunks as of the whole matrix, which is given as it is."""
    options = options | {"normalize": False, "reduction": "sum"}
    b, alone = view.get("b", A), "b" not in view
    given = {name: each for name, each in view.items() if name != "b"}
    expected, g = value_and_grad(loss)(A @ b.T, Y, similarities=True, **options, **given)
    by = [g @ b + g.T @ A] if alone else [g @ b, g.T @ A]
    gradients = value_and_grad(loss, (0,) if alone else (0, 1))
    for memory in (None, 1, 700, 2000):
        value, grads = gradients(A, Y, max_memory=memory, **options, **view)
        np.testing.assert_allclose(value, expected, rtol=64 * EPS)
        for one, other in zip(grads, by, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=512 * EPS)


@pytest.mark.parametrize("view", ["one", "two-masked"])
def test_on_every_library(view: str, xp: Library) -> None:
    """One view and two, with masks and weights, in several chunks: the last begins in another."""
    dtype = xp.floats[-1]
    eps = float(np.finfo(dtype).eps)
    given = VIEWS[view]
    names = {"one": ("multi_similarity",), "two-masked": ("nt_xent",)}[view]
    for loss, options in (LOSSES[name] for name in names):
        argnums: tuple[int, ...] = (0,) if view == "one" else (0, 1)
        if "temperature" in options:
            argnums += (2,)
        both = value_and_grad(loss, argnums)
        expected = both(A, Y, **options, **given)
        more = {
            name: xp.asarray(each, dtype if each.dtype.kind == "f" else None)
            for name, each in given.items()
        }
        found = xp.call(
            both, xp.asarray(A, dtype), xp.asarray(Y), max_memory=900, **options, **more
        )
        value, grads = xp.fetch(found)
        np.testing.assert_allclose(value, expected[0], rtol=64 * eps)
        for one, other in zip(grads, expected[1], strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=256 * eps)


def test_rows_without_pairs_are_left_out() -> None:
    lonely = np.arange(N)  # nobody has a positive
    for name in ("nt_xent", "supcon", "circle"):
        loss, options = LOSSES[name]
        value, by_a = value_and_grad(loss)(A, lonely, **options)
        assert value == 0
        np.testing.assert_array_equal(by_a, 0)
    alike = np.zeros(N, int)  # nobody has a negative
    for loss in (tinyloss.nt_xent, tinyloss.circle):
        assert loss(A, alike) == 0
    assert tinyloss.multi_similarity(A, alike) > 0


@pytest.mark.parametrize("rows", [0, 3])
def test_no_rows_or_nothing_to_compare_with(rows: int, xp: Library) -> None:
    a, labels = xp.asarray(np.ones((rows, 2))), xp.asarray(np.zeros(rows, int))
    b, labels_b = xp.asarray(np.ones((0, 2))), xp.asarray(np.zeros(0, int))
    for name in LOSSES:
        for reduction in ("mean", "none"):
            both = value_and_grad(LOSSES[name][0], (0, 1))
            found = xp.call(both, a, labels, b, labels_b, reduction=reduction)
            value, (by_a, by_b) = xp.fetch(found)
            assert by_b.shape == (0, 2)
            np.testing.assert_array_equal(value, np.zeros(() if reduction == "mean" else rows))
            np.testing.assert_array_equal(by_a, np.zeros((rows, 2)))
        if rows == 0:
            value, by_a = xp.fetch(xp.call(value_and_grad(LOSSES[name][0]), a, labels))
            assert value == 0
            assert by_a.shape == (0, 2)


def test_a_row_counts_as_often_as_it_has_positives() -> None:
    labels = np.array([0, 0, 0, 1, 1])
    a = A[:5]
    each = tinyloss.nt_xent(a, labels, reduction="none")
    np.testing.assert_allclose(each.sum() / 8, tinyloss.nt_xent(a, labels), rtol=8 * EPS)
    kept = np.array([True, False, True, True, True])
    masked = tinyloss.nt_xent(a, labels, where=kept)
    np.testing.assert_allclose(masked, each[kept].sum() / 6, rtol=8 * EPS)


def test_n_pairs_of_labels_and_of_rows() -> None:
    a, b = A[:M], B
    s, both = a @ b.T, value_and_grad(tinyloss.n_pairs, (0, 1))
    for more, shares in (({}, np.eye(M)), ({"labels": Z}, (Z[:, None] == Z) / 3)):
        expected, g = value_and_grad(tinyloss.cross_entropy)(s, shares)
        value, (by_a, by_b) = both(a, b, max_memory=900, **more)
        np.testing.assert_allclose(value, expected, rtol=16 * EPS)
        np.testing.assert_allclose(by_a, g @ b, rtol=0, atol=64 * EPS)
        np.testing.assert_allclose(by_b, g.T @ a, rtol=0, atol=64 * EPS)


def test_native_gradients_meet_what_is_upstream(torch: Any, jax: Any) -> None:
    loss, options = LOSSES["circle"]  # whose gradient is not that of its value
    own = anyloss.grad(loss)(A, Y, **options)
    tensor = torch.tensor(A, requires_grad=True)
    (3.7 * loss(tensor, torch.tensor(Y), max_memory=900, **options)).backward()
    np.testing.assert_allclose(tensor.grad.numpy(), 3.7 * own, rtol=0, atol=256 * EPS)

    def scaled(a: Any) -> Any:
        return 3.7 * loss(a, jax.numpy.asarray(Y), max_memory=900, **options)

    found = jax.jit(jax.grad(scaled))(jax.numpy.asarray(A))
    np.testing.assert_allclose(found, 3.7 * own, rtol=0, atol=256 * EPS)


@pytest.mark.long
def test_memory_is_the_budget_and_the_vectors() -> None:
    a = np.random.default_rng(0).normal(size=(2048, 16))  # similarities of 32 MiB
    labels, budget = np.arange(2048) % 64, 2**21
    both = value_and_grad(tinyloss.multi_similarity)
    with tinyloss_numpy.compilation("always"):
        taken = peak(lambda: both(a, labels, max_memory=budget))
    assert taken < budget + 8 * a.nbytes


def exact_barlow(a: Any, b: Any) -> Any:
    c = cosines(*map(centred, (a, b)))
    terms = [
        (1 - each) ** 2 if i == j else mp.mpf(0.005) * each**2
        for i, row in enumerate(c)
        for j, each in enumerate(row)
    ]
    return mp.fsum(terms)


def centred(rows: Any) -> Rows:
    """Return the columns, less their means."""
    columns = [list(map(mp.mpf, column)) for column in zip(*rows, strict=True)]
    return [[each - mp.fsum(column) / len(column) for each in column] for column in columns]


def exact_vicreg(a: Any, b: Any) -> Any:
    n, d = len(a), len(a[0])
    pairs = [(p - q) ** 2 for u, v in zip(a, b, strict=True) for p, q in zip(u, v, strict=True)]
    total = 25 * mp.fsum(pairs) / (n * d)
    for view in (a, b):
        columns = centred(view)
        for i, one in enumerate(columns):
            for j, other in enumerate(columns):
                c = mp.fsum(p * q for p, q in zip(one, other, strict=True)) / (n - 1)
                if i == j:
                    total += 12.5 * max(0, 1 - mp.sqrt(c + mp.mpf(1e-4))) / d
                else:
                    total += c**2 / d
    return total


VIEWED = {"barlow_twins": exact_barlow, "vicreg": exact_vicreg}
FIRST, SECOND = np.array(E) * 0.5, np.array(F, float)


@pytest.mark.parametrize(("name", "exact"), VIEWED.items(), ids=VIEWED)
def test_two_views_by_differences_on_every_library(name: str, exact: Any, xp: Library) -> None:
    dtype = xp.floats[-1]
    eps = float(np.finfo(dtype).eps)
    loss = getattr(tinyloss, name)
    a, b = (each.astype(dtype) for each in (FIRST, SECOND))
    found = xp.call(value_and_grad(loss, (0, 1)), xp.asarray(a, dtype), xp.asarray(b, dtype))
    value, grads = xp.fetch(found)
    rows = [[list(map(float, row)) for row in each] for each in (a, b)]
    np.testing.assert_allclose(value, float(exact(*rows)), rtol=16 * eps)
    for which, grad in enumerate(grads):
        for place in np.ndindex(grad.shape):
            expected = float(slope(exact, rows, which, place))
            # sums of some terms of up to 25
            np.testing.assert_allclose(grad[place], expected, rtol=0, atol=256 * eps)


@pytest.mark.parametrize("name", VIEWED)
def test_two_views_of_no_items(name: str, xp: Library) -> None:
    a = xp.asarray(np.zeros((0, 3)))
    both = value_and_grad(getattr(tinyloss, name), (0, 1))
    value, grads = xp.fetch(xp.call(both, a, a))
    assert value == 0
    assert [each.shape for each in grads] == [(0, 3), (0, 3)]


@pytest.mark.parametrize("name", VIEWED)
def test_two_views_in_chunks_in_half_precision_and_natively(
    name: str, torch: Any, jax: Any
) -> None:
    loss, rng = getattr(tinyloss, name), np.random.default_rng(0)
    a, b = rng.normal(size=(7, 11)), 1e3 + rng.normal(size=(7, 11))
    both = value_and_grad(loss, (0, 1))
    value, grads = both(a, b)
    for memory in (1, 700, 3000):
        again, others = both(a, b, max_memory=memory)
        np.testing.assert_allclose(again, value, rtol=64 * EPS)
        for one, other in zip(others, grads, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-13, atol=1e-13)
    tensor = torch.tensor(a, requires_grad=True)
    (3.7 * loss(tensor, torch.tensor(b))).backward()
    np.testing.assert_allclose(tensor.grad.numpy(), 3.7 * grads[0], rtol=1e-12, atol=1e-12)
    found = jax.grad(lambda b: 3.7 * loss(jax.numpy.asarray(a), b))(jax.numpy.asarray(b))
    np.testing.assert_allclose(found, 3.7 * grads[1], rtol=1e-12, atol=1e-12)
    half = a.astype("float16")
    _, by_half = value_and_grad(loss)(half, half[::-1].copy())
    _, wide = value_and_grad(loss)(half.astype("float64"), half[::-1].astype("float64"))
    assert by_half.dtype == np.float16
    np.testing.assert_allclose(by_half, wide, rtol=2.0**-11, atol=2.0**-18)


class TestWrongCalls:
    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda: tinyloss.supcon(A, Y[:3]), r"supcon: labels has shape \(3,\), expected \(13,"),
            (lambda: tinyloss.supcon(A, A[:, 0]), "supcon: labels has dtype float64, expected int"),
            (lambda: tinyloss.supcon(A[0], Y), r"supcon: a has shape \(3,\), expected two dim"),
            (lambda: tinyloss.nt_xent(A, Y, B), "nt_xent: b is given, expected labels_b beside"),
            (lambda: tinyloss.nt_xent(A, Y, labels_b=Z), "nt_xent: labels_b is given, expected b"),
            (
                lambda: tinyloss.circle(A, Y, B[:, :2], Z),
                r"circle: a has shape \(13, 3\) and b \(9, 2\), expected rows of the same feat",
            ),
            (
                lambda: tinyloss.circle(A, Y, mask=MASK[:2]),
                r"circle: mask has shape \(2, 13\), expected \(13, 13\)",
            ),
            (lambda: tinyloss.circle(A, Y, mask=Y), "circle: mask has dtype int64, expected bool"),
            (
                lambda: tinyloss.multi_similarity(A, Y, B, Z, similarities=True),
                "multi_similarity: similarities is True beside b",
            ),
            (
                lambda: tinyloss.supcon(A, Y, weight=WEIGHT[:2]),
                r"supcon: weight has shape \(2,\), expected one that broadcasts to \(13,\)",
            ),
            (lambda: tinyloss.supcon(A, Y, temperature=0.0), "supcon: temperature is 0"),
            (lambda: anyloss.circle(A, Y, margin="0.4"), "circle: margin is a str, expected a fin"),
            (lambda: tinyloss.n_pairs(A), "n_pairs: b is None, expected the pairs of a's rows"),
            (lambda: tinyloss.info_nce(A), "info_nce: b is None beside y None, expected y"),
            (lambda: tinyloss.barlow_twins(A[:1], A[:1]), "barlow_twins: a has shape .* two items"),
            (lambda: tinyloss.vicreg(A, B), r"vicreg: a has shape \(13, 3\) and b \(9, 3\)"),
            (
                lambda: value_and_grad(tinyloss.supcon, 1)(A, Y),
                "supcon: argnums holds 1, expected one of 0, 2",
            ),
            (
                lambda: value_and_grad(tinyloss.circle, 2)(A, Y),
                "circle: argnums holds 2, expected 0",
            ),
        ],
    )
    def test_are_told(self, call: Callable[[], Any], message: str) -> None:
        with pytest.raises((ValueError, TypeError), match=rf"tinyloss\.{message}"):
            call()
