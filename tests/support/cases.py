"""Every loss with ordinary arguments, as the specs have it, for tests on many libraries."""

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import numpy as np
import pytest

import tinyloss
from tests.support.libraries import Library, NumPyArray
from tests.support.specs import ACTIVATIONS, SPECS, Spec

# For losses chosen at run time, whose parameters no type checker can follow.
anyloss: Any = tinyloss


@dataclass(frozen=True, eq=False)
class Case:
    """A loss with ordinary arguments: no kink, no infinity, every float exact in float32."""

    name: str
    loss: Any
    x: NumPyArray
    y: NumPyArray
    more: tuple[NumPyArray, ...] = ()
    """Further positional arrays."""
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    argnums: tuple[int, ...] = (0, 1)
    """The differentiable arguments."""

    @property
    def arrays(self) -> tuple[NumPyArray, ...]:
        return (self.x, self.y, *self.more)

    @property
    def items(self) -> tuple[int, ...]:
        axis = self.options.get("axis", -1)
        shape = self.x.shape
        if not self.rowwise:
            return shape
        return tuple(n for i, n in enumerate(shape) if i != axis % len(shape))

    @property
    def rowwise(self) -> bool:
        return SPECS[self.loss.__name__].definition.rowwise


def cases_of(spec: Spec) -> Iterator[Case]:
    """Yield the calls of a loss, with numbers that those of another do not change."""
    for n, each in enumerate(spec.calls):
        rng = np.random.default_rng([n, crc32(spec.name.encode())])
        x, y, *more = (drawn(rng) for drawn in each.arrays)
        labels = y.dtype.kind == "i"
        kind = [] if not spec.definition.rowwise else ["labels" if labels else "rows"]
        name = "-".join([spec.name, *kind, *each.options])
        argnums = (0,) if labels else (0, 1)
        yield Case(name, spec.function, x, y, tuple(more), each.options, argnums)


CASES = [case for spec in SPECS.values() for case in cases_of(spec)]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def _one_of_each_kind() -> list[Case]:
    names = ("mse", "cross_entropy-labels", "kl_div_with_logits-rows")
    return [case for case in CASES if case.name in names]


# A pointwise loss, one of class indices, one of rows: what every rule is tried with where trying
# it with every loss would take minutes of compiling.
FEW_CASES = _one_of_each_kind()


def in_pairs(
    pairs: list[tuple[str, Case]], long: Callable[[str, Case], bool] = lambda name, case: False
) -> pytest.MarkDecorator:
    """Parametrize a test by pairs of a library and a case, of which some are `long`."""
    params = [
        pytest.param(
            *(name, case),
            id=f"{name}-{case.name}",
            marks=pytest.mark.long if long(name, case) else (),
        )
        for name, case in pairs
    ]
    return pytest.mark.parametrize(("xp", "case"), params, indirect=["xp"])


def traits(case: Case) -> Hashable:
    """Return what the engine knows of a loss and its target: it treats alike what has the same."""
    request = case.loss.request(case.arrays, case.options)
    labels = case.y.dtype.kind == "i"
    of = request.labels if labels else request.formula
    return of.rowwise, of.compares_classes, of.binary, of.signed, labels, *sorted(request.arrays)


def in_turn(cases: Iterable[Case], turn: int) -> list[Case]:
    """Return a case of each kind that the engine knows, another in each turn."""
    kinds: dict[Hashable, list[Case]] = {}
    for case in cases:
        kinds.setdefault(traits(case), []).append(case)
    return [each[turn % len(each)] for each in kinds.values()]


def _marks(case: Case) -> Any:
    if case in FEW_CASES:
        return ()
    return pytest.mark.long if case in in_turn(CASES, 0) else pytest.mark.slow


# Under transformations each case is seconds of compiling. What these do is the same for all that
# the engine treats alike; that a loss itself runs on every library is test_libraries' business.
few_cases = pytest.mark.parametrize(
    "case", [pytest.param(case, id=case.name, marks=_marks(case)) for case in CASES]
)


every_activation = pytest.mark.parametrize("function", ACTIVATIONS, ids=lambda f: f.__name__)


def brought(xp: Library, case: Case, dtype: str | None) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arrays and options of a case as arrays of `xp`, floats in `dtype`."""

    def bring(value: Any) -> Any:
        if not isinstance(value, np.ndarray):
            return value
        return xp.asarray(value, {"f": dtype, "b": "bool"}.get(value.dtype.kind, "int32"))

    return tuple(map(bring, case.arrays)), {k: bring(v) for k, v in case.options.items()}


def in_doubles(case: Case) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of a case on NumPy, floating ones in float64."""
    return brought(Library("numpy"), case, "float64")


def answers(case: Case, few: bool = False) -> Callable[..., dict[str, Any]]:
    """Return a function that asks a loss for everything: one call, one trace, under `jax.jit`.

    With `few`, what the rest follows from by reductions that FEW_CASES try.
    """

    def ask(*arrays: Any, weight: Any, where: Any, **options: Any) -> dict[str, Any]:
        loss, chosen = case.loss, {"weight": weight, "where": where, **options}
        value, grads = anyloss.value_and_grad(loss, case.argnums)(*arrays, **options)
        parts = {
            "plain mean": loss(*arrays, **options),
            "mean": loss(*arrays, **chosen),
            "none": loss(*arrays, **chosen, reduction="none"),
            "value beside gradient": value,
            "gradient": grads,
            "gradient, curvature": anyloss.grad_and_hess(loss)(*arrays, **chosen),
        }
        if few:
            return parts
        of_sum, grads_of_sum = anyloss.value_and_grad(loss, case.argnums)(
            *arrays, **chosen, reduction="sum"
        )
        return parts | {
            "sum": loss(*arrays, **chosen, reduction="sum"),
            "value of sum beside gradient": of_sum,
            "gradient of sum": grads_of_sum,
            "gradient of mean": anyloss.grad(loss)(*arrays, **chosen),
        }

    return ask


def weight_and_mask(case: Case) -> tuple[NumPyArray, NumPyArray]:
    n = int(np.prod(case.items))
    weight = (np.arange(n) % 3 + np.float32(0.5)).astype(np.float32)
    return weight.reshape(case.items), (np.arange(n) % 4 != 1).reshape(case.items)


def in_numpy(case: Case) -> dict[str, Any]:
    """Return what NumPy answers in float64."""
    arrays, options = in_doubles(case)
    weight, where = weight_and_mask(case)
    result = answers(case)(*arrays, **options, weight=weight.astype(np.float64), where=where)
    assert isinstance(result, dict)
    return result
