"""The example of strings of digits learns to read them, and draws one."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.example import loaded

strings: Any = loaded("ctc_digits")


def test_what_symbols_spell() -> None:
    logits = np.eye(11)[[[0, 4, 4, 0, 4, 2, 2, 0, 7]]]
    assert strings.read(logits, [9]) == ["3316"]
    assert strings.read(logits, [3]) == ["3"]


def test_its_gradient_is_the_networks() -> None:
    rng = np.random.default_rng(0)
    x, g = rng.standard_normal((2, 3, 96)), rng.standard_normal((2, 3, 11))
    params = [rng.standard_normal(shape) for shape in ((96, 5), (5,), (5, 11), (11,))]
    grads = strings.backward(params, x, strings.forward(params, x)[0], g)
    for place, grad in enumerate(grads):
        at = tuple(np.zeros(grad.ndim, int))
        ends = []
        for step in (1e-6, -1e-6):
            moved = [each.copy() for each in params]
            moved[place][at] += step
            ends.append(float((strings.forward(moved, x)[1] * g).sum()))
        assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(grad[at], rel=1e-6, abs=1e-6)


@pytest.mark.long
def test_learns_to_read_and_draws_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    run = strings.train(steps=200)
    # A network that says nothing reads no string; 200 steps gave seven in ten.
    assert run.right > 0.3
    assert np.mean(run.losses[-10:]) < np.mean(run.losses[:10]) / 5
    strings.plot(run, str(tmp_path / "read.png"))
    assert (tmp_path / "read.png").stat().st_size > 10_000
