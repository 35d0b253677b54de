"""The cross-entropy of torch's tensors on a GPU, by CuPy's kernels, beside torch's own.

    python -m benchmarks.gpu_torch [--json PATH]

Milliseconds by the device's clock, the mean of 20 calls after 5: of the value without a gradient,
of `tinyloss.value_and_grad`, of forward and `backward()`, and of a copy of the logits. Writes
`benchmarks/results/gpu_torch.json`.
"""

import argparse
import json
import sys
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


def measured(torch: Any, shape: tuple[int, int], dtype: str) -> dict[str, float]:
    x = torch.randn(shape, device="cuda", dtype=getattr(torch, dtype)).requires_grad_()
    y = torch.randint(shape[1], shape[:1], device="cuda")
    own, plain = x.detach(), torch.nn.functional.cross_entropy
    step = tinyloss.value_and_grad(tinyloss.cross_entropy)

    def both(loss: Callable[[Any, Any], Any]) -> Callable[[], None]:
        def call() -> None:
            x.grad = None
            loss(x, y).backward()

        return call

    calls: dict[str, Callable[[], Any]] = {
        "value": lambda: tinyloss.cross_entropy(own, y),
        "torch_value": lambda: plain(own, y),
        "value_and_grad": lambda: step(own, y),
        "backward": both(tinyloss.cross_entropy),
        "torch_backward": both(plain),
        "copy": lambda: own.clone(),
    }
    return {name: milliseconds(torch, call) for name, call in calls.items()}


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
            found = measured(torch, shape, dtype)
            rows.append(
                {"loss": "cross_entropy", "shape": shape, "dtype": dtype, "milliseconds": found}
            )
            shown = ", ".join(f"{name} {ms:.4f}" for name, ms in found.items())
            print(f"{shape} {dtype}: {shown}", flush=True)
            torch.cuda.empty_cache()
    report = {
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "cupy": cupy.__version__,
        "rows": rows,
    }
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
