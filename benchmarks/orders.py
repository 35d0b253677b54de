"""Time and memory of losses whose rows are sorted, beside torch's formulas of them.

    python -m benchmarks.orders [--rows N] [--members C] [--only TEXT,...] [--rounds N]
                                [--json PATH]

All contenders compute the mean over N rows of C, and its gradient by x, in float32 with one
thread; of probabilities the numbers alone. torch's formulas are written here, as libraries for it
have them: sorts, running sums and running logarithms of sums, differentiated by its autograd.
*Ratio* is to the same loss of tinyloss on NumPy arrays. The results are compared first.

Times are of the processor; memory is beyond an array as x. Results are written to
`benchmarks/results/orders.json`, if no size is given.
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

Call = Callable[[], Any]


def contenders(rows: int, members: int) -> dict[str, dict[str, Call]]:
    """Return what is measured of each loss, by name; ours is what torch's is compared with."""
    import numpy as np

    import tinyloss

    rng = np.random.default_rng(0)
    # No two members are equal: there libraries have other subgradients.
    row = np.linspace(-3, 3, members, dtype=np.float32)
    x = rng.permuted(np.tile(row, (rows, 1)), axis=1)
    grades = rng.integers(0, 5, x.shape).astype(np.float32)
    event = rng.random(x.shape) < 0.7
    region = grades > 2
    p = rng.random(x.shape, np.float32)
    labels = rng.integers(0, members, rows)
    targets = rng.standard_normal(rows, np.float32)
    calls: dict[str, tuple[Any, tuple[Any, ...], dict[str, Any]]] = {
        "listmle": (tinyloss.listmle, (x, grades), {}),
        "unique_softmax": (tinyloss.unique_softmax, (x, grades), {}),
        "cox_ph": (tinyloss.cox_ph, (x, grades, event), {"ties": "breslow"}),
        "lovasz_hinge": (tinyloss.lovasz_hinge, (x, region), {}),
        "lovasz_softmax": (tinyloss.lovasz_softmax, (p, region), {}),
        "crps_ensemble": (tinyloss.crps_ensemble, (x, targets), {}),
        "fenchel_young, sparsemax": (tinyloss.fenchel_young, (x, labels), {}),
        "fenchel_young, entmax15": (
            tinyloss.fenchel_young,
            (x, labels),
            {"activation": "entmax15"},
        ),
        "sparsemax": (tinyloss.sparsemax, (x,), {}),
        "entmax15": (tinyloss.entmax15, (x,), {}),
    }
    torch = library("torch")
    formulas = _formulas(torch) if torch is not None else {}
    found: dict[str, dict[str, Call]] = {}
    for name, (loss, arrays, options) in calls.items():
        found[name] = {f"NumPy: {name}": _ours(loss, arrays, options)}
        if name in formulas:
            found[name][f"torch: {name}"] = _backward(torch, formulas[name], arrays)
    return found


def _ours(loss: Any, arrays: tuple[Any, ...], options: dict[str, Any]) -> Call:
    import tinyloss

    if len(arrays) == 1:
        return lambda: (loss(*arrays, **options),)
    both: Any = tinyloss.value_and_grad(loss)
    return lambda: both(*arrays, **options)


def _backward(torch: Any, loss: Any, arrays: tuple[Any, ...]) -> Call:
    torch.set_num_threads(1)

    def run() -> Any:
        x, *others = (torch.from_numpy(each) for each in arrays)
        if not others:
            with torch.no_grad():
                return (loss(x),)
        x = x.detach().requires_grad_()
        value = loss(x, *others)
        value.backward()
        return value.detach(), x.grad

    return run


def alike(ours: Any, others: Any) -> bool:
    """Return whether results are the same, as far as torch's digits go."""
    import numpy as np

    pairs = zip(ours, others, strict=True)
    return all(np.allclose(a, b, rtol=1e-3, atol=1e-4 * float(np.abs(a).max())) for a, b in pairs)


def _formulas(torch: Any) -> dict[str, Any]:
    """Return losses as torch has them, of rows (N, C)."""

    def sorted_by(key: Any, *arrays: Any) -> list[Any]:
        order = key.argsort(dim=1, stable=True)
        return [each.gather(1, order) for each in arrays]

    def listmle(x: Any, y: Any) -> Any:
        (x,) = sorted_by(-y, x)
        return (x.flip(1).logcumsumexp(1).flip(1) - x).sum(1).mean()

    def unique_softmax(x: Any, y: Any) -> Any:
        x, y = sorted_by(y, x, y)
        lower = torch.nn.functional.pad(x.logcumsumexp(1), (1, 0), value=-torch.inf)
        lower = lower.gather(1, torch.searchsorted(y, y))
        return ((2**y - 1) * (torch.logaddexp(lower, x) - x)).sum(1).mean()

    def cox_ph(x: Any, y: Any, event: Any) -> Any:
        x, y, event = sorted_by(-y, x, -y, event)
        last = torch.searchsorted(y, y, right=True) - 1
        at_risk = x.logcumsumexp(1).gather(1, last)
        return ((at_risk - x) * event).sum() / event.sum()

    def lovasz(errors: Any, region: Any) -> Any:
        errors, inside = sorted_by(-errors, errors, region.float())
        whole = inside.sum(1, keepdim=True)
        left = whole - inside.cumsum(1)
        jaccard = 1 - left / (whole + (1 - inside).cumsum(1))
        steps = jaccard.diff(dim=1, prepend=torch.zeros_like(whole))
        return (errors.relu() * steps).sum(1).mean()

    def lovasz_hinge(x: Any, region: Any) -> Any:
        return lovasz(1 - x * (2 * region.float() - 1), region)

    def lovasz_softmax(p: Any, region: Any) -> Any:
        return lovasz((region.float() - p).abs(), region)

    def crps_ensemble(x: Any, y: Any) -> Any:
        many = x.shape[1]
        ranks = 2 * torch.arange(1, many + 1) - many - 1
        apart = (x.sort(1).values * ranks).sum(1) / many**2
        return ((x - y[:, None]).abs().mean(1) - apart).mean()

    def sparsemax(x: Any) -> Any:
        x = x - x.amax(1, keepdim=True)
        ranked = x.sort(1, descending=True).values
        count = torch.arange(1, x.shape[1] + 1)
        sums = ranked.cumsum(1) - 1
        support = (count * ranked > sums).sum(1, keepdim=True)
        return (x - sums.gather(1, support - 1) / support).relu()

    def entmax15(x: Any) -> Any:
        x = (x - x.amax(1, keepdim=True)) / 2
        ranked = x.sort(1, descending=True).values
        count = torch.arange(1, x.shape[1] + 1)
        mean, squares = ranked.cumsum(1) / count, (ranked**2).cumsum(1) / count
        left = ((1 - count * (squares - mean**2)) / count).relu()
        taus = mean - left.sqrt()
        support = (taus <= ranked).sum(1, keepdim=True)
        return (x - taus.gather(1, support - 1)).relu() ** 2

    def fenchel_young(shares: Any, negentropy: Any) -> Any:
        def loss(x: Any, y: Any) -> Any:
            with torch.no_grad():  # its derivative by these is 0: they are the best
                p = shares(x)
            own = x.gather(1, y[:, None])[:, 0]
            return ((p * x).sum(1) - negentropy(p) - own + negentropy(torch.ones(1, 1))).mean()

        return loss

    return {
        "listmle": listmle,
        "unique_softmax": unique_softmax,
        "cox_ph": cox_ph,
        "lovasz_hinge": lovasz_hinge,
        "lovasz_softmax": lovasz_softmax,
        "crps_ensemble": crps_ensemble,
        "fenchel_young, sparsemax": fenchel_young(sparsemax, lambda p: (p * p).sum(1) / 2),
        "fenchel_young, entmax15": fenchel_young(
            entmax15, lambda p: (p * (p.sqrt() - 1)).sum(1) * 4 / 3
        ),
        "sparsemax": sparsemax,
        "entmax15": entmax15,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int)
    parser.add_argument("--members", type=int)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    returns_memory()
    settle(1)
    before, start = busy(), perf_counter()
    shape = given.rows or 1000, given.members or 1000
    gradient = shape[0] * shape[1] * 4 / 2**20
    results: list[dict[str, Any]] = []
    for name, tasks in contenders(*shape).items():
        if not any(text in name for text in given.only.split(",")):
            continue
        ours, *others = (call() for call in tasks.values())
        if not all(alike(ours, each) for each in others):
            raise ValueError(f"the results of {name} are not the same")
        records = list(measured(tasks, given.rounds, gradient))
        print_records(records)
        results += records
    sized = given.rows or given.members or given.only
    path = given.json or (None if sized else RESULTS / "orders.json")
    if path:
        report = circumstances(LIBRARIES, 1, before, perf_counter() - start, [])
        write_report(path, {**report, "shape": shape}, {"results": results})


if __name__ == "__main__":
    main()
