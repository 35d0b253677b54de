"""Thousands of compiled calls beside pages that must not be touched."""

import os
import random
import time

import pytest

pytest.importorskip("llvmlite")
if os.name != "posix":
    pytest.skip("mprotect is POSIX's", allow_module_level=True)

from tests.soak.guard_pages import guard_pages


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_compiled_loops_touch_nothing_but_their_arrays(seed: int) -> None:
    counts = guard_pages(random.Random(seed), time.monotonic() + 300)
    assert counts["compiled"] > 100
