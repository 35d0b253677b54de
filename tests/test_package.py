"""The package as a whole: what it imports, what it exports, what it documents, what it ships."""

import ast
import importlib.metadata
import importlib.resources
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import tinyloss
import tinyloss_cuda
import tinyloss_cupy
import tinyloss_dask
import tinyloss_jax
import tinyloss_numpy
import tinyloss_torch
from tests.support.calls import called_of
from tests.support.process import ROOT, python
from tests.support.specs import IMAGES, LISTS, LOSSES, PAIRS, PRODUCTS, PUBLIC, SEQUENCES

PACKAGE = Path(inspect.getfile(tinyloss)).parent
BACKENDS = [tinyloss_cupy, tinyloss_dask, tinyloss_jax, tinyloss_numpy, tinyloss_torch]

ARRAY_LIBRARIES = {"numpy", "cupy", "jax", "torch", "dask", "array_api_strict", "ml_dtypes"}
COMPILERS = {"numba", "llvmlite", "triton"}

SECTIONS = [
    "Use for",
    "Shapes",
    "Domain",
    "Formula",
    "Gradient",
    "Accuracy",
    "Edge cases",
    "Source",
    "Elsewhere",
]

# What the modules of a folder, or a module in none, import of ours.
MAY_IMPORT: dict[str, set[str]] = {
    "__main__": {"cli"},
    "_arrays": {"tinyloss_torch", "typing"},
    "_cache": set(),
    "_calls": {"typing"},
    "_check": {"_arrays"},
    "_differences": {"_arrays"},
    "_constant": {"_arrays", "_calls", "_engine", "_function", "_transforms", "typing"},
    "_custom": {
        "_arrays",
        "_cache",
        "_engine",
        "_formula",
        "_function",
        "_hessian",
        "_objects",
        "_reads",
        "compiler",
        "losses",
        "typing",
    },
    "_altered": {"_calls", "_engine", "_function", "_transforms"},
    "_engine": {"_arrays", "_cache", "_calls", "_formula", "_rows", "tinyloss_torch", "typing"},
    "_formula": {"_traits"},
    "_function": {"_calls", "_check", "_engine", "_masks", "_traits", "typing"},
    "_hessian": {"_arrays", "_cache", "_formula", "compiler"},
    "_in_order": {"_arrays", "_differences"},
    "_lists": {"_engine", "_function"},
    "_masks": {"_arrays", "_engine", "_formula", "_traits"},
    "_objects": {
        "_arrays",
        "_calls",
        "_check",
        "_engine",
        "_function",
        "_partial",
        "_traits",
        "_transforms",
        "typing",
    },
    "_over": {"_altered", "_engine", "_function", "_objects"},
    "_partial": {"_arrays", "_calls", "_check", "_engine", "_function", "_transforms"},
    "_products": {"_engine", "_function", "_traits", "typing"},
    "_scaler": {
        "_arrays",
        "_calls",
        "_check",
        "_engine",
        "_function",
        "_partial",
        "_transforms",
    },
    "_reads": {"_formula"},
    "_regions": {"_engine", "_function", "_traits"},
    "_rows": {"_arrays", "_in_order", "typing"},
    "_segments": {"_altered", "_arrays", "_engine", "_function", "_in_order", "typing"},
    "_traits": set(),
    "_tokens": {"_arrays", "_engine", "_function", "_traits"},
    "_sequences": {"_engine", "_function", "_traits"},
    "_transforms": {"_calls", "_engine", "_formula", "_function", "_hessian"},
    "adapters": set(),  # `import tinyloss`, and its public names
    "backend": {"_arrays", "_cache", "_engine", "_formula", "_rows"},
    "cli": {"compiler", "losses", "pictures"},
    "compiler": {"_differences", "_in_order", "backend", "typing"},
    "losses": {
        "_arrays",
        "_calls",
        "_check",
        "_differences",
        "_engine",
        "_formula",
        "_function",
        "_in_order",
        "_lists",
        "_objects",
        "_products",
        "_regions",
        "_rows",
        "_sequences",
        "_tokens",
        "_traits",
        "typing",
    },
    "pictures": {"losses"},
    "testing": {
        "_arrays",
        "_engine",
        "_regions",
        "_transforms",
        "backend",
        "compiler",
        "losses",
        "typing",
    },
    "tinyloss_cuda": {"backend", "compiler"},
    "tinyloss_cupy": {"backend", "compiler", "tinyloss_cuda"},
    "tinyloss_dask": {"backend", "compiler"},
    "tinyloss_jax": {"backend", "compiler"},
    "tinyloss_numpy": {"backend", "compiler"},
    "tinyloss_torch": {"backend", "tinyloss_cupy", "typing"},
    "torch": {"tinyloss_torch"},
    "typing": {"_check"},
}


def test_import_loads_no_array_library() -> None:
    modules = ["tinyloss.testing", "tinyloss.typing", "tinyloss.compiler.kernels", "tinyloss.cli"]
    code = (
        f"import sys; before = set(sys.modules); import tinyloss, {', '.join(modules)}; "
        "print(*set(sys.modules) - before)"
    )
    loaded = {name.partition(".")[0] for name in python(code).split()}
    assert "tinyloss" in loaded
    assert not loaded & (ARRAY_LIBRARIES | COMPILERS)


def test_all_is_complete() -> None:
    public = {
        name
        for name, value in vars(tinyloss).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert public | {"__version__"} == set(vars(tinyloss)["__all__"]) | {"__version__"}
    assert len(vars(tinyloss)["__all__"]) == len(public)


@pytest.mark.parametrize("name", PUBLIC)
def test_public_name_has_docstring_and_example(name: str) -> None:
    documentation = inspect.getdoc(getattr(tinyloss, name)) or ""
    assert documentation.partition("\n")[0].endswith(".")
    assert ">>> " in documentation


@pytest.mark.parametrize("name", [*LOSSES, *IMAGES, *LISTS, *PAIRS, *SEQUENCES, *PRODUCTS])
def test_loss_docstring_has_every_section(name: str) -> None:
    documentation = inspect.getdoc(getattr(tinyloss, name)) or ""
    assert re.findall(rf"^({'|'.join(SECTIONS)}): ", documentation, re.MULTILINE) == SECTIONS
    for parameter in inspect.signature(getattr(tinyloss, name)).parameters:
        assert re.search(rf"^(.*, )?{parameter}(,.*)?$", documentation, re.MULTILINE), parameter


@pytest.mark.parametrize("name", [*LOSSES, *IMAGES, *LISTS, *SEQUENCES])
def test_loss_signature_has_one_order(name: str) -> None:
    parameters = inspect.signature(getattr(tinyloss, name)).parameters
    positional = [p.name for p in parameters.values() if p.kind is not p.KEYWORD_ONLY]
    assert tuple(positional[:2]) == called_of(getattr(tinyloss, name))
    assert list(parameters)[-4:] == ["weight", "where", "reduction", "denominator"]
    if "axis" in parameters:
        assert parameters["axis"].default == -1


def test_losses_are_all_found() -> None:
    """The tests above are parametrized over these."""
    assert {"mse", "cross_entropy", "kl_div"} <= set(LOSSES)
    assert not {"softmax", "value_and_grad", "MSELoss"} & set(LOSSES)


FILES = [
    # A wheel has the lessons in a folder, as files to copy.
    *[each for each in sorted(PACKAGE.rglob("*.py")) if each.parent.name != "pages"],
    *[
        each
        for package in (*BACKENDS, tinyloss_cuda)
        for each in sorted(Path(inspect.getfile(package)).parent.rglob("*.py"))
    ],
]


def room_of(path: Path) -> str:
    """Return what the table calls a file: its folder, or itself where it is in none."""
    return path.stem if path.parent == PACKAGE else path.parent.name


def imports(path: Path) -> Iterator[str]:
    """Yield the rooms of ours that a file imports: `_engine`, `losses`, `tinyloss_cuda`, ..."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}, line {node.lineno}: relative import"
            module = node.module or ""
            names = [f"{module}.{each.name}" for each in node.names]
            names = names if module == "tinyloss" else [module]
        elif isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        else:
            continue
        for name in names:
            root, *rest = name.split(".")
            if root == "tinyloss" and rest:
                yield rest[0]
            elif root.startswith("tinyloss_"):
                yield root


def test_imports_are_those_of_the_table() -> None:
    """No more, and no permission that nobody uses."""
    found: dict[str, set[str]] = {}
    for path in FILES:
        room = room_of(path)
        if path != PACKAGE / "__init__.py":  # it gathers the public names of all
            found.setdefault(room, set()).update(set(imports(path)) - {room})
    assert found == MAY_IMPORT


def test_templates_are_shipped() -> None:
    """From where the package is installed, not from a checkout beside it."""
    shipped = {each.name for each in importlib.resources.files(tinyloss_cuda).iterdir()}
    templates = {"elements.cu", "pass.cu", "prelude.cuh", "rows.cu", "sequences.cu", "split.cu"}
    assert {*templates, "total.cu"} <= shipped
    assert importlib.resources.files("tinyloss.losses").joinpath("_paths.cu").is_file()
    text = tinyloss.source(tinyloss.mse, target="cuda")
    words = importlib.resources.files(tinyloss_cuda).joinpath("prelude.cuh")
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
        assert entry.load().__name__ == entry.value


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.__name__)
def test_a_backend_prepares_kinds_of_jobs(backend: Any) -> None:
    pytest.importorskip(backend.__name__.removeprefix("tinyloss_"))
    assert callable(backend.prepare)


@pytest.mark.parametrize("package", [tinyloss, tinyloss_cuda, *BACKENDS], ids=lambda p: p.__name__)
def test_types_are_shipped(package: Any) -> None:
    assert importlib.resources.files(package).joinpath("py.typed").is_file()
