"""README and the documentation: code, block by block as a reader pastes it, and tables."""

import ast
import builtins
import doctest
import re
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from benchmarks import tables as measured
from tests.support import tables as recorded
from tests.support.differences import DIFFERENCES, GROUPS
from tests.support.libraries import peer
from tests.support.process import ROOT, python

README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = [README, *sorted(p for p in DOCS.rglob("*.md") if "_build" not in p.parts)]

# These need a cluster, a GPU or a library that no other test does; that they run there was seen.
ELSEWHERE = {"catboost", "cupy", "mpi4py", "ray", "pyspark"}
SEPARATE = ("jax", "dask", "torch", "optax")


def blocks() -> list[tuple[str, str]]:
    """Return each block of Python with where it is."""
    found: list[tuple[str, str]] = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in re.finditer(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            line = text.count("\n", 0, match.start()) + 2
            found.append((f"{page.relative_to(ROOT)}:{line}", match[1]))
    return found


BLOCKS = blocks()
SESSIONS = {place: block for place, block in BLOCKS if block.startswith(">>> ")}
SCRIPTS = {place: block for place, block in BLOCKS if not block.startswith(">>> ")}


def skip_without_libraries(request: pytest.FixtureRequest, block: str) -> None:
    for name in re.findall(rf"\b({'|'.join(SEPARATE)})\b", block):
        peer(name, request.config)


def imported(block: str) -> set[str]:
    return set(re.findall(r"^(?:import|from) (\w+)", block, re.MULTILINE))


def test_blocks_are_found() -> None:
    assert len([place for place in SCRIPTS if place.startswith("README.md")]) >= 6
    assert len(SESSIONS) >= 50
    assert len([block for block in SCRIPTS.values() if imported(block) & ELSEWHERE]) == 5


@pytest.mark.parametrize("place", SESSIONS)
def test_session_runs_alone(request: pytest.FixtureRequest, place: str) -> None:
    block = SESSIONS[place]
    skip_without_libraries(request, block)
    test = doctest.DocTestParser().get_doctest(block, {}, place, place, 0)
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    results = runner.run(test, out=said.append, clear_globs=True)
    assert results.attempted
    assert not results.failed, "".join(said)


@pytest.mark.parametrize("place", SCRIPTS)
def test_script_runs_or_defines_what_it_uses(
    request: pytest.FixtureRequest, place: str, tmp_path: Path
) -> None:
    block = SCRIPTS[place]
    if not imported(block) & ELSEWHERE:
        skip_without_libraries(request, block)
        (tmp_path / "script.py").write_text(block, encoding="utf-8")
        said = python(str(tmp_path / "script.py"), "").splitlines()
        assert said
        # What a line prints may stand beside it.
        assert [*re.findall(r"^print\(.*\)  # (.+)$", block, re.MULTILINE)] in ([], said)
        return
    used: set[str] = set()
    defined = set(vars(builtins))
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else defined).add(node.id)
        elif isinstance(node, ast.alias):
            defined.add((node.asname or node.name).partition(".")[0])
        elif isinstance(node, ast.FunctionDef):
            defined |= {node.name, *[each.arg for each in node.args.args]}
        elif isinstance(node, ast.ClassDef):
            defined.add(node.name)
    assert used <= defined


def test_readme_is_short() -> None:
    """A newcomer reads two screens; the rest is in the documentation."""
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 200


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)|(?:src|srcset)=\"([^\"]+)\"", text):
        target = next(filter(None, link))
        # A lesson's page is made of its script.
        target = target.replace("_learn/index.rst", "learn/GALLERY_HEADER.rst")
        path = page.parent / re.sub(r"_learn/(\w+)\.rst", r"learn/\1.py", target)
        assert path.exists(), target


def test_readmes_tables_are_those_of_the_records() -> None:
    """If not: `python -m tests.support.tables --write`."""
    text = README.read_text(encoding="utf-8")
    assert recorded.with_tables(text) == text


def test_every_difference_is_in_one_section_of_its_page() -> None:
    assert sorted(key for keys in GROUPS.values() for key in keys) == sorted(DIFFERENCES)


def test_every_table_is_on_a_page() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    placed = set(re.findall(r"^```\{generated\} (.+)$", text, re.MULTILINE))
    assert placed == {*measured.TABLES, *recorded.TABLES}


def test_every_backend_is_in_the_table_of_support() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {re.split(r"\W", arrays)[0].lower() for arrays in recorded.SUPPORT}
    assert names - {"any"} == set(project["entry-points"]["tinyloss.backends"])


@pytest.mark.parametrize("name", measured.TABLES)
def test_a_table_of_results_is_whole(name: str) -> None:
    head, _, *rows = measured.TABLES[name]().splitlines()
    assert rows
    assert {row.count("|") for row in rows} == {head.count("|")}


ESTIMATORS = {"LinearSVC", "SGDClassifier", "SGDRegressor"}
"""What scikit-learn has with the loss inside."""


@pytest.mark.parametrize(
    ("library", "module"),
    [
        ("torch", "torch.nn.functional"),
        ("optax", "optax.losses"),
        ("scikit-learn", "sklearn.metrics"),
    ],
)
def test_names_elsewhere_exist(request: pytest.FixtureRequest, library: str, module: str) -> None:
    theirs = peer(module, request.config)
    for card in recorded.CARDS.values():
        for name in re.findall(r"^\w+|(?<=, )\w+_\w+(?!=)\b", card.elsewhere.get(library, "")):
            assert hasattr(theirs, name) or name in ESTIMATORS, card.name


@pytest.mark.parametrize("module", ["tinyloss", "tinyloss.testing"])
def test_every_public_name_is_in_the_reference(module: str) -> None:
    """The site is not built otherwise; this says so without building it."""
    pages = [p.read_text(encoding="utf-8") for p in (DOCS / "reference").glob("*.md")]
    printed = [table() for name, table in recorded.TABLES.items() if "reference of" in name]
    words = set(re.findall(r"\w+", "".join([*pages, *printed])))
    assert set(import_module(module).__all__) <= words


def test_nothing_is_suggested_that_its_command_does_not_install() -> None:
    """The example's command installs neither JAX nor torch."""
    section = README.read_text("utf-8").partition("<!-- ci: example -->")[2].partition("\n## ")[0]
    for name in ("jax", "torch", "dask", "cupy"):
        for sentence in re.findall(rf"[^.]*--array {name}[^.]*", section):
            assert f"pip install {name}" in sentence
