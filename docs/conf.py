"""Sphinx: one build a language (`-t zh` for the Chinese one), formulas as MathML, an API reference, its own search."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from _tools.languages import of_the_other  # noqa: E402

import gezhi  # noqa: E402

zh = tags.has("zh")  # type: ignore[name-defined]  # noqa: F821
project = "gezhi 格致"
author = copyright = "The gezhi authors"
version = release = gezhi.__version__
language = html_search_language = "zh_CN" if zh else "en"
root_doc = "index.zh" if zh else "index"
exclude_patterns = ["_build", "_tools", *of_the_other(HERE, "zh" if zh else "en")]
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "_tools.site"]
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_inherit_docstrings = False
autodoc_preserve_defaults = True
html_theme = "furo"
html_title = project
html_static_path = ["_static"]
html_css_files = ["site.css"]
templates_path = ["_templates"]
html_theme_options = {"announcement": "languages"}  # its place holds the switch
html_show_sourcelink = html_copy_source = False
