"""Losses where other libraries ask for one: each module is for one library.

tinyloss.adapters.xgboost       Objective, Metric
tinyloss.adapters.lightgbm      Objective, Metric
tinyloss.adapters.scipy         hessp, LinearObjective
tinyloss.adapters.sklearn       Metric, scorer, LinearRegressor, LinearClassifier
tinyloss.adapters.keras         Loss

Nothing of them is imported before its module is. JAX, Flax, optax and torch need no adapter: their
own differentiation takes a loss as it is.

CatBoost maximises, calls an objective with lists, and wants pairs: the gradient negated, and the
curvature negated. For one score an object:

    class Objective:
        def calc_ders_range(self, approxes, targets, weights):
            x, y = np.array(approxes), np.array(targets)
            both = tinyloss.grad_and_hess(loss, hess="boosting")(x, y, weight=weights)
            return [(-g, -h) for g, h in zip(*both)]

    catboost.CatBoost({"loss_function": Objective(), "eval_metric": "RMSE"})

For several classes it asks for the whole matrix of each object, object by object, which takes tens
of times as long as its own loss.
"""
