"""Losses as curves: one or several, over a parameter, all at once, in a terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

import tinyloss
from tinyloss.losses import public_losses
from tinyloss.pictures.stage import (
    POINTS,
    SPANS,
    Array,
    Loss,
    Stage,
    What,
    broken,
    is_convex,
    name_of,
    sampled,
    stage_of,
)
from tinyloss.pictures.style import HUES, STROKES, Theme, legend, look_of, panels, tell

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ALL: tuple[What, ...] = ("value", "gradient", "curvature")
HEADS: Mapping[What, str] = {"value": "loss", "gradient": "gradient", "curvature": "curvature"}


@dataclass(frozen=True)
class Curve:
    """One line: a loss with its parameters, on its stage."""

    loss: Loss
    parameters: Mapping[str, Any]
    stage: Stage
    swept: str = ""

    @property
    def label(self) -> str:
        given = ", ".join(f"{name} = {_told(value)}" for name, value in self.parameters.items())
        return given if self.swept else name_of(self.loss) + (f", {given}" if given else "")

    def of(self, what: What, along: Array) -> Array:
        return sampled(self.loss, self.stage, what, along, self.parameters)


def _told(value: Any) -> str:
    return f"{value:g}" if type(value) in (int, float) else str(value)


def _curves(losses: Sequence[Loss], parameters: Mapping[str, Any]) -> list[Curve]:
    """Return the curves of losses, or of a loss for each of several values of a parameter."""
    if not losses:
        raise TypeError("tinyloss.pictures: got no loss, expected one or more: tinyloss.huber")
    several: dict[str, tuple[Any, ...]] = {
        name: tuple(value) for name, value in parameters.items() if np.iterable(value)
    }
    fixed = {k: v for k, v in parameters.items() if k not in several}
    if len(several) > 1 or (several and len(losses) > 1):
        raise TypeError(
            f"tinyloss.pictures: got {len(losses)} losses and several values of "
            f"{', '.join(several)}, expected several losses, or several values of one parameter"
        )
    if not several:
        return [Curve(loss, fixed, stage_of(loss, **fixed)) for loss in losses]
    (loss,) = losses
    ((name, values),) = several.items()
    if not values:
        raise ValueError(f"tinyloss.pictures: {name} has no values, expected one or more")
    given = [{**fixed, name: value} for value in values]
    return [Curve(loss, each, stage_of(loss, **each), name) for each in given]


def _together(losses: Sequence[Loss], parameters: Mapping[str, Any]) -> tuple[list[Curve], Array]:
    """Return curves of one axis, and numbers on it that all of them are drawn over."""
    lines = _curves(losses, parameters)
    if len({each.stage.kind for each in lines}) > 1:
        kinds = ", ".join(f"{each.label} over {each.stage.label}" for each in lines)
        raise ValueError(f"tinyloss.pictures: got {kinds}, expected losses of one axis")
    ends = [float(each.stage.along[i]) for each in lines for i in (0, -1)]
    return lines, np.linspace(min(ends), max(ends), POINTS)


def _spread(curves: Sequence[Curve], along: Array) -> str:
    """Return what the curves say: where they differ most, or what one of them is like."""
    values = [each.of("value", along) for each in curves]
    where = curves[0].stage.label.partition(",")[0].replace(" x − y", "")
    if len(curves) == 1:
        (losses,) = values
        convex = "convex" if is_convex(losses) else "not convex"
        slopes = curves[0].of("gradient", along)
        low, high = np.nanmin(slopes), np.nanmax(slopes)
        return f"{curves[0].label}: {convex}, with gradients from {_round(low)} to {_round(high)}"
    table = np.stack(values)
    # The ends of the axis, and its quarters: round numbers that a reader finds again.
    places = [round(q * (len(along) - 1)) for q in (1, 0.75, 0.25, 0)]
    gaps = [np.ptp(table[:, i]) if np.isfinite(table[:, i]).all() else -1.0 for i in places]
    i = places[int(np.argmax(gaps))]
    least, most = (curves[int(f(table[:, i]))] for f in (np.argmin, np.argmax))
    low, high, place = _round(table[:, i].min()), _round(table[:, i].max()), _round(along[i])
    if least.swept:
        name = name_of(least.loss)
        return f"{name} at {where} {place}: {low} with {least.label}, {high} with {most.label}"
    return f"At {where} {place}, {most.label} is {high} and {least.label} {low}"


def _limits(numbers: Sequence[Array]) -> tuple[float, float]:
    """Return the ends of an axis; a pole at an end of the curve runs out of the picture."""
    finite = np.concatenate(numbers)
    finite = finite[np.isfinite(finite)]
    if not len(finite):
        return 0.0, 1.0
    low, high = np.percentile(finite, (3, 97))
    least, most = finite.min(), finite.max()
    reach = 1.5 * (high - low) + 1e-9
    low, high = max(least, low - reach), min(most, high + reach)
    # Numbers that are all the same, but for rounding, are drawn as a flat line.
    flat = high - low <= 1e-9 * max(1.0, abs(high))
    pad = 0.5 if flat else 0.06 * (high - low)
    return float(low - pad), float(high + pad)


def curves(
    *losses: Loss,
    what: Sequence[What] = ALL,
    theme: Theme = "light",
    **parameters: Any,
) -> Figure:
    """Draw losses, their gradients and their curvature, over the prediction of one item.

    A line is broken where it jumps. The range, the target and what the axis is called follow from
    how the loss behaves.

    Parameters
    ----------
    losses
        Loss functions, tinyloss's or made by `tinyloss.loss`.
    what
        Which of "value", "gradient" and "curvature" to draw.
    theme
        "light" or "dark".
    parameters
        Parameters of the losses. Several values of one, for one loss, make a line each.

    Examples
    --------
    >>> import tinyloss
    >>> from tinyloss import pictures
    >>> figure = pictures.curves(tinyloss.huber, delta=(0.5, 1.0, 2.0))
    >>> figure.get_suptitle()
    'huber at error 3: 1.38 with delta = 0.5, 4 with delta = 2'
    """
    _check(what)
    lines, along = _together(losses, parameters)
    with look_of(theme) as look:
        size = (3.6 * max(len(what), 1.7), 3.7) if len(what) != 1 else (6.4, 4.2)
        figure, axes = panels(look, 1, len(what), size, sharex=True)
        for panel, each in zip(axes.flat, what, strict=True):
            drawn: list[Array] = []
            for line, hue, stroke in zip(lines, cycle(HUES), cycle(STROKES), strict=False):
                x, y = broken(partial(line.of, each), along)
                drawn.append(y)
                panel.plot(x, y, color=look.line[hue], linestyle=stroke, label=line.label)
            low, high = _limits(drawn)
            panel.set(title=HEADS[each], xlim=(along[0], along[-1]), ylim=(low, high))
            panel.set_xlabel(lines[0].stage.label)
            if each == "curvature" and low < 0 and min(map(np.nanmin, drawn)) < -1e-9:
                panel.axhspan(low, 0, color=look.line["red"], alpha=0.12, linewidth=0)
                if -low > 0.1 * (high - low):
                    style = {"color": look.text["red"], "fontsize": 9, "va": "bottom"}
                    place = (along[0] + 0.02 * np.ptp(along), low)
                    panel.text(*place, "below 0: not convex", **style)
        if len(lines) > 1:
            legend(figure, axes.flat[0], min(len(lines), 4))
        names = ", ".join(each.label for each in lines)
        shown = f"Curves of {', '.join(HEADS[each] for each in what)} over {lines[0].stage.label}"
        return tell(figure, _spread(lines, along), f"{shown}: {names}.")


def _check(what: Sequence[str]) -> None:
    if not what or isinstance(what, str) or set(what) - set(ALL):
        raise ValueError(f"tinyloss.pictures: what is {what!r}, expected some of {', '.join(ALL)}")


BLOCKS = "▁▂▃▄▅▆▇█"


def text(
    *losses: Loss,
    what: Sequence[What] = ALL,
    width: int = 61,
    blocks: str = BLOCKS,
    **parameters: Any,
) -> str:
    """Return the curves as lines of text, for a terminal.

    Examples
    --------
    >>> import tinyloss
    >>> from tinyloss import pictures
    >>> print(pictures.text(tinyloss.mse, what=["value", "gradient"], width=25))
    mse over error x − y from −3 to 3
    loss     █▇▆▅▄▃▃▂▁▁▁▁▁▁▁▁▁▂▃▃▄▅▆▇█ 0 to 9
    gradient ▁▁▁▂▂▂▃▃▃▄▄▄▅▅▅▆▆▆▇▇▇████ −6 to 6
    """
    _check(what)
    lines, along = _together(losses, parameters)
    along = np.linspace(float(along[0]), float(along[-1]), width)
    swept = len(lines) > 1
    name = name_of(lines[0].loss) if lines[0].swept or not swept else "losses"
    over = f"{name} over {lines[0].stage.label}"
    if not swept:
        return bars(over, along, {HEADS[each]: lines[0].of(each, along) for each in what}, blocks)
    rows = [_head(over, along)]
    margin = max(len(line.label) for line in lines)
    for each in what:
        table = [line.of(each, along) for line in lines]
        low, high, span = _span(np.concatenate(table))
        rows.append(f"{HEADS[each]}, {span}")
        for line, row in zip(lines, table, strict=True):
            rows.append(f"{line.label:{margin}} {_marks(row, low, high, blocks)}")
    return "\n".join(rows)


def bars(over: str, along: Array, curves: Mapping[str, Array], blocks: str = BLOCKS) -> str:
    """Return curves as lines of text, each with its name and the numbers that it goes from and to.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.linspace(-1, 1, 9)
    >>> print(bars("powers over x", x, {"square": x**2, "cube": x**3}))
    powers over x from −1 to 1
    square █▅▃▁▁▁▃▅█ 0 to 1
    cube   ▁▃▄▄▅▅▅▆█ −1 to 1
    """
    margin = max(map(len, curves))
    rows = [_head(over, along)]
    for name, row in curves.items():
        low, high, span = _span(row)
        rows.append(f"{name:{margin}} {_marks(row, low, high, blocks)} {span}")
    return "\n".join(rows)


def _head(over: str, along: Array) -> str:
    return f"{over} from {_round(along[0])} to {_round(along[-1])}"


def _span(numbers: Array) -> tuple[float, float, str]:
    finite = numbers[np.isfinite(numbers)]
    low, high = (float(f(finite)) if len(finite) else 0.0 for f in (np.min, np.max))
    return low, high, f"{_round(low)} to {_round(high)}"


def _marks(row: Array, low: float, high: float, blocks: str) -> str:
    return "".join(_block(number, low, high, blocks) for number in row)


def _round(number: float) -> str:
    return f"{number + 0.0:.3g}".replace("-", "−")


def _block(number: float, low: float, high: float, blocks: str) -> str:
    if not math.isfinite(number):
        return " "
    share = (number - low) / (high - low) if high > low else 0.0
    return blocks[min(int(share * len(blocks)), len(blocks) - 1)]


def zoo(*, theme: Theme = "light", columns: int = 6) -> Figure:
    """Draw the losses of elements and rows: loss and gradient of an item, in small multiples.

    Examples
    --------
    >>> from tinyloss import pictures
    >>> figure = pictures.zoo()
    >>> len(figure.axes) >= 22
    True
    """
    drawn: list[Curve] = []
    left_out: list[str] = []
    for name, loss, *_ in public_losses("elements", "rows"):
        try:
            drawn.append(Curve(loss, {}, stage_of(loss)))
        except (TypeError, ValueError):  # a loss of arrays that no number makes
            left_out.append(name)
    order = list(SPANS)
    drawn.sort(key=lambda each: (order.index(each.stage.kind), name_of(each.loss)))
    rows = -(-len(drawn) // columns)
    bent: list[str] = []
    with look_of(theme) as look:
        figure, axes = panels(look, rows, columns, (2.1 * columns, 1.85 * rows + 0.9))
        for panel, each in zip(axes.flat, drawn, strict=False):
            along = each.stage.along
            value = each.of("value", along)
            x, slope = broken(partial(each.of, "gradient"), along)
            panel.axhline(0, color=look.soft, linewidth=0.6)
            style = {"color": look.line["red"], "linestyle": "--", "linewidth": 1.3}
            panel.plot(along, value, color=look.line["blue"], label="loss of an item")
            panel.plot(x, slope, **style, label="its gradient")
            bottom, top = min(np.nanmin(slope), np.nanmin(value)), max(np.nanmax(value), 0)
            panel.set(xlim=along[[0, -1]], ylim=(max(bottom, -2.4) - 0.15, min(top, 5) + 0.15))
            name = fill(name_of(each.loss).replace("_", " _"), 24).replace(" _", "_")
            panel.set_title(name, fontsize=9, fontweight="bold", color=look.ink)
            panel.set_xlabel(each.stage.label.replace(", target", "\ntarget"), fontsize=8)
            panel.tick_params(labelsize=7)
            panel.locator_params(nbins=4)
            if not is_convex(value):
                bent.append(name_of(each.loss))
                place: dict[str, Any] = {"transform": panel.transAxes, "ha": "right", "va": "top"}
                red = look.text["red"]
                panel.text(0.98, 0.98, "not convex", color=red, fontsize=8, **place)
        for panel in axes.flat[len(drawn) :]:
            panel.set_axis_off()
        legend(figure, axes.flat[0], 2)
        straight = len(drawn) - len(bent)
        finding = f"{straight} of {len(drawn)} losses have a convex curve"
        names = ", ".join(name_of(each.loss) for each in drawn)
        shown = f"Loss and gradient of one item for {names}. Not convex: {', '.join(bent)}."
        shown += f" Not drawn: {', '.join(left_out)}." if left_out else ""
        return tell(figure, finding, shown)


@tinyloss.loss
def squared_error_of_sigmoid(x: Any, y: Any) -> Any:
    xp = tinyloss.namespace(x)
    return (1 / (1 + xp.exp(-x)) - y) ** 2


def convex(*losses: Loss, theme: Theme = "light") -> Figure:
    """Draw whether losses are convex: no curve may rise above one of its chords.

    Where it does, the chord that lies deepest below the curve is drawn.

    Examples
    --------
    >>> import tinyloss
    >>> from tinyloss import pictures
    >>> pictures.convex(tinyloss.mse, tinyloss.msle).get_suptitle()
    '1 of 2 losses is convex: no chord lies below its curve'
    """
    chosen = losses or (
        tinyloss.mse,
        tinyloss.binary_cross_entropy_with_logits,
        tinyloss.hinge,
        tinyloss.sigmoid_focal,
        tinyloss.msle,
        squared_error_of_sigmoid,
    )
    lines = _curves(chosen, {})
    columns = min(len(lines), 3)
    rows = -(-len(lines) // columns)
    good = 0
    told: list[str] = []
    with look_of(theme) as look:
        size = (max(3.7 * columns, 6.4), 2.7 * rows + 0.5)
        figure, axes = panels(look, rows, columns, size)
        for panel, each in zip(axes.flat, lines, strict=False):
            along = each.stage.along
            value = each.of("value", along)
            gap, i, j = deepest_chord(value)
            bent = not is_convex(value)
            hue = "red" if bent else "blue"
            good += not bent
            if not bent:
                i, j = len(along) // 8, len(along) - len(along) // 5
            chord = np.interp(along, along[[i, j]], value[[i, j]])
            panel.plot(along, value, color=look.line[hue], linestyle="--" if bent else "-")
            panel.plot(
                along[[i, j]], value[[i, j]], "o-", color=look.ink, linewidth=1, markersize=4
            )
            if bent:
                shade = {"color": look.line["red"], "linewidth": 0}
                panel.fill_between(along[i:j], chord[i:j], value[i:j], alpha=0.35, **shade)
                down = np.flatnonzero(np.diff(value, 2) < 0) + 1
                panel.axvspan(along[down[0]], along[down[-1]], alpha=0.1, **shade)
                at = {"transform": panel.get_xaxis_transform(), "ha": "center", "va": "top"}
                middle = (along[down[0]] + along[down[-1]]) / 2
                red = look.text["red"]
                panel.text(middle, 0.42, "bends down", color=red, fontsize=8, **at)
            verdict = f"curve {gap:.2g} above the chord" if bent else "convex"
            told.append(f"{each.label}: {verdict}")
            panel.set_title(each.label, fontweight="bold", color=look.text[hue])
            panel.set(xlabel=f"{each.stage.label}\n{verdict}", ylim=_limits([value]))
        for panel in axes.flat[len(lines) :]:
            panel.set_axis_off()
        verdict = "is convex: no chord lies below its curve"
        if len(lines) == 1:
            finding = f"{lines[0].label} {verdict if good else 'is not convex'}"
        else:
            several = "are convex: no chord lies below their curves"
            finding = f"{good} of {len(lines)} losses {verdict if good == 1 else several}"
        return tell(figure, finding, f"Curves with a chord each. {'; '.join(told)}.")


def deepest_chord(losses: Array) -> tuple[float, int, int]:
    """Return by how much a curve of equally spaced losses rises above a chord, and its ends.

    No chord is deeper than those of the lower hull, which is the greatest convex curve below.
    """
    hull: list[int] = []
    for k in range(len(losses)):
        while len(hull) > 1 and _above(losses, hull[-2], hull[-1], k):
            hull.pop()
        hull.append(k)
    gaps = losses - np.interp(np.arange(len(losses)), hull, losses[hull])
    deepest = int(np.argmax(gaps))
    after = int(np.searchsorted(hull, deepest, side="right"))
    i = hull[max(after - 1, 0)]
    return float(gaps[deepest]), i, hull[min(after, len(hull) - 1)]


def _above(losses: Array, i: int, j: int, k: int) -> bool:
    """Return whether the point j is on or above the chord from i to k."""
    return bool((losses[j] - losses[i]) * (k - i) >= (losses[k] - losses[i]) * (j - i))
