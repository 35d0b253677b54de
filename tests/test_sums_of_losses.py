"""Sums of loss objects: of all parts, and rounded to the inputs' dtype once."""

import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinyloss
from tests.support.libraries import Library, dtype_name
from tests.support.memory import peak
from tinyloss import CrossEntropyLoss, HuberLoss, MAELoss, MSELoss, WeightedSum

# For losses chosen at run time, whose parameters no type checker can follow.
anyloss: Any = tinyloss

on = pytest.mark.parametrize

EPS = float(np.finfo(np.float32).eps)
SUM: dict[str, Any] = {"reduction": "sum"}
A = np.array([300.0, -2.5, 60000.0, 0.375])
B = np.array([0.0, 4.0, 0.0, 0.25])
ROWS = np.array([[8.0, 0.0, -3.0], [0.5, 1.0, 2.0]])
LABELS = np.array([0, 2])
X = np.array([0.5, -1.0, 2.0])
Y = np.array([0.0, 1.0, 1.0])
FIRST, SECOND = MSELoss(), HuberLoss(delta=0.5)


def close(actual: Any, expected: Any) -> None:
    """Compare sums of a few terms: each operation rounds by half an eps."""
    np.testing.assert_allclose(actual, expected, rtol=8 * np.finfo(np.float64).eps, atol=0)


def half_ulp(exact: float, dtype: str) -> float:
    """Return the error of one rounding, and 1 % for what float32 has lost before it."""
    digits, lowest = {"float16": (10, -24), "bfloat16": (7, -133)}[dtype]
    place = math.floor(math.log2(abs(exact))) if exact else lowest
    return 0.505 * 2.0 ** max(place - digits, lowest)


def assert_rounded_once(actual: Any, exact: Any, dtype: str) -> None:
    for got, right in zip(np.ravel(actual), np.ravel(exact), strict=True):
        assert abs(float(got) - float(right)) <= half_ulp(float(right), dtype), (got, right)


SUMS: list[tuple[WeightedSum, float, float]] = [
    # the sum, and its gradient as multiples of x - y and of its sign
    (1e-3 * MSELoss(**SUM), 2e-3, 0.0),
    (MSELoss(**SUM) - 0.999 * MSELoss(**SUM), 2 - 1.998, 0.0),
    (MSELoss(**SUM) / 7 + 3 * MAELoss(**SUM), 2 / 7, 3.0),
    (1e-4 * MSELoss(**SUM) - 0.1 * MAELoss(**SUM), 2e-4, -0.1),
    (1e-3 * (2 * (0.5 * MSELoss(**SUM)) - MAELoss(**SUM)), 2e-3, -1e-3),
]


def halves(xp: Library) -> list[str]:
    """The half precisions of a library, those with 8 bits apart."""
    return [name for name in xp.halves if name.endswith("16")]


@on("loss,slope,sign", SUMS, ids=repr)
def test_gradients_are_rounded_once(
    xp: Library, loss: WeightedSum, slope: float, sign: float
) -> None:
    for dtype in halves(xp):
        x, y = xp.asarray(A, dtype), xp.asarray(B, dtype)
        d = xp.numpy(x).astype(np.float64) - xp.numpy(y)
        exact = slope * d + sign * np.sign(d)
        _, (by_x, by_y) = xp.fetch(xp.call(tinyloss.value_and_grad(loss, (0, 1)), x, y))
        assert_rounded_once(by_x, exact, dtype)
        assert_rounded_once(by_y, -exact, dtype)


def test_curvature_is_rounded_once(xp: Library) -> None:
    loss = 40000.0 * MSELoss() - 39999.9 * MSELoss()
    for dtype in halves(xp):
        x, y = xp.asarray(A, dtype), xp.asarray(B, dtype)
        g, h = xp.fetch(xp.call(tinyloss.grad_and_hess(loss), x, y))
        # float32 holds 40000 times the terms to 0.002
        np.testing.assert_allclose(h, 0.2, rtol=0.03)
        d = xp.numpy(x).astype(np.float64) - xp.numpy(y)
        np.testing.assert_allclose(g, 0.2 * d, rtol=0.03)


def test_loss_scaling_keeps_small_gradients(xp: Library) -> None:
    x = np.zeros((512, 2))
    x[:, 0] = 8
    labels = xp.asarray(np.zeros(512, "int32"))
    p = 128 / 512 / (1 + math.exp(8))
    for dtype in halves(xp):
        grad = xp.numpy(xp.call((128.0 * CrossEntropyLoss()).grad, xp.asarray(x, dtype), labels))
        assert_rounded_once(grad[0], [-p, p], dtype)


@on("axis", [0, 1])
def test_the_class_axis_may_be_any(axis: int) -> None:
    x = np.moveaxis(ROWS.astype(np.float16), -1, axis)
    loss = 3 * CrossEntropyLoss(axis=axis) - CrossEntropyLoss(axis=axis)
    single = tinyloss.grad(tinyloss.cross_entropy)(x.astype(np.float32), LABELS, axis=axis)
    grad = loss.grad(x, LABELS)
    assert grad.dtype == np.float16
    np.testing.assert_array_equal(grad, (2 * single).astype(np.float16))


def test_arrays_to_write_into_get_the_same() -> None:
    loss = 1e-3 * MSELoss(**SUM) - 0.1 * MAELoss(**SUM)
    x, y = A.astype(np.float16), B.astype(np.float16)
    expected = tinyloss.grad(loss)(x, y)
    out = np.zeros_like(x)
    assert tinyloss.grad(loss, out=out)(x, y) is out
    np.testing.assert_array_equal(out, expected)
    assert tinyloss.grad(loss, out=x)(x, y) is x
    np.testing.assert_array_equal(x, expected)


@on("mode", ["always", "never"])
def test_compiled_or_not(mode: Any) -> None:
    import tinyloss_numpy

    if mode == "always":
        pytest.importorskip("llvmlite")
    with tinyloss_numpy.compilation(mode):
        for loss, slope, sign in SUMS:
            x, y = A.astype(np.float16), B.astype(np.float16)
            d = x.astype(np.float64) - y
            assert_rounded_once(loss.grad(x, y), slope * d + sign * np.sign(d), "float16")


def test_nothing_has_the_dtype_of_its_argument(xp: Library) -> None:
    for dtype in halves(xp):
        x, labels = xp.asarray(np.zeros((0, 3)), dtype), xp.asarray(np.zeros(0, "int32"))
        assert dtype_name(xp.call((2 * CrossEntropyLoss()).grad, x, labels)) == dtype


def test_a_target_has_its_own_dtype() -> None:
    x, y = A.astype(np.float16), B.astype(np.float32)
    by_x, by_y = tinyloss.grad(1e-3 * MSELoss(**SUM), (0, 1))(x, y)
    assert by_x.dtype == np.float16
    assert by_y.dtype == np.float32
    by_var = tinyloss.grad(3 * tinyloss.GaussianNLLLoss(), 2)(x, y, np.ones(4, np.float16))
    assert by_var.dtype == np.float16
    by_list = tinyloss.grad(2 * MSELoss(), 1)(x, [0.0, 4.0, 0.0, 0.25])
    assert by_list.dtype == tinyloss.grad(MSELoss(), 1)(x, [0.0, 4.0, 0.0, 0.25]).dtype


@on("factor", [1e-42, 1e-60, 1e40, -1e45, 1e-300])
def test_a_factor_need_not_be_a_number_of_the_dtype(xp: Library, factor: float) -> None:
    """A factor that float32 cannot hold, times a loss that makes it one again."""
    if xp.name == "jax:jit":  # XLA multiplies the factor's parts with each other, in float32
        return
    size = 2.0 ** round(-math.log2(abs(factor)) / 2) if 1e-50 < abs(factor) < 1e50 else 1e15
    x, y = xp.asarray([size, 3 * size]), xp.asarray([0.0, 0.0])
    value, grad = xp.fetch(xp.call((factor * MAELoss()).value_and_grad, x, y))
    tiny = float(np.finfo(np.float32).tiny)
    exact = factor * 2 * size
    if abs(exact) < tiny:
        assert abs(float(value)) <= tiny
    else:
        np.testing.assert_allclose(float(value), exact, rtol=4 * EPS)
    slope = factor / 2
    if tiny < abs(slope) < float(np.finfo(np.float32).max):
        np.testing.assert_allclose(grad, slope, rtol=4 * EPS)


def test_float32_takes_no_more_memory_than_its_terms() -> None:
    x, y = np.ones(2**20, np.float32), np.zeros(2**20, np.float32)
    loss = 0.5 * MSELoss() + 2 * MAELoss()
    assert loss.grad(x, y).dtype == np.float32
    assert (
        peak(lambda: loss.grad(x, y)) < 3.5 * x.nbytes + 2**23
    )  # the sum, a term, its product; blocks of the formulas


def test_sum_adds_losses() -> None:
    losses = [MSELoss(), MAELoss(), 2 * HuberLoss()]
    assert sum(losses) == MSELoss() + MAELoss() + 2 * HuberLoss()
    assert sum([MSELoss()]) == MSELoss()
    for other in (1, 0.0, False, None, "a"):
        with pytest.raises(TypeError):
            _ = other + MSELoss()  # type: ignore[operator]


def test_a_sum_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^tinyloss\.WeightedSum: terms is empty, expected"):
        WeightedSum(())
    wrong: list[Any] = [3, ((1.0, tinyloss.mse),), (MSELoss(),), (("2", MSELoss()),)]
    for terms in wrong:
        with pytest.raises(TypeError, match=r"^tinyloss\.WeightedSum: .*expected"):
            WeightedSum(terms)
    listed: Any = [(1.0, MSELoss())]
    assert hash(WeightedSum(listed)) == hash(1.0 * MSELoss())


def parts(loss: Any) -> tuple[Any, ...]:
    weight, where = np.array([1.0, 2.0, 0.5]), np.array([True, True, False])
    chosen: dict[str, Any] = {"weight": weight, "where": where}
    value, grads = anyloss.value_and_grad(loss, (0, 1))(X, Y, **chosen)
    return (
        loss(X, Y),
        loss(X, Y, **chosen),
        loss(X, Y, denominator=5),
        value,
        *grads,
        loss.grad(X, Y, **chosen),
        *loss.value_and_grad(X, Y, **chosen),
        *loss.grad_and_hess(X, Y, **chosen),
    )


@on(
    "combine",
    [
        lambda a, b: a + b,
        lambda a, b: a - b,
        lambda a, b: 0.25 * a + b,
        lambda a, b: a + b * 3,
        lambda a, b: a / 4 - b / 3,
        lambda a, b: -a + b,
        lambda a, b: -(a - 2 * b),
        lambda a, b: 2 * (a + b) + (a - b) / 2,
        lambda a, b: 0 * a + b,
        lambda a, b: a + a + b,
    ],
)
def test_sums_are_the_sums_of_all_parts(combine: Callable[..., Any]) -> None:
    loss = combine(FIRST, SECOND)
    terms = zip(parts(FIRST), parts(SECOND), strict=True)
    for actual, (a, b) in zip(parts(loss), terms, strict=True):
        scale = np.max(np.abs(a)) + np.max(np.abs(b))
        atol = 16 * np.finfo(np.float64).eps * scale
        np.testing.assert_allclose(actual, combine(a, b), rtol=0, atol=atol)


def test_sum_of_row_losses() -> None:
    loss: Any = CrossEntropyLoss() + 0.5 * tinyloss.SoftmaxFocalLoss(gamma=1.0)
    value, grad = loss.value_and_grad(ROWS, LABELS)
    a = anyloss.value_and_grad(tinyloss.cross_entropy)(ROWS, LABELS)
    b = anyloss.value_and_grad(tinyloss.softmax_focal)(ROWS, LABELS, gamma=1.0)
    close(value, a[0] + 0.5 * b[0])
    close(grad, a[1] + 0.5 * b[1])


def test_sum_with_a_variance() -> None:
    loss: Any = 2 * tinyloss.GaussianNLLLoss()
    var = np.array([0.5, 1.0, 2.0])
    close(loss(X, Y, var), 2 * tinyloss.gaussian_nll(X, Y, var))
    by_var = anyloss.grad(tinyloss.gaussian_nll, 2)(X, Y, var)
    close(anyloss.grad(loss, 2)(X, Y, var), 2 * by_var)


def test_half_precision_stays() -> None:
    loss: Any = FIRST + 0.5 * SECOND
    value, grad = loss.value_and_grad(X.astype(np.float16), Y.astype(np.float16))
    assert value.dtype == np.float32
    assert grad.dtype == np.float16


@tinyloss.loss
def charbonnier(x: Any, y: Any, *, eps: float = 1e-3) -> Any:
    return ((x - y) ** 2 + eps**2) ** 0.5


@tinyloss.loss(labels=True)
def margin(x: Any, y: Any, *, least: float) -> Any:
    xp = tinyloss.namespace(x)
    target = y[..., None] == xp.arange(x.shape[-1])
    own = xp.sum(xp.where(target, x, 0.0), axis=-1, keepdims=True)
    return xp.sum(xp.where(target, 0.0, xp.maximum(x - own + least, 0.0)), axis=-1)


class TestALossOfOnesOwn:
    def test_has_objects_that_add(self) -> None:
        loss: Any = 0.75 * FIRST + 0.25 * charbonnier.with_options(eps=0.5)
        value, grad = loss.value_and_grad(X, Y)
        own = anyloss.value_and_grad(charbonnier)(X, Y, eps=0.5)
        first = FIRST.value_and_grad(X, Y)
        close(value, 0.75 * first[0] + 0.25 * own[0])
        close(grad, 0.75 * first[1] + 0.25 * own[1])
        close(loss.grad_and_hess(X, Y)[1], 1.5 + 0.25 * 0.25 / ((X - Y) ** 2 + 0.25) ** 1.5)

    def test_has_objects_of_rows(self) -> None:
        made = margin.with_options(least=2.0, axis=0, reduction="sum")
        assert made(ROWS.T, LABELS) == margin(ROWS, LABELS, least=2.0, reduction="sum")

    @on("loss", [charbonnier.with_options(eps=0.5), margin.with_options(least=2.0, axis=0)])
    def test_has_objects_that_are_values(self, loss: Any) -> None:
        copy = pickle.loads(pickle.dumps(loss))
        assert copy == loss
        assert hash(copy) == hash(loss)
        assert eval(repr(loss)) == loss

    def test_says_what_does_not_fit(self) -> None:
        with pytest.raises(
            TypeError, match=r"charbonnier\.with_options: .*'epz' \(did you mean eps"
        ):
            charbonnier.with_options(epz=1)
        with pytest.raises(TypeError, match=r"margin\.with_options: missing .*'least'"):
            margin.with_options()
        made: Any = charbonnier.with_options()
        with pytest.raises(TypeError, match=r"expected it where the loss is made: charbonnier"):
            made(X, Y, eps=2.0)


@on("other", [1, 0.0, 2.0, "a", None, tinyloss.mse, np.ones(2)], ids=repr)
def test_only_losses_are_added(other: Any) -> None:
    with pytest.raises(TypeError):
        _ = FIRST + other
    with pytest.raises(TypeError):
        _ = other + FIRST
    with pytest.raises(TypeError):
        _ = FIRST - other


@on("factor", ["a", None, [1.0], MSELoss(), True, 1j], ids=repr)
def test_factors_are_numbers(factor: Any) -> None:
    with pytest.raises(TypeError):
        _ = FIRST * factor
    with pytest.raises(TypeError):
        _ = factor * FIRST
    with pytest.raises(TypeError):
        _ = FIRST / factor


@on("factor", [float("nan"), float("inf")])
def test_factors_are_finite(factor: float) -> None:
    with pytest.raises(ValueError, match=r"^tinyloss\.MSELoss: factor is "):
        _ = FIRST * factor
    with pytest.raises(ValueError, match=r"^tinyloss\.MSELoss: divisor is "):
        _ = FIRST / factor


def test_division_by_0_is_refused() -> None:
    with pytest.raises((ZeroDivisionError, ValueError)):
        _ = FIRST / 0


def test_operands_stay_as_they_were() -> None:
    before = repr(FIRST), repr(SECOND)
    _ = -(2 * FIRST + SECOND) / 3 - FIRST
    assert (repr(FIRST), repr(SECOND)) == before
