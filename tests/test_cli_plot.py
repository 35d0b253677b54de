"""`tinyloss plot`: what it prints, what it writes, and what it says of a wrong call."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from tests.support.process import python
from tinyloss.cli import main

pytest.importorskip("matplotlib")

on = pytest.mark.parametrize


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_prints_the_curves_and_writes_a_png_and_an_svg(folder: Path) -> None:
    printed = python(
        "-m", "tinyloss", "plot", "huber", "--param", "delta=0.5,2", "--what", "value", cwd=folder
    )
    assert printed.splitlines()[:2] == ["huber over error x − y from −3 to 3", "loss, 0 to 4"]
    assert re.search("^delta = 2   █+.*█+$", printed, re.MULTILINE)
    assert printed.endswith("saved huber-value.png, huber-value.svg\n")
    assert (folder / "huber-value.png").read_bytes().startswith(b"\x89PNG")
    svg = (folder / "huber-value.svg").read_text(encoding="utf-8")
    title = "huber at error 3: 1.38 with delta = 0.5, 4 with delta = 2"
    assert f"<dc:title>{title}</dc:title>" in svg
    assert title in printed


def test_writes_the_one_file_that_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plot", "mse", "--what", "convex", "--out", "bowl.pdf", "--theme", "dark"]) == 0
    assert names(folder) == ["bowl.pdf"]
    assert "mse is convex: no chord lies below its curve\n" in capsys.readouterr().out


def test_writes_into_a_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "out").mkdir()
    call = ["plot", "hinge", "--what", "gradient", "--theme", "dark", "--out", "out", "--json"]
    assert main(call) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["finding"] == "hinge: convex, with gradients from −1 to 0"
    assert printed["files"] == ["out/hinge-gradient_dark.png", "out/hinge-gradient_dark.svg"]
    assert names(folder / "out") == ["hinge-gradient_dark.png", "hinge-gradient_dark.svg"]


def test_draws_a_report(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seconds = {"floor": {"median": 1.0}, "tinyloss": {"median": 1.5}}
    row = {"section": "shapes", "work": "mse", "what": "value and gradient", "seconds": seconds}
    (folder / "cpu.json").write_text(json.dumps({"measurements": [row]}))
    assert main(["plot", "--what", "speed", "--report", "cpu.json", "--out", "cpu.png"]) == 0
    assert names(folder) == ["cpu.json", "cpu.png"]
    assert capsys.readouterr().out.startswith("tinyloss takes 1.5 times the floor\n")


def test_text_alone_writes_nothing_and_needs_no_matplotlib(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.style", None)
    assert main(["plot", "poisson_nll", "--param", "log_input=false,true", "--text"]) == 0
    assert "log_input = False" in capsys.readouterr().out
    assert names(folder) == []
    assert main(["plot", "mse"]) == 2
    assert capsys.readouterr().err == (
        "tinyloss: tinyloss.pictures needs matplotlib, which is not installed\n"
        "Next: pip install 'tinyloss[plot]'\n"
    )


def test_an_output_without_blocks_has_curves_too(folder: Path) -> None:
    printed = python(
        *("-m", "tinyloss", "plot", "mse", "--what", "value", "--text"),
        cwd=folder,
        PYTHONIOENCODING="ascii",
    )
    curve = printed.splitlines()[1].removeprefix("loss ").removesuffix(" 0 to 9")
    assert curve == curve[::-1]
    assert set(curve) == set("_.:-=+*#")


@on(
    ("call", "message", "following"),
    [
        ("plot", "no loss to draw", "tinyloss plot huber --param delta=0.5,1,2"),
        ("plot msee", "no loss is called 'msee'", "tinyloss info mse"),
        ("plot huber --param delta", "--param is 'delta', expected a name and numbers", ""),
        ("plot huber --param delta=1,x", "--param is 'delta=1,x', expected a name and", ""),
        ("plot huber --param delta=-1", "delta is -1.0, expected a number above 0", ""),
        ("plot huber --param gamma=1", "unexpected keyword argument 'gamma'", "info huber"),
        ("plot mse hinge", "expected losses of one axis", "tinyloss info mse"),
        ("plot mse --what zoo", "zoo takes no loss", "tinyloss plot --what zoo"),
        ("plot --what zoo --param q=1", "zoo takes no parameters", "tinyloss plot --what zoo"),
        ("plot --what zoo --text", "zoo is no text", "tinyloss plot --what zoo"),
        ("plot --what speed", "speed draws a report", "--what speed --report"),
        ("plot mse --report a.json", "speed draws a report", "--what speed --report"),
        ("plot --what speed --report a.json", "a.json: No such file or directory", ""),
        ("plot binary_cross_entropy --what landscape", "expected one over any real", "info bin"),
        ("plot mse --out picture.jpg", "expected a file that ends with .png", "--out picture.png"),
        ("plot mse --out missing", "there is no folder 'missing'", "mkdir -p missing"),
        ("plot mse --out missing/a.png", "there is no folder 'missing'", "mkdir -p missing"),
    ],
)
def test_a_wrong_call_says_what_and_what_next(
    call: str,
    message: str,
    following: str,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(call.split()) == 2
    said = capsys.readouterr().err
    assert message in said
    assert following in said.partition("\nNext: ")[2]
    assert said.startswith("tinyloss: ")
    assert "Next: tinyloss " in said or "Next: mkdir" in said
    assert names(folder) == []


def test_a_word_that_is_no_picture_is_a_wrong_call(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["plot", "--what", "everything"])
    assert stopped.value.code == 2
    assert "'zoo'" in capsys.readouterr().err
