"""Classes of losses: their functions configured once; printed, compared, copied, checked."""

import copy
import inspect
import pickle
import pydoc
from dataclasses import FrozenInstanceError, fields
from typing import Any

import numpy as np
import pytest

import tinyloss
from tests.support.cases import CASES, Case, every_case, in_doubles
from tests.support.compare import equal
from tests.support.specs import CLASSES, IMAGES, LISTS, LOSSES, PAIRS, PRODUCTS, SEQUENCES

# For losses chosen at run time, whose parameters no type checker can follow.
anyloss: Any = tinyloss

on = pytest.mark.parametrize

CLASS_OF = {function: cls for cls, function in reversed(CLASSES.items())}

# Every class as it is by default, and with every parameter that a case sets.
OBJECTS: list[Any] = [
    *(cls() for cls in CLASSES),
    # a mask is an array of the call
    *(CLASS_OF[c.loss](**c.options) for c in CASES if c.options and "mask" not in c.options),
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


def test_every_loss_has_a_class() -> None:
    expected = {*LOSSES, *IMAGES, *LISTS, *PAIRS, *SEQUENCES, *PRODUCTS} - {
        "linear_logprobs",
        "linear_entropy",
        "sequence_logprob",
    }
    assert set(CLASSES.values()) == {getattr(tinyloss, name) for name in expected}
    extra = {tinyloss.BinaryCrossEntropyLoss, tinyloss.WeightedSum, tinyloss.PartialMean}
    extra |= {tinyloss.LossScaler, tinyloss.Memory, tinyloss.Traits}
    public = {getattr(tinyloss, name) for name in vars(tinyloss)["__all__"]}
    assert {each for each in public if inspect.isclass(each)} == {*CLASSES, *extra}


@every_case
def test_object_equals_its_function(case: Case) -> None:
    arrays, options = in_doubles(case)
    rng = np.random.default_rng(0)
    chosen: dict[str, Any] = {"weight": rng.uniform(0.5, 2, case.items)}
    chosen["where"] = chosen["weight"] > 0.7
    chosen |= {name: options.pop(name) for name in ("mask",) if name in options}
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
def test_binary_cross_entropy_of_either_kind(logits: bool) -> None:
    function: Any = (
        tinyloss.binary_cross_entropy_with_logits if logits else tinyloss.binary_cross_entropy
    )
    loss = tinyloss.BinaryCrossEntropyLoss(from_logits=logits)
    x = np.array([0.2, 0.9, 0.5])
    equal(loss(x, Y), function(x, Y))
    equal(loss.value_and_grad(x, Y), anyloss.value_and_grad(function)(x, Y))


@every_class
def test_parameters_and_defaults_are_the_functions(cls: Any) -> None:
    call_time = {"weight", "where", "denominator", "labels", "labels_b", "mask", "member_weight"}
    call_time |= {"segments", "label_lengths", "label_mask", "logit_lengths", "logit_mask"}
    of_function = {
        name: each.default
        for name, each in inspect.signature(CLASSES[cls]).parameters.items()
        if each.kind is each.KEYWORD_ONLY and name not in call_time
    }
    if cls is tinyloss.LinearCrossEntropyLoss:  # an array of the model's
        del of_function["bias"]
    parameters = inspect.signature(cls).parameters
    assert {name: each.default for name, each in parameters.items()} == of_function
    assert all(each.kind is each.KEYWORD_ONLY for each in parameters.values())


@every_class
def test_call_has_the_functions_arrays(cls: Any) -> None:
    of_function = inspect.signature(CLASSES[cls]).parameters
    own = {field.name for field in fields(cls)}
    expected = [name for name in of_function if name not in own]
    assert sorted(inspect.signature(cls()).parameters) == sorted(expected)


@every_class
def test_parameters_are_given_by_name(cls: Any) -> None:
    with pytest.raises(TypeError, match="positional argument"):
        cls(1.0)
    with pytest.raises(TypeError, match="unexpected keyword argument 'nosuch'"):
        cls(nosuch=1)


@every_class
def test_has_documentation(cls: Any) -> None:
    assert f"tinyloss.{CLASSES[cls].__name__}" in cls.__doc__
    text = pydoc.plain(pydoc.render_doc(cls))
    for field in fields(cls):
        assert field.name in text


@every_object
def test_repr_is_source_text(loss: Any) -> None:
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
def test_repr(loss: Any, text: str) -> None:
    assert repr(loss) == text


@every_object
def test_copies_are_equal(loss: Any) -> None:
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


def test_copies_answer_alike() -> None:
    losses: list[Any] = [
        tinyloss.HuberLoss(delta=0.3),
        tinyloss.BinaryCrossEntropyLoss(),
        tinyloss.MSELoss() + 2 * tinyloss.MAELoss(),
    ]
    for loss in losses:
        for each in (copy.copy(loss), copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
            equal(each.value_and_grad(X, Y), loss.value_and_grad(X, Y))


def test_equality_is_that_of_class_and_parameters() -> None:
    different = list(OBJECTS)
    for n, one in enumerate(different):
        for other in different[:n]:
            assert (one == other) == (repr(one) == repr(other))
    assert tinyloss.HuberLoss(delta=1) == tinyloss.HuberLoss(delta=np.float64(1))
    assert tinyloss.MSELoss() != tinyloss.MeanSquaredError()
    assert anyloss.MSELoss() != tinyloss.mse
    assert len({tinyloss.HuberLoss(), tinyloss.HuberLoss(delta=1.0)}) == 1


@every_object
def test_cannot_be_changed(loss: Any) -> None:
    for field in fields(loss):
        with pytest.raises(FrozenInstanceError):
            setattr(loss, field.name, None)
        with pytest.raises(FrozenInstanceError):
            delattr(loss, field.name)
    with pytest.raises(FrozenInstanceError):
        loss.nosuch = 1


@on("dtype", ["float64", "float32", "int64"])
def test_arrays_become_tuples(dtype: str) -> None:
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


def test_class_weight_of_a_torch_tensor_becomes_a_tuple(torch: Any) -> None:
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
    cls: Any, name: str, value: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match=rf"^tinyloss\.\w+: {name} .*expected"):
        cls(**{name: value})


@on("cls", [each for each in CLASSES if "reduction" in inspect.signature(each).parameters])
@on("reduction", ["avg", None, 1, ["mean"]])
def test_bad_reduction_raises_at_construction(cls: Any, reduction: Any) -> None:
    with pytest.raises(ValueError, match=rf"^tinyloss\.{cls.__name__}: reduction is "):
        cls(reduction=reduction)
