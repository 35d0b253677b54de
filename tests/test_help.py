"""What a user reads: help, signatures, hints of types, names."""

import inspect
import pickle
import pydoc
import re
import typing
from typing import Any

import pytest

import tinyloss
from tests.support.process import python
from tests.support.specs import LOSSES, PUBLIC
from tinyloss.losses import public_losses

on = pytest.mark.parametrize

NO_LOSSES = ("LossScaler", "Memory", "PartialMean", "Traits", "WeightedSum")
CLASSES = [name for name in PUBLIC if inspect.isclass(getattr(tinyloss, name))]


def text_of(thing: Any) -> str:
    return pydoc.plain(pydoc.render_doc(thing))


def test_help_of_the_package_is_a_table() -> None:
    text = text_of(tinyloss)
    assert len(text.splitlines()) < 3 * len(public_losses())
    for name in PUBLIC:
        assert re.search(rf"(^|[\s,]){name}([\s,]|$)", text), name
    for option in ("weight", "where", "reduction", "denominator"):
        assert re.search(rf"^ *{option}$", text, re.MULTILINE)


def test_the_package_lists_all_names_to_others() -> None:
    assert set(dir(tinyloss)) >= {*PUBLIC, "__version__", "__all__", "__doc__"}
    code = (
        "from tinyloss import *; import tinyloss, rlcompleter; "
        "print(rlcompleter.Completer({'t': tinyloss}).attr_matches('t.cross'), mse)"
    )
    assert "t.cross_entropy" in python(code)


@on("name", PUBLIC)
def test_public_names_are_of_the_package(name: str) -> None:
    public = getattr(tinyloss, name)
    assert public.__module__ == "tinyloss"
    assert public.__qualname__ == public.__name__ == name
    assert pickle.loads(pickle.dumps(public)) is public
    assert b"tinyloss._" not in pickle.dumps(public)


@on("name", [name for name in CLASSES if name not in NO_LOSSES])
def test_pickles_name_no_private_module(name: str) -> None:
    made = getattr(tinyloss, name)()
    data = pickle.dumps(tinyloss.value_and_grad(2 * made))
    assert b"tinyloss._" not in data


@on("name", LOSSES)
def test_repr_is_the_public_name(name: str) -> None:
    assert repr(getattr(tinyloss, name)) == f"<function tinyloss.{name}>"


@on("name", LOSSES)
def test_help_of_a_loss_tells_of_the_options(name: str) -> None:
    text = text_of(getattr(tinyloss, name))
    assert "help(tinyloss)" not in text
    assert "both broadcast to the items" in text
    assert "what the mean divides by" in text


@on("name", [*LOSSES, *CLASSES])
def test_signatures_are_short(name: str) -> None:
    public = getattr(tinyloss, name)
    signatures = [inspect.signature(public)]
    if name in CLASSES and name not in NO_LOSSES:
        made = public()
        signatures += [inspect.signature(made), inspect.signature(made.value_and_grad)]
        signatures += [inspect.signature(public.__call__), inspect.signature(public.ask)]
    for signature in signatures:
        text = str(signature)
        for long in ("collections.abc", "tinyloss.typing", "tuple[str", "Literal", "Sequence"):
            assert long not in text
    if name in LOSSES:
        assert "weight: ArrayLike | None = None" in text_of(public)


@on("name", LOSSES)
def test_hints_of_types_are_public(name: str) -> None:
    hints = typing.get_type_hints(getattr(tinyloss, name))
    assert hints["return"] is Any
    assert set(hints) == {*inspect.signature(getattr(tinyloss, name)).parameters, "return"}


def test_a_custom_loss_is_of_its_own_module() -> None:
    @tinyloss.loss
    def own(x: Any, y: Any) -> Any:
        return abs(x - y)

    assert own.__module__ == __name__
    assert typing.get_type_hints(own)["return"] is Any
    assert "own" in repr(own)
