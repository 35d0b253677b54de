"""The tables that are printed from the tests' records: `python -m tests.support.tables --write`.

README has one of them, which is written there. The documentation prints all when it is built.
"""

import argparse
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import tinyloss
from tests.support.differences import CALLS, VALUES, Row
from tests.support.specs import CLASSES, SPECS, Spec
from tests.support.uses import (
    DISTRIBUTIONS,
    FAMILIES,
    LOG_PROBABILITIES,
    LOGITS,
    ONE_OF_MANY,
    PROBABILITY,
    USES,
)

README = Path(__file__).parents[2] / "README.md"
EVERY_LOSS = {"x", "y", "weight", "where", "reduction", "denominator", "axis_name"}


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [[*heads], ["---" for _ in heads], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _losses() -> list[Spec]:
    return [spec for spec in SPECS.values() if spec.definition.target]


def _name(spec: Spec) -> str:
    own = [name for name in inspect.signature(spec.function).parameters if name not in EVERY_LOSS]
    return f"`{spec.name}({', '.join(own)})`" if own else f"`{spec.name}`"


def _classes(spec: Spec) -> str:
    first, *others = [f"`{c.__name__}`" for c, loss in CLASSES.items() if loss is spec.function]
    return f"{first} ({', '.join(others)})" if others else first


def _link(name: str) -> str:
    return f"{{py:func}}`tinyloss.{name}`"


def _described(spec: Spec) -> tuple[str, str, str]:
    use = USES[spec.name]
    return use.best_for, use.x, use.y


USES_HEAD = ("loss", "best for", "x is", "y is")


def uses() -> str:
    """Return what each loss is for: README's table."""
    return _table(USES_HEAD, [(f"`{spec.name}`", *_described(spec)) for spec in _losses()])


def losses() -> str:
    """Return the formula, the class and the parameters of each loss."""
    rows = [(_name(spec), _classes(spec), spec.gist) for spec in _losses()]
    return _table(("function", "class", "loss of an item"), rows)


def _family(family: str) -> str:
    rows = [
        (_link(spec.name), spec.gist, *_described(spec))
        for spec in _losses()
        if USES[spec.name].family == family
    ]
    return _table(("loss", "loss of an item", "best for", "x is", "y is"), rows)


def _choice() -> str:
    rows = [(_link(spec.name), *_described(spec)) for spec in _losses()]
    return _table(("loss", "best for", "x is", "y is"), rows)


def names() -> str:
    """Return what other libraries call each loss."""
    columns = ("torch", "optax", "keras", "sklearn")

    def cell(name: str, column: str) -> str:
        use = USES[name]
        found, note = getattr(use, column), use.elsewhere.get(column)
        return f"`{found}`{f', {note}' if note else ''}" if found else ""

    rows = [
        (_link(spec.name), *(cell(spec.name, column) for column in columns)) for spec in _losses()
    ]
    heads = ("tinyloss", "torch.nn.functional", "optax", "keras.losses", "sklearn.metrics")
    return _table(heads, rows)


def _differences(rows: Mapping[str, Row]) -> str:
    """Return a heading for each row: what is other, both answers, the reason."""
    return "\n".join(
        f"### {row.where.replace('|', chr(92) + '|')}\n\n"
        f"tinyloss\n: {row.tinyloss}\n\nothers\n: {row.others}\n\nwhy\n: {row.why}\n"
        for row in rows.values()
    )


def _on_a_grid(spec: Spec) -> tuple[str, Any, Any]:
    """Return the target in words, and a loss's gradients and curvatures over a grid."""
    use, derivatives = USES[spec.name], tinyloss.grad_and_hess(spec.function)
    x, inside = np.linspace(-10, 10, 2001), np.linspace(0.001, 0.999, 999)
    if use.x == PROBABILITY:
        return "1", *derivatives(inside, np.ones_like(inside))
    if use.family in (ONE_OF_MANY, DISTRIBUTIONS):
        if use.x == LOGITS:
            rows = np.stack([x, np.zeros_like(x)], axis=-1)
        else:
            rows = np.stack([inside, 1 - inside], axis=-1)
            rows = np.log(rows) if use.x == LOG_PROBABILITIES else rows
        if use.y.startswith("index"):
            return "class 0", *derivatives(rows, np.zeros(len(rows), dtype=int))
        y = np.full_like(rows, 0.0 if use.y == LOGITS else 0.5)
        return "both classes alike", *derivatives(rows, y)
    x = x[x > -1] if spec.name == "msle" else x
    more = [np.ones_like(x)] if spec.name == "gaussian_nll" else []
    return "1", *derivatives(x, np.ones_like(x), *more)


def traits() -> str:
    """Return what gradients and curvatures are like, measured."""
    rows: list[tuple[str, ...]] = []
    for spec in _losses():
        target, g, h = _on_a_grid(spec)
        spans = [f"{each.min():.3g} to {each.max():.3g}".replace("-0 ", "0 ") for each in (g, h)]
        rows.append((_link(spec.name), target, *spans))
    return _table(("loss", "target", "gradient", "curvature"), rows)


TABLES: dict[str, Callable[[], str]] = {
    "losses": losses,
    "choice": _choice,
    "names": names,
    "traits": traits,
    "differences of values": partial(_differences, VALUES),
    "differences of calls": partial(_differences, CALLS),
    **{family: partial(_family, family) for family in FAMILIES},
}
"""What the documentation prints, by name."""


def with_tables(text: str) -> str:
    """Return README with its table as it should be."""
    table = uses()
    head = "".join(table.splitlines(keepends=True)[:2])
    text, found = re.subn(
        rf"^{re.escape(head)}(?:\|.*\n)*", table.replace("\\", r"\\"), text, flags=re.MULTILINE
    )
    assert found == 1, f"README has no table that begins with {head}"
    return text


def main() -> Iterator[str]:
    """Write the table into README, or give all tables to print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put README's into README.md")
    if parser.parse_args().write:
        README.write_text(with_tables(README.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        yield from (f"{name}\n\n{table()}\n" for name, table in TABLES.items())


if __name__ == "__main__":
    print(*main(), sep="", end="")
