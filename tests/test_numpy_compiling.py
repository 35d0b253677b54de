"""The NumPy backend compiles when it pays, keeps kernels, survives failures, shows its source."""

import os
import sys
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import tinyloss
import tinyloss_numpy
from tests.support.compiled import (
    Loss,
    bits,
    by_formulas,
    compiled,
    labels,
    numbers,
    probabilities,
    wave,
)
from tests.support.formulas import poly
from tests.support.process import python
from tinyloss.compiler import disk
from tinyloss_numpy import _compiler, _programs


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, fresh: None) -> Iterator[list[Any]]:
    """Plans that were to be compiled, by default as it is outside of tests; none is."""
    plans: list[Any] = []
    monkeypatch.setattr(
        _programs.CompiledLoss, "compile", lambda _, plan, layouts: plans.append(plan)
    )
    with tinyloss_numpy.compilation("auto"):
        yield plans


def test_never_compiles_nothing(asked: list[Any]) -> None:
    x = np.ones(1_000_000, "f")
    with tinyloss_numpy.compilation("never"):
        tinyloss.mse(x, x)
    assert asked == []


def test_always_compiles_at_the_first_call(asked: list[Any]) -> None:
    with tinyloss_numpy.compilation("always"):
        tinyloss.mse(np.ones(3), np.ones(3))
    assert len(asked) == 1


def test_auto_compiles_a_large_array_at_the_first_call(asked: list[Any]) -> None:
    x = np.ones(1_000_000, "f")
    tinyloss.mse(x, x)
    assert len(asked) == 1


def test_auto_compiles_after_some_hundred_small_calls(asked: list[Any]) -> None:
    x = np.ones(10, "f")
    calls = 0
    while not asked and calls < 2000:
        tinyloss.mse(x, x)
        calls += 1
    assert 100 <= calls <= 1000


def test_calls_of_different_programs_are_counted_apart(asked: list[Any]) -> None:
    x = np.ones(10, "f")
    for gamma in [*range(17)] * 14:  # a whole gamma chooses its program
        tinyloss.sigmoid_focal(x, x, gamma=gamma)
    assert asked == []


def test_calls_with_other_numbers_are_counted_together(asked: list[Any]) -> None:
    x = np.ones(10, "f")
    for delta in np.linspace(0.1, 1, 600):
        tinyloss.huber(x, x, delta=float(delta))
    assert asked != []


def test_mode_is_that_of_a_context_and_a_thread(asked: list[Any]) -> None:
    def call(*_: Any) -> int:
        tinyloss.mse(np.ones(3), np.ones(3))
        return len(asked)

    with tinyloss_numpy.compilation("always"):
        with tinyloss_numpy.compilation("never"):
            assert call() == 0
        assert call() == 1
        with ThreadPoolExecutor(1) as pool:
            assert list(pool.map(call, [0])) == [1]
        with pytest.raises(ZeroDivisionError), tinyloss_numpy.compilation("never"):
            raise ZeroDivisionError
        assert call() == 2
    assert call() == 2


@pytest.mark.parametrize("mode", ["sometimes", True, None])
def test_mode_is_one_of_three(mode: Any) -> None:
    with (
        pytest.raises(ValueError, match=r"tinyloss_numpy\.compilation: mode is .*\"never\""),
        tinyloss_numpy.compilation(mode),
    ):
        pass


def test_no_array_of_a_caller_is_kept() -> None:
    x = numbers(12, 10)
    before = sys.getrefcount(x)
    with compiled():
        tinyloss.value_and_grad(tinyloss.cross_entropy)(x, labels(12, 10))
    assert sys.getrefcount(x) == before


def cache_in(folder: Path) -> dict[str, Any]:
    """Return the environment of a process whose user's cache folder is this."""
    if sys.platform != "linux":
        pytest.skip("other systems do not name the user's cache folder by a variable")
    return {"XDG_CACHE_HOME": str(folder)}


COMPILED_CALL = """
import hashlib, sys, numpy as np, tinyloss, tinyloss_numpy
x = np.linspace(-3, 3, 1000, dtype="f")
with tinyloss_numpy.compilation("always"):
    value, gradient = tinyloss.value_and_grad(tinyloss.mse)(x, np.cos(x))
print(value.tobytes().hex(), hashlib.sha256(gradient).hexdigest())
"""


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_later_processes_load_kernels(tmp_path: Path) -> None:
    environment = cache_in(tmp_path)
    result = python(COMPILED_CALL, **environment)
    assert len(files(tmp_path / "tinyloss")) == 1
    refused = "from tinyloss_numpy import _compiler; _compiler.optimized = None" + COMPILED_CALL
    assert python(refused, **environment) == result


@pytest.mark.long
def test_processes_may_write_the_same_kernel_at_once(tmp_path: Path) -> None:
    environment = cache_in(tmp_path)
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(python, COMPILED_CALL, **environment) for _ in range(2)]
        first, second = (run.result() for run in runs)
    assert first == second
    assert len(files(tmp_path)) == 1


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SimpleNamespace:
    """A cache folder of this test, and how often something was compiled."""
    folder, count = tmp_path / "cache", SimpleNamespace(compiled=0, folder=tmp_path / "cache")
    compile_text = _compiler._compile

    def counted(*args: Any) -> Any:
        count.compiled += 1
        return compile_text(*args)

    monkeypatch.setattr(disk, "_folder", lambda: folder)
    monkeypatch.setattr(_compiler, "_compile", counted)
    return count


def compiled_call() -> str:
    """Answer with the bits of a call to a kernel that no memory holds."""
    with compiled():
        tinyloss.clear_caches()
        return bits(tinyloss.value_and_grad(tinyloss.mse)(numbers(500), numbers(500, seed=1)))


def test_kernel_is_read_back(kernels: SimpleNamespace) -> None:
    first = compiled_call()
    assert (first, kernels.compiled) == (compiled_call(), 1)
    assert len(files(kernels.folder)) == 1


@pytest.mark.long
@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
    ],
    ids=["empty", "cut short", "one bit"],
)
def test_damaged_kernel_is_compiled_again(damage: Any, kernels: SimpleNamespace) -> None:
    first = compiled_call()
    (file,) = files(kernels.folder)
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    assert (compiled_call(), kernels.compiled) == (first, 2)
    assert file.stat().st_size > len(whole) // 2  # it was written again
    assert (compiled_call(), kernels.compiled) == (first, 2)


def test_kernel_of_another_machine_is_not_taken(
    kernels: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled_call()
    here = _compiler._environment()
    monkeypatch.setattr(_compiler, "_environment", lambda: (*here[:-1], "another"))
    compiled_call()
    assert kernels.compiled == 2
    assert len(files(kernels.folder)) == 2


@pytest.mark.parametrize("obstacle", ["a file", "no permission"])
def test_folder_that_takes_no_kernel_is_no_error(obstacle: str, kernels: SimpleNamespace) -> None:
    if obstacle == "a file":
        kernels.folder.write_bytes(b"")
    else:
        kernels.folder.mkdir()
        kernels.folder.chmod(0o500)
    first = compiled_call()
    assert first == compiled_call()
    # What is no obstacle to this user, as to root, takes the kernel.
    kept = kernels.folder.is_dir() and os.access(kernels.folder, os.W_OK)
    assert kernels.compiled == (1 if kept else 2)


@pytest.mark.usefixtures("fresh")
def test_failure_to_compile_is_one_warning_a_loss_and_the_formulas(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("no space left")

    monkeypatch.setattr(_compiler, "load", fail)
    monkeypatch.setattr(_programs, "_warned", set())
    x, y = numbers(50), numbers(50, seed=1)
    losses: list[Loss] = [tinyloss.mse, tinyloss.mae, tinyloss.log_cosh]
    with warnings.catch_warnings(record=True) as caught, tinyloss_numpy.compilation("always"):
        warnings.simplefilter("always")
        results = [tinyloss.value_and_grad(loss)(x, y) for loss in losses for _ in range(3)]
    assert {warning.category for warning in caught} == {RuntimeWarning}
    names = ("mse", "mae", "log_cosh")
    for warning, name in zip(caught, names, strict=True):
        message = str(warning.message)
        assert f"{name} could not be compiled (RuntimeError: no space left)" in message
        assert "pip install" not in message
    with by_formulas():
        expected = [tinyloss.value_and_grad(loss)(x, y) for loss in losses for _ in range(3)]
    assert [bits(each) for each in results] == [bits(each) for each in expected]


def test_missing_compiler_is_one_warning_and_the_formulas(tmp_path: Path) -> None:
    code = """
        import sys, warnings
        sys.modules["llvmlite"] = None
        import numpy as np, tinyloss, tinyloss_numpy
        x, y = np.array([1.0, 2.0]), np.zeros(2)
        with warnings.catch_warnings(record=True) as caught, tinyloss_numpy.compilation("always"):
            warnings.simplefilter("always")
            values = [loss(x, y).item() for loss in (tinyloss.mse, tinyloss.mae) for _ in "12"]
        (warning,) = caught
        print(values, warning.category.__name__, "llvmlite" in str(warning.message))
    """
    assert python(code, **cache_in(tmp_path)) == "[2.5, 2.5, 1.5, 1.5] RuntimeWarning True\n"


def test_small_calls_import_no_compiler() -> None:
    code = """
        import sys, numpy as np, tinyloss
        for _ in range(20):
            tinyloss.value_and_grad(tinyloss.cross_entropy)(np.zeros((32, 10)), [0] * 32)
        print(sorted({"llvmlite", "tinyloss_numpy"} & set(sys.modules)))
    """
    assert python(code) == "['tinyloss_numpy']\n"


def test_error_in_another_thread_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    main = threading.get_ident()
    seen: list[int] = []

    def work(first: int, last: int) -> None:
        if threading.get_ident() == main:
            while not seen:  # until the other has failed
                pass
        else:
            seen.append(first)
            raise MemoryError

    from tinyloss_numpy._threads import run_slabs

    with tinyloss_numpy.threads(2), pytest.raises(MemoryError):
        run_slabs(work, 100)


def test_source_is_python() -> None:
    for loss in (tinyloss.cross_entropy, tinyloss.mse, tinyloss.gaussian_nll, poly, wave):
        if loss is tinyloss.gaussian_nll:
            x = np.ones(3)
            text = tinyloss.source(loss, x, x, x)
        else:
            text = tinyloss.source(loss)
        compile(text, "source", "exec")
        assert text.startswith("def kernel(")


def test_source_shows_the_passes() -> None:
    text = tinyloss.source(tinyloss.cross_entropy)
    lines = [line.strip() for line in text.splitlines()]
    # one with the maximum, one with the sum for each of two functions, one with the gradient
    assert len([line for line in lines if line.startswith("for k in range(")]) == 4
    assert len([line for line in lines if "highest(" in line]) == 1
    assert len([line for line in lines if "real(folded(" in line]) == 1
    # one number of a row before the sum, one for each class: most vectors, and the careful ones
    assert len([line for line in lines if "= exp_difference(" in line]) == 1
    assert len([line for line in lines if "= exp_scaled_near(" in line]) == 2
    assert len([line for line in lines if "= exp_scaled(" in line]) == 2


def test_source_depends_on_what_is_asked_about() -> None:
    x, y = numbers(12, 300), labels(12, 300)
    ce = tinyloss.cross_entropy
    texts = [
        tinyloss.source(ce, x, y),
        tinyloss.source(ce, x, probabilities(12, 300)),
        tinyloss.source(ce, x[:, :10], y % 10),
        tinyloss.source(ce, x, y, label_smoothing=0.1),
        tinyloss.source(ce, x, y, weight=np.ones(12)),
    ]
    assert len(set(texts)) == len(texts)
    assert tinyloss.source(ce, x, y) == tinyloss.source(ce, x + 1, y)
    assert tinyloss.source(ce, x, y, target="llvm") == texts[0]


def test_source_of_a_loss_object() -> None:
    smoothed = tinyloss.source(tinyloss.CrossEntropyLoss(label_smoothing=0.1))
    assert smoothed != tinyloss.source(tinyloss.CrossEntropyLoss())
    # its number is one of the call
    assert smoothed == tinyloss.source(tinyloss.CrossEntropyLoss(label_smoothing=0.2))


def test_source_of_an_own_loss() -> None:
    assert "sin(x_0)" in tinyloss.source(wave)


def test_source_in_no_language_there_is() -> None:
    with pytest.raises(
        ValueError, match=r"target is 'fortran', expected one of \('cuda', 'llvm'\)"
    ):
        tinyloss.source(tinyloss.mse, target="fortran")


def test_one_array_for_two_gradients_is_refused() -> None:
    g = np.empty(3)
    with pytest.raises(ValueError, match="twice"):
        tinyloss.grad(tinyloss.mse, (0, 1), out=(g, g))
