"""The loss that CONTRIBUTING.md walks through is as good as those that ship."""

import re
from pathlib import Path
from typing import Any

import pytest

import tinyloss
from tests import exact, families, test_golden
from tinyloss import _classes, _regression

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
    exec(block("@dataclass"), module)
    loss = module["CharbonnierLoss"](eps=4.0)
    assert repr(loss) == "CharbonnierLoss(eps=4.0)"
    assert loss(*map(_array, (3.0, 0.0))) == 5.0


def _array(value: float) -> Any:
    import numpy as np

    return np.asarray([value])
