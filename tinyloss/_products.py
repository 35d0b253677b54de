"""Losses of scores that are products of two matrices: `of_products`, and what it is made with."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import replace
from math import inf
from typing import Any, ParamSpec

from tinyloss._engine.job import Answer, Job
from tinyloss._engine.products import Memory, job_of_product, memory_of, run_columns, run_product
from tinyloss._engine.request import Product, Request, Want
from tinyloss._engine.run import fill, narrowed
from tinyloss._function import AnsweringFunction, LossFunction, spelled
from tinyloss._traits import Traits
from tinyloss.typing import Array, ArrayLike, ClassAxis, MemoryLimit

P = ParamSpec("P")


class ProductFunction(AnsweringFunction[P]):
    """A loss of scores that are products: called with their factors, and differentiable by them."""

    def ask(self, want: Want, /, *args: P.args, **kwargs: P.kwargs) -> Answer:
        """Return the parts of the answer that are wanted."""
        return run_product(self.request(args, kwargs), want)

    def places(self, product: Product, argnums: tuple[int, ...]) -> tuple[int, ...]:
        """Return the numbers that a product has for arguments."""
        del product
        return argnums

    def sized(self, request: Request) -> Request:
        """Return a request whose x is the products that have to be computed, or as large ones."""
        return request

    def jobs(self, want: Want, /, *args: Any, **kwargs: Any) -> list[Job]:
        """Return the job that answers for a chunk of rows."""
        request = self.sized(self.request(args, kwargs))
        argnums = self.places(request.x, want.argnums)
        return [job_of_product(request, want._replace(argnums=argnums))]

    def _check(self, want: Want, known: Sequence[int]) -> None:
        """Raise an error for an argument that there is no gradient by."""
        for each in want.argnums:
            if each not in known:
                raise ValueError(
                    f"tinyloss.{self.__name__}: argnums holds {each!r}, expected "
                    f"{'one of ' if len(known) > 1 else ''}{', '.join(map(str, known))}"
                )

    def _finished(self, answer: Answer, want: Want, arrays: Sequence[Any] | None) -> Answer:
        """Return an answer in the arrays that are given, and in the dtypes of `arrays`, if any."""
        if arrays is not None and not want.wide:
            answer = narrowed(answer, want, arrays)
        return fill(self.__name__, answer, want.out) if want.out else answer


class PairFunction(ProductFunction[P]):
    """A loss of similarities of a and b, also differentiable by what these are multiplied with.

    Numbers of arguments: 0 is a, 1 is b, 2 the temperature or the scale, 3 the bias. Where a is
    compared with itself, it is both factors of the product.
    """

    def traits(self, **parameters: Any) -> Traits:
        """Return what is known of the loss of a row as a function of its similarities."""
        known = super().traits(**parameters)
        scale = self.product(parameters).scale
        size = 1.0 if scale is None else abs(scale)
        return replace(
            known,
            lipschitz=None if known.lipschitz is None else size * known.lipschitz,
            smoothness=None if known.smoothness is None else size * size * known.smoothness,
            # several things may vary
            elicits=None,
            proper=None,
            calibrated=None,
        )

    def product(self, parameters: dict[str, Any]) -> Product:
        """Return the product that a call with these parameters describes."""
        product: Product = self._described(parameters).x
        return product

    def ask(self, want: Want, /, *args: P.args, **kwargs: P.kwargs) -> Answer:
        """Return the parts of the answer that are wanted."""
        request = self.request(args, kwargs)
        product: Product = request.x
        there = (
            True,
            product.w is not None and not product.alone,
            product.scale is not None,
            product.bias is not None,
        )
        self._check(want, [n for n, each in enumerate(there) if each])
        alone = product.alone and 0 in want.argnums
        inner = want._replace(argnums=self.places(product, want.argnums), out=())
        answer = run_product(request, inner._replace(wide=want.wide or alone))
        found = iter(answer.grads)
        grads: list[Any] = []
        for each in want.argnums:
            grad = next(found)
            if each == 0 and alone:
                grad = grad + next(found)
            elif each == 2 and "temperature" in self.__signature__.parameters:
                grad = -grad * product.scale**2  # of 1 / temperature
            grads.append(grad)
        arrays = [product.h, None, product.scale, product.bias] if alone else None
        return self._finished(answer._replace(grads=tuple(grads)), want, arrays)

    def places(self, product: Product, argnums: tuple[int, ...]) -> tuple[int, ...]:
        """Return the numbers that a product has for arguments: 4 is the scale, and 2 the target."""
        both = (0, 1) if product.alone else (0,)
        own = {0: both, 2: (4,)}
        return tuple([place for each in argnums for place in own.get(each, (each,))])


class ColumnsFunction(ProductFunction[P]):
    """A loss of what columns of a and b have in common, from their means on.

    The request's product has a and b, rows of features: an item is a column there.
    """

    def traits(self, **parameters: Any) -> Traits:
        """Return what is known of the loss as a function of both arrays."""
        super().traits(**parameters)  # refuses what a call refuses
        # Squares of what columns have in common are 0 where they have what is asked for, of a and b
        # as of their opposites, and not between these. More columns have more of them. Covariances
        # are steeper the larger features are; correlations turn faster the smaller they are.
        return Traits(
            convex=False,
            strong_convexity=0.0,
            lipschitz=inf,
            smoothness=inf,
            range=(0.0, inf),
            symmetric=True,
        )

    def ask(self, want: Want, /, *args: P.args, **kwargs: P.kwargs) -> Answer:
        """Return the parts of the answer that are wanted."""
        request = self.request(args, kwargs)
        product: Product = request.x
        self._check(want, (0, 1))
        if want.sums or want.over is not None or want.curvature or want.remade is not None:
            raise TypeError(f"tinyloss.{self.__name__}: is no mean of items, expected a gradient")
        answer = self.of_columns(request, want._replace(out=(), wide=True))
        return self._finished(answer, want, [product.h, product.w])

    def sized(self, request: Request) -> Request:
        """Return a request of products of the same sizes."""
        product: Product = request.x
        sides = product._replace(h=product.h.T, w=product.w.T, unit=True)
        return request._replace(x=sides)

    def of_columns(self, request: Request, want: Want) -> Answer:
        """Return the answer to a request, gradients in the dtype that is computed in."""
        return run_columns(request, want)


class _OfProducts(ProductFunction[...]):
    """What `of_products` makes of a loss."""

    def __init__(self, loss: Any) -> None:
        self._loss = loss
        super().__init__(_describing(loss))

    def __eq__(self, other: object) -> bool:
        return self._loss == other._loss if isinstance(other, _OfProducts) else NotImplemented

    def __hash__(self) -> int:
        return hash((_OfProducts, self._loss))

    def __repr__(self) -> str:
        return f"tinyloss.of_products({spelled(self._loss)})"

    def __reduce__(self) -> Any:
        return of_products, (self._loss,)


def of_products(loss: LossFunction[...] | Any, /) -> ProductFunction[...]:
    """Make of a loss of scores the loss of the two matrices whose product the scores are.

    The scores `h @ w.T` of many classes are what runs out of memory. The result takes h and w
    instead, and computes a chunk of rows at a time: the value, and the gradients by both.

    Parameters
    ----------
    loss
        A loss of this package, a function or an object, or your own: of rows, or of elements.

    Returns
    -------
    A loss, to be called with (h, w, y) and the options of `loss` besides `axis`. It also takes

    bias
        What is added to the scores: an array of one number for each class, or of one number.
    scale
        What the product is multiplied by before: a number or a 0-d array.
    class_axis
        The axis of w that the classes are along: 0, the default, for (V, D); 1 for (D, V).
    max_memory
        How many bytes to take at a time, besides arguments and results. None, the default: 64 MiB
        on a CPU, 8 MiB there under XLA, and no fewer rows than w has features, or than 256.
        512 MiB on a GPU, and no less than twice w. A row of scores is taken whatever its size; of
        `cross_entropy` of logits, unless y is differentiated by or `axis_name` splits the classes,
        some classes of it at a time, and 128 at least.

    Notes
    -----
    Shapes: h (..., D), w (V, D); y (...), class indices, or (..., V).

    Derivatives: `argnums` 0 is h, 1 is w, 2 is y, 3 is bias, 4 is scale. What is not asked for is
    neither computed nor in memory. There is no curvature. torch and JAX differentiate it natively;
    their second derivatives compute the scores again, torch's all at once.

    Scores of half precision are float32, and so are the sums of which gradients are made; each
    gradient is rounded once. Rows that are left out contribute nothing, whatever h has there. They
    are not multiplied where NumPy or torch holds weights and mask on the CPU.

    A row's loss depends on no other row. Its last bits depend on how many rows a chunk has.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> loss = tinyloss.of_products(tinyloss.cross_entropy)
    >>> h, w, y = np.array([[1.0, 2.0]]), np.array([[2.0, 0.0], [0.0, 1.0]]), np.array([0])
    >>> value, (by_h, by_w) = tinyloss.value_and_grad(loss, (0, 1))(h, w, y)
    >>> value.round(6).item(), by_h.tolist(), by_w.tolist()
    (0.693147, [[-1.0, 0.5]], [[-0.5, -1.0], [0.5, 1.0]])
    """
    if isinstance(loss, type) or not hasattr(loss, "request") or isinstance(loss, ProductFunction):
        raise TypeError(
            f"tinyloss.of_products: got {loss!r}, expected a loss of scores: a function or an "
            "object of tinyloss, or your own function decorated with @tinyloss.loss"
        )
    return _OfProducts(loss)


def memory(loss: Any, /, *arrays: Any, **options: Any) -> Memory:
    """Return how many bytes a call of a loss of products takes, without calling it.

    Of NumPy's arrays it is right to 5 %. Elsewhere a library's operations may take more.

    Parameters
    ----------
    loss
        A loss of products, or a function derived from one: `value_and_grad(loss, (0, 1))`.
    arrays, options
        What it would be called with. Of arrays only shape, dtype and library matter:
        `np.broadcast_to(np.float32(0), (131072, 4096))` takes no memory.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> h, w = (np.broadcast_to(np.float32(0), (n, 1024)) for n in (4096, 131072))
    >>> y = np.broadcast_to(0, (4096,))
    >>> both = tinyloss.value_and_grad(tinyloss.linear_cross_entropy, (0, 1))
    >>> takes = tinyloss.memory(both, h, w, y, max_memory=2**28)
    >>> takes.rows, takes.chunk // 2**20, takes.results // 2**20
    (456, 231, 528)
    """
    want: Want = getattr(loss, "want", Want(value=True))
    asked: Any = getattr(loss, "loss", loss)
    function = getattr(asked, "function", asked)
    if not isinstance(function, ProductFunction):
        raise TypeError(
            f"tinyloss.memory: got {loss!r}, expected a loss of products, as linear_cross_entropy, "
            "or a function derived from one"
        )
    request: Request = function.sized(asked.request(arrays, options))
    return memory_of(request, want._replace(argnums=function.places(request.x, want.argnums)))


def _describing(loss: Any) -> Any:
    """Return the function that describes a call of a loss of products."""
    title = f"of_products({getattr(loss, '__name__', None) or repr(loss)})"

    def describe(
        h: Array,
        w: Array,
        y: ArrayLike,
        *,
        bias: ArrayLike | None = None,
        scale: ArrayLike | None = None,
        class_axis: ClassAxis = 0,
        max_memory: MemoryLimit = None,
        **options: Any,
    ) -> Request:
        product = Product(h, w, bias, scale, class_axis, max_memory)
        request: Request = loss.request((product, y), options)
        if request.x is not product:
            raise TypeError(f"tinyloss.{title}: is no loss of scores, expected one")
        return request._replace(title=title)

    own = list(inspect.signature(describe, eval_str=True).parameters.values())[:-1]
    known = {each.name for each in own} | {"x", "y", "axis"}
    theirs = [
        each
        for each in inspect.signature(loss).parameters.values()
        if each.kind is each.KEYWORD_ONLY and each.name not in known
    ]
    describe.__name__ = describe.__qualname__ = title
    describe.__module__ = "tinyloss"
    describe.__doc__ = f"Return {title}: see `tinyloss.of_products`."
    named: Any = describe
    named.__signature__ = inspect.Signature([*own, *theirs])
    return named
