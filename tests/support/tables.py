"""README's table of losses, printed from the specs: `python -m tests.support.tables --write`."""

import argparse
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

from tests.support.specs import CLASSES, SPECS, Spec

README = Path(__file__).parents[2] / "README.md"
HEAD = "| function | class | loss of an item |\n| --- | --- | --- |\n"
EVERY_LOSS = {"x", "y", "weight", "where", "reduction", "denominator", "axis_name"}


def _row(spec: Spec) -> str:
    own = [name for name in inspect.signature(spec.function).parameters if name not in EVERY_LOSS]
    function = f"`{spec.name}({', '.join(own)})`" if own else f"`{spec.name}`"
    first, *others = [f"`{c.__name__}`" for c, loss in CLASSES.items() if loss is spec.function]
    classes = f"{first} ({', '.join(others)})" if others else first
    return f"| {function} | {classes} | {spec.gist} |\n"


def table() -> str:
    return HEAD + "".join(_row(spec) for spec in SPECS.values() if spec.definition.target)


def with_table(text: str) -> str:
    """Return README with the table as it should be."""
    rows = rf"^{re.escape(HEAD)}(?:\|.*\n)*"
    again, found = re.subn(rows, lambda _: table(), text, flags=re.MULTILINE)
    assert found == 1, "README has no table of losses"
    return again


def main() -> Iterator[str]:
    """Write the table into README, or give it to print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put it into README.md")
    if parser.parse_args().write:
        README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        yield table()


if __name__ == "__main__":
    print(*main(), sep="", end="")
