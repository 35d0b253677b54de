"""How many digits a cross-entropy has, against the gap between the logits."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

import tinyloss
from tinyloss.pictures.stage import Array
from tinyloss.pictures.style import Theme, legend, look_of, panels, tell

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DTYPES: tuple[Any, ...] = (np.float16, np.float32, np.float64)
GAPS = np.geomspace(0.1, 2000, 4001)


def naive(x: Array) -> Array:
    """Cross-entropy of class 0 as its definition says: exp, a division, a logarithm."""
    p = np.exp(x)
    loss: Array = -np.log(p[:, 0] / np.sum(p, axis=-1, dtype=x.dtype))
    return loss


def log_sum_exp(x: Array) -> Array:
    """The same, after the largest logit is taken off: as in textbooks and most libraries."""
    s = x - np.max(x, axis=-1, keepdims=True)
    loss: Array = np.log(np.sum(np.exp(s), axis=-1, dtype=x.dtype)) - s[:, 0]
    return loss


def ours(x: Array) -> Array:
    return np.asarray(tinyloss.cross_entropy(x, np.zeros(len(x), int), reduction="none"))


@dataclass(frozen=True)
class Digits:
    """Relative errors of three ways to compute a cross-entropy in one dtype."""

    gap: Array
    error: dict[str, Array]
    """Infinite where the way returns NaN or infinity."""
    eps: float
    """Of the dtype of the result: half precision is computed in float32 by tinyloss."""
    underflow: float
    """The gap from which on the exact loss is below the smallest normal number of that dtype."""

    def lost_from(self, way: str) -> float:
        """Return the gap from which on no digit is right."""
        right = np.flatnonzero(self.error[way] < 1)
        return float(self.gap[min(right[-1] + 1, len(self.gap) - 1)])

    def kept_to(self, way: str, eps: float) -> float:
        """Return the gap up to which the error is at most so many eps."""
        wrong = np.flatnonzero(~(self.error[way] <= eps * self.eps))
        return float(self.gap[wrong[0] - 1] if len(wrong) else self.gap[-1])


WAYS: dict[str, Callable[[Array], Array]] = {
    "naive": naive,
    "log-sum-exp": log_sum_exp,
    "tinyloss": ours,
}


def measure(dtype: Any) -> Digits:
    """Return the errors for two logits, of which the target's is ahead by the gap."""
    x = np.zeros((len(GAPS), 2), dtype)
    x[:, 0] = GAPS.astype(dtype)
    gap = x[:, 0].astype(np.float64)
    # log1p keeps the digits, and long double has 11 bits more, where the platform has it.
    exact = np.log1p(np.exp(-gap.astype(np.longdouble)))
    result = np.finfo(np.float32 if dtype == np.float16 else dtype)
    alive = exact >= float(result.tiny)
    error: dict[str, Array] = {}
    for name, way in WAYS.items():
        with np.errstate(all="ignore"):
            got = way(x).astype(np.longdouble)
            each = np.abs(got - exact) / exact
        error[name] = np.where(np.isfinite(got), each, np.inf)[alive].astype(np.float64)
    return Digits(gap[alive], error, float(result.eps), -math.log(float(result.tiny)))


STYLES = {
    "naive": ("−log softmax(x), as defined", "red", ":"),
    "log-sum-exp": ("log-sum-exp, as in textbooks", "orange", "--"),
    "tinyloss": ("tinyloss", "blue", "-"),
}


def envelope(errors: Array, n: int) -> Array:
    """Return the largest error among neighbours: the scatter of single roundings says nothing."""
    padded = np.pad(errors, n, mode="edge")
    largest: Array = np.max(np.lib.stride_tricks.sliding_window_view(padded, 2 * n + 1), axis=-1)
    return largest


def digits(*, theme: Theme = "light") -> Figure:
    """Draw the relative error of cross-entropy against the gap between two logits.

    For float16, float32 and float64: as its definition says, by log-sum-exp, and by tinyloss.

    Examples
    --------
    >>> from tinyloss import pictures
    >>> print(pictures.digits().get_suptitle())
    In float32, log-sum-exp has no digit from a gap of 17 on; tinyloss has all of them up to 87
    """
    with look_of(theme) as look:
        size, axis = (11.0, 4.5), {"sharey": True}
        figure, axes = panels(look, 1, len(DTYPES), size, **axis)
        all_measured = {np.dtype(dtype).name: measure(dtype) for dtype in DTYPES}
        red = look.text["red"]
        for panel, (name, measured) in zip(axes.flat, all_measured.items(), strict=True):
            gap = measured.gap
            panel.set(xscale="log", yscale="log", xlim=(0.1, 2000), ylim=(1e-17, 60))
            panel.set_title(name, color=look.ink, fontweight="bold")
            panel.set_xlabel("gap between the logits")
            panel.axhspan(1, 60, color=look.line["red"], alpha=0.1, linewidth=0)
            panel.axvspan(measured.underflow, 2000, color=look.band, linewidth=0)
            for way, (label, hue, stroke) in STYLES.items():
                error = measured.error[way]
                bad = ~np.isfinite(error)
                smooth = np.clip(envelope(np.where(bad, 0, error), 25), 1e-17, 1)
                line = np.where(bad, np.nan, smooth)
                colour = look.line[hue]
                panel.plot(gap, line, color=colour, linestyle=stroke, label=label, zorder=3)
                if bad.any():
                    ends = [gap[bad][0], gap[bad][-1]]
                    panel.plot(ends, [8, 8], color=colour, linewidth=5, solid_capstyle="butt")
            panel.axhline(measured.eps, color=look.soft, linewidth=0.8)
            small = {"fontsize": 8, "color": look.soft}
            last = "one unit in the last digit" + (" of float32" if name == "float16" else "")
            panel.text(0.115, measured.eps / 3, last, va="top", **small)
            under = "the exact loss\nunderflows"
            panel.text(measured.underflow * 1.1, 3e-17, under, rotation=90, va="bottom", **small)
        first = axes.flat[0]
        first.text(0.115, 8, "NaN or infinite", fontsize=8, color=red, va="center")
        first.text(0.115, 0.4, "no digit is right", fontsize=8, color=look.soft, va="top")
        first.set_ylabel("relative error of the loss")
        legend(figure, first, 3)
        single = all_measured["float32"]
        lost, kept = single.lost_from("log-sum-exp"), single.kept_to("tinyloss", 4)
        finding = (
            f"In float32, log-sum-exp has no digit from a gap of {math.ceil(lost)} on; "
            f"tinyloss has all of them up to {math.floor(kept)}"
        )
        shown = (
            "Relative error of a cross-entropy of two logits over the gap between them, in "
            "float16, float32 and float64: −log softmax, log-sum-exp and tinyloss."
        )
        return tell(figure, finding, shown)
