"""Every public loss has a record for tests."""

import numpy as np
import pytest

import tinyloss
from tests.support.cases import CASES
from tests.support.specs import ACTIVATIONS, CLASSES, LOSSES, SPECS


def test_every_public_loss_has_a_record() -> None:
    assert {*LOSSES, *(each.__name__ for each in ACTIVATIONS)} == set(SPECS)
    assert {each.__name__ for each in CLASSES.values()} == set(LOSSES)


@pytest.mark.parametrize("name", LOSSES)
def test_a_record_is_of_its_loss(name: str) -> None:
    spec = SPECS[name]
    assert spec.function is getattr(tinyloss, name)
    assert spec.gist
    assert spec.inputs
    calls = [case for case in CASES if case.loss is spec.function]
    assert calls
    for case in calls:
        items = spec.function(*case.arrays, **case.options, reduction="none")
        assert items.shape == case.items
        assert np.isfinite(items).all()
