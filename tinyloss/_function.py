"""Public loss functions and what can be derived from a loss.

A loss module writes a function that describes one call as a `Request`; `LossFunction` turns it
into the function users see: the same signature, returning the loss. Whatever is wanted of a loss,
its value or derivatives, is asked of the same description.
"""

import inspect
from collections.abc import Callable
from functools import update_wrapper
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, overload

from tinyloss._backends import backend_that_writes
from tinyloss._engine import Answer, Request, Want, run

__all__ = ["Loss", "LossFunction", "dress", "grad", "grad_and_hess", "source", "value_and_grad"]

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


class LossFunction(Generic[P]):
    """A loss function: called like the function that describes it, and differentiable."""

    __name__: str
    __qualname__: str

    def __init__(self, describe: Callable[P, Request]) -> None:
        self._describe = describe
        update_wrapper(self, describe)
        self.__signature__ = inspect.signature(describe).replace(return_annotation=Any)

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Any:
        return run(self._describe(*args, **kwargs), _VALUE).value

    def ask(self, want: Want, /, *args: P.args, **kwargs: P.kwargs) -> Answer:
        """Return the parts of the answer that are wanted."""
        return run(self._describe(*args, **kwargs), want)

    def check(self, **parameters: Any) -> None:
        """Raise what a call with these parameters would raise about them."""
        positional = [
            None
            for each in inspect.signature(self._describe).parameters.values()
            if each.kind is each.POSITIONAL_OR_KEYWORD
        ]
        describe: Callable[..., Request] = self._describe
        describe(*positional, **parameters)

    def __get__(self, owner: Any, kind: Any = None) -> "LossFunction[P]":
        # As an attribute of a class it stays the function it is; and help() takes what has
        # __get__ for a function and shows its signature.
        return self

    def __repr__(self) -> str:
        return f"<function {self.__module__}.{self.__qualname__}>"

    def __reduce__(self) -> str:
        return self.__qualname__


@overload
def value_and_grad(
    loss: Loss[P], argnums: int = 0, *, out: Any = None
) -> Callable[P, tuple[Any, Any]]: ...
@overload
def value_and_grad(
    loss: Loss[P], argnums: tuple[int, ...], *, out: tuple[Any, ...] | None = None
) -> Callable[P, tuple[Any, tuple[Any, ...]]]: ...
def value_and_grad(
    loss: Loss[P], argnums: int | tuple[int, ...] = 0, *, out: Any = None
) -> Callable[P, tuple[Any, Any]]:
    """Return a function that computes a loss and its gradient in one go.

    The gradient is the loss's closed form: exact where automatic differentiation of the value
    loses its digits, and available on libraries without autodiff.

    Parameters
    ----------
    loss
        A loss of this package: a function or an object.
    argnums
        The argument to differentiate by: 0 for the prediction, 1 for a real-valued target, 2 for
        the variance of `gaussian_nll`. A tuple gives a tuple of gradients.
    out
        An array that the gradient is written into and returned as, of its shape and dtype; for a
        tuple of `argnums` a tuple of arrays. It may be the argument itself, x for example, if
        that is no longer needed: then no memory is needed beyond the inputs. Only for libraries
        whose arrays can be written.

    Returns
    -------
    A function with the parameters of `loss` that returns `(value, gradient)`. The gradient has
    the shape, library and device of its argument and, if that is floating, its dtype. With
    `reduction="none"` it is the gradient of the sum: each item's own.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x, y = np.array([0.0, 3.0]), np.array([1.0, 1.0])
    >>> value, gradient = tinyloss.value_and_grad(tinyloss.mse)(x, y)
    >>> value.item(), gradient.tolist()
    (2.5, [-1.0, 2.0])
    """
    numbers, single = _numbers(argnums)
    want = Want(value=True, argnums=numbers, out=_arrays(out, single, len(numbers)))

    def answer(*args: P.args, **kwargs: P.kwargs) -> tuple[Any, Any]:
        value, grads, _ = loss.ask(want, *args, **kwargs)
        return value, grads[0] if single else grads

    return dress(answer, loss, "value and gradient")


def grad(loss: Loss[P], argnums: int | tuple[int, ...] = 0, *, out: Any = None) -> Callable[P, Any]:
    """Return a function that computes the gradient of a loss, as `value_and_grad` does.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> gradient = tinyloss.grad(tinyloss.cross_entropy)
    >>> gradient(np.array([[0.0, 0.0]]), np.array([0])).tolist()
    [[-0.5, 0.5]]
    """
    numbers, single = _numbers(argnums)
    want = Want(value=False, argnums=numbers, out=_arrays(out, single, len(numbers)))

    def answer(*args: P.args, **kwargs: P.kwargs) -> Any:
        grads = loss.ask(want, *args, **kwargs).grads
        return grads[0] if single else grads

    return dress(answer, loss, "gradient")


def grad_and_hess(
    loss: Loss[P], *, out: tuple[Any, Any] | None = None
) -> Callable[P, tuple[Any, Any]]:
    """Return a function that computes gradient and diagonal curvature of each item's loss.

    What gradient boosting asks of an objective: first and second derivative of each item by the
    prediction (for a row of classes, of the row's loss by each class), weighted but not
    reduced, whatever `reduction` says. `out` are two arrays that they are written into.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x, y = np.array([0.0, 3.0]), np.array([1.0, 0.0])
    >>> g, h = tinyloss.grad_and_hess(tinyloss.binary_cross_entropy_with_logits)(x, y)
    >>> g.round(3).tolist(), h.round(3).tolist()
    ([-0.5, 0.953], [0.25, 0.045])
    """
    want = Want(value=False, argnums=(0,), curvature=True, out=_arrays(out, False, 2))

    def answer(*args: P.args, **kwargs: P.kwargs) -> tuple[Any, Any]:
        _, grads, curvature = loss.ask(want, *args, **kwargs)
        return grads[0], curvature

    return dress(answer, loss, "gradient and curvature, item by item,")


def source(loss: Loss[...], /, *arrays: Any, target: str = "numba", **options: Any) -> str:
    """Return the program that computes a loss and its gradient, as it is compiled.

    Parameters
    ----------
    loss
        A loss of this package: a function or an object.
    arrays
        What the loss would be called with; shapes, dtypes and how the arrays lie in memory decide
        what is compiled. Without any, 128 rows of 1000 classes in float32, with class indices if
        the loss takes these.
    target
        What it is written in: "numba", Python that Numba compiles for NumPy arrays, or "cuda", C++
        that CuPy compiles for its arrays. To write that takes neither CuPy nor a GPU: NumPy arrays
        stand for CuPy's that lie alike.
    options
        Keyword arguments of the loss.

    Examples
    --------
    >>> import tinyloss
    >>> text = tinyloss.source(tinyloss.mse)
    >>> [line.strip() for line in text.splitlines() if "- y" in line]
    ['t2 = x - y']
    """
    try:
        backend = backend_that_writes(target)
    except KeyError as error:
        raise ValueError(
            f"tinyloss.source: target is {target!r}, expected one of {error.args}"
        ) from None
    want = Want(value=True, argnums=(0,), source=backend)
    if arrays:
        return str(loss.ask(want, *arrays, **options).value)
    x = backend.example((128, 1000), "float32")
    try:
        return str(loss.ask(want, x, backend.example((128,), "int64"), **options).value)
    except ValueError:  # no class indices
        return str(loss.ask(want, x, x, **options).value)


def _numbers(argnums: int | tuple[int, ...]) -> tuple[tuple[int, ...], bool]:
    numbers = argnums if isinstance(argnums, tuple) else (argnums,)
    for number in numbers:
        if not isinstance(number, int) or isinstance(number, bool):
            raise TypeError(
                f"tinyloss: argnums is {argnums!r}, expected an integer or a tuple of integers"
            )
    return numbers, numbers is not argnums


def _arrays(out: Any, single: bool, count: int) -> tuple[Any, ...]:
    if out is None:
        return ()
    if single:
        return (out,)
    if not issubclass(type(out), tuple) or len(out) != count:
        raise TypeError(
            f"tinyloss: out is of type {type(out).__name__}, expected a tuple of {count} arrays"
        )
    arrays: tuple[Any, ...] = out
    if len({id(array) for array in arrays}) < count:
        raise ValueError("tinyloss: out holds an array twice, expected one for each derivative")
    return arrays


R = TypeVar("R")


def dress(answer: Callable[P, R], loss: Loss[P], what: str) -> Callable[P, R]:
    """Give a derived function the signature of its loss and a line of documentation."""
    if isinstance(loss, type) or not hasattr(loss, "ask"):
        raise TypeError(
            f"tinyloss: got {loss!r}, expected a loss: a function or an object of tinyloss, "
            "or your own function decorated with @tinyloss.loss"
        )
    name = getattr(loss, "__name__", None) or repr(loss)
    answer.__doc__ = f"Return {what} of {name}."
    answer.__signature__ = inspect.signature(loss)  # type: ignore[attr-defined]
    return answer
