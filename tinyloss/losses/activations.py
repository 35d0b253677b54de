"""The functions that stand beside the losses, as accurate as these."""

from math import log
from typing import Any, ClassVar

from tinyloss._arrays import namespace
from tinyloss._calls import explained
from tinyloss._engine.run import transform
from tinyloss._formula import Formula
from tinyloss.losses._numerics import sigmoids, softmax_parts
from tinyloss.losses._numerics import softplus as _softplus
from tinyloss.typing import Array

__all__ = ["log_sigmoid", "log_softmax", "logsumexp", "softmax", "softplus"]


class _LogSoftmaxPull(Formula):
    """The gradient by logits, g_c - p_c sum_k g_k, of the gradient g by logarithms y of p.

    Of a class that has more than half it is g_c (1 - p_c) less p_c times the sum of the others' g:
    nothing of g_c has to cancel.
    """

    name = "log_softmax"
    rowwise = True

    def __init__(self, x: Any, y: Any) -> None:
        self.xp, self.g, self.log_p = namespace(x), x, y

    def grad_x(self) -> Any:
        xp, g = self.xp, self.g
        p, top = xp.exp(self.log_p), self.log_p > -log(2)
        others = xp.sum(xp.where(top, 0.0, g), axis=-1, keepdims=True)
        every = others + xp.sum(xp.where(top, g, 0.0), axis=-1, keepdims=True)
        return xp.where(top, -g * xp.expm1(self.log_p) - p * others, g - p * every)


class _LogSoftmax(Formula):
    name = "log_softmax"
    rowwise = True
    per_item = False
    pulled_by: ClassVar[type[Formula] | None] = _LogSoftmaxPull

    def __init__(self, x: Any) -> None:
        self.x = x

    def value(self) -> Any:
        s = softmax_parts(self.x)
        return -(s.below + s.log_z)


@explained()
def log_softmax(x: Array, /, *, axis: int = -1) -> Any:
    """Return the logarithm of `softmax`, with all digits where one class is almost certain.

    Notes
    -----
    Shapes: x (..., C), or the classes along `axis`; the result alike.

    Domain: finite logits, and -inf for an impossible class; +inf and rows of -inf give NaN.

    Formula: x_c - log sum_k exp(x_k)

    Accuracy: value 4 eps.

    Source: Bridle, Probabilistic interpretation of feedforward classification network outputs,
    1990.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> print(tinyloss.log_softmax(np.array([20.0, 0.0], dtype=np.float32)))
    [-2.0611537e-09 -2.0000000e+01]
    """
    return transform(_LogSoftmax, x, axis)


class SoftmaxPull(Formula):
    """The gradient by logits, p_c (g_c - sum_k p_k g_k), of the gradient g by probabilities.

    Where a class has more than half, its g is what the others are compared with: what is left of
    the sum are the small probabilities' shares, and nothing cancels.
    """

    name = "softmax"
    rowwise = True

    def __init__(self, x: Any, y: Any) -> None:
        self.g, self.p = x, y

    def centred(self, g: Any) -> Any:
        """Return g less its mean by the probabilities."""
        xp = namespace(g)
        g = g - xp.sum(xp.where(self.p > 0.5, g, 0.0), axis=-1, keepdims=True)
        return g - xp.sum(self.p * g, axis=-1, keepdims=True)

    def grad_x(self) -> Any:
        return self.p * self.centred(self.g)


class _Softmax(_LogSoftmax):
    name = "softmax"
    pulled_by = SoftmaxPull

    def value(self) -> Any:
        s = softmax_parts(self.x)
        return s.e / s.z


@explained()
def softmax(x: Array, /, *, axis: int = -1) -> Any:
    """Return the probabilities of the classes with these logits.

    Notes
    -----
    Shapes: x (..., C), or the classes along `axis`; the result alike.

    Domain: finite logits, and -inf for an impossible class; +inf and rows of -inf give NaN.

    Formula: exp(x_c) / sum_k exp(x_k)

    Accuracy: value 4 eps.

    Source: Bridle, Probabilistic interpretation of feedforward classification network outputs,
    1990.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> tinyloss.softmax(np.array([0.0, 0.0])).tolist()
    [0.5, 0.5]
    """
    return transform(_Softmax, x, axis)


class _LogSumExp(_LogSoftmax):
    name = "logsumexp"
    per_item = True
    pulled_by = None

    def __init__(self, x: Any) -> None:
        self.xp = xp = namespace(x)
        self.m = m = xp.max(x, axis=-1, keepdims=True)
        # The limit where m is infinite: the classes there share it.
        limit = xp.where(x == m, xp.zeros_like(x), -xp.inf)
        self.s = softmax_parts(xp.where(xp.isinf(m), limit, x))

    def value(self) -> Any:
        xp, m = self.xp, self.m
        finite = xp.where(xp.isinf(m), 0.0, m) + self.s.log_z
        # A constant where no class is possible, so that autodiff gives 0 as well.
        return xp.where(m == -xp.inf, -xp.inf, xp.where(m == xp.inf, m, finite))[..., 0]

    def grad_x(self) -> Any:
        return self.xp.where(self.m == -self.xp.inf, 0.0, self.s.e / self.s.z)


@explained()
def logsumexp(x: Array, /, *, axis: int = -1) -> Any:
    """Return the logarithm of the sum of exponentials: a smooth maximum.

    Notes
    -----
    Shapes: x (..., C), or the classes along `axis`; the result has one dimension fewer.

    Domain: all real numbers and infinities.

    Formula: log sum_k exp(x_k)

    Gradient: softmax of x, with `jax.grad` and the like; 1 / k for each of k classes of +inf, and
    0 where all are -inf.

    Accuracy: value 2 eps of |max x| + log sum_k exp(x_k - max x), since the two may cancel.

    Source: Blanchard, Higham and Higham, Accurately computing the log-sum-exp and softmax
    functions, IMA J. Numer. Anal. 41, 2021.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> print(tinyloss.logsumexp(np.array([1000.0, 1000.0])).round(6))
    1000.693147
    """
    return transform(_LogSumExp, x, axis)


class _Softplus(Formula):
    name = "softplus"

    def __init__(self, x: Any) -> None:
        self.x = x

    def value(self) -> Any:
        return _softplus(self.x)

    def grad_x(self) -> Any:
        return sigmoids(self.x).plus

    def curvature(self) -> Any:
        s = sigmoids(self.x)
        return s.plus * s.minus


@explained()
def softplus(x: Array, /) -> Any:
    """Return the smooth positive part.

    Notes
    -----
    Shapes: x (...); the result alike.

    Domain: all real numbers and infinities.

    Formula: log(1 + exp(x))

    Accuracy: value 4 eps, in both tails.

    Source: Dugas et al., Incorporating second-order functional knowledge for better option
    pricing, NIPS 2000.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> print(tinyloss.softplus(np.array([-20.0, 0.0, 1000.0])))
    [2.06115362e-09 6.93147181e-01 1.00000000e+03]
    """
    return transform(_Softplus, x)


class _LogSigmoid(_Softplus):
    name = "log_sigmoid"

    def value(self) -> Any:
        return -_softplus(-self.x)

    def grad_x(self) -> Any:
        return sigmoids(self.x).minus

    def curvature(self) -> Any:
        return -super().curvature()


@explained()
def log_sigmoid(x: Array, /) -> Any:
    """Return the logarithm of the logistic function.

    Notes
    -----
    Shapes: x (...); the result alike.

    Domain: all real numbers and infinities.

    Formula: -log(1 + exp(-x))

    Accuracy: value 4 eps, in both tails.

    Source: Cox, The regression analysis of binary sequences, J. R. Statist. Soc. B 20, 1958.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> print(tinyloss.log_sigmoid(np.array([20.0, 0.0, -1000.0])))
    [-2.06115362e-09 -6.93147181e-01 -1.00000000e+03]
    """
    return transform(_LogSigmoid, x)
