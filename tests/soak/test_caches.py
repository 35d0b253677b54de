"""Kept kernels that are damaged at random, and kinds of calls that are told apart."""

import os

import pytest

pytest.importorskip("llvmlite")

from tests.soak import _timed
from tests.soak.caches import caches


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="files have no modes here")
@pytest.mark.parametrize("seed", range(3))
def test_answers_are_right_whatever_is_kept(seed: int) -> None:
    counts = _timed.run(caches, 5, seed)
    assert counts["calls"] > 100
    assert counts["damaged"] > 5
