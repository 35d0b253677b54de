"""What is kept between calls: bounded, and let go with the formula that it belongs to."""

from collections.abc import Callable, Hashable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar
from weakref import WeakSet

T = TypeVar("T")

_caches: WeakSet["Cache[Any]"] = WeakSet()


class Cache(dict[Any, T]):
    """What was used last, in two generations: when the younger is full, it becomes the older.

    So what is in use is found by one look-up, and what nobody uses is let go.
    """

    size = 256
    """How many are kept at least; at most twice as many."""
    _older: Mapping[Any, T] = MappingProxyType({})
    __hash__ = object.__hash__  # type: ignore[assignment]

    def __init__(self) -> None:
        _caches.add(self)

    def __missing__(self, key: Any) -> T:
        return self.add(key, self._older[key])

    def add(self, key: Any, value: T) -> T:
        """Keep a value, unless another thread was faster; return what is kept."""
        if len(self) >= self.size:
            self._older = dict(self)
            self.clear()
        return self.setdefault(key, value)

    def made(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what is kept by a key, made where there is nothing."""
        try:
            return self[key]
        except KeyError:
            return self.add(key, make())

    def __reduce__(self) -> tuple[Any, ...]:
        return Cache, ()  # what is kept is of this process

    def forget(self) -> None:
        """Let go of everything."""
        self._older = MappingProxyType({})
        self.clear()


def cache_of(owner: Any, name: str) -> Cache[Any]:
    """Return the cache of this name that a class has, of itself and not of one it inherits from.

    What is kept may hold the class: both go together, when nobody else holds the class.
    """
    name = f"_{name}_cache"
    known: Cache[Any] | None = owner.__dict__.get(name)
    if known is None:
        known = Cache()
        setattr(owner, name, known)
    return known


def clear_caches() -> None:
    """Forget what was found out about earlier calls: settled calls, programs, compiled kernels.

    Nothing that a call returns depends on it. Kernels on disk stay.

    Examples
    --------
    >>> import tinyloss
    >>> tinyloss.clear_caches()
    """
    for cache in list(_caches):
        cache.forget()
