"""The site: `make docs` builds it with warnings as errors."""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "_ext"))

from lpgeom import __version__  # noqa: E402
from lpgeom.cli import _parser  # noqa: E402

project = "lpgeom"
author = "lpgeom developers"
project_copyright = author
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "mathml",
]
exclude_patterns = ["_templates", "_ext", "_static"]
templates_path = ["_templates"]
nitpicky = True
default_role = "py:obj"  # `name` in a docstring: a link where it has a page

myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 4
myst_dmath_double_inline = True
myst_links_external_new_tab = False

autosummary_generate = True
autosummary_imported_members = False
autodoc_typehints = "none"  # the docstrings say shapes and dtypes, which annotations can't
autodoc_member_order = "bysource"
numpydoc_show_class_members = False  # the template of a class lists them
numpydoc_xref_param_type = False
# coreset is a function, Coreset a class: their pages need names that differ in more than case.
autosummary_filename_map = {"lpgeom.Coreset": "lpgeom.Coreset-class"}

html_theme = "furo"
html_title = f"lpgeom {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_show_search_summary = False  # it would fetch pages, which a browser refuses for files
html_show_sourcelink = False
html_copy_source = False
html_favicon = "_static/icon.svg"
html_theme_options = {
    "sidebar_hide_name": False,
    "light_css_variables": {"color-brand-primary": "#1f5fa8", "color-brand-content": "#1f5fa8"},
    "dark_css_variables": {"color-brand-primary": "#7fb3f0", "color-brand-content": "#7fb3f0"},
}

# A page of the site for a file outside docs/, where pages link to that file, as on the repository.
_PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
}
_NAMES = "|".join(map(re.escape, _PAGES))
_OUTSIDE = re.compile(rf"\]\((?:\.\./)+({_NAMES})(#[^)\s]*)?\)")


def _stay_on_the_site(app: Sphinx, docname: str, source: list[str]) -> None:
    up = "../" * docname.count("/")
    source[0] = _OUTSIDE.sub(
        lambda found: f"]({up}{_PAGES[found[1]]}{found[2] or ''})", source[0]
    ).replace(" ± ", "\u00a0±\u00a0")  # a table's cell should not break there


def _help(app: Sphinx, docname: str, source: list[str]) -> None:
    """What the command line says of itself, in the place of <!-- help -->."""
    if "<!-- help -->" not in source[0]:
        return
    os.environ["COLUMNS"] = "80"
    parser = _parser()
    commands = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    texts = [("lpgeom", parser), *((f"lpgeom {n}", c) for n, c in commands.choices.items())]
    source[0] = source[0].replace(
        "<!-- help -->",
        "\n".join(f"## {name}\n\n```text\n{each.format_help()}```\n" for name, each in texts),
    )


def _bars_are_norms(
    app: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]
) -> None:
    """In a docstring's prose | is a norm or an absolute value, and name_ an attribute, not
    reStructuredText's."""
    in_example = False
    for number, line in enumerate(lines):
        in_example = bool(line.strip()) and (in_example or line.lstrip().startswith(">>>"))
        if not in_example:
            parts = re.split(r"(``.*?``)", line)
            parts[::2] = [part.replace("|", r"\|") for part in parts[::2]]
            parts = re.split(r"(``.*?``|`[^`]*`)", "".join(parts))
            parts[::2] = [re.sub(r"(?<=[a-z])_(?![\w_])", r"\_", part) for part in parts[::2]]
            lines[number] = "".join(parts)


def _of_another_library(
    app: Sphinx, what: str, name: str, value: object, skip: bool, options: object
) -> bool | None:
    """What scikit-learn gives every estimator, and torch's classes, are documented there."""
    module = str(getattr(value, "__module__", ""))
    return True if module.startswith(("sklearn.", "torch.")) else None


def _plain_without_a_page(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, text: nodes.Node
) -> nodes.Node | None:
    """`name` also stands for parameters and attributes, which need no page; :func: and so on do."""
    return text if node.get("reftype") == "obj" else None


def setup(app: Sphinx) -> None:
    app.connect("missing-reference", _plain_without_a_page)
    app.connect("autodoc-process-docstring", _bars_are_norms, priority=900)
    app.connect("autodoc-skip-member", _of_another_library)
    app.connect("source-read", _stay_on_the_site)
    app.connect("source-read", _help)
