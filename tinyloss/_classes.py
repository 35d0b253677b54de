"""Losses configured once: each class is a function and its parameters.

A class lists the parameters of its function, with the same names and defaults (a test holds them
to it); calling, differentiating, adding, scaling, printing and comparing are inherited.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any, ClassVar, ParamSpec

from tinyloss import _check, _function
from tinyloss._classification import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    hinge,
    nll,
    sigmoid_focal,
    soft_margin,
    softmax_focal,
    squared_hinge,
)
from tinyloss._divergence import js_div, kl_div, kl_div_with_logits
from tinyloss._engine import REDUCTIONS, Answer, Want, fill
from tinyloss._function import Loss, LossFunction
from tinyloss._regression import (
    gaussian_nll,
    huber,
    log_cosh,
    mae,
    mape,
    mse,
    msle,
    poisson_nll,
    quantile,
    smooth_l1,
)
from tinyloss.typing import Array, ArrayLike, AxisName, Reduction

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "BinaryCrossEntropyLoss",
    "CrossEntropyLoss",
    "GaussianNLLLoss",
    "HingeLoss",
    "HuberLoss",
    "JSDivLoss",
    "KLDivLoss",
    "KLDivWithLogitsLoss",
    "LogCoshLoss",
    "MAELoss",
    "MAPELoss",
    "MSELoss",
    "MSLELoss",
    "MeanSquaredError",
    "NLLLoss",
    "PoissonNLLLoss",
    "QuantileLoss",
    "SigmoidFocalLoss",
    "SmoothL1Loss",
    "SoftMarginLoss",
    "SoftmaxFocalLoss",
    "SquaredHingeLoss",
    "WeightedSum",
]

P = ParamSpec("P")

_VALUE = Want(value=True)


class _Differentiable:
    """What every loss object can do with what it is asked."""

    def __add__(self, other: "_Differentiable") -> "WeightedSum":
        if not isinstance(other, _Differentiable):
            return NotImplemented
        return WeightedSum(self._terms() + other._terms())

    def __mul__(self, factor: float) -> "WeightedSum":
        factor = _check.number(type(self).__name__, "factor", factor)
        return WeightedSum(tuple([(factor * scale, loss) for scale, loss in self._terms()]))

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> "WeightedSum":
        return self * (1 / _check.number(type(self).__name__, "divisor", divisor))

    def __neg__(self) -> "WeightedSum":
        return self * -1.0

    def __sub__(self, other: "_Differentiable") -> "WeightedSum":
        return self + -other

    def _terms(self) -> "tuple[tuple[float, _Differentiable], ...]":
        return ((1.0, self),)

    @property
    def value_and_grad(self: Loss[P]) -> Callable[P, tuple[Any, Any]]:
        """The function that returns the loss and its gradient by the prediction.

        For other arguments: `tinyloss.value_and_grad(loss, argnums)`.
        """
        return _function.value_and_grad(self)

    @property
    def grad(self: Loss[P]) -> Callable[P, Any]:
        """The function that returns the gradient by the prediction."""
        return _function.grad(self)

    @property
    def grad_and_hess(self: Loss[P]) -> Callable[P, tuple[Any, Any]]:
        """The function that returns each item's gradient and diagonal curvature, unreduced.

        For gradient boosting: `tinyloss.grad_and_hess(loss, hess="boosting")`.
        """
        return _function.grad_and_hess(self)


@dataclass(frozen=True, repr=False)
class WeightedSum(_Differentiable):
    """A sum of losses of the same prediction and target, each with a factor.

    Examples
    --------
    >>> import tinyloss
    >>> 0.7 * tinyloss.MSELoss() + 0.3 * tinyloss.MAELoss()
    0.7 * MSELoss() + 0.3 * MAELoss()
    """

    terms: tuple[tuple[float, Any], ...]

    def __call__(
        self,
        x: Array,
        y: ArrayLike,
        *more: ArrayLike,
        weight: ArrayLike | None = None,
        where: ArrayLike | None = None,
        denominator: ArrayLike | None = None,
    ) -> Any:
        """Return the sum of the losses."""
        return self.ask(
            _VALUE, x, y, *more, weight=weight, where=where, denominator=denominator
        ).value

    def ask(
        self,
        want: Want,
        /,
        x: Array,
        y: ArrayLike,
        *more: ArrayLike,
        weight: ArrayLike | None = None,
        where: ArrayLike | None = None,
        denominator: ArrayLike | None = None,
    ) -> Answer:
        """Return the parts of the answer that are wanted."""
        if want.sums:
            raise TypeError(
                f"tinyloss.partial_mean: {self!r} is a sum of means, each with weights of its own, "
                "expected one loss: take the parts of each term, and add up their values"
            )
        total: Answer | None = None
        out, want = want.out, want._replace(out=())
        if want.source is not None:
            options = {"weight": weight, "where": where, "denominator": denominator}
            asked = [loss.ask(want, x, y, *more, **options) for _, loss in self.terms]
            return Answer("\n".join([answer.value for answer in asked]))
        for factor, loss in self.terms:
            value, grads, curvature = loss.ask(
                want, x, y, *more, weight=weight, where=where, denominator=denominator
            )
            value = factor * value if want.value else None
            grads = tuple([factor * grad for grad in grads])
            curvature = factor * curvature if want.curvature else None
            if total is not None:
                value = total.value + value if want.value else None
                grads = tuple([a + b for a, b in zip(total.grads, grads, strict=True)])
                curvature = total.curvature + curvature if want.curvature else None
            total = Answer(value, grads, curvature)
        assert total is not None
        return fill("WeightedSum", total, out) if out else total

    def __repr__(self) -> str:
        return " + ".join(
            repr(loss) if factor == 1 and len(self.terms) > 1 else f"{factor} * {loss!r}"
            for factor, loss in self.terms
        )

    def _terms(self) -> tuple[tuple[float, Any], ...]:
        return self.terms


class _Configured(_Differentiable):
    """A loss function with its parameters."""

    function: ClassVar[LossFunction[...]]
    _parameters: Mapping[str, Any]

    def __init_subclass__(cls) -> None:
        if "function" in cls.__dict__:
            name = cls.function.__name__
            summary = (cls.function.__doc__ or "").partition("\n")[0]
            cls.__doc__ = (
                f"{summary}\n\n"
                f"`tinyloss.{name}` with its parameters set once: called with its arrays and\n"
                f"weight, where and denominator; see there for all else.\n\n"
                f"Examples\n--------\n>>> import tinyloss\n"
                f">>> tinyloss.{cls.__name__}(reduction='sum')\n{cls.__name__}(reduction='sum')\n"
            )

    def __post_init__(self) -> None:
        parameters: dict[str, Any] = {}
        for field in fields(self):  # type: ignore[arg-type]
            value = _frozen(getattr(self, field.name))
            object.__setattr__(self, field.name, value)
            parameters[field.name] = value
        if parameters["reduction"] not in REDUCTIONS:
            raise ValueError(
                f"tinyloss.{type(self).__name__}: reduction is {parameters['reduction']!r}, "
                f"expected {', '.join(map(repr, REDUCTIONS))}"
            )
        self._configure(parameters)

    def _configure(self, parameters: dict[str, Any]) -> None:
        _check_arrays(type(self).__name__, parameters)
        self.function.check(**parameters)
        object.__setattr__(self, "_parameters", parameters)

    def __repr__(self) -> str:
        changed = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in fields(self)  # type: ignore[arg-type]
            if getattr(self, field.name) != field.default
        ]
        return f"{type(self).__name__}({', '.join(changed)})"


def _frozen(parameter: Any) -> Any:
    """Return an array or list as nested tuples of numbers, anything else as it is."""
    if isinstance(parameter, (str, bool, int, float)) or parameter is None:
        return parameter
    if getattr(parameter, "shape", None) == ():
        return float(parameter)
    if hasattr(parameter, "tolist"):
        parameter = parameter.tolist()
    return tuple([_frozen(each) for each in parameter])


def _are_numbers(parameter: Any) -> bool:
    if isinstance(parameter, tuple):
        return all(_are_numbers(each) for each in parameter)  # pyright: ignore[reportUnknownVariableType]
    return parameter is None or isinstance(parameter, Real)


def _check_arrays(name: str, parameters: Mapping[str, Any]) -> None:
    """Raise what a call would raise about parameters that only a call can check wholly."""
    for field in ("class_weight", "pos_weight"):
        if not _are_numbers(parameters.get(field, 1.0)):
            raise TypeError(f"tinyloss.{name}: {field} is {parameters[field]!r}, expected numbers")
    axis = parameters.get("axis", -1)
    if not _check.is_integer(axis):
        raise TypeError(f"tinyloss.{name}: axis is {axis!r}, expected an integer")


@dataclass(frozen=True, repr=False, kw_only=True)
class _TargetLoss(_Configured):
    """A loss of a prediction and a target."""

    reduction: Reduction = "mean"

    def __call__(
        self,
        x: Array,
        y: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        where: ArrayLike | None = None,
        denominator: ArrayLike | None = None,
    ) -> Any:
        """Return the loss."""
        return self.ask(_VALUE, x, y, weight=weight, where=where, denominator=denominator).value

    def ask(
        self,
        want: Want,
        /,
        x: Array,
        y: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        where: ArrayLike | None = None,
        denominator: ArrayLike | None = None,
    ) -> Answer:
        """Return the parts of the answer that are wanted."""
        return self.function.ask(
            want, x, y, weight=weight, where=where, denominator=denominator, **self._parameters
        )


@dataclass(frozen=True, repr=False, kw_only=True)
class MSELoss(_TargetLoss):
    function = mse


@dataclass(frozen=True, repr=False, kw_only=True)
class MeanSquaredError(MSELoss):
    function = mse


@dataclass(frozen=True, repr=False, kw_only=True)
class MAELoss(_TargetLoss):
    function = mae


@dataclass(frozen=True, repr=False, kw_only=True)
class HuberLoss(_TargetLoss):
    function = huber
    delta: float = 1.0


@dataclass(frozen=True, repr=False, kw_only=True)
class SmoothL1Loss(_TargetLoss):
    function = smooth_l1
    beta: float = 1.0


@dataclass(frozen=True, repr=False, kw_only=True)
class LogCoshLoss(_TargetLoss):
    function = log_cosh


@dataclass(frozen=True, repr=False, kw_only=True)
class QuantileLoss(_TargetLoss):
    function = quantile
    q: float = 0.5


@dataclass(frozen=True, repr=False, kw_only=True)
class MSLELoss(_TargetLoss):
    function = msle


@dataclass(frozen=True, repr=False, kw_only=True)
class MAPELoss(_TargetLoss):
    function = mape
    eps: float = 2.220446049250313e-16


@dataclass(frozen=True, repr=False, kw_only=True)
class PoissonNLLLoss(_TargetLoss):
    function = poisson_nll
    log_input: bool = True
    full: bool = False
    eps: float = 1e-8


@dataclass(frozen=True, repr=False, kw_only=True)
class CrossEntropyLoss(_TargetLoss):
    function = cross_entropy
    axis: int = -1
    axis_name: AxisName | None = None
    from_logits: bool = True
    class_weight: ArrayLike | None = None
    label_smoothing: float = 0.0
    ignore_index: int | None = None


@dataclass(frozen=True, repr=False, kw_only=True)
class NLLLoss(_TargetLoss):
    function = nll
    axis: int = -1
    axis_name: AxisName | None = None
    class_weight: ArrayLike | None = None
    ignore_index: int | None = None


@dataclass(frozen=True, repr=False, kw_only=True)
class BCELoss(_TargetLoss):
    function = binary_cross_entropy
    eps: float | None = None


@dataclass(frozen=True, repr=False, kw_only=True)
class BCEWithLogitsLoss(_TargetLoss):
    function = binary_cross_entropy_with_logits
    pos_weight: ArrayLike | None = None


@dataclass(frozen=True, repr=False, kw_only=True)
class BinaryCrossEntropyLoss(_TargetLoss):
    """Binary cross-entropy of logits, or of probabilities with from_logits=False.

    `tinyloss.binary_cross_entropy_with_logits` or `tinyloss.binary_cross_entropy`.

    Examples
    --------
    >>> import tinyloss
    >>> tinyloss.BinaryCrossEntropyLoss(from_logits=False)
    BinaryCrossEntropyLoss(from_logits=False)
    """

    from_logits: bool = True

    def _configure(self, parameters: dict[str, Any]) -> None:
        name = type(self).__name__
        logits = _check.flag(name, "from_logits", parameters.pop("from_logits"))
        function = binary_cross_entropy_with_logits if logits else binary_cross_entropy
        object.__setattr__(self, "function", function)
        super()._configure(parameters)


@dataclass(frozen=True, repr=False, kw_only=True)
class SigmoidFocalLoss(_TargetLoss):
    function = sigmoid_focal
    alpha: float | None = None
    gamma: float = 2.0


@dataclass(frozen=True, repr=False, kw_only=True)
class SoftmaxFocalLoss(_TargetLoss):
    function = softmax_focal
    gamma: float = 2.0
    axis: int = -1
    axis_name: AxisName | None = None
    class_weight: ArrayLike | None = None
    ignore_index: int | None = None


@dataclass(frozen=True, repr=False, kw_only=True)
class HingeLoss(_TargetLoss):
    function = hinge


@dataclass(frozen=True, repr=False, kw_only=True)
class SquaredHingeLoss(_TargetLoss):
    function = squared_hinge


@dataclass(frozen=True, repr=False, kw_only=True)
class SoftMarginLoss(_TargetLoss):
    function = soft_margin


@dataclass(frozen=True, repr=False, kw_only=True)
class KLDivLoss(_TargetLoss):
    function = kl_div
    axis: int = -1
    axis_name: AxisName | None = None
    log_target: bool = False


@dataclass(frozen=True, repr=False, kw_only=True)
class KLDivWithLogitsLoss(_TargetLoss):
    function = kl_div_with_logits
    axis: int = -1
    axis_name: AxisName | None = None


@dataclass(frozen=True, repr=False, kw_only=True)
class JSDivLoss(_TargetLoss):
    function = js_div
    axis: int = -1
    axis_name: AxisName | None = None


@dataclass(frozen=True, repr=False, kw_only=True)
class GaussianNLLLoss(_Configured):
    function = gaussian_nll
    full: bool = False
    eps: float = 1e-6
    reduction: Reduction = "mean"

    def __call__(
        self,
        x: Array,
        y: ArrayLike,
        var: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        where: ArrayLike | None = None,
        denominator: ArrayLike | None = None,
    ) -> Any:
        """Return the loss."""
        return self.ask(
            _VALUE, x, y, var, weight=weight, where=where, denominator=denominator
        ).value

    def ask(
        self,
        want: Want,
        /,
        x: Array,
        y: ArrayLike,
        var: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        where: ArrayLike | None = None,
        denominator: ArrayLike | None = None,
    ) -> Answer:
        """Return the parts of the answer that are wanted."""
        return self.function.ask(
            want,
            x,
            y,
            var,
            weight=weight,
            where=where,
            denominator=denominator,
            **self._parameters,
        )
