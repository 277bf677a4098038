"""Configuration of the documentation: `sphinx-build -W docs docs/_build`."""

import inspect
import re
import sys
from pathlib import Path
from typing import Any, get_type_hints

from sphinx.application import Sphinx
from sphinx.util.inspect import stringify_signature

sys.path.insert(0, str(Path(__file__).parent))

from recipe_reference import fill_placeholders

import gantrain

project = "gantrain"
author = "the gantrain authors"
release = gantrain.__version__
language = "en"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_design"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3  # links such as keys.md#data

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 80
add_module_names = False

html_theme = "pydata_sphinx_theme"
html_title = f"gantrain {release}"
html_static_path = ["_static"]
html_css_files = ["gantrain.css"]
templates_path = ["_templates"]
html_show_sourcelink = False
html_copy_source = False
html_sidebars = {"**": ["all-pages"]}
html_theme_options = {
    "logo": {"text": "gantrain"},
    "navbar_center": [],  # the sidebar lists all pages
    "navbar_end": ["theme-switcher"],
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": [],
}
# Classes that only gantrain itself makes, so that nobody needs their constructors.
MADE_BY_GANTRAIN = {"TrainResult", "Translator", "Evaluation", "Record", "RunStopped"}

copyright = "the gantrain authors, Apache-2.0"


def fill_page(app: Sphinx, page: str, source: list[str]) -> None:
    """Replace the placeholders of a page by the tables that stand for them."""
    source[0] = fill_placeholders(source[0], "../" * page.count("/"))


def convert_docstring(
    app: Sphinx, kind: str, name: str, item: object, options: object, lines: list[str]
) -> None:
    """Turn the Markdown of a docstring into reStructuredText: code, links to arXiv, and signs
    with a meaning.
    """
    for number, line in enumerate(lines):
        pieces = re.split(r"(`+[^`]+`+)", line)
        for place, piece in enumerate(pieces):
            if piece.startswith("`"):
                pieces[place] = f"``{piece.strip('`')}``"
            else:
                escaped = re.sub(r"([*|])", r"\\\1", piece)
                pieces[place] = re.sub(
                    r"arXiv (\d{4}\.\d{4,5})", r"`arXiv \1 <https://arxiv.org/abs/\1>`__", escaped
                )
        lines[number] = "".join(pieces)


def shorten_signature(
    app: Sphinx,
    kind: str,
    name: str,
    item: Any,
    options: object,
    signature: str | None,
    result: str | None,
) -> tuple[str, str | None] | None:
    """Leave out what a reader does not need: limits of numbers, and constructors that only
    gantrain calls.
    """
    if kind == "class" and name.rsplit(".", 1)[-1] in MADE_BY_GANTRAIN:
        return "", None
    if kind != "class" or "Annotated[" not in (signature or ""):
        return None
    types = get_type_hints(item.__init__)
    constructor = inspect.signature(item)
    parameters = [p.replace(annotation=types[p.name]) for p in constructor.parameters.values()]
    return stringify_signature(
        constructor.replace(parameters=parameters),
        unqualified_typehints=True,
        show_return_annotation=False,
    ), None


def setup(app: Sphinx) -> None:
    """Connect the functions of this file to the build."""
    app.connect("source-read", fill_page)
    app.connect(
        "autodoc-process-docstring", convert_docstring, priority=400
    )  # before napoleon, at 500
    app.connect("autodoc-process-signature", shorten_signature)
