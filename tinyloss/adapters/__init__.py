"""Losses where other libraries ask for one: each module is for one library.

tinyloss.adapters.xgboost       Objective, Metric
tinyloss.adapters.lightgbm      Objective, Metric
tinyloss.adapters.scipy         hessp, LinearObjective
tinyloss.adapters.sklearn       Metric, scorer, LinearRegressor, LinearClassifier
tinyloss.adapters.keras         Loss

Nothing of them is imported before its module is. JAX, Flax, optax and torch need no adapter: their
own differentiation takes a loss as it is.

CatBoost needs none either: it calls any object with the method `calc_ders_range`. The
documentation's page of boosting has one, with CatBoost's sign.
"""
