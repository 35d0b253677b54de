"""Train with torch twice, from the same weights: with torch's cross-entropy, then with tinyloss.

    python examples/train_torch.py
    python examples/train_torch.py --task tokens

`digits` is a small network for handwritten digits. `tokens` is the head of a language model, 4096
tokens of 32000 words a step, where the loss is a good part of the time. One line differs between
the two: the criterion. The milliseconds of the loss are those of its value and its gradient by the
logits.
"""

from __future__ import annotations

import argparse
import importlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

WORDS, TOKENS = 32000, 4096
CRITERIA = {"torch": "torch.nn", "tinyloss": "tinyloss.torch"}

Batch = tuple[Any, Any]


def need(module: str) -> Any:
    """Import `module`, or end with one line that says what is missing."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0].replace("sklearn", "scikit-learn")
        raise SystemExit(
            f"train_torch.py needs {package}: {error}. Next: pip install {package}"
        ) from None


@dataclass
class Run:
    """What one training showed: for each step the loss, and seconds of the loss and of all."""

    losses: list[float] = field(default_factory=list)
    of_loss: list[float] = field(default_factory=list)
    of_step: list[float] = field(default_factory=list)
    accuracy: float = 0.0


def digits(steps: int) -> tuple[Callable[[], Any], Iterator[Batch], Batch]:
    """A network, batches of images, and images that are held out."""
    torch = need("torch")
    x, k = need("sklearn.datasets").load_digits(return_X_y=True)
    split = need("sklearn.model_selection").train_test_split
    train_x, test_x, train_k, test_k = map(
        torch.as_tensor, split(x / 16, k, test_size=0.2, stratify=k, random_state=0)
    )
    train_x, test_x = train_x.float(), test_x.float()

    def network() -> Any:
        nn = torch.nn
        return nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))

    chosen = (torch.randperm(len(train_x))[:64] for _ in range(steps))
    return network, ((train_x[each], train_k[each]) for each in chosen), (test_x, test_k)


def tokens(steps: int) -> tuple[Callable[[], Any], Iterator[Batch], Batch]:
    """A model of the next word by the last, and text in which a word has one usual successor."""
    torch = need("torch")
    often = 1 / torch.arange(1, WORDS + 1, dtype=torch.float64)  # Zipf's law
    successor = torch.randperm(WORDS)

    def text() -> Batch:
        word = torch.multinomial(often, TOKENS, replacement=True)
        usual = torch.rand(TOKENS) < 0.9
        return word, torch.where(usual, successor[word], torch.randint(WORDS, (TOKENS,)))

    def model() -> Any:
        return torch.nn.Sequential(torch.nn.Embedding(WORDS, 64), torch.nn.Linear(64, WORDS))

    return model, (text() for _ in range(steps)), text()


TASKS: dict[str, Any] = {"digits": digits, "tokens": tokens}
STEPS = {"digits": 600, "tokens": 20}


def train(
    task: str, library: str, steps: int, *, seed: int = 0, on_step: Callable[[float], None]
) -> Run:
    """Train with the cross-entropy of a library, and call `on_step` with the loss of each step."""
    torch = need("torch")
    torch.manual_seed(seed)
    model_of, batches, (test_x, test_y) = TASKS[task](steps)
    torch.manual_seed(seed)
    model = model_of()
    criterion = need(CRITERIA[library]).CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    run = Run()
    for x, y in batches:
        begun = time.perf_counter()
        optimizer.zero_grad()
        logits = model(x)
        ready = time.perf_counter()
        # called as soon as the gradient by the logits is known
        logits.register_hook(lambda _, ready=ready: run.of_loss.append(time.perf_counter() - ready))
        value = criterion(logits, y)
        value.backward()
        optimizer.step()
        run.of_step.append(time.perf_counter() - begun)
        run.losses.append(value.item())
        on_step(run.losses[-1])
    with torch.no_grad():
        run.accuracy = (model(test_x).argmax(-1) == test_y).double().mean().item()
    return run


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line, train with both losses, report."""
    parser = argparse.ArgumentParser(
        description="Train with torch's cross-entropy and with tinyloss.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--task", choices=TASKS, default="digits", help="what is learnt")
    parser.add_argument("--steps", type=int, help="steps of the optimizer (default: by the task)")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and the batches")
    options = parser.parse_args(argv)
    steps = options.steps or STEPS[options.task]
    need("torch")
    console = need("rich.console").Console(highlight=False, soft_wrap=True)

    print(f"{options.task}: {steps} steps")
    print("                 loss: first     last   held out right   ms: of the loss   of a step")
    for library in CRITERIA:
        with need("rich.progress").Progress(
            console=console, transient=True, disable=not console.is_terminal
        ) as bar:
            job = bar.add_task(library, total=steps)

            def on_step(loss: float, bar: Any = bar, job: Any = job, name: str = library) -> None:
                bar.update(job, advance=1, description=f"{name}: loss {loss:.4f}")
                done = int(bar.tasks[0].completed)
                if not console.is_terminal and done % -(-steps // 4) == 0:
                    print(f"{name}, step {done}: loss {loss:.4f}")

            run = train(options.task, library, steps, seed=options.seed, on_step=on_step)
        of_loss, of_step = 1e3 * median(run.of_loss), 1e3 * median(run.of_step)
        print(
            f"{library:20}{run.losses[0]:8.4f} {run.losses[-1]:8.4f} {run.accuracy:16.1%}"
            f"{of_loss:18.2f}{of_step:12.2f}"
        )


if __name__ == "__main__":
    main()
