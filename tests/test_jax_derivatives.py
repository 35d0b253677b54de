"""JAX's derivatives of the losses.

JAX differentiates a loss by a rule that knows its closed form. So what it answers is held to
`tinyloss.grad` and `tinyloss.grad_and_hess` on NumPy, where there is no JAX.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinyloss
from tests.support.cases import CASES, Case, few_cases, in_doubles, weight_and_mask
from tests.support.families import allowed, families
from tests.support.on_jax import CLASS_WEIGHT, FEW, OTHER, SHARES, WEIGHT, X, Y, close, few
from tests.support.params import turns
from tests.support.specs import EXACT

# For losses chosen at run time, whose parameters no type checker can follow.
anyloss: Any = tinyloss

EPS32, EPS64 = 2.0**-23, 2.0**-52

WAY = np.cos(np.arange(1.0, 13.0)).reshape(4, 3)
"""A direction of no symmetry."""

# A derivative line by line adds what the closed form cancels beforehand.
BY_LINES = "terms up to ten times as large as their sum"


def traced(jax: Any, call: Callable[..., Any], arrays: Any, options: dict[str, Any]) -> Any:
    """Return what a jitted call returns: arrays are traced, all else is static."""
    known = {k: v for k, v in options.items() if not isinstance(v, np.ndarray)}
    given = {k: v for k, v in options.items() if isinstance(v, np.ndarray)}
    return jax.jit(lambda arrays, given: call(*arrays, **known, **given))(arrays, given)


class TestFirstDerivatives:
    @few_cases
    def test_every_transformation_gives_the_closed_form(self, case: Case, jax: Any) -> None:
        arrays, options = in_doubles(case)
        weight, where = weight_and_mask(case)
        options |= {"weight": weight.astype(np.float64), "where": where}
        floats = [arrays[n] for n in case.argnums]
        ways = [np.cos(np.arange(1.0, 1 + each.size)).reshape(each.shape) for each in floats]

        def everything(*arrays: Any, **options: Any) -> Any:
            def loss(*floats: Any) -> Any:
                given = dict(enumerate(arrays)) | dict(zip(case.argnums, floats, strict=True))
                return case.loss(*given.values(), **options)

            floats = tuple(arrays[n] for n in case.argnums)
            numbers = tuple(range(len(floats)))
            value, gradient = jax.value_and_grad(loss, numbers)(*floats)
            _, pull = jax.vjp(loss, *floats)
            _, push = jax.linearize(loss, *floats)
            gradients = {
                "value_and_grad": gradient,
                "vjp": pull(jax.numpy.ones_like(value)),
                "jacfwd": jax.jacfwd(loss, numbers)(*floats),
            }
            along = jax.jvp(loss, floats, tuple(map(jax.numpy.asarray, ways)))[1], push(*ways)
            return gradients, along

        gradients, along = jax.device_get(traced(jax, everything, arrays, options))
        expected = anyloss.grad(case.loss, case.argnums)(*arrays, **options)
        for gradient in gradients.values():
            close(gradient, expected)
        terms = np.concatenate([(g * w).ravel() for g, w in zip(expected, ways, strict=True)])
        for each in along:  # terms of either sign: within 16 eps of their magnitudes
            assert abs(each - terms.sum()) <= 16 * EPS64 * np.abs(terms).sum()

    @pytest.mark.long
    @pytest.mark.parametrize("reduction", ["sum", "none"])
    @few
    def test_every_reduction(self, loss: Any, x: Any, y: Any, reduction: str, jax: Any) -> None:
        options: Any = {"weight": WEIGHT[:, None] if loss is tinyloss.log_cosh else WEIGHT}

        def of(x: Any, y: Any) -> Any:
            return loss(x, y, **options, reduction=reduction).sum()

        expected = anyloss.grad(loss)(x, y, **options, reduction=reduction)
        close(jax.jit(jax.grad(of))(x, y), expected)

    @pytest.mark.parametrize(
        ("loss", "x", "y"),
        turns(
            [
                (tinyloss.cross_entropy, [[20, 0, 0]], [0]),
                (tinyloss.cross_entropy, [[20, 0, 0]], [[1.0, 0.0, 0.0]]),
                (tinyloss.softmax_focal, [[10, 0, 0]], [0]),
                (tinyloss.binary_cross_entropy_with_logits, [-20, 20, -60], [0.0, 1.0, 0.0]),
                (tinyloss.sigmoid_focal, [-20, 20], [0.0, 1.0]),
                (tinyloss.soft_margin, [20, -20], [1.0, -1.0]),
                (tinyloss.binary_cross_entropy, [1e-30, 1e-9], [0.0, 1.0]),
                (tinyloss.huber, [1e-9, -1e-20], [0.0, 0.0]),
                (tinyloss.log_cosh, [1e-4, -1e-9], [0.0, 0.0]),
                (tinyloss.msle, [1e-7], [0.0]),
                (tinyloss.kl_div_with_logits, [[0.001, 0, 0.5]], [[0.0, 0.0, 0.5]]),
            ],
            4,
        ),
    )
    def test_tails_keep_their_digits(self, loss: Any, x: Any, y: Any, jax: Any) -> None:
        x = np.array(x, dtype=np.float32)
        y = np.array(y, dtype=np.float32 if isinstance(np.ravel(y)[0], float) else np.int32)
        exact = anyloss.grad(loss)(
            x.astype(np.float64), y.astype(np.float64) if y.dtype == np.float32 else y
        )
        native = jax.grad(loss)
        for gradient in (native(*map(jax.numpy.asarray, (x, y))), jax.jit(native)(x, y)):
            assert gradient.dtype == np.float32
            error = np.abs(np.asarray(gradient, dtype=np.float64) / exact - 1)
            assert np.max(error) <= allowed(loss.__name__, "x", {}) * EPS32

    @pytest.mark.long
    @pytest.mark.parametrize(
        ("name", "x", "y", "by", "at", "options"),
        turns(
            [
                ("log_cosh", X, OTHER, "weight", X * X + 1, {}),
                ("cross_entropy", X, Y, "weight", WEIGHT, {}),
                ("cross_entropy", X, SHARES, "weight", WEIGHT, {}),
                ("cross_entropy", X, Y, "denominator", np.array(3.0), {}),
                ("cross_entropy", X, Y, "class_weight", CLASS_WEIGHT, {}),
                ("cross_entropy", X, Y, "class_weight", CLASS_WEIGHT, {"label_smoothing": 0.1}),
                ("cross_entropy", X, SHARES, "class_weight", CLASS_WEIGHT, {}),
                ("softmax_focal", X, Y, "class_weight", CLASS_WEIGHT, {}),
                ("softmax_focal", X, SHARES, "class_weight", CLASS_WEIGHT, {}),
                ("nll", X, Y, "class_weight", CLASS_WEIGHT, {}),
                ("binary_cross_entropy_with_logits", X, SHARES, "pos_weight", CLASS_WEIGHT, {}),
            ],
            4,
        ),
        ids=lambda each: each if isinstance(each, str) else "",
    )
    def test_derivatives_by_everything_else(
        self, name: str, x: Any, y: Any, by: str, at: Any, options: Any, jax: Any
    ) -> None:
        def of(at: Any, x: Any = x, y: Any = y) -> Any:
            return getattr(tinyloss, name)(x, y, **options, **{by: at})

        arrays = jax.numpy.asarray(x), jax.numpy.asarray(y)
        gradient = jax.jit(jax.grad(of))(jax.numpy.asarray(at), *arrays)
        # Central differences err by h^2 = 1e-10 of a third derivative, and eps / h = 2e-11 of
        # rounding.
        h = 1e-5
        steps = h * np.eye(at.size).reshape(at.size, *at.shape)
        expected = [(of(at + step) - of(at - step)) / (2 * h) for step in steps]
        np.testing.assert_allclose(
            np.ravel(gradient), expected, rtol=0, atol=1e-8 * np.max(np.abs(expected))
        )

    def test_the_targets_divisor_moves_with_the_target(self, jax: Any) -> None:
        """Where class weights weigh probabilities, the mean's divisor depends on these."""
        x, y, options = X, SHARES, {"class_weight": CLASS_WEIGHT, "weight": WEIGHT}
        native = jax.jit(jax.grad(tinyloss.cross_entropy, 1))(x, y, **options)
        close(native, anyloss.grad(tinyloss.cross_entropy, 1)(x, y, **options))

    @pytest.mark.long
    @few
    def test_gradients_asked_of_tinyloss_are_differentiable(
        self, loss: Any, x: Any, y: Any, jax: Any
    ) -> None:
        """`tinyloss.grad` inside a function that JAX differentiates."""
        way = jax.numpy.asarray(WAY)

        def native(x: Any, y: Any) -> Any:
            return jax.jvp(lambda x: jax.grad(loss)(x, y), (x,), (way,))[1]

        def closed(x: Any, y: Any) -> Any:
            return jax.jvp(lambda x: anyloss.grad(loss)(x, y), (x,), (way,))[1]

        together = jax.jit(lambda x, y: (native(x, y), closed(x, y)))
        close(*together(x, y))


class TestSecondDerivatives:
    ONE_EACH = tuple({(c.loss.__name__, c.x.ndim == c.y.ndim): c for c in CASES[::-1]}.values())

    @pytest.mark.parametrize("case", turns(ONE_EACH, 8), ids=lambda case: case.name)
    @pytest.mark.heavy(24)
    def test_the_hessians_diagonal_is_the_closed_curvature(self, case: Case, jax: Any) -> None:
        arrays, options = in_doubles(case)
        axis = options.get("axis", -1)

        def diagonal(x: Any, *rest: Any, **options: Any) -> Any:
            slope = jax.grad(lambda x: case.loss(x, *rest, **options, reduction="none").sum())
            if not case.rowwise:  # the Hessian is diagonal
                return jax.jvp(slope, (x,), (jax.numpy.ones_like(x),))[1]

            def of(one: Any) -> Any:
                along = jax.numpy.broadcast_to(one, (*case.items, one.size))
                along = jax.numpy.moveaxis(along, -1, axis)
                return (jax.jvp(slope, (x,), (along,))[1] * along).sum(axis)

            return jax.vmap(of, out_axes=axis)(jax.numpy.eye(x.shape[axis]))

        result = traced(jax, diagonal, arrays, options)
        expected = anyloss.grad_and_hess(case.loss)(*arrays, **options)[1]
        close(result, expected, eps=128, why=BY_LINES)

    @pytest.mark.long
    @pytest.mark.parametrize(
        ("loss", "x", "y"),
        turns([(tinyloss.softmax_focal, X, SHARES), *FEW.values()], 4, ["softmax_focal", *FEW]),
    )
    def test_forward_and_reverse_agree(self, loss: Any, x: Any, y: Any, jax: Any) -> None:
        def products(x: Any, y: Any, way: Any) -> Any:
            def of(x: Any) -> Any:
                return loss(x, y)

            def along(x: Any) -> Any:
                return jax.jvp(of, (x,), (way,))[1]

            def dot(x: Any) -> Any:
                return (jax.grad(of)(x) * way).sum()

            return {
                "forward over reverse": jax.jvp(jax.grad(of), (x,), (way,))[1],
                "reverse over reverse": jax.grad(dot)(x),
                "reverse over forward": jax.grad(along)(x),
                "hessian": jax.numpy.tensordot(jax.hessian(of)(x), way, 2),
            }

        results = jax.device_get(jax.jit(products)(x, y, WAY))
        for result in results.values():
            close(result, results["hessian"], eps=128, why=BY_LINES)

    @pytest.mark.parametrize("name", turns([name for name in EXACT if EXACT[name].curved], 12))
    @pytest.mark.heavy(16)
    def test_none_is_nan_where_the_closed_curvature_is_finite(self, name: str, jax: Any) -> None:
        """At inputs from ordinary to extreme, where a product of 0 and an infinity may lurk."""
        loss, rowwise, own = getattr(tinyloss, name), EXACT[name].rowwise, EXACT[name].arguments
        groups: dict[Any, list[Any]] = {}
        for _, inputs in families(name, "float32", n=4):
            if set(inputs) <= {*own} and (not rowwise or inputs["x"].shape[-1] == 10):
                groups.setdefault(inputs["y"].ndim, []).append(inputs)

        def both(x: Any, *rest: Any) -> Any:
            def slope(x: Any) -> Any:
                return jax.grad(lambda x: loss(x, *rest, reduction="none").sum())(x)

            way = 1 + jax.numpy.arange(x.size, dtype=x.dtype).reshape(x.shape) % 7 / 8
            forward = jax.jvp(slope, (x,), (way,))[1]
            reverse = jax.grad(lambda x: (slope(x) * way).sum())(x)
            value = loss(x, *rest, reduction="none")
            return forward, reverse, anyloss.grad_and_hess(loss)(x, *rest)[1], value

        for group in groups.values():
            arrays = [np.concatenate([each[k] for each in group]) for k in own]
            *products, curvature, value = map(np.asarray, jax.jit(both)(*arrays))
            # A row's product adds up classes: none may overflow, nor the loss itself.
            tame = np.abs(curvature) < 1e36
            tame = tame.all(axis=-1, keepdims=True) if rowwise else tame
            tame = tame & np.isfinite(value[..., None] if rowwise else value)
            for product in products:
                wrong = ~np.isfinite(product) & tame
                places = np.argwhere(wrong)[:3, 0]
                assert not wrong.any(), [[a[place].tolist() for a in arrays] for place in places]

    @pytest.mark.long
    @pytest.mark.parametrize(
        ("loss", "x", "y"),
        turns([FEW["cross_entropy"], FEW["log_cosh"]], 2, ["labels", "log_cosh"]),
    )
    def test_third_derivatives(self, loss: Any, x: Any, y: Any, jax: Any) -> None:
        from jax.test_util import check_grads

        # Its tolerances are for its differences of float64.
        f, at = jax.jit(lambda x: loss(x, y[:1])), jax.numpy.asarray(x[:1])
        check_grads(f, (at,), order=3, modes=("rev",))
