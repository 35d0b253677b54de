"""README's examples, each by itself, as a reader pastes them."""

import ast
import builtins
import doctest
import re
from pathlib import Path

import pytest

from tests.support.libraries import peer

TEXT = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
SESSIONS = [block for block in BLOCKS if block.startswith(">>> ")]
SCRIPTS = [block for block in BLOCKS if not block.startswith(">>> ")]

# What a reader brings, says the sentence above.
GIVEN = {"dataset", "frame"}


def skip_without_libraries(request: pytest.FixtureRequest, block: str) -> None:
    for name in re.findall(r"\b(jax|dask|torch)\b", block):
        peer(name, request.config)


def test_blocks_are_found() -> None:
    assert len(SESSIONS) >= 10
    assert len(SCRIPTS) == 3


@pytest.mark.parametrize("block", SESSIONS, ids=range(len(SESSIONS)))
def test_session_runs_alone(request: pytest.FixtureRequest, block: str) -> None:
    skip_without_libraries(request, block)
    test = doctest.DocTestParser().get_doctest(block, {}, "README.md", "README.md", 0)
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    results = runner.run(test, out=said.append, clear_globs=True)
    assert results.attempted
    assert not results.failed, "".join(said)


@pytest.mark.parametrize("block", SCRIPTS, ids=range(len(SCRIPTS)))
def test_script_defines_what_it_uses(block: str) -> None:
    """These need a cluster; that they run on one was seen."""
    used: set[str] = set()
    defined = {*GIVEN, *vars(builtins)}
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else defined).add(node.id)
        elif isinstance(node, ast.alias):
            defined.add((node.asname or node.name).partition(".")[0])
        elif isinstance(node, ast.FunctionDef):
            defined |= {node.name, *[each.arg for each in node.args.args]}
    assert used <= defined


def test_nothing_is_suggested_that_its_command_does_not_install() -> None:
    """The example's command installs neither JAX nor torch."""
    section = TEXT.partition("## Install")[2].partition("Install for development")[0]
    for name in ("jax", "torch", "dask", "cupy"):
        for sentence in re.findall(rf"[^.]*--array {name}[^.]*", section):
            assert f"pip install {name}" in sentence
