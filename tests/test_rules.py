"""The semantics of every loss: twelve rules, one class each, the same on every library."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinyloss
from tests.support.cases import CASES, FEW_CASES, Case, brought, every_case, in_pairs
from tests.support.compare import close as compared
from tests.support.libraries import LIBRARIES, Library, dtype_name, with_x64
from tests.support.params import turns
from tests.support.specs import ACTIVATIONS

# For losses chosen at run time, whose parameters no type checker can follow.
anyloss: Any = tinyloss

Floats = npt.NDArray[Any]

EPS = float(np.finfo(np.float64).eps)
NAN, INF = math.nan, math.inf
LABEL_CASES = [case for case in CASES if case.y.dtype.kind == "i"]
ROW_CASES = [case for case in CASES if case.rowwise and case.y.dtype.kind == "f"]

# One case of each loss, without options that change what an item weighs.
BASIC = {case.name: case for case in reversed(CASES) if not case.options}
basic_case = pytest.mark.parametrize("case", list(BASIC.values()), ids=list(BASIC))
on = pytest.mark.parametrize


def everywhere(*also: str, x64: bool = False) -> pytest.MarkDecorator:
    """Try every library: with every loss, or with a few where it is slow and not named here."""
    return in_pairs(
        [
            (name, case)
            for name, lib in LIBRARIES.items()
            if x64 or name != "jax:x64"
            for case in (FEW_CASES if lib.slow and name not in also else BASIC.values())
        ]
    )


# The same formulas, in another order of summation or after another rounding of a weight or divisor.
close = partial(compared, eps=16, why="the same formulas, summed or divided otherwise")
close32 = partial(close, dtype="float32")
# Autodiff adds and subtracts what a closed form cancels beforehand.
by_lines = partial(compared, eps=256, why="a dozen operations on terms ten times their sum")


def doubles(case: Case) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return brought(Library("numpy"), case, "float64")


def everything(loss: Any, argnums: tuple[int, ...] = (0,)) -> Callable[..., dict[str, Any]]:
    """Return a function that asks for value, gradients and curvature at once."""

    def ask(*arrays: Any, reduction: str = "mean", **options: Any) -> dict[str, Any]:
        value, grads = anyloss.value_and_grad(loss, argnums)(
            *arrays, reduction=reduction, **options
        )
        _, curvature = anyloss.grad_and_hess(loss)(*arrays, **options)
        plain = loss(*arrays, reduction=reduction, **options)
        return {"plain": plain, "value": value, "grads": grads, "curvature": curvature}

    return ask


def spoilt(case: Case, bad: float, item: tuple[int, ...]) -> tuple[Any, ...]:
    """Return the arrays of a case in float64 with `bad` in every place of one item."""
    arrays = [
        np.array(each, dtype=np.float64 if each.dtype.kind == "f" else None) for each in case.arrays
    ]
    for array in arrays:
        if array.dtype.kind != "f":
            continue
        place: tuple[Any, ...] = item
        if case.rowwise:
            axis = case.options.get("axis", -1) % array.ndim
            place = (*item[:axis], slice(None), *item[axis:])
        array[place] = bad
    return tuple(arrays)


class TestRule1Shapes:
    @on("shapes", [((3,), (3, 1)), ((3, 1), (3,)), ((3,), (1,)), ((2, 3), (3,)), ((), (1,))])
    @basic_case
    def test_x_and_y_never_broadcast(self, case: Case, shapes: Any) -> None:
        if case.rowwise:
            shapes = tuple((*shape, 3) for shape in shapes)
        x, y = (np.full(shape, 0.5) for shape in shapes)
        more = [x] * len(case.more)
        with pytest.raises(
            ValueError, match=rf"tinyloss\.{case.loss.__name__}: y has shape"
        ) as error:
            case.loss(x, y, *more)
        assert str(x.shape) in str(error.value)
        assert str(y.shape) in str(error.value)

    @on(
        "x,y,axis",
        [((4, 3), (3,), -1), ((4, 3), (4, 1), -1), ((4, 3), (4,), 0), ((3,), (3, 1), -1)],
    )
    def test_labels_have_the_shape_of_the_items(
        self, x: Any, y: Any, axis: int, xp: Library
    ) -> None:
        with pytest.raises(ValueError, match="y has shape") as error:
            xp.call(
                tinyloss.cross_entropy,
                xp.asarray(np.zeros(x)),
                xp.asarray(np.zeros(y, "i4")),
                axis=axis,
            )
        assert str(x) in str(error.value)
        assert str(y) in str(error.value)

    @basic_case
    def test_weight_and_where_broadcast_to_the_items(self, case: Case) -> None:
        arrays, _ = doubles(case)
        items = case.items
        for shape in [(), (1,), items[-1:], (*items[:-1], 1)]:
            weight = np.random.default_rng(1).uniform(0.5, 2, shape)
            where = weight > 1
            full = {
                "weight": np.broadcast_to(weight, items),
                "where": np.broadcast_to(where, items),
            }
            for reduction in ("mean", "sum", "none"):
                few = everything(case.loss)(
                    *arrays, weight=weight, where=where, reduction=reduction
                )
                many = everything(case.loss)(*arrays, **full, reduction=reduction)
                close(few["value"], many["value"])
                close(few["grads"][0], many["grads"][0])
                close(few["curvature"], many["curvature"])

    @on("name", ["weight", "where"])
    @on("shape", [(3, 1, 4), (5,), (4, 2)])
    def test_weight_and_where_do_not_widen_the_items(self, name: str, shape: Any) -> None:
        x = np.zeros((4, 3))
        with pytest.raises(ValueError, match=rf"tinyloss\.mse: {name} has shape \({shape[0]}"):
            anyloss.mse(x, x, **{name: np.ones(shape, dtype=bool)})

    def test_row_losses_are_weighed_by_the_row(self) -> None:
        x = np.zeros((4, 3))
        with pytest.raises(ValueError, match=r"weight has shape \(4, 3\).*\(4,\)"):
            tinyloss.cross_entropy(x, x, weight=np.ones((4, 3)))

    @everywhere()
    def test_zero_dimensional_and_unbatched_inputs(self, case: Case, xp: Library) -> None:
        arrays, _ = brought(xp, case, None)
        ask = everything(case.loss)
        whole = xp.call(ask, *arrays, reduction="none")
        first: Any = (0, ...) if case.rowwise else (0, 0)
        one = xp.call(ask, *[each[first if each.ndim > 1 else 0] for each in arrays])
        for name in ("value", "plain", "curvature"):
            close32(xp.numpy(one[name]), xp.numpy(whole[name])[first])
        close32(xp.numpy(one["grads"][0]), xp.numpy(whole["grads"][0])[first])
        assert one["value"].shape == ()

    @basic_case
    def test_one_class(self, case: Case) -> None:
        if not case.rowwise:
            return
        arrays = [np.ones((4, 1)) if each.ndim == 2 else np.zeros(4, int) for each in case.arrays]
        result = everything(case.loss)(*arrays)
        assert np.isfinite(result["value"])
        if case.loss.__name__ in ("cross_entropy", "softmax_focal", "kl_div_with_logits"):
            assert result["value"] == 0
            assert not np.any(result["grads"][0])
            assert not np.any(result["curvature"])

    @on("function", ACTIVATIONS, ids=lambda f: f.__name__)
    def test_activations_of_any_shape(self, function: Any) -> None:
        for shape in [(3,), (2, 3), (2, 1, 3), (0, 3)]:
            result = function(np.zeros(shape))
            assert result.shape == (shape[:-1] if function is tinyloss.logsumexp else shape)
        if function in (tinyloss.softplus, tinyloss.log_sigmoid):
            assert function(np.array(0.0)).shape == ()

    @on("axis", [0, 1, 2, 3, -1, -2, -3, -4])
    @on("kind", ["labels", "rows"])
    def test_classes_along_any_axis(self, axis: int, kind: str) -> None:
        rng = np.random.default_rng(0)
        x = rng.standard_normal((2, 3, 4, 5))
        y = np.abs(rng.standard_normal(x.shape))
        last = np.moveaxis(x, axis, -1), np.moveaxis(y, axis, -1)
        if kind == "labels":
            y = np.argmax(y, axis=axis)
            last = last[0], y
        weight = rng.uniform(0.5, 2, last[0].shape[:-1])
        result = everything(tinyloss.cross_entropy)(x, y, axis=axis, weight=weight)
        expected = everything(tinyloss.cross_entropy)(*last, weight=weight)
        close(result["value"], expected["value"])
        close(result["grads"][0], np.moveaxis(expected["grads"][0], -1, axis))
        close(result["curvature"], np.moveaxis(expected["curvature"], -1, axis))

    def test_images_with_the_classes_along_axis_1(self, xp: Library) -> None:
        x = np.random.default_rng(0).standard_normal((2, 3, 2, 2)).astype(np.float32)
        y = np.arange(8).reshape(2, 2, 2) % 3
        result = xp.call(
            anyloss.value_and_grad(tinyloss.cross_entropy),
            xp.asarray(x),
            xp.asarray(y, "int32"),
            axis=1,
        )
        p = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
        one_hot = np.moveaxis(np.eye(3)[y], -1, 1)
        close32(xp.numpy(result[0]), -np.log((p * one_hot).sum(axis=1)).mean())
        close32(xp.numpy(result[1]), (p - one_hot) / 8)


class TestRule2WeightedMean:
    @every_case
    def test_mean_is_the_weighted_sum_over_the_sum_of_weights(self, case: Case) -> None:
        arrays, options = doubles(case)
        rng = np.random.default_rng(3)
        weight, where = rng.uniform(0.1, 3, case.items), rng.uniform(size=case.items) > 0.3
        chosen = {**options, "weight": weight, "where": where}
        unweighted = case.loss(*arrays, **options, reduction="none")
        items = case.loss(*arrays, **chosen, reduction="none")
        total = case.loss(*arrays, **chosen, reduction="sum")
        mean = case.loss(*arrays, **chosen)
        w = np.where(where, weight, 0)
        close(items, unweighted * w)
        close(total, np.sum(unweighted * w))
        mass = w * self.class_weights(case)
        close(mean, np.sum(unweighted * w) / np.sum(mass))
        by_sum = anyloss.grad(case.loss)(*arrays, **chosen, reduction="sum")
        close(anyloss.grad(case.loss)(*arrays, **chosen), by_sum / np.sum(mass))
        close(anyloss.grad(case.loss)(*arrays, **chosen, reduction="none"), by_sum)
        close(anyloss.grad_and_hess(case.loss)(*arrays, **chosen)[0], by_sum)

    def class_weights(self, case: Case) -> Any:
        """Return what each item adds to the divisor, by the definition."""
        axis = case.options.get("axis", -1)
        y = np.moveaxis(case.y, axis, -1) if case.y.shape == case.x.shape else case.y
        mass: Any = np.ones(case.items)
        class_weight = case.options.get("class_weight")
        if class_weight is not None:
            labels = case.y.dtype.kind == "i"
            mass = class_weight[y] if labels else np.sum(class_weight.astype(float) * y, axis=-1)
        ignored = case.options.get("ignore_index")
        return mass if ignored is None else np.where(y == ignored, 0, mass)

    @on("loss", [tinyloss.cross_entropy, tinyloss.softmax_focal], ids=lambda f: f.__name__)
    @on("class_weight", [None, [0.5, 1.0, 2.5], [0.0, 1.0, 2.0]])
    @on("smoothing", [0.0, 0.3])
    def test_index_and_one_hot_targets_agree(
        self, loss: Any, class_weight: Any, smoothing: float
    ) -> None:
        if loss is tinyloss.softmax_focal and smoothing:
            return
        x = np.random.default_rng(4).standard_normal((5, 3))
        y = np.array([0, 2, 1, 1, 0])
        options = {"class_weight": class_weight} | (
            {"label_smoothing": smoothing} if smoothing else {}
        )
        weight = np.array([1.0, 2.0, 0.5, 0.0, 3.0])
        for reduction in ("mean", "sum", "none"):
            index = everything(loss)(x, y, weight=weight, reduction=reduction, **options)
            one_hot = everything(loss)(
                x, np.eye(3)[y], weight=weight, reduction=reduction, **options
            )
            close(one_hot["value"], index["value"])
            close(one_hot["grads"][0], index["grads"][0])
            close(one_hot["curvature"], index["curvature"])

    @on("kind", ["labels", "rows"])
    @on("impossible", [False, True])
    def test_smoothing_with_class_weights(self, kind: str, impossible: bool) -> None:
        rng = np.random.default_rng(5)
        x = rng.standard_normal((4, 3))
        if impossible:
            x[1, 2] = x[2, 0] = -INF
        y = np.array([0, 1, 2, 1])
        rows = np.eye(3)[y]
        if kind == "rows":
            rows = 0.75 * rows + 0.25 * np.eye(3)[[1, 0, 1, 0]]
        w, s, item = np.array([0.5, 1.0, 2.5]), 0.2, np.array([1.0, 2.0, 3.0, 0.5])
        result = everything(tinyloss.cross_entropy)(
            x, y if kind == "labels" else rows, class_weight=w, label_smoothing=s, weight=item
        )
        # The formula written out, a class at a time.
        total, mass, gradient = 0.0, 0.0, np.zeros((4, 3))
        for n in range(4):
            possible = x[n] > -INF
            p = np.where(possible, np.exp(x[n]), 0) / np.exp(x[n][possible]).sum()
            q = w * ((1 - s) * rows[n] + np.where(possible, s / possible.sum(), 0))
            total += item[n] * sum(q[c] * -np.log(p[c]) for c in range(3) if possible[c])
            mass += item[n] * sum(w[c] * rows[n, c] for c in range(3))
            gradient[n] = item[n] * (p * q.sum() - q)
        close(result["value"], total / mass)
        close(result["grads"][0], gradient / mass)

    @everywhere()
    def test_denominator_replaces_the_divisor(self, case: Case, xp: Library) -> None:
        arrays, _ = brought(xp, case, None)
        ask = anyloss.value_and_grad(case.loss)

        def all_of_them(*arrays: Any, **sevens: Any) -> Any:
            divided = [ask(*arrays, denominator=n) for n in (7, 7.0, *sevens.values())]
            return ask(*arrays, reduction="sum"), *divided

        sevens = {"a": xp.asarray(np.array(7.0)), "b": xp.asarray(np.array(7))}
        (total, grad), *divided = xp.fetch(xp.call(all_of_them, *arrays, **sevens))
        for value, by_x in divided:
            close32(value, total / 7)
            close32(by_x, grad / 7)

    def test_denominator_makes_accumulated_batches_equal_to_one(self) -> None:
        rng = np.random.default_rng(6)
        x, y, weight = rng.standard_normal((9, 3)), rng.integers(0, 3, 9), rng.uniform(0, 2, 9)
        whole = tinyloss.cross_entropy(x, y, weight=weight)
        parts = [slice(0, 2), slice(2, 7), slice(7, 9)]
        n = float(weight.sum())
        close(
            sum(tinyloss.cross_entropy(x[p], y[p], weight=weight[p], denominator=n) for p in parts),
            whole,
        )

    def test_scale_of_weights_does_not_matter_to_the_mean(self) -> None:
        x, y, w = np.array([1.0, 5.0]), np.zeros(2), np.array([3.0, 1.0])
        for scale in (1e-30, 1e-3, 1e30):
            close(tinyloss.mse(x, y, weight=w * scale), tinyloss.mse(x, y, weight=w))


class TestRule3Selecting:
    @every_case
    @on("bad", [NAN, INF, -INF])
    @on("how", ["where", "weight", "both"])
    def test_unselected_nan_and_inf_leak_nowhere(self, case: Case, bad: float, how: str) -> None:
        item = tuple(n - 1 for n in case.items)
        clean, options = doubles(case)
        dirty = spoilt(case, bad, item)
        weight = np.random.default_rng(7).uniform(0.5, 2, case.items)
        where = np.ones(case.items, dtype=bool)
        if how in ("where", "both"):
            where[item] = False
        if how in ("weight", "both"):
            weight[item] = 0
        if how == "both":
            weight[item] = NAN
        chosen = {**options, "weight": weight, "where": where}
        for reduction in ("mean", "sum", "none"):
            expected = everything(case.loss, case.argnums)(*clean, **chosen, reduction=reduction)
            result = everything(case.loss, case.argnums)(*dirty, **chosen, reduction=reduction)
            for name in ("plain", "value", "curvature"):
                np.testing.assert_array_equal(result[name], expected[name])
            for actual, right in zip(result["grads"], expected["grads"], strict=True):
                np.testing.assert_array_equal(actual, right)
            assert not np.any(np.moveaxis(result["curvature"], self.axis(case), -1)[item])

    def axis(self, case: Case) -> int:
        return case.options.get("axis", -1) if case.rowwise else -1

    @everywhere("jax:jit")
    def test_unselected_nan_leaks_nowhere_on_every_library(self, case: Case, xp: Library) -> None:
        item = tuple(n - 1 for n in case.items)
        where = np.ones(case.items, dtype=bool)
        where[item] = False
        dirty = [xp.asarray(each) for each in spoilt(case, NAN, item)]
        result = xp.call(everything(case.loss, case.argnums), *dirty, where=xp.asarray(where))
        result = xp.fetch(result)
        for each in (result["plain"], result["value"], *result["grads"], result["curvature"]):
            assert np.all(np.isfinite(each))

    @on("case", LABEL_CASES, ids=lambda case: case.name)
    def test_unselected_labels_may_be_anything(self, case: Case) -> None:
        item = tuple(n - 1 for n in case.items)
        (x, y), options = doubles(case)
        where = np.ones(case.items, dtype=bool)
        where[item] = False
        wrong = y.copy()
        wrong[item] = -100
        expected = everything(case.loss)(x, y, **options, where=where)
        result = everything(case.loss)(x, wrong, **options, where=where)
        np.testing.assert_array_equal(result["value"], expected["value"])
        np.testing.assert_array_equal(result["grads"][0], expected["grads"][0])

    @on(
        "loss,index",
        [
            (tinyloss.cross_entropy, -100),
            (tinyloss.cross_entropy, 1),
            (tinyloss.cross_entropy, 7),
            (tinyloss.nll, -100),
            (tinyloss.softmax_focal, -100),
        ],
    )
    def test_ignored_rows_contribute_nothing(self, loss: Any, index: int, xp: Library) -> None:
        x = np.random.default_rng(8).standard_normal((4, 3)).astype(np.float32)
        x[2] = NAN
        y = np.array([0, 2, index, 0], dtype=np.int32)
        ask = everything(loss)
        result = xp.fetch(xp.call(ask, xp.asarray(x), xp.asarray(y), ignore_index=index))
        expected = ask(x[[0, 1, 3]].astype(float), y[[0, 1, 3]])
        close32(result["value"], expected["value"])
        close32(result["grads"][0][[0, 1, 3]], expected["grads"][0])
        assert not np.any(result["grads"][0][2])
        assert not np.any(result["curvature"][2])

    def test_class_weight_of_0_leaves_the_row_out(self) -> None:
        x = np.array([[1.0, 2.0], [NAN, 0.0]])
        value, grad = anyloss.value_and_grad(tinyloss.cross_entropy)(
            x, np.array([0, 1]), class_weight=[1.0, 0.0]
        )
        close(value, tinyloss.cross_entropy(x[0], 0))
        assert np.all(np.isfinite(grad))

    @on("reduction", ["mean", "sum"])
    @every_case
    def test_torch_autograd_sees_no_unselected_nan(
        self, case: Case, reduction: str, torch: Any
    ) -> None:
        item = tuple(n - 1 for n in case.items)
        weight = np.random.default_rng(9).uniform(0.5, 2, case.items)
        weight[item] = 0
        options = {
            k: torch.asarray(v) if isinstance(v, np.ndarray) else v for k, v in case.options.items()
        }
        arrays = [torch.asarray(each) for each in spoilt(case, NAN, item)]
        for n in case.argnums:
            arrays[n].requires_grad_()
        chosen = {**options, "weight": torch.asarray(weight), "reduction": reduction}
        case.loss(*arrays, **chosen).backward()
        ours = anyloss.grad(case.loss, case.argnums)(*[each.detach() for each in arrays], **chosen)
        for n, expected in zip(case.argnums, ours, strict=True):
            by_lines(arrays[n].grad.numpy(), expected.numpy())

    @on("case", turns(list(BASIC.values()), 5), ids=lambda case: case.name)
    def test_jax_autodiff_sees_no_unselected_nan(self, case: Case, jax: Any) -> None:
        item = tuple(n - 1 for n in case.items)
        weight = np.random.default_rng(9).uniform(0.5, 2, case.items)
        weight[item] = 0
        arrays, chosen = spoilt(case, NAN, item), {**case.options, "weight": weight}
        native = jax.jit(lambda *arrays: jax.grad(case.loss, case.argnums)(*arrays, **chosen))
        ours = anyloss.grad(case.loss, case.argnums)(*arrays, **chosen)
        for each, expected in zip(native(*arrays), ours, strict=True):
            by_lines(each, expected)


class TestNativeAutodiff:
    """Beside the closed forms: the plain functions under torch's and JAX's own autodiff.

    At the points where a library's own abs, max and maximum have a kink that the loss has not, the
    gradient is the loss's nevertheless: all-zero logits are where training starts.
    """

    SMOOTH: ClassVar[list[tuple[Any, Any, Any]]] = [
        (tinyloss.cross_entropy, [[0.0, 0.0]], [0]),
        (tinyloss.cross_entropy, [[0.0, 0.0, 0.0], [1.0, 1.0, 0.0]], [2, 1]),
        (tinyloss.cross_entropy, [[0.0, 0.0]], [[0.25, 0.75]]),
        (tinyloss.cross_entropy, [[0.0, -INF, 1.0]], [0]),
        (tinyloss.cross_entropy, [[0.0, -INF, 1.0]], [[0.5, 0.0, 0.5]]),
        (tinyloss.softmax_focal, [[0.0, 0.0]], [0]),
        (tinyloss.softmax_focal, [[0.0, 0.0]], [[0.25, 0.75]]),
        (tinyloss.kl_div_with_logits, [[0.0, 0.0]], [[0.0, 0.0]]),
        (tinyloss.kl_div_with_logits, [[0.0, 0.0]], [[1.0, 0.0]]),
        (tinyloss.kl_div_with_logits, [[0.0, 0.5]], [[1.0, 1.0]]),
        (tinyloss.js_div, [[0.5, 0.5]], [[0.5, 0.5]]),
        (tinyloss.kl_div, [[-1.0, -2.0]], [[0.0, 1.0]]),
        (tinyloss.binary_cross_entropy_with_logits, [0.0, 0.0, 0.0], [0.0, 1.0, 0.3]),
        (tinyloss.sigmoid_focal, [0.0, 0.0, 0.0], [0.0, 1.0, 0.3]),
        (tinyloss.binary_cross_entropy, [0.5, 0.5, 0.25], [0.0, 1.0, 0.25]),
        (tinyloss.soft_margin, [0.0, 0.0], [-1.0, 1.0]),
        (tinyloss.squared_hinge, [1.0, -1.0], [1.0, -1.0]),
        (tinyloss.log_cosh, [0.0, 2.0], [0.0, 2.0]),
        (tinyloss.msle, [1.0, 0.0], [1.0, 0.0]),
        (tinyloss.huber, [0.0, 1.0], [0.0, 0.0]),
        (tinyloss.smooth_l1, [0.0, 1.0], [0.0, 0.0]),
        (tinyloss.poisson_nll, [0.0, 1.0], [0.0, 1.0]),
    ]
    KINKED: ClassVar[list[tuple[Any, Any, Any]]] = [
        (tinyloss.mae, [1.0, 0.0], [1.0, 0.0]),
        (tinyloss.quantile, [1.0, 0.0], [1.0, 0.0]),
        (tinyloss.mape, [1.0, 2.0], [1.0, 2.0]),
        (tinyloss.hinge, [1.0, -1.0], [1.0, -1.0]),
    ]
    POINTS: ClassVar[list[tuple[Any, Any, Any]]] = [*SMOOTH, *KINKED]
    IDS: ClassVar[list[str]] = [f"{loss.__name__}-{x}" for loss, x, _ in POINTS]

    @every_case
    def test_torch_backward(self, case: Case, torch: Any) -> None:
        options = {
            k: torch.asarray(v) if isinstance(v, np.ndarray) else v for k, v in case.options.items()
        }
        arrays = [
            torch.asarray(each).double() if each.dtype.kind == "f" else torch.asarray(each)
            for each in case.arrays
        ]
        for n in case.argnums:
            arrays[n].requires_grad_()
        case.loss(*arrays, **options).backward()
        ours = anyloss.grad(case.loss, case.argnums)(*[each.detach() for each in arrays], **options)
        for n, expected in zip(case.argnums, ours, strict=True):
            by_lines(arrays[n].grad.numpy(), expected.numpy())

    @on("loss,x,y", POINTS, ids=IDS)
    def test_torch_backward_where_torch_has_kinks(
        self, loss: Any, x: Any, y: Any, torch: Any
    ) -> None:
        tensor = torch.asarray(np.array(x)).requires_grad_()
        loss(tensor, torch.asarray(np.array(y))).backward()
        by_lines(tensor.grad.numpy(), anyloss.grad(loss)(np.array(x), np.array(y)))

    @on("loss,x,y", turns(POINTS, 5, IDS))
    def test_jax_grad_where_jax_has_kinks(self, loss: Any, x: Any, y: Any, jax: Any) -> None:
        native = jax.jit(jax.grad(loss))(jax.numpy.asarray(x), jax.numpy.asarray(y))
        by_lines(native, anyloss.grad(loss)(np.array(x), np.array(y)))

    def test_jax_vmap(self, jax: Any) -> None:
        x = jax.numpy.asarray(np.random.default_rng(0).standard_normal((4, 3)))
        y = jax.numpy.asarray([0, 2, 1, 0])
        each = jax.vmap(anyloss.value_and_grad(tinyloss.cross_entropy))(x, y)
        value, grad = anyloss.value_and_grad(tinyloss.cross_entropy)(x, y, reduction="none")
        close(each[0], value)
        close(each[1], grad)


class TestRule4NothingSelected:
    @everywhere()
    @on("how", ["where", "weight"])
    def test_all_masked_is_0(self, case: Case, how: str, xp: Library) -> None:
        arrays, _ = brought(xp, case, None)
        kept = xp.asarray(np.zeros(case.items, dtype=bool if how == "where" else np.float32))
        self.assert_zero(case, xp, arrays, {how: kept})

    @everywhere()
    def test_empty_batch_is_0(self, case: Case, xp: Library) -> None:
        arrays, _ = brought(xp, case, None)
        self.assert_zero(case, xp, tuple(each[:0, ...] for each in arrays), {})

    def test_all_ignored_is_0(self, xp: Library) -> None:
        x, y = xp.asarray(np.full((2, 3), NAN)), xp.asarray(np.full(2, -100), "int32")
        case = next(case for case in LABEL_CASES if not case.options)
        self.assert_zero(case, xp, (x, y), {"ignore_index": -100})

    def assert_zero(self, case: Case, xp: Library, arrays: Any, options: Any) -> None:
        def ask(*arrays: Any, **options: Any) -> Any:
            mean = everything(case.loss, case.argnums)(*arrays, **options)
            return mean, everything(case.loss, case.argnums)(*arrays, **options, reduction="sum")

        for result in xp.fetch(xp.call(ask, *arrays, **options)):
            assert result["value"] == 0
            assert result["plain"] == 0
            for n, grad in zip(case.argnums, result["grads"], strict=True):
                assert grad.shape == arrays[n].shape
                assert not np.any(grad)
            assert not np.any(result["curvature"])

    @on("denominator", [3, 3.0])
    def test_empty_batch_with_a_denominator_is_0(self, denominator: Any) -> None:
        x = np.zeros((0, 3))
        assert tinyloss.mse(x, x, denominator=denominator) == 0

    @on("case", ROW_CASES, ids=lambda case: case.name)
    def test_zero_classes_is_an_error(self, case: Case) -> None:
        x = np.zeros((2, 0))
        with pytest.raises(ValueError, match=rf"tinyloss\.{case.loss.__name__}: .*\(2, 0\)"):
            case.loss(x, x)

    @on("function", [tinyloss.softmax, tinyloss.log_softmax, tinyloss.logsumexp])
    def test_activation_of_zero_classes_is_an_error(self, function: Any) -> None:
        with pytest.raises(ValueError, match=rf"tinyloss\.{function.__name__}: .*\(2, 0\)"):
            function(np.zeros((2, 0)))


class TestRule5Labels:
    LOSSES: ClassVar[list[Any]] = [tinyloss.cross_entropy, tinyloss.nll, tinyloss.softmax_focal]

    @on("loss", LOSSES, ids=lambda f: f.__name__)
    @on("label", [3, -100])
    def test_out_of_range_raises_or_gives_nan(self, loss: Any, label: int, xp: Library) -> None:
        x = xp.asarray(np.random.default_rng(0).standard_normal((2, 2, 3)))
        y = xp.asarray([[0, 2], [label, 1]], "int32")
        if xp.sees_labels:
            with pytest.raises(ValueError, match=rf"^tinyloss\.{loss.__name__}: ") as error:
                xp.call(loss, x, y)
            assert f"y[1, 0] is {label}" in str(error.value)
            assert "from 0 to 2" in str(error.value)
            assert ("ignore_index=-100" in str(error.value)) == (label == -100)
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

    @on("options", [{}, {"label_smoothing": 0.1}, {"class_weight": np.array([1.0, 2.0, 3.0])}])
    def test_unseen_label_is_nan_with_every_option(self, options: Any, xp: Library) -> None:
        if xp.sees_labels:
            return
        options = {k: xp.asarray(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
        x, y = xp.asarray(np.zeros((3, 3))), xp.asarray([0, 9, -1], "int32")
        value, grad = xp.call(anyloss.value_and_grad(tinyloss.cross_entropy), x, y, **options)
        assert np.isnan(xp.numpy(value))
        assert np.isnan(xp.numpy(grad)).all(axis=1).tolist() == [False, True, True]
        assert np.isnan(xp.numpy(grad)).any(axis=1).tolist() == [False, True, True]

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
        try:
            value = xp.call(tinyloss.cross_entropy, x, y)
        except (ValueError, OverflowError):
            return
        assert np.isnan(xp.numpy(value))

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


class TestRule6Infinities:
    TABLE: ClassVar[list[tuple[Any, Any, Any, float]]] = [
        (tinyloss.cross_entropy, [0.0, -INF, 0.0], 0, math.log(2)),
        (tinyloss.cross_entropy, [0.0, -INF, 0.0], [0.5, 0.0, 0.5], math.log(2)),
        (tinyloss.cross_entropy, [0.0, -INF, -INF], 0, 0.0),
        (tinyloss.cross_entropy, [0.0, -INF, -INF], [1.0, 0.0, 0.0], 0.0),
        (tinyloss.cross_entropy, [0.0, -INF], 1, INF),
        (tinyloss.cross_entropy, [0.0, -INF], [0.5, 0.5], INF),
        (tinyloss.cross_entropy, [0.0, INF], 0, NAN),
        (tinyloss.cross_entropy, [0.0, INF], 1, NAN),
        (tinyloss.cross_entropy, [0.0, INF], [0.0, 1.0], NAN),
        (tinyloss.cross_entropy, [-INF, -INF], 0, NAN),
        (tinyloss.cross_entropy, [-INF, -INF], [0.5, 0.5], NAN),
        (tinyloss.cross_entropy, [0.0, NAN], 0, NAN),
        (tinyloss.cross_entropy, [0.0, 0.0], [NAN, 1.0], NAN),
        (tinyloss.softmax_focal, [0.0, -INF, 0.0], 0, 0.25 * math.log(2)),
        (tinyloss.softmax_focal, [0.0, -INF, 0.0], [0.5, 0.0, 0.5], 0.25 * math.log(2)),
        (tinyloss.softmax_focal, [0.0, -INF], 0, 0.0),
        (tinyloss.softmax_focal, [0.0, -INF], 1, INF),
        (tinyloss.softmax_focal, [0.0, INF], 1, NAN),
        (tinyloss.softmax_focal, [-INF, -INF], 0, NAN),
        (tinyloss.nll, [-INF, -1.0], 1, 1.0),
        (tinyloss.nll, [-INF, -1.0], 0, INF),
        (tinyloss.kl_div, [-INF, 0.0], [0.0, 1.0], 0.0),
        (tinyloss.kl_div, [-INF, 0.0], [0.5, 0.5], INF),
        (tinyloss.kl_div, [0.0, 0.0], [NAN, 0.5], NAN),
        (tinyloss.kl_div_with_logits, [-INF, 0.0], [-INF, 0.0], 0.0),
        (tinyloss.kl_div_with_logits, [0.0, 0.0], [-INF, 0.0], math.log(2)),
        (tinyloss.kl_div_with_logits, [-INF, 0.0], [0.0, 0.0], INF),
        (tinyloss.kl_div_with_logits, [INF, 0.0], [0.0, 0.0], NAN),
        (tinyloss.kl_div_with_logits, [-INF, -INF], [0.0, 0.0], NAN),
        (tinyloss.kl_div_with_logits, [0.0, 0.0], [-INF, -INF], NAN),
        (tinyloss.js_div, [0.0, 1.0], [0.0, 1.0], 0.0),
        (tinyloss.js_div, [0.0, 1.0], [1.0, 0.0], math.log(2)),
        (tinyloss.binary_cross_entropy_with_logits, INF, 1.0, 0.0),
        (tinyloss.binary_cross_entropy_with_logits, -INF, 0.0, 0.0),
        (tinyloss.binary_cross_entropy_with_logits, INF, 0.0, INF),
        (tinyloss.binary_cross_entropy_with_logits, -INF, 1.0, INF),
        (tinyloss.binary_cross_entropy_with_logits, INF, 0.5, INF),
        (tinyloss.binary_cross_entropy_with_logits, NAN, 1.0, NAN),
        (tinyloss.sigmoid_focal, INF, 1.0, 0.0),
        (tinyloss.sigmoid_focal, -INF, 0.0, 0.0),
        (tinyloss.sigmoid_focal, INF, 0.0, INF),
        (tinyloss.sigmoid_focal, -INF, 1.0, INF),
        (tinyloss.soft_margin, INF, 1.0, 0.0),
        (tinyloss.soft_margin, INF, -1.0, INF),
        (tinyloss.hinge, INF, 1.0, 0.0),
        (tinyloss.hinge, INF, -1.0, INF),
        (tinyloss.squared_hinge, INF, 1.0, 0.0),
        (tinyloss.log_cosh, INF, 0.0, INF),
        (tinyloss.huber, -INF, 0.0, INF),
        (tinyloss.poisson_nll, -INF, 0.0, 0.0),
        (tinyloss.poisson_nll, -INF, 1.0, INF),
        (tinyloss.msle, -1.5, 0.0, NAN),
        (tinyloss.msle, -1.0, 0.0, INF),
    ]

    @on("loss", list(dict.fromkeys(row[0] for row in TABLE)), ids=lambda f: f.__name__)
    def test_value_at_infinity(self, loss: Any, xp: Library) -> None:
        rows = [row[1:] for row in self.TABLE if row[0] is loss]
        arrays: list[Any] = []
        for x, y, _ in rows:
            arrays += [xp.asarray(x), xp.asarray(y, "int32" if isinstance(y, int) else None)]

        def ask(*arrays: Any) -> Any:
            return tuple(loss(x, y) for x, y in zip(arrays[::2], arrays[1::2], strict=True))

        values = np.array(xp.fetch(xp.call(ask, *arrays)))
        expected = [row[2] for row in rows]
        np.testing.assert_allclose(values, expected, rtol=4 * float(np.finfo(np.float32).eps))

    @on(
        "loss,x,y",
        [row[:3] for row in TABLE if math.isfinite(row[3]) and row[0] is not tinyloss.js_div],
    )
    def test_gradient_is_finite_where_the_value_is(self, loss: Any, x: Any, y: Any) -> None:
        grad, curvature = anyloss.grad_and_hess(loss)(np.array(x), np.array(y))
        assert np.all(np.isfinite(grad))
        assert np.all(np.isfinite(curvature))

    @on("kind", ["labels", "rows"])
    @on("loss", [tinyloss.cross_entropy, tinyloss.softmax_focal], ids=lambda f: f.__name__)
    def test_masked_class_is_as_if_it_were_not_there(self, kind: str, loss: Any) -> None:
        rng = np.random.default_rng(3)
        few = rng.standard_normal((4, 3))
        y: Any = np.array([0, 1, 2, 1])
        more = np.insert(few, 3, -INF, axis=1)
        y_more: Any = y
        if kind == "rows":
            y = rng.uniform(0, 1, (4, 3))
            y_more = np.insert(y, 3, 0.0, axis=1)
        options = {"label_smoothing": 0.2} if loss is tinyloss.cross_entropy else {}
        argnums = (0, 1) if kind == "rows" else (0,)
        result = everything(loss, argnums)(more, y_more, **options)
        expected = everything(loss, argnums)(few, y, **options)
        close(result["value"], expected["value"])
        for actual, right in zip(result["grads"], expected["grads"], strict=True):
            close(actual[:, :3], right)
            assert not np.any(actual[:, 3])
        close(result["curvature"][:, :3], expected["curvature"])
        assert not np.any(result["curvature"][:, 3])

    def test_smoothing_over_the_only_possible_class_is_certain(self) -> None:
        x = np.array([-INF, 3.0, -INF])
        value, grad = anyloss.value_and_grad(tinyloss.cross_entropy)(x, 1, label_smoothing=0.5)
        assert value == 0
        assert grad.tolist() == [0, 0, 0]

    @every_case
    @on("argument", [0, 1])
    def test_nan_propagates(self, case: Case, argument: int) -> None:
        arrays, options = doubles(case)
        arrays = tuple(each.copy() for each in arrays)
        if arrays[argument].dtype.kind != "f":
            return
        options = {k: v for k, v in options.items() if k != "ignore_index"}
        place: Any = (0,) * arrays[argument].ndim
        loss = case.loss.__name__
        if loss == "nll":  # only the target's class counts
            place = (0, case.y[0])
        arrays[argument][place] = NAN
        items, grad = anyloss.value_and_grad(case.loss)(*arrays, **options, reduction="none")
        assert np.isnan(items).sum() == 1
        assert np.isnan(items[(0,) * items.ndim])
        assert np.isnan(case.loss(*arrays, **options))
        if loss == "nll" or (loss == "kl_div" and argument == 0):
            return  # linear in x
        assert np.isnan(grad[place])

    @on("function", ACTIVATIONS, ids=lambda f: f.__name__)
    def test_activations_at_infinity(self, function: Any, xp: Library) -> None:
        rows: dict[str, list[tuple[Any, Any]]] = {
            "softmax": [
                ([0, -INF, 0], [0.5, 0, 0.5]),
                ([-INF, -INF], [NAN, NAN]),
                ([INF, 0], [NAN, NAN]),
            ],
            "log_softmax": [
                ([0, -INF], [0, -INF]),
                ([-INF, -INF], [NAN, NAN]),
                ([INF, 0], [NAN, NAN]),
            ],
            "logsumexp": [
                ([0, -INF], 0),
                ([-INF, -INF], -INF),
                ([INF, 0], INF),
                ([INF, -INF], INF),
                ([NAN, INF], NAN),
            ],
            "softplus": [([INF, -INF, NAN], [INF, 0, NAN])],
            "log_sigmoid": [([INF, -INF, NAN], [0, -INF, NAN])],
        }
        arrays = [xp.asarray(np.array(x, np.float32)) for x, _ in rows[function.__name__]]
        results = xp.fetch(xp.call(lambda *arrays: tuple(map(function, arrays)), *arrays))
        for result, (_, expected) in zip(results, rows[function.__name__], strict=True):
            np.testing.assert_array_equal(result, np.array(expected, dtype=np.float32))

    def test_negative_zero_is_zero(self) -> None:
        for case in BASIC.values():
            arrays, _ = doubles(case)
            zeros = [np.zeros_like(each) for each in arrays]
            negative = [-each if each.dtype.kind == "f" else each for each in zeros]
            result, expected = everything(case.loss)(*negative), everything(case.loss)(*zeros)
            np.testing.assert_array_equal(result["value"], expected["value"])
            np.testing.assert_array_equal(result["grads"][0], expected["grads"][0])
            np.testing.assert_array_equal(result["curvature"], expected["curvature"])


class TestRule7BinaryCrossEntropyOfProbabilities:
    @with_x64
    @on("dtype", ["float32", "float64"])
    @on("p,y", [(0.0, 1.0), (1.0, 0.0)])
    def test_wrong_certainty_is_floored_at_the_smallest_normal(
        self, p: float, y: float, dtype: str, xp: Library
    ) -> None:
        if dtype not in xp.floats:
            return
        tiny = float(np.finfo(dtype).smallest_normal)
        value, grad = xp.call(
            anyloss.value_and_grad(tinyloss.binary_cross_entropy),
            xp.asarray([p], dtype),
            xp.asarray([y], dtype),
        )
        eps = 4 * float(np.finfo(dtype).eps)
        np.testing.assert_allclose(xp.numpy(value), -math.log(tiny), rtol=eps)
        np.testing.assert_allclose(xp.numpy(grad), [(1 if p else -1) / tiny], rtol=eps)

    @on("p", [0.0, 1.0])
    def test_right_certainty_costs_nothing(self, p: float, xp: Library) -> None:
        result = xp.call(
            everything(tinyloss.binary_cross_entropy), xp.asarray([p, p]), xp.asarray([p, p])
        )
        assert xp.numpy(result["value"]) == 0
        np.testing.assert_array_equal(xp.numpy(result["grads"][0]), np.full(2, 0.5 - p))
        np.testing.assert_array_equal(xp.numpy(result["curvature"]), [1, 1])

    @on("p", [0.0, 5e-324, 1e-310, 1e-300, 0.25, 0.5, 1 - 2**-53, 1.0])
    @on("y", [0.0, 0.3, 1.0])
    def test_finite_everywhere(self, p: float, y: float) -> None:
        value, grad = anyloss.value_and_grad(tinyloss.binary_cross_entropy, (0, 1))(
            np.array(p), np.array(y)
        )
        assert np.isfinite(value)
        assert np.isfinite(grad[0])
        assert np.isfinite(grad[1])

    def test_other_eps_clips(self) -> None:
        x, y = np.array([0.0, 1.0, 1e-8, 0.5]), np.array([1.0, 0.0, 1.0, 1.0])
        result = tinyloss.binary_cross_entropy(x, y, eps=1e-7, reduction="none")
        close(result, -np.log([1e-7, 1e-7, 1e-7, 0.5]))
        grad = anyloss.grad(tinyloss.binary_cross_entropy)(x, y, eps=1e-7, reduction="none")
        close(grad, [-1e7, 1e7, -1e7, -2])

    @on("p", [-0.1, 1.1, INF, -INF, NAN])
    def test_no_probability_is_nan(self, p: float) -> None:
        value, grad = anyloss.value_and_grad(tinyloss.binary_cross_entropy)(
            np.array([p]), np.array([1.0])
        )
        assert np.isnan(value)
        assert np.isnan(grad[0])

    @on("dtype", ["float16", "bfloat16"])
    def test_floor_is_that_of_the_compute_dtype(self, dtype: str) -> None:
        x = Library("numpy").asarray([0.0], dtype)
        value = tinyloss.binary_cross_entropy(x, np.array([1]))
        assert value == tinyloss.binary_cross_entropy(np.zeros(1, np.float32), np.array([1]))


class TestRule8Kinks:
    @on(
        "loss,x,y,options",
        [
            (tinyloss.mae, 2.0, 2.0, {}),
            (tinyloss.quantile, 2.0, 2.0, {"q": 0.9}),
            (tinyloss.mape, 2.0, 2.0, {}),
            (tinyloss.hinge, 1.0, 1.0, {}),
            (tinyloss.hinge, -1.0, -1.0, {}),
            (tinyloss.squared_hinge, 1.0, 1.0, {}),
            (tinyloss.smooth_l1, 2.0, 2.0, {"beta": 0}),
        ],
    )
    def test_derivative_at_the_kink_is_0(
        self, loss: Any, x: float, y: float, options: Any, xp: Library
    ) -> None:
        ask = anyloss.value_and_grad(loss, (0, 1))
        value, grads = xp.fetch(xp.call(ask, xp.asarray([x]), xp.asarray([y]), **options))
        assert value == 0
        for grad in grads:
            assert grad.tolist() == [0]

    @on("loss", [tinyloss.mae, tinyloss.quantile, tinyloss.mape, tinyloss.hinge])
    def test_docstring_says_so(self, loss: Any) -> None:
        assert "0 at the kink" in loss.__doc__ or ", the kink " in loss.__doc__


class TestRule9Dtypes:
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


X, Y = np.zeros((2, 3)), np.zeros(2, dtype=int)


class TestRule11Parameters:
    @on(
        "loss,y,name,values",
        [
            (tinyloss.huber, X, "delta", [0, -1.0]),
            (tinyloss.smooth_l1, X, "beta", [-1.0]),
            (tinyloss.quantile, X, "q", [-0.1, 1.1]),
            (tinyloss.mape, X, "eps", [0, -1e-3]),
            (tinyloss.poisson_nll, X, "eps", [-1e-8]),
            (tinyloss.gaussian_nll, X, "eps", [0.0, -1.0]),
            (tinyloss.binary_cross_entropy, X, "eps", [0, -1e-7, 0.6]),
            (tinyloss.sigmoid_focal, X, "alpha", [-0.1, 1.1]),
            (tinyloss.sigmoid_focal, X, "gamma", [-1]),
            (tinyloss.softmax_focal, Y, "gamma", [-1.0]),
            (tinyloss.cross_entropy, Y, "label_smoothing", [-0.1, 1.1]),
        ],
    )
    def test_number_out_of_range(self, loss: Any, y: Any, name: str, values: Any) -> None:
        more = [X + 1] if loss is tinyloss.gaussian_nll else []
        start = rf"^tinyloss\.{loss.__name__}: {name} is "
        for value in [*values, NAN, INF, -INF]:
            with pytest.raises(ValueError, match=start + ".*expected"):
                loss(X, y, *more, **{name: value})
        wrong: list[Any] = ["1", [1.0], np.array(1.0), np.array([1.0]), 1j, True]
        if name not in ("alpha", "eps") or loss not in (
            tinyloss.sigmoid_focal,
            tinyloss.binary_cross_entropy,
        ):
            wrong.append(None)
        for value in wrong:
            with pytest.raises(TypeError, match=start + ".*expected"):
                loss(X, y, *more, **{name: value})

    @on(
        "loss,name",
        [
            (tinyloss.poisson_nll, "log_input"),
            (tinyloss.poisson_nll, "full"),
            (tinyloss.gaussian_nll, "full"),
            (tinyloss.kl_div, "log_target"),
        ],
    )
    def test_flags_are_true_or_false(self, loss: Any, name: str) -> None:
        more = [X + 1] if loss is tinyloss.gaussian_nll else []
        for value in (1, 0, "yes", None, np.array(True)):
            with pytest.raises(
                TypeError, match=rf"^tinyloss\.{loss.__name__}: {name} is .*True or False"
            ):
                loss(X, X, *more, **{name: value})

    @on(
        "loss",
        [tinyloss.cross_entropy, tinyloss.nll, tinyloss.softmax_focal],
        ids=lambda f: f.__name__,
    )
    def test_ignore_index_is_an_integer(self, loss: Any) -> None:
        for value in (1.0, "1", True, np.array(1), [1]):
            with pytest.raises(
                TypeError, match=rf"^tinyloss\.{loss.__name__}: ignore_index is .*integer"
            ):
                loss(X, Y, ignore_index=value)

    def test_ignore_index_is_for_labels(self) -> None:
        with pytest.raises(ValueError, match=r"^tinyloss\.cross_entropy: .*where="):
            tinyloss.cross_entropy(X, X, ignore_index=0)

    @on(
        "loss",
        [
            tinyloss.cross_entropy,
            tinyloss.kl_div,
            tinyloss.js_div,
            tinyloss.softmax,
            tinyloss.logsumexp,
        ],
        ids=lambda f: f.__name__,
    )
    def test_axis_is_one_of_x(self, loss: Any) -> None:
        arrays = [X] if loss in ACTIVATIONS else [X, X]
        for axis in (2, -3, 1.0, "1", None, (0, 1), True, np.array(1)):
            with pytest.raises(
                (ValueError, TypeError), match=rf"^tinyloss\.{loss.__name__}: axis is "
            ):
                loss(*arrays, axis=axis)

    def test_numpy_numbers_are_numbers(self) -> None:
        assert anyloss.huber(X, X + 1, delta=np.float32(0.5)) == tinyloss.huber(X, X + 1, delta=0.5)
        assert anyloss.cross_entropy(X, Y, axis=np.int64(1), ignore_index=np.int64(5)) == (
            tinyloss.cross_entropy(X, Y)
        )

    @on("reduction", ["avg", "MEAN", None, 1, ["mean"], "batchmean"])
    @basic_case
    def test_reduction_is_one_of_three(self, case: Case, reduction: Any) -> None:
        with pytest.raises(ValueError, match=rf"^tinyloss\.{case.loss.__name__}: reduction is "):
            case.loss(*case.arrays, reduction=reduction)

    @on("reduction", ["sum", "none"])
    def test_denominator_is_for_the_mean(self, reduction: Any) -> None:
        with pytest.raises(ValueError, match=r"^tinyloss\.mse: denominator"):
            tinyloss.mse(X, X, reduction=reduction, denominator=2)

    @on("denominator", ["2", [1.0, 2.0], np.ones(2), np.ones((1, 1))])
    def test_denominator_is_a_number(self, denominator: Any) -> None:
        with pytest.raises((ValueError, TypeError), match=r"^tinyloss\.mse: denominator"):
            tinyloss.mse(X, X, denominator=denominator)

    @on("class_weight", [[1.0, 2.0], [[1.0, 2.0, 3.0]], 1.0, np.ones((2, 3))])
    def test_class_weight_is_one_number_for_each_class(self, class_weight: Any) -> None:
        for y in (Y, X):
            with pytest.raises(
                ValueError, match=r"^tinyloss\.cross_entropy: class_weight has shape .*\(3,\)"
            ):
                tinyloss.cross_entropy(X, y, class_weight=class_weight)

    @on(
        "loss,name",
        [
            (tinyloss.huber, "delta"),
            (tinyloss.smooth_l1, "beta"),
            (tinyloss.quantile, "q"),
            (tinyloss.sigmoid_focal, "gamma"),
            (tinyloss.sigmoid_focal, "alpha"),
            (tinyloss.binary_cross_entropy, "eps"),
            (tinyloss.mape, "eps"),
            (tinyloss.poisson_nll, "full"),
            (tinyloss.cross_entropy, "label_smoothing"),
            (tinyloss.softmax_focal, "gamma"),
            (tinyloss.kl_div, "log_target"),
            (tinyloss.cross_entropy, "axis"),
            (tinyloss.cross_entropy, "ignore_index"),
        ],
    )
    def test_traced_parameters_are_refused(self, loss: Any, name: str, jax: Any) -> None:
        y = Y if name in ("ignore_index", "label_smoothing") else X
        call = jax.jit(
            lambda value: loss(jax.numpy.asarray(X), jax.numpy.asarray(y), **{name: value})
        )
        with pytest.raises(
            (TypeError, ValueError), match=rf"^tinyloss\.{loss.__name__}: {name} is "
        ):
            call(0.5)


class TestRule12Errors:
    X_REFUSED: ClassVar[list[tuple[Any, str]]] = [
        ([0.5, 1.0], "list"),
        ((0.5, 1.0), "tuple"),
        (0.5, "float"),
        ("ab", "str"),
        (None, "NoneType"),
        (np.ma.masked_array([0.5, 1.0], [True, False]), "MaskedArray"),
        (np.array([0.5, 1.0], dtype=object), "object"),
        (np.array([0.5, 1.0], dtype=complex), "complex"),
        (np.array(["a", "b"]), "str"),
        (np.array([1, 2], dtype="M8[s]"), "datetime64"),
    ]

    @on("x,word", X_REFUSED, ids=[word for _, word in X_REFUSED])
    @basic_case
    def test_bad_prediction(self, case: Case, x: Any, word: str) -> None:
        y = np.array([0.5, 0.5])
        with pytest.raises(
            TypeError, match=rf"^tinyloss\.{case.loss.__name__}: x\b.*{word}.*expected"
        ):
            case.loss(x, y, *[y for _ in case.more])

    def test_bad_prediction_is_refused_also_after_a_good_one_like_it(self) -> None:
        x, y = np.array([0.5, 1.0]), np.array([0.5, 0.5])
        tinyloss.mse(x, y)
        with pytest.raises(TypeError, match="MaskedArray"):
            tinyloss.mse(np.ma.masked_array(x), np.ma.masked_array(y))
        x = np.array([[0.5, 1.0]])
        tinyloss.cross_entropy(x, np.array([1]), axis=1)
        refused: list[dict[str, Any]] = [{"axis": True}, {"reduction": ["mean"]}]
        for wrong in refused:
            with pytest.raises(ValueError, match=next(iter(wrong))):
                tinyloss.cross_entropy(x, np.array([1]), **wrong)
        with pytest.raises(ValueError, match=r"y\[0\] is 2"):
            tinyloss.cross_entropy(x, np.array([2]), axis=1)

    @on("x,word", X_REFUSED, ids=[word for _, word in X_REFUSED])
    @on("function", ACTIVATIONS, ids=lambda f: f.__name__)
    def test_bad_input_of_an_activation(self, function: Any, x: Any, word: str) -> None:
        with pytest.raises(
            TypeError, match=rf"^tinyloss\.{function.__name__}: x\b.*{word}.*expected"
        ):
            function(x)

    @on("y,word", [row for row in X_REFUSED if row[1] not in ("list", "tuple", "float")])
    @on("name", ["y", "weight", "class_weight", "denominator"])
    def test_bad_companion(self, name: str, y: Any, word: str) -> None:
        given: dict[str, Any] = {"y": np.array(0), name: y}
        if y is None and name != "y":
            return
        with pytest.raises(
            TypeError, match=rf"^tinyloss\.cross_entropy: {name}\b.*{word}.*expected"
        ):
            tinyloss.cross_entropy(np.array([0.5, 1.0]), given.pop("y"), **given)

    def test_matrix_is_refused(self) -> None:
        with pytest.warns(PendingDeprecationWarning, match="matrix"):
            matrix = np.asmatrix(np.zeros((2, 2)))
        with pytest.raises(TypeError, match=r"^tinyloss\.mse: x.*matrix.*expected"):
            tinyloss.mse(matrix, np.zeros((2, 2)))
        with pytest.raises(TypeError, match=r"^tinyloss\.mse: y.*matrix.*expected"):
            tinyloss.mse(np.zeros((2, 2)), matrix)

    def test_ragged_list_is_refused(self) -> None:
        with pytest.raises((TypeError, ValueError), match=r"^tinyloss\.mse: y\b"):
            tinyloss.mse(np.zeros((2, 2)), [[0.0], [1.0, 2.0]])

    def test_mixed_libraries_are_refused(self, torch: Any, jax: Any) -> None:
        arrays = {"torch": torch.zeros(2), "jax": jax.numpy.zeros(2), "numpy": np.zeros(2)}
        for one, other in [
            ("torch", "jax"),
            ("jax", "torch"),
            ("numpy", "torch"),
            ("numpy", "jax"),
        ]:
            with pytest.raises(TypeError, match=rf"^tinyloss\.mse: y.*{other}.*{one}.*expected"):
                tinyloss.mse(arrays[one], arrays[other])
            with pytest.raises(
                TypeError, match=rf"^tinyloss\.mse: weight.*{other}.*{one}.*expected"
            ):
                tinyloss.mse(arrays[one], arrays[one], weight=arrays[other])

    def test_libraries_do_not_disturb_each_other(self, torch: Any, jax: Any) -> None:
        """Dtypes of array-api-strict warn when they are compared with those of NumPy."""
        strict = pytest.importorskip("array_api_strict")
        for zeros in (np.zeros, torch.zeros, jax.numpy.zeros, strict.zeros, np.zeros):
            x = zeros((2, 3))
            tinyloss.mse(x, x, where=x == 0, weight=x[0, ...])
            tinyloss.cross_entropy(x, [0, 1])

    def test_message_of_the_design(self) -> None:
        with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole text is compared
            tinyloss.cross_entropy(np.zeros((4, 10)), np.zeros(3, int))
        assert str(error.value).startswith(
            "tinyloss.cross_entropy: y has shape (3,), expected (4,)"
        )
        assert "for x of shape (4, 10)" in str(error.value)

    def test_labels_are_not_rounded(self) -> None:
        with pytest.raises(
            TypeError, match=r"^tinyloss\.cross_entropy: y has dtype float64.*integers"
        ):
            tinyloss.cross_entropy(X, np.array([0.0, 1.0]))

    @on("where", [np.ones(3), np.ones(3, int), 1, [1, 0, 1]])
    def test_where_is_boolean(self, where: Any) -> None:
        with pytest.raises(TypeError, match=r"^tinyloss\.mse: where has dtype .*expected booleans"):
            tinyloss.mse(X, X, where=where)

    def test_row_loss_of_a_number(self) -> None:
        with pytest.raises(ValueError, match=r"^tinyloss\.cross_entropy: x is 0-d"):
            tinyloss.cross_entropy(np.array(1.0), 0)

    @on("var", [np.ones(2), np.ones((3, 1)), np.ones((1, 2, 3))])
    def test_variance_broadcasts_to_x(self, var: Any) -> None:
        with pytest.raises(ValueError, match=r"^tinyloss\.gaussian_nll: var has shape .*\(2, 3\)"):
            tinyloss.gaussian_nll(X, X, var)

    def test_numpy_stays_quiet(self) -> None:
        """Infinities and NaN on purpose warn of nothing; warnings are errors in these tests."""
        with np.errstate(all="raise"):
            for case in CASES:
                for bad in (NAN, INF, -INF, 1e300, -1e300):
                    arrays = spoilt(case, bad, (0,) * len(case.items))
                    _, options = doubles(case)
                    with tinyloss.validation("never"):  # a target of infinity may be an error
                        everything(case.loss, case.argnums)(*arrays, **options)


def small(low: float = -4.0, high: float = 4.0) -> st.SearchStrategy[float]:
    return st.floats(low, high, width=32)


@st.composite
def batches(draw: st.DrawFn) -> tuple[Case, tuple[Any, ...], Any]:
    """Draw a loss, arrays of a random number of items, and the random generator they came from."""
    case = draw(st.sampled_from(list(BASIC.values())))
    n, c = draw(st.integers(1, 6)), draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    low, high = (0.05, 0.95) if case.x.min() > 0 else (-4.0, 4.0)
    arrays: list[Any] = [rng.uniform(low, high, (n, c))]
    for each in case.arrays[1:]:
        if each.dtype.kind == "i":
            arrays.append(rng.integers(0, c, n))
        else:
            lowest = 0.05 if each.min() >= 0 else -1.0
            arrays.append(rng.uniform(lowest, 1.0, (n, c)))
    return case, tuple(arrays), rng


properties = settings(max_examples=60, deadline=None)


class TestProperties:
    @properties
    @given(batches(), st.sampled_from(["mean", "sum"]))
    def test_integer_weight_is_repetition(self, batch: Any, reduction: str) -> None:
        case, arrays, rng = batch
        n = len(arrays[0])
        times = rng.integers(0, 4, n)
        weight = times if case.rowwise else times[:, None]
        repeated = [np.repeat(each, times, axis=0) for each in arrays]
        value, grad = anyloss.value_and_grad(case.loss)(*arrays, weight=weight, reduction=reduction)
        expected, each = anyloss.value_and_grad(case.loss)(*repeated, reduction=reduction)
        scale = np.sum(np.abs(case.loss(*repeated, reduction="none")))
        assert abs(value - expected) <= 16 * EPS * scale
        summed = np.zeros_like(grad)
        np.add.at(summed, np.repeat(np.arange(n), times), each)
        close(grad, summed)

    @properties
    @given(batches(), st.sampled_from(["mean", "sum"]))
    def test_masking_is_deleting(self, batch: Any, reduction: str) -> None:
        case, arrays, rng = batch
        keep = rng.uniform(size=len(arrays[0])) < 0.6
        kept = [each[keep] for each in arrays]
        where = keep if case.rowwise else keep[:, None]
        value, grad = anyloss.value_and_grad(case.loss)(*arrays, where=where, reduction=reduction)
        expected, gradient = anyloss.value_and_grad(case.loss)(*kept, reduction=reduction)
        scale = np.sum(np.abs(case.loss(*kept, reduction="none")))
        assert abs(value - expected) <= 16 * EPS * scale
        close(grad[keep], gradient)
        assert not np.any(grad[~keep])

    @properties
    @given(batches())
    def test_order_of_items_does_not_matter(self, batch: Any) -> None:
        case, arrays, rng = batch
        order = rng.permutation(len(arrays[0]))
        value, grad = anyloss.value_and_grad(case.loss)(*arrays)
        again, permuted = anyloss.value_and_grad(case.loss)(*[each[order] for each in arrays])
        scale = np.mean(np.abs(case.loss(*arrays, reduction="none")))
        assert abs(value - again) <= 16 * EPS * scale
        close(permuted, grad[order])

    @properties
    @given(st.data())
    def test_permuted_axes_permute_the_gradient(self, data: st.DataObject) -> None:
        case = data.draw(st.sampled_from(list(BASIC.values())))
        shape = data.draw(st.lists(st.integers(1, 3), min_size=2, max_size=4))
        order = data.draw(st.permutations(range(len(shape))))
        rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
        labels = case.y.dtype.kind == "i"
        axis = data.draw(st.integers(0, len(shape) - 1))
        x = rng.uniform(0.05, 0.95, shape)
        arrays: list[Any] = [x, *(rng.uniform(0.05, 0.95, shape) for _ in case.arrays[1:])]
        if labels:
            arrays[1] = rng.integers(0, shape[axis], [n for i, n in enumerate(shape) if i != axis])
        permuted = [np.transpose(each, order) for each in (arrays[:1] if labels else arrays)]
        if labels:
            rest = [i for i in order if i != axis]
            permuted.append(np.transpose(arrays[1], [i - (i > axis) for i in rest]))
        options = ({"axis": axis}, {"axis": order.index(axis)}) if case.rowwise else ({}, {})
        value, grad = anyloss.value_and_grad(case.loss)(*arrays, **options[0])
        again, turned = anyloss.value_and_grad(case.loss)(*permuted, **options[1])
        scale = np.mean(np.abs(case.loss(*arrays, **options[0], reduction="none")))
        assert abs(value - again) <= 16 * EPS * scale
        close(turned, np.transpose(grad, order))

    @properties
    @given(batches())
    def test_sum_none_and_mean_belong_together(self, batch: Any) -> None:
        case, arrays, _ = batch
        items = case.loss(*arrays, reduction="none")
        assert items.shape == (arrays[0].shape[:1] if case.rowwise else arrays[0].shape)
        scale = np.sum(np.abs(items))
        total = case.loss(*arrays, reduction="sum")
        assert abs(total - np.sum(items)) <= 16 * EPS * scale
        assert abs(case.loss(*arrays) - total / items.size) <= 16 * EPS * scale / items.size

    @properties
    @given(batches())
    def test_value_alone_is_the_value_beside_derivatives(self, batch: Any) -> None:
        case, arrays, _ = batch
        value, grad = anyloss.value_and_grad(case.loss)(*arrays)
        assert case.loss(*arrays) == value
        np.testing.assert_array_equal(anyloss.grad(case.loss)(*arrays), grad)
