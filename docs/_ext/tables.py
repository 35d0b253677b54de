"""The directive `generated`: a table that is printed from its source when the site is built."""

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from benchmarks.tables import TABLES as MEASURED
from tests.support.tables import TABLES as RECORDED


class Generated(SphinxDirective):
    """A table of the tests' records or of the benchmarks' results, by its name."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Parse the table's Markdown in place."""
        name, tables = self.arguments[0], MEASURED | RECORDED
        if name not in tables:
            raise self.error(f"no table {name!r}, expected one of {', '.join(tables)}")
        self.env.note_reread()
        parsed: list[nodes.Node] = self.parse_text_to_nodes(
            tables[name](), allow_section_headings=True
        )
        return parsed


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directive."""
    app.add_directive("generated", Generated)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
