"""What a user's type checker makes of calls: every wrong one is reported, no right one is.

The files in typing_misuse/ are a user's project: they are checked outside of this one, strictly,
with none of its settings.
"""

import ast
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.libraries import peer
from tests.support.specs import ACTIVATIONS, CLASSES, LOSSES, PUBLIC
from tinyloss.losses import public_losses

FILES = Path(__file__).parent / "typing_misuse"


def marked_lines(path: Path) -> list[int]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [number for number, line in enumerate(lines, 1) if line.endswith("# error")]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    for name in "correct.py", "misuse.py":
        shutil.copy(FILES / name, folder)
    return folder


def source_roots() -> list[str]:
    """Where a checker finds the packages if they are not installed."""
    try:
        importlib.metadata.distribution("tinyloss")
    except importlib.metadata.PackageNotFoundError:
        root = Path(__file__).parents[1]
        return [str(root), str(root / "backends")]
    return []


def run_checker(
    request: pytest.FixtureRequest,
    project: Path,
    checker: str,
    *arguments: str,
    env: Mapping[str, str] | None = None,
) -> str:
    peer(checker, request.config)
    command = [sys.executable, "-m", checker, *arguments]
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MYPYPATH")}
    done = subprocess.run(
        command, cwd=project, env=environment | dict(env or {}), capture_output=True, text=True
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr  # 2: it could not run
    return done.stdout


def check(reported: list[tuple[str, int, str]]) -> None:
    """Compare what a checker reported, as (file, line, message), with the marks."""
    lines = (FILES / "misuse.py").read_text(encoding="utf-8").splitlines()
    marked = marked_lines(FILES / "misuse.py")
    found = {line for file, line, _ in reported if file == "misuse.py"}
    missed = [lines[line - 1].strip() for line in marked if line not in found]
    wrong = [each for each in reported if each[0] == "correct.py" or each[1] not in marked]
    assert not missed
    assert not wrong


# No type of tinyloss is one of theirs, and mypy would read all of torch.
MYPY_SETTINGS = """
[mypy]
[mypy-torch.*,jax.*,dask.*,cupy.*]
follow_imports = skip
"""


def test_mypy_reports_exactly_the_misuse(request: pytest.FixtureRequest, project: Path) -> None:
    (project / "mypy.ini").write_text(MYPY_SETTINGS)
    output = run_checker(
        request,
        project,
        "mypy",
        *(
            "--strict",
            "--config-file=mypy.ini",
            "--cache-dir=.mypy_cache",
            "correct.py",
            "misuse.py",
        ),
        env={"MYPYPATH": os.pathsep.join(source_roots())},
    )
    found = re.findall(r"^(correct|misuse)\.py:(\d+): error: (.*)$", output, re.MULTILINE)
    check([(f"{stem}.py", int(line), message) for stem, line, message in found])


def test_pyright_reports_exactly_the_misuse(request: pytest.FixtureRequest, project: Path) -> None:
    settings = {"typeCheckingMode": "strict", "extraPaths": source_roots()}
    (project / "pyrightconfig.json").write_text(json.dumps(settings))
    output = run_checker(
        request,
        project,
        "pyright",
        "--outputjson",
        "--pythonpath",
        sys.executable,
        "--project",
        ".",
    )
    check(
        [
            (Path(found["file"]).name, found["range"]["start"]["line"] + 1, found["message"])
            for found in json.loads(output)["generalDiagnostics"]
        ]
    )


def names_used(path: Path, lines: set[int] | None = None) -> set[str]:
    """Return the names x of `tinyloss.x` in a file, on some of its lines."""
    return {
        node.attr
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "tinyloss"
        and (lines is None or node.lineno in lines)
    }


OF_IMAGES = [each.name for each in public_losses("images")]
# A loss of elements, of class indices, of rows, of three arrays, and their classes; one activation.
# The types of the others are made as theirs are.
ARCHETYPES = {
    *("huber", "cross_entropy", "kl_div", "gaussian_nll", "softmax"),
    *("HuberLoss", "CrossEntropyLoss", "KLDivLoss", "GaussianNLLLoss"),
}
ALIKE = {*LOSSES, *OF_IMAGES, *(each.__name__ for each in (*CLASSES, *ACTIVATIONS))} - ARCHETYPES
NAMES = set(PUBLIC) - ALIKE


def test_every_kind_of_name_is_used_rightly() -> None:
    assert NAMES - names_used(FILES / "correct.py") == set()


def test_every_kind_of_name_is_misused() -> None:
    marked = set(marked_lines(FILES / "misuse.py"))
    assert NAMES - names_used(FILES / "misuse.py", marked) == set()
