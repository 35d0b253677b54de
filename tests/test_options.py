"""Options that several losses have: they mean the same in each."""

import inspect
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import tinyloss
from tests.support.cases import anyloss
from tests.support.libraries import Library
from tests.support.specs import LOSSES, SPECS

on = pytest.mark.parametrize

EPS = 2.0**-52
X = np.array([[0.5, -3.0, 20.0], [-20.0, 0.0, 2.5], [1.5, -0.25, 7.0]])
YES = np.array([[1.0, 0.0, 1.0], [1.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
SHARES = np.array([[0.25, 0.5, 0.25], [0.0, 1.0, 0.0], [0.125, 0.125, 0.75]])
LABELS = np.array([2, 0, 1])


def having(option: str) -> list[str]:
    """Return the losses of elements and rows that have an option."""
    return [
        name for name in LOSSES if option in inspect.signature(getattr(tinyloss, name)).parameters
    ]


def close(got: Any, expected: Any, eps: float = 16) -> None:
    np.testing.assert_allclose(got, expected, rtol=eps * EPS, atol=1e-300)


# ------------------------------------------------------------------------------- label_smoothing

SMOOTHED = [
    name for name in having("label_smoothing") if SPECS[name].definition.arguments == ("x", "y")
]
OF_PAIRS = {"cpo", "simpo"}
"""Losses of answers, whose labels are orders of pairs: theirs is the share of wrong ones."""


@on("name", [name for name in SMOOTHED if name not in OF_PAIRS])
def test_label_smoothing_spreads_a_share_of_the_target_over_its_classes(name: str) -> None:
    rows = SPECS[name].definition.rowwise
    x = X if name != "binary_cross_entropy" else 1 / (1 + np.exp(-X))
    ask = anyloss.value_and_grad(getattr(tinyloss, name), (0, 1))
    for share in (0.25, 1.0):
        y = SHARES if rows else YES
        by_hand = (1 - share) * y + share / (3 if rows else 2)
        value, (by_x, by_y) = ask(x, y, label_smoothing=share, reduction="none")
        expected, (slope, of_target) = ask(x, by_hand, reduction="none")
        close(value, expected)
        np.testing.assert_allclose(by_x, slope, rtol=64 * EPS, atol=8 * EPS)
        close(by_y, (1 - share) * of_target)


@on("name", ["cross_entropy", "softmax_focal"])
def test_labels_are_smoothed_as_their_one_hot_rows(name: str) -> None:
    ask = anyloss.value_and_grad(getattr(tinyloss, name))
    for got, expected in zip(
        ask(X, LABELS, label_smoothing=0.125),
        ask(X, np.eye(3)[LABELS], label_smoothing=0.125),
        strict=True,
    ):
        np.testing.assert_array_equal(got, expected)


@on("name", ["cross_entropy", "softmax_focal"])
def test_an_impossible_class_gets_no_share(name: str) -> None:
    x = np.array([[1.0, -np.inf, 2.0, 0.5]])
    ask = anyloss.value_and_grad(getattr(tinyloss, name))
    value, gradient = ask(x, [0], label_smoothing=0.25)
    expected, slope = ask(x[:, [0, 2, 3]], [0], label_smoothing=0.25)
    close(value, expected)
    close(gradient[:, [0, 2, 3]], slope)
    assert gradient[0, 1] == 0


@on("name", ["binary_cross_entropy_with_logits", "sigmoid_focal"])
def test_a_small_share_is_not_rounded_away(name: str) -> None:
    """In float32 1 - (1 - 1e-9) is 0, and the share of a no with it."""
    x, y = np.array([50.0], np.float32), np.array([1.0], np.float32)
    value = getattr(tinyloss, name)(x, y, label_smoothing=1e-9)
    # what is missed is 5e-10, to the power of gamma beside the 50 of a cross-entropy
    power = 0 if name == "binary_cross_entropy_with_logits" else 2
    np.testing.assert_allclose(value, 50 * 5e-10 ** (1 + power), rtol=1e-6)


@pytest.mark.long
def test_keras_smooths_the_same_targets() -> None:
    keras = pytest.importorskip("keras")
    x, y = X.astype(np.float32) / 4, YES.astype(np.float32)
    plain: Any = {"label_smoothing": 0.1, "reduction": "none"}
    for name, theirs in (
        ("binary_cross_entropy_with_logits", keras.losses.BinaryCrossentropy),
        ("sigmoid_focal", keras.losses.BinaryFocalCrossentropy),
    ):
        expected = theirs(from_logits=True, label_smoothing=0.1)(y, x)
        np.testing.assert_allclose(
            getattr(tinyloss, name)(x, y, label_smoothing=0.1), expected, rtol=1e-5
        )
    expected = keras.losses.CategoricalFocalCrossentropy(from_logits=True, **plain, alpha=1.0)(
        np.eye(3, dtype=np.float32)[LABELS], x
    )
    np.testing.assert_allclose(tinyloss.softmax_focal(x, LABELS, **plain), expected, rtol=1e-5)


# ---------------------------------------------------------------------------------- ignore_index

ELEMENTS = [name for name in having("ignore_index") if not SPECS[name].definition.rowwise]


def of_elements(name: str) -> tuple[npt.NDArray[Any], npt.NDArray[Any], int]:
    """Return x, y with an index that is to be left out, and this."""
    signed = SPECS[name].function.request([X, YES], {}).formula.signed
    x = 1 / (1 + np.exp(-X)) if name == "binary_cross_entropy" else X / 8
    y, index = (2 * YES - 1, 0) if signed else (YES, -1)
    return x.astype(np.float32), np.where(np.eye(3) == 1, index, y).astype(np.float32), index


def test_every_loss_of_yes_or_no_has_an_ignore_index() -> None:
    assert len(ELEMENTS) == 9
    for name in ELEMENTS:
        formula = SPECS[name].function.request([X, YES], {}).formula
        assert formula.binary or formula.signed


@on("name", ELEMENTS)
def test_ignored_elements_are_left_out(name: str, xp: Library) -> None:
    x, y, index = of_elements(name)
    kept = y != index
    x[~kept] = np.nan
    loss: Any = getattr(tinyloss, name)
    few = name not in ("sigmoid_focal", "hinge") and xp.slow

    def ask(x: Any, y: Any, weight: Any) -> Any:
        plain = anyloss.value_and_grad(loss)(x, y, ignore_index=index)
        if few:
            return (plain,)
        return (
            plain,
            anyloss.value_and_grad(loss)(x, y, ignore_index=index, weight=weight, reduction="sum"),
            anyloss.grad_and_hess(loss)(x, y, ignore_index=index),
        )

    weight = np.arange(9, dtype=np.float32).reshape(3, 3)
    results = xp.fetch(xp.call(ask, xp.asarray(x), xp.asarray(y), xp.asarray(weight)))
    safe = np.where(kept, x, np.float32(0.5)), np.where(kept, y, np.float32(1))
    expected = [
        anyloss.value_and_grad(loss)(*safe, where=kept),
        anyloss.value_and_grad(loss)(*safe, where=kept, weight=weight, reduction="sum"),
        anyloss.grad_and_hess(loss)(*safe, where=kept),
    ]
    for got, right in zip(results, expected, strict=False):
        for one, other in zip(got, right, strict=True):
            np.testing.assert_allclose(one, other, rtol=2e-6)
    assert np.all(results[0][1][~kept] == 0)


def test_an_ignored_item_is_not_counted_in_the_mean() -> None:
    """segmentation_models_pytorch divides by all: 1.0125 and 0.7201 in its own tests."""
    x = 18.0 * np.eye(4) - 9
    value = tinyloss.cross_entropy(x, [0, 1, -100, 3], ignore_index=-100, label_smoothing=0.1)
    np.testing.assert_allclose(value, 1.35, rtol=1e-7)
    logits, yes = np.array([-9.0, 9, 1, 9, -9]), np.array([0, 1, -100, 1, 0])
    options: dict[str, Any] = {"ignore_index": -100, "label_smoothing": 0.2}
    value = tinyloss.binary_cross_entropy_with_logits(logits, yes, **options)
    np.testing.assert_allclose(value, 0.9 + np.log1p(np.exp(-9)), rtol=1e-14)  # 0.900123


def test_ignored_targets_of_any_dtype(xp: Library) -> None:
    known = {*xp.floats, *xp.halves, *xp.integers}
    tried = {"int8", "int64", "uint8", "float16", "float64", "bfloat16"} & known
    for dtype in sorted(tried):
        index = 255 if dtype == "uint8" else -1
        y = xp.asarray(np.array([0, 1, index, 1]), dtype)
        x = xp.asarray(np.array([0.5, 2.0, np.nan, -1.0]))
        loss = tinyloss.binary_cross_entropy_with_logits
        got = xp.numpy(xp.call(loss, x, y, ignore_index=index))
        expected = loss(np.array([0.5, 2.0, -1.0]), np.array([0, 1, 1]))
        np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_an_ignored_boolean_is_the_number_it_stands_for() -> None:
    x, yes = np.array([0.5, 2.0, -1.0]), np.array([True, False, True])
    for loss, no in (
        (tinyloss.binary_cross_entropy_with_logits, 0),
        (tinyloss.hinge, -1),
    ):
        assert loss(x, yes, ignore_index=no) == loss(x, yes, where=yes)
        assert loss(x, yes, ignore_index=7) == loss(x, yes)
    assert tinyloss.hinge(x, yes, ignore_index=0) == tinyloss.hinge(x, yes)


def test_an_index_that_no_float_tells_apart_ignores_nothing() -> None:
    x, y = np.array([0.5, 2.0], np.float32), np.array([0.0, 1.0], np.float32)
    loss = tinyloss.binary_cross_entropy_with_logits
    for index in (2**24 + 1, 10**400, -(10**30)):
        assert loss(x, y, ignore_index=index) == loss(x, y)


def test_all_ignored_is_0() -> None:
    x = np.full(3, np.nan)
    value, gradient = anyloss.value_and_grad(tinyloss.sigmoid_focal)(x, x * 0 - 1, ignore_index=-1)
    assert np.isnan(value)  # NaN is not -1
    value, gradient = anyloss.value_and_grad(tinyloss.sigmoid_focal)(x, [-1] * 3, ignore_index=-1)
    assert value == 0
    assert gradient.tolist() == [0, 0, 0]


def test_a_target_that_is_neither_known_nor_ignored_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"y\[1\] is 2\.0, expected a target from 0 to 1"):
        tinyloss.binary_cross_entropy_with_logits(X[0], [-1.0, 2.0, 1.0], ignore_index=-1)


def test_parts_of_a_mean_leave_out_the_same() -> None:
    x, y, _ = of_elements("sigmoid_focal")
    part: Any = tinyloss.partial_mean(tinyloss.SigmoidFocalLoss(ignore_index=-1))
    whole = part(x[:1], y[:1]) + part(x[1:], y[1:])
    np.testing.assert_allclose(
        whole.value(), tinyloss.sigmoid_focal(x, y, ignore_index=-1), rtol=1e-6
    )


def test_objects_and_modules_leave_out_the_same(torch: Any) -> None:
    x, y, _ = of_elements("binary_cross_entropy_with_logits")
    expected = tinyloss.binary_cross_entropy_with_logits(x, y, ignore_index=-1)
    assert tinyloss.BCEWithLogitsLoss(ignore_index=-1)(x, y) == expected
    assert tinyloss.BinaryCrossEntropyLoss(ignore_index=-1)(x, y) == expected
    modules: Any = pytest.importorskip("tinyloss.torch")
    module = modules.BCEWithLogitsLoss(ignore_index=-1)
    np.testing.assert_allclose(module(*map(torch.from_numpy, (x, y))), expected, rtol=1e-6)


# ------------------------------------------------------------------------------------------ ranks


@pytest.mark.long
def test_ranks_of_any_integer_dtype_beside_many_thresholds(xp: Library) -> None:
    """More of them than a narrow integer could count."""
    x = np.sin(np.arange(3 * 300.0)).reshape(3, 300).astype(np.float32)
    ranks, weight = np.array([0, 100, 7]), np.array([1.0, 2.0, 0.5])
    expected = tinyloss.corn(x.astype(float), ranks, weight=weight)
    given = [xp.asarray(ranks, dtype) for dtype in xp.integers]

    def ask(x: Any, weight: Any, *ranks: Any) -> Any:
        return tuple(tinyloss.corn(x, each, weight=weight) for each in ranks)

    for value in xp.fetch(xp.call(ask, xp.asarray(x), xp.asarray(weight), *given)):
        np.testing.assert_allclose(value, expected, rtol=1e-6)


# ------------------------------------------------------------------------------------------ mask

TWICE = [name for name in having("mask") if name in having("class_weight")]
"""They have a curvature."""
OF_CLASSES = [*TWICE, "fenchel_young"]
SOFT = {
    "cross_entropy",
    "softmax_focal",
    "poly_cross_entropy",
    "generalized_cross_entropy",
    "brier",
    "fenchel_young",
}
MASK = np.array([[True, True, False, True], [False, True, True, False], [True, True, True, True]])
ROWS = np.array([[0.5, -3.0, np.nan, 2.0], [np.inf, 0.25, 2.5, np.nan], [1.5, -0.25, 7.0, 3.0]])
WITHIN = np.array([3, 1, 2])


def test_losses_of_classes_have_a_mask() -> None:
    assert len(OF_CLASSES) == 9
    assert {*OF_CLASSES} >= SOFT


def without_the_others(name: str, x: Any, y: Any) -> tuple[Any, Any]:
    """Return the values and gradients of rows that have the possible classes alone."""
    ask = anyloss.value_and_grad(getattr(tinyloss, name))
    values, slopes = np.zeros(3), np.zeros((3, 4))
    for n, mask in enumerate(MASK):
        target = y[n][mask] if y.ndim == 2 else np.flatnonzero(mask).tolist().index(y[n])
        values[n], slopes[n, mask] = ask(x[n][mask], target)
    return values, slopes


@on(
    ("name", "soft"),
    [
        *((name, False) for name in OF_CLASSES),
        *((name, True) for name in OF_CLASSES if name in SOFT),
    ],
)
def test_masked_classes_count_as_absent(name: str, soft: bool, xp: Library) -> None:
    y: Any = np.where(MASK, [0.5, 0.25, 0.125, 0.125], 0) if soft else WITHIN
    expected, slopes = without_the_others(name, ROWS, y)
    if name == "multi_margin":  # a mean over all classes
        share = MASK.sum(-1) / 4
        expected, slopes = expected * share, slopes * share[:, None]
    x = xp.asarray(ROWS.astype(np.float32))
    target = xp.asarray(y, "float32" if soft else "int32")
    ask: Any = anyloss.value_and_grad(getattr(tinyloss, name))
    result = xp.call(ask, x, target, mask=xp.asarray(MASK), reduction="none")
    value, gradient = xp.fetch(result)
    np.testing.assert_allclose(value, expected, rtol=2e-6, atol=1e-30)
    np.testing.assert_allclose(gradient, slopes, rtol=4e-6, atol=1e-7)
    assert np.all(gradient[~MASK] == 0)


@on("name", TWICE)
def test_masks_broadcast_and_have_second_derivatives(name: str) -> None:
    loss: Any = getattr(tinyloss, name)
    x, mask = np.nan_to_num(ROWS, nan=1e9, posinf=1e9), np.array([True, True, True, False])
    for ask in (anyloss.grad_and_hess(loss), anyloss.grad_and_hess(loss, hess="boosting")):
        for got, right in zip(ask(x, [0, 1, 2], mask=mask), ask(x[:, :3], [0, 1, 2]), strict=True):
            scale = 0.75 if name == "multi_margin" and not np.any(right == 1) else 1
            close(got[:, :3], right * scale, 64)
    by_hand = np.where(mask, x, -np.inf)
    np.testing.assert_array_equal(loss(x, [0, 1, 2], mask=mask.tolist()), loss(by_hand, [0, 1, 2]))


def test_a_mask_beside_other_options(xp: Library) -> None:
    x, weight = ROWS.astype(np.float32), np.array([1.0, 0.0, 2.0], np.float32)
    options = {"label_smoothing": 0.25, "class_weight": [1.0, 2.0, 0.5, 1.5]}
    for y in (WITHIN, np.eye(4, dtype=np.float32)[WITHIN]):
        given = xp.asarray(y, "int32" if y.ndim == 1 else "float32")
        ask: Any = anyloss.value_and_grad(tinyloss.cross_entropy)
        own = {**options, "weight": xp.asarray(weight), "mask": xp.asarray(MASK)}
        got = xp.fetch(xp.call(ask, xp.asarray(x), given, **own))
        hand = np.where(MASK, x, np.float32(-np.inf))
        expected = ask(hand, y, **options, weight=weight)
        np.testing.assert_allclose(got[0], expected[0], rtol=2e-6)
        np.testing.assert_allclose(got[1], expected[1], rtol=4e-6, atol=1e-7)


def test_a_mask_along_another_axis() -> None:
    value, gradient = anyloss.value_and_grad(tinyloss.cross_entropy)(
        ROWS.T, WITHIN, axis=0, mask=MASK.T
    )
    expected, slope = anyloss.value_and_grad(tinyloss.cross_entropy)(ROWS, WITHIN, mask=MASK)
    assert value == expected
    np.testing.assert_array_equal(gradient.T, slope)


def test_a_masked_target_costs_infinitely_and_has_no_gradient_of_its_own() -> None:
    for name in OF_CLASSES:
        value, gradient = anyloss.value_and_grad(getattr(tinyloss, name))(ROWS[0], 2, mask=MASK[0])
        finite = {"generalized_cross_entropy", "brier"}  # they are bounded
        assert value == np.inf if name not in finite else np.isfinite(value)
        assert gradient[2] == 0


@pytest.mark.long
def test_optax_masks_the_same_classes(request: pytest.FixtureRequest) -> None:
    losses = pytest.importorskip("optax").losses
    x, y = np.nan_to_num(ROWS, posinf=0.0).astype(np.float32), WITHIN
    expected = losses.softmax_cross_entropy_with_integer_labels(x, y, where=MASK)
    got = tinyloss.cross_entropy(x, y, mask=MASK, reduction="none")
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    expected = losses.poly_loss_cross_entropy(x, np.eye(4)[y], epsilon=1.5, where=MASK)
    got = tinyloss.poly_cross_entropy(x, y, epsilon=1.5, mask=MASK, reduction="none")
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_objects_modules_and_second_derivatives_take_a_mask(torch: Any) -> None:
    modules: Any = pytest.importorskip("tinyloss.torch")
    x = np.nan_to_num(ROWS, posinf=0.0)
    loss = tinyloss.CrossEntropyLoss(label_smoothing=0.1)
    expected = tinyloss.cross_entropy(x, WITHIN, label_smoothing=0.1, mask=MASK)
    assert loss(x, WITHIN, mask=MASK) == expected
    assert loss.value_and_grad(x, WITHIN, mask=MASK)[0] == expected
    tensors = [*map(torch.from_numpy, (x, WITHIN))]
    module = modules.CrossEntropyLoss(label_smoothing=0.1)
    close(module(*tensors, mask=torch.from_numpy(MASK)), expected)
    direction = np.ones_like(x) * [1.0, 2.0, -1.0, 0.5]
    product = tinyloss.hvp(tinyloss.cross_entropy)(x, WITHIN, direction, mask=MASK)
    step = 1e-6
    ends = [
        anyloss.grad(tinyloss.cross_entropy)(x + side * step * direction, WITHIN, mask=MASK)
        for side in (-1, 1)
    ]
    np.testing.assert_allclose(product, (ends[1] - ends[0]) / (2 * step), atol=1e-9)


def test_masks_of_another_kind_are_refused() -> None:
    x = np.zeros((3, 4))
    with pytest.raises(
        TypeError, match=r"^tinyloss.nll: mask has dtype float64, expected booleans"
    ):
        tinyloss.nll(x, WITHIN, mask=np.ones(4))
    with pytest.raises(ValueError, match=r"mask has shape \(3,\), expected one that broadcasts"):
        tinyloss.cross_entropy(x, WITHIN, mask=[True, False, True])
    for name in (
        *("cross_entropy", "softmax_focal", "poly_cross_entropy"),
        *("generalized_cross_entropy", "brier"),
    ):
        loss: Any = getattr(tinyloss, name)
        with pytest.raises(ValueError, match="mask beside from_logits=False"):
            loss(x, WITHIN, from_logits=False, mask=MASK)


# ------------------------------------------------------------------------ arrays for one number

ALPHAS = np.array([0.25, 0.5, 0.875])


def test_alphas_are_those_of_each_column(xp: Library) -> None:
    ask: Any = anyloss.value_and_grad(tinyloss.sigmoid_focal)
    x, y = X.astype(np.float32), YES.astype(np.float32)
    result = xp.call(ask, xp.asarray(x), xp.asarray(y), alpha=xp.asarray(ALPHAS), reduction="sum")
    value, gradient = xp.fetch(result)
    each = [ask(x[:, k], y[:, k], alpha=a, reduction="sum") for k, a in enumerate(ALPHAS.tolist())]
    np.testing.assert_allclose(value, sum(float(one) for one, _ in each), rtol=2e-6)
    np.testing.assert_allclose(gradient.T, [slope for _, slope in each], rtol=2e-6, atol=1e-30)


def test_alphas_in_a_list_an_object_and_a_module(torch: Any) -> None:
    expected = tinyloss.sigmoid_focal(X, YES, alpha=ALPHAS)
    alphas = ALPHAS.tolist()
    assert tinyloss.sigmoid_focal(X, YES, alpha=alphas) == expected
    loss = tinyloss.SigmoidFocalLoss(alpha=ALPHAS)
    assert loss == tinyloss.SigmoidFocalLoss(alpha=alphas)
    assert loss(X, YES) == expected
    steepest: Any = tinyloss.traits(tinyloss.sigmoid_focal).lipschitz
    assert tinyloss.traits(loss).lipschitz == 0.875 * steepest
    modules: Any = pytest.importorskip("tinyloss.torch")
    module = modules.SigmoidFocalLoss(alpha=torch.from_numpy(ALPHAS))
    assert [*module.state_dict()] == ["alpha"]
    close(module(torch.from_numpy(X), torch.from_numpy(YES)), expected)
    assert not [*modules.SigmoidFocalLoss(alpha=0.25).state_dict()]


LEVELS = np.array([0.125, 0.5, 0.75])


def test_quantiles_have_one_target_for_all_levels(xp: Library) -> None:
    x, y = X.astype(np.float32), YES[0].astype(np.float32)
    weight = np.array([[1.0], [2.0], [0.5]], np.float32)

    def ask(x: Any, y: Any, q: Any, weight: Any) -> Any:
        every = anyloss.value_and_grad(tinyloss.quantile)
        return every(x, y, q=q, weight=weight), tinyloss.quantile(x, y, q=q, reduction="none")

    given = xp.asarray(x), xp.asarray(y), xp.asarray(LEVELS), xp.asarray(weight)
    (value, gradient), items = xp.fetch(xp.call(ask, *given))
    alone: Any = anyloss.value_and_grad(tinyloss.quantile)
    each = [alone(x[:, k], y, q=q, weight=weight[:, 0]) for k, q in enumerate(LEVELS.tolist())]
    np.testing.assert_allclose(value, sum(float(one) for one, _ in each) / 3, rtol=2e-6)
    np.testing.assert_allclose(3 * gradient.T, [slope for _, slope in each], rtol=2e-6)
    np.testing.assert_array_equal(
        items, tinyloss.quantile(x, np.repeat(y[:, None], 3, axis=1), q=LEVELS, reduction="none")
    )


def test_quantiles_of_one_number_and_of_images() -> None:
    x = np.stack([X, X + 1], axis=-1)
    value = tinyloss.quantile(x, YES, q=[0.25, 0.75], reduction="none")
    for k, q in enumerate((0.25, 0.75)):
        close(value[..., k], tinyloss.quantile(x[..., k], YES, q=q, reduction="none"))
    assert tinyloss.quantile(X[0], 0.25, q=LEVELS, reduction="none").shape == (3,)
    # A level for each item is an array, too: x and y have one shape.
    close(
        tinyloss.quantile(X, YES, q=LEVELS[:, None], reduction="none")[1],
        tinyloss.quantile(X[1], YES[1], q=0.5, reduction="none"),
    )


def test_traits_of_several_levels_hold_for_each() -> None:
    known = tinyloss.traits(tinyloss.QuantileLoss(q=LEVELS))
    assert (known.lipschitz, known.symmetric, known.elicits) == (0.875, False, None)
    assert tinyloss.traits(tinyloss.quantile, q=[0.5, 0.5]).elicits == "median"


@pytest.mark.long
def test_quantiles_by_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    y = YES[0]
    each = [metrics.mean_pinball_loss(y, X[:, k], alpha=q) for k, q in enumerate(LEVELS)]
    close(tinyloss.quantile(X, y, q=LEVELS), np.mean(each))
    assert tinyloss.QuantileLoss(q=LEVELS)(X, y) == tinyloss.quantile(X, y, q=LEVELS)


def test_the_target_of_several_levels_has_a_gradient_by_autodiff(torch: Any, jax: Any) -> None:
    """Its derivative is a sum over the levels, which the libraries add up."""
    y = torch.from_numpy(YES[0]).requires_grad_()
    tinyloss.quantile(torch.from_numpy(X), y, q=LEVELS, reduction="sum").backward()
    expected = -tinyloss.grad(tinyloss.quantile)(X, YES[0], q=LEVELS, reduction="sum").sum(-1)
    close(y.grad, expected)
    by_y = jax.grad(lambda y: tinyloss.quantile(jax.numpy.asarray(X), y, q=LEVELS, reduction="sum"))
    np.testing.assert_allclose(by_y(jax.numpy.asarray(YES[0])), expected, rtol=1e-6)
    with pytest.raises(ValueError, match=r"y has shape \(3,\), expected \(3, 3\), the shape of x"):
        tinyloss.grad(tinyloss.quantile, 1)(X, YES[0], q=LEVELS)


def test_several_levels_beside_a_target_of_another_shape_are_refused() -> None:
    for y in (YES[:2, 0], YES[:, :2], YES[0, 0]):
        with pytest.raises(ValueError, match=r"y has shape .*expected \(3, 3\), the shape of x"):
            tinyloss.quantile(X, y, q=LEVELS)
    with pytest.raises(ValueError, match=r"y has shape \(3,\), expected \(3, 3\)"):
        tinyloss.quantile(X, YES[0], q=0.5)
    with pytest.raises(ValueError, match=r"q has shape \(2,\), expected one that broadcasts"):
        tinyloss.quantile(X, YES[0], q=[0.5, 0.25])


@on("levels", [[0.1, 0.5, 1.5], np.array([0.1, -1.0, 0.5]), np.array([0.1, np.nan, 0.5])])
def test_each_of_several_levels_is_a_share(levels: Any) -> None:
    """Of the second call, too, which differs in nothing but what arrays hold."""
    x, y = np.zeros((4, 3)), np.zeros(4)
    anyloss.quantile(x, y, q=np.array([0.1, 0.2, 0.3]))
    with pytest.raises(ValueError, match=r"^tinyloss\.quantile: q is .*, expected "):
        anyloss.quantile(x, y, q=levels)
    with pytest.raises(ValueError, match=r"^tinyloss\.sigmoid_focal: alpha is .*, expected "):
        anyloss.sigmoid_focal(x, x, alpha=levels)


def test_several_levels_on_dask_of_unknown_length() -> None:
    da = pytest.importorskip("dask.array")
    keep = np.array([True, False, True])
    x, y = da.from_array(X, chunks=2), da.from_array(YES[0], chunks=2)
    mask = da.from_array(keep, chunks=2)
    value = tinyloss.quantile(x[mask], y[mask], q=LEVELS).compute()
    close(value, tinyloss.quantile(X[keep], YES[0][keep], q=LEVELS))


def test_alphas_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"alpha has shape \(2,\), expected one that broadcasts"):
        tinyloss.sigmoid_focal(X, YES, alpha=[0.5, 0.25])
