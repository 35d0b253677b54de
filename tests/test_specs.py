"""Every public loss is listed, and has a record for tests."""

import numpy as np
import pytest

import tinyloss
from tests.support.cases import CASES
from tests.support.specs import (
    CLASSES,
    EXACT,
    IMAGES,
    LISTS,
    LOSSES,
    PAIRS,
    PRODUCTS,
    PUBLIC,
    SEQUENCES,
    SPECS,
)
from tinyloss._function import LossFunction
from tinyloss._products import ProductFunction
from tinyloss._tokens import TokensFunction
from tinyloss.losses import Public, activations, public_losses


def test_every_public_loss_is_listed_and_has_a_class() -> None:
    functions = {name: getattr(tinyloss, name) for name in PUBLIC}
    losses = {name for name, each in functions.items() if isinstance(each, LossFunction)}
    assert {*LOSSES, *IMAGES, *LISTS, *PAIRS, *SEQUENCES, *PRODUCTS} == losses
    made = (ProductFunction, TokensFunction)
    assert {name for name in losses if isinstance(functions[name], made)} == {*PRODUCTS}
    assert {*losses, *activations.__all__, "sparsemax", "entmax15"} == {
        each.name for each in public_losses()
    }
    parts = {"linear_logprobs", "linear_entropy", "sequence_logprob"}  # of a loss, for each item
    assert {each.__name__ for each in CLASSES.values()} == losses - parts


@pytest.mark.parametrize("loss", public_losses("elements", "rows"), ids=lambda each: each.name)
def test_a_loss_of_rows_is_listed_as_one(loss: Public) -> None:
    request = loss.function.request([None] * len(EXACT[loss.name].arguments), {})
    formula = request.formula or request.labels
    assert formula.rowwise == (loss.kind == "rows")


@pytest.mark.parametrize("name", LOSSES)
def test_a_record_is_of_its_loss(name: str) -> None:
    spec = SPECS[name]
    assert spec.function is getattr(tinyloss, name)
    assert spec.inputs
    calls = [case for case in CASES if case.loss is spec.function]
    assert calls
    for case in calls:
        items = spec.function(*case.arrays, **case.options, reduction="none")
        assert items.shape == case.items
        assert np.isfinite(items).all()
