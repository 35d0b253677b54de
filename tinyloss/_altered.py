"""Losses made of other losses: what they have in common."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Generic, ParamSpec

from tinyloss._calls import shown
from tinyloss._engine.job import Answer, Job
from tinyloss._engine.request import Want
from tinyloss._function import Loss, spelled
from tinyloss._transforms import no_loss

P = ParamSpec("P")

_VALUE = Want(value=True)


class Altered(Generic[P]):
    """A loss that is asked as another one is: comparable, picklable, printed as it was made."""

    def __init__(self, make: Callable[..., Any], loss: Loss[P], given: Any, does: str) -> None:
        """Take what makes it, of which loss, what that is given besides, and what it does."""
        if isinstance(loss, type) or not hasattr(loss, "ask"):
            raise no_loss(loss, f"tinyloss.{make.__name__}")
        self._make: Any = make
        self._loss: Any = loss
        self._given = given
        name = getattr(loss, "__name__", None) or repr(loss)
        self.__name__ = self.__qualname__ = f"{make.__name__}({name}, {shown(given)})"
        self.__doc__ = f"Return {name} {does}."

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self._loss)

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Any:
        return self.ask(_VALUE, *args, **kwargs).value

    def ask(self, want: Want, /, *args: P.args, **kwargs: P.kwargs) -> Answer:
        """Return the parts of the answer that are wanted."""
        raise NotImplementedError

    def jobs(self, want: Want, /, *args: Any, **kwargs: Any) -> list[Job]:
        """Return the jobs that answer a call."""
        found: list[Job] = self._loss.jobs(want, *args, **kwargs)
        return found

    def takes_labels(self, **parameters: Any) -> bool:
        """Return whether y may hold class indices."""
        return bool(self._loss.takes_labels(**parameters))

    @property
    def traits(self) -> Any:
        """What returns the loss's traits."""
        return self._loss.traits

    def _key(self) -> tuple[Any, ...]:
        # arrays are the same only if they are the same memory
        given = id(self._given) if hasattr(self._given, "shape") else self._given
        return self._make, self._loss, given

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, Altered) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"tinyloss.{self._make.__name__}({spelled(self._loss)}, {shown(self._given)})"

    def __reduce__(self) -> Any:
        return self._make, (self._loss, self._given)
