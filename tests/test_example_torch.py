"""The example for torch: both losses learn, and from the same weights they learn the same."""

from typing import Any

import numpy as np
import pytest

from tests.support.example import EPS, with_torch
from tests.support.params import turns

on = pytest.mark.parametrize


def trained(task: str, library: str, steps: int) -> Any:
    seen: list[float] = []
    run = with_torch.train(task, library, steps, on_step=seen.append)
    assert run.losses == seen
    assert len(run.of_loss) == len(run.of_step) == steps
    return run


def test_the_digits_are_read(torch: Any) -> None:
    runs = [trained("digits", library, 300) for library in with_torch.CRITERIA]
    assert all(run.accuracy >= 0.95 for run in runs)
    # The losses of a step differ by roundings, which the steps before have passed on.
    np.testing.assert_allclose(runs[0].losses[:20], runs[1].losses[:20], rtol=64 * EPS)


@on("library", turns(["torch", "tinyloss"], 2))
def test_the_words_that_follow_are_learnt(torch: Any, library: str) -> None:
    run = trained("tokens", library, 3)
    assert run.losses[-1] < run.losses[0] - 0.01


def test_the_command_reports_both(torch: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with_torch.main(["--steps", "4"])
    lines = capsys.readouterr().out.splitlines()
    for library in ("torch", "tinyloss"):
        assert sum(line.startswith(f"{library}, step") for line in lines) == 4
        assert any(line.startswith(f"{library}  ") and "%" in line for line in lines)
