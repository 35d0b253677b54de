"""Learn to read strings of handwritten digits without being told where a digit is.

    python examples/ctc_digits.py

Strings of one to five digits are put together from the images that come with scikit-learn, with
gaps of any width. A window of twelve columns goes over them, two columns at a time; each stop is a
frame. The network, Linear -> ReLU -> Linear, says for each frame one of ten digits or the blank. It
is told nothing but the string: `tinyloss.ctc` adds up all ways to spread it over the frames, and
returns the gradient by each frame's logits.

The picture shows a string that was held out, and what the network says of each frame.
"""

from __future__ import annotations

import argparse
import importlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

import tinyloss

digits: Any = importlib.import_module("train_digits")  # the file beside this one

Array = Any
LONGEST, WINDOW, STRIDE, WIDEST_GAP = 5, 12, 2, 4
COLUMNS = LONGEST * (8 + WIDEST_GAP) + WINDOW
BLANK = 0
"""The class of no digit; that of a digit is one more than the digit."""


class Strings(NamedTuple):
    """Strings of digits, padded to one length."""

    images: Array
    """(N, 8, columns)."""
    x: Array
    """What the window sees at each stop, (N, frames, 96)."""
    frames: Array
    """How many frames are of the string."""
    y: Array
    """The classes of its digits, (N, LONGEST)."""
    lengths: Array


@dataclass
class Run:
    """What a training came to."""

    losses: list[float] = field(default_factory=list)
    before: list[str] = field(default_factory=list)
    """What the network read before it had learned."""
    after: list[str] = field(default_factory=list)
    right: float = 0.0
    """The share of held-out strings that are read without a mistake."""
    held_out: Any = None
    logits: Any = None


def strings(rng: np.random.Generator, images: Array, labels: Array, count: int) -> Strings:
    """Put strings together from images of digits (N, 64)."""
    lengths = rng.integers(1, LONGEST + 1, count)
    canvas = np.zeros((count, 8, COLUMNS), np.float32)
    y = np.zeros((count, LONGEST), int)
    frames = np.zeros(count, int)
    for n in range(count):
        at = WINDOW // 2
        for place, chosen in enumerate(rng.integers(0, len(images), lengths[n])):
            at += int(rng.integers(0, WIDEST_GAP + 1))
            canvas[n, :, at : at + 8] = images[chosen].reshape(8, 8)
            y[n, place] = labels[chosen] + 1
            at += 8
        frames[n] = min((at + WINDOW // 2 - WINDOW) // STRIDE + 1, (COLUMNS - WINDOW) // STRIDE + 1)
    windows = np.lib.stride_tricks.sliding_window_view(canvas, WINDOW, axis=2)[:, :, ::STRIDE]
    x = np.ascontiguousarray(windows.transpose(0, 2, 1, 3)).reshape(count, -1, 8 * WINDOW)
    return Strings(canvas, x, frames, y, lengths)


def forward(params: list[Array], x: Array) -> tuple[Array, Array]:
    """Return the hidden layer and the logits of each frame."""
    w, b, v, c = params
    hidden = np.maximum(x @ w + b, 0)
    return hidden, hidden @ v + c


def backward(params: list[Array], x: Array, hidden: Array, g: Array) -> list[Array]:
    """Return the gradients by the parameters, g that by the logits."""
    x, hidden, g = (each.reshape(-1, each.shape[-1]) for each in (x, hidden, g))
    back = (g @ params[2].T) * (hidden > 0)
    return [x.T @ back, back.sum(0), hidden.T @ g, g.sum(0)]


def read(logits: Array, frames: Array) -> list[str]:
    """Return what the likeliest symbols of the frames spell."""
    found: list[str] = []
    for symbols, count in zip(logits.argmax(-1), frames, strict=True):
        kept = [k for t, k in enumerate(symbols[:count]) if t == 0 or k != symbols[t - 1]]
        found.append("".join(str(k - 1) for k in kept if k != BLANK))
    return found


def spelled(of: Strings) -> list[str]:
    """Return the digits of strings."""
    return [
        "".join(str(k - 1) for k in classes[:n])
        for classes, n in zip(of.y, of.lengths, strict=True)
    ]


def train(steps: int = 1000, batch: int = 64, hidden: int = 192, progress: Any = None) -> Run:
    """Train, and say how it went; `progress` is called with each step's loss."""
    rng = np.random.default_rng(0)
    (images, labels), (held_images, held_labels) = digits.load_digits()
    run = Run(held_out=strings(rng, held_images, held_labels, 500))
    held = run.held_out
    params = [
        (rng.standard_normal(shape) * np.sqrt(2 / shape[0])).astype(np.float32)
        if len(shape) == 2
        else np.zeros(shape, np.float32)
        for shape in ((8 * WINDOW, hidden), (hidden,), (hidden, 11), (11,))
    ]
    moments: Any = tuple([[np.zeros_like(p) for p in params] for _ in range(2)])
    loss = tinyloss.CTCLoss(blank=BLANK)
    with digits.need("threadpoolctl").threadpool_limits(1):
        run.before = read(forward(params, held.x)[1], held.frames)
        for rate in digits.rates(0.005, steps):
            drawn = strings(rng, images, labels, batch)
            seen, logits = forward(params, drawn.x)
            value, g = loss.value_and_grad(
                logits, drawn.y, logit_lengths=drawn.frames, label_lengths=drawn.lengths
            )
            grads = backward(params, drawn.x, seen, g)
            params, moments = digits.adam(np, params, grads, moments, rate)
            run.losses.append(float(value))
            if progress is not None:
                progress(run.losses)
        run.logits = forward(params, held.x)[1]
    run.after = read(run.logits, held.frames)
    run.right = float(np.mean([a == b for a, b in zip(run.after, spelled(held), strict=True)]))
    return run


def plot(run: Run, path: str) -> None:
    """Save a picture of a string that was held out, and of what is said of its frames."""
    digits.need("matplotlib").use("agg")
    held = run.held_out
    n = int(np.argmax(held.lengths))
    count = int(held.frames[n])
    figure, (top, below) = digits.need("matplotlib.pyplot").subplots(
        2, 1, figsize=(9, 4), layout="constrained", height_ratios=(1, 2)
    )
    width = WINDOW + STRIDE * (count - 1)
    top.imshow(held.images[n, :, :width], cmap="gray_r", aspect="auto", extent=(0, width, 8, 0))
    top.set(yticks=[], xticks=[], title=f"{spelled(held)[n]}, read as {run.after[n]}")
    p = tinyloss.softmax(run.logits[n, :count])
    at = WINDOW / 2 + STRIDE * np.arange(count)
    below.plot(at, p[:, BLANK], color="0.7", label="blank")
    for k in np.unique(held.y[n, : held.lengths[n]]):
        below.plot(at, p[:, k], label=str(k - 1))
    below.set(xlim=(0, width), ylim=(0, 1.02), xlabel="column", ylabel="probability")
    below.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=150)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line, train, report, draw."""
    parser = argparse.ArgumentParser(
        description="Learn to read strings of digits by connectionist temporal classification.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--steps", type=digits.positive, default=1000, help="batches of strings")
    parser.add_argument("--plot", metavar="PATH", default="ctc_digits.png", help="the picture")
    options = parser.parse_args(argv)
    every = max(1, options.steps // 10)

    def progress(losses: list[float]) -> None:
        done = len(losses)
        if done % every == 0:
            print(f"step {done}/{options.steps}: loss {np.mean(losses[-every:]):.4f}", flush=True)

    start = time.perf_counter()
    run = train(options.steps, progress=progress)
    seconds = time.perf_counter() - start
    truth = spelled(run.held_out)
    for n in range(5):
        print(f"{truth[n]:>5}: read as {run.before[n]!r} before, as {run.after[n]!r} after")
    print(f"{run.right:.1%} of the held-out strings read right after {seconds:.1f} s of training")
    plot(run, options.plot)
    print(f"a string and what was said of its frames: {options.plot}")


if __name__ == "__main__":
    main()
