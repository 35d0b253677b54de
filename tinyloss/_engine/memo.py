"""Calls that differ in nothing but what their arrays hold: settled once, then only looked up.

What such a call costs is a key, a look-up, and what the backend keeps ready.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tinyloss._arrays import compiling, is_host
from tinyloss._cache import Cache
from tinyloss._engine import registry
from tinyloss._engine.job import Answer
from tinyloss._engine.request import Request, Want
from tinyloss._engine.run import finished_of, prepared_by, run, settled_of
from tinyloss._engine.settle import Settled
from tinyloss._engine.targets import validation_mode

__all__ = ["Known", "answered"]

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
        made = _made(settled, want, arrays)
        answer = None if made is None else made(arrays)
        if made is not None and answer is not None:
            known.add(key, made)
            return answer
    return finished_of(request, want, settled)


def _key(want: Want, args: Sequence[Any], kwargs: Mapping[str, Any], arrays: list[Any]) -> Any:
    """Return what calls alike have in common, and list their arrays; None where it is unknown."""
    out = want.out
    parts: list[Any] = [(want[:3], want[4:], len(out)) if out else want, validation_mode()]
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
        plain = kind.__name__ == "ndarray" and is_host(array)
        _layouts[kind] = _layout if plain else None
    return _layouts[kind]


def _layout(array: Any) -> Any:
    return array.shape, array.strides, array.dtype


def _made(settled: Settled, want: Want, arrays: Sequence[Any]) -> Ready | None:
    """Return what answers calls like this one."""
    job, weighing = settled.job, settled.weighing
    kind = job.kind
    if weighing is not None:
        domain = kind.unchecked if weighing.domain is None else None
        divided = weighing.mean or kind.divided
        kind = replace(kind, weighted=True, divided=divided, unchecked=domain)
        job = replace(job, kind=kind)
    backend = registry.backend_of(job.xp)
    make = None if backend is None else getattr(prepared_by(backend, kind), "ready", None)
    at = {id(array): place for place, array in enumerate(arrays)}
    used = [job.arrays[name] for name, *_ in kind.arguments]
    used += [*settled.given, *job.out]
    if make is None or not at.keys() >= set(map(id, used)):
        return None
    places = [at[id(each)] for each in used]
    ready: Ready | None = make(job, weighing, settled.given)
    if ready is None:
        return None
    straight = places == list(range(len(arrays)))
    looks, shown = weighing is None and job.look is not None, want.value

    def answer(arrays: Sequence[Any]) -> Answer | None:
        found = ready(arrays if straight else [arrays[place] for place in places])
        if found is None:
            return None
        if looks and found.value != found.value:
            return None  # settled anew, with a look at the targets
        return found if shown else found._replace(value=None)

    return answer
