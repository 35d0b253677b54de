"""Pictures: each is drawn in both themes, and what its title says is so."""

from __future__ import annotations

import io
import json
import math
import re
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import mpmath as mp
import numpy as np
import numpy.typing as npt
import pytest

import tinyloss
from tests.support.params import turns
from tests.support.process import ROOT, python
from tinyloss import pictures as typed
from tinyloss.losses import regression
from tinyloss.pictures import accuracy, descent, learning, lines, stage, style

matplotlib = pytest.importorskip("matplotlib")
pictures: Any = typed  # matplotlib's types know less of a figure's parts than tests look at


on = pytest.mark.parametrize
Array = npt.NDArray[Any]

MACHINE = {"machine": {"cpu": "a CPU", "vectors": "AVX2"}, "threads": 2, "date": "2026-01-01"}
WHAT = "value and gradient"


def report(*works: dict[str, float]) -> dict[str, Any]:
    """Return a report of works, each with the seconds of some libraries."""
    rows = [
        {
            "section": "shapes",
            "work": f"mse {n}",
            "what": WHAT,
            "seconds": {who: {"median": each} for who, each in seconds.items()},
        }
        for n, seconds in enumerate(works)
    ]
    return {**MACHINE, "measurements": rows}


SECONDS = {"floor": 0.5, "tinyloss": 1.0, "torch": 3.0, "NumPy": 8.0}


def finding(figure: Any) -> str:
    return " ".join(figure.get_suptitle().split())


PICTURES: dict[str, Callable[..., Any]] = {
    "curves": lambda **theme: pictures.curves(tinyloss.huber, delta=(0.5, 1, 2), **theme),
    "one curve": lambda **theme: pictures.curves(tinyloss.mae, what=["gradient"], **theme),
    "landscape": lambda **theme: pictures.landscape(**theme),
    "digits": lambda **theme: pictures.digits(**theme),
    "scale": lambda **theme: pictures.scale(**theme),
    "rate": lambda **theme: pictures.rate(**theme),
    "wrong": lambda **theme: pictures.wrong(**theme),
    "convex": lambda **theme: pictures.convex(**theme),
    "zoo": lambda **theme: pictures.zoo(**theme),
    "speed": lambda **theme: pictures.speed(report(SECONDS), **theme),
}
"""A call for each function, and each way it draws."""


@cache
def drawn(name: str, theme: str = "light") -> Any:
    if name in ("scale", "rate", "wrong"):
        pytest.importorskip("sklearn")
    return PICTURES[name](theme=theme)


def lightness(colour: Any) -> float:
    """Return the relative luminance of WCAG 2."""
    parts = np.array(matplotlib.colors.to_rgb(colour))
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ np.array([0.2126, 0.7152, 0.0722]))


def contrast(one: Any, other: Any) -> float:
    high, low = sorted((lightness(one), lightness(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


# ----------------------------------------------------------------------------------------- drawing


@on(
    ("name", "theme"),
    turns(
        [
            (name, theme)
            for n, name in enumerate(PICTURES)
            for theme in (("light", "dark"), ("dark", "light"))[n // 2 % 2]
        ],
        4,
    ),
)
def test_draws_in_both_themes(name: str, theme: str) -> None:
    """Without a warning, too: of a letter that the font lacks, of a layout without room."""
    figure = drawn(name, theme)
    paper = figure.get_facecolor()
    assert lightness(paper) > 0.9 if theme == "light" else lightness(paper) < 0.05
    if name != "landscape":  # where words stand on the paper
        for text in figure.findobj(matplotlib.text.Text):
            assert not text.get_text() or contrast(text.get_color(), paper) >= 4.5, text.get_text()
    figure.savefig(io.BytesIO(), format="png", dpi=40)
    room, needed = figure.get_size_inches(), figure.get_tightbbox()
    assert min(needed.x0, needed.y0) >= 0
    assert needed.x1 <= room[0]
    assert needed.y1 <= room[1]


def test_every_function_is_drawn_here() -> None:
    functions = {name for name, each in vars(pictures).items() if callable(each)}
    assert functions - {"text", "alt", "save"} == {name for name in PICTURES if " " not in name}


@on("name", ["curves", "zoo", "digits"])
def test_lines_differ_in_more_than_colour(name: str) -> None:
    for axes in drawn(name).axes:
        strokes = [line.get_linestyle() for line in axes.lines if line.get_label()[0] != "_"]
        dashes = [line._dash_pattern for line in axes.lines if line.get_label()[0] != "_"]
        assert len(set(map(str, dashes))) == len(strokes)


@on("theme", ["light", "dark"])
def test_hues_can_be_told_from_the_paper(theme: str) -> None:
    look = style.LOOKS[theme]
    assert min(contrast(colour, look.paper) for colour in look.text.values()) >= 4.5
    assert set(look.line) == set(look.text) == set(style.HUES)


def test_says_what_it_shows_in_words() -> None:
    figure = pictures.curves(tinyloss.mse, tinyloss.mae)
    words = pictures.alt(figure)
    assert words.startswith(finding(figure) + ". ")
    assert "mse, mae" in words


# ------------------------------------------------------------------------------------------ files


def test_an_svg_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    """In another process, and whatever the user's own settings of matplotlib are."""
    code = """
import sys, matplotlib
from tests.test_pictures import PICTURES, pictures
own = {"lines.linewidth": 9, "font.size": 30, "xtick.color": "red", "svg.fonttype": "none"}
matplotlib.rcParams.update(own)
pictures.save(PICTURES["speed"](), sys.argv[1])
print({name: matplotlib.rcParams[name] for name in own} == own, "matplotlib.pyplot" in sys.modules)
"""
    theirs = tmp_path / "theirs.svg"
    told = python("-c", code, str(theirs), PYTHONHASHSEED="7")
    assert told.split() == ["True", "False"]  # settings are as they were, and pyplot knows nothing
    ours = [pictures.save(drawn("speed"), tmp_path / f"{n}.svg").read_bytes() for n in range(2)]
    assert ours[0] == ours[1] == theirs.read_bytes()


def test_files_carry_title_and_description(tmp_path: Path) -> None:
    figure = drawn("one curve")
    title, shown = finding(figure), "Curves of gradient over error x − y: mae."
    svg = pictures.save(figure, tmp_path / "a.svg").read_text(encoding="utf-8")
    assert f"<dc:title>{title}</dc:title>" in svg
    assert f"<dc:description>{shown}</dc:description>" in svg
    png = pictures.save(figure, str(tmp_path / "a.PNG")).read_bytes()
    assert png.startswith(b"\x89PNG")
    assert shown.encode() in png
    assert pictures.save(figure, tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")


def test_another_ending_is_an_error_that_names_them(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"\.jpg', expected one that ends with \.svg, \.png, \.pdf"
    ):
        pictures.save(drawn("one curve"), tmp_path / "a.jpg")
    assert not list(tmp_path.iterdir())


@on(
    ("missing", "command"),
    [
        ("matplotlib.figure", "'tinyloss[plot]'"),
        ("matplotlib.style", "'tinyloss[plot]'"),
        ("sklearn.datasets", "scikit-learn"),
    ],
)
def test_a_missing_library_says_how_to_get_it(
    missing: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    learning.images.cache_clear()
    with pytest.raises(ImportError) as caught:
        learning.images() if missing == "sklearn.datasets" else pictures.curves(tinyloss.mse)
    learning.images.cache_clear()
    library = missing.partition(".")[0].replace("sklearn", "scikit-learn")
    assert str(caught.value) == (
        f"tinyloss.pictures needs {library}, which is not installed: pip install {command}"
    )


def test_importing_without_numpy_says_how_to_get_it() -> None:
    code = (
        "import sys; sys.modules['numpy'] = None\n"
        "try: import tinyloss.pictures\n"
        "except ImportError as error: print(error)"
    )
    assert python(code).strip().endswith("not installed: pip install 'tinyloss[plot]'")


# ------------------------------------------------------------------------------------------ curves

KINDS = {
    "error": {"mse", "mae", "huber", "smooth_l1", "log_cosh", "quantile", "gaussian_nll"},
    "prediction": {"msle", "mape", "poisson_nll"},
    "probability": {"binary_cross_entropy"},
    "logit": {"binary_cross_entropy_with_logits", "sigmoid_focal"},
    "score": {"hinge", "squared_hinge", "soft_margin"},
    "lead": {"cross_entropy", "softmax_focal", "kl_div_with_logits"},
    "share": {"js_div"},
    "log share": {"kl_div", "nll"},
    "log-probability": {"orpo"},
}


@on(("kind", "names"), KINDS.items())
def test_finds_out_what_a_loss_is_a_loss_of(kind: str, names: set[str]) -> None:
    assert {name: stage.stage_of(getattr(tinyloss, name)).kind for name in names} == dict.fromkeys(
        names, kind
    )


JUMPS = {
    "gradient": {"mae": {0}, "quantile": {0}, "hinge": {1}, "mape": {1}},
    "curvature": {"huber": {-1, 1}, "smooth_l1": {-1, 1}, "squared_hinge": {1}},
}


@on("what", JUMPS)
@on("name", [name for names in KINDS.values() for name in sorted(names)])
def test_a_line_is_broken_where_it_jumps_and_nowhere_else(name: str, what: Any) -> None:
    loss = getattr(tinyloss, name)
    place = stage.stage_of(loss)
    x, y = stage.broken(lambda along: stage.sampled(loss, place, what, along, {}), place.along)
    gaps = np.flatnonzero(np.isnan(y))
    # Both sides are drawn to within 2^-12 of the distance of two points.
    near = (place.along[1] - place.along[0]) * 2.0**-12 * 1.001
    expected = JUMPS[what].get(name, set())
    for gap in gaps:
        assert min(abs(x[gap - 1] - each) for each in expected) <= near
        assert x[gap + 1] - x[gap - 1] <= near
    for each in expected:
        assert np.min(np.abs(x[gaps - 1] - each)) <= near


def test_a_sweep_says_what_the_parameter_does() -> None:
    # Huber's definition: delta (|e| - delta / 2) beyond delta.
    costs = {delta: delta * (3 - delta / 2) for delta in (0.5, 2.0)}
    title = finding(pictures.curves(tinyloss.huber, delta=(0.5, 1, 2)))
    assert title == (
        f"huber at error 3: {costs[0.5]:.3g} with delta = 0.5, {costs[2.0]:.3g} with delta = 2"
    )


def test_several_losses_are_compared_where_they_differ_most() -> None:
    title = finding(pictures.curves(tinyloss.mae, tinyloss.mse, tinyloss.log_cosh))
    assert title == f"At error 3, mse is 9 and log_cosh {math.log(math.cosh(3)):.3g}"


def test_one_loss_says_whether_it_is_convex_and_how_steep() -> None:
    assert finding(pictures.curves(tinyloss.hinge)) == (
        "hinge: convex, with gradients from −1 to 0"
    )
    assert finding(pictures.curves(tinyloss.msle)).startswith("msle: not convex, ")


def test_negative_curvature_is_marked() -> None:
    words = [
        text.get_text()
        for text in pictures.curves(tinyloss.sigmoid_focal, gamma=(0, 2, 5)).findobj(
            matplotlib.text.Text
        )
    ]
    assert "below 0: not convex" in words
    for loss in (tinyloss.mse, tinyloss.huber, tinyloss.hinge):
        texts = pictures.curves(loss).findobj(matplotlib.text.Text)
        assert "below 0: not convex" not in [text.get_text() for text in texts]


@tinyloss.loss
def charbonnier(x: Any, y: Any, *, eps: float = 1.0) -> Any:
    return tinyloss.namespace(x).sqrt((x - y) ** 2 + eps**2)


@tinyloss.loss(rowwise=True)
def farthest(x: Any, y: Any) -> Any:
    xp = tinyloss.namespace(x)
    return xp.max(xp.abs(x - y), axis=-1)


def test_a_loss_of_ones_own_is_drawn_as_the_others() -> None:
    lines = pictures.curves(charbonnier, eps=(1, 2), what=["value"]).axes[0].lines
    np.testing.assert_allclose(lines[1].get_ydata(), np.hypot(lines[1].get_xdata(), 2), rtol=1e-12)
    text = pictures.text(farthest, what=["value", "gradient"])
    assert text.startswith("farthest over x of the row (x, 0), target (0.7, 0.3) from −4 to 4")


def test_a_new_loss_is_in_the_zoo_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regression, "__all__", [*regression.__all__, "charbonnier"])
    monkeypatch.setattr(regression, "charbonnier", charbonnier, raising=False)
    figure = pictures.zoo()
    drawn = [axes.get_title("left").replace("\n", "") for axes in figure.axes]
    known = {name for names in KINDS.values() for name in names}
    assert {"charbonnier", *known} <= set(drawn)
    assert "Not drawn" not in pictures.alt(figure)


def test_the_zoo_counts_the_convex_losses() -> None:
    figure = drawn("zoo")
    count, total = map(int, re.findall(r"\d+", finding(figure)))
    bent = pictures.alt(figure).partition("Not convex: ")[2].rstrip(".").split(", ")
    # msle bends down above e (1 + y) - 1; a power of 1 - p makes both focal losses do so.
    assert {"msle", "sigmoid_focal", "softmax_focal"} <= set(bent)
    assert total - count == len(bent)
    assert total >= sum(map(len, KINDS.values()))


@on(
    ("arguments", "parameters", "error", "message"),
    [
        ([], {}, TypeError, "got no loss"),
        ([tinyloss.softmax], {}, TypeError, "expected a loss function, as tinyloss.huber is"),
        ([tinyloss.MSELoss()], {}, TypeError, "expected a loss function, as tinyloss.huber is"),
        ([tinyloss.mse, tinyloss.hinge], {}, ValueError, "expected losses of one axis"),
        ([tinyloss.huber], {"delta": []}, ValueError, "delta has no values"),
        ([tinyloss.huber], {"delta": -1}, ValueError, "delta is -1, expected a number above 0"),
        ([tinyloss.huber], {"gamma": 1}, TypeError, "unexpected keyword argument 'gamma'"),
        ([tinyloss.mse, tinyloss.huber], {"delta": [1, 2]}, TypeError, "got 2 losses and several"),
        ([tinyloss.mse], {"what": "value"}, ValueError, "what is 'value', expected some of"),
        ([tinyloss.mse], {"what": ["worth"]}, ValueError, r"what is \['worth'\]"),
        ([tinyloss.mse], {"theme": "blue"}, ValueError, "theme is 'blue', expected 'light'"),
    ],
)
def test_wrong_calls_say_what_is_wrong(
    arguments: list[Any], parameters: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        pictures.curves(*arguments, **parameters)


def test_curves_of_text_are_high_where_the_loss_is() -> None:
    head, value, slope = pictures.text(
        tinyloss.mse, what=["value", "gradient"], width=31
    ).splitlines()
    assert head == "mse over error x − y from −3 to 3"
    marks = value.removeprefix("loss     ").removesuffix(" 0 to 9")
    assert marks == marks[::-1]
    assert len(marks) == 31
    assert marks[0] == "█"
    assert set(marks[13:18]) == {"▁"}
    rising = slope.removeprefix("gradient ").removesuffix(" −6 to 6")
    assert sorted(rising) == list(rising)
    plain = pictures.text(tinyloss.mse, what=["value"], width=31, blocks=".:|").splitlines()[1]
    assert set(plain.removeprefix("loss ").removesuffix(" 0 to 9")) == {".", ":", "|"}


def test_text_needs_no_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("matplotlib", "matplotlib.style", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    assert "delta = 2" in pictures.text(tinyloss.huber, delta=[1, 2])


# ------------------------------------------------------------------------------------- convexity


def test_the_deepest_chord_is_that_of_all_pairs() -> None:
    rng = np.random.default_rng(0)
    for n in (3, 10, 30):
        losses = rng.standard_normal(n)
        gap, i, j = lines.deepest_chord(losses)
        best = max(
            losses[k] - np.interp(k, [a, b], losses[[a, b]])
            for a in range(n)
            for b in range(a + 1, n)
            for k in range(a, b + 1)
        )
        # Each is a sum of two products of numbers of a few units.
        assert gap == pytest.approx(best, abs=16 * np.finfo(np.float64).eps)
        assert gap == pytest.approx(
            max(losses[k] - np.interp(k, [i, j], losses[[i, j]]) for k in range(i, j + 1)),
            abs=16 * np.finfo(np.float64).eps,
        )


def test_convex_says_by_how_much_a_curve_is_not() -> None:
    figure = pictures.convex(tinyloss.mse, lines.squared_error_of_sigmoid)
    assert finding(figure).startswith("1 of 2 losses is convex")
    x = figure.axes[1].lines[0].get_xdata()
    squares = (1 / (1 + np.exp(-x)) - 1) ** 2
    a, b = figure.axes[1].lines[1].get_xdata()
    chord = np.interp(x, [a, b], [(1 / (1 + np.exp(-t)) - 1) ** 2 for t in (a, b)])
    inside = (x >= a) & (x <= b)
    gap = np.max((squares - chord)[inside])
    assert f"squared_error_of_sigmoid: curve {gap:.2g} above the chord" in pictures.alt(figure)


# ---------------------------------------------------------------------------------------- digits


def test_the_gap_where_log_sum_exp_has_no_digit_left() -> None:
    title = finding(drawn("digits"))
    lost, kept = map(int, re.findall(r"of (\d+) on.* up to (\d+)", title)[0])
    single = np.float32

    def textbook(gap: int) -> float:
        return float(np.log(single(1) + np.exp(single(-gap))))

    def wrong(got: float, gap: int) -> float:
        exact = mp.log1p(mp.exp(-gap))
        return float(abs(got - exact) / exact)

    assert wrong(textbook(lost - 1), lost - 1) < 1
    assert all(textbook(gap) == 0 for gap in range(lost, 100))
    # 1 + exp(-gap) is 1 from 24 bits on, and the smallest normal number has 126.
    assert lost == math.ceil(24 * math.log(2))
    assert kept == math.floor(126 * math.log(2))
    gaps = range(1, kept + 1)
    x = np.array([[gap, 0] for gap in gaps], single)
    ours = tinyloss.cross_entropy(x, np.zeros(len(x), int), reduction="none")
    eps = float(np.finfo(single).eps)
    assert max(wrong(float(each), gap) for each, gap in zip(ours, gaps, strict=True)) <= 4 * eps


@on("dtype", accuracy.DTYPES)
def test_only_the_definition_returns_nan_or_infinity(dtype: Any) -> None:
    measured = accuracy.measure(dtype)
    for way, error in measured.error.items():
        assert np.isfinite(error).all() == (way != "naive" or dtype != np.float16)


# ------------------------------------------------------------------------------------- landscapes


def test_the_landscape_says_what_descent_has_left() -> None:
    figure = pictures.landscape(steps=25)
    found = re.findall(r"(\w[\w ]*) ([\d.]+) to ([\d.]*\d)", pictures.alt(figure))
    told = {name: (float(before), float(after)) for name, before, after in found}
    problem = descent.problem_of(tinyloss.binary_cross_entropy_with_logits)
    items, y = problem.items, problem.target

    def p_of(w: Array) -> Array:
        p: Array = 1 / (1 + np.exp(-items @ w))
        return p

    ways: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
        "binary cross entropy with logits": (
            lambda p: -np.log(np.where(y == 1, p, 1 - p)),
            lambda p: p - y,
        ),
        "squared error of sigmoid": (
            lambda p: (p - y) ** 2,
            lambda p: 2 * (p - y) * p * (1 - p),
        ),
    }
    shares: dict[str, float] = {}
    for name, (loss, slope) in ways.items():
        w = np.array(problem.start)
        before = loss(p_of(w)).mean()
        for _ in range(25):
            w = w - problem.rate() * items.T @ slope(p_of(w)) / len(y)
        after = loss(p_of(w)).mean()
        assert told[name] == (float(f"{before:.3g}"), float(f"{after:.3g}"))
        shares[name] = after / before
    worst, best = max(shares, key=shares.__getitem__), min(shares, key=shares.__getitem__)
    expected = f"After 25 steps, {worst} still has {100 * shares[worst]:.0f} % of its loss, {best} "
    assert finding(figure).startswith(expected)


def test_a_landscape_needs_real_predictions() -> None:
    with pytest.raises(ValueError, match="is a loss over probability, target 1, expected one over"):
        pictures.landscape(tinyloss.binary_cross_entropy)


# --------------------------------------------------------------------------------------- learning


def trained(slope: Callable[[Array, Array], Array], rate: float, epochs: int, bias: float) -> Any:
    """Return the network after gradient descent, written down once more."""
    x, y, _, _ = learning.images()
    rng = np.random.default_rng(1)
    a, c = (rng.standard_normal(shape) * (2 / 64) ** 0.5 for shape in ((64, 64), (64, 10)))
    b, d = np.zeros(64), np.where(np.arange(10) == 0, bias, 0.0)
    rng = np.random.default_rng(2)
    for _ in range(epochs):
        order = rng.permutation(len(y))
        for i in range(0, len(y), 64):
            batch = order[i : i + 64]
            hidden = np.maximum(x[batch] @ a + b, 0)
            p = softmax(hidden @ c + d)
            g = slope(p, np.eye(10)[y[batch]]) / len(batch)
            inner = (g @ c.T) * (hidden > 0)
            a, b = a - rate * x[batch].T @ inner, b - rate * inner.sum(0)
            c, d = c - rate * hidden.T @ g, d - rate * g.sum(0)
    return lambda images: np.maximum(images @ a + b, 0) @ c + d


def softmax(z: Array) -> Array:
    odds = np.exp(z - z.max(-1, keepdims=True))
    shares: Array = odds / odds.sum(-1, keepdims=True)
    return shares


def cross_entropy_slope(p: Array, y: Array) -> Array:
    return p - y


def squared_slope(p: Array, y: Array) -> Array:
    g = 2 * (p - y)
    slope: Array = p * (g - (g * p).sum(-1, keepdims=True))
    return slope


def test_the_wrong_loss_reads_as_many_digits_as_it_says() -> None:
    title = finding(drawn("wrong"))
    right, wrong = map(int, re.findall(r"(\d+) %", title))
    _, _, images, labels = learning.images()
    for slope, told in ((cross_entropy_slope, right), (squared_slope, wrong)):
        logits = trained(slope, 0.1, 15, 12.0)(images)
        share = np.mean(logits.argmax(-1) == labels)
        # Rounding may turn a close call: two images of 360.
        assert 100 * share == pytest.approx(told, abs=0.5 + 200 / len(labels))
    assert right > 90 > 20 > wrong


def test_half_precision_loses_as_much_as_it_says() -> None:
    title = finding(drawn("scale"))
    plain, scaled = map(int, re.findall(r"(\d+) %", title))
    logits, labels = learning.late_logits()
    slope = (softmax(logits) - np.eye(10)[labels]) / len(labels)
    for factor, told in ((1, plain), (2**14, scaled)):
        # float16 rounds to 0 what is at most half of its smallest number, 2^-24. Logits in float16
        # have eleven bits, which moves a gradient by a percent, a bin of the histogram by less.
        lost = np.mean(np.abs(factor * slope) <= 2.0**-25)
        assert told == pytest.approx(100 * lost, abs=1.0)
    assert plain > 40 > 10 > scaled


def test_a_factor_is_a_learning_rate_as_it_says() -> None:
    title = finding(drawn("rate"))
    fast, usual = map(float, re.findall(r"ends at ([\d.]+) instead of ([\d.]+);", title)[0])
    assert title.endswith("learns the same")
    x, y, _, _ = learning.images()
    logits = trained(cross_entropy_slope, 0.3, 12, 0.0)(x)
    loss = -np.log(softmax(logits)[np.arange(len(y)), y]).mean()
    # Steps amplify rounding errors, by far less than the two digits that are told.
    assert usual == pytest.approx(loss, rel=0.05)
    assert fast > 10 * usual


# ------------------------------------------------------------------------------------------ speed


def test_speed_says_how_far_tinyloss_is_from_the_floor_and_the_next_from_it() -> None:
    two = report(SECONDS, {"floor": 1.0, "tinyloss": 1.5, "torch": 3.0, "NumPy": 1.2, "other": 1})
    title = finding(pictures.speed(two))
    torch, numpy = math.sqrt(3.0 * 2.0), math.sqrt(8.0 * 0.8)
    assert torch < numpy
    assert title == (
        "tinyloss takes 1.5 to 2.0 times the floor; "
        f"torch takes {torch:.1f} times as long as tinyloss on average"
    )


def test_bars_begin_at_the_floor_and_end_at_the_time() -> None:
    (axes,) = pictures.speed(report(SECONDS)).axes
    ends = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in axes.patches]
    assert ends == [(1, 2.0), (1, 6.0), (1, 16.0)]
    assert "a CPU, AVX2, 2 threads, 2026-01-01" in pictures.alt(pictures.speed(report(SECONDS)))
    assert [label.get_text() for label in axes.get_yticklabels()] == ["tinyloss", "torch", "NumPy"]
    assert len({bar.get_facecolor() for bar in axes.patches}) == 3
    assert len({bar.get_hatch() for bar in axes.patches}) == 3


def test_speed_reads_a_file_and_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    path = tmp_path / "cpu.json"
    path.write_text(json.dumps(report(SECONDS)))
    assert finding(pictures.speed(path)) == finding(pictures.speed(report(SECONDS)))
    with pytest.raises(ValueError, match=r"cpu\.json has no times for 'value', expected a report"):
        pictures.speed(path, what="value")
    with pytest.raises(ValueError, match="the report has no times for 'value and gradient'"):
        pictures.speed({})


# --------------------------------------------------------------------------------------- README

KEPT = ROOT / "docs" / "_static" / "pictures"


@on("name", ["digits", "zoo", "speed"])
def test_readme_shows_what_is_measured_now(name: str) -> None:
    """Where a loss or a report is new: python docs/draw.py."""
    image = pytest.importorskip("PIL.Image")
    if not KEPT.exists():
        pytest.skip("docs/ is not here: this is no clone")
    kept = ROOT / "benchmarks" / "results" / "cpu.json"
    figure = pictures.speed(kept) if name == "speed" else drawn(name)
    for suffix in ("", "_dark"):
        with image.open(KEPT / f"{name}{suffix}.png") as png:
            assert png.text["Title"] == finding(figure)
