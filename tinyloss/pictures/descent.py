"""Losses as landscapes over two weights, with the path of gradient descent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

import tinyloss
from tinyloss.pictures.lines import squared_error_of_sigmoid
from tinyloss.pictures.stage import Array, Loss, grad, items_of, name_of, stage_of
from tinyloss.pictures.style import Theme, look_of, panels, tell

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POINTS = 81
ITEMS = 80


@dataclass(frozen=True)
class Problem:
    """A linear model of two weights; the items it is to fit; where and how fast descent starts."""

    loss: Loss
    items: Array
    target: Array
    span: tuple[tuple[float, float], tuple[float, float]]
    start: tuple[float, float]
    longest: float
    what: str

    def surface(self, weights: Array) -> Array:
        """Return the mean loss for each of many pairs of weights."""
        x = weights @ self.items.T
        y = np.broadcast_to(self.target, x.shape)
        surface: Array = np.mean(items_of(self.loss, x, y.copy()), axis=-1)
        return surface

    def slope(self, weights: Array) -> Array:
        """Return the gradient of the mean loss by one pair of weights."""
        slope: Array = self.items.T @ grad(self.loss)(self.items @ weights, self.target)
        return slope

    def rate(self) -> float:
        """Return `longest`, halved until the first step does not raise the loss."""
        start, rate = np.array(self.start), self.longest
        while rate and not self.surface(start - rate * self.slope(start)) <= self.surface(start):
            rate /= 2
        return rate

    def descend(self, steps: int) -> Array:
        """Return the weights before and after each step."""
        path, rate = [np.array(self.start)], self.rate()
        for _ in range(steps):
            path.append(path[-1] - rate * self.slope(path[-1]))
        return np.array(path)


def problem_of(loss: Loss) -> Problem:
    """Return a regression for a loss of errors, else two classes with a few wrong labels."""
    rng, stage = np.random.default_rng(3), stage_of(loss)
    kind = stage.kind
    if kind == "error":
        items = rng.standard_normal((ITEMS, 2)) @ np.array([[1.0, 0.0], [0.75, 0.6]])
        target = items @ np.array([1.5, -1.0]) + 0.3 * rng.standard_normal(ITEMS)
        return Problem(loss, items, target, ((-3, 5), (-5, 3)), (-2.5, 2.5), 0.35, "a regression")
    if kind not in ("logit", "score", "prediction"):
        raise ValueError(
            f"tinyloss.pictures.landscape: {name_of(loss)} is a loss over {stage.label}, expected "
            "one over any real number, as binary_cross_entropy_with_logits is"
        )
    side = np.repeat([1.0, -1.0], ITEMS // 2)
    items = 0.9 * rng.standard_normal((ITEMS, 2)) + side[:, None] * np.array([1.2, 0.6])
    side[[3, 12, 40]] *= -1
    target = side if kind == "score" else (side + 1) / 2
    return Problem(loss, items, target, ((-6, 10), (-8, 8)), (-5.0, -6.0), 1.5, "two classes")


def landscape(*losses: Loss, steps: int = 40, theme: Theme = "light") -> Figure:
    """Draw the mean loss over the two weights of a linear model, and a path of gradient descent.

    Losses of an error fit a regression, others two classes; those of one kind the same data.

    Parameters
    ----------
    losses
        Loss functions of real predictions. None: squared error, cross-entropy, and the squared
        error of the probability that cross-entropy has.
    steps
        How many steps descent takes.
    theme
        "light" or "dark".

    Examples
    --------
    >>> from tinyloss import pictures
    >>> print(pictures.landscape().get_suptitle())
    After 40 steps, squared error of sigmoid still has 100 % of its loss, ...
    """
    chosen = losses or (
        tinyloss.mse,
        tinyloss.binary_cross_entropy_with_logits,
        squared_error_of_sigmoid,
    )
    problems = [problem_of(loss) for loss in chosen]
    columns = min(len(problems), 3)
    rows = -(-len(problems) // columns)
    told: list[tuple[str, float, str, float, float]] = []
    with look_of(theme) as look:
        size = (max(3.7 * columns, 6.4), 4.05 * rows + 0.35)
        figure, axes = panels(look, rows, columns, size)
        for panel, problem in zip(axes.flat, problems, strict=False):
            u, v = (np.linspace(*span, POINTS) for span in problem.span)
            surface = problem.surface(np.stack(np.meshgrid(u, v), axis=-1))
            low, high = np.min(surface), np.max(surface)
            levels = low + (high - low) * np.linspace(0, 1, 16) ** 2.2
            panel.contourf(u, v, surface, levels=levels, cmap=look.field)
            panel.contour(u, v, surface, levels=levels, colors=look.paper, linewidths=0.5)
            path = problem.descend(steps)
            before, after = problem.surface(path[[0, -1]])
            name = name_of(problem.loss).replace("_", " ")
            left = float(after / before)
            told.append((problem.what, left, name, float(before), float(after)))
            red, white = "#D55E00", "#FFFFFF"
            panel.plot(*path.T, color=white, linewidth=3.4, solid_capstyle="round")
            panel.plot(*path.T, "o-", color=red, markersize=3, linewidth=1.4)
            mark: dict[str, Any] = {"markeredgecolor": white, "markeredgewidth": 1.5}
            panel.plot(*path[0], "o", color=red, markersize=9, **mark)
            j, i = np.unravel_index(np.argmin(surface), surface.shape)
            if 0 < i < POINTS - 1 and 0 < j < POINTS - 1:
                mark = {"markeredgecolor": "#000000", "markersize": 14}
                panel.plot(u[i], v[j], "*", color=white, **mark)
            panel.set(xlim=problem.span[0], ylim=problem.span[1], aspect="equal")
            panel.set(xlabel="first weight", ylabel="second weight")
            panel.grid(visible=False)
            panel.set_title(
                f"{name.replace(' with logits', '')}, {problem.what}\n"
                f"loss {before:.3g} → {after:.3g}, {steps} steps, rate {problem.rate():.2g}",
                color=look.ink,
            )
        for panel in axes.flat[len(problems) :]:
            panel.set_axis_off()
        what, left, worst, *_ = max(told, key=lambda each: each[1])
        finding = f"After {steps} steps, {worst} still has {_percent(left)} of its loss"
        # On the same data; losses of other data have other minima.
        _, least, best, *_ = min(each for each in told if each[0] == what)
        if best != worst:
            finding += f", {best} {_percent(least)}"
        shown = "; ".join(f"{name} {before:.3g} to {after:.3g}" for *_, name, before, after in told)
        shown = f"Loss over two weights, and the path of gradient descent: {shown}."
        return tell(figure, finding, shown)


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.095 else f"{100 * share:.0f} %"
