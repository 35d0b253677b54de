"""What autodoc is not told by docstrings: notes as a list, short types, names that have no page."""

import importlib
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sphinx.application import Sphinx
from sphinx.ext.autosummary.generate import generate_autosummary_docs
from sphinx.util import logging

from tests.support.tables import TABLES

NOTES = (
    "Use for",
    "Shapes",
    "Domain",
    "Formula",
    "Gradient",
    "Accuracy",
    "Edge cases",
    "Source",
    "Elsewhere",
)

# A plain union of types, as `inspect` prints `ArrayLike` where it was resolved.
UNION = (
    r"~?(tinyloss\.typing\.)?Array \| ~?(collections\.abc\.)?Sequence\[~?(typing\.)?Any\]"
    r" \| bool \| int \| float"
)

PUBLIC = (
    "tinyloss",
    "tinyloss.adapters.lightgbm",
    "tinyloss.adapters.scipy",
    "tinyloss.adapters.sklearn",
    "tinyloss.adapters.xgboost",
    "tinyloss.pictures",
    "tinyloss.testing",
)

_log = logging.getLogger(__name__)


def escape(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Make bars and stars no markup, above the examples: |x - y| is an absolute value."""
    end = lines.index("Examples") if "Examples" in lines else len(lines)
    for n, line in enumerate(lines[:end]):
        lines[n] = re.sub(r"(`[^`]*`)|([|*])", lambda found: found[1] or "\\" + found[2], line)


def listed(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Turn the paragraphs of a loss's notes into a definition list."""

    def entry(found: re.Match[str]) -> str:
        body = found[2].rstrip("\n").replace("\n", "\n    ")
        # Names of other libraries are no links.
        body = body.replace("`", "``") if found[1] == "Elsewhere" else body
        return f"**{found[1]}**\n    {body}\n"

    notes = "|".join(NOTES)
    text = re.sub(
        rf"^({notes}): ((?:.+\n?)+?)(?=\n|\Z)", entry, "\n".join(lines), flags=re.MULTILINE
    )
    text = text.replace("As for every loss.", "As for every loss: see :ref:`options`.")
    lines[:] = text.split("\n")


def shorten(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str, returns: str
) -> tuple[str, str]:
    """Give the types in a signature the short names that `tinyloss.typing` has for them."""
    if signature:
        signature = re.sub(UNION, "ArrayLike", signature)
        signature = signature.replace("str | tuple[str, ...]", "AxisName")
        signature = re.sub(r"~?(typing\.)?Literal\['mean', 'sum', 'none'\]", "Reduction", signature)
        signature = re.sub(r"~?(tinyloss\.typing|collections\.abc|typing)\.", "", signature)
        signature = signature.replace("'", "") if "Callable" in signature else signature
    return signature, returns


def every_name(app: Sphinx, env: Any) -> None:
    """Warn of each public name that no page documents."""
    documented = set(env.domains["py"].objects)
    for module in PUBLIC:
        public = importlib.import_module(module)
        names = [name for name, each in vars(public).items() if callable(each) and name[0] != "_"]
        for name in getattr(public, "__all__", names):
            if f"{module}.{name}" not in documented:
                _log.warning("%s.%s has no page: add it in docs/reference", module, name)


def one_page_each(app: Sphinx) -> None:
    """Write the pages of losses, which autosummary looks for in files only."""
    text = "".join(table() for name, table in TABLES.items() if name.startswith("reference of "))
    with TemporaryDirectory() as folder:
        path = Path(folder, "listed.rst")
        path.write_text(text, encoding="utf-8")
        pages = str(Path(app.srcdir, "reference", "generated"))
        generate_autosummary_docs([str(path)], output_dir=pages, app=app)


def setup(app: Sphinx) -> dict[str, bool]:
    """Listen to autodoc, and look at all pages at the end."""
    app.connect("builder-inited", one_page_each)
    app.connect("autodoc-process-signature", shorten)
    # Before numpydoc, which reads the sections and writes markup, and after it.
    app.connect("autodoc-process-docstring", escape, priority=100)
    app.connect("autodoc-process-docstring", listed, priority=900)
    app.connect("env-check-consistency", every_name)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
