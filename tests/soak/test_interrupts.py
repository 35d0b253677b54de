"""Hundreds of calls broken off at random moments."""

import signal

import pytest

pytest.importorskip("llvmlite")

from tests.soak import _timed
from tests.soak.interrupts import interrupts


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no such alarm")
@pytest.mark.parametrize("seed", range(3))
def test_interrupted_calls_leave_nothing_behind(seed: int) -> None:
    counts = _timed.run(interrupts, 5, seed)
    assert counts["interrupted"] > 200
    assert counts["while compiling"] > 20
    assert counts["while writing to out"] > 50
