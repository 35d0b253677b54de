"""`tinyloss source`: the program that computes a loss, as it is compiled."""

import argparse
from collections.abc import Callable
from importlib import import_module

import tinyloss
from tinyloss.cli._libraries import library_called
from tinyloss.cli._screen import Screen
from tinyloss.cli._usage import losses_called

__all__ = ["register"]

_LANGUAGES = {"llvm": "python", "cuda": "cuda", "jaxpr": "text"}


def register(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = add(
        "source",
        help="the program that computes a loss and its gradient",
        description="Print the program that computes a loss and its gradient, for 128 rows of 1000 "
        "numbers in float32. CUDA's needs neither CuPy nor a GPU.",
    )
    parser.add_argument("loss", metavar="LOSS", help="a loss")
    parser.add_argument("--target", choices=_LANGUAGES, default="llvm", help="default: llvm")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Print the program."""
    library_called("numpy")
    (loss,) = losses_called([arguments.loss]).values()
    if arguments.target == "jaxpr":
        text = _jaxpr(arguments.loss)
    else:
        text = tinyloss.source(loss, target=arguments.target)
    screen.code(text, _LANGUAGES[arguments.target])
    return 0


def _jaxpr(name: str) -> str:
    """Return what JAX compiles, as JAX writes it."""
    library = library_called("jax")
    from tinyloss.cli._inputs import arguments
    from tinyloss.cli.definitions import DEFINITIONS

    given = [
        library.own(each if each.dtype.kind == "i" else each.astype("float32"))
        for each in arguments(DEFINITIONS[name].draw, (128, 1000))
    ]
    make = import_module("jax").make_jaxpr
    return str(make(tinyloss.value_and_grad(getattr(tinyloss, name)))(*given))
