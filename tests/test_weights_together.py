"""Every combination of what weighs items: compiled as by the formulas, on tensors too."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest

import tinyloss
import tinyloss_numpy
from tests.support.libraries import Library

RNG = np.random.default_rng(0)
ROWS, CLASSES = 6, 4
X = RNG.normal(size=(ROWS, CLASSES)).astype(np.float32)
TARGETS: dict[str, Any] = {
    "labels": RNG.integers(0, CLASSES, ROWS),
    "probabilities": RNG.dirichlet(np.ones(CLASSES), ROWS).astype(np.float32),
}
ARRAYS: dict[str, Any] = {
    "weight": RNG.random(ROWS).astype(np.float32),
    "where": np.arange(ROWS) % 3 != 1,
    "class_weight": (RNG.random(CLASSES) + 0.5).astype(np.float32),
}
NUMBERS: dict[str, Any] = {"ignore_index": 2, "label_smoothing": 0.1, "denominator": 3.5}
NAMES = [*ARRAYS, *NUMBERS]
COMBINATIONS = [
    (loss, target, names)
    for loss in ("cross_entropy", "softmax_focal", "nll")
    for target in TARGETS
    for count in range(len(NAMES) + 1)
    for names in combinations(NAMES, count)
    if not (target == "probabilities" and ("ignore_index" in names or loss == "nll"))
    and not (loss != "cross_entropy" and "label_smoothing" in names)
]


EPS = 2.0**-23
"""Of float32. A loss, a weight and a sum of six are some roundings."""


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(
    ("loss", "target", "names"),
    [
        pytest.param(
            *each,
            id="-".join([*each[:2], *each[2]]),
            marks=pytest.mark.slow if n % 12 else pytest.mark.long,
        )
        for n, each in enumerate(COMBINATIONS)
    ],
)
@pytest.mark.parametrize("xp", ["numpy", "torch"], indirect=True)
def test_compiled_as_by_the_formulas(
    xp: Library, loss: str, target: str, names: tuple[str, ...], reduction: str
) -> None:
    step: Any = tinyloss.value_and_grad(getattr(tinyloss, loss))
    options = {name: NUMBERS[name] for name in names if name in NUMBERS}
    if reduction != "mean":  # which alone has one
        options.pop("denominator", None)
    arrays = {name: ARRAYS[name] for name in names if name in ARRAYS}
    with tinyloss_numpy.compilation("never"):
        expected = step(X, TARGETS[target], **arrays, **options, reduction=reduction)
    own = {name: xp.asarray(each) for name, each in arrays.items()}
    x, y = xp.asarray(X), xp.asarray(TARGETS[target])
    with tinyloss_numpy.compilation("always"):
        for _ in range(2):  # the second is answered as the first was
            got = step(x, y, **own, **options, reduction=reduction)
            for one, other in zip(got, expected, strict=True):
                np.testing.assert_allclose(xp.numpy(one), other, rtol=16 * EPS, atol=8 * EPS)


ELEMENTS: dict[str, Any] = {
    "weight": RNG.random((ROWS, CLASSES)).astype(np.float32),
    "where": np.arange(ROWS * CLASSES).reshape(ROWS, CLASSES) % 3 != 1,
    "pos_weight": (RNG.random(CLASSES) + 0.5).astype(np.float32),
}
OF_ELEMENTS = [
    names
    for count in range(5)
    for names in combinations([*ELEMENTS, "denominator"], count)
    if "pos_weight" in names or count < 3
]


@pytest.mark.long
@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("names", OF_ELEMENTS, ids="-".join)
@pytest.mark.parametrize("xp", ["numpy", "torch"], indirect=True)
def test_elements_compiled_as_by_the_formulas(
    xp: Library, names: tuple[str, ...], reduction: str
) -> None:
    step: Any = tinyloss.value_and_grad(tinyloss.binary_cross_entropy_with_logits)
    options = {"denominator": 3.5} if "denominator" in names and reduction == "mean" else {}
    arrays = {name: ELEMENTS[name] for name in names if name in ELEMENTS}
    y = (X > 0).astype(np.float32)
    with tinyloss_numpy.compilation("never"):
        expected = step(X, y, **arrays, **options, reduction=reduction)
    own = {name: xp.asarray(each) for name, each in arrays.items()}
    with tinyloss_numpy.compilation("always"):
        for _ in range(2):
            got = step(xp.asarray(X), xp.asarray(y), **own, **options, reduction=reduction)
            for one, other in zip(got, expected, strict=True):
                np.testing.assert_allclose(xp.numpy(one), other, rtol=16 * EPS, atol=8 * EPS)
