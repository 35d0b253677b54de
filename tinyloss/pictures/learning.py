"""What a loss does to learning: a network of one hidden layer reads handwritten digits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

import tinyloss
from tinyloss.pictures.lines import squared_error_of_sigmoid
from tinyloss.pictures.stage import Array, Loss, grad
from tinyloss.pictures.style import Look, Theme, look_of, need, panels, tell

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Parameters = list[Array]
Rule = Callable[[Parameters, Parameters, int], Parameters]
Seen = Callable[[Parameters], float]

HIDDEN, BATCH = 64, 64
HELD_OUT = 360
ONE_HOT = np.eye(10)


@cache
def images() -> tuple[Array, Array, Array, Array]:
    """Return images and labels to learn from, and those held out."""
    datasets = need("sklearn.datasets", "scikit-learn")
    x, y = datasets.load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    x, y = x[order] / 16, y[order]
    return x[HELD_OUT:], y[HELD_OUT:], x[:HELD_OUT], y[:HELD_OUT]


@tinyloss.loss(rowwise=True)
def squared_error_of_softmax(x: Any, y: Any) -> Any:
    xp = tinyloss.namespace(x)
    odds = xp.exp(x - xp.max(x, axis=-1, keepdims=True))
    p = odds / xp.sum(odds, axis=-1, keepdims=True)
    return xp.sum((p - y) ** 2, axis=-1)


def sgd(rate: float) -> Rule:
    return lambda parameters, slopes, _: [
        p - rate * g for p, g in zip(parameters, slopes, strict=True)
    ]


def adam(rate: float) -> Rule:
    """Kingma and Ba, 2015, with the constants of their paper."""
    first: Parameters = []
    second: Parameters = []

    def step(parameters: Parameters, slopes: Parameters, n: int) -> Parameters:
        before = zip(first or [0 * g for g in slopes], slopes, strict=True)
        first[:] = [0.9 * m + 0.1 * g for m, g in before]
        before = zip(second or [0 * g for g in slopes], slopes, strict=True)
        second[:] = [0.999 * v + 0.001 * g * g for v, g in before]
        size = rate * (1 - 0.999**n) ** 0.5 / (1 - 0.9**n)
        moved = zip(parameters, first, second, strict=True)
        return [p - size * m / (v**0.5 + 1e-8) for p, m, v in moved]

    return step


@dataclass(frozen=True)
class Run:
    """How the network learns, from weights that are always the same."""

    rate: float
    rule: Callable[[float], Rule] = sgd
    loss: Loss = tinyloss.cross_entropy
    one_hot: bool = False
    factor: float = 1.0
    certain: float = 0.0
    """The bias of class 0: with 12 the network starts out sure that every image is a 0."""

    def start(self) -> Parameters:
        rng, size = np.random.default_rng(1), (2 / HIDDEN) ** 0.5
        first, second = rng.standard_normal((64, HIDDEN)), rng.standard_normal((HIDDEN, 10))
        return [size * first, np.zeros(HIDDEN), size * second, self.certain * ONE_HOT[0]]

    def epochs(self, count: int) -> Iterator[Parameters]:
        """Yield the parameters at the start and after each epoch."""
        x, y, *_ = images()
        parameters, rule, rng, n = self.start(), self.rule(self.rate), np.random.default_rng(2), 0
        slope_of = grad(self.loss)
        yield parameters
        for _ in range(count):
            order = rng.permutation(len(y))
            for i in range(0, len(y), BATCH):
                batch, n = order[i : i + BATCH], n + 1
                hidden, logits = forward(parameters, x[batch])
                target = ONE_HOT[y[batch]] if self.one_hot else y[batch]
                slope = self.factor * slope_of(logits, target)
                parameters = rule(parameters, backward(parameters, x[batch], hidden, slope), n)
            yield parameters


@cache
def history(run: Run, epochs: int, seen: Seen) -> Array:
    """Return what is seen of the parameters at the start and after each epoch."""
    return np.array([seen(parameters) for parameters in run.epochs(epochs)])


def forward(parameters: Parameters, x: Array) -> tuple[Array, Array]:
    a, b, c, d = parameters
    hidden = np.maximum(x @ a + b, 0)
    return hidden, hidden @ c + d


def backward(parameters: Parameters, x: Array, hidden: Array, slope: Array) -> Parameters:
    inner = (slope @ parameters[2].T) * (hidden > 0)
    return [x.T @ inner, inner.sum(0), hidden.T @ slope, slope.sum(0)]


def training_loss(parameters: Parameters) -> float:
    x, y, *_ = images()
    return float(tinyloss.cross_entropy(forward(parameters, x)[1], y))


def accuracy(parameters: Parameters) -> float:
    *_, x, y = images()
    right: Array = np.argmax(forward(parameters, x)[1], axis=-1) == y
    return float(right.mean())


def _end(panel: Any, x: float, y: float, text: str, colour: str, lift: float = 0) -> None:
    at: dict[str, Any] = {"xytext": (5, lift), "textcoords": "offset points", "va": "center"}
    panel.annotate(text, (x, y), color=colour, fontsize=9, annotation_clip=False, **at)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def rate(*, theme: Theme = "light") -> Figure:
    """Draw what a factor on the loss does to learning: to SGD what a factor on the rate does."""
    epochs, factors = 12, (0.01, 1.0, 100.0)
    plain, other = Run(0.3), Run(0.005, adam)
    n = np.arange(epochs + 1)
    with look_of(theme) as look:
        runs, adams = (
            {f: history(replace(run, factor=f), epochs, training_loss) for f in factors}
            for run in (plain, other)
        )
        both = history(Run(0.003, factor=100.0), epochs, training_loss)
        figure, axes = panels(look, 1, 1, (7.6, 4.4))
        panel = axes.flat[0]
        styles = {0.01: ("orange", "--"), 1.0: ("blue", "-"), 100.0: ("red", "-.")}
        for factor, (hue, stroke) in styles.items():
            losses = runs[factor]
            panel.plot(n, losses, color=look.line[hue], linestyle=stroke)
            _end(panel, epochs, losses[-1], f"SGD, loss × {factor:g}", look.text[hue])
        dots: dict[str, Any] = {
            "marker": "o",
            "markersize": 5,
            "markerfacecolor": "none",
            "linestyle": "none",
            "clip_on": False,
        }
        panel.plot(n, both, color=look.ink, **dots)
        name = "○ loss × 100, rate / 100"
        _end(panel, epochs, both[-1], name, look.ink, -14)
        for losses, stroke in zip(adams.values(), ("-", "--", ":"), strict=True):
            panel.plot(n, losses, color=look.line["green"], linestyle=stroke, linewidth=1.5)
        _end(panel, epochs, adams[1.0][-1], "Adam, × 0.01, 1, 100", look.text["green"], -8)
        panel.set(yscale="log", xlim=(0, epochs), xlabel="epoch")
        panel.set_ylabel("training loss, without the factor")
        # Rounding errors grow from step to step; a line is wider than a thousandth.
        same = "the same" if np.allclose(both, runs[1.0], rtol=1e-3) else "something else"
        finding = (
            f"SGD with the loss times 100 ends at {runs[100.0][-1]:.2g} instead of "
            f"{runs[1.0][-1]:.2g}; with a rate of a hundredth it learns {same}"
        )
        ends = ", ".join(f"{f:g}: {v[-1]:.2g} and {adams[f][-1]:.2g}" for f, v in runs.items())
        shown = (
            f"Training loss over {epochs} epochs of handwritten digits. At the end, by factor, SGD "
            f"and Adam: {ends}."
        )
        return tell(figure, finding, shown)


FACTOR = 2.0**14


@cache
def late_logits() -> tuple[Array, Array]:
    """Return logits and labels after 30 epochs, when most images are read well."""
    x, y, *_ = images()
    *_, parameters = Run(0.3).epochs(30)
    return forward(parameters, x[:1024])[1], y[:1024]


def scale(*, theme: Theme = "light") -> Figure:
    """Draw the gradient of the logits, which float16 loses where it is small, and a loss scale."""
    with look_of(theme) as look:
        logits, y = late_logits()
        exact = np.abs(grad(tinyloss.cross_entropy)(logits, y)).ravel()
        half = logits.astype(np.float16)
        lost: dict[float, float] = {}
        for factor in (1.0, FACTOR):
            loss = factor * tinyloss.CrossEntropyLoss()
            gone: Array = np.asarray(grad(loss)(half, y)) == 0
            lost[factor] = float(gone.mean())
        bins = np.arange(-44, 17)
        figure, axes = panels(look, 1, 1, (8.0, 4.4))
        panel = axes.flat[0]
        tall = 0.0
        for factor, hue, stroke in ((1.0, "red", "--"), (FACTOR, "blue", "-")):
            counts, _ = np.histogram(np.log2(factor * exact[exact > 0]), bins)
            share = counts / len(exact)
            tall = max(tall, float(share.max()))
            panel.stairs(share, bins, fill=True, color=look.line[hue], alpha=0.35)
            panel.stairs(share, bins, color=look.line[hue], linestyle=stroke, linewidth=1.5)
            name = "as it is" if factor == 1 else "loss × 2¹⁴"
            at: dict[str, Any] = {"ha": "center", "va": "bottom", "fontsize": 9}
            place = bins[share.argmax()] + (-2.5 if factor == 1 else 3), share.max() * 1.02
            panel.text(
                *place, f"{name}:\n{_percent(lost[factor])} become 0", color=look.text[hue], **at
            )
        # float16: the smallest normal number is 2^-14, the smallest of all 2^-24.
        panel.axvspan(-14, 16, color=look.line["green"], alpha=0.14, linewidth=0)
        panel.axvspan(-24, -14, color=look.line["orange"], alpha=0.14, linewidth=0)
        top = tall * 1.45
        soft: dict[str, Any] = {"ha": "center", "va": "top", "fontsize": 8.5, "color": look.soft}
        for x, words in ((1, "all digits"), (-19, "fewer digits"), (-34, "0 in float16")):
            panel.text(x, top * 0.98, words, **soft)
        panel.set_xticks(range(-40, 17, 8), [f"2$^{{{n}}}$" for n in range(-40, 17, 8)])
        panel.set(xlim=(-44, 16), ylim=(0, top), ylabel="share of the components")
        panel.set_xlabel("size of the gradient of the logits")
        finding = (
            f"{_percent(lost[1.0])} of a float16 gradient become 0, "
            f"{_percent(lost[FACTOR])} with the loss times 2¹⁴"
        )
        shown = (
            f"Histogram of the gradient of a mean over {len(y):,} handwritten digits by the "
            "logits, after 30 epochs, as it is and with the loss multiplied by 16,384."
        )
        return tell(figure, finding, shown)


def wrong(*, theme: Theme = "light") -> Figure:
    """Draw the right loss and a wrong one for classes: cross-entropy and squared error.

    The gradient where the model is surely wrong, and how handwritten digits are learned from a
    start that is ordinary, or sure that every image is a 0.
    """
    epochs = 15
    right = Run(0.1)
    squared = replace(right, loss=squared_error_of_softmax, one_hot=True)
    z = np.linspace(-10, 10, 401)
    with look_of(theme) as look:
        runs = {
            (name, certain): history(replace(run, certain=certain), epochs, accuracy)
            for name, run in (("cross-entropy", right), ("squared error", squared))
            for certain in (0.0, 12.0)
        }
        figure, axes = panels(look, 1, 2, (11.0, 4.3))
        left, side = axes.flat
        _slopes(left, look, z)
        n = np.arange(epochs + 1)
        hues = {"cross-entropy": "blue", "squared error": "red"}
        ends = sorted((float(each[-1]), key) for key, each in runs.items())
        height = -100.0
        for end, (name, certain) in ends:
            stroke = "--" if certain else "-"
            side.plot(n, 100 * runs[name, certain], color=look.line[hues[name]], linestyle=stroke)
            start = ", bad start" if certain else ""
            height = max(100 * end - 3, height + 5.5)
            words = f"{name}{start}: {_percent(end)}"
            _end(side, epochs, height, words, look.text[hues[name]])
        side.set(xlim=(0, epochs), ylim=(0, 100), xlabel="epoch")
        side.set(title="held-out digits that are read right, in %")
        good, bad = (runs[name, 12.0][-1] for name in hues)
        usual = [runs[name, 0.0][-1] for name in hues]
        finding = (
            f"From a bad start cross-entropy learns to read {_percent(good)} of the digits, "
            f"squared error of the probabilities {_percent(bad)}"
        )
        shown = (
            "Gradients of both losses over the logit, and accuracy over the epochs of SGD with "
            f"rate 0.1. From an ordinary start: {_percent(usual[0])} and {_percent(usual[1])}. The "
            "bad start is sure that every image is a 0."
        )
        return tell(figure, finding, shown)


def _slopes(panel: Any, look: Look, z: Array) -> None:
    ones = np.ones_like(z)
    losses: list[tuple[Loss, str, str]] = [
        (tinyloss.binary_cross_entropy_with_logits, "blue", "-"),
        (squared_error_of_sigmoid, "red", "--"),
    ]
    for loss, hue, stroke in losses:
        slope = grad(loss)(z, ones, reduction="none")
        panel.plot(z, slope, color=look.line[hue], linestyle=stroke)
    panel.axvspan(-10, -4, color=look.line["red"], alpha=0.1, linewidth=0)
    panel.text(-9.7, 0.07, "surely wrong", color=look.text["red"], fontsize=9)
    panel.text(-2.2, -0.93, "cross-entropy pulls back", color=look.text["blue"], fontsize=9)
    words = "squared error of the\nprobability lets go"
    panel.text(1.6, -0.4, words, color=look.text["red"], fontsize=9)
    panel.set(xlim=(-10, 10), ylim=(-1.08, 0.18), xlabel="logit, target 1")
    panel.set(title="gradient by the logit")
