"""`tinyloss info`, `source`, `learn` and `bench`, in process."""

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinyloss
from tests.support.specs import CLASSES, LOSSES
from tinyloss.cli import bench, info, learn, main, measure
from tinyloss.cli._contenders import Work, contenders
from tinyloss.cli._inputs import DRAWS, PATHS
from tinyloss.cli._others import of_torch
from tinyloss.cli._screen import Screen
from tinyloss.cli._usage import EVERY, PIECES
from tinyloss.cli.cards import card_of, cards
from tinyloss.cli.definitions import DEFINITIONS
from tinyloss.compiler import disk
from tinyloss.losses import public_losses

on = pytest.mark.parametrize
Said = pytest.CaptureFixture[str]


# ------------------------------------------------------------------------------------------ info


@pytest.fixture
def without_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """To import torch and JAX takes seconds."""
    here = "numpy"
    monkeypatch.setattr(
        "tinyloss.cli._libraries.Library.version",
        property(lambda library: "9.8" if library.name == here else None),
    )


@pytest.mark.usefixtures("without_libraries")
def test_info_tells_what_answers_whom_and_how_to_change_it(capsys: Said) -> None:
    assert main(["info"]) == 0
    said = capsys.readouterr().out
    assert "NumPy  9.8" in " ".join(said.split(" ")).replace("   ", "  ")
    assert "compiled loops, llvmlite" in said
    assert 'JAX       not installed: pip install "tinyloss[jax]"' in said
    assert "kernels" in said
    for name in EVERY:
        assert f" {name} " in said
    assert ", ".join(PIECES) in said


@pytest.mark.usefixtures("without_libraries")
def test_info_says_why_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch, capsys: Said) -> None:
    monkeypatch.setattr(info, "_version_of", lambda name: None)
    assert main(["info", "--json"]) == 0
    libraries = json.loads(capsys.readouterr().out)["libraries"]
    assert libraries["numpy"]["answer"] == "formulas, block by block"
    assert libraries["numpy"]["slower"] == "llvmlite is not installed"
    assert libraries["numpy"]["next"] == 'pip install "tinyloss[cpu]"'


def test_a_library_that_does_not_load_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    def broken(gpus: list[str]) -> Any:
        raise OSError("libcudart.so.13 is missing")

    monkeypatch.setattr("tinyloss.cli._libraries.Library.version", property(lambda library: "1"))
    monkeypatch.setattr(info, "_PATHS", {"cupy": broken})
    assert main(["info"]) == 0
    said = capsys.readouterr().out
    assert "nothing: it does not load" in said
    assert "OSError: libcudart.so.13 is missing" in said


def test_a_gpu_that_a_library_does_not_use_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    class Torch:
        class cuda:
            is_available = staticmethod(lambda: True)

    there = {"numpy", "torch"}
    monkeypatch.setattr(
        "tinyloss.cli._libraries.Library.version",
        property(lambda library: "2" if library.name in there else None),
    )
    monkeypatch.setattr(info, "_gpus", lambda: ["NVIDIA H100"])
    monkeypatch.setattr(info, "_compiles", lambda: None)
    monkeypatch.setattr(info, "import_module", lambda name: Torch)
    monkeypatch.setattr(info, "_PATHS", {"torch": info._torch})
    assert main(["info"]) == 0
    said = capsys.readouterr().out
    assert "NumPy's compiled loops; on CUDA formulas in torch" in said
    assert (
        'CuPy, which compiles CUDA\'s kernels, is not installed: pip install "tinyloss[cuda13]"'
        in said
    )
    assert "GPU       NVIDIA H100\n" in said


def test_info_empties_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    folder = tmp_path / "tinyloss" / "kernels"
    monkeypatch.setattr(disk, "_folder", lambda: folder)
    disk.keep(disk.key_of("a"), b"some code")
    disk.keep(disk.key_of("b"), b"more code")
    assert main(["info", "--clear-cache"]) == 0
    assert "removed 2 kernels" in capsys.readouterr().out
    assert list(folder.iterdir()) == []
    assert main(["info", "--clear-cache", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"removed": 0, "bytes": 0}


def test_the_cards_are_of_the_docstrings() -> None:
    known = cards()
    beside = [each.name for each in public_losses("images", "lists", "pairs", "sequences")]
    assert {*known} == {*LOSSES, *beside}
    for name, card in known.items():
        assert card.summary.endswith(".")
        for section in ("Use for", "Formula", "Gradient", "Accuracy", "Source"):
            assert card.sections[section], (name, section)
        assert card.objects
        assert all(CLASSES[getattr(tinyloss, each)].__name__ == name for each in card.objects)
    assert known["huber"].elsewhere == {
        "torch": "huber_loss",
        "optax": "huber_loss",
        "Keras": "Huber",
    }
    assert known["huber"].signature == "huber(x, y, *, delta=1.0)"


@on("library", ["torch", "optax"])
def test_names_elsewhere_are_there(library: str) -> None:
    module = pytest.importorskip("torch.nn.functional" if library == "torch" else "optax.losses")
    for name, card in cards().items():
        if library in card.elsewhere:
            for each in card.elsewhere[library].split(", "):
                assert hasattr(module, each.split("(")[0].split()[0]), (name, each)


@pytest.fixture
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside torch there is one more column."""
    monkeypatch.setattr(
        "tinyloss.cli._libraries.Library.version",
        property(lambda library: "2" if library.name == "numpy" else None),
    )


@pytest.mark.usefixtures("without_torch")
@on("name", [*DEFINITIONS])
def test_a_card_has_numbers_and_curves(name: str, capsys: Said) -> None:
    assert main(["info", name]) == 0
    lines = capsys.readouterr().out.splitlines()
    path = PATHS[DEFINITIONS[name].draw]
    head = next(at for at, line in enumerate(lines) if path.label in line)
    table = [line.split() for line in lines[head + 1 : head + 1 + len(path.points)]]
    assert [float(row[0]) for row in table] == pytest.approx(path.points, rel=1e-5)
    # infinities are right: exp(1000), and the slope of a logarithm at 0
    assert not any(math.isnan(float(each)) for row in table for each in row[1:])
    heads = ("loss ", "gradient ", "value ")
    curves = [line.split()[1] for line in lines if line.startswith(heads)]
    assert any(len(each) == 49 and set(each) <= set("▁▂▃▄▅▆▇█") for each in curves)


@pytest.mark.usefixtures("without_torch")
@on("name", [name for name in EVERY if name in DEFINITIONS and name not in LOSSES])
def test_the_worst_errors_of_other_items_are_few_eps(name: str, capsys: Said) -> None:
    assert main(["info", name]) == 0
    errors = re.search(r"\ntinyloss +([\d.]+) eps +([\d.]+) eps\n", capsys.readouterr().out)
    assert errors is not None
    assert all(float(each) < 16 for each in errors.groups())


@pytest.mark.usefixtures("without_torch")
@on("name", [name for name in EVERY if name not in DEFINITIONS])
def test_a_card_of_a_batch_has_an_example(name: str, capsys: Said) -> None:
    assert main(["info", name]) == 0
    said = capsys.readouterr().out
    assert f"tinyloss.{name}" in said.partition("\nexample\n>>> import numpy as np, tinyloss\n")[2]


def test_a_card_in_json_has_the_example_and_the_traits(capsys: Said) -> None:
    assert main(["info", "listmle", "softmax", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["listmle"]["example"].startswith(">>> ")
    assert found["listmle"]["traits"]["convex"] is True
    assert found["softmax"]["traits"]["convex"] is None


def test_a_long_name_has_a_line_of_its_own(capsys: Said) -> None:
    Screen().field("segmentation-models", "LovaszLoss")
    assert capsys.readouterr().out.splitlines() == ["segmentation-models", " " * 14 + "LovaszLoss"]


@on("name", ["margin_ranking", "cosine_similarity"])
def test_a_card_of_pairs_stands_beside_torch(name: str, capsys: Said) -> None:
    pytest.importorskip("torch")
    assert main(["info", name]) == 0
    assert "torch's gradient" in capsys.readouterr().out


def test_torchs_ctc_takes_other_arguments() -> None:
    assert of_torch("ctc") is None


def test_a_card_tells_the_worst_errors_beside_torchs(capsys: Said) -> None:
    pytest.importorskip("torch")
    assert main(["info", "cross_entropy"]) == 0
    lines = capsys.readouterr().out.splitlines()
    said = " ".join(line[14:] for line in lines[:60] if not line[:1].isdigit())
    assert "traits        convex: yes; slope: at most 1.414; curvature: at most 0.5" in "\n".join(
        lines
    )
    assert "best prediction: log(class probabilities); proper: yes" in said
    first = next(at for at, line in enumerate(lines) if line.startswith("worst in float32"))
    ours, theirs = lines[first + 1 : first + 3]
    errors = re.fullmatch(r"tinyloss +([\d.]+) eps +([\d.]+) eps", ours)
    assert errors is not None
    assert all(0.3 < float(error) <= 4 for error in errors.groups())
    assert re.fullmatch(r"torch [\d.]+ +no digit +no digit", theirs)
    confident = next(line.split() for line in lines if line.split()[:1] == ["20"])
    assert confident[3:] == ["-0", "✗", "0", "✗"]


def test_every_kind_of_argument_has_a_path() -> None:
    assert {*PATHS} == {*DRAWS}


# ---------------------------------------------------------------------------------------- source


@on(
    ("target", "words"),
    [("llvm", "def kernel("), ("cuda", "__global__"), ("jaxpr", "{ lambda ; ")],
)
def test_source_shows_the_program(target: str, words: str, capsys: Said) -> None:
    if target == "jaxpr":
        pytest.importorskip("jax")
    assert main(["source", "cross_entropy", "--target", target]) == 0
    assert words in capsys.readouterr().out


# ----------------------------------------------------------------------------------------- learn


def test_learn_copies_lessons_and_exercises_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    pages = tmp_path / "pages"
    pages.mkdir()
    (pages / "01_first.py").write_text("print('α')\n", encoding="utf-8")
    monkeypatch.setattr(learn, "_FOLDERS", (tmp_path / "nowhere", pages))
    folder = tmp_path / "a" / "b"
    assert main(["learn", str(folder)]) == 0
    assert sorted(each.name for each in folder.iterdir()) == ["01_first.py", "losses.py"]
    assert (folder / "01_first.py").read_text(encoding="utf-8") == "print('α')\n"
    assert f"python {folder / '01_first.py'}" in capsys.readouterr().out
    (folder / "losses.py").write_text("mine", encoding="utf-8")
    assert main(["learn", str(folder)]) == 0
    assert (folder / "losses.py").read_text(encoding="utf-8") == "mine"
    assert "stays as it is" in capsys.readouterr().out


def test_the_exercises_are_losses_and_can_be_checked(tmp_path: Path, capsys: Said) -> None:
    assert main(["learn", str(tmp_path)]) == 0
    names: dict[str, Any] = {}
    exec((tmp_path / "losses.py").read_text(encoding="utf-8"), names)
    functions = {each for each in names if callable(names[each]) and each[0] != "_"}
    assert {each.removesuffix("_gradient") for each in functions} <= {*LOSSES}
    capsys.readouterr()
    assert main(["check", f"{tmp_path / 'losses.py'}:huber"]) == 1
    assert "returned None: is there a return?" in capsys.readouterr().out


def test_learn_refuses_a_folder_that_cannot_be(tmp_path: Path, capsys: Said) -> None:
    (tmp_path / "file").write_text("")
    assert main(["learn", str(tmp_path / "file" / "folder")]) == 2
    assert "\nNext: tinyloss learn" in capsys.readouterr().err


# ----------------------------------------------------------------------------------------- bench


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of a small work, as it is kept."""
    folder = tmp_path_factory.mktemp("bench")
    with pytest.MonkeyPatch.context() as patch:
        # A process of its own takes a second for each.
        patch.setattr("tinyloss.cli.bench._memory", lambda work, *_: 0.5)
        printed: list[Any] = []
        patch.setattr("tinyloss.cli._screen.Screen.json", lambda screen, made: printed.append(made))
        call = ["bench", "mse", "--shape", "64x10", "--against", "", "--seconds", "0.01", "--json"]
        assert main([*call, "--report", str(folder / "page.html")]) == 0
    (folder / "report.json").write_text(json.dumps(printed[0], allow_nan=False))
    return folder


def test_bench_measures_beside_the_floor(report: Path) -> None:
    made = json.loads((report / "report.json").read_text())
    (work,) = made["works"]
    assert work["label"] == "mse 64 × 10 float32"
    assert work["bytes"] == 3 * 64 * 10 * 4
    rows = {row["name"]: row for row in work["contenders"]}
    assert [*rows] == ["floor: the bytes alone", "tinyloss"]
    assert rows["tinyloss"]["seconds"]["samples"] >= 5
    assert 0 < rows["tinyloss"]["error_eps"] <= 2
    assert rows["tinyloss"]["extra_mb"] == 0.5


def test_bench_without_anybody_to_time_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    def nobody(*arguments: Any) -> dict[str, Any]:
        arguments[4]["tinyloss on CuPy is left out: no GPU"] = None
        return {}

    monkeypatch.setattr(bench, "_ready", nobody)
    assert main(["bench", "mse"]) == 2
    assert capsys.readouterr().err == (
        "tinyloss: tinyloss on CuPy is left out: no GPU\nNext: tinyloss info\n"
    )


class Page(HTMLParser):
    """The tags of a page that are open, and what it would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [f"{tag} {name}" for name, _ in attrs if name in ("src", "href")]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_its_page_is_whole_and_fetches_nothing(report: Path) -> None:
    text = (report / "page.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.open == []
    assert page.fetched == []
    assert "url(" not in text
    assert "prefers-color-scheme: dark" in text
    assert "mse 64 × 10 float32" in text


def test_bench_shows_a_table_and_warns_of_a_busy_machine(
    monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    monkeypatch.setattr(measure, "busy", lambda seconds: 0.4)
    monkeypatch.setattr("tinyloss.cli.bench._memory", lambda *_: None)
    call = ["bench", "cross_entropy", "--shape", "8x10", "--against", "", "--seconds", "0.01"]
    assert main(call) == 0
    said = capsys.readouterr().out
    assert "floor: the bytes alone" in said
    assert "the time of the floor" in said
    assert "others took 40% of the processors" in said


def changed(report: Path, factor: float) -> Path:
    made = json.loads((report / "report.json").read_text())
    for row in made["works"][0]["contenders"]:
        for each in ("median", "min", "max"):
            row["seconds"][each] *= factor
    path = report / f"times {factor}.json"
    path.write_text(json.dumps(made))
    return path


@on(("factor", "said"), [(100.0, "slower"), (0.01, "faster"), (1.0, "within the spread")])
def test_two_reports_are_compared(factor: float, said: str, report: Path, capsys: Said) -> None:
    old, new = report / "report.json", changed(report, factor)
    assert main(["bench", "--compare", str(old), str(new)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(f"{factor:.2f}×" in line and said in line for line in lines) == 2


@on("text", ["{", "[]", '{"works": 3}'])
def test_what_is_no_report_is_refused(text: str, tmp_path: Path, capsys: Said) -> None:
    path = tmp_path / "old.json"
    path.write_text(text)
    assert main(["bench", "--compare", str(path), str(path)]) == 2
    assert "is no report of tinyloss bench" in capsys.readouterr().err


@on(
    ("name", "other"),
    [(name, other) for name in LOSSES for other in ("torch", "optax") if card_of(name).same(other)],
)
def test_others_compute_the_same_loss(name: str, other: str) -> None:
    pytest.importorskip(other)
    work = Work(name, (16, 5), "float32")
    given = work.arguments()
    (theirs,) = (e for e in contenders(work, [], [other], 1) if not e.name.startswith("floor"))
    value, gradient = theirs.prepare(work, given)()
    ours: Any = tinyloss.value_and_grad(getattr(tinyloss, name))
    expected, its_gradient = ours(*given)
    assert float(value.detach() if other == "torch" else value) == pytest.approx(expected, rel=1e-5)
    # Terms of opposite sign leave fewer digits of a number near 0.
    np.testing.assert_allclose(np.asarray(gradient), its_gradient, rtol=1e-4, atol=1e-6)


def test_memory_is_measured_in_a_process_of_its_own() -> None:
    from tinyloss.cli.bench import _memory

    work = Work("mse", (1000, 1000), "float32")
    grown = _memory(work, ["numpy"], [], 1, "tinyloss")
    assert grown is None or 0 <= grown < 4  # None: this is no Linux; 4: the size of x
