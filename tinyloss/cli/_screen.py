"""What the commands print: the same words with and without rich, which adds colour.

Text goes to stdout; the bar of what is under way goes to the terminal that there is, and nowhere
where there is none.
"""

import json
import os
import shutil
import sys
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from textwrap import wrap
from time import monotonic
from typing import Any, NamedTuple, TypeAlias

__all__ = ["Part", "Screen", "Styled", "bad", "dim", "good", "name", "strong", "warn"]


class Styled(NamedTuple):
    """Text with the way it is shown, in rich's words."""

    text: str
    style: str


Part: TypeAlias = "str | Styled"


def good(text: str) -> Styled:
    """Return text that tells of something right."""
    return Styled(text, "green")


def bad(text: str) -> Styled:
    """Return text that tells of something wrong."""
    return Styled(text, "bold red")


def warn(text: str) -> Styled:
    """Return text that asks for attention."""
    return Styled(text, "yellow")


def dim(text: str) -> Styled:
    """Return text that matters less."""
    return Styled(text, "dim")


def strong(text: str) -> Styled:
    """Return a heading."""
    return Styled(text, "bold")


def name(text: str) -> Styled:
    """Return a name or a command."""
    return Styled(text, "cyan")


# For an output that cannot encode them, such as a pipe on Windows.
_ASCII = str.maketrans("✓✗–★━▁▂▃▄▅▆▇█·×−±µ²", "+x-*=_.:-=+*#.x-~u2")


class Screen:
    """Stdout, and the bar."""

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self._rich = _console()
        self._bar: Any = None
        self._plain_bar = ""

    def __enter__(self) -> "Screen":
        return self

    def __exit__(self, *_: object) -> None:
        self._erase()

    @property
    def width(self) -> int:
        """The columns of the terminal, 100 where there is none."""
        return shutil.get_terminal_size((100, 24)).columns

    def print(self, *parts: Part) -> None:
        """Print a line."""
        if self._rich is not None:
            text = import_module("rich.text").Text
            line = text.assemble(*(p if isinstance(p, str) else (p.text, p.style) for p in parts))
            self._rich.print(line, soft_wrap=True)
            return
        words = "".join(part if isinstance(part, str) else part.text for part in parts)
        bar = self._plain_bar
        self._erase()
        sys.stdout.write(_encodable(words.rstrip()) + "\n")
        self._draw(bar)

    def row(self, indent: int, mark: Part, label: Part, width: int, detail: Part) -> None:
        """Print a mark, a label in a column of its own, and a detail that is wrapped beside it."""
        words, style = (detail, "") if isinstance(detail, str) else detail
        left = indent + 2 + width + 1
        lines = self._wrapped(words, left)
        said = label if isinstance(label, str) else label.text
        pad = " " * max(width - len(said), 0) + " "
        self.print(" " * indent, mark, " ", label, pad, Styled(lines[0], style))
        for line in lines[1:]:
            self.print(" " * left, Styled(line, style))

    def _wrapped(self, words: str, left: int) -> list[str]:
        """Return the lines that words take beside a margin, on a terminal."""
        # A program that reads lines gets whole ones.
        return (self._terminal and wrap(words, max(self.width - left, 24))) or [words]

    def field(self, label: str, text: str) -> None:
        """Print a text beside its label, wrapped where the screen ends."""
        left = 14
        if len(label) >= left:  # on a line of its own
            self.print(name(label))
            label = ""
        for number, line in enumerate(wrap(text, max(self.width - left, 24))):
            self.print(name(f"{'' if number else label:{left}}"), line)

    def code(self, text: str, language: str) -> None:
        """Print a program."""
        if self._rich is None:
            sys.stdout.write(_encodable(text.rstrip("\n")) + "\n")
            return
        syntax = import_module("rich.syntax").Syntax
        self._rich.print(syntax(text, language, background_color="default", theme="ansi_dark"))

    def table(
        self, rows: Sequence[Sequence[Part]], right: Iterable[int] = (), indent: int = 0
    ) -> None:
        """Print rows in columns, the ones numbered in `right` flush right.

        On a terminal the last column is wrapped.
        """
        texts = [[part if isinstance(part, str) else part.text for part in row] for row in rows]
        widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
        flush, last = set(right), len(widths) - 1
        left = indent + sum(widths[:-1]) + 2 * last
        for row, words in zip(rows, texts, strict=True):
            line: list[Part] = [" " * indent]
            for number, (part, said) in enumerate(zip(row[:-1], words, strict=False)):
                pad = " " * (widths[number] - len(said))
                line += [pad, part] if number in flush else [part, pad]
                line.append("  ")
            style = "" if isinstance(row[-1], str) else row[-1].style
            if last in flush:
                line.append(" " * (widths[last] - len(words[last])))
            first, *more = self._wrapped(words[last], left)
            self.print(*line, Styled(first, style))
            for each in more:
                self.print(" " * left, Styled(each, style))

    def json(self, document: Any) -> None:
        """Print a document for programs, and nothing else."""
        sys.stdout.write(json.dumps(document, indent=1, allow_nan=False) + "\n")

    @contextmanager
    def bar(self, total: float) -> Generator["Bar"]:
        """Show how much of `total` is done, with the time that is left."""
        made = self._rich_bar()
        task = None if made is None else made.add_task("", total=total)
        try:
            if made is not None:
                self._bar = made
                made.start()
            yield Bar(self, total, task)
        finally:
            if made is not None:
                with suppress(IndexError):  # interrupted before all of it had started
                    made.stop()
                made.console.show_cursor()
                self._bar = None
            self._erase()

    def _rich_bar(self) -> Any:
        """Return rich's bar on the terminal that there is, None where rich or a terminal lacks."""
        console = self._rich or _console(stderr=True)
        if console is None:
            return None
        of = import_module("rich.progress")
        return of.Progress(
            of.TextColumn("{task.description}"),
            of.BarColumn(),
            of.TaskProgressColumn(),
            of.TimeRemainingColumn(),
            console=console,
            transient=True,
            # Else what is meant for a pipe would go to the terminal of the bar.
            redirect_stdout=self._rich is not None,
        )

    def advance(self, bar: "Bar") -> None:
        """Show what a bar has come to."""
        if self._bar is not None:
            self._bar.update(bar.task, completed=bar.done, description=bar.label)
            return
        share = min(bar.done / bar.total, 1.0)
        left = f", {(monotonic() - bar.began) * (1 - share) / share:.0f} s left" if share else ""
        self._erase()
        done = int(20 * share)
        text = f"{'━' * done}{'·' * (20 - done)} {share:.0%}{left}  {bar.label}"
        self._draw(text[: self.width - 1])

    def _draw(self, text: str) -> None:
        if text and sys.stderr.isatty():
            self._plain_bar = text
            sys.stderr.write(_encodable(text, sys.stderr))
            sys.stderr.flush()

    def _erase(self) -> None:
        if self._plain_bar and sys.stderr.isatty():
            sys.stderr.write("\r" + " " * len(self._plain_bar) + "\r")
            sys.stderr.flush()
        self._plain_bar = ""


class Bar:
    """How much of something is done."""

    def __init__(self, screen: Screen, total: float, task: Any) -> None:
        self.total, self.task = total, task
        self.done, self.label, self.began = 0.0, "", monotonic()
        self._screen = screen

    def step(self, label: str, amount: float = 0.0) -> None:
        """Say what is under way, and that so much more is done."""
        self.label = label
        self.done += amount
        self._screen.advance(self)


def _console(*, stderr: bool = False) -> Any:
    """Return rich's console of a terminal, None where rich or the terminal lacks."""
    stream = sys.stderr if stderr else sys.stdout
    if not stream.isatty() or os.environ.get("TERM") == "dumb":
        return None
    try:
        made = import_module("rich.console").Console
    except ImportError:
        return None
    return made(stderr=stderr, highlight=False)  # it looks at NO_COLOR by itself


def _encodable(text: str, stream: Any = None) -> str:
    """Return text in letters that an output has."""
    encoding = (stream or sys.stdout).encoding or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_ASCII).encode(encoding, "replace").decode(encoding)
    return text
