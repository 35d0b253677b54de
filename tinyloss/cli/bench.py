"""`tinyloss bench`."""

import argparse
from collections.abc import Callable

from tinyloss.cli._screen import Screen

__all__ = ["register"]


def register(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = add("bench", help="bench")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Run the command and return its exit status."""
    screen.print("not here yet")
    return 2
