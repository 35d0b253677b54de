"""Dask arrays filtered by a mask: nobody knows how many rows a block has, or whether it has any."""

from typing import Any

import numpy as np
import pytest

import tinyloss
from tests.support.cases import CASES, Case, in_turn

da: Any = pytest.importorskip("dask.array")

KEPT = np.array([False, False, False, True, True, False, True, True])
"""Of blocks of two rows: none, one, one, both."""
ROWS = [
    case
    for case in CASES
    if (case.items == (4,) or case.x.shape == (4, 3)) and case.options.get("axis", -1) == -1
]


def filtered(host: Any) -> Any:
    """Return an array with 8 rows of which KEPT selects the 4 that are in `host`."""
    wide = np.zeros((8, *host.shape[1:]), host.dtype)
    wide[KEPT] = host
    return da.from_array(wide, chunks=(2, *host.shape[1:]))[da.from_array(KEPT, chunks=2)]


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.name, marks=() if case in in_turn(ROWS, 0) else pytest.mark.long)
        for case in ROWS
    ],
)
def test_selected_rows_are_what_is_computed(case: Case) -> None:
    def ask(*arrays: Any, weight: Any) -> Any:
        value, gradient = tinyloss.value_and_grad(case.loss)(*arrays, **case.options)
        weighted = case.loss(*arrays, weight=weight, reduction="none", **case.options)
        return value, gradient, weighted

    weight = np.linspace(0.5, 2, int(np.prod(case.items)), dtype=np.float32).reshape(case.items)
    expected = ask(*case.arrays, weight=weight)
    lazy = ask(*map(filtered, case.arrays), weight=filtered(weight))
    with np.errstate(all="ignore"):
        actual = da.compute(*lazy, scheduler="synchronous")
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_labels_of_several_dimensions_have_weights_of_classes() -> None:
    x = np.linspace(-1, 1, 24, dtype=np.float32).reshape(4, 2, 3)
    y = np.array([[0, 1], [2, 0], [1, 1], [2, 2]])
    lazy = tinyloss.cross_entropy(filtered(x), filtered(y), class_weight=[1.0, 2.0, 3.0])
    expected = tinyloss.cross_entropy(x, y, class_weight=[1.0, 2.0, 3.0])
    np.testing.assert_allclose(lazy.compute(scheduler="synchronous"), expected, rtol=1e-6)


@pytest.mark.parametrize("loss", [tinyloss.mse, tinyloss.cross_entropy], ids=["mse", "labels"])
def test_arrays_that_cannot_be_cut_alike_are_refused(loss: Any) -> None:
    x = filtered(np.zeros((4, 3), np.float32))
    y = np.zeros((4, 3), np.float32) if loss is tinyloss.mse else np.zeros(4, int)
    with pytest.raises(ValueError, match=r"compute_chunk_sizes\(\)"):
        loss(x, y)


def test_known_lengths_are_cut_as_those_of_x() -> None:
    """Dask cuts what comes from NumPy as it likes."""
    dask: Any = pytest.importorskip("dask")
    x = np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32)
    y, pos_weight = (x > 0).astype(np.float32), np.array([1.0, 2.0, 3.0], np.float32)
    kept = da.from_array(KEPT, chunks=2)
    of_x, of_y = da.from_array(x, chunks=(2, 3))[kept], da.from_array(y, chunks=(2, 3))[kept]
    loss: Any = tinyloss.binary_cross_entropy_with_logits
    with dask.config.set({"array.chunk-size": "1 B"}):
        value = loss(of_x, of_y, pos_weight=pos_weight)
    expected = loss(x[KEPT], y[KEPT], pos_weight=pos_weight)
    np.testing.assert_allclose(value.compute(scheduler="synchronous"), expected, rtol=1e-6)
