"""Gradients in half precision: scaled before they are rounded, so that small ones do not vanish."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, ParamSpec

from tinyloss import _check
from tinyloss._arrays import astype, dtype_name, is_host, namespace
from tinyloss._calls import explained
from tinyloss._engine.job import Answer
from tinyloss._engine.registry import quiet
from tinyloss._engine.request import Want
from tinyloss._engine.run import narrowed
from tinyloss._function import Loss
from tinyloss._partial import mapped
from tinyloss._transforms import no_loss, numbers_of

P = ParamSpec("P")


class LossScaler(NamedTuple):
    """The scale of gradients in half precision, and how it follows them: a value, never changed.

    float16 has no number between 0 and 6e-8. A gradient below that is 0 there, and all that is
    computed from it. So the loss's gradient is multiplied by a large scale before it is rounded,
    and the parameters' gradients are divided by it in float32. A step whose gradients overflowed is
    left out. The scale grows where many steps in a row were finite, and shrinks where one was not.

    A tuple, so that JAX, Dask and pickle know what to do with it; under `jax.jit` it is traced.

    Parameters
    ----------
    scale
        What gradients are multiplied by: a power of 2, so that nothing is rounded.
    growth, backoff
        What the scale is multiplied by after interval finite steps, and after one that is not.
        1 and 1 keep it fixed.
    interval
        How many steps in a row have to be finite for the scale to grow.
    steps
        How many have been since it changed.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> scaler = tinyloss.LossScaler(scale=2.0**10)
    >>> x, y = np.array([1e-5], np.float16), np.array([0.0], np.float16)
    >>> value, gradient = scaler.value_and_grad(tinyloss.mse)(x, y)
    >>> gradient.dtype.name, round(float(scaler.unscaled(gradient)[0]), 7)
    ('float16', 2e-05)
    >>> scaler.updated(scaler.finite(gradient)).steps
    1
    >>> scaler.updated(scaler.finite(np.array([np.inf]))).scale
    512.0
    """

    scale: Any = 2.0**16
    growth: Any = 2.0
    backoff: Any = 0.5
    interval: Any = 2000
    steps: Any = 0

    @explained("; the arrays go to the function that it returns: scaler.value_and_grad(loss)(x, y)")
    def value_and_grad(
        self, loss: Loss[P], argnums: int | tuple[int, ...] = 0
    ) -> Callable[P, tuple[Any, Any]]:
        """Return a function that computes a loss, and its gradient times the scale.

        Multiplied before it is rounded to its argument's dtype. Losses that JAX or torch
        differentiates are multiplied by scale instead.
        """
        if isinstance(loss, type) or not hasattr(loss, "ask"):
            raise no_loss(loss)
        numbers, single = numbers_of(argnums)
        want = Want(value=True, argnums=numbers, wide=True)

        def scaled(*args: P.args, **kwargs: P.kwargs) -> tuple[Any, Any]:
            answer = loss.ask(want, *args, **kwargs)
            with quiet(namespace(args[0])):
                grads = tuple([grad * self._beside(grad) for grad in answer.grads])
                grads = narrowed(Answer(None, grads), want, args).grads
            return answer.value, grads[0] if single else grads

        return scaled

    def scaled(self, arrays: Any) -> Any:
        """Return arrays, or tuples, lists and dictionaries of them, times the scale.

        In float32 at least: that of float16 ends at 65504.
        """

        def times(array: Any) -> Any:
            return _wide(array) * self._beside(_wide(array))

        return mapped(times, arrays)

    def unscaled(self, arrays: Any) -> Any:
        """Return gradients divided by the scale, in float32 at least."""

        def divided(array: Any) -> Any:
            return _wide(array) / self._beside(_wide(array))

        return mapped(divided, arrays)

    def finite(self, arrays: Any) -> Any:
        """Return whether all numbers are finite, as a 0-d array where they are: nobody waits."""
        found: list[Any] = []

        def look(array: Any) -> Any:
            xp = namespace(array)
            found.append(xp.all(xp.isfinite(_wide(array))))
            return array

        mapped(look, arrays)
        if not found:
            raise ValueError("tinyloss.LossScaler: got no arrays to look at")
        result = found[0]
        for each in found[1:]:
            result = result & each
        return result

    def updated(self, finite: Any) -> LossScaler:
        """Return the scaler for the next step, after one whose gradients were finite or not.

        Of an array, which is not looked at, it holds arrays.
        """
        if is_host(finite):
            finite = bool(finite)
        steps = self.steps + 1
        grows = steps >= self.interval
        scale = _either(grows, self.scale * self.growth, self.scale)
        return self._replace(
            scale=_either(finite, scale, self.scale * self.backoff),
            steps=_either(finite, _either(grows, 0, steps), 0),
        )

    def chosen(self, finite: Any, new: Any, old: Any) -> Any:
        """Return the new parameters where a step was finite, else the old: nobody waits."""

        def either(one: Any, other: Any) -> Any:
            return namespace(one).where(finite, one, other)

        return mapped(either, new, old)

    def to_dict(self) -> dict[str, float]:
        """Return the state as Python's numbers, to be kept with a checkpoint."""
        return {name: float(value) for name, value in self._asdict().items()}

    @classmethod
    def from_dict(cls, state: Mapping[str, float]) -> LossScaler:
        """Return the scaler of a state."""
        if {*state} != {*cls._fields}:
            raise ValueError(
                f"tinyloss.LossScaler: the state has {', '.join(map(repr, state)) or 'nothing'}, "
                f"expected {', '.join(map(repr, cls._fields))}"
            )
        checked = {n: _check.number("LossScaler", n, value) for n, value in state.items()}
        return cls(**checked | {n: int(checked[n]) for n in ("interval", "steps")})

    def _beside(self, array: Any) -> Any:
        """Return the scale as it multiplies an array without changing its dtype."""
        if isinstance(self.scale, (int, float)):
            return self.scale
        return astype(namespace(array), self.scale, array.dtype)


def _wide(array: Any) -> Any:
    """Return an array in float32 at least."""
    xp = namespace(array)
    return array if dtype_name(array.dtype) == "float64" else astype(xp, array, xp.float32)


def _either(condition: Any, one: Any, other: Any) -> Any:
    """Return one of two numbers; an array of one where the condition is an array."""
    if isinstance(condition, bool):
        return one if condition else other
    return namespace(condition).where(condition, one, other)
