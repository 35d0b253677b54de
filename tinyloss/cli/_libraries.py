"""The array libraries: which are here, and how their arrays are made and read."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from importlib.util import find_spec
from typing import Any

from tinyloss.cli._usage import UsageError

__all__ = ["LIBRARIES", "Library", "library_called"]


@dataclass(frozen=True)
class Library:
    """An array library."""

    name: str
    title: str
    module: str
    install: str
    """The command that brings it."""
    make: str = "asarray"
    """The function of the module that makes an array of NumPy's."""
    read: str = ""
    """The function of the module that makes NumPy's of an array, where NumPy cannot."""

    @property
    def version(self) -> str | None:
        """The version that is installed, None where there is none."""
        package = self.module.partition(".")[0]
        if find_spec(package) is None:
            return None
        try:
            return version(package)
        except PackageNotFoundError:  # a distribution of another name: cupy-cuda13x
            return version(packages_distributions()[package][0])

    def own(self, host: Any) -> Any:
        """Return a NumPy array as an array of the library."""
        return getattr(import_module(self.module), self.make)(host)

    def host(self, array: Any) -> Any:
        """Return an array as NumPy's."""
        if self.read:
            return getattr(import_module(self.module), self.read)(array)
        array = array.detach() if hasattr(array, "detach") else array
        return import_module("numpy").asarray(array)

    def wide(self) -> AbstractContextManager[Any] | None:
        """Return a context in which there is float64."""
        if self.name != "jax":
            return nullcontext()
        enter: Callable[[bool], Any] | None = getattr(import_module("jax"), "enable_x64", None)
        return None if enter is None else enter(True)


LIBRARIES: dict[str, Library] = {
    each.name: each
    for each in (
        Library("numpy", "NumPy", "numpy", 'pip install "tinyloss[cpu]"'),
        Library("jax", "JAX", "jax.numpy", 'pip install "tinyloss[jax]"'),
        Library("torch", "torch", "torch", "pip install torch"),
        Library("cupy", "CuPy", "cupy", 'pip install "tinyloss[cuda13]"', read="asnumpy"),
        Library("dask", "Dask", "dask.array", 'pip install "dask[array]"'),
    )
}


def library_called(name: str) -> Library:
    """Return an array library that is here."""
    if name not in LIBRARIES:
        raise UsageError(
            f"no array library is called {name!r}, expected one of {', '.join(LIBRARIES)}",
            "tinyloss info",
        )
    found = LIBRARIES[name]
    if found.version is None:
        raise UsageError(f"{found.title} is not installed", found.install)
    return found
