"""What CONTRIBUTING.md says is carried out: its loss on a copy of the tree, its backend here."""

import ast
import builtins
import re
import shlex
import shutil
import sys
from os import pathsep
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tinyloss
from tests.support.process import ROOT, python
from tinyloss._engine import registry

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## )", TEXT, re.MULTILINE | re.DOTALL)
    assert found is not None, title
    return found[1]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def carry_out(block: str, tree: Path) -> None:
    """Put a block where its first line says: a file, "above" a line of it or at its end.

    What a block adds to the package by a public name goes into its module's `__all__`.
    """
    place, _, code = block.partition("\n")
    name, _, line = place.removeprefix("# ").partition(", above ")
    path = tree / name
    text = path.read_text(encoding="utf-8")
    if line:
        found = [*re.finditer(rf"^ *{re.escape(line)}", text, re.MULTILINE)]
        assert len(found) == 1, place
        text = text[: found[0].start()] + code + text[found[0].start() :]
    else:
        text += f"\n\n{code}"
        public = [
            each.name
            for each in ast.parse(code).body
            if isinstance(each, ast.ClassDef | ast.FunctionDef) and not each.name.startswith("_")
        ]
        names = "".join(f'    "{each}",\n' for each in public)
        text = text.replace("__all__ = [\n", f"__all__ = [\n{names}", 1)
    path.write_text(text, encoding="utf-8")


AS_CI_RUNS_THEM = "not slow and not gpu"
"""Its marks of the tests of a new loss."""


@pytest.mark.parametrize(
    ("marks", "measured"),
    [
        # nearly each test of a loss, with fewer parameters; torch.compile takes half a minute
        pytest.param(
            "not slow and not long",
            ["--libraries", "numpy,compiled,jax.jit"],
            marks=pytest.mark.long,
            id="a selection",
        ),
        pytest.param(AS_CI_RUNS_THEM, [], marks=pytest.mark.slow, id="in full"),
    ],
)
def test_its_loss_is_added_as_it_says(tmp_path: Path, marks: str, measured: list[str]) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".*", "__pycache__"))
    how = section("Add a loss")
    for block in blocks(how, "(?:python|text)"):
        carry_out(block, tree)
    (commands,) = blocks(how, "sh")
    assert f'-m "{AS_CI_RUNS_THEM}"' in commands
    commands = commands.replace(AS_CI_RUNS_THEM, marks)
    for command in commands.splitlines():
        program, *arguments = shlex.split(command, comments=True)
        assert program == "python"
        if "benchmarks.accuracy" in arguments:
            arguments += measured
        # -u, since one argument alone is taken for code
        python("-u", *arguments, cwd=tree, PYTHONPATH=f"{tree}{pathsep}{tree / 'backends'}")
    assert "`charbonnier`: numbers with outliers, " in (tree / "README.md").read_text("utf-8")


def of_third_parties(name: str, *args: Any) -> Any:
    """Import as one who has no business in modules with an underscore."""
    assert not (name.startswith("tinyloss") and "._" in name), name
    return __import__(name, *args)


def test_its_backend_answers_and_declines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nacre", np)
    backend = ModuleType("tinyloss_nacre")
    vars(backend)["__builtins__"] = vars(builtins) | {"__import__": of_third_parties}
    exec(next(each for each in blocks(TEXT, "python") if "nacre" in each), vars(backend))
    answers: list[Any] = []

    def prepare(kind: Any) -> Any:
        prepared = backend.prepare(kind)

        def answer(job: Any) -> Any:
            answers.append(prepared(job))
            return answers[-1]

        return answer

    ours = SimpleNamespace(prepare=prepare)
    monkeypatch.setattr(registry, "backend_of", lambda xp: ours)
    x = np.array([1.0, 3.0])
    assert tinyloss.mse(x, [0.0, 0.0]) == 5.0
    assert answers.pop() is NotImplemented
    assert tinyloss.mse(x.astype(np.float32), [0.0, 0.0]) == 5.0
    assert answers.pop().value == 5.0
