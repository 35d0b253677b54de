"""Texts of loops mean what they mean in Python."""

from itertools import product
from typing import Any

import pytest

pytest.importorskip("llvmlite")

import numpy as np

from tests.support.machine import Machine
from tinyloss_numpy._llvm import int64
from tinyloss_numpy._loops import vocabulary
from tinyloss_numpy._memory import accessors
from tinyloss_numpy._translator import subroutine

on = pytest.mark.parametrize
NUMBERS = (-64, -7, -1, 0, 1, 2, 5, 63)
HEAD = ("a = entry(table, 0)", "b = entry(table, 1)")
IN_PYTHON: dict[str, Any] = {
    "entry": lambda table, at: table[at],
    "int64": int,
    "float64": float,
    "inf": float("inf"),
}


def by_python(lines: tuple[str, ...], *given: int) -> int:
    names = dict(IN_PYTHON)
    body = "\n".join(f"    {line}" for line in (*HEAD, *lines))
    exec(f"def kernel(first, last, table, work):\n{body}", names)
    found: int = names["kernel"](0, 0, given, 0)
    return found


TEXTS: dict[str, tuple[str, ...]] = {
    "arithmetic": ("return -a * 3 + (b - 7) * (a + b)",),
    "quotients": ("return 0 if b == 0 else 1000 * (a // b) + a % b",),
    "shifts": ("few = b & 31", "return (a >> 2) * 1000 + (few << 3) if a != 1 else 7"),
    "bits": ("return (a & b) * 10000 + (a | b) * 100 + (a ^ b)",),
    "comparisons": (
        "return (1 if a < b <= 5 else 0) + (2 if a == b != 2 else 0) + (4 if -1 <= a >= b else 0)",
    ),
    "conditions": (
        "both = a > 0 and b > 0",
        "return (1 if both else 0) + (2 if not both or a == 2 else 0) + (4 if a else 0)",
    ),
    "numbers of Python's": ("return a if 3 > 2 and not 1 == 2 else b / 0",),
    "larger and smaller": ("return max(a, b) * 1000 + min(a, 3) + max(2, 7)",),
    "floats": (
        "x = float64(a) / 4",
        "y = -inf if a == 1 else x * 2.5",
        "return int64(max(x - float64(b) * 0.5, y)) if y > -inf else 9",
    ),
    "loops": (
        "total = 0",
        "for k in range(a, b, 3):",
        "    if k == 2:",
        "        continue",
        "    for _ in range(2):",
        "        k += 1",
        "    total += k",
        "for k in range(5, a, -2):",
        "    total = total * 3 % 1009 + k",
        "return total",
    ),
    "whiles": (
        "n, steps = max(a, -a) + 1, 0",
        "while n != 1 and steps < 20:",
        "    n = n // 2 if n % 2 == 0 else 3 * n + 1",
        "    steps += 1",
        "return steps * 100 + n",
    ),
    "breaks": (
        "total = steps = 0",
        "for k in range(a, b):",
        "    if k > 40:",
        "        break",
        "    while True:",
        "        steps += 1",
        "        if steps > k:",
        "            break",
        "    total += k",
        "return total * 100 + steps",
    ),
    "choices": (
        "if a < 0:",
        "    found = 1",
        "elif a == b:",
        "    return 5",
        "else:",
        "    found = 2",
        "    if b > 2:",
        "        return 7",
        "found, other = 10 * found, found",
        "return found + other",
    ),
    "nothing returned": ("c = a",),
}


@on("name", TEXTS)
def test_a_text_is_python(name: str) -> None:
    own = Machine(vocabulary("float64"), *HEAD, *TEXTS[name])
    for given in product(NUMBERS, NUMBERS):
        assert own(*given) == (by_python(TEXTS[name], *given) or 0), given


def test_only_what_is_asked_for_is_read() -> None:
    """An address that is none is not looked at."""
    names = {**vocabulary("float64"), **accessors({"a": ("int64", "int64")})}
    lines = (
        "here = 5 if at != 0 and load_a(at, 0) > 0 else 1",
        "return here + (load_a(at, 0) if at != 0 else 0)",
    )
    own = Machine(names, "at = entry(table, 0)", *lines)
    number = np.array([30])
    assert (own(0), own(number.ctypes.data)) == (1, 35)


@subroutine
def power(base: Any, exponent: Any) -> Any:
    """Return a power."""
    result = 1
    for _ in range(exponent):
        result *= base
    return result


@subroutine
def cut_off(number: Any, times: Any) -> Any:
    """Return what is before the point of a product."""
    return int64(number * times)


def test_a_text_calls_functions_that_are_texts() -> None:
    own = Machine({**vocabulary("float32"), "power": power}, *HEAD, "return power(a, power(b, 2))")
    assert own(-3, 2) == 81
    names = {**vocabulary("float32"), "cut_off": cut_off, "twice": lambda x: (x, x + x)}
    lines = ("x, y = twice(float64(a) * 0.75)", "return cut_off(x, b) * 100 + cut_off(y, 1)")
    assert Machine(names, *HEAD, *lines)(5, 2) == 707


@on("real", ["float32", "float64"])
def test_the_first_is_taken_of_what_cannot_be_compared(real: str) -> None:
    names = {**vocabulary(real), **accessors({"a": (real, real)})}
    lines = [
        f"store_a(at, {n}, {word}(load_a(at, 0), load_a(at, 1)))"
        for n, word in enumerate(("max", "min"), 2)
    ]
    own = Machine(names, "at = entry(table, 0)", *lines)
    for a, b in product((np.nan, -1.5, 2.0), repeat=2):
        numbers = np.array([a, b, 0, 0], real)
        own(numbers.ctypes.data)
        assert numbers[2:].tolist() == pytest.approx([max(a, b), min(a, b)], nan_ok=True, abs=0)


@on(
    ("lines", "why"),
    [
        (("x = 1.5", "x = a < b"), "x is of double and of i1"),
        (("x = a", "x = 0.5"), "0.5 beside int64"),
        (("x = real(1.0) + 1.0 * a",), "1.0 beside int64"),
        (("x = real(1.0) + float64(a)",), "float32 beside float64"),
        (("x = [a]",), "a text with '\\[a\\]'"),
        (("with a:", "    b = 1"), "a text with"),
        (("for k in a:", "    b = 1"), "a text with"),
    ],
)
def test_what_has_no_meaning_is_an_error(lines: tuple[str, ...], why: str) -> None:
    with pytest.raises(TypeError, match=why):
        Machine(vocabulary("float32"), *HEAD, *lines)
