"""XGBoost and LightGBM train with our losses: as with their own where the definitions agree."""

import pickle
from collections.abc import Callable
from math import exp
from typing import Any

import numpy as np
import pytest

import tinyloss
from tinyloss.adapters import lightgbm as for_lightgbm
from tinyloss.adapters import xgboost as for_xgboost

RNG = np.random.default_rng(0)
N, ROUNDS = 400, 10
X = RNG.normal(size=(N, 4)).astype(np.float32)
SCORE = X[:, 0] + 0.5 * X[:, 1] * X[:, 2]
WEIGHT = RNG.uniform(0.2, 2, N).astype(np.float32)
CLASSES = np.digitize(SCORE, [-0.5, 0.5])
YES = (SCORE > 0).astype(int)
COUNTS = RNG.poisson(np.exp(0.5 * SCORE))
REAL = SCORE + 0.3 * RNG.normal(size=N)

TOLERANCE = 1e-5
"""Of scores of about 1: gradients are rounded to float32, 6e-8, in each of ten trees."""

# ------------------------------------------------------------------------------------- XGBoost


@pytest.fixture
def xgboost() -> Any:
    return pytest.importorskip("xgboost")


def by_xgboost(xgboost: Any, y: Any, obj: Any = None, rounds: int = ROUNDS, **params: Any) -> Any:
    data = xgboost.DMatrix(X, y, weight=WEIGHT)
    params = {"eta": 0.3, "max_depth": 3, "nthread": 1, **params}
    return xgboost.train(params, data, rounds, obj=obj)


def version_of(xgboost: Any) -> tuple[int, ...]:
    return tuple([int(each) for each in xgboost.__version__.split(".")[:2]])


def scores(xgboost: Any, booster: Any) -> Any:
    return booster.predict(xgboost.DMatrix(X), output_margin=True)


@pytest.mark.parametrize(
    ("y", "loss", "factor", "params", "own"),
    [
        (CLASSES, tinyloss.cross_entropy, 2, {"num_class": 3, "base_score": 0.5},
         {"objective": "multi:softprob"}),
        (YES, tinyloss.binary_cross_entropy_with_logits, 1, {"base_score": 0.0},
         {"objective": "binary:logistic", "base_score": 0.5}),
        (COUNTS, tinyloss.poisson_nll, exp(0.7), {"base_score": 0.0, "max_delta_step": 0.7},
         {"objective": "count:poisson", "base_score": 1.0}),
        (REAL, 0.5 * tinyloss.MSELoss(), 1, {"base_score": 0.3},
         {"objective": "reg:squarederror"}),
    ],
    ids=["softmax", "logistic", "poisson", "squared error"],
)  # fmt: skip
def test_xgboost_finds_the_scores_of_its_own(
    xgboost: Any, y: Any, loss: Any, factor: float, params: Any, own: Any
) -> None:
    ours = by_xgboost(xgboost, y, for_xgboost.Objective(loss, factor=factor), **params)
    theirs = by_xgboost(xgboost, y, **{**params, **own})
    got, expected = scores(xgboost, ours), scores(xgboost, theirs)
    assert np.ptp(expected) > 0.5
    np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE)


def test_xgboost_splits_for_a_quantile_as_by_its_own(xgboost: Any) -> None:
    objective = for_xgboost.Objective(tinyloss.QuantileLoss(q=0.9))

    def textbook(margin: Any, data: Any) -> tuple[Any, Any]:
        weight = data.get_weight()
        return np.where(margin > data.get_label(), 0.1, -0.9) * weight, weight

    own: dict[str, Any] = {"objective": "reg:quantileerror", "quantile_alpha": 0.9}
    if version_of(xgboost) >= (3, 3):  # its curvature is no longer the weight
        own = {"obj": textbook}
    trees = [
        by_xgboost(xgboost, REAL, rounds=1, base_score=0.3, **each).trees_to_dataframe()
        for each in ({"obj": objective}, own)
    ]
    splits = [tree[["Feature", "Split"]] for tree in trees]
    assert len(splits[0]) > 5
    assert splits[0].equals(splits[1])


def test_xgboosts_estimators_take_them(xgboost: Any) -> None:
    fixed = {"n_estimators": ROUNDS, "max_depth": 3, "n_jobs": 1, "base_score": 0.5}
    loss = tinyloss.CrossEntropyLoss()
    ours = xgboost.XGBClassifier(
        objective=for_xgboost.Objective(loss, factor=2.0),
        eval_metric=for_xgboost.Metric(loss),
        **fixed,
    )
    theirs = xgboost.XGBClassifier(objective="multi:softprob", eval_metric="mlogloss", **fixed)
    for each in (ours, theirs):
        each.fit(
            X, CLASSES, sample_weight=WEIGHT, eval_set=[(X, CLASSES)],
            sample_weight_eval_set=[WEIGHT], verbose=False,
        )  # fmt: skip
    again = pickle.loads(pickle.dumps(ours))
    for each in (ours, again):
        np.testing.assert_allclose(
            each.predict_proba(X), theirs.predict_proba(X), rtol=0, atol=TOLERANCE
        )
    got, expected = (each.evals_result()["validation_0"] for each in (ours, theirs))
    np.testing.assert_allclose(
        got["CrossEntropyLoss"], expected["mlogloss"], rtol=0, atol=TOLERANCE
    )


def test_xgboost_watches_a_loss(xgboost: Any) -> None:
    seen: dict[str, Any] = {}
    data = xgboost.DMatrix(X, REAL, weight=WEIGHT)
    metric = for_xgboost.Metric(tinyloss.mae)
    booster = xgboost.train(
        {"disable_default_eval_metric": 1}, data, 3, custom_metric=metric, evals=[(data, "train")],
        evals_result=seen, verbose_eval=False,
    )  # fmt: skip
    expected = np.average(np.abs(booster.predict(data) - REAL), weights=WEIGHT)
    np.testing.assert_allclose(seen["train"]["mae"][-1], expected, rtol=1e-5)


@pytest.mark.parametrize("loss", [tinyloss.hinge, tinyloss.SigmoidFocalLoss(), tinyloss.mae])
def test_xgboost_learns_by_losses_that_bend_nowhere(xgboost: Any, loss: Any) -> None:
    booster = by_xgboost(xgboost, YES, for_xgboost.Objective(loss), base_score=0.0)
    middle = 0.5 if loss is tinyloss.mae else 0.0
    assert np.mean((scores(xgboost, booster) > middle) == YES) > 0.85


def test_a_good_start_is_where_xgboost_begins(xgboost: Any) -> None:
    loss = tinyloss.QuantileLoss(q=0.9)
    start = float(tinyloss.constant_minimizer(loss, REAL, WEIGHT))
    objective = for_xgboost.Objective(loss)
    booster = by_xgboost(xgboost, REAL, objective, rounds=0, base_score=start)
    below = np.average(scores(xgboost, booster) >= REAL, weights=WEIGHT)
    assert abs(below - 0.9) < 2 / N * 2


# ------------------------------------------------------------------------------------ LightGBM


@pytest.fixture
def lightgbm() -> Any:
    return pytest.importorskip("lightgbm")


def by_lightgbm(lightgbm: Any, y: Any, rounds: int = ROUNDS, **params: Any) -> Any:
    data = lightgbm.Dataset(X, y, weight=WEIGHT)
    fixed = {"verbose": -1, "num_threads": 1, "num_leaves": 7, "boost_from_average": False}
    return lightgbm.train({**fixed, **params}, data, rounds)


@pytest.mark.parametrize(
    ("y", "loss", "factor", "params", "own"),
    [
        (CLASSES, tinyloss.cross_entropy, 1.5, {"num_class": 3}, {"objective": "multiclass"}),
        (YES, tinyloss.binary_cross_entropy_with_logits, 1, {}, {"objective": "binary"}),
        (COUNTS, tinyloss.poisson_nll, exp(0.7), {}, {"objective": "poisson"}),
        (REAL, tinyloss.HuberLoss(delta=0.5), 1, {}, {"objective": "huber", "alpha": 0.5}),
    ],
    ids=["softmax", "logistic", "poisson", "huber"],
)
def test_lightgbm_finds_the_scores_of_its_own(
    lightgbm: Any, y: Any, loss: Any, factor: float, params: Any, own: Any
) -> None:
    objective = for_lightgbm.Objective(loss, factor=factor)
    ours = by_lightgbm(lightgbm, y, objective=objective, **params)
    theirs = by_lightgbm(lightgbm, y, **own, **params)
    got, expected = (each.predict(X, raw_score=True) for each in (ours, theirs))
    assert np.ptp(expected) > 0.5
    np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE)


def test_lightgbm_splits_for_a_quantile_as_by_its_own(lightgbm: Any) -> None:
    objective = for_lightgbm.Objective(tinyloss.QuantileLoss(q=0.9))
    trees = [
        by_lightgbm(lightgbm, REAL, rounds=1, **each).trees_to_dataframe()
        for each in ({"objective": objective}, {"objective": "quantile", "alpha": 0.9})
    ]
    splits = [tree[["split_feature", "threshold"]] for tree in trees]
    assert len(splits[0]) > 5
    assert splits[0].equals(splits[1])


def test_lightgbms_estimators_take_them(lightgbm: Any) -> None:
    fixed = {"n_estimators": ROUNDS, "verbose": -1, "n_jobs": 1, "boost_from_average": False}
    loss = tinyloss.CrossEntropyLoss()
    ours = lightgbm.LGBMClassifier(objective=for_lightgbm.Objective(loss, factor=1.5), **fixed)
    theirs = lightgbm.LGBMClassifier(objective="multiclass", **fixed)
    data = {"sample_weight": WEIGHT, "eval_X": X, "eval_y": CLASSES, "eval_sample_weight": [WEIGHT]}
    ours.fit(X, CLASSES, eval_metric=for_lightgbm.Metric(loss), **data)
    theirs.fit(X, CLASSES, **data)
    again = pickle.loads(pickle.dumps(ours))
    expected = theirs.predict(X, raw_score=True)
    for each in (ours, again):
        np.testing.assert_allclose(each.predict(X, raw_score=True), expected, atol=TOLERANCE)
    got, of_theirs = (each.evals_result_["valid_0"] for each in (ours, theirs))
    np.testing.assert_allclose(
        got["CrossEntropyLoss"], of_theirs["multi_logloss"], rtol=0, atol=TOLERANCE
    )


# ---------------------------------------------------------------- both, by the arrays they pass


class Data:
    """What XGBoost and LightGBM pass beside scores."""

    def __init__(self, label: Any, weight: Any) -> None:
        self.get_label: Callable[[], Any] = lambda: label
        self.get_weight: Callable[[], Any] = lambda: weight
        self.get_group: Callable[[], Any] = lambda: None


both = pytest.mark.parametrize("module", [for_xgboost, for_lightgbm])


@both
def test_weights_count_once_by_either_interface(module: Any) -> None:
    objective = module.Objective(tinyloss.mse, factor=3.0)
    x, y, weight = SCORE.astype(float), REAL, WEIGHT.astype(float)
    for gradient, curvature in (objective(x, Data(y, weight)), objective(y, x, weight)):
        np.testing.assert_allclose(gradient, 2 * (x - y) * weight, rtol=1e-12)
        np.testing.assert_allclose(curvature, 6 * weight, rtol=1e-12)
    for none in (None, np.zeros(0)):
        np.testing.assert_allclose(objective(x, Data(y, none))[0], 2 * (x - y), rtol=1e-12)
    columns = objective(np.stack([y, y], 1), np.stack([x, x], 1), weight)
    np.testing.assert_allclose(columns[0][:, 1], 2 * (x - y) * weight, rtol=1e-12)


@both
def test_scores_in_fortrans_order_are_the_same(module: Any) -> None:
    objective = module.Objective(tinyloss.softmax_focal)
    x = RNG.normal(size=(N, 3))
    results = [objective(CLASSES.astype(float), each) for each in (x, np.asfortranarray(x))]
    np.testing.assert_array_equal(*results)
    assert (results[0][1] > 0).all()


@both
def test_they_are_values(module: Any) -> None:
    for made in (module.Objective(tinyloss.HuberLoss(delta=2.0), 2.0), module.Metric(tinyloss.mae)):
        again = pickle.loads(pickle.dumps(made))
        assert again == made
        assert hash(again) == hash(made)
        assert repr(made).startswith(type(made).__name__)


@both
def test_labels_are_taken_as_what_they_mean(module: Any) -> None:
    signs = module.Objective(tinyloss.hinge)(YES.astype(np.float32), SCORE)
    expected = module.Objective(tinyloss.hinge)(2.0 * YES - 1, SCORE)
    np.testing.assert_array_equal(signs, expected)
    with pytest.raises(ValueError, match=r"^Objective: a label is 0\.5, expected class indices$"):
        module.Objective(tinyloss.cross_entropy)(np.array([0.5]), np.zeros((1, 3)))
    with pytest.raises(ValueError, match=r"y\[0\] is 3, expected a class index from 0 to 2"):
        module.Objective(tinyloss.cross_entropy)(np.array([3.0]), np.zeros((1, 3)))
    with pytest.raises(TypeError, match="expected a loss"):
        module.Objective(len)
    with pytest.raises(TypeError, match="expected a loss"):
        module.Metric("mse")


# --------------------------------------------------------------------------------- lists

GROUPS = [40, 1, 59, 100, 30, 70, 100]
GRADES = np.digitize(SCORE + 0.3 * RNG.normal(size=N), [-1, 0, 1])


def ndcg(scores: Any) -> float:
    """Return the mean NDCG of the groups."""
    found = []
    for own in np.split(np.arange(N), np.cumsum(GROUPS)[:-1]):
        gains = 2.0 ** GRADES[own] - 1
        discounts = 1 / np.log2(2 + np.arange(len(own)))
        best = np.sum(np.sort(gains)[::-1] * discounts)
        found.append(np.sum(gains[np.argsort(-scores[own])] * discounts) / best if best else 1.0)
    return float(np.mean(found))


def test_a_list_is_a_group_of_xgboost(xgboost: Any) -> None:
    weight = np.linspace(0.5, 2, len(GROUPS)).astype(np.float32)
    groups = np.repeat(np.arange(len(GROUPS)), GROUPS)
    data = xgboost.DMatrix(X, GRADES, qid=groups, weight=weight)
    x = RNG.normal(size=N).astype(np.float32)
    found = for_xgboost.Objective(tinyloss.pairwise_logistic)(x, data)
    for own, each in zip(np.split(np.arange(N), np.cumsum(GROUPS)[:-1]), weight, strict=True):
        both: Any = tinyloss.grad_and_hess(tinyloss.pairwise_logistic, hess="boosting")
        expected = both(x[own][None], GRADES[own].astype(np.float32)[None], weight=each)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one[own], other[0], rtol=1e-5, atol=1e-6)
    name, value = for_xgboost.Metric(tinyloss.lambdarank)(x, data)
    by_list: Any = tinyloss.by_segment(tinyloss.lambdarank, groups)
    assert (name, value) == ("lambdarank", by_list(x, GRADES.astype(np.float32), weight=weight))


def test_xgboost_learns_an_order(xgboost: Any) -> None:
    data = xgboost.DMatrix(X, GRADES, qid=np.repeat(np.arange(len(GROUPS)), GROUPS))
    params = {"eta": 0.3, "max_depth": 3, "nthread": 1, "base_score": 0.0}
    objective = for_xgboost.Objective(tinyloss.lambdarank)
    ours = xgboost.train(params, data, 30, obj=objective).predict(data, output_margin=True)
    theirs = xgboost.train({**params, "objective": "rank:ndcg"}, data, 30).predict(data)
    assert ndcg(np.zeros(N)) < 0.8
    assert ndcg(ours) > max(0.95, ndcg(theirs) - 0.02)


def test_lightgbm_learns_an_order(lightgbm: Any) -> None:
    given = {"n_estimators": 30, "n_jobs": 1, "verbose": -1, "min_child_samples": 5}
    objective = for_lightgbm.Objective(tinyloss.lambdarank)
    metric = for_lightgbm.Metric(tinyloss.lambdarank)
    ranker = lightgbm.LGBMRanker(objective=objective, **given)
    watched = {"eval_X": (X,), "eval_y": (GRADES,), "eval_group": [GROUPS], "eval_metric": metric}
    ranker.fit(X, GRADES, group=GROUPS, **watched)
    own = lightgbm.LGBMRanker(objective="lambdarank", **given).fit(X, GRADES, group=GROUPS)
    assert ndcg(ranker.predict(X)) > max(0.95, ndcg(own.predict(X)) - 0.02)
    losses = ranker.evals_result_["training"]["lambdarank"]
    assert losses[-1] < losses[0] / 2


def test_lightgbms_weights_are_of_items(lightgbm: Any) -> None:
    data = lightgbm.Dataset(X, GRADES, group=GROUPS, weight=WEIGHT).construct()
    x = RNG.normal(size=N)
    found = for_lightgbm.Objective(tinyloss.pairwise_logistic)(x, data)
    by_list: Any = tinyloss.by_segment(
        tinyloss.pairwise_logistic, np.repeat(np.arange(len(GROUPS)), GROUPS)
    )
    both: Any = tinyloss.grad_and_hess(by_list, hess="boosting")
    expected = both(x, GRADES, member_weight=WEIGHT)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-9)
