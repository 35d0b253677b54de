"""The example of ranking: lists that were not seen come in a better order."""

from pathlib import Path

import pytest

from tests.support.example import ranking


# 30 steps gave 0.66 to 0.69, from 0.51.
@pytest.mark.parametrize("loss", ["pairwise_logistic", "pairwise_mse"])
def test_learns_an_order(loss: str) -> None:
    pytest.importorskip("sklearn")
    found = ranking.train(loss, steps=30)
    assert found[-1] > found[0] + 0.1


def test_draws_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "ranking.png"
    ranking.plot({"pairwise_hinge": [0.4, 0.6, 0.7], "pairwise_mse": [0.4, 0.5, 0.6]}, str(path))
    assert path.stat().st_size > 10_000
