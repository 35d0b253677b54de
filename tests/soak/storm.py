"""Calls of losses that a signal handler breaks off at random moments; `interrupts` looks on.

What a call leaves behind must hold still: memory that it gave back, and the arrays that it wrote
to, are filled at once, and looked at a little later. A call afterwards gives the same bits.
"""

import hashlib
import random
import signal
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

import tinyloss
import tinyloss_numpy
from tests.soak._timed import Counts, timed
from tinyloss.compiler import disk

Array = npt.NDArray[Any]
Call = Callable[..., Any]


class Timeout(BaseException):
    """What the handler raises."""


_armed = False


def _raise(*_: object) -> None:
    if _armed:
        raise Timeout


def broken_off(call: Callable[[], Any], after: float, again: float) -> Any:
    """Return call(), None if a signal came before it ended; more signals follow the first."""
    global _armed
    try:
        try:
            _armed = True
            signal.setitimer(signal.ITIMER_REAL, after, again)
            return call()
        finally:
            _armed = False
            signal.setitimer(signal.ITIMER_REAL, 0)
    except Timeout:
        return None


def bits(results: Any) -> str:
    """Return a digest of all bits of results."""
    digest = hashlib.sha256()
    for each in results:
        digest.update(np.ascontiguousarray(each).tobytes())
    return digest.hexdigest()


def _elements(rng: np.random.Generator) -> tuple[Call, tuple[Array, ...]]:
    x = rng.standard_normal(400_000).astype("f")
    return tinyloss.value_and_grad(tinyloss.mse), (x, np.roll(x, 1))


def _rows(rng: np.random.Generator) -> tuple[Call, tuple[Array, ...]]:
    x = rng.standard_normal((4000, 100)).astype("f")
    loss = tinyloss.value_and_grad(tinyloss.cross_entropy)
    return loss, (x, rng.integers(0, 100, 4000))


def _no_sum(rng: np.random.Generator) -> tuple[Call, tuple[Array, ...]]:
    x = rng.standard_normal((300, 1000))
    return (lambda x: (tinyloss.softmax(x),)), (x,)


def _both(rng: np.random.Generator) -> tuple[Call, tuple[Array, ...]]:
    x = rng.standard_normal((3000, 50)).astype("f")
    with tinyloss_numpy.compilation("never"):
        y = tinyloss.softmax(x[::-1])
    derive = tinyloss.value_and_grad(tinyloss.kl_div_with_logits, (0, 1))

    def call(x: Array, y: Array) -> Any:
        value, grads = derive(x, y)
        return (value, *grads)

    return call, (x, y)


_AT_LEAST = 30
"""Calls that are broken off on a slow machine, too."""

_COMPILING = 0.2
"""Seconds that it takes to compile a loss of elements, or a little more."""

CASES = (_elements, _rows, _no_sum, _both)


class Canary:
    """Memory that nobody else may write to."""

    def __init__(self, *arrays: Array) -> None:
        self._arrays = arrays
        for each in arrays:
            each.view(np.uint8)[...] = 0xA5

    def check(self) -> None:
        """Fail if somebody did."""
        for each in self._arrays:
            assert (each.view(np.uint8) == 0xA5).all(), "memory was written after the call"


def _storm_call(rng: random.Random, call: Call, arrays: tuple[Array, ...], expected: str) -> bool:
    """Break off a call, or not in time; return whether it was."""
    copies = tuple([each.copy() for each in arrays])
    started = time.perf_counter()
    assert bits(call(*copies)) == expected
    took = time.perf_counter() - started
    again = rng.choice([0, 0, 1e-5, 1e-4, 1e-3])
    results = broken_off(partial(call, *copies), rng.uniform(1e-6, took), again)
    if results is not None:
        assert bits(results) == expected
        return False
    del copies  # nobody holds them now, nor the gradients
    canary = Canary(*[np.empty(each.nbytes, np.uint8) for each in (*arrays, *arrays)])
    time.sleep(rng.choice([0, 0.001, 0.01]))
    canary.check()
    return True


def _storm_out(rng: random.Random, x: Array, y: Array) -> bool:
    """Break off a call that writes into an array of the caller's; return whether it was."""
    out = x.copy() if rng.random() < 0.5 else np.empty_like(x)
    source = out if rng.random() < 0.5 else x
    np.copyto(out, x)
    derive = tinyloss.value_and_grad(tinyloss.mse, out=out)
    results = broken_off(lambda: derive(source, y), rng.uniform(1e-6, 2e-3), 0)
    if results is not None:
        assert results[1] is out
        return False
    canary = Canary(out)
    time.sleep(rng.choice([0, 0.001, 0.01]))
    canary.check()
    return True


def _storm_compiler(rng: random.Random, x: Array, y: Array) -> bool:
    """Break off a call that compiles; return whether it was. The next call has its kernel."""
    disk.clear()
    tinyloss.clear_caches()
    delta = rng.uniform(0.1, 1)
    derive = tinyloss.value_and_grad(tinyloss.huber)
    results = broken_off(lambda: derive(x, y, delta=delta), rng.uniform(1e-4, _COMPILING), 0)
    after = derive(x, y, delta=delta)
    assert results is None or bits(results) == bits(after)
    with tinyloss_numpy.compilation("never"):
        value, gradient = derive(x, y, delta=delta)
    np.testing.assert_allclose(after[0], value, rtol=1e-5)
    np.testing.assert_allclose(after[1], gradient, rtol=1e-5, atol=1e-12)
    return results is None


def storm(rng: random.Random, deadline: float) -> Counts:
    """Break off calls until the time is up, which starts once the cases are compiled."""
    left = deadline - time.monotonic()
    signal.signal(signal.SIGALRM, _raise)
    counts = {"calls": 0, "interrupted": 0, "while compiling": 0, "while writing to out": 0}
    own = np.random.default_rng(rng.getrandbits(32))
    _, small = _elements(own)
    # a loss that was not compiled is an error
    with warnings.catch_warnings(), tinyloss_numpy.compilation("always"):
        warnings.simplefilter("error")
        with tinyloss_numpy.threads(4):
            # the very first compilation imports LLVM
            counts["while compiling"] += _storm_compiler(rng, small[0][:100], small[1][:100])
            drawn = [case(own) for case in CASES]
            cases = [(call, arrays, bits(call(*arrays))) for call, arrays in drawn]
            deadline = time.monotonic() + left
            while counts["interrupted"] < _AT_LEAST or time.monotonic() < deadline:
                counts["calls"] += 1
                kind = rng.random()
                if kind < 0.01:
                    done = _storm_compiler(rng, *small)
                    counts["while compiling"] += done
                elif kind < 0.3:
                    done = _storm_out(rng, *small)
                    counts["while writing to out"] += done
                else:
                    done = _storm_call(rng, *rng.choice(cases))
                counts["interrupted"] += done
            for call, arrays, expected in cases:
                assert bits(call(*arrays)) == expected
    return counts


if __name__ == "__main__":
    timed(storm)
