"""What means are divided by where nothing is selected, and where what is selected cancels."""

from typing import Any

import numpy as np
import pytest

import tinyloss
import tinyloss_numpy
from tests.support.libraries import Library

anyloss: Any = tinyloss
on = pytest.mark.parametrize
INF = float("inf")

ZEROS: dict[str, Any] = {
    "int": lambda xp: 0,
    "float": lambda xp: 0.0,
    "numpy scalar": lambda xp: np.int64(0),
    "numpy array": lambda xp: np.array(0.0),
    "own array": lambda xp: xp.asarray(np.float32(0)),
    "NaN": lambda xp: float("nan"),
    "own NaN": lambda xp: xp.asarray(np.float32("nan")),
}


def both(*arrays: Any, **options: Any) -> Any:
    return anyloss.value_and_grad(tinyloss.cross_entropy)(*arrays, **options)


@on(
    "how",
    [{"ignore_index": -100}, {"where": np.zeros(2, bool)}, {"weight": np.zeros(2, np.float32)}],
    ids=str,
)
@pytest.mark.heavy(12)
def test_any_denominator_of_nothing_gives_0(how: Any, xp: Library) -> None:
    x, y = xp.asarray(np.full((2, 3), np.nan)), xp.asarray([-100, -100], "int32")
    for zero in ZEROS.values():
        value, grad = xp.fetch(xp.call(both, x, y, denominator=zero(xp), **how))
        assert value == 0
        assert not grad.any()


def test_any_denominator_of_no_items_gives_0(xp: Library) -> None:
    x, y = xp.asarray(np.zeros((0, 3))), xp.asarray(np.zeros(0), "int32")
    for zero in ZEROS.values():
        value, grad = xp.fetch(xp.call(both, x, y, denominator=zero(xp)))
        assert value == 0
        assert grad.shape == (0, 3)


def test_a_denominator_of_0_divides_what_is_selected(xp: Library) -> None:
    x, y = xp.asarray(np.zeros((2, 3))), xp.asarray([0, -100], "int32")
    for name in ("int", "float", "numpy scalar", "numpy array", "own array"):
        options = {"denominator": ZEROS[name](xp), "ignore_index": -100}
        value, grad = xp.fetch(xp.call(both, x, y, **options))
        assert value == INF
        assert grad[0].tolist() == [-INF, INF, INF]


@pytest.mark.long
@on("mode", ["always", "never"])
def test_compiled_alike(mode: Any) -> None:
    x, y = np.zeros((2, 3), np.float32), np.array([0, 1])
    with tinyloss_numpy.compilation(mode):
        for denominator in (0, np.array(0.0), np.float32(0)):
            assert tinyloss.cross_entropy(x, y, denominator=denominator) == INF
            nothing: Any = {"where": np.zeros(2, bool), "denominator": denominator}
            assert tinyloss.cross_entropy(x, y, **nothing) == 0


def test_weights_that_cancel_are_a_selection(xp: Library) -> None:
    """Their sum is 0, though items weigh: the quotient is what IEEE 754 says."""
    x, y = xp.asarray([2.0, 1.0]), xp.asarray([0.0, 0.0])
    weight = xp.asarray([1.0, -1.0])
    assert xp.numpy(xp.call(tinyloss.mse, x, y, weight=weight)) == INF
    assert np.isnan(xp.numpy(xp.call(tinyloss.mse, y, y, weight=weight)))


def test_class_weights_of_0_select_nothing(xp: Library) -> None:
    x, y = xp.asarray([[1.0, 0.0], [np.nan, 0.0]]), xp.asarray([0, 0], "int32")
    value, grad = xp.fetch(xp.call(both, x, y, class_weight=xp.asarray([0.0, 1.0])))
    assert value == 0
    assert not grad.any()


@pytest.mark.filterwarnings("error")
def test_numpys_own_error_state_changes_nothing() -> None:
    """What overflows on the way to a right answer is nobody's business."""
    x, y = np.array([[1e3, -1e3], [0.0, 1.0]], np.float32), np.array([0, 1])
    tiny, huge = np.full(2, 1e-300), np.full(2, 1e300)
    labels: list[Any] = [{"weight": tiny}, {"weight": huge}, {"denominator": 1e-300}]
    labels += [{"denominator": np.array(1e300)}, {"class_weight": tiny}, {"class_weight": huge}]
    labels += [{"weight": tiny, "reduction": how} for how in ("sum", "none")]
    soft = np.array([[1.0, 0.0], [0.5, 0.5]], np.float32)

    def ask() -> list[Any]:
        results = [both(x, y, **options) for options in labels]
        by_both = anyloss.value_and_grad(tinyloss.cross_entropy, (0, 1))
        results += [by_both(x, soft, class_weight=each) for each in (tiny, huge)]
        results += [anyloss.partial_mean(tinyloss.cross_entropy)(x, y, weight=tiny)]
        return results

    with np.errstate(all="ignore"):
        expected = ask()
    with np.errstate(all="raise"):
        results = ask()
    for result, right in zip(results, expected, strict=True):
        for a, b in zip(_leaves(result), _leaves(right), strict=True):
            np.testing.assert_array_equal(a, b)


def _leaves(result: Any) -> list[Any]:
    if isinstance(result, tuple):
        return [leaf for each in result for leaf in _leaves(each)]
    return [result]
