"""What is derived from a loss: its gradient, its curvature, its source."""

from __future__ import annotations  # torch.compile trips over `P.args`, new each time

import inspect
from collections.abc import Callable, Mapping
from dataclasses import FrozenInstanceError
from functools import partial
from typing import Any, Generic, Literal, ParamSpec, TypeVar, overload

from tinyloss._calls import explained, shown
from tinyloss._engine.job import Answer
from tinyloss._engine.registry import backend_that_writes
from tinyloss._engine.request import Want
from tinyloss._formula import boosting
from tinyloss._function import Loss, spelled
from tinyloss._hessian import hessian_times

P = ParamSpec("P")
R = TypeVar("R")

_ARRAYS_LATER = "; the arrays go to the function that it returns: tinyloss.{}(loss)(x, y)"


class Derived(Generic[P, R]):
    """A function derived from a loss: immutable, comparable, picklable, printed as it was made."""

    __name__: str

    def __init__(
        self,
        make: Callable[..., Any],
        loss: Loss[P],
        want: Want,
        take: Callable[[Answer], R],
        what: str,
        **options: Any,
    ) -> None:
        if isinstance(loss, type) or not hasattr(loss, "ask"):
            raise no_loss(loss)
        name = getattr(loss, "__name__", None) or repr(loss)
        self.__dict__.update(
            {
                "make": make,
                "loss": loss,
                "want": want,
                "options": options,
                "_take": take,
                "__name__": make.__name__,
                "__qualname__": make.__name__,
                "__doc__": f"Return {what} of {name}.",
            }
        )

    make: Callable[..., Any]
    """The public function that derives it."""
    loss: Loss[P]
    want: Want
    options: Mapping[str, Any]
    """What `make` was given besides the loss, where it is not the default."""
    _take: Callable[[Answer], R]

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._take(self.loss.ask(self.want, *args, **kwargs))

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self.loss)

    def _key(self) -> tuple[Any, ...]:
        # arrays to write into are the same only if they are the same memory
        options = [(name, value) for name, value in self.options.items() if name != "out"]
        return self.make, self.loss, tuple(options), tuple(map(id, self.want.out))

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, Derived) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    def __setattr__(self, name: str, value: Any) -> None:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> None:
        raise FrozenInstanceError(f"cannot delete field {name!r}")

    def __get__(self, owner: Any, kind: Any = None) -> Derived[P, R]:
        return self  # as a LossFunction

    def __repr__(self) -> str:
        given = [spelled(self.loss)]
        given += [f"{name}={shown(value)}" for name, value in self.options.items()]
        make: Any = self.make
        return f"{make.__module__}.{make.__qualname__}({', '.join(given)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(self.make, self.loss, **self.options), ()


def no_loss(loss: Any, asked: str = "tinyloss") -> TypeError:
    return TypeError(
        f"{asked}: got {loss!r}, expected a loss: a function or an object of tinyloss, "
        "or your own function decorated with @tinyloss.loss"
    )


def _value_and_first(answer: Answer) -> tuple[Any, Any]:
    return answer.value, answer.grads[0]


def _value_and_all(answer: Answer) -> tuple[Any, Any]:
    return answer.value, answer.grads


def _first(answer: Answer) -> Any:
    return answer.grads[0]


def _all(answer: Answer) -> Any:
    return answer.grads


def _first_and_curvature(answer: Answer) -> tuple[Any, Any]:
    return answer.grads[0], answer.curvature


def _changed(argnums: Any, out: Any) -> dict[str, Any]:
    return {
        **({} if isinstance(argnums, int) and not argnums else {"argnums": argnums}),
        **({} if out is None else {"out": out}),
    }


@overload
def value_and_grad(
    loss: Loss[P], argnums: int = 0, *, out: Any = None
) -> Callable[P, tuple[Any, Any]]: ...
@overload
def value_and_grad(
    loss: Loss[P], argnums: tuple[int, ...], *, out: tuple[Any, ...] | None = None
) -> Callable[P, tuple[Any, tuple[Any, ...]]]: ...
@explained(_ARRAYS_LATER.format("value_and_grad"))
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
    numbers, single = numbers_of(argnums)
    want = Want(value=True, argnums=numbers, out=_arrays(out, single, len(numbers)))
    take = _value_and_first if single else _value_and_all
    changed = _changed(argnums, out)
    return Derived(value_and_grad, loss, want, take, "value and gradient", **changed)


@explained(_ARRAYS_LATER.format("grad"))
def grad(loss: Loss[P], argnums: int | tuple[int, ...] = 0, *, out: Any = None) -> Callable[P, Any]:
    """Return a function that computes the gradient of a loss, as `value_and_grad` does.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> gradient = tinyloss.grad(tinyloss.cross_entropy)
    >>> gradient(np.array([[0.0, 0.0]]), np.array([0])).tolist()
    [[-0.5, 0.5]]
    """
    numbers, single = numbers_of(argnums)
    want = Want(value=False, argnums=numbers, out=_arrays(out, single, len(numbers)))
    take = _first if single else _all
    return Derived(grad, loss, want, take, "gradient", **_changed(argnums, out))


@explained(_ARRAYS_LATER.format("grad_and_hess"))
def grad_and_hess(
    loss: Loss[P],
    *,
    hess: Literal["exact", "boosting"] = "exact",
    out: tuple[Any, Any] | None = None,
) -> Callable[P, tuple[Any, Any]]:
    """Return a function that computes gradient and diagonal curvature of each item's loss.

    What gradient boosting asks of an objective: first and second derivative of each item by the
    prediction (for a row of classes, of the row's loss by each class), weighted but not
    reduced, whatever `reduction` says. `out` are two arrays that they are written into.

    Boosting divides by the second, which for some losses is 0 or negative: the absolute error, the
    flat part of `huber`, focal losses. With hess="boosting" it is what boosting takes instead,
    times the weight: never negative, and 0 only where the weight is 0 or it underflows. Each loss
    says under "Gradient" where that differs from the exact one. A loss by `tinyloss.loss` has 1
    where its curvature is not above 0.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x, y = np.array([0.0, 3.0]), np.array([1.0, 0.0])
    >>> g, h = tinyloss.grad_and_hess(tinyloss.binary_cross_entropy_with_logits)(x, y)
    >>> g.round(3).tolist(), h.round(3).tolist()
    ([-0.5, 0.953], [0.25, 0.045])
    """
    if hess not in ("exact", "boosting"):
        raise ValueError(
            f'tinyloss.grad_and_hess: hess is {hess!r}, expected "exact" or "boosting"'
        )
    want = Want(
        value=False,
        argnums=(0,),
        curvature=True,
        out=_arrays(out, False, 2),
        remade=boosting if hess == "boosting" else None,
    )
    what = "gradient and curvature, item by item,"
    changed = _changed(0, out) | ({} if hess == "exact" else {"hess": hess})
    return Derived(grad_and_hess, loss, want, _first_and_curvature, what, **changed)


class _AlongDirection(Derived[..., Any]):
    """A derived function that takes a direction after the loss's arrays."""

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        if "direction" in kwargs:
            direction = kwargs.pop("direction")
        else:
            taken = [name for name in self._arrays() if name not in kwargs]
            if len(args) <= len(taken):
                expected = ", ".join([*self._arrays(), "direction"])
                raise TypeError(
                    f"tinyloss.hvp: got {len(args)} positional arguments, expected ({expected})"
                )
            *args, direction = args  # type: ignore[assignment]
        want = self.want._replace(direction=direction)
        return self._take(self.loss.ask(want, *args, **kwargs))

    def _arrays(self) -> list[str]:
        parameters = inspect.signature(self.loss).parameters.values()
        return [each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]

    @property
    def __signature__(self) -> inspect.Signature:
        signature = inspect.signature(self.loss)
        parameters = [*signature.parameters.values()]
        place = len(self._arrays())
        after_all = any(each.kind is each.VAR_POSITIONAL for each in parameters)  # only by name
        kind: Any = inspect.Parameter
        kind = kind.KEYWORD_ONLY if after_all else kind.POSITIONAL_OR_KEYWORD
        parameters.insert(place + after_all, inspect.Parameter("direction", kind))
        return signature.replace(parameters=parameters)


@explained(_ARRAYS_LATER.format("hvp"))
def hvp(loss: Loss[...], /) -> Callable[..., Any]:
    """Return a function that computes the Hessian of a loss times a direction.

    The Hessian by the prediction, of the loss as it is reduced. Newton's method, trust regions,
    influence functions and Laplace approximations take such products; the Hessian itself, which
    is of the square of the prediction's size, is never made.

    Parameters
    ----------
    loss
        A loss of this package: a function or an object.

    Returns
    -------
    A function with the parameters of `loss` and `direction`, an array of x's shape, after the
    arrays: `hvp(loss)(x, y, direction)`. The product has the shape, library, device and dtype of
    x. With `reduction="none"` it is that of the sum: each item's own.

    Notes
    -----
    For a loss of elements it is the curvature times the direction, as accurate as the curvature.
    For a loss of rows it is the derivative, by reverse mode, of the closed-form gradient along the
    direction: within a few eps of the size of the terms, which may cancel. At a kink it is 0. By
    logits of regions it follows from that by probabilities. Of a loss of sequences JAX and torch
    differentiate the gradient; other arrays have no product.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x, y, v = np.array([0.0, 3.0]), np.array([1.0, 1.0]), np.array([1.0, 2.0])
    >>> tinyloss.hvp(tinyloss.mse)(x, y, v).tolist()
    [1.0, 2.0]
    >>> tinyloss.hvp(tinyloss.cross_entropy)(np.zeros((1, 2)), np.array([0]), np.eye(2)[:1])
    array([[ 0.25, -0.25]])
    """
    want = Want(value=False, argnums=(0,), remade=hessian_times)
    return _AlongDirection(hvp, loss, want, _first, "the Hessian times a direction")


def source(loss: Loss[...], /, *arrays: Any, target: str = "llvm", **options: Any) -> str:
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
        What it is written for: "llvm", Python that LLVM compiles for NumPy arrays, or "cuda", C++
        that CuPy compiles for its arrays. To write that takes neither CuPy nor a GPU: NumPy arrays
        stand for CuPy's that lie alike.
    options
        Keyword arguments of the loss.

    Notes
    -----
    Names of arrays end in the array's number there, so that no name of the kernel's own meets them.

    Examples
    --------
    >>> import tinyloss
    >>> text = tinyloss.source(tinyloss.mse)
    >>> [line.strip() for line in text.splitlines() if "- y" in line]
    ['t5 = x_0 - y_1']
    """
    try:
        backend = backend_that_writes(target)
    except KeyError as error:
        raise ValueError(
            f"tinyloss.source: target is {target!r}, expected one of {error.args}"
        ) from None
    if isinstance(loss, type) or not hasattr(loss, "ask"):
        raise no_loss(loss)
    if not arrays:
        x = backend.example((128, 1000), "float32")
        y = backend.example((128,), "int64") if loss.takes_labels(**options) else x
        more = [
            x
            for each in inspect.signature(loss).parameters.values()
            if each.kind is each.POSITIONAL_OR_KEYWORD and each.default is each.empty
        ]
        arrays = (x, y, *more[2:])
    jobs = loss.jobs(Want(value=True, argnums=(0,)), *arrays, **options)
    return "\n".join(map(backend.source, jobs))


def numbers_of(argnums: int | tuple[int, ...]) -> tuple[tuple[int, ...], bool]:
    numbers = argnums if isinstance(argnums, tuple) else (argnums,)
    for number in numbers:
        if not isinstance(number, int) or isinstance(number, bool):
            raise TypeError(
                f"tinyloss: argnums is {shown(argnums)}, expected an integer or a tuple of "
                f"integers{_ARRAYS_LATER.format('grad') if hasattr(argnums, 'shape') else ''}"
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
