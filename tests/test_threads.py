"""Threads at once: they get the same answers, and settings of their own."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import numpy as np
import pytest

import tinyloss
from tests.support.cases import CASES, in_doubles
from tests.support.compare import equal

# For losses chosen at run time, whose parameters no type checker can follow.
anyloss: Any = tinyloss


def test_threads_get_the_same_answers() -> None:
    asked: list[Any] = []
    for case in CASES:
        arrays, options = in_doubles(case)
        both = anyloss.value_and_grad(case.loss, case.argnums)
        asked.append(lambda f=both, a=arrays, o=options: f(*a, **o))
    expected = [ask() for ask in asked]
    start = threading.Barrier(8)

    def work(seed: int) -> None:
        order = np.random.default_rng(seed).permutation(len(asked))
        start.wait()
        for n in [*order, *order]:
            equal(asked[n](), expected[n])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))


def test_validation_is_per_thread() -> None:
    x, y = np.zeros((1, 3)), np.array([3])
    inside, done = threading.Event(), threading.Event()

    def unchecked() -> float:
        with tinyloss.validation("never"):
            inside.set()
            assert done.wait(30)
            return float(tinyloss.cross_entropy(x, y))

    def checked() -> None:
        assert inside.wait(30)
        try:
            with pytest.raises(ValueError, match="is 3"):
                tinyloss.cross_entropy(x, y)
        finally:
            done.set()

    with ThreadPoolExecutor(2) as pool:
        value, other = pool.submit(unchecked), pool.submit(checked)
        other.result()
        assert np.isnan(value.result())


def test_validation_is_of_the_context() -> None:
    x, y = np.zeros((1, 3)), np.array([3])
    with tinyloss.validation("never"):
        context = copy_context()
    assert np.isnan(context.run(tinyloss.cross_entropy, x, y))
    with pytest.raises(ValueError, match="is 3"):
        tinyloss.cross_entropy(x, y)


def test_torchs_number_of_threads_changes_no_bit_of_a_mean(torch: Any) -> None:
    rng = np.random.default_rng(0)
    x, y, *weights = (torch.from_numpy(rng.random(131_075)) for _ in range(12))

    def means(threads: int) -> list[float]:
        torch.set_num_threads(threads)
        return [tinyloss.mse(x, y, weight=w, where=w > 0.3).item() for w in weights]

    before = torch.get_num_threads()
    try:
        assert means(1) == means(2)
    finally:
        torch.set_num_threads(before)
