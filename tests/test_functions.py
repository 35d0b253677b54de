"""Functions of losses pass for functions: they are pickled, copied, shown and inspected."""

import copy
import inspect
import pickle
import pydoc
import re
from typing import Any

import pytest

import tinyloss
from tests.support.calls import called_of
from tests.support.specs import ACTIVATIONS, LOSSES

on = pytest.mark.parametrize

FUNCTIONS = {name: getattr(tinyloss, name) for name in LOSSES}


@on("function", [*FUNCTIONS.values(), *ACTIVATIONS], ids=lambda f: f.__name__)
def test_pickles_and_copies_to_itself(function: Any) -> None:
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(function, protocol)) is function
    assert copy.copy(function) is function
    assert copy.deepcopy(function) is function
    assert copy.deepcopy({"loss": [function]})["loss"][0] is function
    assert hash(function) == hash(copy.copy(function))


@on("function", [*FUNCTIONS.values(), *ACTIVATIONS], ids=lambda f: f.__name__)
def test_help_shows_name_signature_and_documentation(function: Any) -> None:
    text = pydoc.plain(pydoc.render_doc(function))
    first = called_of(function)[0] if function in FUNCTIONS.values() else "x"
    assert re.search(rf"^{function.__name__}\(\s*{first}: ", text, re.MULTILINE)
    for name in inspect.signature(function).parameters:
        assert re.search(rf"\b{name}\b", text)
    assert function.__doc__.splitlines()[0] in text


@on("function", FUNCTIONS.values(), ids=list(FUNCTIONS))
def test_every_loss_has_the_four_options(function: Any) -> None:
    parameters = inspect.signature(function).parameters
    defaults = {"weight": None, "where": None, "reduction": "mean", "denominator": None}
    for name, default in defaults.items():
        assert parameters[name].default == default
        assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
    assert tuple(parameters)[:2] == called_of(function)
    assert function.__module__ == "tinyloss"
    assert repr(function) == f"<function tinyloss.{function.__name__}>"
