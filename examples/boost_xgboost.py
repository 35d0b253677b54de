"""XGBoost reads digits by tinyloss's cross-entropy, and by its own: the same trees."""

import numpy as np
import xgboost as xgb
from sklearn.datasets import load_digits

import tinyloss
from tinyloss.adapters.xgboost import Metric, Objective


def main(rounds: int = 10) -> float:
    """Return how far the scores of both are apart."""
    x, y = load_digits(return_X_y=True)
    weight = np.where(y == 8, 2.0, 1.0)  # eights count twice
    data = xgb.DMatrix(x, y, weight=weight)
    # Ten scores an image, from 0; XGBoost halves the steps of softmax by a factor of 2.
    params = {"num_class": 10, "base_score": 0.5, "max_depth": 3, "disable_default_eval_metric": 1}
    ours = xgb.train(
        params,
        data,
        rounds,
        obj=Objective(tinyloss.cross_entropy, factor=2.0),
        custom_metric=Metric(tinyloss.cross_entropy),
        evals=[(data, "train")],
        verbose_eval=5,
    )
    theirs = xgb.train({**params, "objective": "multi:softprob"}, data, rounds)
    scores, expected = (each.predict(data, output_margin=True) for each in (ours, theirs))
    apart = float(np.max(np.abs(scores - expected)))
    print(f"scores differ by {apart:.1e}; right on {np.mean(scores.argmax(1) == y):.1%} of images")
    return apart


if __name__ == "__main__":
    main()
