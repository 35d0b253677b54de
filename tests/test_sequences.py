"""Connectionist temporal classification against all paths, spelled out in 60 digits."""

from functools import cache
from itertools import product
from typing import Any

import mpmath
import numpy as np
import numpy.typing as npt
import pytest

import tinyloss
import tinyloss_numpy
from tests.support.compare import equal
from tests.support.libraries import LIBRARIES, Library, dtype_name

on = pytest.mark.parametrize
Array = npt.NDArray[Any]
anyloss: Any = tinyloss
mp: Any = mpmath.MPContext()
mp.dps = 60

EPS = {"float32": 2.0**-23, "float64": 2.0**-52}
VALUE, GRADIENT = 8, 16
"""Bounds in eps, for up to 12 frames."""
both: Any = anyloss.value_and_grad(tinyloss.ctc)


# ----------------------------------------------------------------------------------- the truth


def _softmax(row: Array) -> list[Any]:
    largest = mp.mpf(float(max(row)))
    each = [mp.exp(mp.mpf(float(v)) - largest) if v > -np.inf else mp.mpf(0) for v in row]
    total = mp.fsum(each)
    return [e / total for e in each]


def _spelled(path: tuple[int, ...], blank: int) -> list[int]:
    return [c for t, c in enumerate(path) if c != blank and (t == 0 or path[t - 1] != c)]


def exact(x: Array, y: list[int], blank: int) -> tuple[Any, Array, Array]:
    """Return the loss of one sequence, its gradient, and the size of what each of that is made of.

    By all paths. The size is that of p minus the posterior c as p (1 - c) - (1 - p) c. Where the
    target is likely it is that of the derivative of the probability of all that is wrong.
    """
    time, classes = x.shape
    p = [_softmax(row) for row in x]
    right, wrong = mp.mpf(0), mp.mpf(0)
    of_right = [[mp.mpf(0)] * classes for _ in range(time)]
    of_wrong = [[mp.mpf(0)] * classes for _ in range(time)]
    for path in product(range(classes), repeat=time):
        share = mp.fprod(p[t][c] for t, c in enumerate(path))
        fits = _spelled(path, blank) == y
        right, wrong = (right + share, wrong) if fits else (right, wrong + share)
        for t, c in enumerate(path):
            (of_right if fits else of_wrong)[t][c] += share
    if right == 0:
        return mp.inf, np.zeros(x.shape, object), np.zeros(x.shape, object)
    slope, size = np.zeros(x.shape, object), np.zeros(x.shape, object)
    for t in range(time):
        for c in range(classes):
            own, among = p[t][c], of_right[t][c] / right
            others = mp.fsum(p[t][k] for k in range(classes) if k != c)
            rest = mp.fsum(of_right[t][k] for k in range(classes) if k != c) / right
            slope[t, c] = own * rest - others * among
            size[t, c] = own * rest + others * among
            if wrong < 0.5:
                bad = mp.fsum(of_wrong[t][k] for k in range(classes) if k != c)
                slope[t, c] = (others * of_wrong[t][c] - own * bad) / right
                size[t, c] = (others * of_wrong[t][c] + own * bad) / right
    return (-mp.log1p(-wrong) if wrong < 0.5 else -mp.log(right)), slope, size


@cache
def _drawn(dtype: str) -> list[tuple[Array, list[int], int]]:
    """Return sequences of every short string of labels, unsure and sure, near and far."""
    rng = np.random.default_rng(7)
    drawn: list[tuple[Array, list[int], int]] = []
    for time, classes, scale in [(1, 2, 1.0), (4, 3, 1.0), (4, 3, 12.0), (5, 2, 40.0), (3, 4, 5.0)]:
        blank = int(rng.integers(classes))
        labels = [c for c in range(classes) if c != blank]
        for length in range(min(time, 3) + 1):
            for y in product(labels, repeat=length):
                for sure in (False, True):
                    x = rng.standard_normal((time, classes)) * scale
                    path = [c for label in y for c in (label, blank)]
                    for t, c in enumerate((path + [blank] * time)[:time] if sure else []):
                        x[t, c] = x[t].max() + 2 * scale + 8 * rng.random()
                    drawn.append((x.astype(dtype), list(y), blank))
    return drawn


def _complaint(
    x: Array, value: Any, grad: Array, truth: tuple[Any, Array, Array], more: float = 0
) -> str | None:
    """Return what is wrong with an answer, None for nothing; `more` widens the bounds."""
    eps, tiny = EPS[x.dtype.name], float(np.finfo(x.dtype).tiny)
    loss, slope, size = truth
    if loss == mp.inf:
        return None if value == np.inf and not grad.any() else f"{value}, expected inf"
    off = abs(mp.mpf(float(value)) - loss)
    if off > (VALUE + more) * eps * loss + tiny:
        return f"value {value}, expected {mp.nstr(loss, 20)}: {mp.nstr(off / loss / eps, 4)} eps"
    for at in np.ndindex(*x.shape):
        off = abs(mp.mpf(float(grad[at])) - slope[at])
        if off > (GRADIENT + more) * eps * size[at] + tiny:
            units = mp.nstr(off / size[at] / eps, 4)
            return f"gradient {grad[at]} at {at}, expected {mp.nstr(slope[at], 20)}: {units} eps"
    return None


@cache
def _truths(dtype: str) -> list[tuple[Any, Array, Array]]:
    return [exact(*each) for each in _drawn(dtype)]


@on("mode", [pytest.param("always", marks=pytest.mark.long), "never"])
@on("dtype", ["float32", "float64"])
def test_every_short_string_is_within_the_bounds(dtype: str, mode: Any) -> None:
    found: list[str] = []
    with tinyloss_numpy.compilation(mode):
        for (x, y, blank), truth in zip(_drawn(dtype), _truths(dtype), strict=True):
            labels = np.array(y, dtype=np.int64)
            value, grad = both(x, labels, blank=blank)
            complaint = _complaint(x, value, grad, truth)
            found += [f"{x.tolist()} {y} {blank}: {complaint}"] if complaint else []
    assert not found, "\n".join(found)


def exact_of_long(x: Array, y: list[int]) -> tuple[Any, Array, Array]:
    """Return what `exact` does, by the textbook's two recursions in 150 digits; the blank is 0."""
    with mp.workdps(150):
        time, classes = x.shape
        p, symbols = [_softmax(row) for row in x], [0, *[c for label in y for c in (label, 0)]]
        count = len(symbols)
        skips = [s > 1 and symbols[s] not in (0, symbols[s - 2]) for s in range(count)] + [
            False
        ] * 2
        ahead = [[mp.mpf(int(s == 0)) for s in range(count)]]
        for t in range(time):
            a = [mp.mpf(0), mp.mpf(0), *ahead[-1]]
            ahead.append(
                [
                    (a[s + 2] + a[s + 1] + (a[s] if skips[s] else 0)) * p[t][symbols[s]]
                    for s in range(count)
                ]
            )
        right = mp.fsum(ahead[-1][-2:])
        slope, size = np.zeros(x.shape, object), np.zeros(x.shape, object)
        b = [mp.mpf(int(s >= count - 2)) for s in range(count)]
        for t in reversed(range(time)):
            of_right = [mp.mpf(0)] * classes
            for s in range(count):
                of_right[symbols[s]] += ahead[t + 1][s] * b[s]
            for c in range(classes):
                own, among = p[t][c], of_right[c] / right
                slope[t, c] = own - among
                size[t, c] = own * (1 - among) + among * (1 - own)
                if right > 0.5:
                    bad = own - of_right[c]
                    size[t, c] = ((1 - own) * bad + own * (1 - right - bad)) / right
            q = [p[t][symbols[s]] * b[s] for s in range(count)] + [mp.mpf(0)] * 2
            b = [q[s] + q[s + 1] + (q[s + 2] if skips[s + 2] else 0) for s in range(count)]
        return -mp.log(right), slope, size


@cache
def _long_ones(time: int, dtype: str) -> list[tuple[Array, Any, tuple[Any, Array, Array]]]:
    """Return sequences, their labels and what is true of them."""
    rng, labels = np.random.default_rng(3), time // 4
    found: list[Any] = []
    for n in range(12):
        y = rng.integers(1, 6, labels)
        x = rng.standard_normal((time, 6)) * [1, 5, 30][n % 3]
        if n % 2:
            path = np.zeros(time, int)
            path[np.arange(labels) * 4] = y
            x[np.arange(time), path] = x.max(-1) + [2, 8, 20][n // 4] + 3 * rng.random(time)
        x = x.astype(dtype)
        found.append((x, y, exact_of_long(x, list(y))))
    return found


@pytest.mark.long
@on("mode", ["always", "never"])
@on("dtype", ["float32", "float64"])
@on("time", [12, 60])
def test_long_sequences_are_within_the_bounds(time: int, dtype: str, mode: Any) -> None:
    more = 0 if time == 12 else time / 4  # what each frame adds
    for n, (x, y, truth) in enumerate(_long_ones(time, dtype)):
        with tinyloss_numpy.compilation(mode):
            value, grad = both(x, y)
        complaint = _complaint(x, value, grad, truth, more)
        assert complaint is None, f"{n}: {complaint}"


@on("xp", [*LIBRARIES], indirect=True)
def test_libraries_agree(xp: Library) -> None:
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((3, 6, 4)), rng.integers(1, 4, (3, 2))
    x[1, range(6), [y[1, 0], 0, y[1, 1], 0, 0, 0]] += 30  # one of them is sure
    counts: dict[str, Any] = {
        "logit_lengths": np.array([6, 5, 3]),
        "label_lengths": np.array([2, 2, 1]),
    }
    dtype = xp.sweep[-1]
    expected = both(x.astype(dtype), y, **counts)
    value, grad = xp.fetch(both(xp.asarray(x, dtype), xp.asarray(y), **counts))
    eps = EPS[dtype]
    np.testing.assert_allclose(value, expected[0], rtol=VALUE * eps)
    np.testing.assert_allclose(grad, expected[1], rtol=0, atol=GRADIENT * eps)
    sure = xp.fetch(tinyloss.ctc(xp.asarray(x, dtype), xp.asarray(y), reduction="none", **counts))
    alone = tinyloss.ctc(x.astype(dtype), y, reduction="none", **counts)
    np.testing.assert_allclose(sure, alone, rtol=VALUE * eps)


# ------------------------------------------------------------------------- numbers to remember

GRAVES = [
    (
        [
            [0.633766, 0.221185, 0.0917319, 0.0129757, 0.0142857, 0.0260553],
            [0.111121, 0.588392, 0.278779, 0.0055756, 0.00569609, 0.010436],
            [0.0357786, 0.633813, 0.321418, 0.00249248, 0.00272882, 0.0037688],
            [0.0663296, 0.643849, 0.280111, 0.00283995, 0.0035545, 0.00331533],
            [0.458235, 0.396634, 0.123377, 0.00648837, 0.00903441, 0.00623107],
        ],
        [0, 1, 2, 1, 0],
        3.3421125850984377671,
        [-0.3662337464934986, 0.22118508847403539, 0.091731936692774677],
    ),
    (
        [
            [0.30176, 0.28562, 0.0831517, 0.0862751, 0.0816851, 0.161508],
            [0.24082, 0.397533, 0.0557226, 0.0546814, 0.0557528, 0.19549],
            [0.230246, 0.450868, 0.0389607, 0.038309, 0.0391602, 0.202456],
            [0.280884, 0.429522, 0.0326593, 0.0339046, 0.0326856, 0.190345],
            [0.423286, 0.315517, 0.0338439, 0.0393744, 0.0339315, 0.154046],
        ],
        [0, 1, 1, 0],
        5.4226217309882345327,
        [-0.69823996982399698, 0.28562002856200286, 0.083151708315170832],
    ),
]
"""Two matrices of Graves, which TensorFlow tests by, with 17 digits."""


@on("p,y,value,first", GRAVES)
def test_graves(p: Any, y: Any, value: float, first: Any) -> None:
    found, grad = both(np.log(p), np.array(y), blank=5)
    assert found == pytest.approx(value, rel=1e-15)
    np.testing.assert_allclose(grad[0, :3], first, rtol=4e-15)
    x = np.full((2, 9, 6), np.nan)  # as TensorFlow's test pads
    x[:, :5] = np.log([each[0] for each in GRAVES])
    labels = np.array([[0, 1, 2, 1, 0], [0, 1, 1, 0, 9]])
    losses, grads = both(
        x, labels, blank=-1, logit_lengths=5, label_lengths=[5, 4], reduction="none"
    )
    at = y == [0, 1, 1, 0]
    assert losses[int(at)] == found
    equal(grads[int(at), :5], grad)
    assert not grads[:, 5:].any()


@on("size,value", [(17, 1.7139082896325400018e-15), (40, 1.804851387845415157e-35)])
@on("mode", ["always", "never"])
def test_a_sure_model_has_a_loss_as_optax_and_keras_have_not(
    size: int, value: float, mode: Any
) -> None:
    # optax 0.2 has -8e-8 (#1771) and so has Keras (#23684): the complement was taken off 1
    with tinyloss_numpy.compilation(mode):
        loss, grad = both(np.array([[0.0, size]] * 2), np.array([1]))
    assert loss == pytest.approx(value, rel=4 * EPS["float64"], abs=0)
    by = value if size > 17 else 1.7139082186778087e-15
    np.testing.assert_allclose(grad, [[by, -by]] * 2, rtol=1e-14)


def test_an_empty_target_costs_its_blanks_as_torch_once_did_not() -> None:
    # torch#18215, #23298, #123193
    x = np.array([[1, -0.5, 0.25], [0.5, 2, -1]])
    expected = [-0.41020233634318738, 0.13160164714691435, 0.27860068919627303]
    empty: list[int] = []
    for y in (np.zeros(0, int), np.array([], np.uint8), empty):
        value, grad = both(x, y)
        assert value == pytest.approx(2.2692870405124668524, rel=1e-15)
        np.testing.assert_allclose(grad[0], expected, rtol=1e-15)
    assert tinyloss.ctc(x, np.array([7]), label_lengths=0) == value


def test_equal_labels_have_a_blank_between() -> None:
    x = np.array([[1, -0.5, 0.25], [0.5, 2, -1], [0, 0.75, -0.25]])
    value, grad = both(x, np.array([1, 1]))
    assert value == pytest.approx(4.3791862955410628071, rel=1e-15)
    np.testing.assert_allclose(grad[0, 0], 0.58979766365681262, rtol=1e-14)
    value, grad = both(x[:2], np.array([1, 1]))
    assert value == np.inf
    assert not grad.any()


# --------------------------------------------------------------------------- what may go wrong


@on("xp", ["numpy", "jax", "torch"], indirect=True)
def test_infeasible_targets_have_no_nan_as_torchs_gradient_has(xp: Library) -> None:
    # torch#16199: inf, and a gradient of NaN
    x = np.random.default_rng(0).standard_normal((3, 2, 3))
    y = np.array([[1, 2, 1], [1, 2, 2], [2, 2, 1]])
    counts: dict[str, Any] = {"label_lengths": np.array([3, 2, 2])}
    losses, grads = xp.fetch(both(xp.asarray(x), xp.asarray(y), reduction="none", **counts))
    assert np.isinf(losses).tolist() == [True, False, True]
    assert not grads[[0, 2]].any()
    value, grad = xp.fetch(both(xp.asarray(x), xp.asarray(y), infeasible="ignore", **counts))
    assert value == losses[1]
    np.testing.assert_array_equal(grad, grads)
    impossible = np.where(np.arange(3) == 1, -np.inf, x)
    losses, grads = xp.fetch(both(xp.asarray(impossible), xp.asarray(y), reduction="none"))
    assert np.isinf(losses).all()
    assert not grads.any()


@on("xp", ["numpy", pytest.param("jax", marks=pytest.mark.long), "torch", "dask"], indirect=True)
def test_what_does_not_count_may_be_anything(xp: Library) -> None:
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((4, 7, 5)), rng.integers(1, 5, (4, 3))
    frames, labels = np.array([7, 4, 5, 3]), np.array([3, 1, 2, 0])
    hidden, wild = x.copy(), y.copy()
    hidden[np.arange(7) >= frames[:, None]] = np.nan
    wild[np.arange(3) >= labels[:, None]] = -77
    counts: dict[str, Any] = {"logit_lengths": frames, "label_lengths": labels}
    masks: dict[str, Any] = {
        "logit_mask": np.arange(7) < frames[:, None],
        "label_mask": np.arange(3) < labels[:, None],
    }
    expected = xp.fetch(both(xp.asarray(x), xp.asarray(y), **counts))
    for ways in (counts, masks):
        value, grad = xp.fetch(both(xp.asarray(hidden), xp.asarray(wild), **ways))
        np.testing.assert_array_equal(value, expected[0])
        np.testing.assert_array_equal(grad, expected[1])
    chosen = np.array([True, False, True, True])
    hidden[1] = np.nan
    wild[1] = 99
    value, grad = xp.fetch(both(xp.asarray(hidden), xp.asarray(wild), where=chosen, **counts))
    of_others = {name: each[chosen] for name, each in counts.items()}
    alone = xp.fetch(both(xp.asarray(x[chosen]), xp.asarray(y[chosen]), **of_others))
    np.testing.assert_allclose(value, alone[0], rtol=2.0**-22)
    np.testing.assert_allclose(grad[chosen], alone[1], rtol=2.0**-22)
    assert not grad[1].any()


def test_masks_with_gaps_are_what_is_left() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((7, 5)), np.array([1, 4, 2, 3])
    frames, labels = rng.random(7) < 0.7, np.array([True, False, True, True])
    value, grad = both(x, y, logit_mask=frames, label_mask=labels)
    expected, slopes = both(x[frames], y[labels])
    assert value == expected
    np.testing.assert_array_equal(grad[frames], slopes)
    assert not grad[~frames].any()


@on("mode", ["always", "never"])
def test_a_sequence_has_the_same_bits_beside_any_as_torchs_has_not(mode: Any) -> None:
    # torch#25057; cuDNN's is not even repeatable (#21680)
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((5, 9, 6)), rng.integers(1, 6, (5, 3))
    with tinyloss_numpy.compilation(mode):
        losses, grads = both(x, y, reduction="none")
        for n in range(5):
            loss, grad = both(x[n], y[n])
            assert loss == losses[n]
            np.testing.assert_array_equal(grad, grads[n])
        wider = np.concatenate([y, np.full((5, 4), 5)], axis=1)
        again, _ = both(x, wider, label_lengths=3, reduction="none")
    np.testing.assert_array_equal(again, losses)


@pytest.mark.long
def test_long_targets_are_right_as_torchs_on_cuda_were_not() -> None:
    # torch#27442: more than 896 labels
    rng = np.random.default_rng(5)
    y = rng.integers(1, 4, 1000)
    x = np.zeros((2001, 4))
    x[np.arange(1000) * 2, y] = 50.0
    x[np.arange(1001) * 2 - 1, 0] = 50.0
    loss, grad = both(x, y)
    frame = float(mp.log1p(3 * mp.exp(-50)))
    assert 0 < loss < 2001 * frame
    assert np.abs(grad.sum(axis=-1)).max() < 1e-30


def test_one_class_is_the_blank_as_tensorflow_had_to_learn() -> None:
    value, grad = both(np.zeros((3, 1)), np.zeros(0, int))
    assert value == 0
    assert not grad.any()
    with pytest.raises(ValueError, match=r"y\[0\] is 1, expected a class index from 0 to 0"):
        tinyloss.ctc(np.zeros((3, 1)), np.array([1]))


def test_the_gradient_is_that_by_logits_as_torchs_is_not_of_any_scores() -> None:
    # torch's by log_probs is right only behind its own log_softmax (#52241, #82545)
    rng = np.random.default_rng(6)
    x, y, step = rng.standard_normal((5, 4)), np.array([2, 1]), 1e-6
    _, grad = both(x, y)
    for at in np.ndindex(5, 4):
        up, down = x.copy(), x.copy()
        up[at] += step
        down[at] -= step
        slope = (tinyloss.ctc(up, y) - tinyloss.ctc(down, y)) / (2 * step)
        assert slope == pytest.approx(grad[at], abs=1e-8)


@on(
    "dtype,size,mode",
    [
        ("float32", 1e20, "never"),
        # of other kernels than the tests above have
        pytest.param("float32", 1e20, "always", marks=pytest.mark.long),
        ("float64", 1e30, "never"),
        ("float64", 1e30, "always"),
    ],
)
def test_extreme_logits_have_finite_losses(dtype: str, size: float, mode: Any) -> None:
    x = (np.random.default_rng(8).standard_normal((3, 9, 5)) * size).astype(dtype)
    with tinyloss_numpy.compilation(mode):
        losses, grads = both(x, np.array([[1, 2], [3, 3], [4, 1]]), reduction="none")
    assert np.isfinite(losses).all()
    assert (losses > 0).all()
    assert np.abs(grads).max() <= 1


def test_no_frames() -> None:
    value, grad = both(np.zeros((2, 0, 3)), np.zeros((2, 0), int))
    assert value == 0
    assert grad.shape == (2, 0, 3)
    losses = tinyloss.ctc(np.zeros((2, 4, 3)), [[1], [2]], logit_lengths=[0, 4], reduction="none")
    assert np.isinf(losses).tolist() == [True, False]
    assert tinyloss.ctc(np.zeros((0, 4, 3)), np.zeros((0, 2), int)) == 0


# ------------------------------------------------------------------------------------- options


@on("dtype", ["uint8", "int16", "uint32", "int64", "uint64"])
def test_labels_of_any_integers(dtype: str) -> None:
    x = np.random.default_rng(0).standard_normal((2, 5, 4))
    y = np.array([[1, 2], [3, 1]])
    assert tinyloss.ctc(x, y.astype(dtype)) == tinyloss.ctc(x, y)


def test_frames_first_and_blanks_anywhere() -> None:
    rng = np.random.default_rng(9)
    x, y = rng.standard_normal((2, 3, 6, 4)), rng.integers(1, 4, (2, 3, 2))
    losses, grads = both(x, y, reduction="none")
    assert losses.shape == (2, 3)
    turned, slopes = both(np.moveaxis(x, 2, 0), y, time_axis=0, reduction="none")
    np.testing.assert_array_equal(turned, losses)
    np.testing.assert_array_equal(np.moveaxis(slopes, 0, 2), grads)
    last = np.concatenate([x[..., 1:], x[..., :1]], axis=-1)
    for blank in (-1, 3):
        np.testing.assert_allclose(
            tinyloss.ctc(last, y - 1, blank=blank, reduction="none"), losses, rtol=1e-14
        )


def test_means() -> None:
    rng = np.random.default_rng(10)
    x, y = rng.standard_normal((3, 6, 4)), rng.integers(1, 4, (3, 3))
    counts: dict[str, Any] = {"label_lengths": np.array([3, 0, 2])}
    weight = np.array([1.0, 2.0, 0.5])
    losses, grads = both(x, y, reduction="none", **counts)
    value, grad = both(x, y, weight=weight, **counts)
    assert value == pytest.approx((losses * weight).sum() / 3.5, rel=1e-15)
    np.testing.assert_allclose(grad, grads * (weight / 3.5)[:, None, None], rtol=4e-16, atol=1e-18)
    each = tinyloss.ctc(x, y, per_label=True, reduction="none", **counts)
    np.testing.assert_allclose(each, losses / [3, 1, 2], rtol=1e-15)
    by_object = tinyloss.CTCLoss(per_label=True).value_and_grad(x, y, denominator=2, **counts)
    assert by_object[0] == pytest.approx(each.sum() / 2, rel=1e-15)
    out = np.empty_like(x)
    value, grad = anyloss.value_and_grad(tinyloss.ctc, out=out)(x, y, **counts)
    assert grad is out
    equal(out, both(x, y, **counts)[1])
    part = tinyloss.partial_mean(tinyloss.ctc)(x, y, **counts)
    assert part.value() == pytest.approx(value, rel=1e-15)


@on("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(dtype: str) -> None:
    import ml_dtypes

    half: Any = ml_dtypes.bfloat16 if dtype == "bfloat16" else np.float16
    x = np.random.default_rng(11).standard_normal((2, 6, 4)).astype(half)
    y = np.array([[1, 2], [3, 1]])
    value, grad = both(x, y)
    expected, slopes = both(x.astype(np.float32), y)
    assert value == expected
    assert value.dtype == np.float32
    assert grad.dtype == half
    np.testing.assert_array_equal(grad, slopes.astype(half))


@on(
    "options,told",
    [
        ({"y": [[4]]}, r"y\[0, 0\] is 4, expected a class index from 0 to 3, other than the blank"),
        ({"y": [[0]]}, r"blank= tells which class is no label"),
        ({"y": [[-1]]}, r"label_lengths= and label_mask= tell how many count"),
        ({"y": [1]}, r"y has shape \(1,\), expected \(1, L\)"),
        ({"y": [[1.0]]}, "y has dtype float64, expected integers"),
        ({"logit_lengths": [7]}, r"logit_lengths\[0\] is 7, expected a number from 0 to 6"),
        ({"label_lengths": [-1]}, r"label_lengths\[0\] is -1, expected a number from 0 to 1"),
        ({"logit_lengths": [2.0]}, "logit_lengths has dtype float64, expected integers"),
        ({"logit_mask": np.ones(6)}, "logit_mask has dtype float64, expected booleans"),
        ({"label_mask": np.ones(3) > 0}, r"label_mask has shape \(3,\)"),
        ({"blank": 4}, "blank is 4, expected a class from -4 to 3"),
        ({"time_axis": -1}, "time_axis is -1, expected another than the last"),
        ({"infeasible": "zero"}, "infeasible is 'zero', expected 'inf' or 'ignore'"),
        ({"x": np.zeros(3)}, r"x has shape \(3,\), expected at least frames and classes"),
        ({"x": np.zeros((1, 2, 0))}, "expected at least one number along"),
    ],
)
def test_errors_say_what_was_expected(options: dict[str, Any], told: str) -> None:
    given = {"x": np.zeros((1, 6, 4)), "y": [[1]]} | options
    with pytest.raises((TypeError, ValueError), match=f"tinyloss.ctc: .*{told}"):
        anyloss.ctc(given.pop("x"), given.pop("y"), **given)


def test_there_is_no_curvature_nor_a_derivative_by_labels() -> None:
    x, y = np.zeros((1, 6, 4)), np.array([[1]])
    with pytest.raises(TypeError, match="no curvature"):
        anyloss.grad_and_hess(tinyloss.ctc)(x, y)
    with pytest.raises(TypeError, match="no derivative by y"):
        anyloss.grad(tinyloss.ctc, 1)(x, y)
    with pytest.raises(TypeError, match=r"tinyloss\.ctc: has no product with its"):
        anyloss.hvp(tinyloss.ctc)(x, x, y)


@pytest.mark.long
@on("xp", ["jax:x64", "torch"], indirect=True)
def test_products_with_the_hessian_are_those_of_jax_and_torch(xp: Library) -> None:
    rng = np.random.default_rng(16)
    x, y = rng.standard_normal((2, 3, 6, 4)), rng.integers(1, 4, (2, 3, 2))
    x[0, 1, range(6), [y[0, 1, 0], 0, y[0, 1, 1], 0, 0, 0]] += 9  # one of them is sure
    move, step = rng.standard_normal(x.shape), 1e-5
    given: dict[str, Any] = {"label_lengths": rng.integers(0, 3, (2, 3)), "weight": rng.random(3)}
    slope: Any = anyloss.grad(tinyloss.ctc)
    up, down = (slope(x + sign * step * move, y, **given) for sign in (1, -1))

    def call(x: Any, y: Any, move: Any) -> Any:
        return anyloss.hvp(tinyloss.ctc)(x, y, move, **given)

    arrays = xp.asarray(x, "float64"), xp.asarray(y), xp.asarray(move, "float64")
    found = xp.fetch(xp.call(call, *arrays))
    np.testing.assert_allclose(found, (up - down) / (2 * step), rtol=0, atol=1e-9)
    half = anyloss.hvp(tinyloss.ctc)(xp.asarray(x, "float16"), arrays[1], arrays[2], **given)
    assert dtype_name(half) == "float16"
    with pytest.raises(ValueError, match="direction has shape"):
        anyloss.hvp(tinyloss.ctc)(arrays[0], arrays[1], arrays[2][0], **given)


def test_where_nobody_looks_wrong_sequences_are_nan() -> None:
    x = np.zeros((3, 6, 4))
    y = np.array([[1, 2], [0, 1], [9, 1]])
    with tinyloss.validation("never"):
        losses, grads = both(x, y, reduction="none")
        lengths = tinyloss.ctc(x, [[1]] * 3, logit_lengths=[6, 7, -1], reduction="none")
    assert np.isnan(losses).tolist() == [False, True, True]
    assert np.isnan(grads).all((1, 2)).tolist() == [False, True, True]
    assert np.isnan(lengths).tolist() == [False, True, True]


# ----------------------------------------------------------------------------- other libraries


@pytest.mark.long
def test_jax_differentiates_twice() -> None:
    jax = pytest.importorskip("jax")
    with jax.enable_x64(True):
        rng = np.random.default_rng(12)
        x, y = rng.standard_normal((2, 4, 3)), np.array([[1, 2], [2, 2]])
        x[0, range(4), [1, 0, 2, 0]] += 9

        def loss(x: Any) -> Any:
            return tinyloss.ctc(x, y)

        own = jax.numpy.asarray(x)
        _, grad = both(x, y)
        for derive in (jax.grad(loss), jax.jit(jax.grad(loss)), jax.jacfwd(loss)):
            np.testing.assert_allclose(derive(own), grad, rtol=0, atol=1e-15)
        hessian = np.asarray(jax.hessian(loss)(own)).reshape(24, 24)
        step = 1e-5
        for n in range(24):
            move = step * (np.arange(24) == n).reshape(x.shape)
            slope = (both(x + move, y)[1] - both(x - move, y)[1]) / (2 * step)
            np.testing.assert_allclose(hessian[n], slope.ravel(), rtol=0, atol=1e-8)
        each = jax.vmap(tinyloss.ctc)(own, jax.numpy.asarray(y))
        np.testing.assert_allclose(each, tinyloss.ctc(x, y, reduction="none"), rtol=1e-14)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
def test_torch_differentiates_twice() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(13)
    x, y = rng.standard_normal((2, 4, 3)), np.array([[1, 2], [2, 2]])
    own = torch.tensor(x, requires_grad=True)

    def losses(x: Any) -> Any:
        return tinyloss.ctc(x, y, reduction="none")

    assert torch.autograd.gradcheck(losses, own)
    assert torch.autograd.gradgradcheck(losses, own)
    value = tinyloss.ctc(own, y)
    value.backward()
    expected, grad = both(x, y)
    assert value.item() == expected
    np.testing.assert_array_equal(own.grad.numpy(), grad)
    plain = own.detach()
    by_func = torch.func.grad(lambda x: tinyloss.ctc(x, y))(plain)
    np.testing.assert_allclose(by_func.numpy(), grad, rtol=0, atol=1e-15)
    each = torch.vmap(tinyloss.ctc)(plain, torch.tensor(y))
    np.testing.assert_allclose(each, losses(plain), rtol=1e-14)
    _, along = torch.func.jvp(lambda x: tinyloss.ctc(x, y), (plain,), (torch.ones_like(plain),))
    assert abs(along.item()) < 1e-14


def test_peers_agree() -> None:
    torch, optax = pytest.importorskip("torch"), pytest.importorskip("optax")
    rng = np.random.default_rng(14)
    x, y = rng.standard_normal((4, 12, 7)).astype(np.float32), rng.integers(1, 7, (4, 5))
    frames, labels = np.array([12, 11, 10, 12]), np.array([5, 3, 4, 1])
    losses, grads = both(x, y, logit_lengths=frames, label_lengths=labels, reduction="none")
    own = torch.tensor(x, requires_grad=True)
    scores = torch.log_softmax(own, -1).movedim(1, 0)
    theirs = torch.nn.functional.ctc_loss(
        scores, torch.tensor(y), torch.tensor(frames), torch.tensor(labels), reduction="none"
    )
    theirs.sum().backward()
    np.testing.assert_allclose(theirs.detach().numpy(), losses, rtol=1e-5)
    np.testing.assert_allclose(own.grad.numpy(), grads, rtol=0, atol=1e-5)
    late = np.arange(12) >= frames[:, None], np.arange(5) >= labels[:, None]
    theirs = optax.ctc_loss(x, 1.0 * late[0], y, 1.0 * late[1])
    np.testing.assert_allclose(theirs, losses, rtol=1e-5)


def test_dask_takes_blocks_of_sequences() -> None:
    da = pytest.importorskip("dask.array")
    rng = np.random.default_rng(15)
    x, y = rng.standard_normal((5, 6, 4)), rng.integers(1, 4, (5, 2))
    value, grad = both(da.from_array(x, chunks=(2, 3, 4)), da.from_array(y, chunks=2))
    assert grad.numblocks == (3, 1, 1)
    expected, slopes = both(x, y)
    assert value.compute() == pytest.approx(expected, rel=4e-16)
    np.testing.assert_array_equal(grad.compute(), slopes)
