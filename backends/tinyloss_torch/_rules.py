"""A part of a loss, item by item, with its closed-form derivative.

A part is a loss's value, a gradient of it, or its curvature. torch, differentiating the lines of an
accurate value, would lose every digit in the tails. So the value's derivatives are the gradients,
and that of an item's gradient by x is the curvature. All others are differentiated line by line.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd import Function

from tinyloss.backend import ITEM, NUMBER, Kind
from tinyloss_torch import _kernels

Arrays = tuple[Any, ...]

_vjp: Any = torch.func.vjp


@dataclass(frozen=True)
class Part:
    """A part of a formula as a function of the arrays that it is computed from."""

    kind: Kind
    name: str
    """The formula's method."""
    names: tuple[str, ...]
    """The arrays' names, in their order."""
    numbers: Mapping[str, Any]

    def __call__(self, *arrays: Any) -> Any:
        """Return the part of each item by the formula's lines."""
        named = dict(zip(self.names, arrays, strict=True))
        formula = self.kind.formula(**named, **self.kind.static, **self.numbers)
        result = getattr(formula, self.name)()
        return result.clone() if any(result is array for array in arrays) else result

    def computed(self, *arrays: Any) -> Any:
        """Return the part of each item, by NumPy's kernel where the arrays' memory can be read."""
        result = _kernels.part(self.kind, self.name, self.names, self.numbers, arrays)
        return self(*arrays) if result is None else result

    def closed(self, name: str) -> "Part | None":
        """Return its derivative by an array, where that is a closed form too."""
        formula = self.kind.formula
        method = f"grad_{name}"
        if self.name == "grad_x":
            pointwise = formula.exact_curvature and not formula.rowwise
            method = "curvature" if pointwise and name == "x" else ""
        elif self.name != "value":
            return None
        if not hasattr(formula, method):
            return None
        return Part(self.kind, method, self.names, self.numbers)

    def reduces(self, name: str) -> bool:
        """Return whether a row has one number, and an array one for each class."""
        formula = self.kind.formula
        one_each = self.name == "value" and formula.rowwise and formula.per_item
        return one_each and self.kind.role(name).per_class

    def along(self, name: str, slope: Any, factor: Any) -> Any:
        """Return a derivative by an array times what an item's part is pulled by."""
        return slope * (factor[..., None] if self.reduces(name) else factor)

    def pulled(self, arrays: Arrays, needed: Arrays, upstream: Any, apply: Any) -> Arrays:
        """Return the derivatives by the needed arrays of what is pulled by `upstream`."""
        results: list[Any] = [None] * len(arrays)
        open_places: list[int] = []
        for place, (name, array) in enumerate(zip(self.names, arrays, strict=True)):
            if not needed[place]:
                continue
            closed = self.closed(name)
            if closed is None:
                open_places.append(place)
            else:
                slope = self.along(name, apply(closed, *arrays), upstream)
                results[place] = _summed_to(slope, array.shape)
        if open_places:
            _, pull = _vjp(self._of(open_places, arrays), *_at(open_places, arrays))
            for place, result in zip(open_places, pull(upstream), strict=True):
                results[place] = result
        return tuple(results)

    def pushed(self, arrays: Arrays, moves: Arrays, apply: Any) -> Any:
        """Return how the part moves where arrays move."""
        total: Any = None
        open_places: list[int] = []
        for place, (name, move) in enumerate(zip(self.names, moves, strict=True)):
            if move is None:
                continue
            closed = self.closed(name)
            if closed is None:
                open_places.append(place)
                continue
            share = apply(closed, *arrays) * move
            if self.reduces(name):
                share = share.sum(-1)
            total = share if total is None else total + share
        if open_places:
            share = _jvp(
                self._of(open_places, arrays), _at(open_places, arrays), _at(open_places, moves)
            )
            total = share if total is None else total + share
        return total

    def _of(self, places: list[int], arrays: Arrays) -> Callable[..., Any]:
        """Return the lines as a function of the arrays in these places."""

        def lines(*moving: Any) -> Any:
            whole = list(arrays)
            for place, array in zip(places, moving, strict=True):
                whole[place] = array
            return self(*whole)

        return lines


def _at(places: list[int], arrays: Arrays) -> Arrays:
    return tuple([arrays[place] for place in places])


def _jvp(function: Callable[..., Any], arrays: Arrays, moves: Arrays) -> Any:
    """Return a function's derivative along moves.

    By reverse mode twice: torch nests no forward mode in its own.
    """
    result, pull = _vjp(function, *arrays)
    _, push = _vjp(pull, torch.zeros_like(result))
    (along,) = push(moves)
    return along


def _summed_to(slope: Any, shape: Any) -> Any:
    """Return the sum over what an array was broadcast along."""
    return slope if slope.shape == shape else slope.sum_to_size(shape)


class Traced(Function):
    """A part with the rule for reverse mode, as torch.compile takes it.

    It refuses rules for forward mode. Where nothing is tracked it does not call `setup_context`,
    and leaves the context out if there is one argument more than `forward` has parameters.
    """

    @staticmethod
    def forward(*inputs: Any) -> Any:
        ctx, part, *arrays = inputs
        ctx.part = part
        ctx.save_for_backward(*arrays)
        return part(*arrays)

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> tuple[Any, ...]:
        # torch.compile differentiates once: by the lines, whose rules nobody asks for
        needed = ctx.needs_input_grad[1:]
        return None, *ctx.part.pulled(ctx.saved_tensors, needed, upstream, _by_lines)


class Eager(Function):
    """A part with the rules for all of torch's transformations."""

    @staticmethod
    def forward(part: Part, *arrays: Any) -> Any:
        return part.computed(*arrays)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.part = inputs[0]
        ctx.save_for_backward(*inputs[1:])
        ctx.save_for_forward(*inputs[1:])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> tuple[Any, ...]:
        needed = ctx.needs_input_grad[1:]
        if upstream is None:
            return None, *[None] * len(needed)
        return None, *ctx.part.pulled(ctx.saved_tensors, needed, upstream, part_of)

    @staticmethod
    def jvp(ctx: Any, _: Any, *moves: Any) -> Any:
        return ctx.part.pushed(ctx.saved_tensors, moves, part_of)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], part: Part, *arrays: Any) -> tuple[Any, int]:
        """Items of all members are items: what varies by item gets one dimension in front."""
        kind = part.kind
        rank = max([a.ndim - (d is not None) for a, d in zip(arrays, in_dims[1:], strict=True)])
        moved: list[Any] = []
        for name, array, dim in zip(part.names, arrays, in_dims[1:], strict=True):
            role = kind.role(name)
            if dim is None:
                lead = name in ("x", "y")
                moved.append(array.expand(info.batch_size, *array.shape) if lead else array)
                continue
            if kind.rowwise and role == NUMBER:
                return _one_by_one(info, in_dims, part, arrays), 0
            array = array.movedim(dim, 0)
            one_each = role.integer or (kind.rowwise and role == ITEM)
            missing = rank - one_each - array.ndim + 1
            moved.append(array.reshape(array.shape[0], *[1] * missing, *array.shape[1:]))
        return part_of(part, *moved), 0


def _one_by_one(info: Any, in_dims: tuple[Any, ...], part: Part, arrays: Arrays) -> Any:
    """Return the part of each member: a number for each does not broadcast to rows."""
    members = [
        [a if d is None else a.select(d, k) for a, d in zip(arrays, in_dims[1:], strict=True)]
        for k in range(info.batch_size)
    ]
    return torch.stack([part_of(part, *each) for each in members])


def _by_lines(part: Part, *arrays: Any) -> Any:
    return part(*arrays)


def part_of(part: Part, *arrays: Any) -> Any:
    """Return a part of each item."""
    rule: Any = Traced if torch.compiler.is_compiling() else Eager
    return rule.apply(part, *arrays)
