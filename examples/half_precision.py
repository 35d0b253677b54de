"""Train a deep network in half precision: with a scale for its gradients, and without.

    python examples/half_precision.py
    python examples/half_precision.py --array jax --steps 300

Weights are float32. All that goes through the network is of the half type, forwards and backwards:
each product of matrices is rounded to it. The images are those of `train_digits.py`, as a part of
a batch of 2**22 items, the size that language models have: the mean over it makes the gradient of
each small, and each layer that it goes back through makes it smaller. float16 ends at 6e-8: below
that gradients are 0, and the network does not learn.
`tinyloss.LossScaler` multiplies the gradient by 2**16 where it is still float32, and the weights'
gradients are divided by that in float32. bfloat16 has float32's range, and needs none.

The picture shows the sizes of the gradients that reach the first layer, with the range of float16.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

import tinyloss

digits: Any = importlib.import_module("train_digits")  # the file beside this one

Array = Any
BATCH = 2**22
"""The items that the mean is over; all but these images are elsewhere."""
LAYERS = (64, 64, 64, 64, 64, 10)
GAIN = 0.5
"""What weights are smaller by than those of He et al.: as where a network was not tuned for it."""


@dataclass
class Run:
    """What a training came to."""

    accuracy: float
    """The share of the held-out images that are read right."""
    sizes: list[Array] = field(default_factory=list)
    """The sizes of the gradients that reached the first layer, of some steps."""
    scales: list[float] = field(default_factory=list)
    """The scale at each step."""


def train(
    array: str = "numpy", dtype: str = "float16", *, scales: bool = True, steps: int = 200
) -> Run:
    """Train, and say how it went; without `scales` gradients are as they come."""
    xp = digits.array_namespace(array, "float32")
    half = getattr(xp if hasattr(xp, dtype) else digits.need("ml_dtypes"), dtype)
    rng = np.random.default_rng(0)
    params = [
        xp.asarray(rng.standard_normal(shape) * GAIN * (2 / shape[0]) ** 0.5, dtype=xp.float32)
        for shape in pairwise(LAYERS)
    ]
    (x, y), (held_x, held_y) = [
        (xp.asarray(x, dtype=xp.float32), xp.asarray(y)) for x, y in digits.load_digits()
    ]

    def product(a: Array, b: Array) -> Array:
        """Multiply matrices of the half type as tensor cores do: summed in float32, rounded."""
        wide = [xp.astype(xp.astype(each, half), xp.float32) for each in (a, b)]
        return xp.astype(xp.matmul(*wide), half)

    def forward(params: list[Array], x: Array) -> list[Array]:
        """Return what each layer takes, and the logits."""
        found = [xp.astype(x, half)]
        for number, w in enumerate(params):
            z = product(found[-1], w)
            last = number == len(params) - 1
            found.append(z if last else xp.where(z > 0, z, xp.zeros_like(z)))
        return found

    def step(scaler: Any, params: list[Array], moments: Any, rate: float) -> Any:
        *inputs, logits = forward(params, x)
        _, g = scaler.value_and_grad(tinyloss.cross_entropy)(logits, y, denominator=BATCH)
        grads: list[Array] = []
        for number in reversed(range(len(params))):
            grads.insert(0, product(inputs[number].T, g))
            if number:
                g = product(g, params[number].T)
                g = xp.where(inputs[number] > 0, g, xp.zeros_like(g))
        finite = scaler.finite(grads)
        moved = digits.adam(xp, params, scaler.unscaled(grads), moments, rate)
        # The moments would never forget an infinity: a step with one is left out of them, too.
        params, *moments = scaler.chosen(finite, (moved[0], *moved[1]), (params, *moments))
        return scaler.updated(finite), params, tuple(moments), g

    if array == "jax":
        step = digits.need("jax").jit(step)
    fixed = {"scale": 1.0, "growth": 1.0, "backoff": 1.0}
    scaler = tinyloss.LossScaler(interval=50) if scales else tinyloss.LossScaler(**fixed)
    moments: Any = tuple([[xp.zeros_like(p) for p in params] for _ in range(2)])
    run = Run(0.0)
    with (
        digits.need("threadpoolctl").threadpool_limits(1),
        np.errstate(over="ignore", invalid="ignore"),
    ):
        for number, rate in enumerate(digits.rates(0.01, steps)):
            run.scales.append(float(scaler.scale))
            scaler, params, moments, g = step(scaler, params, moments, rate)
            if number % max(1, steps // 10) == 0:
                run.sizes.append(np.abs(np.asarray(xp.astype(g, xp.float32))).ravel())
        guess = xp.argmax(xp.astype(forward(params, held_x)[-1], xp.float32), axis=-1)
    run.accuracy = float(xp.sum(xp.astype(guess == held_y, xp.float32))) / held_y.shape[0]
    return run


def plot(runs: dict[str, Run], path: str) -> None:
    """Save a picture of the sizes of gradients, and of float16's range."""
    digits.need("matplotlib").use("agg")
    figure, axes = digits.need("matplotlib.pyplot").subplots(
        len(runs), 1, figsize=(8, 1.7 * len(runs)), sharex=True, layout="constrained"
    )
    bins = np.arange(-36, 17)
    for ax, (name, run) in zip(axes, runs.items(), strict=True):
        sizes = np.concatenate(run.sizes)
        seen = sizes[(sizes > 0) & np.isfinite(sizes)]
        lost = float(np.mean(sizes == 0))
        ax.hist(np.log2(seen), bins=bins, weights=np.full(seen.shape, 100 / sizes.size))
        ax.axvspan(-24, -14, color="C1", alpha=0.2, label="float16: with fewer digits")
        ax.axvspan(-14, 16, color="C2", alpha=0.15, label="float16")
        title = f"{name}: {run.accuracy:.1%} right; {lost:.0%} of the gradients are 0"
        ax.set_title(title, fontsize="medium", loc="left")
        ax.set(ylabel="%", xlim=(bins[0], bins[-1]))
    axes[0].legend(loc="upper right", fontsize="small")
    axes[-1].set_xlabel("size of the gradients that reach the first layer, as a power of 2")
    figure.savefig(path, dpi=150)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line, train, report, draw."""
    parser = argparse.ArgumentParser(
        description="Train in half precision, with and without a scale for the gradients.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--array", choices=["numpy", "jax"], default="numpy", help="array library")
    parser.add_argument("--steps", type=digits.positive, default=200, help="steps of each training")
    parser.add_argument("--plot", metavar="PATH", default="half_precision.png", help="the picture")
    options = parser.parse_args(argv)
    runs: dict[str, Run] = {}
    for dtype, scales in (
        ("float32", False), ("bfloat16", False), ("float16", False), ("float16", True),
    ):  # fmt: skip
        name = dtype + (" with LossScaler" if scales else "")
        run = runs[name] = train(options.array, dtype, scales=scales, steps=options.steps)
        scale = f", scale {run.scales[-1]:.0f} at the end" if scales else ""
        print(f"{name}: {run.accuracy:.1%} of the held-out digits right{scale}")
    plot(runs, options.plot)
    print(f"sizes of gradients: {options.plot}")


if __name__ == "__main__":
    main()
