"""The registry of backends: finding, caching, asking.

A backend is an import package with one function, `prepare(kind)`, which returns what answers the
jobs of a kind: a function that returns an answer, or `NotImplemented`. It names itself in the
entry-point group `tinyloss.backends`: the array library's name = the package. Ours and third
parties' alike.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from typing import Any, Protocol
from warnings import warn

from tinyloss._arrays import compiling, is_host, library, namespace
from tinyloss.typing import Namespace


class Backend(Protocol):
    """What a backend offers: a module with this function meets it.

    One that compiles may add `SOURCE`, the name of what its kernels are written in,
    `source(job)`, the text of the kernel that answers a job, and `example(shape, dtype)`, an
    array to ask for it with. `tinyloss.source` shows it then.

    One whose library raises or warns where results overflow may add `quiet()`, a context in which
    it does not.

    One that takes weights as they came says so by `RAW = True`: see `Kind.raw`.

    One that looks at targets by itself says so by `LOOKS = True`: if a job has `look`, it calls
    that before it answers, or where it has seen a target outside its domain.

    `layout(array)` tells what decides how calls with an array are answered, whatever numbers it
    holds: hashable, None if unknown. The engine then settles calls that are alike once. What
    `prepare` returns may have a method `ready(job, weighing, given)`: it returns a function that
    answers calls of the layout of this job at once, from their arrays, or None. It is not asked
    where targets are looked at before.

    `seen(array)` may return an array that can be read without waiting as one of NumPy, where
    operations on that take less time.

    `extent(array)` may return the largest absolute number and the sum of an array, None where that
    would take a wait. The sum then has the same bits for any number of threads.

    `fused(function)` may return a function of arrays, after a first argument that is none, as one
    operation of the library.

    For losses of scores that are products, `products(scored)` answers one whole, and
    `product_memory(h)` returns the `tinyloss.backend.Budget` of what is taken at a time, where the
    caller does not say. `absent(like, shape, dtype)` makes an array that nobody reads, where
    broadcasting one number would take its memory.
    `BOTH_WAYS = True` says that it answers losses of rows and columns at once.
    `multiply(a, b, into, adds)` writes or adds a product of matrices into an array.
    `halves(h)` tells of how many numbers of h's half precision the gradient by a score is made, 0
    if `multiply` does not take these and add them up in float32. `halved(z, dtype, count)` makes
    them: count times as many rows, whose sums are those of z.
    `indices(mask)` tells where a mask is True, None where that would take a wait.

    For losses of sequences, `sequences(batch)` answers a batch of them, or returns NotImplemented.
    `along(function, x, direction)` returns the derivative of a gradient along a direction.

    One whose library maps functions over the members of a named axis may add
    `split_rows(x, axis_name)`: the `tinyloss._rows.Rows` of which x holds one member's part.
    """

    def prepare(self, kind: Any, /) -> Callable[[Any], Any]:
        """Return a function that answers a job of this kind.

        It is kept with the loss's formula and called for all jobs of the kind. It returns
        NotImplemented to leave a job to the formulas.
        """
        ...


_BACKENDS: dict[Namespace, Backend | None] = {}


def backend_of(xp: Namespace) -> Backend | None:
    """Return the backend for arrays of namespace `xp`, None where there is none."""
    if compiling():
        return None
    try:
        return _BACKENDS[xp]
    except KeyError:
        backend = _BACKENDS[xp] = _find(library(xp))
        return backend


def extent(array: Any) -> tuple[float, float] | None:
    """Return the largest absolute number and the sum, where reading these costs no wait."""
    xp = namespace(array)
    own: Any = getattr(backend_of(xp), "extent", None)
    if own is not None:
        found: tuple[float, float] | None = own(array)
        return found
    if not is_host(array):
        return None
    return float(xp.max(xp.abs(array))), float(xp.sum(array, dtype=xp.float64))


def traced(job: Any) -> Any:
    """Answer a job in code that torch traces: its tracer follows no entry point, but this line."""
    from tinyloss_torch import traced

    return traced(job)


def untraced(function: Any) -> Any:
    """Return a function that torch calls between two graphs, where it traces what calls it."""
    from tinyloss_torch import untraced

    return untraced(function)


def quiet(xp: Namespace) -> AbstractContextManager[Any]:
    """Return a context in which overflows of arrays of `xp` raise nothing and warn of nothing."""
    enter: Any = getattr(backend_of(xp), "quiet", None)
    return nullcontext() if enter is None else enter()


def fused(xp: Namespace, function: Any) -> Any:
    """Return a function of static and of arrays as one operation of `xp`, None if there is none."""
    find: Any = getattr(backend_of(xp), "fused", None)
    return None if find is None else find(function)


def seen(xp: Namespace, array: Any) -> Any:
    """Return an array whose numbers can be read, as NumPy's where that is faster."""
    find: Any = getattr(backend_of(xp), "seen", None)
    return array if find is None else find(array)


def backend_that_writes(target: str) -> Any:
    """Return the backend whose kernels are written in `target`; KeyError with those there are."""
    found = {
        getattr(backend, "SOURCE", None): backend
        for backend in map(_import, _entries())
        if backend is not None
    }
    if target not in found:
        raise KeyError(*sorted(filter(None, found)))
    return found[target]


def _find(name: str) -> Backend | None:
    for entry in _entries():
        if entry.name == name and (backend := _import(entry)) is not None:
            return backend  # type: ignore[no-any-return]
    return None


def _entries() -> Iterable[Any]:
    # A third of the time of importing tinyloss would be this module's.
    from importlib.metadata import entry_points

    return entry_points(group="tinyloss.backends")


def _import(entry: Any) -> Any:
    try:
        return import_module(entry.value)
    except ImportError as error:
        warn(
            f"tinyloss: the backend {entry.value} for {entry.name} arrays could not be imported "
            f"({error}); the formulas run in {entry.name} instead",
            RuntimeWarning,
            stacklevel=2,
        )
        return None
