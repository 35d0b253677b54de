"""The soak for a minute, and proof that its formulas are the losses' derivatives."""

from typing import Any

import mpmath
import numpy as np
import numpy.typing as npt
import pytest

from tests.soak.differential import Failure, Tally, soak
from tests.soak.draw import GROUP, Case, draw
from tests.soak.formulas import BINARY, LOSSES, ROWWISE, SIGNED, L

Array = npt.NDArray[Any]

# Half of long double's digits are the step's, so a central difference has a third of them.
STEP = L(2) ** -20
CLOSE = 1e-9

needs_long_double = pytest.mark.skipif(
    np.finfo(np.longdouble).nmant < 63, reason="long double is no wider than double here"
)

PARAMETERS: dict[str, list[dict[str, Any]]] = {
    "huber": [{"delta": 0.7}],
    "smooth_l1": [{"beta": 0.7}, {"beta": 0.0}],
    "quantile": [{"q": 0.3}],
    "mape": [{"eps": 0.6}],
    "poisson_nll": [
        {"log_input": True, "full": True, "eps": 1e-8},
        {"log_input": False, "full": True, "eps": 0.1},
    ],
    "gaussian_nll": [{"full": True, "eps": 1e-3}],
    "binary_cross_entropy": [{"eps": 1e-7}],
    "sigmoid_focal": [{"alpha": 0.3, "gamma": g} for g in (0.0, 0.5, 1.0, 2.5)],
    "cross_entropy": [{"label_smoothing": s, "class_weight": None} for s in (0.0, 0.3)],
    "nll": [{"class_weight": None}],
    "softmax_focal": [{"gamma": g, "class_weight": None} for g in (0.0, 0.5, 1.0, 2.5)],
    "kl_div": [{"log_target": False}, {"log_target": True}],
}
PLAIN = [(name, each) for name in LOSSES for each in PARAMETERS.get(name, [{}])]
SMOOTHED = (*sorted(BINARY), "softmax_focal")
CASES = PLAIN + [
    (name, {**PARAMETERS.get(name, [{}])[-1], "label_smoothing": 0.3}) for name in SMOOTHED
]


def arguments(name: str) -> dict[str, Array]:
    """Return arguments inside of a loss's domain, away from its kinks."""
    rng = np.random.default_rng(7)
    shape = (6, 4) if name in ROWWISE else (24,)
    x, y = rng.normal(size=(2, *shape))
    if name in BINARY:
        y = rng.uniform(0.1, 0.9, shape)
    if name == "binary_cross_entropy":
        x = rng.uniform(0.1, 0.9, shape)
    if name in ("msle", "poisson_nll"):
        x, y = rng.uniform(0.2, 6, (2, *shape))
    if name in ROWWISE and name != "kl_div_with_logits":
        y = rng.uniform(0.1, 1, shape)
    if name == "js_div":
        x = rng.uniform(0.1, 1, shape)
    found = {"x": x.astype(L), "y": y.astype(L)}
    if name == "gaussian_nll":
        found["var"] = rng.uniform(0.2, 2, shape).astype(L)
    return found


@needs_long_double
@pytest.mark.parametrize(("name", "parameters"), CASES, ids=[f"{n}-{p}" for n, p in CASES])
def test_formulas_are_derivatives_of_each_other(name: str, parameters: dict[str, Any]) -> None:
    def parts(**changed: Array) -> Any:
        return LOSSES[name](**(arguments(name) | changed), **parameters, ulp=2.0**-52)

    given, here = arguments(name), parts()
    derivatives = [("value", each, each) for each in given if each in here]
    derivatives = [each for each in derivatives if not (name == "nll" and each[1] == "y")]
    kinked = (name in SIGNED and name != "soft_margin") or here["curvature"].exact.any() == 0
    derivatives += [] if kinked else [("x", "x", "curvature")]
    for of, by, what in derivatives:
        # One class at a time: the diagonal is what a row's derivative by one of them is.
        for column in range(given["x"].shape[-1] if name in ROWWISE else 1):
            step = np.zeros_like(given[by])
            step[..., slice(column, column + 1) if name in ROWWISE else slice(None)] = STEP
            above, below = parts(**{by: given[by] + step}), parts(**{by: given[by] - step})
            slope = (above[of].exact - below[of].exact) / (2 * STEP)
            exact = here[what].exact
            if name in ROWWISE:
                exact = exact[..., column]
                slope = slope[..., column] if of == "x" else slope
            np.testing.assert_allclose(
                slope.astype(float),
                exact.astype(float),
                rtol=CLOSE,
                atol=CLOSE,
                err_msg=f"{of} by {by}",
            )


def test_values_are_the_textbooks() -> None:
    """A value of each loss, as its definition reads, with 50 digits."""
    with mpmath.workdps(50):
        m = mpmath.mp
        x, y, v = [m.mpf(each) for each in ("0.625", "0.25", "1.5")]
        e, log, s = m.exp, m.log, 1 / (1 + m.exp(-x))
        z = [m.mpf(each) for each in ("0.5", "-1.25", "2")]
        t = [m.mpf(each) for each in ("0.25", "0.5", "0.25")]
        total, total_t = [sum(e(each) for each in row) for row in (z, t)]
        p, q = [e(each) / total for each in z], [e(each) / total_t for each in t]
        bce = -y * log(s) - (1 - y) * log(1 - s)
        wrong = y * (1 - s) + (1 - y) * s
        half = [m.mpf(each) for each in ("0.5", "0.125", "0.375")]
        middle = [(a + b) / 2 for a, b in zip(half, t, strict=True)]
        exact = {
            "mse": (x - y) ** 2,
            "mae": x - y,
            "huber": (x - y) ** 2 / 2,
            "smooth_l1": (x - y) ** 2 / 2 / m.mpf(0.7),
            "log_cosh": log(m.cosh(x - y)),
            "quantile": (1 - m.mpf(0.3)) * (x - y),
            "msle": (log(1 + x) - log(1 + y)) ** 2,
            "mape": (x - y) / m.mpf(0.6),
            "poisson_nll": e(x) - y * x,
            "gaussian_nll": (log(v) + (x - y) ** 2 / v + log(2 * m.pi)) / 2,
            "binary_cross_entropy": -y * log(x) - (1 - y) * log(1 - x),
            "binary_cross_entropy_with_logits": bce,
            "sigmoid_focal": bce * (m.mpf(0.3) * y + (1 - m.mpf(0.3)) * (1 - y)),
            "hinge": 1 - x * y,
            "squared_hinge": (1 - x * y) ** 2,
            "soft_margin": log(1 + e(-x * y)),
            "cross_entropy": -sum(a * log(b) for a, b in zip(t, p, strict=True)),
            "nll": -sum(a * b for a, b in zip(t, z, strict=True)),
            "softmax_focal": -sum(a * log(b) for a, b in zip(t, p, strict=True)),
            "kl_div": sum(a * (log(a) - b) for a, b in zip(t, z, strict=True)),
            "kl_div_with_logits": sum(b * log(b / a) for a, b in zip(p, q, strict=True)),
            "js_div": sum(
                (a * log(a / c) + b * log(b / c)) / 2
                for a, b, c in zip(half, t, middle, strict=True)
            ),
        }
        focal = {
            "sigmoid_focal": exact["sigmoid_focal"] * wrong ** m.mpf(2.5),
            "softmax_focal": -sum(
                a * log(b) * (1 - b) ** m.mpf(2.5) for a, b in zip(t, p, strict=True)
            ),
        }
    assert exact.keys() == LOSSES.keys()
    for truth, at in ((exact, 0), (focal, -1)):
        for name, value in truth.items():
            rows = {"x": half if name == "js_div" else z, "y": t}
            given = rows if name in ROWWISE else {"x": x, "y": y}
            if name == "gaussian_nll":
                given = {"x": x, "y": y, "var": v}
            arrays = {key: np.array(each, dtype=float).astype(L) for key, each in given.items()}
            parameters = PARAMETERS.get(name, [{}])[at] | (
                {"full": False} if name == "poisson_nll" else {}
            )
            got = LOSSES[name](**arrays, **parameters, ulp=2.0**-52)["value"].exact
            np.testing.assert_allclose(float(got), float(value), rtol=1e-15, err_msg=name)


CLOSE_ROWS = {
    "1e-142 apart": ([1e-142, 0.0, 0.0], [5.0, 5.0, 5.0]),
    "beside what is far": ([3.0, 1e-142, -500.0], [3.0, 0.0, -400.0]),
    "equal and huge": ([-1.4e29, -1.4e29, -1.4e29], [-0.25, 1.5, 0.75]),
    "huge and excluded": ([1e30, 1e30, 7.0], [1.0, 1.0 + 2.0**-50, -np.inf]),
    "far and beyond": ([40.0, 1e5, 3.0], [90.0, 1e5 - 50.0, 3.0]),
    "digits of all sizes": ([1.0, 1.0 + 2.0**-52, 1e-300], [1.0, 1.0, 2e-300]),
}


@needs_long_double
@pytest.mark.parametrize("rows", CLOSE_ROWS.values(), ids=CLOSE_ROWS)
def test_close_rows_of_logits_keep_their_digits(rows: tuple[list[float], list[float]]) -> None:
    with mpmath.workdps(800):
        log_q, log_p = [
            [mpmath.mpf(a) - mpmath.log(sum(map(mpmath.exp, row))) for a in row] for row in rows
        ]
        p, q = [[mpmath.exp(a) for a in logs] for logs in (log_p, log_q)]
        ratios = [a - b if c else mpmath.mpf(0) for a, b, c in zip(log_p, log_q, p, strict=True)]
        value = mpmath.fdot(p, ratios)
        by_y = [a * (r - value) for a, r in zip(p, ratios, strict=True)]
        exact = {"value": [value], "x": [b - a for a, b in zip(p, q, strict=True)], "y": by_y}
        with np.errstate(invalid="ignore"):
            got = LOSSES["kl_div_with_logits"](*np.asarray(rows, L), ulp=2.0**-52)
        for name, truth in exact.items():
            for part, size, number in zip(
                np.atleast_1d(got[name].exact), np.atleast_1d(got[name].size), truth, strict=True
            ):
                # A long double is the sum of two doubles.
                high = float(part)
                error = abs(mpmath.mpf(high) + float(part - high) - number)
                assert error <= mpmath.mpf(2) ** -58 * float(size) + mpmath.mpf(2) ** -16000, name


def test_calls_of_a_group_are_alike() -> None:
    """They differ in what arrays hold, and a few are given one array twice or a mask as weights."""

    def layout(case: Case) -> str:
        given = [case.x, case.y, case.var, *case.options.values()]
        arrays = [(a.shape, a.strides, str(a.dtype)) for a in given if isinstance(a, np.ndarray)]
        how = case.loss, case.library, case.want, case.argnums, case.axis, case.object
        return repr((how, arrays, [*case.options], case.terms))

    groups = [
        {layout(case) for n in range(GROUP) if (case := draw(1, GROUP * group + n))}
        for group in range(0, 90, 3)
    ]
    assert sum(map(len, groups)) < GROUP * len(groups) / 4
    assert len(set[str]().union(*groups)) >= len(groups)


@needs_long_double
@pytest.mark.slow
def test_random_calls_agree_with_the_textbooks() -> None:
    events = list(soak(minutes=1, seed=1))
    tally = events[-1]
    assert isinstance(tally, Tally)
    assert tally.libraries.total() > 100
    failures = [str(each) for each in events if isinstance(each, Failure)]
    assert not failures, "\n".join(failures[:20])
