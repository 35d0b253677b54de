"""Time and memory of losses of lists, whose pairs nobody wants to hold.

    python -m benchmarks.lists [--lists N] [--members C] [--only TEXT,...] [--rounds N]
                               [--json PATH]

All contenders compute the mean over N lists of the logistic loss of pairs or of their hinge loss,
and its gradient by the scores, in float32 with one thread. Contenders take turns in one process;
times are of the processor. *rax's formula* and *torch's softplus* make arrays of all pairs. So they
go over the lists in parts of PART, whose pairs fit into memory, and are written here: neither has a
loss by that name for arrays of any library. `pairwise_hinge` sorts its lists. *hinge by pairs* is
the same as a loss of one's own, whose compiled loop goes over pairs. There are five labels; with *C
labels* no two members of a list have the same. *10 x C* are the same scores in a tenth as many
lists.

Extra memory is the growth of the process's peak resident memory beyond the gradient. Results are
written to `benchmarks/results/lists.json`, if no size is given.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks._peaks import measured, print_records, returns_memory
from benchmarks._printing import write_report
from benchmarks.scores import LIBRARIES, RESULTS
from tinyloss.cli.measure import busy, circumstances, library, settle

PART = 10
"""Lists whose pairs are held at a time: 40 MB of a thousand members' in float32."""


def contenders(lists: int, members: int) -> dict[str, Callable[[], Any]]:
    """Return what is measured, by name; the first is what the others are compared with."""
    import numpy as np

    import tinyloss

    @tinyloss.loss(rowwise=True)
    def by_pairs(x: Any, y: Any) -> Any:
        xp = tinyloss.namespace(x)
        short = 1 - (x[..., :, None] - x[..., None, :])
        better = y[..., :, None] > y[..., None, :]
        return xp.sum(xp.where(better, xp.maximum(short, 0.0), 0.0), axis=(-2, -1))

    rng = np.random.default_rng(0)
    x = rng.standard_normal((lists, members), np.float32)
    y = rng.integers(0, 5, x.shape).astype(np.float32)
    apart = rng.permuted(np.tile(np.arange(members, dtype=np.float32), (lists, 1)), axis=1)

    def of(loss: Any, x: Any, y: Any) -> Callable[[], Any]:
        both: Any = tinyloss.value_and_grad(loss)
        return lambda: both(x, y)

    found = {
        "NumPy: pairwise_logistic": of(tinyloss.pairwise_logistic, x, y),
        "NumPy: pairwise_hinge": of(tinyloss.pairwise_hinge, x, y),
        "NumPy: pairwise_hinge, C labels": of(tinyloss.pairwise_hinge, x, apart),
        "NumPy: hinge by pairs": of(by_pairs, x, y),
    }
    if lists % 10 == 0:
        longer = x.reshape(-1, 10 * members), y.reshape(-1, 10 * members)
        found["NumPy: pairwise_hinge, 10 x C"] = of(tinyloss.pairwise_hinge, *longer)
        found["NumPy: hinge by pairs, 10 x C"] = of(by_pairs, *longer)
    return found | _of_jax(x, y) | _of_torch(x, y)


def _of_jax(x: Any, y: Any) -> dict[str, Callable[[], Any]]:
    jax = library("jax")
    if jax is None:
        return {}
    import tinyloss

    jnp, lists = jax.numpy, len(x)

    def of_rax(x: Any, y: Any) -> Any:
        # rax/_src/losses.py, pairwise_logistic_loss
        lead = x[..., :, None] - x[..., None, :]
        better = y[..., :, None] > y[..., None, :]
        each = jnp.maximum(-lead, 0) + jnp.log1p(jnp.exp(-jnp.abs(lead)))
        return jnp.sum(jnp.where(better, each, 0.0)) / lists

    def jitted(loss: Callable[[Any, Any], Any], part: int) -> Callable[[], Any]:
        parts = [tuple(map(jnp.asarray, (x[n : n + part], y[n : n + part])))
                 for n in range(0, lists, part)]  # fmt: skip
        both = jax.jit(jax.value_and_grad(loss)).lower(*parts[0]).compile()

        def run() -> Any:
            return jax.block_until_ready([both(*each) for each in parts])

        run.temporaries = both.memory_analysis().temp_size_in_bytes  # type: ignore[attr-defined]
        return run

    return {
        "JAX: rax's formula": jitted(of_rax, PART),
        "JAX: pairwise_logistic": jitted(tinyloss.pairwise_logistic, lists),
    }


def _of_torch(x: Any, y: Any) -> dict[str, Callable[[], Any]]:
    torch = library("torch")
    if torch is None:
        return {}
    import tinyloss

    torch.set_num_threads(1)

    def of_softplus(x: Any, y: Any) -> Any:
        lead = x[..., :, None] - x[..., None, :]
        better = y[..., :, None] > y[..., None, :]
        return (torch.nn.functional.softplus(-lead) * better).sum()

    def backward(loss: Callable[[Any, Any], Any], part: int) -> Callable[[], Any]:
        def run() -> Any:
            scores = torch.from_numpy(x).detach().requires_grad_()
            labels = torch.from_numpy(y)
            for n in range(0, len(x), part):
                loss(scores[n : n + part], labels[n : n + part]).backward()
            return scores.grad

        return run

    return {
        "torch: softplus": backward(of_softplus, PART),
        "torch: pairwise_logistic": backward(tinyloss.pairwise_logistic, len(x)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--lists", type=int)
    parser.add_argument("--members", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    returns_memory()
    settle(1)
    before = busy()
    shape = given.lists or 1000, given.members or 1000
    wanted = given.only.split(",")
    tasks = {
        name: call
        for name, call in contenders(*shape).items()
        if any(text in name for text in wanted)
    }
    gradient = shape[0] * shape[1] * 4 / 2**20
    print(f"gradient {gradient:.0f} MiB, all pairs {gradient * shape[1]:.0f} MiB")
    start = perf_counter()
    results = list(measured(tasks, given.rounds, gradient))
    print_records(results)
    sized = given.lists or given.members or given.only
    path = given.json or (None if sized else RESULTS / "lists.json")
    if path:
        report = circumstances(LIBRARIES, 1, before, perf_counter() - start, [])
        write_report(path, {**report, "shape": shape}, {"results": results})


if __name__ == "__main__":
    main()
