"""The command line as a whole: its commands, what a wrong call says, pipes, and plain text."""

import json
import os
import pkgutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

import tinyloss
from tests.support.process import ROOT, python
from tinyloss.cli import main
from tinyloss.cli._screen import Screen, good
from tinyloss.cli._usage import LOSSES

on = pytest.mark.parametrize

COMMANDS = ("check", "info", "bench", "plot", "source", "learn")


def start(*arguments: str, **options: Any) -> "subprocess.Popen[str]":
    paths = os.pathsep.join([str(ROOT), str(ROOT / "backends")])
    return subprocess.Popen(
        [sys.executable, "-m", "tinyloss", *arguments],
        env=os.environ | {"PYTHONPATH": paths},
        text=True,
        **options,
    )


def test_the_module_is_the_command() -> None:
    assert python("-m", "tinyloss", "--version") == f"tinyloss {tinyloss.__version__}\n"


def test_the_command_is_an_entry_point() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert pkgutil.resolve_name(project["scripts"]["tinyloss"]) is main


def test_without_a_command_the_help_lists_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    said = capsys.readouterr().out
    for command in COMMANDS:
        assert f"\n    {command} " in said


@on("command", COMMANDS)
def test_each_command_has_a_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert f"usage: tinyloss {command}" in capsys.readouterr().out


@on("call", [["chek"], ["check", "--of"], ["source"], ["bench", "--shape", "0x3"]], ids=" ".join)
def test_what_the_parser_refuses(call: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(call)
    assert ended.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "\nNext: tinyloss" in captured.err


@on(
    ("call", "said", "next_command"),
    [
        ("check crossentropy", "'crossentropy'", "tinyloss info cross_entropy"),
        ("info HuberLoss", "'HuberLoss'", "tinyloss info huber"),
        ("info bce", "'bce'", "tinyloss info binary_cross_entropy"),
        ("info l1_loss", "'l1_loss'", "tinyloss info mae"),
        ("info focal", "'focal'", "tinyloss info sigmoid_focal"),
        ("info value_and_grad", "has no card", "help(tinyloss.value_and_grad)"),
        ("info listml", "'listml'", "tinyloss info listmle"),
        ("info CTCLoss", "'CTCLoss'", "tinyloss info ctc"),
        ("check info_nce", "no loss of predictions", "tinyloss info info_nce"),
        ("source softmax", "no loss of predictions", "tinyloss info softmax"),
        ("source zzz", "'zzz'", "tinyloss info"),
        ("check mse --on numby", "expected one of numpy", "tinyloss info"),
        ("check nowhere.py:f --as mse", "no file nowhere.py", "tinyloss learn lessons"),
        ("check --as mse", "--as tells", "tinyloss check FILE.py:FUNCTION --as mse"),
        ("bench mse --against tensorflow", "'tensorflow'", "tinyloss bench --against torch"),
        ("bench cross_entropy --shape 4000", "rows of classes", "--shape 8192x1000"),
        ("bench mse --seconds 0", "above 0", "tinyloss bench --help"),
        ("bench mse --report nowhere/page.html", "no folder 'nowhere'", "mkdir -p nowhere"),
        ("bench --compare old.json new.json", "cannot read old.json", "tinyloss bench --json"),
    ],
)
def test_what_a_command_refuses(
    call: str, said: str, next_command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(call.split()) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    message, _, next_line = captured.err.partition("\nNext: ")
    assert message.startswith("tinyloss: ")
    assert said in message
    assert next_command in next_line


def test_a_missing_library_is_told_with_its_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tinyloss.cli._libraries.find_spec", lambda name: None)
    assert main(["check", "mse", "--on", "jax"]) == 2
    assert capsys.readouterr().err == (
        'tinyloss: JAX is not installed\nNext: pip install "tinyloss[jax]"\n'
    )


@on("call", ["info mse huber", "plot mse --text", "learn {folder}"])
def test_a_closed_pipe_ends_without_a_word(call: str, tmp_path: Path) -> None:
    arguments = call.format(folder=tmp_path).split()
    with start(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == ""
    assert running.returncode == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk here")
def test_a_full_disk_is_told() -> None:
    with (
        open("/dev/full", "w") as full,
        start("info", "mse", stdout=full, stderr=subprocess.PIPE) as running,
    ):
        assert running.stderr is not None
        assert running.stderr.read().endswith("left on device\nNext: tinyloss --help\n")
    assert running.returncode == 2


def test_nothing_is_said_where_nobody_hears(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python has None for an output that was closed when it began."""
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert main(["check", "mae"]) == 0
    assert main(["info", "maee"]) == 2


def test_a_bar_that_is_stopped_while_it_starts_gives_the_cursor_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    console = pytest.importorskip("rich.console")

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(console.Console, "push_render_hook", stop)
    screen, shown = Screen(), StringIO()
    screen._rich = console.Console(file=shown, force_terminal=True)
    with pytest.raises(KeyboardInterrupt), screen.bar(1):
        pass
    hidden, given_back = "\x1b[?25l", "\x1b[?25h"
    assert shown.getvalue().rindex(given_back) > shown.getvalue().rindex(hidden)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such terminals")
def test_a_bar_on_the_terminal_takes_nothing_from_a_pipe() -> None:
    terminal, its_end = os.openpty()
    try:
        with start("check", "mae", stdout=subprocess.PIPE, stderr=its_end) as running:
            os.close(its_end)
            assert running.stdout is not None
            said = running.stdout.read()
        assert running.returncode == 0
        assert "✓ computes the definition" in said
        shown = os.read(terminal, 2**16).decode()
        assert "mae" in shown
        assert "definition" not in shown
    finally:
        os.close(terminal)


@pytest.fixture
def heard() -> Iterator[None]:
    """Let what is started hear interrupts: a shell has background jobs ignore them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signal")
@pytest.mark.usefixtures("heard")
def test_an_interrupt_ends_without_a_traceback(tmp_path: Path) -> None:
    file = tmp_path / "slow.py"
    file.write_text(
        "import time\n\ndef mse(x, y):\n    print('here', flush=True)\n    time.sleep(60)\n"
    )
    with start("check", f"{file}:mse", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stderr is not None
        assert running.stderr.readline() == "here\n"  # what a function prints is no report
        time.sleep(0.1)
        running.send_signal(signal.SIGINT)
        assert running.stderr.read() == "tinyloss: stopped\n"
    assert running.returncode == 130


def test_rich_adds_colour_and_no_word(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    console = pytest.importorskip("rich.console")

    def printed(rich: Any) -> str:
        screen = Screen()
        screen._rich = rich
        screen.row(3, good("✓"), "computes the definition", 40, "60 ordinary inputs")
        screen.table([["a", good("bcd")], ["efg", "h"]], right=[1])
        screen.field("use for", "numbers with [outliers]")
        return capsys.readouterr().out

    plain = printed(None)
    assert printed(console.Console(color_system=None, width=200)).split() == plain.split()
    coloured = printed(console.Console(force_terminal=True, color_system="standard", width=200))
    assert "\x1b[32m✓\x1b[0m" in coloured
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in printed(console.Console(force_terminal=True, width=200))


def test_the_last_column_is_wrapped_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    screen = Screen()
    rows = [["mse", "numbers whose errors are alike in size"], ["huber", ""]]
    screen.table(rows)
    assert capsys.readouterr().out == "mse    numbers whose errors are alike in size\nhuber\n"
    screen._terminal = True
    screen.table(rows)
    said = capsys.readouterr().out
    assert said == "mse    numbers whose errors are alike in\n       size\nhuber\n"


def test_an_output_without_the_signs_gets_others(tmp_path: Path) -> None:
    said = python("-m", "tinyloss", "learn", str(tmp_path), PYTHONIOENCODING="ascii")
    assert said.isascii()
    assert f"+ {tmp_path / 'losses.py'}\n" in said


def test_programs_get_json_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "mse", "huber", "--json"]) == 0
    cards = json.loads(capsys.readouterr().out)
    assert set(cards) == {"mse", "huber"}
    assert cards["huber"]["elsewhere"]["Keras"] == "Huber"
    assert cards["huber"]["traits"]["lipschitz"] == 1
    assert cards["mse"]["traits"]["range"] == [0, "inf"]


def test_the_losses_are_all_known() -> None:
    from tests.support.specs import LOSSES as RECORDED

    assert {*LOSSES} == {*RECORDED}
