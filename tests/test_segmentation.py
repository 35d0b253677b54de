"""Losses of regions: golden values, logits in both tails, masks, class indices, others' faults."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import tinyloss
import tinyloss_numpy
from tests.support.jets import mp
from tests.support.libraries import Library
from tests.support.memory import peak

Array = npt.NDArray[Any]

EPS32, EPS64 = 2.0**-23, 2.0**-52
BOUND = 16
"""Eps of a gradient: the bound that the docstrings promise for those by probabilities, twice."""

value_and_grad: Any = tinyloss.value_and_grad  # of losses whose parameters no checker knows
on = pytest.mark.parametrize

LOSSES: list[Any] = [
    tinyloss.dice,
    tinyloss.jaccard,
    tinyloss.tversky,
    tinyloss.focal_tversky,
    tinyloss.generalized_dice,
]
IMAGES: dict[str, Any] = {"axis": (-2, -1)}

# ---------------------------------------------------------------------------------- golden values

# tests/losses of MONAI, to 20 digits by mpmath: four pixels, and two images of two classes.
PIXELS, REGION = np.array([1.0, -1, -1, 1]), np.array([1, 0, 1, 1])
TWO = np.array([[[-1.0, 0, 1], [1, 0, -1]], [[0, 0, 0], [0, 0, 0]]])
CLASSES = np.array([[1, 0, 0], [1, 1, 0]])
SMALL = 1e-4

GOLDEN: list[tuple[Any, dict[str, Any], str, tuple[str, str, str]]] = [
    (
        tinyloss.dice,
        {},
        "0.3075765685479980483",
        ("-0.051417031400696982", "0.027227741895895759", "-0.051417031400696982"),
    ),
    (
        tinyloss.dice,
        {"smooth": 1e-6},
        "0.30757650703269664176",
        ("-0.051417018698364776", "0.027227738869276452", "-0.051417018698364776"),
    ),
    (
        tinyloss.dice,
        {"smooth": 1e-5, "squared": True},
        "0.17833725056186203486",
        ("-0.037265555397437061", "0.020622520654001665", "-0.072700857894229467"),
    ),
    (
        tinyloss.jaccard,
        {"smooth": 1e-5},
        "0.47045142142108495745",
        ("-0.060145260023192128", "0.031849836953540634", "-0.060145260023192128"),
    ),
    (
        tinyloss.tversky,
        {"fp_weight": 0.3, "fn_weight": 0.7, "smooth": 1e-6},
        "0.35886706018627219795",
        ("-0.058813169777718733", "0.014006037786086559", "-0.058813169777718733"),
    ),
    (
        tinyloss.tversky,
        {"fp_weight": 0.7, "fn_weight": 0.3, "smooth": 1e-6},
        "0.24736572782794230122",
        ("-0.040446990131135216", "0.045036421937590777", "-0.040446990131135216"),
    ),
    (
        tinyloss.focal_tversky,
        {},
        "0.4636607339890771962",
        ("-0.056990516487135289", "0.013571979294753586", "-0.056990516487135289"),
    ),
]


@on(("loss", "parameters", "value", "gradient"), GOLDEN)
def test_four_pixels(loss: Any, parameters: Any, value: str, gradient: tuple[str, ...]) -> None:
    derive = value_and_grad(loss)
    got, by_x = derive(PIXELS, REGION, axis=0, from_logits="sigmoid", **parameters)
    np.testing.assert_allclose(got, float(value), rtol=8 * EPS64)
    np.testing.assert_allclose(by_x[:3], [*map(float, gradient)], rtol=BOUND * EPS64)
    assert by_x[3] == by_x[0]


@on(
    ("loss", "options", "value"),
    [
        (tinyloss.dice, {"from_logits": "softmax"}, "0.38371319481194694438"),
        (tinyloss.dice, {"from_logits": "sigmoid"}, "0.43505029985390937344"),
        (
            tinyloss.tversky,
            {"from_logits": "sigmoid", "axis": (0, 2), "smooth": 1e-5},
            "0.42297906385978550763",
        ),
    ],
)
def test_two_images_of_two_classes(loss: Any, options: Any, value: str) -> None:
    got = loss(TWO, CLASSES, **{"smooth": SMALL, **options})
    np.testing.assert_allclose(got, float(value), rtol=8 * EPS64)


@on(
    ("loss", "values"),
    [
        (
            tinyloss.tversky,
            [
                ["0.21096104338158822692", "0.29533871052085237656"],
                ["0.59995200383969282457", "0.42854694017484715159"],
            ],
        ),
        (tinyloss.generalized_dice, ["0.27347554296325853748", "0.55553909513792183935"]),
    ],
)
def test_each_item_of_two_images(loss: Any, values: Any) -> None:
    got = loss(TWO, CLASSES, smooth=SMALL, from_logits="softmax", reduction="none")
    np.testing.assert_allclose(got, np.array(values, float), rtol=8 * EPS64)


@on(
    ("loss", "value"),
    [
        (tinyloss.dice, "0.41665763909143050744"),
        (tinyloss.generalized_dice, "0.41659723657066444782"),
    ],
)
def test_two_images_of_one_class(loss: Any, value: str) -> None:
    x, y = np.array([[PIXELS]] * 2), np.array([[[1, 1, 1, 1]], [[1, 0, 1, 0]]])
    got = loss(x, y, smooth=SMALL, from_logits="sigmoid")
    np.testing.assert_allclose(got, float(value), rtol=8 * EPS64)


# ---------------------------------------------------------------------------------- others' faults


@on("loss", LOSSES[:4])
def test_false_positives_on_an_empty_image_are_not_free(loss: Any) -> None:
    """segmentation_models_pytorch drops the loss of what is absent, and counts it in the mean."""
    assert loss(np.ones((1, 3)), np.zeros((1, 3))) == 1


@on("loss", [tinyloss.dice, tinyloss.jaccard])
def test_a_region_of_one_pixel_that_is_missed_costs_all(loss: Any) -> None:
    """optax adds 1 above and below: half of a loss."""
    np.testing.assert_allclose(loss(np.zeros((1, 1, 9)), np.eye(9)[:1, None]), 1, rtol=4 * EPS64)


@on("loss", LOSSES)
def test_nothing_found_where_there_is_nothing_is_right(loss: Any) -> None:
    """Keras' Dice is 1 there."""
    zeros = np.zeros((2, 3, 4))
    value, gradient = value_and_grad(loss)(zeros, zeros)
    assert value == 0
    assert not gradient.any()


def test_false_positives_are_what_fp_weight_weighs() -> None:
    """Flux, Keras and ivadomed have each had alpha and beta the other way round."""
    x, y = np.array([1.0, 1, 0]), np.array([1, 0, 0])
    assert tinyloss.tversky(x, y, axis=0, fp_weight=1.0, fn_weight=0.0) == 0.5
    assert tinyloss.tversky(x, y, axis=0, fp_weight=0.0, fn_weight=1.0) == 0
    assert tinyloss.tversky(1 - x, 1 - y, axis=0, fp_weight=0.0, fn_weight=1.0) == 0.5


@on("loss", LOSSES)
def test_log_probabilities_are_no_probabilities(loss: Any) -> None:
    """MONAI's dice takes a log_softmax, and is -8.5."""
    assert np.isnan(loss(np.log(np.full((1, 2, 3), 0.5)), np.ones((1, 2, 3))))


@on("loss", [tinyloss.dice, tinyloss.jaccard])
def test_a_mean_of_weighted_classes_is_one_of_their_weights(loss: Any) -> None:
    """MONAI multiplies by the weights of classes, and divides by how many there are."""
    rng = np.random.default_rng(0)
    x, y = rng.random((4, 3, 5)), rng.random((4, 3, 5)) < 0.5
    items = loss(x, y, reduction="none")
    weight = np.array([1.0, 10, 100])
    expected = (items * weight).sum() / (4 * weight.sum())
    np.testing.assert_allclose(loss(x, y, weight=weight), expected, rtol=8 * EPS64)


def test_the_digits_of_a_good_overlap_are_kept() -> None:
    """1 - 2 tp / (sum p + sum y) loses them, and so does a probability that rounds to 1."""
    x, y = np.full((1, 4), 20, np.float32), np.ones((1, 4))
    value, gradient = value_and_grad(tinyloss.dice)(x, y, from_logits="sigmoid")
    q = 1 / (1 + np.exp(20.0))
    np.testing.assert_allclose(value, q / (2 - q), rtol=4 * EPS32)
    np.testing.assert_allclose(
        gradient, [[-2 * (1 - q) * q / (2 - q) ** 2 / 4] * 4], rtol=8 * EPS32
    )


# ------------------------------------------------------------------------------------- from logits


def softmax_dice(x: Any, y: Array) -> tuple[Any, Array]:
    """Return the mean of dice over the classes of an image (C, P), and its gradient by logits.

    Of numbers of many digits, as many as are worked with.
    """
    classes, pixels = range(x.shape[0]), range(x.shape[1])
    e = [[mp.exp(x[c, k]) for k in pixels] for c in classes]
    total = [mp.fsum(e[c][k] for c in classes) for k in pixels]
    p = [[e[c][k] / total[k] for k in pixels] for c in classes]
    hot = [[int(y[k] == c) for k in pixels] for c in classes]
    value, by_p = mp.mpf(0), []
    for c in classes:
        whole = mp.fsum(p[c]) + sum(hot[c])
        lost = mp.fsum(abs(t - q) for t, q in zip(hot[c], p[c], strict=True)) / whole
        value += lost / len(classes)
        by_p.append([(1 - 2 * t - lost) / whole / len(classes) for t in hot[c]])
    shares = [mp.fsum(p[c][k] * by_p[c][k] for c in classes) for k in pixels]
    return value, np.array(
        [[p[c][k] * (by_p[c][k] - shares[k]) for k in pixels] for c in classes], object
    )


def with_digits(x: Array) -> Any:
    return np.vectorize(lambda each: mp.mpf(float(each)), otypes=[object])(x)


def exact_softmax_dice(x: Array, y: Array) -> tuple[Any, Array]:
    """Return the same of floats, as floats."""
    with mp.workdps(400):
        value, by_x = softmax_dice(with_digits(x), y)
        return float(value), by_x.astype(float)


def exact_along(x: Array, y: Array, direction: Array) -> Array:
    """Return how its gradient moves along a direction: by differences of 400 digits."""
    with mp.workdps(400):
        step = mp.mpf(10) ** -150  # their own error is its square
        middle, way = with_digits(x), step * with_digits(direction)
        (_, one), (_, other) = softmax_dice(middle + way, y), softmax_dice(middle - way, y)
        moved: Array = ((one - other) / (2 * step)).astype(float)
        return moved


def _logits(scale: float) -> tuple[Array, Array]:
    rng = np.random.default_rng(3)
    y = rng.integers(0, 3, 6)
    x = rng.normal(size=(3, 6))
    x[y, np.arange(6)] += scale
    return x.astype(np.float32), y


@on("scale", [0.0, 5.0, 20.0, 60.0])
def test_logits_keep_their_digits_in_both_tails(scale: float, xp: Library) -> None:
    x, y = _logits(scale)
    value, gradient = exact_softmax_dice(x, y)
    derive = value_and_grad(tinyloss.dice)
    got = derive(xp.asarray(x), xp.own(y), class_axis=0, from_logits="softmax")
    # what is pulled is a sum of the classes' gradients, of which some may cancel
    np.testing.assert_allclose(xp.fetch(got[0]), value, rtol=8 * EPS32)
    np.testing.assert_allclose(xp.fetch(got[1]), gradient, rtol=2 * BOUND * EPS32)


@on("scale", [0.0, 20.0, 60.0])
def test_autodiff_of_the_libraries_keeps_them(scale: float, jax: Any, torch: Any) -> None:
    x, y = _logits(scale)
    _, gradient = exact_softmax_dice(x, y)

    def loss(x: Any) -> Any:
        return tinyloss.dice(x, y, class_axis=0, from_logits="softmax")

    np.testing.assert_allclose(
        jax.jit(jax.grad(loss))(jax.numpy.asarray(x)), gradient, rtol=2 * BOUND * EPS32
    )
    tensor = torch.tensor(x, requires_grad=True)
    (3.0 * loss(tensor)).backward()
    np.testing.assert_allclose(tensor.grad / 3, gradient, rtol=2 * BOUND * EPS32)


@on("loss", LOSSES)
@on("activation", ["softmax", "sigmoid"])
def test_the_gradient_is_that_of_differences(loss: Any, activation: str) -> None:
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(2, 3, 2, 4)), rng.integers(0, 3, (2, 2, 4))
    options = {**IMAGES, "smooth": 0.25, "from_logits": activation}
    _, gradient = value_and_grad(loss)(x, y, **options)
    step = 2.0**-17
    for at in np.ndindex(x.shape):
        moved = np.zeros_like(x)
        moved[at] = step
        slope = (loss(x + moved, y, **options) - loss(x - moved, y, **options)) / (2 * step)
        # the differences' own error: step^2, and the rounding of the values over the step
        assert abs(gradient[at] - slope) < 4 * step**2 + 4 * EPS64 / step


def test_half_precision_is_rounded_once() -> None:
    x, y = _logits(2.0)
    half = x.astype(np.float16)
    options: dict[str, Any] = {"class_axis": 0, "from_logits": "softmax"}
    derive = value_and_grad(tinyloss.dice)
    value, gradient = derive(half, y, **options)
    wide, expected = derive(half.astype(np.float32), y, **options)
    assert value.dtype == np.float32
    assert value == wide
    np.testing.assert_array_equal(gradient, expected.astype(np.float16))


def test_jax_maps_over_images(jax: Any) -> None:
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(3, 2, 5)), rng.integers(0, 2, (3, 5))

    def loss(x: Any, y: Any) -> Any:
        return tinyloss.dice(x, y, class_axis=0, from_logits="softmax", ignore_index=7)

    got = jax.vmap(jax.grad(loss))(jax.numpy.asarray(x), jax.numpy.asarray(y))
    expected = [
        value_and_grad(tinyloss.dice)(*each, class_axis=0, from_logits="softmax")[1]
        for each in zip(x, y, strict=True)
    ]
    np.testing.assert_allclose(got, expected, rtol=BOUND * EPS64, atol=EPS64)


@pytest.mark.slow
# Of torch's own, when it traces an autograd function.
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch.*")
def test_torch_compiles_it(torch: Any) -> None:
    x, y = _logits(1.0)
    options: dict[str, Any] = {"class_axis": 0, "from_logits": "softmax"}

    def loss(x: Any, y: Any) -> Any:
        return tinyloss.dice(x, y, **options)

    tensor = torch.tensor(x, requires_grad=True)
    torch.compile(loss, fullgraph=True)(tensor, torch.tensor(y)).backward()
    expected = tinyloss.grad(tinyloss.dice)(x, y, **options)
    np.testing.assert_allclose(tensor.grad, expected, rtol=2 * BOUND * EPS32)


# ------------------------------------------------------------------- second derivatives by logits

gradient_of: Any = tinyloss.grad
second: Any = tinyloss.grad_and_hess
hvp: Any = tinyloss.hvp


def _hidden(loss: Any, activation: str, squared: bool = False) -> tuple[Any, ...]:
    """Return logits, labels and a direction of images that have weights and hidden pixels."""
    rng = np.random.default_rng(12)
    x, y = rng.normal(size=(2, 3, 2, 3)), rng.integers(0, 3, (2, 2, 3))
    weight = rng.random((2,) if loss is tinyloss.generalized_dice else (2, 3)) + 0.5
    options = {
        **IMAGES, "smooth": 0.25, "from_logits": activation, "weight": weight,
        "mask": rng.random((2, 1, 2, 3)) < 0.7, **({"squared": True} if squared else {}),
    }  # fmt: skip
    return x, y, rng.normal(size=x.shape), options


EACH = [(loss, False) for loss in LOSSES] + [(tinyloss.dice, True)]


@on(("loss", "squared"), EACH)
@on("activation", ["softmax", "sigmoid"])
def test_products_with_the_hessian_are_those_of_differences(
    loss: Any, squared: bool, activation: str
) -> None:
    x, y, v, options = _hidden(loss, activation, squared)
    slope, t = gradient_of(loss), 2.0**-17
    moved = (slope(x + t * v, y, **options) - slope(x - t * v, y, **options)) / (2 * t)
    found = hvp(loss)(x, y, v, **options)
    # the differences' own error: t^2, and the rounding of the gradients over t
    np.testing.assert_allclose(found, moved, rtol=0, atol=16 * t**2 + 4 * EPS64 / t)


@pytest.mark.long
@on(("loss", "squared"), EACH)
@on("activation", ["softmax", "sigmoid"])
def test_jax_finds_the_same_hessian(loss: Any, squared: bool, activation: str, jax: Any) -> None:
    x, y, v, options = _hidden(loss, activation, squared)

    def whole(x: Any, reduction: Any) -> Any:
        return loss(x, y, reduction=reduction, **options)

    hessian = jax.jit(jax.hessian(whole), static_argnums=1)
    size = x.size
    mean, total = (
        np.reshape(hessian(jax.numpy.asarray(x), each), (size, size)) for each in ("mean", "sum")
    )
    found = hvp(loss)(x, y, v, **options)
    np.testing.assert_allclose(found.ravel(), mean @ v.ravel(), rtol=0, atol=BOUND * EPS64)
    by_x, bend = second(loss)(x, y, **options)
    np.testing.assert_allclose(bend.ravel(), np.diag(total), rtol=0, atol=BOUND * EPS64)
    expected = gradient_of(loss)(x, y, reduction="sum", **options)
    np.testing.assert_allclose(by_x, expected, rtol=0, atol=BOUND * EPS64)


# Not Dask's arrays of split rows: reverse mode makes tens of thousands of tasks of them.
@on("xp", ["numpy", "torch", "jax", "dask", "array-api-strict"], indirect=True)
@on(("loss", "activation"), [(tinyloss.dice, "softmax"), (tinyloss.generalized_dice, "softmax")])
@pytest.mark.heavy(4)
def test_the_diagonal_is_that_of_products(loss: Any, activation: str, xp: Library) -> None:
    x, y, _, options = _hidden(loss, activation)
    x = x.astype(np.float32)
    expected = gradient_of(loss)(x, y, reduction="sum", **options)
    options["mask"] = xp.own(options["mask"])
    by_x, bend = xp.fetch(second(loss)(xp.asarray(x), xp.own(y), **options))
    np.testing.assert_allclose(by_x, expected, rtol=0, atol=BOUND * EPS32)
    at = (0, 1, 1, 2)
    way = np.zeros_like(x)
    way[at] = 1
    moved = hvp(loss)(xp.asarray(x), xp.own(y), xp.asarray(way), reduction="sum", **options)
    np.testing.assert_allclose(bend[at], xp.fetch(moved)[at], rtol=0, atol=BOUND * EPS32)


@on("scale", [0.0, 5.0, 20.0])
def test_second_derivatives_keep_their_digits_in_both_tails(scale: float) -> None:
    x, y = _logits(scale)
    options: dict[str, Any] = {"class_axis": 0, "from_logits": "softmax"}
    v = np.random.default_rng(13).normal(size=x.shape).astype(np.float32)
    found = hvp(tinyloss.dice)(x, y, v, **options)
    expected = exact_along(x, y, v)
    size = np.abs(exact_softmax_dice(x, y)[1]) * np.abs(v).max()
    # of the sizes of terms, which are of the gradient's times the direction's
    np.testing.assert_array_less(
        np.abs(found - expected), BOUND * EPS32 * (size + np.abs(expected))
    )
    _, bend = second(tinyloss.dice)(x, y, **options)
    for at in np.ndindex(x.shape):
        way = np.zeros_like(x)
        way[at] = 1
        exact = exact_along(x, y, way)[at] * 3  # of the mean over three classes
        least = abs(exact_softmax_dice(x, y)[1][at]) * 3
        assert abs(bend[at] - exact) < BOUND * EPS32 * (abs(exact) + least)


@on("activation", ["softmax", "sigmoid"])
@on("loss", LOSSES)
def test_for_boosting_no_curvature_is_0(loss: Any, activation: str) -> None:
    x, y, _, options = _hidden(loss, activation)
    _, bend = second(loss)(x, y, **options)
    _, above = second(loss, hess="boosting")(x, y, **options)
    assert (above > 0).all()
    np.testing.assert_array_equal(above[bend > 0], bend[bend > 0])
    weight = options["weight"].reshape(2, -1, 1, 1)
    weight = weight.max(1, keepdims=True) if activation == "softmax" else weight
    np.testing.assert_array_equal(above[bend <= 0], (weight + 0 * x)[bend <= 0])


def test_second_derivatives_of_sums_halves_and_of_what_is_left_out() -> None:
    rng = np.random.default_rng(14)
    x, y, v = rng.normal(size=(2, 3, 5)), rng.integers(0, 3, (2, 5)), rng.normal(size=(2, 3, 5))
    dice, ce = tinyloss.DiceLoss(from_logits="softmax"), tinyloss.CrossEntropyLoss(axis=1)
    both = 0.5 * dice + 0.5 * ce
    parts = [each.hvp(x, y, v) for each in (dice, ce)]
    np.testing.assert_allclose(both.hvp(x, y, v), sum(parts) / 2, rtol=0, atol=8 * EPS64)
    half = [each.astype(np.float16) for each in (x, v)]
    wide = [each.astype(np.float32) for each in half]
    found, expected = (dice.hvp(a, y, b) for a, b in (half, wide))
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found, expected.astype(np.float16))
    out = np.empty_like(x), np.empty_like(x)
    second(dice, out=out)(x, y)
    for one, other in zip(out, second(dice)(x, y), strict=True):
        np.testing.assert_array_equal(one, other)
    one = dice.hvp(x[:1], y[:1], v[:1])
    x[1] = v[1] = np.nan
    found = dice.hvp(x, y, v, where=[[True], [False]])
    np.testing.assert_array_equal(found, [one[0], np.zeros((3, 5))])
    curvature = second(dice)(x, y, where=[[True], [False]])[1]
    assert np.isfinite(curvature).all()
    assert not curvature[1].any()


def test_an_order_of_pixels_has_no_second_derivatives() -> None:
    x, y = np.zeros((1, 3)), np.ones((1, 3))
    for derive, arrays in ((second, (x, y)), (hvp, (x, y, x))):
        with pytest.raises(TypeError, match=r"lovasz_softmax: has no .*: its pixels are put in an"):
            derive(tinyloss.lovasz_softmax)(*arrays, from_logits="sigmoid")
    with pytest.raises(ValueError, match=r"dice: direction has shape \(3,\), expected \(1, 3\)"):
        hvp(tinyloss.dice)(x, y, x[0], from_logits="sigmoid")


# ------------------------------------------------------------------------- class indices and masks


@on("loss", LOSSES)
@on("activation", ["softmax", "sigmoid", None])
@pytest.mark.heavy(60)
def test_nan_under_a_mask_leaks_nowhere(loss: Any, activation: Any, xp: Library) -> None:
    """MONAI multiplies the input by the mask."""
    rng = np.random.default_rng(7)
    x, y = rng.random((2, 3, 2, 5), np.float32), rng.integers(0, 3, (2, 2, 5))
    mask = rng.random((2, 2, 5)) < 0.6
    options = {**IMAGES, "from_logits": activation}
    given = {**options, "mask": mask[:, None]}
    expected = value_and_grad(loss)(x, y, **given)
    assert not expected[1][~np.broadcast_to(mask[:, None], x.shape)].any()
    hidden, void = np.where(mask[:, None], x, np.nan), np.where(mask, y, 255)
    hot = (y[:, None] == np.arange(3)[:, None, None]) * 1.0
    for target, more in (
        (void, {"mask": xp.own(mask[:, None])}),
        (void, {"ignore_index": 255}),
        (np.where(mask[:, None], hot, np.nan), {"mask": xp.own(mask[:, None])}),
    ):
        got = value_and_grad(loss)(xp.asarray(hidden), xp.own(target), **options, **more)
        for one, other in zip(xp.fetch(got), expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=BOUND * EPS32, atol=EPS32 * 2.0**-8)


@on("activation", ["softmax", "sigmoid", None])
def test_an_image_that_is_left_out_leaks_nothing(activation: Any, jax: Any, torch: Any) -> None:
    rng = np.random.default_rng(8)
    x, y = rng.random((2, 3, 5)), rng.integers(0, 3, (2, 5))
    options: dict[str, Any] = {"from_logits": activation, "where": [[True], [False]]}
    expected = tinyloss.grad(tinyloss.dice)(x, y, **options)
    x[1] = np.nan
    np.testing.assert_array_equal(tinyloss.grad(tinyloss.dice)(x, y, **options), expected)
    by_jax = jax.grad(lambda x: tinyloss.dice(x, y, **options))(jax.numpy.asarray(x))
    np.testing.assert_allclose(by_jax, expected, rtol=BOUND * EPS64, atol=EPS64)
    tensor = torch.tensor(x, requires_grad=True)
    tinyloss.dice(tensor, torch.tensor(y), **options).backward()
    np.testing.assert_allclose(tensor.grad, expected, rtol=BOUND * EPS64, atol=EPS64)


def test_an_ignored_pixel_is_as_none_at_all() -> None:
    """segmentation_models_pytorch counts it in the mean."""
    x, y = np.array([[0.2, 0.9, 0.4, 0.7]]), np.array([[0, 1, 9, 1]])
    both, kept = np.stack([1 - x, x], axis=1), [0, 1, 3]
    for loss in LOSSES:
        expected = loss(both[..., kept], y[:, kept])
        np.testing.assert_allclose(loss(both, y, ignore_index=9), expected, rtol=4 * EPS64)


def test_an_index_that_is_no_class_is_an_error_or_nan(xp: Library) -> None:
    x, y = np.full((2, 3, 4), 0.5), np.zeros((2, 4), int)
    y[1, 2] = 3
    given = xp.asarray(x), xp.own(y)
    if xp.sees_labels:
        with pytest.raises(
            ValueError, match=r"dice: y\[1, 2\] is 3, expected a class index from 0"
        ):
            tinyloss.dice(*given)
    with tinyloss.validation("never"):
        items = xp.fetch(tinyloss.dice(*given, reduction="none"))
    assert np.isnan(items).tolist() == [[False] * 3, [True] * 3]


@on(
    ("x", "y", "options", "message"),
    [
        ((2, 3, 4), (2, 3), {}, r"y has shape \(2, 3\), expected \(2, 3, 4\).* or \(2, 4\)"),
        ((2, 3, 4), (2, 4), {}, r"y has shape \(2, 4\) of dtype float64, expected \(2, 3, 4\)"),
        ((2, 3, 4), (2, 3, 4), {"axis": (1, 1)}, r"axis is \(1, 1\), expected an integer or"),
        ((2, 3, 4), (2, 3, 4), {"axis": ()}, r"axis is \(\), expected an integer or"),
        ((2, 3, 4), (2, 3, 4), {"axis": (0, 3)}, r"axis is 3, expected an integer from -3 to 2"),
        ((2, 3, 4), (2, 3, 4), {"mask": [1.0]}, r"mask has dtype float64, expected booleans"),
        ((2, 3, 4), (2, 3, 4), {"mask": [[True]] * 2}, r"mask has shape \(2, 1\), expected one"),
        ((2, 3, 4), (2, 3, 4), {"ignore_index": 1}, "ignore_index is for class indices"),
        ((2, 3, 4), (2, 3, 4), {"from_logits": True}, "from_logits is True, expected 'softmax'"),
        ((2, 3, 4), (2, 3, 4), {"from_logits": "softmax", "class_axis": 3}, "class_axis is 3"),
        ((2, 3, 4), (2, 3, 4), {"weight": np.ones(4)}, r"weight has shape \(4,\), expected"),
        ((2, 3, 4), (2, 3, 4), {"smooth": -1.0}, "smooth is -1.0, expected"),
    ],
)
def test_what_does_not_fit_is_said(x: Any, y: Any, options: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=rf"tinyloss\.dice: {message}"):
        tinyloss.dice(np.full(x, 0.5), np.full(y, 0.5), **options)


def test_classes_along_the_pixels_are_refused() -> None:
    with pytest.raises(ValueError, match=r"class_axis is 1 beside axis \(1, 2\)"):
        tinyloss.dice(np.zeros((2, 3, 4)), np.zeros((2, 4), int), axis=(1, 2))


def test_class_indices_have_no_derivative() -> None:
    with pytest.raises(TypeError, match="has no derivative by y, which holds class indices"):
        tinyloss.grad(tinyloss.dice, 1)(np.full((1, 2, 3), 0.5), np.zeros((1, 3), int))


# ----------------------------------------------------------------------------- generalized_dice


def _textbook(x: Array, y: Array) -> Array:
    sizes = y.sum(axis=-1)
    with np.errstate(divide="ignore"):
        w = 1.0 / sizes**2
    w[np.isinf(w)] = 0
    w += (sizes == 0) * w.max(axis=-1, keepdims=True)
    overlap, whole = (x * y).sum(axis=-1), (x + y).sum(axis=-1)
    items: Array = 1 - 2 * (w * overlap).sum(axis=-1) / (w * whole).sum(axis=-1)
    return items


def test_generalized_dice_weighs_classes_by_their_sizes(xp: Library) -> None:
    rng = np.random.default_rng(9)
    x, y = rng.random((3, 4, 20)), (rng.random((3, 4, 20)) < 0.3) * 1.0
    y[1, 2] = 0  # absent: as heavy as the heaviest
    got = tinyloss.generalized_dice(xp.asarray(x), xp.asarray(y), reduction="none")
    np.testing.assert_allclose(xp.fetch(got), _textbook(x, y), rtol=32 * EPS32)


def test_generalized_dice_has_no_derivative_by_the_target() -> None:
    with pytest.raises(TypeError, match="generalized_dice: has no derivative by y"):
        tinyloss.grad(tinyloss.generalized_dice, 1)(np.ones((1, 2, 3)), np.ones((1, 2, 3)))


# ------------------------------------------------------------------------------- objects and memory


def test_objects_add_and_take_a_mask() -> None:
    rng = np.random.default_rng(10)
    x, y = rng.normal(size=(2, 3, 4, 5)), rng.integers(0, 3, (2, 4, 5))
    dice = tinyloss.DiceLoss(axis=(-2, -1), from_logits="softmax")
    both = 0.5 * dice + 0.5 * tinyloss.CrossEntropyLoss(axis=1)
    value, gradient = both.value_and_grad(x, y)
    parts = [loss.value_and_grad(x, y) for loss in (dice, tinyloss.CrossEntropyLoss(axis=1))]
    np.testing.assert_allclose(value, sum(v for v, _ in parts) / 2, rtol=4 * EPS64)
    np.testing.assert_allclose(gradient, sum(g for _, g in parts) / 2, rtol=4 * EPS64)
    assert repr(dice) == "DiceLoss(axis=(-2, -1), from_logits='softmax')"
    mask = y != 1
    assert dice(x, y, mask=mask[:, None]) == tinyloss.dice(
        x, y, mask=mask[:, None], axis=(-2, -1), from_logits="softmax"
    )


def test_besides_the_gradient_there_are_the_probabilities() -> None:
    rng = np.random.default_rng(11)
    x = rng.normal(size=(2, 4, 256, 256)).astype(np.float32)
    y = rng.random(x.shape) < 0.25
    out = np.empty_like(x)
    derive = value_and_grad(tinyloss.dice, out=out)
    with tinyloss_numpy.compilation("always"):
        took = peak(lambda: derive(x, y, **IMAGES, from_logits="softmax"))
    assert took < 1.1 * x.nbytes


@on("loss", LOSSES)
def test_every_way_to_ask_gives_the_value(loss: Any) -> None:
    arrays, options = (TWO, CLASSES), {"from_logits": "softmax"}
    expected = loss(*arrays, **options)
    np.testing.assert_allclose(value_and_grad(loss)(*arrays, **options)[0], expected, rtol=EPS64)
    means: Any = tinyloss.partial_mean
    np.testing.assert_allclose(means(loss)(*arrays, **options).value(), expected, rtol=4 * EPS64)


def test_the_program_is_shown() -> None:
    assert "def kernel" in tinyloss.source(tinyloss.dice)
    x, y = np.zeros((2, 3, 4), np.float32), np.zeros((2, 4), int)
    assert "def kernel" in tinyloss.source(tinyloss.dice, x, y, from_logits="softmax")
