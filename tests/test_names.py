"""Names and numbers of a formula in compiled text: they meet none of the kernel's own."""

import builtins
import enum
import inspect
import keyword
import random
import re
import shutil
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("llvmlite")

import tinyloss
import tinyloss_numpy
from tests.support.emulation import emulated_cupy
from tinyloss._engine.request import Request
from tinyloss._formula import Formula, Role
from tinyloss._function import LossFunction
from tinyloss.compiler.passes import spelled, stage
from tinyloss.compiler.recorder import record
from tinyloss_numpy import _blocks

Array = npt.NDArray[Any]

# Variables and functions of the kernels' own, what these make of an input's name, words of Python,
# C and CUDA, and names that only look like a number of an input or a node.
OWN = """i n c l j group chunk count outer begin first last table work scratch scratch_size
classes inner length chunks partial_sums total_sums value_lanes first_class lane_number
class_index value curvature grad_x kernel real index inf nan where maximum minimum raised abs exp
log1p pow select wide label entry number offset_of fold_row add_row LANES SIZE store_total load_x
store_x x_start x_item x_class x_chunk x_row x_block x_packed x_scratch x_packed_scratch x_each
x_array x_run x_packets t3 t10 t20 t30 max_4 sum_10 x_0 y_1 x_1 load_x_0 grad_x_0 x_0_start range
min max table_0 tile row me head lanes lane k spot turn exchange total Sum Packet Table KEEP TEAM
THREADS divisor divisor_number weight threadIdx blockIdx int float double bool auto register
template union unsigned const volatile this new delete M_PI __LINE__ __cplusplus linux unix
INFINITY
_ __ _1 print str id""".split()
OTHER = ["ŷ", "π", "Σ", "变量", "µ", "x̂", "ſ", "İ"]


CLASSES = {"elements": 5, "tiles": 5, "rows": 283}


def numbered(k: int, classes: int) -> Array:
    return np.random.default_rng(k).uniform(-1, 1, (7, classes)).astype("f")


def formula_of(names: list[str], in_rows: bool) -> LossFunction[...]:
    """Return a loss of further arrays of these names: the sum of their products with 1, 2, 3..."""

    class Named(Formula):
        name = "named"
        rowwise = in_rows

        def __init__(self, x: Any, y: Any, **arrays: Any) -> None:
            self.x, self.y, self.arrays = x, y, arrays

        def value(self) -> Any:
            xp = tinyloss.namespace(self.x)
            total = self.x * self.y
            for k, name in enumerate(names):
                total = total + (k + 1) * self.arrays[name]
            if not in_rows:
                return total
            top = xp.max(total, axis=-1, keepdims=True)
            return (xp.sum(total * total, axis=-1, keepdims=True) + top)[..., 0]

        def grad_x(self) -> Any:
            return self.y * 2.0

    def named(x: Any, y: Any, **arrays: Any) -> Request:
        return Request(Named, x, y, reduction=arrays.pop("reduction", "none"), arrays=arrays)

    arguments = ["x", "y", "reduction", *names]
    by_name = inspect.Parameter.POSITIONAL_OR_KEYWORD
    signature = inspect.Signature([inspect.Parameter(each, by_name) for each in arguments])
    named.__signature__ = signature  # type: ignore[attr-defined]
    return LossFunction(named)


def expected(x: Array, y: Array, arrays: Mapping[str, Array], in_rows: bool) -> Array:
    total = x.astype("d") * y
    for k, array in enumerate(arrays.values()):
        total = total + (k + 1) * array.astype("d")
    if not in_rows:
        return total
    answer: Array = (total * total).sum(-1) + total.max(-1)
    return answer


def inputs_named(names: list[str], loop: str) -> tuple[Array, Array, dict[str, Array]]:
    x, y, *further = (numbered(k, CLASSES[loop]) for k in range(len(names) + 2))
    return x, y, dict(zip(names, further, strict=True))


def check(names: list[str], loop: str, asarray: Any, asnumpy: Any) -> None:
    in_rows = loop != "elements"
    x, y, arrays = inputs_named(names, loop)
    own = {name: asarray(array) for name, array in arrays.items()}
    got = asnumpy(formula_of(names, in_rows)(asarray(x), asarray(y), **own))
    want = expected(x, y, arrays, in_rows)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-4 * np.abs(want).max())


@pytest.fixture
def only_compiled(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def refuse(job: Any) -> Any:
        raise AssertionError("was not compiled")

    monkeypatch.setattr(_blocks, "run", refuse)
    with tinyloss_numpy.compilation("always"):
        yield


@pytest.mark.long
@pytest.mark.usefixtures("only_compiled")
@pytest.mark.parametrize(
    ("loop", "names"),
    [("elements", "i count group chunk"), ("tiles", "i c real table"), ("rows", "n l j work")],
)
def test_arrays_named_as_a_loops_variables_are_compiled(loop: str, names: str) -> None:
    check(names.split(), loop, np.asarray, np.asarray)


@pytest.mark.slow
@pytest.mark.usefixtures("only_compiled")
@pytest.mark.parametrize("loop", CLASSES)
def test_arrays_of_any_name_are_compiled(loop: str) -> None:
    for start in range(0, len(OWN + OTHER), 4):
        check((OWN + OTHER)[start : start + 4], loop, np.asarray, np.asarray)


@pytest.mark.long
@pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is needed to emulate a GPU")
@pytest.mark.parametrize("loop", ["elements", "rows"])
def test_arrays_of_any_name_are_compiled_for_cuda(loop: str) -> None:
    with emulated_cupy() as cupy:
        for start in range(0, len(OWN + OTHER), 20):
            check((OWN + OTHER)[start : start + 20], loop, cupy.asarray, cupy.asnumpy)


# ------------------------------------------------------------------------------------- the property

SPELLED = re.compile(r"[a-z][a-z0-9]*(_[a-z][a-z0-9]*)*_\d+")


def identifiers(seed: int) -> list[str]:
    """Return Python identifiers: words of the kernels', put together at random, and others."""
    rng = random.Random(seed)
    parts = [*OWN, *OTHER, "_", "0", "1", "12", "A"]
    drawn = {"".join(rng.choices(parts, k=rng.randint(1, 3))) for _ in range(200)}
    return sorted(n for n in drawn if n.isidentifier() and not keyword.iskeyword(n))


@pytest.mark.parametrize("seed", range(20))
def test_no_two_names_are_spelled_alike(seed: int) -> None:
    names = identifiers(seed)
    found = spelled(names)
    assert [*found] == names
    assert all(SPELLED.fullmatch(each) for each in found.values())
    assert len(set(found.values())) == len(names)


def words(text: str) -> set[str]:
    return set(re.findall(r"[^\W\d]\w*", text))


def test_names_of_the_kernels_own_have_no_number_after_an_underscore() -> None:
    from tinyloss_numpy._loops import vocabulary

    own = set(dir(builtins)) | set(keyword.kwlist)
    for real in ("float32", "float64"):
        own |= set(vocabulary(real))
    for file in files("tinyloss_cupy").iterdir():
        if file.name.endswith((".cu", ".cuh")):
            own |= words(file.read_text(encoding="utf-8"))
    assert not {name for name in own if re.search(r"_\d+(_|$)", name) and name[0].islower()}


@pytest.mark.parametrize("loop", CLASSES)
@pytest.mark.parametrize("target", ["llvm", "cuda"])
def test_names_in_a_text_belong_to_one_thing(target: str, loop: str) -> None:
    """What is made of a name has the number of that input or node, and a word at its end."""
    names: list[str] = [*OWN]
    x, y, arrays = inputs_named(names, loop)
    text = tinyloss.source(formula_of(names, loop != "elements"), x, y, target=target, **arrays)
    of_inputs = [*spelled(["x", "y", *names]).values()]
    access = "(load_|store_|take_|put_|pack_|unpack_|turn_|unturn_|part_|unpart_)?"
    for word in words(text):
        if not re.search(r"_\d", word) or word.startswith("_") or word.isupper():
            continue
        owners = [n for n in of_inputs if re.fullmatch(rf"{access}(grad_)?{n}(_[a-z]+)*", word)]
        of_node = re.fullmatch(rf"{access}(max|sum)_\d+(_[a-z]+)*", word)
        assert len(owners) == 1 or (of_node and not owners), (word, owners)


# ---------------------------------------------------------------------------------------- constants


class Loud(float):
    def __repr__(self) -> str:
        return "__import__('os').abort()"

    __str__ = __repr__

    def __format__(self, _: str) -> str:
        return repr(self)

    def __float__(self) -> float:
        return 99.0


class LoudInteger(int):
    def __repr__(self) -> str:
        return "__import__('os').abort()"

    __str__ = __repr__

    def __format__(self, _: str) -> str:
        return repr(self)

    def __int__(self) -> int:
        return 99

    __index__ = __int__


class Level(enum.IntEnum):
    TWO = 2


NUMBERS = [
    pytest.param(Loud(2.0), id="float"),
    pytest.param(LoudInteger(2), id="int"),
    pytest.param(Level.TWO, id="enum"),
    pytest.param(np.float64(2.0), id="numpy"),
]


@pytest.mark.parametrize("number", NUMBERS)
def test_number_of_another_class_is_a_plain_number_in_the_text(number: Any) -> None:
    def every(x: Any, y: Any) -> Any:
        xp = x.__array_namespace__()
        return number * x + xp.full_like(x, number) ** number + xp.clip(x, number) - number

    passes = stage(record(every, {"x": Role(), "y": Role()}))
    constants = [n.constant for n in passes.program.nodes() if n.op == "constant"]
    assert constants
    assert {type(each) for each in constants} <= {int, float}
    assert set(constants) == {2}
    lines = [passes.text(n) for n in passes.final if n.op != "input"]
    assert set(re.findall(r"real\(([^)]*\d)\)", " ".join(lines))) == {"2.0"}


@pytest.mark.parametrize("number", NUMBERS)
def test_number_of_another_class_compares_with_class_indices(number: Any) -> None:
    def target(x: Any, y: Any) -> Any:
        return x.__array_namespace__().where(y == number, y, number)

    passes = stage(record(target, {"x": Role(per_class=True), "y": Role(integer=True)}))
    text = passes.text(passes.program.outputs[0])
    assert "import" not in text
    if isinstance(number, int):
        assert text.endswith("y_1, index(2))")


@pytest.mark.long
@pytest.mark.parametrize("number", [2**32, -(2**31) - 1])
def test_whole_number_beyond_an_index_compares_as_a_number(number: int) -> None:
    """An index has 32 bits: 2**32 is not 0."""
    x, y = np.ones((4, 3), "f"), np.array([0, 1, 2, 0])

    @tinyloss.loss(labels=True)
    def beyond(x: Any, y: Any) -> Any:
        xp = tinyloss.namespace(x)
        total = xp.sum(x, axis=-1)
        return total + xp.where(y == number, 100.0, 0.0) + xp.where(y < number, 10.0, 0.0)

    with tinyloss_numpy.compilation("always"):
        got = beyond(x, y, reduction="none")
    assert got.tolist() == [13.0 if number > 0 else 3.0] * 4


@pytest.mark.parametrize("number", NUMBERS)
def test_parameter_of_another_class_is_compiled(number: Any) -> None:
    x, y = np.array([3.0, 1.0], "f"), np.array([1.0, 1.0], "f")

    @tinyloss.loss
    def scaled(x: Any, y: Any, *, factor: float) -> Any:
        return factor * (x - y)

    with tinyloss_numpy.compilation("always"):
        assert scaled(x, y, factor=number, reduction="none").tolist() == [4.0, 0.0]
