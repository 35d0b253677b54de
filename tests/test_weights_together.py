"""Every combination of what weighs items: compiled as by the formulas, on tensors too."""

from collections.abc import Iterable
from itertools import combinations
from typing import Any

import numpy as np
import pytest

import tinyloss
import tinyloss_numpy
from tests.support.libraries import Library
from tests.support.params import covering

RNG = np.random.default_rng(0)
ROWS, CLASSES = 6, 4
X = RNG.normal(size=(ROWS, CLASSES)).astype(np.float32)
TARGETS: dict[str, Any] = {
    "labels": RNG.integers(0, CLASSES, ROWS),
    "probabilities": RNG.dirichlet(np.ones(CLASSES), ROWS).astype(np.float32),
}
OF_ROWS: dict[str, Any] = {
    "weight": RNG.random(ROWS).astype(np.float32),
    "where": np.arange(ROWS) % 3 != 1,
    "class_weight": (RNG.random(CLASSES) + 0.5).astype(np.float32),
    "ignore_index": 2,
    "label_smoothing": 0.1,
    "denominator": 3.5,
}
REDUCTIONS = ("mean", "sum", "none")


def subsets(names: Iterable[str]) -> list[tuple[str, ...]]:
    every = [*names]
    return [each for count in range(len(every) + 1) for each in combinations(every, count)]


COMBINATIONS = [
    (reduction, loss, target, names)
    for reduction in REDUCTIONS
    for loss in ("cross_entropy", "softmax_focal", "nll")
    for target in TARGETS
    for names in subsets(OF_ROWS)
    if not (target == "probabilities" and ("ignore_index" in names or loss == "nll"))
    and not (loss != "cross_entropy" and "label_smoothing" in names)
    and not (reduction != "mean" and "denominator" in names)
]


def rows(combined: list[Any], names: list[str]) -> list[Any]:
    """Return combinations as parameters: any two choices meet in the long run, all in the slow."""
    chosen = covering([(*each[:-1], *[name in each[-1] for name in names]) for each in combined])
    return [
        pytest.param(
            *each,
            id="-".join([*each[:-1], *each[-1]]),
            marks=pytest.mark.long if n in chosen else pytest.mark.slow,
        )
        for n, each in enumerate(combined)
    ]


EPS = 2.0**-23
"""Of float32. A loss, a weight and a sum of six are some roundings."""


def assert_compiled_as_by_the_formulas(
    xp: Library, loss: str, y: Any, weighing: dict[str, Any], reduction: str
) -> None:
    step: Any = tinyloss.value_and_grad(getattr(tinyloss, loss))
    with tinyloss_numpy.compilation("never"):
        expected = step(X, y, **weighing, reduction=reduction)

    def own(each: Any) -> Any:
        return xp.asarray(each) if isinstance(each, np.ndarray) else each

    arrays, options = [own(X), own(y)], {name: own(each) for name, each in weighing.items()}
    with tinyloss_numpy.compilation("always"):
        for _ in range(2):  # the second is answered as the first was
            got = step(*arrays, **options, reduction=reduction)
            for one, other in zip(got, expected, strict=True):
                np.testing.assert_allclose(xp.numpy(one), other, rtol=16 * EPS, atol=8 * EPS)


libraries = pytest.mark.parametrize("xp", ["numpy", "torch"], indirect=True)


@libraries
@pytest.mark.parametrize(("reduction", "loss", "target", "names"), rows(COMBINATIONS, [*OF_ROWS]))
@pytest.mark.heavy(8)
def test_rows_compiled_as_by_the_formulas(
    xp: Library, reduction: str, loss: str, target: str, names: tuple[str, ...]
) -> None:
    weighing = {name: OF_ROWS[name] for name in names}
    assert_compiled_as_by_the_formulas(xp, loss, TARGETS[target], weighing, reduction)


OF_ELEMENTS: dict[str, Any] = {
    "weight": RNG.random((ROWS, CLASSES)).astype(np.float32),
    "where": np.arange(ROWS * CLASSES).reshape(ROWS, CLASSES) % 3 != 1,
    "pos_weight": (RNG.random(CLASSES) + 0.5).astype(np.float32),
    "denominator": 3.5,
}
COMBINATIONS_OF_ELEMENTS = [
    (reduction, names)
    for reduction in REDUCTIONS
    for names in subsets(OF_ELEMENTS)
    if reduction == "mean" or "denominator" not in names
]


@libraries
@pytest.mark.parametrize(("reduction", "names"), rows(COMBINATIONS_OF_ELEMENTS, [*OF_ELEMENTS]))
def test_elements_compiled_as_by_the_formulas(
    xp: Library, reduction: str, names: tuple[str, ...]
) -> None:
    loss, y = "binary_cross_entropy_with_logits", (X > 0).astype(np.float32)
    weighing = {name: OF_ELEMENTS[name] for name in names}
    assert_compiled_as_by_the_formulas(xp, loss, y, weighing, reduction)
