"""What autodoc is not told by docstrings: notes as a list, short types, names that have no page."""

import importlib
import re
from typing import Any

from sphinx.application import Sphinx
from sphinx.util import logging

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

PUBLIC = ("tinyloss", "tinyloss.testing")

_log = logging.getLogger(__name__)


def as_text(line: str) -> str:
    """Return a line whose bars and stars are no markup: |x - y| is an absolute value."""
    if line.lstrip().startswith((">>>", "...")):
        return line
    return re.sub(r"(`[^`]*`)|([|*])", lambda found: found[1] or "\\" + found[2], line)


def tidy(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Escape formulas, and turn the paragraphs of a loss's notes into a definition list."""
    text = "\n".join(map(as_text, lines))
    notes = "|".join(NOTES)

    def entry(found: re.Match[str]) -> str:
        body = found[2].rstrip("\n").replace("\n", "\n    ")
        return f"**{found[1]}**\n    {body}\n"

    text = re.sub(rf"^({notes}): ((?:.+\n?)+?)(?=\n|\Z)", entry, text, flags=re.MULTILINE)
    text = text.replace("As for every loss.", "As for every loss: see :ref:`options`.")
    lines[:] = text.split("\n")


def shorten(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str, returns: str
) -> tuple[str, str]:
    """Give the types in a signature the short names that `tinyloss.typing` has for them."""
    if signature:
        signature = re.sub(UNION, "ArrayLike", signature)
        signature = re.sub(r"~?(tinyloss\.typing|collections\.abc|typing)\.", "", signature)
        signature = signature.replace("'", "") if "Callable" in signature else signature
    return signature, returns


def every_name(app: Sphinx, env: Any) -> None:
    """Warn of each public name that no page documents."""
    documented = set(env.domains["py"].objects)
    for module in PUBLIC:
        for name in importlib.import_module(module).__all__:
            if f"{module}.{name}" not in documented:
                _log.warning("%s.%s has no page: add it in docs/reference", module, name)


def setup(app: Sphinx) -> dict[str, bool]:
    """Listen to autodoc, and look at all pages at the end."""
    app.connect("autodoc-process-signature", shorten)
    # After numpydoc, which reads the sections.
    app.connect("autodoc-process-docstring", tidy, priority=900)
    app.connect("env-check-consistency", every_name)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
