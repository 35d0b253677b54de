"""The loss that CONTRIBUTING.md walks through is as good as those that ship; its backend runs."""

import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tinyloss
from tests import exact, families, test_golden
from tinyloss._engine import registry as _backends
from tinyloss.losses import classes as _classes
from tinyloss.losses import regression as _regression

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")


def block(start: str) -> str:
    """Return the Python block of CONTRIBUTING.md that starts so."""
    found = re.search(rf"^```python\n({re.escape(start)}.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    assert found is not None, start
    return found[1]


@pytest.fixture
def charbonnier(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Carry out what CONTRIBUTING.md says."""
    module = dict(vars(_regression))
    exec(block("class _Charbonnier"), module)
    definition = dict(vars(exact))
    exec(block("def _charbonnier"), definition)
    for line in (
        '`"charbonnier": _pointwise(_charbonnier)`',
        '`"charbonnier": Bound(2, 3, 8)`',
        '`"charbonnier": _REGRESSION`',
    ):
        assert line in TEXT
    entry = exact._pointwise(definition["_charbonnier"])
    monkeypatch.setitem(exact.EXACT, "charbonnier", entry)
    monkeypatch.setitem(families.BOUNDS, "charbonnier", families.Bound(2, 3, 8))
    monkeypatch.setitem(families._FAMILIES, "charbonnier", families._REGRESSION)
    monkeypatch.setattr(tinyloss, "charbonnier", module["charbonnier"], raising=False)
    return module["charbonnier"]


@pytest.mark.parametrize("dtype", families.DTYPES)
@pytest.mark.parametrize("family", families._REGRESSION)
def test_it_is_as_accurate_as_it_promises(charbonnier: Any, dtype: str, family: str) -> None:
    assert charbonnier.__name__ == "charbonnier"
    test_golden.test_every_result_is_within_the_bound_of_its_loss("charbonnier", dtype, family)


def test_its_class_has_its_parameters(charbonnier: Any) -> None:
    module = vars(_classes) | {"charbonnier": charbonnier}
    exec(block("class CharbonnierLoss"), module)
    loss = module["CharbonnierLoss"](eps=4.0)
    assert repr(loss) == "CharbonnierLoss(eps=4.0)"
    assert loss(np.array([3.0]), np.array([0.0])) == 5.0


def test_its_backend_answers_and_declines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nacre", np)
    backend = ModuleType("tinyloss_nacre")
    exec(block('"""tinyloss on arrays'), vars(backend))
    answers: list[Any] = []

    def run(job: Any) -> Any:
        answers.append(backend.run(job))
        return answers[-1]

    monkeypatch.setattr(_backends, "backend_of", lambda xp: SimpleNamespace(run=run))
    x = np.array([1.0, 3.0])
    assert tinyloss.mse(x, [0.0, 0.0]) == 5.0
    assert answers.pop() is NotImplemented
    assert tinyloss.mse(x.astype(np.float32), [0.0, 0.0]) == 5.0
    assert answers.pop().value == 5.0
