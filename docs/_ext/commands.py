"""The directive `command`: a call of the command line, and what it prints."""

import contextlib
import io
import os
import shlex
from unittest import mock

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from tinyloss.cli import main


class Command(SphinxDirective):
    """A command without its first word: `info huber`."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Run it, and show it with its output."""
        call = self.arguments[0]
        said = io.StringIO()
        width = mock.patch.dict(os.environ, {"COLUMNS": "90", "NO_COLOR": "1"})
        with width, contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
            main(shlex.split(call))
        if not said.getvalue():
            raise self.error(f"tinyloss {call} printed nothing")
        text = f"$ tinyloss {call}\n{said.getvalue().rstrip()}"
        return [nodes.literal_block(text, text, language="text")]


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directive."""
    app.add_directive("command", Command)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
