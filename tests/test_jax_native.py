"""Losses of large JAX arrays on a CPU: NumPy's loops, which XLA calls."""

import signal
import sys
from functools import partial
from typing import Any

import numpy as np
import pytest

import tinyloss
import tinyloss_numpy
from tests.support.compare import close as compared
from tests.support.process import python

# For losses chosen at run time, whose parameters no type checker can follow.
anyloss: Any = tinyloss

near = partial(compared, eps=16, dtype="float32", why="two ways to the same number, each of 4 eps")

ITEMS, CLASSES = 2048, 64
RANDOM = np.random.default_rng(0)
X = 3 * RANDOM.standard_normal((ITEMS, CLASSES), dtype=np.float32)
LABELS = RANDOM.integers(0, CLASSES, ITEMS).astype(np.int32)
SHARES = RANDOM.dirichlet(np.ones(CLASSES), ITEMS).astype(np.float32)
WEIGHT = RANDOM.random(ITEMS, dtype=np.float32)
ONES = (RANDOM.random((ITEMS, CLASSES)) < 0.5).astype(np.float32)
SEVERAL = [
    ("cross_entropy", LABELS, {}),
    ("cross_entropy", LABELS, {"weight": WEIGHT, "ignore_index": 3, "label_smoothing": 0.1}),
    ("cross_entropy", SHARES, {"reduction": "sum"}),
    ("poly_cross_entropy", LABELS, {"epsilon": 0.3}),
    ("binary_cross_entropy_with_logits", ONES, {}),
    ("huber", SHARES, {"delta": 0.1}),
    ("listmle", SHARES, {}),
    ("pairwise_logistic", SHARES, {}),
]
several = pytest.mark.parametrize(
    ("name", "y", "options"),
    [pytest.param(*each, marks=[pytest.mark.long] if n else []) for n, each in enumerate(SEVERAL)],
)


@pytest.fixture
def jax(jax: Any) -> Any:
    """JAX and its losses as they come: without float64, compiled."""
    with jax.enable_x64(False), tinyloss_numpy.compilation("always"):
        yield jax


def calls(jax: Any, function: Any, *arrays: Any) -> int:
    """Return how often a program calls a loop."""
    text: str = jax.jit(function).lower(*arrays).as_text()
    return text.count("@tinyloss_numpy")


def of(jax: Any, array: Any) -> Any:
    return jax.numpy.asarray(array) if isinstance(array, np.ndarray) else array


class TestAnswers:
    @several
    def test_value_and_gradients_are_those_of_numpys_loops(
        self, name: str, y: Any, options: dict[str, Any], jax: Any
    ) -> None:
        own = {key: of(jax, each) for key, each in options.items()}
        loss = partial(getattr(tinyloss, name), **own)
        expected = anyloss.value_and_grad(getattr(tinyloss, name))(X, y, **options)
        x, y = of(jax, X), of(jax, y)
        assert calls(jax, loss, x, y) == 1
        assert calls(jax, jax.value_and_grad(loss), x, y) == 1
        for found in (
            (loss(x, y), anyloss.grad(getattr(tinyloss, name))(x, y, **own)),
            jax.value_and_grad(loss)(x, y),
            jax.jit(jax.value_and_grad(loss))(x, y),
        ):
            near(np.asarray(found[0]), expected[0])
            near(np.asarray(found[1]), expected[1])

    @pytest.mark.long
    def test_losses_of_items_that_are_rows(self, jax: Any) -> None:
        loss = partial(anyloss.cross_entropy, reduction="none")
        x, y = of(jax, X), of(jax, LABELS)
        assert calls(jax, loss, x, y) == 1
        near(np.asarray(loss(x, y)), loss(X, LABELS))

    @pytest.mark.long
    @pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
    def test_half_precision(self, dtype: str, jax: Any) -> None:
        x, y = jax.numpy.asarray(X, dtype), of(jax, LABELS)
        value, slope = tinyloss.value_and_grad(tinyloss.cross_entropy)(x, y)
        assert slope.dtype == dtype
        as_numpy = np.asarray(x)
        expected, slopes = tinyloss.value_and_grad(tinyloss.cross_entropy)(as_numpy, LABELS)
        assert value == expected
        assert (np.asarray(slope) == slopes).all()
        assert jax.grad(tinyloss.cross_entropy)(x, y).dtype == dtype

    @pytest.mark.long
    def test_float64(self, jax: Any) -> None:
        with jax.enable_x64(True):
            x, y = jax.numpy.asarray(X, "float64"), of(jax, LABELS)
            assert calls(jax, tinyloss.cross_entropy, x, y) == 1
            value = tinyloss.cross_entropy(x, y)
            assert value.dtype == "float64"
            compared(
                np.asarray(value),
                tinyloss.cross_entropy(X.astype(float), LABELS),
                eps=8,
                dtype="float64",
                why="two ways to the same number",
            )

    @pytest.mark.long
    def test_numbers_of_a_call_keep_all_digits_and_compile_nothing(self, jax: Any) -> None:
        loss = jax.jit(lambda x, y, delta: tinyloss.huber(x, y, delta=delta))
        for delta in (0.1, 0.3):
            near(
                np.asarray(loss(of(jax, X), of(jax, SHARES), delta)),
                tinyloss.huber(X, SHARES, delta=delta),
            )
        assert loss._cache_size() == 1

    def test_subnormal_losses_are_kept_though_xla_flushes_them(self, jax: Any) -> None:
        x = np.zeros((ITEMS, CLASSES), np.float32)
        x[:, 0] = 100
        y = np.zeros(ITEMS, np.int32)
        found = float(tinyloss.cross_entropy(of(jax, x), of(jax, y)))
        assert found == float(tinyloss.cross_entropy(x, y))
        assert 0 < found < np.finfo(np.float32).tiny

    def test_a_label_that_is_no_class_makes_its_loss_nan(self, jax: Any) -> None:
        y = LABELS.copy()
        y[5] = CLASSES
        loss = jax.jit(partial(anyloss.cross_entropy, reduction="none"))
        found = np.asarray(loss(of(jax, X), of(jax, y)))
        assert np.isnan(found[5])
        assert np.isnan(found).sum() == 1


@pytest.mark.long
class TestTransformations:
    """Where there is no loop, the formulas answer: each is held to loops of parts."""

    def test_vmap_of_a_gradient(self, jax: Any) -> None:
        x, y = of(jax, X).reshape(2, -1, CLASSES), of(jax, LABELS).reshape(2, -1)
        found = jax.vmap(jax.grad(tinyloss.cross_entropy))(x, y)
        for n in range(2):
            near(np.asarray(found[n]), np.asarray(jax.grad(tinyloss.cross_entropy)(x[n], y[n])))

    def test_hessian_products_forward_over_reverse_and_reverse_over_reverse(self, jax: Any) -> None:
        x, y = of(jax, X), of(jax, LABELS)
        v = of(jax, RANDOM.standard_normal(X.shape, dtype=np.float32))
        slope = jax.grad(lambda x: tinyloss.cross_entropy(x, y))
        ahead = jax.jvp(slope, (x,), (v,))[1]
        back = jax.grad(lambda x: jax.numpy.vdot(slope(x), v))(x)
        expected = np.asarray(anyloss.hvp(tinyloss.cross_entropy)(X, LABELS, np.asarray(v)))
        size = np.abs(expected).max()
        for found in (ahead, back):
            assert np.abs(np.asarray(found) - expected).max() <= 1e-6 * size

    def test_forward_mode(self, jax: Any) -> None:
        y = of(jax, LABELS)
        value, along = jax.jvp(lambda x: tinyloss.cross_entropy(x, y), (of(jax, X),), (of(jax, X),))
        slope = tinyloss.grad(tinyloss.cross_entropy)(X.astype(float), LABELS)
        near(np.asarray(value), tinyloss.cross_entropy(X, LABELS))
        assert along == pytest.approx((slope * X).sum(), rel=1e-5)

    def test_derivative_by_weights(self, jax: Any) -> None:
        def mean(weight: Any) -> Any:
            return tinyloss.cross_entropy(of(jax, X), of(jax, LABELS), weight=weight)

        each = tinyloss.cross_entropy(X.astype(float), LABELS, reduction="none")
        total = WEIGHT.astype(float).sum()
        expected = (each - (each * WEIGHT).sum() / total) / total
        found = np.asarray(jax.grad(mean)(of(jax, WEIGHT)))
        # the largest weight scales all: sums of 2048 rounding errors meet in its derivative
        assert np.abs(found - expected).max() <= ITEMS * 2.0**-24 * np.abs(expected).max()

    def test_derivative_by_a_parameter(self, jax: Any) -> None:
        def of_smoothing(smoothing: Any) -> Any:
            x, y = of(jax, X), of(jax, LABELS)
            return tinyloss.cross_entropy(x, y, label_smoothing=smoothing)

        step = 1e-3
        low, high = (
            tinyloss.cross_entropy(X.astype(float), LABELS, label_smoothing=0.1 + sign * step)
            for sign in (-1, 1)
        )
        assert jax.grad(of_smoothing)(0.1) == pytest.approx((high - low) / (2 * step), rel=1e-4)

    def test_scan_and_checkpoint(self, jax: Any) -> None:
        y = of(jax, LABELS)

        def step(x: Any, _: Any) -> Any:
            value, slope = jax.value_and_grad(jax.checkpoint(tinyloss.cross_entropy))(x, y)
            return x - 100 * slope, value

        _, found = jax.lax.scan(step, of(jax, X), None, length=3)
        x, expected = X, []
        for _ in range(3):
            value, slope = tinyloss.value_and_grad(tinyloss.cross_entropy)(x, LABELS)
            x = x - 100 * slope
            expected.append(value)
        near(np.asarray(found), np.asarray(expected))

    def test_without_jit(self, jax: Any) -> None:
        with jax.disable_jit():
            found = tinyloss.cross_entropy(of(jax, X), of(jax, LABELS))
        near(np.asarray(found), tinyloss.cross_entropy(X, LABELS))


class TestWhen:
    def test_small_arrays_are_left_to_xla(self, jax: Any) -> None:
        assert not calls(jax, tinyloss.cross_entropy, of(jax, X[:32]), of(jax, LABELS[:32]))

    def test_never_where_numpys_losses_are_not_to_be_compiled(self, jax: Any) -> None:
        with tinyloss_numpy.compilation("never"):
            assert not calls(jax, tinyloss.cross_entropy, of(jax, X), of(jax, LABELS))

    def test_arrays_that_no_memory_holds_are_lowered(self, jax: Any) -> None:
        x = jax.ShapeDtypeStruct((2**21, 2**18), "float32")
        y = jax.ShapeDtypeStruct((2**21,), "int32")
        assert not calls(jax, jax.grad(tinyloss.cross_entropy), x, y)

    @pytest.mark.long
    def test_programs_that_are_exported_call_nothing(self, jax: Any) -> None:
        types = [jax.ShapeDtypeStruct(each.shape, each.dtype) for each in (X, LABELS)]
        exported = jax.export.export(jax.jit(tinyloss.cross_entropy))(*types)
        again = jax.export.deserialize(exported.serialize())
        found = again.call(of(jax, X), of(jax, LABELS))
        near(np.asarray(found), tinyloss.cross_entropy(X, LABELS))

    @pytest.mark.long
    def test_arrays_on_a_mesh(self, jax: Any) -> None:
        mesh = jax.make_mesh((1,), ("items",))
        x = jax.device_put(of(jax, X), jax.NamedSharding(mesh, jax.P("items")))
        found = jax.jit(jax.grad(tinyloss.cross_entropy))(x, of(jax, LABELS))
        expected = tinyloss.grad(tinyloss.cross_entropy)(X, LABELS)
        size = np.abs(expected).max()
        assert np.abs(np.asarray(found) - expected).max() <= 1e-6 * size

    @pytest.mark.long
    @pytest.mark.parametrize(
        "setting",
        [{"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}, {"hidden": "llvmlite"}],
        ids=["several devices", "no compiler"],
    )
    def test_formulas_where_there_are_several_devices_or_no_compiler(
        self, setting: Any, jax: Any
    ) -> None:
        said = python(
            """
            import os, sys, warnings
            if "hidden" in os.environ:
                sys.modules[os.environ["hidden"]] = None
            import jax, jax.numpy as jnp, tinyloss
            warnings.simplefilter("error")
            x, y = jnp.ones((2048, 64)), jnp.zeros(2048, int)
            print("tinyloss_numpy" in jax.jit(tinyloss.cross_entropy).lower(x, y).as_text())
            print(f'{tinyloss.cross_entropy(x, y):.3f}')
            """,
            **setting,
        )
        assert said.split() == ["False", "4.159"]


class TestCalls:
    def test_an_error_in_a_call_is_raised_by_jax(
        self, jax: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from tinyloss_jax import _native

        def broken(job: Any, results: Any) -> None:
            raise MemoryError("no room for a gradient")

        monkeypatch.setattr(_native, "_answer_in_memory", broken)
        with pytest.raises(Exception, match="MemoryError: no room for a gradient"):
            jax.block_until_ready(tinyloss.cross_entropy(of(jax, X), of(jax, LABELS)))

    def test_a_call_that_a_signal_breaks_off_before_it_begins_is_an_error(
        self, jax: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Ctrl-C during a long program is met where the next function of Python's begins
        from tinyloss_jax import _foreign

        def interrupted(frame: Any, told: Any) -> None:
            if not frame.contents.extension:  # XLA does not ask for the version
                raise KeyboardInterrupt
            frame.contents.extension.contents.metadata.contents.version.minor = 1
            told[0] = 0

        unraisable: list[Any] = []
        monkeypatch.setattr(sys, "unraisablehook", lambda each: unraisable.append(each.exc_type))
        entry = _foreign.entry_of(_foreign.Answering(interrupted))
        name = "tinyloss_interrupted"
        jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(entry), platform="cpu")
        call = jax.ffi.ffi_call(name, jax.ShapeDtypeStruct((), np.float32))
        with pytest.raises(Exception, match="tinyloss: the call was interrupted"):
            jax.block_until_ready(call(of(jax, X)))
        assert unraisable == [KeyboardInterrupt]

    def test_a_program_gives_the_same_bits_whatever_holds_where_it_is_called(
        self, jax: Any
    ) -> None:
        x, y = of(jax, X), of(jax, LABELS)
        derive = jax.jit(jax.value_and_grad(tinyloss.cross_entropy))
        value, slope = derive(x, y)
        with tinyloss_numpy.compilation("never"):
            first = derive(x, y)
        with tinyloss_numpy.compilation("auto"):
            tinyloss.clear_caches()
            second = derive(x, y)
        for again, slopes in (first, second):
            assert again == value
            assert (slopes == slope).all()

    def test_many_threads_at_once(self, jax: Any) -> None:
        from concurrent.futures import ThreadPoolExecutor

        x, y = of(jax, X), of(jax, LABELS)
        derive = jax.jit(jax.value_and_grad(tinyloss.cross_entropy)).lower(x, y).compile()
        value, slope = derive(x, y)
        with ThreadPoolExecutor(4) as pool:
            for again, slopes in pool.map(lambda _: derive(x, y), range(40)):
                assert again == value
                assert (slopes == slope).all()

    @pytest.mark.long
    def test_a_process_may_end_while_xla_works(self, jax: Any) -> None:
        python(
            """
            import jax, jax.numpy as jnp, tinyloss
            x, y = jnp.ones((100_000, 64)), jnp.zeros(100_000, int)
            step = jax.jit(jax.grad(tinyloss.cross_entropy))
            for _ in range(5):
                step(x, y)
            """,
            JAX_PLATFORMS="cpu",
        )

    @pytest.mark.long
    def test_a_process_may_end_while_a_call_waits_for_python(self, jax: Any) -> None:
        python(
            """
            import faulthandler
            faulthandler.dump_traceback_later(60, exit=True)
            import jax, jax.numpy as jnp, tinyloss
            x, y = jnp.ones((20_000, 64)), jnp.zeros(20_000, int)
            # a product before the loss: XLA works in a thread of its own
            step = jax.jit(jax.grad(lambda w: tinyloss.cross_entropy(x @ w, y)))
            for _ in range(4):
                step(jnp.eye(64))
            """,
            JAX_PLATFORMS="cpu",
        )

    @pytest.mark.long
    @pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no alarm")
    def test_a_signal_handler_that_raises_spoils_no_result(self, jax: Any) -> None:
        said = python(
            """
            import signal, time
            import jax, jax.numpy as jnp, tinyloss

            def strike(*_):
                raise InterruptedError

            x, y = jnp.arange(2048 * 64.0).reshape(2048, 64) % 7, jnp.zeros(2048, int)
            loss = jax.jit(tinyloss.cross_entropy)
            expected = float(loss(x, y))
            signal.signal(signal.SIGALRM, strike)
            struck = 0
            for n in range(1000):
                try:
                    signal.setitimer(signal.ITIMER_REAL, 1e-5 * (1 + n % 50))
                    for _ in range(3):
                        assert float(loss(x, y)) == expected
                    time.sleep(1)
                except Exception as error:  # the handler's, or XLA's of a call that it broke off
                    assert "nterrupt" in repr(error)
                    struck += 1
            print(struck)
            """,
            JAX_PLATFORMS="cpu",
        )
        assert int(said) > 900  # one that strikes in a finalizer is lost

    @pytest.mark.long
    def test_programs_that_xla_keeps_on_disk_find_the_loop_in_another_process(
        self, tmp_path: Any, jax: Any
    ) -> None:
        code = """
            import jax, jax.numpy as jnp, tinyloss
            jax.config.update("jax_compilation_cache_dir", "FOLDER")
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
            jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
            losses = [tinyloss.cross_entropy, tinyloss.poly_cross_entropy]
            x = jnp.arange(2048 * 64.0).reshape(2048, 64) % 7
            y = jnp.zeros(2048, int)
            found = {loss.__name__: float(jax.jit(loss)(x, y)) for loss in ORDER}
            print(sorted(found.items()))
            """.replace("FOLDER", str(tmp_path))
        said = [
            python(code.replace("ORDER", order), JAX_PLATFORMS="cpu")
            for order in ("losses", "losses[::-1]")
        ]
        assert said[0] == said[1]
        assert any(tmp_path.iterdir())
