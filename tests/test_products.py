"""Losses of scores that are products: the same as of the scores, whatever the chunks."""

import importlib
import pickle
from collections.abc import Mapping
from functools import partial
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import tinyloss
import tinyloss_numpy
from tests.support.jets import mp
from tests.support.libraries import Library
from tests.support.memory import budget_for, peak
from tests.support.pairs import counting
from tests.support.params import turns

ROWS, FEATURES, CLASSES = 9, 4, 3
EPS = {"float64": 2.0**-52, "float32": 2.0**-23}
LINEAR = tinyloss.linear_cross_entropy
OF_PRODUCTS = tinyloss.of_products(tinyloss.cross_entropy)

MASK = np.array([True, True, False, True, False, True, True, True, True])
WEIGHT = np.array([0.5, 0.0, 2.0, 1.0, 3.0, 0.25, 1.0, 0.0, 1.5])
PER_CLASS = np.array([0.5, 1.0, 2.5])

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "where": {"where": MASK},
    "weight": {"weight": WEIGHT},
    "class_weight": {"class_weight": PER_CLASS},
    "label_smoothing": {"label_smoothing": 0.1, "class_weight": PER_CLASS, "where": MASK},
    "shaped": {"z_loss": 0.125, "softcap": 2.0, "temperature": 0.75},
    "denominator": {"denominator": 3.0},
    "sum": {"reduction": "sum", "where": MASK},
    "none": {"reduction": "none", "weight": WEIGHT},
}
on_options = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
ALL = {**OPTIONS["shaped"], "label_smoothing": 0.1, "class_weight": PER_CLASS}


def drawn(rows: int = ROWS, dtype: str = "float64") -> tuple[Any, Any, Any, Any]:
    """Return features, weights, class indices and a bias."""
    rng = np.random.default_rng(rows)
    h, w = rng.normal(size=(rows, FEATURES)), rng.normal(size=(CLASSES, FEATURES))
    h, w, bias = h.astype(dtype), w.astype(dtype), rng.normal(size=CLASSES).astype(dtype)
    return h, w, np.arange(rows) % CLASSES, bias


def shares(rows: int = ROWS) -> Any:
    return np.random.default_rng(1).dirichlet(np.ones(CLASSES), rows)


def dense(
    h: Any,
    w: Any,
    y: Any,
    bias: Any,
    options: Mapping[str, Any],
    loss: Any = tinyloss.cross_entropy,
) -> tuple[Any, ...]:
    """Return the value and the gradients by h, w and bias by way of all scores, in float64."""
    h, w, bias = (np.asarray(each, np.float64) for each in (h, w, bias))
    value, g = tinyloss.value_and_grad(loss)(h @ w.T + bias, y, **options)
    return value, g @ w, g.T @ h, g.sum(0)


def flat(answer: Any) -> tuple[Any, ...]:
    value, grads = answer
    return value, *grads


def memory_of(rows: int, dtype: str = "float64") -> int:
    """Return a budget for about so many rows, where w has a gradient."""
    size = np.dtype(dtype).itemsize
    return size * (CLASSES * FEATURES + rows * (CLASSES + 2 * FEATURES))


def close(found: Any, expected: Any, eps: float, times: float = 16) -> None:
    """Compare sums of some tens of products, each rounded, with the same in another order."""
    for one, other in zip(found, expected, strict=True):
        size = max(1.0, float(np.max(np.abs(other), initial=0)))
        np.testing.assert_allclose(one, other, rtol=0, atol=times * eps * size)


@on_options
@pytest.mark.parametrize("soft", [False, True], ids=["labels", "probabilities"])
def test_is_cross_entropy_of_the_scores(options: dict[str, Any], soft: bool, xp: Library) -> None:
    dtype = xp.floats[-1]
    h, w, y, bias = drawn(dtype=dtype)
    y = shares() if soft else y
    given = [xp.asarray(h, dtype), xp.asarray(w, dtype), xp.asarray(y, dtype if soft else None)]
    more = {
        name: xp.asarray(each, dtype if name != "where" else None)
        if isinstance(each, np.ndarray)
        else each
        for name, each in options.items()
    }
    more |= {"bias": xp.asarray(bias, dtype), "max_memory": memory_of(2, dtype)}
    found = xp.call(tinyloss.value_and_grad(LINEAR, (0, 1, 3)), *given, **more)
    close(flat(xp.fetch(found)), dense(h, w, y, bias, options), EPS[dtype])


def possible(*shape: int) -> Any:
    """Return a mask of classes: the last is impossible in every second row."""
    mask = np.ones((*shape, CLASSES), bool)
    mask[..., 2] = np.arange(shape[0]) % 2 if shape else False
    return mask


@pytest.mark.parametrize("rows", [(), (1,), (ROWS,)], ids=str)
@pytest.mark.parametrize("soft", [False, True], ids=["labels", "probabilities"])
def test_some_classes_are_impossible(soft: bool, rows: tuple[int, ...], xp: Library) -> None:
    dtype, mask = xp.floats[-1], possible(*rows)
    h, w, y, bias = drawn(dtype=dtype)
    # what is left out may be what is impossible
    y = np.where(mask, [0.25, 0.5, 0.25], 0) + 0 * h[:, :1] if soft else np.where(MASK, y % 2, 2)
    given = [xp.asarray(h, dtype), xp.asarray(w, dtype), xp.asarray(y, dtype if soft else None)]
    options = {**ALL, "class_weight": PER_CLASS.tolist(), "where": MASK.tolist()}
    more = {"bias": xp.asarray(bias, dtype), "max_memory": memory_of(2, dtype)}
    by = tinyloss.value_and_grad(LINEAR, (0, 1, 3))
    found = xp.call(by, *given, mask=xp.asarray(mask), **options, **more)
    expected = dense(h, w, y, bias, {**options, "mask": mask})
    close(flat(xp.fetch(found)), expected, EPS[dtype])


@on_options
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 7, 13, 25])
def test_the_size_of_chunks_is_no_matter(rows: int, options: dict[str, Any]) -> None:
    """Of 25 = 8 * 3 + 1 rows, too."""
    h, w, y, bias = drawn(25)
    h, w = h[:, :1], w[:, :1]  # else features take more than scores: 13 rows would be all
    options = {
        name: np.resize(each, 25) if name in ("where", "weight") else each
        for name, each in options.items()
    }
    options |= {"bias": bias}
    both = tinyloss.value_and_grad(LINEAR, (0, 1, 3))
    budget = budget_for(rows, both, h, w, y, **options)
    found = both(h, w, y, max_memory=budget, **options)
    del options["bias"]
    close(flat(found), dense(h, w, y, bias, options), EPS["float64"])


@pytest.mark.parametrize("class_axis", [0, 1])
def test_scale_and_probabilities_have_gradients(class_axis: int) -> None:
    h, w, _, bias = drawn()
    y = shares()
    options: dict[str, Any] = {"class_weight": PER_CLASS, "weight": WEIGHT}
    by = tinyloss.value_and_grad(OF_PRODUCTS, (0, 1, 2, 3, 4))
    _, found = by(
        *(h, w if class_axis == 0 else w.T.copy(), y),
        bias=bias,
        scale=1.5,
        class_axis=class_axis,
        max_memory=memory_of(2),
        **options,
    )
    _, (g, by_y) = tinyloss.value_and_grad(tinyloss.cross_entropy, (0, 1))(
        1.5 * h @ w.T + bias, y, **options
    )
    by_w = 1.5 * g.T @ h
    expected = 1.5 * g @ w, by_w if class_axis == 0 else by_w.T, by_y, g.sum(0), (g @ w * h).sum()
    close(found, expected, EPS["float64"])


def test_a_loss_with_a_bias_is_never_negative() -> None:
    """That of cut-cross-entropy was, before its issue 52: the bias was not in all of it."""
    rng = np.random.default_rng(0)
    for scale in (1e-3, 1.0, 1e3):
        h, w, y, bias = drawn(25, "float32")
        bias = (scale * rng.normal(size=CLASSES)).astype("float32")
        for memory in (None, memory_of(3, "float32")):
            value = LINEAR(h, w, y, bias=bias, reduction="none", max_memory=memory)
            assert (value >= 0).all()


@pytest.mark.parametrize("rows", [2, 4, ROWS])
def test_a_row_does_not_depend_on_its_neighbours(rows: int) -> None:
    h, w, y, _ = drawn(dtype="float32")
    options: dict[str, Any] = {"reduction": "none", "max_memory": memory_of(rows, "float32")}
    value, by_h = tinyloss.value_and_grad(LINEAR)(h, w, y, **options)
    for row in range(ROWS):
        other, others_y = np.full_like(h, 3.0), np.zeros_like(y)
        other[row], others_y[row] = h[row], y[row]
        again, by_other = tinyloss.value_and_grad(LINEAR)(other, w, others_y, **options)
        assert again[row] == value[row]
        np.testing.assert_array_equal(by_other[row], by_h[row])


def test_what_is_left_out_may_be_anything(xp: Library) -> None:
    h, w, y, bias = drawn(dtype="float32")
    expected = dense(h, w, y, bias, {"where": MASK})
    h[~MASK], y[~MASK] = np.nan, 99
    found = xp.call(
        tinyloss.value_and_grad(LINEAR, (0, 1, 3)),
        *(xp.asarray(h), xp.asarray(w), xp.asarray(y)),
        bias=xp.asarray(bias),
        where=xp.asarray(MASK),
        max_memory=memory_of(2, "float32"),
    )
    close(flat(xp.fetch(found)), expected, EPS["float32"])


def test_rows_that_are_left_out_are_not_multiplied(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = counting(monkeypatch)
    h, w, y, _ = drawn()
    LINEAR(h, w, y, where=MASK)
    assert counted == [(MASK.sum(), CLASSES)]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_nothing_is_left(reduction: Any, xp: Library) -> None:
    h, w, y, _ = drawn(dtype="float32")
    arrays = xp.asarray(h), xp.asarray(w), xp.asarray(y)
    both = tinyloss.value_and_grad(LINEAR, (0, 1))
    found = xp.call(both, *arrays, where=xp.asarray(np.zeros(ROWS, bool)), reduction=reduction)
    for each in flat(xp.fetch(found)):
        np.testing.assert_array_equal(each, 0)


def test_no_rows(xp: Library) -> None:
    h, w, y, _ = drawn(dtype="float32")
    arrays = xp.asarray(h[:0]), xp.asarray(w), xp.asarray(y[:0])
    value, by_h, by_w = flat(xp.fetch(xp.call(tinyloss.value_and_grad(LINEAR, (0, 1)), *arrays)))
    assert value == 0
    assert by_h.shape == (0, FEATURES)
    np.testing.assert_array_equal(by_w, np.zeros_like(w))


def test_one_class_has_no_loss(xp: Library) -> None:
    h, w, y, _ = drawn(dtype="float32")
    arrays = xp.asarray(h), xp.asarray(w[:1]), xp.asarray(0 * y)
    with pytest.warns(RuntimeWarning, match=r"tinyloss\.linear_cross_entropy: x has one class"):
        found = xp.call(tinyloss.value_and_grad(LINEAR, (0, 1)), *arrays, max_memory=64)
    for each in flat(xp.fetch(found)):
        np.testing.assert_array_equal(each, 0)


def test_labels_out_of_range(xp: Library) -> None:
    h, w, y, _ = drawn(dtype="float32")
    y[4] = CLASSES
    arrays = xp.asarray(h), xp.asarray(w), xp.asarray(y)
    options: dict[str, Any] = {"reduction": "none", "max_memory": memory_of(2, "float32")}
    if xp.sees_labels:
        with pytest.raises(ValueError, match=r"tinyloss\.linear_cross_entropy: y\[4\] is 3"):
            xp.call(LINEAR, *arrays, **options)
    else:
        value, by_h = xp.fetch(xp.call(tinyloss.value_and_grad(LINEAR), *arrays, **options))
        wrong = np.arange(ROWS) == 4
        np.testing.assert_array_equal(np.isnan(value), wrong)
        np.testing.assert_array_equal(np.isnan(by_h).all(-1), wrong)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_items_have_any_dimensions(shape: tuple[int, ...], xp: Library) -> None:
    _, w, _, _ = drawn(dtype="float32")
    rng = np.random.default_rng(0)
    h = rng.normal(size=(*shape, FEATURES)).astype("float32")
    y = rng.integers(0, CLASSES, shape)
    value, by_h = xp.fetch(
        xp.call(
            tinyloss.value_and_grad(LINEAR),
            *(xp.asarray(h), xp.asarray(w), xp.asarray(y)),
            reduction="none",
        )
    )
    scores = h.astype(float) @ w.T.astype(float)
    expected = tinyloss.cross_entropy(scores, y, reduction="none")
    assert value.shape == shape
    assert by_h.shape == h.shape
    close([value], [expected], EPS["float32"])


def test_a_loss_of_elements_has_products_too() -> None:
    h, w, _, bias = drawn()
    y = shares()
    loss = tinyloss.binary_cross_entropy_with_logits
    found = tinyloss.value_and_grad(tinyloss.of_products(loss), (0, 1, 3))(
        h, w, y, bias=bias, weight=PER_CLASS, max_memory=memory_of(2)
    )
    close(flat(found), dense(h, w, y, bias, {"weight": PER_CLASS}, loss), EPS["float64"])


def test_a_loss_of_ones_own_has_products() -> None:
    @tinyloss.loss(labels=True)
    def margin(x: Any, y: Any) -> Any:
        xp = tinyloss.namespace(x)
        target = y[..., None] == xp.arange(x.shape[-1])
        own = xp.sum(xp.where(target, x, 0.0), axis=-1, keepdims=True)
        return xp.sum(xp.where(target, 0.0, xp.exp(x - own)), axis=-1)

    h, w, y, bias = drawn()
    loss = tinyloss.of_products(margin)
    found = tinyloss.value_and_grad(loss, (0, 1, 3))(h, w, y, bias=bias, max_memory=memory_of(2))
    close(flat(found), dense(h, w, y, bias, {}, margin), EPS["float64"], times=64)


def test_what_is_not_asked_for_is_neither_there_nor_computed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    h, w = rng.normal(size=(256, 64)), rng.normal(size=(4096, 64))
    y, budget = rng.integers(0, 4096, 256), 2**22
    counted = counting(monkeypatch)
    for argnums, size, products in (((), 0, 1), ((0,), h.nbytes, 2), ((1,), w.nbytes, 2)):
        derived: Any = tinyloss.value_and_grad(LINEAR, argnums) if argnums else LINEAR
        chunks = -(-256 // tinyloss.memory(derived, h, w, y, max_memory=budget).rows)
        with tinyloss_numpy.compilation("always"):
            taken = peak(partial(derived, h, w, y, max_memory=budget))
        # beside these what a thread keeps, and the objects of a call
        assert taken < budget + size + 2**18 + 2**15
        assert len(counted) == 2 * chunks * products  # the second call is measured
        counted.clear()


def test_memory_is_the_budget_and_the_gradients() -> None:
    rng = np.random.default_rng(0)
    h, w = rng.normal(size=(512, 64)), rng.normal(size=(4096, 64))  # scores of 16 MiB
    y, budget = rng.integers(0, 4096, 512), 5 * 2**20
    both = tinyloss.value_and_grad(LINEAR, (0, 1))
    with tinyloss_numpy.compilation("always"):
        taken = peak(lambda: both(h, w, y, max_memory=budget))
    # beside these the arrays and tables of a call, some KiB
    assert taken < budget + h.nbytes + w.nbytes + 2**18


@pytest.mark.parametrize("argnums", turns([((0, 1),), ((),), ((0,),), ((1,),)], 4))
@pytest.mark.parametrize("dtype", turns(["float16", "float32"], 2))
@pytest.mark.parametrize("name", turns(["linear_cross_entropy", "siglip", "supcon", "info_nce"], 3))
def test_memory_is_told_before(name: str, dtype: str, argnums: tuple[int, ...]) -> None:
    """To 5 %, of what NumPy's arrays take at the peak."""
    rng, loss, budget = np.random.default_rng(0), getattr(tinyloss, name), 2**22
    arrays = [rng.normal(size=(2048, 128)).astype(dtype) for _ in range(2)]
    more = [rng.integers(0, 2048, 2048)] if loss is LINEAR else []
    if loss is tinyloss.supcon:
        arrays, more = arrays[:1], [np.arange(2048) % 32]
        argnums = argnums[:1] and (0,)
    derived: Any = tinyloss.value_and_grad(loss, argnums) if argnums else loss
    told = tinyloss.memory(derived, *arrays, *more, max_memory=budget)
    stand_ins = [np.broadcast_to(np.zeros((), dtype), each.shape) for each in arrays]
    assert tinyloss.memory(derived, *stand_ins, *more, max_memory=budget) == told
    with tinyloss_numpy.compilation("always"):
        taken = peak(lambda: derived(*arrays, *more, max_memory=budget))
    assert told.chunk <= budget
    # what threads keep as scratch memory is of no call
    assert 0.95 * told.total < taken < 1.05 * told.total + 2**18


@pytest.mark.parametrize(
    ("rows", "features", "classes", "expected"),
    [
        (4096, 1024, 131072, 256),
        (4000, 1024, 131072, 250),  # chunks are alike
        (4096, 128, 2**20, 128),
        (200, 1024, 131072, 200),
        (4096, 1024, 1000, 4096),  # 64 MiB
    ],
)
def test_a_chunk_has_rows_enough_for_w_to_be_read_seldom(
    rows: int, features: int, classes: int, expected: int
) -> None:
    h, w = (np.broadcast_to(np.float32(0), (n, features)) for n in (rows, classes))
    y, both = np.broadcast_to(0, (rows,)), tinyloss.value_and_grad(LINEAR, (0, 1))
    assert tinyloss.memory(both, h, w, y).rows == expected


def test_memory_is_of_losses_of_products_alone() -> None:
    with pytest.raises(TypeError, match=r"tinyloss\.memory: got .* expected a loss of products"):
        tinyloss.memory(tinyloss.mse, np.zeros(2), np.zeros(2))


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_gradients_of_half_precision_do_not_depend_on_the_number_of_chunks(name: str) -> None:
    dtype = np.dtype(getattr(ml_dtypes, name, name))
    rng = np.random.default_rng(0)
    h, w = rng.normal(size=(256, 16)).astype(dtype), rng.normal(size=(8, 16)).astype(dtype)
    y = rng.integers(0, 8, 256)
    _, _, exact, _ = dense(h.astype(float), w.astype(float), y, 0.0, {})
    half = float(ml_dtypes.finfo(dtype).eps) / 2
    for memory in (None, 2000, 400):
        by_w = tinyloss.grad(LINEAR, 1)(h, w, y, max_memory=memory)
        assert by_w.dtype == dtype
        error = np.abs(by_w.astype(float) - exact)
        # one rounding, and sums of 256 float32 numbers of at most 4 / 256
        assert (error <= half * np.abs(exact) + 256 * 2.0**-23 * 4 / 256).all()


def test_the_gradient_of_a_row_sums_to_0_in_float32() -> None:
    """The target's entry is minus the sum of the others, also where it would round to 0."""
    h, w = np.array([[8.0, 0.0]], "float32"), np.array([[4.0, 0.0], [0.0, 1.0]], "float32")
    by_bias = tinyloss.grad(LINEAR, 3)(h, w, np.array([0]), bias=np.zeros(2, "float32"))
    expected = float(mp.exp(-32) / (1 + mp.exp(-32)))
    np.testing.assert_allclose(by_bias, [-expected, expected], rtol=4 * EPS["float32"])


def test_small_gradients_are_not_left_out() -> None:
    """cut-cross-entropy skips what is below 2^-12: most classes of a large vocabulary."""
    h, w = np.array([[8.0, 0.0]], "float32"), np.array([[4.0, 0.0], [0.0, 1.0]], "float32")
    by_w = tinyloss.grad(LINEAR, 1)(h, w, np.array([0]))
    expected = 8 * float(mp.exp(-32) / (1 + mp.exp(-32)))
    np.testing.assert_allclose(by_w[:, 0], [-expected, expected], rtol=8 * EPS["float32"])


def test_a_sure_target_keeps_its_gradient_in_half_precision() -> None:
    """Liger took 1 off a probability that bfloat16 had rounded to 1: 0, or 2^-8."""
    h, w = (np.array(each, ml_dtypes.bfloat16) for each in ([[4.0]], [[2.0], [0.0]]))
    by_h = tinyloss.grad(LINEAR)(h, w, np.array([0]))
    expected = -2 * float(mp.exp(-8) / (1 + mp.exp(-8)))
    np.testing.assert_allclose(by_h.astype(float), [[expected]], rtol=2.0**-8)


@pytest.mark.long
def test_a_factor_outside_multiplies_every_gradient(torch: Any, jax: Any) -> None:
    """MaxText's rule forgot it: gradients were 65,528 times too large."""
    h, w, y, _ = drawn()
    factor, memory = 65528.0, memory_of(2)
    by_h, by_w = tinyloss.value_and_grad(LINEAR, (0, 1))(h, w, y)[1]
    expected = (factor * by_h, factor * by_w)
    tensors = [torch.tensor(each, requires_grad=True) for each in (h, w)]
    (factor * LINEAR(tensors[0], tensors[1], torch.tensor(y), max_memory=memory)).backward()
    close([each.grad.numpy() for each in tensors], expected, EPS["float64"], times=64)

    def scaled(h: Any, w: Any) -> Any:
        return factor * LINEAR(h, w, jax.numpy.asarray(y), max_memory=memory)

    close(jax.grad(scaled, (0, 1))(h, w), expected, EPS["float64"], times=64)


@pytest.mark.long
def test_each_row_has_a_factor_of_its_own(torch: Any, jax: Any) -> None:
    """Liger multiplied the gradient by `w` after its rows were added up."""
    h, w, y, _ = drawn()
    factors, memory = np.linspace(-1, 2.5, ROWS), memory_of(2)
    each = tinyloss.value_and_grad(LINEAR, (0, 1))
    expected = each(h, w, y, weight=factors, reduction="sum")[1]
    tensors = [torch.tensor(each, requires_grad=True) for each in (h, w)]
    given: dict[str, Any] = {"reduction": "none", "max_memory": memory}
    items = LINEAR(tensors[0], tensors[1], torch.tensor(y), **given)
    (torch.tensor(factors) * items).sum().backward()
    close([each.grad.numpy() for each in tensors], expected, EPS["float64"], times=64)

    def weighed(h: Any, w: Any) -> Any:
        items = LINEAR(h, w, jax.numpy.asarray(y), **given)
        return (factors * items).sum()

    close(jax.grad(weighed, (0, 1))(h, w), expected, EPS["float64"], times=64)


class TestClassesInParts:
    """Where one row of scores does not fit, some classes of it are computed at a time."""

    WIDE = 1000

    def drawn(self, rows: int = 5) -> tuple[Any, ...]:
        rng = np.random.default_rng(0)
        h, w = rng.normal(size=(rows, FEATURES)), rng.normal(size=(self.WIDE, FEATURES))
        # maxima grow from part to part: what was made with an earlier one would be too large
        w = w * np.linspace(0.1, 4, self.WIDE)[:, None]
        return h, w, rng.integers(0, self.WIDE, rows), rng.normal(size=self.WIDE)

    def resized(self, options: Mapping[str, Any], rows: int = 5) -> dict[str, Any]:
        sizes = {"where": rows, "weight": rows, "class_weight": self.WIDE}
        return {
            name: np.resize(each, sizes[name]) if name in sizes else each
            for name, each in options.items()
        }

    def targets(self) -> dict[str, Any]:
        """Return targets of three kinds, none of which asks for the class of index 3."""
        h, _, y, _ = self.drawn()
        y[y == 3] = 0
        soft = np.random.default_rng(1).dirichlet(np.ones(self.WIDE), len(h))
        soft[:, 3] = 0
        return {"labels": y, "one-hot": np.eye(self.WIDE)[y], "soft": soft}

    @pytest.mark.parametrize("options", {**OPTIONS, "all": ALL}.values(), ids=[*OPTIONS, "all"])
    @pytest.mark.parametrize("kind", ["labels", "one-hot", "soft"])
    def test_are_the_same(self, kind: str, options: dict[str, Any]) -> None:
        h, w, _, bias = self.drawn()
        bias[3] = -np.inf  # an impossible class has no share of the smoothing
        y, options = self.targets()[kind], self.resized(options)
        both = tinyloss.value_and_grad(LINEAR, (0, 1, 3))
        expected = dense(h, w, y, bias, options)
        for memory in (1, 2**12):
            found = both(h, w, y, bias=bias, max_memory=memory, **options)
            # logarithms are rounded, of sums of exp
            close(flat(found), expected, EPS["float64"], times=64)
        value = LINEAR(h, w, y, bias=bias, max_memory=1, **options)
        close([value], expected[:1], EPS["float64"], times=64)

    @pytest.mark.parametrize("kind", ["labels", "soft"])
    def test_every_option_on_every_library(self, kind: str, xp: Library) -> None:
        dtype = xp.floats[-1]
        h, w, _, bias = self.drawn()
        bias[3] = -np.inf
        y, where = self.targets()[kind], np.arange(5) != 1
        options = {**self.resized(ALL), "where": where}
        expected = dense(h, w, y, bias, options)
        h[1], y[1] = np.nan, self.WIDE
        more = {
            name: xp.asarray(each, None if name == "where" else dtype)
            if isinstance(each, np.ndarray)
            else each
            for name, each in options.items()
        }
        found = xp.call(
            tinyloss.value_and_grad(LINEAR, (0, 1, 3)),
            *(xp.asarray(h, dtype), xp.asarray(w, dtype)),
            xp.asarray(y, dtype if kind == "soft" else None),
            bias=xp.asarray(bias, dtype),
            max_memory=2**11,
            **more,
        )
        close(flat(xp.fetch(found)), expected, EPS[dtype], times=64)

    @pytest.mark.parametrize("kind", ["labels", "one-hot"])
    def test_a_loss_of_almost_nothing_keeps_its_digits(self, kind: str) -> None:
        h, w, bias = np.ones((1, 1)), np.zeros((self.WIDE, 1)), np.zeros(self.WIDE)
        w[700], y = 50.0, np.array([700])
        target = y if kind == "labels" else np.eye(self.WIDE)[y]
        value, by_bias = tinyloss.value_and_grad(LINEAR, 3)(h, w, target, bias=bias, max_memory=1)
        others = float((self.WIDE - 1) * mp.exp(-50))
        np.testing.assert_allclose(value, others, rtol=64 * EPS["float64"])
        np.testing.assert_allclose(by_bias[700], -others, rtol=64 * EPS["float64"])

    def test_infinite_logits(self) -> None:
        h, w, y, bias = self.drawn()
        bias[:] = -np.inf
        assert np.isnan(LINEAR(h, w, y, bias=bias, max_memory=1))
        bias[:] = 0
        bias[y[0]] = np.inf
        for target in (y, np.eye(self.WIDE)[y]):
            value, by_h = tinyloss.value_and_grad(LINEAR)(
                h[:1], w, target[:1], bias=bias, max_memory=1
            )
            assert np.isnan(value)
            assert np.isnan(by_h).all()

    def test_on_every_library(self, xp: Library) -> None:
        dtype = xp.floats[-1]
        h, w, y, bias = self.drawn()
        h[1], y[1] = np.nan, self.WIDE
        where = np.arange(5) != 1
        found = xp.call(
            tinyloss.value_and_grad(LINEAR, (0, 1, 3)),
            *(xp.asarray(h, dtype), xp.asarray(w, dtype), xp.asarray(y)),
            bias=xp.asarray(bias, dtype),
            where=xp.asarray(where),
            max_memory=2**11,
        )
        h[1], y[1] = 0, 0
        expected = dense(h, w, y, bias, {"where": where})
        close(flat(xp.fetch(found)), expected, EPS[dtype], times=64)

    def test_take_the_memory_of_parts(self) -> None:
        rng = np.random.default_rng(0)
        h, w = rng.normal(size=(2, 4)), rng.normal(size=(2**17, 4))  # a row of scores is 1 MiB
        y, budget = np.array([3, 2**17 - 1]), 2**18
        told = tinyloss.memory(LINEAR, h, w, y, max_memory=budget)
        taken = peak(lambda: LINEAR(h, w, y, max_memory=budget))
        assert told.chunk <= budget
        # the formulas go over a part in blocks of their own
        assert taken < 2 * budget + 2**17

    def test_labels_out_of_range(self) -> None:
        h, w, y, _ = self.drawn()
        y[2] = self.WIDE
        with pytest.raises(ValueError, match=r"linear_cross_entropy: y\[2\] is 1000"):
            LINEAR(h, w, y, max_memory=2**11)
        with tinyloss.validation("never"):
            value = LINEAR(h, w, y, max_memory=2**11, reduction="none")
        np.testing.assert_array_equal(np.isnan(value), np.arange(5) == 2)


def _linear(h: Any, w: Any, y: Any) -> Any:
    return LINEAR(h, w, y)


def _pairs(h: Any, w: Any, y: Any) -> Any:
    return tinyloss.info_nce(h, w[y], temperature=0.5)


def _labelled(h: Any, w: Any, y: Any) -> Any:
    del w
    return tinyloss.supcon(h, y, normalize=False)


def _views(h: Any, w: Any, y: Any) -> Any:
    return tinyloss.barlow_twins(h, w[y])


@pytest.mark.parametrize("loss", [_linear, _pairs, _labelled, _views], ids=lambda f: f.__name__)
def test_gradients_of_half_precision_are_rounded_once(loss: Any, torch: Any, jax: Any) -> None:
    """After they have met what is upstream: they are those of float32, rounded."""
    h, w, y, _ = drawn()
    factor, labels = 3.7, jax.numpy.asarray(y)
    grad = jax.jit(jax.grad(lambda h, w: factor * loss(h, w, labels)))
    halves = [jax.numpy.asarray(each).astype("bfloat16") for each in (h, w)]
    found = grad(*halves)
    assert found.dtype == "bfloat16"
    exact = grad(*[each.astype("float32") for each in halves])
    assert_rounded_once(np.asarray(found), np.asarray(exact))

    tensors = [torch.tensor(each).half().requires_grad_() for each in (h, w)]
    (factor * loss(*tensors, torch.tensor(y))).backward()
    wide = [each.detach().float().requires_grad_() for each in tensors]
    (factor * loss(*wide, torch.tensor(y))).backward()
    assert tensors[0].grad.dtype is torch.float16
    assert_rounded_once(tensors[0].grad.numpy(), wide[0].grad.numpy())


def assert_rounded_once(found: Any, wide: Any) -> None:
    """Half an eps of half precision at most, and what float32's sums may differ by."""
    half = float(ml_dtypes.finfo(found.dtype).eps) / 2
    error = np.abs(found.astype(float) - wide.astype(float))
    largest = np.abs(wide).max()
    tiny = float(ml_dtypes.finfo(found.dtype).smallest_subnormal) / 2
    assert (error <= half * np.abs(wide) + 64 * EPS["float32"] * largest + tiny).all()


class TestTorch:
    @pytest.mark.parametrize("count", [1, 2])
    @pytest.mark.parametrize("memory", [None, 2**13])
    def test_halves_are_multiplied_as_they_are(
        self, memory: int | None, count: int, torch: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As on a GPU, whose products of bfloat16 have sums in float32."""
        from tinyloss_torch import _products

        def multiply(a: Any, b: Any, into: Any, adds: bool) -> None:
            assert {a.dtype, b.dtype} == {torch.bfloat16}
            product = a.float() @ b.float()
            into.copy_(into + product if adds else product)

        monkeypatch.setattr(_products, "halves", lambda h: count)
        monkeypatch.setattr(_products, "_multiply_halves", multiply)
        rng = np.random.default_rng(0)
        h, w = (torch.tensor(rng.normal(size=(n, 24))).bfloat16() for n in (37, 50))
        y = torch.tensor(rng.integers(0, 50, 37))
        one, other = h.clone().requires_grad_(), w.clone().requires_grad_()
        value = LINEAR(one, other, y, max_memory=memory)
        value.backward()
        exact, slopes = tinyloss.value_and_grad(LINEAR, (0, 1))(h.double(), w.double(), y)
        np.testing.assert_allclose(value.item(), exact.item(), rtol=1e-5)
        # half an eps of bfloat16, and of each term of a sum what the parts of a slope leave
        left = 2.0**-7 if count == 1 else 2.0**-16
        for got, slope in zip((one.grad, other.grad), slopes, strict=True):
            error = (got.double() - slope).abs()
            assert bool((error <= 2.0**-8 * slope.abs() + left * slope.abs().max()).all())

    def test_autocast_rounds_the_factors(self, torch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """As on a GPU; gradients keep the dtypes of what was given."""
        from tinyloss_torch import _products

        def multiply(a: Any, b: Any, into: Any, adds: bool) -> None:
            into.copy_(into + a.float() @ b.float() if adds else a.float() @ b.float())

        monkeypatch.setattr(_products, "_autocast", lambda h: torch.bfloat16)
        monkeypatch.setattr(_products, "halves", lambda h: 2)
        monkeypatch.setattr(_products, "_multiply_halves", multiply)
        random = torch.Generator().manual_seed(0)
        h, w = (torch.randn((n, 24), generator=random) for n in (37, 50))
        y, both = torch.arange(37), tinyloss.value_and_grad(LINEAR, (0, 1))
        one, other = h.clone().requires_grad_(), w.clone().requires_grad_()
        value = LINEAR(one, other, y)
        value.backward()
        exact, slopes = both(h.bfloat16().double(), w.bfloat16().double(), y)
        told = both(h, w, y)
        for got in (value, LINEAR(h, w, y), told[0]):
            np.testing.assert_allclose(got.item(), exact.item(), rtol=1e-5)
        for got, slope in zip((one.grad, other.grad, *told[1]), (*slopes, *slopes), strict=True):
            assert got.dtype == torch.float32
            bound = 2.0**-8 * slope.abs() + 2.0**-16 * slope.abs().max()
            assert bool(((got.double() - slope).abs() <= bound).all())

    @pytest.mark.parametrize("options", [{}, {"where": MASK}, {"reduction": "none"}], ids=str)
    def test_backward_twice_with_what_is_upstream(self, options: Any, torch: Any) -> None:
        h, w, y, bias = drawn()
        tensors = [torch.tensor(each, requires_grad=True) for each in (h, w, bias)]
        own = {n: torch.tensor(e) if n == "where" else e for n, e in options.items()}
        value = LINEAR(
            tensors[0], tensors[1], torch.tensor(y), bias=tensors[2], max_memory=memory_of(2), **own
        )
        upstream = np.linspace(-1, 2.5, ROWS).round(1) if value.ndim else np.array(3.7)
        value.backward(torch.tensor(upstream), retain_graph=True)
        value.backward(torch.tensor(upstream))
        whole = torch.tensor(h @ w.T + bias, requires_grad=True)
        tinyloss.cross_entropy(whole, torch.tensor(y), **own).backward(torch.tensor(upstream))
        g = 2 * whole.grad.numpy()
        found = [each.grad.numpy() for each in tensors]
        close(found, (g @ w, g.T @ h, g.sum(0)), EPS["float64"], times=64)

    @pytest.mark.parametrize("moves", [("h",), ("w",), ("h", "w")], ids="".join)
    def test_what_is_frozen_has_no_gradient(self, moves: Any, torch: Any, monkeypatch: Any) -> None:
        products: Any = importlib.import_module("tinyloss_torch._products")
        asked: list[Any] = []
        by_chunks = products.by_chunks

        def watched(scored: Any) -> Any:
            asked.append(scored.by)
            return by_chunks(scored)

        monkeypatch.setattr(products, "by_chunks", watched)
        h, w, y, _ = drawn()
        tensors = {"h": torch.tensor(h), "w": torch.tensor(w)}
        for name in moves:
            tensors[name].requires_grad_()
        LINEAR(tensors["h"], tensors["w"], torch.tensor(y)).backward()
        assert asked == [moves]
        assert [name for name, each in tensors.items() if each.grad is not None] == [*moves]

    def test_second_derivatives(self, torch: Any) -> None:
        h, w, y, _ = drawn(4)
        tensors = [torch.tensor(each, requires_grad=True) for each in (h, w)]
        for reduction in ("mean", "none"):

            def loss(h: Any, w: Any, reduction: Any = reduction) -> Any:
                return LINEAR(h, w, torch.tensor(y), max_memory=memory_of(2), reduction=reduction)

            assert torch.autograd.gradcheck(loss, tensors)
            assert torch.autograd.gradgradcheck(loss, tensors)

    # torch's own code makes the object that it warns of
    @pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
    def test_is_compiled_as_a_whole(self, torch: Any) -> None:
        h, w, y, _ = drawn()
        features = torch.tensor(h, requires_grad=True)
        others = torch.tensor(w), torch.tensor(y)

        def loss(h: Any) -> Any:
            return LINEAR(h, *others, z_loss=0.125)

        torch.compile(loss, backend="eager", fullgraph=True)(features).backward()
        _, by_h, _, _ = dense(h, w, y, 0.0, {"z_loss": 0.125})
        close([features.grad.numpy()], [by_h], EPS["float64"])

    def test_transforms(self, torch: Any) -> None:
        h, w, y, _ = drawn(4)

        def loss(h: Any) -> Any:
            return LINEAR(h, torch.tensor(w), torch.tensor(y))

        _, by_h, _, _ = dense(h, w, y, 0.0, {})
        found = torch.func.vmap(torch.func.grad(loss))(torch.tensor(np.stack([h, h])))
        close(found.numpy(), [by_h, by_h], EPS["float64"])

    def test_half_precision_meets_what_is_upstream_before_it_is_rounded(self, torch: Any) -> None:
        h, w, y, _ = drawn()
        half = torch.tensor(h, dtype=torch.float16, requires_grad=True)
        weights = torch.tensor(w, dtype=torch.float16)
        (LINEAR(half, weights, torch.tensor(y)) * 2.0**10).backward()
        exact = dense(half.detach().double().numpy(), weights.double().numpy(), y, 0.0, {})[1]
        close([half.grad.double().numpy() / 2**10], [exact], 2.0**-11, times=1)


class TestJAX:
    @pytest.mark.parametrize(("argnums", "products"), [((), 1), (0, 2), (1, 2), ((0, 1), 3)])
    def test_what_is_frozen_is_not_multiplied(self, argnums: Any, products: int, jax: Any) -> None:
        h, w, y, _ = map(jax.numpy.asarray, drawn())

        def loss(h: Any, w: Any) -> Any:
            return LINEAR(h, w, y, max_memory=memory_of(2))

        traced = jax.make_jaxpr(loss if argnums == () else jax.grad(loss, argnums))(h, w)
        assert str(traced).count("dot_general[") == products

    @pytest.mark.parametrize("options", [{}, {"where": MASK}, {"reduction": "none"}], ids=str)
    def test_gradients_meet_what_is_upstream(self, options: Any, jax: Any) -> None:
        h, w, y, bias = map(jax.numpy.asarray, drawn())

        def both(loss: Any) -> Any:
            value, pull = jax.vjp(jax.jit(loss), h, w, bias)
            upstream = jax.numpy.linspace(-1, 2.5, ROWS) if value.ndim else 3.7 + 0 * value
            return value, *pull(upstream)

        def chunks(h: Any, w: Any, bias: Any) -> Any:
            return LINEAR(h, w, y, bias=bias, max_memory=memory_of(2), **options)

        def whole(h: Any, w: Any, bias: Any) -> Any:
            return tinyloss.cross_entropy(h @ w.T + bias, y, **options)

        close(both(chunks), both(whole), EPS["float64"])

    @pytest.mark.parametrize("name", ["shaped", "label_smoothing"])
    def test_the_value_alone_is_that_beside_gradients(self, name: str, jax: Any) -> None:
        h, w, y, bias = drawn()
        arrays = [*map(jax.numpy.asarray, (h, w, y))]
        expected = dense(h, w, y, bias, OPTIONS[name])[0]
        for memory in (None, memory_of(2)):
            value = LINEAR(*arrays, bias=bias, max_memory=memory, **OPTIONS[name])
            close([value], [expected], EPS["float64"])

    @pytest.mark.long
    def test_second_derivatives_of_classes_in_parts(self, jax: Any) -> None:
        h, w, y, bias = map(jax.numpy.asarray, TestClassesInParts().drawn(3))

        def chunks(h: Any, smoothing: Any) -> Any:
            return LINEAR(h, w, y, bias=bias, label_smoothing=smoothing, max_memory=1)

        def whole(h: Any, smoothing: Any) -> Any:
            return tinyloss.cross_entropy(h @ w.T + bias, y, label_smoothing=smoothing)

        found, expected = [
            (
                jax.grad(loss, 1)(h, 0.25),
                jax.jvp(jax.grad(loss), (h, 0.25), (jax.numpy.cos(h), 0.0))[1],
            )
            for loss in (chunks, whole)
        ]
        close(found, expected, EPS["float64"], times=256)

    @pytest.mark.long
    def test_second_derivatives_and_other_arguments(self, jax: Any) -> None:
        h, w, y, _ = map(jax.numpy.asarray, drawn(4))
        weight = jax.numpy.ones(4)

        def chunks(h: Any, weight: Any) -> Any:
            return LINEAR(h, w, y, weight=weight, max_memory=memory_of(3))

        def whole(h: Any, weight: Any) -> Any:
            return tinyloss.cross_entropy(h @ w.T, y, weight=weight)

        found, expected = [
            (
                jax.hessian(loss)(h, weight),
                jax.grad(loss, 1)(h, weight),
                jax.jvp(loss, (h, weight), (w[:1] + h, weight))[1],
                jax.vmap(loss, (0, None))(jax.numpy.stack([h, 2 * h]), weight),
            )
            for loss in (chunks, whole)
        ]
        close(found, expected, EPS["float64"])

    @pytest.mark.parametrize("masks", [False, True], ids=["all", "mask"])
    def test_classes_over_a_mapped_axis(self, masks: bool, jax: Any) -> None:
        rng = np.random.default_rng(0)
        h, w = rng.normal(size=(ROWS, FEATURES)), rng.normal(size=(2, 3, FEATURES))
        y = rng.integers(0, 6 - masks, ROWS)
        mask = np.array([[True] * 3, [True, True, not masks]])

        def part(w: Any, mask: Any) -> Any:
            own: dict[str, Any] = {"mask": mask} if masks else {}
            return tinyloss.value_and_grad(LINEAR, (0, 1))(
                jax.numpy.asarray(h),
                w,
                jax.numpy.asarray(y),
                axis_name="v",
                max_memory=memory_of(2),
                **own,
            )

        parts = jax.numpy.asarray(w), jax.numpy.asarray(mask)
        value, (by_h, by_w) = jax.vmap(part, axis_name="v")(*parts)
        expected = dense(h, w.reshape(6, FEATURES), y, 0.0, {"mask": mask.reshape(6)})
        for member in range(2):
            found = value[member], by_h[member], by_w.reshape(6, FEATURES)
            close(found, expected[:3], EPS["float64"])

    def test_memory_is_that_of_blocks(self, jax: Any) -> None:
        shapes = [(2048, 16), (4096, 16)]
        h, w = (jax.ShapeDtypeStruct(shape, "float32") for shape in shapes)
        y = jax.ShapeDtypeStruct((2048,), "int32")
        both = jax.jit(
            jax.value_and_grad(lambda h, w, y: LINEAR(h, w, y, max_memory=2**20), (0, 1))
        )
        temporaries = both.lower(h, w, y).compile().memory_analysis().temp_size_in_bytes
        assert temporaries < 2**20 * 5  # all scores are 32 MiB

    @pytest.mark.long
    def test_gradients_of_a_large_w_are_there_once(self, jax: Any) -> None:
        h, w = (jax.ShapeDtypeStruct((n, 64), "float32") for n in (512, 2**14))  # w is 4 MiB
        y, budget = jax.ShapeDtypeStruct((512,), "int32"), 2**22
        own = tinyloss.value_and_grad(LINEAR, (0, 1))
        theirs = jax.value_and_grad(lambda *arrays: LINEAR(*arrays, max_memory=budget), (0, 1))
        for both in (partial(own, max_memory=budget), theirs):
            compiled = jax.jit(both).lower(h, w, y).compile()
            # of a block XLA may hold the scores, and their exponentials besides
            assert compiled.memory_analysis().temp_size_in_bytes < 2 * budget

    @pytest.mark.long
    def test_second_derivatives_keep_no_gradient_of_a_block(self, jax: Any) -> None:
        h, w = (jax.ShapeDtypeStruct((n, 64), "float32") for n in (512, 2**13))
        y, budget = jax.ShapeDtypeStruct((512,), "int32"), 2**20

        def of_slopes(h: Any, w: Any, y: Any) -> Any:
            slopes = jax.grad(lambda h, w: LINEAR(h, w, y, max_memory=budget), (0, 1))(h, w)
            return sum([(each**2).sum() for each in slopes])

        twice = jax.jit(jax.grad(of_slopes, (0, 1))).lower(h, w, y).compile()
        # 16 MiB of scores are 16 blocks at least, and w is 2 MiB
        assert twice.memory_analysis().temp_size_in_bytes < 16 * 2**21

    def test_memory_is_that_of_parts_of_rows(self, jax: Any) -> None:
        h, y = jax.ShapeDtypeStruct((8, 4), "float32"), jax.ShapeDtypeStruct((8,), "int32")
        w = jax.ShapeDtypeStruct((2**18, 4), "float32")  # a row of scores is 1 MiB
        by_h = jax.jit(jax.value_and_grad(lambda h, w, y: LINEAR(h, w, y, max_memory=2**16)))
        temporaries = by_h.lower(h, w, y).compile().memory_analysis().temp_size_in_bytes
        assert temporaries < 2**18


class TestWrongCalls:
    h, w, y, bias = drawn()

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"w": w.T}, r"w has shape \(4, 3\), expected 4 features.*fits with class_axis=1"),
            ({"w": w[0]}, r"w has shape \(4,\), expected two dimensions"),
            ({"h": np.float64(1)}, "h is 0-d"),
            ({"y": y[:3]}, r"y has shape \(3,\), expected \(9,\)"),
            ({"bias": bias[:2]}, r"bias has shape \(2,\), expected \(\) or \(3,\)"),
            ({"max_memory": 0}, "max_memory is 0, expected a number of bytes above 0"),
            ({"class_axis": 2}, "class_axis is 2, expected 0"),
            ({"weight": np.ones(4)}, r"weight has shape \(4,\)"),
        ],
    )
    def test_are_told(self, change: dict[str, Any], message: str) -> None:
        given = {"h": self.h, "w": self.w, "y": self.y, **change}
        with pytest.raises(ValueError, match=rf"tinyloss\.linear_cross_entropy: {message}"):
            LINEAR(given.pop("h"), given.pop("w"), given.pop("y"), **given)

    def test_of_derivatives(self) -> None:
        with pytest.raises(ValueError, match=r"argnums holds 3, expected one of 0 \(h\), 1 \(w\)"):
            tinyloss.grad(LINEAR, 3)(self.h, self.w, self.y)
        with pytest.raises(TypeError, match="has no derivative by y"):
            tinyloss.grad(LINEAR, 2)(self.h, self.w, self.y)
        with pytest.raises(TypeError, match="has no curvature"):
            tinyloss.grad_and_hess(LINEAR)(self.h, self.w, self.y)
        with pytest.raises(TypeError, match="has no product with its Hessian"):
            tinyloss.hvp(LINEAR)(self.h, self.w, self.y, self.h)

    def test_of_what_is_no_loss_of_scores(self) -> None:
        for bad in (3, tinyloss.CrossEntropyLoss, LINEAR):
            with pytest.raises(TypeError, match=r"tinyloss\.of_products: got .* expected a loss"):
                tinyloss.of_products(bad)


def test_results_are_written_where_the_caller_says() -> None:
    h, w, y, _ = drawn()
    out = np.empty_like(h), np.empty_like(w)
    _, grads = tinyloss.value_and_grad(LINEAR, (0, 1), out=out)(h, w, y)
    assert grads[0] is out[0]
    close(out, dense(h, w, y, 0.0, {})[1:3], EPS["float64"])


def test_a_mean_in_parts() -> None:
    h, w, y, _ = drawn()
    of_part = tinyloss.partial_mean(LINEAR)
    total = of_part(h[:4], w, y[:4]) + of_part(h[4:], w, y[4:])
    close([total.value()], [LINEAR(h, w, y)], EPS["float64"])


def test_made_losses_compare_print_and_pickle() -> None:
    made = tinyloss.of_products(tinyloss.CrossEntropyLoss(label_smoothing=0.1))
    assert made == tinyloss.of_products(tinyloss.CrossEntropyLoss(label_smoothing=0.1))
    assert made != OF_PRODUCTS
    assert pickle.loads(pickle.dumps(made)) == made
    assert repr(made) == "tinyloss.of_products(CrossEntropyLoss(label_smoothing=0.1))"
    assert repr(OF_PRODUCTS) == "tinyloss.of_products(tinyloss.cross_entropy)"
    assert pickle.loads(pickle.dumps(LINEAR)) is LINEAR


@pytest.mark.parametrize("masks", [False, True], ids=["all", "mask"])
def test_log_probabilities_and_entropy(masks: bool, xp: Library) -> None:
    h, w, y, bias = drawn(dtype="float32")
    y, mask = y % 2, possible() if masks else np.ones(CLASSES, bool)
    x = np.where(mask, h.astype(float) @ w.T.astype(float) + bias, -np.inf)
    p = np.exp(tinyloss.log_softmax(x))
    arrays = xp.asarray(h), xp.asarray(w)
    options: dict[str, Any] = {"bias": xp.asarray(bias), "max_memory": memory_of(2, "float32")}
    options |= {"mask": xp.asarray(mask)} if masks else {}
    logs = xp.fetch(xp.call(tinyloss.linear_logprobs, *arrays, xp.asarray(y), **options))
    close([logs], [np.log(p[np.arange(ROWS), y])], EPS["float32"])
    entropy = xp.fetch(xp.call(tinyloss.linear_entropy, *arrays, **options))
    close([entropy], [-(p * np.log(np.where(p > 0, p, 1))).sum(-1)], EPS["float32"])


def test_gradients_of_log_probabilities_and_entropy() -> None:
    h, w, y, bias = drawn()
    options: dict[str, Any] = {"bias": bias, "weight": WEIGHT, "softcap": 2.0, "temperature": 0.5}
    p = np.exp(tinyloss.log_softmax(2 * np.tanh((h @ w.T + bias) / 0.5 / 2)))
    slope = (1 - np.tanh((h @ w.T + bias) / 0.5 / 2) ** 2) / 0.5 * WEIGHT[:, None]
    entropy = -(p * np.log(p)).sum(-1, keepdims=True)
    cases: Any = (
        (tinyloss.linear_logprobs, (y,), np.eye(CLASSES)[y] - p),
        (tinyloss.linear_entropy, (), -p * (np.log(p) + entropy)),
    )
    for loss, more, g in cases:
        gradients: Any = tinyloss.grad(loss, (0, 1, 3))
        found = gradients(h, w, *more, max_memory=memory_of(2), **options)
        g = g * slope
        close(found, (g @ w, g.T @ h, g.sum(0)), EPS["float64"], times=64)
