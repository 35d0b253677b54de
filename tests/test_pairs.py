"""Losses of pairs and triples: the truth by mpmath, every library, autodiff, edges, peers."""

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import tinyloss
import tinyloss_numpy
from tests.support.compare import close
from tests.support.jets import mp
from tests.support.libraries import Library
from tests.support.params import covering

Array = npt.NDArray[Any]
anyloss: Any = tinyloss  # of losses chosen at run time, whose parameters no checker knows
value_and_grad: Any = tinyloss.value_and_grad
INF = float("inf")
on = pytest.mark.parametrize
ORDERS = (2.0, 1.0, INF, 3.0, 1.5)
on_orders = on("p", ORDERS)


@pytest.fixture(autouse=True)
def _digits() -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]
    with mp.workdps(110):
        yield


# ---------------------------------------------------------------------------------------- the truth


def vector(row: Any) -> list[Any]:
    return [mp.mpf(float(each)) for each in row]


def distance(a: Any, b: Any, p: float) -> tuple[Any, list[Any]]:
    """Return the distance of two vectors and its gradient by the first."""
    d = [x - y for x, y in zip(a, b, strict=True)]
    sizes = [abs(each) for each in d]
    if p == INF:
        size = max(sizes)
        ties = sum(each == size for each in sizes)
        shares = [mp.mpf(each == size) / ties for each in sizes]
    else:
        size = mp.fsum(each**p for each in sizes) ** (1 / mp.mpf(p))
        shares = [(each / size) ** (p - 1) if each else mp.mpf(0) for each in sizes]
    return size, [mp.sign(x) * share for x, share in zip(d, shares, strict=True)]


def cosine(a: Any, b: Any) -> tuple[Any, list[Any], list[Any]]:
    """Return the cosine of two vectors and its gradients by both."""
    aa, bb, ab = (
        mp.fsum(x * y for x, y in zip(u, v, strict=True)) for u, v in ((a, a), (b, b), (a, b))
    )
    if not aa * bb:
        return mp.mpf(0), [mp.mpf(0)] * len(a), [mp.mpf(0)] * len(a)
    length = mp.sqrt(aa * bb)
    by_a = [(y - ab / aa * x) / length for x, y in zip(a, b, strict=True)]
    by_b = [(x - ab / bb * y) / length for x, y in zip(a, b, strict=True)]
    return ab / length, by_a, by_b


def length_of(v: Any) -> Any:
    return mp.sqrt(mp.fsum(each * each for each in v))


def within(scale: Any, dtype: str) -> Any:
    """Return a scale, which beyond the largest number forgives nothing more than that does."""
    return min(scale, mp.mpf(float(np.finfo(dtype).max)))


def held(got: Any, exact: Any, eps: float, dtype: str, scale: Any = 0, slack: Any = 0) -> None:
    """Hold numbers to the truth within eps of themselves or of a scale, and a slack."""
    info = np.finfo(dtype)
    for number, truth in zip(np.ravel(got), exact, strict=True):
        if abs(truth) > float(info.max):
            assert np.isinf(number)
            continue
        size = max(abs(truth), abs(scale), mp.mpf(float(info.tiny)))
        error = abs(mp.mpf(float(number)) - truth)
        off = float(error / size / float(info.eps))
        assert error <= eps * float(info.eps) * size + slack, f"{off:.3g} eps, {number} for {truth}"


def draws(dtype: str, c: int) -> Iterator[tuple[str, Array, Array]]:
    """Yield pairs of rows of vectors, from ordinary to extreme."""
    rng = np.random.default_rng(c)
    info = np.finfo(dtype)
    most, least = float(info.max), float(info.tiny)
    shape = (6, c)

    def drawn(*pair: Any) -> tuple[Array, Array]:
        a, b = (np.clip(each, -most, most).astype(dtype) for each in pair)
        return a, b

    x, z = rng.standard_normal((2, *shape))
    small, some = np.abs(np.tanh(x)), rng.random(shape) < 0.4
    far = 10.0 ** rng.uniform(-30, 30, (2, *shape))
    yield "normal", *drawn(x, z)
    for angle in (1e-1, 1e-3, 1e-6, 1e-10, 1e-15):
        yield f"near_{angle}", *drawn(x, x * (1 + angle * z))
        yield f"parallel_{angle}", *drawn(x, 3.7 * x + angle * z)
    yield "opposite", *drawn(x, -x * (1 + 1e-6 * z))
    yield "equal", *drawn(x, x)
    yield "huge", *drawn(np.tanh(x) * most / 4, np.tanh(z) * most / 4)
    yield "difference_overflows", *drawn((small / 2 + 0.5) * most, (-small / 2 - 0.5) * most)
    yield "small", *drawn(x * least * 1000, z * least * 1000)
    yield "subnormal", *drawn(x * least / 100, z * least / 100)
    yield "unlike", *drawn(x * 1e30, z * 1e-30)
    yield "mixed", *drawn(x * far[0], z * far[1])
    yield "with_zeros", *drawn(x * some, z * some[::-1])
    yield "zero", *drawn(x * 0, z)


every_dtype = on("dtype", ["float32", "float64"])
every_length = on("c", [1, 3, 40])
compiled_or_not = on("mode", ["never", pytest.param("always", marks=pytest.mark.long)])


def every_way(option: str) -> pytest.MarkDecorator:
    """By the formulas each order meets each dtype and option; compiled, any two of them meet."""
    ways = [*product(ORDERS, ("float32", "float64"), (False, True))]
    some = covering(ways)
    marks = [pytest.mark.long if n in some else pytest.mark.slow for n in range(len(ways))]
    return on(
        ("p", "dtype", option, "mode"),
        [
            *[pytest.param(*way, "never") for way in ways],
            *[pytest.param(*way, "always", marks=m) for way, m in zip(ways, marks, strict=True)],
        ],
    )


@on_orders
@every_dtype
@every_length
@compiled_or_not
def test_distances_are_exact(p: float, dtype: str, c: int, mode: Any) -> None:
    bound = 4 if p in (1, 2, INF) else 4 + 2 * p
    both = value_and_grad(tinyloss.pairwise_distance, (0, 1))
    with tinyloss_numpy.compilation(mode):
        for _, a, b in draws(dtype, c):
            value, (by_a, by_b) = both(a, b, p=p, reduction="none")
            for n in range(len(a)):
                size, slope = distance(vector(a[n]), vector(b[n]), p)
                held(value[n], [size], bound, dtype)
                # a share below the smallest normal number, to the power p - 1
                least = (2 * mp.mpf(float(np.finfo(dtype).tiny))) ** (p - 1) if 1 < p < 2 else 0
                held(by_a[n], slope, bound, dtype, slack=least)
            np.testing.assert_array_equal(by_b, -by_a)


@every_dtype
@every_length
@compiled_or_not
def test_cosines_are_exact(dtype: str, c: int, mode: Any) -> None:
    both = value_and_grad(tinyloss.cosine_similarity, (0, 1))
    all_three = value_and_grad(tinyloss.cosine_embedding, (0, 1, 2))
    eps = mp.mpf(float(np.finfo(dtype).eps))
    with tinyloss_numpy.compilation(mode):
        for _, a, b in draws(dtype, c):
            value, (by_a, by_b) = both(a, b, reduction="none")
            for side in (1, -1):
                y = np.full(len(a), side, dtype)
                loss, (from_a, from_b, from_y) = all_three(a, b, y, margin=0.25, reduction="none")
                counts = (value > 0.25)[:, None] if side < 0 else True
                np.testing.assert_array_equal(from_a, np.where(counts, -side * by_a, 0))
                np.testing.assert_array_equal(from_b, np.where(counts, -side * by_b, 0))
                for n in range(len(a)):
                    cos, *slopes = cosine(vector(a[n]), vector(b[n]))
                    over = max(mp.mpf(0), cos - mp.mpf(0.25))
                    held(value[n], [cos], 4, dtype, scale=1)
                    if side > 0:
                        held(loss[n], [1 - cos], 8, dtype, slack=eps**2)
                    else:
                        held(loss[n], [over], 4, dtype, scale=1)
                    held(from_y[n], [(1 - cos - over) / 2], 8, dtype, scale=over, slack=eps**2)
                    for got, slope, v in zip((by_a[n], by_b[n]), slopes, (a[n], b[n]), strict=True):
                        size, own = length_of(slope), length_of(vector(v))
                        held(got, slope, 8, dtype, size, eps**2 / own if own else 0)


def triplet(
    a: Any, b: Any, n: Any, margin: float, p: float, swap: bool
) -> tuple[Any, Any, list[list[Any]]]:
    """Return the margin's gap, the sum of its terms' sizes, and the gradients where it counts."""
    near, u = distance(a, b, p)
    far, v = distance(a, n, p)
    by = [
        [s - t for s, t in zip(u, v, strict=True)],
        [-s for s in u],
        v,
    ]
    if swap:
        other, w = distance(b, n, p)
        if other < far:
            far = other
            by = [u, [-s - t for s, t in zip(u, w, strict=True)], w]
    return near - far + mp.mpf(margin), near + far + mp.mpf(margin), by


@every_way("swap")
def test_triplets_are_exact(p: float, dtype: str, swap: bool, mode: Any) -> None:
    bound = 4 if p in (1, 2, INF) else 4 + 2 * p
    eps = float(np.finfo(dtype).eps)
    every = value_and_grad(tinyloss.triplet_margin, (0, 1, 2))
    rng = np.random.default_rng(0)
    with tinyloss_numpy.compilation(mode):
        for _, a, b in draws(dtype, 3):
            n = (a[rng.permutation(len(a))] * 0.75).astype(dtype)
            options: dict[str, Any] = {"margin": 0.5, "p": p, "swap": swap}
            value, grads = every(a, b, n, reduction="none", **options)
            for i in range(len(a)):
                rows = [vector(each[i]) for each in (a, b, n)]
                gap, scale, by = triplet(rows[0], rows[1], rows[2], **options)
                held(
                    value[i],
                    [max(gap, mp.mpf(0))],
                    bound,
                    dtype,
                    scale=within(scale, dtype),
                )
                if abs(gap) < bound * eps * scale:
                    continue  # either side of the kink
                if (
                    swap
                    and abs(distance(rows[0], rows[2], p)[0] - distance(rows[1], rows[2], p)[0])
                    < bound * eps * scale
                ):
                    continue  # either of two sides
                for grad, slope in zip(grads, by, strict=True):
                    held(grad[i], [s * (gap > 0) for s in slope], bound, dtype, scale=2)


@every_way("squared")
def test_contrasts_are_exact(p: float, dtype: str, squared: bool, mode: Any) -> None:
    bound = (10 if squared else 5) + (0 if p in (1, 2, INF) else 4 * p)
    eps = float(np.finfo(dtype).eps)
    every = value_and_grad(tinyloss.contrastive, (0, 1, 2))
    power, margin = 2 if squared else 1, 0.75
    options: dict[str, Any] = {"margin": margin, "p": p, "squared": squared, "reduction": "none"}
    with tinyloss_numpy.compilation(mode):
        for _, a, b in draws(dtype, 3):
            for side in (1, -1):
                y = np.full(len(a), side, dtype)
                value, (by_a, by_b, by_y) = every(a, b, y, **options)
                np.testing.assert_array_equal(by_b, -by_a)
                for n in range(len(a)):
                    size, slope = distance(vector(a[n]), vector(b[n]), p)
                    short = max(mp.mpf(0), margin - size)
                    far, near = size**power, short**power
                    scale = within((size + margin) ** power, dtype)
                    held(value[n], [far if side > 0 else near], bound, dtype, scale * (side < 0))
                    if size > float(np.finfo(dtype).max):  # so is what is made of the distance
                        assert np.isinf(by_y[n])
                        continue
                    held(by_y[n], [(far - near) / 2], bound, dtype, scale)
                    if not squared and abs(size - margin) < bound * eps * margin:
                        continue  # either side of the kink
                    pull = size if side > 0 else -short
                    by_size = 2 * pull if squared else mp.sign(pull)
                    around = 2 * (min(size, mp.mpf(margin)) + margin) * (side < 0)
                    # a slope, or a share of it, below the smallest normal number
                    least = (2 * mp.mpf(float(np.finfo(dtype).tiny))) ** min(1, max(p - 1, 0.5))
                    exact = [each * by_size for each in slope]
                    held(by_a[n], exact, bound, dtype, around, least * abs(by_size))


@every_dtype
@compiled_or_not
def test_rankings_are_exact(dtype: str, mode: Any) -> None:
    every = value_and_grad(tinyloss.margin_ranking, (0, 1, 2))
    eps, margin = float(np.finfo(dtype).eps), 0.5
    with tinyloss_numpy.compilation(mode):
        for _, a, b in draws(dtype, 3):
            y = np.where(np.arange(a.size).reshape(a.shape) % 2, 1, -1).astype(dtype)
            value, grads = every(a, b, y, margin=margin, reduction="none")
            for place in np.ndindex(a.shape):
                u, v, side = (mp.mpf(float(each[place])) for each in (a, b, y))
                gap, scale = margin - side * (u - v), margin + abs(u - v)
                held(
                    value[place],
                    [max(gap, mp.mpf(0))],
                    1,
                    dtype,
                    scale=within(scale, dtype),
                )
                if abs(gap) > eps * scale:
                    wrong = gap > 0
                    assert [float(g[place]) for g in grads[:2]] == [-side * wrong, side * wrong]
                    held(grads[2][place], [(v - u) * wrong], 1, dtype)
            _, curvature = anyloss.grad_and_hess(tinyloss.margin_ranking)(a, b, y)
            np.testing.assert_array_equal(curvature, 0)


def test_published_and_worked_out_values() -> None:
    """The triplets are those of optax's documentation."""
    anchor = np.array([[0.0, 0.0], [1.0, 1.0]])
    positive, negative = anchor + 0.1, np.array([[1.0, 0.0], [0.0, 1.0]])
    triplets = tinyloss.triplet_margin(anchor, positive, negative, reduction="none")
    np.testing.assert_allclose(triplets, 0.02**0.5, rtol=1e-14)
    three = {"p": 3, "reduction": "none"}
    np.testing.assert_allclose(
        anyloss.triplet_margin(anchor, positive, negative, **three), 0.002 ** (1 / 3), rtol=1e-14
    )
    a, b = np.array([[3.0, 4.0]]), np.array([[-4.0, 3.0]])
    assert tinyloss.cosine_similarity(a, b) == 0
    assert tinyloss.cosine_embedding(a, b, np.array([1])) == 1
    assert tinyloss.pairwise_distance(a, b, p=1) == 8
    assert tinyloss.pairwise_distance(a, b, p=INF) == 7


# ------------------------------------------------------------------------------------ the contract

RNG = np.random.default_rng(7)
N, C = 6, 5
A, B, NEGATIVE = (RNG.standard_normal((N, C)).astype(np.float32) for _ in range(3))
SIDES = np.where(np.arange(N) % 3, np.float32(1), np.float32(-1))
EACH_SIDE = np.where(np.arange(N * C).reshape(N, C) % 3, np.float32(1), np.float32(-1))
WEIGHT = (np.arange(N) % 3 + np.float32(0.5)).astype(np.float32)
CALLS: dict[str, tuple[Any, tuple[Array, ...], dict[str, Any]]] = {
    "margin_ranking": (tinyloss.margin_ranking, (A, B, EACH_SIDE), {"margin": 0.25}),
    "distance": (tinyloss.pairwise_distance, (A, B), {}),
    "distance-1": (tinyloss.pairwise_distance, (A, B), {"p": 1}),
    "distance-3": (tinyloss.pairwise_distance, (A, B), {"p": 3.0}),
    "distance-inf": (tinyloss.pairwise_distance, (A, B), {"p": INF}),
    "triplet": (tinyloss.triplet_margin, (A, B, NEGATIVE), {"margin": 2.0}),
    "triplet-swap": (tinyloss.triplet_margin, (A, B, NEGATIVE), {"p": 3.0, "swap": True}),
    "contrastive": (tinyloss.contrastive, (A, B, SIDES), {"margin": 4.0}),
    "contrastive-1": (tinyloss.contrastive, (A, B, SIDES), {"p": 1, "squared": False}),
    "cosine": (tinyloss.cosine_similarity, (A, B), {}),
    "cosine_embedding": (tinyloss.cosine_embedding, (A, B, SIDES), {"margin": 0.125}),
}
every_call = on(("loss", "arrays", "options"), CALLS.values(), ids=CALLS)


def of_rows(options: dict[str, Any], loss: Any) -> dict[str, Any]:
    """Return options with a weight for each item."""
    weight = WEIGHT if "axis" in loss.__signature__.parameters else WEIGHT[:, None]
    return {**options, "weight": weight}


def numbers(arrays: Any) -> tuple[int, ...]:
    return tuple(range(len(arrays)))


@every_call
def test_gradients_by_every_array_are_derivatives(
    loss: Any, arrays: tuple[Array, ...], options: dict[str, Any]
) -> None:
    given = of_rows(options, loss)
    wide = [each.astype(np.float64) for each in arrays]
    for reduction in ("mean", "none"):
        _, grads = value_and_grad(loss, numbers(arrays))(*wide, **given, reduction=reduction)
        for which, grad in enumerate(grads):
            assert grad.shape == wide[which].shape
            for place in np.ndindex(grad.shape):
                ends: list[Any] = []
                for step in (2.0**-20, -(2.0**-20)):
                    moved = [each.copy() for each in wide]
                    moved[which][place] += step
                    ends.append(np.sum(loss(*moved, **given, reduction=reduction)))
                # a central difference: its own error is the square of the step's
                slope = (ends[0] - ends[1]) / 2.0**-19
                np.testing.assert_allclose(grad[place], slope, rtol=0, atol=2.0**-28)


@every_call
def test_on_every_library(
    loss: Any, arrays: tuple[Array, ...], options: dict[str, Any], xp: Library
) -> None:
    """With weights, a mask, and the features along another axis."""
    dtype = xp.floats[-1]
    given = of_rows(options, loss)
    turns: list[dict[str, Any]] = [{}]
    if "axis" in loss.__signature__.parameters:
        turns.append({"axis": 0})
    for turn in turns:
        placed = [each.T if turn and each.ndim == 2 else each for each in arrays]
        where = np.arange(N) % 4 != 1
        where = where if "axis" in loss.__signature__.parameters else where[:, None]
        every = value_and_grad(loss, numbers(arrays))
        wide = [each.astype(np.float64) for each in placed]
        expected = every(*wide, **given, **turn, where=where)
        brought = [xp.asarray(each, dtype) for each in placed]
        weight = xp.asarray(given["weight"], dtype)
        more = {**given, **turn, "weight": weight, "where": xp.asarray(where)}
        found = xp.fetch(xp.call(every, *brought, **more))
        close(found, expected, eps=16, why="both are rounded", dtype=dtype)
        alone = xp.fetch(xp.call(loss, *brought, **more, reduction="none"))
        close(
            alone,
            loss(*wide, **given, **turn, where=where, reduction="none"),
            eps=16,
            why="both are rounded",
            dtype=dtype,
        )


@every_call
def test_half_precision_is_rounded_once(
    loss: Any, arrays: tuple[Array, ...], options: dict[str, Any]
) -> None:
    halves = [each.astype(np.float16) for each in arrays]
    every = value_and_grad(loss, numbers(arrays))
    value, grads = every(*halves, **options)
    single, wide = every(*[each.astype(np.float32) for each in halves], **options)
    assert value == single
    assert value.dtype == np.float32
    for grad, whole in zip(grads, wide, strict=True):
        assert grad.dtype == np.float16
        np.testing.assert_array_equal(grad, whole.astype(np.float16))


def test_float16_of_any_size_has_a_finite_distance_and_cosine() -> None:
    for size in (6e4, 6e-8):
        a, b = (np.array([[size, -size]], np.float16), np.array([[-size, -size]], np.float16))
        np.testing.assert_allclose(tinyloss.pairwise_distance(a, b), 2 * float(a[0, 0]), rtol=1e-6)
        assert tinyloss.cosine_similarity(a, b) == 0


@every_call
def test_autodiff_of_torch_is_the_closed_gradient(
    loss: Any, arrays: tuple[Array, ...], options: dict[str, Any], torch: Any
) -> None:
    given = of_rows(options, loss)
    wide = [each.astype(np.float64) for each in arrays]
    _, expected = value_and_grad(loss, numbers(arrays))(*wide, **given)
    more = {**given, "weight": torch.asarray(given["weight"].astype(np.float64))}
    tensors = [torch.tensor(each, requires_grad=True) for each in wide]
    (3.0 * loss(*tensors, **more)).backward()
    items = [torch.tensor(each, requires_grad=True) for each in wide]
    total = loss(*items, **more, reduction="none").sum() / float(
        np.sum(np.broadcast_to(given["weight"], loss(*wide, **options, reduction="none").shape))
    )
    total.backward()
    plain = tuple(map(torch.tensor, wide))
    functional = torch.func.grad(lambda *each: loss(*each, **more), numbers(arrays))(*plain)
    for one, other, third, truth in zip(tensors, items, functional, expected, strict=True):
        close(one.grad.numpy(), 3 * truth, eps=8, why="both are rounded")
        close(other.grad.numpy(), truth, eps=8, why="both are rounded")
        close(third.numpy(), truth, eps=8, why="both are rounded")


def test_batches_of_torch_and_jax_are_items(torch: Any, jax: Any) -> None:
    loss: Any = tinyloss.cosine_embedding
    pairs = [np.stack([each, each[::-1]]) for each in (A, B)]
    sides = np.stack([SIDES, -SIDES])
    expected = np.stack(
        [loss(a, b, y, reduction="none") for a, b, y in zip(*pairs, sides, strict=True)]
    )

    def items(*arrays: Any) -> Any:
        return loss(*arrays, reduction="none")

    found = torch.vmap(items)(*map(torch.asarray, (*pairs, sides)))
    close(found.numpy(), expected, eps=4, why="both are rounded", dtype="float32")
    found = jax.vmap(items)(*pairs, sides)
    close(found, expected, eps=4, why="both are rounded", dtype="float32")
    one_side = torch.vmap(items, in_dims=(0, 0, None))(*map(torch.asarray, (*pairs, SIDES)))
    close(one_side[0].numpy(), expected[0], eps=4, why="both are rounded", dtype="float32")

    def slope(*arrays: Any) -> Any:
        return torch.func.grad(lambda *each: items(*each).sum(), 2)(*arrays)

    by_y = torch.vmap(slope)(*map(torch.asarray, (*pairs, sides)))
    assert by_y.shape == (2, N)


@pytest.mark.long
@every_call
def test_autodiff_of_jax_is_the_closed_gradient(
    loss: Any, arrays: tuple[Array, ...], options: dict[str, Any], jax: Any
) -> None:
    given = of_rows(options, loss)
    _, expected = value_and_grad(loss, numbers(arrays))(*arrays, **given)

    def scaled(*each: Any) -> Any:
        return 3.0 * loss(*each, **given)

    found = jax.jit(jax.grad(scaled, numbers(arrays)))(*arrays)
    for one, truth in zip(found, expected, strict=True):
        close(one, 3 * truth, eps=16, why="both are rounded", dtype="float32")
    moves = [np.ones_like(each) for each in arrays]
    _, along = jax.jvp(scaled, arrays, tuple(moves))
    pulled = 3 * sum(np.sum(each.astype(np.float64)) for each in expected)
    size = 3 * sum(np.sum(np.abs(each)) for each in expected)
    np.testing.assert_allclose(along, pulled, rtol=0, atol=64 * 2.0**-23 * size)


def test_features_may_be_split_over_a_mapped_axis(jax: Any) -> None:
    parts = [np.stack(np.split(each[:, :4], 2, axis=1)) for each in (A, B)]
    whole = [each[:, :4] for each in (A, B)]
    for loss, more in (
        (tinyloss.pairwise_distance, ()),
        (tinyloss.cosine_similarity, ()),
        (tinyloss.cosine_embedding, (SIDES,)),
    ):
        of_loss: Any = loss

        def mapped(a: Any, b: Any, of_loss: Any = of_loss, more: Any = more) -> Any:
            return value_and_grad(of_loss, (0, 1))(a, b, *more, axis_name="features")

        value, grads = jax.vmap(mapped, axis_name="features")(*parts)
        expected, slopes = value_and_grad(of_loss, (0, 1))(*whole, *more)
        close(value[0], expected, eps=8, why="both are rounded", dtype="float32")
        for grad, slope in zip(grads, slopes, strict=True):
            joined = np.concatenate(list(grad), axis=1)
            close(joined, slope, eps=16, why="both are rounded", dtype="float32")


@every_call
def test_nothing_of_what_is_left_out_is_seen(
    loss: Any, arrays: tuple[Array, ...], options: dict[str, Any]
) -> None:
    every = value_and_grad(loss, numbers(arrays))
    kept = np.arange(N) != 2
    where = kept if "axis" in loss.__signature__.parameters else kept[:, None]
    spoiled = [each.copy() for each in arrays]
    for each in spoiled:
        each[2] = np.nan
    value, grads = every(*spoiled, **options, where=where)
    expected, slopes = every(*[each[kept] for each in arrays], **options)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    for grad, slope in zip(grads, slopes, strict=True):
        np.testing.assert_array_equal(grad[2], 0)
        np.testing.assert_allclose(grad[kept], slope, rtol=1e-5)
    none = every(*[each[:0] for each in arrays], **options)
    assert none[0] == 0
    assert [each.shape for each in none[1]] == [each[:0].shape for each in arrays]
    spoiled = [each.copy() for each in arrays]
    spoiled[1][2] = np.nan
    assert np.isnan(loss(*spoiled, **options))
    assert np.isnan(every(*spoiled, **options)[1][0][2]).all()


@every_call
def test_gradients_go_into_given_arrays(
    loss: Any, arrays: tuple[Array, ...], options: dict[str, Any]
) -> None:
    many = numbers(arrays)
    for turned in (False, True)[: 1 + ("axis" in loss.__signature__.parameters)]:
        placed = [each.T.copy() if turned and each.ndim == 2 else each for each in arrays]
        given = {**options, **({"axis": 0} if turned else {})}
        _, expected = value_and_grad(loss, many)(*placed, **given)
        out = tuple(np.empty_like(each) for each in placed)
        _, found = value_and_grad(loss, many, out=out)(*placed, **given)
        for one, other, truth in zip(found, out, expected, strict=True):
            assert one is other
            close(one, truth, eps=4, why="of rows that lie otherwise", dtype="float32")


@every_call
def test_objects_and_modules_are_the_function(
    loss: Any, arrays: tuple[Array, ...], options: dict[str, Any], torch: Any
) -> None:
    import tinyloss.torch as modules

    name = "".join(word.title() for word in loss.__name__.split("_")) + "Loss"
    made = getattr(tinyloss, name)(**options)
    assert made(*arrays) == loss(*arrays, **options)
    twice = made + 2 * made
    many = numbers(arrays)
    value, grads = value_and_grad(twice, many)(*arrays)
    expected, slopes = value_and_grad(loss, many)(*arrays, **options)
    np.testing.assert_allclose(value, 3 * expected, rtol=1e-6)
    for grad, slope in zip(grads, slopes, strict=True):
        np.testing.assert_allclose(grad, 3 * slope, rtol=1e-6, atol=1e-7)
    module = getattr(modules, name)(**options)
    found = module(*map(torch.asarray, arrays))
    np.testing.assert_allclose(found.item(), expected, rtol=1e-6)


@on("call", [CALLS["distance"], CALLS["triplet"], CALLS["cosine"], CALLS["cosine_embedding"]])
def test_products_with_the_hessian_are_derivatives_of_the_gradient(call: Any) -> None:
    loss, arrays, options = call
    wide = [each.astype(np.float64) for each in arrays]
    direction = RNG.standard_normal((N, C))
    slope = anyloss.grad(loss)
    step = 2.0**-18
    ends = [slope(wide[0] + s * direction, *wide[1:], **options) for s in (step, -step)]
    product = anyloss.hvp(loss)(*wide, direction, **options)
    np.testing.assert_allclose(product, (ends[0] - ends[1]) / (2 * step), rtol=0, atol=2.0**-26)


def test_the_order_of_a_norm_may_be_an_array_and_traced(jax: Any) -> None:
    expected = tinyloss.pairwise_distance(A, B, p=3)
    np.testing.assert_allclose(tinyloss.pairwise_distance(A, B, p=np.array(3.0)), expected, 1e-6)
    traced = jax.jit(lambda p: tinyloss.pairwise_distance(jax.numpy.asarray(A), B, p=p))
    for p in (1.0, 2.0, 3.0, 50.0):
        np.testing.assert_allclose(traced(p), tinyloss.pairwise_distance(A, B, p=p), 1e-5)


# ----------------------------------------------------------------------------------------- edges


@on_orders
def test_equal_points_have_no_distance_and_no_slope(p: float, xp: Library) -> None:
    a = xp.asarray(A)
    value, grads = xp.fetch(xp.call(value_and_grad(tinyloss.pairwise_distance, (0, 1)), a, a, p=p))
    assert value == 0
    for grad in grads:
        np.testing.assert_array_equal(grad, 0)
    value, grads = xp.fetch(
        xp.call(value_and_grad(tinyloss.triplet_margin, (0, 1, 2)), a, a, a, p=p)
    )
    assert value == 1
    for grad in grads:
        np.testing.assert_array_equal(grad, 0)


def test_what_costs_nothing_is_counted_in_the_mean() -> None:
    """pytorch-metric-learning divides by how many cost something: few that do cost much."""
    near, far = np.zeros((4, 1)), np.array([[0.5], [2], [3], [4]])
    one, other = np.ones(4), -np.ones(4)
    assert tinyloss.triplet_margin(near, near, far) == 0.5 / 4
    assert tinyloss.contrastive(near, far, other, squared=False) == 0.5 / 4
    assert tinyloss.contrastive(near, far * [[0], [0], [0], [1]], one, squared=False) == 4 / 4
    assert tinyloss.cosine_embedding(near + 1, far * [[-1], [-1], [-1], [1]], other) == 1 / 4


def test_a_vector_of_zeros_has_the_cosine_0_and_no_slope(xp: Library) -> None:
    a, zero = xp.asarray(A), xp.asarray(0 * B)
    both = value_and_grad(tinyloss.cosine_similarity, (0, 1))
    for pair in ((a, zero), (zero, a), (zero, zero)):
        value, grads = xp.fetch(xp.call(both, *pair))
        assert value == 0
        for grad in grads:
            np.testing.assert_array_equal(grad, 0)
    y = xp.asarray(SIDES)
    loss = xp.fetch(xp.call(tinyloss.cosine_embedding, a, zero, y, reduction="none"))
    np.testing.assert_array_equal(loss, np.where(SIDES > 0, 1, 0))


def test_signs_may_be_integers_or_booleans_and_are_looked_at() -> None:
    expected = tinyloss.cosine_embedding(A, B, SIDES)
    assert tinyloss.cosine_embedding(A, B, SIDES.astype(int)) == expected
    assert tinyloss.cosine_embedding(A, B, SIDES > 0) == expected
    with pytest.raises(ValueError, match=r"cosine_embedding: y\[0\] is 0, expected -1 or 1"):
        tinyloss.cosine_embedding(A, B, np.zeros(N, int))
    with pytest.raises(ValueError, match=r"margin_ranking: y\[0, 0\] is 0, expected -1 or 1"):
        tinyloss.margin_ranking(A, B, np.zeros((N, C), int))


class TestWrongCalls:
    @on(
        ("call", "message"),
        [
            (lambda: anyloss.contrastive(A, B, SIDES, margin=-1), "contrastive: margin is -1, exp"),
            (
                lambda: anyloss.triplet_margin(A, B[:2], NEGATIVE),
                r"positive has shape \(2, 5\), ex",
            ),
            (
                lambda: anyloss.triplet_margin(A, B, NEGATIVE[0]),
                r"negative has shape \(5,\), expec",
            ),
            (lambda: anyloss.triplet_margin(A, B, B, margin=-1), "margin is -1, expected a number"),
            (lambda: anyloss.triplet_margin(A, B, B, swap=1), "swap is 1, expected True or False"),
            (
                lambda: anyloss.triplet_margin([[1.0]], B, B),
                "triplet_margin: anchor: got a list, expected",
            ),
            (lambda: anyloss.pairwise_distance(A, B.T), r"b has shape \(5, 6\), expected \(6, 5\)"),
            (lambda: anyloss.pairwise_distance(A, B, p=0), "p is 0, expected a number above 0, or"),
            (lambda: anyloss.pairwise_distance(A[0, 0], 1.0), "a is 0-d, expected at least"),
            (
                lambda: anyloss.cosine_embedding(A, B, EACH_SIDE),
                r"y has shape \(6, 5\), expected \(6,",
            ),
            (
                lambda: anyloss.cosine_embedding(A, B[:1], SIDES),
                r"b has shape \(1, 5\), expected \(",
            ),
            (
                lambda: anyloss.cosine_embedding(A, B, SIDES, margin=2),
                "margin is 2, expected a num",
            ),
            (
                lambda: anyloss.margin_ranking(A, B[0], EACH_SIDE),
                r"b has shape \(5,\), expected \(6",
            ),
            (
                lambda: anyloss.grad(tinyloss.cosine_similarity, 2)(A, B),
                "argnums holds 2, expected",
            ),
            (
                lambda: anyloss.grad_and_hess(tinyloss.pairwise_distance)(A, B),
                "pairwise_distance: a loss of vectors has no curvature",
            ),
        ],
    )
    def test_say_what_was_expected(self, call: Callable[[], Any], message: str) -> None:
        with pytest.raises((TypeError, ValueError), match=message):
            call()


# ------------------------------------------------------------------------------------------- peers


def test_values_and_gradients_are_those_of_torch(torch: Any) -> None:
    functional = torch.nn.functional

    def contrasts(p: int, margin: float, power: int) -> Any:
        """Return torch's loss of the distances, or its square."""

        def loss(a: Any, b: Any, y: Any) -> Any:
            d = functional.pairwise_distance(a, b, p=p, eps=0)
            return functional.hinge_embedding_loss(d, y, margin=margin, reduction="none") ** power

        return loss

    peers: dict[str, tuple[Any, dict[str, Any]]] = {
        "margin_ranking": (functional.margin_ranking_loss, {"margin": 0.25}),
        "distance": (functional.pairwise_distance, {"p": 2, "eps": 0}),
        "distance-1": (functional.pairwise_distance, {"p": 1, "eps": 0}),
        "distance-3": (functional.pairwise_distance, {"p": 3, "eps": 0}),
        "distance-inf": (functional.pairwise_distance, {"p": INF, "eps": 0}),
        "triplet": (functional.triplet_margin_loss, {"margin": 2.0, "eps": 0}),
        "triplet-swap": (functional.triplet_margin_loss, {"p": 3, "swap": True, "eps": 0}),
        "contrastive": (contrasts(2, 4.0, 2), {}),
        "contrastive-1": (contrasts(1, 1.0, 1), {}),
        "cosine": (functional.cosine_similarity, {}),
        "cosine_embedding": (functional.cosine_embedding_loss, {"margin": 0.125}),
    }
    assert peers.keys() == CALLS.keys()
    for key, (theirs, settings) in peers.items():
        loss, arrays, options = CALLS[key]
        wide = [each.astype(np.float64) for each in arrays]
        by_both = numbers([each for each in arrays if each is not SIDES and each is not EACH_SIDE])
        value, grads = value_and_grad(loss, by_both)(*wide, **options)
        tensors = [torch.tensor(each, requires_grad=n in by_both) for n, each in enumerate(wide)]
        other = theirs(*tensors, **settings).mean()
        other.backward()
        np.testing.assert_allclose(value, other.item(), rtol=1e-13)
        for n in by_both:
            np.testing.assert_allclose(grads[n], tensors[n].grad.numpy(), rtol=0, atol=1e-12)
