"""Train an output layer whose vocabulary is sharded over eight devices, with JAX.

    python examples/sharded_vocabulary.py
    python examples/sharded_vocabulary.py --classes 131072 --rows 256 --steps 5

The layer's weights are sharded along the vocabulary. Each device has some of the classes and
computes their logits only, so no device has a whole row. For each row the devices exchange three
numbers: the maximum, the sum of exponentials and the logit of the right class.

The program is written twice. The first is written as for one device, and the compiler shards it.
The second is written for one device's part, in `shard_map`, with `axis_name=` for the mapped axis.
Here the devices are eight parts of the CPU; the same program runs on eight GPUs.
"""

from __future__ import annotations

import argparse
import os
import re
from typing import Any

import numpy as np

import tinyloss


def main(arguments: list[str] | None = None) -> None:
    """Train with the command line's options and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--classes", type=int, default=32_768, help="a multiple of the devices")
    parser.add_argument("--features", type=int, default=64)
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--devices", type=int, default=8)
    options = parser.parse_args(arguments)
    # How many devices the CPU stands for is settled when JAX starts.
    flag = f"--xla_force_host_platform_device_count={options.devices}"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}"
    import jax
    from jax.sharding import AxisType, NamedSharding, PartitionSpec

    split: Any = PartitionSpec(None, "vocabulary")
    whole: Any = PartitionSpec()
    mesh = jax.make_mesh((options.devices,), ("vocabulary",), axis_types=(AxisType.Auto,))

    rng = np.random.default_rng(0)
    features = rng.standard_normal((options.rows, options.features)).astype(np.float32)
    labels = rng.integers(0, options.classes, options.rows)
    start = np.zeros((options.features, options.classes), np.float32)
    weights = jax.device_put(start, NamedSharding(mesh, split))

    def loss(weights: Any, features: Any, labels: Any) -> Any:
        return tinyloss.cross_entropy(features @ weights, labels)

    def loss_of_part(weights: Any, features: Any, labels: Any) -> Any:
        return tinyloss.cross_entropy(features @ weights, labels, axis_name="vocabulary")

    loss_by_hand = jax.shard_map(
        loss_of_part, mesh=mesh, in_specs=(split, whole, whole), out_specs=whole
    )

    def step(weights: Any, loss: Any) -> tuple[Any, Any]:
        value, gradient = jax.value_and_grad(loss)(weights, features, labels)
        # A row's gradient is of the size of its features; this step does not overshoot.
        return weights - 2.0 * options.rows / options.features * gradient, value

    by_compiler = jax.jit(lambda weights: step(weights, loss))
    by_hand = jax.jit(lambda weights: step(weights, loss_by_hand))

    print(f"{len(jax.devices())} devices, {options.rows} rows, {options.classes} classes")
    parts = {shard.data.shape for shard in weights.addressable_shards}
    held = weights.addressable_shards[0].data.nbytes / 2**20
    shapes = ", ".join(map(str, parts))
    print(f"each has weights of shape {shapes} of {weights.shape}: {held:.2f} MiB")
    for name, program in (("by the compiler", by_compiler), ("by hand", by_hand)):
        text = program.lower(weights).compile().as_text() or ""
        count = {
            each: len(re.findall(rf"\b{each}(-start)?\(", text))
            for each in ("all-reduce", "all-gather")
        }
        print(f"split {name}: all-reduce {count['all-reduce']}, all-gather {count['all-gather']}")

    for number in range(options.steps):
        after, value = by_compiler(weights)
        _, value_by_hand = by_hand(weights)
        alone = loss(jax.numpy.asarray(np.asarray(weights)), features, labels)
        one, other, expected = float(value), float(value_by_hand), float(alone)
        # the order of summation differs, over as many classes as there are
        close = 32 * float(np.finfo(np.float32).eps) * max(1.0, expected)
        if not max(abs(one - expected), abs(other - expected)) <= close:
            raise SystemExit(f"step {number}: {one}, {other} and, on one device, {expected}")
        if number % max(1, options.steps // 10) == 0 or number == options.steps - 1:
            print(f"step {number:3d}  loss {value:.6f}", flush=True)
        weights = after
    print("both equal the loss on one device, at every step")
    print(f"the weights are still spread: {weights.sharding.spec}")


if __name__ == "__main__":
    main()
