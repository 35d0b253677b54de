"""scikit-learn chooses a loss by cross-validation, where some targets were written down wrong."""

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import tinyloss
from tinyloss.adapters.sklearn import LinearRegressor, scorer


def main() -> tuple[str, dict[str, float]]:
    """Return the loss that was chosen, and the mean absolute error of models on clean targets."""
    x, y = load_diabetes(return_X_y=True)
    wrong = np.random.default_rng(0).uniform(size=len(y)) < 0.1
    dirty = np.where(wrong, 10 * y, y)
    losses = [tinyloss.MSELoss(), tinyloss.HuberLoss(delta=20.0), tinyloss.HuberLoss(delta=40.0)]
    model = make_pipeline(StandardScaler(), LinearRegressor(alpha=1e-3))
    search = GridSearchCV(model, {"linearregressor__loss": losses}, scoring=scorer(tinyloss.mae))
    search.fit(x, dirty)
    chosen = search.best_params_["linearregressor__loss"]
    errors: dict[str, float] = {}
    own_model = make_pipeline(StandardScaler(), Ridge())
    for name, each in ((repr(chosen), search.best_estimator_), ("scikit-learn's Ridge", own_model)):
        errors[name] = float(tinyloss.mae(each.fit(x, dirty).predict(x), y))
        print(f"{name:24} mean absolute error on the true targets {errors[name]:.1f}")
    own = cross_val_score(model, x, dirty, scoring="neg_mean_absolute_error")
    ours = cross_val_score(model, x, dirty, scoring=scorer(tinyloss.mae))
    print(f"{chosen!r} was chosen; scores differ from scikit-learn's by {max(abs(own - ours)):.0e}")
    return repr(chosen), errors


if __name__ == "__main__":
    main()
