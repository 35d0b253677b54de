"""The tables that are printed from what is public: `python -m tests.support.tables --write`.

README has three of them, which are written there. The documentation prints its own when it is
built.
"""

import argparse
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

import tinyloss
from benchmarks.tables import overview
from tests.support.differences import DIFFERENCES, GROUPS, Row
from tinyloss.cli.cards import cards, told
from tinyloss.losses import Public, classes, public_losses

README = Path(__file__).parents[2] / "README.md"
EVERY_LOSS = {"weight", "where", "reduction", "denominator", "axis_name"}
CARDS = cards()

SUPPORT: dict[str, tuple[str, str, str]] = {
    "NumPy": ("`tinyloss[cpu]`", "one compiled loop over threads", "`tinyloss.grad`"),
    "JAX": (
        "`tinyloss[cpu,jax]`",
        "one jitted function; large arrays on a CPU: NumPy's loop, which XLA calls",
        "`tinyloss.grad`, `jax.grad`",
    ),
    "torch, CPU": (
        "`tinyloss[cpu]`, `torch`",
        "NumPy's loop, in the tensor's memory; under `torch.compile` torch's operations",
        "`tinyloss.grad`, `backward()`",
    ),
    "torch, CUDA": (
        "`tinyloss[cuda13]`, `torch`",
        "CuPy's kernel, in the tensor's memory; under `torch.compile` torch's operations",
        "`tinyloss.grad`, `backward()`",
    ),
    "CuPy": ("`tinyloss[cuda13]` or `[cuda12]`", "one CUDA kernel", "`tinyloss.grad`"),
    "Dask": ("`tinyloss[cpu]`, `dask[array]`", "a graph of NumPy's loops", "`tinyloss.grad`"),
    "any other array-API library": ("`tinyloss`", "the formulas", "`tinyloss.grad`"),
}
"""What to install for the arrays of a library, what computes them, and what differentiates."""

FAMILIES: Mapping[str, str] = {
    "numbers": "regression",
    "yes or no": "binary",
    "forecasts": "scores",
    "margins": "binary",
    "one of many": "multiclass",
    "distributions": "divergence",
    "regions": "segmentation",
    "pairs": "pairs",
    "preferences": "preference",
    "lists": "ranking",
    "survival": "survival",
    "orders": "lists",
    "ensembles": "ensembles",
    "sparse": "sparse",
    "sequences": "sequence",
}
"""The documentation's pages of losses, and the modules of those."""
_PAGES = [*FAMILIES]


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [[*heads], ["---" for _ in heads], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _losses(page: str | None = None) -> list[Public]:
    """Return the losses, of all families or of a page."""
    return [
        each
        for each in public_losses("elements", "rows", "images", "pairs", "lists", "sequences")
        if page is None or page == _page_of(each)
    ]


def _page_of(loss: Public) -> str:
    pages = [page for page, family in FAMILIES.items() if family == loss.family]
    if not pages:
        raise LookupError(f"no page has the losses of {loss.family}: add it to FAMILIES")
    # Of targets -1 and 1, or of 0 and 1.
    return pages[-1] if _arguments(loss)[1].startswith("-1") else pages[0]


def _parameters(loss: Public) -> str:
    _, _, *others = inspect.signature(loss.function).parameters
    own = [name for name in others if name not in EVERY_LOSS]
    return ", ".join(f"`{name}`" for name in own)


def _classes(loss: Public) -> str:
    first, *others = [f"`{name}`" for name in CARDS[loss.name].objects]
    return f"{first} ({', '.join(others)})" if others else first


def _link(name: str) -> str:
    return f"{{py:func}}`~tinyloss.{name}`"


def _arguments(loss: Public) -> tuple[str, str]:
    """Return in a few words what the first two arguments are, from the docstring."""
    first, second, *_ = inspect.signature(loss.function).parameters

    def told(name: str) -> str:
        found = re.search(rf"^{name}\n((?:    .*\n)+)", inspect.getdoc(loss.function) or "", re.M)
        text = " ".join(found[1].split()).removeprefix("Targets, ") if found else ""
        short = "".join(re.findall(r"(?:^|;)[^,;]*", text.partition(". ")[0].rstrip(".")))
        return short[:1].lower() + short[1:].replace(";", ",")

    if loss.kind == "pairs":
        first, *others = [
            name
            for name, each in inspect.signature(loss.function).parameters.items()
            if each.kind is each.POSITIONAL_OR_KEYWORD and name != "y"
        ]
        return told(", ".join([first, *others])), told("y") or "no target"
    together = told(f"{first}, {second}")
    if not together:
        return told(first), told(second)
    x, _, y = together.partition(" and ")
    return _NUMBERS.get(x, x), _NUMBERS.get(y, y) or x


_NUMBERS = {"prediction": "a number", "target": "a number"}


def _described(loss: Public) -> tuple[str, str, str]:
    best_for = CARDS[loss.name].sections["Use for"].partition(". ")[0].rstrip(".")
    return best_for, *_arguments(loss)


def support() -> str:
    """Return what computes whose arrays: one of README's tables."""
    heads = ("arrays", "install", "computed by", "gradients by")
    return _table(heads, [(arrays, *cells) for arrays, cells in SUPPORT.items()])


def uses() -> str:
    """Return what each loss is for, a row for all that take the same: the other.

    Losses of other things than numbers, classes and regions are named alone.
    """
    rows: dict[tuple[str, str], list[str]] = {}
    first, others = _PAGES[: _PAGES.index("regions") + 1], _PAGES[_PAGES.index("regions") + 1 :]
    for loss in (each for page in first for each in _losses(page)):
        best_for, x_is, y_is = _described(loss)
        rows.setdefault((x_is, y_is), []).append(f"`{loss.name}`: {best_for}")
    more = [
        f"[{page}](docs/losses/{page}.md): " + ", ".join(f"`{each.name}`" for each in _losses(page))
        for page in others
    ]
    return _table(
        ("x is", "y is", "loss, and what it is best for"),
        [
            *[(*arguments, "<br>".join(each)) for arguments, each in rows.items()],
            ("of other kinds", "", "<br>".join(more)),
        ],
    )


def losses() -> str:
    """Return the formula, the class and the parameters of each loss."""
    rows = [
        (_link(loss.name), _parameters(loss), _classes(loss), _formula(loss)) for loss in _losses()
    ]
    return _table(("function", "parameters", "class", "loss of an item"), rows)


_SIGNS = {"^2": "²", "<=": "≤", ">=": "≥", "sum_": "Σ_", "|": r"\|", " - ": " − "}


def _formula(loss: Public) -> str:
    return _signed(CARDS[loss.name].sections["Formula"])


def _signed(text: str) -> str:
    for plain, sign in _SIGNS.items():
        text = text.replace(plain, sign)
    return text


def _family(page: str) -> str:
    rows = [
        (_link(loss.name), CARDS[loss.name].summary.rstrip("."), *_described(loss))
        for loss in _losses(page)
    ]
    return _table(("loss", "what it is", "best for", "x is", "y is"), rows)


def _choice() -> str:
    rows = [(_link(loss.name), *_described(loss)) for loss in _losses()]
    return _table(("loss", "best for", "x is", "y is"), rows)


def names() -> str:
    """Return what other libraries call each loss."""
    columns = {
        "torch.nn.functional": ("torch", "torchvision"),
        "optax": ("optax",),
        "keras.losses": ("Keras",),
        "sklearn.metrics": ("scikit-learn", "SciPy"),
    }
    rows: list[list[str]] = []
    for loss in _losses():
        known = CARDS[loss.name].elsewhere
        cells = [
            ", ".join(
                known[name] if name == libraries[0] else f"{known[name]} of {name}"
                for name in libraries
                if name in known
            )
            for libraries in columns.values()
        ]
        rows.append([_link(loss.name), *cells])
    return _table(("tinyloss", *columns), rows)


def _differences() -> str:
    """Return a heading for each group and row: what is other, both answers, the reason."""

    def entry(row: Row) -> str:
        return (
            f"### {row.where.replace('|', chr(92) + '|')}\n\n"
            f"tinyloss\n: {row.tinyloss}\n\nothers\n: {row.others}\n\nwhy\n: {row.why}\n"
        )

    return "\n".join(
        "\n".join([f"## {group}\n", *(entry(DIFFERENCES[key]) for key in keys)])
        for group, keys in GROUPS.items()
    )


def traits() -> str:
    """Return what is known of each loss with its default parameters."""
    known = {each.name: told(tinyloss.traits(each.function)) for each in _losses()}
    heads = next(iter(known.values()))
    rows = [
        [_link(name), *(_signed(each).replace("inf", "∞") for each in said.values())]
        for name, said in known.items()
    ]
    return _table(("loss", *heads), rows)


def _reference(names: Iterable[str]) -> str:
    """Return a list of functions, each with a page."""
    listed = "".join(f"   {name}\n" for name in names)
    options = "   :toctree: generated\n   :nosignatures:\n"
    return _restructured(f".. autosummary::\n{options}\n{listed}")


def reference_of_losses(page: str) -> str:
    """Return the reference of the losses of a page, and of what makes their arguments."""
    beside = [each for each in public_losses("arrays") if each.family == FAMILIES[page]]
    return _reference(loss.name for loss in (*_losses(page), *beside))


def reference_of_pieces() -> str:
    """Return the reference of the functions that stand beside the losses."""
    return _reference(each.name for each in public_losses("predictions", "shares"))


def _documented(directive: str, names: Iterable[str]) -> str:
    return _restructured("".join(f".. {directive}:: {name}\n\n" for name in names))


def _restructured(text: str) -> str:
    return f"```{{eval-rst}}\n.. currentmodule:: tinyloss\n\n{text}```\n"


def reference_of_products() -> str:
    """Return the reference of the losses of scores that are products."""
    others = [each for each in public_losses("arrays") if each.family not in FAMILIES.values()]
    return _documented("autofunction", (each.name for each in others))


def reference_of_classes() -> str:
    """Return the reference of the classes, sorted."""
    return _documented("autoclass", classes.__all__)


TABLES: dict[str, Callable[[], str]] = {
    "support": support,
    "losses": losses,
    "choice": _choice,
    "names": names,
    "traits": traits,
    "differences": _differences,
    **{page: partial(_family, page) for page in FAMILIES},
    **{f"reference of {page}": partial(reference_of_losses, page) for page in FAMILIES},
    "reference of pieces": reference_of_pieces,
    "reference of products": reference_of_products,
    "reference of classes": reference_of_classes,
}
"""What the documentation prints, by name."""


def with_tables(text: str) -> str:
    """Return README with its tables as they should be."""
    for table in (support(), uses(), overview()):
        head = "".join(table.splitlines(keepends=True)[:2])
        pattern = re.compile(rf"^{re.escape(head)}(?:\|.*\n)*", re.MULTILINE)
        text, found = pattern.subn(table.replace("\\", r"\\"), text)
        assert found == 1, f"README has no table that begins with {head}"
    return text


def main() -> Iterator[str]:
    """Write the tables into README, or give all to print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put README's into README.md")
    if parser.parse_args().write:
        README.write_text(with_tables(README.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        yield from (f"{name}\n\n{table()}\n" for name, table in TABLES.items())


if __name__ == "__main__":
    print(*main(), sep="", end="")
