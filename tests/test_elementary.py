"""The elementary functions of the compiled loops: errors, limits, and that they are vector code."""

import platform
import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("llvmlite")

from tests.support.elementary import (
    BOUND,
    DTYPES,
    NAMES,
    NARROW,
    apply,
    arguments,
    errors,
    errors_of_doubles,
    inside,
    loop,
    reference,
    sample,
    specials,
)
from tests.support.machine import Machine
from tests.support.process import python
from tinyloss_numpy import _compiler
from tinyloss_numpy._elementary import CONSTANTS
from tinyloss_numpy._llvm import Value, where
from tinyloss_numpy._loops import vocabulary
from tinyloss_numpy._memory import accessors
from tinyloss_numpy._source import LANES

Array = npt.NDArray[Any]

ALL = (*NAMES, *NARROW)
OF_LIBM = ("sin", "cos")
ODD = ("expm1", "log1p", "tanh", "sinh", "sin")

PACKED = {
    "x86_64": r"\bv?(mul|add|fn?m(add|sub)\d+)p[sd]\b",
    "aarch64": r"\bfml[as]\s+v\d+\.[24][sd]",
}


@pytest.fixture(scope="module")
def loops() -> dict[tuple[str, str], Any]:
    """Compiled once for all tests."""
    return {(name, dtype): loop(name, dtype) for name in ALL for dtype in DTYPES}


def at_worst(name: str, inputs: tuple[Array, ...], error: Array) -> str:
    i = int(error.argmax())
    return f"{name}{tuple(float(x[i]) for x in inputs)}: {error[i]} eps"


def worst_float32(name: str, compiled: Any, number: int) -> tuple[float, str]:
    """Return the largest error, and where. NumPy's float64 is exact here: it is off by 2^-28."""
    inputs = sample(name, "float32", number)
    with np.errstate(all="ignore"):
        exact = reference(name, *(x.astype(np.float64) for x in inputs))
    error = errors(apply(compiled, *inputs), exact)
    return error.max(), at_worst(name, inputs, error)


def worst_float64(name: str, compiled: Any, number: int) -> tuple[float, str]:
    """Return the largest error, and where: against mpmath."""
    inputs = sample(name, "float64", number)
    finite = np.isfinite(np.stack(inputs)).all(axis=0)
    inputs = tuple(x[finite] for x in inputs)
    error = errors_of_doubles(name, inputs, apply(compiled, *inputs))
    return error.max(), at_worst(name, inputs, error)


@pytest.mark.parametrize("name", ALL)
def test_float32_is_within_the_bound(name: str, loops: Any) -> None:
    error, where = worst_float32(name, loops[name, "float32"], 150_000)
    assert error <= BOUND, where


@pytest.mark.long
@pytest.mark.parametrize("name", ALL)
def test_float64_is_within_the_bound(name: str, loops: Any) -> None:
    error, where = worst_float64(name, loops[name, "float64"], 600)
    assert error <= BOUND, where


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ALL)
def test_limits_are_those_of_numpy(name: str, dtype: str, loops: Any) -> None:
    """NaN, infinities and zeros, with their signs."""
    inputs = [specials(dtype)]
    if arguments(name) == 2:
        inputs = [each.ravel() for each in np.meshgrid(inputs[0], inputs[0])]
    with np.errstate(all="ignore"):
        inputs = [*inside(name, *inputs)]
        expected = reference(name, *inputs)
    got = apply(loops[name, dtype], *inputs)
    numbers = ~np.isnan(expected)
    np.testing.assert_array_equal(np.isnan(got), ~numbers)
    np.testing.assert_array_equal(np.isinf(got), np.isinf(expected))
    np.testing.assert_array_equal(got == 0, expected == 0)
    np.testing.assert_array_equal(np.signbit(got)[numbers], np.signbit(expected)[numbers])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ODD)
def test_odd_functions_return_tiny_numbers_as_they_are(name: str, dtype: str, loops: Any) -> None:
    """No subnormal number is flushed, no zero loses its sign."""
    info = np.finfo(dtype)
    least = info.smallest_subnormal
    x = np.array([0.0, least, 3 * least, info.tiny - least, info.tiny, 2 * info.tiny], dtype)
    x = np.concatenate([x, -x])
    got = apply(loops[name, dtype], x)
    np.testing.assert_array_equal(got, x)
    np.testing.assert_array_equal(np.signbit(got), np.signbit(x))


@pytest.mark.parametrize("dtype", DTYPES)
def test_subnormal_results_are_gradual(dtype: str, loops: Any) -> None:
    """exp falls to its last subnormal number step by step."""
    least = float(np.finfo(dtype).smallest_subnormal)
    x = np.log(least) + np.log(np.arange(1.0, 200.0))
    got = apply(loops["exp", dtype], x.astype(dtype))
    np.testing.assert_allclose(got / np.dtype(dtype).type(least), np.arange(1, 200), atol=1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_whole_results_are_exact(dtype: str, loops: Any) -> None:
    one, zero = np.ones(1, dtype), np.zeros(1, dtype)
    assert apply(loops["exp", dtype], zero) == 1
    assert apply(loops["exp_negative", dtype], zero) == 1
    assert apply(loops["exp_shortfall", dtype], one / 3, one / 3) == 1
    assert apply(loops["cosh", dtype], zero) == 1
    assert apply(loops["log", dtype], one) == 0
    assert apply(loops["tanh", dtype], one * 100) == 1
    assert apply(loops["pow", dtype], one * 0, zero) == 1


@pytest.mark.skipif(
    platform.system() != "Linux" or platform.machine() not in PACKED,
    reason="the look of assembly elsewhere is not known to this test",
)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name in ALL if name not in OF_LIBM])
def test_loop_is_vector_code(name: str, dtype: str, loops: Any) -> None:
    text = _compiler.machine().emit_assembly(loops[name, dtype].module)
    assert re.search(PACKED[platform.machine()], text)
    assert not re.search(r"^\s+(call|bl)[a-z]*\s", text, re.MULTILINE)


@pytest.mark.long
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="others have FMA")
def test_bound_holds_without_fused_multiply_add() -> None:
    """Machines before 2013, and virtual machines that pass for them."""
    code = """
        import llvmlite.binding as llvm
        llvm.get_host_cpu_name = lambda: "nehalem"
        llvm.get_host_cpu_features = lambda: llvm.FeatureMap({"sse4.2": True})
        from tests.support.elementary import NARROW, loop
        from tests.test_elementary import worst_float32, worst_float64
        for name in ("exp", "expm1", "log", "log1p", "pow", *NARROW):
            print(*worst_float32(name, loop(name, "float32"), 100_000))
            print(*worst_float64(name, loop(name, "float64"), 1_000))
    """
    said = python(code).splitlines()
    assert len(said) == 2 * (5 + len(NARROW))
    assert all(float(line.split()[0]) <= BOUND for line in said), said


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["exp", "log1p_unit", "tanh"])
def test_constants_in_memory_are_the_same_numbers(name: str, dtype: str) -> None:
    lanes = LANES[dtype]
    names = {
        **vocabulary(dtype),
        **accessors(dict.fromkeys(("x", "out"), (dtype, dtype)), lanes),
    }
    line = f"put_out(entry(table, 1), {name}(take_x(entry(table, 0))))"
    x = np.linspace(0, 1, lanes, dtype=dtype)
    found = []
    for in_memory in (False, True):
        compiled = Machine(names, line, constants_in_memory=in_memory)
        assert ('@"constant' in str(compiled.module)) == in_memory
        out = np.empty_like(x)
        compiled(x.ctypes.data, out.ctypes.data)
        found.append(out)
    np.testing.assert_array_equal(found[0], found[1])


@pytest.mark.parametrize("dtype", DTYPES)
def test_constants_split_as_they_say(dtype: str) -> None:
    """Products of an exponent and ln2_high are exact: log(2^e) counts on it."""
    k, info = CONSTANTS[dtype], np.finfo(dtype)
    exponents = np.arange(info.minexp - info.nmant, info.maxexp + 2)
    products = exponents.astype(dtype) * np.dtype(dtype).type(k.ln2_high)
    np.testing.assert_array_equal(
        products.astype(np.longdouble), exponents * np.longdouble(k.ln2_high)
    )


def test_other_dtype_is_an_error_of_types() -> None:
    """A float64 that strayed into a float32 loop is not computed with unnoticed."""
    with pytest.raises(TypeError, match="exp of float64, expected float32"):
        Machine(vocabulary("float32"), "x = exp(1.0)")


def test_choice_converts_nothing() -> None:
    with pytest.raises(TypeError, match="where: bool, float32 and int64"):
        Machine(vocabulary("float32"), "x = real(1.0)", "y = where(x > 0, x, 1)")


@pytest.mark.parametrize("dtype", DTYPES)
def test_instructions_do_what_they_are_named(dtype: str) -> None:
    words: dict[str, Any] = {
        "choose": lambda x, y: where(x < y, x, y),
        "rint": lambda x, y: x.rint(),
        "fabs": lambda x, y: x.fabs(),
        "copysign": Value.copysign,
        "fma": lambda x, y: x.fma(x, y),
        "muladd": lambda x, y: x.muladd(x, y),
        "larger": Value.maximum,
        "smaller": Value.minimum,
        "sqrt": lambda x, y: y.sqrt(),
        "again": lambda x, y: x.as_int().as_float(),
    }
    every = Machine(
        {**vocabulary(dtype), **words, **accessors({"a": (dtype, dtype)})},
        "a = entry(table, 0)",
        "x = load_a(a, 0)",
        "y = load_a(a, 1)",
        *(f"store_a(a, {n}, {word}(x, y))" for n, word in enumerate(words, 2)),
    )

    def got(x: float, y: float) -> list[float]:
        numbers = np.zeros(2 + len(words), dtype)
        numbers[:2] = x, y
        every(numbers.ctypes.data)
        return [*numbers[2:]]

    assert got(-2.5, 4.0) == [-2.5, -2.0, 2.5, 2.5, 10.25, 10.25, 4.0, -2.5, 2.0, -2.5]
    nan = got(np.nan, 4.0)
    assert np.isnan([nan[6], nan[7]]).all()
    assert np.signbit(got(-0.0, 0.0)[7])
