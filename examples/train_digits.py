"""Train a first neural network on handwritten digits: on any array library, with any loss.

    python examples/train_digits.py
    python examples/train_digits.py --array jax --loss squared_hinge --dtype bfloat16

The network is Linear -> ReLU -> Linear, without a framework. tinyloss gives the loss and its
gradient by the network's output, and `backward` applies the chain rule from there. The code is
written once over `xp`, the namespace of the array library. The data are the 1797 images of 8 x 8
pixels that come with scikit-learn; a fifth of them is held out.
"""

from __future__ import annotations

import argparse
import importlib
import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

import tinyloss

Array = Any  # of whichever library was asked for
Arrays = list[Array]
Moments = tuple[Arrays, Arrays]


@tinyloss.loss(labels=True)
def squared_margin(x: Array, y: Array) -> Array:
    """A loss of our own: how far each wrong digit comes within 1 of the right one, squared."""
    xp = tinyloss.namespace(x)
    target = y[..., None] == xp.arange(x.shape[-1])
    right = xp.sum(xp.where(target, x, 0.0), axis=-1, keepdims=True)
    margins = xp.where(target, 0.0, xp.maximum(x - right + 1, 0.0))
    return xp.sum(margins**2, axis=-1)


OWN = {"squared_margin": squared_margin}
# The losses that compare logits with a class, by what they take as the target.
LABEL = ["cross_entropy", "softmax_focal", *OWN]
SIGN = ["hinge", "squared_hinge", "soft_margin"]
LOGITS = ["kl_div_with_logits"]
ONE_HOT = ["binary_cross_entropy_with_logits", "sigmoid_focal", "poisson_nll"]
ERROR = ["mse", "mae", "huber", "smooth_l1", "log_cosh", "quantile"]  # one-hot as well
LOSSES = LABEL + SIGN + LOGITS + ONE_HOT + ERROR
LIBRARIES = {"numpy": "numpy", "jax": "jax.numpy", "torch": "torch", "cupy": "cupy"}
DTYPES = ["float32", "float64", "bfloat16", "float16"]


class Epoch(NamedTuple):
    """Loss and accuracy after an epoch, on the training images and on those held out."""

    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float


@dataclass
class History:
    """The loss of every batch, and a summary of every epoch."""

    steps: list[float] = field(default_factory=list)
    epochs: list[Epoch] = field(default_factory=list)


def need(module: str) -> Any:
    """Import `module`, or end with one line that says what is missing."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0].replace("sklearn", "scikit-learn")
        raise SystemExit(
            f"train_digits.py needs {package}: {error}. Next: pip install {package}"
        ) from None


def array_namespace(array: str, dtype: str) -> Any:
    """The array-API namespace of a library."""
    library = need(LIBRARIES[array])
    if array == "jax" and dtype == "float64":
        need("jax").config.update("jax_enable_x64", True)
    try:
        return tinyloss.namespace(library.zeros(1))
    except Exception as error:  # CuPy imports without a GPU and fails here, in its own words
        raise SystemExit(f"train_digits.py: {array} does not run here: {error}") from None


def load_digits() -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Images, with pixels from 0 to 1, and labels: for training, and held out."""
    x, k = need("sklearn.datasets").load_digits(return_X_y=True)
    split = need("sklearn.model_selection").train_test_split
    train_x, test_x, train_k, test_k = split(x / 16, k, test_size=0.2, stratify=k, random_state=0)
    return (train_x, train_k), (test_x, test_k)


def make_target(loss: str, labels: Array) -> Array:
    """The target that `loss` compares the logits with."""
    one_hot = np.eye(10)[labels]  # 3 -> 0 0 0 1 0 0 0 0 0 0
    if loss in SIGN:
        return 2 * one_hot - 1
    if loss in LOGITS:
        return 8 * one_hot  # of a teacher who is nearly sure
    return labels if loss in LABEL else one_hot


def initial_params(rng: np.random.Generator, hidden: int) -> Arrays:
    """Weights and biases of both layers; weights have the variance 2 / inputs (He et al., 2015)."""
    w1 = rng.standard_normal((64, hidden)) * math.sqrt(2 / 64)
    w2 = rng.standard_normal((hidden, 10)) * math.sqrt(2 / hidden)
    return [w1, np.zeros(hidden), w2, np.zeros(10)]


def forward(xp: Any, params: Arrays, x: Array) -> tuple[Array, Array]:
    """The hidden layer and the logits."""
    w1, b1, w2, b2 = params
    z = x @ w1 + b1  # (batch, 64) @ (64, hidden)
    h = xp.where(z > 0, z, xp.zeros_like(z))
    return h, h @ w2 + b2  # (batch, hidden) @ (hidden, 10)


def backward(xp: Any, params: Arrays, x: Array, h: Array, g: Array) -> Arrays:
    """The loss's gradient by every parameter, from `g`, its gradient by the logits."""
    _, _, w2, _ = params
    gh = g @ w2.T  # (batch, 10) @ (10, hidden)
    gz = xp.where(h > 0, gh, xp.zeros_like(gh))  # where ReLU gave 0, nothing flows back
    return [x.T @ gz, xp.sum(gz, axis=0), h.T @ g, xp.sum(g, axis=0)]


def adam(
    xp: Any, params: Arrays, grads: Arrays, moments: Moments, rate: float
) -> tuple[Arrays, Moments]:
    """One step of Adam (Kingma & Ba, 2015); `rate` includes the correction of its moments."""
    means = [0.9 * m + 0.1 * g for m, g in zip(moments[0], grads, strict=True)]
    squares = [0.999 * s + 0.001 * g * g for s, g in zip(moments[1], grads, strict=True)]
    moves = [m / (xp.sqrt(s) + 1e-8) for m, s in zip(means, squares, strict=True)]
    return [p - rate * d for p, d in zip(params, moves, strict=True)], (means, squares)


def rates(lr: float, steps: int) -> Iterator[float]:
    """The rate of every step: linear from `lr` to 0, times Adam's correction of its moments."""
    for t in range(1, steps + 1):
        yield lr * (1 - (t - 1) / steps) * math.sqrt(1 - 0.999**t) / (1 - 0.9**t)


def train(
    array: str = "numpy",
    loss: str = "cross_entropy",
    dtype: str = "float32",
    *,
    epochs: int = 40,
    batch: int = 64,
    lr: float = 0.005,
    seed: int = 0,
    hidden: int = 256,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> History:
    """Train on the digits and call `on_epoch` after every epoch.

    NumPy draws the first weights and the order of the images from `seed`, so every array library
    starts from the same numbers and sees the same batches.
    """
    xp = array_namespace(array, dtype)
    # A half type is used as it is in practice: the loss takes logits of that type and returns a
    # gradient of that type, while weights stay in float32, where a small step is not rounded away.
    wide = xp.float64 if dtype == "float64" else xp.float32
    narrow = getattr(xp if hasattr(xp, dtype) else need("ml_dtypes"), dtype)
    loss_function = OWN.get(loss) or getattr(tinyloss, loss)
    loss_and_grad: Callable[..., Any] = tinyloss.value_and_grad(loss_function)

    def move(a: Array) -> Array:
        return xp.asarray(a, dtype=wide) if a.dtype.kind == "f" else xp.asarray(a)

    def step(
        params: Arrays, moments: Moments, x: Array, y: Array, chosen: Array, rate: float
    ) -> tuple[Arrays, Moments, Array]:
        x, y = xp.take(x, chosen, axis=0), xp.take(y, chosen, axis=0)
        h, logits = forward(xp, params, x)
        value, g = loss_and_grad(xp.astype(logits, narrow), y)
        grads = backward(xp, params, x, h, xp.astype(g, wide))
        params, moments = adam(xp, params, grads, moments, rate)
        return params, moments, value

    def evaluate(params: Arrays, x: Array, y: Array, k: Array) -> tuple[Array, Array]:
        _, logits = forward(xp, params, x)
        right = xp.astype(xp.argmax(logits, axis=-1) == k, wide)
        return loss_function(xp.astype(logits, narrow), y), xp.mean(right)

    if array == "jax":
        step, evaluate = map(need("jax").jit, (step, evaluate))

    (x, y, k), held_out = ((move(x), move(make_target(loss, k)), move(k)) for x, k in load_digits())
    rng = np.random.default_rng(seed)
    params = [move(p) for p in initial_params(rng, hidden)]
    moments = [xp.zeros_like(p) for p in params], [xp.zeros_like(p) for p in params]
    starts = range(0, x.shape[0], batch)
    rate = rates(lr, epochs * len(starts))
    history = History()
    # Products this small gain nothing from a second thread, and wait for it on a busy machine.
    with need("threadpoolctl").threadpool_limits(1):
        for _ in range(epochs):
            order = rng.permutation(x.shape[0])
            values: Arrays = []
            for start in starts:
                chosen = move(order[start : start + batch])
                params, moments, value = step(params, moments, x, y, chosen, next(rate))
                values.append(value)  # read at the end of the epoch: a device need not wait for it
            history.steps += map(float, values)
            scores = *evaluate(params, x, y, k), *evaluate(params, *held_out)
            history.epochs.append(Epoch(*map(float, scores)))
            on_epoch(history.epochs[-1])
    return history


@contextmanager
def progress(epochs: int) -> Generator[Callable[[Epoch], None], None, None]:
    """Show the progress: a bar on a terminal, elsewhere some ten plain lines."""
    rich = need("rich.progress")
    console = need("rich.console").Console(highlight=False, soft_wrap=True)
    columns = "epoch", rich.MofNCompleteColumn(), rich.BarColumn(), "{task.description}"
    bar = rich.Progress(*columns, console=console, disable=not console.is_terminal)
    task = bar.add_task("", total=epochs)

    def on_epoch(epoch: Epoch) -> None:
        scores = f"loss {epoch.train_loss:.5f}, held-out accuracy {epoch.test_accuracy:.1%}"
        bar.update(task, advance=1, description=scores)
        done = int(bar.tasks[task].completed)
        if bar.disable and (done % math.ceil(epochs / 10) == 0 or done == epochs):
            console.print(f"epoch {done:>{len(str(epochs))}}/{epochs}: {scores}")

    with bar:
        yield on_epoch


def plot(history: History, title: str, path: str) -> None:
    """Save a picture of the loss and the accuracy over the epochs."""
    need("matplotlib").use("agg")
    figure, (left, right) = need("matplotlib.pyplot").subplots(
        1, 2, figsize=(10, 4), layout="constrained"
    )
    epochs = len(history.epochs)
    train_loss, train_accuracy, test_loss, test_accuracy = np.asarray(history.epochs).T
    batches = np.linspace(0, epochs, len(history.steps), endpoint=False)
    left.plot(batches, history.steps, color="C0", alpha=0.25, linewidth=0.6, label="each batch")
    for axes, images, style, curve, last in (
        (left, "training images", "C0-", train_loss, "{:.3g}"),
        (left, "held-out images", "C1--", test_loss, "{:.3g}"),
        (right, "training images", "C0-", 100 * train_accuracy, "{:.1f} %"),
        (right, "held-out images", "C1--", 100 * test_accuracy, "{:.1f} %"),
    ):
        label = f"{images}: {last.format(curve[-1])} at the end"
        axes.plot(range(1, epochs + 1), curve, style, label=label)
    for axes in (left, right):
        axes.set(xlabel="epoch", xlim=(0, epochs))
        axes.grid(alpha=0.3)
        axes.legend()
    left.set(ylabel="loss", yscale="log" if min(history.steps) > 0 else "linear")
    right.set(ylabel="accuracy (%)")
    figure.suptitle(title)
    figure.savefig(path, dpi=150)


def positive(text: str) -> int:
    """A whole number of at least 1, from the command line."""
    if (number := int(text)) < 1:
        raise ValueError
    return number


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line, train, report, draw."""
    parser = argparse.ArgumentParser(
        description="Train a small network on handwritten digits.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--array", choices=LIBRARIES, default="numpy", help="array library")
    add("--loss", choices=LOSSES, default="cross_entropy", metavar="LOSS", help=", ".join(LOSSES))
    add("--dtype", choices=DTYPES, default="float32", help="of the logits that the loss sees")
    add("--epochs", type=positive, default=40, help="passes over the training images")
    add("--batch", type=positive, default=64, help="images in a step")
    add("--lr", type=float, default=0.005, help="the rate that Adam starts with")
    add("--seed", type=int, default=0, help="of the first weights and the order of the images")
    add("--hidden", type=positive, default=256, help="hidden units")
    add("--plot", metavar="PATH", default="digits.png", help="where the picture goes")
    add("--no-plot", action="store_false", dest="plot", default=argparse.SUPPRESS, help="draw none")
    options = vars(parser.parse_args(argv))
    if path := options.pop("plot"):
        need("matplotlib")  # before training, not after it

    start = time.perf_counter()
    with progress(options["epochs"]) as on_epoch:
        history = train(**options, on_epoch=on_epoch)
    seconds = time.perf_counter() - start
    title = "{array}, {loss}, {dtype}".format(**options)
    accuracy = f"{history.epochs[-1].test_accuracy:.1%}"
    print(f"{title}: {accuracy} of the held-out digits right after {seconds:.1f} s of training")
    if path:
        plot(history, f"{title}: {accuracy} of the held-out digits right", path)
        print(f"curves of loss and accuracy: {path}")


if __name__ == "__main__":
    main()
