"""The elementary functions of the compiled loops: errors, limits, and that they are vector code."""

import platform
import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("numba")

import numba
from numba.core.errors import TypingError

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
from tests.support.process import python
from tinyloss_numpy import _llvm
from tinyloss_numpy._elementary import CONSTANTS, functions

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


def text_of_loop(compiled: Any) -> str:
    """Return the assembly of a loop without Numba's wrappers, which do call functions."""
    (text,) = compiled.inspect_asm().values()
    start = text.index(":", text.index("@function"))
    return str(text[start : text.index(".size", start)])


@pytest.mark.skipif(
    platform.system() != "Linux" or platform.machine() not in PACKED,
    reason="the look of assembly elsewhere is not known to this test",
)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name in ALL if name not in OF_LIBM])
def test_loop_is_vector_code(name: str, dtype: str, loops: Any) -> None:
    text = text_of_loop(loops[name, dtype])
    assert re.search(PACKED[platform.machine()], text)
    assert not re.search(r"^\s+(call|bl)[a-z]*\s", text, re.MULTILINE)


@pytest.mark.long
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="others have FMA")
def test_bound_holds_without_fused_multiply_add() -> None:
    """Machines before 2013, and virtual machines that pass for them."""
    code = """
        from tests.support.elementary import NARROW, loop
        from tests.test_elementary import worst_float32, worst_float64
        for name in ("exp", "expm1", "log", "log1p", "pow", *NARROW):
            print(*worst_float32(name, loop(name, "float32"), 100_000))
            print(*worst_float64(name, loop(name, "float64"), 1_000))
    """
    said = python(code, NUMBA_CPU_NAME="nehalem", NUMBA_CPU_FEATURES="+sse4.2").splitlines()
    assert len(said) == 18
    assert all(float(line.split()[0]) <= BOUND for line in said), said


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
    with pytest.raises(TypingError):
        functions("float32")["exp"](1.0)


def test_select_converts_nothing() -> None:
    @numba.njit
    def choose(x: Any) -> Any:
        return _llvm.select(x > 0, x, 1)

    with pytest.raises(TypingError):
        choose(np.float32(1))


@pytest.mark.parametrize("dtype", DTYPES)
def test_instructions_do_what_they_are_named(dtype: str) -> None:
    number = np.dtype(dtype).type

    @numba.njit
    def every(x: Any, y: Any) -> Any:
        return (
            _llvm.select(x < y, x, y),
            _llvm.rint(x),
            _llvm.fabs(x),
            _llvm.copysign(x, y),
            _llvm.fma(x, x, y),
            _llvm.muladd(x, x, y),
            _llvm.maximum(x, y),
            _llvm.minimum(x, y),
            _llvm.sqrt(y),
            _llvm.as_float(_llvm.as_int(x)),
        )

    got = every(number(-2.5), number(4.0))
    assert got == (-2.5, -2.0, 2.5, 2.5, 10.25, 10.25, 4.0, -2.5, 2.0, -2.5)
    nan = every(number(np.nan), number(4.0))
    assert np.isnan([nan[6], nan[7]]).all()
    assert np.signbit(every(number(-0.0), number(0.0))[7])
    returned = every.nopython_signatures[0].return_type
    assert set(returned) == {getattr(numba.types, dtype)}
