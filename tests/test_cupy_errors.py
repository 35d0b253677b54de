"""Errors in kernels are found: by a wrong result, or by the emulator's report."""

import re
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinyloss
from tests.support.emulation import EmulationError, machine
from tests.support.emulation.compiler import compiled
from tests.support.on_cupy import (
    FEW,
    cross_entropy,
    emulated,
    labels,
    logits,
    on_host,
    spoken,
)

pytestmark = emulated

Mutation = tuple[str, str]


def wrong(run: Callable[[], Any], expected: Any) -> bool:
    try:
        got = run()
    except EmulationError:
        return True
    return not all(
        np.allclose(result, want, rtol=FEW, atol=1e-9, equal_nan=True)
        for result, want in zip(got, expected, strict=True)
    )


def nll_in_place() -> Any:
    asarray = sys.modules["cupy"].asarray
    x, y = asarray(logits(3, 5003)), asarray(labels(3, classes=5003))
    return on_host(tinyloss.value_and_grad(tinyloss.nll, out=x)(x, y))


def short() -> Any:
    return cross_entropy(100, rows=37)


def block() -> Any:
    return cross_entropy(5003)


def cluster() -> Any:
    return cross_entropy(131072)


def again() -> Any:
    return cross_entropy(300_001)


def pairs(name: str, *shape: int) -> Any:
    asarray, loss = sys.modules["cupy"].asarray, getattr(tinyloss, name)
    x, y = asarray(logits(*shape)), asarray(labels(*shape, classes=4).astype(np.float32))
    return on_host(tinyloss.value_and_grad(loss)(x, y))


def short_pairs() -> Any:
    return pairs("lambdarank", 37, 10)


def block_of_pairs() -> Any:
    return pairs("lambdarank", 3, 200)


def cluster_of_pairs() -> Any:
    return pairs("lambdarank", 1, 700)


def pairs_in_place() -> Any:
    asarray = sys.modules["cupy"].asarray
    x, y = asarray(logits(3, 200)), asarray(labels(3, 200, classes=4).astype(np.float32))
    return (on_host(tinyloss.grad(tinyloss.pairwise_logistic, out=x)(x, y)),)


def elements() -> Any:
    asarray = sys.modules["cupy"].asarray
    x, y = asarray(logits(10_001)[1:]), asarray(logits(10_001)[::-1][1:])
    return on_host(tinyloss.value_and_grad(tinyloss.mse)(x, y))


def sequences() -> Any:
    asarray = sys.modules["cupy"].asarray
    x, y = map(asarray, spoken(3, 45, 20, 50))
    large = asarray(np.full(3, 1e20))  # lest what is small counts as nothing
    step: Any = tinyloss.value_and_grad(tinyloss.ctc)
    return on_host(step(x, y, weight=large, reduction="none"))


def one_block_of_sequences() -> Any:
    from tinyloss_cupy import _sequences

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_sequences, "_MEMORY", 1)
        return sequences()


def many_states() -> Any:
    x, y = map(sys.modules["cupy"].asarray, spoken(1, 560, 515, 50))
    return on_host(tinyloss.value_and_grad(tinyloss.ctc)(x, y))


BARRIER = "if (TEAM > 32) __syncthreads();"
CLUSTER_BARRIER = "__cluster_barrier_arrive();\n    __cluster_barrier_wait();"
HIGH = "const int high = length - first < LANES ? int(length - first) : LANES;"
LOW = "const int low = first < 0 ? int(-first) : 0;"

MUTANTS: dict[str, tuple[Callable[[], Any], Mutation]] = {
    "a block's barrier is missing": (block, (BARRIER, "if (false) {}")),
    "a cluster's barrier is missing": (cluster, (CLUSTER_BARRIER, "")),
    "a cluster's barrier is waited at by some": (
        cluster,
        ("__cluster_barrier_wait();", "if (threadIdx.x < 224) __cluster_barrier_wait();"),
    ),
    "a cluster does not wait for all blocks to be there": (
        cluster,
        ("    wait_for_row();\n    for (long long row", "    for (long long row"),
    ),
    "slots are written again while they are read": (block, ("turn = 1 - turn;", "")),
    "a step of the shuffles is missed": (short, ("step = width / 2", "step = width / 4")),
    "a shuffle leaves lanes out": (short, ("? 0xffffffff", "? 0x7fffffff")),
    "a warp is left out of a sum": (block, ("n < count; n += 32", "n < count - 1; n += 32")),
    "a cluster's block is left out of a sum": (
        cluster,
        ("slots[turn][number++], CLUSTER * WARPS", "slots[turn][number++], (CLUSTER - 1) * WARPS"),
    ),
    "a thread returns before a shuffle": (
        short,
        (
            "        Packet<float> x_0_packets",
            "        if (me == 3) return;\n        Packet<float> x_0_packets",
        ),
    ),
    "a barrier stands where threads diverge": (
        block,
        ("gather(exchange, turn, max", "if (threadIdx.x < 32) gather(exchange, turn, max"),
    ),
    "the tail is taken for whole": (block, (HIGH, "const int high = LANES;")),
    "the tail is left out": (block, (HIGH, "const int high = length - first < LANES ? 0 : LANES;")),
    "the head is counted twice": (block, (LOW, "const int low = 0;")),
    "packets are not aligned": (block, ("sizeof(T) % LANES)", "sizeof(T) % 1)")),
    "a write is one packet too far": (
        block,
        ("::type*)to + n, packet", "::type*)to + n + 1, packet"),
    ),
    "a write is one number too far": (
        block,
        ("write(to + lane, packet", "write(to + lane + 1, packet"),
    ),
    "an item is counted twice": (short, ("if (me == 0)", "if (me < 2)")),
    "a row is left out": (short, ("row < table.items", "row < table.items - 1")),
    "the target is the class beside it": (block, ("lane == y_1_lane", "lane + 1 == y_1_lane")),
    "the sum of a row forgets the last packets": (block, ("k < KEEP", "k < KEEP - 2")),
    "rows read again lose their end": (again, ("+ CHUNK - 1) / CHUNK", ") / CHUNK")),
    "a result takes an input's place too early": (
        nll_in_place,
        ("wait_for_row();\n#pragma", "#pragma"),
    ),
    "others are read before they are there": (block_of_pairs, (BARRIER, "if (false) {}")),
    "others of another block are read before they are there": (
        cluster_of_pairs,
        (CLUSTER_BARRIER, ""),
    ),
    "a class is written over that others have yet to read": (
        pairs_in_place,
        ("wait_for_row();\n\n        // pass 2", "// pass 2"),
    ),
    "a row forgets its last pair": (block_of_pairs, ("other < end", "other < end - 1")),
    "pairs are left out": (block_of_pairs, ("first += 4", "first += 5")),
    "pairs are added twice": (block_of_pairs, ("first += 4", "first += 3")),
    "rows at work share their memory": (
        short_pairs,
        ("scratch + (first_row() *", "scratch + (0 *"),
    ),
    "results share their memory": (block_of_pairs, ("* 4 + 1)", "* 4 + 0)")),
    "a class meets itself alone": (
        block_of_pairs,
        ("_kept + other)", "_kept + lanes.first + lane)"),
    ),
    "a frame is begun before the last is done": (
        sequences,
        ("turn = 1 - turn; __syncthreads();", "turn = 1 - turn;"),
    ),
    "a frame is gone back to before the next is done": (
        sequences,
        ("} __syncthreads(); if (next < 0)", "} if (next < 0)"),
    ),
    "states are written over that others have yet to read": (
        sequences,
        ("write(near(1 - turn) + s, product(come", "write(near(turn) + s, product(come"),
    ),
    "softmax is not waited for": (
        sequences,
        ("paths.read_frame(t); __syncthreads();", "paths.read_frame(t);"),
    ),
    "what leaves states is not waited for": (
        sequences,
        ("leave(t); __syncthreads();", "leave(t);"),
    ),
    "the last states are not waited for": (
        sequences,
        ("read(near(turn) + s)); __syncthreads();", "read(near(turn) + s));"),
    ),
    "a sequence is begun before the last is done": (
        one_block_of_sequences,
        (
            "sequence(of, shared, scratch + blockIdx.x * given.memory); __syncthreads();",
            "sequence(of, shared, scratch + blockIdx.x * given.memory);",
        ),
    ),
    "a state comes from a wrong neighbour": (
        sequences,
        ("sum(a, read(from + s - 1)", "sum(a, read(from + s + 1)"),
    ),
    "a state leads to a wrong neighbour": (
        sequences,
        ("sum(read(from + s), read(from + s + 1)", "sum(read(from + s), read(from + s - 1)"),
    ),
    "labels that are alike need no blank": (
        sequences,
        ("&& of.label(s / 2) != of.label(s / 2 - 1)", ""),
    ),
    "a symbol is that of the frame before": (sequences, ("own = ahead;", "")),
    "a class is that of one label": (
        sequences,
        ("write(nexts + j, next);", "write(nexts + j, length);"),
    ),
    "states beyond the threads are left out": (
        many_states,
        (
            "s < states; s += THREADS) { const Wide a",
            "s < states && s < THREADS; s += THREADS) { const Wide a",
        ),
    ),
    "states in memory run into each other": (
        many_states,
        ("spare + turn * (states + 2ll)", "spare + turn * (states / 2)"),
    ),
    "a tile is left out": (elements, ("tile < table.tiles", "tile < table.tiles - 1")),
    "blocks write their sums to one place": (
        elements,
        ("partial_sums + blockIdx.x / CLUSTER", "partial_sums"),
    ),
    "a block's sum goes beyond the room for it": (
        elements,
        ("partial_sums + blockIdx.x / CLUSTER", "partial_sums + blockIdx.x + 1"),
    ),
    "the total forgets some blocks": (elements, ("n < count; n += THREADS", "n < 1; n += THREADS")),
}


@pytest.mark.parametrize("error", MUTANTS)
def test_an_error_in_a_kernel_is_found(error: str) -> None:
    """By a wrong result or a report, with the first threads ahead, the last, or any."""
    run, (right, mistake) = MUTANTS[error]
    expected = run()
    tinyloss.clear_caches()
    changed: list[int] = []

    def mutate(source: str) -> str:
        pattern = r"\s+".join(map(re.escape, right.split()))
        mutant, count = re.subn(pattern, lambda _: mistake, source)
        changed.append(count)
        return mutant

    def found(order: int) -> bool:
        machine.order = order
        return wrong(run, expected)

    machine.mutate = mutate
    assert any(map(found, range(3)))
    assert any(changed)


def test_arguments_of_another_type_are_found(cupy: Any) -> None:
    text = tinyloss.source(
        tinyloss.mse, np.zeros(8, np.float32), np.ones(8, np.float32), target="cuda"
    )
    kernel = compiled(text)
    names = [parameter.name for parameter in kernel.parameters]
    assert names == [
        "x_0_array",
        "y_1_array",
        "grad_x_0_array",
        "partial_sums",
        "number_0",
        "table",
    ]
    x, sums = cupy.asarray(logits(8)), cupy.empty(1, np.float64)
    table = np.zeros(1, f"V{kernel.sizes[-1]}")
    right = [x, x, cupy.empty_like(x), sums, np.float64(8), table]
    kernel.launch((1,), (256,), right)  # no tiles
    for at, mistake in [
        (0, logits(8)),  # an array of the host
        (1, cupy.asarray(logits(8, dtype=np.float64))),
        (4, 8.0),
        (4, np.float32(8)),
        (5, np.zeros(1, f"V{kernel.sizes[-1] - 8}")),
    ]:
        with pytest.raises(EmulationError, match=f"{names[at]} of a kernel is"):
            kernel.launch((1,), (256,), [*right[:at], mistake, *right[at + 1 :]])
    with pytest.raises(EmulationError, match="5 arguments, expected 6"):
        kernel.launch((1,), (256,), right[:-1])
    with pytest.raises(EmulationError, match=r"blocks of \(128,\), expected 256"):
        kernel.launch((1,), (128,), right)
