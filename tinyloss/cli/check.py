"""`tinyloss check`: a self-test of this installation, and a grade for a learner's function."""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import tinyloss
from tinyloss.cli._libraries import Library, library_called
from tinyloss.cli._screen import Screen, bad, dim, good, name, strong, warn
from tinyloss.cli._usage import LOSSES, UsageError, losses_called

if TYPE_CHECKING:
    from tinyloss.cli._ticks import Subject, Tick

__all__ = ["register"]


def register(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = add(
        "check",
        help="test the losses of this installation, or a function of your own",
        description="Test losses against their definitions: all of this installation, those that "
        "are named, or a function of your own.",
        epilog="tinyloss check losses.py:my_mse --as mse grades the function my_mse of losses.py. "
        "It takes x and y and returns each item's loss, or the mean. If there is my_mse_gradient, "
        "that is graded, too.",
    )
    parser.add_argument("losses", nargs="*", metavar="LOSS", help="a loss, or FILE.py:FUNCTION")
    parser.add_argument("--as", dest="loss", metavar="LOSS", help="the loss that FUNCTION is")
    parser.add_argument("--on", default="numpy", help="array libraries, with commas between")
    parser.add_argument("--json", action="store_true", help="print the report for programs")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Check, and return 1 where something failed."""
    libraries = [library_called(each) for each in arguments.on.split(",")]
    library_called("numpy")  # the arguments are made by it
    subjects = [*_subjects(arguments, libraries)]
    began = perf_counter()
    found: list[tuple[str, Tick]] = []
    from tinyloss.cli._ticks import ticks

    with screen.bar(len(subjects)) as bar:
        for title, subject in subjects:
            bar.step(title)
            if not arguments.json:
                screen.print(strong(title))
            for tick in ticks(subject):
                found.append((title, tick))
                if not arguments.json:
                    _show(screen, tick)
            bar.step(title, 1)
    failed = [tick for _, tick in found if tick.passed is False and not tick.bonus]
    if arguments.json:
        screen.json(_report(found, not failed))
        return bool(failed)
    checked = sum(tick.passed is not None and not tick.bonus for _, tick in found)
    stars = [tick.passed for _, tick in found if tick.bonus]
    said = f"{len(failed)} of {checked} checks failed" if failed else f"{checked} checks passed"
    earned = f", {sum(map(bool, stars))} of {len(stars)} stars" if stars else ""
    paint = bad if failed else good
    screen.print(paint(f"{said}{earned}"), f" in {perf_counter() - began:.1f} s")
    if not all(stars):
        screen.print("Where digits get lost: lesson 4 of ", name("tinyloss learn lessons"))
    if failed:
        card = f" {subjects[0][1].name}" if subjects[0][1].bonus else ""
        screen.print("Next: ", name(f"tinyloss info{card}"))
    return bool(failed)


def _show(screen: Screen, tick: Tick) -> None:
    mark = good("✓") if tick.passed else warn("–") if tick.passed is None else bad("✗")
    if tick.bonus:
        mark = good("★") if tick.passed else warn("–")
    failed = tick.passed is False and not tick.bonus
    screen.row(3, mark, tick.text, 42, bad(tick.detail) if failed else dim(tick.detail))


def _report(found: list[tuple[str, Tick]], passed: bool) -> dict[str, Any]:
    """Return what programs read."""
    checks = [
        {
            "of": title,
            "check": tick.text,
            "passed": tick.passed,
            "bonus": tick.bonus,
            "worst": tick.worst if tick.worst is None or tick.worst < float("inf") else None,
            "detail": tick.detail,
        }
        for title, tick in found
    ]
    return {"tinyloss": tinyloss.__version__, "passed": passed, "checks": checks}


def _subjects(
    arguments: argparse.Namespace, libraries: list[Library]
) -> Iterator[tuple[str, Subject]]:
    from tinyloss.cli._ticks import Learned, Ours

    own = [each for each in arguments.losses if ":" in each or each.endswith(".py")]
    if own and len(own) < len(arguments.losses):
        raise UsageError("functions of files and losses in one call", f"tinyloss check {own[0]}")
    if arguments.loss and not own:
        raise UsageError(
            "--as tells what a function of a file is", "tinyloss check FILE.py:FUNCTION --as mse"
        )
    for library in libraries:
        on = f" on {library.title}" if len(libraries) > 1 or library.name != "numpy" else ""
        for loss in () if own else losses_called(arguments.losses):
            yield f"{loss}{on}", Ours(loss, library)
        for target in own:
            path, function = _loaded(target)
            of = _loss_of(target, function.__name__, arguments.loss)
            by_x = getattr(sys.modules[function.__module__], f"{function.__name__}_gradient", None)
            title = f"{path}: {function.__name__}, as {of}{on}"
            yield title, Learned(of, library, function, by_x)


def _loss_of(target: str, function: str, given: str | None) -> str:
    """Return the loss that a function is: as told, else of its name."""
    if given is not None:
        return next(iter(losses_called([given])))
    named = [name for name in LOSSES if name == function or function.endswith(f"_{name}")]
    if not named:
        raise UsageError(
            f"which loss is {function}?", f"tinyloss check {target} --as {_likely(function)}"
        )
    return max(named, key=len)


def _likely(function: str) -> str:
    # Of losses that fit alike the first, of none the simplest.
    return max(("mse", *LOSSES), key=lambda name: sum(part in function for part in name.split("_")))


def _loaded(target: str) -> tuple[str, Any]:
    """Return a file's name and the function that a target names."""
    path, _, name = target.rpartition(":")
    if not path.endswith(".py"):
        path, name = (target, "") if target.endswith(".py") else (path, name)
    file = Path(path)
    if not file.is_file():
        raise UsageError(f"there is no file {path}", "tinyloss learn lessons")
    sys.path.insert(0, str(file.parent.resolve()))
    spec = spec_from_file_location(f"_checked_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is no Python file", "tinyloss check FILE.py:FUNCTION --as mse")
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise UsageError(
            f"{path} does not run: {type(error).__name__}: {error}", f"python {path}"
        ) from error
    functions = [
        each
        for each, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == spec.name and each[0] != "_"
    ]
    if name not in functions:
        there = f"{path} has " + (", ".join(functions) or "no functions")
        first = functions[0] if functions else "FUNCTION"
        raise UsageError(
            f"{there}; which one is to be checked?" if not name else f"no {name}: {there}",
            f"tinyloss check {path}:{first} --as mse",
        )
    return path, getattr(module, name)
