"""The package as a whole: what it imports, what it exports, what it documents, what it ships."""

import ast
import importlib.metadata
import importlib.resources
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import tinyloss
import tinyloss_cupy
import tinyloss_dask
import tinyloss_jax
import tinyloss_numpy

ROOT = Path(__file__).parents[1]
PACKAGE = Path(inspect.getfile(tinyloss)).parent
PUBLIC = [name for name in tinyloss.__all__ if name != "__version__"]
LOSSES = [name for name in PUBLIC if isinstance(getattr(tinyloss, name), type(tinyloss.mse))]

BACKENDS = [tinyloss_cupy, tinyloss_dask, tinyloss_jax, tinyloss_numpy]

ARRAY_LIBRARIES = {"numpy", "cupy", "jax", "torch", "dask", "array_api_strict", "ml_dtypes"}
COMPILERS = {"numba", "llvmlite", "triton"}

SECTIONS = ["Shapes", "Domain", "Formula", "Gradient", "Accuracy", "Edge cases", "Source"]

# What each module may import of the package. A module that is not listed is a family of losses.
FAMILIES = {"_regression", "_classification", "_divergence"}
LOSS_MAY_IMPORT = {"_arrays", "_check", "_engine", "_formula", "_function", "_numerics", "typing"}
MAY_IMPORT = {
    "typing": set[str](),
    "_arrays": {"typing"},
    "_check": set[str](),
    "_calls": {"typing"},
    "_formula": set[str](),
    "_program": {"_arrays", "typing"},
    "_passes": {"_program"},
    "_geometry": {"_program"},
    "_kernels": {"_engine", "_formula", "_passes", "_program"},
    "_outputs": {"_arrays", "_engine"},
    "testing": {"_activations", "_arrays", "_backends", "_engine", "_function", "typing"},
    "_numerics": {"_arrays", "typing"},
    "_backends": {"_arrays", "typing"},
    "_engine": {"_arrays", "_backends", "_calls", "_formula", "_rows", "typing"},
    "_function": {"_backends", "_calls", "_check", "_engine", "typing"},
    "_rows": {"_arrays", "typing"},
    "_evaluation": {"_program", "_rows", "typing"},
    "_reads": {"_formula"},
    "_custom": {
        "_arrays",
        "_calls",
        "_engine",
        "_evaluation",
        "_formula",
        "_function",
        "_numerics",
        "_program",
        "_reads",
    },
    "_partial": {"_arrays", "_backends", "_calls", "_check", "_engine", "_function"},
    "_activations": {"_arrays", "_calls", "_engine", "_formula", "_numerics", "typing"},
    "_classes": FAMILIES
    | {"_arrays", "_backends", "_calls", "_check", "_engine", "_function", "typing"},
}
BACKEND_MAY_IMPORT = {
    "_arrays", "_engine", "_evaluation", "_formula", "_geometry", "_kernels", "_outputs",
    "_passes", "_program", "_rows", "typing",
}  # fmt: skip


def run_python(code: str) -> str:
    # A clone without an installation finds its packages by pytest's settings, which a child lacks.
    roots = [str(PACKAGE.parent), str(Path(inspect.getfile(tinyloss_numpy)).parents[1])]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(roots)}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout


def test_import_loads_no_array_library() -> None:
    modules = [f"tinyloss.{path.stem}" for path in PACKAGE.glob("*.py") if path.stem[0] != "_"]
    code = (
        f"import sys; before = set(sys.modules); import tinyloss, {', '.join(modules)}; "
        "print(*set(sys.modules) - before)"
    )
    loaded = {name.partition(".")[0] for name in run_python(code).split()}
    assert "tinyloss" in loaded
    assert not loaded & (ARRAY_LIBRARIES | COMPILERS)


def test_all_is_complete_and_sorted() -> None:
    public = {
        name
        for name, value in vars(tinyloss).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert public | {"__version__"} == set(tinyloss.__all__) | {"__version__"}
    assert list(tinyloss.__all__) == sorted(tinyloss.__all__)


@pytest.mark.parametrize("name", PUBLIC)
def test_public_name_has_docstring_and_example(name: str) -> None:
    documentation = inspect.getdoc(getattr(tinyloss, name)) or ""
    assert documentation.partition("\n")[0].endswith(".")
    assert ">>> " in documentation


@pytest.mark.parametrize("name", LOSSES)
def test_loss_docstring_has_every_section(name: str) -> None:
    documentation = inspect.getdoc(getattr(tinyloss, name)) or ""
    assert re.findall(rf"^({'|'.join(SECTIONS)}): ", documentation, re.MULTILINE) == SECTIONS
    for parameter in inspect.signature(getattr(tinyloss, name)).parameters:
        assert re.search(rf"^(.*, )?{parameter}(,.*)?$", documentation, re.MULTILINE), parameter


@pytest.mark.parametrize("name", LOSSES)
def test_loss_signature_has_one_order(name: str) -> None:
    parameters = inspect.signature(getattr(tinyloss, name)).parameters
    positional = [p.name for p in parameters.values() if p.kind is not p.KEYWORD_ONLY]
    assert positional[:2] == ["x", "y"]
    assert list(parameters)[-4:] == ["weight", "where", "reduction", "denominator"]
    if "axis" in parameters:
        assert parameters["axis"].default == -1


def test_losses_are_all_found() -> None:
    """The tests above are parametrized over these."""
    assert {"mse", "cross_entropy", "kl_div"} <= set(LOSSES)
    assert not {"softmax", "value_and_grad", "MSELoss"} & set(LOSSES)


def imports(path: Path) -> Iterator[str]:
    """Yield the modules of tinyloss that a file imports: `_engine`, `typing`, ..."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}, line {node.lineno}: relative import"
            if node.module == "tinyloss":
                yield from (alias.name for alias in node.names)
            elif node.module is not None and node.module.startswith("tinyloss."):
                yield node.module.removeprefix("tinyloss.")
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("tinyloss."):
                    yield alias.name.removeprefix("tinyloss.")


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.stem)
def test_imports_go_one_way(path: Path) -> None:
    if path.stem == "__init__":
        return  # it gathers the public names of all
    assert set(imports(path)) <= MAY_IMPORT.get(path.stem, LOSS_MAY_IMPORT)


@pytest.mark.parametrize("package", BACKENDS, ids=lambda p: p.__name__)
def test_backend_knows_no_loss(package: ModuleType) -> None:
    for path in Path(inspect.getfile(package)).parent.rglob("*.py"):
        assert set(imports(path)) <= BACKEND_MAY_IMPORT, path


def test_templates_are_shipped() -> None:
    """From where the package is installed, not from a checkout beside it."""
    shipped = {each.name for each in importlib.resources.files(tinyloss_cupy).iterdir()}
    templates = {"words.cuh", "rows.cu", "pass.cu", "elements.cu", "total.cu"}
    assert templates <= shipped
    text = tinyloss.source(tinyloss.mse, target="cuda")
    words = importlib.resources.files(tinyloss_cupy).joinpath("words.cuh")
    assert words.read_text(encoding="utf-8") in text


def test_version_is_the_newest_in_the_changelog() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## \[(\d.*?)\]", changelog, re.MULTILINE)
    assert newest is not None
    assert newest[1] == tinyloss.__version__


def installed() -> importlib.metadata.Distribution:
    try:
        return importlib.metadata.distribution("tinyloss")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("tinyloss is not installed: this is a bare clone")


def test_version_is_that_of_the_installation() -> None:
    assert installed().version == tinyloss.__version__


def test_array_api_compat_is_the_only_hard_dependency() -> None:
    hard = [line for line in installed().requires or [] if "extra ==" not in line]
    assert len(hard) == 1
    assert hard[0].startswith("array-api-compat")


def test_backends_enter_by_their_entry_points() -> None:
    entries = installed().entry_points.select(group="tinyloss.backends")
    packages = {each.__name__.removeprefix("tinyloss_"): each.__name__ for each in BACKENDS}
    assert {entry.name: entry.value for entry in entries} == packages
    for entry in entries:
        assert callable(entry.load().run)


@pytest.mark.parametrize("package", [tinyloss, *BACKENDS], ids=lambda p: p.__name__)
def test_types_are_shipped(package: Any) -> None:
    assert importlib.resources.files(package).joinpath("py.typed").is_file()
