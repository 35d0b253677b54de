"""Rules of items, weights and masks, the same for every loss on every library."""

from typing import Any

import numpy as np
import pytest

import tinyloss
from tests.support.calls import called_of
from tests.support.cases import Case, brought, every_case
from tests.support.definitions import counts
from tests.support.libraries import Library
from tests.support.params import turns
from tests.support.rules import (
    BASIC,
    INF,
    LABEL_CASES,
    NAN,
    ROW_CASES,
    anyloss,
    basic_case,
    by_lines,
    close,
    close32,
    doubles,
    everything,
    everywhere,
    on,
    spoilt,
)
from tests.support.specs import ACTIVATIONS

ROWWISE = [case for case in BASIC.values() if case.rowwise]


class TestRule1Shapes:
    """x and y have one shape, and an item is an element of it, or a row of classes."""

    @on("shapes", [((3,), (3, 1)), ((3, 1), (3,)), ((3,), (1,)), ((2, 3), (3,)), ((), (1,))])
    @basic_case
    def test_x_and_y_never_broadcast(self, case: Case, shapes: Any) -> None:
        if case.rowwise:
            shapes = tuple((*shape, 3) for shape in shapes)
        x, y = (np.full(shape, 0.5) for shape in shapes)
        more = [x] * len(case.more)
        with pytest.raises(
            ValueError,
            match=rf"tinyloss\.{case.loss.__name__}: {called_of(case.loss)[1]} has shape",
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
        labels = case.y.dtype.kind == "i"
        count = counts(case.loss.__name__, case.y[0], case.x.shape[-1]) if labels else 1
        for name, size in (("value", count), ("plain", count), ("curvature", 1)):
            close32(size * xp.numpy(one[name]), xp.numpy(whole[name])[first])
        close32(count * xp.numpy(one["grads"][0]), xp.numpy(whole["grads"][0])[first])
        assert one["value"].shape == ()

    @on("case", ROWWISE, ids=lambda case: case.name)
    def test_one_class(self, case: Case) -> None:
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
    """A mean is the weighted sum over the sum of the weights, class weights among them."""

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
        elif case.y.dtype.kind == "i":
            mass = counts(case.loss.__name__, y, case.x.shape[axis])
        ignored = case.options.get("ignore_index")
        return mass if ignored is None else np.where(y == ignored, 0, mass)

    @on("class_weight", [None, [0.5, 1.0, 2.5], [0.0, 1.0, 2.0]])
    @on(
        "loss,smoothing",
        [
            (tinyloss.cross_entropy, 0.0),
            (tinyloss.cross_entropy, 0.3),
            (tinyloss.softmax_focal, 0.0),
        ],
    )
    def test_index_and_one_hot_targets_agree(
        self, loss: Any, class_weight: Any, smoothing: float
    ) -> None:
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
    """What is masked, ignored or of weight 0 is left out: its NaN or infinity reaches nothing."""

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

    @everywhere()
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


class TestRule4NothingSelected:
    """Where nothing is selected, loss and gradient are 0."""

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
