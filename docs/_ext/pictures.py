"""Pictures of `tinyloss.pictures` on a page, in light and in dark; the gallery's, too."""

import ast
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import tinyloss
from benchmarks.accuracy import RESULTS
from tinyloss import pictures

THEMES = {"light": "only-light", "dark": "only-dark"}


class Picture(SphinxDirective):
    """A picture by the call that draws it: `digits`, or `curves(tinyloss.mse)`."""

    required_arguments = 1
    final_argument_whitespace = True
    option_spec: ClassVar = {"name": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        """Draw it twice, and show the one that suits the page."""
        call, folder = self.arguments[0], Path(self.env.srcdir, "_pictures")
        name = self.options.get("name", call.partition("(")[0])
        folder.mkdir(exist_ok=True)
        shown: list[nodes.Node] = []
        for theme, css in THEMES.items():
            figure = evaluated(parsed(call), theme, {"results": RESULTS.parent})
            path = pictures.save(figure, folder / f"{name}_{theme}.svg")
            place = f"/{path.relative_to(self.env.srcdir)}"
            image = nodes.image(uri=place, alt=pictures.alt(figure), classes=[css])
            shown.append(image)
        return shown


def parsed(call: str) -> ast.Call:
    """Return the call of a function of `tinyloss.pictures`."""
    tree = ast.parse(f"pictures.{call}" if "(" in call else f"pictures.{call}()", mode="eval")
    assert isinstance(tree.body, ast.Call), call
    return tree.body


def evaluated(call: ast.Call, theme: str, names: dict[str, Any]) -> Any:
    """Return the figure that a call draws in a theme."""
    chosen = ast.keyword("theme", ast.Constant(theme))
    expression = ast.Expression(ast.Call(call.func, call.args, [*call.keywords, chosen]))
    code = compile(ast.fix_missing_locations(expression), "<picture>", "eval")
    return eval(code, {"pictures": pictures, "tinyloss": tinyloss, **names})


def scraped(block: Any, variables: dict[str, Any], settings: dict[str, Any]) -> str:
    """Return a lesson's picture, of a line `figure = pictures.NAME(...)`: also in dark."""
    _, source, _ = block[:3]
    lines: list[str] = []
    for line in ast.parse(source).body:
        if not isinstance(line, ast.Assign) or ast.unparse(line.targets[0]) != "figure":
            continue
        call, names = line.value, variables["example_globals"]
        assert isinstance(call, ast.Call), source
        for theme, css in THEMES.items():
            figure = names["figure"] if theme == "light" else evaluated(call, theme, names)
            path = next(variables["image_path_iterator"])
            figure.savefig(path, dpi=150)
            place = Path(path).relative_to(settings["src_dir"])
            lines += ["", f".. image:: /{place}", f"   :class: {css}"]
            lines += [f"   :alt: {pictures.alt(figure)}"]
    return "\n".join([*lines, "", ""])


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directive."""
    app.add_directive("picture", Picture)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
