"""One truth about accuracy: what is tested, what docstrings promise, what was measured."""

import inspect
import json
import re

import pytest

import tinyloss
from benchmarks.accuracy import NAMES, OURS, RESULTS, bound_text, read
from tests.support.dtypes import DTYPES
from tests.support.families import allowed
from tests.support.specs import BOUNDS, EXACT

GRID = read(RESULTS)


def promise(loss: str) -> str:
    """Return the sentence that a docstring's "Accuracy" begins with."""

    def eps(result: str) -> str:
        text = bound_text(loss, result).replace("γ", " gamma")
        return "exact" if text == "0" else f"{text} eps"

    exact = EXACT[loss]
    if not exact.target:
        return f"value {eps('value')}"
    arguments: dict[str, list[str]] = {}
    for argument in exact.gradients:
        arguments.setdefault(eps(argument), []).append(argument)
    gradient = ", ".join(
        [
            bound + (f" by {' and '.join(names)}" if len(arguments) > 1 else "")
            for bound, names in arguments.items()
        ]
    )
    return f"value {eps('value')}; gradient {gradient}; curvature {eps('curvature')}"


@pytest.mark.parametrize("loss", EXACT)
def test_docstring_promises_what_is_tested(loss: str) -> None:
    documentation = inspect.getdoc(getattr(tinyloss, loss)) or ""
    section = re.search(r"^Accuracy: (.*?)\n\n", documentation, re.MULTILINE | re.DOTALL)
    assert section is not None
    said = " ".join(section[1].split())
    assert said.startswith(promise(loss)), f"expected {promise(loss)!r}"


def test_everything_was_measured() -> None:
    assert json.loads(RESULTS.read_text(encoding="utf-8"))["n"] == 120
    for loss, exact in EXACT.items():
        results = {"value", *exact.gradients, "curvature"} if exact.target else {"value"}
        for dtype in DTYPES:
            for name in ("numpy", "compiled", "jax.jit"):
                assert results == {r for r in NAMES if (loss, r, dtype, name) in GRID}, loss


@pytest.mark.parametrize("loss", EXACT)
def test_measured_errors_are_within_the_bound(loss: str) -> None:
    ours = [cell for cell in GRID.values() if cell.loss == loss and cell.library in OURS]
    for cell in ours:
        assert not cell.misses, cell
        # The bounds of the focal losses grow with gamma, of which each family has its own.
        if cell.dtype in ("float32", "float64") and not BOUNDS[loss].per_gamma:
            assert cell.worst <= allowed(loss, cell.result, {}), cell
