"""What a public function was asked, what is wanted of it, and what to say of bad input."""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from tinyloss._formula import Formula, Sequential
from tinyloss.typing import Namespace

_NOTHING: Mapping[str, Any] = MappingProxyType({})

REDUCTIONS = ("mean", "sum", "none")


class Refusal(Exception):
    """Bad input; `run` adds the function's name."""

    def __init__(self, message: str, kind: type[Exception] = ValueError) -> None:
        super().__init__(message)
        self.kind = kind

    def of(self, name: str, called: Mapping[str, str] = _NOTHING) -> Exception:
        """Return the error that users see; `called` has what x and y are to them."""
        text = re.sub(r"\b[xy]\b", lambda found: called.get(found[0], found[0]), str(self))
        return self.kind(f"tinyloss.{name}: {text}")


class Pairs(NamedTuple):
    """Which pairs of rows and columns of scores count, and which are of a kind.

    What does not count has the score -inf: a class that is impossible.
    """

    rows: Any = None
    """Labels of the rows, (N,); None for none."""
    columns: Any = None
    """Labels of the columns, (M,)."""
    own: bool = False
    """Whether a row is the column of its index, which does not count for it."""
    mask: Any = None
    """Which pairs count, (N, M) booleans; None for all."""
    marks: Literal["positives", "pairs", "both", "all"] | None = None
    """None: y are indices of the positives, and other pairs of one label do not count.

    Else y becomes whether pairs are of one label, and a row weighs: "positives": 1 if it has some;
    "pairs": as many as it has; "both": 1 if it has both kinds of pairs; "all": 1.
    """

    @property
    def turned(self) -> "Pairs":
        """Those of the columns with the rows."""
        mask = None if self.mask is None else self.mask.T
        return self._replace(rows=self.columns, columns=self.rows, mask=mask)


class Product(NamedTuple):
    """Predictions that are products, x = scale * h @ w.T + bias, and that nobody has to hold."""

    h: Any
    """Features of the items, (..., D)."""
    w: Any
    """Those of the classes, (V, D), or (D, V); None where h are the products."""
    bias: Any = None
    scale: Any = None
    class_axis: int = 0
    """The axis of w that the classes are along."""
    max_memory: int | None = None
    """How many bytes may be taken at a time besides arguments and results; None: the library's."""
    unit: bool = False
    """Whether rows of h and w are divided by their lengths before."""
    both_ways: bool = False
    """Whether the loss is the mean of this one and of that with h and w exchanged."""
    pairs: Pairs | None = None

    @property
    def alone(self) -> bool:
        """Whether rows are compared with each other: h is both factors."""
        return self.w is not None and self.pairs is not None and self.pairs.own


class Regions(NamedTuple):
    """Predictions of regions, such as the pixels of a class of an image."""

    x: Any
    activation: type[Formula] | None
    """What makes of x what the loss takes, and has a `pulled_by`; None where x is that."""
    class_axis: int
    """The axis of the classes: of an activation of rows, and of targets that are class indices."""
    mask: Any = None
    """Which elements count, booleans that broadcast to x; None for all."""
    of_classes: Callable[[Namespace, Any, int], Any] | None = None
    """Makes of the sizes of the targets of a row's classes what elements of each count.

    The classes are then part of a row. None where each class is a row.
    """
    present: bool = False
    """Whether items count alone where there is something to find."""


class Sequences(NamedTuple):
    """Predictions of sequences: for each frame a row of classes; the target is another sequence."""

    x: Any
    formula: type[Sequential]
    time_axis: int
    """The axis of the frames."""
    blank: int
    """The class that stands for no label, counted from either end."""
    frames: Any = None
    """Which frames count, booleans (..., T); None for all."""
    logit_lengths: Any = None
    """How many frames count, of the first; None for all."""
    labels: Any = None
    """Which labels count, booleans like y; None for all."""
    label_lengths: Any = None
    """How many labels count, of the first; None for all."""
    per_label: bool = False
    """Whether a loss is divided by how many labels count."""
    leaves_out: bool = False
    """Whether targets that are too long for their frames are left out."""


class Request(NamedTuple):
    """What a public function was asked."""

    formula: type[Formula] | None
    """The formula for a target of x's shape; None where there is none."""
    x: Any
    """An array, a `Product`, `Regions` or `Sequences`."""
    y: Any
    params: Mapping[str, Any] = _NOTHING
    """Parameters of the formula, already checked: numbers may be 0-d arrays."""
    arrays: Mapping[str, Any] = _NOTHING
    """Further arrays of the formula, broadcasting to x (variance, pos_weight)."""
    labels: type[Formula] | None = None
    """The formula for class indices; None where y cannot hold them."""
    axis: int | tuple[int, ...] = -1
    """The class axis of a rowwise loss, or the axes that make a row."""
    axis_name: Any = None
    """The mapped axis whose members hold a part of the classes each; None where x has them all."""
    class_weight: Any = None
    mask: Any = None
    """Which classes are possible, booleans that broadcast to x; None for all."""
    ignore_index: int | None = None
    weight: Any = None
    where: Any = None
    reduction: str = "mean"
    denominator: Any = None
    title: str | None = None
    """The public function's name, where it is not the formula's."""
    called: Mapping[str, str] = _NOTHING
    """What users call x, y and further arrays, in their order; empty where x and y come first.

    Further arrays among these have x's shape or a number for each row: none is broadcast.
    """
    counts: tuple[str, ...] | None = None
    """The further arrays whose elements, where none of them is 0, say how often a row counts
    besides its weight; None for once."""
    y_of_rows: bool = False
    """Whether y has a number for each row, not one for each element."""
    y_of_columns: bool = False
    """Whether y may be without x's last axis: it is then the target of each of its elements."""
    of_pairs: bool = False
    """Whether columns of x are items as its rows are: there may be one, or none."""

    @property
    def name(self) -> str:
        """The public function's name."""
        if self.title is not None:
            return self.title
        formula = self.formula or self.labels
        assert formula is not None
        return formula.name


class Want(NamedTuple):
    """Which parts of the answer are wanted."""

    value: bool
    argnums: tuple[int, ...] = ()
    curvature: bool = False
    out: tuple[Any, ...] = ()
    """Arrays to write the gradients into, then the curvature if wanted; none: new ones."""
    sums: bool = False
    """Whether what the mean divides is wanted: the value is a pair of sums, of the weighted losses
    and of the weights, and gradients are those of the first."""
    remade: Callable[[type[Formula]], type[Formula]] | None = None
    """What makes the formula that is asked of the loss's own; None for that itself."""
    wide: bool = False
    """Whether derivatives are wanted in the dtype computed in, to go on with before rounding."""
    direction: Any = None
    """An array like x, which a formula that was made anew takes besides."""
    over: int | tuple[int, ...] | None = None
    """The axes of the items that `reduction` goes over; None for all."""


def refuse_second(want: Want, by: str = "") -> None:
    """Refuse what second derivatives are needed for, of a loss that has none."""
    if want.curvature or want.remade is not None:
        what = "curvature" if want.curvature else "product with its Hessian"
        raise Refusal(f"has no {what}{by}, expected a gradient", TypeError)
