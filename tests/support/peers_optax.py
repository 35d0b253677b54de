"""Optax's ways to say our losses, on ordinary inputs."""

import importlib
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np

from tests.support.peers import Arrays, N, Params, rng_of

Items = Callable[[Any, Any, Any], Any]
"""From optax's losses, prediction and target to the loss of each item."""


def _optax(name: str, **parameters: Any) -> Items:
    def items(losses: Any, x: Any, y: Any) -> Any:
        return getattr(losses, name)(x, y, **parameters)

    return items


def _squared_hinge(losses: Any, x: Any, y: Any) -> Any:
    return losses.hinge_loss(x, y) ** 2


def _smoothed(losses: Any, x: Any, y: Any) -> Any:
    return losses.softmax_cross_entropy(x, losses.smooth_labels(y, 0.1))


def _generalized(losses: Any, x: Any, y: Any) -> Any:
    # It adds up an axis: here of one element.
    log = importlib.import_module("jax").numpy.log
    return losses.generalized_kl_divergence(log(x)[..., None], y[..., None])


def optax_cases() -> Iterator[tuple[str, str, Arrays, Params, Items]]:
    """Yield a loss, a name, arrays, our parameters, and optax's items."""
    rng = rng_of("optax")
    y = rng.normal(size=(4, 6))
    x = y + np.linspace(-3.7, 4.1, N).reshape(y.shape)
    pair = {"x": x, "y": y}
    yield "log_cosh", "", pair, {}, _optax("log_cosh")
    yield "mse", "", pair, {}, _optax("squared_error")
    yield "generalized_kl", "", {"x": np.exp(x), "y": np.exp(y)}, {}, _generalized
    for delta in (1.0, 0.4, 2.5):
        yield (
            "huber",
            f"{delta=}",
            pair,
            {"delta": delta},
            _optax("huber_loss", delta=delta),
        )
    hard = rng.integers(0, 2, x.shape).astype(float)
    sign = {"x": x, "y": 2 * hard - 1}
    yield "hinge", "", sign, {}, _optax("hinge_loss")
    yield "squared_hinge", "", sign, {}, _squared_hinge
    yield "perceptron", "", sign, {}, _optax("perceptron_loss")
    binary = {"x": x, "y": hard}
    soft = {"x": x, "y": rng.uniform(0.02, 0.98, x.shape)}
    for kind, arrays in (("hard", binary), ("soft", soft)):
        yield (
            "binary_cross_entropy_with_logits",
            kind,
            arrays,
            {},
            _optax("sigmoid_binary_cross_entropy"),
        )
        for alpha, gamma in product((None, 0.25), (1.0, 2.0, 3.5)):
            yield (
                "sigmoid_focal",
                f"{kind},{alpha=},{gamma=}",
                arrays,
                {"alpha": alpha, "gamma": gamma},
                _optax("sigmoid_focal_loss", alpha=alpha, gamma=gamma),
            )
    e = np.exp(rng.normal(size=x.shape))
    for axis in (-1, 0):
        p = e / e.sum(axis, keepdims=True)
        log_q = x - np.log(np.exp(x).sum(axis, keepdims=True))
        at: Params = {"axis": axis}
        yield (
            "cross_entropy",
            f"soft,{axis=}",
            {"x": x, "y": p},
            at,
            _optax("softmax_cross_entropy", axis=axis),
        )
        yield (
            "kl_div",
            f"{axis=}",
            {"x": log_q, "y": p},
            at,
            _optax("kl_divergence", axis=axis),
        )
        yield (
            "kl_div",
            f"log_target,{axis=}",
            {"x": log_q, "y": np.log(p)},
            {**at, "log_target": True},
            _optax("kl_divergence_with_log_targets", axis=axis),
        )
        yield (
            "poly_cross_entropy",
            f"soft,{axis=}",
            {"x": x, "y": p},
            {**at, "epsilon": 0.7},
            _optax("poly_loss_cross_entropy", epsilon=0.7, axis=axis),
        )
    labels = rng.integers(0, 6, 4)
    yield (
        "categorical_hinge",
        "labels",
        {"x": x, "y": labels},
        {},
        _optax("multiclass_hinge_loss"),
    )
    yield (
        "cross_entropy",
        "labels",
        {"x": x, "y": labels},
        {},
        _optax("softmax_cross_entropy_with_integer_labels"),
    )
    yield (
        "cross_entropy",
        "smoothed",
        {"x": x, "y": np.eye(6)[labels]},
        {"label_smoothing": 0.1},
        _smoothed,
    )
