"""What is taken beside x: tables' columns, and what the messages say of anything else."""

from typing import Any

import numpy as np
import pytest

import tinyloss
from tests.support.libraries import LIBRARIES, Library


class Column:
    """What every library of tables has."""

    def __init__(self, values: Any) -> None:
        self.values = np.asarray(values)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.array(self.values, dtype=dtype)

    def to_numpy(self) -> Any:
        return self.values


def series(values: Any) -> Any:
    return pytest.importorskip("pandas").Series(values)


WIDE = [name for name, lib in LIBRARIES.items() if "float64" in lib.floats]
X = np.array([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]], dtype=np.float32)


@pytest.mark.parametrize("column", [Column, series])
def test_columns_are_taken_beside_any_x(xp: Library, column: Any) -> None:
    labels, weight, mask = (
        np.array([1, 2]),
        np.array([1.0, 3.0], np.float32),
        np.array([True, True]),
    )
    per_class = np.array([1.0, 2.0, 4.0], np.float32)
    expected = tinyloss.cross_entropy(X, labels, weight=weight, where=mask, class_weight=per_class)
    actual = xp.call(
        lambda x: tinyloss.cross_entropy(
            x,
            column(labels),
            weight=column(weight),
            where=column(mask),
            class_weight=column(per_class),
        ),
        xp.asarray(X),
    )
    np.testing.assert_allclose(xp.numpy(actual), expected, rtol=1e-6)


def test_column_widens_as_its_array_does() -> None:
    y = np.array([0.5, 1.5])
    x = np.zeros(2, np.float32)
    column: Any = Column(y)
    assert tinyloss.mse(x, column).dtype == tinyloss.mse(x, y).dtype == np.float64


def test_column_as_prediction_says_how_to_convert_it() -> None:
    column: Any = Column([1.0])
    with pytest.raises(TypeError, match=r"mse: x: got a Column, .*to_numpy\(\)"):
        tinyloss.mse(column, [1.0])


def test_two_libraries_say_which_to_convert() -> None:
    strict = pytest.importorskip("array_api_strict")
    with pytest.raises(TypeError, match=r"y: is of array_api_strict beside x of numpy.*convert x"):
        tinyloss.mse(np.ones(2), strict.ones(2))


DEVICES = {
    "torch": ("cpu", "meta"),
    "array-api-strict": ("CPU_DEVICE", "device1"),
}


@pytest.mark.parametrize("xp", DEVICES, indirect=True)
@pytest.mark.parametrize("argument", ["y", "weight", "where", "class_weight"])
def test_array_on_another_device_is_named(xp: Library, argument: str) -> None:
    _, there = DEVICES[xp.name]

    def away(array: Any) -> Any:
        return array.to(there) if xp.name == "torch" else array.to_device(xp.lib.Device(there))

    given: dict[str, Any] = {
        "y": xp.asarray(np.array([0, 1])),
        "weight": xp.asarray(np.ones(2)),
        "where": xp.asarray(np.ones(2, bool)),
        "class_weight": xp.asarray(np.ones(3)),
    }
    given[argument] = away(given[argument])
    y = given.pop("y")
    with pytest.raises(ValueError, match=f"cross_entropy: {argument}: is on .*{there}.*, expected"):
        tinyloss.cross_entropy(xp.asarray(X), y, **given)


@pytest.mark.parametrize("layout", ["reversed", "big-endian", "read-only", "strided"])
def test_numpy_arrays_lie_as_they_like_beside_any_x(layout: str, xp: Library) -> None:
    x, w = xp.asarray([1.0, 2.0, 4.0]), np.array([1.0, 2.0, 3.0], np.float32)
    given = {
        "reversed": w[::-1].copy()[::-1],
        "big-endian": w.astype(">f4"),
        "read-only": w.copy(),
        "strided": np.repeat(w, 2)[::2],
    }[layout]
    given.flags.writeable = layout != "read-only"
    value = xp.call(tinyloss.mse, x, xp.asarray([0.0, 0.0, 0.0]), weight=given)
    np.testing.assert_allclose(xp.numpy(value), (1 + 8 + 48) / 6, rtol=1e-6)


@pytest.mark.parametrize("xp", WIDE, indirect=True)
def test_pythons_numbers_keep_their_digits(xp: Library) -> None:
    """Also where the library would make float32 of them, beside x of float64."""
    x, y = xp.asarray([0.0, 0.0], "float64"), [0.1, 0.1]
    assert xp.numpy(xp.call(tinyloss.mse, x, y)) == np.float64(0.1) * 0.1
    logits = tinyloss.BCEWithLogitsLoss(pos_weight=np.array([0.1]), reduction="sum")
    value = xp.call(logits, x, xp.asarray([1.0, 1.0], "float64"))
    np.testing.assert_allclose(xp.numpy(value), 0.2 * np.log(2), rtol=1e-15)
