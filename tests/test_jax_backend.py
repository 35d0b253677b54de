"""The losses under JAX's transformations, held to what NumPy answers, where there is no JAX."""

from functools import partial
from typing import Any

import numpy as np
import pytest

import tinyloss
from tests.support.compare import close as compared
from tests.support.compare import rounded_once
from tests.support.libraries import Library, dtype_name
from tests.support.on_jax import OTHER, WEIGHT, X, Y, close, few

# For losses chosen at run time, whose parameters no type checker can follow.
anyloss: Any = tinyloss

near = partial(compared, eps=16, dtype="float32", why="as `close`, and its exp is of 2 eps")


class TestTransformations:
    @pytest.mark.long
    @few
    def test_vmap_of_loss_and_gradient(self, loss: Any, x: Any, y: Any, jax: Any) -> None:
        def both(x: Any, y: Any) -> Any:
            return loss(x, y), jax.grad(loss)(x, y), anyloss.grad(loss)(x, y)

        def mapped(x: Any, y: Any) -> Any:
            rows = jax.vmap(both)(x, y)
            batches = jax.vmap(both, in_axes=(0, None))(jax.numpy.stack([x, 2 * x]), y)
            return rows, batches

        rows, batches = jax.device_get(jax.jit(mapped)(x, y))
        gradient = anyloss.grad(loss)
        value = [loss(each, target) for each, target in zip(x, y, strict=True)]
        slope = [gradient(each, target) for each, target in zip(x, y, strict=True)]
        for result, expected in zip(rows, (value, slope, slope), strict=True):
            close(result, expected)
        value, slope = [loss(each, y) for each in (x, 2 * x)], [gradient(a, y) for a in (x, 2 * x)]
        for result, expected in zip(batches, (value, slope, slope), strict=True):
            close(result, expected)

    def test_eager_vmap_of_a_gradient(self, jax: Any) -> None:
        x, y = jax.numpy.asarray(X), jax.numpy.asarray(Y)
        each = jax.vmap(jax.grad(tinyloss.cross_entropy))(x, y)
        close(each, tinyloss.grad(tinyloss.cross_entropy)(X, Y, reduction="sum"))

    @pytest.mark.long
    @few
    def test_scan_over_minibatches(self, loss: Any, x: Any, y: Any, jax: Any) -> None:
        derive = jax.jit(jax.value_and_grad(loss))

        def train(w: Any, x: Any, y: Any) -> Any:
            def step(w: Any, batch: Any) -> Any:
                x, y = batch
                value, slope = derive(w * x, y)
                return w - 0.1 * (slope * x).sum(0), value

            return jax.lax.scan(step, w, (x.reshape(2, 2, 3), y.reshape(2, 2, *y.shape[1:])))

        result, values = jax.jit(train)(np.ones(3), x, y)
        w, expected = np.ones(3), list[Any]()
        for at in (slice(0, 2), slice(2, 4)):
            value, slope = anyloss.value_and_grad(loss)(w * x[at], y[at])
            w = w - 0.1 * (slope * x[at]).sum(0)
            expected.append(value)
        close(result, w)
        close(values, expected)

    def test_map_and_checkpoint(self, jax: Any) -> None:
        def ask(x: Any, y: Any) -> Any:
            kept = jax.grad(jax.checkpoint(tinyloss.cross_entropy))(x, y)
            mapped = jax.lax.map(lambda row: jax.grad(tinyloss.cross_entropy)(*row), (x, y))
            return kept, mapped / len(x)

        expected = tinyloss.grad(tinyloss.cross_entropy)(X, Y)
        for result in jax.jit(ask)(X, Y):
            close(result, expected)

    @few
    def test_eval_shape(self, loss: Any, x: Any, y: Any, jax: Any) -> None:
        given = jax.ShapeDtypeStruct(x.shape, "bfloat16"), jax.ShapeDtypeStruct(y.shape, "int32")
        for derive in (jax.value_and_grad, anyloss.value_and_grad):
            value, gradient = jax.eval_shape(derive(loss), *given)
            assert (value.shape, value.dtype) == ((), "float32")
            assert (gradient.shape, gradient.dtype) == (x.shape, "bfloat16")

    @pytest.mark.long
    @few
    def test_export_for_any_number_of_rows(self, loss: Any, x: Any, y: Any, jax: Any) -> None:
        jax_export = pytest.importorskip("jax.export")
        rows, derive = jax_export.symbolic_shape("rows")[0], jax.value_and_grad(loss)
        exported = jax_export.export(jax.jit(derive))(
            *[jax.ShapeDtypeStruct((rows, *each.shape[1:]), each.dtype) for each in (x, y)]
        )
        for n in (2, 4):
            value, gradient = exported.call(x[:n], y[:n])
            expected = anyloss.value_and_grad(loss)(x[:n], y[:n])
            close(value, expected[0])
            close(gradient, expected[1])

    def test_an_exported_loss_is_kept_as_bytes(self, jax: Any) -> None:
        pytest.importorskip("flatbuffers")
        jax_export = pytest.importorskip("jax.export")
        given = [jax.ShapeDtypeStruct(each.shape, each.dtype) for each in (X, Y)]
        exported = jax_export.export(jax.jit(jax.grad(tinyloss.cross_entropy)))(*given)
        again = jax_export.deserialize(exported.serialize())
        close(again.call(X, Y), tinyloss.grad(tinyloss.cross_entropy)(X, Y))

    def test_a_loss_object_is_a_static_argument(self, jax: Any) -> None:
        traces: list[Any] = []

        def of(loss: Any, x: Any, y: Any) -> Any:
            traces.append(loss)
            return jax.grad(loss)(x, y)

        jitted = jax.jit(of, static_argnums=0)
        for smoothing in (0.1, 0.1, 0.2):
            loss: Any = tinyloss.CrossEntropyLoss(label_smoothing=smoothing)
            close(jitted(loss, X, Y), loss.grad(X, Y))
        assert len(traces) == 2

    def test_a_sum_of_losses(self, jax: Any) -> None:
        loss: Any = 0.7 * tinyloss.CrossEntropyLoss() + 0.3 * tinyloss.SoftmaxFocalLoss()
        close(jax.jit(jax.grad(loss))(X, Y), loss.grad(X, Y))

    def test_arrays_of_a_surrounding_function_are_known(self, jax: Any) -> None:
        """What is closed over is concrete, and yet traced as soon as something is done to it."""
        x, y, w = map(jax.numpy.asarray, (X, Y, WEIGHT))
        derive = tinyloss.grad(tinyloss.cross_entropy)
        close(jax.jit(lambda x: tinyloss.cross_entropy(x, y))(x), tinyloss.cross_entropy(X, Y))
        close(
            jax.jit(jax.grad(lambda x: tinyloss.cross_entropy(x, y, weight=w)))(x),
            derive(X, Y, weight=WEIGHT),
        )
        ignoring = jax.jit(jax.grad(lambda x: tinyloss.cross_entropy(x, y, ignore_index=1)))
        close(ignoring(x), derive(X, Y, ignore_index=1))

    def test_a_traced_denominator_and_weight(self, jax: Any) -> None:
        def of(x: Any, y: Any, w: Any, n: Any) -> Any:
            return jax.value_and_grad(tinyloss.cross_entropy)(x, y, weight=w, denominator=n)

        value, gradient = jax.jit(of)(X, Y, WEIGHT, 3.0)
        options: Any = {"weight": WEIGHT, "denominator": 3.0}
        close(value, tinyloss.cross_entropy(X, Y, **options))
        close(gradient, tinyloss.grad(tinyloss.cross_entropy)(X, Y, **options))


class TestDtypes:
    @pytest.mark.parametrize("xp", ["jax", "jax:x64"], indirect=True)
    def test_results_have_the_dtype_of_x(self, xp: Library) -> None:
        derive = xp.lib.value_and_grad(tinyloss.cross_entropy)
        for dtype in xp.floats:
            value, gradient = derive(xp.asarray(X, dtype), xp.asarray(Y, "int32"))
            assert dtype_name(value) == dtype_name(gradient) == dtype
            expected = tinyloss.value_and_grad(tinyloss.cross_entropy)(X, Y)
            for result, each in zip((value, gradient), expected, strict=True):
                close(result, each, dtype=dtype)

    @pytest.mark.long
    @pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
    @few
    def test_half_precision_is_rounded_once(
        self, loss: Any, x: Any, y: Any, dtype: str, jax: Any
    ) -> None:
        x = jax.numpy.asarray(x, dtype)
        y = jax.numpy.asarray(y, "int32" if y.dtype.kind == "i" else dtype)
        single = [each.astype("float32") if each.dtype == x.dtype else each for each in (x, y)]
        native = jax.value_and_grad(loss)
        value, gradient = native(x, y)
        assert value.dtype == np.float32
        assert gradient.dtype == x.dtype
        wide = native(*single)
        for half, each, kind in ((value, wide[0], "float32"), (gradient, wide[1], dtype)):
            host = np.asarray(half).astype(np.float32)
            rounded_once(host, np.asarray(each), kind, fused=True)


class TestLabelsOutOfRange:
    WRONG = np.array([0, 3, -1, 1])
    ROWS = (1, 2)

    def alone(self, result: Any) -> None:
        """Hold that the wrong rows are NaN in all their components, and the others in none."""
        nan = np.isnan(np.asarray(result)).reshape(4, -1)
        assert [row.all() for row in nan] == [row in self.ROWS for row in range(4)]
        assert [row.any() for row in nan] == [row in self.ROWS for row in range(4)]

    @pytest.mark.parametrize("loss", [tinyloss.cross_entropy, tinyloss.softmax_focal, tinyloss.nll])
    def test_are_nan_for_their_item_alone(self, loss: Any, jax: Any) -> None:
        def ask(x: Any, y: Any) -> Any:
            def each(x: Any, y: Any) -> Any:
                return loss(x, y, reduction="none")

            return {
                "value": each(x, y),
                "jax.grad": jax.grad(lambda x: each(x, y).sum())(x),
                "tinyloss.grad": anyloss.grad(loss)(x, y, reduction="none"),
                "vmap": jax.vmap(each)(x, y),
                "vmap of jax.grad": jax.vmap(jax.grad(each))(x, y),
                "mean": jax.grad(loss)(x, y),
            }

        results = jax.jit(ask)(X, self.WRONG)
        mean = results.pop("mean")
        for result in results.values():
            self.alone(result)
        # Rows out of range are NaN whatever the reduction; the mean's value is.
        assert np.isnan(mean)[list(self.ROWS)].all()

    def test_that_weigh_nothing_do_no_harm(self, jax: Any) -> None:
        def ask(x: Any, y: Any, w: Any) -> Any:
            return jax.value_and_grad(tinyloss.cross_entropy)(x, y, weight=w)

        keep = np.array([1.0, 0.0, 0.0, 1.0])
        value, gradient = jax.jit(ask)(X, self.WRONG, keep)
        expected = tinyloss.value_and_grad(tinyloss.cross_entropy)(X, Y, weight=keep)
        close(value, expected[0])
        close(gradient, expected[1])

    def test_are_an_error_where_they_are_known(self, jax: Any) -> None:
        x, y = jax.numpy.asarray(X), jax.numpy.asarray(self.WRONG)
        message = r"tinyloss.cross_entropy: y\[1\] is 3, expected a class index from 0 to 2"
        for function in (tinyloss.cross_entropy, jax.grad(tinyloss.cross_entropy)):
            with pytest.raises(ValueError, match=message):
                function(x, y)
        with pytest.raises(ValueError, match=message):
            jax.vmap(lambda x: tinyloss.cross_entropy(x, y))(x[None])

    def test_beside_a_weight_under_tracing_are_nan(self, jax: Any) -> None:
        """Whether they weigh is not known."""
        x, y = jax.numpy.asarray(X), jax.numpy.asarray(self.WRONG)

        def of(w: Any) -> Any:
            return tinyloss.cross_entropy(x, y, weight=w, reduction="none")

        self.alone(jax.jit(of)(WEIGHT))
        self.alone(jax.vmap(of)(jax.numpy.asarray(WEIGHT)[None])[0])


class TestWhatChoosesAProgramIsStatic:
    def test_a_traced_class_to_ignore_is_refused(self, jax: Any) -> None:
        x = jax.numpy.asarray(X)
        jitted = jax.jit(lambda index: tinyloss.cross_entropy(x, Y, ignore_index=index))
        with pytest.raises(TypeError, match=r"tinyloss.cross_entropy: ignore_index is "):
            jitted(1)

    def test_a_traced_axis_is_refused(self, jax: Any) -> None:
        x = jax.numpy.asarray(X)
        jitted = jax.jit(lambda axis: tinyloss.cross_entropy(x, Y, axis=axis))
        with pytest.raises(ValueError, match=r"tinyloss.cross_entropy: axis is .*an integer"):
            jitted(1)


class TestMemory:
    @pytest.mark.long
    @pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
    @pytest.mark.parametrize(
        ("loss", "of_labels"),
        [
            (tinyloss.mse, False),
            (tinyloss.cross_entropy, True),
            (tinyloss.cross_entropy, False),
            (tinyloss.softmax_focal, True),
            (tinyloss.kl_div_with_logits, False),
        ],
    )
    def test_reverse_mode_keeps_its_inputs_and_a_few_numbers_of_each_row(
        self, loss: Any, of_labels: bool, dtype: str, jax: Any
    ) -> None:
        jnp = jax.numpy
        x = jnp.ones((8, 512), dtype)
        y = jnp.zeros(8, "int32") if of_labels else jnp.full((8, 512), 1 / 512, dtype)
        _, pull = jax.vjp(lambda x: loss(x, y), x)
        kept = jax.tree.leaves(pull)
        inputs = [each.unsafe_buffer_pointer() for each in (x, y)]
        new = [each for each in kept if each.unsafe_buffer_pointer() not in inputs]
        assert all(each.size <= len(x) for each in new), [(e.shape, e.dtype) for e in new]

    @staticmethod
    def temporaries(jax: Any, loss: Any, dtype: str) -> int:
        """Return the bytes that value and gradient of 1024 x 8192 logits need beside them."""
        x, y = jax.ShapeDtypeStruct((1024, 8192), dtype), jax.ShapeDtypeStruct((1024,), "int32")
        compiled = jax.jit(jax.value_and_grad(loss)).lower(x, y).compile()
        size: int = compiled.memory_analysis().temp_size_in_bytes
        return size

    def test_compiled_cross_entropy_needs_no_second_array_of_logits(self, jax: Any) -> None:
        assert self.temporaries(jax, tinyloss.cross_entropy, "float32") < 2**20

    def test_compiled_cross_entropy_needs_no_more_than_optax(self, jax: Any) -> None:
        optax = pytest.importorskip("optax")

        def theirs(x: Any, y: Any) -> Any:
            return optax.softmax_cross_entropy_with_integer_labels(x, y).mean()

        ours = self.temporaries(jax, tinyloss.cross_entropy, "bfloat16")
        assert ours <= self.temporaries(jax, theirs, "bfloat16")


class TestLossesOfUsers:
    def test_a_recorded_value(self, jax: Any) -> None:
        @tinyloss.loss
        def charbonnier(x: Any, y: Any, *, eps: float = 0.5) -> Any:
            return tinyloss.namespace(x).sqrt((x - y) ** 2 + eps**2)

        def ask(x: Any, y: Any) -> Any:
            slope = jax.grad(lambda x: charbonnier(x, y, reduction="sum"))
            return slope(x), jax.jvp(slope, (x,), (jax.numpy.ones_like(x),))[1]

        slope, curvature = jax.jit(ask)(X, OTHER)
        expected = anyloss.grad_and_hess(charbonnier)(X, OTHER)
        close(slope, expected[0])
        close(curvature, expected[1], eps=64, why="(x - y)^2 and eps^2 over their sum, twice")

    def test_a_value_of_rows_by_functions_of_jax(self, jax: Any) -> None:
        @tinyloss.loss(rowwise=True)
        def distance(x: Any, y: Any) -> Any:
            return jax.numpy.linalg.norm(x - y, axis=-1)

        def ask(x: Any, y: Any, w: Any) -> Any:
            return jax.value_and_grad(distance)(x, y, weight=w)

        value, slope = jax.jit(ask)(X, OTHER, WEIGHT)
        d = X - OTHER
        size = np.sqrt((d * d).sum(-1))
        close(value, (WEIGHT * size).sum() / WEIGHT.sum())
        close(slope, (WEIGHT / size)[:, None] * d / WEIGHT.sum())

    def test_a_value_of_elements_by_functions_of_jax(self, jax: Any) -> None:
        @tinyloss.loss
        def bump(x: Any, y: Any) -> Any:
            return jax.nn.gelu(x - y, approximate=False)

        x, y = jax.numpy.asarray(X), jax.numpy.asarray(OTHER)
        expected = jax.grad(lambda x: jax.nn.gelu(x - y, approximate=False).mean())(x)
        close(jax.grad(bump)(x, y), expected)


@pytest.mark.long
def test_values_of_many_rows_hold_a_block_of_them(jax: Any) -> None:
    """Between a choice and a sum XLA writes an array, here as large as a block of rows."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(91, 2, 50_000)).astype(np.float32)
    jx = jax.numpy.asarray(x)

    def loss(x: Any, y: Any) -> Any:
        return tinyloss.cross_entropy(x, y, reduction="none")

    for y in rng.integers(0, 50_000, (91, 2)), rng.random((91, 2, 50_000), np.float32):
        expected, jy = loss(x, y), jax.numpy.asarray(y)
        compiled = jax.jit(loss).lower(jx, jy).compile()
        assert compiled.memory_analysis().temp_size_in_bytes < x.nbytes
        near(compiled(jx, jy), expected)
        mapped = jax.vmap(loss, in_axes=(None, 0))(jx[:45], jax.numpy.stack([jy[:45], jy[-45:]]))
        near(mapped, [expected[:45], loss(x[:45], y[-45:])])
