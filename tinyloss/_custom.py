"""A loss of one's own: write the value, get everything else."""

import inspect
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, overload

from tinyloss._arrays import dtype_name, namespace
from tinyloss._engine import Request
from tinyloss._evaluation import run
from tinyloss._formula import Formula
from tinyloss._function import LossFunction
from tinyloss._program import Input, Program, differentiate, record

__all__ = ["loss"]

_OPTIONS = {"weight": None, "where": None, "reduction": "mean", "denominator": None}
_OF_ROWS = {"axis": -1, "axis_name": None}


@overload
def loss(value: Callable[..., Any], /) -> LossFunction[...]: ...
@overload
def loss(
    *, rowwise: bool = False, labels: bool = False
) -> Callable[[Callable[..., Any]], LossFunction[...]]: ...
def loss(
    value: Callable[..., Any] | None = None, /, *, rowwise: bool = False, labels: bool = False
) -> LossFunction[...] | Callable[[Callable[..., Any]], LossFunction[...]]:
    """Make a loss of a function that returns the loss of each item.

    The result is called like the losses of this package: with weight, where, reduction and
    denominator, on arrays of any library. Its derivatives come from the function by reverse mode.

    Parameters
    ----------
    value
        A function (x, y, *, parameters) of straight lines over `tinyloss.namespace(x)`: array-API
        functions and operators, Python numbers, `xp.where` instead of `if` on data. Parameters are
        keyword-only, hashable Python values.
    rowwise
        Whether an item is a row of classes, not an element: the function then finds the classes
        in the last dimension, reduces over axis=-1 and returns one loss for each row; its loss
        takes an `axis`.
    labels
        Whether y holds class indices, one for each row; implies rowwise.
        `y[..., None] == xp.arange(x.shape[-1])` tells the target's class.

    Notes
    -----
    A value that is accurate does not make its derivative accurate: reverse mode goes line by line,
    and what cancels in a derivative costs digits as anywhere. At the kink of abs, sign, clip, and
    of maximum and minimum with a number, the derivative is 0. Curvature is there for losses of
    elements.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> @tinyloss.loss
    ... def charbonnier(x, y, *, eps=1e-3):
    ...     xp = tinyloss.namespace(x)
    ...     return xp.sqrt((x - y) ** 2 + eps**2)
    >>> x, y = np.array([3.0, 0.0]), np.array([0.0, 0.0])
    >>> value, gradient = tinyloss.value_and_grad(charbonnier)(x, y, eps=4.0)
    >>> value.item(), gradient.round(6).tolist()
    (4.5, [0.3, 0.0])
    """
    if value is None:
        return partial(_make, rowwise=rowwise or labels, labels=labels)
    return _make(value, rowwise or labels, labels)


def _make(value: Callable[..., Any], rowwise: bool, labels: bool) -> LossFunction[...]:
    signature = inspect.signature(value)
    keyword = [p for p in signature.parameters.values() if p.kind is p.KEYWORD_ONLY]
    reserved = [p.name for p in keyword if p.name in (*_OPTIONS, *_OF_ROWS)]
    if list(signature.parameters) != ["x", "y", *(p.name for p in keyword)] or reserved:
        raise TypeError(
            f"tinyloss.loss: {value.__name__} has the signature {signature}, expected (x, y) and "
            f"keyword-only parameters, none named {', '.join((*_OPTIONS, *_OF_ROWS))}"
        )
    options = {**_OF_ROWS, **_OPTIONS} if rowwise else _OPTIONS
    public = signature.replace(
        parameters=[
            *signature.parameters.values(),
            *[
                inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
                for name, default in options.items()
            ],
        ]
    )
    formula = _formula_of(value, rowwise, labels)

    def describe(*args: Any, **kwargs: Any) -> Request:
        bound = public.bind(*args, **kwargs)
        bound.apply_defaults()
        given = bound.arguments
        return Request(
            None if labels else formula,
            given["x"],
            given["y"],
            given["weight"],
            given["where"],
            given["reduction"],
            given["denominator"],
            params={p.name: given[p.name] for p in keyword},
            axis=given.get("axis", -1),
            axis_name=given.get("axis_name"),
            labels=formula if labels else None,
        )

    for attribute in ("__name__", "__qualname__", "__module__", "__doc__"):
        setattr(describe, attribute, getattr(value, attribute))
    describe.__signature__ = public  # type: ignore[attr-defined]
    return LossFunction(describe)


def _formula_of(per_item: Callable[..., Any], in_rows: bool, labels: bool) -> type[Formula]:
    inputs = {"x": Input(per_class=in_rows), "y": Input(per_class=in_rows and not labels)}

    @lru_cache
    def derivative(by: tuple[str, ...], dtype: str, params: tuple[tuple[str, Any], ...]) -> Program:
        program = record(partial(per_item, **dict(params)), inputs, dtype=dtype)
        for name in by:
            program = differentiate(program, name)
        return program

    class _Custom(Formula):
        name = per_item.__name__
        rowwise = in_rows

        def __init__(self, x: Any, y: Any, **params: Any) -> None:
            self.arrays, self.params = {"x": x, "y": y}, params

        def value(self) -> Any:
            return per_item(**self.arrays, **self.params)

        def grad_x(self) -> Any:
            return self._derivative("x")

        def curvature(self) -> Any:
            if in_rows:
                raise TypeError(
                    f"tinyloss.{self.name}: a loss of rows by @tinyloss.loss has no curvature"
                )
            return self._derivative("x", "x")

        def boosting_curvature(self, curvature: Any) -> Any:
            return namespace(curvature).where(curvature <= 0, 1.0, curvature)

        def _derivative(self, *by: str) -> Any:
            x = self.arrays["x"]
            program = derivative(by, dtype_name(x.dtype), tuple(self.params.items()))
            return run(program, namespace(x), self.arrays)[0]

    class _CustomOfValues(_Custom):
        def grad_y(self) -> Any:
            return self._derivative("y")

    return _Custom if labels else _CustomOfValues
