"""Rules of class indices, of dtypes, and of what comes from the host."""

import math
from typing import Any, ClassVar

import ml_dtypes
import numpy as np
import pytest

import tinyloss
import tinyloss_numpy
from tests.support.cases import Case, every_case
from tests.support.libraries import LIBRARIES, Library, dtype_name, with_x64
from tests.support.rules import NAN, anyloss, close, close32, everything, everywhere, on
from tests.support.specs import ACTIVATIONS


class TestRule5Labels:
    """A class index out of range is an error where it can be seen, elsewhere NaN for its item."""

    LOSSES: ClassVar[list[Any]] = [
        tinyloss.cross_entropy,
        tinyloss.nll,
        tinyloss.softmax_focal,
        tinyloss.corn,
    ]

    @on("loss", LOSSES, ids=lambda f: f.__name__)
    @on("high", [True, False])
    def test_out_of_range_raises_or_gives_nan(self, loss: Any, high: bool, xp: Library) -> None:
        ranks = loss is tinyloss.corn  # there is one more than thresholds
        label = 3 + ranks if high else -100
        x = xp.asarray(np.random.default_rng(0).standard_normal((2, 2, 3)))
        y = xp.asarray([[0, 2], [label, 1]], "int32")
        if xp.sees_labels:
            with pytest.raises(ValueError, match=rf"^tinyloss\.{loss.__name__}: ") as error:
                xp.call(loss, x, y)
            assert f"y[1, 0] is {label}" in str(error.value)
            assert f"from 0 to {2 + ranks}" in str(error.value)
            assert ("ignore_index=-100" in str(error.value)) == (not high and not ranks)
            return

        def ask(x: Any, y: Any) -> Any:
            return everything(loss)(x, y), loss(x, y, reduction="none")

        result, items = xp.fetch(xp.call(ask, x, y))
        assert np.isnan(result["value"])
        grad = result["grads"][0]
        assert np.all(np.isnan(grad[1, 0]))
        assert np.all(np.isfinite(grad[[0, 0, 1], [0, 1, 1]]))
        assert np.isnan(items).tolist() == [[False, False], [True, False]]

    def test_hint_is_not_given_beside_an_ignore_index(self) -> None:
        with pytest.raises(ValueError, match="is -1") as error:
            tinyloss.cross_entropy(np.zeros((2, 3)), np.array([-100, -1]), ignore_index=-100)
        assert "leaves such items out" not in str(error.value)

    @on("xp", [n for n, lib in LIBRARIES.items() if not lib.sees_labels], indirect=True)
    @on(
        "options",
        [
            {},
            {"label_smoothing": 0.1},
            {"class_weight": np.array([1.0, 2.0, 3.0])},
            {"class_weight": np.array([1.0, 2.0, 0.0])},
        ],
    )
    def test_unseen_label_is_nan_with_every_option(self, options: Any, xp: Library) -> None:
        options = {k: xp.asarray(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
        x, y = xp.asarray(np.zeros((3, 3))), xp.asarray([0, 9, -1], "int32")
        value, grad = xp.call(anyloss.value_and_grad(tinyloss.cross_entropy), x, y, **options)
        assert np.isnan(xp.numpy(value))
        assert np.isnan(xp.numpy(grad)).all(axis=1).tolist() == [False, True, True]
        assert np.isnan(xp.numpy(grad)).any(axis=1).tolist() == [False, True, True]

    @pytest.mark.long
    @on("mode", ["always", "never"])
    @on("wrong", [-7, 3])
    def test_a_class_of_weight_0_hides_no_wrong_label(self, wrong: int, mode: Any) -> None:
        weights = np.array([0.0, 1.0, 0.0])
        with tinyloss_numpy.compilation(mode):
            for loss in (tinyloss.nll, tinyloss.cross_entropy):
                for y in ([0, 1], [0, 1], [wrong, 1]):  # the second finds the first settled
                    if wrong not in y:
                        loss(np.zeros((2, 3)), np.array(y), class_weight=weights)
                        continue
                    with pytest.raises(ValueError, match=rf"y\[0\] is {wrong}"):
                        loss(np.zeros((2, 3)), np.array(y), class_weight=weights)

    def test_position_in_unbatched_and_moved_classes(self) -> None:
        with pytest.raises(ValueError, match="y is 5, expected a class index from 0 to 2"):
            tinyloss.cross_entropy(np.zeros(3), 5)
        y = np.zeros((2, 4, 5), int)
        y[1, 2, 3] = 3
        with pytest.raises(ValueError, match=r"y\[1, 2, 3\] is 3.* along axis 1"):
            tinyloss.cross_entropy(np.zeros((2, 3, 4, 5)), y, axis=1)

    @with_x64
    def test_every_integer_dtype(self, xp: Library) -> None:
        x = np.random.default_rng(1).standard_normal((3, 3)).astype(np.float32)
        y = np.array([0, 2, 1])
        expected, gradient = anyloss.value_and_grad(tinyloss.cross_entropy)(x, y)
        # One trace serves them all: tracing is what takes long.
        labels = [xp.asarray(y, dtype) for dtype in xp.integers]

        def ask(x: Any, *labels: Any) -> Any:
            return tuple(anyloss.value_and_grad(tinyloss.cross_entropy)(x, y) for y in labels)

        for value, grad in xp.fetch(xp.call(ask, xp.asarray(x), *labels)):
            close32(value, expected)
            close32(grad, gradient)

    def test_boolean_labels(self, xp: Library) -> None:
        x = xp.asarray([[0.0, 1.0], [2.0, 0.0]])
        of_bool = xp.call(tinyloss.cross_entropy, x, xp.asarray([True, False]))
        of_int = xp.call(tinyloss.cross_entropy, x, xp.asarray([1, 0], "int32"))
        assert xp.numpy(of_bool) == xp.numpy(of_int)

    @on("dtype", ["uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"])
    def test_extreme_labels_are_out_of_range(self, dtype: str) -> None:
        for label in (np.iinfo(dtype).max, np.iinfo(dtype).min):
            if label == 0:
                continue
            with pytest.raises(ValueError, match=rf"y\[0\] is {label}, expected"):
                tinyloss.cross_entropy(np.zeros((1, 3)), np.array([label], dtype=dtype))

    @with_x64
    @on("label", [2**32, 2**32 + 1, -(2**32), 2**63 - 1])
    def test_wide_host_labels_do_not_wrap_around(self, label: int, xp: Library) -> None:
        x, y = xp.asarray(np.zeros((1, 3))), np.array([label])
        value: Any = NAN
        said = str(label)
        try:
            value = xp.numpy(xp.call(tinyloss.cross_entropy, x, y))
        except ValueError as error:
            said = str(error)
        except OverflowError:  # the library's own, of an integer that it has not
            pass
        assert np.isnan(value)
        assert str(label) in said

    def test_many_classes_with_narrow_labels(self) -> None:
        """257 is not a class that uint8 or bfloat16 could name: labels are cast to neither."""
        x = np.zeros((1, 300), dtype=ml_dtypes.bfloat16)
        x[0, 257] = 20
        assert tinyloss.cross_entropy(x, np.array([257], dtype=np.int16)) < 1e-3
        assert tinyloss.cross_entropy(x, np.array([255], dtype=np.uint8)) > 1

    @with_x64
    @on("dtype", ["uint8", "int8", "int64"])
    def test_ignore_index_beyond_the_dtype_ignores_nothing_else(
        self, dtype: str, xp: Library
    ) -> None:
        if dtype not in xp.integers:
            dtype = "int32"
        x = np.random.default_rng(2).standard_normal((2, 3)).astype(np.float32)
        indices, info = (255, -100, 2**40, -(2**40)), np.iinfo(dtype)
        labels = [np.array([0, i if info.min <= i <= info.max else 2]) for i in indices]

        def ask(x: Any, *labels: Any) -> Any:
            return tuple(
                tinyloss.cross_entropy(x, y, ignore_index=index)
                for y, index in zip(labels, indices, strict=True)
            )

        values = xp.call(ask, xp.asarray(x), *[xp.asarray(y, dtype) for y in labels])
        for value, y, index in zip(xp.fetch(values), labels, indices, strict=True):
            kept = y != index
            expected = tinyloss.cross_entropy(x[kept], y[kept])
            close32(value, expected)

    def test_never_looking(self, xp: Library) -> None:
        x, y = xp.asarray(np.zeros((2, 3))), xp.asarray([0, 3], "int32")
        with tinyloss.validation("never"):
            value, grad = xp.call(anyloss.value_and_grad(tinyloss.cross_entropy), x, y)
        assert np.isnan(xp.numpy(value))
        assert np.isfinite(xp.numpy(grad)).all(axis=1).tolist() == [True, False]

    def test_always_looking(self) -> None:
        lib = pytest.importorskip("array_api_strict")
        device = lib.Device("device1")
        x, y = lib.zeros((2, 3), device=device), lib.asarray([0, 3], device=device)
        assert bool(lib.isnan(tinyloss.cross_entropy(x, y)))
        with tinyloss.validation("always"), pytest.raises(ValueError, match=r"y\[1\] is 3"):
            tinyloss.cross_entropy(x, y)

    def test_always_looking_computes_a_lazy_array(self) -> None:
        da = pytest.importorskip("dask.array")
        x, y = da.zeros((2, 3)), da.asarray(np.array([0, 3]))
        with tinyloss.validation("always"), pytest.raises(ValueError, match=r"y\[1\] is 3"):
            tinyloss.cross_entropy(x, y)
        with tinyloss.validation("always"):
            assert tinyloss.cross_entropy(x, y % 3).compute() > 0

    def test_jax_sees_labels_under_grad_alone(self, jax: Any) -> None:
        x, y = jax.numpy.zeros((2, 3)), jax.numpy.asarray([0, 3])
        with pytest.raises(ValueError, match=r"y\[1\] is 3"):
            jax.grad(tinyloss.cross_entropy)(x, y)
        assert jax.numpy.isnan(jax.jit(jax.grad(tinyloss.cross_entropy))(x, y)).any()

    def test_unknown_mode_is_refused(self) -> None:
        mode: Any = "sometimes"
        match = r"tinyloss\.validation: .*'sometimes'"
        with pytest.raises(ValueError, match=match), tinyloss.validation(mode):
            pass

    def test_mode_is_restored(self) -> None:
        x, y = np.zeros((1, 3)), np.array([3])
        with tinyloss.validation("never"):
            with tinyloss.validation("auto"), pytest.raises(ValueError, match="is 3"):
                tinyloss.cross_entropy(x, y)
            assert np.isnan(tinyloss.cross_entropy(x, y))
        with pytest.raises(ValueError, match="is 3"):
            tinyloss.cross_entropy(x, y)


class TestRule9Dtypes:
    """Half precision is computed in float32, and nothing beside x and y widens a result."""

    @everywhere(x64=True)
    def test_integers_and_booleans_become_the_default_float(self, case: Case, xp: Library) -> None:
        host = [np.ones(each.shape, np.int32) for each in case.arrays]
        if case.loss.__name__ == "binary_cross_entropy":
            host[0][0] = 0
        integer = [xp.asarray(each) for each in host]
        floating = [xp.asarray(each, xp.default_float) for each in host]
        if case.y.dtype.kind == "i":
            floating[1] = integer[1]
        result = xp.call(everything(case.loss), *integer)
        expected = xp.call(everything(case.loss), *floating)
        for actual, right in (
            (result["value"], expected["value"]),
            (result["plain"], expected["plain"]),
            (result["grads"][0], expected["grads"][0]),
            (result["curvature"], expected["curvature"]),
        ):
            assert dtype_name(actual) == xp.default_float
            np.testing.assert_array_equal(xp.numpy(actual), xp.numpy(right))

    @on(
        "x,y,dtype",
        [
            ("float32", "float64", "float64"),
            ("float64", "float32", "float64"),
            ("float16", "float32", "float32"),
            ("float16", "float16", "float32"),
            ("float16", "float64", "float64"),
            ("bfloat16", "float16", "float32"),
            ("float32", "int64", "float32"),
            ("float32", "bool", "float32"),
            ("float16", "int32", "float32"),
            ("int32", "float32", "float64"),
            ("bool", "bool", "float64"),
        ],
    )
    def test_compute_dtype(self, x: str, y: str, dtype: str) -> None:
        plain = Library("numpy")
        a, b = plain.asarray([[0, 1, 1]], x), plain.asarray([[0, 1, 0]], y)
        value, (by_x, by_y) = anyloss.value_and_grad(tinyloss.mse, (0, 1))(a, b)
        assert dtype_name(value) == dtype
        assert dtype_name(by_x) == (x if "float" in x else dtype)
        assert dtype_name(by_y) == (y if "float" in y else dtype)
        assert tinyloss.cross_entropy(a, b).dtype == dtype

    @with_x64
    @on("name", ["weight", "denominator", "class_weight"])
    def test_weights_do_not_widen(self, name: str, xp: Library) -> None:
        x, y = xp.asarray(np.zeros((2, 3))), xp.asarray([0, 1], "int32")
        values = {"weight": [1.0, 2.0], "denominator": 2.0, "class_weight": [1.0, 2.0, 3.0]}[name]
        wide: list[Any] = [np.array(values), values]
        if "float64" in xp.floats:
            wide.append(xp.asarray(np.array(values), "float64"))
        for each in wide:
            value, grad = xp.call(
                anyloss.value_and_grad(tinyloss.cross_entropy), x, y, **{name: each}
            )
            assert dtype_name(value) == dtype_name(grad) == "float32"

    @with_x64
    def test_python_numbers_and_lists_do_not_widen(self, xp: Library) -> None:
        x = xp.asarray([1.0, 2.0])
        for y in ([0.5, 1.0], (0, 1), [True, False]):
            assert dtype_name(xp.call(tinyloss.mse, x, y)) == "float32"
        assert dtype_name(xp.call(tinyloss.gaussian_nll, x, x, 2.0)) == "float32"
        assert dtype_name(xp.call(tinyloss.mse, x[0], 2)) == "float32"

    def test_long_sums_of_half_precision(self, xp: Library) -> None:
        """float16 sums stop at 2048, bfloat16 ones at 256, and 300 squared overflows float16."""
        for dtype in set(xp.halves) & {"float16", "bfloat16"}:
            ones, zeros = xp.asarray(np.ones(8192), dtype), xp.asarray(np.zeros(8192), dtype)
            assert xp.numpy(xp.call(tinyloss.mae, ones, zeros, reduction="sum")) == 8192
            large = xp.asarray([304.0], dtype)
            assert xp.numpy(xp.call(tinyloss.mse, large, xp.asarray([0.0], dtype))) == 92416

    @on("function", ACTIVATIONS, ids=lambda f: f.__name__)
    def test_activations_keep_floating_dtypes(self, function: Any, xp: Library) -> None:
        wide = xp.call(function, xp.asarray([1.0, 0.5]))
        for dtype in xp.halves:
            half = xp.asarray([1.0, 0.5], dtype)
            result = xp.call(function, half)
            assert dtype_name(result) == dtype
            once = xp.numpy(xp.asarray(xp.numpy(wide), dtype))
            np.testing.assert_array_equal(xp.numpy(result), once)
        assert dtype_name(xp.call(function, xp.asarray([1, 0], "int32"))) == xp.default_float

    @on("dtype", ["bool", "int64", "uint8"])
    def test_one_hot_of_any_real_dtype(self, dtype: str) -> None:
        x = np.random.default_rng(0).standard_normal((3, 3)).astype(np.float32)
        y = np.eye(3)
        expected = tinyloss.cross_entropy(x, y.astype(np.float32))
        result = tinyloss.cross_entropy(x, y.astype(dtype))
        assert result.dtype == np.float32
        assert result == expected

    @on(
        "loss",
        [tinyloss.hinge, tinyloss.squared_hinge, tinyloss.soft_margin],
        ids=lambda f: f.__name__,
    )
    def test_boolean_sides(self, loss: Any, xp: Library) -> None:
        x = xp.asarray([0.3, -2.0])
        of_bool = xp.call(loss, x, xp.asarray([False, True]))
        signs = xp.call(loss, x, xp.asarray([-1.0, 1.0]))
        assert dtype_name(of_bool) == "float32"
        assert xp.numpy(of_bool) == xp.numpy(signs)
        assert xp.numpy(xp.call(loss, x, [False, True])) == xp.numpy(signs)


class TestRule10WhereResultsLive:
    """Results live where x does, whatever else comes from the host."""

    @on("give", [np.asarray, np.ndarray.tolist], ids=["numpy", "lists"])
    def test_labels_weights_and_masks_from_the_host(self, give: Any, xp: Library) -> None:
        x = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
        y, weight = np.array([0, 1, 2, 1]), np.array([1.0, 2.0, 0.5, 1.0])
        where = np.array([True, True, False, True])
        options = {
            "weight": give(weight),
            "where": give(where),
            "class_weight": give(np.array([1.0, 2.0, 3.0])),
        }
        value, grad = xp.call(
            anyloss.value_and_grad(tinyloss.cross_entropy), xp.asarray(x), give(y), **options
        )
        options["weight"] = weight
        expected, gradient = anyloss.value_and_grad(tinyloss.cross_entropy)(x, y, **options)
        close32(xp.numpy(value), expected)
        close32(xp.numpy(grad), gradient)

    @everywhere()
    def test_host_target_beside_any_library(self, case: Case, xp: Library) -> None:
        x = xp.asarray(case.x)
        more = [xp.asarray(each) for each in case.more]
        value = xp.call(case.loss, x, case.y, *more)
        assert dtype_name(value) == "float32"
        expected = case.loss(*case.arrays)
        close32(xp.numpy(value), expected)

    def test_pos_weight_and_variance_from_the_host(self, xp: Library) -> None:
        x, y = xp.asarray([[0.5, -1.0]]), xp.asarray([[1.0, 0.0]])
        loss: Any = tinyloss.binary_cross_entropy_with_logits
        assert xp.numpy(xp.call(loss, x, y, pos_weight=[2.0, 3.0])) == xp.numpy(
            xp.call(loss, x, y, pos_weight=xp.asarray([2.0, 3.0]))
        )
        assert xp.numpy(xp.call(tinyloss.gaussian_nll, x, y, 2)) == xp.numpy(
            xp.call(tinyloss.gaussian_nll, x, y, np.full((1, 2), 2.0))
        )

    @every_case
    def test_no_value_is_looked_at(self, case: Case, torch: Any) -> None:
        """A tensor on torch's device "meta" has no values: looking at one is an error."""
        arrays = [torch.asarray(each).to("meta") for each in case.arrays]
        options = {
            k: torch.asarray(v).to("meta") if isinstance(v, np.ndarray) else v
            for k, v in case.options.items()
        }
        weight = torch.ones(case.items, device="meta")
        result = everything(case.loss, case.argnums)(
            *arrays, **options, weight=weight, where=weight > 0
        )
        assert result["value"].shape == ()
        for n, grad in zip(case.argnums, result["grads"], strict=True):
            assert grad.shape == arrays[n].shape
            assert grad.device.type == "meta"

    def test_dask_keeps_chunks_and_unknown_lengths(self) -> None:
        da = pytest.importorskip("dask.array")
        x = np.random.default_rng(0).standard_normal((6, 3))
        y = np.array([0, 1, 2, 1, 0, 2])
        keep = np.array([True, False, True, True, False, True])
        lazy = da.from_array(x, chunks=(2, 3))
        assert anyloss.grad(tinyloss.cross_entropy)(lazy, y).chunks == lazy.chunks
        mask = da.from_array(keep, chunks=2)
        few, labels = lazy[mask], da.from_array(y, chunks=2)[mask]
        assert math.isnan(few.shape[0])
        value, grad = anyloss.value_and_grad(tinyloss.cross_entropy)(few, labels)
        expected, gradient = anyloss.value_and_grad(tinyloss.cross_entropy)(x[keep], y[keep])
        close(value.compute(), expected)
        close(grad.compute(), gradient)
