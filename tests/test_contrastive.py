"""Losses of similarities: golden values, gradients, chunks, memory."""

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinyloss
import tinyloss_numpy
from tests.support.jets import mp
from tests.support.libraries import Library
from tests.support.memory import budget_for, peak
from tests.support.pairs import E, F, cosines, counting, slope


@pytest.fixture(autouse=True)
def _digits() -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]
    with mp.workdps(60):
        yield


EPS = 2.0**-52
anyloss: Any = tinyloss
value_and_grad: Any = tinyloss.value_and_grad  # of losses whose parameters no checker knows


def of_logits(rows: list[list[Any]]) -> Any:
    """Return the mean cross-entropy of rows whose pair is on the diagonal."""
    return mp.fsum(
        mp.log(mp.fsum(mp.exp(a) for a in row)) - row[n] for n, row in enumerate(rows)
    ) / len(rows)


def exact_info_nce(a: Any, b: Any, temperature: Any = 0.07) -> Any:
    s = [[each / mp.mpf(temperature) for each in row] for row in cosines(a, b)]
    return (of_logits(s) + of_logits([list(column) for column in zip(*s, strict=True)])) / 2


def exact_siglip(a: Any, b: Any, scale: Any = 10, bias: Any = -10) -> Any:
    s = cosines(a, b)
    terms = [
        mp.log1p(mp.exp((-1 if i == j else 1) * (mp.mpf(scale) * each + mp.mpf(bias))))
        for i, row in enumerate(s)
        for j, each in enumerate(row)
    ]
    return mp.fsum(terms) / len(a)


GOLDEN = {
    "info_nce": (tinyloss.info_nce, exact_info_nce, "5.5407037606097161058"),
    "siglip": (tinyloss.siglip, exact_siglip, "5.6601088514199402778"),
}
on_golden = pytest.mark.parametrize(("loss", "exact", "golden"), GOLDEN.values(), ids=GOLDEN)


@on_golden
def test_golden_values_and_gradients_by_differences(loss: Any, exact: Any, golden: str) -> None:
    np.testing.assert_allclose(float(exact(E, F)), float(golden), rtol=EPS)
    a, b = np.array(E), np.array(F, float)
    value, grads = value_and_grad(loss, (0, 1))(a, b)
    # a cosine is off by some eps, and is multiplied by 1 / 0.07 or 10
    np.testing.assert_allclose(value, float(golden), rtol=64 * EPS)
    for which, grad in enumerate(grads):
        for place in np.ndindex(grad.shape):
            expected = float(slope(exact, [E, F], which, place))
            np.testing.assert_allclose(grad[place], expected, rtol=0, atol=256 * EPS)


@on_golden
def test_golden_values_on_every_library(loss: Any, exact: Any, golden: str, xp: Library) -> None:
    dtype = xp.floats[-1]
    eps = float(np.finfo(dtype).eps)
    a, b = xp.asarray(E, dtype), xp.asarray(np.array(F, float), dtype)
    gradients: Any = tinyloss.grad(loss, (0, 1))
    value, by_a, by_b = (lambda found: (found[0], *found[1]))(
        xp.fetch(xp.call(value_and_grad(loss, (0, 1)), a, b))
    )
    np.testing.assert_allclose(value, float(golden), rtol=64 * eps)
    here = gradients(np.array(E), np.array(F, float))
    # float32's inputs are rounded, and the slopes of cosines are up to 1 / 0.07 times as large
    np.testing.assert_allclose(by_a, here[0], rtol=0, atol=512 * eps)
    np.testing.assert_allclose(by_b, here[1], rtol=0, atol=512 * eps)


def test_temperature_scale_and_bias_have_gradients() -> None:
    a, b = np.array(E), np.array(F, float)
    step = mp.mpf(10) ** -25

    def by(exact: Callable[[Any], Any], at: float) -> float:
        return float((exact(at + step) - exact(at - step)) / (2 * step))

    found = tinyloss.grad(tinyloss.info_nce, 2)(a, b, temperature=0.25)
    expected = by(lambda t: exact_info_nce(E, F, t), 0.25)
    np.testing.assert_allclose(found, expected, rtol=256 * EPS)
    found = tinyloss.grad(tinyloss.siglip, (2, 3))(a, b, scale=4.0, bias=-2.0)
    expected_scale = by(lambda t: exact_siglip(E, F, t, -2), 4.0)
    expected_bias = by(lambda t: exact_siglip(E, F, 4, t), -2.0)
    np.testing.assert_allclose(found, [expected_scale, expected_bias], rtol=256 * EPS)


def test_native_gradients(torch: Any, jax: Any) -> None:
    a, b = np.array(E), np.array(F, float)
    own = tinyloss.grad(tinyloss.info_nce, (0, 1, 2))(a, b, temperature=0.25)
    tensors = [torch.tensor(each, requires_grad=True) for each in (a, b, np.array(0.25))]
    (3.7 * tinyloss.info_nce(tensors[0], tensors[1], temperature=tensors[2])).backward()
    by_jax = jax.grad(lambda a, b, t: 3.7 * tinyloss.info_nce(a, b, temperature=t), (0, 1, 2))
    found = by_jax(*map(jax.numpy.asarray, (a, b, np.array(0.25))))
    for mine, tensor, array in zip(own, tensors, found, strict=True):
        np.testing.assert_allclose(tensor.grad.numpy(), 3.7 * mine, rtol=0, atol=256 * EPS)
        np.testing.assert_allclose(array, 3.7 * mine, rtol=0, atol=256 * EPS)


@on_golden
def test_chunks_are_no_matter(loss: Any, exact: Any, golden: str) -> None:
    rng, both = np.random.default_rng(0), value_and_grad(loss, (0, 1))
    a, b = rng.normal(size=(25, 4)), rng.normal(size=(25, 4))  # 8 * 3 + 1 rows
    whole = both(a, b)
    for rows in (1, 2, 3, 4, 7, 13, 25):
        value, grads = both(a, b, max_memory=budget_for(rows, both, a, b))
        np.testing.assert_allclose(value, whole[0], rtol=16 * EPS)
        np.testing.assert_allclose(grads, whole[1], rtol=0, atol=64 * EPS)


@on_golden
def test_vectors_of_any_length_and_of_none(loss: Any, exact: Any, golden: str) -> None:
    a, b = np.array(E, "float32"), np.array(F, "float32")
    expected = loss(a, b)
    tiny, large = np.float32(2.0**-140), np.float32(2.0**120)
    np.testing.assert_allclose(loss(a * large, b * large), expected, rtol=1e-6)
    np.testing.assert_allclose(loss(a * np.float32(2.0**-100), b), expected, rtol=1e-6)
    assert np.isfinite(loss(a * tiny, b))  # subnormal: what is left of them has a direction
    a[1] = 0
    value, by_a = value_and_grad(loss)(a, b)
    assert np.isfinite(value)
    assert np.isfinite(by_a).all()
    np.testing.assert_array_equal(by_a[1], 0)


def test_what_is_left_out_may_be_anything() -> None:
    h, w, y = np.array(E), np.array(F, float), np.array([0, 1, 2, 3])
    where = np.array([True, False, True, True])
    expected = value_and_grad(tinyloss.cosface, (0, 1))(h, w, y, where=where)
    h[1] = np.nan
    found = value_and_grad(tinyloss.cosface, (0, 1))(h, w, y, where=where)
    np.testing.assert_array_equal(found[0], expected[0])
    for one, other in zip(found[1], expected[1], strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_vector_of_zeros_does_not_move_in_autograd(torch: Any) -> None:
    a = np.array(E)
    a[1] = 0
    tensor = torch.tensor(a, requires_grad=True)
    tinyloss.siglip(tensor, torch.tensor(np.array(F, float))).backward()
    own = tinyloss.grad(tinyloss.siglip)(a, np.array(F, float))
    np.testing.assert_allclose(tensor.grad.numpy(), own, rtol=0, atol=256 * EPS)


def test_half_precision() -> None:
    a, b = np.array(E, "float16"), np.array(F, "float16")
    value, (by_a, _) = value_and_grad(tinyloss.siglip, (0, 1))(a, b)
    expected, (by_exact, _) = value_and_grad(tinyloss.siglip, (0, 1))(
        a.astype("float64"), b.astype("float64")
    )
    assert by_a.dtype == np.float16
    np.testing.assert_allclose(value, expected, rtol=64 * 2.0**-23)
    np.testing.assert_allclose(by_a, by_exact, rtol=2.0**-10, atol=2.0**-20)


@pytest.mark.long
@on_golden
def test_memory_is_the_budget_and_the_vectors(loss: Any, exact: Any, golden: str) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(1024, 16)), rng.normal(size=(1024, 16))  # 8 MiB of similarities
    both, budget = value_and_grad(loss, (0, 1)), 2**21
    with tinyloss_numpy.compilation("always"):
        taken = peak(lambda: both(a, b, max_memory=budget))
    # vectors of length 1, and gradients by these, by both ways: some copies of a and b
    assert taken < budget + 10 * (a.nbytes + b.nbytes)


N, D = 13, 3
RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(N, D)), RNG.normal(size=(N, D))
MASK, LABELS = RNG.random((N, N)) < 0.7, RNG.integers(0, 4, N)
WEIGHT = np.arange(N) % 3 * 0.5
LEFT_OUT: dict[str, dict[str, Any]] = {
    "none": {},
    "mask": {"mask": MASK, "weight": WEIGHT, "reduction": "sum"},
    "labels": {"labels": LABELS, "weight": WEIGHT},
    "both": {"mask": MASK, "labels": LABELS, "reduction": "none"},
    "smooth": {"mask": MASK, "label_smoothing": 0.1},
}
on_left_out = pytest.mark.parametrize("given", LEFT_OUT.values(), ids=LEFT_OUT)


def dense(given: dict[str, Any], temperature: float = 0.5) -> tuple[Any, ...]:
    """Return the symmetric loss and gradients by way of all products, in float64."""
    kept = np.ones((N, N), bool)
    options = {name: each for name, each in given.items() if name not in ("mask", "labels")}
    if "mask" in given:
        kept &= given["mask"]
    if "labels" in given:
        kept &= given["labels"][:, None] != given["labels"]
    s = np.where(kept | np.eye(N, dtype=bool), A @ B.T / temperature, -np.inf)
    loss = value_and_grad(tinyloss.cross_entropy)
    (rows, of_rows), (columns, of_columns) = (loss(x, np.arange(N), **options) for x in (s, s.T))
    g = (of_rows + of_columns.T) / (2 * temperature)
    by_temperature = -(g * (A @ B.T)).sum() / temperature
    return (rows + columns) / 2, g @ B, g.T @ A, by_temperature


def assert_near(found: Any, expected: Any, eps: float, times: float = 128) -> None:
    """Compare sums of some tens of products, each rounded, with the same in another order."""
    for one, other in zip((found[0], *found[1]), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=times * eps, atol=times * eps)


@on_left_out
@pytest.mark.parametrize("memory", [None, 1, 700, 2000])
def test_rows_and_columns_are_of_the_same_scores(given: dict[str, Any], memory: Any) -> None:
    both = value_and_grad(tinyloss.info_nce, (0, 1, 2))
    found = both(A, B, normalize=False, temperature=0.5, max_memory=memory, **given)
    assert_near(found, dense(given), EPS)
    value = tinyloss.info_nce(A, B, normalize=False, temperature=0.5, max_memory=memory, **given)
    np.testing.assert_allclose(value, found[0], rtol=32 * EPS)
    value, (by_s,) = value_and_grad(tinyloss.info_nce, (0,))(
        A @ B.T, similarities=True, temperature=0.5, max_memory=memory, **given
    )
    np.testing.assert_allclose(value, found[0], rtol=32 * EPS)
    np.testing.assert_allclose(by_s @ B, found[1][0], rtol=0, atol=128 * EPS)


@pytest.mark.parametrize("name", ["none", "both", "smooth"])
def test_rows_and_columns_on_every_library(name: str, xp: Library) -> None:
    dtype = xp.floats[-1]
    given = LEFT_OUT[name]
    more = {n: xp.asarray(e) if isinstance(e, np.ndarray) else e for n, e in given.items()}
    found = xp.call(
        value_and_grad(tinyloss.info_nce, (0, 1, 2)),
        *(xp.asarray(A, dtype), xp.asarray(B, dtype)),
        normalize=False, temperature=0.5, max_memory=900, **more,
    )  # fmt: skip
    assert_near(xp.fetch(found), dense(given), float(np.finfo(dtype).eps))


@on_left_out
def test_both_ways_take_four_products(given: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    counted, both = counting(monkeypatch), value_and_grad(tinyloss.info_nce, (0, 1, 2))
    both(A, B, **given)
    assert len(counted) == 3  # all fits at once
    counted.clear()
    chunks = -(-N // tinyloss.memory(both, A, B, max_memory=1200, **given).rows)
    both(A, B, max_memory=1200, **given)
    assert chunks > 2
    assert len(counted) == 4 * chunks
    counted.clear()
    anyloss.info_nce(A, B, max_memory=1200, **given)
    assert 0 < len(counted) <= chunks


@pytest.mark.parametrize(
    "given", [{}, {"label_smoothing": 0.1, "weight": WEIGHT}], ids=["plain", "smooth and weighted"]
)
def test_both_ways_are_two_programs(given: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a chunk shows of columns, and the gradients: each takes a second to compile."""
    kinds: set[Any] = set()
    for name in ("chunks", "parts"):
        module: Any = importlib.import_module(f"tinyloss._engine.{name}")

        def noted(job: Any, answer_of: Any = module.answer_of) -> Any:
            kinds.add(job.kind)
            return answer_of(job)

        monkeypatch.setattr(module, "answer_of", noted)
    value_and_grad(tinyloss.info_nce, (0, 1))(A, B, max_memory=700, **given)
    assert len(kinds) == 2


def test_both_ways_of_blocks_take_four_products_each(monkeypatch: pytest.MonkeyPatch) -> None:
    da = pytest.importorskip("dask.array")
    counted = counting(monkeypatch)
    a, b = (da.from_array(each, chunks=(5, D)) for each in (A, B))
    found = value_and_grad(tinyloss.info_nce, (0, 1))(a, b)
    da.compute(found, scheduler="synchronous")
    assert len(counted) == 4 * len(a.chunks[0])
    counted.clear()
    tinyloss.info_nce(a, b).compute(scheduler="synchronous")
    assert len(counted) == len(a.chunks[0])


def test_native_gradients_of_both_ways(torch: Any, jax: Any) -> None:
    given = LEFT_OUT["both"]  # each item's own loss, met by another number each
    upstream = np.linspace(-1, 2.5, N)
    _, exact, _, _ = dense({**given, "weight": upstream})
    more: dict[str, Any] = {"normalize": False, "temperature": 0.5, "max_memory": 900}
    own = {n: torch.tensor(e) if isinstance(e, np.ndarray) else e for n, e in given.items()}
    tensor = torch.tensor(A, requires_grad=True)
    loss = anyloss.info_nce(tensor, torch.tensor(B), **more, **own)
    loss.backward(torch.tensor(upstream))
    np.testing.assert_allclose(tensor.grad.numpy(), exact, rtol=0, atol=512 * EPS)
    own = {n: jax.numpy.asarray(e) if isinstance(e, np.ndarray) else e for n, e in given.items()}

    def scaled(a: Any) -> Any:
        return (anyloss.info_nce(a, jax.numpy.asarray(B), **more, **own) * upstream).sum()

    found = jax.jit(jax.grad(scaled))(jax.numpy.asarray(A))
    np.testing.assert_allclose(found, exact, rtol=0, atol=512 * EPS)


def test_one_view_with_places_of_positives() -> None:
    y = (np.arange(N) + 5) % N
    s = np.where(np.eye(N, dtype=bool), -np.inf, A @ A.T / 0.5)
    for loss, of_scores in (
        (tinyloss.info_nce, tinyloss.cross_entropy),
        (tinyloss.siglip, None),
    ):
        options = {"temperature": 0.5} if of_scores else {"scale": 2.0, "bias": 0.0}
        value, by_a = value_and_grad(loss)(A, y=y, normalize=False, max_memory=700, **options)
        if of_scores is not None:
            expected, g = value_and_grad(of_scores)(s, y)
        else:
            target = np.arange(N) == y[:, None]
            weight = np.where(np.eye(N, dtype=bool), 0.0, 1.0)
            expected, g = value_and_grad(tinyloss.binary_cross_entropy_with_logits)(
                2 * A @ A.T, target, weight=weight, denominator=N
            )
        np.testing.assert_allclose(value, expected, rtol=32 * EPS)
        np.testing.assert_allclose(by_a, 2 * (g @ A + g.T @ A), rtol=0, atol=128 * EPS)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_no_rows(reduction: str, xp: Library) -> None:
    a, y = xp.asarray(np.zeros((0, 3))), xp.asarray(np.zeros(0, int))
    b, four = xp.asarray(np.ones((4, 3))), xp.asarray(np.zeros(4, int))
    nothing = xp.asarray(np.zeros((0, 0), bool))
    pairs: Any = (
        (tinyloss.info_nce, (a, a), {"temperature": xp.asarray(np.array(0.5))}, (0, 1, 2)),
        (tinyloss.info_nce, (a, b, y), {"labels": y, "labels_b": four}, (0, 1)),
        (tinyloss.info_nce, (a,), {"y": y}, (0,)),
        (tinyloss.siglip, (a, a), {"labels": y, "mask": nothing}, (0, 1, 2, 3)),
        (tinyloss.n_pairs, (a, a), {}, (0, 1)),
        (tinyloss.arcface, (a, b, y), {}, (0, 1)),
    )
    for loss, arrays, options, argnums in pairs:
        options = {**options, "reduction": reduction}
        value, grads = xp.fetch(xp.call(value_and_grad(loss, argnums), *arrays, **options))
        assert value.shape == (() if reduction == "mean" else (0,))
        assert grads[0].shape == (0, 3)
        for each in (value, *grads):
            np.testing.assert_array_equal(each, 0)


def test_no_rows_natively(torch: Any, jax: Any) -> None:
    a = torch.zeros((0, 3), requires_grad=True)
    tinyloss.info_nce(a, torch.zeros((0, 3))).backward()
    assert a.grad.shape == (0, 3)
    b = jax.numpy.zeros((0, 3))
    assert jax.jit(jax.grad(lambda a: anyloss.siglip(a, b)))(b).shape == (0, 3)


def test_a_row_needs_a_class_to_be_its_positive() -> None:
    with pytest.raises(ValueError, match=r"info_nce: x has shape \(2, 0\), expected at least one "):
        tinyloss.info_nce(np.ones((2, 3)), np.ones((0, 3)), np.array([0, 1]))


LOSSES: dict[str, tuple[Any, dict[str, Any]]] = {
    "info_nce": (tinyloss.info_nce, {}),
    "info_nce-one_way": (tinyloss.info_nce, {"symmetric": False}),
    "siglip": (tinyloss.siglip, {}),
    "n_pairs": (tinyloss.n_pairs, {}),
}
on_losses = pytest.mark.parametrize(("loss", "options"), LOSSES.values(), ids=LOSSES)


@on_losses
def test_nothing_is_left(loss: Any, options: dict[str, Any], xp: Library) -> None:
    a, b, nobody = xp.asarray(A), xp.asarray(B), xp.asarray(np.zeros(N, bool))
    for reduction in ("mean", "none"):
        given = {**options, "where": nobody, "reduction": reduction, "max_memory": 700}
        value, grads = xp.fetch(xp.call(value_and_grad(loss, (0, 1)), a, b, **given))
        for each in (value, *grads):
            np.testing.assert_array_equal(each, 0)


def test_one_pair_has_no_negatives(xp: Library) -> None:
    a, b = xp.asarray(A[:1]), xp.asarray(B[:1])
    value, grads = xp.fetch(xp.call(value_and_grad(tinyloss.info_nce, (0, 1)), a, b))
    for each in (value, *grads):
        np.testing.assert_array_equal(each, 0)
    found = xp.fetch(xp.call(tinyloss.siglip, a, b))
    (cosine,) = (A[:1] * B[:1]).sum(1) / np.linalg.norm(A[0]) / np.linalg.norm(B[0])
    np.testing.assert_allclose(found, np.log1p(np.exp(10 - 10 * cosine)), rtol=1e-6)


@pytest.mark.parametrize("loss", [tinyloss.info_nce, tinyloss.siglip], ids=lambda f: f.__name__)
@pytest.mark.parametrize("rows", [2, 4, N])
def test_a_row_does_not_depend_on_its_neighbours(loss: Any, rows: int) -> None:
    a, b, y = A.astype("float32"), B.astype("float32"), np.arange(N)
    both = value_and_grad(loss)
    budget = budget_for(rows, both, a, b, y)

    def of(a: Any, y: Any) -> Any:
        return both(a, b, y, reduction="none", max_memory=budget)

    value, by_a = of(a, y)
    for row in range(N):
        other, others_y = np.full_like(a, 3.0), np.zeros_like(y)
        other[row], others_y[row] = a[row], y[row]
        again, by_other = of(other, others_y)
        assert again[row] == value[row]
        np.testing.assert_array_equal(by_other[row], by_a[row])


def exact_margin(move: Callable[[Any], Any], scale: float, y: list[int]) -> Any:
    """Return the cross-entropy of cosines times a scale, those of the targets moved."""

    def exact(h: Any, w: Any) -> Any:
        total = mp.mpf(0)
        for row, target in zip(cosines(h, w), y, strict=True):
            logits = [scale * (move(c) if k == target else c) for k, c in enumerate(row)]
            total += mp.log(mp.fsum(map(mp.exp, logits))) - logits[target]
        return total / len(y)

    return exact


class TestMargins:
    @pytest.mark.parametrize(
        ("loss", "move"),
        [
            (tinyloss.arcface, lambda c: mp.cos(mp.acos(c) + mp.mpf(0.5))),
            (tinyloss.cosface, lambda c: c - mp.mpf(0.35)),
        ],
        ids=["arcface", "cosface"],
    )
    def test_gradients_by_differences_on_every_library(
        self, loss: Any, move: Any, xp: Library
    ) -> None:
        dtype, y = xp.floats[-1], [1, 0, 2, 2, 1]
        eps = float(np.finfo(dtype).eps)
        h, w = A[:5].astype(dtype), B[:4].astype(dtype)
        exact = exact_margin(move, 4.0, y)
        found = xp.call(
            value_and_grad(loss, (0, 1)),
            *(xp.asarray(h, dtype), xp.asarray(w, dtype), xp.asarray(np.array(y))),
            scale=4.0,
            max_memory=300,
        )
        value, grads = xp.fetch(found)
        rows = [[list(map(float, row)) for row in each] for each in (h, w)]
        np.testing.assert_allclose(value, float(exact(*rows)), rtol=32 * eps)
        for which, grad in enumerate(grads):
            for place in np.ndindex(grad.shape):
                expected = float(slope(exact, rows, which, place))
                # of cosines off by some eps, times the scale and the slope of their angles
                np.testing.assert_allclose(grad[place], expected, rtol=0, atol=256 * eps)

    COSINES = ((0.5, 0.25, -0.75), 0)
    """Of a vector with the axes: what w = 1 makes of it."""

    @pytest.mark.parametrize(
        ("loss", "margin", "value", "grad"),
        [
            (
                tinyloss.arcface,
                np.deg2rad(28.6),
                14.436341135728161117,
                [-73.878734592327794, 63.999965600139622, 1.0264384182424211e-26],
            ),
            (
                tinyloss.cosface,
                0.35,
                6.4016601784140455611,
                [-63.893836730868837, 63.893836730868837, 1.0247363118790402e-26],
            ),
        ],
        ids=["arcface", "cosface"],
    )
    def test_golden_values(
        self, loss: Any, margin: float, value: float, grad: Any, xp: Library
    ) -> None:
        dtype = xp.floats[-1]
        eps = float(np.finfo(dtype).eps)
        h, y = xp.asarray([self.COSINES[0]], dtype), xp.asarray(np.array([self.COSINES[1]]))
        options: dict[str, Any] = {"margin": float(margin), "normalize": False}
        both = value_and_grad(loss)
        found, by_h = xp.fetch(xp.call(both, h, xp.asarray(np.eye(3), dtype), y, **options))
        # to eps of the scale
        np.testing.assert_allclose(found, value, rtol=64 * eps)
        np.testing.assert_allclose(by_h[0], grad, rtol=256 * eps)

    def test_past_the_largest_angle_arcface_goes_on_straight(self) -> None:
        h, w = np.array([[-1.0, 0.0]]), np.eye(2)
        options: dict[str, Any] = {"scale": 1.0, "margin": 0.5, "normalize": False}
        value, by_h = value_and_grad(tinyloss.arcface)(h, w, np.array([0]), **options)
        logits = np.array([[-1 - 0.5 * np.sin(0.5), 0.0]])
        expected, by_logits = value_and_grad(tinyloss.cross_entropy)(logits, np.array([0]))
        np.testing.assert_allclose(value, expected, rtol=4 * EPS)
        np.testing.assert_allclose(by_h, by_logits, rtol=4 * EPS)


class TestWrongCalls:
    a, b = np.array(E), np.array(F, float)

    def test_rows_that_do_not_fit(self) -> None:
        for loss in (tinyloss.info_nce, tinyloss.siglip):
            with pytest.raises(
                ValueError, match=rf"{loss.__name__}: a has shape \(4, 2\) and b \(3"
            ):
                loss(self.a, self.b[:3])
            with pytest.raises(ValueError, match="expected rows of the same features"):
                loss(self.a, self.b.T)
            with pytest.raises(ValueError, match="argnums holds 5, expected one of 0, 1, 2"):
                value_and_grad(loss, 5)(self.a, self.b)

    def test_parameters(self) -> None:
        with pytest.raises(ValueError, match=r"info_nce: temperature is 0, expected a number abo"):
            tinyloss.info_nce(self.a, self.b, temperature=0)
        with pytest.raises(ValueError, match="labels_b is given, expected labels beside it"):
            tinyloss.info_nce(self.a, self.b, labels_b=np.arange(4))
        with pytest.raises(ValueError, match="symmetric is True beside y"):
            tinyloss.info_nce(self.a, self.b, np.arange(4), symmetric=True)
        with pytest.raises(ValueError, match=r"arcface: margin is 4\.0, expected less than pi"):
            tinyloss.arcface(self.a, self.b, np.arange(4), margin=4.0)


def test_positives_may_be_anywhere() -> None:
    a, b = np.array(E), np.array(F, float)
    y = np.array([1, 3, 0, 2])
    turned = tinyloss.info_nce(a, b[y], symmetric=False)
    np.testing.assert_allclose(tinyloss.info_nce(a, b, y), turned, rtol=16 * EPS)
    np.testing.assert_allclose(tinyloss.siglip(a, b, y), tinyloss.siglip(a, b[y]), rtol=16 * EPS)


# ------------------------------------------------------------------------------ faults of others


def test_a_sigmoid_loss_divides_by_rows_and_not_by_pairs() -> None:
    """big_vision 115: divided by all pairs, the loss shrinks as the batch grows."""
    rng = np.random.default_rng(20)
    a, b = rng.normal(size=(2, 6, 3))
    items = tinyloss.siglip(a, b, reduction="none")
    np.testing.assert_allclose(tinyloss.siglip(a, b), items.sum() / 6, rtol=1e-14)


def test_a_positive_far_behind_still_has_a_gradient() -> None:
    """pytorch-metric-learning's log(num / den + tiny) is flat from a lead of 87 on."""
    x, labels, columns = np.array([[0.0, 200.0]]), np.array([0]), np.array([0, 1])
    losses: list[Any] = [tinyloss.nt_xent, tinyloss.supcon]
    for loss in losses:
        derive: Any = tinyloss.value_and_grad(loss)
        value, by_x = derive(x, labels, None, columns, similarities=True, temperature=1.0)
        assert value == 200
        np.testing.assert_array_equal(by_x, [[-1.0, 1.0]])


def test_rows_without_a_positive_are_left_out_of_the_mean() -> None:
    """HobbitLong's SupContrast 141 and 142: 0 / 0 makes all of the loss NaN."""
    rng = np.random.default_rng(21)
    a, labels = rng.normal(size=(5, 3)), np.array([0, 0, 1, 1, 2])
    value, by_a = tinyloss.value_and_grad(tinyloss.supcon)(a, labels)
    items = tinyloss.supcon(a, labels, reduction="none")
    assert items[4] == 0
    np.testing.assert_allclose(value, items.sum() / 4, rtol=1e-14)
    assert np.isfinite(by_a).all()


def test_a_vector_of_zeros_in_half_precision_is_no_nan() -> None:
    """Lightly 1259: the floor of 1e-12 is itself 0 in float16."""
    a = np.eye(3, dtype=np.float16)
    a[1] = 0
    value, by_a = tinyloss.value_and_grad(tinyloss.info_nce)(a, np.eye(3, dtype=np.float16))
    assert np.isfinite(value)
    assert np.isfinite(by_a).all()
    assert not by_a[1].any()
