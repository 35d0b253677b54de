"""What can be done with a loss: derive, configure, add, print, compare, pickle, share."""

import copy
import inspect
import pickle
import pydoc
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import FrozenInstanceError, fields
from typing import Any

import numpy as np
import pytest

import tinyloss
from tests.support.cases import CASES, Case, brought, every_case
from tests.support.libraries import Library
from tests.support.specs import ACTIVATIONS, CLASSES, LOSSES

# For losses chosen at run time, whose parameters no type checker can follow.
anyloss: Any = tinyloss

on = pytest.mark.parametrize

FUNCTIONS = {name: getattr(tinyloss, name) for name in LOSSES}
CLASS_OF = {function: cls for cls, function in reversed(CLASSES.items())}

# Every class as it is by default, and with every parameter that a case sets.
OBJECTS: list[Any] = [
    *(cls() for cls in CLASSES),
    *(CLASS_OF[case.loss](**case.options) for case in CASES if case.options),
    tinyloss.MSELoss(reduction="sum"),
    tinyloss.KLDivLoss(log_target=True, axis=0, reduction="none"),
    tinyloss.BCEWithLogitsLoss(pos_weight=np.ones((2, 1))),
    tinyloss.BinaryCrossEntropyLoss(),
    tinyloss.BinaryCrossEntropyLoss(from_logits=False, reduction="none"),
    tinyloss.MSELoss() + tinyloss.MAELoss(),
    0.5 * tinyloss.HuberLoss(delta=2.0) - tinyloss.MAELoss() / 4,
    -tinyloss.MSELoss(),
    tinyloss.MSELoss() * 3,
]
every_object = on("loss", OBJECTS, ids=repr)
every_class = on("cls", list(CLASSES), ids=lambda cls: cls.__name__)

X = np.array([0.5, -1.0, 2.0])
Y = np.array([0.0, 1.0, 1.0])
LOGITS, LABELS = np.array([[0.5, -1.0, 2.0], [0.0, 1.0, 1.0]]), np.array([2, 0])


def equal(actual: Any, expected: Any) -> None:
    """Compare bit by bit: one and the same computation."""
    if isinstance(expected, tuple):
        assert isinstance(actual, tuple)
        for one, other in zip(actual, expected, strict=True):
            equal(one, other)
    else:
        np.testing.assert_array_equal(actual, expected, strict=True)


def close(actual: Any, expected: Any) -> None:
    """Compare sums of a few terms: each operation rounds by half an eps."""
    np.testing.assert_allclose(actual, expected, rtol=8 * np.finfo(np.float64).eps, atol=0)


def in_doubles(case: Case) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return brought(Library("numpy"), case, "float64")


class TestTransforms:
    @every_case
    def test_all_transforms_belong_together(self, case: Case) -> None:
        arrays, options = in_doubles(case)
        for reduction in ("mean", "sum", "none"):
            chosen = {**options, "reduction": reduction}
            value, grad = anyloss.value_and_grad(case.loss)(*arrays, **chosen)
            equal(value, case.loss(*arrays, **chosen))
            equal(anyloss.grad(case.loss)(*arrays, **chosen), grad)
            equal(anyloss.grad(case.loss, case.argnums)(*arrays, **chosen)[0], grad)
            equal(anyloss.value_and_grad(case.loss, (0,))(*arrays, **chosen), (value, (grad,)))
        items = anyloss.grad(case.loss)(*arrays, **options, reduction="none")
        by_x, curvature = anyloss.grad_and_hess(case.loss)(*arrays, **options)
        equal(by_x, items)
        assert curvature.shape == case.x.shape

    def test_argnums_choose_and_order(self) -> None:
        var = np.array([0.5, 1.0, 2.0])
        of_each = [anyloss.grad(tinyloss.gaussian_nll, n)(X, Y, var) for n in range(3)]
        for argnums in [(0, 1, 2), (2, 0), (1,), (2, 1, 0)]:
            expected = tuple(of_each[n] for n in argnums)
            equal(anyloss.grad(tinyloss.gaussian_nll, argnums)(X, Y, var), expected)
            value, grads = anyloss.value_and_grad(tinyloss.gaussian_nll, argnums)(X, Y, var)
            equal(grads, expected)
            equal(value, tinyloss.gaussian_nll(X, Y, var))
        equal(anyloss.grad(tinyloss.gaussian_nll, 2)(X, Y, var=var), of_each[2])

    @on("transform", [tinyloss.value_and_grad, tinyloss.grad], ids=lambda f: f.__name__)
    @on("argnums", [True, False, 1.0, "0", None, [0, 1], (0, True), (0.0,), (0, (1,)), np.ones(1)])
    def test_argnums_are_integers(self, transform: Any, argnums: Any) -> None:
        with pytest.raises(TypeError, match=r"^tinyloss: argnums is .*expected an integer"):
            transform(tinyloss.mse, argnums)

    @on("argnums", [2, -1, (0, 2), 100])
    def test_argnums_are_in_range(self, argnums: Any) -> None:
        match = r"^tinyloss\.mse: argnums holds -?\d+, expected integers from 0 to 1$"
        with pytest.raises(ValueError, match=match):
            anyloss.grad(tinyloss.mse, argnums)(X, Y)
        with pytest.raises(ValueError, match=match):
            anyloss.grad(tinyloss.MSELoss() + tinyloss.MAELoss(), argnums)(X, Y)

    @on(
        "loss",
        [tinyloss.cross_entropy, tinyloss.softmax_focal, tinyloss.nll],
        ids=lambda f: f.__name__,
    )
    def test_class_indices_have_no_derivative(self, loss: Any) -> None:
        for argnums in (1, (0, 1)):
            with pytest.raises(TypeError, match=rf"^tinyloss\.{loss.__name__}: .*class indices"):
                anyloss.grad(loss, argnums)(LOGITS, LABELS)

    def test_target_of_another_shape_has_no_derivative(self) -> None:
        with pytest.raises(ValueError, match=r"^tinyloss\.gaussian_nll: var has shape \(\)"):
            anyloss.grad(tinyloss.gaussian_nll, 2)(X, Y, np.array(2.0))

    def test_real_target_beside_integers_has_a_floating_gradient(self) -> None:
        _, (by_x, by_y) = anyloss.value_and_grad(tinyloss.mse, (0, 1))(X, np.array([0, 1, 1]))
        equal(by_y, -by_x)

    @on("transform", [tinyloss.value_and_grad, tinyloss.grad, tinyloss.grad_and_hess])
    @on("loss", [len, None, 1, tinyloss.softmax, tinyloss.MSELoss])
    def test_only_losses_have_them(self, transform: Any, loss: Any) -> None:
        with pytest.raises(TypeError, match=r"^tinyloss: .*expected a loss"):
            transform(loss)

    @on("loss", [tinyloss.huber, tinyloss.HuberLoss(), tinyloss.HuberLoss() * 2], ids=repr)
    def test_derived_functions_have_the_signature_of_the_loss(self, loss: Any) -> None:
        expected = list(inspect.signature(loss).parameters)
        assert "self" not in expected
        for transform in (tinyloss.value_and_grad, tinyloss.grad, tinyloss.grad_and_hess):
            derived: Any = transform(loss)
            assert list(inspect.signature(derived).parameters) == expected
            assert "gradient" in (derived.__doc__ or "")

    def test_wrong_keywords_are_refused(self) -> None:
        function: Any = anyloss.grad(tinyloss.mse)
        with pytest.raises(TypeError, match="unexpected keyword argument 'axis'"):
            function(X, Y, axis=0)
        with pytest.raises(TypeError, match="positional argument"):
            function(X, Y, X)


class TestClasses:
    def test_every_loss_has_a_class(self) -> None:
        assert set(CLASSES.values()) == set(FUNCTIONS.values())
        extra = {tinyloss.BinaryCrossEntropyLoss, tinyloss.WeightedSum, tinyloss.PartialMean}
        public = {getattr(tinyloss, name) for name in vars(tinyloss)["__all__"]}
        assert {each for each in public if inspect.isclass(each)} == {*CLASSES, *extra}

    @every_case
    def test_object_equals_its_function(self, case: Case) -> None:
        arrays, options = in_doubles(case)
        rng = np.random.default_rng(0)
        chosen: dict[str, Any] = {"weight": rng.uniform(0.5, 2, case.items)}
        chosen["where"] = chosen["weight"] > 0.7
        for reduction in ("mean", "sum", "none"):
            loss = CLASS_OF[case.loss](**options, reduction=reduction)
            given = {**options, **chosen, "reduction": reduction}
            equal(loss(*arrays, **chosen), case.loss(*arrays, **given))
            equal(
                loss.value_and_grad(*arrays, **chosen),
                anyloss.value_and_grad(case.loss)(*arrays, **given),
            )
            equal(
                anyloss.value_and_grad(loss, case.argnums)(*arrays, **chosen),
                anyloss.value_and_grad(case.loss, case.argnums)(*arrays, **given),
            )
            equal(loss.grad(*arrays, **chosen), anyloss.grad(case.loss)(*arrays, **given))
            equal(
                loss.grad_and_hess(*arrays, **chosen),
                anyloss.grad_and_hess(case.loss)(*arrays, **given),
            )
        by_seven = CLASS_OF[case.loss](**options)(*arrays, denominator=7)
        equal(by_seven, case.loss(*arrays, **options, denominator=7))

    @on("logits", [True, False])
    def test_binary_cross_entropy_of_either_kind(self, logits: bool) -> None:
        function: Any = (
            tinyloss.binary_cross_entropy_with_logits if logits else tinyloss.binary_cross_entropy
        )
        loss = tinyloss.BinaryCrossEntropyLoss(from_logits=logits)
        x = np.array([0.2, 0.9, 0.5])
        equal(loss(x, Y), function(x, Y))
        equal(loss.value_and_grad(x, Y), anyloss.value_and_grad(function)(x, Y))

    @every_class
    def test_parameters_and_defaults_are_the_functions(self, cls: Any) -> None:
        call_time = {"weight", "where", "denominator"}
        of_function = {
            name: each.default
            for name, each in inspect.signature(CLASSES[cls]).parameters.items()
            if each.kind is each.KEYWORD_ONLY and name not in call_time
        }
        parameters = inspect.signature(cls).parameters
        assert {name: each.default for name, each in parameters.items()} == of_function
        assert all(each.kind is each.KEYWORD_ONLY for each in parameters.values())

    @every_class
    def test_call_has_the_functions_arrays(self, cls: Any) -> None:
        of_function = inspect.signature(CLASSES[cls]).parameters
        own = {field.name for field in fields(cls)}
        expected = [name for name in of_function if name not in own]
        assert sorted(inspect.signature(cls()).parameters) == sorted(expected)

    @every_class
    def test_parameters_are_given_by_name(self, cls: Any) -> None:
        with pytest.raises(TypeError, match="positional argument"):
            cls(1.0)
        with pytest.raises(TypeError, match="unexpected keyword argument 'nosuch'"):
            cls(nosuch=1)

    @every_class
    def test_has_documentation(self, cls: Any) -> None:
        assert f"tinyloss.{CLASSES[cls].__name__}" in cls.__doc__
        text = pydoc.plain(pydoc.render_doc(cls))
        for field in fields(cls):
            assert field.name in text

    @every_object
    def test_repr_is_source_text(self, loss: Any) -> None:
        again = eval(repr(loss), dict(vars(tinyloss)))
        assert again == loss
        assert repr(again) == repr(loss)

    @on(
        "loss,text",
        [
            (tinyloss.MSELoss(), "MSELoss()"),
            (tinyloss.MeanSquaredError(), "MeanSquaredError()"),
            (tinyloss.HuberLoss(delta=2.0), "HuberLoss(delta=2.0)"),
            (tinyloss.HuberLoss(delta=1.0), "HuberLoss()"),
            (
                tinyloss.CrossEntropyLoss(class_weight=np.array([1, 2.5]), ignore_index=-100),
                "CrossEntropyLoss(class_weight=(1.0, 2.5), ignore_index=-100)",
            ),
            (
                0.5 * tinyloss.MSELoss() + tinyloss.HuberLoss(delta=2.0),
                "0.5 * MSELoss() + HuberLoss(delta=2.0)",
            ),
        ],
    )
    def test_repr(self, loss: Any, text: str) -> None:
        assert repr(loss) == text

    @every_object
    def test_copies_are_equal(self, loss: Any) -> None:
        copies = [copy.copy(loss), copy.deepcopy(loss)]
        copies += [
            pickle.loads(pickle.dumps(loss, protocol))
            for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)
        ]
        for each in copies:
            assert each == loss
            assert type(each) is type(loss)
            assert hash(each) == hash(loss)
            assert repr(each) == repr(loss)

    def test_copies_answer_alike(self) -> None:
        losses: list[Any] = [
            tinyloss.HuberLoss(delta=0.3),
            tinyloss.BinaryCrossEntropyLoss(),
            tinyloss.MSELoss() + 2 * tinyloss.MAELoss(),
        ]
        for loss in losses:
            for each in (copy.copy(loss), copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
                equal(each.value_and_grad(X, Y), loss.value_and_grad(X, Y))

    def test_equality_is_that_of_class_and_parameters(self) -> None:
        different = list(OBJECTS)
        for n, one in enumerate(different):
            for other in different[:n]:
                assert (one == other) == (repr(one) == repr(other))
        assert tinyloss.HuberLoss(delta=1) == tinyloss.HuberLoss(delta=np.float64(1))
        assert tinyloss.MSELoss() != tinyloss.MeanSquaredError()
        assert anyloss.MSELoss() != tinyloss.mse
        assert len({tinyloss.HuberLoss(), tinyloss.HuberLoss(delta=1.0)}) == 1

    @every_object
    def test_cannot_be_changed(self, loss: Any) -> None:
        for field in fields(loss):
            with pytest.raises(FrozenInstanceError):
                setattr(loss, field.name, None)
            with pytest.raises(FrozenInstanceError):
                delattr(loss, field.name)
        with pytest.raises(FrozenInstanceError):
            loss.nosuch = 1

    @on("dtype", ["float64", "float32", "int64"])
    def test_arrays_become_tuples(self, dtype: str) -> None:
        array = np.array([1, 2, 3], dtype=dtype)
        loss = tinyloss.CrossEntropyLoss(class_weight=array)
        assert loss.class_weight == (1, 2, 3)
        assert isinstance(loss.class_weight, tuple)
        before = loss(LOGITS, LABELS)
        array[:] = 0
        equal(loss(LOGITS, LABELS), before)
        assert tinyloss.CrossEntropyLoss(class_weight=[1, 2, 3]) == loss
        nested = tinyloss.BCEWithLogitsLoss(pos_weight=np.array([[1.0], [2.0]]))
        assert nested.pos_weight == ((1.0,), (2.0,))
        assert tinyloss.BCEWithLogitsLoss(pos_weight=np.array(2.0)).pos_weight == 2.0

    def test_class_weight_of_a_torch_tensor_becomes_a_tuple(self, torch: Any) -> None:
        loss = tinyloss.CrossEntropyLoss(class_weight=torch.asarray([1.0, 2.0, 3.0]))
        assert loss == tinyloss.CrossEntropyLoss(class_weight=[1.0, 2.0, 3.0])

    @on(
        "cls,name,value,error",
        [
            (tinyloss.CrossEntropyLoss, "class_weight", "abc", TypeError),
            (tinyloss.CrossEntropyLoss, "class_weight", ["a"], TypeError),
            (tinyloss.BCEWithLogitsLoss, "pos_weight", "abc", TypeError),
            (tinyloss.CrossEntropyLoss, "axis", "a", TypeError),
            (tinyloss.KLDivLoss, "axis", 1.0, TypeError),
            (tinyloss.SoftmaxFocalLoss, "axis", True, TypeError),
            (tinyloss.NLLLoss, "ignore_index", 0.5, TypeError),
            (tinyloss.HuberLoss, "delta", -1, ValueError),
            (tinyloss.HuberLoss, "delta", "1", TypeError),
            (tinyloss.QuantileLoss, "q", 1.5, ValueError),
            (tinyloss.SmoothL1Loss, "beta", -1.0, ValueError),
            (tinyloss.MAPELoss, "eps", 0, ValueError),
            (tinyloss.GaussianNLLLoss, "eps", 0, ValueError),
            (tinyloss.GaussianNLLLoss, "full", 1, TypeError),
            (tinyloss.PoissonNLLLoss, "log_input", 1, TypeError),
            (tinyloss.BCELoss, "eps", 0.7, ValueError),
            (tinyloss.CrossEntropyLoss, "label_smoothing", 2, ValueError),
            (tinyloss.SigmoidFocalLoss, "alpha", -0.1, ValueError),
            (tinyloss.SoftmaxFocalLoss, "gamma", -1, ValueError),
            (tinyloss.KLDivLoss, "log_target", "yes", TypeError),
            (tinyloss.BinaryCrossEntropyLoss, "from_logits", 1, TypeError),
        ],
    )
    def test_bad_parameters_raise_at_construction(
        self, cls: Any, name: str, value: Any, error: type[Exception]
    ) -> None:
        with pytest.raises(error, match=rf"^tinyloss\.\w+: {name} .*expected"):
            cls(**{name: value})

    @every_class
    @on("reduction", ["avg", None, 1, ["mean"]])
    def test_bad_reduction_raises_at_construction(self, cls: Any, reduction: Any) -> None:
        with pytest.raises(ValueError, match=rf"^tinyloss\.{cls.__name__}: reduction is "):
            cls(reduction=reduction)


class TestSums:
    A, B = tinyloss.MSELoss(), tinyloss.HuberLoss(delta=0.5)

    def parts(self, loss: Any) -> tuple[Any, ...]:
        weight, where = np.array([1.0, 2.0, 0.5]), np.array([True, True, False])
        chosen: dict[str, Any] = {"weight": weight, "where": where}
        value, grads = anyloss.value_and_grad(loss, (0, 1))(X, Y, **chosen)
        return (
            loss(X, Y),
            loss(X, Y, **chosen),
            loss(X, Y, denominator=5),
            value,
            *grads,
            loss.grad(X, Y, **chosen),
            *loss.value_and_grad(X, Y, **chosen),
            *loss.grad_and_hess(X, Y, **chosen),
        )

    @on(
        "combine",
        [
            lambda a, b: a + b,
            lambda a, b: a - b,
            lambda a, b: 0.25 * a + b,
            lambda a, b: a + b * 3,
            lambda a, b: a / 4 - b / 3,
            lambda a, b: -a + b,
            lambda a, b: -(a - 2 * b),
            lambda a, b: 2 * (a + b) + (a - b) / 2,
            lambda a, b: 0 * a + b,
            lambda a, b: a + a + b,
        ],
    )
    def test_sums_are_the_sums_of_all_parts(self, combine: Callable[..., Any]) -> None:
        loss = combine(self.A, self.B)
        parts = zip(self.parts(self.A), self.parts(self.B), strict=True)
        for actual, (a, b) in zip(self.parts(loss), parts, strict=True):
            scale = np.max(np.abs(a)) + np.max(np.abs(b))
            atol = 16 * np.finfo(np.float64).eps * scale
            np.testing.assert_allclose(actual, combine(a, b), rtol=0, atol=atol)

    def test_sum_of_row_losses(self) -> None:
        loss: Any = tinyloss.CrossEntropyLoss() + 0.5 * tinyloss.SoftmaxFocalLoss(gamma=1.0)
        value, grad = loss.value_and_grad(LOGITS, LABELS)
        a = anyloss.value_and_grad(tinyloss.cross_entropy)(LOGITS, LABELS)
        b = anyloss.value_and_grad(tinyloss.softmax_focal)(LOGITS, LABELS, gamma=1.0)
        close(value, a[0] + 0.5 * b[0])
        close(grad, a[1] + 0.5 * b[1])

    def test_sum_with_a_variance(self) -> None:
        loss: Any = 2 * tinyloss.GaussianNLLLoss()
        var = np.array([0.5, 1.0, 2.0])
        close(loss(X, Y, var), 2 * tinyloss.gaussian_nll(X, Y, var))
        by_var = anyloss.grad(tinyloss.gaussian_nll, 2)(X, Y, var)
        close(anyloss.grad(loss, 2)(X, Y, var), 2 * by_var)

    def test_half_precision_stays(self) -> None:
        loss: Any = self.A + 0.5 * self.B
        value, grad = loss.value_and_grad(X.astype(np.float16), Y.astype(np.float16))
        assert value.dtype == np.float32
        assert grad.dtype == np.float16

    @on("other", [1, 0.0, 2.0, "a", None, tinyloss.mse, np.ones(2)], ids=repr)
    def test_only_losses_are_added(self, other: Any) -> None:
        with pytest.raises(TypeError):
            _ = self.A + other
        with pytest.raises(TypeError):
            _ = other + self.A
        with pytest.raises(TypeError):
            _ = self.A - other

    @on("factor", ["a", None, [1.0], tinyloss.MSELoss(), True, 1j], ids=repr)
    def test_factors_are_numbers(self, factor: Any) -> None:
        with pytest.raises(TypeError):
            _ = self.A * factor
        with pytest.raises(TypeError):
            _ = factor * self.A
        with pytest.raises(TypeError):
            _ = self.A / factor

    @on("factor", [float("nan"), float("inf")])
    def test_factors_are_finite(self, factor: float) -> None:
        with pytest.raises(ValueError, match=r"^tinyloss\.MSELoss: factor is "):
            _ = self.A * factor
        with pytest.raises(ValueError, match=r"^tinyloss\.MSELoss: divisor is "):
            _ = self.A / factor

    def test_division_by_0_is_refused(self) -> None:
        with pytest.raises((ZeroDivisionError, ValueError)):
            _ = self.A / 0

    def test_operands_stay_as_they_were(self) -> None:
        before = repr(self.A), repr(self.B)
        _ = -(2 * self.A + self.B) / 3 - self.A
        assert (repr(self.A), repr(self.B)) == before


class TestFunctions:
    @on("function", [*FUNCTIONS.values(), *ACTIVATIONS], ids=lambda f: f.__name__)
    def test_pickles_and_copies_to_itself(self, function: Any) -> None:
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
            assert pickle.loads(pickle.dumps(function, protocol)) is function
        assert copy.copy(function) is function
        assert copy.deepcopy(function) is function
        assert copy.deepcopy({"loss": [function]})["loss"][0] is function
        assert hash(function) == hash(copy.copy(function))

    @on("function", [*FUNCTIONS.values(), *ACTIVATIONS], ids=lambda f: f.__name__)
    def test_help_shows_name_signature_and_documentation(self, function: Any) -> None:
        text = pydoc.plain(pydoc.render_doc(function))
        assert re.search(rf"^{function.__name__}\(\s*x: ", text, re.MULTILINE)
        for name in inspect.signature(function).parameters:
            assert re.search(rf"\b{name}\b", text)
        assert function.__doc__.splitlines()[0] in text

    @on("function", FUNCTIONS.values(), ids=list(FUNCTIONS))
    def test_every_loss_has_the_four_options(self, function: Any) -> None:
        parameters = inspect.signature(function).parameters
        defaults = {"weight": None, "where": None, "reduction": "mean", "denominator": None}
        for name, default in defaults.items():
            assert parameters[name].default == default
            assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
        assert list(parameters)[:2] == ["x", "y"]
        assert function.__module__ == "tinyloss"
        assert repr(function) == f"<function tinyloss.{function.__name__}>"


class TestThreads:
    def test_threads_get_the_same_answers(self) -> None:
        asked: list[Any] = []
        for case in CASES:
            arrays, options = in_doubles(case)
            both = anyloss.value_and_grad(case.loss, case.argnums)
            asked.append(lambda f=both, a=arrays, o=options: f(*a, **o))
        expected = [ask() for ask in asked]
        start = threading.Barrier(8)

        def work(seed: int) -> None:
            order = np.random.default_rng(seed).permutation(len(asked))
            start.wait()
            for n in [*order, *order]:
                equal(asked[n](), expected[n])

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))

    def test_validation_is_per_thread(self) -> None:
        x, y = np.zeros((1, 3)), np.array([3])
        inside, done = threading.Event(), threading.Event()

        def unchecked() -> float:
            with tinyloss.validation("never"):
                inside.set()
                assert done.wait(30)
                return float(tinyloss.cross_entropy(x, y))

        def checked() -> None:
            assert inside.wait(30)
            try:
                with pytest.raises(ValueError, match="is 3"):
                    tinyloss.cross_entropy(x, y)
            finally:
                done.set()

        with ThreadPoolExecutor(2) as pool:
            value, other = pool.submit(unchecked), pool.submit(checked)
            other.result()
            assert np.isnan(value.result())

    def test_validation_is_of_the_context(self) -> None:
        x, y = np.zeros((1, 3)), np.array([3])
        with tinyloss.validation("never"):
            context = copy_context()
        assert np.isnan(context.run(tinyloss.cross_entropy, x, y))
        with pytest.raises(ValueError, match="is 3"):
            tinyloss.cross_entropy(x, y)
