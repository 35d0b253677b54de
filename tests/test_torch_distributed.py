"""Losses of tensors in several processes and threads: the gradients are those of one."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.process import python

pytestmark = pytest.mark.long

START = """
import faulthandler, importlib.util, os, sys, threading
faulthandler.dump_traceback_later(180, exit=True)
import torch
import tinyloss, tinyloss_numpy
from tinyloss.torch import CrossEntropyLoss


def model():
    layer = torch.nn.Linear(6, 4)
    with torch.no_grad():
        layer.weight.copy_(torch.linspace(-1, 1, 24).reshape(4, 6))
        layer.bias.zero_()
    return layer


def slopes(layer):
    return [each.grad for each in layer.parameters()]


x, y = torch.linspace(-9, 9, 48).sin().reshape(8, 6), torch.arange(8) % 4
criterion = CrossEntropyLoss(class_weight=[1.0, 2.0, 3.0, 4.0])
layer = model()
criterion(layer(x), y).backward()
expected = slopes(layer)
"""

PARALLEL = (
    START
    + """
rank, store = int(sys.argv[1]), sys.argv[2]
torch.distributed.init_process_group(
    "gloo", init_method=f"file://{store}", rank=rank, world_size=2
)
weights = criterion.class_weight[y].sum()
part = slice(0, 5) if rank == 0 else slice(5, 8)
parallel = torch.nn.parallel.DistributedDataParallel(model())
denominator = weights / 2  # as the gradients of processes are averaged

criterion(parallel(x[part]), y[part], denominator=denominator).backward()
torch.testing.assert_close(slopes(parallel), expected)

parallel.zero_grad()
first, second = (slice(0, 2), slice(2, 5)) if rank == 0 else (slice(5, 6), slice(6, 8))
with parallel.no_sync():
    criterion(parallel(x[first]), y[first], denominator=denominator).backward()
criterion(parallel(x[second]), y[second], denominator=denominator).backward()
torch.testing.assert_close(slopes(parallel), expected)
torch.distributed.barrier()  # the first to leave closes the sockets of the other
torch.distributed.destroy_process_group()
print("alike", flush=True)
os._exit(0)  # gloo's threads may outlive the group; C++ would end the process for them
"""
)

ACCUMULATED = (
    START
    + """
layer = model()
for part in (slice(0, 3), slice(3, 4), slice(4, 8)):
    criterion(layer(x[part]), y[part], denominator=criterion.class_weight[y].sum()).backward()
torch.testing.assert_close(slopes(layer), expected)
print("alike")
"""
)

THREADS = (
    START
    + """
together, wrong = threading.Barrier(2), []

# The loss is compiled meanwhile, which may change last bits: each answer is exactly one of these.
answers = []
for mode in ("never", "always") if importlib.util.find_spec("llvmlite") else ("never",):
    with tinyloss_numpy.compilation(mode):
        layer = model()
        criterion(layer(x), y).backward()
        answers.append(slopes(layer))


def train():
    try:
        together.wait()
        for _ in range(200):
            layer = model()
            criterion(layer(x), y).backward()
            got = slopes(layer)
            assert any(all(map(torch.equal, got, known)) for known in answers), got
    except BaseException as error:
        wrong.append(error)


threads = [threading.Thread(target=train) for _ in range(2)]
for each in threads:
    each.start()
for each in threads:
    each.join()
assert not wrong, wrong

# and through one graph of two losses of one layer
layer = model()
logits = layer(x)
values = [criterion(logits, y) for _ in range(2)]
threads = [threading.Thread(target=each.backward, args=(None, True)) for each in values]
for each in threads:
    each.start()
for each in threads:
    each.join()
torch.testing.assert_close(slopes(layer), [2 * each for each in expected])
print("alike")
"""
)

# No faulthandler in the child: it waits for the parent's thread, which no fork has.
FORKED = (
    START.replace("faulthandler.dump_traceback_later(180, exit=True)", "import os, signal")
    + """
wide = torch.linspace(-9, 9, 2_000_000).sin().reshape(20_000, 100).requires_grad_()
labels = torch.arange(20_000) % 100
tinyloss.cross_entropy(wide, labels).backward()  # on several threads
known, children = wide.grad, []
for _ in range(2):
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(60)
            torch.set_num_threads(1)  # torch's own threads do not outlive a fork
            wide.grad = None
            tinyloss.cross_entropy(wide, labels).backward()
            torch.testing.assert_close(wide.grad, known, rtol=0, atol=0)
            tinyloss.huber(x, torch.zeros(8, 6))  # new here
            status = 0
        finally:
            os._exit(status)
    children.append(child)
assert [os.waitpid(each, 0)[1] for each in children] == [0, 0]
print("alike")
"""
)


def test_processes_that_share_a_model(torch: Any, tmp_path: Path) -> None:
    if not torch.distributed.is_available():
        pytest.skip("torch is built without its distributed package")
    with ThreadPoolExecutor() as pool:
        ranks = [pool.submit(python, "-c", PARALLEL, n, str(tmp_path / "store")) for n in "01"]
        assert [each.result().strip() for each in ranks] == ["alike", "alike"]


@pytest.mark.parametrize("code", [ACCUMULATED, THREADS], ids=["accumulated", "threads"])
def test_one_process(torch: Any, code: str) -> None:
    assert torch
    assert python("-c", code).strip() == "alike"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child(torch: Any) -> None:
    assert torch
    assert python("-W", "ignore", "-c", FORKED).strip() == "alike"
