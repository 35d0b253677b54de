"""What is compiled when, and what the losses that are not compiled cost; settings of threads."""

import contextvars
import gc
import tracemalloc
import weakref
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import tinyloss
import tinyloss_numpy
from tinyloss._cache import Cache
from tinyloss_numpy import _arrays, _compiler, _programs, _threads

X = np.ones(1_000_000, "f")


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Titles of the losses that were compiled, by default as it is outside of tests."""
    titles: list[str] = []
    load = _compiler.load

    def noted(*args: Any) -> Any:
        titles.append(args[-1])
        return load(*args)

    monkeypatch.setattr(_compiler, "load", noted)
    tinyloss.clear_caches()
    with tinyloss_numpy.compilation("auto"):
        yield titles


def test_parameter_that_changes_with_every_call_compiles_once(compiled: list[str]) -> None:
    for delta in np.linspace(0.1, 1, 25):
        tinyloss.huber(X, X, delta=float(delta))
    assert compiled == ["huber"]


def test_what_is_asked_compiles_at_its_first_call(compiled: list[str]) -> None:
    for ask in (tinyloss.huber, tinyloss.grad(tinyloss.huber)):
        ask(X, X, delta=0.5)
    tinyloss.mse(X, X)
    assert compiled == ["huber", "huber", "mse"]


@pytest.mark.long
def test_program_that_nobody_uses_is_let_go(
    compiled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its machine code, too; one in use stays."""
    monkeypatch.setattr(Cache, "size", 1)
    engines: list[weakref.ref[Any]] = []
    link = _compiler.link

    def noted(code: bytes) -> Any:
        kernel: Any = link(code)
        engines.append(weakref.ref(kernel.engine))
        return kernel

    monkeypatch.setattr(_compiler, "link", noted)
    x = np.ones(5)
    with tinyloss_numpy.compilation("always"):
        tinyloss.sigmoid_focal(x, x, gamma=2)
        for gamma in range(3, 8):
            tinyloss.sigmoid_focal(x, x, gamma=gamma)
            tinyloss.sigmoid_focal(x, x, gamma=2)
    gc.collect()
    alive = [engine() is not None for engine in engines]
    assert alive[0]
    assert not any(alive[1:4])


# -------------------------------------------------------------------------- memory of the formulas


@contextmanager
def no_kernel(why: str, monkeypatch: pytest.MonkeyPatch) -> Generator[str]:
    """Give the mode in which losses are not compiled for this reason."""

    def fail(*_: Any) -> Any:
        raise RuntimeError("no kernel")

    tinyloss.clear_caches()
    try:
        if why == "not worth it":
            monkeypatch.setattr(_programs, "_WORTH_COMPILING", float("inf"))
            yield "auto"
        elif why == "fails":
            monkeypatch.setattr(_compiler, "load", fail)
            monkeypatch.setattr(_programs, "_warned", set())
            with pytest.warns(RuntimeWarning, match="no kernel"):
                yield "always"
        else:
            yield "always"
    finally:
        tinyloss.clear_caches()


@pytest.mark.parametrize("why", ["not worth it", "fails", "no loop takes it"])
def test_formulas_take_the_memory_of_one_gradient(
    why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.ones(4_000_000, ">f4" if why == "no loop takes it" else "f")
    derive = tinyloss.value_and_grad(tinyloss.mse)
    with no_kernel(why, monkeypatch) as mode, tinyloss_numpy.compilation(mode):  # type: ignore[arg-type]
        derive(x, x)  # the first call finds out that there is none
        made: list[int] = []
        new = _arrays.empty_like

        def noted(array: Any, dtype: Any) -> Any:
            made.append(array.size)
            return new(array, dtype)

        monkeypatch.setattr(_arrays, "empty_like", noted)
        tracemalloc.start()
        try:
            derive(x, x)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert made == [x.size]
    assert peak < 1.6 * x.nbytes  # and blocks of one size, whatever x's


# ---------------------------------------------------------------------------- settings and threads


@pytest.mark.parametrize("n", [np.int64(2), np.uint8(2), 2])
def testnumber_of_threads_may_be_numpy_s(n: Any) -> None:
    with tinyloss_numpy.threads(n):
        assert _threads.number_of_threads() == 2


def test_settings_are_carried_into_a_thread_by_its_context() -> None:
    """As the docstrings say."""

    def settings() -> tuple[int, float]:
        with np.errstate(all="ignore"):
            value = tinyloss.cross_entropy(np.zeros((1, 3)), np.array([7]))
        return _threads.number_of_threads(), float(value)

    with (
        ThreadPoolExecutor(1) as pool,
        tinyloss_numpy.threads(17),
        tinyloss.validation("never"),
    ):
        with pytest.raises(ValueError, match="class index"):
            pool.submit(settings).result()
        assert pool.submit(_threads.number_of_threads).result() != 17
        threads, value = pool.submit(contextvars.copy_context().run, settings).result()
    assert threads == 17
    assert np.isnan(value)


@pytest.mark.parametrize(
    "setting", [tinyloss.validation, tinyloss_numpy.threads, tinyloss_numpy.compilation]
)
def test_docstring_says_how_a_setting_is_carried_over(setting: Any) -> None:
    assert "contextvars.copy_context().run" in setting.__doc__
