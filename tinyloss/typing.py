"""The types of the public signatures.

The array API standard has no typing package yet, so `Array` states the little that every array
shares, and results are typed `Any`: what a call returns is whatever the caller's library returns.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Protocol, TypeAlias, TypedDict, get_args

from tinyloss._check import (
    Check,
    axis_of_two,
    bytes_or_none,
    flag,
    integer,
    integer_or_none,
    one_of,
    one_or_two,
    or_none,
    or_several,
    within,
)

__all__ = [
    "Activation", "ActivationOrNone", "Array", "ArrayLike", "AtLeast1", "AtLeast1OrNone",
    "AtLeastMinus1", "AtMost2", "Axis", "AxisName", "BinaryOptions", "CPOKind", "CallOptions",
    "CheckedCPOKind", "CheckedDPOKind", "CheckedLambdaKind", "ClassAxis", "ClassIndex", "Cosine",
    "DPOKind", "Discount", "DiscountName", "Distribution", "DistributionName", "Flag", "Floor",
    "Gain", "GainName", "IfInfeasible", "Infeasible", "LabelOptions", "LambdaKind", "ListOptions",
    "MaskedCallOptions", "MemoryLimit", "Namespace", "NonNegative", "NormOrder", "Number",
    "OneOrTwo", "Options", "PixelOptions", "Positive", "PositiveOrNone", "ProductOptions",
    "Reduction", "RegionOptions", "RowOptions", "SequenceReduction", "Share", "Shares",
    "SharesOrNone", "SparseActivation", "SparseMax", "SparseOptions", "Ties", "TiesOfEvents",
]  # fmt: skip


class Array(Protocol):
    """An array of any library: NumPy, CuPy, JAX, torch, Dask and every array-API library."""

    @property
    def shape(self) -> tuple[Any, ...]:
        """The length of each dimension."""
        ...

    @property
    def dtype(self) -> Any:
        """The type of the elements."""
        ...


Number: TypeAlias = bool | int | float
"""A Python number."""

ArrayLike: TypeAlias = Array | Sequence[Any] | Number
"""What is accepted beside a prediction: an array, a (nested) list or a number."""

AxisName: TypeAlias = str | tuple[str, ...]
"""The name of an axis that JAX maps a function over, or the names of several."""

SequenceReduction: TypeAlias = Literal["sum", "mean"]
"""How the tokens of a sequence are put together."""

Reduction: TypeAlias = Literal["mean", "sum", "none"]
"""How the items of a batch are put together."""

Namespace: TypeAlias = Any
"""An array-API namespace: the module whose functions take an array."""

_positive = within("a number above 0", lambda n: n > 0)
_at_least_0 = within("a number of at least 0.0", lambda n: n >= 0)
_at_least_1 = within("a number of at least 1.0", lambda n: n >= 1)
_at_least_minus_1 = within("a number of at least -1.0", lambda n: n >= -1)
_at_most_2 = within("a number of at most 2.0, or -inf", lambda n: n <= 2, infinite=True)
_order = within("a number above 0, or inf", lambda n: n > 0, infinite=True)
_cosine = within("a number from -1.0 to 1.0", lambda n: -1 <= n <= 1)
_share = within("a number from 0.0 to 1.0", lambda n: 0 <= n <= 1)
_floor = within("a number above 0, at most 0.5", lambda n: 0 < n <= 0.5)

Positive: TypeAlias = Annotated[float | Array, Check(_positive)]
"""A number above 0: Python's, or a 0-d array, which is not looked at."""

PositiveOrNone: TypeAlias = Annotated[float | Array | None, Check(or_none(_positive))]
"""A number above 0, a 0-d array, or None."""

NonNegative: TypeAlias = Annotated[float | Array, Check(_at_least_0)]
"""A number of at least 0, or a 0-d array."""

AtLeast1: TypeAlias = Annotated[float | Array, Check(_at_least_1)]
"""A number of at least 1, or a 0-d array."""

AtLeast1OrNone: TypeAlias = Annotated[float | Array | None, Check(or_none(_at_least_1))]
"""A number of at least 1, a 0-d array, or None."""

AtLeastMinus1: TypeAlias = Annotated[float | Array, Check(_at_least_minus_1)]
"""A number of at least -1, or a 0-d array."""

AtMost2: TypeAlias = Annotated[float | Array, Check(_at_most_2)]
"""A number of at most 2, -inf included, or a 0-d array."""

NormOrder: TypeAlias = Annotated[float | Array, Check(_order)]
"""The order of a norm, a number above 0, inf included, or a 0-d array."""

Cosine: TypeAlias = Annotated[float | Array, Check(_cosine)]
"""A number from -1 to 1, or a 0-d array."""

Share: TypeAlias = Annotated[float | Array, Check(_share)]
"""A number from 0 to 1, or a 0-d array."""

Shares: TypeAlias = Annotated[ArrayLike, Check(or_several(_share))]
"""A number from 0 to 1, or several in an array or a list, which are not looked at."""

SharesOrNone: TypeAlias = Annotated[ArrayLike | None, Check(or_none(or_several(_share)))]
"""The same, or None."""

Floor: TypeAlias = Annotated[float | Array | None, Check(or_none(_floor))]
"""The least value of p and 1 - p, above 0, a 0-d array, or None."""

Flag: TypeAlias = Annotated[bool, Check(flag)]
"""True or False."""

FlagOrNone: TypeAlias = Annotated[bool | None, Check(or_none(flag))]
"""The same, or None."""

OneOrTwo: TypeAlias = Annotated[int, Check(one_or_two)]
"""1 or 2."""

ClassIndex: TypeAlias = Annotated[int | None, Check(integer_or_none)]
"""The index of a class, or None."""


Axis: TypeAlias = Annotated[int, Check(integer)]
"""An axis of an array."""

Activation: TypeAlias = Literal["softmax", "sigmoid"]
"""What makes probabilities of logits."""

ActivationOrNone: TypeAlias = Annotated[
    Activation | None, Check(one_of("softmax", "sigmoid", None))
]
"""What makes probabilities of logits; None where there are probabilities."""

DPOKind: TypeAlias = Literal[
    "sigmoid",
    "robust",
    "hinge",
    "ipo",
    "exo_pair",
    "nca_pair",
    "bco_pair",
    "sppo_hard",
    "apo_zero",
    "apo_down",
]
"""A function of how far the policy is from the reference, for both answers of a pair."""

CPOKind: TypeAlias = Literal["sigmoid", "hinge", "ipo"]
"""A function of how far the chosen answer is above the rejected one."""

CheckedDPOKind: TypeAlias = Annotated[DPOKind, Check(one_of(*get_args(DPOKind)))]
"""A `DPOKind`, checked."""

CheckedCPOKind: TypeAlias = Annotated[CPOKind, Check(one_of(*get_args(CPOKind)))]
"""A `CPOKind`, checked."""


SparseMax: TypeAlias = Literal["sparsemax", "entmax15"]
"""What makes probabilities of logits, some of them 0."""

SparseActivation: TypeAlias = Annotated[SparseMax, Check(one_of("sparsemax", "entmax15"))]
"""What makes probabilities of logits, some of them 0, which is looked at."""

Ties: TypeAlias = Literal["efron", "breslow"]
"""How events of the same time count."""

TiesOfEvents: TypeAlias = Annotated[Ties, Check(one_of("efron", "breslow"))]
"""How events of the same time count, which is looked at."""


LambdaKind: TypeAlias = Literal["ndcg1", "ndcg2", "ndcg2++", "ranknet"]
"""What pairs of a list's members weigh, as a bound of the NDCG has it."""

CheckedLambdaKind: TypeAlias = Annotated[LambdaKind, Check(one_of(*get_args(LambdaKind)))]
"""A `LambdaKind`, checked."""

GainName: TypeAlias = Literal["exponential", "linear"]
"""What the label of a list's member is worth."""

Gain: TypeAlias = Annotated[GainName, Check(one_of("exponential", "linear"))]
"""The name of one, which is looked at."""

DiscountName: TypeAlias = Literal["log2", "reciprocal"]
"""What a list's member counts at its rank."""

Discount: TypeAlias = Annotated[DiscountName, Check(one_of("log2", "reciprocal"))]
"""The name of one, which is looked at."""


Infeasible: TypeAlias = Literal["inf", "ignore"]
"""What becomes of a sequence whose frames are too few for its target."""

IfInfeasible: TypeAlias = Annotated[Infeasible, Check(one_of("inf", "ignore"))]
"""The same as a parameter."""

DistributionName: TypeAlias = Literal["gaussian", "logistic", "laplace"]
"""A distribution of real numbers with a location and a scale."""

Distribution: TypeAlias = Annotated[
    DistributionName, Check(one_of("gaussian", "logistic", "laplace"))
]
"""The name of one, which is looked at."""

ClassAxis: TypeAlias = Annotated[Literal[0, 1], Check(axis_of_two)]
"""Which axis of a matrix the classes are along."""

MemoryLimit: TypeAlias = Annotated[int | None, Check(bytes_or_none)]
"""How many bytes may be taken at a time, or None."""


class CallOptions(TypedDict, total=False):
    """What a call of a loss object takes beside its arrays."""

    weight: ArrayLike | None
    """The weight of each item; broadcasts to the items."""
    where: ArrayLike | None
    """Which items count: booleans that broadcast to the items."""
    denominator: ArrayLike | None
    """What the mean divides by in place of the sum of the weights."""


class MaskedCallOptions(CallOptions, total=False):
    """What a call of a loss of classes takes beside its arrays."""

    mask: ArrayLike | None
    """Which classes are possible: booleans that broadcast to x."""


class Options(CallOptions, total=False):
    """What every loss takes beside its arrays and its own parameters."""

    reduction: Reduction
    """How the items of a batch are put together."""


class BinaryOptions(Options, total=False):
    """What a loss of yes or no takes."""

    ignore_index: ClassIndex
    """Items with this target are left out."""


class RowOptions(Options, total=False):
    """What a loss of rows of classes takes."""

    axis: int
    """The axis of the classes."""
    axis_name: AxisName | None
    """JAX alone: the mapped axis over whose members the classes are split, in order."""


class ListOptions(Options, total=False):
    """What a loss of lists takes."""

    axis: int
    """The axis of a list."""


class SparseOptions(ListOptions, total=False):
    """What a loss of sparse probabilities takes."""

    class_weight: ArrayLike | None
    """A weight for each class, of shape (C,)."""
    ignore_index: ClassIndex
    """Items with this class index are left out. It need not be a class."""
    mask: ArrayLike | None
    """Which classes are possible: booleans that broadcast to x."""


class PixelOptions(Options, total=False):
    """What a loss of one region of scores takes."""

    axis: int | tuple[int, ...]
    """The axis of the pixels, or the axes."""


class RegionOptions(Options, total=False):
    """What a loss of regions takes."""

    axis: int | tuple[int, ...]
    """The axis of the pixels, or the axes."""
    ignore_index: ClassIndex
    """Pixels with this class index are left out. It need not be a class."""


class LabelOptions(RowOptions, total=False):
    """What a loss with class indices takes."""

    class_weight: ArrayLike | None
    """A weight for each class, of shape (C,)."""
    ignore_index: ClassIndex
    """Items with this class index are left out. It need not be a class."""
    mask: ArrayLike | None
    """Which classes are possible: booleans that broadcast to x."""


class ProductOptions(Options, total=False):
    """What a loss of scores that are products takes."""

    axis_name: AxisName | None
    """JAX alone: the mapped axis over whose members the classes are split, in order."""
    class_weight: ArrayLike | None
    """A weight for each class, of shape (V,)."""
    ignore_index: ClassIndex
    """Items with this class index are left out. It need not be a class."""
