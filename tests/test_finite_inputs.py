"""Finite inputs never give NaN, however large, small or far apart, with any parameter."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import tinyloss
from tests.support.libraries import Library

Array = npt.NDArray[Any]

# Losses are picked by name here, so that their signatures are not known to a type checker.
value_and_grad: Any = tinyloss.value_and_grad
grad_and_hess: Any = tinyloss.grad_and_hess

EDGES = (1e-320, 1e-50, 1e-38, 1e300)
"""Parameters that no float32, or no normal number, holds."""
GAMMAS = (0.0, 1e-50, 0.01, 0.25, 0.5, 1.0, 1.5, 1e10, 1e20, 1e300)


def _sizes(dtype: Any) -> list[float]:
    info = np.finfo(dtype)
    largest, least = float(info.max), float(info.smallest_normal)
    known = [0.0, least, 1.0, 30.0, 104.0, 720.0, 1e4, 4e9, 1e18]
    return [*known, float(info.smallest_subnormal), largest / 2, largest]


def _pairs(x: list[float], y: list[float], dtype: Any) -> list[Array]:
    return [np.array(each, dtype) for each in zip(*product(x, y), strict=True)]


def _rows(x: list[float], y: list[tuple[float, float]], dtype: Any) -> list[Array]:
    both = list(product(product(x, x), y))
    return [np.array([each[k] for each in both], dtype) for k in (0, 1)]


def _cases(dtype: Any) -> Iterator[tuple[str, list[Array], dict[str, Any]]]:
    positive = _sizes(dtype)
    real = [sign * a for a in positive for sign in (1, -1)]
    share = [0.0, 1e-45, 1e-30, 1e-3, 0.5, 1 - 2.0**-24, 1.0]
    errors = _pairs(real, real, dtype)
    for name in ("mse", "mae", "log_cosh", "smape"):
        yield name, errors, {}
    for edge in (*EDGES, 1.0):
        yield "huber", errors, {"delta": edge}
        yield "smooth_l1", errors, {"beta": edge}
        yield "mape", errors, {"eps": edge}
        yield "wing", errors, {"epsilon": edge, "width": edge}
        for name in ("epsilon_insensitive", "squared_epsilon_insensitive"):
            yield name, errors, {"epsilon": edge}
        for shape in (2.0, 1.0, 1e-50, -2.0, -np.inf):
            yield "barron", errors, {"alpha": shape, "scale": edge}
        spread = list(product([-max(real), -1.0, 0.0, 1e-38, 4e9], [0.0, max(real)], positive))
        x, y, some = np.array(spread, dtype).T
        for pair in ([some, 0 * some], [0 * some, some], [0 * some, -some]):
            yield "gaussian_kl", [x, y, *pair], {}
        for log_var in (False, True):
            variances = list(np.array(spread, dtype).T)
            yield "gaussian_nll", variances, {"eps": edge, "full": True, "log_var": log_var}
        for kind in ("gaussian", "logistic", "laplace"):
            forecasts = list(np.array(spread, dtype).T)
            yield "crps", forecasts, {"distribution": kind}
            some = forecasts[2] > 0
            yield "log_score", [each[some] for each in forecasts], {"distribution": kind}
        for full in (True, False):
            rates = _pairs(positive, positive, dtype)
            yield "poisson_nll", rates, {"eps": edge, "full": full, "log_input": False}
            yield "poisson_nll", _pairs(real, positive, dtype), {"full": full}
    for eps in (*EDGES[:-1], None, 0.5):
        yield "binary_cross_entropy", _pairs(share, share, dtype), {"eps": eps}
    for q in (0.0, 1e-50, 0.5, 1.0):
        yield "quantile", errors, {"q": q}
        yield "expectile", errors, {"tau": q}
    yield "generalized_kl", _pairs(positive, positive, dtype), {}
    yield "gamma_deviance", _pairs(real, positive, dtype), {}
    for power in (1.0, 1.5, 2.0):
        yield "tweedie_deviance", _pairs(real, positive[1:], dtype), {"power": power}
    yield "gamma_deviance", _pairs(positive[1:], positive, dtype), {"log_input": False}
    yield "msle", _pairs([-0.5, *positive], [-0.5, *positive], dtype), {}
    logits = _pairs(real, share, dtype)
    for smoothing in (0.0, 1e-50, 0.1):
        yield "binary_cross_entropy_with_logits", logits, {"label_smoothing": smoothing}
        yield "sigmoid_focal", logits, {"label_smoothing": smoothing, "gamma": 0.5}
    for gamma, alpha in product(GAMMAS, (None, 1e-50)):
        yield "sigmoid_focal", logits, {"gamma": gamma, "alpha": alpha}
    margins = ("hinge", "squared_hinge", "soft_margin", "modified_huber", "perceptron")
    for name in (*margins, "exponential"):
        yield name, _pairs(real, [-1.0, 1.0], dtype), {}
    soft = [(1.0, 0.0), (0.0, 1.0), (0.5, 0.5), (1e-3, 0.999)]
    rows = _rows(real, soft, dtype)
    labels = [rows[0], rows[1].argmax(-1)]
    likely = _rows([a for a in positive if a <= 1], soft, dtype)
    for smoothing in (0.0, 1e-50, 0.1):
        for given in (rows, labels):
            yield "cross_entropy", given, {"label_smoothing": smoothing}
        yield "cross_entropy", likely, {"label_smoothing": smoothing, "from_logits": False}
    for gamma in GAMMAS:
        for given in (rows, labels):
            yield "softmax_focal", given, {"gamma": gamma}
            yield "softmax_focal", given, {"gamma": gamma, "label_smoothing": 0.1}
        yield "softmax_focal", likely, {"gamma": gamma, "from_logits": False}
    for given in (rows, labels):
        yield "brier", given, {}
        for epsilon in (-1.0, 0.0, 1e-50, 2.0):
            yield "poly_cross_entropy", given, {"epsilon": epsilon}
            yield "poly_cross_entropy", likely, {"epsilon": epsilon, "from_logits": False}
        for q in (0.0, 1e-50, 0.5, 1.0):
            yield "generalized_cross_entropy", given, {"q": q}
            yield "generalized_cross_entropy", likely, {"q": q, "from_logits": False}
    yield "categorical_hinge", labels, {}
    for margin, p in product((*EDGES, 1.0), (1, 2)):
        yield "multi_margin", labels, {"margin": margin, "p": p}
    for name in ("multilabel_soft_margin", "coral"):
        yield name, rows, {}
    yield "corn", [rows[0], np.arange(len(rows[0])) % 3], {}
    for margin in (*EDGES, 1.0):
        yield "multilabel_margin", rows, {"margin": margin}
    yield "nll", [-np.abs(labels[0]), labels[1]], {}
    yield "kl_div", _rows([-a for a in positive], soft, dtype), {}
    large = [(-4e9, 0.0), (-0.1, 0.0), (1e18, 2e9), (0.0, 120.0), (float(max(real)), 0.0)]
    yield "kl_div", _rows([-a for a in positive], large[:2], dtype), {"log_target": True}
    logs = [-a for a in positive]
    yield "relative_entropy", _pairs(logs, share, dtype), {}
    yield "relative_entropy", _pairs(logs, logs, dtype), {"log_target": True}
    yield "kl_div_with_logits", _rows(real, large, dtype), {}
    for temperature in (*EDGES, 3.0):
        yield "kl_div_with_logits", _rows(real, large, dtype), {"temperature": temperature}
    yield "js_div", _rows([a for a in positive if a <= 1], soft, dtype), {}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_result_is_nan_and_no_curvature_for_boosting_is_negative(dtype: Any) -> None:
    complaints: list[str] = []
    for name, arrays, options in _cases(dtype):
        function = getattr(tinyloss, name)
        by = tuple(k for k, a in enumerate(arrays) if a.dtype.kind == "f")
        value, slopes = value_and_grad(function, by)(*arrays, reduction="none", **options)
        bends = [
            grad_and_hess(function, hess=hess)(*arrays, **options)[1]
            for hess in ("exact", "boosting")
        ]
        results = {"value": value, "exact": bends[0], "boosting": bends[1]}
        results |= {f"gradient {k}": slope for k, slope in zip(by, slopes, strict=True)}
        for what, result in results.items():
            wrong = np.isnan(result)
            if what == "boosting":
                wrong = wrong | (result < 0)
            if wrong.any():
                at = np.argwhere(wrong)[0][0]
                inputs = [a[at].tolist() for a in arrays]
                complaints.append(f"{name} {options} {what}: {wrong.sum()}, first at {inputs}")
    assert not complaints, "\n".join(complaints)


# ------------------------------------------------------------------------ right, on every library


def test_logits_to_which_a_small_constant_adds_nothing(xp: Library) -> None:
    """sum_c p_c (log p_c - log q_c) of logits 2e9 apart is 2e9 p_0 and a few."""
    x, y = xp.asarray(np.array([[4e9, 2e9]])), xp.asarray(np.array([[-0.1, 0.0]]))
    function = value_and_grad(tinyloss.kl_div_with_logits)
    value, slope = xp.fetch(xp.call(function, x, y))
    np.testing.assert_allclose(value, 1.0499583749580e9, rtol=1e-6)
    np.testing.assert_allclose(slope, [[0.5249791874789, -0.5249791874789]], rtol=1e-6)


def test_a_logit_that_swallows_the_others_hides_no_difference(xp: Library) -> None:
    """p of classes that x makes impossible is what the gradient is: its remainder is no factor."""
    x = np.array([[54263808.0, -0.7, 1.0, 0.0], [2.0**30, 3.0, -1.0, 5.0]])
    y = np.array([[-3.0, 0.9, 2.5, 1.3], [0.5, 0.25, 1.0, 0.75]])
    p = np.exp(y) / np.exp(y).sum(axis=-1, keepdims=True)
    function: Any = tinyloss.value_and_grad(tinyloss.kl_div_with_logits)
    options = {"reduction": "none"}
    value, slope = xp.fetch(xp.call(function, xp.asarray(x), xp.asarray(y), **options))
    np.testing.assert_allclose(value, (p * (x[:, :1] - x)).sum(axis=-1), rtol=1e-6)
    np.testing.assert_allclose(slope, (np.arange(4) == 0) - p, rtol=1e-6)


def test_a_power_below_1_of_a_probability_that_underflows(xp: Library) -> None:
    """q = exp(-x) and c = q: the derivative of q^(1/2) c by y at y = 1 is -q^(1/2) (x + 1/2)."""
    x = np.array([20.0, 60.0, 104.0, 120.0])
    function: Any = tinyloss.grad(tinyloss.sigmoid_focal, 1)
    options = {"gamma": 0.5, "reduction": "none"}
    got = xp.call(function, xp.asarray(x), xp.asarray(np.ones(4)), **options)
    np.testing.assert_allclose(xp.numpy(got), -np.exp(-x / 2) * (x + 0.5), rtol=1e-6)
    got = xp.call(function, xp.asarray(-x), xp.asarray(np.zeros(4)), **options)
    np.testing.assert_allclose(xp.numpy(got), np.exp(-x / 2) * (x + 0.5), rtol=1e-6)


def test_a_side_that_alpha_leaves_out_is_0_however_wrong(xp: Library) -> None:
    function: Any = tinyloss.value_and_grad(tinyloss.sigmoid_focal, (0, 1))
    x = np.array([np.inf, 8e37, 1.0, -np.inf, -8e37])
    y, alpha = np.array([0.0, 0.0, 0.0, 1.0, 1.0]), np.array([1.0, 1.0, 1.0, 0.0, 0.0])
    for of_class in (1.0, 0.0):
        chosen = alpha == of_class
        given = xp.asarray(x[chosen]), xp.asarray(y[chosen])
        options = {"alpha": of_class, "gamma": 5.25, "reduction": "none"}
        value, slopes = xp.fetch(xp.call(function, *given, **options))
        assert not value.any()
        assert not slopes[0].any()
        assert not np.isnan(slopes[1]).any()


LEAST = 2.0**-126


@pytest.mark.parametrize(
    ("name", "arrays", "options", "value", "slope"),
    [
        ("binary_cross_entropy", ([0.0, 1.0], [0.0, 1.0]), {"eps": 1e-50}, 0, [0.5, -0.5]),
        ("gaussian_nll", ([1.0], [1.0], [0.0]), {"eps": 1e-50}, 0.5 * np.log(LEAST), [0]),
        ("mape", ([0.0], [0.0]), {"eps": 1e-50}, 0, [0]),
        ("poisson_nll", ([0.0], [1.0]), {"eps": 1e-50, "log_input": False}, -np.log(LEAST),
         [1 - 1 / LEAST]),
        ("smooth_l1", ([2.0, 1.0], [1.0, 1.0]), {"beta": 1e-50}, 0.5, [0.5, 0]),
        ("huber", ([3.0], [1.0]), {"delta": 1e300}, 2, [2]),
        ("sigmoid_focal", ([0.5], [1.0]), {"gamma": 1e300}, 0, [0]),
        ("sigmoid_focal", ([0.0], [0.0]), {"gamma": 1e-50}, np.log(2), [0.5]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("in_array", [False, True])
def test_a_parameter_that_the_dtype_does_not_hold(
    xp: Library,
    name: str,
    arrays: Any,
    options: dict[str, Any],
    value: float,
    slope: list[float],
    in_array: bool,
) -> None:
    if in_array and "float64" not in xp.floats:  # no array holds it either
        return
    function = value_and_grad(getattr(tinyloss, name))
    given = [xp.asarray(np.array(a)) for a in arrays]
    if in_array:
        options = {
            key: xp.own(np.array(each)) if isinstance(each, float) else each
            for key, each in options.items()
        }
    got, gradient = xp.fetch(xp.call(function, *given, **options))
    np.testing.assert_allclose(got, value, rtol=1e-6)
    np.testing.assert_allclose(gradient, slope, rtol=1e-6)


def test_two_terms_that_overflow() -> None:
    """exp(x) outgrows every y x; y log y outgrows y x where x < log y - 1."""
    x, y = np.array([104.0, 30.0], np.float32), np.array([1e38, 1e38], np.float32)
    plain = tinyloss.poisson_nll(x, y, reduction="none")
    full = tinyloss.poisson_nll(x, y, full=True, reduction="none")
    assert plain.tolist() == [np.inf, -np.inf]
    assert full.tolist() == [np.inf, np.inf]
