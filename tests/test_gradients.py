"""Gradients and curvature of the whole loss, against central differences taken in mpmath.

What is differentiated is a textbook's reduced loss, written here from the definition of an item
(tests.support.exact) and of the mean: sum(weight * loss) / sum(weight) over the selected items,
class weights counting as weights. It shares no line with the library, and no closed form.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import tinyloss
from tests.support.definitions import counts
from tests.support.exact import Truth, items
from tests.support.families import allowed, scales
from tests.support.jets import mp
from tests.support.slopes import CASES, Case, Params
from tests.support.specs import EXACT

Array = npt.NDArray[Any]

# Losses are picked by name here, so that their signatures are not known to a type checker.
value_and_grad: Any = tinyloss.value_and_grad
grad_and_hess: Any = tinyloss.grad_and_hess
grad: Any = tinyloss.grad

EPS = 2.0**-52

# (f(x + h) - f(x - h)) / 2h errs by h^2 f''' / 6 and by the rounding of f over h; the second
# difference by h^2 f'''' / 12 and the rounding over h^2. With h = 2^-100 at 500 bits that is
# 2^-200 and 2^-300, against the 2^-52 of float64.
BITS, STEP = 500, mp.mpf(2) ** -100
NOISE = 2.0**-190


@dataclass(frozen=True)
class Options:
    """What every loss takes."""

    id: str
    reduction: str = "mean"
    denominator: Any = None
    weight: Any = None
    where: Any = None
    selection: str = ""
    """What says of weight and mask which they are."""

    def kwargs(self) -> Params:
        given = {"denominator": self.denominator, "weight": self.weight, "where": self.where}
        return {"reduction": self.reduction} | {k: v for k, v in given.items() if v is not None}


def _options(turn: int) -> Iterator[Options]:
    """Yield a third of all combinations, in which each pair of a mode, a weight, a mask is."""
    each = np.array([[0.5, 2.0, 0.25], [0.0, 1.5, 3.0]])
    one_for_each_column = np.array([2.0, 0.3, 1.0])
    mask = np.array([[True, True, False], [True, False, True]])
    modes = (
        ("mean", None),
        ("mean", 7.5),
        ("mean", np.array(3.0)),
        ("sum", None),
        ("none", None),
    )
    weights = (("", None), ("weight", each), ("broadcast", one_for_each_column))
    masks = (("", None), ("where", mask), ("column", mask[:1]))
    for i, j in product(range(5), range(3)):
        (reduction, denominator), (w, weight) = modes[i], weights[j]
        m, where = masks[(i + j + turn) % 3]
        over = f"over {denominator}" if denominator is not None else ""
        name = ",".join(a for a in (reduction, over, w, m) if a)
        yield Options(name, reduction, denominator, weight, where, f"{w},{m}")


PAIRS, *REST = (list(_options(turn)) for turn in range(3))
in_turn = pytest.mark.parametrize(
    "chosen",
    [PAIRS, *(pytest.param(rest, marks=pytest.mark.long) for rest in REST)],
    ids=["pairs", "second", "third"],
)


# ------------------------------------------------------------------------------------ the textbook


Move = tuple[int, int, int | None, Any]
"""Which number moves, of an argument, an item and a class, and by how much."""


class Textbook:
    """The reduced loss by its definition, as a function of every number of every argument."""

    def __init__(self, case: Case, options: Options) -> None:
        self.case, self.options = case, options
        self.exact = EXACT[case.loss]
        self.items = list(items(case.loss, **case.arrays, **case.exact_params))
        shape = case.item_shape()
        weight = 1.0 if options.weight is None else options.weight
        where = True if options.where is None else options.where
        self.weight = [mp.mpf(float(w)) for w in np.broadcast_to(weight, shape).ravel()]
        self.where = np.broadcast_to(where, shape).ravel()
        self.selected = [self._selects(i) for i in range(len(self.items))]
        self.sums: dict[Any, Any] = {}
        self.known = _KNOWN.setdefault((case.loss, case.id), {})

    def _selects(self, i: int) -> bool:
        args, params = self.items[i]
        ignored = "ignore_index" in params and args[1] == params["ignore_index"]
        return bool(self.where[i]) and self.weight[i] != 0 and not ignored

    def value_of(self, i: int, move: Move | None) -> Any:
        """Return an item's loss; what is known already is not computed again."""
        key = (i,) if move is None or move[1] != i else (i, move[0], move[2], int(mp.sign(move[3])))
        if key not in self.known:
            self.known[key] = self.exact.value(*self.moved(i, move), **self.items[i][1])
        return self.known[key]

    def mass_of(self, i: int, move: Move | None) -> Any:
        """Return what class weights make of an item's share in the mean, or how often it counts."""
        class_weight, (x, y, *_) = self.items[i][1].get("class_weight"), self.items[i][0]
        if class_weight is None:
            labels = isinstance(y, int)
            return mp.mpf(int(counts(self.case.loss, y, len(x)))) if labels else mp.one
        y = self.moved(i, move)[1]
        if not isinstance(y, list):
            return class_weight[y]
        return mp.fsum(a * b for a, b in zip(class_weight, y, strict=True))

    def moved(self, i: int, move: Move | None) -> Any:
        """Return an item's arguments, one number of one of them moved by a step."""
        args = self.items[i][0]
        if move is None or move[1] != i:
            return args
        argument, _, entry, h = move
        new = list(args)
        if entry is None:
            new[argument] = args[argument] + h
        else:
            new[argument] = [a + h if k == entry else a for k, a in enumerate(args[argument])]
        return new

    def term(self, i: int, move: Move | None = None) -> Any:
        """Return the weighted loss of an item, one number of one argument moved by a step."""
        if not self.selected[i]:
            return mp.zero
        return self.weight[i] * self.value_of(i, move)

    def mass(self, i: int, move: Move | None = None) -> Any:
        if not self.selected[i]:
            return mp.zero
        return self.weight[i] * self.mass_of(i, move)

    def whole(self, of: Callable[..., Any], move: Move | None) -> Any:
        """Return the sum over all items, of which a move changes one."""
        if of not in self.sums:
            self.sums[of] = mp.fsum(map(of, range(len(self.items))))
        if move is None:
            return self.sums[of]
        return self.sums[of] - of(move[1]) + of(move[1], move)

    def terms(self) -> list[Any]:
        return [self.term(i) for i in range(len(self.items))]

    def divisor(self, move: Move | None = None) -> Any:
        if self.options.reduction != "mean":
            return mp.one
        if self.options.denominator is not None:
            return mp.mpf(float(self.options.denominator))
        total = self.whole(self.mass, move)
        return total if total else mp.one

    def loss(self, move: Move | None = None) -> Any:
        return self.whole(self.term, move) / self.divisor(move)

    def entries(self, argument: int) -> Iterator[tuple[int, int | None]]:
        for i, (args, _) in enumerate(self.items):
            count = len(args[argument]) if isinstance(args[argument], list) else None
            yield from ((i, c) for c in range(count)) if count is not None else [(i, None)]

    def gradient(self, argument: int) -> list[Any]:
        """Return the central differences of the reduced loss by each number of an argument."""
        return [
            (self.loss((argument, i, c, STEP)) - self.loss((argument, i, c, -STEP))) / (2 * STEP)
            for i, c in self.entries(argument)
        ]

    def curvature(self) -> list[Any]:
        """Return the second differences of each item's weighted loss by the prediction."""
        return [
            (self.term(i, (0, i, c, STEP)) - 2 * self.term(i) + self.term(i, (0, i, c, -STEP)))
            / STEP**2
            for i, c in self.entries(0)
        ]


_KNOWN: dict[tuple[str, str], dict[Any, Any]] = {}
"""Losses of items, by case: weights and reductions change none of them."""
_SCALES: dict[tuple[str, str], dict[str, Truth]] = {}


# --------------------------------------------------------------------------------------- the tests

# Beside the error of the item's own derivative (the bound of its loss): the weight times the class
# weight, times the derivative, over the divisor, are three roundings of half an eps each; a sum of
# six weights, of products of two, errs by at most 3 + 0.5 eps; and the factor may be rounded before
# it is applied. A masked softmax target's mass sums four products first: 2 more.
OVERHEAD = 8.0


def _arguments(case: Case) -> tuple[list[Array], Params]:
    """Return what the library is called with: the class axis where the case has it."""
    axis = case.params.get("axis", -1)
    x = case.arrays["x"]
    arrays = [
        np.moveaxis(a, -1, axis) if EXACT[case.loss].rowwise and a.ndim == x.ndim else a
        for a in case.arrays.values()
    ]
    return arrays, case.params


def _back(case: Case, result: Array) -> Array:
    return np.moveaxis(result, case.params["axis"], -1) if "axis" in case.params else result


def _factor(book: Textbook) -> Array:
    """Return weight over divisor for each item: what its derivatives are multiplied by."""
    divisor = book.divisor()
    return np.array(
        [float(w / divisor) * book.selected[i] for i, w in enumerate(book.weight)]
    ).reshape(book.case.item_shape())


def _tolerance(case: Case, what: str, exact: Array, factor: Array) -> Array:
    """Return the allowed error: in eps of the number, or of the terms that cancel in it."""
    rowwise = EXACT[case.loss].rowwise
    size = np.abs(exact)
    key = (case.loss, case.id)
    if key not in _SCALES:
        _SCALES[key] = scales(case.loss, {**case.arrays, **case.exact_params})
    scale = _SCALES[key].get(what)
    if scale is not None:
        each = scale.float64()
        wide = factor[..., None] if rowwise and each.ndim > factor.ndim else factor
        size = np.maximum(size, np.nan_to_num(np.abs(each * wide)))
    return (allowed(case.loss, what, case.params) + OVERHEAD) * EPS * size + NOISE


def _check(got: Any, exact: list[Any], tolerance: Array, what: str) -> None:
    truth = np.array([float(a) for a in exact]).reshape(tolerance.shape)
    got = np.asarray(got)
    assert got.shape == truth.shape
    wrong = ~(np.abs(got - truth) <= tolerance)
    assert not wrong.any(), (
        f"{what} at {np.argwhere(wrong).tolist()}: got {got[wrong].tolist()}, "
        f"expected {truth[wrong].tolist()}, allowed {tolerance[wrong].tolist()}"
    )


def _floats(numbers: list[Any], shape: tuple[int, ...]) -> Array:
    return np.array([float(a) for a in numbers]).reshape(shape)


@in_turn
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.loss}[{case.id}]")
def test_the_gradient_is_the_slope_of_the_whole_loss(case: Case, chosen: list[Options]) -> None:
    arrays, params = _arguments(case)
    function = getattr(tinyloss, case.loss)
    for options in chosen:
        with mp.workprec(BITS):
            book = Textbook(case, options)
            value = book.terms() if options.reduction == "none" else [book.loss()]
            sizes = [abs(a) for a in book.terms()]
            slopes = [book.gradient(k) for k in case.argnums]
        got, grads = value_and_grad(function, case.argnums)(*arrays, **params, **options.kwargs())
        factor = _factor(book)
        shape = case.item_shape()
        terms = _floats(sizes, shape) / float(book.divisor())
        each = _tolerance(case, "value", terms, factor)
        if options.reduction != "none":
            each = np.array(each.sum())
        _check(got, value, each, f"{options.id}: value")
        for k, gradient, slope in zip(case.argnums, grads, slopes, strict=True):
            name = EXACT[case.loss].arguments[k]
            truth = _floats(slope, case.arrays[name].shape)
            tolerance = _tolerance(case, name, truth, factor)
            weighed = case.params.get("class_weight") is not None
            if name == "y" and weighed and options.reduction == "mean":
                # The mean's divisor depends on y too: by the quotient rule a second term of either
                # sign, the loss times this class's share of the divisor, with the loss's own error.
                share = np.abs(float(book.loss()) * factor[..., None] * case.params["class_weight"])
                tolerance = tolerance + (allowed(case.loss, "value", {}) + OVERHEAD) * EPS * share
            _check(_back(case, gradient), slope, tolerance, f"{options.id}: gradient by {name}")


@pytest.mark.long
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.loss}[{case.id}]")
def test_curvature_is_the_slope_of_the_gradient(case: Case) -> None:
    """Per item, weighted and unreduced, whatever the reduction."""
    arrays, params = _arguments(case)
    function = grad_and_hess(getattr(tinyloss, case.loss))
    selections: dict[str, list[Options]] = {}
    for options in PAIRS:
        selections.setdefault(options.selection, []).append(options)
    for alike in selections.values():
        with mp.workprec(BITS):
            per_item = Options("none", "none", None, alike[0].weight, alike[0].where)
            book = Textbook(case, per_item)
            slope, bend = book.gradient(0), book.curvature()
        factor, shape = _factor(book), case.arrays["x"].shape
        for options in alike:
            gradient, curvature = function(*arrays, **params, **options.kwargs())
            for name, got, exact in (("x", gradient, slope), ("curvature", curvature, bend)):
                tolerance = _tolerance(case, name, _floats(exact, shape), factor)
                _check(_back(case, got), exact, tolerance, f"{options.id}: {name}")


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.loss}[{case.id}]")
@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_what_is_not_selected_has_no_slope_and_changes_none(case: Case, poison: float) -> None:
    """Items left out by mask, weight or index hold NaN or inf in every argument."""
    each = np.array([[0.5, 2.0, 0.25], [0.0, 1.5, 3.0]])
    mask = np.array([[True, True, False], [True, False, True]])
    function = getattr(tinyloss, case.loss)
    left_out = {
        "where": (Options("", where=mask), ~mask),
        "weight": (Options("", weight=each), each == 0),
        "both": (Options("", weight=each, where=mask), ~mask | (each == 0)),
    }
    if "ignore_index" in case.params:
        left_out["index"] = (Options(""), case.arrays["y"] == case.params["ignore_index"])
    for how, (options, out) in left_out.items():
        clean, params = _arguments(case)
        hurt = {k: v if k in case.fixed else v.copy() for k, v in case.arrays.items()}
        for name, array in hurt.items():
            if name not in case.fixed:
                array[out] = poison
        dirty, _ = _arguments(Case(case.loss, case.id, hurt, case.params, case.fixed))
        call = value_and_grad(function, case.argnums)
        for reduction in ("mean", "sum", "none"):
            kwargs = {**params, **options.kwargs(), "reduction": reduction}
            value, grads = call(*clean, **kwargs)
            got, gradients = call(*dirty, **kwargs)
            np.testing.assert_array_equal(got, value, err_msg=how)
            for gradient, expected in zip(gradients, grads, strict=True):
                np.testing.assert_array_equal(gradient, expected, err_msg=how)
                assert not _back(case, gradient)[out].any(), how
        kwargs = {**params, **options.kwargs()}
        for got, expected in zip(
            grad_and_hess(function)(*dirty, **kwargs),
            grad_and_hess(function)(*clean, **kwargs),
            strict=True,
        ):
            np.testing.assert_array_equal(got, expected, err_msg=how)
            assert not _back(case, got)[out].any(), how


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.loss}[{case.id}]")
def test_nothing_selected_is_0_with_gradient_0(case: Case) -> None:
    arrays, params = _arguments(case)
    call = value_and_grad(getattr(tinyloss, case.loss), case.argnums)
    for nothing in (
        {"where": np.zeros(case.item_shape(), bool)},
        {"weight": np.zeros(case.item_shape())},
    ):
        for reduction in ("mean", "sum", "none"):
            value, grads = call(*arrays, **params, **nothing, reduction=reduction)
            assert not np.asarray(value).any()
            for gradient in grads:
                assert not gradient.any()
