"""`tinyloss check`: its definitions are the tests' own; what is right passes, and nothing else."""

import json
from dataclasses import replace
from decimal import Decimal
from functools import wraps
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinyloss
from tests.support import exact
from tests.support.specs import LOSSES, SPECS
from tinyloss.cli import _ticks, main
from tinyloss.cli._exact import Truth, item_of, truth
from tinyloss.cli._inputs import DRAWS, arguments
from tinyloss.cli._libraries import LIBRARIES, Library
from tinyloss.cli.definitions import DEFINITIONS
from tinyloss.losses import public_losses

on = pytest.mark.parametrize


def test_every_definition_is_of_a_loss_and_says_what_it_takes() -> None:
    items = public_losses("images", "pairs", "lists", "sequences", "shares")
    assert {*DEFINITIONS} == {*SPECS} | {each.name for each in items}
    assert {each.draw for each in DEFINITIONS.values()} == {*DRAWS}


@on("extreme", [False, True], ids=["ordinary", "extreme"])
@on("name", LOSSES)
def test_a_definition_is_that_of_the_tests(name: str, extreme: bool) -> None:
    of = DEFINITIONS[name]
    given = arguments(of.draw, (3, 4) if of.rows else (5,), extreme=extreme)
    known = exact.evaluate(name, *given)
    found = [truth(of, item_of(given, at)) for at in range(len(given[0]))]
    values, gradients, curvatures = zip(*found, strict=True)

    def compare(results: list[Truth], expected: exact.Truth, noise: str = "0") -> None:
        flat = expected.float64().ravel()
        for one, other, unsettled in zip(results, flat, expected.open.ravel(), strict=True):
            # Both are right to float64's digits at least.
            off = abs(one.exact - Decimal(float(other)))
            assert unsettled or off <= Decimal(2.0**-51) * one.size + Decimal(noise)

    compare([*values], known["value"])
    compare([each for row in gradients for each in row], known["x"])
    if not extreme:  # a curvature is for ordinary inputs alone
        # 110 digits less those of the square of a step leave 30.
        compare([each for row in curvatures for each in row], known["curvature"], noise="1e-28")


OTHERS: dict[str, list[dict[str, Any]]] = {
    "contrastive": [{"squared": False}, {"p": 1.0, "margin": 3.0}, {"p": inf}],
    "triplet_margin": [{"swap": True}, {"p": 3.0}],
    "pairwise_distance": [{"p": 1.5}, {"p": inf}],
    "cosine_embedding": [{"margin": -0.5}],
    "unique_softmax": [{"gain": "linear"}],
    "cox_ph": [{"ties": "breslow"}],
    "crps_ensemble": [{"fair": True}],
    "fenchel_young": [{"activation": "entmax15"}],
    "generalized_dice": [{"smooth": 0.5}],
    "margin_ranking": [{"margin": 0.5}],
}
PARAMETERS = [
    (each.name, params)
    for each in public_losses("images", "pairs", "lists", "sequences")
    for params in [{}, *OTHERS.get(each.name, [])]
]


@on("extreme", [False, True], ids=["ordinary", "extreme"])
@on(("name", "params"), PARAMETERS, ids=str)
def test_a_definition_of_other_items_is_the_loss(
    name: str, params: dict[str, Any], extreme: bool
) -> None:
    known = DEFINITIONS[name]

    @wraps(known.of)
    def of_params(*arguments: Any, **own: Any) -> Any:
        numbers = {k: Decimal(v) if isinstance(v, float) else v for k, v in params.items()}
        return known.of(*arguments, **own | {k: v for k, v in numbers.items() if k in own})

    of = replace(known, of=of_params)
    given = arguments(of.draw, (20, 4) if of.rows else (20,), extreme=extreme)
    loss: Any = getattr(tinyloss, name)
    both: Any = tinyloss.value_and_grad(loss)
    value, gradient = both(*given, reduction="none", **params)
    slopes = gradient.reshape(len(value), -1)
    for at, got in enumerate(value):
        exact_value, by_x, _ = truth(of, item_of(given, at))
        # Where a slope cancels, more digits are lost than of its terms: in those of a distance.
        for one, true in [(got, exact_value), *zip(slopes[at], by_x, strict=True)]:
            off = abs(Decimal(float(one)) - true.exact)
            assert off <= Decimal(2.0**-44) * max(abs(true.exact), true.size) + Decimal("1e-300")


@on("name", ["sparsemax", "entmax15"])
def test_a_definition_of_sparse_shares_is_the_function(name: str) -> None:
    (x,) = arguments("rows", (50, 5), extreme=True)
    found = getattr(tinyloss, name)(x)
    for row, shares in zip(x, found, strict=True):
        (exact_shares,) = DEFINITIONS[name].terms([*map(Decimal, row.tolist())])
        assert np.allclose(shares, [*map(float, exact_shares)], rtol=0, atol=1e-14)


@on("name", ["mse", pytest.param("cross_entropy", marks=pytest.mark.long)])
def test_what_is_right_passes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", name, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["passed"]
    passed = {each["check"]: each["passed"] for each in report["checks"]}
    assert {"computes the definition", "batches of any shape"} <= set(passed)
    assert {*passed.values()} <= {True, None}  # None: torch is not installed
    worst = [each["worst"] for each in report["checks"] if "every digit" in each["check"]]
    assert all(0 < each <= 4 for each in worst)


class Broken:
    """A loss with a fault."""

    def __init__(self, loss: Any, fault: Any) -> None:
        self._loss, self._fault = loss, fault
        self.__doc__, self.__signature__ = loss.__doc__, loss.__signature__

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self._fault(self._loss(*args, **options), *args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loss, name)


@on(
    ("fault", "failing"),
    [
        (lambda value, *args: 2 * value, "computes the definition"),
        (lambda value, *args: np.float64(0.5) if np.isscalar(value) else value, "batches"),
        (lambda value, x, *_: np.where(np.max(np.abs(x)) > 900, np.inf, value), "logits of ±1000"),
        (lambda value, x, *_: value * (1 + (x.shape[-1] == 1000)), "many classes"),
    ],
    ids=["definition", "mean", "stability", "classes"],
)
def test_a_fault_fails(
    fault: Any,
    failing: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(tinyloss, "cross_entropy", Broken(tinyloss.cross_entropy, fault))
    monkeypatch.setattr(Library, "version", None)
    monkeypatch.setattr("tinyloss.cli.check.library_called", LIBRARIES.__getitem__)
    assert main(["check", "cross_entropy"]) == 1
    said = capsys.readouterr().out
    assert any("✗" in line and failing in line for line in said.splitlines())
    assert "checks failed" in said
    assert said.endswith("Next: tinyloss info\n")


@on("result", [0, 1], ids=["value", "gradient"])
def test_a_lost_digit_fails(result: int, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = tinyloss.value_and_grad

    def derive(loss: Any) -> Any:
        def both(*args: Any, **options: Any) -> Any:
            parts = [*honest(loss)(*args, **options)]
            parts[result] = parts[result] * np.float32(1 + 2.0**-19)
            return tuple(parts)

        return both

    monkeypatch.setattr(tinyloss, "value_and_grad", derive)
    found = {tick.text: tick for tick in _ticks.ticks(_ticks.Ours("mse", LIBRARIES["numpy"]))}
    text = ("every digit: within 2 eps", "gradient, every digit: within 1 eps")[result]
    assert found[text].passed is False
    assert "expected" in found[text].detail


LEARNED = '''
import numpy as np

def textbook(x, y):
    s = x - x.max(axis=-1, keepdims=True)
    log_p = s - np.log(np.exp(s).sum(axis=-1, keepdims=True))
    return -np.take_along_axis(log_p, y[..., None], -1)[..., 0]

def the_mean(x, y):
    return textbook(x, y).mean()

def the_mean_gradient(x, y):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return (e / e.sum(axis=-1, keepdims=True) - (np.arange(x.shape[-1]) == y[..., None])) / len(x)

def the_sum(x, y):
    return textbook(x, y).sum()

def without_the_target(x, y):
    s = x - x.max(axis=-1, keepdims=True)
    return -(s - np.log(np.exp(s).sum(axis=-1, keepdims=True))).mean()

def naive(x, y):
    p = np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)
    return -np.log(np.take_along_axis(p, y[..., None], -1)[..., 0])

def column(x, y):
    return textbook(x, y)[:, None]

def empty(x, y):
    """To be filled in."""

def broken(x, y):
    return x + undefined

def leaves(x, y):
    raise SystemExit(3)

def text(x, y):
    return "3.5"

def mse(x, y):
    return (x - y) ** 2

def mse_gradient(x, y):
    return 2 * (x - y)

def wrong_mse(x, y):
    return (x - y) ** 2

def wrong_mse_gradient(x, y):
    return x - y
'''


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(Library, "version", None)
    monkeypatch.setattr("tinyloss.cli.check.library_called", LIBRARIES.__getitem__)
    path = tmp_path / "learned.py"
    path.write_text(LEARNED, encoding="utf-8")
    return str(path)


@on(
    ("function", "status", "said"),
    [
        ("textbook", 0, "0 of 7 digits"),
        ("the_mean", 0, "0 of 2 stars"),
        ("the_sum", 1, "the sum, not the mean"),
        ("without_the_target", 1, "60 of 60 ordinary inputs wrong, e.g. x=["),
        ("naive", 1, "✗ stable at logits of ±1000"),
        ("column", 1, "got shape (60, 1), expected (60,), or one number: the mean"),
        ("empty", 1, "1 of 1 checks failed"),
        ("broken", 1, "NameError: name 'undefined' is not defined (line 34)"),
        ("leaves", 1, "it ended Python: is there an exit()?"),
        ("text", 1, "returned str, expected an array of numbers"),
    ],
)
def test_a_learners_cross_entropy_is_graded(
    function: str, status: int, said: str, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", f"{file}:{function}", "--as", "cross_entropy"]) == status
    assert said in capsys.readouterr().out


def test_every_digit_right_earns_a_star(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", f"{file}:mse"]) == 0  # as mse, by its name
    said = capsys.readouterr().out
    assert "★ every digit: within 2 eps" in said
    assert "★★★★★★★ 7 of 7 digits" in said
    assert "2 of 2 stars" in said


def test_a_wrong_gradient_is_found(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", f"{file}:wrong_mse"]) == 1
    assert "✗ gradient flows" in capsys.readouterr().out


@on(
    ("target", "said"),
    [
        ("{file}", "which one is to be checked?"),
        ("{file}:nothing", "no nothing"),
        ("{file}:textbook", "which loss is textbook?"),
    ],
)
def test_a_target_that_is_not_clear(
    target: str, said: str, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", target.format(file=file)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "\nNext: tinyloss check" in error


@on(
    ("text", "said"),
    [("def mse(x, y:\n", "SyntaxError"), ("raise SystemExit('no data')\n", "SystemExit: no data")],
)
def test_a_file_that_does_not_run(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "half.py"
    path.write_text(text, encoding="utf-8")
    assert main(["check", f"{path}:mse"]) == 2
    error = capsys.readouterr().err
    assert f"does not run: {said}" in error
    assert f"\nNext: python {path}" in error
