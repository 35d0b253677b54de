"""The documentation: `python -m sphinx -n -W docs site`, without a network."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Tables are printed from the tests' records and the benchmarks' results.
sys.path[:0] = [str(ROOT / "docs" / "_ext"), str(ROOT), str(ROOT / "backends")]
# The pages show what a CPU says, also where there is a GPU.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Products this small gain nothing from a second thread, and wait for it on a busy machine.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import tinyloss  # noqa: E402 - found by the path above

project, author = "tinyloss", "tinyloss contributors"
copyright = f"2026, {author}"
version = release = tinyloss.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "commands",
    "pictures",
    "reference",
    "tables",
]
exclude_patterns = ["_build", "learn", "**/GALLERY_HEADER.md", "sg_execution_times.rst"]
templates_path = ["_templates"]

html_theme = "furo"
pygments_dark_style = "github-dark"
html_title = f"tinyloss {release}"
html_static_path = ["_static"]
html_css_files = ["tinyloss.css"]
html_copy_source = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0072B2", "color-brand-content": "#0072B2"},
    "dark_css_variables": {"color-brand-primary": "#56B4E9", "color-brand-content": "#56B4E9"},
}

# A name in single backticks becomes a link, and an error where nothing documents it.
default_role = "autolink"
autosummary_generate = True
# Keras is not needed to document the adapter, and writes into the user's folder.
autodoc_mock_imports = ["keras"]
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_validation_checks: set[str] = set()
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 72
myst_enable_extensions = ["colon_fence", "deflist", "attrs_inline", "attrs_block"]
myst_heading_anchors = 3
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# No inventory of another project can be fetched, so that names of others are not links.
nitpick_ignore_regex = [
    ("py:class", r"(collections\.abc\.|typing\.)?(Any|Callable|Generator|Hashable)\b.*"),
    ("py:class", r"(collections\.abc\.|typing\.)?(Mapping|Sequence)\b.*"),
    ("py:class", r"tuple\[str"),
    ("py:obj", r"scipy\..*|tinyloss\.compiler|reduce|looked"),
    ("py:class", r"(P|R|P\.args|P\.kwargs|_?Loss|Loss\[.*|LossFunction.*)"),
    ("py:class", "Figure|Path|Theme|What"),
    ("py:obj", r"model\.compile.*"),
    ("py:.*", r"tinyloss\._.*"),
    ("py:.*", r"(torch|numpy|np|jax|contextlib|types|argparse|pathlib)\..*"),
]

sphinx_gallery_conf = {
    "examples_dirs": "learn",
    "gallery_dirs": "_learn",
    "filename_pattern": r"/\d\d_",
    "within_subsection_order": "FileNameSortKey",
    "default_thumb_file": str(ROOT / "docs" / "_static" / "pictures" / "zoo.png"),
    "image_scrapers": ("pictures.scraped",),
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 1e9,
    "write_computation_times": False,
    "remove_config_comments": True,
}
suppress_warnings = ["config.cache"]  # the gallery's settings cannot be pickled
