"""The Hessian of a loss times a direction, as the gradient of another formula."""

from collections.abc import Hashable, Mapping
from typing import Any

from tinyloss._arrays import dtype_name, namespace
from tinyloss._cache import cache_of
from tinyloss._formula import NUMBER, Formula, Role, exact
from tinyloss.compiler.derivative import differentiate
from tinyloss.compiler.evaluation import run
from tinyloss.compiler.program import Program
from tinyloss.compiler.recorder import Symbol, record


def hessian_times(own: type[Formula]) -> type[Formula]:
    """Return a formula whose gradient by x is the Hessian of a formula times `direction`.

    So weights, means, axes and half precision are the engine's, and every backend compiles it.
    """
    made: type[Formula] = cache_of(own, "hessian").made((), lambda: _formula_of(own))
    return made


def _formula_of(own: type[Formula]) -> type[Formula]:
    class HessianTimes(own):  # type: ignore[misc, valid-type]
        exact_curvature = False

        def __init__(self, x: Any, y: Any, *, direction: Any, **others: Any) -> None:
            init: Any = super().__init__  # each formula's own
            init(x, y, **others)
            self._direction = direction
            self._given = {"x": x, "y": y, **others}

        def grad_x(self) -> Any:
            if not own.rowwise:  # no element moves another's gradient
                return super().curvature() * self._direction
            return along_of_rows(own, {**self._given, "direction": self._direction})

    return HessianTimes


def along_of_rows(own: Any, given: Mapping[str, Any]) -> Any:
    """Return the gradient of a row's slope along the direction, by reverse mode."""
    x = given["x"]
    inputs: dict[str, Role] = {}
    static: dict[str, Any] = {}
    for name, value in given.items():
        array = hasattr(value, "dtype") or isinstance(value, Symbol)
        if name in ("x", "y", "direction") or name in own.roles:
            inputs[name] = own.role(name)
        elif array or (isinstance(value, float) and not own.steady):
            inputs[name] = NUMBER
        else:
            static[name] = value

    def slope(*, direction: Any, **arrays: Any) -> Any:
        moved = own(**arrays, **static).grad_x() * direction
        return namespace(moved).sum(moved, axis=-1)

    dtype = dtype_name(x.dtype)
    key: Hashable = (tuple(inputs.items()), exact(tuple(static.items())), dtype)
    program: Program = cache_of(own, "slope").made(
        key, lambda: differentiate(record(slope, inputs, dtype=dtype), "x")
    )
    return run(program, namespace(x), {name: given[name] for name in inputs})[0]
