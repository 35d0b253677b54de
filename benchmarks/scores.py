"""Time, memory and errors of losses of scores, beside their matrix products alone.

    python -m benchmarks.scores [--rows N] [--features D] [--classes V] [--only TEXT,...]
                                [--rounds N] [--json PATH] [--quick]
    python -m benchmarks.scores --pairs N [--features D] ...

The first measures the cross-entropy of a last layer, the second losses of N pairs of vectors.

All contenders compute the mean loss of h (N, D), w (V, D) and class indices, and its gradients by h
and w, in float32 with one thread. *products* are three products of matrices and nothing else: the
scores, and what their gradient is multiplied with. *at once* holds the scores: `cross_entropy`
between these products, in place. *plain formula* does between them what textbooks write down.
Contenders take turns in one process. Times are of the processor, since the products of several
threads wait for each other where a machine is busy; the ratio is that of medians.

Of pairs, *products* go over the similarities in chunks of 64 MiB, as the losses do: one product for
them, two for what their gradient is multiplied with. The plain formulas hold all similarities.

Extra memory is the growth of the process's peak resident memory beyond the gradients; of JAX that
of the temporaries that XLA has planned. Errors are of w's gradient in bfloat16, by the number of
chunks, as a share of its largest number. A full run writes `benchmarks/results/scores.json`, or
with `--pairs 16384` `scores_pairs.json`. `--quick` shows in seconds that all runs, and writes
nothing.
"""

import argparse
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks._peaks import measured, print_records, returns_memory
from benchmarks._printing import write_report
from tinyloss.cli.measure import busy, circumstances, library, settle

_WHOLE, _PAIRS = (2048, 512, 65536), 16384
"""Rows, features and classes, and pairs, of a full run: eight minutes, and five."""
LIBRARIES = ("numpy", "tinyloss", "torch", "jax", "jaxlib")
RESULTS = Path(__file__).parent / "results"


def contenders(rows: int, features: int, classes: int) -> dict[str, Callable[[], Any]]:
    """Return what is measured, by name; the first is what the others are compared with."""
    import numpy as np

    import tinyloss

    rng = np.random.default_rng(0)
    h = rng.standard_normal((rows, features), np.float32)
    w = rng.standard_normal((classes, features), np.float32) * np.float32(0.05)
    y = rng.integers(0, classes, rows)
    linear = tinyloss.value_and_grad(tinyloss.linear_cross_entropy, (0, 1))

    def products() -> Any:
        z = h @ w.T
        return z @ w, z.T @ h

    def at_once() -> Any:
        z = h @ w.T
        value, g = tinyloss.value_and_grad(tinyloss.cross_entropy, out=z)(z, y)
        return value, g @ w, g.T @ h

    def plain() -> Any:
        z = h @ w.T
        value, g = _softmax_loss(z, y)
        return value, g @ w, g.T @ h

    found: dict[str, Callable[[], Any]] = {
        "NumPy: products": products,
        "NumPy: plain formula": plain,
        "NumPy: at once": at_once,
        "NumPy: linear_cross_entropy": lambda: linear(h, w, y),
    }
    return found | _of_torch(h, w, y) | _of_jax(h, w, y)


def _softmax_loss(z: Any, y: Any) -> tuple[Any, Any]:
    """Return the mean cross-entropy and its gradient as textbooks have them."""
    import numpy as np

    e = np.exp(z - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    rows = np.arange(len(y))
    value = -np.log(p[rows, y]).mean()
    p[rows, y] -= 1
    p /= np.float32(len(y))
    return value, p


def contenders_of_pairs(pairs: int, features: int) -> dict[str, Callable[[], Any]]:
    """Return what is measured of losses of pairs, by name."""
    import numpy as np

    import tinyloss

    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((pairs, features), np.float32) for _ in range(2))

    def of(loss: Any, **options: Any) -> Callable[[], Any]:
        def both(*arrays: Any, **more: Any) -> Any:
            return tinyloss.value_and_grad(loss, (0, 1))(*arrays, **options, **more)

        both(a[:256], b[:256], max_memory=2**17)  # which compiles
        return lambda: both(a, b)

    def products() -> Any:
        rows = max(1, 2**26 // (4 * pairs))
        by_a, by_b = np.empty_like(a), np.zeros_like(b)
        z, scratch = np.empty((rows, pairs), np.float32), np.empty_like(b)
        for first in range(0, pairs, rows):
            part = a[first : first + rows]
            np.matmul(part, b.T, out=z[: len(part)])
            np.matmul(z[: len(part)], b, out=by_a[first : first + rows])
            by_b += np.matmul(z[: len(part)].T, part, out=scratch)
        return by_a, by_b

    def plain() -> Any:
        own = np.arange(pairs)
        one, other = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (a, b))
        s = one @ other.T / np.float32(0.07)
        value, of_rows = _softmax_loss(s, own)
        more, of_columns = _softmax_loss(s.T, own)
        g = (of_rows + of_columns.T) / np.float32(2 * 0.07)
        by_a, by_b = g @ other, g.T @ one
        for v, unit, grad in ((a, one, by_a), (b, other, by_b)):
            grad -= unit * (unit * grad).sum(axis=1, keepdims=True)
            grad /= np.linalg.norm(v, axis=1, keepdims=True)
        return (value + more) / 2, by_a, by_b

    found: dict[str, Callable[[], Any]] = {
        "NumPy: products": products,
        "NumPy: siglip": of(tinyloss.siglip),
        "NumPy: info_nce": of(tinyloss.info_nce),
        "NumPy: info_nce, label_smoothing": of(tinyloss.info_nce, label_smoothing=0.1),
        "NumPy: info_nce, plain formula": plain,
    }
    return found | _pairs_of_torch(a, b)


def _pairs_of_torch(a: Any, b: Any) -> dict[str, Callable[[], Any]]:
    torch = library("torch")
    if torch is None:
        return {}
    import tinyloss

    torch.set_num_threads(1)
    functional, own = torch.nn.functional, torch.arange(len(a))

    def plain(a: Any, b: Any) -> Any:
        s = functional.normalize(a) @ functional.normalize(b).T / 0.07
        return (functional.cross_entropy(s, own) + functional.cross_entropy(s.T, own)) / 2

    return {
        "torch: info_nce, plain formula": _backward(torch, a, b, plain),
        "torch: info_nce": _backward(torch, a, b, tinyloss.info_nce),
    }


def _of_torch(h: Any, w: Any, y: Any) -> dict[str, Callable[[], Any]]:
    torch = library("torch")
    if torch is None:
        return {}
    import tinyloss

    torch.set_num_threads(1)
    functional, label = torch.nn.functional, torch.tensor(y)

    losses: dict[str, Callable[[Any, Any], Any]] = {
        "torch: F.cross_entropy": lambda h, w: functional.cross_entropy(h @ w.T, label),
        "torch: linear_cross_entropy": lambda h, w: tinyloss.linear_cross_entropy(h, w, label),
    }
    theirs = _of_chunks(torch)
    if theirs is not None:
        losses["torch: F.linear_cross_entropy"] = lambda h, w: theirs(h, w, label)
        losses["torch: F.linear_cross_entropy, in chunks"] = lambda h, w: theirs(h, w, label, None)
    return {name: _backward(torch, h, w, loss) for name, loss in losses.items()}


def _backward(torch: Any, h: Any, w: Any, loss: Callable[[Any, Any], Any]) -> Callable[[], Any]:
    def run() -> Any:
        one, other = (torch.from_numpy(each).requires_grad_() for each in (h, w))
        loss(one, other).backward()
        return one.grad, other.grad

    return run


def _of_chunks(torch: Any) -> Any:
    """Return torch's own function, of h, w, y and of how many rows chunks have, if it has one."""
    theirs: Any = getattr(torch.nn.functional, "linear_cross_entropy", None)
    options: Any = getattr(torch.nn, "LinearCrossEntropyOptions", None)
    if theirs is None or options is None:
        return None

    def call(h: Any, w: Any, y: Any, *chunk: int | None) -> Any:
        """Without a number the scores are held; None is torch's own choice."""
        more = {"options": options(batch_chunk_size=chunk[0])} if chunk else {}
        return theirs(h, w, y, **more)

    return call


def errors(rows: int = 1024, features: int = 64, classes: int = 256) -> Iterable[dict[str, Any]]:
    """Yield the largest error of w's gradient in bfloat16 for numbers of chunks."""
    torch = library("torch")
    if torch is None:
        return
    import tinyloss

    random = torch.Generator().manual_seed(0)
    h = torch.randn(rows, features, generator=random).bfloat16()
    w = torch.randn(classes, features, generator=random).bfloat16()
    y = torch.randint(0, classes, (rows,), generator=random)

    def by_w(loss: Callable[..., Any], dtype: Any = None) -> Any:
        one, other = (each.to(dtype or each.dtype) for each in (h, w))
        other = other.clone().requires_grad_()
        loss(one, other, y).backward()
        return other.grad.double()

    exact = by_w(lambda h, w, y: torch.nn.functional.cross_entropy(h @ w.T, y), torch.float64)

    def error(loss: Callable[..., Any]) -> float:
        share = (by_w(loss) - exact).abs().max() / exact.abs().max()
        return float(f"{share.item():.2g}")

    theirs = _of_chunks(torch)
    for chunks in (1, 4, 16, 64, 256):
        some = rows // chunks
        budget = some * 4 * (classes + 2 * features) + 4 * classes * features
        given = {"tinyloss": error(partial(tinyloss.linear_cross_entropy, max_memory=budget))}
        if theirs is not None:
            given["torch"] = error(lambda h, w, y, some=some: theirs(h, w, y, some))
        yield {"chunks": chunks, "errors": given}


def _of_jax(h: Any, w: Any, y: Any) -> dict[str, Callable[[], Any]]:
    jax = library("jax")
    if jax is None:
        return {}
    import tinyloss

    h, w, y = map(jax.numpy.asarray, (h, w, y))

    def jitted(loss: Callable[[Any, Any], Any]) -> Callable[[], Any]:
        both = jax.jit(jax.value_and_grad(loss, (0, 1))).lower(h, w).compile()

        def run() -> Any:
            return jax.block_until_ready(both(h, w))

        run.temporaries = both.memory_analysis().temp_size_in_bytes  # type: ignore[attr-defined]
        return run

    return {
        "JAX: cross_entropy": jitted(lambda h, w: tinyloss.cross_entropy(h @ w.T, y)),
        "JAX: linear_cross_entropy": jitted(lambda h, w: tinyloss.linear_cross_entropy(h, w, y)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=_WHOLE[0])
    parser.add_argument("--features", type=int, default=_WHOLE[1])
    parser.add_argument("--classes", type=int, default=_WHOLE[2])
    parser.add_argument("--pairs", type=int, help=f"how many: {_PAIRS} in a full run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="small sizes, once")
    given = parser.parse_args()
    if given.quick:
        given.rows, given.classes, given.features, given.rounds = 256, 4096, 64, 1
        given.pairs = given.pairs and 512
    returns_memory()
    settle(1)
    before = busy()
    if given.pairs is None:
        shape = given.rows, given.features, given.classes
        tasks, vectors = contenders(*shape), shape[0] + shape[2]
        result = RESULTS / "scores.json" if shape == _WHOLE else None
    else:
        shape = given.pairs, given.features, given.pairs
        tasks, vectors = contenders_of_pairs(*shape[:2]), 2 * given.pairs
        result = RESULTS / "scores_pairs.json" if shape[:2] == (_PAIRS, _WHOLE[1]) else None
    wanted = given.only.split(",")
    tasks = {name: call for name, call in tasks.items() if any(text in name for text in wanted)}
    gradients, scores = vectors * shape[1] * 4 / 2**20, shape[0] * shape[2] * 4 / 2**20
    print(f"scores {scores:.0f} MiB, gradients {gradients:.0f} MiB; {before:.0%} busy before")
    start = perf_counter()
    results = list(measured(tasks, given.rounds, gradients))
    print_records(results)
    wrong = [] if given.pairs or given.only else [*errors()]
    for each in wrong:
        print(f"{each['chunks']:4} chunks, error by w in bfloat16: {each['errors']}")
    path = given.json or (None if given.only else result)
    if path:
        report = circumstances(LIBRARIES, 1, before, perf_counter() - start, [])
        lists = {"results": results, **({"errors": wrong} if wrong else {})}
        write_report(path, {**report, "shape": shape}, lists)


if __name__ == "__main__":
    main()
