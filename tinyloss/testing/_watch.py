"""What passes between the engine and the backends: logged, or answered by the formulas instead."""

import threading
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any

from tinyloss._arrays import dtype_name
from tinyloss._engine import registry
from tinyloss._engine.run import Job
from tinyloss.typing import Namespace

__all__ = ["Log", "Watch", "logged"]


@dataclass
class Log:
    """What happened in one call."""

    formulas: bool = False
    """Whether the formulas are to answer instead of the backend."""
    jobs: list[Job] = field(default_factory=list[Job])
    programs: list[Any] = field(default_factory=list[Any])
    declined: int = 0


_LOG: ContextVar[Log | None] = ContextVar("tinyloss.testing", default=None)
_ONE_AT_A_TIME = threading.Lock()


class Watch:
    """Stands between the engine and the backends while a check runs."""

    def __init__(self, numpy: Any) -> None:
        self._numpy, self._backend_of = numpy, registry.backend_of

    def __enter__(self) -> "Watch":
        _ONE_AT_A_TIME.acquire()
        self._backend_of = registry.backend_of
        registry.backend_of = self._between
        return self

    def __exit__(self, *_: object) -> None:
        registry.backend_of = self._backend_of
        _ONE_AT_A_TIME.release()

    def _between(self, xp: Namespace) -> registry.Backend:
        between: Any = SimpleNamespace(run=partial(self._answer, self._backend_of(xp)))
        return between  # type: ignore[no-any-return]

    def _answer(self, backend: registry.Backend | None, job: Job) -> Any:
        log = _LOG.get()
        if log is not None and log.formulas:
            log.jobs.append(job)
            return self._evaluate(job)
        if log is not None:
            log.programs.append(_program_of(job))
        answer = NotImplemented if backend is None else backend.run(job)
        if answer is not NotImplemented:
            return answer
        if log is not None:
            log.declined += 1
        return self._evaluate(job)

    def _evaluate(self, job: Job) -> Any:
        if job.formula.rowwise:
            # NumPy sums pairwise along contiguous memory only.
            for name, array in job.arrays.items():
                if isinstance(array, self._numpy.ndarray) and not array.flags.c_contiguous:
                    job.arrays[name] = self._numpy.ascontiguousarray(array)
        with self._numpy.errstate(all="ignore"):
            return job.evaluate()

    def formulas(self, call: Callable[[], Any]) -> tuple[Any, Job]:
        """Return what a call returns where the formulas answer, and the job they answered."""
        log = Log(formulas=True)
        result = logged(log, call)
        return result, log.jobs[-1]

    def job(self, call: Callable[[], Any]) -> Job | None:
        """Return the job of a call, None where the call is refused."""
        try:
            return self.formulas(call)[1]
        except (TypeError, ValueError):
            return None


def logged(log: Log, call: Callable[[], Any]) -> Any:
    """Return what a call returns, with what happens in it logged."""
    token = _LOG.set(log)
    try:
        return call()
    finally:
        _LOG.reset(token)


def _program_of(job: Job) -> Any:
    """Return what two jobs have in common that one program can answer."""
    return (
        job.formula,
        tuple(job.params.items()),
        tuple((name, dtype_name(array.dtype)) for name, array in job.arrays.items()),
        str(job.dtype),
        job.labels,
        job.unchecked and job.domain,
        job.weight is None,
        job.reduce,
        job.value,
        job.grads,
        job.curvature,
    )
