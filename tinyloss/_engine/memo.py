"""Calls that differ in nothing but what their arrays hold: settled once, then only looked up.

What such a call costs is a key, a look-up, and what the backend keeps ready.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from tinyloss._arrays import compiling, is_host
from tinyloss._cache import Cache
from tinyloss._engine import registry
from tinyloss._engine.job import Answer, Job, evaluate
from tinyloss._engine.request import Request, Want
from tinyloss._engine.run import finished_of, prepared_by, run, settled_of
from tinyloss._engine.settle import Settled
from tinyloss._engine.targets import look_at, validation_mode

Ready = Callable[[Sequence[Any]], Answer | None]
Known = Cache[Ready]
"""What is ready for the calls of one loss."""

_PLAIN = frozenset((int, bool, str, type(None)))
_layouts: dict[type, Callable[[Any], Any] | None] = {}
"""For a type of array what decides how a call of it is answered, besides its numbers."""


def answered(
    known: Known | None,
    describe: Callable[[Sequence[Any], Mapping[str, Any]], Request],
    want: Want,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> Answer:
    """Answer a call of a loss, as one like it was answered if there was one."""
    if known is None or compiling():
        return run(describe(args, kwargs), want)
    arrays: list[Any] = []
    key = _key(want, args, kwargs, arrays)
    if key is not None:
        try:
            ready = known[key]
        except KeyError:
            pass
        else:
            answer = ready(arrays)
            if answer is not None:
                return answer
    request = describe(args, kwargs)
    settled = settled_of(request, want)
    if key is not None and settled.replays:
        made = _made(request, want, settled, arrays)
        answer = None if made is None else made(arrays)
        if made is not None and answer is not None:
            known.add(key, made)
            return answer
    return finished_of(request, want, settled)


def _key(want: Want, args: Sequence[Any], kwargs: Mapping[str, Any], arrays: list[Any]) -> Any:
    """Return what calls alike have in common, and list their arrays; None where it is unknown."""
    out = want.out
    # a check may put itself between the engine and the backends
    parts: list[Any] = [registry.backend_of, validation_mode()]
    parts.append((want[:3], want[4:], len(out)) if out else want)
    for each in args:
        layout = _layouts.get(each.__class__) or _layout_of(each)
        if layout is None:
            return None
        arrays.append(each)
        parts.append(layout(each))
    for name, each in kwargs.items():
        kind = each.__class__
        if kind in _PLAIN:
            parts.append((name, kind, each))
        elif kind is float:
            parts.append((name, kind, each.hex()))
        else:
            layout = _layouts.get(kind) or _layout_of(each)
            if layout is None:
                return None
            arrays.append(each)
            parts.append((name, layout(each)))
    for each in out:
        layout = _layouts.get(each.__class__) or _layout_of(each)
        if layout is None:
            return None
        arrays.append(each)
        parts.append(layout(each))
    return tuple(parts)


def _layout_of(array: Any) -> Callable[[Any], Any] | None:
    kind = array.__class__
    if kind not in _layouts:
        plain = (kind.__module__, kind.__name__) == ("numpy", "ndarray") and is_host(array)
        _layouts[kind] = _layout if plain else None
    return _layouts[kind]


def _layout(array: Any) -> Any:
    return array.shape, array.strides, array.dtype


def _made(request: Request, want: Want, settled: Settled, arrays: Sequence[Any]) -> Ready | None:
    """Return what answers calls like this one."""
    job, weighing = settled.job, settled.weighing
    backend = registry.backend_of(job.xp)
    if backend is None:
        return None
    prepared = prepared_by(backend, job.kind)
    make = _made_ready(prepared)
    if make is None and weighing is not None:
        return None
    at = {id(array): place for place, array in enumerate(arrays)}
    used = [job.arrays[name] for name, *_ in job.kind.arguments] + [*settled.given, *job.out]
    # An array given twice has no place of its own; one that is not used was read as a number.
    if not len(at) == len(arrays) == len(used) or at.keys() != set(map(id, used)):
        return None
    if weighing is not None:
        kind = job.kind if weighing.domain is None else job.kind.checked
        kind = replace(kind, weighted=True, divided=weighing.mean or kind.divided)
        job, make = replace(job, kind=kind), getattr(prepared_by(backend, kind), "ready", None)
    ready: Ready | None = None if make is None else make(job, weighing, settled.given)
    places = [at[id(each)] for each in used]
    if weighing is None:
        return _Replay(request, want, job, prepared, ready, places)
    if ready is None:
        return None

    def answer(arrays: Sequence[Any]) -> Answer | None:
        found = ready([arrays[place] for place in places])
        if found is None or want.value:
            return found
        return found._replace(value=None)

    return answer


class _Replay:
    """What answers plain calls like one: at once, else by a job made from that one's."""

    def __init__(
        self,
        request: Request,
        want: Want,
        job: Job,
        prepared: Callable[[Job], Any],
        ready: Ready | None,
        places: list[int],
    ) -> None:
        # none of the caller's arrays is kept
        self._request = request._replace(x=None, y=None, arrays={}, weight=None, where=None)
        self._job = replace(job, arrays={}, look=None)
        self._names = [name for name, *_ in job.kind.arguments]
        self._prepared, self._ready, self._places = prepared, ready, places
        self._looks, self._shown = job.look is not None, want.value
        self._straight = places == list(range(len(places)))

    def __call__(self, arrays: Sequence[Any]) -> Answer | None:
        given = arrays if self._straight else [arrays[place] for place in self._places]
        found = None if self._ready is None else self._ready(given)
        if found is None:
            found = self._again(given)
        elif self._looks and found.value != found.value:
            return None  # settled anew, with a look at the targets
        return found if self._shown else found._replace(value=None)

    def _again(self, given: Sequence[Any]) -> Answer:
        """Answer by a job, and see whether the backend is ready by now."""
        before = self._job
        x, y = given[0], given[1]
        look = None
        if self._looks:
            domain = before.kind.unchecked
            assert domain is not None
            request = self._request._replace(x=x, y=y)
            classes = x.shape[-1] if before.kind.rowwise else None
            look = partial(look_at, request, before.xp, y, domain, classes, None)
        named = dict(zip(self._names, given, strict=True))
        job = Job(before.kind, before.xp, named, None, before.divisor, before.numbers, look=look)
        found = self._prepared(job)
        if found is NotImplemented:
            found = evaluate(job)
        if look is not None and found.value != found.value:
            look()
        make = _made_ready(self._prepared) if self._ready is None else None
        if make is not None:
            self._ready = make(job, None, ())
        return found  # type: ignore[no-any-return]


def _made_ready(prepared: Any) -> Any:
    """Return what makes a backend ready for jobs of one layout; None if it does not compile them.

    A backend may offer that: `compiles()`, and `ready(job, weighing, given)`.
    """
    compiles = getattr(prepared, "compiles", None)
    return prepared.ready if compiles is not None and compiles() else None
