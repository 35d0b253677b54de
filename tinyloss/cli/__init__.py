"""The command line: `tinyloss COMMAND`, or `python -m tinyloss COMMAND`.

Each command is a module of this folder with one function, `register(add)`: it adds the command's
parser and sets as its default `run` a function of the arguments and the screen, which returns the
exit status. What a command needs beside the standard library it imports when it runs.

0 is the exit status of what is right, 1 of a check that failed, 2 of a wrong call.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from io import StringIO
from typing import NoReturn

import tinyloss
from tinyloss.cli import bench, check, info, learn, plot, source
from tinyloss.cli._screen import Screen
from tinyloss.cli._usage import UsageError

__all__ = ["main"]

# In the order of the help. Each has `register`.
_COMMANDS = (check, info, bench, plot, source, learn)

_STOPPED = 130  # 128 + SIGINT, as shells have it
_CLOSED = 141  # 128 + SIGPIPE


class _Parser(argparse.ArgumentParser):
    """A parser whose errors say the next command."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\nNext: {self.prog} --help\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status; a wrong call of the parser's exits by itself."""
    # Closed by who started it, as a service's are.
    sys.stdout, sys.stderr = sys.stdout or StringIO(), sys.stderr or StringIO()
    parser = _Parser(
        prog="tinyloss",
        description="Check, measure and explain the losses of this installation.",
        epilog="tinyloss COMMAND --help tells of one command.",
    )
    parser.add_argument("--version", action="version", version=f"tinyloss {tinyloss.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", prog="tinyloss")
    for command in _COMMANDS:
        command.register(commands.add_parser)
    arguments = parser.parse_args(argv)
    if not hasattr(arguments, "run"):
        parser.print_help()
        return 0
    try:
        with Screen() as screen:
            status: int = arguments.run(arguments, screen)
            sys.stdout.flush()
        return status
    except UsageError as error:
        print(f"tinyloss: {error}\nNext: {error.next}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("tinyloss: stopped", file=sys.stderr)
        return _STOPPED
    except OSError as error:
        # Else Python complains at its end that it cannot flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return _CLOSED
        print(f"tinyloss: {error}\nNext: tinyloss --help", file=sys.stderr)
        return 2
