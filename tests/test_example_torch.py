"""The example for torch: our loss learns, and what torch's learns from the same weights."""

from typing import Any

import numpy as np
import pytest

from tests.support.example import EPS, with_torch

on = pytest.mark.parametrize


def trained(task: str, library: str, steps: int) -> Any:
    seen: list[float] = []
    run = with_torch.train(task, library, steps, on_step=seen.append)
    assert run.losses == seen
    assert len(run.of_loss) == len(run.of_step) == steps
    return run


def test_the_digits_are_read(torch: Any) -> None:
    ours, theirs = trained("digits", "tinyloss", 300), trained("digits", "torch", 20)
    assert ours.accuracy >= 0.95
    # The losses of a step differ by roundings, which the steps before have passed on.
    np.testing.assert_allclose(ours.losses[:20], theirs.losses, rtol=64 * EPS)


# torch's own loss is what ours is measured by.
@on("library", ["tinyloss", pytest.param("torch", marks=pytest.mark.slow)])
def test_the_words_that_follow_are_learnt(
    torch: Any, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(with_torch, "TOKENS", 1024)  # a quarter, of as many words
    run = trained("tokens", library, 3)
    # What the batches differ by is within 0.05.
    assert run.losses[-1] < run.losses[0] - 0.15


def test_the_command_reports_both(torch: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with_torch.main(["--steps", "4"])
    lines = capsys.readouterr().out.splitlines()
    for library in ("torch", "tinyloss"):
        assert sum(line.startswith(f"{library}, step") for line in lines) == 4
        assert any(line.startswith(f"{library}  ") and "%" in line for line in lines)
