"""Threads: how many, and one pool that is made when first needed."""

import os
import sys
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count

__all__ = ["run_slabs", "threads"]

_limit: ContextVar[int | None] = ContextVar("tinyloss_numpy.threads", default=None)
_pool: ThreadPoolExecutor | None = None
_pool_size = 0
_making = threading.Lock()


@contextmanager
def threads(n: int, /) -> Generator[None]:
    """Run on at most `n` threads.

    Without it, the limit is that of Numba where Numba is in use (`NUMBA_NUM_THREADS`,
    `numba.set_num_threads`), else `OMP_NUM_THREADS`, else the number of CPUs that the process may
    use. The number of threads changes no bit of a result.

    Examples
    --------
    >>> import numpy as np, tinyloss, tinyloss_numpy
    >>> with tinyloss_numpy.threads(1):
    ...     tinyloss.mse(np.array([1.0, 2.0]), np.zeros(2)).item()
    2.5
    """
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ValueError(f"tinyloss_numpy.threads: n is {n!r}, expected a positive integer")
    token = _limit.set(n)
    try:
        yield
    finally:
        _limit.reset(token)


def _number_of_threads() -> int:
    limit = _limit.get()
    if limit is not None:
        return limit
    numba = sys.modules.get("numba")
    if numba is not None:
        return int(numba.get_num_threads())
    for variable in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
        value = os.environ.get(variable, "")
        if value.isdigit() and int(value) > 0:
            return int(value)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_slabs(work: Callable[[int, int], None], total: int) -> None:
    """Call work(first, last) on slabs of range(total), over threads."""
    workers = min(_number_of_threads(), total)
    if workers == 1:
        work(0, total)
        return
    # Several slabs for each thread, so that none waits long for a slower one.
    slab = max(1, total // (8 * workers))
    firsts = count(0, slab)

    def help_out() -> None:
        for first in firsts:
            if first >= total:
                return
            work(first, min(first + slab, total))

    others = _submit(help_out, workers - 1)
    help_out()
    for other in others:
        other.result()


def _submit(work: Callable[[], None], times: int) -> list[Future[None]]:
    global _pool, _pool_size
    with _making:
        if _pool is None or _pool_size < times:
            if _pool is not None:
                _pool.shutdown(wait=False)
            _pool = ThreadPoolExecutor(times, thread_name_prefix="tinyloss")
            _pool_size = times
        try:
            return [_pool.submit(work) for _ in range(times)]
        except RuntimeError:  # the interpreter is shutting down: the caller does it all
            return []


def _forget_pool() -> None:
    """Forget the parent's threads in a forked child."""
    global _pool, _making
    _pool, _making = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)
