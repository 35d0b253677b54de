"""One of two processes that hold half of the classes each: prints JSON.

python two_processes.py COORDINATOR NUMBER
"""

import json
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

import tinyloss

RNG = np.random.default_rng(1)
X = (4 * RNG.standard_normal((8, 32))).astype(np.float32)
Y = RNG.integers(0, 32, 8).astype(np.int32)


def main(coordinator: str, number: int) -> None:
    """Compare this process's part of the gradient with the whole one."""
    jax.distributed.initialize(coordinator, num_processes=2, process_id=number)
    mesh = jax.make_mesh((jax.device_count(),), ("v",))

    def spread(array: Any, *spec: Any) -> Any:
        sharding = NamedSharding(mesh, PartitionSpec(*spec))
        return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])

    function = jax.jit(jax.value_and_grad(tinyloss.cross_entropy))
    value, gradient = function(spread(X, None, "v"), spread(Y, None))
    alone, gradient_alone = function(jnp.asarray(X), jnp.asarray(Y))
    errors = [
        np.max(np.abs(np.asarray(part.data) - np.asarray(gradient_alone)[part.index]))
        for part in gradient.addressable_shards
    ]
    report = {
        "processes": jax.process_count(),
        "classes here": sum(part.data.shape[-1] for part in gradient.addressable_shards),
        "value": float(value),
        "alone": float(alone),
        "gradient": float(max(errors) / np.max(np.abs(gradient_alone))),
    }
    print(json.dumps(report), flush=True)
    jax.distributed.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
