"""Losses of rows spread over eight devices, beside the same rows on one: prints JSON.

A program of its own, for the number of devices is settled when JAX starts.
"""

import json
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import tinyloss

# For losses chosen at run time, whose parameters no type checker can follow.
anyloss: Any = tinyloss

P: Any = PartitionSpec
ROWS, CLASSES = 16, 64
COLLECTIVES = ("all-reduce", "all-gather", "all-to-all", "collective-permute")

RNG = np.random.default_rng(0)
X = (4 * RNG.standard_normal((ROWS, CLASSES))).astype(np.float32)
# Rows of a prediction that is nearly sure, of the right class and of a wrong one.
X[0, 3] = X[1, 7] = X[0].max() + 40
Y = RNG.integers(0, CLASSES, ROWS).astype(np.int32)
Y[0], Y[1] = 3, 60
LOGITS = RNG.standard_normal((ROWS, CLASSES)).astype(np.float32)
SHARES = np.asarray(jax.nn.softmax(LOGITS))
CLASS_WEIGHT = RNG.uniform(0.5, 2, CLASSES).astype(np.float32)
WAY = RNG.standard_normal((ROWS, CLASSES)).astype(np.float32)


def eps(actual: Any, expected: Any) -> float:
    """Return the error in eps of the largest component."""
    expected = np.asarray(expected, dtype=np.float64)
    error = np.max(np.abs(np.asarray(actual, dtype=np.float64) - expected))
    # nll has no second derivative: the error of 0 is 0
    return float(error / (np.max(np.abs(expected)) or 1) / np.finfo(np.float32).eps)


def partitioned(kind: Any) -> dict[str, Any]:
    """Return what becomes of rows whose arrays say where they are, the program does not."""
    mesh = jax.make_mesh((2, 4), ("d", "v"), axis_types=(kind, kind))
    report: dict[str, Any] = {}
    with jax.set_mesh(mesh):
        x = jax.device_put(X, NamedSharding(mesh, P("d", "v")))
        for name, target, spec in (("labels", Y, P("d")), ("shares", SHARES, P("d", "v"))):
            y = jax.device_put(target, NamedSharding(mesh, spec))
            function = jax.jit(jax.value_and_grad(tinyloss.cross_entropy))
            text = function.lower(x, y).compile().as_text() or ""
            value, gradient = function(x, y)
            value_of_one, gradient_of_one = on_one(name)
            report[name] = {
                "value": eps(value, value_of_one),
                "gradient": eps(gradient, gradient_of_one),
                "spread": [*gradient.sharding.spec],
                **{each: len(re.findall(rf"\b{each}(-start)?\(", text)) for each in COLLECTIVES},
            }
    return report


def on_one(name: str) -> Any:
    target = {"labels": Y, "shares": SHARES}[name]
    return jax.value_and_grad(tinyloss.cross_entropy)(jnp.asarray(X), jnp.asarray(target))


def by_hand() -> dict[str, Any]:
    """Return what becomes of rows that a program of one member's part describes."""
    t, rows = tinyloss, P("d", "v")
    weighted = {"class_weight": CLASS_WEIGHT}
    return {
        "labels": compared(t.cross_entropy, Y, P("d")),
        "labels, class_weight": compared(t.cross_entropy, Y, P("d"), **weighted),
        "labels, label_smoothing": compared(t.cross_entropy, Y, P("d"), label_smoothing=0.1),
        "labels, ignore_index": compared(t.cross_entropy, Y, P("d"), ignore_index=60),
        "shares": compared(t.cross_entropy, SHARES, rows),
        "shares, class_weight": compared(t.cross_entropy, SHARES, rows, **weighted),
        "softmax_focal": compared(t.softmax_focal, Y, P("d")),
        "kl_div_with_logits": compared(t.kl_div_with_logits, LOGITS, rows),
        "nll, class_weight": compared(t.nll, Y, P("d"), **weighted),
    }


def compared(loss: Any, target: Any, spec: Any, **options: Any) -> dict[str, float]:
    """Return the errors of a loss of rows in parts, and of its derivatives."""
    mesh = jax.make_mesh((2, 4), ("d", "v"), axis_types=(AxisType.Auto, AxisType.Auto))
    # an array, of which a member has its part, beside numbers
    class_weight = options.pop("class_weight", None)

    def loss_of(x: Any, y: Any, w: Any, axis_name: Any = None, loss: Any = loss) -> Any:
        given = options if w is None else {**options, "class_weight": w}
        return loss(x, y, reduction="none", axis_name=axis_name, **given)

    def value(x: Any, y: Any, w: Any) -> Any:
        return loss_of(x, y, w, "v")

    def closed(x: Any, y: Any, w: Any) -> Any:
        return loss_of(x, y, w, "v", anyloss.grad(loss))

    def native(x: Any, y: Any, w: Any) -> Any:
        return jax.grad(lambda x: jnp.sum(value(x, y, w)))(x)

    def in_parts(function: Any, out_specs: Any) -> Any:
        specs: Any = (P("d", "v"), spec, P("v"))
        return jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=out_specs)

    def derived(function: Any, x: Any, y: Any, w: Any) -> dict[str, Any]:
        def gradient(x: Any) -> Any:
            return jax.grad(lambda x: jnp.sum(function(x, y, w)))(x)

        slope, along = jax.jvp(gradient, (x,), (jnp.asarray(WAY),))
        return {"value": function(x, y, w), "gradient": slope, "hvp": along}

    def whole(*arrays: Any) -> dict[str, Any]:
        return derived(loss_of, *arrays)

    def spread(*arrays: Any) -> dict[str, Any]:
        inside = {"closed form inside": closed, "gradient inside": native}
        return derived(in_parts(value, P("d")), *arrays) | {
            name: in_parts(function, P("d", "v"))(*arrays) for name, function in inside.items()
        }

    arrays = (jnp.asarray(X), jnp.asarray(target), class_weight)
    got, expected = jax.jit(spread)(*arrays), jax.jit(whole)(*arrays)
    expected |= dict.fromkeys(("closed form inside", "gradient inside"), expected["gradient"])
    return {what: eps(got[what], each) for what, each in expected.items()}


def out_of_range() -> dict[str, Any]:
    """Return which rows are NaN where labels are no class of any member."""
    mesh = jax.make_mesh((2, 4), ("d", "v"), axis_types=(AxisType.Auto, AxisType.Auto))
    labels = Y.copy()
    labels[2], labels[9] = -1, CLASSES

    def member(x: Any, y: Any) -> Any:
        return tinyloss.cross_entropy(x, y, axis_name="v", reduction="none")

    each = jax.shard_map(member, mesh=mesh, in_specs=(P("d", "v"), P("d")), out_specs=P("d"))
    values = jax.jit(each)(X, labels)
    gradient = jax.jit(jax.grad(lambda x: each(x, labels).sum()))(X)
    return {
        "values": np.flatnonzero(np.isnan(values)).tolist(),
        "gradients": np.flatnonzero(np.isnan(gradient).all(axis=-1)).tolist(),
        "touched": np.flatnonzero(np.isnan(gradient).any(axis=-1)).tolist(),
    }


def main() -> None:
    """Print everything."""
    report = {
        "devices": jax.device_count(),
        "auto": partitioned(AxisType.Auto),
        "explicit": partitioned(AxisType.Explicit),
        "by hand": by_hand(),
        "out of range": out_of_range(),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
