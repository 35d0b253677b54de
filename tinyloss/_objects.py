"""What the classes of losses inherit: losses configured once, and their sums.

A class lists the parameters of its function, with the same names and defaults; a test compares
them. Calling, differentiating, adding, scaling, printing and comparing are inherited.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial, update_wrapper
from math import isinf
from numbers import Real
from operator import add
from typing import Any, ClassVar, Concatenate, ParamSpec, TypeVar, Unpack, dataclass_transform

from tinyloss import _check, _transforms
from tinyloss._arrays import bring, device, is_torch, namespace, widest_dtype
from tinyloss._calls import misfit, named, other_reduction, readable, shown, told
from tinyloss._engine.job import Answer, Job
from tinyloss._engine.registry import quiet
from tinyloss._engine.request import REDUCTIONS, Request, Want
from tinyloss._engine.run import fill, job_of, narrowed, run
from tinyloss._engine.sums import ORDINARY, summed
from tinyloss._function import Loss, LossFunction, parameters_of
from tinyloss._partial import mapped
from tinyloss._traits import Traits, added
from tinyloss.typing import (
    Activation,
    Array,
    ArrayLike,
    AxisName,
    CallOptions,
    DistributionName,
    MaskedCallOptions,
    Reduction,
)

P = ParamSpec("P")
R = TypeVar("R")

_VALUE = Want(value=True)


def called(stub: Callable[P, Any]) -> Callable[P, Any]:
    """Return the method that calls a loss object, with the signature of the stub."""

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return self.answer(_VALUE, args, kwargs).value

    method: Any = update_wrapper(call, stub)
    method.__signature__ = readable(inspect.Signature(parameters_of(stub), return_annotation=Any))
    return method  # type: ignore[no-any-return]


def asked(call: Callable[Concatenate[Any, P], Any]) -> Callable[Concatenate[Any, Want, P], Answer]:
    """Return the method that asks a loss object, with the signature of the one that calls it."""

    def ask(self: Any, want: Want, /, *args: Any, **kwargs: Any) -> Answer:
        """Return the parts of the answer that are wanted."""
        answer: Answer = self.answer(want, args, kwargs)
        return answer

    own, *others = inspect.signature(call).parameters.values()
    first = [own.replace(kind=own.POSITIONAL_ONLY), inspect.signature(ask).parameters["want"]]
    method: Any = ask
    method.__signature__ = inspect.Signature([*first, *others], return_annotation=Answer)
    return ask


def _explained(method: Callable[P, R]) -> Callable[P, R]:
    """Return a method (self, ..., args, kwargs) that says what is wrong with a call."""
    return told(method, lambda given, _: given[0]._misfit(*given[-2:]))


class Differentiable:
    """What every loss object can do: add, scale, differentiate."""

    def _misfit(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
        """Return what is wrong with the arguments of a call; None where they fit."""
        loss: Any = self
        signature = inspect.signature(loss)
        advice, place = self._advice(kwargs), self._place(args)
        return misfit(type(self).__name__, signature, args, kwargs, advice, place)

    def _advice(self, kwargs: Mapping[str, Any]) -> dict[str, str]:
        """Return for each unknown keyword what to write instead."""
        return {}

    def _place(self, args: Sequence[Any]) -> str | None:
        """Return what to write instead of too many positional arguments; None for the usual."""
        return None

    def __add__(self, other: "Differentiable") -> "WeightedSum":
        if not isinstance(other, Differentiable):
            return NotImplemented
        return WeightedSum(self._terms() + other._terms())

    def __mul__(self, factor: float) -> "WeightedSum":
        factor = _check.number(type(self).__name__, "factor", factor)
        return WeightedSum(tuple([(factor * scale, loss) for scale, loss in self._terms()]))

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> "WeightedSum":
        name = type(self).__name__
        number = _check.number(name, "divisor", divisor)
        if not number:
            raise ValueError(f"tinyloss.{name}: divisor is {divisor}, expected one other than 0")
        return self * (1 / number)

    def __neg__(self) -> "WeightedSum":
        return self * -1.0

    def __sub__(self, other: "Differentiable") -> "WeightedSum":
        return self + -other

    def __radd__(self, other: int) -> "Differentiable":
        # What sum() starts from.
        return self if type(other) is int and other == 0 else NotImplemented

    def _terms(self) -> "tuple[tuple[float, Differentiable], ...]":
        return ((1.0, self),)

    @property
    def value_and_grad(self: Loss[P]) -> Callable[P, tuple[Any, Any]]:
        """The function that returns the loss and its gradient by the prediction.

        For other arguments: `tinyloss.value_and_grad(loss, argnums)`.
        """
        return _transforms.value_and_grad(self)

    @property
    def grad(self: Loss[P]) -> Callable[P, Any]:
        """The function that returns the gradient by the prediction."""
        return _transforms.grad(self)

    @property
    def grad_and_hess(self: Loss[P]) -> Callable[P, tuple[Any, Any]]:
        """The function that returns each item's gradient and diagonal curvature, unreduced.

        For gradient boosting: `tinyloss.grad_and_hess(loss, hess="boosting")`.
        """
        return _transforms.grad_and_hess(self)

    @property
    def hvp(self: Loss[...]) -> Callable[..., Any]:
        """The function that returns the Hessian by the prediction times a direction."""
        return _transforms.hvp(self)


@dataclass(frozen=True, repr=False)
class WeightedSum(Differentiable):
    """A sum of losses of the same prediction and target, each with a factor.

    Examples
    --------
    >>> import tinyloss
    >>> 0.7 * tinyloss.MSELoss() + 0.3 * tinyloss.MAELoss()
    0.7 * MSELoss() + 0.3 * MAELoss()
    """

    terms: tuple[tuple[float, Any], ...]

    def __post_init__(self) -> None:
        name, terms = type(self).__name__, self.terms
        expected = "expected pairs (factor, loss object), at least one"
        if not isinstance(terms, (tuple, list)):
            raise TypeError(f"tinyloss.{name}: terms is {terms!r}, {expected}")
        if not terms:
            raise ValueError(f"tinyloss.{name}: terms is empty, {expected}")
        checked: list[tuple[float, Differentiable]] = []
        for term in terms:
            pair = isinstance(term, (tuple, list)) and len(term) == 2
            if not pair or not isinstance(term[1], Differentiable):
                raise TypeError(f"tinyloss.{name}: terms holds {term!r}, {expected}")
            factor = _check.number(name, "factor", term[0])
            checked += [(factor * inner, loss) for inner, loss in term[1]._terms()]
        object.__setattr__(self, "terms", tuple(checked))

    @called
    def __call__(
        self, x: Array, y: ArrayLike, *more: ArrayLike, **options: Unpack[CallOptions]
    ) -> Any:
        """Return the sum of the losses."""

    ask = asked(__call__)

    @_explained
    def answer(self, want: Want, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Answer:
        """Return the parts of the answer that are wanted."""
        if want.sums:
            raise TypeError(
                f"tinyloss.partial_mean: {self!r} is a sum of means, each with weights of its own, "
                "expected one loss: take the parts of each term, and add up their values"
            )
        request = self._summed(args, kwargs)
        if request is not None:
            answer = run(request, want._replace(out=()))
        else:
            answer = self._added(want._replace(out=(), wide=True), args, kwargs)
        return fill("WeightedSum", answer, want.out) if want.out else answer

    def _added(self, want: Want, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Answer:
        """Return the sum of the answers of the terms."""
        arrays = [*args, *[kwargs[name] for name in ("x", "y") if name in kwargs]]
        xp = namespace(arrays[0])
        total: Answer | None = None
        for factor, loss in self.terms:
            answer = loss.ask(want, *args, **kwargs)
            if total is not None and getattr(total.value, "shape", ()) != getattr(
                answer.value, "shape", ()
            ):
                raise ValueError(
                    f"tinyloss.WeightedSum: {loss!r} has shape {tuple(answer.value.shape)} beside "
                    f"{tuple(total.value.shape)} of the terms before, expected one reduction, and "
                    "items of one shape for all"
                )
            with quiet(xp):
                answer = mapped(partial(_scaled, factor=factor), answer)
                total = answer if total is None else mapped(add, total, answer)
        assert total is not None
        with quiet(xp):
            return narrowed(total, want, arrays) if want.argnums else total

    def _summed(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Request | None:
        """Return the request of the sum as one loss; None where its terms differ too much."""
        if not all(hasattr(loss, "request") for _, loss in self.terms):
            return None  # each goes over axes of its own
        return summed(
            [factor for factor, _ in self.terms],
            [loss.request(args, kwargs) for _, loss in self.terms],
        )

    def jobs(self, want: Want, /, *args: Any, **kwargs: Any) -> list[Job]:
        """Return the jobs that answer a call."""
        request = self._summed(args, kwargs)
        if request is not None:
            return [job_of(request, want)]
        return [job for _, loss in self.terms for job in loss.jobs(want, *args, **kwargs)]

    def takes_labels(self, **parameters: Any) -> bool:
        """Return whether y may hold class indices, for every term."""
        return all(loss.takes_labels(**parameters) for _, loss in self.terms)

    def traits(self) -> Traits:
        """Return what is known of the sum."""
        return added([(factor, loss.traits()) for factor, loss in self.terms])

    def __repr__(self) -> str:
        return " + ".join(
            repr(loss) if factor == 1 and len(self.terms) > 1 else f"{factor} * {loss!r}"
            for factor, loss in self.terms
        )

    def _terms(self) -> tuple[tuple[float, Any], ...]:
        return self.terms

    def _advice(self, kwargs: Mapping[str, Any]) -> dict[str, str]:
        made = ", expected it where each term is made: MSELoss(reduction={!r})"
        return {n: made.format(each) for n, each in kwargs.items() if n == "reduction"}


def _scaled(result: Any, factor: float) -> Any:
    """Return a result times a factor, which may itself be too large or small for its dtype."""
    while abs(factor) > ORDINARY:
        result, factor = result * ORDINARY, factor / ORDINARY
    while 0 < abs(factor) < 1 / ORDINARY:
        result, factor = result * (1 / ORDINARY), factor * ORDINARY
    return factor * result


def _constructor_misfit(
    cls: "type[Configured]", args: Sequence[Any], kwargs: Mapping[str, Any]
) -> str | None:
    name, signature = cls.__name__, inspect.signature(cls)
    made: Any = cls
    takes = inspect.signature(made.__call__).parameters
    call = f"the call of the object takes it: {name}()(x, y, {{}}=...)"
    elsewhere = {"sample_weight": "weight", "mask": "where"}
    keywords = {
        keyword: "; "
        + call.format(keyword if keyword in takes else elsewhere.get(keyword, keyword))
        for keyword in ("weight", "sample_weight", "where", "mask", "denominator")
    }
    if "class_weight" in signature.parameters:
        keywords["weight"] = (
            f", write class_weight= for a weight of each class; for one of each item, "
            f"{keywords['weight'].removeprefix('; ')}"
        )
    arrays = [each for each in args if not isinstance(each, (str, bool, int, float))]
    advice = f"; the object is called with the arrays: {name}()(x, y)" if arrays else None
    return misfit(name, signature, args, kwargs, keywords, advice)


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Configured(Differentiable):
    """A loss function with its parameters: subclasses are dataclasses of these."""

    function: ClassVar[LossFunction[...]]
    maker: ClassVar[Callable[..., Any] | None] = None
    """What makes its objects; None for the class."""
    several_axes: ClassVar[bool] = False
    """Whether `axis` may be a tuple."""
    _own: ClassVar[frozenset[str]]
    """The names of its parameters."""
    _parameters: Mapping[str, Any]
    """Those that are not the function's defaults."""
    _arrays: "Mapping[str, _Numbers]"
    """Parameters that are arrays."""

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True, repr=False, kw_only=True)(cls)
        cls._own = frozenset([field.name for field in fields(cls)])  # type: ignore[arg-type]
        construct: Callable[..., None] = cls.__init__
        init = told(construct, lambda args, kwargs: _constructor_misfit(cls, args[1:], kwargs))
        setattr(cls, "__init__", init)  # noqa: B010 - its own type is narrower
        if "function" in cls.__dict__:
            name = cls.function.__name__
            summary = (cls.function.__doc__ or "").partition("\n")[0]
            reduces = "reduction" in cls._own
            made = f"{cls.__name__}({'reduction=' + repr('sum') if reduces else ''})"
            called_with = (
                "its arrays and\nweight, where and denominator" if reduces else "its arrays"
            )
            cls.__doc__ = (
                f"{summary}\n\n"
                f"`tinyloss.{name}` with its parameters set once: called with {called_with}; "
                f"see there for all else.\n\n"
                f"Examples\n--------\n>>> import tinyloss\n>>> tinyloss.{made}\n{made}\n"
            )

    def __post_init__(self) -> None:
        parameters: dict[str, Any] = {}
        for field in fields(self):  # type: ignore[arg-type]
            value = _frozen(getattr(self, field.name))
            object.__setattr__(self, field.name, value)
            parameters[field.name] = value
        if parameters.get("reduction", "mean") not in REDUCTIONS:
            raise ValueError(
                f"tinyloss.{type(self).__name__}: reduction is {parameters['reduction']!r}, "
                f"expected {', '.join(map(repr, REDUCTIONS))}"
                + other_reduction(parameters["reduction"])
            )
        self.configure(parameters)

    def configure(self, parameters: dict[str, Any]) -> None:
        """Set and check the parameters."""
        _check_arrays(type(self).__name__, parameters, self.several_axes)
        self.function.check(**parameters)
        changed = {name: each for name, each in self._changed().items() if name in parameters}
        object.__setattr__(self, "_parameters", changed)
        arrays = {
            name: _Numbers(each)  # pyright: ignore[reportUnknownArgumentType]
            for name, each in changed.items()
            if isinstance(each, tuple) and name not in ("axis", "axis_name")
        }
        object.__setattr__(self, "_arrays", arrays)

    @_explained
    def answer(self, want: Want, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Answer:
        """Return the parts of the answer that are wanted."""
        return self.function.ask(want, *args, **kwargs, **self._given(args, kwargs))

    def jobs(self, want: Want, /, *args: Any, **kwargs: Any) -> list[Job]:
        """Return the jobs that answer a call."""
        return self._jobs(want, args, kwargs)

    @_explained
    def _jobs(self, want: Want, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Job]:
        return self.function.jobs(want, *args, **kwargs, **self._given(args, kwargs))

    @_explained
    def request(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Request:
        """Return what a call with these arguments asks."""
        return self.function.request(args, {**kwargs, **self._given(args, kwargs)})

    def _given(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the parameters for a call with these arguments, none of them a parameter."""
        if not self._own.isdisjoint(kwargs):
            raise TypeError  # `_misfit` says which
        if not self._arrays:
            return self._parameters
        x = args[0] if args else kwargs.get("x")
        return {**self._parameters, **{n: each.beside(x) for n, each in self._arrays.items()}}

    def takes_labels(self, **parameters: Any) -> bool:
        """Return whether y may hold class indices."""
        return self.function.takes_labels(**self._parameters, **parameters)

    def traits(self) -> Traits:
        """Return what is known of the loss."""
        return self.function.traits(**self._parameters)

    def _advice(self, kwargs: Mapping[str, Any]) -> dict[str, str]:
        name = type(self).__name__
        return {
            keyword: f", expected it where the loss is made: {name}({keyword}={shown(value)})(x, y)"
            for keyword, value in kwargs.items()
            if keyword in self._own
        }

    def _place(self, args: Sequence[Any]) -> str | None:
        if not args or not isinstance(args[-1], (bool, int, float, str)):
            return None
        signature = inspect.signature(type(self))
        defaults = {name: each.default for name, each in signature.parameters.items()}
        made = f"{type(self).__name__}({named(args[-1], defaults)})"
        return f"; parameters are set where the loss is made: {made}(x, y)"

    def _changed(self) -> dict[str, Any]:
        """Return the parameters that are not the defaults."""
        values = {field: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return {field.name: each for field, each in values.items() if each != field.default}

    def __repr__(self) -> str:
        changed = [f"{name}={_shown(each)}" for name, each in self._changed().items()]
        return f"{type(self).__name__}({', '.join(changed)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(self.maker or type(self), **self._changed()), ()


_KEPT = 8


class _Numbers:
    """The numbers of a parameter, and the arrays made of them: converting many takes long."""

    __slots__ = ("_arrays", "_numbers")

    def __init__(self, numbers: tuple[Any, ...]) -> None:
        self._numbers = numbers
        self._arrays: dict[Any, Any] = {}

    def beside(self, x: Any) -> Any:
        """Return the numbers as an array of x's library and device, where one can be made."""
        if not hasattr(x, "dtype"):
            return self._numbers
        where = device(x)
        if where is None:
            return self._numbers
        kind: type[Any] = x.__class__
        key = (kind, widest_dtype(namespace(x), x), where)
        array = self._arrays.get(key)
        if array is not None:
            return array
        try:
            array = bring(namespace(x), x, self._numbers)
        except (TypeError, ValueError, OverflowError):
            return self._numbers  # the call says what is wrong with them
        # A tracer must not outlive its trace; torch's modes make tensors that only they take.
        if device(array) is not None and not is_torch(array):
            if len(self._arrays) >= _KEPT:
                self._arrays.clear()
            self._arrays[key] = array
        return array


_SHOWN = 16


def _shown(parameter: Any) -> str:
    """Return a parameter as text, of many numbers only a few."""
    if isinstance(parameter, float) and isinf(parameter):
        return f'float("{parameter}")'  # inf is no name
    if not isinstance(parameter, tuple):
        return repr(parameter)
    numbers: Any = parameter  # pyright: ignore[reportUnknownVariableType]
    if _count(numbers) <= _SHOWN:
        return repr(numbers)
    few = ", ".join([_shown(each) for each in numbers[:3]])
    return f"({few}, ... {len(numbers)} in all)"


def _count(parameter: Any) -> int:
    if isinstance(parameter, tuple):
        return sum(map(_count, parameter))  # pyright: ignore[reportUnknownArgumentType]
    return 1


def _frozen(parameter: Any) -> Any:
    """Return an array or list as nested tuples of numbers, anything else as it is."""
    if isinstance(parameter, (str, bool, int, float)) or parameter is None:
        return parameter
    if getattr(parameter, "shape", None) == ():
        return parameter.item()
    numbers: Any = parameter.tolist() if hasattr(parameter, "tolist") else parameter
    if not isinstance(numbers, (list, tuple, range)):
        return numbers
    if set(map(type, numbers)) <= {float, int}:  # pyright: ignore[reportUnknownArgumentType]
        return tuple(numbers)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return tuple([_frozen(each) for each in numbers])  # pyright: ignore[reportUnknownVariableType]


def _are_numbers(parameter: Any) -> bool:
    if isinstance(parameter, tuple):
        return all(_are_numbers(each) for each in parameter)  # pyright: ignore[reportUnknownVariableType]
    return parameter is None or isinstance(parameter, Real)


def _check_arrays(name: str, parameters: Mapping[str, Any], several_axes: bool) -> None:
    """Raise what a call would raise about parameters that need x to be checked in full."""
    for field in ("alpha", "class_weight", "pos_weight", "q"):
        if not _are_numbers(parameters.get(field, 1.0)):
            came = _shown(parameters[field])
            raise TypeError(f"tinyloss.{name}: {field} is {came}, expected numbers")
    axis = parameters.get("axis", -1)
    axes: Any = axis if several_axes and axis.__class__ is tuple else (axis,)
    if not axes or not all(map(_check.is_integer, axes)):
        expected = "an integer, or a tuple of them" if several_axes else "an integer"
        raise TypeError(f"tinyloss.{name}: axis is {axis!r}, expected {expected}")


class TargetLoss(Configured):
    """A loss of a prediction and a target."""

    reduction: Reduction = "mean"

    @called
    def __call__(self, x: Array, y: ArrayLike, **options: Unpack[CallOptions]) -> Any:
        """Return the loss."""

    ask = asked(__call__)


class BinaryLoss(TargetLoss):
    """A loss of yes or no."""

    ignore_index: int | None = None


class ForecastLoss(Configured):
    """A loss of a predicted location and scale."""

    distribution: DistributionName = "gaussian"
    reduction: Reduction = "mean"

    @called
    def __call__(
        self, x: Array, y: ArrayLike, scale: ArrayLike, **options: Unpack[CallOptions]
    ) -> Any:
        """Return the loss."""

    ask = asked(__call__)


class RowLoss(TargetLoss):
    """A loss of rows of classes."""

    axis: int = -1
    axis_name: AxisName | None = None


class AnswersLoss(Configured):
    """A loss of a chosen and of a rejected answer."""

    beta: float = 0.1
    reduction: Reduction = "mean"

    @called
    def __call__(self, chosen: Array, rejected: ArrayLike, **options: Unpack[CallOptions]) -> Any:
        """Return the loss."""

    ask = asked(__call__)


class ListLoss(Configured):
    """A loss of lists or regions, of which some elements may be left out."""

    reduction: Reduction = "mean"

    @called
    def __call__(
        self,
        x: Array,
        y: ArrayLike,
        *,
        mask: ArrayLike | None = None,
        **options: Unpack[CallOptions],
    ) -> Any:
        """Return the loss."""

    ask = asked(__call__)


class RegionLoss(ListLoss):
    """A loss of regions, whose items are along all axes but these."""

    several_axes = True
    axis: int | tuple[int, ...] = -1
    class_axis: int = 1
    from_logits: Activation | None = None
    ignore_index: int | None = None


class OverlapLoss(RegionLoss):
    """A loss of regions that is a quotient of sums."""

    smooth: float = 0.0


class PairwiseLoss(Configured):
    """A loss of lists whose members have weights."""

    axis: int = -1
    reduction: Reduction = "mean"

    @called
    def __call__(
        self,
        x: Array,
        y: ArrayLike,
        *,
        mask: ArrayLike | None = None,
        member_weight: ArrayLike | None = None,
        **options: Unpack[CallOptions],
    ) -> Any:
        """Return the loss."""

    ask = asked(__call__)


class LabelLoss(RowLoss):
    """A loss with class indices."""

    class_weight: ArrayLike | None = None
    ignore_index: int | None = None

    # Options that are not closed might hold a mask of another type.
    @called
    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, x: Array, y: ArrayLike, **options: Unpack[MaskedCallOptions]
    ) -> Any:
        """Return the loss."""

    ask = asked(__call__)


class PairLoss(Configured):
    """A loss of pairs of vectors, or of their similarities."""

    max_memory: int | None = None
    normalize: bool = True
    reduction: Reduction = "mean"
    similarities: bool = False


class LabelledPairLoss(PairLoss):
    """A loss of vectors whose labels tell pairs."""

    @called
    def __call__(
        self,
        a: Array,
        labels: ArrayLike,
        b: Array | None = None,
        labels_b: ArrayLike | None = None,
        *,
        mask: ArrayLike | None = None,
        **options: Unpack[CallOptions],
    ) -> Any:
        """Return the loss."""

    ask = asked(__call__)


class MatchedPairLoss(PairLoss):
    """A loss of vectors each of which has one to match."""

    @called
    def __call__(
        self,
        a: Array,
        b: Array | None = None,
        y: ArrayLike | None = None,
        *,
        labels: ArrayLike | None = None,
        labels_b: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        **options: Unpack[CallOptions],
    ) -> Any:
        """Return the loss."""

    ask = asked(__call__)


class MarginLoss(Configured):
    """A loss of cosines with vectors of classes."""

    axis_name: AxisName | None = None
    class_weight: ArrayLike | None = None
    ignore_index: int | None = None
    max_memory: int | None = None
    normalize: bool = True
    reduction: Reduction = "mean"

    @called
    def __call__(self, h: Array, w: Array, y: ArrayLike, **options: Unpack[CallOptions]) -> Any:
        """Return the loss."""

    ask = asked(__call__)


class RankLoss(Configured):
    """A loss of the scores of two items, and of which is to be the higher."""

    reduction: Reduction = "mean"

    @called
    def __call__(self, a: Array, b: ArrayLike, y: ArrayLike, **options: Unpack[CallOptions]) -> Any:
        """Return the loss."""

    ask = asked(__call__)


class SignedVectorsLoss(RankLoss):
    """A loss of two vectors, and of whether they are alike."""

    axis: int = -1
    axis_name: AxisName | None = None


class VectorsLoss(Configured):
    """A loss of two vectors."""

    axis: int = -1
    axis_name: AxisName | None = None
    reduction: Reduction = "mean"

    @called
    def __call__(self, a: Array, b: ArrayLike, **options: Unpack[CallOptions]) -> Any:
        """Return the loss."""

    ask = asked(__call__)


class ViewsLoss(Configured):
    """A loss of two views of a batch."""

    max_memory: int | None = None

    @called
    def __call__(self, a: Array, b: Array) -> Any:
        """Return the loss."""

    ask = asked(__call__)
