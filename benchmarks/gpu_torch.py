"""The cross-entropy of torch's tensors on a GPU, by CuPy's kernels, beside torch's own.

    python -m benchmarks.gpu_torch [--json PATH]

Milliseconds by the device's clock, the mean of 20 calls after 5: of the value without a gradient,
of `tinyloss.value_and_grad`, of forward and `backward()`, the same with a factor on the value, and
of a copy of the logits. Of 32 x 10 also the microseconds that a call takes the host, on torch's
tensors and on CuPy's arrays. Writes `benchmarks/results/gpu_torch.json`.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tinyloss

RESULTS = Path(__file__).parent / "results" / "gpu_torch.json"
SHAPES = ((8192, 32768), (32768, 1000), (8192, 131072), (32, 10))
DTYPES = ("float32", "bfloat16")


def milliseconds(torch: Any, call: Callable[[], Any], warm_up: int = 5, calls: int = 20) -> float:
    for _ in range(warm_up):
        call()
    torch.cuda.synchronize()
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    for _ in range(calls):
        call()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end)) / calls


def host_microseconds(wait: Callable[[], Any], call: Callable[[], Any], calls: int = 200) -> float:
    """Return what a call takes the host: the median of 9 turns, each before the device is full."""
    took: list[float] = []
    for _ in range(10):
        wait()
        started = time.perf_counter()
        for _ in range(calls):
            call()
        took.append((time.perf_counter() - started) / calls * 1e6)
    wait()
    return sorted(took[1:])[4]


def calls_of(torch: Any, shape: tuple[int, int], dtype: str) -> dict[str, Callable[[], Any]]:
    x = torch.randn(shape, device="cuda", dtype=getattr(torch, dtype)).requires_grad_()
    y = torch.randint(shape[1], shape[:1], device="cuda")
    own, plain = x.detach(), torch.nn.functional.cross_entropy
    step = tinyloss.value_and_grad(tinyloss.cross_entropy)

    def both(loss: Callable[[Any, Any], Any], factor: float = 1.0) -> Callable[[], None]:
        def call() -> None:
            x.grad = None
            value = loss(x, y)
            (value if factor == 1.0 else factor * value).backward()

        return call

    return {
        "value": lambda: tinyloss.cross_entropy(own, y),
        "torch_value": lambda: plain(own, y),
        "value_and_grad": lambda: step(own, y),
        "backward": both(tinyloss.cross_entropy),
        "torch_backward": both(plain),
        "backward_factor": both(tinyloss.cross_entropy, 0.5),
        "torch_backward_factor": both(plain, 0.5),
        "copy": lambda: own.clone(),
    }


def on_host(torch: Any, cupy: Any) -> dict[str, float]:
    """Return the host's microseconds of calls of 32 x 10, which the device answers sooner."""
    calls = calls_of(torch, (32, 10), "float32")
    del calls["copy"]
    x, y = cupy.zeros((32, 10), cupy.float32), cupy.arange(32) % 10
    into, step = cupy.empty_like(x), tinyloss.value_and_grad(tinyloss.cross_entropy)
    in_place = tinyloss.value_and_grad(tinyloss.cross_entropy, out=into)
    calls["cupy_value"] = lambda: tinyloss.cross_entropy(x, y)
    calls["cupy_value_and_grad"] = lambda: step(x, y)
    calls["cupy_out"] = lambda: in_place(x, y)
    return {name: host_microseconds(torch.cuda.synchronize, call) for name, call in calls.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description="Cross-entropy of torch's tensors on a GPU.")
    parser.add_argument("--json", type=Path, default=RESULTS, help="where the results go")
    path = parser.parse_args().json
    try:
        import cupy
        import torch
    except ImportError as error:
        print(f"benchmarks.gpu_torch is skipped, nothing is written: {error}")
        return 0
    if not torch.cuda.is_available():
        print("benchmarks.gpu_torch is skipped, nothing is written: torch has no device")
        return 0
    rows: list[dict[str, Any]] = []
    for shape in SHAPES:
        for dtype in DTYPES:
            calls = calls_of(torch, shape, dtype)
            found = {name: milliseconds(torch, call) for name, call in calls.items()}
            del calls
            rows.append(
                {"loss": "cross_entropy", "shape": shape, "dtype": dtype, "milliseconds": found}
            )
            shown = ", ".join(f"{name} {ms:.4f}" for name, ms in found.items())
            print(f"{shape} {dtype}: {shown}", flush=True)
            torch.cuda.empty_cache()
    host = on_host(torch, cupy)
    shown = ", ".join(f"{name} {us:.1f}" for name, us in host.items())
    print(f"(32, 10) float32, microseconds of the host: {shown}", flush=True)
    report = {
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "cupy": cupy.__version__,
        "rows": rows,
        "host_microseconds": host,
    }
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
