"""What an exception leaves running: nothing. Signal handlers and workers that raise."""

import contextvars
import signal
import subprocess
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import tinyloss
import tinyloss_numpy
from tests.soak.interrupts import storm_in_a_process
from tinyloss_numpy import _compiler, _programs, _threads
from tinyloss_numpy._threads import elsewhere, run_slabs

alarms = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no alarm")


class Timeout(BaseException):
    """What a signal handler raises."""


@contextmanager
def alarm(*after: float) -> Generator[None]:
    """Raise Timeout after some seconds, and again after some more."""
    waits = [*after[1:], 0.0]

    def strike(*_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, waits.pop(0))
        raise Timeout

    before = signal.signal(signal.SIGALRM, strike)
    signal.setitimer(signal.ITIMER_REAL, after[0])
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Work:
    """Slabs of which those of other threads take a while; counts the ones that are running."""

    def __init__(self, here: Callable[[], None], elsewhere: Callable[[], None]) -> None:
        self.main, self.here, self.elsewhere = threading.get_ident(), here, elsewhere
        self.begun, self.lock, self.running, self.calls = threading.Event(), threading.Lock(), 0, 0

    def __call__(self, first: int, last: int) -> None:
        with self.lock:
            self.running += 1
            self.calls += 1
        try:
            if threading.get_ident() == self.main:
                while not self.begun.is_set():  # until another has begun
                    time.sleep(0.001)
                self.here()
            else:
                self.begun.set()
                self.elsewhere()
        finally:
            with self.lock:
                self.running -= 1


def nothing() -> None: ...


def fail() -> None:
    raise ZeroDivisionError


def rest() -> None:
    time.sleep(0.1)


def test_exception_of_the_caller_waits_for_its_workers() -> None:
    work = Work(fail, rest)
    with tinyloss_numpy.threads(4), pytest.raises(ZeroDivisionError):
        run_slabs(work, 1000)
    assert work.running == 0
    assert work.calls <= 4  # and nothing more was handed out


def test_exception_of_a_worker_waits_for_the_others() -> None:
    work = Work(rest, fail)
    with tinyloss_numpy.threads(4), pytest.raises(ZeroDivisionError):
        run_slabs(work, 1000)
    assert work.running == 0
    assert work.calls <= 8


@alarms
@pytest.mark.parametrize("after", [(0.02,), (0.02, 0.02), (0.02, 0.01, 0.01, 0.01, 0.01)])
def test_signals_wait_for_the_workers(after: tuple[float, ...]) -> None:
    """Those that come while the first one's exception is waiting, too."""
    work = Work(lambda: time.sleep(0.03), lambda: time.sleep(0.2))
    with alarm(*after), tinyloss_numpy.threads(4), pytest.raises(Timeout):
        run_slabs(work, 1000)
    assert work.running == 0


def test_workers_that_are_busy_are_not_waited_for() -> None:
    """The caller does all itself, and one that comes too late finds nothing that was held."""
    busy, calls = threading.Event(), []
    with tinyloss_numpy.threads(3):
        run_slabs(lambda *_: None, 100)  # starts the others
        for _ in range(_threads._servants):
            _threads._tasks.put(lambda: (busy.wait(60), None)[1])

        class Held: ...

        held = Held()
        end = weakref.ref(held)

        def work(first: int, last: int, _held: Any = held) -> None:
            calls.append(range(first, last))

        run_slabs(work, 100)
    del work, held
    assert sorted(n for each in calls for n in each) == list(range(100))
    assert end() is None
    busy.set()


@pytest.mark.parametrize("here", [nothing, fail])
def test_nothing_is_held_afterwards(here: Callable[[], None]) -> None:
    """Not by a traceback either: arrays are let go at once."""

    class Held: ...

    def call() -> weakref.ref[Any]:
        held = Held()
        work = Work(here, nothing)
        with suppress(ZeroDivisionError):
            run_slabs(lambda *slab, _held=held: work(*slab), 50)
        return weakref.ref(held)

    with tinyloss_numpy.threads(2):
        assert call()() is None


def test_workers_hold_the_arrays_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if a caller did not wait for them."""
    works: list[Any] = []
    monkeypatch.setattr("tinyloss_numpy._run.run_slabs", lambda work, _: works.append(work))
    x, y, out = np.ones(300_000), np.zeros(300_000), np.empty(300_000)
    ends = [weakref.ref(each) for each in (x, y, out)]
    with tinyloss_numpy.compilation("always"):
        tinyloss.value_and_grad(tinyloss.mse, out=out)(x, y)
    del x, y, out
    assert all(end() is not None for end in ends)
    works.clear()
    assert all(end() is None for end in ends)


def test_other_threads_carry_settings_and_errors() -> None:
    setting = contextvars.ContextVar("setting", default=0)
    setting.set(3)
    assert elsewhere(lambda: (setting.get(), threading.get_ident()))[0] == 3
    assert elsewhere(threading.get_ident) != threading.get_ident()
    # one within the other is the same thread, which may hold locks
    assert elsewhere(lambda: threading.get_ident() == elsewhere(threading.get_ident))
    with pytest.raises(ZeroDivisionError):
        elsewhere(fail)


def test_without_threads_the_caller_does_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> int:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_threads, "start_new_thread", refuse)
    monkeypatch.setattr(_threads, "_servants", 0)
    calls: list[int] = []
    with tinyloss_numpy.threads(3):
        run_slabs(lambda first, last: calls.extend(range(first, last)), 100)
    assert calls == list(range(100))
    assert elsewhere(threading.get_ident) == threading.get_ident()


# ------------------------------------------------------------------------------------- compiling


@pytest.fixture
def slow_compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A compiler that takes its time; gives the titles of what it was asked for."""
    asked: list[str] = []
    load = _compiler.load

    def slowly(*args: Any) -> Any:
        asked.append(args[-1])
        for _ in range(30):
            time.sleep(0.01)
        return load(*args)

    monkeypatch.setattr(_compiler, "load", slowly)
    tinyloss.clear_caches()
    monkeypatch.setattr(_programs, "_warned", set())
    with warnings.catch_warnings(), tinyloss_numpy.compilation("always"):
        warnings.simplefilter("error")
        yield asked


X, Y = np.array([1.0, 2.0]), np.zeros(2)


@alarms
def test_alarm_while_compiling_is_raised_and_the_loss_is_compiled(
    slow_compiler: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    load = _compiler.load

    def struck(*args: Any) -> Any:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        return load(*args)

    monkeypatch.setattr(_compiler, "load", struck)
    with alarm(60.0), pytest.raises(Timeout):
        tinyloss.mse(X, Y)
    monkeypatch.setattr(_compiler, "load", load)
    assert tinyloss.mse(X, Y) == 2.5
    assert slow_compiler == ["mse"]


@alarms
def test_exit_waits_for_the_compiler() -> None:
    """What an interrupted call left compiling is not running when the process is taken down."""
    code = """if True:
        import os, signal, time, numpy as np, tinyloss, tinyloss_numpy
        from tinyloss_numpy import _compiler
        def slowly(*args, load=_compiler.load):
            signal.raise_signal(signal.SIGALRM)
            time.sleep(0.3)
            kernel = load(*args)
            print("compiled", flush=True)
            return kernel
        _compiler.load = slowly
        def strike(*_): raise SystemExit(3)
        signal.signal(signal.SIGALRM, strike)
        with tinyloss_numpy.compilation("always"):
            tinyloss.mse(np.ones(3), np.zeros(3))
        print("not interrupted")
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (3, "compiled\n", "")


def test_memory_that_was_short_once_is_tried_again(
    slow_compiler: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    load = _compiler.load

    def short(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(_compiler, "load", short)
    for _ in range(2):
        with pytest.raises(MemoryError):
            tinyloss.mse(X, Y)
    monkeypatch.setattr(_compiler, "load", load)
    assert tinyloss.mse(X, Y) == 2.5
    assert slow_compiler == ["mse"]


# ------------------------------------------------------------------------------------------ all


@alarms
@pytest.mark.long
def test_calls_that_are_broken_off_leave_nothing_behind() -> None:
    """A few dozens; `tests/soak/interrupts.py` goes on for as long as it is let."""
    assert storm_in_a_process(0.03, 1)["interrupted"] >= 30
