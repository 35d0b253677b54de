"""Means over data that come in parts: minibatches, chunks, machines."""

from collections.abc import Callable
from functools import partial
from math import copysign, inf
from typing import Any, NamedTuple, ParamSpec

from tinyloss import _check
from tinyloss._arrays import astype, namespace, widest_dtype
from tinyloss._calls import explained
from tinyloss._engine.job import Answer
from tinyloss._engine.registry import quiet
from tinyloss._engine.request import Want
from tinyloss._function import Loss
from tinyloss._transforms import Derived

P = ParamSpec("P")


class PartialMean(NamedTuple):
    """What a part of the data adds to a mean, as two sums; the sums of parts are added.

    A mean of the parts' means is wrong where parts differ in size or weight, and NaN where one
    has nothing. `PartialMean()` is nothing yet, to add to. A tuple, so that JAX, Dask and pickle
    know what to do with it.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> of_batch = tinyloss.partial_mean(tinyloss.mse)
    >>> parts = [of_batch(np.array(x), np.zeros(len(x))) for x in ([1.0, 2.0, 3.0], [4.0], [])]
    >>> sum(parts, tinyloss.PartialMean()).value().item()  # (1 + 4 + 9 + 16) / 4
    7.5
    """

    total: Any = 0.0
    """The sum of weight * loss."""
    weight: Any = 0.0
    """The sum of weight."""
    gradient: Any = None
    """The derivative of `total`, by something that the parts share; None if not asked for."""

    def value(self) -> Any:
        """Return the mean over all parts that were added, 0 where nothing was selected."""
        return _divided(self.total, self.weight)

    def grad(self) -> Any:
        """Return the gradient of the mean, in the dtype of `gradient`."""
        return mapped(partial(_slope, weight=self.weight), self.gradient)

    def __add__(self, other: Any) -> "PartialMean":
        """Return the state of the data of both."""
        if not isinstance(other, PartialMean):
            raise _no_state(other)
        if other._is_new():
            return self
        if self._is_new():
            return other
        return PartialMean(
            _added(self.total, other.total),
            _added(self.weight, other.weight),
            mapped(_added, self.gradient, other.gradient),
        )

    def _is_new(self) -> bool:
        total, weight, gradient = self
        return gradient is None and type(total) is type(weight) is float and total == weight == 0

    def __radd__(self, other: Any) -> "PartialMean":
        if isinstance(other, int) and other == 0:  # what sum() starts from
            return self
        raise _no_state(other)


def _no_state(other: Any) -> TypeError:
    # Raised, since Python would make one tuple of two if addition were only declined.
    return TypeError(
        f"tinyloss.PartialMean: got a {type(other).__name__} to add, expected a PartialMean"
    )


@explained("; the arrays go to the function that it returns: tinyloss.partial_mean(loss)(x, y)")
def partial_mean(
    loss: Loss[P], pull: Callable[[Any], Any] | None = None, *, widen: bool = True
) -> Callable[P, PartialMean]:
    """Return a function that computes what a part of the data adds to the mean of a loss.

    For a mean over minibatches, chunks, processes or machines that is the same as over all data
    at once: parts are added with `+` or `sum`, in any order, and `value()` ends it.

    Parameters
    ----------
    loss
        A loss of this package, with the mean as its reduction.
    pull
        A function that takes the gradient of the part's sum by the prediction and returns the
        gradient by what all parts share: for predictions `features @ w`,
        `lambda g: features.T @ g`. It returns an array, or tuples, lists and dictionaries of them.
        None: no gradient.
    widen
        Whether the pulled gradient is made float64, as the sums are. False keeps its dtype: half
        the memory of a float32 gradient, whose parts are then added in float32.

    Returns
    -------
    A function with the parameters of `loss` that returns a `PartialMean`. Its sums are of float64
    where the library has it; JAX has it with jax_enable_x64.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> features, y, w = np.arange(8.0).reshape(4, 2), np.arange(4.0), np.ones(2)
    >>> state = 0
    >>> for at in (slice(0, 3), slice(3, 4)):
    ...     pull = lambda g: features[at].T @ g
    ...     state += tinyloss.partial_mean(tinyloss.mse, pull)(features[at] @ w, y[at])
    >>> state.value().item(), state.grad().tolist()
    (41.5, [48.0, 59.0])
    """
    if pull is not None and not callable(pull):
        raise TypeError(
            f"tinyloss.partial_mean: pull is of type {type(pull).__name__}, expected a function of "
            "the gradient; the arrays go to the function that is returned: "
            "tinyloss.partial_mean(loss)(x, y)"
        )
    _check.flag("partial_mean", "widen", widen)
    want = Want(value=True, argnums=() if pull is None else (0,), sums=True)
    options: dict[str, Any] = {} if pull is None else {"pull": pull}
    if not widen:
        options["widen"] = widen
    take = partial(_part_of, pull=pull, widen=widen)
    what = "what a part of the data adds to the mean"
    return Derived(partial_mean, loss, want, take, what, **options)


def _part_of(answer: Answer, pull: Callable[[Any], Any] | None, widen: bool) -> PartialMean:
    (total, weight), grads, _ = answer
    if pull is None:
        return PartialMean(total, weight)
    gradient = pull(grads[0])
    return PartialMean(total, weight, mapped(_widened, gradient) if widen else gradient)


def _widened(array: Any) -> Any:
    xp = namespace(array)
    return astype(xp, array, widest_dtype(xp, array))


def _divided(total: Any, weight: Any) -> Any:
    """Return a quotient, 0 for 0 / 0: where nothing was selected both are 0."""
    if type(weight) in (int, float):  # not NumPy's scalars
        return total / weight if weight else total and copysign(inf, total)
    xp = namespace(weight)
    with quiet(xp):
        return total / xp.where((weight == 0) & (total == 0), 1.0, weight)


def _slope(total: Any, weight: Any) -> Any:
    """Return a quotient in the dtype of `total`, which may be narrower than that of `weight`."""
    if not hasattr(total, "dtype"):
        return _divided(total, weight)
    xp = namespace(total)
    with quiet(xp):
        return astype(xp, _divided(total, weight), total.dtype)


def _added(a: Any, b: Any) -> Any:
    if type(a) in (int, float):
        return a + b
    with quiet(namespace(a)):
        return a + b


def mapped(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """Return a function's results for the arrays in nested tuples, lists and dictionaries."""
    trees = (tree, *others)
    if all(each is None for each in trees):
        return None
    if any(each is None for each in trees):
        raise ValueError("tinyloss.PartialMean: only one of two parts has a gradient")
    if isinstance(tree, dict):
        keys: list[Any] = [*tree]  # pyright: ignore[reportUnknownArgumentType]
        return {key: mapped(function, *[each[key] for each in trees]) for key in keys}
    if isinstance(tree, (list, tuple)):
        together: Any = zip(*trees, strict=True)
        results = [mapped(function, *each) for each in together]
        make: Any = trees[0].__class__
        return make(*results) if hasattr(make, "_fields") else make(results)
    return function(*trees)
