"""Random formulas: eager, compiled, traced and on other libraries alike, slopes by differences.

A formula is drawn as a tree, whose leaves are arrays of the classes, numbers of the row with and
without a kept dimension, class indices, labels, parameters and the number of classes.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinyloss
import tinyloss_numpy

N, C = 3, 4
Term = Callable[[dict[str, Any]], Any]
"""A part of a formula, of what the formula is given."""


class Draw:
    """A random formula; `kind` is "elements", "rows" or "labels"."""

    def __init__(self, seed: int, kind: str) -> None:
        self.rng, self.kind = np.random.default_rng(seed), kind
        self.y = self.rng.integers(0, C, N) if kind == "labels" else self.rng.normal(size=(N, C))
        self.x = self.rng.normal(size=(N, C))
        self.q = float(self.rng.uniform(0.5, 2))
        body = self.of_classes(4) if kind == "elements" else self.of_row(5)

        def formula(x: Any, y: Any, *, q: float) -> Any:
            return body({"xp": tinyloss.namespace(x), "x": x, "y": y, "q": q})

        self.formula = formula
        self.loss: Any = tinyloss.loss(rowwise=kind != "elements", labels=kind == "labels")(formula)

    def pick(self, *choices: Any) -> Any:
        return choices[int(self.rng.integers(len(choices)))]

    def of_classes(self, depth: int) -> Term:
        """Draw an array of the shape of x."""
        if depth == 0 or self.rng.random() < 0.1:
            return self._leaf()
        a, b = self.of_classes(depth - 1), self.of_classes(depth - 1)
        row = None if self.kind == "elements" else self.of_row(depth - 1, kept=True)
        second = b if row is None else self.pick(b, row)
        return self._operation(a, second)

    def of_row(self, depth: int, kept: bool = False) -> Term:
        """Draw a number of the row, with a kept dimension or without."""
        if depth > 2 and self.rng.random() < 0.4:
            return self._operation(self.of_row(depth - 2, kept), self.of_row(depth - 1, kept))
        # a reduction of what varies by class, or of a number of the row beside a flat array
        a = self.of_classes(max(depth - 1, 0))
        how = self.pick("sum", "sum", "max", "mean", "end")
        if how == "end":
            index = self.pick(0, -1)
            return lambda g: a(g)[..., index][..., None] if kept else a(g)[..., index]
        drop = not kept and self.rng.random() < 0.3
        keepdims = kept or drop

        def reduced(g: dict[str, Any]) -> Any:
            result = getattr(g["xp"], how)(a(g), axis=-1, keepdims=keepdims)
            return result[..., 0] if drop else result

        return self._scaled(reduced)

    def _leaf(self) -> Term:
        leaves: list[Term] = [lambda g: g["x"], lambda g: g["x"] * g["q"]]
        if self.kind == "labels":
            leaves.append(
                lambda g: g["xp"].where(
                    g["y"][..., None] == g["xp"].arange(g["x"].shape[-1]), g["x"], 0.0
                )
            )
        else:
            leaves.append(lambda g: g["y"])
        if self.kind != "elements":
            leaves += [
                lambda g: g["xp"].zeros_like(g["x"]),
                lambda g: g["x"] / g["x"].shape[-1],
            ]
        return self.pick(*leaves)  # type: ignore[no-any-return]

    def _scaled(self, a: Term) -> Term:
        scaled: list[Term] = [
            a,
            lambda g: a(g) / g["q"],
            lambda g: a(g) / g["x"].shape[-1],
            lambda g: (g["x"].shape[-1] - 0.5) * a(g),
        ]
        return self.pick(*scaled)  # type: ignore[no-any-return]

    def _operation(self, a: Term, b: Term) -> Term:
        """Draw an operation that is smooth and neither overflows nor meets a pole."""
        c = float(self.rng.uniform(-1, 1))
        operations: list[Term] = [
            lambda g: a(g) + b(g),
            lambda g: a(g) - c * b(g),
            lambda g: g["xp"].tanh(a(g)) * b(g),
            lambda g: a(g) / (1.5 + g["xp"].sin(b(g))),
            lambda g: g["xp"].exp(g["xp"].tanh(a(g))) - b(g),
            lambda g: g["xp"].log(1.5 + g["xp"].cos(a(g))) + b(g),
            lambda g: g["xp"].sqrt(1 + b(g) ** 2) - a(g),
            lambda g: g["xp"].where(a(g) + b(g) > c, g["xp"].sin(a(g)), g["xp"].cos(b(g))),
            lambda g: g["xp"].maximum(a(g), b(g) + c),
            lambda g: g["xp"].astype(b(g) > c, b(g).dtype) * a(g) + g["xp"].tanh(b(g)),
        ]
        return self.pick(*operations)  # type: ignore[no-any-return]

    def value_and_slope(self) -> tuple[Any, Any]:
        """Return the values, and the slope of their sum by differences, in long doubles."""
        x = self.x.astype(np.longdouble)
        y = self.y if self.kind == "labels" else self.y.astype(np.longdouble)
        slope, step = np.zeros((N, C)), np.longdouble(2.0) ** -18
        for index in np.ndindex(N, C):
            ends = []
            for sign in (1, -1):
                moved = x.copy()
                moved[index] += sign * step
                ends.append(self.formula(moved, y, q=self.q).sum())
            slope[index] = (ends[0] - ends[1]) / (2 * step)
        return self.formula(x, y, q=self.q).astype(float), slope

    def ask(self, asarray: Any = np.asarray, through: Any = lambda f: f) -> tuple[Any, Any]:
        """Return the values and the gradient that tinyloss gives."""
        derive: Any = tinyloss.value_and_grad(self.loss)
        ask = through(lambda x, y: derive(x, y, q=self.q, reduction="none"))
        value, slope = ask(asarray(self.x), asarray(self.y))
        return np.asarray(value, float), np.asarray(slope, float)


def _close(got: tuple[Any, Any], expected: tuple[Any, Any], tolerance: float) -> None:
    for one, other in zip(got, expected, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * (1 + np.abs(other).max()))


KINDS = ["elements", "rows", "labels"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(40))
def test_value_and_gradient_by_formulas_are_those_of_the_function(kind: str, seed: int) -> None:
    drawn = Draw(seed, kind)
    with tinyloss_numpy.compilation("never"):
        # differences with step h = 2^-18 are h^2 = 1.5e-11 off, times a third derivative
        _close(drawn.ask(), drawn.value_and_slope(), 1e-7)


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "seed",
    # The first three draw each operation and each leaf.
    [pytest.param(seed, marks=pytest.mark.slow if seed >= 8 else ()) for seed in range(30)],
)
@pytest.mark.heavy(8)
def test_every_way_gives_the_same(kind: str, seed: int) -> None:
    drawn = Draw(seed, kind)
    with tinyloss_numpy.compilation("never"):
        expected = drawn.ask()
    with tinyloss_numpy.compilation("always"):
        # some tens of operations, each of which may double an error
        _close(drawn.ask(), expected, 2.0**-52 * 2**10)
    torch = pytest.importorskip("torch")
    _close(drawn.ask(torch.asarray), expected, 2.0**-52 * 2**10)
    jax = pytest.importorskip("jax")
    _close(drawn.ask(jax.numpy.asarray, jax.jit), expected, 2.0**-24 * 2**10)
