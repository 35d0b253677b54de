"""The compiled NumPy backend: its answers, bits and memory, its cache on disk, its failures."""

import hashlib
import os
import sys
import threading
import tracemalloc
import warnings
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Unpack

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("numba")

import tinyloss
import tinyloss_numpy
from tests.support.formulas import poly
from tests.support.params import turns
from tests.support.process import python
from tinyloss import binary_cross_entropy_with_logits
from tinyloss._engine.request import Request
from tinyloss._formula import Formula
from tinyloss._function import LossFunction
from tinyloss.typing import Options
from tinyloss_numpy import _blocks, _compiler, _disk, _programs

Array = npt.NDArray[Any]
Loss = LossFunction[...]

EPS = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}

# Losses are accurate to 8 eps, nearly all to 4: two ways to compute one differ by no more than 16.
FEW = 16


@contextmanager
def compiled() -> Generator[None]:
    """Have kernels answer: formulas that run instead are a failure."""

    def refuse(job: Any) -> Any:
        raise AssertionError(f"{job.formula.name} was not compiled")

    with pytest.MonkeyPatch.context() as patch, tinyloss_numpy.compilation("always"):
        patch.setattr(_blocks, "run", refuse)
        yield


def by_formulas() -> Any:
    return tinyloss_numpy.compilation("never")


def assert_close(got: Any, expected: Any, computed: str = "float32", terms: bool = False) -> None:
    """Compare within few eps of each number; of the largest where terms of two signs are added."""
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    eps = FEW * EPS[computed]
    if str(expected.dtype) != computed:  # rounded once more
        eps += EPS[str(expected.dtype)]
        got, expected = got.astype(np.float64), expected.astype(np.float64)
    finite = np.abs(expected[np.isfinite(expected)])
    atol = eps * float(finite.max(initial=0)) if terms else 0
    np.testing.assert_allclose(got, expected, rtol=eps, atol=atol)


def assert_agrees(
    loss: Any,
    *arrays: Any,
    computed: str = "float32",
    argnums: Any = 0,
    terms: bool = False,
    **options: Any,
) -> None:
    """Compare value and gradients of a kernel with those of the formulas."""
    derive: Any = tinyloss.value_and_grad(loss, argnums)
    with compiled():
        value, grads = derive(*arrays, **options)
    with by_formulas():
        expected, slopes = derive(*arrays, **options)
    assert_close(value, expected, computed)
    for got, slope in zip(np.atleast_1d(grads), np.atleast_1d(slopes), strict=True):
        assert_close(got, slope, computed, terms)


def numbers(*shape: int, seed: int = 0, dtype: str = "float32") -> Array:
    return 3 * np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def labels(items: int, classes: int) -> Array:
    return np.random.default_rng(1).integers(0, classes, items)


def probabilities(*shape: int, dtype: str = "float32") -> Array:
    drawn = np.random.default_rng(2).random(shape)
    rows: Array = drawn / drawn.sum(axis=-1, keepdims=True)
    return rows.astype(dtype)


# ------------------------------------------------------------------------------ what kernels answer


def unaligned(x: Array) -> Array:
    memory = np.zeros(x.nbytes + 1, np.uint8)
    view: Array = np.ndarray(x.shape, x.dtype, memory, 1)
    view[...] = x
    return view


def readonly(x: Array) -> Array:
    x = x.copy()
    x.flags.writeable = False
    return x


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "plain": lambda x: x,
    "transposed": lambda x: np.asfortranarray(x),
    "reversed": lambda x: x[::-1].copy()[::-1],
    "backwards": lambda x: x[..., ::-1].copy()[..., ::-1],
    "strided": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "strided rows": lambda x: np.repeat(x, 2, axis=0)[::2],
    "broadcast": lambda x: np.broadcast_to(x[:1], x.shape),
    "read-only": readonly,
    "unaligned": unaligned,
}


@pytest.mark.parametrize("classes", [10, 100])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_of_any_layout(layout: str, classes: int) -> None:
    """Short rows are many at once, long ones one after the other."""
    x = LAYOUTS[layout](numbers(37, classes))
    assert_agrees(tinyloss.cross_entropy, x, labels(37, classes))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_elements_of_any_layout(layout: str) -> None:
    x, y = LAYOUTS[layout](numbers(37, 41)), (numbers(37, 41, seed=1) > 0).astype("f")
    assert_agrees(binary_cross_entropy_with_logits, x, y)


def test_items_of_many_dimensions_in_any_order() -> None:
    x = numbers(3, 4, 5, 6, 10).transpose(3, 1, 0, 2, 4)[:, ::-1]
    y = labels(360, 10).reshape(3, 5, 4, 6).transpose(3, 2, 0, 1)
    assert_agrees(tinyloss.cross_entropy, x, y)


def test_class_axis_anywhere() -> None:
    x = numbers(3, 100, 5)
    assert_agrees(tinyloss.cross_entropy, x, labels(15, 100).reshape(3, 5), axis=1)
    with compiled():
        moved = np.moveaxis(tinyloss.softmax(x, axis=1), 1, -1)
        np.testing.assert_array_equal(moved, tinyloss.softmax(np.moveaxis(x, 1, -1)))


def test_weight_is_broadcast_to_the_items() -> None:
    x, y = numbers(3, 4, 10), labels(12, 10).reshape(3, 4)
    for weight in (numbers(3, 1) ** 2, numbers(4) ** 2, np.float32(2), 2.5, [1.0, 0.0, 2.0, 3.0]):
        assert_agrees(tinyloss.cross_entropy, x, y, weight=weight)


@pytest.mark.parametrize(
    "options",
    [
        {"where": labels(12, 2) == 1},
        {"weight": numbers(12) ** 2, "where": labels(12, 2) == 1, "denominator": 7.5},
        {"class_weight": numbers(10) ** 2},
        {"ignore_index": -100},
        {"label_smoothing": 0.1},
    ],
    ids=lambda options: "-".join(options),
)
def test_options_of_cross_entropy(options: dict[str, Any]) -> None:
    y = labels(12, 10)
    if "ignore_index" in options:
        y[::3] = -100
    # p sum(q) - q cancels where every class has a share
    terms = "label_smoothing" in options
    assert_agrees(tinyloss.cross_entropy, numbers(12, 10), y, terms=terms, **options)


def test_targets_that_are_probabilities() -> None:
    x, y = numbers(12, 10), probabilities(12, 10)
    options: dict[str, Any] = {"class_weight": probabilities(10), "label_smoothing": 0.1}
    assert_agrees(tinyloss.cross_entropy, x, y, argnums=(0, 1), terms=True, **options)


@pytest.mark.parametrize("reduction", turns(["none", "mean", "sum"], 2))
def test_reductions(reduction: str) -> None:
    assert_agrees(tinyloss.mse, numbers(501), numbers(501, seed=1), reduction=reduction)
    x, y = numbers(33, 10), labels(33, 10)
    assert_agrees(tinyloss.cross_entropy, x, y, reduction=reduction)


@pytest.mark.parametrize(
    ("x_dtype", "y_dtype", "computed"),
    turns(
        [
            ("float16", "float16", "float32"),
            ("float64", "float64", "float64"),
            ("bfloat16", "float32", "float32"),
            ("float32", "float64", "float64"),
            ("int32", "int8", "float64"),
            ("float32", "bool", "float32"),
            ("uint8", "float32", "float64"),
        ],
        2,
    ),
)
def test_dtypes(x_dtype: str, y_dtype: str, computed: str) -> None:
    def of(array: Array, dtype: str) -> Array:
        wide = np.abs(array) if dtype[0] == "u" else array
        return wide.astype(getattr(ml_dtypes, dtype, dtype))

    x, y = of(10 * numbers(501), x_dtype), of(10 * numbers(501, seed=1), y_dtype)
    assert_agrees(tinyloss.mse, x, y, computed=computed)


def test_half_precision_beside_float64_is_rounded_once() -> None:
    """No kernel takes these: through float32, results would be rounded twice."""
    x, y = numbers(50).astype("float16"), numbers(50, seed=1).astype("float64")
    with tinyloss_numpy.compilation("always"):
        gradient = tinyloss.grad(tinyloss.mse)(x, y)
    with by_formulas():
        np.testing.assert_array_equal(gradient, tinyloss.grad(tinyloss.mse)(x, y))


@pytest.mark.parametrize(
    "dtype", turns("int8 int16 int32 uint8 uint64 uint32 int64 uint16".split(), 2)
)
def test_class_indices_of_every_integer_dtype(dtype: str) -> None:
    y = labels(12, 100).astype(dtype)
    assert_agrees(tinyloss.nll, numbers(12, 100), y)


def test_class_indices_out_of_range_give_nan_where_they_are_not_looked_at() -> None:
    x, y = numbers(5, 10), np.array([0, -1, 10, 2**40, 9])
    with tinyloss.validation("never"), compiled():
        value, gradient = tinyloss.value_and_grad(tinyloss.cross_entropy)(x, y, reduction="sum")
        each = tinyloss.cross_entropy(x, y, reduction="none")
    assert np.isnan(value)
    assert np.isnan(each).tolist() == [False, True, True, True, False]
    assert np.isnan(gradient).all(axis=1).tolist() == [False, True, True, True, False]


def test_further_arrays_of_another_dtype() -> None:
    x, y = numbers(12, 10), (numbers(12, 10, seed=1) > 0).astype("f")
    for pos_weight in (np.linspace(0.5, 2, 10), np.float32(2.0), [2] * 10):
        loss = binary_cross_entropy_with_logits
        assert_agrees(loss, x, y, pos_weight=pos_weight)


def test_scalars_of_numpy_are_arrays() -> None:
    assert_agrees(tinyloss.mse, np.float32(3), np.float32(1))
    assert_agrees(tinyloss.cross_entropy, numbers(10), np.int64(3), weight=np.float32(2))
    with compiled():
        value, gradient = tinyloss.value_and_grad(tinyloss.mse)(np.float64(3), np.float64(1))
    assert (type(value), type(gradient)) == (np.float64, np.float64)


def test_results_are_plain_arrays(tmp_path: Path) -> None:
    """A gradient is not backed by a file because x is."""
    x = np.memmap(tmp_path / "x", np.float32, "w+", shape=(4, 10))
    for mode in (compiled(), by_formulas()):
        with mode:
            gradient = tinyloss.grad(tinyloss.mse)(x, numbers(4, 10))
            assert type(gradient) is np.ndarray
            assert type(tinyloss.softmax(x)) is np.ndarray


@pytest.mark.parametrize("loss", [binary_cross_entropy_with_logits, tinyloss.softmax_focal])
def test_curvature(loss: Loss) -> None:
    rows = loss is tinyloss.softmax_focal
    x, y = numbers(12, 10), labels(12, 10) if rows else probabilities(12, 10)
    weight = numbers(12 if rows else 10) ** 2
    with compiled():
        results = tinyloss.grad_and_hess(loss)(x, y, weight=weight)
    with by_formulas():
        expected = tinyloss.grad_and_hess(loss)(x, y, weight=weight)
    for got, want in zip(results, expected, strict=True):
        assert_close(got, want, terms=rows)


@pytest.mark.parametrize("classes", [7, 300])
@pytest.mark.parametrize("transform", [tinyloss.softmax, tinyloss.logsumexp])
def test_transforms(transform: Any, classes: int) -> None:
    x = numbers(5, classes)
    with compiled():
        got = transform(x)
    with by_formulas():
        assert_close(got, transform(x))


# ----------------------------------------------------------------------------------- losses added


class _Ripple(Formula):
    name = "ripple"

    def __init__(self, x: Any, y: Any, *, power: float) -> None:
        self.xp, self.x, self.power = tinyloss.namespace(x), x, power
        self.d = x - y

    def value(self) -> Any:
        return self.xp.pow(1 + self.d * self.d, self.power) + self.xp.sin(self.x)

    def grad_x(self) -> Any:
        slope = 2 * self.power * self.d * self.xp.pow(1 + self.d * self.d, self.power - 1)
        return slope + self.xp.cos(self.x)


@LossFunction
def ripple(x: Any, y: Any, *, power: float = 0.75, **options: Unpack[Options]) -> Request:
    """A loss of elements, by formulas."""
    return Request(_Ripple, x, y, {"power": power}, **options)


@tinyloss.loss
def wave(x: Any, y: Any, *, power: float = 0.75) -> Any:
    """The same loss, by its value alone."""
    xp = tinyloss.namespace(x)
    return (1 + (x - y) ** 2) ** power + xp.sin(x)


@pytest.mark.parametrize(
    ("loss", "weighted"), turns([*product([ripple, wave, poly], [True, False])], 2)
)
def test_a_loss_is_compiled_without_a_line_about_it_elsewhere(loss: Loss, weighted: bool) -> None:
    rng = np.random.default_rng(3)
    # where x > y and x < pi / 2 all terms of value and gradient are positive
    x, y = rng.uniform(0.5, 1.5, (31, 9)), rng.uniform(0, 0.5, (31, 9))
    options: dict[str, Any] = {}
    if loss is poly:
        y = labels(31, 9)
    if weighted:
        items = (31,) if loss is poly else x.shape
        options = {"weight": rng.random(items), "where": rng.random(items) < 0.5}
        x[~options["where"]] = np.nan
    x = x.astype("f")
    y = y if loss is poly else y.astype("f")
    derive = tinyloss.value_and_grad(loss)
    with compiled():
        value, gradient = derive(x, y, **options)
    with by_formulas():
        expected, slope = derive(x, y, **options)
    assert_close(value, expected)
    # reverse mode adds p and p - 1 of a softmax
    assert_close(gradient, slope, terms=loss is poly)


def everything(x: Any, y: Any) -> Any:
    """Every operation that a formula may use."""
    xp = tinyloss.namespace(x)
    a = xp.abs(x) + xp.sqrt(1 + xp.square(y)) - xp.negative(x) / (2 + xp.cos(y))
    b = xp.exp(-xp.abs(x)) + xp.expm1(x / 4) + xp.log(2 + xp.abs(x)) + xp.log1p(xp.abs(y))
    c = xp.cosh(x / 4) + xp.sinh(y / 4) + xp.tanh(x) + xp.sin(x) + xp.pow(1 + x * x, y)
    d = xp.maximum(x, y) + xp.minimum(x, y) + xp.clip(x, -1.0, 0.5) + xp.sign(x - y)
    kept = (x < y) & (x <= 3) | (x > y) | ~(x >= y) | (xp.isfinite(y) & xp.logical_not(xp.isnan(x)))
    e = xp.where(kept, x, 1.0) + xp.where(x == y, xp.zeros_like(x), y) + xp.where(x != y, 0.25, x)
    return a + b + c + d + e + xp.astype(xp.isinf(x), x.dtype) * xp.pi + xp.finfo(x.dtype).eps


@tinyloss.loss
def of_elements(x: Any, y: Any) -> Any:
    """Every operation on elements."""
    return everything(x, y)


@tinyloss.loss(rowwise=True)
def of_rows(x: Any, y: Any) -> Any:
    """Every operation on classes, and sums and maxima of them and of what these gave."""
    xp = tinyloss.namespace(x)
    each = everything(x, y)
    top = x == xp.max(x, axis=-1, keepdims=True)
    highest = xp.sum(xp.where(top, each, 0.0), axis=-1, keepdims=True)
    first = xp.where(xp.arange(x.shape[-1]) < 3, each, 0.5)
    count = xp.sum(xp.astype(each > highest / 3, x.dtype), axis=-1)
    most = xp.max(xp.where(top & (each > highest / 2), xp.exp(each - highest), 0.0), axis=-1)
    return xp.sum(first + each / highest, axis=-1) + highest[..., 0] + count + most


@pytest.mark.parametrize("loss", [of_elements, of_rows])
def test_every_operation_is_compiled(loss: Loss) -> None:
    x, y = numbers(20, 150) / 3, numbers(20, 150, seed=1) / 3
    derive = tinyloss.value_and_grad(loss)
    with compiled():
        results = derive(x, y, reduction="none")
    with by_formulas():
        expected = derive(x, y, reduction="none")
    for got, want in zip(results, expected, strict=True):
        assert_close(got, want, terms=True)


def test_an_own_loss_that_cannot_be_recorded_runs_uncompiled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It needs what only whole arrays have: that is no error, as it is none on other libraries."""

    class Sorted(_Ripple):
        def value(self) -> Any:
            return self.xp.sort(self.d)

    @LossFunction
    def odd(x: Any, y: Any) -> Request:
        return Request(Sorted, x, y, {"power": 1.0}, reduction="sum")

    monkeypatch.setattr(_programs, "_warned", set())
    with tinyloss_numpy.compilation("always"), pytest.warns(RuntimeWarning, match=r"xp\.sort"):
        assert odd(np.array([3.0, 1.0]), np.zeros(2)) == 4


# -------------------------------------------------------------------------------------- same bits


def bits(result: Any) -> str:
    """Return a digest of all bits of a tuple of arrays."""
    digest = hashlib.sha256()
    for each in result:
        digest.update(np.ascontiguousarray(each).tobytes())
    return digest.hexdigest()


def large_rows() -> Any:
    return tinyloss.value_and_grad(tinyloss.cross_entropy)(numbers(1023, 1000), labels(1023, 1000))


def large_elements() -> Any:
    x = numbers(1_000_003)
    return tinyloss.value_and_grad(binary_cross_entropy_with_logits)(x, (x > 1).astype("f"))


@pytest.mark.parametrize("call", [large_rows, large_elements])
def test_number_of_threads_changes_no_bit(call: Callable[[], Any]) -> None:
    with compiled():
        seen = {bits(call())}
        for n in (1, 2, 3, 7, 2):
            with tinyloss_numpy.threads(n):
                seen.add(bits(call()))
    assert len(seen) == 1


def test_callers_in_many_threads_get_the_same_bits() -> None:
    """A pool shared by callers that want different numbers of threads, and grows meanwhile."""

    def call(n: int) -> str:
        # settings are those of a thread: they are made in each
        with tinyloss_numpy.compilation("always"), tinyloss_numpy.threads(1 + n % 4):
            return bits((large_rows if n % 2 else large_elements)())

    with ThreadPoolExecutor(4) as pool:
        seen = list(pool.map(call, range(12)))
    assert len(set(seen)) == 2


@pytest.mark.parametrize("n", [0, -1, True, 1.5, "2", None])
def test_number_of_threads_is_a_positive_integer(n: Any) -> None:
    with (
        pytest.raises(ValueError, match=r"tinyloss_numpy\.threads: n is .*positive integer"),
        tinyloss_numpy.threads(n),
    ):
        pass


def test_forked_child_computes_the_same_bits() -> None:
    """The threads of its parent's pool are not in it."""
    if not hasattr(os, "fork"):
        pytest.skip("this system does not fork")
    code = """
        import os, signal, warnings
        import numpy as np
        import tinyloss, tinyloss_numpy
        def call():
            x = np.linspace(-5, 5, 300_007, dtype="f")
            with tinyloss_numpy.compilation("always"), tinyloss_numpy.threads(3):
                value, gradient = tinyloss.value_and_grad(tinyloss.mse)(x, np.sin(x))
            return value.tobytes(), gradient.tobytes()
        first = call()
        warnings.simplefilter("ignore")  # Python 3.12 warns of forks beside threads
        child = os.fork()
        if child == 0:
            signal.alarm(60)  # ends a child that waits for ever
            os._exit(0 if call() == call() == first else 1)
        status = os.waitpid(child, 0)[1]
        print(os.waitstatus_to_exitcode(status), call() == first)
    """
    assert python(code) == "0 True\n"


# -------------------------------------------------------------------------------- NaN and infinity


def test_mean_is_finite_where_its_sum_is_beyond_float32() -> None:
    x = np.full(10_000, 8e37, "f")
    with compiled():
        value = tinyloss.mae(x, np.zeros_like(x))
        assert np.isinf(tinyloss.mae(x, np.zeros_like(x), reduction="sum"))
    assert value == np.float32(8e37)


def test_numbers_beyond_the_dtype_are_infinite_without_a_warning() -> None:
    x = np.full(200_000, 1e308)
    with compiled():
        assert np.isinf(tinyloss.mae(x, np.zeros_like(x)))
        assert np.isinf(tinyloss.mae(x[:5], np.zeros(5), denominator=np.zeros(())))
        assert np.isnan(tinyloss.mae(x[:5], np.full(5, np.inf), denominator=np.full((), np.inf)))


def test_infinities_of_both_signs_are_nan_without_a_warning() -> None:
    x = np.zeros(300_000, "f")
    y = x.copy()
    y[[0, -1]] = np.inf, -np.inf  # far apart: in different partial sums
    with compiled():
        value = tinyloss.poisson_nll(x + 1, y)
    assert np.isnan(value)


@pytest.mark.parametrize("classes", [10, 100])
def test_nan_stays_in_its_row(classes: int) -> None:
    x, y = numbers(9, classes), labels(9, classes)
    with compiled():
        _, clean = tinyloss.value_and_grad(tinyloss.cross_entropy)(x, y)
        for bad in (np.nan, np.inf):
            x[4, 3] = bad
            value, gradient = tinyloss.value_and_grad(tinyloss.cross_entropy)(x, y)
            assert np.isnan(value)
            assert np.isnan(gradient[4]).all()
            np.testing.assert_array_equal(np.delete(gradient, 4, 0), np.delete(clean, 4, 0))


def test_impossible_class_has_no_gradient() -> None:
    x, y = numbers(9, 10), np.zeros(9, int)
    x[4, 3] = -np.inf
    assert_agrees(tinyloss.cross_entropy, x, y)
    with compiled():
        assert tinyloss.grad(tinyloss.cross_entropy)(x, y)[4, 3] == 0


def test_nan_of_an_element_stays_there() -> None:
    x, y = numbers(1001), numbers(1001, seed=1)
    x[500] = np.nan
    with compiled():
        value, gradient = tinyloss.value_and_grad(tinyloss.mse)(x, y)
    assert np.isnan(value)
    assert np.flatnonzero(np.isnan(gradient)).tolist() == [500]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_that_is_left_out_reaches_nothing(bad: float) -> None:
    x, y = numbers(12, 10), labels(12, 10)
    where = np.arange(12) % 3 != 0
    with compiled():
        expected = tinyloss.value_and_grad(tinyloss.cross_entropy)(x, y, where=where)
        x[~where] = bad
        got = tinyloss.value_and_grad(tinyloss.cross_entropy)(x, y, where=where)
    assert bits(got) == bits(expected)


# ------------------------------------------------------------------------------ when it is compiled


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Plans that were to be compiled, by default as it is outside of tests; none is."""
    plans: list[Any] = []
    tinyloss.clear_caches()
    monkeypatch.setattr(
        _programs.CompiledLoss, "compile", lambda _, plan, layouts: plans.append(plan)
    )
    with tinyloss_numpy.compilation("auto"):
        yield plans


def test_never_compiles_nothing(asked: list[Any]) -> None:
    x = np.ones(1_000_000, "f")
    with tinyloss_numpy.compilation("never"):
        tinyloss.mse(x, x)
    assert asked == []


def test_always_compiles_at_the_first_call(asked: list[Any]) -> None:
    with tinyloss_numpy.compilation("always"):
        tinyloss.mse(np.ones(3), np.ones(3))
    assert len(asked) == 1


def test_auto_compiles_a_large_array_at_the_first_call(asked: list[Any]) -> None:
    x = np.ones(1_000_000, "f")
    tinyloss.mse(x, x)
    assert len(asked) == 1


def test_auto_compiles_after_some_hundred_small_calls(asked: list[Any]) -> None:
    x = np.ones(10, "f")
    calls = 0
    while not asked and calls < 2000:
        tinyloss.mse(x, x)
        calls += 1
    assert 100 <= calls <= 1000


def test_calls_of_different_losses_are_counted_apart(asked: list[Any]) -> None:
    x = np.ones(10, "f")
    for delta in np.linspace(0.1, 1, 600):
        tinyloss.huber(x, x, delta=float(delta))
    assert asked == []


def test_mode_is_that_of_a_context_and_a_thread(asked: list[Any]) -> None:
    def call(*_: Any) -> int:
        tinyloss.mse(np.ones(3), np.ones(3))
        return len(asked)

    with tinyloss_numpy.compilation("always"):
        with tinyloss_numpy.compilation("never"):
            assert call() == 0
        assert call() == 1
        with ThreadPoolExecutor(1) as pool:
            assert list(pool.map(call, [0])) == [1]
        with pytest.raises(ZeroDivisionError), tinyloss_numpy.compilation("never"):
            raise ZeroDivisionError
        assert call() == 2
    assert call() == 2


@pytest.mark.parametrize("mode", ["sometimes", True, None])
def test_mode_is_one_of_three(mode: Any) -> None:
    with (
        pytest.raises(ValueError, match=r"tinyloss_numpy\.compilation: mode is .*\"never\""),
        tinyloss_numpy.compilation(mode),
    ):
        pass


def test_no_array_of_a_caller_is_kept() -> None:
    x = numbers(12, 10)
    before = sys.getrefcount(x)
    with compiled():
        tinyloss.value_and_grad(tinyloss.cross_entropy)(x, labels(12, 10))
    assert sys.getrefcount(x) == before


# ------------------------------------------------------------------------------------ the formulas


@pytest.fixture
def tiny_blocks(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return a function after which the formulas run over blocks of 64 elements."""
    return lambda: monkeypatch.setattr(_blocks, "_BLOCK", 64)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(
    ("loss", "arrays", "options"),
    [
        (tinyloss.mse, (numbers(5, 101), numbers(5, 101, seed=1)), {"weight": numbers(5, 1) ** 2}),
        (tinyloss.mse, (numbers(101, 5).T, numbers(5, 101, seed=1)), {}),
        (tinyloss.cross_entropy, (numbers(31, 3, 9), labels(93, 9).reshape(31, 3)), {}),
        (
            tinyloss.cross_entropy,
            (numbers(31, 9), labels(31, 9)),
            {"class_weight": probabilities(9), "where": labels(31, 2) == 1},
        ),
        (
            tinyloss.cross_entropy,
            (numbers(31, 9), probabilities(31, 9)),
            {"class_weight": probabilities(9), "weight": np.float32(2)},
        ),
        (
            binary_cross_entropy_with_logits,
            (numbers(31, 9), probabilities(31, 9)),
            {"pos_weight": probabilities(9) + 1},
        ),
    ],
)
def test_blocks_give_what_one_go_gives(
    loss: Loss,
    arrays: tuple[Array, ...],
    options: dict[str, Any],
    reduction: str,
    tiny_blocks: Callable[[], None],
) -> None:
    derive = tinyloss.value_and_grad(loss)
    with by_formulas():
        value, gradient = derive(*arrays, reduction=reduction, **options)
        tiny_blocks()
        in_blocks, by_blocks = derive(*arrays, reduction=reduction, **options)
        assert_close(in_blocks, value)
        # a row is a row: each is computed as before
        np.testing.assert_array_equal(by_blocks, gradient)
        x = arrays[0].copy()
        derive_here = tinyloss.value_and_grad(loss, out=x)
        again, written = derive_here(x, *arrays[1:], reduction=reduction, **options)
        assert written is x
        np.testing.assert_array_equal(written, gradient)
        np.testing.assert_array_equal(again, in_blocks)


def test_blocks_give_curvature_too(tiny_blocks: Callable[[], None]) -> None:
    x, y = numbers(31, 9), probabilities(31, 9)
    with by_formulas():
        expected = tinyloss.grad_and_hess(tinyloss.cross_entropy)(x, y)
        tiny_blocks()
        assert bits(tinyloss.grad_and_hess(tinyloss.cross_entropy)(x, y)) == bits(expected)


# ------------------------------------------------------------------------------------------ memory

MIB = 2**20


def peak(call: Callable[[], Any]) -> float:
    """Return how much memory a call takes at most, in MiB; NumPy reports what its arrays take."""
    call()  # what is made once
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1] / MIB
    finally:
        tracemalloc.stop()


@pytest.fixture(scope="module")
def square() -> tuple[Array, Array]:
    """64 MiB of logits."""
    rng = np.random.default_rng(4)
    return rng.random((4096, 4096), dtype=np.float32), labels(4096, 4096)


def test_value_by_formulas_needs_little_memory(square: tuple[Array, Array]) -> None:
    with by_formulas():
        assert peak(lambda: tinyloss.cross_entropy(*square)) < 32


def test_compiled_value_needs_no_memory(square: tuple[Array, Array]) -> None:
    with compiled():
        assert peak(lambda: tinyloss.cross_entropy(*square)) < 4


def test_compiled_gradient_needs_its_own_memory(square: tuple[Array, Array]) -> None:
    with compiled():
        derive = tinyloss.value_and_grad(tinyloss.cross_entropy)
        assert peak(lambda: derive(*square)) < 64 + 4


def test_gradient_in_place_needs_no_memory(square: tuple[Array, Array]) -> None:
    x, y = square[0].copy(), square[1]
    derive = tinyloss.value_and_grad(tinyloss.cross_entropy, out=x)
    with compiled():
        assert peak(lambda: derive(x, y)) < 4


# --------------------------------------------------------------------------------------------- out


def own_place(x: Array, y: Array) -> tuple[Array, Array]:
    return x, y


def swapped(x: Array, y: Array) -> tuple[Array, Array]:
    return y, x


def strided(x: Array, _: Array) -> tuple[Array, Array]:
    return np.full((*x.shape[:-1], 2 * x.shape[-1]), 7, x.dtype)[..., ::2], np.empty_like(x)


def turned(x: Array, y: Array) -> tuple[Array, Array]:
    return x.T, y.T


def crossed(x: Array, y: Array) -> tuple[Array, Array]:
    return y[::-1], x[::-1]


MODES = pytest.mark.parametrize("mode", [compiled, by_formulas])


@MODES
@pytest.mark.parametrize("place", [own_place, swapped, strided, turned, crossed])
@pytest.mark.parametrize("loss", [tinyloss.mse, tinyloss.kl_div_with_logits])
def test_gradients_are_written_anywhere(loss: Loss, place: Any, mode: Any) -> None:
    """Over the arguments too, in any order and any way round."""
    x, y = numbers(10, 10), probabilities(10, 10)
    with mode():
        value, grads = tinyloss.value_and_grad(loss, (0, 1))(x, y)
        out = place(x, y)
        got, written = tinyloss.value_and_grad(loss, (0, 1), out=out)(x, y)
    assert all(a is b for a, b in zip(written, out, strict=True))
    assert_close(got, value)
    for a, b in zip(written, grads, strict=True):
        assert_close(a, b)
    if place is strided:
        assert (out[0].base[..., 1::2] == 7).all()


@MODES
@pytest.mark.parametrize("step", [1, -1])
def test_gradient_over_a_part_of_x(step: int, mode: Any) -> None:
    memory = numbers(41, 100)
    x, out = (memory[1:], memory[:-1])[::step]
    y = labels(40, 100)
    with mode():
        value, gradient = tinyloss.value_and_grad(tinyloss.cross_entropy)(x.copy(), y)
        got, written = tinyloss.value_and_grad(tinyloss.cross_entropy, out=out)(x, y)
    assert written is out
    assert_close(got, value)
    assert_close(written, gradient)


@MODES
def test_gradient_over_other_arguments(mode: Any) -> None:
    x, y, weight = numbers(12, 10), numbers(12, 10, seed=1), numbers(12, 10, seed=2) ** 2
    with mode():
        expected = tinyloss.grad(tinyloss.mse)(x, y, weight=weight)
        got = tinyloss.grad(tinyloss.mse, out=weight)(x, y, weight=weight)
        assert got is weight
        assert_close(got, expected)
        # x is the target, too
        same = x.copy()
        np.testing.assert_array_equal(tinyloss.grad(tinyloss.mse, out=same)(same, same), 0)


@MODES
def test_gradient_over_a_class_weight(mode: Any) -> None:
    x, y, class_weight = numbers(5), probabilities(5), probabilities(5)
    loss = tinyloss.cross_entropy
    with mode():
        expected = tinyloss.grad(loss)(x, y, class_weight=class_weight)
        got = tinyloss.grad(loss, out=class_weight)(x, y, class_weight=class_weight)
    assert_close(got, expected)


@MODES
def test_gradient_along_another_axis_is_written(mode: Any) -> None:
    x, y = numbers(3, 100, 5), labels(15, 100).reshape(3, 5)
    with mode():
        expected = tinyloss.grad(tinyloss.cross_entropy)(x, y, axis=1)
        got = tinyloss.grad(tinyloss.cross_entropy, out=x)(x, y, axis=1)
    assert got is x
    assert_close(got, expected)


@MODES
def test_gradient_and_curvature_are_written(mode: Any) -> None:
    x, y = numbers(12, 10), probabilities(12, 10)
    with mode():
        expected = tinyloss.grad_and_hess(tinyloss.cross_entropy)(x, y)
        got = tinyloss.grad_and_hess(tinyloss.cross_entropy, out=(y, x))(x, y)
    assert got[0] is y
    assert got[1] is x
    for a, b in zip(got, expected, strict=True):
        assert_close(a, b)


@MODES
def test_sum_of_losses_writes_its_gradient(mode: Any) -> None:
    loss: Any = 0.75 * tinyloss.MSELoss() + 0.5 * tinyloss.MAELoss()
    x, y = numbers(50), numbers(50, seed=1)
    with mode():
        value, gradient = loss.value_and_grad(x, y)
        derive: Any = tinyloss.value_and_grad(loss, out=x)
        got, written = derive(x, y)
    assert written is x
    assert got == value
    np.testing.assert_array_equal(written, gradient)


@MODES
@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (np.full((3, 2), 7, "f"), ValueError, r"out has shape \(3, 2\), expected \(2, 3\)"),
        (np.full((2, 3), 7.0), TypeError, "out has dtype float64, expected float32"),
        (readonly(np.full((2, 3), 7, "f")), ValueError, "out is read-only"),
        ([[7.0] * 3] * 2, TypeError, "out: got a list, expected an array"),
        (np.ma.masked_array(np.full((2, 3), 7, "f")), TypeError, "out: .*MaskedArray"),
    ],
    ids=["shape", "dtype", "read-only", "list", "masked"],
)
def test_out_that_cannot_take_a_gradient_is_refused(
    out: Any, error: type[Exception], message: str, mode: Any
) -> None:
    x = numbers(2, 3)
    before = x.copy()
    sum_of_losses: Any = tinyloss.MSELoss() + tinyloss.MAELoss()
    for name, loss in (("mse", tinyloss.mse), ("WeightedSum", sum_of_losses)):
        with mode(), pytest.raises(error, match=rf"^tinyloss\.{name}: {message}"):
            tinyloss.value_and_grad(loss, out=out)(x, x)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(np.asarray(out), 7)


def test_second_out_that_is_refused_leaves_the_first_alone() -> None:
    x, first, second = numbers(3), np.full(3, 7, "f"), np.full(4, 7, "f")
    with pytest.raises(ValueError, match="out has shape"):
        tinyloss.value_and_grad(tinyloss.mse, (0, 1), out=(first, second))(x, x)
    np.testing.assert_array_equal(first, 7)


@pytest.mark.parametrize("out", [np.ones(3), [np.ones(3), np.ones(3)], (np.ones(3),)])
def test_out_of_several_gradients_is_a_tuple_of_as_many(out: Any) -> None:
    with pytest.raises(TypeError, match=r"^tinyloss: out is of type \w+, expected a tuple of 2 "):
        tinyloss.value_and_grad(tinyloss.mse, (0, 1), out=out)


def test_out_of_another_library_is_refused(torch: Any) -> None:
    with pytest.raises(TypeError, match=r"^tinyloss\.mse: out is of torch, expected numpy, as x"):
        tinyloss.value_and_grad(tinyloss.mse, out=torch.ones(3))(np.ones(3), np.ones(3))


def test_out_of_arrays_that_cannot_be_written_is_refused(jax: Any) -> None:
    x = jax.numpy.ones(3)
    with pytest.raises(ValueError, match=r"^tinyloss\.mse: out is read-only"):
        tinyloss.value_and_grad(tinyloss.mse, out=x)(x, x)


def test_out_of_a_library_without_kernels(torch: Any) -> None:
    x, y = torch.tensor([1.0, 2.0, 5.0]), torch.zeros(3)
    value, gradient = tinyloss.value_and_grad(tinyloss.mse, out=x)(x, y)
    assert gradient is x
    assert value == 10
    assert x.tolist() == pytest.approx([2 / 3, 4 / 3, 10 / 3])


# ------------------------------------------------------------------------------------ kept kernels


def cache_in(folder: Path) -> dict[str, Any]:
    """Return the environment of a process whose user's cache folder is this."""
    if sys.platform != "linux":
        pytest.skip("other systems do not name the user's cache folder by a variable")
    return {"XDG_CACHE_HOME": str(folder)}


COMPILED_CALL = """
import hashlib, sys, numpy as np, tinyloss, tinyloss_numpy
x = np.linspace(-3, 3, 1000, dtype="f")
with tinyloss_numpy.compilation("always"):
    value, gradient = tinyloss.value_and_grad(tinyloss.mse)(x, np.cos(x))
print(value.tobytes().hex(), hashlib.sha256(gradient).hexdigest(), "numba" in sys.modules)
"""


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_later_processes_load_kernels_without_numba(tmp_path: Path) -> None:
    environment = cache_in(tmp_path)
    *result, with_numba = python(COMPILED_CALL, **environment).split()
    assert with_numba == "True"
    assert len(files(tmp_path / "tinyloss")) == 1
    assert python(COMPILED_CALL, **environment).split() == [*result, "False"]


def test_processes_may_write_the_same_kernel_at_once(tmp_path: Path) -> None:
    environment = cache_in(tmp_path)
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(python, COMPILED_CALL, **environment) for _ in range(2)]
        first, second = (run.result() for run in runs)
    assert first == second
    assert len(files(tmp_path)) == 1


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SimpleNamespace:
    """A cache folder of this test, and how often something was compiled."""
    folder, count = tmp_path / "cache", SimpleNamespace(compiled=0, folder=tmp_path / "cache")
    compile_text = _compiler._compile

    def counted(*args: Any) -> Any:
        count.compiled += 1
        return compile_text(*args)

    monkeypatch.setattr(_disk, "_folder", lambda: folder)
    monkeypatch.setattr(_compiler, "_compile", counted)
    return count


def compiled_call() -> str:
    """Answer with the bits of a call to a kernel that no memory holds."""
    with compiled():
        tinyloss.clear_caches()
        return bits(tinyloss.value_and_grad(tinyloss.mse)(numbers(500), numbers(500, seed=1)))


def test_kernel_is_read_back(kernels: SimpleNamespace) -> None:
    first = compiled_call()
    assert (first, kernels.compiled) == (compiled_call(), 1)
    assert len(files(kernels.folder)) == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
    ],
    ids=["empty", "cut short", "one bit"],
)
def test_damaged_kernel_is_compiled_again(damage: Any, kernels: SimpleNamespace) -> None:
    first = compiled_call()
    (file,) = files(kernels.folder)
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    assert (compiled_call(), kernels.compiled) == (first, 2)
    assert file.stat().st_size > len(whole) // 2  # it was written again
    assert (compiled_call(), kernels.compiled) == (first, 2)


def test_kernel_of_another_machine_is_not_taken(
    kernels: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled_call()
    here = _compiler._environment()
    monkeypatch.setattr(_compiler, "_environment", lambda: (*here[:-1], "another"))
    compiled_call()
    assert kernels.compiled == 2
    assert len(files(kernels.folder)) == 2


@pytest.mark.parametrize("obstacle", ["a file", "no permission"])
def test_folder_that_takes_no_kernel_is_no_error(obstacle: str, kernels: SimpleNamespace) -> None:
    if obstacle == "a file":
        kernels.folder.write_bytes(b"")
    else:
        kernels.folder.mkdir()
        kernels.folder.chmod(0o500)
    first = compiled_call()
    assert first == compiled_call()
    # What is no obstacle to this user, as to root, takes the kernel.
    kept = kernels.folder.is_dir() and os.access(kernels.folder, os.W_OK)
    assert kernels.compiled == (1 if kept else 2)


# ---------------------------------------------------------------------------------------- failures


def test_failure_to_compile_is_one_warning_a_loss_and_the_formulas(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("no space left")

    monkeypatch.setattr(_compiler, "load", fail)
    tinyloss.clear_caches()
    monkeypatch.setattr(_programs, "_warned", set())
    x, y = numbers(50), numbers(50, seed=1)
    losses: list[Loss] = [tinyloss.mse, tinyloss.mae, tinyloss.log_cosh]
    with warnings.catch_warnings(record=True) as caught, tinyloss_numpy.compilation("always"):
        warnings.simplefilter("always")
        results = [tinyloss.value_and_grad(loss)(x, y) for loss in losses for _ in range(3)]
    assert {warning.category for warning in caught} == {RuntimeWarning}
    names = ("mse", "mae", "log_cosh")
    for warning, name in zip(caught, names, strict=True):
        message = str(warning.message)
        assert f"{name} could not be compiled (RuntimeError: no space left)" in message
        assert "pip install" not in message
    with by_formulas():
        expected = [tinyloss.value_and_grad(loss)(x, y) for loss in losses for _ in range(3)]
    assert [bits(each) for each in results] == [bits(each) for each in expected]


@pytest.mark.parametrize("module", ["numba", "llvmlite", "platformdirs"])
def test_missing_compiler_is_one_warning_and_the_formulas(module: str, tmp_path: Path) -> None:
    code = f"""
        import sys, warnings
        sys.modules["{module}"] = None
        import numpy as np, tinyloss, tinyloss_numpy
        x, y = np.array([1.0, 2.0]), np.zeros(2)
        with warnings.catch_warnings(record=True) as caught, tinyloss_numpy.compilation("always"):
            warnings.simplefilter("always")
            values = [loss(x, y).item() for loss in (tinyloss.mse, tinyloss.mae) for _ in "12"]
        (warning,) = caught
        print(values, warning.category.__name__, "{module}" in str(warning.message))
    """
    assert python(code, **cache_in(tmp_path)) == "[2.5, 2.5, 1.5, 1.5] RuntimeWarning True\n"


def test_small_calls_import_no_compiler() -> None:
    code = """
        import sys, numpy as np, tinyloss
        for _ in range(20):
            tinyloss.value_and_grad(tinyloss.cross_entropy)(np.zeros((32, 10)), [0] * 32)
        print(sorted({"numba", "llvmlite", "tinyloss_numpy"} & set(sys.modules)))
    """
    assert python(code) == "['tinyloss_numpy']\n"


def test_error_in_another_thread_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    main = threading.get_ident()
    seen: list[int] = []

    def work(first: int, last: int) -> None:
        if threading.get_ident() == main:
            while not seen:  # until the other has failed
                pass
        else:
            seen.append(first)
            raise MemoryError

    from tinyloss_numpy._threads import run_slabs

    with tinyloss_numpy.threads(2), pytest.raises(MemoryError):
        run_slabs(work, 100)


# -------------------------------------------------------------------------------------- the source


def test_source_is_python() -> None:
    for loss in (tinyloss.cross_entropy, tinyloss.mse, tinyloss.gaussian_nll, poly, wave):
        if loss is tinyloss.gaussian_nll:
            x = np.ones(3)
            text = tinyloss.source(loss, x, x, x)
        else:
            text = tinyloss.source(loss)
        compile(text, "source", "exec")
        assert text.startswith("def kernel(")


def test_source_shows_the_passes() -> None:
    text = tinyloss.source(tinyloss.cross_entropy)
    lines = [line.strip() for line in text.splitlines()]
    assert lines.count("for j in range(0, classes, LANES):") == 3
    assert len([line for line in lines if "= fold_max(" in line]) == 1
    assert len([line for line in lines if "= real(fold_row(" in line]) == 1
    assert len([line for line in lines if line.startswith("store_grad_x_0(")]) == 1
    # one number of a row before the sum, one for each class
    assert len([line for line in lines if "= exp(" in line]) == 2


def test_source_depends_on_what_is_asked_about() -> None:
    x, y = numbers(12, 100), labels(12, 100)
    ce = tinyloss.cross_entropy
    texts = [
        tinyloss.source(ce, x, y),
        tinyloss.source(ce, x, probabilities(12, 100)),
        tinyloss.source(ce, x[:, :10], y % 10),
        tinyloss.source(ce, x, y, label_smoothing=0.1),
        tinyloss.source(ce, x, y, weight=np.ones(12)),
    ]
    assert len(set(texts)) == len(texts)
    assert tinyloss.source(ce, x, y) == tinyloss.source(ce, x + 1, y)
    assert tinyloss.source(ce, x, y, target="numba") == texts[0]


def test_source_of_a_loss_object() -> None:
    text = tinyloss.source(tinyloss.CrossEntropyLoss(label_smoothing=0.1))
    assert text != tinyloss.source(tinyloss.CrossEntropyLoss())
    assert "real(0.1)" in text


def test_source_of_an_own_loss() -> None:
    assert "sin(x_0)" in tinyloss.source(wave)


def test_source_in_no_language_there_is() -> None:
    with pytest.raises(
        ValueError, match=r"target is 'fortran', expected one of \('cuda', 'numba'\)"
    ):
        tinyloss.source(tinyloss.mse, target="fortran")


def test_one_array_for_two_gradients_is_refused() -> None:
    g = np.empty(3)
    with pytest.raises(ValueError, match="twice"):
        tinyloss.grad(tinyloss.mse, (0, 1), out=(g, g))
