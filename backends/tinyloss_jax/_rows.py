"""Reductions over the classes, wherever these are."""

from collections.abc import Sequence
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from tinyloss.backend import PAIRS, OfPairs, Rows, of_rank


class WholeRows(Rows):
    """Rows that lie in one array, on one device or spread over many."""

    def index(self) -> Any:
        """Return the index of each class."""
        return of_rank(jnp, super().index(), self.x.ndim)

    def over_pairs(
        self, function: OfPairs, own: Sequence[Any], other: Sequence[Any]
    ) -> tuple[Any, ...]:
        """Return sums over the other class of each pair, block after block in one loop."""
        count = self.x.shape[-1]
        step = max(1, PAIRS // self.x.size)
        if step >= count:
            return super().over_pairs(function, own, other)
        there = [each[..., None, :] for each in other]

        def block(number: Any) -> tuple[Any, ...]:
            # the last one goes over some classes again
            first = jnp.minimum(number * step, count - step)
            here = [
                lax.dynamic_slice_in_dim(each, first, step, -1) if each.shape[-1] == count else each
                for each in own
            ]
            found = function([each[..., None] for each in here], there)
            return tuple([jnp.sum(each, axis=-1) for each in found])

        blocks = -(-count // step)
        begun = (blocks - 1) * step
        return tuple(
            [
                jnp.concatenate(
                    [
                        jnp.moveaxis(each[:-1], 0, -2).reshape(*each.shape[1:-1], begun),
                        each[-1, ..., begun - count :],
                    ],
                    axis=-1,
                )
                for each in lax.map(jax.checkpoint(block), jnp.arange(blocks))
            ]
        )

    def pick(self, values: Any, index: Any) -> Any:
        """Return each row's value at one class: gathered, which reads one number of the row."""
        if _is_split(self.x):
            return super().pick(values, index)
        inside = jnp.clip(index, 0, self.x.shape[-1] - 1)
        return _gathered(jnp.broadcast_to(values, self.x.shape), inside)


class SplitRows(Rows):
    """Rows whose classes the members of a mapped axis have a part of each, in order."""

    def __init__(self, x: Any, axis_name: Any) -> None:
        super().__init__(jnp, x)
        self.axis_name = axis_name
        names = axis_name if isinstance(axis_name, tuple) else (axis_name,)
        self.members = prod([int(lax.axis_size(name)) for name in names])
        self.first = lax.axis_index(axis_name) * x.shape[-1]

    def length(self) -> int:
        """Return the number of classes of all members."""
        return int(self.x.shape[-1]) * self.members

    def index(self) -> Any:
        """Return the index of each of this member's classes among all."""
        return self.first + of_rank(jnp, super().index(), self.x.ndim)

    def sum(self, values: Any) -> Any:
        """Return the sum over the classes of all members."""
        return lax.psum(super().sum(values), self.axis_name)

    def max(self, values: Any) -> Any:
        """Return the maximum over the classes of all members."""
        return _largest(values, self.axis_name)

    def pick(self, values: Any, index: Any) -> Any:
        """Return each row's value at one class, from the member that has it."""
        at = index - self.first
        inside = jnp.clip(at, 0, self.x.shape[-1] - 1)
        value = _gathered(jnp.broadcast_to(values, self.x.shape), inside)
        return lax.psum(jnp.where(at == inside, value, 0), self.axis_name)

    def take(self, per_class: Any, labels: Any) -> Any:
        """Return for each label its class's entry of an array split as the classes are."""
        row = jnp.broadcast_to(per_class, (*labels.shape, *per_class.shape))
        return SplitRows(row, self.axis_name).pick(row, labels[..., None])[..., 0]


def _gathered(values: Any, index: Any) -> Any:
    return jnp.take_along_axis(values, index, axis=-1, mode="promise_in_bounds")


def _is_split(x: Any) -> bool:
    """Return whether the type of x says that its classes are spread over devices.

    Along such an axis nothing can be gathered. Where only the compiler knows of the spread, it
    splits the gather by itself.
    """
    spec = jax.typeof(x).sharding.spec
    return len(spec) == x.ndim and spec[-1] is not None


def _max_of_all(values: Any, axis_name: Any) -> Any:
    return lax.pmax(jnp.max(values, axis=-1, keepdims=True), axis_name)


def _largest_rule(axis_name: Any, primals: Any, tangents: Any) -> tuple[Any, Any]:
    """JAX has none for pmax. As its own for max: the mean over the largest."""
    (values,), (slope,) = primals, tangents
    largest = _largest(values, axis_name)
    top = values == largest
    count = lax.psum(jnp.sum(top, axis=-1, keepdims=True, dtype=values.dtype), axis_name)
    total = lax.psum(jnp.sum(jnp.where(top, slope, 0), axis=-1, keepdims=True), axis_name)
    return largest, total / count


_largest: Any = jax.custom_jvp(_max_of_all, nondiff_argnums=(1,))
_largest.defjvp(_largest_rule)
