"""Results of the NumPy backend: bits, NaN, memory; its formulas over blocks."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import tinyloss
import tinyloss_numpy
from tests.support.compiled import (
    Array,
    Loss,
    assert_agrees,
    assert_close,
    bits,
    by_formulas,
    compiled,
    labels,
    numbers,
    probabilities,
)
from tests.support.memory import MIB, peak
from tests.support.process import python
from tinyloss import binary_cross_entropy_with_logits
from tinyloss_numpy import _blocks


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


@pytest.mark.long
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


@pytest.mark.long
@pytest.mark.parametrize("classes", [10, 100, 300])
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


@pytest.mark.long
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


@pytest.fixture(scope="module")
def square() -> tuple[Array, Array]:
    """64 MiB of logits."""
    rng = np.random.default_rng(4)
    return rng.random((4096, 4096), dtype=np.float32), labels(4096, 4096)


def test_value_by_formulas_needs_little_memory(square: tuple[Array, Array]) -> None:
    with by_formulas():
        assert peak(lambda: tinyloss.cross_entropy(*square)) < 32 * MIB


def test_compiled_value_needs_no_memory(square: tuple[Array, Array]) -> None:
    with compiled():
        assert peak(lambda: tinyloss.cross_entropy(*square)) < 4 * MIB


@pytest.mark.parametrize("scale", [1.0, 1e30])
def test_weights_and_masks_are_read_as_they_came(scale: float) -> None:
    x, y = np.zeros((2, 2**22), np.float32)
    weight = np.full(2**22, scale, np.float32)
    with compiled():
        given: list[dict[str, Any]] = [{"weight": weight}, {"where": weight > 0}]
        for options in given:
            assert tinyloss.mse(x, y, **options) == 0  # the first call compiles
            assert peak(partial(tinyloss.mse, x, y, **options)) < MIB


@pytest.mark.parametrize("mode", [compiled, by_formulas])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_size_and_sum_of_weights_are_those_of_long_doubles(dtype: str, mode: Any) -> None:
    weights = np.random.default_rng(5).standard_normal(2**17 + 2**16 + 7).astype(dtype)
    with mode():
        sums: set[float] = set()
        for number in (1, 2, 3):
            with tinyloss_numpy.threads(number):
                size, total = tinyloss_numpy.extent(weights)
            assert size == np.abs(weights).max()
            sums.add(total)
        (total,) = sums
        # float64 sums of blocks of 2**16, whatever the order inside
        assert abs(total - np.sum(weights, dtype=np.longdouble)) <= 2**-42 * weights.size
        for odd in (np.nan, np.inf, -np.inf):
            weights[70_000] = odd
            np.testing.assert_equal(tinyloss_numpy.extent(weights)[0], abs(odd))


def test_compiled_gradient_needs_its_own_memory(square: tuple[Array, Array]) -> None:
    with compiled():
        derive = tinyloss.value_and_grad(tinyloss.cross_entropy)
        assert peak(lambda: derive(*square)) < (64 + 4) * MIB


def test_gradient_in_place_needs_no_memory(square: tuple[Array, Array]) -> None:
    x, y = square[0].copy(), square[1]
    derive = tinyloss.value_and_grad(tinyloss.cross_entropy, out=x)
    with compiled():
        assert peak(lambda: derive(x, y)) < 4 * MIB
