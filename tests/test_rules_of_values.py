"""Rules of what comes out at infinities and kinks, by autodiff, and of what changes nothing."""

import math
from typing import Any, ClassVar

import numpy as np

import tinyloss
from tests.support.cases import CASES, Case, every_case
from tests.support.libraries import LIBRARIES, Library
from tests.support.params import turns
from tests.support.rules import BASIC, INF, NAN, anyloss, by_lines, close, doubles, everything, on
from tests.support.specs import ACTIVATIONS

OF_EACH = ("nca_pair", "bco_pair", "sppo_hard", "apo_zero")
"""Kinds of `dpo` that are a sum over both answers: none has a part in the other's gradient."""


class TestRule6Infinities:
    """An infinite input gives the limit of the loss, and NaN where there is none."""

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

    @on(
        "case,argument",
        [(case, n) for case in CASES for n in (0, 1) if case.arrays[n].dtype.kind == "f"],
        ids=lambda each: getattr(each, "name", each),
    )
    def test_nan_propagates(self, case: Case, argument: int) -> None:
        arrays, options = doubles(case)
        arrays = tuple(each.copy() for each in arrays)
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
        if loss == "nll" or (loss in ("kl_div", "relative_entropy") and argument == 0):
            return  # linear in x
        if argument == 1 and case.options.get("kind") in OF_EACH:
            return
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
    """A probability of 0 or 1 counts as the nearest at which the logarithm is finite."""

    @on(
        "xp,dtype",
        [(name, dtype) for name, lib in LIBRARIES.items() for dtype in lib.floats],
        indirect=["xp"],
    )
    @on("p,y", [(0.0, 1.0), (1.0, 0.0)])
    def test_wrong_certainty_is_floored_at_the_smallest_normal(
        self, p: float, y: float, dtype: str, xp: Library
    ) -> None:
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
    """The derivative at a kink is 0."""

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
