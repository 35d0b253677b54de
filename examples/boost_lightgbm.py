"""LightGBM bounds a disease's progress: its own Huber loss, and a quantile from a good start."""

import lightgbm as lgb
import numpy as np
from sklearn.datasets import load_diabetes

import tinyloss
from tinyloss.adapters.lightgbm import Objective

PARAMS = {"verbose": -1, "num_threads": 1, "learning_rate": 0.1, "num_leaves": 7}


def main(rounds: int = 100) -> tuple[float, float]:
    """Return how far the Huber scores are apart, and which share is below the upper bound."""
    x, y = load_diabetes(return_X_y=True)

    def scores(loss: object, start: float) -> np.ndarray:
        data = lgb.Dataset(x, y, init_score=np.full(len(y), start))
        booster = lgb.train({**PARAMS, "objective": loss}, data, rounds)
        return start + np.asarray(booster.predict(x, raw_score=True))

    huber = tinyloss.HuberLoss(delta=20.0)
    start = float(tinyloss.constant_minimizer(huber, y))
    ours = scores(Objective(huber), start)
    data = lgb.Dataset(x, y, init_score=np.full(len(y), start))
    own = lgb.train({**PARAMS, "objective": "huber", "alpha": 20.0}, data, rounds)
    apart = float(np.max(np.abs(ours - start - np.asarray(own.predict(x, raw_score=True)))))

    quantile = tinyloss.QuantileLoss(q=0.9)
    bound = scores(Objective(quantile), float(tinyloss.constant_minimizer(quantile, y)))
    below = float(np.mean(y <= bound))
    print(f"Huber scores differ by {apart:.1e}; {below:.0%} of patients are below the 90 % bound")
    return apart, below


if __name__ == "__main__":
    main()
