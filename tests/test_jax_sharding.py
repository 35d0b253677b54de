"""Rows spread over devices: by the compiler, by hand, over two processes."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinyloss

HERE = Path(__file__).parent
EXAMPLE = HERE.parent / "examples" / "sharded_vocabulary.py"

# Partial sums are added in another order, and each device has its own part of the rows: up to six
# sums of a few eps each meet in a loss, its gradient and its second derivative.
EPS = 32


def environment(devices: int) -> dict[str, str]:
    # Who talks to whom is settled before LLVM makes machine code, for which nobody here waits.
    flags = f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0"
    # The suite's cache of compiled programs is for one device.
    kept = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    roots = [HERE.parent, HERE.parent / "backends"]
    path = os.pathsep.join([*map(str, roots), *filter(None, [kept.get("PYTHONPATH")])])
    return {**kept, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": path}


@pytest.fixture(scope="module")
def report() -> Any:
    """What a process with eight devices says."""
    pytest.importorskip("jax")
    done = subprocess.run(
        [sys.executable, str(HERE / "sharding" / "eight_devices.py")],
        env=environment(8),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["devices"] == 8
    return found


@pytest.mark.long  # the process with eight devices compiles for half a minute
@pytest.mark.parametrize("target", ["labels", "shares"])
@pytest.mark.parametrize("mesh", ["auto", "explicit"])
def test_partitioned_rows_stay_where_they_are(report: Any, mesh: str, target: str) -> None:
    found = report[mesh][target]
    assert found["value"] < EPS
    assert found["gradient"] < EPS
    assert found["spread"] == ["d", "v"]
    assert found["all-reduce"] > 0
    assert found["all-gather"] == found["all-to-all"] == found["collective-permute"] == 0


@pytest.mark.long
def test_classes_split_by_hand_are_those_of_whole_rows(report: Any) -> None:
    """Value, gradient taken outside and inside, closed form inside, second derivative."""
    assert len(report["by hand"]) == 9
    for loss, errors in report["by hand"].items():
        assert len(errors) == 5
        for what, error in errors.items():
            assert error < EPS, f"{loss}: {what}"


@pytest.mark.long
def test_label_that_is_no_members_class_gives_nan(report: Any) -> None:
    rows = [2, 9]
    assert report["out of range"] == {"values": rows, "gradients": rows, "touched": rows}


@pytest.mark.long
def test_two_processes_answer_as_one() -> None:
    pytest.importorskip("jax")
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        coordinator = f"localhost:{probe.getsockname()[1]}"
    command = [sys.executable, str(HERE / "sharding" / "two_processes.py"), coordinator]
    processes = [
        subprocess.Popen(
            [*command, str(number)],
            env=environment(2),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    try:
        said = [each.communicate(timeout=240) for each in processes]
    finally:
        for each in processes:
            each.kill()
    for (out, err), process in zip(said, processes, strict=True):
        assert process.returncode == 0, err[-3000:]
        found = json.loads(out.splitlines()[-1])
        assert found["processes"] == 2
        assert found["classes here"] == 16
        assert found["value"] == pytest.approx(found["alone"], rel=EPS * 2.0**-23)
        assert found["gradient"] < EPS * 2.0**-23


def test_axis_name_is_the_name_of_a_mapped_axis(jax: Any) -> None:
    x, y = jax.numpy.zeros((2, 3)), jax.numpy.zeros(2, int)
    with pytest.raises(ValueError, match=r"tinyloss\.cross_entropy: axis_name is 'v'.*mapped"):
        tinyloss.cross_entropy(x, y, axis_name="v")
    with pytest.raises(ValueError, match="axis_name is 'w'"):
        jax.vmap(lambda x: tinyloss.cross_entropy(x, y, axis_name="w"), axis_name="v")(x[None])


def test_axis_name_is_for_jax_alone() -> None:
    with pytest.raises(TypeError, match=r"tinyloss\.nll: axis_name is 'v'.*arrays of numpy"):
        tinyloss.nll(np.zeros((2, 3)), np.zeros(2, int), axis_name="v")


def test_vmap_names_an_axis_too(jax: Any) -> None:
    """Parts of the classes in the leading dimension, tuples of names included."""
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 4)).astype(np.float32)
    y = np.arange(5)
    whole = tinyloss.cross_entropy(np.moveaxis(x, 2, 0).reshape(5, 24).astype(np.float64), y)

    def part(x: Any) -> Any:
        return tinyloss.cross_entropy(x, jax.numpy.asarray(y), axis_name=("a", "b"))

    value = jax.vmap(jax.vmap(part, axis_name="b"), axis_name="a")(jax.numpy.asarray(x))
    np.testing.assert_allclose(value, np.full((2, 3), whole), rtol=8 * 2.0**-23)


def example(*arguments: str) -> Iterator[str]:
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), *arguments],
        env={k: v for k, v in environment(8).items() if k != "XLA_FLAGS"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    yield from done.stdout.splitlines()


@pytest.mark.long
def test_example_trains_a_sharded_vocabulary() -> None:
    pytest.importorskip("jax")
    said = "\n".join(example("--classes=512", "--rows=64", "--features=32", "--steps=40"))
    assert "8 devices" in said
    losses = [float(line.split()[-1]) for line in said.splitlines() if line.startswith("step")]
    assert losses[-1] < 0.5 * losses[0]
    assert "all-gather 0" in said
    assert "both equal the loss on one device" in said
