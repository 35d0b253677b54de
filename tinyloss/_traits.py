"""What is known of losses: how they bend, how steep they get, what they ask a model to predict.

A formula declares the traits of its loss, a function of its parameters; tests hold each of them.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite
from typing import Any, Protocol


@dataclass(frozen=True, kw_only=True, slots=True)
class Traits:
    """What is known of the loss of one item, as a function of its prediction x.

    Constants are the least that hold for all predictions and targets of the loss's domain. Those of
    rows are of Euclidean norms and hold for any number of classes; targets that are probabilities,
    and predictions that are, sum to 1. None stands for what is not known, is not one number, or
    means nothing for the loss.

    What x is, follows from the item:

    - Of pairs and triples it is both vectors, or all three, as one: all come from the model. What
      bounds all together bounds each alone, with the others fixed. A vector of zeros has no angle
      and is left out.
    - Of lists, cohorts and ensembles it is all members, of sequences the logits of all frames. A
      constant is infinite where more of these are steeper without end. A cohort's loss is the mean
      of its events.
    - Of answers it is the log-probability of the chosen one. That of the rejected one is given.
    - Of scores that are products it is the scores; of `barlow_twins` and `vicreg` both arrays.
    - Of vectors of a batch, such as those of `info_nce`, it is the similarities of a row, of any
      size, before a temperature. Where the loss goes both ways it is those of the column too.

    Of a sum of losses constants are sums, and class weights scale them: none is exceeded, and some
    are not attained.

    Attributes
    ----------
    convex
        Whether no chord lies below the loss.
    strong_convexity
        How much of a parabola it is: less half this times x^2 it is still convex. 0 for none.
    lipschitz
        The largest size of its gradient, infinite where more members are steeper without end. None
        for `approx_ndcg`, of which it has no formula.
    smoothness
        The largest size of its curvature, infinite where the gradient jumps. Of rows it is the
        largest eigenvalue, by size, of the matrix of second derivatives.
    range
        Between which numbers losses are; they may only come near to them.
    symmetric
        Whether predictions y + d and y - d cost the same; of pairs, whether a and b may change
        places.
    variable
        What the loss depends on, or each term of a sum, up to a factor that x does not change:
        "x - y", the error; "y x", the margin; "x / y"; "x_y - x_c", the leads over other classes;
        "y (a - b)", the lead of one of a pair; "d(a, b)", its distance; "cos(a, b)".
    kinks
        The values of the variable at which the gradient jumps. None where they are of no one
        variable: where members of an ensemble meet, or two distances differ by a margin.
    elicits
        Which prediction is the best, on average, for targets that vary. None where it has no name.
        None for pairs, lists and sequences too, where several things may vary.
    proper
        Whether the best prediction tells the probabilities of classes, as what it elicits.
    calibrated
        Whether the best prediction always favours the likeliest class.

    Examples
    --------
    >>> import tinyloss
    >>> tinyloss.traits(tinyloss.hinge).kinks
    (1.0,)
    """

    convex: bool | None = None
    strong_convexity: float | None = None
    lipschitz: float | None = None
    smoothness: float | None = None
    range: tuple[float, float] | None = None
    symmetric: bool | None = None
    variable: str | None = None
    kinks: tuple[float, ...] | None = None
    elicits: str | None = None
    proper: bool | None = None
    calibrated: bool | None = None

    @property
    def bounded(self) -> bool | None:
        """Whether no item costs more than a certain amount."""
        return None if self.range is None else isfinite(self.range[1])


class Known(Protocol):
    """What traits are known of: a loss."""

    @property
    def traits(self) -> Callable[..., Traits]:
        """What returns its traits, of the parameters that are not set."""
        ...


def traits(loss: Known | type[Known], /, **parameters: Any) -> Traits:
    """Return what is known of a loss: convexity, constants, range, kinks, what it elicits.

    Parameters
    ----------
    loss
        A loss of this package: a function, an object, a class, or a sum of objects.
    parameters
        Those of the loss, for a function or a class; by default its own defaults.

    Returns
    -------
    A `Traits`, in which None promises nothing. All of it is None for a loss of yours, and for
    `cosface` and `arcface`, whose scores are cosines. Functions that are no losses, such as
    `softmax` and `sparsemax`, have no traits.

    Notes
    -----
    Gradient descent goes down by steps of 1 / `smoothness` times the gradient. A finite `lipschitz`
    says that no outlier outweighs all else, `bounded` that very wrong ones hardly count.

    Traits are those of an item of weight 1. Weights of classes count, since the target chooses
    them.

    Examples
    --------
    >>> import tinyloss
    >>> known = tinyloss.traits(tinyloss.huber, delta=0.5)
    >>> known.convex, known.lipschitz, known.smoothness
    (True, 0.5, 1.0)
    >>> tinyloss.traits(tinyloss.QuantileLoss(q=0.9)).elicits
    '0.9-quantile'
    >>> tinyloss.traits(0.5 * tinyloss.MSELoss() + tinyloss.HuberLoss()).strong_convexity
    1.0
    """
    own = {name: _plain(value) for name, value in parameters.items()}
    if isinstance(loss, type):
        loss, own = loss(**own), {}
    known = getattr(loss, "traits", None)
    if known is None or isinstance(loss, type):
        raise TypeError(f"tinyloss.traits: got {loss!r}, expected a loss of this package")
    if own and not inspect.signature(known).parameters:
        raise TypeError(
            f"tinyloss.traits: {', '.join(own)} beside {loss!r}, which has its parameters, "
            "expected none"
        )
    found: Traits = known(**own)
    return found


def _plain(value: Any) -> Any:
    """Return the number of a 0-d array, anything else as it is."""
    return value.item() if getattr(value, "shape", None) == () else value


def numbers_of(values: Any) -> list[float]:
    """Return the numbers of an array, of nested lists, or one number."""
    values = values.tolist() if hasattr(values, "tolist") else values
    if not isinstance(values, (list, tuple)):
        return [float(values)]
    several: list[Any] = [*values]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return [number for each in several for number in numbers_of(each)]


# --------------------------------------------------------------------------- weighed and added up


_NOTHING = Traits(
    convex=True,
    strong_convexity=0.0,
    lipschitz=0.0,
    smoothness=0.0,
    range=(0.0, 0.0),
    symmetric=True,
    kinks=(),
)
"""Those of a loss that is 0."""


def weighed(known: Traits, weights: Sequence[float]) -> Traits:
    """Return the traits of a loss times a weight, one of several that the target chooses."""
    least, most = min(weights), max(weights)
    if least == most:
        return _scaled(known, least)
    if least < 0:
        return Traits()
    some = [_scaled(known, each) for each in (least, most)]
    ends = [each.range for each in some if each.range is not None]
    return replace(
        some[1],
        strong_convexity=some[0].strong_convexity,
        range=(min(low for low, _ in ends), max(high for _, high in ends)) if ends else None,
        elicits=None,  # that of other probabilities
        proper=known.proper and False,
        calibrated=known.calibrated and False,
    )


def _scaled(known: Traits, factor: float) -> Traits:
    if not factor:
        return _NOTHING
    known = _negated(known) if factor < 0 else known
    size, ends = abs(factor), known.range
    return replace(
        known,
        strong_convexity=_times(size, known.strong_convexity),
        lipschitz=_times(size, known.lipschitz),
        smoothness=_times(size, known.smoothness),
        range=None if ends is None else (size * ends[0], size * ends[1]),
    )


def _times(factor: float, number: float | None) -> float | None:
    return None if number is None else factor * number


def _negated(known: Traits) -> Traits:
    """Return the traits of a loss's opposite, of which only a straight line stays convex."""
    convex = known.smoothness == 0 if known.convex else None
    return replace(
        known,
        convex=convex,
        strong_convexity=None if convex is None else 0.0,
        range=None if known.range is None else (0.0 - known.range[1], 0.0 - known.range[0]),
        elicits=None,
        proper=None,
        calibrated=None,
    )


def added(terms: Sequence[tuple[float, Traits]]) -> Traits:
    """Return the traits of a sum of losses, each with its factor."""
    each = [_scaled(known, factor) for factor, known in terms if factor] or [_NOTHING]
    if len(each) == 1:
        return each[0]
    ends = [one.range for one in each]
    (elicits, *others) = {one.elicits for one in each}
    # What is best for all terms is best for their sum.
    same = elicits is not None and not others
    variable, kinks = _together(each)
    convex = _all([one.convex for one in each])
    return Traits(
        convex=convex,
        strong_convexity=_sum([one.strong_convexity for one in each]) if convex else None,
        lipschitz=_sum([one.lipschitz for one in each]),
        smoothness=_sum([one.smoothness for one in each]),
        range=None
        if None in ends
        else (sum(end[0] for end in ends if end), sum(end[1] for end in ends if end)),
        symmetric=_all([one.symmetric for one in each]),
        variable=variable,
        kinks=kinks,
        elicits=elicits if same else None,
        proper=_all([one.proper for one in each]) if same else None,
        calibrated=_all([one.calibrated for one in each]) if same else None,
    )


def _all(known: Sequence[bool | None]) -> bool | None:
    """Return True where all have a trait: what some lack may cancel between them."""
    return all(known) or None


def _sum(numbers: Sequence[float | None]) -> float | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if len(known) == len(numbers) else None


def _together(each: Sequence[Traits]) -> tuple[str | None, tuple[float, ...] | None]:
    """Return what a sum depends on, and its kinks, if they are values of one variable."""
    variables = {one.variable for one in each}
    variable = next(iter(variables)) if len(variables) == 1 else None
    found: set[float] = set()
    for one in each:
        if one.kinks is None or (one.kinks and variable is None):
            return variable, None
        found |= {*one.kinks}
    return variable, tuple(sorted(found))


# ---------------------------------------------------------------------------------------- helpers


_POINTS = 64
_ROUNDS = 9
"""Each looks 32 times closer: by then points are as near to each other as doubles get."""


def highest(of: Callable[[float], float], low: float, high: float) -> float:
    """Return the largest value of a smooth function between two numbers."""
    best = -inf
    for _ in range(_ROUNDS):
        points = [low + (high - low) * n / _POINTS for n in range(_POINTS + 1)]
        values = [of(point) for point in points]
        at = max(range(len(values)), key=values.__getitem__)
        best = max(best, values[at])
        low, high = points[max(at - 1, 0)], points[min(at + 1, _POINTS)]
    return best
