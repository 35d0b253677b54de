"""Every loss on the array libraries that are installed: the number of checks that agree with NumPy.

    python -m benchmarks.libraries [names]

A check is the value, the gradient, the items, the weighted mean or the curvature of a loss. It
passes if the numbers equal NumPy's within 1e-4 of the largest.
"""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from importlib.metadata import version
from typing import Any

import numpy as np

import tinyloss

LIBRARIES = {
    "array_api_strict": "array-api-strict",
    "torch": "torch",
    "jax.numpy": "jax",
    "dask.array": "dask",
    "cubed": "cubed",
    "mlx.core": "mlx",
    "ndonnx": "ndonnx",
    "dpnp": "dpnp",
    "mparray": "mparray",
    "marray": "marray",
    "finch": "finch-tensor",
    "blosc2": "blosc2",
}
"""Modules, and the distributions they come in."""

HINDRANCES = {
    "finch-tensor": "an index loses its `...`: a[..., 0] is a[0], a[..., None] is a[None]",
    "blosc2": "log(where(a > 0, a, 1.0)) is 0 for every a; `where` refuses its sums, "
    "which are NumPy's; free() ends the process",
}
"""What stands in the way in a library itself."""

RNG = np.random.default_rng(0)
REAL, OTHER = RNG.standard_normal((2, 4, 3)).astype(np.float32)
SHARES = np.asarray(RNG.uniform(0.1, 0.9, (4, 3)), np.float32)
ROWS = SHARES / SHARES.sum(axis=1, keepdims=True)
SIGNS = np.where(OTHER < 0, np.float32(-1), np.float32(1))
LABELS = np.array([0, 2, 1, 1])
LOGS = np.log(ROWS)

CALLS: list[tuple[Any, tuple[Any, ...]]] = [
    *[
        (loss, (REAL, OTHER))
        for loss in (
            tinyloss.mse,
            tinyloss.mae,
            tinyloss.huber,
            tinyloss.smooth_l1,
            tinyloss.log_cosh,
            tinyloss.quantile,
            tinyloss.mape,
        )
    ],
    *[(loss, (REAL, SIGNS)) for loss in (tinyloss.hinge, tinyloss.squared_hinge)],
    (tinyloss.soft_margin, (REAL, SIGNS)),
    (tinyloss.msle, (SHARES, ROWS)),
    (tinyloss.poisson_nll, (REAL, SHARES)),
    (tinyloss.gaussian_nll, (REAL, OTHER, SHARES)),
    (tinyloss.binary_cross_entropy, (SHARES, ROWS)),
    (tinyloss.binary_cross_entropy_with_logits, (REAL, SHARES)),
    (tinyloss.sigmoid_focal, (REAL, SHARES)),
    (tinyloss.cross_entropy, (REAL, LABELS)),
    (tinyloss.cross_entropy, (REAL, ROWS)),
    (tinyloss.softmax_focal, (REAL, LABELS)),
    (tinyloss.nll, (LOGS, LABELS)),
    (tinyloss.kl_div, (LOGS, ROWS)),
    (tinyloss.kl_div_with_logits, (REAL, OTHER)),
    (tinyloss.js_div, (ROWS, SHARES / SHARES.sum(axis=1, keepdims=True))),
]


def checks() -> Iterator[tuple[str, Callable[[Callable[[Any], Any]], Any]]]:
    """Yield the checks: each takes a function that makes an array and returns one array."""
    for loss, arrays in CALLS:
        rows = loss(*arrays, reduction="none").ndim == 1
        weight = np.asarray(RNG.uniform(0.5, 2, 4 if rows else (4, 3)), np.float32)

        def ask(
            make: Callable[[Any], Any],
            what: str,
            loss: Any = loss,
            arrays: Any = arrays,
            weight: Any = weight,
        ) -> Any:
            given = [make(each) for each in arrays]
            if what == "value":
                return loss(*given)
            if what == "gradient":
                return tinyloss.grad(loss)(*given)
            if what == "items":
                return loss(*given, reduction="none")
            if what == "weighted":
                return loss(*given, weight=make(weight))
            return tinyloss.grad_and_hess(loss)(*given)[1]

        for what in ("value", "gradient", "items", "weighted", "curvature"):
            yield f"{loss.__name__} {what}", partial(ask, what=what)


def nested(array: Any) -> Any:
    """Return an array as lists of numbers."""
    return [nested(each) for each in array] if array.ndim else float(array)


def passes(check: Callable[..., Any], make: Callable[[Any], Any]) -> str:
    """Return what is wrong with a check on a library's arrays, "" if it passes."""
    expected = np.asarray(check(np.asarray), np.float64)
    try:
        result = check(make)
        result = result.compute() if hasattr(result, "compute") else result
        if hasattr(result, "unwrap_numpy"):
            result = result.unwrap_numpy()
        # A library without `__array__` is read item by item.
        readable = np.asarray(result).dtype != object
        actual = np.asarray(result if readable else nested(result)).astype(np.float64)
    except Exception as error:
        return f"{type(error).__name__}: {error}".partition("\n")[0][:90]
    scale = 1e-4 * max(1.0, float(np.max(np.abs(expected))))
    if actual.shape == expected.shape and np.allclose(actual, expected, rtol=0, atol=scale):
        return ""
    return "other numbers"


def main(names: list[str]) -> None:
    """Print a line for each library."""
    for module, distribution in LIBRARIES.items():
        if names and distribution not in names:
            continue
        try:
            library = import_module(module)
        except ImportError:
            continue
        if hasattr(library, "masked_namespace"):
            library = library.masked_namespace(np)
        make = getattr(library, "asarray", None) or library.array
        if distribution in HINDRANCES:
            print(f"{distribution}: {HINDRANCES[distribution]}", flush=True)
        wrong = {name: text for name, check in checks() if (text := passes(check, make))}
        total = 5 * len(CALLS)
        print(f"| {distribution} {version(distribution)} | {total - len(wrong)} of {total} |")
        for name, text in list(wrong.items())[:8]:
            print(f"    {name}: {text}")


if __name__ == "__main__":
    main(sys.argv[1:])
