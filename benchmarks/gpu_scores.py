"""Time and memory of a last layer's cross-entropy on a GPU, beside its products alone.

    python -m benchmarks.gpu_scores [--json PATH]

All contenders compute the mean loss of h (N, D), w (V, D) and class indices, and its gradients by h
and w. *products* are three products of matrices and nothing else: the scores, and what their
gradient is multiplied with. *medium* is torch's precision of products. *F.cross_entropy* holds the
scores, *Liger* goes by chunks of rows. Contenders take turns; milliseconds are medians of the
device's clock. Memory is the peak beyond what was there before, the gradients included. Writes
`benchmarks/results/gpu_scores.json`.
"""

import argparse
import gc
import importlib
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tinyloss
from benchmarks._printing import write_report
from benchmarks.gpu import device, no_gpu, one_line

RESULTS = Path(__file__).parent / "results" / "gpu_scores.json"
SHAPES = (
    ((8192, 4096, 131072), "bfloat16"),
    ((8192, 2304, 256000), "bfloat16"),
    ((2048, 512, 65536), "float32"),
)
"""Rows, features and classes."""
ROUNDS = 5


def contenders(torch: Any, shape: tuple[int, int, int], dtype: str) -> dict[str, Callable[[], Any]]:
    """Return what is measured, by name; the first is what the others are compared with."""
    import cupy

    rows, features, classes = shape
    random = torch.Generator("cuda").manual_seed(0)
    given = {"device": "cuda", "dtype": getattr(torch, dtype), "generator": random}
    h = torch.randn(rows, features, **given)
    w = torch.randn(classes, features, **given).mul_(features**-0.5)
    y = torch.randint(classes, (rows,), device="cuda", generator=random)
    one, other = (each.detach().clone().requires_grad_() for each in (h, w))
    step: Any = tinyloss.value_and_grad(tinyloss.linear_cross_entropy, (0, 1))
    if dtype == "bfloat16":
        import ml_dtypes

        arrays = [cupy.from_dlpack(each.view(torch.int16)) for each in (h, w)]
        arrays = [each.view(ml_dtypes.bfloat16) for each in arrays]
    else:
        arrays = [cupy.from_dlpack(each) for each in (h, w)]
    labels = cupy.from_dlpack(y)

    def products() -> Any:
        z = h @ w.T
        return z @ w, z.T @ h

    def backward(loss: Callable[[Any, Any], Any]) -> Callable[[], Any]:
        def run() -> Any:
            one.grad = other.grad = None
            value = loss(one, other)
            value.backward()
            return value.detach(), one.grad, other.grad

        return run

    functional = torch.nn.functional
    found: dict[str, Callable[[], Any]] = {
        "products": products,
        "CuPy: linear_cross_entropy": lambda: step(*arrays, labels),
        "torch: linear_cross_entropy": backward(
            lambda h, w: tinyloss.linear_cross_entropy(h, w, y)
        ),
        "torch: linear_cross_entropy, medium": medium(
            torch, backward(lambda h, w: tinyloss.linear_cross_entropy(h, w, y))
        ),
        "torch: F.cross_entropy": backward(lambda h, w: functional.cross_entropy(h @ w.T, y)),
    }
    try:
        liger = importlib.import_module("liger_kernel.transformers.functional")
    except Exception as error:  # its imports fail in many ways
        print(f"Liger is left out: {one_line(error)}")
    else:
        theirs = liger.liger_fused_linear_cross_entropy
        found["Liger"] = backward(lambda h, w: theirs(h, w, y))
    return found


def medium(torch: Any, call: Callable[[], Any]) -> Callable[[], Any]:
    """Return a call under which torch may multiply float32 in half precision."""

    def run() -> Any:
        torch.set_float32_matmul_precision("medium")
        try:
            return call()
        finally:
            torch.set_float32_matmul_precision("highest")

    return run


def free(torch: Any) -> None:
    import cupy

    gc.collect()
    torch.cuda.empty_cache()
    cupy.get_default_memory_pool().free_all_blocks()


def peak(torch: Any, call: Callable[[], Any]) -> float:
    """Return the MiB that a call takes: by torch's count, and of CuPy's pool, which only grows."""
    import cupy

    free(torch)
    pool = cupy.get_default_memory_pool()
    before = torch.cuda.memory_allocated(), pool.total_bytes()
    torch.cuda.reset_peak_memory_stats()
    call()
    torch.cuda.synchronize()
    after = torch.cuda.max_memory_allocated(), pool.total_bytes()
    return float(sum(b - a for a, b in zip(before, after, strict=True))) / 2**20


def milliseconds(torch: Any, call: Callable[[], Any]) -> float:
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    call()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end))


def measured(torch: Any, shape: tuple[int, int, int], dtype: str) -> dict[str, Any]:
    calls = contenders(torch, shape, dtype)
    values: dict[str, float] = {}
    memory: dict[str, float] = {}
    for name, call in calls.items():
        values[name] = float(call()[0].reshape(-1)[0])
        torch.cuda.synchronize()
        memory[name] = round(peak(torch, call))
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            times[name].append(milliseconds(torch, call))
    values.pop("products")
    return {
        "shape": shape,
        "dtype": dtype,
        "milliseconds": {name: round(statistics.median(t), 3) for name, t in times.items()},
        "mib": memory,
        "values": values,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", type=Path, default=RESULTS, help="where the results go")
    path = parser.parse_args().json
    if why := no_gpu():
        print(f"benchmarks.gpu_scores is skipped, nothing is written: {why}")
        return 0
    torch: Any = importlib.import_module("torch")
    rows: list[dict[str, Any]] = []
    for shape, dtype in SHAPES:
        rows.append(measured(torch, shape, dtype))
        print(f"{shape} {dtype}")
        for key in ("milliseconds", "mib", "values"):
            print(f"  {key}: " + ", ".join(f"{n} {v:g}" for n, v in rows[-1][key].items()))
        sys.stdout.flush()
        free(torch)
    import cupy

    report = {"gpu": device(), "torch": torch.__version__, "cupy": cupy.__version__}
    write_report(path, report, {"rows": rows})
    print(f"{len(rows)} measurements")
    return 0


if __name__ == "__main__":
    sys.exit(main())
