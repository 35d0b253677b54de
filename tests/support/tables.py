"""README's tables of losses and of differences: `python -m tests.support.tables --write`."""

import argparse
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

from tests.support.differences import DIFFERENCES
from tests.support.specs import CLASSES, SPECS, Spec

README = Path(__file__).parents[2] / "README.md"
HEAD = "| function | class | loss of an item |\n| --- | --- | --- |\n"
DIFFERENCES_HEAD = "| where | tinyloss | others | why |\n| --- | --- | --- | --- |\n"
EVERY_LOSS = {"x", "y", "weight", "where", "reduction", "denominator", "axis_name"}


def _row(spec: Spec) -> str:
    own = [name for name in inspect.signature(spec.function).parameters if name not in EVERY_LOSS]
    function = f"`{spec.name}({', '.join(own)})`" if own else f"`{spec.name}`"
    first, *others = [f"`{c.__name__}`" for c, loss in CLASSES.items() if loss is spec.function]
    classes = f"{first} ({', '.join(others)})" if others else first
    return f"| {function} | {classes} | {spec.gist} |\n"


def table() -> str:
    return HEAD + "".join(_row(spec) for spec in SPECS.values() if spec.definition.target)


def differences() -> str:
    """Return the table of what differs on purpose."""
    return DIFFERENCES_HEAD + "".join(f"{row}\n" for row in DIFFERENCES.values())


def with_tables(text: str) -> str:
    """Return README with the tables as they should be."""
    for head, rows in ((HEAD, table()), (DIFFERENCES_HEAD, differences())):
        pattern = rf"^{re.escape(head)}(?:\|.*\n)*"
        escaped = rows.replace("\\", r"\\")
        text, found = re.subn(pattern, escaped, text, flags=re.MULTILINE)
        assert found == 1, f"README has no table that begins with {head}"
    return text


def main() -> Iterator[str]:
    """Write the tables into README, or give them to print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put them into README.md")
    if parser.parse_args().write:
        README.write_text(with_tables(README.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        yield table() + "\n" + differences()


if __name__ == "__main__":
    print(*main(), sep="", end="")
