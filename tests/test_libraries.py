"""Every loss on every array library: the same numbers, in the caller's library and dtype."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import tinyloss
from tests.conftest import LIBRARIES, Library, NumPyArray, dtype_name, numpy_dtype

# For losses chosen at run time, whose parameters no type checker can follow.
anyloss: Any = tinyloss

RNG = np.random.default_rng(2)
SHAPE = (4, 3)


def _values(low: float, high: float, *shape: int) -> NumPyArray:
    return RNG.uniform(low, high, shape or SHAPE).astype(np.float32)


def _logits(*shape: int) -> NumPyArray:
    return (2 * RNG.standard_normal(shape or SHAPE)).astype(np.float32)


def _distribution(*shape: int, axis: int = -1) -> NumPyArray:
    values = _values(0.1, 1.0, *shape)
    shares: NumPyArray = values / values.sum(axis=axis, keepdims=True)
    return shares


def _labels(*shape: int) -> NumPyArray:
    # Every class comes up.
    return RNG.permutation(np.arange(np.prod(shape or SHAPE[:1])) % 3).reshape(shape or SHAPE[:1])


@dataclass(frozen=True)
class Case:
    """A loss with ordinary arguments: no kink, no infinity, every float exact in float32."""

    name: str
    loss: Any
    x: NumPyArray
    y: NumPyArray
    more: tuple[NumPyArray, ...] = ()
    """Further positional arrays."""
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    argnums: tuple[int, ...] = (0, 1)
    """The differentiable arguments."""

    @property
    def arrays(self) -> tuple[NumPyArray, ...]:
        return (self.x, self.y, *self.more)

    @property
    def items(self) -> tuple[int, ...]:
        axis = self.options.get("axis", -1)
        shape = self.x.shape
        if not self.rowwise:
            return shape
        return tuple(n for i, n in enumerate(shape) if i != axis % len(shape))

    @property
    def rowwise(self) -> bool:
        return self.loss.__name__ in ROWWISE


ROWWISE = {"cross_entropy", "nll", "softmax_focal", "kl_div", "kl_div_with_logits", "js_div"}


def _cases() -> Iterator[Case]:
    def pointwise(
        loss: Any, x: NumPyArray, y: NumPyArray, *more: NumPyArray, **options: Any
    ) -> Case:
        name = "-".join([loss.__name__, *options])
        return Case(name, loss, x, y, more, options)

    def labels(loss: Any, x: NumPyArray, y: NumPyArray, **options: Any) -> Case:
        name = "-".join([loss.__name__, "labels", *options])
        return Case(name, loss, x, y, (), options, argnums=(0,))

    def rows(loss: Any, x: NumPyArray, y: NumPyArray, **options: Any) -> Case:
        name = "-".join([loss.__name__, "rows", *options])
        return Case(name, loss, x, y, (), options)

    t = tinyloss
    real, other = _logits(), _logits()
    some, signs = _values(0, 1), np.where(_values(0, 1) < 0.5, np.float32(-1), np.float32(1))
    per_class = np.array([0.5, 1.0, 2.5], dtype=np.float32)

    yield pointwise(t.mse, real, other)
    yield pointwise(t.mae, real, other)
    yield pointwise(t.huber, real, other)
    yield pointwise(t.huber, real, other, delta=0.3)
    yield pointwise(t.smooth_l1, real, other, beta=0.7)
    yield pointwise(t.smooth_l1, real, other, beta=0)
    yield pointwise(t.log_cosh, real, other)
    yield pointwise(t.quantile, real, other, q=0.9)
    yield pointwise(t.msle, _values(0, 5), _values(0, 5))
    yield pointwise(t.mape, real, other)
    yield pointwise(t.poisson_nll, real, _values(0, 5))
    yield pointwise(t.poisson_nll, _values(0.5, 5), _values(0, 5), log_input=False, full=True)
    yield pointwise(t.gaussian_nll, real, other, _values(0.5, 2))
    yield pointwise(t.gaussian_nll, real, other, _values(0.5, 2), full=True)
    yield pointwise(t.binary_cross_entropy, _values(0.05, 0.95), some)
    yield pointwise(t.binary_cross_entropy, _values(0.05, 0.95), some, eps=1e-7)
    yield pointwise(t.binary_cross_entropy_with_logits, real, some)
    yield pointwise(t.binary_cross_entropy_with_logits, real, some, pos_weight=per_class)
    yield pointwise(t.sigmoid_focal, real, some)
    yield pointwise(t.sigmoid_focal, real, some, alpha=0.25, gamma=1.5)
    yield pointwise(t.hinge, real, signs)
    yield pointwise(t.squared_hinge, real, signs)
    yield pointwise(t.soft_margin, real, signs)

    yield labels(t.cross_entropy, real, _labels())
    yield labels(t.cross_entropy, real, _labels(), class_weight=per_class)
    yield labels(t.cross_entropy, real, _labels(), label_smoothing=0.1)
    yield labels(
        t.cross_entropy,
        real,
        _labels(),
        label_smoothing=0.1,
        class_weight=per_class,
        ignore_index=1,
    )
    yield labels(t.cross_entropy, _logits(2, 3, 2, 2), _labels(2, 2, 2), axis=1)
    yield labels(t.cross_entropy, _logits(3, 4), _labels(4), axis=0, ignore_index=0)
    yield rows(t.cross_entropy, real, _distribution())
    yield rows(t.cross_entropy, real, _distribution(), label_smoothing=0.1, class_weight=per_class)
    yield rows(t.cross_entropy, _logits(2, 3, 2, 2), _distribution(2, 3, 2, 2, axis=1), axis=1)
    yield labels(t.cross_entropy, _distribution(), _labels(), from_logits=False)
    yield rows(
        t.cross_entropy,
        _distribution(),
        _distribution(),
        from_logits=False,
        label_smoothing=0.1,
        class_weight=per_class,
    )
    yield labels(t.softmax_focal, real, _labels())
    yield labels(t.softmax_focal, real, _labels(), gamma=0.5, class_weight=per_class)
    yield rows(t.softmax_focal, real, _distribution(), class_weight=per_class)
    yield labels(t.nll, np.log(_distribution()), _labels(), class_weight=per_class, ignore_index=0)
    yield rows(t.kl_div, np.log(_distribution()), _distribution())
    yield rows(t.kl_div, np.log(_distribution()), np.log(_distribution()), log_target=True)
    yield rows(t.kl_div_with_logits, real, other)
    yield rows(t.kl_div_with_logits, _logits(2, 3, 2), _logits(2, 3, 2), axis=-2)
    yield rows(t.js_div, _distribution(), _distribution())


CASES = list(_cases())
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def _one_of_each_kind() -> list[Case]:
    names = ("mse", "cross_entropy-labels", "kl_div_with_logits-rows")
    return [case for case in CASES if case.name in names]


# A pointwise loss, one of class indices, one of rows: what every rule is tried with where trying
# it with every loss would take minutes of compiling.
FEW_CASES = _one_of_each_kind()


def in_pairs(pairs: list[tuple[str, Case]]) -> pytest.MarkDecorator:
    """Parametrize a test by pairs of a library and a case."""
    ids = [f"{name}-{case.name}" for name, case in pairs]
    return pytest.mark.parametrize(("xp", "case"), pairs, indirect=["xp"], ids=ids)


ACTIVATIONS = [
    tinyloss.log_softmax,
    tinyloss.softmax,
    tinyloss.logsumexp,
    tinyloss.log_sigmoid,
    tinyloss.softplus,
]
every_activation = pytest.mark.parametrize("function", ACTIVATIONS, ids=lambda f: f.__name__)


def brought(xp: Library, case: Case, dtype: str | None) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arrays and options of a case as arrays of `xp`, floats in `dtype`."""

    def bring(value: Any) -> Any:
        if not isinstance(value, np.ndarray):
            return value
        return xp.asarray(value, dtype if value.dtype.kind == "f" else "int32")

    return tuple(map(bring, case.arrays)), {k: bring(v) for k, v in case.options.items()}


def answers(case: Case, few: bool = False) -> Callable[..., dict[str, Any]]:
    """Return a function that asks a loss for everything: one call, one trace, under `jax.jit`.

    With `few`, what the rest follows from by reductions that FEW_CASES try.
    """

    def ask(*arrays: Any, weight: Any, where: Any, **options: Any) -> dict[str, Any]:
        loss, chosen = case.loss, {"weight": weight, "where": where, **options}
        value, grads = anyloss.value_and_grad(loss, case.argnums)(*arrays, **options)
        parts = {
            "plain mean": loss(*arrays, **options),
            "mean": loss(*arrays, **chosen),
            "none": loss(*arrays, **chosen, reduction="none"),
            "value beside gradient": value,
            "gradient": grads,
            "gradient, curvature": anyloss.grad_and_hess(loss)(*arrays, **chosen),
        }
        if few:
            return parts
        of_sum, grads_of_sum = anyloss.value_and_grad(loss, case.argnums)(
            *arrays, **chosen, reduction="sum"
        )
        return parts | {
            "sum": loss(*arrays, **chosen, reduction="sum"),
            "value of sum beside gradient": of_sum,
            "gradient of sum": grads_of_sum,
            "gradient of mean": anyloss.grad(loss)(*arrays, **chosen),
        }

    return ask


def weight_and_mask(case: Case) -> tuple[NumPyArray, NumPyArray]:
    n = int(np.prod(case.items))
    weight = (np.arange(n) % 3 + np.float32(0.5)).astype(np.float32)
    return weight.reshape(case.items), (np.arange(n) % 4 != 1).reshape(case.items)


def assert_close(actual: NumPyArray, expected: NumPyArray, eps: float, what: str) -> None:
    """Hold `actual` to `expected` within 16 eps of its largest component.

    A library has its own exp and log, each within 2 eps or so, and its own order of summation; up
    to four of them follow each other in a loss. That a small component is accurate by itself is
    test_golden's business.
    """
    assert actual.shape == expected.shape, what
    allowed = 16 * eps * np.max(np.abs(expected), initial=0.0)
    error = np.max(np.abs(actual - expected), initial=0.0)
    assert error <= allowed, f"{what}: {error / eps / np.max(np.abs(expected))} eps"


def compare(actual: Any, expected: Any, eps: float, what: str = "") -> None:
    if isinstance(expected, dict):
        for name, each in expected.items():
            compare(actual[name], each, eps, name)
    elif isinstance(expected, tuple):
        for n, (a, b) in enumerate(zip(actual, expected, strict=True)):
            compare(a, b, eps, f"{what} {n}")
    else:
        assert_close(actual, np.asarray(expected), eps, what)


def in_numpy(case: Case) -> dict[str, Any]:
    """Return what NumPy answers in float64."""
    plain = Library("numpy")
    arrays, options = brought(plain, case, "float64")
    weight, where = weight_and_mask(case)
    result = answers(case)(*arrays, **options, weight=weight.astype(np.float64), where=where)
    assert isinstance(result, dict)
    return result


@in_pairs(
    [(name, case) for name in LIBRARIES for case in (FEW_CASES if name == "jax:x64" else CASES)]
)
def test_loss_is_numpys_on_every_library(xp: Library, case: Case) -> None:
    weight, where = weight_and_mask(case)
    expected = in_numpy(case)
    for dtype in xp.sweep:
        arrays, options = brought(xp, case, dtype)
        result = xp.call(
            answers(case, few=xp.slow and case not in FEW_CASES),
            *arrays,
            **options,
            weight=xp.asarray(weight, dtype),
            where=xp.asarray(where),
        )
        dtypes = {dtype_name(each) for each in _flat(result)}
        assert dtypes == {dtype}
        asked = {name: expected[name] for name in result}
        compare(xp.fetch(result), asked, float(np.finfo(dtype).eps))


def _flat(result: Any) -> Iterator[Any]:
    for each in result.values() if isinstance(result, dict) else result:
        if isinstance(each, tuple):
            yield from _flat(each)
        else:
            yield each


@every_activation
def test_activation_is_numpys_on_every_library(xp: Library, function: Any) -> None:
    x = _logits(4, 3)
    options = [{}, {"axis": 0}] if function.__name__.endswith(("max", "exp")) else [{}]
    for dtype in xp.sweep:
        for option in options:
            result = xp.call(function, xp.asarray(x, dtype), **option)
            assert dtype_name(result) == dtype
            expected = function(x.astype(np.float64), **option)
            assert_close(xp.numpy(result), expected, float(np.finfo(dtype).eps), "value")


@in_pairs(
    [
        (name, case)
        for name in ("numpy", "numpy:readonly", "torch", "jax", "jax:jit", "dask", "dask:split")
        for case in (CASES if name in ("numpy", "torch", "jax") else FEW_CASES)
    ]
)
def test_half_precision_is_float32_rounded_once(xp: Library, case: Case) -> None:
    """Rule 9: computed in float32, so the loss is float32; the gradient is rounded once."""

    def ask(*arrays: Any, **options: Any) -> Any:
        value, grads = anyloss.value_and_grad(case.loss, case.argnums)(*arrays, **options)
        return value, (*grads, *anyloss.grad_and_hess(case.loss)(*arrays, **options))

    for dtype in xp.halves[:2] if xp.name in ("jax:jit", "dask", "dask:split") else xp.halves:
        if xp.name.startswith("jax") and dtype == "float8_e4m3fn":
            continue  # JAX has it in storage alone
        arrays, options = brought(xp, case, dtype)
        wide_arrays = tuple(_widen(xp, each) for each in arrays)
        wide_options = {name: _widen(xp, each) for name, each in options.items()}
        value, derivatives = xp.call(ask, *arrays, **options)
        assert dtype_name(value) == "float32"
        assert {dtype_name(each) for each in derivatives} == {dtype}
        value, derivatives = xp.fetch((value, derivatives))
        single, singles = xp.fetch(xp.call(ask, *wide_arrays, **wide_options))
        fused = xp.name.startswith("jax")
        _assert_rounded_once(value, single, "float32", fused)
        for half, wide in zip(derivatives, singles, strict=True):
            _assert_rounded_once(half, wide, dtype, fused)


def _assert_rounded_once(
    half: NumPyArray, single: NumPyArray, dtype: str, fused: bool = False
) -> None:
    """Hold `half` to `single` rounded to a dtype.

    XLA fuses the program of half-precision arrays and that of float32 ones differently, so that
    float32 results differ by an eps or two before they are rounded, and the rounding may then go
    to either neighbour: half a unit in the last place away, and those.
    """
    if not fused:
        rounded = single.astype(numpy_dtype(dtype)).astype(np.float32)
        np.testing.assert_array_equal(half, rounded)
        return
    float32 = 2 * float(np.finfo(np.float32).eps) * np.max(np.abs(single), initial=0.0)
    rounding: Any = 0.0
    if dtype != "float32":
        info = ml_dtypes.finfo(dtype)
        unit = np.exp2(np.frexp(single)[1] - 1.0) * float(info.eps)
        rounding = np.maximum(unit, float(info.smallest_subnormal)) / 2
    assert np.all(np.abs(half - single) <= rounding + float32)


def _widen(xp: Library, value: Any) -> Any:
    return (
        xp.asarray(xp.numpy(value), "float32")
        if xp.owns(value) and dtype_name(value) in xp.halves
        else value
    )


def _pytest_without(library: str, tmp_path: Path, *arguments: str) -> tuple[int, str]:
    """Run pytest where a library cannot be imported."""
    (tmp_path / "hide.py").write_text(f"import sys\nsys.modules[{library!r}] = None\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "hide", "-p", "no:cacheprovider", *arguments],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_missing_library_is_a_visible_skip(tmp_path: Path) -> None:
    case = "tests/test_libraries.py::test_loss_is_numpys_on_every_library[dask-mse]"
    status, text = _pytest_without("dask.array", tmp_path, "-rs", case)
    assert status == 0, text
    assert "dask is not installed" in text


def test_missing_library_is_an_error_where_it_is_required(tmp_path: Path) -> None:
    for name in ("nosuch", "dask"):
        status, text = _pytest_without("dask", tmp_path, f"--require={name}", "--collect-only")
        assert status == pytest.ExitCode.USAGE_ERROR, text
        assert f"--require: {name} is not installed" in text
