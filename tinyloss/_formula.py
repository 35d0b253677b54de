"""What a loss is: the formulas of one item.

A `Formula` is made from arrays and parameters. It returns the value, gradients and curvature of
each item; what these share is computed once, in `__init__`. It uses array-API functions, Python
numbers for constants and no `if` on data. So the same lines run eagerly, under tracing and through
the recorder.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from numbers import Rational, Real
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, Protocol

from tinyloss._traits import Traits


@dataclass(frozen=True, slots=True)
class Role:
    """What an argument of a formula varies by."""

    per_item: bool = True
    per_class: bool = False
    integer: bool = False
    """Whether it holds indices of classes."""
    compared: bool = False
    """Whether it is compared and not computed with: times, groups. Rounding could make ties."""
    replaced: bool = False
    """Whether items that are left out do not take it as it is, though it is the same for all."""

    @property
    def keeps_dtype(self) -> bool:
        """Whether it comes to the formula in the caller's dtype."""
        return self.integer or self.compared


ITEM = Role()
"""One number for each item."""
CLASS = Role(per_item=False, per_class=True)
"""One number for each class, the same for all items."""
LABEL = Role(integer=True)
"""The index of a class for each item."""
NUMBER = Role(per_item=False)
"""One number for all."""


class Formula:
    """The formulas of one loss.

    A pointwise formula takes arrays of one shape; an item is an element. A rowwise formula takes
    the classes (or features) in the last dimension; an item is a row. The engine does everything
    else: weights, masks, reductions, half precision, other axes.

    Subclasses define `__init__(self, x, y, **parameters)`, `value()`, `curvature()` and a
    `grad_<argument>()` for each differentiable argument, of that argument's shape.
    """

    name: ClassVar[str]
    """The public function's name, for messages."""

    rowwise: ClassVar[bool] = False
    """Whether an item is a row."""

    compares_classes: ClassVar[bool] = False
    """Whether a row of one class always has the loss 0."""

    several_axes: ClassVar[bool] = False
    """Whether a row may be several axes of x: no class has an index."""

    paired: ClassVar[bool] = False
    """Whether it adds up over pairs of a row's classes (see `tinyloss._rows.over_pairs`)."""

    per_item: ClassVar[bool] = True
    """Whether the value of a rowwise formula is one number for each row."""

    binary: ClassVar[bool] = False
    """Whether targets are probabilities, from 0 to 1."""

    harmless: ClassVar[float] = 1.0
    """What all numbers of an item may be without an infinity: items that are left out are this."""

    signed: ClassVar[bool] = False
    """Whether targets are -1 and +1; booleans stand for these."""

    roles: ClassVar[Mapping[str, Role]] = MappingProxyType({})
    """Roles of the arguments that do not vary as x does: class indices, class weights."""

    counts: ClassVar[Callable[[Any, Any, Any], Any] | None] = None
    """What says how often an item counts in a mean besides its weight, of the namespace, y and the
    number of classes; None for once."""

    ranks: ClassVar[int | None] = None
    """How many more ranks there are than classes, where targets are ranks; None where they are not.
    """

    steady: ClassVar[bool] = False
    """Whether parameters that are numbers choose the formula: another number, another program."""

    in_order: ClassVar[bool] = False
    """Whether it goes over the classes of a row one after the other, by `tinyloss._in_order`. Where
    a backend has no such steps, its lines run in the arrays' library."""

    sorted_from: ClassVar[int | None] = None
    """From how many classes on `by_sorting` of a formula that is `paired` takes less time, on a
    processor whose loops have its operations (measured); None where pairs are all there is."""

    in_parts: ClassVar["Callable[..., InParts] | None"] = None
    """What makes the formulas for classes that come in parts, of the parameters; None without."""

    pulled_by: ClassVar["type[Formula] | None"] = None
    """The formula that pulls a gradient by the value back to x, where the value has x's shape: its
    x is that gradient, its y the value, and its `grad_x` the gradient by x. None without one.

    One with second derivatives takes more arrays. With `along`, a direction of x, and `turned`, by
    how much the gradient moves there, its `grad_x` is the same by x. With `bend`, the second
    derivatives by the value, its `curvature` is those by x; or with `twist`, the gradients of
    `twisted`, for a loss of whole rows."""

    exact_curvature: ClassVar[bool] = True
    """Whether `curvature` is the second derivative."""

    @classmethod
    def role(cls, name: str) -> Role:
        """Return what an argument varies by."""
        return cls.roles.get(name) or Role(per_class=cls.rowwise)

    @classmethod
    def traits(cls, *_: Any, **parameters: Any) -> Traits:
        """Return what is known of the loss, of the formula's parameters."""
        return Traits()

    def value(self) -> Any:
        """Return the loss of each item."""
        raise NotImplementedError

    def curvature(self) -> Any:
        """Return the second derivative by each element of x."""
        raise NotImplementedError

    def twist(self) -> Any:
        """Return what makes the Hessian of a row, where that is g_i t_j + t_i g_j of the gradient g
        by x and of this t."""
        raise NotImplementedError

    def boosting_curvature(self, curvature: Any) -> Any:
        """Return the curvature for boosting: never negative for an item with weight.

        It is 0 only by underflow, and for a class that the loss does not depend on.
        """
        return curvature


class Loops(NamedTuple):
    """A loss of sequences as plain loops over one of them, in the words of `tinyloss_numpy`.

    Given are the numbers `time`, `classes`, `length` (how many labels count), `blank`, `wants_grad`
    and `pull`; rows of `x` and of `grad`, whose frames are `x_step` and `grad_step` bytes apart
    from `x_at` and `grad_at` on; frames at `frame_at`, likewise; labels at `label_at`; the loss
    goes to `loss_at`. A place of scratch memory `name` starts at `name_at`. All numbers are
    computed with as float64 or int64.
    """

    text: str
    places: Callable[[int, int, int], Mapping[str, tuple[str, int]]]
    """Of frames, classes and labels: the dtype of each scratch place, and how many it has."""
    numbers: Mapping[str, float]
    """Constants of the text."""


class Block(NamedTuple):
    """A loss of sequences in CUDA, as what a block of threads does with one of them.

    The text follows `tinyloss_cuda`'s `prelude.cuh` and `Sequence`. It has a type `Shared`, of
    shared memory, and a function `sequence(of, shared, memory)`. Numbers are float64.
    """

    text: str
    memory: Callable[[int, int, int], int]
    """Of frames, classes and labels: how many numbers a sequence has in memory."""
    numbers: Mapping[str, float]
    """Constants of the text."""


class Sequential(Protocol):
    """The formulas of a loss of sequences, in a batch of them.

    They go over frames by `loop(step, carry, arrays, reverse=False)`, which does what JAX's
    `lax.scan` does: so time is a loop of the library that has one. `product(a, b)` returns the sums
    over J of (T, N, J) times (N, J, M), in full precision where libraries have less by default.
    `some(which, function)` returns the arrays that a function returns, or anything of their shapes
    if none of `which` is so.
    """

    def __init__(
        self,
        x: Any,
        labels: Any,
        frames: Any,
        lengths: Any,
        blank: int,
        loop: Callable[..., tuple[Any, Any]],
        product: Callable[[Any, Any], Any],
        some: Callable[[Any, Callable[[], Any]], Any],
    ) -> None:
        """Take logits (T, N, K), classes (N, L), which frames (T, N) and how many labels count."""
        ...

    @classmethod
    def traits(cls) -> Traits:
        """Return what is known of the loss, for sequences of any lengths."""
        ...

    def value(self) -> Any:
        """Return the loss of each sequence, (N,)."""
        ...

    def grad(self) -> Any:
        """Return the gradients of these by the logits, (T, N, K)."""
        ...

    @staticmethod
    def too_short(xp: Any, labels: Any, frames: Any, lengths: Any) -> Any:
        """Return whether the frames that count, (N,), are too few for the labels that do."""
        ...

    @staticmethod
    def loops() -> "Loops | None":
        """Return the same for one sequence, to be compiled; None where there is no such thing."""
        ...

    @staticmethod
    def block() -> "Block | None":
        """Return the same for a block of a GPU's threads, likewise."""
        ...


class InParts(Protocol):
    """The formulas of a loss of rows whose classes come a part at a time.

    They take the parameters that the loss does. In a part, the index of a class that is in another
    names none.
    """

    @property
    def start(self) -> Mapping[str, float]:
        """What is known of a row before any part, by name."""
        ...

    @property
    def shown(self) -> type[Formula]:
        """The formula whose gradients by these are what a part shows: a sum of multiples of it."""
        ...

    @property
    def slope(self) -> type[Formula]:
        """The formula of the gradient in a part, which takes `numbers` besides."""
        ...

    @property
    def across(self) -> type[Formula]:
        """The same for rows whose columns are rows of the loss: `numbers` are those of columns."""
        ...

    def joined(self, one: Sequence[Any], other: Sequence[Any]) -> tuple[Any, ...]:
        """Return what two parts show together."""
        ...

    def loss(self, *known: Any) -> Any:
        """Return the loss of rows that are known."""
        ...

    def numbers(self, *known: Any) -> dict[str, Any]:
        """Return what the gradient takes of rows that are known."""
        ...


def made_once(own: type[Formula], name: str, make: Callable[[], type[Formula]]) -> type[Formula]:
    """Return what is made of a formula, the same each time.

    It is kept on the formula, which it refers to: both are freed together.
    """
    known: type[Formula] | None = own.__dict__.get(name)  # not that of a formula it inherits from
    if known is None:
        known = make()
        setattr(own, name, known)
    return known


def boosting(own: type[Formula]) -> type[Formula]:
    """Return a formula whose curvature is that for boosting, so that backends know of one only."""

    def make() -> type[Formula]:
        class Boosting(own):  # type: ignore[misc, valid-type]
            exact_curvature = False

            def curvature(self) -> Any:
                return self.boosting_curvature(super().curvature())

        return Boosting

    return made_once(own, "_boosting", make)


def by_sorting(own: type[Formula]) -> type[Formula]:
    """Return a formula that sorts rows and goes over no pairs of them.

    Its lines are those of the formula where it is `in_order`.
    """

    def make() -> type[Formula]:
        class BySorting(own):  # type: ignore[misc, valid-type]
            in_order, paired = True, False

        return BySorting

    return made_once(own, "_by_sorting", make)


def twisted(own: type[Formula]) -> type[Formula]:
    """Return a formula whose gradient by x is `twist`."""

    def make() -> type[Formula]:
        class Twisted(own):  # type: ignore[misc, valid-type]
            def grad_x(self) -> Any:
                return self.twist()

        return Twisted

    return made_once(own, "_twisted", make)


def exact(value: Any) -> Hashable:
    """Return a key that two values share only if no formula can tell them apart.

    As keys of Python, True, 1 and 1.0 are equal, and 0.0 and -0.0; a NaN does not equal itself.
    """
    kind: Any = value.__class__
    if kind is float:
        return kind, value.hex()
    if kind is int or kind is bool or kind is str or value is None:
        return kind, value
    if isinstance(value, Real) and not isinstance(value, Rational):  # NumPy's, too
        # of more digits than a float's, if it is equal to itself
        return kind, float(value).hex(), value if value == value else None
    if isinstance(value, (tuple, frozenset)):
        return _exact_members(value)
    if is_dataclass(value) and not isinstance(value, type):
        return kind, *[exact(getattr(value, field.name)) for field in fields(value)]
    return kind, value


def _exact_members(members: Any) -> Hashable:
    kind: Any = members.__class__
    keys = [exact(each) for each in members]
    return kind, frozenset(keys) if issubclass(kind, frozenset) else tuple(keys)
