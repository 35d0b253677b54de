"""Calls that differ in nothing but what their arrays hold: described once, then only looked up.

What such a call costs is a key, a look-up, and what the backend keeps ready; where it keeps
nothing, a job by the form of the first.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NoReturn

from tinyloss._arrays import compiling, namespace
from tinyloss._cache import Cache
from tinyloss._engine import registry
from tinyloss._engine.job import Answer, Job, Weighing
from tinyloss._engine.request import Request, Want
from tinyloss._engine.run import answer_of, as_wanted, finished_of, prepared_by, run, settled_of
from tinyloss._engine.settle import Form, Settled
from tinyloss._engine.targets import validation_mode

Ready = Callable[[Sequence[Any]], Answer | None]
Known = Cache["_Alike"]
"""What is known of the calls of one loss."""

_PLAIN = frozenset((int, bool, str, type(None)))
_layouts: dict[type, Callable[[Any], Any]] = {}
"""For a type of array what tells the layout of one, see `Backend`."""


def answered(
    known: Known | None,
    describe: Callable[[Sequence[Any], Mapping[str, Any]], Request],
    want: Want,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> Answer:
    """Answer a call of a loss, as one like it was answered if there was one."""
    # in this order: torch.compile guards what it reads
    if compiling() or known is None or want.over is not None:
        return run(describe(args, kwargs), want)
    arrays: list[Any] = []
    key = None if want.direction is not None else _key(want, args, kwargs, arrays)
    if key is None:
        return run(describe(args, kwargs), want)
    try:
        alike = known[key]
    except KeyError:
        pass
    else:
        return alike(arrays, want.out)
    request = as_wanted(describe(args, kwargs), want)
    form, settled = settled_of(request, want, fuses=True)
    made = _made(describe, want, args, kwargs, form)
    if made is None:
        return finished_of(request, form, settled, want.out)
    answer = made.answer(request, settled, arrays, want.out)
    known.add(key, made)
    return answer


def _key(want: Want, args: Sequence[Any], kwargs: Mapping[str, Any], arrays: list[Any]) -> Any:
    """Return what calls alike have in common, and list their arrays; None where it is unknown."""
    out = want.out
    # a check may put itself between the engine and the backends
    parts: list[Any] = [registry.backend_of, validation_mode()]
    parts.append((want[:3], want[4:], len(out)) if out else want)
    for each in (*args, *out):
        layout = (_layouts.get(each.__class__) or _layout_of(each))(each)
        if layout is None:
            return None
        parts.append(layout)
    arrays += args
    for name, each in kwargs.items():
        kind = each.__class__
        if kind in _PLAIN:
            parts.append((name, kind, each))
        elif kind is float:
            parts.append((name, kind, each.hex()))
        else:
            layout = (_layouts.get(kind) or _layout_of(each))(each)
            if layout is None:
                return None
            arrays.append(each)
            parts.append((name, layout))
    return tuple(parts)


def _layout_of(array: Any) -> Callable[[Any], Any]:
    try:
        backend = registry.backend_of(namespace(array))
    except TypeError:  # no array
        backend = None
    found: Callable[[Any], Any] = getattr(backend, "layout", _unknown)
    return _layouts.setdefault(array.__class__, found)


def _unknown(array: Any) -> None: ...


class _Mark:
    """Stands for an array of a call while the call is described: nobody can read a number of it."""

    def __init__(self, array: Any, place: int) -> None:
        self.shape, self.dtype, self.place = array.shape, array.dtype, place

    def __bool__(self) -> NoReturn:
        raise TypeError


def _made(
    describe: Callable[[Sequence[Any], Mapping[str, Any]], Request],
    want: Want,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    form: Form,
) -> "_Alike | None":
    """Return what answers calls like one; None where their description reads an array."""
    marks = [_Mark(each, place) for place, each in enumerate(args)]
    given = dict(kwargs)
    for name, each in kwargs.items():
        if each.__class__ not in _PLAIN and each.__class__ is not float:
            given[name] = _Mark(each, len(marks))
            marks.append(given[name])
    try:
        request = as_wanted(describe(marks[: len(args)], given), want)
    except (AttributeError, TypeError):
        return None
    made = _Alike(request, form)
    return made if made.places() == len(marks) else None


def _marked(fields: Mapping[str, Any]) -> dict[str, int]:
    return {name: each.place for name, each in fields.items() if isinstance(each, _Mark)}


class _Alike:
    """What answers calls that are alike: at once where a backend is ready, else by a job."""

    def __init__(self, request: Request, form: Form) -> None:
        self._request, self._form = request, form
        self._fields = _marked(request._asdict())
        self._held, self._more = _marked(request.params), _marked(request.arrays)
        self._begun = False
        self._make: Callable[[Request, Job], Ready | None] = _never
        """Makes a backend ready, given the request and job of a call."""
        self._ready: Ready | None = None
        self._prepared: Callable[[Job], Any] = answer_of
        """What answers a plain job, unless it declines."""
        self._used: list[int] = []
        """The places of the arrays that it takes."""
        self._plain: Job | None = None
        """A job without its arrays, where those of others are the caller's and nothing weighs."""

    def places(self) -> int:
        """Return how many arrays there are."""
        return len(self._fields) + len(self._held) + len(self._more)

    def __call__(self, arrays: Sequence[Any], out: tuple[Any, ...]) -> Answer:
        """Answer a call."""
        if self._ready is not None:
            found = self._ready([*[arrays[place] for place in self._used], *out])
            if found is not None:
                return found
        if self._plain is not None:
            return self._plainly(self._plain, arrays)
        request = self._request_of(arrays)
        return self.answer(request, self._form.again(request, out), arrays, out)

    def _request_of(self, arrays: Sequence[Any]) -> Request:
        changed: dict[str, Any] = {name: arrays[place] for name, place in self._fields.items()}
        for name, marked in (("params", self._held), ("arrays", self._more)):
            if marked:
                own = {each: arrays[place] for each, place in marked.items()}
                changed[name] = {**getattr(self._request, name), **own}
        return self._request._replace(**changed)

    def _plainly(self, before: Job, arrays: Sequence[Any]) -> Answer:
        form, look = self._form, None
        named = {name: arrays[place] for name, place in zip(before.arrays, self._used, strict=True)}
        if form.looks:
            look = form.look(partial(self._request_of, arrays), named["y"], None)
        job = Job(before.kind, before.xp, named, None, before.divisor, before.numbers, look=look)
        if self._ready is None:
            self._ready = self._make(self._request, job)
        answer = self._prepared(job)
        return answer_of(job) if answer is NotImplemented else answer

    def answer(
        self, request: Request, settled: Settled, arrays: Sequence[Any], out: tuple[Any, ...]
    ) -> Answer:
        """Answer a call that is settled."""
        if not self._begun:
            self._begin(request, settled, arrays)
            self._begun = True
        if self._ready is None:
            self._ready = self._make(request, settled.job)
            if self._ready is not None:
                return self(arrays, out)
        return finished_of(request, self._form, settled, out)

    def _begin(self, request: Request, settled: Settled, arrays: Sequence[Any]) -> None:
        """Find out by a first call how others can be answered.

        What is ready takes the caller's arrays as they are, and all else from the job of one call.
        """
        job, form, fields = settled.job, self._form, self._fields
        places: list[Any] = [fields.get(name, self._more.get(name)) for name in job.arrays]
        for place, array in zip(places, job.arrays.values(), strict=True):
            if place is None or arrays[place] is not array:
                return
        if self._held or form.want.sums or "denominator" in fields or form.rule.counts is not None:
            return
        weighs = ("weight", "where", "class_weight")
        given = [name for name in weighs if getattr(request, name) is not None]
        if not fields.keys() >= set(given):  # a number, or a list
            return
        weighing: Weighing | None = None
        if job.weight is not None or (job.out and form.looks):
            # Smoothed labels and probabilities have a weight of each class in the formula, and one
            # of the item in what a mean divides by: they are no weight of items alone.
            if "class_weight" in job.arrays:
                return
            # By 0 only what has an item is divided.
            if request.denominator is not None and not abs(request.denominator) > 0:
                return
            domain = form.domain if form.looks else None
            mean = request.reduction == "mean" and request.denominator is None
            weighing = Weighing(tuple(given), domain, request.ignore_index is not None, mean)
        elif form.weighs:
            return
        elif not job.out:
            self._plain = replace(job, arrays=dict.fromkeys(job.arrays), look=None)
        self._used = [*places, *[fields[name] for name in given]]
        backend = registry.backend_of(job.xp)
        if backend is None:
            return
        if form.looks and not getattr(backend, "LOOKS", False):
            return  # what looks at the targets first
        self._prepared = prepared = prepared_by(backend, job.kind)
        ready: Any = getattr(prepared, "ready", None)
        if ready is not None:
            self._make = lambda request, job: ready(
                job, weighing, [getattr(request, name) for name in given]
            )


def _never(request: Request, job: Job) -> None: ...
