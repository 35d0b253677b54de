"""Every loss on every array library: the same numbers, in the caller's library and dtype."""

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinyloss
from tests.support.calls import logits
from tests.support.cases import (
    CASES,
    FEW_CASES,
    Case,
    answers,
    brought,
    every_activation,
    in_numpy,
    in_pairs,
    weight_and_mask,
)
from tests.support.compare import close, rounded_once
from tests.support.libraries import LIBRARIES, Library, dtype_name

# For losses chosen at run time, whose parameters no type checker can follow.
anyloss: Any = tinyloss

# A library has its own exp and log, each within 2 eps or so, and its own order of summation; up to
# four of them follow each other in a loss. That a small component is accurate by itself is
# test_golden's business.
agree = partial(close, eps=16, why="four functions of 2 eps, and sums in another order")


# Where a contract of its own tries every loss, and each call is compiled.
ELSEWHERE = ("cupy:emulated", "dask:split", "jax:x64")


STRICT = [name for name in LIBRARIES if name.startswith("array-api-strict")]


def waits(name: str, case: Case) -> bool:
    """Return whether another setting of the strict library has its turn."""
    return name in STRICT and STRICT.index(name) != CASES.index(case) % len(STRICT)


@in_pairs(
    [(name, case) for name in LIBRARIES for case in (FEW_CASES if name in ELSEWHERE else CASES)],
    long=waits,
)
@pytest.mark.heavy(180)
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
        agree(xp.fetch(result), asked, dtype=dtype)


def _flat(result: Any) -> Iterator[Any]:
    for each in result.values() if isinstance(result, dict) else result:
        if isinstance(each, tuple):
            yield from _flat(each)
        else:
            yield each


@every_activation
def test_activation_is_numpys_on_every_library(xp: Library, function: Any) -> None:
    x = logits(4, 3)(np.random.default_rng(2))
    options = [{}, {"axis": 0}] if function.__name__.endswith(("max", "exp")) else [{}]
    for dtype in xp.sweep:
        for option in options:
            result = xp.call(function, xp.asarray(x, dtype), **option)
            assert dtype_name(result) == dtype
            expected = function(x.astype(np.float64), **option)
            agree(xp.numpy(result), expected, dtype=dtype)


@pytest.mark.long
@in_pairs(
    [
        (name, case)
        for name in ("numpy", "numpy:readonly", "torch", "jax", "jax:jit", "dask", "dask:split")
        for case in (CASES if name in ("numpy", "torch", "jax") else FEW_CASES)
    ]
)
@pytest.mark.heavy(80)
def test_half_precision_is_float32_rounded_once(xp: Library, case: Case) -> None:
    """Rule 9: computed in float32, so the loss is float32; the gradient is rounded once."""

    def ask(*arrays: Any, **options: Any) -> Any:
        value, grads = anyloss.value_and_grad(case.loss, case.argnums)(*arrays, **options)
        return value, (*grads, *anyloss.grad_and_hess(case.loss)(*arrays, **options))

    halves = xp.halves
    if xp.slow:  # every loss in one of two, a few in both
        turn = CASES.index(case) % 2
        few = ("float16", "bfloat16", *(["float8_e5m2"] if xp.name == "jax" else []))
        halves = few if case in FEW_CASES else few[turn : turn + 1]
    for dtype in halves:
        arrays, options = brought(xp, case, dtype)
        wide_arrays = tuple(_widen(xp, each) for each in arrays)
        wide_options = {name: _widen(xp, each) for name, each in options.items()}
        value, derivatives = xp.call(ask, *arrays, **options)
        assert dtype_name(value) == "float32"
        assert {dtype_name(each) for each in derivatives} == {dtype}
        value, derivatives = xp.fetch((value, derivatives))
        single, singles = xp.fetch(xp.call(ask, *wide_arrays, **wide_options))
        fused = xp.name.startswith("jax")
        rounded_once(value, single, "float32", fused)
        for half, wide in zip(derivatives, singles, strict=True):
            rounded_once(half, wide, dtype, fused)


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


@pytest.mark.long
def test_missing_library_is_an_error_where_it_is_required(tmp_path: Path) -> None:
    for name in ("nosuch", "dask"):
        status, text = _pytest_without("dask", tmp_path, f"--require={name}", "--collect-only")
        assert status == pytest.ExitCode.USAGE_ERROR, text
        assert f"--require: {name} is not installed" in text
