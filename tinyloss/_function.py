"""Public loss functions.

A loss module writes a function that describes one call as a `Request`; `LossFunction` turns it
into the function users see: the same signature, returning the loss. Whatever is wanted of a loss,
its value or derivatives, is asked of the same description.
"""

from __future__ import annotations  # torch.compile trips over `P.args`, new each time

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import update_wrapper
from typing import Any, Generic, ParamSpec, Protocol, get_args

from tinyloss._calls import misfit, readable
from tinyloss._check import Check
from tinyloss._engine.job import Answer, Job
from tinyloss._engine.memo import Known, answered
from tinyloss._engine.request import Refusal, Request, Want
from tinyloss._engine.run import job_of
from tinyloss._masks import of_possible
from tinyloss._traits import Traits, numbers_of, weighed
from tinyloss.typing import Options

P = ParamSpec("P")
P_contra = ParamSpec("P_contra")

_VALUE = Want(value=True)


class Loss(Protocol[P_contra]):
    """A loss: a function of this package, one of its classes' objects, or a sum of these."""

    def __call__(self, *args: P_contra.args, **kwargs: P_contra.kwargs) -> Any:
        """Return the loss."""
        ...

    def ask(self, want: Want, /, *args: P_contra.args, **kwargs: P_contra.kwargs) -> Answer:
        """Return the parts of the answer that are wanted."""
        ...

    # Not of P: a checker would take P from the least typed of these methods.
    def jobs(self, want: Want, /, *args: Any, **kwargs: Any) -> list[Job]:
        """Return the jobs that answer a call."""
        ...

    def takes_labels(self, **parameters: Any) -> bool:
        """Return whether y may hold class indices."""
        ...

    @property
    def traits(self) -> Callable[..., Traits]:
        """What returns the loss's traits, of the parameters that are not set."""
        ...


class LossFunction(Generic[P]):
    """A loss function: called like the function that describes it, and differentiable."""

    __name__: str
    __qualname__: str

    def __init__(self, describe: Callable[P, Request], *, replays: bool = True) -> None:
        """Take the description of a call; `replays`: the same of the same arguments, always."""
        self.describe: Callable[..., Request] = describe
        self._known: Known | None = Known() if replays else None
        update_wrapper(self, describe)
        parameters = parameters_of(describe)
        self._checks = {each.name: _check_of(each.annotation) for each in parameters}
        bare = [each.replace(annotation=_bare(each.annotation)) for each in parameters]
        known = [each for each in bare if each.annotation is not each.empty]
        self.__annotations__ = {each.name: each.annotation for each in known} | {"return": Any}
        self.__signature__ = readable(inspect.Signature(bare, return_annotation=Any))

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Any:
        return answered(self._known, self.request, _VALUE, args, kwargs).value

    def ask(self, want: Want, /, *args: P.args, **kwargs: P.kwargs) -> Answer:
        """Return the parts of the answer that are wanted."""
        return answered(self._known, self.request, want, args, kwargs)

    def request(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Request:
        """Return what a call asks, its parameters checked."""
        try:
            checked = dict(kwargs)
            for name, value in kwargs.items():
                check = self._checks[name]
                if check is not None:
                    checked[name] = check(self.__name__, name, value)
            return of_possible(self.describe(*args, **checked))
        except Refusal as refusal:
            raise refusal.of(self.__name__) from None
        except (KeyError, TypeError):
            message = misfit(self.__name__, self.__signature__, args, kwargs)
            if message is None:
                raise
        raise TypeError(message)

    def jobs(self, want: Want, /, *args: Any, **kwargs: Any) -> list[Job]:
        """Return the jobs that answer a call."""
        return [job_of(self.request(args, kwargs), want)]

    def takes_labels(self, **parameters: Any) -> bool:
        """Return whether y may hold class indices."""
        return self._described(parameters).labels is not None

    def traits(self, **parameters: Any) -> Traits:
        """Return what is known of the loss, for an item of weight 1."""
        request = self._described(parameters)
        for name in ("weight", "where", "denominator"):
            if getattr(request, name) is not None:
                raise TypeError(
                    f"tinyloss.traits: {name} is given, expected parameters of {self.__name__}: "
                    "traits are those of an item of weight 1"
                )
        formula = request.formula or request.labels
        if formula is None:  # of what has no formula of an item nothing is known
            return Traits()
        known = formula.traits(**request.params, **request.arrays)
        weights = request.class_weight
        return known if weights is None else weighed(known, numbers_of(weights))

    def check(self, **parameters: Any) -> None:
        """Raise what a call with these parameters would raise about them."""
        self._described(parameters)

    def _described(self, parameters: dict[str, Any]) -> Request:
        positional = [
            None
            for each in self.__signature__.parameters.values()
            if each.kind is each.POSITIONAL_OR_KEYWORD
        ]
        return self.request(positional, parameters)

    def __get__(self, owner: Any, kind: Any = None) -> LossFunction[P]:
        # As an attribute of a class it stays the function it is; and help() takes what has
        # __get__ for a function and shows its signature.
        return self

    def __repr__(self) -> str:
        return f"<function {self.__module__}.{self.__qualname__}>"

    def __reduce__(self) -> str:
        return self.__qualname__


class AnsweringFunction(LossFunction[P]):
    """A loss function that answers a call for its value as it answers all else that is wanted."""

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Any:
        return self.ask(_VALUE, *args, **kwargs).value


def spelled(loss: Any) -> str:
    """Return a loss as Python spells it: a function by its name, an object by its repr."""
    name = getattr(loss, "__qualname__", None)
    return repr(loss) if name is None else f"{loss.__module__}.{name}"


def parameters_of(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return a function's parameters, its **options as the parameters that they stand for.

    Options of rows come before the function's own parameters, those of every loss after.
    """
    *own, last = inspect.signature(function).parameters.values()
    if last.kind is not last.VAR_KEYWORD:
        return [*own, last]
    (options,) = get_args(last.annotation)
    spelled = [
        inspect.Parameter(name, last.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, default in Request._field_defaults.items()
        if (annotation := options.__annotations__.get(name)) is not None
    ]
    return sorted(
        [*own, *spelled],
        key=lambda p: (p.kind is p.KEYWORD_ONLY, p.name in Options.__annotations__, p in own),
    )


def _check_of(annotation: Any) -> Callable[[str, str, Any], Any] | None:
    """Return the check that an annotation holds, if it does."""
    of_parameter = getattr(annotation, "__metadata__", ())
    return next((each.run for each in of_parameter if isinstance(each, Check)), None)


def _bare(annotation: Any) -> Any:
    """Return an annotation without its check."""
    return annotation if _check_of(annotation) is None else annotation.__origin__
