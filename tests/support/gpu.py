"""What tests and benchmarks on a GPU share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np

import tinyloss
from tests.support.cases import anyloss
from tests.support.libraries import NumPyArray
from tests.support.specs import ACTIVATIONS, PAIRED, SPECS

FUNCTIONS = [each.__name__ for each in ACTIVATIONS]
LISTS = (1, 2, 7, 33, 200, 700, 1100)
"""Lengths of rows whose classes are compared: for each number of threads and blocks."""
ROWS = [n for n, spec in SPECS.items() if spec.definition.rowwise and n not in PAIRED]
CLASSES = (1, 2, 7, 100, 257, 1000, 5003, 32000, 50257, 131072, 262144)
"""Lengths of rows: each way to keep a row has some."""

HOLD_UP = r"""
extern "C" __global__ void hold_up(const long long nanoseconds) {
    long long begin, now;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(begin));
    do {
        asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
    } while (now - begin < nanoseconds);
}
"""


def hold_up(cupy: Any) -> Any:
    """Return a kernel that keeps a stream busy for so many nanoseconds."""
    return cupy.RawModule(code=HOLD_UP).get_function("hold_up")


def as_float64(array: NumPyArray) -> NumPyArray:
    """Return an array with its floats, of any dtype, in float64."""
    return array if array.dtype.kind == "i" else array.astype(np.float64)


@dataclass(frozen=True)
class Composed:
    """A loss that is more than one kernel, with ordinary arguments."""

    loss: Callable[..., Any]
    arrays: tuple[NumPyArray, ...]
    argnums: tuple[int, ...] = (0,)
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def answer(self, own: Callable[[NumPyArray], Any]) -> tuple[Any, ...]:
        """Return the value and the gradients of arrays that `own` makes of NumPy's."""
        step: Any = anyloss.value_and_grad(self.loss, self.argnums)
        value, gradients = step(*map(own, self.arrays), **self.options)
        return value, *gradients

    def check(self, got: Sequence[NumPyArray], eps: float = 2.0**-23) -> None:
        """Compare with NumPy in float64: other orders of sums differ by some eps of terms."""
        expected = self.answer(as_float64)
        for one, other in zip(got, expected, strict=True):
            size = float(np.max(np.abs(other)))
            np.testing.assert_allclose(one, other, rtol=32 * eps, atol=32 * eps * size)


def _composed() -> dict[str, Composed]:
    rng = np.random.default_rng(0)

    def drawn(*shape: int) -> NumPyArray:
        return rng.standard_normal(shape).astype(np.float32)

    rows, many = drawn(40, 300), drawn(3, 5003)
    ranks = rng.permuted(np.tile(np.arange(300, dtype=np.float32), (40, 1)), axis=1)
    labels, h, w = rng.integers(0, 300, 40), drawn(40, 64), drawn(300, 64)
    of_lists = (rows, ranks)
    events = (rng.random((40, 300)) < 0.6).astype(np.float32)
    signs, images = np.sign(rows), drawn(2, 5, 30, 40)
    times, text = drawn(4, 60, 12), rng.integers(1, 12, (4, 20))
    regions = rng.integers(0, 5, (2, 30, 40))
    speech, words = drawn(8, 500, 100), rng.integers(1, 100, (8, 100))
    counts = {"logit_lengths": [*range(500, 204, -37)], "label_lengths": [*range(100, 0, -13)]}
    of_logits = {"from_logits": "softmax"}
    return {
        "linear_cross_entropy": Composed(tinyloss.linear_cross_entropy, (h, w, labels), (0, 1)),
        "info_nce": Composed(tinyloss.info_nce, (h, drawn(40, 64)), (0, 1)),
        "siglip": Composed(tinyloss.siglip, (h, drawn(40, 64)), (0, 1)),
        "supcon": Composed(tinyloss.supcon, (h, labels % 4)),
        "vicreg": Composed(tinyloss.vicreg, (h, drawn(40, 64)), (0, 1)),
        "triplet_margin": Composed(
            tinyloss.triplet_margin, (h, drawn(40, 64), drawn(40, 64)), (0, 1, 2)
        ),
        "cosine_embedding": Composed(
            tinyloss.cosine_embedding, (h, drawn(40, 64), np.sign(drawn(40))), (0, 1)
        ),
        "arcface": Composed(tinyloss.arcface, (h, w, labels), (0, 1)),
        "listmle": Composed(tinyloss.listmle, of_lists),
        "listmle, long": Composed(tinyloss.listmle, (many, rng.permuted(many, axis=1))),
        "unique_softmax": Composed(tinyloss.unique_softmax, (rows, ranks % 5)),
        "cox_ph": Composed(tinyloss.cox_ph, (*of_lists, events)),
        "fenchel_young": Composed(tinyloss.fenchel_young, (rows, labels)),
        "entmax": Composed(
            tinyloss.fenchel_young, (rows, labels), options={"activation": "entmax15"}
        ),
        "lovasz_hinge": Composed(tinyloss.lovasz_hinge, (rows, signs)),
        "lovasz_softmax": Composed(tinyloss.lovasz_softmax, (images, regions), options=of_logits),
        "dice": Composed(tinyloss.dice, (images, regions), options=of_logits),
        "generalized_dice": Composed(
            tinyloss.generalized_dice, (images, regions), options=of_logits
        ),
        "crps_ensemble": Composed(tinyloss.crps_ensemble, (rows, drawn(40))),
        "ctc": Composed(tinyloss.ctc, (times, text)),
        "ctc, long": Composed(tinyloss.ctc, (speech, words)),
        "ctc, lengths": Composed(tinyloss.ctc, (speech, words), options=counts),
    }


COMPOSED = _composed()


def last_layer_of_halves() -> Composed:
    """A last layer of bfloat16."""
    rng = np.random.default_rng(0)
    h, w = (rng.standard_normal((n, 64)).astype(ml_dtypes.bfloat16) for n in (96, 1000))
    y = rng.integers(0, 1000, 96)
    return Composed(tinyloss.linear_cross_entropy, (h, w, y), (0, 1))


def assert_rounded_once(case: Composed, got: Sequence[NumPyArray]) -> None:
    """Compare gradients in bfloat16 with those of float64."""
    value, *grads = case.answer(as_float64)
    np.testing.assert_allclose(got[0], value, rtol=1e-5)
    for one, other in zip(got[1:], grads, strict=True):
        # half an eps of bfloat16, and 2^-17 of each term of a sum
        bound = 2.0**-8 * np.abs(other) + 2.0**-16 * np.max(np.abs(other))
        assert (np.abs(one.astype(np.float64) - other) <= bound).all()
