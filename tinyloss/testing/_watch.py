"""Jobs on their way from the engine to a backend: logged, or answered by the formulas instead."""

import threading
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from tinyloss._arrays import compiling
from tinyloss._engine import registry
from tinyloss._engine.run import prepared_by
from tinyloss.backend import Backend, Job, Kind, evaluate, replaced
from tinyloss.typing import Namespace


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
    """Replaces the registry's backends by ones that log, while a check runs."""

    def __init__(self, numpy: Any) -> None:
        self._numpy, self._backend_of = numpy, registry.backend_of
        self._stand_ins: dict[int, Backend] = {}

    def __enter__(self) -> "Watch":
        _ONE_AT_A_TIME.acquire()
        self._backend_of = registry.backend_of
        registry.backend_of = self._between
        return self

    def __exit__(self, *_: object) -> None:
        registry.backend_of = self._backend_of
        _ONE_AT_A_TIME.release()

    def _between(self, xp: Namespace) -> Backend | None:
        if compiling():  # nothing can be put between there
            return None
        backend = self._backend_of(xp)

        def prepare(kind: Kind) -> Callable[[Job], Any]:
            answer = partial(self._answer, backend)
            if backend is None:
                return answer
            prepared: Any = prepared_by(backend, kind)
            return _Ready(answer, prepared) if hasattr(prepared, "ready") else answer

        return self._stand_ins.setdefault(id(backend), _Between(backend, prepare))

    def _answer(self, backend: Backend | None, job: Job) -> Any:
        log = _LOG.get()
        if log is not None and log.formulas:
            log.jobs.append(job)
            return self._evaluate(job)
        if log is not None:
            # A backend may divide outside of its program.
            log.programs.append(replace(job.kind, divided=False))
        answer = NotImplemented if backend is None else prepared_by(backend, job.kind)(job)
        if answer is not NotImplemented:
            return answer
        if log is not None:
            log.declined += 1
        return self._evaluate(job)

    def _evaluate(self, job: Job) -> Any:
        if job.kind.rowwise:
            # NumPy sums pairwise along contiguous memory only.
            np = self._numpy
            arrays = {
                name: np.asarray(array, order="C") if isinstance(array, np.ndarray) else array
                for name, array in job.arrays.items()
            }
            job = replaced(job, arrays=arrays)
        with self._numpy.errstate(all="ignore"):
            return evaluate(job)

    def formulas(self, call: Callable[[], Any]) -> tuple[Any, Job]:
        """Return a call's result, answered by the formulas, and its job."""
        log = Log(formulas=True)
        result = logged(log, call)
        return result, log.jobs[-1]

    def job(self, call: Callable[[], Any]) -> Job | None:
        """Return the job of a call, None where the call is refused."""
        try:
            return self.formulas(call)[1]
        except (TypeError, ValueError):
            return None


class _Between:
    """A stand-in for a backend: it is asked for all but `prepare`."""

    def __init__(self, backend: Backend | None, prepare: Callable[[Kind], Any]) -> None:
        self._backend, self.prepare = backend, prepare

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)


class _Ready:
    """A stand-in for what keeps ready for calls that are alike."""

    def __init__(self, answer: Callable[[Job], Any], prepared: Any) -> None:
        self._answer, self._prepared = answer, prepared

    def __call__(self, job: Job) -> Any:
        return self._answer(job)

    def ready(self, job: Job, *more: Any) -> Callable[..., Any] | None:
        log = _LOG.get()
        skips = log is not None and log.formulas
        made = None if skips else self._prepared.ready(job, *more)
        if made is None:
            return None

        def answer(arrays: Any) -> Any:
            log = _LOG.get()
            if log is not None and log.formulas:
                return None
            found = made(arrays)
            if log is not None and found is not None:
                log.programs.append(replace(job.kind, divided=False))
            return found

        return answer


def logged(log: Log, call: Callable[[], Any]) -> Any:
    """Return a call's result and log its jobs."""
    token = _LOG.set(log)
    try:
        return call()
    finally:
        _LOG.reset(token)
