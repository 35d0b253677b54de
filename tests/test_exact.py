"""The truth is the derivative of the definition: by central differences, to many digits."""

from typing import Any

import numpy as np
import pytest

from tests.exact import EXACT, central_differences, items, mp

RNG = np.random.default_rng(0)
ITEMS, CLASSES = 4, 4

# Differences are good to about 80 digits of the value; a derivative near 0 has fewer.
CLOSE = mp.mpf("1e-60")

REAL = RNG.normal(size=(2, ITEMS))
SHARES = RNG.uniform(0.1, 0.9, size=(2, ITEMS))
SIGNS = RNG.choice([-1.0, 1.0], size=ITEMS)
LOGITS = RNG.normal(size=(2, ITEMS, CLASSES))
ROWS = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=-1, keepdims=True)
LABELS = RNG.integers(0, CLASSES, ITEMS)
WEIGHTS = np.array([0.5, 2.0, 1.0, 3.0])

OF_CLASSES = [(LOGITS[0], ROWS[1]), (LOGITS[0], LABELS)]
ARGUMENTS: dict[str, list[tuple[Any, ...]]] = {
    "gaussian_nll": [(*REAL, SHARES[0])],
    "poisson_nll": [tuple(SHARES)],
    "msle": [tuple(SHARES)],
    "binary_cross_entropy": [tuple(SHARES)],
    "binary_cross_entropy_with_logits": [(REAL[0], SHARES[1])],
    "sigmoid_focal": [(REAL[0], SHARES[1])],
    **{each: [(REAL[0], SIGNS)] for each in ("hinge", "squared_hinge", "soft_margin")},
    "cross_entropy": OF_CLASSES,
    "softmax_focal": OF_CLASSES,
    "nll": [(np.log(ROWS[0]), LABELS)],
    "kl_div": [(np.log(ROWS[0]), ROWS[1])],
    "kl_div_with_logits": [tuple(LOGITS)],
    "js_div": [tuple(ROWS)],
}
PARAMETERS: dict[str, list[dict[str, Any]]] = {
    "huber": [{"delta": 0.7}],
    "smooth_l1": [{"beta": 0.7}],
    "quantile": [{"q": 0.3}],
    "poisson_nll": [{"log_input": each, "full": True} for each in (True, False)],
    "gaussian_nll": [{"full": True}],
    "binary_cross_entropy_with_logits": [{}, {"pos_weight": 3.0}],
    "sigmoid_focal": [{"gamma": g, "alpha": 0.25} for g in (0.0, 1.5, 2.0)],
    "cross_entropy": [{}, {"label_smoothing": 0.1, "class_weight": WEIGHTS}],
    "softmax_focal": [{"gamma": g, "class_weight": WEIGHTS} for g in (0.0, 1.5, 2.0)],
    "kl_div": [{}, {"log_target": True}],
    "nll": [{}, {"class_weight": WEIGHTS}],
}
CASES = [
    pytest.param(loss, arguments, parameters, id=f"{loss}-{number}-{parameters}")
    for loss, exact in EXACT.items()
    if exact.target
    for number, arguments in enumerate(ARGUMENTS.get(loss, [tuple(REAL)]))
    for parameters in PARAMETERS.get(loss, [{}])
]


@pytest.mark.parametrize(("loss", "arguments", "parameters"), CASES)
def test_truth_is_the_derivative_of_the_definition(
    loss: str, arguments: tuple[Any, ...], parameters: dict[str, Any]
) -> None:
    x, y, *var = arguments
    for args, given in items(loss, x, y, *var, **parameters):
        expected = central_differences(loss, args, given)
        with mp.workprec(400):
            truth = EXACT[loss].item(*args, **given)
        assert expected.keys() == truth.keys() - {"value"} - ({"y"} - expected.keys())
        assert {"x", "curvature"} <= expected.keys()
        for name, derivative in expected.items():
            pairs = zip(*[np.atleast_1d(each) for each in (derivative, truth[name])], strict=True)
            with mp.workprec(400):
                for difference, exact in pairs:
                    assert abs(difference - exact) <= CLOSE * max(abs(exact), 1), name
