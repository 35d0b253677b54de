"""`tinyloss.testing.check_loss` passes what is sound, and finds and names what is not."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinyloss
from tinyloss.testing import check_loss

on = pytest.mark.parametrize

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=9), RNG.normal(size=9)
YES = (Y > 0).astype(float)
ROWS, LABELS = RNG.normal(size=(5, 4)), RNG.integers(0, 4, 5)
SHARES = np.eye(4)[LABELS] * 0.5 + 0.125

Loss = Callable[..., Any]
xp_of = tinyloss.namespace


def absolute(x: Any) -> Any:
    return xp_of(x).abs(x)


def stable_softplus(x: Any) -> Any:
    xp = xp_of(x)
    return xp.where(x < 40, xp.log1p(xp.exp(xp.minimum(x, 40.0))), x)


def target_of(x: Any, y: Any) -> Any:
    return y[..., None] == xp_of(x).arange(x.shape[-1])


# ------------------------------------------------------------------------------------------- sound


@tinyloss.loss
def charbonnier(x: Any, y: Any, *, eps: float = 1e-3) -> Any:
    return xp_of(x).sqrt((x - y) ** 2 + eps**2)


@tinyloss.loss
def cauchy(x: Any, y: Any) -> Any:
    return xp_of(x).log1p((x - y) ** 2)


@tinyloss.loss
def of_two_pieces(x: Any, y: Any) -> Any:
    d = absolute(x - y)
    return xp_of(x).where(d < 1, d * d / 2, d - 0.5)


@tinyloss.loss
def leaning(x: Any, y: Any) -> Any:
    return xp_of(x).maximum(0.9 * (y - x), 0.1 * (x - y))


@tinyloss.loss
def biweight(x: Any, y: Any) -> Any:
    u = xp_of(x).minimum((x - y) ** 2 / 16, 1.0)
    return u * (3 - 3 * u + u * u)


@tinyloss.loss
def of_counts(x: Any, y: Any) -> Any:
    return xp_of(x).exp(x) - y * x


@tinyloss.loss
def of_logits(x: Any, y: Any) -> Any:
    return stable_softplus(x) - y * x


@tinyloss.loss(labels=True)
def confident(x: Any, y: Any) -> Any:
    xp = xp_of(x)
    own = xp.sum(xp.where(target_of(x, y), x, 0.0), axis=-1)
    m = xp.max(x, axis=-1, keepdims=True)
    others = xp.sum(xp.where(target_of(x, y), 0.0, xp.exp(x - m)), axis=-1)
    return m[..., 0] - own + xp.log1p(others + xp.expm1(own - m[..., 0]))


@tinyloss.loss(labels=True)
def short_of_a_margin(x: Any, y: Any) -> Any:
    xp = xp_of(x)
    own = xp.sum(xp.where(target_of(x, y), x, 0.0), axis=-1, keepdims=True)
    return xp.sum(xp.where(target_of(x, y), 0.0, xp.maximum(x - own + 1, 0.0)), axis=-1)


@tinyloss.loss(rowwise=True)
def of_squares(x: Any, y: Any) -> Any:
    return xp_of(x).sum((x - y) ** 2, axis=-1)


SOUND: list[tuple[Loss, Any, Any]] = [
    (charbonnier, X, Y),
    (cauchy, X, Y),
    (of_two_pieces, X, Y),
    (leaning, X, Y),
    (biweight, X, Y),
    (of_counts, X, YES),
    (of_logits, X, YES),
    (confident, ROWS, LABELS),
    (short_of_a_margin, ROWS, LABELS),
    (of_squares, ROWS, SHARES),
    (tinyloss.log_cosh, X, Y),
    (tinyloss.binary_cross_entropy_with_logits, X, YES),
    (tinyloss.cross_entropy, ROWS, LABELS),
    (tinyloss.cross_entropy, ROWS, SHARES),
]


@on(("loss", "x", "y"), SOUND, ids=lambda each: getattr(each, "__name__", ""))
def test_what_is_sound_passes(loss: Loss, x: Any, y: Any) -> None:
    report = check_loss(loss, x, y, libraries=["numpy"])
    assert report.libraries == ("numpy",)
    assert {"value", "gradient by x"} <= set(report.worst)
    assert max(report.worst.values()) <= 64


def test_each_library_is_called() -> None:
    pytest.importorskip("array_api_strict")
    report = check_loss(tinyloss.mse, X, Y, libraries=["numpy", "array_api_strict"])
    assert report.libraries == ("numpy", "array_api_strict")


# ------------------------------------------------------------------------------------- with faults


@tinyloss.loss
def log_of_one_more(x: Any, y: Any) -> Any:
    xp = xp_of(x)
    return xp.log(1 + xp.exp(x)) - y * x


@tinyloss.loss
def log_of_a_sigmoid(x: Any, y: Any) -> Any:
    xp = xp_of(x)
    p = 1 / (1 + xp.exp(-x))
    return -xp.log(p) * (1 + y)


@tinyloss.loss(labels=True)
def log_of_a_softmax(x: Any, y: Any) -> Any:
    xp = xp_of(x)
    e = xp.exp(x - xp.max(x, axis=-1, keepdims=True))
    p = e / xp.sum(e, axis=-1, keepdims=True)
    return -xp.sum(xp.where(target_of(x, y), xp.log(p), 0.0), axis=-1)


@tinyloss.loss
def one_less_a_sigmoid(x: Any, y: Any) -> Any:
    p = 1 / (1 + xp_of(x).exp(-x))
    return (1 - p) * (1 + y)


@tinyloss.loss
def exp_less_one(x: Any, y: Any) -> Any:
    return (xp_of(x).exp(x) - 1) ** 2 + y


@tinyloss.loss
def root_at_zero(x: Any, y: Any) -> Any:
    return xp_of(x).sqrt((x - y) ** 2)


@tinyloss.loss
def t_log_t(x: Any, y: Any) -> Any:
    p = absolute(x)
    return p * xp_of(x).log(p) + y * y


@tinyloss.loss
def chosen_afterwards(x: Any, y: Any) -> Any:
    xp = xp_of(x)
    return xp.where(x > 0, xp.sqrt(x), 0.0) + y * y


@tinyloss.loss(labels=True)
def sum_of_exponentials(x: Any, y: Any) -> Any:
    xp = xp_of(x)
    own = xp.sum(xp.where(target_of(x, y), x, 0.0), axis=-1)
    return xp.log(xp.sum(xp.exp(x), axis=-1)) - own


@tinyloss.loss(rowwise=True)
def spread_by_squares(x: Any, y: Any) -> Any:
    xp = xp_of(x)
    d = x - y + 1000
    return xp.sum(d * d, axis=-1) / 4 - (xp.sum(d, axis=-1) / 4) ** 2


FAULTS: list[tuple[Loss, Any, Any, str, str]] = [
    (log_of_one_more, X, YES, "xp.log(1 + xp.exp(x))", "write xp.where(t < 40, xp.log1p"),
    (log_of_a_sigmoid, X, YES, "-xp.log(p)", "the logarithm of a sigmoid"),
    (log_of_a_softmax, ROWS, LABELS, "xp.log(p)", "the logarithm of a softmax"),
    (one_less_a_sigmoid, X, YES, "(1 - p)", "write 1 / (1 + xp.exp(x))"),
    (exp_less_one, X, np.zeros(9), ".exp(x) - 1)", "write xp.expm1(t)"),
    (root_at_zero, X, Y, ".sqrt((x - y) ** 2)", "a root at 0"),
    (t_log_t, X, Y, "p * xp_of(x).log(p)", "t log t at 0"),
    (chosen_afterwards, X, Y, "xp.sqrt(x)", "choose the argument before"),
    (sum_of_exponentials, ROWS, LABELS, "xp.exp(x)", "subtract the largest exponent"),
    (spread_by_squares, ROWS, SHARES, "** 2", "nothing cancels"),
]


@on(("loss", "x", "y", "line", "advice"), FAULTS, ids=[each[0].__name__ for each in FAULTS])
def test_a_fault_is_found_and_named(loss: Loss, x: Any, y: Any, line: str, advice: str) -> None:
    with pytest.raises(AssertionError) as found:
        check_loss(loss, x, y, libraries=["numpy"])
    said = str(found.value)
    assert loss.__name__ in said
    assert __file__ in said
    assert line in said
    assert advice in said


def test_what_is_no_loss_of_an_item_is_told() -> None:
    @tinyloss.loss
    def centred(x: Any, y: Any) -> Any:
        xp = xp_of(x)
        return (x - xp.sum(x, axis=-1, keepdims=True) - y) ** 2

    with pytest.raises(AssertionError, match="which reduces items"):
        check_loss(centred, X, Y, libraries=["numpy"])


class Broken:
    """A loss with a fault that its formula has not."""

    def __init__(self, loss: Any, fault: Callable[..., Any]) -> None:
        self._loss, self._fault = loss, fault
        self.__name__ = "broken"

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self._fault(self._loss(*args, **options), options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loss, name)


@on(
    ("fault", "words"),
    [
        (lambda v, options: v * 2 if "weight" in options else v, "the weighted mean is"),
        (lambda v, options: v + np.arange(v.size) if v.ndim else v, "in another order"),
        (lambda v, options: v + np.nan if "where" in options else v, "where a mask leaves out"),
    ],
)
def test_rules_of_all_losses_are_checked(fault: Callable[..., Any], words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        check_loss(Broken(tinyloss.mse, fault), X, Y, libraries=["numpy"])


@on("what", [3, "mse", lambda x, y: x, tinyloss.MSELoss])
def test_what_is_no_loss_is_an_error(what: Any) -> None:
    with pytest.raises(TypeError, match=r"^tinyloss\.testing\.check_loss: got .*expected a loss"):
        check_loss(what, X, Y)
