"""A parameter that is a number may be an array of one: of any library, and traced."""

import inspect
from functools import partial
from typing import Any

import numpy as np
import pytest

import tinyloss
from tests.support.calls import Call
from tests.support.formulas import CASES, arguments
from tests.support.libraries import Library
from tests.support.specs import SPECS, Spec
from tinyloss._formula import Formula, Role
from tinyloss.cli.definitions import DEFINITIONS
from tinyloss.compiler.evaluation import run
from tinyloss.compiler.recorder import record

on = pytest.mark.parametrize

EPS = 2.0**-23

VALUES: dict[str, list[float]] = {
    "delta": [0.25],
    "beta": [0.25],
    "q": [0.25],
    "eps": [0.125],
    "label_smoothing": [0.125],
    "softcap": [2.0],
    "temperature": [0.5],
    "z_loss": [0.125],
    "alpha": [0.25, 0.5],
    "gamma": [0.25, 2.0, 2.5],  # a root, multiplications, a power
}


def values(spec: Spec, name: str) -> list[float]:
    return VALUES.get(name) or [DEFINITIONS[spec.name].tried[name]]


SEVERAL = {("quantile", "q"), ("sigmoid_focal", "alpha")}
"""Parameters that may be several numbers as well."""


def numbers_of(loss: Any) -> list[str]:
    """Return the parameters of a loss that are numbers."""
    parameters = inspect.signature(loss).parameters.values()
    return [
        each.name
        for each in parameters
        if "float | Array" in str(each.annotation) or (loss.__name__, each.name) in SEVERAL
    ]


NUMBERS = [
    pytest.param(spec, name, id=f"{spec.name}-{name}")
    for spec in SPECS.values()
    for name in numbers_of(spec.function)
]


def test_the_numbers_are_found() -> None:
    assert len(NUMBERS) >= 14


def has_numbers(params: Any) -> bool:
    return any(type(value) is float for value in params.values())


@on("formula,params", [case for case in CASES if has_numbers(case.values[1])])
def test_a_record_takes_the_numbers_as_inputs(
    formula: type[Formula], params: dict[str, Any]
) -> None:
    inputs, arrays = arguments(formula)
    numbers = {name: value for name, value in params.items() if type(value) is float}
    static = {name: value for name, value in params.items() if name not in numbers}
    inputs |= {name: Role(per_item=False) for name in numbers}
    for answer in ("value", *[f"grad_{name}" for name in inputs], "curvature"):
        if hasattr(formula, answer):
            given = arrays | {name: np.asarray(value) for name, value in numbers.items()}
            method = partial(lambda name, **a: getattr(formula(**a, **static), name)(), answer)
            (again,) = run(record(method, inputs, dtype="float64"), np, given)
            # the same operations in the same order: the same bits
            np.testing.assert_array_equal(again, method(**arrays, **numbers))


def answers(spec: Spec, call: Call, arrays: Any, options: Any) -> Any:
    value_and_grad: Any = tinyloss.value_and_grad(spec.function)
    return value_and_grad(*arrays, **{**call.options, "reduction": "none", **options})


def calls_of(spec: Spec, name: str) -> list[Call]:
    """Return the calls that a number may be given to: only logits are shaped."""
    shapes = name in ("softcap", "temperature", "z_loss")
    calls = [c for c in spec.calls if not shapes or c.options.get("from_logits", True)]
    # nor do all kinds of a loss have a share
    return [c for c in calls if name != "label_smoothing" or "kind" not in c.options]


def one_for_each_target(spec: Spec, name: str) -> list[Call]:
    """Return what is tried where each call is compiled."""
    return [*{call.arrays: call for call in calls_of(spec, name)}.values()]


def compare(spec: Spec, got: Any, expected: Any, gamma: float) -> None:
    for part, one, other in zip(("value", "x"), got, expected, strict=True):
        # twice: both are off by as much as their bound
        bound = 2 * spec.bound.eps(part, gamma) * EPS
        scale = max(1.0, float(np.abs(other).max()))
        np.testing.assert_allclose(one, other, rtol=bound, atol=bound * scale)


@on("spec,name", NUMBERS)
@on("xp", ["numpy", "torch", pytest.param("jax", marks=pytest.mark.long)], indirect=True)
def test_every_number_is_taken_as_an_array(spec: Spec, name: str, xp: Library) -> None:
    for call in one_for_each_target(spec, name) if xp.slow else calls_of(spec, name):
        host = [draw(np.random.default_rng(0)) for draw in call.arrays]
        own = [xp.own(each) for each in host]
        for value in values(spec, name):
            gamma = value if name == "gamma" else call.options.get("gamma", 2.0)
            expected = answers(spec, call, host, {name: value})
            # also NumPy's beside another library's, and of another dtype
            for array in (xp.own(np.asarray(value, np.float32)), np.asarray(value)):
                got = answers(spec, call, own, {name: array})
                compare(spec, xp.fetch(got), expected, gamma)


ENDS: dict[str, list[float]] = {
    "beta": [0.0],
    "q": [0.0, 1.0],
    "label_smoothing": [0.0, 1.0],
    "alpha": [0.0, 1.0],
    "gamma": [0.0, 1.0],
}


def has_ends(spec: Any, name: Any) -> bool:
    """Return whether a number may be at the ends of its range."""
    try:
        for value in ENDS.get(name, []):
            spec.function.check(**{name: value})
    except ValueError:
        return False
    return name in ENDS


ENDED = [n for n in NUMBERS if has_ends(n.values[0], n.values[1])]


@on("spec,name", ENDED)
@on("xp", ["numpy", "torch"], indirect=True)
def test_so_are_the_ends_of_its_range(spec: Spec, name: str, xp: Library) -> None:
    derive: Any = tinyloss.grad_and_hess(spec.function)
    for call in calls_of(spec, name):
        host = [draw(np.random.default_rng(0)) for draw in call.arrays]
        if not spec.definition.rowwise:
            host[0].flat[0] = host[1].flat[0]  # at a kink
        own = [xp.own(each) for each in host]
        for value in ENDS[name]:
            gamma = value if name == "gamma" else call.options.get("gamma", 2.0)
            array = xp.own(np.asarray(value, np.float32))
            expected = answers(spec, call, host, {name: value})
            compare(spec, xp.fetch(answers(spec, call, own, {name: array})), expected, gamma)
            expected = derive(*host, **{**call.options, name: value})
            got = xp.fetch(derive(*own, **{**call.options, name: array}))
            for one, other in zip(got, expected, strict=True):
                bound = 2 * (16 + spec.bound.promised["value"].per_gamma * gamma) * EPS
                scale = max(1.0, float(np.abs(other).max()))
                np.testing.assert_allclose(one, other, rtol=bound, atol=bound * scale)


@pytest.mark.long
@on("spec,name", NUMBERS)
def test_every_number_may_be_traced(spec: Spec, name: str, jax: Any) -> None:
    for call in one_for_each_target(spec, name):

        def traced(value: Any, own: Any, call: Call = call) -> Any:
            return answers(spec, call, own, {name: value})

        arrays = [draw(np.random.default_rng(0)) for draw in call.arrays]
        own, jitted = [*map(jax.numpy.asarray, arrays)], jax.jit(traced)
        for value in values(spec, name):
            gamma = value if name == "gamma" else call.options.get("gamma", 2.0)
            expected = answers(spec, call, arrays, {name: value})
            compare(spec, jitted(value, own), expected, gamma)
        assert jitted._cache_size() == 1


@on("spec,name", NUMBERS)
def test_other_arrays_are_refused(spec: Spec, name: str) -> None:
    arrays = [draw(np.random.default_rng(0)) for draw in spec.calls[0].arrays]
    shaped = [] if (spec.name, name) in SEVERAL else [np.ones(3), np.ones((1, 1))]
    for wrong in (*shaped, np.array(True), np.array(1j), np.array("1")):
        with pytest.raises(TypeError, match=rf"^tinyloss\.{spec.name}: {name} is a .*0-d array"):
            answers(spec, spec.calls[0], arrays, {name: wrong})


@on("jitted", [False, True])
def test_a_division_by_a_huge_number_keeps_its_digits_on_jax(jitted: bool, jax: Any) -> None:
    """XLA multiplies arrays by the inverse of a number, which is subnormal here."""
    x = np.linspace(1e37, 3e38, 16, dtype=np.float32)

    def total(x: Any) -> Any:
        return tinyloss.smooth_l1(x, 0.0 * x, beta=1e300, reduction="sum")

    beta = np.float64(np.finfo(np.float32).max)  # which 1e300 is taken for
    exact = x.astype(np.float64)
    slope = jax.grad(total)
    got = (jax.jit(slope) if jitted else slope)(jax.numpy.asarray(x))
    assert np.allclose(got, exact / beta, rtol=2 * EPS, atol=0)
    value = total(jax.numpy.asarray(x[:4]))
    assert np.isclose(value, (exact[:4] ** 2 / beta / 2).sum(), rtol=8 * EPS, atol=0)
