"""Rules of parameters and errors."""

from typing import Any, ClassVar

import numpy as np
import pytest

import tinyloss
from tests.support.calls import called_of
from tests.support.cases import CASES, Case
from tests.support.rules import INF, NAN, anyloss, basic_case, doubles, everything, on, spoilt
from tests.support.specs import ACTIVATIONS

X, Y = np.zeros((2, 3)), np.zeros(2, dtype=int)


class TestRule11Parameters:
    """Parameters are Python numbers in their range."""

    @on(
        "loss,y,name,values",
        [
            (tinyloss.huber, X, "delta", [0, -1.0]),
            (tinyloss.smooth_l1, X, "beta", [-1.0]),
            (tinyloss.quantile, X, "q", [-0.1, 1.1]),
            (tinyloss.mape, X, "eps", [0, -1e-3]),
            (tinyloss.poisson_nll, X, "eps", [-1e-8]),
            (tinyloss.gaussian_nll, X, "eps", [0.0, -1.0]),
            (tinyloss.binary_cross_entropy, X, "eps", [0, -1e-7, 0.6]),
            (tinyloss.sigmoid_focal, X, "alpha", [-0.1, 1.1]),
            (tinyloss.sigmoid_focal, X, "gamma", [-1]),
            (tinyloss.softmax_focal, Y, "gamma", [-1.0]),
            (tinyloss.cross_entropy, Y, "label_smoothing", [-0.1, 1.1]),
            (tinyloss.binary_cross_entropy, X, "label_smoothing", [-0.1, 1.1]),
            (tinyloss.softmax_focal, Y, "label_smoothing", [-0.1, 1.1]),
        ],
    )
    def test_number_out_of_range(self, loss: Any, y: Any, name: str, values: Any) -> None:
        more = [X + 1] if loss is tinyloss.gaussian_nll else []
        start = rf"^tinyloss\.{loss.__name__}: {name} is "
        for value in [*values, NAN, INF, -INF]:
            with pytest.raises(ValueError, match=start + ".*expected"):
                loss(X, y, *more, **{name: value})
        wrong: list[Any] = ["1", np.array(True), 1j, True]
        if (loss, name) not in ((tinyloss.quantile, "q"), (tinyloss.sigmoid_focal, "alpha")):
            wrong += [[1.0], np.array([1.0])]
        if name not in ("alpha", "eps") or loss not in (
            tinyloss.sigmoid_focal,
            tinyloss.binary_cross_entropy,
        ):
            wrong.append(None)
        for value in wrong:
            with pytest.raises(TypeError, match=start + ".*expected"):
                loss(X, y, *more, **{name: value})

    @on(
        "loss,name",
        [
            (tinyloss.poisson_nll, "log_input"),
            (tinyloss.poisson_nll, "full"),
            (tinyloss.gaussian_nll, "full"),
            (tinyloss.gaussian_nll, "log_var"),
            (tinyloss.kl_div, "log_target"),
        ],
    )
    def test_flags_are_true_or_false(self, loss: Any, name: str) -> None:
        more = [X + 1] if loss is tinyloss.gaussian_nll else []
        for value in (1, 0, "yes", None, np.array(True)):
            with pytest.raises(
                TypeError, match=rf"^tinyloss\.{loss.__name__}: {name} is .*True or False"
            ):
                loss(X, X, *more, **{name: value})

    @on(
        "loss",
        [tinyloss.cross_entropy, tinyloss.nll, tinyloss.softmax_focal],
        ids=lambda f: f.__name__,
    )
    def test_ignore_index_is_an_integer(self, loss: Any) -> None:
        for value in (1.0, "1", True, np.array(1), [1]):
            with pytest.raises(
                TypeError, match=rf"^tinyloss\.{loss.__name__}: ignore_index is .*integer"
            ):
                loss(X, Y, ignore_index=value)

    def test_ignore_index_is_for_labels(self) -> None:
        with pytest.raises(ValueError, match=r"^tinyloss\.cross_entropy: .*where="):
            tinyloss.cross_entropy(X, X, ignore_index=0)

    @on(
        "loss",
        [
            tinyloss.cross_entropy,
            tinyloss.kl_div,
            tinyloss.js_div,
            tinyloss.softmax,
            tinyloss.logsumexp,
        ],
        ids=lambda f: f.__name__,
    )
    def test_axis_is_one_of_x(self, loss: Any) -> None:
        arrays = [X] if loss in ACTIVATIONS else [X, X]
        for axis in (2, -3, 1.0, "1", None, (0, 1), True, np.array(1)):
            with pytest.raises(
                (ValueError, TypeError), match=rf"^tinyloss\.{loss.__name__}: axis is "
            ):
                loss(*arrays, axis=axis)

    def test_numpy_numbers_are_numbers(self) -> None:
        assert anyloss.huber(X, X + 1, delta=np.float32(0.5)) == tinyloss.huber(X, X + 1, delta=0.5)
        assert anyloss.cross_entropy(X, Y, axis=np.int64(1), ignore_index=np.int64(5)) == (
            tinyloss.cross_entropy(X, Y)
        )

    @on("reduction", ["avg", "MEAN", None, 1, ["mean"], "batchmean"])
    @basic_case
    def test_reduction_is_one_of_three(self, case: Case, reduction: Any) -> None:
        with pytest.raises(ValueError, match=rf"^tinyloss\.{case.loss.__name__}: reduction is "):
            case.loss(*case.arrays, reduction=reduction)

    @on("reduction", ["sum", "none"])
    def test_denominator_is_for_the_mean(self, reduction: Any) -> None:
        with pytest.raises(ValueError, match=r"^tinyloss\.mse: denominator"):
            tinyloss.mse(X, X, reduction=reduction, denominator=2)

    @on("denominator", ["2", [1.0, 2.0], np.ones(2), np.ones((1, 1))])
    def test_denominator_is_a_number(self, denominator: Any) -> None:
        with pytest.raises((ValueError, TypeError), match=r"^tinyloss\.mse: denominator"):
            tinyloss.mse(X, X, denominator=denominator)

    @on("class_weight", [[1.0, 2.0], [[1.0, 2.0, 3.0]], 1.0, np.ones((2, 3))])
    def test_class_weight_is_one_number_for_each_class(self, class_weight: Any) -> None:
        for y in (Y, X):
            with pytest.raises(
                ValueError, match=r"^tinyloss\.cross_entropy: class_weight has shape .*\(3,\)"
            ):
                tinyloss.cross_entropy(X, y, class_weight=class_weight)

    @on(
        "loss,name",
        [
            (tinyloss.poisson_nll, "full"),
            (tinyloss.kl_div, "log_target"),
            (tinyloss.cross_entropy, "from_logits"),
            (tinyloss.cross_entropy, "axis"),
            (tinyloss.cross_entropy, "ignore_index"),
        ],
    )
    def test_what_chooses_a_formula_is_not_traced(self, loss: Any, name: str, jax: Any) -> None:
        y = Y if name == "ignore_index" else X
        call = jax.jit(
            lambda value: loss(jax.numpy.asarray(X), jax.numpy.asarray(y), **{name: value})
        )
        with pytest.raises(
            (TypeError, ValueError), match=rf"^tinyloss\.{loss.__name__}: {name} is "
        ):
            call(0.5)


class TestRule12Errors:
    """An error says the function, the argument, what came and what was expected."""

    X_REFUSED: ClassVar[list[tuple[Any, str]]] = [
        ([0.5, 1.0], "list"),
        ((0.5, 1.0), "tuple"),
        (0.5, "float"),
        ("ab", "str"),
        (None, "NoneType"),
        (np.ma.masked_array([0.5, 1.0], [True, False]), "MaskedArray"),
        (np.array([0.5, 1.0], dtype=object), "object"),
        (np.array([0.5, 1.0], dtype=complex), "complex"),
        (np.array(["a", "b"]), "str"),
        (np.array([1, 2], dtype="M8[s]"), "datetime64"),
    ]

    @on("x,word", X_REFUSED, ids=[word for _, word in X_REFUSED])
    @basic_case
    def test_bad_prediction(self, case: Case, x: Any, word: str) -> None:
        y, first = np.array([0.5, 0.5]), called_of(case.loss)[0]
        with pytest.raises(
            TypeError, match=rf"^tinyloss\.{case.loss.__name__}: {first}\b.*{word}.*expected"
        ):
            case.loss(x, y, *[y for _ in case.more])

    def test_bad_prediction_is_refused_also_after_a_good_one_like_it(self) -> None:
        x, y = np.array([0.5, 1.0]), np.array([0.5, 0.5])
        tinyloss.mse(x, y)
        with pytest.raises(TypeError, match="MaskedArray"):
            tinyloss.mse(np.ma.masked_array(x), np.ma.masked_array(y))
        x = np.array([[0.5, 1.0]])
        tinyloss.cross_entropy(x, np.array([1]), axis=1)
        refused: list[dict[str, Any]] = [{"axis": True}, {"reduction": ["mean"]}]
        for wrong in refused:
            with pytest.raises(ValueError, match=next(iter(wrong))):
                tinyloss.cross_entropy(x, np.array([1]), **wrong)
        with pytest.raises(ValueError, match=r"y\[0\] is 2"):
            tinyloss.cross_entropy(x, np.array([2]), axis=1)

    @on("x,word", X_REFUSED, ids=[word for _, word in X_REFUSED])
    @on("function", ACTIVATIONS, ids=lambda f: f.__name__)
    def test_bad_input_of_an_activation(self, function: Any, x: Any, word: str) -> None:
        with pytest.raises(
            TypeError, match=rf"^tinyloss\.{function.__name__}: x\b.*{word}.*expected"
        ):
            function(x)

    @on("y,word", [row for row in X_REFUSED if row[1] not in ("list", "tuple", "float")])
    @on("name", ["y", "weight", "class_weight", "denominator"])
    def test_bad_companion(self, name: str, y: Any, word: str) -> None:
        given: dict[str, Any] = {"y": np.array(0), name: y}
        if y is None and name != "y":  # that is none at all
            tinyloss.cross_entropy(np.array([0.5, 1.0]), given.pop("y"), **given)
            return
        with pytest.raises(
            TypeError, match=rf"^tinyloss\.cross_entropy: {name}\b.*{word}.*expected"
        ):
            tinyloss.cross_entropy(np.array([0.5, 1.0]), given.pop("y"), **given)

    def test_matrix_is_refused(self) -> None:
        with pytest.warns(PendingDeprecationWarning, match="matrix"):
            matrix = np.asmatrix(np.zeros((2, 2)))
        with pytest.raises(TypeError, match=r"^tinyloss\.mse: x.*matrix.*expected"):
            tinyloss.mse(matrix, np.zeros((2, 2)))
        with pytest.raises(TypeError, match=r"^tinyloss\.mse: y.*matrix.*expected"):
            tinyloss.mse(np.zeros((2, 2)), matrix)

    def test_ragged_list_is_refused(self) -> None:
        with pytest.raises((TypeError, ValueError), match=r"^tinyloss\.mse: y\b"):
            tinyloss.mse(np.zeros((2, 2)), [[0.0], [1.0, 2.0]])

    def test_mixed_libraries_are_refused(self, torch: Any, jax: Any) -> None:
        arrays = {"torch": torch.zeros(2), "jax": jax.numpy.zeros(2), "numpy": np.zeros(2)}
        for one, other in [
            ("torch", "jax"),
            ("jax", "torch"),
            ("numpy", "torch"),
            ("numpy", "jax"),
        ]:
            with pytest.raises(TypeError, match=rf"^tinyloss\.mse: y.*{other}.*{one}.*expected"):
                tinyloss.mse(arrays[one], arrays[other])
            with pytest.raises(
                TypeError, match=rf"^tinyloss\.mse: weight.*{other}.*{one}.*expected"
            ):
                tinyloss.mse(arrays[one], arrays[one], weight=arrays[other])

    def test_libraries_do_not_disturb_each_other(self, torch: Any, jax: Any) -> None:
        """Dtypes of array-api-strict warn when they are compared with those of NumPy."""
        strict = pytest.importorskip("array_api_strict")
        for zeros in (np.zeros, torch.zeros, jax.numpy.zeros, strict.zeros, np.zeros):
            x = zeros((2, 3))
            tinyloss.mse(x, x, where=x == 0, weight=x[0, ...])
            tinyloss.cross_entropy(x, [0, 1])

    def test_message_of_the_design(self) -> None:
        with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole text is compared
            tinyloss.cross_entropy(np.zeros((4, 10)), np.zeros(3, int))
        assert str(error.value).startswith(
            "tinyloss.cross_entropy: y has shape (3,), expected (4,)"
        )
        assert "for x of shape (4, 10)" in str(error.value)

    def test_labels_are_not_rounded(self) -> None:
        with pytest.raises(
            TypeError, match=r"^tinyloss\.cross_entropy: y has dtype float64.*integers"
        ):
            tinyloss.cross_entropy(X, np.array([0.0, 1.0]))

    @on("where", [np.ones(3), np.ones(3, int), 1, [1, 0, 1]])
    def test_where_is_boolean(self, where: Any) -> None:
        with pytest.raises(TypeError, match=r"^tinyloss\.mse: where has dtype .*expected booleans"):
            tinyloss.mse(X, X, where=where)

    def test_row_loss_of_a_number(self) -> None:
        with pytest.raises(ValueError, match=r"^tinyloss\.cross_entropy: x is 0-d"):
            tinyloss.cross_entropy(np.array(1.0), 0)

    @on("var", [np.ones(2), np.ones((3, 1)), np.ones((1, 2, 3))])
    def test_variance_broadcasts_to_x(self, var: Any) -> None:
        with pytest.raises(ValueError, match=r"^tinyloss\.gaussian_nll: var has shape .*\(2, 3\)"):
            tinyloss.gaussian_nll(X, X, var)

    def test_numpy_stays_quiet(self) -> None:
        """Infinities and NaN on purpose warn of nothing; warnings are errors in these tests."""
        with np.errstate(all="raise"):
            for case in CASES:
                for bad in (NAN, INF, -INF, 1e300, -1e300):
                    arrays = spoilt(case, bad, (0,) * len(case.items))
                    _, options = doubles(case)
                    with tinyloss.validation("never"):  # a target of infinity may be an error
                        everything(case.loss, case.argnums)(*arrays, **options)
