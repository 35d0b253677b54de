"""One truth about accuracy: what is tested, what docstrings promise, what was measured."""

import json

import pytest

from benchmarks.accuracy import OURS, RESULTS, N, read, results_by_name, row_of
from tests.support.dtypes import DTYPES
from tests.support.families import allowed
from tests.support.specs import BOUNDS, EXACT, UNMEASURED
from tinyloss.losses import public_losses

GRID = read(RESULTS)


@pytest.mark.parametrize("loss", EXACT)
def test_docstring_promises_a_bound_for_each_result(loss: str) -> None:
    exact, promised = EXACT[loss], BOUNDS[loss].promised
    results = {"value", *(exact.arguments if exact.target else ())}
    results |= {"curvature"} if exact.curved else set()
    assert promised.keys() == results
    assert all(each.eps <= 16 for each in promised.values())


def test_every_public_loss_is_measured_or_says_why_not() -> None:
    measured = {loss for loss, _, _, _ in GRID}
    assert not measured & UNMEASURED.keys()
    assert measured | UNMEASURED.keys() == {each.name for each in public_losses()}


def test_everything_was_measured() -> None:
    assert json.loads(RESULTS.read_text(encoding="utf-8"))["n"] == N
    for loss, exact in EXACT.items():
        if loss in UNMEASURED:
            continue
        results = {"value", *exact.gradients} | ({"curvature"} if exact.curved else set())
        for dtype in DTYPES:
            for name in ("numpy", "compiled", "jax.jit"):
                measured = {r for r in results_by_name(loss) if (loss, r, dtype, name) in GRID}
                assert results == measured, loss


def test_results_are_kept_as_they_were_measured() -> None:
    """One loss is measured anew beside those of the others."""
    written = json.loads(RESULTS.read_text(encoding="utf-8"))["cells"]
    assert [row_of(GRID[key]) for key in sorted(GRID)] == written


@pytest.mark.parametrize("loss", EXACT)
def test_measured_errors_are_within_the_bound(loss: str) -> None:
    ours = [cell for cell in GRID.values() if cell.loss == loss and cell.library in OURS]
    for cell in ours:
        assert not cell.misses, cell
        # The bounds of the focal losses grow with gamma, of which each family has its own.
        if cell.dtype in ("float32", "float64") and not BOUNDS[loss].promised["value"].per_gamma:
            assert cell.worst <= allowed(loss, cell.result, {}), cell
