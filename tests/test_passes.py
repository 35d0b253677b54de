"""A program split into passes over a row: what each computes, what is kept, how its lines read."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.support.formulas import STRAIGHT, arguments
from tinyloss._formula import Formula, Role
from tinyloss.compiler.evaluation import run
from tinyloss.compiler.passes import Passes, kind_of, stage
from tinyloss.compiler.program import Graph, Node, Program
from tinyloss.compiler.recorder import record
from tinyloss.losses.binary import BCEWithLogits
from tinyloss.losses.multiclass import _NLL, LabelCrossEntropy
from tinyloss.losses.regression import _MSE

EPS = 2.0**-52
ROWS = Role(per_class=True)
LABELS = {"x": ROWS, "y": Role(integer=True)}
ELEMENTS = {"x": Role(), "y": Role()}


def staged(
    formula: type[Formula], inputs: Mapping[str, Role], *answers: str, **params: Any
) -> Passes:
    def every(**arrays: Any) -> tuple[Any, ...]:
        formulas = formula(**arrays, **params)
        return tuple([getattr(formulas, answer)() for answer in answers])

    return stage(record(every, inputs, dtype="float64"))


def operations(nodes: list[Node]) -> list[str]:
    return [node.op for node in nodes]


# ------------------------------------------------------------------------- what each pass computes


def test_cross_entropy_is_maximum_then_sum_then_gradient() -> None:
    first, second, third = staged(LabelCrossEntropy, LABELS, "value", "grad_x").passes
    assert operations(first.reductions) == ["max"]
    assert operations(first.elements) == ["input"]
    assert operations(second.reductions) == ["sum"]
    assert operations(third.reductions) == []


def test_exponential_is_kept_and_not_computed_again() -> None:
    _, second, third = staged(LabelCrossEntropy, LABELS, "value", "grad_x").passes
    assert operations(second.elements).count("exp") == 1
    (kept,) = second.keep
    assert "exp" in operations(Program(Graph("float32"), {}, (kept,)).nodes())
    assert third.read == second.keep
    assert not {"exp", "input"} & set(operations(third.elements))


def test_what_costs_little_is_computed_again() -> None:
    """Reading x - y back would cost as much as computing it from x and y, which are at hand."""

    def twice(x: Any, y: Any) -> Any:
        xp = x.__array_namespace__()
        return (x - y) / xp.sum(x - y, axis=-1, keepdims=True)

    first, second = stage(record(twice, {"x": ROWS, "y": ROWS})).passes
    assert first.keep == []
    assert "subtract" in operations(first.elements)
    assert "subtract" in operations(second.elements)


def test_logit_of_the_target_is_picked_and_not_summed() -> None:
    passes = staged(LabelCrossEntropy, LABELS, "value", "grad_x")
    ((value, index),) = passes.gathers.values()
    assert (value.constant, index.constant) == ("x", "y")
    reductions = [node for step in passes.passes for node in step.reductions]
    assert not set(passes.gathers) & set(map(id, reductions))


def test_value_of_nll_needs_no_pass_over_the_classes() -> None:
    passes = staged(_NLL, LABELS, "value")
    assert passes.passes == []
    assert len(passes.gathers) == 1


def test_elementwise_loss_has_no_pass() -> None:
    for formula in (_MSE, BCEWithLogits):
        passes = staged(formula, ELEMENTS, "value", "grad_x")
        assert passes.passes == []
        assert passes.uniform == []
        assert {id(node) for node in passes.program.outputs} <= {id(n) for n in passes.final}


def test_outputs_of_each_class_are_computed_in_the_last_pass() -> None:
    """So that they may be written over the inputs: all passes before have read these."""
    passes = staged(LabelCrossEntropy, LABELS, "value", "grad_x", "curvature")
    value, *per_class = passes.program.outputs
    last = passes.passes[-1]
    assert {id(node) for node in per_class} <= {id(n) for n in (*last.elements, *last.read)}
    assert value in [node for step in passes.passes for node in step.scalars] + passes.final


def test_number_of_all_items_is_computed_once() -> None:
    inputs = {**ELEMENTS, "divisor": Role(per_item=False)}
    passes = stage(record(lambda x, y, divisor: (x - y) * (1 / divisor), inputs))
    assert operations(passes.uniform) == ["input", "divide"]
    assert operations(passes.final) == ["input", "input", "subtract", "multiply"]


# ----------------------------------------------------------------------------------------- the text


def line(function: Callable[..., Any], inputs: Mapping[str, Role] = ELEMENTS) -> str:
    """Return the text of the last operation of a function."""
    passes = stage(record(function, inputs))
    return passes.text(passes.program.outputs[0])


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda x, y: x - y, "x_0 - y_1"),
        (lambda x, y: x * y, "x_0 * y_1"),
        (lambda x, y: x / y, "x_0 / y_1"),
        (lambda x, y: -x, "-x_0"),
        (lambda x, y: x <= y, "x_0 <= y_1"),
        (lambda x, y: x**2, "x_0 * x_0"),
        (lambda x, y: x**-1, "real(1.0) / x_0"),
        (lambda x, y: x**2.5, "pow(x_0, real(2.5))"),
        (lambda x, y: x * 0.1, "x_0 * real(0.1)"),
        (lambda x, y: x * 1e-30, "x_0 * real(1e-30)"),
        (lambda x, y: 3 - x, "real(3.0) - x_0"),
        (lambda x, y: x + -0.5, "x_0 + real(-0.5)"),
        (lambda x, y: x < float("inf"), "x_0 < inf"),
        (lambda x, y: x > float("-inf"), "x_0 > -inf"),
        (lambda x, y: x.__array_namespace__().where(x > y, x, float("nan")), "where(t2, x_0, nan)"),
        (lambda x, y: x.__array_namespace__().maximum(x, y), "maximum(x_0, y_1)"),
        (lambda x, y: (x > 0) & (y > 0), "logical_and(t3, t5)"),
    ],
)
def test_line_reads_as_the_formula(function: Callable[..., Any], text: str) -> None:
    # numbers of names go by the order of the program, which is not this test's matter
    named = re.sub(r"\bt\d+", "t", line(function))
    assert named == re.sub(r"\bt\d+", "t", text)


def test_indices_stay_integers_among_themselves() -> None:
    def target(x: Any, y: Any) -> Any:
        xp = x.__array_namespace__()
        return y[..., None] == xp.arange(x.shape[-1])

    def shifted(x: Any, y: Any) -> Any:
        return x.__array_namespace__().where(y > 2, y, 0)

    assert line(target, LABELS) == "y_1 == class_index"
    assert line(shifted, LABELS).endswith(", y_1, index(0))")
    assert line(lambda x, y: x + y[..., None], LABELS) == "x_0 + real(y_1)"


def test_names_say_what_they_stand_for() -> None:
    passes = staged(LabelCrossEntropy, LABELS, "value", "grad_x")
    (maximum,), (total,) = (step.reductions for step in passes.passes[:2])
    assert re.fullmatch(r"max_\d+", passes.name(maximum))
    assert re.fullmatch(r"sum_\d+", passes.name(total))
    names = list(passes.names.values())
    assert {"x_0", "y_1", "class_index"} <= set(names)
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"x_0|y_1|class_index|(t|max_|sum_)\d+", name) for name in names)


def test_same_program_has_the_same_text_each_time() -> None:
    """Kernels are kept by their text."""

    def text() -> list[str]:
        passes = staged(LabelCrossEntropy, LABELS, "value", "grad_x")
        return [
            f"{passes.name(n)} = {passes.text(n)}"
            for step in passes.passes
            for n in (*step.scalars, *step.elements)
            if n.op not in ("input", "class_index") and id(n) not in passes.gathers
        ]

    assert text() == text()


# ------------------------------------------------------------------------------------ every formula


class Interpreter:
    """Runs a staged program as its loops would: a name is there only once it is computed."""

    words: Mapping[str, Any] = {
        **{
            name: getattr(np, name)
            for name in """abs cos cosh exp expm1 isfinite isinf isnan log log1p logical_and
            logical_not logical_or maximum minimum pow sin sinh sqrt tanh where""".split()
        },
        "real": np.float64,
        "index": np.int64,
        "inf": np.inf,
        "nan": np.nan,
    }

    def __init__(self, passes: Passes, arrays: Mapping[str, Any]) -> None:
        self.passes, self.arrays = passes, arrays
        self.kept: dict[str, Any] = {}
        self.scalars: dict[str, Any] = {}

    def run(self) -> list[npt.NDArray[Any]]:
        classes: dict[str, Any] = {}
        self.compute(self.passes.uniform, self.scalars, {})
        for step in self.passes.passes:
            self.compute(step.scalars, self.scalars, {})
            classes = {self.name(node): self.kept[self.name(node)] for node in step.read}
            self.compute(step.elements, classes, self.scalars)
            for node in step.keep:
                self.kept[self.name(node)] = classes[self.name(node)]
            for node in step.reductions:
                each = self.result(node.args[0], {**self.scalars, **classes})
                shape = self.arrays["x"].shape
                reduced = getattr(np, node.op)(np.broadcast_to(each, shape), axis=-1, keepdims=True)
                self.scalars[self.name(node)] = reduced
        self.compute(self.passes.final, self.scalars, {})
        return [
            self.result(node, classes if node.per_class else self.scalars)
            for node in self.passes.program.outputs
        ]

    def name(self, node: Node) -> str:
        return self.passes.name(node)

    def result(self, node: Node, names: Mapping[str, Any]) -> Any:
        return eval(self.name(node), dict(self.words), dict(names))

    def compute(self, nodes: list[Node], new: dict[str, Any], known: Mapping[str, Any]) -> None:
        for node in nodes:
            assert self.name(node) not in new, "computed twice"
            if node.op == "input":
                array = self.arrays[node.constant]
                rows = self.passes.program.inputs["x"].per_class
                value = array if node.per_class or not rows else array[..., None]
            elif node.op == "class_index":
                value = np.arange(self.arrays["x"].shape[-1])
            elif id(node) in self.passes.gathers:
                picked, index = self.passes.gathers[id(node)]
                at = new[self.name(index)]
                value = np.take_along_axis(self.arrays[picked.constant], at, axis=-1)
            else:
                value = eval(self.passes.text(node), dict(self.words), {**known, **new})
            kinds = {"bool": np.bool_, "index": np.integer, "real": np.floating}
            assert np.issubdtype(np.asarray(value).dtype, kinds[kind_of(node)])
            new[self.name(node)] = value


@pytest.mark.parametrize(("formula", "params"), STRAIGHT)
def test_passes_of_every_formula_compute_what_the_program_does(
    formula: type[Formula], params: dict[str, Any]
) -> None:
    inputs, arrays = arguments(formula)
    if formula.rowwise and not inputs["y"].per_class:
        inputs["y"] = Role(integer=True)
    wanted = ["value", "grad_x", "grad_y", "grad_var", "curvature"]
    answers = [each for each in wanted if hasattr(formula, each)]
    passes = staged(formula, inputs, *answers, **params)
    results = Interpreter(passes, arrays).run()
    for result, expected in zip(results, run(passes.program, np, arrays), strict=True):
        shape = expected.shape if expected.ndim == 2 else (*expected.shape, 1)
        # the same operations on the same numbers; a square may be a power there
        np.testing.assert_allclose(
            np.broadcast_to(result, shape), expected.reshape(shape), rtol=EPS, atol=0
        )
