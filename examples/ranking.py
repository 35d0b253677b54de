"""Learn to put lists in order, by losses of lists, on NumPy alone.

    python examples/ranking.py
    python examples/ranking.py --steps 500 --loss pairwise_logistic pairwise_mse

The data are scikit-learn's 442 patients, made into lists as search engines have them: a list is a
ward of 8 to 30 patients, and the label of each is a grade from 0 to 4 of how far the disease went
on in a year. A small network is to give the highest scores to those who need care first. It is
judged by NDCG@5 of wards that it has not seen, where 1 is the best order that there is.

The picture shows NDCG@5 after each step, for each loss.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

import tinyloss

Array = Any
anyloss: Any = tinyloss
FIRST = 5
"""The places that count."""
LOSSES = ("pairwise_logistic", "pairwise_hinge", "pairwise_soft_zero_one", "pairwise_mse")


class Lists(NamedTuple):
    """Lists of different lengths, padded to one."""

    features: Array
    labels: Array
    mask: Array
    """Which members there are."""


def load(seed: int = 0) -> tuple[Lists, Lists]:
    """Return lists to learn from, and others."""
    from sklearn.datasets import load_diabetes

    table: Any = load_diabetes()
    x, y = table.data / table.data.std(axis=0), table.target
    grades = np.searchsorted(np.quantile(y, [0.2, 0.4, 0.6, 0.8]), y)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(y))
    return _lists(x, grades, order[:300], 120, rng), _lists(x, grades, order[300:], 60, rng)


def _lists(x: Array, grades: Array, people: Array, count: int, rng: Any) -> Lists:
    rows = np.stack([rng.permutation(people)[:30] for _ in range(count)])
    mask = np.arange(30) < rng.integers(8, 31, (count, 1))
    return Lists(x[rows], grades[rows].astype(float), mask)


def ndcg(scores: Array, lists: Lists) -> float:
    """Return the mean of NDCG over lists, of the first places."""
    discounts = 1 / np.log2(2 + np.arange(FIRST))

    def dcg(by: Array) -> Array:
        places = np.argsort(np.where(lists.mask, -by, np.inf), axis=-1, kind="stable")[:, :FIRST]
        gains = np.where(lists.mask, 2.0**lists.labels - 1, 0.0)
        return np.take_along_axis(gains, places, axis=-1) @ discounts

    best = dcg(lists.labels)
    return float(np.mean(np.where(best > 0, dcg(scores) / np.where(best > 0, best, 1), 1)))


def train(loss: str, steps: int = 100, hidden: int = 16, rate: float = 0.02) -> list[float]:
    """Train; return NDCG of the held-out lists before, and after each step."""
    lists, held = load()
    rng = np.random.default_rng(1)
    width = lists.features.shape[-1]
    params = [rng.normal(size=shape) * shape[0] ** -0.5 for shape in ((width, hidden), (hidden, 1))]
    moments = [[np.zeros_like(each) for each in params] for _ in range(2)]
    derive: Any = tinyloss.value_and_grad(getattr(anyloss, loss))
    # each list counts as much, however many pairs it has
    pairs = lists.mask.sum(axis=-1) ** 2.0

    def scores(features: Array) -> tuple[Array, Array]:
        inner = np.tanh(features @ params[0])
        return inner, (inner @ params[1])[..., 0]

    found = [ndcg(scores(held.features)[1], held)]
    for step in range(1, steps + 1):
        inner, x = scores(lists.features)
        _, g = derive(x, lists.labels, mask=lists.mask, weight=1 / pairs)
        back = g[..., None] * params[1][:, 0] * (1 - inner * inner)
        grads = (
            np.einsum("lmf,lmh->fh", lists.features, back),
            np.einsum("lmh,lm->h", inner, g)[:, None],
        )
        for at, grad in enumerate(grads):  # Adam
            for moment, power, keep in zip(moments, (1, 2), (0.9, 0.99), strict=True):
                moment[at] += (1 - keep) * (grad**power - moment[at])
            mean = moments[0][at] / (1 - 0.9**step)
            spread = moments[1][at] / (1 - 0.99**step)
            params[at] -= rate * mean / (np.sqrt(spread) + 1e-12)
        found.append(ndcg(scores(held.features)[1], held))
        if step % max(1, steps // 4) == 0:
            print(f"  {loss}, step {step}: NDCG@{FIRST} {found[-1]:.3f}", flush=True)
    return found


def plot(runs: dict[str, list[float]], path: str) -> None:
    """Save a picture of NDCG after each step."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    figure, ax = pyplot.subplots(figsize=(8, 4), layout="constrained")
    for name, found in runs.items():
        ax.plot(found, label=f"{name}: {found[0]:.2f} before, {found[-1]:.2f} after")
    best = max(runs, key=lambda name: runs[name][-1])
    ax.set_title(f"{best} puts the wards in the best order after {len(runs[best]) - 1} steps")
    ax.set(xlabel="step", ylabel=f"NDCG@{FIRST} of wards that were not seen")
    ax.legend()
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line, train, report, draw."""
    parser = argparse.ArgumentParser(description="Learn to put lists in order.")
    parser.add_argument("--loss", nargs="+", choices=LOSSES, default=LOSSES, help="the losses")
    parser.add_argument("--steps", type=int, default=100, help="steps of each training")
    parser.add_argument("--plot", metavar="PATH", default="ranking.png", help="the picture")
    options = parser.parse_args(argv)
    runs: dict[str, list[float]] = {}
    for loss in options.loss:
        runs[loss] = train(loss, options.steps)
        print(f"{loss}: NDCG@{FIRST} {runs[loss][0]:.3f} before, {runs[loss][-1]:.3f} after")
    plot(runs, options.plot)
    print(f"NDCG after each step: {options.plot}")


if __name__ == "__main__":
    main()
