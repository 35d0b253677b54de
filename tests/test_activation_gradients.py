"""Derivatives of softmax and what stands beside it, by the libraries' own autodiff."""

from typing import Any

import numpy as np
import pytest

import tinyloss
from tests.support.libraries import Library

INF = np.inf
# Rows whose gradient of logsumexp is settled, with it: softmax and its limits.
ROWS = [
    ([0.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3]),
    ([0.0, -INF, 0.0], [0.5, 0, 0.5]),
    ([-INF, -INF, -INF], [0, 0, 0]),
    ([INF, 1.0, -INF], [1, 0, 0]),
    ([INF, INF, 3e38], [0.5, 0.5, 0]),
    ([3e38, -3e38, 0.0], [1, 0, 0]),
    ([40.0, 0.0, 0.0], [1, 4.248354255291589e-18, 4.248354255291589e-18]),
]


def _slope(library: str, function: Any, x: Any, request: pytest.FixtureRequest) -> Any:
    """Return the gradient of the sum of a function's values."""
    lib = request.getfixturevalue(library)
    if library == "jax":
        return np.asarray(lib.grad(lambda x: function(x).sum())(lib.numpy.asarray(x)))
    leaf = lib.asarray(x.copy()).requires_grad_()
    function(leaf).sum().backward()
    return leaf.grad.numpy()


by_library = pytest.mark.parametrize("library", ["jax", "torch"])


@by_library
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_gradient_of_logsumexp_is_softmax_and_its_limit(
    library: str, dtype: Any, request: pytest.FixtureRequest
) -> None:
    x, expected = (np.array(each) for each in zip(*ROWS, strict=True))
    x = x.astype(dtype)
    got = _slope(library, tinyloss.logsumexp, x, request)
    np.testing.assert_allclose(got, expected, rtol=4 * float(np.finfo(dtype).eps), atol=0)


def test_the_value_of_logsumexp_at_infinities(xp: Library) -> None:
    x = xp.asarray(np.array([row for row, _ in ROWS]))
    got = xp.numpy(xp.call(tinyloss.logsumexp, x))
    expected = [np.log(3), np.log(2), -INF, INF, INF, 3e38, 40]
    np.testing.assert_allclose(got, expected, rtol=3e-7)


@by_library
def test_softplus_and_log_sigmoid_have_sigmoids_as_gradients(
    library: str, request: pytest.FixtureRequest
) -> None:
    x = np.array([-INF, -700.0, -40.0, -1.0, 0.0, 1.0, 40.0, 700.0, INF])
    rising = np.array([0, 9.859676543759770e-305, 4.248354255291589e-18, 0.2689414213699951, 0.5,
                       0.7310585786300049, 1, 1, 1])  # fmt: skip
    for function, expected in ((tinyloss.softplus, rising), (tinyloss.log_sigmoid, rising[::-1])):
        got = _slope(library, function, x, request)
        np.testing.assert_allclose(got, expected, rtol=4 * 2.0**-52, atol=0)


def test_softplus_has_its_curvature(jax: Any) -> None:
    x = jax.numpy.asarray([-700.0, -40.0, 0.0, 40.0])
    expected = [9.859676543759770e-305, 4.248354255291589e-18, 0.25, 4.248354255291589e-18]
    for function, sign in ((tinyloss.softplus, 1), (tinyloss.log_sigmoid, -1)):
        got = jax.vmap(jax.grad(jax.grad(function)))(x)
        np.testing.assert_allclose(sign * got, expected, rtol=8 * 2.0**-52)


@by_library
def test_softmax_and_its_logarithm_have_finite_gradients(
    library: str, request: pytest.FixtureRequest
) -> None:
    """Of one class's probability: p_0 (1 - p_0) and -p_0 p_c; of its logarithm 1 - p_0 and -p_c."""
    x = np.array([[1.0, 2.0, -INF, 2.0], [90.0, 0.0, -90.0, 1.0], [1e300, -1e300, 0.0, 0.0]])
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    p = e / e.sum(axis=-1, keepdims=True)
    first = np.array([1.0, 0, 0, 0])
    got = _slope(library, lambda x: tinyloss.softmax(x)[:, 0], x, request)
    np.testing.assert_allclose(got, p[:, :1] * (first - p), rtol=1e-13, atol=4 * 2.0**-52)
    got = _slope(library, lambda x: tinyloss.log_softmax(x)[:, 0], x, request)
    np.testing.assert_allclose(got, first - p, rtol=1e-13, atol=4 * 2.0**-52)
