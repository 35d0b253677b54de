"""The registry of backends: finding, caching, asking.

A backend is an import package with one function, `run(job)`, which answers a job of
`tinyloss._engine` or returns `NotImplemented`. It names itself in the entry-point group
`tinyloss.backends`: the array library's name = the package. Ours and third parties' alike.
"""

from importlib import import_module
from typing import Any, Protocol
from warnings import warn

from tinyloss._arrays import library
from tinyloss.typing import Namespace

__all__ = ["Backend", "backend_of"]


class Backend(Protocol):
    """What a backend offers: a module with this function meets it."""

    def run(self, job: Any, /) -> Any:
        """Answer a job, or return NotImplemented to leave it to the formulas."""
        ...


_BACKENDS: dict[Namespace, Backend | None] = {}


def backend_of(xp: Namespace) -> Backend | None:
    """Return the backend for arrays of namespace `xp`, None where there is none."""
    try:
        return _BACKENDS[xp]
    except KeyError:
        backend = _BACKENDS[xp] = _find(library(xp))
        return backend


def _find(name: str) -> Backend | None:
    # A third of the time of importing tinyloss would be this module's.
    from importlib.metadata import entry_points

    for entry in entry_points(group="tinyloss.backends", name=name):
        try:
            backend: Any = import_module(entry.value)
        except ImportError as error:
            warn(
                f"tinyloss: the backend {entry.value} for {name} arrays could not be imported "
                f"({error}); the formulas run in {name} instead",
                RuntimeWarning,
                stacklevel=2,
            )
        else:
            return backend  # type: ignore[no-any-return]
    return None
