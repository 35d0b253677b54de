"""Threads: how many, those that help with the slabs of a call, and one that no signal reaches.

A signal handler may raise in the main thread between any two bytecodes. What that thread shares
with others is therefore made of C alone: the `with` of a plain lock, the `put` of a SimpleQueue,
the start of a bare thread. Each is done or not done. Conditions, events, futures and executors are
Python: broken off in the middle they keep a lock, and who waits for it waits for ever.
"""

import os
import threading
from _thread import start_new_thread
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from contextvars import ContextVar, copy_context
from itertools import count
from numbers import Integral
from queue import SimpleQueue
from typing import Generic, SupportsIndex, TypeVar

T = TypeVar("T")

_limit: ContextVar[int | None] = ContextVar("tinyloss_numpy.threads", default=None)


@contextmanager
def threads(n: SupportsIndex, /) -> Generator[None]:
    """Run on at most `n` threads.

    Without it, the limit is `OMP_NUM_THREADS`, else the number of CPUs that the process may use.
    The number of threads changes no bit of a result.

    The limit holds for the thread, or asyncio task, that sets it. A thread started inside does not
    see it, unless it runs in a copy of the context: `contextvars.copy_context().run(function)`.

    Examples
    --------
    >>> import numpy as np, tinyloss, tinyloss_numpy
    >>> with tinyloss_numpy.threads(1):
    ...     tinyloss.mse(np.array([1.0, 2.0]), np.zeros(2)).item()
    2.5
    """
    if isinstance(n, bool) or not isinstance(n, Integral) or n < 1:
        raise ValueError(f"tinyloss_numpy.threads: n is {n!r}, expected a positive integer")
    token = _limit.set(int(n))
    try:
        yield
    finally:
        _limit.reset(token)


def number_of_threads() -> int:
    """Return on how many threads a large call runs, the caller's included."""
    limit = _limit.get()
    if limit is not None:
        return limit
    told = os.environ.get("OMP_NUM_THREADS", "")
    if told.isdigit() and int(told) > 0:
        return int(told)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Team:
    """The slabs of one call, taken by its thread and by those that help."""

    def __init__(self, work: Callable[[int, int], None], total: int, slab: int) -> None:
        self._work, self._total, self._slab = work, total, slab
        self._firsts = count(0, slab)
        self._lock = threading.Lock()
        self._over = False
        self._helpers = 0
        self._last_has_left = threading.Lock()
        self._last_has_left.acquire()
        self.error: BaseException | None = None
        """What a helper raised."""

    def take_slabs(self) -> None:
        """Work until nothing is left or all is over."""
        work, total, slab = self._work, self._total, self._slab
        for first in self._firsts:
            if first >= total or self._over:
                return
            work(first, min(first + slab, total))

    def help(self) -> None:
        """Take slabs in another thread."""
        with self._lock:
            if self._over:
                return
            self._helpers += 1
        try:
            self.take_slabs()
        except BaseException as error:
            self.error, self._over = error, True
        with self._lock:
            self._helpers -= 1
            if self._over and not self._helpers:
                self._last_has_left.release()

    def end(self) -> None:
        """Hand out nothing more and wait for the helpers; broken off, it may be called again."""
        with self._lock:
            self._over = True
        while self._helpers:
            self._last_has_left.acquire()
        # A helper that comes too late finds a team that holds no array.
        self._work = _nothing


def _nothing(first: int, last: int) -> None: ...


def run_slabs(work: Callable[[int, int], None], total: int) -> None:
    """Call work(first, last) on slabs of range(total), over threads.

    None of these calls is running any more when this returns or raises. What `work` holds lives
    until the last of them has ended, whatever happens to the calling thread.
    """
    workers = min(number_of_threads(), total)
    if workers == 1:
        work(0, total)
        return
    # Several slabs for each thread, so that none waits long for a slower one.
    team = _Team(work, total, max(1, total // (8 * workers)))
    raised: BaseException | None = None
    try:
        _call_for_help(team.help, workers - 1)
        team.take_slabs()
    except BaseException as error:
        raised = error
    while True:
        try:
            team.end()
            break
        except BaseException as error:  # another signal: a slab takes milliseconds, so wait on
            raised = error
    raised, team.error = raised or team.error, None
    if raised is not None:
        try:
            raise raised
        finally:
            del raised  # it knows this frame, and by those above it the arrays


_tasks: SimpleQueue[Callable[[], None]] = SimpleQueue()
_servants = 0
_starting = threading.RLock()
"""Reentrant, since a signal handler may call a loss."""


def _call_for_help(task: Callable[[], None], times: int) -> None:
    """Have other threads call a task, as many as there are or can be started."""
    global _servants
    with _starting, suppress(RuntimeError):
        while _servants < times:
            start_new_thread(_serve, (_tasks,))
            _servants += 1
    for _ in range(min(times, _servants)):
        _tasks.put(task)


def _serve(tasks: SimpleQueue[Callable[[], None]]) -> None:
    while True:
        tasks.get()()


_is_elsewhere: ContextVar[bool] = ContextVar("tinyloss_numpy.is_elsewhere", default=False)


class _Elsewhere(Generic[T]):
    """A call that another thread makes."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._context = copy_context()
        self._context.run(_is_elsewhere.set, True)
        self._done = threading.Lock()
        self._done.acquire()
        self._error: BaseException | None = None

    def __call__(self) -> None:
        try:
            self._result = self._context.run(self._work)
        except BaseException as error:
            self._error = error
        finally:
            self._done.release()

    def result(self) -> T:
        """Wait for the call and return its result."""
        with self._done:
            pass
        if self._error is not None:
            raise self._error
        return self._result


def elsewhere(work: Callable[[], T]) -> T:
    """Return work(), called in another thread: a signal handler that raises breaks off the waiting
    alone, and the work goes on."""
    if _is_elsewhere.get():
        return work()
    call = _Elsewhere(work)
    try:
        start_new_thread(call, ())
    except RuntimeError:  # no threads here, or no more of them
        return work()
    return call.result()


def _forget_threads() -> None:
    """Forget the parent's threads in a forked child."""
    global _tasks, _servants, _starting
    _tasks, _servants, _starting = SimpleQueue(), 0, threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
