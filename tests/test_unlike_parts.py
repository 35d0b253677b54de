"""Parts that do not fit each other: blocks, terms, scales."""

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinyloss
import tinyloss_numpy
from tests.support.libraries import Library

anyloss: Any = tinyloss


def chosen(da: Any, array: Any, rows: Any) -> Any:
    """Return rows of an array as Dask has them before it counts them."""
    chunks = max(1, len(rows) // 3)
    return da.from_array(array, chunks=chunks)[da.from_array(rows, chunks=chunks)]


class TestUnknownLengths:
    def test_blocks_of_other_lengths_are_refused_where_they_meet(self) -> None:
        da = pytest.importorskip("dask.array")
        x, all_of, few = np.ones(30, np.float32), np.ones(30, bool), np.arange(30) < 25
        of_x, of_few = chosen(da, x, all_of), chosen(da, x, few)
        for mode in ("always", "never"):
            with tinyloss_numpy.compilation(mode):
                asked = [
                    anyloss.mse(of_x, of_few, reduction="sum"),
                    anyloss.mse(of_few, of_x, reduction="sum"),
                    anyloss.mse(of_x, of_x, weight=of_few, reduction="sum"),
                ]
                for each in asked:
                    with pytest.raises(ValueError, match=r"a block of (y|weight) has shape"):
                        each.compute(scheduler="synchronous")

    @pytest.mark.parametrize(
        "options",
        [{"weight": [1.0, 2.0]}, {"where": [True, False]}, {"weight": 2.0}, {"weight": [[3.0]]}],
        ids=str,
    )
    def test_what_broadcasts_counts_for_each_item(self, options: Any) -> None:
        da = pytest.importorskip("dask.array")
        x = np.arange(12.0).reshape(6, 2)
        of_x = chosen(da, x, np.ones(6, bool))
        value = anyloss.mse(of_x, of_x * 0, **options)
        expected = anyloss.mse(x, x * 0, **options)
        np.testing.assert_allclose(value.compute(scheduler="synchronous"), expected, rtol=1e-12)

    def test_nothing_of_unknown_length_is_nothing(self) -> None:
        da = pytest.importorskip("dask.array")
        x = chosen(da, np.ones((6, 2)), np.zeros(6, bool))
        value = anyloss.mse(x, x, weight=2.0, denominator=0)
        assert value.compute(scheduler="synchronous") == 0


@pytest.mark.parametrize("scale", [1e20, 1e30, 1e-18, 1e-25])
def test_weights_and_class_weights_of_any_scale_at_once(scale: float, xp: Library) -> None:
    x, y = xp.asarray([[1.0, 0.0, 0.5], [0.0, 2.0, 0.0]]), xp.asarray([0, 2], "int32")
    weight, classes = np.array([1.0, 3.0], np.float32), np.array([1.0, 2.0, 0.5], np.float32)
    for loss in (anyloss.cross_entropy, anyloss.nll):
        given = {"weight": xp.asarray(weight), "class_weight": xp.asarray(classes)}
        expected = xp.fetch(xp.call(anyloss.value_and_grad(loss), x, y, **given))
        factor = np.float32(scale)
        scaled = {
            "weight": xp.asarray(weight * factor),
            "class_weight": xp.asarray(classes * factor),
        }
        for a, b in zip(
            xp.fetch(xp.call(anyloss.value_and_grad(loss), x, y, **scaled)), expected, strict=True
        ):
            np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize("scale", [1e38, 1e-40, 1e-60, 1e60])
@pytest.mark.parametrize("mode", ["always", "never"])
def test_parts_with_weights_of_any_scale(scale: float, mode: Any) -> None:
    x, weight = np.full(2, 10, np.float32), np.full(2, scale)
    weight = weight.astype(np.float32) if scale == 1e38 else weight
    with tinyloss_numpy.compilation(mode):
        part = anyloss.partial_mean(anyloss.mse)(x, x * 0, weight=weight)
    np.testing.assert_allclose(part.value(), 100, rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-300, 1e-40, 1e300])
def test_numpys_weights_beside_any_x_are_scaled_before_they_are_brought(
    scale: float, xp: Library
) -> None:
    x = xp.asarray([1.0, 3.0])
    value = xp.call(anyloss.mse, x, xp.asarray([0.0, 0.0]), weight=np.array([1.0, 3.0]) * scale)
    np.testing.assert_allclose(xp.numpy(value), 7, rtol=1e-6)


def test_terms_of_other_reductions_are_refused() -> None:
    x, none = np.ones((2, 2)), {"reduction": "none"}
    loss: Any = tinyloss.MSELoss(**none) + tinyloss.CrossEntropyLoss(**none)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^tinyloss\.WeightedSum: CrossEntropyLoss"):
        loss(x, x)
    mixed: Any = tinyloss.MSELoss(**none) + tinyloss.MSELoss()  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^tinyloss\.WeightedSum: MSELoss"):
        mixed(x, x)


def test_a_tiny_denominator_of_no_loss_gives_0() -> None:
    x = np.zeros(2, np.float32)
    for mode in ("always", "never"):
        with tinyloss_numpy.compilation(mode):
            value, grad = anyloss.value_and_grad(anyloss.mse)(x, x, denominator=1e-50)
        assert value == 0
        assert not grad.any()


def test_empty_lists_are_nothing(xp: Library) -> None:
    x = xp.asarray(np.zeros((0, 2)))
    assert xp.numpy(xp.call(anyloss.cross_entropy, x, [])) == 0
    assert xp.numpy(xp.call(anyloss.mse, x[:, 0], [], where=[])) == 0


def test_a_loss_follows_what_its_module_reads(tmp_path: Path, monkeypatch: Any) -> None:
    """Also that of a helper in another module of the user's."""
    (tmp_path / "its_helper.py").write_text("K = 2.0\n\n\ndef scale(d):\n    return K * d * d\n")
    monkeypatch.syspath_prepend(tmp_path)
    helper: Any = importlib.import_module("its_helper")
    scale = helper.scale

    @tinyloss.loss
    def scaled(x: Any, y: Any) -> Any:
        return scale(x - y)

    step: Any = tinyloss.value_and_grad(scaled)
    x, y = np.array([3.0]), np.array([1.0])
    for mode in ("never", "always"):
        with tinyloss_numpy.compilation(mode):
            for helper.K in (2.0, 10.0):
                value, grad = step(x, y)
                assert (value, grad.tolist()) == (helper.K * 4, [helper.K * 4])
    del sys.modules["its_helper"]
